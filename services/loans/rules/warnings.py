"""Loans: warnings of departments: who may give them, and how their households are told. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from services.kernel.errors import Denied, Invalid, NotFound, Refused, Violation, invalid_field
from services.kernel.values import replace
from services.loans.model import Loan
from services.loans.rules import notices as notice_rules
from services.loans.rules.lending import Actor
from services.loans.rules.notices import Notice
from services.programmes import notices
from services.programmes.schema.monitoring import Monitoring
from services.programmes.terms import Terms

INDUSTRY_RISK = "industry_risk"
PASSES_ON = "county_centre"
"""It may bring a department's warning that has no connection of its own."""


@dataclass(frozen=True, slots=True)
class DepartmentWarning:
    """A department's warning of an industry or a disaster."""

    warning_id: UUID
    kind: str
    risk: str
    institution_id: str
    person_id: str
    department: str
    area_codes: tuple[str, ...]
    industries: tuple[str, ...]
    project_ids: tuple[str, ...]
    advice: str
    channels: tuple[str, ...]
    """How households are told; none for what each loan's programme says."""
    starts_on: date
    ends_on: date
    received_on: date
    version: int
    after_loan_id: UUID | None = None
    loans: int = 0
    households: int = 0
    spread: bool = False
    withdrawn_on: date | None = None
    reason: str = ""


def receive(
    warning: DepartmentWarning,
    *,
    actor: Actor,
    departments: Collection[str],
    in_force: Sequence[Terms],
) -> DepartmentWarning:
    """Check a warning: whose it is, its days, and that its households can be told."""
    if warning.ends_on < warning.starts_on or warning.ends_on < warning.received_on:
        rule = f"must not be before starts_on {warning.starts_on} and today {warning.received_on}"
        raise invalid_field("WARNING_ENDS_BEFORE", "ends_on", warning.ends_on, rule)
    named = warning.department or actor.role
    if named != actor.role and (actor.role != PASSES_ON or named not in departments):
        rule = "only the county's centre passes a department's warning on, in that one's name"
        raise invalid_field("DEPARTMENT_UNKNOWN", "department", named, rule, "部门不符")
    sources = raised_by([terms.pack.monitoring for terms in in_force if terms.pack.monitoring])
    if warning.kind == INDUSTRY_RISK and sources and named not in sources:
        raise Denied(
            "NOT_THE_WARNING_ORGAN",
            f"industries at risk are seen by {', '.join(sorted(sources))}, not by {named}",
            message_zh="本部门无权发布产业风险预警",
        )
    if not warning.channels and not any(_channels(terms) for terms in in_force):
        rule = "neither the request nor a programme in force says how households are told"
        violation = Violation("channels", "", rule)
        raise Invalid(
            "NOTICE_WITHOUT_CHANNEL", rule, message_zh="通知须指定发送渠道", violations=[violation]
        )
    return replace(warning, department=named)


def raised_by(programmes: Sequence[Monitoring]) -> set[str]:
    """Whom the programmes name as seeing an industry at risk; none leaves it to any (JX.mon.4)."""
    return {
        organ.value
        for monitoring in programmes
        for rule in monitoring.early_warnings
        if rule.of == INDUSTRY_RISK
        for organ in rule.raised_by
    }


def _channels(terms: Terms) -> tuple[str, ...]:
    return tuple(str(channel) for channel in notices.channels_of(terms.pack.loans))


def text_of(warning: DepartmentWarning, terms: Terms) -> str:
    """What a household is told: the programme's words with the department's advice."""
    values: Mapping[str, str] = {
        "advice": warning.advice,
        "starts_on": notices.day_zh(warning.starts_on),
        "ends_on": notices.day_zh(warning.ends_on),
    }
    return notices.fill(notice_rules.text_of(terms.pack.loans, warning.kind), values)


def to_household(
    notice_id: UUID,
    warning: DepartmentWarning,
    loan: Loan,
    terms: Terms,
    *,
    channel: str,
    day: date,
) -> Notice:
    """A warning for a household, by the sender of one of its lenders."""
    return Notice(
        notice_id=notice_id,
        kind=warning.kind,
        channel=channel,
        subject_id=loan.household_id,
        cause_id=str(warning.warning_id),
        loan_id=None,
        household_id=loan.household_id,
        lender_id=loan.lender_id,
        sender_id=loan.lender_id,
        organ="",
        area_code=loan.area_code,
        text=text_of(warning, terms),
        programme=loan.programme,
        queued_on=day,
        attempts_max=notices.attempts_max(terms.pack.loans),
    )


def channels_for(warning: DepartmentWarning, terms: Terms) -> tuple[str, ...]:
    """How the household of a loan is told."""
    return warning.channels or _channels(terms)


def organs_for(warning: DepartmentWarning, terms: Terms) -> tuple[str, ...]:
    """Who else hears of it on the platform, by the programme."""
    monitoring = terms.pack.monitoring
    rules = monitoring.early_warnings if monitoring is not None else ()
    named = [o for r in rules if r.of == INDUSTRY_RISK == warning.kind for o in r.to]
    read = [notice_rules.reader_of(organ.value) for organ in named]
    return tuple(dict.fromkeys(organ for organ in read if organ))


def on_platform(
    notice_id: UUID, warning: DepartmentWarning, loan: Loan, terms: Terms, *, organ: str, day: date
) -> Notice:
    """A warning for a lender, or for an organ of the loan's township; once for each."""
    area = loan.area_code[:9] if organ else warning.area_codes[0][:6]
    base = to_household(notice_id, warning, loan, terms, channel=notice_rules.PLATFORM, day=day)
    return replace(
        base,
        subject_id=warning.warning_id,
        cause_id=f"{warning.warning_id}:{area}",
        household_id=None,
        sender_id="" if organ else loan.lender_id,
        lender_id="" if organ else loan.lender_id,
        organ=organ,
        area_code=area,
    )


def withdraw(
    warning: DepartmentWarning | None, warning_id: UUID, *, reason: str, today: date
) -> DepartmentWarning:
    """Take a warning back."""
    if warning is None:
        raise NotFound("WARNING_NOT_FOUND", f"no warning {warning_id}", message_zh="无此预警")
    if warning.withdrawn_on is not None:
        raise Refused("WARNING_WITHDRAWN", f"since {warning.withdrawn_on}", message_zh="预警已撤销")
    return replace(
        warning, withdrawn_on=today, reason=reason, spread=True, version=warning.version + 1
    )


def require_own(warning: DepartmentWarning, actor: Actor) -> None:
    """Only who gave a warning takes it back, or the county's centre."""
    if actor.institution_id != warning.institution_id and actor.role != PASSES_ON:
        raise Denied(
            "NOT_THE_WARNING_ORGAN", "another institution gave it", message_zh="非发布机构"
        )
