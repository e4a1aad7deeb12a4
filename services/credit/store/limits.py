"""Credit: SQL of what lenders have lent, and of the changes of limits."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit.model import CreditFile, Decision, Expired, Exposure, Fact, LimitChange
from services.kernel.database import columns, execute, fetch, write
from services.kernel.money import Fen
from services.programmes.schema.pack import split_ref

LIMIT_FACTS = (Fact.LIMIT_GRANTED, Fact.LIMIT_CHANGED)
NOTHING_LENT = Exposure(Fen(0), Fen(0), Fen(0), Fen(0), 0, 0, 0)


async def add_limit_changes(
    session: AsyncSession, county_code: str, decisions: Sequence[Decision], on: date
) -> None:
    """Keep the limits that decisions set, under the number of the event that says them."""
    rows = [
        _change(decision.file, fact, place - len(decision.facts))
        for decision in decisions
        for place, fact in enumerate(decision.facts, 1)
        if fact in LIMIT_FACTS
    ]
    if not rows:
        return
    await execute(
        session,
        """INSERT INTO limit_change (county_code, changed_on, household_id, sequence, fact,
                                     limit_fen, grade, valid_until, rating_id)
           SELECT $1, $2, c.* FROM unnest($3::uuid[], $4::bigint[], $5::text[], $6::bigint[],
                                          $7::text[], $8::date[], $9::uuid[]) AS c""",
        county_code,
        on,
        *columns(rows, 7),
    )


def _change(file: CreditFile, fact: str, back: int) -> tuple[object, ...]:
    return (
        file.household_id,
        file.version + back,
        str(fact),
        file.limit_fen,
        file.grade if file.limit_fen else "",
        file.valid_until,
        file.rating_id,
    )


async def add_limit_ends(
    session: AsyncSession, county_code: str, expired: Sequence[Expired], on: date
) -> None:
    """Keep the limits that ended with a day."""
    if not expired:
        return
    await execute(
        session,
        """INSERT INTO limit_change (county_code, changed_on, household_id, sequence, fact,
                                     limit_fen, grade)
           SELECT $1, $2, c.household_id, c.sequence, 'limit_expired', 0, ''
           FROM unnest($3::uuid[], $4::bigint[]) AS c (household_id, sequence)""",
        county_code,
        on,
        *columns([(each.household_id, each.sequence) for each in expired], 2),
    )


async def list_limit_changes(
    session: AsyncSession, county_code: str, household_id: UUID, *, before: int, limit: int
) -> list[LimitChange]:
    """A household's changes of limit, the newest first."""
    rows = await fetch(
        session,
        """SELECT sequence, fact, changed_on, limit_fen, grade, valid_until, rating_id
           FROM limit_change
           WHERE county_code = $1 AND household_id = $2 AND sequence < $3
           ORDER BY sequence DESC LIMIT $4""",
        county_code,
        household_id,
        before,
        limit,
    )
    return [LimitChange(**dict(row)) for row in rows]


async def find_exposures(
    session: AsyncSession,
    county_code: str,
    household_ids: Sequence[UUID],
    *,
    lender_id: str,
    today: date,
) -> dict[UUID, Exposure]:
    """What all lenders have lent households; overdue is what was said at the last day close."""
    rows = await fetch(
        session,
        """SELECT household_id,
                  sum(greatest(drawn_fen - repaid_fen, 0))::bigint AS used_fen,
                  sum(drawn_fen)::bigint AS drawn_fen,
                  sum(committed_fen)::bigint AS committed_fen,
                  coalesce(sum(greatest(drawn_fen - repaid_fen, 0))
                           FILTER (WHERE lender_id = $3), 0)::bigint AS own_used_fen,
                  count(*) FILTER (WHERE drawn_fen > repaid_fen AND settled_on IS NULL)
                      AS open_loans,
                  count(*) FILTER (WHERE drawn_fen > repaid_fen AND overdue_on >= $4::date - 1)
                      AS overdue_loans,
                  count(*) FILTER (WHERE drawn_fen > repaid_fen AND non_performing) AS bad_loans,
                  count(*) FILTER (WHERE settled_on IS NOT NULL) AS settled_loans,
                  count(*) FILTER (WHERE was_overdue) AS late_loans
           FROM exposure WHERE county_code = $1 AND household_id = ANY($2::uuid[])
           GROUP BY household_id""",
        county_code,
        household_ids,
        lender_id,
        today,
    )
    return {
        row["household_id"]: Exposure(
            used_fen=Fen(row["used_fen"]),
            drawn_fen=Fen(row["drawn_fen"]),
            committed_fen=Fen(row["committed_fen"]),
            own_used_fen=Fen(row["own_used_fen"]),
            open_loans=row["open_loans"],
            overdue_loans=row["overdue_loans"],
            bad_loans=row["bad_loans"],
            settled_loans=row["settled_loans"],
            late_loans=row["late_loans"],
        )
        for row in rows
    }


