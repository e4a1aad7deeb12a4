"""Trials of many servers: a primary that is lost, a cluster that loses one of three, a storm."""

import asyncio
import random
import time
from collections import Counter
from pathlib import Path
from uuid import uuid4

import grpc
import pytest
from liandong.common.v1 import operator_pb2, operator_pb2_grpc
from nats.errors import Error as NatsError
from nats.js.errors import APIError

from deploy.local import places
from deploy.local.client import Institution
from deploy.nats import topology
from services.kernel.outbox import STREAM
from tests.eventually import eventually
from tests.faults.county import OPERATOR, County, Form, Original
from tests.faults.report import Report, Trial
from tests.faults.standby import standby_of
from tests.faults.test_trials import CONTROL_SECONDS, tell
from tests.nats_cluster import EVENTS_BYTES_MAX, Cluster, cluster_of_three

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

# --- the primary ----------------------------------------------------------------------------------

LOAD_SECONDS = 2.0


async def fail_over(
    county: County, one: Trial, *, synchronous: bool, seed: int, patience_seconds: float
) -> None:
    """The primary dies under load, the standby takes its place; what was answered is there."""
    async with standby_of(county) as standby:
        await standby.follow(synchronous=synchronous)

        async def fault() -> None:
            await asyncio.sleep(random.Random(seed).uniform(0.5, LOAD_SECONDS))
            began = time.monotonic()
            await standby.take_over()
            await county.until_served()
            one.figures["takes over s"] = round(time.monotonic() - began, 2)
            one.faults += 1

        measured = await county.under_load(fault, seed=seed, patience_seconds=patience_seconds)
        assert county.stack.plug_postgres.pid is None, "the old primary is not fenced"
        tell(one, measured)
        # While the one that took over is still there.
        await county.stack.stop()


async def test_the_primary_is_lost(*, trial_seed: int, original: Original, report: Report) -> None:
    what = "the standby cut off, then kill -9 of the primary; the synchronous standby promoted"
    async with (
        original.copied() as county,
        report.trial("failover", what, seed=trial_seed) as one,
    ):
        await fail_over(county, one, synchronous=True, seed=trial_seed, patience_seconds=120)
        one.commands, one.lost_fen = county.commands, county.lost_fen


async def test_answers_lost_with_an_asynchronous_standby_are_found(
    *, original: Original, report: Report
) -> None:
    async with (
        original.copied() as county,
        report.control("failover", "the standby follows asynchronously", seed=1) as one,
    ):
        await fail_over(county, one, synchronous=False, seed=1, patience_seconds=CONTROL_SECONDS)


# --- three NATS servers ---------------------------------------------------------------------------

SUBJECT = "liandong.loans.v1.loan_repaid.123456"
EVENTS_EACH = 50
PUBLISH_SECONDS = 5.0


async def lose_one_each(cluster: Cluster, one: Trial, *, replicas: int) -> None:
    """Each server is killed once while events are published; who is left goes on taking them."""
    streams = topology.load(events_bytes_max=EVENTS_BYTES_MAX, num_replicas=replicas)
    operator = await cluster.client("operator", cluster.servers[0])
    try:
        await topology.ensure_streams(
            operator.jetstream(timeout=20),
            monitor_url=cluster.servers[0].monitor_url,
            topology=streams,
        )
    finally:
        await operator.close()
    acknowledged: Counter[int] = Counter()
    for lost in cluster.servers:
        client = await cluster.client("loans", cluster.other(lost))
        stream = client.jetstream(timeout=PUBLISH_SECONDS)

        async def publish() -> bool:
            message_id = str(uuid4())
            try:
                ack = await stream.publish(  # noqa: B023 - awaited before the next round
                    SUBJECT, b"kept", headers={"Nats-Msg-Id": message_id}
                )
            except (NatsError, APIError):
                return False
            acknowledged[ack.seq] += 1
            return True

        try:
            for _ in range(EVENTS_EACH):
                assert await publish(), "a cluster at peace takes an event"
            await lost.kill()
            one.faults += 1
            began = time.monotonic()
            await eventually(publish, seconds_max=3 * CONTROL_SECONDS)
            one.figures[f"{lost.name} lost, takes events again s"] = round(
                time.monotonic() - began, 2
            )
        finally:
            await client.close()
        await lost.start(cluster.program)
        await eventually(lost.healthy, bool, seconds_max=60)
    operator = await cluster.client("operator", cluster.servers[0])
    try:
        state = (await operator.jetstream(timeout=20).stream_info(STREAM)).state
    finally:
        await operator.close()
    one.figures |= {"acknowledged": len(acknowledged), "kept": state.messages}
    assert max(acknowledged.values()) == 1, "one place was given to two events"
    assert state.messages >= len(acknowledged), f"{len(acknowledged)} acknowledged, {state}"


