"""What the SQL of claims does, on the rows in memory: the same functions, with nothing decided."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from services.claims.model import (
    Actor,
    AssignedLoan,
    Claim,
    Instruction,
    InstructionState,
    PayeeKind,
    Payout,
    Receivable,
    Reversal,
    ReversalState,
)
from services.claims.store.payments import HouseholdPayee
from services.kernel.errors import Conflict
from services.kernel.money import Fen
from services.kernel.values import replace
from tests.sim.memory import BrokenRule, Session

TABLES = (
    *("claim", "sum_insured", "sum_insured_of", "loan", "payout", "instruction", "word"),
    *("reversal", "receivable", "receipt", "account"),
)
PayoutKey = tuple[str, UUID]
Held = dict[UUID, tuple[Claim, Fen]]


async def lock_claims(session: Session, _: str, claim_ids: Sequence[UUID]) -> Held:
    """With their sums insured, held in id order."""
    wanted = sorted(set(claim_ids))
    await session.lock("claim", wanted)
    found = {}
    for each in wanted:
        claim = session.get("claim", each)
        if claim is not None:
            found[each] = (claim, session.get("sum_insured", claim.insured_id))
    return found


async def save_claims(session: Session, claims: Sequence[Claim]) -> None:
    """Write what became of them."""
    for each in claims:
        session.put("claim", each.claim_id, each)


async def assignments_in_force(
    session: Session, _: str, asked: Sequence[tuple[UUID, str, date]]
) -> dict[tuple[UUID, str, date], list[AssignedLoan]]:
    """Open loans of a household, the oldest first; all of them are assigned here."""
    found: dict[tuple[UUID, str, date], list[AssignedLoan]] = {}
    for key in asked:
        for loan_id, (household, lender, state) in sorted(session.items("loan")):
            if household == key[0] and state == "approved":
                found.setdefault(key, []).append(AssignedLoan(loan_id, lender))
    return found


async def close_loans(session: Session, closed: Sequence[Any]) -> None:
    """They are no payees any more."""
    for each in closed:
        held = session.get("loan", each.loan_id)
        if held is not None and held[2] == "approved":
            session.put("loan", each.loan_id, (held[0], held[1], each.state.value))


async def reopen_loans(session: Session, loans: Sequence[tuple[str, UUID]]) -> None:
    """Settled ones are payees again."""
    for _, loan_id in loans:
        held = session.get("loan", loan_id)
        if held is not None and held[2] == "settled":
            session.put("loan", loan_id, (held[0], held[1], "approved"))


async def add_payouts(session: Session, payouts: Sequence[Payout]) -> None:
    """A claim has one."""
    for each in payouts:
        if any(held.claim_id == each.claim_id for held in session.rows("payout")):
            raise BrokenRule(f"claim {each.claim_id} has a payout")
        session.add("payout", each.payout_id, each)


async def lock_payouts(session: Session, keys: Sequence[PayoutKey]) -> dict[PayoutKey, Payout]:
    """With parts and instructions, held in id order."""
    wanted = sorted(set(keys))
    await session.lock("payout", [payout_id for _, payout_id in wanted])
    found = {}
    for key in wanted:
        held = session.get("payout", key[1])
        if held is not None:
            found[key] = replace(held, instructions=_instructions(session, held))
    return found


def _instructions(session: Session, payout: Payout) -> tuple[Instruction, ...]:
    places = {part.loan_id: place for place, part in enumerate(payout.parts)}
    own = [each for each in session.rows("instruction") if each.payout_id == payout.payout_id]
    own.sort(
        key=lambda i: (
            i.payee_kind is not PayeeKind.LENDER,
            i.round,
            places.get(i.loan_id, len(places)),
            i.instruction_id,
        )
    )
    return tuple(own)


async def payouts_of(
    session: Session, county_code: str, instruction_ids: Sequence[UUID]
) -> dict[UUID, PayoutKey]:
    """Which payout each belongs to; nothing is held."""
    await session.pause()
    found = {}
    for each in instruction_ids:
        held = session.get("instruction", each)
        if held is not None:
            found[each] = (county_code, held.payout_id)
    return found


async def save_payouts(session: Session, payouts: Sequence[Payout]) -> None:
    """Write how far they have come."""
    for each in payouts:
        if each.lenders_fen < 0 or each.household_fen < 0:
            raise BrokenRule(f"payout {each.payout_id} below zero")
        session.put("payout", each.payout_id, replace(each, instructions=()))


async def put_parts(session: Session, payouts: Sequence[Payout]) -> None:
    """They are kept with the payout."""
    await save_payouts(session, payouts)


async def add_instructions(session: Session, opened: Sequence[tuple[Payout, Instruction]]) -> None:
    """One a payee, loan and round."""
    for _, each in opened:
        own = (each.payout_id, each.payee_kind, each.loan_id, each.round)
        for held in session.rows("instruction"):
            if (held.payout_id, held.payee_kind, held.loan_id, held.round) == own:
                raise BrokenRule(f"instruction of {own} is there")
        session.add("instruction", each.instruction_id, each)


async def save_instructions(
    session: Session, changed: Sequence[tuple[Payout, Instruction]]
) -> None:
    """Write what became of them."""
    for _, each in changed:
        session.put("instruction", each.instruction_id, each)


async def household_payees(
    session: Session, keys: Collection[tuple[str, UUID]]
) -> dict[tuple[str, UUID], HouseholdPayee]:
    """Where households are paid; some have no account yet."""
    return {key: HouseholdPayee("", session.get("account", key[1]), None) for key in keys}


async def save_accounts(
    session: Session, accounts: Sequence[tuple[str, UUID, UUID, str, date]]
) -> None:
    """The last word counts."""
    for _, household, account, _bank, _on in accounts:
        session.put("account", household, account)


async def held_of(session: Session, county_code: str, payees: Collection[str]) -> list[PayoutKey]:
    """Payouts with held instructions to these payees."""
    found = {
        each.payout_id
        for each in session.rows("instruction")
        if each.state is InstructionState.HELD and each.payee_id in payees
    }
    return [(county_code, each) for each in sorted(found)]


async def silent(session: Session, county_code: str, before: date) -> list[tuple[PayoutKey, UUID]]:
    """Open instructions that were sent before a day."""
    await session.pause()
    found = sorted(
        (each.sent_on, each.payout_id, each.instruction_id)
        for each in session.rows("instruction")
        if each.state is InstructionState.OPEN and each.sent_on and each.sent_on < before
    )
    return [((county_code, payout_id), each) for _, payout_id, each in found]


async def lender_accounts(*_: object) -> dict[tuple[str, str], str]:
    """None recorded one: each is paid as it is registered."""
    return {}


async def add_words(session: Session, words: Sequence[Any]) -> None:
    """Keep what was said, also what was refused."""
    for each in words:
        session.add("word", each.word_id, each)


async def add_reversal(session: Session, reversal: Reversal) -> None:
    """One at a time, and taken back once."""
    for held in session.rows("reversal"):
        if held.payout_id == reversal.payout_id and held.state is not ReversalState.REFUSED:
            raise Conflict("REVERSAL_EXISTS", f"payout {reversal.payout_id} has a reversal")
    session.add("reversal", reversal.reversal_id, reversal)


async def lock_reversal(session: Session, _: str, reversal_id: UUID) -> Reversal | None:
    """A wish, held."""
    await session.lock("reversal", [reversal_id])
    found: Reversal | None = session.get("reversal", reversal_id)
    return found


async def save_reversal(session: Session, reversal: Reversal) -> None:
    """Write what was decided."""
    session.put("reversal", reversal.reversal_id, reversal)


async def add_receivables(session: Session, owed: Sequence[Receivable], since: date) -> None:
    """Keep what is owed back."""
    for each in owed:
        session.add("receivable", each.receivable_id, (each, since))


async def lock_receivable(
    session: Session, _: str, insurer_id: str, receivable_id: UUID
) -> tuple[Receivable, date] | None:
    """One of an insurer's, held."""
    await session.lock("receivable", [receivable_id])
    found: tuple[Receivable, date] | None = session.get("receivable", receivable_id)
    return found


