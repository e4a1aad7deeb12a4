"""Loan products: what every pack says of them, row by row."""

import json
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from services.kernel.errors import Refused
from services.kernel.money import Fen
from services.programmes import (
    facilities,
    interest,
    leverage,
    limits,
    pledges,
    pricing,
    products,
)
from services.programmes.assemble import parties_named
from services.programmes.calendars import Calendar
from services.programmes.loader import load
from services.programmes.schema.loans import (
    BenchmarkPricing,
    LoanProduct,
    RangePricing,
    StepKind,
)
from services.programmes.schema.pledges import AdvancePledge, DepositPledge
from services.programmes.schema.product_terms import (
    Extension,
    Phase,
    Renewal,
    UseOfLoan,
)
from services.programmes.schema.values import Open, known
from services.programmes.sla import sla_deadline
from tests.programmes.ask_products import (
    ON,
    OPEN,
    RULES,
    at,
)
from tests.programmes.evaluators.lending import offered
from tests.programmes.says.products import SAYS

GOLDEN = Path(__file__).parent / "cases" / "golden.json"
DEMO = Path(__file__).resolve().parents[2] / "deploy" / "demo" / "county"
CATALOGUE = load([DEMO])
COUNTY = CATALOGUE.counties()[0]
CASES: list[Mapping[str, Any]] = [
    case for case in json.loads(GOLDEN.read_text(encoding="utf-8"))["cases"] if case["rule"] in SAYS
]

FEN = st.integers(0, 10**11).map(Fen)
DAY = st.dates(date(2014, 1, 1), date(2026, 12, 31))


def product(ref: str, product_id: str) -> LoanProduct:
    (found,) = (each for each in CATALOGUE.programme(ref).loan_products if each.id == product_id)
    return found


def microcredit(ref: str) -> LoanProduct:
    return product(ref, "microcredit")


def chain(of: LoanProduct) -> list[tuple[str, str | None]]:
    return [(step.organ.value, step.body) for step in known(of.approval_chain)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['id']}-{case['rule']}")
def test_the_pack_of_every_programme_says_what_its_cases_say(case: Mapping[str, Any]) -> None:
    adopted = CATALOGUE.adoptions(COUNTY, ON)[0].programme
    own = adopted.startswith(f"{case['programme']}:")
    terms = CATALOGUE.terms(COUNTY, adopted if own else case["programme"])

    SAYS[case["rule"]](terms, case["inputs"])


def test_every_programme_has_a_product() -> None:
    assert all(pack.loan_products for pack in CATALOGUE.packs.values())


def test_a_fund_covers_the_microcredit_of_every_programme_whose_fund_does() -> None:
    uncovered = {
        ref
        for ref, pack in CATALOGUE.packs.items()
        for each in pack.loan_products
        if each.id == "microcredit" and pack.fund and pack.fund.models and not each.sharing_models
    }

    # The municipality shares losses of entities only.
    assert uncovered == {"henan-sanmenxia-211@1"}


# NAT.loa.1, NAT.loa.2, NAT.loa.3
def test_the_national_root_is_a_small_unsecured_loan_at_the_benchmark() -> None:
    root = microcredit("cn-national-2014@1")

    assert (root.max_principal_fen, root.max_term_months) == (5_000_000, 36)
    assert (root.security.collateral, root.security.guarantor) == ("none", "none")
    assert isinstance(root.subsidy, Open)
    assert products.term_check(root, 36).allowed
    assert products.term_check(root, 37).reasons == ("term_too_long",)
    assert isinstance(known(root.pricing), BenchmarkPricing)


