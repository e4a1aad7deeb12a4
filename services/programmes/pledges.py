"""Pledges: what collateral must be worth, what it secures, and what deposited assets bear."""

from dataclasses import dataclass

from services.kernel.money import PPM, Fen, half_up
from services.programmes.interest import months_interest_fen
from services.programmes.schema.pledges import AdvancePledge, DepositPledge, InterestRefund
from services.programmes.schema.values import known


@dataclass(frozen=True, slots=True)
class CoverCheck:
    """Whether a collateral is worth enough for a loan."""

    accepted: bool
    working: str


@dataclass(frozen=True, slots=True)
class CollateralLimit:
    """What a pledge is worth, and the most that is lent on it."""

    collateral_value_fen: Fen
    limit_fen: Fen
    working: str


@dataclass(frozen=True, slots=True)
class AssetDeposit:
    """What one deposited asset counts and bears, and what all of them secure."""

    value_per_unit_fen: Fen
    interest_per_unit_month_fen: Fen
    pledge_loan_fen: Fen
    working: str


@dataclass(frozen=True, slots=True)
class Refund:
    """A loan's interest, and what its keeper pays back of it."""

    loan_interest_fen: Fen
    refund_fen: Fen
    missing: tuple[str, ...]
    working: str


def collateral_cover(
    loan_fen: Fen, *, collateral_value_fen: Fen, more_than_pct: int = 100
) -> CoverCheck:
    """The collateral must be above the loan, or that part of it; equal is not enough (S01)."""
    accepted = collateral_value_fen * 100 > loan_fen * more_than_pct
    working = f"{collateral_value_fen} > {more_than_pct} % of {loan_fen} fen: {accepted}"
    return CoverCheck(accepted, working)


def collateral_limit(units: int, *, unit_value_fen: Fen, advance_pct: int) -> CollateralLimit:
    """A part of the value, cut down to the fen: a limit never exceeds it (S02)."""
    assert units >= 0
    value = Fen(units * unit_value_fen)
    limit = Fen(value * advance_pct // 100)
    working = f"{units} × {unit_value_fen} = {value}; {advance_pct} % = {limit} fen"
    return CollateralLimit(value, limit, working)


def collateral_limit_of(
    pledge: AdvancePledge, units: int, *, unit_value_fen: Fen
) -> CollateralLimit:
    """The same by a pledge; refused while its part is open."""
    return collateral_limit(
        units, unit_value_fen=unit_value_fen, advance_pct=known(pledge.advance_pct)
    )


def asset_deposit(
    units: int, *, unit_price_fen: Fen, deposit_pct: int, monthly_rate_ppm: int
) -> AssetDeposit:
    """Each unit counts a part of its price, cut down to the fen; interest is by month (C07)."""
    assert units >= 0
    value = Fen(unit_price_fen * deposit_pct // 100)
    interest = Fen(half_up(value * monthly_rate_ppm, PPM))
    loan = Fen(units * value)
    working = (
        f"{unit_price_fen} × {deposit_pct} % = {value} a unit; × {monthly_rate_ppm} ppm = "
        f"{interest} a month; {units} units secure {loan} fen"
    )
    return AssetDeposit(value, interest, loan, working)


def asset_deposit_of(pledge: DepositPledge, units: int, *, unit_price_fen: Fen) -> AssetDeposit:
    """The same by a pledge."""
    return asset_deposit(
        units,
        unit_price_fen=unit_price_fen,
        deposit_pct=pledge.deposit_pct,
        monthly_rate_ppm=pledge.monthly_rate_ppm,
    )


def interest_refund(
    clause: InterestRefund | None,
    principal_fen: Fen,
    *,
    loan_rate_ppm: int,
    months: int,
    sold_to_keeper: bool,
    held: frozenset[str] = frozenset(),
) -> Refund:
    """All the loan's interest back on a sale to the keeper, with all that is required (S49)."""
    interest = months_interest_fen(principal_fen, loan_rate_ppm, months)
    missing = tuple(need for need in (clause.requires if clause else ()) if need not in held)
    due = clause is not None and sold_to_keeper and not missing
    refund = interest if due else Fen(0)
    working = f"interest {interest}; sold to the keeper: {sold_to_keeper}, lacks {list(missing)}"
    return Refund(interest, refund, missing, f"{working}; refunded {refund} fen")
