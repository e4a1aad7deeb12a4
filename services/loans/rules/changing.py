"""Loans: what may be agreed anew: extension, renewal, new terms, relief. Pure decisions."""

from collections.abc import Collection, Sequence
from datetime import date
from uuid import UUID

from services.kernel.errors import Refused
from services.kernel.money import Fen
from services.kernel.values import replace
from services.loans.model import Judgement, Loan, LoanState
from services.loans.rules import balance, schedule
from services.loans.rules.schedule import Method, Plan
from services.loans.rules.standing import require_active, require_drawn_up
from services.programmes import calendars, collection, facilities, pricing, products, rewards
from services.programmes.facilities import RenewalDecision
from services.programmes.rewards import Relief
from services.programmes.schema.loans import LoanProduct, LoanRules
from services.programmes.schema.values import Open, known
from services.programmes.terms import Terms

LEVEL = (Method.EQUAL_PRINCIPAL, Method.EQUAL_INSTALMENT)
"""Methods that pay principal back in every period."""


def not_frozen(cause: str | None) -> None:
    """Refuse while a review is open."""
    if cause is not None:
        raise Refused(
            "LOAN_FROZEN",
            f"a review is open: {cause}",
            message_zh="贷款已冻结,待复核",
            facts={"cause": cause},
        )


def limit_stands(held_by: Sequence[str]) -> None:
    """Refuse new money to a borrower whose limit credit took away: a gate closed, a veto hit."""
    if held_by:
        raise Refused(
            "LIMIT_TAKEN_AWAY",
            f"credit took the borrower's limit away: {', '.join(held_by)}",
            message_zh="借款人授信已被取消",
            facts={"held_by": ",".join(held_by)},
        )


def accrued(loan: Loan, terms: Terms, today: date) -> Loan:
    """A loan that is owed with its interest charged up to today."""
    require_active(loan)
    return balance.accrue(loan, today, terms.loans.day_basis)


def require_sound(loan: Loan, judgement: Judgement) -> None:
    """Refuse to renew a loan that is non-performing or kept as such."""
    if loan.non_performing_on is not None or judgement.kept_non_performing:
        raise Refused(
            "LOAN_NON_PERFORMING",
            f"non-performing since {loan.non_performing_on}",
            message_zh="不良贷款不得续贷",
            facts={"since": str(loan.non_performing_on)},
        )


def extend(
    loan: Loan,
    terms: Terms,
    *,
    months: int,
    conditions: Collection[str],
    agreed: Plan | None,
    today: date,
    reason: str,
) -> Plan:
    """A later maturity of the same loan, by its product's clause."""
    require_active(loan)
    require_drawn_up(loan)
    clause = terms.product(loan.product_id).extension
    if clause is None:
        raise Refused(
            "EXTENSION_NOT_OFFERED", "the product has no extension", message_zh="本产品不办理展期"
        )
    assert loan.matures_on is not None
    decided = facilities.extension_of(
        known(clause), loan.matures_on, months=months, facts=dict.fromkeys(conditions, True)
    )
    if not decided.allowed:
        raise _unmet("EXTENSION_CONDITIONS_NOT_MET", decided.failed, decided.working)
    method = Method(loan.method)
    start, principal, term = _remaining(loan, agreed, today)
    return Plan(
        "extension",
        today,
        start,
        principal,
        term + months,
        method,
        loan.rate_ppm,
        decided.matures_on,
        reason,
    )


def _remaining(loan: Loan, agreed: Plan | None, today: date) -> tuple[date, Fen, int]:
    """From which day, what and how many months of the agreement in force are still to come."""
    assert loan.disbursed_on is not None
    assert loan.matures_on is not None
    start = agreed.starts_on if agreed else loan.disbursed_on
    term = agreed.term_months if agreed else loan.term_months
    if loan.method not in LEVEL:
        # Of a limit, what is still drawn.
        lent = loan.principal_fen if loan.revolving_until is None else loan.outstanding_fen
        return start, agreed.principal_fen if agreed else lent, term
    passed = 0
    while passed < term - 1 and calendars.add_months(start, passed + 1) <= today:
        passed += 1
    return calendars.add_months(start, passed), loan.outstanding_fen, term - passed


def _unmet(reason: str, failed: Sequence[str], working: str) -> Refused:
    return Refused(
        reason, working, message_zh="不符合办理条件", facts={"failed": ", ".join(failed)}
    )


def renew(
    loan: Loan,
    terms: Terms,
    *,
    term_months: int,
    conditions: Collection[str],
    months_used: int,
) -> RenewalDecision:
    """Whether a loan is renewed without repaying its principal (S34); the clause decides."""
    require_active(loan)
    require_drawn_up(loan)
    product = terms.product(loan.product_id)
    if product.renewal is None:
        raise Refused(
            "RENEWAL_NOT_OFFERED", "the product has no renewal", message_zh="本产品不办理续贷"
        )
    clause = known(product.renewal)
    if known(clause.principal) != "carried":
        raise Refused(
            "RENEWAL_NOT_CARRIED",
            f"{loan.outstanding_fen} fen of principal are repaid first, then applied for anew",
            message_zh="须先归还本金后再申请",
            facts={"principal_fen": str(loan.outstanding_fen)},
        )
    term = products.term_check(product, term_months, production_cycle_months=term_months)
    if not term.allowed:
        raise Refused(
            "TERM_TOO_LONG",
            term.working,
            message_zh="期限超过产品规定",
            facts={"reasons": ", ".join(term.reasons)},
        )
    held = loan.interest
    assert held is not None
    decided = facilities.renewal_of(
        clause,
        loan.outstanding_fen,
        interest_unpaid_fen=held.owed_fen,
        facts=dict.fromkeys(conditions, True),
        max_subsidy_months=months_max(product),
        prior_subsidised_months=months_used,
    )
    if not decided.allowed:
        raise _unmet("RENEWAL_CONDITIONS_NOT_MET", decided.failed, decided.working)
    return decided


