"""Claims: SQL of payouts, of what lenders take of them, and of payment instructions."""

import json
from collections.abc import Mapping, Sequence
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import (
    Actor,
    Instruction,
    InstructionState,
    Part,
    PayeeKind,
    Payout,
    PayoutState,
    Sight,
)
from services.kernel import database
from services.kernel.money import Fen


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
            json.dumps([[str(loan_id) for loan_id in group] for group in payout.groups]),
        )
        for payout in payouts
    ]
    await database.write(
        session,
        """INSERT INTO payout (county_code, payout_id, version, claim_id, household_id, area_code,
                               insurer_id, programme, amount_fen, value_date, loss_date,
                               household_at_once, state, groups, lenders_fen, household_fen)
           SELECT s.*, 0, 0
           FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::uuid[], $5::uuid[], $6::text[],
                       $7::text[], $8::text[], $9::bigint[], $10::date[], $11::date[],
                       $12::boolean[], $13::text[], $14::text[]) AS s""",
        *database.columns(rows, 14),
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
           WHERE t.amount_fen > 0
           ORDER BY t.payout_id, t.place""",
        *keys,
    )
    instructions = await database.fetch(
        session,
        """SELECT i.* FROM instruction AS i
           JOIN unnest($1::text[], $2::uuid[]) AS asked (county_code, payout_id)
                USING (county_code, payout_id)
           LEFT JOIN payout_part AS t USING (county_code, payout_id, loan_id)
           ORDER BY i.payee_kind DESC, i.round, t.place, i.instruction_id""",
        *keys,
    )
    parts_of: dict[UUID, list[Part]] = {}
    for row in parts:
        parts_of.setdefault(row["payout_id"], []).append(_part(row))
    instructions_of: dict[UUID, list[Instruction]] = {}
    for row in instructions:
        instructions_of.setdefault(row["payout_id"], []).append(to_instruction(row))
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
        groups=tuple(tuple(UUID(each) for each in group) for group in json.loads(row["groups"])),
        corrections=row["corrections"],
        corrections_answered=row["corrections_answered"],
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


def to_instruction(row: asyncpg.Record) -> Instruction:
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
        round=row["round"],
        account_ref=row["account_ref"],
        held_reason=row["held_reason"],
        sent_on=row["sent_on"],
        attempt=row["attempt"],
        asked_on=row["asked_on"],
        confirmed_fen=Fen(row["confirmed_fen"]),
        correction=row["correction"],
    )


async def save_payouts(session: AsyncSession, payouts: Sequence[Payout]) -> None:
    """Write how far payouts have come."""
    rows = [
        (
            p.county_code,
            p.payout_id,
            p.version,
            p.state.value,
            p.lenders_fen,
            p.household_fen,
            p.corrections,
            p.corrections_answered,
        )
        for p in payouts
    ]
    await database.write(
        session,
        """UPDATE payout AS p
           SET version = s.version, state = s.state, lenders_fen = s.lenders_fen,
               household_fen = s.household_fen, corrections = s.corrections,
               corrections_answered = s.corrections_answered
           FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::text[], $5::bigint[],
                       $6::bigint[], $7::int[], $8::int[])
                AS s (county_code, payout_id, version, state, lenders_fen, household_fen,
                      corrections, corrections_answered)
           WHERE p.county_code = s.county_code AND p.payout_id = s.payout_id""",
        *database.columns(rows, 8),
    )


async def put_parts(session: AsyncSession, payouts: Sequence[Payout]) -> None:
    """Keep what lenders take of payouts; after a correction a loan may take nothing any more."""
    await database.write(
        session,
        """UPDATE payout_part AS t
           SET amount_fen = 0, interest_fen = 0, principal_fen = 0, subrogated_fen = 0
           FROM unnest($1::text[], $2::uuid[]) AS s (county_code, payout_id)
           WHERE t.county_code = s.county_code AND t.payout_id = s.payout_id""",
        *database.columns([(p.county_code, p.payout_id) for p in payouts], 2),
    )
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
        await database.write(
            session,
            """INSERT INTO payout_part (county_code, payout_id, loan_id, place, lender_id,
                                        amount_fen, interest_fen, principal_fen, subrogated_fen,
                                        outstanding_fen)
               SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::int[], $5::text[],
                                    $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[],
                                    $10::bigint[])
               ON CONFLICT (county_code, payout_id, loan_id) DO UPDATE
               SET place = excluded.place, amount_fen = excluded.amount_fen,
                   interest_fen = excluded.interest_fen, principal_fen = excluded.principal_fen,
                   subrogated_fen = excluded.subrogated_fen,
                   outstanding_fen = excluded.outstanding_fen""",
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
            instruction.state.value,
            instruction.round,
            instruction.account_ref,
            instruction.held_reason,
            instruction.sent_on,
        )
        for payout, instruction in opened
    ]
    if rows:
        await database.write(
            session,
            """INSERT INTO instruction (county_code, instruction_id, payout_id, payee_kind,
                                        payee_id, insurer_id, loan_id, amount_fen, state, round,
                                        account_ref, held_reason, sent_on, confirmed_by,
                                        confirmed_person)
               SELECT s.*, '', ''
               FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[],
                           $7::uuid[], $8::bigint[], $9::text[], $10::int[], $11::text[],
                           $12::text[], $13::date[]) AS s""",
            *database.columns(rows, 13),
        )


async def save_instructions(
    session: AsyncSession, changed: Sequence[tuple[Payout, Instruction]]
) -> None:
    """Write what became of instructions."""
    rows = [
        (
            payout.county_code,
            i.instruction_id,
            i.state.value,
            i.confirmed_by.institution_id if i.confirmed_by else "",
            i.confirmed_by.person_id if i.confirmed_by else "",
            i.confirmed_value_date,
            i.account_ref,
            i.held_reason,
            i.sent_on,
            i.attempt,
            i.asked_on,
            i.confirmed_fen,
            i.correction,
        )
        for payout, i in changed
    ]
    if rows:
        await database.write(
            session,
            """UPDATE instruction AS i
               SET state = s.state, confirmed_by = s.confirmed_by,
                   confirmed_person = s.confirmed_person,
                   confirmed_value_date = s.confirmed_value_date, account_ref = s.account_ref,
                   held_reason = s.held_reason, sent_on = s.sent_on, attempt = s.attempt,
                   asked_on = s.asked_on, confirmed_fen = s.confirmed_fen,
                   correction = s.correction,
                   -- What is sent again goes into a message again, with the same id.
                   message_id = CASE WHEN s.attempt = i.attempt THEN i.message_id END
               FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::date[],
                           $7::text[], $8::text[], $9::date[], $10::int[], $11::date[],
                           $12::bigint[], $13::int[])
                    AS s (county_code, instruction_id, state, confirmed_by, confirmed_person,
                          confirmed_value_date, account_ref, held_reason, sent_on, attempt,
                          asked_on, confirmed_fen, correction)
               WHERE i.county_code = s.county_code AND i.instruction_id = s.instruction_id""",
            *database.columns(rows, 13),
        )


async def list_payouts(
    session: AsyncSession,
    county_code: str,
    sight: Sight,
    *,
    state: str,
    instruction_id: UUID | None,
    after: UUID,
    limit: int,
) -> list[Payout]:
    """Payouts that the caller may see, in id order; with an instruction only its own."""
    rows = await database.fetch(
        session,
        """SELECT p.* FROM payout AS p
           WHERE p.county_code = $1 AND ($2 = '' OR p.insurer_id = $2)
             AND ($3 = '' OR EXISTS (
                 SELECT FROM payout_part AS t WHERE t.county_code = p.county_code
                 AND t.payout_id = p.payout_id AND t.lender_id = $3))
             AND (cardinality($4::text[]) = 0 OR EXISTS (
                 SELECT FROM unnest($4::text[]) AS seen (area)
                 WHERE starts_with(p.area_code, seen.area)))
             AND ($5 = '' OR p.state = $5) AND p.payout_id > $6
             AND ($8::uuid IS NULL OR p.payout_id = (
                 SELECT i.payout_id FROM instruction AS i
                 WHERE i.county_code = $1 AND i.instruction_id = $8))
           ORDER BY p.payout_id LIMIT $7""",
        county_code,
        sight.insurer_id,
        sight.lender_id,
        list(sight.areas),
        state,
        after,
        limit,
        instruction_id,
    )
    return list((await _with_parts(session, rows)).values())


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
    return [to_instruction(row) for row in rows]
