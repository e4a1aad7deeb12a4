"""Claims: the only module with SQL. Rows in, model out, and back."""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import (
    Actor,
    ApprovedLoan,
    AssignedLoan,
    Assignment,
    Claim,
    ClaimState,
    ClosedLoan,
    Household,
    Instruction,
    InstructionState,
    InsuredEntry,
    MasterPolicy,
    Part,
    PayeeKind,
    Payout,
    PayoutState,
    Sight,
    Standing,
)
from services.kernel import database
from services.kernel.money import Fen

# --- facts of others ------------------------------------------------------------------------------


async def save_households(session: AsyncSession, households: Sequence[Household]) -> None:
    """Keep what is known of households; the last word on each counts."""
    last = {(h.county_code, h.household_id): h for h in households}
    rows = [(h.county_code, h.household_id, h.area_code, h.status) for h in last.values()]
    await database.execute(
        session,
        """INSERT INTO household (county_code, household_id, area_code, status)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[])
           ON CONFLICT (county_code, household_id)
           DO UPDATE SET area_code = excluded.area_code, status = excluded.status""",
        *database.columns(rows, 4),
    )


async def save_status(
    session: AsyncSession, households: Sequence[tuple[str, UUID]], status: str
) -> None:
    """Change only the status of households."""
    await database.execute(
        session,
        """UPDATE household AS h SET status = $3
           FROM unnest($1::text[], $2::uuid[]) AS said (county_code, household_id)
           WHERE h.county_code = said.county_code AND h.household_id = said.household_id""",
        *database.columns(households, 2),
        status,
    )


async def add_loans(session: AsyncSession, loans: Sequence[ApprovedLoan]) -> set[UUID]:
    """Keep approved loans; the ids of those that were not known before."""
    rows = [
        (
            loan.county_code,
            loan.loan_id,
            loan.household_id,
            loan.area_code,
            loan.lender_id,
            loan.principal_fen,
            loan.programme_id,
            loan.programme,
            loan.assignment_evidence,
            json.dumps(loan.required_covers),
            loan.approved_on,
        )
        for loan in loans
    ]
    added = await database.fetch(
        session,
        """INSERT INTO loan (county_code, loan_id, household_id, area_code, lender_id,
                             principal_fen, programme_id, programme, assignment_evidence,
                             required_covers, approved_on, state)
           SELECT said.county_code, said.loan_id, said.household_id, said.area_code,
                  said.lender_id, said.principal_fen, said.programme_id, said.programme,
                  said.evidence, ARRAY(SELECT json_array_elements_text(said.covers::json)),
                  said.approved_on, 'approved'
           FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::bigint[],
                       $7::text[], $8::text[], $9::text[], $10::text[], $11::date[])
                AS said (county_code, loan_id, household_id, area_code, lender_id, principal_fen,
                         programme_id, programme, evidence, covers, approved_on)
           ON CONFLICT DO NOTHING RETURNING loan_id""",
        *database.columns(rows, 11),
    )
    return {row["loan_id"] for row in added}


async def close_loans(session: AsyncSession, closed: Sequence[ClosedLoan]) -> None:
    """Note that loans are closed: they await no cover any more."""
    rows = [(c.county_code, c.loan_id, c.state.value, c.closed_on) for c in closed]
    keys = database.columns(rows, 4)
    await database.execute(
        session,
        """UPDATE loan AS l SET state = said.state, closed_on = said.closed_on
           FROM unnest($1::text[], $2::uuid[], $3::text[], $4::date[])
                AS said (county_code, loan_id, state, closed_on)
           WHERE l.county_code = said.county_code AND l.loan_id = said.loan_id
             AND l.state = 'approved'""",
        *keys,
    )
    await database.execute(
        session,
        """DELETE FROM awaited_cover AS a
           USING unnest($1::text[], $2::uuid[]) AS said (county_code, loan_id)
           WHERE a.county_code = said.county_code AND a.loan_id = said.loan_id""",
        *keys[:2],
    )


# --- policies and insured lists -------------------------------------------------------------------


async def hold_policies(session: AsyncSession, counties: Sequence[str]) -> None:
    """Let no policy of these counties be issued until this transaction ends."""
    await database.fetch(
        session,
        """SELECT pg_advisory_xact_lock_shared(hashtext('liandong-claims-policies'), hashtext(c))
           FROM (SELECT unnest($1::text[]) AS c ORDER BY c) AS counties""",
        sorted(set(counties)),
    )


