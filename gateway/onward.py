"""Onward: what the gateway asks of the services for a method of its own, as the caller."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf import message_factory
from google.protobuf.message import Message

from gateway.routes import ROUTES, Route

R = TypeVar("R", bound=Message)


@dataclass(frozen=True, slots=True)
class Onward:
    """The way on: each call allowed by the table, signed and recorded like one of the caller's."""

    ask: Callable[[Route, bytes], Awaitable[bytes]]
    touch: Callable[[str], None]
    """Have the access log name a resource, `household:<uuid>`, that the request does not name."""

    async def __call__(self, route: Route, body: bytes) -> bytes:
        """Pass one call on as the caller."""
        return await self.ask(route, body)


BY_METHOD: Mapping[str, Route] = {route.method: route for route in ROUTES}


async def ask(onward: Onward, method: str, request: Message, answer: type[R]) -> R:
    """One method of a service with a request and its answer."""
    route = BY_METHOD[method]
    made: Any = message_factory.GetMessageClass(route.descriptor.output_type)
    assert made is answer, f"{method} answers otherwise"
    return answer.FromString(await onward(route, request.SerializeToString()))
