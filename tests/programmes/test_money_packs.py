"""Insurance and funds in the packs: each programme's values, and what they decide."""

from datetime import date
from pathlib import Path

import pytest

from services.kernel.errors import Refused
from services.kernel.money import Fen
from services.programmes import covers, indices, leverage, policies, settlement, upkeep, waterfall
from services.programmes.calendars import Calendar
from services.programmes.loader import load
from services.programmes.schema.fund import SharingModel
from services.programmes.schema.insurance import LOAN_LINKED, Cover, Premium
from services.programmes.schema.policies import PremiumSubsidy
from services.programmes.schema.values import Open, known
from services.programmes.terms import Terms

COUNTY = "990101"
CATALOGUE = load([Path(__file__).parent / "county"])
YUAN = 100
NOTHING = Fen(0)


def terms(ref: str) -> Terms:
    return CATALOGUE.terms(COUNTY, ref)


def sharing(ref: str) -> SharingModel:
    return terms(ref).sharing_model("risk_sharing")


def borne(ref: str, loss: int, *, cause: str | None = None, **balances: Fen) -> dict[str, int]:
    shared = waterfall.share_loss_by(sharing(ref), Fen(loss), balances_fen=balances, cause=cause)
    assert shared.uncovered_fen == 0
    return {line.party: line.amount_fen for line in shared.allocations}


def paid_first(cover: Cover) -> tuple[tuple[str, ...], ...]:
    return covers.payees_of(cover, consented=True, sweep_trigger="always", difficulty=False)


# HN-RCU.fun.1, HN-RCU.fun.2, HN-RCU.fun.3, HN-RCU.fun.4
def test_hunans_fund_starts_at_its_minimum_and_grows_by_one_per_cent_a_year() -> None:
    fund = terms("hunan-rcu-poverty-microcredit@2").fund
    assert fund.top_up is not None
    assert fund.top_up.yearly_ppm is not None
    assert fund.initial_fen == fund.min_balance_fen == 3_000_000 * YUAN

    grown = upkeep.yearly_top_up(
        Fen(sum(each.amount_fen or 0 for each in fund.contributions)),
        loans_fen=Fen(86_500_000 * YUAN),
        yearly_ppm=fund.top_up.yearly_ppm,
        min_balance_fen=fund.min_balance_fen,
    )

    assert (grown.meets_minimum, grown.added_fen) == (True, 865_000 * YUAN)
    assert fund.top_up.yearly_due == "01-31"
    assert (fund.custody, fund.custodian) == ("special_account", "custodian_bank")


# HN-RCU.fun.5, HN-RCU.fun.6
def test_hunans_county_chooses_one_of_two_ratios_and_until_then_nothing_is_shared() -> None:
    ref = "hunan-rcu-poverty-microcredit@2"
    with pytest.raises(Refused) as refused:
        borne(ref, 3_000_000, cause="market")
    assert refused.value.reason == "PROGRAMME_VALUE_OPEN"

    first = borne(f"{ref}:example-two-to-eight", 3_000_000, cause="market")
    second = borne(f"{ref}:example-one-to-nine", 3_000_000, cause="calamity")
    outside = borne(f"{ref}:example-one-to-nine", 3_000_000, cause="misuse")

    assert first == {"bank": 600_000, "fund": 2_400_000}
    assert second == {"bank": 300_000, "fund": 2_700_000}
    assert outside == {"bank": 3_000_000}
    assert sharing(ref).covered_causes == ("market", "calamity", "credit")


# HN-RCU.fun.7, HN-PO.fun.3
def test_hunan_pays_only_what_is_audited_and_published() -> None:
    before = terms("hunan-rcu-poverty-microcredit@2").fund.payment_control
    after = terms("hunan-poverty-office-137@1").fund.payment_control
    assert before is not None
    assert after is not None
    assert before.public_notice is not None
    assert after.public_notice is not None

    for control in (before, after):
        for payment in ("compensation", "interest_subsidy"):
            undone = upkeep.undone(control, payment, audited=False, published=False, approved_by=())
            assert undone == ("audit", "public_notice")
    assert upkeep.undone(before, "fee", audited=False, published=False, approved_by=()) == ()
    assert (before.public_notice.graded, before.public_notice.platform) == (True, None)
    assert (after.public_notice.graded, after.public_notice.platform) == (
        True,
        "internet_supervision",
    )


