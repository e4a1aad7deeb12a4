"""Who belongs to a household: joining, leaving, another head, a household of one's own."""

from collections.abc import Sequence
from datetime import date
from typing import Final
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.households import events_out
from services.households.model import (
    Entry,
    Evidence,
    Household,
    LeaveReason,
    Line,
    Membership,
    Provenance,
    Refusal,
    Relation,
)
from services.households.operations.shared import (
    Keys,
    came_from,
    lock_own,
    next_version,
    not_after,
    require_known_area,
)
from services.households.rules import people as rules
from services.households.rules import registration
from services.households.store import files as file_store
from services.households.store import people as store
from services.households.store import records
from services.households.store import registration as registry_store
from services.kernel import ids, outbox
from services.kernel.caller import Caller
from services.kernel.errors import Conflict, Refused, invalid_field
from services.kernel.values import replace

Seats = Sequence[tuple[UUID, str]]
"""People with the word of their new relation; empty keeps it."""

_FOUNDED: Final = 1


async def add_member(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    household_id: UUID,
    line: Line,
    *,
    keys: Keys,
    joined_on: date,
    evidence: Evidence,
) -> tuple[UUID, int]:
    """Let a person join; the person's id and the household's version."""
    await registry_store.lock_registry(session, county_code)
    household = await lock_own(session, caller, county_code, household_id)
    provenance = await came_from(session, caller, county_code, evidence)
    today = provenance.business_date
    not_after("joined_on", joined_on, today)
    entry = _entry(line, joined_on, today)
    members = await _own_members(session, county_code, household_id)
    if len(members) == registration.PEOPLE_MAX:
        raise _refused("HOUSEHOLD_TOO_LARGE")
    person_id = await _person(session, county_code, entry, keys, today)
    seat = Membership(
        person_id=person_id,
        household_id=household_id,
        position=await store.last_position(session, county_code, household_id) + 1,
        relation=entry.relation,
        labour=entry.labour,
        joined_on=joined_on,
        sealed=b"",
    )
    relation = [(entry.relation, line.identity_number)]
    _require_family([*_kin(members, keys), *relation])
    await store.seat(session, county_code, [seat], provenance)
    changed = next_version(household, member_count=household.member_count + 1)
    await _save(session, [changed], provenance)
    return person_id, changed.version


async def _own_members(
    session: AsyncSession, county_code: str, household_id: UUID
) -> list[Membership]:
    """The people of the record itself; those of its aliases change once they are undone."""
    members = await store.members_as_known(session, county_code, household_id, records.NOW)
    return [member for member in members if member.household_id == household_id]


def _entry(line: Line, joined_on: date, today: date) -> Entry:
    read = registration.read_line(line._replace(registered_on=joined_on.isoformat()), today)
    if isinstance(read, Refusal):
        rule = registration.RULES[read.reason]
        raise invalid_field(read.reason, f"member.{read.column}", read.value, rule.en, rule.zh)
    if read.relation is Relation.HEAD:
        rule = registration.RULES["SECOND_HEAD"]
        raise invalid_field("SECOND_HEAD", "member.relation", line.relation, rule.en, rule.zh)
    return read


async def _person(
    session: AsyncSession, county_code: str, entry: Entry, keys: Keys, today: date
) -> UUID:
    """The person of a line: one without a household, or a new one."""
    number = entry.line.identity_number
    key = keys.finder.find_key(county_code, number)
    found = await registry_store.find(
        session, county_code, areas=[], household_numbers=[], identity_keys=[key]
    )
    if key in found.identity_keys:
        raise _refused("MEMBER_ELSEWHERE")
    if key in found.dead_keys:
        raise _refused("PERSON_DIED")
    if key in found.idle:
        return found.idle[key]
    person_id = ids.new_id()
    sealed = keys.seal_person(person_id, entry.name, number, entry.line.phone)
    likeness = keys.likeness_key(county_code, entry.name, number)
    row = (person_id, key, sealed, likeness)
    await file_store.insert_people(session, county_code, [row], today)
    return person_id


def _refused(reason: str) -> Refused:
    rule = registration.RULES[reason]
    return Refused(reason, rule.en, message_zh=rule.zh)


