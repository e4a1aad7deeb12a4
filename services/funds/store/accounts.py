"""Funds: SQL of dues, periods, orders, lines, fees and the results of insurers."""

import json
from collections.abc import Iterable, Sequence
from datetime import date
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds.rules.accounts_dues import Due
from services.funds.rules.accounts_values import FacilityLine, FeeClaim, LineResult, Order
from services.kernel import database
from services.kernel.money import Fen

# --- periods --------------------------------------------------------------------------------------


async def closed_through(session: AsyncSession, county_code: str) -> date | None:
    """Through which day a county's books are closed; held, so that none closes meanwhile."""
    rows = await database.fetch(
        session,
        "SELECT closed_through FROM accounting_period WHERE county_code = $1 FOR SHARE",
        county_code,
    )
    return rows[0]["closed_through"] if rows else None


async def close_period(session: AsyncSession, county_code: str, through: date) -> bool:
    """Close the books through a day; False when they are closed as far already."""
    written = await database.execute(
        session,
        """INSERT INTO accounting_period AS p (county_code, closed_through) VALUES ($1, $2)
           ON CONFLICT (county_code) DO UPDATE SET closed_through = excluded.closed_through
           WHERE p.closed_through < excluded.closed_through""",
        county_code,
        through,
    )
    return written == 1


# --- dues and contributions -----------------------------------------------------------------------


def _due(row: asyncpg.Record) -> Due:
    return Due(
        county_code=row["county_code"],
        due_id=row["due_id"],
        fund_id=row["fund_id"],
        source=row["source"],
        amount_fen=Fen(row["amount_fen"]),
        due_on=row["due_on"],
        year=row["year"],
        working=row["working"],
        said_by=row["said_by"],
        business_date=row["business_date"],
    )


async def add_dues(session: AsyncSession, dues: Sequence[Due]) -> int:
    """Write what is due; a year's addition once. How many were written."""
    rows = [
        (
            due.county_code,
            due.due_id,
            due.fund_id,
            due.source,
            due.amount_fen,
            due.due_on,
            due.year,
            due.working,
            due.said_by,
            due.business_date,
        )
        for due in dues
    ]
    return await database.execute(
        session,
        """INSERT INTO contribution_due (county_code, due_id, fund_id, source, amount_fen, due_on,
                                         year, working, said_by, business_date)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::bigint[],
                                $6::date[], $7::int[], $8::text[], $9::text[], $10::date[])
           ON CONFLICT (county_code, fund_id, year) WHERE year <> 0 DO NOTHING""",
        *database.columns(rows, 10),
    )


async def dues_of(session: AsyncSession, county_code: str, fund_ids: Iterable[UUID]) -> list[Due]:
    """What is due to some funds."""
    rows = await database.fetch(
        session,
        """SELECT * FROM contribution_due WHERE county_code = $1 AND fund_id = ANY($2::uuid[])
           ORDER BY due_on, due_id""",
        county_code,
        list(fund_ids),
    )
    return [_due(row) for row in rows]


async def paid_in(
    session: AsyncSession, county_code: str, fund_ids: Iterable[UUID], on: date
) -> dict[UUID, dict[str, Fen]]:
    """By fund and source, what arrived by a day."""
    rows = await database.fetch(
        session,
        """SELECT fund_id, source, sum(amount_fen)::bigint AS amount FROM contribution
           WHERE county_code = $1 AND fund_id = ANY($2::uuid[]) AND value_date <= $3
           GROUP BY fund_id, source""",
        county_code,
        list(fund_ids),
        on,
    )
    found: dict[UUID, dict[str, Fen]] = {}
    for row in rows:
        found.setdefault(row["fund_id"], {})[row["source"]] = Fen(row["amount"])
    return found


async def withdrawn_by(session: AsyncSession, county_code: str, fund_id: UUID) -> dict[str, Fen]:
    """By source, what went back to it."""
    rows = await database.fetch(
        session,
        """SELECT payee, sum(amount_fen)::bigint AS amount FROM withdrawal
           WHERE county_code = $1 AND fund_id = $2 AND kind = 'withdrawal' GROUP BY payee""",
        county_code,
        fund_id,
    )
    return {row["payee"]: Fen(row["amount"]) for row in rows}


