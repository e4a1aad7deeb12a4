"""Claims: SQL of payees' accounts, of debts as loans said them, of words and messages."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import (
    Actor,
    Debt,
    Instruction,
    KeptWord,
    PaymentMessage,
    Said,
    Word,
)
from services.claims.store.payouts import PayoutKey, to_instruction
from services.kernel import database
from services.kernel.money import Fen

HouseholdKey = tuple[str, UUID]
SILENT_MAX = 1_000


@dataclass(frozen=True, slots=True)
class HouseholdPayee:
    """What decides where a household is paid."""

    status: str = ""
    account_id: UUID | None = None
    heir_account_id: UUID | None = None


async def household_payees(
    session: AsyncSession, keys: Collection[HouseholdKey]
) -> dict[HouseholdKey, HouseholdPayee]:
    """Status, account and heir of households."""
    rows = await database.fetch(
        session,
        """SELECT k.*, h.status, a.account_id, r.account_id AS heir_account_id
           FROM unnest($1::text[], $2::uuid[]) AS k (county_code, household_id)
           LEFT JOIN household AS h USING (county_code, household_id)
           LEFT JOIN payee_account AS a USING (county_code, household_id)
           LEFT JOIN LATERAL (
               SELECT e.account_id FROM heir_payee AS e
               WHERE e.county_code = k.county_code AND e.household_id = k.household_id
               ORDER BY e.number DESC LIMIT 1
           ) AS r ON true""",
        *database.columns(sorted(set(keys)), 2),
    )
    return {
        (row["county_code"], row["household_id"]): HouseholdPayee(
            row["status"] or "", row["account_id"], row["heir_account_id"]
        )
        for row in rows
    }


async def lender_accounts(
    session: AsyncSession, keys: Collection[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    """The accounts that lenders recorded last, by county and lender."""
    rows = await database.fetch(
        session,
        """SELECT DISTINCT ON (county_code, lender_id) county_code, lender_id, account_ref
           FROM lender_account
           JOIN unnest($1::text[], $2::text[]) AS k (county_code, lender_id)
                USING (county_code, lender_id)
           ORDER BY county_code, lender_id, number DESC""",
        *database.columns(sorted(set(keys)), 2),
    )
    return {(row["county_code"], row["lender_id"]): row["account_ref"] for row in rows}


async def save_accounts(
    session: AsyncSession, accounts: Sequence[tuple[str, UUID, UUID, str, date]]
) -> None:
    """Keep where households are paid; the last word on each counts."""
    last = {row[:2]: row for row in accounts}
    await database.execute(
        session,
        """INSERT INTO payee_account (county_code, household_id, account_id, bank_id, since)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::date[])
           ON CONFLICT (county_code, household_id) DO UPDATE
           SET account_id = excluded.account_id, bank_id = excluded.bank_id,
               since = excluded.since""",
        *database.columns(list(last.values()), 5),
    )


async def add_lender_account(
    session: AsyncSession, county_code: str, actor: Actor, account_ref: str, on: date
) -> None:
    """Keep a lender's account; the last one counts."""
    await database.execute(
        session,
        """INSERT INTO lender_account (county_code, lender_id, account_ref, person_id, recorded_on)
           VALUES ($1, $2, $3, $4, $5)""",
        county_code,
        actor.institution_id,
        account_ref,
        actor.person_id,
        on,
    )


async def add_heir(
    session: AsyncSession,
    county_code: str,
    household_id: UUID,
    account_id: UUID,
    *,
    evidence: str,
    actor: Actor,
    on: date,
) -> None:
    """Keep who inherits; the last word counts."""
    await database.execute(
        session,
        """INSERT INTO heir_payee (county_code, household_id, account_id, evidence, institution_id,
                                   person_id, registered_on)
           VALUES ($1, $2, $3, $4, $5, $6, $7)""",
        county_code,
        household_id,
        account_id,
        evidence,
        actor.institution_id,
        actor.person_id,
        on,
    )


