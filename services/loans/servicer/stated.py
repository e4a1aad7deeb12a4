"""Loans over gRPC: what an application states and what was found, from the wire and back."""

from collections.abc import Sequence

from liandong.loans.v1 import loans_pb2

from services.kernel import wire
from services.kernel.ids import parse_id
from services.kernel.money import Fen
from services.loans.model import Document, Finding, Project, Stated


def stated_from(message: loans_pb2.Particulars, path: str = "particulars.") -> Stated:
    """What an application states besides the amount."""
    project = None
    if message.HasField("project"):
        project = Project(
            project_id=message.project.project_id,
            grade=message.project.grade,
            library_levels=tuple(message.project.library_levels),
            whitelisted=message.project.whitelisted,
        )
    return Stated(
        channel=message.channel,
        identity_proof=message.identity_proof,
        documents=tuple(Document(each.kind, each.evidence) for each in message.documents),
        authorised_by=message.authorised_by,
        authority_evidence=tuple(message.authority_evidence),
        signatories=tuple(message.signatories),
        project=project,
        use_mode=message.use_mode,
        conduct=tuple(message.conduct),
        user_id=parse_id(f"{path}user_id", message.user_id) if message.user_id else None,
        repayer_id=parse_id(f"{path}repayer_id", message.repayer_id)
        if message.repayer_id
        else None,
        production_cycle_months=message.production_cycle_months,
        proposed_rate_ppm=message.proposed_rate_ppm,
        settlement=message.settlement,
        funding=message.funding,
        standing=message.standing,
        birth_date=wire.date_from_proto(f"{path}birth_date", message.birth_date)
        if message.HasField("birth_date")
        else None,
        facts=tuple((each.code, each.holds) for each in message.facts),
        fees=tuple((each.code, Fen(each.amount_fen)) for each in message.fees),
        members=tuple(parse_id(f"{path}member_ids", each) for each in message.member_ids),
        guarantor_id=message.guarantor_id,
    )


def stated_to_proto(stated: Stated) -> loans_pb2.Particulars:
    """The same for the wire."""
    message = loans_pb2.Particulars(
        channel=stated.channel,
        identity_proof=stated.identity_proof,
        documents=[
            loans_pb2.Document(kind=each.kind, evidence=each.evidence) for each in stated.documents
        ],
        authorised_by=stated.authorised_by,
        authority_evidence=stated.authority_evidence,
        signatories=stated.signatories,
        use_mode=stated.use_mode,
        conduct=stated.conduct,
        user_id=str(stated.user_id or ""),
        repayer_id=str(stated.repayer_id or ""),
        production_cycle_months=stated.production_cycle_months,
        proposed_rate_ppm=stated.proposed_rate_ppm,
        settlement=stated.settlement,
        funding=stated.funding,
        standing=stated.standing,
        birth_date=wire.date_to_proto(stated.birth_date),
        facts=[loans_pb2.Fact(code=code, holds=holds) for code, holds in stated.facts],
        fees=[loans_pb2.Fee(code=code, amount_fen=amount) for code, amount in stated.fees],
        member_ids=[str(each) for each in stated.members],
        guarantor_id=stated.guarantor_id,
    )
    if stated.project is not None:
        message.project.CopyFrom(
            loans_pb2.Project(
                project_id=stated.project.project_id,
                grade=stated.project.grade,
                library_levels=stated.project.library_levels,
                whitelisted=stated.project.whitelisted,
            )
        )
    return message


def findings_to_proto(findings: Sequence[Finding]) -> list[loans_pb2.Finding]:
    """Every rule against an application, for the wire."""
    return [loans_pb2.Finding(reason=each.reason, working=each.working) for each in findings]