# HN-RCU.loa.1, HN-RCU.loa.2, HN-RCU.loa.5, HN-RCU.loa.6
def test_a_household_draws_within_its_limit_and_the_poverty_fund_pays_the_interest() -> None:
    rural = microcredit("hunan-rcu-poverty-microcredit@2")

    assert rural.security.collateral == "none"
    assert rural.settlement_cycles == ("bullet", "annual")
    subsidy = known(rural.subsidy)
    assert (subsidy.mode.value, subsidy.max_months) == ("full_at_benchmark", 36)
    assert subsidy.paid_from == "special_poverty_fund"
    priced = pricing.quote(
        rural, RULES, principal_fen=5_000_000, term_months=36, on=ON, funding="poverty_relending"
    )
    assert (priced.rate_ppm, priced.subsidised_rate_ppm) == (47_500, 47_500)
    drawn = products.amount_check_of(
        rural,
        Fen(1_900_000),
        credit_limit_fen=Fen(3_000_000),
        outstanding_fen=Fen(1_200_000),
    )
    assert (drawn.allowed, drawn.max_amount_fen) == (False, 1_800_000)


# HN-RCU.loa.4
def test_the_term_follows_the_production_cycle() -> None:
    rural = microcredit("hunan-rcu-poverty-microcredit@2")

    assert products.term_check(rural, 12).reasons == ("production_cycle_unknown",)
    assert products.term_check(rural, 17, production_cycle_months=18).reasons == (
        "term_below_production_cycle",
    )
    assert products.term_check(rural, 18, production_cycle_months=18).allowed


# HN-KD.loa.1, HN-KD.loa.2, HN-KD.loa.3, HN-KD.loa.4, HN-KD.loa.5
def test_the_online_loan_of_one_city_revolves_without_security() -> None:
    online = product("hunan-online-kuaidai@zhuzhou", "kuaidai")

    assert online.security.collateral == "none"
    assert (online.max_principal_fen, online.facility) == (50_000_000, "revolving")
    purposes = {
        code: limits.purpose_check_of(online.purpose, code).reason
        for code in ("consumption", "sole_trader_business", "stock_market")
    }
    assert purposes == {
        "consumption": None,
        "sole_trader_business": None,
        "stock_market": "purpose_not_listed",
    }
    # No table of the central bank is needed where a price refers to none.
    priced = pricing.quote(
        online, RULES, principal_fen=1, term_months=500, on=ON, proposed_ppm=43_500
    )
    assert (priced.rate_ppm, priced.reference_ppm) == (43_500, None)


# HN-KD.loa.6
def test_three_minutes_are_counted_from_the_application() -> None:
    clause = known(product("hunan-online-kuaidai@fuxiang", "kuaidai").sla or OPEN)
    moment = at(2020, 10, 29, 23, 59)

    due = sla_deadline(clause, Calendar(), moment, done_at=moment + timedelta(minutes=3, seconds=1))

    assert (due.due_at, due.breached, due.binding) == (at(2020, 10, 30, 0, 2), True, True)


# HN-KD.loa.7
def test_an_empty_list_of_fees_allows_none() -> None:
    fees = known(product("hunan-online-kuaidai@changde", "kuaidai").fees or ())

    charged = {"guarantee_fee": Fen(0), "handling_fee": Fen(100)}

    assert products.fee_check(fees, charged, principal_fen=Fen(10**6)).reasons == (
        "fee_not_allowed:handling_fee",
    )


# AH.loa.1
@pytest.mark.parametrize(
    ("mode", "user", "reasons"),
    [
        ("self_development", "household-1", ()),
        ("enterprise_use", "household-1", ("prohibited_mode",)),
        ("partnership", "firm-1", ("user_is_not_borrower",)),
        ("share_cooperation", "household-1", ("mode_not_listed",)),
        (None, "household-1", ("mode_not_listed",)),
    ],
)
def test_who_borrows_also_uses_and_repays(
    mode: str | None, user: str, reasons: tuple[str, ...]
) -> None:
    clause = microcredit("anhui-yizisanhe@1").use

    checked = products.use_check(
        clause, borrower="household-1", user=user, repayer="household-1", mode=mode
    )

    assert checked.reasons == reasons


def test_pooled_shares_ended_with_the_tightening() -> None:
    modes = [
        (microcredit(ref).use or UseOfLoan()).modes or ()
        for ref in ("hunan-rcu-poverty-microcredit@2", "hunan-poverty-office-137@1")
    ]

    assert ["share_cooperation" in said for said in modes] == [True, False]


