"""Claims: whom a payout is for, and its way from allocation to every payee's confirmation."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from uuid import UUID

from services.claims.model import (
    Actor,
    Allocation,
    AssignedLoan,
    Authorisation,
    Claim,
    ClaimState,
    Confirmation,
    Instruction,
    InstructionState,
    PayeeKind,
    Payout,
    PayoutState,
)
from services.kernel.errors import NotFound, Refused, invalid_field
from services.kernel.money import Fen
from services.programmes import covers
from services.programmes.schema.insurance import HOUSEHOLD
from services.programmes.schema.values import known
from services.programmes.terms import Terms


def authorise(
    claim: Claim,
    terms: Terms,
    assigned: Sequence[AssignedLoan],
    parties: Mapping[str, Sequence[str]],
) -> Authorisation:
    """An approved claim's payout and its payees, the lenders before the household."""
    assert claim.state is ClaimState.APPROVED
    assert claim.payout_id is not None
    assert claim.decided_on is not None
    payout = Payout(
        county_code=claim.county_code,
        payout_id=claim.payout_id,
        version=1,
        claim_id=claim.claim_id,
        household_id=claim.household_id,
        area_code=claim.area_code,
        insurer_id=claim.insurer_id,
        programme=claim.programme,
        amount_fen=claim.payable_fen,
        value_date=claim.decided_on,
        loss_date=claim.loss_date,
        household_at_once=terms.insurance.household_paid == "at_once",
    )
    return Authorisation(payout, payee_groups(terms, claim.cover_id, assigned, parties))


def payee_groups(
    terms: Terms,
    cover_id: str,
    assigned: Sequence[AssignedLoan],
    parties: Mapping[str, Sequence[str]],
) -> tuple[tuple[UUID, ...], ...]:
    """
    The assigned loans in the cover's order of payees (S06, S07); none if it is not assigned.

    A payee of the pack is a party that the county's adoption names lenders for. A lender that no
    payee names still holds the household's authorisation: it comes after those that are named.
    Where the programme sweeps only in difficulty, a loan counts whose lender confirmed it (S04).
    """
    trigger = known(terms.insurance.sweep_trigger)
    swept = [loan for loan in assigned if trigger == "always" or loan.in_difficulty]
    order = covers.payees_of(
        terms.cover(cover_id),
        consented=bool(swept),
        sweep_trigger=trigger,
        difficulty=bool(swept),
    )
    if order == ((HOUSEHOLD,),):
        return ()
    groups: list[tuple[UUID, ...]] = []
    left = swept
    for codes in order:
        lenders = {lender for code in codes for lender in parties.get(code, ())}
        groups.append(tuple(loan.loan_id for loan in left if loan.lender_id in lenders))
        left = [loan for loan in left if loan.lender_id not in lenders]
    groups.append(tuple(loan.loan_id for loan in left))
    return tuple(group for group in groups if group)


def instruct(payout: Payout, allocation: Allocation, instruction_ids: Sequence[UUID]) -> Payout:
    """
    Turn an allocation into instructions: the lenders' at once, the household's when it is its turn.

    `instruction_ids` has one for each part and one for the household; those not needed are dropped.
    """
    if payout.state is not PayoutState.AUTHORISED:
        raise Refused("PAYOUT_ALREADY_ALLOCATED", f"payout {payout.payout_id} is {payout.state}")
    lenders_fen = sum(part.amount_fen for part in allocation.parts)
    amounts = [allocation.household_fen, *(part.amount_fen for part in allocation.parts)]
    whole = lenders_fen + allocation.household_fen
    if min(amounts) < 0 or whole != payout.amount_fen or allocation.amount_fen != whole:
        raise Refused(
            "ALLOCATION_UNBALANCED",
            f"{lenders_fen} and {allocation.household_fen} fen do not sum to {payout.amount_fen}",
        )
    assert len(instruction_ids) > len(allocation.parts)
    instructions = tuple(
        Instruction(
            instruction_id=instruction_id,
            payout_id=payout.payout_id,
            payee_kind=PayeeKind.LENDER,
            payee_id=part.lender_id,
            insurer_id=payout.insurer_id,
            loan_id=part.loan_id,
            amount_fen=part.amount_fen,
        )
        for part, instruction_id in zip(allocation.parts, instruction_ids, strict=False)
        if part.amount_fen
    )
    allocated = replace(
        payout,
        lenders_fen=Fen(lenders_fen),
        household_fen=allocation.household_fen,
        parts=allocation.parts,
        instructions=instructions,
    )
    if payout.household_at_once and allocation.household_fen:
        allocated = _open_household(allocated, instruction_ids[-1])
    return _move_on(allocated, instruction_ids[-1])


