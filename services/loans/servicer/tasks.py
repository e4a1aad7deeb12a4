"""Loans over gRPC: tasks after the loan, their owners, signatures, reports and escalations."""

from datetime import date
from uuid import UUID

from liandong.loans.v1 import tasks_pb2, tasks_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import business_day, wire
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.errors import NotFound
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.rpc import Context, caller_of
from services.loans.operations import tasks
from services.loans.rules.lending import LENDER_ROLES
from services.loans.rules.tasks import (
    Escalation,
    OverdueFigures,
    Task,
    TaskKind,
    TaskStep,
)
from services.loans.servicer.issues import IssuesDoor, issue_to_proto
from services.loans.servicer.lending import actor_of
from services.loans.servicer.scope import areas_of, lender_of, require_own_area, require_own_county
from services.loans.servicer.shown import evidence_from, evidence_to_proto
from services.loans.store import tasks as task_store
from services.programmes import indicators
from services.programmes.loader import Catalogue


def kind_of(asked: "tasks_pb2.TaskKind.ValueType") -> TaskKind:
    """A kind from the wire."""
    return TaskKind(tasks_pb2.TaskKind.Name(asked).removeprefix("TASK_KIND_").lower())


def _kind_to_proto(kind: TaskKind) -> "tasks_pb2.TaskKind.ValueType":
    return tasks_pb2.TaskKind.Value(f"TASK_KIND_{kind.upper()}")


def task_to_proto(task: Task, today: date) -> tasks_pb2.Task:
    """A task for the wire."""
    closed = task.closed_on is not None
    return tasks_pb2.Task(
        task_id=str(task.task_id),
        kind=_kind_to_proto(task.kind),
        clause_id=task.clause_id,
        programme=task.programme,
        area_code=task.area_code,
        loan_id=str(task.loan_id or ""),
        household_id=str(task.household_id or ""),
        organ=task.organ,
        institution_id=task.institution_id,
        owner_id=task.owner_id,
        deputy_id=task.deputy_id,
        opened_on=wire.date_to_proto(task.opened_on),
        due_on=wire.date_to_proto(task.due_on),
        state=tasks_pb2.TASK_STATE_CLOSED if closed else tasks_pb2.TASK_STATE_OPEN,
        late=(task.closed_on or today) > task.due_on,
        closed_on=wire.date_to_proto(task.closed_on),
        levels=task.levels,
        signed=task.signed,
        escalated_to=task.escalated_to,
        escalations=task.escalations,
        cause=task.cause,
        looks_at=task.looks_at,
    )


def figures_to_proto(figures: OverdueFigures) -> tasks_pb2.OverdueFigures:
    """What fell due and was not collected, for the wire."""
    overdue = indicators.overdue_report(
        figures.due_count, figures.due_fen, figures.collected_count, figures.collected_fen
    )
    return tasks_pb2.OverdueFigures(
        as_of=wire.date_to_proto(figures.as_of),
        due_count=figures.due_count,
        due_fen=figures.due_fen,
        collected_count=figures.collected_count,
        collected_fen=figures.collected_fen,
        overdue_count=overdue.overdue_count,
        overdue_fen=overdue.overdue_fen,
        overdue_ratio_pct=overdue.overdue_ratio_pct or "",
    )


def _step_to_proto(step: TaskStep) -> tasks_pb2.TaskStep:
    return tasks_pb2.TaskStep(
        number=step.number,
        kind=tasks_pb2.TaskStepKind.Value(f"TASK_STEP_KIND_{step.kind.upper()}"),
        taken_on=wire.date_to_proto(step.taken_on),
        institution_id=step.institution_id,
        person_id=step.person_id,
        organ=step.organ,
        note=step.note,
        evidence=evidence_to_proto(step.evidence),
        findings=step.findings,
        figures=None if step.figures is None else figures_to_proto(step.figures),
        in_time=step.in_time,
    )


def _escalation_to_proto(escalation: Escalation) -> tasks_pb2.Escalation:
    task = escalation.task
    return tasks_pb2.Escalation(
        task_id=str(task.task_id),
        kind=_kind_to_proto(task.kind),
        area_code=task.area_code,
        organ=escalation.organ,
        institution_id=escalation.institution_id,
        escalated_on=wire.date_to_proto(escalation.escalated_on),
        due_on=wire.date_to_proto(task.due_on),
        number=escalation.number,
    )


