"""Loans over gRPC: files of applications: what was found, the clock, withdrawal, cover again."""

from liandong.loans.v1 import loans_pb2, loans_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import wire
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.errors import NotFound
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.rpc import Context, caller_of
from services.loans.model import Contract, File, Loan, LoanState, StepTaken
from services.loans.operations import drawing
from services.loans.rules.chain import chain
from services.loans.servicer.lending import actor_of, loan_to_proto, own_loan
from services.loans.servicer.stated import findings_to_proto, stated_to_proto
from services.loans.store import applications as store
from services.loans.store import find_loan
from services.programmes.loader import Catalogue


def _contract_to_proto(contract: Contract) -> loans_pb2.Contract:
    return loans_pb2.Contract(
        approved_on=wire.date_to_proto(contract.approved_on),
        rate_ppm=contract.rate_ppm,
        reference_ppm=contract.reference_ppm or 0,
        subsidised_rate_ppm=contract.subsidised_rate_ppm,
        valid_until=wire.date_to_proto(contract.valid_until),
        breaker_epochs=[f"{scope}={epoch}" for scope, epoch in contract.breaker_epochs],
        working=contract.working,
    )


def _step_to_proto(step: StepTaken) -> loans_pb2.StepTaken:
    return loans_pb2.StepTaken(
        step=step.step,
        organ=step.organ,
        body=step.body,
        institution_id=step.institution_id,
        person_id=step.person_id,
        approved=step.approved,
        reason=step.reason,
        evidence=step.evidence,
        taken_on=wire.date_to_proto(step.taken_on),
    )


def _pauses_to_proto(file: File) -> list[loans_pb2.Pause]:
    return [
        loans_pb2.Pause(
            wanted=pause.wanted,
            asked_on=wire.date_to_proto(pause.asked_on),
            supplied_on=wire.date_to_proto(pause.supplied_on),
        )
        for pause in file.pauses
    ]


class ApplicationsDoor(loans_pb2_grpc.LoansServiceServicer):
    """What an application goes through besides its chain."""

    _database: Database
    _catalogue: Catalogue

    async def GetApplication(
        self, request: loans_pb2.GetApplicationRequest, context: Context
    ) -> loans_pb2.GetApplicationResponse:
        """The file of an application."""
        caller = caller_of(context)
        async with self._database.transaction(caller) as session:
            loan = await self._its_loan(session, request, caller)
            files = await store.files_of(session, loan.county_code, [loan.loan_id])
            steps = await store.steps_of(session, loan.county_code, loan.loan_id)
        file = files.get(loan.loan_id)
        if file is None:
            raise NotFound(
                "APPLICATION_NOT_FOUND", f"no application {loan.loan_id}", message_zh="无此申请"
            )
        return loans_pb2.GetApplicationResponse(
            loan=loan_to_proto(loan),
            borrower_kind=file.borrower_kind,
            particulars=stated_to_proto(file.stated),
            findings=findings_to_proto(file.findings),
            steps=[_step_to_proto(step) for step in steps],
            pauses=_pauses_to_proto(file),
            contract=_contract_to_proto(file.contract) if file.contract else None,
            clock_on=wire.date_to_proto(file.clock_on),
            done_on=wire.date_to_proto(file.done_on),
            late=file.late,
            due_at=file.due_at.isoformat() if file.due_at else "",
        )

    async def _its_loan(
        self, session: AsyncSession, request: loans_pb2.GetApplicationRequest, caller: Caller
    ) -> Loan:
        """A loan that the caller may see, or an insurer that is asked about it (SMX.loa.1)."""
        loan_id = parse_id("loan_id", request.loan_id)
        loan = await find_loan(session, request.county_code, loan_id)
        if loan is not None and loan.state in (LoanState.IN_REVIEW, LoanState.AWAITING_COVER):
            terms = self._catalogue.terms(loan.county_code, loan.programme)
            steps = chain(terms.product(loan.product_id))
            asked = caller.role == "insurer" and any(s.organ.value == "insurer" for s in steps)
            if asked and caller.may_act_in(loan.area_code):
                return loan
        return await own_loan(session, request.county_code, request.loan_id, caller)

    async def SuspendApplication(
        self, request: loans_pb2.SuspendApplicationRequest, context: Context
    ) -> loans_pb2.SuspendApplicationResponse:
        """Stop the clock."""
        caller = caller_of(context)
        actor = actor_of(caller)

        async def work(session: AsyncSession) -> loans_pb2.SuspendApplicationResponse:
            loan = await drawing.change_file(
                session,
                request.county_code,
                parse_id("loan_id", request.loan_id),
                wanted=request.wanted,
                catalogue=self._catalogue,
                may_act_in=caller.require_area,
                actor=actor,
            )
            return loans_pb2.SuspendApplicationResponse(loan=loan_to_proto(loan))

        return await once(
            self._database, caller, request, loans_pb2.SuspendApplicationResponse, work
        )

    async def ResumeApplication(
        self, request: loans_pb2.ResumeApplicationRequest, context: Context
    ) -> loans_pb2.ResumeApplicationResponse:
        """Let the clock run."""
        caller = caller_of(context)
        actor = actor_of(caller)

        async def work(session: AsyncSession) -> loans_pb2.ResumeApplicationResponse:
            loan = await drawing.change_file(
                session,
                request.county_code,
                parse_id("loan_id", request.loan_id),
                wanted="",
                catalogue=self._catalogue,
                may_act_in=caller.require_area,
                actor=actor,
            )
            return loans_pb2.ResumeApplicationResponse(loan=loan_to_proto(loan))

        return await once(
            self._database, caller, request, loans_pb2.ResumeApplicationResponse, work
        )

    async def CancelApplication(
        self, request: loans_pb2.CancelApplicationRequest, context: Context
    ) -> loans_pb2.CancelApplicationResponse:
        """Withdraw an application."""
        caller = caller_of(context)
        actor = actor_of(caller)

        async def work(session: AsyncSession) -> loans_pb2.CancelApplicationResponse:
            loan = await drawing.cancel(
                session,
                request.county_code,
                parse_id("loan_id", request.loan_id),
                actor,
                catalogue=self._catalogue,
                may_act_in=caller.require_area,
            )
            return loans_pb2.CancelApplicationResponse(loan=loan_to_proto(loan))

        return await once(
            self._database, caller, request, loans_pb2.CancelApplicationResponse, work
        )

    async def RequestCoverAgain(
        self, request: loans_pb2.RequestCoverAgainRequest, context: Context
    ) -> loans_pb2.RequestCoverAgainResponse:
        """Ask the fund once more."""
        caller = caller_of(context)
        actor = actor_of(caller)

        async def work(session: AsyncSession) -> loans_pb2.RequestCoverAgainResponse:
            loan = await drawing.ask_cover_again(
                session,
                request.county_code,
                parse_id("loan_id", request.loan_id),
                actor,
                self._catalogue,
            )
            return loans_pb2.RequestCoverAgainResponse(loan=loan_to_proto(loan))

        return await once(
            self._database, caller, request, loans_pb2.RequestCoverAgainResponse, work
        )