async def test_a_cluster_loses_one_server(
    *, trial_seed: int, tmp_path: Path, report: Report
) -> None:
    what = "three NATS servers, R3; each is killed once under publishing and comes back"
    async with (
        cluster_of_three(places.find(), tmp_path) as cluster,
        report.trial("cluster", what, seed=trial_seed) as one,
    ):
        await lose_one_each(cluster, one, replicas=3)


async def test_a_stream_on_one_server_is_found(*, tmp_path: Path, report: Report) -> None:
    async with (
        cluster_of_three(places.find(), tmp_path) as cluster,
        report.control("cluster", "the stream lies on one of the three only") as one,
    ):
        await lose_one_each(cluster, one, replicas=1)


# --- a storm --------------------------------------------------------------------------------------

PEACE_SECONDS = 3.0
STORM_SECONDS = 6.0
WORKERS = 16
STORM_TIMES = 3
TRIES = 3
TICK_SECONDS = 0.05
CALL_SECONDS = 1.0
OUTSTANDING_MAX = 4_000
BOUND = 12
GOODPUT_MIN = 0.1
"""Of what was done in peace: what the storm must leave, on cores that the storm itself shares."""
AFTER_MIN = 0.5
FAR_AWAY = 10**12


class Storm:
    """Commands without patience: asked again at once when they are refused, thrice over."""

    def __init__(self, client: Institution) -> None:
        self._client = client
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
                told = error.code().name
            else:
                told = "OK"
                break
        self.answers[told] += 1

    async def peace(self) -> float:
        """Commands a second when as many are asked as are answered."""
        ends = time.monotonic() + PEACE_SECONDS
        before = self.answers["OK"]

        async def work() -> None:
            while time.monotonic() < ends:
                await self.command(tries=1)

        await asyncio.gather(*(work() for _ in range(WORKERS)))
        return (self.answers["OK"] - before) / PEACE_SECONDS

    async def rage(self, per_second: float) -> float:
        """So many a second whatever is answered; those that succeeded, a second."""
        ends = time.monotonic() + STORM_SECONDS
        before = self.answers["OK"]
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
        good = (self.answers["OK"] - before) / STORM_SECONDS
        await asyncio.gather(*flying)
        return good


async def storm(county: County, one: Trial, *, seed: int) -> None:
    """Three times what can be done is asked, and asked again; some is done, and then all is."""
    own = county.stack.institution(OPERATOR)
    pid = county.stack.supervisor.pid("platform")
    async with Institution(county.stack.gateway_address, own, OPERATOR) as client:
        storming = Storm(client)
        await storming.peace()
        peace = await storming.peace()
        before = storming.attempts
        during = await storming.rage(STORM_TIMES * peace)
        one.faults = storming.attempts - before
        await county.until_served()
        after = await storming.peace()
    one.figures |= {
        "peace per s": round(peace),
        "storm per s": round(during),
        "after per s": round(after),
        **dict(sorted(storming.answers.items())),
    }
    assert county.stack.supervisor.pid("platform") == pid, "the storm killed it"
    assert during >= GOODPUT_MIN * peace, f"{during:.0f} a second of {peace:.0f} in the storm"
    assert after >= AFTER_MIN * peace, f"{after:.0f} a second of {peace:.0f} after it"

    async def nothing() -> None:
        """The storm is over: the load must go on as ever."""

    tell(one, await county.under_load(nothing, seed=seed))


def bounded(most: int) -> Form:
    """A platform each of whose doors takes so many calls at once."""
    names = ("GATEWAY", "HOUSEHOLDS", "CREDIT", "LOANS", "CLAIMS", "FUNDS")
    return Form(environment=tuple((f"{name}_CONCURRENT_RPCS_MAX", str(most)) for name in names))


async def test_a_storm_of_retries(*, trial_seed: int, original: Original, report: Report) -> None:
    what = f"{STORM_TIMES} times saturation for {STORM_SECONDS:g} s, each refusal asked thrice"
    async with (
        original.copied(bounded(BOUND)) as county,
        report.trial("storm", what, seed=trial_seed) as one,
    ):
        await storm(county, one, seed=trial_seed)
        one.commands, one.lost_fen = county.commands, county.lost_fen


async def test_a_platform_that_takes_everything_in_is_found(
    *, original: Original, report: Report
) -> None:
    async with (
        original.copied(bounded(10_000)) as county,
        report.control("storm", "no bound on what is taken in at once", seed=1) as one,
    ):
        await storm(county, one, seed=1)
