"""What is owed: interest to the fen whatever the path, repayments, payouts, compensation."""

from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.kernel.errors import Refused
from services.kernel.ids import new_id
from services.kernel.money import Fen
from services.loans.model import Allocation, Compensation, Loan, LoanState, Payout
from services.loans.rules import balance, book, position, watch
from services.loans.rules.book import Posting, PostingKind
from services.programmes import settlement
from services.programmes.settlement import INTEREST_FIRST, PRINCIPAL_FIRST
from services.programmes.terms import Terms
from tests.loans.builders import (
    YUAN,
    a_loan,
    a_payout,
    an_active_loan,
    interest_of,
)
from tests.loans.county import COUNTY, OPENED, PACK, a_catalogue

BASIS = 360
PARTIES = (("county_fund", "fin-1", 20), ("bank", "rcb-1", 10), ("guarantee", "agr-1", 70))

TERMS = a_catalogue().terms(COUNTY, "plain@1")


def after(days: int) -> date:
    return OPENED + timedelta(days=days)


def figures(loan: Loan) -> tuple[int, int, int]:
    """What the household was charged and owes, and what the treasury was charged."""
    held = interest_of(loan)
    return held.household_posted_fen, held.owed_fen, held.treasury_posted_fen


# --- interest -------------------------------------------------------------------------------------


# S02, S29: simple, actual days over 360, half up, once.
@pytest.mark.parametrize(
    ("principal_fen", "rate_ppm", "days", "interest_fen"),
    [
        (30_000 * YUAN, 36_000, 1, 300),
        (30_000 * YUAN, 36_000, 360, 108_000),
        (30_000 * YUAN, 43_500, 365, 132_313),  # 132312.5
        (50_000 * YUAN, 47_500, 71, 46_840),  # 46840.27…
        (1, 36_000, 5_000, 1),  # 0.5
        (1, 36_000, 4_999, 0),
    ],
)
def test_interest_is_rounded_once(
    principal_fen: int, rate_ppm: int, days: int, interest_fen: int
) -> None:
    loan = balance.accrue(an_active_loan(principal_fen, rate_ppm=rate_ppm), after(days), BASIS)

    assert figures(loan) == (interest_fen, interest_fen, 0)
    assert loan.owed_fen == principal_fen + interest_fen


loans = st.builds(
    an_active_loan,
    principal_fen=st.integers(1, 30_000_000),
    rate_ppm=st.integers(1, 240_000),
    subsidised=st.booleans(),
    non_performing_on=st.none() | st.just(OPENED),
)


@given(loan=loans, cuts=st.lists(st.integers(0, 1_200), min_size=1, max_size=40))
def test_interest_does_not_depend_on_the_days_it_is_charged_on(loan: Loan, cuts: list[int]) -> None:
    through = sorted(cuts)
    stepped = loan
    for days in through:
        stepped = balance.accrue(stepped, after(days), BASIS)

    at_once = balance.accrue(loan, after(through[-1]), BASIS)

    assert stepped == at_once


@given(loan=loans, days=st.lists(st.integers(0, 1_200), min_size=2, max_size=20))
def test_interest_only_ever_grows_and_a_day_in_the_past_changes_nothing(
    loan: Loan, days: list[int]
) -> None:
    states = [loan]
    for each in days:
        states.append(balance.accrue(states[-1], after(each), BASIS))

    for before, now in pairwise(states):
        assert all(old <= new for old, new in zip(figures(before), figures(now), strict=True))
        if interest_of(now).accrued_through == interest_of(before).accrued_through:
            assert now is before


# LS17.loa.8, S08: the household never owes what the treasury pays.
def test_the_treasury_bears_the_interest_of_a_subsidised_loan() -> None:
    loan = balance.accrue(an_active_loan(subsidised=True), after(360), BASIS)

    assert figures(loan) == (0, 0, 108_000)
    assert loan.owed_fen == 30_000 * YUAN


# LS18.loa.6, S29: from the day it is non-performing the household pays.
def test_the_subsidy_stops_on_the_day_a_loan_becomes_non_performing(terms: Terms) -> None:
    loan = an_active_loan(subsidised=True, matures_on=after(360))

    on_the_day = watch.age(loan, terms=terms, day=after(360 + 71)).loan
    later = balance.accrue(on_the_day, after(360 + 71 + 10), BASIS)

    assert on_the_day.non_performing_on == after(431)
    assert figures(on_the_day) == (0, 0, 431 * 300)
    assert figures(later) == (3_000, 3_000, 431 * 300)


