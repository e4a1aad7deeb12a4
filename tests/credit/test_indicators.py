"""The catalogue of indicators: declared, supplied, fresh, stale, missing; over real packs too."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from google.type.date_pb2 import Date
from hypothesis import given
from hypothesis import strategies as st
from liandong.credit.v1 import credit_pb2, indicators_pb2, limits_pb2, scores_pb2

from services.credit.model import Fact, Indicator, IndicatorRule, Observed, Refresh
from services.credit.rules import indicators as rules
from services.credit.rules import rating, recording
from services.credit.rules.explaining import explain
from services.credit.rules.scheme import scheme_of
from services.kernel import wire
from services.kernel.caller import Caller
from services.kernel.database import Database, execute
from services.kernel.errors import Denied, Invalid, LiandongError, Refused
from services.kernel.walls import EVERY_COUNTY
from services.programmes.loader import load, load_texts
from services.programmes.rerating import refresh_due
from services.programmes.schema.scoring import Refresh as RefreshClause
from tests.credit.chained import ADOPTION, CENTRE, PACK, STATION, Desk
from tests.credit.county import (
    COUNTY,
    OPENED,
    VILLAGE,
    a_caller,
    a_catalogue,
    a_file,
    a_scheme,
    household_id,
    observed,
)

COURT = a_caller("court", institution_id="court-1")
BUREAU = a_caller("tax_bureau", institution_id="tax-1")
FRESH = indicators_pb2.INPUT_STATE_FRESH
STALE = indicators_pb2.INPUT_STATE_STALE
MISSING = indicators_pb2.INPUT_STATE_MISSING
QUARTERLY = indicators_pb2.REFRESH_QUARTERLY
YEARLY = indicators_pb2.REFRESH_YEARLY
NEW = household_id(99)
LUSHI = load().terms(COUNTY, "henan-lushi@1")
PLAIN = a_catalogue().terms(COUNTY, "plain@1")
GATED = a_catalogue().terms(COUNTY, "gated@1")


def a_rule(code: str = "income", **more: Any) -> IndicatorRule:
    given = IndicatorRule(
        code=code,
        name_zh="",
        min=0,
        max=100,
        unit="points",
        refresh=Refresh.QUARTERLY,
        suppliers=("court",),
        declared=True,
    )
    return replace(given, **more)


# --- rules ----------------------------------------------------------------------------------------


def test_the_catalogue_is_what_clauses_read_and_what_the_county_declares() -> None:
    known = rules.catalogue_of(GATED, {"income": a_rule()})

    assert set(known.rules) == {
        *("skills", "late", "arrears", "dishonesty", "kind"),
        *("rated_and_granted", "able_to_work", "has_project"),
        "income",
    }
    assert known.rules["income"].declared
    assert known.rules["arrears"].max == 1
    assert known.rules["skills"].suppliers == rules.RECORDERS
    weighed = rules.catalogue_of(a_catalogue().terms(COUNTY, "weighed@1"), {})
    assert weighed.rules["integrity"].max == 100


def test_a_condition_of_a_reward_is_in_the_catalogue() -> None:
    known = rules.catalogue_of(load().terms(COUNTY, "hubei-yunyang-troika@2016"), {})

    assert "repaid_on_time" in known.rules


# LS17.reg.1
def test_no_more_items_are_declared_than_the_programme_counts() -> None:
    known = rules.catalogue_of(LUSHI, {})
    room = known.item_count - len(known.rules)
    full = rules.catalogue_of(LUSHI, {f"item_{n}": a_rule(f"item_{n}") for n in range(room)})

    assert known.item_count == 144
    assert len(full.rules) == 144
    rules.check_rule(a_rule("one_more"), terms=LUSHI, catalogue=known)
    rules.check_rule(a_rule("item_1"), terms=LUSHI, catalogue=full)
    with pytest.raises(Invalid, match="TOO_MANY_ITEMS"):
        rules.check_rule(a_rule("one_more"), terms=LUSHI, catalogue=full)


# LS17.reg.4, LS17.reg.5, LS17.reg.6
@pytest.mark.parametrize("refresh", [Refresh.REAL_TIME, Refresh.QUARTERLY, Refresh.YEARLY])
def test_the_pilot_renews_in_real_time_each_quarter_and_each_year(refresh: Refresh) -> None:
    known = rules.catalogue_of(LUSHI, {})

    rules.check_rule(a_rule(refresh=refresh), terms=LUSHI, catalogue=known)


WEIGHED_QUARTERLY = """
programme:
  id: quarterly
  version: "1"
  effective_from: 2020-01-01
  title: {zh: 季度, en: Quarterly}
