"""Loans: taken over at cut-over from the book before ours, and proven to the fen. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from services.kernel.errors import Refused
from services.kernel.money import Fen
from services.loans.model import Borrower, Loan, LoanState
from services.loans.rules import schedule
from services.loans.rules.book import Posting, PostingKind
from services.loans.rules.lending import CLASS_OF_STATUS
from services.programmes import calendars, delinquency
from services.programmes.schema.loans import LoanProduct
from services.programmes.schema.values import known
from services.programmes.settlement import Amounts
from services.programmes.terms import Terms


@dataclass(frozen=True, slots=True)
class Opening:
    """A loan as the book before ours has it on the day of cut-over."""

    reference: str
    household_id: UUID
    lender_id: str
    programme_id: str
    product_id: str
    principal_fen: Fen
    term_months: int
    rate_ppm: int
    disbursed_on: date
    outstanding_fen: Fen
    interest_owed_fen: Fen
    next_due_on: date
    subsidised: bool
    five_tier_class: str
    non_performing_on: date | None
    purpose: str
    outlet_code: str = ""


@dataclass(frozen=True, slots=True)
class Total:
    """What openings of one lender come to."""

    loans: int = 0
    outstanding_fen: int = 0
    interest_owed_fen: int = 0

    def plus(self, opening: Opening) -> "Total":
        """With one more."""
        return Total(
            self.loans + 1,
            self.outstanding_fen + opening.outstanding_fen,
            self.interest_owed_fen + opening.interest_owed_fen,
        )


@dataclass(frozen=True, slots=True)
class Proof:
    """A lender's control total, and what was found."""

    lender_id: str
    given: Total
    found: Total
    so_far: Total

    @property
    def agrees(self) -> bool:
        """To the fen."""
        return self.given == self.found


def prove(
    given: Mapping[str, Total], accepted: Iterable[Opening], before: Mapping[str, Total]
) -> tuple[Proof, ...]:
    """Hold what would come in against the control totals, a proof for each lender of either."""
    nothing = Total()
    found: dict[str, Total] = {}
    so_far = dict(before)
    for opening in accepted:
        lender = opening.lender_id
        found[lender] = found.get(lender, nothing).plus(opening)
        so_far[lender] = so_far.get(lender, nothing).plus(opening)
    return tuple(
        Proof(
            lender,
            given.get(lender, nothing),
            found.get(lender, nothing),
            so_far.get(lender, nothing),
        )
        for lender in sorted({*given, *found})
    )


def take_over(
    opening: Opening,
    *,
    loan_id: UUID,
    borrower: Borrower,
    terms: Terms,
    parties: Mapping[str, Sequence[str]],
    opening_on: date,
) -> Loan:
    """The loan as it stands in our books from the day of cut-over on; nothing is owed on it yet."""
    product = terms.product(opening.product_id)
    if opening.lender_id not in (*parties.get("lender", ()), *parties.get(product.lender, ())):
        raise Refused(
            "LENDER_NOT_A_PARTY",
            f"{opening.lender_id} does not lend under {terms.ref}",
            message_zh="该机构非本方案承贷机构",
        )
    method = _method(product)
    days = schedule.due_days(opening.disbursed_on, opening.term_months, method)
    _check(opening, days, method, opening_on)
    notice = terms.loans.maturity_notice
    overdue = opening_on > opening.next_due_on
    return Loan(
        county_code=borrower.county_code,
        loan_id=loan_id,
        version=0,
        household_id=borrower.household_id,
        area_code=borrower.area_code,
        lender_id=opening.lender_id,
        programme=terms.ref,
        product_id=product.id,
        borrower_class=str(CLASS_OF_STATUS.get(borrower.status, "")),
        state=LoanState.ACTIVE,
        next_step="",
        decided=(),
        refusal_reasons=(),
        principal_fen=opening.principal_fen,
        term_months=opening.term_months,
        purpose=opening.purpose,
        used_in_area=borrower.area_code,
        assignment_evidence="",
        required_covers=(),
        covers_in_force=(),
        applied_on=opening.disbursed_on,
        sla_due_on=None,
        rate_ppm=opening.rate_ppm,
        # The treasury's interest has stopped with a loan that is non-performing.
        subsidised=opening.subsidised and opening.non_performing_on is None,
        disbursed_on=opening.disbursed_on,
        matures_on=days[-1],
        notice_on=None
        if notice is None
        else calendars.notice_day(days[-1], known(notice.lead_months)),
        outstanding_fen=Fen(0),
        interest=None,
        overdue_days=delinquency.overdue_days(opening.next_due_on, opening_on) if overdue else 0,
        five_tier_class=opening.five_tier_class,
        non_performing_on=opening.non_performing_on,
        subrogated_fen=Fen(0),
        compensated=False,
        covered=False,
        method=str(method),
        next_due_on=opening.next_due_on,
        suspense_fen=Fen(0),
        postings=0,
        outlet_code=opening.outlet_code,
    )