async def held_of(
    session: AsyncSession, county_code: str, payees: Collection[str]
) -> list[PayoutKey]:
    """Payouts with instructions to these payees that are held, in id order."""
    rows = await database.fetch(
        session,
        """SELECT DISTINCT payout_id FROM instruction
           WHERE county_code = $1 AND state = 'held' AND payee_id = ANY($2::text[])
           ORDER BY payout_id""",
        county_code,
        list(payees),
    )
    return [(county_code, row["payout_id"]) for row in rows]


async def silent(
    session: AsyncSession, county_code: str, before: date
) -> list[tuple[PayoutKey, UUID]]:
    """Open instructions that were sent before a day, a bounded number, with their payouts."""
    rows = await database.fetch(
        session,
        """SELECT payout_id, instruction_id FROM instruction
           WHERE county_code = $1 AND state = 'open' AND sent_on < $2
           ORDER BY sent_on, payout_id, instruction_id LIMIT $3""",
        county_code,
        before,
        SILENT_MAX,
    )
    return [((county_code, row["payout_id"]), row["instruction_id"]) for row in rows]


async def put_debts(session: AsyncSession, debts: Sequence[Debt]) -> None:
    """Keep what loans said of debts, in the order of saying; what was not said stays as it was."""
    merged: dict[tuple[str, UUID], Debt] = {}
    for debt in debts:
        key = (debt.county_code, debt.loan_id)
        was = merged.get(key)
        merged[key] = (
            debt
            if was is None
            else Debt(
                debt.county_code,
                debt.loan_id,
                was.outstanding_fen if debt.outstanding_fen is None else debt.outstanding_fen,
                was.interest_fen if debt.interest_fen is None else debt.interest_fen,
                debt.said_on,
            )
        )
    rows = [
        (d.county_code, d.loan_id, d.outstanding_fen, d.interest_fen, d.said_on)
        for d in merged.values()
    ]
    await database.write(
        session,
        """INSERT INTO loan_debt AS d (county_code, loan_id, outstanding_fen, interest_fen, said_on)
           SELECT s.county_code, s.loan_id,
                  coalesce(s.outstanding_fen, o.outstanding_fen, 0),
                  coalesce(s.interest_fen, o.interest_fen, 0), s.said_on
           FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::bigint[], $5::date[])
                AS s (county_code, loan_id, outstanding_fen, interest_fen, said_on)
           LEFT JOIN loan_debt AS o USING (county_code, loan_id)
           ON CONFLICT (county_code, loan_id) DO UPDATE
           SET outstanding_fen = excluded.outstanding_fen, interest_fen = excluded.interest_fen,
               said_on = greatest(d.said_on, excluded.said_on)""",
        *database.columns(rows, 5),
    )


async def debts_of(
    session: AsyncSession, county_code: str, loan_ids: Collection[UUID]
) -> dict[UUID, Debt]:
    """What loans said last of these loans' debts."""
    rows = await database.fetch(
        session,
        "SELECT * FROM loan_debt WHERE county_code = $1 AND loan_id = ANY($2::uuid[])",
        county_code,
        list(loan_ids),
    )
    return {
        row["loan_id"]: Debt(
            county_code,
            row["loan_id"],
            Fen(row["outstanding_fen"]),
            Fen(row["interest_fen"]),
            row["said_on"],
        )
        for row in rows
    }


async def reopen_loans(session: AsyncSession, loans: Sequence[tuple[str, UUID]]) -> None:
    """Note that settled loans are owed again: they are payees of later payouts."""
    await database.write(
        session,
        """UPDATE loan AS l SET state = 'approved', closed_on = NULL
           FROM unnest($1::text[], $2::uuid[]) AS s (county_code, loan_id)
           WHERE l.county_code = s.county_code AND l.loan_id = s.loan_id
             AND l.state = 'settled'""",
        *database.columns(loans, 2),
    )


