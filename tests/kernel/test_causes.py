"""Causes: what a batch says goes on with the trace of the event that it comes from."""

from datetime import UTC, datetime
from uuid import uuid4

from google.protobuf.message import Message
from liandong.claims.v1 import events_pb2 as claims
from liandong.loans.v1 import events_pb2 as loans

from services.kernel import telemetry
from services.kernel.causes import Causes
from services.kernel.cloudevents import Envelope
from services.kernel.inbox import Incoming

FIRST, SECOND = f"00-{'a' * 32}-{'1' * 16}-01", f"00-{'b' * 32}-{'2' * 16}-01"


def authorised(payout: str, loan: str) -> Incoming[Message]:
    message = claims.PayoutAuthorised(
        payout_id=payout, groups=[claims.PayeeGroup(loan_ids=[loan])], insurer_id="ins-1"
    )
    envelope = Envelope(
        event_id=uuid4(),
        event_type="liandong.claims.v1.payout_authorised",
        aggregate_type="claims.payout",
        aggregate_id=payout,
        sequence=1,
        county_code="123456",
        business_date=None,
        programme="",
        traceparent="",
        recorded_at=datetime.now(UTC),
    )
    return Incoming(envelope, message)


def test_what_is_said_goes_on_with_the_event_that_is_about_it_or_names_it() -> None:
    causes = Causes([authorised("p1", "l1"), authorised("p2", "l2")], [FIRST, SECOND])

    assert causes.of("p2", loans.PayoutAllocated(payout_id="p2")) == SECOND
    assert causes.of("l1", loans.LoanSettled(loan_id="l1")) == FIRST
    assert causes.of("other", loans.LoanSettled(loan_id="l2")) == SECOND
    assert causes.of("other", loans.LoanSettled(loan_id="l3")) == ""


def test_a_traceparent_is_read_or_is_none() -> None:
    read = telemetry.read_traceparent(FIRST)
    assert read is not None
    assert telemetry.traceparent(read) == FIRST
    for wrong in ("", "00-x", FIRST.upper(), f"00-{'0' * 32}-{'1' * 16}-01", FIRST + "-"):
        assert telemetry.read_traceparent(wrong) is None, wrong
