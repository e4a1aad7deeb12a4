"""What a programme orders on problem loans reaches a household's standing, once and reversibly."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from google.protobuf.message import Message
from liandong.credit.v1 import scores_pb2, standing_pb2
from liandong.loans.v1 import events_pb2
from nats.aio.client import Client
from nats.aio.msg import Msg

from services.credit.events_in import handlers
from services.credit.model import Pins
from services.credit.rules.scheme import scheme_of, score
from services.kernel import wire
from services.kernel.bus import Consumer
from services.kernel.cloudevents import Envelope
from services.kernel.database import Database, execute, fetch
from services.kernel.errors import Invalid, Refused
from services.kernel.ids import new_id
from services.kernel.inbox import Delivery
from services.kernel.walls import EVERY_COUNTY
from services.programmes.loader import Catalogue
from tests.credit.chained import EVIDENCE, OFFICE, Desk
from tests.credit.county import COUNTY, OPENED, VILLAGE, household_id

REF = "chained@1"
LOAN, OTHER_LOAN = UUID(int=7), UUID(int=8)
DEMOTION = standing_pb2.MEASURE_KIND_DEMOTION
SANCTION = standing_pb2.MEASURE_KIND_SANCTION
GRADES = {"A": 5_000_000, "AA": 10_000_000, "AAA": 20_000_000}


@pytest.fixture
def consumer(db: Database, chained: Catalogue) -> Consumer:
    return Consumer(db, "credit", handlers(chained), batch_size_max=500)


def told(name: str, aggregate: str, sequence: int, message: Message) -> Delivery:
    envelope = Envelope(
        event_id=new_id(),
        event_type=f"liandong.loans.v1.{name}",
        aggregate_type="loans.loan" if "loan" in name else "loans.breaker",
        aggregate_id=aggregate,
        sequence=sequence,
        county_code=COUNTY,
        business_date=OPENED,
        programme=REF,
        traceparent="",
        recorded_at=datetime(2021, 1, 4, tzinfo=UTC),
    )
    return Delivery(envelope, message.SerializeToString(), Msg(Client()))


def ordered(action: str, sequence: int = 1, *, loan_id: UUID = LOAN, number: int = 1) -> Delivery:
    message = events_pb2.LoanActionTaken(
        loan_id=str(loan_id),
        household_id=str(household_id(number)),
        action=action,
        place=sequence + 1,
        cause="non_performing",
        since=wire.date_to_proto(OPENED),
        rule_version=REF,
    )
    return told("loan_action_taken", str(loan_id), sequence, message)


async def take(consumer: Consumer, *deliveries: Delivery) -> None:
    await consumer._apply(deliveries)


async def granted(desk: Desk, **observed: int) -> None:
    """A household with a limit from before the public notice became the rule."""
    await desk.put(1)
    async with desk.db.transaction(EVERY_COUNTY) as session:
        await execute(
            session,
            "UPDATE credit_file SET granted_on = $2 WHERE household_id = $1",
            household_id(1),
            OPENED,
        )
    if observed:
        await desk.observe(1, **observed)
    await desk.rate()


async def measures(desk: Desk) -> dict[Any, Any]:
    request = standing_pb2.ListMeasuresRequest(household_id=str(household_id(1)), page_size=50)
    answer = await desk.ask("ListMeasures", request)
    return {each.kind: each for each in answer.measures}


async def end(desk: Desk, measure_id: str, reason: str) -> None:
    request = standing_pb2.EndMeasureRequest(
        measure_id=measure_id, reason=reason, evidence_sha256=EVIDENCE
    )
    await desk.ask("EndMeasure", request, by=OFFICE)


async def words(desk: Desk) -> str:
    request = scores_pb2.ExplainScoreRequest(household_id=str(household_id(1)))
    answer = await desk.ask("ExplainScore", request)
    return "\n".join((*answer.words, *answer.words_zh))


async def lent(desk: Desk, *, bad: bool) -> None:
    async with desk.db.transaction(EVERY_COUNTY) as session:
        await execute(
            session,
            """INSERT INTO exposure (county_code, loan_id, household_id, lender_id, drawn_fen,
                                     non_performing) VALUES ($1, $2, $3, 'rcb-1', 100, $4)
               ON CONFLICT (county_code, loan_id) DO UPDATE
               SET non_performing = excluded.non_performing""",
            COUNTY,
            LOAN,
            household_id(1),
            bad,
        )


# LS18.loa.6
@pytest.mark.postgres
async def test_an_ordered_lower_grade_is_one_step_and_told(desk: Desk, consumer: Consumer) -> None:
    await granted(desk, skills=1)
    assert (await desk.file(1)).grade == "AA"
    event = ordered("lower_grade")

    await take(consumer, event)
    await take(consumer, event)

    file = await desk.file(1)
    assert (file.grade, file.limit_fen) == ("A", 5_000_000)
    assert (await desk.rederive(file.rating_id)).identical
    said = await words(desk)
    assert "Grade lowered by 1 for non-performing loans" in said
    assert f"lower_grade was ordered on {OPENED}: loan {LOAN}" in said
    assert (await desk.said())[-2:] == ["household_graded", "limit_changed"]
    await desk.rate()
    assert (await desk.file(1)).grade == "A"
    await take(consumer, ordered("lower_grade", loan_id=OTHER_LOAN))
    assert ((await desk.file(1)).grade, (await desk.file(1)).limit_fen) == ("", 0)


# LS18.loa.6, LS18.sco.3
@pytest.mark.postgres
async def test_ordered_listing_and_court_are_released_after_full_repayment(
    desk: Desk, consumer: Consumer
) -> None:
    await granted(desk, skills=1)
    await lent(desk, bad=True)

    await take(consumer, ordered("lower_grade"), ordered("blacklist", 2), ordered("court", 3))

    held = await measures(desk)
    file = await desk.file(1)
    assert (file.limit_fen, list(file.holds)) == (0, ["sanction:blacklist"])
    assert list(held[SANCTION].effects) == ["no_credit"]
    assert held[SANCTION].state == standing_pb2.MEASURE_STATE_IN_FORCE
    assert "household_listed" in await desk.said()
    assert "依法起诉" in await words(desk)
    for kind in (SANCTION, DEMOTION):
        with pytest.raises(Refused, match="BAD_LOANS_REMAIN"):
            await end(desk, held[kind].measure_id, "full_repayment")
        with pytest.raises(Invalid, match="RELEASE_TERM_UNKNOWN"):
            await end(desk, held[kind].measure_id, "forgotten")
    await lent(desk, bad=False)
    for kind in (SANCTION, DEMOTION):
        await end(desk, held[kind].measure_id, "full_repayment")
    await desk.rate()
    assert ((await desk.file(1)).grade, (await desk.file(1)).limit_fen) == ("AA", 10_000_000)
    assert "household_released" in await desk.said()


@pytest.mark.postgres
async def test_one_listing_for_two_loans_and_none_for_who_has_no_file(
    desk: Desk, consumer: Consumer, db: Database
) -> None:
    await granted(desk)

    await take(consumer, ordered("blacklist"))
    await take(consumer, ordered("blacklist", loan_id=OTHER_LOAN))
    await take(consumer, ordered("blacklist", loan_id=UUID(int=9), number=5))
    await take(consumer, ordered("stop_subsidy", loan_id=UUID(int=10)))

    async with db.transaction(EVERY_COUNTY) as session:
        kept = await fetch(session, "SELECT action, measure_id FROM loan_action ORDER BY loan_id")
        listed = await fetch(session, "SELECT 1 FROM measure WHERE state = 'in_force'")
    assert [row["measure_id"] is not None for row in kept] == [True, False, False]
    assert len(listed) == 1


@pytest.mark.postgres
async def test_nobody_proposes_what_the_programme_orders(desk: Desk) -> None:
    await granted(desk)

    with pytest.raises(Refused, match="ORDERED_BY_PROGRAMME"):
        await desk.propose(1, DEMOTION, "lower_grade")


# LS17.mon.3: all institutions stop granting; a limit that stands goes on (S18).
@pytest.mark.postgres
@pytest.mark.parametrize(
    ("scope", "scope_id", "stops"),
    [
        ("village", VILLAGE[:12], True),
        ("township", VILLAGE[:9], True),
        ("programme", "chained", True),
        ("programme", "another", False),
        ("outlet", "rcb-1/0012", False),
    ],
)
async def test_nothing_new_is_granted_where_a_breaker_tripped(
    desk: Desk, consumer: Consumer, scope: str, scope_id: str, stops: bool
) -> None:
    tripped = events_pb2.BreakerTripped(
        scope=scope, scope_id=scope_id, effects=["stop_grant", "stop_approve"], epoch=1
    )
    reset = events_pb2.BreakerReset(scope=scope, scope_id=scope_id, epoch=1)
    key = f"{scope}:{scope_id}"
    await take(consumer, told("breaker_tripped", key, 1, tripped))

    await granted(desk)

    file = await desk.file(1)
    assert (file.limit_fen == 0) is stops
    assert list(file.holds) == ([f"breaker:{scope_id}"] if stops else [])
    await take(consumer, told("breaker_reset", key, 2, reset))
    await desk.rate()
    assert (await desk.file(1)).limit_fen == GRADES["A"]


def test_steps_below_the_lowest_grade_leave_none(chained: Catalogue) -> None:
    scheme = scheme_of(chained.terms(COUNTY, REF))
    made = [score(scheme, {"skills": 1}, "", replace(Pins(), demoted=n)) for n in range(4)]

    assert [(each.grade, each.limit_fen) for each in made] == [
        ("AA", GRADES["AA"]),
        ("A", GRADES["A"]),
        (None, 0),
        (None, 0),
    ]
