"""Funds over gRPC: orders of two persons."""

from liandong.common.v1 import common_pb2
from liandong.funds.v1 import accounts_pb2, accounts_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds.operations import accounts_orders as orders
from services.funds.operations.accounts_orders import OpeningFund, OpeningSource
from services.funds.rules.accounts import Line
from services.funds.rules.accounts_values import Order
from services.funds.servicer.shared import start_id
from services.kernel import wire
from services.kernel.database import Database
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.money import Fen
from services.kernel.rpc import Context, caller_of
from services.programmes.loader import Catalogue

_STATES = {
    "proposed": accounts_pb2.ORDER_STATE_PROPOSED,
    "done": accounts_pb2.ORDER_STATE_DONE,
    "turned_down": accounts_pb2.ORDER_STATE_TURNED_DOWN,
}
_ASKED = {wire_state: state for state, wire_state in _STATES.items()}


def _order(order: Order) -> accounts_pb2.FundOrder:
    return accounts_pb2.FundOrder(
        order_id=str(order.order_id),
        kind=accounts_pb2.OrderKind.Value(f"ORDER_KIND_{order.kind.upper()}"),
        state=_STATES[order.state],
        fund_id=str(order.fund_id or ""),
        amount_fen=order.amount_fen,
        lines=[
            accounts_pb2.OrderLine(
                from_custodian_id=line.source,
                to_custodian_id=line.target,
                amount_fen=line.amount_fen,
            )
            for line in orders.lines_of(order)
        ],
        payee=order.payee,
        value_date=wire.date_to_proto(order.value_date),
        proposed_by=order.proposed_by,
        decided_by=order.decided_by,
        reason=order.reason,
        working=order.working,
    )


def _opening(item: accounts_pb2.OpeningFund) -> OpeningFund:
    sources = tuple(
        OpeningSource(each.source, each.custodian_id, Fen(each.amount_fen)) for each in item.sources
    )
    return OpeningFund(item.programme_id, item.kind, item.scope_id, sources)


