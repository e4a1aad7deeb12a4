"""Claims: SQL of payouts that are taken back, of what is owed then, and of complaints."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import (
    Actor,
    Complaint,
    PayeeKind,
    Receivable,
    ReceivablePayment,
    Reversal,
    ReversalState,
    Sight,
)
from services.kernel import database
from services.kernel.errors import Conflict
from services.kernel.money import Fen


async def add_reversal(session: AsyncSession, reversal: Reversal) -> None:
    """Keep a wish; a payout has one at a time, and is taken back once."""
    touched = await database.execute(
        session,
        """INSERT INTO payout_reversal (county_code, reversal_id, payout_id, reason, evidence,
                                        asked_by, asked_person, asked_on, state, decided_by,
                                        decided_person)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'asked', '', '')
           ON CONFLICT DO NOTHING""",
        reversal.county_code,
        reversal.reversal_id,
        reversal.payout_id,
        reversal.reason,
        reversal.evidence,
        reversal.asked_by.institution_id,
        reversal.asked_by.person_id,
        reversal.asked_on,
    )
    if not touched:
        raise Conflict(
            "REVERSAL_EXISTS",
            f"payout {reversal.payout_id} has a reversal",
            message_zh="该赔付已有撤销申请",
        )


async def lock_reversal(
    session: AsyncSession, county_code: str, reversal_id: UUID
) -> Reversal | None:
    """A wish, held."""
    rows = await database.fetch(
        session,
        """SELECT * FROM payout_reversal WHERE county_code = $1 AND reversal_id = $2 FOR UPDATE""",
        county_code,
        reversal_id,
    )
    return _reversal(rows[0]) if rows else None


async def reversal_of(session: AsyncSession, county_code: str, payout_id: UUID) -> Reversal | None:
    """How a payout was taken back."""
    rows = await database.fetch(
        session,
        """SELECT * FROM payout_reversal
           WHERE county_code = $1 AND payout_id = $2 AND state = 'approved'""",
        county_code,
        payout_id,
    )
    return _reversal(rows[0]) if rows else None


def _reversal(row: asyncpg.Record) -> Reversal:
    decided = row["decided_on"] is not None
    return Reversal(
        county_code=row["county_code"],
        reversal_id=row["reversal_id"],
        payout_id=row["payout_id"],
        reason=row["reason"],
        evidence=row["evidence"],
        asked_by=Actor(row["asked_by"], row["asked_person"]),
        asked_on=row["asked_on"],
        state=ReversalState(row["state"]),
        decided_by=Actor(row["decided_by"], row["decided_person"]) if decided else None,
        decided_on=row["decided_on"],
    )


async def save_reversal(session: AsyncSession, reversal: Reversal) -> None:
    """Write what was decided."""
    assert reversal.decided_by is not None
    await database.execute(
        session,
        """UPDATE payout_reversal SET state = $3, decided_by = $4, decided_person = $5,
               decided_on = $6
           WHERE county_code = $1 AND reversal_id = $2""",
        reversal.county_code,
        reversal.reversal_id,
        reversal.state.value,
        reversal.decided_by.institution_id,
        reversal.decided_by.person_id,
        reversal.decided_on,
    )


async def add_receivables(
    session: AsyncSession, receivables: Sequence[Receivable], since: date
) -> None:
    """Keep what is owed back."""
    rows = [
        (
            r.county_code,
            r.receivable_id,
            r.payout_id,
            r.insurer_id,
            r.debtor_kind.value,
            r.debtor_id,
            r.loan_id,
            r.amount_fen,
        )
        for r in receivables
    ]
    await database.execute(
        session,
        """INSERT INTO receivable (county_code, receivable_id, payout_id, insurer_id, debtor_kind,
                                   debtor_id, loan_id, amount_fen, paid_fen, since)
           SELECT s.*, 0, $9 FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::text[],
                                         $6::text[], $7::uuid[], $8::bigint[]) AS s""",
        *database.columns(rows, 8),
        since,
    )


async def lock_receivable(
    session: AsyncSession, county_code: str, insurer_id: str, receivable_id: UUID
) -> tuple[Receivable, date] | None:
    """One of an insurer's, held, and since when it is owed."""
    rows = await database.fetch(
        session,
        """SELECT * FROM receivable
           WHERE county_code = $1 AND receivable_id = $2 AND insurer_id = $3 FOR UPDATE""",
        county_code,
        receivable_id,
        insurer_id,
    )
    return (_receivable(rows[0]), rows[0]["since"]) if rows else None


def _receivable(row: asyncpg.Record) -> Receivable:
    return Receivable(
        county_code=row["county_code"],
        receivable_id=row["receivable_id"],
        payout_id=row["payout_id"],
        insurer_id=row["insurer_id"],
        debtor_kind=PayeeKind(row["debtor_kind"]),
        debtor_id=row["debtor_id"],
        loan_id=row["loan_id"],
        amount_fen=Fen(row["amount_fen"]),
        paid_fen=Fen(row["paid_fen"]),
    )


