"""The golden cases: every rule decides every case of it as the case says."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway import cases as gateway_cases
from services.programmes.cases import RULES as OF_PROGRAMMES

GOLDEN = Path(__file__).parent / "cases" / "golden.json"
CASES: list[dict[str, Any]] = json.loads(GOLDEN.read_text(encoding="utf-8"))["cases"]
RULES = {**OF_PROGRAMMES, **gateway_cases.RULES}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['id']}-{case['rule']}")
def test_the_rule_decides_as_the_case_says(case: dict[str, Any]) -> None:
    assert RULES[case["rule"]](case["inputs"]) == case["expected"], case["working"]


def test_there_is_no_rule_without_a_case_and_no_case_is_lost() -> None:
    assert {case["rule"] for case in CASES} == set(RULES)
    assert len(CASES) == 158