class OrdersDoor(accounts_pb2_grpc.FundAccountsServiceServicer):
    """Orders proposed, decided and read."""

    _database: Database
    _catalogue: Catalogue

    async def ProposeTransfer(
        self, request: accounts_pb2.ProposeTransferRequest, context: Context
    ) -> accounts_pb2.ProposeTransferResponse:
        """Move money between sub-accounts."""
        caller = caller_of(context)
        lines = [
            Line(line.from_custodian_id, line.to_custodian_id, Fen(line.amount_fen))
            for line in request.lines
        ]

        async def work(session: AsyncSession) -> accounts_pb2.ProposeTransferResponse:
            order = await orders.propose_transfer(
                session,
                self._catalogue,
                caller,
                county_code=request.county_code,
                fund_id=parse_id("fund_id", request.fund_id),
                lines=lines,
                value_date=wire.date_from_proto("value_date", request.value_date),
            )
            return accounts_pb2.ProposeTransferResponse(order=_order(order))

        return await once(
            self._database, caller, request, accounts_pb2.ProposeTransferResponse, work
        )

    async def ProposeDivision(
        self, request: accounts_pb2.ProposeDivisionRequest, context: Context
    ) -> accounts_pb2.ProposeDivisionResponse:
        """Divide a fund by lending share."""
        caller = caller_of(context)

        async def work(session: AsyncSession) -> accounts_pb2.ProposeDivisionResponse:
            order = await orders.propose_division(
                session,
                self._catalogue,
                caller,
                county_code=request.county_code,
                fund_id=parse_id("fund_id", request.fund_id),
                value_date=wire.date_from_proto("value_date", request.value_date),
            )
            return accounts_pb2.ProposeDivisionResponse(order=_order(order))

        return await once(
            self._database, caller, request, accounts_pb2.ProposeDivisionResponse, work
        )

    async def ProposeWithdrawal(
        self, request: accounts_pb2.ProposeWithdrawalRequest, context: Context
    ) -> accounts_pb2.ProposeWithdrawalResponse:
        """Give money back to a source."""
        caller = caller_of(context)

        async def work(session: AsyncSession) -> accounts_pb2.ProposeWithdrawalResponse:
            order = await orders.propose_withdrawal(
                session,
                self._catalogue,
                caller,
                request.county_code,
                parse_id("fund_id", request.fund_id),
                source=request.source,
                custodian_id=request.custodian_id,
                amount_fen=Fen(request.amount_fen),
                value_date=wire.date_from_proto("value_date", request.value_date),
            )
            return accounts_pb2.ProposeWithdrawalResponse(order=_order(order))

        return await once(
            self._database, caller, request, accounts_pb2.ProposeWithdrawalResponse, work
        )

    async def ProposeClosing(
        self, request: accounts_pb2.ProposeClosingRequest, context: Context
    ) -> accounts_pb2.ProposeClosingResponse:
        """Close a fund."""
        caller = caller_of(context)

        async def work(session: AsyncSession) -> accounts_pb2.ProposeClosingResponse:
            fund_id = parse_id("fund_id", request.fund_id)
            order = await orders.propose_closing(session, caller, request.county_code, fund_id)
            return accounts_pb2.ProposeClosingResponse(order=_order(order))

        return await once(
            self._database, caller, request, accounts_pb2.ProposeClosingResponse, work
        )

    async def ProposeStabilisation(
        self, request: accounts_pb2.ProposeStabilisationRequest, context: Context
    ) -> accounts_pb2.ProposeStabilisationResponse:
        """Pay an insurer's deficit."""
        caller = caller_of(context)

        async def work(session: AsyncSession) -> accounts_pb2.ProposeStabilisationResponse:
            order = await orders.propose_stabilisation(
                session,
                self._catalogue,
                caller,
                county_code=request.county_code,
                fund_id=parse_id("fund_id", request.fund_id),
                line_id=request.line_id,
                value_date=wire.date_from_proto("value_date", request.value_date),
            )
            return accounts_pb2.ProposeStabilisationResponse(order=_order(order))

        return await once(
            self._database, caller, request, accounts_pb2.ProposeStabilisationResponse, work
        )

    async def ProposeFacility(
        self, request: accounts_pb2.ProposeFacilityRequest, context: Context
    ) -> accounts_pb2.ProposeFacilityResponse:
        """Set a guarantor's line."""
        caller = caller_of(context)
        until = None
        if request.HasField("until_date"):
            until = wire.date_from_proto("until_date", request.until_date)

        async def work(session: AsyncSession) -> accounts_pb2.ProposeFacilityResponse:
            order = await orders.propose_facility(
                session,
                self._catalogue,
                caller,
                request.county_code,
                programme_id=request.programme_id,
                party=request.party,
                line_fen=Fen(request.line_fen),
                between=(wire.date_from_proto("from_date", request.from_date), until),
            )
            return accounts_pb2.ProposeFacilityResponse(order=_order(order))

        return await once(
            self._database, caller, request, accounts_pb2.ProposeFacilityResponse, work
        )

    async def ProposeOpening(
        self, request: accounts_pb2.ProposeOpeningRequest, context: Context
    ) -> accounts_pb2.ProposeOpeningResponse:
        """Bring in a county's funds at cut-over."""
        caller = caller_of(context)

        async def work(session: AsyncSession) -> accounts_pb2.ProposeOpeningResponse:
            opened = await orders.propose_opening(
                session,
                self._catalogue,
                caller,
                request.county_code,
                [_opening(item) for item in request.items],
                opening_on=wire.date_from_proto("opening_on", request.opening_on),
                control=(request.control_count, request.control_fen),
                dry_run=request.dry_run,
            )
            proof = opened.proof
            return accounts_pb2.ProposeOpeningResponse(
                order=_order(opened.order) if opened.order else None,
                verdicts=[
                    wire.refused(index, wrong)
                    if wrong
                    else common_pb2.Verdict(index=index, accepted=True)
                    for index, wrong in enumerate(opened.outcomes)
                ],
                proof=accounts_pb2.OpeningProof(
                    given_count=proof.given_count,
                    given_fen=proof.given_fen,
                    found_count=proof.found_count,
                    found_fen=proof.found_fen,
                    agrees=proof.agrees,
                ),
                proposed=opened.order is not None,
            )

        return await once(
            self._database, caller, request, accounts_pb2.ProposeOpeningResponse, work
        )

    async def DecideFundOrder(
        self, request: accounts_pb2.DecideFundOrderRequest, context: Context
    ) -> accounts_pb2.DecideFundOrderResponse:
        """Carry an order out or turn it down."""
        caller = caller_of(context)

        async def work(session: AsyncSession) -> accounts_pb2.DecideFundOrderResponse:
            order = await orders.decide(
                session,
                self._catalogue,
                caller,
                request.county_code,
                parse_id("order_id", request.order_id),
                approve=request.approve,
                reason=request.reason,
            )
            return accounts_pb2.DecideFundOrderResponse(order=_order(order))

        return await once(
            self._database, caller, request, accounts_pb2.DecideFundOrderResponse, work
        )

    async def GetFundOrder(
        self, request: accounts_pb2.GetFundOrderRequest, context: Context
    ) -> accounts_pb2.GetFundOrderResponse:
        """One order."""
        caller = caller_of(context)
        order_id = parse_id("order_id", request.order_id)
        async with self._database.transaction(caller) as session:
            order = await orders.get_order(session, caller, request.county_code, order_id)
        return accounts_pb2.GetFundOrderResponse(order=_order(order))

    async def ListFundOrders(
        self, request: accounts_pb2.ListFundOrdersRequest, context: Context
    ) -> accounts_pb2.ListFundOrdersResponse:
        """Orders of a county."""
        caller = caller_of(context)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            found = await orders.list_orders(
                session,
                caller,
                request.county_code,
                state=_ASKED.get(request.state, ""),
                after=start_id(request.page_token),
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.order_id)
        return accounts_pb2.ListFundOrdersResponse(
            orders=[_order(each) for each in page], next_page_token=token
        )
