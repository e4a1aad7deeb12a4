"""Scoring beyond the cases: both forms agree, better is never worse, grades, waivers, targets."""

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.kernel.errors import Refused
from services.kernel.money import Fen
from services.programmes import scoring, scoring_columns
from services.programmes.loader import PackErrors, load, load_texts
from services.programmes.schema.scoring import (
    BasePointsScoring,
    ExternalScoring,
    WeightedScoring,
)
from services.programmes.schema.values import known
from tests.programmes.county_texts import PACK, changed, texts
from tests.programmes.says.scoring import completed

PACKS = load().packs

WEIGHTED = """
  type: weighted
  scheme: plain
  factors:
    - {id: integrity, weight_pct: 50}
    - {id: assets, weight_pct: 30}
    - {id: labour, weight_pct: 20}
  vetoes: [{id: dishonesty}]
  grades:
    - {id: A, min_score_centi: 5000, limit_fen: 1000000, rate_reduction_ppm: 0}
    - {id: AA, min_score_centi: 7000, limit_fen: 2000000, rate_reduction_ppm: 5000}
    - {id: AAA, min_score_centi: 9000, limit_fen: 2000000, rate_reduction_ppm: 5000}
  min_grade: AA
  limit_range: {min_fen: 1000000, max_fen: 2000000}
  honours: {min_grade: AAA, levels: [{id: honest, uplift_fen: 100000}]}
  waivers: [{id: flood, cause: force_majeure, only_if_repaid_on_time_before: false}]
  review_chain:
    - {step: village, organ: village_committee, panel: [five_elders], kind: assessment}
    - {step: bank, organ: lender, kind: grant}
  public_notice: {after_step: village, scope: village, days: 7}
  credit_areas: [{scope: household}, {scope: village, at_least_pct: 70}]
  targets: [{id: rated_ratio, at_least_pct: 100, of: lender}]
"""
START, END = PACK.index("  type: base_points"), PACK.index("loans:\n")
WEIGHTED_PACK = f"{PACK[:START]}{WEIGHTED.lstrip(chr(10))}{PACK[END:]}"


def scheme_of(text: str) -> object:
    packs = load_texts({"plain@1.yaml": text}).packs
    return packs["plain@1"].scoring


def weighted_scheme() -> WeightedScoring:
    scheme = scheme_of(WEIGHTED_PACK)
    assert isinstance(scheme, WeightedScoring)
    return scheme


SCHEME = weighted_scheme()
HONOURS = st.sampled_from([None, "honest", "unknown"])
FACTORS = ("integrity", "assets", "labour")
HELD = st.fixed_dictionaries(
    {
        **{code: st.one_of(st.none(), st.integers(0, 100)) for code in FACTORS},
        "dishonesty": st.one_of(st.none(), st.sampled_from([0, 0, 0, 1])),
    }
)


# HN-RCU.sco.1, LB.sco.1, LB.sco.2, SC.sco.1, YC.sco.1, YC.sco.2: in columns as for one.
@given(st.lists(st.tuples(HELD, HONOURS), max_size=25))
def test_the_column_form_of_the_weighted_scheme_agrees_to_the_unit(
    rows: list[tuple[Mapping[str, int | None], str | None]],
) -> None:
    columns = {code: [held[code] for held, _ in rows] for code in (*FACTORS, "dishonesty")}

    made = scoring_columns.score_by_weights(SCHEME, columns, [honour for _, honour in rows])

    for row, (held, honour) in enumerate(rows):
        known_values = {code: value for code, value in held.items() if value is not None}
        single = scoring.score_by_weights(SCHEME, known_values, honour)
        assert made.score_centi[row] == single.score_centi
        assert made.vetoed[row] == single.vetoed
        assert made.grade[row] == single.grade
        assert made.base_limit_fen[row] == single.base_limit_fen
        assert made.uplift_fen[row] == single.uplift_fen
        assert made.limit_fen[row] == single.limit_fen


@given(HELD, HONOURS, st.sampled_from(FACTORS), st.integers(0, 100))
def test_a_better_factor_never_lowers_a_score_a_limit_or_raises_a_rate(
    held: Mapping[str, int | None], honour: str | None, code: str, more: int
) -> None:
    values = {name: value for name, value in held.items() if value is not None}
    better = {**values, code: min(100, values.get(code, 0) + more)}

    before = scoring.score_by_weights(SCHEME, values, honour)
    after = scoring.score_by_weights(SCHEME, better, honour)

    assert after.score_centi >= before.score_centi
    assert after.limit_fen >= before.limit_fen
    if before.grade and after.grade:
        rates = [scoring.graded_rate_ppm(SCHEME, g, 43_500) for g in (before.grade, after.grade)]
        assert rates[1] <= rates[0]


def points_scheme() -> BasePointsScoring:
    text = PACK
    for grade, least in (("A", 9_000), ("AA", 10_000)):
        start = f"{{id: {grade}, min_score_centi: "
        text = changed(text, f"{start}{{open: not decided}}", f"{start}{least}")
    scheme = scheme_of(text)
    assert isinstance(scheme, BasePointsScoring)
    return scheme


