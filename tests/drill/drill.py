"""One drill: back up under load, lose a schema, restore to two moments, audit to the fen."""

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import asyncpg

from deploy.demo import run as demo
from deploy.local import audit, backup, places, processes, rebuilding
from deploy.local.audit import Audit
from deploy.local.backup import Manifest, Moment
from deploy.local.places import DataFolder, Places
from deploy.local.restore import restore
from deploy.local.stack import NOUNS, Stack
from tests.eventually import eventually
from tests.faults.harness import Load, ask, require_balanced, streams

QUIET_SECONDS_MAX = 120.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How large the year is, and when in it what is done, counted in commands."""

    seed: int = 20180301
    scale: float = 0.03
    backup_at: int = 60
    moment_at: int = 160


@dataclass(slots=True)
class Figures:
    """What the drill came to: one line."""

    commands: int = 0
    events: int = 0
    backup_seconds: float = 0.0
    restore_seconds: float = 0.0
    pitr_seconds: float = 0.0
    refilled_seconds: float = 0.0
    tables: int = 0
    republished: int = 0
    unbalanced_fen: int = 0
    parked_events: int = 0

    def __str__(self) -> str:
        return (
            f"drill: commands={self.commands} events={self.events}"
            f" backup_s={self.backup_seconds:.1f} restore_s={self.restore_seconds:.1f}"
            f" pitr_s={self.pitr_seconds:.1f} stream_refilled_s={self.refilled_seconds:.1f}"
            f" tables_rebuilt_equal={self.tables} events_replayed={self.republished}"
            f" unbalanced_fen={self.unbalanced_fen} parked_events={self.parked_events}"
        )

    def take(self, books: Audit) -> None:
        """Add what an audit found."""
        self.unbalanced_fen += books.unbalanced_fen
        self.parked_events += books.parked_events


@dataclass(frozen=True, slots=True)
class Kept:
    """What is on other disks: rows, keys, the archived log; and the moment to come back to."""

    rows: Path
    keys: Path
    log: Path
    manifest: Manifest
    moment: Moment


@asynccontextmanager
async def folders(count: int) -> AsyncIterator[list[DataFolder]]:
    """Data folders that are gone afterwards."""
    machine = places.find()
    made = [machine.folder(f"drill-{secrets.token_hex(6)}") for _ in range(count)]
    try:
        yield made
    finally:
        for folder in made:
            await processes.remove_folder(folder)


def stack_in(machine: Places, folder: DataFolder, *, log: Path | None = None) -> Stack:
    """A platform of the example county in a folder."""
    return Stack(
        machine, folder, replace(demo.shape(processes=False), streams=streams(), wal_archive=log)
    )


async def run(plan: Plan) -> Figures:
    """The whole drill; AssertionError or BackupError where something does not hold."""
    figures = Figures()
    machine = places.find()
    async with folders(4) as (first, elsewhere, at_backup, at_moment):
        log = elsewhere.path / "log"
        stack = stack_in(machine, first, log=log)
        try:
            await stack.start()
            kept = await _live_and_back_up(stack, elsewhere, plan, figures)
            await _rebuild(stack, figures)
            await _replay(stack, plan, figures)
            await _lose(stack)
        finally:
            await stack.stop()
        began = time.monotonic()
        restored = await restore(machine, at_backup, kept.rows, kept.keys)
        figures.restore_seconds = time.monotonic() - began
        assert restored.positions == kept.manifest.moment.positions
        await _serve_again(machine, at_backup, restored.positions, plan, figures)
        began = time.monotonic()
        to = datetime.fromisoformat(kept.moment.taken_at)
        again = await restore(machine, at_moment, kept.rows, kept.keys, archive=kept.log, to=to)
        figures.pitr_seconds = time.monotonic() - began
        assert again.positions == kept.moment.positions, (again.positions, kept.moment)
        await _serve_again(machine, at_moment, again.positions, plan, figures)
    return figures


async def _live_and_back_up(
    stack: Stack, elsewhere: DataFolder, plan: Plan, figures: Figures
) -> Kept:
    """The year, and while it is lived a backup of it and a moment to come back to."""
    rows, keys = elsewhere.path / "rows", elsewhere.path / "keys"
    async with Load(stack, seed=plan.seed, scale=plan.scale) as load:
        living = asyncio.create_task(load.live())
        try:
            await _commands(load, plan.backup_at, living)
            began = time.monotonic()
            backup.keep_keys(stack.folder, keys, backup=rows)
            manifest = await backup.backup_folder(stack.postgres, stack.folder, rows, NOUNS)
            figures.backup_seconds = time.monotonic() - began
            await _commands(load, plan.moment_at, living)
            assert not living.done(), "the year was over before the moment"
            connection = await asyncpg.connect(stack.postgres.superuser_dsn())
            try:
                moment = await backup.mark_moment(connection, NOUNS)
            finally:
                await connection.close()
            outcome = await living
        finally:
            living.cancel()
        require_balanced(outcome)
        figures.commands = outcome.commands
        figures.take(outcome.books)
    before, then = manifest.moment.positions, moment.positions
    assert all(before[noun] <= then[noun] for noun in NOUNS)
    assert before != then
    return Kept(rows, keys, elsewhere.path / "log", manifest, moment)


async def _commands(load: Load, count: int, living: "asyncio.Task[object]") -> None:
    async def reached() -> bool:
        return load.commands >= count or living.done()

    await eventually(reached, seconds_max=300)


async def _rebuild(stack: Stack, figures: Figures) -> None:
    """Every projection is what the events say, row for row."""
    made = rebuilding.projections_of(stack.shape.programme_folders)
    for projection in made.values():
        done = await rebuilding.rebuild_one(_dsn(stack), projection)
        assert done.is_equal, [each for each in done.tables if not each.is_equal]
        figures.tables += len(done.tables)


async def _replay(stack: Stack, plan: Plan, figures: Figures) -> None:
    """All that was ever said is said again, and nobody is moved by it."""
    made = rebuilding.projections_of(stack.shape.programme_folders)
    before = await rebuilding.digests(_dsn(stack), made)
    async with Load(stack, seed=plan.seed, scale=plan.scale) as load:
        books = await audit.audit(load.year.get_totals)
        for noun in NOUNS:
            (row,) = await ask(
                stack,
                f"""WITH again AS (UPDATE {noun}.outbox
                        SET stream_sequence = NULL, publish_count = publish_count + 1
                        WHERE stream_sequence IS NOT NULL RETURNING 1)
                    SELECT count(*) AS events FROM again""",
            )
            figures.republished += row["events"]
        await _settled(stack)
        assert await load.is_quiet(seconds_max=QUIET_SECONDS_MAX)
        after = await audit.audit(load.year.get_totals)
    assert after.totals == books.totals
    figures.take(after)
    assert await rebuilding.digests(_dsn(stack), made) == before


async def _settled(stack: Stack) -> None:
    """Everything is in the stream, and every durable has acknowledged the last of it."""

    async def left() -> int:
        found = 0
        for noun in NOUNS:
            sql = f"SELECT count(*) FROM {noun}.outbox WHERE stream_sequence IS NULL"
            found += (await ask(stack, sql))[0][0]
        return found + await stack.nats.unacknowledged(stack.ca.service("operator"))

    await eventually(left, lambda count: count == 0, seconds_max=QUIET_SECONDS_MAX)


async def _lose(stack: Stack) -> None:
    """Somebody drops the book of loans; PostgreSQL's log up to then is in the archive."""
    (row,) = await ask(stack, "SELECT pg_walfile_name(pg_switch_wal()) AS name")
    await ask(stack, "DROP SCHEMA loans CASCADE")

    async def archived() -> str:
        (found,) = await ask(stack, "SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver")
        return str(found[0])

    await eventually(archived, lambda name: name >= row["name"], seconds_max=60)


