"""Funds over gRPC: lines of guarantors, and fees."""

from liandong.funds.v1 import accounts_pb2, accounts_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds.operations import accounts_fees as fees
from services.funds.operations.accounts_fees import Facility
from services.funds.rules.accounts_values import FeeClaim
from services.funds.servicer.shared import start_id
from services.kernel import wire
from services.kernel.database import Database
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.rpc import Context, caller_of
from services.programmes.loader import Catalogue

_KINDS = {
    fees.LENDING: accounts_pb2.FEE_KIND_LENDING,
    fees.DATA: accounts_pb2.FEE_KIND_DATA_COLLECTION,
}
_ASKED_KINDS = {wire_kind: kind for kind, wire_kind in _KINDS.items()}
_STATES = {
    "filed": accounts_pb2.FEE_CLAIM_STATE_FILED,
    "approved": accounts_pb2.FEE_CLAIM_STATE_APPROVED,
    "paid": accounts_pb2.FEE_CLAIM_STATE_PAID,
    "refused": accounts_pb2.FEE_CLAIM_STATE_REFUSED,
}
_ASKED = {wire_state: state for state, wire_state in _STATES.items()}


def _facility(found: Facility) -> accounts_pb2.Facility:
    line = found.line
    return accounts_pb2.Facility(
        programme_id=line.programme_id,
        party=line.party,
        institution_id=line.institution_id,
        line_fen=line.line_fen,
        used_fen=found.used_fen,
        free_fen=found.free_fen,
        from_date=wire.date_to_proto(line.from_date),
        until_date=wire.date_to_proto(line.until_date),
    )


def _claim(claim: FeeClaim) -> accounts_pb2.FeeClaim:
    return accounts_pb2.FeeClaim(
        claim_id=str(claim.claim_id),
        kind=_KINDS[claim.kind],
        state=_STATES[claim.state],
        institution_id=claim.institution_id,
        programme=claim.programme,
        from_date=wire.date_to_proto(claim.from_date),
        until_date=wire.date_to_proto(claim.until_date),
        disbursed_fen=claim.disbursed_fen,
        households=claim.households,
        amount_fen=claim.amount_fen,
        filed_by=claim.filed_by,
        approved_by=claim.approved_by,
        paid_by=claim.paid_by,
        reason=claim.reason,
        working=claim.working,
    )


class FeesDoor(accounts_pb2_grpc.FundAccountsServiceServicer):
    """Lines read; fees filed, decided, paid and read."""

    _database: Database
    _catalogue: Catalogue

    async def ListFacilities(
        self, request: accounts_pb2.ListFacilitiesRequest, context: Context
    ) -> accounts_pb2.ListFacilitiesResponse:
        """Lines in force."""
        caller = caller_of(context)
        async with self._database.transaction(caller) as session:
            found = await fees.list_facilities(
                session, self._catalogue, caller, request.county_code
            )
        return accounts_pb2.ListFacilitiesResponse(facilities=[_facility(each) for each in found])

    async def FileFeeClaim(
        self, request: accounts_pb2.FileFeeClaimRequest, context: Context
    ) -> accounts_pb2.FileFeeClaimResponse:
        """Ask for a fee."""
        caller = caller_of(context)
        asked = fees.Asked(
            county_code=request.county_code,
            programme_id=request.programme_id,
            kind=_ASKED_KINDS[request.kind],
            from_date=wire.date_from_proto("from_date", request.from_date),
            until_date=wire.date_from_proto("until_date", request.until_date),
            households=request.households,
            evidence=tuple(request.evidence),
        )

        async def work(session: AsyncSession) -> accounts_pb2.FileFeeClaimResponse:
            claim = await fees.file_claim(session, self._catalogue, caller, asked)
            return accounts_pb2.FileFeeClaimResponse(claim=_claim(claim))

        return await once(self._database, caller, request, accounts_pb2.FileFeeClaimResponse, work)

    async def DecideFeeClaim(
        self, request: accounts_pb2.DecideFeeClaimRequest, context: Context
    ) -> accounts_pb2.DecideFeeClaimResponse:
        """Approve or refuse a fee."""
        caller = caller_of(context)

        async def work(session: AsyncSession) -> accounts_pb2.DecideFeeClaimResponse:
            claim = await fees.decide_claim(
                session,
                caller,
                request.county_code,
                parse_id("claim_id", request.claim_id),
                approve=request.approve,
                reason=request.reason,
            )
            return accounts_pb2.DecideFeeClaimResponse(claim=_claim(claim))

        return await once(
            self._database, caller, request, accounts_pb2.DecideFeeClaimResponse, work
        )

    async def PayFeeClaim(
        self, request: accounts_pb2.PayFeeClaimRequest, context: Context
    ) -> accounts_pb2.PayFeeClaimResponse:
        """Pay an approved fee."""
        caller = caller_of(context)

        async def work(session: AsyncSession) -> accounts_pb2.PayFeeClaimResponse:
            claim = await fees.pay_claim(
                session,
                caller,
                request.county_code,
                parse_id("claim_id", request.claim_id),
                wire.date_from_proto("value_date", request.value_date),
            )
            return accounts_pb2.PayFeeClaimResponse(claim=_claim(claim))

        return await once(self._database, caller, request, accounts_pb2.PayFeeClaimResponse, work)

    async def ListFeeClaims(
        self, request: accounts_pb2.ListFeeClaimsRequest, context: Context
    ) -> accounts_pb2.ListFeeClaimsResponse:
        """Claims of a county."""
        caller = caller_of(context)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            found = await fees.list_claims(
                session,
                caller,
                request.county_code,
                state=_ASKED.get(request.state, ""),
                after=start_id(request.page_token),
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.claim_id)
        return accounts_pb2.ListFeeClaimsResponse(
            claims=[_claim(each) for each in page], next_page_token=token
        )
