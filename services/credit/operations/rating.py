"""Credit: the use cases. Each is load, decide, save, say, inside the caller's transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit import events_out, rules, store
from services.credit.model import CreditFile, Decision, Household, Indicator
from services.kernel import business_day, outbox
from services.kernel.caller import Caller, require_role
from services.kernel.errors import Denied, LiandongError
from services.kernel.ids import new_id
from services.programmes.loader import Catalogue

RECORDERS = ("county_centre", "township_station")
RATERS = ("county_centre",)
EXPIRE_CHUNK = 2_000


@dataclass(frozen=True, slots=True)
class Rated:
    """What a chunk came to."""

    rated: int
    granted: int
    vetoed: int
    last_household_id: UUID | None
    """Where to go on; None when there are none left."""


def require_county(caller: Caller, county_code: str) -> None:
    """Refuse a caller of another county."""
    if caller.county_code not in (county_code, "000000"):
        raise Denied(
            "AREA_NOT_YOURS",
            f"{caller.institution_id} may not act in {county_code}",
            message_zh="超出本机构辖区",
        )


async def record_indicators(
    session: AsyncSession,
    caller: Caller,
    catalogue: Catalogue,
    county_code: str,
    indicators: Mapping[int, Indicator],
) -> dict[int, LiandongError]:
    """Write observations down, each decided on its own; what is refused, by place."""
    require_role(caller, RECORDERS)
    require_county(caller, county_code)
    today = await business_day.today(session, county_code)
    entries = catalogue.adoptions(county_code, today)
    codes = rules.codes_of([catalogue.terms(county_code, each.programme) for each in entries])
    areas = await store.find_areas(
        session, county_code, list({each.household_id for each in indicators.values()})
    )
    refused: dict[int, LiandongError] = {}
    for place, indicator in indicators.items():
        area = areas.get(indicator.household_id)
        try:
            rules.check_indicator(indicator, area=area, codes=codes, today=today)
            caller.require_area(area or county_code)
        except LiandongError as error:
            refused[place] = error
    taken = [each for place, each in indicators.items() if place not in refused]
    await store.add_indicators(
        session,
        county_code,
        taken,
        source_id=caller.institution_id,
        person_id=caller.person_id,
    )
    return refused


async def rate_households(
    session: AsyncSession,
    caller: Caller,
    catalogue: Catalogue,
    county_code: str,
    *,
    programme_id: str,
    within: str,
    after: UUID,
    limit: int,
) -> Rated:
    """Rate the next households of an area under the programme in force, and set their limits."""
    require_role(caller, RATERS)
    rules.check_area(within, county_code)
    caller.require_area(within or county_code)
    today = await business_day.today(session, county_code)
    ref = catalogue.in_force(county_code, programme_id, today)
    scheme = rules.scheme_of(catalogue.terms(county_code, ref))
    files = await store.lock_chunk(session, county_code, within, after=after, limit=limit)
    inputs = await store.find_inputs(
        session, county_code, [file.household_id for file in files], on=today
    )
    decisions = [
        rules.rate(
            file, inputs.get(file.household_id, {}), scheme=scheme, rating_id=new_id(), on=today
        )
        for file in files
    ]
    await _save(session, decisions, today)
    return Rated(
        rated=len(decisions),
        granted=sum(decision.file.limit_fen > 0 for decision in decisions),
        vetoed=sum(bool(decision.file.vetoes) for decision in decisions),
        last_household_id=files[-1].household_id if len(files) == limit else None,
    )


async def _save(session: AsyncSession, decisions: Sequence[Decision], on: date) -> None:
    await store.add_ratings(session, [d.rating for d in decisions if d.rating is not None])
    await store.save_files(session, [decision.file for decision in decisions])
    await outbox.record(session, events_out.decided(decisions, on))


async def take_households(
    session: AsyncSession,
    catalogue: Catalogue,
    county_code: str,
    households: Sequence[Household],
    *,
    relist: bool,
) -> None:
    """Take in what the registry says of households, each once; a new honour moves its limit."""
    held = await store.lock_files(session, county_code, [h.household_id for h in households])
    await store.put_households(session, county_code, households, relist=relist)
    now = {household.household_id: household for household in households}
    files = [
        replace(file, household=now[file.household_id], delisted=file.delisted and not relist)
        for file in held
    ]
    gone = [rules.withdraw(file) for file in files]
    honoured = [
        file
        for before, file in zip(held, files, strict=True)
        if file.may_hold_limit and rules.honour_changes(before, file.household)
    ]
    await _save_changes(session, county_code, gone)
    await _change_honours(session, catalogue, county_code, honoured)


async def delist_households(
    session: AsyncSession, county_code: str, household_ids: Sequence[UUID]
) -> None:
    """Take the limits of households that the registry took off its file."""
    held = await store.lock_files(session, county_code, household_ids)
    await store.delist(session, county_code, household_ids)
    gone = [rules.withdraw(replace(file, delisted=True)) for file in held]
    await _save_changes(session, county_code, gone)


async def _change_honours(
    session: AsyncSession, catalogue: Catalogue, county_code: str, files: Sequence[CreditFile]
) -> None:
    if not files:
        return
    today = await business_day.today(session, county_code)
    rated = await store.find_rated_inputs(
        session, county_code, [file.rating_id for file in files if file.rating_id is not None]
    )
    schemes = {
        ref: rules.scheme_of(catalogue.terms(county_code, ref))
        for ref in {file.programme for file in files}
    }
    decisions = []
    for file in files:
        assert file.rating_id is not None, "a limit rests on a rating"
        scheme, inputs = schemes[file.programme], rated[file.rating_id]
        decisions.append(
            rules.change_honour(file, inputs, scheme=scheme, rating_id=new_id(), on=today)
        )
    await _save_changes(session, county_code, decisions)


async def _save_changes(
    session: AsyncSession, county_code: str, decisions: Sequence[Decision]
) -> None:
    changed = [decision for decision in decisions if decision.facts]
    if changed:
        await _save(session, changed, await business_day.today(session, county_code))


async def expire_limits(session: AsyncSession, county_code: str, day: date) -> None:
    """End the limits whose last day is the one that closes."""
    while True:
        expired = await store.expire_limits(session, county_code, day, limit=EXPIRE_CHUNK)
        await outbox.record(session, events_out.limits_expired(county_code, expired, day))
        if len(expired) < EXPIRE_CHUNK:
            return
