"""
Three services, their streams and whoever calls them: in one process, one seed decides everything.

The handlers and operations are those of the services; the databases are in memory. What is kept of
the kernel's contract: one transaction holds the change, its events and the inbox; an event is
acknowledged after the commit; a request's id and its answer are kept with its effect.
"""

import importlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cache
from random import Random
from typing import Any, cast
from uuid import UUID

from asyncpg.pgproto import pgproto

from deploy.nats import topology
from services.claims import events_in as claims_in
from services.funds import events_in as funds_in
from services.kernel import inbox
from services.kernel.bus import ATTEMPTS_MAX
from services.kernel.errors import Conflict, LiandongError
from services.kernel.inbox import Delivery, Handlers, Incoming
from services.kernel.journal import Entry
from services.kernel.outbox import OutgoingEvent
from services.loans import events_in as loans_in
from tests.sim import county, stores_claims, stores_funds, stores_loans
from tests.sim.memory import BrokenRule, Database, Deadlock, Row, Session

NOUNS = ("loans", "claims", "funds")
TABLES: Mapping[str, tuple[str, ...]] = {
    "loans": stores_loans.TABLES,
    "claims": stores_claims.TABLES,
    "funds": stores_funds.TABLES,
}
TURNS_MAX = 500
"""So often two transactions may give way to each other: more is a livelock."""

Work = Callable[[Session], Awaitable[Any]]
WAITS = True


class Died(Exception):
    """The process is gone."""


@dataclass(frozen=True, slots=True)
class Command:
    """What somebody asks of a service, with the id that it keeps however often it is asked."""

    noun: str
    name: str
    who: str
    request: tuple[Any, ...]
    """What its body would be, and what makes it the same."""
    request_id: UUID
    work: Work

    def __str__(self) -> str:
        return f"{self.who} {self.name}{self.request}"


# --- the kernel's functions, on rows in memory ----------------------------------------------------

_NOISE = Random(0)


def seed_ids(seed: int) -> None:
    """From here on ids are those of a seed."""
    _NOISE.seed(seed)


def new_id() -> UUID:
    """An id of the seed, of the driver's class; locks are taken in another order each time."""
    made: UUID = pgproto.UUID(_NOISE.randbytes(16))
    return made


def new_ids(count: int) -> list[UUID]:
    """Many of them."""
    return [new_id() for _ in range(count)]


async def today(session: Session, _: str) -> date:
    """The county's business date in this service."""
    return cast(date, session.db.day)


async def today_or(session: Session, _: str, __: date) -> date:
    """The same: the county is open."""
    return cast(date, session.db.day)


async def post(session: Session, entries: Sequence[Entry]) -> None:
    """Each kind and cause once for ever, a transfer of nothing left out."""
    for entry in entries:
        moved = tuple(each for each in entry.transfers if each.amount_fen)
        if not moved:
            continue
        if any(each.amount_fen < 0 for each in moved):
            raise BrokenRule(f"{entry.kind} moves less than nothing")
        name = (entry.kind, entry.cause_id)
        if name in session.db.posted or any(
            name == (e.kind, e.cause_id) for e, _ in session.entries
        ):
            raise BrokenRule(f"{entry.kind} of {entry.cause_id} is posted")
        session.entries.append((entry, moved))


async def record(session: Session, events: Sequence[OutgoingEvent]) -> None:
    """Into the outbox with the change."""
    for event in events:
        session.events.append((event, new_id()))


KERNEL: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "services.kernel.ids": {"new_id": new_id, "new_ids": new_ids},
    "services.kernel.business_day": {"today": today, "today_or": today_or},
    "services.kernel.journal": {"post": post},
    "services.kernel.outbox": {"record": record},
}


# Rows that a service reads bear ids of the driver's class; what it parses itself does here too,
# for a dictionary hashes them five times as fast.
_DRIVERS = {"UUID": pgproto.UUID}
IDS: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "services.loans.events_in": _DRIVERS,
    "services.loans.rules.balance": _DRIVERS,
    "services.claims.events_in": _DRIVERS,
    "services.funds.events_in": _DRIVERS,
}


