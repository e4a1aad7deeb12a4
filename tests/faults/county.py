"""A county to try things on: a year behind it, each connection through a link, its own disks."""

import asyncio
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
from liandong.common.v1 import operator_pb2, operator_pb2_grpc

from deploy.demo import run as demo
from deploy.demo.counter import COUNTY
from deploy.local import places, processes
from deploy.local.client import Institution
from deploy.local.nats import Nats
from deploy.local.places import DataFolder, Places
from deploy.local.postgres import Postgres
from deploy.local.processes import Launch, Program
from deploy.local.stack import SERVICES, Shape, Stack
from deploy.nats.topology import Topology
from services.kernel.status import explain
from tests import platforms
from tests.eventually import eventually
from tests.faults import harness, payouts, wrong
from tests.faults.disks import Disk
from tests.faults.harness import Load, Outcome
from tests.faults.injector import Injector
from tests.faults.links import Link
from tests.faults.payouts import Paying
from tests.servers import QUICK

SEED = 20180301
OPERATOR = "opr-0001"
NATS_DISK_BYTES = 640 * 1024 * 1024
POSTGRES_DISK_BYTES = 1024 * 1024 * 1024
PATIENCE_SECONDS = 120.0
"""How long after the fault the load may take to end, and events to be heard."""
SERVES_SECONDS_MAX = 90.0
ASKED_AGAIN = 200
"""How many of the last answered commands are asked again after a trial."""
_PROBE_SECONDS = 3.0
_FAKETIME = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib64/faketime/libfaketimeMT.so.1")


def faketime() -> Path | None:
    """The library that gives one process a clock of its own, where it is installed."""
    for pattern in _FAKETIME:
        for found in Path("/").glob(pattern.removeprefix("/")):
            return found
    return None


class Clock:
    """The clock of one process: a file that libfaketime reads at every look."""

    def __init__(self, folder: DataFolder, name: str) -> None:
        self._path = folder.path / f"{name}.clock"
        self.set(0)

    def set(self, seconds: int) -> None:
        """So far is this clock ahead; behind when it is negative."""
        places.write_file(self._path, f"{seconds:+d}\n", mode=0o644)

    def environment(self) -> dict[str, str]:
        """What makes a process look at this clock; its timers stay the kernel's."""
        library = faketime()
        assert library is not None
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


class PluggedPostgres(Postgres):
    """A PostgreSQL that does not start while its power is off, and may have its own clock."""

    def __init__(
        self, places: Places, folder: DataFolder, clock: Clock | None, settings: Mapping[str, str]
    ) -> None:
        super().__init__(places, folder, settings=settings)
        self.power = asyncio.Event()
        self.power.set()
        self._clock = clock

    async def start(self) -> None:
        """Start it once there is power."""
        await self.power.wait()
        await super().start()

    def _launch(self, conf: Path, port: int) -> Launch:
        launch = super()._launch(conf, port)
        if self._clock is None:
            return launch
        # Not in the launcher's environment: it is another user, whose semaphore this would be.
        own = [f"{name}={value}" for name, value in self._clock.environment().items()]
        return replace(launch, argv=("/usr/bin/env", *own, *launch.argv))


class PluggedNats(Nats):
    """A NATS that does not start while its power is off."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.power = asyncio.Event()
        self.power.set()

    async def start(self) -> None:
        """Start it once there is power."""
        await self.power.wait()
        await super().start()


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How a county is set up for its trial."""

    wrong: str = ""
    """Which countermeasure is switched off (`tests.faults.wrong`); none for a trial."""
    one_process_each: bool = False
    disks: bool = False
    direct: bool = False
    """Whether the platform reaches its servers by no link: what a link costs is not its own."""
    watches: bool = True
    """Whether a stream that takes nothing in, though there is room, is noticed."""
    clocks: bool = False
    synced: bool = True
    """Whether PostgreSQL waits for the disk; who only kills processes loses nothing without."""
    streams: Topology = field(default_factory=harness.streams)
    environment: tuple[tuple[str, str], ...] = ()


