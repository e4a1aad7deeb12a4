"""Loans: from application to disbursement. Pure decisions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import cast
from uuid import UUID

from services.kernel.errors import Denied, Refused
from services.kernel.money import Fen
from services.loans.model import (
    Application,
    Borrower,
    Breaker,
    Decision,
    Loan,
    LoanState,
)
from services.loans.rules import schedule
from services.programmes import calendars, limits, pricing
from services.programmes.schema.loans import ApprovalStep, LoanProduct, Pricing
from services.programmes.schema.values import BorrowerClass, known
from services.programmes.terms import Terms

LENDER_ROLES = ("bank", "mutual_aid_society", "insurer")
"""Roles of institutions that lend; the pack's word for all of them is `lender`."""

CLASS_OF_STATUS: Mapping[str, BorrowerClass] = {
    "registered_poor": BorrowerClass.POOR_HOUSEHOLD,
    "near_poor": BorrowerClass.NEAR_POOR_HOUSEHOLD,
    "non_poor": BorrowerClass.NON_POOR_HOUSEHOLD,
    "five_guarantee": BorrowerClass.POOR_HOUSEHOLD,
}

NOTHING = Fen(0)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: an institution in its role, and the person behind it."""

    institution_id: str
    role: str
    person_id: str


def village_of(area_code: str) -> str:
    """The village of a household's area, which may be a villager group."""
    return area_code[:12]


def township_of(area_code: str) -> str:
    """The township of an area."""
    return area_code[:9]


def chain(product: LoanProduct) -> tuple[ApprovalStep, ...]:
    """The product's approval chain; refused while it is open."""
    return known(product.approval_chain)


def apply(
    application: Application,
    *,
    loan_id: UUID,
    borrower: Borrower,
    terms: Terms,
    parties: Mapping[str, Sequence[str]],
    breakers: Sequence[Breaker],
    today: date,
) -> Loan:
    """
    Take an application in; what a rule forbids is kept as refused, with all reasons at once.

    Raises NotFound for an unknown product, Refused while a value that is needed is open.
    """
    product = terms.product(application.product_id)
    reasons = _reasons_against(
        application, borrower, product, terms=terms, parties=parties, breakers=breakers, today=today
    )
    first = chain(product)[0]
    sla = None if product.sla is None else known(product.sla)
    due_on = None
    if sla is not None and sla.unit == "working_days":
        due_on = calendars.working_days_after(terms.calendar, today, sla.value)
    return Loan(
        county_code=borrower.county_code,
        loan_id=loan_id,
        version=0,
        household_id=borrower.household_id,
        area_code=borrower.area_code,
        lender_id=application.lender_id,
        programme=terms.ref,
        product_id=product.id,
        borrower_class=str(CLASS_OF_STATUS.get(borrower.status, "")),
        state=LoanState.REFUSED if reasons else LoanState.IN_REVIEW,
        next_step="" if reasons else first.step,
        decided=(),
        refusal_reasons=tuple(reasons),
        principal_fen=application.principal_fen,
        term_months=application.term_months,
        purpose=application.purpose,
        used_in_area=application.used_in_area,
        assignment_evidence=application.assignment_evidence,
        required_covers=(),
        covers_in_force=(),
        applied_on=today,
        sla_due_on=due_on,
        rate_ppm=0,
        subsidised=False,
        disbursed_on=None,
        matures_on=None,
        notice_on=None,
        outstanding_fen=NOTHING,
        interest=None,
        overdue_days=0,
        five_tier_class="normal",
        non_performing_on=None,
        subrogated_fen=NOTHING,
        compensated=False,
        covered=False,
        method=_method(product),
        next_due_on=None,
        suspense_fen=NOTHING,
        postings=0,
    )


def _method(product: LoanProduct) -> str:
    """How it is paid back; of several that the programme allows, the one it names first."""
    said = known(product.interest_settlement)
    return str(said[0] if isinstance(said, tuple) else said)


