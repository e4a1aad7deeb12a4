"""Funds over gRPC: compensation cases."""

from collections.abc import Sequence
from datetime import date

from liandong.funds.v1 import funds_pb2, funds_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds import reports
from services.funds.model import CaseFile, CaseState, Collecting, Decision, Filing, Part
from services.funds.operations import cases
from services.funds.operations.cases import Outcome
from services.funds.servicer.shared import start_id
from services.kernel import business_day, wire
from services.kernel.database import Database
from services.kernel.errors import LiandongError
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.money import Fen
from services.kernel.rpc import Context, caller_of
from services.programmes.loader import Catalogue

_STATES = {
    CaseState.FILED: funds_pb2.CASE_STATE_FILED,
    CaseState.PAID: funds_pb2.CASE_STATE_PAID,
    CaseState.DENIED: funds_pb2.CASE_STATE_DENIED,
    CaseState.VERIFIED: funds_pb2.CASE_STATE_VERIFIED,
    CaseState.PUBLISHED: funds_pb2.CASE_STATE_PUBLISHED,
    CaseState.APPROVED: funds_pb2.CASE_STATE_APPROVED,
    CaseState.RETURNED: funds_pb2.CASE_STATE_RETURNED,
    CaseState.CLOSED: funds_pb2.CASE_STATE_CLOSED,
}
_ASKED = {wire_state: state for state, wire_state in _STATES.items()}


def part_out(part: Part) -> funds_pb2.CasePart:
    """A share on the wire."""
    return funds_pb2.CasePart(
        layer=part.layer,
        party=part.party,
        institution_id=part.institution_id,
        amount_fen=part.amount_fen,
        paid_fen=part.paid_fen,
        position=part.position,
        fund_id=str(part.fund_id or ""),
        recovered_fen=part.recovered_fen,
        own_loss=part.own_loss,
    )


def case_out(found: CaseFile, today: date | None = None) -> funds_pb2.CompensationCase:
    """A case on the wire."""
    case = found.case
    return funds_pb2.CompensationCase(
        case_id=str(case.case_id),
        county_code=case.county_code,
        loan_id=str(case.loan_id),
        lender_id=case.lender_id,
        state=_STATES[case.state],
        loss_fen=case.loss_fen,
        cause=case.cause,
        parts=[part_out(part) for part in found.parts],
        reason=case.reason,
        programme=case.programme,
        working=case.working,
        filed_on=wire.date_to_proto(case.filed_on),
        due_on=wire.date_to_proto(case.due_on),
        late=today is not None and case.due_on is not None and today > case.due_on,
        code=case.code,
        collection_steps=[
            funds_pb2.CollectionStep(
                kind=each.kind, on=wire.date_to_proto(each.on), evidence=each.evidence
            )
            for each in case.collection_steps
        ],
        notice_until=wire.date_to_proto(case.notice_until),
        written_off_fen=case.written_off_fen,
        otherwise_borne_by=case.otherwise_borne_by,
    )


def collecting_in(steps: Sequence[funds_pb2.CollectionStep]) -> tuple[Collecting, ...]:
    """What a lender did to collect, from the wire."""
    return tuple(
        Collecting(each.kind, wire.date_from_proto("on", each.on), each.evidence) for each in steps
    )


def _filing(item: funds_pb2.FileCompensationCaseRequest | funds_pb2.CompensationFiling) -> Filing:
    return Filing(
        loan_id=parse_id("loan_id", item.loan_id),
        cause=item.cause,
        evidence=tuple(item.evidence),
        claimed_fen=Fen(item.claimed_fen),
        collection_steps=collecting_in(item.collection_steps),
        shows=tuple(item.shows),
    )


def _decision(item: funds_pb2.DecideCompensationCaseRequest | funds_pb2.CaseDecision) -> Decision:
    return Decision(parse_id("case_id", item.case_id), item.approve, item.reason)


def _only(outcomes: Sequence[Outcome]) -> CaseFile:
    """The outcome of a single command: a refusal is the call's own error."""
    (outcome,) = outcomes
    if isinstance(outcome, LiandongError):
        raise outcome
    return outcome


