"""Credit over gRPC messages, on a real PostgreSQL."""

from collections.abc import Sequence
from datetime import date
from typing import TypeVar
from uuid import UUID

import pytest
from google.protobuf.message import Message
from google.type.date_pb2 import Date
from liandong.credit.v1 import credit_pb2, events_pb2

from services.credit import jobs
from services.credit.servicer import CreditServicer
from services.credit.store import files as store
from services.kernel import business_day, wire
from services.kernel.caller import Caller
from services.kernel.database import Database, fetch
from services.kernel.errors import Conflict, Denied, Invalid, NotFound, Refused
from services.kernel.ids import new_id
from services.kernel.walls import EVERY_COUNTY
from services.programmes.loader import Catalogue
from tests.credit.county import (
    COUNTY,
    OPENED,
    OTHER_COUNTY,
    OTHER_VILLAGE,
    TOWN,
    VILLAGE,
    a_caller,
    a_household,
    calling,
    household_id,
)

pytestmark = pytest.mark.postgres

M = TypeVar("M", bound=Message)

STATION = a_caller("township_station", institution_id="tst-1", areas=(TOWN,))
BANK = a_caller("bank", institution_id="rcb-1", areas=(TOWN,))


@pytest.fixture
def servicer(db: Database, catalogue: Catalogue) -> CreditServicer:
    return CreditServicer(db, catalogue)


async def put(db: Database, *numbers: int, area_code: str = VILLAGE, honour: str = "") -> None:
    async with db.transaction(EVERY_COUNTY) as session:
        households = [a_household(n, area_code=area_code, honour=honour) for n in numbers]
        await store.put_households(session, COUNTY, households, relist=True)


def an_indicator(number: int, code: str, *, on: Date | None = None) -> credit_pb2.Indicator:
    day = on or wire.date_to_proto(OPENED)
    return credit_pb2.Indicator(
        household_id=str(household_id(number)), code=code, applies=True, observed_on=day
    )


async def record(
    servicer: CreditServicer,
    *indicators: credit_pb2.Indicator,
    caller: Caller | None = None,
    request_id: UUID | None = None,
) -> credit_pb2.BatchRecordIndicatorsResponse:
    request = credit_pb2.BatchRecordIndicatorsRequest(
        request_id=str(request_id or new_id()), county_code=COUNTY, indicators=indicators
    )
    return await servicer.BatchRecordIndicators(request, calling(caller or a_caller(), request))


async def rate(
    servicer: CreditServicer,
    *,
    caller: Caller | None = None,
    request_id: UUID | None = None,
    programme_id: str = "plain",
    within: str = "",
    after: str = "",
    chunk_size: int = 0,
) -> credit_pb2.RateHouseholdsResponse:
    request = credit_pb2.RateHouseholdsRequest(
        request_id=str(request_id or new_id()),
        county_code=COUNTY,
        programme_id=programme_id,
        within=within,
        after_household_id=after,
        chunk_size=chunk_size,
    )
    return await servicer.RateHouseholds(request, calling(caller or a_caller(), request))


async def get(
    servicer: CreditServicer, number: int, *, caller: Caller | None = None
) -> credit_pb2.CreditFile:
    request = credit_pb2.GetCreditFileRequest(
        county_code=COUNTY, household_id=str(household_id(number))
    )
    answer = await servicer.GetCreditFile(request, calling(caller or a_caller(), request))
    return answer.file


async def list_files(
    servicer: CreditServicer, *, caller: Caller | None = None, within: str = "", token: str = ""
) -> credit_pb2.ListCreditFilesResponse:
    request = credit_pb2.ListCreditFilesRequest(
        county_code=COUNTY, within=within, page_size=2, page_token=token
    )
    return await servicer.ListCreditFiles(request, calling(caller or a_caller(), request))


async def said(db: Database, number: int) -> list[str]:
    """The events of a file, in sequence, which has no gap."""
    async with db.transaction(EVERY_COUNTY) as session:
        rows = await fetch(
            session,
            """SELECT event_type, sequence, aggregate_type, business_date, programme FROM outbox
               WHERE aggregate_id = $1 ORDER BY position""",
            str(household_id(number)),
        )
    assert [row["sequence"] for row in rows] == list(range(1, len(rows) + 1))
    assert {row["aggregate_type"] for row in rows} <= {"credit.credit_file"}
    return [row["event_type"].rsplit(".", 1)[-1] for row in rows]


