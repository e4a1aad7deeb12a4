"""Funds over gRPC: the cover of loans, and how a county chooses to share losses."""

from liandong.funds.v1 import cases_pb2, cases_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds import reports
from services.funds.model import Cover
from services.funds.operations import cover
from services.funds.servicer.shared import start_id
from services.kernel import wire
from services.kernel.database import Database
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.rpc import Context, caller_of
from services.programmes.loader import Catalogue


def _cover(found: Cover) -> cases_pb2.LoanCover:
    return cases_pb2.LoanCover(
        loan_id=str(found.loan_id),
        lender_id=found.lender_id,
        state=found.state.value,
        fund_id=str(found.fund_id or ""),
        principal_fen=found.principal_fen,
        sharing_model=found.model_id,
        disbursed=found.disbursed,
        until=wire.date_to_proto(found.until_on),
        renewed_loan_id=str(found.renews_loan_id or ""),
        opening=found.opening,
    )


class CoverDoor(cases_pb2_grpc.CasesServiceServicer):
    """Cover read, and a sharing model chosen."""

    _database: Database
    _catalogue: Catalogue

    async def GetCover(
        self, request: cases_pb2.GetCoverRequest, context: Context
    ) -> cases_pb2.GetCoverResponse:
        """The cover of a loan."""
        caller = caller_of(context)
        loan_id = parse_id("loan_id", request.loan_id)
        async with self._database.transaction(caller) as session:
            found = await reports.get_cover(session, caller, request.county_code, loan_id)
        return cases_pb2.GetCoverResponse(cover=_cover(found))

    async def ListCovers(
        self, request: cases_pb2.ListCoversRequest, context: Context
    ) -> cases_pb2.ListCoversResponse:
        """Covers of a county."""
        caller = caller_of(context)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            found = await reports.list_covers(
                session,
                caller,
                request.county_code,
                state=request.state,
                after=start_id(request.page_token),
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.loan_id)
        return cases_pb2.ListCoversResponse(
            covers=[_cover(each) for each in page], next_page_token=token
        )

    async def ChooseSharingModel(
        self, request: cases_pb2.ChooseSharingModelRequest, context: Context
    ) -> cases_pb2.ChooseSharingModelResponse:
        """Let another sharing model of a product hold from now on."""
        caller = caller_of(context)

        async def work(session: AsyncSession) -> cases_pb2.ChooseSharingModelResponse:
            before = await cover.choose_model(
                session,
                self._catalogue,
                caller,
                request.county_code,
                programme_id=request.programme_id,
                product_id=request.product_id,
                model_id=request.sharing_model,
                reason=request.reason,
            )
            return cases_pb2.ChooseSharingModelResponse(
                sharing_model=request.sharing_model, before=before
            )

        return await once(
            self._database, caller, request, cases_pb2.ChooseSharingModelResponse, work
        )
