"""Money on a real database: backdated, undone, moved, given back; statements and closed books."""

from datetime import timedelta

import pytest
from liandong.loans.v1 import events_pb2, loans_pb2

from services.kernel.bus import Consumer
from services.kernel.database import Database
from services.kernel.errors import NotFound, Refused
from services.loans.servicer import LoansServicer
from services.programmes.loader import Catalogue
from tests.loans import steps
from tests.loans.builders import YUAN
from tests.loans.county import (
    BANK,
    CENTRE,
    COUNTY,
    LENDER,
    OPENED,
    OTHER_LENDER,
    Fund,
    House,
    calling,
    day,
)

pytestmark = pytest.mark.postgres

ACTIVE = loans_pb2.LOAN_STATE_ACTIVE
SETTLED = loans_pb2.LOAN_STATE_SETTLED


async def undo(
    servicer: LoansServicer, loan_id: str, number: int
) -> loans_pb2.ReverseRepaymentResponse:
    request = loans_pb2.ReverseRepaymentRequest(
        request_id=steps.an_id(), county_code=COUNTY, loan_id=loan_id, number=number, reason="错账"
    )
    return await servicer.ReverseRepayment(request, calling(LENDER, request))


async def test_a_backdated_repayment_is_worth_what_it_would_have_been_in_time(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    late = (await steps.active(servicer, consumer, House())).loan_id
    in_time = (await steps.active(servicer, consumer, House())).loan_id
    await steps.repay(servicer, in_time, 10_000 * YUAN)
    today = await steps.advance(db, catalogue, 100)
    # Its book has gone on, so what comes now replays it.
    await steps.repay(servicer, late, 5_000 * YUAN, on=today)
    await steps.repay(servicer, in_time, 5_000 * YUAN, on=today)

    await steps.repay(servicer, late, 10_000 * YUAN)

    one, other = await steps.get(servicer, late), await steps.get(servicer, in_time)
    assert (one.outstanding_fen, one.interest_fen) == (other.outstanding_fen, other.interest_fen)
    await steps.books_are_whole(db)
    lines = await steps.statement(servicer, late)
    assert [line.number for line in lines] == [1, 2, 3]
    # What the later payment took is told as the book stands now.
    assert lines[1].interest_fen == (await steps.statement(servicer, in_time))[2].interest_fen


async def test_an_undone_repayment_leaves_the_loan_as_if_it_had_never_been(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    loan = await steps.active(servicer, consumer, house := House())
    await steps.repay(servicer, loan.loan_id, 30_000 * YUAN)
    assert (await steps.get(servicer, loan.loan_id)).state == SETTLED

    answer = await undo(servicer, loan.loan_id, 2)

    assert (answer.loan.state, answer.loan.outstanding_fen) == (ACTIVE, 30_000 * YUAN)
    assert await steps.exposure(db, house) == 30_000 * YUAN
    assert (await steps.story(db, loan.loan_id))[-2:] == ["repayment_reversed", "loan_reopened"]
    assert [line.counts for line in await steps.statement(servicer, loan.loan_id)] == [
        True,
        False,
        False,
    ]
    await steps.books_are_whole(db)


async def test_a_late_repayment_lowers_what_its_undoing_raises(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    loan_id = (await steps.active(servicer, consumer, House())).loan_id
    today = await steps.advance(db, catalogue, 100)
    await steps.repay(servicer, loan_id, 1, on=today)

    # The money had come on the first day: a hundred days' interest on it is not owed.
    await steps.repay(servicer, loan_id, 10_000 * YUAN)
    await undo(servicer, loan_id, 3)

    on_time, late = await steps.said(db, "loan_repaid", events_pb2.LoanRepaid)
    assert (on_time.principal_less_fen, on_time.interest_less_fen) == (0, 1)
    assert (late.principal_fen, late.interest_fen) == (10_000 * YUAN, 0)
    assert late.interest_less_fen > 0
    (undone,) = await steps.said(db, "repayment_reversed", events_pb2.RepaymentReversed)
    assert (undone.principal_back_fen, undone.interest_back_fen) == (
        late.principal_less_fen,
        late.interest_less_fen,
    )


# S21, S22: what was compensated and never owed is the lender's to give back.
async def test_interest_that_was_compensated_and_falls_later_is_given_back(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    loan_id = (await steps.active(servicer, consumer, House())).loan_id
    today = await steps.advance(db, catalogue, 100)
    # What is overdue is charged at each close; here a payment charges it.
    await steps.repay(servicer, loan_id, 1, on=today)
    owed = await steps.get(servicer, loan_id)
    assert owed.interest_fen > 0
    loss = owed.outstanding_fen + owed.interest_fen
    await steps.take(consumer, Fund().paid(loan_id, {"fund": ("fin-1", loss)}))

    # The money had come on the first day, and is booked today.
    await steps.repay(servicer, loan_id, 10_000 * YUAN)

    now = await steps.get(servicer, loan_id)
    excess = loss - 10_000 * YUAN - _owed(now)
    assert excess > 0
    assert now.subrogated_fen == _owed(now)
    (said,) = await steps.said(db, "compensation_exceeded", events_pb2.CompensationExceeded)
    assert (said.excess_fen, said.subrogated_fen) == (excess, now.subrogated_fen)
    assert (said.lender_id, said.loan_id) == (BANK, loan_id)
    _, repaid = await steps.said(db, "loan_repaid", events_pb2.LoanRepaid)
    assert repaid.subrogated_fen == 10_000 * YUAN
    story = await steps.story(db, loan_id)
    assert story[-2:] == ["loan_repaid", "compensation_exceeded"]
    await steps.books_are_whole(db)

    await undo(servicer, loan_id, 3)
    again = await steps.get(servicer, loan_id)
    # The household owes the interest to its lender, who gave it back.
    assert (_owed(again), again.subrogated_fen) == (loss, loss - excess)
    await steps.repay(servicer, loan_id, 10_000 * YUAN)
    assert (await steps.get(servicer, loan_id)).subrogated_fen == now.subrogated_fen
    assert len(await steps.said(db, "compensation_exceeded", events_pb2.CompensationExceeded)) == 1
    await steps.books_are_whole(db)


async def test_what_came_before_the_compensation_is_given_back_when_it_is_noted(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    loan_id = (await steps.active(servicer, consumer, House())).loan_id
    await steps.repay(servicer, loan_id, 30_000 * YUAN)

    await steps.take(consumer, Fund().paid(loan_id, {"fund": ("fin-1", 30_000 * YUAN)}))

    (said,) = await steps.said(db, "compensation_exceeded", events_pb2.CompensationExceeded)
    assert (said.excess_fen, said.subrogated_fen) == (30_000 * YUAN, 0)
    assert (await steps.get(servicer, loan_id)).state == SETTLED
    await steps.books_are_whole(db)


def _owed(loan: loans_pb2.Loan) -> int:
    return loan.outstanding_fen + loan.interest_fen


@pytest.mark.parametrize(("number", "reason"), [(1, "NOT_A_REPAYMENT"), (9, "NOT_A_REPAYMENT")])
async def test_only_a_repayment_is_undone(
    servicer: LoansServicer, consumer: Consumer, number: int, reason: str
) -> None:
    loan = await steps.active(servicer, consumer, House())

    with pytest.raises(Refused, match=reason):
        await undo(servicer, loan.loan_id, number)


async def test_a_repayment_is_undone_once(servicer: LoansServicer, consumer: Consumer) -> None:
    loan = await steps.active(servicer, consumer, House())
    await steps.repay(servicer, loan.loan_id, 1)
    await undo(servicer, loan.loan_id, 2)

    for number, reason in ((2, "POSTING_REVERSED_ALREADY"), (3, "NOT_A_REPAYMENT")):
        with pytest.raises(Refused, match=reason):
            await undo(servicer, loan.loan_id, number)


async def test_a_repayment_to_the_wrong_loan_is_moved_with_its_day(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    wrong = (await steps.active(servicer, consumer, House())).loan_id
    meant = (await steps.active(servicer, consumer, House())).loan_id
    await steps.repay(servicer, wrong, 10_000 * YUAN)
    today = await steps.advance(db, catalogue, 50)
    await steps.repay(servicer, meant, 100, on=today)
    request = loans_pb2.MoveRepaymentRequest(
        request_id=steps.an_id(),
        county_code=COUNTY,
        loan_id=wrong,
        number=2,
        to_loan_id=meant,
        reason="记错贷款",
    )

    answer = await servicer.MoveRepayment(request, calling(LENDER, request))

    assert answer.loan.outstanding_fen == 30_000 * YUAN
    assert answer.to_loan.outstanding_fen == 20_000 * YUAN
    found = await steps.books_are_whole(db)
    assert found["loans.outstanding_principal_fen"] == 50_000 * YUAN


async def test_what_was_paid_too_much_is_given_back_and_no_more(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    loan = await steps.active(servicer, consumer, House())
    after = await steps.repay(servicer, loan.loan_id, 30_000 * YUAN + 500)
    assert (after.state, after.suspense_fen) == (SETTLED, 500)

    with pytest.raises(Refused, match="ABOVE_SUSPENSE"):
        await steps.refund(servicer, loan.loan_id, 501)
    given = await steps.refund(servicer, loan.loan_id, 500)

    assert given.suspense_fen == 0
    (told,) = await steps.said(db, "loan_repaid", events_pb2.LoanRepaid)
    assert (told.amount_fen, told.suspense_fen) == (30_000 * YUAN + 500, 500)
    await steps.books_are_whole(db)


async def test_nothing_is_booked_into_closed_books(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    loan = await steps.active(servicer, consumer, House())
    today = await steps.advance(db, catalogue, 10)

    def closing(days: int) -> loans_pb2.CloseAccountingPeriodRequest:
        return loans_pb2.CloseAccountingPeriodRequest(
            request_id=steps.an_id(),
            county_code=COUNTY,
            through=day(OPENED + timedelta(days=days)),
        )

    for days, reason in ((10, "PERIOD_NOT_OVER"), (5, ""), (5, "PERIOD_CLOSED")):
        request = closing(days)
        if not reason:
            await servicer.CloseAccountingPeriod(request, calling(CENTRE, request))
            continue
        with pytest.raises(Refused, match=reason):
            await servicer.CloseAccountingPeriod(request, calling(CENTRE, request))

    with pytest.raises(Refused, match="PERIOD_CLOSED"):
        await steps.repay(servicer, loan.loan_id, 100, on=OPENED + timedelta(days=5))
    await steps.repay(servicer, loan.loan_id, 100, on=today)


async def test_another_lenders_money_is_not_touched(
    servicer: LoansServicer, consumer: Consumer
) -> None:
    loan = await steps.active(servicer, consumer, House())
    await steps.repay(servicer, loan.loan_id, 100)
    request = loans_pb2.ReverseRepaymentRequest(
        request_id=steps.an_id(), county_code=COUNTY, loan_id=loan.loan_id, number=2, reason="x"
    )

    with pytest.raises(NotFound) as refused:
        await servicer.ReverseRepayment(request, calling(OTHER_LENDER, request))
    assert refused.value.reason == "LOAN_NOT_FOUND"


async def test_a_quote_is_given_for_any_day_since_the_money_went_out(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    loan = await steps.active(servicer, consumer, House())
    today = await steps.advance(db, catalogue, 100)
    await steps.repay(servicer, loan.loan_id, 10_000 * YUAN, on=today)

    async def owed(days: int) -> int:
        request = loans_pb2.GetPayoffQuoteRequest(
            county_code=COUNTY,
            loan_id=loan.loan_id,
            value_date=day(OPENED + timedelta(days=days)),
        )
        quote = await servicer.GetPayoffQuote(request, calling(CENTRE, request))
        return quote.principal_fen + quote.interest_fen

    assert await owed(0) == 30_000 * YUAN
    assert await owed(50) > 30_000 * YUAN
    assert await owed(101) < 21_000 * YUAN
    with pytest.raises(Refused, match="VALUE_DATE_OUT_OF_RANGE"):
        await owed(-1)


async def test_money_that_was_given_back_cannot_be_undone_too(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    loan = await steps.active(servicer, consumer, House())
    await steps.repay(servicer, loan.loan_id, 30_000 * YUAN + 500)
    request = loans_pb2.RefundOverpaymentRequest(
        request_id=steps.an_id(),
        county_code=COUNTY,
        loan_id=loan.loan_id,
        amount_fen=500,
        value_date=day(OPENED),
    )
    await servicer.RefundOverpayment(request, calling(LENDER, request))

    with pytest.raises(Refused, match="REFUNDED_ALREADY"):
        await undo(servicer, loan.loan_id, 2)

    assert (await steps.get(servicer, loan.loan_id)).state == SETTLED
    await steps.books_are_whole(db)
