"""A process: start its parts together, stop them in order, lose nothing at SIGTERM."""

import asyncio
import gc
import signal
from collections.abc import Awaitable, Sequence

import structlog

from services.kernel import telemetry

log = structlog.get_logger(__name__)


async def run(*parts: Awaitable[None]) -> None:
    """
    Run parts until one fails or this is cancelled; then cancel the others and wait for them.

    Give them in the order in which they should stop: doors before what stands behind them.
    """
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
            raise RuntimeError("a part of the process ended by itself")
    finally:
        await _stop(tasks)


async def _stop(tasks: Sequence["asyncio.Future[None]"]) -> None:
    for task in tasks:
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            continue
        except Exception:
            log.exception("part_fails_while_stopping")


def heed_cancel() -> None:
    """
    End this task if it was asked to end and a library did not pass that on.

    Before Python 3.12 `asyncio.wait_for` swallows a cancellation that meets its result (gh-86296):
    a loop around it calls this in every round, or a stop under load may wait for it for ever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def until_signalled(work: Awaitable[None]) -> None:
    """Run until SIGTERM or SIGINT, then stop gracefully."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        log.info("stopped")
    finally:
        await asyncio.to_thread(telemetry.flush_traces)


def rest_collector() -> None:
    """
    Let the garbage collector look seldom, and never at what was loaded for good.

    A batch of five hundred makes some ten thousand objects that are gone, by their counts, when it
    ends; collecting in between cost a seventh of a busy platform's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 50)


def main(work: Awaitable[None]) -> None:
    """The entry of every process: uvloop, until signalled."""
    import uvloop

    async def outer() -> None:
        await until_signalled(work)

    rest_collector()
    uvloop.run(outer())
