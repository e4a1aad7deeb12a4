"""Household files: prepared, decided and written a chunk at a time; and the registry as a file."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.households import events_out
from services.households.model import (
    Entry,
    Evidence,
    Household,
    Known,
    Leaver,
    LeaveReason,
    Line,
    Membership,
    Provenance,
    Refusal,
    RegistrationStatus,
    Revision,
    Roll,
    Seat,
    StatusChange,
    Wish,
)
from services.households.operations.prepared import Founded, Prepared, Sealed, found, prepare
from services.households.operations.shared import IDENTITY_ROLES, Keys, next_version
from services.households.operations.trials import Trial
from services.households.rules import registration as rules
from services.households.rules import updates
from services.households.store import files as store
from services.households.store import people as people_store
from services.households.store import registration as registry_store
from services.households.store import standing as standing_store
from services.kernel import business_day, ids, outbox
from services.kernel.caller import Caller
from services.kernel.errors import Denied
from services.kernel.outbox import OutgoingEvent
from services.kernel.values import replace

STATUS_BY_FILE: Final = "household_file"
"""The reason that a change of status by file is kept with."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What became of the lines of a chunk."""

    households: Sequence[Household]
    people_count: int
    refusals: Sequence[Refusal]
    changed: Sequence[Household] = ()
    changed_lines: Sequence[int] = ()


@dataclass(slots=True)
class _Decision:
    """What is to be written."""

    founded: Founded
    revisions: list[Revision]
    refusals: list[Refusal]


async def prepare_today(
    session: AsyncSession, county_code: str, lines: Sequence[Line], keys: Keys
) -> Prepared:
    """Read, hash and seal a chunk for the county's business date."""
    today = await business_day.today(session, county_code)
    return await prepare(county_code, lines, keys, today)


# --- a chunk --------------------------------------------------------------------------------------


async def import_lines(
    session: AsyncSession, caller: Caller, county_code: str, lines: Sequence[Line], keys: Keys
) -> Chunk:
    """Register the households of lines; good lines land, the others come back."""
    prepared = await prepare_today(session, county_code, lines, keys)
    return await import_chunk(session, caller, county_code, prepared, keys)


async def import_chunk(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    prepared: Prepared,
    keys: Keys,
    *,
    update: bool = False,
    evidence: Evidence | None = None,
) -> Chunk:
    """Write what a chunk says; households that exist are changed only in an update."""
    # From here to the commit nobody else registers in this county: what is known stays so.
    await registry_store.lock_registry(session, county_code)
    today = await business_day.today(session, county_code)
    if today != prepared.today:
        prepared = await prepare(county_code, prepared.lines, keys, today)
    acted_by = caller.require_person() if update else caller.person_id
    provenance = Provenance(caller.institution_id, acted_by, evidence, today)
    decision = await _decide(session, caller, county_code, prepared, keys, update=update)
    await _register(session, county_code, decision, provenance)
    changed = await _revise(session, county_code, decision.revisions, keys, provenance)
    return _chunk(changed, decision)


async def try_chunk(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    prepared: Prepared,
    keys: Keys,
    *,
    trial: Trial,
    update: bool = False,
) -> Chunk:
    """Say what `import_chunk` would do, write nothing; `trial` goes from chunk to chunk."""
    if update:
        caller.require_person()
    decision = await _decide(
        session, caller, county_code, prepared, keys, update=update, trial=trial
    )
    trial.take(decision.founded.households, decision.founded.drafts, decision.revisions)
    changed = [revision.after.household for revision in decision.revisions]
    return _chunk(changed, decision)


