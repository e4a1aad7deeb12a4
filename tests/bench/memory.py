"""Memory: the most that each Python process of a run was resident with, sampled."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from deploy.local.stack import SERVICES

SECONDS = 0.25
_PAGE = os.sysconf("SC_PAGE_SIZE")
_NAMES = {
    "tests.bench.registry": "registry",
    "tests.bench.load": "load",
    "tests.bench.proxy": "proxy",
    "gateway": "gateway",
    **{f"services.{noun}": noun for noun in SERVICES},
}
"""Modules that a run starts as processes; what else is Python's is the platform in one process."""


def resident_mib() -> dict[str, float]:
    """How much each Python process below this one holds now, by what it is; this is `bench`."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parents[int(entry.name)] = int(_stat(entry)[1])
    found = {"bench": _resident(os.getpid())}
    for pid in parents:
        if _is_below(pid, parents):
            with suppress(OSError):
                if name := _name(pid):
                    found[name] = max(found.get(name, 0.0), _resident(pid))
    return found


def _stat(entry: Path) -> list[str]:
    return (entry / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()


def _is_below(pid: int, parents: dict[int, int]) -> bool:
    above = parents.get(pid, 0)
    while above > 1 and above != os.getpid():
        above = parents.get(above, 0)
    return above == os.getpid()


def _name(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    if "python" not in Path(words[0]).name:
        return ""
    module = words[words.index("-m") + 1] if "-m" in words[:-1] else ""
    return _NAMES.get(module, "platform")


def _resident(pid: int) -> float:
    statm = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    return int(statm[1]) * _PAGE / 1024 / 1024


@asynccontextmanager
async def watched(into: dict[str, float]) -> AsyncIterator[None]:
    """Note the most of each while the block runs."""

    over = asyncio.Event()

    async def look() -> None:
        while not over.is_set():
            for name, mib in resident_mib().items():
                into[name] = max(into.get(name, 0.0), round(mib, 1))
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), SECONDS)

    task = asyncio.create_task(look())
    try:
        yield
    finally:
        over.set()
        await task
