"""The access log: a row for every call, a chain that no hand can change unseen."""

import asyncio
import uuid
from dataclasses import replace

import asyncpg
import grpc
import pytest
import structlog
from liandong.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from liandong.loans.v1 import loans_pb2, loans_pb2_grpc

from deploy.local.ca import LocalCA
from gateway import access_log, log_seals, log_verify
from gateway.access_log import AccessLog
from gateway.log_chain import GENESIS, LogSigner
from gateway.log_seals import Seals
from services.kernel import database
from services.kernel.caller import body_hash
from services.kernel.errors import Unavailable
from tests.conftest import MakeSchema
from tests.eventually import at_least, eventually
from tests.gateway.conftest import House
from tests.gateway.logs import an_entry, append, as_superuser, nowhere

pytestmark = [pytest.mark.postgres, pytest.mark.nats]


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

    sql = "SELECT * FROM access_log WHERE peer LIKE $1 AND method LIKE '%/CloseAccountingPeriod'"

    async def last_of(who: str) -> tuple[str, str, str]:
        (*_, row) = await eventually(lambda: house.schema.ask(sql, f"%/inst/{who}"))
        return row["decision"], row["reason"], row["outcome"]

    assert [await last_of(who) for who in ("insurer-1", "stranger-7")] == [
        ("refused", "ROLE_NOT_ALLOWED", "PERMISSION_DENIED"),
        ("refused", "INSTITUTION_UNKNOWN", "UNAUTHENTICATED"),
    ]


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


async def test_two_gateways_append_to_one_chain(house: House) -> None:
    async def write(rows: int) -> None:
        async with house.db.transaction() as session:
            await append(session, [an_entry("two/Gateways") for _ in range(rows)])

    await asyncio.gather(*(write(rows) for rows in (7, 1, 30, 2, 11)))

    async with house.db.transaction() as session:
        assert (await log_verify.verify(session)).intact


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
        assert (await log_verify.verify(session)).intact


async def test_calls_that_come_together_share_a_commit_and_a_lone_one_is_not_put_off(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than any call may wait: a lone one that was put off would be refused.
    monkeypatch.setattr(access_log, "GATHER_SECONDS", 3_600.0)
    log = AccessLog(house.db)
    running = asyncio.create_task(log.run())
    try:
        for _ in range(3):
            await log.add_and_wait(an_entry("alone/Read"))
        monkeypatch.setattr(access_log, "GATHER_SECONDS", 0.5)
        together = [log.add_and_wait(an_entry("together/Read")) for _ in range(2)]
        await asyncio.gather(*together)
        after = []
        for _ in range(10):
            after.append(asyncio.create_task(log.add_and_wait(an_entry("after/Read"))))
            # Long enough for a commit, and short of the delay.
            await house.schema.ask("SELECT 1")
        await asyncio.gather(*after)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    async def commits(method: str) -> int:
        sql = "SELECT count(DISTINCT xmin::text) AS commits FROM access_log WHERE method = $1"
        return int((await house.schema.ask(sql, method))[0]["commits"])

    assert (await commits("alone/Read"), await commits("together/Read")) == (3, 1)
    assert await commits("after/Read") < 10


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


async def test_a_stop_while_the_database_is_away_ends_in_order_and_says_how_much_is_cut() -> None:
    log = AccessLog(nowhere())
    for _ in range(3):
        log.add(an_entry())
    with structlog.testing.capture_logs() as said:
        running = asyncio.create_task(log.run())
        await asyncio.wait({running}, timeout=0)
        running.cancel()
        (ended,) = await asyncio.gather(running, return_exceptions=True)

    assert isinstance(ended, asyncio.CancelledError)
    cut = [each["rows"] for each in said if each["event"] == "access_log_cut"]
    assert cut == [3]


async def test_a_stop_does_not_wait_for_a_seal_that_another_holds_up(
    schema: MakeSchema, certificates: LocalCA, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await schema("gateway")
    seals = Seals(made.db, LogSigner(certificates.log_keys().private), AccessLog(made.db))
    monkeypatch.setattr(log_seals, "LAST_SECONDS_MAX", 0.1)
    async with as_superuser(made) as session:
        await database.execute(session, "LOCK TABLE access_log_checkpoint, access_log_key")
        with structlog.testing.capture_logs() as said:
            running = asyncio.create_task(seals.run())
            await asyncio.wait({running}, timeout=0)
            running.cancel()
            (ended,) = await asyncio.gather(running, return_exceptions=True)

    assert isinstance(ended, asyncio.CancelledError)
    assert [each["event"] for each in said] == ["access_log_unsealed"]
    # What nobody signed is not there, and the next gateway seals it.
    assert await made.one("SELECT count(*) FROM access_log_checkpoint") == 0
    await seals.now()
    assert await made.one("SELECT count(*) FROM access_log_key") == 1


async def test_a_thousand_rows_are_sealed_at_once_and_a_stop_seals_the_rest(
    schema: MakeSchema, certificates: LocalCA
) -> None:
    made = await schema("gateway")
    log = AccessLog(made.db)
    seals = Seals(made.db, LogSigner(certificates.log_keys().private), log)
    sealed = "SELECT coalesce(max(position), 0) FROM access_log_checkpoint"
    running = [asyncio.create_task(log.run()), asyncio.create_task(seals.run())]
    keys = "SELECT count(*) FROM access_log_key"
    try:
        # Past the first seal: it would take some of the rows and leave too few to call for one.
        await eventually(lambda: made.one(keys), at_least(1))
        for _ in range(access_log.SEAL_ROWS):
            log.add(an_entry())
        await eventually(lambda: made.one(sealed), at_least(access_log.SEAL_ROWS))
        for _ in range(10):
            log.add(an_entry())
    finally:
        for task in running:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    assert await made.one(sealed) == access_log.SEAL_ROWS + 10
    assert log.seal_age_seconds() < 60
    async with made.db.transaction(snapshot=True) as session:
        found = await log_verify.verify(session)
    assert found.intact
    assert found.sealed == found.head


async def test_what_cannot_be_proven_does_not_happen(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AccessLog(house.db)
    log.require_room()
    monkeypatch.setattr(access_log, "EVIDENCE_SECONDS_MAX", -1.0)

    with pytest.raises(Unavailable) as refused:
        log.require_room()

    assert refused.value.reason == "ACCESS_LOG_UNPROVEN"


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
    digest = access_log.chain(GENESIS, 1, entry)

    assert digest != access_log.chain(GENESIS, 2, entry)
    assert digest != access_log.chain(digest, 1, entry)
    assert digest != access_log.chain(GENESIS, 1, replace(entry, resources=("loan:1",)))
    assert digest == access_log.chain(GENESIS, 1, entry)
