"""Loans: SQL of what befell breakers: trips, month ends, resets."""

from collections.abc import Sequence

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database
from services.loans import store
from services.loans.model import Breaker, BreakerRecord


def _record(row: asyncpg.Record) -> BreakerRecord:
    return BreakerRecord(
        row["scope"],
        row["scope_id"],
        row["what"],
        row["recorded_on"],
        row["epoch"],
        row["numerator"],
        row["denominator"],
        row["below"],
        row["rule_version"],
        row["person_id"],
        row["reason"],
    )


async def add(session: AsyncSession, county_code: str, records: Sequence[BreakerRecord]) -> None:
    """Write what befell breakers."""
    if not records:
        return
    values = [
        (
            county_code,
            r.scope,
            r.scope_id,
            r.what,
            r.recorded_on,
            r.epoch,
            r.numerator,
            r.denominator,
            r.below,
            r.rule_version,
            r.person_id,
            r.reason,
        )
        for r in records
    ]
    await database.execute(
        session,
        """INSERT INTO breaker_record (county_code, scope, scope_id, what, recorded_on, epoch,
               numerator, denominator, below, rule_version, person_id, reason)
           SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::date[],
                                $6::bigint[], $7::bigint[], $8::bigint[], $9::bool[],
                                $10::text[], $11::text[], $12::text[])""",
        *database.columns(values, 12),
    )


async def records_of(
    session: AsyncSession, county_code: str, scope: str, scope_id: str, epoch: int
) -> list[BreakerRecord]:
    """What befell a breaker since a trip, in order."""
    rows = await database.fetch(
        session,
        """SELECT * FROM breaker_record WHERE county_code = $1 AND scope = $2 AND scope_id = $3
             AND epoch = $4 ORDER BY record_id""",
        county_code,
        scope,
        scope_id,
        epoch,
    )
    return [_record(row) for row in rows]


async def listed(
    session: AsyncSession, county_code: str, *, scope_id: str, areas: Sequence[str],
    lender_id: str, start: int, limit: int,
) -> list[BreakerRecord]:  # fmt: skip
    """What befell breakers of areas and of wider scopes, a lender's own only, in order."""
    rows = await database.fetch(
        session,
        """SELECT * FROM breaker_record AS b WHERE county_code = $1
             AND ($2 = '' OR scope_id = $2)
             AND (scope NOT IN ('village', 'township')
                  OR EXISTS (SELECT FROM unnest($3::text[]) AS a (code)
                             WHERE starts_with(b.scope_id, a.code)))
             AND (scope NOT IN ('lender', 'outlet') OR $4 = ''
                  OR split_part(scope_id, '/', 1) = $4)
           ORDER BY record_id OFFSET $5 LIMIT $6""",
        county_code,
        scope_id,
        list(areas),
        lender_id,
        start,
        limit,
    )
    return [_record(row) for row in rows]


async def lock(
    session: AsyncSession, county_code: str, scope: str, scope_id: str
) -> Breaker | None:
    """One breaker, held against approvals and trips."""
    rows = await database.fetch(
        session,
        """SELECT * FROM breaker WHERE county_code = $1 AND scope = $2 AND scope_id = $3
           FOR UPDATE""",
        county_code,
        scope,
        scope_id,
    )
    return store.breaker_of(rows[0]) if rows else None


async def reset(session: AsyncSession, county_code: str, breaker: Breaker) -> None:
    """Let lending go on in a scope that is held."""
    await database.execute(
        session,
        """UPDATE breaker SET tripped = false, effects = '', version = $4
           WHERE county_code = $1 AND scope = $2 AND scope_id = $3""",
        county_code,
        breaker.scope,
        breaker.scope_id,
        breaker.version,
    )
