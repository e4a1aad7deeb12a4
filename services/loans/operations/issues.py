"""Loans: issues after the loan: found by the compliance list and by persons, until crossed off."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import business_day, ids, outbox
from services.kernel.database import Database
from services.kernel.errors import Denied, NotFound, Refused
from services.kernel.outbox import OutgoingEvent
from services.loans import events_out, store
from services.loans.operations.shared import found
from services.loans.rules import issues as rules
from services.loans.rules import tasks as task_rules
from services.loans.rules.issues import Done, Issue, Looked
from services.loans.rules.lending import LENDER_ROLES, Actor, require_party
from services.loans.rules.tasks import Evidence, Task, TaskStep
from services.loans.store import issues as issue_store
from services.programmes.issues import Compliance, IssueState
from services.programmes.loader import Catalogue
from services.programmes.schema.pack import Pack
from services.programmes.terms import Terms

CHUNK_LOANS_MAX = 5_000

MayActIn = Callable[[str], None]


# --- found ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _About:
    """What an issue is about."""

    programme: str
    area_code: str
    loan_id: UUID | None = None
    household_id: UUID | None = None
    lender_id: str = ""


def _issue(
    county_code: str,
    about: _About,
    pack: Pack,
    code: str,
    day: date,
    *,
    note: str,
    ledger: str = "",
    task_id: UUID | None = None,
) -> Issue:
    kept = rules.ledger_of(pack, code, ledger)
    return Issue(
        county_code=county_code,
        issue_id=ids.new_id(),
        version=1,
        ledger=kept.id if kept else "",
        code=code,
        programme=about.programme,
        area_code=about.area_code,
        loan_id=about.loan_id,
        household_id=about.household_id,
        lender_id=about.lender_id,
        state=IssueState.REGISTERED,
        registered_on=day,
        due_on=rules.deadline(kept, day),
        note=note,
        task_id=task_id,
    )


async def _register(
    session: AsyncSession,
    county_code: str,
    wanted: Sequence[Issue],
    day: date,
    *,
    institution_id: str = "",
    person_id: str = "",
    evidence: Sequence[Evidence] = (),
) -> list[Issue]:
    """Write issues that their loans do not have open yet."""
    new = await issue_store.insert(session, wanted)
    registered = [issue for issue in wanted if issue.issue_id in new]
    done = [
        Done(
            issue.issue_id,
            1,
            "registered",
            day,
            institution_id,
            person_id,
            issue.note,
            tuple(evidence),
        )
        for issue in registered
    ]
    await issue_store.add_steps(session, county_code, done)
    await outbox.record(session, [events_out.issue_registered(issue) for issue in registered])
    return registered


async def work_day(db: Database, county_code: str, day: date, catalogue: Catalogue) -> None:
    """
    Hold every loan against its programme's compliance list and its ledger of overdue loans.

    Chunks commit one by one; an issue that a loan has open already is not registered again.
    """
    for programme in catalogue.ever_adopted(county_code):
        terms = catalogue.terms(county_code, programme)
        listed, overdue = rules.looks(terms.pack)
        if not listed and not overdue:
            continue
        after: UUID | None = None
        while True:
            after = await db.work(
                lambda session, after=after, terms=terms, listed=listed: _look(  # type: ignore[misc]
                    session, county_code, day, terms, overdue_only=not listed, after=after
                )
            )
            if after is None:
                break


async def _look(
    session: AsyncSession,
    county_code: str,
    day: date,
    terms: Terms,
    *,
    overdue_only: bool,
    after: UUID | None,
) -> UUID | None:
    """The next chunk; the last loan of it, None at the end."""
    loans = await issue_store.looked(
        session,
        county_code,
        day,
        programme=terms.ref,
        overdue_only=overdue_only,
        after=after,
        limit=CHUNK_LOANS_MAX,
    )
    wanted = [
        _issue(county_code, _of(loan), terms.pack, code, day, note="")
        for loan in loans
        for code in rules.found(loan, terms)
    ]
    if wanted:
        await _register(session, county_code, wanted, day)
    return loans[-1].loan_id if len(loans) == CHUNK_LOANS_MAX else None


def _of(loan: Looked) -> _About:
    return _About(loan.programme, loan.area_code, loan.loan_id, loan.household_id, loan.lender_id)


async def register_found(
    session: AsyncSession,
    county_code: str,
    task: Task,
    step: TaskStep,
    *,
    catalogue: Catalogue,
) -> list[Issue]:
    """What a task found is registered, about its loan or its area."""
    pack = catalogue.terms(county_code, task.programme).pack
    about = _About(task.programme, task.area_code, task.loan_id, task.household_id, task.lender_id)
    wanted = [
        _issue(county_code, about, pack, code, step.taken_on, note=step.note, task_id=task.task_id)
        for code in step.findings
    ]
    return await _register(
        session,
        county_code,
        wanted,
        step.taken_on,
        institution_id=step.institution_id,
        person_id=step.person_id,
        evidence=step.evidence,
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """An issue as somebody registers it."""

    loan_id: UUID | None
    area_code: str
    programme_id: str
    code: str
    ledger: str
    note: str
    evidence: tuple[Evidence, ...]


async def register(
    session: AsyncSession,
    county_code: str,
    wanted: Wanted,
    *,
    actor: Actor,
    may_act_in: MayActIn,
    catalogue: Catalogue,
) -> Issue:
    """Register an issue by hand."""
    today = await business_day.today(session, county_code)
    if wanted.loan_id is not None:
        loan = await store.find_loan(session, county_code, wanted.loan_id)
        loan = found({} if loan is None else {loan.loan_id: loan}, wanted.loan_id)
        require_party(loan, actor, may_act_in)
        about = _About(
            loan.programme, loan.area_code, loan.loan_id, loan.household_id, loan.lender_id
        )
    else:
        area = wanted.area_code or county_code
        may_act_in(area)
        lender = actor.institution_id if actor.role in LENDER_ROLES else ""
        programme = catalogue.in_force(county_code, wanted.programme_id, today)
        about = _About(programme, area, lender_id=lender)
    pack = catalogue.terms(county_code, about.programme).pack
    issue = _issue(
        county_code, about, pack, wanted.code, today, note=wanted.note, ledger=wanted.ledger
    )
    registered = await _register(
        session,
        county_code,
        [issue],
        today,
        institution_id=actor.institution_id,
        person_id=actor.person_id,
        evidence=wanted.evidence,
    )
    if not registered:
        raise Refused(
            "ISSUE_OPEN",
            f"the loan has {wanted.code} open already",
            message_zh="该问题已登记,尚未销号",
        )
    return issue


async def check(
    session: AsyncSession, county_code: str, loan_id: UUID, catalogue: Catalogue
) -> tuple[Compliance, tuple[str, ...]]:
    """How a loan stands against its programme's list now, and which checks were made."""
    today = await business_day.today(session, county_code)
    loans = await issue_store.looked(session, county_code, today, loan_ids=[loan_id])
    if not loans:
        raise Refused(
            "LOAN_NOT_ACTIVE", "the loan is not paid out and owed", message_zh="贷款未在还款期"
        )
    (loan,) = loans
    terms = catalogue.terms(county_code, loan.programme)
    checks = tuple(each.id for each in terms.monitoring.compliance)
    if not checks:
        raise Refused(
            "PROGRAMME_CLAUSE_MISSING",
            f"{terms.ref} has no compliance list",
            message_zh="方案无合规核查清单",
            facts={"key": "monitoring.compliance"},
        )
    return rules.compliance(loan, terms), checks


