"""Payouts that lenders gave back in part, and such as were taken back whole (S41, S43)."""

from uuid import uuid4

import pytest
from liandong.loans.v1 import events_pb2, loans_pb2

from services.kernel.bus import Consumer
from services.kernel.database import Database
from services.loans.servicer import LoansServicer
from services.programmes.loader import Catalogue
from tests.loans import steps
from tests.loans.builders import YUAN
from tests.loans.county import Fund, House, authorised, corrected, reversed_payout

pytestmark = pytest.mark.postgres

ACTIVE, SETTLED = loans_pb2.LOAN_STATE_ACTIVE, loans_pb2.LOAN_STATE_SETTLED
ALLOCATED, REVERSED = events_pb2.PayoutAllocated, events_pb2.PayoutAllocationReversed


async def test_a_reversal_mirrors_the_stored_split_and_reopens_the_loan(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    loan = await steps.active(servicer, consumer, house := House())
    on = await steps.advance(db, catalogue, 40)
    before = await steps.totals(db)
    payout_id = uuid4()
    await steps.take(
        consumer,
        authorised(
            house.household_id,
            45_000 * YUAN,
            [loan.loan_id],
            value_date=on,
            on=on,
            payout_id=payout_id,
        ),
    )
    (allocated,) = await steps.said(db, "payout_allocated", ALLOCATED)
    assert (await steps.get(servicer, loan.loan_id)).state == SETTLED

    reversal = reversed_payout(payout_id, sequence=2, on=on)
    assert await steps.take(consumer, reversal) == 1
    assert await steps.take(consumer, reversal) == 0

    now = await steps.get(servicer, loan.loan_id)
    (part,) = allocated.parts
    assert (now.state, now.outstanding_fen) == (ACTIVE, part.principal_fen)
    assert now.interest_fen == part.interest_fen
    (said,) = await steps.said(db, "payout_allocation_reversed", REVERSED)
    assert [each.amount_fen for each in said.parts] == [part.amount_fen]
    assert (await steps.story(db, loan.loan_id))[-1] == "loan_reopened"
    after = await steps.books_are_whole(db)
    assert after["loans.outstanding_principal_fen"] == before["loans.outstanding_principal_fen"]
    assert after["loans.payouts_reversed_count"] == 1
    # Interest goes on from the day of the reversal.
    await steps.advance(db, catalogue, 30)
    later = await steps.get(servicer, loan.loan_id)
    assert later.interest_fen >= now.interest_fen
    await steps.books_are_whole(db)


async def test_a_reversal_of_the_first_of_two_payouts_leaves_the_second_as_it_was(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    loan = await steps.active(servicer, consumer, house := House())
    first, second = uuid4(), uuid4()
    for payout_id, amount in ((first, 10_000 * YUAN), (second, 25_000 * YUAN)):
        await steps.take(
            consumer,
            authorised(house.household_id, amount, [loan.loan_id], payout_id=payout_id),
        )

    await steps.take(consumer, reversed_payout(first, sequence=2))

    now = await steps.get(servicer, loan.loan_id)
    assert (now.state, now.outstanding_fen) == (ACTIVE, 10_000 * YUAN)
    totals = await steps.books_are_whole(db)
    assert totals["loans.payout_household_fen"] == 5_000 * YUAN


async def test_what_a_lender_gives_back_goes_to_the_next_and_then_to_the_household(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    loan = await steps.active(servicer, consumer, house := House())
    other = await steps.disburse(
        servicer,
        (await steps.approved(servicer, house, principal_fen=4_000 * YUAN)).loan_id,
    )
    payout_id = uuid4()
    groups = ([loan.loan_id], [other.loan_id])
    await steps.take(
        consumer, authorised(house.household_id, 30_000 * YUAN, *groups, payout_id=payout_id)
    )

    await steps.take(consumer, corrected(payout_id, loan.loan_id, 6_000 * YUAN, [other.loan_id]))
    # The repayment that explains it is posted after.
    await steps.repay(servicer, loan.loan_id, 6_000 * YUAN)

    first, again = await steps.said(db, "payout_allocated", ALLOCATED)
    assert [part.amount_fen for part in first.parts] == [30_000 * YUAN]
    assert again.corrections == 1
    assert {part.loan_id: part.amount_fen for part in again.parts} == {
        loan.loan_id: 24_000 * YUAN,
        other.loan_id: 4_000 * YUAN,
    }
    assert again.household_fen == 2_000 * YUAN
    for each in (loan, other):
        assert (await steps.get(servicer, each.loan_id)).state == SETTLED
    assert (await steps.books_are_whole(db))["loans.suspense_fen"] == 0
    # Taken back after all: both loans are owed what the payout had paid in the end.
    await steps.take(consumer, reversed_payout(payout_id))
    assert (await steps.get(servicer, loan.loan_id)).outstanding_fen == 24_000 * YUAN
    assert (await steps.get(servicer, other.loan_id)).outstanding_fen == 4_000 * YUAN
    await steps.books_are_whole(db)


async def test_a_correction_after_the_repayment_was_posted_leaves_nothing_paid_too_much(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    loan = await steps.active(servicer, consumer, house := House())
    payout_id = uuid4()
    await steps.take(
        consumer,
        authorised(house.household_id, 30_000 * YUAN, [loan.loan_id], payout_id=payout_id),
    )
    await steps.repay(servicer, loan.loan_id, 6_000 * YUAN)
    assert (await steps.totals(db))["loans.suspense_fen"] == 6_000 * YUAN

    await steps.take(consumer, corrected(payout_id, loan.loan_id, 6_000 * YUAN))

    assert (await steps.get(servicer, loan.loan_id)).state == SETTLED
    totals = await steps.books_are_whole(db)
    assert totals["loans.suspense_fen"] == 0
    assert totals["loans.payout_household_fen"] == 6_000 * YUAN


async def test_what_was_given_back_before_a_correction_is_owed_again(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    loan = await steps.active(servicer, consumer, house := House())
    payout_id = uuid4()
    await steps.take(
        consumer,
        authorised(house.household_id, 30_000 * YUAN, [loan.loan_id], payout_id=payout_id),
    )
    await steps.repay(servicer, loan.loan_id, 6_000 * YUAN)
    await steps.refund(servicer, loan.loan_id, 6_000 * YUAN)

    # The household has its 6,000 from the bank and gets 6,000 of the payout besides.
    await steps.take(consumer, corrected(payout_id, loan.loan_id, 6_000 * YUAN))

    owing = await steps.get(servicer, loan.loan_id)
    assert (owing.state, owing.outstanding_fen, owing.suspense_fen) == (ACTIVE, 6_000 * YUAN, 0)
    lines = await steps.statement(servicer, loan.loan_id)
    (given,) = [each for each in lines if each.kind == loans_pb2.POSTING_KIND_REFUND]
    assert (given.amount_fen, given.principal_fen, given.suspense_fen) == (
        6_000 * YUAN,
        6_000 * YUAN,
        0,
    )
    assert "loan_reopened" in await steps.story(db, loan.loan_id)
    await steps.books_are_whole(db)

    await steps.repay(servicer, loan.loan_id, 6_000 * YUAN)
    assert (await steps.get(servicer, loan.loan_id)).state == SETTLED
    await steps.books_are_whole(db)


async def test_the_subrogated_part_of_a_reversed_payout_belongs_again_to_those_who_paid(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    fund = Fund()
    loan = await steps.covered(servicer, consumer, house := House(status="registered_poor"), fund)
    await steps.take(consumer, fund.paid(loan.loan_id, {"county_fund": ("fin-1", 20_000 * YUAN)}))
    payout_id = uuid4()
    await steps.take(
        consumer,
        authorised(house.household_id, 30_000 * YUAN, [loan.loan_id], payout_id=payout_id),
    )
    (allocated,) = await steps.said(db, "payout_allocated", ALLOCATED)
    assert allocated.parts[0].subrogated_fen == 20_000 * YUAN

    await steps.take(consumer, reversed_payout(payout_id, sequence=2))

    (said,) = await steps.said(db, "payout_allocation_reversed", REVERSED)
    assert said.parts[0].subrogated_fen == 20_000 * YUAN
    assert (await steps.get(servicer, loan.loan_id)).subrogated_fen == 20_000 * YUAN
    await steps.books_are_whole(db)


async def test_cover_is_asked_for_again_when_a_settled_loan_is_owed_again(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    fund = Fund()
    loan = await steps.covered(servicer, consumer, house := House(status="registered_poor"), fund)
    payout_id = uuid4()
    await steps.take(
        consumer,
        authorised(house.household_id, 60_000 * YUAN, [loan.loan_id], payout_id=payout_id),
    )

    await steps.take(consumer, reversed_payout(payout_id, sequence=2))

    assert (await steps.story(db, loan.loan_id))[-2:] == ["loan_reopened", "cover_requested"]
    assert (await steps.totals(db))["loans.covered_principal_fen"] == 0
    await steps.take(consumer, fund.reserved(loan.loan_id))
    assert (await steps.totals(db))["loans.covered_principal_fen"] > 0
