"""Child processes of one machine: start, watch, restart, stop; none outlives its parent."""

import asyncio
import logging
import os
import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from deploy.local.places import DataFolder, PlaceError, ServerUser, write_file

LAUNCHER = Path(__file__).with_name("launcher.py")
SERVER_PROGRAMS = ("postgres", "nats-server")
LOG_BYTES_MAX = 8 * 1024 * 1024

_LOG_CHECK_SECONDS = 1.0
_PROBE_SECONDS_MAX = 5.0
_TAIL_LINES = 20
_TAIL_BYTES_MAX = 16 * 1024

logger = logging.getLogger(__name__)


class StartError(RuntimeError):
    """A process ended, or was not ready in time; the message carries the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What to run, as whom, and where its log and pid go."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    folder: DataFolder
    cwd: Path | None = None
    user: ServerUser | None = None
    # What the kernel sends when the parent dies, however it dies.
    orphan_signal: signal.Signals = signal.SIGKILL
    log_bytes_max: int = LOG_BYTES_MAX

    @property
    def log_path(self) -> Path:
        """Standard output and error."""
        return self.folder.private("logs") / f"{self.name}.log"

    @property
    def pid_path(self) -> Path:
        """The pid of the live process; no file when it was stopped."""
        return self.folder.private("run") / f"{self.name}.pid"


class Child:
    """One running process."""

    def __init__(self, launch: Launch, process: asyncio.subprocess.Process) -> None:
        self._launch = launch
        self._process = process
        # Kept, because the properties make their folder: it may be gone when the process ends.
        self._log_path = launch.log_path
        self._pid_path = launch.pid_path
        self._watching = asyncio.create_task(self._watch(), name=f"watch {launch.name}")

    @classmethod
    async def spawn(cls, launch: Launch) -> Self:
        """Start the program; call it from a thread that lives as long as the child shall."""
        program = shutil.which(launch.argv[0])
        if program is None:
            raise StartError(f"{launch.name}: no program {launch.argv[0]}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        log = os.open(launch.log_path, flags, 0o600)
        try:
            process = await asyncio.create_subprocess_exec(
                *launcher(user=launch.user, orphan_signal=launch.orphan_signal),
                program,
                *launch.argv[1:],
                env=dict(launch.env),
                cwd=launch.cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C in the terminal is for us: we stop the children in order.
                start_new_session=True,
            )
        finally:
            os.close(log)
        write_file(launch.pid_path, f"{process.pid}\n", mode=0o644)
        return cls(launch, process)

    @property
    def pid(self) -> int:
        """The process id; the launcher becomes the program and keeps it."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait until the process has ended and its pid file is gone."""
        await asyncio.shield(self._watching)
        return await self._process.wait()

    async def ready(
        self, probe: Callable[[], Awaitable[bool]], *, seconds_max: float, pause: float = 0.02
    ) -> None:
        """Wait until the probe says yes; a connection that is refused says no."""
        async for _ in ticks(seconds_max, pause=pause):
            if self.returncode is not None:
                raise StartError(self._report(f"ended with {self.returncode} while starting"))
            with suppress(OSError, TimeoutError):
                # Before Python 3.12 `wait_for` swallows a cancellation that meets its result.
                async with asyncio.timeout(min(seconds_max, _PROBE_SECONDS_MAX)):
                    serves = await probe()
                if serves and self.returncode is None:
                    return
        raise StartError(self._report(f"not ready in {seconds_max:g} s"))

    async def stop(self, *signals: tuple[signal.Signals, float]) -> int:
        """Send each signal in turn and give it its seconds; then SIGKILL."""
        for number, seconds_max in signals:
            self.send(number)
            with suppress(TimeoutError):
                return await asyncio.wait_for(self.wait(), seconds_max)
            logger.warning("%s did not end within %g s", self._launch.name, seconds_max)
        return await self.kill()

    async def kill(self) -> int:
        """End it at once, as a power cut would."""
        self.send(signal.SIGKILL)
        return await self.wait()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process if it still runs."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _watch(self) -> None:
        while self.returncode is None:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._process.wait()), _LOG_CHECK_SECONDS)
            bound_log(self._log_path, self._launch.log_bytes_max)
        # A successor may already have written its own pid.
        if read_pid(self._pid_path) == self.pid:
            self._pid_path.unlink(missing_ok=True)

    def _report(self, what: str) -> str:
        return f"{self._launch.name} {what}; its log ends:\n{tail(self._log_path)}"


