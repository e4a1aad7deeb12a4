"""Real servers for tests: named by address, in containers, or from the wheels; all used alike."""

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from deploy import postgres as files
from deploy.local import places, processes
from deploy.local.ca import Credentials, LocalCA
from deploy.local.nats import Nats
from deploy.local.nats import connect as connect_operator
from deploy.local.postgres import Postgres
from deploy.nats import topology
from deploy.nats.topology import Topology
from deploy.nats.users import write_server_files
from services.kernel import bus, migrate
from services.kernel.database import Database
from services.kernel.nats_client import LeanClient
from tests import reuse
from tests.eventually import eventually

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

DSN_VARIABLE = "LIANDONG_TEST_DSN"
"""Address of a superuser of a PostgreSQL 18 that the tests may fill; it wins over all else."""
ENV = "local"
MADE_UP: Mapping[str, tuple[str, ...]] = {"barns": ("fields",)}
"""Who hears whom among the nouns of tests/kernel, which knows no service."""
MIB = 1024 * 1024
POSTGRES_IMAGES = ("postgres:18", "postgres:18-alpine", "postgres:18-bookworm")
NATS_IMAGES = ("nats:2.15", "nats:2.15-alpine", "nats:2.15.1", "nats:2.15.1-alpine")

QUICK: Mapping[str, str] = {"fsync": "off", "scram_iterations": "1"}
"""Settings of a PostgreSQL that outlives no power cut and guards nothing from anybody."""
_PASSWORD = "only-for-tests"
_STARTER = "liandong.tests.pid"
"""Label of our containers: the process that stops them."""
_DAEMON_SECONDS_MAX = 2
_DROP = 'DROP DATABASE "{database}" WITH (FORCE)'
_OPEN = """
REVOKE ALL ON DATABASE "{database}" FROM PUBLIC;
GRANT CONNECT ON DATABASE "{database}" TO "{noun}_owner", "{noun}_app";
GRANT TEMPORARY ON DATABASE "{database}" TO "{noun}_owner", "{noun}_app";
ALTER ROLE "{noun}_owner" IN DATABASE "{database}" SET search_path = "{noun}";
ALTER ROLE "{noun}_app" IN DATABASE "{database}" SET search_path = "{noun}";
"""


def image_at_hand(names: tuple[str, ...]) -> str:
    """The first of these images that a running daemon already has; empty when there is none."""
    # Imported late: most sessions need no daemon.
    import docker  # type: ignore[import-untyped]
    from docker.errors import DockerException  # type: ignore[import-untyped]

    try:
        daemon = docker.from_env(timeout=_DAEMON_SECONDS_MAX)
        held = {tag for image in daemon.images.list() for tag in image.tags}
    except DockerException:
        return ""
    return next((name for name in names if name in held), "")


@asynccontextmanager
async def _running(container: "DockerContainer") -> AsyncIterator[None]:
    from testcontainers.core.config import testcontainers_config

    # Its helper container would be one more image to have; we stop what we start.
    testcontainers_config.ryuk_disabled = True
    container.with_kwargs(labels={_STARTER: str(os.getpid())})
    await asyncio.to_thread(_remove_left_behind)
    await asyncio.to_thread(container.start)
    try:
        yield
    finally:
        await asyncio.to_thread(container.stop)


def _remove_left_behind() -> None:
    """Remove the containers of sessions that were killed."""
    import docker

    for container in docker.from_env().containers.list(all=True, filters={"label": _STARTER}):
        if not Path("/proc", container.labels[_STARTER]).exists():
            container.remove(force=True, v=True)


