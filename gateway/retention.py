"""Retention: what is kept how long, by category of data; what is removed is reported."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from gateway import find_store, log_files, log_store
from gateway.log_chain import GENESIS, Checkpoint, Cut, Head, LogSigner, keys_of
from gateway.log_check import Proofs
from gateway.log_files import LogFile
from gateway.log_verify import verify_file
from services.kernel import database, ids, metrics
from services.kernel.away import is_away
from services.kernel.clock import recorded_time
from services.kernel.database import Database
from services.kernel.errors import LiandongError

ROWS_MAX = 10_000
"""Removed in one transaction."""
ROUNDS_MAX = 10_000
EVERY = timedelta(hours=24)
LOOK_SECONDS = 600.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Days by category, and where archives go."""

    kept_days: Mapping[str, int]
    archives: Path | None
    """Rows of the access log are cut only into an archive; without a folder they all stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one run removed of one category, or would have."""

    category: str
    kept_days: int
    removed_rows: int = 0
    archive: str = ""
    archive_sha256: str = ""
    note: str = ""
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """One run: with what, at which time, and whether for a look only."""

    db: Database
    signer: LogSigner
    rules: Rules
    now: datetime
    dry_run: bool

    def days(self, category: str) -> int:
        """How many days of a category are kept."""
        return self.rules.kept_days[category]

    def cutoff(self, category: str) -> datetime:
        """What is older goes."""
        return self.now - timedelta(days=self.days(category))

    async def in_rounds(self, step: Callable[[AsyncSession], Awaitable[int]]) -> int:
        """Remove a bounded number at a time until nothing is left; how many they were."""
        total = 0
        for _ in range(ROUNDS_MAX):
            removed = await self.db.work(step)
            total += removed
            if removed < ROWS_MAX:
                break
        return total


async def _access_log(job: Job) -> Report:
    """Rows behind the last cut, up to the last checkpoint that is old enough, into an archive."""
    report = Report(category="access_log", kept_days=job.days("access_log"))
    if job.rules.archives is None:
        return replace(report, note="no folder for archives: nothing is cut")
    async with job.db.transaction() as session:
        start = await log_files.start_of(session, None)
        upto = await log_store.last_checkpoint(session, before=job.cutoff("access_log"))
    if upto is None or upto.position <= start.position:
        # A run that was killed may have left rows of its cut.
        left = 0 if job.dry_run else await job.in_rounds(_remove)
        return replace(report, removed_rows=left)
    rows = upto.position - start.position
    if job.dry_run:
        return replace(report, removed_rows=rows)
    path = job.rules.archives / f"access-log-{start.position + 1}-{upto.position}.gz"
    async with job.db.transaction(snapshot=True) as session:
        written = await log_files.write(session, path, after=start, upto=upto.position)
        proofs = Proofs(
            keys=keys_of(row["public_key"] for row in await log_store.read_keys(session)),
            roots=tuple(await log_store.read_roots(session)),
        )
    found = await asyncio.to_thread(verify_file, LogFile(path), proofs, whole=False)
    if found.broken is not None or found.head != upto.head:
        at = f"{found.broken.kind} at {found.broken.position}" if found.broken else "another end"
        log.error("access_log_broken", archive=path.name, found=at)
        note = f"not cut: the archive does not hold, {at}"
        return replace(report, archive=path.name, note=note, failed=True)
    await job.db.work(
        lambda session: _cut(session, job, start, upto, archive=path.name, sha256=written.sha256)
    )
    removed = await job.in_rounds(_remove)
    return replace(report, removed_rows=removed, archive=path.name, archive_sha256=written.sha256)


async def _cut(
    session: AsyncSession, job: Job, start: Head, upto: Checkpoint, *, archive: str, sha256: str
) -> None:
    """Sign that the chain begins behind a checkpoint; somebody who was quicker has done it."""
    await log_store.take_turn(session)
    cuts = await log_store.read_cuts(session)
    if await log_files.start_of(session, None) != start:
        return
    unsigned = Cut(
        number=len(cuts) + 1,
        cut_at=job.now,
        first_position=start.position + 1,
        archive=archive,
        archive_sha256=sha256,
        position=upto.position,
        digest=upto.digest,
        previous=cuts[-1].own_digest if cuts else GENESIS,
        key_id=job.signer.key_id,
    )
    await log_store.enter_key(session, job.signer)
    await log_store.enter_cut(session, replace(unsigned, signature=job.signer.sign(unsigned.text)))