# AH-RCU.loa.1, AH-RCU.loa.3
def test_the_outlet_approves_direct_and_indirect_loans() -> None:
    for product_id in ("microcredit", "driven_credit"):
        (step,) = known(product("anhui-rcu-poverty-microcredit@2", product_id).approval_chain)
        assert (step.kind, step.organ.value, step.level, step.joint_session) == (
            StepKind.APPROVAL,
            "lender",
            "outlet",
            True,
        )


# AH-RCU.loa.4
def test_extension_and_renewal_exist_and_wait_for_the_county() -> None:
    direct = microcredit("anhui-rcu-poverty-microcredit@1")

    assert isinstance(direct.renewal, Renewal)
    assert isinstance(direct.extension, Extension)
    with pytest.raises(Refused) as refused:
        facilities.extension_of(direct.extension, ON, months=6, facts={})
    assert refused.value.facts["key"] == "loan_products[microcredit].extension.conditions"
    with pytest.raises(Refused):
        facilities.renewal_of(direct.renewal, Fen(1), interest_unpaid_fen=Fen(0), facts={})


def test_an_extension_moves_the_maturity_within_its_bound() -> None:
    clause = Extension(max_months=6, conditions=("project_good",))

    granted = facilities.extension_of(
        clause, date(2018, 8, 31), months=6, facts={"project_good": True}
    )
    refused = facilities.extension_of(clause, date(2018, 8, 31), months=7, facts={})

    assert (granted.allowed, granted.matures_on) == (True, date(2019, 2, 28))
    assert refused.failed == ("project_good", "too_long")
    assert refused.matures_on == date(2018, 8, 31)


# AH-RCU.loa.6, MAS.loa.4
def test_misuse_is_named() -> None:
    def reasons(ref: str, *conduct: str) -> tuple[str, ...]:
        return products.use_check(
            microcredit(ref).use,
            borrower="h",
            user="h",
            repayer="h",
            mode="self_development",
            conduct=conduct,
        ).reasons

    assert reasons("anhui-rcu-poverty-microcredit@1", "idle_loan") == ("idle_loan",)
    assert reasons("anhui-rcu-poverty-microcredit@1", "other_use") == ("other_use",)
    assert reasons("anhui-maanshan@1", "impersonated_loan", "on_lent_loan") == (
        "impersonated_loan",
        "on_lent_loan",
    )
    assert reasons("anhui-yizisanhe@1", "idle_loan") == ()


# MAS.loa.1
def test_without_the_credit_bureau_nothing_is_lent() -> None:
    local = microcredit("anhui-maanshan@1")

    assert products.gates_of(local, {}).reasons == ("credit_bureau_ok",)
    assert products.gates_of(local, {"credit_bureau_ok": True}).allowed


# MAS.loa.2, MAS.loa.3, MAS.loa.4
@pytest.mark.parametrize(
    "code",
    [
        "house_building",
        "household_goods",
        "non_productive",
        "gov_financing_vehicle",
        "real_estate",
        "infrastructure",
        "on_lending",
    ],
)
def test_poverty_money_is_not_for_consumption_or_construction(code: str) -> None:
    clause = microcredit("anhui-maanshan@1").purpose

    assert limits.purpose_check_of(clause, code).reason == "prohibited_purpose"
    assert limits.purpose_check_of(clause, "goose_raising").allowed


# LB.loa.1, LB.loa.2
def test_a_committee_reviews_and_the_money_is_promised_in_two_working_days() -> None:
    local = microcredit("anhui-lingbi@1")

    assert chain(local)[0] == ("village_department", "loan_review_committee")
    due = sla_deadline(
        known(local.sla or OPEN),
        Calendar(),
        at(2018, 6, 1, 9),
        done_at=at(2018, 6, 6, 9),
    )
    assert (due.due_on, due.breached, due.binding) == (date(2018, 6, 5), True, False)


