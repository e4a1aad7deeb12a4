"""Credit: SQL of credit areas and of coverage."""

from collections.abc import Sequence
from datetime import date

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit.model import GONE, Coverage, CreditArea
from services.credit.rules.areas import Count
from services.kernel.database import columns, execute, fetch

_AREA = """
SELECT county_code, area_code, programme_id, scope, programme, certified, since, assessed_on,
       numerator, denominator, min_units, version
FROM credit_area
"""


def _area(row: asyncpg.Record) -> CreditArea:
    return CreditArea(**dict(row))


async def count_households(
    session: AsyncSession, county_code: str, programme_id: str, *, digits: int
) -> list[Count]:
    """Households of each area and how many of them have a grade of the programme."""
    rows = await fetch(
        session,
        """SELECT left(area_code, $3) AS area_code, count(*) AS total,
                  count(*) FILTER (WHERE grade <> '' AND split_part(programme, '@', 1) = $2)
                      AS credited
           FROM credit_file
           WHERE county_code = $1 AND NOT delisted AND household_status <> ALL ($4::text[])
             AND length(area_code) >= $3
           GROUP BY 1 ORDER BY 1""",
        county_code,
        programme_id,
        digits,
        GONE,
    )
    return [Count(row["area_code"], row["credited"], row["total"]) for row in rows]


async def lock_areas(
    session: AsyncSession, county_code: str, programme_id: str
) -> dict[str, CreditArea]:
    """The areas of a programme that were ever assessed, held."""
    rows = await fetch(
        session,
        f"""{_AREA} WHERE county_code = $1 AND programme_id = $2 ORDER BY area_code
            FOR UPDATE""",
        county_code,
        programme_id,
    )
    return {row["area_code"]: _area(row) for row in rows}


async def save_areas(session: AsyncSession, areas: Sequence[CreditArea]) -> None:
    """Write areas as they stand."""
    rows = [
        (
            a.county_code,
            a.area_code,
            a.programme_id,
            a.scope,
            a.programme,
            a.certified,
            a.since,
            a.assessed_on,
            a.numerator,
            a.denominator,
            a.min_units,
            a.version,
        )
        for a in areas
    ]
    await execute(
        session,
        """INSERT INTO credit_area (county_code, area_code, programme_id, scope, programme,
               certified, since, assessed_on, numerator, denominator, min_units, version)
           SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[],
               $6::boolean[], $7::date[], $8::date[], $9::bigint[], $10::bigint[], $11::bigint[],
               $12::bigint[])
           ON CONFLICT (county_code, area_code, programme_id) DO UPDATE
           SET programme = excluded.programme, certified = excluded.certified,
               since = excluded.since, assessed_on = excluded.assessed_on,
               numerator = excluded.numerator, denominator = excluded.denominator,
               min_units = excluded.min_units, version = excluded.version""",
        *columns(rows, 12),
    )


async def add_area_changes(session: AsyncSession, areas: Sequence[CreditArea]) -> None:
    """Keep areas that became, or stopped being, credit areas."""
    rows = [
        (
            a.county_code,
            a.area_code,
            a.programme_id,
            a.version,
            a.scope,
            a.programme,
            a.certified,
            a.since,
            a.numerator,
            a.denominator,
            a.min_units,
        )
        for a in areas
    ]
    await execute(
        session,
        """INSERT INTO credit_area_change (county_code, area_code, programme_id, version, scope,
               programme, certified, since, numerator, denominator, min_units)
           SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[],
               $6::text[], $7::boolean[], $8::date[], $9::bigint[], $10::bigint[],
               $11::bigint[])""",
        *columns(rows, 11),
    )


async def list_areas(
    session: AsyncSession,
    county_code: str,
    *,
    within: str,
    certified_only: bool,
    offset: int,
    limit: int,
) -> list[CreditArea]:
    """Areas as they stand now, in the order of their codes."""
    rows = await fetch(
        session,
        f"""{_AREA} WHERE county_code = $1 AND area_code >= $2 AND area_code < $2 || ':'
              AND (NOT $3 OR certified)
            ORDER BY area_code, programme_id OFFSET $4 LIMIT $5""",
        county_code,
        within or county_code,
        certified_only,
        offset,
        limit,
    )
    return [_area(row) for row in rows]


async def list_areas_on(
    session: AsyncSession,
    county_code: str,
    day: date,
    *,
    within: str,
    certified_only: bool,
    offset: int,
    limit: int,
) -> list[CreditArea]:
    """Areas as they stood on a day: their last change up to it."""
    rows = await fetch(
        session,
        """SELECT * FROM (
               SELECT DISTINCT ON (area_code, programme_id) county_code, area_code, programme_id,
                      scope, programme, certified, since, since AS assessed_on, numerator,
                      denominator, min_units, version
               FROM credit_area_change
               WHERE county_code = $1 AND area_code >= $2 AND area_code < $2 || ':' AND since <= $3
               ORDER BY area_code, programme_id, version DESC) AS stood
           WHERE NOT $4 OR certified
           ORDER BY area_code, programme_id OFFSET $5 LIMIT $6""",
        county_code,
        within or county_code,
        day,
        certified_only,
        offset,
        limit,
    )
    return [_area(row) for row in rows]