async def hold_policies_alone(session: AsyncSession, county_code: str) -> None:
    """Let no loan join a list of this county, and no other policy be issued, meanwhile."""
    await database.fetch(
        session,
        "SELECT pg_advisory_xact_lock(hashtext('liandong-claims-policies'), hashtext($1))",
        county_code,
    )


def _policy(row: asyncpg.Record) -> MasterPolicy:
    return MasterPolicy(
        county_code=row["county_code"],
        policy_id=row["policy_id"],
        insurer_id=row["insurer_id"],
        programme_id=row["programme_id"],
        programme=row["programme"],
        cover_id=row["cover_id"],
        from_date=row["from_date"],
        until_date=row["until_date"],
    )


async def overlapping_policies(session: AsyncSession, policy: MasterPolicy) -> list[MasterPolicy]:
    """Policies of the same county, programme and cover with a day in common."""
    rows = await database.fetch(
        session,
        """SELECT * FROM master_policy
           WHERE county_code = $1 AND programme_id = $2 AND cover_id = $3
             AND from_date <= $5 AND until_date >= $4""",
        policy.county_code,
        policy.programme_id,
        policy.cover_id,
        policy.from_date,
        policy.until_date,
    )
    return [_policy(row) for row in rows]


async def add_policy(
    session: AsyncSession, policy: MasterPolicy, *, issuer: Actor, on: date
) -> None:
    """Keep a new policy."""
    await database.execute(
        session,
        """INSERT INTO master_policy (county_code, policy_id, insurer_id, programme_id, programme,
                                      cover_id, from_date, until_date, issued_by, issued_person,
                                      issued_on)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)""",
        policy.county_code,
        policy.policy_id,
        policy.insurer_id,
        policy.programme_id,
        policy.programme,
        policy.cover_id,
        policy.from_date,
        policy.until_date,
        issuer.institution_id,
        issuer.person_id,
        on,
    )


PolicyKey = tuple[str, str, str, date]
"""County, programme id, cover and day."""


async def policies_on(
    session: AsyncSession, keys: Sequence[PolicyKey]
) -> dict[PolicyKey, MasterPolicy]:
    """The policy that covers each key's day, where there is one."""
    rows = await database.fetch(
        session,
        """SELECT p.*, asked.on_date
           FROM unnest($1::text[], $2::text[], $3::text[], $4::date[])
                AS asked (county_code, programme_id, cover_id, on_date)
           JOIN master_policy AS p USING (county_code, programme_id, cover_id)
           WHERE asked.on_date BETWEEN p.from_date AND p.until_date""",
        *database.columns(sorted(set(keys)), 4),
    )
    return {
        (row["county_code"], row["programme_id"], row["cover_id"], row["on_date"]): _policy(row)
        for row in rows
    }


async def add_awaited(session: AsyncSession, awaited: Sequence[tuple[ApprovedLoan, str]]) -> None:
    """Note the covers that loans wait for."""
    rows = [(loan.county_code, loan.loan_id, loan.programme_id, cover) for loan, cover in awaited]
    if rows:
        await database.execute(
            session,
            """INSERT INTO awaited_cover (county_code, loan_id, programme_id, cover_id)
               SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[])""",
            *database.columns(rows, 4),
        )


async def take_awaited(
    session: AsyncSession, county_code: str, on: date, *, rows_max: int
) -> list[tuple[ApprovedLoan, MasterPolicy]]:
    """Waiting loans whose policy covers the day; they wait no more."""
    rows = await database.fetch(
        session,
        """WITH met AS (
               SELECT a.county_code, a.loan_id, a.cover_id, p.policy_id
               FROM awaited_cover AS a
               JOIN master_policy AS p USING (county_code, programme_id, cover_id)
               WHERE a.county_code = $1 AND $2 BETWEEN p.from_date AND p.until_date
               ORDER BY a.loan_id, a.cover_id LIMIT $3
           ), gone AS (
               DELETE FROM awaited_cover AS a USING met
               WHERE a.county_code = met.county_code AND a.loan_id = met.loan_id
                 AND a.cover_id = met.cover_id
               RETURNING a.county_code, a.loan_id, met.policy_id
           )
           SELECT p.*, l.loan_id, l.household_id, l.area_code, l.lender_id, l.principal_fen,
                  l.programme AS loan_programme, l.assignment_evidence, l.required_covers,
                  l.approved_on
           FROM gone JOIN loan AS l USING (county_code, loan_id)
           JOIN master_policy AS p USING (county_code, policy_id)
           ORDER BY l.loan_id, p.cover_id""",
        county_code,
        on,
        rows_max,
    )
    return [(_awaiting_loan(row), _policy(row)) for row in rows]