async def payloads(db: Database, event_type: str, message: type[M]) -> Sequence[M]:
    async with db.transaction(EVERY_COUNTY) as session:
        rows = await fetch(
            session,
            "SELECT payload FROM outbox WHERE event_type = $1 ORDER BY position",
            f"liandong.credit.v1.{event_type}",
        )
    return [message.FromString(row["payload"]) for row in rows]


async def open_day(db: Database, day: date) -> None:
    async with db.transaction(EVERY_COUNTY) as session:
        await business_day.open_day(session, COUNTY, day)


async def test_a_household_is_observed_rated_and_read_with_the_working(
    db: Database, servicer: CreditServicer
) -> None:
    await put(db, 1, honour="honest")

    recorded = await record(servicer, an_indicator(1, "skills"))
    rated = await rate(servicer)
    file = await get(servicer, 1)

    assert recorded == credit_pb2.BatchRecordIndicatorsResponse(recorded=1)
    assert rated == credit_pb2.RateHouseholdsResponse(rated=1, granted=1)
    assert (file.score_centi, file.grade, file.limit_fen) == (10_500, "AA", 13_000_000)
    assert file.valid_until == Date(year=2022, month=1, day=4)
    assert file.programme == "plain@1"
    assert "10000 +500 skills = 10500 → AA" in file.working
    assert await said(db, 1) == ["household_graded", "limit_granted"]
    [granted] = await payloads(db, "limit_granted", events_pb2.LimitGranted)
    assert granted == events_pb2.LimitGranted(
        household_id=str(household_id(1)),
        limit_fen=13_000_000,
        grade="AA",
        valid_until=Date(year=2022, month=1, day=4),
    )


async def test_a_household_of_which_a_gate_is_not_known_gets_no_limit(
    db: Database, servicer: CreditServicer
) -> None:
    await put(db, 1)
    await put(db, 2)
    await record(
        servicer,
        an_indicator(1, "able_to_work"),
        an_indicator(1, "has_project"),
        an_indicator(2, "able_to_work"),
    )

    rated = await rate(servicer, programme_id="gated")
    held, lacking = await get(servicer, 1), await get(servicer, 2)

    assert rated == credit_pb2.RateHouseholdsResponse(rated=2, granted=1)
    assert (held.grade, held.limit_fen, list(held.holds)) == ("A", 5_000_000, [])
    assert (lacking.grade, lacking.limit_fen) == ("", 0)
    assert list(lacking.holds) == ["gate:has_project"]


async def test_each_indicator_is_decided_on_its_own(db: Database, servicer: CreditServicer) -> None:
    await put(db, 1)
    await put(db, 2, area_code=OTHER_VILLAGE)

    answer = await record(
        servicer,
        an_indicator(1, "skills"),
        an_indicator(9, "skills"),
        an_indicator(1, "luck"),
        an_indicator(2, "skills"),
        an_indicator(1, "late", on=Date(year=2021, month=2, day=30)),
        an_indicator(1, "late", on=Date(year=2021, month=1, day=5)),
        an_indicator(1, "able_to_work"),
        caller=STATION,
    )

    assert answer.recorded == 2
    assert [(verdict.index, verdict.reason) for verdict in answer.refused] == [
        (1, "UNKNOWN_HOUSEHOLD"),
        (2, "UNKNOWN_INDICATOR"),
        (3, "UNKNOWN_HOUSEHOLD"),
        (4, "MALFORMED_DATE"),
        (5, "OBSERVED_IN_FUTURE"),
    ]
    assert all(verdict.message_zh for verdict in answer.refused if verdict.index != 4)
    async with db.transaction(EVERY_COUNTY) as session:
        rows = await fetch(session, "SELECT code, source_id, person_id FROM indicator ORDER BY 1")
    assert [tuple(row) for row in rows] == [
        ("able_to_work", "tst-1", "tst-1-p1"),
        ("skills", "tst-1", "tst-1-p1"),
    ]


