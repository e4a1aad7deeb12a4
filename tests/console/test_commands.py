"""The operator's commands, as processes against the county that the console shows."""

import asyncio
import re
import sys

import pytest

from deploy.demo.counter import COUNTY
from tests import webhook
from tests.console.house import FOLDER, House
from tests.console.test_pages import a_payout

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
COMMAND_SECONDS = 60
AN_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def run(*arguments: str, folder: bool = True, code: int = 0) -> str:
    """What a command says to a pipe, as scripts read it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.local.cli", *arguments),
        *(("--folder", FOLDER) if folder else ()),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), COMMAND_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == code, said.decode()
    return said.decode()


async def test_two_persons_pause_and_resume_by_hand(house: House) -> None:
    reason = "drill: the lender's line is being mended"
    asked = await run("pause", "institution", "psb-0001", "--reason", reason)
    (pause_id,) = set(AN_ID.findall(asked))
    assert "--post 2" in asked
    assert "paused" in await run("pause", "institution", "psb-0001", "--post", "2")
    listed = await run("paused")
    # Whole also in a pipe: the next command needs the id.
    assert pause_id in listed
    assert reason in listed
    assert "--post 2" in await run("resume", pause_id, "--reason", "mended")
    await run("resume", pause_id, "--post", "2")
    assert pause_id not in await run("paused")
    assert pause_id in await run("paused", "--all")
    assert "no pause" in await run("resume", pause_id, code=1)


async def test_how_an_institution_stands(house: House) -> None:
    said = await run("status", "psb-0001")
    assert "calls today" in said
    assert "certificate until" in said


async def test_what_an_id_is_and_its_trace(house: House) -> None:
    payout = await a_payout(house)
    said = await run("find", payout.payout_id)
    assert f"county {COUNTY}" in said
    (trace_id, *_) = re.findall(r"trace ([0-9a-f]{32})", said)
    assert "claims" in await run("trace", trace_id)
    newest = await run("trace", "-n", "5")
    assert len(re.findall(r"\b[0-9a-f]{32}\b", newest)) == 5


async def test_a_webhook_is_told_once(house: House) -> None:
    with webhook.listening() as hook:
        said = await run("alerts", "--once", "--webhook", hook.url)
    assert "alerts told" in said
