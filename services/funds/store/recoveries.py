"""Funds: SQL of recoveries, of those that were undone, and of what is written off."""

import json
from collections.abc import Iterable, Sequence
from datetime import date
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds.model import Key, Recovery, Source, WriteOff
from services.kernel import database
from services.kernel.money import Fen


async def add_recoveries(session: AsyncSession, recoveries: Sequence[Recovery]) -> None:
    """Write recoveries and their shares."""
    if not recoveries:
        return
    rows = [
        (
            each.county_code,
            each.recovery_id,
            each.case_id,
            each.reference,
            each.amount_fen,
            each.household_fen,
            each.business_date,
            each.source.value,
            each.costs_fen,
            each.collected_by,
            json.dumps(each.evidence),
            each.value_date,
            each.waiting_fen,
            each.turn,
        )
        for each in recoveries
    ]
    await database.execute(
        session,
        """INSERT INTO recovery (county_code, recovery_id, case_id, reference, amount_fen,
                                 household_fen, business_date, source, costs_fen, collected_by,
                                 evidence, value_date, waiting_fen, turn)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::bigint[],
                                $6::bigint[], $7::date[], $8::text[], $9::bigint[], $10::text[],
                                $11::text[], $12::date[], $13::bigint[], $14::int[])""",
        *database.columns(rows, 14),
    )
    shares = [
        (each.county_code, each.recovery_id, position, amount)
        for each in recoveries
        for position, amount in each.shares
    ]
    if shares:
        await database.execute(
            session,
            """INSERT INTO recovery_share (county_code, recovery_id, position, amount_fen)
               SELECT * FROM unnest($1::text[], $2::uuid[], $3::int[], $4::bigint[])""",
            *database.columns(shares, 4),
        )


def _recovery(row: asyncpg.Record) -> Recovery:
    return Recovery(
        county_code=row["county_code"],
        recovery_id=row["recovery_id"],
        case_id=row["case_id"],
        reference=row["reference"],
        amount_fen=Fen(row["amount_fen"]),
        shares=tuple(zip(row["positions"], map(Fen, row["amounts"]), strict=True)),
        household_fen=Fen(row["household_fen"]),
        business_date=row["business_date"],
        source=Source(row["source"]),
        value_date=row["value_date"],
        costs_fen=Fen(row["costs_fen"]),
        collected_by=row["collected_by"],
        evidence=tuple(json.loads(row["evidence"])),
        reversed=row["reversed"],
        waiting_fen=Fen(row["waiting_fen"]),
        turn=row["turn"],
    )


_RECOVERIES = """
SELECT r.*, s.positions, s.amounts, u.recovery_id IS NOT NULL AS reversed
FROM recovery AS r
LEFT JOIN recovery_reversal AS u USING (county_code, recovery_id)
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(position ORDER BY position), '{}') AS positions,
           coalesce(array_agg(amount_fen ORDER BY position), '{}') AS amounts
    FROM recovery_share AS s
    WHERE s.county_code = r.county_code AND s.recovery_id = r.recovery_id
) AS s
"""


async def recoveries_of(
    session: AsyncSession, county_code: str, case_id: UUID, *, after: UUID, limit: int
) -> list[Recovery]:
    """A page of a case's recoveries; what only waits is none yet."""
    rows = await database.fetch(
        session,
        f"""{_RECOVERIES} WHERE r.county_code = $1 AND r.case_id = $2 AND r.recovery_id > $3
             AND r.amount_fen > 0
           ORDER BY r.recovery_id LIMIT $4""",
        county_code,
        case_id,
        after,
        limit,
    )
    return [_recovery(row) for row in rows]


async def standing_recoveries(
    session: AsyncSession, source: Source, references: Iterable[tuple[str, UUID | None, str]]
) -> list[Recovery]:
    """
    What was shared of these payouts or postings and not undone yet; after their cases are locked.

    Each is a county, the loan where the reference is a number of its postings, and the reference.
    """
    wanted = sorted(set(references), key=str)
    rows = await database.fetch(
        session,
        f"""{_RECOVERIES}
           JOIN compensation_case AS c USING (county_code, case_id)
           JOIN unnest($2::text[], $3::uuid[], $4::text[]) AS k (county_code, loan_id, reference)
             ON k.county_code = r.county_code AND k.reference = r.reference
            AND (k.loan_id IS NULL OR k.loan_id = c.loan_id)
           WHERE r.source = $1 AND u.recovery_id IS NULL
           ORDER BY r.county_code, r.recovery_id""",
        source.value,
        [county for county, _, _ in wanted],
        [loan for _, loan, _ in wanted],
        [reference for _, _, reference in wanted],
    )
    return [_recovery(row) for row in rows]


