"""`python -m tests.drill [rolling]`: the drill, or a rolling restart, and one line of figures."""

import logging
import sys

import uvloop

from tests.drill import drill, rolling


def main(words: list[str]) -> int:
    """Run it; not 0 when something was unbalanced or parked."""
    logging.basicConfig(level=logging.WARNING)
    plan = drill.plan_of_environment()
    figures: drill.Figures | rolling.Rolled
    if words == ["rolling"]:
        figures = uvloop.run(rolling.run(plan))
    else:
        figures = uvloop.run(drill.run(plan))
    sys.stdout.write(f"{figures}\n")
    return 0 if figures.unbalanced_fen == 0 and figures.parked_events == 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
