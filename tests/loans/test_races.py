"""At the same moment: a payout and a repayment, a breaker and approvals, a limit and two banks."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace

import pytest
from liandong.loans.v1 import events_pb2, loans_pb2

from services.kernel.bus import Consumer
from services.kernel.database import Database
from services.kernel.errors import LiandongError, Refused
from services.kernel.money import Fen
from services.kernel.walls import EVERY_COUNTY
from services.loans import store
from services.loans.model import LoanState, Payout, Repayment
from services.loans.operations import day as day_close
from services.loans.operations import money
from services.loans.rules.lending import Actor
from services.loans.servicer import LoansServicer
from services.programmes.loader import Catalogue
from tests.loans import steps
from tests.loans.builders import YUAN, a_borrower, a_loan, an_active_loan
from tests.loans.county import (
    APPROVER,
    BANK,
    CENTRE,
    COUNTY,
    OPENED,
    ORDINARY,
    OTHER_BANK,
    House,
    authorised,
    calling,
)

pytestmark = pytest.mark.postgres

SETTLED = loans_pb2.LOAN_STATE_SETTLED
ROUNDS = 50
APPROVALS_A_ROUND = 3


def reasons(answers: object) -> list[str]:
    assert isinstance(answers, list)
    unexpected = [
        each
        for each in answers
        if isinstance(each, BaseException) and not isinstance(each, LiandongError)
    ]
    assert unexpected == []
    return sorted(each.reason for each in answers if isinstance(each, LiandongError))


# --- a payout and a repayment ---------------------------------------------------------------------


async def test_a_payout_that_comes_while_a_repayment_is_posted_takes_only_what_is_left(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    house = House()
    loan = await steps.active(servicer, consumer, house)
    (row,) = await steps.rows(db, "SELECT loan_id FROM loan")
    repayment = Repayment(row["loan_id"], Fen(2_000_000), OPENED)
    payout = authorised(house.household_id, 2_000_000, [loan.loan_id])

    async with db.transaction(EVERY_COUNTY) as session:
        cashier = Actor(BANK, "bank", "rcb-1-p1")
        (posted,) = await money.repay_loans(session, COUNTY, [repayment], cashier, catalogue)
        assert not isinstance(posted, LiandongError)
        paying = asyncio.create_task(steps.take(consumer, payout))
        await steps.until_waiting(db)
    assert await paying == 1

    (event,) = await steps.said(db, "payout_allocated", events_pb2.PayoutAllocated)
    assert (event.parts[0].amount_fen, event.household_fen) == (1_000_000, 1_000_000)
    assert await steps.story(db, loan.loan_id) == [
        "loan_applied",
        "loan_approved",
        "loan_disbursed",
        "loan_repaid",
        "loan_settled",
    ]
    await steps.books_are_whole(db)


@pytest.mark.parametrize("amount_fen", [1_000_001, 1_000_000])
async def test_a_repayment_that_comes_while_a_payout_is_allocated_pays_only_what_is_left(
    servicer: LoansServicer,
    consumer: Consumer,
    db: Database,
    catalogue: Catalogue,
    amount_fen: int,
) -> None:
    house = House()
    loan = await steps.active(servicer, consumer, house)
    (row,) = await steps.rows(db, "SELECT loan_id, household_id FROM loan")
    payout = Payout(
        payout_id=house.household_id,
        household_id=row["household_id"],
        amount_fen=Fen(2_000_000),
        value_date=OPENED,
        groups=((row["loan_id"],),),
    )

    async with db.transaction(EVERY_COUNTY) as session:
        await money.settle_payouts(session, COUNTY, [payout], catalogue, OPENED)
        paying = asyncio.create_task(steps.at_once(steps.repay(servicer, loan.loan_id, amount_fen)))
        await steps.until_waiting(db)
    answers = list(await paying)

    assert reasons(answers) == []
    assert (await steps.get(servicer, loan.loan_id)).state == SETTLED
    found = await steps.books_are_whole(db)
    assert found["loans.suspense_fen"] == amount_fen - 1_000_000


async def test_payouts_and_repayments_in_any_order_never_take_more_than_is_owed(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    house = House()
    loan = await steps.active(servicer, consumer, house)

    answers = await steps.at_once(
        *[steps.repay(servicer, loan.loan_id, 700_000) for _ in range(4)],
        *[
            steps.take(consumer, authorised(house.household_id, 500_000, [loan.loan_id]))
            for _ in range(4)
        ],
    )

    assert reasons(list(answers)) == []
    found = await steps.books_are_whole(db)
    came_in = 700_000 * 4 + found["loans.payout_lenders_fen"]
    left = found["loans.outstanding_principal_fen"]
    assert came_in + left == 30_000 * YUAN + found["loans.suspense_fen"]
    assert left == 0
    assert found["loans.payout_amount_fen"] == 4 * 500_000


async def test_of_those_who_pay_the_whole_debt_at_once_one_settles_it(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    loan = await steps.active(servicer, consumer, House())

    answers = await steps.at_once(
        *[steps.repay(servicer, loan.loan_id, 30_000 * YUAN) for _ in range(6)]
    )

    assert reasons(list(answers)) == []
    assert (await steps.get(servicer, loan.loan_id)).state == SETTLED
    found = await steps.books_are_whole(db)
    assert found["loans.suspense_fen"] == 5 * 30_000 * YUAN


# --- a limit and many banks -----------------------------------------------------------------------


# S55
async def test_of_many_who_lend_to_one_household_at_once_only_so_many_as_the_limit_holds(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    house = House(limit_fen=100_000 * YUAN)
    await steps.know(consumer, house)

    answers = await steps.at_once(
        *[
            steps.apply(servicer, house, lender_id=lender)
            for lender in (BANK, OTHER_BANK)
            for _ in range(4)
        ]
    )

    assert reasons(list(answers)) == []
    states = [each.state for each in answers if isinstance(each, loans_pb2.Loan)]
    assert states.count(loans_pb2.LOAN_STATE_IN_REVIEW) == 3
    assert await steps.exposure(db, house) == 90_000 * YUAN
    await steps.books_are_whole(db)


# --- a breaker and approvals ----------------------------------------------------------------------


# LS17.mon.3, LS17.mon.4, LS18.mon.1
async def test_no_approval_passes_a_breaker_that_has_tripped(
    servicer: LoansServicer, db: Database, catalogue: Catalogue
) -> None:
    passed = stopped = 0
    for number in range(ROUNDS):
        village = f"990101{number + 1:03d}001"
        ids = await a_bad_village_with_open_applications(db, village)

        async def trip(village: str = village) -> int:
            async with db.transaction(EVERY_COUNTY) as session:
                await day_close.trip_breakers(session, COUNTY, OPENED, catalogue)
                # The breaker is ours now: whoever is not done yet must see it tripped.
                return await approvals_in(db, village)

        # The trip begins first, last, and in every place between.
        place = number % (len(ids) + 1)
        approving: list[Awaitable[object]] = [
            steps.decide(servicer, loan_id, "bank_approves", APPROVER) for loan_id in ids
        ]
        answers = list(await steps.at_once(*approving[:place], trip(), *approving[place:]))
        before = answers.pop(place)

        after = await approvals_in(db, village)
        assert before == after, f"round {number}: {after} approved, {before} before the trip"
        refused = reasons(answers)
        assert refused == ["BREAKER_TRIPPED"] * (len(ids) - after)
        passed += after
        stopped += len(refused)

    # Otherwise the two never met and nothing was shown.
    assert passed > 0
    assert stopped > 0
    tripped = await steps.said(db, "breaker_tripped", events_pb2.BreakerTripped)
    assert len(tripped) == len({each.scope_id for each in tripped}) == 2 * ROUNDS


async def a_bad_village_with_open_applications(db: Database, village: str) -> list[str]:
    """A village whose one loan is bad, the last step of three more loans open."""
    borrowers = [a_borrower(area_code=village) for _ in range(APPROVALS_A_ROUND + 1)]
    bad = an_active_loan(non_performing_on=OPENED, area_code=village)
    waiting = [
        a_loan(
            household_id=each.household_id,
            area_code=village,
            product_id=ORDINARY,
            borrower_class="non_poor_household",
            next_step="bank_approves",
            decided=(("county_checks", "cfc-1-p1"),),
        )
        for each in borrowers[1:]
    ]
    made = [replace(bad, household_id=borrowers[0].household_id), *waiting]
    async with db.transaction(EVERY_COUNTY) as session:
        rows = [(COUNTY, each.household_id, village, "non_poor") for each in borrowers]
        await store.save_households(session, rows)
        await store.insert_loans(session, made)
    return [str(loan.loan_id) for loan in waiting]


async def approvals_in(db: Database, village: str) -> int:
    found = await steps.rows(
        db,
        "SELECT count(*) FROM loan WHERE area_code = $1 AND state = $2",
        village,
        LoanState.APPROVED,
    )
    return int(found[0][0])


async def test_an_approval_that_waits_for_a_breaker_to_trip_is_refused(
    servicer: LoansServicer, db: Database, catalogue: Catalogue
) -> None:
    (loan_id, *_) = await a_bad_village_with_open_applications(db, "990101001001")

    async with db.transaction(EVERY_COUNTY) as session:
        await day_close.trip_breakers(session, COUNTY, OPENED, catalogue)
        deciding = asyncio.create_task(
            steps.at_once(steps.decide(servicer, loan_id, "bank_approves", APPROVER))
        )
        await steps.until_waiting(db)
    (answer,) = await deciding

    assert isinstance(answer, Refused)
    assert answer.reason == "BREAKER_TRIPPED"


# --- one request, many times ----------------------------------------------------------------------


async def test_the_same_request_many_times_at_once_is_done_once(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    loan = await steps.active(servicer, consumer, House())
    request = steps.a_repayment(loan.loan_id, 1_000_000)

    answers = await steps.at_once(
        *[servicer.RepayLoan(request, calling(APPROVER, request)) for _ in range(6)]
    )

    assert reasons(list(answers)) == []
    assert len({str(answer) for answer in answers}) == 1
    assert (await steps.get(servicer, loan.loan_id)).outstanding_fen == 2_000_000
    await steps.books_are_whole(db)


async def test_of_many_who_decide_one_step_at_once_one_does(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    house = House()
    await steps.know(consumer, house)
    loan = await steps.apply(servicer, house)

    answers = await steps.at_once(
        *[
            steps.decide(servicer, loan.loan_id, "county_checks", CENTRE, approve=place % 2 == 0)
            for place in range(6)
        ]
    )

    assert reasons(list(answers)) == ["WRONG_STEP"] * 5
    await steps.books_are_whole(db)
