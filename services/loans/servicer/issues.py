"""Loans over gRPC: issues, the compliance list, dispositions, and who did what."""

from datetime import date
from uuid import UUID

from liandong.loans.v1 import tasks_pb2, tasks_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import business_day, wire
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.errors import NotFound, invalid_field
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.rpc import Context, caller_of
from services.loans.operations import disposing, issues
from services.loans.rules import issues as rules
from services.loans.rules.issues import Decided, Done, Issue
from services.loans.rules.lending import LENDER_ROLES
from services.loans.servicer.lending import actor_of, own_loan
from services.loans.servicer.scope import areas_of, lender_of, require_own_area, require_own_county
from services.loans.servicer.shown import evidence_from, evidence_to_proto
from services.loans.store import issues as issue_store
from services.loans.store.issues import DutyDone, Problem
from services.programmes.loader import Catalogue


def issue_to_proto(issue: Issue, today: date) -> tasks_pb2.Issue:
    """An issue for the wire."""
    return tasks_pb2.Issue(
        issue_id=str(issue.issue_id),
        ledger=issue.ledger,
        code=issue.code,
        programme=issue.programme,
        area_code=issue.area_code,
        loan_id=str(issue.loan_id or ""),
        household_id=str(issue.household_id or ""),
        lender_id=issue.lender_id,
        state=tasks_pb2.IssueState.Value(f"ISSUE_STATE_{issue.state.upper()}"),
        registered_on=wire.date_to_proto(issue.registered_on),
        due_on=wire.date_to_proto(issue.due_on),
        late=rules.late(issue, today),
        rectified_on=wire.date_to_proto(issue.rectified_on),
        closed_on=wire.date_to_proto(issue.closed_on),
        rectified_by=issue.rectified_by,
        task_id=str(issue.task_id or ""),
        note=issue.note,
    )


def _done_to_proto(done: Done) -> tasks_pb2.IssueStep:
    return tasks_pb2.IssueStep(
        number=done.number,
        kind=tasks_pb2.IssueStepKind.Value(f"ISSUE_STEP_KIND_{done.kind.upper()}"),
        taken_on=wire.date_to_proto(done.taken_on),
        institution_id=done.institution_id,
        person_id=done.person_id,
        note=done.note,
        evidence=evidence_to_proto(done.evidence),
    )


def _class_to_proto(due_class: str) -> "tasks_pb2.DueClass.ValueType":
    return tasks_pb2.DueClass.Value(f"DUE_CLASS_{due_class.upper() or 'UNSPECIFIED'}")


def _decided_to_proto(decided: Decided) -> tasks_pb2.Disposition:
    return tasks_pb2.Disposition(
        loan_id=str(decided.loan_id),
        number=decided.number,
        due_class=_class_to_proto(decided.due_class),
        actions=decided.actions,
        plan=decided.plan,
        reason=decided.reason,
        evidence=evidence_to_proto(decided.evidence),
        organ=decided.organ,
        institution_id=decided.institution_id,
        person_id=decided.person_id,
        decided_on=wire.date_to_proto(decided.decided_on),
        in_effect=decided.in_effect,
    )


def _problem_to_proto(problem: Problem) -> tasks_pb2.ProblemLoan:
    return tasks_pb2.ProblemLoan(
        loan_id=str(problem.loan_id),
        household_id=str(problem.household_id),
        area_code=problem.area_code,
        lender_id=problem.lender_id,
        overdue_days=problem.overdue_days,
        non_performing_on=wire.date_to_proto(problem.non_performing_on),
        outstanding_fen=problem.outstanding_fen,
        due_class=_class_to_proto(problem.due_class),
        actions=problem.actions,
        open_issues=problem.open_issues,
    )


def _duty_to_proto(done: DutyDone) -> tasks_pb2.DueDiligenceRecord:
    return tasks_pb2.DueDiligenceRecord(
        loan_id=str(done.loan_id or ""),
        institution_id=done.institution_id,
        person_id=done.person_id,
        done_on=wire.date_to_proto(done.done_on),
        duty=done.duty,
        what=done.what,
        outcome=done.outcome,
        evidence=done.evidence,
        in_time=done.in_time,
    )