# SC.loa.1, SC.loa.2
@pytest.mark.parametrize(
    ("proposed", "funding", "allowed"),
    [
        (43_500, "poverty_relending", True),
        (43_501, "poverty_relending", False),
        (47_500, "own_funds", True),
        (47_501, "own_funds", False),
    ],
)
def test_relending_caps_the_rate_and_the_benchmark_caps_all(
    proposed: int, funding: str, allowed: bool
) -> None:
    province = microcredit("sichuan-5221@1").model_copy(
        update={"subsidy": product("henan-lushi@1", "farm_credit").subsidy}
    )

    def quote() -> int:
        return pricing.quote(
            province,
            RULES,
            principal_fen=5_000_000,
            term_months=36,
            on=ON,
            proposed_ppm=proposed,
            funding=funding,
        ).rate_ppm

    if allowed:
        assert quote() == proposed
    else:
        with pytest.raises(Refused) as refused:
            quote()
        assert refused.value.reason == "LOAN_RATE_NOT_ALLOWED"


# SC.loa.3, SC.loa.4
def test_terms_are_flexible_and_loans_are_renewed_without_repaying() -> None:
    province = microcredit("sichuan-5221@1")

    assert province.term_mode == "flexible"
    assert isinstance(province.renewal, Renewal)
    held = dict.fromkeys(
        ("project_good", "still_needs_funds", "risk_controllable", "age_ok", "blacklist_ok"), True
    )
    renewed = facilities.renewal_of(
        province.renewal, Fen(3_000_000), interest_unpaid_fen=Fen(0), facts=held
    )
    unpaid = facilities.renewal_of(
        province.renewal, Fen(3_000_000), interest_unpaid_fen=Fen(1), facts=held
    )
    unknown = facilities.renewal_of(
        province.renewal,
        Fen(3_000_000),
        interest_unpaid_fen=Fen(0),
        facts={**held, "age_ok": False},
    )
    assert (renewed.new_principal_fen, renewed.principal_cash_fen) == (3_000_000, 0)
    assert (unpaid.failed, unpaid.principal_cash_fen) == (("interest_unpaid",), 3_000_000)
    assert unknown.failed == ("age_ok",)


# JX.loa.1, JX.loa.2
def test_taking_part_is_voluntary_and_nothing_else_than_production_is_lent_for() -> None:
    province = microcredit("jiangxi-chanye-xindaitong@1")

    assert products.gates_of(province, {"voluntary": True, "effective_demand": True}).reasons == (
        "participates",
    )
    assert "non_productive" in province.purpose.prohibited
    assert (province.use or UseOfLoan()).prohibited_modes == ("enterprise_use",)
    assert isinstance(known(province.pricing), BenchmarkPricing)


# HN-PO.loa.1, HN-PO.loa.2
def test_ten_to_fifty_thousand_with_three_subsidised_years() -> None:
    tightened = microcredit("hunan-poverty-office-137@1")

    def check(amount: int) -> tuple[bool, str]:
        checked = products.amount_check_of(
            tightened, Fen(amount), credit_limit_fen=Fen(10**7), outstanding_fen=Fen(0)
        )
        return checked.allowed, checked.binding

    assert check(999_999) == (False, "product_minimum")
    assert check(1_000_000) == (True, "product_cap")
    assert check(5_000_000) == (True, "product_cap")
    assert check(5_000_001) == (False, "product_cap")
    assert tightened.term_mode == "flexible"
    assert known(tightened.subsidy).max_months == 36


# HN-PO.loa.3, HN-PO.loa.4
def test_only_graded_and_white_listed_projects_of_all_three_libraries_draw() -> None:
    clause = product("hunan-poverty-office-137@1", "pooled_loan").pooled
    levels = ("province", "city", "county")

    assert clause is not None
    assert products.project_check(clause, levels=levels, grade="poor", whitelisted=True).allowed
    refused = products.project_check(clause, levels=("county",), grade=None, whitelisted=False)
    assert refused.reasons == (
        "not_in_province_library",
        "not_in_city_library",
        "not_graded",
        "not_whitelisted",
    )