# HN-PO.fun.1: beside the yearly one per cent and the minimum (C15).
def test_the_poverty_office_keeps_the_fund_at_a_tenth_of_the_loans() -> None:
    fund = terms("hunan-poverty-office-137@1").fund

    needed = upkeep.needed_by(fund, Fen(3_000_000 * YUAN), loans_fen=Fen(40_000_000 * YUAN))
    small = upkeep.needed_by(fund, Fen(2_000_000 * YUAN), loans_fen=Fen(1_000_000 * YUAN))

    assert known(fund.multiple) == 10
    assert fund.top_up is not None
    assert fund.top_up.yearly_ppm == 10_000
    assert (needed.binding, needed.top_up_fen) == ("ratio", 1_000_000 * YUAN)
    assert (small.binding, small.top_up_fen) == ("minimum", 1_000_000 * YUAN)


# HN-PO.fun.2
def test_since_2018_hunans_fund_stands_for_force_majeure_only() -> None:
    assert sharing("hunan-poverty-office-137@1").covered_causes == ("market", "calamity", "credit")
    assert sharing("hunan-poverty-office-137@2").covered_causes == ("force_majeure",)
    assert borne("hunan-poverty-office-137@2", 1_000, cause="market") == {"bank": 1_000}


# AH.ins.1
def test_anhui_sells_three_covers_as_one() -> None:
    (bundle,) = terms("anhui-yizisanhe@1").insurance.bundles

    assert bundle.covers == ("agri", "loan_guarantee", "personal_accident")


# AH.fun.1, MAS.fun.1
def test_anhui_lends_ten_times_the_fund_and_the_city_pays_it_in_full() -> None:
    for ref in ("anhui-yizisanhe@1", "anhui-lingbi@1", "anhui-rcu-poverty-microcredit@2"):
        assert known(terms(ref).fund.multiple) == 10
    city = terms("anhui-maanshan@1").fund

    needed = upkeep.needed_by(city, Fen(3_000_000_000), loans_fen=Fen(34_107_400_000))

    assert needed.required_fen == 3_410_740_000
    assert needed.top_up_fen == 410_740_000
    assert city.custody == "special_account"


# MAS.ins.1
def test_the_city_insures_every_borrower_twice() -> None:
    city = terms("anhui-maanshan@1")

    for borrower in ("poor_household", "near_poor_household", "entity"):
        assert city.required_covers(borrower) == ("personal_accident", "special_agri")


# MAS.fun.2, MAS.fun.3
def test_the_city_shares_seven_to_three_what_really_cannot_be_recovered() -> None:
    model = sharing("anhui-maanshan@1")

    assert borne("anhui-maanshan@1", 10_000) == {"government": 7_000, "bank": 3_000}
    assert waterfall.unproven(model, ()) == ("unrecoverable",)
    assert waterfall.unproven(model, ("unrecoverable",)) == ()


# LB.ins.1
def test_one_master_policy_has_five_covers_of_which_two_are_never_the_lenders() -> None:
    insurance = terms("anhui-lingbi@1").insurance
    assert insurance.master_policy is not None

    inside = policies.master_covers(insurance)
    own = [cover.id for cover in insurance.covers if cover.assigned is False]

    assert len(inside) == 5
    assert "agri" not in inside
    assert own == ["third_party_liability", "major_medical"]
    assert insurance.master_policy.scope == "county"


# SC.fun.1, SC.fun.2, SC.fun.3
def test_sichuans_village_fund_pays_first_and_the_ratio_depends_on_deep_poverty() -> None:
    village = Fen(1_000_000)

    plain = borne("sichuan-5221@1", 3_000_000, village_mutual_fund=village)
    deep = borne("sichuan-5221@1:deep_poverty", 3_000_000, village_mutual_fund=village)

    assert plain == {"village_mutual_fund": 1_000_000, "fund": 1_400_000, "bank": 600_000}
    assert deep == {"village_mutual_fund": 1_000_000, "fund": 1_600_000, "bank": 400_000}
    for ref in ("sichuan-5221@1", "sichuan-5221@1:deep_poverty"):
        early = [waterfall.early_pots(sharing(ref), overdue_days=days) for days in (0, 1)]
        assert early == [(), (waterfall.Pot("village", "village_mutual_fund"),)]


