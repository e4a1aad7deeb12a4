"""Claims: what is said about an instruction, by whom, and what it changes. Pure decisions."""

from datetime import date, timedelta
from uuid import UUID

from services.claims.model import (
    Actor,
    Instruction,
    InstructionState,
    Payee,
    PayeeKind,
    Payout,
    Said,
    Word,
)
from services.claims.rules.payouts import REFUSED_BY_PAYEE, instruction_not_found, move_on
from services.kernel.errors import Refused, invalid_field
from services.kernel.money import Fen
from services.kernel.values import replace

OVERPAID = "OVERPAID"
BY_PAYER = frozenset({Said.ASK, Said.RESEND})
"""Words of the insurer about any of its instructions."""


def hear(
    payout: Payout,
    word: Word,
    *,
    actor: Actor,
    on: date,
    new_id: UUID,
    lender: Payee,
    household: Payee,
) -> Payout:
    """
    Take a word about an instruction, or refuse it.

    `lender` and `household` are where the instruction's lender and the household are paid now;
    `new_id` is for the household's instruction, if it is its turn.
    """
    found = [i for i in payout.instructions if i.instruction_id == word.instruction_id]
    if not found or not _may_say(found[0], word, actor.institution_id):
        raise instruction_not_found(word.instruction_id)
    instruction = found[0]
    payee = lender if instruction.payee_kind is PayeeKind.LENDER else household
    match word.said:
        case Said.ASK:
            now = _asked(instruction, on)
        case Said.RESEND:
            now = _sent_again(instruction, payee, on)
        case Said.NOT_RECEIVED:
            _require_unknown(instruction)
            now = replace(instruction, state=InstructionState.NOT_RECEIVED)
        case Said.REFUSED | Said.REJECTED:
            now = _refused(instruction, word)
        case Said.TAKEN_IN | Said.PENDING:
            _require_waiting(instruction)
            now = instruction
        case Said.SETTLED if instruction.payee_kind is PayeeKind.LENDER:
            # The payer's bank has paid; only the payee's word says that it has the money.
            _require_waiting(instruction)
            now = instruction
        case _:
            if word.said is Said.DONE:
                _require_unknown(instruction)
            now_payout = _confirmed(payout, instruction, word, actor=actor, on=on)
            return move_on(now_payout, new_id, household)
    instructions = tuple(now if i is instruction else i for i in payout.instructions)
    return move_on(replace(payout, instructions=instructions), new_id, household)


def _may_say(instruction: Instruction, word: Word, institution_id: str) -> bool:
    """The payee answers for what it received; the insurer for its bank and for the household."""
    status = word.said in (Said.TAKEN_IN, Said.SETTLED, Said.REJECTED, Said.PENDING)
    if word.said in BY_PAYER or status:
        return instruction.insurer_id == institution_id
    if instruction.payee_kind is PayeeKind.LENDER:
        return instruction.payee_id == institution_id
    return instruction.insurer_id == institution_id


def _require_unknown(instruction: Instruction) -> None:
    if instruction.state is not InstructionState.UNKNOWN:
        raise Refused(
            "INSTRUCTION_NOT_UNKNOWN",
            f"the instruction is {instruction.state}",
            message_zh="该支付指令无需查询",
        )


def _require_waiting(instruction: Instruction) -> None:
    if instruction.state is InstructionState.CONFIRMED:
        raise Refused(
            "INSTRUCTION_NOT_OPEN",
            f"the instruction is {instruction.state}",
            message_zh="该支付指令已确认",
        )


def _asked(instruction: Instruction, on: date) -> Instruction:
    _require_unknown(instruction)
    return replace(instruction, asked_on=on)


def _sent_again(instruction: Instruction, payee: Payee, on: date) -> Instruction:
    """Send again what did not arrive, or what was refused, to where the payee is paid now."""
    refused = instruction.held_reason == REFUSED_BY_PAYEE
    if instruction.state is not InstructionState.NOT_RECEIVED and not refused:
        raise Refused(
            "PAYMENT_NOT_ANSWERED",
            f"the instruction is {instruction.state}: it is sent again once its payee has said "
            "that it has not received it",
            message_zh="收款方未答复未到账,不得重发",
        )
    return replace(
        release(replace(instruction, state=InstructionState.HELD), payee, on),
        attempt=instruction.attempt + 1,
    )


def _refused(instruction: Instruction, word: Word) -> Instruction:
    """A payee that does not take the money: it is held until somebody sends it again."""
    _require_waiting(instruction)
    if word.said is Said.REFUSED:
        _require_unknown(instruction)
    if instruction.state is InstructionState.HELD:
        raise Refused(
            "INSTRUCTION_NOT_OPEN", "the instruction is held", message_zh="该支付指令未发出"
        )
    if not word.reason:
        raise invalid_field(
            "REASON_NEEDED", "reason", "", "must say why it is refused", "须说明原因"
        )
    return replace(instruction, state=InstructionState.HELD, held_reason=REFUSED_BY_PAYEE)


