"""Feed publisher: the feeds of government systems, on NATS in an account apart."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

import asyncpg
import structlog
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import APIError, NotFoundError

from gateway import feed_channel, feed_store
from gateway.access_log import AccessLog, Entry
from gateway.feed_channel import WRITER
from gateway.feed_pages import Filters, Item, Pages
from gateway.feed_readers import cursor_of
from gateway.feed_servicer import NATS, SERVICE
from gateway.feed_stream import Tail
from gateway.identity import Directory, Institution
from gateway.pauses import Pauses
from services.kernel import bus, cloudevents, ids, process, telemetry
from services.kernel.away import is_away
from services.kernel.clock import recorded_time
from services.kernel.database import Database

PAGES_MAX = 10
"""Of one institution, before it is another's turn."""
LOOK_SECONDS = 1.0
TURN_SECONDS = 0.5
BACKOFF_SECONDS_MAX = 30.0
PUBLISH_SECONDS = 10.0
_POSITION = "position"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How the gateway comes into the feeds' account, and where it tells who is in it."""

    env: str
    url: str
    ca_path: Path
    cert_path: Path
    key_path: Path
    users_path: Path | None

    async def connect(self) -> Client:
        """A connection of that account."""
        return await bus.connect(
            self.url,
            name=WRITER,
            ca_path=self.ca_path,
            cert_path=self.cert_path,
            key_path=self.key_path,
        )