# SC.fun.5, SC.fun.6
def test_sichuan_pays_lenders_one_per_cent_and_two_yuan_a_household() -> None:
    clause = terms("sichuan-5221@1").fund.fee_subsidy
    assert clause is not None

    fees = upkeep.fee_subsidy_by(clause, disbursed_fen=Fen(1_234_567_890), households=1_250)

    assert (fees.lending_subsidy_fen, fees.data_fee_fen) == (12_345_679, 250_000)
    assert clause.per_household_to == "collector"


# WC.fun.1
def test_a_countys_fund_lies_with_the_banks_and_follows_their_loans() -> None:
    fund = terms("sichuan-wangcang@1").fund
    assert fund.top_up is not None

    needed = upkeep.needed_by(fund, Fen(2_861_000_000), loans_fen=Fen(30_000_000_000))

    assert (fund.custody, fund.divided_by) == ("per_bank", "lending_share")
    assert fund.top_up.injected == "in_batches"
    assert needed.top_up_fen == 139_000_000


# WC.fun.2, WC.fun.4: the county's one ratio stands before the province's two (C05).
def test_a_countys_own_ratio_stands_before_the_provinces_also_in_deep_poverty() -> None:
    for ref in ("sichuan-wangcang@1", "sichuan-wangcang@1:deep_poverty"):
        assert borne(ref, 4_200_000, village_mutual_fund=Fen(1_500_000)) == {
            "village_mutual_fund": 1_500_000,
            "government": 1_620_000,
            "bank": 1_080_000,
        }


# WC.fun.3
def test_a_village_fund_lies_between_three_and_five_per_cent_of_the_villages_loans() -> None:
    clause = terms("sichuan-wangcang@1").fund.village_fund
    assert clause is not None
    assert clause.pot in sharing("sichuan-wangcang@1").pots

    bounds = [
        leverage.village_fund(
            Fen(86_000_000), min_pct=clause.min_pct, max_pct=clause.max_pct, fund_fen=Fen(held)
        ).within
        for held in (2_579_999, 2_580_000, 4_300_000, 4_300_001)
    ]

    assert bounds == [False, True, True, False]
    assert clause.raised_by == "supporting_unit"


# WC.ins.1, WC.ins.3
def test_three_covers_stand_before_a_loan_and_one_is_capped() -> None:
    county = terms("sichuan-wangcang@1")
    accident = county.cover("micro_poverty")
    assert accident.cap_fen is not None

    paid = covers.payable(Fen(4_500_000), cap_fen=known(accident.cap_fen))

    for borrower in ("poor_household", "near_poor_household", "entity"):
        assert county.required_covers(borrower) == ("policy_agri", "microloan", "micro_poverty")
    assert (paid.payable_fen, paid.binding) == (3_100_000, "cap")


# WC.ins.2
def test_the_bank_is_paid_first_once_repayment_is_in_difficulty() -> None:
    county = terms("sichuan-wangcang@1")
    trigger = known(county.insurance.sweep_trigger)

    orders = {
        covers.payees_of(
            county.cover(cover), consented=True, sweep_trigger=trigger, difficulty=difficulty
        )
        for cover in county.required_covers("poor_household")
        for difficulty in (True,)
    }
    calm = covers.payees_of(
        county.cover("micro_poverty"), consented=True, sweep_trigger=trigger, difficulty=False
    )

    assert orders == {(("bank",), ("mutual_aid_society",), ("household",))}
    assert calm == (("household",),)


# JX.ins.1, JX.ins.2
def test_a_subsidised_premium_is_split_and_stands_beside_other_support() -> None:
    clause = known(terms("jiangxi-chanye-xindaitong@1").cover("loan_guarantee").premium)
    assert clause.subsidy is not None
    with pytest.raises(Refused):
        policies.premium_parts(clause, Fen(10_001))

    decided = Premium(rate_ppm=20_000, subsidy=PremiumSubsidy(pct=70, payer="county"))

    assert policies.premium_parts(decided, Fen(10_001)) == {"county": 7_001, "borrower": 3_000}
    assert clause.subsidy.together_with == ("interest_subsidy", "direct_grant", "training")


