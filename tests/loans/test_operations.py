"""Lending on a real database: exposure, events, the journal, payouts, losses and days."""

from datetime import date, timedelta

import pytest
from liandong.loans.v1 import events_pb2, loans_pb2

from services.kernel import business_day, wire
from services.kernel.bus import Consumer
from services.kernel.database import Database
from services.kernel.errors import Refused
from services.kernel.walls import EVERY_COUNTY
from services.loans.events_in import handlers
from services.loans.servicer import LoansServicer
from services.programmes.loader import Catalogue
from tests.conftest import MakeSchema
from tests.loans import steps
from tests.loans.builders import YUAN
from tests.loans.county import (
    APPROVER,
    BANK,
    CENTRE,
    COUNTY,
    OPENED,
    OTHER_BANK,
    VILLAGE,
    VILLAGE_DEPARTMENT,
    Fund,
    House,
    authorised,
    calling,
    insured,
)

pytestmark = pytest.mark.postgres

IN_REVIEW = loans_pb2.LOAN_STATE_IN_REVIEW
REFUSED = loans_pb2.LOAN_STATE_REFUSED
SETTLED = loans_pb2.LOAN_STATE_SETTLED
ACTIVE = loans_pb2.LOAN_STATE_ACTIVE


# --- exposure -------------------------------------------------------------------------------------


