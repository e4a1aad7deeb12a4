"""Funds: the steps of a compensation case: who may take which, in what order, until when."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from services.funds.model import Case, CaseState, Collecting
from services.funds.rules.cases import cause_covered
from services.kernel.errors import Refused, invalid_field
from services.kernel.values import replace
from services.programmes import calendars
from services.programmes.calendars import Calendar
from services.programmes.schema.fund import SharingModel
from services.programmes.schema.reports import RiskList
from services.programmes.schema.upkeep import CaseDeadlines, PaymentControl
from services.programmes.schema.values import known
from services.programmes.terms import Terms
from services.programmes.upkeep import undone

PAYMENT = "compensation"
USUAL_APPROVER = "county_centre"
GRADED = ("village", "township", "county")
ALONE = "all"
"""The one level of a notice that is not graded."""
OPEN = (CaseState.FILED, CaseState.VERIFIED, CaseState.PUBLISHED)
UNCOVERED = "CAUSE_NOT_COVERED"
CODES = (
    "EVIDENCE_MISSING",
    "COLLECTION_INSUFFICIENT",
    "CAUSE_NOT_PROVEN",
    "LOAN_IRREGULAR",
    "AMOUNT_WRONG",
    "OBJECTION_UPHELD",
    "OTHER",
)
"""Of a denial, or of what a returned case lacks."""


@dataclass(frozen=True, slots=True)
class Clauses:
    """What a programme says about the cases of one way of sharing."""

    model: SharingModel
    control: PaymentControl | None
    deadlines: CaseDeadlines
    approvers: tuple[str, ...]
    risk_list: RiskList | None
    calendar: Calendar

    @property
    def levels(self) -> tuple[str, ...]:
        """At which levels a case is published; none where no notice is asked for."""
        notice = self.control.public_notice if self.control else None
        if notice is None:
            return ()
        return GRADED if notice.graded else (ALONE,)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who takes a step."""

    institution_id: str
    role: str
    person_id: str


def clauses_of(terms: Terms, model_id: str) -> Clauses:
    """Read a programme's clauses about cases."""
    fund = terms.fund
    control = fund.payment_control
    if control is not None and PAYMENT not in control.payments:
        control = None
    gateway, monitoring = terms.pack.gateway, terms.pack.monitoring
    named = [*(gateway.compensation_approved_by if gateway else ())]
    named += [*(control.approved_by if control else ())]
    return Clauses(
        model=terms.sharing_model(model_id),
        control=control,
        deadlines=fund.case_deadlines or CaseDeadlines(),
        approvers=tuple(dict.fromkeys(str(organ) for organ in named)) or (USUAL_APPROVER,),
        risk_list=monitoring.risk_list if monitoring else None,
        calendar=terms.calendar,
    )


def _due(clauses: Clauses, start: date, working_days: int | None) -> date | None:
    if working_days is None:
        return None
    return calendars.working_days_after(clauses.calendar, start, working_days)


def first_due(clauses: Clauses, today: date) -> date | None:
    """Until when a case that is filed today should be verified."""
    return _due(clauses, today, clauses.deadlines.verify_working_days)


def is_late(case: Case, today: date) -> bool:
    """Whether the next step is past its deadline."""
    return case.due_on is not None and today > case.due_on


# --- who ------------------------------------------------------------------------------------------


def _refuse_same(person_id: str, others: Sequence[str], what: str) -> None:
    if person_id in others:
        raise Refused(
            "SAME_PERSON",
            f"{what} of one case are different persons (S52)",
            message_zh="经办、审核、审批、支付须为不同人员",
            facts={"person_id": person_id},
        )


def _approvers(case: Case) -> list[str]:
    return [person for _, person in case.approvals]


def check_code(code: str) -> None:
    """A code that the platform knows."""
    if code not in CODES:
        raise invalid_field("CODE_UNKNOWN", "code", code, f"must be one of {', '.join(CODES)}")


def _require(case: Case, states: Sequence[CaseState], reason: str, zh: str) -> None:
    if case.state not in states:
        raise Refused(
            reason,
            f"case {case.case_id} is {case.state}",
            message_zh=zh,
            facts={"state": case.state.value},
        )


