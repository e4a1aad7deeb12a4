"""The fault harness: a county's year as load, killed processes, and what must hold afterwards."""

import asyncio
import logging
import os
import random
import secrets
import shutil
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import asyncpg
from google.protobuf.message import Message

from deploy.demo import run as demo
from deploy.demo.year import Year
from deploy.local import audit, places, processes
from deploy.local.audit import Audit
from deploy.local.client import Institution
from deploy.local.places import DataFolder
from deploy.local.postgres import Postgres
from deploy.local.stack import NOUNS, Stack
from deploy.nats import topology
from deploy.nats.topology import Topology
from gateway import log_verify
from services.kernel.database import Database
from services.programmes.loader import load
from tests import platforms
from tests.eventually import eventually
from tests.servers import QUICK

log = logging.getLogger(__name__)

SCALE = 0.03
TRIAL_SECONDS_MAX = 420.0
LOGS_VARIABLE = "LIANDONG_FAULTS_LOGS"
"""A folder in which the logs of every trial are kept."""

_SERVERS = ("postgres", "nats")
_UP_SECONDS_MAX = 90.0
_DELAY_MS_MAX = 300
_EVENTS_BYTES_MAX = 256 * 1024 * 1024
_NOTE_LINES = 12
_NOTE_CHARACTERS = 400
_ANSWERED_MAX = 200


# --- what is done to the platform -----------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class Kill:
    """One SIGKILL: whom, when in the load, how long after that command has begun."""

    at_command: int
    victim: str
    delay_ms: int = 0
    wipe: bool = False
    """Its data dies with it; only the stream may be lost so, it is made again from the outboxes."""


@dataclass(frozen=True, slots=True)
class Killed:
    """A kill that took place: the process that died and the one that took its place."""

    kill: Kill
    pid: int
    successor: int


def victims(*, one_process_each: bool) -> tuple[str, ...]:
    """Every process that may die in this form of the platform."""
    return (*(NOUNS if one_process_each else ("platform",)), *_SERVERS)


def in_turn(names: Sequence[str], *, commands: int, seed: int, rounds: int = 1) -> list[Kill]:
    """Every process once a round in a random order, spread over a load of so many commands."""
    rng = random.Random(seed)
    order = [name for _ in range(rounds) for name in rng.sample(names, len(names))]
    stride = commands / (len(order) + 1)
    return [
        Kill(1 + int((place + rng.random()) * stride), name, rng.randrange(_DELAY_MS_MAX))
        for place, name in enumerate(order)
    ]


def at_random(names: Sequence[str], *, commands: int, seed: int, kills: int) -> list[Kill]:
    """So many kills of anybody at any time."""
    rng = random.Random(seed)
    return sorted(
        Kill(rng.randint(1, commands), rng.choice(names), rng.randrange(_DELAY_MS_MAX))
        for _ in range(kills)
    )


