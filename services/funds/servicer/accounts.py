"""Funds over gRPC: the money of funds: dues, periods, pools held against loans."""

from liandong.funds.v1 import accounts_pb2
from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds.operations import accounts
from services.funds.operations.accounts import Demand
from services.funds.rules.accounts_dues import Arrival, Due
from services.funds.servicer.accounts_books import BooksDoor, recorded
from services.funds.servicer.accounts_fees import FeesDoor
from services.funds.servicer.accounts_orders import OrdersDoor
from services.funds.servicer.shared import start_id
from services.kernel import wire
from services.kernel.database import Database
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.money import Fen
from services.kernel.rpc import Context, caller_of
from services.programmes.loader import Catalogue


def _due(due: Due) -> accounts_pb2.ContributionDue:
    return accounts_pb2.ContributionDue(
        due_id=str(due.due_id),
        source=due.source,
        amount_fen=due.amount_fen,
        due_on=wire.date_to_proto(due.due_on),
        arrived_fen=due.arrived_fen,
        year=due.year,
        working=due.working,
    )


def _arrival(found: Arrival) -> accounts_pb2.SourceArrival:
    return accounts_pb2.SourceArrival(
        source=found.source,
        due_fen=found.due_fen,
        paid_in_fen=found.paid_in_fen,
        ratio_ppm=found.ratio_ppm,
    )


