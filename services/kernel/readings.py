"""
Readings: how things stand in a service's tables, read at a steady pace, kept for whoever scrapes.

A scrape never waits for a database. A reading is one short transaction a noun and interval with a
time-out, by the service's own role, over rows that an index bounds; it is of every county and names
none of its people. Replicas read the same tables: ask for the largest of what they say, not for the
sum.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from nats.aio.client import Client
from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database, pauses, walls
from services.kernel.away import is_away
from services.kernel.database import Database
from services.kernel.outbox import STREAM

SECONDS: Final = 15.0
"""As often as Prometheus asks."""
STATEMENT_SECONDS: Final = 2
ROWS_MAX: Final = 1_000
"""Of one reading: what is more is left out, the last by name."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reading:
    """One gauge's value."""

    name: str
    value: float
    labels: Mapping[str, str]


Read = Callable[[AsyncSession], Awaitable[Iterable[Reading]]]
"""What a service reads of its own tables."""


class _Kept(Collector):
    """The last readings of each noun of this process."""

    def __init__(self) -> None:
        self.of: dict[str, tuple[float, Sequence[Reading]]] = {}

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """What Prometheus is told; in a thread of its own."""
        families: dict[str, GaugeMetricFamily] = {}
        now = time.monotonic()
        for noun, (read_at, readings) in list(self.of.items()):
            age = Reading("liandong_readings_age_seconds", now - read_at, {})
            for each in (age, *readings):
                labels = {"noun": noun, **each.labels}
                if each.name not in families:
                    families[each.name] = GaugeMetricFamily(
                        each.name, "As last read.", labels=list(labels)
                    )
                families[each.name].add_metric(list(labels.values()), each.value)
        return list(families.values())


_kept = _Kept()
REGISTRY.register(_kept)


async def of_kernel(session: AsyncSession) -> list[Reading]:
    """What every service has: what it has yet to say, what waits for a person, what stands."""
    rows = await database.fetch(
        session,
        """SELECT (SELECT count(*) FROM (SELECT FROM outbox WHERE stream_sequence IS NULL
                                         LIMIT 100000) AS w) AS waiting,
                  (SELECT extract(epoch FROM now() - recorded_at) FROM outbox
                   WHERE stream_sequence IS NULL ORDER BY position LIMIT 1) AS oldest,
                  (SELECT count(*) FROM parked_event WHERE state = 'parked') AS parked,
                  (SELECT extract(epoch FROM now() - min(parked_at)) FROM parked_event
                   WHERE state = 'parked') AS parked_oldest""",
    )
    paused = await database.fetch(
        session,
        f"""SELECT kind, count(pause_id) AS things
            FROM unnest($1::text[]) AS kind
            LEFT JOIN (SELECT kind, pause_id FROM pause WHERE {pauses.IN_FORCE}) AS p USING (kind)
            GROUP BY kind ORDER BY kind""",  # noqa: S608 - a text of ours
        pauses.KINDS,
    )
    row = rows[0]
    return [
        Reading("liandong_outbox_waiting_events", row["waiting"], {}),
        Reading("liandong_outbox_oldest_age_seconds", max(0.0, float(row["oldest"] or 0)), {}),
        Reading("liandong_parked_events", row["parked"], {}),
        Reading(
            "liandong_parked_oldest_age_seconds", max(0.0, float(row["parked_oldest"] or 0)), {}
        ),
        *(Reading("liandong_pauses", each["things"], {"kind": each["kind"]}) for each in paused),
    ]


async def _of_consumer(client: Client, noun: str) -> list[Reading]:
    """How far the service's durable is behind the stream."""
    info = await client.jetstream(timeout=STATEMENT_SECONDS).consumer_info(STREAM, noun)
    return [
        Reading("liandong_consumer_lag_events", info.num_pending or 0, {}),
        Reading("liandong_consumer_unacknowledged_events", info.num_ack_pending or 0, {}),
    ]


async def read(db: Database, reads: Sequence[Read]) -> list[Reading]:
    """Everything of a service's tables, at one moment."""
    found: list[Reading] = []
    async with db.transaction(walls.EVERY_COUNTY, snapshot=True) as session:
        await database.execute(session, f"SET LOCAL statement_timeout = '{STATEMENT_SECONDS}s'")
        for each in (of_kernel, *reads):
            found.extend(list(await each(session))[:ROWS_MAX])
    return found


async def keep(
    db: Database,
    noun: str,
    *,
    reads: Sequence[Read] = (),
    client: Client | None = None,
    seconds: float = SECONDS,
) -> None:
    """Read until cancelled; what could not be read grows old, and that is told."""
    while True:
        try:
            found = await read(db, reads)
            if client is not None:
                found += await _of_consumer(client, noun)
            _kept.of[noun] = (time.monotonic(), found)
        except Exception as error:
            # A statement that took too long was cancelled, and counts as away.
            if not is_away(error):
                raise
            log.warning("readings_wait", noun=noun, error=type(error).__name__)
        await asyncio.sleep(seconds)