async def test_the_same_request_again_gets_the_same_answer_and_does_nothing(
    db: Database, servicer: CreditServicer
) -> None:
    await put(db, 1)
    recording, rating = new_id(), new_id()

    firsts = [
        await record(servicer, an_indicator(1, "skills"), request_id=recording),
        await rate(servicer, request_id=rating),
    ]
    seconds = [
        await record(servicer, an_indicator(1, "skills"), request_id=recording),
        await rate(servicer, request_id=rating),
    ]

    assert firsts == seconds
    async with db.transaction(EVERY_COUNTY) as session:
        counted = await fetch(
            session,
            "SELECT (SELECT count(*) FROM indicator) + (SELECT count(*) FROM rating) AS rows",
        )
    assert counted[0]["rows"] == 2
    with pytest.raises(Conflict, match="REQUEST_ID_REUSED"):
        await rate(servicer, request_id=rating, within=TOWN)


async def test_chunks_go_on_where_the_last_one_stopped(
    db: Database, servicer: CreditServicer
) -> None:
    await put(db, *range(1, 6))
    rated, last = 0, ""
    for _ in range(3):
        answer = await rate(servicer, after=last, chunk_size=2)
        rated, last = rated + answer.rated, answer.last_household_id

    assert (rated, last) == (5, "")
    async with db.transaction(EVERY_COUNTY) as session:
        totals = await store.totals(session, COUNTY)
    assert totals["credit.limit_fen"] == 5 * 5_000_000


async def test_only_the_area_asked_for_is_rated(db: Database, servicer: CreditServicer) -> None:
    await put(db, 1)
    await put(db, 2, area_code=OTHER_VILLAGE)

    answer = await rate(servicer, within=TOWN)

    assert answer.rated == 1
    assert (await get(servicer, 2)).programme == ""


async def test_vetoes_are_counted_said_and_read(db: Database, servicer: CreditServicer) -> None:
    await put(db, 1)
    await rate(servicer)
    await record(servicer, an_indicator(1, "arrears"))

    answer = await rate(servicer)

    assert (answer.granted, answer.vetoed) == (0, 1)
    assert list((await get(servicer, 1)).vetoes) == ["arrears"]
    assert await said(db, 1) == [
        "household_graded",
        "limit_granted",
        "household_graded",
        "household_vetoed",
        "limit_changed",
    ]
    [changed] = await payloads(db, "limit_changed", events_pb2.LimitChanged)
    assert changed == events_pb2.LimitChanged(
        household_id=str(household_id(1)), held_by=["veto:arrears"]
    )


async def test_a_rating_that_changes_nothing_is_kept_and_not_said(
    db: Database, servicer: CreditServicer
) -> None:
    await put(db, 1)
    await rate(servicer)

    await rate(servicer)

    assert await said(db, 1) == ["household_graded", "limit_granted"]
    async with db.transaction(EVERY_COUNTY) as session:
        assert len(await fetch(session, "SELECT FROM rating")) == 2


async def test_the_version_in_force_on_the_business_date_is_taken(
    db: Database, servicer: CreditServicer
) -> None:
    await put(db, 1)
    await record(servicer, an_indicator(1, "skills"))
    await rate(servicer)
    before = await get(servicer, 1)
    await open_day(db, date(2022, 1, 1))

    await rate(servicer)

    after = await get(servicer, 1)
    assert (before.programme, before.grade) == ("plain@1", "AA")
    assert (after.programme, after.grade, after.limit_fen) == ("plain@2", "A", 5_000_000)
    assert await said(db, 1) == [
        "household_graded",
        "limit_granted",
        "household_graded",
        "limit_changed",
    ]


async def test_an_open_value_is_refused_by_its_key_and_nothing_is_written(
    db: Database, servicer: CreditServicer
) -> None:
    await put(db, 1)
    await open_day(db, date(2023, 1, 1))

    with pytest.raises(Refused) as refusal:
        await rate(servicer, programme_id="undecided")

    assert refusal.value.reason == "PROGRAMME_VALUE_OPEN"
    assert refusal.value.facts["key"] == "scoring.adjustments"
    verdicts = (await record(servicer, an_indicator(1, "luck"))).refused
    assert [verdict.reason for verdict in verdicts] == ["PROGRAMME_VALUE_OPEN"]
    async with db.transaction(EVERY_COUNTY) as session:
        assert await fetch(session, "SELECT FROM rating") == []


async def test_a_programme_that_the_county_does_not_follow_is_refused(
    servicer: CreditServicer,
) -> None:
    with pytest.raises(NotFound, match="PROGRAMME_NOT_ADOPTED"):
        await rate(servicer, programme_id="elsewhere")