# JX.fun.1, JX.fun.3
def test_a_province_without_numbers_leaves_them_to_the_county_and_the_finance_bureau() -> None:
    fund = terms("jiangxi-chanye-xindaitong@1").fund

    undone = upkeep.undone(
        fund.payment_control, "compensation", audited=False, published=False, approved_by=()
    )

    assert isinstance(fund.multiple, Open)
    assert isinstance(sharing("jiangxi-chanye-xindaitong@1").layers, Open)
    assert (fund.scope, fund.sized_by) == ("county", "county_demand")
    assert undone == ("approval_finance_bureau",)


# SMX.ins.1, SMX.ins.2, SMX.ins.3
def test_insurers_sign_first_and_divide_the_lines_by_their_guarantees() -> None:
    insurance = terms("henan-sanmenxia-211@1").insurance
    assert insurance.master_policy is not None
    assert insurance.participation is not None

    lines = leverage.allocate(Fen(1_000), [("insurer_a", 2), ("insurer_b", 1)])

    assert insurance.master_policy.scope == "county"
    assert insurance.participation.agreement_required
    assert insurance.participation.lines_divided_by == "guarantee_volume"
    assert lines == {"insurer_a": 667, "insurer_b": 333}


# SMX.ins.4, SMX.ins.5
def test_a_borrower_pays_at_most_two_per_cent_and_an_insurer_may_lend_itself() -> None:
    pack = terms("henan-sanmenxia-211@1")
    clause = known(pack.cover("loan_guarantee").premium)

    assert (clause.max_rate_ppm, clause.payer) == (20_000, "borrower")
    assert pack.product("insurer_financing").lender == "insurer"


# SMX.fun.1, SMX.fun.3
def test_pool_one_lies_with_the_banks_and_pool_two_follows_the_insurers_risk() -> None:
    fund = terms("henan-sanmenxia-211@1").fund
    assert fund.top_up is not None
    assert fund.insurer_pool is not None

    pool = leverage.insurer_pool_fen(
        Fen(100_000_000 * YUAN),
        default_rate_ppm=20_000,
        insurer_share_pct=fund.insurer_pool.insurer_share_pct,
    )

    assert (fund.custody, fund.divided_by) == ("per_bank", "lending_share")
    assert fund.top_up.with_volume
    assert pool == 1_000_000 * YUAN


# SMX.fun.5, SMX.fun.6
def test_entities_share_by_four_parties_or_by_three() -> None:
    pack = terms("henan-sanmenxia-211@1")

    four = waterfall.share_loss_by(pack.sharing_model("four_party_entity"), Fen(1_000))
    three = waterfall.share_loss_by(pack.sharing_model("gov_bank_insurer"), Fen(1_000))

    assert [line.amount_fen for line in four.allocations] == [200, 200, 400, 200]
    assert [line.amount_fen for line in three.allocations] == [300, 200, 500]


# SMX.fun.7, SMX.fun.8, SMX.fun.9, LS17.fun.3
def test_a_pool_of_government_and_enterprises_is_lent_on_at_most_ten_times() -> None:
    for ref in ("henan-sanmenxia-211@1", "henan-lushi@1"):
        clause = terms(ref).fund.mutual_pool
        assert clause is not None

        pool = leverage.pool_mix(
            Fen(9_000_000 * YUAN),
            Fen(21_000_000 * YUAN),
            government_pct=clause.government_pct,
            max_multiple=clause.max_multiple,
            loans_fen=Fen(210_000_000 * YUAN),
        )

        assert (pool.mix_ok, pool.within_cap, pool.multiple_centi) == (True, True, 700)


# LS17.fun.1
def test_the_pilots_fund_has_fifty_million() -> None:
    assert terms("henan-lushi@1").fund.initial_fen == 50_000_000 * YUAN


# LS18.fun.1, LS18.fun.2, LS18.fun.3, LS18.fun.4, LS18.fun.7
def test_the_pilot_a_year_later_shares_after_seventy_days() -> None:
    pack = terms("henan-lushi@2")
    wanted = {
        "four_party_household": [200, 100, 500, 200],
        "four_party_entity": [200, 200, 400, 200],
        "gov_bank_insurer": [200, 300, 500],
        "insurer_financed": [1_000],
    }

    for model_id, amounts in wanted.items():
        model = pack.sharing_model(model_id)
        shared = waterfall.share_loss_by(model, Fen(1_000))
        assert [line.amount_fen for line in shared.allocations] == amounts
        assert known(model.trigger).overdue_more_than_days == 70
        assert model.base == "principal_and_interest"


