"""Loans: from application to disbursement. Pure decisions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from services.kernel.errors import Denied, NotFound, Refused
from services.kernel.money import Fen
from services.kernel.values import replace
from services.loans.model import (
    Application,
    Borrower,
    Breaker,
    Contract,
    Decision,
    File,
    Finding,
    Loan,
    LoanState,
    Stated,
)
from services.loans.rules import checks, clock, position
from services.loans.rules.chain import (
    LENDER_ROLES,
    Actor,
    after,
    by_machine,
    chain,
    require_organ,
    sittings,
    still_open,
    waits_for_cover,
)
from services.loans.rules.checks import CLASS_OF_STATUS, Known, stopped
from services.programmes import calendars, drawdown, pricing
from services.programmes.schema.loans import ApprovalStep, LoanProduct, StepKind
from services.programmes.schema.values import known
from services.programmes.terms import Terms

NOTHING = Fen(0)
NO_PARTIES: Mapping[str, Sequence[str]] = {}

__all__ = [
    "CLASS_OF_STATUS",
    "LENDER_ROLES",
    "Actor",
    "Known",
    "apply",
    "chain",
    "decide",
    "stopped",
]


@dataclass(frozen=True, slots=True)
class TakenIn:
    """An application as it is kept: the loan that it asks for, and every rule against it."""

    loan: Loan
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of a step; the contract when it was the last."""

    loan: Loan
    step: ApprovalStep
    contract: Contract | None = None


def village_of(area_code: str) -> str:
    """The village of a household's area, which may be a villager group."""
    return area_code[:12]


def township_of(area_code: str) -> str:
    """The township of an area."""
    return area_code[:9]


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
    """The loan that an application of one household comes to, where nothing else is known."""
    of = Known(borrower=borrower, parties=parties, breakers=breakers)
    return take_in(application, of, loan_id=loan_id, terms=terms, today=today).loan


def take_in(
    application: Application,
    of: Known,
    *,
    loan_id: UUID,
    terms: Terms,
    today: date,
    now: datetime | None = None,
) -> TakenIn:
    """
    Take an application in; what a rule forbids is kept as refused, with all reasons at once.

    Raises NotFound for an unknown product, Refused while a value that is needed is open.
    """
    product = terms.product(application.product_id)
    steps = chain(product)
    found = checks.findings(application, of, terms=terms, today=today)
    if by_machine(product, application.stated.channel):
        found += _without_rate(application, product)
    own = checks.borrower_class(of, product)
    loan = _blank(
        application, of.borrower, loan_id=loan_id, terms=terms, product=product, today=today
    )
    reasons = tuple(dict.fromkeys(each.reason for each in found))
    loan = replace(loan, borrower_class=str(own or ""), refusal_reasons=reasons)
    due = clock.deadline(product, terms, clock_on=today, clock_at=now)
    if steps[0].starts_sla or not any(step.starts_sla for step in steps):
        loan = replace(loan, sla_due_on=due.due_on if due else None)
    if reasons:
        return TakenIn(replace(loan, state=LoanState.REFUSED, next_step=""), found)
    return TakenIn(_go_on(loan, steps, sittings(steps)[0], terms), found)


def _without_rate(application: Application, product: LoanProduct) -> tuple[Finding, ...]:
    """No person comes after the machine to name a rate that the product leaves open."""
    how = pricing.pricing_of(product, application.principal_fen)
    low, high = pricing.rate_bounds_ppm(how, reference_ppm=0)
    if low == high or application.stated.proposed_rate_ppm:
        return ()
    return (Finding("LOAN_RATE_MISSING", f"between {low} and {high} ppm, none proposed"),)


def _blank(
    application: Application,
    borrower: Borrower,
    *,
    loan_id: UUID,
    terms: Terms,
    product: LoanProduct,
    today: date,
) -> Loan:
    return Loan(
        county_code=borrower.county_code,
        loan_id=loan_id,
        version=0,
        household_id=borrower.household_id,
        area_code=borrower.area_code,
        lender_id=application.lender_id,
        programme=terms.ref,
        product_id=product.id,
        borrower_class="",
        state=LoanState.IN_REVIEW,
        next_step="",
        decided=(),
        refusal_reasons=(),
        principal_fen=application.principal_fen,
        term_months=application.term_months,
        purpose=application.purpose,
        used_in_area=application.used_in_area,
        assignment_evidence=application.assignment_evidence,
        required_covers=(),
        covers_in_force=(),
        applied_on=today,
        sla_due_on=None,
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
        method=_method(product, application.stated.settlement),
        next_due_on=None,
        suspense_fen=NOTHING,
        postings=0,
        outlet_code=application.outlet_code,
    )


