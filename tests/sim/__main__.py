"""`python -m tests.sim`: histories, planted faults, one seed replayed, the long run."""

import argparse
import os
import sys

from tests.sim import beginnings, page, run
from tests.sim.history import Found
from tests.sim.run import Figures


def main() -> None:
    """Run what was asked for, and end with one line of figures."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        # Only a new process goes through sets of texts in the same order each time.
        again = [sys.executable, "-m", "tests.sim", *sys.argv[1:]]
        os.execve(sys.executable, again, {**os.environ, "PYTHONHASHSEED": "0"})  # noqa: S606 - ourselves
    asked = _asked()
    if asked.replay is not None:
        _replay(asked.replay)
        return
    if asked.long:
        sys.exit(not page.long_run(asked.first, asked.histories, asked.workers, asked.part))
    began = run.clock()
    hunted = {} if asked.no_mutants else run.hunt_all(asked.workers)
    figures = Figures()
    for part in run.many(asked.first, asked.histories, asked.workers):
        figures.add(part)
        if asked.progress and figures.histories % asked.progress < run.CHUNK:
            run.say(run.line_of(figures, hunted, run.clock() - began))
    run.show(figures, hunted)
    run.say(run.line_of(figures, hunted, run.clock() - began))
    if figures.broken or any(seed < 0 for seed, _ in hunted.values()):
        sys.exit(1)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--histories", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--replay", type=int, help="live one seed again and tell its story")
    parser.add_argument("--long", action="store_true", help="in parts, and write the page")
    parser.add_argument("--part", type=int, default=50_000, help="of a long run, kept and told")
    parser.add_argument("--no-mutants", action="store_true")
    parser.add_argument("--progress", type=int, default=0, help="a line after so many histories")
    return parser.parse_args()


def _replay(seed: int) -> None:
    assert run.ready()
    told = beginnings.history_of(seed)
    try:
        told.live()
    except Found as found:
        run.say(str(found))
        sys.exit(1)
    run.say("\n".join([f"seed {seed}", *told.story, "held"]))


if __name__ == "__main__":
    main()
