"""Waiting for a truth, bounded: the only way a test may wait."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(
    probe: Callable[[], Awaitable[T]],
    holds: Callable[[T], bool] = bool,
    *,
    seconds_max: float = 30.0,
) -> T:
    """Ask until the answer holds; the last answer is in the failure."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds_max
    while True:
        answer = await probe()
        if holds(answer):
            return answer
        if loop.time() > end:
            raise AssertionError(f"not within {seconds_max:g} s; the last answer was {answer!r}")
        await asyncio.sleep(0.02)


def at_least(least: int) -> Callable[[int], bool]:
    """Whether a count has got so far."""
    return lambda count: count >= least
