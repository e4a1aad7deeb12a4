"""Facts and disputes over gRPC."""

from datetime import date
from typing import Any

from liandong.households.v1 import facts_pb2, facts_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.households.model import (
    Content,
    Dispute,
    DisputeOutcome,
    DisputeSide,
    DisputeSubject,
    Fact,
    FactKind,
    NewFact,
)
from services.households.operations import facts as operations
from services.households.operations.shared import HOUSEHOLD, Keys
from services.households.servicer import shared
from services.kernel import wire
from services.kernel.database import Database
from services.kernel.errors import LiandongError
from services.kernel.ids import parse_id
from services.kernel.rpc import Context

_SOURCES = (*shared.PARTY_ROLES, *shared.DEPARTMENT_ROLES)


class FactsServicer(facts_pb2_grpc.FactsServiceServicer):
    """Dated facts, each from somebody, on some evidence."""

    def __init__(self, db: Database, keys: Keys) -> None:
        self._database = db
        self._keys = keys

    async def BatchRecordFacts(
        self, request: facts_pb2.BatchRecordFactsRequest, context: Context
    ) -> facts_pb2.BatchRecordFactsResponse:
        """Record facts in the caller's own name."""
        caller = shared.allowed(context, request.county_code, _SOURCES)
        facts = [_new_fact(message) for message in request.facts]

        async def work(session: AsyncSession) -> facts_pb2.BatchRecordFactsResponse:
            verdicts = await operations.record_facts(
                session, caller, request.county_code, facts, self._keys
            )
            return facts_pb2.BatchRecordFactsResponse(
                verdicts=[
                    wire.refused(index, each)
                    if isinstance(each, LiandongError)
                    else wire.accepted(index, each)
                    for index, each in enumerate(verdicts)
                ]
            )

        answer = facts_pb2.BatchRecordFactsResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def CorrectFact(
        self, request: facts_pb2.CorrectFactRequest, context: Context
    ) -> facts_pb2.CorrectFactResponse:
        """Replace a fact, or end it."""
        caller = shared.allowed(context, request.county_code, _SOURCES)

        async def work(session: AsyncSession) -> facts_pb2.CorrectFactResponse:
            fact_id = await operations.correct_fact(
                session,
                caller,
                request.county_code,
                parse_id("fact_id", request.fact_id),
                self._keys,
                content=_content(request.content) if request.HasField("content") else None,
                valid_from=shared.day_or_none(request, "valid_from"),
                valid_to=shared.day_or_none(request, "valid_to"),
                evidence=shared.evidence_of(request.evidence),
            )
            return facts_pb2.CorrectFactResponse(fact_id=str(fact_id))

        answer = facts_pb2.CorrectFactResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def ListFacts(
        self, request: facts_pb2.ListFactsRequest, context: Context
    ) -> facts_pb2.ListFactsResponse:
        """The facts about a household."""
        caller = shared.allowed(context, request.county_code)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            found = await operations.list_facts(
                session,
                caller,
                request.county_code,
                parse_id("household_id", request.household_id),
                self._keys,
                known_by=shared.known_by(request.as_of, request.HasField("as_of")),
                replaced=request.replaced,
                after=shared.start_id(request.page_token),
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.fact_id)
        return facts_pb2.ListFactsResponse(
            facts=[_fact_to_proto(fact) for fact in page],
            next_page_token=token,
        )

    async def OpenDispute(
        self, request: facts_pb2.OpenDisputeRequest, context: Context
    ) -> facts_pb2.OpenDisputeResponse:
        """Contest something."""
        caller = shared.allowed(context, request.county_code, (*_SOURCES, HOUSEHOLD))
        subject = shared.enum_name(facts_pb2.DisputeSubject, "DISPUTE_SUBJECT", request.subject)
        side = shared.enum_name(facts_pb2.DisputeSide, "DISPUTE_SIDE", request.side)

        async def work(session: AsyncSession) -> facts_pb2.OpenDisputeResponse:
            made = await operations.open_dispute(
                session,
                caller,
                request.county_code,
                parse_id("household_id", request.household_id),
                self._keys,
                subject=DisputeSubject(subject),
                subject_id=parse_id("subject_id", request.subject_id),
                side=DisputeSide(side),
                statement=request.statement,
                evidence=shared.evidence_of(request.evidence),
            )
            return facts_pb2.OpenDisputeResponse(
                dispute_id=str(made.dispute_id), due_on=wire.date_to_proto(made.due_on)
            )

        answer = facts_pb2.OpenDisputeResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def AnswerDispute(
        self, request: facts_pb2.AnswerDisputeRequest, context: Context
    ) -> facts_pb2.AnswerDisputeResponse:
        """Answer a dispute."""
        caller = shared.allowed(context, request.county_code, _SOURCES)
        outcome = shared.enum_name(facts_pb2.DisputeOutcome, "DISPUTE_OUTCOME", request.outcome)

        async def work(session: AsyncSession) -> facts_pb2.AnswerDisputeResponse:
            late = await operations.answer_dispute(
                session,
                caller,
                request.county_code,
                parse_id("dispute_id", request.dispute_id),
                self._keys,
                outcome=DisputeOutcome(outcome),
                statement=request.statement,
                evidence=shared.evidence_of(request.evidence),
            )
            return facts_pb2.AnswerDisputeResponse(late=late)

        answer = facts_pb2.AnswerDisputeResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def ListDisputes(
        self, request: facts_pb2.ListDisputesRequest, context: Context
    ) -> facts_pb2.ListDisputesResponse:
        """Disputes, oldest first."""
        caller = shared.allowed(context, request.county_code)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            found, today = await operations.list_disputes(
                session,
                caller,
                request.county_code,
                self._keys,
                household_id=shared.id_or_none("household_id", request.household_id),
                answered=request.answered,
                after=shared.start_id(request.page_token),
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.dispute_id)
        return facts_pb2.ListDisputesResponse(
            disputes=[_dispute_to_proto(each, today) for each in page],
            next_page_token=token,
        )


