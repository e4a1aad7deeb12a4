"""A synchronous standby of a county's PostgreSQL: made by a base backup, and promoted."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from deploy.local import places, processes
from deploy.local.places import DataFolder
from deploy.local.postgres import Postgres
from deploy.local.processes import launcher
from tests.eventually import eventually
from tests.faults.county import County
from tests.faults.harness import ask
from tests.faults.links import Link

NAME = "standby"
BACKUP_SECONDS_MAX = 120.0
ANSWERS = 4
ALONE_SECONDS = 3.0
ALONE_SECONDS_MAX = 60.0


class Standby:
    """A PostgreSQL that follows a county's, and may take its place."""

    def __init__(self, county: County, server: Postgres, link: Link) -> None:
        self._county = county
        self._link = link
        self._synchronous = True
        self.server = server

    async def follow(self, *, synchronous: bool) -> None:
        """Have the primary wait for us at every commit; a control does without."""
        self._synchronous = synchronous
        named = f"ANY 1 ({NAME})" if synchronous else ""
        await ask(self._county.stack, f"ALTER SYSTEM SET synchronous_standby_names = '{named}'")
        await ask(self._county.stack, "SELECT pg_reload_conf()")
        state = "quorum" if synchronous else "async"

        async def follows() -> bool:
            sql = "SELECT sync_state, state FROM pg_stat_replication"
            rows = [tuple(row) for row in await ask(self._county.stack, sql)]
            return rows == [(state, "streaming")]

        await eventually(follows, seconds_max=60)

    async def take_over(self) -> int:
        """
        The way between the two is cut, then the primary is lost; we are promoted, it is fenced.

        Its pid: no restart, and nobody's connection leads there any more.
        """
        stack = self._county.stack
        self._link.is_down = True
        self._link.cut()
        # What is committed now is nowhere else: a primary that waits for us answers nothing.
        patience = ALONE_SECONDS if self._synchronous else ALONE_SECONDS_MAX
        answered = await self._county.more_answered(ANSWERS, seconds_max=patience)
        assert self._synchronous or answered >= ANSWERS, "nothing was answered meanwhile"
        old = stack.plug_postgres
        pid = old.pid
        assert pid is not None
        old.power.clear()
        stack.base.is_down = True
        stack.base.cut()
        await old.kill()
        connection = await asyncpg.connect(self.server.superuser_dsn("postgres"))
        try:
            assert await connection.fetchval("SELECT pg_promote(true, 60)")
        finally:
            await connection.close()
        stack.postgres = self.server
        stack.base.aim(lambda: self.server.port)
        stack.base.is_down = False
        return pid


@asynccontextmanager
async def standby_of(county: County) -> AsyncIterator[Standby]:
    """A base backup of a county's PostgreSQL, started as its standby."""
    primary = county.stack.postgres
    machine = places.find()
    folder = machine.folder(f"faults-{secrets.token_hex(6)}")
    for name in ("postgres", *_secrets(county.stack.folder)):
        kept = county.stack.folder.secret(name)
        places.write_file(folder.private("secrets") / name, kept, mode=0o600)
    server = Postgres(machine, folder)
    try:
        async with Link(lambda: primary.port) as link:
            await _backup(primary, folder, link.port)
            await server.start()
            yield Standby(county, server, link)
    finally:
        await server.stop()
        await processes.remove_folder(folder)


def _secrets(folder: DataFolder) -> list[str]:
    return [path.name for path in folder.private("secrets").iterdir()]


async def _backup(primary: Postgres, folder: DataFolder, port: int) -> None:
    cluster = folder.served("postgres") / "cluster"
    password = primary.client_environment()["PGPASSWORD"]
    conninfo = (
        f"host=127.0.0.1 port={port} user=postgres password={password} application_name={NAME}"
    )
    process = await asyncio.create_subprocess_exec(
        *launcher(user=folder.user),
        str(primary.bin / "pg_basebackup"),
        *("-D", str(cluster), "-d", conninfo, "-X", "stream", "-R", "--checkpoint=fast"),
        env=primary.client_environment(),
        cwd=folder.served("postgres"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), BACKUP_SECONDS_MAX)
    assert process.returncode == 0, said.decode(errors="replace")
