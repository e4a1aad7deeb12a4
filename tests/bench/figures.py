"""Figures: ours and the limit side by side, as a ratio with its spread, printed and kept."""

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing measured in turns with its limit; pairs belong to the same round."""

    name: str
    unit: str
    limit_name: str
    pairs: tuple[tuple[float, float], ...]
    """Ours and the limit, a pair a round."""
    goal: float
    """Of the ratio: at least this, or at most when less is better."""
    stretch: float
    less_is_better: bool = False
    note: str = ""

    @property
    def ours(self) -> float:
        """Our median."""
        return statistics.median(ours for ours, _ in self.pairs)

    @property
    def limit(self) -> float:
        """The limit's median."""
        return statistics.median(limit for _, limit in self.pairs)

    @property
    def ratios(self) -> list[float]:
        """Ours to the limit, round by round."""
        return [ours / limit for ours, limit in self.pairs]

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios."""
        return statistics.median(self.ratios)

    @property
    def goal_text(self) -> str:
        """The goal as limits are written."""
        sign = "≤" if self.less_is_better else "≥"
        return f"{sign} {self.goal:g} ({self.stretch:g})"

    @property
    def verdict(self) -> str:
        """Which of the two goals the median reaches."""
        reached = self.ratio.__le__ if self.less_is_better else self.ratio.__ge__
        if reached(self.stretch):
            return "stretch"
        return "goal" if reached(self.goal) else "short"


@dataclass(slots=True)
class Results:
    """All figures of a run and the facts that they need to be read."""

    figures: list[Figure] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    checks: list[tuple[str, int]] = field(default_factory=list)
    """What must be zero for a figure to count: name and how far it is off."""
    memory: dict[str, dict[str, float]] = field(default_factory=dict)
    """By part and process, the most MiB that it was resident with."""
    skipped: list[str] = field(default_factory=list)
    """What was not run, and why."""

    @property
    def counts(self) -> bool:
        """Whether nothing was lost, doubled or unbalanced."""
        return all(off == 0 for _, off in self.checks)

    @property
    def line(self) -> str:
        """The run in one line; `met` counts what reaches its goal."""
        met = sum(figure.verdict != "short" for figure in self.figures)
        wrong = sum(off for _, off in self.checks)
        return (
            f"figures={len(self.figures)} met={met} short={len(self.figures) - met} wrong={wrong}"
        )


def amount(value: float) -> str:
    """Three digits that matter."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _row(figure: Figure) -> tuple[str, ...]:
    low, high = min(figure.ratios), max(figure.ratios)
    return (
        figure.name,
        f"{amount(figure.ours)} {figure.unit}",
        f"{amount(figure.limit)} {figure.unit}",
        f"{figure.ratio:.2f}",
        f"{low:.2f}-{high:.2f}",
        figure.goal_text,
        figure.verdict,
    )


HEADINGS = ("figure", "ours", "limit", "ratio", "spread", "goal (stretch)", "reached")


def show(results: Results, console: Console) -> None:
    """Print the figures, what each limit is, and whether they count."""
    table = Table(title="Bench: ours beside this machine's limit", title_justify="left")
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == "figure" else "right")
    for figure in results.figures:
        table.add_row(*_row(figure))
    console.print(table)
    for figure in results.figures:
        note = f"; {figure.note}" if figure.note else ""
        console.print(f"  {figure.name}: limit = {figure.limit_name}{note}", style="dim")
    for name, text in results.facts.items():
        console.print(f"  {name}: {text}", style="dim")
    for part, held in results.memory.items():
        console.print(f"  memory, {part}: {_memory(held)}", style="dim")
    for each in results.skipped:
        console.print(f"  skipped: {each}", style="dim")
    for name, off in results.checks:
        console.print(f"  {name}: {off}", style="bold red" if off else "dim")


def _memory(held: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {mib:,.0f} MiB" for name, mib in sorted(held.items()))


def machine() -> dict[str, str]:
    """What the figures were measured on, without naming the machine."""
    model = "unknown"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    load = os.getloadavg()[0]
    return {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, {model}; Python {platform.python_version()}",
        "load average at the start": f"{load:.1f} (neighbours' work counts against both sides)",
    }


def write_json(results: Results, path: Path) -> None:
    """Keep everything, round by round."""
    path.parent.mkdir(parents=True, exist_ok=True)
    held = {
        "facts": results.facts,
        "checks": dict(results.checks),
        "memory_mib": results.memory,
        "skipped": results.skipped,
        "figures": [
            asdict(each)
            | {
                "ratio": each.ratio,
                "spread": [min(each.ratios), max(each.ratios)],
                "reached": each.verdict,
            }
            for each in results.figures
        ],
    }
    path.write_text(json.dumps(held, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_page(results: Results, path: Path, command: str) -> None:
    """Write the page that is kept in the repository."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        "# Bench",
        "",
        f"Written by `{command}`; do not edit. Each figure of ours stands beside this machine's",
        "own limit, measured in the same run, in turns, on the same servers. The ratio is the",
        "median of the rounds' ratios, the spread its least and greatest. Absolute figures are",
        "those of a shared machine and mean little.",
        "",
        _line(HEADINGS),
        _line(["---"] * len(HEADINGS)),
        *(_line(_row(figure)) for figure in results.figures),
        "",
        "What the limits are:",
        "",
        *(
            f"- **{each.name}**: {each.limit_name}{'; ' + each.note if each.note else ''}."
            for each in results.figures
        ),
        "",
        "The run:",
        "",
        *(f"- {name}: {text}" for name, text in results.facts.items()),
        "",
        "Memory, the most that each process was resident with (goals: 600 MiB for an import,",
        "700 MiB for the platform as one process):",
        "",
        *(f"- {part}: {_memory(held)}" for part, held in results.memory.items()),
        "",
        *(
            ["Not run here:", "", *(f"- {each}" for each in results.skipped), ""]
            * bool(results.skipped)
        ),
        "A figure counts only when nothing was lost, nothing doubled and every entry balances;",
        "each of these must be 0:",
        "",
        *(f"- {name}: {off}" for name, off in results.checks),
        "",
    ]
    path.write_text("\n".join(line.rstrip() for line in lines), encoding="utf-8")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
