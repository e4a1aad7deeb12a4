"""Claims: what a household is told about the money of its payout. Pure."""

from collections.abc import Mapping, Sequence

from services.claims.model import (
    InstructionState,
    MoneyEvent,
    PayeeKind,
    Payout,
    PayoutState,
    Receivable,
    Reversal,
)
from services.kernel.money import Fen
from services.programmes.schema.payouts import PayoutNotes

ASSIGNED = "ASSIGNED_TO_LENDER"
NOTHING_OWED = "NOTHING_OWED"
DEBT_PAID_OFF = "DEBT_PAID_OFF"
DEBT_LEFT = "DEBT_LEFT"
OVERPAID = "OVERPAID"

BECAUSE: Mapping[str, str] = {
    ASSIGNED: "您已书面授权保险赔款优先偿还贷款",
    NOTHING_OWED: "没有须优先偿还的贷款",
    DEBT_PAID_OFF: "贷款已全部还清，余款归您",
    DEBT_LEFT: "赔款不足以还清贷款",
    OVERPAID: "您此前已还款，贷款机构只留下尚欠部分",
}
NO_LENDER = "贷款0元"
OTHER_REASON = "保险公司撤销了该笔赔付"


def yuan(amount_fen: int) -> str:
    """45,000, or 45,000.50 where there are fen."""
    whole, fen = divmod(amount_fen, 100)
    return f"{whole:,}.{fen:02d}" if fen else f"{whole:,}"


def events_of(
    payout: Payout, reversal: Reversal | None, receivables: Sequence[Receivable]
) -> list[MoneyEvent]:
    """The money events of a payout up to now, the first one first."""
    if payout.state is PayoutState.AUTHORISED:
        return []
    parts = tuple((part.lender_id, part.amount_fen) for part in payout.parts)
    reasons = _reasons(payout)

    def event(name: str) -> MoneyEvent:
        return MoneyEvent(name, payout.amount_fen, parts, payout.household_fen, reasons)

    found = [event("corrected" if payout.corrections_answered else "divided")]
    if payout.state.is_over:
        found.append(event("paid"))
    if payout.state is PayoutState.REVERSED:
        taken = event("reversed")
        why = reversal.reason if reversal else ""
        found.append(MoneyEvent("reversed", taken.amount_fen, parts, payout.household_fen, (why,)))
    for each in receivables:
        if each.debtor_kind is PayeeKind.HOUSEHOLD and each.paid_fen:
            left = Fen(each.amount_fen - each.paid_fen)
            found.append(MoneyEvent("repaid", each.paid_fen, (), left, ()))
    return found


def _reasons(payout: Payout) -> tuple[str, ...]:
    if not payout.parts:
        return (NOTHING_OWED,)
    rest = DEBT_PAID_OFF if payout.household_fen else DEBT_LEFT
    kept_less = any(
        i.correction and i.state is InstructionState.CONFIRMED for i in payout.instructions
    )
    return (ASSIGNED, *((OVERPAID,) if kept_less else ()), rest)


def text_of(event: MoneyEvent, templates: PayoutNotes, names: Mapping[str, str]) -> str:
    """The programme's template, filled in; `names` are those of the lenders."""
    paid = "、".join(f"{names.get(lender, lender)}{yuan(fen)}元" for lender, fen in event.parts)
    because = "，".join(BECAUSE.get(reason, OTHER_REASON) for reason in event.reasons)
    template: str = getattr(templates, event.name)
    return template.format(
        amount=yuan(event.amount_fen),
        lenders=yuan(sum(fen for _, fen in event.parts)),
        household=yuan(event.household_fen),
        parts=paid or NO_LENDER,
        because=because,
    )