def is_same_allocation(payout: Payout, allocation: Allocation) -> bool:
    """Whether a payout has been divided exactly so before."""
    return (
        payout.state is not PayoutState.AUTHORISED
        and payout.household_fen == allocation.household_fen
        and sorted(payout.parts, key=_by_loan) == sorted(allocation.parts, key=_by_loan)
    )


def _by_loan(part: object) -> str:
    return str(getattr(part, "loan_id", ""))


def instruction_not_found(instruction_id: UUID) -> NotFound:
    """No such instruction, or none of the asker's."""
    return NotFound(
        "INSTRUCTION_NOT_FOUND", f"no instruction {instruction_id}", message_zh="无此支付指令"
    )


def confirm(
    payout: Payout,
    confirmation: Confirmation,
    *,
    confirmer: Actor,
    on: date,
    household_instruction_id: UUID,
) -> Payout:
    """Take a confirmation of exactly what was instructed; the last lender frees the rest."""
    found = [i for i in payout.instructions if i.instruction_id == confirmation.instruction_id]
    if not found or not _may_confirm(found[0], confirmer.institution_id):
        raise instruction_not_found(confirmation.instruction_id)
    instruction = found[0]
    _check_confirmation(payout, instruction, confirmation, on)
    confirmed = replace(
        instruction,
        state=InstructionState.CONFIRMED,
        confirmed_by=confirmer,
        confirmed_value_date=confirmation.value_date,
    )
    instructions = tuple(confirmed if i is instruction else i for i in payout.instructions)
    return _move_on(replace(payout, instructions=instructions), household_instruction_id)


def _may_confirm(instruction: Instruction, institution_id: str) -> bool:
    """The payee confirms what it received; the insurer speaks for the household."""
    if instruction.payee_kind is PayeeKind.LENDER:
        return instruction.payee_id == institution_id
    return instruction.insurer_id == institution_id


def _check_confirmation(
    payout: Payout, instruction: Instruction, confirmation: Confirmation, on: date
) -> None:
    if instruction.state is not InstructionState.OPEN:
        raise Refused(
            "INSTRUCTION_NOT_OPEN",
            f"the instruction is {instruction.state}",
            message_zh="该支付指令已确认",
        )
    facts = {
        "instructed_fen": str(instruction.amount_fen),
        "confirmed_fen": str(confirmation.confirmed_fen),
    }
    if confirmation.confirmed_fen > instruction.amount_fen:
        raise Refused(
            "CONFIRMATION_ABOVE_INSTRUCTION",
            f"{confirmation.confirmed_fen} fen is above the {instruction.amount_fen} instructed",
            message_zh="确认金额高于指令金额",
            facts=facts,
        )
    if confirmation.confirmed_fen < instruction.amount_fen:
        raise Refused(
            "CONFIRMATION_BELOW_INSTRUCTION",
            f"{confirmation.confirmed_fen} fen is below the {instruction.amount_fen} instructed",
            message_zh="确认金额低于指令金额",
            facts=facts,
        )
    if not payout.value_date <= confirmation.value_date <= on:
        rule = f"must be from the payout's day {payout.value_date} to the business date {on}"
        raise invalid_field(
            "VALUE_DATE_OUT_OF_RANGE", "value_date", confirmation.value_date, rule, "到账日期有误"
        )


def _open_household(payout: Payout, instruction_id: UUID) -> Payout:
    instruction = Instruction(
        instruction_id=instruction_id,
        payout_id=payout.payout_id,
        payee_kind=PayeeKind.HOUSEHOLD,
        payee_id=str(payout.household_id),
        insurer_id=payout.insurer_id,
        loan_id=None,
        amount_fen=payout.household_fen,
    )
    return replace(payout, instructions=(*payout.instructions, instruction))


def _move_on(payout: Payout, household_instruction_id: UUID) -> Payout:
    """Bring a payout to the state that its instructions put it in."""
    waiting = {i.payee_kind for i in payout.instructions if i.state is InstructionState.OPEN}
    if PayeeKind.LENDER in waiting:
        return replace(payout, state=PayoutState.INSTRUCTED)
    if payout.household_fen and payout.household_instruction is None:
        payout = _open_household(payout, household_instruction_id)
        return replace(payout, state=PayoutState.HOUSEHOLD_INSTRUCTED)
    if PayeeKind.HOUSEHOLD in waiting:
        return replace(payout, state=PayoutState.HOUSEHOLD_INSTRUCTED)
    return replace(payout, state=PayoutState.SETTLED, version=payout.version + 1)
