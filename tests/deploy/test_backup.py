"""Backup and restore of the rows, on PostgreSQL alone: two moments, and what is refused."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from deploy.local import backup, places, processes
from deploy.local.backup import BackupError, Manifest, Moment
from deploy.local.places import DataFolder, Places
from deploy.local.postgres import Postgres, archiving
from deploy.local.restore import restore
from services.kernel.migrate import upgrade
from tests.conftest import MakeSchema
from tests.deploy.hindered import as_program, given_up, never_ready
from tests.eventually import at_least, eventually
from tests.servers import Schema

pytestmark = pytest.mark.postgres

NOUNS = ("funds",)
SAY = """
INSERT INTO funds.outbox (event_id, event_type, aggregate_type, aggregate_id, sequence, county_code,
                          payload)
VALUES (gen_random_uuid(), 'liandong.funds.v1.top_up_due', 'funds.fund', $1, 1, '411224', '')
"""

_WAITS = "SELECT xact_start FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'"


@dataclass
class Taken:
    """A server that was backed up, said more, and is gone."""

    machine: Places
    kept: DataFolder
    manifest: Manifest
    later: Moment

    @property
    def rows(self) -> Path:
        return self.kept.path / "rows"

    @property
    def keys(self) -> Path:
        return self.kept.path / "keys"

    @property
    def log(self) -> Path:
        return self.kept.path / "log"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def taken() -> AsyncIterator[Taken]:
    machine = places.find()
    lost, kept = (machine.folder(f"backup-{secrets.token_hex(6)}") for _ in range(2))
    server = Postgres(machine, lost, settings=archiving(lost, kept.path / "log"))
    try:
        await server.start()
        await server.prepare(NOUNS)
        for noun in NOUNS:
            await upgrade(f"services.{noun}", noun, server.dsn(noun, "owner"))
        connection = await asyncpg.connect(server.superuser_dsn())
        await connection.execute(
            "SELECT funds.ensure_outbox_partition(date_trunc('month', now())::date)"
        )
        await connection.execute(SAY, "before")
        (lost.private("keys") / "households-data.key").write_bytes(b"k" * 32)
        backup.keep_keys(lost, kept.path / "keys", backup=kept.path / "rows")
        manifest = await backup.backup_folder(server, lost, kept.path / "rows", NOUNS)
        await connection.execute(SAY, "between")
        later = await backup.mark_moment(connection, NOUNS)
        await connection.execute(SAY, "after")
        await connection.execute("SELECT pg_switch_wal()")
        await connection.close()
        # A clean stop archives what is whole.
        await server.stop()
        yield Taken(machine, kept, manifest, later)
    finally:
        await server.stop()
        for folder in (lost, kept):
            await processes.remove_folder(folder)


@pytest_asyncio.fixture(loop_scope="session")
async def empty() -> AsyncIterator[DataFolder]:
    folder = places.find().folder(f"again-{secrets.token_hex(6)}")
    yield folder
    await processes.remove_folder(folder)


async def said(taken: Taken, folder: DataFolder) -> list[str]:
    server = Postgres(taken.machine, folder)
    await server.start()
    try:
        connection = await asyncpg.connect(server.superuser_dsn())
        rows = await connection.fetch("SELECT aggregate_id FROM funds.outbox ORDER BY position")
        await connection.close()
    finally:
        await server.stop()
    return [row["aggregate_id"] for row in rows]


async def test_a_backup_is_restored_to_its_own_moment_and_no_other(
    taken: Taken, empty: DataFolder
) -> None:
    restored = await restore(taken.machine, empty, taken.rows, taken.keys)

    assert restored.positions == taken.manifest.moment.positions == {"funds": 1}
    assert await said(taken, empty) == ["before"]
    assert (empty.path / "keys" / "households-data.key").read_bytes() == b"k" * 32
    assert not (empty.path / "nats").exists(), "the stream is made anew"


async def test_with_the_archived_log_it_is_restored_to_a_later_time(
    taken: Taken, empty: DataFolder
) -> None:
    to = datetime.fromisoformat(taken.later.taken_at)

    restored = await restore(taken.machine, empty, taken.rows, taken.keys, archive=taken.log, to=to)

    assert restored.positions == taken.later.positions == {"funds": 2}
    assert await said(taken, empty) == ["before", "between"]


async def test_what_cannot_come_right_is_refused_before_anything_is_written(
    taken: Taken, empty: DataFolder, tmp_path: Path
) -> None:
    async def refused(match: str, **how: object) -> None:
        arguments = {"backup": taken.rows, "keys": taken.keys} | how
        with pytest.raises(BackupError, match=match):
            await restore(taken.machine, empty, **arguments)  # type: ignore[arg-type]

    early = datetime.fromisoformat(taken.manifest.moment.taken_at) - timedelta(hours=1)
    await refused("is no backup", backup=tmp_path)
    await refused("holds no keys", keys=tmp_path)
    await refused("needs the archived log", to=early)
    await refused("is before the backup", to=early, archive=taken.log)
    for name in sorted(taken.manifest.files)[:2]:
        path = taken.rows / name
        body = path.read_bytes()
        path.write_bytes(bytes([body[0] ^ 1]) + body[1:])
        await refused("is not what was backed up")
        path.unlink()
        await refused("lacks")
        path.write_bytes(body)
    (taken.rows / "strange").touch()
    await refused("of which its manifest knows nothing")
    (taken.rows / "strange").unlink()
    manifest = taken.rows / backup.MANIFEST
    text = manifest.read_text()
    for change, match in (
        ({"release": "999.0.0"}, "is of release 999"),
        ({"postgres_major": 17}, "PostgreSQL 17"),
        ({"format": 99}, "format 99"),
    ):
        manifest.write_text(json.dumps(json.loads(text) | change))
        await refused(match)
    manifest.write_text(text)
    assert not list(empty.path.iterdir())

    (empty.path / "something").touch()
    await refused("is not empty")


async def test_keys_never_lie_with_the_rows_and_nothing_is_written_over(taken: Taken) -> None:
    inside = taken.rows / "keys"
    with pytest.raises(BackupError, match="may not lie with the rows"):
        backup.keep_keys(taken.kept, inside, backup=taken.rows)
    with pytest.raises(BackupError, match="is there already"):
        backup.keep_keys(taken.kept, taken.keys, backup=None)


@asynccontextmanager
async def superusers(schema: Schema, count: int) -> AsyncIterator[list[Any]]:
    """Connections to the database of a noun, closed whatever they were doing."""
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(count):
            found.append(await asyncpg.connect(schema.server.dsn_of(schema.name)))
            stack.callback(found[-1].terminate)
        yield found


async def test_a_moment_is_looked_for_again_while_somebody_writes(
    schema: MakeSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "_LOCK_SECONDS", 0.1)
    monkeypatch.setattr(backup, "_LOCK_TRIES", 10_000)
    async with superusers(await schema("funds"), 3) as (marker, writer, watcher):
        begun: set[datetime] = set()

        async def tries() -> int:
            begun.update(
                row["xact_start"] for row in await watcher.fetch(_WAITS, marker.get_server_pid())
            )
            return len(begun)

        writing = writer.transaction()
        await writing.start()
        await writer.execute(SAY, "on and on")
        marking = asyncio.create_task(backup.mark_moment(marker, NOUNS))
        await eventually(tries, at_least(2))
        assert not marking.done()
        await writing.commit()
        moment = await marking

        (said,) = await watcher.fetch("SELECT position, aggregate_id FROM funds.outbox")
        assert (moment.positions, said["aggregate_id"]) == (
            {"funds": said["position"]},
            "on and on",
        )


async def test_where_somebody_never_ends_no_moment_is_found_and_he_is_not_hindered(
    schema: MakeSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "_LOCK_SECONDS", 0.1)
    monkeypatch.setattr(backup, "_LOCK_TRIES", 2)
    async with superusers(await schema("funds"), 2) as (marker, writer):
        async with writer.transaction():
            await writer.execute(SAY, "on and on")
            with pytest.raises(BackupError, match=r"no moment in 2 tries of 0\.1 s"):
                await backup.mark_moment(marker, NOUNS)
            await writer.execute("UPDATE funds.outbox SET aggregate_id = 'and on'")

        assert await marker.fetchval("SELECT aggregate_id FROM funds.outbox") == "and on"


async def test_a_backup_that_is_given_up_ends_its_program(tmp_path: Path) -> None:
    program, running = tmp_path / "pg_basebackup", tmp_path / "running"
    as_program(program, never_ready(running))

    await given_up(backup.run_program(program, env={}), running)