def _method(product: LoanProduct, wanted: str) -> str:
    """How it is paid back: as asked for, else as the programme names first."""
    said = known(product.interest_settlement)
    return wanted or str(said[0] if isinstance(said, tuple) else said)


def _go_on(
    loan: Loan, steps: Sequence[ApprovalStep], coming: Sequence[ApprovalStep], terms: Terms
) -> Loan:
    """On to the next step; before the last one the fund is asked."""
    model = terms.default_sharing_model(terms.product(loan.product_id))
    waits = model is not None and not loan.covered and waits_for_cover(steps, coming)
    state = LoanState.AWAITING_COVER if waits else LoanState.IN_REVIEW
    return replace(loan, state=state, next_step=coming[0].step)


def refuse_stopped(breakers: Sequence[Breaker], effect: str) -> None:
    """Refuse what a tripped breaker of these forbids."""
    breaker = stopped(breakers, effect)
    if breaker is not None:
        raise Refused(
            "BREAKER_TRIPPED",
            f"lending is stopped in {breaker.scope} {breaker.scope_id}: "
            f"{breaker.numerator} of {breaker.denominator}",
            message_zh="该区域贷款业务已熔断",
            facts={
                "scope": breaker.scope,
                "scope_id": breaker.scope_id,
                "numerator": str(breaker.numerator),
                "denominator": str(breaker.denominator),
            },
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
    """Decide one step of a loan of which no more is known."""
    return take_step(loan, decision, actor=actor, terms=terms, breakers=breakers, today=today).loan


def take_step(
    loan: Loan,
    decision: Decision,
    *,
    actor: Actor,
    terms: Terms,
    breakers: Sequence[Breaker],
    today: date,
    parties: Mapping[str, Sequence[str]] = NO_PARTIES,
    file: File | None = None,
) -> Decided:
    """
    Decide one step: refuse, pass on, ask for cover, or approve.

    The fund is asked before the last step; that step waits for its answer.
    """
    product = terms.product(loan.product_id)
    steps = chain(product)
    open_now = [step for step in still_open(steps, loan) if step.step == decision.step]
    if loan.state is not LoanState.IN_REVIEW or not open_now:
        raise Refused(
            "WRONG_STEP",
            f"the loan is {loan.state}, its open step is {loan.next_step or 'none'}",
            message_zh="当前环节不符",
            facts={"state": loan.state, "next_step": loan.next_step},
        )
    step = open_now[0]
    recorded_for = require_organ(step.organ, loan, product, actor, parties)
    _require_evidence(step, decision, recorded_for=recorded_for)
    _require_segregation(loan, step, decision, file)
    decided = (*loan.decided, (decision.step, decision.person_id))
    if not decision.approve:
        why = [f"STEP_{decision.step.upper()}_REFUSED"]
        return Decided(refuse(replace(loan, decided=decided), why), step)
    refuse_stopped(breakers, "stop_approve")
    loan = replace(loan, decided=decided)
    stated = file.stated if file else Stated()
    proposed = decision.proposed_rate_ppm or stated.proposed_rate_ppm
    if decision.proposed_rate_ppm:
        require_lender(loan, actor)
        agree(loan, terms, stated, proposed_ppm=proposed, breakers=breakers, today=today)
    if coming := after(steps, loan):
        return Decided(_go_on(loan, steps, coming, terms), step)
    _require_cover(loan, terms)
    contract = agree(loan, terms, stated, proposed_ppm=proposed, breakers=breakers, today=today)
    return Decided(_approved(loan, terms, contract), step, contract)


def _require_evidence(step: ApprovalStep, decision: Decision, *, recorded_for: bool) -> None:
    if decision.evidence or not (step.kind is StepKind.INVESTIGATION or recorded_for):
        return
    raise Refused(
        "EVIDENCE_NEEDED",
        f"step {step.step} ({step.kind.value} of {step.organ.value}) rests on a paper: its hash",
        message_zh="须附调查报告或书面记录",
        facts={"step": step.step},
    )


def _require_segregation(
    loan: Loan, step: ApprovalStep, decision: Decision, file: File | None
) -> None:
    if any(person == decision.person_id for _, person in loan.decided):
        raise Refused("SAME_PERSON", "one person decides one step only", message_zh="审贷须分离")
    if file is None:
        return
    if step.kind is StepKind.APPROVAL and decision.person_id == file.applied_by:
        raise Refused(
            "OWN_APPLICATION",
            f"{decision.person_id} took the application in and may not approve it",
            message_zh="申请受理人不得审批本笔贷款",
        )
    if file.paused:
        raise Refused(
            "APPLICATION_SUSPENDED",
            f"the borrower must supply: {file.pauses[-1].wanted}",
            message_zh="待借款人补充材料",
            facts={"wanted": file.pauses[-1].wanted},
        )


def approve_by_machine(
    loan: Loan, file: File, *, terms: Terms, breakers: Sequence[Breaker], today: date
) -> Decided | None:
    """The only step of an online loan, taken at once; None where a person must, or may not now."""
    product = terms.product(loan.product_id)
    steps = chain(product)
    if loan.state is not LoanState.IN_REVIEW or not by_machine(product, file.stated.channel):
        return None
    if stopped(breakers, "stop_approve") is not None:
        return Decided(refuse(loan, ["BREAKER_TRIPPED"]), steps[0])
    loan = replace(loan, decided=((steps[0].step, "machine"),))
    contract = agree(
        loan,
        terms,
        file.stated,
        proposed_ppm=file.stated.proposed_rate_ppm,
        breakers=breakers,
        today=today,
    )
    return Decided(_approved(loan, terms, contract), steps[0], contract)


def _require_cover(loan: Loan, terms: Terms) -> None:
    if terms.default_sharing_model(terms.product(loan.product_id)) and not loan.covered:
        raise Refused(
            "FUND_COVER_RELEASED",
            "the fund's cover was released before the loan was paid out",
            message_zh="补偿金额度已释放",
        )


def agree(
    loan: Loan,
    terms: Terms,
    stated: Stated,
    *,
    proposed_ppm: int,
    breakers: Sequence[Breaker],
    today: date,
) -> Contract:
    """The price on this day by amount, tenor and whose money it is; a rate too high is refused."""
    product = terms.product(loan.product_id)
    quote = pricing.quote(
        product,
        terms.loans,
        principal_fen=loan.principal_fen,
        term_months=loan.term_months,
        on=today,
        proposed_ppm=proposed_ppm or None,
        funding=stated.funding or None,
    )
    facts = dict(stated.facts)
    lacking = [code for code in known(product.subsidy).requires if not facts.get(code, False)]
    working = quote.working + (f"; no subsidy without {', '.join(lacking)}" if lacking else "")
    valid_until = None
    if product.revolving is not None:
        valid_until = calendars.last_valid_day(today, known(product.revolving.validity_months))
    return Contract(
        approved_on=today,
        rate_ppm=quote.rate_ppm,
        reference_ppm=quote.reference_ppm,
        subsidised_rate_ppm=0 if lacking else quote.subsidised_rate_ppm,
        valid_until=valid_until,
        breaker_epochs=tuple((f"{each.scope}:{each.scope_id}", each.epoch) for each in breakers),
        working=working,
    )


def _approved(loan: Loan, terms: Terms, contract: Contract) -> Loan:
    return replace(
        loan,
        state=LoanState.APPROVED,
        next_step="",
        rate_ppm=contract.rate_ppm,
        subsidised=contract.subsidised_rate_ppm > 0,
        subsidy_rate_ppm=contract.subsidised_rate_ppm,
        required_covers=terms.required_covers(loan.borrower_class),
        revolving_until=contract.valid_until,
    )


def refuse(loan: Loan, reasons: Sequence[str]) -> Loan:
    """Refuse a loan that is still being decided."""
    return replace(
        loan,
        state=LoanState.REFUSED,
        next_step="",
        refusal_reasons=(*loan.refusal_reasons, *reasons),
    )


def cancel(loan: Loan) -> Loan:
    """Withdraw a loan of which no fen was paid out."""
    if loan.state not in (LoanState.IN_REVIEW, LoanState.AWAITING_COVER, LoanState.APPROVED):
        raise Refused("CANNOT_CANCEL", f"the loan is {loan.state}", message_zh="该贷款不能撤回")
    return refuse(loan, ["WITHDRAWN"])


def ask_cover_again(loan: Loan, terms: Terms, breakers: Sequence[Breaker]) -> Loan:
    """Ask the fund once more for a loan whose cover it had given back."""
    wants = terms.default_sharing_model(terms.product(loan.product_id)) is not None
    steps = chain(terms.product(loan.product_id))
    ready = loan.state is LoanState.APPROVED or (
        loan.state is LoanState.IN_REVIEW and waits_for_cover(steps, still_open(steps, loan))
    )
    if not wants or loan.covered or not ready:
        raise Refused(
            "NO_COVER_WANTED",
            f"the loan is {loan.state}, covered: {loan.covered}",
            message_zh="无需重新申请补偿金额度",
        )
    refuse_stopped(breakers, "stop_approve")
    return replace(loan, state=LoanState.AWAITING_COVER)


def cover_answered(loan: Loan, refusal: str) -> Loan:
    """Take the fund's answer; one that comes when nothing waits for it changes nothing."""
    if loan.state is LoanState.ACTIVE and not loan.covered and not refusal:
        # A loan that renews another is paid out before the fund has answered.
        return replace(loan, covered=True)
    if loan.state is LoanState.ACTIVE and loan.covered and refusal and not loan.compensated:
        # It was settled and something is owed again, and the fund had no room any more.
        return replace(loan, covered=False)
    if loan.state is not LoanState.AWAITING_COVER:
        return loan
    if refusal:
        return refuse(loan, [f"COVER_REFUSED_{refusal}"])
    # One that was approved before its cover went back stays approved.
    state = LoanState.IN_REVIEW if loan.next_step else LoanState.APPROVED
    return replace(loan, state=state, covered=True)


def cover_released(loan: Loan, why: str = "") -> Loan:
    """The fund gave cover back: lending stopped before it was used, or its time was over."""
    if why == "expired" and not loan.compensated:
        return replace(loan, covered=False)
    undisbursed = loan.state in (LoanState.IN_REVIEW, LoanState.APPROVED)
    return replace(loan, covered=False) if undisbursed else loan


def insured(loan: Loan, cover_id: str) -> Loan:
    """Note that a cover is in force."""
    if cover_id in loan.covers_in_force:
        return loan
    return replace(loan, covers_in_force=(*loan.covers_in_force, cover_id))


def uninsured(loan: Loan, cover_id: str) -> Loan:
    """Note that a cover is in force no more."""
    left = tuple(each for each in loan.covers_in_force if each != cover_id)
    return replace(loan, covers_in_force=left)


def disburse(
    loan: Loan, *, actor: Actor, terms: Terms, breakers: Sequence[Breaker], today: date
) -> Loan:
    """Pay out an approved loan at once: insured, not stopped, by another person than approved."""
    require_lender(loan, actor)
    if loan.state is not LoanState.APPROVED:
        raise Refused("LOAN_NOT_APPROVED", f"the loan is {loan.state}", message_zh="贷款未获批准")
    if loan.revolving_until is not None:
        raise Refused("REVOLVING_LIMIT", "a limit is drawn, not paid out", message_zh="请提款")
    clause = terms.loans.controlled_drawdown
    if clause and drawdown.is_controlled(clause, loan.principal_fen, loan.product_id):
        needs = ", ".join(need.value for need in clause.requires)
        raise Refused(
            "CONTROLLED_DRAWDOWN",
            f"{loan.principal_fen} fen are released in batches, each with {needs}",
            message_zh="大额贷款须分批受控支用",
            facts={"threshold_fen": str(clause.threshold_fen), "requires": needs},
        )
    require_ready(loan, actor=actor, terms=terms, breakers=breakers, effect="stop_disburse")
    return begin(loan, loan.principal_fen, terms, today)


def require_ready(
    loan: Loan, *, actor: Actor, terms: Terms, breakers: Sequence[Breaker], effect: str
) -> None:
    """Refuse to pay out what is not insured, not covered, stopped, or paid by its approver."""
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
    refuse_stopped(breakers, effect)
    if loan.disbursed_on is None:
        _require_cover(loan, terms)


def begin(loan: Loan, first_fen: Fen, terms: Terms, today: date) -> Loan:
    """The loan on the day its first fen is paid out; the rest may still be drawn."""
    matures_on = loan.revolving_until or calendars.add_months(today, loan.term_months)
    notice = terms.loans.maturity_notice
    begun = replace(
        loan,
        state=LoanState.ACTIVE,
        disbursed_on=today,
        matures_on=matures_on,
        notice_on=None
        if notice is None
        else calendars.notice_day(matures_on, known(notice.lead_months)),
        undrawn_fen=Fen(loan.principal_fen - first_fen),
    )
    return replace(begun, next_due_on=position.due_days(begun)[0])


def loan_not_found(loan_id: UUID) -> NotFound:
    """The same answer for a loan that is not there and one that is another's."""
    return NotFound("LOAN_NOT_FOUND", f"no loan {loan_id}", message_zh="无此贷款")


def require_lender(loan: Loan, actor: Actor) -> None:
    """Refuse anybody but the loan's own lender; to another lender it is as good as none."""
    if actor.institution_id != loan.lender_id:
        if actor.role in LENDER_ROLES:
            raise loan_not_found(loan.loan_id)
        raise Denied(
            "NOT_THE_LENDER", "only the loan's lender may do this", message_zh="非承贷机构"
        )


def require_near(loan: Loan, may_act_in: Callable[[str], None]) -> None:
    """Refuse whoever may not act where the loan is; to them it is as good as none."""
    try:
        may_act_in(loan.area_code)
    except Denied as error:
        raise loan_not_found(loan.loan_id) from error


def require_party(loan: Loan, actor: Actor, may_act_in: Callable[[str], None]) -> None:
    """Refuse a lender that is not the loan's own, and anybody outside the own areas."""
    if actor.role in LENDER_ROLES:
        require_lender(loan, actor)
    else:
        require_near(loan, may_act_in)