async def add_words(session: AsyncSession, words: Sequence[KeptWord]) -> None:
    """Keep what was said, also what was refused."""
    rows = [
        (
            kept.county_code,
            kept.word_id,
            kept.word.instruction_id,
            kept.word.said.value,
            kept.word.amount_fen,
            kept.word.value_date,
            kept.word.reason,
            kept.word.reference,
            kept.refusal,
            kept.actor.institution_id,
            kept.actor.person_id,
            kept.said_on,
        )
        for kept in words
    ]
    if rows:
        await database.execute(
            session,
            """INSERT INTO payment_word (county_code, word_id, instruction_id, said, amount_fen,
                                         value_date, reason, reference, refusal, institution_id,
                                         person_id, said_on)
               SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::bigint[],
                                    $6::date[], $7::text[], $8::text[], $9::text[], $10::text[],
                                    $11::text[], $12::date[])""",
            *database.columns(rows, 12),
        )


async def list_words(
    session: AsyncSession,
    county_code: str,
    institution_id: str,
    instruction_id: UUID,
    *,
    after: UUID,
    limit: int,
) -> list[KeptWord]:
    """Words about an instruction that the institution pays or is paid by, in order."""
    rows = await database.fetch(
        session,
        """SELECT w.* FROM payment_word AS w
           JOIN instruction AS i USING (county_code, instruction_id)
           WHERE county_code = $1 AND instruction_id = $2 AND w.word_id > $3
             AND (i.insurer_id = $5 OR (i.payee_kind = 'lender' AND i.payee_id = $5))
           ORDER BY w.word_id LIMIT $4""",
        county_code,
        instruction_id,
        after,
        limit,
        institution_id,
    )
    return [
        KeptWord(
            county_code,
            row["word_id"],
            Word(
                Said(row["said"]),
                row["instruction_id"],
                Fen(row["amount_fen"]),
                row["value_date"],
                row["reason"],
                row["reference"],
            ),
            row["refusal"],
            Actor(row["institution_id"], row["person_id"]),
            row["said_on"],
        )
        for row in rows
    ]


async def take_into_message(
    session: AsyncSession, message: PaymentMessage, person_id: str, number_max: int
) -> tuple[Instruction, ...]:
    """Put an insurer's open instructions that are in no message into this one."""
    await database.execute(
        session,
        """INSERT INTO payment_message (county_code, message_id, insurer_id, created_on, person_id)
           VALUES ($1, $2, $3, $4, $5)""",
        message.county_code,
        message.message_id,
        message.insurer_id,
        message.created_on,
        person_id,
    )
    await database.execute(
        session,
        """UPDATE instruction AS i SET message_id = $3
           FROM (SELECT instruction_id FROM instruction
                 WHERE county_code = $1 AND insurer_id = $2 AND state = 'open'
                   AND message_id IS NULL
                 ORDER BY instruction_id LIMIT $4 FOR UPDATE) AS s
           WHERE i.county_code = $1 AND i.instruction_id = s.instruction_id""",
        message.county_code,
        message.insurer_id,
        message.message_id,
        number_max,
    )
    found = await find_message(session, message.county_code, message.insurer_id, message.message_id)
    assert found is not None
    return found.instructions


async def find_message(
    session: AsyncSession, county_code: str, insurer_id: str, message_id: UUID
) -> PaymentMessage | None:
    """A message of an insurer with its instructions."""
    heads = await database.fetch(
        session,
        """SELECT * FROM payment_message
           WHERE county_code = $1 AND insurer_id = $2 AND message_id = $3""",
        county_code,
        insurer_id,
        message_id,
    )
    if not heads:
        return None
    rows = await database.fetch(
        session,
        """SELECT * FROM instruction WHERE county_code = $1 AND message_id = $2
           ORDER BY instruction_id""",
        county_code,
        message_id,
    )
    return PaymentMessage(
        county_code,
        message_id,
        insurer_id,
        heads[0]["created_on"],
        tuple(to_instruction(row) for row in rows),
    )
