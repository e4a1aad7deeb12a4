"""After a compensation, on a real PostgreSQL: shares, recoveries, what goes back, positions."""

import random
from datetime import date, timedelta
from typing import Any

import pytest
from liandong.claims.v1 import events_pb2 as claims
from liandong.funds.v1 import events_pb2, funds_pb2
from liandong.loans.v1 import events_pb2 as loans

from services.kernel import business_day, wire
from services.kernel.bus import Consumer
from services.kernel.database import Database, fetch
from services.kernel.errors import Denied, Invalid, NotFound, Refused
from services.kernel.ids import new_id
from services.kernel.inbox import Delivery
from services.kernel.walls import EVERY_COUNTY
from services.programmes.loader import Catalogue
from tests.funds import steps
from tests.funds.casework import PAYER, TREASURER, Casework
from tests.funds.county import (
    AUDITOR,
    CENTRE,
    COUNTY,
    GUARANTOR,
    LENDER,
    OPENED,
    OTHER_LENDER,
    Loan,
    payout_settled,
    told,
)

pytestmark = pytest.mark.postgres

FUND_FEN = 5_000_000
NEXT = OPENED + timedelta(days=1)


@pytest.fixture
def work(db: Database, catalogue: Catalogue) -> Casework:
    return Casework(db, catalogue)


async def bring(db: Database, day: date) -> None:
    async with db.transaction(EVERY_COUNTY) as session:
        await business_day.open_day(session, COUNTY, day)


async def a_paid_case(work: Casework, consumer: Consumer, loan: Loan) -> funds_pb2.CompensationCase:
    await steps.take(consumer, loan.asks(), loan.disbursed(), loan.overdue(71, on=OPENED))
    return await steps.decide(work.funds, await steps.file(work.funds, loan))


async def confirm(
    work: Casework, case: funds_pb2.CompensationCase, position: int, amount_fen: int, **more: Any
) -> funds_pb2.CompensationCase:
    return await work.step(
        "ConfirmShare",
        more.pop("caller", LENDER),
        case,
        position=position,
        amount_fen=amount_fen,
        value_date=wire.date_to_proto(more.pop("on", OPENED)),
        reference="transfer-1",
    )


async def recover(
    work: Casework, case_id: str, recovered_fen: int, costs_fen: int = 0, **more: Any
) -> Any:
    answer = await work.ask(
        "RecordRecovery",
        more.pop("caller", LENDER),
        case_id=case_id,
        recovered_fen=recovered_fen,
        costs_fen=costs_fen,
        value_date=wire.date_to_proto(more.pop("on", OPENED)),
        evidence=["sha256:aa"],
        reference="court-1",
    )
    return answer.recovery


def payout_reversed(payout_id: str) -> Delivery:
    message = claims.PayoutReversed(payout_id=payout_id, reason="FRAUD")
    return told("liandong.claims.v1.payout_reversed", ("claims.payout", payout_id), 2, message)


def repaid_back(loan: Loan, number: int, amount_fen: int) -> Delivery:
    message = loans.LoanRepaid(
        loan_id=str(loan.loan_id),
        amount_fen=amount_fen,
        principal_fen=amount_fen,
        subrogated_fen=amount_fen,
        number=number,
    )
    return loan._told("loan_repaid", message)


def posted_there(loan: Loan, number: int, recovery: Any, subrogated_fen: int) -> Delivery:
    """The loan's book has what was collected: how much of it was for those who paid."""
    message = loans.LoanRepaid(
        loan_id=str(loan.loan_id),
        amount_fen=recovery.recovered_fen - recovery.costs_fen - recovery.household_fen,
        subrogated_fen=subrogated_fen,
        number=number,
        recovery_id=recovery.recovery_id,
    )
    return loan._told("loan_repaid", message)


def repayment_undone(loan: Loan, number: int, amount_fen: int) -> Delivery:
    message = loans.RepaymentReversed(
        loan_id=str(loan.loan_id),
        reversed_number=number,
        amount_fen=amount_fen,
        outstanding_fen=loan.principal_fen,
        principal_back_fen=amount_fen,
        subrogated_fen=amount_fen,
    )
    return loan._told("repayment_reversed", message)


