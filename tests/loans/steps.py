"""Steps of a loans test: what institutions ask, what is heard, what was said and booked then."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, TypeVar
from uuid import uuid4

import asyncpg
from google.protobuf.message import Message
from liandong.common.v1 import operator_pb2
from liandong.loans.v1 import loans_pb2

from services.kernel import business_day, journal
from services.kernel.bus import Consumer
from services.kernel.caller import Caller
from services.kernel.database import Database, fetch
from services.kernel.inbox import Delivery
from services.kernel.operator import Books, OperatorServicer
from services.kernel.walls import EVERY_COUNTY
from services.loans import jobs, store
from services.loans.operations.day import CHUNK_LOANS_MAX
from services.loans.servicer import LoansServicer
from services.programmes.loader import Catalogue
from tests.eventually import eventually
from tests.loans.builders import YUAN
from tests.loans.county import (
    APPROVER,
    BANK,
    CASHIER,
    CENTRE,
    COUNTY,
    COVERED,
    LENDER,
    OPENED,
    OPERATOR,
    ORDINARY,
    OTHER_BANK,
    OTHER_CASHIER,
    OTHER_LENDER,
    PROGRAMME,
    VILLAGE_DEPARTMENT,
    Fund,
    House,
    calling,
    day,
    insured,
)

M = TypeVar("M", bound=Message)
T = TypeVar("T")


def an_id() -> str:
    return str(uuid4())


# --- what is heard --------------------------------------------------------------------------------


async def take(consumer: Consumer, *deliveries: Delivery) -> int:
    """Apply a batch as the consumer does; how many events were new."""
    return len((await consumer._apply(deliveries)).take)


async def know(consumer: Consumer, *houses: House) -> None:
    """Households are registered and have their limits."""
    await take(consumer, *[house.registered() for house in houses])
    await take(consumer, *[house.granted() for house in houses if house.limit_fen])


# --- what is asked --------------------------------------------------------------------------------


def an_application(house: House, **changes: Any) -> loans_pb2.LoanApplication:
    """For 30,000 yuan over a year, which nothing forbids."""
    values: dict[str, Any] = {
        "household_id": str(house.household_id),
        "lender_id": BANK,
        "programme_id": PROGRAMME,
        "product_id": ORDINARY if house.status == "non_poor" else COVERED,
        "principal_fen": 30_000 * YUAN,
        "term_months": 12,
        "purpose": "beekeeping",
        "used_in_area": house.area_code,
        "assignment_evidence": "sha256:ab",
        **changes,
    }
    return loans_pb2.LoanApplication(**values)


def as_request(item: loans_pb2.LoanApplication) -> loans_pb2.ApplyForLoanRequest:
    """The same application, asked for alone."""
    values = {name: getattr(item, name) for name in item.DESCRIPTOR.fields_by_name}
    return loans_pb2.ApplyForLoanRequest(request_id=an_id(), county_code=COUNTY, **values)


async def apply(
    servicer: LoansServicer, house: House, *, caller: Caller = CENTRE, **changes: Any
) -> loans_pb2.Loan:
    request = as_request(an_application(house, **changes))
    return (await servicer.ApplyForLoan(request, calling(caller, request))).loan


async def apply_for_many(
    servicer: LoansServicer, *items: loans_pb2.LoanApplication, caller: Caller = CENTRE
) -> loans_pb2.BatchApplyForLoansResponse:
    request = loans_pb2.BatchApplyForLoansRequest(
        request_id=an_id(), county_code=COUNTY, items=items
    )
    return await servicer.BatchApplyForLoans(request, calling(caller, request))


async def decide(
    servicer: LoansServicer, loan_id: str, step: str, caller: Caller, *, approve: bool = True
) -> loans_pb2.Loan:
    request = loans_pb2.DecideApplicationRequest(
        request_id=an_id(), county_code=COUNTY, loan_id=loan_id, step=step, approve=approve
    )
    return (await servicer.DecideApplication(request, calling(caller, request))).loan


async def disburse(
    servicer: LoansServicer, loan_id: str, *, caller: Caller = CASHIER
) -> loans_pb2.Loan:
    request = loans_pb2.DisburseLoanRequest(request_id=an_id(), county_code=COUNTY, loan_id=loan_id)
    return (await servicer.DisburseLoan(request, calling(caller, request))).loan


def a_repayment(loan_id: str, amount_fen: int, *, on: date = OPENED) -> loans_pb2.RepayLoanRequest:
    return loans_pb2.RepayLoanRequest(
        request_id=an_id(),
        county_code=COUNTY,
        loan_id=loan_id,
        amount_fen=amount_fen,
        value_date=day(on),
    )


async def repay(
    servicer: LoansServicer,
    loan_id: str,
    amount_fen: int,
    *,
    on: date = OPENED,
    caller: Caller = LENDER,
) -> loans_pb2.Loan:
    request = a_repayment(loan_id, amount_fen, on=on)
    return (await servicer.RepayLoan(request, calling(caller, request))).loan


async def refund(servicer: LoansServicer, loan_id: str, amount_fen: int) -> loans_pb2.Loan:
    request = loans_pb2.RefundOverpaymentRequest(
        request_id=an_id(),
        county_code=COUNTY,
        loan_id=loan_id,
        amount_fen=amount_fen,
        value_date=day(OPENED),
    )
    return (await servicer.RefundOverpayment(request, calling(LENDER, request))).loan


async def statement(servicer: LoansServicer, loan_id: str) -> list[loans_pb2.Posting]:
    request = loans_pb2.GetLoanStatementRequest(county_code=COUNTY, loan_id=loan_id)
    return list((await servicer.GetLoanStatement(request, calling(CENTRE, request))).postings)


async def get(servicer: LoansServicer, loan_id: str, *, caller: Caller = CENTRE) -> loans_pb2.Loan:
    request = loans_pb2.GetLoanRequest(county_code=COUNTY, loan_id=loan_id)
    return (await servicer.GetLoan(request, calling(caller, request))).loan


async def listed(
    servicer: LoansServicer, caller: Caller, **filters: Any
) -> loans_pb2.ListLoansResponse:
    request = loans_pb2.ListLoansRequest(county_code=COUNTY, **filters)
    return await servicer.ListLoans(request, calling(caller, request))


async def approved(servicer: LoansServicer, house: House, **changes: Any) -> loans_pb2.Loan:
    """An ordinary loan of a household that is known, its chain passed."""
    loan = await apply(servicer, house, **changes)
    await decide(servicer, loan.loan_id, "county_checks", CENTRE)
    return await decide(servicer, loan.loan_id, "bank_approves", APPROVER)


async def active(
    servicer: LoansServicer, consumer: Consumer, house: House, **changes: Any
) -> loans_pb2.Loan:
    """An ordinary loan of a household that nobody knew, paid out."""
    await know(consumer, house)
    loan = await approved(servicer, house, **changes)
    return await disburse(servicer, loan.loan_id)


async def active_of_other(servicer: LoansServicer, consumer: Consumer) -> str:
    """An ordinary loan of the other bank, paid out; its id."""
    house = House()
    await know(consumer, house)
    loan_id = (await apply(servicer, house, lender_id=OTHER_BANK)).loan_id
    await decide(servicer, loan_id, "county_checks", CENTRE)
    await decide(servicer, loan_id, "bank_approves", OTHER_LENDER)
    return (await disburse(servicer, loan_id, caller=OTHER_CASHIER)).loan_id


async def covered(
    servicer: LoansServicer, consumer: Consumer, house: House, fund: Fund, **changes: Any
) -> loans_pb2.Loan:
    """A subsidised loan of a poor household, through its whole chain, paid out."""
    await know(consumer, house)
    loan_id = (await apply(servicer, house, **changes)).loan_id
    await decide(servicer, loan_id, "village_accepts", VILLAGE_DEPARTMENT)
    await decide(servicer, loan_id, "county_recommends", CENTRE)
    await take(consumer, fund.reserved(loan_id))
    await decide(servicer, loan_id, "bank_approves", APPROVER)
    await take(consumer, insured(loan_id))
    return await disburse(servicer, loan_id)


# --- days -----------------------------------------------------------------------------------------

Close = Callable[..., Awaitable[None]]


def advancing(
    db: Database,
    catalogue: Catalogue,
    close_day: Close | None = None,
    *,
    chunk_loans: int = CHUNK_LOANS_MAX,
) -> OperatorServicer:
    """The operator's surface of loans."""
    books = Books(
        totals=store.totals,
        close_day=close_day or jobs.close_day(catalogue),
        work_day=jobs.work_day(catalogue, chunk_loans=chunk_loans),
    )
    return OperatorServicer(db, books, {})


