"""Loans: brief reports: the figures that are added up by sets, and which questions they answer."""

from collections.abc import Collection
from dataclasses import dataclass

from services.loans.rules.reports import AREAS, Dimension

AREA_DIGITS_MAX = 12
"""Months' ends are kept by village; an area within one is asked of the loans themselves."""

BRIEF = frozenset(AREAS) | {
    Dimension.LENDER,
    Dimension.PROGRAMME,
    Dimension.PRODUCT,
    Dimension.BORROWER_TYPE,
}
"""What a row of a brief report may be about: what is written in a loan's own row."""


@dataclass(frozen=True, slots=True)
class Brief:
    """The figures of a brief report: whole numbers that add up."""

    loans: int = 0
    owing_loans: int = 0
    lent_fen: int = 0
    disbursed_fen: int = 0
    collected_principal_fen: int = 0
    balance_fen: int = 0
    interest_owed_fen: int = 0
    overdue_principal_fen: int = 0
    non_performing_loans: int = 0
    non_performing_fen: int = 0
    covered_fen: int = 0
    """Principal that a cover stands for, paid out or not: what a fund's leverage is of (S26)."""


def can_be_brief(by: Collection[Dimension], areas: Collection[str]) -> bool:
    """Whether sets know the answer to a question by these keys, within these areas."""
    return BRIEF.issuperset(by) and all(len(area) <= AREA_DIGITS_MAX for area in areas)
