"""Funds: a case step by step: verification, notice, approval, payment, repair, appeal."""

from collections.abc import Callable, Sequence
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds import events_out
from services.funds.model import Case, CaseFile, CaseState, Collecting
from services.funds.operations.cases import (
    DECIDERS,
    LENDERS,
    actor_of,
    clauses_of,
    deny,
    found,
    lay,
    pay,
    step_of,
)
from services.funds.rules import steps as rules
from services.funds.rules.cases import check_case_lender
from services.funds.rules.steps import Clauses
from services.funds.store import cases as case_store
from services.funds.store import cover as cover_store
from services.funds.store import steps as step_store
from services.kernel import business_day, outbox
from services.kernel.caller import Caller, require_role
from services.kernel.errors import Refused
from services.programmes.loader import Catalogue

REVIEWERS = ("county_centre", "poverty_office", "finance_bureau")
PAYERS = ("finance_bureau", "county_centre")
"""Who lets the fund pay."""

Change = Callable[[Case, Clauses, date], Case]


async def _take(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    case_id: UUID,
    *,
    step: str | Callable[[Case], str],
    change: Change,
    reason: str = "",
    evidence: Sequence[str] = (),
) -> CaseFile:
    """Take one step that moves no money: the case changed, its row, its event."""
    today = await business_day.today(session, county_code)
    cases = await case_store.lock_cases(session, [(county_code, case_id)])
    before = found(cases, case_id)
    clauses = clauses_of(catalogue, county_code, before.programme, before.model_id)
    late = rules.is_late(before, today)
    case = change(before, clauses, today)
    name = step if isinstance(step, str) else step(case)
    await case_store.save_cases(session, [case])
    row = step_of(case, name, caller, today, reason=reason, evidence=evidence, late=late)
    await step_store.add_steps(session, [row])
    await outbox.record(session, [events_out.case_step_taken(case, name, today)])
    parts = await case_store.parts_of(session, [case.key])
    return case_store.files([case], parts)[0]


def _require_organ(caller: Caller, county_code: str, roles: Sequence[str]) -> None:
    require_role(caller, roles)
    caller.require_area(county_code)
    caller.require_person()


async def verify(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    case_id: UUID,
    *,
    cause: str,
    findings: str,
    evidence: Sequence[str],
) -> CaseFile:
    """A reviewer finds a case right, or its cause not covered."""
    _require_organ(caller, county_code, REVIEWERS)
    return await _take(
        session,
        catalogue,
        caller,
        county_code,
        case_id,
        step=lambda case: "denied" if case.state is CaseState.DENIED else "verified",
        change=lambda case, clauses, today: rules.verify(
            case, actor_of(caller), clauses, cause=cause, today=today
        ),
        reason=findings,
        evidence=evidence,
    )


async def publish(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    case_id: UUID,
    *,
    level: str,
    place: str,
) -> CaseFile:
    """Publish a verified case at one level."""
    _require_organ(caller, county_code, REVIEWERS)
    return await _take(
        session,
        catalogue,
        caller,
        county_code,
        case_id,
        step="published",
        change=lambda case, clauses, today: rules.publish(case, clauses, level=level, today=today),
        reason=f"{level or rules.ALONE}: {place}",
    )


async def approve(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    case_id: UUID,
    *,
    reason: str,
) -> CaseFile:
    """Approve as one of the programme's organs."""
    caller.require_area(county_code)

    def change(case: Case, clauses: Clauses, today: date) -> Case:
        require_role(caller, clauses.approvers)
        return rules.approve(case, actor_of(caller), clauses, today=today)

    return await _take(
        session,
        catalogue,
        caller,
        county_code,
        case_id,
        step="approved",
        change=change,
        reason=reason,
    )


async def pay_case(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    case_id: UUID,
) -> CaseFile:
    """Let the fund pay what was approved; another person than all before."""
    _require_organ(caller, county_code, PAYERS)
    table = await lay(session, caller, county_code, [case_id])
    case = found(table.cases, case_id)
    rules.check_pay(case, actor_of(caller))
    made = pay(catalogue, table, case, case.reason)
    await table.write(session, catalogue)
    return made


async def deny_case(
    session: AsyncSession,
    caller: Caller,
    catalogue: Catalogue,
    county_code: str,
    case_id: UUID,
    *,
    code: str,
    reason: str,
) -> CaseFile:
    """Deny a case with a code."""
    _require_organ(caller, county_code, (*REVIEWERS, *DECIDERS))
    rules.check_code(code)
    table = await lay(session, caller, county_code, [case_id])
    case = found(table.cases, case_id)
    rules.check_deny(case, actor_of(caller))
    made = deny(table, case, code=code, reason=reason)
    await table.write(session, catalogue)
    return made


async def give_back(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    case_id: UUID,
    *,
    code: str,
    reason: str,
) -> CaseFile:
    """Give a case back to its lender for what lacks."""
    _require_organ(caller, county_code, REVIEWERS)
    rules.check_code(code)
    return await _take(
        session,
        catalogue,
        caller,
        county_code,
        case_id,
        step="returned",
        change=lambda case, clauses, today: rules.give_back(
            case, actor_of(caller), clauses, code=code, reason=reason, today=today
        ),
        reason=reason,
    )


async def repair(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    case_id: UUID,
    *,
    evidence: Sequence[str],
    steps: Sequence[Collecting],
) -> CaseFile:
    """The lender supplies what lacked."""
    require_role(caller, LENDERS)
    caller.require_person()

    def change(case: Case, clauses: Clauses, today: date) -> Case:
        check_case_lender(case, caller.institution_id)
        return rules.repair(case, clauses, evidence=evidence, steps=steps, today=today)

    return await _take(
        session,
        catalogue,
        caller,
        county_code,
        case_id,
        step="repaired",
        change=change,
        evidence=evidence,
    )


async def appeal(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    case_id: UUID,
    *,
    reason: str,
    evidence: Sequence[str],
) -> CaseFile:
    """The lender appeals against a denial."""
    require_role(caller, LENDERS)

    def change(case: Case, clauses: Clauses, today: date) -> Case:
        check_case_lender(case, caller.institution_id)
        return rules.appeal(case, actor_of(caller), clauses, today=today)

    return await _take(
        session,
        catalogue,
        caller,
        county_code,
        case_id,
        step="appealed",
        change=change,
        reason=reason,
        evidence=evidence,
    )


async def decide_appeal(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    case_id: UUID,
    *,
    grant: bool,
    reason: str,
) -> CaseFile:
    """Another organ decides an appeal; a case filed anew meanwhile stands in its way."""
    _require_organ(caller, county_code, REVIEWERS)
    if grant:
        await _refuse_second_case(session, county_code, case_id)
    return await _take(
        session,
        catalogue,
        caller,
        county_code,
        case_id,
        step="appeal_granted" if grant else "appeal_rejected",
        change=lambda case, clauses, today: rules.decide_appeal(
            case, actor_of(caller), clauses, grant=grant, reason=reason, today=today
        ),
        reason=reason,
    )


async def _refuse_second_case(session: AsyncSession, county_code: str, case_id: UUID) -> None:
    cases = await case_store.lock_cases(session, [(county_code, case_id)])
    case = found(cases, case_id)
    # The cover's lock is what a filing takes: no case comes in between.
    await cover_store.lock_covers(session, [(county_code, case.loan_id)])
    if case.state is CaseState.DENIED and await case_store.loans_with_case(
        session, [(county_code, case.loan_id)]
    ):
        raise Refused(
            "CASE_EXISTS",
            f"loan {case.loan_id} has another case by now",
            message_zh="该贷款已有代偿案件",
        )
