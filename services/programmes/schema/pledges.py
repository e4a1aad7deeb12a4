"""Schema: what secures a loan: collateral above the loan, living assets pledged or deposited."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from services.programmes.schema.values import Clause, Code, Every, OrOpen, Pct, RatePpm


class CollateralCover(Clause):
    """The collateral is worth more than this part of the loan (strict, S01)."""

    more_than_pct: Annotated[int, Field(ge=1, le=1_000)]


class AdvancePledge(Clause):
    """Assets valued on the day of the pledge; the lender advances at most this part (S49)."""

    id: Code
    type: Literal["advance"]
    assets: tuple[Code, ...]
    valued_at: Literal["market_price", "appraisal"] = "market_price"
    advance_pct: OrOpen[Pct]
    price_source: OrOpen[Code] | None = None
    revalued_every: Every | None = None

    @model_validator(mode="after")
    def _assets(self) -> Self:
        if not self.assets:
            raise ValueError("a pledge names at least one kind of asset")
        return self


class InterestRefund(Clause):
    """Whoever keeps the assets pays the loan's interest back once they are sold to it."""

    when: Literal["sold_to_keeper"]
    requires: tuple[Code, ...] = ()


class DepositPledge(Clause):
    """Living assets deposited with a keeper: they bear interest and secure a loan (S49)."""

    id: Code
    type: Literal["deposit"]
    asset: Code
    keeper: Code
    deposit_pct: Pct
    monthly_rate_ppm: RatePpm
    price_source: OrOpen[Code] | None = None
    revalued_every: Every | None = None
    refund: InterestRefund | None = None


Pledge = Annotated[AdvancePledge | DepositPledge, Field(discriminator="type")]


class Security(Clause):
    """What the lender may ask for besides the borrower's word."""

    collateral: Literal["none", "optional", "required"] = "none"
    guarantor: Literal["none", "county_recommendation", "required"] = "none"
    guarantor_parties: tuple[Code, ...] = ()
    cover: CollateralCover | None = None
    pledges: tuple[Pledge, ...] = ()

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.collateral == "none" and (self.cover or self.pledges):
            raise ValueError("collateral is none, yet cover or pledges ask for it")
        if self.guarantor == "none" and self.guarantor_parties:
            raise ValueError("guarantor is none, yet guarantor_parties names one")
        return self