async def test_what_is_collected_is_shared_after_its_costs(
    db: Database, work: Casework, consumer: Consumer
) -> None:
    """G-132: 10,000 yuan come back with costs of 500, shared 20 : 10 : 50 : 20."""
    fund = await steps.open_fund(work.funds, balance_fen=FUND_FEN)
    case = await a_paid_case(work, consumer, Loan(1))

    made = await recover(work, case.case_id, 1_000_000, 50_000)

    assert made.costs_fen == 50_000
    assert {each.party: each.paid_fen for each in made.shares} == {
        "county_fund": 190_000,
        "bank": 95_000,
        "guarantee": 475_000,
        "reguarantee": 190_000,
    }
    assert made.household_fen == 0
    assert (await steps.get_fund(work.funds, fund)).balance_fen == FUND_FEN - 1_000_000 + 190_000
    (row,) = await steps.said(db, "recovery_shared")
    message = events_pb2.RecoveryShared.FromString(row["payload"])
    assert (message.source, message.recovered_fen, message.costs_fen, message.amount_fen) == (
        "collected",
        1_000_000,
        50_000,
        950_000,
    )
    assert (await steps.totals(db))["funds.book_difference_fen"] == 0
    listed = await work.ask("ListRecoveries", LENDER, case_id=case.case_id)
    assert list(listed.recoveries) == [made]


async def test_what_is_above_the_loss_is_the_household_s(
    db: Database, work: Casework, consumer: Consumer
) -> None:
    await steps.open_fund(work.funds, balance_fen=FUND_FEN)
    case = await a_paid_case(work, consumer, Loan(1))

    made = await recover(work, case.case_id, 5_100_000, 40_000)

    assert (made.household_fen, sum(each.paid_fen for each in made.shares)) == (60_000, 5_000_000)
    with pytest.raises(Refused, match="NOTHING_LEFT"):
        await recover(work, case.case_id, 1)
    assert (await steps.totals(db))["funds.book_difference_fen"] == 0


async def test_a_recovery_without_a_case_and_other_wrong_ones_are_refused(
    work: Casework, consumer: Consumer
) -> None:
    await steps.open_fund(work.funds, balance_fen=FUND_FEN)
    loan = Loan(1)
    await steps.take(consumer, loan.asks(), loan.disbursed(), loan.overdue(71, on=OPENED))
    filed = await steps.file(work.funds, loan)

    with pytest.raises(NotFound, match="CASE_NOT_FOUND"):
        await recover(work, str(new_id()), 1)
    with pytest.raises(Refused, match="CASE_NOT_PAID"):
        await recover(work, filed.case_id, 1)
    case = await steps.decide(work.funds, filed)
    with pytest.raises(Refused, match="COSTS_ABOVE_RECOVERED") as costs:
        await recover(work, case.case_id, 10, 11)
    assert costs.value.facts == {"costs_fen": "11", "recovered_fen": "10"}
    with pytest.raises(Invalid, match="VALUE_DATE_AHEAD"):
        await recover(work, case.case_id, 10, on=NEXT)
    with pytest.raises(Invalid, match="VALUE_DATE_BEFORE_CASE"):
        await recover(work, case.case_id, 10, on=OPENED - timedelta(days=1))
    with pytest.raises(Denied, match="NO_PART_IN_CASE"):
        await recover(work, case.case_id, 10, caller=OTHER_LENDER)
    with pytest.raises(Denied, match="ROLE_NOT_ALLOWED"):
        await recover(work, case.case_id, 10, caller=AUDITOR)


