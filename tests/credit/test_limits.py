"""Limits over all lenders from loans' events, their history, and the personal report."""

from datetime import UTC, date, datetime
from uuid import UUID

import pytest
from google.protobuf.message import Message
from liandong.credit.v1 import limits_pb2, scores_pb2
from liandong.loans.v1 import events_pb2
from nats.aio.client import Client
from nats.aio.msg import Msg

from services.credit import jobs
from services.credit.events_in import handlers
from services.kernel import wire
from services.kernel.bus import Consumer
from services.kernel.caller import Caller
from services.kernel.cloudevents import Envelope
from services.kernel.errors import Denied, Invalid
from services.kernel.ids import new_id
from services.kernel.inbox import Delivery
from services.kernel.walls import EVERY_COUNTY
from services.programmes.loader import Catalogue
from tests.credit.chained import BANK, CENTRE, EVIDENCE, GRANTER, Desk
from tests.credit.county import COUNTY, OPENED, VILLAGE, a_caller, household_id
from tests.credit.test_standing import SANCTION, granted

pytestmark = pytest.mark.postgres

LOAN, OTHER = UUID(int=1), UUID(int=2)
OTHER_BANK = a_caller("bank", institution_id="psb-1")


class Lender:
    """Says what loans says, in sequence, through the consumer's own path."""

    def __init__(self, desk: Desk) -> None:
        self._consumer = Consumer(desk.db, "credit", handlers(desk.catalogue), batch_size_max=500)
        self._sequences: dict[str, int] = {}

    async def says(
        self, name: str, message: Message, *, of: UUID = LOAN, kind: str = "loans.loan"
    ) -> None:
        key = f"{kind}:{of}"
        self._sequences[key] = self._sequences.get(key, 0) + 1
        envelope = Envelope(
            event_id=new_id(),
            event_type=f"liandong.loans.v1.{name}",
            aggregate_type=kind,
            aggregate_id=str(of),
            sequence=self._sequences[key],
            county_code=COUNTY,
            business_date=OPENED,
            programme="chained@1",
            traceparent="",
            recorded_at=datetime(2021, 1, 4, tzinfo=UTC),
        )
        delivery = Delivery(envelope, message.SerializeToString(), Msg(Client()))
        # Twice, as a stream may deliver it.
        for _ in range(2):
            await self._consumer._apply([delivery])

    async def approved(self, fen: int, *, of: UUID = LOAN, lender: str = "rcb-1") -> None:
        message = events_pb2.LoanApproved(
            loan_id=str(of), household_id=str(household_id(1)), lender_id=lender, principal_fen=fen
        )
        await self.says("loan_approved", message, of=of)

    async def disbursed(self, fen: int, *, of: UUID = LOAN, lender: str = "rcb-1") -> None:
        message = events_pb2.LoanDisbursed(
            loan_id=str(of), household_id=str(household_id(1)), lender_id=lender, principal_fen=fen
        )
        await self.says("loan_disbursed", message, of=of)

    async def repaid(self, fen: int, *, of: UUID = LOAN) -> None:
        message = events_pb2.LoanRepaid(loan_id=str(of), amount_fen=fen + 5, principal_fen=fen)
        await self.says("loan_repaid", message, of=of)


async def limit(desk: Desk, *, by: Caller = BANK) -> limits_pb2.Limit:
    request = limits_pb2.GetLimitRequest(household_id=str(household_id(1)))
    answer: limits_pb2.GetLimitResponse = await desk.ask("GetLimit", request, by=by)
    return answer.limit


def figures(found: limits_pb2.Limit) -> tuple[int, int, int, int, int]:
    return (
        found.granted_fen,
        found.used_fen,
        found.committed_fen,
        found.free_fen,
        found.own_used_fen,
    )


async def test_one_limit_is_used_by_all_lenders_and_free_again_when_repaid(desk: Desk) -> None:
    await granted(desk)
    lender = Lender(desk)
    assert figures(await limit(desk)) == (5_000_000, 0, 0, 5_000_000, 0)

    await lender.approved(2_000_000)
    assert figures(await limit(desk)) == (5_000_000, 0, 2_000_000, 3_000_000, 0)
    await lender.disbursed(2_000_000)
    await lender.disbursed(1_000_000, of=OTHER, lender="psb-1")
    assert figures(await limit(desk)) == (5_000_000, 3_000_000, 0, 2_000_000, 2_000_000)
    assert (await limit(desk, by=OTHER_BANK)).own_used_fen == 1_000_000
    await lender.repaid(1_500_000)

    assert figures(await limit(desk)) == (5_000_000, 1_500_000, 0, 3_500_000, 500_000)


async def test_a_payout_that_was_undone_is_owed_again(desk: Desk) -> None:
    await granted(desk)
    lender, payout = Lender(desk), UUID(int=9)
    await lender.disbursed(2_000_000)
    part = events_pb2.LenderPart(loan_id=str(LOAN), lender_id="rcb-1", principal_fen=1_200_000)
    allocated = events_pb2.PayoutAllocated(payout_id=str(payout), parts=[part])
    await lender.says("payout_allocated", allocated, of=payout, kind="loans.payout_allocation")
    assert (await limit(desk)).used_fen == 800_000

    undone = events_pb2.PayoutAllocationReversed(payout_id=str(payout))
    await lender.says(
        "payout_allocation_reversed", undone, of=payout, kind="loans.payout_allocation"
    )

    assert (await limit(desk)).used_fen == 2_000_000


