"""Gathering: what comes at the same time goes together, and nobody can tell."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from liandong.common.v1.operator_pb2 import RepublishEventsRequest, RepublishEventsResponse
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database, gathering, ids, outbox, telemetry
from services.kernel.caller import Caller
from services.kernel.errors import Conflict, LiandongError, Refused
from services.kernel.gathering import Gathering
from services.kernel.outbox import OutgoingEvent
from services.kernel.walls import EVERY_COUNTY
from tests.builders import a_caller
from tests.eventually import eventually
from tests.kernel.farm.handling import COUNTY, FIELD, SOWN
from tests.servers import Schema

pytestmark = pytest.mark.postgres

UNLUCKY = 13
"""A bin that nobody may fill."""
BROKEN = 666
"""A bin that breaks whatever it goes with."""


def filling(bin_number: int, request_id: str = "") -> RepublishEventsRequest:
    return RepublishEventsRequest(
        request_id=request_id or str(ids.new_id()), from_position=1, to_position=bin_number
    )


class Farmhand:
    """Adds a sack to the bins that he is told of, and remembers what he was told together."""

    def __init__(self, barns: Schema) -> None:
        self.told: list[tuple[str, list[int]]] = []
        self._barns = barns
        self.gathering = Gathering(
            barns.db,
            RepublishEventsResponse,
            self.fill,
            about=lambda request: str(request.to_position),
        )

    async def fill(
        self, session: AsyncSession, caller: Caller, requests: Sequence[RepublishEventsRequest]
    ) -> list[RepublishEventsResponse | LiandongError]:
        """Answer how many sacks each bin has: another answer each time that it takes effect."""
        bins = [request.to_position for request in requests]
        self.told.append((caller.institution_id, bins))
        rows = await database.fetch(
            session,
            """INSERT INTO bin SELECT number::text, CASE number WHEN 666 THEN -1 ELSE 1 END
               FROM unnest($1::bigint[]) AS number
               ON CONFLICT (bin_id) DO UPDATE SET sacks = bin.sacks + 1 RETURNING bin_id, sacks""",
            sorted(set(bins) - {UNLUCKY}),
        )
        sacks = {int(row["bin_id"]): row["sacks"] for row in rows}
        await outbox.record(session, [_filled(number, count) for number, count in sacks.items()])
        return [
            RepublishEventsResponse(events=sacks[number])
            if number in sacks
            else Refused("BIN_IS_UNLUCKY", "never")
            for number in bins
        ]

    async def do(
        self, request: RepublishEventsRequest, who: Caller | None = None, county_code: str = COUNTY
    ) -> int:
        """What a door does with a request."""
        answer = await self.gathering.do(who or a_caller(), county_code, request)
        return answer.events

    async def sacks(self) -> dict[int, int]:
        """What is in the bins."""
        rows = await self._barns.ask("SELECT bin_id, sacks FROM bin")
        return {int(row["bin_id"]): row["sacks"] for row in rows}

    async def left(self) -> int:
        """Commands and transactions that are not at their end."""
        lanes = self.gathering._lanes.values()
        return sum(lane.running + len(lane.waiting) for lane in lanes)


def _filled(number: int, sacks: int) -> OutgoingEvent:
    message = StringValue(value=str(number))
    return OutgoingEvent(SOWN, FIELD, str(number), sacks, COUNTY, message, None, f"p{number}@1")


@pytest.fixture
def hand(barns: Schema) -> Farmhand:
    return Farmhand(barns)


@asynccontextmanager
async def held(barns: Schema, number: int) -> AsyncIterator[None]:
    """A bin that somebody else is busy with."""
    await barns.ask("INSERT INTO bin VALUES ($1, 0)", str(number))
    async with barns.db.transaction(EVERY_COUNTY) as session:
        await database.fetch(session, "SELECT * FROM bin WHERE bin_id = $1 FOR UPDATE", str(number))
        yield


async def test_a_lone_command_goes_at_once_and_what_comes_meanwhile_goes_together(
    hand: Farmhand, barns: Schema
) -> None:
    answers = await asyncio.gather(*(hand.do(filling(number)) for number in range(12)))

    assert answers == [1] * 12
    assert sorted(len(bins) for _, bins in hand.told) == [1, 11]
    assert await barns.one("SELECT count(DISTINCT xmin::text) FROM bin") == 2
    assert await barns.one("SELECT count(*) FROM idempotency WHERE money") == 12
    assert await hand.left() == 0


async def test_no_more_go_together_than_may(
    hand: Farmhand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "TOGETHER_MAX", 4)

    await asyncio.gather(*(hand.do(filling(number)) for number in range(12)))

    assert max(len(bins) for _, bins in hand.told) == 4
    assert await hand.sacks() == dict.fromkeys(range(12), 1)


async def test_who_is_refused_is_refused_and_the_others_are_not(hand: Farmhand) -> None:
    numbers = [1, 2, UNLUCKY, 3]

    answers = await asyncio.gather(
        *(hand.do(filling(number)) for number in numbers), return_exceptions=True
    )

    assert isinstance(answers[2], Refused)
    assert [answer for answer in answers if not isinstance(answer, Refused)] == [1, 1, 1]
    assert await hand.sacks() == {1: 1, 2: 1, 3: 1}


async def test_who_breaks_something_breaks_it_for_nobody_else(hand: Farmhand) -> None:
    numbers = [1, 2, BROKEN, 3]

    answers = await asyncio.gather(
        *(hand.do(filling(number)) for number in numbers), return_exceptions=True
    )

    assert isinstance(answers[2], Exception)
    assert [answers[at] for at in (0, 1, 3)] == [1, 1, 1]
    assert await hand.sacks() == {1: 1, 2: 1, 3: 1}
    assert await hand.left() == 0


async def test_a_request_has_one_effect_and_one_answer_however_it_comes(hand: Farmhand) -> None:
    before, twice = filling(1), filling(2)
    assert await hand.do(before) == 1

    answers = await asyncio.gather(
        *(hand.do(each) for each in (filling(9), before, twice, twice, filling(1), filling(3)))
    )

    assert answers == [1, 1, 1, 1, 2, 1]
    assert await hand.sacks() == {1: 2, 2: 1, 3: 1, 9: 1}
    assert [await hand.do(before), await hand.do(twice)] == [1, 1]


async def test_a_request_id_serves_no_other_body_in_company(hand: Farmhand) -> None:
    mine = filling(1)

    answers = await asyncio.gather(
        *(hand.do(each) for each in (filling(9), mine, filling(2, mine.request_id), filling(3))),
        return_exceptions=True,
    )

    (refused,) = [answer for answer in answers if isinstance(answer, BaseException)]
    assert isinstance(refused, Conflict)
    assert answers[0] == answers[3] == 1
    assert sum((await hand.sacks()).values()) == 3


async def test_callers_and_counties_go_apart(hand: Farmhand) -> None:
    ours, theirs = a_caller(), a_caller(institution_id="bank-2")
    above = a_caller(county_code="000000")
    calls = [(ours, COUNTY), (theirs, COUNTY), (above, COUNTY), (above, "654321")]

    await asyncio.gather(
        *(
            hand.do(filling(100 * place + number), who, county_code)
            for number in range(5)
            for place, (who, county_code) in enumerate(calls)
        )
    )

    assert sorted(len(bins) for _, bins in hand.told) == [1, 1, 1, 1, 4, 4, 4, 4]
    assert all(len({number // 100 for number in bins}) == 1 for _, bins in hand.told)


async def test_who_waits_for_somebodys_lock_holds_nobody_up(hand: Farmhand, barns: Schema) -> None:
    async with held(barns, 1):
        first = asyncio.create_task(hand.do(filling(1)))
        await eventually(hand.left, lambda left: left == 1)
        assert await asyncio.gather(*(hand.do(filling(number)) for number in (2, 3, 4))) == [1] * 3
        assert not first.done()

    assert await first == 1
    assert await hand.sacks() == {1: 1, 2: 1, 3: 1, 4: 1}


async def test_who_is_in_company_with_one_that_waits_is_not(hand: Farmhand, barns: Schema) -> None:
    async with held(barns, 1):
        tasks = [asyncio.create_task(hand.do(filling(number))) for number in (9, 1, 2, 3)]
        assert await asyncio.gather(*(tasks[at] for at in (0, 2, 3))) == [1] * 3
        assert not tasks[1].done()
        assert [1, 2, 3] in [bins for _, bins in hand.told]

    assert await tasks[1] == 1
    assert await hand.sacks() == {1: 1, 2: 1, 3: 1, 9: 1}


async def test_a_client_that_goes_before_its_turn_has_asked_for_nothing(
    hand: Farmhand, barns: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "PATIENCE_SECONDS", 600)
    async with held(barns, 1):
        tasks = [asyncio.create_task(hand.do(filling(number))) for number in (1, 2, 3)]
        await eventually(hand.left, lambda left: left == 3)
        tasks[1].cancel()

    assert [await tasks[0], await tasks[2]] == [1, 1]
    assert tasks[1].cancelled()
    assert await hand.sacks() == {1: 1, 3: 1}
    assert await hand.left() == 0


async def test_each_ones_trace_goes_on(
    hand: Farmhand, barns: Schema, spans: InMemorySpanExporter
) -> None:
    async def call(number: int) -> None:
        parent = telemetry.new_context(number, sampled=True)
        made = telemetry.Span("a call", kind=SpanKind.SERVER, attributes={}, parent=parent)
        with telemetry.current(made):
            await hand.do(filling(number))

    await asyncio.gather(*(call(number) for number in range(1, 6)))

    rows = await barns.ask("SELECT aggregate_id, traceparent FROM outbox")
    said = {int(row["aggregate_id"]): int(row["traceparent"].split("-")[1], 16) for row in rows}
    assert said == {number: number for number in range(1, 6)}
    noted = {
        span.context.trace_id: (span.attributes or {})["liandong.programme"]
        for span in spans.get_finished_spans()
        if span.context and span.name == "a call"
    }
    assert noted == {number: f"p{number}@1" for number in range(1, 6)}
