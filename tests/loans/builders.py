"""Values of loans, whole and valid; a test names only what it is about."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any
from uuid import UUID

from services.kernel.ids import new_id
from services.kernel.money import Fen
from services.loans.model import (
    Application,
    AreaBalance,
    Borrower,
    Breaker,
    BreakerScope,
    Decision,
    Interest,
    Loan,
    LoanState,
    Payout,
    Repayment,
)
from services.loans.rules.lending import Actor
from tests.loans.county import BANK, COUNTY, COVERED, OPENED, ORDINARY, REF, VILLAGE

YUAN = 100


def a_borrower(**changes: Any) -> Borrower:
    """A poor household with room for 100,000 yuan and no loan."""
    made = Borrower(
        county_code=COUNTY,
        household_id=new_id(),
        area_code=VILLAGE,
        status="registered_poor",
        limit_fen=Fen(100_000 * YUAN),
        grade="A",
        limit_valid_until=date(2022, 12, 31),
        exposure_fen=Fen(0),
    )
    return replace(made, **changes)


def an_application(borrower: Borrower | None = None, **changes: Any) -> Application:
    """For 30,000 yuan over a year, which nothing forbids."""
    made = Application(
        household_id=borrower.household_id if borrower else new_id(),
        lender_id=BANK,
        programme_id="plain",
        product_id=COVERED,
        principal_fen=Fen(30_000 * YUAN),
        term_months=12,
        purpose="beekeeping",
        used_in_area=VILLAGE,
        assignment_evidence="sha256:ab",
    )
    return replace(made, **changes)


def a_loan(**changes: Any) -> Loan:
    """An application that nobody has decided yet."""
    made = Loan(
        county_code=COUNTY,
        loan_id=new_id(),
        version=1,
        household_id=new_id(),
        area_code=VILLAGE,
        lender_id=BANK,
        programme=REF,
        product_id=COVERED,
        borrower_class="poor_household",
        state=LoanState.IN_REVIEW,
        next_step="village_accepts",
        decided=(),
        refusal_reasons=(),
        principal_fen=Fen(30_000 * YUAN),
        term_months=12,
        purpose="beekeeping",
        used_in_area=VILLAGE,
        assignment_evidence="sha256:ab",
        required_covers=(),
        covers_in_force=(),
        applied_on=OPENED,
        sla_due_on=None,
        rate_ppm=0,
        subsidised=False,
        disbursed_on=None,
        matures_on=None,
        notice_on=None,
        outstanding_fen=Fen(0),
        interest=None,
        overdue_days=0,
        five_tier_class="normal",
        non_performing_on=None,
        subrogated_fen=Fen(0),
        compensated=False,
        covered=False,
        method="bullet",
        next_due_on=None,
        suspense_fen=Fen(0),
        postings=0,
    )
    return replace(made, **changes)


def an_approved_loan(**changes: Any) -> Loan:
    """Covered, insured, ready to be paid out."""
    made = a_loan(
        state=LoanState.APPROVED,
        next_step="",
        decided=(("village_accepts", "vil-1-p1"), ("bank_approves", "rcb-1-p2")),
        required_covers=("accident",),
        covers_in_force=("accident",),
        rate_ppm=36_000,
        subsidised=True,
        covered=True,
    )
    return replace(made, **changes)


def an_active_loan(
    principal_fen: int = 30_000 * YUAN,
    *,
    interest_fen: int = 0,
    disbursed_on: date = OPENED,
    **changes: Any,
) -> Loan:
    """Owed in full since a day, by an ordinary household, with interest already posted if named."""
    made = a_loan(
        state=LoanState.ACTIVE,
        next_step="",
        product_id=ORDINARY,
        borrower_class="non_poor_household",
        principal_fen=Fen(principal_fen),
        outstanding_fen=Fen(principal_fen),
        rate_ppm=36_000,
        disbursed_on=disbursed_on,
        matures_on=date(disbursed_on.year + 1, disbursed_on.month, disbursed_on.day),
        interest=Interest(
            accrued_through=disbursed_on,
            household_numerator=interest_fen * 360 * 1_000_000,
            household_posted_fen=Fen(interest_fen),
            treasury_numerator=0,
            treasury_posted_fen=Fen(0),
            owed_fen=Fen(interest_fen),
        ),
    )
    made = replace(made, **changes)
    return made if "next_due_on" in changes else replace(made, next_due_on=made.matures_on)


def interest_of(loan: Loan) -> Interest:
    """The interest of a loan that has been paid out."""
    assert loan.interest is not None
    return loan.interest


def an_actor(role: str = "bank", institution_id: str = BANK, post: int = 1) -> Actor:
    return Actor(institution_id, role, f"{institution_id}-p{post}")


def a_decision(step: str, actor: Actor, *, approve: bool = True) -> Decision:
    """A step decided by an actor; the loan is the one it is held against."""
    return Decision(new_id(), step, approve, "", actor.person_id)


def a_repayment(amount_fen: int, on: date = OPENED, loan_id: UUID | None = None) -> Repayment:
    return Repayment(loan_id or new_id(), Fen(amount_fen), on)


def a_payout(amount_fen: int, *groups: Sequence[UUID], on: date = OPENED) -> Payout:
    return Payout(
        payout_id=new_id(),
        household_id=new_id(),
        amount_fen=Fen(amount_fen),
        value_date=on,
        groups=tuple(tuple(group) for group in groups),
    )


def a_breaker(*effects: str, scope_id: str = VILLAGE, tripped: bool = True) -> Breaker:
    scope = BreakerScope.VILLAGE if len(scope_id) == 12 else BreakerScope.TOWNSHIP
    return Breaker(COUNTY, scope, scope_id, tripped, 1, effects, 6, 100, 1)


def a_balance(village: str, bad_fen: int, owed_fen: int) -> AreaBalance:
    return AreaBalance(village, Fen(owed_fen), Fen(bad_fen))
