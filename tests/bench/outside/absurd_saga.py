"""The saga by Absurd: a task of three steps, kept in PostgreSQL."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import saga
from absurd_sdk import AsyncAbsurd


async def main(dsn: str, count: int) -> None:
    """Spawn all, then settle them with so many workers at once."""
    program = str(Path(sys.executable).with_name("absurdctl"))
    subprocess.run([program, "init", "-d", dsn], check=True, stdout=subprocess.DEVNULL)  # noqa: ASYNC221 - before anything runs
    saga.begin(dsn, count)
    first = AsyncAbsurd(dsn)
    await first.create_queue()
    settled = asyncio.Semaphore(0)
    workers = [await _worker(dsn, settled) for _ in range(saga.AT_ONCE)]
    for claim_id in range(1, count + 1):
        await workers[0].spawn("settle", {"claim_id": claim_id})
    began = time.perf_counter()
    tasks = [asyncio.create_task(each.start_worker(poll_interval=0.01)) for each in workers]
    for _ in range(count):
        await settled.acquire()
    seconds = time.perf_counter() - began
    for each in workers:
        each.stop_worker()
    await asyncio.gather(*tasks)
    saga.end(dsn, count, seconds)


async def _worker(dsn: str, settled: asyncio.Semaphore) -> AsyncAbsurd:
    worker = AsyncAbsurd(dsn)
    connection = await saga.connected(dsn)

    @worker.register_task(name="settle")
    async def settle(params: Any, context: Any) -> None:
        for name, statement in saga.STEPS.items():

            async def step(statement: str = statement) -> bool:
                await connection.execute(statement, (params["claim_id"],))
                return True

            await context.step(name, step)
        settled.release()

    return worker


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
