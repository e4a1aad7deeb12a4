"""Who a person is: corrections, suspected duplicates, merges, look-ups and disclosures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.households import events_out
from services.households.model import (
    DataCategory,
    Disclosure,
    Duplicate,
    DuplicateState,
    Evidence,
    Household,
    Membership,
    Merge,
    MergeKind,
    PayeeAccount,
    PayeeAccountState,
    PersonQuery,
    Provenance,
    Relation,
)
from services.households.operations import accounts
from services.households.operations.consents import permitted_of
from services.households.operations.shared import (
    Keys,
    came_from,
    household_missing,
    next_version,
    person_missing,
)
from services.households.rules import consents as consent_rules
from services.households.rules import people as rules
from services.households.rules import registration
from services.households.store import consents as consent_store
from services.households.store import people as store
from services.households.store import records
from services.households.store import registration as registry_store
from services.households.store.people import PersonRecord
from services.kernel import business_day, ids, outbox
from services.kernel.caller import Caller
from services.kernel.errors import LiandongError, NotFound, Refused, invalid_field


async def _lock_own_person(
    session: AsyncSession, caller: Caller, county_code: str, person_id: UUID
) -> PersonRecord:
    """A person of the caller's area, held; who is in no household is the county's."""
    held = await store.lock_people(session, county_code, [person_id])
    places = await store.memberships_of(session, county_code, [person_id])
    area_code = county_code
    if person_id in places:
        household_id = places[person_id].household_id
        found = await store.read_households(session, county_code, [household_id])
        area_code = found[household_id].area_code
    if person_id not in held or not caller.may_act_in(area_code):
        raise person_missing(person_id)
    return held[person_id]


async def correct_identity(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    person_id: UUID,
    keys: Keys,
    *,
    name: str,
    identity_number: str,
    phone: str,
    evidence: Evidence,
) -> None:
    """Write who a person really is; the former number still finds the person."""
    await registry_store.lock_registry(session, county_code)
    person = await _lock_own_person(session, caller, county_code, person_id)
    provenance = await came_from(session, caller, county_code, evidence)
    before = keys.open_person(person_id, person.sealed)
    new_name, new_number, new_phone = (
        new.strip() or old for new, old in zip((name, identity_number, phone), before, strict=True)
    )
    if (new_name, new_number, new_phone) == before:
        rule = "name, identity number or phone must differ from what is known"
        raise invalid_field("NOTHING_TO_CORRECT", "name", "***", rule, "没有需要更正的内容")
    _require_right(new_name, new_number, new_phone, provenance.business_date)
    key = keys.finder.find_key(county_code, new_number)
    if key != person.identity_key:
        await _require_free(session, county_code, key)
    likeness = keys.likeness_key(county_code, new_name, new_number)
    await store.save_person(
        session,
        county_code,
        person,
        identity_key=key,
        sealed=keys.seal_person(person_id, new_name, new_number, new_phone),
        likeness_key=likeness,
        provenance=provenance,
    )
    await store.note_duplicates(
        session,
        county_code,
        [(person_id, likeness)],
        provenance.business_date,
        with_newer=True,
    )


def _require_right(name: str, identity_number: str, phone: str, today: date) -> None:
    """Hold the new values against what a line of a file is held against."""
    faults = (
        ("name", name, registration.name_fault(name)),
        ("identity_number", identity_number, registration.identity_fault(identity_number, today)),
        ("phone", phone, registration.phone_fault(phone)),
    )
    for column, value, reason in faults:
        if reason:
            rule = registration.RULES[reason]
            shown = registration.shown(column, value)
            raise invalid_field(reason, column, shown, rule.en, rule.zh)


async def _require_free(session: AsyncSession, county_code: str, key: bytes) -> None:
    found = await registry_store.find(
        session, county_code, areas=[], household_numbers=[], identity_keys=[key]
    )
    if key in found.identity_keys | found.dead_keys or key in found.idle:
        raise Refused(
            "IDENTITY_TAKEN",
            "identity_number = ***: is another person's; merge the two if they are one",
            message_zh="证件号码已属于他人,如为同一人请合并",
        )


# --- duplicates and merges ------------------------------------------------------------------------


async def list_duplicates(
    session: AsyncSession, county_code: str, *, decided: bool, after: UUID, limit: int
) -> list[Duplicate]:
    """Suspected duplicates of a county."""
    return await store.list_duplicates(
        session, county_code, decided=decided, after=after, limit=limit
    )


async def dismiss_duplicate(
    session: AsyncSession, caller: Caller, county_code: str, duplicate_id: UUID, evidence: Evidence
) -> None:
    """Keep that a person found two records to be two people."""
    pair = await store.lock_duplicate(session, county_code, duplicate_id)
    if pair is None:
        raise NotFound(
            "DUPLICATE_NOT_FOUND", f"no pair {duplicate_id}", message_zh="没有该疑似重复记录"
        )
    provenance = await came_from(session, caller, county_code, evidence)
    if pair.state is not DuplicateState.OPEN:
        raise Refused("DUPLICATE_DECIDED", f"the pair is {pair.state}", message_zh="已处理")
    await store.decide_duplicates(
        session,
        county_code,
        (pair.person_id, pair.other_id),
        DuplicateState.DISMISSED,
        provenance,
    )


def _require_two(alias_id: UUID, survivor_id: UUID) -> None:
    if alias_id == survivor_id:
        rule = "must not be the alias itself"
        raise invalid_field("SAME_RECORD", "survivor_id", survivor_id, rule, "不能与自身合并")


def _refuse_alias(field: str, record_id: UUID, survivor_id: UUID | None) -> None:
    if survivor_id is not None:
        raise Refused(
            "IS_ALIAS",
            f"{field} = {record_id}: is an alias of {survivor_id} already",
            message_zh="该记录已是别名",
        )


async def _refuse_survivor(session: AsyncSession, county_code: str, alias_id: UUID) -> None:
    if await store.has_aliases(session, county_code, alias_id):
        raise Refused(
            "HAS_ALIASES",
            f"alias_id = {alias_id}: others are aliases of it; undo those first",
            message_zh="该记录尚有别名,请先撤销",
        )


async def merge_persons(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    alias_id: UUID,
    survivor_id: UUID,
    *,
    reason: str,
    evidence: Evidence,
) -> UUID:
    """Make one record of a person an alias of another; its place is only hidden."""
    _require_two(alias_id, survivor_id)
    await registry_store.lock_registry(session, county_code)
    people = {}
    for field, person_id in (("alias_id", alias_id), ("survivor_id", survivor_id)):
        people[person_id] = await _lock_own_person(session, caller, county_code, person_id)
        _refuse_alias(field, person_id, people[person_id].survivor_id)
    await _refuse_survivor(session, county_code, alias_id)
    provenance = await came_from(session, caller, county_code, evidence)
    await _hide_or_show(session, county_code, alias_id, provenance, change=-1)
    await store.alias_person(session, county_code, alias_id, survivor_id)
    made = Merge(ids.new_id(), MergeKind.PERSON, alias_id, survivor_id, undone=False)
    await store.insert_merge(session, county_code, made, reason, provenance)
    pair = (alias_id, survivor_id)
    await store.decide_duplicates(session, county_code, pair, DuplicateState.MERGED, provenance)
    return made.merge_id


async def _hide_or_show(
    session: AsyncSession,
    county_code: str,
    alias_id: UUID,
    provenance: Provenance,
    *,
    change: int,
) -> None:
    """Count the alias's household one person less, or one more again."""
    places = await store.memberships_of(session, county_code, [alias_id])
    place = places.get(alias_id)
    if place is None:
        return
    held = await store.lock_households(session, county_code, [place.household_id])
    household = held[place.household_id]
    if place.relation is Relation.HEAD and household.member_count > 1:
        raise Refused(
            "ALIAS_IS_HEAD",
            f"alias_id = {alias_id}: heads a household of others; change its head first",
            message_zh="该人是户主,请先变更户主",
        )
    changed = next_version(household, member_count=household.member_count + change)
    await store.save_households(session, [changed], provenance)
    event = events_out.household_changed(changed, provenance.business_date)
    await outbox.record(session, [event])


