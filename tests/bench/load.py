"""The load generator: gRPC written frame by frame, so that it takes little of the machine."""

import argparse
import asyncio
import json
import ssl
import struct
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import uvloop

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 0x1, 0x1, 0x4
WINDOW_FIRST = 65_535
WINDOW_MAX = 2**31 - 1
FRAME_MAX = 16_384
ANSWER_SECONDS_MAX = 120.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a load."""

    answered: int
    refused: int
    began: float
    """When the first request went out, as the clock of the machine says."""
    seconds: float
    p50_ms: float
    p99_ms: float
    cpu_seconds: float
    """Of the generator itself."""


def write_bodies(path: Path, bodies: Iterable[bytes]) -> None:
    """Put serialised requests into a file, each behind its length."""
    path.write_bytes(b"".join(struct.pack(">I", len(body)) + body for body in bodies))


def read_bodies(path: Path) -> list[bytes]:
    """Read them back."""
    held = path.read_bytes()
    bodies, at = [], 0
    while at < len(held):
        (size,) = struct.unpack_from(">I", held, at)
        bodies.append(held[at + 4 : at + 4 + size])
        at += 4 + size
    return bodies


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which a share of the values lies; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def _text(value: str) -> bytes:
    """A string as HPACK takes it uncompressed."""
    raw = value.encode()
    if len(raw) < 127:
        return bytes([len(raw)]) + raw
    over = len(raw) - 127
    assert over < 2**14
    tail = bytes([over]) if over < 128 else bytes([over % 128 + 128, over // 128])
    return b"\x7f" + tail + raw


def header_block(authority: str, path: str, extra: Sequence[tuple[str, str]]) -> bytes:
    """The headers of every request: literals that enter no table, so always the same bytes."""
    plain = [("te", "trailers"), ("content-type", "application/grpc"), ("grpc-timeout", "60S")]
    return (
        b"\x83\x87"  # POST, https
        + (b"\x04" + _text(path))
        + (b"\x01" + _text(authority))
        + b"".join(b"\x00" + _text(name) + _text(value) for name, value in (*plain, *extra))
    )


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One HTTP/2 frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


class Load(asyncio.Protocol):
    """
    One connection that sends each body once.

    An answer that carries a message counts as answered; one of trailers alone was refused. What the
    answer says is not read: the books are held against one another afterwards.
    """

    def __init__(self, bodies: Sequence[bytes], block: bytes, at_once: int) -> None:
        self._left = iter(bodies)
        self._count = len(bodies)
        self._block = block
        self._at_once = at_once
        self._transport: Any = None
        self._held = bytearray()
        self._window = WINDOW_FIRST
        self._waiting: list[bytes] = []
        self._stream = -1
        self._sent_at: dict[int, float] = {}
        self._with_message: set[int] = set()
        self.seconds: list[float] = []
        self.refused = 0
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the server and open the windows wide: answers are never held back."""
        self._transport = transport
        settings = struct.pack(">HIHI", 0x2, 0, 0x4, WINDOW_MAX)
        wider = struct.pack(">I", WINDOW_MAX - WINDOW_FIRST)
        greeting = frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, wider)
        self._transport.write(PREFACE + greeting)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more will be answered."""
        if not self.finished.done():
            self.finished.set_exception(ConnectionError(f"the server closed the connection: {exc}"))

    def keep_busy(self) -> None:
        """Begin the closed loop: each answer sends the next request."""
        for _ in range(self._at_once):
            self.send_next()

    def send_next(self) -> None:
        """Send the next body, if one is left."""
        body = next(self._left, None)
        if body is not None:
            self._waiting.append(b"\0" + struct.pack(">I", len(body)) + body)
            self._send_waiting()

    def _send_waiting(self) -> None:
        while self._waiting and len(self._waiting[0]) <= self._window:
            message = self._waiting.pop(0)
            self._window -= len(message)
            self._stream += 2
            out = frame(HEADERS, END_HEADERS, self._stream, self._block)
            for at in range(0, len(message), FRAME_MAX):
                last = END_STREAM if at + FRAME_MAX >= len(message) else 0
                out += frame(DATA, last, self._stream, message[at : at + FRAME_MAX])
            self._sent_at[self._stream] = time.perf_counter()
            self._transport.write(out)

    def data_received(self, data: bytes) -> None:
        """Take whole frames; the rest waits for more."""
        held = self._held
        held += data
        at = 0
        while len(held) - at >= 9:
            size = int.from_bytes(held[at : at + 3], "big")
            if len(held) - at - 9 < size:
                break
            stream = int.from_bytes(held[at + 5 : at + 9], "big")
            self._take(held[at + 3], held[at + 4], stream, bytes(held[at + 9 : at + 9 + size]))
            at += 9 + size
        del held[:at]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == DATA and payload:
            self._with_message.add(stream)
        if kind in {DATA, HEADERS} and flags & END_STREAM:
            self._end(stream, good=stream in self._with_message)
        elif kind == RST_STREAM:
            self._end(stream, good=False)
        elif kind == WINDOW_UPDATE and stream == 0:
            self._window += int.from_bytes(payload, "big")
            self._send_waiting()
        elif kind in {SETTINGS, PING} and not flags & ACK:
            self._transport.write(frame(kind, ACK, 0, payload if kind == PING else b""))
        elif kind == GOAWAY:
            self.connection_lost(ConnectionError(f"GOAWAY {payload[8:]!r}"))

    def _end(self, stream: int, *, good: bool) -> None:
        sent_at = self._sent_at.pop(stream, None)
        if sent_at is None:
            return
        self._with_message.discard(stream)
        if good:
            self.seconds.append(time.perf_counter() - sent_at)
        else:
            self.refused += 1
        if self._at_once:
            self.send_next()
        if len(self.seconds) + self.refused == self._count and not self.finished.done():
            self.finished.set_result(None)


def _pace(count: int, rate: float, send: Callable[[], None]) -> None:
    """Send at a steady rate, whatever the answers do."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    for number in range(count):
        loop.call_at(begin + number / rate, send)


async def run(options: argparse.Namespace) -> Outcome:
    """Drive one method of one address with the bodies of a file."""
    tls = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=options.ca)
    tls.load_cert_chain(options.cert, options.key)
    tls.set_alpn_protocols(["h2"])
    host, _, port = options.address.rpartition(":")
    bodies = read_bodies(options.bodies)
    extra = [tuple(each.split("=", 1)) for each in options.header]
    block = header_block(options.address, options.method, extra)
    loop = asyncio.get_running_loop()
    at_once = 0 if options.rate else options.at_once
    _, load = await loop.create_connection(
        lambda: Load(bodies, block, at_once), host, int(port), ssl=tls
    )
    wall, began = time.time(), time.perf_counter()
    if options.rate:
        _pace(len(bodies), options.rate, load.send_next)
    else:
        load.keep_busy()
    bound = ANSWER_SECONDS_MAX + (len(bodies) / options.rate if options.rate else 0)
    await asyncio.wait_for(load.finished, bound)
    return Outcome(
        answered=len(load.seconds),
        refused=load.refused,
        began=wall,
        seconds=time.perf_counter() - began,
        p50_ms=1_000 * quantile(load.seconds, 0.50),
        p99_ms=1_000 * quantile(load.seconds, 0.99),
        cpu_seconds=time.process_time(),
    )


def main() -> None:
    """Read the command line, load, and say the outcome as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("address", "method"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("bodies", "ca", "cert", "key"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--rate", type=float, default=0.0)
    json.dump(asdict(uvloop.run(run(parser.parse_args()))), sys.stdout)


if __name__ == "__main__":
    main()
