"""Claims: SQL of index units, prices and settlement periods, and of what lines came to."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import (
    Actor,
    IndexPeriod,
    IndexPolicy,
    IndexUnit,
    IndexValue,
    LineResult,
)
from services.kernel import database
from services.kernel.money import Fen

# A policy once for each of its covers.
_POLICIES = """(SELECT m.county_code, m.policy_id, m.insurer_id, m.programme_id, m.programme,
                       c.cover_id, m.from_date, m.until_date
                FROM master_policy AS m JOIN policy_cover AS c USING (county_code, policy_id))"""


def _policy(row: asyncpg.Record) -> IndexPolicy:
    return IndexPolicy(
        county_code=row["county_code"],
        policy_id=row["policy_id"],
        insurer_id=row["insurer_id"],
        programme_id=row["programme_id"],
        programme=row["programme"],
        cover_id=row["cover_id"],
        from_date=row["from_date"],
        until_date=row["until_date"],
    )


async def policies_of(
    session: AsyncSession, county_code: str, *, programme_id: str = "", cover_id: str = ""
) -> list[IndexPolicy]:
    """Policies of a county, or of one cover, the oldest term first."""
    rows = await database.fetch(
        session,
        f"""SELECT * FROM {_POLICIES} AS p
           WHERE county_code = $1 AND ($2 = '' OR programme_id = $2) AND ($3 = '' OR cover_id = $3)
           ORDER BY from_date, policy_id, cover_id""",  # noqa: S608 - a constant
        county_code,
        programme_id,
        cover_id,
    )
    return [_policy(row) for row in rows]


# --- units ----------------------------------------------------------------------------------------


async def places_of(
    session: AsyncSession, county_code: str, policy_id: UUID, household_ids: Sequence[UUID]
) -> dict[UUID, tuple[str, UUID | None]]:
    """Where households are, and their entries on a policy's insured list; the unknown left out."""
    rows = await database.fetch(
        session,
        """SELECT h.household_id, h.area_code,
                  (SELECT i.insured_id FROM insured AS i
                   WHERE i.county_code = $1 AND i.policy_id = $2
                     AND i.household_id = h.household_id
                   ORDER BY i.from_date, i.insured_id LIMIT 1) AS insured_id
           FROM household AS h
           WHERE h.county_code = $1 AND h.household_id = ANY($3::uuid[])""",
        county_code,
        policy_id,
        list(set(household_ids)),
    )
    return {row["household_id"]: (row["area_code"], row["insured_id"]) for row in rows}


async def add_units(
    session: AsyncSession, units: Sequence[IndexUnit], actor: Actor, on: date
) -> set[UUID]:
    """Keep units; the ids of those that are the household's first under the policy."""
    rows = [
        (
            unit.county_code,
            unit.unit_id,
            unit.policy_id,
            unit.household_id,
            unit.area_code,
            unit.insured_id,
            unit.quantity_centi_jin,
            unit.sum_insured_fen,
        )
        for unit in units
    ]
    added = await database.fetch(
        session,
        """INSERT INTO index_unit (county_code, unit_id, policy_id, household_id, area_code,
                                   insured_id, quantity_centi_jin, sum_insured_fen, set_by,
                                   set_person, set_on)
           SELECT s.*, $9, $10, $11
           FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::uuid[],
                       $7::bigint[], $8::bigint[]) AS s
           ON CONFLICT ON CONSTRAINT index_unit_once DO NOTHING RETURNING unit_id""",
        *database.columns(rows, 8),
        actor.institution_id,
        actor.person_id,
        on,
    )
    return {row["unit_id"] for row in added}


