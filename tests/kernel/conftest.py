"""The farm's two nouns on real servers, and their parts as a process would run them."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest
import pytest_asyncio
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from deploy.local.ca import LocalCA
from deploy.local.nats import Nats
from deploy.local.places import server_user
from deploy.local.postgres import Postgres
from services.kernel import telemetry
from services.kernel.nats_client import LeanClient
from services.kernel.settings import PlatformSettings
from tests import servers
from tests.conftest import MakeSchema
from tests.kernel.farm.handling import COUNTY
from tests.servers import NatsServer, PostgresServer, Schema, Schemas

FARM = "tests.kernel.farm"


@pytest_asyncio.fixture(loop_scope="session")
async def fields(schema: MakeSchema) -> Schema:
    """Who says."""
    return await schema("fields", package=FARM)


@pytest_asyncio.fixture(loop_scope="session")
async def barns(schema: MakeSchema) -> Schema:
    """Who hears."""
    return await schema("barns", package=FARM)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def mortal_postgres() -> AsyncIterator[Postgres]:
    """A PostgreSQL that a test may kill; it has to start it again."""
    async with servers.postgres_from_wheel(**servers.QUICK) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def mortal_schemas(mortal_postgres: Postgres) -> AsyncIterator[Schemas]:
    """The migrated originals on it."""
    made = Schemas(PostgresServer(mortal_postgres.superuser_dsn("postgres")))
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="session")
async def mortal_schema(
    mortal_postgres: Postgres, mortal_schemas: Schemas
) -> AsyncIterator[MakeSchema]:
    """Makes databases on a server that may be killed; what uses them has to end before."""
    yield mortal_schemas.fresh
    if mortal_postgres.pid is None:
        await mortal_postgres.start()
    await mortal_schemas.empty()


@pytest_asyncio.fixture(loop_scope="session")
async def mortal_fields(mortal_schema: MakeSchema) -> Schema:
    """Who says, on a server that may be killed."""
    return await mortal_schema("fields", package=FARM)


@pytest_asyncio.fixture(loop_scope="session")
async def mortal_barns(mortal_schema: MakeSchema) -> Schema:
    """Who hears, on a server that may be killed."""
    return await mortal_schema("barns", package=FARM)


@dataclass(slots=True)
class Mortal:
    """A NATS that a test may kill, wipe or set back; it has to start it again."""

    wheel: Nats
    server: NatsServer
    clients: list[LeanClient] = field(default_factory=list)

    async def connect(self, noun: str) -> LeanClient:
        """A connection that is closed after the test."""
        self.clients.append(await self.server.connect(noun))
        return self.clients[-1]

    async def fill(self, noun: str, count: int) -> None:
        """Messages of another noun, as they come in between."""
        client = await self.connect(noun)
        for _ in range(count):
            await client.jetstream().publish(f"liandong.{noun}.v1.noise.{COUNTY}", b"")

    def give_to_server(self, path: Path) -> None:
        """What we put back belongs to the account that the server runs as."""
        user = server_user()
        if user is not None:
            for one in (path, *path.rglob("*")):
                os.chown(one, user.uid, user.gid)


@pytest_asyncio.fixture(loop_scope="session")
async def mortal_nats(certificates: LocalCA) -> AsyncIterator[Mortal]:
    """A NATS of the test's own."""
    streams = servers.small_topology()
    async with servers.nats_from_wheel(certificates, streams) as wheel:
        made = Mortal(wheel, servers.as_server(wheel, certificates, streams))
        yield made
        for client in made.clients:
            await client.close()


@pytest.fixture
def spans() -> InMemorySpanExporter:
    """What is traced in this test, every span of it."""
    exporter = InMemorySpanExporter()
    name = f"test-{secrets.token_hex(4)}"
    telemetry.start_traces(name, PlatformSettings(trace_ratio_ppm=1_000_000))
    telemetry._providers[name].add_span_processor(SimpleSpanProcessor(exporter))
    return exporter


class Start(Protocol):
    """`start(relay.run(client))`: a part that runs until the test ends."""

    def __call__(self, part: Coroutine[Any, Any, None]) -> asyncio.Task[None]: ...


@pytest_asyncio.fixture(loop_scope="session")
async def start() -> AsyncIterator[Start]:
    """Runs parts beside the test; one that failed by itself fails the test."""
    running: list[asyncio.Task[None]] = []

    def start_part(part: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        running.append(asyncio.create_task(part))
        return running[-1]

    yield start_part
    failed = [task.exception() for task in running if task.done() and not task.cancelled()]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert failed == []
