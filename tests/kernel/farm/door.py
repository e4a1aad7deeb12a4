"""A farm's gRPC server as a service runs it, and the gateway's side of the connection."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import Message
from liandong.common.v1.operator_pb2 import (
    DropParkedEventRequest,
    DropParkedEventResponse,
    RepublishEventsRequest,
    RepublishEventsResponse,
)

from deploy.local.ca import Credentials, LocalCA
from services.kernel import caller as callers
from services.kernel import rpc
from services.kernel.caller import Caller, Signer, Verifier
from services.kernel.errors import Refused
from services.kernel.rpc import Context, caller_of
from tests.builders import a_caller
from tests.servers import ENV

SERVICE = "liandong.test.v1.FarmService"
ANSWER = f"/{SERVICE}/Answer"
COUNT = f"/{SERVICE}/Count"

Work = Callable[[DropParkedEventRequest, Context], Awaitable[DropParkedEventResponse]]
Counting = Callable[
    [AsyncIterator[RepublishEventsRequest], Context], AsyncIterator[RepublishEventsResponse]
]


@dataclass(slots=True)
class Farm:
    """What the two methods of the made-up service do; a test puts its own work in."""

    callers: list[Caller] = field(default_factory=list)
    work: Work | None = None
    counting: Counting | None = None

    async def answer(
        self, request: DropParkedEventRequest, context: Context
    ) -> DropParkedEventResponse:
        """A unary method."""
        self.callers.append(caller_of(context))
        if self.work is not None:
            return await self.work(request, context)
        return DropParkedEventResponse(dropped=True)

    async def count(
        self, requests: AsyncIterator[RepublishEventsRequest], context: Context
    ) -> AsyncIterator[RepublishEventsResponse]:
        """A method of two streams."""
        self.callers.append(caller_of(context))
        if self.counting is not None:
            async for answer in self.counting(requests, context):
                yield answer
            return
        async for request in requests:
            if request.to_position == 13:
                raise Refused("NO_THIRTEEN", "not thirteen", message_zh="不收十三")
            if request.to_position == 99:
                raise ValueError("a bug about 王芳")
            yield RepublishEventsResponse(events=request.to_position)

    def add_to_server(self, server: Any) -> None:
        """Register the methods, as generated code does."""
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Answer": grpc.unary_unary_rpc_method_handler(
                self.answer,
                request_deserializer=DropParkedEventRequest.FromString,
                response_serializer=DropParkedEventResponse.SerializeToString,
            ),
            "Count": grpc.stream_stream_rpc_method_handler(
                self.count,
                request_deserializer=RepublishEventsRequest.FromString,
                response_serializer=RepublishEventsResponse.SerializeToString,
            ),
        }
        handler = grpc.method_handlers_generic_handler(SERVICE, methods)
        server.add_generic_rpc_handlers((handler,))


def channel_of(
    port: int, credentials: Credentials | None, ca: bytes | None = None
) -> grpc.aio.Channel:
    """A connection with this certificate, or with none; each test has sockets of its own."""
    own: tuple[bytes, bytes] | tuple[None, None] = (None, None)
    if credentials is not None:
        own = (credentials.key.read_bytes(), credentials.cert.read_bytes())
        ca = ca or credentials.ca.read_bytes()
    return grpc.aio.secure_channel(
        f"localhost:{port}",
        grpc.ssl_channel_credentials(ca, *own),
        options=[("grpc.use_local_subchannel_pool", 1)],
    )


@dataclass(slots=True)
class Door:
    """The gateway's connection to a service that runs."""

    server: rpc.Server
    channel: grpc.aio.Channel
    signer: Signer
    running: asyncio.Task[None]

    def signed(self, caller: Caller) -> tuple[tuple[str, bytes], ...]:
        """The metadata of a call by this caller."""
        return ((callers.METADATA_KEY, self.signer.sign(caller)),)

    async def call(
        self,
        method: str,
        request: Message,
        response_type: type[Any],
        *,
        metadata: tuple[tuple[str, bytes], ...] | None = None,
        timeout: float = 20,  # noqa: ASYNC109 - the call's own deadline
        **who: Any,
    ) -> Any:
        """Call a unary method as the gateway does for an institution."""
        if metadata is None:
            metadata = self.signed(a_caller(method, request, **who))
        call: Any = self.channel.unary_unary(
            method,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response_type.FromString,
        )
        return await call(request, metadata=metadata, timeout=timeout)


@asynccontextmanager
async def open_door(
    certificates: LocalCA,
    add_to_server: Callable[[Any], None],
    *,
    options: Mapping[str, int] | None = None,
    address: str = "127.0.0.1:0",
) -> AsyncIterator[Door]:
    """Serve with our own server until the block ends."""
    own, gateway = certificates.service("barns"), certificates.service("gateway")
    keys = certificates.caller_keys()
    server = rpc.Server(
        address=address,
        credentials=rpc.server_credentials(own.ca, own.cert, own.key),
        interceptors=[rpc.guard(Verifier(keys.public), env=ENV)],
        concurrent_rpcs_max=(options or {}).get("concurrent_rpcs_max", 64),
        options=[pair for pair in (options or {}).items() if pair[0].startswith("grpc.")],
    )
    add_to_server(server.server)
    server.offer(SERVICE)
    running = asyncio.create_task(server.run())
    async with channel_of(server.port, gateway) as channel:
        await asyncio.wait_for(channel.channel_ready(), 20)
        yield Door(server, channel, Signer(keys.private), running)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
