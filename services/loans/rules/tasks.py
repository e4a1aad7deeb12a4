"""Loans: tasks after the loan: what a programme asks for, who has it, who may close it. Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from uuid import UUID

from services.kernel.errors import Denied, Refused, invalid_field
from services.kernel.values import replace
from services.loans.rules.chain import INSTITUTIONS, LENDER_ROLES, RECORDERS, Actor
from services.programmes import collection, issues
from services.programmes.schema.deployment import Institution
from services.programmes.schema.pack import Pack
from services.programmes.schema.reports import Deputies, Grain, Report, ReportKind
from services.programmes.schema.values import Every, Open, Organ

WITHIN_DAYS = 30
"""How long a task may take where its programme says nothing; `loans.task_terms` says otherwise."""
ESCALATE_EVERY_DAYS = 7
"""How long the next of a chain has before it goes further, where the programme says nothing."""


class TaskKind(StrEnum):
    """What a task is about."""

    PURPOSE_VERIFICATION = "purpose_verification"
    SELF_CHECK = "self_check"
    CROSS_CHECK = "cross_check"
    VISIT = "visit"
    POST_LOAN_CHECK = "post_loan_check"
    DAILY_REPORT = "daily_report"
    RECOVERY = "recovery"
    OFF_SITE_CHECK = "off_site_check"
    EVALUATION = "evaluation"
    DISPOSITION = "disposition"


class StepKind(StrEnum):
    """What was done with a task."""

    ASSIGNED = "assigned"
    SIGNED = "signed"
    REPORTED = "reported"
    ESCALATED = "escalated"
    CLOSED = "closed"


BY_HAND = frozenset(
    {TaskKind.VISIT, TaskKind.POST_LOAN_CHECK, TaskKind.CROSS_CHECK, TaskKind.SELF_CHECK}
    | {TaskKind.OFF_SITE_CHECK, TaskKind.EVALUATION}
)
"""What a person may open: checks and visits whose rhythm a programme leaves open."""

CHECKS: Mapping[ReportKind, TaskKind] = {
    ReportKind.SELF_CHECK: TaskKind.SELF_CHECK,
    ReportKind.POST_LOAN_CHECK: TaskKind.POST_LOAN_CHECK,
    ReportKind.CROSS_CHECK: TaskKind.CROSS_CHECK,
    ReportKind.OFF_SITE_CHECK: TaskKind.OFF_SITE_CHECK,
    ReportKind.EVALUATION: TaskKind.EVALUATION,
}

TOWNSHIP_ORGANS = frozenset({Organ.TOWNSHIP_STATION, Organ.TOWNSHIP_GOVERNMENT})
VILLAGE_ORGANS = frozenset(
    {Organ.VILLAGE_DEPARTMENT, Organ.VILLAGE_COMMITTEE, Organ.VILLAGE_REVIEW_GROUP}
    | {Organ.VILLAGE_RISK_GROUP, Organ.VILLAGE_WORK_TEAM, Organ.VILLAGE_COUNCIL}
    | {Organ.VILLAGE_OFFICIAL, Organ.FIRST_SECRETARY, Organ.ASSIGNED_HELPER}
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A photo or a document, kept elsewhere: what it is, where, its hash."""

    kind: str
    reference: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Task:
    """One task."""

    county_code: str
    task_id: UUID
    version: int
    kind: TaskKind
    clause_id: str
    key: str
    """What makes it the same task: a clause, a period, and what it is about."""
    programme: str
    area_code: str
    loan_id: UUID | None
    household_id: UUID | None
    lender_id: str
    organ: str
    institution_id: str
    owner_id: str
    deputy_id: str
    opened_on: date
    due_on: date
    levels: tuple[str, ...] = ()
    signed: int = 0
    chain: tuple[str, ...] = ()
    """Who hears when it is late, in order."""
    cause: str = ""
    looks_at: tuple[str, ...] = ()
    closed_on: date | None = None
    escalated_to: str = ""
    escalations: int = 0
    next_escalation_on: date | None = None
    steps: int = 0


@dataclass(frozen=True, slots=True)
class OverdueFigures:
    """Loans whose maturity has passed: what fell due and what was paid of it."""

    as_of: date
    due_count: int
    due_fen: int
    collected_count: int
    collected_fen: int


@dataclass(frozen=True, slots=True)
class TaskStep:
    """One thing done with a task."""

    task_id: UUID
    number: int
    kind: StepKind
    taken_on: date
    institution_id: str = ""
    person_id: str = ""
    organ: str = ""
    note: str = ""
    evidence: tuple[Evidence, ...] = ()
    findings: tuple[str, ...] = ()
    figures: OverdueFigures | None = None
    in_time: bool = True