def a_day_ahead(to: date, request_id: str = "") -> operator_pb2.AdvanceDayRequest:
    return operator_pb2.AdvanceDayRequest(
        request_id=request_id or an_id(), county_code=COUNTY, business_date=day(to)
    )


async def advance(db: Database, catalogue: Catalogue, days: int) -> date:
    """Close so many days in one call; the business date then."""
    async with db.transaction(EVERY_COUNTY) as session:
        to = await business_day.today(session, COUNTY) + timedelta(days=days)
    request = a_day_ahead(to)
    await advancing(db, catalogue).AdvanceDay(request, calling(OPERATOR, request))
    return to


# --- what came of it ------------------------------------------------------------------------------


async def rows(db: Database, sql: str, *args: object) -> list[asyncpg.Record]:
    async with db.transaction(EVERY_COUNTY) as session:
        return await fetch(session, sql, *args)


async def said(db: Database, name: str, message_type: type[M]) -> list[M]:
    """Every event of a kind in the outbox, in order."""
    found = await rows(
        db,
        "SELECT payload FROM outbox WHERE event_type = $1 ORDER BY position",
        f"liandong.loans.v1.{name}",
    )
    return [message_type.FromString(row["payload"]) for row in found]


async def story(db: Database, aggregate_id: str) -> list[str]:
    """What was said of one thing, in order."""
    found = await rows(
        db,
        "SELECT event_type FROM outbox WHERE aggregate_id = $1 ORDER BY sequence",
        aggregate_id,
    )
    return [row["event_type"].rsplit(".", 1)[1] for row in found]


