"""The consumer: each event takes effect once, in its aggregate's order, and nothing stops it."""

import asyncio
import random
import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import pytest
from nats.aio.client import Client
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from deploy.local.postgres import Postgres
from services.kernel import bus, ids, inbox, parked
from services.kernel.bus import Consumer
from services.kernel.errors import Refused
from services.kernel.inbox import Delivery
from services.kernel.outbox import STREAM, Relay
from services.kernel.walls import EVERY_COUNTY
from tests.conftest import Connect
from tests.eventually import at_least, eventually
from tests.kernel.conftest import Mortal, Start
from tests.kernel.farm.handling import REAPED, SOWN, UNHEARD, Barn, sown
from tests.kernel.farm.stream import an_event, eventually_published, put, say, stored
from tests.servers import NatsServer, Schema

pytestmark = [pytest.mark.postgres, pytest.mark.nats]


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(bus, "NAK_SECONDS_MAX", 0.5)
    monkeypatch.setattr(bus, "GAP_SECONDS_MAX", 0.5)


def a_consumer(barns: Schema, barn: Barn | None = None, *, batch_size_max: int = 50) -> Consumer:
    handlers = (barn or Barn()).handlers
    return Consumer(barns.db, "barns", handlers, batch_size_max=batch_size_max)


async def effects(barns: Schema) -> dict[str, list[int]]:
    """Sequences by aggregate, in the order in which they took effect."""
    found: dict[str, list[int]] = defaultdict(list)
    for row in await barns.ask("SELECT aggregate_id, sequence FROM effect ORDER BY place"):
        found[row["aggregate_id"]].append(row["sequence"])
    return dict(found)


async def eventually_effects(
    barns: Schema, wanted: dict[str, list[int]], *, seconds_max: float = 30
) -> None:
    await eventually(lambda: effects(barns), lambda found: found == wanted, seconds_max=seconds_max)


async def eventually_settled(nats: NatsServer, *, seconds_max: float = 30) -> None:
    """Wait until the durable of barns has no event that is not acknowledged."""
    async with nats.operator() as client:

        async def left() -> int:
            info = await client.jetstream().consumer_info(STREAM, "barns")
            return (info.num_pending or 0) + (info.num_ack_pending or 0)

        await eventually(left, lambda count: count == 0, seconds_max=seconds_max)


# --- of another release ---


async def test_an_event_of_a_later_version_is_parked_without_an_attempt_and_so_is_what_follows(
    barns: Schema, stream: NatsServer, connect: Connect, start: Start
) -> None:
    """Passing over it would lose what a newer release said; the next one of ours replays it."""
    later = "liandong.fields.v2.field_sown"
    says = await connect("fields")
    await put(says, [an_event("new", 1), an_event("new", 2), an_event("old", 1)])
    # Where the newer release's subjects are, it brings the durables to them.
    await put(says, [an_event("new", 3, kind=later)], subject=SOWN)
    await put(says, [an_event("new", 4), an_event("old", 2)])

    start(a_consumer(barns).run(await connect("barns")))
    await eventually_effects(barns, {"new": [1, 2], "old": [1, 2]})
    await eventually_settled(stream)

    rows = await barns.ask("SELECT * FROM parked_event ORDER BY sequence")
    found = [(row["aggregate_id"], row["sequence"], row["reason"], row["attempts"]) for row in rows]
    assert found == [
        ("new", 3, "EVENT_VERSION_UNKNOWN", 0),
        ("new", 4, "BEHIND_A_PARKED_EVENT", 0),
    ]
    async with barns.db.transaction(EVERY_COUNTY) as session:
        (first, _) = await parked.waiting(session)
        with pytest.raises(Refused, match="later release"):
            await parked.run_again(session, first, Barn().handlers)
    assert await barns.one("SELECT count(*) FROM parked_event WHERE state = 'parked'") == 2


# --- what comes after one another is taken together ---