@dataclass(frozen=True, slots=True)
class Duty:
    """Who owns an institution's tasks of a kind."""

    institution_id: str
    kind: TaskKind
    owner_id: str
    deputy_id: str
    assigned_on: date
    assigned_by: str


@dataclass(frozen=True, slots=True)
class Escalation:
    """Somebody heard that a task was late."""

    task: Task
    organ: str
    institution_id: str
    escalated_on: date
    number: int


@dataclass(frozen=True, slots=True)
class Subject:
    """What a task is about: a loan, or an area."""

    area_code: str
    loan_id: UUID | None = None
    household_id: UUID | None = None
    lender_id: str = ""


class Reach(StrEnum):
    """One task for each of these."""

    LOAN = "loan"
    LENDER = "lender"
    VILLAGE = "village"
    TOWNSHIP = "township"
    COUNTY = "county"


@dataclass(frozen=True, slots=True)
class Plan:
    """What one clause asks for on a day: tasks of a kind for all of a reach, due on a day."""

    kind: TaskKind
    clause_id: str
    organ: Organ
    reach: Reach
    period: str
    due_on: date
    chain: tuple[str, ...]
    levels: tuple[str, ...] = ()
    looks_at: tuple[str, ...] = ()
    disbursed_since: date | None = None
    only_while_overdue: bool = False

    @property
    def prefix(self) -> str:
        """The beginning of the keys of its tasks; what it is about follows."""
        return f"{self.clause_id}:{self.organ.value}:{self.period}:"


@dataclass(frozen=True, slots=True)
class Parties:
    """Who takes part in a county: by the adoption's words, and all institutions there are."""

    named: Mapping[str, Sequence[str]]
    institutions: Mapping[str, Institution]

    def _covers(self, institution: Institution, area_code: str) -> int:
        """How closely an institution's areas fit an area; 0 when they do not hold it."""
        return max((len(a) for a in institution.areas if area_code.startswith(a)), default=0)

    def nearest(self, candidates: Iterable[str], area_code: str) -> str:
        """The institution whose areas fit most closely; empty when none holds the area."""
        fitting = [
            (-closeness, each)
            for each in candidates
            if each in self.institutions
            and (closeness := self._covers(self.institutions[each], area_code))
        ]
        return min(fitting)[1] if fitting else ""

    def of_role(self, role: str, county_code: str) -> list[str]:
        """The county's institutions of a role."""
        return [
            each.institution_id
            for each in self.institutions.values()
            if each.role.value == role and each.county_code == county_code
        ]

    def responsible(self, organ: Organ, subject: Subject, *, cross: bool = False) -> str:
        """
        Which institution a duty is; empty when there is none.

        What organs do that are no institutions, the nearest office records on paper.
        """
        county_code = subject.area_code[:6]
        if organ is Organ.LENDER:
            return self._lender(subject, cross=cross)
        named = [each for each in self.named.get(organ.value, ()) if each]
        found = self.nearest(named, subject.area_code) or (named[0] if len(named) == 1 else "")
        if found:
            return found
        roles = [organ.value] if organ.value in INSTITUTIONS else sorted(RECORDERS)
        candidates = [each for role in roles for each in self.of_role(role, county_code)]
        return self.nearest(candidates, subject.area_code)

    def _lender(self, subject: Subject, *, cross: bool) -> str:
        if not cross:
            return subject.lender_id
        lenders = sorted({*self.named.get("lender", ()), *self.named.get("bank", ())})
        others = [each for each in lenders if each != subject.lender_id]
        after = [each for each in others if each > subject.lender_id]
        return (after or others or [subject.lender_id])[0]


# --- what a programme asks for --------------------------------------------------------------------


def period_of(every: Every, day: date) -> tuple[str, date]:
    """The period that a day lies in, and its last day; an event has none."""
    if every is Every.EVENT:
        return "", day
    if every is Every.DAY:
        return day.isoformat(), day
    if every is Every.WEEK:
        year, week, weekday = day.isocalendar()
        return f"{year}-W{week:02d}", day + timedelta(days=7 - weekday)
    months = {Every.MONTH: 1, Every.QUARTER: 3, Every.YEAR: 12}[every]
    number = (day.month - 1) // months
    last = (number + 1) * months
    first_after = date(day.year + 1, 1, 1) if last == 12 else date(day.year, last + 1, 1)
    name = {Every.MONTH: f"{day.year}-{day.month:02d}", Every.QUARTER: f"{day.year}-Q{number + 1}"}
    return name.get(every, str(day.year)), first_after - timedelta(days=1)


