"""The access log: a row for every call, a chain that no hand can change unseen."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import asyncpg
import grpc
import pytest
from liandong.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from liandong.loans.v1 import loans_pb2, loans_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from gateway import access_log
from gateway.access_log import AccessLog, Entry, Head
from services.kernel import database, ids
from services.kernel.caller import body_hash
from services.kernel.database import Database
from services.kernel.errors import Unavailable
from tests.eventually import eventually
from tests.gateway.conftest import House

pytestmark = [pytest.mark.postgres, pytest.mark.nats]

ROWS = 60
TAMPERINGS = 200


def an_entry(method: str = "liandong.loans.v1.LoansService/GetLoan") -> Entry:
    return Entry(
        call_id=ids.new_id(),
        called_at=datetime(2019, 5, 6, 7, 8, 9, 123_457, tzinfo=UTC),
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
    )


class Undone(Exception):
    """Ends a transaction that must leave nothing."""


@asynccontextmanager
async def as_superuser(house: House) -> AsyncIterator[AsyncSession]:
    """A session that may do anything to the log, and whose doing is undone."""
    db = Database(house.schema.server.dsn_of(house.schema.name), "gateway", pool_size=2)
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


async def test_every_call_leaves_a_row_and_a_read_is_on_disk_before_its_answer(
    house: House,
) -> None:
    request = loans_pb2.GetLoanRequest(county_code="123456", loan_id=str(uuid.uuid4()))
    stub = loans_pb2_grpc.LoansServiceStub(house.as_institution("bank-1"))
    before = len(await house.logged("bank-1", at_least=0))

    await stub.GetLoan(
        request, metadata=(("liandong-person", "bank-1-p1"), ("liandong-purpose", "review"))
    )

    rows = await house.logged("bank-1", at_least=0)
    row = rows[-1]
    assert len(rows) > before
    assert row["method"] == "liandong.loans.v1.LoansService/GetLoan"
    assert (row["person_id"], row["purpose"], row["service"]) == ("bank-1-p1", "review", "loans")
    assert (row["county_code"], row["decision"], row["outcome"]) == ("123456", "allowed", "OK")
    assert row["body_hash"] == body_hash(request.SerializeToString())
    assert row["peer"].endswith("/inst/bank-1")


async def test_a_refusal_leaves_a_row_with_its_reason_also_for_a_stranger(house: House) -> None:
    for who in ("insurer-1", "stranger-7"):
        stub = loans_pb2_grpc.LoansServiceStub(house.as_institution(who))
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.CloseAccountingPeriod(loans_pb2.CloseAccountingPeriodRequest())

    denied = (await house.logged("insurer-1"))[-1]
    assert (denied["decision"], denied["reason"]) == ("refused", "ROLE_NOT_ALLOWED")
    assert denied["outcome"] == "PERMISSION_DENIED"
    strangers = await house.logged("")
    row = next(row for row in strangers if row["peer"].endswith("/inst/stranger-7"))
    assert (row["decision"], row["reason"]) == ("refused", "INSTITUTION_UNKNOWN")


async def test_what_a_service_refused_was_allowed_here_and_tells_the_outcome(house: House) -> None:
    stub = loans_pb2_grpc.LoansServiceStub(house.as_institution("bank-1"))
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.GetLoan(loans_pb2.GetLoanRequest())

    rows = await eventually(
        lambda: house.logged("bank-1"), lambda rows: rows[-1]["outcome"] == "INVALID_ARGUMENT"
    )
    row = rows[-1]
    assert (row["decision"], row["reason"]) == ("allowed", "")


async def test_one_above_counties_is_recorded_with_the_county_it_asked_about(house: House) -> None:
    stub = gateway_pb2_grpc.GatewayServiceStub(house.as_institution("operator-1"))

    await stub.ListInstitutions(gateway_pb2.ListInstitutionsRequest(county_code="123457"))

    assert (await house.logged("operator-1"))[-1]["county_code"] == "123457"


async def test_the_app_role_may_only_add(house: House) -> None:
    for statement in (
        "UPDATE access_log SET purpose = 'other'",
        "DELETE FROM access_log",
        "TRUNCATE access_log",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await house.schema.ask_as_app(statement)


_COLUMNS = [name for name in Entry.__slots__ if name not in ("call_id", "called_at", "decision")]


async def _tamper(session: AsyncSession, chance: random.Random, first: int) -> str:
    """Change the log by a random hand; what was done."""
    one, other = sorted(chance.sample(range(first, first + ROWS), 2))
    kind = chance.choice(["flip", "time", "decision", "delete", "swap", "insert", "digest"])
    column = chance.choice(_COLUMNS)
    match kind:
        case "flip":
            sql = f"UPDATE access_log SET {column} = {column} || 'x' WHERE position = {one}"
        case "time":
            sql = f"""UPDATE access_log SET called_at = called_at + interval '1 microsecond'
                      WHERE position = {one}"""
        case "decision":
            sql = f"UPDATE access_log SET decision = 'refused' WHERE position = {one}"
        case "delete":
            sql = f"DELETE FROM access_log WHERE position = {one}"
        case "swap":
            sql = f"""UPDATE access_log SET position = CASE position WHEN {one} THEN {other}
                      ELSE {one} END + 1000000 WHERE position IN ({one}, {other})"""
        case "insert":
            sql = f"UPDATE access_log SET position = position + 1 + 1000000 WHERE position > {one}"
        case _:
            sql = f"UPDATE access_log SET digest = sha256(digest) WHERE position = {one}"
    await database.execute(session, sql)
    await database.execute(
        session, "UPDATE access_log SET position = position - 1000000 WHERE position > 1000000"
    )
    if kind == "insert":
        await database.execute(
            session,
            f"""INSERT INTO access_log SELECT position + 1, uuidv7(), called_at, peer,
                institution_id, person_id, method, service, county_code, purpose, decision, reason,
                outcome, body_hash, trace_id, digest FROM access_log WHERE position = {one}""",
        )
    return f"{kind} {column} at {one}, {other}"


async def test_every_tampering_is_found(house: House) -> None:
    chance = random.Random(20190506)
    missed = []
    async with as_superuser(house) as session:
        first = (await access_log.head(session)).position + 1
        await append(session, [an_entry() for _ in range(ROWS)])
        kept = await access_log.head(session)
        assert (await access_log.verify(session, kept=[kept])).intact
        for _ in range(TAMPERINGS):
            await database.execute(session, "SAVEPOINT untouched")
            done = await _tamper(session, chance, first)
            if (await access_log.verify(session, kept=[kept])).intact:
                missed.append(done)
            await database.execute(session, "ROLLBACK TO untouched")

    assert missed == []


async def test_a_cut_tail_is_found_against_a_head_kept_elsewhere(house: House) -> None:
    async with as_superuser(house) as session:
        await append(session, [an_entry() for _ in range(5)])
        kept = await access_log.head(session)
        whole = await access_log.verify(session, kept=[kept])
        await database.execute(
            session, "DELETE FROM access_log WHERE position > $1", kept.position - 2
        )
        alone = await access_log.verify(session)
        cut = await access_log.verify(session, kept=[kept])
        await append(session, [an_entry() for _ in range(4)])
        rewritten = await access_log.verify(session, kept=[kept])

    assert whole.intact
    assert whole.head == kept
    assert alone.intact
    assert cut.broken_at == kept.position - 1
    assert rewritten.broken_at == kept.position


async def test_two_gateways_append_to_one_chain(house: House) -> None:
    async def write(rows: int) -> None:
        async with house.db.transaction() as session:
            await append(session, [an_entry("two/Gateways") for _ in range(rows)])

    await asyncio.gather(*(write(rows) for rows in (7, 1, 30, 2, 11)))

    async with house.db.transaction() as session:
        assert (await access_log.verify(session)).intact


async def test_rows_are_written_once_each_though_connections_break(house: House) -> None:
    db = await house.schema.another_database(pool_size=2)
    log = AccessLog(db)
    running = asyncio.create_task(log.run())
    breaker = await asyncpg.connect(house.schema.server.dsn_of(house.schema.name))
    entries = [an_entry("broken/Connections") for _ in range(2_000)]
    try:
        for count, entry in enumerate(entries):
            log.add(entry)
            if count % 100 == 0:
                await breaker.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'liandong-gateway' AND datname = current_database()"
                )
        await log.add_and_wait(an_entry("broken/Connections"))
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await breaker.close()
        await db.close()
        # Its connections are broken too; the next use makes new ones.
        await house.db.close()

    async with house.db.transaction() as session:
        rows = await database.fetch(
            session,
            """SELECT count(*) AS rows, count(DISTINCT call_id) AS calls FROM access_log
               WHERE method = 'broken/Connections'""",
        )
        assert (rows[0]["rows"], rows[0]["calls"]) == (2_001, 2_001)
        assert (await access_log.verify(session)).intact


async def test_a_stop_writes_what_waits(house: House) -> None:
    log = AccessLog(house.db)
    running = asyncio.create_task(log.run())
    await log.add_and_wait(an_entry())
    entries = [an_entry("stopped/Gateway") for _ in range(450)]
    for entry in entries:
        log.add(entry)

    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    async with house.db.transaction() as session:
        rows = await database.fetch(
            session,
            "SELECT call_id FROM access_log WHERE call_id = ANY($1::uuid[])",
            [entry.call_id for entry in entries],
        )
    assert len(rows) == 450


async def test_what_cannot_be_recorded_does_not_happen(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_log, "COMMIT_SECONDS_MAX", 0.1)
    nobody_writes = AccessLog(house.db)
    for _ in range(access_log.WAITING_ROWS_MAX):
        nobody_writes.add(an_entry())

    with pytest.raises(Unavailable):
        nobody_writes.require_room()
    with pytest.raises(Unavailable) as withheld:
        await nobody_writes.add_and_wait(an_entry())
    assert withheld.value.reason == "ACCESS_LOG_UNAVAILABLE"


def test_the_chain_depends_on_the_row_its_place_and_all_before_it() -> None:
    entry = an_entry()
    digest = access_log.chain(access_log.GENESIS, 1, entry)

    assert digest != access_log.chain(access_log.GENESIS, 2, entry)
    assert digest != access_log.chain(digest, 1, entry)
    assert digest == access_log.chain(access_log.GENESIS, 1, entry)
    assert Head(1, digest) == Head(1, access_log.chain(bytes(32), 1, entry))