def _awaiting_loan(row: asyncpg.Record) -> ApprovedLoan:
    return ApprovedLoan(
        county_code=row["county_code"],
        loan_id=row["loan_id"],
        household_id=row["household_id"],
        area_code=row["area_code"],
        lender_id=row["lender_id"],
        principal_fen=Fen(row["principal_fen"]),
        programme=row["loan_programme"],
        assignment_evidence=row["assignment_evidence"],
        required_covers=tuple(row["required_covers"]),
        approved_on=row["approved_on"],
    )


async def add_insured(session: AsyncSession, entries: Sequence[InsuredEntry]) -> None:
    """Put entries on their policies' insured lists."""
    rows = [
        (
            entry.county_code,
            entry.insured_id,
            entry.policy_id,
            entry.household_id,
            entry.loan_id,
            entry.cover_id,
            entry.sum_insured_fen,
            entry.premium_fen,
            entry.premium_payer_id,
            entry.from_date,
            entry.until_date,
        )
        for entry in entries
    ]
    await database.execute(
        session,
        """INSERT INTO insured (county_code, insured_id, policy_id, household_id, loan_id,
                                cover_id, sum_insured_fen, premium_fen, premium_payer_id,
                                from_date, until_date)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[],
                                $6::text[], $7::bigint[], $8::bigint[], $9::text[], $10::date[],
                                $11::date[])""",
        *database.columns(rows, 11),
    )


async def add_assignments(session: AsyncSession, assignments: Sequence[Assignment]) -> None:
    """Keep assignments; one that stands for the same loan and cover stays as it is."""
    rows = [
        (
            assignment.county_code,
            assignment.assignment_id,
            assignment.household_id,
            assignment.cover_id,
            assignment.loan_id,
            assignment.lender_id,
            assignment.evidence,
            assignment.from_date,
        )
        for assignment in assignments
    ]
    if rows:
        await database.execute(
            session,
            """INSERT INTO assignment (county_code, assignment_id, household_id, cover_id, loan_id,
                                       lender_id, evidence, from_date)
               SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::uuid[],
                                    $6::text[], $7::text[], $8::date[])
               ON CONFLICT DO NOTHING""",
            *database.columns(rows, 8),
        )


# --- claims ---------------------------------------------------------------------------------------

CoverOf = tuple[UUID, str]
"""A household and a cover."""


async def standings(
    session: AsyncSession, county_code: str, asked: Sequence[CoverOf]
) -> dict[CoverOf, list[Standing]]:
    """Every insured entry of households under covers, with what stands around it."""
    rows = await database.fetch(
        session,
        """SELECT i.*, p.insurer_id, p.programme, l.lender_id, l.approved_on,
                  l.state = 'approved' AS loan_open, coalesce(h.area_code, l.area_code) AS area_code
           FROM unnest($2::uuid[], $3::text[]) AS asked (household_id, cover_id)
           JOIN insured AS i ON i.county_code = $1 AND i.household_id = asked.household_id
                            AND i.cover_id = asked.cover_id
           JOIN master_policy AS p ON p.county_code = $1 AND p.policy_id = i.policy_id
           JOIN loan AS l ON l.county_code = $1 AND l.loan_id = i.loan_id
           LEFT JOIN household AS h ON h.county_code = $1 AND h.household_id = i.household_id""",
        county_code,
        *database.columns(sorted(set(asked)), 2),
    )
    found: dict[CoverOf, list[Standing]] = {}
    for row in rows:
        standing = Standing(
            entry=InsuredEntry(
                county_code=row["county_code"],
                insured_id=row["insured_id"],
                policy_id=row["policy_id"],
                household_id=row["household_id"],
                loan_id=row["loan_id"],
                cover_id=row["cover_id"],
                sum_insured_fen=Fen(row["sum_insured_fen"]),
                premium_fen=Fen(row["premium_fen"]),
                premium_payer_id=row["premium_payer_id"],
                from_date=row["from_date"],
                until_date=row["until_date"],
            ),
            insurer_id=row["insurer_id"],
            programme=row["programme"],
            lender_id=row["lender_id"],
            area_code=row["area_code"],
            loan_open=row["loan_open"],
            loan_approved_on=row["approved_on"],
        )
        found.setdefault((row["household_id"], row["cover_id"]), []).append(standing)
    return found


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


