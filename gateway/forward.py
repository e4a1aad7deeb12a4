"""Forward: pass a call on as bytes, with its signed caller, deadline and trace."""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from gateway.identity import SERVICE_KEY
from gateway.routes import NAMED_BY_CALLER, OWN, ROUTES, Route
from gateway.spans import TRACEPARENT, Span
from services.kernel import caller as callers
from services.kernel import channels, status
from services.kernel.errors import LiandongError, Unavailable, invalid_field
from services.kernel.rpc import MESSAGE_BYTES_MAX, METADATA_BYTES_MAX

DETAILS_KEY = "grpc-status-details-bin"

OPTIONS: Sequence[tuple[str, Any]] = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_metadata_size", METADATA_BYTES_MAX),
    *channels.RECONNECT,
    ("grpc.lb_policy_name", "round_robin"),
    # A command is never sent twice by us: the client asks again with the same request id.
    ("grpc.enable_retries", 0),
)

_AWAY = (
    grpc.StatusCode.UNAVAILABLE,
    # Without details these are a connection that broke under the call, not a service's word.
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.CANCELLED,
)


@dataclass(frozen=True, slots=True)
class Failure:
    """How a call ends when it does not end well."""

    code: grpc.StatusCode
    details: str
    trailers: tuple[tuple[str, str | bytes], ...]
    reason: str = ""
    """Of a refusal of ours."""


def refusal(error: LiandongError) -> Failure:
    """A refusal of the gateway itself."""
    rich = rpc_status.to_status(status.to_status(error))
    return Failure(rich.code, rich.details, tuple(rich.trailing_metadata), error.reason)


def passed_on(error: grpc.aio.AioRpcError, noun: str) -> Failure:
    """A service's refusal, its rich details unchanged; or that the service is away."""
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY:
            return Failure(error.code(), error.details() or "", ((DETAILS_KEY, value),))
    if error.code() in _AWAY or status.link_broke(error):
        return refusal(
            Unavailable(
                "SERVICE_UNAVAILABLE",
                f"the service {noun} does not answer",
                message_zh="业务服务暂时不可用,请稍后用同一请求编号重试",
                facts={"service": noun},
            )
        )
    return Failure(error.code(), error.details() or "", ())


def reason_in(failure: Failure) -> str:
    """The stable reason of a refusal, ours or a service's; empty where it has none."""
    if failure.reason:
        return failure.reason
    for key, value in failure.trailers:
        if key == DETAILS_KEY and isinstance(value, bytes):
            info = error_details_pb2.ErrorInfo()
            try:
                details = status_pb2.Status.FromString(value).details
                found = any(each.Unpack(info) for each in details)
            except DecodeError:
                return ""
            return info.reason if found else ""
    return ""


class Backends:
    """The channels to the services, and per method one multicallable that is made once."""

    def __init__(
        self, addresses: Mapping[str, str], *, ca_path: Path, cert_path: Path, key_path: Path
    ) -> None:
        credentials = grpc.ssl_channel_credentials(
            ca_path.read_bytes(), key_path.read_bytes(), cert_path.read_bytes()
        )
        self._channels = {
            noun: grpc.aio.secure_channel(address, credentials, options=OPTIONS)
            for noun, address in addresses.items()
        }
        self._callables: dict[tuple[str, str], Any] = {}
        for route in ROUTES:
            if route.noun == OWN:
                continue
            for noun in self._channels if route.noun == NAMED_BY_CALLER else (route.noun,):
                channel = self._channels[noun]
                make = channel.stream_stream if route.streams else channel.unary_unary
                self._callables[noun, route.path] = make(route.path)

    def noun(self, route: Route, named: str) -> str:
        """Whose the call is; refused when the caller had to name a service and did not."""
        if route.noun != NAMED_BY_CALLER:
            return route.noun
        if named not in self._channels and named != OWN:
            rule = f"must be one of {', '.join((*self._channels, OWN))}"
            raise invalid_field("SERVICE_NOT_NAMED", SERVICE_KEY, named[:60], rule)
        return named

    async def unary(
        self, route: Route, noun: str, body: bytes, *, token: bytes, seconds: float, span: Span
    ) -> bytes:
        """Pass one request on and wait for its answer."""
        call = self._callables[noun, route.path]
        try:
            answer: bytes = await call(body, timeout=seconds, metadata=_metadata(token, span))
        except grpc.aio.AioRpcError as error:
            span.failed(error.code())
            raise
        finally:
            span.end()
        return answer

    async def stream(
        self,
        route: Route,
        noun: str,
        bodies: AsyncIterator[bytes],
        *,
        token: bytes,
        seconds: float,
        span: Span,
    ) -> AsyncGenerator[bytes]:
        """Pass a stream on, message by message, both ways; neither side runs ahead of the other."""
        call = self._callables[noun, route.path](
            bodies, timeout=seconds, metadata=_metadata(token, span)
        )
        try:
            async for answer in call:
                yield answer
        except grpc.aio.AioRpcError as error:
            span.failed(error.code())
            raise
        finally:
            # A client that is gone must not leave the service at work.
            call.cancel()
            span.end()

    async def close(self) -> None:
        """Give the connections back."""
        for channel in self._channels.values():
            await channel.close()


def _metadata(token: bytes, span: Span) -> tuple[tuple[str, str | bytes], ...]:
    """What goes with a call: the signed caller and the trace; nothing of the client's own."""
    traceparent = span.traceparent()
    if not traceparent:
        return ((callers.METADATA_KEY, token),)
    return ((callers.METADATA_KEY, token), (TRACEPARENT, traceparent))


async def digested(bodies: AsyncIterator[bytes], digest: "hashlib._Hash") -> AsyncIterator[bytes]:
    """Let a stream pass, taking its hash on the way."""
    async for body in bodies:
        digest.update(body)
        yield body
