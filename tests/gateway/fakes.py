"""Targets to pass calls on to: small servicers behind the kernel's own server and guard."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from liandong.common.v1 import common_pb2, operator_pb2, operator_pb2_grpc
from liandong.households.v1 import (
    households_pb2,
    households_pb2_grpc,
    people_pb2,
    people_pb2_grpc,
)
from liandong.loans.v1 import loans_pb2, loans_pb2_grpc

from deploy.local.ca import LocalCA
from services.kernel import rpc
from services.kernel.caller import Caller, Verifier
from services.kernel.errors import NotFound, Refused
from services.kernel.rpc import Context, caller_of


@dataclass
class Seen:
    """What the targets were told."""

    callers: list[Caller] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """Households, by the ids under which they were asked for."""
    seconds_left: list[float] = field(default_factory=list)
    metadata: list[dict[str, str | bytes]] = field(default_factory=list)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, context: Context) -> None:
        """Remember who asked and how much time was left."""
        self.callers.append(caller_of(context))
        left = context.time_remaining()
        assert left is not None
        self.seconds_left.append(left)
        self.metadata.append(dict(context.invocation_metadata() or ()))


class Loans(loans_pb2_grpc.LoansServiceServicer):
    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    async def GetLoan(
        self, request: loans_pb2.GetLoanRequest, context: Context
    ) -> loans_pb2.GetLoanResponse:
        self._seen.note(context)
        return loans_pb2.GetLoanResponse(loan=loans_pb2.Loan(loan_id=request.loan_id))

    async def RepayLoan(
        self, request: loans_pb2.RepayLoanRequest, context: Context
    ) -> loans_pb2.RepayLoanResponse:
        self._seen.note(context)
        if request.amount_fen == 500_01:
            raise Refused(
                "REPAYMENT_ABOVE_BALANCE",
                "only 50000 fen is owed",
                message_zh="还款超过余额",
                facts={"owed_fen": "50000"},
            )
        if request.amount_fen == 666:
            raise RuntimeError("a bug with a secret in it")
        return loans_pb2.RepayLoanResponse(loan=loans_pb2.Loan(loan_id=request.loan_id))

    async def GetPayoffQuote(
        self, request: loans_pb2.GetPayoffQuoteRequest, context: Context
    ) -> loans_pb2.GetPayoffQuoteResponse:
        """Never answers."""
        self._seen.note(context)
        try:
            await asyncio.Event().wait()
        finally:
            self._seen.cancelled.set()
        raise AssertionError


class Households(households_pb2_grpc.HouseholdsServiceServicer):
    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    async def ImportHouseholds(
        self,
        request_iterator: AsyncIterator[households_pb2.ImportHouseholdsRequest],
        context: Context,
    ) -> AsyncIterator[households_pb2.ImportHouseholdsResponse]:
        self._seen.note(context)
        async for chunk in request_iterator:
            if chunk.dry_run:
                raise Refused("STOPPED", "the file ends here")
            yield households_pb2.ImportHouseholdsResponse(
                request_id=chunk.request_id, people=len(chunk.lines)
            )

    async def GetHousehold(
        self, request: households_pb2.GetHouseholdRequest, context: Context
    ) -> households_pb2.GetHouseholdResponse:
        """Knows those of version 7; an id that was made up is of version 4."""
        self._seen.note(context)
        self._seen.asked.append(request.household_id)
        if UUID(request.household_id).version != KNOWN:
            raise NotFound("HOUSEHOLD_NOT_FOUND", f"no household {request.household_id}")
        return households_pb2.GetHouseholdResponse(
            household=households_pb2.Household(household_id=request.household_id)
        )

    async def ListHouseholds(
        self, request: households_pb2.ListHouseholdsRequest, context: Context
    ) -> households_pb2.ListHouseholdsResponse:
        """Those whose ids stand in the token, in that order."""
        self._seen.note(context)
        ids = request.page_token.split()
        return households_pb2.ListHouseholdsResponse(
            households=[households_pb2.Household(household_id=each) for each in ids]
        )


KNOWN = 7


class People(people_pb2_grpc.PeopleServiceServicer):
    """Knows everybody whose name it is told, and nobody by a number."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    async def ResolvePersons(
        self, request: people_pb2.ResolvePersonsRequest, context: Context
    ) -> people_pb2.ResolvePersonsResponse:
        self._seen.note(context)
        return people_pb2.ResolvePersonsResponse(
            persons=[
                people_pb2.ResolvedPerson(
                    verdict=common_pb2.Verdict(index=index, accepted=True, id=query.name),
                    household_id=query.name,
                )
                if query.name
                else people_pb2.ResolvedPerson(
                    verdict=common_pb2.Verdict(index=index, reason="PERSON_NOT_FOUND")
                )
                for index, query in enumerate(request.queries)
            ]
        )


class Operator(operator_pb2_grpc.OperatorServiceServicer):
    def __init__(self, seen: Seen, noun: str) -> None:
        self._seen = seen
        self._noun = noun

    async def GetTotals(
        self, request: operator_pb2.GetTotalsRequest, context: Context
    ) -> operator_pb2.GetTotalsResponse:
        self._seen.note(context)
        return operator_pb2.GetTotalsResponse(totals=[operator_pb2.Total(name=self._noun, value=1)])


@dataclass
class Target:
    """A running fake."""

    server: rpc.Server
    task: "asyncio.Task[None]"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def a_target(
    authority: LocalCA, noun: str, add: Callable[[Any], None], *, address: str = "127.0.0.1:0"
) -> Target:
    credentials = authority.service(noun)
    server = rpc.Server(
        address=address,
        credentials=rpc.server_credentials(credentials.ca, credentials.cert, credentials.key),
        interceptors=[rpc.guard(Verifier(authority.caller_keys().public), env="local")],
        concurrent_rpcs_max=64,
    )
    add(server.server)
    return Target(server, asyncio.create_task(server.run()))


@asynccontextmanager
async def an_operators_target(
    authority: LocalCA, seen: Seen, noun: str, *, address: str
) -> AsyncIterator[Target]:
    """A service with nothing but the operator's surface."""

    def add(server: Any) -> None:
        operator = Operator(seen, noun)  # type: ignore[abstract]
        operator_pb2_grpc.add_OperatorServiceServicer_to_server(operator, server)

    target = a_target(authority, noun, add, address=address)
    try:
        yield target
    finally:
        await target.stop()


@asynccontextmanager
async def targets(authority: LocalCA, seen: Seen) -> AsyncIterator[dict[str, Target]]:
    """
    The services loans and households; nothing listens for the other three.

    What is not asked is not there: the stubs call such a servicer abstract.
    """

    def add_loans(server: Any) -> None:
        loans_pb2_grpc.add_LoansServiceServicer_to_server(
            Loans(seen),  # type: ignore[abstract]
            server,
        )
        operator_pb2_grpc.add_OperatorServiceServicer_to_server(
            Operator(seen, "loans"),  # type: ignore[abstract]
            server,
        )

    def add_households(server: Any) -> None:
        households_pb2_grpc.add_HouseholdsServiceServicer_to_server(
            Households(seen),  # type: ignore[abstract]
            server,
        )
        people_pb2_grpc.add_PeopleServiceServicer_to_server(
            People(seen),  # type: ignore[abstract]
            server,
        )
        operator = Operator(seen, "households")  # type: ignore[abstract]
        operator_pb2_grpc.add_OperatorServiceServicer_to_server(operator, server)

    running = {
        "loans": a_target(authority, "loans", add_loans),
        "households": a_target(authority, "households", add_households),
    }
    try:
        yield running
    finally:
        for target in running.values():
            await target.stop()
