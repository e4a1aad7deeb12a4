"""`python -m tests.drill`: the drill, and one line of figures."""

import logging
import sys

import uvloop

from tests.drill import drill


def main() -> int:
    """Run it; not 0 when something was unbalanced or parked."""
    logging.basicConfig(level=logging.WARNING)
    figures = uvloop.run(drill.run(drill.plan_of_environment()))
    sys.stdout.write(f"{figures}\n")
    return 0 if figures.unbalanced_fen == 0 and figures.parked_events == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
