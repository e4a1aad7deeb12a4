"""Pulling: what comes more often than the server sent it does not hold up what follows."""

import pytest
from nats.aio.subscription import Subscription

from services.kernel.outbox import STREAM
from services.kernel.pull import Puller
from tests.conftest import Connect
from tests.eventually import eventually

pytestmark = pytest.mark.nats


@pytest.mark.usefixtures("stream")
async def test_a_message_that_comes_twice_does_not_keep_the_next_from_being_asked_for(
    connect: Connect,
) -> None:
    hears, says = await connect("barns"), await connect("fields")
    puller = await Puller.bind(hears, stream=STREAM, durable="barns", batch_max=1)
    await says.jetstream().publish("liandong.fields.v1.sown.123456", b"first")
    (first,) = await puller.fetch(1)
    await first.ack()
    # As a network may: the same message again, which no request brought.
    puller._sort(first, [])

    await says.jetstream().publish("liandong.fields.v1.sown.123456", b"second")

    (second,) = await puller.fetch(1)
    assert second.data == b"second"
    await puller.close()


@pytest.mark.usefixtures("stream")
async def test_what_has_come_is_given_at_once_in_order_and_no_more_than_was_asked_for(
    connect: Connect,
) -> None:
    hears, says = await connect("barns"), await connect("fields")
    puller = await Puller.bind(hears, stream=STREAM, durable="barns", batch_max=10)
    subscription = puller._subscription
    for place in range(5):
        await says.jetstream().publish("liandong.fields.v1.sown.123456", b"%d" % place)
    await puller._ask(10)
    await eventually(lambda: _come(subscription), (5).__eq__)

    some, others = await puller.fetch(3), await puller.fetch(3)

    assert [message.data for message in (*some, *others)] == [b"0", b"1", b"2", b"3", b"4"]
    assert len(some) == 3
    assert (subscription.pending_msgs, subscription.pending_bytes) == (0, 0)
    await puller.close()


async def _come(subscription: Subscription) -> int:
    return subscription.pending_msgs
