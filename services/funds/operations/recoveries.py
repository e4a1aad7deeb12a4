"""Funds: after a compensation: shares paid late, money that comes back or goes back, write-off."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds import events_out
from services.funds.model import (
    Case,
    CaseFile,
    Collected,
    Key,
    Part,
    Recovered,
    Recovery,
    Source,
    TakenUp,
    WriteOff,
)
from services.funds.operations.cases import LENDERS, found, step_of
from services.funds.operations.shared import Work, cash_moves, pay_debts
from services.funds.rules import cases as case_rules
from services.funds.rules import money as money_rules
from services.funds.rules import recoveries as rules
from services.funds.store import cases as case_store
from services.funds.store import funds as fund_store
from services.funds.store import recoveries as recovery_store
from services.funds.store import steps as step_store
from services.kernel import business_day, ids
from services.kernel.caller import Caller, require_role
from services.kernel.errors import NotFound, Refused
from services.kernel.journal import Account, Entry, Transfer
from services.kernel.money import Fen
from services.kernel.values import replace

COLLECTORS = (*LENDERS, "guarantor", "county_centre", "finance_bureau")
PROPOSERS = (*LENDERS, "county_centre", "finance_bureau")
WRITE_OFF_DECIDERS = ("finance_bureau", "county_centre")
TAKEN_UP = "LESS_WAS_OWED"


@dataclass(slots=True)
class _Desk:
    """Compensated cases with their parts while recoveries are shared or undone."""

    work: Work
    cases: dict[UUID, Case]
    parts: dict[UUID, tuple[Part, ...]]
    made: list[Recovery] = field(default_factory=list)

    def file(self, case_id: UUID) -> CaseFile:
        """A case with its parts as they are now."""
        return CaseFile(self.cases[case_id], self.parts[case_id])

    def share(self, recovery: Recovery) -> Recovery:
        """Give one recovery to those who bore the loss; of what waits nobody is told."""
        case_id, day = recovery.case_id, recovery.business_date
        recovery, self.parts[case_id] = rules.share(self.parts[case_id], recovery)
        self.made.append(recovery)
        if not recovery.amount_fen:
            return recovery
        case = self.cases[case_id]
        self.cases[case_id] = replace(case, version=case.version + 1)
        by_position = {part.position: part for part in self.parts[case_id]}
        for position, amount in recovery.shares:
            self.work.move(
                by_position[position],
                "recovered",
                amount,
                day,
                value_date=recovery.value_date,
                reference=str(recovery.recovery_id),
            )
        case_file = self.file(case_id)
        _book_recovery(self.work, case_file, recovery)
        self.work.events.append(events_out.recovery_shared(case_file, recovery, day))
        return recovery

    async def write(self, session: AsyncSession, on: Mapping[str, date]) -> None:
        """Write what was shared; funds pay what they owe with what they got."""
        await recovery_store.add_recoveries(session, self.made)
        await case_store.save_parts(session, [p for each in self.parts.values() for p in each])
        await case_store.save_cases(session, list(self.cases.values()))
        if self.made:
            cause = str(self.made[0].recovery_id)
            await pay_debts(session, self.work, sorted(self.work.changed), cause=cause, on=on)
        await self.work.write(session)


async def _desk(session: AsyncSession, cases: Mapping[UUID, Case], counties: set[str]) -> _Desk:
    """The funds of the counties are locked after the cases; only then the parts are read."""
    work = Work(await fund_store.lock_funds(session, counties))
    found_parts = await case_store.parts_of(session, [case.key for case in cases.values()])
    parts = {case_id: tuple(found_parts.get(case_id, ())) for case_id in cases}
    return _Desk(work, dict(cases), parts)


async def share_recoveries(
    session: AsyncSession, recovered: Sequence[Recovered], on: Mapping[str, date]
) -> None:
    """Give recovered money back to those who bore the loss; a loan without a case has none."""
    if not recovered:
        return
    by_loan = await case_store.lock_paid_cases(
        session, [(r.county_code, r.loan_id) for r in recovered]
    )
    if not by_loan:
        return
    cases = {case.case_id: case for case in by_loan.values()}
    desk = await _desk(session, cases, {county for county, _ in by_loan})
    for each in _merged(recovered, by_loan):
        day = on[each.county_code]
        desk.share(
            Recovery(
                county_code=each.county_code,
                recovery_id=ids.new_id(),
                case_id=by_loan[each.county_code, each.loan_id].case_id,
                reference=each.reference,
                amount_fen=each.amount_fen,
                shares=(),
                household_fen=Fen(0),
                business_date=day,
                source=each.source,
                value_date=each.value_date or day,
                collected_by=by_loan[each.county_code, each.loan_id].lender_id,
            )
        )
    await desk.write(session, on)


def _merged(recovered: Sequence[Recovered], cases: Mapping[Key, Case]) -> list[Recovered]:
    """One by loan, source and reference, in the order heard, of the loans that have a case."""
    found_: dict[tuple[Key, Source, str], Recovered] = {}
    for each in recovered:
        loan = (each.county_code, each.loan_id)
        if loan not in cases or each.amount_fen <= 0:
            continue
        key = (loan, each.source, each.reference)
        before = found_[key].amount_fen if key in found_ else 0
        found_[key] = replace(each, amount_fen=Fen(before + each.amount_fen))
    return list(found_.values())


async def record_recovery(
    session: AsyncSession, caller: Caller, county_code: str, collected: Collected
) -> tuple[CaseFile, Recovery]:
    """Share what somebody collected, after its costs; the loan hears of it."""
    require_role(caller, COLLECTORS)
    caller.require_person()
    today = await business_day.today(session, county_code)
    cases = await case_store.lock_cases(session, [(county_code, collected.case_id)])
    case = found(cases, collected.case_id)
    rules.check_paid(case)
    desk = await _desk(session, cases, {county_code})
    parts = desk.parts[case.case_id]
    if caller.role not in ("county_centre", "finance_bureau"):
        rules.check_part(case, parts, caller.institution_id)
    rules.check_collected(case, collected, today)
    if rules.left_fen(parts) == 0:
        rules.check_left(case, parts)
    recovery = desk.share(
        Recovery(
            county_code=county_code,
            recovery_id=ids.new_id(),
            case_id=case.case_id,
            reference=collected.reference,
            amount_fen=collected.recovered_fen,
            shares=(),
            household_fen=Fen(0),
            business_date=today,
            source=Source.COLLECTED,
            value_date=collected.value_date,
            costs_fen=collected.costs_fen,
            collected_by=caller.institution_id,
            evidence=collected.evidence,
        )
    )
    await desk.write(session, {county_code: today})
    return desk.file(case.case_id), recovery


def _book_recovery(work: Work, case_file: CaseFile, recovery: Recovery) -> None:
    """Money of funds is theirs at once; the collector holds what belongs to others."""
    lender_id = case_file.case.lender_id
    income = Account("recoveries", str(case_file.case.case_id))
    by_position = {part.position: part for part in case_file.parts}
    moved = _held(case_file, recovery)
    for position, amount in recovery.shares:
        fund_id = by_position[position].fund_id
        if fund_id is not None:
            fund = work.funds[fund_id]
            work.put(money_rules.receive(fund, amount, lender_id))
            moved += cash_moves(fund, work.funds[fund_id], income)
    _post(work, recovery, "recovery", moved)


def _held(case_file: CaseFile, recovery: Recovery) -> list[Transfer]:
    """What the collector holds for institutions and the household, and what it had to spend."""
    case = case_file.case
    held = Account("recovery_held", recovery.collected_by or case.lender_id)
    by_position = {part.position: part for part in case_file.parts}
    moved: list[Transfer] = []
    for position, amount in recovery.shares:
        part = by_position[position]
        if part.fund_id is None:
            kept = "lender_recovery" if part.own_loss else "recovery_payable"
            moved.append(Transfer(held, Account(kept, part.institution_id), amount))
    rest = Account("household_payable", str(case.loan_id))
    moved.append(Transfer(held, rest, recovery.household_fen))
    costs = Account("collection_costs", str(case.case_id))
    moved.append(Transfer(costs, held, recovery.costs_fen))
    return moved


def _post(work: Work, recovery: Recovery, kind: str, moved: Sequence[Transfer]) -> None:
    on, cause = recovery.business_date, str(recovery.recovery_id)
    entry = Entry(recovery.county_code, kind, cause, recovery.value_date, on, tuple(moved))
    work.entries.append(entry)


# --- what goes back -------------------------------------------------------------------------------


async def take_up(session: AsyncSession, taken: Sequence[TakenUp], on: Mapping[str, date]) -> None:
    """
    The loan's book had less for those who paid than was shared of what was collected.

    Its own money had come before, which we did not know: that is theirs, and of the collected money
    the loan has the rest in suspense. What waited is shared then.
    """
    by_loan = await case_store.lock_paid_cases(
        session, [(each.county_code, each.loan_id) for each in taken]
    )
    if not by_loan:
        return
    desk = await _desk(
        session,
        {case.case_id: case for case in by_loan.values()},
        {county for county, _ in by_loan},
    )
    for county in sorted({each.county_code for each in taken}):
        day = on[county]
        own = {each.recovery_id: each for each in taken if each.county_code == county}
        found_ = await recovery_store.collected_recoveries(session, county, list(own))
        for recovery_id, recovery in sorted(found_.items()):
            await _undo_one(session, desk, recovery, TAKEN_UP, day)
            await recovery_store.add_reversals(session, [(recovery, TAKEN_UP, day)])
            again = rules.taken_up(recovery, own[recovery_id], ids.new_id(), day)
            if again.amount_fen:
                desk.share(again)
    await _share_waiting(session, desk, on)
    await desk.write(session, on)


async def _share_waiting(session: AsyncSession, desk: _Desk, on: Mapping[str, date]) -> None:
    """Something is left again: what stood in the loans' books and nobody could get is shared."""
    open_ = [case.key for case in desk.cases.values() if rules.left_fen(desk.parts[case.case_id])]
    for each in await recovery_store.waiting_recoveries(session, open_) if open_ else ():
        if rules.left_fen(desk.parts[each.case_id]):
            desk.share(rules.again(each, ids.new_id(), on[each.county_code]))