async def _decide(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    prepared: Prepared,
    keys: Keys,
    *,
    update: bool,
    trial: Trial | None = None,
) -> _Decision:
    entries, refusals = list(prepared.entries), list(prepared.refusals)
    found_keys = {
        line.identity_number: person.identity_key for line, person in prepared.people.items()
    }
    rolls: dict[str, Roll] = {}
    wishes: dict[str, list[Wish]] = {}
    if update:
        rolls = await _rolls(session, county_code, prepared.lines, keys, trial)
        entries, refusals = _only_new(entries, refusals, prepared.lines, rolls)
        wishes = _wishes(prepared, rolls, refusals)
        for wish in (each for group in wishes.values() for each in group):
            number = wish.identity_number
            if number not in found_keys:
                found_keys[number] = keys.finder.find_key(county_code, number)
    areas = {entry.line.village_code for entry in entries}
    areas |= {roll.household.area_code for roll in rolls.values()}
    areas |= {wish.area_code for group in wishes.values() for wish in group if wish.area_code}
    # Of an update those that exist are known by now.
    numbers = set() if update else {entry.household_number for entry in entries}
    known = await _known(
        session, caller, county_code, areas, numbers=numbers, found_keys=found_keys
    )
    if trial is not None:
        known = trial.beside(known, numbers, found_keys)
    where = updates.People(
        seated=set(known.identity_numbers), idle=set(known.idle), dead=set(known.dead_numbers)
    )
    revisions = []
    idle = dict(known.idle)
    # Who leaves one household in this chunk may join another in it, whichever stands first.
    ordered = sorted(wishes.items(), key=lambda each: not any(wish.left_on for wish in each[1]))
    for number, group in ordered:
        revision, refused = updates.revise(
            rolls[number],
            group,
            known,
            where,
            today=prepared.today,
            may_change_status=caller.role == "poverty_office",
        )
        refusals += refused
        if revision is not None:
            revisions.append(_placed(revision, idle))
    if update:
        known = replace(
            known,
            identity_numbers=frozenset(where.seated),
            dead_numbers=frozenset(where.dead),
            idle={number: idle[number] for number in where.idle},
        )
    if known == prepared.foreseen and len(entries) == len(prepared.entries):
        return _Decision(prepared.founded, revisions, refusals + list(prepared.headless))
    drafts, refused = rules.decide(entries, known)
    founded = found(county_code, drafts, prepared.people, known.idle, prepared.today)
    return _Decision(founded, revisions, refusals + refused)


async def _known(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    areas: Iterable[str],
    *,
    numbers: Iterable[str],
    found_keys: Mapping[str, bytes],
) -> Known:
    found = await registry_store.find(
        session,
        county_code,
        areas=list(areas),
        household_numbers=list(numbers),
        identity_keys=list(found_keys.values()),
    )
    held = found.identity_keys
    return Known(
        areas=found.areas,
        areas_of_caller=frozenset(area for area in found.areas if caller.may_act_in(area)),
        household_numbers=frozenset(found.household_ids),
        identity_numbers=frozenset(n for n, key in found_keys.items() if held and key in held),
        dead_numbers=frozenset(n for n, key in found_keys.items() if key in found.dead_keys),
        idle={n: found.idle[key] for n, key in found_keys.items() if key in found.idle},
    )


# --- households that exist ------------------------------------------------------------------------


async def _rolls(
    session: AsyncSession,
    county_code: str,
    lines: Sequence[Line],
    keys: Keys,
    trial: Trial | None,
) -> dict[str, Roll]:
    """The households that lines name and that exist, held unless nothing is written."""
    numbers = list(dict.fromkeys(line.household_number.strip() for line in lines))
    rolls = trial.rolls(numbers) if trial is not None else {}
    found = await registry_store.find(
        session,
        county_code,
        areas=[],
        household_numbers=[number for number in numbers if number not in rolls],
        identity_keys=[],
    )
    household_ids = list(found.household_ids.values())
    if household_ids:
        load = people_store.read_households if trial is not None else people_store.lock_households
        households = await load(session, county_code, household_ids)
        members = await store.members_of(session, county_code, household_ids)
        for number, household_id in found.household_ids.items():
            rolls[number] = _roll(households[household_id], members[household_id], keys)
    return rolls


def _roll(household: Household, members: Sequence[tuple[Membership, bool]], keys: Keys) -> Roll:
    seats = []
    for member, hidden in members:
        if hidden:
            continue
        name, number, phone = keys.open_person(member.person_id, member.sealed)
        seats.append(
            Seat(
                person_id=member.person_id,
                household_id=member.household_id,
                position=member.position,
                relation=member.relation,
                labour=member.labour,
                joined_on=member.joined_on,
                name=name,
                identity_number=number,
                phone=phone,
            )
        )
    own = [member for member, _ in members if member.household_id == household.household_id]
    last = max((member.position for member in own), default=0)
    return Roll(household, tuple(seats), last)


