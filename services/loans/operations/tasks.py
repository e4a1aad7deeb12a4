"""Loans: tasks after the loan: opened at the day close and by events, owned, signed, closed."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import business_day, ids, outbox
from services.kernel.database import Database
from services.kernel.errors import Denied, NotFound
from services.kernel.outbox import OutgoingEvent
from services.kernel.values import replace
from services.loans import events_out, store
from services.loans.operations import issues
from services.loans.operations.shared import found
from services.loans.rules import tasks as rules
from services.loans.rules.issues import Issue
from services.loans.rules.lending import LENDER_ROLES, Actor, require_party
from services.loans.rules.standing import FREEZING
from services.loans.rules.tasks import (
    Duty,
    Evidence,
    OverdueFigures,
    Parties,
    Plan,
    Reach,
    StepKind,
    Subject,
    Task,
    TaskKind,
    TaskStep,
)
from services.loans.store import tasks as task_store
from services.programmes.loader import Catalogue
from services.programmes.schema.pack import Pack, split_ref
from services.programmes.schema.values import Organ

CHUNK_TASKS_MAX = 5_000
"""Tasks that one step opens, escalates or assigns."""

MayActIn = Callable[[str], None]


def parties_of(catalogue: Catalogue, county_code: str, programme: str) -> Parties:
    """Who takes part under a programme's version."""
    named: Mapping[str, Sequence[str]] = {}
    if programme in catalogue.ever_adopted(county_code):
        named = catalogue.parties(county_code, programme)
    own = {
        institution_id: each
        for institution_id, each in catalogue.institutions.items()
        if each.county_code == county_code
    }
    return Parties(named, own)


# --- opened by the day close ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Opening:
    """Under what tasks of a county are opened on a day."""

    county_code: str
    day: date
    programme: str
    parties: Parties

    def task(
        self,
        plan: Plan,
        subject: Subject,
        task_id: UUID,
        duties: Mapping[tuple[str, TaskKind], Duty],
    ) -> Task:
        return rules.task_of(
            plan,
            subject,
            task_id=task_id,
            county_code=self.county_code,
            programme=self.programme,
            day=self.day,
            parties=self.parties,
            duties=duties,
        )


async def work_day(db: Database, county_code: str, day: date, catalogue: Catalogue) -> None:
    """
    Open the day's tasks and escalate late ones, in chunks that commit one by one.

    A task is known by its key, so whoever comes after a kill goes on where it stopped.
    """
    wanted = _plans(catalogue, county_code, day)
    escalates = _escalates(catalogue, county_code, day)
    place: _Place | None = _Place()

    async def some(session: AsyncSession) -> tuple[_Place | None, bool]:
        left = place and await _open_some(session, county_code, wanted, place)
        # What no chunk of opened tasks fills goes with it: most days have little to do.
        late = escalates and not left and await _escalate(session, county_code, day, catalogue)
        return left, late

    more = bool(wanted) or escalates
    while more:
        place, late = await db.work(some)
        more = place is not None or late


def _plans(catalogue: Catalogue, county_code: str, day: date) -> list[tuple[_Opening, Plan]]:
    """Every task that the county's programmes ask for on a day."""
    in_force = {each.programme for each in catalogue.adoptions(county_code, day)}
    wanted: list[tuple[_Opening, Plan]] = []
    for programme in catalogue.ever_adopted(county_code):
        pack = catalogue.terms(county_code, programme).pack
        parties = parties_of(catalogue, county_code, programme)
        opening = _Opening(county_code, day, programme, parties)
        # What is about areas follows the version of the day, what is about loans their own.
        wanted += [
            (opening, plan)
            for plan in rules.plans(pack, day)
            if plan.reach is Reach.LOAN or programme in in_force
        ]
        if pack.loans and pack.loans.dispositions:
            wanted.append((opening, _disposing(pack, day)))
    return wanted


def _escalates(catalogue: Catalogue, county_code: str, day: date) -> bool:
    """Whether any task of the county may have somebody to hear of it."""
    packs = [
        catalogue.terms(county_code, each).pack for each in catalogue.ever_adopted(county_code)
    ]
    return any(
        (pack.loans and pack.loans.escalation) or any(p.chain for p in rules.plans(pack, day))
        for pack in packs
    )