async def undo_payouts(
    session: AsyncSession, payouts: Sequence[tuple[str, str, str]], on: Mapping[str, date]
) -> None:
    """Payouts (county, payout, reason) were reversed: what was shared of them goes back."""
    keys = [(county, payout) for county, payout, _ in payouts]
    loans = await recovery_store.cases_of_payouts(session, keys)
    reasons = {(county, payout): reason for county, payout, reason in payouts}
    wanted: list[tuple[str, UUID | None, str]] = [(county, None, each) for county, each in keys]
    await _undo(session, loans, (Source.PAYOUT, wanted), reasons, on)


async def undo_repayments(
    session: AsyncSession, undone: Sequence[tuple[str, UUID, str]], on: Mapping[str, date]
) -> None:
    """Repayments (county, loan, number) were reversed: what was shared of them goes back."""
    loans = [(county, loan_id) for county, loan_id, _ in undone]
    wanted: list[tuple[str, UUID | None, str]] = list(undone)
    await _undo(session, loans, (Source.REPAYMENT, wanted), {}, on)


async def _undo(
    session: AsyncSession,
    loans: Sequence[Key],
    wanted: tuple[Source, Sequence[tuple[str, UUID | None, str]]],
    reasons: Mapping[tuple[str, str], str],
    on: Mapping[str, date],
) -> None:
    by_loan = await case_store.lock_paid_cases(session, loans)
    if not by_loan:
        return
    cases = {case.case_id: case for case in by_loan.values()}
    desk = await _desk(session, cases, {county for county, _ in by_loan})
    undone: list[tuple[Recovery, str, date]] = []
    for recovery in await recovery_store.standing_recoveries(session, *wanted):
        day = on[recovery.county_code]
        reason = reasons.get((recovery.county_code, recovery.reference), "REPAYMENT_REVERSED")
        await _undo_one(session, desk, recovery, reason, day)
        undone.append((recovery, reason, day))
    if not undone:
        return
    await recovery_store.add_reversals(session, undone)
    await _share_waiting(session, desk, on)
    await desk.write(session, on)