POINTS = points_scheme()


# WC.sco.2: the waived deduction is zero, in both forms.
@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1), st.booleans()), max_size=12))
def test_a_waived_deduction_counts_zero_in_both_forms(rows: list[tuple[int, int, bool]]) -> None:
    columns = {"tidy": [row[0] for row in rows], "late": [row[1] for row in rows]}
    waived = {"late": [row[2] for row in rows], "tidy": [True for _ in rows]}

    made = scoring_columns.score_by_points(POINTS, columns, [None] * len(rows), waived=waived)

    for row, (tidy, late, spared) in enumerate(rows):
        names = ["late", "tidy"] if spared else ["tidy"]
        single = scoring.score_by_points(POINTS, {"tidy": tidy, "late": late}, waived=names)
        lost = 0 if spared else 1500 * late
        assert made.score_centi[row] == single.score_centi == 10_000 + 500 * tidy - lost


# WC.sco.2
@pytest.mark.parametrize(
    ("cause", "subjective", "before", "counts"),
    [
        ("force_majeure", False, True, 0),
        ("force_majeure", True, True, -1000),
        ("force_majeure", False, False, -1000),
        ("market", False, True, -1000),
    ],
)
def test_only_what_nobody_could_help_is_waived(
    cause: str, subjective: bool, before: bool, counts: int
) -> None:
    rules = completed("sichuan-wangcang@1").scoring.waivers

    said = scoring.deduction_waiver_of(
        rules, -1000, cause=cause, subjective=subjective, repaid_on_time_before=before
    )

    assert said.applied_points_centi == counts
    assert said.waived == (counts == 0)


# WC.sco.1: the weights come from the county; without them nobody is scored.
def test_weights_that_are_not_printed_block_scoring_until_a_county_sets_them() -> None:
    open_scheme = PACKS["sichuan-wangcang@1"].scoring
    assert isinstance(open_scheme, WeightedScoring)
    with pytest.raises(Refused) as refused:
        scoring.score_by_weights(open_scheme, {"integrity": 90})
    assert refused.value.facts["key"] == "scoring.factors"

    whole = completed("sichuan-wangcang@1").scoring
    assert isinstance(whole, WeightedScoring)
    assert scoring.score_by_weights(whole, {"integrity": 100, "labour": 100}).score_centi == 7000


# MAS.sco.1: three indicators whose weights are open one by one.
def test_one_open_weight_is_enough_to_refuse() -> None:
    scheme = PACKS["anhui-maanshan@1"].scoring
    assert isinstance(scheme, WeightedScoring)

    with pytest.raises(Refused) as refused:
        scoring.score_by_weights(scheme, {})

    assert [factor.id for factor in known(scheme.factors)] == [
        "integrity",
        "per_capita_net_income",
        "labour",
    ]
    assert refused.value.facts["key"] == "scoring.factors[integrity].weight_pct"


@pytest.mark.parametrize("score", [-1, 101])
def test_a_factor_outside_0_to_100_is_refused_in_both_forms(score: int) -> None:
    with pytest.raises(Refused) as single:
        scoring.score_by_weights(SCHEME, {"assets": score})
    with pytest.raises(Refused) as columns:
        scoring_columns.score_by_weights(SCHEME, {"assets": [50, score]}, [None, None])

    assert single.value.reason == columns.value.reason == "FACTOR_SCORE_OUT_OF_RANGE"


# YC.sco.3, YC.sco.4, YC.sco.5, YC.sco.6: four grades, the rate falls as they rise.
def test_a_grade_sets_limit_and_rate_and_holds_at_every_lender() -> None:
    scheme = completed("ningxia-yanchi@2017").scoring

    grades = [grade.id for grade in known(scheme.grades)]
    assert grades == ["A", "A+", "AA", "AAA"]
    rates = [scoring.graded_rate_ppm(scheme, grade, 43_500) for grade in grades]
    assert rates == [43_500, 42_500, 41_500, 40_500]
    assert scoring.graded_rate_ppm(scheme, "AAA", 2_000) == 0
    assert [band.limit_fen for band in scoring.bands_of(scheme)][::3] == [2_000_000, 10_000_000]
    assert scheme.recognised_by_all_lenders
    with pytest.raises(Refused):
        scoring.graded_rate_ppm(scheme, "B", 43_500)


# HN-RCU.sco.2, HN-RCU.sco.3, YC.sco.5: only the ends are stated, and no county leaves them.
@pytest.mark.parametrize(
    ("ref", "ends"),
    [
        ("hunan-rcu-poverty-microcredit@2", (1_000_000, 5_000_000)),
        ("ningxia-yanchi@2018", (2_000_000, 10_000_000)),
    ],
)
def test_limits_stay_in_their_stated_range(ref: str, ends: tuple[int, int]) -> None:
    scheme = PACKS[ref].scoring

    assert scheme is not None
    assert scheme.limit_range is not None
    assert (scheme.limit_range.min_fen, scheme.limit_range.max_fen) == ends
    limits = [grade.limit_fen for grade in known(scheme.grades)]
    assert (limits[0], limits[-1]) == ends


