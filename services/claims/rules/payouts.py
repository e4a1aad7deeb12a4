"""Claims: whom a payout is for, how it is divided into instructions, and where that puts it."""

from collections.abc import Mapping, Sequence
from datetime import date
from uuid import UUID

from services.claims.model import (
    Allocation,
    AssignedLoan,
    Authorisation,
    Claim,
    ClaimState,
    Debt,
    Instruction,
    InstructionState,
    Part,
    Payee,
    PayeeKind,
    Payout,
    PayoutState,
    Quote,
    QuotedPart,
)
from services.kernel.errors import NotFound, Refused
from services.kernel.money import Fen
from services.kernel.values import replace
from services.programmes import covers, settlement
from services.programmes.schema.insurance import HOUSEHOLD
from services.programmes.schema.values import known
from services.programmes.settlement import Amounts
from services.programmes.terms import Terms

NO_ACCOUNT = "NO_REGISTERED_ACCOUNT"
HEIR_NEEDED = "HEIR_NEEDED"
LENDER_NOT_REGISTERED = "LENDER_NOT_REGISTERED"
REFUSED_BY_PAYEE = "REFUSED_BY_PAYEE"
DIED = "deceased"

WAITING = frozenset(
    {
        InstructionState.HELD,
        InstructionState.OPEN,
        InstructionState.UNKNOWN,
        InstructionState.NOT_RECEIVED,
    }
)
"""States of an instruction whose money has not arrived as far as anybody knows."""


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
        groups=payee_groups(terms, claim.cover_id, assigned, parties),
    )
    return Authorisation(payout, payout.groups)


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


def household_payee(status: str, account_id: UUID | None, heir_account_id: UUID | None) -> Payee:
    """
    Where a household is paid: its registered account, and no other.

    After the borrower's death that is the heirs' account, once somebody registered it (S40).
    """
    if account_id is None:
        return Payee("", NO_ACCOUNT)
    if status == DIED and heir_account_id != account_id:
        return Payee("", HEIR_NEEDED)
    return Payee(f"account:{account_id}")


def lender_payee(lender_id: str, recorded: str, *, registered: bool) -> Payee:
    """Where a lender is paid: the account that it recorded, or itself as it is registered."""
    if recorded:
        return Payee(recorded)
    if registered:
        return Payee(f"institution:{lender_id}")
    return Payee("", LENDER_NOT_REGISTERED)


def check_sums(payout: Payout, allocation: Allocation) -> None:
    """Refuse an allocation whose parts are not the payout."""
    lenders_fen = sum(part.amount_fen for part in allocation.parts)
    amounts = [allocation.household_fen, *(part.amount_fen for part in allocation.parts)]
    whole = lenders_fen + allocation.household_fen
    if min(amounts) < 0 or whole != payout.amount_fen or allocation.amount_fen != whole:
        raise Refused(
            "ALLOCATION_UNBALANCED",
            f"{lenders_fen} and {allocation.household_fen} fen do not sum to {payout.amount_fen}",
        )


def instruct(
    payout: Payout,
    allocation: Allocation,
    instruction_ids: Sequence[UUID],
    *,
    lenders: Mapping[str, Payee],
    household: Payee,
) -> Payout:
    """
    Turn an allocation into instructions: the lenders' at once, the household's when it is its turn.

    The allocation after a correction makes instructions for what is new in it. `instruction_ids`
    has one for each part and one for the household; those not needed are dropped.
    """
    first = payout.state is PayoutState.AUTHORISED
    expected = 0 if first else payout.corrections_answered + 1
    if allocation.corrections != expected or allocation.corrections > payout.corrections:
        raise Refused("PAYOUT_ALREADY_ALLOCATED", f"payout {payout.payout_id} is {payout.state}")
    check_sums(payout, allocation)
    assert len(instruction_ids) > len(allocation.parts)
    answered = replace(
        payout,
        lenders_fen=Fen(sum(part.amount_fen for part in allocation.parts)),
        household_fen=allocation.household_fen,
        parts=allocation.parts,
        corrections_answered=allocation.corrections,
    )
    fresh = tuple(
        _to_lender(answered, part, more, instruction_id, lenders[part.lender_id])
        for part, instruction_id in zip(allocation.parts, instruction_ids, strict=False)
        if (more := Fen(part.amount_fen - instructed_fen(answered, part.loan_id))) > 0
    )
    answered = replace(answered, instructions=(*answered.instructions, *fresh))
    if payout.household_at_once:
        answered = _open_household(answered, instruction_ids[-1], household)
    return move_on(answered, instruction_ids[-1], household)