# Households are read and counted once, where they live; areas of every length add that up.
_COVERAGE = """
WITH household AS MATERIALIZED (
    SELECT f.household_id, f.area_code, f.rating_id IS NOT NULL AS rated,
           f.limit_fen > 0 AS granted, coalesce(r.rated_by, '') AS rated_by
    FROM credit_file AS f
    LEFT JOIN rating AS r ON r.county_code = f.county_code AND r.rating_id = f.rating_id
    WHERE f.county_code = $1 AND f.area_code >= $2 AND f.area_code < $2 || ':'
      AND NOT f.delisted AND f.household_status <> ALL ($4::text[])
), lent AS MATERIALIZED (
    SELECT DISTINCT household_id, lender_id FROM exposure
    WHERE county_code = $1 AND drawn_fen > 0 AND household_id IS NOT NULL
), own AS MATERIALIZED (
    SELECT area_code, rated_by, count(*) AS households, count(*) FILTER (WHERE rated) AS rated,
           count(*) FILTER (WHERE granted) AS granted,
           count(*) FILTER (WHERE household_id IN (SELECT household_id FROM lent)) AS lent
    FROM household GROUP BY area_code, rated_by
), figure AS (
    SELECT area_code, '' AS institution_id, measure, numerator, homes
    FROM own CROSS JOIN LATERAL (VALUES
        ('rated', rated, households), ('granted', granted, 0), ('lent', lent, 0)
    ) AS each (measure, numerator, homes)
    UNION ALL SELECT area_code, rated_by, measure, numerator, 0
    FROM own CROSS JOIN LATERAL (VALUES ('rated', rated), ('granted', granted))
        AS each (measure, numerator)
    WHERE $5 AND rated_by <> '' AND numerator > 0
    UNION ALL SELECT area_code, lender_id, 'lent', count(*), 0 FROM household JOIN lent
    USING (household_id) WHERE $5 AND lender_id <> '' GROUP BY area_code, lender_id
), level AS (
    SELECT left(area_code, digits) AS area_code, institution_id, measure,
           sum(numerator)::bigint AS numerator, sum(homes) AS homes
    FROM figure CROSS JOIN unnest($3::int[]) AS digits
    WHERE length(area_code) >= digits GROUP BY 1, institution_id, measure
)
SELECT area_code, institution_id, measure, numerator,
       (sum(homes) OVER (PARTITION BY area_code))::bigint AS denominator
FROM level
"""


async def count_coverage(
    session: AsyncSession,
    county_code: str,
    *,
    within: str,
    digits: int,
    left_out: Sequence[str],
    by_institution: bool,
    offset: int,
    limit: int,
) -> list[Coverage]:
    """Coverage as it stands now."""
    rows = await fetch(
        session,
        f"""{_COVERAGE} ORDER BY area_code COLLATE "C", institution_id COLLATE "C", measure
            OFFSET $6 LIMIT $7""",
        county_code,
        within or county_code,
        [digits],
        [*GONE, *left_out],
        by_institution,
        offset,
        limit,
    )
    return [Coverage(**dict(row)) for row in rows]


async def keep_coverage(
    session: AsyncSession,
    county_code: str,
    day: date,
    *,
    digits: Sequence[int],
    left_out: Sequence[str],
) -> None:
    """Keep a day's figures of areas of each length, of all together and of each institution."""
    await execute(
        session,
        f"""INSERT INTO coverage (county_code, kept_on, area_code, institution_id, measure,
                                  numerator, denominator)
            SELECT $1, $6::date, figures.* FROM ({_COVERAGE}) AS figures
            ON CONFLICT DO NOTHING""",  # noqa: S608 - put together from constants
        county_code,
        county_code,
        list(digits),
        [*GONE, *left_out],
        True,
        day,
    )


async def last_kept(session: AsyncSession, county_code: str, day: date) -> date | None:
    """The last day up to the given one for which coverage was kept."""
    rows = await fetch(
        session,
        "SELECT max(kept_on) AS kept_on FROM coverage WHERE county_code = $1 AND kept_on <= $2",
        county_code,
        day,
    )
    kept_on: date | None = rows[0]["kept_on"]
    return kept_on


async def list_coverage(
    session: AsyncSession,
    county_code: str,
    kept_on: date,
    *,
    within: str,
    digits: int,
    by_institution: bool,
    offset: int,
    limit: int,
) -> list[Coverage]:
    """Coverage as it was kept."""
    rows = await fetch(
        session,
        """SELECT area_code, institution_id, measure, numerator, denominator FROM coverage
           WHERE county_code = $1 AND kept_on = $2 AND area_code >= $3 AND area_code < $3 || ':'
             AND length(area_code) = $4 AND ($5 OR institution_id = '')
           ORDER BY area_code, institution_id, measure OFFSET $6 LIMIT $7""",
        county_code,
        kept_on,
        within or county_code,
        digits,
        by_institution,
        offset,
        limit,
    )
    return [Coverage(**dict(row)) for row in rows]
