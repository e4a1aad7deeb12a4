"""A gateway as it runs: real PostgreSQL, NATS and certificates; small targets behind it."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest_asyncio

from deploy.local import places, processes
from deploy.local.ca import Credentials, LocalCA
from deploy.local.nats import Nats
from deploy.local.postgres import Postgres
from deploy.nats import topology
from gateway.__main__ import serve
from gateway.settings import GatewaySettings
from services.kernel import migrate
from services.kernel.database import Database
from services.kernel.settings import PlatformSettings
from tests.gateway.fakes import Seen, Target, targets

INSTITUTIONS = Path(__file__).parent / "a_county.yaml"
MIB = 1024 * 1024


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
    postgres: Postgres
    nats: Nats
    settings: GatewaySettings
    platform: PlatformSettings
    db: Database
    seen: Seen
    targets: Mapping[str, Target]
    channels: dict[str, grpc.aio.Channel] = field(default_factory=dict)

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
        connection = await asyncpg.connect(self.postgres.dsn("gateway", "app"))
        try:
            rows: list[asyncpg.Record] = []
            async for _ in processes.ticks(10.0, pause=0.02):
                rows = await connection.fetch(
                    "SELECT * FROM access_log WHERE institution_id = $1 ORDER BY position",
                    institution_id,
                )
                if len(rows) >= at_least:
                    return rows
            raise AssertionError(f"only {len(rows)} rows about {institution_id}")
        finally:
            await connection.close()


async def _eventually_serves(house: House, running: "asyncio.Task[None]") -> None:
    async for _ in processes.ticks(30.0, pause=0.05):
        if running.done():
            running.result()
        try:
            await asyncio.wait_for(house.as_institution("bank-1").channel_ready(), 0.5)
        except TimeoutError:
            continue
        return
    raise AssertionError("the gateway does not serve")


def _settings(authority: LocalCA, dsn: str, running: Mapping[str, Target]) -> GatewaySettings:
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
        "institutions_path": INSTITUTIONS,
        "body_bytes_max": 64 * 1024,
        "deadline_seconds": 20,
        "deadline_seconds_max": 40,
        "funds_address": f"127.0.0.1:{places.free_port()}",
        **nowhere,
        **{f"{noun}_address": target.address for noun, target in running.items()},
    }
    return GatewaySettings(**values)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def house() -> AsyncIterator[House]:
    """The gateway in this process, everything else as it is in a county."""
    machine = places.find()
    folder = machine.folder(f"test-{secrets.token_hex(6)}")
    authority = LocalCA(folder.private("ca"), "local")
    streams = topology.load(events_bytes_max=16 * MIB)
    nats = Nats(
        machine, folder, credentials=authority.service("nats"), env="local", streams=streams
    )
    postgres = Postgres(machine, folder, settings={"fsync": "off"})
    seen = Seen()
    try:
        await asyncio.gather(postgres.start(), nats.start())
        await nats.ensure_streams(authority.service("operator"))
        await postgres.prepare(["gateway"])
        await migrate.upgrade("gateway", "gateway", postgres.dsn("gateway", "owner"))
        async with targets(authority, seen) as running:
            dsn = postgres.dsn("gateway", "app")
            made = House(
                authority=authority,
                postgres=postgres,
                nats=nats,
                settings=_settings(authority, dsn, running),
                platform=PlatformSettings(
                    nats_url=nats.url,
                    nats_monitor_url=nats.monitor_url,
                    ca_path=authority.ca_path,
                    caller_public_key_path=authority.caller_keys().public,
                ),
                db=Database(dsn, "gateway", pool_size=4),
                seen=seen,
                targets=running,
            )
            task = asyncio.create_task(serve(made.settings, made.platform))
            try:
                await _eventually_serves(made, task)
                yield made
            finally:
                for one in made.channels.values():
                    await one.close()
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await made.db.close()
    finally:
        await nats.stop()
        await postgres.stop()
        await processes.remove_folder(folder)