async def totals(db: Database, county_code: str = COUNTY) -> Mapping[str, int]:
    async with db.transaction(EVERY_COUNTY) as session:
        return await store.totals(session, county_code)


async def exposure(db: Database, house: House) -> int:
    ((value,),) = await rows(
        db, "SELECT exposure_fen FROM borrower WHERE household_id = $1", house.household_id
    )
    return int(value)


async def books_are_whole(db: Database) -> Mapping[str, int]:
    """Rows and journal agree, exposure is what loans sum to, no history has a hole."""
    found = await totals(db)
    assert found["loans.book_difference_fen"] == 0
    assert found["loans.exposure_difference_fen"] == 0
    whole = found["loans.payout_lenders_fen"] + found["loans.payout_household_fen"]
    assert found["loans.payout_amount_fen"] == whole
    async with db.transaction(EVERY_COUNTY) as session:
        balances = await journal.balances(session, COUNTY)
    assert sum(balances.values()) == 0
    said_of: dict[tuple[str, str], list[int]] = {}
    for row in await rows(db, "SELECT * FROM outbox ORDER BY position"):
        key = (row["aggregate_type"], row["aggregate_id"])
        said_of.setdefault(key, []).append(row["sequence"])
    for key, numbers in said_of.items():
        assert numbers == list(range(1, len(numbers) + 1)), key
    return found


async def until_waiting(db: Database, sessions: int = 1, *, seconds_max: float = 10.0) -> None:
    """Until so many transactions of this database stand before somebody's lock."""

    async def waiting() -> int:
        found = await rows(
            db,
            """SELECT count(*) FROM pg_stat_activity
               WHERE datname = current_database() AND wait_event_type = 'Lock'""",
        )
        return int(found[0][0])

    await eventually(waiting, lambda count: count >= sessions, seconds_max=seconds_max)


async def at_once(*work: Awaitable[T]) -> Sequence[T | BaseException]:
    """Everything at the same time; refusals are answers."""
    return await asyncio.gather(*work, return_exceptions=True)