def _kin(members: Sequence[Membership], keys: Keys) -> list[tuple[Relation, str]]:
    return [
        (member.relation, keys.open_person(member.person_id, member.sealed)[1])
        for member in members
    ]


def _require_family(people: Sequence[tuple[Relation, str]]) -> None:
    fault = rules.family_fault([rules.kin(relation, number) for relation, number in people])
    if fault:
        raise Refused(
            "FAMILY_IMPOSSIBLE", f"relation: {fault}", message_zh="户内关系与年龄性别矛盾"
        )


async def _save(
    session: AsyncSession, households: Sequence[Household], provenance: Provenance
) -> None:
    await store.save_households(session, households, provenance)
    day = provenance.business_date
    await outbox.record(
        session, [events_out.household_changed(household, day) for household in households]
    )


# --- leaving --------------------------------------------------------------------------------------


async def remove_member(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    household_id: UUID,
    person_id: UUID,
    *,
    keys: Keys,
    reason: LeaveReason,
    left_on: date,
    successor_id: UUID | None,
    seats: Seats,
    evidence: Evidence,
) -> int:
    """Let a member go, or keep a death; the household's version."""
    household = await lock_own(session, caller, county_code, household_id)
    provenance = await came_from(session, caller, county_code, evidence)
    not_after("left_on", left_on, provenance.business_date)
    members = await _own_members(session, county_code, household_id)
    leaver = _member(members, person_id)
    if left_on < leaver.joined_on:
        rule = f"must not be before the joining on {leaver.joined_on}"
        raise invalid_field("DATE_TOO_EARLY", "left_on", left_on, rule, "早于入户日期")
    staying = [member for member in members if member.person_id != person_id]
    if not staying and reason is not LeaveReason.DIED:
        raise Refused(
            "LAST_MEMBER", "only a death empties a household", message_zh="户内最后一名成员不得迁出"
        )
    seated = _rearranged(staying, successor_id, seats)
    _require_family(_kin(seated, keys))
    await store.end_memberships(
        session, county_code, [person_id], provenance, ended_on=left_on, reason=reason
    )
    if reason is LeaveReason.DIED:
        await store.note_death(session, county_code, person_id, left_on)
    await _reseat(session, county_code, staying, seated, provenance)
    changed = next_version(household, member_count=len(staying))
    await _save(session, [changed], provenance)
    return changed.version


def _member(members: Sequence[Membership], person_id: UUID) -> Membership:
    found = next((member for member in members if member.person_id == person_id), None)
    if found is None:
        raise Refused(
            "NOT_A_MEMBER",
            f"person_id = {person_id}: must be a member of the household",
            message_zh="该人不是本户成员",
        )
    return found


def _rearranged(
    members: Sequence[Membership], head_id: UUID | None, seats: Seats
) -> list[Membership]:
    """Members with their new relations; a household of anybody has a head."""
    words = dict(seats)
    for person_id in (*words, *([head_id] if head_id else [])):
        _member(members, person_id)
    relations: dict[UUID, Relation] = {}
    for member in members:
        relation = member.relation
        if words.get(member.person_id):
            relation = _relation(words[member.person_id])
        if member.person_id == head_id:
            relation = Relation.HEAD
        elif head_id and relation is Relation.HEAD:
            raise Refused(
                "HEAD_NEEDED",
                f"seats: {member.person_id} needs a relation to the new head",
                message_zh="原户主须登记与新户主的关系",
            )
        relations[member.person_id] = relation
    if members and Relation.HEAD not in relations.values():
        raise Refused(
            "HEAD_NEEDED", "successor_id: who stays needs a head", message_zh="须确定新户主"
        )
    return [replace(member, relation=relations[member.person_id]) for member in members]


def _relation(word: str) -> Relation:
    relation = registration.relation_of(word)
    if relation is None:
        rule = registration.RULES["RELATION_UNKNOWN"]
        raise invalid_field("RELATION_UNKNOWN", "seats.relation", word, rule.en, rule.zh)
    return relation


