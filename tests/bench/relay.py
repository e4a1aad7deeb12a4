"""The relay's pace: a backlog of our outbox beside the same bytes published raw."""

import asyncio
import time
import uuid
from contextlib import suppress

import asyncpg

from services.kernel.outbox import STREAM, Relay
from tests.bench.chain import BATCH, PAYLOAD, publish_batch
from tests.bench.figures import Figure
from tests.bench.rig import Rig
from tests.eventually import eventually
from tests.servers import Schema, Schemas

FARM = "tests.kernel.farm"
SECONDS_MAX = 300.0

_BACKLOG = """
INSERT INTO outbox (event_id, event_type, aggregate_type, aggregate_id, sequence, county_code,
                    business_date, programme, payload, traceparent)
SELECT gen_random_uuid(), 'liandong.fields.v1.sown', 'fields.field', gen_random_uuid()::text, 1,
       '000000', '2018-03-05', 'a-programme@1', $2,
       '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00'
FROM generate_series(1, $1::int)
"""


async def measure(rig: Rig, *, events: int, rounds: int) -> tuple[list[Figure], int]:
    """Events a second of the relay and raw, and how many the stream has too few or too many."""
    schemas = Schemas(rig.postgres)
    wrong = 0
    pairs = []
    try:
        for _ in range(rounds):
            fields = await schemas.fresh("fields", package=FARM)
            ours, off = await _relayed(rig, fields, events)
            pairs.append((ours, await _raw(rig, events)))
            wrong += off
            await schemas.empty()
    finally:
        await schemas.close()
    figure = Figure(
        name="relay, events",
        unit="/s",
        limit_name=f"atomic batches of {BATCH} published raw, {len(PAYLOAD)} bytes each",
        pairs=tuple(pairs),
        goal=0.45,
        stretch=0.7,
        note=f"a backlog of {events} rows, read, published, and marked with its place",
    )
    return [figure], wrong


async def _stored(rig: Rig) -> int:
    """How many messages the stream holds, and then none of the limits' own."""
    operator = await rig.connect("operator")
    try:
        stream = operator.jetstream()
        held = (await stream.stream_info(STREAM)).state.messages
        await stream.purge_stream(STREAM, subject="liandong.fields.>")
    finally:
        await operator.close()
    return held


async def _relayed(rig: Rig, fields: Schema, events: int) -> tuple[float, int]:
    await _stored(rig)
    before = await _stored(rig)
    await fields.ask(_BACKLOG, events, PAYLOAD)
    await fields.ask("VACUUM ANALYZE outbox")
    client = await rig.connect("fields")
    began = time.perf_counter()
    relay = asyncio.create_task(Relay(fields.db, "fields", batch_size_max=BATCH).run(client))
    connection = await asyncpg.connect(rig.postgres.dsn_of(fields.name))

    async def left() -> bool:
        found: bool = await connection.fetchval(
            "SELECT EXISTS (SELECT FROM fields.outbox WHERE stream_sequence IS NULL)"
        )
        return found

    try:
        await eventually(left, False.__eq__, seconds_max=SECONDS_MAX)
        seconds = time.perf_counter() - began
    finally:
        relay.cancel()
        with suppress(asyncio.CancelledError):
            await relay
        await connection.close()
        await client.close()
    return events / seconds, abs(await _stored(rig) - before - events)


async def _raw(rig: Rig, events: int) -> float:
    client = await rig.connect("fields")
    messages = [(str(uuid.uuid4()), PAYLOAD) for _ in range(events)]
    try:
        began = time.perf_counter()
        for at in range(0, events, BATCH):
            await publish_batch(client, messages[at : at + BATCH])
        return events / (time.perf_counter() - began)
    finally:
        await client.close()
        await _stored(rig)
