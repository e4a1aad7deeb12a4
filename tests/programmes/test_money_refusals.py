"""Insurance and funds that contradict themselves are refused; what is accepted can be evaluated."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from services.programmes.loader import PackErrors, load_texts
from tests.programmes.county_texts import ADOPTION, INSTITUTIONS, OVERLAY, changed, texts
from tests.programmes.test_fuzz import VALUES, judge, loaded, places, with_change
from tests.programmes.test_loader import refusal

PACK = """
programme:
  id: plain
  version: "1"
  effective_from: 2020-01-01
  title: {zh: 示例, en: Plain}
insurance:
  covers:
    - id: accident
      kind: personal_accident
      title: {zh: 意外险, en: Accident}
      assigned: true
      payees: [[bank, society], household]
      sum_insured: {of: loan_principal, pct: 100}
      cap_fen: 3100000
      premium: {rate_ppm: 1000, payer: borrower, subsidy: {pct: 70, payer: county}}
    - id: guarantee
      kind: loan_guarantee
      title: {zh: 保证险, en: Guarantee}
      assigned: true
      payees: [bank, household]
      sum_insured: {of: policy}
      premium: {open: not decided}
    - id: sheep
      kind: price_index
      title: {zh: 指数险, en: Index}
      assigned: true
      payees: [bank, household]
      sum_insured: {of: policy}
      premium: {open: not decided}
      price_index:
        {commodity: sheep, trigger_fen_per_jin: 2000, price_source: market, period_months: 1}
  required_covers:
    - {borrower_class: entity, covers: []}
    - {borrower_class: every, covers: [accident]}
  sweep_trigger: always
  claim_tiers:
    - {tier: fast, max_fen: 200000, working_days: 0}
    - {tier: slow, max_fen: null, working_days: 5}
  bundles: [{id: pair, title: {zh: 组合, en: Pair}, covers: [accident, guarantee]}]
  master_policy:
    scope: township
    covers: [accident, sheep]
    premium: {rate_ppm: 80000, of: lending, payer: county, excludes: [sheep]}
  direct_financing:
    line_fen: 6000000000
    caps: [{entity_type: family_farm, max_principal_fen: 50000000}]
fund:
  multiple: 10
  initial_fen: 300
  min_balance_fen: 300
  contributions: [{id: province, amount_fen: 100}, {id: county, amount_fen: 200}, {id: shares}]
  top_up: {to_ratio: true, yearly_ppm: 10000, yearly_due: "01-31"}
  custody: special_account
  custodian: custodian_bank
  models:
    - id: split
      title: {zh: 分担, en: Split}
      borrower_classes: [poor_household]
      layers:
        - {layer: village, pot: village_fund, overdue_more_than_days: 0}
        - {layer: ratio, ratio: {bank: 1, insurer_and_county: 9}}
      permitted_ratios: [{bank: 2, insurer_and_county: 8}, {bank: 1, insurer_and_county: 9}]
      together:
        - share: insurer_and_county
          members: [{party: insurer, up_to_cover: guarantee}, {party: county_fund}]
      trigger: {overdue_more_than_days: 90}
      base: principal_and_interest
      requires: [unrecoverable]
  payment_control:
    payments: [compensation]
    audit: true
    public_notice: {graded: true, platform: web, days: 7}
    approved_by: [finance_bureau]
  fee_subsidy: {rate_ppm: 10000, of: disbursed, per_household_fen: 200}
  insurer_stabilisation: {initial_fen: 1000, compensates_pct: 50}
  village_fund: {pot: village_fund, min_pct: 3, max_pct: 5, of: village_loans, raised_by: unit}