def reach_of(grain: Grain, organ: Organ) -> Reach | None:
    """What a check is about; None for what is looked after elsewhere."""
    said = {
        Grain.LOAN: Reach.LOAN,
        Grain.BANK: Reach.LENDER,
        Grain.VILLAGE: Reach.VILLAGE,
        Grain.TOWNSHIP: Reach.TOWNSHIP,
        Grain.COUNTY: Reach.COUNTY,
    }
    if grain is not Grain.PROGRAMME:
        return said.get(grain)
    if organ in VILLAGE_ORGANS:
        return Reach.VILLAGE
    if organ in TOWNSHIP_ORGANS:
        return Reach.TOWNSHIP
    return Reach.LENDER if organ is Organ.LENDER else Reach.COUNTY


def within_days(pack: Pack) -> int:
    """How long a task may take."""
    terms = pack.loans.task_terms if pack.loans else None
    said = terms.within_days if terms else None
    return WITHIN_DAYS if said is None or isinstance(said, Open) else said


def escalate_every_days(pack: Pack) -> int:
    """How long the next of a chain has."""
    terms = pack.loans.task_terms if pack.loans else None
    said = terms.escalate_every_days if terms else None
    return ESCALATE_EVERY_DAYS if said is None or isinstance(said, Open) else max(1, said)


def chain_of(pack: Pack, otherwise: Sequence[Organ]) -> tuple[str, ...]:
    """Who hears of a late task: the programme's chain, or whom the clause itself names."""
    chain = pack.loans.escalation if pack.loans else ()
    return tuple(organ.value for organ in (chain or otherwise))


def plans(pack: Pack, day: date) -> list[Plan]:
    """Every task that a programme asks for on a day; an open value asks for nothing yet."""
    return [*_of_loans(pack, day), *_of_reports(pack, day)]


def _of_loans(pack: Pack, day: date) -> Iterator[Plan]:
    rules = pack.loans
    if rules is None:
        return
    due_on = day + timedelta(days=within_days(pack))
    if (use := rules.purpose_verification) is not None and use.signed_by:
        yield Plan(
            TaskKind.PURPOSE_VERIFICATION,
            TaskKind.PURPOSE_VERIFICATION.value,
            use.signed_by[0],
            Reach.LOAN,
            "",
            due_on,
            chain_of(pack, use.signed_by[1:]),
            levels=tuple(organ.value for organ in use.signed_by),
            disbursed_since=use.disbursed_since,
        )
    for check in rules.post_loan_checks:
        period, last = period_of(check.every or Every.EVENT, day)
        for organ in check.by:
            yield Plan(
                TaskKind.POST_LOAN_CHECK,
                check.id,
                organ,
                Reach.LOAN,
                period,
                last if period else due_on,
                chain_of(pack, ()),
                looks_at=tuple(finding.value for finding in check.finds),
            )


def _of_reports(pack: Pack, day: date) -> Iterator[Plan]:
    for report in pack.monitoring.reports if pack.monitoring else ():
        if isinstance(report.every, Open) or isinstance(report.by, Open):
            continue
        if report.only_while_overdue:
            yield from _daily(pack, report, report.by, day)
            continue
        if report.kind not in CHECKS:
            continue
        period, last = period_of(report.every, day)
        due_on = last if period else day + timedelta(days=within_days(pack))
        for organ in report.by:
            if (reach := reach_of(report.per, organ)) is not None:
                yield Plan(
                    CHECKS[report.kind],
                    report.id,
                    organ,
                    reach,
                    period,
                    due_on,
                    chain_of(pack, report.to),
                    looks_at=tuple(report.looks_at),
                )


def _daily(pack: Pack, report: Report, by: Sequence[Organ], day: date) -> Iterator[Plan]:
    for organ in by:
        yield Plan(
            TaskKind.DAILY_REPORT,
            report.id,
            organ,
            Reach.COUNTY,
            day.isoformat(),
            day + timedelta(days=1),
            chain_of(pack, report.to),
            only_while_overdue=True,
        )