def _dsn(stack: Stack) -> rebuilding.Dsn:
    return stack.postgres.dsn


async def _serve_again(
    machine: Places,
    folder: DataFolder,
    positions: Mapping[str, int],
    plan: Plan,
    figures: Figures,
) -> None:
    """A restored platform starts without a stream, fills it, comes to rest; its books balance."""
    stack = stack_in(machine, folder)
    try:
        await stack.start()
        began = time.monotonic()
        async with Load(stack, seed=plan.seed, scale=plan.scale) as load:
            await _settled(stack)
            assert await load.is_quiet(seconds_max=QUIET_SECONDS_MAX)
            figures.refilled_seconds = max(figures.refilled_seconds, time.monotonic() - began)
            outcome = await load.look()
        require_balanced(outcome)
        figures.take(outcome.books)
        events = 0
        for noun in NOUNS:
            events += (await ask(stack, f"SELECT count(*) FROM {noun}.outbox"))[0][0]
        figures.events = max(figures.events, events)
        assert sum(positions.values()) > 0
    finally:
        await stack.stop()


def plan_of_environment() -> Plan:
    """The plan, with the size that `LIANDONG_DRILL_SCALE` names."""
    return Plan(scale=float(os.environ.get("LIANDONG_DRILL_SCALE", Plan().scale)))
