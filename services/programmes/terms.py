"""Programmes: the terms a decision is made under, and the parts of them a rule asks for."""

from dataclasses import dataclass
from typing import NoReturn

from services.kernel.errors import NotFound, Refused
from services.programmes.calendars import Calendar
from services.programmes.schema.fund import Fund, SharingModel
from services.programmes.schema.gateway import GatewayRules
from services.programmes.schema.insurance import EVERY, Cover, Insurance
from services.programmes.schema.loans import LoanProduct, LoanRules
from services.programmes.schema.monitoring import Monitoring
from services.programmes.schema.pack import Eligibility, Pack
from services.programmes.schema.registry import Registry
from services.programmes.schema.scoring import ScoringRules
from services.programmes.schema.values import BorrowerClass, known


@dataclass(frozen=True, slots=True)
class Terms:
    """One county's terms under one ref; what a decision stores is `ref`."""

    county_code: str
    ref: str
    pack: Pack
    calendar: Calendar

    @property
    def registry(self) -> Registry:
        """The section registry, or a refusal."""
        return self.pack.registry or self._missing("registry")

    @property
    def eligibility(self) -> Eligibility:
        """The section eligibility, or a refusal."""
        return self.pack.eligibility or self._missing("eligibility")

    @property
    def scoring(self) -> ScoringRules:
        """The section scoring, or a refusal."""
        return self.pack.scoring or self._missing("scoring")

    @property
    def loans(self) -> LoanRules:
        """The section loans, or a refusal."""
        return self.pack.loans or self._missing("loans")

    @property
    def insurance(self) -> Insurance:
        """The section insurance, or a refusal."""
        return self.pack.insurance or self._missing("insurance")

    @property
    def fund(self) -> Fund:
        """The section fund, or a refusal."""
        return self.pack.fund or self._missing("fund")

    @property
    def monitoring(self) -> Monitoring:
        """The section monitoring, or a refusal."""
        return self.pack.monitoring or self._missing("monitoring")

    @property
    def gateway(self) -> GatewayRules:
        """The section gateway, or a refusal."""
        return self.pack.gateway or self._missing("gateway")

    def product(self, product_id: str) -> LoanProduct:
        """One loan product by id."""
        for product in self.pack.loan_products:
            if product.id == product_id:
                return product
        raise NotFound("PRODUCT_UNKNOWN", f"{self.ref} has no loan product {product_id}")

    def cover(self, cover_id: str) -> Cover:
        """One insurance cover by id."""
        for cover in self.insurance.covers:
            if cover.id == cover_id:
                return cover
        raise NotFound("COVER_UNKNOWN", f"{self.ref} has no cover {cover_id}")

    def sharing_model(self, model_id: str) -> SharingModel:
        """One way of sharing a loss by id."""
        for model in self.fund.models:
            if model.id == model_id:
                return model
        raise NotFound("SHARING_MODEL_UNKNOWN", f"{self.ref} has no sharing model {model_id}")

    def default_sharing_model(self, product: LoanProduct) -> SharingModel | None:
        """The first model a product names; None when nobody stands behind its lender."""
        if not product.sharing_models:
            return None
        model = self.sharing_model(product.sharing_models[0])
        return model if model.is_shared else None

    def required_covers(self, borrower_class: BorrowerClass | str) -> tuple[str, ...]:
        """The covers a borrower needs before money is paid out."""
        if self.pack.insurance is None:
            return ()
        required = known(self.pack.insurance.required_covers)
        for wanted in (borrower_class, EVERY):
            for each in required:
                if each.borrower_class == wanted:
                    return each.covers
        return ()

    def _missing(self, name: str) -> NoReturn:
        raise Refused(
            "PROGRAMME_CLAUSE_MISSING",
            f"{self.ref} says nothing about {name}",
            message_zh=f"方案 {self.ref} 未规定 {name}",
            facts={"key": name},
        )
