"""
A service's database in memory, as the kernel's contract has it.

A transaction sees what was committed and what it wrote itself; row locks make others wait; its
rows, journal, outbox and inbox are written together or not at all; what must be unique is.
"""

from collections import Counter
from collections.abc import Callable, Generator, Iterable
from typing import Any

from services.kernel.cloudevents import Envelope
from services.kernel.journal import Entry
from services.kernel.outbox import OutgoingEvent

Key = Any
_GONE: Any = object()


class BrokenRule(Exception):
    """A constraint of the database: the transaction ends, nothing of it is kept."""


class Deadlock(Exception):
    """Two transactions wait for each other: this one is undone, and may run again."""


class _Turn:
    """A moment at which another transaction may go on."""

    __slots__ = ("waits",)

    def __init__(self, *, waits: bool) -> None:
        self.waits = waits

    def __await__(self) -> Generator[bool, None, None]:
        yield self.waits


_WAIT, _PAUSE = _Turn(waits=True), _Turn(waits=False)


class Row:
    """An event in the outbox."""

    __slots__ = ("envelope", "payload")

    def __init__(self, envelope: Envelope, payload: bytes) -> None:
        self.envelope, self.payload = envelope, payload


Watch = Callable[["Session"], Iterable[str]]
"""Looks at a transaction just before it is kept, and names every rule that it breaks."""


class Database:
    """One service's rows of one county."""

    def __init__(self, noun: str, tables: Iterable[str]) -> None:
        self.noun = noun
        self.tables: dict[str, dict[Key, Any]] = {name: {} for name in tables}
        self.journal: list[tuple[Entry, tuple[Any, ...]]] = []
        self.posted: set[tuple[str, str]] = set()
        self.balances: Counter[tuple[str, str]] = Counter()
        self.outbox: list[Row] = []
        self.relayed = 0
        """So many rows of the outbox the stream has acknowledged."""
        self.said: dict[tuple[str, str], int] = {}
        self.heard: dict[tuple[str, str], int] = {}
        self.took: set[Any] = set()
        self.answers: dict[Any, tuple[Any, Any]] = {}
        self.day: Any = None
        self.locks: dict[tuple[str, Key], tuple[bool, set[Session]]] = {}
        self.watch: Watch | None = None
        self.others: dict[str, Database] = {}
        """All services' databases: what no service sees, and a rule may look at."""

    def like(self) -> "Database":
        """Another database with the same rows."""
        made = Database.__new__(Database)
        made.noun, made.day, made.watch = self.noun, self.day, self.watch
        made.tables = {name: dict(rows) for name, rows in self.tables.items()}
        made.journal, made.posted = list(self.journal), set(self.posted)
        made.balances, made.outbox = Counter(self.balances), list(self.outbox)
        made.relayed = self.relayed
        made.said, made.heard = dict(self.said), dict(self.heard)
        made.others = {}
        made.took, made.answers, made.locks = set(self.took), dict(self.answers), {}
        return made


