"""Values that tests of every folder need, whole and valid; a test names only what it is about."""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from google.protobuf.message import Message

from services.kernel import ids
from services.kernel.caller import Caller, body_hash
from services.kernel.cloudevents import Envelope

COUNTY = "411224"


def an_envelope(**changes: Any) -> Envelope:
    """What is known of an event."""
    event_id = ids.new_id()
    made = Envelope(
        event_id=event_id,
        event_type="liandong.fields.v1.field_sown",
        aggregate_type="fields.field",
        aggregate_id=str(event_id),
        sequence=1,
        county_code=COUNTY,
        business_date=date(2018, 1, 3),
        programme="",
        traceparent="",
        recorded_at=datetime(2018, 1, 3, 8, tzinfo=UTC),
    )
    return replace(made, **changes)


def a_caller(
    method: str = "/test/Method", request: Message | None = None, **changes: Any
) -> Caller:
    """Who is asking, for one call with this request."""
    body = b"" if request is None else request.SerializeToString()
    made = Caller(
        institution_id="bank-1",
        role="bank",
        person_id="bank-1-p1",
        county_code=COUNTY,
        areas=(),
        purpose="test",
        method=method,
        body_hash=body_hash(body),
    )
    return replace(made, **changes)
