"""The demo itself is killed, alone or with all that it started: it goes on where it was."""

import asyncio
import os
import random
import re
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.local import places, processes
from tests.faults import harness
from tests.faults.harness import Outcome
from tests.faults.test_kills import SEED

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1_200)]

RUN_SECONDS_MAX = 300.0
DELAY_MS_MAX = 1_000

_STEP = re.compile(r"^ *\d+\.\d s  ")
_LAST = re.compile(r"(\w+)=(\d+)")


@pytest_asyncio.fixture(loop_scope="session")
async def home() -> AsyncIterator[Path]:
    """A root of its own for the command's data, removed with whatever still runs there."""
    machine = places.find()
    folder = machine.folder(f"faults-{secrets.token_hex(6)}")
    root = folder.path / "home"
    yield root
    if root.exists():
        for data in (root / "data").iterdir():
            await processes.remove_folder(places.DataFolder(data, machine.user))
    await processes.remove_folder(folder)


class Command:
    """`liandong demo`, watched line by line."""

    def __init__(self, home: Path, *options: str) -> None:
        self._environment = {
            **os.environ,
            places.HOME_VARIABLE: str(home),
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "200",
        }
        self._argv = (sys.executable, "-m", "deploy.local.cli", "demo", *options)
        self._argv += ("--seed", str(SEED), "--scale", str(harness.SCALE))

    async def run(self, *more: str, killed_at_step: int = 0, delay_ms: int = 0) -> Sequence[str]:
        """Run it to its end, or until it has told so many steps of the year; what it printed."""
        process = await asyncio.create_subprocess_exec(
            *self._argv,
            *more,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        lines: list[str] = []
        steps = 0
        ended = False
        try:
            async with asyncio.timeout(RUN_SECONDS_MAX):
                async for raw in process.stdout:
                    lines.append(raw.decode().rstrip())
                    steps += bool(_STEP.match(lines[-1]))
                    if killed_at_step and steps == killed_at_step:
                        await asyncio.sleep(delay_ms / 1000)
                        break
                else:
                    ended = True
        finally:
            if not ended:
                process.send_signal(signal.SIGKILL)
            code = await process.wait()
        expected = -signal.SIGKILL if killed_at_step else 0
        assert code == expected, "\n".join(lines[-40:])
        return lines


def moments(peace: Outcome, *, count: int) -> list[tuple[int, int]]:
    """At which steps of the year, and how long after them, runs are to die: each later."""
    rng = random.Random(SEED)
    steps = sorted(rng.sample(range(1, peace.steps), count))
    return [(step, rng.randrange(DELAY_MS_MAX)) for step in steps]


def require_whole(lines: Sequence[str], peace: Outcome) -> None:
    """The last line tells of the year in peace, balanced, with nothing parked."""
    assert lines[-1].startswith("demo: "), lines[-1]
    told = {word: int(number) for word, number in _LAST.findall(lines[-1])}
    del told["seconds"]
    assert told == {**peace.counts, "unbalanced_fen": 0, "parked_events": 0}


async def test_the_driver_dies_and_the_next_one_finds_its_way(home: Path) -> None:
    peace = await harness.undisturbed(seed=SEED)
    async with harness.platform() as stack:
        certificates = stack.folder.private("certs")
        demo = Command(home, "--gateway", stack.gateway_address, "--certs", str(certificates))

        for step, delay_ms in moments(peace, count=1):
            await demo.run(killed_at_step=step, delay_ms=delay_ms)

        require_whole(await demo.run(), peace)
        async with harness.Load(stack, seed=SEED) as load:
            outcome = await load.look()
        harness.require_balanced(outcome)
        harness.require_same(outcome, peace)


async def test_the_demo_dies_with_its_servers_and_resumes(home: Path) -> None:
    peace = await harness.undisturbed(seed=SEED)
    demo = Command(home)
    ((step, delay_ms),) = moments(peace, count=1)

    await demo.run(killed_at_step=step, delay_ms=delay_ms)

    require_whole(await demo.run("--resume"), peace)
