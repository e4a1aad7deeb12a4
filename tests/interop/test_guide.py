"""The guide for institutions, followed as it stands, also in Node.js."""

import json
from pathlib import Path

import pytest
import pytest_asyncio

from tests.interop import guide
from tests.interop.conftest import Desk

EVENTS = 5

# The first one waits for the platform.
pytestmark = pytest.mark.timeout(600)


def test_the_guide_shows_the_files_as_they_are() -> None:
    assert guide.GUIDE.read_text(encoding="utf-8") == guide.shown(), "stale: run make guide"


def test_the_lock_file_knows_no_registry() -> None:
    lock = json.loads((guide.HERE / "package-lock.json").read_text(encoding="utf-8"))

    packages = {name: found for name, found in lock["packages"].items() if name}
    assert all("integrity" in found and "resolved" not in found for found in packages.values())


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def said(desk: Desk) -> str:
    """What an engineer sees who follows the guide."""
    return await desk.run(guide.script("run"))


@pytest.mark.stack
async def test_the_guide_leads_to_a_confirmed_payout(said: str) -> None:
    assert '"personId": "psb-0001-p1"' in said
    assert "CLAIM_STATE_APPROVED" in said
    # The confirmation settles the payout, and Python sees the loan that it lowered.
    assert "PAYOUT_STATE_SETTLED" in said
    assert "psb-0001-p1 acts\nloan " in said
    assert said.endswith("refused: LOAN_NOT_FOUND\n")


@pytest.mark.stack
@pytest.mark.usefixtures("said")
async def test_python_and_buf_read_the_first_events(desk: Desk) -> None:
    told = await desk.run(guide.script("define") + guide.script("feed"))

    assert '"type": "liandong.loans.v1.' in told
    assert told.endswith(f"told {EVENTS}\n")


@pytest.mark.stack
@pytest.mark.usefixtures("said")
async def test_node_makes_the_first_calls(desk: Desk, node: Path) -> None:
    said = await desk.run("node first_calls.mjs bank psb-0001 411224", node=node)

    assert "psb-0001-p1 acts\nloan " in said
    assert said.endswith("refused: LOAN_NOT_FOUND\n")


@pytest.mark.stack
@pytest.mark.usefixtures("said")
async def test_node_reads_its_feed_and_goes_on_where_it_left_off(desk: Desk, node: Path) -> None:
    first = await desk.run(f"node first_event.mjs bank psb-0001 {EVENTS}", node=node)
    second = await desk.run(f"node first_event.mjs bank psb-0001 {EVENTS}", node=node)

    one, two = (said.splitlines()[:-1] for said in (first, second))
    assert len(one) == len(two) == EVENTS
    assert not set(one) & set(two)


@pytest.mark.stack
@pytest.mark.usefixtures("said")
async def test_node_reads_a_departments_feed_from_nats(desk: Desk, node: Path) -> None:
    told = await desk.run(guide.script("define") + guide.script("nats"), node=node)

    assert "open: stream FEED-fin-0001, durable fin-0001" in told
    assert told.count("liandong.") >= EVENTS
    assert told.endswith(f"told {EVENTS}\n")
