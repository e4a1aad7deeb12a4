"""A rolling restart under load: every process ends by SIGTERM in turn, and nothing is lost."""

import asyncio
import logging
import os
import signal
import time
from dataclasses import dataclass, field

from deploy.local.stack import NOUNS, Stack
from tests.drill.drill import Plan
from tests.eventually import eventually
from tests.faults.harness import Load, platform, require_balanced

BEGIN_AT = 20
"""Commands after which the first process is restarted."""
UP_SECONDS_MAX = 90.0


@dataclass(slots=True)
class Rolled:
    """What came of it: one line."""

    restarted: list[str] = field(default_factory=list)
    ended_with: dict[str, int] = field(default_factory=dict)
    commands: int = 0
    commands_meanwhile: int = 0
    asked_again: int = 0
    slowest_seconds: float = 0.0
    unbalanced_fen: int = 0
    parked_events: int = 0

    def __str__(self) -> str:
        return (
            f"rolling: restarted={len(self.restarted)} commands={self.commands}"
            f" commands_meanwhile={self.commands_meanwhile} asked_again={self.asked_again}"
            f" failed=0 slowest_restart_s={self.slowest_seconds:.1f}"
            f" unbalanced_fen={self.unbalanced_fen} parked_events={self.parked_events}"
        )


class _Ends(logging.Handler):
    """What the supervisor says of processes that ended: the name and the code."""

    def __init__(self, codes: dict[str, int]) -> None:
        super().__init__()
        self._codes = codes

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the code of `%s ended with %d; restart in ...`."""
        if isinstance(record.args, tuple) and "ended with" in record.msg:
            name, code, *_ = record.args
            assert isinstance(code, int)
            self._codes[str(name)] = code


async def run(plan: Plan) -> Rolled:
    """
    Restart all of a platform of one process each while a county's year is lived on it.

    A command that is refused for any reason but that a process is away ends the year, and this.
    """
    done = Rolled()
    ends = _Ends(done.ended_with)
    logging.getLogger("deploy.local.processes").addHandler(ends)
    try:
        async with (
            platform(one_process_each=True) as stack,
            Load(stack, seed=plan.seed, scale=plan.scale) as load,
        ):
            living = asyncio.create_task(load.live())
            try:
                await _commands(load, living)
                before = load.commands
                for noun in NOUNS:
                    await _restart(stack, noun, done)
                done.commands_meanwhile = load.commands - before
                outcome = await living
            finally:
                living.cancel()
    finally:
        logging.getLogger("deploy.local.processes").removeHandler(ends)
    require_balanced(outcome)
    done.commands, done.asked_again = outcome.commands, outcome.retries
    done.unbalanced_fen = outcome.books.unbalanced_fen
    done.parked_events = outcome.books.parked_events
    assert done.ended_with == dict.fromkeys(NOUNS, 0), done.ended_with
    assert done.commands_meanwhile > 0, "nobody asked for anything meanwhile"
    return done


async def _commands(load: Load, living: "asyncio.Task[object]") -> None:
    async def reached() -> bool:
        return load.commands >= BEGIN_AT or living.done()

    await eventually(reached, seconds_max=300)
    assert not living.done(), "the year was over before the first restart"


async def _restart(stack: Stack, noun: str, done: Rolled) -> None:
    """SIGTERM, and wait until its successor serves."""
    supervisor, began = stack.supervisor, time.monotonic()
    pid, restarts = supervisor.pid(noun), supervisor.restarts(noun)
    assert pid is not None
    os.kill(pid, signal.SIGTERM)

    async def again() -> bool:
        return supervisor.restarts(noun) > restarts

    await eventually(again, seconds_max=UP_SECONDS_MAX)
    done.restarted.append(noun)
    done.slowest_seconds = max(done.slowest_seconds, time.monotonic() - began)
