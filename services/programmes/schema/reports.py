"""Schema: reports, bulletins and checks, early warnings, ledgers of issues, publications."""

from enum import StrEnum
from typing import Literal, Self

from pydantic import model_validator

from services.programmes.schema.values import (
    Clause,
    Code,
    Days,
    Every,
    Organ,
    OrOpen,
    duplicates,
)


class Grain(StrEnum):
    """What one line of a statistic, or one check, is about."""

    PROGRAMME = "programme"
    COUNTY = "county"
    TOWNSHIP = "township"
    VILLAGE = "village"
    BANK = "bank"
    OUTLET = "outlet"
    HOUSEHOLD = "household"
    LOAN = "loan"
    POOLED_PROJECT = "pooled_project"


class ReportKind(StrEnum):
    """What is made: something to read, something to meet about, or something to look into."""

    REPORT = "report"
    BULLETIN = "bulletin"
    MONITORING = "monitoring"
    ASSESSMENT = "assessment"
    MEETING = "meeting"
    SELF_CHECK = "self_check"
    POST_LOAN_CHECK = "post_loan_check"
    CROSS_CHECK = "cross_check"
    OFF_SITE_CHECK = "off_site_check"
    EVALUATION = "evaluation"


CHECKS = frozenset(
    {
        ReportKind.SELF_CHECK,
        ReportKind.POST_LOAN_CHECK,
        ReportKind.CROSS_CHECK,
        ReportKind.OFF_SITE_CHECK,
        ReportKind.EVALUATION,
    }
)
"""Work that leaves a working paper, and whose findings go to the ledger of issues."""


class Section(StrEnum):
    """A part of a bulletin that is computed."""

    DUE_THIS_MONTH = "due_this_month"
    OVERDUE = "overdue_principal_and_interest"
    DUE_NEXT_MONTH = "due_next_month"
    RISK_CHANGES = "risk_changes"


class Report(Clause):
    """A report or check that is due again and again."""

    id: Code
    kind: ReportKind = ReportKind.REPORT
    every: OrOpen[Every]
    by: OrOpen[tuple[Organ, ...]]
    to: tuple[Organ, ...] = ()
    per: Grain = Grain.PROGRAMME
    sections: tuple[Section, ...] = ()
    indicators: tuple[Code, ...] = ()
    looks_at: tuple[Code, ...] = ()
    only_while_overdue: bool = False

    @model_validator(mode="after")
    def _parts(self) -> Self:
        if self.sections and self.kind is not ReportKind.BULLETIN:
            raise ValueError("only a bulletin has sections")
        if self.looks_at and self.kind not in CHECKS:
            raise ValueError("only a check looks at something")
        if twice := duplicates([*map(str, self.sections), *self.indicators, *self.looks_at]):
            raise ValueError(f"{twice[0]} is named twice")
        return self

    @property
    def is_check(self) -> bool:
        """Whether it leaves a working paper."""
        return self.kind in CHECKS


class EarlyWarning(Clause):
    """Word of a loan near or past its maturity, or of an industry at risk."""

    id: Code
    of: Literal["maturing", "matured", "overdue", "industry_risk"]
    lead_days: OrOpen[Days] | None = None
    raised_by: tuple[Organ, ...] = ()
    to: tuple[Organ, ...] = ()

    @model_validator(mode="after")
    def _lead(self) -> Self:
        if (self.of == "maturing") != (self.lead_days is not None):
            word = "needs" if self.of == "maturing" else "takes no"
            raise ValueError(f"a warning of {self.of} {word} lead_days")
        if self.of == "industry_risk" and not self.raised_by:
            raise ValueError("raised_by says who sees an industry at risk")
        return self


class IssueLedger(Clause):
    """Problems are registered with a deadline, rectified, and crossed off."""

    id: Code
    of: Literal["overdue_loan", "data_issue", "compliance_issue"]
    rectify_within_days: OrOpen[Days]


class ComplianceCheck(Clause):
    """One thing that must not be found at a loan; a hit is an issue."""

    id: Code


class RiskList(Clause):
    """Loans of this class and worse are listed and reported."""

    from_tier: Literal["special_mention", "substandard", "doubtful", "loss"]
    reported_to: OrOpen[tuple[Organ, ...]] = ()


class Deputies(Clause):
    """Who does one of these duties has a deputy, who is another person (S52)."""

    duties: tuple[Code, ...]

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.duties:
            raise ValueError("duties names nothing")
        return self


class Publication(Clause):
    """
    What the programme makes public, where, and in which parts.

    Of persons only the decision is kept; the platform never publishes their names (S47).
    """

    id: Code
    of: Literal["terms", "totals", "compensations", "persons"]
    by_platform: bool
    places: tuple[Code, ...] = ()
    sections: tuple[Code, ...] = ()

    @model_validator(mode="after")
    def _persons(self) -> Self:
        if self.of == "persons" and self.by_platform:
            raise ValueError("the platform does not publish persons: by_platform is false (S47)")
        return self


class Analytics(Clause):
    """Which lines statistics have, what a cohort is, and how maturities are laid out."""

    grains: tuple[Grain, ...] = ()
    cohort_by: tuple[Literal["disbursement_year", "disbursement_month", "batch"], ...] = ()
    maturity_wall: Literal["year", "month"] | None = None

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if twice := duplicates([*map(str, self.grains), *self.cohort_by]):
            raise ValueError(f"{twice[0]} is named twice")
        return self
