"""Claims over gRPC: claims reported, decided and read."""

from collections.abc import Iterable
from uuid import UUID

from liandong.claims.v1 import claims_pb2, claims_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims import reports
from services.claims.model import (
    Check,
    Claim,
    ClaimFilter,
    ClaimLine,
    ClaimState,
    Decision,
    Dispute,
    Document,
    EventRule,
    PastStep,
    Report,
    ReporterKind,
)
from services.claims.operations import claims, claims_decisions
from services.claims.rules.claims import KEPT_REFUSALS
from services.claims.servicer.shared import (
    READERS,
    REPORTERS,
    admit,
    after_of,
    only,
    optional_id,
)
from services.kernel import wire
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.errors import LiandongError
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.money import Fen
from services.kernel.rpc import Context
from services.programmes.loader import Catalogue

ADJUDICATORS = ("insurer",)
EVENT_PAGE = 500

_CLAIM_STATES = {
    ClaimState.REPORTED: claims_pb2.CLAIM_STATE_REPORTED,
    ClaimState.SUSPENDED: claims_pb2.CLAIM_STATE_SUSPENDED,
    ClaimState.PROPOSED: claims_pb2.CLAIM_STATE_PROPOSED,
    ClaimState.APPROVED: claims_pb2.CLAIM_STATE_APPROVED,
    ClaimState.REFUSED: claims_pb2.CLAIM_STATE_REFUSED,
    ClaimState.WITHDRAWN: claims_pb2.CLAIM_STATE_WITHDRAWN,
}
_CLAIM_STATES_ASKED = {
    claims_pb2.CLAIM_STATE_UNSPECIFIED: "",
    **{there: here.value for here, there in _CLAIM_STATES.items()},
}
_REPORTER_KINDS = {
    ReporterKind.HOUSEHOLD: claims_pb2.REPORTER_KIND_HOUSEHOLD,
    ReporterKind.VILLAGE: claims_pb2.REPORTER_KIND_VILLAGE,
    ReporterKind.INSURER: claims_pb2.REPORTER_KIND_INSURER,
}
_REPORTER_KINDS_SAID = {there: here for here, there in _REPORTER_KINDS.items()}


def report_from_proto(
    item: claims_pb2.ReportClaimRequest | claims_pb2.ClaimReport, caller: Caller, path: str = ""
) -> Report:
    """A loss as reported."""
    return Report(
        household_id=parse_id(f"{path}household_id", item.household_id),
        cover_id=item.cover_id,
        loss_date=wire.date_from_proto(f"{path}loss_date", item.loss_date),
        cause=item.cause,
        assessed_fen=Fen(item.assessed_fen),
        documents=tuple(item.documents),
        claimed_fen=Fen(item.claimed_fen),
        event_code=item.event_code,
        person_id=parse_id(f"{path}person_id", item.person_id) if item.person_id else None,
        reporter_kind=claims.kind_of(caller, _REPORTER_KINDS_SAID.get(item.reporter_kind)),
        typed_documents=documents_from_proto(item.typed_documents),
    )


def documents_from_proto(items: Iterable[claims_pb2.ClaimDocument]) -> tuple[Document, ...]:
    """Documents by reference and hash."""
    return tuple(Document(each.document_type, each.reference, each.hash) for each in items)


def lines_from_proto(items: Iterable[claims_pb2.ClaimLine]) -> tuple[ClaimLine, ...]:
    """Lines of a survey or a decision."""
    return tuple(
        ClaimLine(
            each.item,
            Fen(each.claimed_fen),
            Fen(each.assessed_fen),
            Fen(each.payable_fen),
            each.reason_code,
        )
        for each in items
    )


def decision_from_proto(
    item: claims_pb2.AdjudicateClaimRequest | claims_pb2.ClaimDecision,
) -> Decision:
    """An insurer's decision."""
    return Decision(
        claim_id=parse_id("claim_id", item.claim_id),
        approve=item.approve,
        reason=item.reason,
        reason_code=item.reason_code,
        lines=lines_from_proto(item.lines),
    )


def claim_to_proto(claim: Claim) -> claims_pb2.Claim:
    """A claim for the wire."""
    return claims_pb2.Claim(
        claim_id=str(claim.claim_id),
        county_code=claim.county_code,
        household_id=str(claim.household_id),
        area_code=claim.area_code,
        cover_id=claim.cover_id,
        policy_id=_text(claim.policy_id),
        loan_id=_text(claim.loan_id),
        loss_date=wire.date_to_proto(claim.loss_date),
        cause=claim.cause,
        assessed_fen=claim.assessed_fen,
        payable_fen=claim.payable_fen,
        state=_CLAIM_STATES[claim.state],
        reason=claim.reason,
        payout_id=_text(claim.payout_id),
        due_on=wire.date_to_proto(claim.due_on),
        programme=claim.programme,
        claimed_fen=claim.claimed_fen,
        paid_fen=claim.paid_fen,
        reason_code=claim.reason_code,
        event_code=claim.event_code,
        person_id=_text(claim.person_id),
        reporter_kind=_REPORTER_KINDS[claim.reporter_kind],
        accepted_on=wire.date_to_proto(claim.accepted_on),
        overdue_since=wire.date_to_proto(claim.overdue_since),
        overlapping_claim_ids=[str(each) for each in claim.overlaps],
        supplement=claim.supplement,
        insurer_id=claim.insurer_id,
    )