async def _undo_one(
    session: AsyncSession, desk: _Desk, recovery: Recovery, reason: str, day: date
) -> None:
    """The mirror of one recovery; what a fund has spent of it it owes again (S20)."""
    case_id, work = recovery.case_id, desk.work
    parts = {part.position: part for part in desk.parts[case_id]}
    rules.check_undone(recovery, list(parts.values()))
    if not recovery.amount_fen:
        return
    income = Account("recoveries", str(case_id))
    moved = [
        Transfer(each.credit, each.debit, each.amount_fen)
        for each in _held(desk.file(case_id), recovery)
    ]
    short: list[tuple[UUID, int, Fen]] = []
    for position, amount in recovery.shares:
        part = parts[position]
        fund = work.funds[part.fund_id] if part.fund_id else None
        taken = rules.take_back(part, fund, amount, desk.cases[case_id].lender_id)
        parts[position] = taken.part
        reference = f"{recovery.recovery_id}:{reason}"
        work.move(part, "recovered", -amount, day, reference=reference)
        if fund is None or taken.fund is None:
            continue
        work.put(taken.fund)
        if taken.fund.version != fund.version:
            work.events.append(events_out.fund_suspended(taken.fund, day))
        moved += cash_moves(fund, taken.fund, income)
        owed = Account("share_payable", str(fund.fund_id))
        moved.append(Transfer(income, owed, taken.owed_again_fen))
        if taken.owed_again_fen:
            short.append((fund.fund_id, position, taken.owed_again_fen))
    case = desk.cases[case_id] = replace(
        desk.cases[case_id], version=desk.cases[case_id].version + 1
    )
    desk.parts[case_id] = tuple(parts.values())
    _post(work, replace(recovery, business_date=day), "recovery_reversed", moved)
    work.events.append(events_out.recovery_reversed(case, recovery, reason, day))
    # What is owed again is found in the database, where this must be seen.
    await case_store.save_parts(session, desk.parts[case_id])
    for fund_id, position, missing in short:
        await _owe_again(session, desk, recovery, (fund_id, position, missing), day)


