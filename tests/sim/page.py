"""The long run in parts that can be stopped, and the page that says what it was."""

import json
import os
import platform
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.sim import run
from tests.sim.run import Figures

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "evidence" / "sim.md"
STATE = ROOT / ".liandong" / "sim" / "long.json"

_PAGE = """# Simulation of the sagas

Written by `make sim-long`; the last run went from seed {first} to seed {last}.

    {line}

{histories} histories of {steps} steps were lived by {workers} processes on {machine}, Python
{python}, in {seconds:.0f} seconds of work ({rate:.0f} histories a second); {wanted} were asked for.
The code was that of commit `{commit}`.

## What is simulated

The event handlers and operations of loans, claims and funds run as they are; only their functions
of SQL are exchanged for the same on rows in memory (`tests/sim/stores_*.py`), with transactions,
row locks, unique keys and checks. Of the kernel the inbox's decision (`inbox.arrange` and
`inbox.runs`) is the real one; the outbox, the stream, the consumer and the request ids follow its
contract. Not in it: the gateway, the wire of commands, premium and the insured list, SQL itself.
Those are tried on real servers by `tests/sagas` and `tests/faults`.

A seed decides what institutions ask, what is delivered, doubled, shuffled or lost with its
stream, where a process dies around a commit, which two transactions take turns at their locks,
and how days pass in each service.

## What happened in it

| What | How often |
|---|---:|
{counts}

## What was held against it

After every transaction: each loan, payout, instruction, receivable, fund, cover and case against
its journal and its rows (G1-G6, F11-F14 of the design's fault table), and the sequence of every
event (G9). At rest: every outbox is heard everywhere (G7), services agree fen by fen (G5), every
book worked again from its first day is the loan (G4), what was answered is kept, nothing is under
way (L1), and a third of the histories hears old events again without effect (G8).

Violations: {violations}.

{stories}

## Planted faults

Each is one countermeasure switched off, and was looked for from seed 0 on, in at most
{seeds_max} seeds.

| Fault | Found by seed | By the rule |
|---|---:|---|
{mutants}

A seed is lived again with `python -m tests.sim --replay SEED`.
"""


def state_of(first: int) -> dict[str, Any]:
    """Where the last run stopped; a fresh one when its code was another."""
    if STATE.exists():
        held: dict[str, Any] = json.loads(STATE.read_text())
        if held["commit"] == commit() and held["first"] == first:
            return held
    return {"commit": commit(), "first": first, "seconds": 0.0, "figures": _plain(Figures())}


def _plain(figures: Figures) -> dict[str, Any]:
    return {
        "histories": figures.histories,
        "steps": figures.steps,
        "counts": dict(figures.counts),
        "broken": [list(each) for each in figures.broken],
    }


def keep(held: Mapping[str, Any]) -> None:
    """Write down how far it has come."""
    STATE.parent.mkdir(parents=True, exist_ok=True)
    half = STATE.with_suffix(".half")
    half.write_text(json.dumps(held))
    half.replace(STATE)


def commit() -> str:
    """The commit that is checked out, as git has written it down."""
    where = ROOT / ".git"
    if where.is_file():
        where = Path(where.read_text().removeprefix("gitdir:").strip())
    head = (where / "HEAD").read_text().strip()
    if not head.startswith("ref: "):
        return head[:12]
    name = head.removeprefix("ref: ")
    common = where / "commondir"
    base = (where / common.read_text().strip()).resolve() if common.exists() else where
    for line in ((base / name), (base / "packed-refs")):
        if line.exists():
            text = line.read_text()
            found = [row.split()[0] for row in text.splitlines() if row.endswith(name)]
            return (found[0] if found else text.strip())[:12]
    return "unknown"


def long_run(first: int, wanted: int, workers: int, part: int) -> bool:
    """Go on to so many histories, part by part; whether all of it held."""
    held = state_of(first)
    said = held["figures"]
    broken = [(seed, story) for seed, story in said["broken"]]
    figures = Figures(said["histories"], said["steps"], Counter(said["counts"]), broken)
    began = run.clock() - held["seconds"]
    hunted = run.hunt_all(workers)
    while figures.histories < wanted:
        count = min(part, wanted - figures.histories)
        for done in run.many(first + figures.histories, count, workers):
            figures.add(done)
        held |= {"seconds": run.clock() - began, "figures": _plain(figures)}
        keep(held)
        write(held, figures, hunted, wanted, workers)
        run.say(run.line_of(figures, hunted, run.clock() - began))
    run.show(figures, hunted)
    write(held, figures, hunted, wanted, workers)
    run.say(run.line_of(figures, hunted, held["seconds"]))
    return not figures.broken and all(seed >= 0 for seed, _ in hunted.values())


def write(
    held: Mapping[str, Any],
    figures: Figures,
    hunted: Mapping[str, tuple[int, str]],
    wanted: int,
    workers: int,
) -> None:
    """The page of what was run so far."""
    seconds = float(held["seconds"])
    first = int(held["first"])
    text = _PAGE.format(
        first=first,
        last=first + figures.histories - 1,
        line=run.line_of(figures, dict(hunted), seconds),
        histories=f"{figures.histories:,}",
        steps=f"{figures.steps:,}",
        workers=workers,
        machine=f"{os.cpu_count()} cores ({platform.machine()})",
        python=platform.python_version(),
        seconds=seconds,
        rate=figures.histories / max(seconds, 1e-9),
        wanted=f"{wanted:,}",
        commit=held["commit"],
        counts="\n".join(
            f"| {name} | {count:,} |" for name, count in sorted(figures.counts.items())
        ),
        violations=len(figures.broken),
        stories="\n\n".join(f"```\n{story}\n```" for _, story in sorted(figures.broken)[:3]),
        seeds_max=f"{run.MUTANT_SEEDS_MAX:,}",
        mutants="\n".join(
            f"| `{name}` | {seed} | {rule_of(line)} |" for name, (seed, line) in hunted.items()
        ),
    )
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n")


def rule_of(line: str) -> str:
    """The beginning of what was seen, short enough for a table."""
    plain = line.splitlines()[0].replace("|", "/") if line else "nobody"
    return plain if len(plain) < 90 else f"{plain[:87]}..."
