"""Claims over gRPC: claims reported, decided and read."""

from liandong.claims.v1 import claims_pb2, claims_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims import reports
from services.claims.model import Claim, ClaimState, Decision, Report
from services.claims.operations import claims
from services.claims.servicer.shared import READERS, REPORTERS, admit, after_of, only, verdicts
from services.kernel import wire
from services.kernel.database import Database
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.money import Fen
from services.kernel.rpc import Context
from services.programmes.loader import Catalogue

ADJUDICATORS = ("insurer",)

_CLAIM_STATES = {
    ClaimState.REPORTED: claims_pb2.CLAIM_STATE_REPORTED,
    ClaimState.APPROVED: claims_pb2.CLAIM_STATE_APPROVED,
    ClaimState.REFUSED: claims_pb2.CLAIM_STATE_REFUSED,
}
_CLAIM_STATES_ASKED = {
    claims_pb2.CLAIM_STATE_UNSPECIFIED: "",
    **{there: here.value for here, there in _CLAIM_STATES.items()},
}


def report_from_proto(
    item: claims_pb2.ReportClaimRequest | claims_pb2.ClaimReport, path: str = ""
) -> Report:
    """A loss as reported."""
    return Report(
        household_id=parse_id(f"{path}household_id", item.household_id),
        cover_id=item.cover_id,
        loss_date=wire.date_from_proto(f"{path}loss_date", item.loss_date),
        cause=item.cause,
        assessed_fen=Fen(item.assessed_fen),
        documents=tuple(item.documents),
    )


def decision_from_proto(
    item: claims_pb2.AdjudicateClaimRequest | claims_pb2.ClaimDecision,
) -> Decision:
    """An insurer's decision."""
    return Decision(
        claim_id=parse_id("claim_id", item.claim_id), approve=item.approve, reason=item.reason
    )


def claim_to_proto(claim: Claim) -> claims_pb2.Claim:
    """A claim for the wire."""
    return claims_pb2.Claim(
        claim_id=str(claim.claim_id),
        county_code=claim.county_code,
        household_id=str(claim.household_id),
        area_code=claim.area_code,
        cover_id=claim.cover_id,
        policy_id=str(claim.policy_id),
        loan_id=str(claim.loan_id) if claim.loan_id else "",
        loss_date=wire.date_to_proto(claim.loss_date),
        cause=claim.cause,
        assessed_fen=claim.assessed_fen,
        payable_fen=claim.payable_fen,
        state=_CLAIM_STATES[claim.state],
        reason=claim.reason,
        payout_id=str(claim.payout_id) if claim.payout_id else "",
        due_on=wire.date_to_proto(claim.due_on),
        programme=claim.programme,
    )


class ClaimsDoor(claims_pb2_grpc.ClaimsServiceServicer):
    """Claims from the report to the decision."""

    _database: Database
    _catalogue: Catalogue

    async def ReportClaim(
        self, request: claims_pb2.ReportClaimRequest, context: Context
    ) -> claims_pb2.ReportClaimResponse:
        """Take in one claim."""
        caller = admit(context, REPORTERS, request.county_code)
        report = report_from_proto(request)

        async def work(session: AsyncSession) -> claims_pb2.ReportClaimResponse:
            outcomes = await claims.report_claims(
                session, self._catalogue, caller, request.county_code, [report]
            )
            return claims_pb2.ReportClaimResponse(claim=claim_to_proto(only(outcomes)))

        return await once(self._database, caller, request, claims_pb2.ReportClaimResponse, work)

    async def BatchReportClaims(
        self, request: claims_pb2.BatchReportClaimsRequest, context: Context
    ) -> claims_pb2.BatchReportClaimsResponse:
        """Take in many claims."""
        caller = admit(context, REPORTERS, request.county_code)
        items = [
            report_from_proto(item, f"items[{place}].") for place, item in enumerate(request.items)
        ]

        async def work(session: AsyncSession) -> claims_pb2.BatchReportClaimsResponse:
            outcomes = await claims.report_claims(
                session, self._catalogue, caller, request.county_code, items
            )
            return claims_pb2.BatchReportClaimsResponse(
                verdicts=verdicts(outcomes, lambda claim: claim.claim_id)
            )

        return await once(
            self._database, caller, request, claims_pb2.BatchReportClaimsResponse, work
        )

    async def AdjudicateClaim(
        self, request: claims_pb2.AdjudicateClaimRequest, context: Context
    ) -> claims_pb2.AdjudicateClaimResponse:
        """Decide one claim."""
        caller = admit(context, ADJUDICATORS, request.county_code)
        decision = decision_from_proto(request)

        async def work(session: AsyncSession) -> claims_pb2.AdjudicateClaimResponse:
            outcomes = await claims.adjudicate_claims(
                session, self._catalogue, caller, request.county_code, [decision]
            )
            return claims_pb2.AdjudicateClaimResponse(claim=claim_to_proto(only(outcomes)))

        return await once(self._database, caller, request, claims_pb2.AdjudicateClaimResponse, work)

    async def BatchAdjudicateClaims(
        self, request: claims_pb2.BatchAdjudicateClaimsRequest, context: Context
    ) -> claims_pb2.BatchAdjudicateClaimsResponse:
        """Decide many claims."""
        caller = admit(context, ADJUDICATORS, request.county_code)
        decisions = [decision_from_proto(item) for item in request.items]

        async def work(session: AsyncSession) -> claims_pb2.BatchAdjudicateClaimsResponse:
            outcomes = await claims.adjudicate_claims(
                session, self._catalogue, caller, request.county_code, decisions
            )
            return claims_pb2.BatchAdjudicateClaimsResponse(
                verdicts=verdicts(outcomes, lambda claim: claim.claim_id)
            )

        return await once(
            self._database, caller, request, claims_pb2.BatchAdjudicateClaimsResponse, work
        )

    async def GetClaim(
        self, request: claims_pb2.GetClaimRequest, context: Context
    ) -> claims_pb2.GetClaimResponse:
        """One claim."""
        caller = admit(context, READERS, request.county_code)
        claim_id = parse_id("claim_id", request.claim_id)
        async with self._database.transaction(institution_id=caller.institution_id) as session:
            claim = await reports.get_claim(session, caller, request.county_code, claim_id)
        return claims_pb2.GetClaimResponse(claim=claim_to_proto(claim))

    async def ListClaims(
        self, request: claims_pb2.ListClaimsRequest, context: Context
    ) -> claims_pb2.ListClaimsResponse:
        """A page of claims."""
        caller = admit(context, READERS, request.county_code)
        size = wire.page_size(request.page_size)
        after = after_of(request.page_token)
        async with self._database.transaction(institution_id=caller.institution_id) as session:
            found = await reports.list_claims(
                session,
                caller,
                request.county_code,
                within=request.within,
                state=_CLAIM_STATES_ASKED[request.state],
                after=after,
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.claim_id)
        return claims_pb2.ListClaimsResponse(
            claims=[claim_to_proto(claim) for claim in page],
            next_page_token=token,
        )
