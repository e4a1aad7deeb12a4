"""The whole platform on one machine: servers, certificates, migrations, services, gateway."""

import asyncio
import os
import secrets
import signal
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Self

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from nats.aio.client import Client
from nats.errors import Error as NatsError

from deploy.local import console as consoles
from deploy.local.ca import Credentials, LocalCA
from deploy.local.nats import Nats, connect, read_feeds
from deploy.local.places import DataFolder, Places, write_file
from deploy.local.postgres import Postgres, archiving
from deploy.local.processes import Program, Supervisor
from deploy.local.remote import Remote
from deploy.local.spans import SpanSink, SpanStore
from deploy.nats.topology import Topology
from deploy.nats.users import PROBE_SUBJECT
from gateway import feed_channel
from services.kernel import process
from services.kernel.migrate import upgrade
from services.kernel.outbox import STREAM
from services.programmes.loader import load

SERVICES = ("households", "credit", "loans", "claims", "funds")
NOUNS = (*SERVICES, "gateway")
PUBLIC = "public"
"""The gateway's second address."""
PACKAGES = {noun: f"services.{noun}" for noun in SERVICES} | {"gateway": "gateway"}
POOL_SIZE = 10
START_SECONDS_MAX = 180.0
"""Of what takes seconds: a machine on which much else starts gives each its turn."""
STREAM_CHECK_SECONDS = 2.0
WRITE_CHECK_SECONDS = 5.0
WRITES_FAILED_MAX = 2

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Shape:
    """What is to run: which counties, in how many processes, with which bounds."""

    programme_folders: tuple[Path, ...]
    institutions_path: Path | None
    processes: bool = False
    """One process per service instead of one for all of them."""
    env: str = "local"
    trace_ratio_ppm: int = 2_000
    streams: Topology | None = None
    gateway_address: str = "127.0.0.1"
    wal_archive: Path | None = None
    """Where PostgreSQL's log is kept, so that a backup can be brought to any time after it."""
    console: bool = False
    """The web console too, in a process of its own."""


