"""Links: a connection that a trial can cut, stall or point elsewhere, in the way of any server."""

import asyncio
import random
import socket
import struct
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Self

CHUNK_BYTES = 64 * 1024
CONNECT_SECONDS_MAX = 5.0
_RESET = struct.pack("ii", 1, 0)


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection as a broken wire would: with a reset, nothing more is read or sent."""
    raw = writer.get_extra_info("socket")
    if raw is not None:
        with suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


class Link:
    """Passes bytes on to a port of this machine, until a trial spoils it."""

    def __init__(self, upstream: Callable[[], int]) -> None:
        self._upstream = upstream
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._passing: set[asyncio.Task[None]] = set()
        self.is_down = False
        """While it is, whoever connects is cut at once."""
        self.connections = 0
        self.cuts = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None, "never opened"
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def open_count(self) -> int:
        """How many connections pass now, counted at both ends."""
        return len(self._open)

    def aim(self, upstream: Callable[[], int]) -> None:
        """From here on it leads to another server."""
        self._upstream = upstream

    def cut(self) -> int:
        """Cut every connection; how many ends there were."""
        ends = list(self._open)
        for writer in ends:
            reset(writer)
        self.cuts += len(ends)
        return len(ends)

    async def keep_cutting(self, rng: random.Random, *, times: int, seconds_max: float) -> None:
        """Cut so many times, at random moments."""
        for _ in range(times):
            await asyncio.sleep(rng.uniform(0.1, seconds_max))
            self.cut()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        self._open.add(writer)
        self.connections += 1
        try:
            if not self.is_down:
                await self._serve(reader, writer)
        except (OSError, EOFError, TimeoutError):
            # Either end went away, which is what a link is there for.
            reset(writer)
        finally:
            self._open.discard(writer)
            writer.transport.abort()
            self._passing.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = asyncio.open_connection("127.0.0.1", self._upstream())
        there, there_writer = await asyncio.wait_for(upstream, CONNECT_SECONDS_MAX)
        self._open.add(there_writer)
        try:
            await both(_pass_on(reader, there_writer), _pass_on(there, writer))
        finally:
            self._open.discard(there_writer)
            there_writer.transport.abort()


async def both(*ways: Coroutine[Any, Any, None]) -> None:
    """Pass on in both directions until either ends."""
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for end in ended:
        if isinstance(end, Exception) and not isinstance(end, (OSError, EOFError)):
            raise end


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK_BYTES):
        writer.write(data)
        await writer.drain()
