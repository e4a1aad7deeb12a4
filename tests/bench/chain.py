"""The bare chain: commit, outbox, JetStream, batched consumer, commit; nothing else."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import asyncpg
from nats.aio.client import Client

from services.kernel import process
from services.kernel.outbox import STREAM
from services.kernel.pull import Puller
from tests.bench.rig import Rig
from tests.eventually import eventually

DATABASE = "bench_chain"
SUBJECT = "liandong.fields.v1.sown.000000"
BATCH = 500
PAYLOAD = bytes(range(200))
SECONDS_MAX = 300.0

_TABLES = """
CREATE TABLE change (event_id uuid PRIMARY KEY, amount_fen bigint NOT NULL);
CREATE TABLE outbox (position bigserial PRIMARY KEY, event_id uuid NOT NULL, payload bytea NOT NULL,
                     published boolean NOT NULL DEFAULT false) WITH (fillfactor = 80);
CREATE INDEX outbox_unpublished ON outbox (position) WHERE NOT published;
CREATE TABLE inbox (event_id uuid PRIMARY KEY);
CREATE TABLE effect (event_id uuid PRIMARY KEY, amount_fen bigint NOT NULL);
"""
_CHANGE = "INSERT INTO change SELECT id, 1 FROM unnest($1::uuid[]) AS id"
_SAY = "INSERT INTO outbox (event_id, payload) SELECT id, $2 FROM unnest($1::uuid[]) AS id"
_UNPUBLISHED = f"""
SELECT position, event_id, payload FROM outbox WHERE NOT published ORDER BY position LIMIT {BATCH}
"""
_MARK = "UPDATE outbox SET published = true WHERE position = ANY ($1::bigint[])"
_EFFECT = """
WITH new AS (INSERT INTO inbox SELECT * FROM unnest($1::uuid[]) ON CONFLICT DO NOTHING RETURNING *)
INSERT INTO effect SELECT event_id, 1 FROM new
"""
_HOPS = """
SELECT extract(epoch FROM pg_xact_commit_timestamp(effect.xmin)
                        - pg_xact_commit_timestamp(change.xmin))::float8 * 1000 AS ms