async def assigned_loans(
    session: AsyncSession, county_code: str, asked: Sequence[CoverOf], on: date
) -> dict[CoverOf, list[AssignedLoan]]:
    """Open loans with an assignment in force on a day, the oldest first, by household and cover."""
    rows = await database.fetch(
        session,
        """SELECT a.household_id, a.cover_id, a.loan_id, a.lender_id
           FROM unnest($2::uuid[], $3::text[]) AS asked (household_id, cover_id)
           JOIN assignment AS a ON a.county_code = $1 AND a.household_id = asked.household_id
                               AND a.cover_id = asked.cover_id
           JOIN loan AS l ON l.county_code = $1 AND l.loan_id = a.loan_id
           WHERE l.state = 'approved' AND a.from_date <= $4
             AND (a.until_date IS NULL OR a.until_date >= $4)
           ORDER BY l.approved_on, a.loan_id""",
        county_code,
        *database.columns(sorted(set(asked)), 2),
        on,
    )
    found: dict[CoverOf, list[AssignedLoan]] = {}
    for row in rows:
        loan = AssignedLoan(loan_id=row["loan_id"], lender_id=row["lender_id"])
        found.setdefault((row["household_id"], row["cover_id"]), []).append(loan)
    return found


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


# --- payouts and instructions ---------------------------------------------------------------------


async def add_payouts(session: AsyncSession, payouts: Sequence[Payout]) -> None:
    """Keep new payouts."""
    rows = [
        (
            payout.county_code,
            payout.payout_id,
            payout.version,
            payout.claim_id,
            payout.household_id,
            payout.area_code,
            payout.insurer_id,
            payout.programme,
            payout.amount_fen,
            payout.value_date,
            payout.loss_date,
            payout.household_at_once,
            payout.state.value,
        )
        for payout in payouts
    ]
    await database.execute(
        session,
        """INSERT INTO payout (county_code, payout_id, version, claim_id, household_id, area_code,
                               insurer_id, programme, amount_fen, value_date, loss_date,
                               household_at_once, state, lenders_fen, household_fen)
           SELECT s.*, 0, 0
           FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::uuid[], $5::uuid[], $6::text[],
                       $7::text[], $8::text[], $9::bigint[], $10::date[], $11::date[],
                       $12::boolean[], $13::text[]) AS s""",
        *database.columns(rows, 13),
    )


PayoutKey = tuple[str, UUID]
"""County and payout."""


async def lock_payouts(session: AsyncSession, keys: Sequence[PayoutKey]) -> dict[PayoutKey, Payout]:
    """Payouts with their parts and instructions, held in id order until the transaction ends."""
    rows = await database.fetch(
        session,
        """SELECT p.* FROM payout AS p
           JOIN unnest($1::text[], $2::uuid[]) AS asked (county_code, payout_id)
                USING (county_code, payout_id)
           ORDER BY p.county_code, p.payout_id FOR UPDATE OF p""",
        *database.columns(sorted(set(keys)), 2),
    )
    return await _with_parts(session, rows)


async def payouts_of(
    session: AsyncSession, county_code: str, instruction_ids: Sequence[UUID]
) -> dict[UUID, PayoutKey]:
    """Which payout each instruction belongs to; that never changes, so nothing is held."""
    rows = await database.fetch(
        session,
        """SELECT instruction_id, payout_id FROM instruction
           WHERE county_code = $1 AND instruction_id = ANY($2::uuid[])""",
        county_code,
        list(set(instruction_ids)),
    )
    return {row["instruction_id"]: (county_code, row["payout_id"]) for row in rows}


