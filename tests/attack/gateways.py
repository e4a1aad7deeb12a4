"""A second gateway before the same services, in this process, where a test may take a wall down."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from deploy.local import places
from deploy.local.stack import Stack
from gateway import access
from gateway.__main__ import serve
from gateway.settings import GatewaySettings
from services.kernel.settings import PlatformSettings
from tests.eventually import eventually


def let_everybody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the gateway's decision by yes; only in this process, only for this test."""
    monkeypatch.setattr(access, "require", lambda _role, _method: None)


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
    changes = {"grpc_address": address, "institutions_path": None}
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
