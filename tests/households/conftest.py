"""An empty registry, and the service's own door on it."""

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import grpc
import pytest_asyncio
from google.protobuf.message import Message
from liandong.common.v1 import operator_pb2_grpc
from liandong.households.v1 import (
    accounts_pb2,
    accounts_pb2_grpc,
    areas_pb2,
    areas_pb2_grpc,
    consents_pb2,
    consents_pb2_grpc,
    facts_pb2,
    facts_pb2_grpc,
    households_pb2_grpc,
    linkage_pb2,
    linkage_pb2_grpc,
    moves_pb2,
    moves_pb2_grpc,
    people_pb2,
    people_pb2_grpc,
    records_pb2,
    records_pb2_grpc,
    standing_pb2,
    standing_pb2_grpc,
)
from liandong.households.v1 import households_pb2 as pb

from deploy.local.ca import LocalCA
from services.households.operations.registration import BOOKS
from services.households.operations.shared import Keys
from services.households.servicer.everything import Doors, add_to_server
from services.kernel import business_day, caller, outbox, rpc
from services.kernel.caller import Caller, Signer, Verifier
from services.kernel.operator import OperatorServicer
from services.kernel.sealing import Finder, Sealer
from services.kernel.walls import EVERY_COUNTY
from tests.conftest import MakeSchema
from tests.households.builders import COUNTY, TODAY
from tests.servers import ENV, Schema

Who = Callable[[str, str], Caller]
SERVICE = "/liandong.households.v1.HouseholdsService"
PAYEE_WAITING_DAYS = 3
_GRPC = {
    "Accounts": (accounts_pb2, accounts_pb2_grpc),
    "Areas": (areas_pb2, areas_pb2_grpc),
    "Consents": (consents_pb2, consents_pb2_grpc),
    "Facts": (facts_pb2, facts_pb2_grpc),
    "Households": (pb, households_pb2_grpc),
    "Linkage": (linkage_pb2, linkage_pb2_grpc),
    "Moves": (moves_pb2, moves_pb2_grpc),
    "HouseholdRecords": (records_pb2, records_pb2_grpc),
    "People": (people_pb2, people_pb2_grpc),
    "Standing": (standing_pb2, standing_pb2_grpc),
}
STUBS: dict[str, tuple[str, Any]] = {
    method.name: (noun, getattr(stubs, f"{noun}ServiceStub"))
    for noun, (messages, stubs) in _GRPC.items()
    for method in messages.DESCRIPTOR.services_by_name[f"{noun}Service"].methods
}
"""Each method's service and its stub."""


@dataclass(frozen=True)
class Registry:
    """The service's database as a test may look into it."""

    schema: Schema
    keys: Keys

    async def ask(self, query: str, *args: object) -> list[tuple[Any, ...]]:
        """Rows as a superuser sees them."""
        return [tuple(row) for row in await self.schema.ask(query, *args)]

    async def count(self, table: str) -> int:
        return int(await self.schema.one(f"SELECT count(*) FROM {table}"))

    async def on(self, day: date) -> None:
        """Make a day the county's business date."""
        async with self.schema.db.transaction(EVERY_COUNTY) as session:
            await business_day.open_day(session, COUNTY, day)

    async def said(self, name: str) -> list[tuple[str, int]]:
        """The aggregates and sequences of the events of a type."""
        rows = await self.ask(
            "SELECT aggregate_id, sequence FROM outbox WHERE event_type = $1 ORDER BY position",
            f"liandong.households.v1.{name}",
        )
        return [(row[0], row[1]) for row in rows]


@pytest_asyncio.fixture(loop_scope="session")
async def registry(schema: MakeSchema) -> Registry:
    """An empty registry whose county is open."""
    made = await schema("households")
    async with made.db.connection() as connection:
        await outbox.ensure_partitions(connection)
    async with made.db.transaction(EVERY_COUNTY) as session:
        await business_day.open_day(session, COUNTY, TODAY)
    keys = Keys(Sealer([secrets.token_bytes(32)]), Finder(secrets.token_bytes(32)))
    return Registry(made, keys)


