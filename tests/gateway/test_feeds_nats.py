"""Feeds on NATS: an account of its own, once into the stream, and nothing else to be seen."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import nats
import pytest
import pytest_asyncio
from liandong.gateway.v1 import feeds_pb2 as pb
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import StreamConfig
from structlog.testing import capture_logs

from deploy.local.ca import LocalCA
from deploy.local.nats import Nats
from gateway import feed_channel, operations
from services.kernel import bus, cloudevents, status
from services.kernel.pull import Puller
from tests.eventually import eventually
from tests.gateway.conftest import a_house
from tests.gateway.feeding import INSTITUTIONS, County, repaid, request_id
from tests.servers import (
    ENV,
    Schemas,
    as_server,
    nats_from_wheel,
    small_topology,
)

pytestmark = [pytest.mark.postgres, pytest.mark.nats]

OWN = "centre-1"


@dataclass
class Connected:
    """A county whose gateway is in the feeds' account, and its NATS."""

    county: County
    wheel: Nats
    certificates: LocalCA

    async def set_feed(self, institution_id: str, *, is_open: bool = True) -> Any:
        """Let the operator open or close a feed on NATS."""
        asked = pb.SetNatsFeedRequest(
            request_id=request_id(), institution_id=institution_id, open=is_open
        )
        person = (("liandong-person", "operator-1-p1"),)
        return await self.county.feeds("operator-1").SetNatsFeed(asked, metadata=person)

    async def eventually_in(self, institution_id: str) -> Client:
        """A government system's own connection, as soon as the server knows it."""
        async with asyncio.timeout(20):
            while True:
                with suppress(NatsError, OSError):
                    return await nats.connect(
                        self.wheel.url,
                        tls=self.certificates.institution(institution_id).client_context(),
                        inbox_prefix=f"_INBOX_{institution_id}".encode(),
                        allow_reconnect=False,
                        connect_timeout=5,
                        error_cb=_silent,
                    )
                await asyncio.sleep(0.1)

    async def as_writer(self) -> Client:
        """A connection as the gateway has one into the feeds' account."""
        writer = self.certificates.service(feed_channel.WRITER)
        return await bus.connect(
            self.wheel.url,
            name=feed_channel.WRITER,
            ca_path=writer.ca,
            cert_path=writer.cert,
            key_path=writer.key,
        )


