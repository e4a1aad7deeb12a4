"""Histories by the hundred thousand: on every core, with their figures, and with planted faults."""

import gc
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache

import pytest

from tests.sim import beginnings, world
from tests.sim.history import Found
from tests.sim.mutants import MUTANTS

CHUNK = 1_000
MUTANT_SEEDS_MAX = 1_000
"""A planted fault must be found within so many seeds (faults.md, D)."""
_FOR_EVER = ExitStack()
SHOWN_MAX = 5
"""So many broken histories are told in full."""


@dataclass
class Figures:
    """What some histories came to."""

    histories: int = 0
    steps: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    broken: list[tuple[int, str]] = field(default_factory=list)
    """Seed and story of each history that broke a rule."""

    def add(self, other: "Figures") -> None:
        """Both together."""
        self.histories += other.histories
        self.steps += other.steps
        self.counts.update(other.counts)
        self.broken += other.broken


@cache
def ready() -> bool:
    """This process is a simulation from now on, with every beginning made."""
    require_one_order()
    _FOR_EVER.enter_context(world.installed())
    for place in range(beginnings.TEMPLATES):
        beginnings.template(place)
    # What lives until the end need not be looked at; what a history leaves is freed by count.
    gc.collect()
    gc.freeze()
    gc.disable()
    return True


def require_one_order() -> None:
    """Sets of texts are gone through in an order of their own in each process, but for this."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        raise SystemExit(
            "a seed replays exactly only with PYTHONHASHSEED=0: use python -m tests.sim"
        )


def live(first: int, count: int) -> Figures:
    """The histories of some seeds, one after the other."""
    assert ready()
    figures = Figures()
    for seed in range(first, first + count):
        told = beginnings.history_of(seed)
        try:
            told.live()
        except Found as found:
            figures.broken.append((seed, str(found)))
        figures.histories += 1
        figures.steps += told.steps
        figures.counts.update(told.counts)
    gc.collect()
    return figures


def hunt(name: str) -> tuple[str, int, str]:
    """The first seed that finds a planted fault, and what it saw; -1 when none of them does."""
    assert ready()
    patch = pytest.MonkeyPatch()
    try:
        MUTANTS[name](patch)
        for seed in range(MUTANT_SEEDS_MAX):
            try:
                beginnings.history_of(seed).live()
            except Found as found:
                return name, seed, found.lines[0]
    finally:
        patch.undo()
        gc.collect()
    return name, -1, ""


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


def many(first: int, count: int, workers: int) -> Iterator[Figures]:
    """The histories of many seeds on several processes, a chunk at a time as each is done."""
    chunks = [
        (start, min(CHUNK, first + count - start)) for start in range(first, first + count, CHUNK)
    ]
    with _pool(workers) as pool:
        for done in as_completed([pool.submit(live, *chunk) for chunk in chunks]):
            yield done.result()


def hunt_all(workers: int, names: Sequence[str] = tuple(MUTANTS)) -> dict[str, tuple[int, str]]:
    """By planted fault, the first seed that finds it and what it saw."""
    with _pool(workers) as pool:
        found = [each.result() for each in [pool.submit(hunt, name) for name in names]]
    return {name: (seed, line) for name, seed, line in found}


def line_of(figures: Figures, hunted: dict[str, tuple[int, str]], seconds: float) -> str:
    """The one line of figures."""
    alive = [name for name, (seed, _) in hunted.items() if seed < 0]
    slowest = max((seed for seed, _ in hunted.values()), default=-1)
    return (
        f"sim: histories={figures.histories} steps={figures.steps} "
        f"races={figures.counts['races']} deaths={figures.counts['died']} "
        f"violations={len(figures.broken)} mutants={len(hunted) - len(alive)}/{len(hunted)} "
        f"slowest_mutant_seed={slowest} seconds={seconds:.0f}"
    )


def show(figures: Figures, hunted: dict[str, tuple[int, str]]) -> None:
    """The stories of broken histories, and the planted faults that nobody found."""
    for _, story in sorted(figures.broken)[:SHOWN_MAX]:
        sys.stderr.write(f"{story}\n\n")
    for name, (seed, _) in hunted.items():
        if seed < 0:
            sys.stderr.write(f"mutant {name} lives after {MUTANT_SEEDS_MAX} seeds\n")


def say(line: str) -> None:
    """A line of the run."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def clock() -> float:
    """Seconds, to say how long it took: no history looks at them."""
    return time.monotonic()
