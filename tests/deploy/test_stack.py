"""The stack's watches and its start: what they do when a server is away, full or not ours."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace

import pytest
import pytest_asyncio
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import APIError, NotFoundError
from structlog.testing import capture_logs

from deploy.demo import run as demo
from deploy.local import stack as stacks
from deploy.local.nats import connect
from deploy.local.places import DataFolder, FolderInUseError, Places
from deploy.local.stack import Stack
from deploy.nats import topology
from deploy.nats.users import PROBE_SUBJECT
from services.kernel.outbox import STREAM
from tests.deploy.hindered import free_again
from tests.eventually import at_least, eventually

pytestmark = pytest.mark.nats

MIB = 1024 * 1024


@pytest.fixture
def stack(machine: Places, folder: DataFolder) -> Stack:
    """A stack of which a test starts what it needs."""
    streams = topology.load(events_bytes_max=MIB)
    return Stack(machine, folder, replace(demo.shape(processes=False), streams=streams))


@pytest_asyncio.fixture(loop_scope="session")
async def served(stack: Stack) -> AsyncIterator[Stack]:
    """With its NATS, which has no stream yet."""
    await stack.nats.start()
    yield stack
    await stack.nats.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def operator(served: Stack) -> AsyncIterator[Client]:
    client = await connect(served.nats.url, served.ca.service("operator"), "operator")
    yield client
    await client.close()


async def test_when_one_server_cannot_start_the_other_is_stopped(
    stack: Stack, folder: DataFolder
) -> None:
    other = folder.lock("postgres")
    other.take()

    with pytest.raises(FolderInUseError):
        await stack.start()

    assert (stack.nats.pid, stack.postgres.pid) == (None, None)
    free_again(folder, "nats")
    with pytest.raises(FolderInUseError):
        folder.lock("postgres").take()
    other.free()


async def test_a_server_without_a_stream_is_not_taken_for_stuck(
    served: Stack, operator: Client
) -> None:
    with pytest.raises(NotFoundError):
        await operator.jetstream().stream_info(STREAM)

    assert await served._takes_in(operator)


async def test_a_full_stream_is_not_taken_for_stuck(served: Stack, operator: Client) -> None:
    await served.nats.ensure_streams(served.ca.service("operator"))
    stored = 0
    # To the last place that a probe would have.
    for size in (64 * 1024, 1024, 0):
        with suppress(APIError):
            while True:
                await operator.jetstream().publish(PROBE_SUBJECT, b"x" * size)
                stored += 1

    with capture_logs() as logs:
        assert await served._takes_in(operator)

    assert [each["event"] for each in logs] == ["stream_refuses"]
    state = (await operator.jetstream().stream_info(STREAM)).state
    assert state.messages == stored, "what was stored is untouched"


async def test_a_stream_that_cannot_be_made_yet_is_made_as_soon_as_it_can(
    served: Stack, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacks, "STREAM_CHECK_SECONDS", 0.02)
    wanted = served.nats._streams
    served.nats._streams = topology.load(events_bytes_max=2**50)
    with capture_logs() as logs:
        watching = asyncio.create_task(served._keep_streams())

        async def waits() -> int:
            assert not watching.done()
            return [each["event"] for each in logs].count("streams_wait")

        await eventually(waits, at_least(2))
        served.nats._streams = wanted
        await eventually(lambda: is_whole(operator))
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def is_whole(operator: Client) -> bool:
    """Whether the stream is there with everybody's place in it."""
    with suppress(NatsError):
        durables = await operator.jetstream(timeout=1).consumers_info(STREAM)
        return {each.name for each in durables} == set(topology.load().hears)
    return False


async def test_a_place_that_is_missing_in_the_stream_is_made_again(
    served: Stack, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server may die after it made the stream, before everybody had a place in it."""
    monkeypatch.setattr(stacks, "STREAM_CHECK_SECONDS", 0.02)
    await served.nats.ensure_streams(served.ca.service("operator"))
    await operator.jetstream().delete_consumer(STREAM, "loans")
    watching = asyncio.create_task(served._keep_streams())

    await eventually(lambda: is_whole(operator))
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_a_stranger_on_a_services_port_does_not_serve(stack: Stack) -> None:
    met = 0

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal met
        met += 1
        writer.close()

    async def so_often() -> int:
        return met

    stranger = await asyncio.start_server(hang_up, "127.0.0.1", stack._ports["loans"])
    async with stranger:
        assert not await stack._serves("loans")
        await eventually(so_often, at_least(2))
