"""Logs to look at: rows, checkpoints and roots in a database of their own."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from deploy.local.places import free_port
from gateway import access_log, log_seals, log_store
from gateway.access_log import Entry
from gateway.log_chain import LogSigner, day_of
from services.kernel import ids
from services.kernel.caller import body_hash
from services.kernel.database import Database
from tests.servers import Schema

LONG_AGO = datetime(2019, 5, 6, 7, 8, 9, 123_457, tzinfo=UTC)


def nowhere() -> Database:
    """A database at an address where nobody answers."""
    address = f"127.0.0.1:{free_port()}"
    return Database(f"postgresql://nobody:x@{address}/none", "gateway", pool_size=1)


def an_entry(
    method: str = "liandong.loans.v1.LoansService/GetLoan", *, resources: Sequence[str] = ()
) -> Entry:
    return Entry(
        call_id=ids.new_id(),
        called_at=LONG_AGO,
        peer="spiffe://liandong/local/inst/bank-1",
        institution_id="bank-1",
        person_id="bank-1-p1",
        method=method,
        service="loans",
        county_code="123456",
        purpose="review",
        decision="allowed",
        reason="",
        outcome="OK",
        body_hash=body_hash(b"body"),
        trace_id="",
        resources=tuple(resources),
    )


class Undone(Exception):
    """Ends a transaction that must leave nothing."""


@asynccontextmanager
async def as_superuser(schema: Schema) -> AsyncIterator[AsyncSession]:
    """A session that may do anything to the log, and whose doing is undone."""
    db = Database(schema.server.dsn_of(schema.name), "gateway", pool_size=2)
    try:
        async with db.transaction() as session:
            yield session
            raise Undone
    except Undone:
        return
    finally:
        await db.close()


async def append(session: AsyncSession, entries: list[Entry]) -> None:
    """Append within a session's transaction."""
    connection = await session.connection()
    driver = (await connection.get_raw_connection()).driver_connection
    assert driver is not None
    await access_log.append(driver, entries)


async def fill(
    session: AsyncSession, signer: LogSigner, *, rows: int, each: int, days: int = 1
) -> None:
    """So many rows with a checkpoint behind `each` of them, spread over days with their roots."""
    await log_store.enter_key(session, signer)
    step = timedelta(days=days) / (rows // each)
    for number in range(rows // each):
        at = LONG_AGO + step * number
        await log_seals.root_days(session, signer, day_of(at))
        await append(session, [an_entry(resources=[f"loan:{i}"]) for i in range(each)])
        await log_seals.seal(session, signer, at)
    await log_seals.root_days(session, signer, (LONG_AGO + timedelta(days=days + 2)).date())
