"""One world for all attacks of a session."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.attack import seeding
from tests.attack.world import World, a_world


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Two counties, two lenders, two insurers; built once."""
    spans: Path = tmp_path_factory.mktemp("spans") / "spans.bin"
    async with a_world(spans) as made:
        await seeding.seed(made)
        yield made
