"""Claims: SQL of premium: what is charged, what arrived, what is owed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import Charge, Payment
from services.kernel import database
from services.kernel.money import Fen


@dataclass(frozen=True, slots=True)
class Balance:
    """What one payer owes on a policy."""

    policy_id: UUID
    payer: str
    payer_id: str
    charged_fen: Fen
    paid_fen: Fen

    @property
    def owed_fen(self) -> Fen:
        """Still owed; below 0 when a refund is."""
        return Fen(self.charged_fen - self.paid_fen)


async def add_charges(session: AsyncSession, charges: Sequence[Charge], on: date | None) -> None:
    """Keep charges, all on one business date, or each on its value date."""
    rows = [
        (
            c.county_code,
            c.charge_id,
            c.policy_id,
            c.insured_id,
            c.kind,
            c.payer,
            c.payer_id,
            c.insurer_id,
            c.amount_fen,
            c.value_date,
            on or c.value_date,
        )
        for c in charges
    ]
    if rows:
        await database.execute(
            session,
            """INSERT INTO premium_charge (county_code, charge_id, policy_id, insured_id, kind,
                                           payer, payer_id, insurer_id, amount_fen, value_date,
                                           business_date)
               SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[],
                                    $6::text[], $7::text[], $8::text[], $9::bigint[], $10::date[],
                                    $11::date[])""",
            *database.columns(rows, 11),
        )


_BALANCES = """
SELECT c.policy_id, c.payer, c.payer_id, c.charged, coalesce(p.paid, 0)::bigint AS paid
FROM (SELECT policy_id, min(payer) AS payer, payer_id, insurer_id,
             sum(amount_fen)::bigint AS charged
      FROM premium_charge WHERE county_code = $1 AND ($2::uuid[] IS NULL OR policy_id = ANY($2))
      GROUP BY policy_id, payer_id, insurer_id) AS c
LEFT JOIN (SELECT policy_id, payer_id, sum(amount_fen)::bigint AS paid FROM premium_payment
           WHERE county_code = $1 AND ($2::uuid[] IS NULL OR policy_id = ANY($2))
           GROUP BY policy_id, payer_id) AS p USING (policy_id, payer_id)
"""


async def balances(
    session: AsyncSession, county_code: str, asked: Sequence[tuple[UUID, str]]
) -> dict[tuple[UUID, str], Balance]:
    """Balances of payers on policies."""
    rows = await database.fetch(
        session,
        _BALANCES + "WHERE c.payer_id = ANY($3::text[])",
        county_code,
        sorted({policy_id for policy_id, _ in asked}),
        sorted({payer_id for _, payer_id in asked}),
    )
    return {
        (row["policy_id"], row["payer_id"]): Balance(
            row["policy_id"],
            row["payer"],
            row["payer_id"],
            Fen(row["charged"]),
            Fen(row["paid"]),
        )
        for row in rows
    }


async def list_balances(
    session: AsyncSession,
    county_code: str,
    *,
    policy_id: UUID | None,
    insurer_id: str,
    open_only: bool,
    after: tuple[UUID, str],
    limit: int,
) -> list[Balance]:
    """Balances by policy and payer."""
    rows = await database.fetch(
        session,
        _BALANCES
        + """WHERE ($3 = '' OR c.insurer_id = $3) AND (NOT $4 OR c.charged <> coalesce(p.paid, 0))
             AND (c.policy_id, c.payer_id) > ($5, $6)
             ORDER BY c.policy_id, c.payer_id LIMIT $7""",
        county_code,
        None if policy_id is None else [policy_id],
        insurer_id,
        open_only,
        *after,
        limit,
    )
    return [
        Balance(r["policy_id"], r["payer"], r["payer_id"], Fen(r["charged"]), Fen(r["paid"]))
        for r in rows
    ]


async def policy_sums(
    session: AsyncSession, county_code: str, policy_ids: Sequence[UUID]
) -> dict[UUID, tuple[Fen, Fen]]:
    """Charged and paid of policies."""
    rows = await database.fetch(
        session,
        """SELECT p.policy_id,
                  coalesce((SELECT sum(c.amount_fen) FROM premium_charge AS c
                            WHERE c.county_code = $1 AND c.policy_id = p.policy_id), 0)::bigint
                      AS charged,
                  coalesce((SELECT sum(m.amount_fen) FROM premium_payment AS m
                            WHERE m.county_code = $1 AND m.policy_id = p.policy_id), 0)::bigint
                      AS paid
           FROM unnest($2::uuid[]) AS p (policy_id)""",
        county_code,
        list(policy_ids),
    )
    return {row["policy_id"]: (Fen(row["charged"]), Fen(row["paid"])) for row in rows}


async def add_payments(
    session: AsyncSession,
    county_code: str,
    payments: Sequence[tuple[UUID, Payment]],
    *,
    insurer_id: str,
    person_id: str,
    on: date,
) -> set[UUID]:
    """Keep payments; the ids of those whose reference was not known yet."""
    rows = [
        (payment_id, p.policy_id, p.payer_id, p.amount_fen, p.value_date, p.reference)
        for payment_id, p in payments
    ]
    if not rows:
        return set()
    added = await database.fetch(
        session,
        """INSERT INTO premium_payment (county_code, payment_id, policy_id, payer_id, amount_fen,
                                        value_date, reference, insurer_id, person_id,
                                        business_date)
           SELECT $7, s.*, $8, $9, $10
           FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::date[], $6::text[])
                AS s
           ON CONFLICT DO NOTHING RETURNING payment_id""",
        *database.columns(rows, 6),
        county_code,
        insurer_id,
        person_id,
        on,
    )
    return {row["payment_id"] for row in added}


async def known_references(
    session: AsyncSession, county_code: str, insurer_id: str, references: Sequence[str]
) -> set[str]:
    """Which of an insurer's references belong to a payment already."""
    rows = await database.fetch(
        session,
        """SELECT reference FROM premium_payment
           WHERE county_code = $1 AND insurer_id = $2 AND reference = ANY($3::text[])""",
        county_code,
        insurer_id,
        list(set(references)),
    )
    return {row["reference"] for row in rows}


async def lending_charged(session: AsyncSession, county_code: str, policy_id: UUID) -> Fen:
    """What a policy was charged on lending so far."""
    rows = await database.fetch(
        session,
        """SELECT coalesce(sum(amount_fen), 0)::bigint AS charged FROM premium_charge
           WHERE county_code = $1 AND policy_id = $2 AND kind IN ('provisional', 'true_up')""",
        county_code,
        policy_id,
    )
    return Fen(rows[0]["charged"])


async def lending_elsewhere(
    session: AsyncSession, county_code: str, policy_id: UUID
) -> UUID | None:
    """Another policy that was charged on the same lending: same programme, place and days."""
    rows = await database.fetch(
        session,
        """SELECT o.policy_id FROM master_policy AS p
           JOIN master_policy AS o ON o.county_code = $1 AND o.programme_id = p.programme_id
                AND o.policy_id <> p.policy_id
                AND o.from_date <= p.until_date AND o.until_date >= p.from_date
                AND (starts_with(o.area_code, p.area_code) OR starts_with(p.area_code, o.area_code))
           WHERE p.county_code = $1 AND p.policy_id = $2 AND EXISTS (
               SELECT FROM premium_charge AS c WHERE c.county_code = $1
                 AND c.policy_id = o.policy_id AND c.kind IN ('provisional', 'true_up'))
           LIMIT 1""",
        county_code,
        policy_id,
    )
    return rows[0]["policy_id"] if rows else None
