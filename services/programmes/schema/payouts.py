"""Schema: how long payees and insurers may take to answer, and what a household is told."""

from string import Formatter
from typing import Annotated, Self

from pydantic import Field, model_validator

from services.programmes.schema.values import Clause

NOTE_FIELDS = frozenset({"amount", "lenders", "household", "parts", "because"})
"""What a template may name: amounts in yuan, the lenders' parts as a list, the reasons."""

EVENTS = ("divided", "corrected", "paid", "reversed", "repaid")


class PayoutNotes(Clause):
    """What a household is told at each money event, one template an event."""

    divided: str = "已核定赔付{amount}元，其中偿还{parts}，您得{household}元，因为{because}。"
    corrected: str = "赔付{amount}元重新分配：偿还{parts}，您得{household}元，因为{because}。"
    paid: str = "已赔付{amount}元，其中偿还{parts}，您得{household}元，因为{because}。"
    reversed: str = (
        "赔付{amount}元已撤销，{parts}由贷款机构退回，"
        "您所得{household}元应退还保险公司，不会自动扣款，因为{because}。"
    )
    repaid: str = "已收到您退还的赔付款{amount}元，尚欠{household}元。"

    @model_validator(mode="after")
    def _fields(self) -> Self:
        for event in EVENTS:
            names = {name for _, name, _, _ in Formatter().parse(getattr(self, event)) if name}
            if unknown := sorted(names - NOTE_FIELDS):
                raise ValueError(f"the note {event} names {unknown[0]}, which it is not given")
        return self


class PayoutRules(Clause):
    """Deadlines around a payout, and its notes."""

    answer_days: Annotated[int, Field(ge=1, le=60)] = 3
    """Days after which an instruction that nobody answered is unknown (S44)."""
    complaint_working_days: Annotated[int, Field(ge=1, le=250)] = 15
    notes: PayoutNotes = PayoutNotes()
