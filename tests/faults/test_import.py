"""A long import, its client killed once and the platform killed once on the way, ends complete."""

import asyncio
import csv
import json
import os
import signal
import sys
from collections import Counter
from datetime import date
from pathlib import Path
from uuid import uuid4

import pytest
from google.type.date_pb2 import Date
from liandong.common.v1 import operator_pb2
from liandong.households.v1 import households_pb2, households_pb2_grpc

from deploy.demo import generator
from deploy.local.client import Institution
from deploy.local.remote import Operator
from deploy.local.stack import SERVICES, Stack
from tests import lines as files
from tests.eventually import eventually
from tests.faults.harness import ask, platform

pytestmark = pytest.mark.faults

LINES_VARIABLE = "LIANDONG_IMPORT_LINES"
"""How many lines the file has; `make import-long` says 200,000."""
LINES = int(os.environ.get(LINES_VARIABLE, "3000"))
CHUNK = max(100, LINES // 200)
WRONG_EVERY = 300
SECONDS_MAX = 1_500
CENTRE, OPERATOR = "cfc-0001", "opr-0001"


class Client:
    """The command as its user starts it, in a process of its own."""

    def __init__(self, stack: Stack, file: Path) -> None:
        self._arguments = [
            *(sys.executable, "-m", "deploy.local.cli", "import-households", str(file)),
            *("--folder", stack.folder.path.name, "--as", CENTRE, "--chunk", str(CHUNK)),
        ]
        self._progress = file.with_name(f"{file.name}.verdicts.csv.progress.json")
        self.process: asyncio.subprocess.Process

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *self._arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )

    async def chunks(self) -> int:
        """How many chunks it knows to be taken."""
        if not self._progress.exists():
            return 0
        done: int = json.loads(self._progress.read_text(encoding="utf-8"))["chunks"]
        return done

    async def reach(self, chunks: int) -> None:
        await eventually(self.chunks, lambda done: done >= chunks, seconds_max=SECONDS_MAX)

    async def end(self) -> str:
        said, wrong = await asyncio.wait_for(self.process.communicate(), SECONDS_MAX)
        assert self.process.returncode == 0, wrong.decode()
        return said.decode()


async def open_county(stack: Stack) -> None:
    """The first day in every service, and the areas that the file names."""
    own = stack.institution(OPERATOR)
    async with Institution(stack.gateway_address, own, OPERATOR) as client:
        opened = date(2018, 1, 1)
        for noun in SERVICES:
            request = operator_pb2.AdvanceDayRequest(
                request_id=str(uuid4()),
                county_code=files.COUNTY,
                business_date=Date(year=opened.year, month=opened.month, day=opened.day),
            )
            await Operator(client).ask(noun, "AdvanceDay", request)
    async with Institution(stack.gateway_address, stack.institution(CENTRE), CENTRE) as client:
        areas = households_pb2.RegisterAreasRequest(
            request_id=str(uuid4()),
            county_code=files.COUNTY,
            areas=[
                households_pb2.Area(
                    area_code=code, name=code, level=households_pb2.AreaLevel.ValueType(level)
                )
                for code, level in files.areas()
            ],
        )
        stub = households_pb2_grpc.HouseholdsServiceStub
        await client.call(stub, "RegisterAreas", areas)


async def kill_platform(stack: Stack) -> None:
    """No warning, no clean end; the supervisor starts another."""
    pid = stack.supervisor.pid("platform")
    assert pid is not None
    restarts = stack.supervisor.restarts("platform")
    os.kill(pid, signal.SIGKILL)

    async def again() -> bool:
        up = stack.supervisor.pid("platform")
        return stack.supervisor.restarts("platform") > restarts and up not in {None, pid}

    await eventually(again, bool, seconds_max=90)


async def totals(stack: Stack, noun: str) -> operator_pb2.GetTotalsResponse:
    own = stack.institution(OPERATOR)
    async with Institution(stack.gateway_address, own, OPERATOR) as client:
        return await Operator(client).totals(noun, files.COUNTY, positions_only=False)


@pytest.mark.timeout(2 * SECONDS_MAX)
async def test_an_import_killed_twice_ends_complete(tmp_path: Path) -> None:
    rows = list(files.people(LINES, wrong_every=WRONG_EVERY))
    file = files.write(tmp_path / "county.csv", LINES, wrong_every=WRONG_EVERY)
    wrong = {number for number, row in enumerate(rows, 2) if row[4] != next_right(row[4])}
    households = len({row[0] for row in rows})
    assert wrong
    async with platform(synced=False) as stack:
        await open_county(stack)

        first = Client(stack, file)
        await first.start()
        await first.reach(LINES // CHUNK // 4)
        first.process.kill()
        await first.process.wait()
        assert first.process.returncode == -signal.SIGKILL
        second = Client(stack, file)
        await second.start()
        await second.reach(LINES // CHUNK // 2)
        await kill_platform(stack)
        said = await second.end()

        assert "going on after" in said
        with (tmp_path / "county.csv.verdicts.csv").open(encoding="utf-8", newline="") as told:
            verdicts = [(int(row["line_number"]), row["verdict"]) for row in csv.DictReader(told)]
        assert [number for number, _ in verdicts] == list(range(2, LINES + 2))
        assert Counter(word for _, word in verdicts) == {
            "registered": LINES - len(wrong),
            "refused": len(wrong),
        }
        assert {number for number, word in verdicts if word == "refused"} == wrong
        counts = await ask(
            stack,
            """SELECT (SELECT count(*) FROM households.household),
                      (SELECT count(*) FROM households.person),
                      (SELECT count(*) FROM households.member),
                      (SELECT count(DISTINCT aggregate_id) FROM households.outbox
                       WHERE event_type = 'liandong.households.v1.household_registered')""",
        )
        people = LINES - len(wrong)
        assert tuple(counts[0]) == (households, people, people, households)
        books = await eventually(
            lambda: totals(stack, "credit"),
            lambda found: (
                {t.name: t.value for t in found.totals}["credit.households_count"] == households
            ),
            seconds_max=SECONDS_MAX,
        )
        assert books.parked_events == 0


def next_right(number: str) -> str:
    """The same number with the check digit that it should have."""
    return number[:17] + generator.check_digit(number[:17])
