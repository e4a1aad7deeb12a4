"""`python -m tests.bench.growth`: the same runs at a tenth, once and twice the size, plotted."""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import matplotlib as mpl
import typer
import uvloop
from matplotlib import pyplot as plt
from rich.console import Console

from tests import servers
from tests.bench import imports, loans, relay, rescores
from tests.bench.figures import Figure, machine
from tests.bench.rig import Rig, running
from tests.bench.sizes import AMOUNTS, Amounts, Size
from tests.servers import PostgresServer, Schemas

FACTORS = (0.1, 1.0, 2.0)
JOB_GOAL = 1.1
COMMAND_GOAL = 0.1
JOBS_PER_SECOND = {"relay, events", "import, lines", "re-score, new rules", "day close, loans"}
COMMANDS = 150
"""Single repayments whose median counts, at each size."""

console = Console()


@dataclass(frozen=True, slots=True)
class Grown:
    """How long one thing took at each size."""

    name: str
    kind: str
    """`job` or `command`."""
    points: tuple[tuple[float, float], ...]
    """Size and seconds."""

    @property
    def exponent(self) -> float:
        """The slope through the points, both axes in logarithms: 1 is in proportion."""
        xs = [math.log(size) for size, _ in self.points]
        ys = [math.log(seconds) for _, seconds in self.points]
        x, y = sum(xs) / len(xs), sum(ys) / len(ys)
        over = sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True))
        return over / sum((a - x) ** 2 for a in xs)

    @property
    def goal(self) -> float:
        """At most this."""
        return JOB_GOAL if self.kind == "job" else COMMAND_GOAL


async def measure(amounts: Amounts, rounds: int) -> list[Grown]:
    """Jobs of each size on one platform, and a single command among so many loans."""
    jobs: dict[str, list[tuple[float, float]]] = {}
    commands: list[tuple[float, float]] = []
    async with running() as rig:
        for factor in FACTORS:
            sized = amounts.times(factor)
            console.print(f"{factor:g} times as much …")
            for name, size, per_second in await _jobs(rig, sized, rounds):
                jobs.setdefault(name, []).append((size, size / per_second))
            commands.append((sized.loans, await _command(sized.loans)))
    grown = [Grown(name, "job", tuple(points)) for name, points in jobs.items()]
    return [*grown, Grown("a repayment, alone", "command", tuple(commands))]


async def _jobs(rig: Rig, amounts: Amounts, rounds: int) -> list[tuple[str, int, float]]:
    found: list[tuple[Figure, int]] = []
    figures, wrong = await relay.measure(rig, events=amounts.events, rounds=rounds)
    found += [(each, amounts.events) for each in figures]
    figures, off = await imports.measure(
        rig, lines=amounts.lines, villages=amounts.villages, rounds=rounds
    )
    found += [(each, amounts.lines) for each in figures]
    wrong += off
    figures, off = await rescores.measure(
        rig, households=amounts.households, villages=amounts.villages, rounds=rounds
    )
    found += [(each, amounts.households) for each in figures]
    wrong += off
    close, off = await loans.usual_close(amounts.loans, rounds)
    found.append((close, amounts.loans))
    assert wrong + off == 0, "a figure of a run that lost something counts nothing"
    return [(each.name, size, each.ours) for each, size in found if each.name in JOBS_PER_SECOND]


async def _command(count: int) -> float:
    """Seconds of one repayment among so many loans, the median."""
    async with servers.postgres_from_wheel() as own:
        schemas = Schemas(PostgresServer(own.superuser_dsn("postgres")))
        try:
            book = await loans.made(schemas, count)
            taken = []
            for loan_id in book.loan_ids[:COMMANDS]:
                began = time.perf_counter()
                await book.repay_one(loan_id)
                taken.append(time.perf_counter() - began)
            await loans.finish(book)
        finally:
            await schemas.close()
    return sorted(taken)[len(taken) // 2]


def plot(grown: Sequence[Grown], path: Path, title: str) -> None:
    """A picture of how cost grows, both axes in logarithms."""
    mpl.use("Agg")
    figure, axes = plt.subplots(figsize=(7, 4.5))
    for each in grown:
        sizes, seconds = zip(*each.points, strict=True)
        base = each.points[0][0]
        at = [size / base / 10 for size in sizes]
        axes.loglog(at, seconds, marker="o", label=f"{each.name}: {each.exponent:.2f}")
    axes.set_xlabel("size (1 = the run's own)")
    axes.set_ylabel("seconds")
    axes.set_title(title)
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend(title="exponent", fontsize="small")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": ""})
    plt.close(figure)


def _write(grown: Sequence[Grown], folder: Path, facts: dict[str, str]) -> None:
    held = {"facts": facts, "grown": [asdict(g) | {"exponent": g.exponent} for g in grown]}
    (folder / "growth.json").write_text(json.dumps(held, indent=2) + "\n", encoding="utf-8")
    rows = [
        f"| {g.name} | {g.kind} | {' · '.join(f'{s:,.0f}: {t:.3g} s' for s, t in g.points)} "
        f"| {g.exponent:.2f} | ≤ {g.goal:g} |"
        for g in grown
    ]
    lines = [
        "# Growth",
        "",
        "Written by `make bench-growth`; do not edit. The same runs at a tenth, once and twice the",
        "size; the exponent is the slope in logarithms: 1 is in proportion, 0 is no growth.",
        "",
        "| what | kind | size: seconds | exponent | goal |",
        "| --- | --- | --- | --- | --- |",
        *rows,
        "",
        "![jobs](growth-jobs.png) ![commands](growth-commands.png)",
        "",
        *(f"- {name}: {text}" for name, text in facts.items()),
        "",
    ]
    (folder / "growth.md").write_text("\n".join(lines), encoding="utf-8")


def main(
    *,
    size: Annotated[Size, typer.Option(help="What 1 is.")] = Size.SHORT,
    times: Annotated[float, typer.Option(min=0.001, help="So many times as much.")] = 1.0,
    rounds: Annotated[int, typer.Option(min=1, help="Of each; the median counts.")] = 1,
    folder: Annotated[Path, typer.Option(help="Where pages and pictures go.")] = Path(
        "docs/evidence"
    ),
    note: Annotated[str, typer.Option(help="Said on the page: what else ran.")] = "",
) -> None:
    """Run at three sizes, plot, print the exponents."""
    began = time.perf_counter()
    facts = machine() | {"size": f"1 is {times:g} of {size}; {rounds} rounds"}
    if note:
        facts["beside it"] = note
    grown = uvloop.run(measure(AMOUNTS[size].times(times), rounds))
    folder.mkdir(parents=True, exist_ok=True)
    for kind in ("job", "command"):
        chosen = [each for each in grown if each.kind == kind]
        plot(chosen, folder / f"growth-{kind}s.png", f"How {kind}s grow")
    _write(grown, folder, facts)
    told = " ".join(f"{g.name.replace(' ', '_').replace(',', '')}={g.exponent:.2f}" for g in grown)
    met = sum(each.exponent <= each.goal for each in grown)
    seconds = time.perf_counter() - began
    console.print(
        f"bench-growth: {told} met={met} short={len(grown) - met} seconds={seconds:.0f}",
        soft_wrap=True,
        highlight=False,
    )


if __name__ == "__main__":
    typer.run(main)
