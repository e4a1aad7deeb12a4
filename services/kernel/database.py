"""Database: the engine, and the one transaction per request or batch of events."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg
from asyncpg.transaction import Transaction, TransactionState
from opentelemetry import trace
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import QueuePool
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import driver as drivers
from services.kernel import joining, telemetry, walls
from services.kernel.away import is_away, may_run_again
from services.kernel.caller import Caller
from services.kernel.errors import Unavailable
from services.kernel.walls import Scope

if TYPE_CHECKING:
    import polars as pl

T = TypeVar("T")

STATEMENT_TIMEOUT_MS = 60_000
ATTEMPTS_MAX = 5

SLOW_NS = 5_000_000
"""A statement that takes so long is a span of its own in a trace that is kept."""

drivers.lighten()

_DRIVER = "liandong.driver"
_SAID = "liandong.said"
_STAGED = "liandong.staged"
_WAITING = "liandong.waiting"
_Waiting = tuple[str, list[object]]
"""A statement that waits for others, and its arguments."""
_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
"""Of COPY's text form."""
_PIECE_BYTES = 128 * 1024


class _Begun(Transaction):
    """A driver's transaction that begins with words of our own, and so tells its scope with it."""

    def __init__(self, driver: asyncpg.Connection[Any], begin: str) -> None:
        super().__init__(driver, None, False, False)
        self._driver = driver
        self._begin = begin

    async def start(self) -> None:
        """Begin; it is never inside another."""
        # What `Transaction.start` does, but for the words: the driver has no other way to them.
        driver: Any = self._driver
        assert not driver.is_in_transaction()
        try:
            await driver.execute(self._begin)
        except asyncio.CancelledError:
            self._let_go()
            raise
        driver._top_xact = self  # noqa: SLF001
        self._state = TransactionState.STARTED

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        """Commit or roll back."""
        try:
            await super().__aexit__(kind, error, trace)
        except asyncio.CancelledError:
            self._let_go()
            raise

    def _let_go(self) -> None:
        """
        Close a connection of which nobody knows whether it is inside a transaction.

        A client that gives up may cut us between the word and the server's answer: the next call
        would find itself inside what we began.
        """
        if not self._driver.is_closed():
            self._driver.terminate()


