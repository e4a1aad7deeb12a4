"""Fixtures of the fault trials; outside `make faults` their files are left alone."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tests.faults import disks
from tests.faults.county import County, Form, Original
from tests.faults.report import REPORT, Report

ROUNDS_VARIABLE = "LIANDONG_FAULTS_ROUNDS"
"""
How many seeds each kind of fault is tried with.

None in CI: there one platform is killed, cut off and has its letters lost (`test_controls.py`), and
an import is (`test_import.py`), in a few minutes.
"""
ROUNDS = int(os.environ.get(ROUNDS_VARIABLE, "0"))

collect_ignore_glob = [] if ROUNDS else ["test_trials*.py", "test_kills.py", "test_driver.py"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each trial with every seed."""
    if "trial_seed" in metafunc.fixturenames:
        metafunc.parametrize("trial_seed", range(1, ROUNDS + 1))


@pytest.fixture(scope="session")
def report(request: pytest.FixtureRequest) -> Report:
    """The session's report."""
    return request.config.stash.get(REPORT, None) or Report()


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def original() -> AsyncIterator[Original]:
    """The year that every trial has a copy of."""
    async with Original.lived() as lived:
        yield lived


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def no_disks() -> str:
    """Why there are no disks here; empty when there are."""
    return await disks.why_not()


class Shared:
    """One county for many trials: another one as soon as a trial leaves it broken."""

    def __init__(self, original: Original, *, disks: bool) -> None:
        self._original = original
        self._form = Form(disks=disks)
        self._ending = AsyncExitStack()
        self._county: County | None = None

    async def get(self) -> County:
        """A county whose books balance."""
        if self._county is None or not self._county.is_whole:
            await self.close()
            self._county = await self._ending.enter_async_context(self._original.copied(self._form))
        return self._county

    async def close(self) -> None:
        """Stop it."""
        self._county = None
        ending, self._ending = self._ending, AsyncExitStack()
        await ending.aclose()


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def shared(original: Original, no_disks: str) -> AsyncIterator[Shared]:
    """The county that trials share."""
    made = Shared(original, disks=not no_disks)
    try:
        yield made
    finally:
        await made.close()


@pytest_asyncio.fixture(loop_scope="session")
async def county(shared: Shared) -> County:
    """The shared county, whole."""
    return await shared.get()
