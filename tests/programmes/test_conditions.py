"""Conditions inside a pack: what is otherwise in a county with a certain property."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.errors import NotFound
from services.programmes.loader import PackErrors, load_texts
from services.programmes.schema.values import known
from services.programmes.terms import Terms
from services.programmes.yaml_text import Problem
from tests.programmes.county_texts import ADOPTION, OVERLAY, PACK, changed, texts

COUNTY = "990101"

CONDITIONS = """
conditions:
  deep_poverty:
    title: {zh: 深度贫困地区, en: Deep poverty}
    source: [SC.reg.3]
    fund:
      models:
        - id: split
          layers: [{layer: ratio, ratio: {county_fund: 8, bank: 2}, source: [SC.fun.2]}]
  remote:
    loans: {npl: {measure: overdue_days, more_than_days: 120}}
"""
WITH_CONDITIONS = PACK + CONDITIONS
CHILD = """
programme:
  id: plain
  version: "2"
  extends: plain@1
  effective_from: 2021-01-01
  title: {zh: 示例二, en: Plain two}
fund: {multiple: 5}
conditions:
  remote:
    fund: {multiple: 20}
"""


def shares(terms: Terms) -> dict[str, int]:
    layers = known(terms.sharing_model("split").layers)
    return {
        party: share for layer in layers for party, share in getattr(layer, "ratio", {}).items()
    }


def refusal(**replaced: str) -> tuple[Problem, ...]:
    with pytest.raises(PackErrors) as refused:
        load_texts(texts(**{"pack": WITH_CONDITIONS, **replaced}))
    return refused.value.problems


def refused_pack(conditions: str) -> tuple[Problem, ...]:
    return refusal(pack=PACK + conditions, overlay="", adoption="", institutions="")


# SC.reg.3, SC.fun.2: 7:3 in the province, 8:2 where the county is deeply poor (S24).
def test_a_ref_with_a_condition_is_the_pack_with_the_condition_laid_over_it() -> None:
    catalogue = load_texts(texts(pack=WITH_CONDITIONS))

    assert shares(catalogue.terms(COUNTY, "plain@1")) == {"county_fund": 70, "bank": 30}
    assert shares(catalogue.terms(COUNTY, "plain@1:deep_poverty")) == {"county_fund": 8, "bank": 2}
    assert catalogue.programme("plain@1:deep_poverty").fund != catalogue.programme("plain@1").fund
    assert catalogue.terms(COUNTY, "plain@1:remote").product("micro").max_principal_fen == 5_000_000
    assert set(catalogue.programme("plain@1").conditions) == {"deep_poverty", "remote"}


def test_an_overlay_says_under_which_conditions_its_county_lives() -> None:
    overlay = changed(OVERLAY, "status:", "conditions: [deep_poverty, remote], status:")

    terms = load_texts(texts(pack=WITH_CONDITIONS, overlay=overlay)).terms(COUNTY, "plain@1:own")

    assert shares(terms) == {"county_fund": 8, "bank": 2}
    assert getattr(known(terms.loans.npl), "more_than_days", None) == 120
    grades = known(terms.scoring.grades)
    assert [known(grade.min_score_centi) for grade in grades] == [9000, 10000]


# SC.reg.3: the property of an area has days on which it holds (S50).
def test_an_adoption_says_from_when_to_when_a_condition_holds() -> None:
    before = "from: 2020-01-01\n      to: 2020-12-31\n"
    second = """
    - programme: plain@1:deep_poverty
      from: 2021-01-01
      parties: {county_fund: fin-1, bank: rcb-1}
