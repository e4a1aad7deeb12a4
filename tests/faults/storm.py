"""
A storm of commands on the gateway, each wave from a process of its own.

The trial's process has the load and the links: a storm in it would measure itself. Run as a module
this is that process; it is told what to do in JSON, and tells what came of it in JSON.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

import grpc
from liandong.common.v1 import operator_pb2, operator_pb2_grpc

from deploy.local.client import Institution, credentials_in
from deploy.local.stack import Stack
from services.kernel.status import reason_of

PEACE_SECONDS = 4.0
STORM_SECONDS = 8.0
WORKERS = 24
"""Who asks in peace: enough to keep the platform busy, and far fewer than are turned away."""
TRIES = 3
TICK_SECONDS = 0.05
CALL_SECONDS = 2.0
"""The patience of each attempt in the storm."""
OUTSTANDING_MAX = 4_000
WAVE_SECONDS_MAX = 120.0
FAR_AWAY = 10**12


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """What a process is to do."""

    address: str
    folder: str
    """Where the local authority laid out its certificates."""
    env: str
    institution_id: str
    per_second: float = 0.0
    """Commands a second, whatever is answered; 0 for as many as are answered."""


@dataclass(frozen=True, slots=True)
class Told:
    """What came of it."""

    good: float
    """Commands that did what they should, a second."""
    attempts: int
    answers: dict[str, int]


def waves_on(stack: Stack, institution_id: str) -> Wave:
    """A wave of peace on a platform."""
    return Wave(
        address=stack.gateway_address,
        folder=str(stack.institution(institution_id).ca.parent),
        env=stack.shape.env,
        institution_id=institution_id,
    )


async def send(wave: Wave) -> Told:
    """Let a process do it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.faults.storm",
        json.dumps(asdict(wave)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        told, _ = await asyncio.wait_for(process.communicate(), WAVE_SECONDS_MAX)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, f"the wave ended with {process.returncode}"
    return Told(**json.loads(told))


async def until_as_good(wave: Wave, good: float, *, seconds_max: float) -> tuple[Told, float]:
    """Ask in peace until as many are answered as before, or the time is up; how long it took."""
    began = time.monotonic()
    best = await send(wave)
    while best.good < good and time.monotonic() - began < seconds_max:
        best = max(best, await send(wave), key=lambda told: told.good)
    return best, time.monotonic() - began


class _Commands:
    """Commands without patience: asked again at once when they are refused, thrice over."""

    def __init__(self, client: Institution) -> None:
        self._stub = client.stub(operator_pb2_grpc.OperatorServiceStub)
        self._metadata = client.metadata(1, {"liandong-service": "loans"})
        self.answers: Counter[str] = Counter()
        self.attempts = 0

    async def command(self, *, tries: int) -> None:
        """A command that changes nothing but that it was given: its answer is kept."""
        request = operator_pb2.RepublishEventsRequest(
            request_id=str(uuid4()), from_position=FAR_AWAY, to_position=FAR_AWAY
        )
        told = "none"
        for _ in range(tries):
            self.attempts += 1
            try:
                await self._stub.RepublishEvents(
                    request, timeout=CALL_SECONDS, metadata=self._metadata
                )
            except grpc.aio.AioRpcError as error:
                told = reason_of(error)
                if told == error.code().name:
                    # Of the transport itself, which refuses a stream too many before we hear of it.
                    told = f"{told} ({(error.details() or '')[:40]})"
            else:
                told = "OK"
                break
        self.answers[told] += 1

    async def peace(self) -> float:
        """Commands a second when as many are asked as are answered."""
        ends = time.monotonic() + PEACE_SECONDS

        async def work() -> None:
            while time.monotonic() < ends:
                await self.command(tries=1)

        await asyncio.gather(*(work() for _ in range(WORKERS)))
        return self.answers["OK"] / PEACE_SECONDS

    async def rage(self, per_second: float) -> float:
        """So many a second whatever is answered; those that succeeded, a second."""
        ends = time.monotonic() + STORM_SECONDS
        flying: set[asyncio.Task[None]] = set()
        owed = 0.0
        while time.monotonic() < ends:
            owed += per_second * TICK_SECONDS
            while owed >= 1 and len(flying) < OUTSTANDING_MAX:
                task = asyncio.create_task(self.command(tries=TRIES))
                flying.add(task)
                task.add_done_callback(flying.discard)
                owed -= 1
            await asyncio.sleep(TICK_SECONDS)
        good = self.answers["OK"] / STORM_SECONDS
        await asyncio.gather(*flying)
        return good


async def _do(wave: Wave) -> Told:
    own = credentials_in(Path(wave.folder), wave.institution_id, wave.env)
    async with Institution(wave.address, own, wave.institution_id) as client:
        commands = _Commands(client)
        good = await (commands.rage(wave.per_second) if wave.per_second else commands.peace())
    return Told(good, commands.attempts, dict(commands.answers))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(asyncio.run(_do(Wave(**json.loads(sys.argv[1])))))))
