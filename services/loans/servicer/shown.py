"""Loans over gRPC: what was shown for what was done, from the wire and back."""

from collections.abc import Sequence

from liandong.loans.v1 import tasks_pb2

from services.loans.rules.tasks import Evidence


def evidence_from(messages: Sequence[tasks_pb2.Evidence]) -> tuple[Evidence, ...]:
    """Photos and documents from the wire."""
    return tuple(
        Evidence(
            tasks_pb2.EvidenceKind.Name(each.kind).removeprefix("EVIDENCE_KIND_").lower(),
            each.reference,
            each.sha256,
        )
        for each in messages
    )


def evidence_to_proto(evidence: Sequence[Evidence]) -> list[tasks_pb2.Evidence]:
    """The same for the wire."""
    return [
        tasks_pb2.Evidence(
            kind=tasks_pb2.EvidenceKind.Value(f"EVIDENCE_KIND_{each.kind.upper()}"),
            reference=each.reference,
            sha256=each.sha256,
        )
        for each in evidence
    ]
