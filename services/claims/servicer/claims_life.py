"""Claims over gRPC: what happens to a claim besides its report and its decision."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar
from uuid import UUID

from liandong.claims.v1 import claims_pb2, claims_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims import reports
from services.claims.model import Claim
from services.claims.operations import claims_life
from services.claims.servicer.claims import (
    claim_to_proto,
    dispute_to_proto,
    documents_from_proto,
    lines_from_proto,
)
from services.claims.servicer.shared import REPORTERS, admit
from services.kernel import wire
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.rpc import Context
from services.programmes.loader import Catalogue

SURVEYORS = ("insurer", "village_department", "township_station")
OPENERS = ("insurer", "county_centre")
DISPUTERS = ("village_department", "township_station", "county_centre", "household")
INSURERS = ("insurer",)

Answer = TypeVar(
    "Answer",
    claims_pb2.AddClaimDocumentsResponse,
    claims_pb2.SurveyClaimResponse,
    claims_pb2.SuspendClaimResponse,
    claims_pb2.ResumeClaimResponse,
    claims_pb2.WithdrawClaimResponse,
    claims_pb2.ReopenClaimResponse,
)


class OfClaim(Protocol):
    """A request about one claim."""

    @property
    def county_code(self) -> str:
        """Six digits."""

    @property
    def claim_id(self) -> str:
        """The claim."""


def _claim_id(request: OfClaim) -> UUID:
    return parse_id("claim_id", request.claim_id)


class ClaimsLifeDoor(claims_pb2_grpc.ClaimsServiceServicer):
    """Documents, surveys, pauses, withdrawals, disputes."""

    _database: Database
    _catalogue: Catalogue

    async def AddClaimDocuments(
        self, request: claims_pb2.AddClaimDocumentsRequest, context: Context
    ) -> claims_pb2.AddClaimDocumentsResponse:
        """Add documents to a claim."""
        caller = admit(context, REPORTERS, request.county_code)
        claim_id = _claim_id(request)

        async def work(session: AsyncSession) -> Claim:
            return await claims_life.add_documents(
                session,
                caller,
                request.county_code,
                claim_id,
                documents_from_proto(request.documents),
            )

        return await self._once(caller, request, claims_pb2.AddClaimDocumentsResponse, work)

    async def SurveyClaim(
        self, request: claims_pb2.SurveyClaimRequest, context: Context
    ) -> claims_pb2.SurveyClaimResponse:
        """Record a survey."""
        caller = admit(context, SURVEYORS, request.county_code)
        claim_id = _claim_id(request)
        surveyed_on = wire.date_from_proto("surveyed_on", request.surveyed_on)

        async def work(session: AsyncSession) -> Claim:
            return await claims_life.survey(
                session,
                self._catalogue,
                caller,
                request.county_code,
                claim_id,
                surveyed_on=surveyed_on,
                lines=lines_from_proto(request.lines),
                documents=documents_from_proto(request.documents),
                note=request.note,
            )

        return await self._once(caller, request, claims_pb2.SurveyClaimResponse, work)

    async def SuspendClaim(
        self, request: claims_pb2.SuspendClaimRequest, context: Context
    ) -> claims_pb2.SuspendClaimResponse:
        """Stop the clock."""
        caller = admit(context, SURVEYORS, request.county_code)
        claim_id = _claim_id(request)

        async def work(session: AsyncSession) -> Claim:
            return await claims_life.suspend(
                session, caller, request.county_code, claim_id, request.missing
            )

        return await self._once(caller, request, claims_pb2.SuspendClaimResponse, work)

    async def ResumeClaim(
        self, request: claims_pb2.ResumeClaimRequest, context: Context
    ) -> claims_pb2.ResumeClaimResponse:
        """Let the clock go on."""
        caller = admit(context, SURVEYORS, request.county_code)
        claim_id = _claim_id(request)

        async def work(session: AsyncSession) -> Claim:
            return await claims_life.resume(
                session,
                self._catalogue,
                caller,
                request.county_code,
                claim_id,
                documents=documents_from_proto(request.documents),
            )

        return await self._once(caller, request, claims_pb2.ResumeClaimResponse, work)

    async def WithdrawClaim(
        self, request: claims_pb2.WithdrawClaimRequest, context: Context
    ) -> claims_pb2.WithdrawClaimResponse:
        """Take a claim back."""
        caller = admit(context, REPORTERS, request.county_code)
        claim_id = _claim_id(request)

        async def work(session: AsyncSession) -> Claim:
            return await claims_life.withdraw(
                session, caller, request.county_code, claim_id, request.reason
            )

        return await self._once(caller, request, claims_pb2.WithdrawClaimResponse, work)

    async def ReopenClaim(
        self, request: claims_pb2.ReopenClaimRequest, context: Context
    ) -> claims_pb2.ReopenClaimResponse:
        """Open a claim again."""
        caller = admit(context, OPENERS, request.county_code)
        claim_id = _claim_id(request)

        async def work(session: AsyncSession) -> Claim:
            return await claims_life.reopen(
                session,
                self._catalogue,
                caller,
                request.county_code,
                claim_id,
                reason=request.reason,
            )

        return await self._once(caller, request, claims_pb2.ReopenClaimResponse, work)

    async def DisputeClaim(
        self, request: claims_pb2.DisputeClaimRequest, context: Context
    ) -> claims_pb2.DisputeClaimResponse:
        """Contest a decision."""
        caller = admit(context, DISPUTERS, request.county_code)
        claim_id = _claim_id(request)

        async def work(session: AsyncSession) -> claims_pb2.DisputeClaimResponse:
            dispute = await claims_life.dispute(
                session,
                self._catalogue,
                caller,
                request.county_code,
                claim_id,
                said=request.text,
            )
            return claims_pb2.DisputeClaimResponse(dispute=dispute_to_proto(dispute))

        return await once(self._database, caller, request, claims_pb2.DisputeClaimResponse, work)

    async def AnswerDispute(
        self, request: claims_pb2.AnswerDisputeRequest, context: Context
    ) -> claims_pb2.AnswerDisputeResponse:
        """Answer a dispute."""
        caller = admit(context, INSURERS, request.county_code)
        claim_id = _claim_id(request)

        async def work(session: AsyncSession) -> claims_pb2.AnswerDisputeResponse:
            dispute, claim = await claims_life.answer_dispute(
                session,
                self._catalogue,
                caller,
                request.county_code,
                claim_id,
                upheld=request.upheld,
                answer=request.answer,
            )
            (claim,) = await reports.in_context(session, [claim])
            return claims_pb2.AnswerDisputeResponse(
                dispute=dispute_to_proto(dispute), claim=claim_to_proto(claim)
            )

        return await once(self._database, caller, request, claims_pb2.AnswerDisputeResponse, work)

    async def _once(
        self,
        caller: Caller,
        request: claims_pb2.AddClaimDocumentsRequest
        | claims_pb2.SurveyClaimRequest
        | claims_pb2.SuspendClaimRequest
        | claims_pb2.ResumeClaimRequest
        | claims_pb2.WithdrawClaimRequest
        | claims_pb2.ReopenClaimRequest,
        answer_type: type[Answer],
        change: Callable[[AsyncSession], Awaitable[Claim]],
    ) -> Answer:
        """One change of a claim, answered with the claim as it is then."""

        async def work(session: AsyncSession) -> Answer:
            (claim,) = await reports.in_context(session, [await change(session)])
            return answer_type(claim=claim_to_proto(claim))

        return await once(self._database, caller, request, answer_type, work)