async def test_institutions_shares_are_instructions_that_the_lender_confirms(
    db: Database, work: Casework, consumer: Consumer
) -> None:
    await steps.open_fund(work.funds, balance_fen=FUND_FEN)
    case = await a_paid_case(work, consumer, Loan(1))
    owed = (await work.ask("ListShareInstructions", GUARANTOR)).instructions
    assert [(each.payer_id, each.payee_id, each.amount_fen) for each in owed] == [
        ("agr-1", "rcb-1", 2_500_000)
    ]

    with pytest.raises(Refused, match="ABOVE_INSTRUCTION") as above:
        await confirm(work, case, 2, 2_500_001)
    assert above.value.facts == {"amount_fen": "2500001", "owed_fen": "2500000"}
    with pytest.raises(Refused, match="FUND_PAYS_ITSELF"):
        await confirm(work, case, 0, 1)
    with pytest.raises(NotFound, match="SHARE_NOT_FOUND"):
        await confirm(work, case, 1, 1)
    with pytest.raises(NotFound, match="CASE_NOT_FOUND"):
        await confirm(work, case, 2, 1, caller=OTHER_LENDER)
    await confirm(work, case, 2, 500_000)
    paid = await confirm(work, case, 2, 2_000_000)

    assert paid.parts[2].paid_fen == 2_500_000
    assert (await work.ask("ListShareInstructions", GUARANTOR)).instructions == []
    books = await steps.totals(db)
    assert (books["funds.shares_paid_fen"], books["funds.owed_fen"]) == (2_500_000, 1_000_000)
    assert books["funds.book_difference_fen"] == 0
    said = [
        events_pb2.SharePaid.FromString(r["payload"]) for r in await steps.said(db, "share_paid")
    ]
    assert [(each.amount_fen, each.owed_fen) for each in said] == [
        (500_000, 2_000_000),
        (2_000_000, 0),
    ]


async def test_a_fund_that_is_short_pays_in_order_when_money_comes(
    db: Database, work: Casework, consumer: Consumer
) -> None:
    fund = await steps.open_fund(work.funds, balance_fen=1_200_000)
    await steps.contribute(work.funds, fund, 1)
    lost = (Loan(1), Loan(2))
    for loan in lost:
        await steps.take(consumer, loan.asks(), loan.disbursed(), loan.overdue(71, on=OPENED))
    filed = [await steps.file(work.funds, loan) for loan in lost]
    first, second = [await steps.decide(work.funds, each) for each in filed]
    assert (first.parts[0].paid_fen, second.parts[0].paid_fen) == (1_000_000, 200_001)

    await recover(work, first.case_id, 1_000_000)
    assert (await steps.get_case(work.funds, second.case_id)).parts[0].paid_fen == 400_001
    await steps.contribute(work.funds, fund, 700_000)

    done = (await steps.get_case(work.funds, second.case_id)).parts[0]
    assert (done.paid_fen, done.amount_fen) == (1_000_000, 1_000_000)
    assert (await steps.get_fund(work.funds, fund)).balance_fen == 100_001
    said = [
        events_pb2.SharePaid.FromString(r["payload"]) for r in await steps.said(db, "share_paid")
    ]
    assert [each.amount_fen for each in said] == [200_000, 599_999]
    assert (await steps.totals(db))["funds.book_difference_fen"] == 0


async def test_a_payout_that_is_reversed_takes_back_what_was_shared_of_it(
    db: Database, work: Casework, consumer: Consumer
) -> None:
    fund = await steps.open_fund(work.funds, balance_fen=FUND_FEN)
    loan = Loan(1)
    case = await a_paid_case(work, consumer, loan)
    before = await steps.totals(db)

    await steps.take(consumer, payout_settled("p-1", loan, subrogated_fen=1_000_000))
    assert (await steps.get_fund(work.funds, fund)).balance_fen == 4_200_000
    await steps.take(consumer, payout_reversed("p-1"))

    assert await steps.totals(db) == before
    assert len(await steps.said(db, "recovery_reversed")) == 1
    assert [
        each.recovered_fen for each in (await steps.get_case(work.funds, case.case_id)).parts
    ] == [
        0,
        0,
        0,
        0,
    ]
    (only,) = (await work.ask("ListRecoveries", LENDER, case_id=case.case_id)).recoveries
    assert only.reversed


async def test_a_fund_that_has_spent_what_goes_back_owes_again(
    db: Database, work: Casework, consumer: Consumer
) -> None:
    fund = await steps.open_fund(work.funds, balance_fen=500_000)
    await steps.contribute(work.funds, fund, 600_000)
    loan, other = Loan(1), Loan(2)
    for each in (loan, other):
        await steps.take(consumer, each.asks(), each.disbursed(), each.overdue(71, on=OPENED))
    filed = [await steps.file(work.funds, each) for each in (loan, other)]
    first, second = [await steps.decide(work.funds, each) for each in filed]
    assert (first.parts[0].paid_fen, second.parts[0].paid_fen) == (1_000_000, 100_000)

    await steps.take(consumer, payout_settled("p-1", loan, subrogated_fen=2_000_000))
    assert (await steps.get_case(work.funds, second.case_id)).parts[0].paid_fen == 500_000
    await steps.take(consumer, payout_reversed("p-1"))

    now = await steps.get_fund(work.funds, fund)
    assert (now.balance_fen, now.owed_fen) == (0, 900_000)
    books = await steps.totals(db)
    assert books["funds.book_difference_fen"] == 0
    await steps.contribute(work.funds, fund, 900_000)
    assert (await steps.get_fund(work.funds, fund)).owed_fen == 0
    await steps.said(db)


