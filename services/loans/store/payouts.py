"""Loans: SQL of allocations that are divided anew or undone."""

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database
from services.kernel.money import Fen
from services.loans.model import AllocatedPart, Allocation, Payout


async def lock_allocations(
    session: AsyncSession, county_code: str, payout_ids: Collection[UUID]
) -> dict[UUID, Allocation]:
    """Allocations with what of them is not nothing, held in id order."""
    rows = await database.fetch(
        session,
        """SELECT * FROM allocation WHERE county_code = $1 AND payout_id = ANY($2::uuid[])
           ORDER BY payout_id FOR UPDATE""",
        county_code,
        sorted(payout_ids),
    )
    parts = await database.fetch(
        session,
        """SELECT p.*, l.outstanding_fen FROM allocation_part AS p
           JOIN loan AS l USING (county_code, loan_id)
           WHERE p.county_code = $1 AND p.payout_id = ANY($2::uuid[])
             AND p.interest_fen + p.principal_fen > 0
           ORDER BY p.payout_id, p.loan_id""",
        county_code,
        sorted(payout_ids),
    )
    parts_of: dict[UUID, list[AllocatedPart]] = {}
    for row in parts:
        part = AllocatedPart(
            loan_id=row["loan_id"],
            lender_id=row["lender_id"],
            interest_fen=Fen(row["interest_fen"]),
            principal_fen=Fen(row["principal_fen"]),
            subrogated_fen=Fen(row["subrogated_fen"]),
            outstanding_fen=Fen(row["outstanding_fen"]),
        )
        parts_of.setdefault(row["payout_id"], []).append(part)
    return {
        row["payout_id"]: Allocation(
            payout=Payout(
                payout_id=row["payout_id"],
                household_id=row["household_id"],
                amount_fen=Fen(row["amount_fen"]),
                value_date=row["value_date"],
                groups=(),
            ),
            parts=tuple(parts_of.get(row["payout_id"], ())),
            household_fen=Fen(row["household_fen"]),
            corrections=row["corrections"],
            version=row["version"],
            reversed_on=row["reversed_on"],
        )
        for row in rows
    }


async def save_allocations(
    session: AsyncSession, county_code: str, allocations: Sequence[Allocation]
) -> None:
    """Write allocations that changed; a loan that took nothing in the end has a row of nothing."""
    if not allocations:
        return
    heads = [
        (
            each.payout.payout_id,
            each.payout.amount_fen - each.household_fen,
            each.household_fen,
            each.version,
            each.corrections,
            each.reversed_on,
        )
        for each in allocations
    ]
    await database.execute(
        session,
        """UPDATE allocation AS a
           SET lenders_fen = s.lenders_fen, household_fen = s.household_fen, version = s.version,
               corrections = s.corrections, reversed_on = s.reversed_on
           FROM unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::int[], $7::date[])
                AS s (payout_id, lenders_fen, household_fen, version, corrections, reversed_on)
           WHERE a.county_code = $1 AND a.payout_id = s.payout_id""",
        county_code,
        *database.columns(heads, 6),
    )
    await database.execute(
        session,
        """UPDATE allocation_part SET interest_fen = 0, principal_fen = 0, subrogated_fen = 0
           WHERE county_code = $1 AND payout_id = ANY($2::uuid[])""",
        county_code,
        [each.payout.payout_id for each in allocations],
    )
    parts = [
        (
            each.payout.payout_id,
            part.loan_id,
            part.lender_id,
            part.interest_fen,
            part.principal_fen,
            part.subrogated_fen,
        )
        for each in allocations
        for part in each.parts
    ]
    if parts:
        await database.execute(
            session,
            """INSERT INTO allocation_part (county_code, payout_id, loan_id, lender_id,
                                            interest_fen, principal_fen, subrogated_fen)
               SELECT $1, s.* FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::bigint[],
                                          $6::bigint[], $7::bigint[]) AS s
               ON CONFLICT (county_code, payout_id, loan_id) DO UPDATE
               SET interest_fen = excluded.interest_fen, principal_fen = excluded.principal_fen,
                   subrogated_fen = excluded.subrogated_fen""",
            county_code,
            *database.columns(parts, 6),
        )
