"""The `liandong programmes` commands: what they print, and how they end."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from deploy.local import case_files, explaining
from deploy.local.cli import app
from services.programmes.loader import PACKAGED, load
from tests.programmes.county_texts import PACK, changed, texts
from tests.programmes.test_conditions import CHILD, WITH_CONDITIONS

GOLDEN = Path(__file__).parents[1] / "programmes" / "cases" / "golden.json"
COUNTY = Path(__file__).parents[2] / "deploy" / "demo" / "county"
CASES: list[dict[str, Any]] = json.loads(GOLDEN.read_text(encoding="utf-8"))["cases"]
LUSHI = next(path.stem for path in PACKAGED[0].glob("*@2.yaml") if "lushi" in path.stem)


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["programmes", *map(str, words)], env={"COLUMNS": "200"})


def written(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with a county's own packs, overlay, adoption and institutions."""
    return written(tmp_path / "own", {**texts(pack=WITH_CONDITIONS), "plain@2.yaml": CHILD})


def test_the_packaged_packs_are_clean() -> None:
    result = run("check", PACKAGED[0], COUNTY)

    assert result.exit_code == 0, result.output
    assert result.output.endswith(" files, 0 problems\n")


def test_check_says_everything_at_once_with_line_path_value_rule_and_hint(tmp_path: Path) -> None:
    wrong = changed(changed(PACK, "  scheme:", "  schema:"), "bank: 30", "bank: 31")
    folder = written(tmp_path, {"plain@1.yaml": wrong})

    result = run("check", folder)

    assert result.exit_code == 1
    *lines, last = result.output.splitlines()
    line = 1 + wrong.splitlines().index("  schema: plain")
    assert f'plain@1.yaml:{line}: scoring.schema = "plain": unknown key' in result.output
    assert "(hint: did you mean scheme?)" in result.output
    assert any("fund.models[split].layers[1].ratio = " in each for each in lines)
    assert last == f"1 files, {len(lines)} problems"


def test_a_file_is_checked_beside_what_it_extends(tmp_path: Path, own: Path) -> None:
    title = 'title: {zh: 二, en: Two}\n  effective_from: 2020-01-01\n  version: "1"'
    child = f"programme:\n  id: own\n  extends: {LUSHI}\n  {title}\nfund: {{multiple: 5}}\n"
    file = written(tmp_path, {"own@1.yaml": child}) / "own@1.yaml"

    assert run("check", file).exit_code == 0
    assert run("check", own / "plain@2.yaml").exit_code == 0
    assert run("check", own / "overlay.yaml", own / "adoption.yaml").exit_code == 0


def test_a_file_is_not_blamed_for_its_neighbours(own: Path) -> None:
    written(own, {"other@1.yaml": "programme: 1\n"})

    assert run("check", own / "plain@2.yaml").exit_code == 0
    assert run("check", own).exit_code == 1


def test_a_changed_copy_of_a_packaged_pack_is_checked_in_its_place(tmp_path: Path) -> None:
    text = (PACKAGED[0] / f"{LUSHI}.yaml").read_text(encoding="utf-8")
    file = written(tmp_path, {f"{LUSHI}.yaml": text}) / f"{LUSHI}.yaml"

    assert run("check", file).exit_code == 0
    file.write_text(text.replace("agri_guarantee: 50", "agri_guarantee: 40"), encoding="utf-8")
    result = run("check", file)
    assert result.exit_code == 1
    assert "the shares make 90" in result.output


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    result = run("check", tmp_path / "nowhere")

    assert result.exit_code == 1
    assert "no such folder" in result.output


def test_show_is_yaml_and_says_where_each_value_was_written(own: Path) -> None:
    result = run("show", "plain@2", "--with", own)

    assert result.exit_code == 0, result.output
    shown = yaml.safe_load(result.output)
    assert shown["fund"]["multiple"] == 5
    assert shown["loan_products"][0]["max_principal_fen"] == 5_000_000
    (multiple,) = (line for line in result.output.splitlines() if "multiple: 5" in line)
    assert multiple.endswith("# plain@2:8")
    (cap,) = (line for line in result.output.splitlines() if "max_principal_fen" in line)
    number = 1 + WITH_CONDITIONS.splitlines().index("    max_principal_fen: 5000000")
    assert cap.endswith(f"# plain@1:{number}")