async def test_a_repayment_of_a_compensated_loan_is_shared_and_undone_with_it(
    db: Database, work: Casework, consumer: Consumer
) -> None:
    await steps.open_fund(work.funds, balance_fen=FUND_FEN)
    loan = Loan(1)
    case = await a_paid_case(work, consumer, loan)
    before = await steps.totals(db)

    await steps.take(consumer, repaid_back(loan, 7, 500_000))
    (made,) = (await work.ask("ListRecoveries", LENDER, case_id=case.case_id)).recoveries
    assert (made.source, made.reference, made.recovered_fen) == ("repayment", "7", 500_000)
    await steps.take(consumer, repayment_undone(loan, 7, 500_000))

    assert await steps.totals(db) == before


# S21, decision 0028
@pytest.mark.parametrize("together", [False, True])
async def test_collected_money_makes_room_for_the_loan_s_own_that_came_before_it(
    db: Database, work: Casework, consumer: Consumer, *, together: bool
) -> None:
    """Of 50,000 yuan 4,000 were at the lender when 50,600 were collected for costs of 100."""
    fund = await steps.open_fund(work.funds, balance_fen=FUND_FEN)
    loan = Loan(1)
    case = await a_paid_case(work, consumer, loan)
    made = await recover(work, case.case_id, 5_060_000, 10_000)
    assert made.household_fen == 50_000
    whole = await steps.totals(db)

    own = repaid_back(loan, 7, 400_000)
    answer = posted_there(loan, 8, made, 4_600_000)
    if together:
        await steps.take(consumer, own, answer)
    else:
        await steps.take(consumer, own)
        # It is in the loan's book and waits here: nobody has it twice, and nobody is told.
        now = await steps.totals(db)
        assert {name for name in now if now[name] != whole[name]} == {"funds.known_outstanding_fen"}
        assert await standing(work, case.case_id) == [("collected", 5_060_000, 50_000)]
        assert len(await steps.said(db, "recovery_shared")) == 1
        await steps.take(consumer, answer)

    assert await standing(work, case.case_id) == [
        ("repayment", 400_000, 0),
        ("repayment", 4_660_000, 50_000),
    ]
    parts = (await steps.get_case(work.funds, case.case_id)).parts
    assert [part.recovered_fen for part in parts] == [1_000_000, 500_000, 2_500_000, 1_000_000]
    assert (await steps.get_fund(work.funds, fund)).balance_fen == FUND_FEN
    assert (await steps.totals(db))["funds.book_difference_fen"] == 0
    (back,) = await steps.said(db, "recovery_reversed")
    assert events_pb2.RecoveryReversed.FromString(back["payload"]).reason == "LESS_WAS_OWED"

    await steps.take(consumer, repayment_undone(loan, 7, 400_000))

    assert await standing(work, case.case_id) == [("repayment", 4_660_000, 50_000)]
    parts = (await steps.get_case(work.funds, case.case_id)).parts
    assert [part.recovered_fen for part in parts] == [920_000, 460_000, 2_300_000, 920_000]
    assert (await steps.totals(db))["funds.book_difference_fen"] == 0


