"""An institution's client: whatever a broken stream looks like, it asks again."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from deploy.local.client import may_ask_again
from services.kernel.status import link_broke

METHOD = "/liandong.test.Broken/Stream"
STREAMS = 200


class Broken(grpc.GenericRpcHandler):
    """A server that ends every stream as soon as it has begun."""

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        async def serve(
            bodies: AsyncIterator[bytes], context: "grpc.aio.ServicerContext[bytes, bytes]"
        ) -> AsyncIterator[bytes]:
            async for body in bodies:
                yield body
                await context.abort(grpc.StatusCode.UNAVAILABLE, "going away")

        return grpc.stream_stream_rpc_method_handler(serve)


def refused(code: grpc.StatusCode, details: str) -> AioRpcError:
    return AioRpcError(code, Metadata(), Metadata(), details=details)


async def test_however_a_stream_breaks_it_is_asked_again() -> None:
    server = grpc.aio.server(handlers=[Broken()])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    found: list[AioRpcError] = []

    async def bodies() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 10_000

    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: Any = channel.stream_stream(METHOD)

        async def send() -> None:
            try:
                async for _ in call(bodies()):
                    pass
            except AioRpcError as error:
                found.append(error)

        for _ in range(STREAMS // 20):
            await asyncio.gather(*(send() for _ in range(20)))
    await server.stop(None)

    assert len(found) == STREAMS
    assert [error for error in found if not may_ask_again(error)] == []


@pytest.mark.parametrize(
    ("code", "details", "again"),
    [
        (grpc.StatusCode.UNAVAILABLE, "Socket closed", True),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "", True),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "", True),
        (grpc.StatusCode.INTERNAL, "internal error 5f0c", False),
        (grpc.StatusCode.FAILED_PRECONDITION, "the breaker is open", False),
    ],
)
def test_a_no_is_not_asked_again(code: grpc.StatusCode, details: str, *, again: bool) -> None:
    error = refused(code, details)

    assert may_ask_again(error) is again
    assert not link_broke(error)
