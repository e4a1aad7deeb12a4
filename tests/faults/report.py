"""The report of the fault trials: every trial and control, as JSON, as a page and as one line."""

import json
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

FOLDER_VARIABLE = "LIANDONG_FAULTS_REPORT"
"""The folder that the report is written to; none is written when it is not named."""
KEEP_VARIABLE = "LIANDONG_FAULTS_KEEP"
"""Set where rows of earlier runs stay that this one does not try: a run of some kinds only."""
SECONDS_VARIABLE = "LIANDONG_FAULTS_SECONDS"
"""After so long no further trial begins: what was not tried says so."""
SECONDS_MAX = float(os.environ.get(SECONDS_VARIABLE, "3600"))

HELD, BROKE, SKIPPED, CAUGHT, MISSED = "held", "broke", "skipped", "caught", "missed"


@dataclass(slots=True)
class Trial:
    """One fault, or one planted wrong way, and what came of it."""

    kind: str
    what: str
    """What was done; of a control, what was planted."""
    is_control: bool
    seed: int
    outcome: str = BROKE
    reason: str = ""
    """Why it was skipped, or what broke."""
    seconds: float = 0.0
    faults: int = 0
    """How often the fault took place."""
    commands: int = 0
    figures: dict[str, float | int | str] = field(default_factory=dict)
    lost_fen: int = 0
    doubled: int = 0
    recorded_at: str = ""
    load_average: float = 0.0
    """Of the machine when it ended: what else ran there slows everything down."""

    @property
    def name(self) -> tuple[str, bool, int]:
        """What it is one of; the next run's takes its place."""
        return (self.kind, self.is_control, self.seed)


_HEAD = (
    "Written by `make faults`, which begins it anew; `make faults KIND=NAME` tries some kinds"
    " again and leaves the other rows. `faults.json` beside it is the same for machines. The load"
    " is claims that are reported, decided, split between lenders and households, paid and"
    " confirmed through the gateway, on a platform with a county's year behind it. After each"
    " trial the audit must come out at 0 fen, every payout must be allocated, booked and settled"
    " once, every event that was said must be heard, the access log must verify, and the last"
    " commands that were answered must get the same answer again."
)
_TRIALS_HEAD = (
    "`serves s` is from the end of the fault until all five services answered through the gateway;"
    " `quiet s` from the end of the load until no event waited. The goals are 10 s and 60 s."
)
_CONTROLS_HEAD = (
    "The same faults and the same checks with a countermeasure switched off, or a wrong way"
    " planted: each must fail."
)


_TRIALS_COLUMNS = (
    "| Fault | Done | Seed | Faults | Commands | Outcome | Seconds | Figures | Recorded | Load |",
    "|---|---|---|---:|---:|---|---:|---|---|---:|",
)
_CONTROLS_COLUMNS = (
    "| Fault | Planted | Seed | Outcome | Seconds | What the check said | Recorded | Load |",
    "|---|---|---|---|---:|---|---|---:|",
)


