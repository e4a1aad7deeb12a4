"""After disbursement, decided: subsidy split, months used, classes, collateral, recoveries."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.errors import Refused
from services.kernel.money import Fen
from services.loans.model import Collateral, Judgement
from services.loans.rules import book, collecting, schedule, securing, standing, subsidy
from services.loans.rules.book import Line, Position, Posting, PostingKind
from services.loans.rules.schedule import Method, Plan
from services.programmes import calendars, pledges
from services.programmes.schema.monitoring import FiveTier
from services.programmes.schema.pledges import Security
from services.programmes.settlement import INTEREST_FIRST, Amounts
from services.programmes.terms import Terms
from tests.loans.builders import an_active_loan
from tests.loans.county import COUNTY, OPENED, REF, a_catalogue

TERMS = a_catalogue().terms(COUNTY, REF)
DAYS = st.dates(date(2020, 1, 1), date(2026, 12, 31))


# --- subsidy --------------------------------------------------------------------------------------


@given(
    st.integers(1, 50_000_000),
    st.integers(0, 200_000),
    st.integers(0, 200_000),
    st.lists(st.integers(0, 400), max_size=6),
)
def test_the_treasury_and_the_household_bear_the_whole_interest_between_them(
    principal: int, rate: int, cap: int, gaps: list[int]
) -> None:
    whole = Position(OPENED, rate, Fen(principal))
    split = Position(OPENED, rate, Fen(principal), subsidised=True, subsidy_rate_ppm=cap)
    on = OPENED
    for gap in gaps:
        on += timedelta(days=gap)
        whole, split = book.accrue(whole, on, 360), book.accrue(split, on, 360)

    assert whole.household_numerator == split.household_numerator + split.treasury_numerator
    both = split.household_posted_fen + split.treasury_posted_fen
    assert abs(both - whole.household_posted_fen) <= 1
    # Never more than the loan costs (S30); without a cap all of it.
    assert split.treasury_numerator <= whole.household_numerator
    assert cap or split.household_numerator == 0


# S29
@pytest.mark.parametrize(
    ("spells", "months"),
    [
        ([], 0),
        ([(date(2021, 1, 4), date(2021, 1, 4))], 0),
        ([(date(2021, 1, 4), date(2021, 1, 5))], 1),
        ([(date(2021, 1, 4), date(2022, 1, 4))], 12),
        ([(date(2021, 1, 31), date(2021, 2, 28))], 1),
        # Two loans at the same time use the same months.
        ([(date(2021, 1, 4), date(2022, 1, 4)), (date(2021, 7, 4), date(2022, 7, 4))], 18),
        ([(date(2021, 1, 4), date(2022, 1, 4)), (date(2022, 6, 4), date(2022, 9, 4))], 15),
    ],
)
def test_months_of_subsidy_are_counted_over_all_loans_of_a_household(
    spells: list[subsidy.Spell], months: int
) -> None:
    assert subsidy.months_used(spells, date(2030, 1, 1)) == months


def test_months_go_on_across_a_renewal_and_end_on_the_corresponding_day() -> None:
    first = (date(2021, 1, 4), date(2023, 1, 4))

    assert subsidy.ends_on(date(2023, 1, 4), [first], 36) == date(2024, 1, 4)
    assert subsidy.ends_on(date(2023, 1, 4), [first], 24) == date(2023, 1, 4)
    assert subsidy.ends_on(date(2023, 1, 4), [first], None) == subsidy.FOR_EVER


@given(st.lists(st.tuples(DAYS, DAYS), max_size=5), DAYS, st.integers(0, 60))
def test_more_spells_never_leave_a_household_more_months(
    spells: list[subsidy.Spell], start: date, most: int
) -> None:
    alone = subsidy.ends_on(start, [], most)
    used = subsidy.ends_on(start, spells, most)

    assert start <= used <= alone == calendars.add_months(start, most)


@pytest.mark.parametrize(
    ("quarter", "last"),
    [(1, date(2024, 3, 31)), (2, date(2024, 6, 30)), (4, date(2024, 12, 31))],
)
def test_a_quarter_ends_on_its_last_day(quarter: int, last: date) -> None:
    assert subsidy.quarter_end(2024, quarter) == last


# --- classes --------------------------------------------------------------------------------------


@given(st.integers(0, 500), st.sampled_from(["", *FiveTier]))
def test_a_judgement_only_ever_makes_a_class_worse(days: int, judged: str) -> None:
    terms = TERMS
    by_days = standing.standing(terms, days=days)
    found = standing.standing(terms, days=days, judgement=Judgement(judged))

    order = list(FiveTier)
    assert order.index(found.tier) >= order.index(by_days.tier)
    if judged:
        assert order.index(found.tier) >= order.index(FiveTier(judged))
    assert found.non_performing or not by_days.non_performing


def test_new_terms_keep_a_bad_loan_bad_until_somebody_judges_it_better(terms: Terms) -> None:
    kept = Judgement("substandard", True)

    assert standing.standing(terms, days=0, judgement=kept).non_performing
    better = standing.judge(an_active_loan(), "special_mention", terms)
    assert not standing.standing(terms, days=0, judgement=better).non_performing
    with pytest.raises(Refused) as refusal:
        standing.judge(an_active_loan(overdue_days=91), "special_mention", terms)
    assert refusal.value.facts == {"overdue_days": "91", "class_by_days": "substandard"}


# --- agreements -----------------------------------------------------------------------------------


@given(
    st.integers(1, 10_000_000),
    st.integers(1, 60),
    st.sampled_from(list(Method)),
    DAYS,
    st.integers(0, 200_000),
)
def test_a_plan_pays_back_what_is_owed_and_ends_on_its_day(
    principal: int, months: int, method: Method, start: date, rate: int
) -> None:
    last = calendars.add_months(start, months)
    plan = Plan("restructuring", start, start, Fen(principal), months, method, rate, last)

    found = plan.instalments()

    assert sum(each.principal_fen for each in found) == principal
    assert found[-1].due_on == last
    assert schedule.due_by(found, last)[0] == principal


# --- collateral and recoveries --------------------------------------------------------------------


@given(st.integers(1, 10_000), st.integers(1, 10_000), st.integers(1, 1_000))
def test_assets_secure_exactly_the_loans_that_they_are_worth_more_than(
    value: int, loan: int, pct: int
) -> None:
    clause = Security.model_validate({"collateral": "required", "cover": {"more_than_pct": pct}})
    held = securing.value(
        _assets(), clause, units=1, unit_value_fen=Fen(value), source="appraiser", today=OPENED
    )

    check = pledges.collateral_cover(Fen(loan), collateral_value_fen=Fen(value), more_than_pct=pct)
    assert check.accepted == (loan <= held.secures_fen)


def _assets() -> Collateral:
    security = Security(collateral="optional")
    offered = securing.Offered("", "factory", 1, Fen(10**12), "appraiser", "sha256:ab", "")
    loan = an_active_loan()
    return securing.register(
        loan, security, offered, parties={}, collateral_id=loan.loan_id, today=OPENED
    )


@given(st.integers(0, 1_000), st.integers(0, 1_000), st.lists(st.integers(1, 1_500), max_size=5))
def test_no_more_is_recovered_than_was_written_off(
    interest: int, principal: int, amounts: list[int]
) -> None:
    gone = Amounts(interest_fen=Fen(interest), principal_fen=Fen(principal))
    lines = [_line(1, PostingKind.WRITE_OFF, gone)]
    for number, amount in enumerate(amounts, 2):
        back = collecting.recovery(lines, Fen(amount), INTEREST_FIRST)
        assert back.total_fen <= amount
        lines.append(_line(number, PostingKind.RECOVERY, back))

    recovered = book.totals(lines, frozenset({PostingKind.RECOVERY}))
    assert recovered.total_fen == min(sum(amounts), interest + principal)


def _line(number: int, kind: PostingKind, taken: Amounts) -> Line:
    return Line(Posting(number, kind, OPENED), taken, Fen(0), Fen(0), Fen(0))
