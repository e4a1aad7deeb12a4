"""What credit hears, through the consumer's own path: once, in order, whatever is repeated."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

import pytest
from google.protobuf.message import Message
from liandong.households.v1 import events_pb2
from nats.aio.client import Client
from nats.aio.msg import Msg

from services.credit.events_in import handlers
from services.credit.model import CreditFile
from services.credit.operations import rating as operations
from services.credit.store import files as store
from services.kernel.bus import Consumer
from services.kernel.cloudevents import Envelope
from services.kernel.database import Database, execute, fetch
from services.kernel.ids import new_id
from services.kernel.inbox import Delivery
from services.kernel.walls import EVERY_COUNTY
from services.programmes.loader import Catalogue
from tests.credit.county import (
    COUNTY,
    OPENED,
    OTHER_COUNTY,
    OTHER_VILLAGE,
    VILLAGE,
    a_caller,
    household_id,
)
from tests.credit.test_store import START

pytestmark = pytest.mark.postgres


@pytest.fixture
def consumer(db: Database, catalogue: Catalogue) -> Consumer:
    return Consumer(db, "credit", handlers(catalogue), batch_size_max=500)


def told(
    name: str, number: int, sequence: int, message: Message, *, county_code: str = COUNTY
) -> Delivery:
    envelope = Envelope(
        event_id=new_id(),
        event_type=f"liandong.households.v1.{name}",
        aggregate_type="households.household",
        aggregate_id=str(household_id(number)),
        sequence=sequence,
        county_code=county_code,
        business_date=OPENED,
        programme="",
        traceparent="",
        recorded_at=datetime(2021, 1, 4, tzinfo=UTC),
    )
    return Delivery(envelope, message.SerializeToString(), Msg(Client()))


def registered(
    number: int, *, area_code: str = VILLAGE, honour: str = "", county_code: str = COUNTY
) -> Delivery:
    message = events_pb2.HouseholdRegistered(
        household_id=str(household_id(number)),
        area_code=area_code,
        status="registered_poor",
        member_count=3,
        honour=honour,
    )
    return told("household_registered", number, 1, message, county_code=county_code)


def changed(
    number: int,
    sequence: int,
    *,
    area_code: str = VILLAGE,
    status: str = "registered_poor",
    honour: str = "",
) -> Delivery:
    message = events_pb2.HouseholdChanged(
        household_id=str(household_id(number)), area_code=area_code, status=status, honour=honour
    )
    return told("household_changed", number, sequence, message)


def delisted(number: int, sequence: int) -> Delivery:
    message = events_pb2.HouseholdDelisted(
        household_id=str(household_id(number)), reason="moved_away"
    )
    return told("household_delisted", number, sequence, message)


async def take(consumer: Consumer, *deliveries: Delivery) -> int:
    """Apply a batch as the consumer does; how many events were new."""
    return len((await consumer._apply(deliveries)).take)


async def files(db: Database, *, county_code: str = COUNTY) -> Sequence[CreditFile]:
    async with db.transaction(EVERY_COUNTY) as session:
        return await store.list_files(session, county_code, county_code, after=START, limit=9)


async def rate(db: Database, catalogue: Catalogue) -> None:
    async with db.transaction(EVERY_COUNTY) as session:
        await operations.rate_households(
            session,
            a_caller(),
            catalogue,
            COUNTY,
            programme_id="plain",
            within="",
            after=START,
            limit=100,
        )


async def said(db: Database) -> list[str]:
    async with db.transaction(EVERY_COUNTY) as session:
        rows = await fetch(session, "SELECT event_type, sequence FROM outbox ORDER BY position")
    assert [row["sequence"] for row in rows] == list(range(1, len(rows) + 1))
    return [row["event_type"].rsplit(".", 1)[-1] for row in rows]


async def test_a_registered_household_gets_an_empty_file_once(
    db: Database, consumer: Consumer
) -> None:
    event = registered(1, honour="honest")

    assert await take(consumer, event, registered(2)) == 2
    assert await take(consumer, event) == 0

    first, second = await files(db)
    assert (first.household.area_code, first.household.honour) == (VILLAGE, "honest")
    assert (second.household.honour, second.limit_fen, second.version) == ("", 0, 0)
    assert await said(db) == []


async def test_of_several_changes_in_one_batch_the_last_counts(
    db: Database, consumer: Consumer
) -> None:
    await take(
        consumer,
        registered(1),
        changed(1, 2, honour="honest"),
        changed(1, 3, area_code=OTHER_VILLAGE),
    )

    [file] = await files(db)
    assert (file.household.area_code, file.household.honour) == (OTHER_VILLAGE, "")


async def test_a_new_honour_moves_a_granted_limit_under_its_own_terms(
    db: Database, consumer: Consumer, catalogue: Catalogue
) -> None:
    await take(consumer, registered(1))
    await rate(db, catalogue)
    event = changed(1, 2, honour="honest")

    await take(consumer, event)
    await take(consumer, event)

    [file] = await files(db)
    assert (file.limit_fen, file.valid_until) == (8_000_000, date(2022, 1, 4))
    assert await said(db) == ["household_graded", "limit_granted", "limit_changed"]
    async with db.transaction(EVERY_COUNTY) as session:
        found = await store.find_file(session, COUNTY, household_id(1))
        causes = await fetch(session, "SELECT cause FROM rating ORDER BY recorded_at")
    assert found is not None
    assert "3000000 (honest)" in found[1]
    assert [row["cause"] for row in causes] == ["rated", "honour_changed"]


async def test_what_was_observed_since_waits_for_the_next_rating(
    db: Database, consumer: Consumer, catalogue: Catalogue
) -> None:
    await take(consumer, registered(1))
    await rate(db, catalogue)
    async with db.transaction(EVERY_COUNTY) as session:
        await execute(
            session,
            """INSERT INTO indicator (county_code, household_id, code, value, observed_on,
                                      source_id, person_id)
               VALUES ($1, $2, 'arrears', 1, $3, 'cfc-1', 'p1')""",
            COUNTY,
            household_id(1),
            OPENED,
        )

    await take(consumer, changed(1, 2, honour="honest"))

    [file] = await files(db)
    assert (file.limit_fen, file.vetoes) == (8_000_000, ())


async def test_a_move_alone_says_nothing(
    db: Database, consumer: Consumer, catalogue: Catalogue
) -> None:
    await take(consumer, registered(1))
    await rate(db, catalogue)

    await take(consumer, changed(1, 2, area_code=OTHER_VILLAGE, status="near_poor"))

    assert await said(db) == ["household_graded", "limit_granted"]


@pytest.mark.parametrize("how", ["delisted", "deceased"])
async def test_a_household_that_is_gone_loses_its_limit_once(
    db: Database, consumer: Consumer, catalogue: Catalogue, how: str
) -> None:
    await take(consumer, registered(1))
    await rate(db, catalogue)
    event = delisted(1, 2) if how == "delisted" else changed(1, 2, status="deceased")

    await take(consumer, event)
    await take(consumer, event)
    await rate(db, catalogue)

    [file] = await files(db)
    assert (file.limit_fen, file.grade) == (0, "A")
    assert await said(db) == ["household_graded", "limit_granted", "limit_changed"]


async def test_a_delisted_household_stays_so_until_it_is_registered_again(
    db: Database, consumer: Consumer
) -> None:
    await take(consumer, registered(1), delisted(1, 2), changed(1, 3))
    [file] = await files(db)
    assert file.delisted

    again = registered(1)
    message = events_pb2.HouseholdRegistered.FromString(again.payload)
    await take(consumer, told("household_registered", 1, 4, message))

    [file] = await files(db)
    assert not file.delisted


async def test_a_batch_may_hold_events_of_several_counties(
    db: Database, consumer: Consumer
) -> None:
    await take(
        consumer,
        registered(1),
        registered(2, area_code="990102001001", county_code=OTHER_COUNTY),
    )

    assert [file.household_id for file in await files(db)] == [household_id(1)]
    [other] = await files(db, county_code=OTHER_COUNTY)
    assert other.household_id == household_id(2)


async def test_an_unknown_household_that_is_delisted_is_no_fault(
    db: Database, consumer: Consumer
) -> None:
    assert await take(consumer, delisted(7, 1)) == 1
    assert await files(db) == []
