"""Case files: decisions in their own words, run one by one against the rules."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway import cases as gateway_cases
from services.kernel.errors import LiandongError
from services.programmes import cases
from services.programmes.cases.values import Case

CASES_MAX = 100_000

# The rules of all packages together: whatever decides cases is named here and nowhere else.
RULES: Mapping[str, Callable[[Case], Case]] = {**cases.RULES, **gateway_cases.RULES}

GOES_WRONG = (LiandongError, LookupError, TypeError, ValueError, ArithmeticError, AssertionError)
"""How a rule fails on inputs that are not what it expects."""


class CaseFileError(Exception):
    """The file holds no cases."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One case, and what is wrong with its decision; nothing when it passed."""

    case_id: str
    rule: str
    wrong: str

    @property
    def passed(self) -> bool:
        """Whether the rule decided as the case says."""
        return not self.wrong


def read_cases(path: Path) -> list[Case]:
    """The cases of a file: `{"cases": [...]}`, a list of cases, or one case alone."""
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CaseFileError(f"{path}: not JSON: {error}") from error
    found: Any = whole
    if isinstance(whole, dict):
        found = whole.get("cases", [whole])
    if not isinstance(found, list) or not found or len(found) > CASES_MAX:
        raise CaseFileError(f"{path}: 1 to {CASES_MAX} cases are expected")
    for index, case in enumerate(found):
        if not isinstance(case, dict):
            raise CaseFileError(f"{path}: case {index} is no mapping")
        if not isinstance(case.get("rule"), str) or not isinstance(case.get("inputs"), dict):
            name = case.get("id", index)
            raise CaseFileError(f"{path}: case {name} needs a rule and its inputs")
    return found


def run(cases_: Sequence[Case]) -> list[Verdict]:
    """Decide every case; a rule that is unknown or fails is a case that failed."""
    return [_verdict(case, str(index)) for index, case in enumerate(cases_)]


def _verdict(case: Case, name: str) -> Verdict:
    case_id, rule = str(case.get("id", name)), case["rule"]
    decide = RULES.get(rule)
    if decide is None:
        return Verdict(case_id, rule, f"no rule is called {rule}")
    if "expected" not in case:
        return Verdict(case_id, rule, "the case expects nothing")
    try:
        decided = decide(case["inputs"])
    except GOES_WRONG as error:
        return Verdict(case_id, rule, f"{type(error).__name__}: {error}")
    return Verdict(case_id, rule, difference(decided, case["expected"]))


def difference(decided: Case, expected: Any) -> str:
    """Where a decision differs from what was expected; empty when nowhere."""
    if decided == expected:
        return ""
    if not isinstance(expected, dict):
        return f"expected {_json(expected)}, decided {_json(decided)}"
    keys = [key for key in {**expected, **decided} if expected.get(key) != decided.get(key)]
    return "; ".join(
        f"{key}: expected {_json(expected.get(key))}, decided {_json(decided.get(key))}"
        for key in keys
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
