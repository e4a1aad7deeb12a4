"""Loans: SQL of the relending ledger, and of which money a loan is out of."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database
from services.kernel.money import Fen
from services.loans.rules.relending import (
    OWN_FUNDS,
    Costs,
    Facility,
    FundedLoan,
    Lent,
    Moved,
    Visit,
)

_SOURCE = "coalesce(nullif(a.stated::jsonb ->> 'funding', ''), 'own_funds')"
assert OWN_FUNDS in _SOURCE


def _facility(row: asyncpg.Record) -> Facility:
    return Facility(
        facility_id=row["facility_id"],
        lender_id=row["lender_id"],
        programme_id=row["programme_id"],
        rule_version=row["rule_version"],
        source=row["source"],
        limit_fen=Fen(row["limit_fen"]),
        rate_ppm=row["rate_ppm"],
        rate_cap_ppm=row["rate_cap_ppm"],
        revolving=row["revolving"],
        granted_on=row["granted_on"],
        validity_months=row["validity_months"],
        valid_until=row["valid_until"],
        reference=row["reference"],
        opened_by=row["opened_by"],
        drawn_fen=Fen(row["drawn_fen"]),
        repaid_fen=Fen(row["repaid_fen"]),
        closed_on=row["closed_on"],
        version=row["version"],
    )


async def granted(session: AsyncSession, county_code: str, programme_id: str) -> Fen:
    """What the open lines of a programme come to; no other is opened meanwhile."""
    await database.execute(
        session,
        "SELECT pg_advisory_xact_lock(hashtext('relending'), hashtext($1))",
        f"{county_code}:{programme_id}",
    )
    rows = await database.fetch(
        session,
        """SELECT coalesce(sum(limit_fen), 0)::bigint AS granted_fen FROM relending_facility
           WHERE county_code = $1 AND programme_id = $2 AND closed_on IS NULL""",
        county_code,
        programme_id,
    )
    return Fen(rows[0]["granted_fen"])


async def add(session: AsyncSession, county_code: str, facility: Facility) -> bool:
    """Write a line; False when the lender has one of this money open already."""
    return (
        await database.execute(
            session,
            """INSERT INTO relending_facility (county_code, facility_id, lender_id, programme_id,
                   rule_version, source, limit_fen, rate_ppm, rate_cap_ppm, revolving, granted_on,
                   validity_months, valid_until, reference, opened_by, version)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
               ON CONFLICT (county_code, lender_id, programme_id, source)
                   WHERE closed_on IS NULL DO NOTHING""",
            county_code,
            facility.facility_id,
            facility.lender_id,
            facility.programme_id,
            facility.rule_version,
            facility.source,
            facility.limit_fen,
            facility.rate_ppm,
            facility.rate_cap_ppm,
            facility.revolving,
            facility.granted_on,
            facility.validity_months,
            facility.valid_until,
            facility.reference,
            facility.opened_by,
            facility.version,
        )
        == 1
    )


async def lock(session: AsyncSession, county_code: str, facility_id: UUID) -> Facility | None:
    """One line, held."""
    rows = await database.fetch(
        session,
        """SELECT * FROM relending_facility WHERE county_code = $1 AND facility_id = $2
           FOR UPDATE""",
        county_code,
        facility_id,
    )
    return _facility(rows[0]) if rows else None


async def find(session: AsyncSession, county_code: str, facility_id: UUID) -> Facility | None:
    """One line, not held."""
    rows = await database.fetch(
        session,
        "SELECT * FROM relending_facility WHERE county_code = $1 AND facility_id = $2",
        county_code,
        facility_id,
    )
    return _facility(rows[0]) if rows else None


async def save(session: AsyncSession, county_code: str, facility: Facility) -> None:
    """Write what changed of a line that is held."""
    await database.execute(
        session,
        """UPDATE relending_facility SET drawn_fen = $3, repaid_fen = $4, closed_on = $5,
               version = $6 WHERE county_code = $1 AND facility_id = $2""",
        county_code,
        facility.facility_id,
        facility.drawn_fen,
        facility.repaid_fen,
        facility.closed_on,
        facility.version,
    )


async def last_movement(
    session: AsyncSession, county_code: str, facility_id: UUID
) -> tuple[int, date | None]:
    """Number and day of the last movement of a line."""
    rows = await database.fetch(
        session,
        """SELECT number, value_date FROM relending_movement
           WHERE county_code = $1 AND facility_id = $2 ORDER BY number DESC LIMIT 1""",
        county_code,
        facility_id,
    )
    return (rows[0]["number"], rows[0]["value_date"]) if rows else (0, None)


async def add_movement(session: AsyncSession, county_code: str, moved: Moved) -> bool:
    """Write a movement; False when its reference was used on this line."""
    return (
        await database.execute(
            session,
            """INSERT INTO relending_movement (county_code, facility_id, number, draw, amount_fen,
                   value_date, booked_on, reference, owed_fen, free_fen, person_id)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
               ON CONFLICT (county_code, facility_id, reference) DO NOTHING""",
            county_code,
            moved.facility_id,
            moved.number,
            moved.draw,
            moved.amount_fen,
            moved.value_date,
            moved.booked_on,
            moved.reference,
            moved.owed_fen,
            moved.free_fen,
            moved.person_id,
        )
        == 1
    )


async def movements(
    session: AsyncSession, county_code: str, facility_id: UUID, *, after: int, limit: int
) -> list[Moved]:
    """Movements of a line, in order."""
    rows = await database.fetch(
        session,
        """SELECT * FROM relending_movement WHERE county_code = $1 AND facility_id = $2
             AND number > $3 ORDER BY number LIMIT $4""",
        county_code,
        facility_id,
        after,
        limit,
    )
    return [
        Moved(
            row["facility_id"],
            row["number"],
            row["draw"],
            Fen(row["amount_fen"]),
            row["value_date"],
            row["booked_on"],
            row["reference"],
            Fen(row["owed_fen"]),
            Fen(row["free_fen"]),
            row["person_id"],
        )
        for row in rows
    ]


async def listed(
    session: AsyncSession, county_code: str, *, lender_id: str, after: UUID | None, limit: int
) -> list[Facility]:
    """Lines in id order."""
    rows = await database.fetch(
        session,
        """SELECT * FROM relending_facility WHERE county_code = $1
             AND ($2 = '' OR lender_id = $2) AND ($3::uuid IS NULL OR facility_id > $3)
           ORDER BY facility_id LIMIT $4""",
        county_code,
        lender_id,
        after,
        limit,
    )
    return [_facility(row) for row in rows]


async def lent_of(
    session: AsyncSession, county_code: str, lines: Sequence[Facility]
) -> dict[UUID, Lent]:
    """What was lent out of lines: owed loans, those above the cap, those visited."""
    values = [(f.facility_id, f.lender_id, f.programme_id, f.source, f.rate_cap_ppm) for f in lines]
    rows = await database.fetch(
        session,
        f"""SELECT f.facility_id, count(*)::integer AS loans,
                  sum(l.outstanding_fen)::bigint AS lent_fen,
                  (count(*) FILTER (WHERE f.cap > 0 AND l.rate_ppm > f.cap))::integer AS above_cap,
                  (count(*) FILTER (WHERE EXISTS (
                      SELECT FROM relending_visit AS v
                      WHERE v.county_code = $1 AND v.loan_id = l.loan_id)))::integer AS visited
           FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::bigint[])
                AS f (facility_id, lender_id, programme_id, source, cap)
           JOIN loan AS l ON l.county_code = $1 AND l.lender_id = f.lender_id
                AND l.state = 'active' AND split_part(l.programme, '@', 1) = f.programme_id
           JOIN application AS a ON a.county_code = $1 AND a.loan_id = l.loan_id
           WHERE {_SOURCE} = f.source GROUP BY f.facility_id""",  # noqa: S608
        county_code,
        *database.columns(values, 5),
    )
    return {
        row["facility_id"]: Lent(
            Fen(row["lent_fen"]), row["loans"], row["above_cap"], row["visited"]
        )
        for row in rows
    }


async def source_of(session: AsyncSession, county_code: str, loan_id: UUID) -> str:
    """Which money a loan is out of."""
    rows = await database.fetch(
        session,
        f"""SELECT {_SOURCE} AS source FROM application AS a
            WHERE county_code = $1 AND loan_id = $2""",  # noqa: S608
        county_code,
        loan_id,
    )
    return rows[0]["source"] if rows else OWN_FUNDS


async def add_visit(session: AsyncSession, county_code: str, visit: Visit) -> None:
    """Write a visit."""
    await database.execute(
        session,
        """INSERT INTO relending_visit (county_code, visit_id, loan_id, lender_id, visited_on,
               finding, evidence, institution_id, person_id)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)""",
        county_code,
        visit.visit_id,
        visit.loan_id,
        visit.lender_id,
        visit.visited_on,
        visit.finding,
        visit.evidence,
        visit.institution_id,
        visit.person_id,
    )


async def visits(
    session: AsyncSession,
    county_code: str,
    *,
    areas: Sequence[str],
    lender_id: str,
    loan_id: UUID | None,
    after: UUID | None,
    limit: int,
) -> list[Visit]:
    """Visits in id order."""
    rows = await database.fetch(
        session,
        """SELECT v.* FROM relending_visit AS v
           JOIN loan AS l ON l.county_code = v.county_code AND l.loan_id = v.loan_id
           WHERE v.county_code = $1
             AND EXISTS (SELECT FROM unnest($2::text[]) AS a (code)
                         WHERE starts_with(l.area_code, a.code))
             AND ($3 = '' OR v.lender_id = $3) AND ($4::uuid IS NULL OR v.loan_id = $4)
             AND ($5::uuid IS NULL OR v.visit_id > $5)
           ORDER BY v.visit_id LIMIT $6""",
        county_code,
        list(areas),
        lender_id,
        loan_id,
        after,
        limit,
    )
    return [
        Visit(
            row["visit_id"],
            row["loan_id"],
            row["lender_id"],
            row["visited_on"],
            row["finding"],
            row["evidence"],
            row["institution_id"],
            row["person_id"],
        )
        for row in rows
    ]


async def costs(
    session: AsyncSession, county_code: str, lender_id: str, on: date | None = None
) -> Costs | None:
    """What a lender's money costs on a day; the last that was said, without one."""
    rows = await database.fetch(
        session,
        """SELECT * FROM funding_cost WHERE county_code = $1 AND lender_id = $2
             AND ($3::date IS NULL OR valid_from <= $3) ORDER BY valid_from DESC LIMIT 1""",
        county_code,
        lender_id,
        on,
    )
    if not rows:
        return None
    row = rows[0]
    return Costs(lender_id, row["valid_from"], row["own_funds_ppm"], row["operating_ppm"])


