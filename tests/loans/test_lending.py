"""From application to disbursement: every reason to refuse, every organ, every precondition."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from services.kernel.errors import Denied, LiandongError, NotFound, Refused
from services.kernel.ids import new_id
from services.kernel.money import Fen
from services.loans.model import Breaker, Loan, LoanState
from services.loans.rules import lending
from services.loans.rules.lending import Actor
from services.programmes.loader import Catalogue, load_texts
from services.programmes.terms import Terms
from tests.loans.builders import (
    YUAN,
    a_borrower,
    a_breaker,
    a_decision,
    a_loan,
    an_actor,
    an_application,
    an_approved_loan,
)
from tests.loans.county import BANK, COUNTY, OPENED, ORDINARY, OTHER_BANK, PACK, TOWN, VILLAGE

VILLAGE_CLERK = an_actor("village_department", "vil-1")
COUNTY_CLERK = an_actor("county_centre", "cfc-1")
BANKER = an_actor(post=2)
CASHIER = an_actor(post=3)
STEPS = ("village_accepts", "county_recommends", "bank_approves")


def apply(
    terms: Terms,
    *,
    breakers: tuple[Breaker, ...] = (),
    today: date = OPENED,
    borrower: dict[str, Any] | None = None,
    **asked: Any,
) -> Loan:
    household = a_borrower(**(borrower or {}))
    return lending.apply(
        an_application(household, **asked),
        loan_id=new_id(),
        borrower=household,
        terms=terms,
        parties={"lender": (BANK,), "bank": (BANK, OTHER_BANK)},
        breakers=breakers,
        today=today,
    )


def decide(
    terms: Terms,
    loan: Loan,
    step: str,
    actor: Actor,
    *,
    approve: bool = True,
    breakers: tuple[Breaker, ...] = (),
) -> Loan:
    return lending.decide(
        loan,
        a_decision(step, actor, approve=approve),
        actor=actor,
        terms=terms,
        breakers=breakers,
        today=OPENED,
    )


def disburse(
    terms: Terms,
    loan: Loan,
    *,
    actor: Actor = CASHIER,
    breakers: tuple[Breaker, ...] = (),
    today: date = OPENED,
) -> Loan:
    return lending.disburse(loan, actor=actor, terms=terms, breakers=breakers, today=today)


# --- applications ---------------------------------------------------------------------------------


def test_what_nothing_forbids_goes_to_the_first_step(terms: Terms) -> None:
    loan = apply(terms)

    assert (loan.state, loan.next_step, loan.refusal_reasons) == (
        LoanState.IN_REVIEW,
        STEPS[0],
        (),
    )
    assert (loan.programme, loan.borrower_class) == ("plain@1", "poor_household")
    # S31: the day of acceptance is not counted, the holiday on Wednesday is not a working day.
    assert loan.sla_due_on == date(2021, 1, 11)


def test_every_reason_against_an_application_is_told_at_once(terms: Terms) -> None:
    loan = apply(
        terms,
        borrower={"status": "non_poor", "exposure_fen": Fen(20_000 * YUAN)},
        breakers=(a_breaker("stop_approve"),),
        lender_id="rcb-9",
        principal_fen=Fen(60_000 * YUAN),
        purpose="house_purchase",
        used_in_area="990102001001",
        term_months=37,
    )

    assert loan.state is LoanState.REFUSED
    assert loan.next_step == ""
    assert loan.refusal_reasons == (
        "LENDER_NOT_A_PARTY",
        "PRODUCT_NOT_FOR_THIS_CLASS",
        "ABOVE_PRODUCT_CAP",
        "PROHIBITED_PURPOSE",
        "TERM_TOO_LONG",
        "BREAKER_TRIPPED",
    )


@pytest.mark.parametrize(
    ("reason", "borrower", "asked"),
    [
        ("LENDER_NOT_A_PARTY", {}, {"lender_id": "cfc-1"}),
        ("HOUSEHOLD_NOT_ELIGIBLE", {"status": "delisted"}, {}),
        ("HOUSEHOLD_NOT_ELIGIBLE", {"status": ""}, {}),
        ("PRODUCT_NOT_FOR_THIS_CLASS", {"status": "near_poor"}, {}),
        ("NO_CREDIT_LIMIT", {"limit_fen": Fen(0)}, {}),
        # S33: valid through the last day itself.
        ("NO_CREDIT_LIMIT", {"limit_valid_until": date(2021, 1, 3)}, {}),
        ("ABOVE_CREDIT_LIMIT", {"limit_fen": Fen(30_000 * YUAN - 1)}, {}),
        # LS17.sco.4, S13, S55: what is owed to any lender counts.
        ("ABOVE_PRODUCT_CAP", {"exposure_fen": Fen(20_000 * YUAN + 1)}, {}),
        # LS17.loa.5, LS17.loa.7.
        ("PROHIBITED_PURPOSE", {}, {"purpose": "house_purchase"}),
        ("PURPOSE_NOT_LISTED", {}, {"purpose": "tea_growing"}),
        ("OUTSIDE_AREA", {}, {"used_in_area": "990102"}),
        ("TERM_TOO_LONG", {}, {"term_months": 37}),
    ],
)
def test_each_reason_refuses_alone(
    terms: Terms, reason: str, borrower: dict[str, Any], asked: dict[str, Any]
) -> None:
    assert apply(terms, borrower=borrower, **asked).refusal_reasons == (reason,)


@pytest.mark.parametrize(
    ("borrower", "asked"),
    [
        ({}, {"lender_id": OTHER_BANK}),
        ({"limit_valid_until": OPENED}, {}),
        # A programme that sets no validity grants a limit until it is withdrawn.
        ({"limit_valid_until": None}, {}),
        ({"limit_fen": Fen(30_000 * YUAN)}, {}),
        ({"exposure_fen": Fen(20_000 * YUAN)}, {}),
        ({"status": "five_guarantee"}, {}),
        ({}, {"term_months": 36}),
        ({}, {"used_in_area": COUNTY}),
        ({"status": "non_poor"}, {"product_id": ORDINARY, "purpose": "tea_growing"}),
    ],
)
def test_what_is_just_allowed_is_allowed(
    terms: Terms, borrower: dict[str, Any], asked: dict[str, Any]
) -> None:
    assert apply(terms, borrower=borrower, **asked).state is LoanState.IN_REVIEW


def test_an_unknown_product_is_no_application(terms: Terms) -> None:
    with pytest.raises(NotFound, match="PRODUCT_UNKNOWN"):
        apply(terms, product_id="mortgage")


def test_a_clause_that_is_open_stops_the_application_with_its_key() -> None:
    undecided = PACK.replace(
        "allowed: [mushroom_growing, beekeeping]", "allowed: {open: the county has not met}"
    )
    adoption = (
        "adoption: {county: '%s', entries: [{programme: plain@1, from: 2020-01-01, parties: %s}]}"
    )
    parties = "{bank: rcb-1, county_fund: fin-1, guarantee: agr-1, reguarantee: grp-1}"
    made = load_texts({"plain@1.yaml": undecided, "adoption.yaml": adoption % (COUNTY, parties)})

    with pytest.raises(Refused) as refusal:
        apply(made.terms(COUNTY, "plain@1"))

    assert "purpose" in str(refusal.value.facts)


# LS17.mon.3, LS17.mon.4, LS18.mon.1
@pytest.mark.parametrize("scope_id", [VILLAGE, TOWN])
def test_a_tripped_breaker_refuses_applications_and_a_reset_one_does_not(
    terms: Terms, scope_id: str
) -> None:
    stopped = apply(terms, breakers=(a_breaker("stop_approve", scope_id=scope_id),))
    reset = apply(terms, breakers=(a_breaker("stop_approve", scope_id=scope_id, tripped=False),))
    collecting = apply(terms, breakers=(a_breaker("open_collection", scope_id=scope_id),))

    assert stopped.refusal_reasons == ("BREAKER_TRIPPED",)
    assert reset.state is collecting.state is LoanState.IN_REVIEW


# --- the chain ------------------------------------------------------------------------------------


# SMX.loa.1, LS17.loa.1
def test_the_chain_is_passed_in_order_and_the_fund_is_asked_before_its_last_step(
    terms: Terms,
) -> None:
    loan = decide(terms, a_loan(), STEPS[0], VILLAGE_CLERK)
    assert (loan.state, loan.next_step) == (LoanState.IN_REVIEW, STEPS[1])

    loan = decide(terms, loan, STEPS[1], COUNTY_CLERK)
    assert (loan.state, loan.next_step) == (LoanState.AWAITING_COVER, STEPS[2])
    with pytest.raises(Refused, match="WRONG_STEP"):
        decide(terms, loan, STEPS[2], BANKER)

    loan = lending.cover_answered(loan, "")
    assert (loan.state, loan.covered) == (LoanState.IN_REVIEW, True)

    loan = decide(terms, loan, STEPS[2], BANKER)
    assert (loan.state, loan.next_step) == (LoanState.APPROVED, "")
    assert loan.decided == (
        (STEPS[0], VILLAGE_CLERK.person_id),
        (STEPS[1], COUNTY_CLERK.person_id),
        (STEPS[2], BANKER.person_id),
    )
    # NAT.loa.3: the benchmark of the shortest tenor that holds the term, all of it subsidised.
    assert (loan.rate_ppm, loan.subsidised) == (36_000, True)
    assert loan.required_covers == ("accident",)


def test_a_product_without_a_fund_goes_straight_on(terms: Terms) -> None:
    loan = a_loan(
        product_id=ORDINARY,
        next_step="county_checks",
        term_months=13,
        borrower_class="non_poor_household",
    )

    loan = decide(terms, loan, "county_checks", COUNTY_CLERK)
    assert loan.state is LoanState.IN_REVIEW
    loan = decide(terms, loan, "bank_approves", BANKER)

    assert loan.state is LoanState.APPROVED
    assert (loan.rate_ppm, loan.subsidised, loan.required_covers) == (54_000, False, ())


@pytest.mark.parametrize("step", STEPS[1:])
def test_no_step_is_skipped(terms: Terms, step: str) -> None:
    with pytest.raises(Refused) as refusal:
        decide(terms, a_loan(), step, BANKER)

    assert refusal.value.reason == "WRONG_STEP"
    assert refusal.value.facts == {"state": "in_review", "next_step": STEPS[0]}


@pytest.mark.parametrize(
    "state", [LoanState.REFUSED, LoanState.APPROVED, LoanState.ACTIVE, LoanState.SETTLED]
)
def test_what_is_decided_is_not_decided_again(terms: Terms, state: LoanState) -> None:
    with pytest.raises(Refused, match="WRONG_STEP"):
        decide(terms, a_loan(state=state, next_step=""), STEPS[0], VILLAGE_CLERK)


@pytest.mark.parametrize(
    ("step", "actor"),
    [
        (STEPS[0], COUNTY_CLERK),
        (STEPS[0], BANKER),
        (STEPS[1], VILLAGE_CLERK),
        (STEPS[2], COUNTY_CLERK),
        # The step is the lender's: not just any bank's.
        (STEPS[2], an_actor("bank", OTHER_BANK)),
        (STEPS[2], an_actor("county_centre", BANK)),
    ],
)
def test_a_step_is_its_organs_alone(terms: Terms, step: str, actor: Actor) -> None:
    with pytest.raises(Denied, match="NOT_THE_STEPS_ORGAN"):
        decide(terms, a_loan(next_step=step), step, actor)


@pytest.mark.parametrize("role", lending.LENDER_ROLES)
def test_a_lender_may_be_any_kind_of_institution_that_lends(terms: Terms, role: str) -> None:
    lender = an_actor(role, BANK)

    loan = decide(terms, a_loan(next_step=STEPS[2], covered=True), STEPS[2], lender)

    assert loan.state is LoanState.APPROVED


def test_one_person_decides_one_step_only(terms: Terms) -> None:
    loan = a_loan(next_step=STEPS[2], decided=((STEPS[0], BANKER.person_id),), covered=True)

    with pytest.raises(Refused, match="SAME_PERSON"):
        decide(terms, loan, STEPS[2], BANKER)
    assert decide(terms, loan, STEPS[2], CASHIER).state is LoanState.APPROVED


@pytest.mark.parametrize("step", STEPS)
def test_any_step_may_refuse_and_says_which_it_was(terms: Terms, step: str) -> None:
    organ = dict(zip(STEPS, (VILLAGE_CLERK, COUNTY_CLERK, BANKER), strict=True))[step]

    loan = decide(terms, a_loan(next_step=step), step, organ, approve=False)

    assert loan.state is LoanState.REFUSED
    assert loan.refusal_reasons == (f"STEP_{step.upper()}_REFUSED",)
    assert loan.next_step == ""


# LS17.mon.3, S18
def test_a_breaker_stops_every_approval_but_no_refusal(terms: Terms) -> None:
    stopped = (a_breaker("stop_approve"),)

    for step, organ in zip(STEPS, (VILLAGE_CLERK, COUNTY_CLERK, BANKER), strict=True):
        with pytest.raises(Refused) as refusal:
            decide(terms, a_loan(next_step=step), step, organ, breakers=stopped)
        assert refusal.value.reason == "BREAKER_TRIPPED"
        assert refusal.value.facts == {
            "scope": "village",
            "scope_id": VILLAGE,
            "numerator": "6",
            "denominator": "100",
        }
        refused = decide(
            terms, a_loan(next_step=step), step, organ, approve=False, breakers=stopped
        )
        assert refused.state is LoanState.REFUSED


# --- cover ----------------------------------------------------------------------------------------


def test_without_cover_the_loan_is_refused_with_the_funds_reason() -> None:
    waiting = a_loan(state=LoanState.AWAITING_COVER, next_step=STEPS[2])

    loan = lending.cover_answered(waiting, "FUND_EXHAUSTED")

    assert loan.state is LoanState.REFUSED
    assert loan.refusal_reasons == ("COVER_REFUSED_FUND_EXHAUSTED",)


@pytest.mark.parametrize("state", [s for s in LoanState if s is not LoanState.AWAITING_COVER])
@pytest.mark.parametrize("refusal", ["", "FUND_EXHAUSTED"])
def test_an_answer_that_nobody_waits_for_changes_nothing(state: LoanState, refusal: str) -> None:
    loan = a_loan(state=state, covered=True)
    if state is LoanState.ACTIVE and refusal:
        # Reopened after it was settled, it waits: the fund has no room for it any more.
        assert not lending.cover_answered(loan, refusal).covered
        loan = replace(loan, compensated=True)

    assert lending.cover_answered(loan, refusal) is loan


def test_a_loan_that_renews_another_is_covered_after_it_was_paid_out() -> None:
    loan = a_loan(state=LoanState.ACTIVE)

    assert lending.cover_answered(loan, "").covered
    assert lending.cover_answered(loan, "FUND_EXHAUSTED") is loan


def test_cover_that_was_given_back_is_gone_until_the_loan_is_paid_out(terms: Terms) -> None:
    waiting, paid_out = an_approved_loan(), an_approved_loan(state=LoanState.ACTIVE)

    assert lending.cover_released(paid_out).covered
    released = lending.cover_released(waiting)

    assert not released.covered
    with pytest.raises(Refused, match="FUND_COVER_RELEASED"):
        disburse(terms, released)
    # The loan that is not approved yet is not approved without it either, but may be refused.
    open_ = lending.cover_released(a_loan(next_step=STEPS[2], covered=True))
    with pytest.raises(Refused, match="FUND_COVER_RELEASED"):
        decide(terms, open_, STEPS[2], BANKER)
    assert decide(terms, open_, STEPS[2], BANKER, approve=False).state is LoanState.REFUSED


def test_a_cover_is_noted_once() -> None:
    loan = an_approved_loan(covers_in_force=())

    once = lending.insured(loan, "accident")

    assert once.covers_in_force == ("accident",)
    assert lending.insured(once, "accident") is once
    assert (loan.covers_missing, once.covers_missing) == (("accident",), ())


def test_a_cover_that_ended_is_missing_again() -> None:
    loan = an_approved_loan(covers_in_force=("accident",))

    bare = lending.uninsured(loan, "accident")

    assert bare.covers_missing == ("accident",)
    assert lending.uninsured(bare, "accident").covers_in_force == ()


# --- disbursement ---------------------------------------------------------------------------------


# LS17.loa.2, LS18.loa.4, S36
def test_an_approved_and_insured_loan_is_paid_out(terms: Terms) -> None:
    loan = disburse(terms, an_approved_loan(), today=date(2021, 8, 31))

    assert loan.state is LoanState.ACTIVE
    assert loan.next_due_on == date(2022, 8, 31)
    assert loan.disbursed_on == date(2021, 8, 31)
    assert loan.matures_on == date(2022, 8, 31)
    # Two months before, clamped to the month's end.
    assert loan.notice_on == date(2022, 6, 30)


@pytest.mark.parametrize(
    ("reason", "changes", "actor"),
    [
        ("LOAN_NOT_APPROVED", {"state": LoanState.IN_REVIEW}, CASHIER),
        ("LOAN_NOT_APPROVED", {"state": LoanState.AWAITING_COVER}, CASHIER),
        ("LOAN_NOT_APPROVED", {"state": LoanState.REFUSED}, CASHIER),
        ("LOAN_NOT_APPROVED", {"state": LoanState.ACTIVE}, CASHIER),
        ("LOAN_NOT_APPROVED", {"state": LoanState.SETTLED}, CASHIER),
        ("SAME_PERSON", {}, BANKER),
        ("COVER_NOT_IN_FORCE", {"covers_in_force": ("disaster",)}, CASHIER),
        ("FUND_COVER_RELEASED", {"covered": False}, CASHIER),
        ("LOAN_NOT_FOUND", {}, an_actor("bank", OTHER_BANK)),
        ("NOT_THE_LENDER", {}, COUNTY_CLERK),
    ],
)
def test_each_precondition_of_the_money(
    terms: Terms, reason: str, changes: dict[str, Any], actor: Actor
) -> None:
    with pytest.raises(LiandongError) as refusal:
        disburse(terms, an_approved_loan(**changes), actor=actor)

    assert refusal.value.reason == reason


# S18: what is approved and not paid out waits.
def test_a_breaker_keeps_the_money_back_and_lets_it_go_afterwards(terms: Terms) -> None:
    loan = an_approved_loan()

    with pytest.raises(Refused, match="BREAKER_TRIPPED"):
        disburse(terms, loan, breakers=(a_breaker("stop_disburse"),))
    assert disburse(terms, loan, breakers=(a_breaker("stop_approve"),)).state is LoanState.ACTIVE
    assert (
        disburse(terms, loan, breakers=(a_breaker("stop_disburse", tripped=False),)).state
        is LoanState.ACTIVE
    )


def test_a_product_without_a_fund_needs_no_cover_of_one(terms: Terms) -> None:
    loan = an_approved_loan(product_id=ORDINARY, covered=False, required_covers=())

    assert disburse(terms, loan).state is LoanState.ACTIVE


def test_the_rules_change_no_value_that_they_were_given(terms: Terms, catalogue: Catalogue) -> None:
    loan = an_approved_loan()
    copy = replace(loan)

    disburse(terms, loan)

    assert loan == copy
    assert catalogue.terms(COUNTY, "plain@1") == terms
