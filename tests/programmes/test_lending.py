"""Rules that hold for every loan: notices, what follows on overdue and bad, drawdown, funding."""

import json
from collections.abc import Mapping
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.errors import Refused
from services.kernel.money import Fen
from services.programmes import collection, drawdown, post_loan
from services.programmes.collection import Standing
from services.programmes.drawdown import DrawRequest
from services.programmes.loader import PackErrors, load, load_texts
from services.programmes.schema.collection import CollectionDiscount, DueClass
from services.programmes.schema.loans import LoanRules
from services.programmes.schema.monitoring import FiveTier
from services.programmes.schema.post_loan import Duty
from services.programmes.schema.values import Every, Open, Organ, known
from services.programmes.terms import Terms
from tests.programmes.county_texts import PACK, changed, texts
from tests.programmes.says import loans as says

GOLDEN = Path(__file__).parent / "cases" / "golden.json"
DEMO = Path(__file__).resolve().parents[2] / "deploy" / "demo" / "county"
CATALOGUE = load([DEMO, Path(__file__).parent / "county"])
ANY = "000000"

# What products and monitoring must say for their part of a case is tested with them.
OWN = {
    "loans.collection_discount",
    "loans.controlled_drawdown",
    "loans.five_tier",
    "loans.maturity_notice",
    "loans.npl_trigger",
    "loans.sanction_check",
}
CASES: list[Mapping[str, Any]] = [
    case for case in json.loads(GOLDEN.read_text(encoding="utf-8"))["cases"] if case["rule"] in OWN
]


def rules(ref: str, *, county: str = ANY) -> LoanRules:
    return terms(ref, county=county).loans


def terms(ref: str, *, county: str = ANY) -> Terms:
    return CATALOGUE.terms(county, ref)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_every_programme_says_what_its_cases_say_of_lending(case: Mapping[str, Any]) -> None:
    says.SAYS[case["rule"]](terms(case["programme"]), case["inputs"])


# HN-PO.loa.11
def test_a_reminder_without_its_lead_time_is_refused_until_the_county_sets_it() -> None:
    open_notice = rules("hunan-poverty-office-137@1").maturity_notice
    set_notice = rules(
        "hunan-poverty-office-137@1:example-lending", county="430999"
    ).maturity_notice

    assert open_notice is not None
    assert set_notice is not None
    with pytest.raises(Refused) as refused:
        collection.notice_plan(open_notice, date(2018, 5, 31))
    assert refused.value.facts["key"] == "loans.maturity_notice.lead_months"
    plan = collection.notice_plan(set_notice, date(2018, 5, 31))
    assert plan.days == (date(2018, 4, 30),)
    assert [channel.value for channel in plan.channels] == ["sms", "phone", "letter"]


# LS18.loa.4, AH.mon.3
def test_a_notice_goes_to_the_stations_or_twice_over_the_platform() -> None:
    stations = rules("henan-lushi@2").maturity_notice
    platform = rules("anhui-yizisanhe@1").maturity_notice

    assert stations is not None
    assert platform is not None
    plan = collection.notice_plan(stations, date(2018, 8, 31))
    assert plan.to == (Organ.TOWNSHIP_STATION,)
    assert plan.days == (date(2018, 6, 30),)
    twice = platform.model_copy(update={"lead_months": 1})
    assert collection.notice_plan(twice, date(2018, 8, 31)).days == (
        date(2018, 7, 31),
        date(2018, 8, 31),
    )


# LS18.loa.5, LS18.loa.6
def test_overdue_brings_daily_reports_and_bad_brings_five_actions_in_order() -> None:
    followed = [
        collection.follow(rules("henan-lushi@2"), days=days, tier=FiveTier.NORMAL)
        for days in (0, 1, 70, 71)
    ]

    overdue = ("daily_report", "collection_team")
    bad = ("stop_subsidy", "collect", "lower_grade", "blacklist", "court")
    assert [each.standing for each in followed] == [
        Standing.CURRENT,
        Standing.OVERDUE,
        Standing.OVERDUE,
        Standing.NON_PERFORMING,
    ]
    assert [each.actions for each in followed] == [(), overdue, overdue, overdue + bad]