async def list_contributions(
    session: AsyncSession, county_code: str, fund_id: UUID, *, source: str, after: UUID, limit: int
) -> list[asyncpg.Record]:
    """A page of what was paid in."""
    return await database.fetch(
        session,
        """SELECT * FROM contribution
           WHERE county_code = $1 AND fund_id = $2 AND ($3 = '' OR source = $3)
             AND contribution_id > $4 ORDER BY contribution_id LIMIT $5""",
        county_code,
        fund_id,
        source,
        after,
        limit,
    )


async def lenders_of(session: AsyncSession, case_ids: Iterable[UUID]) -> dict[UUID, str]:
    """By case, its lender."""
    rows = await database.fetch(
        session,
        "SELECT case_id, lender_id FROM compensation_case WHERE case_id = ANY($1::uuid[])",
        sorted(case_ids),
    )
    return {row["case_id"]: row["lender_id"] for row in rows}


# --- orders ---------------------------------------------------------------------------------------


def _order(row: asyncpg.Record) -> Order:
    return Order(
        county_code=row["county_code"],
        order_id=row["order_id"],
        kind=row["kind"],
        state=row["state"],
        fund_id=row["fund_id"],
        amount_fen=Fen(row["amount_fen"]),
        payee=row["payee"],
        details=json.loads(row["details"]),
        value_date=row["value_date"],
        working=row["working"],
        proposed_by=row["proposed_by"],
        proposed_on=row["proposed_on"],
        decided_by=row["decided_by"],
        decided_on=row["decided_on"],
        reason=row["reason"],
    )


async def add_order(session: AsyncSession, order: Order) -> None:
    """Write a proposal."""
    await database.execute(
        session,
        """INSERT INTO fund_order (county_code, order_id, kind, state, fund_id, amount_fen, payee,
                                   details, value_date, working, proposed_by, proposed_on,
                                   decided_by, reason)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, '', '')""",
        order.county_code,
        order.order_id,
        order.kind,
        order.state,
        order.fund_id,
        order.amount_fen,
        order.payee,
        json.dumps(order.details, ensure_ascii=False),
        order.value_date,
        order.working,
        order.proposed_by,
        order.proposed_on,
    )


async def lock_order(session: AsyncSession, county_code: str, order_id: UUID) -> Order | None:
    """An order, held until the transaction ends; before the funds."""
    rows = await database.fetch(
        session,
        "SELECT * FROM fund_order WHERE county_code = $1 AND order_id = $2 FOR UPDATE",
        county_code,
        order_id,
    )
    return _order(rows[0]) if rows else None


async def get_order(session: AsyncSession, county_code: str, order_id: UUID) -> Order | None:
    """An order as it stands."""
    rows = await database.fetch(
        session,
        "SELECT * FROM fund_order WHERE county_code = $1 AND order_id = $2",
        county_code,
        order_id,
    )
    return _order(rows[0]) if rows else None


async def decide_order(session: AsyncSession, order: Order) -> None:
    """Write what became of a locked order."""
    await database.execute(
        session,
        """UPDATE fund_order SET state = $3, decided_by = $4, decided_on = $5, reason = $6
           WHERE county_code = $1 AND order_id = $2""",
        order.county_code,
        order.order_id,
        order.state,
        order.decided_by,
        order.decided_on,
        order.reason,
    )


async def list_orders(
    session: AsyncSession, county_code: str, *, state: str, after: UUID, limit: int
) -> list[Order]:
    """A page of a county's orders."""
    rows = await database.fetch(
        session,
        """SELECT * FROM fund_order
           WHERE county_code = $1 AND ($2 = '' OR state = $2) AND order_id > $3
           ORDER BY order_id LIMIT $4""",
        county_code,
        state,
        after,
        limit,
    )
    return [_order(row) for row in rows]


async def add_withdrawal(
    session: AsyncSession, order: Order, *, kind: str, amount_fen: Fen, business_date: date
) -> None:
    """Write money that left a fund by an order."""
    await database.execute(
        session,
        """INSERT INTO withdrawal (county_code, order_id, fund_id, kind, payee, amount_fen,
                                   value_date, business_date)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8)""",
        order.county_code,
        order.order_id,
        order.fund_id,
        kind,
        order.payee,
        amount_fen,
        order.value_date,
        business_date,
    )


