"""A chunk of a household file as far as it can be worked on before the database is asked."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, NamedTuple
from uuid import UUID

from services.households import events_out
from services.households.model import (
    Draft,
    Entry,
    Household,
    Known,
    Labour,
    Line,
    Refusal,
    Relation,
)
from services.households.operations.shared import Keys
from services.households.rules import registration as rules
from services.kernel import ids
from services.kernel.outbox import OutgoingEvent

LINES_A_TURN: Final = 100
"""So many lines are worked on before who waits for the processor has it."""


class Sealed(NamedTuple):
    """A person ready to be written, should the line stand. A tuple: it is a row, and many."""

    person_id: UUID
    identity_key: bytes
    sealed: bytes
    likeness_key: bytes


Place = tuple[UUID, UUID, int, Relation, Labour | str, date]
"""A person's place in a new household, as a row: person, household, position and what it is."""


@dataclass(frozen=True, slots=True)
class Founded:
    """New households, and all that is written and said of them."""

    drafts: Sequence[Draft]
    households: Sequence[Household]
    people: Sequence[Sealed]
    places: Sequence[Place]
    events: Sequence[OutgoingEvent]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A chunk that was read, hashed, sealed and decided as though nobody in it were known."""

    lines: Sequence[Line]
    entries: Sequence[Entry]
    refusals: Sequence[Refusal]
    people: Mapping[Line, Sealed]
    today: date
    foreseen: Known
    """What the registry says when nobody named is there and every area is the caller's."""
    founded: Founded
    """What is written when the registry says that."""
    headless: Sequence[Refusal]
    """The lines that are refused then, beside those in `refusals`."""


async def prepare(county_code: str, lines: Sequence[Line], keys: Keys, today: date) -> Prepared:
    """Read, hash, seal and decide: most of an import's work, which needs no database."""
    entries: list[Entry] = []
    refusals: list[Refusal] = []
    people: dict[Line, Sealed] = {}
    person_ids = ids.new_ids(len(lines))
    for start in range(0, len(lines), LINES_A_TURN):
        read = [rules.read_line(line, today) for line in lines[start : start + LINES_A_TURN]]
        right = [each for each in read if isinstance(each, Entry)]
        refusals += [each for each in read if isinstance(each, Refusal)]
        people.update(_sealed(county_code, right, person_ids[len(entries) :], keys))
        entries += right
        await asyncio.sleep(0)
    areas = frozenset(entry.line.village_code for entry in entries)
    foreseen = Known(areas, areas, frozenset(), frozenset())
    drafts, headless = rules.decide(entries, foreseen)
    await asyncio.sleep(0)
    founded = found(county_code, drafts, people, {}, today)
    return Prepared(lines, entries, refusals, people, today, foreseen, founded, headless)


def _sealed(
    county_code: str, entries: Sequence[Entry], person_ids: Sequence[UUID], keys: Keys
) -> Mapping[Line, Sealed]:
    """The people of lines, by line: a later one about a person does not speak for an earlier."""
    own = person_ids[: len(entries)]
    named = [(entry.name, entry.line.identity_number) for entry in entries]
    records = [(*each, entry.line.phone) for each, entry in zip(named, entries, strict=True)]
    rows = zip(
        own,
        keys.finder.find_keys(county_code, [number for _, number in named]),
        keys.seal_people(own, records),
        keys.likeness_keys(county_code, named),
        strict=True,
    )
    return dict(zip((entry.line for entry in entries), map(Sealed._make, rows), strict=True))


def found(
    county_code: str,
    drafts: Sequence[Draft],
    people: Mapping[Line, Sealed],
    idle: Mapping[str, UUID],
    today: date,
) -> Founded:
    """Make households of drafts; who is `idle` is known from before and stays the same person."""
    households: list[Household] = []
    new: list[Sealed] = []
    places: list[Place] = []
    for draft, household_id in zip(drafts, ids.new_ids(len(drafts)), strict=True):
        entries = draft.entries
        households.append(_household(county_code, draft, household_id))
        for position, entry in enumerate(entries, 1):
            person_id = idle.get(entry.line.identity_number) if idle else None
            if person_id is None:
                person = people[entry.line]
                person_id = person.person_id
                new.append(person)
            place = (household_id, position, entry.relation, entry.labour or "")
            places.append((person_id, *place, entry.registered_on))
    said = [events_out.household_registered(each, today) for each in households]
    return Founded(drafts, households, new, places, said)


def _household(county_code: str, draft: Draft, household_id: UUID) -> Household:
    """The household that a draft makes."""
    head = draft.head
    assert head.status is not None, "a head line without a status is no entry"
    return Household(
        county_code=county_code,
        household_id=household_id,
        version=1,
        household_number=draft.household_number,
        area_code=head.line.village_code,
        status=head.status,
        honour=head.honour,
        member_count=1 + len(draft.others),
        registered_on=head.registered_on,
    )