# SC.loa.5
@pytest.mark.parametrize("ref", ["sichuan-5221@1", "sichuan-wangcang@1"])
def test_overdue_is_not_non_performing(ref: str) -> None:
    said = rules(ref)
    county = rules("sichuan-5221@1:example-lending", county="510999")

    assert said.keep_overdue_apart
    assert isinstance(said.npl, Open)
    standings = [
        collection.follow(county, days=days, tier=FiveTier.SPECIAL_MENTION).standing
        for days in (1, 90, 91)
    ]
    assert standings == [Standing.OVERDUE, Standing.OVERDUE, Standing.NON_PERFORMING]


# HN-PO.mon.2
def test_a_five_tier_programme_goes_by_the_class_not_by_the_days() -> None:
    said = rules("hunan-poverty-office-137@1")

    special = collection.follow(said, days=400, tier=FiveTier.SPECIAL_MENTION)
    judged = collection.follow(said, days=0, tier=FiveTier.SUBSTANDARD)
    assert special.standing is Standing.OVERDUE
    assert judged.standing is Standing.NON_PERFORMING


# HN-PO.loa.12, HN-PO.loa.13
def test_every_class_of_due_loans_has_its_disposition() -> None:
    said = rules("hunan-poverty-office-137@2").dispositions

    actions = {
        each.value: [action.value for action in collection.disposition(said, each).actions]
        for each in DueClass
    }
    assert actions == {
        "sound": ["repayment_plan", "notice"],
        "temporary_difficulty": ["funding_help"],
        "sound_still_in_need": ["renewal"],
        "malicious": ["forced_collection"],
        "force_majeure": ["compensation"],
    }
    assert collection.disposition(said, DueClass.MALICIOUS).plan_per_case
    with pytest.raises(Refused):
        collection.disposition(rules("henan-lushi@2").dispositions, DueClass.SOUND)


# HN-PO.loa.14
def test_an_unsolved_case_climbs_to_the_county_and_no_further() -> None:
    chain = rules("hunan-poverty-office-137@1").escalation

    climbed: list[Organ] = []
    at = collection.escalate(chain, None)
    while at is not None:
        climbed.append(at)
        at = collection.escalate(chain, at)
    assert climbed == [Organ.ASSIGNED_HELPER, Organ.TOWNSHIP_STATION, Organ.POVERTY_OFFICE]


# LS18.loa.7
def test_a_campaign_gives_each_stage_its_discount_once_a_debt() -> None:
    clause = rules("henan-lushi@2:example-2018", county="411224").collection_discount

    assert clause is not None
    days = [date(2018, 9, 30), date(2018, 10, 1), date(2018, 11, 30), date(2019, 1, 31)]
    assert [collection.discount_stage(clause, day).discount_pct for day in days] == [0, 5, 10, 20]
    assert collection.discount_stage(clause, days[1], used=True).discount_pct == 0
    still_open = rules("henan-lushi@2").collection_discount
    assert still_open is not None
    with pytest.raises(Refused):
        collection.discount_stage(still_open, days[1])


SIGNED = frozenset({Organ.POVERTY_OFFICE, Organ.LENDER, Organ.ENTERPRISE})


