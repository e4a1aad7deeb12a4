"""Self-service: where a household's word against something goes, and that it is its own."""

from typing import Final

from liandong.claims.v1 import claims_pb2
from liandong.credit.v1 import limits_pb2, reviews_pb2
from liandong.gateway.v1 import self_pb2 as pb
from liandong.households.v1 import evidence_pb2, facts_pb2

from gateway.documents.servicer import Asked
from gateway.self_file import claims_of
from services.kernel.errors import NotFound

_OF_THE_REGISTRY: Final = {
    pb.MY_DISPUTE_SUBJECT_FACT: facts_pb2.DISPUTE_SUBJECT_FACT,
    pb.MY_DISPUTE_SUBJECT_STATUS: facts_pb2.DISPUTE_SUBJECT_STATUS,
    pb.MY_DISPUTE_SUBJECT_MEMBERSHIP: facts_pb2.DISPUTE_SUBJECT_MEMBERSHIP,
    pb.MY_DISPUTE_SUBJECT_PAYEE_ACCOUNT: facts_pb2.DISPUTE_SUBJECT_PAYEE_ACCOUNT,
}


async def file_dispute(
    asked: Asked,
    household_id: str,
    request: pb.FileMyDisputeRequest,
    rests_on: evidence_pb2.Evidence,
) -> pb.FileMyDisputeResponse:
    """Hand a dispute to the service that keeps what is contested."""
    evidence = request.evidence if request.HasField("evidence") else rests_on
    if request.subject == pb.MY_DISPUTE_SUBJECT_RATING:
        return await _contest(asked, household_id, request, evidence)
    if request.subject == pb.MY_DISPUTE_SUBJECT_CLAIM:
        return await _dispute_claim(asked, household_id, request)
    # Households itself refuses what is no thing of this household.
    answer = await asked.ask(
        "liandong.households.v1.FactsService/OpenDispute",
        facts_pb2.OpenDisputeRequest(
            request_id=request.request_id,
            county_code=request.county_code,
            household_id=household_id,
            subject=_OF_THE_REGISTRY[request.subject],
            subject_id=request.subject_id,
            side=facts_pb2.DISPUTE_SIDE_HOUSEHOLD,
            statement=request.statement,
            evidence=evidence,
        ),
        facts_pb2.OpenDisputeResponse,
    )
    return pb.FileMyDisputeResponse(dispute_id=answer.dispute_id, due_on=answer.due_on)


async def _contest(
    asked: Asked,
    household_id: str,
    request: pb.FileMyDisputeRequest,
    evidence: evidence_pb2.Evidence,
) -> pb.FileMyDisputeResponse:
    report = await asked.ask(
        "liandong.credit.v1.CreditService/GetCreditReport",
        limits_pb2.GetCreditReportRequest(
            county_code=request.county_code, household_id=household_id
        ),
        limits_pb2.GetCreditReportResponse,
    )
    own = {report.rating.rating_id, *(each.rating_id for each in report.history)}
    if request.subject_id not in own:
        raise NotFound("RATING_NOT_FOUND", f"no rating {request.subject_id}", message_zh="无此评级")
    answer = await asked.ask(
        "liandong.credit.v1.CreditService/ContestRefusal",
        reviews_pb2.ContestRefusalRequest(
            request_id=request.request_id,
            county_code=request.county_code,
            rating_id=request.subject_id,
            grounds=request.statement,
            evidence_sha256=evidence.sha256.hex() if len(evidence.sha256) == 32 else "",
        ),
        reviews_pb2.ContestRefusalResponse,
    )
    return pb.FileMyDisputeResponse(
        dispute_id=answer.contest.contest_id, due_on=answer.contest.due_on
    )


async def _dispute_claim(
    asked: Asked, household_id: str, request: pb.FileMyDisputeRequest
) -> pb.FileMyDisputeResponse:
    claims, _ = await claims_of(asked, request.county_code, household_id)
    if request.subject_id not in {each.claim_id for each in claims}:
        raise NotFound("CLAIM_NOT_FOUND", f"no claim {request.subject_id}", message_zh="没有该案件")
    answer = await asked.ask(
        "liandong.claims.v1.ClaimsService/DisputeClaim",
        claims_pb2.DisputeClaimRequest(
            request_id=request.request_id,
            county_code=request.county_code,
            claim_id=request.subject_id,
            text=request.statement,
        ),
        claims_pb2.DisputeClaimResponse,
    )
    return pb.FileMyDisputeResponse(
        dispute_id=answer.dispute.dispute_id, due_on=answer.dispute.due_on
    )