async def merge_households(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    alias_id: UUID,
    survivor_id: UUID,
    *,
    reason: str,
    evidence: Evidence,
) -> UUID:
    """Make one record of a household an alias of another; nothing of it is lost."""
    _require_two(alias_id, survivor_id)
    held = await store.lock_households(session, county_code, [alias_id, survivor_id])
    for field, household_id in (("alias_id", alias_id), ("survivor_id", survivor_id)):
        household = held.get(household_id)
        if household is None or not caller.may_act_in(household.area_code):
            raise household_missing(household_id)
        _refuse_alias(field, household_id, household.survivor_id)
    await _refuse_survivor(session, county_code, alias_id)
    provenance = await came_from(session, caller, county_code, evidence)
    alias = next_version(held[alias_id], survivor_id=survivor_id)
    await store.save_households(session, [alias], provenance)
    made = Merge(ids.new_id(), MergeKind.HOUSEHOLD, alias_id, survivor_id, undone=False)
    await store.insert_merge(session, county_code, made, reason, provenance)
    event = events_out.household_merged(alias, provenance.business_date)
    await outbox.record(session, [event])
    return made.merge_id


async def undo_merge(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    merge_id: UUID,
    *,
    reason: str,
    evidence: Evidence,
) -> MergeKind:
    """Let an alias stand alone again, as it was."""
    await registry_store.lock_registry(session, county_code)
    merge = await store.load_merge(session, county_code, merge_id)
    if merge is None:
        raise NotFound("MERGE_NOT_FOUND", f"no merge {merge_id}", message_zh="没有该合并记录")
    if merge.undone:
        raise Refused("MERGE_UNDONE", f"merge {merge_id} was undone", message_zh="合并已撤销")
    provenance = await came_from(session, caller, county_code, evidence)
    if merge.kind is MergeKind.PERSON:
        await _lock_own_person(session, caller, county_code, merge.alias_id)
        await _hide_or_show(session, county_code, merge.alias_id, provenance, change=1)
        await store.alias_person(session, county_code, merge.alias_id, None)
    else:
        await _unmerge_household(session, caller, county_code, merge, provenance)
    await store.insert_undoing(session, county_code, merge_id, reason, provenance)
    return merge.kind