# HN-PO.loa.7, HN-PO.loa.8
def test_a_pooled_loan_is_released_in_batches_that_three_parties_signed() -> None:
    clause = rules("hunan-poverty-office-137@1").controlled_drawdown

    assert clause is not None
    assert clause.staged
    assert drawdown.is_controlled(clause, Fen(1), "pooled_loan")
    assert not drawdown.is_controlled(clause, Fen(1), "microcredit")
    result = drawdown.drawdown_of(
        clause,
        Fen(300),
        [
            DrawRequest(Fen(100), progress_signed=True, signed_by=SIGNED),
            DrawRequest(Fen(100), progress_signed=True, signed_by=SIGNED - {Organ.ENTERPRISE}),
            DrawRequest(Fen(100), signed_by=SIGNED),
            DrawRequest(Fen(200), progress_signed=True, signed_by=SIGNED),
        ],
    )
    assert result.released == (True, False, False, True)
    assert clause.account is not None
    assert post_loan.unsigned(clause.account, {Organ.LENDER}) == (
        Organ.POVERTY_OFFICE,
        Organ.ENTERPRISE,
    )


# YY.loa.6
@pytest.mark.parametrize("version", ["2016", "2017", "2018"])
def test_the_cooperative_holds_the_account_and_compares_it_monthly(version: str) -> None:
    clause = rules(f"hubei-yunyang-troika@{version}").controlled_drawdown

    assert clause is not None
    assert clause.account is not None
    assert clause.account.signatories == (Organ.COOPERATIVE,)
    assert clause.account.reconcile_every is Every.MONTH
    assert clause.account.ledger_per_household
    assert clause.account.may_refuse
    refused = drawdown.drawdown_of(clause, Fen(100), [DrawRequest(Fen(100))])
    assert refused.released == (False,)


# LS18.loa.1
def test_from_half_a_million_yuan_a_loan_is_released_in_stages() -> None:
    clause = rules("henan-lushi@2").controlled_drawdown

    assert clause is not None
    assert clause.staged
    assert [drawdown.is_controlled(clause, Fen(fen)) for fen in (49_999_999, 50_000_000)] == [
        False,
        True,
    ]
    lacks = drawdown.missing(DrawRequest(Fen(1), evidence_ok=True), clause.requires)
    assert lacks == ("county_approval", "entrusted_payment")


# HN-RCU.loa.9
@pytest.mark.parametrize(
    "ref", ["hunan-rcu-poverty-microcredit@1", "hunan-rcu-poverty-microcredit@2"]
)
def test_who_reviews_a_loan_does_not_pay_it_out(ref: str) -> None:
    clause = rules(ref).segregation

    same = post_loan.held_apart(clause, {Duty.REVIEW: ["p-1", "p-2"], Duty.DISBURSE: ["p-1"]})
    other = post_loan.held_apart(clause, {Duty.REVIEW: ["p-1", "p-2"], Duty.DISBURSE: ["p-3"]})
    assert (same.apart, same.persons) == (False, ("p-1",))
    assert other.apart
    # Compensation is not among the duties this source keeps apart.
    assert post_loan.held_apart(clause, {Duty.REVIEW: ["p-1"], Duty.COMPENSATE: ["p-1"]}).apart


# SC.loa.6
def test_a_relending_line_revolves_within_its_quota() -> None:
    line = rules("sichuan-5221@1:example-lending", county="510999").relending

    assert line is not None
    drawn = post_loan.drawn(line, borrowed_fen=Fen(12 * 10**9), repaid_fen=Fen(3 * 10**9))
    assert drawn == 9 * 10**9
    fits = post_loan.line_check(line, drawn_fen=drawn, requested_fen=Fen(10**9))
    over = post_loan.line_check(line, drawn_fen=drawn, requested_fen=Fen(10**9 + 1))
    assert (fits.allowed, over.allowed) == (True, False)
    unset = rules("sichuan-5221@1").relending
    assert unset is not None
    with pytest.raises(Refused):
        post_loan.line_check(unset, drawn_fen=Fen(0), requested_fen=Fen(1))


# LS17.loa.4, SMX.loa.4
def test_a_line_has_its_size_its_price_and_its_kind_by_county() -> None:
    line = rules("henan-lushi@1").relending

    assert line is not None
    assert (line.limit_fen, line.rate_ppm) == (100_000_000_000, 17_500)
    assert post_loan.source_of(line, poor_county=True) == "poverty_relending"
    assert post_loan.source_of(line, poor_county=False) == "agri_relending"
    # What is repaid does not come back: this source does not say that the line revolves.
    assert post_loan.drawn(line, borrowed_fen=Fen(5), repaid_fen=Fen(5)) == 5


