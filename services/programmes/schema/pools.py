"""Schema: the other pools of a programme: of enterprises, insurers and villages."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from services.programmes.schema.values import Clause, Code, FenAmount, OrOpen, Pct, RatePpm


class MutualPool(Clause):
    """A pool of government and enterprise money that backs loans up to a multiple."""

    government_pct: Pct
    max_multiple: Annotated[int, Field(ge=1, le=100)]


class InsurerPool(Clause):
    """The pool for insurers: expected lending times default rate times insurer's share."""

    default_rate_ppm: OrOpen[RatePpm]
    insurer_share_pct: Pct


class InsurerStabilisation(Clause):
    """A pool that makes good what an insurer's claims exceed its premium by, while it lasts."""

    initial_fen: FenAmount
    compensates_pct: Pct


class VillageFund(Clause):
    """A village's own pot: between two percentages of its loans, set once a year (S28)."""

    pot: Code
    min_pct: Pct
    max_pct: Pct
    of: Literal["village_loans"]
    raised_by: Code

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.max_pct < self.min_pct:
            raise ValueError("max_pct is below min_pct")
        return self