class Killer:
    """Carries out kills as the load goes on, and sees to it that they happened."""

    def __init__(self, stack: Stack, kills: Sequence[Kill] = ()) -> None:
        self._stack = stack
        self._waiting = sorted(kills, reverse=True)
        self._running: list[asyncio.Task[Killed]] = []
        # One after the other, or a second kill might meet a process that is dead already.
        self._turns: dict[str, asyncio.Lock] = {}
        self.commands = 0

    def step(self) -> None:
        """Count a command that begins; whoever is to die at it, dies."""
        self.commands += 1
        while self._waiting and self._waiting[-1].at_command <= self.commands:
            kill = self._waiting.pop()
            self._running.append(asyncio.create_task(self._carry_out(kill), name=str(kill)))

    @property
    def is_done(self) -> bool:
        """Whether everybody who was to die has been found."""
        return not self._waiting

    async def finish(self) -> list[Killed]:
        """Wait until all that died are back; a kill that never came to pass is an error."""
        assert not self._waiting, f"the load ended before {self._waiting}"
        return list(await asyncio.gather(*self._running))

    async def cancel(self) -> None:
        """Leave the rest undone."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _carry_out(self, kill: Kill) -> Killed:
        held_up = self._stack.supervisor
        async with self._turns.setdefault(kill.victim, asyncio.Lock()):
            await asyncio.sleep(kill.delay_ms / 1000)
            pid = await eventually(self._pid(kill.victim), seconds_max=_UP_SECONDS_MAX)
            assert pid is not None
            restarts = held_up.restarts(kill.victim)
            os.kill(pid, signal.SIGKILL)
            if kill.wipe:
                assert kill.victim == "nats", "nothing else can be made again"
                store = self._stack.nats.store
                # At once: its successor is not to find a file of it.
                store.rename(store.with_name(f"lost-{pid}"))

            async def again() -> int | None:
                up = held_up.restarts(kill.victim) > restarts
                return held_up.pid(kill.victim) if up else None

            successor = await eventually(again, seconds_max=_UP_SECONDS_MAX)
            assert successor is not None
            return Killed(kill, pid, successor)

    def _pid(self, victim: str) -> Callable[[], Any]:
        async def pid() -> int | None:
            return self._stack.supervisor.pid(victim)

        return pid


@dataclass(frozen=True, slots=True)
class Answered:
    """A command that the platform has answered: it must never be as if it had not been."""

    client: Institution
    stub: type[Any]
    method: str
    request: Message
    post: int
    metadata: Mapping[str, str]
    answer: bytes


class Watched(Institution):
    """An institution whose commands are the load's clock: reads and polls do not count."""

    killer: Killer
    answered: deque[Answered]

    async def call(
        self,
        stub_type: type[Any],
        method: str,
        request: Message,
        *,
        post: int = 1,
        metadata: Mapping[str, str] | None = None,
    ) -> Any:
        """One call, counted when it is a command, whose answer is kept."""
        is_command = bool(getattr(request, "request_id", ""))
        if is_command:
            self.killer.step()
        answer = await super().call(stub_type, method, request, post=post, metadata=metadata)
        if is_command:
            body = answer.SerializeToString(deterministic=True)
            kept = Answered(self, stub_type, method, request, post, metadata or {}, body)
            self.answered.append(kept)
        return answer

    async def exchange(self, *args: Any, **options: Any) -> AsyncIterator[Any]:
        """A stream, each answer of which is a command done."""
        async for answer in super().exchange(*args, **options):
            self.killer.step()
            yield answer


# --- what must hold then --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a year came to."""

    books: Audit
    commands: int
    steps: int
    """How many lines the year told."""
    retries: int
    killed: tuple[Killed, ...]
    unpublished_events: int
    access_log_broken_at: int | None

    @property
    def counts(self) -> Mapping[str, int]:
        """What the demo's last line tells."""
        names = {
            "households": "households.households_count",
            "loans": "loans.disbursed_count",
            "payouts": "claims.payouts_count",
            "compensated": "funds.cases_paid_count",
        }
        return {word: self.books.totals[name] for word, name in names.items()}

    def __str__(self) -> str:
        counts = " ".join(f"{word}={count}" for word, count in self.counts.items())
        dead = " ".join(killed.kill.victim for killed in self.killed)
        return (
            f"{counts} unbalanced_fen={self.books.unbalanced_fen}"
            f" parked_events={self.books.parked_events} asked_again={self.retries} killed: {dead}"
        )

    @property
    def open_lines(self) -> list[str]:
        """The checks of the audit that do not come out."""
        return [f"{line.check}: {line.difference}" for line in self.books.lines if line.difference]


def require_balanced(outcome: Outcome) -> None:
    """Every fen is where it belongs, every event was taken in, every call is on record."""
    assert outcome.books.unbalanced_fen == 0, outcome.open_lines
    assert outcome.books.parked_events == 0
    assert outcome.unpublished_events == 0
    assert outcome.access_log_broken_at is None


def require_same(outcome: Outcome, peace: Outcome) -> None:
    """The year came to what it would have come to if nobody had died, to the fen."""
    assert outcome.counts == peace.counts
    assert dict(outcome.books.totals) == dict(peace.books.totals)


