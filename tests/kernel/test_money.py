"""Money: a split loses no fen, is fair to a fen, and rounds in one way only."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.money import Fen, ceil_div, half_up, split

amounts = st.integers(min_value=0, max_value=10**15).map(Fen)
weights = st.lists(st.integers(min_value=0, max_value=10**9), min_size=1, max_size=20).filter(any)


@given(amounts, weights)
def test_the_parts_sum_to_the_whole(total: Fen, shares: list[int]) -> None:
    assert sum(split(total, shares)) == total


@given(amounts, weights)
def test_no_part_is_a_fen_or_more_away_from_its_exact_share(total: Fen, shares: list[int]) -> None:
    for part, weight in zip(split(total, shares), shares, strict=True):
        assert abs(part - Fraction(total * weight, sum(shares))) < 1


@given(amounts, weights)
def test_who_weighs_nothing_gets_nothing(total: Fen, shares: list[int]) -> None:
    parts = split(total, shares)

    assert all(part == 0 for part, weight in zip(parts, shares, strict=True) if weight == 0)


@given(amounts, weights)
def test_who_weighs_more_never_gets_less(total: Fen, shares: list[int]) -> None:
    by_weight = sorted(zip(shares, split(total, shares), strict=True))

    for (lighter, less), (heavier, more) in pairwise(by_weight):
        assert less <= more or lighter == heavier


def test_a_tie_goes_to_the_one_declared_first() -> None:
    assert split(Fen(1), [1, 1]) == [1, 0]
    assert split(Fen(100), [1, 1, 1]) == [34, 33, 33]
    assert split(Fen(5), [1, 1, 1]) == [2, 2, 1]


def test_nothing_can_be_split_over_nobody() -> None:
    assert split(Fen(0), [0, 0]) == [0, 0]
    with pytest.raises(AssertionError):
        split(Fen(1), [0, 0])


@pytest.mark.parametrize(
    ("numerator", "denominator", "expected"),
    [(0, 7, 0), (1, 2, 1), (3, 2, 2), (49, 100, 0), (50, 100, 1), (149, 100, 1), (5, 5, 1)],
)
def test_half_is_rounded_up(numerator: int, denominator: int, expected: int) -> None:
    assert half_up(numerator, denominator) == expected


@given(st.integers(min_value=0, max_value=10**24), st.integers(min_value=1, max_value=10**12))
def test_rounding_is_exact_at_any_size(numerator: int, denominator: int) -> None:
    exact = Fraction(numerator, denominator)

    assert -Fraction(1, 2) < half_up(numerator, denominator) - exact <= Fraction(1, 2)
    assert 0 <= ceil_div(numerator, denominator) - exact < 1


def test_a_negative_amount_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        half_up(-1, 2)
    with pytest.raises(AssertionError):
        split(Fen(-1), [1])