# S55, LS17.sco.4
async def test_the_second_application_of_a_batch_sees_what_the_first_asked_for(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    house = House(limit_fen=100_000 * YUAN)
    await steps.know(consumer, house)
    asked = [(60_000, BANK), (60_000, OTHER_BANK), (40_000, OTHER_BANK), (1, BANK)]

    answer = await steps.apply_for_many(
        servicer,
        *[
            steps.an_application(house, principal_fen=yuan * YUAN, lender_id=lender)
            for yuan, lender in asked
        ],
    )

    assert all(verdict.accepted for verdict in answer.verdicts)
    made = [await steps.get(servicer, verdict.id) for verdict in answer.verdicts]
    assert [loan.state for loan in made] == [IN_REVIEW, REFUSED, IN_REVIEW, REFUSED]
    assert list(made[1].refusal_reasons) == ["ABOVE_CREDIT_LIMIT"]
    assert await steps.exposure(db, house) == 100_000 * YUAN
    await steps.books_are_whole(db)


async def test_what_is_refused_or_paid_back_may_be_asked_for_again(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    house = House(limit_fen=30_000 * YUAN)
    await steps.know(consumer, house)

    first = await steps.apply(servicer, house)
    assert (await steps.apply(servicer, house)).state == REFUSED
    await steps.decide(servicer, first.loan_id, "county_checks", CENTRE, approve=False)
    assert await steps.exposure(db, house) == 0

    second = await steps.approved(servicer, house)
    await steps.disburse(servicer, second.loan_id)
    await steps.repay(servicer, second.loan_id, 10_000 * YUAN)
    assert await steps.exposure(db, house) == 20_000 * YUAN
    third = await steps.apply(servicer, house, principal_fen=10_000 * YUAN)
    assert third.state == IN_REVIEW

    settled = await steps.repay(servicer, second.loan_id, 20_000 * YUAN)
    assert settled.state == SETTLED
    assert await steps.exposure(db, house) == 10_000 * YUAN
    await steps.books_are_whole(db)


async def test_what_the_fund_does_not_cover_is_refused_and_may_be_asked_for_again(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    house, fund = House(status="registered_poor"), Fund()
    await steps.know(consumer, house)
    loan_id = (await steps.apply(servicer, house)).loan_id
    await steps.decide(servicer, loan_id, "village_accepts", VILLAGE_DEPARTMENT)
    await steps.decide(servicer, loan_id, "county_recommends", CENTRE)

    await steps.take(consumer, fund.refused(loan_id))

    loan = await steps.get(servicer, loan_id)
    assert list(loan.refusal_reasons) == ["COVER_REFUSED_FUND_EXHAUSTED"]
    assert await steps.exposure(db, house) == 0
    said = ["loan_applied", "cover_requested", "loan_refused"]
    assert await steps.story(db, loan_id) == said
    await steps.books_are_whole(db)


# --- the life of a loan ---------------------------------------------------------------------------


async def test_a_loan_lives_from_application_to_settlement_and_says_every_step(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    house = House(status="registered_poor")

    loan = await steps.covered(servicer, consumer, house, Fund())
    assert (loan.state, loan.rate_ppm, loan.outstanding_fen) == (ACTIVE, 36_000, 30_000 * YUAN)
    found = await steps.books_are_whole(db)
    assert found["loans.covered_principal_fen"] == 30_000 * YUAN
    assert found["loans.outstanding_principal_fen"] == 30_000 * YUAN
    on = await steps.advance(db, catalogue, 10)
    loan = await steps.repay(servicer, loan.loan_id, 30_000 * YUAN, on=on)

    # S08: the interest of ten days is the treasury's, not the household's.
    assert (loan.state, loan.outstanding_fen, loan.interest_fen) == (SETTLED, 0, 0)
    assert await steps.story(db, loan.loan_id) == [
        "loan_applied",
        "cover_requested",
        "loan_approved",
        "loan_disbursed",
        "loan_repaid",
        "loan_settled",
    ]
    (treasury,) = await steps.rows(
        db,
        "SELECT * FROM journal WHERE debit_account = 'treasury_receivable' AND debit_id = $1",
        COUNTY,
    )
    assert (treasury["amount_fen"], treasury["value_date"]) == (3_000, on)
    found = await steps.books_are_whole(db)
    assert found["loans.outstanding_principal_fen"] == 0
    assert found["loans.disbursed_fen"] == 30_000 * YUAN


async def test_the_journal_holds_what_the_rows_hold_after_every_kind_of_money(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    house = House()
    loan = await steps.active(servicer, consumer, house)
    await steps.books_are_whole(db)
    on = await steps.advance(db, catalogue, 10)
    await steps.repay(servicer, loan.loan_id, 1_000, on=on - timedelta(days=5))
    await steps.books_are_whole(db)
    await steps.repay(servicer, loan.loan_id, 1_000_500, on=on)
    await steps.books_are_whole(db)
    payout = authorised(house.household_id, 4_500_000, [loan.loan_id], value_date=on, on=on)
    await steps.take(consumer, payout)

    found = await steps.books_are_whole(db)
    owed = 30_000 * YUAN + 3_000 - 1_000 - 1_000_500
    assert found["loans.payout_lenders_fen"] == owed
    assert found["loans.payout_household_fen"] == 4_500_000 - owed
    settled = await steps.get(servicer, loan.loan_id)
    assert (settled.state, settled.outstanding_fen, settled.interest_fen) == (SETTLED, 0, 0)


async def test_each_decision_of_a_batch_has_its_own_verdict(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    houses = [House() for _ in range(3)]
    await steps.know(consumer, *houses)
    applied = await steps.apply_for_many(
        servicer, *[steps.an_application(house) for house in houses]
    )
    ids = [verdict.id for verdict in applied.verdicts]
    items = [
        loans_pb2.ApplicationDecision(loan_id=ids[0], step="county_checks", approve=True),
        loans_pb2.ApplicationDecision(loan_id=steps.an_id(), step="county_checks", approve=True),
        loans_pb2.ApplicationDecision(loan_id=ids[1], step="bank_approves", approve=True),
        loans_pb2.ApplicationDecision(loan_id=ids[0], step="county_checks", approve=True),
        loans_pb2.ApplicationDecision(loan_id=ids[2], step="county_checks", approve=False),
        loans_pb2.ApplicationDecision(loan_id=ids[2], step="county_checks", approve=True),
    ]
    request = loans_pb2.BatchDecideApplicationsRequest(
        request_id=steps.an_id(), county_code=COUNTY, items=items
    )

    answer = await servicer.BatchDecideApplications(request, calling(CENTRE, request))

    assert [verdict.reason for verdict in answer.verdicts] == [
        "",
        "LOAN_NOT_FOUND",
        "WRONG_STEP",
        "WRONG_STEP",
        "",
        "WRONG_STEP",
    ]
    states = [(await steps.get(servicer, loan_id)).state for loan_id in ids]
    assert states == [IN_REVIEW, IN_REVIEW, REFUSED]
    await steps.books_are_whole(db)


async def test_each_payment_of_a_batch_has_its_own_verdict(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    one = await steps.active(servicer, consumer, House())
    two = await steps.active(servicer, consumer, House(), lender_id=BANK)
    await steps.know(consumer, third := House())
    waiting = await steps.apply(servicer, third)
    asked = [
        (one.loan_id, 20_000 * YUAN),
        (waiting.loan_id, 1),
        (one.loan_id, 10_000 * YUAN + 1),
        (two.loan_id, 30_000 * YUAN),
        (one.loan_id, 10_000 * YUAN),
        (two.loan_id, 1),
    ]
    request = loans_pb2.BatchRepayLoansRequest(
        request_id=steps.an_id(),
        county_code=COUNTY,
        items=[
            loans_pb2.Repayment(
                loan_id=loan_id, amount_fen=fen, value_date=wire.date_to_proto(OPENED)
            )
            for loan_id, fen in asked
        ],
    )

    answer = await servicer.BatchRepayLoans(request, calling(APPROVER, request))

    assert [verdict.reason for verdict in answer.verdicts] == [
        "",
        "LOAN_NOT_ACTIVE",
        "",
        "",
        "",
        "",
    ]
    for loan_id in (one.loan_id, two.loan_id):
        assert (await steps.get(servicer, loan_id)).state == SETTLED
        assert (await steps.story(db, loan_id)).count("loan_settled") == 1
    # What was paid too much is the payers'.
    found = await steps.books_are_whole(db)
    assert found["loans.suspense_fen"] == 1 + 10_000 * YUAN + 1


async def test_a_batch_may_pay_a_loan_today_and_then_for_an_earlier_day(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    mixed = await steps.active(servicer, consumer, House())
    in_order = await steps.active(servicer, consumer, House())
    today = await steps.advance(db, catalogue, 100)
    days = [today, today, today - timedelta(days=60), today]
    asked = [(mixed.loan_id, each) for each in days]
    asked += [(in_order.loan_id, each) for each in sorted(days)]
    request = loans_pb2.BatchRepayLoansRequest(
        request_id=steps.an_id(),
        county_code=COUNTY,
        items=[
            loans_pb2.Repayment(
                loan_id=loan_id, amount_fen=5_000 * YUAN, value_date=wire.date_to_proto(each)
            )
            for loan_id, each in asked
        ],
    )

    answer = await servicer.BatchRepayLoans(request, calling(APPROVER, request))

    assert [verdict.reason for verdict in answer.verdicts] == [""] * 8
    one, other = (
        await steps.get(servicer, mixed.loan_id),
        await steps.get(servicer, in_order.loan_id),
    )
    assert (one.outstanding_fen, one.interest_fen) == (other.outstanding_fen, other.interest_fen)
    assert [line.number for line in await steps.statement(servicer, mixed.loan_id)] == [
        1,
        2,
        3,
        4,
        5,
    ]
    await steps.books_are_whole(db)


# --- payouts and losses ---------------------------------------------------------------------------


# LS17.ins.1, S07
async def test_a_payout_goes_to_the_loans_in_their_order_and_then_to_the_household(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    house = House()
    first = await steps.active(servicer, consumer, house, principal_fen=1_000_000)
    second_id = (await steps.approved(servicer, house, principal_fen=2_000_000)).loan_id
    await steps.disburse(servicer, second_id)
    groups = ([first.loan_id], [second_id, steps.an_id()])

    await steps.take(consumer, authorised(house.household_id, 1_500_000, *groups))

    (event,) = await steps.said(db, "payout_allocated", events_pb2.PayoutAllocated)
    assert [(part.loan_id, part.amount_fen, part.outstanding_fen) for part in event.parts] == [
        (first.loan_id, 1_000_000, 0),
        (second_id, 500_000, 1_500_000),
    ]
    assert (event.household_fen, event.amount_fen) == (0, 1_500_000)
    assert await steps.exposure(db, house) == 1_500_000
    assert (await steps.story(db, first.loan_id))[-1] == "loan_settled"

    await steps.take(consumer, authorised(house.household_id, 2_000_000, *groups))

    later = (await steps.said(db, "payout_allocated", events_pb2.PayoutAllocated))[1]
    assert [(part.loan_id, part.amount_fen) for part in later.parts] == [(second_id, 1_500_000)]
    assert later.household_fen == 500_000
    await steps.books_are_whole(db)


async def test_of_two_payouts_in_one_batch_the_second_sees_what_the_first_took(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    house = House()
    loan = await steps.active(servicer, consumer, house, principal_fen=1_000_000)

    await steps.take(
        consumer, *[authorised(house.household_id, 700_000, [loan.loan_id]) for _ in range(2)]
    )

    found = await steps.books_are_whole(db)
    assert found["loans.payouts_allocated_count"] == 2
    assert found["loans.payout_lenders_fen"] == 1_000_000
    assert found["loans.payout_household_fen"] == 400_000


async def test_a_payout_that_comes_again_is_not_allocated_again(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    house = House()
    loan = await steps.active(servicer, consumer, house)
    payout = authorised(house.household_id, 100_000, [loan.loan_id])

    assert await steps.take(consumer, payout) == 1
    assert await steps.take(consumer, payout) == 0

    assert len(await steps.said(db, "payout_allocated", events_pb2.PayoutAllocated)) == 1
    assert (await steps.get(servicer, loan.loan_id)).outstanding_fen == 2_900_000
    await steps.books_are_whole(db)


async def test_a_payout_for_loans_that_are_not_owed_is_the_households(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    house = House()
    await steps.know(consumer, house)
    waiting = await steps.approved(servicer, house)
    groups = [waiting.loan_id, steps.an_id()]

    await steps.take(consumer, authorised(house.household_id, 700, groups))

    found = await steps.books_are_whole(db)
    assert (found["loans.payout_lenders_fen"], found["loans.payout_household_fen"]) == (0, 700)


# LS18.fun.2, S21
async def test_what_comes_in_after_a_compensation_is_marked_as_those_peoples_who_paid(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    house, fund = House(status="registered_poor"), Fund()
    loan = await steps.covered(servicer, consumer, house, fund)
    shares = {
        "county_fund": ("fin-1", 600_000),
        "bank": (BANK, 300_000),
        "guarantee": ("agr-1", 1_500_000),
        "reguarantee": ("grp-1", 600_000),
    }

    paid = fund.paid(loan.loan_id, shares)
    await steps.take(consumer, paid)
    await steps.take(consumer, paid)

    found = await steps.books_are_whole(db)
    # The lender's own part is no one's compensation.
    assert (found["loans.compensated_fen"], found["loans.compensations_count"]) == (2_700_000, 1)
    assert found["loans.covered_principal_fen"] == 0
    assert (await steps.get(servicer, loan.loan_id)).subrogated_fen == 3_000_000

    await steps.take(consumer, authorised(house.household_id, 1_000_000, [loan.loan_id]))
    await steps.repay(servicer, loan.loan_id, 500_000)

    (event,) = await steps.said(db, "payout_allocated", events_pb2.PayoutAllocated)
    assert event.parts[0].subrogated_fen == 1_000_000
    assert (await steps.get(servicer, loan.loan_id)).subrogated_fen == 1_500_000
    (passed_on,) = await steps.rows(
        db, "SELECT sum(amount_fen) FROM journal WHERE credit_account = 'recovery_payable'"
    )
    assert passed_on[0] == 1_500_000
    await steps.books_are_whole(db)


# --- days -----------------------------------------------------------------------------------------


Facts = tuple[list[tuple[object, ...]], list[tuple[object, ...]]]


async def facts(db: Database) -> Facts:
    """All that a day close leaves behind, without ids that are drawn."""
    said = await steps.rows(
        db,
        "SELECT event_type, sequence, business_date FROM outbox ORDER BY position",
    )
    posted = await steps.rows(
        db,
        """SELECT kind, debit_account, credit_account, sum(amount_fen), max(value_date)
           FROM journal GROUP BY 1, 2, 3 ORDER BY 1, 2, 3""",
    )
    return [tuple(row) for row in said], [tuple(row) for row in posted]


# LS18.loa.4, LS18.fun.1, S14
async def test_a_loan_falls_due_is_told_grows_old_and_turns_bad(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    crowd = [House(area_code=f"990101001{n:03d}") for n in range(2, 30)]
    await steps.know(consumer, *crowd)
    loan = await steps.active(servicer, consumer, House(), term_months=3)
    assert wire.date_from_proto("matures_on", loan.matures_on) == date(2021, 4, 4)

    await steps.advance(db, catalogue, 31)
    assert await steps.said(db, "loan_due_soon", events_pb2.LoanDueSoon) == []
    await steps.advance(db, catalogue, 1)
    (due,) = await steps.said(db, "loan_due_soon", events_pb2.LoanDueSoon)
    assert due.loan_id == loan.loan_id
    await steps.advance(db, catalogue, 58)
    assert await steps.said(db, "loan_overdue", events_pb2.LoanOverdue) == []
    on = await steps.advance(db, catalogue, 71)

    assert on == date(2021, 6, 14)
    old = await steps.said(db, "loan_overdue", events_pb2.LoanOverdue)
    assert [each.overdue_days for each in old] == list(range(1, 71))
    assert not any(each.non_performing for each in old)
    assert await steps.said(db, "breaker_tripped", events_pb2.BreakerTripped) == []

    await steps.advance(db, catalogue, 1)

    last = (await steps.said(db, "loan_overdue", events_pb2.LoanOverdue))[-1]
    assert (last.overdue_days, last.non_performing) == (71, True)
    assert last.interest_fen == 161 * 300
    (tier,) = await steps.said(db, "loan_reclassified", events_pb2.LoanReclassified)
    assert tier.five_tier_class == "special_mention"
    (breaker,) = await steps.said(db, "breaker_tripped", events_pb2.BreakerTripped)
    assert (breaker.scope, breaker.scope_id) == ("village", VILLAGE)
    assert (breaker.numerator, breaker.denominator) == (3_000_000, 3_000_000)
    await steps.books_are_whole(db)


async def two_counties_with_a_bad_loan(schema: MakeSchema, catalogue: Catalogue) -> list[Database]:
    made = []
    for _ in range(2):
        db = (await schema("loans", pool_size=6)).db
        async with db.transaction(EVERY_COUNTY) as session:
            await business_day.open_day(session, COUNTY, OPENED)
        servicer = LoansServicer(db, catalogue)
        consumer = Consumer(db, "loans", handlers(catalogue), batch_size_max=500)
        await steps.active(servicer, consumer, House(), term_months=1)
        await steps.covered(
            servicer, consumer, House(status="registered_poor"), Fund(), term_months=1
        )
        made.append(db)
    return made


async def test_days_closed_in_one_call_or_one_by_one_come_to_the_same(
    schema: MakeSchema, catalogue: Catalogue
) -> None:
    at_once, one_by_one = await two_counties_with_a_bad_loan(schema, catalogue)

    await steps.advance(at_once, catalogue, 110)
    for _ in range(110):
        await steps.advance(one_by_one, catalogue, 1)

    found = await facts(at_once)
    assert found == await facts(one_by_one)
    assert ("liandong.loans.v1.breaker_tripped", 1, date(2021, 4, 16)) in found[0]
    await steps.books_are_whole(at_once)
    await steps.books_are_whole(one_by_one)


# S18, LS18.mon.1
async def test_after_a_breaker_tripped_nobody_there_borrows_and_next_door_they_do(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    crowd = [House(area_code=f"990101001{n:03d}") for n in range(2, 12)]
    waiting, next_door = House(), crowd[0]
    await steps.know(consumer, waiting, *crowd)
    ready = await steps.approved(servicer, waiting)
    undecided = await steps.apply(servicer, waiting, principal_fen=YUAN)
    await steps.active(servicer, consumer, House(), term_months=1)

    await steps.advance(db, catalogue, 103)

    late = await steps.apply(servicer, waiting, principal_fen=YUAN)
    assert list(late.refusal_reasons) == ["BREAKER_TRIPPED"]
    with pytest.raises(Refused, match="BREAKER_TRIPPED"):
        await steps.decide(servicer, undecided.loan_id, "county_checks", CENTRE)
    with pytest.raises(Refused, match="BREAKER_TRIPPED"):
        await steps.disburse(servicer, ready.loan_id)
    assert (await steps.apply(servicer, next_door)).state == IN_REVIEW
    request = loans_pb2.ListBreakersRequest(county_code=COUNTY)
    answer = await servicer.ListBreakers(request, calling(CENTRE, request))
    assert [breaker.scope_id for breaker in answer.breakers] == [VILLAGE]
    await steps.books_are_whole(db)


async def test_cover_that_comes_too_late_finds_nobody_waiting(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    house, fund = House(status="registered_poor"), Fund()
    loan = await steps.covered(servicer, consumer, house, fund)

    await steps.take(consumer, fund.refused(loan.loan_id), insured(loan.loan_id))
    await steps.take(consumer, fund.released(loan.loan_id), Fund().reserved(steps.an_id()))

    now = await steps.get(servicer, loan.loan_id)
    assert now == loan
    await steps.books_are_whole(db)
