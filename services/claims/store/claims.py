"""Claims: SQL of claims as reported and decided."""

import json
from collections.abc import Sequence
from datetime import date
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import (
    OPEN_CLAIMS,
    Actor,
    Claim,
    ClaimFilter,
    ClaimState,
    ReporterKind,
    Sight,
    Used,
)
from services.kernel import database
from services.kernel.money import Fen
from services.kernel.values import replace


async def add_claims(session: AsyncSession, claims: Sequence[Claim]) -> set[UUID]:
    """Keep new claims; the ids of those that are the first of their loss, or stand for none."""
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
            claim.state.value,
            claim.reason,
            claim.due_on,
            claim.decided_on,
            claim.claimed_fen,
            claim.event_code,
            claim.person_id,
            claim.reporter_kind.value,
            claim.taken_in,
            claim.accepted_on,
            claim.supplement,
            claim.reason_code,
            claim.unit_id,
        )
        for claim in claims
    ]
    added = await database.fetch(
        session,
        """INSERT INTO claim (county_code, claim_id, version, household_id, area_code, cover_id,
                              policy_id, insured_id, loan_id, insurer_id, lender_id, programme,
                              loss_date, cause, assessed_fen, documents, reported_by,
                              reported_person, reported_on, state, reason, due_on, decided_on,
                              claimed_fen, event_code, person_id, reporter_kind, taken_in,
                              accepted_on, supplement, reason_code, unit_id, payable_fen,
                              decided_by, decided_person)
           SELECT s.county_code, s.claim_id, s.version, s.household_id, s.area_code, s.cover_id,
                  s.policy_id, s.insured_id, s.loan_id, s.insurer_id, s.lender_id, s.programme,
                  s.loss_date, s.cause, s.assessed_fen,
                  ARRAY(SELECT json_array_elements_text(s.documents::json)), s.reported_by,
                  s.reported_person, s.reported_on, s.state, s.reason, s.due_on, s.decided_on,
                  s.claimed_fen, s.event_code, s.person_id, s.reporter_kind, s.taken_in,
                  s.accepted_on, s.supplement, s.reason_code, s.unit_id, 0, '', ''
           FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::uuid[], $5::text[], $6::text[],
                       $7::uuid[], $8::uuid[], $9::uuid[], $10::text[], $11::text[], $12::text[],
                       $13::date[], $14::text[], $15::bigint[], $16::text[], $17::text[],
                       $18::text[], $19::date[], $20::text[], $21::text[], $22::date[],
                       $23::date[], $24::bigint[], $25::text[], $26::uuid[], $27::text[],
                       $28::boolean[], $29::date[], $30::smallint[], $31::text[], $32::uuid[])
                AS s (county_code, claim_id, version, household_id, area_code, cover_id, policy_id,
                      insured_id, loan_id, insurer_id, lender_id, programme, loss_date, cause,
                      assessed_fen, documents, reported_by, reported_person, reported_on, state,
                      reason, due_on, decided_on, claimed_fen, event_code, person_id,
                      reporter_kind, taken_in, accepted_on, supplement, reason_code, unit_id)
           ON CONFLICT DO NOTHING RETURNING claim_id""",
        *database.columns(rows, 32),
    )
    return {row["claim_id"] for row in added}


def _claim(row: asyncpg.Record) -> Claim:
    pauses = row["pauses"]
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
        decided_by=_actor(row["decided_by"], row["decided_person"]),
        decided_on=row["decided_on"],
        claimed_fen=Fen(row["claimed_fen"]),
        event_code=row["event_code"],
        person_id=row["person_id"],
        reporter_kind=ReporterKind(row["reporter_kind"]),
        taken_in=row["taken_in"],
        steps=row["steps"],
        accepted_on=row["accepted_on"],
        paused_from=row["paused_from"],
        pauses=tuple(zip(pauses[::2], pauses[1::2], strict=True)),
        supplement=row["supplement"],
        proposed_by=_actor(row["proposed_by"], row["proposed_person"]),
        overdue_since=row["overdue_since"],
        reason_code=row["reason_code"],
        unit_id=row["unit_id"],
    )


def _actor(institution_id: str, person_id: str) -> Actor | None:
    return Actor(institution_id, person_id) if institution_id else None


async def lock_claims(
    session: AsyncSession, county_code: str, claim_ids: Sequence[UUID]
) -> dict[UUID, tuple[Claim, Fen]]:
    """Claims with their sums insured, held in id order until the transaction ends."""
    rows = await database.fetch(
        session,
        """SELECT c.*, coalesce(i.sum_insured_fen, u.sum_insured_fen, 0) AS sum_insured_fen
           FROM claim AS c
           LEFT JOIN insured AS i USING (county_code, insured_id)
           LEFT JOIN index_unit AS u USING (county_code, unit_id)
           WHERE c.county_code = $1 AND c.claim_id = ANY($2::uuid[])
           ORDER BY c.claim_id FOR UPDATE OF c""",
        county_code,
        list(set(claim_ids)),
    )
    return {row["claim_id"]: (_claim(row), Fen(row["sum_insured_fen"])) for row in rows}


