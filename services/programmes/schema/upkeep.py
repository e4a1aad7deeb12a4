"""Schema: how a fund is filled and kept full, and what stands before a payment out of it."""

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from services.programmes.schema.values import (
    Clause,
    Code,
    FenAmount,
    Organ,
    OrOpen,
    RatePpm,
)


class Contribution(Clause):
    """Money that somebody puts into a fund; without an amount it is a permitted source."""

    id: Code
    amount_fen: FenAmount | None = None


class TopUp(Clause):
    """When a fund gets more money; what the clauses ask for adds up to the largest (C15)."""

    # Up to the outstanding loans divided by the fund's multiple.
    to_ratio: bool = False
    with_volume: bool = False
    # In step with the loans paid out, or as soon as it is short.
    injected: Literal["when_short", "in_batches"] = "when_short"
    # A part of the loans outstanding at the year's end, each year, by the day given (S27).
    yearly_ppm: RatePpm | None = None
    yearly_due: Annotated[str | None, Field(pattern=r"^[0-9]{2}-[0-9]{2}$")] = None

    @model_validator(mode="after")
    def _yearly(self) -> Self:
        if (self.yearly_ppm is None) != (self.yearly_due is None):
            raise ValueError("yearly_ppm and yearly_due (MM-DD) belong together")
        if self.yearly_due is not None:
            _check_day(self.yearly_due)
        return self


def _check_day(text: str) -> None:
    try:
        # A year without 29 February: the day must come every year.
        date.fromisoformat(f"2001-{text}")
    except ValueError:
        raise ValueError(f"{text} is not a day of every year") from None


class PublicNotice(Clause):
    """A payment is published for objection; `graded` is at each level, village to county."""

    graded: bool = False
    platform: Code | None = None
    days: OrOpen[Annotated[int, Field(ge=1, le=365)]]


class PaymentControl(Clause):
    """What must have been done before the fund pays."""

    payments: tuple[Literal["compensation", "interest_subsidy"], ...]
    audit: bool = False
    public_notice: PublicNotice | None = None
    approved_by: tuple[Organ, ...] = ()

    @model_validator(mode="after")
    def _controls(self) -> Self:
        if not self.payments:
            raise ValueError("payments names none")
        if not self.audit and self.public_notice is None and not self.approved_by:
            raise ValueError("a control asks for audit, public_notice or approved_by")
        return self


class CaseDeadlines(Clause):
    """How long each step of a compensation case may take; what is left out has no deadline."""

    # Counted from the first day on which the case could have been filed.
    file_within_days: Annotated[int, Field(ge=1, le=3650)] | None = None
    verify_working_days: Annotated[int, Field(ge=1, le=250)] | None = None
    approve_working_days: Annotated[int, Field(ge=1, le=250)] | None = None
    pay_working_days: Annotated[int, Field(ge=1, le=250)] | None = None
    repair_days: Annotated[int, Field(ge=1, le=365)] | None = None
    appeal_days: Annotated[int, Field(ge=1, le=365)] | None = None


class CoverExpiry(Clause):
    """When cover lapses by itself: a loan that is not paid out, or nobody files a case for."""

    undisbursed_days: Annotated[int, Field(ge=1, le=3650)] | None = None
    after_maturity_days: Annotated[int, Field(ge=1, le=3650)] | None = None

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.undisbursed_days is None and self.after_maturity_days is None:
            raise ValueError("cover that never expires needs no clause")
        return self


class FeeSubsidy(Clause):
    """What lenders are paid for lending, and whoever collected the credit data for each file."""

    rate_ppm: RatePpm
    of: Literal["disbursed"]
    per_household_fen: FenAmount | None = None
    per_household_to: Literal["collector", "lender"] = "collector"
