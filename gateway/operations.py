"""Gateway: the use cases of its own: enter and suspend institutions, keep the directory fresh."""

import asyncio
from collections.abc import Iterable

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from gateway import events_out, store
from gateway.identity import REFRESH_SECONDS, Directory
from gateway.pauses import Pauses
from services.kernel import outbox, pauses
from services.kernel.away import is_away
from services.kernel.database import Database
from services.programmes.schema import deployment

log = structlog.get_logger(__name__)


async def enter_institutions(
    session: AsyncSession, institutions: Iterable[deployment.Institution]
) -> list[str]:
    """Enter institutions and say which were added or changed; their ids."""
    changed = await store.enter_institutions(session, institutions)
    await outbox.record(session, [events_out.institution_changed(one) for one in changed])
    return [one.institution_id for one in changed]


async def set_active(session: AsyncSession, institution_id: str, *, active: bool) -> bool:
    """Suspend an institution or let it call again; False when it is so already or unknown."""
    changed = await store.set_active(session, institution_id, active=active)
    await outbox.record(session, [events_out.institution_changed(one) for one in changed])
    return bool(changed)


async def refresh(db: Database, directory: Directory, paused: Pauses | None = None) -> None:
    """Bring the directory, and what is paused, to the state of the database."""
    async with db.transaction() as session:
        if paused is not None:
            paused.replace(await pauses.in_force(session, pauses.INSTITUTION, pauses.FEED))
        version = await store.directory_version(session)
        if version == directory.version:
            directory.confirm()
        else:
            directory.replace(version, await store.read_institutions(session))


async def keep_fresh(db: Database, directory: Directory, paused: Pauses) -> None:
    """Refresh both until cancelled; while the database is away it only ages."""
    while True:
        await asyncio.sleep(REFRESH_SECONDS)
        try:
            await refresh(db, directory, paused)
        except Exception as error:
            if not is_away(error):
                raise
            log.warning("directory_waits", error=type(error).__name__)
