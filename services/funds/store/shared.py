"""Funds: SQL that every subject uses: keys as columns, business dates."""

from collections.abc import Iterable
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds.model import Key
from services.kernel import database


def split(keys: Iterable[Key]) -> tuple[list[str], list[UUID]]:
    """Keys as two columns, in order and each once."""
    ordered = sorted(set(keys))
    return [county for county, _ in ordered], [name for _, name in ordered]


async def business_days(session: AsyncSession, counties: Iterable[str]) -> dict[str, date]:
    """The business date of each county that has one here."""
    rows = await database.fetch(
        session,
        "SELECT county_code, business_date FROM business_day WHERE county_code = ANY($1::text[])",
        sorted(set(counties)),
    )
    return {row["county_code"]: row["business_date"] for row in rows}