async def _unmerge_household(
    session: AsyncSession, caller: Caller, county_code: str, merge: Merge, provenance: Provenance
) -> None:
    held = await store.lock_households(session, county_code, [merge.alias_id])
    household: Household = held[merge.alias_id]
    if not caller.may_act_in(household.area_code):
        raise household_missing(merge.alias_id)
    alone = next_version(household, survivor_id=None)
    await store.save_households(session, [alone], provenance)
    day = provenance.business_date
    event = events_out.household_unmerged(alone, merge.survivor_id, day)
    await outbox.record(session, [event])


# --- look-ups -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Resolved:
    """A person found, and the household that the person belongs to."""

    person_id: UUID
    household_id: UUID | None


async def resolve_persons(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    queries: Sequence[PersonQuery],
    keys: Keys,
) -> list[Resolved | LiandongError]:
    """Find people; more than one that fits is a refusal, never the first of them."""
    today = await business_day.today(session, county_code)
    wanted = [_query_key(county_code, query, keys, today) for query in queries]
    known = [key for key in wanted if isinstance(key, bytes)]
    found = await store.find_people(session, county_code, known)
    person_ids = {person_id for group in found.values() for person_id in group}
    places = await store.memberships_of(session, county_code, list(person_ids))
    areas = await _areas(session, county_code, places)
    return [
        key
        if isinstance(key, LiandongError)
        else _resolved(caller, county_code, found.get(key, set()), places, areas)
        for key in wanted
    ]