# LS18.fun.5, LS18.fun.6
def test_margins_and_the_mutual_fund_pay_before_fund_and_bank() -> None:
    model = terms("henan-lushi@2").sharing_model("gov_bank_enterprise")
    balances = {"defaulter_margin": Fen(300), "enterprise_mutual_fund": Fen(500)}

    shared = waterfall.share_loss_by(model, Fen(1_000), balances_fen=balances)

    assert {line.party: line.amount_fen for line in shared.allocations} == {
        "defaulter_margin": 300,
        "enterprise_mutual_fund": 500,
        "county_fund": 100,
        "bank": 100,
    }


# YY.ins.1, YY.ins.3
def test_a_district_policy_becomes_one_a_town_at_eight_per_cent_without_the_medical_cover() -> None:
    before, after = (terms(f"hubei-yunyang-troika@{year}").insurance for year in (2017, 2018))
    assert before.master_policy is not None
    assert after.master_policy is not None
    assert after.master_policy.premium is not None

    premium = policies.policy_premium(
        after.master_policy.premium, lending_fen=Fen(200_000_000 * YUAN)
    )
    merged = policies.merged(21_000, len(policies.master_covers(after)), areas=19)

    assert (before.master_policy.scope, after.master_policy.scope) == ("county", "township")
    assert before.master_policy.premium is None
    assert premium.premium_fen == 16_000_000 * YUAN
    assert after.master_policy.premium.excludes == ("illness_supplement",)
    assert (merged.certificates_before, merged.policies_after) == (105_000, 19)


# YY.ins.4, YY.ins.5
def test_the_bank_is_first_beneficiary_and_the_rest_is_the_households() -> None:
    pack = terms("hubei-yunyang-troika@2017")
    assert known(pack.insurance.sweep_trigger) == "always"
    orders = {paid_first(cover) for cover in pack.insurance.covers if cover.assigned is True}

    settled = settlement.settle(
        Fen(3_000_000),
        [["bank"]],
        {"bank": settlement.Amounts(principal_fen=Fen(2_000_000), interest_fen=Fen(50_000))},
    )

    assert orders == {(("bank",), ("household",))}
    assert paid_first(pack.cover("illness_supplement")) == (("household",),)
    assert settled.household_fen == 950_000


# YY.ins.6, YY.ins.7, YY.ins.8
@pytest.mark.parametrize(
    ("yuan", "days"), [(2_000, 0), (2_001, 3), (5_000, 3), (5_001, 5), (1_000_000, 5)]
)
def test_claims_are_paid_the_faster_the_smaller_they_are(yuan: int, days: int) -> None:
    tiers = known(terms("hubei-yunyang-troika@2017").insurance.claim_tiers)

    due = covers.claim_deadline(
        Fen(yuan * YUAN), tiers, accepted_on=date(2018, 7, 2), calendar=Calendar()
    )

    assert due.working_days == days


# YY.ins.10
def test_an_insurer_lends_to_farms_and_firms_up_to_its_line() -> None:
    clause = terms("hubei-yunyang-troika@2017").insurance.direct_financing
    assert clause is not None

    def check(entity_type: str, yuan: int, lent: int) -> tuple[bool, str]:
        result = policies.financing_check(
            clause, entity_type, requested_fen=Fen(yuan * YUAN), lent_fen=Fen(lent * YUAN)
        )
        return result.allowed, result.binding

    assert check("family_farm", 500_000, 0) == (True, "cap")
    assert check("family_farm", 500_001, 0) == (False, "cap")
    assert check("small_enterprise", 1_000_000, 0) == (True, "cap")
    assert check("small_enterprise", 1_000_000, 59_500_000) == (False, "line")
    with pytest.raises(Refused) as refused:
        check("cooperative", 1, 0)
    assert refused.value.reason == "ENTITY_TYPE_NOT_FINANCED"


