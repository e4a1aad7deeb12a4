"""The counter: an institution's calls, lists and patience, shared by every part of the year."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.message import Message
from google.type.date_pb2 import Date
from liandong.common.v1 import operator_pb2, operator_pb2_grpc
from liandong.households.v1 import households_pb2
from liandong.loans.v1 import loans_pb2, loans_pb2_grpc

from deploy.demo import generator, year_plan
from deploy.demo.year_plan import YearPlan
from deploy.local import audit
from deploy.local.client import Institution
from deploy.nats.topology import Topology
from services.programmes.loader import Catalogue
from services.programmes.schema.pack import split_ref

T = TypeVar("T")

COUNTY = "411224"
PRODUCT = "microcredit"
BATCH_ITEMS = 500
INDICATORS_A_BATCH = 2_000
RATED_A_CHUNK = 2_000
AT_ONCE = 4
WAIT_SECONDS_MAX = 180.0
PAUSE_SECONDS = 0.02
PAUSE_SECONDS_MAX = 0.5
COVERS = {"death": "personal_accident", "storm": "natural_disaster"}

Say = Callable[[str], None]


@dataclass(slots=True)
class Story:
    """What the year came to, for the last line and the tables."""

    households: int = 0
    people: int = 0
    refused_lines: int = 0
    refused: list[households_pb2.RefusedLine] = field(default_factory=list)
    trace_id: str = ""
    late_refusals: tuple[str, ...] = ()
    control_state: str = ""
    breakers: list[str] = field(default_factory=list)


def day_to_proto(day: date) -> Date:
    """A day for the wire."""
    return Date(year=day.year, month=day.month, day=day.day)


def parts(items: Sequence[T], size: int) -> Iterator[list[T]]:
    """Items in lists of a bounded length."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


