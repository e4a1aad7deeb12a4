"""`python -m tests.sim`: histories of the sagas, planted faults, one seed replayed, the long run."""

import argparse
import os
import sys

from tests.sim import run
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
    began = run.clock()
    hunted = {} if asked.no_mutants else run.hunt_all(asked.workers)
    figures = Figures()
    for part in run.many(asked.first, asked.histories, asked.workers):
        figures.add(part)
        if asked.progress and figures.histories % asked.progress < run.CHUNK:
            print(run.line_of(figures, hunted, run.clock() - began), flush=True)
    run.show(figures, hunted)
    print(run.line_of(figures, hunted, run.clock() - began))
    if figures.broken or any(seed < 0 for seed, _ in hunted.values()):
        sys.exit(1)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--histories", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--replay", type=int, help="live one seed again and tell its story")
    parser.add_argument("--no-mutants", action="store_true")
    parser.add_argument("--progress", type=int, default=0, help="a line after so many histories")
    return parser.parse_args()


def _replay(seed: int) -> None:
    from tests.sim import history

    assert run.ready()
    told = history.history_of(seed)
    try:
        told.live()
    except history.Found as found:
        print(found)
        sys.exit(1)
    print(f"seed {seed}", *told.story, "held", sep="\n")


if __name__ == "__main__":
    main()