async def save_claims(session: AsyncSession, claims: Sequence[Claim]) -> None:
    """Write what became of claims."""
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
            claim.assessed_fen,
            claim.steps,
            claim.accepted_on,
            claim.paused_from,
            ",".join(day.isoformat() for pause in claim.pauses for day in pause),
            claim.proposed_by.institution_id if claim.proposed_by else "",
            claim.proposed_by.person_id if claim.proposed_by else "",
            claim.overdue_since,
            claim.reason_code,
            json.dumps(claim.documents),
        )
        for claim in claims
    ]
    await database.write(
        session,
        """UPDATE claim AS c
           SET version = s.version, state = s.state, reason = s.reason,
               payable_fen = s.payable_fen, payout_id = s.payout_id, due_on = s.due_on,
               decided_by = s.decided_by, decided_person = s.decided_person,
               decided_on = s.decided_on, assessed_fen = s.assessed_fen, steps = s.steps,
               accepted_on = s.accepted_on, paused_from = s.paused_from,
               pauses = string_to_array(s.pauses, ',')::date[], proposed_by = s.proposed_by,
               proposed_person = s.proposed_person, overdue_since = s.overdue_since,
               reason_code = s.reason_code,
               documents = ARRAY(SELECT json_array_elements_text(s.documents::json))
           FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::bigint[],
                       $7::uuid[], $8::date[], $9::text[], $10::text[], $11::date[],
                       $12::bigint[], $13::integer[], $14::date[], $15::date[], $16::text[],
                       $17::text[], $18::text[], $19::date[], $20::text[], $21::text[])
                AS s (county_code, claim_id, version, state, reason, payable_fen, payout_id,
                      due_on, decided_by, decided_person, decided_on, assessed_fen, steps,
                      accepted_on, paused_from, pauses, proposed_by, proposed_person,
                      overdue_since, reason_code, documents)
           WHERE c.county_code = s.county_code AND c.claim_id = s.claim_id""",
        *database.columns(rows, 21),
    )


async def last_supplement(session: AsyncSession, claim: Claim) -> int:
    """How many supplements a loss has; the claim before them is held."""
    rows = await database.fetch(
        session,
        """SELECT max(supplement) AS last FROM claim
           WHERE county_code = $1 AND household_id = $2 AND cover_id = $3 AND taken_in
             AND loss_date = $4 AND person_id IS NOT DISTINCT FROM $5""",
        claim.county_code,
        claim.household_id,
        claim.cover_id,
        claim.loss_date,
        claim.person_id,
    )
    return int(rows[0]["last"])


async def hold_caps(session: AsyncSession, county_code: str, households: Sequence[UUID]) -> None:
    """Let nobody else decide claims of these households that share a cap meanwhile."""
    await database.fetch(
        session,
        """SELECT pg_advisory_xact_lock(hashtext('liandong-claims-caps'), key)
           FROM (SELECT DISTINCT hashtext($1 || h::text) AS key
                 FROM unnest($2::uuid[]) AS h ORDER BY key) AS keys""",
        county_code,
        list(set(households)),
    )


async def used_by_others(
    session: AsyncSession, county_code: str, claim_ids: Sequence[UUID]
) -> dict[UUID, Used]:
    """What other claims take of the loss, the person's and the entry's caps of each claim."""
    rows = await database.fetch(
        session,
        """SELECT c.claim_id,
                  coalesce(sum(o.payable_fen) FILTER (WHERE o.same_loss AND o.same_entry), 0)
                      ::bigint AS event_fen,
                  coalesce(sum(o.payable_fen) FILTER (WHERE o.same_person), 0)::bigint
                      AS person_fen,
                  coalesce(sum(o.payable_fen) FILTER (WHERE o.same_entry), 0)::bigint
                      AS period_fen
           FROM claim AS c, LATERAL (
               SELECT p.payable_fen,
                      coalesce(nullif(p.event_code, ''), p.loss_date::text)
                          = coalesce(nullif(c.event_code, ''), c.loss_date::text) AS same_loss,
                      p.person_id IS NOT DISTINCT FROM c.person_id AS same_person,
                      (p.insured_id IS NOT DISTINCT FROM c.insured_id
                       AND p.unit_id IS NOT DISTINCT FROM c.unit_id) AS same_entry
               FROM claim AS p
               WHERE p.county_code = c.county_code AND p.household_id = c.household_id
                 AND p.cover_id = c.cover_id AND p.policy_id = c.policy_id
                 AND p.claim_id <> c.claim_id AND p.state IN ('approved', 'proposed')
           ) AS o
           WHERE c.county_code = $1 AND c.claim_id = ANY($2::uuid[])
           GROUP BY c.claim_id""",
        county_code,
        list(claim_ids),
    )
    return {
        row["claim_id"]: Used(row["event_fen"], row["person_fen"], row["period_fen"])
        for row in rows
    }


