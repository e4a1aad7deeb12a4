"""
Pauses: an institution, a feed, a consumer or a product stands still, by two persons' word.

Each service keeps those of what is its own; who must heed one reads it here. The first person asks,
with a reason and perhaps an end; a second person's word begins it, and so it is ended again. What
nobody decides for a day is over.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
from asyncpg import Record
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database, ids
from services.kernel.errors import NotFound, Refused

INSTITUTION: Final = "institution"
FEED: Final = "feed"
CONSUMER: Final = "consumer"
PRODUCT: Final = "product"
KINDS: Final = (INSTITUTION, FEED, CONSUMER, PRODUCT)

PROPOSED: Final = "proposed"
PAUSED: Final = "paused"
RESUME_PROPOSED: Final = "resume_proposed"
RESUMED: Final = "resumed"
EXPIRED: Final = "expired"
DROPPED: Final = "dropped"
OPEN: Final = (PROPOSED, PAUSED, RESUME_PROPOSED)

LOOK_SECONDS: Final = 1.0
"""How often who must heed pauses looks for new ones."""
IN_FORCE_MAX: Final = 10_000

IN_FORCE: Final = (
    "paused_at IS NOT NULL AND ended_at IS NULL AND coalesce(expires_at > now(), true)"
)
"""What a row of `pause` must say to be heeded."""
_STATE = """CASE
    WHEN ended_at IS NOT NULL AND paused_at IS NULL THEN 'dropped'
    WHEN ended_at IS NOT NULL AND ended_by = '' THEN 'expired'
    WHEN ended_at IS NOT NULL THEN 'resumed'
    WHEN expires_at <= now() AND paused_at IS NOT NULL THEN 'expired'
    WHEN paused_at IS NULL AND (expires_at <= now() OR proposed_at <= now() - interval '1 day')
        THEN 'dropped'
    WHEN paused_at IS NULL THEN 'proposed'
    WHEN resume_proposed_at > now() - interval '1 day' THEN 'resume_proposed'
    ELSE 'paused' END"""
_COLUMNS = f"""pause_id, kind, subject, only_county, reason, {_STATE} AS state, proposed_by,
    proposed_at, confirmed_by, paused_at, expires_at, resume_proposed_by, resume_reason,
    resume_proposed_at, ended_by,
    CASE WHEN ended_at IS NULL AND {_STATE} = 'expired' THEN expires_at ELSE ended_at END
        AS ended_at"""


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause that is in force."""

    kind: str
    subject: str
    reason: str
    paused_at: datetime
    expires_at: datetime | None

    def holds(self, now: datetime) -> bool:
        """Whether it still does."""
        return self.expires_at is None or now < self.expires_at

    def until(self) -> str:
        """Until when, in words for whom it stops."""
        if self.expires_at is None:
            return "until it is resumed"
        return f"until {self.expires_at.isoformat(timespec='seconds')}"


async def propose(
    session: AsyncSession,
    *,
    kind: str,
    subject: str,
    county_code: str,
    reason: str,
    expires_at: datetime | None,
    person_id: str,
) -> Record:
    """Write a pause that waits for its second person."""
    await _bury(session, kind, subject, county_code)
    rows = await database.fetch(
        session,
        f"""INSERT INTO pause (pause_id, kind, subject, only_county, reason, expires_at,
                               proposed_by)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT (kind, subject, only_county) WHERE ended_at IS NULL DO NOTHING
            RETURNING {_COLUMNS}""",  # noqa: S608 - the columns are ours
        ids.new_id(),
        kind,
        subject,
        county_code,
        reason,
        expires_at,
        person_id,
    )
    if not rows:
        raise Refused(
            "PAUSE_STANDS",
            f"{kind} {subject} is paused, or somebody asked for that",
            message_zh="已暂停或已有待确认的暂停",
        )
    return rows[0]


async def _bury(session: AsyncSession, kind: str, subject: str, county_code: str) -> None:
    """Close what is over without anybody's word, so that it may be asked for again."""
    await database.execute(
        session,
        f"""UPDATE pause SET ended_at = least(expires_at, now())
            WHERE kind = $1 AND subject = $2 AND only_county = $3 AND ended_at IS NULL
              AND {_STATE} NOT IN ('proposed', 'paused', 'resume_proposed')""",  # noqa: S608 - as above
        kind,
        subject,
        county_code,
    )


async def propose_resume(
    session: AsyncSession, pause_id: UUID, *, reason: str, person_id: str
) -> Record:
    """Ask that a pause be ended before its time."""
    found = await _locked(session, pause_id)
    if found["state"] == RESUME_PROPOSED:
        raise Refused(
            "RESUME_ASKED", "somebody asked for that before", message_zh="已有待确认的恢复"
        )
    if found["state"] != PAUSED:
        raise _over()
    return await _changed(
        session,
        "resume_proposed_by = $2, resume_reason = $3, resume_proposed_at = now()",
        pause_id,
        person_id,
        reason,
    )


