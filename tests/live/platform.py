"""One running platform, asked by name: `loans.ApplyForLoan` as an institution of a county."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.type.date_pb2 import Date
from liandong.common.v1 import operator_pb2

from deploy.local import places
from deploy.local.audit import SERVICES
from deploy.local.client import Institution
from deploy.local.processes import remove_folder
from deploy.local.stack import Shape, Stack
from deploy.nats import topology
from gateway.routes import NAMED_BY_CALLER, ROUTES, Route
from services.programmes.loader import Catalogue
from tests import platforms
from tests.live.folder import OPERATOR, institutions_path

FOLDER = "cases-live"
HEARD_SECONDS_MAX = 60.0
PAUSE_SECONDS = 0.03
PAUSE_SECONDS_MAX = 0.25
HOPS = 3
"""An event may be answered by one that is answered in its turn; no chain here is longer."""

Seen = Mapping[str, operator_pb2.GetTotalsResponse]
"""By noun what a service said and heard."""

BY_NAME: Mapping[str, Route] = {
    f"{route.noun or 'operator'}.{route.method.rpartition('/')[2]}": route for route in ROUTES
}


class Mismatch(Exception):
    """On the way to a case's answer the platform did something else."""


def must(truth: object, what: str) -> None:
    """Fail the case when something on the way is not as it must be."""
    if not truth:
        raise Mismatch(what)


def knows(name: str) -> bool:
    """Whether the protos have a method `noun.Method`, or a field `noun.Message.field`."""
    if name in BY_NAME:
        return True
    noun, _, rest = name.partition(".")
    wanted, _, field_name = rest.partition(".")
    files = {route.descriptor.input_type.file for route in ROUTES if route.noun == noun}
    return any(
        field_name in file.message_types_by_name[wanted].fields_by_name
        for file in files
        if wanted in file.message_types_by_name
    )


def request_for(name: str, values: Mapping[str, Any]) -> Message:
    """A request with these fields; days become dates, `None` is left out."""
    return build(GetMessageClass(BY_NAME[name].descriptor.input_type), values)


def build(kind: type[Message], values: Mapping[str, Any]) -> Message:
    """A message of a kind from plain values."""
    fields = kind.DESCRIPTOR.fields_by_name
    return kind(
        **{
            name: _plain(fields[name].message_type, value)
            for name, value in values.items()
            if value is not None
        }
    )


def _plain(kind: Any, value: Any) -> Any:
    if isinstance(value, date):
        return Date(year=value.year, month=value.month, day=value.day)
    if isinstance(value, list | tuple):
        return [_plain(kind, item) for item in value]
    if isinstance(value, Mapping) and kind is not None:
        return build(GetMessageClass(kind), value)
    return value


class Doors:
    """Every method behind the gateway over one connection, by name."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    def __getattr__(self, name: str) -> Any:
        route = BY_NAME[name]
        request = GetMessageClass(route.descriptor.input_type)
        answer = GetMessageClass(route.descriptor.output_type)
        return self._channel.unary_unary(
            route.path,
            request_serializer=request.SerializeToString,
            response_deserializer=answer.FromString,
        )


@dataclass
class Platform:
    """A running platform and everybody's connection to it."""

    stack: Stack
    catalogue: Catalogue
    clients: dict[str, Institution] = field(default_factory=dict)
    _looks_begun: int = 0
    _looks_done: int = 0
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _seen: Seen = field(default_factory=dict)

    def client(self, institution_id: str) -> Institution:
        """An institution's connection."""
        if institution_id not in self.clients:
            own = self.stack.institution(institution_id)
            self.clients[institution_id] = Institution(
                self.stack.gateway_address, own, institution_id
            )
        return self.clients[institution_id]

    async def leave(self, county_code: str) -> None:
        """Close the connections of a county's institutions."""
        for institution_id in [each for each in self.clients if each.endswith(county_code)]:
            await self.clients.pop(institution_id).close()

    async def close(self) -> None:
        """Close every connection."""
        for client in self.clients.values():
            await client.close()

    async def call(
        self,
        name: str,
        institution_id: str,
        values: Mapping[str, Any],
        *,
        post: int = 1,
        service: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> Any:
        """One call; a command gets a request id of its own unless it brings one."""
        route = BY_NAME[name]
        if route.command and "request_id" not in values:
            values = {**values, "request_id": str(uuid4())}
        named = dict(metadata or {})
        if route.noun == NAMED_BY_CALLER:
            named["liandong-service"] = service
        client = self.client(institution_id)
        return await client.call(Doors, name, request_for(name, values), post=post, metadata=named)

    async def operate(self, method: str, noun: str, **values: Any) -> Any:
        """One call of the operator to one service."""
        return await self.call(f"operator.{method}", OPERATOR, values, service=noun)

    async def settle(self) -> None:
        """Wait until everything said so far has been heard, and what was said of it in turn."""
        seen = await self._look()
        for _ in range(HOPS):
            said = _said(seen)
            seen = await self.wait_until_heard(said)
            # A service's answer tells in one breath what it heard and what it said of it.
            if _said(seen) == said:
                return

    async def wait_until_heard(self, said: Mapping[str, int]) -> Seen:
        """Look until everybody has heard so much; what was seen then."""
        end = time.monotonic() + HEARD_SECONDS_MAX
        pause = PAUSE_SECONDS
        while not _heard(seen := await self._look(), said):
            must(time.monotonic() < end, f"not heard within {HEARD_SECONDS_MAX:g} s: {said}")
            await asyncio.sleep(pause)
            pause = min(pause * 2, PAUSE_SECONDS_MAX)
        return seen

    async def _look(self) -> Seen:
        """The services' positions, read after this was asked; who asks at once shares a look."""
        wanted = self._looks_begun + 1
        async with self._looking:
            if self._looks_done < wanted:
                self._looks_begun += 1
                number = self._looks_begun
                answers = await asyncio.gather(
                    *(
                        self.operate("GetTotals", noun, county_code="000000", positions_only=True)
                        for noun in SERVICES
                    )
                )
                self._seen = dict(zip(SERVICES, answers, strict=True))
                self._looks_done = number
        return self._seen


_HEARS = topology.load().hears


def _said(seen: Seen) -> dict[str, int]:
    return {noun: each.events for noun, each in seen.items()}


def _heard(seen: Seen, said: Mapping[str, int]) -> bool:
    for noun, sources in _HEARS.items():
        if noun not in seen:
            continue
        heard = {each.noun: each.events for each in seen[noun].heard}
        if any(heard.get(source, 0) < said[source] for source in sources if source in said):
            return False
    return True


@asynccontextmanager
async def running(folder: Path, catalogue: Catalogue) -> AsyncIterator[Platform]:
    """A platform of its own on the counties of a folder, and its data gone when all is over."""
    machine = places.find()
    await remove_folder(machine.folder(FOLDER))
    shape = Shape(programme_folders=(folder,), institutions_path=institutions_path(folder))
    try:
        async with platforms.running(machine.folder(FOLDER), shape) as stack:
            platform = Platform(stack, catalogue)
            yield platform
            await platform.close()
    finally:
        await remove_folder(machine.folder(FOLDER))