async def require_remembered(answered: Sequence[Answered]) -> int:
    """Whatever was answered once is answered alike when it is asked again; how many there were."""
    assert answered, "no command was answered"
    for each in answered:
        again = await Institution.call(
            *(each.client, each.stub, each.method, each.request),
            post=each.post,
            metadata=each.metadata,
        )
        body = again.SerializeToString(deterministic=True)
        assert body == each.answer, f"{each.method} was answered and is forgotten"
    return len(answered)


def require_killed(outcome: Outcome, kills: Sequence[Kill]) -> None:
    """They really died, and others took their place."""
    assert sorted(killed.kill for killed in outcome.killed) == sorted(kills)
    assert kills, "a trial in which nobody dies shows nothing"
    for killed in outcome.killed:
        assert killed.successor != killed.pid
    pids = [killed.pid for killed in outcome.killed]
    assert len(set(pids)) == len(pids), "one process cannot die twice"


# --- a platform, a year on it, a trial ------------------------------------------------------------


def streams() -> Topology:
    """Our stream, small, and given back soon when the process that took an event is dead."""
    found = topology.load(events_bytes_max=_EVENTS_BYTES_MAX)
    return replace(found, ack_wait_seconds=3)


@asynccontextmanager
async def platform(*, one_process_each: bool = False, synced: bool = True) -> AsyncIterator[Stack]:
    """A platform of its own: fresh folder, fresh ports; gone afterwards, whatever happens."""
    machine = places.find()
    folder = machine.folder(f"faults-{secrets.token_hex(6)}")
    shape = replace(demo.shape(processes=one_process_each), streams=streams())
    stack = Stack(machine, folder, shape)
    if not synced:
        stack.postgres = Postgres(machine, folder, settings=QUICK)
    try:
        await platforms.put_into(folder)
        await stack.start()
        yield stack
    except BaseException as error:
        error.add_note(last_words(folder))
        raise
    finally:
        await stack.stop()
        keep_logs(folder)
        await processes.remove_folder(folder)