@given(
    stop=st.integers(1, 400),
    more=st.integers(0, 400),
    cuts=st.lists(st.integers(1, 800), max_size=15),
    principal_fen=st.integers(1, 30_000_000),
    rate_ppm=st.integers(1, 240_000),
)
def test_days_are_the_treasurys_or_the_households_and_none_is_lost(
    stop: int, more: int, cuts: list[int], principal_fen: int, rate_ppm: int
) -> None:
    bad_on, end = stop + 71, stop + 71 + more
    loan = an_active_loan(principal_fen, rate_ppm=rate_ppm, subsidised=True, matures_on=after(stop))
    for days in sorted({*cuts, bad_on, end}):
        if days <= end and days >= stop:
            loan = watch.age(loan, terms=TERMS, day=after(days)).loan
        elif days < stop:
            loan = balance.accrue(loan, after(days), BASIS)

    held = interest_of(loan)
    # It becomes non-performing at the first close that sees it, here always the first possible.
    assert loan.non_performing_on == after(bad_on)
    assert held.treasury_numerator == principal_fen * rate_ppm * bad_on
    assert held.household_numerator == principal_fen * rate_ppm * more


# --- repayments -----------------------------------------------------------------------------------


def repay(
    loan: Loan, amount_fen: int, on: date, *, today: date | None = None, terms: Terms = TERMS
) -> Loan:
    """As the desk does it with money that is not earlier than the book's last day."""
    balance.check_money_in(loan, on, today=today or on, closed_through=None)
    own = position.book_terms(loan, terms)
    accrued = book.accrue(position.position_of(loan), on, own.day_basis)
    now, line = book.apply(
        accrued, Posting(2, PostingKind.REPAYMENT, on, Fen(amount_fen)), own.order
    )
    passed_on = balance.subrogated_part(loan, line.taken.total_fen)
    paid = position.with_position(loan, now)
    return replace(paid, subrogated_fen=Fen(loan.subrogated_fen - passed_on))


# S03: interest before principal unless the pack says otherwise.
def test_a_repayment_goes_to_interest_first() -> None:
    loan = repay(an_active_loan(), 100_000, after(10))

    assert interest_of(loan).owed_fen == 0
    assert loan.outstanding_fen == 30_000 * YUAN - 97_000


def test_or_to_principal_first_where_the_programme_says_so() -> None:
    pack = PACK.replace(
        "  day_basis: 360", "  day_basis: 360\n  appropriation_order: principal_first"
    )
    loan = repay(an_active_loan(), 100_000, after(10), terms=terms_of(pack))

    assert interest_of(loan).owed_fen == 3_000
    assert loan.outstanding_fen == 30_000 * YUAN - 100_000


def terms_of(pack: str) -> Terms:
    return a_catalogue(pack).terms(COUNTY, "plain@1")


def test_interest_after_a_part_of_the_principal_was_paid_is_that_of_the_rest() -> None:
    loan = repay(an_active_loan(), 1_000_000 + 3_000, after(10))

    loan = balance.accrue(loan, after(20), BASIS)

    assert loan.outstanding_fen == 2_000_000
    assert figures(loan) == (3_000 + 2_000, 2_000, 0)


def test_all_that_is_owed_settles_the_loan_and_one_fen_less_does_not() -> None:
    owed = 30_000 * YUAN + 3_000

    assert repay(an_active_loan(), owed, after(10)).state is LoanState.SETTLED
    short = repay(an_active_loan(), owed - 1, after(10))
    assert (short.state, short.owed_fen) == (LoanState.ACTIVE, 1)


def test_what_is_paid_too_much_is_kept_for_the_payer() -> None:
    loan = repay(an_active_loan(), 30_000 * YUAN + 3_001, after(10))

    assert (loan.state, loan.owed_fen, loan.suspense_fen) == (LoanState.SETTLED, 0, 1)


def test_nothing_is_booked_in_a_closed_period() -> None:
    with pytest.raises(Refused) as refusal:
        balance.check_money_in(an_active_loan(), after(5), today=after(9), closed_through=after(5))

    assert refusal.value.reason == "PERIOD_CLOSED"
    balance.check_money_in(an_active_loan(), after(6), today=after(9), closed_through=after(5))


@pytest.mark.parametrize(
    ("on", "today", "allowed"),
    [
        (after(-1), after(10), False),
        (OPENED, after(10), True),
        (after(10), after(10), True),
        (after(11), after(10), False),
    ],
)
def test_a_value_date_lies_between_disbursement_and_today(
    on: date, today: date, allowed: bool
) -> None:
    if allowed:
        assert repay(an_active_loan(), 1, on, today=today).state is LoanState.ACTIVE
        return
    with pytest.raises(Refused) as refusal:
        repay(an_active_loan(), 1, on, today=today)
    assert refusal.value.reason == "VALUE_DATE_OUT_OF_RANGE"
    assert refusal.value.facts == {"earliest": str(OPENED), "latest": str(today)}