# TX.sco.3, TX.sco.5
def test_a_proposal_scheme_has_vetoes_and_grades_but_no_points() -> None:
    scheme = PACKS["zhejiang-tongxiang-sanzhi@1"].scoring

    assert scheme is not None
    assert scheme.type == "proposal"
    assert [veto.id for veto in scheme.vetoes] == ["defaulter", "speculator", "offender"]
    assert scoring.vetoes_hit(scheme.vetoes, {"speculator": 1}) == ("speculator",)
    assert [grade.limit_fen for grade in known(scheme.grades)][-1] == 50_000_000


# HN-KD.sco.1
def test_a_models_score_keeps_the_models_id() -> None:
    text = WEIGHTED_PACK.replace("type: weighted", "type: external_model")
    factors = text.index("  factors:"), text.index("  vetoes:")
    scheme = scheme_of(text[: factors[0]] + text[factors[1] :])
    assert isinstance(scheme, ExternalScoring)

    score = scoring.score_by_model(scheme, 9_100, "portrait-7", {"dishonesty": 0})

    assert (score.grade, score.limit_fen) == ("AAA", Fen(2_000_000))
    assert "portrait-7" in score.working
    assert scoring.score_by_model(scheme, 9_100, "portrait-7", {"dishonesty": 1}).grade is None
    with pytest.raises(Refused):
        scoring.bands_of(PACKS["hunan-online-kuaidai@fuxiang"].scoring or SCHEME)


# HN-RCU.sco.5
@pytest.mark.parametrize(("count", "met"), [(99, False), (100, True), (0, False)])
def test_a_target_is_met_by_counts(count: int, met: bool) -> None:
    scheme = PACKS["hunan-rcu-poverty-microcredit@2"].scoring
    assert scheme is not None
    rated, arrived = scheme.targets

    assert scoring.target_met(rated, count, 100).met == met
    assert scoring.target_met(arrived, 1, 3).needed == 3
    assert scoring.target_met(arrived, 0, 0).met


# YC.reg.3, LS17.mon.1
def test_credit_areas_at_four_levels_and_open_shares_refuse() -> None:
    scheme = PACKS["ningxia-yanchi@2018"].scoring
    assert scheme is not None
    areas = scheme.credit_areas

    assert [area.scope for area in areas] == ["household", "villager_group", "village", "township"]
    assert scoring.credit_area_of(areas, "household", 1, 1) is None
    with pytest.raises(Refused):
        scoring.credit_area_of(areas, "village", 1, 1)
    awarded = scoring.credit_area_of(SCHEME.credit_areas, "village", 7, 10)
    assert awarded is not None
    assert awarded.awarded


WRONG = {
    "weights over 100": ("weight_pct: 30", "weight_pct: 31", "the weights make 101"),
    "weights under 100": ("weight_pct: 30", "weight_pct: 29", "the weights make 99"),
    "no room for an open weight": (
        "weight_pct: 20}",
        "weight_pct: 20}\n    - {id: more, weight_pct: {open: not yet}}",
        "no room is left",
    ),
    "a factor twice": ("id: assets", "id: labour", "the id is given twice"),
    "thresholds that overlap": ("9000", "7000", "each min_score_centi above"),
    "a limit out of range": ("max_fen: 2000000", "max_fen: 1500000", "outside limit_range"),
    "a range upside down": ("min_fen: 1000000", "min_fen: 3000000", "below min_fen"),
    "a rate that rises": ("rate_reduction_ppm: 0}", "rate_reduction_ppm: 6000}", "smaller rate"),
    "a rate of some": (", rate_reduction_ppm: 0}", "}", "every grade or of none"),
    "a notice after nothing": ("after_step: village", "after_step: town", "is no review step"),
    "a step twice": (
        "step: bank, organ: lender, kind: g",
        "step: village, organ: lender, kind: g",
        "review step village is declared twice",
    ),
    "a panel twice": ("[five_elders]", "[five_elders, five_elders]", "five_elders sits"),
    "an area without a share": (", at_least_pct: 70", "", "every scope but household"),
    "an area twice": ("{scope: household}", "{scope: village, at_least_pct: 1}", "declared twice"),
    "a target nobody knows": ("id: rated_ratio", "id: profit_ratio", "rated_ratio"),
    "an organ nobody is": ("organ: village_committee", "organ: emperor", "village_committee"),
    "a gate twice": (
        "borrower_classes: [poor_household], source",
        "borrower_classes: [poor_household], gates: [{code: a}, {code: a}], source",
        "gate a is declared twice",
    ),
    "nobody eligible": (
        "eligibility: {borrower_classes: [poor_household]",
        "eligibility: {borrower_classes: []",
        "names nobody",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_scheme_is_refused_with_its_rule(what: str) -> None:
    old, new, rule = WRONG[what]

    with pytest.raises(PackErrors) as refused:
        load_texts(texts(pack=changed(WEIGHTED_PACK, old, new), overlay="", adoption=""))

    assert any(rule in problem.rule for problem in refused.value.problems), refused.value