async def find_payout(
    session: AsyncSession, county_code: str, sight: Sight, payout_id: UUID
) -> Payout | None:
    """One payout, if the caller may see it."""
    rows = await database.fetch(
        session,
        """SELECT p.* FROM payout AS p
           WHERE p.county_code = $1 AND p.payout_id = $5 AND ($2 = '' OR p.insurer_id = $2)
             AND ($3 = '' OR EXISTS (
                 SELECT FROM payout_part AS t WHERE t.county_code = p.county_code
                 AND t.payout_id = p.payout_id AND t.lender_id = $3))
             AND (cardinality($4::text[]) = 0 OR EXISTS (
                 SELECT FROM unnest($4::text[]) AS seen (area)
                 WHERE starts_with(p.area_code, seen.area)))""",
        county_code,
        sight.insurer_id,
        sight.lender_id,
        list(sight.areas),
        payout_id,
    )
    found = await _with_parts(session, rows)
    return found.get((county_code, payout_id))


async def _with_parts(
    session: AsyncSession, rows: Sequence[asyncpg.Record]
) -> dict[PayoutKey, Payout]:
    keys = database.columns([(row["county_code"], row["payout_id"]) for row in rows], 2)
    parts = await database.fetch(
        session,
        """SELECT t.* FROM payout_part AS t
           JOIN unnest($1::text[], $2::uuid[]) AS asked (county_code, payout_id)
                USING (county_code, payout_id)
           ORDER BY t.payout_id, t.place""",
        *keys,
    )
    instructions = await database.fetch(
        session,
        """SELECT i.* FROM instruction AS i
           JOIN unnest($1::text[], $2::uuid[]) AS asked (county_code, payout_id)
                USING (county_code, payout_id)
           LEFT JOIN payout_part AS t USING (county_code, payout_id, loan_id)
           ORDER BY i.payee_kind DESC, t.place""",
        *keys,
    )
    parts_of: dict[UUID, list[Part]] = {}
    for row in parts:
        parts_of.setdefault(row["payout_id"], []).append(_part(row))
    instructions_of: dict[UUID, list[Instruction]] = {}
    for row in instructions:
        instructions_of.setdefault(row["payout_id"], []).append(_instruction(row))
    return {
        (row["county_code"], row["payout_id"]): _payout(row, parts_of, instructions_of)
        for row in rows
    }


def _payout(
    row: asyncpg.Record,
    parts: Mapping[UUID, Sequence[Part]],
    instructions: Mapping[UUID, Sequence[Instruction]],
) -> Payout:
    return Payout(
        county_code=row["county_code"],
        payout_id=row["payout_id"],
        version=row["version"],
        claim_id=row["claim_id"],
        household_id=row["household_id"],
        area_code=row["area_code"],
        insurer_id=row["insurer_id"],
        programme=row["programme"],
        amount_fen=Fen(row["amount_fen"]),
        value_date=row["value_date"],
        loss_date=row["loss_date"],
        household_at_once=row["household_at_once"],
        state=PayoutState(row["state"]),
        lenders_fen=Fen(row["lenders_fen"]),
        household_fen=Fen(row["household_fen"]),
        parts=tuple(parts.get(row["payout_id"], ())),
        instructions=tuple(instructions.get(row["payout_id"], ())),
    )


def _part(row: asyncpg.Record) -> Part:
    return Part(
        loan_id=row["loan_id"],
        lender_id=row["lender_id"],
        amount_fen=Fen(row["amount_fen"]),
        interest_fen=Fen(row["interest_fen"]),
        principal_fen=Fen(row["principal_fen"]),
        subrogated_fen=Fen(row["subrogated_fen"]),
        outstanding_fen=Fen(row["outstanding_fen"]),
    )


def _instruction(row: asyncpg.Record) -> Instruction:
    confirmed = row["confirmed_value_date"] is not None
    return Instruction(
        instruction_id=row["instruction_id"],
        payout_id=row["payout_id"],
        payee_kind=PayeeKind(row["payee_kind"]),
        payee_id=row["payee_id"],
        insurer_id=row["insurer_id"],
        loan_id=row["loan_id"],
        amount_fen=Fen(row["amount_fen"]),
        state=InstructionState(row["state"]),
        confirmed_by=Actor(row["confirmed_by"], row["confirmed_person"]) if confirmed else None,
        confirmed_value_date=row["confirmed_value_date"],
    )