class Held:
    """Stands where a consumer waits for more to come, until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stands = asyncio.Event()
        self.go = asyncio.Event()
        monkeypatch.setattr(bus, "_until", self._until)

    async def _until(self, _: float) -> None:
        self.stands.set()
        await self.go.wait()


async def test_what_comes_after_a_batch_gathers(
    barns: Schema,
    stream: NatsServer,
    connect: Connect,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = Held(monkeypatch)
    says = await connect("fields")
    start(a_consumer(barns).run(await connect("barns")))
    await put(says, [an_event("a", 1)])
    await asyncio.wait_for(held.stands.wait(), 30)
    assert await effects(barns) == {"a": [1]}, "the first waits for nobody"

    await put(says, [an_event("a", 2), an_event("b", 1)])
    async with stream.operator() as client:

        async def brought() -> int:
            info = await client.jetstream().consumer_info(STREAM, "barns")
            return info.num_ack_pending or 0

        await eventually(brought, lambda count: count == 2)
    assert await effects(barns) == {"a": [1]}

    held.go.set()
    await eventually_effects(barns, {"a": [1, 2], "b": [1]})


async def test_a_backlog_gathers_nothing(
    barns: Schema,
    stream: NatsServer,
    connect: Connect,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Held(monkeypatch)
    await put(await connect("fields"), [an_event("a", number) for number in range(1, 6)])
    start(a_consumer(barns, batch_size_max=1).run(await connect("barns")))
    await eventually_effects(barns, {"a": [1, 2, 3, 4, 5]})


# --- once, in order -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
async def test_shuffled_and_doubled_events_take_effect_once_and_in_order(
    barns: Schema, stream: NatsServer, connect: Connect, start: Start, seed: int
) -> None:
    """F2 and F3."""
    dice = random.Random(seed)
    kinds = (SOWN, REAPED, UNHEARD)
    told = [an_event(f"f{f}", n, kind=dice.choice(kinds)) for n in range(1, 21) for f in range(10)]
    windows = [told[at : at + 50] + dice.choices(told, k=15) for at in range(0, len(told), 50)]
    for window in windows:
        dice.shuffle(window)
    says = await connect("fields")

    start(a_consumer(barns).run(await connect("barns")))
    await put(says, (envelope for window in windows for envelope in window))
    await eventually_settled(stream)

    wanted = {
        f"f{f}": [e.sequence for e in told if e.aggregate_id == f"f{f}" and e.event_type != UNHEARD]
        for f in range(10)
    }
    assert await effects(barns) == wanted
    positions = await barns.ask("SELECT DISTINCT last_sequence FROM inbox_position")
    assert [row["last_sequence"] for row in positions] == [20], "also past what nobody handles"
    counted = await barns.ask("SELECT noun, events FROM inbox_count")
    assert [tuple(row) for row in counted] == [("fields", 200)]
    assert await barns.one("SELECT count(*) FROM parked_event") == 0
    assert await barns.one("SELECT count(*) FROM inbox_attempt") == 0


class Forgetful(Consumer):
    """The positive control: applies whatever comes, without an inbox."""

    async def _apply(self, deliveries: Sequence[Delivery]) -> inbox.Sorted:
        async with self._database.transaction(EVERY_COUNTY) as session:
            for run in inbox.runs(deliveries, self._handlers):
                await self._handle(session, run)
        return inbox.Sorted(list(deliveries), [], [], [])


async def test_the_positive_control_without_an_inbox_twice_is_twice(
    barns: Schema, stream: NatsServer, connect: Connect, start: Start
) -> None:
    event = an_event("a", 1)

    await put(await connect("fields"), [event, event, an_event("a", 3), an_event("a", 2)])
    start(
        Forgetful(barns.db, "barns", Barn().handlers, batch_size_max=50).run(await connect("barns"))
    )
    await eventually_settled(stream)

    assert await effects(barns) == {"a": [1, 1, 3, 2]}


class DiesBeforeAck(Consumer):
    """Ends as a killed process would: after its commit, before it could acknowledge."""

    async def _settle(self, client: Client, found: inbox.Sorted) -> None:
        raise asyncio.CancelledError


async def test_a_process_killed_between_commit_and_acknowledgement_repeats_nothing(
    barns: Schema, stream: NatsServer, connect: Connect, start: Start
) -> None:
    """F5."""
    await put(await connect("fields"), [an_event("a", n) for n in range(1, 6)])
    dying = DiesBeforeAck(barns.db, "barns", Barn().handlers, batch_size_max=50)
    await asyncio.gather(dying.run(await connect("barns")), return_exceptions=True)
    committed = (await effects(barns))["a"]
    assert committed == [1, 2, 3, 4, 5][: len(committed)], "some were committed"

    start(a_consumer(barns).run(await connect("barns")))
    await eventually_settled(stream)

    assert await effects(barns) == {"a": [1, 2, 3, 4, 5]}
    assert await barns.one("SELECT events FROM inbox_count") == 5


async def test_one_of_two_consumers_works_and_the_other_takes_over(
    barns: Schema, stream: NatsServer, connect: Connect, start: Start
) -> None:
    says = await connect("fields")
    clients = [await connect("barns"), await connect("barns")]
    second_way_in = await barns.another_database()
    first = start(a_consumer(barns).run(clients[0]))
    await put(says, [an_event("a", 1)])
    await eventually_effects(barns, {"a": [1]})
    start(Consumer(second_way_in, "barns", Barn().handlers, batch_size_max=50).run(clients[1]))

    await put(says, [an_event("a", n) for n in range(2, 12)])
    await eventually_settled(stream)
    assert clients[1].stats["out_msgs"] == 0, "the second one stands by"

    first.cancel()
    await put(says, [an_event("a", 12)])
    await eventually_effects(barns, {"a": list(range(1, 13))})
    assert clients[1].stats["out_msgs"] > 0
    await second_way_in.close()


# --- gaps ---------------------------------------------------------------------------------------


async def test_an_event_that_the_stream_lost_is_asked_for_and_comes(
    fields: Schema, barns: Schema, stream: NatsServer, connect: Connect, start: Start
) -> None:
    start(Relay(fields.db, "fields", batch_size_max=50).run(await connect("fields")))
    await say(fields, *(sown("a", n) for n in range(1, 6)), sown("b", 1))
    await eventually_published(fields)
    lost = next(message for message in await stored(stream) if message.place == ("a", 2))
    async with stream.operator() as client:
        await client.jetstream().delete_msg(STREAM, lost.stream_sequence)

    start(a_consumer(barns).run(await connect("barns")))
    await eventually_effects(barns, {"a": [1, 2, 3, 4, 5], "b": [1]})
    await eventually_settled(stream)

    assert await effects(barns) == {"a": [1, 2, 3, 4, 5], "b": [1]}


async def test_a_gap_holds_its_own_aggregate_up_and_no_other(
    barns: Schema, stream: NatsServer, connect: Connect, start: Start
) -> None:
    says = await connect("fields")
    early = [an_event("a", n) for n in (2, 3)]
    start(a_consumer(barns).run(await connect("barns")))

    await put(says, [*early, *(an_event("b", n) for n in range(1, 6))])
    await eventually_effects(barns, {"b": [1, 2, 3, 4, 5]})
    assert await barns.one("SELECT count(*) FROM inbox_attempt") == 0, "early is no failure"

    await put(says, [an_event("a", 1)])
    await eventually_effects(barns, {"a": [1, 2, 3], "b": [1, 2, 3, 4, 5]})


# --- what cannot be taken -----------------------------------------------------------------------


async def test_what_fails_five_times_is_parked_with_its_aggregate_and_others_go_on(
    barns: Schema, stream: NatsServer, connect: Connect, start: Start
) -> None:
    """F4: a bug, a refusal, wrong statements, a message that is none; each in its aggregate."""
    words = ("bug", "refused", "too large", "wrong statement", "too few arguments")
    barn = Barn(cannot_take=set(words))
    says = await connect("fields")
    for word in words:
        await put(says, [an_event(word, 1)])
        await put(says, [an_event(word, 2)], what=word)
        await put(says, [an_event(word, 3)])
    await put(says, [an_event("no message", 1)], payload=b"\xff\xff")
    await put(says, [an_event("good", n) for n in range(1, 21)])

    start(a_consumer(barns, barn, batch_size_max=100).run(await connect("barns")))
    await eventually_effects(barns, {word: [1] for word in words} | {"good": list(range(1, 21))})
    await eventually_settled(stream, seconds_max=40)
    for word in words:
        await put(says, [an_event(word, 4)])
    await put(says, [an_event("good", 21)])
    await eventually_settled(stream)

    rows = await barns.ask("SELECT * FROM parked_event ORDER BY aggregate_id, sequence")
    found = {
        (row["aggregate_id"], row["sequence"]): (row["reason"], row["attempts"]) for row in rows
    }
    behind = {(word, n): ("BEHIND_A_PARKED_EVENT", 0) for word in words for n in (3, 4)}
    reasons = {
        ("bug", 2): "ValueError",
        ("refused", 2): "BARN_IS_FULL",
        ("too large", 2): "DataError",
        ("wrong statement", 2): "UndefinedTableError",
        ("too few arguments", 2): "InterfaceError",
        ("no message", 1): "DecodeError",
    }
    assert found == behind | {place: (reason, 5) for place, reason in reasons.items()}
    assert "王芳" not in str(rows), "no word of the error, which may hold personal data"
    assert (await effects(barns))["good"] == list(range(1, 22))
    assert await barns.one("SELECT events FROM inbox_count") == 3 * 5 + 1 + 20 + 5 + 1


async def test_what_is_no_event_at_all_is_given_up_at_once(
    barns: Schema, stream: NatsServer, connect: Connect, start: Start
) -> None:
    says = await connect("fields")
    subject = f"{SOWN}.411224"
    start(a_consumer(barns).run(await connect("barns")))

    await says.jetstream().publish(subject, b"")
    await says.jetstream().publish(subject, b"", headers={"ce-id": "x", "Nats-Msg-Id": "x"})
    await put(says, [an_event("a", 1)])
    await eventually_settled(stream)

    assert await effects(barns) == {"a": [1]}
    assert await barns.one("SELECT count(*) FROM parked_event") == 0


async def test_two_events_that_claim_one_id_stop_nothing_but_the_second(
    barns: Schema, stream: NatsServer, connect: Connect, start: Start
) -> None:
    """No service of ours says that; a consumer that dies of it would never come up again."""
    says = await connect("fields")
    event_id = ids.new_id()
    start(a_consumer(barns).run(await connect("barns")))

    await put(says, [an_event("a", 1, event_id=event_id)])
    await eventually_effects(barns, {"a": [1]})
    await put(says, [an_event("b", 1, event_id=event_id), an_event("c", 1)])
    await eventually(
        lambda: barns.one("SELECT max(attempts) FROM inbox_attempt"),
        lambda most: most == 4,
        seconds_max=30,
    )
    await put(says, [an_event("c", 2)])

    await eventually_effects(barns, {"a": [1], "c": [1, 2]})
    assert await barns.one("SELECT count(*) FROM parked_event") == 0


# --- servers that are away ----------------------------------------------------------------------


async def test_a_database_that_is_away_is_no_attempt(
    mortal_postgres: Postgres,
    mortal_barns: Schema,
    stream: NatsServer,
    connect: Connect,
    start: Start,
) -> None:
    barns = mortal_barns
    says = await connect("fields")
    start(a_consumer(barns, batch_size_max=5).run(await connect("barns")))
    await put(says, [an_event("a", 1)])
    await eventually_effects(barns, {"a": [1]})

    for first in (2, 12):
        await mortal_postgres.kill()
        await put(says, [an_event("a", n) for n in range(first, first + 10)])
        await mortal_postgres.start()
    await eventually_effects(barns, {"a": list(range(1, 22))}, seconds_max=60)
    await eventually_settled(stream)

    assert await effects(barns) == {"a": list(range(1, 22))}
    assert await barns.one("SELECT count(*) FROM inbox_attempt") == 0
    assert await barns.one("SELECT count(*) FROM parked_event") == 0


async def test_a_stream_killed_while_events_are_taken_costs_no_effect_and_gives_none_twice(
    barns: Schema, mortal_nats: Mortal, start: Start
) -> None:
    says = await mortal_nats.connect("fields")
    await put(says, [an_event(f"f{n % 10}", 1 + n // 10) for n in range(300)])
    start(a_consumer(barns, batch_size_max=10).run(await mortal_nats.connect("barns")))

    async def taken() -> int:
        return int(await barns.one("SELECT count(*) FROM effect"))

    for share in (50, 150):
        await eventually(taken, at_least(share))
        await mortal_nats.wheel.kill()
        await mortal_nats.wheel.start()
    wanted = {f"f{f}": list(range(1, 31)) for f in range(10)}
    await eventually_effects(barns, wanted, seconds_max=60)
    await eventually_settled(mortal_nats.server)

    assert await effects(barns) == wanted


async def test_a_wiped_server_tells_everything_again_and_nothing_happens_twice(
    fields: Schema, barns: Schema, mortal_nats: Mortal, start: Start
) -> None:
    start(Relay(fields.db, "fields", batch_size_max=50).run(await mortal_nats.connect("fields")))
    start(a_consumer(barns).run(await mortal_nats.connect("barns")))
    await say(fields, *(sown("a", n) for n in range(1, 11)))
    await eventually_effects(barns, {"a": list(range(1, 11))})

    await mortal_nats.wheel.kill()
    shutil.rmtree(mortal_nats.wheel.store)
    await mortal_nats.wheel.start()
    await mortal_nats.server.ensure_streams()
    await say(fields, sown("a", 11))

    await eventually_effects(barns, {"a": list(range(1, 12))}, seconds_max=60)
    await eventually_settled(mortal_nats.server)
    assert await effects(barns) == {"a": list(range(1, 12))}
    assert len(await stored(mortal_nats.server)) == 11


# --- traces and batches -------------------------------------------------------------------------


async def test_what_a_sampled_event_causes_is_in_its_trace(
    barns: Schema,
    stream: NatsServer,
    connect: Connect,
    start: Start,
    spans: InMemorySpanExporter,
) -> None:
    traces = {f"f{n}": f"{n + 1:032x}" for n in range(3)}
    says = await connect("fields")
    for name, trace in traces.items():
        sampled = f"00-{trace}-{'b' * 16}-01"
        await put(says, [replace(an_event(name, 1), traceparent=sampled)])
    await put(says, [an_event(f"g{n}", 1) for n in range(10)])

    start(a_consumer(barns, Barn(answers=True)).run(await connect("barns")))
    await eventually_settled(stream)

    rows = await barns.ask("SELECT aggregate_id, traceparent FROM outbox")
    said = {row["aggregate_id"].split("/")[0]: row["traceparent"].split("-")[1] for row in rows}
    assert said.items() >= traces.items()
    assert len(said) == 13
    taking = [s for s in spans.get_finished_spans() if s.kind is SpanKind.CONSUMER]
    ids_of = {f"{span.context.trace_id:032x}" for span in taking if span.context}
    assert ids_of >= set(traces.values())
    batches = [span for span in taking if span.links and span.parent is None]
    assert batches, "they went together"
    linked = {f"{link.context.trace_id:032x}" for span in batches for link in span.links}
    assert linked == set(traces.values())
    own = {f"{span.context.trace_id:032x}": span for span in taking if span.context and span.parent}
    assert own.keys() == set(traces.values())
    for span in own.values():
        found = {link.context.span_id for link in span.links}
        assert found <= {batch.context.span_id for batch in batches if batch.context}
        assert (span.attributes or {})["liandong.county_code"]


async def test_events_of_one_cause_have_one_span_in_its_trace(
    barns: Schema,
    stream: NatsServer,
    connect: Connect,
    start: Start,
    spans: InMemorySpanExporter,
) -> None:
    sampled = f"00-{'c' * 32}-{'d' * 16}-01"
    told = [replace(an_event(f"f{n}", 1), traceparent=sampled) for n in range(12)]
    await put(await connect("fields"), told)

    start(a_consumer(barns, Barn(answers=True)).run(await connect("barns")))
    await eventually_settled(stream)

    def of_cause() -> list[ReadableSpan]:
        every = spans.get_finished_spans()
        return [span for span in every if span.parent and span.parent.span_id == int("d" * 16, 16)]

    counts = [(span.attributes or {})["messaging.batch.message_count"] for span in of_cause()]
    # The server may hand out what waits in a few pieces.
    assert sum(map(int, map(str, counts))) == 12
    assert len(counts) <= 5
    rows = await barns.ask("SELECT traceparent FROM outbox")
    known = {f"{span.context.span_id:016x}" for span in of_cause() if span.context}
    assert {row["traceparent"].split("-")[2] for row in rows} == known


async def test_a_batch_is_one_transaction(
    barns: Schema, stream: NatsServer, connect: Connect, start: Start
) -> None:
    await put(await connect("fields"), [an_event(f"f{n}", 1) for n in range(50)])

    start(a_consumer(barns).run(await connect("barns")))
    await eventually_settled(stream)

    # The server may hand out what waits in a few pieces.
    assert await barns.one("SELECT count(DISTINCT xmin::text) FROM effect") <= 5
