"""What a pack must say of its products for a golden case to be its own."""

from collections.abc import Callable, Mapping

from services.kernel.money import Fen
from services.programmes import facilities, pledges, products
from services.programmes.cases.values import Case
from services.programmes.schema.loans import (
    BenchmarkPlusPricing,
    LoanProduct,
    RangePricing,
)
from services.programmes.schema.pledges import AdvancePledge, DepositPledge
from services.programmes.schema.product_terms import Renewal
from services.programmes.schema.values import Open, known
from services.programmes.terms import Terms

MICROCREDIT = "microcredit"


def products_of(terms: Terms) -> tuple[LoanProduct, ...]:
    return terms.pack.loan_products


def amount_check(terms: Terms, given: Case) -> None:
    assert terms.product(MICROCREDIT).max_principal_fen == given["product_cap_fen"]


def interest_subsidy(terms: Terms, given: Case) -> None:
    said = given["subsidy"]
    wanted = (said["mode"], said.get("rate_ppm"), said["max_months"])
    clauses = [each.subsidy for each in products_of(terms) if not isinstance(each.subsidy, Open)]
    assert wanted in [(each.mode.value, each.rate_ppm, each.max_months) for each in clauses]


def rate_check(terms: Terms, given: Case) -> None:
    cap = given["cap"]
    if cap["mode"] == "absolute_max":
        sources = {each.id: each for each in terms.product(MICROCREDIT).funding_sources}
        assert sources[given["funding_source"]].max_rate_ppm == cap["rate_ppm"]
        return
    clauses = [each.pricing for each in products_of(terms)]
    if cap["mode"] == "absolute_min":
        ranges = [each for each in clauses if isinstance(each, RangePricing)]
        assert cap["rate_ppm"] in [each.min_rate_ppm for each in ranges]
    else:
        raised = [each for each in clauses if isinstance(each, BenchmarkPlusPricing)]
        assert cap["uplift_pct"] in [each.max_uplift_pct for each in raised]


def sla(terms: Terms, given: Case) -> None:
    clauses = [each.sla for each in products_of(terms) if each.sla is not None]
    values = [(known(clause).unit, known(clause).value) for clause in clauses]
    assert ("working_days", given["working_days"]) in values


def purpose_check(terms: Terms, given: Case) -> None:
    mine = [
        each.purpose
        for each in products_of(terms)
        if list(each.purpose.prohibited) == given["prohibited"]
    ]
    assert mine
    if "allowed" in given:
        allowed = [
            None if clause.allowed is None else list(known(clause.allowed)) for clause in mine
        ]
        assert given["allowed"] in allowed
    if "required_area" in given:
        assert terms.loans.area_of_use == "county"
        assert terms.county_code == given["required_area"]


def daily_interest(terms: Terms, given: Case) -> None:
    cards = [each.revolving for each in products_of(terms) if each.revolving is not None]
    assert [card.interest_on for card in cards] == ["drawn_balance"]
    assert terms.loans.day_basis == given["day_basis"]


def asset_deposit(terms: Terms, given: Case) -> None:
    (pledge,) = (
        pledge
        for product in products_of(terms)
        for pledge in product.security.pledges
        if isinstance(pledge, DepositPledge)
    )
    assert pledge.deposit_pct == given["deposit_pct"]
    assert pledge.monthly_rate_ppm == given["monthly_rate_ppm"]
    if given.get("sold_to_company"):
        refund = pledges.interest_refund(
            pledge.refund,
            given["units"],
            loan_rate_ppm=given["loan_rate_ppm"],
            months=given["loan_months"],
            sold_to_keeper=True,
            held=frozenset({"proof_of_sale", "no_arrears"}),
        )
        assert refund.refund_fen == refund.loan_interest_fen


def collateral_cover(terms: Terms, given: Case) -> None:
    (cover,) = (each.security.cover for each in products_of(terms) if each.security.cover)
    checked = pledges.collateral_cover(
        given["loan_fen"],
        collateral_value_fen=given["collateral_value_fen"],
        more_than_pct=cover.more_than_pct,
    )
    assert not checked.accepted


def collateral_limit(terms: Terms, given: Case) -> None:
    parts = [
        pledge.advance_pct
        for product in products_of(terms)
        for pledge in product.security.pledges
        if isinstance(pledge, AdvancePledge)
    ]
    assert given["advance_pct"] in parts


def group_micro(terms: Terms, given: Case) -> None:
    (product,) = (each for each in products_of(terms) if each.group is not None)
    assert product.per_capita_fen == given["per_capita_fen"]
    _, most = products.amount_bounds(product, persons=given["persons"])
    assert most == given["persons"] * given["per_capita_fen"]


def renewal(terms: Terms, given: Case) -> None:
    product = terms.product(MICROCREDIT)
    clause = product.renewal
    assert isinstance(clause, Renewal)
    assert clause.principal == "carried"
    assert set(known(clause.conditions)) == set(given["conditions"])
    facts = {**given["conditions"], "age_ok": True, "blacklist_ok": True}
    decided = facilities.renewal_of(
        clause, given["principal_fen"], interest_unpaid_fen=Fen(0), facts=facts
    )
    assert decided.allowed == all(given["conditions"].values())
    if not isinstance(product.subsidy, Open):
        assert product.subsidy.max_months == given["max_subsidy_months"]


def revolving(terms: Terms, given: Case) -> None:
    (clause,) = (each.revolving for each in products_of(terms) if each.revolving is not None)
    assert clause.validity_months == given["validity_years"] * 12


SAYS: Mapping[str, Callable[[Terms, Case], None]] = {
    "loans.amount_check": amount_check,
    "loans.asset_deposit": asset_deposit,
    "loans.collateral_cover": collateral_cover,
    "loans.collateral_limit": collateral_limit,
    "loans.daily_interest": daily_interest,
    "loans.group_micro": group_micro,
    "loans.interest_subsidy": interest_subsidy,
    "loans.purpose_check": purpose_check,
    "loans.rate_check": rate_check,
    "loans.renewal": renewal,
    "loans.revolving": revolving,
    "loans.sla": sla,
}
