"""Three NATS servers of this machine, from the files of the manifests."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from nats.aio.client import Client

from deploy.kubernetes import secrets
from deploy.local.ca import LocalCA
from deploy.local.nats import connect
from deploy.local.places import Places, free_port
from deploy.nats import topology
from tests.eventually import eventually

CONF = Path(__file__).resolve().parents[1] / "deploy/kubernetes/base/nats-cluster.conf"
EVENTS_BYTES_MAX = 16 * 1024 * 1024


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
    def name(self) -> str:
        """What it calls itself."""
        return f"nats-{self.place}"

    @property
    def monitor_url(self) -> str:
        """Its monitoring pages."""
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
        """Start it; it finds the others by itself."""
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
        """End it at once."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def healthy(self) -> bool:
        """Whether it says that it is well."""
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
        """A connection to one of them; the caller closes it."""
        url = f"tls://localhost:{server.clients}"
        return await connect(url, self.authority.service(noun), noun)

    def other(self, than: Server) -> Server:
        """One of the other two."""
        return next(one for one in self.servers if one is not than)


@asynccontextmanager
async def cluster_of_three(machine: Places, folder: Path) -> AsyncIterator[Cluster]:
    """Start them, wait until all are well, and end them."""
    made = secrets.make(folder / "authority", env="local")
    (keys,) = (one for one in made if one["metadata"]["name"] == "nats-keys")
    files = {name: base64.b64decode(content) for name, content in keys["data"].items()}
    servers = [Server(place, folder / f"nats-{place}") for place in range(secrets.NATS_SERVERS)]
    program = machine.nats_server()
    try:
        for server in servers:
            server.write(files, servers)
            await server.start(program)
        for server in servers:
            await eventually(server.healthy, bool, seconds_max=60)
        yield Cluster(servers, LocalCA(folder / "authority", "local"), program)
    finally:
        for server in servers:
            await server.kill()