@pytest.mark.parametrize("state", [LoanState.IN_REVIEW, LoanState.APPROVED, LoanState.REFUSED])
def test_only_what_is_owed_is_repaid(state: LoanState) -> None:
    with pytest.raises(Refused, match="LOAN_NOT_ACTIVE"):
        repay(a_loan(state=state), 1, OPENED)


@given(
    loan=loans,
    steps=st.lists(st.tuples(st.integers(0, 90), st.integers(1, 4_000_000)), max_size=12),
)
def test_what_was_lent_and_charged_is_what_was_paid_and_is_owed(
    loan: Loan, steps: list[tuple[int, int]]
) -> None:
    lent, paid, day = loan.outstanding_fen, 0, OPENED
    for days, asked in steps:
        day += timedelta(days=days)
        owed = balance.accrue(loan, day, BASIS).owed_fen
        if loan.state is not LoanState.ACTIVE or owed == 0:
            break
        amount = min(asked, owed)
        loan = repay(loan, amount, day)
        paid += amount

    held = interest_of(loan)
    assert lent + held.household_posted_fen == paid + loan.owed_fen
    assert loan.outstanding_fen >= 0
    assert held.owed_fen >= 0
    assert (loan.state is LoanState.SETTLED) == (loan.owed_fen == 0)


# --- payouts --------------------------------------------------------------------------------------


def allocate(
    payout: Payout, *known: Loan, order: settlement.AppropriationOrder = INTEREST_FIRST
) -> tuple[Allocation, dict[UUID, Loan]]:
    return balance.allocate(payout, {loan.loan_id: loan for loan in known}, order)


def taken(allocation: Allocation) -> list[tuple[UUID, int, int]]:
    return [(part.loan_id, part.interest_fen, part.principal_fen) for part in allocation.parts]


# LS17.ins.1, S04: the lender first, the rest to the household.
def test_a_payout_settles_the_loan_and_the_rest_is_the_households() -> None:
    loan = an_active_loan(2_000_000, interest_fen=5_000)

    allocation, now = allocate(a_payout(4_500_000, [loan.loan_id]), loan)

    assert taken(allocation) == [(loan.loan_id, 5_000, 2_000_000)]
    assert allocation.household_fen == 2_495_000
    assert now[loan.loan_id].state is LoanState.SETTLED
    assert allocation.parts[0].outstanding_fen == 0


def test_a_payout_that_is_too_small_lowers_the_loan() -> None:
    loan = an_active_loan(2_000_000, interest_fen=5_000)

    interest, _ = allocate(a_payout(105_000, [loan.loan_id]), loan)
    principal, _ = allocate(a_payout(105_000, [loan.loan_id]), loan, order=PRINCIPAL_FIRST)

    assert taken(interest) == [(loan.loan_id, 5_000, 100_000)]
    assert taken(principal) == [(loan.loan_id, 0, 105_000)]
    assert interest.household_fen == principal.household_fen == 0


# S07: groups in order, equal rank pro rata of what is owed.
def test_the_first_group_is_paid_before_the_second_and_equal_ones_share() -> None:
    first, left, right = (an_active_loan(amount) for amount in (1_000_000, 1_000_000, 2_000_000))
    payout = a_payout(1_900_000, [first.loan_id], [left.loan_id, right.loan_id])

    allocation, _ = allocate(payout, first, left, right)

    assert taken(allocation) == [
        (first.loan_id, 0, 1_000_000),
        (left.loan_id, 0, 300_000),
        (right.loan_id, 0, 600_000),
    ]


@pytest.mark.parametrize(
    "loan",
    [
        an_active_loan(outstanding_fen=Fen(0), state=LoanState.SETTLED),
        a_loan(state=LoanState.APPROVED),
        a_loan(state=LoanState.REFUSED),
    ],
)
def test_a_loan_that_owes_nothing_takes_nothing(loan: Loan) -> None:
    allocation, now = allocate(a_payout(700, [loan.loan_id]), loan)

    assert (allocation.parts, allocation.household_fen, now) == ((), 700, {})


def test_an_unknown_loan_takes_nothing() -> None:
    allocation, _ = allocate(a_payout(700, [new_id()]))

    assert (allocation.parts, allocation.household_fen) == ((), 700)


