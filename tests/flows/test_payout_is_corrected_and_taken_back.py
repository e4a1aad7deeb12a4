"""A payout that a bank keeps less of, and one that is taken back, through all five services."""

from typing import Any

import pytest
from liandong.claims.v1 import claims_pb2, payouts_pb2
from liandong.loans.v1 import loans_pb2

from tests.flows.county import YUAN, County, day
from tests.flows.test_lost_loan_is_shared_and_recovered import SEVENTY_ONE_DAYS

pytestmark = pytest.mark.postgres

SETTLED = claims_pb2.PAYOUT_STATE_SETTLED
REVERSED = claims_pb2.PAYOUT_STATE_REVERSED


async def taken_back(county: County, payout_id: str) -> Any:
    """The insurer's maker asks, its checker decides; everybody hears of it."""
    wish = payouts_pb2.ReversePayoutRequest(
        payout_id=payout_id, reason="WRONG_CLAIM", evidence="sha256:aa"
    )
    asked = await county.ask("claims", "ReversePayout", wish, role="insurer")
    decision = payouts_pb2.DecideReversalRequest(reversal_id=asked.reversal_id, approve=True)
    done = await county.ask("claims", "DecideReversal", decision, role="insurer", post=2)
    await county.tell()
    return done


async def kept_less(county: County, kept_fen: int) -> None:
    """The bank keeps less than it was sent: less was owed."""
    (to_bank,) = await county.instructions("lender")
    request = claims_pb2.ConfirmPaymentRequest(
        instruction_id=to_bank.instruction_id,
        confirmed_fen=kept_fen,
        value_date=day(county.today),
        reason="OVERPAID",
    )
    await county.ask("claims", "ConfirmPayment", request, role="lender")
    await county.tell()


# S41, F11
async def test_a_payout_that_closed_a_loan_is_taken_back_to_the_fen(county: County) -> None:
    household_id = await county.household()
    loan = await county.disbursed(household_id, 30_000 * YUAN)
    before = (await county.books()).totals
    payout_id = await county.approved_claim(household_id, 45_000 * YUAN)
    await county.tell()
    await county.confirmed("lender")
    await county.confirmed("insurer")
    assert (await county.payout(payout_id)).state == SETTLED

    done = await taken_back(county, payout_id)

    assert done.payout.state == REVERSED
    assert [each.amount_fen for each in done.receivables] == [30_000 * YUAN, 15_000 * YUAN]
    now = await county.loan(loan.loan_id)
    assert (now.state, now.outstanding_fen) == (loans_pb2.LOAN_STATE_ACTIVE, 30_000 * YUAN)
    after = (await county.books()).totals
    same = (
        "loans.outstanding_principal_fen",
        "loans.interest_owed_fen",
        "funds.covered_fen",
        "funds.balance_fen",
    )
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert after["claims.receivable_fen"] == 45_000 * YUAN
    assert "loan_reopened" in await county.story("loans", loan.loan_id)
    # The loan that is owed again is settled first by the next payout.
    again = await county.approved_claim(household_id, 40_000 * YUAN, cover_id="personal_accident")
    await county.tell()
    assert (await county.payout(again)).lenders_fen == 30_000 * YUAN
    assert (await county.loan(loan.loan_id)).state == loans_pb2.LOAN_STATE_SETTLED


# S43
async def test_a_repayment_that_the_bank_had_and_nobody_knew_goes_back_to_the_household(
    county: County,
) -> None:
    household_id = await county.household()
    loan = await county.disbursed(household_id, 30_000 * YUAN)
    payout_id = await county.approved_claim(household_id, 40_000 * YUAN)
    await county.tell()

    await kept_less(county, 25_000 * YUAN)
    # Owed again until the repayment that explains it is posted.
    assert (await county.loan(loan.loan_id)).outstanding_fen == 5_000 * YUAN
    await county.repaid(loan.loan_id, 5_000 * YUAN)
    await county.confirmed("insurer")

    payout = await county.payout(payout_id)
    assert (payout.state, payout.lenders_fen) == (SETTLED, 25_000 * YUAN)
    assert payout.household_fen == 15_000 * YUAN
    assert (await county.loan(loan.loan_id)).state == loans_pb2.LOAN_STATE_SETTLED
    totals = (await county.books()).totals
    assert totals["loans.suspense_fen"] == 0
    assert totals["funds.covered_fen"] == 0


# F10
async def test_a_repayment_in_the_same_moment_leaves_nobody_with_more_than_is_owed(
    county: County,
) -> None:
    household_id = await county.household()
    loan = await county.disbursed(household_id, 30_000 * YUAN)
    payout_id = await county.approved_claim(household_id, 30_000 * YUAN)
    await county.tell()
    # The bank posts it before it sees the payout: it is paid too much in our book.
    await county.repaid(loan.loan_id, 10_000 * YUAN)
    assert (await county.loan(loan.loan_id)).suspense_fen == 10_000 * YUAN

    await kept_less(county, 20_000 * YUAN)
    await county.confirmed("insurer")

    payout = await county.payout(payout_id)
    assert (payout.state, payout.household_fen) == (SETTLED, 10_000 * YUAN)
    now = await county.loan(loan.loan_id)
    assert (now.state, now.suspense_fen) == (loans_pb2.LOAN_STATE_SETTLED, 0)


# S40
async def test_a_payout_for_a_loan_that_is_closed_is_the_households(county: County) -> None:
    household_id = await county.household()
    loan = await county.disbursed(household_id, 30_000 * YUAN)
    payout_id = await county.approved_claim(household_id, 20_000 * YUAN)
    await county.ask(
        "loans",
        "RepayLoan",
        loans_pb2.RepayLoanRequest(
            loan_id=loan.loan_id, amount_fen=30_000 * YUAN, value_date=day(county.today)
        ),
        role="lender",
    )
    await county.tell()

    await county.confirmed("insurer")

    payout = await county.payout(payout_id)
    assert (payout.state, payout.household_fen) == (SETTLED, 20_000 * YUAN)


# S21
async def test_a_reversal_gives_the_subrogated_part_back_to_those_who_had_paid(
    county: County,
) -> None:
    household_id = await county.household()
    loan = await county.disbursed(household_id, 30_000 * YUAN, months=1)
    await county.advance(SEVENTY_ONE_DAYS)
    await county.compensated(loan.loan_id)
    before = (await county.loan(loan.loan_id)).subrogated_fen
    payout_id = await county.approved_claim(household_id, 10_000 * YUAN)
    await county.tell()
    await county.confirmed("lender")
    assert (await county.loan(loan.loan_id)).subrogated_fen == before - 10_000 * YUAN

    await taken_back(county, payout_id)

    now = await county.loan(loan.loan_id)
    assert (now.subrogated_fen, now.outstanding_fen) == (before, 30_000 * YUAN)
    assert (await county.payout(payout_id)).state == REVERSED
