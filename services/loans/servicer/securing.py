"""Loans over gRPC: collateral."""

from liandong.loans.v1 import loans_pb2, loans_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import wire
from services.kernel.database import Database
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.money import Fen
from services.kernel.rpc import Context, caller_of
from services.loans.model import Collateral
from services.loans.operations import securing
from services.loans.rules.securing import Offered
from services.loans.servicer.lending import (
    actor_of,
    require_county,
    scope_of,
)
from services.loans.store import securing as securing_store
from services.programmes.loader import Catalogue


def _collateral(held: Collateral) -> loans_pb2.Collateral:
    return loans_pb2.Collateral(
        collateral_id=str(held.collateral_id),
        loan_id=str(held.loan_id),
        pledge_id=held.pledge_id,
        asset=held.asset,
        units=held.units,
        unit_value_fen=held.unit_value_fen,
        value_fen=held.value_fen,
        secures_fen=held.secures_fen,
        source=held.source,
        valued_on=wire.date_to_proto(held.valued_on),
        revalue_by=wire.date_to_proto(held.revalue_by),
        keeper_id=held.keeper_id,
        registered_on=wire.date_to_proto(held.registered_on),
        released_on=wire.date_to_proto(held.released_on),
        yield_fen=held.yield_fen,
        refunded_fen=held.refunded_fen,
    )


class SecuringDoor(loans_pb2_grpc.LoansServiceServicer):
    """What secures a loan."""

    _database: Database
    _catalogue: Catalogue

    async def RegisterCollateral(
        self, request: loans_pb2.RegisterCollateralRequest, context: Context
    ) -> loans_pb2.RegisterCollateralResponse:
        """Register collateral."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        loan_id = parse_id("loan_id", request.loan_id)
        offered = Offered(
            request.pledge_id,
            request.asset,
            request.units,
            Fen(request.unit_value_fen),
            request.source,
            request.evidence,
            request.keeper_id,
        )

        async def work(session: AsyncSession) -> loans_pb2.RegisterCollateralResponse:
            made = await securing.register(
                session,
                request.county_code,
                loan_id,
                offered,
                actor=actor,
                catalogue=self._catalogue,
            )
            return loans_pb2.RegisterCollateralResponse(collateral=_collateral(made))

        return await once(
            self._database, caller, request, loans_pb2.RegisterCollateralResponse, work
        )

    async def RevalueCollateral(
        self, request: loans_pb2.RevalueCollateralRequest, context: Context
    ) -> loans_pb2.RevalueCollateralResponse:
        """Value collateral anew."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        collateral_id = parse_id("collateral_id", request.collateral_id)

        async def work(session: AsyncSession) -> loans_pb2.RevalueCollateralResponse:
            valued, enough = await securing.revalue(
                session,
                request.county_code,
                collateral_id,
                units=request.units,
                unit_value_fen=Fen(request.unit_value_fen),
                source=request.source,
                actor=actor,
                catalogue=self._catalogue,
            )
            return loans_pb2.RevalueCollateralResponse(
                collateral=_collateral(valued), enough=enough
            )

        return await once(
            self._database, caller, request, loans_pb2.RevalueCollateralResponse, work
        )

    async def ReleaseCollateral(
        self, request: loans_pb2.ReleaseCollateralRequest, context: Context
    ) -> loans_pb2.ReleaseCollateralResponse:
        """Release collateral."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        collateral_id = parse_id("collateral_id", request.collateral_id)

        async def work(session: AsyncSession) -> loans_pb2.ReleaseCollateralResponse:
            freed = await securing.release(session, request.county_code, collateral_id, actor=actor)
            return loans_pb2.ReleaseCollateralResponse(collateral=_collateral(freed))

        return await once(
            self._database, caller, request, loans_pb2.ReleaseCollateralResponse, work
        )

    async def RefundDepositInterest(
        self, request: loans_pb2.RefundDepositInterestRequest, context: Context
    ) -> loans_pb2.RefundDepositInterestResponse:
        """Note a refund of interest."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        collateral_id = parse_id("collateral_id", request.collateral_id)
        sold_on = wire.date_from_proto("sold_on", request.sold_on)

        async def work(session: AsyncSession) -> loans_pb2.RefundDepositInterestResponse:
            paid = await securing.refund_interest(
                session,
                request.county_code,
                collateral_id,
                sold_on=sold_on,
                proofs=set(request.proofs),
                evidence=request.evidence,
                actor=actor,
                catalogue=self._catalogue,
            )
            return loans_pb2.RefundDepositInterestResponse(
                collateral=_collateral(paid), refund_fen=paid.refunded_fen
            )

        return await once(
            self._database, caller, request, loans_pb2.RefundDepositInterestResponse, work
        )

    async def ListCollateral(
        self, request: loans_pb2.ListCollateralRequest, context: Context
    ) -> loans_pb2.ListCollateralResponse:
        """Collateral that the caller may see."""
        caller = caller_of(context)
        require_county(caller, request.county_code)
        size, start = wire.page_size(request.page_size), wire.page_start(request.page_token)
        areas, lender_id = scope_of(caller, request.county_code)
        async with self._database.transaction(caller) as session:
            rows = await securing_store.listed(
                session,
                request.county_code,
                areas=areas,
                lender_id=lender_id,
                loan_id=parse_id("loan_id", request.loan_id) if request.loan_id else None,
                after=parse_id("page_token", start) if start else None,
                limit=size + 1,
            )
        page, token = wire.page_of(rows, size, lambda row: row.collateral_id)
        return loans_pb2.ListCollateralResponse(
            collateral=[_collateral(row) for row in page],
            next_page_token=token,
        )
