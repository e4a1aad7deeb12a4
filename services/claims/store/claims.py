"""Claims: SQL of claims as reported and decided."""

import json
from collections.abc import Sequence
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import Actor, Claim, ClaimState, Sight
from services.kernel import database
from services.kernel.money import Fen


async def add_claims(session: AsyncSession, claims: Sequence[Claim]) -> set[UUID]:
    """Keep new claims; the ids of those that are the first of their loss."""
    rows = [
        (
            claim.county_code,
            claim.claim_id,
            claim.version,
            claim.household_id,
            claim.area_code,
            claim.cover_id,
            claim.policy_id,
            claim.insured_id,
            claim.loan_id,
            claim.insurer_id,
            claim.lender_id,
            claim.programme,
            claim.loss_date,
            claim.cause,
            claim.assessed_fen,
            json.dumps(claim.documents),
            claim.reported_by.institution_id,
            claim.reported_by.person_id,
            claim.reported_on,
        )
        for claim in claims
    ]
    added = await database.fetch(
        session,
        """INSERT INTO claim (county_code, claim_id, version, household_id, area_code, cover_id,
                              policy_id, insured_id, loan_id, insurer_id, lender_id, programme,
                              loss_date, cause, assessed_fen, documents, reported_by,
                              reported_person, reported_on, state, reason, payable_fen, decided_by,
                              decided_person)
           SELECT s.county_code, s.claim_id, s.version, s.household_id, s.area_code, s.cover_id,
                  s.policy_id, s.insured_id, s.loan_id, s.insurer_id, s.lender_id, s.programme,
                  s.loss_date, s.cause, s.assessed_fen,
                  ARRAY(SELECT json_array_elements_text(s.documents::json)), s.reported_by,
                  s.reported_person, s.reported_on, 'reported', '', 0, '', ''
           FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::uuid[], $5::text[], $6::text[],
                       $7::uuid[], $8::uuid[], $9::uuid[], $10::text[], $11::text[], $12::text[],
                       $13::date[], $14::text[], $15::bigint[], $16::text[], $17::text[],
                       $18::text[], $19::date[])
                AS s (county_code, claim_id, version, household_id, area_code, cover_id, policy_id,
                      insured_id, loan_id, insurer_id, lender_id, programme, loss_date, cause,
                      assessed_fen, documents, reported_by, reported_person, reported_on)
           ON CONFLICT ON CONSTRAINT claim_once DO NOTHING RETURNING claim_id""",
        *database.columns(rows, 19),
    )
    return {row["claim_id"] for row in added}


def _claim(row: asyncpg.Record) -> Claim:
    decided = row["decided_on"] is not None
    return Claim(
        county_code=row["county_code"],
        claim_id=row["claim_id"],
        version=row["version"],
        household_id=row["household_id"],
        area_code=row["area_code"],
        cover_id=row["cover_id"],
        policy_id=row["policy_id"],
        insured_id=row["insured_id"],
        loan_id=row["loan_id"],
        insurer_id=row["insurer_id"],
        lender_id=row["lender_id"],
        programme=row["programme"],
        loss_date=row["loss_date"],
        cause=row["cause"],
        assessed_fen=Fen(row["assessed_fen"]),
        documents=tuple(row["documents"]),
        reported_by=Actor(row["reported_by"], row["reported_person"]),
        reported_on=row["reported_on"],
        state=ClaimState(row["state"]),
        reason=row["reason"],
        payable_fen=Fen(row["payable_fen"]),
        payout_id=row["payout_id"],
        due_on=row["due_on"],
        decided_by=Actor(row["decided_by"], row["decided_person"]) if decided else None,
        decided_on=row["decided_on"],
    )


async def lock_claims(
    session: AsyncSession, county_code: str, claim_ids: Sequence[UUID]
) -> dict[UUID, tuple[Claim, Fen]]:
    """Claims with their sums insured, held in id order until the transaction ends."""
    rows = await database.fetch(
        session,
        """SELECT c.*, i.sum_insured_fen FROM claim AS c
           JOIN insured AS i USING (county_code, insured_id)
           WHERE c.county_code = $1 AND c.claim_id = ANY($2::uuid[])
           ORDER BY c.claim_id FOR UPDATE OF c""",
        county_code,
        list(set(claim_ids)),
    )
    return {row["claim_id"]: (_claim(row), Fen(row["sum_insured_fen"])) for row in rows}


async def save_decisions(session: AsyncSession, claims: Sequence[Claim]) -> None:
    """Write what was decided about claims."""
    rows = [
        (
            claim.county_code,
            claim.claim_id,
            claim.version,
            claim.state.value,
            claim.reason,
            claim.payable_fen,
            claim.payout_id,
            claim.due_on,
            claim.decided_by.institution_id if claim.decided_by else "",
            claim.decided_by.person_id if claim.decided_by else "",
            claim.decided_on,
        )
        for claim in claims
    ]
    await database.execute(
        session,
        """UPDATE claim AS c
           SET version = s.version, state = s.state, reason = s.reason,
               payable_fen = s.payable_fen, payout_id = s.payout_id, due_on = s.due_on,
               decided_by = s.decided_by, decided_person = s.decided_person,
               decided_on = s.decided_on
           FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::bigint[],
                       $7::uuid[], $8::date[], $9::text[], $10::text[], $11::date[])
                AS s (county_code, claim_id, version, state, reason, payable_fen, payout_id,
                      due_on, decided_by, decided_person, decided_on)
           WHERE c.county_code = s.county_code AND c.claim_id = s.claim_id""",
        *database.columns(rows, 11),
    )


_SEEN_CLAIM = """
    ($2 = '' OR c.insurer_id = $2) AND ($3 = '' OR c.lender_id = $3)
    AND (cardinality($4::text[]) = 0 OR EXISTS (
        SELECT FROM unnest($4::text[]) AS seen (area) WHERE starts_with(c.area_code, seen.area)))
"""


async def find_claim(
    session: AsyncSession, county_code: str, sight: Sight, claim_id: UUID
) -> Claim | None:
    """One claim, if the caller may see it."""
    rows = await database.fetch(
        session,
        f"SELECT * FROM claim AS c WHERE c.county_code = $1 AND c.claim_id = $5 AND {_SEEN_CLAIM}",  # noqa: S608 - a constant
        county_code,
        sight.insurer_id,
        sight.lender_id,
        list(sight.areas),
        claim_id,
    )
    return _claim(rows[0]) if rows else None


async def list_claims(
    session: AsyncSession,
    county_code: str,
    sight: Sight,
    *,
    within: str,
    state: str,
    after: UUID,
    limit: int,
) -> list[Claim]:
    """Claims that the caller may see, in id order."""
    rows = await database.fetch(
        session,
        f"""SELECT * FROM claim AS c
            WHERE c.county_code = $1 AND {_SEEN_CLAIM}
              AND starts_with(c.area_code, $5) AND ($6 = '' OR c.state = $6) AND c.claim_id > $7
            ORDER BY c.claim_id LIMIT $8""",  # noqa: S608 - a constant
        county_code,
        sight.insurer_id,
        sight.lender_id,
        list(sight.areas),
        within,
        state,
        after,
        limit,
    )
    return [_claim(row) for row in rows]