async def put_commitments(
    session: AsyncSession,
    county_code: str,
    loans: Sequence[tuple[UUID, UUID, str, str, int]],
) -> None:
    """Approved loans: loan, household, lender, programme, principal."""
    await execute(
        session,
        """INSERT INTO exposure AS e (county_code, loan_id, household_id, lender_id, programme,
                                      committed_fen)
           SELECT $1, l.* FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::bigint[])
                AS l
           ON CONFLICT (county_code, loan_id) DO UPDATE
           SET household_id = excluded.household_id, lender_id = excluded.lender_id,
               programme = excluded.programme, committed_fen = excluded.committed_fen""",
        county_code,
        *columns(loans, 5),
    )


async def put_draws(
    session: AsyncSession,
    county_code: str,
    loans: Sequence[tuple[UUID, UUID, str, str, int]],
) -> None:
    """Loans that were paid out: the commitment becomes a debt."""
    await execute(
        session,
        """INSERT INTO exposure AS e (county_code, loan_id, household_id, lender_id, programme,
                                      drawn_fen)
           SELECT $1, l.* FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::bigint[])
                AS l
           ON CONFLICT (county_code, loan_id) DO UPDATE
           SET household_id = excluded.household_id, lender_id = excluded.lender_id,
               programme = excluded.programme,
               committed_fen = greatest(e.committed_fen - excluded.drawn_fen, 0),
               drawn_fen = e.drawn_fen + excluded.drawn_fen""",
        county_code,
        *columns(loans, 5),
    )


async def drop_commitments(
    session: AsyncSession, county_code: str, loan_ids: Sequence[UUID]
) -> None:
    """Loans that were refused after all: nothing is committed."""
    await execute(
        session,
        """UPDATE exposure SET committed_fen = 0
           WHERE county_code = $1 AND loan_id = ANY($2::uuid[])""",
        county_code,
        loan_ids,
    )


async def add_repaid(
    session: AsyncSession, county_code: str, principal: Sequence[tuple[UUID, int]]
) -> None:
    """Principal that came back, a sum a loan; sums commute, so the order does not matter."""
    sums: dict[UUID, int] = {}
    for loan_id, fen in principal:
        sums[loan_id] = sums.get(loan_id, 0) + fen
    await write(
        session,
        """INSERT INTO exposure AS e (county_code, loan_id, repaid_fen)
           SELECT $1, l.* FROM unnest($2::uuid[], $3::bigint[]) AS l
           ON CONFLICT (county_code, loan_id) DO UPDATE
           SET repaid_fen = e.repaid_fen + excluded.repaid_fen""",
        county_code,
        *columns(sorted(sums.items()), 2),
    )


