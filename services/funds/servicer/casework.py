"""Funds over gRPC: compensation cases step by step."""

from liandong.funds.v1 import cases_pb2
from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds import reports
from services.funds.model import CaseStep
from services.funds.operations import steps
from services.funds.servicer.cases import case_out, collecting_in
from services.funds.servicer.casework_after import AfterDoor
from services.funds.servicer.casework_cover import CoverDoor
from services.kernel import business_day, wire
from services.kernel.database import Database
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.rpc import Context, caller_of
from services.programmes.loader import Catalogue


def _step(step: CaseStep) -> cases_pb2.CaseStep:
    return cases_pb2.CaseStep(
        number=step.number,
        step=step.step,
        institution_id=step.institution_id,
        person_id=step.person_id,
        code=step.code,
        reason=step.reason,
        evidence=step.evidence,
        on=wire.date_to_proto(step.business_date),
        late=step.late,
    )


class CaseworkServicer(AfterDoor, CoverDoor):
    """A case from its verification to its write-off, and the cover before it."""

    def __init__(self, database: Database, catalogue: Catalogue) -> None:
        self._database = database
        self._catalogue = catalogue

    async def VerifyCase(
        self, request: cases_pb2.VerifyCaseRequest, context: Context
    ) -> cases_pb2.VerifyCaseResponse:
        """Verify a case."""
        caller = caller_of(context)
        case_id = parse_id("case_id", request.case_id)

        async def work(session: AsyncSession) -> cases_pb2.VerifyCaseResponse:
            found = await steps.verify(
                session,
                self._catalogue,
                caller,
                request.county_code,
                case_id,
                cause=request.cause,
                findings=request.findings,
                evidence=request.evidence,
            )
            return cases_pb2.VerifyCaseResponse(compensation_case=case_out(found))

        return await once(self._database, caller, request, cases_pb2.VerifyCaseResponse, work)

    async def PublishCase(
        self, request: cases_pb2.PublishCaseRequest, context: Context
    ) -> cases_pb2.PublishCaseResponse:
        """Publish a case."""
        caller = caller_of(context)
        case_id = parse_id("case_id", request.case_id)

        async def work(session: AsyncSession) -> cases_pb2.PublishCaseResponse:
            found = await steps.publish(
                session,
                self._catalogue,
                caller,
                request.county_code,
                case_id,
                level=request.level,
                place=request.place,
            )
            return cases_pb2.PublishCaseResponse(compensation_case=case_out(found))

        return await once(self._database, caller, request, cases_pb2.PublishCaseResponse, work)

    async def ApproveCase(
        self, request: cases_pb2.ApproveCaseRequest, context: Context
    ) -> cases_pb2.ApproveCaseResponse:
        """Approve a case."""
        caller = caller_of(context)
        case_id = parse_id("case_id", request.case_id)

        async def work(session: AsyncSession) -> cases_pb2.ApproveCaseResponse:
            found = await steps.approve(
                session,
                self._catalogue,
                caller,
                request.county_code,
                case_id,
                reason=request.reason,
            )
            return cases_pb2.ApproveCaseResponse(compensation_case=case_out(found))

        return await once(self._database, caller, request, cases_pb2.ApproveCaseResponse, work)

    async def PayCase(
        self, request: cases_pb2.PayCaseRequest, context: Context
    ) -> cases_pb2.PayCaseResponse:
        """Pay a case."""
        caller = caller_of(context)
        case_id = parse_id("case_id", request.case_id)

        async def work(session: AsyncSession) -> cases_pb2.PayCaseResponse:
            found = await steps.pay_case(
                session,
                self._catalogue,
                caller,
                request.county_code,
                case_id,
            )
            return cases_pb2.PayCaseResponse(compensation_case=case_out(found))

        return await once(self._database, caller, request, cases_pb2.PayCaseResponse, work)

    async def DenyCase(
        self, request: cases_pb2.DenyCaseRequest, context: Context
    ) -> cases_pb2.DenyCaseResponse:
        """Deny a case."""
        caller = caller_of(context)
        case_id = parse_id("case_id", request.case_id)

        async def work(session: AsyncSession) -> cases_pb2.DenyCaseResponse:
            found = await steps.deny_case(
                session,
                caller,
                self._catalogue,
                request.county_code,
                case_id,
                code=request.code,
                reason=request.reason,
            )
            return cases_pb2.DenyCaseResponse(compensation_case=case_out(found))

        return await once(self._database, caller, request, cases_pb2.DenyCaseResponse, work)

    async def ReturnCase(
        self, request: cases_pb2.ReturnCaseRequest, context: Context
    ) -> cases_pb2.ReturnCaseResponse:
        """Return a case."""
        caller = caller_of(context)
        case_id = parse_id("case_id", request.case_id)

        async def work(session: AsyncSession) -> cases_pb2.ReturnCaseResponse:
            found = await steps.give_back(
                session,
                self._catalogue,
                caller,
                request.county_code,
                case_id,
                code=request.code,
                reason=request.reason,
            )
            return cases_pb2.ReturnCaseResponse(compensation_case=case_out(found))

        return await once(self._database, caller, request, cases_pb2.ReturnCaseResponse, work)

    async def RepairCase(
        self, request: cases_pb2.RepairCaseRequest, context: Context
    ) -> cases_pb2.RepairCaseResponse:
        """Repair a case."""
        caller = caller_of(context)
        case_id = parse_id("case_id", request.case_id)
        collected = collecting_in(request.collection_steps)

        async def work(session: AsyncSession) -> cases_pb2.RepairCaseResponse:
            found = await steps.repair(
                session,
                self._catalogue,
                caller,
                request.county_code,
                case_id,
                evidence=request.evidence,
                steps=collected,
            )
            return cases_pb2.RepairCaseResponse(compensation_case=case_out(found))

        return await once(self._database, caller, request, cases_pb2.RepairCaseResponse, work)

    async def AppealCase(
        self, request: cases_pb2.AppealCaseRequest, context: Context
    ) -> cases_pb2.AppealCaseResponse:
        """Appeal against a denial."""
        caller = caller_of(context)
        case_id = parse_id("case_id", request.case_id)

        async def work(session: AsyncSession) -> cases_pb2.AppealCaseResponse:
            found = await steps.appeal(
                session,
                self._catalogue,
                caller,
                request.county_code,
                case_id,
                reason=request.reason,
                evidence=request.evidence,
            )
            return cases_pb2.AppealCaseResponse(compensation_case=case_out(found))

        return await once(self._database, caller, request, cases_pb2.AppealCaseResponse, work)

    async def DecideAppeal(
        self, request: cases_pb2.DecideAppealRequest, context: Context
    ) -> cases_pb2.DecideAppealResponse:
        """Decide an appeal."""
        caller = caller_of(context)
        case_id = parse_id("case_id", request.case_id)

        async def work(session: AsyncSession) -> cases_pb2.DecideAppealResponse:
            found = await steps.decide_appeal(
                session,
                self._catalogue,
                caller,
                request.county_code,
                case_id,
                grant=request.grant,
                reason=request.reason,
            )
            return cases_pb2.DecideAppealResponse(compensation_case=case_out(found))

        return await once(self._database, caller, request, cases_pb2.DecideAppealResponse, work)

    async def GetCaseFile(
        self, request: cases_pb2.GetCaseFileRequest, context: Context
    ) -> cases_pb2.GetCaseFileResponse:
        """A case with its steps."""
        caller = caller_of(context)
        case_id = parse_id("case_id", request.case_id)
        async with self._database.transaction(caller) as session:
            found, taken = await reports.case_steps(session, caller, request.county_code, case_id)
            today = await business_day.today(session, request.county_code)
        return cases_pb2.GetCaseFileResponse(
            compensation_case=case_out(found, today), steps=[_step(each) for each in taken]
        )