async def decide(session: AsyncSession, pause_id: UUID, *, confirm: bool, person_id: str) -> Record:
    """The second person's word on what was asked last."""
    found = await _locked(session, pause_id)
    state = found["state"]
    if state == PAUSED:
        raise Refused(
            "NOTHING_TO_DECIDE",
            "nobody asked to end this pause, or longer than a day ago",
            message_zh="没有待确认的事项",
        )
    if state not in OPEN:
        raise _over()
    asked_by = found["proposed_by"] if state == PROPOSED else found["resume_proposed_by"]
    if confirm and asked_by == person_id:
        raise Refused(
            "SECOND_PERSON_NEEDED",
            "who asked for it may not confirm it",
            message_zh="须由第二人确认",
        )
    if state == PROPOSED and confirm:
        change = "confirmed_by = $2, paused_at = now()"
    elif confirm or state == PROPOSED:
        change = "ended_by = $2, ended_at = now()"
    else:
        # The word that was not taken is in the access log; here it makes room for another.
        change = "resume_proposed_by = left($2, 0), resume_reason = '', resume_proposed_at = NULL"
    return await _changed(session, change, pause_id, person_id)


async def _locked(session: AsyncSession, pause_id: UUID) -> Record:
    rows = await database.fetch(
        session,
        f"SELECT {_COLUMNS} FROM pause WHERE pause_id = $1 FOR UPDATE",  # noqa: S608 - as above
        pause_id,
    )
    if not rows:
        raise NotFound("PAUSE_NOT_FOUND", f"no pause {pause_id} here", message_zh="暂停不存在")
    return rows[0]


async def _changed(session: AsyncSession, change: str, pause_id: UUID, *args: object) -> Record:
    rows = await database.fetch(
        session,
        f"UPDATE pause SET {change} WHERE pause_id = $1 RETURNING {_COLUMNS}",  # noqa: S608 - as above
        pause_id,
        *args,
    )
    return rows[0]


def _over() -> Refused:
    return Refused("PAUSE_OVER", "the pause is over, or never began", message_zh="暂停已结束")


async def read_all(
    session: AsyncSession, *, kind: str, over_too: bool, before: UUID | None, rows_max: int
) -> list[Record]:
    """The latest first."""
    return await database.fetch(
        session,
        f"""SELECT * FROM (SELECT {_COLUMNS} FROM pause) AS known
            WHERE ($1 = '' OR kind = $1) AND ($2::uuid IS NULL OR pause_id < $2)
              AND ($3 OR state IN ('proposed', 'paused', 'resume_proposed'))
            ORDER BY pause_id DESC LIMIT $4""",  # noqa: S608 - as above
        kind,
        before,
        over_too,
        rows_max,
    )


async def in_force(session: AsyncSession, *kinds: str) -> list[Pause]:
    """What is paused now, of some kinds."""
    rows = await database.fetch(
        session,
        f"""SELECT kind, subject, reason, paused_at, expires_at FROM pause
            WHERE kind = ANY ($1) AND {IN_FORCE} LIMIT $2""",  # noqa: S608 - as above
        list(kinds),
        IN_FORCE_MAX,
    )
    return [Pause(*row) for row in rows]


async def consumer_stands(connection: "asyncpg.Connection[Any]", noun: str) -> bool:
    """Whether a consumer is paused: asked by itself, on the connection of its lock."""
    found: bool = await connection.fetchval(
        f"""SELECT EXISTS (SELECT FROM pause
                           WHERE kind = 'consumer' AND subject = $1 AND {IN_FORCE})""",  # noqa: S608 - as above
        noun,
    )
    return found


async def stopped_products(
    session: AsyncSession, county_code: str, products: Iterable[str]
) -> Mapping[str, Refused]:
    """Those of some products (`programme/product`) that are paused in a county, and the refusal."""
    rows: Sequence[Record] = await database.fetch(
        session,
        f"""SELECT DISTINCT ON (subject) kind, subject, reason, paused_at, expires_at FROM pause
            WHERE kind = 'product' AND subject = ANY ($1) AND only_county IN ('', $2)
              AND {IN_FORCE}
            ORDER BY subject, paused_at""",  # noqa: S608 - as above
        sorted(set(products)),
        county_code,
    )
    return {pause.subject: _stopped(pause) for pause in (Pause(*row) for row in rows)}


def _stopped(pause: Pause) -> Refused:
    return Refused(
        "PRODUCT_PAUSED",
        f"{pause.subject} is paused {pause.until()}: {pause.reason}",
        message_zh="该产品已暂停受理",
        facts={"product": pause.subject, "pause_reason": pause.reason},
    )
