"""Retention: what is too old goes into an archive and out of the table; the chain still holds."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import structlog

from deploy.local.ca import LocalCA
from gateway import log_store, log_verify, retention
from gateway.log_chain import LogSigner, keys_of
from gateway.log_check import Kind, Proofs
from gateway.log_files import LogFile
from gateway.log_verify import verify_file
from gateway.retention import Rules
from services.kernel import database, ids
from tests.conftest import MakeSchema
from tests.eventually import eventually
from tests.gateway.logs import LONG_AGO, an_entry, append, as_superuser, fill

pytestmark = [pytest.mark.postgres]

DAYS = {"access_log": 200, "idempotency": 400, "feeds": 400}


async def test_old_rows_go_into_an_archive_and_the_chain_holds_over_the_cut(
    schema: MakeSchema, certificates: LocalCA, tmp_path: Path
) -> None:
    made = await schema("gateway")
    signer = LogSigner(certificates.log_keys().private)
    rules = Rules(kept_days=DAYS, archives=tmp_path)
    async with made.db.transaction() as session:
        await fill(session, signer, rows=60, each=10, days=6)
        roots = tuple(await log_store.read_roots(session))
    proofs = Proofs(keys=keys_of([signer.public_key]), roots=roots)
    # Forty rows are older than the days that are kept.
    now = LONG_AGO + timedelta(days=203, hours=12)

    looked = await retention.run(made.db, signer, rules, now=now, dry_run=True)
    assert await made.one("SELECT count(*) FROM access_log") == 60
    reports = await retention.run(made.db, signer, rules, now=now)
    again = await retention.run(made.db, signer, rules, now=now)

    assert looked[0].removed_rows == reports[0].removed_rows == 40
    assert [one.removed_rows for one in again] == [0] * len(DAYS)
    archive = tmp_path / reports[0].archive
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == reports[0].archive_sha256
    kept = verify_file(LogFile(archive), proofs, whole=False)
    assert (kept.intact, kept.rows, kept.head.position) == (True, 40, 40)
    assert await made.one("SELECT min(position) FROM access_log") == 41
    async with made.db.transaction() as session:
        await append(session, [an_entry(), an_entry()])
    async with made.db.transaction(snapshot=True) as session:
        found = await log_verify.verify(session, proofs)
        stored = await log_store.read_reports(session, before=now + timedelta(1), rows_max=10)
    assert (found.intact, found.rows, found.head.position) == (True, 22, 62)
    of_the_log = [row["removed_rows"] for row in stored if row["category"] == "access_log"]
    assert sorted(of_the_log) == [0, 40]
    async with as_superuser(made) as session:
        # Rows behind the cut that nobody archived, and a cut that nobody signed.
        await database.execute(session, "SAVEPOINT untouched")
        await database.execute(session, "DELETE FROM access_log WHERE position < 51")
        deleted = (await log_verify.verify(session, proofs)).broken
        await database.execute(session, "UPDATE access_log_cut SET position = 50")
        forged = (await log_verify.verify(session, proofs)).broken
        await database.execute(session, "ROLLBACK TO untouched")
        await database.execute(session, "DELETE FROM access_log_cut")
        lost = (await log_verify.verify(session, proofs)).broken
    assert deleted is not None
    assert (deleted.position, deleted.kind) == (41, Kind.DELETION)
    assert forged is not None
    assert forged.kind is Kind.FORGED_CUT
    assert lost is not None
    assert (lost.position, lost.kind) == (1, Kind.DELETION)


async def test_a_broken_log_is_not_cut_and_young_rows_never(
    schema: MakeSchema, certificates: LocalCA, tmp_path: Path
) -> None:
    made = await schema("gateway")
    signer = LogSigner(certificates.log_keys().private)
    now = LONG_AGO + timedelta(days=1_000)
    async with made.db.transaction() as session:
        await fill(session, signer, rows=20, each=10)
    nowhere = await retention.run(made.db, signer, Rules(kept_days=DAYS, archives=None), now=now)
    await made.ask("UPDATE access_log SET purpose = 'other' WHERE position = 7")
    rules = Rules(kept_days=DAYS, archives=tmp_path)

    broken = await retention.run(made.db, signer, rules, now=now)

    assert nowhere[0].note
    assert broken[0].failed
    assert "flip at 7" in broken[0].note
    assert await made.one("SELECT count(*) FROM access_log") == 20
    await made.ask("UPDATE access_log SET purpose = 'review', called_at = now() WHERE position = 7")
    await made.ask(
        """INSERT INTO access_log_cut SELECT 1, 1, position, digest, made_at, 'a', repeat('0', 64),
                  previous, key_id, signature FROM access_log_checkpoint WHERE number = 1"""
    )
    with pytest.raises(asyncpg.RaiseError):
        await made.ask_as_app("SELECT cut_access_log(1000)")
    for statement in (
        "DELETE FROM access_log_checkpoint",
        "UPDATE access_log_day_root SET position = 1",
        "DELETE FROM retention_report",
        "UPDATE break_glass SET reason = 'another one'",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await made.ask_as_app(statement)


async def test_old_answers_go_and_those_that_moved_money_stay(
    schema: MakeSchema, certificates: LocalCA
) -> None:
    made = await schema("gateway")
    signer = LogSigner(certificates.log_keys().private)
    for money, days in ((False, 401), (False, 399), (True, 401)):
        await made.ask(
            """INSERT INTO idempotency VALUES ('bank-1', 'm', $1, ''::bytea, ''::bytea, $2,
                                               now() - make_interval(days => $3))""",
            ids.new_id(),
            money,
            days,
        )
    rules = Rules(kept_days=DAYS, archives=None)

    looked = await retention.run(made.db, signer, rules, dry_run=True)
    reports = await retention.run(made.db, signer, rules)

    removed = [one.removed_rows for one in looked]
    assert removed == [one.removed_rows for one in reports] == [0, 1, 0]
    assert await made.one("SELECT count(*) FROM idempotency") == 2
    assert await made.one("SELECT count(*) FROM retention_report") == len(DAYS)


async def test_the_gateway_does_it_by_itself_once_a_day(
    schema: MakeSchema, certificates: LocalCA, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await schema("gateway")
    signer = LogSigner(certificates.log_keys().private)
    monkeypatch.setattr(retention, "LOOK_SECONDS", 0.01)
    assert await retention.is_due(made.db)
    rules = Rules(kept_days=DAYS, archives=None)
    job = asyncio.create_task(retention.keep_running(made.db, signer, rules))
    try:
        await eventually(lambda: made.one("SELECT count(*) FROM retention_report"))
    finally:
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)

    assert not await retention.is_due(made.db)
    assert await made.one("SELECT count(*) FROM retention_report") == len(DAYS)


async def test_a_folder_that_cannot_be_written_is_tried_again_and_nothing_is_lost(
    schema: MakeSchema,
    certificates: LocalCA,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = await schema("gateway")
    signer = LogSigner(certificates.log_keys().private)
    async with made.db.transaction() as session:
        await fill(session, signer, rows=20, each=10)
    monkeypatch.setattr(retention, "LOOK_SECONDS", 0.01)
    folder = tmp_path / "archives"
    folder.write_text("a file where the folder should be", encoding="ascii")
    rules = Rules(kept_days=DAYS, archives=folder)
    with structlog.testing.capture_logs() as said:
        job = asyncio.create_task(retention.keep_running(made.db, signer, rules))
        try:
            waits = await eventually(lambda: _waits(said), lambda found: len(found) > 1)
            assert set(waits) == {"NotADirectoryError"}
            assert await made.one("SELECT count(*) FROM access_log") == 20
            folder.unlink()
            folder.mkdir()
            await eventually(lambda: made.one("SELECT count(*) FROM retention_report"))
        finally:
            job.cancel()
            await asyncio.gather(job, return_exceptions=True)

    assert await made.one("SELECT count(*) FROM access_log") == 0
    (archive,) = folder.iterdir()
    assert LogFile(archive).read_start().after.position == 0


async def _waits(said: Sequence[Mapping[str, Any]]) -> list[str]:
    return [each["error"] for each in said if each["event"] == "retention_waits"]
