"""Causes: what a batch says goes on with the trace of the event that it comes from."""

from liandong.claims.v1 import events_pb2 as claims
from liandong.loans.v1 import events_pb2 as loans

from services.kernel import telemetry
from services.kernel.causes import Cause, Causes

FIRST, SECOND = f"00-{'a' * 32}-{'1' * 16}-01", f"00-{'b' * 32}-{'2' * 16}-01"


def authorised(payout: str, loan: str, traceparent: str) -> Cause:
    message = claims.PayoutAuthorised(
        payout_id=payout, groups=[claims.PayeeGroup(loan_ids=[loan])], insurer_id="ins-1"
    )
    return Cause(payout, message, traceparent)


def test_what_is_said_goes_on_with_the_event_that_is_about_it_or_names_it() -> None:
    first, second = authorised("p1", "l1", FIRST), authorised("p2", "l2", SECOND)
    causes = Causes([first, second])

    assert causes.of("p2", loans.PayoutAllocated(payout_id="p2")) is second
    assert causes.of("l1", loans.LoanSettled(loan_id="l1")) is first
    assert causes.of("other", loans.LoanSettled(loan_id="l2")) is second
    assert causes.of("other", loans.LoanSettled(loan_id="l3")) is None


def test_a_traceparent_is_read_or_is_none() -> None:
    read = telemetry.read_traceparent(FIRST)
    assert read is not None
    assert telemetry.traceparent(read) == FIRST
    for wrong in ("", "00-x", FIRST.upper(), f"00-{'0' * 32}-{'1' * 16}-01", FIRST + "-"):
        assert telemetry.read_traceparent(wrong) is None, wrong
