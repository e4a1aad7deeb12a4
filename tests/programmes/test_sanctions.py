"""Sanctions, rewards, grants and relief: whom they reach, for how long, and at whose cost."""

from collections.abc import Mapping
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.errors import Refused
from services.kernel.money import Fen
from services.programmes import rewards, sanctions
from services.programmes.schema.rewards import Grant, GrantKind, HardshipRelief
from services.programmes.schema.sanctions import Relation, SanctionEffect, SanctionEnd
from services.programmes.schema.values import BorrowerClass, Organ
from tests.programmes.test_lending import refusal, rules

ON = date(2017, 6, 1)
FAMILY = (Relation.SELF, Relation.SPOUSE, Relation.CHILD, Relation.PARENT)


# YY.loa.8
@pytest.mark.parametrize("version", ["2016", "2017", "2018"])
def test_a_wilful_defaulters_family_is_barred_through_the_last_day(version: str) -> None:
    ban = rules(f"hubei-yunyang-troika@{version}").sanctions[0]

    assert ban.relations == FAMILY
    days = [date(2017, 5, 31), ON, date(2022, 6, 1), date(2022, 6, 2)]
    blocked = [
        sanctions.check_of(ban, relation=Relation.PARENT, sanctioned_on=ON, on=day).blocked
        for day in days
    ]
    assert blocked == [False, True, True, False]


# YY.loa.8, YY.loa.9
def test_only_the_defaulter_loses_government_subsidies() -> None:
    said = rules("hubei-yunyang-troika@2018").sanctions

    lost = [
        sanctions.lost(
            said, cause="wilful_default", relation=relation, sanctioned_on=ON, on=date(2019, 1, 1)
        )
        for relation in (Relation.SELF, Relation.CHILD, Relation.SIBLING)
    ]
    assert [[effect.value for effect in each.effects] for each in lost] == [
        ["no_credit", "no_government_subsidies", "subsidy_set_off"],
        ["no_credit"],
        [],
    ]
    other = sanctions.lost(
        said, cause="illness", relation=Relation.SELF, sanctioned_on=ON, on=date(2019, 1, 1)
    )
    assert other.effects == ()


# YY.loa.9
def test_a_subsidy_is_set_off_only_where_the_law_allows_it() -> None:
    clause = rules("hubei-yunyang-troika@2017").sanctions[1]

    def taken(subsidy: str, *, lawful: bool) -> int:
        result = sanctions.set_off(
            clause, subsidy=subsidy, subsidy_fen=Fen(900), debt_fen=Fen(500), lawful=lawful
        )
        assert result.to_debt_fen + result.to_household_fen == 900
        return result.to_debt_fen

    assert taken("agricultural_subsidy", lawful=True) == 500
    assert taken("agricultural_subsidy", lawful=False) == 0
    assert taken("minimum_income", lawful=True) == 0


# LS18.loa.8
def test_an_evader_loses_rating_credit_and_subsidy_without_end() -> None:
    said = rules("henan-lushi@2").sanctions

    result = sanctions.lost(
        said, cause="evader", relation=Relation.SELF, sanctioned_on=ON, on=date(2050, 1, 1)
    )
    assert result.effects == (
        SanctionEffect.NO_RATING,
        SanctionEffect.NO_CREDIT,
        SanctionEffect.NO_SUBSIDY,
        SanctionEffect.LIMITED_GOVERNMENT_SUBSIDIES,
    )


# LS18.sco.3
def test_who_repays_within_the_campaign_is_rated_anew() -> None:
    clause = rules("henan-lushi@2").rehabilitation
    paid = {SanctionEnd.FULL_REPAYMENT}

    assert sanctions.steps_won_back(clause, ended_by=paid, in_campaign=True) == (
        "recollect_data",
        "re_rate",
        "re_grant",
    )
    assert sanctions.steps_won_back(clause, ended_by=paid, in_campaign=False) == ()
    assert sanctions.steps_won_back(clause, ended_by=(), in_campaign=True) == ()
    assert sanctions.steps_won_back(None, ended_by=paid, in_campaign=True) == ()


