"""A second gateway before the same services, in this process, where a test may take a wall down."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import grpc
import pytest

from deploy.local import places
from deploy.local.stack import SERVICES, Stack
from gateway import access
from gateway.__main__ import serve
from gateway.judge import Judge
from gateway.settings import GatewaySettings
from services.kernel.settings import PlatformSettings
from tests.eventually import eventually


def let_everybody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the gateway's decisions by yes; only in this process, only for this test."""
    monkeypatch.setattr(access, "require", lambda _role, _method: None)
    monkeypatch.setattr(access, "require_purpose", lambda _method, _purpose: None)
    monkeypatch.setattr(Judge, "concerns", lambda _judge, _institution, _method: False)


_WALLED = """
SELECT c.relname FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace
    AND c.relkind IN ('r', 'p') AND c.relrowsecurity ORDER BY 1
"""


@asynccontextmanager
async def without_row_walls(stack: Stack) -> AsyncIterator[int]:
    """Row-level security off on every table of every service, by its owner; how many there are."""
    down: list[tuple[str, str]] = []
    try:
        for noun in SERVICES:
            for (table,) in await _as_owner(stack, noun, _WALLED):
                await _as_owner(stack, noun, f'ALTER TABLE "{table}" DISABLE ROW LEVEL SECURITY')
                down.append((noun, table))
        yield len(down)
    finally:
        for noun, table in down:
            await _as_owner(stack, noun, f'ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY')


async def _as_owner(stack: Stack, noun: str, sql: str) -> list[Any]:
    connection = await asyncpg.connect(
        stack.postgres.dsn(noun, "owner"), server_settings={"search_path": noun}
    )
    try:
        found: list[Any] = await connection.fetch(sql)
        return found
    finally:
        await connection.close()


def _values(stack: Stack, prefix: str) -> dict[str, Any]:
    found = {
        name.removeprefix(prefix).lower(): value
        for name, value in stack.environment().items()
        if name.startswith(prefix)
    }
    return {name: json.loads(value) if value[:1] == "{" else value for name, value in found.items()}


@asynccontextmanager
async def a_gateway(stack: Stack) -> AsyncIterator[str]:
    """Its address, while it serves."""
    address = f"127.0.0.1:{places.free_port()}"
    changes = {"grpc_address": address, "public_address": "", "institutions_path": None}
    settings = GatewaySettings(**(_values(stack, "GATEWAY_") | changes))
    platform = PlatformSettings(**(_values(stack, "LIANDONG_") | {"metrics_port": 0}))
    running = asyncio.create_task(serve(settings, platform))
    own = stack.ca.service("operator")
    credentials = grpc.ssl_channel_credentials(
        own.ca.read_bytes(), own.key.read_bytes(), own.cert.read_bytes()
    )
    try:
        async with grpc.aio.secure_channel(address, credentials) as channel:

            async def serves() -> bool:
                if running.done():
                    running.result()
                try:
                    await asyncio.wait_for(channel.channel_ready(), 0.5)
                except TimeoutError:
                    return False
                return True

            await eventually(serves, seconds_max=60)
        yield address
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
