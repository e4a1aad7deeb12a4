"""
Usage: the day's calls and refusals of each institution, kept in the database.

Counted in memory and added to the database's totals every few seconds and when the process stops;
then the totals of all gateways are read back. So a quota survives a restart to the call when the
process stops in order, and but for the last `SAVE_SECONDS` of calls when it is killed.
"""

import asyncio
from collections.abc import Mapping
from datetime import date, timedelta

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from gateway.identity import Directory
from gateway.limits import Count, Limiter
from services.kernel import database
from services.kernel.away import is_away
from services.kernel.database import Database

SAVE_SECONDS = 5.0
KEPT_DAYS = 92

_ADD = """
INSERT INTO {table} AS known (day, institution_id, {name}, calls)
SELECT * FROM unnest($1::date[], $2::text[], $3::text[], $4::bigint[])
ON CONFLICT (day, institution_id, {name}) DO UPDATE SET calls = known.calls + excluded.calls
"""
_ADD_CALLS = _ADD.format(table="usage_day", name="scope")
_ADD_REFUSALS = _ADD.format(table="usage_refusal", name="reason")

log = structlog.get_logger(__name__)


async def _add(session: AsyncSession, sql: str, counts: Mapping[Count, int]) -> None:
    rows = [(*key, calls) for key, calls in sorted(counts.items()) if calls]
    if rows:
        await database.execute(session, sql, *database.columns(rows, 4))


async def totals(session: AsyncSession, day: date) -> dict[tuple[str, str], int]:
    """All institutions' calls of a day, by institution and scope."""
    rows = await database.fetch(
        session, "SELECT institution_id, scope, calls FROM usage_day WHERE day = $1", day
    )
    return {(row["institution_id"], row["scope"]): row["calls"] for row in rows}


async def refusals(session: AsyncSession, institution_id: str, day: date) -> dict[str, int]:
    """An institution's refused calls of a day by reason, as far as they are kept."""
    rows = await database.fetch(
        session,
        "SELECT reason, calls FROM usage_refusal WHERE day = $1 AND institution_id = $2",
        day,
        institution_id,
    )
    return {row["reason"]: row["calls"] for row in rows}


async def save(db: Database, limiter: Limiter) -> None:
    """Add what was counted since the last time, and take over what all gateways counted."""
    day = limiter.begin()
    calls, refused = limiter.unsaved.copy(), limiter.refused.copy()
    async with db.transaction() as session:
        await _add(session, _ADD_CALLS, calls)
        await _add(session, _ADD_REFUSALS, refused)
        known = await totals(session, day)
    for counter, saved in ((limiter.unsaved, calls), (limiter.refused, refused)):
        counter.subtract(saved)
        for key in [key for key, left in counter.items() if left == 0]:
            del counter[key]
    limiter.restore(day, known)


async def forget_old(db: Database, day: date) -> None:
    """Drop days that nobody asks about any more."""
    for table in ("usage_day", "usage_refusal"):
        async with db.transaction() as session:
            await database.execute(
                session,
                f"DELETE FROM {table} WHERE day < $1",  # noqa: S608 - two names of ours
                day - timedelta(days=KEPT_DAYS),
            )


async def keep(db: Database, limiter: Limiter, directory: Directory) -> None:
    """Save until cancelled, and once more then; while the database is away the counts wait."""
    cleaned = date.min
    try:
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            try:
                await save(db, limiter)
                if limiter.day != cleaned:
                    await forget_old(db, limiter.day)
                    cleaned = limiter.day
            except Exception as error:
                if not is_away(error):
                    raise
                log.warning("usage_waits", error=type(error).__name__)
            limiter.forget(directory.everyone())
    finally:
        try:
            await save(db, limiter)
        except Exception as error:
            if not is_away(error):
                raise
            log.warning("usage_cut", error=type(error).__name__)
