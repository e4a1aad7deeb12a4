"""Readings: certificates that end soon and feeds that fall behind, as gauges."""

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database
from services.kernel.readings import Reading

ENDING_DAYS = 14
BEHIND_POSITIONS = 10_000
"""A reader that has so much of the feed before it, its own or not, is behind."""


async def read(session: AsyncSession) -> list[Reading]:
    """What operators watch."""
    rows = await database.fetch(
        session,
        """SELECT (SELECT count(*) FROM certificate
                   WHERE revoked_at IS NULL AND coalesce(valid_until, not_after) > now()
                     AND coalesce(valid_until, not_after) < now() + make_interval(days => $1))
                      AS ending,
                  (SELECT count(*) FROM feed_reader
                   WHERE position < (SELECT coalesce(max(position), 0) FROM feed_event) - $2)
                      AS behind""",
        ENDING_DAYS,
        BEHIND_POSITIONS,
    )
    return [
        Reading("liandong_certificates_ending", rows[0]["ending"], {}),
        Reading("liandong_feed_readers_behind", rows[0]["behind"], {}),
    ]
