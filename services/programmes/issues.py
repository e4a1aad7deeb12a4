"""Issues: what a compliance check finds, the ledger it goes to, and who stands in for whom."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from services.kernel.errors import Refused
from services.programmes.schema.reports import ComplianceCheck, Deputies, IssueLedger
from services.programmes.schema.values import known


class IssueState(StrEnum):
    """Where an issue is on its way off the list."""

    REGISTERED = "registered"
    RECTIFIED = "rectified"
    CROSSED_OFF = "crossed_off"


class IssueStep(StrEnum):
    """What is done with an issue."""

    RECTIFY = "rectify"
    SEND_BACK = "send_back"
    CROSS_OFF = "cross_off"


STEPS: Mapping[tuple[IssueState, IssueStep], IssueState] = {
    (IssueState.REGISTERED, IssueStep.RECTIFY): IssueState.RECTIFIED,
    (IssueState.RECTIFIED, IssueStep.SEND_BACK): IssueState.REGISTERED,
    (IssueState.RECTIFIED, IssueStep.CROSS_OFF): IssueState.CROSSED_OFF,
}


@dataclass(frozen=True, slots=True)
class Compliance:
    """Whether nothing was found, and what was."""

    compliant: bool
    issues: tuple[str, ...]
    working: str


@dataclass(frozen=True, slots=True)
class IssueDue:
    """By when an issue is to be rectified, and whether that day has passed."""

    due_on: date
    late: bool
    working: str


def compliance(hits: Mapping[str, bool]) -> Compliance:
    """Every check that hits is an issue, in the order of the checks."""
    issues = tuple(code for code, hit in hits.items() if hit)
    return Compliance(not issues, issues, f"{len(issues)} of {len(hits)} checks hit")


def compliance_of(checks: Sequence[ComplianceCheck], hits: Mapping[str, bool]) -> Compliance:
    """The checks of a pack; one that was not made refuses, because silence is no result."""
    if missing := [check.id for check in checks if check.id not in hits]:
        raise Refused(
            "CHECK_MISSING",
            f"check {missing[0]} was not made",
            message_zh=f"未进行检查 {missing[0]}",
            facts={"key": missing[0]},
        )
    return compliance({check.id: hits[check.id] for check in checks})


def advance(state: IssueState, step: IssueStep) -> IssueState:
    """Register, rectify, cross off; what did not hold goes back."""
    after = STEPS.get((state, step))
    if after is None:
        raise Refused(
            "ISSUE_STATE",
            f"an issue that is {state} cannot be: {step}",
            message_zh="问题台账状态不允许该操作",
            facts={"state": state.value, "step": step.value},
        )
    return after


def issue_due(
    ledger: IssueLedger, registered_on: date, *, on: date, rectified_on: date | None = None
) -> IssueDue:
    """The deadline counts in calendar days; the day of registration is not counted."""
    due_on = registered_on + timedelta(days=known(ledger.rectify_within_days))
    late = (rectified_on or on) > due_on
    return IssueDue(due_on, late, f"registered {registered_on}, due {due_on}, late: {late}")


def without_deputy(
    rule: Deputies, operators: Mapping[str, tuple[str, str | None]]
) -> tuple[str, ...]:
    """The duties that nobody has, that no deputy has, or whose deputy is the same person (S52)."""
    lacking = []
    for duty in rule.duties:
        operator, deputy = operators.get(duty, ("", None))
        if not operator or deputy is None or deputy == operator:
            lacking.append(duty)
    return tuple(lacking)
