"""Claims over gRPC: translate, call one operation, translate back. No decisions."""

from collections.abc import Callable, Sequence
from typing import TypeVar
from uuid import UUID

from liandong.claims.v1 import claims_pb2, claims_pb2_grpc
from liandong.common.v1 import common_pb2
from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims import operations, reports
from services.claims.model import (
    Claim,
    ClaimState,
    Confirmation,
    Decision,
    Instruction,
    InstructionState,
    PayeeKind,
    Payout,
    PayoutState,
    Report,
)
from services.claims.operations import PolicyApplication
from services.kernel import wire
from services.kernel.caller import Caller, require_role
from services.kernel.database import Database
from services.kernel.errors import Denied, LiandongError
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.money import Fen
from services.kernel.rpc import Context, caller_of
from services.programmes.loader import Catalogue

ISSUERS = ("insurer", "county_centre")
REPORTERS = ("village_department", "township_station", "insurer", "county_centre")
ADJUDICATORS = ("insurer",)
PAYEES_AND_PAYERS = ("bank", "mutual_aid_society", "insurer")
READERS = (
    *REPORTERS,
    "bank",
    "mutual_aid_society",
    "poverty_office",
    "finance_bureau",
    "regulator",
    "auditor",
    "operator",
)

T = TypeVar("T")


def _admit(context: Context, roles: Sequence[str], county_code: str) -> Caller:
    """The caller, if its role may call this for the county."""
    caller = caller_of(context)
    require_role(caller, roles)
    if caller.county_code not in ("000000", county_code):
        raise Denied(
            "AREA_NOT_YOURS",
            f"{caller.institution_id} may not act in {county_code}",
            message_zh="超出本机构辖区",
        )
    return caller


def _only(outcomes: Sequence[T | LiandongError]) -> T:
    """The outcome of a list of one: a value, or the refusal raised."""
    (outcome,) = outcomes
    if isinstance(outcome, LiandongError):
        raise outcome
    return outcome


def _verdicts(
    outcomes: Sequence[T | LiandongError], id_of: Callable[[T], UUID]
) -> list[common_pb2.Verdict]:
    return [
        wire.refused(index, outcome)
        if isinstance(outcome, LiandongError)
        else wire.accepted(index, id_of(outcome))
        for index, outcome in enumerate(outcomes)
    ]


def _after(page_token: str) -> UUID | None:
    start = wire.page_start(page_token)
    return parse_id("page_token", start) if start else None