# HN-PO.loa.5, HN-PO.loa.6
def test_pooled_loans_need_more_collateral_than_loan_and_stay_out_of_five_sectors() -> None:
    pooled = product("hunan-poverty-office-137@1", "pooled_loan")

    assert len(pooled.purpose.prohibited) == 5
    cover = pooled.security.cover
    assert cover is not None
    assert not pledges.collateral_cover(
        Fen(100), collateral_value_fen=Fen(100), more_than_pct=cover.more_than_pct
    ).accepted
    assert pledges.collateral_cover(
        Fen(100), collateral_value_fen=Fen(101), more_than_pct=cover.more_than_pct
    ).accepted


# HN-PO.loa.9
def test_pooled_loans_are_suspended_and_the_open_day_of_resumption_changes_nothing() -> None:
    before, after = (product(f"hunan-poverty-office-137@{v}", "pooled_loan") for v in "12")
    last, first = date(2018, 4, 27), date(2018, 4, 28)

    assert products.availability_check(before, last).allowed
    assert products.availability_check(after, last).allowed
    assert products.availability_check(after, first).reasons == ("product_suspended",)
    resumed = after.model_copy(
        update={
            "availability": (
                after.availability[0],
                Phase(valid_from=date(2018, 10, 1), state="whitelist_only"),
            )
        }
    )
    assert products.availability_check(resumed, date(2018, 10, 1)).reasons == ("not_whitelisted",)
    assert products.availability_check(resumed, date(2018, 10, 1), whitelisted=True).allowed


# HN-PO.loa.10
def test_a_household_and_a_project_may_renew_without_repaying() -> None:
    for product_id in ("microcredit", "pooled_loan"):
        clause = product("hunan-poverty-office-137@2", product_id).renewal
        assert isinstance(clause, Renewal)
        assert (clause.principal, clause.conditions) == (
            "carried",
            ("project_good", "still_needs_funds", "risk_controllable"),
        )


# SMX.loa.1
def test_bank_and_insurer_investigate_before_the_county_approves() -> None:
    for product_id in ("microcredit", "entity_credit"):
        steps = known(product("henan-sanmenxia-211@1", product_id).approval_chain)
        assert [(step.kind.value, step.organ.value) for step in steps] == [
            ("recommendation", "village_department"),
            ("check", "township_station"),
            ("investigation", "lender"),
            ("investigation", "insurer"),
            ("approval", "county_centre"),
        ]


# SMX.loa.2, SMX.loa.3
def test_entities_pay_at_most_a_tenth_more_and_the_county_three_per_cent() -> None:
    entity = product("henan-sanmenxia-211@1", "entity_credit")

    def quote(proposed: int) -> pricing.Quote:
        return pricing.quote(
            entity, RULES, principal_fen=10**8, term_months=36, on=ON, proposed_ppm=proposed
        )

    assert (quote(52_250).rate_ppm, quote(52_250).subsidised_rate_ppm) == (52_250, 30_000)
    with pytest.raises(Refused):
        quote(52_251)


# LS17.loa.1, LS17.loa.2, LS17.loa.3
def test_the_county_recommends_a_guarantee_and_the_bank_pays_within_days() -> None:
    household, entity = (
        product("henan-lushi@1", code) for code in ("microcredit", "entity_credit")
    )
    organs = ["village_department", "township_station", "county_centre", "lender"]

    assert [organ for organ, _ in chain(household)] == organs
    accepted = at(2017, 11, 9, 16, 30)
    days = [
        sla_deadline(known(each.sla or OPEN), Calendar(), accepted).due_on
        for each in (household, entity)
    ]
    assert days == [date(2017, 11, 15), date(2017, 11, 30)]