# YC.reg.2
@pytest.mark.parametrize("end", list(SanctionEnd))
def test_the_blacklist_ends_without_malice_or_with_repayment(end: SanctionEnd) -> None:
    said = rules("ningxia-yanchi@2018")

    def blocked(*ends: SanctionEnd) -> bool:
        return sanctions.check_of(
            said.sanctions[0],
            relation=Relation.SELF,
            sanctioned_on=ON,
            on=date(2030, 1, 1),
            ended_by=ends,
        ).blocked

    assert blocked()
    assert not blocked(end)
    steps = sanctions.steps_won_back(said.rehabilitation, ended_by=[end], in_campaign=False)
    assert bool(steps) == (end is SanctionEnd.FULL_REPAYMENT)


# MAS.loa.5
def test_self_development_brings_a_grant_of_the_county() -> None:
    said = rules("anhui-maanshan@1").grants

    due = rewards.grants_due(
        said, borrower_class=BorrowerClass.POOR_HOUSEHOLD, met={"self_development"}
    )
    assert [(each.payer, each.amount_fen) for each in due] == [(Organ.FINANCE_BUREAU, 300_000)]
    assert rewards.grants_due(said, borrower_class=BorrowerClass.POOR_HOUSEHOLD, met=()) == ()
    entity = BorrowerClass.ENTITY
    assert rewards.grants_due(said, borrower_class=entity, met={"self_development"}) == ()


# YY.loa.7
def test_interest_premium_and_the_data_fee_are_subsidised() -> None:
    ref = "hubei-yunyang-troika@2017"
    charged = {GrantKind.PREMIUM: Fen(1_001)}
    poor = BorrowerClass.POOR_HOUSEHOLD

    due = rewards.grants_due(
        rules(f"{ref}:example-lending", county="420999").grants,
        borrower_class=poor,
        met=(),
        costs_fen=charged,
    )
    assert {each.grant: each.amount_fen for each in due} == {
        "interest": None,
        "premium": 801,
        "data_fee": 200,
    }
    with pytest.raises(Refused):
        rewards.grants_due(rules(ref).grants, borrower_class=poor, met=(), costs_fen=charged)


def test_a_grant_paid_once_is_not_paid_again() -> None:
    grant = Grant(id="start", kind=GrantKind.CASH, amount_fen=Fen(5), payer=Organ.LENDER, once=True)
    poor = BorrowerClass.POOR_HOUSEHOLD

    assert len(rewards.grants_due([grant], borrower_class=poor, met=())) == 1
    assert rewards.grants_due([grant], borrower_class=poor, met=(), had={"start"}) == ()


# YY.loa.10
def test_a_good_payer_gets_a_card_with_a_discount() -> None:
    said = rules("hubei-yunyang-troika@2016").rewards

    earned = rewards.rewards_earned(said, met={"repaid_on_time"})
    assert [reward.effects for reward in earned] == [("higher_limit", "subsidy", "honour")]
    card = earned[0].card
    assert card is not None
    assert (card.limit_fen, card.venue_kinds) == (300_000, 6)
    assert rewards.card_price(card, Fen(10_000)) == 9_500
    assert rewards.rewards_earned(said, met=()) == ()


# TX.loa.7
def test_a_household_in_hardship_pays_less_interest_and_repays_flexibly() -> None:
    set_by_county = rules("zhejiang-tongxiang-sanzhi@1:example-lending", county="330999")

    result = rewards.relief(
        set_by_county.hardship_relief, met={"hardship"}, interest_due_fen=Fen(1_005)
    )
    assert result is not None
    assert (result.reduction_fen, result.interest_fen) == (302, 703)
    assert result.flexible_repayment
    still_open = rules("zhejiang-tongxiang-sanzhi@1").hardship_relief
    assert rewards.relief(still_open, met=(), interest_due_fen=Fen(1_005)) is None
    with pytest.raises(Refused):
        rewards.relief(still_open, met={"hardship"}, interest_due_fen=Fen(1_005))


# WC.loa.1
def test_the_county_sets_aside_five_million_yuan_a_year_at_least() -> None:
    clause = rules("sichuan-wangcang@1").subsidy_budget

    assert clause is not None
    checks = [
        rewards.budget_check(clause, budgeted_fen=Fen(fen)) for fen in (499_999_999, 5 * 10**8)
    ]
    assert [(check.enough, check.missing_fen) for check in checks] == [(False, 1), (True, 0)]


