"""Loans: SQL of publications; no statement here reads who a debtor is."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database
from services.kernel.money import Fen
from services.loans.rules.publications import (
    COMPENSATIONS,
    LOANS,
    SUBSIDY,
    TOTALS,
    Line,
    Publication,
    Subject,
)

# $1 county, $2 programme, $3 area, $4 first day, $5 last day, $6 limit.
_LINES = {
    LOANS: """
        SELECT left(area_code, 12) AS area_code, lender_id, product_id, purpose,
               disbursed_on AS line_on, 1 AS loans, principal_fen AS amount_fen, 0 AS other_fen
        FROM loan WHERE county_code = $1 AND split_part(programme, '@', 1) = $2
          AND starts_with(area_code, $3) AND disbursed_on BETWEEN $4 AND $5
        ORDER BY 1, 5, loan_id LIMIT $6""",
    SUBSIDY: """
        SELECT left(l.area_code, 12) AS area_code, c.lender_id, '' AS product_id, '' AS purpose,
               c.paid_on AS line_on, count(*)::integer AS loans,
               sum(n.amount_fen)::bigint AS amount_fen, 0 AS other_fen
        FROM subsidy_claim AS c
        JOIN subsidy_claim_line AS n USING (county_code, claim_id)
        JOIN loan AS l ON l.county_code = n.county_code AND l.loan_id = n.loan_id
        WHERE c.county_code = $1 AND c.programme_id = $2 AND starts_with(l.area_code, $3)
          AND c.paid_on BETWEEN $4 AND $5
        GROUP BY 1, 2, 5 ORDER BY 1, 2, 5 LIMIT $6""",
    COMPENSATIONS: """
        SELECT left(l.area_code, 12) AS area_code, l.lender_id, l.product_id, l.purpose,
               j.on_day AS line_on, 1 AS loans, c.loss_fen AS amount_fen, c.others_fen AS other_fen
        FROM compensation AS c
        JOIN loan AS l ON l.county_code = c.county_code AND l.loan_id = c.loan_id
        JOIN LATERAL (SELECT min(value_date) AS on_day FROM journal
                      WHERE county_code = c.county_code AND kind = 'compensation'
                        AND cause_id = c.case_id::text) AS j ON true
        WHERE c.county_code = $1 AND split_part(l.programme, '@', 1) = $2
          AND starts_with(l.area_code, $3) AND j.on_day BETWEEN $4 AND $5
        ORDER BY 1, 5, c.case_id LIMIT $6""",
    TOTALS: """
        SELECT left(area_code, 12) AS area_code, '' AS lender_id, '' AS product_id, '' AS purpose,
               NULL::date AS line_on,
               (count(*) FILTER (WHERE disbursed_on BETWEEN $4 AND $5))::integer AS loans,
               coalesce(sum(principal_fen) FILTER (WHERE disbursed_on BETWEEN $4 AND $5), 0)::bigint
                   AS amount_fen,
               sum(outstanding_fen)::bigint AS other_fen
        FROM loan WHERE county_code = $1 AND split_part(programme, '@', 1) = $2
          AND starts_with(area_code, $3) AND disbursed_on <= $5
        GROUP BY 1 ORDER BY 1 LIMIT $6""",
}


def _publication(row: asyncpg.Record) -> Publication:
    return Publication(
        publication_id=row["publication_id"],
        kind=row["kind"],
        programme_id=row["programme_id"],
        rule_version=row["rule_version"],
        area_code=row["area_code"],
        first=row["first_day"],
        last=row["last_day"],
        days=row["days"],
        places=tuple(row["places"].split(",")) if row["places"] else (),
        made_on=row["made_on"],
        made_by=row["made_by"],
        lines=row["lines"],
        amount_fen=Fen(row["amount_fen"]),
        state=row["state"],
        published_on=row["published_on"],
        ends_on=row["ends_on"],
        published_by=row["published_by"],
        withdrawn_on=row["withdrawn_on"],
        withdrawn_by=row["withdrawn_by"],
        reason=row["reason"],
        version=row["version"],
    )


def _line(row: asyncpg.Record) -> Line:
    return Line(
        row["area_code"],
        row["lender_id"],
        row["product_id"],
        row["purpose"],
        row["line_on"],
        row["loans"],
        Fen(row["amount_fen"]),
        Fen(row["other_fen"]),
    )


async def lines_for(
    session: AsyncSession, county_code: str, subject: Subject, limit: int
) -> list[Line]:
    """What a publication would say."""
    rows = await database.fetch(
        session,
        _LINES[subject.kind],
        county_code,
        subject.programme_id,
        subject.area_code,
        subject.first,
        subject.last,
        limit,
    )
    return [_line(row) for row in rows]


async def add(
    session: AsyncSession, county_code: str, made: Publication, lines: Sequence[Line]
) -> None:
    """Write a publication and its lines."""
    await database.execute(
        session,
        """INSERT INTO publication (county_code, publication_id, kind, programme_id, rule_version,
               area_code, first_day, last_day, days, places, state, made_on, made_by, lines,
               amount_fen, version)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)""",
        county_code,
        made.publication_id,
        made.kind,
        made.programme_id,
        made.rule_version,
        made.area_code,
        made.first,
        made.last,
        made.days,
        ",".join(made.places),
        made.state,
        made.made_on,
        made.made_by,
        made.lines,
        made.amount_fen,
        made.version,
    )
    values = [
        (
            number,
            line.area_code,
            line.lender_id,
            line.product_id,
            line.purpose,
            line.on,
            line.loans,
            line.amount_fen,
            line.other_fen,
        )
        for number, line in enumerate(lines, 1)
    ]
    await database.execute(
        session,
        """INSERT INTO publication_line (county_code, publication_id, number, area_code, lender_id,
               product_id, purpose, line_on, loans, amount_fen, other_fen)
           SELECT $1, $2, * FROM unnest($3::integer[], $4::text[], $5::text[], $6::text[],
               $7::text[], $8::date[], $9::integer[], $10::bigint[], $11::bigint[])""",
        county_code,
        made.publication_id,
        *database.columns(values, 9),
    )


async def find(
    session: AsyncSession, county_code: str, publication_id: UUID, *, hold: bool = False
) -> Publication | None:
    """One publication, held or not."""
    rows = await database.fetch(
        session,
        f"""SELECT * FROM publication WHERE county_code = $1 AND publication_id = $2
            {"FOR UPDATE" if hold else ""}""",  # noqa: S608
        county_code,
        publication_id,
    )
    return _publication(rows[0]) if rows else None


async def save(session: AsyncSession, county_code: str, found: Publication) -> None:
    """Write what changed of a publication that is held."""
    await database.execute(
        session,
        """UPDATE publication SET state = $3, published_on = $4, ends_on = $5, published_by = $6,
               withdrawn_on = $7, withdrawn_by = $8, reason = $9, version = $10
           WHERE county_code = $1 AND publication_id = $2""",
        county_code,
        found.publication_id,
        found.state,
        found.published_on,
        found.ends_on,
        found.published_by,
        found.withdrawn_on,
        found.withdrawn_by,
        found.reason,
        found.version,
    )


async def listed(
    session: AsyncSession,
    county_code: str,
    *,
    kind: str,
    public_on: date | None,
    after: UUID | None,
    limit: int,
) -> list[Publication]:
    """Publications in id order; of a day those that are public on it."""
    rows = await database.fetch(
        session,
        """SELECT * FROM publication WHERE county_code = $1 AND ($2 = '' OR kind = $2)
             AND ($3::date IS NULL
                  OR (state = 'published' AND $3 BETWEEN published_on AND ends_on))
             AND ($4::uuid IS NULL OR publication_id > $4)
           ORDER BY publication_id LIMIT $5""",
        county_code,
        kind,
        public_on,
        after,
        limit,
    )
    return [_publication(row) for row in rows]


async def lines_of(
    session: AsyncSession, county_code: str, publication_id: UUID, *, start: int, limit: int
) -> list[Line]:
    """The lines of a publication, in order."""
    rows = await database.fetch(
        session,
        """SELECT * FROM publication_line WHERE county_code = $1 AND publication_id = $2
             AND number > $3 ORDER BY number LIMIT $4""",
        county_code,
        publication_id,
        start,
        limit,
    )
    return [_line(row) for row in rows]
