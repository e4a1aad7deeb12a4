"""Funds: compensation cases filed, decided in one step, and paid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds import events_out
from services.funds.model import (
    Amounts,
    Case,
    CaseFile,
    CaseStep,
    Cover,
    CoverState,
    Decision,
    Filing,
    Fund,
    Insured,
    Key,
)
from services.funds.operations.cover import release_one
from services.funds.operations.shared import Leverage, Work, cash_moves
from services.funds.rules import cases as case_rules
from services.funds.rules import steps as steps_rules
from services.funds.rules.accounts import pots
from services.funds.rules.steps import Actor, Clauses
from services.funds.store import accounts_lending as lending_store
from services.funds.store import cases as case_store
from services.funds.store import cover as cover_store
from services.funds.store import funds as fund_store
from services.funds.store import steps as step_store
from services.kernel import business_day, ids, outbox
from services.kernel.caller import Caller, require_role
from services.kernel.errors import LiandongError, NotFound
from services.kernel.journal import Account, Entry, Transfer
from services.kernel.money import Fen
from services.kernel.values import replace
from services.programmes.loader import Catalogue
from services.programmes.schema.pack import split_ref

LENDERS = ("bank", "mutual_aid_society", "insurer")
DECIDERS = ("county_centre", "finance_bureau")

Outcome = CaseFile | LiandongError
"""What became of one item of a batch."""


def clauses_of(catalogue: Catalogue, county_code: str, ref: str, model_id: str) -> Clauses:
    """What a loan's programme says about its case."""
    return steps_rules.clauses_of(catalogue.terms(county_code, ref), model_id)


def step_of(
    case: Case,
    step: str,
    caller: Caller,
    today: date,
    *,
    reason: str = "",
    evidence: Sequence[str] = (),
    late: bool = False,
) -> CaseStep:
    """The row of a step that was just taken."""
    return CaseStep(
        county_code=case.county_code,
        case_id=case.case_id,
        number=case.version,
        step=step,
        institution_id=caller.institution_id,
        person_id=caller.person_id,
        code=case.code,
        reason=reason,
        evidence=tuple(evidence),
        late=late,
        business_date=today,
    )


async def file_cases(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    filings: Sequence[Filing],
) -> list[Outcome]:
    """Open the cases of a lender's loans; each is decided on its own."""
    require_role(caller, LENDERS)
    person_id = caller.require_person()
    today = await business_day.today(session, county_code)
    loans = [(county_code, filing.loan_id) for filing in filings]
    covers = await cover_store.lock_covers(session, loans)
    with_case = await case_store.loans_with_case(session, loans)
    arrears = await cover_store.arrears_of(session, loans)
    outcomes: list[Outcome] = []
    for key, filing in zip(loans, filings, strict=True):
        cover = covers.get(key)
        try:
            case_rules.check_lender(cover, caller.institution_id)
            caller.require_area(cover.area_code if cover else county_code)
            clauses = (
                clauses_of(catalogue, county_code, cover.programme, cover.model_id)
                if cover and cover.model_id
                else None
            )
            case = case_rules.file_case(
                filing,
                cover,
                arrears.get(key),
                model=clauses.model if clauses else None,
                has_case=key in with_case,
                lender_id=caller.institution_id,
                case_id=ids.new_id(),
                person_id=person_id,
                today=today,
                risk_list=clauses.risk_list if clauses else None,
                deadlines=clauses.deadlines if clauses else None,
                due_on=steps_rules.first_due(clauses, today) if clauses else None,
            )
        except LiandongError as error:
            outcomes.append(error)
            continue
        with_case.add(key)
        outcomes.append(CaseFile(case, ()))
    filed = [made.case for made in outcomes if isinstance(made, CaseFile)]
    await case_store.add_cases(session, filed)
    await step_store.add_steps(
        session, [step_of(case, "filed", caller, today, evidence=case.evidence) for case in filed]
    )
    await outbox.record(
        session, [events_out.case_step_taken(case, "filed", today) for case in filed]
    )
    return outcomes


