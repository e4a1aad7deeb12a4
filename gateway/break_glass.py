"""
Break-glass: an operator reads where no rule lets him, for minutes, with a reason and two persons.

A call names the break-glass; only then it counts, and the log marks each such call, allowed or not.
It reads and never changes: what changes is done by those whose it is.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from asyncpg import Record
from sqlmodel.ext.asyncio.session import AsyncSession

from gateway.identity import Claim, Institution
from gateway.routes import OWN, ROUTES, Route
from services.kernel import database, ids
from services.kernel.away import is_away
from services.kernel.clock import recorded_time
from services.kernel.database import Database
from services.kernel.errors import Denied, NotFound, Refused, invalid_field

REFRESH_SECONDS = 1.0
AGE_SECONDS_MAX = 10.0
"""A break-glass that cannot be seen to be open for so long is not."""
RUNNING_MAX = 100
MINUTES_MAX = 240

COLUMNS = """break_glass_id, institution_id, reason, methods, county_code, minutes, opened_by,
             opened_at, confirmed_by, confirmed_at, expires_at, closed_by, closed_at"""

_METHODS: Mapping[str, Route] = {route.method: route for route in ROUTES}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Glass:
    """A break-glass that runs."""

    break_glass_id: str
    institution_id: str
    methods: frozenset[str]
    county_code: str
    persons: frozenset[str]
    expires_at: datetime


class Glasses:
    """Those that run, held in memory; a call that names one costs a look into a mapping."""

    def __init__(self, *, clock: Callable[[], datetime] = recorded_time) -> None:
        self._clock = clock
        self._running: Mapping[str, Glass] = {}
        self._checked_at: datetime | None = None

    def replace(self, running: Collection[Glass]) -> None:
        """Take the state of the database."""
        self._running = {glass.break_glass_id: glass for glass in running}
        self._checked_at = self._clock()

    def require(self, claim: Claim, institution: Institution, method: str, county: str) -> None:
        """Refuse a call that the break-glass it names does not cover, here and now."""
        glass = self._running.get(claim.break_glass_id)
        now = self._clock()
        if (
            glass is None
            or self._checked_at is None
            or (now - self._checked_at).total_seconds() > AGE_SECONDS_MAX
            or now >= glass.expires_at
            or glass.institution_id != institution.institution_id
            or claim.person_id not in glass.persons
            or method not in glass.methods
            or county != glass.county_code
        ):
            raise Denied(
                "BREAK_GLASS_NOT_COVERING",
                "the break-glass that is named does not run, or not for this person, method and"
                " county",
                message_zh="应急授权无效或不涵盖本次调用",
            )


def require_coverable(methods: Collection[str]) -> None:
    """Refuse methods that no break-glass opens."""
    for index, method in enumerate(methods):
        route = _METHODS.get(method)
        if route is None:
            rule = "must be a method's full name"
            raise invalid_field("METHOD_UNKNOWN", f"methods[{index}]", method, rule)
        county = "county_code" in route.descriptor.input_type.fields_by_name
        if route.command or route.streams or route.noun == OWN or not county:
            raise Refused(
                "METHOD_NOT_COVERABLE",
                f"{method} changes something, streams, names no county or is the gateway's own",
                message_zh="该方法不可应急授权",
            )


async def refresh(db: Database, glasses: Glasses) -> None:
    """Bring what is in memory to the state of the database."""
    async with db.transaction() as session:
        rows = await database.fetch(
            session,
            """SELECT break_glass_id, institution_id, methods, county_code, opened_by,
                      confirmed_by, expires_at FROM break_glass
               WHERE closed_at IS NULL AND expires_at > now()
               ORDER BY expires_at DESC LIMIT $1""",
            RUNNING_MAX,
        )
    glasses.replace(
        [
            Glass(
                break_glass_id=str(row["break_glass_id"]),
                institution_id=row["institution_id"],
                methods=frozenset(row["methods"]),
                county_code=row["county_code"],
                persons=frozenset((row["opened_by"], row["confirmed_by"])),
                expires_at=row["expires_at"],
            )
            for row in rows
        ]
    )


async def keep_fresh(db: Database, glasses: Glasses) -> None:
    """Refresh until cancelled; while the database is away all of them end."""
    while True:
        await asyncio.sleep(REFRESH_SECONDS)
        try:
            await refresh(db, glasses)
        except Exception as error:
            if not is_away(error):
                raise
            log.warning("break_glasses_wait", error=type(error).__name__)


async def open_glass(
    session: AsyncSession,
    *,
    institution_id: str,
    person_id: str,
    reason: str,
    methods: Collection[str],
    county_code: str,
    minutes: int,
) -> Record:
    """Write one that waits for its second person."""
    require_coverable(methods)
    rows = await database.fetch(
        session,
        f"""INSERT INTO break_glass (break_glass_id, institution_id, reason, methods, county_code,
                                     minutes, opened_by)
            VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING {COLUMNS}""",  # noqa: S608
        ids.new_id(),
        institution_id,
        reason,
        sorted(methods),
        county_code,
        minutes,
        person_id,
    )
    return rows[0]


async def confirm(
    session: AsyncSession, break_glass_id: UUID, *, institution_id: str, person_id: str
) -> Record:
    """The second person's word: it runs from now on. What nobody confirmed for a day is over."""
    known = await _own(session, break_glass_id, institution_id)
    if known["opened_by"] == person_id:
        raise Refused(
            "SECOND_PERSON_NEEDED",
            "who opened the break-glass may not confirm it",
            message_zh="须由第二人确认",
        )
    rows = await database.fetch(
        session,
        f"""UPDATE break_glass SET confirmed_by = $2, confirmed_at = now(),
                   expires_at = now() + make_interval(mins => minutes)
            WHERE break_glass_id = $1 AND confirmed_at IS NULL AND closed_at IS NULL
              AND opened_at > now() - interval '1 day'
            RETURNING {COLUMNS}""",  # noqa: S608
        break_glass_id,
        person_id,
    )
    return _began(rows)


