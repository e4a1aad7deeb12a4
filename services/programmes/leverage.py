"""Leverage: how many loans a fund may stand behind, and how large pools must be."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.kernel.money import PPM, Fen, ceil_div, half_up, split


@dataclass(frozen=True, slots=True)
class Leverage:
    """A fund's capacity against the loans it covers."""

    capacity_fen: Fen
    headroom_fen: Fen
    within_cap: bool
    required_fund_fen: Fen
    top_up_fen: Fen
    working: str


@dataclass(frozen=True, slots=True)
class PoolMix:
    """A pool of government and enterprise money, and what may be lent on it."""

    pool_fen: Fen
    mix_ok: bool
    capacity_fen: Fen
    headroom_fen: Fen
    within_cap: bool
    multiple_centi: int
    working: str


@dataclass(frozen=True, slots=True)
class VillageFund:
    """The bounds of a village mutual fund."""

    min_fen: Fen
    max_fen: Fen
    within: bool
    working: str


def leverage(fund_fen: Fen, *, multiple: int, outstanding_fen: Fen) -> Leverage:
    """Balance times multiple; headroom may be negative; exactly full is within (S26)."""
    capacity = Fen(fund_fen * multiple)
    required = Fen(ceil_div(outstanding_fen, multiple))
    headroom = Fen(capacity - outstanding_fen)
    working = f"{fund_fen} × {multiple} − {outstanding_fen} = {headroom} fen"
    return Leverage(
        capacity, headroom, headroom >= 0, required, Fen(max(0, required - fund_fen)), working
    )


def pool_mix(
    government_fen: Fen,
    enterprise_fen: Fen,
    *,
    government_pct: int,
    max_multiple: int,
    loans_fen: Fen,
) -> PoolMix:
    """Whether a pool has exactly the mix, and how far its loans stretch it."""
    pool = Fen(government_fen + enterprise_fen)
    mix_ok = pool > 0 and government_fen * 100 == government_pct * pool
    capacity = Fen(pool * max_multiple)
    headroom = Fen(capacity - loans_fen)
    multiple = half_up(loans_fen * 100, pool) if pool else 0
    working = f"pool {pool} × {max_multiple} − {loans_fen} = {headroom} fen, {multiple} hundredths"
    return PoolMix(pool, mix_ok, capacity, headroom, headroom >= 0, multiple, working)


def allocate(total_fen: Fen, weights: Sequence[tuple[str, int]]) -> dict[str, Fen]:
    """Divide a pool by weights, such as the banks' lending or the insurers' volume (S57)."""
    parts = split(total_fen, [weight for _, weight in weights])
    return {party: part for (party, _), part in zip(weights, parts, strict=True)}


def insurer_pool_fen(
    expected_lending_fen: Fen, *, default_rate_ppm: int, insurer_share_pct: int
) -> Fen:
    """Expected lending times default rate times the insurer's share (S53); a requirement: ceil."""
    return Fen(ceil_div(expected_lending_fen * default_rate_ppm * insurer_share_pct, PPM * 100))


def village_fund(
    village_loans_fen: Fen, *, min_pct: int, max_pct: int, fund_fen: Fen
) -> VillageFund:
    """Between two percentages of the village's loans: ceil of the least, floor of the most."""
    least = Fen(ceil_div(village_loans_fen * min_pct, 100))
    most = Fen(village_loans_fen * max_pct // 100)
    working = f"{least} ≤ {fund_fen} ≤ {most} fen"
    return VillageFund(least, most, least <= fund_fen <= most, working)
