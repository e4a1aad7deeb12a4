"""The saga by DBOS: a workflow of three steps, kept in PostgreSQL."""

import asyncio
import sys
import time

import psycopg
import saga
from dbos import DBOS

_connections: list[psycopg.AsyncConnection] = []


@DBOS.step()
async def step(name: str, claim_id: int) -> None:
    """One of the three."""
    connection = _connections.pop()
    try:
        await connection.execute(saga.STEPS[name], (claim_id,))
    finally:
        _connections.append(connection)


@DBOS.workflow()
async def settle(claim_id: int) -> None:
    """A settlement."""
    for name in saga.STEPS:
        await step(name, claim_id)


async def main(dsn: str, count: int) -> None:
    """Settle all, so many at once."""
    saga.begin(dsn, count)
    gate = asyncio.Semaphore(saga.AT_ONCE)
    _connections.extend([await saga.connected(dsn) for _ in range(saga.AT_ONCE)])

    async def one(claim_id: int) -> None:
        async with gate:
            await settle(claim_id)

    began = time.perf_counter()
    await asyncio.gather(*(one(claim_id) for claim_id in range(1, count + 1)))
    saga.end(dsn, count, time.perf_counter() - began)


if __name__ == "__main__":
    DBOS(
        config={
            "name": "bench",
            "system_database_url": sys.argv[1],
            "run_admin_server": False,
            "log_level": "ERROR",
        }
    )
    DBOS.launch()
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
    DBOS.destroy()