class Tried(Stack):
    """A platform whose every connection passes a link that a trial can spoil."""

    postgres: Postgres
    nats: Nats

    def __init__(self, machine: Places, folder: DataFolder, form: Form) -> None:
        shape: Shape = demo.shape(processes=form.one_process_each)
        super().__init__(machine, folder, replace(shape, streams=form.streams))
        self._form = form
        self.streams = form.streams
        self.watches = form.watches
        self.clocks = {
            name: Clock(folder, name) for name in ("postgres", "platform") if form.clocks
        }
        self.plug_postgres = PluggedPostgres(
            machine,
            folder,
            self.clocks.get("postgres"),
            {} if form.synced else QUICK,
        )
        self.plug_nats = PluggedNats(
            machine,
            folder,
            credentials=self.ca.service("nats"),
            env=self.shape.env,
            streams=form.streams,
            feeds=self.nats._feeds,
        )
        self.postgres, self.nats = self.plug_postgres, self.plug_nats
        self.bus = Injector(lambda: self.nats.port, authority=lambda: self.ca)
        self.base = Link(lambda: self.postgres.port)
        self.door = Link(lambda: self._ports["gateway"])

    @property
    def gateway_address(self) -> str:
        """Where the link to the gateway listens."""
        if self._form.direct:
            return super().gateway_address
        return f"127.0.0.1:{self.door.port}"

    def environment(self) -> dict[str, str]:
        """As ever, but for the ways to the servers, which lead through links."""
        env = super().environment()
        if not self._form.direct:
            for name, value in env.items():
                if name.endswith("_DATABASE_URL"):
                    env[name] = value.replace(f":{self.postgres.port}/", f":{self.base.port}/")
            env["LIANDONG_NATS_URL"] = f"tls://127.0.0.1:{self.bus.port}"
        if clock := self.clocks.get("platform"):
            env |= clock.environment()
        return env | dict(self._form.environment) | {wrong.VARIABLE: self._form.wrong}

    async def _keep_writable(self) -> None:
        if self.watches:
            await super()._keep_writable()

    def _programs(self) -> Sequence[Program]:
        if not self._form.wrong:
            return super()._programs()
        assert not self._form.one_process_each, "wrong ways are planted in the one process"
        found = super()._programs()
        return [replace(each, argv=[*each.argv[:2], wrong.__name__]) for each in found]


@dataclass(frozen=True, slots=True)
class Measured:
    """How a platform came back."""

    serves_seconds: float
    """From the end of the fault until all five services answered through the gateway."""
    quiet_seconds: float
    """From the end of the load until every event was heard."""


