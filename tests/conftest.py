"""Fixtures on real servers, for every folder of tests."""

import os
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any, Protocol

import pytest
import pytest_asyncio
import structlog
from hypothesis import HealthCheck, settings

from deploy.local import places
from deploy.local.ca import LocalCA
from services.kernel.nats_client import LeanClient
from tests import lengths, schedule, servers
from tests.servers import ENV, NatsServer, PostgresServer, Schema, Schemas


def pytest_configure() -> None:
    """Log lines without the values of every frame, which take seconds to draw, and patience."""
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.processors.add_log_level, renderer])
    # A busy machine fails no property: neither by a deadline nor by how long examples take.
    patient = settings(
        deadline=None,
        max_examples=lengths.EXAMPLES,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.register_profile("patient", patient)
    settings.load_profile("patient")
    _keep_to_own_ports()


def _keep_to_own_ports() -> None:
    """Workers choose from parts of the ports: what one chose another may take before it listens."""
    worker, count = (
        os.environ.get("PYTEST_XDIST_WORKER"),
        os.environ.get("PYTEST_XDIST_WORKER_COUNT"),
    )
    if worker is None or count is None:
        return
    many = len(places.PORTS) // int(count)
    mine = places.PORTS[int(worker.removeprefix("gw")) * many :][:many]
    os.environ[places.PORTS_VARIABLE] = f"{mine[0]}-{mine[-1]}"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> schedule.ByServers:
    """`-n 2` runs by `tests.schedule`."""
    return schedule.ByServers(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where workers share the tests, the longest begin first."""
    if hasattr(config, "workerinput"):
        items[:] = schedule.ordered(items)


class MakeSchema(Protocol):
    """`await schema("loans")`: a fresh, migrated database of a noun."""

    def __call__(
        self, noun: str, *, package: str = "", pool_size: int = 4
    ) -> Awaitable[Schema]: ...


class Connect(Protocol):
    """`await connect("loans")`: a NATS connection as that noun, closed after the test."""

    def __call__(self, noun: str) -> Awaitable[LeanClient]: ...


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> LocalCA:
    """One authority for the session: `certificates.service("loans")`, `.institution("bank-1")`."""
    return LocalCA(tmp_path_factory.mktemp("certificates"), ENV)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres() -> AsyncIterator[PostgresServer]:
    """The session's PostgreSQL."""
    async with servers.any_postgres() as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def schemas(postgres: PostgresServer) -> AsyncIterator[Schemas]:
    """The migrated originals."""
    made = Schemas(postgres)
    try:
        yield made
    finally:
        await made.close()


@pytest_asyncio.fixture(loop_scope="session")
async def schema(schemas: Schemas) -> AsyncIterator[MakeSchema]:
    """Makes databases for one test; they are gone after it."""
    yield schemas.fresh
    await schemas.empty()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def nats(
    certificates: LocalCA, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[NatsServer]:
    """The session's NATS, with the stream and the durables of all nouns."""
    folder: Path = tmp_path_factory.mktemp("nats")
    streams = servers.small_topology()
    async with servers.any_nats(certificates, streams, folder) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def stream(nats: NatsServer) -> NatsServer:
    """The session's NATS with an empty stream."""
    await nats.empty()
    return nats


@pytest_asyncio.fixture(loop_scope="session")
async def connect(nats: NatsServer) -> AsyncIterator[Connect]:
    """Makes connections for one test; they are closed after it."""
    made: list[LeanClient] = []

    async def connect_as(noun: str) -> LeanClient:
        made.append(await nats.connect(noun))
        return made[-1]

    yield connect_as
    for client in made:
        await client.close()