@dataclass(frozen=True)
class Door:
    """A client of the service that signs whatever caller a test names, as the gateway does."""

    channel: grpc.aio.Channel
    signer: Signer

    async def call(self, method: str, request: Message, *, who: Who) -> Any:
        """Call one of the methods of the registry's services."""
        noun, stub = STUBS[method]
        path = f"/liandong.households.v1.{noun}Service/{method}"
        signed = self.signer.sign(who(path, caller.body_hash(request.SerializeToString())))
        call = getattr(stub(self.channel), method)
        return await call(request, metadata=((caller.METADATA_KEY, signed),))

    async def refuses(self, method: str, request: Message, *, who: Who) -> grpc.aio.AioRpcError:
        """The refusal that a call ends with."""
        try:
            answer = await self.call(method, request, who=who)
        except grpc.aio.AioRpcError as error:
            return error
        raise AssertionError(f"{method} was answered: {answer}")

    async def send_file(
        self, requests: list[pb.ImportHouseholdsRequest], *, who: Who
    ) -> list[pb.ImportHouseholdsResponse]:
        """Send the chunks of a file, each after the answer to the one before."""
        return await self.stream("ImportHouseholds", requests, who=who)

    async def stream(self, method: str, requests: Sequence[Message], *, who: Who) -> list[Any]:
        """Send requests of a stream, each after the answer to the one before."""
        noun, stub_of = STUBS[method]
        path = f"/liandong.households.v1.{noun}Service/{method}"
        stub = stub_of(self.channel)
        signed = self.signer.sign(who(path, caller.STREAM_HASH))
        stream = getattr(stub, method)(metadata=((caller.METADATA_KEY, signed),))
        answers: list[Any] = []
        for request in requests:
            await stream.write(request)
            answer = await stream.read()
            if answer is grpc.aio.EOF:
                break
            answers.append(answer)
        else:
            await stream.done_writing()
        # Raises what ended the stream before its time.
        assert await stream.read() is grpc.aio.EOF
        return answers


def institution(
    role: str,
    *areas: str,
    county: str = COUNTY,
    name: str = "",
    person: str = "",
    purpose: str = "test",
) -> Who:
    """An institution of a role, for one call."""

    def sign_for(method: str, body_hash: str) -> Caller:
        return Caller(
            institution_id=name or f"{role}-1",
            role=role,
            person_id=person or f"{role}-1-p1",
            county_code=county,
            areas=areas,
            purpose=purpose,
            method=method,
            body_hash=body_hash,
        )

    return sign_for


@pytest_asyncio.fixture(loop_scope="session")
async def door(registry: Registry, certificates: LocalCA) -> AsyncIterator[Door]:
    """The service's real server, with mTLS, and the gateway's side of the connection."""
    own, gateway = certificates.service("households"), certificates.service("gateway")
    callers = certificates.caller_keys()
    serving = rpc.Server(
        address="127.0.0.1:0",
        credentials=rpc.server_credentials(own.ca, own.cert, own.key),
        interceptors=[rpc.guard(Verifier(callers.public), env=ENV)],
        concurrent_rpcs_max=64,
    )
    add_to_server(Doors(registry.schema.db, registry.keys, PAYEE_WAITING_DAYS), serving.server)
    operator_pb2_grpc.add_OperatorServiceServicer_to_server(
        OperatorServicer(registry.schema.db, BOOKS, {}), serving.server
    )
    await serving.server.start()
    credentials = grpc.ssl_channel_credentials(
        gateway.ca.read_bytes(), gateway.key.read_bytes(), gateway.cert.read_bytes()
    )
    async with grpc.aio.secure_channel(f"localhost:{serving.port}", credentials) as channel:
        yield Door(channel, Signer(callers.private))
    await serving.server.stop(None)
