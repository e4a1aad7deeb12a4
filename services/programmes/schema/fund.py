"""Schema: the compensation fund, who shares a loss, and when."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from services.programmes.schema.values import (
    BorrowerClass,
    Clause,
    Code,
    Days,
    FenAmount,
    Open,
    OrOpen,
    Pct,
    RatePpm,
    Title,
    duplicates,
)

Share = Annotated[int, Field(ge=1, le=100)]


class PotLayer(Clause):
    """A pot pays up to what it holds."""

    layer: Code
    pot: Code


class RatioLayer(Clause):
    """The parties share what is left; declared order breaks ties (S02)."""

    layer: Code
    ratio: dict[Code, Share]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        total = sum(self.ratio.values())
        if total not in (10, 100):
            raise ValueError(f"the shares make {total}, neither 10 nor 100")
        return self


Layer = PotLayer | RatioLayer


class CompensationTrigger(Clause):
    """A case may be opened once the loan is overdue for more than this (strict)."""

    overdue_more_than_days: Days


class SharingModel(Clause):
    """One way to share a loss: for whom, from when, of what, and in which layers."""

    id: Code
    title: Title
    borrower_classes: tuple[BorrowerClass, ...]
    layers: OrOpen[tuple[Layer, ...]]
    trigger: OrOpen[CompensationTrigger]
    base: OrOpen[Literal["principal_and_interest", "principal"]]
    covered_causes: tuple[Code, ...] | None = None
    otherwise_borne_by: Code = "bank"

    @model_validator(mode="after")
    def _layers(self) -> Self:
        if isinstance(self.layers, Open):
            return self
        if not self.layers:
            raise ValueError("a sharing model needs at least one layer")
        if twice := duplicates([layer.layer for layer in self.layers]):
            raise ValueError(f"layer {twice[0]} is declared twice")
        ratios = [index for index, layer in enumerate(self.layers) if isinstance(layer, RatioLayer)]
        if ratios and ratios != [len(self.layers) - 1]:
            raise ValueError("a ratio takes all that is left: it must be the only one, and last")
        if twice := duplicates(list(self.pots)):
            raise ValueError(f"pot {twice[0]} is used twice")
        return self

    @property
    def parties(self) -> tuple[str, ...]:
        """Everybody who shares by ratio, in declared order; nobody while open."""
        layers = () if isinstance(self.layers, Open) else self.layers
        last = layers[-1] if layers else None
        return tuple(last.ratio) if isinstance(last, RatioLayer) else ()

    @property
    def pots(self) -> tuple[str, ...]:
        """The pots in order; none while open."""
        layers = () if isinstance(self.layers, Open) else self.layers
        return tuple(layer.pot for layer in layers if isinstance(layer, PotLayer))


class MutualPool(Clause):
    """A pool of government and enterprise money that backs loans up to a multiple."""

    government_pct: Pct
    max_multiple: Annotated[int, Field(ge=1, le=100)]


class InsurerPool(Clause):
    """The pool for insurers: expected lending times default rate times insurer's share."""

    default_rate_ppm: OrOpen[RatePpm]
    insurer_share_pct: Pct


class Fund(Clause):
    """The county's compensation fund and its sharing models."""

    multiple: OrOpen[Annotated[int, Field(ge=1, le=100)]]
    initial_fen: FenAmount | None = None
    min_balance_fen: FenAmount | None = None
    custody: OrOpen[Literal["special_account", "per_bank"]]
    divided_by: Literal["lending_share"] | None = None
    models: tuple[SharingModel, ...]
    shortfall: Literal["dated_claim"] = "dated_claim"
    mutual_pool: MutualPool | None = None
    insurer_pool: InsurerPool | None = None

    @model_validator(mode="after")
    def _models(self) -> Self:
        if twice := duplicates([model.id for model in self.models]):
            raise ValueError(f"sharing model {twice[0]} is declared twice")
        return self
