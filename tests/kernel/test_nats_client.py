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
