"""Loans beside what the same server does bare: a day close, repayments, backdated repayments."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID, uuid4

import asyncpg
from google.type.date_pb2 import Date
from liandong.common.v1 import operator_pb2

from services.kernel import business_day, wire
from services.kernel.database import Database
from services.kernel.errors import LiandongError
from services.kernel.money import Fen
from services.kernel.operator import Books, OperatorServicer
from services.kernel.walls import EVERY_COUNTY
from services.loans import jobs, store
from services.loans.model import Repayment
from services.loans.operations import money, opening
from services.loans.operations.day import CHUNK_LOANS_MAX
from services.loans.rules.lending import Actor
from services.loans.rules.opening import Opening, Total
from services.programmes.loader import Catalogue
from tests import servers
from tests.bench.figures import Figure
from tests.loans.county import (
    BANK,
    COUNTY,
    OPENED,
    OPERATOR,
    ORDINARY,
    PROGRAMME,
    a_catalogue,
    calling,
)
from tests.servers import PostgresServer, Schema, Schemas

ENTRIES = 120
"""Postings of a loan into which a repayment is dated back."""
BATCH = 100
IMPORTED_AT_ONCE = 500
REPAYMENTS = 2_000
ALONE = 100
"""Single repayments a round, of each kind."""
ONE_IN_OVERDUE = 33
"""Of a county as counties are: 3 of 100 loans past their day, the rest not due for months."""
CASHIER = Actor(BANK, "bank", "rcb-1-p1")
LENT = OPENED - timedelta(days=400)
LENT_LATELY = OPENED - timedelta(days=100)

# What one repayment writes, bare: the loan locked and changed, two lines of journal, an event.
_BARE_TABLES = """
CREATE TABLE bench_loan AS SELECT * FROM loan;
ALTER TABLE bench_loan SET (fillfactor = 70), ADD PRIMARY KEY (county_code, loan_id);
CREATE TABLE bench_journal (LIKE journal INCLUDING DEFAULTS INCLUDING INDEXES);
CREATE TABLE bench_outbox (event_id uuid PRIMARY KEY, loan_id uuid, sequence bigint, payload bytea);
"""
_BARE_CLOSE = """
UPDATE bench_loan SET overdue_days = overdue_days + 1, accrued_through = accrued_through + 1,
       household_numerator = household_numerator + outstanding_fen * rate_ppm
