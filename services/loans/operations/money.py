"""Loans: money that comes in: repayments, insurance payouts, compensation."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import business_day, ids, journal, outbox
from services.kernel.errors import LiandongError
from services.kernel.journal import Account, Entry, Transfer
from services.kernel.money import Fen
from services.kernel.outbox import OutgoingEvent
from services.loans import events_out, store
from services.loans.model import Allocation, Compensation, Loan, LoanState, Payout, Repayment
from services.loans.operations.shared import (
    Outcome,
    close_if_settled,
    found,
    said,
    terms_by_ref,
)
from services.loans.rules import balance, lending
from services.loans.rules.lending import Actor
from services.programmes import settlement
from services.programmes.loader import Catalogue


async def repay_loans(
    session: AsyncSession,
    county_code: str,
    repayments: Sequence[Repayment],
    actor: Actor,
    catalogue: Catalogue,
) -> list[Outcome]:
    """Post repayments that a lender received."""
    today = await business_day.today(session, county_code)
    terms_of = terms_by_ref(catalogue, county_code)
    loans = await store.lock_loans(session, county_code, {r.loan_id for r in repayments})
    outcomes: list[Outcome] = []
    entries: list[Entry] = []
    events: list[OutgoingEvent] = []
    exposure: list[tuple[UUID, int]] = []
    changed: dict[UUID, Loan] = {}
    for repayment in repayments:
        try:
            before = found(loans, repayment.loan_id)
            lending.require_lender(before, actor)
            accrued, after = balance.repay(
                before, repayment, terms=terms_of(before.programme), today=today
            )
        except LiandongError as error:
            outcomes.append(error)
            continue
        principal = Fen(accrued.outstanding_fen - after.outstanding_fen)
        interest = Fen(repayment.amount_fen - principal)
        entries.extend(accrued_entries(before, accrued, today))
        subrogated = balance.subrogated_part(accrued, repayment.amount_fen)
        takings = _takings(after.loan_id, after.lender_id, principal, interest, subrogated)
        entries.append(
            Entry(
                county_code,
                "repayment",
                str(ids.new_id()),
                repayment.value_date,
                today,
                tuple(takings),
            )
        )
        after = said(after)
        events.append(
            events_out.loan_repaid(
                after, repayment, principal_fen=principal, interest_fen=interest, day=today
            )
        )
        after = close_if_settled(after, repayment.value_date, today, events)
        exposure.append((after.household_id, -principal))
        loans[after.loan_id] = changed[after.loan_id] = after
        outcomes.append(after)
    await store.save_loans(session, list(changed.values()))
    await store.add_exposure(session, county_code, exposure)
    await journal.post(session, entries)
    await outbox.record(session, events)
    return outcomes


async def settle_payouts(
    session: AsyncSession,
    county_code: str,
    payouts: Sequence[Payout],
    catalogue: Catalogue,
    today: date,
) -> list[Allocation]:
    """Put each payout toward its household's assigned loans, in the order given."""
    terms_of = terms_by_ref(catalogue, county_code)
    wanted = {loan_id for p in payouts for group in p.groups for loan_id in group}
    loans = await store.lock_loans(session, county_code, wanted)
    before = dict(loans)
    allocations: list[Allocation] = []
    entries: list[Entry] = []
    events: list[OutgoingEvent] = []
    exposure: list[tuple[UUID, int]] = []
    for payout in payouts:
        own = {}
        order = settlement.INTEREST_FIRST
        for loan_id in (each for group in payout.groups for each in group):
            loan = loans.get(loan_id)
            if loan is None:
                continue
            terms = terms_of(loan.programme)
            order = settlement.appropriation(terms.loans.appropriation_order)
            if loan.state is LoanState.ACTIVE:
                accrued = balance.accrue(loan, payout.value_date, terms.loans.day_basis)
                entries.extend(accrued_entries(loan, accrued, today))
                loan = loans[loan_id] = accrued
            own[loan_id] = loan
        # A later payout in this batch sees what this one took.
        allocation, after = balance.allocate(payout, own, order)
        allocations.append(allocation)
        entries.append(_payout_entry(allocation, county_code, today))
        events.append(events_out.payout_allocated(allocation, county_code, today))
        for part in allocation.parts:
            exposure.append((payout.household_id, -part.principal_fen))
            loans[part.loan_id] = close_if_settled(
                after[part.loan_id], payout.value_date, today, events
            )
    changed = [loan for loan_id, loan in loans.items() if loan != before[loan_id]]
    await store.save_loans(session, changed)
    await store.add_exposure(session, county_code, exposure)
    await store.save_allocations(session, county_code, allocations)
    await journal.post(session, entries)
    await outbox.record(session, events)
    return allocations


