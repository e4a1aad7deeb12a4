"""Channels: a busy server is reached, however slowly it takes a connection."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio

from services.kernel import channels
from tests.faults.links import Link

METHOD = "/liandong.test.Slow/Ask"
SLOW_SECONDS = 0.4


async def wait_long() -> None:
    """What the fault is: a server that is busy with other things."""
    await asyncio.sleep(SLOW_SECONDS)


class Slow(Link):
    """A link whose connections lead on late."""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await wait_long()
        await super()._serve(reader, writer)


class Answering(grpc.GenericRpcHandler):
    """A server that gives back what it is asked."""

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        async def serve(body: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
            return body

        return grpc.unary_unary_rpc_method_handler(serve)


@pytest_asyncio.fixture
async def slow_port() -> AsyncIterator[int]:
    """Where a server listens whose first words to each connection come late."""
    server = grpc.aio.server(handlers=[Answering()])
    behind = server.add_insecure_port("127.0.0.1:0")
    await server.start()

    async with Slow(lambda: behind) as link:
        yield link.port
    await server.stop(None)


@pytest.mark.parametrize("lb", ["pick_first", "round_robin"])
async def test_the_first_call_waits_for_a_slow_connection(slow_port: int, lb: str) -> None:
    options = [*channels.RECONNECT, ("grpc.lb_policy_name", lb)]

    async with grpc.aio.insecure_channel(f"127.0.0.1:{slow_port}", options=options) as channel:
        ask: Any = channel.unary_unary(METHOD)
        answer = await ask(b"still there?", timeout=30)

    assert answer == b"still there?"