async def add_costs(session: AsyncSession, county_code: str, said: Costs, person_id: str) -> bool:
    """Write what a lender's money costs from a day on; False where that day was written before."""
    rows = await database.execute(
        session,
        """INSERT INTO funding_cost (county_code, lender_id, valid_from, own_funds_ppm,
               operating_ppm, person_id) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING""",
        county_code,
        said.lender_id,
        said.valid_from,
        said.own_funds_ppm,
        said.operating_ppm,
        person_id,
    )
    return rows == 1


async def line_rates(
    session: AsyncSession, county_code: str, lender_id: str
) -> dict[tuple[str, str], int]:
    """What a lender pays for each kind of money, by programme: its last line's price."""
    rows = await database.fetch(
        session,
        """SELECT DISTINCT ON (programme_id, source) programme_id, source, rate_ppm
           FROM relending_facility WHERE county_code = $1 AND lender_id = $2
           ORDER BY programme_id, source, granted_on DESC, facility_id DESC""",
        county_code,
        lender_id,
    )
    return {(row["programme_id"], row["source"]): row["rate_ppm"] for row in rows}


_OWED = f"""FROM loan AS l
           LEFT JOIN application AS a ON a.county_code = l.county_code AND a.loan_id = l.loan_id
           CROSS JOIN LATERAL (SELECT split_part(l.programme, '@', 1) AS programme_id,
                                      {_SOURCE} AS source) AS m
           WHERE l.county_code = $1 AND l.lender_id = $2 AND l.state = 'active'"""


