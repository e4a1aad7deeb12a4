"""Claims: payouts that are taken back: who decides, and who owes what then. Pure decisions."""

from collections.abc import Callable
from datetime import date
from uuid import UUID

from services.claims.model import (
    Actor,
    InstructionState,
    PayeeKind,
    Payout,
    PayoutState,
    Receivable,
    ReceivablePayment,
    Reversal,
    ReversalState,
)
from services.kernel.errors import NotFound, Refused, invalid_field
from services.kernel.money import Fen
from services.kernel.values import replace


def payout_not_found(payout_id: UUID) -> NotFound:
    """No such payout, or none of the asker's."""
    return NotFound("PAYOUT_NOT_FOUND", f"no payout {payout_id}", message_zh="无此赔付")


def require_settled(payout: Payout, institution_id: str) -> None:
    """Only the insurer that paid takes back, and only what everybody has."""
    if payout.insurer_id != institution_id:
        raise payout_not_found(payout.payout_id)
    if payout.state is not PayoutState.SETTLED:
        raise Refused(
            "PAYOUT_NOT_SETTLED",
            f"payout {payout.payout_id} is {payout.state}",
            message_zh="赔付未结清,不能撤销",
        )


def decide(reversal: Reversal, *, approve: bool, by: Actor, on: date) -> Reversal:
    """A second person of the insurer approves or refuses."""
    if reversal.state is not ReversalState.ASKED:
        raise Refused(
            "REVERSAL_DECIDED", f"the reversal is {reversal.state}", message_zh="该撤销已处理"
        )
    if by.person_id == reversal.asked_by.person_id:
        raise Refused(
            "SECOND_PERSON_NEEDED",
            f"{by.person_id} asked for it: another person decides",
            message_zh="须由另一人复核",
        )
    state = ReversalState.APPROVED if approve else ReversalState.REFUSED
    return replace(reversal, state=state, decided_by=by, decided_on=on)


def take_back(payout: Payout, new_id: Callable[[], UUID]) -> tuple[Payout, list[Receivable]]:
    """
    The payout taken back, and what everybody who had of it owes: exactly what was confirmed.

    Nobody is debited; what the household had is a claim of the insurer (S41).
    """
    owed: dict[tuple[PayeeKind, str, UUID | None], int] = {}
    for each in payout.instructions:
        assert each.state is InstructionState.CONFIRMED, "a settled payout is confirmed"
        key = (each.payee_kind, each.payee_id, each.loan_id)
        owed[key] = owed.get(key, 0) + each.confirmed_fen
    receivables = [
        Receivable(
            county_code=payout.county_code,
            receivable_id=new_id(),
            payout_id=payout.payout_id,
            insurer_id=payout.insurer_id,
            debtor_kind=kind,
            debtor_id=debtor,
            loan_id=loan_id,
            amount_fen=Fen(amount),
        )
        for (kind, debtor, loan_id), amount in owed.items()
        if amount
    ]
    assert sum(each.amount_fen for each in receivables) == payout.amount_fen
    return replace(payout, state=PayoutState.REVERSED, version=payout.version + 1), receivables


def pay(receivable: Receivable, payment: ReceivablePayment, *, since: date, on: date) -> Receivable:
    """Money that came back; never more than is owed."""
    if receivable.closed:
        raise Refused("RECEIVABLE_CLOSED", "all of it came back before", message_zh="应收款已结清")
    left = receivable.amount_fen - receivable.paid_fen
    if payment.amount_fen > left:
        raise Refused(
            "ABOVE_RECEIVABLE",
            f"{payment.amount_fen} fen came, {left} are owed",
            message_zh="退款超过应收金额",
            facts={"owed_fen": str(left)},
        )
    if not since <= payment.value_date <= on:
        raise invalid_field(
            "VALUE_DATE_OUT_OF_RANGE",
            "value_date",
            payment.value_date,
            f"must be from {since}, when it was taken back, to the business date {on}",
            "到账日期有误",
        )
    return replace(receivable, paid_fen=Fen(receivable.paid_fen + payment.amount_fen))