class Supervised(Protocol):
    """A server or program that the supervisor can hold up."""

    @property
    def name(self) -> str:
        """Its name in logs and pid files."""

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""

    async def start(self) -> None:
        """Start it; return when it is ready."""

    async def wait(self) -> int:
        """Wait until the process has ended."""

    async def stop(self) -> None:
        """Stop it, first politely."""


@dataclass(slots=True, kw_only=True)
class Program:
    """A program with a readiness probe, such as `python -m services.loans`."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    folder: DataFolder
    ready: Callable[[], Awaitable[bool]]
    cwd: Path | None = None
    start_seconds_max: float = 30.0
    stop_seconds_max: float = 20.0
    log_bytes_max: int = LOG_BYTES_MAX
    _child: Child | None = field(default=None, init=False)

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        running = self._child is not None and self._child.returncode is None
        return self._child.pid if self._child is not None and running else None

    async def start(self) -> None:
        """Start it; return when the probe says that it is ready."""
        assert self.pid is None, f"{self.name} already runs"
        launch = Launch(
            name=self.name,
            argv=self.argv,
            env=self.env,
            folder=self.folder,
            cwd=self.cwd,
            log_bytes_max=self.log_bytes_max,
        )
        self._child = await Child.spawn(launch)
        try:
            await self._child.ready(self.ready, seconds_max=self.start_seconds_max, pause=0.05)
        except BaseException:
            await self._child.kill()
            raise

    async def wait(self) -> int:
        """Wait until the process has ended."""
        assert self._child is not None, f"{self.name} was never started"
        return await self._child.wait()

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL after the grace time."""
        if self._child is not None:
            await self._child.stop((signal.SIGTERM, self.stop_seconds_max))


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait before a restart: doubled with each death inside the window."""

    delay_seconds_min: float = 0.1
    delay_seconds_max: float = 10.0
    window_seconds: float = 60.0

    def delay_seconds(self, deaths: int) -> float:
        """The delay after this many deaths in the window."""
        doublings = min(max(deaths - 1, 0), 30)
        return min(self.delay_seconds_max, self.delay_seconds_min * 2.0**doublings)


class Supervisor:
    """Holds processes up: restarts the dead (bounded in rate), stops in reverse order."""

    def __init__(self, *, backoff: Backoff | None = None) -> None:
        self._backoff = backoff or Backoff()
        self._groups: list[tuple[Supervised, ...]] = []
        self._holding: dict[str, asyncio.Task[None]] = {}
        self._restarts: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, *group: Supervised) -> None:
        """Start a group together and hold it up; a group later started is stopped earlier."""
        names = [one.name for one in group]
        assert not set(names) & set(self._holding), f"started twice: {names}"
        self._groups.append(group)
        outcomes = await asyncio.gather(*(one.start() for one in group), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        for one in group:
            self._restarts[one.name] = 0
            task = asyncio.create_task(self._hold(one), name=f"hold {one.name}")
            task.add_done_callback(_log_end)
            self._holding[one.name] = task

    async def stop(self) -> None:
        """Stop the groups, the last started first; the members of a group together."""
        holding = list(self._holding.values())
        self._holding.clear()
        for task in holding:
            task.cancel()
        await asyncio.gather(*holding, return_exceptions=True)
        while self._groups:
            group = self._groups.pop()
            await asyncio.gather(*(one.stop() for one in group))

    def pid(self, name: str) -> int | None:
        """The process id of a running member."""
        return next((one.pid for group in self._groups for one in group if one.name == name), None)

    def restarts(self, name: str) -> int:
        """How often a member came up again after it had died."""
        return self._restarts[name]

    async def _hold(self, one: Supervised) -> None:
        deaths: deque[float] = deque(maxlen=64)
        code = await one.wait()
        while True:
            now = time.monotonic()
            while deaths and now - deaths[0] > self._backoff.window_seconds:
                deaths.popleft()
            deaths.append(now)
            delay = self._backoff.delay_seconds(len(deaths))
            logger.warning("%s ended with %d; restart in %.1f s", one.name, code, delay)
            await asyncio.sleep(delay)
            try:
                await one.start()
            except (StartError, PlaceError, OSError) as error:
                logger.warning("%s did not come up again: %s", one.name, error)
                code = -1
                continue
            self._restarts[one.name] += 1
            code = await one.wait()


def _log_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("%s: no longer held up", task.get_name(), exc_info=error)


def launcher(
    *, user: ServerUser | None, orphan_signal: signal.Signals = signal.SIGKILL
) -> tuple[str, ...]:
    """What to put before a command to run it as the user and end it when we end."""
    ids = ("-", "-") if user is None else (str(user.uid), str(user.gid))
    orders = (str(os.getpid()), str(int(orphan_signal)), *ids)
    return (sys.executable, "-I", "-S", str(LAUNCHER), *orders)


async def ticks(seconds_max: float, *, pause: float) -> AsyncIterator[float]:
    """Yield the seconds left, at least once, with a pause in between, until the time is up."""
    end = time.monotonic() + seconds_max
    while True:
        yield max(0.0, end - time.monotonic())
        if time.monotonic() >= end:
            return
        await asyncio.sleep(pause)


def read_pid(path: Path) -> int | None:
    """The pid in a file, if there is one."""
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        return None


def tail(path: Path) -> str:
    """The last lines of a log."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES_MAX))
        lines = file.read().decode(errors="replace").splitlines()
    return "\n".join(lines[-_TAIL_LINES:])