async def reported_of_event(
    session: AsyncSession,
    county_code: str,
    *,
    insurer_id: str,
    event_code: str,
    cover_id: str,
    after: UUID,
    limit: int,
) -> list[Claim]:
    """Claims of an event that wait for a decision, in id order."""
    rows = await database.fetch(
        session,
        """SELECT * FROM claim
           WHERE county_code = $1 AND event_code = $2 AND cover_id = $3 AND insurer_id = $4
             AND state = 'reported' AND claim_id > $5
           ORDER BY claim_id LIMIT $6""",
        county_code,
        event_code,
        cover_id,
        insurer_id,
        after,
        limit,
    )
    return [_claim(row) for row in rows]


async def lock_late_claims(
    session: AsyncSession, county_code: str, day: date, limit: int
) -> list[Claim]:
    """Claims that the end of a day finds unpaid though due, not yet noted as late."""
    rows = await database.fetch(
        session,
        """SELECT c.* FROM claim AS c
           WHERE c.county_code = $1 AND c.due_on <= $2 AND c.overdue_since IS NULL
             AND (c.state IN ('reported', 'proposed')
                  OR (c.state = 'approved' AND c.due_on = $2 AND EXISTS (
                      SELECT FROM payout AS p WHERE p.county_code = c.county_code
                      AND p.payout_id = c.payout_id AND p.state <> 'settled')))
           ORDER BY c.claim_id LIMIT $3 FOR UPDATE OF c""",
        county_code,
        day,
        limit,
    )
    return [_claim(row) for row in rows]


async def areas_of(
    session: AsyncSession, county_code: str, household_ids: Sequence[UUID]
) -> dict[UUID, str]:
    """Where households are, as far as claims knows them."""
    rows = await database.fetch(
        session,
        """SELECT household_id, area_code FROM household
           WHERE county_code = $1 AND household_id = ANY($2::uuid[])""",
        county_code,
        list(set(household_ids)),
    )
    return {row["household_id"]: row["area_code"] for row in rows}


async def with_context(session: AsyncSession, claims: Sequence[Claim]) -> list[Claim]:
    """Claims with what payees confirmed of them, and the household's other claims of the loss."""
    rows = await database.fetch(
        session,
        """SELECT c.claim_id,
                  coalesce((SELECT sum(i.amount_fen) FROM instruction AS i
                            WHERE i.county_code = c.county_code AND i.payout_id = c.payout_id
                              AND i.state = 'confirmed'), 0)::bigint AS paid_fen,
                  ARRAY(SELECT o.claim_id FROM claim AS o
                        WHERE o.county_code = c.county_code AND o.household_id = c.household_id
                          AND o.claim_id <> c.claim_id AND o.taken_in AND o.state <> 'withdrawn'
                          AND (o.loss_date = c.loss_date
                               OR (c.event_code <> '' AND o.event_code = c.event_code))
                          AND o.person_id IS NOT DISTINCT FROM c.person_id
                        ORDER BY o.claim_id LIMIT 20) AS overlaps
           FROM claim AS c
           JOIN unnest($1::text[], $2::uuid[]) AS asked (county_code, claim_id)
                USING (county_code, claim_id)""",
        *database.columns([(claim.county_code, claim.claim_id) for claim in claims], 2),
    )
    found = {row["claim_id"]: row for row in rows}
    return [
        replace(
            claim,
            paid_fen=Fen(found[claim.claim_id]["paid_fen"]),
            overlaps=tuple(found[claim.claim_id]["overlaps"]),
        )
        for claim in claims
    ]


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


async def has_open_claim(
    session: AsyncSession, county_code: str, household_id: UUID, *, insurer_id: str
) -> bool:
    """Whether an insurer has a claim of a household to decide."""
    rows = await database.fetch(
        session,
        """SELECT FROM claim
           WHERE county_code = $1 AND household_id = $2 AND insurer_id = $3 AND taken_in
             AND state = ANY($4::text[])
           LIMIT 1""",
        county_code,
        household_id,
        insurer_id,
        [str(state) for state in OPEN_CLAIMS],
    )
    return bool(rows)


async def list_claims(
    session: AsyncSession,
    county_code: str,
    sight: Sight,
    asked: ClaimFilter,
    *,
    after: UUID,
    limit: int,
) -> list[Claim]:
    """Claims that the caller may see, in id order."""
    rows = await database.fetch(
        session,
        f"""SELECT * FROM claim AS c
            WHERE c.county_code = $1 AND {_SEEN_CLAIM}
              AND starts_with(c.area_code, $5) AND ($6 = '' OR c.state = $6) AND c.claim_id > $7
              AND (NOT $8 OR c.overdue_since IS NOT NULL)
              AND ($9 = '' OR c.event_code = $9)
              AND ($10::uuid IS NULL OR c.household_id = $10)
            ORDER BY c.claim_id LIMIT $11""",  # noqa: S608 - a constant
        county_code,
        sight.insurer_id,
        sight.lender_id,
        list(sight.areas),
        asked.within,
        asked.state,
        after,
        asked.overdue_only,
        asked.event_code,
        asked.household_id,
        limit,
    )
    return [_claim(row) for row in rows]
