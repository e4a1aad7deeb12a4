"""Steps of a funds test: what institutions ask, what is heard, what the books say then."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID, uuid4

import asyncpg
from liandong.funds.v1 import events_pb2, funds_pb2

from services.funds import reports
from services.funds.servicer import FundsServicer
from services.kernel import wire
from services.kernel.bus import Consumer
from services.kernel.caller import Caller
from services.kernel.database import Database, fetch
from services.kernel.inbox import Delivery
from services.kernel.walls import EVERY_COUNTY
from tests.funds.county import (
    CAUSE,
    CENTRE,
    COUNTY,
    LENDER,
    OPENED,
    PROGRAMME,
    TREASURY,
    Loan,
    calling,
)

EVIDENCE = ["sha256:ab", "sha256:cd"]


async def take(consumer: Consumer, *deliveries: Delivery) -> int:
    """Apply a batch as the consumer does; how many events were new."""
    return len((await consumer._apply(deliveries)).take)


async def open_fund(
    servicer: FundsServicer,
    *,
    balance_fen: int = 0,
    kind: str = "county_fund",
    programme_id: str = PROGRAMME,
) -> funds_pb2.Fund:
    request = funds_pb2.OpenFundRequest(
        request_id=str(uuid4()), county_code=COUNTY, programme_id=programme_id, kind=kind
    )
    fund = (await servicer.OpenFund(request, calling(CENTRE, request))).fund
    return await contribute(servicer, fund, balance_fen) if balance_fen else fund


async def contribute(
    servicer: FundsServicer,
    fund: funds_pb2.Fund,
    amount_fen: int,
    *,
    value_date: date = OPENED,
    caller: Caller = TREASURY,
) -> funds_pb2.Fund:
    request = funds_pb2.RecordContributionRequest(
        request_id=str(uuid4()),
        county_code=COUNTY,
        fund_id=fund.fund_id,
        source="county_budget",
        amount_fen=amount_fen,
        value_date=wire.date_to_proto(value_date),
    )
    return (await servicer.RecordContribution(request, calling(caller, request))).fund


async def file(
    servicer: FundsServicer,
    loan: Loan,
    *,
    caller: Caller = LENDER,
    cause: str = CAUSE,
) -> funds_pb2.CompensationCase:
    request = funds_pb2.FileCompensationCaseRequest(
        request_id=str(uuid4()),
        county_code=COUNTY,
        loan_id=str(loan.loan_id),
        cause=cause,
        evidence=EVIDENCE,
    )
    answer = await servicer.FileCompensationCase(request, calling(caller, request))
    return answer.compensation_case


async def decide(
    servicer: FundsServicer,
    case: funds_pb2.CompensationCase,
    *,
    approve: bool = True,
    reason: str = "",
    caller: Caller = CENTRE,
) -> funds_pb2.CompensationCase:
    request = funds_pb2.DecideCompensationCaseRequest(
        request_id=str(uuid4()),
        county_code=COUNTY,
        case_id=case.case_id,
        approve=approve,
        reason=reason,
    )
    answer = await servicer.DecideCompensationCase(request, calling(caller, request))
    return answer.compensation_case


async def get_fund(
    servicer: FundsServicer, fund: funds_pb2.Fund, *, caller: Caller = CENTRE
) -> funds_pb2.Fund:
    request = funds_pb2.GetFundRequest(county_code=COUNTY, fund_id=fund.fund_id)
    return (await servicer.GetFund(request, calling(caller, request))).fund


async def get_case(
    servicer: FundsServicer, case_id: str, *, caller: Caller = CENTRE
) -> funds_pb2.CompensationCase:
    request = funds_pb2.GetCompensationCaseRequest(county_code=COUNTY, case_id=case_id)
    answer = await servicer.GetCompensationCase(request, calling(caller, request))
    return answer.compensation_case


async def totals(db: Database, county_code: str = COUNTY) -> dict[str, int]:
    async with db.transaction(EVERY_COUNTY) as session:
        return dict(await reports.totals(session, county_code))


async def said(db: Database, name: str = "") -> list[asyncpg.Record]:
    """Events in the outbox, in order; each aggregate's sequence is gapless from 1."""
    async with db.transaction(EVERY_COUNTY) as session:
        rows = await fetch(session, "SELECT * FROM outbox ORDER BY position")
    sequences: dict[tuple[str, str], int] = {}
    for row in rows:
        key = (row["aggregate_type"], row["aggregate_id"])
        sequences[key] = sequences.get(key, 0) + 1
        assert row["sequence"] == sequences[key], row["event_type"]
    return [row for row in rows if row["event_type"].endswith(name)]


def names(rows: Sequence[asyncpg.Record]) -> list[str]:
    return [row["event_type"].rsplit(".", 1)[1] for row in rows]


async def refusals(db: Database) -> list[events_pb2.CoverRefused]:
    rows = await said(db, "cover_refused")
    return [events_pb2.CoverRefused.FromString(row["payload"]) for row in rows]


async def cover_state(db: Database, loan_id: UUID) -> str:
    async with db.transaction(EVERY_COUNTY) as session:
        rows = await fetch(session, "SELECT state FROM cover WHERE loan_id = $1", loan_id)
    return str(rows[0]["state"])
