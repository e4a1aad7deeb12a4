"""Feed pages: what an institution may know of what is kept, some at a time, masked."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from google.protobuf import json_format
from sqlmodel.ext.asyncio.session import AsyncSession

from gateway import feed_rules, feed_store, resources, tie_store
from gateway.access import Conditions
from gateway.event_types import MESSAGES
from gateway.feed_rules import ORGANS, Fact, Grounds
from gateway.feed_store import Kept, Question
from gateway.feed_ties import ROLE
from gateway.groups import DEPARTMENTS
from gateway.identity import ABOVE_COUNTIES, Institution
from gateway.judge import Judge
from gateway.rules import TOLD
from gateway.tie_store import NOTHING, Standing
from services.kernel.database import Database

ROWS_MAX = 100
"""Events of a page: what one reader holds in memory."""
POSITIONS_MAX = 5_000
"""How many positions one page looks through; a reader who is told little comes as far as others."""
READS_MAX = 4
"""Pages that are read at once, whoever reads: connections are the calls' first of all."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Of all that a reader may know, what it asks for."""

    event_types: frozenset[str] | None = None
    area_codes: tuple[str, ...] = ()
    purpose: str = ""
    """What the reader reads for: consents are given for a purpose."""


@dataclass(frozen=True, slots=True)
class Item:
    """An event as one institution is told of it."""

    kept: Kept
    data: str
    """ProtoJSON."""
    masked: tuple[str, ...]

    @property
    def named(self) -> list[str]:
        """What it is about, as the access log names things."""
        envelope = self.kept.envelope
        found = (
            resources.name_of(envelope.aggregate_type.rpartition(".")[2], envelope.aggregate_id),
            resources.name_of("household", self.kept.tie.household_id),
        )
        return [name for name in found if name]


@dataclass(frozen=True, slots=True)
class Page:
    """Some events in order, and up to which position there are no more before them."""

    items: tuple[Item, ...]
    upto: int
    last: int
    """The last position that is kept."""

    @property
    def resources(self) -> tuple[str, ...]:
        """What its events are about."""
        return resources.bounded([name for item in self.items for name in item.named])


class Pages:
    """Reads pages for any reader, a few at a time."""

    def __init__(self, db: Database, judge: Judge) -> None:
        self._db = db
        self._judge = judge
        self._turns = asyncio.Semaphore(READS_MAX)

    async def read(self, reader: Institution, filters: Filters, *, after: int) -> Page:
        """The next events that a reader may know, at most a page of them."""
        question = question_of(reader, filters)
        async with self._turns, self._db.transaction() as session:
            last = await feed_store.last_position(session)
            upto = min(last, after + POSITIONS_MAX)
            found = await feed_store.find(
                session, question, after=after, upto=upto, rows_max=ROWS_MAX
            )
            if len(found) == ROWS_MAX:
                upto = found[-1].position
            allowed = await self.allowed(session, reader, filters.purpose, found)
        items = [
            told(kept, reader, grounds)
            for kept, grounds in allowed
            if feed_rules.in_areas(Fact.of(kept.envelope, kept.tie), filters.area_codes)
        ]
        return Page(tuple(items), upto, last)

    async def newest(self, reader: Institution) -> Kept | None:
        """The last event that a reader may know, among the latest that are kept."""
        async with self._turns, self._db.transaction() as session:
            last = await feed_store.last_position(session)
            found = await feed_store.find(
                session,
                question_of(reader, Filters()),
                after=max(0, last - 10 * POSITIONS_MAX),
                upto=last,
                rows_max=ROWS_MAX,
                newest=True,
            )
            allowed = await self.allowed(session, reader, "", found)
        return allowed[0][0] if allowed else None

    async def allowed(
        self, session: AsyncSession, reader: Institution, purpose: str, found: Sequence[Kept]
    ) -> list[tuple[Kept, Grounds]]:
        """Those of the events that a reader may know, each with the grounds that it has."""
        standings: Mapping[UUID, Standing] = {}
        conditions = Conditions()
        if reader.role not in ORGANS:
            households = {each.tie.household_id for each in found} - {""}
            read = map(tie_store.id_of, sorted(households))
            named = [each for each in read if each is not None]
            if named:
                standings = await tie_store.standings(
                    session, reader.institution_id, purpose, named
                )
            day = await tie_store.day_of(session, reader.county_code)
            conditions = self._judge.conditions(reader.county_code, day)
        allowed = []
        for kept in found:
            household = tie_store.id_of(kept.tie.household_id)
            standing = standings.get(household, NOTHING) if household else NOTHING
            grounds = Grounds(standing, conditions)
            if feed_rules.may_know(reader, Fact.of(kept.envelope, kept.tie), grounds):
                allowed.append((kept, grounds))
        return allowed


def told(kept: Kept, reader: Institution, grounds: Grounds) -> Item:
    """An event as an institution is told of it."""
    message = MESSAGES[kept.envelope.event_type].FromString(kept.payload)
    masked = feed_rules.mask(message, reader, Fact.of(kept.envelope, kept.tie), grounds)
    data = json_format.MessageToJson(message, indent=None, ensure_ascii=False)
    return Item(kept, data, tuple(masked))


def question_of(reader: Institution, filters: Filters) -> Question:
    """Which events are looked at for a reader."""
    types = feed_rules.told_types(reader.role)
    if filters.event_types is not None:
        types &= filters.event_types
    by_party = {"self"} if reader.role in ORGANS else {"self", "party"}
    party_types = {name for name in types if TOLD[name].ownership in by_party}
    parties = [reader.institution_id]
    if reader.role in DEPARTMENTS:
        parties.append(f"{ROLE}{reader.role}")
    county = reader.county_code
    while county and county.endswith("00"):
        county = county[:-2]
    # Whom an event names may be an organ too.
    return Question(
        open_types=sorted(types - party_types),
        party_types=sorted(types),
        parties=parties,
        county="" if reader.county_code == ABOVE_COUNTIES else county,
    )
