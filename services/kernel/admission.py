"""
Admission: how many calls a door serves at once; one too many is turned away before it costs.

A door that takes in more than it can do does none of it in time: whoever waits gives up, and the
work that was begun for them is lost. So a call is turned away by its method alone, before its body
is read, its caller verified or the database asked; and so is one whose client gives it less time
than such calls have taken of late, while many are served. Who is turned away is told when to come
back, each a little later than the one before, so that they do not come all at once.
"""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from time import perf_counter
from typing import Any, Final

import grpc
from grpc_status import rpc_status

from services.kernel import status, telemetry
from services.kernel.errors import Exhausted, Quota

RETRY_SECONDS: Final = tuple(0.25 * step for step in range(1, 9))
"""When those who are turned away may come back, in turn."""
PUSHBACK_KEY: Final = "grpc-retry-pushback-ms"
"""Tells gRPC's own retries when to come back."""
REFUSING_MAX: Final = 1_024
"""Calls that may be on their way out; the library cuts off what comes above them."""
FEW_SHARE: Final = 16
"""While fewer than this part of the bound are served, a call in a hurry is served too."""
_NEW_SHARE: Final = 0.1
"""How much the latest call says of what calls take of late."""

Context = grpc.aio.ServicerContext[Any, Any]
Unary = Callable[[Any, Context], Awaitable[Any]]
Stream = Callable[[Any, Context], AsyncIterator[Any]]


def _refusals(noun: str, most: int) -> list[tuple[grpc.StatusCode, str, tuple[Any, ...]]]:
    """What is answered, made once: under a storm there is no time to make it each time."""
    made = []
    for seconds in RETRY_SECONDS:
        error = Exhausted(
            "DOOR_FULL",
            f"as many calls as can be are served now, at most {most}",
            message_zh="系统繁忙,请按提示时间后用同一请求编号重试",
            retry_seconds=seconds,
            quota=Quota("everybody", f"liandong.{noun or 'door'}/running", most),
        )
        rich = rpc_status.to_status(status.to_status(error))
        pushback = (PUSHBACK_KEY, str(round(seconds * 1_000)))
        made.append((rich.code, rich.details, (*rich.trailing_metadata, pushback)))
    return made


class Admission:
    """Counts the calls of one door and turns away one too many."""

    def __init__(self, noun: str, most: int) -> None:
        self.running = 0
        """Calls that are being served."""
        self._noun = noun
        self._most = most
        self._few = max(1, most // FEW_SHARE)
        self._refusals = itertools.cycle(_refusals(noun, most))
        self._usual: dict[str, float] = {}
        """Method to the seconds that its calls have taken of late."""
        # A stream both ways: its body is not even read.
        self.refusing: Any = grpc.stream_stream_rpc_method_handler(self._refuse)
        telemetry.bound("rpcs", lambda: self.running, most, noun=noun)

    @property
    def is_full(self) -> bool:
        """Whether one more is one too many."""
        return self.running >= self._most

    def unary(self, method: str, behaviour: Unary) -> Unary:
        """A method of one answer, counted."""

        async def serve(request: Any, context: Context) -> Any:
            # Many may have come in between: the door looked before it read the body.
            if self.is_full or self._is_too_late(method, context):
                await self._turn_away(context)
            self.running += 1
            began = perf_counter()
            try:
                return await behaviour(request, context)
            finally:
                self.running -= 1
                self._note(method, perf_counter() - began)

        return serve

    def stream(self, behaviour: Stream) -> Stream:
        """A method of many answers, counted."""

        async def serve(requests: Any, context: Context) -> AsyncIterator[Any]:
            if self.is_full:
                await self._turn_away(context)
            self.running += 1
            try:
                async with aclosing(behaviour(requests, context)) as answers:  # type: ignore[type-var]
                    async for answer in answers:
                        yield answer
            finally:
                self.running -= 1

        return serve

    def _is_too_late(self, method: str, context: Context) -> bool:
        """Whether the client would be gone before the answer is there."""
        if self.running < self._few:
            return False
        left = context.time_remaining()
        return left is not None and left < self._usual.get(method, 0.0)

    def _note(self, method: str, seconds: float) -> None:
        usual = self._usual.get(method)
        if usual is None and len(self._usual) >= REFUSING_MAX:
            return
        before = seconds if usual is None else usual
        self._usual[method] = before + _NEW_SHARE * (seconds - before)

    async def _turn_away(self, context: Context) -> None:
        telemetry.count("liandong.rpc.turned_away", noun=self._noun)
        code, details, trailers = next(self._refusals)
        await context.abort(code, details, trailers)

    async def _refuse(self, _: Any, context: Context) -> AsyncIterator[Any]:
        await self._turn_away(context)
        # Never reached: it makes this a stream.
        yield b""


class Entrance(grpc.aio.ServerInterceptor):
    """Stands before all other interceptors of a door and counts its calls."""

    def __init__(self, admission: Admission, *, unguarded: tuple[str, ...]) -> None:
        self._admission = admission
        self._unguarded = unguarded
        self._counted: dict[str, Any] = {}
        """Methods that were called to their handlers: a server's are always the same."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Turn the call away, or have it counted; probes always come in."""
        method = handler_call_details.method
        if method.startswith(self._unguarded):
            return await continuation(handler_call_details)
        if self._admission.is_full:
            return self._admission.refusing
        counted = self._counted.get(method)
        if counted is None:
            handler: Any = await continuation(handler_call_details)
            if handler is None:
                return None
            counted = self._counted[method] = self._count(method, handler)
        return counted

    def _count(self, method: str, handler: Any) -> Any:
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(
                self._admission.stream(handler.stream_stream),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            self._admission.unary(method, handler.unary_unary),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )
