"""Registration and import: the use cases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.households import events_out
from services.households.model import (
    Area,
    DataCategory,
    DisputeSubject,
    Draft,
    Entry,
    Household,
    Known,
    Line,
    Person,
    Refusal,
)
from services.households.operations.consents import permitted
from services.households.operations.shared import Keys, read_own
from services.households.rules import registration as rules
from services.households.store import facts as fact_store
from services.households.store import people as people_store
from services.households.store import records
from services.households.store import registration as store
from services.kernel import business_day, ids, outbox
from services.kernel.caller import Caller
from services.kernel.errors import (
    Conflict,
    Denied,
    Exhausted,
    Invalid,
    Refused,
    Violation,
)
from services.kernel.operator import Books

TRIAL_PEOPLE_MAX: Final = 1_000_000
"""A dry run remembers whom it met: about 100 MB at this bound."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What became of the lines of a chunk."""

    households: Sequence[Household]
    people_count: int
    refusals: Sequence[Refusal]


@dataclass(slots=True)
class Trial:
    """What a dry run would have written so far; the registry does not know of it."""

    household_numbers: set[str]
    identity_numbers: set[str]


# --- areas ----------------------------------------------------------------------------------------


async def register_areas(session: AsyncSession, county_code: str, areas: Sequence[Area]) -> int:
    """Enter areas, parents before children; how many were new."""
    missing = {parent for area in areas if (parent := rules.parent_code(area.area_code))}
    known = set(await store.known_areas(session, county_code, sorted(missing)))
    named: set[str] = set()
    for index, area in enumerate(areas):
        code = area.area_code
        field = f"areas[{index}]"
        if wrong := rules.area_violation(area, county_code):
            reason, violation = wrong
            raise _invalid_area(reason, f"{field}.{violation.field}", violation)
        if code in named:
            rule = "must not be named twice in a call"
            raise _invalid_area("AREA_TWICE", field, Violation("area_code", code, rule))
        parent = rules.parent_code(code)
        if parent and parent not in known:
            rule = f"its parent {parent} is not registered"
            raise _invalid_area("AREA_PARENT_UNKNOWN", field, Violation("area_code", code, rule))
        known.add(code)
        named.add(code)
    return await store.save_areas(session, county_code, areas)


def _invalid_area(reason: str, field: str, violation: Violation) -> Invalid:
    return Invalid(
        reason,
        f"{field} = {violation.value}: {violation.rule}",
        message_zh="行政区划不符合要求",
        violations=[Violation(field, violation.value, violation.rule)],
    )


# --- registration ---------------------------------------------------------------------------------


async def import_lines(
    session: AsyncSession, caller: Caller, county_code: str, lines: Sequence[Line], keys: Keys
) -> Chunk:
    """Register the households of a chunk; good lines land, the others come back."""
    today = await business_day.today(session, county_code)
    return await _import(session, caller, county_code, lines, keys, today=today)


async def _import(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    lines: Sequence[Line],
    keys: Keys,
    *,
    today: date,
) -> Chunk:
    entries, refusals = _read(lines, today)
    found_keys = _find_keys(county_code, entries, keys)
    # From here to the commit nobody else registers in this county: what is known stays so.
    await store.lock_registry(session, county_code)
    known = await _known(session, caller, county_code, entries, found_keys)
    drafts, refused = rules.decide(entries, known)
    refusals += refused
    households = await _register(
        session,
        county_code,
        drafts,
        keys,
        found_keys,
        idle=known.idle,
        source_id=caller.institution_id,
        today=today,
    )
    return _chunk(households, refusals)


