"""Schema: grants, rewards and relief: what borrowers get, on which condition, from whom."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from services.programmes.schema.values import (
    BorrowerClass,
    Clause,
    Code,
    FenAmount,
    Open,
    Organ,
    OrOpen,
    Pct,
)


class GrantKind(StrEnum):
    """What a grant pays for."""

    CASH = "cash"
    INTEREST = "interest"
    PREMIUM = "premium"
    DATA_FEE = "data_fee"
    TRAINING = "training"


class Grant(Clause):
    """Money or a service for borrowers who meet the conditions; interest follows the product."""

    id: Code
    kind: GrantKind
    borrower_classes: tuple[BorrowerClass, ...] = ()
    requires: tuple[Code, ...] = ()
    amount_fen: OrOpen[FenAmount] | None = None
    share_pct: OrOpen[Pct] | None = None
    payer: OrOpen[Organ]
    once: bool = False

    @model_validator(mode="after")
    def _one_measure(self) -> Self:
        if self.amount_fen is not None and self.share_pct is not None:
            raise ValueError(f"grant {self.id} has amount_fen or share_pct, not both")
        if self.kind is GrantKind.CASH and self.amount_fen is None:
            raise ValueError(f"grant {self.id} of cash needs amount_fen")
        if self.kind is GrantKind.INTEREST and self.amount_fen is not None:
            raise ValueError(f"grant {self.id} pays the interest its product says, no amount")
        if self.kind is GrantKind.PREMIUM and self.share_pct is None:
            raise ValueError(f"grant {self.id} of premium needs share_pct")
        return self


class PaymentCard(Clause):
    """A card with a small limit and a discount at named kinds of venues."""

    limit_fen: FenAmount
    discount_pct: Pct
    venue_kinds: Annotated[int, Field(ge=1, le=100)]


class Reward(Clause):
    """What a borrower of good standing gets."""

    id: Code
    requires: tuple[Code, ...]
    effects: tuple[Literal["higher_limit", "subsidy", "honour", "lower_rate", "priority"], ...] = ()
    card: PaymentCard | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.requires:
            raise ValueError(f"reward {self.id} has no condition")
        if not self.effects and self.card is None:
            raise ValueError(f"reward {self.id} gives nothing")
        return self


class SubsidyBudget(Clause):
    """What a county sets aside for interest subsidies every year, at least."""

    min_yearly_fen: FenAmount
    payer: Organ = Organ.FINANCE_BUREAU


class HardshipRelief(Clause):
    """What a household in hardship is let off, and how it may repay."""

    requires: tuple[Code, ...]
    interest_reduction_pct: OrOpen[Pct] | None = None
    flexible_repayment: bool = False

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.requires:
            raise ValueError("hardship_relief has no condition")
        if self.interest_reduction_pct is None and not self.flexible_repayment:
            raise ValueError("hardship_relief gives nothing")
        return self


def whole_at_most(grants: tuple[Grant, ...]) -> None:
    """No more than the whole of a premium or fee from all its payers."""
    shares: dict[tuple[GrantKind, tuple[Code, ...]], int] = {}
    for grant in grants:
        if grant.share_pct is None or isinstance(grant.share_pct, Open):
            continue
        key = (grant.kind, grant.requires)
        shares[key] = shares.get(key, 0) + grant.share_pct
        if shares[key] > 100:
            raise ValueError(f"grants of {grant.kind.value} pay {shares[key]} % together")