async def _owe_again(
    session: AsyncSession,
    desk: _Desk,
    recovery: Recovery,
    short: tuple[UUID, int, Fen],
    day: date,
) -> None:
    """A fund had spent what went back: it owes again what it paid with it."""
    fund_id, position, missing = short
    work = desk.work
    own = (recovery.case_id, position)
    paid = await case_store.paid_parts_of(session, fund_id)
    ordered = sorted(paid, key=lambda part: (part.case_id, part.position) != own)
    changed = rules.owe_again(ordered, missing)
    before = {(part.case_id, part.position): part for part in paid}
    loans = await case_store.loans_of(session, changed)
    for part in changed:
        again = before[part.case_id, part.position].paid_fen - part.paid_fen
        work.move(part, "paid", -again, day, reference=str(recovery.recovery_id))
        work.events.append(events_out.share_paid(part, loans[part.case_id], -again, day))
        if part.case_id in desk.parts:
            desk.parts[part.case_id] = tuple(
                part if each.position == part.position else each
                for each in desk.parts[part.case_id]
            )
    await case_store.save_parts(session, changed)


# --- shares that institutions pay -----------------------------------------------------------------


async def confirm_share(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    case_id: UUID,
    *,
    position: int,
    amount_fen: Fen,
    value_date: date,
    reference: str,
) -> CaseFile:
    """The lender has got what an institution owed it."""
    require_role(caller, LENDERS)
    person_id = caller.require_person()
    today = await business_day.today(session, county_code)
    cases = await case_store.lock_cases(session, [(county_code, case_id)])
    case = found(cases, case_id)
    case_rules.check_case_lender(case, caller.institution_id)
    rules.check_paid(case)
    rules.check_value_date(case, value_date, today)
    desk = await _desk(session, cases, {county_code})
    confirmed = rules.confirm(desk.parts[case_id], position, amount_fen)
    part, work = confirmed.part, desk.work
    desk.parts[case_id] = tuple(
        part if each.position == position else each for each in desk.parts[case_id]
    )
    work.move(
        part,
        "paid",
        amount_fen,
        today,
        value_date=value_date,
        reference=reference,
        person_id=person_id,
    )
    owed = Account("share_payable", part.institution_id)
    paid = Transfer(owed, Account("share_paid", part.institution_id), amount_fen)
    cause = f"{case_id}:{position}:{part.version}"
    work.entries.append(Entry(county_code, "share_paid", cause, value_date, today, (paid,)))
    work.events.append(events_out.share_paid(part, case.loan_id, amount_fen, today))
    await desk.write(session, {county_code: today})
    return desk.file(case_id)


