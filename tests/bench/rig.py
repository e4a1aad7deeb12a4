"""The rig: a platform of its own, servers that the limits share with it, and what both cost."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import asyncpg

from deploy.demo.run import shape
from deploy.local import places
from deploy.local.postgres import Postgres
from deploy.local.processes import remove_folder
from deploy.local.stack import Stack
from deploy.nats import topology
from services.kernel import bus
from services.kernel.nats_client import LeanClient
from tests.servers import PostgresServer

FOLDER = "bench"
GIB = 1024 * 1024 * 1024
MADE_UP: Mapping[str, tuple[str, ...]] = {"barns": ("fields",)}
"""The limits' own nouns beside the platform's, on the same stream and servers."""
_SETTINGS = {
    # When a row was committed is then known to the server itself: no client stands in between.
    "track_commit_timestamp": "on",
}
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Rig:
    """A running platform and the servers under it."""

    stack: Stack
    postgres: PostgresServer

    async def connect(self, noun: str) -> LeanClient:
        """A NATS connection as a service makes it; the caller closes it."""
        own = self.stack.ca.service(noun)
        return await bus.connect(
            self.stack.nats.url, name=noun, ca_path=own.ca, cert_path=own.cert, key_path=own.key
        )

    @asynccontextmanager
    async def look(self) -> AsyncIterator[asyncpg.Connection]:
        """A superuser's connection to the platform's database: only to look."""
        connection = await asyncpg.connect(self.stack.postgres.superuser_dsn())
        try:
            await connection.execute("SET default_transaction_read_only = on")
            yield connection
        finally:
            await connection.close()

    def platform_cpu_seconds(self) -> float:
        """What the platform's processes have used so far."""
        pids = [self.stack.supervisor.pid(name) for name in self.stack.programs]
        return sum(cpu_seconds(pid) for pid in pids if pid is not None)


def cpu_seconds(pid: int) -> float:
    """Processor time of one process, of all its threads."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123 - not a file on a disk
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@asynccontextmanager
async def running(*, processes: bool = False) -> AsyncIterator[Rig]:
    """An empty platform, of one process or one per service; its folder is gone when all is over."""
    machine = places.find()
    folder = machine.folder(FOLDER)
    await remove_folder(folder)
    folder = machine.folder(FOLDER)
    held = topology.load(events_bytes_max=4 * GIB)
    said = [source for sources in MADE_UP.values() for source in sources]
    streams = replace(held, nouns=(*held.nouns, *MADE_UP, *said), hears={**held.hears, **MADE_UP})
    stack = Stack(machine, folder, replace(shape(processes=processes), streams=streams))
    stack.postgres = Postgres(machine, folder, settings=_SETTINGS)
    try:
        async with stack:
            yield Rig(stack, PostgresServer(stack.postgres.superuser_dsn("postgres")))
    finally:
        await remove_folder(folder)