def _id_or_none(field: str, text: str) -> UUID | None:
    return parse_id(field, text) if text else None


def _may_see(issue: Issue, caller: Caller) -> bool:
    if caller.role in LENDER_ROLES:
        return caller.institution_id == issue.lender_id
    return caller.may_act_in(issue.area_code)


class IssuesDoor(tasks_pb2_grpc.TasksServiceServicer):
    """Issues after the loan, dispositions, and who did what."""

    _database: Database
    _catalogue: Catalogue

    async def CheckCompliance(
        self, request: tasks_pb2.CheckComplianceRequest, context: Context
    ) -> tasks_pb2.CheckComplianceResponse:
        """Hold a loan against the compliance list."""
        caller = caller_of(context)
        county = request.county_code
        require_own_county(caller, county)
        async with self._database.transaction(caller) as session:
            loan = await own_loan(session, county, request.loan_id, caller)
            found, checks = await issues.check(session, county, loan.loan_id, self._catalogue)
        return tasks_pb2.CheckComplianceResponse(
            compliant=found.compliant, issues=found.issues, checks=checks
        )

    async def RegisterIssue(
        self, request: tasks_pb2.RegisterIssueRequest, context: Context
    ) -> tasks_pb2.RegisterIssueResponse:
        """Register an issue by hand."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_own_county(caller, request.county_code)
        wanted = issues.Wanted(
            _id_or_none("loan_id", request.loan_id),
            request.area_code,
            request.programme_id,
            request.code,
            request.ledger,
            request.note,
            evidence_from(request.evidence),
        )

        async def work(session: AsyncSession) -> tasks_pb2.RegisterIssueResponse:
            issue = await issues.register(
                session,
                request.county_code,
                wanted,
                actor=actor,
                may_act_in=lambda area: require_own_area(caller, area),
                catalogue=self._catalogue,
            )
            return tasks_pb2.RegisterIssueResponse(issue=issue_to_proto(issue, issue.registered_on))

        return await once(
            self._database, caller, request, tasks_pb2.RegisterIssueResponse, work, money=False
        )

    async def SetIssueDeadline(
        self, request: tasks_pb2.SetIssueDeadlineRequest, context: Context
    ) -> tasks_pb2.SetIssueDeadlineResponse:
        """Set the deadline that the programme leaves open."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_own_county(caller, request.county_code)
        issue_id = parse_id("issue_id", request.issue_id)
        due_on = wire.date_from_proto("due_on", request.due_on)

        async def work(session: AsyncSession) -> tasks_pb2.SetIssueDeadlineResponse:
            issue = await issues.set_deadline(
                session,
                request.county_code,
                issue_id,
                due_on=due_on,
                note=request.note,
                actor=actor,
                may_act_in=lambda area: require_own_area(caller, area),
            )
            today = await business_day.today(session, request.county_code)
            return tasks_pb2.SetIssueDeadlineResponse(issue=issue_to_proto(issue, today))

        return await once(
            self._database, caller, request, tasks_pb2.SetIssueDeadlineResponse, work, money=False
        )

    async def RectifyIssue(
        self, request: tasks_pb2.RectifyIssueRequest, context: Context
    ) -> tasks_pb2.RectifyIssueResponse:
        """Say that an issue is rectified."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_own_county(caller, request.county_code)
        issue_id = parse_id("issue_id", request.issue_id)

        async def work(session: AsyncSession) -> tasks_pb2.RectifyIssueResponse:
            issue = await issues.rectify(
                session,
                request.county_code,
                issue_id,
                note=request.note,
                evidence=evidence_from(request.evidence),
                actor=actor,
                may_act_in=lambda area: require_own_area(caller, area),
            )
            today = await business_day.today(session, request.county_code)
            return tasks_pb2.RectifyIssueResponse(issue=issue_to_proto(issue, today))

        return await once(
            self._database, caller, request, tasks_pb2.RectifyIssueResponse, work, money=False
        )

    async def SendIssueBack(
        self, request: tasks_pb2.SendIssueBackRequest, context: Context
    ) -> tasks_pb2.SendIssueBackResponse:
        """Send an issue back."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_own_county(caller, request.county_code)
        issue_id = parse_id("issue_id", request.issue_id)

        async def work(session: AsyncSession) -> tasks_pb2.SendIssueBackResponse:
            issue = await issues.send_back(
                session,
                request.county_code,
                issue_id,
                note=request.note,
                actor=actor,
                may_act_in=lambda area: require_own_area(caller, area),
            )
            today = await business_day.today(session, request.county_code)
            return tasks_pb2.SendIssueBackResponse(issue=issue_to_proto(issue, today))

        return await once(
            self._database, caller, request, tasks_pb2.SendIssueBackResponse, work, money=False
        )

    async def CrossOffIssue(
        self, request: tasks_pb2.CrossOffIssueRequest, context: Context
    ) -> tasks_pb2.CrossOffIssueResponse:
        """Cross an issue off."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_own_county(caller, request.county_code)
        issue_id = parse_id("issue_id", request.issue_id)

        async def work(session: AsyncSession) -> tasks_pb2.CrossOffIssueResponse:
            issue = await issues.cross_off(
                session,
                request.county_code,
                issue_id,
                note=request.note,
                actor=actor,
                may_act_in=lambda area: require_own_area(caller, area),
                catalogue=self._catalogue,
            )
            today = await business_day.today(session, request.county_code)
            return tasks_pb2.CrossOffIssueResponse(issue=issue_to_proto(issue, today))

        return await once(
            self._database, caller, request, tasks_pb2.CrossOffIssueResponse, work, money=False
        )

    async def GetIssue(
        self, request: tasks_pb2.GetIssueRequest, context: Context
    ) -> tasks_pb2.GetIssueResponse:
        """One issue with its steps."""
        caller = caller_of(context)
        county = request.county_code
        require_own_county(caller, county)
        issue_id = parse_id("issue_id", request.issue_id)
        async with self._database.transaction(caller) as session:
            issue = await issue_store.find(session, county, issue_id)
            if issue is None or not _may_see(issue, caller):
                raise NotFound("ISSUE_NOT_FOUND", f"no issue {issue_id}", message_zh="无此问题")
            steps = await issue_store.steps_of(session, county, issue_id)
            today = await business_day.today(session, county)
        return tasks_pb2.GetIssueResponse(
            issue=issue_to_proto(issue, today), steps=[_done_to_proto(done) for done in steps]
        )

    async def ListIssues(
        self, request: tasks_pb2.ListIssuesRequest, context: Context
    ) -> tasks_pb2.ListIssuesResponse:
        """Issues that the caller may see."""
        caller = caller_of(context)
        areas = areas_of(caller, request.county_code, request.area_code)
        size, start = wire.page_size(request.page_size), wire.page_offset(request.page_token)
        state = tasks_pb2.IssueState.Name(request.state).removeprefix("ISSUE_STATE_").lower()
        async with self._database.transaction(caller) as session:
            rows = await issue_store.list_issues(
                session,
                request.county_code,
                areas=areas,
                lender_id=lender_of(caller),
                loan_id=_id_or_none("loan_id", request.loan_id),
                state=state if request.state else "",
                code=request.code,
                ledger=request.ledger,
                due_before=wire.date_from_proto("due_before", request.due_before)
                if request.HasField("due_before")
                else None,
                start=start,
                limit=size + 1,
            )
            today = await business_day.today(session, request.county_code)
        page, token = wire.page_from(rows, start, size)
        return tasks_pb2.ListIssuesResponse(
            issues=[issue_to_proto(issue, today) for issue in page], next_page_token=token
        )

    async def DecideDisposition(
        self, request: tasks_pb2.DecideDispositionRequest, context: Context
    ) -> tasks_pb2.DecideDispositionResponse:
        """Decide the disposition of a problem loan."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_own_county(caller, request.county_code)
        loan_id = parse_id("loan_id", request.loan_id)
        wanted = rules.Wanted(
            tasks_pb2.DueClass.Name(request.due_class).removeprefix("DUE_CLASS_").lower(),
            request.plan,
            request.reason,
            evidence_from(request.evidence),
        )

        async def work(session: AsyncSession) -> tasks_pb2.DecideDispositionResponse:
            decided = await disposing.decide(
                session,
                request.county_code,
                loan_id,
                wanted,
                actor=actor,
                may_act_in=lambda area: require_own_area(caller, area),
                catalogue=self._catalogue,
            )
            return tasks_pb2.DecideDispositionResponse(disposition=_decided_to_proto(decided))

        return await once(
            self._database, caller, request, tasks_pb2.DecideDispositionResponse, work
        )

    async def ListDispositions(
        self, request: tasks_pb2.ListDispositionsRequest, context: Context
    ) -> tasks_pb2.ListDispositionsResponse:
        """Decisions on problem loans."""
        caller = caller_of(context)
        areas = areas_of(caller, request.county_code, request.area_code)
        size, start = wire.page_size(request.page_size), wire.page_offset(request.page_token)
        async with self._database.transaction(caller) as session:
            rows = await issue_store.list_dispositions(
                session,
                request.county_code,
                areas=areas,
                lender_id=lender_of(caller),
                loan_id=_id_or_none("loan_id", request.loan_id),
                start=start,
                limit=size + 1,
            )
        page, token = wire.page_from(rows, start, size)
        return tasks_pb2.ListDispositionsResponse(
            dispositions=[_decided_to_proto(each) for each in page], next_page_token=token
        )

    async def ListProblemLoans(
        self, request: tasks_pb2.ListProblemLoansRequest, context: Context
    ) -> tasks_pb2.ListProblemLoansResponse:
        """Loans that are overdue or non-performing, and what was done about them."""
        caller = caller_of(context)
        areas = areas_of(caller, request.county_code, request.area_code)
        size, start = wire.page_size(request.page_size), wire.page_offset(request.page_token)
        async with self._database.transaction(caller) as session:
            rows = await issue_store.list_problems(
                session,
                request.county_code,
                areas=areas,
                lender_id=lender_of(caller),
                undecided_only=request.undecided_only,
                start=start,
                limit=size + 1,
            )
        page, token = wire.page_from(rows, start, size)
        return tasks_pb2.ListProblemLoansResponse(
            loans=[_problem_to_proto(each) for each in page], next_page_token=token
        )

    async def ListDueDiligence(
        self, request: tasks_pb2.ListDueDiligenceRequest, context: Context
    ) -> tasks_pb2.ListDueDiligenceResponse:
        """What an officer did, or who did what on a loan."""
        caller = caller_of(context)
        county = request.county_code
        areas = areas_of(caller, county, "")
        if not (request.person_id or request.loan_id):
            rule = "one of person_id and loan_id is given"
            raise invalid_field("OFFICER_OR_LOAN_NEEDED", "person_id", "", rule, "须指定人员或贷款")
        size, start = wire.page_size(request.page_size), wire.page_offset(request.page_token)
        exempts: list[str] = []
        async with self._database.transaction(caller) as session:
            if request.loan_id:
                loan = await own_loan(session, county, request.loan_id, caller)
                clause = self._catalogue.terms(county, loan.programme).loans.due_diligence
                exempts = list(clause.exempts) if clause else []
            rows = await issue_store.list_done(
                session,
                county,
                areas=areas,
                lender_id=lender_of(caller),
                person_id=request.person_id,
                loan_id=_id_or_none("loan_id", request.loan_id),
                start=start,
                limit=size + 1,
            )
        page, token = wire.page_from(rows, start, size)
        return tasks_pb2.ListDueDiligenceResponse(
            records=[_duty_to_proto(each) for each in page],
            next_page_token=token,
            exempts=exempts,
        )