async def post_compensations(
    session: AsyncSession, county_code: str, compensations: Sequence[Compensation], today: date
) -> None:
    """Note that lenders were compensated: what is owed belongs to those who paid."""
    loans = await store.lock_loans(session, county_code, {c.loan_id for c in compensations})
    entries: list[Entry] = []
    rows: list[tuple[Compensation, int]] = []
    changed: dict[UUID, Loan] = {}
    for compensation in compensations:
        loan = loans.get(compensation.loan_id)
        if loan is None:
            continue
        others = [part for part in compensation.parts if part[1] != loan.lender_id]
        rows.append((compensation, sum(amount for _, _, amount in others)))
        entries.append(_compensated(loan, compensation, today))
        loans[loan.loan_id] = changed[loan.loan_id] = balance.compensate(loan, compensation)
    await store.save_loans(session, list(changed.values()))
    await store.save_compensations(session, county_code, rows)
    await journal.post(session, entries)


def _account(name: str, owner: object) -> Account:
    return Account(name, str(owner))


def accrued_entries(before: Loan, after: Loan, today: date) -> list[Entry]:
    """Interest charged between two states of a loan: the household's and the treasury's."""
    old, new = before.interest, after.interest
    assert old is not None
    assert new is not None
    income = _account("interest_income", after.lender_id)
    household = Fen(new.household_posted_fen - old.household_posted_fen)
    treasury = Fen(new.treasury_posted_fen - old.treasury_posted_fen)
    if not household and not treasury:
        return []
    transfers = (
        Transfer(_account("loan_interest", after.loan_id), income, household),
        Transfer(_account("treasury_receivable", after.county_code), income, treasury),
    )
    through = new.accrued_through
    return [
        Entry(
            after.county_code, "interest", f"{after.loan_id}:{through}", through, today, transfers
        )
    ]


def _takings(
    loan_id: UUID, lender_id: str, principal: Fen, interest: Fen, subrogated: Fen
) -> list[Transfer]:
    cash = _account("lender_cash", lender_id)
    return [
        Transfer(cash, _account("loan_interest", loan_id), interest),
        Transfer(cash, _account("loan_principal", loan_id), principal),
        # What belongs to those who had compensated the lender it passes on.
        Transfer(
            _account("subrogated_debt", loan_id), _account("recovery_payable", loan_id), subrogated
        ),
    ]


def _payout_entry(allocation: Allocation, county_code: str, today: date) -> Entry:
    payout = allocation.payout
    transfers = [
        transfer
        for part in allocation.parts
        for transfer in _takings(
            part.loan_id,
            part.lender_id,
            part.principal_fen,
            part.interest_fen,
            part.subrogated_fen,
        )
    ]
    return Entry(
        county_code, "payout", str(payout.payout_id), payout.value_date, today, tuple(transfers)
    )


def _compensated(loan: Loan, compensation: Compensation, today: date) -> Entry:
    debt = _account("subrogated_debt", loan.loan_id)
    transfers = tuple(
        Transfer(
            _account(
                "lender_own_loss" if institution == loan.lender_id else "compensation_claim",
                institution,
            ),
            debt,
            amount,
        )
        for _, institution, amount in compensation.parts
    )
    return Entry(
        loan.county_code, "compensation", str(compensation.case_id), today, today, transfers
    )
