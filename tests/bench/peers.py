"""Peers: the same writes by pgbench and by an ORM in the same run."""

import asyncio
import random
import shutil
import time
from collections.abc import Sequence
from datetime import date
from uuid import UUID, uuid4

from sqlalchemy import BigInteger
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel import Field, SQLModel, select
from sqlmodel.ext.asyncio.session import AsyncSession

from deploy.local import places
from tests import servers
from tests.bench import loans
from tests.bench.figures import Figure
from tests.loans.county import COUNTY
from tests.servers import PostgresServer, Schemas

LOANS = 3_000
TRANSACTIONS = 2_000
ORM_TRANSACTIONS = 300
ORM_CLOSED = 500
AT_ONCE = 16
PGBENCH_CLIENTS = 8
PGBENCH_SECONDS = 3
BATCH = 100

# What one repayment writes, as one call: the loan, two rows of the journal, an event.
_FUNCTION = """
CREATE TABLE bench_place AS SELECT row_number() OVER (ORDER BY loan_id) AS place, loan_id
                            FROM bench_loan;
ALTER TABLE bench_place ADD PRIMARY KEY (place);
CREATE FUNCTION bench_repay(at bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE who uuid; held bench_loan%ROWTYPE; entry uuid := gen_random_uuid();
BEGIN
    SELECT loan_id INTO who FROM bench_place WHERE place = at;
    SELECT * INTO held FROM bench_loan WHERE loan_id = who AND county_code = '{county}' FOR UPDATE;
    UPDATE bench_loan SET outstanding_fen = outstanding_fen - 1, version = version + 1
    WHERE loan_id = who AND county_code = '{county}';
    INSERT INTO bench_journal (entry_id, line, county_code, kind, cause_id, debit_account,
                               debit_id, credit_account, credit_id, amount_fen, value_date,
                               business_date)
    SELECT entry, n, '{county}', 'repayment', entry::text, 'lender_cash', 'bank',
           'loan_principal', who::text, 1, '{day}', '{day}' FROM generate_series(0, 1) AS n;
    INSERT INTO bench_outbox VALUES (gen_random_uuid(), who, held.version, '\\x00');
    RETURN held.version;
END $$;
"""


class BenchLoan(SQLModel, table=True):
    """A loan as an ORM holds it."""

    __tablename__ = "bench_loan"
    county_code: str = Field(primary_key=True)
    loan_id: UUID = Field(primary_key=True)
    version: int = Field(sa_type=BigInteger)
    outstanding_fen: int = Field(sa_type=BigInteger)
    overdue_days: int
    household_numerator: int = Field(sa_type=BigInteger)
    rate_ppm: int = Field(sa_type=BigInteger)


class BenchLine(SQLModel, table=True):
    """A row of the journal as an ORM holds it."""

    __tablename__ = "bench_journal"
    entry_id: UUID = Field(primary_key=True)
    line: int = Field(primary_key=True)
    county_code: str
    kind: str
    cause_id: str
    debit_account: str
    debit_id: str
    credit_account: str
    credit_id: str
    amount_fen: int = Field(sa_type=BigInteger)
    value_date: date
    business_date: date


class BenchEvent(SQLModel, table=True):
    """An event as an ORM holds it."""

    __tablename__ = "bench_outbox"
    event_id: UUID = Field(primary_key=True)
    loan_id: UUID
    sequence: int = Field(sa_type=BigInteger)
    payload: bytes


async def measure(*, rounds: int) -> tuple[list[Figure], int]:
    """Transactions beside pgbench and an ORM, a day close beside an ORM."""
    async with servers.postgres_from_wheel() as own:
        schemas = Schemas(PostgresServer(own.superuser_dsn("postgres")))
        try:
            book = await loans.made(schemas, LOANS)
            day = book.today.isoformat()
            await book.bare.execute(_FUNCTION.format(county=COUNTY, day=day))
            dsn = schemas.server.dsn_of(book.made.name)
            figures = await _figures(book, dsn, rounds)
            wrong = await loans.finish(book)
        finally:
            await schemas.close()
    return figures, wrong