def months_max(product: LoanProduct) -> int | None:
    """How many months of subsidy a household has; None: without end."""
    subsidy = known(product.subsidy)
    return None if subsidy.max_months is None else known(subsidy.max_months)


def renewed(
    old: Loan, terms: Terms, *, loan_id: UUID, term_months: int, today: date, months_left: int
) -> Loan:
    """The loan that renews another: the price of today under the terms that the old one keeps."""
    product = terms.product(old.product_id)
    quote = pricing.quote(
        product,
        terms.loans,
        principal_fen=old.outstanding_fen,
        term_months=term_months,
        on=today,
        proposed_ppm=_proposed(product, old),
    )
    matures_on = calendars.add_months(today, term_months)
    subsidised = quote.subsidised_rate_ppm > 0 and old.subsidised
    goes_on = subsidised and (months_left > 0 or months_max(product) is None)
    made = replace(
        old,
        loan_id=loan_id,
        version=0,
        state=LoanState.ACTIVE,
        next_step="",
        principal_fen=old.outstanding_fen,
        term_months=term_months,
        applied_on=today,
        sla_due_on=None,
        covers_in_force=(),
        rate_ppm=quote.rate_ppm,
        subsidised=goes_on,
        subsidy_rate_ppm=quote.subsidised_rate_ppm if goes_on else 0,
        subsidy_ends_on=None,
        subsidy_ended_on=None,
        disbursed_on=today,
        matures_on=matures_on,
        outstanding_fen=Fen(0),
        interest=None,
        overdue_days=0,
        five_tier_class="normal",
        non_performing_on=None,
        subrogated_fen=Fen(0),
        undrawn_fen=Fen(0),
        revolving_until=None,
        compensated=False,
        covered=False,
        suspense_fen=Fen(0),
        postings=0,
        next_due_on=schedule.due_days(today, term_months, Method(old.method))[0],
    )
    return replace(made, notice_on=first_notice(made, terms))


def _proposed(product: LoanProduct, old: Loan) -> int | None:
    """The rate that the lender keeps where the price is the lender's to name."""
    clause = pricing.pricing_of(product, old.outstanding_fen)
    low, high = pricing.rate_bounds_ppm(clause, reference_ppm=0)
    fixed = clause.mode == "benchmark" or (clause.mode == "spread" and low == high)
    return None if fixed else old.rate_ppm


def first_notice(loan: Loan, terms: Terms) -> date | None:
    """The first day on which a loan's maturity is told."""
    clause = terms.loans.maturity_notice
    if clause is None or loan.matures_on is None or isinstance(clause.lead_months, Open):
        return None
    return collection.notice_plan(clause, loan.matures_on).days[0]


def restructure(
    loan: Loan,
    terms: Terms,
    *,
    term_months: int,
    method: str,
    rate_ppm: int,
    flexible: bool,
    today: date,
    reason: str,
) -> Plan:
    """New terms from today for what is owed; a lower rate always, a higher one within the price."""
    require_active(loan)
    require_drawn_up(loan)
    product = terms.product(loan.product_id)
    allowed = tuple(str(each) for each in (Method if flexible else product.settlement_cycles))
    if method not in allowed:
        raise Refused(
            "METHOD_NOT_ALLOWED",
            f"{method} is none of {', '.join(allowed)}",
            message_zh="还款方式不符合产品规定",
            facts={"allowed": ", ".join(allowed)},
        )
    rate = rate_ppm or loan.rate_ppm
    if rate > loan.rate_ppm:
        _check_rise(loan, terms.loans, product, rate, term_months=term_months, today=today)
    return Plan(
        "restructuring",
        today,
        today,
        loan.outstanding_fen,
        term_months,
        Method(method),
        rate,
        calendars.add_months(today, term_months),
        reason,
    )


def _check_rise(
    loan: Loan, rules: LoanRules, product: LoanProduct, rate: int, *, term_months: int, today: date
) -> None:
    clause = pricing.pricing_of(product, loan.principal_fen)
    reference = pricing.reference_rate_ppm(rules, clause, term_months=term_months, on=today)
    _, high = pricing.rate_bounds_ppm(clause, reference_ppm=reference or 0)
    if high is not None and rate > high:
        raise Refused(
            "LOAN_RATE_NOT_ALLOWED",
            f"{rate} ppm proposed, at most {high} ppm allowed",
            message_zh="利率不符合产品规定",
            facts={"max_rate_ppm": str(high)},
        )


def relief(loan: Loan, rules: LoanRules, conditions: Collection[str], used: bool) -> Relief:
    """What a household in hardship is let off of the interest it owes, once a loan (TX.loa.7)."""
    require_active(loan)
    if rules.hardship_relief is None:
        raise Refused(
            "RELIEF_NOT_OFFERED", "the programme has no relief", message_zh="方案未规定困难减免"
        )
    if used:
        raise Refused("RELIEF_USED", "this loan had its relief", message_zh="该笔贷款已减免")
    held = loan.interest
    assert held is not None
    found = rewards.relief(rules.hardship_relief, met=conditions, interest_due_fen=held.owed_fen)
    if found is None:
        missing = [each for each in rules.hardship_relief.requires if each not in conditions]
        raise _unmet("RELIEF_CONDITIONS_NOT_MET", missing, f"not met: {', '.join(missing)}")
    return found
