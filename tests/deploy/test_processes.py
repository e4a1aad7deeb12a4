"""Supervised processes: ready, restarted, stopped in order, never orphaned."""

import asyncio
import os
import signal
import sys
import textwrap
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local import processes
from deploy.local.places import DataFolder
from deploy.local.processes import Backoff, Program, StartError, Supervisor

QUICK = Backoff(delay_seconds_min=0.01, delay_seconds_max=0.05)

STEADY = """
import pathlib, signal, sys
# Kept by the kernel until it is waited for: a handler would miss one just before a sleep.
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
pathlib.Path(sys.argv[1] + ".ready").touch()
signal.sigwait([signal.SIGTERM])
with open("ends", "a") as ends:
    ends.write(sys.argv[1] + "\\n")
"""
STUBBORN = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1] + ".ready").touch()
while True:
    time.sleep(60)
"""


async def eventually(truth: Callable[[], object], *, seconds_max: float = 20.0) -> None:
    async for _ in processes.ticks(seconds_max, pause=0.02):
        if truth():
            return
    raise AssertionError("never came true")


def exists(path: Path) -> Callable[[], Awaitable[bool]]:
    async def probe() -> bool:
        return await asyncio.to_thread(path.exists)

    return probe


def program(folder: DataFolder, name: str, code: str, *, stop_seconds_max: float = 10.0) -> Program:
    return Program(
        name=name,
        argv=(sys.executable, "-c", textwrap.dedent(code), name),
        env={"PATH": os.defpath},
        folder=folder,
        cwd=folder.path,
        ready=exists(folder.path / f"{name}.ready"),
        stop_seconds_max=stop_seconds_max,
    )


def is_alive(pid: int) -> bool:
    """Whether it runs: a zombie does not."""
    with suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        return state != "Z"
    return False


async def test_a_program_is_ready_when_its_probe_says_so(folder: DataFolder) -> None:
    one = program(folder, "one", STEADY)

    await one.start()

    assert (folder.path / "one.ready").exists()
    pid_file = folder.path / "run" / "one.pid"
    assert int(pid_file.read_text()) == one.pid
    await one.stop()
    assert one.pid is None
    assert not pid_file.exists()


async def test_a_program_that_ends_while_starting_shows_its_log(folder: DataFolder) -> None:
    one = program(folder, "one", "import sys; sys.exit('the pack is wrong at clauses.rate')")

    with pytest.raises(StartError, match=r"ended with 1 .*\n.*wrong at clauses\.rate"):
        await one.start()


async def test_a_killed_program_comes_up_again_with_a_new_pid(folder: DataFolder) -> None:
    one = program(folder, "one", STEADY)
    async with Supervisor(backoff=QUICK) as supervisor:
        await supervisor.start(one)
        pid = supervisor.pid("one")
        assert pid is not None

        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: supervisor.restarts("one") == 1)

        again = supervisor.pid("one")
        assert again not in (None, pid)
        assert int((folder.path / "run" / "one.pid").read_text()) == again


async def test_a_program_that_keeps_dying_is_restarted_ever_more_slowly(
    folder: DataFolder,
) -> None:
    code = "import pathlib; pathlib.Path('one.ready').touch(); import time; time.sleep(0.2)"
    backoff = Backoff(delay_seconds_min=0.01, delay_seconds_max=0.02)
    async with Supervisor(backoff=backoff) as supervisor:
        await supervisor.start(program(folder, "one", code))

        await eventually(lambda: supervisor.restarts("one") >= 3)

    slow = Backoff(delay_seconds_min=0.1, delay_seconds_max=10.0)
    delays = [slow.delay_seconds(deaths) for deaths in (1, 2, 3, 8, 1000)]
    assert delays == [0.1, 0.2, 0.4, 10.0, 10.0]


async def test_a_program_whose_file_is_away_comes_up_when_it_is_back(
    folder: DataFolder, caplog: pytest.LogCaptureFixture
) -> None:
    file = folder.path / "interpreter"
    file.symlink_to(sys.executable)
    one = replace(program(folder, "one", STEADY), argv=(str(file), "-c", STEADY, "one"))
    async with Supervisor(backoff=QUICK) as supervisor:
        await supervisor.start(one)
        pid = supervisor.pid("one")
        assert pid is not None

        file.unlink()
        os.kill(pid, signal.SIGKILL)
        said = f"one did not come up again: one: no program {file}"
        await eventually(lambda: said in caplog.messages)
        assert supervisor.restarts("one") == 0
        file.symlink_to(sys.executable)
        await eventually(lambda: supervisor.restarts("one") == 1)

        assert supervisor.pid("one") not in (None, pid)


@pytest.mark.parametrize("left", [None, "", "12a\n", "1\n"])
async def test_a_pid_file_that_is_not_its_own_is_left_as_it_is(
    folder: DataFolder, left: str | None
) -> None:
    one = program(folder, "one", STEADY)
    await one.start()
    pid_file = folder.path / "run" / "one.pid"
    if left is None:
        pid_file.unlink()
    else:
        pid_file.write_text(left)

    await one.stop()

    assert one.pid is None
    assert (pid_file.read_text() if pid_file.exists() else None) == left


async def test_groups_are_stopped_in_reverse_order(folder: DataFolder) -> None:
    async with Supervisor(backoff=QUICK) as supervisor:
        await supervisor.start(program(folder, "server", STEADY))
        await supervisor.start(program(folder, "service", STEADY))
        await supervisor.start(program(folder, "gateway", STEADY))

    assert (folder.path / "ends").read_text().split() == ["gateway", "service", "server"]


async def test_a_program_that_ignores_sigterm_is_killed(folder: DataFolder) -> None:
    one = program(folder, "one", STUBBORN, stop_seconds_max=0.3)
    await one.start()
    pid = one.pid
    assert pid is not None

    await one.stop()

    assert not is_alive(pid)


async def test_when_one_of_a_group_cannot_start_all_are_stopped(folder: DataFolder) -> None:
    steady = program(folder, "steady", STEADY)
    with pytest.raises(StartError):
        async with Supervisor(backoff=QUICK) as supervisor:
            await supervisor.start(steady, program(folder, "broken", "raise SystemExit(3)"))

    assert steady.pid is None


async def test_a_log_is_bounded_while_the_child_goes_on_writing(folder: DataFolder) -> None:
    log = folder.private("logs") / "one.log"
    log.write_bytes(b"x" * 2_000)
    with log.open("ab") as child:
        processes.bound_log(log, 1_000)
        child.write(b"later\n")
        child.flush()

    assert log.read_bytes() == b"later\n"
    assert log.with_name("one.log.1").stat().st_size == 2_000


SUPERVISOR = """
import asyncio, sys
from tests.deploy.test_processes import STEADY, program
from deploy.local import places, processes

async def main():
    folder = places.find().folder(sys.argv[1])
    async with processes.Supervisor() as supervisor:
        await supervisor.start(program(folder, "one", STEADY))
        print(supervisor.pid("one"), flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_no_child_outlives_a_killed_supervisor(folder: DataFolder) -> None:
    supervisor = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SUPERVISOR, folder.path.name),
        stdout=asyncio.subprocess.PIPE,
    )
    assert supervisor.stdout is not None
    pid = int(await asyncio.wait_for(supervisor.stdout.readline(), 60))
    assert is_alive(pid)

    supervisor.kill()
    await supervisor.wait()

    await eventually(lambda: not is_alive(pid))