"""
    adoption = changed(ADOPTION, "from: 2020-01-01\n", before) + second
    catalogue = load_texts(texts(pack=WITH_CONDITIONS, adoption=adoption))

    assert catalogue.in_force(COUNTY, "plain", date(2020, 12, 31)) == "plain@1:own"
    assert catalogue.in_force(COUNTY, "plain", date(2021, 1, 1)) == "plain@1:deep_poverty"
    # The pot of the village is not in the layers that the condition puts in their place.
    assert set(catalogue.parties(COUNTY, "plain@1:deep_poverty")) == {"county_fund", "bank"}


def test_a_child_inherits_conditions_and_lays_its_own_over_them() -> None:
    catalogue = load_texts({**texts(pack=WITH_CONDITIONS), "plain@2.yaml": CHILD})

    deep, remote = (
        catalogue.terms(COUNTY, f"plain@2:{name}") for name in ("deep_poverty", "remote")
    )

    assert shares(deep) == {"county_fund": 8, "bank": 2}
    assert known(deep.fund.multiple) == 5
    assert known(remote.fund.multiple) == 20
    assert getattr(known(remote.loans.npl), "more_than_days", None) == 120


def test_a_value_of_a_condition_says_where_it_was_written() -> None:
    catalogue = load_texts({**texts(pack=WITH_CONDITIONS), "plain@2.yaml": CHILD})
    origins = catalogue.origins["plain@2:remote"]

    changed_here = origins["fund.multiple"]
    inherited = origins["loans.npl.more_than_days"]

    assert (changed_here.file, changed_here.key) == (
        "plain@2.yaml",
        "conditions.remote.fund.multiple",
    )
    assert (inherited.file, inherited.key) == (
        "plain@1.yaml",
        "conditions.remote.loans.npl.more_than_days",
    )
    lines = WITH_CONDITIONS.splitlines()
    assert "more_than_days: 120" in lines[inherited.line - 1]


def test_a_condition_nobody_wrote_is_unknown() -> None:
    with pytest.raises(NotFound) as refused:
        load_texts(texts(pack=WITH_CONDITIONS)).terms(COUNTY, "plain@1:flooded")

    assert refused.value.reason == "PROGRAMME_UNKNOWN"


def test_an_overlay_under_a_condition_the_pack_lacks_is_refused() -> None:
    overlay = changed(OVERLAY, "status:", "conditions: [deep_povrty], status:")

    (problem, *_) = (each for each in refusal(overlay=overlay) if each.file == "overlay.yaml")

    assert problem.path == "overlay.conditions[0]"
    assert problem.value == "deep_povrty"
    assert problem.hint == "did you mean deep_poverty?"


def test_an_overlay_and_a_condition_never_share_a_ref() -> None:
    overlay = changed(OVERLAY, "name: own", "name: remote")

    assert any(
        each.path == "overlay.name" and "condition" in each.rule
        for each in refusal(overlay=overlay)
    )


def test_an_adoption_under_a_condition_the_pack_lacks_is_refused() -> None:
    adoption = changed(ADOPTION, "plain@1:own", "plain@1:deep_povertyy")

    (problem,) = refusal(adoption=adoption)

    assert problem.path == "adoption.entries[0].programme"
    assert problem.hint == "did you mean plain@1:deep_poverty?"


@pytest.mark.parametrize(
    ("conditions", "path", "line"),
    [
        ("conditions: 1\n", "conditions", "conditions: 1"),
        ("conditions: {far: 1}\n", "conditions.far", "far: 1"),
        ("conditions: {Far: {}}\n", "conditions.Far", "Far"),
        ("conditions:\n  far: {fnud: {multiple: 2}}\n", "conditions.far.fnud", "fnud"),
        (
            "conditions:\n  far:\n    fund:\n      multiple: 0\n",
            "conditions.far.fund.multiple",
            "0",
        ),
        ("conditions:\n  far: {programme: {id: x}}\n", "conditions.far.programme", "far"),
        ("conditions:\n  far: {conditions: {}}\n", "conditions.far.conditions", "far"),
        ("conditions:\n  far: {monitoring: {reports: inherit}}\n", "monitoring.reports", "inherit"),
    ],
)
def test_a_wrong_condition_is_refused_where_it_is_written(
    conditions: str, path: str, line: str
) -> None:
    (problem,) = refused_pack(conditions)

    assert problem.path == path
    assert line in (PACK + conditions).splitlines()[problem.line - 1]
    assert problem.hint


@given(st.integers(0, len(CONDITIONS) - 1), st.text(max_size=3), st.integers(0, 6))
def test_a_slip_of_the_keyboard_in_a_condition_never_crashes(
    at: int, typed: str, deleted: int
) -> None:
    slipped = CONDITIONS[:at] + typed + CONDITIONS[at + deleted :]
    files = texts(pack=PACK + slipped, overlay="", adoption="", institutions="")

    problems: tuple[Problem, ...] = ()
    try:
        catalogue = load_texts(files)
    except PackErrors as refused:
        problems = refused.problems
    else:
        assert all(pack.fund for pack in catalogue.conditioned.values())
    for problem in problems:
        assert problem.rule
        assert problem.hint
