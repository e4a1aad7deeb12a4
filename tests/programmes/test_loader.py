"""Loading packs: what is inherited, what a county adds, and what is refused and where."""

from datetime import date
from pathlib import Path

import pytest

from services.kernel.errors import NotFound, Refused
from services.programmes.assemble import open_values
from services.programmes.loader import Catalogue, PackErrors, load, load_texts
from services.programmes.schema.values import known
from services.programmes.scoring import score_by_points
from services.programmes.yaml_text import Problem
from tests.programmes.county_texts import ADOPTION, INSTITUTIONS, OVERLAY, PACK, changed, texts

DEMO = Path(__file__).resolve().parents[2] / "deploy" / "demo" / "county"
COUNTY = "990101"
REF = "plain@1:own"


def refusal(**replaced: str) -> tuple[Problem, ...]:
    with pytest.raises(PackErrors) as refused:
        load_texts(texts(**replaced))
    return refused.value.problems


def plain() -> Catalogue:
    return load_texts(texts())


def test_a_county_lives_under_its_pack_and_its_overlay() -> None:
    terms = plain().terms(COUNTY, REF)

    assert terms.ref == REF
    assert [known(grade.min_score_centi) for grade in known(terms.scoring.grades)] == [9000, 10000]
    assert terms.required_covers("poor_household") == ("accident",)
    assert plain().parties(COUNTY, REF)["bank"] == ("rcb-1", "rcb-2")


def test_without_its_overlay_an_open_value_refuses_and_names_its_key() -> None:
    scoring = plain().terms(COUNTY, "plain@1").scoring

    assert scoring.type == "base_points"
    with pytest.raises(Refused) as refused:
        score_by_points(scoring, {"tidy": 1})
    assert refused.value.reason == "PROGRAMME_VALUE_OPEN"
    assert refused.value.facts["key"] == "scoring.grades[A].min_score_centi"


def test_an_open_value_knows_its_reason_and_every_one_is_found() -> None:
    found = {value.path: value.open for value in open_values(plain().programme("plain@1"))}

    assert found == {
        "scoring.grades[A].min_score_centi": "not decided",
        "scoring.grades[AA].min_score_centi": "not decided",
        "monitoring.five_tier": "not decided",
    }


def test_a_day_before_the_adoption_has_no_programme() -> None:
    with pytest.raises(NotFound) as refused:
        plain().in_force(COUNTY, "plain", date(2019, 12, 31))

    assert refused.value.reason == "PROGRAMME_NOT_ADOPTED"
    assert plain().in_force(COUNTY, "plain", date(2020, 1, 1)) == REF
    assert plain().adoptions("990102", date(2020, 1, 1)) == ()


def test_another_county_does_not_get_this_countys_overlay() -> None:
    with pytest.raises(NotFound) as refused:
        plain().terms("990102", REF)

    assert refused.value.reason == "PROGRAMME_UNKNOWN"


CHILD = """
programme:
  id: plain
  version: "2"
  extends: plain@1
  effective_from: 2021-01-01
  title: {zh: 示例二, en: Plain two}
scoring:
  vetoes: [{id: evader}]
loan_products:
  - id: micro
    subsidy: {mode: none}
    purpose: {prohibited: [stocks, houses]}
fund:
  models:
    - {id: split, layers: [{layer: ratio, ratio: {county_fund: 6, bank: 4}}]}
"""


def test_a_child_overrides_merges_by_id_and_inherits_the_rest() -> None:
    pack = load_texts({**texts(), "plain@2.yaml": CHILD}).programme("plain@2")

    assert pack.scoring is not None
    assert pack.fund is not None
    assert [veto.id for veto in pack.scoring.vetoes] == ["dishonesty", "evader"]
    assert pack.loan_products[0].purpose.prohibited == ("stocks", "houses")
    assert known(pack.loan_products[0].subsidy).rate_ppm is None
    assert pack.loan_products[0].max_principal_fen == 5_000_000
    assert pack.fund.models[0].parties == ("county_fund", "bank")
    assert pack.fund.models[0].pots == ()


def test_every_value_says_which_file_it_came_from() -> None:
    catalogue = load_texts({**texts(), "plain@2.yaml": CHILD})
    origins = catalogue.origins["plain@2"]

    assert origins["loan_products[micro].subsidy.mode"].file == "plain@2.yaml"
    assert origins["loan_products[micro].max_principal_fen"].file == "plain@1.yaml"
    assert "loan_products[micro].subsidy.rate_ppm" not in origins


