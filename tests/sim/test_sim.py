"""
The simulation of the sagas holds, replays exactly, and finds what is planted.

`make sim` lives a hundred thousand histories on all cores; here are a few of them, on one, but not
where `.ci/run` lives them all.
"""

import os
import re
import subprocess
import sys

import pytest

from tests.sim.mutants import MUTANTS

HISTORIES = int(os.environ.get("LIANDONG_SIM_HISTORIES", "1000"))


def sim(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The simulation in a process of its own: it exchanges the services' functions of SQL."""
    command = [sys.executable, "-m", "tests.sim", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.skipif(os.environ.get("CI") == "true", reason="`.ci/run` runs `make sim` itself")
@pytest.mark.timeout(1_800)
def test_no_history_breaks_a_rule_and_every_planted_fault_is_found() -> None:
    done = sim("--histories", str(HISTORIES), "--workers", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    count = len(MUTANTS)
    assert count >= 20
    assert f"histories={HISTORIES} " in done.stdout
    assert f"violations=0 mutants={count}/{count} " in done.stdout
    # A history in which nothing happens holds every rule.
    seen = {name: int(fen) for name, fen in re.findall(r"(races|deaths)=(\d+)", done.stdout)}
    assert seen["races"] > HISTORIES // 10
    assert seen["deaths"] > HISTORIES // 10


def test_a_seed_is_lived_again_exactly() -> None:
    first, again = sim("--replay", "77"), sim("--replay", "77")
    assert first.returncode == 0, first.stdout + first.stderr
    assert first.stdout == again.stdout
    assert first.stdout.endswith("held\n")
