"""What loans makes of what others say: once, in order, and twice about one thing in a batch."""

from datetime import date

import pytest
from liandong.loans.v1 import loans_pb2

from services.kernel.bus import Consumer
from services.kernel.database import Database
from services.kernel.errors import Refused
from services.loans.servicer import LoansServicer
from tests.loans import steps
from tests.loans.builders import YUAN
from tests.loans.county import (
    APPROVER,
    CENTRE,
    OTHER_COUNTY,
    OTHER_VILLAGE,
    VILLAGE,
    VILLAGE_DEPARTMENT,
    Fund,
    House,
    authorised,
    insured,
    uninsured,
)

pytestmark = pytest.mark.postgres

BORROWER = "SELECT area_code, status, limit_fen, grade FROM borrower WHERE household_id = $1"


async def borrower(db: Database, house: House) -> tuple[object, ...]:
    (row,) = await steps.rows(db, BORROWER, house.household_id)
    return tuple(row)


async def test_a_household_may_borrow_once_it_is_known_and_has_a_limit(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    house = House()

    await steps.take(consumer, house.registered())
    refused = await steps.apply(servicer, house)
    await steps.take(consumer, house.granted())
    taken = await steps.apply(servicer, house)

    assert list(refused.refusal_reasons) == ["NO_CREDIT_LIMIT"]
    assert taken.state == loans_pb2.LOAN_STATE_IN_REVIEW
    assert (await steps.totals(db))["loans.borrowers_count"] == 1


async def test_a_limit_may_be_heard_of_before_its_household(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    house = House()

    await steps.take(consumer, house.granted(), house.registered())

    assert await borrower(db, house) == (VILLAGE, "non_poor", 10_000_000, "A")
    assert (await steps.apply(servicer, house)).state == loans_pb2.LOAN_STATE_IN_REVIEW


async def test_one_household_may_change_twice_in_one_batch_and_the_last_word_counts(
    consumer: Consumer, db: Database
) -> None:
    house = House()

    await steps.take(
        consumer,
        house.registered(),
        house.changed(area_code=OTHER_VILLAGE, status="near_poor"),
        house.changed(area_code=VILLAGE, status="registered_poor"),
        house.granted(),
        house.regranted(7_000_000),
        house.regranted(8_000_000),
    )

    assert await borrower(db, house) == (VILLAGE, "registered_poor", 8_000_000, "AA")


async def test_a_delisted_household_borrows_no_more_and_goes_on_owing(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    house = House()
    loan = await steps.active(servicer, consumer, house)

    await steps.take(consumer, house.delisted())

    refused = await steps.apply(servicer, house, principal_fen=YUAN)
    assert list(refused.refusal_reasons) == ["HOUSEHOLD_NOT_ELIGIBLE"]
    paid = await steps.repay(servicer, loan.loan_id, 30_000 * YUAN)
    assert paid.state == loans_pb2.LOAN_STATE_SETTLED
    await steps.books_are_whole(db)


async def test_a_limit_ends_on_its_last_day_or_when_credit_says_so(
    servicer: LoansServicer, consumer: Consumer
) -> None:
    ended, over = House(), House()
    await steps.take(consumer, ended.registered(), over.registered())
    await steps.take(consumer, ended.granted(), over.granted(until=date(2021, 1, 3)))
    assert (await steps.apply(servicer, ended)).state == loans_pb2.LOAN_STATE_IN_REVIEW

    await steps.take(consumer, ended.expired())

    for house in (ended, over):
        refused = await steps.apply(servicer, house, principal_fen=YUAN)
        assert list(refused.refusal_reasons) == ["NO_CREDIT_LIMIT"]


async def test_everything_that_is_heard_twice_takes_effect_once(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    house, fund = House(status="registered_poor"), Fund()
    heard = [house.registered(), house.granted()]
    assert await steps.take(consumer, *heard, *heard) == 2
    loan_id = (await steps.apply(servicer, house)).loan_id
    await steps.decide(servicer, loan_id, "village_accepts", VILLAGE_DEPARTMENT)
    await steps.decide(servicer, loan_id, "county_recommends", CENTRE)
    cover = fund.reserved(loan_id)
    assert await steps.take(consumer, cover, cover) == 1
    await steps.decide(servicer, loan_id, "bank_approves", APPROVER)
    cover_in_force = insured(loan_id)
    assert await steps.take(consumer, cover_in_force, cover_in_force) == 1
    await steps.disburse(servicer, loan_id)
    payout = authorised(house.household_id, 1_000_000, [loan_id])
    paid = fund.paid(loan_id, {"county_fund": ("fin-1", 1_500_000)})
    assert await steps.take(consumer, payout, paid, payout, paid) == 2

    before = await steps.books_are_whole(db)
    heard += [cover, cover_in_force, payout, paid]
    assert await steps.take(consumer, *heard) == 0

    assert await steps.books_are_whole(db) == before
    assert before["loans.payouts_allocated_count"] == before["loans.compensations_count"] == 1
    assert before["loans.outstanding_principal_fen"] == 2_000_000


async def test_no_money_is_paid_out_once_a_required_cover_has_ended(
    servicer: LoansServicer, consumer: Consumer
) -> None:
    house, fund = House(status="registered_poor"), Fund()
    await steps.take(consumer, house.registered(), house.granted())
    loan_id = (await steps.apply(servicer, house)).loan_id
    await steps.decide(servicer, loan_id, "village_accepts", VILLAGE_DEPARTMENT)
    await steps.decide(servicer, loan_id, "county_recommends", CENTRE)
    await steps.take(consumer, fund.reserved(loan_id))
    await steps.decide(servicer, loan_id, "bank_approves", APPROVER)
    await steps.take(consumer, insured(loan_id), uninsured(loan_id))

    with pytest.raises(Refused, match="COVER_NOT_IN_FORCE"):
        await steps.disburse(servicer, loan_id)

    await steps.take(consumer, insured(loan_id))
    await steps.disburse(servicer, loan_id)


async def test_an_event_that_comes_early_waits_for_the_one_before_it(
    consumer: Consumer, db: Database
) -> None:
    house = House()
    first, second = house.registered(), house.changed(area_code=OTHER_VILLAGE, status="near_poor")

    assert await steps.take(consumer, second) == 0
    assert await steps.take(consumer, first) == 1
    assert await steps.take(consumer, second) == 1

    assert (await borrower(db, house))[:2] == (OTHER_VILLAGE, "near_poor")


async def test_facts_of_two_counties_in_one_batch_stay_apart(
    consumer: Consumer, db: Database
) -> None:
    here, there = House(), House(area_code="990102001001", county_code=OTHER_COUNTY)

    await steps.take(
        consumer, here.registered(), there.registered(), there.granted(), here.granted()
    )

    assert (await steps.totals(db))["loans.borrowers_count"] == 1
    assert (await steps.totals(db, OTHER_COUNTY))["loans.limit_fen"] == 10_000_000
