"""Claims: SQL of what happened to claims: steps, lines, documents, disputes."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import (
    Actor,
    ClaimLine,
    ClaimState,
    Dispute,
    Document,
    PastStep,
    Step,
    StepKind,
)
from services.kernel import database
from services.kernel.money import Fen


async def add_steps(session: AsyncSession, steps: Sequence[Step]) -> None:
    """Write steps with their lines and documents; nothing is ever taken out again."""
    rows = [
        (
            step.claim.county_code,
            step.claim.claim_id,
            step.claim.steps,
            step.kind.value,
            step.claim.state.value,
            step.actor.institution_id,
            step.actor.person_id,
            step.on,
            step.reason_code,
            step.note,
            step.claim.claimed_fen,
            step.claim.assessed_fen,
            step.claim.payable_fen,
            step.working,
        )
        for step in steps
    ]
    await database.write(
        session,
        """INSERT INTO claim_step (county_code, claim_id, step, kind, state, institution_id,
                                   person_id, happened_on, reason_code, note, claimed_fen,
                                   assessed_fen, payable_fen, working)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::integer[], $4::text[], $5::text[],
                                $6::text[], $7::text[], $8::date[], $9::text[], $10::text[],
                                $11::bigint[], $12::bigint[], $13::bigint[], $14::text[])""",
        *database.columns(rows, 14),
    )
    await _add_lines(session, steps)
    await _add_documents(session, steps)


async def _add_lines(session: AsyncSession, steps: Sequence[Step]) -> None:
    rows = [
        (
            step.claim.county_code,
            step.claim.claim_id,
            step.claim.steps,
            place,
            line.item,
            line.claimed_fen,
            line.assessed_fen,
            line.payable_fen,
            line.reason_code,
        )
        for step in steps
        for place, line in enumerate(step.lines)
    ]
    if rows:
        await database.write(
            session,
            """INSERT INTO claim_line (county_code, claim_id, step, line, item, claimed_fen,
                                       assessed_fen, payable_fen, reason_code)
               SELECT * FROM unnest($1::text[], $2::uuid[], $3::integer[], $4::integer[],
                                    $5::text[], $6::bigint[], $7::bigint[], $8::bigint[],
                                    $9::text[])""",
            *database.columns(rows, 9),
        )


async def _add_documents(session: AsyncSession, steps: Sequence[Step]) -> None:
    rows = [
        (
            step.claim.county_code,
            step.claim.claim_id,
            step.claim.steps,
            place,
            document.document_type,
            document.reference,
            document.hash,
        )
        for step in steps
        for place, document in enumerate(step.documents)
    ]
    if rows:
        await database.write(
            session,
            """INSERT INTO claim_document (county_code, claim_id, step, place, document_type,
                                           reference, hash)
               SELECT * FROM unnest($1::text[], $2::uuid[], $3::integer[], $4::integer[],
                                    $5::text[], $6::text[], $7::text[])""",
            *database.columns(rows, 7),
        )


async def steps_of(
    session: AsyncSession, county_code: str, claim_id: UUID
) -> tuple[tuple[PastStep, ...], tuple[Document, ...]]:
    """A claim's steps in order, and its documents as they came."""
    lines: dict[int, list[ClaimLine]] = {}
    for row in await database.fetch(
        session,
        """SELECT * FROM claim_line WHERE county_code = $1 AND claim_id = $2
           ORDER BY step, line""",
        county_code,
        claim_id,
    ):
        lines.setdefault(row["step"], []).append(
            ClaimLine(
                row["item"],
                Fen(row["claimed_fen"]),
                Fen(row["assessed_fen"]),
                Fen(row["payable_fen"]),
                row["reason_code"],
            )
        )
    steps = await database.fetch(
        session,
        "SELECT * FROM claim_step WHERE county_code = $1 AND claim_id = $2 ORDER BY step",
        county_code,
        claim_id,
    )
    documents = await database.fetch(
        session,
        """SELECT document_type, reference, hash FROM claim_document
           WHERE county_code = $1 AND claim_id = $2 ORDER BY step, place""",
        county_code,
        claim_id,
    )
    return (
        tuple(_step(row, tuple(lines.get(row["step"], ()))) for row in steps),
        tuple(Document(row["document_type"], row["reference"], row["hash"]) for row in documents),
    )


def _step(row: asyncpg.Record, lines: tuple[ClaimLine, ...]) -> PastStep:
    return PastStep(
        step=row["step"],
        kind=StepKind(row["kind"]),
        state=ClaimState(row["state"]),
        actor=Actor(row["institution_id"], row["person_id"]),
        on=row["happened_on"],
        reason_code=row["reason_code"],
        note=row["note"],
        claimed_fen=Fen(row["claimed_fen"]),
        assessed_fen=Fen(row["assessed_fen"]),
        payable_fen=Fen(row["payable_fen"]),
        working=row["working"],
        lines=lines,
    )


# --- disputes -------------------------------------------------------------------------------------


async def add_dispute(session: AsyncSession, dispute: Dispute) -> bool:
    """Keep a dispute; False when one is open already."""
    return bool(
        await database.execute(
            session,
            """INSERT INTO claim_dispute (county_code, dispute_id, claim_id, said, opened_by,
                                          opened_person, opened_on, due_on)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING""",
            dispute.county_code,
            dispute.dispute_id,
            dispute.claim_id,
            dispute.said,
            dispute.opened_by.institution_id,
            dispute.opened_by.person_id,
            dispute.opened_on,
            dispute.due_on,
        )
    )


async def save_answer(session: AsyncSession, dispute: Dispute) -> None:
    """Write the answer of a dispute."""
    assert dispute.answered_by is not None
    await database.execute(
        session,
        """UPDATE claim_dispute SET answer = $3, upheld = $4, answered_by = $5,
               answered_person = $6, answered_on = $7, supplement_claim_id = $8
           WHERE county_code = $1 AND dispute_id = $2""",
        dispute.county_code,
        dispute.dispute_id,
        dispute.answer,
        dispute.upheld,
        dispute.answered_by.institution_id,
        dispute.answered_by.person_id,
        dispute.answered_on,
        dispute.supplement_claim_id,
    )


async def disputes_of(
    session: AsyncSession, county_code: str, claim_id: UUID
) -> tuple[Dispute, ...]:
    """A claim's disputes, in order."""
    rows = await database.fetch(
        session,
        """SELECT * FROM claim_dispute WHERE county_code = $1 AND claim_id = $2
           ORDER BY dispute_id""",
        county_code,
        claim_id,
    )
    return tuple(
        Dispute(
            county_code=row["county_code"],
            dispute_id=row["dispute_id"],
            claim_id=row["claim_id"],
            said=row["said"],
            opened_by=Actor(row["opened_by"], row["opened_person"]),
            opened_on=row["opened_on"],
            due_on=row["due_on"],
            answer=row["answer"],
            upheld=row["upheld"],
            answered_by=(
                Actor(row["answered_by"], row["answered_person"]) if row["answered_on"] else None
            ),
            answered_on=row["answered_on"],
            supplement_claim_id=row["supplement_claim_id"],
        )
        for row in rows
    )
