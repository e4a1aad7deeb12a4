"""Broken requests of every type through the gateway: documented words, whole books."""

import asyncio
import logging
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from liandong.common.v1 import operator_pb2

from deploy.local import audit as audits
from deploy.nats import topology
from gateway.routes import NAMED_BY_CALLER
from tests.attack import fuzzing
from tests.attack.bola import NOT_CALLED, PREFERRED, Attack, Attacker, routes
from tests.attack.fuzzing import Case
from tests.attack.ids import registry, rows
from tests.attack.world import World, short_of

pytestmark = [pytest.mark.stack, pytest.mark.timeout(5_400)]
log = logging.getLogger(__name__)

SECONDS = float(os.environ.get("LIANDONG_FUZZ_SECONDS", "10"))
SEED = int(os.environ.get("LIANDONG_FUZZ_SEED", "20170201"))
ONE_CASE = os.environ.get("LIANDONG_FUZZ_CASE", "")
AT_ONCE = 12
CALL_SECONDS = 60
GROWTH_MIB_MAX = 400


def resident_mib(pid: int) -> int:
    """How much memory a process holds."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) // 1024
    return 0


@dataclass
class Run:
    """What a run saw."""

    done: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def must_be_documented(case: Case, number: int, error: grpc.aio.AioRpcError, run: Run) -> None:
    """Hold a refusal against what a client was promised."""
    run.codes[error.code().name] += 1
    said = f"{error.details()} {error.trailing_metadata()}"
    words = [word for word in fuzzing.INSIDE if word in said]
    if error.code() not in fuzzing.DOCUMENTED or words:
        run.wrong.append(
            f"LIANDONG_FUZZ_SEED={SEED} LIANDONG_FUZZ_CASE={number}: {case.route.method} by"
            f" {case.institution_id} ({case.how}): {error.code().name} {said[:300]}"
        )


async def fuzz(world: World, run: Run) -> None:
    """Cases one after the other until the time is over, a few at a time."""
    attack = Attack(world, registry(await rows(world.stack)), world.stack.gateway_address)
    callers = [
        (
            county.institution(short_of(role)),
            partial(attack.request, Attacker(county, short_of(role), role, county)),
        )
        for county in world.counties()
        for role in (*PREFERRED, "court")
    ]
    chosen = [route for route in routes() if not route.method.endswith(NOT_CALLED)]
    ends = time.monotonic() + SECONDS
    channels: dict[str, grpc.aio.Channel] = {}
    numbers = iter([int(ONE_CASE)]) if ONE_CASE else iter(range(10**9))

    async def work() -> None:
        for number in numbers:
            case = fuzzing.a_case(SEED, number, chosen, callers)
            if case.institution_id not in channels:
                channels[case.institution_id] = a_channel(world, case.institution_id)
            await ask(channels[case.institution_id], case, number, run)
            run.done += 1
            if time.monotonic() > ends:
                return

    try:
        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    finally:
        for channel in channels.values():
            await channel.close()


def a_channel(world: World, institution_id: str) -> grpc.aio.Channel:
    """A connection without a bound of its own: what is too large goes out all the same."""
    own = world.stack.institution(institution_id)
    credentials = grpc.ssl_channel_credentials(
        own.ca.read_bytes(), own.key.read_bytes(), own.cert.read_bytes()
    )
    return grpc.aio.secure_channel(
        world.stack.gateway_address,
        credentials,
        options=[("grpc.max_send_message_length", -1)],
    )


async def ask(channel: grpc.aio.Channel, case: Case, number: int, run: Run) -> None:
    """One case."""
    call: Any = channel.unary_unary(case.route.path)
    metadata = {"liandong-person": f"{case.institution_id}-p1"} | dict(case.metadata)
    if case.route.noun == NAMED_BY_CALLER:
        metadata.setdefault("liandong-service", "loans")
    try:
        await call(case.body, timeout=CALL_SECONDS, metadata=list(metadata.items()))
    except grpc.aio.AioRpcError as error:
        must_be_documented(case, number, error, run)
    else:
        run.codes["OK"] += 1


async def test_nothing_that_is_sent_makes_the_platform_say_or_lose_anything(world: World) -> None:
    pid = world.stack.supervisor.pid("platform")
    assert pid is not None
    before = resident_mib(pid)
    run = Run()
    await fuzz(world, run)
    grown = resident_mib(pid) - before
    log.info("seed=%d cases=%d wrong=%d", SEED, run.done, len(run.wrong))
    log.info("grown_mib=%d %s", grown, dict(run.codes))

    assert run.wrong == [], "\n".join(run.wrong[:20])
    assert world.stack.supervisor.pid("platform") == pid, "the platform died"
    assert grown < GROWTH_MIB_MAX
    for county in world.counties():
        await must_balance(world, county.code)
    assert_logs_are_silent(world)


async def must_balance(world: World, county_code: str) -> None:
    """Nothing was written in part: the books of all services agree."""

    async def totals(noun: str, positions_only: bool) -> operator_pb2.GetTotalsResponse:
        answer: operator_pb2.GetTotalsResponse = await world.platform.operate(
            "GetTotals", noun, county_code=county_code, positions_only=positions_only
        )
        return answer

    assert await audits.quiet(totals, topology.load(), seconds_max=60)
    books = await audits.audit(totals)
    assert (books.unbalanced_fen, books.parked_events) == (0, 0)


def assert_logs_are_silent(world: World) -> None:
    """What was sent in personal fields, and the exceptions' own words, stay out of the log."""
    text = (world.stack.folder.private("logs") / "platform.log").read_text("utf-8", "replace")
    fails = [line for line in text.splitlines() if '"rpc_fails"' in line or '"call_fails"' in line]
    assert fails == [], "\n".join(line[:1_500] for line in fails[:5])
    for sent in fuzzing.LOOK_ALIKES:
        assert sent.strip() not in text
