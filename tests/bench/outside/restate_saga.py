"""The saga by Restate: a handler of three steps, its journal in a server of its own."""

import asyncio
import os
import socket
import sys
import tempfile
import time
from contextlib import suppress

import httpx
import hypercorn.asyncio
import hypercorn.config
import psycopg
import restate
import saga

PROGRAM = "restate-server"
SECONDS_MAX = 60.0
_connections: list[psycopg.AsyncConnection] = []

service = restate.Service("settlement")


@service.handler()
async def settle(context: restate.Context, claim_id: int) -> None:
    """A settlement."""
    for name in saga.STEPS:
        await context.run_typed(name, _step, name=name, claim_id=claim_id)


async def _step(name: str, claim_id: int) -> None:
    connection = _connections.pop()
    try:
        await connection.execute(saga.STEPS[name], (claim_id,))
    finally:
        _connections.append(connection)


def _ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


async def main(dsn: str, count: int) -> None:
    """Start the server, register the handler, settle all, so many at once."""
    saga.begin(dsn, count)
    _connections.extend([await saga.connected(dsn) for _ in range(2 * saga.AT_ONCE)])
    ingress, admin, node, own = _ports(4)
    with tempfile.TemporaryDirectory() as folder:
        server = await asyncio.create_subprocess_exec(
            PROGRAM,
            cwd=folder,
            env=os.environ
            | {
                "RESTATE_BASE_DIR": folder,
                "RESTATE_DISABLE_TELEMETRY": "true",
                "RESTATE_LOG_FILTER": "error",
                "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ingress}",
                "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
                "RESTATE_BIND_ADDRESS": f"127.0.0.1:{node}",
                "RESTATE_ADVERTISED_ADDRESS": f"http://127.0.0.1:{node}",
            },
            stdout=asyncio.subprocess.DEVNULL,
        )
        over = asyncio.Event()
        settings = hypercorn.config.Config()
        settings.bind = [f"127.0.0.1:{own}"]
        settings.errorlog = None
        serving = asyncio.create_task(
            hypercorn.asyncio.serve(restate.app([service]), settings, shutdown_trigger=over.wait)
        )
        try:
            async with httpx.AsyncClient(timeout=SECONDS_MAX) as client:
                await _register(client, admin, own)
                seconds = await _settled(client, ingress, count)
        finally:
            over.set()
            await serving
            server.terminate()
            await server.wait()
    saga.end(dsn, count, seconds)


async def _register(client: httpx.AsyncClient, admin: int, own: int) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            with suppress(httpx.TransportError):
                answer = await client.post(
                    f"http://127.0.0.1:{admin}/deployments",
                    json={"uri": f"http://127.0.0.1:{own}"},
                )
                if answer.is_success:
                    return
            await asyncio.sleep(0.2)


async def _settled(client: httpx.AsyncClient, ingress: int, count: int) -> float:
    gate = asyncio.Semaphore(saga.AT_ONCE)

    async def one(claim_id: int) -> None:
        async with gate:
            url = f"http://127.0.0.1:{ingress}/settlement/settle"
            (await client.post(url, json=claim_id)).raise_for_status()

    began = time.perf_counter()
    await asyncio.gather(*(one(claim_id) for claim_id in range(1, count + 1)))
    return time.perf_counter() - began


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
