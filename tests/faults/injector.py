"""The injector: stands between services and NATS, speaks its protocol, and spoils what passes."""

import asyncio
import json
import random
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from cryptography import x509

from deploy.local.ca import Credentials, LocalCA
from services.kernel.outbox import STREAM
from tests.faults.links import CONNECT_SECONDS_MAX, Link, both

WINDOW_SECONDS = 0.3
"""How long a window waits to be full before it is given on, shuffled."""

_DELIVERY = re.compile(rb"^HMSG \S+ \S+ (\$JS\.ACK\.(?:\S+\.)?" + STREAM.encode() + rb"\.\S+) ")
_ACK = re.compile(rb"^PUB \$JS\.ACK\.")
_PUBLISHED = re.compile(rb"^MSG \S*_INBOX\S* \S+ (\d+)\r\n(\{.*)$", re.DOTALL)
_SIZED = (b"MSG ", b"HMSG ", b"PUB ", b"HPUB ")


@dataclass(slots=True)
class Spoil:
    """What is done to what passes, in parts of a million."""

    doubled_ppm: int = 0
    """Deliveries that come twice, the second a little later."""
    dropped_ppm: int = 0
    """Deliveries that never arrive; the server gives them again when nobody has acknowledged."""
    delayed_ppm: int = 0
    delay_seconds_max: float = 0.0
    window: int = 0
    """Deliveries that are collected and given on in a random order."""
    acks_dropped_ppm: int = 0
    """Acknowledgements of consumers that the server never hears: the crash after the commit."""
    publish_acks_dropped_ppm: int = 0
    """Answers to relays that they never hear: the event is stored and they do not know it."""


@dataclass(slots=True)
class Spoiled:
    """What was done, counted: a trial in which nothing happened shows nothing."""

    passed: int = 0
    doubled: int = 0
    dropped: int = 0
    delayed: int = 0
    shuffled: int = 0
    acks_dropped: int = 0
    publish_acks_dropped: int = 0


class Injector(Link):
    """
    Ends each service's TLS with the server's certificate and begins its own with the service's.

    The user on NATS is the certificate, and the local authority gives the trial any of them.
    """

    def __init__(
        self,
        upstream: Callable[[], int],
        *,
        authority: Callable[[], LocalCA],
        seed: int = 0,
    ) -> None:
        super().__init__(upstream)
        self._authority = authority
        self._rng = random.Random(seed)
        self._late: set[asyncio.Task[None]] = set()
        self.spoil = Spoil()
        self.counts = Spoiled()

    def start(self, spoil: Spoil, *, seed: int) -> Spoiled:
        """Spoil from here on, by a seed; the counts begin at nothing."""
        self._rng = random.Random(seed)
        self.spoil, self.counts = spoil, Spoiled()
        return self.counts

    def rest(self) -> None:
        """Spoil nothing more."""
        self.spoil = Spoil()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = asyncio.open_connection("127.0.0.1", self._upstream())
        there, there_writer = await asyncio.wait_for(upstream, CONNECT_SECONDS_MAX)
        self._open.add(there_writer)
        try:
            info = json.loads((await there.readline()).partition(b" ")[2])
            # Nobody is to find a way round us.
            info.pop("connect_urls", None)
            writer.write(b"INFO " + json.dumps(info).encode() + b"\r\n")
            server = self._authority().service("nats")
            await writer.start_tls(_serving(server))
            own = self._authority().service(_noun(writer))
            await there_writer.start_tls(own.client_context(), server_hostname="127.0.0.1")
            deliveries = _Deliveries(self, writer)
            await both(
                self._to_server(reader, there_writer), self._to_service(there, writer, deliveries)
            )
        finally:
            self._open.discard(there_writer)
            there_writer.transport.abort()

    async def _to_server(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            frame = await _frame(reader)
            if _ACK.match(frame) and self.hits(self.spoil.acks_dropped_ppm):
                self.counts.acks_dropped += 1
                continue
            writer.write(frame)
            await writer.drain()

    async def _to_service(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        deliveries: "_Deliveries",
    ) -> None:
        while True:
            frame = await _frame(reader)
            if _DELIVERY.match(frame):
                deliveries.take(frame)
            elif self._is_publish_ack(frame) and self.hits(self.spoil.publish_acks_dropped_ppm):
                self.counts.publish_acks_dropped += 1
            else:
                writer.write(frame)
            await writer.drain()

    @staticmethod
    def _is_publish_ack(frame: bytes) -> bool:
        found = _PUBLISHED.match(frame)
        return found is not None and b'"stream":' in found[2] and b'"seq":' in found[2]

    def hits(self, ppm: int) -> bool:
        """Whether this one is spoilt."""
        return ppm > 0 and self._rng.randrange(1_000_000) < ppm

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something after a while, unless the trial ends before."""

        async def wait() -> None:
            await asyncio.sleep(seconds)
            do()

        task = asyncio.create_task(wait())
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    def uniform(self, seconds_max: float) -> float:
        """A random while."""
        return self._rng.uniform(0.0, seconds_max)

    def shuffle(self, frames: list[bytes]) -> None:
        """Put frames into a random order."""
        self._rng.shuffle(frames)


class _Deliveries:
    """The events on their way to one service."""

    def __init__(self, injector: Injector, writer: asyncio.StreamWriter) -> None:
        self._injector = injector
        self._writer = writer
        self._window: list[bytes] = []

    def take(self, frame: bytes) -> None:
        """One event has come from the server."""
        injector, spoil, counts = self._injector, self._injector.spoil, self._injector.counts
        counts.passed += 1
        if injector.hits(spoil.dropped_ppm):
            counts.dropped += 1
            return
        if injector.hits(spoil.doubled_ppm):
            counts.doubled += 1
            injector.later(injector.uniform(WINDOW_SECONDS), lambda: self._give(frame))
        if injector.hits(spoil.delayed_ppm):
            counts.delayed += 1
            injector.later(injector.uniform(spoil.delay_seconds_max), lambda: self._give(frame))
        elif spoil.window:
            if not self._window:
                injector.later(WINDOW_SECONDS, self._open)
            self._window.append(frame)
            if len(self._window) >= spoil.window:
                self._open()
        else:
            self._give(frame)

    def _open(self) -> None:
        frames, self._window = self._window, []
        before = list(frames)
        self._injector.shuffle(frames)
        moved = sum(left is not right for left, right in zip(before, frames, strict=True))
        self._injector.counts.shuffled += moved
        for frame in frames:
            self._give(frame)

    def _give(self, frame: bytes) -> None:
        if not self._writer.transport.is_closing():
            self._writer.write(frame)


async def _frame(reader: asyncio.StreamReader) -> bytes:
    """One whole frame of the protocol, with its payload."""
    line = await reader.readline()
    if not line.endswith(b"\r\n"):
        raise EOFError
    if not line.startswith(_SIZED):
        return line
    size = int(line.rsplit(b" ", 1)[-1])
    return line + await reader.readexactly(size + 2)


def _noun(writer: asyncio.StreamWriter) -> str:
    """Whose certificate the other end showed."""
    found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    names = x509.load_der_x509_certificate(found).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    (uri,) = names.value.get_values_for_type(x509.UniformResourceIdentifier)
    return str(uri).rsplit("/", 1)[-1]


def _serving(own: Credentials) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(own.ca))
    context.load_cert_chain(own.cert, own.key)
    context.verify_mode = ssl.CERT_REQUIRED
    return context
