"""Funds over gRPC: the funds themselves."""

from liandong.funds.v1 import funds_pb2, funds_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds import reports
from services.funds.operations import funds
from services.funds.reports import FundView
from services.funds.servicer.shared import start_id
from services.kernel import wire
from services.kernel.database import Database
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.money import Fen
from services.kernel.rpc import Context, caller_of
from services.programmes.loader import Catalogue


def _fund(seen: FundView) -> funds_pb2.Fund:
    fund = seen.fund
    return funds_pb2.Fund(
        fund_id=str(fund.fund_id),
        county_code=fund.county_code,
        programme=seen.programme,
        kind=fund.kind,
        balance_fen=fund.balance_fen,
        covered_fen=fund.covered_fen,
        capacity_fen=seen.capacity_fen,
        owed_fen=fund.owed_fen,
        scope_id=fund.scope_id,
    )


class FundsDoor(funds_pb2_grpc.FundsServiceServicer):
    """Funds and what comes into them."""

    _database: Database
    _catalogue: Catalogue

    async def OpenFund(
        self, request: funds_pb2.OpenFundRequest, context: Context
    ) -> funds_pb2.OpenFundResponse:
        """Open a fund for a county."""
        caller = caller_of(context)

        async def work(session: AsyncSession) -> funds_pb2.OpenFundResponse:
            fund = await funds.open_fund(
                session,
                self._catalogue,
                caller,
                county_code=request.county_code,
                programme_id=request.programme_id,
                kind=request.kind,
                scope_id=request.scope_id,
            )
            seen = await reports.fund_view(session, self._catalogue, fund)
            return funds_pb2.OpenFundResponse(fund=_fund(seen))

        return await once(self._database, caller, request, funds_pb2.OpenFundResponse, work)

    async def RecordContribution(
        self, request: funds_pb2.RecordContributionRequest, context: Context
    ) -> funds_pb2.RecordContributionResponse:
        """Post a contribution."""
        caller = caller_of(context)

        async def work(session: AsyncSession) -> funds_pb2.RecordContributionResponse:
            arrived = funds.Arrived(
                county_code=request.county_code,
                fund_id=parse_id("fund_id", request.fund_id),
                source=request.source,
                amount_fen=Fen(request.amount_fen),
                value_date=wire.date_from_proto("value_date", request.value_date),
                custodian_id=request.custodian_id,
            )
            fund = await funds.record_contribution(session, self._catalogue, caller, arrived)
            seen = await reports.fund_view(session, self._catalogue, fund)
            return funds_pb2.RecordContributionResponse(fund=_fund(seen))

        return await once(
            self._database, caller, request, funds_pb2.RecordContributionResponse, work
        )

    async def GetFund(
        self, request: funds_pb2.GetFundRequest, context: Context
    ) -> funds_pb2.GetFundResponse:
        """One fund."""
        caller = caller_of(context)
        fund_id = parse_id("fund_id", request.fund_id)
        async with self._database.transaction(caller) as session:
            seen = await reports.get_fund(
                session, self._catalogue, caller, request.county_code, fund_id
            )
        return funds_pb2.GetFundResponse(fund=_fund(seen))

    async def ListFunds(
        self, request: funds_pb2.ListFundsRequest, context: Context
    ) -> funds_pb2.ListFundsResponse:
        """Funds of a county."""
        caller = caller_of(context)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            found = await reports.list_funds(
                session,
                self._catalogue,
                caller,
                request.county_code,
                after=start_id(request.page_token),
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.fund.fund_id)
        return funds_pb2.ListFundsResponse(
            funds=[_fund(seen) for seen in page],
            next_page_token=token,
        )