# --- lines of guarantors --------------------------------------------------------------------------


async def add_facility(session: AsyncSession, line: FacilityLine) -> None:
    """Write a line; those before it stay in the history."""
    await database.execute(
        session,
        """INSERT INTO facility_line (county_code, order_id, programme_id, party, institution_id,
                                      line_fen, from_date, until_date)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8)""",
        line.county_code,
        line.order_id,
        line.programme_id,
        line.party,
        line.institution_id,
        line.line_fen,
        line.from_date,
        line.until_date,
    )


async def facilities_on(session: AsyncSession, county_code: str, on: date) -> list[FacilityLine]:
    """The line in force of each party on a day: the one that was set last."""
    rows = await database.fetch(
        session,
        """SELECT DISTINCT ON (programme_id, party, institution_id) * FROM facility_line
           WHERE county_code = $1 AND from_date <= $2
             AND (until_date IS NULL OR until_date >= $2)
           ORDER BY programme_id, party, institution_id, recorded_at DESC, order_id DESC""",
        county_code,
        on,
    )
    return [
        FacilityLine(
            county_code=row["county_code"],
            order_id=row["order_id"],
            programme_id=row["programme_id"],
            party=row["party"],
            institution_id=row["institution_id"],
            line_fen=Fen(row["line_fen"]),
            from_date=row["from_date"],
            until_date=row["until_date"],
        )
        for row in rows
    ]


# --- results of insurers --------------------------------------------------------------------------


def _result(row: asyncpg.Record) -> LineResult:
    return LineResult(
        county_code=row["county_code"],
        line_id=row["line_id"],
        insurer_id=row["insurer_id"],
        programme_id=row["programme_id"],
        premium_fen=Fen(row["premium_fen"]),
        payouts_fen=Fen(row["payouts_fen"]),
        compensated_fen=Fen(row["compensated_fen"]),
        said_on=row["said_on"],
    )


async def keep_line_results(session: AsyncSession, results: Sequence[LineResult]) -> None:
    """Keep the last word on each line; what was paid for it stays."""
    latest = {(each.county_code, each.line_id): each for each in results}
    rows = [
        (
            each.county_code,
            each.line_id,
            each.insurer_id,
            each.programme_id,
            each.premium_fen,
            each.payouts_fen,
            each.said_on,
        )
        for _, each in sorted(latest.items())
    ]
    await database.execute(
        session,
        """INSERT INTO line_result (county_code, line_id, insurer_id, programme_id, premium_fen,
                                    payouts_fen, said_on)
           SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[],
                                $6::bigint[], $7::date[])
           ON CONFLICT (county_code, line_id) DO UPDATE
           SET premium_fen = excluded.premium_fen, payouts_fen = excluded.payouts_fen,
               said_on = excluded.said_on""",
        *database.columns(rows, 7),
    )


async def lock_line_result(
    session: AsyncSession, county_code: str, line_id: str
) -> LineResult | None:
    """A line's result, held until the transaction ends."""
    rows = await database.fetch(
        session,
        "SELECT * FROM line_result WHERE county_code = $1 AND line_id = $2 FOR UPDATE",
        county_code,
        line_id,
    )
    return _result(rows[0]) if rows else None


async def compensate_line(
    session: AsyncSession, county_code: str, line_id: str, amount_fen: Fen
) -> None:
    """Note what was paid for a locked line."""
    await database.execute(
        session,
        """UPDATE line_result SET compensated_fen = compensated_fen + $3
           WHERE county_code = $1 AND line_id = $2""",
        county_code,
        line_id,
        amount_fen,
    )


async def list_line_results(
    session: AsyncSession, county_code: str, *, insurer_id: str, after: str, limit: int
) -> list[LineResult]:
    """A page of results."""
    rows = await database.fetch(
        session,
        """SELECT * FROM line_result
           WHERE county_code = $1 AND ($2 = '' OR insurer_id = $2) AND line_id > $3
           ORDER BY line_id LIMIT $4""",
        county_code,
        insurer_id,
        after,
        limit,
    )
    return [_result(row) for row in rows]


