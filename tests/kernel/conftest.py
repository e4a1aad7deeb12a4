"""The farm's two nouns on real servers, and their parts as a process would run them."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Protocol

import pytest_asyncio

from tests.conftest import MakeSchema
from tests.servers import Schema

FARM = "tests.kernel.farm"


@pytest_asyncio.fixture(loop_scope="session")
async def fields(schema: MakeSchema) -> Schema:
    """Who says."""
    return await schema("fields", package=FARM)


@pytest_asyncio.fixture(loop_scope="session")
async def barns(schema: MakeSchema) -> Schema:
    """Who hears."""
    return await schema("barns", package=FARM)


class Start(Protocol):
    """`start(relay.run(client))`: a part that runs until the test ends."""

    def __call__(self, part: Coroutine[Any, Any, None]) -> asyncio.Task[None]: ...


@pytest_asyncio.fixture(loop_scope="session")
async def start() -> AsyncIterator[Start]:
    """Runs parts beside the test; one that failed by itself fails the test."""
    running: list[asyncio.Task[None]] = []

    def start_part(part: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        running.append(asyncio.create_task(part))
        return running[-1]

    yield start_part
    failed = [task.exception() for task in running if task.done() and not task.cancelled()]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert failed == []
