"""Funds: the use cases. Each is load, decide, save, say, inside the caller's transaction."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds import events_out
from services.funds.model import (
    Amounts,
    Case,
    CaseFile,
    Contribution,
    Cover,
    CoverState,
    Decision,
    Filing,
    Fund,
    FundState,
    Key,
    LoanPayment,
    Part,
    Recovered,
    Recovery,
    Statement,
)
from services.funds.rules import cases as case_rules
from services.funds.rules import cover as cover_rules
from services.funds.rules import money as money_rules
from services.funds.store import cases as case_store
from services.funds.store import cover as cover_store
from services.funds.store import funds as fund_store
from services.funds.store import shared as shared_store
from services.kernel import business_day, ids, journal, outbox
from services.kernel.caller import Caller, require_role
from services.kernel.errors import Conflict, LiandongError, NotFound, Refused, invalid_field
from services.kernel.journal import Account, Entry, Transfer
from services.kernel.money import Fen
from services.kernel.outbox import OutgoingEvent
from services.programmes.loader import Catalogue
from services.programmes.schema.fund import SharingModel
from services.programmes.schema.pack import split_ref
from services.programmes.schema.values import known

FUND_OPENERS = ("county_centre", "finance_bureau")
CONTRIBUTORS = ("finance_bureau",)
LENDERS = ("bank", "mutual_aid_society", "insurer")
DECIDERS = ("county_centre",)

Outcome = CaseFile | LiandongError
"""What became of one item of a batch."""


@dataclass(slots=True)
class _Work:
    """What one transaction has decided and not written yet."""

    funds: dict[UUID, Fund]
    changed: set[UUID] = field(default_factory=set)
    entries: list[Entry] = field(default_factory=list)
    events: list[OutgoingEvent] = field(default_factory=list)

    def put(self, fund: Fund) -> None:
        """Take a fund's new value, if it is one."""
        if self.funds[fund.fund_id] != fund:
            self.funds[fund.fund_id] = fund
            self.changed.add(fund.fund_id)

    def of(self, county_code: str, programme_id: str) -> list[Fund]:
        """The funds of one programme in a county that are not closed."""
        return [
            fund
            for fund in self.funds.values()
            if fund.county_code == county_code
            and fund.programme_id == programme_id
            and fund.state is not FundState.CLOSED
        ]

    async def write(self, session: AsyncSession) -> None:
        """Write funds, journal and events."""
        await fund_store.save_funds(
            session, [self.funds[fund_id] for fund_id in sorted(self.changed)]
        )
        await journal.post(session, self.entries)
        await outbox.record(session, self.events)


class _Leverage:
    """The multiple that holds for a fund on a day; looked up once a transaction."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._known: dict[tuple[str, str, date], int] = {}

    def multiple(self, county_code: str, programme_id: str, on: date) -> int:
        """Rules about funds use the version in force on the day; refused while it is open."""
        key = (county_code, programme_id, on)
        if key not in self._known:
            ref = self._catalogue.in_force(county_code, programme_id, on)
            self._known[key] = known(self._catalogue.terms(county_code, ref).fund.multiple)
        return self._known[key]

    def top_up_fen(self, fund: Fund, on: date) -> Fen:
        """What a fund needs by the rules of the day; nothing while they are open."""
        try:
            multiple = self.multiple(fund.county_code, fund.programme_id, on)
        except (NotFound, Refused):
            return fund.owed_fen
        ref = self._catalogue.in_force(fund.county_code, fund.programme_id, on)
        minimum = self._catalogue.terms(fund.county_code, ref).fund.min_balance_fen or 0
        return money_rules.top_up_fen(fund, multiple=multiple, min_balance_fen=minimum)


async def days(session: AsyncSession, said_on: Mapping[str, date]) -> dict[str, date]:
    """Each county's business date here; that of the event where no day was opened yet."""
    return {**said_on, **await shared_store.business_days(session, said_on)}


# --- funds ---------------------------------------------------------------------------------------


