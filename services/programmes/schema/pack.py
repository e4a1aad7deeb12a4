"""Schema: a whole programme, and the terms a county lives under."""

import re
from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from services.programmes.schema.fund import Fund, check_covers
from services.programmes.schema.gateway import GatewayRules
from services.programmes.schema.insurance import Insurance
from services.programmes.schema.loans import LoanProduct, LoanRules
from services.programmes.schema.monitoring import Monitoring
from services.programmes.schema.registry import Registry
from services.programmes.schema.scoring import Gate, Scoring
from services.programmes.schema.values import (
    AreaCode,
    BorrowerClass,
    Clause,
    Code,
    Open,
    OrOpen,
    PackRef,
    ProgrammeId,
    Title,
    Version,
    duplicates,
)

KeyPattern = Annotated[str, Field(pattern=r"^[a-z_]+(?:\.[a-z_]+|\[[A-Za-z0-9_+*]+\])*$")]


class Header(Clause):
    """Which programme and version this is, from when, built on what."""

    id: ProgrammeId
    version: Version
    extends: PackRef | None = None
    supersedes: PackRef | None = None
    area: AreaCode | None = None
    effective_from: date
    effective_to: date | None = None
    title: Title
    county_may_set: tuple[KeyPattern, ...] = ()

    @model_validator(mode="after")
    def _dates(self) -> Self:
        if self.effective_to is not None and self.effective_to < self.effective_from:
            raise ValueError("effective_to is before effective_from")
        return self

    @property
    def ref(self) -> str:
        """`id@version`."""
        return f"{self.id}@{self.version}"


class Eligibility(Clause):
    """Who may take part at all."""

    borrower_classes: tuple[BorrowerClass, ...]
    entity_types: tuple[Code, ...] = ()
    gates: OrOpen[tuple[Gate, ...]] = ()
    standards: tuple[Code, ...] = ()
    max_age: OrOpen[Annotated[int, Field(ge=18, le=120)]] | None = None
    age_on: Literal["application", "maturity"] = "application"
    residents: Literal["rural", "urban_and_rural"] = "rural"
    borrower_uses_and_repays: bool = False

    @model_validator(mode="after")
    def _gates(self) -> Self:
        if not self.borrower_classes:
            raise ValueError("borrower_classes names nobody")
        if isinstance(self.gates, Open):
            return self
        if twice := duplicates([gate.code for gate in self.gates]):
            raise ValueError(f"gate {twice[0]} is declared twice")
        return self


class Condition(Clause):
    """
    What is otherwise in a county with this property; the ref is `id@version:condition`.

    Beside these keys it says any section of a pack, laid over the pack's own. Nobody reads it from
    here: the loader makes a pack of it.
    """

    title: Title | None = None


CONDITION_KEYS = frozenset(Condition.model_fields)


class Pack(Clause):
    """One programme in one version, with everything it inherits."""

    programme: Header
    conditions: dict[Code, Condition] = Field(default_factory=dict)
    registry: Registry | None = None
    eligibility: Eligibility | None = None
    scoring: Scoring | None = None
    loans: LoanRules | None = None
    loan_products: tuple[LoanProduct, ...] = ()
    insurance: Insurance | None = None
    fund: Fund | None = None
    monitoring: Monitoring | None = None
    gateway: GatewayRules | None = None

    @model_validator(mode="after")
    def _links(self) -> Self:
        if twice := duplicates([product.id for product in self.loan_products]):
            raise ValueError(f"loan product {twice[0]} is declared twice")
        if self.fund:
            check_covers(self.fund, self.insurance)
        models = {model.id: model for model in self.fund.models} if self.fund else {}
        for product in self.loan_products:
            for code in product.sharing_models:
                if code not in models:
                    raise ValueError(
                        f"loan product {product.id} names sharing model {code}, which fund lacks"
                    )
                if not set(product.borrower_classes) <= set(models[code].borrower_classes):
                    raise ValueError(
                        f"sharing model {code} does not cover every borrower of {product.id}"
                    )
        if self.loan_products and self.loans is None:
            raise ValueError("loan_products need the section loans")
        self._priced()
        drawdown = self.loans.controlled_drawdown if self.loans else None
        offered = {product.id for product in self.loan_products}
        for code in drawdown.products if drawdown else ():
            if code not in offered:
                raise ValueError(f"controlled_drawdown names {code}, which is no loan product")
        return self

    def _priced(self) -> None:
        for product in self.loan_products:
            by_lpr = any(getattr(price, "reference", "") == "lpr" for price in product.prices)
            if by_lpr and self.loans is not None and self.loans.lpr is None:
                raise ValueError(
                    f"loan product {product.id} is priced by loans.lpr, which is missing"
                )

    @model_validator(mode="after")
    def _honours(self) -> Self:
        known_honours = self.registry.honours if self.registry else ()
        honours = self.scoring.honours if self.scoring else None
        for level in honours.levels if honours and known_honours else ():
            if level.id not in known_honours:
                raise ValueError(f"honour {level.id} is scored, but registry.honours lacks it")
        return self


def split_ref(ref: str) -> tuple[str, str, str | None]:
    """`id@version[:overlay]` in its three parts."""
    match = re.fullmatch(r"([a-z0-9-]+)@([a-z0-9_]+)(?::([a-z0-9_-]+))?", ref)
    if match is None:
        raise ValueError(f"{ref!r} is not id@version or id@version:overlay")
    return match.group(1), match.group(2), match.group(3)