def _confirmed(
    payout: Payout, instruction: Instruction, word: Word, *, actor: Actor, on: date
) -> Payout:
    """Take a confirmation of what was instructed; of less with OVERPAID, which is a correction."""
    status = word.said is Said.SETTLED
    kept = instruction.amount_fen if status else word.amount_fen
    value_date = on if status and word.value_date is None else word.value_date
    _check_confirmation(instruction, kept, word.reason)
    if value_date is None or not payout.value_date <= value_date <= on:
        rule = f"must be from the payout's day {payout.value_date} to the business date {on}"
        raise invalid_field(
            "VALUE_DATE_OUT_OF_RANGE", "value_date", value_date, rule, "到账日期有误"
        )
    short = kept < instruction.amount_fen
    confirmed = replace(
        instruction,
        state=InstructionState.CONFIRMED,
        confirmed_by=actor,
        confirmed_value_date=value_date,
        confirmed_fen=kept,
        correction=payout.corrections + 1 if short else 0,
    )
    instructions = tuple(confirmed if i is instruction else i for i in payout.instructions)
    now = replace(payout, instructions=instructions)
    if short:
        now = replace(now, corrections=now.corrections + 1, version=now.version + 1)
    return now


def _check_confirmation(instruction: Instruction, kept: Fen, reason: str) -> None:
    if instruction.state in (InstructionState.CONFIRMED, InstructionState.HELD):
        raise Refused(
            "INSTRUCTION_NOT_OPEN",
            f"the instruction is {instruction.state}",
            message_zh="该支付指令已确认或未发出",
        )
    facts = {"instructed_fen": str(instruction.amount_fen), "confirmed_fen": str(kept)}
    if kept > instruction.amount_fen:
        raise Refused(
            "CONFIRMATION_ABOVE_INSTRUCTION",
            f"{kept} fen is above the {instruction.amount_fen} instructed",
            message_zh="确认金额高于指令金额",
            facts=facts,
        )
    overpaid = reason == OVERPAID and instruction.payee_kind is PayeeKind.LENDER
    if kept < instruction.amount_fen and not overpaid:
        raise Refused(
            "CONFIRMATION_BELOW_INSTRUCTION",
            f"{kept} fen is below the {instruction.amount_fen} instructed",
            message_zh="确认金额低于指令金额",
            facts=facts,
        )


def freed(payout: Payout, correction: int) -> Instruction:
    """The instruction whose shortfall made a correction."""
    return next(i for i in payout.instructions if i.correction == correction)


def groups_after(payout: Payout) -> tuple[tuple[UUID, ...], ...]:
    """The payees that may take what a lender gave back: all whose lenders did not keep less."""
    short = {i.loan_id for i in payout.instructions if i.correction}
    groups = (tuple(each for each in group if each not in short) for group in payout.groups)
    return tuple(group for group in groups if group)


def release(instruction: Instruction, payee: Payee, on: date) -> Instruction:
    """Send an instruction that was held, if its payee has an account now."""
    if payee.held_reason:
        return replace(instruction, held_reason=payee.held_reason)
    return replace(
        instruction,
        state=InstructionState.OPEN,
        account_ref=payee.account_ref,
        held_reason="",
        sent_on=on,
    )


def released(
    payout: Payout, *, lenders: dict[str, Payee], household: Payee, on: date, new_id: UUID
) -> Payout:
    """Send what was held for want of an account or an heir; not what its payee refused."""
    instructions = tuple(
        release(i, household if i.loan_id is None else lenders[i.payee_id], on)
        if i.state is InstructionState.HELD and i.held_reason != REFUSED_BY_PAYEE
        else i
        for i in payout.instructions
    )
    if instructions == payout.instructions:
        return payout
    return move_on(replace(payout, instructions=instructions), new_id, household)


def is_silent(instruction: Instruction, day: date, answer_days: int) -> bool:
    """Whether nobody answered a sent instruction in time."""
    if instruction.state is not InstructionState.OPEN or instruction.sent_on is None:
        return False
    return instruction.sent_on + timedelta(days=answer_days) < day


def fall_silent(payout: Payout, instruction_id: UUID, household: Payee, new_id: UUID) -> Payout:
    """Nobody answered: whether the money came is unknown, and nobody after it is paid (S44)."""
    instructions = tuple(
        replace(i, state=InstructionState.UNKNOWN) if i.instruction_id == instruction_id else i
        for i in payout.instructions
    )
    silent = replace(payout, instructions=instructions, version=payout.version + 1)
    return move_on(silent, new_id, household)
