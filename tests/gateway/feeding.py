"""A county whose services say what a test wants, and readers of its feeds."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from liandong.gateway.v1 import feeds_pb2 as pb
from liandong.gateway.v1 import feeds_pb2_grpc
from liandong.households.v1 import events_pb2 as households
from liandong.loans.v1 import events_pb2 as loans
from nats.aio.client import Client

from gateway.rules import event_type
from services.kernel import cloudevents, ids
from tests.eventually import at_least, eventually
from tests.gateway.conftest import House
from tests.servers import NatsServer

INSTITUTIONS = Path(__file__).parent / "a_told_county.yaml"
COUNTY = "123456"
VILLAGE = "123456001001"
ELSEWHERE = "123456002001"
MIB = 1024 * 1024


@dataclass
class County:
    """A gateway on a NATS of its own, and whoever speaks there."""

    house: House
    nats: NatsServer
    clients: dict[str, Client]
    sequences: dict[tuple[str, str], int] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    async def say(
        self,
        kind: str,
        name: str,
        *messages: Message,
        county_code: str = COUNTY,
        payload: bytes | None = None,
        traceparent: str = "",
    ) -> None:
        """Let the owner of an aggregate say something of it, or what is not even a message."""
        noun = kind.split(".", maxsplit=1)[0]
        if noun not in self.clients:
            self.clients[noun] = await self.nats.connect(noun)
        for message in messages:
            sequence = self.sequences[kind, name] = self.sequences.get((kind, name), 0) + 1
            envelope = cloudevents.Envelope(
                event_id=ids.new_id(),
                event_type=event_type(message.DESCRIPTOR),  # type: ignore[arg-type]
                aggregate_type=kind,
                aggregate_id=name,
                sequence=sequence,
                county_code=county_code,
                business_date=date(2019, 5, 6),
                programme="",
                traceparent=traceparent,
                recorded_at=datetime.now(UTC),
            )
            await (
                self.clients[noun]
                .jetstream()
                .publish(
                    f"{envelope.event_type}.{county_code}",
                    message.SerializeToString() if payload is None else payload,
                    headers=cloudevents.headers(envelope, source=noun),
                )
            )
            self.said.append(str(envelope.event_id))

    async def kept(self) -> None:
        """Wait until everything that was said is kept."""
        rows = "SELECT count(*) FROM feed_event WHERE event_id = ANY($1::uuid[])"
        said, self.said = self.said, []
        await eventually(
            lambda: self.house.schema.one(rows, said), at_least(len(said)), seconds_max=30
        )

    async def a_household(self, *, area_code: str = VILLAGE, county_code: str = COUNTY) -> str:
        """A household that was registered; its id."""
        name = str(ids.new_id())
        registered = households.HouseholdRegistered(household_id=name, area_code=area_code)
        await self.say("households.household", name, registered, county_code=county_code)
        return name

    async def a_loan(
        self, lender: str = "bank-1", *, area_code: str = VILLAGE, household: str = ""
    ) -> str:
        """A loan that was applied for; its id."""
        name = str(ids.new_id())
        applied = loans.LoanApplied(
            loan_id=name,
            household_id=household or str(ids.new_id()),
            lender_id=lender,
            principal_fen=50_000_00,
            area_code=area_code,
        )
        await self.say("loans.loan", name, applied)
        return name

    def feeds(self, institution_id: str) -> "feeds_pb2_grpc.FeedsServiceAsyncStub":
        """The feeds as an institution calls them."""
        return feeds_pb2_grpc.FeedsServiceStub(self.house.as_institution(institution_id))

    async def read(self, institution_id: str, **asked: Any) -> list[pb.SubscribeResponse]:
        """Everything that an institution may know by now, without the gateway's own events."""
        if not asked.keys() & {"cursor", "since", "beginning"}:
            asked["beginning"] = True
        call = self.feeds(institution_id).Subscribe(pb.SubscribeRequest(**asked), timeout=20)
        found = []
        async for answer in call:
            if answer.live and not answer.HasField("event"):
                call.cancel()
                break
            if not answer.event.source.endswith("/gateway"):
                found.append(answer)
        return found

    async def told(self, institution_id: str, **asked: Any) -> list[tuple[str, str, int]]:
        """The same, as the event's own name, its aggregate and its place in that."""
        return [
            (each.event.type.rpartition(".")[2], each.event.subject, each.event.sequence)
            for each in await self.read(institution_id, **asked)
        ]

    async def close(self) -> None:
        for client in self.clients.values():
            await client.close()


def repaid(loan_id: str, *amounts: int) -> list[Message]:
    """Repayments of a loan, which name neither its lender nor its place."""
    return [loans.LoanRepaid(loan_id=loan_id, amount_fen=each) for each in amounts]


def data_of(answer: pb.SubscribeResponse) -> dict[str, Any]:
    """What an event says."""
    found: dict[str, Any] = json.loads(answer.event.data)
    return found


def request_id() -> str:
    return str(uuid.uuid4())


@asynccontextmanager
async def following(
    county: County, institution_id: str, **asked: Any
) -> AsyncIterator["asyncio.Queue[pb.SubscribeResponse | BaseException]"]:
    """A reader that follows its feed: what it is told, and with what it ends."""
    told: asyncio.Queue[pb.SubscribeResponse | BaseException] = asyncio.Queue()
    call = county.feeds(institution_id).Subscribe(pb.SubscribeRequest(**asked), timeout=60)

    async def follow() -> None:
        try:
            async for answer in call:
                await told.put(answer)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            await told.put(error)

    task = asyncio.create_task(follow())
    try:
        yield told
    finally:
        call.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def next_event(told: "asyncio.Queue[Any]") -> pb.SubscribeResponse:
    """The next event of a service that a reader is told of."""
    async with asyncio.timeout(20):
        while True:
            answer = await told.get()
            if isinstance(answer, BaseException):
                raise answer
            if answer.HasField("event") and not answer.event.source.endswith("/gateway"):
                found: pb.SubscribeResponse = answer
                return found


async def failure(told: "asyncio.Queue[Any]") -> BaseException:
    """With what a reader's stream ends."""
    async with asyncio.timeout(20):
        while not isinstance(answer := await told.get(), BaseException):
            pass
    return answer


def subjects(found: Sequence[tuple[str, str, int]]) -> list[str]:
    """The aggregates of what was told."""
    return [name for _, name, _ in found]
