"""The golden cases: every rule that is built decides every case of it as the case says."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gateway import cases as gateway_cases
from services.programmes.cases import RULES as OF_PROGRAMMES
from tests.programmes.not_built import NOT_BUILT

GOLDEN = Path(__file__).parent / "cases" / "golden.json"
CASES: list[dict[str, Any]] = json.loads(GOLDEN.read_text(encoding="utf-8"))["cases"]
RULES = {**OF_PROGRAMMES, **gateway_cases.RULES}
BUILT = [case for case in CASES if case["rule"] in RULES]


@pytest.mark.parametrize("case", BUILT, ids=lambda case: f"{case['id']}-{case['rule']}")
def test_the_rule_decides_as_the_case_says(case: dict[str, Any]) -> None:
    assert RULES[case["rule"]](case["inputs"]) == case["expected"], case["working"]


def test_every_rule_is_built_or_named_as_not_built() -> None:
    rules = {case["rule"] for case in CASES}

    assert not set(RULES) & set(NOT_BUILT)
    assert rules == set(RULES) | set(NOT_BUILT)


def test_no_case_is_lost() -> None:
    left = Counter(case["rule"] for case in CASES if case["rule"] in NOT_BUILT)

    assert len(CASES) == 158
    assert len(BUILT) + sum(left.values()) == 158
    assert len(BUILT) == 147