async def open_fund(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    *,
    county_code: str,
    programme_id: str,
    kind: str,
) -> Fund:
    """Open a fund that is a party or a pot of a programme which the county follows."""
    require_role(caller, FUND_OPENERS)
    caller.require_area(county_code)
    today = await business_day.today(session, county_code)
    ref = catalogue.in_force(county_code, programme_id, today)
    models = catalogue.terms(county_code, ref).fund.models
    kinds = {name for model in models for name in (*model.parties, *model.pots)}
    kinds -= {model.otherwise_borne_by for model in models}
    if kind not in kinds:
        rule = f"must be one of {', '.join(sorted(kinds))}"
        raise invalid_field("KIND_NOT_IN_PROGRAMME", "kind", kind, rule, "方案中无此基金类别")
    institutions = catalogue.parties(county_code, ref).get(kind, ())
    fund = Fund(
        county_code=county_code,
        fund_id=ids.new_id(),
        programme_id=programme_id,
        kind=kind,
        institution_id=institutions[0] if institutions else caller.institution_id,
        state=FundState.OPEN,
        balance_fen=Fen(0),
        covered_fen=Fen(0),
        owed_fen=Fen(0),
        leverage_reached=False,
        version=0,
    )
    if not await fund_store.add_fund(session, fund):
        raise Conflict(
            "FUND_EXISTS", f"county {county_code} has a {kind} already", message_zh="该基金已存在"
        )
    return fund


async def record_contribution(
    session: AsyncSession,
    caller: Caller,
    *,
    county_code: str,
    fund_id: UUID,
    source: str,
    amount_fen: Fen,
    value_date: date,
) -> Fund:
    """Post money that arrived; what the fund owes is paid from it first."""
    require_role(caller, CONTRIBUTORS)
    caller.require_area(county_code)
    today = await business_day.today(session, county_code)
    work = _Work(await fund_store.lock_funds(session, [county_code]))
    fund = work.funds.get(fund_id)
    if fund is None:
        raise NotFound("FUND_NOT_FOUND", f"no fund {fund_id}", message_zh="无此基金")
    money_rules.check_contribution(fund, value_date, today)
    made = Contribution(
        county_code, ids.new_id(), fund_id, source, amount_fen, value_date, business_date=today
    )
    cause = str(made.contribution_id)
    moved = Transfer(_cash(fund_id), Account("contributions", source), amount_fen)
    work.entries.append(Entry(county_code, "contribution", cause, value_date, today, (moved,)))
    work.put(money_rules.receive(fund, amount_fen))
    await fund_store.add_contribution(session, made)
    await _pay_debts(session, work, [fund_id], cause=cause, on={county_code: today})
    await work.write(session)
    return work.funds[fund_id]


async def _pay_debts(
    session: AsyncSession,
    work: _Work,
    fund_ids: Iterable[UUID],
    *,
    cause: str,
    on: Mapping[str, date],
) -> None:
    """Let funds that received money pay what they owe."""
    owing = [fund_id for fund_id in fund_ids if work.funds[fund_id].owed_fen]
    if not owing:
        return
    paid: list[Part] = []
    for fund_id, debts in (await case_store.debts_of(session, owing)).items():
        fund, payments = money_rules.pay_debts(work.funds[fund_id], debts)
        work.put(fund)
        paid += [payment.part for payment in payments]
        moved = tuple(
            Transfer(Account("share_payable", str(fund_id)), _cash(fund_id), payment.amount_fen)
            for payment in payments
        )
        name, day = f"{cause}/{fund_id}", on[fund.county_code]
        work.entries.append(Entry(fund.county_code, "debt_payment", name, day, day, moved))
    await case_store.save_paid(session, paid)


def _cash(fund_id: UUID) -> Account:
    return Account("fund_cash", str(fund_id))


# --- cover ---------------------------------------------------------------------------------------


async def reserve_covers(
    session: AsyncSession, catalogue: Catalogue, wanted: Sequence[Cover], on: Mapping[str, date]
) -> None:
    """Answer requests for cover in their order, under the locks of their counties' funds."""
    if not wanted:
        return
    covers = await cover_store.lock_covers(session, [cover.key for cover in wanted])
    work = _Work(await fund_store.lock_funds(session, [cover.county_code for cover in wanted]))
    leverage = _Leverage(catalogue)
    answered: dict[Key, Cover] = {}
    for asked in wanted:
        before = covers.get(asked.key)
        if before is not None and before.state is CoverState.COMPENSATED:
            continue
        day = on[asked.county_code]
        cover = asked if before is None else cover_rules.ask_again(before, asked)
        done = _reserve_one(catalogue, leverage, work, cover, day)
        covers[asked.key] = answered[asked.key] = done.cover
        if done.reason:
            refused = events_out.cover_refused(done.cover, done.reason, done.headroom_fen, day)
            work.events.append(refused)
        else:
            work.events.append(events_out.cover_reserved(done.cover, day))
        if done.fund is not None:
            work.put(done.fund)
            if done.reached_now:
                work.events.append(events_out.leverage_reached(done.fund, done.capacity_fen, day))
    await cover_store.save_covers(session, list(answered.values()))
    await work.write(session)