@contextmanager
def installed() -> Iterator[None]:
    """Let the services' functions of SQL be those in memory; one that is gone is an error."""
    held: list[tuple[Any, str, Any]] = []
    try:
        for functions in (
            *(KERNEL, IDS, stores_loans.FUNCTIONS),
            *(stores_claims.FUNCTIONS, stores_funds.FUNCTIONS),
        ):
            for path, named in functions.items():
                module = importlib.import_module(path)
                for name, function in named.items():
                    held.append((module, name, getattr(module, name)))
                    setattr(module, name, function)
        yield
    finally:
        for module, name, function in reversed(held):
            setattr(module, name, function)


@cache
def handlers() -> Mapping[str, Handlers]:
    """The services' own tables of handlers."""
    found = county.catalogue()
    return {
        "loans": loans_in.handlers(found),
        "claims": claims_in.handlers(found),
        "funds": funds_in.handlers(found),
    }


@cache
def hears() -> Mapping[str, tuple[str, ...]]:
    """Who hears whom, by the deployed topology."""
    return {
        noun: tuple(source for source in topology.load().hears[noun] if source in NOUNS)
        for noun in NOUNS
    }


# --- one transaction, and two at once -------------------------------------------------------------

BEFORE, AFTER = "before its commit", "after its commit"


def alone(db: Database, work: Work, fate: str = "") -> tuple[Any, list[str]]:
    """One transaction with nobody else at work: its answer, and which rules it broke."""
    session = Session(db)
    coroutine = cast(Any, work(session))
    try:
        coroutine.send(None)
    except StopIteration as end:
        if fate == BEFORE:
            raise Died(BEFORE) from None
        broken = session.commit()
        if fate == AFTER:
            raise Died(AFTER, broken) from None
        return end.value, broken
    raise AssertionError("nothing is waited for alone")


Outcome = tuple[Any, list[str]] | Exception


def together(db: Database, works: Sequence[Work], rng: Random) -> list[Outcome]:
    """Transactions that take turns at every lock; the one that finds a deadlock runs again."""
    outcomes: dict[int, Outcome] = {}
    live = {place: _begin(db, work) for place, work in enumerate(works)}
    stuck: set[int] = set()
    for _ in range(TURNS_MAX):
        if not live:
            return [outcomes[place] for place in range(len(works))]
        free = [place for place in live if place not in stuck]
        if not free:
            # All wait for each other: PostgreSQL undoes one, and the kernel runs it again.
            place = max(live)
            session, coroutine = live.pop(place)
            coroutine.close()
            session.release()
            live[place] = _begin(db, works[place])
            stuck = {place}
            continue
        place = free[0] if len(free) == 1 else rng.choice(free)
        session, coroutine = live[place]
        try:
            if coroutine.send(None) is WAITS:
                stuck.add(place)
                continue
        except StopIteration as end:
            outcomes[place] = _end(session, end.value)
        except (LiandongError, BrokenRule, AssertionError) as error:
            session.release()
            outcomes[place] = error
        else:
            continue
        del live[place]
        stuck.clear()
    raise Deadlock("two transactions give way to each other for ever")


def _begin(db: Database, work: Work) -> tuple[Session, Any]:
    session = Session(db, alone=False)
    return session, work(session)


def _end(session: Session, answer: Any) -> Outcome:
    try:
        return answer, session.commit()
    except BrokenRule as error:
        session.release()
        return error


# --- the world ------------------------------------------------------------------------------------


