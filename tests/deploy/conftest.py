"""A data folder for each test, removed afterwards with whatever still runs in it."""

import secrets
from collections.abc import AsyncIterator

import pytest_asyncio

from deploy.local import places, processes
from deploy.local.places import DataFolder, Places


@pytest_asyncio.fixture(loop_scope="session")
async def folder() -> AsyncIterator[DataFolder]:
    made = places.find().folder(f"test-{secrets.token_hex(6)}")
    yield made
    await processes.remove_folder(made)


@pytest_asyncio.fixture(loop_scope="session")
async def machine() -> Places:
    return places.find()
