"""Every error of a county officer comes with its key path, the value, the rule and a hint."""

from typing import NamedTuple

import pytest

from services.kernel.errors import Refused
from services.programmes.loader import PackErrors, load_texts
from services.programmes.schema.pack import Pack
from services.programmes.scoring import score_by_points
from services.programmes.typed import keys_at
from services.programmes.yaml_text import Problem
from tests.programmes.county_texts import ADOPTION, OVERLAY, PACK, changed, texts
from tests.programmes.test_loader import (
    SECOND_ENTRY,
    WRONG_ADOPTIONS,
    WRONG_OVERLAYS,
    WRONG_PACKS,
    refusal,
)

WEIGHTED = """scoring:
  type: weighted
  scheme: plain
  factors:
    - {id: integrity, weight_pct: 50}
    - {id: labour, weight_pct: 40}
  grades: [{id: A, min_score_centi: 6000, limit_fen: 1000000}]
"""
WITH_WEIGHTS = PACK[: PACK.index("scoring:\n")] + WEIGHTED + PACK[PACK.index("loans:\n") :]
OVERLAPPING = changed(
    PACK.replace("id: A, min_score_centi: {open: not decided}", "id: A, min_score_centi: 9500"),
    "id: AA, min_score_centi: {open: not decided}",
    "id: AA, min_score_centi: 9000",
)


UNTIL = "  effective_from: 2020-01-01\n  effective_to: 2020-12-31"


class Wanted(NamedTuple):
    """What a problem must say; the line is told by what stands on it."""

    text: str
    path: str
    value: str
    rule: str
    hint: str
    line: str


def assert_says(problem: Problem, wanted: Wanted) -> None:
    assert problem.path == wanted.path
    assert problem.value.startswith(wanted.value)
    assert wanted.rule in problem.rule
    assert wanted.hint in problem.hint
    assert wanted.line in wanted.text.splitlines()[problem.line - 1]


PACKS = {
    "an unknown key": Wanted(
        changed(PACK, "  scheme: plain", "  schema: plain"),
        "scoring.schema",
        '"plain"',
        "unknown key",
        "did you mean scheme?",
        "schema: plain",
    ),
    "an unknown section": Wanted(
        changed(PACK, "eligibility:", "eligibilty:"),
        "eligibilty",
        '{"bor',
        "unknown key",
        "did you mean eligibility?",
        "eligibilty",
    ),
    "an unknown key far from any": Wanted(
        changed(PACK, "  multiple: 10", "  multiple: 10\n  colour: red"),
        "fund.colour",
        '"red"',
        "unknown key",
        "custody, divided_by",
        "colour: red",
    ),
    "an unknown word": Wanted(
        changed(PACK, "organ: lender", "organ: lendr"),
        "loan_products[micro].approval_chain[1].organ",
        '"lendr"',
        "Input should be",
        "did you mean lender?",
        "lendr",
    ),
    "bands that overlap": Wanted(
        OVERLAPPING,
        "scoring.grades",
        '[{"id": "A"',
        "grades go from low to high",
        "a higher min_score_centi",
        "grades:",
    ),
    "weights that do not make 100": Wanted(
        WITH_WEIGHTS,
        "scoring.factors",
        '[{"id": "integrity"',
        "the weights make 90",
        "until 90 is 100",
        "factors:",
    ),
    "a veto that every score of a factor hits": Wanted(
        changed(
            changed(WITH_WEIGHTS, "labour, weight_pct: 40", "labour, weight_pct: 50"),
            "  scheme: plain",
            "  scheme: plain\n  vetoes: [{id: idle, indicator: labour}]",
        ),
        "scoring",
        '{"type": "weighted"',
        "veto idle reads a factor",
        "an indicator of its own",
        "scoring:",
    ),
    "tiers with a gap": Wanted(
        changed(PACK, "max_fen: null", "max_fen: 500000"),
        "insurance.claim_tiers",
        '[{"tier": "fast"',
        "the last claim tier",
        "max_fen: null",
        "claim_tiers:",
    ),
    "shares that make no whole": Wanted(
        changed(PACK, "bank: 30", "bank: 20"),
        "fund.models[split].layers[1].ratio",
        '{"county_fund": 70, "bank": 20}',
        "the shares make 90",
        "until 90 is 10 or 100",
        "bank: 20",
    ),
    "itself as parent": Wanted(
        changed(PACK, '  version: "1"', '  version: "1"\n  extends: plain@1'),
        "programme.extends",
        "plain@1",
        "a cycle: plain@1",
        "extend nothing",
        "extends:",
    ),
    "a parent nobody wrote": Wanted(
        changed(PACK, '  version: "1"', '  version: "1"\n  extends: plane@0'),
        "programme.extends",
        "plane@0",
        "no such pack",
        "did you mean plain@1?",
        "extends:",
    ),
}


@pytest.mark.parametrize("what", PACKS)
def test_a_wrong_pack_says_path_value_rule_and_hint(what: str) -> None:
    wanted = PACKS[what]

    problems = refusal(pack=wanted.text, overlay="", adoption="", institutions="")

    assert_says(next(each for each in problems if each.path == wanted.path), wanted)


OVERLAYS = {
    "a value the pack has": Wanted(
        changed(OVERLAY, "  scoring:", "  fund: {multiple: 20}\n  scoring:"),
        "fund.multiple",
        "20",
        "does not let a county set it",
        "county_may_set",
        "multiple: 20",
    ),
    "a pack nobody has": Wanted(
        changed(OVERLAY, "plain@1", "plain@9"),
        "overlay.programme",
        "plain@9",
        "no such pack",
        "did you mean plain@1?",
        "plain@9",
    ),
    "a file with one key more": Wanted(
        changed(OVERLAY, "values:", "extra: {}\nvalues:"),
        "extra",
        "",
        "no other",
        "below values:",
        "extra",
    ),
}


