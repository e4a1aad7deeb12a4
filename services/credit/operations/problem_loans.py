"""Credit: what loans orders on problem loans, done to the household's standing."""

from collections.abc import Sequence

from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit.model import LoanAction, Measure, MeasureState
from services.credit.operations.standing import SERVICE, move
from services.credit.rules import problem_loans as rules
from services.credit.store import files as file_store
from services.credit.store import problem_loans as store
from services.credit.store import standing as standing_store
from services.kernel.ids import new_id
from services.kernel.values import replace
from services.programmes.loader import Catalogue


async def take(
    session: AsyncSession,
    catalogue: Catalogue,
    county_code: str,
    actions: Sequence[LoanAction],
) -> None:
    """Lower grades and list households as ordered; each order counts once, in its order."""
    known = await store.known(session, county_code, actions)
    for action in actions:
        if (action.loan_id, action.since, action.action) in known:
            continue
        known.add((action.loan_id, action.since, action.action))
        measure = await _measure(session, catalogue, county_code, action)
        measure_id = measure.measure_id if measure else None
        await store.add(session, county_code, action, measure_id)


async def _measure(
    session: AsyncSession, catalogue: Catalogue, county_code: str, action: LoanAction
) -> Measure | None:
    """Put what is ordered in force; an entity that borrows has no file to do it to."""
    household_id = action.household_id
    files = await file_store.lock_files(session, county_code, [household_id])
    if not files:
        return None
    live = await standing_store.find_measures(session, county_code, [household_id])
    measure = rules.measure_of(
        action,
        files[0],
        live.get(household_id, []),
        terms=catalogue.terms(county_code, action.rule_version),
        measure_id=new_id(),
    )
    if measure is None:
        return None
    await standing_store.add_measures(session, [replace(measure, state=MeasureState.PROPOSED)])
    await move(
        session,
        catalogue,
        county_code,
        [measure],
        by=SERVICE,
        on=action.taken_on,
        reason=measure.reason,
    )
    return measure