@dataclass(slots=True)
class Table:
    """What lies on the table while cases of a county are paid."""

    work: Work
    cases: dict[UUID, Case]
    covers: dict[Key, Cover]
    insured: Mapping[Key, Sequence[Insured]]
    paid_since: Mapping[UUID, Amounts]
    today: date
    caller: Caller
    owners: Mapping[UUID, str]
    """By loan whose it is: the margin of that one pays."""
    balances: Mapping[UUID, Fen]
    """Of the funds, before anything is paid."""
    shared: list[CaseFile] = field(default_factory=list)
    released: list[Cover] = field(default_factory=list)
    steps: list[CaseStep] = field(default_factory=list)

    async def write(self, session: AsyncSession, catalogue: Catalogue) -> None:
        """Write what was decided: cases, parts, cover, funds, journal, events."""
        _ask_for_top_ups(Leverage(catalogue), self.work, self.balances, self.today)
        await case_store.save_cases(session, [case_file.case for case_file in self.shared])
        parts = [part for case_file in self.shared for part in case_file.parts]
        await case_store.add_parts(session, parts)
        await step_store.add_steps(session, self.steps)
        await cover_store.save_covers(session, self.released)
        await self.work.write(session)


async def lay(
    session: AsyncSession, caller: Caller, county_code: str, case_ids: Sequence[UUID]
) -> Table:
    """Lock cases, their covers and the county's funds, in this order."""
    today = await business_day.today(session, county_code)
    keys = [(county_code, case_id) for case_id in case_ids]
    cases = await case_store.lock_cases(session, keys)
    loans = [(county_code, case.loan_id) for case in cases.values()]
    covers = await cover_store.lock_covers(session, loans)
    work = Work(await fund_store.lock_funds(session, [county_code]))
    return Table(
        work=work,
        cases=cases,
        covers=covers,
        insured=await cover_store.insured_of(session, loans),
        paid_since=await case_store.paid_since_filing(session, keys),
        today=today,
        caller=caller,
        owners=await lending_store.borrowers_of(session, loans),
        balances={fund_id: fund.balance_fen for fund_id, fund in work.funds.items()},
    )


def found(cases: Mapping[UUID, Case], case_id: UUID) -> Case:
    """A case that is there."""
    case = cases.get(case_id)
    if case is None:
        raise NotFound("CASE_NOT_FOUND", f"no case {case_id}", message_zh="无此案件")
    return case


def actor_of(caller: Caller) -> Actor:
    """Who takes a step, by name."""
    return Actor(caller.institution_id, caller.role, caller.require_person())


async def decide_cases(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    decisions: Sequence[Decision],
) -> list[Outcome]:
    """Deny cases, or share their losses and let the funds pay; each is decided on its own."""
    require_role(caller, DECIDERS)
    caller.require_area(county_code)
    caller.require_person()
    table = await lay(session, caller, county_code, [each.case_id for each in decisions])
    outcomes = [_decided(catalogue, table, decision) for decision in decisions]
    await table.write(session, catalogue)
    return outcomes


def _decided(catalogue: Catalogue, table: Table, decision: Decision) -> Outcome:
    try:
        case = found(table.cases, decision.case_id)
        clauses = clauses_of(catalogue, case.county_code, case.programme, case.model_id)
        steps_rules.check_decision(case, actor_of(table.caller), clauses, approve=decision.approve)
        case_rules.check_reason(decision)
        if decision.approve:
            return pay(catalogue, table, case, decision.reason)
        return deny(table, case, code="OTHER", reason=decision.reason)
    except LiandongError as error:
        return error