class Counter:
    """
    What every part of the year stands on.

    Every request id comes from the seed and the request's own content, and every step works off
    what the platform says is open; so a year that was cut goes on where it was.
    """

    def __init__(
        self,
        open_institution: Callable[[str], Institution],
        catalogue: Catalogue,
        topology: Topology,
        *,
        folder: Path,
        seed: int,
        scale: float,
        say: Say,
    ) -> None:
        self._open = open_institution
        self._catalogue = catalogue
        self._topology = topology
        self._folder = folder
        self._seed = seed
        self._scale = scale
        self._say = say
        self._clients: dict[str, Institution] = {}
        self._household_ids: dict[str, str] = {}
        self.plan: YearPlan = year_plan.plan(seed, scale)
        adoption = catalogue.adoptions(COUNTY, self.plan.starts_on)[0]
        self._programme_id = split_ref(adoption.programme)[0]
        self._terms = catalogue.terms(COUNTY, adoption.programme)
        self._parties = catalogue.parties(COUNTY, adoption.programme)
        self.story = Story()

    async def close(self) -> None:
        """Close every institution's connection."""
        for client in self._clients.values():
            await client.close()

    @property
    def retries(self) -> int:
        """How often a call had to be asked again."""
        return sum(client.retries for client in self._clients.values())

    @property
    def calls(self) -> int:
        """How many calls were made."""
        return sum(client.calls for client in self._clients.values())

    def _client(self, institution_id: str) -> Institution:
        if institution_id not in self._clients:
            self._clients[institution_id] = self._open(institution_id)
        return self._clients[institution_id]

    def _party(self, role: str) -> str:
        return self._parties[role][0]

    def _of_township(self, role: str, area_code: str) -> str:
        for institution_id in self._parties[role]:
            areas = self._catalogue.institutions[institution_id].areas
            if any(area_code.startswith(area) for area in areas):
                return institution_id
        raise LookupError(f"no {role} for {area_code}")

    def lender_of(self, area_code: str) -> str:
        """The bank that a township's lending is contracted to (coverage contract)."""
        banks = self._parties["lender"]
        return banks[int(area_code[6:9]) % len(banks)]

    async def _command(
        self,
        institution_id: str,
        stub: type[Any],
        method: str,
        request: Message,
        *,
        post: int = 1,
        traceparent: str = "",
        label: str = "",
    ) -> Any:
        """A command whose id is its content's: the same thing asked twice is done once."""
        body = request.SerializeToString(deterministic=True).hex()
        made = generator.request_id(self._seed, method, institution_id, str(post), label, body)
        request.request_id = str(made)  # type: ignore[attr-defined]
        extra = {"traceparent": traceparent} if traceparent else {}
        client = self._client(institution_id)
        return await client.call(stub, method, request, post=post, metadata=extra)

    async def _pages(
        self, institution_id: str, stub: type[Any], method: str, request: Any, items: str
    ) -> AsyncIterator[Any]:
        while True:
            answer = await self._client(institution_id).call(stub, method, request)
            for item in getattr(answer, items):
                yield item
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    async def get_totals(
        self, noun: str, positions_only: bool = False
    ) -> operator_pb2.GetTotalsResponse:
        """A service's control totals, asked as the operator."""
        answer: operator_pb2.GetTotalsResponse = await self._client(self._operator()).call(
            operator_pb2_grpc.OperatorServiceStub,
            "GetTotals",
            operator_pb2.GetTotalsRequest(county_code=COUNTY, positions_only=positions_only),
            metadata={"liandong-service": noun},
        )
        return answer

    def _operator(self) -> str:
        found = (
            i.institution_id for i in self._catalogue.institutions.values() if i.role == "operator"
        )
        return next(found)

    async def quiet(self) -> None:
        """Wait until every event has been heard."""
        if not await audit.quiet(self.get_totals, self._topology, seconds_max=WAIT_SECONDS_MAX):
            raise TimeoutError("the events of the platform did not come to rest")

    async def _until(self, truth: Callable[[], Awaitable[bool]], what: str) -> None:
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS_MAX
        pause = PAUSE_SECONDS
        while not await truth():
            if asyncio.get_running_loop().time() > deadline:
                raise TimeoutError(f"waited too long until {what}")
            await asyncio.sleep(pause)
            pause = min(pause * 2, PAUSE_SECONDS_MAX)

    async def _each(self, work: Sequence[Callable[[], Awaitable[None]]]) -> None:
        """Do things at once, a bounded number at a time."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(do: Callable[[], Awaitable[None]]) -> None:
            async with gate:
                await do()

        async with asyncio.TaskGroup() as group:
            for do in work:
                group.create_task(one(do))

    async def _advance(self, day: date) -> None:
        """Close days in every service; the next day starts when all five have answered."""

        async def close(noun: str) -> None:
            made = generator.request_id(self._seed, "AdvanceDay", noun, day.isoformat())
            request = operator_pb2.AdvanceDayRequest(
                request_id=str(made), county_code=COUNTY, business_date=day_to_proto(day)
            )
            await self._client(self._operator()).call(
                operator_pb2_grpc.OperatorServiceStub,
                "AdvanceDay",
                request,
                metadata={"liandong-service": noun},
            )

        await asyncio.gather(*(close(noun) for noun in audit.SERVICES))

    async def _loans(
        self, institution_id: str, state: loans_pb2.LoanState.ValueType, *, first: bool = False
    ) -> list[loans_pb2.Loan]:
        request = loans_pb2.ListLoansRequest(
            county_code=COUNTY, state=state, page_size=1 if first else BATCH_ITEMS
        )
        stub = loans_pb2_grpc.LoansServiceStub
        if first:
            answer = await self._client(institution_id).call(stub, "ListLoans", request)
            return list(answer.loans)
        return [
            loan async for loan in self._pages(institution_id, stub, "ListLoans", request, "loans")
        ]

    @staticmethod
    def _check(verdicts: Sequence[Any], what: str) -> None:
        for verdict in verdicts:
            if not verdict.accepted:
                raise RuntimeError(f"{what} was refused: {verdict.reason}, {verdict.message}")