class FundAccountsServicer(OrdersDoor, FeesDoor, BooksDoor):
    """The money of funds of every kind."""

    def __init__(self, database: Database, catalogue: Catalogue) -> None:
        self._database = database
        self._catalogue = catalogue

    async def CloseFundPeriod(
        self, request: accounts_pb2.CloseFundPeriodRequest, context: Context
    ) -> accounts_pb2.CloseFundPeriodResponse:
        """Close the books through a day."""
        caller = caller_of(context)
        through = wire.date_from_proto("through", request.through)

        async def work(session: AsyncSession) -> accounts_pb2.CloseFundPeriodResponse:
            await accounts.close_period(session, caller, request.county_code, through)
            return accounts_pb2.CloseFundPeriodResponse()

        return await once(
            self._database, caller, request, accounts_pb2.CloseFundPeriodResponse, work
        )

    async def RecordContributionDue(
        self, request: accounts_pb2.RecordContributionDueRequest, context: Context
    ) -> accounts_pb2.RecordContributionDueResponse:
        """Say what is due."""
        caller = caller_of(context)
        demand = Demand(
            county_code=request.county_code,
            fund_id=parse_id("fund_id", request.fund_id),
            source=request.source,
            amount_fen=Fen(request.amount_fen),
            due_on=wire.date_from_proto("due_on", request.due_on),
        )

        async def work(session: AsyncSession) -> accounts_pb2.RecordContributionDueResponse:
            due = await accounts.record_due(session, self._catalogue, caller, demand)
            return accounts_pb2.RecordContributionDueResponse(due=_due(due))

        return await once(
            self._database, caller, request, accounts_pb2.RecordContributionDueResponse, work
        )

    async def GetArrival(
        self, request: accounts_pb2.GetArrivalRequest, context: Context
    ) -> accounts_pb2.GetArrivalResponse:
        """What was due and what arrived."""
        caller = caller_of(context)
        on = wire.date_from_proto("on", request.on) if request.HasField("on") else None
        async with self._database.transaction(caller) as session:
            found = await accounts.arrival(
                session, caller, request.county_code, parse_id("fund_id", request.fund_id), on
            )
        return accounts_pb2.GetArrivalResponse(
            sources=[_arrival(each) for each in found.sources],
            due_fen=found.whole.due_fen,
            paid_in_fen=found.whole.paid_in_fen,
            ratio_ppm=found.whole.ratio_ppm,
            dues=[_due(each) for each in found.dues],
        )

    async def ListContributions(
        self, request: accounts_pb2.ListContributionsRequest, context: Context
    ) -> accounts_pb2.ListContributionsResponse:
        """What was paid in."""
        caller = caller_of(context)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            found = await accounts.list_contributions(
                session,
                caller,
                request.county_code,
                parse_id("fund_id", request.fund_id),
                source=request.source,
                after=start_id(request.page_token),
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda row: row["contribution_id"])
        return accounts_pb2.ListContributionsResponse(
            contributions=[
                accounts_pb2.ContributionEntry(
                    contribution_id=str(row["contribution_id"]),
                    source=row["source"],
                    custodian_id=row["custodian_id"],
                    amount_fen=row["amount_fen"],
                    value_date=wire.date_to_proto(row["value_date"]),
                    business_date=wire.date_to_proto(row["business_date"]),
                    recorded_time=recorded(row),
                    opening=row["opening"],
                )
                for row in page
            ],
            next_page_token=token,
        )

    async def GetTopUp(
        self, request: accounts_pb2.GetTopUpRequest, context: Context
    ) -> accounts_pb2.GetTopUpResponse:
        """What a fund must hold and gets."""
        caller = caller_of(context)
        fund_id = parse_id("fund_id", request.fund_id)
        async with self._database.transaction(caller) as session:
            found = await accounts.top_up(
                session, self._catalogue, caller, request.county_code, fund_id
            )
        return accounts_pb2.GetTopUpResponse(
            loans_fen=found.loans_fen,
            required_fen=found.needed.required_fen,
            binding=found.needed.binding,
            top_up_fen=found.needed.top_up_fen,
            meets_minimum=found.yearly.meets_minimum,
            minimum_fen=found.minimum_fen,
            added_fen=found.yearly.added_fen,
            balance_after_fen=found.yearly.balance_after_fen,
            due_on=wire.date_to_proto(found.due_on),
            working=f"{found.needed.working}; {found.yearly.working}",
        )

    async def GetVillageFund(
        self, request: accounts_pb2.GetVillageFundRequest, context: Context
    ) -> accounts_pb2.GetVillageFundResponse:
        """A village's fund against its loans."""
        caller = caller_of(context)
        fund_id = parse_id("fund_id", request.fund_id)
        async with self._database.transaction(caller) as session:
            fund, loans, bounds = await accounts.village_fund(
                session, self._catalogue, caller, request.county_code, fund_id
            )
        return accounts_pb2.GetVillageFundResponse(
            village_code=fund.scope_id,
            village_loans_fen=loans,
            min_fen=bounds.min_fen,
            max_fen=bounds.max_fen,
            fund_fen=fund.balance_fen,
            within=bounds.within,
            working=bounds.working,
        )

    async def GetMutualPool(
        self, request: accounts_pb2.GetMutualPoolRequest, context: Context
    ) -> accounts_pb2.GetMutualPoolResponse:
        """A mixed pool against its loans."""
        caller = caller_of(context)
        fund_id = parse_id("fund_id", request.fund_id)
        async with self._database.transaction(caller) as session:
            pool = await accounts.mutual_pool(
                session, self._catalogue, caller, request.county_code, fund_id
            )
        return accounts_pb2.GetMutualPoolResponse(
            government_fen=pool.government_fen,
            enterprise_fen=pool.enterprise_fen,
            pool_fen=pool.mix.pool_fen,
            mix_ok=pool.mix.mix_ok,
            loans_fen=pool.loans_fen,
            capacity_fen=pool.mix.capacity_fen,
            headroom_fen=pool.mix.headroom_fen,
            within_cap=pool.mix.within_cap,
            multiple_centi=pool.mix.multiple_centi,
            working=pool.mix.working,
        )

    async def SizeInsurerPool(
        self, request: accounts_pb2.SizeInsurerPoolRequest, context: Context
    ) -> accounts_pb2.SizeInsurerPoolResponse:
        """How large an insurers' pool must be."""
        caller = caller_of(context)

        async def work(session: AsyncSession) -> accounts_pb2.SizeInsurerPoolResponse:
            size = await accounts.size_insurer_pool(
                session,
                self._catalogue,
                caller,
                request.county_code,
                parse_id("fund_id", request.fund_id),
                expected_fen=Fen(request.expected_lending_fen),
                due_on=wire.date_from_proto("due_on", request.due_on),
            )
            return accounts_pb2.SizeInsurerPoolResponse(
                pool_fen=size.pool_fen,
                missing_fen=size.missing_fen,
                due_id=str(size.due.due_id) if size.due else "",
                working=size.working,
            )

        return await once(
            self._database, caller, request, accounts_pb2.SizeInsurerPoolResponse, work
        )

    async def ListLineResults(
        self, request: accounts_pb2.ListLineResultsRequest, context: Context
    ) -> accounts_pb2.ListLineResultsResponse:
        """Results of insurers' lines."""
        caller = caller_of(context)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            found = await accounts.list_line_results(
                session,
                caller,
                request.county_code,
                after=wire.page_start(request.page_token),
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.line_id)
        return accounts_pb2.ListLineResultsResponse(
            results=[
                accounts_pb2.LineResult(
                    line_id=each.line_id,
                    insurer_id=each.insurer_id,
                    premium_fen=each.premium_fen,
                    payouts_fen=each.payouts_fen,
                    deficit_fen=max(0, each.payouts_fen - each.premium_fen),
                    compensated_fen=each.compensated_fen,
                    said_on=wire.date_to_proto(each.said_on),
                )
                for each in page
            ],
            next_page_token=token,
        )
