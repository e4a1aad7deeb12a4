"""NATS as three servers, from the files of the manifests: events outlive the loss of any one."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from nats.aio.client import Client
from nats.errors import Error as NatsError

from deploy.kubernetes import secrets
from deploy.local.ca import LocalCA
from deploy.local.nats import connect
from deploy.local.places import Places, free_port
from deploy.nats import topology
from tests.eventually import eventually

pytestmark = pytest.mark.nats

CONF = Path(__file__).resolve().parents[2] / "deploy/kubernetes/base/nats-cluster.conf"
EVENTS_BYTES_MAX = 16 * 1024 * 1024
SUBJECT = "liandong.loans.v1.loan_repaid.123456"


@dataclass(slots=True)
class Server:
    """One of the three, on ports of its own."""

    place: int
    folder: Path
    clients: int = field(default_factory=free_port)
    peers: int = field(default_factory=free_port)
    monitor: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None

    @property
    def monitor_url(self) -> str:
        return f"http://127.0.0.1:{self.monitor}"

    def write(self, files: dict[str, bytes], servers: list["Server"]) -> None:
        """The files as a pod sees them; only names and ports are this machine's."""
        self.folder.mkdir()
        for name, content in files.items():
            (self.folder / name).write_bytes(content)
        text = CONF.read_text()
        for other in servers:
            route = f"nats-{other.place}.nats-peers:6222"
            assert route in text
            text = text.replace(route, f"localhost:{other.peers}")
        assert "0.0.0.0:6222" in text
        text = text.replace("0.0.0.0:6222", f"127.0.0.1:{self.peers}")
        (self.folder / "nats-cluster.conf").write_text(text)

    async def start(self, program: Path) -> None:
        self.process = await asyncio.create_subprocess_exec(
            str(program),
            *("--config", str(self.folder / "nats-cluster.conf")),
            env={
                "LIANDONG_NATS_NAME": f"nats-{self.place}",
                "LIANDONG_NATS_LISTEN": f"127.0.0.1:{self.clients}",
                "LIANDONG_NATS_MONITOR": f"127.0.0.1:{self.monitor}",
                "LIANDONG_NATS_CERT": str(self.folder / "cert.pem"),
                "LIANDONG_NATS_KEY": str(self.folder / "key.pem"),
                "LIANDONG_NATS_CA": str(self.folder / "ca.pem"),
                "LIANDONG_NATS_STORE": str(self.folder / "store"),
                "LIANDONG_NATS_FILE_BYTES_MAX": str(4 * EVENTS_BYTES_MAX),
            },
            stdout=asyncio.subprocess.DEVNULL,
            stderr=(self.folder / "log").open("wb"),
        )

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def healthy(self) -> bool:
        with contextlib.suppress(OSError):
            found = await topology.monitor(self.monitor_url, "/healthz")
            return found.get("status") == "ok"
        return False


@dataclass(frozen=True, slots=True)
class Cluster:
    """The three, and the authority that they know."""

    servers: list[Server]
    authority: LocalCA
    program: Path

    async def client(self, noun: str, server: Server) -> Client:
        url = f"tls://localhost:{server.clients}"
        return await connect(url, self.authority.service(noun), noun)


@pytest_asyncio.fixture(loop_scope="session")
async def cluster(machine: Places, tmp_path: Path) -> AsyncIterator[Cluster]:
    made = secrets.make(tmp_path / "authority", env="local")
    (keys,) = (one for one in made if one["metadata"]["name"] == "nats-keys")
    files = {name: base64.b64decode(content) for name, content in keys["data"].items()}
    servers = [Server(place, tmp_path / f"nats-{place}") for place in range(secrets.NATS_SERVERS)]
    program = machine.nats_server()
    found = Cluster(servers, LocalCA(tmp_path / "authority", "local"), program)
    try:
        for server in servers:
            server.write(files, servers)
            await server.start(program)
        for server in servers:
            await eventually(server.healthy, bool, seconds_max=60)
        yield found
    finally:
        for server in servers:
            await server.kill()


async def publish(client: Client) -> int:
    """An event's place in the stream, once the servers that are left have found a leader."""
    stream = client.jetstream(timeout=20)

    async def attempt() -> int:
        try:
            return (await stream.publish(SUBJECT, b"kept", timeout=5)).seq
        except NatsError:
            return 0

    return await eventually(attempt, bool, seconds_max=60)


async def test_events_outlive_the_loss_of_any_one_server(cluster: Cluster) -> None:
    streams = topology.load(events_bytes_max=EVENTS_BYTES_MAX, num_replicas=3)
    operator = await cluster.client("operator", cluster.servers[0])
    try:
        await topology.ensure_streams(
            operator.jetstream(timeout=20),
            monitor_url=cluster.servers[0].monitor_url,
            topology=streams,
        )
    finally:
        await operator.close()
    acknowledged: list[int] = []
    for lost in cluster.servers:
        left = next(one for one in cluster.servers if one is not lost)
        await lost.kill()
        loans = await cluster.client("loans", left)
        try:
            acknowledged.append(await publish(loans))
        finally:
            await loans.close()
        await lost.start(cluster.program)
        await eventually(lost.healthy, bool, seconds_max=60)

    operator = await cluster.client("operator", cluster.servers[0])
    try:
        state = (await operator.jetstream(timeout=20).stream_info("EVENTS")).state
        assert acknowledged == sorted(set(acknowledged))
        assert state.last_seq >= acknowledged[-1]
        assert state.messages >= len(acknowledged)
    finally:
        await operator.close()
