"""A PostgreSQL with the households schema, and the service's own door on it."""

import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest_asyncio
from google.protobuf.message import Message
from liandong.common.v1 import operator_pb2_grpc
from liandong.households.v1 import households_pb2 as pb
from liandong.households.v1 import households_pb2_grpc

from deploy.local import places, processes
from deploy.local.ca import LocalCA
from deploy.local.postgres import Postgres
from services.households.operations import BOOKS, Keys
from services.households.servicer import HouseholdsServicer
from services.kernel import business_day, caller, migrate, outbox, rpc
from services.kernel.caller import Caller, Signer, Verifier
from services.kernel.database import Database
from services.kernel.operator import OperatorServicer
from services.kernel.sealing import Finder, Sealer
from tests.households.builders import COUNTY, TODAY

ENV = "test"
Who = Callable[[str, str], Caller]
SERVICE = "/liandong.households.v1.HouseholdsService"
EMPTY = """
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT quote_ident(relname) FROM pg_class
        WHERE relnamespace = 'households'::regnamespace AND relkind IN ('r', 'p')
          AND NOT relispartition AND relname NOT IN ('alembic_version', 'relay_state')
    LOOP EXECUTE 'TRUNCATE households.' || name; END LOOP;
END $$
"""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server() -> AsyncIterator[Postgres]:
    folder = places.find().folder(f"test-{secrets.token_hex(6)}")
    postgres = Postgres(places.find(), folder)
    await postgres.start()
    await postgres.prepare(["households"])
    await migrate.upgrade("services.households", "households", postgres.dsn("households", "owner"))
    yield postgres
    await postgres.stop()
    await processes.remove_folder(folder)


@dataclass(frozen=True)
class Registry:
    """The service's database as a test may look into it."""

    db: Database
    keys: Keys
    superuser_dsn: str

    async def ask(self, query: str, *args: object) -> list[tuple[Any, ...]]:
        """Rows as a superuser sees them."""
        connection = await asyncpg.connect(
            self.superuser_dsn, server_settings={"search_path": "households"}
        )
        try:
            return [tuple(row) for row in await connection.fetch(query, *args)]
        finally:
            await connection.close()

    async def count(self, table: str) -> int:
        (row,) = await self.ask(f"SELECT count(*) FROM {table}")
        return int(row[0])

    async def open_county(self) -> None:
        async with self.db.transaction() as session:
            await business_day.open_day(session, COUNTY, TODAY)


@pytest_asyncio.fixture(loop_scope="session")
async def registry(server: Postgres) -> AsyncIterator[Registry]:
    """An empty registry whose county is open."""
    db = Database(server.dsn("households", "app"), "households", pool_size=4)
    async with db.connection() as connection:
        await outbox.ensure_partitions(connection)
    keys = Keys(Sealer([secrets.token_bytes(32)]), Finder(secrets.token_bytes(32)))
    made = Registry(db, keys, server.superuser_dsn())
    await made.ask(EMPTY)
    await made.open_county()
    yield made
    await db.close()


@dataclass(frozen=True)
class Door:
    """A client of the service that signs whatever caller a test names, as the gateway does."""

    channel: grpc.aio.Channel
    signer: Signer

    async def call(self, method: str, request: Message, *, who: Who) -> Any:
        """Call one of the service's methods."""
        path = f"{SERVICE}/{method}"
        stub = households_pb2_grpc.HouseholdsServiceStub(self.channel)
        signed = self.signer.sign(who(path, caller.body_hash(request.SerializeToString())))
        return await getattr(stub, method)(request, metadata=((caller.METADATA_KEY, signed),))

    async def send_file(
        self, requests: list[pb.ImportHouseholdsRequest], *, who: Who
    ) -> list[pb.ImportHouseholdsResponse]:
        """Send the chunks of a file, each after the answer to the one before."""
        path = f"{SERVICE}/ImportHouseholds"
        stub = households_pb2_grpc.HouseholdsServiceStub(self.channel)
        signed = self.signer.sign(who(path, caller.STREAM_HASH))
        stream = stub.ImportHouseholds(metadata=((caller.METADATA_KEY, signed),))
        answers: list[pb.ImportHouseholdsResponse] = []
        for request in requests:
            await stream.write(request)
            answer = await stream.read()
            if not isinstance(answer, pb.ImportHouseholdsResponse):
                break
            answers.append(answer)
        else:
            await stream.done_writing()
        # Raises what ended the stream before its time.
        assert await stream.read() is grpc.aio.EOF
        return answers


def institution(role: str, *areas: str, county: str = COUNTY, name: str = "") -> Who:
    """An institution of a role, for one call."""

    def sign_for(method: str, body_hash: str) -> Caller:
        return Caller(
            institution_id=name or f"{role}-1",
            role=role,
            person_id=f"{role}-1-p1",
            county_code=county,
            areas=areas,
            purpose="test",
            method=method,
            body_hash=body_hash,
        )

    return sign_for


@pytest_asyncio.fixture(loop_scope="session")
async def door(registry: Registry, tmp_path: Path) -> AsyncIterator[Door]:
    """The service's real server, with mTLS, and the gateway's side of the connection."""
    authority = LocalCA(tmp_path / "ca", ENV)
    own, gateway = authority.service("households"), authority.service("gateway")
    callers = authority.caller_keys()
    serving = rpc.Server(
        address="127.0.0.1:0",
        credentials=rpc.server_credentials(own.ca, own.cert, own.key),
        interceptors=[rpc.guard(Verifier(callers.public), env=ENV)],
        concurrent_rpcs_max=64,
    )
    households_pb2_grpc.add_HouseholdsServiceServicer_to_server(
        HouseholdsServicer(registry.db, registry.keys), serving.server
    )
    operator_pb2_grpc.add_OperatorServiceServicer_to_server(
        OperatorServicer(registry.db, BOOKS, {}), serving.server
    )
    await serving.server.start()
    credentials = grpc.ssl_channel_credentials(
        gateway.ca.read_bytes(), gateway.key.read_bytes(), gateway.cert.read_bytes()
    )
    async with grpc.aio.secure_channel(f"localhost:{serving.port}", credentials) as channel:
        yield Door(channel, Signer(callers.private))
    await serving.server.stop(None)
