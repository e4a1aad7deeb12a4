"""What a day close sees: the day a loan turns bad, its class, the scopes that stop."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.loans.model import AreaBalance, Breaker, BreakerScope
from services.loans.rules import watch
from services.programmes.terms import Terms
from tests.loans.builders import a_balance, an_active_loan, interest_of
from tests.loans.county import COUNTY, PACK, REF, a_catalogue

DUE = date(2021, 1, 4)
TERMS = a_catalogue().terms(COUNTY, REF)
TOWN, NEXT_TOWN = "990101001", "990101002"


def village(number: int, town: str = TOWN) -> str:
    return f"{town}{number:03d}"


def age(days: int, terms: Terms) -> watch.Aged:
    loan = an_active_loan(matures_on=DUE, disbursed_on=DUE)
    return watch.age(loan, terms=terms, day=DUE + timedelta(days=days))


# --- overdue loans --------------------------------------------------------------------------------


# LS18.fun.1, S01: more than 70 days, so 70 are not enough.
@pytest.mark.parametrize(("days", "bad"), [(0, False), (1, False), (70, False), (71, True)])
def test_a_loan_is_non_performing_after_more_than_seventy_days(
    published: Terms, days: int, bad: bool
) -> None:
    aged = age(days, published)

    assert aged.newly_non_performing is bad
    assert aged.loan.overdue_days == days
    assert aged.loan.non_performing_on == (DUE + timedelta(days=71) if bad else None)


def test_the_day_it_turned_bad_stays(terms: Terms) -> None:
    first = age(71, terms).loan

    again = watch.age(first, terms=terms, day=DUE + timedelta(days=100))

    assert not again.newly_non_performing
    assert again.loan.non_performing_on == DUE + timedelta(days=71)


# S14
@pytest.mark.parametrize(
    ("days", "tier"),
    [
        (0, "normal"),
        (1, "special_mention"),
        (90, "special_mention"),
        (91, "substandard"),
        (180, "substandard"),
        (181, "doubtful"),
        (360, "doubtful"),
        (361, "loss"),
        (1_000, "loss"),
    ],
)
def test_five_classes_by_days_alone(published: Terms, days: int, tier: str) -> None:
    aged = age(days, published)

    assert aged.loan.five_tier_class == tier
    assert aged.reclassified is (tier != "normal")


# C21: two independent facts, the pack says which one counts.
def test_a_pack_may_go_by_the_class_instead(terms: Terms) -> None:
    measure = "{measure: overdue_days, more_than_days: 70}"
    by_class = a_catalogue(PACK.replace(measure, "{measure: five_tier, from_tier: substandard}"))

    found = by_class.terms(COUNTY, REF)

    assert not age(90, found).newly_non_performing
    assert age(91, found).newly_non_performing
    assert age(71, terms).newly_non_performing


def test_a_day_close_charges_interest_up_to_the_day(terms: Terms) -> None:
    aged = age(10, terms).loan

    assert interest_of(aged).accrued_through == DUE + timedelta(days=10)
    assert interest_of(aged).owed_fen == 3_000


# --- breakers -------------------------------------------------------------------------------------


def trip(
    terms: Terms,
    *balances: AreaBalance,
    closed: tuple[str, ...] = (),
    villages: list[str] | None = None,
) -> list[Breaker]:
    known = villages or [each.area_code for each in balances]
    return watch.trip(balances, closed, known, terms=terms, county_code=COUNTY)


def scopes(breakers: list[Breaker]) -> list[tuple[str, str]]:
    return [(breaker.scope, breaker.scope_id) for breaker in breakers]


CROWD = [village(number) for number in range(1, 11)]
"""All villages of a township, so that one that trips does not stop it."""


# LS17.mon.3, S01, S16: five in a hundred is still allowed.
@pytest.mark.parametrize(("bad", "stops"), [(0, False), (500, False), (501, True), (10_000, True)])
def test_a_village_stops_above_five_per_cent(published: Terms, bad: int, stops: bool) -> None:
    tripped = trip(published, a_balance(village(1), bad, 10_000), villages=CROWD)

    assert scopes(tripped) == ([("village", village(1))] if stops else [])
    for breaker in tripped:
        assert (breaker.tripped, breaker.scope) == (True, BreakerScope.VILLAGE)
        assert (breaker.numerator, breaker.denominator) == (bad, 10_000)
        # LS18.mon.1, C17
        assert set(breaker.effects) == {
            "stop_grant",
            "stop_approve",
            "stop_draw",
            "stop_disburse",
            "open_collection",
        }


def test_a_village_that_owes_nothing_never_stops(terms: Terms) -> None:
    assert trip(terms, a_balance(village(1), 0, 0), villages=CROWD) == []


# LS17.mon.4, S01, S17: three of ten are enough, villages without loans count.
@pytest.mark.parametrize(("bad", "known", "stops"), [(2, 10, False), (3, 10, True), (3, 11, False)])
def test_a_township_stops_at_thirty_per_cent_of_all_its_villages(
    published: Terms, bad: int, known: int, stops: bool
) -> None:
    balances = [a_balance(village(number), 600, 10_000) for number in range(1, bad + 1)]
    elsewhere = [village(number, NEXT_TOWN) for number in range(1, 30)]
    everywhere = [village(number) for number in range(1, known + 1)] + elsewhere

    tripped = trip(published, *balances, villages=everywhere)

    expected = [("village", each.area_code) for each in balances]
    assert scopes(tripped) == expected + ([("township", TOWN)] if stops else [])
    if stops:
        assert (tripped[-1].numerator, tripped[-1].denominator) == (bad, known)


def test_villages_that_stopped_before_count_and_nothing_trips_twice(terms: Terms) -> None:
    bad = [a_balance(village(number), 600, 10_000) for number in (1, 2, 3)]

    third = trip(terms, *bad, closed=(village(1), village(2)), villages=CROWD)
    again = trip(terms, *bad, closed=(*(b.area_code for b in bad), TOWN), villages=CROWD)

    assert scopes(third) == [("village", village(3)), ("township", TOWN)]
    assert again == []


def test_a_township_stops_even_when_its_last_village_stopped_before(terms: Terms) -> None:
    closed = tuple(village(number) for number in (1, 2, 3))

    assert scopes(trip(terms, closed=closed, villages=CROWD)) == [("township", TOWN)]


@given(
    books=st.lists(
        st.tuples(st.integers(0, 50_000), st.integers(0, 1_000_000)), min_size=1, max_size=40
    )
)
def test_breakers_agree_with_arithmetic_on_whole_numbers(books: list[tuple[int, int]]) -> None:
    balances = [
        a_balance(village(number), min(bad, owed), owed)
        for number, (bad, owed) in enumerate(books, 1)
    ]

    found = trip(TERMS, *balances)

    above = [b.area_code for b in balances if b.non_performing_fen * 20 > b.outstanding_fen]
    assert [b.scope_id for b in found if b.scope is BreakerScope.VILLAGE] == above
    stops = len(above) * 10 >= len(balances) * 3
    assert [b.scope_id for b in found if b.scope is BreakerScope.TOWNSHIP] == [TOWN] * stops