class Load:
    """The county's year on a platform, and the kills that meet it."""

    def __init__(
        self, stack: Stack, *, seed: int, scale: float = SCALE, kills: Sequence[Kill] = ()
    ) -> None:
        self._stack = stack
        self._killer = Killer(stack, kills)
        self._said: list[str] = []
        self.answered: deque[Answered] = deque(maxlen=_ANSWERED_MAX)
        """The last commands that were answered."""
        self.year = Year(
            self._open,
            load([demo.COUNTY_FOLDER]),
            streams(),
            folder=stack.folder.private("files"),
            seed=seed,
            scale=scale,
            say=self._said.append,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is not None:
            error.add_note("the year had come to:\n" + "\n".join(self._said[-_NOTE_LINES:]))
        await self._killer.cancel()
        await self.year.close()

    def _open(self, institution_id: str) -> Institution:
        own = self._stack.institution(institution_id)
        client = Watched(self._stack.gateway_address, own, institution_id)
        client.killer = self._killer
        client.answered = self.answered
        return client

    @property
    def commands(self) -> int:
        """How many commands have begun."""
        return self._killer.commands

    def under_fire(self, kills: Sequence[Kill]) -> Killer:
        """From here on other kills meet the load, counted from its next command."""
        self._killer = Killer(self._stack, kills)
        for client in self.year._clients.values():
            if isinstance(client, Watched):
                client.killer = self._killer
        return self._killer

    async def live(self) -> Outcome:
        """Live the year, carry out the kills meanwhile, wait until all is quiet, look."""
        async with asyncio.timeout(TRIAL_SECONDS_MAX):
            await self.year.live()
            killed = await self._killer.finish()
            # Who died last may have had an event in hand.
            await self.year.quiet()
            return await self.look(killed)

    async def is_quiet(self, *, seconds_max: float) -> bool:
        """Whether every event that was said is heard within so many seconds."""
        return await audit.quiet(self.year.get_totals, streams(), seconds_max=seconds_max)

    async def look(self, killed: Sequence[Killed] = ()) -> Outcome:
        """Audit a platform at rest, and look where the audit does not."""
        books = await audit.audit(self.year.get_totals)
        unpublished = 0
        for noun in NOUNS:
            sql = f"SELECT count(*) FROM {noun}.outbox WHERE stream_sequence IS NULL"
            unpublished += (await ask(self._stack, sql))[0][0]
        log = Database(self._stack.postgres.dsn("gateway", "app"), "gateway", pool_size=1)
        try:
            async with log.transaction(snapshot=True) as session:
                verified = await log_verify.verify(session)
        finally:
            await log.close()
        return Outcome(
            books=books,
            commands=self._killer.commands,
            steps=len(self._said),
            retries=self.year.retries,
            killed=tuple(killed),
            unpublished_events=unpublished,
            access_log_broken_at=verified.broken_at,
        )


async def ask(stack: Stack, sql: str, *args: object) -> list[asyncpg.Record]:
    """Ask the platform's database, or change it, as its superuser."""
    connection = await asyncpg.connect(stack.postgres.superuser_dsn())
    try:
        return await connection.fetch(sql, *args)
    finally:
        await connection.close()


async def unheard(stack: Stack, topology: Topology) -> int:
    """How many events were said and not heard, summed over those who should have."""
    missing = 0
    for hearing, sources in topology.hears.items():
        for source in sources:
            rows = await ask(
                stack,
                f"""SELECT (SELECT count(*) FROM {source}.outbox)
                         - coalesce((SELECT sum(events) FROM {hearing}.inbox_count
                                     WHERE noun = '{source}'), 0)""",
            )
            missing += abs(int(rows[0][0]))
    return missing


_undisturbed: dict[tuple[int, float], Outcome] = {}


async def undisturbed(*, seed: int, scale: float = SCALE) -> Outcome:
    """What the year comes to when nobody dies; lived once a session."""
    if (seed, scale) not in _undisturbed:
        async with platform() as stack, Load(stack, seed=seed, scale=scale) as under:
            remember(await under.live(), seed=seed, scale=scale)
    return _undisturbed[seed, scale]


def remember(outcome: Outcome, *, seed: int, scale: float = SCALE) -> None:
    """Keep the outcome of a year in which nobody died, to hold the others against."""
    require_balanced(outcome)
    assert not outcome.killed
    assert min(outcome.counts.values()) > 0, f"a load without work: {outcome.counts}"
    _undisturbed[seed, scale] = outcome


async def trial(
    *,
    seed: int,
    one_process_each: bool,
    plan: Callable[[Sequence[str], int], list[Kill]],
    scale: float = SCALE,
) -> Outcome:
    """One year under fire on a platform of its own, held against the same year in peace."""
    peace = await undisturbed(seed=seed, scale=scale)
    kills = plan(victims(one_process_each=one_process_each), peace.commands)
    async with (
        platform(one_process_each=one_process_each) as stack,
        Load(stack, seed=seed, scale=scale, kills=kills) as under,
    ):
        outcome = await under.live()
        log.info("%s", outcome)
        require_killed(outcome, kills)
        require_balanced(outcome)
        require_same(outcome, peace)
    return outcome


# --- what is left of a trial that failed ----------------------------------------------------------


def last_words(folder: DataFolder) -> str:
    """The last warnings and errors of every log."""
    words = []
    for path in sorted(folder.private("logs").glob("*.log")):
        lines = path.read_text(errors="replace").splitlines()
        told = [line for line in lines if any(word in line for word in _LOUD)]
        words.append(f"--- {path.name}, the last of {len(told)} loud lines")
        words.extend(line[:_NOTE_CHARACTERS] for line in told[-_NOTE_LINES:])
    return "\n".join(words)


_LOUD = ('"warning"', '"error"', '"critical"', "Error", "FATAL", "PANIC", "[WRN]", "[ERR]")


def keep_logs(folder: DataFolder) -> None:
    """Copy the logs away when a folder for them is named."""
    if kept := os.environ.get(LOGS_VARIABLE):
        shutil.copytree(folder.private("logs"), Path(kept) / folder.path.name, dirs_exist_ok=True)