async def units_without_claim(
    session: AsyncSession, period: IndexPeriod, after: UUID, limit: int
) -> list[IndexUnit]:
    """Units of a period's policy that were set by its end and have no claim of it, in id order."""
    rows = await database.fetch(
        session,
        """SELECT u.*, i.loan_id, coalesce(l.lender_id, '') AS lender_id
           FROM index_unit AS u
           LEFT JOIN insured AS i USING (county_code, insured_id)
           LEFT JOIN loan AS l ON l.county_code = u.county_code AND l.loan_id = i.loan_id
           WHERE u.county_code = $1 AND u.policy_id = $2 AND u.set_on <= $3 AND u.unit_id > $4
             AND NOT EXISTS (
                 SELECT FROM claim AS c WHERE c.county_code = u.county_code
                   AND c.household_id = u.household_id AND c.cover_id = $5
                   AND c.unit_id = u.unit_id AND c.loss_date = $3)
           ORDER BY u.unit_id LIMIT $6""",
        period.county_code,
        period.policy_id,
        period.until_date,
        after,
        period.cover_id,
        limit,
    )
    return [
        IndexUnit(
            county_code=row["county_code"],
            unit_id=row["unit_id"],
            policy_id=row["policy_id"],
            household_id=row["household_id"],
            area_code=row["area_code"],
            insured_id=row["insured_id"],
            loan_id=row["loan_id"],
            lender_id=row["lender_id"],
            quantity_centi_jin=row["quantity_centi_jin"],
            sum_insured_fen=Fen(row["sum_insured_fen"]),
        )
        for row in rows
    ]


# --- prices ---------------------------------------------------------------------------------------


async def add_value(session: AsyncSession, value: IndexValue) -> bool:
    """Keep a price; False when its source has one of that day that counts."""
    return bool(
        await database.execute(
            session,
            """INSERT INTO index_value (county_code, value_id, programme_id, cover_id, source_id,
                                        person_id, priced_on, price_fen_per_jin, evidence,
                                        reason_code, recorded_on)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING""",
            value.county_code,
            value.value_id,
            value.programme_id,
            value.cover_id,
            value.source.institution_id,
            value.source.person_id,
            value.priced_on,
            value.price_fen_per_jin,
            value.evidence,
            value.reason_code,
            value.recorded_on,
        )
    )


def _value(row: asyncpg.Record) -> IndexValue:
    return IndexValue(
        county_code=row["county_code"],
        value_id=row["value_id"],
        programme_id=row["programme_id"],
        cover_id=row["cover_id"],
        source=Actor(row["source_id"], row["person_id"]),
        priced_on=row["priced_on"],
        price_fen_per_jin=Fen(row["price_fen_per_jin"]),
        evidence=row["evidence"],
        recorded_on=row["recorded_on"],
        reason_code=row["reason_code"],
    )


async def prices_within(
    session: AsyncSession, policy: IndexPolicy, period: tuple[date, date]
) -> list[IndexValue]:
    """Prices that count in a period, in the order of their days."""
    rows = await database.fetch(
        session,
        """SELECT * FROM index_value
           WHERE county_code = $1 AND programme_id = $2 AND cover_id = $3 AND reason_code = ''
             AND priced_on BETWEEN $4 AND $5 ORDER BY priced_on, value_id""",
        policy.county_code,
        policy.programme_id,
        policy.cover_id,
        *period,
    )
    return [_value(row) for row in rows]


async def list_values(
    session: AsyncSession,
    county_code: str,
    *,
    programme_id: str,
    cover_id: str,
    after: UUID,
    limit: int,
) -> list[IndexValue]:
    """Prices in id order, those refused included."""
    rows = await database.fetch(
        session,
        """SELECT * FROM index_value
           WHERE county_code = $1 AND ($2 = '' OR programme_id = $2) AND ($3 = '' OR cover_id = $3)
             AND value_id > $4 ORDER BY value_id LIMIT $5""",
        county_code,
        programme_id,
        cover_id,
        after,
        limit,
    )
    return [_value(row) for row in rows]


# --- periods --------------------------------------------------------------------------------------


async def hold_prices(session: AsyncSession, county_code: str) -> None:
    """Let nobody record a price of this county while a period is worked out, nor the reverse."""
    await database.fetch(
        session,
        "SELECT pg_advisory_xact_lock(hashtext('liandong-claims-prices'), hashtext($1))",
        county_code,
    )


async def settled_periods(
    session: AsyncSession, county_code: str, policy_ids: Sequence[UUID]
) -> dict[UUID, list[tuple[date, date]]]:
    """The periods of each policy that are fixed."""
    rows = await database.fetch(
        session,
        """SELECT policy_id, from_date, until_date FROM index_period
           WHERE county_code = $1 AND policy_id = ANY($2::uuid[])""",
        county_code,
        list(policy_ids),
    )
    found: dict[UUID, list[tuple[date, date]]] = {}
    for row in rows:
        found.setdefault(row["policy_id"], []).append((row["from_date"], row["until_date"]))
    return found


