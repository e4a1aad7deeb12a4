"""Clauses of loan products: what each decides, what is refused, what holds for every input."""

from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from services.kernel.errors import Refused
from services.kernel.money import Fen
from services.programmes import (
    facilities,
    pledges,
    pricing,
    products,
)
from services.programmes.assemble import parties_named
from services.programmes.calendars import Calendar
from services.programmes.loader import PackErrors, load_texts
from services.programmes.schema.loans import (
    LoanProduct,
    Sla,
    SpreadPricing,
    Subsidy,
    SubsidyMode,
)
from services.programmes.schema.pledges import InterestRefund
from services.programmes.schema.product_terms import (
    Fee,
    GroupLending,
    PooledLending,
    Revolving,
)
from services.programmes.sla import sla_deadline
from tests.programmes.ask_products import (
    ON,
    RULES,
    at,
)
from tests.programmes.county_texts import PACK, changed, texts
from tests.programmes.evaluators.lending import offered
from tests.programmes.test_fuzz import VALUES, places, with_change

FEN = st.integers(0, 10**11).map(Fen)
DAY = st.dates(date(2014, 1, 1), date(2026, 12, 31))


def plain_product() -> LoanProduct:
    return load_texts(texts()).programme("plain@1").loan_products[0]


@pytest.mark.parametrize(
    ("on", "term", "rate"),
    [
        (date(2019, 8, 20), 12, 47_500),
        (date(2019, 11, 19), 61, 53_500),
        (date(2019, 11, 20), 60, 46_500),
        (date(2020, 1, 1), 360, 53_000),
    ],
)
def test_the_loan_prime_rate_goes_by_tenor_and_day_with_a_spread(
    on: date, term: int, rate: int
) -> None:
    price = SpreadPricing(mode="spread", reference="lpr", min_spread_ppm=5_000, max_spread_ppm=5000)
    plain = plain_product().model_copy(
        update={"pricing": price, "subsidy": Subsidy(mode=SubsidyMode.NONE)}
    )

    priced = pricing.quote(plain, RULES, principal_fen=1, term_months=term, on=on)

    assert (priced.rate_ppm, priced.subsidised_rate_ppm) == (rate, 0)


@pytest.mark.parametrize(
    ("proposed", "allowed"), [(32_499, False), (32_500, True), (52_500, True), (52_501, False)]
)
def test_a_spread_below_and_above_bounds_a_proposal(proposed: int, allowed: bool) -> None:
    price = SpreadPricing(
        mode="spread", reference="lpr", min_spread_ppm=-10_000, max_spread_ppm=10_000
    )

    if allowed:
        rate = pricing.loan_rate_ppm(price, benchmark_ppm=42_500, proposed_ppm=proposed)
        assert rate == proposed
    else:
        with pytest.raises(Refused):
            pricing.loan_rate_ppm(price, benchmark_ppm=42_500, proposed_ppm=proposed)


def test_before_the_first_loan_prime_rate_there_is_none() -> None:
    price = SpreadPricing(mode="spread", reference="lpr", max_spread_ppm=0)

    with pytest.raises(Refused) as refused:
        pricing.reference_rate_ppm(RULES, price, term_months=12, on=date(2019, 8, 19))
    assert refused.value.reason == "BENCHMARK_RATE_UNKNOWN"
    without = RULES.model_copy(update={"lpr": None})
    with pytest.raises(Refused) as missing:
        pricing.reference_rate_ppm(without, price, term_months=12, on=ON)
    assert missing.value.reason == "LPR_UNKNOWN"


def test_the_clock_stands_still_while_the_household_must_supply_something() -> None:
    four = Sla(value=4)
    accepted = at(2017, 11, 9, 10)
    waiting = (at(2017, 11, 10, 9), at(2017, 11, 13, 18))

    assert sla_deadline(four, Calendar(), accepted, pauses=[waiting]).due_on == date(2017, 11, 17)
    minutes = Sla(unit="minutes", value=10)
    moment = at(2020, 1, 1, 12)
    twice = [(moment + timedelta(minutes=5), moment + timedelta(minutes=8))] * 2
    due = sla_deadline(minutes, Calendar(), moment, pauses=twice)
    assert due.due_at == moment + timedelta(minutes=13)


