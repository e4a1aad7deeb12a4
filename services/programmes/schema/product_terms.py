"""Schema: the clauses of a loan product that stand beside its price: who uses it, how, how long."""

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from services.programmes.schema.values import (
    Clause,
    Code,
    FenAmount,
    Months,
    Organ,
    OrOpen,
    RatePpm,
)

Heads = Annotated[int, Field(ge=1, le=10_000)]


class AmountTier(Clause):
    """A borrower of this standing or kind has its own smallest and largest amount."""

    id: Code
    min_principal_fen: FenAmount | None = None
    max_principal_fen: OrOpen[FenAmount]


def in_order(least: int, most: int) -> None:
    """Refuse amounts between which nothing lies."""
    if least > most:
        raise ValueError("min_principal_fen is above max_principal_fen")


class Revolving(Clause):
    """A limit drawn and repaid at will until its last valid day (S33)."""

    validity_months: OrOpen[Months]
    interest_on: Literal["drawn_balance"] = "drawn_balance"


class FundingSource(Clause):
    """Whose money is lent, in which counties, and the highest rate it bears."""

    id: Literal["own_funds", "poverty_relending", "agri_relending"]
    counties: Literal["all", "poor", "other"] = "all"
    max_rate_ppm: RatePpm | None = None


class Fee(Clause):
    """A cost besides interest that may be charged, and at most how much."""

    id: Code
    max_fen: FenAmount | None = None
    max_rate_ppm: RatePpm | None = None

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if (self.max_fen is None) == (self.max_rate_ppm is None):
            raise ValueError("a fee needs max_fen or max_rate_ppm, and not both")
        return self


class Backing(Clause):
    """A fund of its own behind one product, and how many times it may be lent."""

    fund: Code
    initial_fen: FenAmount
    multiple: OrOpen[Annotated[int, Field(ge=1, le=1_000)]]


class UseOfLoan(Clause):
    """Who must be the borrower too, in which modes the money works, what nobody may do."""

    borrower_is: tuple[Literal["user", "repayer"], ...] = ()
    modes: tuple[Code, ...] | None = None
    prohibited_modes: tuple[Code, ...] = ()
    prohibited_conduct: tuple[Code, ...] = ()

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.modes == ():
            raise ValueError("modes names no mode")
        if both := sorted(set(self.modes or ()) & set(self.prohibited_modes)):
            raise ValueError(f"mode {both[0]} is both allowed and prohibited")
        return self


class Renewal(Clause):
    """A new loan for the old one; `carried` moves no principal in cash (S34)."""

    principal: OrOpen[Literal["carried", "repaid"]]
    conditions: OrOpen[tuple[Code, ...]]
    rechecks: tuple[Literal["age", "blacklist"], ...] = ()


class Extension(Clause):
    """A later maturity for the same loan."""

    max_months: OrOpen[Months]
    conditions: OrOpen[tuple[Code, ...]] = ()


class GroupLending(Clause):
    """Households that borrow together: who signs, who answers, how many."""

    borrower: Literal["lead", "society", "each"]
    liability: Literal["lead", "joint"]
    min_households: Heads | None = None
    max_households: Heads | None = None

    @model_validator(mode="after")
    def _sizes(self) -> Self:
        least, most = self.min_households, self.max_households
        if least is not None and most is not None and most < least:
            raise ValueError("max_households is below min_households")
        return self


class PooledLending(Clause):
    """Loans borrowed one by one and invested together: only in projects of the library."""

    library_levels: tuple[Literal["province", "city", "county"], ...]
    project_grades: tuple[Code, ...]
    whitelist_required: bool

    @model_validator(mode="after")
    def _library(self) -> Self:
        if not self.library_levels or not self.project_grades:
            raise ValueError("a library has levels, and grades for its projects, best first")
        return self


class Phase(Clause):
    """From this day on, whether the product is granted."""

    valid_from: Annotated[OrOpen[date], Field(alias="from")]
    state: Literal["open", "suspended", "whitelist_only"]


class SelfService(Clause):
    """Drawing without a counter: when, and how the borrower proves who draws."""

    all_day: bool
    identity_proof: Code


class LaterStep(Clause):
    """A step of the process after the approval, and who takes it."""

    step: Code
    organ: Organ