# AH-RCU.loa.6
@pytest.mark.parametrize("version", ["1", "2"])
def test_each_loans_use_is_checked_and_the_loan_made_public(version: str) -> None:
    said = rules(f"anhui-rcu-poverty-microcredit@{version}")

    finds = {finding.value for check in said.post_loan_checks for finding in check.finds}
    assert finds == {"unused", "other_use"}
    assert said.disclosure is not None
    with pytest.raises(Refused):
        known(said.disclosure.area)


# AH.loa.2, AH-RCU.loa.5
def test_loans_used_by_enterprises_are_wound_down_from_a_list() -> None:
    province = rules("anhui-lingbi@1").legacy_loans
    banks = rules("anhui-rcu-poverty-microcredit@2").legacy_loans

    assert [set(each.requires) for each in province] == [
        {"single_check", "ledger", "dedicated_officer"}
    ]
    assert [set(each.requires) for each in banks] == [
        {"single_check", "ledger", "dedicated_officer", "name_list", "debt_isolation"}
    ]


# SMX.loa.5, LS17.loa.6, LS18.loa.2, LS18.loa.3, HN-RCU.loa.7, HN-RCU.loa.8
def test_ledgers_areas_and_signatures_are_said_level_by_level() -> None:
    lushi = rules("henan-lushi@2")
    hunan = rules("hunan-poverty-office-137@2")

    assert lushi.ledger_levels == ("county", "township", "village")
    assert lushi.area_of_use == "county"
    assert lushi.purpose_verification is not None
    assert lushi.purpose_verification.disbursed_since == date(2017, 1, 1)
    assert lushi.purpose_verification.signed_by == (
        Organ.VILLAGE_DEPARTMENT,
        Organ.TOWNSHIP_STATION,
        Organ.COUNTY_CENTRE,
    )
    assert hunan.ledger_levels == ("village", "household")
    assert hunan.account_manager
    assert hunan.post_loan_checks[0].by == (Organ.VILLAGE_REVIEW_GROUP,)


# NAT.loa.3
def test_every_pack_says_how_loans_are_ruled_and_its_benchmark_is_the_countys() -> None:
    for pack in CATALOGUE.packs.values():
        assert pack.loans is not None, pack.programme.ref
        with pytest.raises(Refused):
            known(pack.loans.benchmark)


WRONG: Mapping[str, tuple[str, str]] = {
    "stages overlap": (
        (
            "collection_discount: {stages: [{id: s1, discount_pct: 5, from: 2020-01-01,"
            " to: 2020-01-31}, {id: s2, discount_pct: 10, from: 2020-01-31, to: 2020-02-28}]}"
        ),
        "overlap on 2020-01-31",
    ),
    "a class without disposition": (
        "dispositions: [{id: sound, actions: [notice]}]",
        "class temporary_difficulty has no disposition",
    ),
    "a class without action": (
        "dispositions: [{id: sound, actions: []}]",
        "class sound has no action",
    ),
    "an unknown organ": ("escalation: [mayor]", "Input should be"),
    "a step twice": (
        "escalation: [court, court]",
        "court is declared twice in escalation",
    ),
    "an action twice": (
        "npl_actions: [collect, collect]",
        "collect is declared twice in npl_actions",
    ),
    "nobody reached": (
        "maturity_notice: {lead_months: 1, to_borrower: true}",
        "a notice to the borrower needs a channel",
    ),
    "signatures of nobody": (
        "controlled_drawdown: {requires: [joint_signatures]}",
        "joint_signatures and account go together",
    ),
    "an account of nobody": (
        "controlled_drawdown: {requires: [joint_signatures], account: {signatories: []}}",
        "a joint account has at least one signatory",
    ),
    "a ledger compared with nobody": (
        (
            "controlled_drawdown: {requires: [joint_signatures],"
            " account: {signatories: [lender], reconcile_every: month}}"
        ),
        "reconcile_every and reconcile_with go together",
    ),
    "one duty apart": ("segregation: {apart: [review]}", "at least two duties"),
    "a check of nobody": ("post_loan_checks: [{id: c, by: []}]", "check c has no owner"),
    "two lines for one county": (
        "relending: {sources: [{id: poverty_relending}, {id: agri_relending, counties: poor}]}",
        "a relending source for all counties stands alone",
    ),
    "a revolving line without a limit": (
        "relending: {revolving: true}",
        "a revolving line needs limit_fen",
    ),
}