# --- until crossed off ----------------------------------------------------------------------------


def _issue_not_found(issue_id: UUID) -> NotFound:
    return NotFound("ISSUE_NOT_FOUND", f"no issue {issue_id}", message_zh="无此问题")


async def _held(
    session: AsyncSession, county_code: str, issue_id: UUID, actor: Actor, may_act_in: MayActIn
) -> Issue:
    """An issue, held, that the actor has to do with; another's is as good as none."""
    issue = await issue_store.lock(session, county_code, issue_id)
    foreign = (
        issue is not None and actor.role in LENDER_ROLES and issue.lender_id != actor.institution_id
    )
    if issue is None or foreign:
        raise _issue_not_found(issue_id)
    if actor.role not in LENDER_ROLES:
        try:
            may_act_in(issue.area_code)
        except Denied as error:
            raise _issue_not_found(issue_id) from error
    return issue


async def _write(
    session: AsyncSession, county_code: str, issue: Issue, done: Done, event: OutgoingEvent
) -> Issue:
    await issue_store.save(session, [issue])
    await issue_store.add_steps(session, county_code, [done])
    await outbox.record(session, [event])
    return issue


async def set_deadline(
    session: AsyncSession,
    county_code: str,
    issue_id: UUID,
    *,
    due_on: date,
    note: str,
    actor: Actor,
    may_act_in: MayActIn,
) -> Issue:
    """Set the deadline that the programme leaves open."""
    today = await business_day.today(session, county_code)
    issue = await _held(session, county_code, issue_id, actor, may_act_in)
    task_rules.check_due("due_on", due_on, today)
    now, done = rules.set_deadline(issue, due_on, actor=actor, day=today, note=note)
    event = events_out.issue_deadline_set(now, today)
    return await _write(session, county_code, now, done, event)


async def rectify(
    session: AsyncSession,
    county_code: str,
    issue_id: UUID,
    *,
    note: str,
    evidence: Sequence[Evidence],
    actor: Actor,
    may_act_in: MayActIn,
) -> Issue:
    """Say that an issue is rectified."""
    today = await business_day.today(session, county_code)
    issue = await _held(session, county_code, issue_id, actor, may_act_in)
    now, done = rules.rectify(issue, actor=actor, day=today, note=note, evidence=evidence)
    event = events_out.issue_rectified(now, done)
    return await _write(session, county_code, now, done, event)


async def send_back(
    session: AsyncSession,
    county_code: str,
    issue_id: UUID,
    *,
    note: str,
    actor: Actor,
    may_act_in: MayActIn,
) -> Issue:
    """Send an issue back."""
    today = await business_day.today(session, county_code)
    issue = await _held(session, county_code, issue_id, actor, may_act_in)
    now, done = rules.send_back(issue, actor=actor, day=today, note=note)
    return await _write(session, county_code, now, done, events_out.issue_sent_back(now, today))


async def cross_off(
    session: AsyncSession,
    county_code: str,
    issue_id: UUID,
    *,
    note: str,
    actor: Actor,
    may_act_in: MayActIn,
    catalogue: Catalogue,
) -> Issue:
    """Cross an issue off, unless the books still show it."""
    today = await business_day.today(session, county_code)
    issue = await _held(session, county_code, issue_id, actor, may_act_in)
    still = await _still_found(session, county_code, issue, today, catalogue)
    now, done = rules.cross_off(issue, actor=actor, day=today, note=note, still_found=still)
    return await _write(session, county_code, now, done, events_out.issue_closed(now))


async def _still_found(
    session: AsyncSession, county_code: str, issue: Issue, today: date, catalogue: Catalogue
) -> bool:
    if issue.loan_id is None:
        return False
    loans = await issue_store.looked(session, county_code, today, loan_ids=[issue.loan_id])
    terms = catalogue.terms(county_code, issue.programme)
    return any(rules.still_found(loan, terms, issue.code) for loan in loans)