async def save_payment(
    session: Session,
    receivable: Receivable,
    payment: Any,
    *,
    payment_id: UUID,
    person_id: str,
    on: date,
) -> None:
    """Write money that came back."""
    _, since = session.get("receivable", receivable.receivable_id)
    session.put("receivable", receivable.receivable_id, (receivable, since))
    session.add("receipt", payment_id, payment)


async def nothing(*_: object, **__: object) -> None:
    """Kept by others, or never read by a saga."""


NOBODY = Actor("", "")
FUNCTIONS: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "services.claims.store.claims": {"lock_claims": lock_claims, "save_claims": save_claims},
    "services.claims.store.claims_history": {"add_steps": nothing},
    "services.claims.store.assignments": {"assignments_in_force": assignments_in_force},
    "services.claims.store.others": {"close_loans": close_loans},
    "services.claims.store.payouts": {
        "add_payouts": add_payouts,
        "lock_payouts": lock_payouts,
        "payouts_of": payouts_of,
        "save_payouts": save_payouts,
        "put_parts": put_parts,
        "add_instructions": add_instructions,
        "save_instructions": save_instructions,
    },
    "services.claims.store.payments": {
        "household_payees": household_payees,
        "save_accounts": save_accounts,
        "held_of": held_of,
        "lender_accounts": lender_accounts,
        "silent": silent,
        "put_debts": nothing,
        "reopen_loans": reopen_loans,
        "add_words": add_words,
    },
    "services.claims.store.reversals": {
        "add_reversal": add_reversal,
        "lock_reversal": lock_reversal,
        "save_reversal": save_reversal,
        "add_receivables": add_receivables,
        "lock_receivable": lock_receivable,
        "save_payment": save_payment,
    },
    "services.claims.operations.policies": {"enrol": nothing, "note_disbursed": nothing},
}
"""By module, what stands in for its functions."""