async def save_payouts(session: AsyncSession, payouts: Sequence[Payout]) -> None:
    """Write how far payouts have come."""
    rows = [
        (p.county_code, p.payout_id, p.version, p.state.value, p.lenders_fen, p.household_fen)
        for p in payouts
    ]
    await database.execute(
        session,
        """UPDATE payout AS p
           SET version = s.version, state = s.state, lenders_fen = s.lenders_fen,
               household_fen = s.household_fen
           FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[])
                AS s (county_code, payout_id, version, state, lenders_fen, household_fen)
           WHERE p.county_code = s.county_code AND p.payout_id = s.payout_id""",
        *database.columns(rows, 6),
    )


async def add_parts(session: AsyncSession, payouts: Sequence[Payout]) -> None:
    """Keep what the lenders of payouts take."""
    rows = [
        (
            payout.county_code,
            payout.payout_id,
            part.loan_id,
            place,
            part.lender_id,
            part.amount_fen,
            part.interest_fen,
            part.principal_fen,
            part.subrogated_fen,
            part.outstanding_fen,
        )
        for payout in payouts
        for place, part in enumerate(payout.parts)
    ]
    if rows:
        await database.execute(
            session,
            """INSERT INTO payout_part (county_code, payout_id, loan_id, place, lender_id,
                                        amount_fen, interest_fen, principal_fen, subrogated_fen,
                                        outstanding_fen)
               SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::int[], $5::text[],
                                    $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[],
                                    $10::bigint[])""",
            *database.columns(rows, 10),
        )


async def add_instructions(
    session: AsyncSession, opened: Sequence[tuple[Payout, Instruction]]
) -> None:
    """Keep new instructions, each with its own id, before anybody may act on them."""
    rows = [
        (
            payout.county_code,
            instruction.instruction_id,
            instruction.payout_id,
            instruction.payee_kind.value,
            instruction.payee_id,
            instruction.insurer_id,
            instruction.loan_id,
            instruction.amount_fen,
        )
        for payout, instruction in opened
    ]
    if rows:
        await database.execute(
            session,
            """INSERT INTO instruction (county_code, instruction_id, payout_id, payee_kind,
                                        payee_id, insurer_id, loan_id, amount_fen, state,
                                        confirmed_by, confirmed_person)
               SELECT s.*, 'open', '', ''
               FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[],
                           $7::uuid[], $8::bigint[]) AS s""",
            *database.columns(rows, 8),
        )


async def save_confirmations(
    session: AsyncSession, confirmed: Sequence[tuple[Payout, Instruction]]
) -> None:
    """Write which instructions were confirmed, by whom and for which day."""
    rows = [
        (
            payout.county_code,
            instruction.instruction_id,
            instruction.confirmed_by.institution_id if instruction.confirmed_by else "",
            instruction.confirmed_by.person_id if instruction.confirmed_by else "",
            instruction.confirmed_value_date,
        )
        for payout, instruction in confirmed
    ]
    if rows:
        await database.execute(
            session,
            """UPDATE instruction AS i
               SET state = 'confirmed', confirmed_by = s.confirmed_by,
                   confirmed_person = s.confirmed_person,
                   confirmed_value_date = s.confirmed_value_date
               FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::date[])
                    AS s (county_code, instruction_id, confirmed_by, confirmed_person,
                          confirmed_value_date)
               WHERE i.county_code = s.county_code AND i.instruction_id = s.instruction_id""",
            *database.columns(rows, 5),
        )


async def list_instructions(
    session: AsyncSession,
    county_code: str,
    sight: Sight,
    *,
    state: str,
    after: UUID,
    limit: int,
) -> list[Instruction]:
    """Instructions to a lender, or those that an insurer must pay, in id order."""
    rows = await database.fetch(
        session,
        """SELECT * FROM instruction AS i
           WHERE i.county_code = $1 AND ($2 = '' OR i.insurer_id = $2)
             AND ($3 = '' OR (i.payee_kind = 'lender' AND i.payee_id = $3))
             AND ($4 = '' OR i.state = $4) AND i.instruction_id > $5
           ORDER BY i.instruction_id LIMIT $6""",
        county_code,
        sight.insurer_id,
        sight.lender_id,
        state,
        after,
        limit,
    )
    return [_instruction(row) for row in rows]