async def add_period(session: AsyncSession, period: IndexPeriod) -> None:
    """Fix a period; a second attempt changes nothing."""
    await database.execute(
        session,
        """INSERT INTO index_period (county_code, policy_id, from_date, until_date, cover_id,
                                     prices_fen, reporter_id, reporter_person, gap_fen_per_jin,
                                     triggered, working, settled_on, done)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
           ON CONFLICT DO NOTHING""",
        period.county_code,
        period.policy_id,
        period.from_date,
        period.until_date,
        period.cover_id,
        list(period.prices_fen),
        period.reporter.institution_id,
        period.reporter.person_id,
        period.gap_fen_per_jin,
        period.triggered,
        period.working,
        period.settled_on,
        period.done,
    )


def _period(row: asyncpg.Record) -> IndexPeriod:
    return IndexPeriod(
        county_code=row["county_code"],
        policy_id=row["policy_id"],
        cover_id=row["cover_id"],
        from_date=row["from_date"],
        until_date=row["until_date"],
        prices_fen=tuple(Fen(price) for price in row["prices_fen"]),
        reporter=Actor(row["reporter_id"], row["reporter_person"]),
        gap_fen_per_jin=Fen(row["gap_fen_per_jin"]),
        triggered=row["triggered"],
        working=row["working"],
        settled_on=row["settled_on"],
        done=row["done"],
        claims_count=row["claims_count"],
        payable_fen=Fen(row["payable_fen"]),
    )


async def lock_open_period(session: AsyncSession, county_code: str) -> IndexPeriod | None:
    """A period whose units do not all have their claims yet, held."""
    rows = await database.fetch(
        session,
        """SELECT * FROM index_period WHERE county_code = $1 AND NOT done
           ORDER BY from_date, policy_id LIMIT 1 FOR UPDATE""",
        county_code,
    )
    return _period(rows[0]) if rows else None


async def count_claims(
    session: AsyncSession, period: IndexPeriod, claims: int, payable_fen: int, *, done: bool
) -> None:
    """Add what a step made to a period."""
    await database.execute(
        session,
        """UPDATE index_period SET claims_count = claims_count + $4,
               payable_fen = payable_fen + $5, done = $6
           WHERE county_code = $1 AND policy_id = $2 AND from_date = $3""",
        period.county_code,
        period.policy_id,
        period.from_date,
        claims,
        payable_fen,
        done,
    )


async def list_periods(
    session: AsyncSession,
    county_code: str,
    *,
    insurer_id: str,
    cover_id: str,
    offset: int,
    limit: int,
) -> list[IndexPeriod]:
    """Periods that were worked out, the oldest first."""
    rows = await database.fetch(
        session,
        """SELECT d.* FROM index_period AS d JOIN master_policy AS p USING (county_code, policy_id)
           WHERE d.county_code = $1 AND ($2 = '' OR p.insurer_id = $2)
             AND ($3 = '' OR d.cover_id = $3)
           ORDER BY d.from_date, d.policy_id OFFSET $4 LIMIT $5""",
        county_code,
        insurer_id,
        cover_id,
        offset,
        limit,
    )
    return [_period(row) for row in rows]


# --- lines ----------------------------------------------------------------------------------------


async def hold_lines(session: AsyncSession, county_code: str) -> None:
    """Let nobody else state a line of this county meanwhile."""
    await database.fetch(
        session,
        "SELECT pg_advisory_xact_lock(hashtext('liandong-claims-lines'), hashtext($1))",
        county_code,
    )


def _result(row: asyncpg.Record) -> LineResult:
    return LineResult(
        county_code=row["county_code"],
        line_id=row["line_id"],
        number=row["number"],
        insurer_id=row["insurer_id"],
        programme_id=row["programme_id"],
        programme=row["programme"],
        cover_id=row["cover_id"],
        area_code=row["area_code"],
        from_date=row["from_date"],
        until_date=row["until_date"],
        premium_fen=Fen(row["premium_fen"]),
        payouts_fen=Fen(row["payouts_fen"]),
        payouts_count=row["payouts_count"],
    )


LineKey = tuple[str, str, str]
"""Insurer, programme, cover."""


