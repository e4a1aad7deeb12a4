"""What hinders a start: a port that somebody took, a program that never gets ready."""

import asyncio
import socket
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

from deploy.local.places import DataFolder
from tests.deploy.test_processes import eventually, is_alive


@contextmanager
def listening(port: int) -> Iterator[None]:
    """A stranger on a port."""
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", port))
        stranger.listen()
        yield


@dataclass(frozen=True, slots=True)
class TakenAtOnce(DataFolder):
    """A folder of which a stranger takes a server's port as soon as it was found free."""

    server: str = ""
    strangers: list[socket.socket] = field(default_factory=list)

    @classmethod
    @contextmanager
    def of(cls, folder: DataFolder, server: str) -> Iterator[Self]:
        """The folder, until the stranger goes away."""
        made = cls(path=folder.path, user=folder.user, server=server)
        try:
            yield made
        finally:
            for stranger in made.strangers:
                stranger.close()

    @property
    def taken(self) -> int:
        """The port that the stranger has."""
        port: int = self.strangers[0].getsockname()[1]
        return port

    def port(self, name: str) -> int:
        """Free when it was looked at, and then no more."""
        found = DataFolder.port(self, name)
        if name == self.server:
            # Bound and no more: who tries to connect is refused and need not wait.
            stranger = socket.socket()
            stranger.bind(("127.0.0.1", found))
            self.strangers.append(stranger)
        return found


def never_ready(running: Path) -> str:
    """Lines of a program that says that it runs and no more."""
    return f"echo $$ > {running}\nexec sleep 600\n"


def as_program(path: Path, lines: str) -> None:
    """A program that the servers' account may run."""
    path.write_text(f"#!/bin/sh\n{lines}")
    path.chmod(0o755)


async def given_up(work: Coroutine[Any, Any, Any], running: Path) -> None:
    """Cancel the work once its program runs; the program ends with it."""
    task = asyncio.create_task(work)
    said: list[str] = []

    def runs() -> bool:
        said[:] = running.read_text().split() if running.exists() else []
        return bool(said) or task.done()

    await eventually(runs)
    assert not task.done(), task.exception()
    pid = int(said[0])
    assert is_alive(pid)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert not is_alive(pid)


def free_again(folder: DataFolder, name: str) -> None:
    """The lock of a server can be taken."""
    lock = folder.lock(name)
    lock.take()
    lock.free()
