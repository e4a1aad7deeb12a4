"""Loans: how far a county's day close has come."""

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database


@dataclass(frozen=True, slots=True)
class Place:
    """Where a day's work stands: the day, and the last loan that is done."""

    day: date
    after: UUID | None
    done: bool


async def lock_place(session: AsyncSession, county_code: str, day: date) -> Place:
    """Where the work of a day stands, held; it begins here when no later day was begun."""
    rows = await database.fetch(
        session,
        """INSERT INTO day_work (county_code, business_date) VALUES ($1, $2)
           ON CONFLICT (county_code) DO UPDATE SET
             after_loan_id = CASE WHEN day_work.business_date < excluded.business_date
                                  THEN NULL ELSE day_work.after_loan_id END,
             done = day_work.business_date >= excluded.business_date AND day_work.done,
             business_date = greatest(day_work.business_date, excluded.business_date)
           RETURNING business_date, after_loan_id, done""",
        county_code,
        day,
    )
    row = rows[0]
    return Place(row["business_date"], row["after_loan_id"], row["done"])


async def move_place(session: AsyncSession, county_code: str, after: UUID | None) -> None:
    """Note the last loan that is done; None when all are."""
    await database.execute(
        session,
        """UPDATE day_work SET after_loan_id = coalesce($2, after_loan_id), done = $2 IS NULL
           WHERE county_code = $1""",
        county_code,
        after,
    )