def _only_new(
    entries: Sequence[Entry],
    refusals: Sequence[Refusal],
    lines: Sequence[Line],
    rolls: Mapping[str, Roll],
) -> tuple[list[Entry], list[Refusal]]:
    """Of what was read as new households, what really is."""
    there = {line.line_number for line in lines if line.household_number.strip() in rolls}
    return (
        [entry for entry in entries if entry.line.line_number not in there],
        [refusal for refusal in refusals if refusal.line_number not in there],
    )


def _wishes(
    prepared: Prepared, rolls: Mapping[str, Roll], refusals: list[Refusal]
) -> dict[str, list[Wish]]:
    """The lines about households that exist, by number; the wrong ones go to `refusals`."""
    wishes: dict[str, list[Wish]] = {}
    for line in prepared.lines:
        number = line.household_number.strip()
        if number not in rolls:
            continue
        read = updates.read_wish(line, prepared.today)
        if isinstance(read, Wish):
            wishes.setdefault(number, []).append(read)
        else:
            refusals.append(read)
    return wishes


def _placed(revision: Revision, idle: dict[str, UUID]) -> Revision:
    """With the ids of those who join: a person known from before stays the same person."""
    for leaver in revision.left:
        assert leaver.seat.person_id is not None
        idle[leaver.seat.identity_number] = leaver.seat.person_id
    made = {
        seat.identity_number: idle.get(seat.identity_number) or ids.new_id()
        for seat in revision.joined
    }

    def place(seat: Seat) -> Seat:
        return replace(seat, person_id=seat.person_id or made[seat.identity_number])

    after = replace(revision.after, seats=tuple(map(place, revision.after.seats)))
    return replace(revision, joined=tuple(map(place, revision.joined)), after=after)


# --- writing --------------------------------------------------------------------------------------


async def _register(
    session: AsyncSession, county_code: str, decision: _Decision, provenance: Provenance
) -> None:
    """Write the new households, and the people whom changed ones gain."""
    founded = decision.founded
    left = [leaver for revision in decision.revisions for leaver in revision.left]
    # Who leaves one household may be a founder of another.
    await store.end_places(session, county_code, left, provenance)
    await store.insert_households(session, founded.households, provenance)
    await store.insert_people(session, county_code, founded.people, provenance.business_date)
    await store.insert_members(session, county_code, founded.places, provenance)
    await outbox.record(session, founded.events)


async def _revise(
    session: AsyncSession,
    county_code: str,
    revisions: Sequence[Revision],
    keys: Keys,
    provenance: Provenance,
) -> list[Household]:
    """Write what changes of households that exist, a statement a table."""
    if not revisions:
        return []
    reseated = [
        Leaver(seat, provenance.business_date, LeaveReason.RESEATED)
        for revision in revisions
        for seat in revision.reseated
    ]
    await store.end_places(session, county_code, reseated, provenance)
    joined = [seat for revision in revisions for seat in revision.joined]
    await _admit(session, county_code, joined, keys, provenance)
    seated = [*joined, *(leaver.seat for leaver in reseated)]
    places = [_membership(seat) for seat in seated]
    await people_store.seat(session, county_code, places, provenance)
    corrected = [seat for revision in revisions for seat in revision.corrected]
    await _correct(session, county_code, corrected, keys, provenance)
    await _say(session, revisions, provenance)
    return [revision.after.household for revision in revisions]


def _membership(seat: Seat) -> Membership:
    assert seat.person_id is not None
    return Membership(
        person_id=seat.person_id,
        household_id=seat.household_id,
        position=seat.position,
        relation=seat.relation,
        labour=seat.labour,
        joined_on=seat.joined_on,
    )


