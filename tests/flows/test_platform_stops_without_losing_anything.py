"""The whole platform: what it says to wrong calls, and how it stops while right ones run."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import grpc
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from liandong.common.v1 import operator_pb2, operator_pb2_grpc
from liandong.funds.v1 import funds_pb2, funds_pb2_grpc
from liandong.loans.v1 import loans_pb2, loans_pb2_grpc

from deploy.demo import run as demo
from deploy.local.client import Institution
from deploy.local.stack import SERVICES, Stack
from services.kernel import status
from services.programmes.loader import load
from services.programmes.schema.pack import split_ref
from tests.eventually import eventually
from tests.flows.county import OPENED, day
from tests.platforms import a_platform

pytestmark = pytest.mark.stack

CLERKS = 8
PAYMENTS_A_CLERK = 40
PAID_BEFORE_THE_STOP = 60


@dataclass
class Platform:
    """A platform that runs, and its institutions as clients."""

    stack: Stack
    county: str
    programme_id: str
    clients: dict[str, Institution]

    def at(self, institution_id: str) -> Institution:
        if institution_id not in self.clients:
            own = self.stack.institution(institution_id)
            address = self.stack.gateway_address
            self.clients[institution_id] = Institution(address, own, institution_id)
        return self.clients[institution_id]

    async def totals(self, noun: str) -> operator_pb2.GetTotalsResponse:
        answer: operator_pb2.GetTotalsResponse = await self.at(self.operator).call(
            operator_pb2_grpc.OperatorServiceStub,
            "GetTotals",
            operator_pb2.GetTotalsRequest(county_code=self.county),
            metadata={"liandong-service": noun},
        )
        return answer

    @property
    def operator(self) -> str:
        found = load([demo.COUNTY_FOLDER]).institutions.values()
        return next(each.institution_id for each in found if each.role == "operator")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform() -> AsyncIterator[Platform]:
    catalogue = load([demo.COUNTY_FOLDER])
    (county,) = catalogue.counties()
    programme_id = split_ref(catalogue.adopted[county].entries[0].programme)[0]
    async with a_platform("flows") as stack:
        made = Platform(stack, county, programme_id, {})
        yield made
        for client in made.clients.values():
            await client.close()


# --- wrong calls ----------------------------------------------------------------------------------


async def refused(
    platform: Platform, who: str, method: str, request: Any, *, person: str = ""
) -> grpc.aio.AioRpcError:
    """The error of a call of loans."""
    stub = platform.at(who).stub(loans_pb2_grpc.LoansServiceStub)
    named = (("liandong-person", person or f"{who}-p1"),)
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await getattr(stub, method)(request, metadata=named, timeout=30, wait_for_ready=True)
    return refusal.value


def fields(error: grpc.aio.AioRpcError) -> set[str]:
    found = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert found is not None
    broken = error_details_pb2.BadRequest()
    assert any(detail.Unpack(broken) for detail in found.details), found
    return {violation.field for violation in broken.field_violations}


async def test_a_malformed_call_is_told_every_field_that_is_wrong(platform: Platform) -> None:
    request = loans_pb2.BatchRepayLoansRequest(
        request_id="once",
        county_code="lushi",
        items=[loans_pb2.Repayment(loan_id="mine", amount_fen=-1)],
    )

    error = await refused(platform, "rcb-0001", "BatchRepayLoans", request)

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert status.reason_of(error) == "FIELD_RULE_BROKEN"
    assert fields(error) == {
        "request_id",
        "county_code",
        "items[0].loan_id",
        "items[0].amount_fen",
        "items[0].value_date",
    }


@pytest.mark.parametrize(
    ("who", "person", "code", "reason"),
    [
        # A certificate that is in order, of an institution that nobody knows.
        ("rcb-0009", "", grpc.StatusCode.UNAUTHENTICATED, "INSTITUTION_UNKNOWN"),
        ("rcb-0001", "psb-0001-p1", grpc.StatusCode.PERMISSION_DENIED, "PERSON_NOT_YOURS"),
        ("cfc-0001", "", grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED"),
        ("rcb-0001", "", grpc.StatusCode.NOT_FOUND, "LOAN_NOT_FOUND"),
    ],
)
async def test_a_call_that_may_not_be_is_told_why(
    platform: Platform, who: str, person: str, code: grpc.StatusCode, reason: str
) -> None:
    await open_county(platform)
    request = loans_pb2.DisburseLoanRequest(
        request_id=str(uuid4()), county_code=platform.county, loan_id=str(uuid4())
    )

    error = await refused(platform, who, "DisburseLoan", request, person=person)

    assert (error.code(), status.reason_of(error)) == (code, reason)


async def open_county(platform: Platform) -> None:
    """The first day in every service; again does nothing."""
    for noun in SERVICES:
        request = operator_pb2.AdvanceDayRequest(
            request_id=str(uuid4()), county_code=platform.county, business_date=day(OPENED)
        )
        await platform.at(platform.operator).call(
            operator_pb2_grpc.OperatorServiceStub,
            "AdvanceDay",
            request,
            metadata={"liandong-service": noun},
        )


# --- the stop -------------------------------------------------------------------------------------


async def test_a_stop_while_calls_are_running_loses_none_and_does_none_twice(
    platform: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    await open_county(platform)
    opening = funds_pb2.OpenFundRequest(
        request_id=str(uuid4()),
        county_code=platform.county,
        programme_id=platform.programme_id,
        kind="county_fund",
    )
    treasury = platform.at("fin-0001")
    fund = (await treasury.call(funds_pb2_grpc.FundsServiceStub, "OpenFund", opening)).fund
    paid = 0

    async def clerk() -> None:
        nonlocal paid
        for _ in range(PAYMENTS_A_CLERK):
            request = funds_pb2.RecordContributionRequest(
                request_id=str(uuid4()),
                county_code=platform.county,
                fund_id=fund.fund_id,
                source="county_budget",
                amount_fen=1,
                value_date=day(OPENED),
            )
            await treasury.call(funds_pb2_grpc.FundsServiceStub, "RecordContribution", request)
            paid += 1

    async def paid_so_far() -> int:
        return paid

    supervisor = platform.stack.supervisor
    with caplog.at_level(logging.WARNING, logger="deploy.local.processes"):
        clerks = [asyncio.create_task(clerk()) for _ in range(CLERKS)]
        await eventually(paid_so_far, lambda count: count >= PAID_BEFORE_THE_STOP, seconds_max=60)
        pid = supervisor.pid("platform")
        assert pid is not None
        os.kill(pid, signal.SIGTERM)
        await asyncio.gather(*clerks)

    # It ended by itself, in order, and another one took its place.
    assert any("platform ended with 0" in record.getMessage() for record in caplog.records)
    assert supervisor.restarts("platform") == 1
    assert treasury.retries > 0, "no call met the stop"
    whole = CLERKS * PAYMENTS_A_CLERK
    books = await eventually(
        lambda: platform.totals("funds"), lambda now: now.unpublished_events == 0, seconds_max=60
    )
    totals = {total.name: total.value for total in books.totals}
    assert paid == whole
    assert totals["funds.contributed_fen"] == totals["funds.balance_fen"] == whole
    assert totals["journal.fund_cash_fen"] == whole
    assert totals["funds.book_difference_fen"] == 0
    assert books.parked_events == 0