scoring:
  type: weighted
  scheme: quarterly
  factors: [{id: integrity, weight_pct: 60}, {id: labour, weight_pct: 40}]
  grades: [{id: A, min_score_centi: 6000, limit_fen: 5000000}]
  refresh: [{id: departmental_data, every: quarter}, {id: grade, every: year}]
"""


@pytest.mark.parametrize(
    ("rule", "reason", "field"),
    [
        (a_rule(suppliers=("palace",)), "UNKNOWN_ROLE", "suppliers"),
        (a_rule(suppliers=()), "UNKNOWN_ROLE", "suppliers"),
        (a_rule(min=5, max=4), "RANGE_EMPTY", "max"),
        (a_rule("integrity", max=200), "FACTOR_RANGE", "max"),
        (a_rule("integrity", max=None), "FACTOR_RANGE", "max"),
        (a_rule(refresh=Refresh.YEARLY), "REFRESH_NOT_IN_PROGRAMME", "refresh"),
    ],
)
def test_a_declaration_that_the_programme_does_not_bear_is_refused_by_field(
    rule: IndicatorRule, reason: str, field: str
) -> None:
    adoption = ADOPTION.replace("chained@1", "quarterly@1")
    texts = {"quarterly@1.yaml": WEIGHED_QUARTERLY, "adoption.yaml": adoption}
    terms = load_texts(texts).terms(COUNTY, "quarterly@1")

    with pytest.raises(Invalid, match=reason) as refusal:
        rules.check_rule(rule, terms=terms, catalogue=rules.catalogue_of(terms, {}))

    assert refusal.value.violations[0].field == field


DAYS = st.dates(date(2016, 1, 1), date(2024, 12, 31))


@given(
    seen_on=DAYS,
    on=DAYS,
    refresh=st.sampled_from([Refresh.REAL_TIME, Refresh.QUARTERLY, Refresh.YEARLY]),
    stated=st.none() | DAYS,
)
def test_an_observation_is_stale_from_the_day_on_which_it_is_due_again(
    seen_on: date, on: date, refresh: Refresh, stated: date | None
) -> None:
    months = rules.counts_months([a_rule(refresh=refresh)]).get("income")
    clause = RefreshClause(id="income", every=rules.EVERY[refresh])

    found = rules.observed(1, seen_on, 1, stated=stated, months=months, on=on)

    due = refresh_due(clause, last_on=seen_on, on=on)
    assert found.stale == (due.due or (stated is not None and on > stated))
    assert (found.expires_on is None) == (due.due_on is None and stated is None)


def checked(
    code: str = "skills",
    value: int = 1,
    *,
    role: str = "county_centre",
    on: date = OPENED,
    until: date | None = None,
    area: str | None = VILLAGE,
    ref: str = "plain@1",
    declared: tuple[IndicatorRule, ...] = (),
) -> None:
    terms = a_catalogue().terms(COUNTY, ref)
    known = rules.catalogue_of(terms, {rule.code: rule for rule in declared})
    indicator = Indicator(household_id(1), code, value, on, expires_on=until)
    recording.check_indicator(indicator, area=area, catalogues=[known], role=role, today=OPENED)


def test_what_is_named_in_range_by_who_may_and_seen_by_today_is_taken() -> None:
    checked()
    checked("income", 100, role="court", declared=(a_rule(),))
    checked("income", 7, role="court", ref="undecided@1", declared=(a_rule(),))


@pytest.mark.parametrize(
    ("given_of", "reason", "field", "value", "rule"),
    [
        ({"code": "income", "value": 101}, "INDICATOR_OUT_OF_RANGE", "value", "101", "0 to 100"),
        ({"code": "income", "value": -1}, "INDICATOR_OUT_OF_RANGE", "value", "-1", "0 to 100"),
        ({"code": "income", "role": "bank"}, "SUPPLIER_NOT_ENTITLED", "code", "income", "court"),
        ({"code": "skills"}, "SUPPLIER_NOT_ENTITLED", "code", "skills", "county_centre"),
        ({"code": "income", "on": date(2021, 1, 5)}, "OBSERVED_IN_FUTURE", "observed_on", "", ""),
        (
            {"code": "income", "until": date(2021, 1, 3)},
            "EXPIRES_BEFORE_OBSERVED",
            "expires_on",
            "2021-01-03",
            "2021-01-04",
        ),
    ],
)
def test_what_is_not_is_refused_with_field_value_and_rule(
    given_of: dict[str, Any], reason: str, field: str, value: str, rule: str
) -> None:
    with pytest.raises(Invalid, match=reason) as refusal:
        checked(**{"role": "court", "declared": (a_rule(),), **given_of})

    [violation] = refusal.value.violations
    assert violation.field == field
    assert value in violation.value
    assert rule in violation.rule


@pytest.mark.parametrize(
    ("given_of", "reason"),
    [
        ({"code": "luck"}, "UNKNOWN_INDICATOR"),
        ({"code": "luck", "ref": "undecided@1"}, "PROGRAMME_VALUE_OPEN"),
        ({"area": None}, "UNKNOWN_HOUSEHOLD"),
    ],
)
def test_what_nobody_names_is_refused(given_of: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        checked(**given_of)


def stale(**values: int) -> dict[str, Observed]:
    last = OPENED - timedelta(days=1)
    return {
        code: replace(seen, expires_on=last, stale=True)
        for code, seen in observed(**values).items()
    }


CHAINED = scheme_of(
    load_texts({"chained@1.yaml": PACK, "adoption.yaml": ADOPTION}).terms(COUNTY, "chained@1")
)


def test_a_stale_indicator_counts_for_nothing_and_is_pinned_and_told_as_such() -> None:
    decision = rating.rate(
        a_file(),
        {**observed(income_level=2), **stale(skills=1)},
        scheme=CHAINED,
        rating_id=NEW,
        on=OPENED,
    )
    made = decision.rating
    assert made is not None

    told = explain(made, CHAINED)

    assert made.score_centi == 10_300
    assert made.inputs["skills"].stale
    assert (told.lines[0].code, told.lines[0].state) == ("skills", "stale")
    assert any("skills: out of date since 2021-01-03" in words for words in told.words)
    assert any("skills:2021-01-03 后已过期" in words for words in told.words_zh)
    assert rating.derive_again(made, scheme=CHAINED).identical
    unpinned = replace(made, inputs={**made.inputs, **observed(skills=1)})
    assert not rating.derive_again(unpinned, scheme=CHAINED).identical


# S11
def test_a_veto_that_hit_and_is_out_of_date_holds_the_grade_until_somebody_looks_again() -> None:
    def after(file: Any, inputs: dict[str, Observed]) -> Any:
        return rating.rate(file, inputs, scheme=a_scheme(), rating_id=NEW, on=OPENED)

    granted = after(a_file(), {}).file
    forgotten = after(granted, stale(arrears=1))
    gone = after(forgotten.file, observed(arrears=0))

    assert forgotten.file.holds == ("stale:arrears",)
    assert (forgotten.file.grade, forgotten.file.limit_fen) == ("", 0)
    assert forgotten.facts == (Fact.GRADED, Fact.LIMIT_CHANGED)
    assert (gone.file.grade, gone.file.holds) == ("A", ())


def test_a_stale_factor_leaves_a_household_unrated() -> None:
    scheme = a_scheme("weighed@1")
    inputs = {**observed(integrity=80), **stale(labour=70)}

    with pytest.raises(Refused, match="FACTOR_SCORES_MISSING") as refusal:
        rating.rate(a_file(), inputs, scheme=scheme, rating_id=NEW, on=OPENED)

    assert refusal.value.facts == {"missing": "labour"}


# --- over the service -----------------------------------------------------------------------------


def declare(
    *given_rules: indicators_pb2.IndicatorRule, programme_id: str = "chained"
) -> indicators_pb2.DeclareIndicatorsRequest:
    return indicators_pb2.DeclareIndicatorsRequest(programme_id=programme_id, rules=given_rules)


def said(code: str, **more: Any) -> indicators_pb2.IndicatorRule:
    given_values: dict[str, Any] = {
        "name_zh": "指标",
        "max": 5,
        "unit": "level",
        "refresh": QUARTERLY,
        "suppliers": ["court"],
    }
    return indicators_pb2.IndicatorRule(code=code, **{**given_values, **more})


async def record(
    desk: Desk, by: Caller, code: str, value: int, *, on: date = OPENED, **more: Any
) -> credit_pb2.BatchRecordIndicatorsResponse:
    indicator = credit_pb2.Indicator(
        household_id=str(household_id(1)),
        code=code,
        value=value,
        observed_on=wire.date_to_proto(on),
        **more,
    )
    request = credit_pb2.BatchRecordIndicatorsRequest(indicators=[indicator])
    answer: credit_pb2.BatchRecordIndicatorsResponse = await desk.ask(
        "BatchRecordIndicators", request, by=by
    )
    return answer


async def states(desk: Desk) -> dict[str, indicators_pb2.IndicatorState]:
    request = credit_pb2.GetCreditFileRequest(household_id=str(household_id(1)))
    answer = await desk.ask("GetCreditFile", request)
    return {each.code: each for each in answer.indicators}


@pytest_asyncio.fixture(loop_scope="session")
async def declared(desk: Desk) -> AsyncIterator[Desk]:
    await desk.put(1)
    answer = await desk.ask(
        "DeclareIndicators",
        declare(said("income_level"), said("debts", suppliers=["court", "tax_bureau"])),
    )
    assert answer.declared == 2
    yield desk


@pytest.mark.postgres
async def test_a_department_supplies_in_its_own_name_with_evidence(declared: Desk) -> None:
    taken = await record(declared, COURT, "income_level", 4, evidence_sha256="cd" * 32)
    of_another = await record(declared, CENTRE, "income_level", 4)
    beyond = await record(declared, COURT, "income_level", 6)

    assert taken.recorded == 1
    assert of_another.refused[0].reason == "SUPPLIER_NOT_ENTITLED"
    assert of_another.refused[0].violations[0].field == "code"
    assert beyond.refused[0].reason == "INDICATOR_OUT_OF_RANGE"
    assert beyond.refused[0].violations[0].value == "6"
    state = (await states(declared))["income_level"]
    assert (state.state, state.value, state.source_id) == (FRESH, 4, "court-1")
    assert state.evidence_sha256 == "cd" * 32
    assert state.expires_on == Date(year=2021, month=4, day=3)
    assert state.unit == "level"


@pytest.mark.postgres
async def test_missing_and_stale_are_states_in_the_file_the_rating_and_its_explanation(
    declared: Desk,
) -> None:
    await record(declared, COURT, "income_level", 4)
    await declared.rate()
    first = (await declared.file(1)).rating_id
    await declared.open_day(date(2021, 4, 4))
    await declared.rate()

    held = await states(declared)
    request = scores_pb2.ExplainScoreRequest(household_id=str(household_id(1)))
    told = await declared.ask("ExplainScore", request)
    inputs = {each.code: each for each in told.rating.inputs}

    assert (held["income_level"].state, held["income_level"].value) == (STALE, 4)
    assert held["skills"].state == MISSING
    assert not held["skills"].HasField("value")
    assert (told.rating.score_centi, inputs["income_level"].state) == (10_000, STALE)
    assert (inputs["skills"].state, inputs["arrears"].state) == (MISSING, MISSING)
    line = next(line for line in told.lines if line.code == "income_high")
    assert (line.state, line.value) == (scores_pb2.LINE_STATE_STALE, 4)
    again = await declared.rederive(first)
    assert again.identical
    assert again.stored.score_centi == 10_900
    states_then = {each.code: each.state for each in again.stored.inputs}
    assert states_then["income_level"] == FRESH


@pytest.mark.postgres
async def test_its_source_may_say_an_earlier_last_day(declared: Desk) -> None:
    until = wire.date_to_proto(date(2021, 1, 10))
    await record(declared, COURT, "income_level", 4, expires_on=until)

    assert (await states(declared))["income_level"].expires_on == until
    await declared.open_day(date(2021, 1, 11))
    assert (await states(declared))["income_level"].state == STALE
    await record(declared, COURT, "income_level", 3, on=date(2021, 1, 11))
    assert (await states(declared))["income_level"].state == FRESH


@pytest.mark.postgres
async def test_a_later_declaration_takes_the_place_of_an_earlier_one(declared: Desk) -> None:
    again = said("debts", max=9, refresh=YEARLY, suppliers=["tax_bureau"])
    answer = await declared.ask("DeclareIndicators", declare(again, said("x", suppliers=["king"])))

    listing = indicators_pb2.ListIndicatorRulesRequest(programme_id="chained", page_size=2)
    first = await declared.ask("ListIndicatorRules", listing, by=BUREAU)
    listing.page_token = first.next_page_token
    second = await declared.ask("ListIndicatorRules", listing, by=BUREAU)

    assert answer.declared == 1
    assert [(each.index, each.reason) for each in answer.refused] == [(1, "UNKNOWN_ROLE")]
    assert [rule.code for rule in (*first.rules, *second.rules)] == [
        *("arrears", "debts"),
        *("income_level", "late"),
    ]
    assert first.catalogue_count == 5
    assert first.rules[1].max == 9
    assert (await record(declared, BUREAU, "debts", 9)).recorded == 1
    assert (await record(declared, COURT, "debts", 1)).recorded == 0


@pytest.mark.postgres
async def test_only_the_countys_offices_declare(desk: Desk) -> None:
    with pytest.raises(Denied, match="ROLE_NOT_ALLOWED"):
        await desk.ask("DeclareIndicators", declare(said("debts")), by=STATION)
    with pytest.raises(LiandongError, match="PROGRAMME_NOT_ADOPTED"):
        await desk.ask("DeclareIndicators", declare(said("debts"), programme_id="plain"))


@pytest.mark.postgres
async def test_a_malformed_expiry_is_refused_by_field_like_any_other(declared: Desk) -> None:
    answer = await record(
        declared, COURT, "income_level", 4, expires_on=Date(year=2021, month=2, day=30)
    )

    assert answer.refused[0].violations[0].field == "expires_on"


@pytest.mark.postgres
async def test_the_report_tells_what_was_missing_too(declared: Desk) -> None:
    await declared.rate()
    request = limits_pb2.GetCreditReportRequest(household_id=str(household_id(1)))

    report = await declared.ask("GetCreditReport", request)

    states_of = {each.code: each.state for each in report.rating.inputs}
    assert states_of["skills"] == MISSING


@pytest.mark.postgres
async def test_what_was_declared_is_never_changed(db: Database) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with db.transaction(EVERY_COUNTY) as session:
            await execute(session, "UPDATE indicator_rule SET max = 1")