def _reserve_one(
    catalogue: Catalogue, leverage: _Leverage, work: _Work, cover: Cover, on: date
) -> cover_rules.Reservation:
    """A programme that is open or unknown is a reason to refuse, never a fault of the event."""
    try:
        terms = catalogue.terms(cover.county_code, cover.programme)
        model = cover_rules.sharing_model(terms, cover.borrower_class)
        programme_id = split_ref(cover.programme)[0]
        funds = work.of(cover.county_code, programme_id)
        fund = cover_rules.backing_fund(model, funds) if model else None
        if model is None or fund is None:
            return cover_rules.refuse(cover, "NO_FUND")
        multiple = leverage.multiple(cover.county_code, programme_id, on)
        return cover_rules.reserve(cover, fund, model_id=model.id, multiple=multiple)
    except LiandongError as error:
        return cover_rules.refuse(cover, error.reason)
    except ValueError:
        return cover_rules.refuse(cover, "PROGRAMME_UNKNOWN")


async def release_covers(
    session: AsyncSession, loans: Iterable[Key], on: Mapping[str, date]
) -> None:
    """Give back the cover of loans that were refused or settled, where there is any."""
    await _release(session, await cover_store.lock_covers(session, loans), CoverState.RELEASED, on)


async def void_unused(
    session: AsyncSession, county_code: str, *, scope: str, scope_id: str, on: date
) -> None:
    """Lending stopped in a scope: cover that no disbursed loan stands on goes back."""
    prefix = scope_id if scope in ("village", "township", "county") else ""
    lender_id = scope_id if scope == "lender" else ""
    if not prefix and not lender_id:
        return
    covers = await cover_store.lock_unused_covers(
        session, county_code, area_prefix=prefix, lender_id=lender_id
    )
    await _release(session, covers, CoverState.VOIDED, {county_code: on})


async def _release(
    session: AsyncSession,
    covers: Mapping[Key, Cover],
    state: CoverState,
    on: Mapping[str, date],
) -> None:
    held = [cover for cover in covers.values() if cover.state is CoverState.RESERVED]
    if not held:
        return
    work = _Work(await fund_store.lock_funds(session, [cover.county_code for cover in held]))
    released = [_release_one(work, cover, state, on[cover.county_code]) for cover in held]
    await cover_store.save_covers(session, released)
    await work.write(session)


def _release_one(work: _Work, cover: Cover, state: CoverState, on: date) -> Cover:
    assert cover.fund_id is not None
    released, fund = cover_rules.release(cover, work.funds[cover.fund_id], state)
    work.put(fund)
    work.events.append(events_out.cover_released(released, on))
    return released


async def mark_disbursed(
    session: AsyncSession, catalogue: Catalogue, loans: Sequence[Key], on: Mapping[str, date]
) -> None:
    """
    Note that loans were paid out.

    Where a breaker's trip overtook the news, cover was given back too early: it is asked for again.
    """
    covers = await cover_store.lock_covers(session, loans)
    paid_out = [replace(cover, disbursed=True) for cover in covers.values()]
    await cover_store.save_covers(session, paid_out)
    voided = [cover for cover in paid_out if cover.state is CoverState.VOIDED]
    await reserve_covers(session, catalogue, voided, on)


# --- what is known of covered loans --------------------------------------------------------------


async def keep_statements(session: AsyncSession, statements: Sequence[Statement]) -> None:
    """Keep the latest word on each overdue loan."""
    latest: dict[Key, Statement] = {}
    for each in statements:
        key = (each.county_code, each.loan_id)
        if key not in latest or latest[key].loan_sequence < each.loan_sequence:
            latest[key] = each
    await cover_store.save_statements(session, list(latest.values()))