async def try_lines(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    lines: Sequence[Line],
    keys: Keys,
    *,
    trial: Trial,
) -> Chunk:
    """Say what `import_lines` would do, write nothing; `trial` goes from chunk to chunk."""
    today = await business_day.today(session, county_code)
    entries, refusals = _read(lines, today)
    found_keys = _find_keys(county_code, entries, keys)
    known = await _known(session, caller, county_code, entries, found_keys)
    numbers = trial.household_numbers & {entry.household_number for entry in entries}
    people = trial.identity_numbers & {entry.line.identity_number for entry in entries}
    drafts, refused = rules.decide(
        entries,
        Known(
            areas=known.areas,
            areas_of_caller=known.areas_of_caller,
            household_numbers=known.household_numbers | numbers,
            identity_numbers=known.identity_numbers | people,
            dead_numbers=known.dead_numbers,
        ),
    )
    refusals += refused
    for draft in drafts:
        trial.household_numbers.add(draft.household_number)
        trial.identity_numbers.update(entry.line.identity_number for entry in draft.entries)
    if len(trial.identity_numbers) > TRIAL_PEOPLE_MAX:
        raise Exhausted("TRIAL_TOO_LONG", f"a dry run takes at most {TRIAL_PEOPLE_MAX} people")
    return _chunk([_household(county_code, draft, store.ID_ZERO) for draft in drafts], refusals)


async def register_household(
    session: AsyncSession, caller: Caller, county_code: str, lines: Sequence[Line], keys: Keys
) -> UUID:
    """Register one household today, all of it or nothing; a line a person, numbered from 0."""
    today = await business_day.today(session, county_code)
    dated = [line._replace(registered_on=today.isoformat()) for line in lines]
    chunk = await _import(session, caller, county_code, dated, keys, today=today)
    if chunk.refusals:
        raise _refused_household(chunk.refusals)
    assert len(chunk.households) == 1
    return chunk.households[0].household_id


def _refused_household(refusals: Sequence[Refusal]) -> Conflict | Refused | Denied | Invalid:
    reasons = {refusal.reason for refusal in refusals}
    for reason, kind in _STATE_REASONS.items():
        if reason in reasons:
            rule = rules.RULES[reason]
            return kind(reason, rule.en, message_zh=rule.zh)
    first = rules.RULES[refusals[0].reason]
    violations = list(
        dict.fromkeys(
            Violation(_field(refusal), refusal.value, rules.RULES[refusal.reason].en)
            for refusal in refusals
        )
    )
    text = "; ".join(f"{v.field}: {v.rule}" for v in violations[:10])
    return Invalid(refusals[0].reason, text, message_zh=first.zh, violations=violations)


_STATE_REASONS: Final[Mapping[str, type[Conflict | Refused | Denied]]] = {
    "HOUSEHOLD_EXISTS": Conflict,
    "AREA_NOT_YOURS": Denied,
    "MEMBER_ELSEWHERE": Refused,
    "PERSON_DIED": Refused,
    "FAMILY_IMPOSSIBLE": Refused,
}
_FIELDS: Final = {
    "household_number": "household_number",
    "village_code": "area_code",
    "registration_status": "status",
    "honour": "honour",
}


def _field(refusal: Refusal) -> str:
    """The field of the request that a line's column came from."""
    if refusal.reason == "HEAD_MISSING":
        return "members"
    return _FIELDS.get(refusal.column) or f"members[{refusal.line_number}].{refusal.column}"


def _read(lines: Sequence[Line], today: date) -> tuple[list[Entry], list[Refusal]]:
    entries: list[Entry] = []
    refusals: list[Refusal] = []
    for line in lines:
        read = rules.read_line(line, today)
        if isinstance(read, Entry):
            entries.append(read)
        else:
            refusals.append(read)
    return entries, refusals


def _find_keys(county_code: str, entries: Sequence[Entry], keys: Keys) -> dict[str, bytes]:
    numbers = {entry.line.identity_number for entry in entries}
    return {number: keys.finder.find_key(county_code, number) for number in numbers}


async def _known(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    entries: Sequence[Entry],
    found_keys: Mapping[str, bytes],
) -> Known:
    found = await store.find(
        session,
        county_code,
        areas=list({entry.line.village_code for entry in entries}),
        household_numbers=list({entry.household_number for entry in entries}),
        identity_keys=list(found_keys.values()),
    )
    held = found.identity_keys
    return Known(
        areas=found.areas,
        areas_of_caller=frozenset(area for area in found.areas if caller.may_act_in(area)),
        household_numbers=found.household_numbers,
        identity_numbers=frozenset(n for n, key in found_keys.items() if held and key in held),
        dead_numbers=frozenset(n for n, key in found_keys.items() if key in found.dead_keys),
        idle={n: found.idle[key] for n, key in found_keys.items() if key in found.idle},
    )