class CasesDoor(funds_pb2_grpc.FundsServiceServicer):
    """Cases filed, decided and read."""

    _database: Database
    _catalogue: Catalogue

    async def FileCompensationCase(
        self, request: funds_pb2.FileCompensationCaseRequest, context: Context
    ) -> funds_pb2.FileCompensationCaseResponse:
        """File a case."""
        caller = caller_of(context)

        async def work(session: AsyncSession) -> funds_pb2.FileCompensationCaseResponse:
            outcomes = await cases.file_cases(
                session, self._catalogue, caller, request.county_code, [_filing(request)]
            )
            made = case_out(_only(outcomes))
            return funds_pb2.FileCompensationCaseResponse(compensation_case=made)

        return await once(
            self._database, caller, request, funds_pb2.FileCompensationCaseResponse, work
        )

    async def BatchFileCompensationCases(
        self, request: funds_pb2.BatchFileCompensationCasesRequest, context: Context
    ) -> funds_pb2.BatchFileCompensationCasesResponse:
        """File many cases."""
        caller = caller_of(context)

        async def work(session: AsyncSession) -> funds_pb2.BatchFileCompensationCasesResponse:
            filings = [_filing(item) for item in request.items]
            outcomes = await cases.file_cases(
                session, self._catalogue, caller, request.county_code, filings
            )
            return funds_pb2.BatchFileCompensationCasesResponse(
                verdicts=wire.verdicts(outcomes, lambda each: each.case.case_id)
            )

        return await once(
            self._database, caller, request, funds_pb2.BatchFileCompensationCasesResponse, work
        )

    async def DecideCompensationCase(
        self, request: funds_pb2.DecideCompensationCaseRequest, context: Context
    ) -> funds_pb2.DecideCompensationCaseResponse:
        """Decide a case."""
        caller = caller_of(context)

        async def work(session: AsyncSession) -> funds_pb2.DecideCompensationCaseResponse:
            outcomes = await cases.decide_cases(
                session, self._catalogue, caller, request.county_code, [_decision(request)]
            )
            decided = case_out(_only(outcomes))
            return funds_pb2.DecideCompensationCaseResponse(compensation_case=decided)

        return await once(
            self._database, caller, request, funds_pb2.DecideCompensationCaseResponse, work
        )

    async def BatchDecideCompensationCases(
        self, request: funds_pb2.BatchDecideCompensationCasesRequest, context: Context
    ) -> funds_pb2.BatchDecideCompensationCasesResponse:
        """Decide many cases."""
        caller = caller_of(context)

        async def work(session: AsyncSession) -> funds_pb2.BatchDecideCompensationCasesResponse:
            decisions = [_decision(item) for item in request.items]
            outcomes = await cases.decide_cases(
                session, self._catalogue, caller, request.county_code, decisions
            )
            return funds_pb2.BatchDecideCompensationCasesResponse(
                verdicts=wire.verdicts(outcomes, lambda each: each.case.case_id)
            )

        return await once(
            self._database, caller, request, funds_pb2.BatchDecideCompensationCasesResponse, work
        )

    async def GetCompensationCase(
        self, request: funds_pb2.GetCompensationCaseRequest, context: Context
    ) -> funds_pb2.GetCompensationCaseResponse:
        """One case."""
        caller = caller_of(context)
        case_id = parse_id("case_id", request.case_id)
        async with self._database.transaction(caller) as session:
            found = await reports.get_case(session, caller, request.county_code, case_id)
            today = await business_day.today(session, request.county_code)
        return funds_pb2.GetCompensationCaseResponse(compensation_case=case_out(found, today))

    async def ListCompensationCases(
        self, request: funds_pb2.ListCompensationCasesRequest, context: Context
    ) -> funds_pb2.ListCompensationCasesResponse:
        """Cases of a county."""
        caller = caller_of(context)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            found = await reports.list_cases(
                session,
                caller,
                request.county_code,
                state=_ASKED.get(request.state),
                after=start_id(request.page_token),
                limit=size + 1,
            )
            today = await business_day.today(session, request.county_code)
        page, token = wire.page_of(found, size, lambda each: each.case.case_id)
        return funds_pb2.ListCompensationCasesResponse(
            cases=[case_out(each, today) for each in page],
            next_page_token=token,
        )
