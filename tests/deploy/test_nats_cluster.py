"""NATS as three servers, from the files of the manifests: events outlive the loss of any one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from nats.aio.client import Client
from nats.errors import Error as NatsError

from deploy.local.places import Places
from deploy.nats import topology
from tests.eventually import eventually
from tests.nats_cluster import EVENTS_BYTES_MAX, Cluster, cluster_of_three

pytestmark = pytest.mark.nats

SUBJECT = "liandong.loans.v1.loan_repaid.123456"


@pytest_asyncio.fixture(loop_scope="session")
async def cluster(machine: Places, tmp_path: Path) -> AsyncIterator[Cluster]:
    async with cluster_of_three(machine, tmp_path) as found:
        yield found


async def publish(client: Client) -> int:
    """An event's place in the stream, once the servers that are left have found a leader."""
    stream = client.jetstream(timeout=20)

    async def attempt() -> int:
        try:
            return (await stream.publish(SUBJECT, b"kept", timeout=5)).seq
        except NatsError:
            return 0

    return await eventually(attempt, bool, seconds_max=60)


async def test_events_outlive_the_loss_of_any_one_server(cluster: Cluster) -> None:
    streams = topology.load(events_bytes_max=EVENTS_BYTES_MAX, num_replicas=3)
    operator = await cluster.client("operator", cluster.servers[0])
    try:
        await topology.ensure_streams(
            operator.jetstream(timeout=20),
            monitor_url=cluster.servers[0].monitor_url,
            topology=streams,
        )
    finally:
        await operator.close()
    acknowledged: list[int] = []
    for lost in cluster.servers:
        left = cluster.other(lost)
        await lost.kill()
        loans = await cluster.client("loans", left)
        try:
            acknowledged.append(await publish(loans))
        finally:
            await loans.close()
        await lost.start(cluster.program)
        await eventually(lost.healthy, bool, seconds_max=60)

    operator = await cluster.client("operator", cluster.servers[0])
    try:
        state = (await operator.jetstream(timeout=20).stream_info("EVENTS")).state
        assert acknowledged == sorted(set(acknowledged))
        assert state.last_seq >= acknowledged[-1]
        assert state.messages >= len(acknowledged)
    finally:
        await operator.close()