def _reasons_against(
    application: Application,
    borrower: Borrower,
    product: LoanProduct,
    *,
    terms: Terms,
    parties: Mapping[str, Sequence[str]],
    breakers: Sequence[Breaker],
    today: date,
) -> list[str]:
    reasons: list[str] = []
    # Nobody else could ever decide the lender's step, and the household's limit would stay taken.
    if application.lender_id not in (*parties.get("lender", ()), *parties.get(product.lender, ())):
        reasons.append("LENDER_NOT_A_PARTY")
    borrower_class = CLASS_OF_STATUS.get(borrower.status)
    if borrower_class is None:
        reasons.append("HOUSEHOLD_NOT_ELIGIBLE")
    elif borrower_class not in product.borrower_classes:
        reasons.append("PRODUCT_NOT_FOR_THIS_CLASS")
    valid = borrower.limit_valid_until is not None and today <= borrower.limit_valid_until
    if borrower.limit_fen == 0 or not valid:
        reasons.append("NO_CREDIT_LIMIT")
    else:
        cap = None if product.max_principal_fen is None else Fen(known(product.max_principal_fen))
        amount = limits.amount_check(
            application.principal_fen,
            credit_limit_fen=borrower.limit_fen,
            product_cap_fen=cap,
            outstanding_fen=borrower.exposure_fen,
        )
        if not amount.allowed:
            reasons.append(f"ABOVE_{amount.binding.upper()}")
    purpose = limits.purpose_check_of(
        product.purpose,
        application.purpose,
        used_in_area=application.used_in_area,
        required_area=limits.required_area(terms.loans.area_of_use, borrower.area_code),
    )
    if purpose.reason is not None:
        reasons.append(purpose.reason.upper())
    longest = None if product.max_term_months is None else known(product.max_term_months)
    if longest is not None and application.term_months > longest:
        reasons.append("TERM_TOO_LONG")
    if stopped(breakers, "stop_approve") is not None:
        reasons.append("BREAKER_TRIPPED")
    return reasons


def stopped(breakers: Sequence[Breaker], effect: str) -> Breaker | None:
    """The breaker that forbids something, if one does."""
    found = (breaker for breaker in breakers if breaker.tripped and effect in breaker.effects)
    return next(found, None)


def refuse_stopped(breakers: Sequence[Breaker], effect: str) -> None:
    """Refuse what a tripped breaker of these forbids."""
    breaker = stopped(breakers, effect)
    if breaker is not None:
        raise Refused(
            "BREAKER_TRIPPED",
            f"lending is stopped in {breaker.scope} {breaker.scope_id}: "
            f"{breaker.numerator} of {breaker.denominator}",
            message_zh="该区域贷款业务已熔断",
            facts={"scope": breaker.scope, "scope_id": breaker.scope_id},
        )


def decide(
    loan: Loan,
    decision: Decision,
    *,
    actor: Actor,
    terms: Terms,
    breakers: Sequence[Breaker],
    today: date,
) -> Loan:
    """
    Decide one step: refuse, pass on, ask for cover, or approve.

    The fund is asked before the last step; that step waits for its answer.
    """
    if loan.state is not LoanState.IN_REVIEW or decision.step != loan.next_step:
        raise Refused(
            "WRONG_STEP",
            f"the loan is {loan.state}, its open step is {loan.next_step or 'none'}",
            message_zh="当前环节不符",
            facts={"state": loan.state, "next_step": loan.next_step},
        )
    steps = chain(terms.product(loan.product_id))
    place = next(i for i, step in enumerate(steps) if step.step == decision.step)
    _require_organ(steps[place], loan, actor)
    if any(person == decision.person_id for _, person in loan.decided):
        raise Refused("SAME_PERSON", "one person decides one step only", message_zh="审贷须分离")
    decided = (*loan.decided, (decision.step, decision.person_id))
    if not decision.approve:
        return refuse(replace(loan, decided=decided), [f"STEP_{decision.step.upper()}_REFUSED"])
    refuse_stopped(breakers, "stop_approve")
    if place + 1 < len(steps):
        last_is_next = place + 2 == len(steps)
        model = terms.default_sharing_model(terms.product(loan.product_id))
        waits = last_is_next and model is not None
        return replace(
            loan,
            decided=decided,
            next_step=steps[place + 1].step,
            state=LoanState.AWAITING_COVER if waits else LoanState.IN_REVIEW,
        )
    _require_cover(loan, terms)
    return _approve(replace(loan, decided=decided), terms, today)


def _require_organ(step: ApprovalStep, loan: Loan, actor: Actor) -> None:
    organ = str(step.organ)
    fits = actor.role == organ or (organ == "lender" and actor.role in LENDER_ROLES)
    if not fits or (organ == "lender" and actor.institution_id != loan.lender_id):
        raise Denied(
            "NOT_THE_STEPS_ORGAN",
            f"step {step.step} is decided by {organ}",
            message_zh="本机构无权办理该环节",
        )