def test_a_deadline_that_is_never_reached_is_refused() -> None:
    years = (at(2017, 1, 1), at(2030, 1, 1))

    with pytest.raises(Refused) as refused:
        sla_deadline(Sla(unit="days", value=1), Calendar(), years[0], pauses=[years])
    assert refused.value.reason == "DEADLINE_TOO_FAR"


def test_a_fee_is_bounded_exactly() -> None:
    fees = [Fee(id="card", max_fen=Fen(500)), Fee(id="guarantee", max_rate_ppm=10_000)]

    def reasons(**charged: int) -> tuple[str, ...]:
        amounts = {code: Fen(amount) for code, amount in charged.items()}
        return products.fee_check(fees, amounts, principal_fen=Fen(12_345)).reasons

    assert reasons(card=500, guarantee=123) == ()
    assert reasons(card=501, guarantee=124) == ("fee_too_high:card", "fee_too_high:guarantee")


PRICE = "pricing: {mode: benchmark}"
BESIDE_THE_PRICE = {
    "a pledge of nothing asked": (
        "security: {cover: {more_than_pct: 100}}",
        "collateral is none",
    ),
    "a guarantor nobody asked": (
        "security: {guarantor_parties: [firm]}",
        "guarantor is none",
    ),
    "a limit that does not revolve": (
        "revolving: {validity_months: 36}",
        "needs facility: revolving",
    ),
    "a fee without a bound": (
        "fees: [{id: card}]",
        "a fee needs",
    ),
    "phases out of order": (
        ("availability: [{from: 2021-01-01, state: suspended}, {from: 2020-01-01, state: open}]"),
        "follow each other",
    ),
    "a white list without a library": (
        "availability: [{from: 2021-01-01, state: whitelist_only}]",
        "needs the clause pooled",
    ),
    "a group upside down": (
        "group: {borrower: lead, liability: lead, min_households: 3, max_households: 2}",
        "max_households is below",
    ),
    "no mode at all": (
        "use: {modes: []}",
        "modes names no mode",
    ),
    "a tier below the product's smallest amount": (
        "min_principal_fen: 3\n    amount_tiers: [{id: a, max_principal_fen: 2}]",
        "min_principal_fen is above",
    ),
    "a mode both ways": (
        "use: {modes: [a], prohibited_modes: [a]}",
        "both allowed and prohibited",
    ),
    "a library without grades": (
        "pooled: {library_levels: [county], project_grades: [], whitelist_required: true}",
        "a library has levels",
    ),
    "price tiers that fall": (
        (
            "pricing_tiers: [{min_principal_fen: 2, pricing: {mode: benchmark}}, "
            "{min_principal_fen: 1, pricing: {mode: benchmark}}]"
        ),
        "pricing_tiers rise",
    ),
}

