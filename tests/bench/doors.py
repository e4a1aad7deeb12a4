"""The gateway beside a bare proxy of bytes: requests a second, and processor time of each."""

import asyncio
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import median

from google.type import date_pb2
from liandong.loans.v1 import loans_pb2

from deploy.demo.counter import COUNTY
from deploy.local.ca import Credentials
from deploy.local.places import free_port
from deploy.local.processes import Program
from tests.bench.driver import Driver
from tests.bench.figures import Figure
from tests.bench.rig import Rig, cpu_seconds

SERVICE = "/liandong.loans.v1.LoansService"
AT_ONCE = 32
ALONE = 300
"""Requests sent one after the other, for what a door adds when nobody queues."""


@dataclass(frozen=True, slots=True)
class Door:
    """Something that answers at an address."""

    program: Program
    address: str


@dataclass(frozen=True, slots=True)
class Load:
    """Calls of one method."""

    name: str
    method: str
    body: Callable[[], bytes]


def _repayment() -> bytes:
    return loans_pb2.RepayLoanRequest(
        request_id=str(uuid.uuid4()),
        county_code=COUNTY,
        loan_id=str(uuid.uuid4()),
        amount_fen=100,
        value_date=date_pb2.Date(year=2018, month=3, day=1),
    ).SerializeToString()


def _read() -> bytes:
    return loans_pb2.GetLoanRequest(
        county_code=COUNTY, loan_id=str(uuid.uuid4())
    ).SerializeToString()


LOADS = (
    # Of a command of money every trace is kept; of a read the answer waits for the access log.
    Load("repayments", f"{SERVICE}/RepayLoan", _repayment),
    Load("reads", f"{SERVICE}/GetLoan", _read),
)


@dataclass(frozen=True, slots=True)
class Passed:
    """What a door did with a load."""

    per_second: float
    cpu_us: float
    alone_p50_ms: float
    refused: int


async def measure(
    rig: Rig, driver: Driver, *, requests: int, rounds: int
) -> tuple[list[Figure], int]:
    """The gateway's figures and calls refused; both doors pass the same to the same backend."""
    figures: list[Figure] = []
    refused = 0
    async with _doors(rig) as (gateway, bare):
        flush_p50_ms = await _flush_p50_ms(rig)
        for load in LOADS:
            for door in (gateway, bare):
                await _pass(driver, door, load, requests // 4)
            found = []
            for _ in range(rounds):
                ours = await _pass(driver, gateway, load, requests)
                found.append((ours, await _pass(driver, bare, load, requests)))
            figures += _figures(load, found, requests, flush_p50_ms)
            refused += sum(door.refused for pair in found for door in pair)
    return figures, refused


async def _flush_p50_ms(rig: Rig) -> float:
    """What a commit takes that writes one word: a read waits for one, and no less."""
    took = []
    async with rig.look() as connection:
        for _ in range(ALONE):
            began = time.perf_counter()
            await connection.fetchval("SELECT pg_logical_emit_message(true, 'bench', 'a word')")
            took.append(1_000 * (time.perf_counter() - began))
    return median(took)


def _figures(
    load: Load, found: list[tuple[Passed, Passed]], requests: int, flush_p50_ms: float
) -> list[Figure]:
    limit = "a pass-through proxy of bytes over mTLS, no identity, no decision, no log"
    added = sorted(ours.alone_p50_ms - bare.alone_p50_ms for ours, bare in found)
    return [
        Figure(
            name=f"gateway, {load.name}",
            unit="/s",
            limit_name=f"{limit}; {AT_ONCE} at once, {requests} a round",
            pairs=tuple((ours.per_second, bare.per_second) for ours, bare in found),
            goal=0.6,
            stretch=0.8,
        ),
        Figure(
            name=f"gateway, processor time of {load.name}",
            unit="us",
            limit_name=limit,
            pairs=tuple((ours.cpu_us, bare.cpu_us) for ours, bare in found),
            goal=1.5,
            stretch=1.25,
            less_is_better=True,
            note=f"one at a time it adds {added[len(added) // 2]:.2f} ms to the median "
            f"(goal at most 1.2; a commit of one word takes {flush_p50_ms:.2f} ms here)",
        ),
    ]


async def _pass(driver: Driver, door: Door, load: Load, requests: int) -> Passed:
    pid = door.program.pid
    assert pid is not None, f"{door.program.name} does not run"
    few, all_of_them = ([load.body() for _ in range(count)] for count in (ALONE, requests))
    alone = await driver.drive(door.address, load.method, few, at_once=1)
    before = cpu_seconds(pid)
    many = await driver.drive(door.address, load.method, all_of_them, at_once=AT_ONCE)
    used = cpu_seconds(pid) - before
    return Passed(
        requests / many.seconds,
        1e6 * used / requests,
        alone.p50_ms,
        refused=alone.refused + many.refused,
    )


@asynccontextmanager
async def _doors(rig: Rig) -> AsyncIterator[tuple[Door, Door]]:
    """A gateway and a bare proxy before one backend that answers at once."""
    ca = rig.stack.ca
    backend = _bare(rig, "bench-backend", ca.service("loans"), forward="")
    bare = _bare(rig, "bench-proxy", ca.service("gateway"), forward=backend.address)
    address = f"127.0.0.1:{free_port()}"
    told = {
        "GATEWAY_GRPC_ADDRESS": address,
        "GATEWAY_PUBLIC_ADDRESS": "",
        "GATEWAY_LOANS_ADDRESS": backend.address,
    }
    # A replica of the platform's own gateway: its directory, its access log, its keys.
    env = {**rig.stack.environment(), **told}
    gateway = Door(_program(rig, "bench-gateway", ("-m", "gateway"), address, env), address)
    started = []
    try:
        for door in (backend, bare, gateway):
            await door.program.start()
            started.append(door)
        yield gateway, bare
    finally:
        for door in reversed(started):
            await door.program.stop()


def _bare(rig: Rig, name: str, own: Credentials, *, forward: str) -> Door:
    address = f"127.0.0.1:{free_port()}"
    options = {"address": address, "ca": own.ca, "cert": own.cert, "key": own.key}
    if forward:
        options["forward"] = forward
    arguments = tuple(f"--{option}={value}" for option, value in options.items())
    argv = ("-m", "tests.bench.proxy", *arguments)
    return Door(_program(rig, name, argv, address, rig.stack.environment()), address)


def _program(
    rig: Rig, name: str, argv: tuple[str, ...], address: str, env: Mapping[str, str]
) -> Program:
    host, _, port = address.rpartition(":")

    async def listens() -> bool:
        _, writer = await asyncio.open_connection(host, int(port))
        writer.close()
        return True

    return Program(
        name=name, argv=[sys.executable, *argv], env=env, folder=rig.stack.folder, ready=listens
    )
