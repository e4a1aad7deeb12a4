"""Credit: declaring indicators, and recording what was observed."""

from collections.abc import Mapping

from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit.model import Indicator, IndicatorRule
from services.credit.operations.shared import catalogues_of, require_county
from services.credit.rules import indicators as rules
from services.credit.rules import recording
from services.credit.store import files as file_store
from services.credit.store import indicators as store
from services.kernel import business_day
from services.kernel.caller import Caller, require_role
from services.kernel.errors import LiandongError
from services.kernel.values import replace
from services.programmes.loader import Catalogue

DECLARERS = ("county_centre", "poverty_office")


async def declare(
    session: AsyncSession,
    caller: Caller,
    catalogue: Catalogue,
    county_code: str,
    *,
    programme_id: str,
    declared: Mapping[int, IndicatorRule],
) -> dict[int, LiandongError]:
    """Declare indicators of a programme, each decided on its own; what is refused, by place."""
    require_role(caller, DECLARERS)
    require_county(caller, county_code)
    caller.require_area(county_code)
    person_id = caller.require_person()
    today = await business_day.today(session, county_code)
    ref = catalogue.in_force(county_code, programme_id, today)
    terms = catalogue.terms(county_code, ref)
    [known] = await catalogues_of(session, catalogue, county_code, [ref])
    refused: dict[int, LiandongError] = {}
    for place, rule in declared.items():
        try:
            rules.check_rule(rule, terms=terms, catalogue=known)
        except LiandongError as error:
            refused[place] = error
        else:
            # The next one counts against the number of items with this one in.
            uses = known.rules[rule.code].uses if rule.code in known.rules else ()
            known = replace(known, rules={**known.rules, rule.code: replace(rule, uses=uses)})
    taken = [rule for place, rule in declared.items() if place not in refused]
    await store.add_rules(
        session,
        county_code,
        programme_id,
        taken,
        by=caller.institution_id,
        person_id=person_id,
        on=today,
    )
    return refused


async def record(
    session: AsyncSession,
    caller: Caller,
    catalogue: Catalogue,
    county_code: str,
    indicators: Mapping[int, Indicator],
) -> dict[int, LiandongError]:
    """
    Write observations down in the caller's own name, each decided on its own.

    What is refused, by place.
    """
    require_county(caller, county_code)
    today = await business_day.today(session, county_code)
    entries = catalogue.adoptions(county_code, today)
    known = await catalogues_of(
        session, catalogue, county_code, [entry.programme for entry in entries]
    )
    areas = await file_store.find_areas(
        session, county_code, list({each.household_id for each in indicators.values()})
    )
    refused: dict[int, LiandongError] = {}
    for place, indicator in indicators.items():
        area = areas.get(indicator.household_id)
        try:
            recording.check_indicator(
                indicator,
                # Another area's household is as good as none.
                area=area if area is not None and caller.may_act_in(area) else None,
                catalogues=known,
                role=caller.role,
                today=today,
            )
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