# LS17.loa.5, LS17.loa.6, LS17.loa.7, LS18.loa.2
def test_money_stays_in_the_county_and_in_its_leading_industries() -> None:
    terms = CATALOGUE.terms(COUNTY, CATALOGUE.adoptions(COUNTY, ON)[0].programme)
    clause = terms.product("microcredit").purpose
    area = limits.required_area(terms.loans.area_of_use, f"{COUNTY}101001")

    def reason(code: str, used_in: str) -> str | None:
        return limits.purpose_check_of(
            clause, code, used_in_area=used_in, required_area=area
        ).reason

    assert reason("mushroom_growing", f"{COUNTY}102") is None
    assert reason("mushroom_growing", "990101") == "outside_area"
    assert reason("car_purchase", COUNTY) == "prohibited_purpose"
    assert reason("film_making", COUNTY) == "purpose_not_listed"


# LS17.loa.8, LS17.loa.9
def test_the_poor_are_subsidised_in_full_and_entities_with_an_agreement_in_part() -> None:
    full, part = (
        known(product("henan-lushi@1", code).subsidy) for code in ("microcredit", "entity_credit")
    )

    assert pricing.subsidised_rate_ppm(full, loan_rate_ppm=47_500, benchmark_ppm=47_500) == 47_500
    assert pricing.subsidised_rate_ppm(part, loan_rate_ppm=52_250, benchmark_ppm=47_500) == 30_000
    assert part.requires == ("linkage_agreement",)


# YY.loa.1, YY.loa.6, YY.loa.7
def test_a_co_op_consents_to_the_loan_it_manages() -> None:
    managed = product("hubei-yunyang-troika@2018", "coop_managed_loan")

    assert (managed.max_principal_fen, managed.max_term_months) == (5_000_000, 24)
    assert (managed.security.collateral, managed.security.guarantor) == ("none", "none")
    subsidy = known(managed.subsidy)
    assert (subsidy.mode.value, subsidy.max_months) == ("full_at_benchmark", 24)
    kinds = [(step.kind.value, step.organ.value) for step in known(managed.approval_chain)]
    assert kinds[-2:] == [("consent", "cooperative"), ("approval", "lender")]


# YY.loa.2, YY.reg.3
def test_two_thousand_a_person_for_a_household_or_a_group_that_one_leads() -> None:
    alone, group = (
        product("hubei-yunyang-troika@2016", code) for code in ("micro_loan", "mutual_help_loan")
    )

    assert products.amount_bounds(alone, persons=3) == (0, 600_000)
    clause = group.group
    assert clause is not None
    assert (clause.borrower, clause.liability) == ("lead", "lead")
    assert products.group_check(clause, 1).reasons == ("group_too_small",)
    # Within the lead's own credit limit.
    checked = products.amount_check_of(
        group,
        Fen(2_000_000),
        credit_limit_fen=Fen(1_500_000),
        outstanding_fen=Fen(0),
        persons=11,
    )
    assert (checked.allowed, checked.binding) == (False, "credit_limit")


# YY.loa.4
def test_who_is_not_poor_borrows_against_the_district_companys_guarantee() -> None:
    huinong = product("hubei-yunyang-troika@2017", "huinong_loan")

    assert huinong.security.guarantor_parties == ("district_credit_company",)
    assert "district_credit_company" in parties_named(
        CATALOGUE.programme("hubei-yunyang-troika@2017")
    )
    assert (huinong.max_principal_fen, huinong.max_term_months) == (6_000_000, 24)
    price = known(huinong.pricing)
    assert isinstance(price, RangePricing)
    assert price.max_rate_ppm == 70_000


# YY.loa.5
def test_three_committees_sign_within_about_a_week() -> None:
    poverty = microcredit("hubei-yunyang-troika@2016")

    assert chain(poverty) == [
        ("village_department", "village_review_committee"),
        ("township_station", "town_review_committee"),
        ("county_centre", "district_review_committee"),
        ("lender", None),
    ]
    due = sla_deadline(known(poverty.sla or OPEN), Calendar(), at(2018, 6, 1, 9))
    assert (due.due_on, due.binding) == (date(2018, 6, 8), False)