WHERE county_code = $1 AND loan_id = ANY ($2::uuid[])
"""
_BARE_REPAY = """
WITH held AS (
    SELECT county_code, loan_id FROM bench_loan
    WHERE county_code = $1 AND loan_id = ANY ($2::uuid[]) ORDER BY loan_id FOR UPDATE
), changed AS (
    UPDATE bench_loan SET outstanding_fen = outstanding_fen - 1, version = version + 1
    FROM held WHERE bench_loan.county_code = held.county_code
                AND bench_loan.loan_id = held.loan_id
    RETURNING bench_loan.county_code, bench_loan.loan_id, version
), booked AS (
    INSERT INTO bench_journal (entry_id, line, county_code, kind, cause_id, debit_account,
                               debit_id, credit_account, credit_id, amount_fen, value_date,
                               business_date)
    SELECT gen_random_uuid(), line, county_code, 'repayment', loan_id || ':' || version || line,
           'lender_cash', 'bank', 'loan_principal', loan_id::text, 1, $3, $3
    FROM changed, generate_series(0, 1) AS line
)
INSERT INTO bench_outbox SELECT gen_random_uuid(), loan_id, version, $4 FROM changed
"""


@dataclass(slots=True)
class Book:
    """A county of overdue loans on a server of its own, with bare copies beside it."""

    made: Schema
    db: Database
    bare: "asyncpg.Connection[asyncpg.Record]"
    catalogue: Catalogue
    loan_ids: list[UUID]
    today: date

    async def repay(self, repayments: Sequence[Repayment]) -> None:
        async with self.db.transaction(EVERY_COUNTY) as session:
            outcomes = await money.repay_loans(session, COUNTY, repayments, CASHIER, self.catalogue)
        assert not any(isinstance(outcome, LiandongError) for outcome in outcomes)

    async def close_day(self) -> float:
        """Loans a second of one day close as the operator asks for it."""
        tomorrow = self.today + timedelta(days=1)
        request = operator_pb2.AdvanceDayRequest(
            request_id=str(uuid4()), county_code=COUNTY, business_date=_wire(tomorrow)
        )
        books = Books(
            totals=store.totals,
            close_day=jobs.close_day(self.catalogue),
            work_day=jobs.work_day(self.catalogue),
        )
        surface = OperatorServicer(self.db, books, {})
        began = time.perf_counter()
        await surface.AdvanceDay(request, calling(OPERATOR, request))
        self.today = tomorrow
        return len(self.loan_ids) / (time.perf_counter() - began)

    async def bare_close(self) -> float:
        """Rows a second of a plain update in chunks as large."""
        began = time.perf_counter()
        for part in _parts(self.loan_ids, CHUNK_LOANS_MAX):
            await self.bare.execute(_BARE_CLOSE, COUNTY, part)
        return len(self.loan_ids) / (time.perf_counter() - began)

    async def repaid(self, count: int) -> float:
        """Repayments a second, batch by batch."""
        ids = self.loan_ids[:count]
        began = time.perf_counter()
        for part in _parts(ids, BATCH):
            await self.repay([Repayment(each, Fen(100), self.today) for each in part])
        return len(ids) / (time.perf_counter() - began)

    async def repaid_at_once(self, count: int) -> float:
        """Repayments a second, two transactions of them at a time, on loans of their own."""
        gate = asyncio.Semaphore(2)

        async def one(part: list[UUID]) -> None:
            async with gate:
                await self.repay([Repayment(each, Fen(1), self.today) for each in part])

        ids = self.loan_ids[:count]
        began = time.perf_counter()
        await asyncio.gather(*(one(part) for part in _parts(ids, BATCH)))
        return len(ids) / (time.perf_counter() - began)

    async def bare_repaid(self, count: int) -> float:
        """The same writes as one statement a batch."""
        ids = self.loan_ids[:count]
        began = time.perf_counter()
        for part in _parts(ids, BATCH):
            await self.bare.execute(_BARE_REPAY, COUNTY, part, self.today, b"x" * 100)
        return len(ids) / (time.perf_counter() - began)

    async def repay_one(self, loan_id: UUID) -> None:
        """One repayment by itself."""
        await self.repay([Repayment(loan_id, Fen(1), self.today)])

    async def alone(self, loan_id: UUID, days_back: int) -> float:
        """Milliseconds of a single repayment, dated so many days back."""
        on = self.today - timedelta(days=days_back)
        began = time.perf_counter()
        for _ in range(ALONE):
            await self.repay([Repayment(loan_id, Fen(1), on)])
        return 1_000 * (time.perf_counter() - began) / ALONE


def _wire(day: date) -> Date:
    found = wire.date_to_proto(day)
    assert found is not None
    return found


def _parts(ids: Sequence[UUID], size: int) -> list[list[UUID]]:
    return [list(ids[at : at + size]) for at in range(0, len(ids), size)]


async def measure(*, loans: int, rounds: int) -> tuple[list[Figure], int]:
    """The figures, and by how many fen rows, journal and exposure differ in the end."""
    async with servers.postgres_from_wheel() as own:
        schemas = Schemas(PostgresServer(own.superuser_dsn("postgres")))
        try:
            usual = await made(schemas, loans, one_in_overdue=ONE_IN_OVERDUE)
            found = [_usual_close(usual, await _closes(usual, rounds))]
            wrong = await finish(usual)
            book = await made(schemas, loans)
            found += await _figures(book, rounds)
            wrong += await finish(book)
        finally:
            await schemas.close()
    return found, wrong


async def usual_close(loans: int, rounds: int) -> tuple[Figure, int]:
    """The figure of a usual day's close alone, and by how many fen its books differ."""
    async with servers.postgres_from_wheel() as own:
        schemas = Schemas(PostgresServer(own.superuser_dsn("postgres")))
        try:
            book = await made(schemas, loans, one_in_overdue=ONE_IN_OVERDUE)
            return _usual_close(book, await _closes(book, rounds)), await finish(book)
        finally:
            await schemas.close()


async def finish(book: Book) -> int:
    """By how many fen its rows, journal and exposure differ."""
    async with book.db.transaction(EVERY_COUNTY) as session:
        totals = await store.totals(session, COUNTY)
    await book.bare.close()
    return totals["loans.book_difference_fen"] + totals["loans.exposure_difference_fen"]


async def _closes(book: Book, rounds: int) -> list[tuple[float, float]]:
    # The first day charges all the interest since the cut-over and classes every loan.
    await book.close_day()
    return [(await book.close_day(), await book.bare_close()) for _ in range(rounds)]


def _usual_close(book: Book, closes: Sequence[tuple[float, float]]) -> Figure:
    return Figure(
        name="day close, loans",
        unit="/s",
        limit_name=f"a plain update of {len(book.loan_ids)} such rows in chunks of "
        f"{CHUNK_LOANS_MAX}",
        pairs=tuple(closes),
        goal=0.35,
        stretch=0.5,
        note=f"one in {ONE_IN_OVERDUE} is overdue: accrued, journalled, classified, told; of the "
        "others, whose interest follows from their last posting, nothing is written",
    )


