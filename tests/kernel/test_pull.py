"""Pulling: what comes more often than the server sent it does not hold up what follows."""

import pytest

from services.kernel.outbox import STREAM
from services.kernel.pull import Puller
from tests.conftest import Connect

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