# S41 rests on this: every fen of a payout has one place.
@given(
    debts=st.lists(
        st.tuples(st.integers(0, 5_000_000), st.integers(0, 300_000), st.integers(0, 2)),
        max_size=6,
    ),
    amount_fen=st.integers(1, 12_000_000),
)
def test_parts_and_household_sum_to_the_payout_and_none_takes_more_than_it_is_owed(
    debts: list[tuple[int, int, int]], amount_fen: int
) -> None:
    known = [
        an_active_loan(principal, interest_fen=interest)
        for principal, interest, _ in debts
        if principal + interest > 0
    ]
    ranks = [rank for principal, interest, rank in debts if principal + interest > 0]
    groups = [
        [ln.loan_id for ln, at in zip(known, ranks, strict=True) if at == r] for r in range(3)
    ]

    allocation, now = allocate(a_payout(amount_fen, *groups), *known)

    owed = {loan.loan_id: loan.owed_fen for loan in known}
    parts = {part.loan_id: part.amount_fen for part in allocation.parts}
    assert sum(parts.values()) + allocation.household_fen == amount_fen
    assert all(0 < amount <= owed[loan_id] for loan_id, amount in parts.items())
    assert all(now[loan_id].owed_fen == owed[loan_id] - parts[loan_id] for loan_id in parts)
    assert allocation.household_fen == max(0, amount_fen - sum(owed.values()))
    # A lower group gets nothing before the higher one has everything.
    for higher, lower in pairwise([group for group in groups if group]):
        if any(loan_id in parts for loan_id in lower):
            assert all(parts.get(loan_id) == owed[loan_id] for loan_id in higher)


# --- compensation ---------------------------------------------------------------------------------


def a_compensation(loan: Loan, loss_fen: int) -> Compensation:
    parts = tuple((party, who, Fen(loss_fen * pct // 100), True) for party, who, pct in PARTIES)
    return Compensation(new_id(), loan.loan_id, Fen(loss_fen), parts)


# S21: what comes in afterwards belongs first to those who paid.
def test_what_is_paid_after_a_compensation_belongs_to_those_who_paid() -> None:
    loan = an_active_loan(1_000_000, interest_fen=10_000)
    loan, _ = balance.compensate(loan, a_compensation(loan, 1_010_000))
    assert (loan.compensated, loan.subrogated_fen) == (True, 1_010_000)

    allocation, now = allocate(a_payout(400_000, [loan.loan_id]), loan)

    (part,) = allocation.parts
    assert (part.amount_fen, part.subrogated_fen) == (400_000, 400_000)
    rest = now[loan.loan_id]
    assert (rest.owed_fen, rest.subrogated_fen) == (610_000, 610_000)


def test_interest_that_came_after_the_compensation_is_the_lenders() -> None:
    loan = an_active_loan(1_000_000)
    loan, _ = balance.compensate(loan, a_compensation(loan, 1_000_000))

    paid = repay(loan, 1_000_000 + 1_000, after(10))

    assert paid.state is LoanState.SETTLED
    assert balance.subrogated_part(loan, 1_001_000) == 1_000_000
    assert paid.subrogated_fen == 0


def test_a_loan_that_was_paid_down_meanwhile_owes_less_to_those_who_paid() -> None:
    loan = an_active_loan(600_000)

    now, excess = balance.compensate(loan, a_compensation(loan, 1_000_000))

    assert (now.subrogated_fen, excess) == (600_000, 400_000)
    off = an_active_loan(0, state=LoanState.WRITTEN_OFF)
    loss = a_compensation(off, 1_000_000)
    now, excess = balance.compensate(off, loss, Fen(900_000))
    assert (now.subrogated_fen, excess) == (900_000, 100_000)


@given(
    principal_fen=st.integers(1, 5_000_000),
    loss_fen=st.integers(1, 6_000_000),
    payments=st.lists(st.integers(1, 2_000_000), max_size=8),
)
def test_those_who_paid_get_back_their_loss_and_never_more(
    principal_fen: int, loss_fen: int, payments: list[int]
) -> None:
    loan = an_active_loan(principal_fen)
    loan, excess = balance.compensate(loan, a_compensation(loan, loss_fen))
    assert excess == loss_fen - loan.subrogated_fen
    owed_to_them = loan.subrogated_fen
    returned = 0
    for asked in payments:
        amount = min(asked, loan.owed_fen)
        assume(amount > 0)
        returned += balance.subrogated_part(loan, amount)
        loan = repay(loan, amount, OPENED)
        assert 0 <= loan.subrogated_fen <= loan.owed_fen

    assert returned + loan.subrogated_fen == owed_to_them <= loss_fen


def test_a_debt_that_is_not_owed_yet_is_none() -> None:
    changes: list[dict[str, Any]] = [{"state": LoanState.APPROVED}, {"interest": None}]
    for each in changes:
        assert balance.debt(an_active_loan(**each)).total_fen == 0
