"""Faults that seldom meet a run, and what each `except` makes of them (see `make excepts`)."""

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import structlog
from google.protobuf.wrappers_pb2 import StringValue
from sqlmodel.ext.asyncio.session import AsyncSession

from deploy.local.places import free_port
from services.kernel import bus, ids, operator
from services.kernel.bus import Consumer
from services.kernel.database import Database
from services.kernel.errors import Unavailable
from services.kernel.inbox import Handler, Incoming
from tests.conftest import Connect
from tests.eventually import eventually
from tests.kernel.conftest import Start
from tests.kernel.farm.handling import SOWN, Barn
from tests.kernel.farm.stream import an_event, put
from tests.servers import NatsServer, Schema


def nowhere() -> Database:
    """A database at an address where nobody answers."""
    return Database(f"postgresql://nobody:x@127.0.0.1:{free_port()}/none", "barns", pool_size=1)


@contextmanager
def monitor(port: int, *, syncs: bool) -> Iterator[None]:
    """What a NATS server says of its JetStream."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"config": {"sync_always": syncs}}).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Page)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


async def test_a_server_that_is_not_up_yet_is_asked_again() -> None:
    port = free_port()
    asking = asyncio.create_task(bus.require_synced_streams(f"http://127.0.0.1:{port}"))
    _, waits = await asyncio.wait({asking}, timeout=0.2)
    assert waits == {asking}
    with monitor(port, syncs=True):
        await asyncio.wait_for(asking, 20)


async def test_a_server_that_could_lose_events_ends_the_process() -> None:
    port = free_port()
    with monitor(port, syncs=False), pytest.raises(SystemExit, match="sync_interval"):
        await bus.require_synced_streams(f"http://127.0.0.1:{port}")


async def test_a_database_that_never_comes_is_waited_for_and_then_named() -> None:
    db = nowhere()
    try:
        with pytest.raises(Unavailable, match="barns"):
            await db.wait_until_ready(seconds_max=0.5)
    finally:
        await db.close()


async def test_housekeeping_waits_for_a_database_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(operator, "SEAL_SECONDS", 0.01)
    db = nowhere()
    with structlog.testing.capture_logs() as said:
        keeping = asyncio.create_task(operator.keep_house(db))

        async def waits() -> int:
            return sum(line["event"] == "housekeeping_waits" for line in said)

        await eventually(waits, lambda count: count >= 2)
        assert not keeping.done()
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    await db.close()


@pytest.mark.postgres
async def test_housekeeping_that_is_wrong_ends_the_process(
    barns: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours is not waited for: it would be waited for for ever."""
    monkeypatch.setattr(operator, "SEAL_SECONDS", 0.01)
    await barns.ask("ALTER TABLE idempotency RENAME TO elsewhere")

    with pytest.raises(Exception, match="idempotency"):
        await asyncio.wait_for(operator.keep_house(barns.db), 20)


@pytest.mark.postgres
@pytest.mark.nats
async def test_an_id_that_two_events_claim_stops_one_aggregate_and_nothing_else(
    barns: Schema,
    stream: NatsServer,
    connect: Connect,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It can be neither applied nor parked: it stays in the stream, and somebody is told."""
    monkeypatch.setattr(bus, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(bus, "NAK_SECONDS_MAX", 0.2)
    says, twice = await connect("fields"), ids.new_id()
    with structlog.testing.capture_logs() as said:
        start(
            Consumer(barns.db, "barns", Barn().handlers, batch_size_max=50).run(
                await connect("barns")
            )
        )
        await put(says, [an_event("first", 1, event_id=twice)])
        await put(says, [an_event("second", 1, event_id=twice)])

        async def told() -> bool:
            return any(line["event"] == "event_cannot_be_parked" for line in said)

        await eventually(told, seconds_max=40)
        await put(says, [an_event("third", 1)])

        async def others() -> list[str]:
            return [row["aggregate_id"] for row in await barns.ask("SELECT * FROM effect")]

        await eventually(others, lambda found: set(found) == {"first", "third"}, seconds_max=40)
    assert await barns.one("SELECT count(*) FROM parked_event") == 0


class Moody(Barn):
    """Fails once as a bug does, then once as a network does, then never."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[Exception] = [ConnectionResetError("cut"), ValueError("a bug")]

    @property
    def handlers(self) -> dict[str, Handler]:
        return {SOWN: Handler(StringValue, self.moody)}

    async def moody(self, session: AsyncSession, events: Sequence[Incoming[StringValue]]) -> None:
        if self.faults:
            raise self.faults.pop()
        await self.take(session, events)


@pytest.mark.postgres
@pytest.mark.nats
async def test_a_network_that_goes_while_events_are_tried_one_by_one_counts_against_none(
    barns: Schema,
    stream: NatsServer,
    connect: Connect,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bus, "RETRY_SECONDS", 0.02)
    says, moody = await connect("fields"), Moody()
    await put(says, [an_event("field", n) for n in (1, 2, 3)])

    start(
        Consumer(barns.db, "barns", moody.handlers, batch_size_max=50).run(await connect("barns"))
    )

    async def taken() -> int:
        return int(await barns.one("SELECT count(*) FROM effect"))

    await eventually(taken, lambda count: count == 3, seconds_max=40)
    assert not moody.faults
    assert await barns.one("SELECT count(*) FROM inbox_attempt") == 0
    assert await barns.one("SELECT count(*) FROM parked_event") == 0