def instructed_fen(payout: Payout, loan_id: UUID) -> int:
    """
    What a loan's lender is instructed to get, as loans knows it.

    A shortfall that loans has not divided yet still counts as the lender's.
    """
    return sum(
        i.amount_fen if i.correction > payout.corrections_answered else i.paid_fen
        for i in payout.instructions
        if i.loan_id == loan_id
    )


def _to_lender(
    payout: Payout, part: Part, amount_fen: Fen, instruction_id: UUID, payee: Payee
) -> Instruction:
    return _addressed(
        Instruction(
            instruction_id=instruction_id,
            payout_id=payout.payout_id,
            payee_kind=PayeeKind.LENDER,
            payee_id=part.lender_id,
            insurer_id=payout.insurer_id,
            loan_id=part.loan_id,
            amount_fen=amount_fen,
            round=payout.corrections_answered,
        ),
        payee,
    )


def _addressed(instruction: Instruction, payee: Payee) -> Instruction:
    """An instruction to a registered account, or held until there is one."""
    state = InstructionState.HELD if payee.held_reason else InstructionState.OPEN
    return replace(
        instruction,
        state=state,
        account_ref=payee.account_ref,
        held_reason=payee.held_reason,
    )


def _open_household(payout: Payout, instruction_id: UUID, payee: Payee) -> Payout:
    """Instruct what is the household's and not instructed yet; nothing when there is none."""
    rest = Fen(payout.household_fen - payout.household_instructed_fen)
    if rest <= 0:
        return payout
    instruction = Instruction(
        instruction_id=instruction_id,
        payout_id=payout.payout_id,
        payee_kind=PayeeKind.HOUSEHOLD,
        payee_id=str(payout.household_id),
        insurer_id=payout.insurer_id,
        loan_id=None,
        amount_fen=rest,
        round=payout.corrections_answered,
    )
    return replace(payout, instructions=(*payout.instructions, _addressed(instruction, payee)))


def move_on(payout: Payout, household_instruction_id: UUID, household: Payee) -> Payout:
    """Bring a payout to the state that its instructions put it in."""
    if payout.corrections > payout.corrections_answered:
        return replace(payout, state=PayoutState.CORRECTING)
    states = {i.state for i in payout.instructions}
    lenders = [i for i in payout.instructions if i.payee_kind is PayeeKind.LENDER]
    if InstructionState.UNKNOWN in states:
        return replace(payout, state=PayoutState.UNKNOWN)
    if any(i.state in WAITING for i in lenders):
        sent = any(i.state is not InstructionState.HELD for i in lenders)
        state = PayoutState.INSTRUCTED if sent else PayoutState.ALLOCATED
        return replace(payout, state=state)
    payout = _open_household(payout, household_instruction_id, household)
    waiting = {i.state for i in payout.instructions if i.state in WAITING}
    if waiting - {InstructionState.HELD}:
        return replace(payout, state=PayoutState.HOUSEHOLD_INSTRUCTED)
    if waiting:
        state = PayoutState.CONFIRMED if lenders else PayoutState.ALLOCATED
        return replace(payout, state=state)
    return replace(payout, state=PayoutState.SETTLED, version=payout.version + 1)


def is_same_allocation(payout: Payout, allocation: Allocation) -> bool:
    """Whether a payout has been divided exactly so before."""
    return (
        payout.state is not PayoutState.AUTHORISED
        and allocation.corrections == payout.corrections_answered
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


def quote(
    amount_fen: Fen,
    groups: Sequence[Sequence[UUID]],
    loans: Mapping[UUID, AssignedLoan],
    debts: Mapping[UUID, Debt],
    *,
    terms: Terms,
    on: date,
) -> Quote:
    """
    What each payee would get of an amount, from the debts as loans said them last.

    A debt that was said before the day is stale: interest and repayments since are not in it.
    """
    owed = {
        str(loan_id): Amounts(
            interest_fen=Fen(debt.interest_fen or 0), principal_fen=Fen(debt.outstanding_fen or 0)
        )
        for loan_id, debt in debts.items()
    }
    known_groups = [[str(each) for each in group if each in debts] for group in groups]
    order = settlement.appropriation(
        terms.loans.appropriation_order if terms.pack.loans else "interest_first"
    )
    divided = settlement.settle(amount_fen, known_groups, owed, order)
    taken = {UUID(part.debt_id): part.taken.total_fen for part in divided.parts}
    parts = tuple(
        QuotedPart(
            loan=loans[loan_id],
            amount_fen=taken.get(loan_id, Fen(0)),
            owed_fen=debts[loan_id].owed_fen if loan_id in debts else Fen(0),
            said_on=debts[loan_id].said_on if loan_id in debts else None,
            stale=loan_id not in debts or debts[loan_id].said_on != on,
        )
        for group in groups
        for loan_id in group
    )
    return Quote(parts, divided.household_fen)