async def owed_loans(
    session: AsyncSession, county_code: str, lender_id: str, *, after: UUID | None, limit: int
) -> list[FundedLoan]:
    """A lender's owed loans and which money they are out of, in id order."""
    rows = await database.fetch(
        session,
        f"""SELECT l.loan_id, m.programme_id, m.source, l.rate_ppm, l.outstanding_fen {_OWED}
             AND ($3::uuid IS NULL OR l.loan_id > $3) ORDER BY l.loan_id LIMIT $4""",
        county_code,
        lender_id,
        after,
        limit,
    )
    return [
        FundedLoan(
            row["loan_id"],
            row["programme_id"],
            row["source"],
            row["rate_ppm"],
            Fen(row["outstanding_fen"]),
        )
        for row in rows
    ]


async def owed_groups(session: AsyncSession, county_code: str, lender_id: str) -> list[FundedLoan]:
    """The same over all of them: those alike together."""
    rows = await database.fetch(
        session,
        f"""SELECT m.programme_id, m.source, l.rate_ppm, count(*)::integer AS loans,
                  sum(l.outstanding_fen)::bigint AS outstanding_fen {_OWED}
           GROUP BY m.programme_id, m.source, l.rate_ppm
           ORDER BY m.programme_id, m.source, l.rate_ppm""",
        county_code,
        lender_id,
    )
    return [
        FundedLoan(
            None,
            row["programme_id"],
            row["source"],
            row["rate_ppm"],
            Fen(row["outstanding_fen"]),
            row["loans"],
        )
        for row in rows
    ]