async def _figures(book: Book, rounds: int) -> list[Figure]:
    closes = await _closes(book, rounds)
    count = min(REPAYMENTS, len(book.loan_ids))
    repaid = [(await book.repaid(count), await book.bare_repaid(count)) for _ in range(rounds)]
    back = []
    for place in range(rounds):
        old, new = book.loan_ids[-1 - 2 * place], book.loan_ids[-2 - 2 * place]
        for loan_id in (old, new):
            entries = ENTRIES - ALONE // 2 - 1
            await book.repay([Repayment(loan_id, Fen(1), book.today) for _ in range(entries)])
        ordinary = await book.alone(new, 0)
        back.append((await book.alone(old, 1), ordinary))
    return [
        Figure(
            name="day close, every loan overdue",
            unit="/s",
            limit_name=f"a plain update of {len(book.loan_ids)} such rows in chunks of "
            f"{CHUNK_LOANS_MAX}",
            pairs=tuple(closes),
            goal=0.35,
            stretch=0.5,
            note="the worst day: each is accrued, journalled, classified, told, in chunks that "
            "commit one by one",
        ),
        Figure(
            name="repayments",
            unit="/s",
            limit_name=f"lock, change, two journal rows and an event as one statement of {BATCH}",
            pairs=tuple(repaid),
            goal=0.4,
            stretch=0.7,
            note=f"{count} in transactions of {BATCH}, one after the other",
        ),
        Figure(
            name="backdated repayment",
            unit="ms",
            limit_name="an ordinary repayment, alone",
            pairs=tuple(back),
            goal=3.0,
            stretch=2.0,
            less_is_better=True,
            note=f"into a loan of about {ENTRIES} entries, its book replayed",
        ),
    ]


async def made(schemas: Schemas, loans: int, *, one_in_overdue: int = 1) -> Book:
    """A county of that many loans, some or all of them overdue."""
    schema = await schemas.fresh("loans", pool_size=4)
    catalogue = a_catalogue()
    async with schema.db.transaction(EVERY_COUNTY) as session:
        await business_day.open_day(session, COUNTY, OPENED)
    loan_ids: list[UUID] = []
    for at in range(0, loans, IMPORTED_AT_ONCE):
        openings = [
            _opening(number, LENT_LATELY if number % one_in_overdue else LENT)
            for number in range(at, min(loans, at + IMPORTED_AT_ONCE))
        ]
        loan_ids += await _imported(schema.db, openings, catalogue)
    bare = await asyncpg.connect(
        schemas.server.dsn_of(schema.name), server_settings={"search_path": "loans"}
    )
    await bare.execute(_BARE_TABLES)
    await bare.execute("VACUUM FULL bench_loan")
    await bare.execute("VACUUM ANALYZE")
    return Book(schema, schema.db, bare, catalogue, sorted(loan_ids), OPENED)


def _opening(number: int, lent: date) -> Opening:
    return Opening(
        reference=f"contract-{number}",
        household_id=uuid4(),
        lender_id=BANK,
        programme_id=PROGRAMME,
        product_id=ORDINARY,
        principal_fen=Fen(3_000_000),
        term_months=12,
        rate_ppm=36_000,
        disbursed_on=lent,
        outstanding_fen=Fen(3_000_000),
        interest_owed_fen=Fen(100_000),
        next_due_on=_due(lent),
        subsidised=False,
        five_tier_class="normal",
        non_performing_on=None,
        purpose="beekeeping",
    )


def _due(start: date) -> date:
    return start.replace(year=start.year + 1)


async def _imported(db: Database, openings: Sequence[Opening], catalogue: Catalogue) -> list[UUID]:
    control = Total(
        len(openings),
        sum(each.outstanding_fen for each in openings),
        sum(each.interest_owed_fen for each in openings),
    )
    cutover = opening.Cutover(COUNTY, OPENED, CASHIER.person_id, dry_run=False)
    async with db.transaction(EVERY_COUNTY) as session:
        rows = [
            (COUNTY, each.household_id, f"{COUNTY}{place % 20 + 1:03d}001", "non_poor")
            for place, each in enumerate(openings)
        ]
        await store.save_households(session, rows)
        done = await opening.import_openings(session, cutover, openings, {BANK: control}, catalogue)
    assert done.landed
    return [loan.loan_id for loan in done.outcomes if not isinstance(loan, LiandongError)]