def task_of(
    plan: Plan,
    subject: Subject,
    *,
    task_id: UUID,
    county_code: str,
    programme: str,
    day: date,
    parties: Parties,
    duties: Mapping[tuple[str, TaskKind], Duty],
) -> Task:
    """One task of a plan, with those who have the duty."""
    institution_id = parties.responsible(
        plan.organ, subject, cross=plan.kind is TaskKind.CROSS_CHECK
    )
    duty = duties.get((institution_id, plan.kind))
    about = str(subject.loan_id) if subject.loan_id else f"{subject.lender_id}{subject.area_code}"
    return Task(
        county_code=county_code,
        task_id=task_id,
        version=1,
        kind=plan.kind,
        clause_id=plan.clause_id,
        key=f"{plan.prefix}{about}",
        programme=programme,
        area_code=subject.area_code,
        loan_id=subject.loan_id,
        household_id=subject.household_id,
        lender_id=subject.lender_id,
        organ=plan.organ.value,
        institution_id=institution_id,
        owner_id=duty.owner_id if duty else "",
        deputy_id=duty.deputy_id if duty else "",
        opened_on=day,
        due_on=plan.due_on,
        levels=plan.levels,
        chain=plan.chain,
        cause=plan.period,
        looks_at=plan.looks_at,
        next_escalation_on=plan.due_on if plan.chain else None,
    )


# --- who has a task -------------------------------------------------------------------------------


def check_named(
    owner_id: str, deputy_id: str, institution: Institution | None, duty: TaskKind
) -> None:
    """Refuse a task without a deputy, one who is the owner, and people nobody knows (S52)."""
    if issues.without_deputy(
        Deputies(duties=(duty.value,)), {duty.value: (owner_id, deputy_id or None)}
    ):
        raise invalid_field(
            "DEPUTY_NEEDED",
            "deputy_id",
            deputy_id,
            "a task has a deputy, who is another person than its owner",
            "须指定代理人(AB角),且不得与责任人为同一人",
        )
    known = {person.person_id for person in institution.persons} if institution else set()
    for field, person in (("owner_id", owner_id), ("deputy_id", deputy_id)):
        if person not in known:
            where = institution.institution_id if institution else "an institution of the county"
            raise invalid_field(
                "PERSON_UNKNOWN", field, person, f"must be a person of {where}", "查无此人"
            )


def require_open(task: Task) -> None:
    """Refuse a task that is done."""
    if task.closed_on is not None:
        raise Refused("TASK_CLOSED", f"it was closed on {task.closed_on}", message_zh="任务已办结")


def require_owner(task: Task, actor: Actor) -> None:
    """Refuse whoever is neither the owner nor the deputy."""
    if not task.owner_id:
        raise Refused(
            "TASK_UNASSIGNED",
            "nobody owns it yet: name an owner and a deputy",
            message_zh="任务尚未指定责任人和代理人",
        )
    if actor.person_id not in (task.owner_id, task.deputy_id):
        raise Denied(
            "NOT_THE_OWNER",
            f"{task.owner_id} owns it, {task.deputy_id} is the deputy",
            message_zh="非任务责任人或代理人",
        )


def require_evidence(evidence: Sequence[Evidence]) -> None:
    """Refuse work without anything to show for it."""
    if not evidence:
        raise invalid_field(
            "EVIDENCE_NEEDED",
            "evidence",
            "",
            "at least one photo or document, by reference and hash",
            "须附照片或文件等佐证材料",
        )


def assign(task: Task, owner_id: str, deputy_id: str, *, actor: Actor, day: date) \
        -> tuple[Task, TaskStep]:  # fmt: skip
    """Give a task an owner and a deputy."""
    require_open(task)
    now = replace(task, owner_id=owner_id, deputy_id=deputy_id)
    note = f"{owner_id}, {deputy_id}"
    return _step(now, StepKind.ASSIGNED, day, actor, note=note)


def close(
    task: Task, *, actor: Actor, day: date, note: str, evidence: Sequence[Evidence],
    findings: Sequence[str],
) -> tuple[Task, TaskStep]:  # fmt: skip
    """Close a task with its evidence."""
    require_open(task)
    if task.levels:
        raise Refused(
            "TASK_NEEDS_SIGNATURES",
            f"it is signed by {', '.join(task.levels)}, one after the other",
            message_zh="该任务须层层签字核实",
        )
    if task.kind is TaskKind.DAILY_REPORT:
        raise Refused(
            "TASK_NEEDS_REPORT", "it is closed by the day's report", message_zh="须报送日报"
        )
    require_owner(task, actor)
    require_evidence(evidence)
    return _closed(
        _step(task, StepKind.CLOSED, day, actor, note=note, evidence=evidence, findings=findings)
    )


def report(
    task: Task, *, actor: Actor, day: date, note: str, evidence: Sequence[Evidence],
    figures: OverdueFigures,
) -> tuple[Task, TaskStep]:  # fmt: skip
    """File a daily report: its figures are its evidence."""
    require_open(task)
    if task.kind is not TaskKind.DAILY_REPORT:
        raise Refused("TASK_NO_REPORT", f"it is a {task.kind}", message_zh="该任务不是日报任务")
    require_owner(task, actor)
    closed, step = _closed(_step(task, StepKind.REPORTED, day, actor, note=note, evidence=evidence))
    return closed, replace(step, figures=figures)