# YY.fun.1
def test_seventy_million_stand_behind_seven_times_as_much() -> None:
    fund = terms("hubei-yunyang-troika@2016").fund
    assert fund.initial_fen is not None

    room = leverage.leverage(
        known(fund.initial_fen), multiple=known(fund.multiple), outstanding_fen=NOTHING
    )

    assert room.capacity_fen == 490_000_000 * YUAN


# YY.fun.2: the nine parts are the insurer's up to the sum insured, then the fund's (S25).
def test_the_banks_share_falls_from_three_to_one_and_the_insurer_comes_before_the_fund() -> None:
    before, after = sharing("hubei-yunyang-troika@2016"), sharing("hubei-yunyang-troika@2017")

    def amounts(model: SharingModel, insured: dict[str, Fen]) -> dict[str, int]:
        shared = waterfall.share_loss_by(model, Fen(4_600_000), insured_fen=insured)
        return {line.party: line.amount_fen for line in shared.allocations}

    assert amounts(before, {}) == {"bank": 1_380_000, "county_fund": 3_220_000}
    assert amounts(after, {"credit_guarantee": Fen(3_000_000)}) == {
        "bank": 460_000,
        "insurer": 3_000_000,
        "county_fund": 1_140_000,
    }
    assert amounts(after, {"credit_guarantee": Fen(9_000_000)}) == {
        "bank": 460_000,
        "insurer": 4_140_000,
    }
    assert after.parties == ("bank", "insurer", "county_fund")
    with pytest.raises(Refused) as refused:
        amounts(after, {})
    assert refused.value.reason == "SUM_INSURED_MISSING"


# YC.ins.1, YC.ins.2
def test_the_index_pays_the_gap_to_its_years_trigger() -> None:
    def paid(year: int) -> int:
        index = terms(f"ningxia-yanchi@{year}").cover("tan_sheep_price").price_index
        assert index is not None
        prices = [Fen(2_100), Fen(2_140)]
        return indices.index_payout_by(
            known(index), prices_fen_per_jin=prices, quantity_centi_jin=300_000
        ).payout_fen

    assert [paid(year) for year in (2016, 2017, 2018)] == [0, 240_000, 240_000]


# YC.ins.3, YC.ins.4, YC.ins.5
def test_a_death_pays_bank_society_and_family_each_from_its_own_cover() -> None:
    pack = terms("ningxia-yanchi@2018")
    orders = {cover: paid_first(pack.cover(cover)) for cover in ("credit_loan", "society_member")}

    assert orders == {
        "credit_loan": (("bank",), ("household",)),
        "society_member": (("mutual_aid_society",), ("household",)),
    }
    assert paid_first(pack.cover("family_accident")) == (("household",),)
    # The finance-credit cover insures the loan; the fund claims it, not the family.
    assert pack.cover("credit_loan").kind in LOAN_LINKED


# YC.fun.1
def test_a_hundred_million_with_the_banks_is_lent_ten_times() -> None:
    fund = terms("ningxia-yanchi@2018").fund

    assert fund.initial_fen == 100_000_000 * YUAN
    assert (known(fund.multiple), fund.custody) == (10, "per_bank")


# YC.fun.2, YC.fun.3
def test_the_fund_shares_illness_and_disaster_and_nothing_else() -> None:
    ref = "ningxia-yanchi@2018"

    assert borne(ref, 8_000_000, cause="serious_illness") == {"fund": 5_600_000, "bank": 2_400_000}
    assert borne(ref, 8_000_000, cause="disaster") == {"fund": 5_600_000, "bank": 2_400_000}
    assert borne(ref, 8_000_000, cause="wilful_default") == {"bank": 8_000_000}
    assert borne(ref, 8_000_000) == {"bank": 8_000_000}


# YC.fun.4
def test_an_insurers_deficit_is_made_good_while_the_pool_lasts() -> None:
    clause = terms("ningxia-yanchi@2016").fund.insurer_stabilisation
    assert clause is not None

    year = upkeep.stabilise(
        Fen(701_200_000),
        Fen(1_218_400_000),
        fund_fen=clause.initial_fen,
        compensates_pct=clause.compensates_pct,
    )
    again = upkeep.stabilise(NOTHING, Fen(10**10), fund_fen=year.fund_after_fen)

    assert (year.compensated_fen, year.fund_after_fen) == (517_200_000, 482_800_000)
    assert (again.compensated_fen, again.fund_after_fen) == (482_800_000, 0)