"""


def alone(text: str) -> dict[str, str]:
    return texts(pack=text, overlay="", adoption="", institutions="")


def rules(text: str) -> list[str]:
    with pytest.raises(PackErrors) as refused:
        load_texts(alone(text))
    return [problem.rule for problem in refused.value.problems]


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("bank: 1, insurer_and_county: 9}}", "bank: 3, insurer_and_county: 7}}", "none of the"),
        ("{bank: 2, insurer_and_county: 8}, ", "", "one permitted ratio is no choice"),
        ("{bank: 2, insurer_and_county: 8}", "{bank: 2, insurer_and_county: 7}", "make 9"),
        ("share: insurer_and_county", "share: insurer_and_state", "which has no share"),
        ("{party: county_fund}]", "{party: insurer}]", "insurer is named twice"),
        ("{party: insurer, up_to_cover: guarantee}", "{party: insurer}", "but the last"),
        ("up_to_cover: guarantee", "up_to_cover: guarantees", "guarantees, which is no cover"),
        ("initial_fen: 300\n", "initial_fen: 400\n", "make 300, initial_fen is 400"),
        ("id: province,", "id: county,", "given twice in this list"),
        ('yearly_due: "01-31"', 'yearly_due: "02-29"', "02-29 is not a day of every year"),
        (', yearly_due: "01-31"', "", "belong together"),
        ("custody: special_account", "custody: per_bank", "no other custodian"),
        ("  custodian: custodian_bank", "  divided_by: lending_share", "kept per_bank"),
        ("fund: {pot: village_fund, min", "fund: {pot: town_fund, min", "in no sharing model"),
        ("max_pct: 5, of: village", "max_pct: 2, of: village", "max_pct is below min_pct"),
        ("subsidy: {pct: 70, payer: county}", "subsidy: {pct: 70, payer: borrower}", ""),
        ("payer: borrower, subsidy", "payer: county, subsidy", "cannot subsidise it as well"),
        ("      kind: price_index", "      kind: agri", "if its kind is price_index"),
        (
            "covers: [accident, sheep]",
            "covers: [accident, sheep, goats]",
            "goats, which is no cover",
        ),
        ("covers: [accident, sheep]", "covers: [accident, accident]", "accident twice"),
        ("excludes: [sheep]", "excludes: [guarantee]", "excludes guarantee"),
        ("covers: [accident, guarantee]}]", "covers: [accident, cow]}]", "bundle pair names cow"),
        ("covers: [accident]}", "covers: [accidents]}", "required_covers names accidents"),
        ("borrower_class: every", "borrower_class: entity", "required_covers names entity twice"),
        ("max_fen: null, working_days: 5", "max_fen: null, working_days: -1", ""),
        ("max_fen: 200000, working_days: 0", "max_fen: 200000, working_days: 6", "sooner than"),
        ("tier: slow", "tier: fast", "claim tier fast is declared twice"),
        ("caps: [{", "caps: [{entity_type: family_farm, max_principal_fen: 1}, {", "two caps"),
        ("trigger_fen_per_jin: 2000", "trigger_fen_per_jin: 0", ""),
        ("{party: county_fund}]", "{party: bank}]", "party bank bears a loss in two places"),
        ("{party: county_fund}]", "{party: village_fund}]", "bears a loss in two places"),
        ("payments: [compensation]", "payments: []", "payments names none"),
        (
            (
                "    audit: true\n    public_notice: {graded: true, platform: web, days: 7}\n"
                "    approved_by: [finance_bureau]\n"
            ),
            "",
            "a control asks for",
        ),
    ],
)
def test_what_contradicts_itself_is_refused_with_its_rule(old: str, new: str, rule: str) -> None:
    assert any(rule in found for found in rules(changed(PACK, old, new)))


# HN-RCU.fun.5
def test_a_county_may_choose_only_a_permitted_ratio() -> None:
    open_pack = changed(
        PACK,
        """      layers:
        - {layer: village, pot: village_fund, overdue_more_than_days: 0}
        - {layer: ratio, ratio: {bank: 1, insurer_and_county: 9}}
""",
        "      layers: {open: the county chooses}\n",
    )
    open_pack = open_pack[: open_pack.index("  village_fund: {pot")]

    def chosen(ratio: str) -> str:
        head = OVERLAY[: OVERLAY.index("values:")]
        layers = f"[{{layer: ratio, ratio: {ratio}}}]"
        return f"{head}values: {{fund: {{models: [{{id: split, layers: {layers}}}]}}}}\n"

    assert load_texts(
        texts(
            pack=open_pack,
            overlay=chosen("{bank: 2, insurer_and_county: 8}"),
            adoption="",
            institutions="",
        )
    ).overlaid
    with pytest.raises(PackErrors) as refused:
        load_texts(
            texts(
                pack=open_pack,
                overlay=chosen("{bank: 5, insurer_and_county: 5}"),
                adoption="",
                institutions="",
            )
        )
    (problem,) = refused.value.problems
    assert problem.file == "overlay.yaml"
    assert problem.path == "fund.models[split]"
    assert "bank 5 : insurer_and_county 5 is none of the permitted" in problem.rule


# HN-RCU.fun.4
def test_an_adoption_names_who_keeps_the_account_and_who_is_inside_a_share() -> None:
    adoption = ADOPTION.replace("plain@1:own", "plain@1")

    problems = refusal(pack=PACK, overlay="", adoption=adoption, institutions=INSTITUTIONS)

    assert {problem.value for problem in problems} >= {"custodian_bank", "insurer", "society"}
    assert "insurer_and_county" not in {problem.value for problem in problems}


# MAS.ins.1
def test_a_class_that_is_named_itself_stands_before_every() -> None:
    terms = load_texts(alone(PACK)).terms("990101", "plain@1")

    assert terms.required_covers("entity") == ()
    assert terms.required_covers("poor_household") == ("accident",)


WHOLE = yaml.safe_load(PACK)
PLACES = places(WHOLE)


def test_the_pack_is_accepted_as_it_stands() -> None:
    judge(load_texts(alone(PACK)).packs.values())


@given(st.sampled_from(PLACES), VALUES, st.booleans())
def test_money_changed_anywhere_is_refused_or_can_be_evaluated(
    path: tuple[Any, ...], value: Any, remove: bool
) -> None:
    judge(loaded(alone(with_change(WHOLE, path, value, remove=remove))))


@given(st.integers(0, len(PACK) - 1), st.text(max_size=3), st.integers(0, 6))
def test_a_slip_of_the_keyboard_in_money_is_refused_or_can_be_evaluated(
    at: int, typed: str, deleted: int
) -> None:
    judge(loaded(alone(PACK[:at] + typed + PACK[at + deleted :])))
