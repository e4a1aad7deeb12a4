"""Claims over gRPC: what a programme offers, and what it costs."""

from collections.abc import Mapping

from liandong.claims.v1 import policies_pb2, policies_pb2_grpc

from services.claims.operations import premium
from services.claims.rules import premium as premium_rules
from services.claims.servicer.shared import READERS, admit, optional_date
from services.kernel import wire
from services.kernel.database import Database
from services.kernel.money import Fen
from services.kernel.rpc import Context
from services.programmes import covers
from services.programmes.loader import Catalogue
from services.programmes.schema.insurance import (
    Cover,
    SumInsuredFixed,
    SumInsuredOfLoan,
    groups_of,
)
from services.programmes.schema.values import Open
from services.programmes.terms import Terms


def _known_fen(value: object) -> int:
    return value if isinstance(value, int) else 0


def product_to_proto(cover: Cover, *, required: bool) -> policies_pb2.Product:
    """A cover for the wire; what the programme leaves open stays unset."""
    product = policies_pb2.Product(
        cover_id=cover.id,
        kind=cover.kind,
        title_zh=cover.title.zh,
        assigned=cover.assigned is True,
        event_cap_fen=_known_fen(cover.cap_fen),
        person_cap_fen=_known_fen(cover.person_cap_fen),
        period_cap_fen=_known_fen(cover.period_cap_fen),
        valid_from=wire.date_to_proto(cover.valid_from),
        valid_to=wire.date_to_proto(cover.valid_to),
        required=required,
        sum_insured_of="open",
    )
    if not isinstance(cover.payees, Open):
        product.payees.extend("|".join(group) for group in groups_of(cover.payees))
    if not isinstance(cover.sum_insured, Open):
        product.sum_insured_of = cover.sum_insured.of
    if isinstance(cover.sum_insured, SumInsuredOfLoan):
        product.sum_insured_pct = cover.sum_insured.pct
    if isinstance(cover.sum_insured, SumInsuredFixed):
        product.sum_insured_fen = cover.sum_insured.amount_fen
    if not isinstance(cover.premium, Open):
        clause = cover.premium
        product.payer = clause.payer
        if not isinstance(clause.rate_ppm, Open):
            product.rate_ppm = clause.rate_ppm
        if clause.max_rate_ppm is not None:
            product.max_rate_ppm = clause.max_rate_ppm
        if clause.subsidy is not None:
            product.subsidy_payer = clause.subsidy.payer
            product.subsidy_pct = _known_fen(clause.subsidy.pct)
    return product


def parts_to_proto(parts: Mapping[str, Fen]) -> list[policies_pb2.PremiumPart]:
    """Who pays how much."""
    return [
        policies_pb2.PremiumPart(payer=payer, amount_fen=amount)
        for payer, amount in parts.items()
        if amount
    ]


def _required(terms: Terms) -> set[str]:
    rules = terms.insurance.required_covers
    return set() if isinstance(rules, Open) else {code for each in rules for code in each.covers}


class ProductsDoor(policies_pb2_grpc.PoliciesServiceServicer):
    """Products and quotes; nothing is kept."""

    _database: Database
    _catalogue: Catalogue

    async def ListProducts(
        self, request: policies_pb2.ListProductsRequest, context: Context
    ) -> policies_pb2.ListProductsResponse:
        """Covers of a programme on a day."""
        caller = admit(context, READERS, request.county_code)
        asked = optional_date(request, "on")
        async with self._database.transaction(caller) as session:
            terms, day = await premium.terms_on(
                session, self._catalogue, request.county_code, request.programme_id, asked
            )
        insurance = terms.insurance
        required = _required(terms)
        return policies_pb2.ListProductsResponse(
            products=[
                product_to_proto(cover, required=cover.id in required)
                for cover in insurance.covers
                if covers.in_catalogue(cover, day)
            ],
            programme=terms.ref,
            policy_scope=insurance.master_policy.scope if insurance.master_policy else "",
            agreement_required=bool(
                insurance.participation and insurance.participation.agreement_required
            ),
        )

    async def QuotePremium(
        self, request: policies_pb2.QuotePremiumRequest, context: Context
    ) -> policies_pb2.QuotePremiumResponse:
        """What insuring costs."""
        caller = admit(context, READERS, request.county_code)
        asked = optional_date(request, "on")
        async with self._database.transaction(caller) as session:
            terms, _ = await premium.terms_on(
                session, self._catalogue, request.county_code, request.programme_id, asked
            )
        quoted, parts = premium_rules.quote(
            terms,
            request.cover_id,
            Fen(request.base_fen),
            request.rate_ppm if request.HasField("rate_ppm") else None,
        )
        return policies_pb2.QuotePremiumResponse(
            premium_fen=quoted.premium.premium_fen,
            allowed=quoted.premium.allowed,
            max_premium_fen=quoted.premium.max_premium_fen,
            rate_ppm=quoted.rate_ppm,
            payers=parts_to_proto(parts),
            working=quoted.premium.working,
            programme=terms.ref,
        )