async def test_what_waits_is_shared_as_far_as_something_is_left_and_undone_whole(
    db: Database, work: Casework, consumer: Consumer
) -> None:
    """A payout is taken back, and what the household paid instead had been heard of first."""
    await steps.open_fund(work.funds, balance_fen=FUND_FEN)
    loan = Loan(1)
    case = await a_paid_case(work, consumer, loan)
    before = await steps.totals(db)
    await steps.take(consumer, payout_settled("p-1", loan, subrogated_fen=1_000_000))
    await steps.take(consumer, payout_settled("p-2", loan, subrogated_fen=3_000_000))
    await steps.take(consumer, repaid_back(loan, 7, 5_000_000))
    assert await standing(work, case.case_id) == [
        ("payout", 1_000_000, 0),
        ("payout", 3_000_000, 0),
        ("repayment", 1_000_000, 0),
    ]

    await steps.take(consumer, payout_reversed("p-1"))
    await steps.take(consumer, payout_reversed("p-2"))

    assert await standing(work, case.case_id) == [
        ("repayment", 1_000_000, 0),
        ("repayment", 1_000_000, 0),
        ("repayment", 3_000_000, 0),
    ]
    assert (await steps.totals(db))["funds.book_difference_fen"] == 0
    await steps.take(consumer, repayment_undone(loan, 7, 5_000_000))
    assert await standing(work, case.case_id) == []
    assert await steps.totals(db) == before


async def standing(work: Casework, case_id: str) -> list[tuple[str, int, int]]:
    """What came back and was not undone: its source, all of it, what is the household's."""
    listed = (await work.ask("ListRecoveries", CENTRE, case_id=case_id)).recoveries
    return sorted(
        (each.source, each.recovered_fen, each.household_fen)
        for each in listed
        if not each.reversed
    )


# S21, S22
async def test_what_was_compensated_and_never_owed_goes_back_to_those_who_paid(
    db: Database, work: Casework, consumer: Consumer
) -> None:
    fund = await steps.open_fund(work.funds, balance_fen=FUND_FEN)
    loan = Loan(1)
    case = await a_paid_case(work, consumer, loan)
    message = loans.CompensationExceeded(
        loan_id=str(loan.loan_id), lender_id=LENDER.institution_id, excess_fen=100_000
    )

    said = loan._told("compensation_exceeded", message)
    await steps.take(consumer, said)
    await steps.take(consumer, said)

    (made,) = (await work.ask("ListRecoveries", LENDER, case_id=case.case_id)).recoveries
    assert {each.party: each.paid_fen for each in made.shares} == {
        "county_fund": 20_000,
        "bank": 10_000,
        "guarantee": 50_000,
        "reguarantee": 20_000,
    }
    assert made.reference.startswith("excess:")
    assert (await steps.get_fund(work.funds, fund)).balance_fen == FUND_FEN - 1_000_000 + 20_000
    owed_by_lender = "SELECT debit_id, sum(amount_fen) FROM journal WHERE debit_account = $1"
    async with db.transaction(EVERY_COUNTY) as session:
        rows = await fetch(session, f"{owed_by_lender} GROUP BY 1", "recovery_held")
    assert [tuple(row) for row in rows] == [(LENDER.institution_id, 80_000)]
    # A repayment that is undone later has nothing to do with it.
    await steps.take(consumer, repayment_undone(loan, 7, 500_000))
    assert (await steps.totals(db))["funds.book_difference_fen"] == 0
    (still,) = (await work.ask("ListRecoveries", LENDER, case_id=case.case_id)).recoveries
    assert still == made


async def test_positions_are_told_for_any_day_and_to_each_its_own(
    db: Database, work: Casework, consumer: Consumer
) -> None:
    await steps.open_fund(work.funds, balance_fen=FUND_FEN)
    case = await a_paid_case(work, consumer, Loan(1))
    await bring(db, NEXT)
    await confirm(work, case, 2, 2_500_000, on=NEXT)
    await recover(work, case.case_id, 1_000_000, 50_000, on=NEXT)

    async def positions(caller: Any, as_of: date) -> list[tuple[str, int, int, int, int]]:
        answer = await work.ask(
            "GetCasePositions", caller, case_id=case.case_id, as_of=wire.date_to_proto(as_of)
        )
        return [
            (each.party, each.paid_fen, each.owed_fen, each.recovered_fen, each.subrogated_fen)
            for each in answer.positions
        ]

    assert await positions(CENTRE, OPENED) == [
        ("county_fund", 1_000_000, 0, 0, 1_000_000),
        ("bank", 500_000, 0, 0, 500_000),
        ("guarantee", 0, 2_500_000, 0, 2_500_000),
        ("reguarantee", 0, 1_000_000, 0, 1_000_000),
    ]
    assert await positions(GUARANTOR, NEXT) == [("guarantee", 2_500_000, 0, 475_000, 2_025_000)]
    assert len(await positions(LENDER, NEXT)) == 4
    assert await positions(CENTRE, OPENED - timedelta(days=1)) == []
    own = await work.ask("ListPositions", GUARANTOR)
    assert [each.recovered_fen for each in own.positions] == [475_000]
    with pytest.raises(Denied, match="NOT_YOURS"):
        await work.ask("ListPositions", GUARANTOR, institution_id="rcb-1")