def check_decision(case: Case, actor: Actor, clauses: Clauses, *, approve: bool) -> None:
    """
    In one step only where the programme asks for nothing more than one organ's word (S52).

    An open case, and another person than those who filed or reviewed it.
    """
    _require(case, OPEN, "CASE_NOT_OPEN", "案件已处理")
    _refuse_same(actor.person_id, (case.filed_by, case.reviewed_by), "filer, reviewer and decider")
    if not approve:
        return
    missing = undone(
        clauses.control,
        PAYMENT,
        audited=False,
        published=False,
        approved_by=(actor.role,),
    )
    others = tuple(f"approval_{organ}" for organ in clauses.approvers if organ != actor.role)
    missing = tuple(dict.fromkeys((*missing, *others)))
    if missing or case.state is not CaseState.FILED:
        raise Refused(
            "STEPS_MISSING",
            f"before the fund pays: {', '.join(missing) or 'the steps that were begun'}",
            message_zh="尚有步骤未完成",
            facts={"missing": ",".join(missing), "state": case.state.value},
        )


# --- steps ----------------------------------------------------------------------------------------


def verify(case: Case, actor: Actor, clauses: Clauses, *, cause: str, today: date) -> Case:
    """The case is right; with a cause that is not covered it is denied, the loss stays (S46)."""
    _require(case, (CaseState.FILED,), "CASE_NOT_OPEN", "案件已处理")
    _refuse_same(actor.person_id, (case.filed_by,), "filer and reviewer")
    if not case.collection_steps:
        raise Refused(
            "COLLECTION_STEPS_MISSING",
            "nothing shows that the lender tried to collect the loan",
            message_zh="缺少催收记录",
        )
    found = replace(
        case,
        cause=cause or case.cause,
        reviewed_by=actor.person_id,
        version=case.version + 1,
    )
    if not cause_covered(clauses.model, found.cause):
        return replace(
            found,
            state=CaseState.DENIED,
            code=UNCOVERED,
            reason=f"{found.cause} is not covered; {case.otherwise_borne_by} bears the loss",
            decided_by=actor.person_id,
            decided_on=today,
            denied_by_role=actor.role,
            due_on=None,
        )
    due = None if clauses.levels else _due(clauses, today, clauses.deadlines.approve_working_days)
    return replace(found, state=CaseState.VERIFIED, code="", due_on=due)


def publish(case: Case, clauses: Clauses, *, level: str, today: date) -> Case:
    """Publish a verified case at one level; it is published when every level has it."""
    if not clauses.levels:
        raise Refused(
            "NOTICE_NOT_ASKED", "the programme asks for no notice", message_zh="方案未要求公示"
        )
    _require(case, (CaseState.VERIFIED,), "CASE_NOT_VERIFIED", "案件未经审核")
    level = level or ALONE
    if level not in clauses.levels:
        rule = f"must be one of {', '.join(clauses.levels)}"
        raise invalid_field("LEVEL_UNKNOWN", "level", level, rule, "公示级别不符")
    if level in case.notice_levels:
        raise Refused("LEVEL_PUBLISHED", f"{level} has it already", message_zh="该级已公示")
    assert clauses.control is not None
    assert clauses.control.public_notice is not None
    until = today + timedelta(days=known(clauses.control.public_notice.days))
    levels = (*case.notice_levels, level)
    whole = set(levels) == set(clauses.levels)
    until = max(until, case.notice_until or until)
    return replace(
        case,
        state=CaseState.PUBLISHED if whole else CaseState.VERIFIED,
        notice_levels=levels,
        notice_until=until,
        due_on=_due(clauses, until, clauses.deadlines.approve_working_days) if whole else None,
        version=case.version + 1,
    )


def approve(case: Case, actor: Actor, clauses: Clauses, *, today: date) -> Case:
    """One organ's approval; the case is approved when every organ of the programme has given it."""
    _require(case, OPEN, "CASE_NOT_OPEN", "案件已处理")
    wanted = CaseState.PUBLISHED if clauses.levels else CaseState.VERIFIED
    if case.state is not wanted:
        missing = "verification" if case.state is CaseState.FILED else "public_notice"
        raise Refused(
            "STEPS_MISSING",
            f"the case is {case.state}: {missing} comes first",
            message_zh="尚有步骤未完成",
            facts={"missing": missing, "state": case.state.value},
        )
    if case.notice_until is not None and today <= case.notice_until:
        raise Refused(
            "NOTICE_RUNNING",
            f"the notice runs until {case.notice_until}",
            message_zh="公示期未满",
            facts={"notice_until": str(case.notice_until)},
        )
    if actor.role in {organ for organ, _ in case.approvals}:
        raise Refused("APPROVED_ALREADY", f"{actor.role} has approved", message_zh="本机构已审批")
    _refuse_same(
        actor.person_id,
        (case.filed_by, case.reviewed_by, *_approvers(case)),
        "filer, reviewer and approvers",
    )
    approvals = (*case.approvals, (actor.role, actor.person_id))
    whole = {organ for organ, _ in approvals} >= set(clauses.approvers)
    return replace(
        case,
        state=CaseState.APPROVED if whole else case.state,
        approvals=approvals,
        decided_by=actor.person_id,
        due_on=_due(clauses, today, clauses.deadlines.pay_working_days) if whole else case.due_on,
        version=case.version + 1,
    )