# --- write-off ------------------------------------------------------------------------------------


async def propose_write_off(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    case_id: UUID,
    *,
    reason: str,
    evidence: Sequence[str],
) -> Fen:
    """Propose to give up what never came back; how much that is."""
    require_role(caller, PROPOSERS)
    person_id = caller.require_person()
    today = await business_day.today(session, county_code)
    cases = await case_store.lock_cases(session, [(county_code, case_id)])
    case = found(cases, case_id)
    if caller.role in LENDERS:
        case_rules.check_case_lender(case, caller.institution_id)
    else:
        caller.require_area(county_code)
    parts = (await case_store.parts_of(session, [case.key])).get(case_id, [])
    amount = rules.propose_write_off(case, parts)
    if await recovery_store.open_write_off(session, county_code, case_id) is not None:
        raise Refused(
            "WRITE_OFF_PROPOSED", "a proposal waits already", message_zh="已有待决定的核销提议"
        )
    proposed = WriteOff(
        county_code=county_code,
        write_off_id=ids.new_id(),
        case_id=case_id,
        amount_fen=amount,
        reason=reason,
        evidence=tuple(evidence),
        proposed_by=person_id,
        proposed_on=today,
    )
    await recovery_store.add_write_off(session, proposed)
    return amount


async def decide_write_off(
    session: AsyncSession, caller: Caller, county_code: str, case_id: UUID, *, approve: bool
) -> CaseFile:
    """Another person gives up what has not come back by now, or leaves the case open."""
    require_role(caller, WRITE_OFF_DECIDERS)
    caller.require_area(county_code)
    person_id = caller.require_person()
    today = await business_day.today(session, county_code)
    cases = await case_store.lock_cases(session, [(county_code, case_id)])
    case = found(cases, case_id)
    proposed = await recovery_store.open_write_off(session, county_code, case_id)
    if proposed is None:
        raise NotFound(
            "NO_WRITE_OFF_PROPOSED",
            f"nothing is proposed for {case_id}",
            message_zh="无待决定的核销",
        )
    rules.check_second(proposed.proposed_by, person_id)
    desk = await _desk(session, cases, {county_code})
    await recovery_store.decide_write_off(
        session, proposed, person_id=person_id, on=today, approved=approve
    )
    if not approve:
        return desk.file(case_id)
    parts = desk.parts[case_id]
    # What came back since it was proposed is not given up.
    amount = rules.propose_write_off(case, parts)
    closed = desk.cases[case_id] = rules.write_off(case, amount)
    for part in parts:
        rest = part.amount_fen - part.recovered_fen
        desk.work.move(part, "written_off", rest, today, person_id=person_id)
    row = step_of(
        closed, "written_off", caller, today, reason=proposed.reason, evidence=proposed.evidence
    )
    await step_store.add_steps(session, [row])
    desk.work.events.append(events_out.case_written_off(closed, amount, today))
    await desk.write(session, {county_code: today})
    return desk.file(case_id)