def _require_cover(loan: Loan, terms: Terms) -> None:
    if terms.default_sharing_model(terms.product(loan.product_id)) and not loan.covered:
        raise Refused(
            "FUND_COVER_RELEASED",
            "the fund's cover was released before the loan was paid out",
            message_zh="补偿金额度已释放",
        )


def _approve(loan: Loan, terms: Terms, today: date) -> Loan:
    product = terms.product(loan.product_id)
    benchmark = pricing.benchmark_rate_ppm(
        known(terms.loans.benchmark), term_months=loan.term_months, on=today
    )
    how = cast("Pricing", known(product.pricing))
    rate = pricing.loan_rate_ppm(how, benchmark_ppm=benchmark)
    subsidised = pricing.subsidised_rate_ppm(
        known(product.subsidy), loan_rate_ppm=rate, benchmark_ppm=benchmark
    )
    return replace(
        loan,
        state=LoanState.APPROVED,
        next_step="",
        rate_ppm=rate,
        subsidised=subsidised > 0,
        subsidy_rate_ppm=subsidised,
        required_covers=terms.required_covers(loan.borrower_class),
    )


def refuse(loan: Loan, reasons: Sequence[str]) -> Loan:
    """Refuse a loan that is still being decided."""
    return replace(
        loan,
        state=LoanState.REFUSED,
        next_step="",
        refusal_reasons=(*loan.refusal_reasons, *reasons),
    )


def cover_answered(loan: Loan, refusal: str) -> Loan:
    """Take the fund's answer; one that comes when nothing waits for it changes nothing."""
    if loan.state is LoanState.ACTIVE and not loan.covered and not refusal:
        # A loan that renews another is paid out before the fund has answered.
        return replace(loan, covered=True)
    if loan.state is not LoanState.AWAITING_COVER:
        return loan
    if refusal:
        return refuse(loan, [f"COVER_REFUSED_{refusal}"])
    return replace(loan, state=LoanState.IN_REVIEW, covered=True)


def cover_released(loan: Loan) -> Loan:
    """The fund gave cover back that had not been used yet, because lending stopped there."""
    undisbursed = loan.state in (LoanState.IN_REVIEW, LoanState.APPROVED)
    return replace(loan, covered=False) if undisbursed else loan


def insured(loan: Loan, cover_id: str) -> Loan:
    """Note that a cover is in force."""
    if cover_id in loan.covers_in_force:
        return loan
    return replace(loan, covers_in_force=(*loan.covers_in_force, cover_id))


def disburse(
    loan: Loan, *, actor: Actor, terms: Terms, breakers: Sequence[Breaker], today: date
) -> Loan:
    """Pay out an approved loan: insured, not stopped, by another person than the approver."""
    require_lender(loan, actor)
    if loan.state is not LoanState.APPROVED:
        raise Refused("LOAN_NOT_APPROVED", f"the loan is {loan.state}", message_zh="贷款未获批准")
    if any(person == actor.person_id for _, person in loan.decided):
        raise Refused("SAME_PERSON", "who approved may not pay out", message_zh="审贷须分离")
    if loan.covers_missing:
        missing = ", ".join(loan.covers_missing)
        raise Refused(
            "COVER_NOT_IN_FORCE",
            f"required covers are not in force: {missing}",
            message_zh="规定的保险尚未生效",
            facts={"covers": missing},
        )
    refuse_stopped(breakers, "stop_disburse")
    _require_cover(loan, terms)
    matures_on = calendars.add_months(today, loan.term_months)
    notice = terms.loans.maturity_notice
    return replace(
        loan,
        state=LoanState.ACTIVE,
        disbursed_on=today,
        matures_on=matures_on,
        notice_on=None
        if notice is None
        else calendars.notice_day(matures_on, known(notice.lead_months)),
        next_due_on=schedule.due_days(today, loan.term_months, schedule.Method(loan.method))[0],
    )


def require_lender(loan: Loan, actor: Actor) -> None:
    """Refuse anybody but the loan's own lender."""
    if actor.institution_id != loan.lender_id:
        raise Denied(
            "NOT_THE_LENDER", "only the loan's lender may do this", message_zh="非承贷机构"
        )