# --- fees -----------------------------------------------------------------------------------------


def _fee(row: asyncpg.Record) -> FeeClaim:
    return FeeClaim(
        county_code=row["county_code"],
        claim_id=row["claim_id"],
        kind=row["kind"],
        state=row["state"],
        institution_id=row["institution_id"],
        programme=row["programme"],
        programme_id=row["programme_id"],
        from_date=row["from_date"],
        until_date=row["until_date"],
        disbursed_fen=Fen(row["disbursed_fen"]),
        households=row["households"],
        amount_fen=Fen(row["amount_fen"]),
        evidence=tuple(json.loads(row["evidence"])),
        working=row["working"],
        filed_by=row["filed_by"],
        filed_on=row["filed_on"],
        approved_by=row["approved_by"],
        paid_by=row["paid_by"],
        reason=row["reason"],
    )


async def alone(session: AsyncSession, county_code: str, institution_id: str) -> None:
    """Let the claims of one institution take turns until the transaction ends."""
    await database.fetch(
        session,
        "SELECT pg_advisory_xact_lock(hashtext('funds-fee-claim'), hashtext($1))",
        f"{county_code}/{institution_id}",
    )


async def fee_claimed(session: AsyncSession, claim: FeeClaim) -> bool:
    """Whether a claim of the same kind touches the period."""
    rows = await database.fetch(
        session,
        """SELECT 1 AS one FROM fee_claim
           WHERE county_code = $1 AND institution_id = $2 AND programme_id = $3 AND kind = $4
             AND state <> 'refused' AND from_date <= $6 AND until_date >= $5 LIMIT 1""",
        claim.county_code,
        claim.institution_id,
        claim.programme_id,
        claim.kind,
        claim.from_date,
        claim.until_date,
    )
    return bool(rows)


async def add_fee_claim(session: AsyncSession, claim: FeeClaim) -> None:
    """Write a claim."""
    await database.execute(
        session,
        """INSERT INTO fee_claim (county_code, claim_id, kind, state, institution_id, programme,
                                  programme_id, from_date, until_date, disbursed_fen, households,
                                  amount_fen, evidence, working, filed_by, filed_on, approved_by,
                                  paid_by, reason)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, '', '',
                   '')""",
        claim.county_code,
        claim.claim_id,
        claim.kind,
        claim.state,
        claim.institution_id,
        claim.programme,
        claim.programme_id,
        claim.from_date,
        claim.until_date,
        claim.disbursed_fen,
        claim.households,
        claim.amount_fen,
        json.dumps(claim.evidence),
        claim.working,
        claim.filed_by,
        claim.filed_on,
    )


async def lock_fee_claim(
    session: AsyncSession, county_code: str, claim_id: UUID
) -> FeeClaim | None:
    """A claim, held until the transaction ends."""
    rows = await database.fetch(
        session,
        "SELECT * FROM fee_claim WHERE county_code = $1 AND claim_id = $2 FOR UPDATE",
        county_code,
        claim_id,
    )
    return _fee(rows[0]) if rows else None


async def save_fee_claim(session: AsyncSession, claim: FeeClaim) -> None:
    """Write what became of a locked claim."""
    await database.execute(
        session,
        """UPDATE fee_claim SET state = $3, approved_by = $4, paid_by = $5, reason = $6
           WHERE county_code = $1 AND claim_id = $2""",
        claim.county_code,
        claim.claim_id,
        claim.state,
        claim.approved_by,
        claim.paid_by,
        claim.reason,
    )


async def list_fee_claims(
    session: AsyncSession,
    county_code: str,
    *,
    institution_id: str,
    state: str,
    after: UUID,
    limit: int,
) -> list[FeeClaim]:
    """A page of claims."""
    rows = await database.fetch(
        session,
        """SELECT * FROM fee_claim
           WHERE county_code = $1 AND ($2 = '' OR institution_id = $2) AND ($3 = '' OR state = $3)
             AND claim_id > $4 ORDER BY claim_id LIMIT $5""",
        county_code,
        institution_id,
        state,
        after,
        limit,
    )
    return [_fee(row) for row in rows]