class Stack:
    """Start it, use the gateway at `gateway_address`, stop it; data stays in its folder."""

    def __init__(self, places: Places, folder: DataFolder, shape: Shape) -> None:
        self.folder = folder
        self.shape = shape
        self.ca = LocalCA(folder.private("certs"), shape.env)
        kept = shape.wal_archive
        self.postgres = Postgres(places, folder, settings=archiving(folder, kept) if kept else None)
        self.nats = Nats(
            places,
            folder,
            credentials=self.ca.service("nats"),
            env=shape.env,
            streams=shape.streams,
            feeds=read_feeds(self._feeds_path) or feed_channel.users(shape.env, ()),
        )
        self.supervisor = Supervisor()
        self.spans = SpanStore(consoles.spans_path(folder))
        self._sink = SpanSink(self.spans)
        self._watching: list[asyncio.Task[None]] = []
        # Read once: a port that we listen on ourselves would look taken.
        self._ports = {noun: folder.port(noun) for noun in (*NOUNS, PUBLIC, consoles.PORT)}
        self._metrics_ports = {name: folder.port(f"metrics-{name}") for name in self.programs}

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def gateway_address(self) -> str:
        """Host and port that institutions call."""
        return f"{self.shape.gateway_address}:{self._ports['gateway']}"

    @property
    def public_address(self) -> str:
        """Host and port that everybody calls, without a certificate."""
        return f"{self.shape.gateway_address}:{self._ports[PUBLIC]}"

    @property
    def console_url(self) -> str:
        """Where browsers find the console."""
        return f"http://127.0.0.1:{self._ports[consoles.PORT]}"

    def console_link(self, institution_id: str) -> str:
        """An address by which the first post of an institution comes in, once."""
        key = consoles.key_path(self.folder)
        return consoles.link(self.console_url, key, institution_id, f"{institution_id}-p1")

    @property
    def programs(self) -> tuple[str, ...]:
        """Names of the platform's own processes, for pid files and the fault harness."""
        return NOUNS if self.shape.processes else ("platform",)

    def institution(self, institution_id: str) -> Credentials:
        """The certificate of an institution, issued on demand."""
        return self.ca.institution(institution_id)

    async def start(self) -> None:
        """Servers, schemas, streams, then the platform; return when it serves."""
        try:
            await self.supervisor.start(self.postgres, self.nats)
            await self.postgres.prepare(NOUNS)
            for noun in NOUNS:
                await upgrade(PACKAGES[noun], noun, self.postgres.dsn(noun, "owner"))
            await self.nats.ensure_streams(self.ca.service("operator"))
            self._watching = [
                asyncio.create_task(self._keep_streams()),
                asyncio.create_task(self._keep_writable()),
                asyncio.create_task(self.nats.keep_feeds(self._feeds_path)),
            ]
            await self._sink.start()
            await self.supervisor.start(*self._programs())
            self._announce()
            if self.shape.console:
                await self.supervisor.start(self._console())
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop everything in reverse order; nothing is lost."""
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        self._watching = []
        await self.supervisor.stop()
        await self._sink.stop()
        self._pid_path.unlink(missing_ok=True)

    @property
    def _pid_path(self) -> Path:
        return self.folder.private("run") / "stack.pid"

    @property
    def _feeds_path(self) -> Path:
        """Where the gateway writes who is in the feeds' account on NATS."""
        return self.folder.private("feeds") / "users.json"

    def _announce(self) -> None:
        """Issue the institutions' certificates and say where the platform is."""
        catalogue = load(self.shape.programme_folders)
        for institution_id in catalogue.institutions:
            self.institution(institution_id)
        Remote(
            gateway=self.gateway_address,
            nats_url=self.nats.url,
            certificates=str(self.folder.private("certs")),
            env=self.shape.env,
            counties=catalogue.counties(),
            institutions={key: str(each.role) for key, each in catalogue.institutions.items()},
            console=self.console_url if self.shape.console else "",
            metrics=self.metrics,
        ).save(self.folder)
        write_file(self._pid_path, f"{os.getpid()}\n", mode=0o600)

    async def until_asked_to_stop(self) -> None:
        """Stay up until SIGTERM or SIGINT."""
        asked = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, asked.set)
        await asked.wait()

    async def _keep_streams(self) -> None:
        """A server that came up empty gets its stream back; the relays then fill it again."""
        operator = self.ca.service("operator")
        client = await connect(self.nats.url, operator, "operator", max_reconnect_attempts=-1)
        try:
            while True:
                process.heed_cancel()
                await asyncio.sleep(STREAM_CHECK_SECONDS)
                try:
                    if not await self.nats.has_streams(client):
                        log.warning("stream_missing")
                        await self.nats.ensure_streams(operator)
                except (OSError, TimeoutError, NatsError) as error:
                    log.info("streams_wait", error=type(error).__name__)
        finally:
            await client.close()

    async def _keep_writable(self) -> None:
        """
        Restart a server that takes no event in although it answers and its disk has room.

        A stream whose disk was full once stays so until its server starts anew; it says nothing of
        it, only its acknowledgements never come.
        """
        operator = self.ca.service("operator")
        client = await connect(self.nats.url, operator, "operator", max_reconnect_attempts=-1)
        failed = 0
        try:
            while True:
                process.heed_cancel()
                await asyncio.sleep(WRITE_CHECK_SECONDS)
                failed = 0 if await self._takes_in(client) else failed + 1
                if failed < WRITES_FAILED_MAX or not self.nats.has_room():
                    continue
                log.error("stream_stuck", restart=True)
                failed = 0
                # The supervisor starts it again.
                await self.nats.kill()
        finally:
            await client.close()

    async def _takes_in(self, client: Client) -> bool:
        """Whether the stream stores an event; False only when the server answers all else."""
        stream = client.jetstream(timeout=WRITE_CHECK_SECONDS)
        try:
            await stream.stream_info(STREAM)
        except (OSError, TimeoutError, NatsError):
            # It is away or has no stream: others see to that.
            return True
        try:
            ack = await stream.publish(PROBE_SUBJECT, b"", timeout=WRITE_CHECK_SECONDS)
            await stream.delete_msg(STREAM, ack.seq)
        except TimeoutError:
            log.warning("stream_takes_nothing")
            return False
        except (OSError, NatsError) as error:
            # An answer all the same, as of a stream that holds all that it may.
            log.info("stream_refuses", error=type(error).__name__)
        return True

    def _programs(self) -> Sequence[Program]:
        env = self.environment()
        if not self.shape.processes:
            return [self._program("platform", "deploy.local.platform", env, NOUNS)]
        return [self._program(noun, PACKAGES[noun], env, (noun,)) for noun in NOUNS]

    @property
    def metrics(self) -> dict[str, str]:
        """Where each of the platform's processes tells its metrics."""
        return {name: f"127.0.0.1:{self._metrics_ports[name]}" for name in self.programs}

    def _program(
        self, name: str, module: str, env: Mapping[str, str], nouns: Sequence[str]
    ) -> Program:
        async def ready() -> bool:
            # One after the other and no further than needed: who asks takes time from who starts.
            for noun in nouns:
                if not await self._serves(noun):
                    return False
            return True

        return Program(
            name=name,
            argv=[sys.executable, "-m", module],
            env={**env, "LIANDONG_METRICS_PORT": str(self._metrics_ports[name])},
            folder=self.folder,
            ready=ready,
            start_seconds_max=START_SECONDS_MAX,
        )

    def _console(self) -> Program:
        """The console: a client like any institution's system, so it is told no database."""
        port = self._ports[consoles.PORT]

        async def ready() -> bool:
            return await asyncio.to_thread(_answers, f"{self.console_url}/healthz")

        return Program(
            name="console",
            argv=[sys.executable, "-m", "deploy.local.console"],
            env=consoles.environment(
                self.folder,
                port=port,
                gateway=self.gateway_address,
                public=self.public_address,
                common=self.environment(),
            ),
            folder=self.folder,
            ready=ready,
            start_seconds_max=60.0,
        )

    async def _serves(self, noun: str) -> bool:
        # Refused while it starts, at a hundredth of what a channel with certificates costs.
        _, writer = await asyncio.open_connection("127.0.0.1", self._ports[noun])
        writer.close()
        operator = self.ca.service("operator")
        credentials = grpc.ssl_channel_credentials(
            operator.ca.read_bytes(), operator.key.read_bytes(), operator.cert.read_bytes()
        )
        address = f"127.0.0.1:{self._ports[noun]}"
        async with grpc.aio.secure_channel(address, credentials) as channel:
            try:
                answer = await health_pb2_grpc.HealthStub(channel).Check(  # type: ignore[attr-defined]
                    health_pb2.HealthCheckRequest(), timeout=2
                )
            except grpc.aio.AioRpcError:
                return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def environment(self) -> dict[str, str]:
        """What the platform's processes are told, in one environment for all of them."""
        keys = self.ca.caller_keys()
        feeds = self.ca.service(feed_channel.WRITER)
        env = {name: value for name, value in os.environ.items() if name in _PASSED_ON}
        env |= {
            "LIANDONG_ENV": self.shape.env,
            "LIANDONG_NATS_URL": self.nats.url,
            "LIANDONG_NATS_MONITOR_URL": self.nats.monitor_url,
            "LIANDONG_CA_PATH": str(self.ca.ca_path),
            "LIANDONG_CALLER_PUBLIC_KEY_PATH": str(keys.public),
            "LIANDONG_OTLP_ENDPOINT": self._sink.endpoint,
            "LIANDONG_TRACE_RATIO_PPM": str(self.shape.trace_ratio_ppm),
            "LIANDONG_PROGRAMMES_DIRS": ":".join(map(str, self.shape.programme_folders)),
            "GATEWAY_CALLER_PRIVATE_KEY_PATH": str(keys.private),
            # One machine's platform is for trying things out; production names none of these.
            "GATEWAY_UNREGISTERED_CERTIFICATES": "true",
            "GATEWAY_WITHOUT_CONTRACT": "true",
            "GATEWAY_PERSON_METADATA": "true",
            "GATEWAY_LIMITS": '{"times": 1000}',
            "GATEWAY_PUBLIC_ADDRESS": self.public_address,
            "GATEWAY_LOG_PRIVATE_KEY_PATH": str(self.ca.log_keys().private),
            "GATEWAY_FEEDS_CERT_PATH": str(feeds.cert),
            "GATEWAY_FEEDS_KEY_PATH": str(feeds.key),
            "GATEWAY_FEEDS_USERS_PATH": str(self._feeds_path),
            "GATEWAY_ARCHIVE_PATH": str(self.folder.private("archive")),
            "HOUSEHOLDS_DATA_KEY_PATH": str(self._key("households-data")),
            "HOUSEHOLDS_LOOKUP_KEY_PATH": str(self._key("households-lookup")),
        }
        if self.shape.institutions_path is not None:
            env["GATEWAY_INSTITUTIONS_PATH"] = str(self.shape.institutions_path)
        for noun in NOUNS:
            made = self.ca.service(noun)
            host = self.shape.gateway_address if noun == "gateway" else "127.0.0.1"
            prefix = noun.upper()
            env |= {
                f"{prefix}_DATABASE_URL": self.postgres.dsn(noun, "app"),
                f"{prefix}_GRPC_ADDRESS": f"{host}:{self._ports[noun]}",
                f"{prefix}_CERT_PATH": str(made.cert),
                f"{prefix}_KEY_PATH": str(made.key),
                f"{prefix}_POOL_SIZE": str(POOL_SIZE),
            }
            if noun != "gateway":
                env[f"GATEWAY_{prefix}_ADDRESS"] = f"127.0.0.1:{self._ports[noun]}"
        return env

    def _key(self, name: str) -> Path:
        """A key of 32 bytes that is made once and stays with the data."""
        path = self.folder.private("keys") / f"{name}.key"
        if not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(32))
        return path


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own address
            return bool(answer.status == HTTPStatus.OK)
    except OSError:
        return False


_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "VIRTUAL_ENV", "TMPDIR")
