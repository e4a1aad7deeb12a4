"""The operator's surface: books, days, parked events, publishing again; through a real door."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

import grpc
import pytest
import pytest_asyncio
from google.protobuf.wrappers_pb2 import StringValue
from google.type.date_pb2 import Date
from liandong.common.v1 import operator_pb2 as pb
from liandong.common.v1 import operator_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from deploy.local.ca import LocalCA
from services.kernel import business_day, cloudevents, database, ids, journal, operator
from services.kernel.errors import Refused
from services.kernel.journal import Account, Entry, Transfer
from services.kernel.money import Fen
from services.kernel.operator import Books, OperatorServicer
from services.kernel.status import reason_of
from services.kernel.walls import EVERY_COUNTY
from tests.builders import COUNTY
from tests.eventually import eventually
from tests.kernel.farm.door import Door, open_door
from tests.kernel.farm.handling import Barn, sown
from tests.kernel.farm.stream import an_event, say
from tests.servers import Schema

pytestmark = pytest.mark.postgres

CODE = grpc.StatusCode
SERVICE = "/liandong.common.v1.OperatorService"


@dataclass(slots=True)
class Ledger:
    """What the farm's books say and do, for a test to look at."""

    closed: list[date] = field(default_factory=list)
    refuses: set[date] = field(default_factory=set)

    async def totals(self, session: AsyncSession, county_code: str) -> Mapping[str, int]:
        """How many sacks there are."""
        rows = await database.fetch(session, "SELECT coalesce(sum(sacks), 0) AS sacks FROM bin")
        return {"barns.sacks_count": int(rows[0]["sacks"])}

    async def close_day(self, session: AsyncSession, county_code: str, day: date) -> None:
        """Note the day; refuse where the test says so."""
        if day in self.refuses:
            raise Refused("BARN_IS_OPEN", "somebody is still in the barn")
        await database.execute(
            session, "INSERT INTO bin VALUES ($1, 1)", f"{county_code} {day.isoformat()}"
        )
        self.closed.append(day)


@dataclass(slots=True)
class Office:
    """An operator at the door of barns."""

    door: Door
    barns: Schema
    barn: Barn
    ledger: Ledger

    async def ask(self, method: str, request: Any, response_type: Any, **who: Any) -> Any:
        """Call a method, as an operator unless named otherwise."""
        caller = {"role": "operator", "person_id": "operator-1-p1", "county_code": "000000"}
        return await self.door.call(f"{SERVICE}/{method}", request, response_type, **(caller | who))

    async def totals(self, **who: Any) -> pb.GetTotalsResponse:
        request = pb.GetTotalsRequest(county_code=COUNTY)
        found: pb.GetTotalsResponse = await self.ask(
            "GetTotals", request, pb.GetTotalsResponse, **who
        )
        return found

    async def advance(self, day: date, request_id: str = "", **who: Any) -> int:
        request = pb.AdvanceDayRequest(
            request_id=request_id or str(ids.new_id()),
            county_code=COUNTY,
            business_date=Date(year=day.year, month=day.month, day=day.day),
        )
        answer = await self.ask("AdvanceDay", request, pb.AdvanceDayResponse, **who)
        return int(answer.days_closed)

    async def listed(self, **asked: Any) -> pb.ListParkedEventsResponse:
        request = pb.ListParkedEventsRequest(**asked)
        found: pb.ListParkedEventsResponse = await self.ask(
            "ListParkedEvents", request, pb.ListParkedEventsResponse
        )
        return found

    async def replay(self, aggregate_id: str = "") -> tuple[int, int]:
        request = pb.ReplayParkedEventsRequest(
            request_id=str(ids.new_id()), aggregate_id=aggregate_id
        )
        answer = await self.ask("ReplayParkedEvents", request, pb.ReplayParkedEventsResponse)
        return answer.applied, answer.parked

    async def drop(self, event_id: UUID, person_id: str) -> bool:
        request = pb.DropParkedEventRequest(
            request_id=str(ids.new_id()), event_id=str(event_id), reason="it is a test"
        )
        answer = await self.ask(
            "DropParkedEvent", request, pb.DropParkedEventResponse, person_id=person_id
        )
        return bool(answer.dropped)

    async def applied(self) -> list[tuple[str, int]]:
        rows = await self.barns.ask("SELECT aggregate_id, sequence FROM effect ORDER BY place")
        return [(row["aggregate_id"], row["sequence"]) for row in rows]


