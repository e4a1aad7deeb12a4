"""Cases: a decision in a case's own words; one module a family."""

from collections.abc import Callable, Mapping

from services.programmes.cases import (
    chain,
    funds,
    insurance,
    loans,
    monitoring,
    products,
    scoring,
    settlement,
)
from services.programmes.cases.values import Case

RULES: Mapping[str, Callable[[Case], Case]] = {
    **chain.RULES,
    **funds.RULES,
    **insurance.RULES,
    **loans.RULES,
    **monitoring.RULES,
    **products.RULES,
    **scoring.RULES,
    **settlement.RULES,
}
"""A case's rule name to the function that decides it."""
