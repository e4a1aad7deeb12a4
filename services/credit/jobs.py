"""Credit: what time asks for, and what goes on by itself."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import date
from typing import Any

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit.operations import areas, registry, rescoring, standing
from services.kernel import metrics, process, walls
from services.kernel.away import is_away, may_run_again
from services.kernel.database import Database
from services.kernel.errors import LiandongError
from services.programmes.loader import Catalogue

CloseDay = Callable[[AsyncSession, str, date], Awaitable[None]]
Work = Callable[[Database], Coroutine[Any, Any, None]]

POLL_SECONDS = 0.5

log = structlog.get_logger(__name__)


def close_day(catalogue: Catalogue) -> CloseDay:
    """The end of a business day: limits and measures end with it; a month's end is counted."""

    async def close(session: AsyncSession, county_code: str, day: date) -> None:
        await registry.expire_limits(session, county_code, day)
        await standing.run_out(session, catalogue, county_code, day)
        if areas.ends_month(day):
            await areas.assess_county(session, catalogue, county_code, day)
            await areas.keep_coverage(session, catalogue, county_code, day)

    return close


def rescores(catalogue: Catalogue) -> Work:
    """Re-scores that were started, chunk by chunk, for ever; a chunk that was cut is done again."""

    async def work(db: Database) -> None:
        ahead = Ahead()
        while True:
            process.heed_cancel()
            if not await advance_rescore(db, catalogue, ahead):
                await asyncio.sleep(POLL_SECONDS)

    return work


@dataclass(slots=True)
class Ahead:
    """The chunk that was looked at while the one before it was written; it may prove stale."""

    chunk: rescoring.Chunk | None = None


async def advance_rescore(db: Database, catalogue: Catalogue, ahead: Ahead) -> bool:
    """Do the next chunk of the next re-score; False when there is nothing to do just now."""
    running = None
    found, ahead.chunk = ahead.chunk, None
    try:
        async with db.transaction(walls.EVERY_COUNTY) as session:
            running = await rescoring.find_running(session)
        if running is None:
            return False
        with metrics.job(db.schema, "rescore"):
            async with db.transaction(walls.EVERY_COUNTY) as session:
                chunk = await rescoring.take(session, catalogue, *running, found)
                if chunk is None:
                    return False
                written, following = await asyncio.gather(
                    rescoring.write(session, chunk),
                    _look_ahead(db, catalogue, chunk),
                    return_exceptions=True,
                )
                if isinstance(written, BaseException):
                    raise written
            # What is written stays written, whatever became of the look at the next.
            if isinstance(following, BaseException):
                raise following
            ahead.chunk = following
            return True
    except Exception as error:
        if is_away(error) or may_run_again(error):
            log.warning("rescore_waits", error=type(error).__name__)
            return False
        if running is None:
            raise
        # One county's bad data must not stop the others, nor the service.
        log.exception("rescore_fails", county_code=running[0], rescore_id=str(running[1]))
        reason = error.reason if isinstance(error, LiandongError) else type(error).__name__
        async with db.transaction(walls.EVERY_COUNTY) as session:
            await rescoring.fail(session, *running, reason)
        return True


async def _look_ahead(
    db: Database, catalogue: Catalogue, chunk: rescoring.Chunk
) -> rescoring.Chunk | None:
    if chunk.over:
        return None
    async with db.transaction(walls.EVERY_COUNTY) as session:
        return await rescoring.look(session, catalogue, chunk.job, chunk.last)