async def _register(
    session: AsyncSession,
    county_code: str,
    drafts: Sequence[Draft],
    keys: Keys,
    found_keys: Mapping[str, bytes],
    *,
    idle: Mapping[str, UUID],
    source_id: str,
    today: date,
) -> list[Household]:
    if not drafts:
        return []
    households = [_household(county_code, draft, ids.new_id()) for draft in drafts]
    people = []
    members = []
    for household, draft in zip(households, drafts, strict=True):
        for position, entry in enumerate(draft.entries, 1):
            line = entry.line
            number = line.identity_number
            person_id = idle.get(number)
            if person_id is None:
                person_id = ids.new_id()
                sealed = keys.seal_person(person_id, entry.name, number, line.phone)
                likeness = keys.likeness_key(county_code, entry.name, number)
                people.append((county_code, person_id, found_keys[number], sealed, likeness))
            members.append(
                (
                    county_code,
                    person_id,
                    household.household_id,
                    position,
                    entry.relation,
                    entry.labour or "",
                    entry.registered_on,
                    source_id,
                    today,
                )
            )
    dated = [(h, draft.head.registered_on) for h, draft in zip(households, drafts, strict=True)]
    await store.insert_households(session, dated, source_id=source_id, business_date=today)
    await store.insert_people(session, people)
    await store.insert_members(session, members)
    new = [(person[1], person[4]) for person in people]
    await people_store.note_duplicates(session, county_code, new, today)
    await outbox.record(session, [events_out.household_registered(h, today) for h in households])
    return households


def _household(county_code: str, draft: Draft, household_id: UUID) -> Household:
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
        member_count=len(draft.entries),
    )


def _chunk(households: Sequence[Household], refusals: list[Refusal]) -> Chunk:
    return Chunk(
        households=households,
        people_count=sum(household.member_count for household in households),
        refusals=sorted(refusals, key=lambda refusal: refusal.line_number),
    )


# --- reading --------------------------------------------------------------------------------------


async def get_household(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    household_id: UUID,
    keys: Keys,
    *,
    known_by: date = records.NOW,
) -> tuple[Household, list[Person], bool]:
    """A household, its people as far as the caller may know them, and whether it is contested."""
    household = await read_own(session, caller, county_code, household_id, known_by)
    granted = await permitted(session, caller, county_code, household)
    open_now = await fact_store.open_disputes(session, county_code, household_id, known_by)
    people = []
    for member in await people_store.members_as_known(session, county_code, household_id, known_by):
        name, identity_number, phone = keys.open_person(member.person_id, member.sealed)
        seen = DataCategory.IDENTITY in granted
        people.append(
            Person(
                person_id=member.person_id,
                name=name if seen else rules.mask_name(name),
                identity_number=identity_number if seen else rules.mask_identity(identity_number),
                phone=phone if DataCategory.CONTACT in granted else rules.mask_phone(phone),
                relation=member.relation,
                labour=member.labour,
                disputed=(DisputeSubject.MEMBERSHIP, member.person_id) in open_now,
            )
        )
    disputed = any(subject is DisputeSubject.STATUS for subject, _ in open_now)
    return household, people, disputed


async def list_households(
    session: AsyncSession, caller: Caller, county_code: str, *, within: str, after: UUID, limit: int
) -> list[Household]:
    """Households of an area, as far as it is the caller's, in id order."""
    asked = within or county_code
    prefixes = rules.prefixes_seen(asked, caller.areas)
    if not asked.startswith(county_code) or not prefixes:
        caller_id = caller.institution_id
        raise Denied(
            "AREA_NOT_YOURS", f"{caller_id} may not read {asked}", message_zh="超出本机构辖区"
        )
    return await store.list_households(
        session, county_code, prefixes=prefixes, after=after, limit=limit
    )


# --- the operator's surface -----------------------------------------------------------------------


async def _totals(session: AsyncSession, county_code: str) -> dict[str, int]:
    households, people = await store.totals(session, county_code)
    return {"households.households_count": households, "households.people_count": people}


async def _close_day(_session: AsyncSession, _county_code: str, _day: date) -> None:
    """Nothing in the registry hangs on the end of a day."""


BOOKS: Final = Books(totals=_totals, close_day=_close_day)