async def close(
    session: AsyncSession, break_glass_id: UUID, *, institution_id: str, person_id: str
) -> Record:
    """End it, or take it back before it began."""
    await _own(session, break_glass_id, institution_id)
    rows = await database.fetch(
        session,
        f"""UPDATE break_glass SET closed_by = $2, closed_at = now()
            WHERE break_glass_id = $1 AND closed_at IS NULL
            RETURNING {COLUMNS}""",  # noqa: S608
        break_glass_id,
        person_id,
    )
    return _began(rows)


def _began(rows: list[Record]) -> Record:
    if not rows:
        raise Refused(
            "BREAK_GLASS_OVER",
            "the break-glass was confirmed or ended before, or waited for longer than a day",
            message_zh="应急授权已确认、已结束或已过期",
        )
    return rows[0]


async def _own(session: AsyncSession, break_glass_id: UUID, institution_id: str) -> Record:
    rows = await database.fetch(
        session,
        """SELECT opened_by FROM break_glass
           WHERE break_glass_id = $1 AND institution_id = $2 FOR UPDATE""",
        break_glass_id,
        institution_id,
    )
    if not rows:
        raise NotFound(
            "BREAK_GLASS_UNKNOWN",
            f"no break-glass {break_glass_id} of yours",
            message_zh="应急授权不存在",
        )
    return rows[0]


async def read_all(
    session: AsyncSession, *, institution_id: str, before: UUID | None, rows_max: int
) -> list[Record]:
    """The latest first; of one institution, or of all."""
    return await database.fetch(
        session,
        f"""SELECT {COLUMNS} FROM break_glass
            WHERE ($1 = '' OR institution_id = $1)
              AND ($2::uuid IS NULL OR break_glass_id < $2)
            ORDER BY break_glass_id DESC LIMIT $3""",  # noqa: S608
        institution_id,
        before,
        rows_max,
    )