class County:
    """A platform under trial, the load on it, and what must hold."""

    def __init__(self, stack: Tried, load: Load, disks: dict[str, Disk]) -> None:
        self.stack = stack
        self.load = load
        self.disks = disks
        self.is_whole = True
        """Whether the next trial may go on with it."""
        self.commands = 0
        self.lost_fen = 0
        self.doubled = 0

    async def under_load(
        self,
        fault: Callable[[], Awaitable[object]],
        *,
        seed: int,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> Measured:
        """Pay claims while a fault goes on and a little after it; then rest, and hold the books."""
        self.is_whole = False
        self.load.answered.clear()
        paying = await Paying(self.stack, self.load, seed=seed).prepare()
        killer = self.load.under_fire(())
        ending = asyncio.Event()

        async def work() -> None:
            await paying.round()
            while not ending.is_set():
                await paying.round()
            # One more, to see that it all works as before.
            await paying.round()

        working = asyncio.create_task(work())
        try:
            async with asyncio.timeout(harness.TRIAL_SECONDS_MAX):
                await eventually(self._answered, seconds_max=60)
                await fault()
                serves = await self.until_served()
                ending.set()
                await self._end_of(working, patience_seconds)
                before = time.monotonic()
                if not await self.load.is_quiet(seconds_max=patience_seconds):
                    raise AssertionError(f"{await self._left()} after {patience_seconds:g} s")
                measured = Measured(serves, time.monotonic() - before)
        except BaseException as error:
            error.add_note(harness.last_words(self.stack.folder))
            raise
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        self.commands += killer.commands
        await self.hold()
        return measured

    async def _end_of(self, working: "asyncio.Task[None]", seconds_max: float) -> None:
        """The load ends well and in time, or the trial has failed."""
        await asyncio.wait([working], timeout=seconds_max)
        if not working.done():
            left = await self._left()
            raise AssertionError(f"claims are not settled {seconds_max:g} s after it; {left}")
        error = working.exception()
        if error is not None:
            said = explain(error) if isinstance(error, grpc.aio.AioRpcError) else error
            raise AssertionError(f"the load broke: {said}") from error

    async def _left(self) -> str:
        unheard = await harness.unheard(self.stack, self.stack.streams)
        sql = "SELECT count(*) FROM {}.parked_event WHERE state = 'parked'"
        parked = sum([(await harness.ask(self.stack, sql.format(n)))[0][0] for n in SERVICES])
        return f"{unheard} events said and heard differ, {parked} are parked"

    async def _answered(self) -> int:
        return len(self.load.answered)

    async def hold(self) -> Outcome:
        """The books balance, nothing is twice, and what was answered is remembered."""
        outcome = await self.load.look()
        self.lost_fen = outcome.books.unbalanced_fen
        self.doubled = await payouts.doubled(self.stack)
        harness.require_balanced(outcome)
        await payouts.require_once(self.stack)
        await harness.require_remembered(list(self.load.answered)[-ASKED_AGAIN:])
        assert await self.load.is_quiet(seconds_max=PATIENCE_SECONDS), "asking again said events"
        self.is_whole = True
        return outcome

    async def until_served(self) -> float:
        """Ask all five services, on a connection that knows no patience, until they answer."""
        began = time.monotonic()
        own = self.stack.institution(OPERATOR)
        asked = operator_pb2.GetTotalsRequest(county_code=COUNTY, positions_only=True)

        async def answer() -> bool:
            async with Institution(self.stack.gateway_address, own, OPERATOR) as client:
                stub = client.stub(operator_pb2_grpc.OperatorServiceStub)
                for noun in SERVICES:
                    metadata = client.metadata(1, {"liandong-service": noun})
                    try:
                        await stub.GetTotals(asked, timeout=_PROBE_SECONDS, metadata=metadata)
                    except grpc.aio.AioRpcError:
                        return False
            return True

        await eventually(answer, seconds_max=SERVES_SECONDS_MAX)
        return time.monotonic() - began

    def processes(self, name: str) -> list[int]:
        """A process and those that it began: PostgreSQL is many."""
        pid = self.stack.supervisor.pid(name)
        assert pid is not None, f"{name} does not run"
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    async def kill(self, name: str, *, meanwhile: Callable[[], None] | None = None) -> int:
        """Kill a process and wait until another has taken its place; its pid."""
        held_up = self.stack.supervisor
        pid = self.processes(name)[0]
        restarts = held_up.restarts(name)
        self.end(name)
        if meanwhile is not None:
            meanwhile()

        async def again() -> bool:
            return held_up.restarts(name) > restarts and held_up.pid(name) is not None

        await eventually(again, seconds_max=SERVES_SECONDS_MAX)
        assert held_up.pid(name) != pid, "one process cannot die twice"
        return pid

    def end(self, name: str) -> None:
        """SIGKILL for a process and those that it began."""
        for pid in self.processes(name):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def more_answered(self, count: int, *, seconds_max: float) -> int:
        """Wait until so many more commands are answered, or the time is up; how many were."""
        before = len(self.load.answered)
        async for _ in processes.ticks(seconds_max, pause=0.02):
            if len(self.load.answered) - before >= count:
                break
        return len(self.load.answered) - before

    async def pause(self, name: str, *, seconds: float, killed: bool = False) -> None:
        """Stop a process in its tracks, and after a while let it go on, or let it die so."""
        pids = self.processes(name)
        restarts = self.stack.supervisor.restarts(name)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        try:
            await eventually(lambda: _is_stopped(pids[0]), seconds_max=10)
            await asyncio.sleep(seconds)
        finally:
            if killed:
                os.kill(pids[0], signal.SIGKILL)
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        if killed:

            async def again() -> bool:
                return self.stack.supervisor.restarts(name) > restarts

            await eventually(again, seconds_max=SERVES_SECONDS_MAX)


async def _is_stopped(pid: int) -> bool:
    return _state(pid) == "T"


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


class Original:
    """A county's year, lived once and kept at rest; every trial has a copy of it."""

    def __init__(self, folder: DataFolder, seed: int) -> None:
        self._folder = folder
        self._seed = seed

    @classmethod
    @asynccontextmanager
    async def lived(cls, *, seed: int = SEED) -> AsyncIterator["Original"]:
        """Live the year in peace, and stop the platform in good order."""
        machine = places.find()
        folder = machine.folder(f"faults-{secrets.token_hex(6)}")
        shape = replace(demo.shape(processes=False), streams=harness.streams())
        try:
            async with Stack(machine, folder, shape) as stack, Load(stack, seed=seed) as load:
                harness.remember(await load.live(), seed=seed)
            yield cls(folder, seed)
        finally:
            await processes.remove_folder(folder)

    @asynccontextmanager
    async def copied(self, form: Form | None = None) -> AsyncIterator[County]:
        """A platform on a copy of the year: fresh folder, fresh ports; gone afterwards."""
        async with platform(form or Form(), seed=self._seed, copied=self._folder.path) as county:
            yield county


@asynccontextmanager
async def platform(
    form: Form, *, seed: int = SEED, copied: Path | None = None
) -> AsyncIterator[County]:
    """A platform to try things on, empty or with what lies in a folder; gone afterwards."""
    machine = places.find()
    folder = machine.folder(f"faults-{secrets.token_hex(6)}")
    async with AsyncExitStack() as ending:
        ending.push_async_callback(processes.remove_folder, folder)
        ending.callback(harness.keep_logs, folder)
        disks = await _disks(folder, ending) if form.disks else {}
        if copied is not None:
            await asyncio.to_thread(platforms.copy, copied, folder)
        else:
            await platforms.put_into(folder)
        stack = Tried(machine, folder, form)
        for link in (stack.bus, stack.base, stack.door):
            await ending.enter_async_context(link)
        try:
            await ending.enter_async_context(stack)
            load = await ending.enter_async_context(Load(stack, seed=seed))
            yield County(stack, load, disks)
        except BaseException as error:
            error.add_note(harness.last_words(folder))
            raise


async def _disks(folder: DataFolder, ending: AsyncExitStack) -> dict[str, Disk]:
    found = {}
    for name, size in (("nats", NATS_DISK_BYTES), ("postgres", POSTGRES_DISK_BYTES)):
        image = folder.private("disks") / f"{name}.img"
        found[name] = await Disk.make(image, folder.served(name), size_bytes=size)
        ending.push_async_callback(found[name].unmount)
    return found
