"""
Platforms for tests, each on a folder of its own that begins as a first start leaves one.

Making and migrating a database takes as long as all the rest of a start, so it is done once.
"""

import asyncio
import atexit
import os
import secrets
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

from deploy.demo import run as demo
from deploy.local import places, processes
from deploy.local.places import DataFolder
from deploy.local.postgres import Postgres
from deploy.local.stack import NOUNS, PACKAGES, Shape, Stack
from deploy.nats import topology
from services.kernel.migrate import upgrade
from tests.servers import QUICK

MIB = 1024 * 1024
_OWN = ("logs", "run", "spans", "disks")


def small_shape() -> Shape:
    """The example county in one process, with a small stream."""
    return replace(demo.shape(processes=False), streams=topology.load(events_bytes_max=64 * MIB))


@asynccontextmanager
async def a_platform(name: str) -> AsyncIterator[Stack]:
    """The example county's platform on a folder of its own, which is gone afterwards."""
    folder = places.find().folder(f"{name}-{secrets.token_hex(6)}")
    try:
        async with running(folder, small_shape()) as stack:
            yield stack
    finally:
        await processes.remove_folder(folder)


@asynccontextmanager
async def running(folder: DataFolder, shape: Shape) -> AsyncIterator[Stack]:
    """A platform on an empty folder, which nobody looks at afterwards."""
    await put_into(folder)
    stack = Stack(places.find(), folder, shape)
    stack.postgres = Postgres(places.find(), folder, settings=QUICK)
    await stack.start()
    try:
        yield stack
    finally:
        _end(stack)
        await stack.stop()


def _end(stack: Stack) -> None:
    """At once: what a good end would put in order is deleted next."""
    for name in (*stack.programs, "nats", "postgres"):
        pid = stack.supervisor.pid(name)
        if pid is not None:
            # PostgreSQL's way to leave no memory behind that it shared.
            os.kill(pid, signal.SIGQUIT if name == "postgres" else signal.SIGKILL)


async def put_into(folder: DataFolder) -> None:
    """Let a folder begin as a first start leaves it."""
    async with _alone():
        original = await _original()
    await asyncio.to_thread(copy, original.path, folder)


_made: list[DataFolder] = []


@cache
def _alone() -> asyncio.Lock:
    return asyncio.Lock()


async def _original() -> DataFolder:
    """The migrated database of every noun, made when the first platform of a process wants it."""
    if not _made:
        machine = places.find()
        folder = machine.folder(f"original-{secrets.token_hex(6)}")
        atexit.register(shutil.rmtree, folder.path, ignore_errors=True)
        server = Postgres(machine, folder, settings=QUICK)
        await server.start()
        try:
            await server.prepare(NOUNS)
            for noun in NOUNS:
                await upgrade(PACKAGES[noun], noun, server.dsn(noun, "owner"))
        finally:
            await server.stop()
        _made.append(folder)
    return _made[0]


def copy(source: Path, to: DataFolder) -> None:
    """What lies in a folder but its ports, locks, logs and pids: they are each platform's own."""
    skipped = shutil.ignore_patterns("*.port", "*.lock", "lost+found")
    for entry in sorted(source.iterdir()):
        if entry.name in _OWN or entry.suffix in {".port", ".lock"}:
            continue
        target = to.path / entry.name
        if entry.is_dir():
            shutil.copytree(entry, target, symlinks=True, ignore=skipped, dirs_exist_ok=True)
        else:
            shutil.copy2(entry, target)
    if to.user is not None:
        for name in ("nats", "postgres"):
            for path in (to.path / name, *(to.path / name).rglob("*")):
                with suppress(FileNotFoundError):
                    os.chown(path, to.user.uid, to.user.gid, follow_symlinks=False)