def _content(message: facts_pb2.FactContent) -> tuple[FactKind, Content]:
    """What a fact says, field by field: the wire's rules hold names and values."""
    name = message.WhichOneof("content")
    assert name is not None, "the wire's rules want one kind"
    said: Any = getattr(message, name)
    fields = {field.name: getattr(said, field.name) for field in said.DESCRIPTOR.fields}
    return FactKind(name), fields


def _new_fact(message: facts_pb2.NewFact) -> NewFact:
    kind, content = _content(message.content)
    return NewFact(
        household_id=shared.id_or_none("household_id", message.household_id),
        person_id=shared.id_or_none("person_id", message.person_id),
        identity_number=message.identity_number,
        kind=kind,
        content=content,
        valid_from=shared.day("valid_from", message.valid_from),
        valid_to=shared.day_or_none(message, "valid_to"),
        evidence=shared.evidence_of(message.evidence),
    )


def _fact_to_proto(fact: Fact) -> facts_pb2.Fact:
    made = facts_pb2.Fact(
        fact_id=str(fact.fact_id),
        household_id=str(fact.household_id),
        person_id=str(fact.person_id or ""),
        valid_from=wire.date_to_proto(fact.valid_from),
        valid_to=wire.date_to_proto(fact.valid_to),
        provenance=shared.provenance_to_proto(fact.provenance),
        replaces_id=str(fact.replaces_id or ""),
        disputed=fact.disputed,
    )
    said: Any = getattr(made.content, fact.kind)
    said.SetInParent()
    for name, value in fact.content.items():
        setattr(said, name, value)
    return made


def _dispute_to_proto(dispute: Dispute, today: date) -> facts_pb2.Dispute:
    made = facts_pb2.Dispute(
        dispute_id=str(dispute.dispute_id),
        household_id=str(dispute.household_id),
        subject=shared.enum_to_proto(facts_pb2.DisputeSubject, "DISPUTE_SUBJECT", dispute.subject),
        subject_id=str(dispute.subject_id),
        side=shared.enum_to_proto(facts_pb2.DisputeSide, "DISPUTE_SIDE", dispute.side),
        statement=dispute.statement,
        provenance=shared.provenance_to_proto(dispute.provenance),
        due_on=wire.date_to_proto(dispute.due_on),
        answer=dispute.answer,
        answered=shared.optional_provenance(dispute.answered),
        overdue=dispute.outcome is None and today > dispute.due_on,
    )
    if dispute.outcome is not None:
        made.outcome = shared.enum_to_proto(
            facts_pb2.DisputeOutcome, "DISPUTE_OUTCOME", dispute.outcome
        )
    return made