# YY.ins.10
def test_an_insurer_lends_by_kind_of_borrower_within_its_line() -> None:
    financing = product("hubei-yunyang-troika@2018", "insurer_financing")

    assert financing.lender == "insurer"
    assert products.amount_bounds(financing, standing="family_farm")[1] == 50_000_000
    assert products.amount_bounds(financing, standing="small_enterprise")[1] == 100_000_000
    with pytest.raises(Refused):
        products.amount_bounds(financing)
    assert products.line_check(financing, Fen(1), lent_fen=Fen(5_999_999_999)).allowed
    assert products.line_check(financing, Fen(1), lent_fen=Fen(6_000_000_000)).reasons == (
        "over_line",
    )


# YC.loa.1, YC.loa.2
def test_a_card_costs_the_benchmark_on_days_drawn_for_three_years() -> None:
    card = microcredit("ningxia-yanchi@2018")

    assert card.revolving is not None
    used = facilities.revolving_of(
        card.revolving,
        Fen(5_000_000),
        granted_on=date(2018, 1, 1),
        movements=[
            facilities.Movement("draw", date(2018, 1, 2), Fen(5_000_000)),
            facilities.Movement("repay", date(2018, 4, 2), Fen(5_000_000)),
            facilities.Movement("draw", date(2021, 1, 1), Fen(1)),
        ],
    )
    assert used.last_valid_on == date(2021, 1, 1)
    assert [moved.accepted for moved in used.results] == [True, True, True]
    cost = interest.balance_interest_fen(
        [(Fen(5_000_000), 90), (Fen(0), 275)], rate_ppm=43_500, day_basis=360
    )
    assert cost == 54_375
    assert isinstance(known(card.pricing), BenchmarkPricing)


# YC.loa.3, YC.loa.4
def test_two_funds_back_loans_to_entities_and_leaders() -> None:
    industry = product("ningxia-yanchi@2014", "industry_loan")
    guaranteed = product("ningxia-yanchi@2014", "industry_guarantee_loan")

    assert industry.backing is not None
    backed = leverage.leverage(
        industry.backing.initial_fen,
        multiple=known(industry.backing.multiple),
        outstanding_fen=Fen(0),
    )
    assert backed.capacity_fen == 20_000_000_000
    assert (industry.max_principal_fen, industry.max_term_months) == (500_000_000, 36)
    assert products.amount_bounds(guaranteed) == (0, 200_000_000)
    assert products.amount_bounds(guaranteed, standing="leader") == (10_000_000, 50_000_000)


# YC.loa.5
def test_the_insurers_rate_holds_from_a_hundred_thousand_on() -> None:
    financing = product("ningxia-yanchi@2018", "insurer_financing")

    assert financing.line_fen == 5_000_000_000
    price = pricing.pricing_of(financing, 10_000_000)
    assert pricing.loan_rate_ppm(price, benchmark_ppm=0, proposed_ppm=55_000) == 55_000
    with pytest.raises(Refused):
        pricing.loan_rate_ppm(price, benchmark_ppm=0, proposed_ppm=55_001)
    with pytest.raises(Refused) as refused:
        pricing.pricing_of(financing, 9_999_999)
    assert refused.value.reason == "PROGRAMME_VALUE_OPEN"


# YC.loa.6, YC.loa.7, YC.loa.8, YC.loa.9
def test_the_sheep_bank_counts_bears_secures_and_refunds() -> None:
    secured = product("ningxia-yanchi@2018", "sheep_pledge")
    (pledge,) = secured.security.pledges

    assert isinstance(pledge, DepositPledge)
    counted = pledges.asset_deposit_of(pledge, 100, unit_price_fen=Fen(100_000))
    assert counted.value_per_unit_fen == 80_000
    assert counted.interest_per_unit_month_fen == 400
    assert counted.pledge_loan_fen == 8_000_000
    refund = pledges.interest_refund(
        pledge.refund,
        counted.pledge_loan_fen,
        loan_rate_ppm=43_500,
        months=12,
        sold_to_keeper=True,
        held=frozenset({"proof_of_sale"}),
    )
    assert (refund.refund_fen, refund.missing) == (0, ("no_arrears",))


