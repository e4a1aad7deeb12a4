"""The outbox and its relay: every committed event gets into the stream, in order, come what may."""

import asyncio
import json
import shutil
from itertools import groupby
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from nats.errors import TimeoutError as NatsTimeoutError
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import format_trace_id, get_tracer

from deploy.local.postgres import Postgres
from services.kernel import outbox
from services.kernel.outbox import STREAM, Relay
from services.kernel.walls import EVERY_COUNTY
from tests.conftest import Connect
from tests.eventually import at_least, eventually
from tests.kernel.conftest import Mortal, Start
from tests.kernel.farm.handling import COUNTY, FIELD, SOWN, sown
from tests.kernel.farm.stream import (
    eventually_published,
    every_event_stands,
    noted,
    say,
    stored,
)
from tests.servers import NatsServer, Schema

pytestmark = [pytest.mark.postgres, pytest.mark.nats]


def a_relay(fields: Schema, *, batch_size_max: int = 50) -> Relay:
    return Relay(fields.db, "fields", batch_size_max=batch_size_max)


# --- what is written ----------------------------------------------------------------------------


async def test_an_event_is_written_with_the_change_and_the_trace_that_caused_it(
    fields: Schema, spans: InMemorySpanExporter
) -> None:
    with get_tracer("test").start_as_current_span("the call") as asking:
        await say(fields, sown("a", 1, "wheat"), sown("a", 2, "rice"))
    await say(fields)

    rows = await fields.ask("SELECT * FROM outbox ORDER BY position")
    trace = format_trace_id(asking.get_span_context().trace_id)
    assert spans.get_finished_spans()
    assert [(row["aggregate_id"], row["sequence"]) for row in rows] == [("a", 1), ("a", 2)]
    assert [StringValue.FromString(row["payload"]).value for row in rows] == ["wheat", "rice"]
    for row in rows:
        assert row["traceparent"].split("-")[1] == trace
        assert (row["event_type"], row["aggregate_type"]) == (SOWN, FIELD)
        assert (row["stream_sequence"], row["publish_count"]) == (None, 0)


async def test_few_events_and_many_are_written_in_the_order_given(fields: Schema) -> None:
    """As arrays, or copied; and copied again within the same transaction."""
    counts = (3, 499, 500, 700)
    async with fields.db.transaction(EVERY_COUNTY) as session:
        for place, count in enumerate(counts):
            await outbox.record(session, [sown(f"{place}", n + 1) for n in range(count)])

    rows = await fields.ask("SELECT aggregate_id, sequence FROM outbox ORDER BY position")
    wanted = [(f"{place}", n + 1) for place, count in enumerate(counts) for n in range(count)]
    assert [tuple(row) for row in rows] == wanted


async def test_a_place_in_a_history_is_taken_once(fields: Schema) -> None:
    await say(fields, sown("a", 1))

    with pytest.raises(asyncpg.UniqueViolationError):
        await say(fields, sown("a", 1))


async def test_an_event_that_no_stream_would_take_is_not_written(fields: Schema) -> None:
    with pytest.raises(AssertionError):
        await say(fields, sown("a", 1, "x" * outbox.EVENT_BYTES_MAX))

    assert await fields.one("SELECT count(*) FROM outbox") == 0
    await say(fields, sown("a", 1, "x" * (outbox.EVENT_BYTES_MAX - 100)))


