"""The book of a loan: replayed, backdated and undone, it stays exact."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.money import Fen
from services.loans.rules import book, position, schedule
from services.loans.rules.book import BookTerms, Posting, PostingKind
from services.loans.rules.schedule import Method
from services.programmes import calendars
from services.programmes.settlement import (
    INTEREST_FIRST,
    PRINCIPAL_FIRST,
    Amounts,
    AppropriationOrder,
)
from tests.loans.builders import an_active_loan

OPENED = date(2021, 1, 4)
TERMS = BookTerms(360, INTEREST_FIRST, subsidised=False)


def after(days: int) -> date:
    return OPENED + timedelta(days=days)


def lent(principal_fen: int = 3_000_000, rate_ppm: int = 36_000) -> Posting:
    paid = Amounts(principal_fen=Fen(principal_fen))
    return Posting(1, PostingKind.DISBURSEMENT, OPENED, fixed=paid, rate_ppm=rate_ppm)


def paid(number: int, days: int, fen: int, reverses: int | None = None) -> Posting:
    return Posting(number, PostingKind.REPAYMENT, after(days), Fen(fen), reverses=reverses)


payments = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 1_500_000)), max_size=10)


# What was known late is worth the same as what was known at once.
@given(payments, st.data())
def test_the_order_of_booking_does_not_matter(
    found: list[tuple[int, int]], data: st.DataObject
) -> None:
    postings = [lent(), *(paid(i, days, fen) for i, (days, fen) in enumerate(found, 2))]
    shuffled = data.draw(st.permutations(postings))

    assert book.replay(TERMS, postings, after(500)) == book.replay(TERMS, shuffled, after(500))


@given(payments)
def test_replay_is_posting_one_by_one(found: list[tuple[int, int]]) -> None:
    ordered = sorted(found)
    postings = [lent(), *(paid(i, days, fen) for i, (days, fen) in enumerate(ordered, 2))]
    held = book.Position(OPENED, 0)
    for posting in postings:
        held = book.accrue(held, posting.value_date, TERMS.day_basis)
        held, _ = book.apply(held, posting, TERMS.order)

    assert book.replay(TERMS, postings, after(500)).position == book.accrue(held, after(500), 360)


@given(payments, st.data())
def test_what_was_undone_is_as_if_it_had_never_been(
    found: list[tuple[int, int]], data: st.DataObject
) -> None:
    postings = [lent(), *(paid(i, days, fen) for i, (days, fen) in enumerate(found, 2))]
    if len(postings) == 1:
        return
    wrong = data.draw(st.sampled_from(postings[1:]))
    undo = Posting(
        len(postings) + 1, wrong.kind, wrong.value_date, wrong.amount_fen, reverses=wrong.number
    )
    without = [each for each in postings if each is not wrong]

    undone = book.replay(TERMS, [*postings, undo], after(500))

    assert undone.position == book.replay(TERMS, without, after(500)).position
    assert wrong.number not in {line.posting.number for line in undone.lines}


@given(payments)
def test_what_came_in_is_what_was_taken_and_what_is_kept(found: list[tuple[int, int]]) -> None:
    postings = [lent(), *(paid(i, days, fen) for i, (days, fen) in enumerate(found, 2))]

    replayed = book.replay(TERMS, postings, after(500))

    came = sum(fen for _, fen in found)
    held = replayed.position
    assert book.totals(replayed.lines).total_fen + held.suspense_fen == came
    assert 3_000_000 + held.household_posted_fen == held.debt.total_fen + came - held.suspense_fen
    assert min(held.outstanding_fen, held.owed_fen, held.suspense_fen) >= 0


# Money that is moved comes from cash once, wherever the splits of the other postings went.
@given(payments, st.integers(0, 400), st.integers(1, 1_500_000))
def test_a_backdated_payment_moves_its_own_cash_only(
    found: list[tuple[int, int]], days: int, fen: int
) -> None:
    postings = [lent(), *(paid(i, each, much) for i, (each, much) in enumerate(found, 2))]
    more = [*postings, paid(len(postings) + 1, days, fen)]

    moved = position.cash_moved(
        book.replay(TERMS, postings, after(500)), book.replay(TERMS, more, after(500))
    )

    assert sum(moved[PostingKind.REPAYMENT]) == fen
    assert all(sum(each) == 0 for kind, each in moved.items() if kind != PostingKind.REPAYMENT)


def test_a_backdated_payment_changes_the_interest_since_then_to_the_fen() -> None:
    # 30,000 yuan at 3.6 %: 3 yuan a day; a third paid 100 days earlier saves 1 yuan a day.
    late = [lent(), paid(2, 100, 1_030_000)]

    assert book.replay(TERMS, late, after(200)).position.owed_fen == 20_000
    early = book.replay(TERMS, [lent(), paid(2, 0, 1_000_000), paid(3, 100, 30_000)], after(200))
    assert early.position.outstanding_fen == 1_990_000
    assert early.position.owed_fen == 19_900


@pytest.mark.parametrize(
    ("order", "taken"),
    [
        (INTEREST_FIRST, Amounts(interest_fen=Fen(3_000), principal_fen=Fen(97_000))),
        (PRINCIPAL_FIRST, Amounts(principal_fen=Fen(100_000))),
    ],
)
def test_the_pack_says_what_is_paid_first(order: AppropriationOrder, taken: Amounts) -> None:
    replayed = book.replay(
        BookTerms(360, order, subsidised=False), [lent(), paid(2, 10, 100_000)], after(10)
    )

    assert replayed.lines[1].taken == taken


# LS18.loa.6: from the stop on the household bears the interest, before it the treasury.
def test_a_stopped_subsidy_parts_the_interest_at_its_day() -> None:
    terms = BookTerms(360, INTEREST_FIRST, subsidised=True)
    stop = Posting(2, PostingKind.SUBSIDY_STOP, after(120))

    held = book.replay(terms, [lent(5_000_000, 43_500), stop], after(180)).position

    assert (held.treasury_posted_fen, held.household_posted_fen) == (72_500, 36_250)


def test_a_new_rate_holds_from_its_day() -> None:
    rate = Posting(2, PostingKind.RATE, after(100), rate_ppm=72_000)

    held = book.replay(TERMS, [lent(), rate], after(200)).position

    assert held.owed_fen == 30_000 + 60_000


def test_forgiven_and_written_off_is_never_more_than_is_owed() -> None:
    fixed = Amounts(interest_fen=Fen(99_999), principal_fen=Fen(0))
    discount = Posting(2, PostingKind.DISCOUNT, after(10), fixed=fixed)
    off = Posting(
        3,
        PostingKind.WRITE_OFF,
        after(20),
        fixed=Amounts(interest_fen=Fen(10**9), principal_fen=Fen(10**9)),
    )

    replayed = book.replay(TERMS, [lent(), discount, off], after(30))

    assert [line.taken.interest_fen for line in replayed.lines] == [0, 3_000, 3_000]
    assert replayed.position.debt.total_fen == 0


# --- what falls due -------------------------------------------------------------------------------


@given(
    st.integers(1, 10**9),
    st.integers(0, 200_000),
    st.integers(1, 60),
    st.sampled_from(list(Method)),
    st.dates(date(2015, 1, 1), date(2024, 12, 31)),
)
def test_instalments_sum_to_the_principal_and_end_with_the_term(
    principal: int, rate: int, months: int, method: Method, start: date
) -> None:
    planned = schedule.plan(
        Fen(principal), rate_ppm=rate, start=start, term_months=months, method=method
    )

    assert sum(each.principal_fen for each in planned) == principal
    assert all(each.principal_fen >= 0 and each.interest_fen >= 0 for each in planned)
    days = [each.due_on for each in planned]
    assert days == sorted(set(days))
    assert days[-1] == calendars.add_months(start, months)


def given_back(number: int, days: int, fen: int) -> Posting:
    return Posting(number, PostingKind.REFUND, after(days), Fen(fen))


# 30 yuan of interest for ten days; of 100 yuan paid too much 15 are given back.
def test_a_refund_within_what_was_paid_too_much_is_no_part_of_the_debt() -> None:
    replayed = book.replay(
        TERMS, [lent(), paid(2, 10, 3_013_000), given_back(3, 11, 1_500)], after(30)
    )

    assert replayed.position.debt == Amounts()
    assert replayed.position.suspense_fen == 8_500
    assert replayed.lines[2].taken == Amounts()


# Of two payments the first is lowered by 1,000 yuan afterwards: the 100 yuan that had been paid
# too much and were given back were needed after all.
def test_a_refund_of_what_was_owed_after_all_is_owed_again() -> None:
    early = [lent(), paid(2, 10, 2_003_000), paid(3, 10, 1_010_000), given_back(4, 10, 10_000)]
    assert book.replay(TERMS, early, after(10)).position.debt == Amounts()

    late = [*early, paid(5, 10, 2_003_000, reverses=2), paid(6, 10, 1_903_000)]
    replayed = book.replay(TERMS, late, after(10))

    assert replayed.position.debt == Amounts(principal_fen=Fen(90_000 + 10_000))
    assert replayed.position.suspense_fen == 0
    assert book.given_back_of_debt(replayed.lines) == 10_000
    refund = replayed.lines[2]
    assert position.split(refund.posting, refund) == Amounts(principal_fen=Fen(10_000))


# Interest that was paid, given back and is owed again is no principal: it bears no interest.
def test_a_refund_of_all_that_was_paid_is_owed_as_it_was_paid() -> None:
    early = [lent(), paid(2, 10, 3_003_000), paid(3, 10, 3_003_000), given_back(4, 10, 3_003_000)]

    late = [*early, paid(5, 10, 3_003_000, reverses=2)]

    held = book.replay(TERMS, late, after(10)).position
    assert held.debt == Amounts(principal_fen=Fen(3_000_000), interest_fen=Fen(3_000))


@given(payments, st.data())
def test_what_was_given_back_is_of_what_was_too_much_or_is_owed_again(
    found: list[tuple[int, int]], data: st.DataObject
) -> None:
    postings = [lent(), *(paid(i, days, fen) for i, (days, fen) in enumerate(found, 2))]
    held = book.replay(TERMS, postings, after(400)).position.suspense_fen
    refunded = data.draw(st.integers(0, held))
    postings.append(given_back(len(postings) + 1, 400, refunded))
    if len(postings) > 2:
        wrong = data.draw(st.sampled_from(postings[1:-1]))
        number = len(postings) + 1
        postings.append(replace(wrong, number=number, reverses=wrong.number))

    replayed = book.replay(TERMS, postings, after(500))

    now = replayed.position
    came = sum(each.amount_fen for each in book.counting(postings) if each.kind in book.MONEY_IN)
    owed = 3_000_000 + now.household_posted_fen + refunded
    assert now.debt.total_fen + came - now.suspense_fen == owed
    assert min(now.outstanding_fen, now.owed_fen, now.suspense_fen) >= 0
    assert now.outstanding_fen <= 3_000_000


# The bank's formula by hand: 100,000 yuan, 4.75 %, a year: 8,549.30 yuan a month.
def test_equal_instalments_are_equal_but_for_the_last() -> None:
    planned = schedule.plan(
        Fen(10_000_000),
        rate_ppm=47_500,
        start=date(2018, 1, 15),
        term_months=12,
        method=Method.EQUAL_INSTALMENT,
    )

    totals = {each.total_fen for each in planned[:-1]}
    assert len(totals) == 1
    assert abs(planned[-1].total_fen - totals.pop()) <= 12


def due(postings: Sequence[Posting], today: date) -> date | None:
    loan = an_active_loan(method="quarterly", term_months=12, disbursed_on=OPENED)
    return position.next_due(replace(loan, rate_ppm=36_000), TERMS, postings, today)


def test_what_is_due_next_follows_what_is_paid() -> None:
    # 90 days at 3 yuan a day.
    assert due([lent()], after(10)) == date(2021, 4, 4)
    assert due([lent()], after(100)) == date(2021, 4, 4)
    assert due([lent(), paid(2, 90, 26_999)], after(100)) == date(2021, 4, 4)
    assert due([lent(), paid(2, 90, 27_000)], after(100)) == date(2021, 7, 4)