def deny(table: Table, case: Case, *, code: str, reason: str) -> CaseFile:
    """Close one case without paying, and say so."""
    made = case_rules.deny(
        case,
        code=code,
        reason=reason,
        role=table.caller.role,
        person_id=table.caller.person_id,
        today=table.today,
    )
    late = steps_rules.is_late(case, table.today)
    table.cases[case.case_id] = made.case
    table.shared.append(made)
    table.steps.append(
        step_of(made.case, "denied", table.caller, table.today, reason=reason, late=late)
    )
    table.work.events.append(events_out.case_step_taken(made.case, "denied", table.today))
    return made


def pay(catalogue: Catalogue, table: Table, case: Case, reason: str) -> CaseFile:
    """Pay one case: its parts, the funds that pay, the cover that is used up."""
    work, today = table.work, table.today
    county_code = case.county_code
    cover = case_rules.check_covered(table.covers.get((county_code, case.loan_id)), case.loan_id)
    insured = [
        each
        for each in table.insured.get(cover.key, ())
        # The cover must have been in force when the case was filed.
        if each.until_on is None or each.until_on >= case.filed_on
    ]
    compensation = case_rules.compensate(
        case,
        model=catalogue.terms(county_code, case.programme).sharing_model(case.model_id),
        paid_since=table.paid_since.get(case.case_id, Amounts(Fen(0), Fen(0))),
        funds=pots(
            work.of(county_code, split_ref(case.programme)[0]),
            area_code=cover.area_code,
            owner_id=table.owners.get(case.loan_id, str(cover.borrower_id or "")),
        ),
        parties=catalogue.parties(county_code, case.programme),
        insured=insured,
        reason=reason,
        person_id=table.caller.person_id,
        today=today,
    )
    case_file = compensation.case_file
    before = {fund.fund_id: work.funds[fund.fund_id] for fund in compensation.funds}
    for fund in compensation.funds:
        work.put(fund)
    work.entries.append(_compensation_entry(case_file, before, work.funds, today))
    work.events.append(events_out.compensation_paid(case_file, today))
    work.events += [events_out.fund_suspended(fund, today) for fund in compensation.suspended]
    for part in case_file.parts:
        work.move(part, "borne", part.amount_fen, today, person_id=table.caller.person_id)
        work.move(part, "paid", part.paid_fen, today, person_id=table.caller.person_id)
    released = release_one(work, cover, CoverState.COMPENSATED, today)
    table.covers[cover.key] = released
    table.released.append(released)
    late = steps_rules.is_late(case, today)
    table.cases[case.case_id] = case_file.case
    table.shared.append(case_file)
    table.steps.append(
        step_of(case_file.case, "paid", table.caller, today, reason=reason, late=late)
    )
    return case_file


def _compensation_entry(
    case_file: CaseFile, before: Mapping[UUID, Fund], after: Mapping[UUID, Fund], on: date
) -> Entry:
    case = case_file.case
    expense = Account("compensation_expense", str(case.case_id))
    moved: list[Transfer] = []
    for part in case_file.parts:
        if part.own_loss:
            own = Account("lender_own_loss", case.lender_id)
            moved.append(Transfer(expense, own, part.amount_fen))
            continue
        if part.fund_id is not None:
            moved += cash_moves(before[part.fund_id], after[part.fund_id], expense)
        debtor = str(part.fund_id) if part.fund_id else part.institution_id
        moved.append(Transfer(expense, Account("share_payable", debtor), part.owed_fen))
    return Entry(case.county_code, "compensation", str(case.case_id), on, on, tuple(moved))


def _ask_for_top_ups(
    leverage: Leverage, work: Work, balances: Mapping[UUID, Fen], on: date
) -> None:
    """Say of each fund that paid what it needs now."""
    for fund_id in sorted(work.changed):
        fund = work.funds[fund_id]
        if fund.balance_fen == balances[fund_id] and not fund.owed_fen:
            continue
        amount = leverage.top_up_fen(fund, on)
        if amount:
            fund = replace(fund, version=fund.version + 1)
            work.put(fund)
            work.events.append(events_out.top_up_due(fund, amount, on))