WRONG: Mapping[str, tuple[str, str]] = {
    "a sanction of nothing": ("sanctions: [{id: s, effects: []}]", "sanction s has no effect"),
    "not the borrower": (
        "sanctions: [{id: s, effects: [no_credit], relations: [spouse]}]",
        "leaves out the borrower",
    ),
    "anybody": (
        "sanctions: [{id: s, effects: [no_credit], relations: [self, other]}]",
        "must name the relations",
    ),
    "a set-off of nothing": (
        "sanctions: [{id: s, effects: [subsidy_set_off], only_where_law_allows: true}]",
        "subsidy_set_off and set_off_from go together",
    ),
    "a set-off without law": (
        "sanctions: [{id: s, effects: [subsidy_set_off], set_off_from: [any_subsidy]}]",
        "only_where_law_allows",
    ),
    "two lengths": (
        (
            "sanctions: [{id: a, cause: c, effects: [no_credit], ban_months: 12},"
            " {id: b, cause: c, effects: [no_credit]}]"
        ),
        "give no_credit two lengths",
    ),
    "cash without amount": (
        "grants: [{id: g, kind: cash, payer: lender}]",
        "grant g of cash needs amount_fen",
    ),
    "two measures": (
        "grants: [{id: g, kind: premium, amount_fen: 1, share_pct: 5, payer: lender}]",
        "not both",
    ),
    "more than the whole": (
        (
            "grants: [{id: g, kind: premium, share_pct: 60, payer: lender},"
            " {id: h, kind: premium, share_pct: 50, payer: insurer}]"
        ),
        "grants of premium pay 110 % together",
    ),
    "a reward for nothing": (
        "rewards: [{id: r, requires: [], effects: [honour]}]",
        "reward r has no condition",
    ),
    "a reward of nothing": ("rewards: [{id: r, requires: [x]}]", "reward r gives nothing"),
    "relief of nothing": (
        "hardship_relief: {requires: [hardship]}",
        "hardship_relief gives nothing",
    ),
    "no step back": (
        "rehabilitation: {after: full_repayment, steps: []}",
        "at least one step",
    ),
}


@pytest.mark.parametrize(("clause", "rule"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_clause_is_refused_with_its_rule(clause: str, rule: str) -> None:
    problems = refusal(clause)

    assert any(rule in problem for problem in problems), problems


DAYS = st.dates(date(2000, 1, 1), date(2080, 12, 31))


@given(DAYS, st.integers(1, 240), st.integers(-400, 8_000), st.sampled_from(list(Relation)))
def test_a_ban_is_one_span_of_days_for_the_named_relations(
    start: date, months: int, offset: int, relation: Relation
) -> None:
    on = start + timedelta(days=offset)

    check = sanctions.sanction_check(
        FAMILY, relation, sanctioned_on=start, ban_months=months, on=on
    )
    assert check.blocked_until is not None
    assert check.blocked == (relation in FAMILY and start <= on <= check.blocked_until)


AMOUNTS = st.integers(0, 10**12).map(Fen)


@given(AMOUNTS, AMOUNTS, st.booleans())
def test_a_set_off_takes_no_more_than_the_debt_nor_the_subsidy(
    subsidy: Fen, debt: Fen, lawful: bool
) -> None:
    clause = rules("hubei-yunyang-troika@2017").sanctions[1]

    result = sanctions.set_off(
        clause, subsidy="agricultural_subsidy", subsidy_fen=subsidy, debt_fen=debt, lawful=lawful
    )
    assert 0 <= result.to_debt_fen <= min(subsidy, debt)
    assert result.to_debt_fen + result.to_household_fen == subsidy


@given(AMOUNTS, st.integers(1, 100))
def test_relief_and_interest_are_the_whole(interest: Fen, pct: int) -> None:
    clause = HardshipRelief(requires=("hardship",), interest_reduction_pct=pct)

    result = rewards.relief(clause, met={"hardship"}, interest_due_fen=interest)
    assert result is not None
    assert result.reduction_fen + result.interest_fen == interest
