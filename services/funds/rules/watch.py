"""Funds: whether a fund can meet what it stands behind, and whether a year adds up. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.funds.model import Fund, FundState
from services.kernel.money import PPM, Fen, ceil_div
from services.programmes.leverage import Leverage, leverage
from services.programmes.schema.fund import RatioLayer, SharingModel
from services.programmes.schema.values import Open


@dataclass(frozen=True, slots=True)
class Backed:
    """What a fund stands behind under one way of sharing."""

    model_id: str
    loans: int
    covered_fen: Fen
    outstanding_fen: Fen
    non_performing_fen: Fen


@dataclass(frozen=True, slots=True)
class Adequacy:
    """What a fund would have to pay at the present non-performing rate, and whether it can."""

    non_performing_ppm: int
    """Non-performing against outstanding of all that it stands behind; 0 when nothing is owed."""
    needed_fen: Fen
    free_fen: Fen
    """Its balance less what it owes already; never below 0."""
    missing_fen: Fen
    adequate: bool
    working: str


@dataclass(frozen=True, slots=True)
class Watched:
    """A fund under watch."""

    fund: Fund
    programme: str
    leverage: Leverage | None
    """None while the programme leaves the multiple open."""
    takes_cover: bool
    backed: tuple[Backed, ...]
    adequacy: Adequacy


@dataclass(frozen=True, slots=True)
class YearLine:
    """Money of a fund in a year, of one kind and source; below zero when it left."""

    kind: str
    source: str
    amount_fen: int
    entries: int


@dataclass(frozen=True, slots=True)
class Year:
    """A fund's year by the journal: opening and lines make closing."""

    opening_fen: Fen
    lines: tuple[YearLine, ...]
    closing_fen: Fen
    difference_fen: int
    """What does not add up; 0, or somebody must look."""


def share_of(model: SharingModel | None, kind: str) -> tuple[int, int]:
    """A fund's share of a loss: its part and the whole; a pot may have to bear all of it."""
    if model is None or kind in model.pots or kind not in model.shares:
        return 1, 1
    layers = () if isinstance(model.layers, Open) else model.layers
    [ratio] = [layer.ratio for layer in layers if isinstance(layer, RatioLayer)]
    return ratio[kind], sum(ratio.values())


def adequacy(
    fund: Fund, backed: Sequence[Backed], models: Mapping[str, SharingModel | None]
) -> Adequacy:
    """
    The rate of all it stands behind, on each cover, times its share of a loss.

    A requirement: rounded up for each way of sharing.
    """
    outstanding = sum(each.outstanding_fen for each in backed)
    bad = sum(each.non_performing_fen for each in backed)
    needed = 0
    if outstanding:
        for each in backed:
            mine, whole = share_of(models.get(each.model_id), fund.kind)
            needed += ceil_div(each.covered_fen * bad * mine, outstanding * whole)
    rate = ceil_div(bad * PPM, outstanding) if outstanding else 0
    free = max(0, fund.balance_fen - fund.owed_fen)
    missing = max(0, needed + fund.owed_fen - fund.balance_fen)
    working = f"{bad} of {outstanding} fen non-performing; {needed} needed, {free} fen free"
    return Adequacy(rate, Fen(needed), Fen(free), Fen(missing), missing == 0, working)


def watched(
    fund: Fund,
    backed: Sequence[Backed],
    models: Mapping[str, SharingModel | None],
    *,
    programme: str,
    multiple: int | None,
) -> Watched:
    """A fund's leverage, whether it takes cover, and its adequacy."""
    lever = None
    if multiple is not None:
        lever = leverage(fund.balance_fen, multiple=multiple, outstanding_fen=fund.covered_fen)
    takes = fund.state is FundState.OPEN and lever is not None and lever.headroom_fen > 0
    return Watched(fund, programme, lever, takes, tuple(backed), adequacy(fund, backed, models))


def year(opening_fen: int, lines: Sequence[YearLine], closing_fen: int) -> Year:
    """A year's lines between two balances."""
    difference = opening_fen + sum(line.amount_fen for line in lines) - closing_fen
    return Year(Fen(opening_fen), tuple(lines), Fen(closing_fen), difference)
