"""Measures over gRPC: sanctions, second grants, waivers, rehabilitation, rewards."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from liandong.credit.v1 import standing_pb2

from services.credit import jobs
from services.credit.model import Actor, Exposure, Measure, MeasureKind, MeasureState
from services.credit.rules import standing
from services.kernel import wire
from services.kernel.database import execute
from services.kernel.errors import Denied, Invalid, Refused
from services.kernel.money import Fen
from services.kernel.walls import EVERY_COUNTY
from services.programmes.loader import Catalogue, load
from services.programmes.terms import Terms
from tests.credit.chained import BANK, CENTRE, EVIDENCE, OFFICE, STATION, Desk
from tests.credit.county import COUNTY, OPENED, household_id

SANCTION = standing_pb2.MEASURE_KIND_SANCTION
SECOND = standing_pb2.MEASURE_KIND_SECOND_GRANT
WAIVER = standing_pb2.MEASURE_KIND_WAIVER
REHABILITATION = standing_pb2.MEASURE_KIND_REHABILITATION
REWARD = standing_pb2.MEASURE_KIND_REWARD
ENDED = standing_pb2.MEASURE_STATE_ENDED
NOTHING_LENT = Exposure(Fen(0), Fen(0), Fen(0), Fen(0), 0, 0, 0)


async def granted(desk: Desk, number: int = 1) -> None:
    """A household that holds a limit from before the notice became the rule."""
    await desk.put(number)
    async with desk.db.transaction(EVERY_COUNTY) as session:
        await execute(
            session,
            "UPDATE credit_file SET granted_on = $2 WHERE household_id = $1",
            household_id(number),
            OPENED,
        )
    await desk.rate()


async def end(desk: Desk, measure_id: str, reason: str) -> standing_pb2.Measure:
    request = standing_pb2.EndMeasureRequest(
        measure_id=measure_id, reason=reason, evidence_sha256=EVIDENCE
    )
    answer: standing_pb2.Measure = (await desk.ask("EndMeasure", request, by=OFFICE)).measure
    return answer


async def lent(desk: Desk, *, overdue: bool) -> None:
    async with desk.db.transaction(EVERY_COUNTY) as session:
        await execute(
            session,
            """INSERT INTO exposure (county_code, loan_id, household_id, lender_id, drawn_fen,
                                     non_performing, overdue_on)
               VALUES ($1, $2, $3, 'rcb-1', 100, $4, $5)
               ON CONFLICT (county_code, loan_id) DO UPDATE
               SET non_performing = excluded.non_performing, overdue_on = excluded.overdue_on""",
            COUNTY,
            UUID(int=5),
            household_id(1),
            overdue,
            OPENED if overdue else None,
        )


@pytest.mark.postgres
async def test_a_sanction_takes_the_limit_at_once_for_the_packs_years(
    desk: Desk, chained: Catalogue
) -> None:
    await granted(desk)
    assert (await desk.file(1)).limit_fen == 5_000_000
    proposed = await desk.propose(1, SANCTION, "evader")
    assert (await desk.file(1)).limit_fen == 5_000_000
    with pytest.raises(Denied, match="ROLE_NOT_ALLOWED"):
        await desk.decide(proposed, by=STATION)

    decided = (await desk.decide(proposed)).measure

    file = await desk.file(1)
    assert (file.grade, file.limit_fen, list(file.holds)) == ("", 0, ["sanction:evader"])
    assert decided.until_on == wire.date_to_proto(date(2026, 1, 4))
    assert list(decided.effects) == ["no_rating", "no_credit", "no_subsidy"]
    assert (await desk.rederive(file.rating_id)).identical
    await desk.rate()
    assert (await desk.file(1)).grade == ""
    async with desk.db.transaction(EVERY_COUNTY) as session:
        await jobs.close_day(chained)(session, COUNTY, date(2026, 1, 4))
    await desk.open_day(date(2026, 1, 5))
    await desk.rate()
    assert (await desk.file(1)).grade == "A"
    said = await desk.said()
    assert said[2:6] == [
        "household_listed",
        "household_graded",
        "limit_changed",
        "household_released",
    ]


@pytest.mark.postgres
async def test_who_proposed_does_not_decide(desk: Desk) -> None:
    await desk.put(1)
    proposed = await desk.propose(1, SANCTION, "evader", by=CENTRE)

    with pytest.raises(Denied, match="SECOND_PERSON_NEEDED"):
        await desk.decide(proposed, by=CENTRE)

    refused = (await desk.decide(proposed, by=OFFICE, approve=False)).measure
    assert refused.state == standing_pb2.MEASURE_STATE_REFUSED
    with pytest.raises(Refused, match="MEASURE_NOT_PROPOSED"):
        await desk.decide(proposed, by=OFFICE)


@pytest.mark.postgres
async def test_a_listing_is_released_on_its_terms_only(desk: Desk) -> None:
    await granted(desk)
    listed = (await desk.decide(await desk.propose(1, SANCTION, "indebted"))).measure
    await lent(desk, overdue=True)

    with pytest.raises(Invalid) as unknown:
        await end(desk, listed.measure_id, "he asked nicely")
    with pytest.raises(Refused, match="BAD_LOANS_REMAIN"):
        await end(desk, listed.measure_id, "full_repayment")
    await lent(desk, overdue=False)
    released = await end(desk, listed.measure_id, "full_repayment")

    assert unknown.value.reason == "RELEASE_TERM_UNKNOWN"
    assert (released.state, released.end_reason) == (ENDED, "full_repayment")
    await desk.rate()
    assert (await desk.file(1)).limit_fen == 5_000_000


@pytest.mark.postgres
async def test_the_non_malicious_are_granted_again_on_the_evidence_of_both_sides(
    desk: Desk,
) -> None:
    await granted(desk)
    with pytest.raises(Refused, match="NOT_SANCTIONED"):
        await desk.propose(1, SECOND, "non_malicious")
    await desk.decide(await desk.propose(1, SANCTION, "non_malicious"))
    proposed = await desk.propose(1, SECOND, "non_malicious", amount_fen=3_000_000)
    with pytest.raises(Denied, match="EVIDENCE_BY_MISSING"):
        await desk.decide(proposed, by=CENTRE)

    await desk.decide(proposed, by=BANK)
    await desk.rate()

    file = await desk.file(1)
    assert (file.grade, file.limit_fen) == ("A", 3_000_000)
    assert (await desk.rederive(file.rating_id)).identical


@pytest.mark.postgres
async def test_a_deduction_without_fault_is_waived_and_the_waiver_can_be_withdrawn(
    desk: Desk,
) -> None:
    await granted(desk)
    await desk.observe(1, late=1)
    await desk.rate()
    assert (await desk.file(1)).grade == ""
    calamity = standing_pb2.Fault(cause="force_majeure", repaid_on_time_before=True)
    blame = standing_pb2.Fault(cause="force_majeure", subjective=True, repaid_on_time_before=True)
    with pytest.raises(Refused, match="DEDUCTION_COUNTS"):
        await desk.propose(1, WAIVER, "late", fault=blame)
    with pytest.raises(Invalid, match="NOT_A_DEDUCTION"):
        await desk.propose(1, WAIVER, "skills", fault=calamity)

    waived = await desk.decide(await desk.propose(1, WAIVER, "late", fault=calamity), by=BANK)
    await desk.rate()

    file = await desk.file(1)
    assert (file.score_centi, file.grade) == (10_000, "A")
    assert list(waived.measure.effects) == [
        "force_majeure",
        "without_fault",
        "repaid_on_time_before",
    ]
    await end(desk, waived.measure.measure_id, "the storm never came")
    file = await desk.file(1)
    assert (file.score_centi, file.limit_fen) == (8_500, 0)


@pytest.mark.postgres
async def test_full_repayment_ends_the_observation_of_a_veto(desk: Desk) -> None:
    await granted(desk)
    await desk.observe(1, arrears=1)
    await desk.rate()
    await desk.observe(1, arrears=0)
    await desk.rate()
    assert list((await desk.file(1)).holds) == ["observation:arrears"]
    await lent(desk, overdue=True)
    with pytest.raises(Refused, match="BAD_LOANS_REMAIN"):
        await desk.propose(1, REHABILITATION, "arrears")
    await lent(desk, overdue=False)

    done = await desk.decide(await desk.propose(1, REHABILITATION, "arrears"))
    await desk.rate()

    assert (done.measure.state, done.measure.end_reason) == (ENDED, "done")
    assert (await desk.file(1)).limit_fen == 5_000_000
    with pytest.raises(Invalid, match="NOT_BARRED"):
        await desk.propose(1, REHABILITATION, "arrears")


@pytest.mark.postgres
async def test_measures_are_listed_as_they_held_on_a_day(desk: Desk) -> None:
    await desk.put(1)
    listed = (await desk.decide(await desk.propose(1, SANCTION, "evader"))).measure
    await desk.open_day(date(2021, 2, 1))
    await end(desk, listed.measure_id, "wrongly_listed")

    async def on(day: date) -> int:
        request = standing_pb2.ListMeasuresRequest(on=wire.date_to_proto(day))
        return len((await desk.ask("ListMeasures", request)).measures)

    assert [await on(d) for d in (date(2021, 1, 3), OPENED, date(2021, 2, 1))] == [0, 1, 0]
    everything = standing_pb2.ListMeasuresRequest(household_id=str(household_id(1)))
    assert len((await desk.ask("ListMeasures", everything)).measures) == 1


@pytest.mark.postgres
async def test_what_the_programme_does_not_name_is_refused(desk: Desk) -> None:
    await desk.put(1, 2)
    relative: Any = [standing_pb2.Relative(household_id=str(household_id(2)), relation="spouse")]

    with pytest.raises(Refused, match="UNKNOWN_SANCTION"):
        await desk.propose(1, SANCTION, "shouting")
    with pytest.raises(Refused, match="UNKNOWN_REWARD"):
        await desk.propose(1, REWARD, "cake")
    with pytest.raises(Invalid, match="RELATION_NOT_REACHED"):
        await desk.propose(1, SANCTION, "evader", relatives=relative)


def a_measure(kind: MeasureKind, code: str, **more: Any) -> Measure:
    values: dict[str, Any] = {
        "county_code": COUNTY,
        "measure_id": UUID(int=1),
        "household_id": household_id(1),
        "area_code": "990101001001",
        "kind": kind,
        "code": code,
        "programme": "chained@1",
        "state": MeasureState.PROPOSED,
        "reason": "as found",
        "evidence_sha256": EVIDENCE,
        "effects": (),
        "amount_fen": Fen(0),
        "proposed_on": OPENED,
        "from_on": None,
        "until_on": None,
        "relation": standing.SELF,
        "origin_id": None,
        "proposed": Actor("tst-1", "township_station", "p1"),
    }
    return Measure(**values | more)


LENDING = load()
TROIKA = LENDING.terms(COUNTY, "hubei-yunyang-troika@2016")
YANCHI = LENDING.terms(COUNTY, "ningxia-yanchi@2014")
LUSHI = LENDING.terms(COUNTY, "henan-lushi@2")
PAID = replace(NOTHING_LENT, settled_loans=2)


def proposed(
    kind: MeasureKind,
    code: str,
    terms: Terms,
    *,
    exposure: Exposure = NOTHING_LENT,
    amount_fen: int = 0,
    values: Mapping[str, int] | None = None,
) -> Measure:
    return standing.check_proposal(
        a_measure(kind, code, programme=terms.ref, amount_fen=Fen(amount_fen)),
        terms=terms,
        live=[],
        exposure=exposure,
        barred=(),
        fault=None,
        met=standing.conditions_met(values or {}, exposure),
    )


# YY.loa.8
def test_a_sanction_reaches_the_relatives_that_the_programme_names() -> None:
    first = proposed(MeasureKind.SANCTION, "wilful_default_loans", TROIKA)
    draft = a_measure(MeasureKind.SANCTION, first.code, programme=TROIKA.ref)

    [wife] = standing.relatives_of(first, [(draft, "spouse")], terms=TROIKA)
    decided = standing.decide(
        wife,
        by=Actor("cfc-1", "county_centre", "p2"),
        approve=True,
        reason="seen",
        terms=TROIKA,
        on=OPENED,
    )

    assert (wife.relation, wife.origin_id, wife.effects) == (
        "spouse",
        first.measure_id,
        ("no_credit",),
    )
    assert decided.until_on == date(2026, 1, 4)
    assert standing.standing_of([decided], OPENED).holds[0].code == "sanction:wilful_default_loans"
    assert standing.standing_of([decided], date(2026, 1, 5)).holds == ()
    for relation in ("child", "parent"):
        assert standing.relatives_of(first, [(draft, relation)], terms=TROIKA)
    with pytest.raises(Invalid, match="RELATION_NOT_REACHED"):
        standing.relatives_of(first, [(draft, "sibling")], terms=TROIKA)


# YY.loa.9: subsidies are lost by the borrower alone.
def test_what_reaches_relatives_is_said_sanction_by_sanction() -> None:
    first = proposed(MeasureKind.SANCTION, "wilful_default_subsidies", TROIKA)
    draft = a_measure(MeasureKind.SANCTION, first.code, programme=TROIKA.ref)

    assert first.effects == ("no_government_subsidies", "subsidy_set_off")
    with pytest.raises(Invalid, match="RELATION_NOT_REACHED"):
        standing.relatives_of(first, [(draft, "spouse")], terms=TROIKA)


# YC.reg.2
@pytest.mark.parametrize("reason", ["non_malicious", "full_repayment", "wrongly_listed"])
def test_a_sanction_ends_on_the_terms_that_the_programme_names(reason: str) -> None:
    first = proposed(MeasureKind.SANCTION, "blacklist", YANCHI)
    listed = replace(first, state=MeasureState.IN_FORCE, from_on=OPENED)

    ended = released(listed, reason, YANCHI)

    assert (ended.state, ended.end_reason) == (MeasureState.ENDED, reason)


def released(
    measure: Measure, reason: str, terms: Terms, exposure: Exposure = NOTHING_LENT
) -> Measure:
    return standing.end(
        measure,
        by=Actor("cfc-1", "county_centre", "p2"),
        reason=reason,
        evidence_sha256=EVIDENCE,
        terms=terms,
        exposure=exposure,
        on=OPENED,
    )


def test_a_sanction_does_not_end_on_another_programmes_terms_nor_while_debts_remain() -> None:
    listed = a_measure(
        MeasureKind.SANCTION, "blacklist", state=MeasureState.IN_FORCE, from_on=OPENED
    )
    evader = replace(listed, code="evader")
    bad = replace(NOTHING_LENT, bad_loans=1)

    with pytest.raises(Invalid, match="RELEASE_TERM_UNKNOWN"):
        released(evader, "non_malicious", LUSHI)
    with pytest.raises(Refused, match="BAD_LOANS_REMAIN"):
        released(listed, "full_repayment", YANCHI, bad)


# YY.loa.10
def test_a_reward_is_for_good_payers_and_raises_the_limit_where_the_programme_says_so() -> None:
    held = proposed(MeasureKind.REWARD, "good_payer", TROIKA, exposure=PAID, amount_fen=1_000_000)
    in_force = replace(held, state=MeasureState.IN_FORCE, from_on=OPENED)

    assert held.effects == ("higher_limit", "subsidy", "honour", "card")
    assert standing.standing_of([in_force], OPENED).reward_fen == 1_000_000
    with pytest.raises(Refused, match="GOOD_STANDING_NEEDED"):
        proposed(
            MeasureKind.REWARD,
            "good_payer",
            TROIKA,
            exposure=replace(PAID, open_loans=1, overdue_loans=1),
        )


def test_a_reward_asks_for_its_conditions_which_loans_or_an_observation_answer() -> None:
    late = replace(PAID, late_loans=1)

    for exposure, values in ((NOTHING_LENT, {}), (late, {"repaid_on_time": 1})):
        with pytest.raises(Refused, match="CONDITION_NOT_MET") as refusal:
            proposed(MeasureKind.REWARD, "good_payer", TROIKA, exposure=exposure, values=values)
        assert refusal.value.facts == {"lacking": "repaid_on_time"}
    assert proposed(MeasureKind.REWARD, "good_payer", TROIKA, values={"repaid_on_time": 1})