def _text(some_id: UUID | None) -> str:
    return str(some_id) if some_id else ""


def step_to_proto(step: PastStep) -> claims_pb2.ClaimStep:
    """A step for the wire."""
    return claims_pb2.ClaimStep(
        step=step.step,
        kind=step.kind.value,
        state=_CLAIM_STATES[step.state],
        institution_id=step.actor.institution_id,
        person_id=step.actor.person_id,
        happened_on=wire.date_to_proto(step.on),
        reason_code=step.reason_code,
        note=step.note,
        claimed_fen=step.claimed_fen,
        assessed_fen=step.assessed_fen,
        payable_fen=step.payable_fen,
        working=step.working,
        lines=[
            claims_pb2.ClaimLine(
                item=line.item,
                claimed_fen=line.claimed_fen,
                assessed_fen=line.assessed_fen,
                payable_fen=line.payable_fen,
                reason_code=line.reason_code,
            )
            for line in step.lines
        ],
    )


def dispute_to_proto(dispute: Dispute) -> claims_pb2.ClaimDispute:
    """A dispute for the wire."""
    return claims_pb2.ClaimDispute(
        dispute_id=str(dispute.dispute_id),
        text=dispute.said,
        opened_on=wire.date_to_proto(dispute.opened_on),
        due_on=wire.date_to_proto(dispute.due_on),
        answer=dispute.answer,
        upheld=dispute.upheld,
        answered_on=wire.date_to_proto(dispute.answered_on),
        supplement_claim_id=_text(dispute.supplement_claim_id),
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
        report = report_from_proto(request, caller)

        async def work(session: AsyncSession) -> claims_pb2.ReportClaimResponse:
            outcomes = await claims.report_claims(
                session, self._catalogue, caller, request.county_code, [report]
            )
            (claim,) = await reports.in_context(session, [only(outcomes)])
            return claims_pb2.ReportClaimResponse(claim=claim_to_proto(claim))

        return await once(self._database, caller, request, claims_pb2.ReportClaimResponse, work)

    async def BatchReportClaims(
        self, request: claims_pb2.BatchReportClaimsRequest, context: Context
    ) -> claims_pb2.BatchReportClaimsResponse:
        """Take in many claims."""
        caller = admit(context, REPORTERS, request.county_code)
        items = [
            report_from_proto(item, caller, f"items[{place}].")
            for place, item in enumerate(request.items)
        ]

        async def work(session: AsyncSession) -> claims_pb2.BatchReportClaimsResponse:
            outcomes = await claims.report_claims(
                session, self._catalogue, caller, request.county_code, items
            )
            said = [claims.verdict_of(outcome) for outcome in outcomes]
            return claims_pb2.BatchReportClaimsResponse(
                verdicts=wire.verdicts(said, lambda claim: claim.claim_id)
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
            outcomes = await claims_decisions.adjudicate_claims(
                session, self._catalogue, caller, request.county_code, [decision]
            )
            (outcome,) = outcomes
            if isinstance(outcome, LiandongError) and outcome.reason in KEPT_REFUSALS:
                history = await reports.get_claim(
                    session, caller, request.county_code, decision.claim_id
                )
                return claims_pb2.AdjudicateClaimResponse(
                    claim=claim_to_proto(history.claim),
                    refusal_reason=outcome.reason,
                    refusal=outcome.message,
                )
            (claim,) = await reports.in_context(session, [only(outcomes)])
            return claims_pb2.AdjudicateClaimResponse(claim=claim_to_proto(claim))

        return await once(self._database, caller, request, claims_pb2.AdjudicateClaimResponse, work)

    async def BatchAdjudicateClaims(
        self, request: claims_pb2.BatchAdjudicateClaimsRequest, context: Context
    ) -> claims_pb2.BatchAdjudicateClaimsResponse:
        """Decide many claims."""
        caller = admit(context, ADJUDICATORS, request.county_code)
        decisions = [decision_from_proto(item) for item in request.items]

        async def work(session: AsyncSession) -> claims_pb2.BatchAdjudicateClaimsResponse:
            outcomes = await claims_decisions.adjudicate_claims(
                session, self._catalogue, caller, request.county_code, decisions
            )
            return claims_pb2.BatchAdjudicateClaimsResponse(
                verdicts=wire.verdicts(outcomes, lambda claim: claim.claim_id)
            )

        return await once(
            self._database, caller, request, claims_pb2.BatchAdjudicateClaimsResponse, work
        )

    async def ConfirmAdjudications(
        self, request: claims_pb2.ConfirmAdjudicationsRequest, context: Context
    ) -> claims_pb2.ConfirmAdjudicationsResponse:
        """Confirm what another person proposed, or send it back."""
        caller = admit(context, ADJUDICATORS, request.county_code)
        checks = [
            Check(parse_id(f"items[{place}].claim_id", item.claim_id), item.confirm, item.reason)
            for place, item in enumerate(request.items)
        ]

        async def work(session: AsyncSession) -> claims_pb2.ConfirmAdjudicationsResponse:
            outcomes = await claims_decisions.confirm_adjudications(
                session, self._catalogue, caller, request.county_code, checks
            )
            return claims_pb2.ConfirmAdjudicationsResponse(
                verdicts=wire.verdicts(outcomes, lambda claim: claim.claim_id)
            )

        return await once(
            self._database, caller, request, claims_pb2.ConfirmAdjudicationsResponse, work
        )

    async def DecideEventClaims(
        self, request: claims_pb2.DecideEventClaimsRequest, context: Context
    ) -> claims_pb2.DecideEventClaimsResponse:
        """Decide a page of an event's claims by one rule."""
        caller = admit(context, ADJUDICATORS, request.county_code)
        rule = EventRule(
            share_ppm=request.rule.share_ppm,
            max_fen=Fen(request.rule.max_fen) or None,
            min_assessed_fen=Fen(request.rule.min_assessed_fen),
        )
        after = after_of(request.page_token) or reports.FIRST

        async def work(session: AsyncSession) -> claims_pb2.DecideEventClaimsResponse:
            page, outcomes, more = await claims_decisions.decide_event(
                session,
                self._catalogue,
                caller,
                request.county_code,
                event_code=request.event_code,
                cover_id=request.cover_id,
                rule=rule,
                after=after,
                limit=request.page_size or EVENT_PAGE,
            )
            return _event_to_proto(page, outcomes, more=more)

        return await once(
            self._database, caller, request, claims_pb2.DecideEventClaimsResponse, work
        )

    async def GetClaim(
        self, request: claims_pb2.GetClaimRequest, context: Context
    ) -> claims_pb2.GetClaimResponse:
        """One claim."""
        caller = admit(context, READERS, request.county_code)
        claim_id = parse_id("claim_id", request.claim_id)
        async with self._database.transaction(caller) as session:
            history = await reports.get_claim(session, caller, request.county_code, claim_id)
        return claims_pb2.GetClaimResponse(
            claim=claim_to_proto(history.claim),
            steps=[step_to_proto(step) for step in history.steps],
            documents=[
                claims_pb2.ClaimDocument(
                    document_type=each.document_type, reference=each.reference, hash=each.hash
                )
                for each in history.documents
            ],
            disputes=[dispute_to_proto(each) for each in history.disputes],
        )

    async def ListClaims(
        self, request: claims_pb2.ListClaimsRequest, context: Context
    ) -> claims_pb2.ListClaimsResponse:
        """A page of claims."""
        caller = admit(context, READERS, request.county_code)
        size = wire.page_size(request.page_size)
        after = after_of(request.page_token)
        async with self._database.transaction(caller) as session:
            found = await reports.list_claims(
                session,
                caller,
                request.county_code,
                ClaimFilter(
                    within=request.within,
                    state=_CLAIM_STATES_ASKED[request.state],
                    overdue_only=request.overdue_only,
                    event_code=request.event_code,
                    household_id=optional_id("household_id", request.household_id),
                ),
                after=after,
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.claim_id)
        return claims_pb2.ListClaimsResponse(
            claims=[claim_to_proto(claim) for claim in page],
            next_page_token=token,
        )


def _event_to_proto(
    page: list[Claim], outcomes: list[Claim | LiandongError], *, more: bool
) -> claims_pb2.DecideEventClaimsResponse:
    decided = [claim for claim in outcomes if isinstance(claim, Claim)]
    paid = [claim for claim in decided if claim.payable_fen]
    said = wire.verdicts(outcomes, lambda claim: claim.claim_id)
    for verdict, claim in zip(said, page, strict=True):
        verdict.id = str(claim.claim_id)
    return claims_pb2.DecideEventClaimsResponse(
        verdicts=said,
        approved=len(paid),
        refused=len(decided) - len(paid),
        payable_fen=sum(claim.payable_fen for claim in paid),
        next_page_token=wire.page_token(str(page[-1].claim_id)) if more else "",
    )