class World:
    """The databases of three services, and what is under way between them."""

    def __init__(self, dbs: Mapping[str, Database]) -> None:
        self.dbs = dbs
        self.under_way: dict[str, list[Row]] = {noun: [] for noun in NOUNS}
        self.had: dict[str, list[Row]] = {noun: [] for noun in NOUNS}
        self.tries: dict[Any, int] = {}
        self.broken: list[str] = []
        for db in dbs.values():
            db.others = dict(dbs)

    def like(self) -> "World":
        """Another world that is as this one, to be lived on its own."""
        made = World({noun: db.like() for noun, db in self.dbs.items()})
        made.under_way = {noun: list(rows) for noun, rows in self.under_way.items()}
        made.had = {noun: list(rows) for noun, rows in self.had.items()}
        return made

    # --- the relay and the stream -----------------------------------------------------------------

    def publish(self, noun: str, *, twice: bool = False) -> int:
        """What is in a service's outbox and not in the stream goes there, in order."""
        db = self.dbs[noun]
        fresh = db.outbox[db.relayed :]
        db.relayed = len(db.outbox)
        for listener in NOUNS:
            if noun in hears()[listener]:
                self.under_way[listener] += fresh
                if twice:
                    # The relay died before it had noted that they are in the stream.
                    self.under_way[listener] += fresh
        return len(fresh)

    def lose_stream(self, noun: str) -> None:
        """The stream is gone with all that it held of a service; the relay publishes all again."""
        db = self.dbs[noun]
        said = set(map(id, db.outbox))
        for listener in NOUNS:
            left = [row for row in self.under_way[listener] if id(row) not in said]
            self.under_way[listener] = left
            if noun in hears()[listener]:
                self.under_way[listener] += db.outbox[: db.relayed]

    # --- consumers --------------------------------------------------------------------------------

    def take(self, noun: str, rows: Sequence[Row]) -> Work:
        """A batch in one transaction: the inbox, the handlers, what they say."""

        async def work(session: Session) -> inbox.Sorted:
            await session.lock("inbox", [0])
            db = session.db
            found = sort(db, cast(Sequence[Delivery], rows))
            for run in inbox.runs(found.take, handlers()[noun]):
                handler = handlers()[noun][run[0].envelope.event_type]
                parse = handler.message_type.FromString
                events = [Incoming(each.envelope, parse(each.payload)) for each in run]
                await handler.handle(cast(Any, session), events)
            keep(session, found.take)
            return found

        return work

    def deliver(self, noun: str, rows: Sequence[Row], fate: str = "") -> None:
        """Hand events over; what is not acknowledged stays under way."""
        try:
            found, broken = alone(self.dbs[noun], self.take(noun, rows), fate)
        except Died as death:
            if len(death.args) > 1:
                self.broken += death.args[1]
            return
        except (LiandongError, BrokenRule, AssertionError) as error:
            if len(rows) > 1:
                for row in sorted(rows, key=lambda each: each.envelope.sequence):
                    self.deliver(noun, [row])
                return
            self._failed(noun, rows[0], error)
            return
        self.broken += broken
        self.acknowledge(noun, found)

    def _failed(self, noun: str, row: Row, error: Exception) -> None:
        key = (noun, row.envelope.event_id)
        self.tries[key] = self.tries.get(key, 0) + 1
        if self.tries[key] >= ATTEMPTS_MAX or not isinstance(error, LiandongError):
            name = row.envelope.event_type.rsplit(".", 1)[1]
            self.broken.append(f"{noun} parked {name}: {type(error).__name__} {error}")

    def acknowledge(self, noun: str, found: inbox.Sorted) -> None:
        """Taken in or known: they do not come again by themselves."""
        done = {id(each) for each in (*found.take, *found.known)}
        if not done:
            return
        held = self.under_way[noun]
        self.under_way[noun] = [row for row in held if id(row) not in done]
        self.had[noun] += cast(list[Row], found.take)

    # --- commands ---------------------------------------------------------------------------------

    def ask(self, command: Command) -> Work:
        """A command in one transaction: the same request once, its answer kept with its effect."""

        async def work(session: Session) -> Any:
            stored = recall(session, command)
            if stored is not None:
                return stored
            await session.lock("request", [command.request_id])
            answer = await command.work(session)
            if isinstance(answer, LiandongError):
                raise answer
            keep_answer(session, command, answer)
            return answer

        return work


def sort(db: Database, deliveries: Sequence[Delivery]) -> inbox.Sorted:
    """What of a batch is new, known or early: decided by the kernel."""
    return inbox.arrange(deliveries, db.heard, ())


def keep(session: Session, deliveries: Sequence[Delivery]) -> None:
    """Write down that these were taken in."""
    for each in deliveries:
        envelope = each.envelope
        if envelope.event_id in session.db.took:
            raise BrokenRule(f"{envelope.event_type} {envelope.event_id} was taken in before")
        session.took.append(envelope.event_id)
        session.heard[envelope.aggregate] = envelope.sequence


def recall(session: Session, command: Command) -> Any:
    """The answer that a request got before; refused with another body."""
    kept = session.db.answers.get(command.request_id)
    if kept is None:
        return None
    if kept[0] != command.request:
        raise Conflict("REQUEST_ID_REUSED", f"{command.request_id} was used with another body")
    return kept[1]


def keep_answer(session: Session, command: Command, answer: Any) -> None:
    """Keep the answer with the change that it tells of."""
    session.kept[command.request_id] = (command.request, answer)
