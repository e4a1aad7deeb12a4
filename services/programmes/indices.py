"""Indices: what a price index cover pays."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.kernel.errors import Refused
from services.kernel.money import Fen, half_up
from services.programmes.schema.index import PriceIndex
from services.programmes.schema.values import known

CENTI = 100


@dataclass(frozen=True, slots=True)
class IndexPayout:
    """The gap to the trigger and what it pays; both nothing at or above the trigger."""

    gap_fen_per_jin: Fen
    payout_fen: Fen
    working: str


def index_payout(
    trigger_fen_per_jin: Fen, *, prices_fen_per_jin: Sequence[Fen], quantity_centi_jin: int
) -> IndexPayout:
    """
    (Trigger − average price) × quantity, no deductible (S37).

    The average stays a fraction: only the payout is rounded, once, half up. The gap is shown
    rounded.
    """
    count = len(prices_fen_per_jin)
    if count == 0:
        raise Refused(
            "MARKET_PRICE_MISSING",
            "an index cover needs the market prices of its settlement period",
            message_zh="缺少结算期市场价格",
        )
    assert quantity_centi_jin >= 0
    gap = max(0, trigger_fen_per_jin * count - sum(prices_fen_per_jin))
    payout = Fen(half_up(gap * quantity_centi_jin, count * CENTI))
    working = (
        f"({trigger_fen_per_jin} − {sum(prices_fen_per_jin)} / {count}) fen × "
        f"{quantity_centi_jin} / {CENTI} jin = {payout} fen"
    )
    return IndexPayout(Fen(half_up(gap, count)), payout, working)


def index_payout_by(
    clause: PriceIndex, *, prices_fen_per_jin: Sequence[Fen], quantity_centi_jin: int
) -> IndexPayout:
    """The same by a cover's clause; refused while its trigger is open."""
    return index_payout(
        Fen(known(clause.trigger_fen_per_jin)),
        prices_fen_per_jin=prices_fen_per_jin,
        quantity_centi_jin=quantity_centi_jin,
    )