# --- PostgreSQL -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A PostgreSQL, known by the address of its superuser."""

    dsn: str
    outlives_us: bool = False
    """Whether it was there before the session and has to be left as it was."""

    def dsn_of(self, database: str, *, user: str = "") -> str:
        """The address of one of its databases, for the superuser or for a role of a noun."""
        parts = urlsplit(self.dsn)
        who = f"{user}:{_PASSWORD}" if user else parts.netloc.rsplit("@", 1)[0]
        return f"postgresql://{who}@{parts.netloc.rsplit('@', 1)[-1]}/{database}"

    async def run(self, *scripts: str) -> None:
        """Run scripts one after the other as the superuser."""
        connection = await asyncpg.connect(self.dsn_of("postgres"))
        try:
            for script in scripts:
                await connection.execute(script)
        finally:
            await connection.close()

    async def run_file(self, path: Path, database: str, values: Mapping[str, str]) -> None:
        """Run one of deploy's scripts; psql comes with the wheel, wherever the server is."""
        process = await asyncio.create_subprocess_exec(
            str(places.find().postgres_install() / "bin" / "psql"),
            *("-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(path), self.dsn_of(database)),
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", **values},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), 60)
        if process.returncode != 0:
            raise RuntimeError(f"{path.name}: {output.decode(errors='replace')}")


@asynccontextmanager
async def postgres_from_wheel(**settings: str) -> AsyncIterator[Postgres]:
    """A PostgreSQL of one's own, whose process id is known: for tests that kill it."""
    machine = places.find()
    folder = machine.folder(f"test-{secrets.token_hex(6)}")
    server = Postgres(machine, folder, settings=settings)
    try:
        await server.start()
        yield server
    finally:
        if server.pid is not None:
            # At once: a clean stop would write out what is deleted next.
            os.kill(server.pid, signal.SIGQUIT)
            await server.wait()
        await server.stop()
        await processes.remove_folder(folder)


@asynccontextmanager
async def any_postgres() -> AsyncIterator[PostgresServer]:
    """The session's PostgreSQL: the one that is named, else a container, else the wheel."""
    if named := os.environ.get(DSN_VARIABLE):
        yield PostgresServer(named, outlives_us=True)
        return
    if image := await asyncio.to_thread(image_at_hand, POSTGRES_IMAGES):
        from testcontainers.core.container import DockerContainer

        container = DockerContainer(image)
        container.with_env("POSTGRES_PASSWORD", _PASSWORD).with_exposed_ports(5432)
        # Nothing here survives the session, so nothing needs the disk.
        container.with_command("postgres -c fsync=off -c max_connections=200")
        async with _running(container):
            port = container.get_exposed_port(5432)
            server = PostgresServer(f"postgresql://postgres:{_PASSWORD}@127.0.0.1:{port}/postgres")
            await eventually(lambda: _answers(server), seconds_max=60)
            yield server
        return
    async with postgres_from_wheel(**QUICK) as wheel:
        yield PostgresServer(wheel.superuser_dsn("postgres"))


async def _answers(server: PostgresServer) -> bool:
    try:
        await server.run("SELECT 1")
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
    return True


def walls_switched(*, on: bool) -> str:
    """A superuser's script for one database: row-level security of every table off, or on again."""
    word = "ENABLE" if on else "DISABLE"
    return f"""
    DO $$
    DECLARE found record;
    BEGIN
        FOR found IN SELECT DISTINCT schemaname, tablename FROM pg_policies LOOP
            EXECUTE format('ALTER TABLE %I.%I {word} ROW LEVEL SECURITY',
                           found.schemaname, found.tablename);
        END LOOP;
    END $$"""


@dataclass(slots=True)
class _Onlooker:
    """A superuser's connection that is kept: a login takes longer than most questions."""

    dsn: str
    schema: str
    _connection: "asyncpg.Connection[Any] | None" = None
    _alone: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def ask(self, sql: str, *args: object) -> list[asyncpg.Record]:
        async with self._alone:
            return await (await self._open()).fetch(sql, *args)

    async def remember(self) -> reuse.Original:
        """What the database is before it is used."""
        async with self._alone:
            return await reuse.remember(await self._open())

    async def put_back(self, original: reuse.Original) -> bool:
        """Empty the database; whether that could be done."""
        async with self._alone:
            return await reuse.put_back(await self._open(), original)

    async def _open(self) -> "asyncpg.Connection[Any]":
        if self._connection is None or self._connection.is_closed():
            self._connection = await _connected(self.dsn, self.schema)
        return self._connection

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()


@dataclass(frozen=True, slots=True)
class Schema:
    """One noun's freshly migrated database, and the service's own way into it."""

    noun: str
    name: str
    server: PostgresServer
    db: Database
    onlooker: _Onlooker

    @property
    def app_dsn(self) -> str:
        """The address that the service is given."""
        return self.server.dsn_of(self.name, user=f"{self.noun}_app")

    @property
    def owner_dsn(self) -> str:
        """The address of the role that migrates."""
        return self.server.dsn_of(self.name, user=f"{self.noun}_owner")

    async def ask(self, sql: str, *args: object) -> list[asyncpg.Record]:
        """Rows as a superuser sees them."""
        return await self.onlooker.ask(sql, *args)

    async def ask_as_app(self, sql: str, *args: object) -> list[asyncpg.Record]:
        """Rows as the service may see them, on a connection of its own."""
        return await _ask(self.app_dsn, self.noun, sql, *args)

    async def one(self, sql: str, *args: object) -> Any:
        """The single value of a query."""
        ((value,),) = await self.ask(sql, *args)
        return value

    async def another_database(self, *, pool_size: int = 4) -> Database:
        """A second process's way in; the caller closes it."""
        return Database(self.app_dsn, self.noun, pool_size=pool_size)


async def _connected(dsn: str, schema: str) -> "asyncpg.Connection[Any]":
    return await asyncpg.connect(dsn, server_settings={"search_path": schema})


async def _ask(dsn: str, schema: str, sql: str, *args: object) -> list[asyncpg.Record]:
    connection = await _connected(dsn, schema)
    try:
        return await connection.fetch(sql, *args)
    finally:
        await connection.close()


@dataclass(slots=True)
class Schemas:
    """Hands out migrated databases: a noun is migrated once, then copied; copies are used again."""

    server: PostgresServer
    _prefix: str = field(default_factory=lambda: f"test_{secrets.token_hex(4)}")
    _numbers: Iterator[int] = field(default_factory=count)
    _templates: dict[str, str] = field(default_factory=dict)
    _originals: dict[str, reuse.Original] = field(default_factory=dict)
    _idle: dict[str, list[str]] = field(default_factory=dict)
    _onlookers: dict[str, _Onlooker] = field(default_factory=dict)
    _made: list[Schema] = field(default_factory=list)
    _alone: asyncio.Lock = field(default_factory=asyncio.Lock)

    def apart(self) -> "Schemas":
        """Another hand for the same originals: what it gives stays until it is emptied itself."""
        return replace(self, _made=[])

    async def fresh(self, noun: str, *, package: str = "", pool_size: int = 4) -> Schema:
        """A database of a noun with nothing in it but its tables and this month's partition."""
        async with self._alone:
            idle = self._idle.setdefault(noun, [])
            name = idle.pop() if idle else await self._copied(noun, package)
            onlooker = self._onlookers.setdefault(name, _Onlooker(self.server.dsn_of(name), noun))
            if noun not in self._originals:
                self._originals[noun] = await onlooker.remember()
        url = self.server.dsn_of(name, user=f"{noun}_app")
        db = Database(url, noun, pool_size=pool_size)
        made = Schema(noun, name, self.server, db, onlooker)
        self._made.append(made)
        return made

    async def empty(self) -> None:
        """Take back what was handed out, and drop what is not as it was."""
        made, self._made = self._made, []
        for one in made:
            await one.db.close()
            if await one.onlooker.put_back(self._originals[one.noun]):
                self._idle[one.noun].append(one.name)
            else:
                await self._onlookers.pop(one.name).close()
                await self.server.run(_DROP.format(database=one.name))

    async def close(self) -> None:
        """Drop everything on a server that was named to us, but for its roles; ours goes itself."""
        made, self._made = self._made, []
        for one in made:
            await one.db.close()
        for onlooker in self._onlookers.values():
            await onlooker.close()
        if not self.server.outlives_us:
            return
        names = [one.name for one in made]
        names += [*chain.from_iterable(self._idle.values()), *self._templates.values()]
        self._idle.clear()
        await self.server.run(*(_DROP.format(database=name) for name in names))

    async def _copied(self, noun: str, package: str) -> str:
        if noun not in self._templates:
            default = "gateway" if noun == "gateway" else f"services.{noun}"
            self._templates[noun] = await self._migrated(noun, package or default)
        name = f"{self._prefix}_{noun}_{next(self._numbers)}"
        create = f'CREATE DATABASE "{name}" TEMPLATE "{self._templates[noun]}"'
        # Without fsync copying files is four times quicker than logging their blocks.
        create += " STRATEGY FILE_COPY"
        await self.server.run(create, _OPEN.format(database=name, noun=noun))
        return name

    async def _migrated(self, noun: str, package: str) -> str:
        name = f"{self._prefix}_{noun}"
        await self.server.run_file(files.DATABASE_SQL, "postgres", {"LIANDONG_DATABASE": name})
        values = {
            "LIANDONG_NOUN": noun,
            "LIANDONG_OWNER_PASSWORD": _PASSWORD,
            "LIANDONG_APP_PASSWORD": _PASSWORD,
        }
        await self.server.run_file(files.NOUN_SQL, name, values)
        owner = self.server.dsn_of(name, user=f"{noun}_owner")
        await migrate.upgrade(package, noun, owner)
        months = "SELECT ensure_outbox_partition((date_trunc('month', now()) + m)::date)"
        both = "(VALUES (interval '0'), (interval '1 month')) AS ahead (m)"
        await _ask(owner, noun, f"{months} FROM {both}")
        return name


# --- NATS -----------------------------------------------------------------------------------------


def small_topology() -> Topology:
    """Our stream and durables, small and quick, with the made-up nouns beside ours."""
    found = topology.load(events_bytes_max=64 * MIB)
    said = (source for sources in MADE_UP.values() for source in sources)
    nouns = dict.fromkeys((*found.nouns, *MADE_UP, *said))
    hears = {**found.hears, **MADE_UP}
    return replace(found, nouns=tuple(nouns), hears=hears, ack_wait_seconds=2)


@dataclass(frozen=True, slots=True)
class NatsServer:
    """A NATS with our configuration: mutual TLS, users by certificate, every ack on disk."""

    url: str
    monitor_url: str
    certificates: LocalCA
    streams: Topology

    async def connect(self, noun: str) -> LeanClient:
        """A connection as a service makes it; the caller closes it."""
        own = self.certificates.service(noun)
        return await bus.connect(
            self.url, name=noun, ca_path=own.ca, cert_path=own.cert, key_path=own.key
        )

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[Client]:
        """A connection that may do anything to the stream."""
        client = await connect_operator(self.url, self.certificates.service("operator"), "operator")
        try:
            yield client
        finally:
            await client.close()

    async def ensure_streams(self) -> None:
        """Bring the server to the topology."""
        async with self.operator() as client:
            await topology.ensure_streams(
                client.jetstream(), monitor_url=self.monitor_url, topology=self.streams
            )

    async def empty(self) -> None:
        """Delete the stream with all its messages and durables, and make it anew."""
        async with self.operator() as client:
            with suppress(NotFoundError):
                await client.jetstream().delete_stream(self.streams.stream.name)
        await self.ensure_streams()


@asynccontextmanager
async def nats_from_wheel(certificates: LocalCA, streams: Topology) -> AsyncIterator[Nats]:
    """A NATS of one's own, whose process id and files are known: for tests that kill it."""
    machine = places.find()
    folder = machine.folder(f"test-{secrets.token_hex(6)}")
    credentials = certificates.service("nats")
    server = Nats(machine, folder, credentials=credentials, env=ENV, streams=streams)
    try:
        await server.start()
        await server.ensure_streams(certificates.service("operator"))
        yield server
    finally:
        await server.stop()
        await processes.remove_folder(folder)


def as_server(wheel: Nats, certificates: LocalCA, streams: Topology) -> NatsServer:
    """A server from the wheel, as tests use any other."""
    return NatsServer(wheel.url, wheel.monitor_url, certificates, streams)


@asynccontextmanager
async def any_nats(
    certificates: LocalCA, streams: Topology, folder: Path
) -> AsyncIterator[NatsServer]:
    """The session's NATS: a container with our configuration, else the wheel."""
    image = await asyncio.to_thread(image_at_hand, NATS_IMAGES)
    if not image:
        async with nats_from_wheel(certificates, streams) as wheel:
            yield as_server(wheel, certificates, streams)
        return
    container = _nats_container(image, certificates.service("nats"), streams, folder)
    async with _running(container):
        server = NatsServer(
            f"tls://127.0.0.1:{container.get_exposed_port(4222)}",
            f"http://127.0.0.1:{container.get_exposed_port(8222)}",
            certificates,
            streams,
        )
        await eventually(lambda: _is_healthy(server), seconds_max=60)
        await server.ensure_streams()
        yield server


async def _is_healthy(server: NatsServer) -> bool:
    try:
        return (await topology.monitor(server.monitor_url, "/healthz")).get("status") == "ok"
    except OSError:
        return False


def _nats_container(
    image: str, own: Credentials, streams: Topology, folder: Path
) -> "DockerContainer":
    from testcontainers.core.container import DockerContainer

    write_server_files(folder, streams, env=ENV, mode=0o644)
    for name, source in (("cert.pem", own.cert), ("key.pem", own.key), ("ca.pem", own.ca)):
        places.write_file(folder / name, source.read_text(), mode=0o644)
    container = DockerContainer(image).with_exposed_ports(4222, 8222)
    container.with_volume_mapping(str(folder), "/etc/liandong", "ro")
    container.with_command("-c /etc/liandong/nats-server.conf")
    values = {
        "NAME": "liandong-test",
        "LISTEN": "0.0.0.0:4222",
        "MONITOR": "0.0.0.0:8222",
        "CERT": "/etc/liandong/cert.pem",
        "KEY": "/etc/liandong/key.pem",
        "CA": "/etc/liandong/ca.pem",
        "STORE": "/data",
        "FILE_BYTES_MAX": str(streams.stream.max_bytes + 256 * MIB),
    }
    for name, value in values.items():
        container.with_env(f"LIANDONG_NATS_{name}", value)
    return container