async def save_payment(
    session: AsyncSession,
    receivable: Receivable,
    payment: ReceivablePayment,
    *,
    payment_id: UUID,
    person_id: str,
    on: date,
) -> None:
    """Write money that came back."""
    await database.execute(
        session,
        """INSERT INTO receivable_payment (county_code, payment_id, receivable_id, amount_fen,
                                           value_date, reference, person_id, booked_on)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8)""",
        receivable.county_code,
        payment_id,
        receivable.receivable_id,
        payment.amount_fen,
        payment.value_date,
        payment.reference,
        person_id,
        on,
    )
    await database.execute(
        session,
        "UPDATE receivable SET paid_fen = $3 WHERE county_code = $1 AND receivable_id = $2",
        receivable.county_code,
        receivable.receivable_id,
        receivable.paid_fen,
    )


async def list_receivables(
    session: AsyncSession,
    county_code: str,
    sight: Sight,
    *,
    payout_id: UUID | None,
    open_only: bool,
    after: UUID,
    limit: int,
) -> list[Receivable]:
    """What is owed to an insurer or by a lender; others see all, in id order."""
    rows = await database.fetch(
        session,
        """SELECT r.* FROM receivable AS r JOIN payout AS p USING (county_code, payout_id)
           WHERE county_code = $1 AND ($2 = '' OR r.insurer_id = $2)
             AND ($3 = '' OR (r.debtor_kind = 'lender' AND r.debtor_id = $3))
             AND ($4::uuid IS NULL OR payout_id = $4)
             AND (NOT $5::boolean OR r.paid_fen < r.amount_fen) AND r.receivable_id > $6
             AND (cardinality($8::text[]) = 0 OR EXISTS (
                 SELECT FROM unnest($8::text[]) AS seen (area)
                 WHERE starts_with(p.area_code, seen.area)))
           ORDER BY r.receivable_id LIMIT $7""",
        county_code,
        sight.insurer_id,
        sight.lender_id,
        payout_id,
        open_only,
        after,
        limit,
        list(sight.areas),
    )
    return [_receivable(row) for row in rows]


async def add_complaint(session: AsyncSession, complaint: Complaint) -> None:
    """Keep a complaint."""
    await database.execute(
        session,
        """INSERT INTO complaint (county_code, complaint_id, subject_id, household_id, area_code,
                                  insurer_id, reason, evidence, filed_by, filed_person, filed_on,
                                  due_on, outcome, answer_evidence, answered_person)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, '', '', '')""",
        complaint.county_code,
        complaint.complaint_id,
        complaint.subject_id,
        complaint.household_id,
        complaint.area_code,
        complaint.insurer_id,
        complaint.reason,
        complaint.evidence,
        complaint.filed_by.institution_id,
        complaint.filed_by.person_id,
        complaint.filed_on,
        complaint.due_on,
    )


async def lock_complaint(
    session: AsyncSession, county_code: str, insurer_id: str, complaint_id: UUID
) -> Complaint | None:
    """A complaint about an insurer, held."""
    rows = await database.fetch(
        session,
        """SELECT * FROM complaint
           WHERE county_code = $1 AND complaint_id = $2 AND insurer_id = $3 FOR UPDATE""",
        county_code,
        complaint_id,
        insurer_id,
    )
    return _complaint(rows[0]) if rows else None


async def save_answer(
    session: AsyncSession, complaint: Complaint, evidence: str, person_id: str
) -> None:
    """Write an answer."""
    await database.execute(
        session,
        """UPDATE complaint SET outcome = $3, answered_on = $4, answer_evidence = $5,
               answered_person = $6
           WHERE county_code = $1 AND complaint_id = $2""",
        complaint.county_code,
        complaint.complaint_id,
        complaint.outcome,
        complaint.answered_on,
        evidence,
        person_id,
    )


async def list_complaints(
    session: AsyncSession,
    county_code: str,
    sight: Sight,
    *,
    open_only: bool,
    after: UUID,
    limit: int,
) -> list[Complaint]:
    """Complaints about an insurer, or of areas, in id order."""
    rows = await database.fetch(
        session,
        """SELECT * FROM complaint AS c
           WHERE county_code = $1 AND ($2 = '' OR insurer_id = $2)
             AND (NOT $3::boolean OR answered_on IS NULL) AND complaint_id > $4
             AND (cardinality($6::text[]) = 0 OR EXISTS (
                 SELECT FROM unnest($6::text[]) AS seen (area)
                 WHERE starts_with(c.area_code, seen.area)))
           ORDER BY complaint_id LIMIT $5""",
        county_code,
        sight.insurer_id,
        open_only,
        after,
        limit,
        list(sight.areas),
    )
    return [_complaint(row) for row in rows]


def _complaint(row: asyncpg.Record) -> Complaint:
    return Complaint(
        county_code=row["county_code"],
        complaint_id=row["complaint_id"],
        subject_id=row["subject_id"],
        household_id=row["household_id"],
        area_code=row["area_code"],
        insurer_id=row["insurer_id"],
        reason=row["reason"],
        evidence=row["evidence"],
        filed_by=Actor(row["filed_by"], row["filed_person"]),
        filed_on=row["filed_on"],
        due_on=row["due_on"],
        outcome=row["outcome"],
        answered_on=row["answered_on"],
    )