async def _admit(
    session: AsyncSession,
    county_code: str,
    joined: Sequence[Seat],
    keys: Keys,
    provenance: Provenance,
) -> None:
    """Write those who join and are nowhere in the registry yet."""
    known = await people_store.read_people(
        session, county_code, [seat.person_id for seat in joined if seat.person_id]
    )
    new = [seat for seat in joined if seat.person_id not in known]
    rows = [_sealed(county_code, seat, keys) for seat in new]
    await store.insert_people(session, county_code, rows, provenance.business_date)


def _sealed(county_code: str, seat: Seat, keys: Keys) -> Sealed:
    assert seat.person_id is not None, "who joins has been given an id"
    return Sealed(
        seat.person_id,
        keys.finder.find_key(county_code, seat.identity_number),
        keys.seal_person(seat.person_id, seat.name, seat.identity_number, seat.phone),
        keys.likeness_key(county_code, seat.name, seat.identity_number),
    )


async def _correct(
    session: AsyncSession,
    county_code: str,
    corrected: Sequence[Seat],
    keys: Keys,
    provenance: Provenance,
) -> None:
    """Write who has another name or phone; a former record stays readable."""
    if not corrected:
        return
    people = [_sealed(county_code, seat, keys) for seat in corrected]
    rows = [(each.person_id, each.sealed, each.likeness_key) for each in people]
    await store.correct_people(session, county_code, rows, provenance)
    named = [(each.person_id, each.likeness_key) for each in people]
    await people_store.note_duplicates(
        session, county_code, named, provenance.business_date, with_newer=True
    )


async def _say(
    session: AsyncSession, revisions: Sequence[Revision], provenance: Provenance
) -> None:
    """Raise the versions of households that are others now, keep their statuses, tell it."""
    today = provenance.business_date
    saved: list[Household] = []
    changes: list[tuple[Household, StatusChange, RegistrationStatus]] = []
    said: list[OutgoingEvent] = []
    for revision in revisions:
        if not revision.says:
            continue
        before = revision.before
        now = next_version(replace(revision.after.household, version=before.version))
        delisted = now.status is not before.status and now.status is RegistrationStatus.DELISTED
        if replace(now, status=before.status, version=before.version) != before or not delisted:
            said.append(events_out.household_changed(now, today))
            now = next_version(now) if delisted else now
        if delisted:
            said.append(events_out.household_delisted(now, STATUS_BY_FILE, today))
        if now.status is not before.status:
            change = StatusChange(ids.new_id(), now.status, today, STATUS_BY_FILE, provenance)
            changes.append((now, change, before.status))
        saved.append(now)
    if saved:
        await people_store.save_households(session, saved, provenance)
    await standing_store.insert_changes(session, changes)
    await outbox.record(session, said)


def _chunk(changed: Sequence[Household], decision: _Decision) -> Chunk:
    founded = decision.founded
    return Chunk(
        households=founded.households,
        people_count=len(founded.places),
        refusals=sorted(decision.refusals, key=lambda refusal: refusal.line_number),
        changed=changed,
        changed_lines=sorted(n for each in decision.revisions for n in each.changed_lines),
    )


# --- the registry as a file -----------------------------------------------------------------------


async def export_rolls(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    keys: Keys,
    *,
    within: str,
    after: UUID,
    limit: int,
) -> list[Roll]:
    """Households of an area with all of their people, in id order; for registrars only."""
    if caller.role not in IDENTITY_ROLES:
        raise Denied(
            "ROLE_NOT_ALLOWED",
            f"role {caller.role} may not read whole names and numbers",
            message_zh="本角色无此权限",
        )
    asked = within or county_code
    prefixes = rules.prefixes_seen(asked, caller.areas)
    if not asked.startswith(county_code) or not prefixes:
        raise Denied(
            "AREA_NOT_YOURS",
            f"{caller.institution_id} may not read {asked}",
            message_zh="超出本机构辖区",
        )
    households = await store.list_standing(
        session, county_code, prefixes=prefixes, after=after, limit=limit
    )
    found = [household.household_id for household in households]
    members = await store.members_of(session, county_code, found)
    return [_roll(household, members[household.household_id], keys) for household in households]