class Session:
    """One transaction."""

    __slots__ = (
        "_added",
        "_held",
        "alone",
        "db",
        "entries",
        "events",
        "heard",
        "kept",
        "own",
        "took",
    )

    def __init__(self, db: Database, *, alone: bool = True) -> None:
        self.db = db
        self.alone = alone
        """Nobody else is at work: nobody is waited for."""
        self.own: dict[str, dict[Key, Any]] = {}
        self.entries: list[tuple[Entry, tuple[Any, ...]]] = []
        self.events: list[tuple[OutgoingEvent, Any]] = []
        self.heard: dict[tuple[str, str], int] = {}
        self.took: list[Any] = []
        self.kept: dict[Any, tuple[Any, Any]] = {}
        self._held: list[tuple[str, Key]] = []
        self._added: list[tuple[str, Key]] = []

    # --- reading ----------------------------------------------------------------------------------

    def get(self, table: str, key: Key) -> Any:
        """A row as this transaction sees it; None where there is none."""
        own = self.own.get(table)
        if own is not None and key in own:
            return own[key]
        return self.db.tables[table].get(key)

    def rows(self, table: str) -> Iterable[Any]:
        """All rows as this transaction sees them, in order of their keys' making."""
        own = self.own.get(table)
        held = self.db.tables[table]
        return {**held, **own}.values() if own else held.values()

    def items(self, table: str) -> Iterable[tuple[Key, Any]]:
        """The same with their keys."""
        own = self.own.get(table)
        held = self.db.tables[table]
        return {**held, **own}.items() if own else held.items()

    # --- locking ----------------------------------------------------------------------------------

    async def lock(self, table: str, keys: Iterable[Key], *, share: bool = False) -> None:
        """Hold rows until the end; whoever holds one of them is waited for."""
        if self.alone:
            return
        await _PAUSE
        for key in keys:
            place = (table, key)
            while not self._take(place, share=share):
                await _WAIT

    def _take(self, place: tuple[str, Key], *, share: bool) -> bool:
        held = self.db.locks.get(place)
        if held is None:
            self.db.locks[place] = (share, {self})
            self._held.append(place)
            return True
        shared, owners = held
        if owners == {self}:
            self.db.locks[place] = (share and shared, owners)
            return True
        if share and shared:
            if self not in owners:
                owners.add(self)
                self._held.append(place)
            return True
        return False

    async def pause(self) -> None:
        """A read that holds nothing: others may go on after it."""
        if not self.alone:
            await _PAUSE

    # --- writing ----------------------------------------------------------------------------------

    def put(self, table: str, key: Key, value: Any) -> None:
        """Write a row."""
        own = self.own.get(table)
        if own is None:
            own = self.own[table] = {}
        own[key] = value

    def add(self, table: str, key: Key, value: Any) -> None:
        """Write a new row; one that is there is a broken rule."""
        if self.get(table, key) is not None:
            raise BrokenRule(f"{table} has {key} already")
        self._added.append((table, key))
        self.put(table, key, value)

    # --- ending -----------------------------------------------------------------------------------

    def commit(self) -> list[str]:
        """Keep all of it; which rules it broke."""
        db = self.db
        if not self.alone:
            self._check_unique()
        broken = list(db.watch(self)) if db.watch is not None else []
        for table, own in self.own.items():
            db.tables[table].update(own)
        for row in self.entries:
            db.journal.append(row)
            db.posted.add((row[0].kind, row[0].cause_id))
            for transfer in row[1]:
                debit, credit = transfer.debit, transfer.credit
                db.balances[debit.name, debit.owner_id] += transfer.amount_fen
                db.balances[credit.name, credit.owner_id] -= transfer.amount_fen
        for event, event_id in self.events:
            aggregate = (event.aggregate_type, event.aggregate_id)
            last = db.said.get(aggregate, 0)
            if event.sequence != last + 1:
                broken.append(f"{event.event_type} is {event.sequence} after {last}")
            db.said[aggregate] = event.sequence
            db.outbox.append(_row(event, event_id))
        db.heard.update(self.heard)
        db.took.update(self.took)
        db.answers.update(self.kept)
        self.release()
        return broken

    def _check_unique(self) -> None:
        """Whoever wrote the same meanwhile has committed."""
        db = self.db
        for table, key in self._added:
            if key in db.tables[table]:
                raise BrokenRule(f"{table} has {key} already")
        for entry, _ in self.entries:
            if (entry.kind, entry.cause_id) in db.posted:
                raise BrokenRule(f"{entry.kind} of {entry.cause_id} is posted")
        if any(each in db.answers for each in self.kept) or db.took & set(self.took):
            raise BrokenRule("a request or an event is there already")

    def release(self) -> None:
        """Let go of what was held."""
        locks = self.db.locks
        for place in self._held:
            _, owners = locks[place]
            owners.discard(self)
            if not owners:
                del locks[place]
        self._held.clear()


def _row(event: OutgoingEvent, event_id: Any) -> Row:
    envelope = Envelope(
        event_id=event_id,
        event_type=event.event_type,
        aggregate_type=event.aggregate_type,
        aggregate_id=event.aggregate_id,
        sequence=event.sequence,
        county_code=event.county_code,
        business_date=event.business_date,
        programme=event.programme,
        traceparent="",
        recorded_at=_GONE,
    )
    return Row(envelope, event.message.SerializeToString(deterministic=True))