async def collected_recoveries(
    session: AsyncSession, county_code: str, recovery_ids: Sequence[UUID]
) -> dict[UUID, Recovery]:
    """Recoveries by id, of those that stand; after their cases are locked."""
    rows = await database.fetch(
        session,
        f"""{_RECOVERIES} WHERE r.county_code = $1 AND r.recovery_id = ANY($2::uuid[])
             AND r.source = 'collected' AND u.recovery_id IS NULL""",
        county_code,
        list(recovery_ids),
    )
    return {row["recovery_id"]: _recovery(row) for row in rows}


async def waiting_recoveries(
    session: AsyncSession, cases: Iterable[tuple[str, UUID]]
) -> list[Recovery]:
    """What waits for something to be left of locked cases, in the order in which it came."""
    wanted = sorted(set(cases))
    rows = await database.fetch(
        session,
        f"""{_RECOVERIES}
           JOIN unnest($1::text[], $2::uuid[]) AS k (county_code, case_id)
             ON k.county_code = r.county_code AND k.case_id = r.case_id
           WHERE r.waiting_fen > 0 AND u.recovery_id IS NULL AND NOT EXISTS (
               SELECT FROM recovery AS later
               WHERE later.county_code = r.county_code AND later.case_id = r.case_id
                 AND later.source = r.source AND later.reference = r.reference
                 AND later.turn > r.turn)
           ORDER BY r.county_code, r.recovery_id""",
        [county for county, _ in wanted],
        [case_id for _, case_id in wanted],
    )
    return [_recovery(row) for row in rows]


async def cases_of_payouts(session: AsyncSession, payouts: Iterable[tuple[str, str]]) -> list[Key]:
    """The loans of cases that shared these payouts."""
    wanted = sorted(set(payouts))
    rows = await database.fetch(
        session,
        """SELECT DISTINCT c.county_code, c.loan_id FROM recovery AS r
           JOIN compensation_case AS c USING (county_code, case_id)
           JOIN unnest($1::text[], $2::text[]) AS k (county_code, reference)
             ON k.county_code = r.county_code AND k.reference = r.reference
           WHERE r.source = 'payout'""",
        [county for county, _ in wanted],
        [payout for _, payout in wanted],
    )
    return [(row["county_code"], row["loan_id"]) for row in rows]


async def add_reversals(
    session: AsyncSession, undone: Sequence[tuple[Recovery, str, date]]
) -> None:
    """Write which recoveries were undone, why and when."""
    rows = [(each.county_code, each.recovery_id, reason, on) for each, reason, on in undone]
    await database.execute(
        session,
        """INSERT INTO recovery_reversal (county_code, recovery_id, reason, business_date)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::date[])""",
        *database.columns(rows, 4),
    )


async def add_write_off(session: AsyncSession, proposed: WriteOff) -> None:
    """Write a proposal; one that is open already is a broken unique index."""
    await database.execute(
        session,
        """INSERT INTO case_write_off (county_code, write_off_id, case_id, amount_fen, reason,
                                       evidence, proposed_by, proposed_on)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8)""",
        proposed.county_code,
        proposed.write_off_id,
        proposed.case_id,
        proposed.amount_fen,
        proposed.reason,
        json.dumps(proposed.evidence),
        proposed.proposed_by,
        proposed.proposed_on,
    )


async def open_write_off(session: AsyncSession, county_code: str, case_id: UUID) -> WriteOff | None:
    """The proposal of a locked case that waits for a decision."""
    rows = await database.fetch(
        session,
        """SELECT * FROM case_write_off
           WHERE county_code = $1 AND case_id = $2 AND approved IS NULL""",
        county_code,
        case_id,
    )
    if not rows:
        return None
    row = rows[0]
    return WriteOff(
        county_code=row["county_code"],
        write_off_id=row["write_off_id"],
        case_id=row["case_id"],
        amount_fen=Fen(row["amount_fen"]),
        reason=row["reason"],
        evidence=tuple(json.loads(row["evidence"])),
        proposed_by=row["proposed_by"],
        proposed_on=row["proposed_on"],
    )


async def decide_write_off(
    session: AsyncSession, proposed: WriteOff, *, person_id: str, on: date, approved: bool
) -> None:
    """Write what became of a proposal."""
    await database.execute(
        session,
        """UPDATE case_write_off SET decided_by = $3, decided_on = $4, approved = $5
           WHERE county_code = $1 AND write_off_id = $2""",
        proposed.county_code,
        proposed.write_off_id,
        person_id,
        on,
        approved,
    )
