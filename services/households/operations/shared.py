"""What the use cases share: keys, whose household it is, and where a record comes from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.households.model import Evidence, Household, Provenance
from services.households.rules import consents as consent_rules
from services.households.rules import people as people_rules
from services.households.store import people as store
from services.households.store import registration
from services.kernel import business_day
from services.kernel.caller import Caller
from services.kernel.errors import Denied, LiandongError, NotFound, Refused, invalid_field
from services.kernel.sealing import Finder, Sealer
from services.kernel.values import replace

ABOVE_COUNTIES: Final = "0" * 6
IDENTITY_ROLES: Final = frozenset(
    {"county_centre", "village_department", "township_station", "poverty_office"}
)
"""Those who may see names, identity numbers and phones."""
HOUSEHOLD: Final = "household"
"""A person, for whom the gateway asks about the own household and about no other."""

_PERSON_PLACE = b"households.person.sealed."
_BETWEEN = "\x1f"


@dataclass(frozen=True, slots=True)
class Keys:
    """What personal data is sealed and found with."""

    sealer: Sealer
    finder: Finder

    def seal_person(self, person_id: UUID, name: str, identity_number: str, phone: str) -> bytes:
        """Who a person is, sealed for the person's record."""
        return self.seal_people([person_id], [(name, identity_number, phone)])[0]

    def seal_people(
        self, person_ids: Sequence[UUID], people: Sequence[tuple[str, str, str]]
    ) -> list[bytes]:
        """The same of many: name, identity number and phone of each."""
        return self.sealer.seal_many(
            [_BETWEEN.join(each).encode() for each in people],
            [_PERSON_PLACE + person_id.bytes for person_id in person_ids],
        )

    def open_person(self, person_id: UUID, sealed: bytes) -> tuple[str, str, str]:
        """Name, identity number and phone."""
        opened = self.sealer.open(sealed, _PERSON_PLACE + person_id.bytes)
        name, identity_number, phone = opened.decode().split(_BETWEEN)
        return name, identity_number, phone

    def seal_text(self, text: str, place: bytes, record_id: UUID) -> bytes:
        """A text sealed for one column of one record."""
        return self.sealer.seal(text.encode(), place + record_id.bytes)

    def open_text(self, sealed: bytes, place: bytes, record_id: UUID) -> str:
        """The text again."""
        return self.sealer.open(sealed, place + record_id.bytes).decode()

    def likeness_key(self, county_code: str, name: str, identity_number: str) -> bytes:
        """The key under which people of one name and birth date are found."""
        return self.likeness_keys(county_code, [(name, identity_number)])[0]

    def likeness_keys(self, county_code: str, people: Iterable[tuple[str, str]]) -> list[bytes]:
        """The same of many: name and identity number of each."""
        likeness = people_rules.likeness
        return self.finder.find_keys(
            county_code, [likeness(name, number[6:14]) for name, number in people]
        )


def refuse_if(error: LiandongError | None) -> None:
    """Raise a refusal that a rule found."""
    if error is not None:
        raise error


def require_county(caller: Caller, county_code: str) -> None:
    """Refuse a county that is not the caller's; whoever stands above counties may go on."""
    if caller.county_code not in {ABOVE_COUNTIES, county_code}:
        raise Denied(
            "AREA_NOT_YOURS",
            f"{caller.institution_id} may not act in {county_code}",
            message_zh="超出本机构辖区",
        )


async def came_from(
    session: AsyncSession, caller: Caller, county_code: str, evidence: Evidence
) -> Provenance:
    """Who records something now, on sound evidence."""
    refuse_if(consent_rules.evidence_fault(evidence))
    return Provenance(
        source_id=caller.institution_id,
        acted_by=caller.require_person(),
        evidence=evidence,
        business_date=await business_day.today(session, county_code),
    )


def not_after(field: str, day: date, today: date) -> None:
    """Refuse a day that has not come."""
    if day > today:
        rule = f"must not be after the business date {today}"
        raise invalid_field("DATE_IN_FUTURE", field, day, rule, "日期晚于营业日")


async def require_known_area(
    session: AsyncSession, caller: Caller, county_code: str, area_code: str, field: str
) -> None:
    """Refuse an area that is not registered, or not the caller's."""
    if not await registration.known_areas(session, county_code, [area_code]):
        rule = "must be a registered area of the county"
        raise invalid_field("AREA_UNKNOWN", field, area_code, rule, "行政区划未登记")
    caller.require_area(area_code)


def household_missing(household_id: UUID) -> NotFound:
    """The same answer for a household that is not there and one that is another's."""
    return NotFound("HOUSEHOLD_NOT_FOUND", f"no household {household_id}", message_zh="没有该户")


def person_missing(person_id: UUID) -> NotFound:
    """The same answer for a person who is not there and one of another's area."""
    return NotFound("PERSON_NOT_FOUND", f"no person {person_id}", message_zh="没有该人")


async def read_own(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    household_id: UUID,
    known_by: date = date.max,
) -> Household:
    """A household of the caller's area, as known at the end of a business day."""
    household = await store.household_as_known(session, county_code, household_id, known_by)
    if household is None or not caller.may_act_in(household.area_code):
        raise household_missing(household_id)
    return household


async def lock_own(
    session: AsyncSession, caller: Caller, county_code: str, household_id: UUID
) -> Household:
    """A household of the caller's area, held; an alias is changed through its survivor."""
    held = await store.lock_households(session, county_code, [household_id])
    household = held.get(household_id)
    if household is None or not caller.may_act_in(household.area_code):
        raise household_missing(household_id)
    if household.survivor_id is not None:
        raise Refused(
            "HOUSEHOLD_IS_ALIAS",
            f"{household_id} is an alias of {household.survivor_id}",
            message_zh="该户已并入其他户",
            facts={"survivor_id": str(household.survivor_id)},
        )
    return household


def next_version(household: Household, **changes: object) -> Household:
    """A household with one more event said of it."""
    changed: Household = replace(household, version=household.version + 1, **changes)  # type: ignore[arg-type]
    return changed