async def _figures(book: loans.Book, dsn: str, rounds: int) -> list[Figure]:
    engine = create_async_engine(
        dsn.replace("postgresql://", "postgresql+asyncpg://"),
        pool_size=AT_ONCE,
        connect_args={"server_settings": {"search_path": "loans"}},
    )
    by_function, by_orm, closes = [], [], []
    # The first day charges all the interest since the cut-over and classes every loan.
    await book.close_day()
    try:
        for _ in range(rounds):
            ours = await book.repaid_at_once(TRANSACTIONS)
            by_function.append((ours, await _pgbench(dsn, len(book.loan_ids))))
            by_orm.append((ours, await _orm_repaid(engine, book.loan_ids, book.today)))
            closes.append((await book.close_day(), await _orm_closed(engine, book.loan_ids)))
    finally:
        await engine.dispose()
    writes = "a loan, two rows of journal, an event"
    return [
        Figure(
            name="transactions beside pgbench",
            unit="/s",
            limit_name=f"pgbench of one SQL function that writes as much ({writes}), "
            f"{PGBENCH_CLIENTS} clients",
            pairs=tuple(by_function),
            goal=0.4,
            stretch=0.7,
            note=f"{TRANSACTIONS} repayments asked for at once, gathered {BATCH} a transaction",
        ),
        Figure(
            name="transactions beside an ORM",
            unit="/s",
            limit_name=f"SQLModel sessions that write as much ({writes}), {AT_ONCE} at once",
            pairs=tuple(by_orm),
            goal=8,
            stretch=16,
        ),
        Figure(
            name="day close beside an ORM",
            unit="/s",
            limit_name=f"{ORM_CLOSED} loans read, changed and flushed by SQLModel, nothing said",
            pairs=tuple(closes),
            goal=25,
            stretch=50,
            note="every loan overdue: accrued, journalled, classified, told",
        ),
    ]


async def _pgbench(dsn: str, loans_count: int) -> float:
    """Transactions a second, as pgbench says."""
    folder = places.find().folder("bench-peers")
    script = folder.private("pgbench") / "repay.sql"
    script.write_text(
        f"\\set at random(1, {loans_count})\nSELECT loans.bench_repay(:at);\n", encoding="ascii"
    )
    program = places.find().postgres_install() / "bin" / "pgbench"
    process = await asyncio.create_subprocess_exec(
        str(program),
        *("-n", "-M", "prepared", "-c", str(PGBENCH_CLIENTS), "-j", "2"),
        *("-T", str(PGBENCH_SECONDS), "-f", str(script), dsn),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PGOPTIONS": "-c search_path=loans"},
    )
    said, errors = await asyncio.wait_for(process.communicate(), 60)
    shutil.rmtree(script.parent)
    assert process.returncode == 0, errors.decode()
    [line] = [each for each in said.decode().splitlines() if each.startswith("tps")]
    return float(line.split()[2])


async def _orm_repaid(engine: AsyncEngine, loan_ids: Sequence[UUID], on: date) -> float:
    gate = asyncio.Semaphore(AT_ONCE)
    chosen = random.Random(1).sample(list(loan_ids), ORM_TRANSACTIONS)

    async def one(loan_id: UUID) -> None:
        async with gate, AsyncSession(engine) as session, session.begin():
            found = select(BenchLoan).where(
                BenchLoan.loan_id == loan_id, BenchLoan.county_code == COUNTY
            )
            loan = (await session.exec(found.with_for_update())).one()
            loan.outstanding_fen -= 1
            loan.version += 1
            entry = uuid4()
            for line in range(2):
                session.add(_line(entry, line, loan_id, on))
            session.add(
                BenchEvent(event_id=uuid4(), loan_id=loan_id, sequence=loan.version, payload=b"x")
            )

    began = time.perf_counter()
    await asyncio.gather(*map(one, chosen))
    return len(chosen) / (time.perf_counter() - began)


def _line(entry: UUID, line: int, loan_id: UUID, on: date) -> BenchLine:
    return BenchLine(
        entry_id=entry,
        line=line,
        county_code=COUNTY,
        kind="repayment",
        cause_id=str(entry),
        debit_account="lender_cash",
        debit_id="bank",
        credit_account="loan_principal",
        credit_id=str(loan_id),
        amount_fen=1,
        value_date=on,
        business_date=on,
    )


async def _orm_closed(engine: AsyncEngine, loan_ids: Sequence[UUID]) -> float:
    """Loans a second as an ORM closes a day: read, changed one by one, flushed, told."""
    began = time.perf_counter()
    async with AsyncSession(engine) as session, session.begin():
        for loan_id in loan_ids[:ORM_CLOSED]:
            loan = await session.get_one(BenchLoan, (COUNTY, loan_id))
            loan.overdue_days += 1
            loan.household_numerator += loan.outstanding_fen * loan.rate_ppm
            await session.flush()
            session.add(BenchEvent(event_id=uuid4(), loan_id=loan_id, sequence=0, payload=b"x"))
    return ORM_CLOSED / (time.perf_counter() - began)