WRONG_PACKS = {
    "an unknown key": ("  scheme: plain", "  schema: plain", "scoring.schema"),
    "a fraction": ("rate_ppm: 43500", "rate_ppm: 4.35", "loans.benchmark[0].rate_ppm"),
    "a code read as a number": ("id: tidy", "id: 0123", "scoring.adjustments[0123].id"),
    "a word YAML would turn": ("starts_sla: true", "starts_sla: yes", "starts_sla"),
    "a number as text": ("multiple: 10", 'multiple: "10"', "fund.multiple"),
    "no such day": ("from: 2019-01-01", "from: 2019-02-30", "loans.benchmark[0].from"),
    "a key given twice": ("  multiple: 10", "  multiple: 10\n  multiple: 9", "fund.multiple"),
    "an anchor": ("vetoes: [{id: dishonesty}]", "vetoes: [&a {id: x}, *a]", "scoring.vetoes"),
    "a veto twice": ("[{id: dishonesty}]", "[{id: lie}, {id: lie}]", "scoring"),
    "an empty range": ("points_centi: 500}", "points_centi: 500, max: 0}", "adjustments[tidy]"),
    "limits that fall": ("limit_fen: 2000000", "limit_fen: 900000", "scoring"),
    "a grade nobody knows": ("  min_grade: A\n", "  min_grade: B\n", "scoring"),
    "an honour of no grade": ("honours: {min_grade: A,", "honours: {min_grade: B,", "scoring"),
    "a rate missing": (", rate_ppm: 30000", "", "loan_products[micro].subsidy"),
    "a chain without approval": ("kind: approval", "kind: check", "loan_products[micro]"),
    "an organ nobody is": ("organ: lender", "organ: lendr", "approval_chain[1].organ"),
    "a model that is missing": ("[split]", "[halves]", ""),
    "a payee after the household": ("[bank, household]", "[household, bank]", "covers[accident]"),
    "a payee twice": ("[bank, household]", "[bank, [bank, x], household]", "covers[accident]"),
    "a cover that is missing": ("covers: [accident]", "covers: [storm]", "insurance"),
    "tiers with a gap at the end": ("max_fen: null", "max_fen: 500000", "insurance"),
    "tiers that fall": ("max_fen: 200000", "max_fen: null", "insurance"),
    "shares that make no whole": ("bank: 30", "bank: 20", "layers[1]"),
    "a share of nothing": ("county_fund: 70, bank: 30", "county_fund: 100, bank: 0", "layers[1]"),
    "a breaker without villages": (
        "scope: village, more",
        "scope: county, more",
        "monitoring",
    ),
    "a source that is no row": ("NAT.reg.1", "somewhere", "eligibility.source[0]"),
    "something inherited from nobody": ("multiple: 10", "multiple: inherit", "fund.multiple"),
    "a parent that is missing": (
        '  version: "1"',
        '  version: "1"\n  extends: plain@0',
        "programme.extends",
    ),
    "itself as parent": (
        '  version: "1"',
        '  version: "1"\n  extends: plain@1',
        "programme.extends",
    ),
    "another name than its file": ("  id: plain\n", "  id: plane\n", "programme.id"),
    "an end before the start": (
        "  effective_from: 2020-01-01",
        "  effective_from: 2020-01-01\n  effective_to: 2019-01-01",
        "programme",
    ),
    "an open value that says its path": (
        "five_tier: {open: not decided}",
        "five_tier: {open: not decided, path: x}",
        "monitoring.five_tier",
    ),
}


@pytest.mark.parametrize("what", WRONG_PACKS)
def test_a_wrong_pack_is_refused_with_the_path_of_the_key(what: str) -> None:
    old, new, path = WRONG_PACKS[what]

    problems = refusal(pack=changed(PACK, old, new))

    of_pack = [problem for problem in problems if problem.file == "plain@1.yaml"]
    assert any(path in problem.path for problem in of_pack), problems
    assert all(problem.rule for problem in of_pack)


def test_the_line_of_a_wrong_value_is_the_line_in_the_file() -> None:
    wrong = changed(PACK, "days, more_than_days: 90}", "days, more_than_days: -1}")

    (problem,) = (each for each in refusal(pack=wrong) if "npl" in each.path)

    assert problem.value == "-1"
    assert "more_than_days: -1" in wrong.splitlines()[problem.line - 1]


def test_all_errors_come_at_once() -> None:
    wrong = changed(changed(PACK, "multiple: 10", "multiple: 0"), "bank: 30", "bank: 31")

    paths = {problem.path for problem in refusal(pack=wrong)}

    assert any("fund.multiple" in path for path in paths)
    assert any("layers[1]" in path for path in paths)


WRONG_OVERLAYS = {
    "a value the pack has": ("  scoring:", "  fund: {multiple: 20}\n  scoring:", "fund.multiple"),
    "a pack nobody has": ("plain@1", "plain@9", "overlay.programme"),
    "bands that overlap": ("10000", "9000", "scoring"),
    "a grade of its own": ("{id: AA, min", "{id: B, min", "scoring.grades[B]"),
    "an unknown status": ("decided", "perhaps", "overlay.status"),
    "a key beside values": ("values:", "more: 1\nvalues:", ""),
}


