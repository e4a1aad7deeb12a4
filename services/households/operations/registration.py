"""Areas, one household at a time, and reading: the use cases."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.households.model import (
    Area,
    DataCategory,
    DisputeSubject,
    Household,
    Line,
    Person,
    Refusal,
)
from services.households.operations import imports
from services.households.operations.consents import permitted
from services.households.operations.shared import Keys, read_own
from services.households.rules import registration as rules
from services.households.store import facts as fact_store
from services.households.store import people as people_store
from services.households.store import records
from services.households.store import registration as store
from services.kernel import business_day
from services.kernel.caller import Caller
from services.kernel.errors import (
    Conflict,
    Denied,
    Invalid,
    Refused,
    Violation,
)
from services.kernel.operator import Books

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


async def register_household(
    session: AsyncSession, caller: Caller, county_code: str, lines: Sequence[Line], keys: Keys
) -> UUID:
    """Register one household today, all of it or nothing; a line a person, numbered from 0."""
    today = await business_day.today(session, county_code)
    dated = [line._replace(registered_on=today.isoformat()) for line in lines]
    chunk = await imports.import_lines(session, caller, county_code, dated, keys)
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