class Report:
    """What a session tried."""

    def __init__(self) -> None:
        self.trials: list[Trial] = []
        self.began = time.monotonic()

    @asynccontextmanager
    async def trial(self, kind: str, what: str, *, seed: int = 0) -> AsyncIterator[Trial]:
        """A fault that the platform must stand."""
        with self._noted(Trial(kind, what, is_control=False, seed=seed)) as one:
            yield one
            assert one.faults > 0, "a trial in which nothing happens shows nothing"
            one.outcome = HELD

    @asynccontextmanager
    async def control(self, kind: str, what: str, *, seed: int = 1) -> AsyncIterator[Trial]:
        """A planted wrong way: what checks the trial of this kind must fail."""
        with self._noted(Trial(kind, what, is_control=True, seed=seed)) as one:
            try:
                yield one
            except AssertionError as error:
                one.outcome, one.reason = CAUGHT, _first_line(error)
                return
            one.outcome = MISSED
            pytest.fail(f"{kind}: the check did not see that {what}")

    @contextmanager
    def _noted(self, one: Trial) -> Iterator[Trial]:
        self.trials.append(one)
        began = time.monotonic()
        try:
            if began - self.began > SECONDS_MAX:
                pytest.skip(f"not tried: the run's {SECONDS_MAX:g} s were over")
            yield one
        except pytest.skip.Exception as error:
            one.outcome, one.reason = SKIPPED, str(error.msg)
            raise
        except BaseException as error:
            one.reason = _first_line(error)
            raise
        finally:
            one.seconds = round(time.monotonic() - began, 1)
            one.recorded_at = datetime.now(UTC).isoformat(timespec="seconds")
            one.load_average = round(os.getloadavg()[0], 1)
            # At once: a run that is cut leaves what it saw.
            if folder := os.environ.get(FOLDER_VARIABLE):
                self.write(Path(folder))

    def line(self, seconds: float | None = None) -> str:
        """One line of figures, the last that a run prints."""
        done = [one for one in self.trials if one.outcome != SKIPPED]
        trials = [one for one in done if not one.is_control]
        controls = [one for one in done if one.is_control]
        caught = sum(one.outcome == CAUGHT for one in controls)
        spent = time.monotonic() - self.began if seconds is None else seconds
        return (
            f"faults: trials={len(trials)} kinds={len({one.kind for one in trials})}"
            f" controls_caught={caught}/{len(controls)}"
            f" skipped={len(self.trials) - len(done)}"
            f" broken={sum(one.outcome in (BROKE, MISSED) for one in done)}"
            f" lost_fen={sum(one.lost_fen for one in trials)}"
            f" doubled={sum(one.doubled for one in trials)}"
            f" seconds={round(spent)}"
        )

    def write(self, folder: Path) -> None:
        """Write `faults.json` and `faults.md`: this run alone, or what it did not try as it was."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "faults.json"
        earlier = _read(file) if os.environ.get(KEEP_VARIABLE) else []
        known = {one.name: one for one in earlier} | {one.name: one for one in self.trials}
        whole = Report()
        whole.trials = sorted(known.values(), key=lambda one: one.name)
        line = whole.line(sum(one.seconds for one in whole.trials))
        body = {
            "cores": os.cpu_count(),
            "line": line,
            "trials": [asdict(one) for one in whole.trials],
        }
        text = json.dumps(body, ensure_ascii=False, indent=1)
        file.write_text(f"{text}\n", encoding="utf-8")
        (folder / "faults.md").write_text(whole.page(line), encoding="utf-8")

    def page(self, line: str) -> str:
        """The report for people."""
        trials = [one for one in self.trials if not one.is_control and one.outcome != SKIPPED]
        controls = [one for one in self.trials if one.is_control and one.outcome != SKIPPED]
        skipped = [one for one in self.trials if one.outcome == SKIPPED]
        return "\n".join(
            (
                *("# Fault trials", "", _HEAD, "", f"`{line}`", ""),
                f"On {os.cpu_count()} cores; `load` is the machine's load average at the end.",
                *("", "## Trials", "", _TRIALS_HEAD, ""),
                *_TRIALS_COLUMNS,
                *map(_row, trials),
                *("", "## Positive controls", "", _CONTROLS_HEAD, ""),
                *_CONTROLS_COLUMNS,
                *map(_control_row, controls),
                *("", "## Skipped", ""),
                *([f"- {one.kind}: {one.reason}" for one in skipped] or ["Nothing."]),
                "",
            )
        )


def _read(file: Path) -> list[Trial]:
    if not file.exists():
        return []
    found = json.loads(file.read_text(encoding="utf-8"))
    return [Trial(**one) for one in found["trials"]]


def _control_row(one: Trial) -> str:
    return (
        f"| {one.kind} | {one.what} | {one.seed} | {one.outcome} | {one.seconds}"
        f" | {_cell(one.reason)} | {one.recorded_at} | {one.load_average} |"
    )


def _row(one: Trial) -> str:
    figures = ", ".join(f"{name} {value}" for name, value in one.figures.items())
    told = one.outcome if one.outcome == HELD else f"{one.outcome}: {_cell(one.reason)}"
    return (
        f"| {one.kind} | {one.what} | {one.seed} | {one.faults} | {one.commands} | {told}"
        f" | {one.seconds} | {figures} | {one.recorded_at} | {one.load_average} |"
    )


def _cell(text: str) -> str:
    return text.replace("|", "/")[:160]


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def pytest_configure(config: pytest.Config) -> None:
    """One report a session, for the trials to write into."""
    config.stash[REPORT] = Report()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Say the one line of figures last."""
    report = config.stash[REPORT]
    if report.trials:
        sys.stdout.write(f"{report.line()}\n")


REPORT = pytest.StashKey[Report]()