def bound_log(path: Path, bytes_max: int) -> None:
    """Keep one older file; the child goes on appending to the emptied one."""
    if not path.exists() or path.stat().st_size <= bytes_max:
        return
    older = path.with_suffix(".log.1")
    shutil.copyfile(path, older)
    older.chmod(0o600)
    os.truncate(path, 0)


def left_behind(program: str, folder: Path) -> list[int]:
    """Processes of a program that work inside a folder: a dead supervisor's (Linux)."""
    found = []
    folder = folder.resolve()
    for entry in Path("/proc").glob("[0-9]*"):
        # A process may end meanwhile, or belong to someone else.
        with suppress(OSError):
            working = (entry / "cwd").readlink()
            runs = (entry / "exe").readlink().name.removesuffix(" (deleted)")
            if runs == program and working.is_relative_to(folder):
                found.append(int(entry.name))
    return sorted(found)


async def end_left_behind(
    program: str, folder: Path, *signals: tuple[signal.Signals, float]
) -> None:
    """End what a dead supervisor left in a folder; the caller holds the folder's lock."""
    for number, seconds_max in (*signals, (signal.SIGKILL, 5.0)):
        for pid in left_behind(program, folder):
            logger.warning("sending %s to %d, left behind in %s", number.name, pid, folder)
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        async for _ in ticks(seconds_max, pause=0.02):
            if not left_behind(program, folder):
                return
    raise StartError(f"{program} {left_behind(program, folder)} in {folder} does not end")


async def remove_folder(folder: DataFolder) -> None:
    """Delete a data folder, after ending what a dead supervisor left; refused while in use."""
    if not folder.path.exists():
        return
    with folder.all_locks():
        for program in SERVER_PROGRAMS:
            await end_left_behind(program, folder.path)
        shutil.rmtree(folder.path)