@pytest.mark.parametrize(
    ("ref", "said"),
    [("plain@1:deep_poverty", "county_fund: 8"), ("plain@1:own", "min_score_centi: 9000")],
)
def test_show_knows_conditions_and_overlays(own: Path, ref: str, said: str) -> None:
    assert said in run("show", ref, "--with", own).output


@pytest.mark.parametrize("ref", ["plain@9", "plain@1:nobody", "plain"])
def test_show_of_what_is_not_there_is_said_plainly(own: Path, ref: str) -> None:
    result = run("show", ref, "--with", own)

    assert result.exit_code == 2
    assert ref in result.output
    assert "Traceback" not in result.output


def test_a_broken_pack_beside_the_others_is_named_by_its_line(own: Path) -> None:
    wrong = changed(WITH_CONDITIONS, "bank: 30", "bank: 31")
    written(own, {"plain@1.yaml": wrong})

    result = run("show", "plain@1", "--with", own)

    assert result.exit_code == 2
    assert "the shares make" in result.output
    line = 1 + next(at for at, text in enumerate(wrong.splitlines()) if "bank: 31" in text)
    assert f"plain@1.yaml:{line}: " in result.output


def test_diff_names_what_two_versions_say_differently(own: Path) -> None:
    result = run("diff", "plain@1", "plain@2", "--with", own)

    assert result.exit_code == 0
    assert "~ fund.multiple: 10 → 5" in result.output.splitlines()
    assert not any("max_principal_fen" in line for line in result.output.splitlines())
    assert "0 differences" in run("diff", "plain@1", "plain@1", "--with", own).output


def test_list_names_packs_conditions_and_followers(own: Path) -> None:
    result = run("list", "--with", own)

    assert result.exit_code == 0
    assert LUSHI in result.output
    assert ":deep_poverty" in result.output
    assert "990101 follows plain@1:own from 2020-01-01" in result.output


def test_the_schemas_are_printed_as_json() -> None:
    assert json.loads(run("schema", "pack").output)["required"] == ["programme"]
    assert "anyOf" in json.loads(run("schema", "county").output)
    assert run("schema", "other").exit_code == 2


# LS18.fun.1: strictly more than 70 days.
def test_explain_gives_inputs_clauses_working_and_result() -> None:
    case = next(each["id"] for each in CASES if each["rule"] == "loans.npl_trigger")

    result = run("explain", GOLDEN, "--case", case)

    assert result.exit_code == 0, result.output
    assert "  npl_after_days: 70" in result.output
    assert "  loans.npl  [LS18.fun.1, S01, C21, " in result.output
    assert "{measure: overdue_days, more_than_days: 70}" in result.output
    assert "70 days on 2018-05-10 > 70?" in result.output
    assert result.output.endswith("  as the case expects\n")


def test_explain_says_when_a_decision_is_not_as_expected(tmp_path: Path) -> None:
    case = {**CASES[0], "expected": {**CASES[0]["expected"], "score_centi": 1}}
    file = tmp_path / "case.json"
    file.write_text(json.dumps(case), encoding="utf-8")

    result = run("explain", file)

    assert result.exit_code == 1
    assert "not as expected: score_centi: expected 1, decided 7480" in result.output


def test_explain_needs_one_case() -> None:
    result = run("explain", GOLDEN)

    assert result.exit_code == 2
    assert "--case" in result.output


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (
            {"due_count": 0},
            "COLLECTED_ABOVE_DUE: 665 loans, 3165700000 fen collected of 0, 3191700000 due",
        ),
        ({"due_count": "many"}, "the inputs are not the rule's: TypeError: "),
    ],
)
def test_explain_says_why_a_decision_is_refused(
    tmp_path: Path, inputs: dict[str, Any], said: str
) -> None:
    case = next(each for each in CASES if each["id"] == "G-143")
    file = tmp_path / "case.json"
    file.write_text(json.dumps({**case, "inputs": case["inputs"] | inputs}), encoding="utf-8")

    result = run("explain", file)

    assert result.exit_code == 1
    assert said in result.output
    assert "as the case expects" not in result.output


BUILT = [case for case in CASES if case["rule"] in case_files.RULES]
CATALOGUE = load([COUNTY])


