"""`python -m tests.drill [rolling]`: the drill, or a rolling restart, and one line of figures."""

import logging
import sys
from collections.abc import Callable
from typing import Any

import uvloop

from tests.drill import drill, rolling


def main(words: list[str]) -> int:
    """Run it; not 0 when something was unbalanced or parked."""
    logging.basicConfig(level=logging.WARNING)
    plan = drill.plan_of_environment()
    what: Callable[[drill.Plan], Any] = rolling.run if words == ["rolling"] else drill.run
    figures = uvloop.run(what(plan))
    sys.stdout.write(f"{figures}\n")
    return 0 if figures.unbalanced_fen == 0 and figures.parked_events == 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