class Publisher:
    """Publishes what the kept feed tells each institution, one gateway at a time."""

    def __init__(
        self,
        db: Database,
        way: Way,
        *,
        directory: Directory,
        pages: Pages,
        tail: Tail,
        access_log: AccessLog,
        paused: Pauses,
    ) -> None:
        self._paused = paused
        self._db = db
        self._directory = directory
        self._pages = pages
        self._tail = tail
        self._log = access_log
        self._way = way
        self._made: dict[str, str] = {}
        """Institution to when its stream was made, once we know that it is there."""
        self._users = ""
        """What we wrote of who is in the feeds' account, in this turn."""

    async def run(self) -> None:
        """Publish until cancelled; a server that is away is tried again, ever more slowly."""
        backoff = 0.2
        while True:
            process.heed_cancel()
            try:
                async with self._db.connection() as connection:
                    await self._take_turn(connection)
                    self._users = ""
                    await self._tell_users()
                    client = await self._way.connect()
                    try:
                        backoff = 0.2
                        await self._publish(connection, client)
                    finally:
                        await client.close()
            except Exception as error:
                if not is_away(error):
                    raise
                log.warning("feed_publisher_waits", error=type(error).__name__)
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, BACKOFF_SECONDS_MAX)

    async def _take_turn(self, connection: asyncpg.Connection[Any]) -> None:
        """Wait for the lock; a replica stands by."""
        while not await connection.fetchval(  # noqa: ASYNC110 - another process holds the lock
            "SELECT pg_try_advisory_lock(hashtext('liandong-feeds'))"
        ):
            await asyncio.sleep(TURN_SECONDS)

    async def _publish(self, connection: asyncpg.Connection[Any], client: Client) -> None:
        stream = client.jetstream(timeout=PUBLISH_SECONDS)
        self._made.clear()
        reconnects = client.stats["reconnects"]
        while True:
            process.heed_cancel()
            # Losing this connection would mean losing the lock.
            await connection.execute("SELECT 1")
            if client.stats["reconnects"] != reconnects:
                reconnects = client.stats["reconnects"]
                self._made.clear()
            last = self._tail.last
            left = False
            for row in await self._tell_users():
                if self._paused.of(row["institution_id"]):
                    # Its position stays where it is; whoever reads keeps its account.
                    continue
                reader = self._directory.find(row["institution_id"])
                assert reader is not None
                try:
                    left |= await self._publish_some(stream, reader, row)
                except (APIError, TimeoutError) as error:
                    # Its stream is full, or was taken away: the others' feeds go on.
                    self._made.pop(reader.institution_id, None)
                    telemetry.count("liandong.feeds.held", institution=reader.institution_id)
                    log.info(
                        "feed_held",
                        institution=reader.institution_id,
                        error=type(error).__name__,
                    )
            if not left:
                await self._tail.beyond(last, seconds=LOOK_SECONDS)

    async def _tell_users(self) -> list[asyncpg.Record]:
        """The channels that are open to institutions that may call; who they are is written."""
        async with self._db.transaction() as session:
            found = await feed_store.channels(session)
        open_ones = [row for row in found if row["open"] and self._admitted(row["institution_id"])]
        if self._way.users_path is not None:
            named = [row["institution_id"] for row in open_ones]
            text = json.dumps(feed_channel.users(self._way.env, named), indent=1) + "\n"
            if text != self._users:
                await asyncio.to_thread(_write_if_new, self._way.users_path, text)
                self._users = text
        return open_ones

    def _admitted(self, institution_id: str) -> bool:
        found = self._directory.find(institution_id)
        return (
            found is not None
            and found.active
            and self._directory.in_force(found)
            and found.role in feed_channel.FEED_SYSTEMS
        )

    async def _publish_some(
        self, stream: JetStreamContext, reader: Institution, row: asyncpg.Record
    ) -> bool:
        """Publish some pages of one feed; whether there is more."""
        own = reader.institution_id
        position = await self._begin(stream, reader, row)
        for _ in range(PAGES_MAX):
            page = await self._pages.read(reader, Filters(), after=position)
            if page.items:
                await self._log.add_and_wait(self._entry(reader, page.resources))
            try:
                for item in page.items:
                    await self._publish_one(stream, own, item)
                    position = item.kept.position
                position = page.upto
            finally:
                # Also of a page that did not go whole.
                async with self._db.transaction() as session:
                    await feed_store.note_published(session, own, position, self._made[own])
            if page.upto >= page.last:
                await self._note_taken(stream, own, position)
                return False
        return True

    async def _begin(
        self, stream: JetStreamContext, reader: Institution, row: asyncpg.Record
    ) -> int:
        """Where to go on: in a stream that was lost, after what had been taken of it."""
        own, position = reader.institution_id, int(row["position"])
        if own not in self._made:
            self._made[own] = await _ensure(stream, own)
        async with self._db.transaction() as session:
            first, _ = await feed_store.first_kept(session)
            if row["stream_created"] != self._made[own]:
                known = await feed_store.readers(session, own)
                position = next((each["position"] for each in known if each["reader"] == NATS), 0)
        if 0 < position < first - 1:
            log.error("feed_gap", institution=own, position=position, first=first)
            telemetry.count("liandong.feeds.gaps", institution=own)
        return max(position, first - 1)

    async def _publish_one(self, stream: JetStreamContext, own: str, item: Item) -> None:
        envelope = item.kept.envelope
        headers = cloudevents.headers(envelope, source=envelope.noun)
        headers |= {
            "ce-datacontenttype": "application/json",
            "Nats-Msg-Id": str(envelope.event_id),
            "cursor": cursor_of(item.kept.position),
            _POSITION: str(item.kept.position),
        }
        if item.masked:
            headers["masked"] = ",".join(item.masked)
        await stream.publish(
            feed_channel.subject_of(own, envelope),
            item.data.encode(),
            timeout=PUBLISH_SECONDS,
            headers=headers,
        )

    async def _note_taken(self, stream: JetStreamContext, own: str, position: int) -> None:
        """Note how far the institution has acknowledged: what it took is not in the stream."""
        name = feed_channel.stream_of(own)
        state = (await stream.stream_info(name)).state
        if state.messages:
            oldest = await stream.get_msg(name, state.first_seq)
            position = int((oldest.headers or {})[_POSITION]) - 1
        async with self._db.transaction() as session:
            await feed_store.acknowledge(session, own, NATS, position)

    def _entry(self, reader: Institution, resources: Sequence[str]) -> Entry:
        """The row of the access log: it is told this, by its standing order."""
        return Entry(
            call_id=ids.new_id(),
            called_at=recorded_time(),
            peer=f"spiffe://liandong/{self._way.env}/inst/{reader.institution_id}",
            institution_id=reader.institution_id,
            person_id="",
            method=f"{SERVICE.removeprefix('/')}/Subscribe",
            service=NATS,
            county_code=reader.county_code,
            purpose="",
            decision="allowed",
            reason="",
            outcome="OK",
            body_hash="",
            trace_id="",
            resources=tuple(resources),
        )


async def _ensure(stream: JetStreamContext, own: str) -> str:
    """Make an institution's stream and durable where they are missing; when it was made."""
    name = feed_channel.stream_of(own)
    try:
        info = await stream.stream_info(name)
    except NotFoundError:
        info = await stream.add_stream(
            StreamConfig(
                name=name,
                subjects=[feed_channel.subjects_of(own)],
                # What the institution acknowledged goes; what it did not, is never forgotten.
                retention=RetentionPolicy.WORK_QUEUE,
                discard=DiscardPolicy.NEW,
                storage=StorageType.FILE,
                max_bytes=feed_channel.BYTES_MAX,
                duplicate_window=feed_channel.DUPLICATES_SECONDS,
            )
        )
    await stream.add_consumer(
        name,
        ConsumerConfig(
            durable_name=feed_channel.durable_of(own),
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=feed_channel.ACK_WAIT_SECONDS,
            max_deliver=-1,
        ),
    )
    assert info.created is not None
    return info.created.astimezone(UTC).isoformat()


def _write_if_new(path: Path, text: str) -> None:
    """Write a file whole or not at all, when it says something else."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    building = path.with_name(f".{path.name}.{os.getpid()}")
    building.write_text(text, encoding="utf-8")
    building.replace(path)