async def test_the_log_of_events_cannot_be_shortened_by_the_service(fields: Schema) -> None:
    await say(fields, sown("a", 1))

    for verb in ("DELETE FROM outbox", "TRUNCATE outbox"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await fields.ask_as_app(verb)


# --- how it is published ------------------------------------------------------------------------


async def test_events_get_into_the_stream_in_order_and_their_places_are_kept(
    fields: Schema, stream: NatsServer, connect: Connect, start: Start
) -> None:
    for first in (1, 21, 31):
        await say(fields, *(sown(f"field-{n % 7}", first + n // 7) for n in range(40)))

    start(a_relay(fields).run(await connect("fields")))
    await eventually_published(fields)

    told = await stored(stream)
    assert len(told) == 120
    by_field = sorted(told, key=lambda message: message.envelope.aggregate_id)
    for _, history in groupby(by_field, key=lambda message: message.envelope.aggregate_id):
        sequences = [message.envelope.sequence for message in history]
        assert sequences == sorted(sequences)
    assert await every_event_stands(fields, stream)
    assert {message.subject for message in told} == {f"{SOWN}.{COUNTY}"}
    assert {message.message_id for message in told} == {str(m.envelope.event_id) for m in told}
    batches = [len(list(batch)) for _, batch in groupby(told, key=lambda m: m.batch_id)]
    assert batches == [50, 50, 20], "one atomic batch and so one sync for 50 events"


async def test_a_lone_event_goes_without_a_batch_and_at_once(
    fields: Schema, stream: NatsServer, connect: Connect, start: Start
) -> None:
    start(a_relay(fields).run(await connect("fields")))
    await say(fields, sown("a", 1, "wheat"))

    await eventually_published(fields)

    (told,) = await stored(stream)
    assert (told.place, told.batch_id) == (("a", 1), "")
    assert StringValue.FromString(told.payload).value == "wheat"


async def test_a_batch_that_is_refused_goes_one_by_one(
    fields: Schema, stream: NatsServer, connect: Connect, start: Start
) -> None:
    """As after an answer that was lost: some of the ids are in the stream already."""
    client = await connect("fields")
    await say(fields, *(sown("a", n) for n in range(1, 11)))
    rows = await outbox_rows(fields)
    early = [asyncio.create_task(a_relay(fields, batch_size_max=3).run(client))]
    await eventually(lambda: fields.one("SELECT count(stream_sequence) FROM outbox"))
    early[0].cancel()
    await asyncio.gather(*early, return_exceptions=True)
    before = {
        message.envelope.event_id: message.stream_sequence for message in await stored(stream)
    }
    await fields.ask("UPDATE outbox SET stream_sequence = NULL")

    start(a_relay(fields).run(client))
    await eventually_published(fields)

    told = await stored(stream)
    assert [message.place for message in told] == [("a", n) for n in range(1, 11)]
    assert [message.envelope.event_id for message in told] == rows
    places = await noted(fields)
    assert {before_id: at for at, before_id in places.items()}.items() >= before.items()


class Unheard(Relay):
    """Of events by themselves every third is published, and its answer is lost."""

    def __init__(self, fields: Schema) -> None:
        super().__init__(fields.db, "fields", batch_size_max=50)
        self.asked = 0

    async def _publish_one(self, stream: Any, row: Any) -> int:
        sequence = await super()._publish_one(stream, row)
        self.asked += 1
        if self.asked % 3 == 0:
            raise NatsTimeoutError
        return sequence


async def test_answers_that_are_lost_now_and_then_hold_nothing_up(
    fields: Schema, stream: NatsServer, connect: Connect, start: Start
) -> None:
    """Of a batch whose own answer was lost each event is asked for again, until all are noted."""
    await say(fields, *(sown("a", n) for n in range(1, 11)))
    first = asyncio.create_task(a_relay(fields).run(await connect("fields")))
    await eventually_published(fields)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    before = await noted(fields)
    await fields.ask("UPDATE outbox SET stream_sequence = NULL")

    relay = Unheard(fields)
    start(relay.run(await connect("fields")))
    await eventually_published(fields)

    assert await noted(fields) == before
    assert len(await stored(stream)) == 10
    # Two of three were noted each time: nobody was asked for more than twice.
    assert relay.asked <= 20


async def outbox_rows(fields: Schema) -> list[UUID]:
    rows = await fields.ask("SELECT event_id FROM outbox ORDER BY position")
    return [UUID(int=row["event_id"].int) for row in rows]


@pytest.mark.parametrize("ask", ["range", "control"])
async def test_events_asked_for_again_get_past_the_duplicate_window(
    fields: Schema, stream: NatsServer, connect: Connect, start: Start, ask: str
) -> None:
    await say(fields, *(sown("a", n) for n in range(1, 5)), sown("b", 1))
    start(a_relay(fields).run(await connect("fields")))
    await eventually_published(fields)

    if ask == "range":
        first = await fields.one("SELECT min(position) FROM outbox")
        async with fields.db.transaction(EVERY_COUNTY) as session:
            assert await outbox.republish_range(session, first + 1, first + 3) == 3
    else:
        wanted = {"aggregate_type": FIELD, "aggregate_id": "a", "from_sequence": 2}
        asking = await connect("barns")
        await asking.publish("liandong.control.fields.republish", json.dumps(wanted).encode())

    async def count() -> int:
        return len(await stored(stream))

    await eventually(count, lambda found: found == 8)
    told = await stored(stream)
    assert [message.place for message in told[5:]] == [("a", 2), ("a", 3), ("a", 4)]
    assert [m.message_id for m in told[5:]] == [f"{m.envelope.event_id}:1" for m in told[5:]]
    assert await every_event_stands(fields, stream)


async def test_what_asks_for_nothing_we_said_is_harmless(
    fields: Schema, stream: NatsServer, connect: Connect, start: Start
) -> None:
    start(a_relay(fields).run(await connect("fields")))
    await say(fields, sown("a", 1))
    await eventually_published(fields)
    asking = await connect("barns")

    for wrong in (b"", b"{}", b"[]", b"\xff", b'{"aggregate_type": 1, "aggregate_id": 2}'):
        await asking.publish("liandong.control.fields.republish", wrong)
    await asking.flush()
    await say(fields, sown("a", 2))
    await eventually_published(fields)

    assert [message.place for message in await stored(stream)] == [("a", 1), ("a", 2)]


async def test_one_of_two_relays_works_and_the_other_takes_over(
    fields: Schema, stream: NatsServer, connect: Connect, start: Start
) -> None:
    second_way_in = await fields.another_database()
    clients = [await connect("fields"), await connect("fields")]
    first = start(a_relay(fields).run(clients[0]))
    await say(fields, sown("a", 1))
    await eventually_published(fields)
    start(Relay(second_way_in, "fields", batch_size_max=50).run(clients[1]))

    for n in range(2, 12):
        await say(fields, sown("a", n))
        await eventually_published(fields)
    assert clients[1].stats["out_msgs"] == 0, "the second one stands by"

    first.cancel()
    await say(fields, sown("a", 12))
    await eventually_published(fields)
    assert clients[1].stats["out_msgs"] > 0
    assert [message.place for message in await stored(stream)] == [("a", n) for n in range(1, 13)]
    await second_way_in.close()


async def test_a_relay_goes_on_after_the_database_was_away(
    mortal_postgres: Postgres,
    mortal_fields: Schema,
    stream: NatsServer,
    connect: Connect,
    start: Start,
) -> None:
    fields = mortal_fields
    start(a_relay(fields).run(await connect("fields")))
    await say(fields, sown("a", 1))
    await eventually_published(fields)

    await mortal_postgres.kill()
    await mortal_postgres.start()
    # Written by another process: nothing in this one touches the relay's connections.
    other = await fields.another_database()
    async with other.transaction(EVERY_COUNTY) as session:
        await outbox.record(session, [sown("a", 2)])
    await other.close()

    await eventually_published(fields)
    assert [message.place for message in await stored(stream)] == [("a", 1), ("a", 2)]


# --- a stream that loses what it held -------------------------------------------------------------


async def test_a_server_killed_while_events_are_published_loses_none(
    fields: Schema, mortal_nats: Mortal, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "PUBLISH_TIMEOUT_SECONDS", 0.7)
    await say(fields, *(sown(f"field-{n % 20}", 1 + n // 20) for n in range(1000)))
    start(a_relay(fields, batch_size_max=20).run(await mortal_nats.connect("fields")))

    async def published() -> int:
        return int(await fields.one("SELECT count(stream_sequence) FROM outbox"))

    for share in (100, 400, 700):
        await eventually(published, at_least(share))
        await mortal_nats.wheel.kill()
        await mortal_nats.wheel.start()
    await eventually_published(fields, seconds_max=60)

    assert await every_event_stands(fields, mortal_nats.server)
    first_told: dict[str, list[int]] = {}
    for message in await stored(mortal_nats.server):
        name, sequence = message.place
        told = first_told.setdefault(name, [])
        if sequence not in told:
            told.append(sequence)
    assert all(told == list(range(1, 51)) for told in first_told.values()), "in order, too"


@pytest.mark.parametrize("event_id", ["", "not an id"])
@pytest.mark.usefixtures("stream")
async def test_a_message_that_is_no_event_does_not_stop_the_relay(
    event_id: str, fields: Schema, connect: Connect, start: Start
) -> None:
    client = await connect("fields")
    headers = {"ce-id": event_id} if event_id else None
    await client.jetstream().publish(f"{SOWN}.{COUNTY}", b"nothing", headers=headers)

    start(a_relay(fields).run(client))
    await say(fields, sown("a", 1))

    await eventually_published(fields)


async def test_a_purged_stream_is_filled_again(
    fields: Schema,
    stream: NatsServer,
    connect: Connect,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "CHECK_SECONDS", 0.2)
    await say(fields, *(sown("a", n) for n in range(1, 31)))
    start(a_relay(fields).run(await connect("fields")))
    await eventually_published(fields)

    async with stream.operator() as client:
        await client.jetstream().purge_stream(STREAM)

    await eventually(lambda: every_event_stands(fields, stream))
    assert [message.place for message in await stored(stream)] == [("a", n) for n in range(1, 31)]


async def test_a_wiped_server_is_filled_again(
    fields: Schema, mortal_nats: Mortal, start: Start
) -> None:
    """F6: the disk is gone; what the outbox holds is said again to the new one."""
    await say(fields, *(sown("a", n) for n in range(1, 31)))
    start(a_relay(fields).run(await mortal_nats.connect("fields")))
    await eventually_published(fields)

    await mortal_nats.wheel.kill()
    shutil.rmtree(mortal_nats.wheel.store)
    await mortal_nats.wheel.start()
    await mortal_nats.server.ensure_streams()
    await say(fields, sown("a", 31))

    await eventually(lambda: every_event_stands(fields, mortal_nats.server), seconds_max=30)
    told = await stored(mortal_nats.server)
    assert {message.place for message in told} == {("a", n) for n in range(1, 32)}


@pytest.mark.parametrize("others", [0, 30], ids=["alone", "among the events of others"])
async def test_a_stream_that_lost_its_end_gets_it_again(
    fields: Schema, mortal_nats: Mortal, start: Start, others: int
) -> None:
    """
    As after a power cut: the server comes back as it was some time ago, and goes on from there.

    New events of ours and of others fill the places of the lost ones before anyone looks.
    """
    relay = a_relay(fields)
    start(relay.run(await mortal_nats.connect("fields")))
    await say(fields, *(sown("a", n) for n in range(1, 11)))
    await eventually_published(fields)
    kept = mortal_nats.wheel.store.with_name("kept")
    await mortal_nats.wheel.stop()
    shutil.copytree(mortal_nats.wheel.store, kept)
    await mortal_nats.wheel.start()
    await say(fields, *(sown("a", n) for n in range(11, 31)))
    await eventually_published(fields)

    await mortal_nats.wheel.kill()
    shutil.rmtree(mortal_nats.wheel.store)
    kept.rename(mortal_nats.wheel.store)
    mortal_nats.give_to_server(mortal_nats.wheel.store)
    await mortal_nats.wheel.start()
    await mortal_nats.fill("credit", others)
    await say(fields, sown("b", 1), sown("b", 2), sown("b", 3))

    await eventually(lambda: every_event_stands(fields, mortal_nats.server), seconds_max=30)
    told = {message.place for message in await stored(mortal_nats.server)}
    assert told >= {("a", n) for n in range(1, 31)} | {("b", n) for n in range(1, 4)}


async def test_the_positive_control_a_relay_that_does_not_look_leaves_a_purged_stream_empty(
    fields: Schema, stream: NatsServer, connect: Connect, start: Start
) -> None:
    """What the tests above see is the relay's comparing, and nothing else."""
    await say(fields, *(sown("a", n) for n in range(1, 11)))

    class Blind(Relay):
        async def _compare_with_stream(self, *_: object) -> None:
            """Trust what was noted."""

    start(Blind(fields.db, "fields", batch_size_max=50).run(await connect("fields")))
    await eventually_published(fields)
    async with stream.operator() as client:
        await client.jetstream().purge_stream(STREAM)

    assert not await every_event_stands(fields, stream)
    assert await stored(stream) == []
