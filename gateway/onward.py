"""Onward: what the gateway asks of the services for a method of its own, as the caller."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from google.protobuf import message_factory
from google.protobuf.message import Message

from gateway.routes import ROUTES, Route

R = TypeVar("R", bound=Message)

Onward = Callable[[Route, bytes], Awaitable[bytes]]
"""Pass one call on as the caller: allowed by the table, signed and recorded like one of its own."""

BY_METHOD: Mapping[str, Route] = {route.method: route for route in ROUTES}


async def ask(onward: Onward, method: str, request: Message, answer: type[R]) -> R:
    """One method of a service with a request and its answer."""
    route = BY_METHOD[method]
    made: Any = message_factory.GetMessageClass(route.descriptor.output_type)
    assert made is answer, f"{method} answers otherwise"
    return answer.FromString(await onward(route, request.SerializeToString()))
