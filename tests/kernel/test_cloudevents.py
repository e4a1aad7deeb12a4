"""CloudEvents: what is put into headers is read from them again; what is no event is refused."""

import string
from dataclasses import replace
from datetime import UTC, date, datetime
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nats.js.api import DeliverPolicy

from services.kernel import cloudevents
from services.kernel.cloudevents import Envelope
from tests.builders import an_envelope
from tests.conftest import Connect
from tests.servers import NatsServer

# The database takes no NUL, and a surrogate is no text.
texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40
)
snake = st.text(string.ascii_lowercase + "_", min_size=1, max_size=20)
envelopes = st.builds(
    Envelope,
    event_id=st.uuids(),
    event_type=st.builds("liandong.fields.v1.{}".format, snake),
    aggregate_type=texts,
    aggregate_id=texts,
    sequence=st.integers(min_value=1, max_value=2**63 - 1),
    county_code=st.text(string.digits, min_size=6, max_size=6),
    business_date=st.none() | st.dates(),
    programme=st.just("") | texts,
    traceparent=st.just("") | st.just("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    recorded_at=st.datetimes(timezones=st.just(UTC)),
)


@given(envelopes)
def test_an_envelope_comes_back_from_its_headers(envelope: Envelope) -> None:
    assert cloudevents.read(cloudevents.headers(envelope, source="fields")) == envelope


@given(envelopes)
def test_headers_are_printable_ascii_without_a_line_break(envelope: Envelope) -> None:
    for name, value in cloudevents.headers(envelope, source="fields").items():
        assert name.isascii()
        assert all("!" <= character <= "~" for character in value), (name, value)


@pytest.mark.nats
async def test_a_server_carries_any_envelope_unchanged(
    stream: NatsServer, connect: Connect
) -> None:
    said: list[Envelope] = []

    @settings(max_examples=200, database=None)
    @given(envelopes)
    def collect(envelope: Envelope) -> None:
        said.append(envelope)

    collect()
    says, hears = await connect("fields"), await connect("barns")
    for envelope in said:
        await says.publish(
            f"{envelope.event_type}.411224",
            b"x",
            headers=cloudevents.headers(envelope, source="fields"),
        )
    await says.flush()
    subscription = await hears.jetstream().pull_subscribe_bind(durable="barns", stream="EVENTS")
    # By place in the stream: a message that is acknowledged late is delivered again.
    heard: dict[int, Envelope] = {}
    while len(heard) < len(said):
        for message in await subscription.fetch(500, 5):
            heard[message.metadata.sequence.stream] = cloudevents.read(message.headers or {})
            await message.ack()

    assert stream.streams.durable("barns").deliver_policy == DeliverPolicy.ALL
    assert [heard[place] for place in sorted(heard)] == said


def test_what_is_known_of_an_event_is_told_by_its_type() -> None:
    envelope = an_envelope(event_type="liandong.claims.v1.payout_authorised")

    assert envelope.noun == "claims"
    assert envelope.aggregate == (envelope.aggregate_type, envelope.aggregate_id)
    assert envelope.day == date(2018, 1, 3)


@pytest.mark.parametrize(("flags", "sampled"), [("01", True), ("00", False)])
def test_a_trace_is_kept_when_its_flag_says_so(flags: str, *, sampled: bool) -> None:
    trace = f"00-{'a' * 32}-{'b' * 16}-{flags}"

    assert an_envelope(traceparent=trace).sampled is sampled
    assert not an_envelope(traceparent="").sampled


REQUIRED = ("ce-id", "ce-type", "ce-subject", "ce-time", "aggregatetype", "sequence", "countycode")


@pytest.mark.parametrize("missing", REQUIRED)
def test_headers_that_lack_one_are_no_event(missing: str) -> None:
    headers = cloudevents.headers(an_envelope(), source="fields")
    del headers[missing]

    with pytest.raises((KeyError, ValueError)):
        cloudevents.read(headers)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ce-id", "not-a-uuid"),
        ("ce-time", "yesterday"),
        ("ce-type", "loan_repaid"),
        ("ce-type", ""),
        ("sequence", "0"),
        ("sequence", "-1"),
        ("sequence", "1.5"),
        ("sequence", str(2**63)),
        ("ce-subject", "%00"),
        ("aggregatetype", "a%00b"),
        ("countycode", "%00"),
        ("businessdate", "2018-02-30"),
        ("programme", "%00"),
    ],
)
def test_headers_that_no_database_could_take_are_no_event(name: str, value: str) -> None:
    headers = cloudevents.headers(an_envelope(), source="fields") | {name: value}

    with pytest.raises((KeyError, ValueError)):
        cloudevents.read(headers)


def test_the_time_is_read_as_utc_whatever_zone_it_was_written_in() -> None:
    headers = cloudevents.headers(an_envelope(), source="fields")
    headers["ce-time"] = "2018-01-03T08:00:00+08:00"

    assert cloudevents.read(headers).recorded_at == datetime(2018, 1, 3, tzinfo=UTC)
    assert cloudevents.read(headers).event_id == UUID(headers["ce-id"])
    assert replace(an_envelope(), sequence=7).sequence == 7
