"""Schema: covers that pay the gap between a trigger price and the market's."""

from typing import Annotated

from pydantic import Field

from services.programmes.schema.values import FEN_MAX, Clause, Code, OrOpen


class PriceIndex(Clause):
    """Below the trigger the insurer pays the difference for the insured quantity (S37)."""

    commodity: Code
    trigger_fen_per_jin: OrOpen[Annotated[int, Field(ge=1, le=FEN_MAX)]]
    # Who says the market price; the average of a settlement period counts.
    price_source: OrOpen[Code]
    period_months: OrOpen[Annotated[int, Field(ge=1, le=12)]]
