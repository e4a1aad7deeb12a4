"""Measures over gRPC: sanctions, second grants, waivers, rehabilitation, rewards."""

from datetime import date
from types import SimpleNamespace
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
from services.programmes.loader import Catalogue
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
    async with desk.db.transaction() as session:
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
    async with desk.db.transaction() as session:
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
    async with desk.db.transaction() as session:
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


def terms_with(**loans: Any) -> Any:
    """Terms whose loans section says more than the packs of these tests."""
    rules = SimpleNamespace(sanctions=(), rewards=(), **loans) if not loans else None
    section = rules or SimpleNamespace(**{"sanctions": (), "rewards": (), **loans})
    return SimpleNamespace(
        ref="chained@1", pack=SimpleNamespace(loans=section, registry=None), scoring=None
    )


def test_a_sanction_reaches_the_relatives_that_the_programme_names() -> None:
    ban = SimpleNamespace(
        id="refuser",
        effects=("no_credit",),
        ban_months=60,
        relations=("self", "spouse", "child", "parent"),
        lifted_by=("full_repayment",),
    )
    terms = terms_with(sanctions=(ban,))
    first = standing.check_proposal(
        a_measure(MeasureKind.SANCTION, "refuser"),
        terms=terms,
        live=[],
        exposure=NOTHING_LENT,
        barred=(),
        fault=None,
    )

    [wife] = standing.relatives_of(
        first, [(a_measure(MeasureKind.SANCTION, "refuser"), "spouse")], terms=terms
    )
    decided = standing.decide(
        wife,
        by=Actor("cfc-1", "county_centre", "p2"),
        approve=True,
        reason="seen",
        terms=terms,
        on=OPENED,
    )

    assert (wife.relation, wife.origin_id, wife.effects) == (
        "spouse",
        first.measure_id,
        ("no_credit",),
    )
    assert decided.until_on == date(2026, 1, 4)
    assert standing.standing_of([decided], OPENED).holds[0].code == "sanction:refuser"
    assert standing.standing_of([decided], date(2026, 1, 5)).holds == ()


def test_a_reward_is_for_good_payers_and_raises_the_limit_where_the_programme_says_so() -> None:
    reward = SimpleNamespace(
        id="good_payer",
        effects=("higher_limit", "subsidy"),
        card=SimpleNamespace(limit_fen=300_000),
    )
    terms = terms_with(rewards=(reward,))

    def propose(
        exposure: Exposure = NOTHING_LENT, live: Any = (), code: str = "good_payer"
    ) -> Measure:
        return standing.check_proposal(
            a_measure(MeasureKind.REWARD, code, amount_fen=Fen(1_000_000)),
            terms=terms,
            live=live,
            exposure=exposure,
            barred=(),
            fault=None,
        )

    held = propose()
    in_force = a_measure(
        MeasureKind.REWARD,
        "good_payer",
        state=MeasureState.IN_FORCE,
        from_on=OPENED,
        amount_fen=held.amount_fen,
    )

    assert held.effects == ("higher_limit", "subsidy", "card")
    assert standing.standing_of([in_force], OPENED).reward_fen == 1_000_000
    with pytest.raises(Refused, match="GOOD_STANDING_NEEDED"):
        propose(Exposure(Fen(1), Fen(1), Fen(0), Fen(0), 1, 1, 0))