async def _silent(_: Exception) -> None:
    """Refusals are looked for where they matter."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def connected(
    schemas: Schemas, certificates: LocalCA, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Connected]:
    streams = small_topology()
    users = tmp_path_factory.mktemp("feeds") / "users.json"
    async with nats_from_wheel(certificates, streams) as wheel:
        server = as_server(wheel, certificates, streams)
        watching = asyncio.create_task(wheel.keep_feeds(users))
        writer = certificates.service(feed_channel.WRITER)
        try:
            async with a_house(
                schemas,
                server,
                certificates,
                institutions_path=INSTITUTIONS,
                feeds_cert_path=writer.cert,
                feeds_key_path=writer.key,
                feeds_users_path=users,
            ) as house:
                made = County(house, server, {})
                yield Connected(made, wheel, certificates)
                await made.close()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


async def take(client: Client, institution_id: str, wanted: int) -> list[Msg]:
    """So many of the services' events from an institution's durable, acknowledged."""
    puller = await Puller.bind(
        client,
        stream=feed_channel.stream_of(institution_id),
        durable=feed_channel.durable_of(institution_id),
        batch_max=100,
    )
    found: list[Msg] = []
    async with asyncio.timeout(30):
        while len(found) < wanted:
            with suppress(TimeoutError):
                for message in await puller.fetch(100):
                    await message.ack()
                    if ".gateway." not in message.subject:
                        found.append(message)
    await puller.close()
    return found


async def test_a_government_system_has_its_feed_in_order_and_once(connected: Connected) -> None:
    county = connected.county
    answer = await connected.set_feed(OWN)
    assert (answer.stream, answer.durable, answer.open) == (f"FEED-{OWN}", OWN, True)
    client = await connected.eventually_in(OWN)
    loan = await county.a_loan()
    await county.a_household(area_code="123457001001", county_code="123457")
    await county.say("loans.loan", loan, *repaid(loan, 1, 2))
    await county.kept()

    found = await take(client, OWN, 3)

    envelopes = [cloudevents.read(message.headers or {}) for message in found]
    assert [(each.aggregate_id, each.sequence) for each in envelopes] == [
        (loan, 1),
        (loan, 2),
        (loan, 3),
    ]
    assert found[0].subject == f"feed.{OWN}.loans.loan_applied.123456"
    assert json.loads(found[0].data)["loanId"] == loan
    assert (found[0].headers or {})["ce-datacontenttype"] == "application/json"

    # What was taken is noted, and what is said twice comes once.
    async def waiting() -> Any:
        status_of = await county.feeds(OWN).GetFeedStatus(pb.GetFeedStatusRequest())
        return status_of.nats_open and [
            (each.reader, each.waiting_events) for each in status_of.readers
        ]

    await eventually(waiting, lambda readers: readers == [("nats", 0)])
    await county.house.schema.ask("UPDATE feed_channel SET position = 0")
    later = await county.a_loan()
    await county.kept()
    (only,) = await take(client, OWN, 1)
    assert cloudevents.read(only.headers or {}).aggregate_id == later
    await client.close()


async def test_it_sees_and_does_nothing_else(connected: Connected) -> None:
    await connected.set_feed(OWN)
    await connected.set_feed("court-1")
    denied: list[str] = []

    async def note(error: Exception) -> None:
        denied.append(str(error))

    await (await connected.eventually_in(OWN)).close()
    client = await nats.connect(
        connected.wheel.url,
        tls=connected.certificates.institution(OWN).client_context(),
        inbox_prefix=f"_INBOX_{OWN}".encode(),
        error_cb=note,
    )
    for subject in ("feed.>", f"feed.{OWN}.>", "liandong.>", "_INBOX_court-1.>", "$JS.>", ">"):
        await client.subscribe(subject)
    for subject in (
        f"feed.{OWN}.loans.loan_applied.123456",
        "feed.court-1.loans.loan_applied.123456",
        "liandong.loans.v1.loan_applied.123456",
        "$JS.API.CONSUMER.MSG.NEXT.FEED-court-1.court-1",
        f"$JS.API.STREAM.PURGE.FEED-{OWN}",
        "$JS.API.STREAM.INFO.EVENTS",
        "$JS.API.STREAM.NAMES",
    ):
        await client.publish(subject, b"{}")
    await client.flush()

    async def refused() -> int:
        return len(denied)

    assert await eventually(refused, lambda count: count == 13)
    assert all("permissions violation" in each.lower() for each in denied)
    with pytest.raises(NatsError):
        await client.jetstream(timeout=1).add_stream(StreamConfig(name="X", subjects=["x"]))
    await client.close()


async def test_who_is_suspended_is_cut_off_and_nobody_else_is(connected: Connected) -> None:
    await connected.set_feed(OWN)
    await connected.set_feed("court-1")
    suspended, stays = (
        await connected.eventually_in("court-1"),
        await connected.eventually_in(OWN),
    )
    service = await connected.county.nats.connect("loans")
    async with connected.county.house.db.transaction() as session:
        assert await operations.set_active(session, "court-1", active=False)

    async def cut_off() -> bool:
        return not suspended.is_connected

    await eventually(cut_off)
    assert stays.is_connected
    assert service.is_connected
    assert service.stats["reconnects"] == 0
    loan = await connected.county.a_loan()
    messages = await take(stays, OWN, 1)
    assert loan in {cloudevents.read(each.headers or {}).aggregate_id for each in messages}
    async with connected.county.house.db.transaction() as session:
        assert await operations.set_active(session, "court-1", active=True)
    await (await connected.eventually_in("court-1")).close()
    for client in (stays, service, suspended):
        await client.close()


async def test_a_stream_that_was_lost_is_filled_again_from_what_was_taken(
    connected: Connected,
) -> None:
    county = connected.county
    await connected.set_feed(OWN)
    client = await connected.eventually_in(OWN)
    await county.a_loan()
    await county.kept()
    await take(client, OWN, 1)
    loan = await county.a_loan()
    await county.kept()
    feeds = await connected.as_writer()

    async def published() -> int:
        return (await feeds.jetstream().stream_info(f"FEED-{OWN}")).state.messages

    await eventually(published)
    await feeds.jetstream().delete_stream(f"FEED-{OWN}")
    await county.a_loan()

    found = await take(client, OWN, 2)
    assert loan in {cloudevents.read(each.headers or {}).aggregate_id for each in found}
    await feeds.close()
    await client.close()


async def test_a_stream_that_takes_nothing_is_filled_as_soon_as_it_does(
    connected: Connected,
) -> None:
    county = connected.county
    await connected.set_feed(OWN)
    client = await connected.eventually_in(OWN)
    known = await county.a_loan()
    await county.kept()
    while known not in {
        cloudevents.read(each.headers or {}).aggregate_id for each in await take(client, OWN, 1)
    }:
        pass
    feeds = await connected.as_writer()
    config = (await feeds.jetstream().stream_info(f"FEED-{OWN}")).config
    with capture_logs() as logs:
        await feeds.jetstream().update_stream(replace(config, max_msg_size=1))
        loan = await county.a_loan()
        await county.kept()

        async def held() -> list[str]:
            return [each["error"] for each in logs if each["event"] == "feed_held"]

        assert set(await eventually(held)) == {"BadRequestError"}
    await feeds.jetstream().update_stream(replace(config, max_msg_size=-1))

    (message,) = await take(client, OWN, 1)
    assert cloudevents.read(message.headers or {}).aggregate_id == loan
    await feeds.close()
    await client.close()


async def test_only_systems_of_the_government_have_one(connected: Connected) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await connected.set_feed("bank-1")
    assert status.reason_of(refusal.value) == "NOT_A_GOVERNMENT_SYSTEM"
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await connected.set_feed("nobody-1")
    assert status.reason_of(unknown.value) == "INSTITUTION_NOT_FOUND"


def test_the_users_are_the_gateway_and_whoever_is_open() -> None:
    found = feed_channel.users(ENV, ["b-1", "a-1"])

    assert [each["user"] for each in found] == [
        f"spiffe://liandong/{ENV}/svc/feeds",
        f"spiffe://liandong/{ENV}/inst/a-1",
        f"spiffe://liandong/{ENV}/inst/b-1",
    ]
    assert "a-1" not in json.dumps(found[2])
    assert Path(feed_channel.stream_of("a-1")).name == "FEED-a-1"