def sign(
    task: Task,
    *,
    actor: Actor,
    signers: Collection[str],
    parties: Parties,
    day: date,
    note: str,
    evidence: Sequence[Evidence],
    findings: Sequence[str],
) -> tuple[Task, TaskStep]:
    """Sign the next level, as another person than those before; the last one closes the task."""
    require_open(task)
    if not task.levels:
        raise Refused("TASK_NOT_SIGNED", "it has no levels", message_zh="该任务无须签字")
    organ = Organ(task.levels[task.signed])
    if task.signed == 0:
        require_owner(task, actor)
        require_evidence(evidence)
    require_level(organ, task, actor, parties)
    if actor.person_id in signers:
        raise Refused(
            "SAME_PERSON",
            f"{actor.person_id} signed a level before",
            message_zh="各级签字须为不同人员",
        )
    now = replace(task, signed=task.signed + 1)
    taken = _step(now, StepKind.SIGNED, day, actor, note=note, evidence=evidence, findings=findings)
    signed, step = _closed(taken) if now.signed == len(now.levels) else taken
    return signed, replace(step, organ=organ.value)


def require_level(organ: Organ, task: Task, actor: Actor, parties: Parties) -> None:
    """Refuse who is not the organ that signs next; papers of others an office records."""
    named = parties.named.get(organ.value, ())
    if organ is Organ.LENDER:
        fits = actor.role in LENDER_ROLES and actor.institution_id == task.lender_id
    elif organ.value in INSTITUTIONS:
        fits = actor.role == organ.value
    else:
        fits = actor.institution_id in named or actor.role in RECORDERS
    if not fits:
        raise Denied(
            "NOT_THE_LEVELS_ORGAN",
            f"this level is signed by {organ.value}",
            message_zh="本机构无权签署该级",
        )


def disposed(
    task: Task, *, actor: Actor, day: date, note: str, evidence: Sequence[Evidence]
) -> tuple[Task, TaskStep]:
    """What a task waited for was decided; whoever may decide it closes it so."""
    return _closed(_step(task, StepKind.CLOSED, day, actor, note=note, evidence=evidence))


def escalate(task: Task, day: date, *, every_days: int, parties: Parties) -> tuple[Task, TaskStep]:
    """The next of the chain hears of a late task."""
    chain = [Organ(each) for each in task.chain]
    at = Organ(task.escalated_to) if task.escalated_to else None
    organ = collection.escalate(chain, at)
    assert organ is not None, "the day of the next escalation is set only while there is one"
    more = collection.escalate(chain, organ) is not None
    subject = Subject(task.area_code, task.loan_id, task.household_id, task.lender_id)
    now = replace(
        task,
        escalated_to=organ.value,
        escalations=task.escalations + 1,
        next_escalation_on=day + timedelta(days=every_days) if more else None,
        steps=task.steps + 1,
        version=task.version + 1,
    )
    heard = parties.responsible(organ, subject)
    step = TaskStep(
        task.task_id,
        now.steps,
        StepKind.ESCALATED,
        day,
        institution_id=heard,
        organ=organ.value,
        in_time=False,
    )
    return now, step


def _step(
    task: Task,
    kind: StepKind,
    day: date,
    actor: Actor,
    *,
    note: str,
    evidence: Sequence[Evidence] = (),
    findings: Sequence[str] = (),
) -> tuple[Task, TaskStep]:
    now = replace(task, steps=task.steps + 1, version=task.version + 1)
    step = TaskStep(
        task.task_id,
        now.steps,
        kind,
        day,
        actor.institution_id,
        actor.person_id,
        "",
        note,
        tuple(evidence),
        tuple(dict.fromkeys(findings)),
        None,
        day <= task.due_on,
    )
    return now, step


def _closed(taken: tuple[Task, TaskStep]) -> tuple[Task, TaskStep]:
    """The step is the task's last."""
    task, step = taken
    return replace(task, closed_on=step.taken_on, next_escalation_on=None), step


def check_due(field: str, due_on: date, today: date) -> None:
    """Refuse a day that has passed."""
    if due_on < today:
        rule = f"not before the business date, {today}"
        raise invalid_field("DUE_DATE_PAST", field, due_on, rule, "期限早于营业日")


def by_hand(kind: TaskKind) -> None:
    """Refuse tasks that only rules open."""
    if kind not in BY_HAND:
        raise Refused(
            "TASK_MADE_BY_RULE", f"a {kind} is opened by its rule", message_zh="该类任务由系统生成"
        )
