"""Moves of households: the SQL."""

from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.households.model import Household, Move
from services.households.store import records
from services.kernel import database


async def insert(session: AsyncSession, household: Household, move: Move) -> None:
    """Keep a move; `household` is as the move made it."""
    row = {
        "county_code": household.county_code,
        "move_id": move.move_id,
        "household_id": household.household_id,
        "version": household.version,
        "from_area_code": move.from_area_code,
        "to_area_code": move.to_area_code,
        "moved_on": move.moved_on,
        "reason": move.reason,
        **records.provenance_row(move.provenance),
    }
    await records.insert(session, "move", [row])


async def of_household(
    session: AsyncSession, county_code: str, household_id: UUID, known_by: date = records.NOW
) -> list[Move]:
    """A household's moves, oldest first."""
    rows = await database.fetch(
        session,
        """SELECT * FROM move WHERE county_code = $1 AND household_id = $2
             AND business_date <= $3 ORDER BY version""",
        county_code,
        household_id,
        known_by,
    )
    return [
        Move(
            move_id=row["move_id"],
            from_area_code=row["from_area_code"],
            to_area_code=row["to_area_code"],
            moved_on=row["moved_on"],
            reason=row["reason"],
            provenance=records.provenance_of(row),
        )
        for row in rows
    ]