INSTEAD = {
    "controlled money of no product": (
        "  npl: {measure: overdue_days, more_than_days: 90}",
        (
            "  npl: {measure: overdue_days, more_than_days: 90}\n"
            "  controlled_drawdown: {products: [macro], requires: [evidence]}"
        ),
        "macro, which is no loan product",
    ),
    "amounts between which nothing lies": (
        "max_principal_fen: 5000000",
        "max_principal_fen: 5000000\n    min_principal_fen: 5000001",
        "min_principal_fen is above",
    ),
    "a tier in which nothing lies": (
        "max_principal_fen: 5000000",
        (
            "max_principal_fen: 5000000\n    amount_tiers: [{id: a, min_principal_fen: 2, "
            "max_principal_fen: 1}]"
        ),
        "min_principal_fen is above",
    ),
    "a spread without bounds": (
        "{mode: benchmark}",
        "{mode: spread, reference: lpr}",
        "a spread needs",
    ),
    "a spread upside down": (
        "{mode: benchmark}",
        "{mode: spread, reference: lpr, min_spread_ppm: 1, max_spread_ppm: 0}",
        "below min_spread_ppm",
    ),
    "prime rates that nobody gives": (
        "{mode: benchmark}",
        "{mode: spread, reference: lpr, max_spread_ppm: 0}",
        "micro is priced by loans.lpr, which is missing",
    ),
    "money that bears no rate": (
        "pricing: {mode: benchmark}",
        (
            "pricing: {mode: range, min_rate_ppm: 50001}\n    funding_sources: "
            "[{id: own_funds, max_rate_ppm: 50000}]"
        ),
        "own_funds bears no rate that pricing allows",
    ),
    "no purpose at all": (
        "purpose: {prohibited: [stocks]}",
        "purpose: {prohibited: [stocks], allowed: []}",
        "allowed names no purpose",
    ),
    "a control of nothing": (
        "  npl: {measure: overdue_days, more_than_days: 90}",
        (
            "  npl: {measure: overdue_days, more_than_days: 90}\n"
            "  controlled_drawdown: {products: [micro], requires: []}"
        ),
        "requires names nothing",
    ),
    "a cycle twice": (
        "interest_settlement: bullet",
        "interest_settlement: [bullet, bullet]",
        "names bullet twice",
    ),
    "no cycle": (
        "interest_settlement: bullet",
        "interest_settlement: []",
        "names no cycle",
    ),
    "a deadline years away": (
        "interest_settlement: bullet",
        "interest_settlement: bullet\n    sla: {unit: days, value: 1001}",
        "at most 1000 days",
    ),
    "a step after the approval with its name": (
        "interest_settlement: bullet",
        "interest_settlement: bullet\n    later_steps: [{step: bank, organ: lender}]",
        "approval step bank is declared twice",
    ),
    "two prime rates for one day": (
        "  npl: {measure: overdue_days, more_than_days: 90}",
        (
            "  npl: {measure: overdue_days, more_than_days: 90}\n  lpr: [{from: 2020-01-20, "
            "max_tenor_months: 60, rate_ppm: 1}, {from: 2020-01-20, max_tenor_months: 60, "
            "rate_ppm: 2}]"
        ),
        "two rates for",
    ),
}


def refused_rules(old: str, new: str) -> list[str]:
    with pytest.raises(PackErrors) as refused:
        load_texts(texts(pack=changed(PACK, old, new)))
    of_pack = [each for each in refused.value.problems if each.file == "plain@1.yaml"]
    return [each.rule for each in of_pack]


@pytest.mark.parametrize("what", BESIDE_THE_PRICE)
def test_a_wrong_clause_of_a_product_is_refused_with_its_rule(what: str) -> None:
    clause, rule = BESIDE_THE_PRICE[what]

    rules = refused_rules(PRICE, f"{PRICE}\n    {clause}")

    assert any(rule in each for each in rules), rules


@pytest.mark.parametrize("what", INSTEAD)
def test_a_wrong_product_is_refused_with_its_rule(what: str) -> None:
    old, new, rule = INSTEAD[what]

    rules = refused_rules(old, new)

    assert any(rule in each for each in rules), rules


@given(
    limit=FEN,
    granted=DAY,
    months=st.integers(1, 60),
    moves=st.lists(
        st.tuples(st.sampled_from(["draw", "repay"]), st.integers(-40, 2_000), FEN), max_size=12
    ),
)
def test_a_revolving_limit_is_never_overdrawn_nor_drawn_too_late(
    limit: Fen, granted: date, months: int, moves: list[tuple[Any, int, Fen]]
) -> None:
    movements = [
        facilities.Movement(kind, granted + timedelta(days=days), amount)
        for kind, days, amount in moves
    ]

    used = facilities.revolving_of(
        Revolving(validity_months=months), limit, granted_on=granted, movements=movements
    )

    drawn = 0
    for movement, moved in zip(movements, used.results, strict=True):
        if moved.accepted:
            drawn += movement.amount_fen if movement.type == "draw" else -movement.amount_fen
            assert movement.type == "repay" or movement.on <= used.last_valid_on
        assert moved.outstanding_fen == drawn
        assert 0 <= drawn <= limit
        assert moved.available_fen + moved.outstanding_fen == limit