def posting_of(opening: Opening, opening_on: date) -> Posting:
    """The first posting of its book; the agreed days before the one it names were paid before."""
    return Posting(
        0,
        PostingKind.OPENING,
        opening_on,
        fixed=Amounts(
            interest_fen=opening.interest_owed_fen, principal_fen=opening.outstanding_fen
        ),
        rate_ppm=opening.rate_ppm,
        reference=opening.next_due_on.isoformat(),
    )


def _method(product: LoanProduct) -> schedule.Method:
    said = known(product.interest_settlement)
    return schedule.Method(str(said[0] if isinstance(said, tuple) else said))


def _check(
    opening: Opening, days: Sequence[date], method: schedule.Method, opening_on: date
) -> None:
    if opening.outstanding_fen + opening.interest_owed_fen == 0:
        _refuse("NOTHING_OWED", "a loan on which nothing is owed is no opening", "无欠款")
    if opening.outstanding_fen > opening.principal_fen:
        _refuse(
            "ABOVE_PRINCIPAL",
            f"{opening.outstanding_fen} fen owed of {opening.principal_fen}",
            "余额超过合同金额",
        )
    if opening.disbursed_on > opening_on:
        _refuse(
            "VALUE_DATE_OUT_OF_RANGE",
            f"paid out on {opening.disbursed_on}, after the cut-over on {opening_on}",
            "起息日超出范围",
        )
    if opening.next_due_on not in days:
        _refuse(
            "NOT_AN_AGREED_DAY",
            f"{opening.next_due_on} is none of the contract's days, the last is {days[-1]}",
            "非约定还款日",
        )
    bad = opening.non_performing_on
    if bad is not None and not opening.disbursed_on <= bad <= opening_on:
        _refuse("VALUE_DATE_OUT_OF_RANGE", f"non-performing on {bad}", "不良认定日超出范围")
    planned = schedule.plan(
        opening.principal_fen,
        rate_ppm=opening.rate_ppm,
        start=opening.disbursed_on,
        term_months=opening.term_months,
        method=method,
    )
    ahead = sum(each.principal_fen for each in planned if each.due_on >= opening.next_due_on)
    if opening.outstanding_fen > ahead:
        _refuse(
            "ABOVE_PLAN",
            f"{opening.outstanding_fen} fen owed, {ahead} fall due from {opening.next_due_on} on",
            "余额与约定还款日不符",
        )


def _refuse(reason: str, message: str, message_zh: str) -> None:
    raise Refused(reason, message, message_zh=message_zh)


def check_day(opening_on: date, *, today: date, closed_through: date | None) -> None:
    """Refuse a cut-over after the business date or in a closed period."""
    if opening_on > today:
        _refuse("VALUE_DATE_OUT_OF_RANGE", f"{opening_on} is after {today}", "起息日超出范围")
    if closed_through is not None and opening_on <= closed_through:
        _refuse("PERIOD_CLOSED", f"the books are closed through {closed_through}", "会计期间已关闭")
