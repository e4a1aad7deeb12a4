"""Loans over gRPC: projects that use the loans of many."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import date
from typing import Any, TypeVar
from uuid import UUID

from google.protobuf.message import Message
from liandong.loans.v1 import projects_pb2 as pb
from liandong.loans.v1 import projects_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import wire
from services.kernel.caller import Caller, require_role
from services.kernel.database import Database
from services.kernel.errors import Denied
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.rpc import Context, caller_of
from services.loans.operations import projects
from services.loans.operations.projects import Shown
from services.loans.rules.chain import LENDER_ROLES, Actor
from services.loans.rules.projects import (
    AtLevel,
    DutyDone,
    Evaluation,
    Level,
    Listed,
    LoanProject,
    Said,
    Sum,
    WindDownCause,
    WindDownState,
)
from services.loans.servicer.lending import actor_of, require_county
from services.loans.store import projects as register
from services.programmes.loader import Catalogue

REGISTRARS = ("county_centre", "poverty_office")
EVALUATORS = (*REGISTRARS, "township_station", "village_department", *sorted(LENDER_ROLES))
READERS = (*EVALUATORS, "finance_bureau", "auditor")
EVALUATIONS_SHOWN = 12
UNKNOWN = UUID(int=0)
"""Stands for an id that the operation gives."""

R = TypeVar("R", bound=Message)


def _admit(context: Context, roles: Sequence[str], county_code: str) -> Caller:
    caller = caller_of(context)
    require_role(caller, roles)
    require_county(caller, county_code)
    return caller


def _said(actor: Actor, request: Any) -> Said:
    """What a request rests on; the operation says which day it is."""
    return Said(actor, date.min, getattr(request, "reason", ""), getattr(request, "evidence", ""))


def _listing(each: AtLevel) -> pb.ProjectListing:
    return pb.ProjectListing(
        list=pb.ProjectList.Value(f"PROJECT_LIST_{each.listed_in.name}"),
        level=pb.ProjectLevel.Value(f"PROJECT_LEVEL_{each.level.name}"),
        since=wire.date_to_proto(each.said.on),
        reason=each.said.reason,
        person_id=each.said.by.person_id,
    )


def _evaluation(each: Evaluation) -> pb.ProjectEvaluation:
    return pb.ProjectEvaluation(
        month=wire.date_to_proto(each.month),
        grade=each.grade,
        at_risk=each.at_risk,
        reason=each.said.reason,
        person_id=each.said.by.person_id,
        institution_id=each.said.by.institution_id,
        evaluated_on=wire.date_to_proto(each.said.on),
    )


def _to_proto(shown: Shown) -> pb.LoanProject:
    standing, project, end = shown.standing, shown.standing.project, shown.standing.wind_down
    cause = end.cause.name if end else "UNSPECIFIED"
    return pb.LoanProject(
        project_id=str(project.project_id),
        name=project.name,
        enterprise_id=project.enterprise_id,
        enterprise_name=project.enterprise_name,
        sector=project.sector,
        area_code=project.area_code,
        programme=project.programme,
        product_id=project.product_id,
        legacy_id=project.legacy_id,
        registered_on=wire.date_to_proto(project.registered.on),
        forbidden=project.forbidden,
        listings=[_listing(each) for each in standing.listings],
        whitelisted=shown.whitelisted,
        grade=standing.grade,
        evaluations=[_evaluation(each) for each in standing.evaluations[:EVALUATIONS_SHOWN]],
        evaluation_overdue=wire.date_to_proto(shown.evaluation_overdue),
        watched=standing.watch is not None,
        watched_for=standing.watch.reason if standing.watch else "",
        loans=standing.used.loans,
        disbursed_fen=standing.used.disbursed_fen,
        outstanding_fen=standing.used.outstanding_fen,
        non_performing_fen=standing.used.non_performing_fen,
        wind_down=pb.WindDownState.Value(f"WIND_DOWN_STATE_{standing.end.name}"),
        wind_down_cause=pb.WindDownCause.Value(f"WIND_DOWN_CAUSE_{cause}"),
        wind_down_plan=end.said.reason if end else "",
        wind_down_on=wire.date_to_proto(end.said.on if end else None),
        wind_down_fen=end.outstanding_fen if end else 0,
        recovered_fen=standing.recovered_fen,
        duties_missing=shown.duties_missing,
        officer_id=standing.officer_id,
    )


def _sum(found: Sum) -> pb.ProjectSum:
    return pb.ProjectSum(projects=found.projects, outstanding_fen=found.amount_fen)


class ProjectsServicer(projects_pb2_grpc.ProjectsServiceServicer):
    """The methods of ProjectsService."""

    def __init__(self, database: Database, catalogue: Catalogue) -> None:
        self._database = database
        self._catalogue = catalogue

    async def _say(
        self,
        request: Any,
        context: Context,
        answer: Callable[..., R],
        answer_type: type[R],
        work: Callable[[AsyncSession, Actor, UUID], Awaitable[Shown]],
        *,
        roles: Sequence[str] = REGISTRARS,
    ) -> R:
        """One word on one project; the answer is the project as it is now."""
        caller = _admit(context, roles, request.county_code)
        actor = actor_of(caller)
        project_id = parse_id("project_id", request.project_id)

        async def done(session: AsyncSession) -> R:
            return answer(project=_to_proto(await work(session, actor, project_id)))

        return await once(self._database, caller, request, answer_type, done)

    async def RegisterLoanProject(
        self, request: pb.RegisterLoanProjectRequest, context: Context
    ) -> pb.RegisterLoanProjectResponse:
        """Enter a project in the register."""
        caller = _admit(context, REGISTRARS, request.county_code)
        actor = actor_of(caller)
        caller.require_area(request.area_code)
        wanted = LoanProject(
            county_code=request.county_code,
            project_id=UNKNOWN,
            name=request.name,
            enterprise_id=request.enterprise_id,
            enterprise_name=request.enterprise_name,
            sector=request.sector,
            area_code=request.area_code,
            programme="",
            product_id=request.product_id,
            legacy_id=request.legacy_id,
            forbidden=False,
            registered=Said(actor, date.min),
        )

        async def work(session: AsyncSession) -> pb.RegisterLoanProjectResponse:
            shown = await projects.register_project(
                session, self._catalogue, wanted, request.programme_id, actor
            )
            return pb.RegisterLoanProjectResponse(project=_to_proto(shown))

        return await once(self._database, caller, request, pb.RegisterLoanProjectResponse, work)

    async def AddProjectLoans(
        self, request: pb.AddProjectLoansRequest, context: Context
    ) -> pb.AddProjectLoansResponse:
        """Say whose loans a project uses."""
        caller = _admit(context, (*REGISTRARS, *LENDER_ROLES), request.county_code)
        actor = actor_of(caller)
        project_id = parse_id("project_id", request.project_id)
        wanted = [parse_id("loan_ids", each) for each in request.loan_ids]

        async def work(session: AsyncSession) -> pb.AddProjectLoansResponse:
            outcomes = await projects.add_loans(
                session,
                self._catalogue,
                request.county_code,
                project_id,
                loan_ids=wanted,
                actor=actor,
            )
            told = wire.verdicts(outcomes, lambda loan: loan.loan_id)
            return pb.AddProjectLoansResponse(verdicts=told)

        return await once(self._database, caller, request, pb.AddProjectLoansResponse, work)

    async def ListProjectAtLevel(
        self, request: pb.ListProjectAtLevelRequest, context: Context
    ) -> pb.ListProjectAtLevelResponse:
        """Enter a project on a level's list, or strike it off."""
        listed_in = Listed[pb.ProjectList.Name(request.list).removeprefix("PROJECT_LIST_")]
        level = Level[pb.ProjectLevel.Name(request.level).removeprefix("PROJECT_LEVEL_")]

        async def work(session: AsyncSession, actor: Actor, project_id: UUID) -> Shown:
            return await projects.list_at_level(
                session,
                self._catalogue,
                request.county_code,
                project_id,
                AtLevel(listed_in, level, _said(actor, request)),
                listed=request.listed,
            )

        answer = pb.ListProjectAtLevelResponse
        return await self._say(request, context, answer, answer, work)

    async def EvaluateLoanProject(
        self, request: pb.EvaluateLoanProjectRequest, context: Context
    ) -> pb.EvaluateLoanProjectResponse:
        """Grade a project for a month."""
        month = wire.date_from_proto("month", request.month)

        async def work(session: AsyncSession, actor: Actor, project_id: UUID) -> Shown:
            made = Evaluation(month, request.grade, request.at_risk, _said(actor, request))
            return await projects.evaluate(
                session, self._catalogue, request.county_code, project_id, made
            )

        answer = pb.EvaluateLoanProjectResponse
        return await self._say(request, context, answer, answer, work, roles=EVALUATORS)

    async def WatchLoanProject(
        self, request: pb.WatchLoanProjectRequest, context: Context
    ) -> pb.WatchLoanProjectResponse:
        """Put a project on the watch list or take it off."""

        async def work(session: AsyncSession, actor: Actor, project_id: UUID) -> Shown:
            return await projects.watch(
                session,
                self._catalogue,
                request.county_code,
                project_id,
                _said(actor, request),
                watched=request.watched,
            )

        answer = pb.WatchLoanProjectResponse
        return await self._say(request, context, answer, answer, work)

    async def StartWindDown(
        self, request: pb.StartWindDownRequest, context: Context
    ) -> pb.StartWindDownResponse:
        """Begin to end a project."""
        cause = pb.WindDownCause.Name(request.cause).removeprefix("WIND_DOWN_CAUSE_")

        async def work(session: AsyncSession, actor: Actor, project_id: UUID) -> Shown:
            return await projects.wind_down(
                session,
                self._catalogue,
                request.county_code,
                project_id,
                cause=WindDownCause[cause],
                said=Said(actor, date.min, request.plan, request.evidence),
            )

        answer = pb.StartWindDownResponse
        return await self._say(request, context, answer, answer, work)

    async def RecordLegacyDuty(
        self, request: pb.RecordLegacyDutyRequest, context: Context
    ) -> pb.RecordLegacyDutyResponse:
        """Record a duty of loans of a closed use as done."""
        loan_id = parse_id("loan_id", request.loan_id) if request.loan_id else None

        async def work(session: AsyncSession, actor: Actor, project_id: UUID) -> Shown:
            done = DutyDone(request.duty, loan_id, request.officer_id, _said(actor, request))
            return await projects.record_duty(
                session, self._catalogue, request.county_code, project_id, done
            )

        answer = pb.RecordLegacyDutyResponse
        roles = (*REGISTRARS, *LENDER_ROLES)
        return await self._say(request, context, answer, answer, work, roles=roles)

    async def GetLoanProject(
        self, request: pb.GetLoanProjectRequest, context: Context
    ) -> pb.GetLoanProjectResponse:
        """One project."""
        caller = _admit(context, READERS, request.county_code)
        project_id = parse_id("project_id", request.project_id)
        async with self._database.transaction(caller) as session:
            shown = await projects.shown(session, self._catalogue, request.county_code, project_id)
        return pb.GetLoanProjectResponse(project=_to_proto(shown))

    async def ListLoanProjects(
        self, request: pb.ListLoanProjectsRequest, context: Context
    ) -> pb.ListLoanProjectsResponse:
        """A page of projects."""
        caller = _admit(context, READERS, request.county_code)
        size, start = wire.page_size(request.page_size), wire.page_offset(request.page_token)
        async with self._database.transaction(caller) as session:
            every = await projects.list_projects(session, self._catalogue, request.county_code)
        found = [each for each in every if _wanted(each, request)][start : start + size + 1]
        page, token = wire.page_from(found, start, size)
        return pb.ListLoanProjectsResponse(
            projects=[_to_proto(each) for each in page], next_page_token=token
        )

    async def ListProjectLoans(
        self, request: pb.ListProjectLoansRequest, context: Context
    ) -> pb.ListProjectLoansResponse:
        """A page of the loans that a project uses."""
        caller = _admit(context, READERS, request.county_code)
        project_id = parse_id("project_id", request.project_id)
        size = wire.page_size(request.page_size)
        start = wire.page_start(request.page_token)
        lends = caller.role in LENDER_ROLES
        if caller.areas and not lends:
            raise Denied("AREA_NOT_YOURS", "a project's loans are the county's to see")
        async with self._database.transaction(caller) as session:
            shown = await projects.shown(session, self._catalogue, request.county_code, project_id)
            found = await register.loans_of(
                session,
                request.county_code,
                project_id,
                caller.institution_id if lends else "",
                after=parse_id("page_token", start) if start else UNKNOWN,
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.loan_id)
        done = {(each.duty, each.loan_id) for each in shown.standing.duties}
        return pb.ListProjectLoansResponse(
            loans=[
                pb.ProjectLoan(
                    loan_id=str(each.loan_id),
                    household_id=str(each.household_id),
                    lender_id=each.lender_id,
                    principal_fen=each.principal_fen,
                    outstanding_fen=each.outstanding_fen,
                    overdue_days=each.overdue_days,
                    checked=("single_check", each.loan_id) in done,
                    isolated=("debt_isolation", each.loan_id) in done,
                )
                for each in page
            ],
            next_page_token=token,
        )

    async def GetProjectTotals(
        self, request: pb.GetProjectTotalsRequest, context: Context
    ) -> pb.GetProjectTotalsResponse:
        """What the register comes to."""
        caller = _admit(context, READERS, request.county_code)
        async with self._database.transaction(caller) as session:
            found = await projects.totals(
                session, self._catalogue, request.county_code, request.programme_id
            )
        return pb.GetProjectTotalsResponse(
            projects_begun=found.begun.projects,
            disbursed_fen=found.begun.amount_fen,
            now=_sum(found.now),
            at_risk=_sum(found.at_risk),
            risky_ppm=found.risky_ppm,
            forbidden=_sum(found.forbidden),
            forbidden_recovered=_sum(found.recovered),
            forbidden_left=_sum(found.left),
            winding_down=_sum(found.winding_down),
            evaluations_overdue=found.evaluations_overdue,
        )


def _wanted(shown: Shown, request: pb.ListLoanProjectsRequest) -> bool:
    standing = shown.standing
    return (
        request.enterprise_id in ("", standing.project.enterprise_id)
        and (not request.watched or standing.watch is not None)
        and (not request.evaluation_overdue or shown.evaluation_overdue is not None)
        and (not request.winding_down or standing.end is WindDownState.LEFT)
    )