@pytest.mark.parametrize("case", BUILT, ids=lambda case: case["id"])
def test_every_decision_shows_its_working(case: dict[str, Any]) -> None:
    without_pack = {**case, "programme": explaining.PLATFORM}

    explanation = explaining.explain(without_pack, CATALOGUE)

    assert explanation.result == case["expected"]
    assert explanation.working


@pytest.mark.parametrize(
    "case",
    [case for case in BUILT if case["programme"] != explaining.PLATFORM],
    ids=lambda case: case["id"],
)
def test_every_decision_names_its_clauses_with_rows(case: dict[str, Any]) -> None:
    clauses = explaining.explain(case, CATALOGUE).clauses

    assert clauses
    assert all(clause.rows and clause.origin for clause in clauses)


def test_cases_counts_what_passed_and_what_failed(tmp_path: Path) -> None:
    passing = next(case for case in CASES if case["rule"] == "loans.npl_trigger")
    failing = [
        {**passing, "id": "X-1", "expected": {"overdue_days": 1, "triggered": True}},
        {**passing, "id": "X-2", "inputs": {}},
        {**passing, "id": "X-3", "rule": "loans.unheard_of"},
    ]
    file = tmp_path / "cases.json"
    file.write_text(json.dumps({"cases": [passing, *failing]}), encoding="utf-8")

    result = run("cases", file)

    assert result.exit_code == 1
    assert "X-1 loans.npl_trigger: overdue_days: expected 1, decided 70" in result.output
    assert "X-2 loans.npl_trigger: KeyError" in result.output
    assert "X-3 loans.unheard_of: no rule is called loans.unheard_of" in result.output
    assert result.output.endswith("1 passed, 3 failed\n")


def test_all_golden_cases_that_are_built_pass(tmp_path: Path) -> None:
    file = tmp_path / "cases.json"
    file.write_text(json.dumps({"cases": BUILT}), encoding="utf-8")

    result = run("cases", file)

    assert result.exit_code == 0
    assert result.output == f"{len(BUILT)} passed, 0 failed\n"


@pytest.mark.parametrize("text", ["", "[]", "1", '{"cases": 1}', '{"cases": [{"id": 1}]}', "[1]"])
def test_a_file_without_cases_is_said(tmp_path: Path, text: str) -> None:
    file = tmp_path / "cases.json"
    file.write_text(text, encoding="utf-8")

    result = run("cases", file)

    assert result.exit_code == 2
    assert "cases.json" in result.output


def test_release_seals_a_pack_once_and_after_its_parent(own: Path) -> None:
    for name in ("overlay.yaml", "adoption.yaml", "institutions.yaml"):
        (own / name).unlink()
    early = run("release", "plain@2", "--packs", own)
    first = run("release", "plain@1", "--packs", own)
    again = run("release", "plain@1", "--packs", own)
    second = run("release", "plain@2", "--packs", own)

    assert (early.exit_code, "release it first" in early.output) == (2, True)
    assert first.exit_code == second.exit_code == 0, second.output
    assert "already" in again.output
    digests = [hashlib.sha256((own / f"plain@{n}.yaml").read_bytes()).hexdigest() for n in "12"]
    sealed = (own / "released.sha256").read_text(encoding="utf-8")
    assert sealed == f"{digests[0]}  plain@1.yaml\n{digests[1]}  plain@2.yaml\n"


def test_a_released_pack_that_changed_is_not_released_again(own: Path) -> None:
    for name in ("overlay.yaml", "adoption.yaml", "institutions.yaml"):
        (own / name).unlink()
    assert run("release", "plain@1", "--packs", own).exit_code == 0
    sealed = (own / "released.sha256").read_text(encoding="utf-8")
    written(
        own,
        {"plain@1.yaml": changed(WITH_CONDITIONS, "fund:\n  multiple: 10", "fund:\n  multiple: 9")},
    )

    result = run("release", "plain@1", "--packs", own)

    assert result.exit_code == 2
    assert "write a new version" in result.output
    assert (own / "released.sha256").read_text(encoding="utf-8") == sealed


def test_a_wrong_pack_is_not_released(tmp_path: Path) -> None:
    folder = written(tmp_path, {"plain@1.yaml": changed(PACK, "bank: 30", "bank: 31")})

    result = run("release", "plain@1", "--packs", folder)

    assert result.exit_code == 2
    assert "the shares make" in result.output
    assert not (folder / "released.sha256").exists()