@pytest.mark.parametrize("what", OVERLAYS)
def test_a_wrong_overlay_says_path_value_rule_and_hint(what: str) -> None:
    wanted = OVERLAYS[what]

    problems = refusal(overlay=wanted.text, adoption="")

    assert_says(next(each for each in problems if each.file == "overlay.yaml"), wanted)


ADOPTIONS = {
    "days that overlap": Wanted(
        changed(ADOPTION, "village_fund: fin-1}\n", f"village_fund: fin-1}}{SECOND_ENTRY}"),
        "adoption.entries[1].from",
        "2021-01-01",
        "overlaps the adoption of plain@1:own",
        "end the earlier one",
        "from: 2021-01-01",
    ),
    "a party nobody names": Wanted(
        changed(ADOPTION, "village_fund: fin-1", "village_fund: fin-1, villagefund: fin-1"),
        "adoption.entries[0].parties.villagefund",
        "villagefund",
        "no pack and no chain names this party",
        "did you mean village_fund?",
        "villagefund",
    ),
    "a party left out": Wanted(
        changed(ADOPTION, ", village_fund: fin-1", ""),
        "adoption.entries[0].parties",
        "village_fund",
        "say which institution it is",
        "an institution_id",
        "parties:",
    ),
    "an institution nobody is": Wanted(
        changed(ADOPTION, "rcb-2", "rbc-1"),
        "adoption.entries[0].parties.bank",
        "rbc-1",
        "no such institution",
        "did you mean rcb-1?",
        "rbc-1",
    ),
    "before the pack holds": Wanted(
        changed(ADOPTION, "from: 2020-01-01", "from: 2019-12-31"),
        "adoption.entries[0].from",
        "2019-12-31",
        "before the pack takes effect",
        "begin on 2020-01-01",
        "2019-12-31",
    ),
    "an overlay nobody wrote": Wanted(
        changed(ADOPTION, "plain@1:own", "plain@1:owns"),
        "adoption.entries[0].programme",
        "plain@1:owns",
        "no such pack, condition or overlay",
        "did you mean plain@1:own?",
        "plain@1:owns",
    ),
}


@pytest.mark.parametrize("what", ADOPTIONS)
def test_a_wrong_adoption_says_path_value_rule_and_hint(what: str) -> None:
    wanted = ADOPTIONS[what]

    (problem,) = refusal(adoption=wanted.text)

    assert_says(problem, wanted)


def test_a_pack_holds_no_longer_than_it_says() -> None:
    pack = changed(PACK, "  effective_from: 2020-01-01", UNTIL)

    (problem,) = refusal(pack=pack)

    assert problem.path == "adoption.entries[0].to"
    assert problem.rule == "the pack holds only until 2020-12-31"
    assert problem.hint.startswith("end on 2020-12-31")


def test_a_payee_nobody_fills_is_an_unknown_party() -> None:
    pack = changed(PACK, "payees: [bank, household]", "payees: [bnak, household]")

    (problem,) = refusal(pack=pack)

    assert (problem.path, problem.value) == ("adoption.entries[0].parties", "bnak")
    assert problem.hint


def test_a_circle_of_three_packs_names_the_circle() -> None:
    parents = {"1": "plain@3", "2": "plain@1", "3": "plain@2"}
    files = {
        f"plain@{version}.yaml": changed(
            PACK, 'version: "1"', f'version: "{version}"\n  extends: {parent}'
        )
        for version, parent in parents.items()
    }

    with pytest.raises(PackErrors) as refused:
        load_texts(files)

    assert {problem.file for problem in refused.value.problems} == set(files)
    assert all("→" in problem.rule for problem in refused.value.problems)


def test_an_open_value_that_is_used_says_what_to_set_and_where() -> None:
    scoring = load_texts(texts()).terms("990101", "plain@1").scoring

    assert scoring.type == "base_points"
    with pytest.raises(Refused) as refused:
        score_by_points(scoring, {"tidy": 1})
    assert dict(refused.value.facts) == {
        "key": "scoring.grades[A].min_score_centi",
        "value": "open: not decided",
        "rule": "an open value blocks every rule that needs it",
        "hint": "set scoring.grades[A].min_score_centi below values: in the county's overlay",
    }


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        *(("pack", what) for what in WRONG_PACKS),
        *(("overlay", what) for what in WRONG_OVERLAYS),
        *(("adoption", what) for what in WRONG_ADOPTIONS),
    ],
)
def test_no_problem_is_without_a_hint(kind: str, what: str) -> None:
    wrong, whole = {
        "pack": (WRONG_PACKS, PACK),
        "overlay": (WRONG_OVERLAYS, OVERLAY),
        "adoption": (WRONG_ADOPTIONS, ADOPTION),
    }[kind]
    old, new, _ = wrong[what]

    problems = refusal(**{kind: changed(whole, old, new)})

    assert all(problem.hint for problem in problems)
    assert all("hint: " in str(problem) for problem in problems)


def test_the_keys_of_a_place_are_those_of_the_schema_there() -> None:
    assert "multiple" in keys_at(Pack, ("fund",))
    assert "from" in keys_at(Pack, ("insurance", "covers", 0))
    assert {"layer", "pot", "ratio"} <= keys_at(
        Pack, ("fund", "models", 0, "layers", "(value)", 0, "PotLayer")
    )
    assert "path" not in keys_at(Pack, ("monitoring", "five_tier", "(open)"))