@pytest.mark.parametrize("what", WRONG_OVERLAYS)
def test_a_wrong_overlay_is_refused(what: str) -> None:
    old, new, path = WRONG_OVERLAYS[what]

    problems = refusal(overlay=changed(OVERLAY, old, new))

    assert any(path in each.path for each in problems if each.file == "overlay.yaml"), problems


def test_an_overlay_may_set_what_the_pack_leaves_to_a_county() -> None:
    report = "{id: self_check, every: month, by: [township_station]}"
    overlay = f"{OVERLAY}  monitoring: {{reports: [{report}]}}\n"

    terms = load_texts(texts(overlay=overlay)).terms(COUNTY, REF)

    assert [each.id for each in terms.monitoring.reports] == ["self_check"]


SECOND_ENTRY = """
    - programme: plain@1
      from: 2021-01-01
      parties: {county_fund: fin-1, bank: rcb-1, village_fund: fin-1}
"""

WRONG_ADOPTIONS = {
    "an overlay nobody wrote": ("plain@1:own", "plain@1:other", "entries[0].programme"),
    "before the pack holds": ("from: 2020-01-01", "from: 2019-12-31", "entries[0].from"),
    "a party left out": (", village_fund: fin-1", "", "entries[0].parties"),
    "an institution nobody is": ("rcb-2", "rcb-9", "entries[0].parties.bank"),
    "days that overlap": ("village_fund: fin-1}\n", f"village_fund: fin-1}}{SECOND_ENTRY}", "from"),
    "an end before the start": ("2020-01-01\n", "2020-01-01\n      to: 2019-01-01\n", "entries[0]"),
    "a county code as a number": ('"990101"', "990101", "adoption.county"),
}


@pytest.mark.parametrize("what", WRONG_ADOPTIONS)
def test_a_wrong_adoption_is_refused(what: str) -> None:
    old, new, path = WRONG_ADOPTIONS[what]

    problems = refusal(adoption=changed(ADOPTION, old, new))

    assert any(path in each.path for each in problems if each.file == "adoption.yaml"), problems


def test_an_institution_without_a_second_person_is_refused() -> None:
    alone = changed(
        INSTITUTIONS,
        "      - {person_id: rcb-2-p2, title: {zh: 复核, en: Reviewer}, duty: checker}\n",
        "",
    )

    assert any("checker" in problem.rule for problem in refusal(institutions=alone))


def test_a_cycle_of_parents_is_refused() -> None:
    one = changed(PACK, '  version: "1"', '  version: "1"\n  extends: plain@2')
    two = changed(one, '  version: "1"\n  extends: plain@2', '  version: "2"\n  extends: plain@1')

    with pytest.raises(PackErrors) as refused:
        load_texts({"plain@1.yaml": one, "plain@2.yaml": two})

    assert {problem.path for problem in refused.value.problems} == {"programme.extends"}
    assert all("cycle" in problem.rule for problem in refused.value.problems)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- 1",
        "a: [",
        "\t",
        "[" * 5000,
        "a: 1",
        "programme: 1\noverlay: 2",
        "%YAML 9",
        "a: !!python/x 1",
    ],
    ids=range(9),
)
def test_a_file_that_is_no_pack_is_a_problem_and_not_a_crash(text: str) -> None:
    with pytest.raises(PackErrors) as refused:
        load_texts({"x@1.yaml": text})

    assert refused.value.problems


def test_a_folder_that_is_missing_is_said() -> None:
    with pytest.raises(PackErrors) as refused:
        load([DEMO / "nowhere"])

    assert "no such folder" in str(refused.value)


def test_the_packaged_packs_and_the_demo_county_are_clean() -> None:
    catalogue = load([DEMO])
    (county,) = catalogue.counties()
    (entry,) = catalogue.adoptions(county, date(2018, 3, 5))
    terms = catalogue.terms(county, entry.programme)

    assert len(catalogue.institutions) == 49
    for path in (value.path for value in open_values(terms.pack)):
        assert not path.startswith(("scoring", "monitoring", "loan_products[microcredit]")), path


def test_files_that_stand_as_they_did_are_read_once_and_changed_ones_again(tmp_path: Path) -> None:
    for name, text in texts().items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    first = load([tmp_path], packaged=False)

    assert load([tmp_path], packaged=False) is first
    (tmp_path / "broken.yaml").write_text("nothing: like a pack\n", encoding="utf-8")
    with pytest.raises(PackErrors):
        load([tmp_path], packaged=False)
    (tmp_path / "broken.yaml").unlink()
    assert load([tmp_path], packaged=False) is first


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "nowhere.yaml").symlink_to(tmp_path / "gone.yaml")

    with pytest.raises(PackErrors, match="cannot be read"):
        load([tmp_path], packaged=False)