async def test_the_rest_is_written_off_by_two_persons(
    db: Database, work: Casework, consumer: Consumer
) -> None:
    await steps.open_fund(work.funds, balance_fen=FUND_FEN)
    case = await a_paid_case(work, consumer, Loan(1))
    await recover(work, case.case_id, 1_000_000)
    ask = {"reason": "emigrated", "evidence": ["sha256:aa"]}

    with pytest.raises(Refused, match="SHARES_OWED") as owed:
        await work.ask("ProposeCaseWriteOff", TREASURER, case_id=case.case_id, **ask)
    assert owed.value.facts == {"owed_fen": "3500000"}
    for position, amount in ((2, 2_500_000), (3, 1_000_000)):
        await confirm(work, case, position, amount)
    with pytest.raises(NotFound, match="NO_WRITE_OFF_PROPOSED"):
        await work.step("DecideCaseWriteOff", PAYER, case, approve=True)
    proposed = await work.ask("ProposeCaseWriteOff", TREASURER, case_id=case.case_id, **ask)
    assert proposed.amount_fen == 4_000_000
    with pytest.raises(Refused, match="SAME_PERSON"):
        await work.step("DecideCaseWriteOff", TREASURER, case, approve=True)
    closed = await work.step("DecideCaseWriteOff", PAYER, case, approve=True)

    assert (closed.state, closed.written_off_fen) == (funds_pb2.CASE_STATE_CLOSED, 4_000_000)
    late = await recover(work, case.case_id, 100_000)
    assert sum(each.paid_fen for each in late.shares) == 100_000
    books = await steps.totals(db)
    assert books["funds.book_difference_fen"] == 0
    await steps.said(db)


@pytest.mark.parametrize("seed", range(6))
async def test_in_any_order_parts_sum_and_nobody_pays_or_gets_twice(
    db: Database, work: Casework, consumer: Consumer, seed: int
) -> None:
    """Payouts settled, repayments, collections, confirmations and reversals, shuffled."""
    picked = random.Random(seed)
    await steps.open_fund(work.funds, balance_fen=1_500_000)
    loan = Loan(1)
    case = await a_paid_case(work, consumer, loan)
    await steps.take(consumer, payout_settled("p-1", loan, subrogated_fen=1_111_111))

    async def confirmed(position: int, amount_fen: int) -> None:
        await confirm(work, case, position, amount_fen)

    async def collected(amount_fen: int, costs_fen: int) -> None:
        await recover(work, case.case_id, amount_fen, costs_fen)

    async def heard(delivery: Delivery) -> None:
        await steps.take(consumer, delivery)

    todo = [
        confirmed(2, 1_200_000),
        confirmed(2, 1_300_000),
        confirmed(3, 1_000_000),
        collected(333_333, 11_111),
        collected(1_234_567, 7),
        heard(payout_settled("p-2", loan, subrogated_fen=700_001)),
        heard(payout_reversed("p-1")),
    ]
    picked.shuffle(todo)
    for each in todo:
        await each
        parts = (await steps.get_case(work.funds, case.case_id)).parts
        assert sum(part.amount_fen for part in parts) == case.loss_fen
        assert all(0 <= part.paid_fen <= part.amount_fen for part in parts)
        assert all(0 <= part.recovered_fen <= part.amount_fen for part in parts)
        assert (await steps.totals(db))["funds.book_difference_fen"] == 0

    parts = (await steps.get_case(work.funds, case.case_id)).parts
    net = 333_333 - 11_111 + 1_234_567 - 7 + 700_001
    assert sum(part.recovered_fen for part in parts) == net
    assert [part.paid_fen for part in parts] == [1_000_000, 500_000, 2_500_000, 1_000_000]
    # Largest remainders of each step, never more than a fen a step away from the proportion.
    for part in parts:
        assert abs(part.recovered_fen - net * part.amount_fen // case.loss_fen) <= 6
    await steps.said(db)