async def add_payout_parts(
    session: AsyncSession, county_code: str, parts: Sequence[tuple[UUID, UUID, int]]
) -> None:
    """What payouts took off loans: payout, loan, principal; kept for a reversal."""
    await write(
        session,
        """INSERT INTO exposure_payout (county_code, payout_id, loan_id, principal_fen)
           SELECT $1, p.* FROM unnest($2::uuid[], $3::uuid[], $4::bigint[]) AS p
           ON CONFLICT (county_code, payout_id, loan_id) DO UPDATE
           SET principal_fen = excluded.principal_fen, reversed = false""",
        county_code,
        *columns(parts, 3),
    )
    await add_repaid(session, county_code, [(loan_id, fen) for _, loan_id, fen in parts])


async def reverse_payouts(
    session: AsyncSession, county_code: str, payouts: Sequence[tuple[UUID, bool]]
) -> None:
    """
    Undo what payouts took off loans.

    One that is corrected is divided anew at once: its loans stay as settled as they are.
    """
    rows = await fetch(
        session,
        """UPDATE exposure_payout SET reversed = true
           WHERE county_code = $1 AND payout_id = ANY($2::uuid[]) AND NOT reversed
           RETURNING payout_id, loan_id, principal_fen""",
        county_code,
        [payout_id for payout_id, _ in payouts],
    )
    await add_repaid(
        session, county_code, [(row["loan_id"], -row["principal_fen"]) for row in rows]
    )
    corrected = {payout_id for payout_id, again in payouts if again}
    await execute(
        session,
        """UPDATE exposure SET settled_on = NULL
           WHERE county_code = $1 AND loan_id = ANY($2::uuid[])""",
        county_code,
        [row["loan_id"] for row in rows if row["payout_id"] not in corrected],
    )


async def note_overdue(
    session: AsyncSession, county_code: str, loans: Sequence[tuple[UUID, date, bool]]
) -> None:
    """Loans that were overdue at a day close, and whether they are bad; the last word counts."""
    # Days that were closed one after the other come in one list, and PostgreSQL would take any.
    last = {loan_id: (loan_id, day, bad) for loan_id, day, bad in loans}
    await execute(
        session,
        """UPDATE exposure AS e SET overdue_on = l.day, non_performing = l.bad, was_overdue = true
           FROM unnest($2::uuid[], $3::date[], $4::boolean[]) AS l (loan_id, day, bad)
           WHERE e.county_code = $1 AND e.loan_id = l.loan_id""",
        county_code,
        *columns(sorted(last.values()), 3),
    )


async def put_stops(
    session: AsyncSession, county_code: str, stops: Sequence[tuple[str, str, bool]]
) -> None:
    """Breakers that tripped or were reset: scope, which one, whether nothing new is granted."""
    last = {(scope, scope_id): stopped for scope, scope_id, stopped in stops}
    await execute(
        session,
        """INSERT INTO stop (county_code, scope, scope_id, stopped)
           SELECT $1, s.* FROM unnest($2::text[], $3::text[], $4::boolean[]) AS s
           ON CONFLICT (county_code, scope, scope_id) DO UPDATE
           SET stopped = excluded.stopped""",
        county_code,
        *columns([(*key, stopped) for key, stopped in sorted(last.items())], 3),
    )


async def find_stops(session: AsyncSession, county_code: str, programme: str) -> tuple[str, ...]:
    """Where nothing new is granted under a programme: areas, or the programme itself."""
    rows = await fetch(
        session,
        """SELECT scope_id FROM stop
           WHERE county_code = $1 AND stopped
             AND (scope IN ('village', 'township', 'county')
                  OR (scope = 'programme' AND scope_id = $2))
           ORDER BY scope_id""",
        county_code,
        split_ref(programme)[0],
    )
    return tuple(row["scope_id"] for row in rows)


async def note_settled(
    session: AsyncSession, county_code: str, loans: Sequence[tuple[UUID, date]]
) -> None:
    """Loans that are owed nothing any more."""
    await write(
        session,
        """UPDATE exposure AS e SET settled_on = l.day, committed_fen = 0, overdue_on = NULL,
                  non_performing = false
           FROM unnest($2::uuid[], $3::date[]) AS l (loan_id, day)
           WHERE e.county_code = $1 AND e.loan_id = l.loan_id""",
        county_code,
        *columns(loans, 2),
    )
