"""Credit: SQL of what was ordered on problem loans."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit.model import LoanAction
from services.kernel.database import execute, fetch

ACTIONS_MAX = 50


async def known(
    session: AsyncSession, county_code: str, actions: Sequence[LoanAction]
) -> set[tuple[UUID, date, str]]:
    """Which orders on these loans came before: loan, since when it is bad, action."""
    rows = await fetch(
        session,
        """SELECT loan_id, since, action FROM loan_action
           WHERE county_code = $1 AND loan_id = ANY($2::uuid[])""",
        county_code,
        [each.loan_id for each in actions],
    )
    return {(row["loan_id"], row["since"], row["action"]) for row in rows}


async def add(
    session: AsyncSession, county_code: str, action: LoanAction, measure_id: UUID | None
) -> None:
    """Keep an order and the measure that it came to, if any."""
    await execute(
        session,
        """INSERT INTO loan_action (county_code, loan_id, since, action, household_id, place,
                                    taken_on, rule_version, measure_id)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)""",
        county_code,
        action.loan_id,
        action.since,
        action.action,
        action.household_id,
        action.place,
        action.taken_on,
        action.rule_version,
        measure_id,
    )


async def of_household(
    session: AsyncSession, county_code: str, household_id: UUID
) -> list[LoanAction]:
    """What was ordered on a household's loans and counts: its measure or its loan goes on."""
    rows = await fetch(
        session,
        """SELECT a.loan_id, a.since, a.action, a.household_id, a.place, a.taken_on,
                  a.rule_version
           FROM loan_action AS a
           LEFT JOIN measure AS m USING (county_code, measure_id)
           LEFT JOIN exposure AS e ON e.county_code = a.county_code AND e.loan_id = a.loan_id
           WHERE a.county_code = $1 AND a.household_id = $2
             AND CASE WHEN a.measure_id IS NULL THEN e.settled_on IS NULL
                      ELSE m.state = 'in_force' END
           ORDER BY a.taken_on, a.loan_id, a.place LIMIT $3""",
        county_code,
        household_id,
        ACTIONS_MAX,
    )
    return [LoanAction(**dict(row)) for row in rows]