async def keep_payments(session: AsyncSession, payments: Sequence[LoanPayment]) -> None:
    """Keep what was paid on loans; one row a loan and event."""
    merged: dict[tuple[UUID, UUID], LoanPayment] = {}
    for each in payments:
        key = (each.loan_id, each.event_id)
        if key in merged:
            paid = Amounts(
                Fen(merged[key].paid.principal_fen + each.paid.principal_fen),
                Fen(merged[key].paid.interest_fen + each.paid.interest_fen),
            )
            merged[key] = replace(each, paid=paid)
        else:
            merged[key] = each
    await cover_store.add_payments(session, list(merged.values()))


async def undo_payout(
    session: AsyncSession, county_code: str, payout_id: str, *, event_id: UUID, on: date
) -> None:
    """An allocation was undone: its loans are owed again what it had paid."""
    await cover_store.undo_payout(session, county_code, payout_id, event_id=event_id, on=on)


# --- compensation --------------------------------------------------------------------------------


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

    work: _Work
    cases: dict[UUID, Case]
    covers: dict[Key, Cover]
    paid_since: dict[UUID, Amounts]
    today: date
    person_id: str
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
    work = _Work(await fund_store.lock_funds(session, [county_code]))
    paid_since = await case_store.paid_since_filing(session, keys)
    table = _Table(work, cases, covers, paid_since, today, person_id)
    balances = {fund_id: fund.balance_fen for fund_id, fund in work.funds.items()}
    outcomes = [_decided(catalogue, table, decision) for decision in decisions]
    _ask_for_top_ups(_Leverage(catalogue), work, balances, today)
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
        funds=work.of(county_code, split_ref(case.programme)[0]),
        parties=catalogue.parties(county_code, case.programme),
        reason=reason,
        person_id=table.person_id,
        today=today,
    )
    case_file = compensation.case_file
    for fund in compensation.funds:
        work.put(fund)
    work.entries.append(_compensation_entry(case_file, today))
    work.events.append(events_out.compensation_paid(case_file, today))
    work.events += [events_out.fund_suspended(fund, today) for fund in compensation.suspended]
    released = _release_one(work, cover, CoverState.COMPENSATED, today)
    table.covers[cover.key] = released
    table.released.append(released)
    return case_file


def _compensation_entry(case_file: CaseFile, on: date) -> Entry:
    case = case_file.case
    expense = Account("compensation_expense", str(case.case_id))
    moved: list[Transfer] = []
    for part in case_file.parts:
        if part.own_loss:
            own = Account("lender_own_loss", case.lender_id)
            moved.append(Transfer(expense, own, part.amount_fen))
            continue
        if part.fund_id is not None:
            moved.append(Transfer(expense, _cash(part.fund_id), part.paid_fen))
        debtor = str(part.fund_id) if part.fund_id else part.institution_id
        moved.append(Transfer(expense, Account("share_payable", debtor), part.owed_fen))
    return Entry(case.county_code, "compensation", str(case.case_id), on, on, tuple(moved))


def _ask_for_top_ups(
    leverage: _Leverage, work: _Work, balances: Mapping[UUID, Fen], on: date
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


# --- recoveries ----------------------------------------------------------------------------------


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
    work = _Work(
        await fund_store.lock_funds(session, {case.county_code for case in cases.values()})
    )
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
        await _pay_debts(session, work, sorted(work.changed), cause=cause, on=on)
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


def _book_recovery(work: _Work, case_file: CaseFile, recovery: Recovery) -> None:
    """Money of funds is theirs at once; the lender holds what belongs to others."""
    case = case_file.case
    held = Account("recovery_held", case.lender_id)
    by_position = {part.position: part for part in case_file.parts}
    moved: list[Transfer] = []
    for position, amount in recovery.shares:
        part = by_position[position]
        if part.fund_id is not None:
            work.put(money_rules.receive(work.funds[part.fund_id], amount))
            income = Account("recoveries", str(case.case_id))
            moved.append(Transfer(_cash(part.fund_id), income, amount))
        else:
            kept = "lender_recovery" if part.own_loss else "recovery_payable"
            moved.append(Transfer(held, Account(kept, part.institution_id), amount))
    rest = Account("household_payable", str(case.loan_id))
    moved.append(Transfer(held, rest, recovery.household_fen))
    on = recovery.business_date
    cause = str(recovery.recovery_id)
    work.entries.append(Entry(case.county_code, "recovery", cause, on, on, tuple(moved)))
