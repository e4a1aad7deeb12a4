"""A case of each rule through the running services; which rules have a path is no accident."""

import pytest

from tests.lengths import LIVE_ONE_IN, drawn
from tests.live import runner
from tests.live.paths import KNOWN_FAULTS, PATHS, WITHOUT

CASES_OF_A_RULE = 1


def test_every_rule_of_the_golden_cases_has_a_path_or_a_reason() -> None:
    rules = {case["rule"] for case in runner.golden()}

    assert rules == set(PATHS) | set(WITHOUT)
    assert not set(PATHS) & set(WITHOUT)


def test_what_no_service_says_and_what_fails_is_in_the_golden_cases() -> None:
    cases = runner.golden()
    expected = {rule: set[str]() for rule in PATHS}
    for case in cases:
        expected.get(case["rule"], set()).update(case["expected"])

    assert {rule for rule, path in PATHS.items() if not set(path.unsaid) <= expected[rule]} == set()
    assert set(KNOWN_FAULTS) <= {case["id"] for case in cases}


@pytest.mark.stack
@pytest.mark.timeout(1_800)
async def test_the_services_answer_as_the_cases_say() -> None:
    cases = [case for case in runner.golden() if drawn(case["rule"], LIVE_ONE_IN)]
    outcomes = await runner.run(runner.few(cases, CASES_OF_A_RULE))

    wrong = [outcome.line() for outcome in outcomes if outcome.wrong and not outcome.known_fault]
    mended = [outcome.line() for outcome in outcomes if outcome.passed and outcome.known_fault]
    assert wrong == []
    assert mended == [], "take them out of KNOWN_FAULTS"
    assert any(outcome.passed for outcome in outcomes)
