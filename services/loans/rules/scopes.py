"""Loans: the scopes in which a loan may be stopped, and who sees them. Pure."""

from services.loans.model import Application, Borrower, Breaker, BreakerScope, Loan

Scope = tuple[str, str]
"""Its kind and its id."""
AREAS = (BreakerScope.VILLAGE, BreakerScope.TOWNSHIP)
OWN = (BreakerScope.LENDER, BreakerScope.OUTLET)
"""Scopes that are one lender's business."""


def outlet_of(lender_id: str, outlet_code: str) -> str:
    """An outlet's id; a lender that names none counts as one outlet."""
    return f"{lender_id}/{outlet_code}" if outlet_code else lender_id


def scopes_of_loan(loan: Loan) -> tuple[Scope, ...]:
    """Every scope that a loan is in."""
    return _scopes(
        loan.area_code, loan.programme, loan.product_id, (loan.lender_id, loan.outlet_code)
    )


def scopes_of_application(application: Application, borrower: Borrower) -> tuple[Scope, ...]:
    """Every scope that the loan would be in."""
    return _scopes(
        borrower.area_code,
        application.programme_id,
        application.product_id,
        (application.lender_id, application.outlet_code),
    )


def _scopes(
    area_code: str, programme: str, product_id: str, lender: tuple[str, str]
) -> tuple[Scope, ...]:
    programme_id = programme.split("@", maxsplit=1)[0]
    return (
        (BreakerScope.VILLAGE.value, area_code[:12]),
        (BreakerScope.TOWNSHIP.value, area_code[:9]),
        (BreakerScope.COUNTY.value, area_code[:6]),
        (BreakerScope.PROGRAMME.value, programme_id),
        (BreakerScope.PRODUCT.value, f"{programme_id}/{product_id}"),
        (BreakerScope.LENDER.value, lender[0]),
        (BreakerScope.OUTLET.value, outlet_of(*lender)),
    )


def lender_of(breaker: Breaker) -> str:
    """The lender whose own business has stopped; empty where it is not one lender's."""
    return breaker.scope_id.split("/", maxsplit=1)[0] if breaker.scope in OWN else ""