async def _reseat(
    session: AsyncSession,
    county_code: str,
    before: Sequence[Membership],
    after: Sequence[Membership],
    provenance: Provenance,
) -> None:
    """Write the relations that changed; the former ones go to the past."""
    known = {member.person_id: member.relation for member in before}
    moved = [member for member in after if known[member.person_id] is not member.relation]
    await store.end_memberships(
        session,
        county_code,
        [member.person_id for member in moved],
        provenance,
        ended_on=provenance.business_date,
        reason=LeaveReason.RESEATED,
    )
    await store.seat(session, county_code, moved, provenance)


async def change_head(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    household_id: UUID,
    head_id: UUID,
    *,
    keys: Keys,
    seats: Seats,
    evidence: Evidence,
) -> int:
    """Make another member the head; the household's version."""
    household = await lock_own(session, caller, county_code, household_id)
    provenance = await came_from(session, caller, county_code, evidence)
    members = await _own_members(session, county_code, household_id)
    seated = _rearranged(members, head_id, seats)
    _require_family(_kin(seated, keys))
    await _reseat(session, county_code, members, seated, provenance)
    changed = next_version(household)
    await _save(session, [changed], provenance)
    return changed.version


# --- a household of one's own ---------------------------------------------------------------------


async def split_household(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    household_id: UUID,
    keys: Keys,
    *,
    founded: Household,
    head_id: UUID,
    seats: Seats,
    successor_id: UUID | None,
    staying_seats: Seats,
    evidence: Evidence,
) -> UUID:
    """Let members found `founded`: its number, area and day are the caller's words."""
    await registry_store.lock_registry(session, county_code)
    household = await lock_own(session, caller, county_code, household_id)
    provenance = await came_from(session, caller, county_code, evidence)
    await _require_new(session, caller, founded, provenance.business_date)
    members = await _own_members(session, county_code, household_id)
    leaving_ids = {person_id for person_id, _ in seats}
    leaving = [member for member in members if member.person_id in leaving_ids]
    for person_id in leaving_ids:
        _member(members, person_id)
    staying = [member for member in members if member.person_id not in leaving_ids]
    if not staying:
        raise Refused("LAST_MEMBER", "somebody stays behind", message_zh="原户不得无人")
    seated = _rearranged(leaving, head_id, seats)
    left = _rearranged(staying, successor_id, staying_seats)
    for group in (seated, left):
        _require_family(_kin(group, keys))
    made = replace(founded, status=household.status, member_count=len(seated), version=_FOUNDED)
    await store.insert_household(session, made, provenance)
    await store.end_memberships(
        session,
        county_code,
        [member.person_id for member in leaving],
        provenance,
        ended_on=_day(founded),
        reason=LeaveReason.SPLIT,
    )
    await store.seat(session, county_code, _placed(seated, made), provenance)
    await _reseat(session, county_code, staying, left, provenance)
    changed = next_version(household, member_count=len(left))
    await outbox.record(session, [events_out.household_registered(made, provenance.business_date)])
    await _save(session, [changed], provenance)
    return made.household_id


def _placed(seated: Sequence[Membership], household: Household) -> list[Membership]:
    """Members of a new household in their order, head first."""
    ordered = sorted(seated, key=lambda member: member.relation is not Relation.HEAD)
    return [
        replace(
            member,
            household_id=household.household_id,
            position=position,
            joined_on=_day(household),
        )
        for position, member in enumerate(ordered, 1)
    ]


def _day(household: Household) -> date:
    assert household.registered_on is not None, "a founded household has its day"
    return household.registered_on


async def _require_new(
    session: AsyncSession, caller: Caller, founded: Household, today: date
) -> None:
    """Refuse a household that cannot be founded under this number, there, then."""
    not_after("split_on", _day(founded), today)
    number = founded.household_number
    if reason := registration.number_fault(number, today):
        rule = registration.RULES[reason]
        shown = registration.shown("household_number", number)
        raise invalid_field(reason, "household_number", shown, rule.en, rule.zh)
    found = await registry_store.find(
        session, founded.county_code, areas=[], household_numbers=[number], identity_keys=[]
    )
    if number in found.household_ids:
        rule = registration.RULES["HOUSEHOLD_EXISTS"]
        raise Conflict("HOUSEHOLD_EXISTS", rule.en, message_zh=rule.zh)
    await require_known_area(session, caller, founded.county_code, founded.area_code, "area_code")
