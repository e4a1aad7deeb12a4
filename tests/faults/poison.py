"""Poison: events that nobody can take in, spread through the services' own outboxes."""

import uuid
from uuid import uuid4

from liandong.common.v1 import operator_pb2

from deploy.demo.counter import COUNTY
from deploy.local.nats import connect
from deploy.local.remote import Operator
from deploy.local.stack import SERVICES
from tests.eventually import eventually
from tests.faults.county import OPERATOR, Tried
from tests.faults.harness import Load, ask

MALFORMED = b"\xff\xff\xff\xff"
UNKNOWN_TYPE = "never_heard_of"
REASON = "planted by a trial of faults"
PAGE = 200


async def spread(stack: Tried) -> int:
    """A malformed event of every type that was ever said, one of no type, and one that is none."""
    count = 0
    for noun in SERVICES:
        said = await ask(stack, f"SELECT DISTINCT event_type FROM {noun}.outbox")
        types = [(row["event_type"], MALFORMED) for row in said]
        types.append((f"liandong.{noun}.v1.{UNKNOWN_TYPE}", b""))
        for event_type, payload in types:
            await ask(
                stack,
                f"""INSERT INTO {noun}.outbox (event_id, event_type, aggregate_type, aggregate_id,
                                               sequence, county_code, business_date, payload)
                    SELECT $1, $2, 'poison', $3, 1, county_code, business_date, $4
                    FROM {noun}.outbox ORDER BY position DESC LIMIT 1""",
                uuid.uuid4(),
                event_type,
                str(uuid.uuid4()),
                payload,
            )
            count += 1
    claims = await connect(stack.nats.url, stack.ca.service("claims"), "claims")
    try:
        await claims.jetstream().publish(f"liandong.claims.v1.nothing.{COUNTY}", b"nothing")
    finally:
        await claims.close()
    return count + 1


async def _parked(stack: Tried) -> dict[str, int]:
    found = {}
    for noun in (*SERVICES, "gateway"):
        sql = f"SELECT count(*) FROM {noun}.parked_event WHERE state = 'parked'"
        found[noun] = (await ask(stack, sql))[0][0]
    return found


async def until_parked(stack: Tried, *, seconds_max: float) -> int:
    """Wait until every service that heard poison has put all of it aside; how much that is."""

    async def left() -> int:
        """Aggregates of ours that some service has neither parked nor passed over."""
        missing = 0
        for noun, sources in stack.streams.hears.items():
            if noun == "gateway":
                continue
            known = f"""SELECT aggregate_id FROM {noun}.inbox_position
                        WHERE aggregate_type = 'poison'"""
            for source in sources:
                rows = await ask(
                    stack,
                    f"""SELECT count(*) FROM {source}.outbox
                        WHERE aggregate_type = 'poison' AND aggregate_id NOT IN ({known})""",
                )
                missing += rows[0][0]
        return missing

    await eventually(left, lambda count: count == 0, seconds_max=seconds_max)
    parked = await _parked(stack)
    assert sum(parked.values()) > 0, "nobody was poisoned"
    return sum(parked.values())


async def drop(stack: Tried, load: Load) -> None:
    """Two people give up what is parked, service by service."""
    operator = Operator(load.year._client(OPERATOR))
    for noun in SERVICES:
        listing = operator_pb2.ListParkedEventsRequest(page_size=PAGE)
        answer = await operator.ask(noun, "ListParkedEvents", listing)
        assert not answer.next_page_token, "more poison than a page"
        for event in answer.events:
            assert event.aggregate_type == "poison", f"{noun} parked what is no poison: {event}"
            for post in (1, 2):
                request = operator_pb2.DropParkedEventRequest(
                    request_id=str(uuid4()), event_id=event.event_id, reason=REASON
                )
                await operator.ask(noun, "DropParkedEvent", request, post=post)