async def test_a_payout_may_be_heard_before_the_loan_that_it_pays(desk: Desk) -> None:
    await granted(desk)
    lender, payout = Lender(desk), UUID(int=9)
    part = events_pb2.LenderPart(loan_id=str(LOAN), lender_id="rcb-1", principal_fen=500_000)
    allocated = events_pb2.PayoutAllocated(payout_id=str(payout), parts=[part])
    await lender.says("payout_allocated", allocated, of=payout, kind="loans.payout_allocation")

    await lender.disbursed(2_000_000)

    assert (await limit(desk)).used_fen == 1_500_000


async def test_a_refused_loan_commits_nothing(desk: Desk) -> None:
    await granted(desk)
    lender = Lender(desk)
    await lender.approved(2_000_000)

    refused = events_pb2.LoanRefused(loan_id=str(LOAN), household_id=str(household_id(1)))
    await lender.says("loan_refused", refused)

    assert figures(await limit(desk)) == (5_000_000, 0, 0, 5_000_000, 0)


async def test_a_limit_that_was_lowered_below_its_use_is_exceeded(desk: Desk) -> None:
    await granted(desk)
    await Lender(desk).disbursed(3_000_000)
    await desk.observe(1, late=1)
    await desk.rate()

    found = await limit(desk)

    assert (found.granted_fen, found.free_fen, found.exceeded) == (0, 0, True)


async def test_every_change_of_a_limit_is_kept_under_its_event(
    desk: Desk, chained: Catalogue
) -> None:
    await granted(desk)
    await desk.observe(1, skills=1)
    await desk.rate()
    async with desk.db.transaction(EVERY_COUNTY) as session:
        await jobs.close_day(chained)(session, COUNTY, date(2024, 1, 4))
    request = limits_pb2.ListLimitChangesRequest(household_id=str(household_id(1)), page_size=2)

    first = await desk.ask("ListLimitChanges", request)
    request.page_token = first.next_page_token
    rest = await desk.ask("ListLimitChanges", request)

    found = [(c.fact, c.limit_fen, c.sequence) for c in (*first.changes, *rest.changes)]
    assert found == [
        ("limit_expired", 0, 5),
        ("limit_changed", 10_000_000, 4),
        ("limit_changed", 5_000_000, 2),
    ]
    assert first.changes[1].valid_until == wire.date_to_proto(date(2024, 1, 4))
    assert first.changes[0].changed_on == wire.date_to_proto(date(2024, 1, 4))


async def test_the_report_says_index_grade_why_and_what_is_free(desk: Desk) -> None:
    await granted(desk)
    lender = Lender(desk)
    await lender.disbursed(2_000_000)
    await lender.says("loan_overdue", events_pb2.LoanOverdue(loan_id=str(LOAN), overdue_days=3))
    await desk.decide(await desk.propose(1, SANCTION, "evader"), by=GRANTER)
    score = scores_pb2.RecordExternalScoreRequest(
        household_id=str(household_id(1)),
        model_id="portrait@3",
        score_centi=71_000,
        min_score_centi=30_000,
        max_score_centi=95_000,
        scored_on=wire.date_to_proto(OPENED),
        evidence_sha256=EVIDENCE,
    )
    await desk.ask("RecordExternalScore", score, by=BANK)
    request = limits_pb2.GetCreditReportRequest(household_id=str(household_id(1)))

    report: limits_pb2.GetCreditReportResponse = await desk.ask("GetCreditReport", request)

    assert (report.index_centi, report.rating.grade, report.limit.free_fen) == (10_000, "", 0)
    assert report.words
    assert report.words_zh
    assert list(report.next_grade.lift) == ["sanction:evader"]
    assert [each.code for each in report.measures] == ["evader"]
    assert [each.cause for each in report.history] == ["standing_changed", "rated"]
    assert (report.open_loans, report.overdue_loans) == (1, 1)
    assert [(s.model_id, s.source_id) for s in report.external_scores] == [("portrait@3", "rcb-1")]


async def test_a_models_score_lies_within_its_range_and_its_day(desk: Desk) -> None:
    await desk.put(1)
    score = scores_pb2.RecordExternalScoreRequest(
        household_id=str(household_id(1)),
        model_id="portrait@3",
        score_centi=2,
        min_score_centi=0,
        max_score_centi=1,
        scored_on=wire.date_to_proto(OPENED),
        evidence_sha256=EVIDENCE,
    )
    with pytest.raises(Invalid, match="SCORE_OUT_OF_RANGE"):
        await desk.ask("RecordExternalScore", score, by=BANK)
    score.score_centi = 1
    score.scored_on.day = 5
    with pytest.raises(Invalid, match="OBSERVED_IN_FUTURE"):
        await desk.ask("RecordExternalScore", score, by=CENTRE)
    with pytest.raises(Denied, match="ROLE_NOT_ALLOWED"):
        await desk.ask("RecordExternalScore", score, by=a_caller("township_station"))


async def test_nothing_new_is_granted_while_a_breaker_stops_it(desk: Desk) -> None:
    await granted(desk)
    lender, breaker = Lender(desk), UUID(int=7)
    tripped = events_pb2.BreakerTripped(
        scope="village", scope_id=VILLAGE, effects=["stop_grant", "stop_approve"]
    )
    await lender.says("breaker_tripped", tripped, of=breaker, kind="loans.breaker")

    await granted(desk, 2)

    held, stopped = await desk.file(1), await desk.file(2)
    assert held.limit_fen == 5_000_000
    assert (stopped.grade, stopped.limit_fen) == ("A", 0)
    assert list(stopped.holds) == [f"breaker:{VILLAGE}"]
    assert (await desk.rederive(stopped.rating_id)).identical
    reset = events_pb2.BreakerReset(scope="village", scope_id=VILLAGE)
    await lender.says("breaker_reset", reset, of=breaker, kind="loans.breaker")
    await desk.rate()
    assert (await desk.file(2)).limit_fen == 5_000_000