def _query_key(
    county_code: str, query: PersonQuery, keys: Keys, today: date
) -> bytes | LiandongError:
    if query.identity_number:
        number = query.identity_number.strip()
        if reason := registration.identity_fault(number, today):
            rule = registration.RULES[reason]
            shown = registration.mask_identity(number)
            return invalid_field(reason, "identity_number", shown, rule.en, rule.zh)
        return keys.finder.find_key(county_code, number)
    if query.name and query.born_on is not None:
        likeness = rules.likeness(query.name, query.born_on.strftime("%Y%m%d"))
        return keys.finder.find_key(county_code, likeness)
    rule_en = "an identity number, or a name with a birth date"
    return invalid_field(
        "QUERY_EMPTY", "identity_number", "", rule_en, "须提供证件号码或姓名与出生日期"
    )


async def _areas(
    session: AsyncSession, county_code: str, places: Mapping[UUID, Membership]
) -> dict[UUID, str]:
    household_ids = {place.household_id for place in places.values()}
    households = await store.read_households(session, county_code, list(household_ids))
    return {household_id: each.area_code for household_id, each in households.items()}


def _resolved(
    caller: Caller,
    county_code: str,
    person_ids: set[UUID],
    places: Mapping[UUID, Membership],
    areas: Mapping[UUID, str],
) -> Resolved | LiandongError:
    missing = NotFound("PERSON_NOT_FOUND", "no such person is registered", message_zh="没有该人")
    if len(person_ids) > 1:
        return Refused(
            "PERSON_AMBIGUOUS",
            f"{len(person_ids)} people fit; say more, or merge those who are one",
            message_zh="符合条件的人员不止一名",
            facts={"people": str(len(person_ids))},
        )
    for person_id in person_ids:
        place = places.get(person_id)
        area_code = areas[place.household_id] if place else county_code
        if caller.may_act_in(area_code):
            return Resolved(person_id, place.household_id if place else None)
    return missing


# --- disclosures ----------------------------------------------------------------------------------

_NOBODY: Final = UUID(int=0)


async def disclose_persons(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    person_ids: Sequence[UUID],
    asked: Sequence[DataCategory],
    *,
    keys: Keys,
) -> list[Disclosure | LiandongError]:
    """Fields of people, each as far as the caller may know it."""
    people = await store.read_people(session, county_code, person_ids)
    places = await store.memberships_of(session, county_code, person_ids)
    areas = await _areas(session, county_code, places)
    granted = await permitted_of(session, caller, county_code, [*areas, _NOBODY])
    in_force: dict[UUID, PayeeAccount] = {}
    if DataCategory.ACCOUNTS in asked:
        in_force = {
            account.household_id: account
            for account in await consent_store.list_accounts(
                session, county_code, list(areas), records.NOW
            )
            if account.state is PayeeAccountState.IN_FORCE
        }
    answers: list[Disclosure | LiandongError] = []
    for person_id in person_ids:
        place = places.get(person_id)
        area_code = areas[place.household_id] if place else county_code
        if person_id not in people or not caller.may_act_in(area_code):
            answers.append(person_missing(person_id))
            continue
        account = in_force.get(place.household_id) if place else None
        whole = _whole(people[person_id], place, account, keys)
        rights = granted[place.household_id if place else _NOBODY]
        answers.append(consent_rules.disclosed(whole, asked, rights))
    return answers


def _whole(
    person: PersonRecord, place: Membership | None, account: PayeeAccount | None, keys: Keys
) -> Disclosure:
    name, identity_number, phone = keys.open_person(person.person_id, person.sealed)
    return Disclosure(
        person_id=person.person_id,
        household_id=place.household_id if place else None,
        name=name,
        identity_number=identity_number,
        phone=phone,
        relation=place.relation if place else None,
        labour=place.labour if place else None,
        account_number=accounts.open_number(account, keys) if account else "",
        account_bank=account.bank_id if account else "",
        withheld=(),
    )
