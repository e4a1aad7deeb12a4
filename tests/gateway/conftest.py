"""A gateway as it runs: real PostgreSQL, NATS and certificates; small targets behind it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest_asyncio

from deploy.local import places
from deploy.local.ca import Credentials, LocalCA
from gateway.__main__ import serve
from gateway.settings import GatewaySettings
from services.kernel.database import Database
from services.kernel.settings import PlatformSettings
from tests.eventually import eventually
from tests.gateway.fakes import Seen, Target, targets
from tests.servers import NatsServer, Schema, Schemas

INSTITUTIONS = Path(__file__).parent / "a_county.yaml"


def channel(address: str, credentials: Credentials) -> grpc.aio.Channel:
    """A client's connection with its own certificate."""
    return grpc.aio.secure_channel(
        address,
        grpc.ssl_channel_credentials(
            credentials.ca.read_bytes(), credentials.key.read_bytes(), credentials.cert.read_bytes()
        ),
        options=[("grpc.use_local_subchannel_pool", 1)],
    )


@dataclass
class House:
    """The gateway and what stands before and behind it."""

    authority: LocalCA
    schema: Schema
    settings: GatewaySettings
    seen: Seen
    targets: Mapping[str, Target]
    platform: PlatformSettings
    channels: dict[str, grpc.aio.Channel] = field(default_factory=dict)
    task: "asyncio.Task[None] | None" = None

    async def start(self) -> None:
        """Start the gateway and wait until it serves."""
        self.task = task = asyncio.create_task(serve(self.settings, self.platform))
        await eventually(lambda: _serves(self, task), seconds_max=30)

    async def stop(self) -> None:
        """Stop the gateway as a signal does; its clients may hold on."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

    async def hang_up(self) -> None:
        """Let all clients go."""
        for one in self.channels.values():
            await one.close()
        self.channels.clear()

    @property
    def db(self) -> Database:
        """Our own way into the gateway's database."""
        return self.schema.db

    def as_institution(self, institution_id: str) -> grpc.aio.Channel:
        """The connection of an institution, known or not."""
        return self.as_peer(self.authority.institution(institution_id))

    def as_peer(self, credentials: Credentials) -> grpc.aio.Channel:
        """The connection of any holder of a certificate."""
        if credentials.spiffe_id not in self.channels:
            made = channel(self.settings.grpc_address, credentials)
            self.channels[credentials.spiffe_id] = made
        return self.channels[credentials.spiffe_id]

    async def logged(self, institution_id: str, *, at_least: int = 1) -> list[asyncpg.Record]:
        """The rows of the access log about an institution, once there are so many."""
        sql = "SELECT * FROM access_log WHERE institution_id = $1 ORDER BY position"
        return await eventually(
            lambda: self.schema.ask(sql, institution_id), lambda rows: len(rows) >= at_least
        )


async def _serves(house: House, running: "asyncio.Task[None]") -> bool:
    if running.done():
        running.result()
    try:
        await asyncio.wait_for(house.as_institution("bank-1").channel_ready(), 0.5)
    except TimeoutError:
        return False
    return True


def _settings(
    authority: LocalCA, dsn: str, running: Mapping[str, Target], changes: Mapping[str, Any]
) -> GatewaySettings:
    own = authority.service("gateway")
    nowhere = {
        f"{noun}_address": f"127.0.0.1:{places.free_port()}" for noun in ("credit", "claims")
    }
    values: dict[str, Any] = {
        "database_url": dsn,
        "grpc_address": f"127.0.0.1:{places.free_port()}",
        "cert_path": own.cert,
        "key_path": own.key,
        "caller_private_key_path": authority.caller_keys().private,
        "log_private_key_path": authority.log_keys().private,
        "institutions_path": INSTITUTIONS,
        "body_bytes_max": 64 * 1024,
        "unregistered_certificates": True,
        "without_contract": True,
        "person_metadata": True,
        "limits": {"times": 1_000},
        "handshake_seconds": 4,
        "deadline_seconds": 20,
        "deadline_seconds_max": 40,
        "funds_address": f"127.0.0.1:{places.free_port()}",
        **nowhere,
        **{f"{noun}_address": target.address for noun, target in running.items()},
    }
    return GatewaySettings(**(values | dict(changes)))


@asynccontextmanager
async def a_house(
    schemas: Schemas,
    nats: NatsServer,
    certificates: LocalCA,
    *,
    programmes_dirs: str = "",
    **changes: Any,
) -> AsyncIterator[House]:
    """The gateway in this process, everything else as it is in a county."""
    # Schemas of our own: the shared ones are emptied after every test.
    apart = schemas.apart()
    schema = await apart.fresh("gateway")
    seen = Seen()
    platform = PlatformSettings(
        nats_url=nats.url,
        nats_monitor_url=nats.monitor_url,
        ca_path=certificates.ca_path,
        caller_public_key_path=certificates.caller_keys().public,
        programmes_dirs=programmes_dirs,
    )
    try:
        async with targets(certificates, seen) as running:
            settings = _settings(certificates, schema.app_dsn, running, changes)
            made = House(certificates, schema, settings, seen, running, platform)
            try:
                await made.start()
                yield made
            finally:
                await made.hang_up()
                await made.stop()
    finally:
        await apart.empty()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def house(schemas: Schemas, nats: NatsServer, certificates: LocalCA) -> AsyncIterator[House]:
    """A gateway as one machine's platform runs it."""
    async with a_house(schemas, nats, certificates) as made:
        yield made