async def _remove(session: AsyncSession) -> int:
    return await log_store.remove_cut_rows(session, ROWS_MAX)


@dataclass(frozen=True, slots=True)
class Table:
    """A category that is rows of one table, which go when they are old."""

    name: str
    since: str
    """The column that tells how old a row is."""
    may_go: str = "true"
    """Which rows may go at all."""


NO_CONTRACT_SINCE = """
NOT EXISTS (
    SELECT FROM contract AS c
    WHERE (c.valid_to IS NULL OR c.valid_to >= current_date)
      AND (c.valid_from IS NULL OR c.valid_from <= feed_event.recorded_at::date))
"""

TABLES: Mapping[str, Table] = {
    # What moved money is kept with the money, for ever.
    "idempotency": Table("idempotency", "recorded_at", "NOT money"),
    # An institution's feed goes back to the day on which its contract began.
    "feeds": Table("feed_event", "recorded_at", NO_CONTRACT_SINCE),
}
"""Category to its table; a category of its own is one more line here and a setting."""


async def of_table(job: Job, category: str) -> Report:
    """Rows of one table that are old enough and may go."""
    table, cutoff = TABLES[category], job.cutoff(category)
    old = f"{table.may_go} AND {table.since} < $1"
    report = Report(category=category, kept_days=job.days(category))
    if job.dry_run:
        async with job.db.transaction() as session:
            sql = f"SELECT count(*) AS rows FROM {table.name} WHERE {old}"  # noqa: S608
            rows = await database.fetch(session, sql, cutoff)
        return replace(report, removed_rows=rows[0]["rows"])

    async def remove(session: AsyncSession) -> int:
        return await database.execute(
            session,
            f"""DELETE FROM {table.name} WHERE ctid IN (
                    SELECT ctid FROM {table.name} WHERE {old} LIMIT $2)""",  # noqa: S608
            cutoff,
            ROWS_MAX,
        )

    report = replace(report, removed_rows=await job.in_rounds(remove))
    if table.name == "feed_event":
        await job.in_rounds(find_store.forget)
    return report


async def run(
    db: Database,
    signer: LogSigner,
    rules: Rules,
    *,
    now: datetime | None = None,
    dry_run: bool = False,
) -> list[Report]:
    """Every category once; a dry run removes nothing and writes no report."""
    job = Job(db, signer, rules, now or recorded_time(), dry_run)
    reports = [await _access_log(job)]
    reports += [await of_table(job, category) for category in TABLES]
    if not dry_run:
        async with db.transaction() as session:
            for report in reports:
                await log_store.enter_report(
                    session,
                    (
                        *(ids.new_id(), job.now, report.category, report.kept_days),
                        *(report.removed_rows, report.archive, report.archive_sha256),
                        report.note,
                    ),
                )
    return reports


async def keep_running(db: Database, signer: LogSigner, rules: Rules) -> None:
    """Once a day, until cancelled; several gateways see one another's reports."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            if await is_due(db):
                with metrics.job("gateway", "retention"):
                    found = await run(db, signer, rules)
                log.info("retention_ran", removed={r.category: r.removed_rows for r in found})
        except Exception as error:
            # A folder that cannot be written, or a database that is away: the next round.
            if not (isinstance(error, LiandongError) or is_away(error)):
                raise
            log.warning("retention_waits", error=type(error.__cause__ or error).__name__)


async def is_due(db: Database) -> bool:
    """Whether the last run is a day ago."""
    async with db.transaction() as session:
        last = await log_store.read_reports(session, before=recorded_time(), rows_max=1)
    return not last or recorded_time() - last[0]["ran_at"] >= EVERY


def archives_in(path: Path | None) -> Path | None:
    """The folder of archives, made when it is missing, for our eyes only."""
    if path is not None and not path.is_dir():
        path.mkdir(mode=0o700, parents=True)
    return path