@pytest.mark.parametrize(("clause", "rule"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_clause_is_refused_with_its_rule(clause: str, rule: str) -> None:
    problems = refusal(clause)

    assert any(rule in problem for problem in problems), problems


def refusal(clause: str) -> list[str]:
    """What is said of a pack with one more clause in `loans`."""
    npl = "  npl: {measure: overdue_days, more_than_days: 90}\n"
    pack = changed(PACK, npl, f"{npl}  {clause}\n")
    with pytest.raises(PackErrors) as refused:
        load_texts(texts(pack=pack, overlay="", adoption="", institutions=""))
    assert all(problem.path.startswith("loans") for problem in refused.value.problems)
    return [problem.rule for problem in refused.value.problems]


def test_overdue_kept_apart_refuses_a_definition_that_takes_every_overdue_loan() -> None:
    npl = "npl: {measure: overdue_days, more_than_days: 90}"
    wrong = "npl: {measure: overdue_days, more_than_days: 0}\n  keep_overdue_apart: true"
    with pytest.raises(PackErrors) as refused:
        load_texts(texts(pack=changed(PACK, npl, wrong)))

    assert "keep_overdue_apart, but npl takes every overdue loan" in str(refused.value)


DAYS = st.integers(0, 2_000)


@given(DAYS, DAYS, st.integers(0, 400))
def test_more_days_overdue_never_stand_better(one: int, other: int, limit: int) -> None:
    said = rules("henan-lushi@2").model_copy(
        update={
            "npl": known(rules("henan-lushi@2").npl).model_copy(update={"more_than_days": limit})
        }
    )
    order = list(Standing)
    low, high = sorted((one, other))

    stands = [
        order.index(collection.follow(said, days=days, tier=FiveTier.NORMAL).standing)
        for days in (low, high)
    ]
    assert stands[0] <= stands[1]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=6), st.integers(-10, 400))
def test_a_day_lies_in_at_most_one_stage(lengths: list[int], offset: int) -> None:
    start = date(2020, 1, 1)
    ends = [start + timedelta(days=sum(lengths[: place + 1])) for place in range(len(lengths))]
    clause = CollectionDiscount.model_validate(
        {
            "stages": tuple(
                {
                    "id": f"stage_{place}",
                    "discount_pct": place + 1,
                    "valid_from": first,
                    "valid_to": last - timedelta(days=1),
                }
                for place, (first, last) in enumerate(pairwise([start, *ends]))
            )
        }
    )
    day = start + timedelta(days=offset)

    result = collection.discount_stage(clause, day)
    assert (result.stage is not None) == (start <= day < ends[-1])


AMOUNTS = st.integers(0, 10**12).map(Fen)


@given(AMOUNTS, AMOUNTS, AMOUNTS)
def test_a_line_never_funds_more_than_its_quota(limit: Fen, drawn: Fen, asked: Fen) -> None:
    line = rules("henan-lushi@1").relending
    assert line is not None

    check = post_loan.line_check(
        line.model_copy(update={"limit_fen": limit}), drawn_fen=drawn, requested_fen=asked
    )
    assert check.allowed == (asked > 0 and drawn + asked <= limit)