# TX.loa.1, TX.loa.2
def test_villagers_may_build_and_marry_but_not_lend_on_or_speculate() -> None:
    clause = product("zhejiang-tongxiang-sanzhi@1", "sanzhi_credit").purpose

    for code in ("business", "production", "house_building", "schooling", "marriage"):
        assert limits.purpose_check_of(clause, code).allowed
    for code in ("lent_to_others", "house_purchase", "stock_market"):
        assert limits.purpose_check_of(clause, code).reason == "prohibited_purpose"


# TX.loa.3, TX.loa.4, TX.loa.5, TX.loa.6
def test_eight_steps_grant_three_years_of_instant_draws() -> None:
    villagers = product("zhejiang-tongxiang-sanzhi@1", "sanzhi_credit")

    assert villagers.revolving is not None
    assert villagers.revolving.validity_months == 36
    assert len(known(villagers.approval_chain)) + len(villagers.later_steps) == 8
    moment = at(2021, 3, 7, 3, 30)
    clause = known(villagers.sla or OPEN)
    assert sla_deadline(clause, Calendar(), moment, done_at=moment).breached is False
    assert villagers.self_service is not None
    assert villagers.self_service.identity_proof == "face_recognition"
    assert products.amount_bounds(villagers, standing="double_lead")[1] == 50_000_000


# WC.loa.1, WC.loa.2
def test_a_county_pays_up_to_five_per_cent_of_a_loan_at_the_benchmark() -> None:
    local = microcredit("sichuan-wangcang@1")

    def quote(months: int, funding: str) -> tuple[int, int]:
        priced = pricing.quote(
            local, RULES, principal_fen=5_000_000, term_months=months, on=ON, funding=funding
        )
        return priced.rate_ppm, priced.subsidised_rate_ppm

    assert quote(12, "poverty_relending") == (43_500, 43_500)
    assert quote(36, "own_funds") == (47_500, 47_500)
    # The province's cap on relending money stands above a price that nobody proposed.
    assert quote(36, "poverty_relending") == (43_500, 43_500)
    dear = pricing.subsidised_rate_ppm(
        known(local.subsidy), loan_rate_ppm=60_000, benchmark_ppm=47_500
    )
    assert dear == 50_000


# WC.loa.3
@pytest.mark.parametrize(
    ("households", "reasons"),
    [(9, ("group_too_small",)), (10, ()), (20, ()), (21, ("group_too_large",))],
)
def test_ten_to_twenty_households_answer_for_each_other(
    households: int, reasons: tuple[str, ...]
) -> None:
    joint = product("sichuan-wangcang@1", "joint_guarantee")

    assert joint.group is not None
    assert products.group_check(joint.group, households).reasons == reasons
    assert (joint.group.borrower, joint.group.liability) == ("society", "joint")
    assert joint.max_principal_fen == 20_000_000
    assert isinstance(known(joint.pricing), BenchmarkPricing)


# WC.loa.4
def test_half_of_the_animals_value_is_lent_and_revolves() -> None:
    secured = product("sichuan-wangcang@1", "animal_pledge")
    pledge = secured.security.pledges[0]

    assert isinstance(pledge, AdvancePledge)
    assert (secured.facility, pledge.valued_at) == ("revolving", "market_price")
    assert pledges.collateral_limit_of(pledge, 3, unit_value_fen=Fen(33)).limit_fen == 49
    forest = secured.security.pledges[1]
    assert isinstance(forest, AdvancePledge)
    with pytest.raises(Refused):
        pledges.collateral_limit_of(forest, 1, unit_value_fen=Fen(1))


@pytest.mark.parametrize("ref", sorted(CATALOGUE.packs))
def test_every_product_of_every_pack_is_decided_or_refused_with_a_reason(ref: str) -> None:
    offered(CATALOGUE.programme(ref))