class Database:
    """One service's database: its own schema, its own role."""

    def __init__(self, url: str, schema: str, *, pool_size: int = 8) -> None:
        self.schema = schema
        self.said = asyncio.Event()
        """Set after a commit that wrote events: the relay of this process wakes."""
        self._engine = create_async_engine(
            make_url(url).set(drivername="postgresql+asyncpg"),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=10,
            pool_pre_ping=False,
            # The one used last has its statements prepared and its server process warm.
            pool_use_lifo=True,
            # The transaction is the driver's own: begun, committed and rolled back in
            # `transaction`. What the session does through SQLAlchemy takes part in it.
            isolation_level="AUTOCOMMIT",
            pool_reset_on_return=None,
            connect_args={
                "connection_class": drivers.LeanConnection,
                "timeout": 5,
                "server_settings": {
                    "search_path": schema,
                    "application_name": f"liandong-{schema}",
                    **walls.SESSION,
                    "statement_timeout": str(STATEMENT_TIMEOUT_MS),
                    "lock_timeout": "10000",
                    "idle_in_transaction_session_timeout": "60000",
                },
            },
        )

        pool = self._engine.sync_engine.pool
        assert isinstance(pool, QueuePool)
        telemetry.bound("db_pool", pool.checkedout, pool_size, noun=schema)

    @asynccontextmanager
    async def transaction(
        self, whom: Caller | Scope = walls.NOBODY, *, snapshot: bool = False, lock: str = ""
    ) -> AsyncIterator[AsyncSession]:
        """
        Commit when the block ends; roll back when it raises.

        For whom it is decides which rows are there: a caller reads what is its own, events and jobs
        say `walls.EVERY_COUNTY`, and who says nothing finds nothing behind a wall. A snapshot shows
        all its statements the same moment. A lock is a statement without parameters, which takes
        one or says how long one is waited for; it is sent with the beginning, before any other.
        """
        scope = whom if isinstance(whom, Scope) else walls.of_read(whom)
        try:
            async with self._held() as (connection, driver):
                session = AsyncSession(bind=connection, expire_on_commit=False)
                session.info[_DRIVER] = driver
                begin = scope.begin(snapshot=snapshot)
                async with _Begun(driver, f"{begin}; {lock}" if lock else begin):
                    yield session
                    await _ready(session)
                if session.info.get(_SAID):
                    self.said.set()
        except Exception as error:
            if is_away(error):
                raise Unavailable(
                    "DATABASE_UNAVAILABLE",
                    f"the database of {self.schema} does not answer",
                    message_zh="数据库暂时不可用,请稍后重试",
                ) from error
            raise

    async def work(self, step: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """
        Do one step of a job in a transaction of its own, for every county.

        One that lost a race is done again.
        """
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                async with self.transaction(walls.EVERY_COUNTY) as session:
                    return await step(session)
            except Exception as error:
                if is_away(error) or not may_run_again(error):
                    raise
                if attempt == ATTEMPTS_MAX:
                    raise Unavailable("TOO_BUSY", "others hold what this needs") from error
                await asyncio.sleep(0.02 * 2**attempt)
        raise AssertionError("the loop returns or raises")

    @asynccontextmanager
    async def _held(self) -> AsyncIterator[tuple[AsyncConnection, asyncpg.Connection[Any]]]:
        """A connection of the pool, alive as far as is known; one that broke does not go back."""
        async with self._engine.connect() as held:
            driver = (await held.get_raw_connection()).driver_connection
            if driver is None or driver.is_closed():
                await held.invalidate()
                driver = (await held.get_raw_connection()).driver_connection
            assert driver is not None
            try:
                yield held, driver
            finally:
                if driver.is_closed() or driver.is_in_transaction():
                    await held.invalidate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        """A raw connection outside any transaction, for locks that outlive one; every county's."""
        async with self._engine.connect() as held:
            raw = await held.get_raw_connection()
            driver = raw.driver_connection
            assert driver is not None
            try:
                await driver.execute(walls.EVERY_COUNTY_ALWAYS)
                yield driver
            finally:
                # Its locks end with it: a pooled connection would go on holding them.
                await held.invalidate()

    async def wait_until_ready(self, *, seconds_max: float = 60) -> None:
        """Wait until the server answers; it may start after us."""
        deadline = asyncio.get_running_loop().time() + seconds_max
        while True:
            try:
                async with self.transaction() as session:
                    await fetch(session, "SELECT 1 AS one")
                return
            except (Unavailable, DBAPIError):
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(0.2)

    async def close(self) -> None:
        """Give the connections back."""
        await self._engine.dispose()


def _driver(session: AsyncSession) -> asyncpg.Connection[Any]:
    driver: asyncpg.Connection[Any] = session.info[_DRIVER]
    return driver


def mark_said(session: AsyncSession) -> None:
    """Note that this transaction wrote events, so that its commit wakes the relay."""
    session.info[_SAID] = True


class _Timed:
    """A span of a statement that took long; of every one they would cost more than they tell."""

    __slots__ = ("_sql", "_start_ns")

    def __init__(self, sql: str) -> None:
        self._sql = sql
        self._start_ns = time.time_ns()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        if time.time_ns() - self._start_ns < SLOW_NS:
            return
        within = trace.get_current_span()
        if within.is_recording():
            parent = within.get_span_context()
            telemetry.record(
                " ".join(self._sql.split(None, 4)[:3])[:60],
                telemetry.new_context(parent.trace_id, sampled=True),
                parent,
                kind=trace.SpanKind.CLIENT,
                start_ns=self._start_ns,
                attributes={"db.system.name": "postgresql"},
            )


async def fetch(session: AsyncSession, sql: str, *args: object) -> list[asyncpg.Record]:
    """Run one prepared statement inside the session's transaction; the rows it gives."""
    driver = await _ready(session)
    sent = drivers.arrays(args)
    with _Timed(sql):
        return await driver.fetch(sql, *sent)


async def stream(
    session: AsyncSession, sql: str, *args: object, chunk_rows: int
) -> AsyncGenerator[list[asyncpg.Record]]:
    """Run one statement and give its rows some at a time, so that memory holds a chunk of them."""
    cursor = await (await _ready(session)).cursor(sql, *drivers.arrays(args))
    while rows := await cursor.fetch(chunk_rows):
        yield rows


async def execute(session: AsyncSession, sql: str, *args: object) -> int:
    """Run one prepared statement; how many rows it touched."""
    driver = await _ready(session)
    sent = drivers.arrays(args)
    with _Timed(sql):
        status = await driver.execute(sql, *sent)
    last = status.rsplit(" ", 1)[-1]
    return int(last) if last.isdigit() else 0


async def write(session: AsyncSession, sql: str, *args: object) -> None:
    """
    Run one prepared statement of which nobody asks what it touched, with those written beside it.

    Such statements wait for one another and go as one, in one round trip: before anything is asked
    that is no such statement, before one that has to do with a table of theirs, and before the
    commit. An error of one comes then, and nothing is left of the transaction, as ever.
    """
    waiting: list[_Waiting] = session.info.setdefault(_WAITING, [])
    if not all(joining.are_apart(sql, each[0]) for each in waiting):
        await _ready(session)
    waiting.append((sql, drivers.arrays(args)))


async def send(session: AsyncSession) -> None:
    """Send what was written and waits for more; for who has other work while it is on its way."""
    await _ready(session)


async def _ready(session: AsyncSession) -> asyncpg.Connection[Any]:
    """The driver's connection, on which what was written has been sent."""
    driver = _driver(session)
    waiting: list[_Waiting] = session.info.get(_WAITING, [])
    if waiting:
        sql = joining.joined(tuple([each[0] for each in waiting]))
        sent = [value for each in waiting for value in each[1]]
        first = waiting[0][0]
        waiting.clear()
        with _Timed(first):
            await driver.execute(sql, *sent)
    return driver


async def copy(
    session: AsyncSession, table: str, names: Sequence[str], rows: Sequence[Sequence[object]]
) -> None:
    """Write rows by binary COPY inside the session's transaction; the table has no policies."""
    driver = await _ready(session)
    with _Timed(f"COPY {table} FROM"):
        await driver.copy_records_to_table(table, records=rows, columns=names)


async def _stage(session: AsyncSession, staged: str, make: str) -> None:
    """Have a temporary table, made where it is missing, and empty where it was used before."""
    used: set[str] = session.info.setdefault(_STAGED, set())
    await execute(session, f"TRUNCATE {staged}" if staged in used else make)
    used.add(staged)


async def copy_staged(
    session: AsyncSession,
    table: str,
    names: Sequence[str],
    rows: Sequence[Sequence[object]],
    fixed: Mapping[str, tuple[str, object]],
) -> str:
    """
    Write rows by binary COPY into a temporary table, then move them; `fixed` is alike in all.

    The temporary table's name: it keeps the rows until the transaction ends.

    PostgreSQL refuses COPY FROM where rows have policies; INSERT keeps to them (decision 0010).
    """
    staged = f"staged_{table}"
    own = ", ".join(names)
    casts = [f"${place}::{kind}" for place, (kind, _) in enumerate(fixed.values(), 1)]
    alike = f"AS SELECT {own} FROM {table} WITH NO DATA"  # noqa: S608 - names are the stores' own
    make = f"CREATE TEMPORARY TABLE IF NOT EXISTS {staged} ON COMMIT DELETE ROWS {alike}"
    await _stage(session, staged, make)
    await copy(session, staged, names, rows)
    into, values = ", ".join((*names, *fixed)), ", ".join((*names, *casts))
    await execute(
        session,
        f"INSERT INTO {table} ({into}) SELECT {values} FROM {staged}",  # noqa: S608 - names are the stores' own
        *(value for _, value in fixed.values()),
    )
    return staged


async def read_columns(
    session: AsyncSession, sql: str, *args: object, schema: Mapping[str, type[pl.DataType]]
) -> pl.DataFrame:
    """Run a query by COPY and give its rows as columns: no object is made of a value."""
    # Here, as most services never need it, and a service that was killed is to serve soon.
    import polars as pl

    held = io.BytesIO()

    # A file the driver would write in a thread, some kilobytes at a time.
    async def keep(data: bytes) -> None:
        held.write(data)

    driver = await _ready(session)
    with _Timed(f"COPY {sql}"):
        await driver.copy_from_query(sql, *args, output=keep, format="csv")
    if not held.tell():
        return pl.DataFrame(schema=schema)
    held.seek(0)
    return pl.read_csv(held, has_header=False, schema=schema)


async def write_columns(session: AsyncSession, staged: str, make: str, frame: pl.DataFrame) -> None:
    """Write columns by COPY into a temporary table, which is made where it is missing."""
    import polars as pl

    await _stage(session, staged, make)
    held = io.BytesIO()
    # In COPY's text form nothing is quoted: JSON would double each of its quotes.
    escaped = frame.with_columns(
        pl.col(pl.String).str.replace_many(list(_ESCAPES), list(_ESCAPES.values()))
    )
    escaped.write_csv(
        held, include_header=False, separator="\t", quote_style="never", null_value="\\N"
    )
    whole = held.getvalue()

    # A file the driver would read in a thread; and the server begins with what it has.
    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(whole), _PIECE_BYTES):
            yield whole[at : at + _PIECE_BYTES]

    driver = await _ready(session)
    with _Timed(f"COPY {staged} FROM"):
        await driver.copy_to_table(staged, source=pieces(), columns=frame.columns, format="text")


def columns(rows: Sequence[Sequence[object]], count: int) -> list[list[object]]:
    """Turn rows into columns, for `unnest`: also when there are no rows."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[]] * count