async def last_results(session: AsyncSession, county_code: str) -> dict[LineKey, LineResult]:
    """The last result of each line of a county."""
    rows = await database.fetch(
        session,
        """SELECT DISTINCT ON (insurer_id, programme_id, cover_id) * FROM line_result
           WHERE county_code = $1 ORDER BY insurer_id, programme_id, cover_id, number DESC""",
        county_code,
    )
    return {(row["insurer_id"], row["programme_id"], row["cover_id"]): _result(row) for row in rows}


Amounts = tuple[Fen, Fen, int]
"""Premium, payouts, and how many of these."""


async def line_amounts(
    session: AsyncSession,
    county_code: str,
    lines: Sequence[tuple[str, str, str, date, date]],
) -> list[Amounts]:
    """What lines (insurer, programme, cover, first and last day) came to, in the order asked."""
    rows = await database.fetch(
        session,
        """SELECT greatest(0, coalesce((
                      SELECT sum(h.amount_fen) FROM premium_charge AS h
                      JOIN master_policy AS p USING (county_code, policy_id)
                      LEFT JOIN insured AS i USING (county_code, insured_id)
                      WHERE h.county_code = $1 AND p.insurer_id = a.insurer_id
                        AND p.programme_id = a.programme_id
                        AND h.business_date BETWEEN a.from_date AND a.until_date
                        -- A charge of a whole policy counts with the first of its covers.
                        AND a.cover_id = coalesce(i.cover_id, (
                            SELECT min(c.cover_id) FROM policy_cover AS c
                            WHERE c.county_code = $1 AND c.policy_id = h.policy_id))
                  ), 0))::bigint AS premium_fen,
                  paid.amount_fen AS payouts_fen, paid.payouts AS payouts_count
           FROM unnest($2::text[], $3::text[], $4::text[], $5::date[], $6::date[])
                WITH ORDINALITY
                AS a (insurer_id, programme_id, cover_id, from_date, until_date, place),
           LATERAL (
               SELECT coalesce(sum(o.amount_fen), 0)::bigint AS amount_fen, count(*) AS payouts
               FROM payout AS o JOIN claim AS c USING (county_code, claim_id)
               JOIN master_policy AS p ON p.county_code = $1 AND p.policy_id = c.policy_id
               WHERE o.county_code = $1 AND p.insurer_id = a.insurer_id
                 AND p.programme_id = a.programme_id AND c.cover_id = a.cover_id
                 AND o.value_date BETWEEN a.from_date AND a.until_date
           ) AS paid ORDER BY a.place""",
        county_code,
        *database.columns(lines, 5),
    )
    return [
        (Fen(row["premium_fen"]), Fen(row["payouts_fen"]), int(row["payouts_count"]))
        for row in rows
    ]


async def add_results(
    session: AsyncSession, results: Sequence[LineResult], actor: Actor, on: date
) -> None:
    """Keep what lines came to."""
    rows = [
        (
            result.county_code,
            result.line_id,
            result.number,
            result.insurer_id,
            result.programme_id,
            result.programme,
            result.cover_id,
            result.area_code,
            result.from_date,
            result.until_date,
            result.premium_fen,
            result.payouts_fen,
            result.payouts_count,
        )
        for result in results
    ]
    await database.execute(
        session,
        """INSERT INTO line_result (county_code, line_id, number, insurer_id, programme_id,
                                    programme, cover_id, area_code, from_date, until_date,
                                    premium_fen, payouts_fen, payouts_count, stated_by,
                                    stated_person, stated_on)
           SELECT s.*, $14, $15, $16
           FROM unnest($1::text[], $2::uuid[], $3::integer[], $4::text[], $5::text[], $6::text[],
                       $7::text[], $8::text[], $9::date[], $10::date[], $11::bigint[],
                       $12::bigint[], $13::integer[]) AS s""",
        *database.columns(rows, 13),
        actor.institution_id,
        actor.person_id,
        on,
    )


async def list_results(
    session: AsyncSession, county_code: str, *, insurer_id: str, offset: int, limit: int
) -> list[LineResult]:
    """Results by insurer, programme, cover and number."""
    rows = await database.fetch(
        session,
        """SELECT * FROM line_result WHERE county_code = $1 AND ($2 = '' OR insurer_id = $2)
           ORDER BY insurer_id, programme_id, cover_id, number OFFSET $3 LIMIT $4""",
        county_code,
        insurer_id,
        offset,
        limit,
    )
    return [_result(row) for row in rows]