# --- control totals -------------------------------------------------------------------------------

_TOTALS = """
SELECT (SELECT count(*) FROM household WHERE county_code = $1) AS households_count,
       (SELECT count(*) FROM insured WHERE county_code = $1) AS insured_count,
       count(*) AS payouts_count,
       coalesce(sum(amount_fen) FILTER (WHERE state <> 'authorised'), 0)::bigint
           AS payout_amount_fen,
       count(*) FILTER (WHERE state <> 'authorised') AS payouts_allocated_count,
       coalesce(sum(lenders_fen), 0)::bigint AS payout_lenders_fen,
       coalesce(sum(household_fen), 0)::bigint AS payout_household_fen,
       count(*) FILTER (WHERE state <> 'settled') AS payouts_unsettled_count,
       (SELECT coalesce(sum(amount_fen), 0)::bigint FROM instruction
        WHERE county_code = $1 AND state = 'confirmed') AS confirmed_fen
FROM payout WHERE county_code = $1
"""

# What the rows say each account holds, beside what the journal says; also accounts that only one
# of the two knows.
_BOOK_DIFFERENCE = """
WITH sides AS (
    SELECT account, owner, sum(amount) AS balance FROM (
        SELECT debit_account AS account, debit_id AS owner, amount_fen AS amount
        FROM journal WHERE county_code = $1
        UNION ALL
        SELECT credit_account, credit_id, -amount_fen FROM journal WHERE county_code = $1
    ) AS both_sides GROUP BY account, owner
), instructed AS (
    SELECT payout_id, sum(amount_fen) AS amount FROM instruction
    WHERE county_code = $1 GROUP BY payout_id
), expected AS (
    SELECT 'payout_payable' AS account, p.payout_id::text AS owner,
           coalesce(n.amount, 0) - p.amount_fen AS balance
    FROM payout AS p LEFT JOIN instructed AS n USING (payout_id) WHERE p.county_code = $1
    UNION ALL
    SELECT 'instruction_payable', instruction_id::text,
           CASE state WHEN 'open' THEN -amount_fen ELSE 0 END
    FROM instruction WHERE county_code = $1
    UNION ALL
    SELECT 'claim_expense', insurer_id, sum(amount_fen)
    FROM payout WHERE county_code = $1 GROUP BY insurer_id
    UNION ALL
    SELECT 'insurer_cash', insurer_id, -sum(amount_fen)
    FROM instruction WHERE county_code = $1 AND state = 'confirmed' GROUP BY insurer_id
    UNION ALL
    SELECT 'premium_receivable', premium_payer_id, sum(premium_fen)
    FROM insured WHERE county_code = $1 GROUP BY premium_payer_id
    UNION ALL
    SELECT 'premium_income', p.insurer_id, -sum(i.premium_fen)
    FROM insured AS i JOIN master_policy AS p USING (county_code, policy_id)
    WHERE county_code = $1 GROUP BY p.insurer_id
)
SELECT (coalesce(sum(abs(coalesce(s.balance, 0) - coalesce(e.balance, 0))), 0) + (
           SELECT coalesce(sum(abs(p.amount_fen - coalesce(t.amount, 0) - p.household_fen)), 0)
           FROM payout AS p
           LEFT JOIN (SELECT payout_id, sum(amount_fen) AS amount FROM payout_part
                      WHERE county_code = $1 GROUP BY payout_id) AS t USING (payout_id)
           WHERE p.county_code = $1 AND p.state <> 'authorised'
       ))::bigint AS difference_fen
FROM sides AS s FULL JOIN expected AS e USING (account, owner)
"""


async def totals(session: AsyncSession, county_code: str) -> dict[str, int]:
    """The county's figures, and by how much rows and journal differ."""
    figures = (await database.fetch(session, _TOTALS, county_code))[0]
    difference = (await database.fetch(session, _BOOK_DIFFERENCE, county_code))[0]
    found = {f"claims.{name}": int(value) for name, value in figures.items()}
    return found | {"claims.book_difference_fen": int(difference["difference_fen"])}