def _disposing(pack: Pack, day: date) -> Plan:
    """A non-performing loan waits for its disposition, from its lender."""
    return Plan(
        TaskKind.DISPOSITION,
        TaskKind.DISPOSITION.value,
        Organ.LENDER,
        Reach.LOAN,
        day.isoformat(),
        day + timedelta(days=rules.within_days(pack)),
        rules.chain_of(pack, ()),
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the opening of a day's tasks stands: the plan, and its last loan that is done."""

    plan: int = 0
    after: UUID | None = None


async def _open_some(
    session: AsyncSession,
    county_code: str,
    wanted: Sequence[tuple[_Opening, Plan]],
    place: _Place,
) -> _Place | None:
    """Open a chunk of what lacks its task, plan by plan; where the next one goes on, if any."""
    known, villages = await _areas_known(session, county_code, wanted[place.plan :])
    room = CHUNK_TASKS_MAX
    found: list[tuple[_Opening, Plan, Subject]] = []
    left: _Place | None = None
    for number, (opening, plan) in enumerate(wanted[place.plan :], place.plan):
        if plan.reach is Reach.LOAN:
            after = place.after if number == place.plan else None
            subjects = await _loans(session, opening, plan, after, room)
        else:
            subjects = await _areas(session, opening, plan, known, villages)
        found += [(opening, plan, subject) for subject in subjects[:room]]
        if len(subjects) >= room:
            left = _Place(number, subjects[room - 1].loan_id)
            break
        room -= len(subjects)
    await _open(session, county_code, found)
    return left


async def _loans(
    session: AsyncSession, opening: _Opening, plan: Plan, after: UUID | None, limit: int
) -> list[Subject]:
    """Loans that still lack their task of a plan."""
    county_code, programme = opening.county_code, opening.programme
    if plan.kind is TaskKind.DISPOSITION:
        return await task_store.undisposed(session, county_code, programme, limit)
    return await task_store.loans_without(
        session,
        county_code,
        programme,
        plan.prefix,
        disbursed_since=plan.disbursed_since,
        after=after,
        limit=limit,
    )


async def _areas_known(
    session: AsyncSession, county_code: str, wanted: Sequence[tuple[_Opening, Plan]]
) -> tuple[set[str], list[str]]:
    """Of plans about areas: which of their tasks are there, and the villages if any is asked."""
    prefixes = {plan.prefix for _, plan in wanted if plan.reach is not Reach.LOAN}
    known = await task_store.known_keys(session, county_code, prefixes) if prefixes else set()
    by_village = any(plan.reach in (Reach.VILLAGE, Reach.TOWNSHIP) for _, plan in wanted)
    return known, await store.villages(session, county_code) if by_village else []


async def _areas(
    session: AsyncSession,
    opening: _Opening,
    plan: Plan,
    known: Collection[str],
    villages: Sequence[str],
) -> list[Subject]:
    """Areas, or lenders of the county, that still lack their task of a plan."""
    county_code, named = opening.county_code, opening.parties.named
    if plan.reach is Reach.COUNTY:
        subjects = [Subject(county_code)]
    elif plan.reach is Reach.LENDER:
        lenders = sorted({*named.get("lender", ()), *named.get("bank", ())})
        subjects = [Subject(county_code, lender_id=each) for each in lenders]
    elif plan.reach is Reach.VILLAGE:
        subjects = [Subject(each) for each in villages]
    else:
        subjects = [Subject(each) for each in sorted({village[:9] for village in villages})]
    lacking = [
        each for each in subjects if f"{plan.prefix}{each.lender_id}{each.area_code}" not in known
    ]
    if not lacking or not plan.only_while_overdue:
        return lacking
    overdue = await task_store.any_overdue(session, county_code, opening.programme, opening.day)
    return lacking if overdue else []


async def _open(
    session: AsyncSession, county_code: str, wanted: Sequence[tuple[_Opening, Plan, Subject]]
) -> None:
    """Open tasks; those that are there already are left as they are."""
    if not wanted:
        return
    duties = await task_store.duties(session, county_code)
    made = [
        opening.task(plan, subject, task_id, duties)
        for (opening, plan, subject), task_id in zip(wanted, ids.new_ids(len(wanted)), strict=True)
    ]
    new = await task_store.insert(session, made)
    await outbox.record(
        session, [events_out.task_opened(task) for task in made if task.task_id in new]
    )


async def _escalate(
    session: AsyncSession, county_code: str, day: date, catalogue: Catalogue
) -> bool:
    """The next of each chain hears of what is late."""
    late = await task_store.lock_late(session, county_code, day, CHUNK_TASKS_MAX)
    under: dict[str, tuple[Parties, int]] = {}
    changed: list[tuple[Task, TaskStep]] = []
    for task in late:
        if task.programme not in under:
            pack = catalogue.terms(county_code, task.programme).pack
            parties = parties_of(catalogue, county_code, task.programme)
            under[task.programme] = parties, rules.escalate_every_days(pack)
        parties, every_days = under[task.programme]
        changed.append(rules.escalate(task, day, every_days=every_days, parties=parties))
    events = [events_out.task_escalated(task, step) for task, step in changed]
    await _write(session, county_code, changed, events)
    # What one closes while we wait for it makes a chunk short, and more may be late behind it.
    return bool(late)


async def _write(
    session: AsyncSession,
    county_code: str,
    changed: Sequence[tuple[Task, TaskStep]],
    events: Sequence[OutgoingEvent],
) -> None:
    await task_store.save(session, [task for task, _ in changed])
    await task_store.add_steps(session, county_code, [step for _, step in changed])
    await outbox.record(session, events)


# --- opened by events -----------------------------------------------------------------------------


async def households_stand(
    session: AsyncSession,
    county_code: str,
    standings: Mapping[UUID, str],
    today: date,
    catalogue: Catalogue,
) -> None:
    """What households owe that were delisted, flagged or died is recovered: a task a loan."""
    causes = {who: FREEZING[status] for who, status in standings.items() if status in FREEZING}
    if not causes:
        return
    owed = await task_store.owed_by(session, county_code, list(causes))
    openings = {
        ref: _Opening(county_code, today, ref, parties_of(catalogue, county_code, ref))
        for ref in dict.fromkeys(ref for _, ref in owed)
    }
    wanted = []
    for subject, ref in owed:
        assert subject.household_id is not None
        pack = catalogue.terms(county_code, ref).pack
        plan = _recovering(pack, causes[subject.household_id], today)
        wanted.append((openings[ref], plan, subject))
    await _open(session, county_code, wanted)


def _recovering(pack: Pack, cause: str, day: date) -> Plan:
    chain = rules.chain_of(pack, (Organ.TOWNSHIP_STATION, Organ.COUNTY_CENTRE))
    due_on = day + timedelta(days=rules.within_days(pack))
    return Plan(
        TaskKind.RECOVERY, TaskKind.RECOVERY.value, Organ.LENDER, Reach.LOAN, cause, due_on, chain
    )


# --- owners and deputies --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wanted:
    """A task as somebody asks for it by hand."""

    kind: TaskKind
    loan_id: UUID | None
    area_code: str
    programme_id: str
    owner_id: str
    deputy_id: str
    due_on: date
    looks_at: tuple[str, ...]
    note: str


async def open_task(
    session: AsyncSession,
    county_code: str,
    wanted: Wanted,
    *,
    actor: Actor,
    may_act_in: MayActIn,
    catalogue: Catalogue,
) -> Task:
    """Open a task by hand, owned from the start by persons of the own institution."""
    today = await business_day.today(session, county_code)
    rules.by_hand(wanted.kind)
    institution = catalogue.institutions.get(actor.institution_id)
    rules.check_named(wanted.owner_id, wanted.deputy_id, institution, wanted.kind)
    rules.check_due("due_on", wanted.due_on, today)
    subject, programme = await _about(
        session, county_code, wanted, actor=actor, may_act_in=may_act_in, catalogue=catalogue
    )
    pack = catalogue.terms(county_code, programme).pack
    task_id = ids.new_id()
    chain = rules.chain_of(pack, ())
    task = Task(
        county_code=county_code,
        task_id=task_id,
        version=1,
        kind=wanted.kind,
        clause_id="",
        key=f"by_hand:{task_id}",
        programme=programme,
        area_code=subject.area_code,
        loan_id=subject.loan_id,
        household_id=subject.household_id,
        lender_id=subject.lender_id,
        organ=actor.role,
        institution_id=actor.institution_id,
        owner_id=wanted.owner_id,
        deputy_id=wanted.deputy_id,
        opened_on=today,
        due_on=wanted.due_on,
        chain=chain,
        cause=wanted.note,
        looks_at=wanted.looks_at,
        next_escalation_on=wanted.due_on if chain else None,
    )
    await task_store.insert(session, [task])
    await outbox.record(session, [events_out.task_opened(task)])
    return task


async def _about(
    session: AsyncSession,
    county_code: str,
    wanted: Wanted,
    *,
    actor: Actor,
    may_act_in: MayActIn,
    catalogue: Catalogue,
) -> tuple[Subject, str]:
    """A loan or an area, and the version that holds for it."""
    if wanted.loan_id is not None:
        loan = await store.find_loan(session, county_code, wanted.loan_id)
        loan = found({} if loan is None else {loan.loan_id: loan}, wanted.loan_id)
        require_party(loan, actor, may_act_in)
        subject = Subject(loan.area_code, loan.loan_id, loan.household_id, loan.lender_id)
        return subject, loan.programme
    area = wanted.area_code or county_code
    may_act_in(area)
    today = await business_day.today(session, county_code)
    lender = actor.institution_id if actor.role in LENDER_ROLES else ""
    in_force = catalogue.in_force(county_code, wanted.programme_id, today)
    return Subject(area, lender_id=lender), in_force


async def assign_duty(
    session: AsyncSession,
    county_code: str,
    kind: TaskKind,
    *,
    owner_id: str,
    deputy_id: str,
    actor: Actor,
    catalogue: Catalogue,
) -> int:
    """Name owner and deputy for an institution's tasks of a kind; how many open ones they got."""
    today = await business_day.today(session, county_code)
    institution = catalogue.institutions.get(actor.institution_id)
    rules.check_named(owner_id, deputy_id, institution, kind)
    duty = Duty(actor.institution_id, kind, owner_id, deputy_id, today, actor.person_id)
    await task_store.add_duty(session, county_code, duty)
    unowned = await task_store.lock_unowned(
        session, county_code, actor.institution_id, kind, CHUNK_TASKS_MAX
    )
    changed = [rules.assign(task, owner_id, deputy_id, actor=actor, day=today) for task in unowned]
    await _write(
        session, county_code, changed, [events_out.task_assigned(t, today) for t, _ in changed]
    )
    return len(changed)


async def _held(
    session: AsyncSession, county_code: str, task_id: UUID, actor: Actor, may_act_in: MayActIn
) -> Task:
    """A task, held, that the actor has to do with; another's is as good as none."""
    held = await task_store.lock(session, county_code, [task_id])
    if not held:
        raise NotFound("TASK_NOT_FOUND", f"no task {task_id}", message_zh="无此任务")
    (task,) = held
    if actor.role in LENDER_ROLES:
        if actor.institution_id not in (task.lender_id, task.institution_id):
            raise NotFound("TASK_NOT_FOUND", f"no task {task_id}", message_zh="无此任务")
    else:
        may_act_in(task.area_code)
    return task


async def assign_task(
    session: AsyncSession,
    county_code: str,
    task_id: UUID,
    *,
    owner_id: str,
    deputy_id: str,
    institution_id: str,
    actor: Actor,
    may_act_in: MayActIn,
    catalogue: Catalogue,
) -> Task:
    """Give a task another owner and deputy; the county centre also another institution."""
    today = await business_day.today(session, county_code)
    task = await _held(session, county_code, task_id, actor, may_act_in)
    to = institution_id or task.institution_id or actor.institution_id
    if to != actor.institution_id and actor.role != "county_centre":
        raise Denied(
            "NOT_THE_INSTITUTION",
            f"{to or 'nobody'} has this task",
            message_zh="该任务不属于本机构",
        )
    institution = catalogue.institutions.get(to)
    rules.check_named(owner_id, deputy_id, institution, task.kind)
    now, step = rules.assign(
        replace(task, institution_id=to), owner_id, deputy_id, actor=actor, day=today
    )
    await _write(session, county_code, [(now, step)], [events_out.task_assigned(now, today)])
    return now


# --- signed, reported, closed ---------------------------------------------------------------------


async def _finish(
    session: AsyncSession,
    taken: tuple[Task, TaskStep],
    events: list[OutgoingEvent],
    catalogue: Catalogue,
) -> list[Issue]:
    """Write a step; what it found becomes issues of its loan or area."""
    task, step = taken
    registered = (
        await issues.register_found(session, task.county_code, task, step, catalogue=catalogue)
        if step.findings
        else []
    )
    await _write(session, task.county_code, [taken], events)
    return registered


async def close_task(
    session: AsyncSession,
    county_code: str,
    task_id: UUID,
    *,
    evidence: Sequence[Evidence],
    note: str,
    findings: Sequence[str],
    actor: Actor,
    may_act_in: MayActIn,
    catalogue: Catalogue,
) -> tuple[Task, list[Issue]]:
    """Close a task with its evidence."""
    today = await business_day.today(session, county_code)
    task = await _held(session, county_code, task_id, actor, may_act_in)
    now, step = rules.close(
        task, actor=actor, day=today, note=note, evidence=evidence, findings=findings
    )
    events = [events_out.task_closed(now, step)]
    return now, await _finish(session, (now, step), events, catalogue)


async def sign_task(
    session: AsyncSession,
    county_code: str,
    task_id: UUID,
    *,
    evidence: Sequence[Evidence],
    note: str,
    findings: Sequence[str],
    actor: Actor,
    may_act_in: MayActIn,
    catalogue: Catalogue,
) -> tuple[Task, list[Issue]]:
    """Sign the next level; the last one closes the task."""
    today = await business_day.today(session, county_code)
    task = await _held(session, county_code, task_id, actor, may_act_in)
    steps = await task_store.steps_of(session, county_code, task_id)
    signed, step = rules.sign(
        task,
        actor=actor,
        signers={each.person_id for each in steps if each.kind is StepKind.SIGNED},
        parties=parties_of(catalogue, county_code, task.programme),
        day=today,
        note=note,
        evidence=evidence,
        findings=findings,
    )
    events = [events_out.task_signed(signed, step)]
    if signed.closed_on is not None:
        signed = replace(signed, version=signed.version + 1)
        events.append(events_out.task_closed(signed, step))
    return signed, await _finish(session, (signed, step), events, catalogue)


async def report_daily(
    session: AsyncSession,
    county_code: str,
    task_id: UUID,
    *,
    note: str,
    evidence: Sequence[Evidence],
    actor: Actor,
    may_act_in: MayActIn,
) -> tuple[Task, OverdueFigures]:
    """File a daily report with the platform's figures, which nobody types in."""
    today = await business_day.today(session, county_code)
    task = await _held(session, county_code, task_id, actor, may_act_in)
    figures = await task_store.overdue_figures(
        session,
        county_code,
        areas=[task.area_code],
        lender_id="",
        programme_id=split_ref(task.programme)[0],
        as_of=today,
    )
    now, step = rules.report(
        task, actor=actor, day=today, note=note, evidence=evidence, figures=figures
    )
    reported = events_out.overdue_reported(now, step)
    now = replace(now, version=now.version + 1)
    await _write(session, county_code, [(now, step)], [reported, events_out.task_closed(now, step)])
    return now, figures


async def disposed(
    session: AsyncSession, county_code: str, loan_id: UUID, *, actor: Actor, day: date,
    note: str, evidence: Sequence[Evidence],
) -> None:  # fmt: skip
    """A disposition closes the task that waited for it, whoever decided it."""
    waiting = await task_store.lock_open_of(session, county_code, loan_id, TaskKind.DISPOSITION)
    changed = [
        rules.disposed(task, actor=actor, day=day, note=note, evidence=evidence) for task in waiting
    ]
    await _write(session, county_code, changed, [events_out.task_closed(t, s) for t, s in changed])


async def overdue_report(
    session: AsyncSession,
    county_code: str,
    *,
    areas: Sequence[str],
    lender_id: str,
    programme_id: str,
) -> OverdueFigures:
    """What fell due, was collected and is overdue, as of the business date."""
    today = await business_day.today(session, county_code)
    return await task_store.overdue_figures(
        session,
        county_code,
        areas=areas,
        lender_id=lender_id,
        programme_id=programme_id,
        as_of=today,
    )
