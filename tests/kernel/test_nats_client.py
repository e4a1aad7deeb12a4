"""The lean client reads and writes what its base does; headers cannot smuggle others in."""

import string
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from nats import errors
from nats.aio.client import Client
from nats.errors import MsgAlreadyAckdError

from services.kernel import cloudevents, telemetry
from services.kernel.nats_client import LeanClient
from tests.builders import an_envelope
from tests.conftest import Connect
from tests.eventually import eventually
from tests.servers import NatsServer

names = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=20)
values = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Z"], exclude_characters="\x85"), max_size=40
)


def block(headers: dict[str, str], colon: str) -> bytes:
    return "".join(f"{name}{colon}{value}\r\n" for name, value in headers.items()).encode()


@given(st.dictionaries(names, values, max_size=20), st.sampled_from([":", ": ", ":\t"]))
def test_headers_are_read_as_the_base_reads_them(headers: dict[str, str], colon: str) -> None:
    raw = block(headers, colon) + b"\r\n"

    assert LeanClient._parse_header_lines(raw) == Client._parse_header_lines(raw) == headers


async def written(client: Any, headers: dict[str, str]) -> bytes:
    """What a client would send for one message; it has no connection."""
    sent: list[bytes] = []

    async def send(command: bytes, priority: bool = False) -> None:
        sent.append(bytes(command))

    client._send_command = send
    client._flush_queue = SimpleNamespace(empty=lambda: False)
    await client._send_publish("liandong.fields.v1.sown.000000", "", b"body", 4, headers)
    return sent[0]


async def test_a_message_is_written_as_the_base_writes_it() -> None:
    headers = cloudevents.headers(an_envelope(), source="fields") | {"Nats-Msg-Id": "1"}

    assert await written(LeanClient(), headers) == await written(Client(), headers)


async def test_many_messages_are_written_as_one_by_one() -> None:
    envelope = an_envelope()
    headers = cloudevents.headers(envelope, source="fields")
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    client: Any = LeanClient()
    client._status = Client.CONNECTED
    client._max_payload = 1_000_000
    sent: list[bytes] = []

    async def send(command: bytes, priority: bool = False) -> None:
        sent.append(command)

    client._send_command = send
    client._flush_queue = SimpleNamespace(empty=lambda: False)
    message = ("liandong.fields.v1.sown.000000", b"body", lines)
    await client.publish_all([message] * 200)

    assert b"".join(sent) == 200 * await written(Client(), headers)
    assert 1 < len(sent) < 10, "few writes, each of a bounded size"
    assert client.stats["out_msgs"] == 200


async def test_many_messages_are_refused_as_one_would_be() -> None:
    client: Any = LeanClient()
    with pytest.raises(errors.ConnectionReconnectingError):
        await client.publish_all([("liandong.fields", b"body", "")])

    client._status = Client.CONNECTED
    client._max_payload = 3
    with pytest.raises(errors.MaxPayloadError):
        await client.publish_all([("liandong.fields", b"body", "")])
    with pytest.raises(errors.BadSubjectError):
        await client.publish_all([("liandong.fields PUB", b"", "")])


@pytest.mark.parametrize("value", ["a\r\nNats-Msg-Id: 2", "a\nb", "a\rb"])
async def test_a_header_cannot_bring_others_along(value: str) -> None:
    with pytest.raises(errors.BadHeaderError):
        await written(LeanClient(), {"name": value})


@pytest.mark.nats
async def test_a_server_takes_and_gives_its_messages(stream: NatsServer, connect: Connect) -> None:
    says, hears = await connect("fields"), await connect("barns")
    assert type(says) is LeanClient
    subscription = await hears.jetstream().pull_subscribe_bind(durable="barns", stream="EVENTS")
    headers = cloudevents.headers(an_envelope(), source="fields")

    await says.jetstream().publish("liandong.fields.v1.sown.000000", b"body", headers=headers)
    (message,) = await subscription.fetch(1, 5)
    await message.ack()

    assert stream.streams.durable("barns").durable_name == "barns"
    assert (message.data, message.headers) == (b"body", headers)


@pytest.mark.nats
async def test_messages_are_acknowledged_together_and_each_only_once(
    stream: NatsServer, connect: Connect
) -> None:
    says, hears = await connect("fields"), await connect("barns")
    context = hears.jetstream()
    subscription = await context.pull_subscribe_bind(durable="barns", stream="EVENTS")
    for place in range(3):
        await says.jetstream().publish("liandong.fields.v1.sown.000000", b"%d" % place)
    messages = await subscription.fetch(3, 5)

    await hears.ack_all([])
    await hears.ack_all(messages)

    async def left() -> int:
        found = await context.consumer_info("EVENTS", "barns")
        return (found.num_ack_pending or 0) + (found.num_pending or 0)

    await eventually(left, (0).__eq__)
    assert all(message.is_acked for message in messages)
    with pytest.raises(MsgAlreadyAckdError):
        await hears.ack_all(messages)


@pytest.mark.nats
async def test_what_the_server_refuses_is_an_error_in_the_log_and_a_count(
    stream: NatsServer, connect: Connect
) -> None:
    with structlog.testing.capture_logs() as logged:
        fields = await connect("fields")
        await fields.publish("liandong.barns.v1.forged.000000", b"")
        await fields.subscribe("_INBOX_barns.>")
        await fields.flush()
        await eventually(lambda: _answer(logged), lambda found: len(found) == 2)

    assert {entry["log_level"] for entry in logged} == {"error"}
    assert {(entry["event"], entry["name"]) for entry in logged} == {("nats_refused", "fields")}
    assert "liandong.barns.v1.forged" in str(logged)
    assert "liandong.nats.refused" in telemetry._counters


async def _answer(logged: list[Any]) -> list[Any]:
    return logged
