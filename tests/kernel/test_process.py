"""A process's parts end when they are asked to, whatever a library makes of the request."""

import asyncio

import pytest

from services.kernel import process

ROUNDS = 8


async def wait_turns(count: int) -> None:
    """Let the event loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)


async def ends_when_cancelled(*, after_turns: int, heed: bool) -> bool:
    """Cancel a loop around `wait_for` so many turns of the event loop after its result is set."""
    some = asyncio.Event()
    rounds = 0

    async def part() -> None:
        nonlocal rounds
        while rounds < ROUNDS:
            if heed:
                process.heed_cancel()
            await asyncio.wait_for(some.wait(), 10)
            some.clear()
            rounds += 1
            some.set()

    task = asyncio.create_task(part())
    await wait_turns(1)
    some.set()
    await wait_turns(after_turns)
    task.cancel()
    await asyncio.wait([task], timeout=10)
    assert task.done()
    return task.cancelled()


@pytest.mark.parametrize("after_turns", range(6))
async def test_a_loop_that_heeds_ends_at_whatever_moment_it_is_cancelled(after_turns: int) -> None:
    assert await ends_when_cancelled(after_turns=after_turns, heed=True)


async def test_the_moment_at_which_a_cancellation_is_lost_exists() -> None:
    ended = [await ends_when_cancelled(after_turns=turns, heed=False) for turns in range(6)]

    assert not all(ended), "nothing is swallowed any more: heed_cancel may go"


async def test_who_was_not_asked_to_end_goes_on() -> None:
    process.heed_cancel()