class TasksServicer(IssuesDoor, tasks_pb2_grpc.TasksServiceServicer):
    """Tasks after the loan."""

    def __init__(self, database: Database, catalogue: Catalogue) -> None:
        self._database = database
        self._catalogue = catalogue

    async def OpenTask(
        self, request: tasks_pb2.OpenTaskRequest, context: Context
    ) -> tasks_pb2.OpenTaskResponse:
        """Open a task by hand."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_own_county(caller, request.county_code)
        wanted = tasks.Wanted(
            kind_of(request.kind),
            parse_id("loan_id", request.loan_id) if request.loan_id else None,
            request.area_code,
            request.programme_id,
            request.owner_id,
            request.deputy_id,
            wire.date_from_proto("due_on", request.due_on),
            tuple(request.looks_at),
            request.note,
        )

        async def work(session: AsyncSession) -> tasks_pb2.OpenTaskResponse:
            task = await tasks.open_task(
                session,
                request.county_code,
                wanted,
                actor=actor,
                may_act_in=lambda area: require_own_area(caller, area),
                catalogue=self._catalogue,
            )
            return tasks_pb2.OpenTaskResponse(task=task_to_proto(task, task.opened_on))

        return await once(
            self._database, caller, request, tasks_pb2.OpenTaskResponse, work, money=False
        )

    async def AssignDuty(
        self, request: tasks_pb2.AssignDutyRequest, context: Context
    ) -> tasks_pb2.AssignDutyResponse:
        """Name owner and deputy for an institution's tasks of a kind."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_own_county(caller, request.county_code)

        async def work(session: AsyncSession) -> tasks_pb2.AssignDutyResponse:
            assigned = await tasks.assign_duty(
                session,
                request.county_code,
                kind_of(request.kind),
                owner_id=request.owner_id,
                deputy_id=request.deputy_id,
                actor=actor,
                catalogue=self._catalogue,
            )
            return tasks_pb2.AssignDutyResponse(assigned=assigned)

        return await once(
            self._database, caller, request, tasks_pb2.AssignDutyResponse, work, money=False
        )

    async def ListDuties(
        self, request: tasks_pb2.ListDutiesRequest, context: Context
    ) -> tasks_pb2.ListDutiesResponse:
        """Who owns what in the own institution."""
        caller = caller_of(context)
        require_own_county(caller, request.county_code)
        async with self._database.transaction(caller) as session:
            found = await task_store.duties(session, request.county_code, caller.institution_id)
        return tasks_pb2.ListDutiesResponse(
            duties=[
                tasks_pb2.Duty(
                    institution_id=duty.institution_id,
                    kind=_kind_to_proto(duty.kind),
                    owner_id=duty.owner_id,
                    deputy_id=duty.deputy_id,
                    assigned_on=wire.date_to_proto(duty.assigned_on),
                    assigned_by=duty.assigned_by,
                )
                for duty in found.values()
            ]
        )

    async def AssignTask(
        self, request: tasks_pb2.AssignTaskRequest, context: Context
    ) -> tasks_pb2.AssignTaskResponse:
        """Give a task another owner and deputy."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_own_county(caller, request.county_code)
        task_id = parse_id("task_id", request.task_id)

        async def work(session: AsyncSession) -> tasks_pb2.AssignTaskResponse:
            task = await tasks.assign_task(
                session,
                request.county_code,
                task_id,
                owner_id=request.owner_id,
                deputy_id=request.deputy_id,
                institution_id=request.institution_id,
                actor=actor,
                may_act_in=lambda area: require_own_area(caller, area),
                catalogue=self._catalogue,
            )
            today = await business_day.today(session, request.county_code)
            return tasks_pb2.AssignTaskResponse(task=task_to_proto(task, today))

        return await once(
            self._database, caller, request, tasks_pb2.AssignTaskResponse, work, money=False
        )

    async def SignTask(
        self, request: tasks_pb2.SignTaskRequest, context: Context
    ) -> tasks_pb2.SignTaskResponse:
        """Sign the next level."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_own_county(caller, request.county_code)
        task_id = parse_id("task_id", request.task_id)

        async def work(session: AsyncSession) -> tasks_pb2.SignTaskResponse:
            task, found = await tasks.sign_task(
                session,
                request.county_code,
                task_id,
                evidence=evidence_from(request.evidence),
                note=request.note,
                findings=request.findings,
                actor=actor,
                may_act_in=lambda area: require_own_area(caller, area),
                catalogue=self._catalogue,
            )
            today = await business_day.today(session, request.county_code)
            return tasks_pb2.SignTaskResponse(
                task=task_to_proto(task, today),
                issues=[issue_to_proto(issue, today) for issue in found],
            )

        return await once(
            self._database, caller, request, tasks_pb2.SignTaskResponse, work, money=False
        )

    async def CloseTask(
        self, request: tasks_pb2.CloseTaskRequest, context: Context
    ) -> tasks_pb2.CloseTaskResponse:
        """Close a task with its evidence."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_own_county(caller, request.county_code)
        task_id = parse_id("task_id", request.task_id)

        async def work(session: AsyncSession) -> tasks_pb2.CloseTaskResponse:
            task, found = await tasks.close_task(
                session,
                request.county_code,
                task_id,
                evidence=evidence_from(request.evidence),
                note=request.note,
                findings=request.findings,
                actor=actor,
                may_act_in=lambda area: require_own_area(caller, area),
                catalogue=self._catalogue,
            )
            today = await business_day.today(session, request.county_code)
            return tasks_pb2.CloseTaskResponse(
                task=task_to_proto(task, today),
                issues=[issue_to_proto(issue, today) for issue in found],
            )

        return await once(
            self._database, caller, request, tasks_pb2.CloseTaskResponse, work, money=False
        )

    async def ReportDaily(
        self, request: tasks_pb2.ReportDailyRequest, context: Context
    ) -> tasks_pb2.ReportDailyResponse:
        """File a daily report."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_own_county(caller, request.county_code)
        task_id = parse_id("task_id", request.task_id)

        async def work(session: AsyncSession) -> tasks_pb2.ReportDailyResponse:
            task, figures = await tasks.report_daily(
                session,
                request.county_code,
                task_id,
                note=request.note,
                evidence=evidence_from(request.evidence),
                actor=actor,
                may_act_in=lambda area: require_own_area(caller, area),
            )
            return tasks_pb2.ReportDailyResponse(
                task=task_to_proto(task, figures.as_of), figures=figures_to_proto(figures)
            )

        return await once(
            self._database, caller, request, tasks_pb2.ReportDailyResponse, work, money=False
        )

    async def GetTask(
        self, request: tasks_pb2.GetTaskRequest, context: Context
    ) -> tasks_pb2.GetTaskResponse:
        """One task with its steps."""
        caller = caller_of(context)
        county = request.county_code
        require_own_county(caller, county)
        task_id = parse_id("task_id", request.task_id)
        async with self._database.transaction(caller) as session:
            task = await task_store.find(session, county, task_id)
            if task is None or not _may_see(task, caller):
                raise NotFound("TASK_NOT_FOUND", f"no task {task_id}", message_zh="无此任务")
            steps = await task_store.steps_of(session, county, task_id)
            today = await business_day.today(session, county)
        return tasks_pb2.GetTaskResponse(
            task=task_to_proto(task, today), steps=[_step_to_proto(step) for step in steps]
        )

    async def ListTasks(
        self, request: tasks_pb2.ListTasksRequest, context: Context
    ) -> tasks_pb2.ListTasksResponse:
        """Tasks that the caller may see."""
        caller = caller_of(context)
        areas = areas_of(caller, request.county_code, request.area_code)
        size, start = wire.page_size(request.page_size), wire.page_offset(request.page_token)
        closed = {
            tasks_pb2.TASK_STATE_OPEN: False,
            tasks_pb2.TASK_STATE_CLOSED: True,
        }
        async with self._database.transaction(caller) as session:
            rows = await task_store.list_tasks(
                session,
                request.county_code,
                areas=areas,
                lender_id=lender_of(caller),
                person_id=request.owner_id,
                kind=kind_of(request.kind).value if request.kind else "",
                loan_id=_id_or_none("loan_id", request.loan_id),
                closed=closed.get(request.state),
                due_before=wire.date_from_proto("due_before", request.due_before)
                if request.HasField("due_before")
                else None,
                start=start,
                limit=size + 1,
            )
            today = await business_day.today(session, request.county_code)
        page, token = wire.page_from(rows, start, size)
        return tasks_pb2.ListTasksResponse(
            tasks=[task_to_proto(task, today) for task in page], next_page_token=token
        )

    async def ListEscalations(
        self, request: tasks_pb2.ListEscalationsRequest, context: Context
    ) -> tasks_pb2.ListEscalationsResponse:
        """Who heard of tasks that were late."""
        caller = caller_of(context)
        areas = areas_of(caller, request.county_code, request.area_code)
        size, start = wire.page_size(request.page_size), wire.page_offset(request.page_token)
        async with self._database.transaction(caller) as session:
            rows = await task_store.list_escalations(
                session,
                request.county_code,
                areas=areas,
                lender_id=lender_of(caller),
                task_id=_id_or_none("task_id", request.task_id),
                start=start,
                limit=size + 1,
            )
        page, token = wire.page_from(rows, start, size)
        return tasks_pb2.ListEscalationsResponse(
            escalations=[_escalation_to_proto(each) for each in page], next_page_token=token
        )

    async def GetOverdueReport(
        self, request: tasks_pb2.GetOverdueReportRequest, context: Context
    ) -> tasks_pb2.GetOverdueReportResponse:
        """The overdue figures of an area."""
        caller = caller_of(context)
        areas = areas_of(caller, request.county_code, request.area_code)
        async with self._database.transaction(caller) as session:
            figures = await tasks.overdue_report(
                session,
                request.county_code,
                areas=areas,
                lender_id=lender_of(caller),
                programme_id=request.programme_id,
            )
        return tasks_pb2.GetOverdueReportResponse(figures=figures_to_proto(figures))


def _id_or_none(field: str, text: str) -> UUID | None:
    return parse_id(field, text) if text else None


def _may_see(task: Task, caller: Caller) -> bool:
    """In the own areas; of lenders the own loans' tasks, and what they have to do."""
    if caller.role in LENDER_ROLES:
        return caller.institution_id in (task.lender_id, task.institution_id)
    return caller.may_act_in(task.area_code)