async def test_who_may_record_and_rate(db: Database, servicer: CreditServicer) -> None:
    await put(db, 1)
    stranger = a_caller(county_code=OTHER_COUNTY)

    for caller in (BANK, a_caller("poverty_office")):
        answer = await record(servicer, an_indicator(1, "skills"), caller=caller)
        assert [each.reason for each in answer.refused] == ["SUPPLIER_NOT_ENTITLED"]
    with pytest.raises(Denied):
        await record(servicer, an_indicator(1, "skills"), caller=stranger)
    for caller in (BANK, STATION, stranger):
        with pytest.raises(Denied):
            await rate(servicer, caller=caller, within=TOWN)
    with pytest.raises(Denied, match="AREA_NOT_YOURS"):
        await rate(servicer, caller=a_caller(areas=(TOWN,)))


async def test_lenders_read_the_county_and_offices_their_area(
    db: Database, servicer: CreditServicer
) -> None:
    await put(db, 1)
    await put(db, 2, area_code=OTHER_VILLAGE)

    assert (await get(servicer, 2, caller=BANK)).area_code == OTHER_VILLAGE
    assert len((await list_files(servicer, caller=BANK)).files) == 2
    assert (await get(servicer, 1, caller=STATION)).area_code == VILLAGE
    assert len((await list_files(servicer, caller=STATION, within=TOWN)).files) == 1
    with pytest.raises(NotFound, match="CREDIT_FILE_NOT_FOUND"):
        await get(servicer, 2, caller=STATION)
    with pytest.raises(Denied, match="AREA_NOT_YOURS"):
        await list_files(servicer, caller=STATION)
    with pytest.raises(Denied, match="AREA_NOT_YOURS"):
        await get(servicer, 1, caller=a_caller("bank", county_code=OTHER_COUNTY))
    with pytest.raises(Denied, match="ROLE_NOT_ALLOWED"):
        await get(servicer, 1, caller=a_caller("insurer"))
    with pytest.raises(NotFound, match="CREDIT_FILE_NOT_FOUND"):
        await get(servicer, 9)


async def test_files_are_listed_a_page_at_a_time(db: Database, servicer: CreditServicer) -> None:
    await put(db, 1, 2, 3)
    await rate(servicer)

    first = await list_files(servicer)
    second = await list_files(servicer, token=first.next_page_token)

    read = [file.household_id for file in (*first.files, *second.files)]
    assert read == [str(household_id(number)) for number in (1, 2, 3)]
    assert second.next_page_token == ""
    assert not any(file.working for file in first.files)
    with pytest.raises(Invalid, match="page_token"):
        await list_files(servicer, token=wire.page_token("elsewhere"))


async def test_a_malformed_request_names_the_field(servicer: CreditServicer) -> None:
    with pytest.raises(Invalid) as refusal:
        await rate(servicer, chunk_size=5_001)

    assert refusal.value.violations[0].field == "chunk_size"


async def test_a_county_without_a_first_day_is_refused(servicer: CreditServicer) -> None:
    request = credit_pb2.RateHouseholdsRequest(
        request_id=str(new_id()), county_code=OTHER_COUNTY, programme_id="plain"
    )
    caller = a_caller(county_code=OTHER_COUNTY)

    with pytest.raises(Refused, match="COUNTY_NOT_OPEN"):
        await servicer.RateHouseholds(request, calling(caller, request))


async def test_a_limit_expires_when_its_last_day_closes(
    db: Database, servicer: CreditServicer, catalogue: Catalogue
) -> None:
    await put(db, 1)
    await rate(servicer)

    async with db.transaction(EVERY_COUNTY) as session:
        await jobs.close_day(catalogue)(session, COUNTY, date(2022, 1, 3))
    assert (await get(servicer, 1)).limit_fen == 5_000_000
    for _ in range(2):
        async with db.transaction(EVERY_COUNTY) as session:
            await jobs.close_day(catalogue)(session, COUNTY, date(2022, 1, 4))

    file = await get(servicer, 1)
    assert (file.limit_fen, file.grade, file.HasField("valid_until")) == (0, "A", False)
    assert await said(db, 1) == ["household_graded", "limit_granted", "limit_expired"]

    await open_day(db, date(2022, 1, 5))
    await rate(servicer)

    assert (await said(db, 1))[3:] == ["limit_changed"]
    assert (await get(servicer, 1)).limit_fen == 5_000_000
