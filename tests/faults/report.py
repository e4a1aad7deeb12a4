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


_HEAD = (
    "Written by `make faults`, from nothing but what that run saw; `faults.json` beside it is the"
    " same for machines. The load is claims that are reported, decided, split between lenders and"
    " households, paid and confirmed through the gateway, on a platform with a county's year behind"
    " it. After each trial the audit must come out at 0 fen, every payout must be allocated, booked"
    " and settled once, every event that was said must be heard, the access log must verify, and"
    " the last commands that were answered must get the same answer again."
)
_TRIALS_HEAD = (
    "`serves s` is from the end of the fault until all five services answered through the gateway;"
    " `quiet s` from the end of the load until no event waited. The goals are 10 s and 60 s."
)
_CONTROLS_HEAD = (
    "The same faults and the same checks with a countermeasure switched off, or a wrong way"
    " planted: each must fail."
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
    async def control(self, kind: str, what: str, *, seed: int = 0) -> AsyncIterator[Trial]:
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
            yield one
        except pytest.skip.Exception as error:
            one.outcome, one.reason = SKIPPED, str(error.msg)
            raise
        except BaseException as error:
            one.reason = _first_line(error)
            raise
        finally:
            one.seconds = round(time.monotonic() - began, 1)

    def line(self) -> str:
        """One line of figures, the last that a run prints."""
        done = [one for one in self.trials if one.outcome != SKIPPED]
        trials = [one for one in done if not one.is_control]
        controls = [one for one in done if one.is_control]
        caught = sum(one.outcome == CAUGHT for one in controls)
        return (
            f"faults: trials={len(trials)} kinds={len({one.kind for one in trials})}"
            f" controls_caught={caught}/{len(controls)}"
            f" skipped={len(self.trials) - len(done)}"
            f" broken={sum(one.outcome in (BROKE, MISSED) for one in done)}"
            f" lost_fen={sum(one.lost_fen for one in trials)}"
            f" doubled={sum(one.doubled for one in trials)}"
            f" seconds={round(time.monotonic() - self.began)}"
        )

    def write(self, folder: Path) -> None:
        """Write `faults.json` and `faults.md`."""
        folder.mkdir(parents=True, exist_ok=True)
        body = {
            "recorded_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "cores": os.cpu_count(),
            "line": self.line(),
            "trials": [asdict(one) for one in self.trials],
        }
        text = json.dumps(body, ensure_ascii=False, indent=1)
        (folder / "faults.json").write_text(f"{text}\n", encoding="utf-8")
        (folder / "faults.md").write_text(self._page(), encoding="utf-8")

    def _page(self) -> str:
        trials = [one for one in self.trials if not one.is_control and one.outcome != SKIPPED]
        controls = [one for one in self.trials if one.is_control and one.outcome != SKIPPED]
        skipped = [one for one in self.trials if one.outcome == SKIPPED]
        parts = [
            "# Fault trials",
            "",
            _HEAD,
            "",
            f"`{self.line()}`",
            "",
            f"{datetime.now(UTC).date()}, {os.cpu_count()} cores.",
            "",
            "## Trials",
            "",
            _TRIALS_HEAD,
            "",
            "| Fault | What was done | Seed | Faults | Commands | Outcome | Seconds | Figures |",
            "|---|---|---|---:|---:|---|---:|---|",
            *(_row(one) for one in trials),
            "",
            "## Positive controls",
            "",
            _CONTROLS_HEAD,
            "",
            "| Fault | What was planted | Seed | Outcome | Seconds | What the check said |",
            "|---|---|---|---|---:|---|",
            *(
                f"| {one.kind} | {one.what} | {one.seed} | {one.outcome} | {one.seconds}"
                f" | {_cell(one.reason)} |"
                for one in controls
            ),
            "",
            "## Skipped",
            "",
            *([f"- {one.kind}: {one.reason}" for one in skipped] or ["Nothing."]),
            "",
        ]
        return "\n".join(parts)


def _row(one: Trial) -> str:
    figures = ", ".join(f"{name} {value}" for name, value in one.figures.items())
    told = one.outcome if one.outcome == HELD else f"{one.outcome}: {_cell(one.reason)}"
    return (
        f"| {one.kind} | {one.what} | {one.seed} | {one.faults} | {one.commands} | {told}"
        f" | {one.seconds} | {figures} |"
    )


def _cell(text: str) -> str:
    return text.replace("|", "/")[:160]


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def pytest_configure(config: pytest.Config) -> None:
    """One report a session, for the trials to write into."""
    config.stash[REPORT] = Report()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Write the report where it was asked for, and say its one line last."""
    report = config.stash[REPORT]
    if not report.trials:
        return
    if folder := os.environ.get(FOLDER_VARIABLE):
        report.write(Path(folder))
    sys.stdout.write(f"{report.line()}\n")


REPORT = pytest.StashKey[Report]()
