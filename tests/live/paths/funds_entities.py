"""Funds: who bears the loss of an entity's loan, by the way of sharing that the county chose."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from services.programmes.schema.fund import PotLayer, RatioLayer, SharingModel
from services.programmes.schema.values import known
from tests.live.county import FUND_FEN, County, Wish
from tests.live.paths import lending
from tests.live.paths.loans import rate_and_days
from tests.live.platform import must
from tests.live.setup import Case, benchmark

MARGIN = "defaulter_margin"
SUBSIDISED_FEN = {4_926_000: 4_800_000}
"""Loss → the principal in it, where the case tells interest apart; elsewhere all is principal."""
DAYS_BEFORE = 102
"""A month's term and more than seventy days."""
LOW_BENCHMARK_PPM = 27_000
"""With the uplift still below what the treasury pays: nothing is the entity's to pay."""
CONTROLLED_FEN = 50_000_000
TRIGGER_DAYS = 70

OF_ENTITIES = (
    {"county_fund", "bank", "insurer"},
    {"government", "bank", "insurer"},
    {"insurer"},
)
"""Parties of the shares that only loans of entities have."""


def of_entity(case: Case) -> bool:
    """Whether the case's loss is of a loan that only entities get."""
    given = case["inputs"]
    parties = {share["party"] for share in given.get("shares", ())}
    pots = {layer["party"] for layer in given.get("layers", ()) if layer["type"] == "pot"}
    return parties in OF_ENTITIES or MARGIN in pots or "co-op" in case["title"]


def values(case: Case) -> Mapping[str, Any]:
    """The rate under which the case's interest accrues, or none that the entity pays."""
    interest = _interest_fen(case)
    if {share["party"] for share in case["inputs"].get("shares", ())} == {"insurer"}:
        # The treasury pays nothing of an insurer's own loans.
        return {"loans": {"benchmark": benchmark(0)}}
    if not interest:
        return {"loans": {"benchmark": benchmark(LOW_BENCHMARK_PPM)}}
    rate, _ = rate_and_days(_principal_fen(case), interest, after=DAYS_BEFORE, soon=True)
    return {"loans": {"benchmark": benchmark(rate)}}


def _principal_fen(case: Case) -> int:
    loss: int = case["inputs"]["loss_fen"]
    return SUBSIDISED_FEN.get(loss, loss)


def _interest_fen(case: Case) -> int:
    return int(case["inputs"]["loss_fen"]) - _principal_fen(case)


def model_of(county: County, case: Case) -> SharingModel:
    """The programme's way of sharing that has the case's layers."""
    given = case["inputs"]
    layers = given.get("layers") or [{"type": "share", "shares": given["shares"]}]
    wanted = [
        layer["party"]
        if layer["type"] == "pot"
        else {each["party"]: each["share"] for each in layer["shares"]}
        for layer in layers
    ]
    [found] = [
        model
        for model in county.terms.fund.models
        if [_said(layer) for layer in known(model.layers)] == wanted
    ]
    return found


def _said(layer: PotLayer | RatioLayer) -> str | dict[str, int]:
    return layer.pot if isinstance(layer, PotLayer) else dict(layer.ratio)


async def lost(county: County, case: Case, model: SharingModel) -> tuple[Any, dict[str, str]]:
    """
    An entity's loan under this way of sharing, with the case's loss on it.

    Beside it the funds that the case fills, by party.
    """
    given = case["inputs"]
    product_id, product = _product(county, model)
    lender = "insurer" if product.lender == "insurer" else "bank"
    backing = [party for party in model.parties if party != model.otherwise_borne_by][:1]
    await county.open(funds=dict.fromkeys(backing, FUND_FEN), covers=())
    entity_id = await county.entity()
    pots = {
        layer["party"]: layer["balance_fen"]
        for layer in given.get("layers", ())
        if layer["type"] == "pot"
    }
    funds = {
        party: await county.fund(party, fen, scope_id=entity_id if party == MARGIN else "")
        for party, fen in pots.items()
    }
    if product.sharing_models[0] != model.id:
        chosen: Mapping[str, Any] = {
            "product_id": product_id,
            "sharing_model": model.id,
            "reason": "by contract",
        }
        await county.ask(
            "funds.ChooseSharingModel", "finance", programme_id=county.programme_id, **chosen
        )
    loan = await _lend(county, case, Wish(entity_id, _principal_fen(case), lender, product_id, 1))
    due = date(loan.matures_on.year, loan.matures_on.month, loan.matures_on.day)
    until = due + timedelta(days=TRIGGER_DAYS + 1)
    if interest := _interest_fen(case):
        _, days = rate_and_days(_principal_fen(case), interest, after=DAYS_BEFORE, soon=True)
        until = county.today + timedelta(days=days)
    # The close of that day states what is owed.
    await county.advance(until + timedelta(days=1))
    return loan, funds


def _product(county: County, model: SharingModel) -> tuple[str, Any]:
    [found] = [each for each in county.terms.pack.loan_products if model.id in each.sharing_models]
    return found.id, found


async def _lend(county: County, case: Case, wish: Wish) -> Any:
    if interest := _interest_fen(case):
        rate, _ = rate_and_days(wish.principal_fen, interest, after=DAYS_BEFORE, soon=True)
        # Without a contract with households the treasury pays none of its interest.
        stated = {"proposed_rate_ppm": rate, "facts": []}
        wish = Wish(
            wish.household_id, wish.principal_fen, wish.lender, wish.product_id, 1, stated=stated
        )
    if wish.principal_fen < CONTROLLED_FEN or not _controlled(county):
        return await county.lend(wish)
    loan = await county.apply(wish)
    must(not loan.refusal_reasons, f"refused with {list(loan.refusal_reasons)}")
    await county.decide(loan, wish)
    whole = dict.fromkeys(("evidence_ok", "county_approved", "entrusted_payment"), True)
    paid = await lending.batch(county, loan.loan_id, {"amount_fen": wish.principal_fen, **whole})
    must(paid, "not paid out")
    return await county.loan(loan.loan_id)


def _controlled(county: County) -> bool:
    return county.terms.loans.controlled_drawdown is not None


def lender_of(county: County, model: SharingModel) -> str:
    """Who lends, and so files the case."""
    return "insurer" if _product(county, model)[1].lender == "insurer" else "bank"
