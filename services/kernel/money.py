"""Money: whole fen, exact splits, one rounding."""

from collections.abc import Sequence
from typing import NewType

Fen = NewType("Fen", int)
"""An amount in whole fen (1 yuan = 100 fen)."""

PPM = 1_000_000
"""Rates are parts per million of this."""


def half_up(numerator: int, denominator: int) -> int:
    """Round a non-negative fraction half up to a whole number (S02)."""
    assert numerator >= 0
    assert denominator > 0
    return (2 * numerator + denominator) // (2 * denominator)


def ceil_div(numerator: int, denominator: int) -> int:
    """Round a fraction up to a whole number: what a requirement needs (S02)."""
    assert denominator > 0
    return -(-numerator // denominator)


def split(total: Fen, weights: Sequence[int]) -> list[Fen]:
    """
    Split an amount in proportion to weights; the parts always sum to it.

    Largest remainder, ties to the one declared first (S02). Weights are non-negative and not all
    zero, unless the total is zero.
    """
    assert total >= 0
    assert all(weight >= 0 for weight in weights)
    whole = sum(weights)
    if total == 0:
        return [Fen(0) for _ in weights]
    assert whole > 0, "an amount cannot be split over weights that are all zero"
    parts = [total * weight // whole for weight in weights]
    left = total - sum(parts)
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    for index in by_remainder[:left]:
        parts[index] += 1
    return [Fen(part) for part in parts]
