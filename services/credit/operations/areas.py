"""Credit: credit areas and coverage, counted anew."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit import events_out
from services.credit.model import CreditArea
from services.credit.operations.shared import require_county
from services.credit.rules import areas as rules
from services.credit.store import areas as store
from services.kernel import business_day, outbox
from services.kernel.caller import Caller, require_role
from services.programmes.loader import Catalogue
from services.programmes.schema.pack import split_ref
from services.programmes.terms import Terms

ASSESSORS = ("county_centre", "poverty_office")


@dataclass(frozen=True, slots=True)
class Assessed:
    """What an assessment came to."""

    assessed: int
    certified: int
    changed: int


def ends_month(day: date) -> bool:
    """Whether the month's figures are due."""
    return rules.ends_month(day)


def terms_of(catalogue: Catalogue, county_code: str, on: date) -> list[Terms]:
    """The terms of every programme that the county follows on a day."""
    return [
        catalogue.terms(county_code, entry.programme)
        for entry in catalogue.adoptions(county_code, on)
    ]


async def assess(
    session: AsyncSession,
    caller: Caller,
    catalogue: Catalogue,
    county_code: str,
    *,
    programme_id: str,
) -> Assessed:
    """Compute a programme's credit areas anew, for a county's office."""
    require_role(caller, ASSESSORS)
    require_county(caller, county_code)
    today = await business_day.today(session, county_code)
    ref = catalogue.in_force(county_code, programme_id, today)
    return await _assess(session, catalogue.terms(county_code, ref), today)


async def assess_county(
    session: AsyncSession, catalogue: Catalogue, county_code: str, day: date
) -> None:
    """The same for every programme of a county, at a month's end."""
    for terms in terms_of(catalogue, county_code, day):
        if terms.pack.scoring is not None:
            await _assess(session, terms, day)


async def keep_coverage(
    session: AsyncSession, catalogue: Catalogue, county_code: str, day: date
) -> None:
    """Keep the coverage of a month's end at every level."""
    left_out = rules.left_out(terms_of(catalogue, county_code, day))
    digits = [rules.DIGITS[level] for level in ("county", "township", "village")]
    await store.keep_coverage(session, county_code, day, digits=digits, left_out=left_out)


async def _assess(session: AsyncSession, terms: Terms, on: date) -> Assessed:
    programme_id = split_ref(terms.ref)[0]
    before = await store.lock_areas(session, terms.county_code, programme_id)
    scopes = rules.scopes_of(terms.scoring)
    found: list[CreditArea] = []
    changed: list[CreditArea] = []
    villages: Sequence[CreditArea] = ()
    for scope in ("villager_group", "village", "township"):
        if scope not in scopes:
            continue
        if scope == "township":
            counts = rules.villages_of(villages)
        else:
            counts = await store.count_households(
                session, terms.county_code, programme_id, digits=rules.DIGITS[scope]
            )
        assessed = [
            rules.assess(
                count,
                before.get(count.area_code),
                county_code=terms.county_code,
                programme_id=programme_id,
                terms=terms,
                scope=scope,
                on=on,
            )
            for count in counts
        ]
        found += [area for area, _ in assessed]
        changed += [area for area, news in assessed if news]
        if scope == "village":
            villages = [area for area, _ in assessed]
    await store.save_areas(session, found)
    await store.add_area_changes(session, changed)
    await outbox.record(session, events_out.areas_certified(changed, on))
    return Assessed(len(found), sum(area.certified for area in found), len(changed))
