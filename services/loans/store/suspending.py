"""Loans: SQL of scopes: what is owed in them, what fell due and was collected, what to collect."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database
from services.kernel.money import Fen
from services.loans.model import BreakerScope, DueMonth, Loan, ScopeBalance, ScopeMonth
from services.loans.store import loan_of

# A loan's id in each kind of scope, as `rules.scopes` has it. Our own constants, never input.
ID_IN = {
    BreakerScope.VILLAGE: "left(loan.area_code, 12)",
    BreakerScope.TOWNSHIP: "left(loan.area_code, 9)",
    BreakerScope.COUNTY: "loan.county_code",
    BreakerScope.PROGRAMME: "split_part(loan.programme, '@', 1)",
    BreakerScope.PRODUCT: "split_part(loan.programme, '@', 1) || '/' || loan.product_id",
    BreakerScope.LENDER: "loan.lender_id",
    BreakerScope.OUTLET: "loan.lender_id || CASE WHEN loan.outlet_code = '' THEN ''"
    " ELSE '/' || loan.outlet_code END",
}
_IN_SCOPES = " OR ".join(
    f"(s.scope = '{scope}' AND s.scope_id = {column})" for scope, column in ID_IN.items()
)
CASES_MAX = 5_000


async def balances(
    session: AsyncSession, county_code: str, programme_id: str, scope: str
) -> list[ScopeBalance]:
    """Principal owed under a programme by the scopes of a kind, and the bad part of it (S16)."""
    rows = await database.fetch(
        session,
        f"""SELECT {ID_IN[BreakerScope(scope)]} AS id, sum(outstanding_fen)::bigint AS owed,
                   coalesce(sum(outstanding_fen) FILTER (WHERE non_performing_on IS NOT NULL), 0)
                       ::bigint AS bad
            FROM loan WHERE county_code = $1 AND state = 'active'
              AND split_part(programme, '@', 1) = $2
            GROUP BY id ORDER BY id""",  # noqa: S608
        county_code,
        programme_id,
    )
    return [ScopeBalance(row["id"], Fen(row["owed"]), Fen(row["bad"])) for row in rows]


async def due_whole(
    session: AsyncSession, county_code: str, programme_id: str, first: date, last: date
) -> list[DueMonth]:
    """
    Loans whose whole principal fell due between two days, and what of it was collected.

    What a renewal carried on did not fall due; what was written off was not collected.
    """
    rows = await database.fetch(
        session,
        """SELECT loan_id, due_fen, least(due_fen, greatest(0,
                      due_fen - outstanding_fen - written_fen))::bigint AS collected_fen
           FROM (SELECT loan_id, outstanding_fen,
                        CASE WHEN revolving_until IS NULL THEN principal_fen - undrawn_fen
                             ELSE (SELECT coalesce(sum(p.principal_fen), 0)::bigint
                                   FROM posting AS p WHERE p.county_code = loan.county_code
                                     AND p.loan_id = loan.loan_id AND p.kind = 'disbursement')
                        END AS due_fen,
                        (SELECT coalesce(sum(p.principal_fen), 0)::bigint FROM posting AS p
                         WHERE p.county_code = loan.county_code AND p.loan_id = loan.loan_id
                           AND p.kind = 'write_off') AS written_fen
                 FROM loan WHERE county_code = $1 AND split_part(programme, '@', 1) = $2
                   AND state IN ('active', 'settled', 'written_off')
                   AND disbursed_on IS NOT NULL AND matures_on BETWEEN $3 AND $4
                   AND method NOT IN ('equal_principal', 'equal_instalment')
                   AND NOT EXISTS (SELECT FROM renewal AS r WHERE r.county_code = loan.county_code
                                   AND r.renewed_loan_id = loan.loan_id)) AS due
           WHERE due_fen > 0 ORDER BY loan_id""",
        county_code,
        programme_id,
        first,
        last,
    )
    return [
        DueMonth(row["loan_id"], programme_id, Fen(row["due_fen"]), Fen(row["collected_fen"]))
        for row in rows
    ]


async def in_parts(
    session: AsyncSession,
    county_code: str,
    programme_id: str,
    first: date,
    last: date,
    *,
    after: UUID | None,
    limit: int,
) -> list[Loan]:
    """Loans paid back in equal parts that run between two days, in id order, not held."""
    rows = await database.fetch(
        session,
        """SELECT * FROM loan WHERE county_code = $1 AND split_part(programme, '@', 1) = $2
             AND state IN ('active', 'settled', 'written_off')
             AND method IN ('equal_principal', 'equal_instalment')
             AND disbursed_on <= $4 AND matures_on >= $3
             AND ($5::uuid IS NULL OR loan_id > $5)
             AND NOT EXISTS (SELECT FROM renewal AS r WHERE r.county_code = loan.county_code
                             AND r.renewed_loan_id = loan.loan_id)
           ORDER BY loan_id LIMIT $6""",
        county_code,
        programme_id,
        first,
        last,
        after,
        limit,
    )
    return [loan_of(row) for row in rows]


async def written_off(
    session: AsyncSession, county_code: str, loan_ids: Sequence[UUID]
) -> dict[UUID, Fen]:
    """Principal of loans that was written off, where any was."""
    rows = await database.fetch(
        session,
        """SELECT loan_id, sum(principal_fen)::bigint AS fen FROM posting
           WHERE county_code = $1 AND loan_id = ANY($2::uuid[]) AND kind = 'write_off'
           GROUP BY loan_id""",
        county_code,
        list(loan_ids),
    )
    return {row["loan_id"]: Fen(row["fen"]) for row in rows}


async def add_months(
    session: AsyncSession, county_code: str, month: date, rows: Sequence[DueMonth]
) -> None:
    """Keep what fell due in a month; what an end of it found before stays."""
    if not rows:
        return
    values = [(row.loan_id, row.programme_id, row.due_fen, row.collected_fen) for row in rows]
    await database.execute(
        session,
        """INSERT INTO due_month (county_code, month, loan_id, programme_id, due_fen,
                                  collected_fen)
           SELECT $1, $2, m.* FROM unnest($3::uuid[], $4::text[], $5::bigint[], $6::bigint[]) AS m
           ON CONFLICT DO NOTHING""",
        county_code,
        month,
        *database.columns(values, 4),
    )


async def months(
    session: AsyncSession, county_code: str, programme_id: str, scope: str, *, last: int
) -> dict[str, list[ScopeMonth]]:
    """By scope its last so many months in which something fell due, in order."""
    rows = await database.fetch(
        session,
        f"""SELECT * FROM (
              SELECT id, month, due_fen, collected_fen,
                     row_number() OVER (PARTITION BY id ORDER BY month DESC) AS place
              FROM (SELECT {ID_IN[BreakerScope(scope)]} AS id, d.month,
                           sum(d.due_fen)::bigint AS due_fen,
                           sum(d.collected_fen)::bigint AS collected_fen
                    FROM due_month AS d JOIN loan USING (county_code, loan_id)
                    WHERE d.county_code = $1 AND d.programme_id = $2
                    GROUP BY id, d.month) AS by_month) AS placed
            WHERE place <= $3 ORDER BY id, month""",  # noqa: S608
        county_code,
        programme_id,
        last,
    )
    found: dict[str, list[ScopeMonth]] = {}
    for row in rows:
        found.setdefault(row["id"], []).append(
            ScopeMonth(row["id"], row["month"], Fen(row["due_fen"]), Fen(row["collected_fen"]))
        )
    return found


async def without_case(
    session: AsyncSession, county_code: str, scopes: Sequence[tuple[str, str]]
) -> list[UUID]:
    """Non-performing loans in scopes on which no case is open, at most so many."""
    rows = await database.fetch(
        session,
        f"""SELECT loan_id FROM loan WHERE county_code = $1 AND state = 'active'
              AND non_performing_on IS NOT NULL
              AND EXISTS (SELECT FROM unnest($2::text[], $3::text[]) AS s (scope, scope_id)
                          WHERE {_IN_SCOPES})
              AND NOT EXISTS (SELECT FROM collection_case AS c WHERE c.county_code = $1
                              AND c.loan_id = loan.loan_id AND c.closed_on IS NULL)
            ORDER BY loan_id LIMIT $4""",  # noqa: S608
        county_code,
        [scope for scope, _ in scopes],
        [scope_id for _, scope_id in scopes],
        CASES_MAX,
    )
    return [row["loan_id"] for row in rows]