FROM change JOIN effect USING (event_id) WHERE event_id = ANY ($1::uuid[])
"""
_LAST = """
SELECT extract(epoch FROM max(pg_xact_commit_timestamp(xmin)))::float8 FROM effect
"""


async def publish_batch(client: Client, messages: Sequence[tuple[str, bytes]]) -> None:
    """Publish as one atomic batch: one sync for all."""
    batch_id = uuid.uuid4().hex
    for place, (message_id, payload) in enumerate(messages[:-1], 1):
        headers = {
            "Nats-Msg-Id": message_id,
            "Nats-Batch-Id": batch_id,
            "Nats-Batch-Sequence": str(place),
        }
        await client.publish(SUBJECT, payload, headers=headers)
    message_id, payload = messages[-1]
    headers = {
        "Nats-Msg-Id": message_id,
        "Nats-Batch-Id": batch_id,
        "Nats-Batch-Sequence": str(len(messages)),
        "Nats-Batch-Commit": "1",
    }
    answer = await client.request(SUBJECT, payload, timeout=10, headers=headers)
    assert json.loads(answer.data).get("count") == len(messages), answer.data


class Chain:
    """One producer, one relay, one consumer, each with a connection of its own."""

    def __init__(self, dsn: str, says: Client, hears: Client) -> None:
        self._dsn = dsn
        self._says = says
        self._hears = hears
        self._said = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._total = 0

    async def drained(self, count: int) -> float:
        """Commit a backlog in batches; effects per second until the last is committed."""
        async with self._running() as producer:
            began = time.time()
            for at in range(0, count, BATCH):
                await self._say(producer, [uuid.uuid4() for _ in range(min(BATCH, count - at))])
            await self._until_effects(producer)
            last: float = await producer.fetchval(_LAST)
            return count / (last - began)

    async def hops(self, rate: float, seconds: float) -> list[float]:
        """Commit one change at a time at a steady rate; milliseconds from commit to commit."""
        made: list[uuid.UUID] = []
        loop = asyncio.get_running_loop()
        async with self._running() as producer:
            begin = loop.time()
            for number in range(round(rate * seconds)):
                await wait_until(begin + number / rate)
                made.append(uuid.uuid4())
                await self._say(producer, made[-1:])
            await self._until_effects(producer)
            return [row["ms"] for row in await producer.fetch(_HOPS, made)]

    async def lost_or_doubled(self) -> int:
        """How many changes have not exactly one effect."""
        connection = await asyncpg.connect(self._dsn)
        try:
            changes: int = await connection.fetchval("SELECT count(*) FROM change")
            effects: int = await connection.fetchval("SELECT count(*) FROM effect")
        finally:
            await connection.close()
        return abs(changes - effects) + abs(changes - self._total)

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[asyncpg.Connection]:
        producer, relays, consumes = [await asyncpg.connect(self._dsn) for _ in range(3)]
        self._tasks = [
            asyncio.create_task(self._relay(relays)),
            asyncio.create_task(self._consume(consumes)),
        ]
        try:
            yield producer
        finally:
            for task in self._tasks:
                task.cancel()
            for task in self._tasks:
                with suppress(asyncio.CancelledError):
                    await task
            for connection in (producer, relays, consumes):
                await connection.close()

    async def _say(self, producer: asyncpg.Connection, event_ids: list[uuid.UUID]) -> None:
        async with producer.transaction():
            await producer.execute(_CHANGE, event_ids)
            await producer.execute(_SAY, event_ids, PAYLOAD)
        self._total += len(event_ids)
        self._said.set()

    async def _until_effects(self, producer: asyncpg.Connection) -> None:
        async def done() -> tuple[int, int]:
            for task in self._tasks:
                if task.done():
                    task.result()
            effects: int = await producer.fetchval("SELECT count(*) FROM effect")
            # One that is published and not marked yet would go out again in the next round.
            left: int = await producer.fetchval("SELECT count(*) FROM outbox WHERE NOT published")
            return effects, left

        await eventually(done, (self._total, 0).__eq__, seconds_max=SECONDS_MAX)

    async def _relay(self, connection: asyncpg.Connection) -> None:
        while True:
            process.heed_cancel()
            self._said.clear()
            rows = await connection.fetch(_UNPUBLISHED)
            if not rows:
                await self._said.wait()
                continue
            await publish_batch(
                self._says, [(str(row["event_id"]), row["payload"]) for row in rows]
            )
            await connection.execute(_MARK, [row["position"] for row in rows])

    async def _consume(self, connection: asyncpg.Connection) -> None:
        puller = await Puller.bind(self._hears, stream=STREAM, durable="barns", batch_max=BATCH)
        try:
            while True:
                process.heed_cancel()
                try:
                    messages = await puller.fetch(BATCH)
                except TimeoutError:
                    continue
                if not messages:
                    continue
                ids = [uuid.UUID((message.headers or {})["Nats-Msg-Id"]) for message in messages]
                await connection.execute(_EFFECT, ids)
                for message in messages:
                    await message.ack()
        finally:
            await puller.close()


async def wait_until(moment: float) -> None:
    left = moment - asyncio.get_running_loop().time()
    if left > 0:
        await asyncio.sleep(left)


@asynccontextmanager
async def bare_chain(rig: Rig) -> AsyncIterator[Chain]:
    """A bare chain on the rig's own servers."""
    await rig.postgres.run(f"CREATE DATABASE {DATABASE}")
    dsn = rig.postgres.dsn_of(DATABASE)
    connection = await asyncpg.connect(dsn)
    await connection.execute(_TABLES)
    await connection.close()
    says, hears = await rig.connect("fields"), await rig.connect("barns")
    try:
        yield Chain(dsn, says, hears)
    finally:
        await says.close()
        await hears.close()