@given(
    units=st.integers(0, 10_000),
    price=st.integers(0, 10**7).map(Fen),
    pct=st.integers(1, 100),
    rate=st.integers(0, 100_000),
)
def test_a_pledge_never_secures_more_than_its_part_of_the_value(
    units: int, price: Fen, pct: int, rate: int
) -> None:
    advance = pledges.collateral_limit(units, unit_value_fen=price, advance_pct=pct)
    deposit = pledges.asset_deposit(
        units, unit_price_fen=price, deposit_pct=pct, monthly_rate_ppm=rate
    )

    assert advance.limit_fen * 100 <= advance.collateral_value_fen * pct
    assert deposit.pledge_loan_fen <= advance.limit_fen
    covered = pledges.collateral_cover(
        advance.limit_fen, collateral_value_fen=advance.collateral_value_fen
    )
    assert covered.accepted == (advance.collateral_value_fen > advance.limit_fen)


@given(principal=FEN, rate=st.integers(0, 200_000), months=st.integers(0, 60), sold=st.booleans())
def test_a_refund_is_all_of_the_interest_or_nothing(
    principal: Fen, rate: int, months: int, sold: bool
) -> None:
    refund = pledges.interest_refund(
        InterestRefund(when="sold_to_keeper"),
        principal,
        loan_rate_ppm=rate,
        months=months,
        sold_to_keeper=sold,
    )

    assert refund.refund_fen == (refund.loan_interest_fen if sold else 0)


@given(
    principal=FEN,
    unpaid=st.integers(0, 5).map(Fen),
    held_carried=st.tuples(st.booleans(), st.booleans()),
    budget=st.integers(0, 60),
    prior=st.integers(0, 90),
)
def test_a_renewal_loses_no_principal_and_never_refills_the_subsidy(
    principal: Fen, unpaid: Fen, held_carried: tuple[bool, bool], budget: int, prior: int
) -> None:
    held, carried = held_carried
    decided = facilities.renewal(
        principal,
        interest_unpaid_fen=unpaid,
        conditions={"risk_controllable": held},
        max_subsidy_months=budget,
        prior_subsidised_months=prior,
        carried=carried,
    )

    assert decided.allowed == (held and unpaid == 0)
    assert decided.new_principal_fen in (0, principal)
    assert decided.principal_cash_fen in (0, principal)
    assert decided.principal_cash_fen == principal or (decided.allowed and carried)
    assert decided.remaining_subsidy_months <= max(0, budget - prior)


@given(
    low=st.integers(-50_000, 50_000),
    width=st.integers(0, 50_000),
    reference=st.integers(0, 100_000),
    proposed=st.integers(0, 200_000),
)
def test_a_rate_lies_within_its_bounds_or_is_refused(
    low: int, width: int, reference: int, proposed: int
) -> None:
    price = SpreadPricing(
        mode="spread", reference="lpr", min_spread_ppm=low, max_spread_ppm=low + width
    )
    least, most = pricing.rate_bounds_ppm(price, reference_ppm=reference)

    assert most is not None
    assert 0 <= least <= most
    if least <= proposed <= most:
        rate = pricing.loan_rate_ppm(price, benchmark_ppm=reference, proposed_ppm=proposed)
        assert rate == proposed
    else:
        with pytest.raises(Refused):
            pricing.loan_rate_ppm(price, benchmark_ppm=reference, proposed_ppm=proposed)


@given(
    unit=st.sampled_from(["working_days", "days", "minutes"]),
    value=st.integers(0, 200),
    start=st.integers(0, 4_000_000).map(
        lambda minutes: at(2018, 1, 1) + timedelta(minutes=minutes)
    ),
    pauses=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=3),
)
def test_a_pause_never_brings_a_deadline_nearer(
    unit: Any, value: int, start: datetime, pauses: list[tuple[int, int]]
) -> None:
    clause = Sla(unit=unit, value=value)
    stops = [
        (start + timedelta(hours=begin), start + timedelta(hours=begin + length))
        for begin, length in pauses
    ]

    plain = sla_deadline(clause, Calendar(), start)
    paused = sla_deadline(clause, Calendar(), start, pauses=stops)

    assert paused.due_on >= plain.due_on >= start.date()
    if plain.due_at is not None:
        assert paused.due_at is not None
        assert paused.due_at >= plain.due_at