@pytest_asyncio.fixture(loop_scope="session")
async def office(barns: Schema, certificates: LocalCA) -> AsyncIterator[Office]:
    barn, ledger = Barn(), Ledger()
    books = Books(totals=ledger.totals, close_day=ledger.close_day)
    servicer = OperatorServicer(barns.db, books, barn.handlers)

    def add_to_server(server: Any) -> None:
        operator_pb2_grpc.add_OperatorServiceServicer_to_server(servicer, server)

    async with open_door(certificates, add_to_server) as door:
        yield Office(door, barns, barn, ledger)


async def refused(asking: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await asking
    return raised.value.code(), reason_of(raised.value)


async def park(
    barns: Schema, aggregate_id: str, *sequences: int, what: str = "wheat"
) -> list[UUID]:
    """Park events as the consumer does when the first of them cannot be taken."""
    made = []
    for sequence in sequences:
        envelope = an_event(aggregate_id, sequence)
        made.append(envelope.event_id)
        await barns.ask(
            """INSERT INTO parked_event (event_id, event_type, aggregate_type, aggregate_id,
                   sequence, county_code, headers, payload, reason, attempts)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'ValueError', 5)""",
            envelope.event_id,
            envelope.event_type,
            envelope.aggregate_type,
            aggregate_id,
            sequence,
            envelope.county_code,
            json.dumps(cloudevents.headers(envelope, source="fields")),
            StringValue(value=what).SerializeToString(),
        )
    return made


# --- who ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["bank", "insurer", "auditor"])
async def test_only_an_operator_may_change_and_an_auditor_may_read(
    office: Office, role: str
) -> None:
    denied = (CODE.PERMISSION_DENIED, "ROLE_NOT_ALLOWED")
    (event_id,) = await park(office.barns, "a", 1)
    again = pb.RepublishEventsRequest(request_id=str(ids.new_id()), from_position=1, to_position=2)

    assert await refused(office.advance(date(2018, 1, 1), role=role)) == denied
    asking = office.ask("RepublishEvents", again, pb.RepublishEventsResponse, role=role)
    assert await refused(asking) == denied
    if role == "auditor":
        assert (await office.totals(role=role)).parked_events == 1
    else:
        assert await refused(office.totals(role=role)) == denied
    assert await office.barns.one("SELECT event_id FROM parked_event") == event_id


# --- totals -------------------------------------------------------------------------------------


async def test_totals_tell_the_books_the_journal_and_how_far_the_log_is(office: Office) -> None:
    barns = office.barns
    empty = await office.totals()
    assert not empty.HasField("business_date")
    cash, principal = Account("lender_cash", "bank-1"), Account("loan_principal", "loan-1")
    async with barns.db.transaction(EVERY_COUNTY) as session:
        await database.execute(session, "INSERT INTO bin VALUES ('a', 7)")
        entry = Entry(
            county_code=COUNTY,
            kind="repayment",
            cause_id="r1",
            value_date=date(2018, 1, 2),
            business_date=date(2018, 1, 3),
            transfers=(Transfer(cash, principal, Fen(100)),),
        )
        await journal.post(session, [entry])
        await business_day.open_day(session, COUNTY, date(2018, 1, 3))
    await say(barns, sown("a", 1), sown("a", 2))
    await barns.ask("UPDATE outbox SET stream_sequence = 1 WHERE sequence = 1")
    await barns.ask("INSERT INTO inbox_count VALUES ('fields', 12)")
    await park(barns, "a", 1)

    found = await office.totals()

    assert {total.name: total.value for total in found.totals} == {
        "barns.sacks_count": 7,
        "journal.lender_cash_fen": 100,
        "journal.loan_principal_fen": -100,
    }
    assert (found.events, found.unpublished_events, found.parked_events) == (2, 1, 1)
    assert found.event_position == await barns.one("SELECT max(position) FROM outbox")
    assert [(heard.noun, heard.events) for heard in found.heard] == [("fields", 12)]
    assert found.business_date == Date(year=2018, month=1, day=3)


# --- days ---------------------------------------------------------------------------------------


async def test_days_close_in_order_and_a_closed_one_stays_closed(office: Office) -> None:
    assert await office.advance(date(2018, 2, 27)) == 0, "the first call opens the county"
    assert await office.advance(date(2018, 3, 2)) == 3
    assert office.ledger.closed == [date(2018, 2, 27), date(2018, 2, 28), date(2018, 3, 1)]
    assert await office.advance(date(2018, 3, 2)) == 0

    back = await refused(office.advance(date(2018, 3, 1)))
    far = await refused(office.advance(date(2020, 1, 1)))
    assert back == (CODE.FAILED_PRECONDITION, "DAY_GOES_BACK")
    assert far == (CODE.FAILED_PRECONDITION, "TOO_MANY_DAYS")
    assert await office.barns.one("SELECT business_date FROM business_day") == date(2018, 3, 2)


async def test_a_day_that_cannot_close_stays_open_and_those_before_it_closed(
    office: Office,
) -> None:
    await office.advance(date(2018, 1, 1))
    office.ledger.refuses = {date(2018, 1, 3)}
    request_id = str(ids.new_id())

    found = await refused(office.advance(date(2018, 1, 5), request_id))

    assert found == (CODE.FAILED_PRECONDITION, "BARN_IS_OPEN")
    assert await office.barns.one("SELECT business_date FROM business_day") == date(2018, 1, 3)
    assert await office.barns.one("SELECT count(*) FROM bin") == 2

    office.ledger.refuses = set()
    assert await office.advance(date(2018, 1, 5), request_id) == 2, "taken up where it stopped"
    assert office.ledger.closed == [date(2018, 1, day) for day in (1, 2, 3, 4)]


async def test_the_same_call_twice_at_one_moment_closes_each_day_once(office: Office) -> None:
    await office.advance(date(2018, 1, 1))
    request_id = str(ids.new_id())

    closed = await asyncio.gather(*(office.advance(date(2018, 1, 4), request_id) for _ in range(3)))

    assert closed == [3, 3, 3]
    assert await office.barns.one("SELECT count(*) FROM bin") == 3


async def test_a_county_that_is_not_open_has_no_business_date(barns: Schema) -> None:
    async def read() -> date:
        async with barns.db.transaction(EVERY_COUNTY) as session:
            return await business_day.today(session, COUNTY)

    with pytest.raises(Refused, match="COUNTY_NOT_OPEN"):
        await read()
    async with barns.db.transaction(EVERY_COUNTY) as session:
        await business_day.open_day(session, COUNTY, date(2018, 1, 3))
    assert await read() == date(2018, 1, 3)


# --- parked events ------------------------------------------------------------------------------


async def test_parked_events_are_listed_page_by_page(office: Office) -> None:
    await park(office.barns, "a", 1, 2, 3)
    await park(office.barns, "b", 1, 2)

    first = await office.listed(page_size=3)
    second = await office.listed(page_size=3, page_token=first.next_page_token)

    found = [(event.aggregate_id, event.sequence) for event in (*first.events, *second.events)]
    assert found == [("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2)]
    assert second.next_page_token == ""
    assert {(e.reason, e.attempts) for e in first.events} == {("ValueError", 5)}
    assert len((await office.listed(county_code="411281")).events) == 0
    for token in ("x", "!!!!", "LTE=", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5"):
        found_code, reason = await refused(office.listed(page_token=token))
        assert (found_code, reason) == (CODE.INVALID_ARGUMENT, "MALFORMED_PAGE_TOKEN"), token


async def test_parked_events_run_again_in_sequence_once_the_bug_is_mended(office: Office) -> None:
    office.barn.cannot_take = {"bug"}
    await park(office.barns, "a", 3, what="bug")
    await park(office.barns, "a", 5, 4)
    await park(office.barns, "b", 1, 2)

    assert await office.replay() == (2, 3), "b goes on, a is stuck at its first"
    assert await office.applied() == [("b", 1), ("b", 2)]
    office.barn.cannot_take = set()
    assert await office.replay() == (3, 0)
    assert await office.applied() == [("b", 1), ("b", 2), ("a", 3), ("a", 4), ("a", 5)]
    assert await office.replay() == (0, 0)
    states = await office.barns.ask("SELECT DISTINCT state FROM parked_event")
    assert [row["state"] for row in states] == ["applied"]


async def test_one_aggregate_may_be_run_again_alone(office: Office) -> None:
    first, second = str(ids.new_id()), str(ids.new_id())
    await park(office.barns, first, 1)
    await park(office.barns, second, 1)

    assert await office.replay(second) == (1, 0)
    assert await office.applied() == [(second, 1)]


async def test_operators_at_the_same_moment_run_each_event_once(office: Office) -> None:
    for name in "abc":
        await park(office.barns, name, *range(1, 9))

    answers = await asyncio.gather(*(office.replay() for _ in range(4)))
    while (await office.totals()).parked_events:
        answers.append(await office.replay())

    assert sum(applied for applied, _ in answers) == 24
    applied = await office.applied()
    assert sorted(applied) == [(name, n) for name in "abc" for n in range(1, 9)]
    for name in "abc":
        assert [n for who, n in applied if who == name] == list(range(1, 9))


async def test_giving_an_event_up_takes_two_persons(office: Office) -> None:
    event_id, behind = await park(office.barns, "a", 1, 2)

    assert not await office.drop(event_id, "operator-1-p1"), "proposed"
    again = await refused(office.drop(event_id, "operator-1-p1"))
    assert again == (CODE.FAILED_PRECONDITION, "SECOND_PERSON_NEEDED")
    nobody = await refused(office.drop(event_id, ""))
    assert nobody == (CODE.PERMISSION_DENIED, "PERSON_NEEDED")
    assert (await office.listed()).events[0].drop_proposed_by == "operator-1-p1"
    assert await office.drop(event_id, "operator-1-p2")

    gone = await refused(office.drop(event_id, "operator-1-p2"))
    assert gone == (CODE.NOT_FOUND, "PARKED_EVENT_NOT_FOUND")
    assert await office.replay() == (1, 0), "what waited behind it goes on"
    assert await office.applied() == [("a", 2)]
    rows = await office.barns.ask("SELECT event_id, state FROM parked_event ORDER BY sequence")
    assert [tuple(row) for row in rows] == [(event_id, "dropped"), (behind, "applied")]


# --- publishing again and keeping house -----------------------------------------------------------


async def test_a_range_is_marked_for_the_relay_once_per_request(office: Office) -> None:
    await say(office.barns, *(sown("a", n) for n in range(1, 6)))
    await office.barns.ask("UPDATE outbox SET stream_sequence = position WHERE sequence < 5")
    first = await office.barns.one("SELECT min(position) FROM outbox")
    request = pb.RepublishEventsRequest(
        request_id=str(ids.new_id()), from_position=first + 1, to_position=first + 9
    )
    office.barns.db.said.clear()

    answers = [
        await office.ask("RepublishEvents", request, pb.RepublishEventsResponse) for _ in range(2)
    ]

    assert [answer.events for answer in answers] == [3, 3]
    rows = await office.barns.ask("SELECT publish_count FROM outbox ORDER BY position")
    assert [row["publish_count"] for row in rows] == [0, 1, 1, 1, 0]
    assert office.barns.db.said.is_set(), "the relay is woken"


async def test_housekeeping_seals_and_forgets(
    barns: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator, "SEAL_SECONDS", 0.05)
    await barns.ask(
        """INSERT INTO idempotency VALUES
           ('bank-1', 'm', gen_random_uuid(), '', '', false, now() - interval '401 days')"""
    )
    keeping = asyncio.create_task(operator.keep_house(barns.db))
    cash, principal = Account("lender_cash", "bank-1"), Account("loan_principal", "loan-1")
    transfer = Transfer(cash, principal, Fen(100))
    entry = Entry(COUNTY, "repayment", "r1", date(2018, 1, 2), date(2018, 1, 3), (transfer,))
    async with barns.db.transaction(EVERY_COUNTY) as session:
        await journal.post(session, [entry])

    await eventually(lambda: barns.one("SELECT count(*) FROM journal_checkpoint"))
    await eventually(
        lambda: barns.one("SELECT count(*) FROM idempotency"), lambda count: count == 0
    )
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
