"""Upkeep: keeping a fund full, what stands before its payments, and paying lenders' costs."""

from collections.abc import Collection
from dataclasses import dataclass

from services.kernel.money import PPM, Fen, ceil_div, half_up
from services.programmes.schema.fund import Fund
from services.programmes.schema.upkeep import FeeSubsidy, PaymentControl
from services.programmes.schema.values import known


@dataclass(frozen=True, slots=True)
class Yearly:
    """A year's addition to a fund, and whether it held its minimum before."""

    meets_minimum: bool
    added_fen: Fen
    balance_after_fen: Fen
    working: str


@dataclass(frozen=True, slots=True)
class Needed:
    """What a fund must hold, which rule says so, and what is missing."""

    required_fen: Fen
    binding: str
    top_up_fen: Fen
    working: str


@dataclass(frozen=True, slots=True)
class Fees:
    """What a lender gets for lending and a collector for the credit data."""

    lending_subsidy_fen: Fen
    data_fee_fen: Fen
    working: str


@dataclass(frozen=True, slots=True)
class Stabilised:
    """What a pool gives an insurer whose claims exceed its premium."""

    deficit_fen: Fen
    compensated_fen: Fen
    fund_after_fen: Fen
    working: str


def yearly_top_up(
    balance_fen: Fen, *, loans_fen: Fen, yearly_ppm: int, min_balance_fen: Fen
) -> Yearly:
    """A part of the loans outstanding at the year's end, also above the minimum (S27)."""
    added = Fen(half_up(loans_fen * yearly_ppm, PPM))
    after = Fen(balance_fen + added)
    working = f"{balance_fen} + {loans_fen} × {yearly_ppm} ppm = {after} fen"
    return Yearly(balance_fen >= min_balance_fen, added, after, working)


def needed(balance_fen: Fen, *, minimum_fen: Fen, multiple: int | None, loans_fen: Fen) -> Needed:
    """The larger of the minimum and the loans divided by the multiple, where one holds (C15)."""
    by_ratio = 0 if multiple is None else ceil_div(loans_fen, multiple)
    binding, required = max(
        (("minimum", minimum_fen), ("ratio", Fen(by_ratio))), key=lambda bound: bound[1]
    )
    missing = Fen(max(0, required - balance_fen))
    working = f"max(minimum {minimum_fen}, ratio {by_ratio}) − {balance_fen}: {missing} fen"
    return Needed(required, binding, missing, working)


def needed_by(fund: Fund, balance_fen: Fen, *, loans_fen: Fen) -> Needed:
    """The same by a programme's clause; the ratio counts where the fund is topped up to it."""
    to_ratio = fund.top_up is not None and fund.top_up.to_ratio
    return needed(
        balance_fen,
        minimum_fen=fund.min_balance_fen or Fen(0),
        multiple=known(fund.multiple) if to_ratio else None,
        loans_fen=loans_fen,
    )


def undone(
    control: PaymentControl | None,
    payment: str,
    *,
    audited: bool,
    published: bool,
    approved_by: Collection[str],
) -> tuple[str, ...]:
    """What must still be done before the fund pays this; nothing where no control holds."""
    if control is None or payment not in control.payments:
        return ()
    left = ["audit"] if control.audit and not audited else []
    left += ["public_notice"] if control.public_notice is not None and not published else []
    left += [f"approval_{organ}" for organ in control.approved_by if organ not in approved_by]
    return tuple(left)


def fee_subsidy(
    disbursed_fen: Fen, *, rate_ppm: int, households: int, per_household_fen: Fen
) -> Fees:
    """A part of the amounts lent, and a fee for each household's credit data."""
    lending = Fen(half_up(disbursed_fen * rate_ppm, PPM))
    data = Fen(households * per_household_fen)
    working = (
        f"{disbursed_fen} × {rate_ppm} ppm = {lending}, {households} × {per_household_fen} = {data}"
    )
    return Fees(lending, data, f"{working} fen")


def fee_subsidy_by(clause: FeeSubsidy, *, disbursed_fen: Fen, households: int) -> Fees:
    """The same by a programme's clause."""
    return fee_subsidy(
        disbursed_fen,
        rate_ppm=clause.rate_ppm,
        households=households,
        per_household_fen=clause.per_household_fen or Fen(0),
    )


def stabilise(
    premium_fen: Fen, claims_fen: Fen, *, fund_fen: Fen, compensates_pct: int = 100
) -> Stabilised:
    """The deficit, or its part, up to what the pool holds (S53); a surplus gets nothing."""
    deficit = Fen(max(0, claims_fen - premium_fen))
    paid = min(fund_fen, Fen(half_up(deficit * compensates_pct, 100)))
    after = Fen(fund_fen - paid)
    working = f"{claims_fen} − {premium_fen} = {deficit}, {paid} paid, {after} fen left"
    return Stabilised(deficit, paid, after, working)