@given(households=st.integers(0, 60), least=st.integers(1, 30), width=st.integers(0, 30))
def test_a_group_is_within_its_bounds_inclusive(households: int, least: int, width: int) -> None:
    clause = GroupLending(
        borrower="each", liability="joint", min_households=least, max_households=least + width
    )

    checked = products.group_check(clause, households)

    assert checked.allowed == (least <= households <= least + width)


def test_a_project_on_no_list_draws_where_none_is_asked() -> None:
    clause = PooledLending(
        library_levels=("county",), project_grades=("good",), whitelist_required=False
    )

    assert products.project_check(
        clause, levels=["county"], grade="good", whitelisted=False
    ).allowed


RICH_PRODUCT = """
id: rich
title: {zh: 全部条款, en: Every clause}
borrower_classes: [poor_household]
gates: [{code: voluntary}]
funding_sources: [{id: poverty_relending, max_rate_ppm: 43500}]
backing: {fund: own_fund, initial_fen: 100, multiple: 10}
line_fen: 1000000
availability: [{from: 2018-04-28, state: suspended}, {from: 2019-04-28, state: whitelist_only}]
facility: revolving
revolving: {validity_months: 36}
min_principal_fen: 1000
max_principal_fen: 5000000
per_capita_fen: 200000
amount_tiers: [{id: leader, min_principal_fen: 5, max_principal_fen: 60}]
max_term_months: 36
term_mode: production_cycle
security:
  collateral: required
  guarantor: required
  guarantor_parties: [firm]
  cover: {more_than_pct: 100}
  pledges:
    - {id: animals, type: advance, assets: [sheep], advance_pct: 50, revalued_every: quarter}
    - id: sheep
      type: deposit
      asset: tan_sheep
      keeper: firm
      deposit_pct: 80
      monthly_rate_ppm: 5000
      refund: {when: sold_to_keeper, requires: [proof_of_sale]}
group: {borrower: lead, liability: joint, min_households: 2, max_households: 9}
pooled: {library_levels: [county], project_grades: [good], whitelist_required: true}
pricing: {mode: spread, reference: benchmark, min_spread_ppm: -5000, max_spread_ppm: 0}
pricing_tiers: [{min_principal_fen: 10, pricing: {mode: range, max_rate_ppm: 55000}}]
fees: [{id: card, max_fen: 500}]
subsidy: {mode: capped_rate, rate_ppm: 50000, max_months: 36}
interest_settlement: [bullet, annual]
approval_chain: [{step: bank, kind: approval, organ: lender, level: outlet, starts_sla: true}]
later_steps: [{step: guidance, organ: lender}]
sla: {unit: minutes, value: 3, promise: true}
self_service: {all_day: true, identity_proof: face_recognition}
purpose: {prohibited: [stocks], allowed: [sheep]}
use: {borrower_is: [user, repayer], modes: [own], prohibited_modes: [enterprise_use]}
renewal: {principal: carried, conditions: [project_good], rechecks: [age]}
extension: {max_months: 6, conditions: [project_good]}
"""
WHOLE, RICH = yaml.safe_load(PACK), yaml.safe_load(RICH_PRODUCT)
PLACES = places(RICH)
ALL_CLAUSES = sorted(
    set(LoanProduct.model_fields)
    - {"source", "entity_types", "channels", "reborrowing", "sharing_models"}
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PLACES), VALUES, st.booleans())
def test_a_product_changed_anywhere_is_refused_or_can_be_evaluated(
    path: tuple[Any, ...], value: Any, remove: bool
) -> None:
    rich = yaml.safe_load(with_change(RICH, path, value, remove=remove))
    products_said = [*WHOLE["loan_products"], rich]
    text = with_change(WHOLE, ("loan_products",), products_said, remove=False)

    with suppress(PackErrors):
        offered(load_texts({"plain@1.yaml": text}).programme("plain@1"))


def test_a_product_may_say_everything() -> None:
    whole = yaml.safe_load(PACK)
    whole["loan_products"] = [yaml.safe_load(RICH_PRODUCT)]

    pack = load_texts({"plain@1.yaml": yaml.safe_dump(whole)}).programme("plain@1")

    (rich,) = pack.loan_products
    assert all(getattr(rich, name) not in (None, ()) for name in ALL_CLAUSES)
    assert parties_named(pack) >= {"firm", "own_fund"}
    offered(pack)
