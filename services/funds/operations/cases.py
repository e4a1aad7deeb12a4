"""Funds: compensation cases filed, decided and paid, and money recovered after them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds import events_out
from services.funds.model import (
    Amounts,
    Case,
    CaseFile,
    Cover,
    CoverState,
    Decision,
    Filing,
    Fund,
    Key,
    Recovered,
    Recovery,
)
from services.funds.operations.cover import release_one
from services.funds.operations.shared import Leverage, Work, cash_moves, pay_debts
from services.funds.rules import cases as case_rules
from services.funds.rules import money as money_rules
from services.funds.rules.accounts import pots
from services.funds.store import accounts_lending as lending_store
from services.funds.store import cases as case_store
from services.funds.store import cover as cover_store
from services.funds.store import funds as fund_store
from services.kernel import business_day, ids
from services.kernel.caller import Caller, require_role
from services.kernel.errors import LiandongError, NotFound
from services.kernel.journal import Account, Entry, Transfer
from services.kernel.money import Fen
from services.programmes.loader import Catalogue
from services.programmes.schema.fund import SharingModel
from services.programmes.schema.pack import split_ref

LENDERS = ("bank", "mutual_aid_society", "insurer")
DECIDERS = ("county_centre",)

Outcome = CaseFile | LiandongError
"""What became of one item of a batch."""


def _model_of(catalogue: Catalogue, county_code: str, ref: str, model_id: str) -> SharingModel:
    return catalogue.terms(county_code, ref).sharing_model(model_id)


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
            case = case_rules.file_case(
                filing,
                cover,
                arrears.get(key),
                model=_model_of(catalogue, county_code, cover.programme, cover.model_id)
                if cover and cover.model_id
                else None,
                has_case=key in with_case,
                lender_id=caller.institution_id,
                case_id=ids.new_id(),
                person_id=person_id,
                today=today,
            )
        except LiandongError as error:
            outcomes.append(error)
            continue
        with_case.add(key)
        outcomes.append(CaseFile(case, ()))
    await case_store.add_cases(
        session, [made.case for made in outcomes if isinstance(made, CaseFile)]
    )
    return outcomes


@dataclass(slots=True)
class _Table:
    """What lies on the table while cases of a county are decided."""

    work: Work
    cases: dict[UUID, Case]
    covers: dict[Key, Cover]
    paid_since: dict[UUID, Amounts]
    today: date
    person_id: str
    owners: Mapping[UUID, str]
    """By loan whose it is: the margin of that one pays."""
    shared: list[CaseFile] = field(default_factory=list)
    released: list[Cover] = field(default_factory=list)


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
    person_id = caller.require_person()
    today = await business_day.today(session, county_code)
    keys = [(county_code, decision.case_id) for decision in decisions]
    cases = await case_store.lock_cases(session, keys)
    loans = [(county_code, case.loan_id) for case in cases.values()]
    covers = await cover_store.lock_covers(session, loans)
    work = Work(await fund_store.lock_funds(session, [county_code]))
    paid_since = await case_store.paid_since_filing(session, keys)
    owners = await lending_store.borrowers_of(session, loans)
    table = _Table(work, cases, covers, paid_since, today, person_id, owners)
    balances = {fund_id: fund.balance_fen for fund_id, fund in work.funds.items()}
    outcomes = [_decided(catalogue, table, decision) for decision in decisions]
    _ask_for_top_ups(Leverage(catalogue), work, balances, today)
    done = [outcome for outcome in outcomes if isinstance(outcome, CaseFile)]
    await case_store.save_cases(session, [case_file.case for case_file in done])
    await case_store.add_parts(session, [part for case_file in done for part in case_file.parts])
    await cover_store.save_covers(session, table.released)
    await work.write(session)
    return outcomes


def _decided(catalogue: Catalogue, table: _Table, decision: Decision) -> Outcome:
    try:
        case = table.cases.get(decision.case_id)
        if case is None:
            raise NotFound("CASE_NOT_FOUND", f"no case {decision.case_id}", message_zh="无此案件")
        case_rules.check_decision(case, decision, table.person_id)
        if decision.approve:
            made = _compensate(catalogue, table, case, decision.reason)
        else:
            made = case_rules.deny(case, decision, person_id=table.person_id, today=table.today)
    except LiandongError as error:
        return error
    table.cases[case.case_id] = made.case
    return made


def _compensate(catalogue: Catalogue, table: _Table, case: Case, reason: str) -> CaseFile:
    """Pay one case: its parts, the funds that pay, the cover that is used up."""
    work, today = table.work, table.today
    county_code = case.county_code
    cover = case_rules.check_covered(table.covers.get((county_code, case.loan_id)), case.loan_id)
    compensation = case_rules.compensate(
        case,
        model=_model_of(catalogue, county_code, case.programme, case.model_id),
        paid_since=table.paid_since.get(case.case_id, Amounts(Fen(0), Fen(0))),
        funds=pots(
            work.of(county_code, split_ref(case.programme)[0]),
            area_code=cover.area_code,
            owner_id=table.owners.get(case.loan_id, ""),
        ),
        parties=catalogue.parties(county_code, case.programme),
        reason=reason,
        person_id=table.person_id,
        today=today,
    )
    case_file = compensation.case_file
    before = {fund.fund_id: work.funds[fund.fund_id] for fund in compensation.funds}
    for fund in compensation.funds:
        work.put(fund)
    work.entries.append(_compensation_entry(case_file, before, work.funds, today))
    work.events.append(events_out.compensation_paid(case_file, today))
    work.events += [events_out.fund_suspended(fund, today) for fund in compensation.suspended]
    released = release_one(work, cover, CoverState.COMPENSATED, today)
    table.covers[cover.key] = released
    table.released.append(released)
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


async def share_recoveries(
    session: AsyncSession, recovered: Sequence[Recovered], on: Mapping[str, date]
) -> None:
    """Give recovered money back to those who bore the loss; a loan without a case has none."""
    if not recovered:
        return
    cases = await case_store.lock_paid_cases(
        session, [(r.county_code, r.loan_id) for r in recovered]
    )
    if not cases:
        return
    work = Work(await fund_store.lock_funds(session, {case.county_code for case in cases.values()}))
    keys = [case.key for case in cases.values()]
    parts = {key: tuple(found) for key, found in (await case_store.parts_of(session, keys)).items()}
    made: list[Recovery] = []
    for (key, payout_id), amount in _by_case(recovered, cases).items():
        case, day = cases[key], on[key[0]]
        back = case_rules.share_back(parts[case.case_id], amount)
        parts[case.case_id] = back.parts
        recovery = Recovery(
            county_code=case.county_code,
            recovery_id=ids.new_id(),
            case_id=case.case_id,
            payout_id=payout_id,
            amount_fen=amount,
            shares=back.shares,
            household_fen=back.household_fen,
            business_date=day,
        )
        made.append(recovery)
        cases[key] = replace(case, version=case.version + 1)
        case_file = CaseFile(cases[key], back.parts)
        _book_recovery(work, case_file, recovery)
        work.events.append(events_out.recovery_shared(case_file, recovery, day))
    await case_store.add_recoveries(session, made)
    await case_store.save_recovered(session, [part for found in parts.values() for part in found])
    await case_store.save_cases(session, list(cases.values()))
    if made:
        cause = str(made[0].recovery_id)
        await pay_debts(session, work, sorted(work.changed), cause=cause, on=on)
    await work.write(session)


def _by_case(
    recovered: Sequence[Recovered], cases: Mapping[Key, Case]
) -> dict[tuple[Key, str], Fen]:
    """Amounts by loan and payout, in the order heard, of the loans that have a case."""
    amounts: dict[tuple[Key, str], Fen] = {}
    for each in recovered:
        key = ((each.county_code, each.loan_id), each.payout_id)
        if key[0] in cases and each.amount_fen > 0:
            amounts[key] = Fen(amounts.get(key, 0) + each.amount_fen)
    return amounts


def _book_recovery(work: Work, case_file: CaseFile, recovery: Recovery) -> None:
    """Money of funds is theirs at once; the lender holds what belongs to others."""
    case = case_file.case
    held = Account("recovery_held", case.lender_id)
    by_position = {part.position: part for part in case_file.parts}
    moved: list[Transfer] = []
    for position, amount in recovery.shares:
        part = by_position[position]
        if part.fund_id is not None:
            fund = work.funds[part.fund_id]
            work.put(money_rules.receive(fund, amount, case.lender_id))
            income = Account("recoveries", str(case.case_id))
            moved += cash_moves(fund, work.funds[part.fund_id], income)
        else:
            kept = "lender_recovery" if part.own_loss else "recovery_payable"
            moved.append(Transfer(held, Account(kept, part.institution_id), amount))
    rest = Account("household_payable", str(case.loan_id))
    moved.append(Transfer(held, rest, recovery.household_fen))
    on = recovery.business_date
    cause = str(recovery.recovery_id)
    work.entries.append(Entry(case.county_code, "recovery", cause, on, on, tuple(moved)))