def check_pay(case: Case, actor: Actor) -> None:
    """Pay what was approved, by a person who had no hand in it (S52)."""
    _require(case, (CaseState.APPROVED,), "CASE_NOT_APPROVED", "案件未获批准")
    _refuse_same(
        actor.person_id,
        (case.filed_by, case.reviewed_by, *_approvers(case)),
        "filer, reviewer, approver and disburser",
    )


def check_deny(case: Case, actor: Actor) -> None:
    """Deny what is not approved yet, as another person than the one who filed it."""
    _require(case, OPEN, "CASE_NOT_OPEN", "案件已处理")
    _refuse_same(actor.person_id, (case.filed_by,), "filer and decider")


def give_back(
    case: Case, actor: Actor, clauses: Clauses, *, code: str, reason: str, today: date
) -> Case:
    """Give a filed case back to its lender for what lacks."""
    _require(case, (CaseState.FILED,), "CASE_NOT_OPEN", "案件已处理")
    _refuse_same(actor.person_id, (case.filed_by,), "filer and reviewer")
    days = clauses.deadlines.repair_days
    return replace(
        case,
        state=CaseState.RETURNED,
        code=code,
        reason=reason,
        due_on=None if days is None else today + timedelta(days=days),
        version=case.version + 1,
    )


def repair(
    case: Case,
    clauses: Clauses,
    *,
    evidence: Sequence[str],
    steps: Sequence[Collecting],
    today: date,
) -> Case:
    """Supply what lacked; the loss stays that of the first day (S22)."""
    _require(case, (CaseState.RETURNED,), "CASE_NOT_RETURNED", "案件未退回补正")
    if is_late(case, today):
        raise Refused(
            "REPAIR_TOO_LATE",
            f"it had to be supplied by {case.due_on}",
            message_zh="已超过补正期限",
            facts={"due_on": str(case.due_on)},
        )
    return replace(
        case,
        state=CaseState.FILED,
        code="",
        reason="",
        evidence=(*case.evidence, *evidence),
        collection_steps=(*case.collection_steps, *steps),
        due_on=first_due(clauses, today),
        version=case.version + 1,
    )


def appeal(case: Case, actor: Actor, clauses: Clauses, *, today: date) -> Case:
    """Appeal against a denial, once and in time; a second organ decides."""
    _require(case, (CaseState.DENIED,), "CASE_NOT_DENIED", "案件未被驳回")
    if case.appeal:
        raise Refused("APPEALED_ALREADY", f"the appeal is {case.appeal}", message_zh="已提出过申诉")
    days = clauses.deadlines.appeal_days
    assert case.decided_on is not None
    if days is not None and today > case.decided_on + timedelta(days=days):
        raise Refused(
            "APPEAL_TOO_LATE",
            f"denied on {case.decided_on}, an appeal must come within {days} days",
            message_zh="已超过申诉期限",
            facts={"denied_on": str(case.decided_on), "within_days": str(days)},
        )
    return replace(case, appeal="waiting", appealed_by=actor.person_id, version=case.version + 1)


def decide_appeal(
    case: Case, actor: Actor, clauses: Clauses, *, grant: bool, reason: str, today: date
) -> Case:
    """Another organ than the one that denied opens the case again, or leaves it denied."""
    if case.appeal != "waiting":
        raise Refused("NO_APPEAL", "no appeal waits", message_zh="无待处理申诉")
    if actor.role == case.denied_by_role:
        raise Refused(
            "SAME_ORGAN",
            f"{actor.role} denied the case; another organ decides the appeal",
            message_zh="申诉须由另一机构处理",
            facts={"denied_by": case.denied_by_role},
        )
    _refuse_same(
        actor.person_id,
        (case.filed_by, case.reviewed_by, case.decided_by, case.appealed_by),
        "those who denied and those who decide the appeal",
    )
    if not grant:
        return replace(case, appeal="rejected", reason=reason, version=case.version + 1)
    return replace(
        case,
        state=CaseState.FILED,
        appeal="granted",
        code="",
        reason=reason,
        decided_by="",
        decided_on=None,
        reviewed_by="",
        approvals=(),
        notice_levels=(),
        notice_until=None,
        due_on=first_due(clauses, today),
        version=case.version + 1,
    )