class ClaimsServicer(claims_pb2_grpc.ClaimsServiceServicer):
    """The methods of the proto."""

    def __init__(self, db: Database, catalogue: Catalogue) -> None:
        self._database = db
        self._catalogue = catalogue

    async def IssueMasterPolicy(
        self, request: claims_pb2.IssueMasterPolicyRequest, context: Context
    ) -> claims_pb2.IssueMasterPolicyResponse:
        """Issue a policy of the county for one cover."""
        caller = _admit(context, ISSUERS, request.county_code)
        application = PolicyApplication(
            county_code=request.county_code,
            insurer_id=request.insurer_id,
            programme_id=request.programme_id,
            cover_id=request.cover_id,
            from_date=wire.date_from_proto("from_date", request.from_date),
            until_date=wire.date_from_proto("until_date", request.until_date),
        )

        async def work(session: AsyncSession) -> claims_pb2.IssueMasterPolicyResponse:
            policy = await operations.issue_master_policy(
                session, self._catalogue, caller, application
            )
            return claims_pb2.IssueMasterPolicyResponse(policy_id=str(policy.policy_id))

        return await once(
            self._database, caller, request, claims_pb2.IssueMasterPolicyResponse, work
        )

    async def ReportClaim(
        self, request: claims_pb2.ReportClaimRequest, context: Context
    ) -> claims_pb2.ReportClaimResponse:
        """Take in one claim."""
        caller = _admit(context, REPORTERS, request.county_code)
        report = report_from_proto(request)

        async def work(session: AsyncSession) -> claims_pb2.ReportClaimResponse:
            outcomes = await operations.report_claims(
                session, self._catalogue, caller, request.county_code, [report]
            )
            return claims_pb2.ReportClaimResponse(claim=claim_to_proto(_only(outcomes)))

        return await once(self._database, caller, request, claims_pb2.ReportClaimResponse, work)

    async def BatchReportClaims(
        self, request: claims_pb2.BatchReportClaimsRequest, context: Context
    ) -> claims_pb2.BatchReportClaimsResponse:
        """Take in many claims."""
        caller = _admit(context, REPORTERS, request.county_code)
        items = [
            report_from_proto(item, f"items[{place}].") for place, item in enumerate(request.items)
        ]

        async def work(session: AsyncSession) -> claims_pb2.BatchReportClaimsResponse:
            outcomes = await operations.report_claims(
                session, self._catalogue, caller, request.county_code, items
            )
            return claims_pb2.BatchReportClaimsResponse(
                verdicts=_verdicts(outcomes, lambda claim: claim.claim_id)
            )

        return await once(
            self._database, caller, request, claims_pb2.BatchReportClaimsResponse, work
        )

    async def AdjudicateClaim(
        self, request: claims_pb2.AdjudicateClaimRequest, context: Context
    ) -> claims_pb2.AdjudicateClaimResponse:
        """Decide one claim."""
        caller = _admit(context, ADJUDICATORS, request.county_code)
        decision = decision_from_proto(request)

        async def work(session: AsyncSession) -> claims_pb2.AdjudicateClaimResponse:
            outcomes = await operations.adjudicate_claims(
                session, self._catalogue, caller, request.county_code, [decision]
            )
            return claims_pb2.AdjudicateClaimResponse(claim=claim_to_proto(_only(outcomes)))

        return await once(self._database, caller, request, claims_pb2.AdjudicateClaimResponse, work)

    async def BatchAdjudicateClaims(
        self, request: claims_pb2.BatchAdjudicateClaimsRequest, context: Context
    ) -> claims_pb2.BatchAdjudicateClaimsResponse:
        """Decide many claims."""
        caller = _admit(context, ADJUDICATORS, request.county_code)
        decisions = [decision_from_proto(item) for item in request.items]

        async def work(session: AsyncSession) -> claims_pb2.BatchAdjudicateClaimsResponse:
            outcomes = await operations.adjudicate_claims(
                session, self._catalogue, caller, request.county_code, decisions
            )
            return claims_pb2.BatchAdjudicateClaimsResponse(
                verdicts=_verdicts(outcomes, lambda claim: claim.claim_id)
            )

        return await once(
            self._database, caller, request, claims_pb2.BatchAdjudicateClaimsResponse, work
        )

    async def GetClaim(
        self, request: claims_pb2.GetClaimRequest, context: Context
    ) -> claims_pb2.GetClaimResponse:
        """One claim."""
        caller = _admit(context, READERS, request.county_code)
        claim_id = parse_id("claim_id", request.claim_id)
        async with self._database.transaction(institution_id=caller.institution_id) as session:
            claim = await reports.get_claim(session, caller, request.county_code, claim_id)
        return claims_pb2.GetClaimResponse(claim=claim_to_proto(claim))

    async def ListClaims(
        self, request: claims_pb2.ListClaimsRequest, context: Context
    ) -> claims_pb2.ListClaimsResponse:
        """A page of claims."""
        caller = _admit(context, READERS, request.county_code)
        size = wire.page_size(request.page_size)
        after = _after(request.page_token)
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

    async def GetPayout(
        self, request: claims_pb2.GetPayoutRequest, context: Context
    ) -> claims_pb2.GetPayoutResponse:
        """One payout."""
        caller = _admit(context, READERS, request.county_code)
        payout_id = parse_id("payout_id", request.payout_id)
        async with self._database.transaction(institution_id=caller.institution_id) as session:
            payout = await reports.get_payout(session, caller, request.county_code, payout_id)
        return claims_pb2.GetPayoutResponse(payout=payout_to_proto(payout))

    async def ListPaymentInstructions(
        self, request: claims_pb2.ListPaymentInstructionsRequest, context: Context
    ) -> claims_pb2.ListPaymentInstructionsResponse:
        """A page of the calling institution's instructions."""
        caller = _admit(context, PAYEES_AND_PAYERS, request.county_code)
        size = wire.page_size(request.page_size)
        after = _after(request.page_token)
        async with self._database.transaction(institution_id=caller.institution_id) as session:
            found = await reports.list_instructions(
                session,
                caller,
                request.county_code,
                state=_INSTRUCTION_STATES_ASKED[request.state],
                after=after,
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.instruction_id)
        return claims_pb2.ListPaymentInstructionsResponse(
            instructions=[instruction_to_proto(instruction) for instruction in page],
            next_page_token=token,
        )

    async def ConfirmPayment(
        self, request: claims_pb2.ConfirmPaymentRequest, context: Context
    ) -> claims_pb2.ConfirmPaymentResponse:
        """Take one confirmation."""
        caller = _admit(context, PAYEES_AND_PAYERS, request.county_code)
        confirmation = confirmation_from_proto(request)

        async def work(session: AsyncSession) -> claims_pb2.ConfirmPaymentResponse:
            outcomes = await operations.confirm_payments(
                session, caller, request.county_code, [confirmation]
            )
            payout = reports.seen_by(caller, _only(outcomes))
            return claims_pb2.ConfirmPaymentResponse(payout=payout_to_proto(payout))

        return await once(self._database, caller, request, claims_pb2.ConfirmPaymentResponse, work)

    async def BatchConfirmPayments(
        self, request: claims_pb2.BatchConfirmPaymentsRequest, context: Context
    ) -> claims_pb2.BatchConfirmPaymentsResponse:
        """Take many confirmations."""
        caller = _admit(context, PAYEES_AND_PAYERS, request.county_code)
        confirmations = [
            confirmation_from_proto(item, f"items[{place}].")
            for place, item in enumerate(request.items)
        ]

        async def work(session: AsyncSession) -> claims_pb2.BatchConfirmPaymentsResponse:
            outcomes = await operations.confirm_payments(
                session, caller, request.county_code, confirmations
            )
            return claims_pb2.BatchConfirmPaymentsResponse(
                verdicts=_verdicts(outcomes, lambda payout: payout.payout_id)
            )

        return await once(
            self._database, caller, request, claims_pb2.BatchConfirmPaymentsResponse, work
        )


