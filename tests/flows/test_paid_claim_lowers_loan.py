"""A claim that is paid lowers the loan first; what is left is the household's (S04, LS17.ins.1)."""

import pytest
from liandong.claims.v1 import claims_pb2
from liandong.loans.v1 import loans_pb2

from tests.flows.county import YUAN, County

pytestmark = pytest.mark.postgres


async def test_a_payout_settles_the_loan_and_the_rest_waits_for_the_bank(county: County) -> None:
    household_id = await county.household()
    loan = await county.disbursed(household_id, 30_000 * YUAN)
    assert (await county.books()).totals["funds.covered_fen"] == 30_000 * YUAN

    payout_id = await county.approved_claim(household_id, 45_000 * YUAN)
    await county.tell()

    settled = await county.loan(loan.loan_id)
    assert (settled.state, settled.outstanding_fen) == (loans_pb2.LOAN_STATE_SETTLED, 0)
    (to_bank,) = await county.instructions("lender")
    assert (to_bank.amount_fen, to_bank.payee_kind) == (
        30_000 * YUAN,
        claims_pb2.PAYEE_KIND_LENDER,
    )
    # The household waits until the bank has said that it has its money.
    assert await county.confirmed("insurer") == 0
    assert await county.confirmed("lender") == 1
    assert await county.confirmed("insurer") == 1

    assert (await county.payout(payout_id)).state == claims_pb2.PAYOUT_STATE_SETTLED
    # What nobody owes needs no cover.
    totals = (await county.books()).totals
    assert totals["funds.covered_fen"] == 0
    assert totals["claims.payout_lenders_fen"] == 30_000 * YUAN
    assert totals["claims.payout_household_fen"] == 15_000 * YUAN


async def test_a_payout_that_is_too_small_lowers_the_loan_and_the_household_gets_none(
    county: County,
) -> None:
    household_id = await county.household()
    loan = await county.disbursed(household_id, 50_000 * YUAN)

    await county.approved_claim(household_id, 20_000 * YUAN)
    await county.tell()

    now = await county.loan(loan.loan_id)
    assert (now.state, now.outstanding_fen) == (loans_pb2.LOAN_STATE_ACTIVE, 30_000 * YUAN)
    assert await county.confirmed("lender") == 1
    assert await county.confirmed("insurer") == 0
    assert (await county.books()).totals["claims.payouts_unsettled_count"] == 0


# S43: what counts is what is owed when the payout is allocated.
async def test_what_was_repaid_before_the_payout_was_heard_of_is_the_households(
    county: County,
) -> None:
    household_id = await county.household()
    loan = await county.disbursed(household_id, 30_000 * YUAN)
    payout_id = await county.approved_claim(household_id, 30_000 * YUAN)

    await county.repaid(loan.loan_id, 10_000 * YUAN)

    payout = await county.payout(payout_id)
    assert payout.amount_fen == 30_000 * YUAN
    totals = (await county.books()).totals
    assert totals["loans.payout_lenders_fen"] + totals["loans.payout_household_fen"] == (
        30_000 * YUAN
    )
    # `repaid` posted before anything was carried: the bank had its 10,000 already.
    assert totals["loans.payout_lenders_fen"] == 20_000 * YUAN


async def test_two_claims_of_one_household_never_take_more_than_it_owes(county: County) -> None:
    household_id = await county.household()
    loan = await county.disbursed(household_id, 30_000 * YUAN)

    await county.approved_claim(household_id, 25_000 * YUAN)
    await county.approved_claim(household_id, 25_000 * YUAN, cover_id="personal_accident")
    await county.tell()

    assert (await county.loan(loan.loan_id)).state == loans_pb2.LOAN_STATE_SETTLED
    totals = (await county.books()).totals
    assert totals["loans.payout_lenders_fen"] == 30_000 * YUAN
    assert totals["loans.payout_household_fen"] == 20_000 * YUAN
