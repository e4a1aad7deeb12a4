"""Trials of many servers: a primary that is lost, a cluster that loses one of three, a storm."""

import asyncio
import random
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from nats.errors import Error as NatsError
from nats.js.errors import APIError

from deploy.local import places
from deploy.nats import topology
from services.kernel.outbox import STREAM
from tests.eventually import eventually
from tests.faults.county import OPERATOR, County, Form, Original
from tests.faults.report import Report, Trial
from tests.faults.standby import standby_of
from tests.faults.storm import CALL_SECONDS, STORM_SECONDS, send, until_as_good, waves_on
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

PEACES = 4
STORM_TIMES = 3
GOODPUT_MIN = 0.33
"""Of what was done in peace: what the storm must leave, on cores that the storm itself shares."""
WAITED_MAX = 0.25
"""Of the storm: what may wait until its patience is over. Whoever is too many is told so before."""
AFTER_MIN = 0.75
"""Of the best moment before: moments differ by a fifth, and what a storm keeps down by far more."""
AFTER_SECONDS = 30.0


async def storm(county: County, one: Trial, *, seed: int) -> None:
    """Three times what can be done is asked, and asked again; some is done, and then all is."""
    pid = county.stack.supervisor.pid("platform")
    calm = waves_on(county.stack, OPERATOR)
    # The best of some: what a disturbed moment can do is not what can be done.
    peace = max([await send(calm) for _ in range(PEACES)], key=lambda told: told.good)
    during = await send(replace(calm, per_second=STORM_TIMES * peace.good))
    one.faults = during.attempts
    after, seconds = await until_as_good(calm, AFTER_MIN * peace.good, seconds_max=AFTER_SECONDS)
    one.figures |= {
        "peace per s": round(peace.good),
        "storm per s": round(during.good),
        "after per s": round(after.good),
        "after s": round(seconds),
        **dict(sorted(during.answers.items())),
    }
    assert county.stack.supervisor.pid("platform") == pid, "the storm killed it"
    assert set(during.answers) != {"OK"}, "it was no storm: everybody was served in time"
    asked = during.answers.values()
    waited = sum(
        count for told, count in during.answers.items() if told.startswith("DEADLINE_EXCEEDED")
    )
    assert waited <= WAITED_MAX * sum(asked), f"{waited} of {sum(asked)} waited in vain"
    assert during.good >= GOODPUT_MIN * peace.good, (
        f"{during.good:.0f} a second of {peace.good:.0f} in the storm"
    )
    assert after.good >= AFTER_MIN * peace.good, (
        f"{after.good:.0f} a second of {peace.good:.0f} in {AFTER_SECONDS:g} s after it"
    )

    async def nothing() -> None:
        """The storm is over: the load must go on as ever."""

    tell(one, await county.under_load(nothing, seed=seed))


def unbounded() -> Form:
    """A platform that turns nobody away, and whose library does not either."""
    names = ("GATEWAY", "HOUSEHOLDS", "CREDIT", "LOANS", "CLAIMS", "FUNDS")
    environment = (
        *((f"{name}_CONCURRENT_RPCS_MAX", "10000") for name in names),
        # The storm comes over one connection, whose bound would turn it away as well.
        ("GATEWAY_STREAMS_OF_CONNECTION_MAX", "10000"),
    )
    return Form(wrong="takes_all", direct=True, environment=environment)


async def test_a_storm_of_retries(*, trial_seed: int, original: Original, report: Report) -> None:
    what = (
        f"{STORM_TIMES} times saturation for {STORM_SECONDS:g} s, each with {CALL_SECONDS:g} s of"
        " patience and each refusal asked thrice at once"
    )
    direct = Form(direct=True)
    async with (
        original.copied(direct) as county,
        report.trial("storm", what, seed=trial_seed) as one,
    ):
        await storm(county, one, seed=trial_seed)
        one.commands, one.lost_fen = county.commands, county.lost_fen


async def test_a_storm_on_a_platform_that_takes_everything_in_is_found(
    *, original: Original, report: Report
) -> None:
    async with (
        original.copied(unbounded()) as county,
        report.control("storm", "nobody is turned away", seed=1) as one,
    ):
        await storm(county, one, seed=1)