# --- translation ----------------------------------------------------------------------------------


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


def confirmation_from_proto(
    item: claims_pb2.ConfirmPaymentRequest | claims_pb2.PaymentConfirmation, path: str = ""
) -> Confirmation:
    """A confirmation of a payment."""
    return Confirmation(
        instruction_id=parse_id(f"{path}instruction_id", item.instruction_id),
        confirmed_fen=Fen(item.confirmed_fen),
        value_date=wire.date_from_proto(f"{path}value_date", item.value_date),
    )


_CLAIM_STATES = {
    ClaimState.REPORTED: claims_pb2.CLAIM_STATE_REPORTED,
    ClaimState.APPROVED: claims_pb2.CLAIM_STATE_APPROVED,
    ClaimState.REFUSED: claims_pb2.CLAIM_STATE_REFUSED,
}
_PAYOUT_STATES = {
    PayoutState.AUTHORISED: claims_pb2.PAYOUT_STATE_AUTHORISED,
    PayoutState.INSTRUCTED: claims_pb2.PAYOUT_STATE_INSTRUCTED,
    PayoutState.HOUSEHOLD_INSTRUCTED: claims_pb2.PAYOUT_STATE_HOUSEHOLD_INSTRUCTED,
    PayoutState.SETTLED: claims_pb2.PAYOUT_STATE_SETTLED,
}
_INSTRUCTION_STATES = {
    InstructionState.OPEN: claims_pb2.INSTRUCTION_STATE_OPEN,
    InstructionState.CONFIRMED: claims_pb2.INSTRUCTION_STATE_CONFIRMED,
}
_PAYEE_KINDS = {
    PayeeKind.LENDER: claims_pb2.PAYEE_KIND_LENDER,
    PayeeKind.HOUSEHOLD: claims_pb2.PAYEE_KIND_HOUSEHOLD,
}
_CLAIM_STATES_ASKED = {
    claims_pb2.CLAIM_STATE_UNSPECIFIED: "",
    **{there: here.value for here, there in _CLAIM_STATES.items()},
}
_INSTRUCTION_STATES_ASKED = {
    claims_pb2.INSTRUCTION_STATE_UNSPECIFIED: "",
    **{there: here.value for here, there in _INSTRUCTION_STATES.items()},
}


def claim_to_proto(claim: Claim) -> claims_pb2.Claim:
    """A claim for the wire."""
    return claims_pb2.Claim(
        claim_id=str(claim.claim_id),
        county_code=claim.county_code,
        household_id=str(claim.household_id),
        area_code=claim.area_code,
        cover_id=claim.cover_id,
        policy_id=str(claim.policy_id),
        loan_id=str(claim.loan_id),
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


def instruction_to_proto(instruction: Instruction) -> claims_pb2.PaymentInstruction:
    """An instruction for the wire."""
    return claims_pb2.PaymentInstruction(
        instruction_id=str(instruction.instruction_id),
        payout_id=str(instruction.payout_id),
        payee_kind=_PAYEE_KINDS[instruction.payee_kind],
        payee_id=instruction.payee_id,
        insurer_id=instruction.insurer_id,
        loan_id=str(instruction.loan_id) if instruction.loan_id else "",
        amount_fen=instruction.amount_fen,
        state=_INSTRUCTION_STATES[instruction.state],
    )


def payout_to_proto(payout: Payout) -> claims_pb2.Payout:
    """A payout for the wire."""
    return claims_pb2.Payout(
        payout_id=str(payout.payout_id),
        claim_id=str(payout.claim_id),
        household_id=str(payout.household_id),
        amount_fen=payout.amount_fen,
        lenders_fen=payout.lenders_fen,
        household_fen=payout.household_fen,
        state=_PAYOUT_STATES[payout.state],
        value_date=wire.date_to_proto(payout.value_date),
        instructions=[instruction_to_proto(each) for each in payout.instructions],
    )
