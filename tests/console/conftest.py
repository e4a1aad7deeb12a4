"""One platform, one county and one browser for all tests of the console."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.console.house import FIGURES, House, a_house


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def lived(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A county that lived its year."""
    async with a_house(tmp_path_factory.mktemp("console")) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def house(lived: House) -> AsyncIterator[House]:
    """The county; what a test opened is closed after it."""
    yield lived
    await lived.shut()


def pytest_unconfigure() -> None:
    """One line of figures, the last that is printed."""
    if FIGURES:
        said = " ".join(f"{name}={value}" for name, value in FIGURES.items())
        print(f"console: {said}")  # noqa: T201
