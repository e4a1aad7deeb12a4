"""Loans: money that comes in: repayments, insurance payouts, compensation."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import business_day, journal, outbox
from services.kernel.errors import LiandongError, Refused
from services.kernel.journal import Account, Entry, Transfer
from services.kernel.money import Fen
from services.kernel.outbox import OutgoingEvent
from services.loans import events_out, store
from services.loans.model import (
    Allocation,
    Compensation,
    Loan,
    LoanState,
    Payout,
    Recovered,
    Repayment,
    SharePayment,
    Undoing,
)
from services.loans.operations.desk import Desk, between, excess_entry
from services.loans.operations.shared import (
    Outcome,
    found,
    require_our_book,
    said,
    terms_by_ref,
)
from services.loans.rules import balance, collecting, lending
from services.loans.rules.book import Line, Posting, PostingKind
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
    """Post repayments that a lender received; what is too much is kept for the payer."""
    today = await business_day.today(session, county_code)
    await require_our_book(session, county_code, actor, today)
    closed = await store.closed_through(session, county_code)
    loans = await store.lock_loans(session, county_code, {r.loan_id for r in repayments})
    desk = Desk(
        county_code,
        loans,
        today,
        terms_by_ref(catalogue, county_code),
        person_id=actor.person_id,
    )
    await desk.load_for(session, [(r.loan_id, r.value_date) for r in repayments])
    outcomes: list[Outcome] = []
    for repayment in repayments:
        try:
            before = found(loans, repayment.loan_id)
            lending.require_lender(before, actor)
            balance.check_money_in(before, repayment.value_date, today=today, closed_through=closed)
            # Within a batch an earlier item may have moved the loan's last day beyond this one's.
            await desk.load_for(session, [(repayment.loan_id, repayment.value_date)])
            desk.check_begun(repayment.loan_id, repayment.value_date)
        except LiandongError as error:
            outcomes.append(error)
            continue
        outcomes.append(repay(desk, repayment))
    await desk.write(session)
    return outcomes


def repay(desk: Desk, repayment: Repayment) -> Loan:
    """Post one repayment and say it."""
    return post_repayment(desk, repayment)[0]


def post_repayment(desk: Desk, repayment: Repayment) -> tuple[Loan, Line]:
    """Post one repayment and say it; of a loan that was written off it is a recovery."""
    loan = desk.loans[repayment.loan_id]
    if loan.state is LoanState.WRITTEN_OFF and loan.owed_fen == 0:
        return _recover(desk, repayment)
    held = balance.excess_fen(loan)
    posted = desk.post(
        repayment.loan_id,
        Posting(
            0,
            PostingKind.REPAYMENT,
            repayment.value_date,
            repayment.amount_fen,
            reference=repayment.reference,
        ),
    )
    desk.say(
        repayment.loan_id,
        lambda now: events_out.loan_repaid(
            now,
            repayment,
            principal_fen=posted.line.taken.principal_fen,
            interest_fen=posted.line.taken.interest_fen,
            subrogated_fen=posted.subrogated_fen,
            suspense_fen=posted.line.suspense_fen,
            day=desk.today,
            number=posted.loan.postings,
            lowered=posted.lowered(),
        ),
    )
    desk.give_back(repayment.loan_id, held, repayment.value_date)
    return desk.settle_up(repayment.loan_id, repayment.value_date), posted.line


def _recover(desk: Desk, repayment: Repayment) -> tuple[Loan, Line]:
    loan_id = repayment.loan_id
    back = collecting.recovery(desk.lines_of(loan_id), repayment.amount_fen, desk.order_of(loan_id))
    posting = Posting(
        0,
        PostingKind.RECOVERY,
        repayment.value_date,
        repayment.amount_fen,
        fixed=back,
        reference=repayment.reference,
    )
    posted = desk.post(loan_id, posting)
    loan = desk.say(
        loan_id,
        lambda now: events_out.loan_repaid(
            now,
            repayment,
            principal_fen=back.principal_fen,
            interest_fen=back.interest_fen,
            subrogated_fen=posted.subrogated_fen,
            suspense_fen=posted.line.suspense_fen,
            day=desk.today,
            recovered_fen=back.total_fen,
            number=posted.loan.postings,
        ),
    )
    return loan, posted.line


async def reverse_repayment(
    session: AsyncSession,
    county_code: str,
    undoing: Undoing,
    actor: Actor,
    catalogue: Catalogue,
) -> tuple[Loan, Loan | None]:
    """Undo a repayment; where it was meant for another loan, post it there. Both loans as now."""
    today = await business_day.today(session, county_code)
    await require_our_book(session, county_code, actor, today)
    closed = await store.closed_through(session, county_code)
    wanted = {undoing.loan_id} | ({undoing.to_loan_id} if undoing.to_loan_id else set())
    loans = await store.lock_loans(session, county_code, wanted)
    desk = Desk(
        county_code, loans, today, terms_by_ref(catalogue, county_code), person_id=actor.person_id
    )
    await desk.load(session, wanted)
    loan = found(loans, undoing.loan_id)
    lending.require_lender(loan, actor)
    wrong = balance.repayment_to_undo(desk.book_of(loan.loan_id), undoing.number)
    assert loan.disbursed_on is not None
    balance.check_value_date(
        loan.disbursed_on, wrong.value_date, today=today, closed_through=closed
    )
    undo_repayment(desk, loan.loan_id, wrong, undoing.reason)
    if undoing.to_loan_id is not None:
        meant = found(loans, undoing.to_loan_id)
        lending.require_lender(meant, actor)
        balance.check_money_in(meant, wrong.value_date, today=today, closed_through=closed)
        desk.check_begun(meant.loan_id, wrong.value_date)
        repay(desk, Repayment(meant.loan_id, wrong.amount_fen, wrong.value_date))
    await desk.write(session)
    return loans[undoing.loan_id], loans[undoing.to_loan_id] if undoing.to_loan_id else None


def undo_repayment(desk: Desk, loan_id: UUID, wrong: Posting, reference: str) -> int:
    """Undo a repayment of a loan whose book was loaded, and say it; the number of the undoing."""
    loan = desk.loans[loan_id]
    undo = Posting(
        loan.postings + 1,
        wrong.kind,
        wrong.value_date,
        wrong.amount_fen,
        reverses=wrong.number,
        reference=reference,
    )
    balance.check_undoing(desk.lines_of(loan_id), desk.lines_of(loan_id, undo))
    held = balance.excess_fen(loan)
    posted = desk.post(loan_id, undo)
    desk.say(
        loan_id, lambda now: events_out.repayment_reversed(now, wrong, desk.today, posted.moved())
    )
    # What had been paid too much steps in, or interest is less: others get that back all the same.
    desk.give_back(loan_id, held, wrong.value_date)
    desk.settle_up(loan_id, wrong.value_date)
    return undo.number


async def refund_overpayment(
    session: AsyncSession,
    county_code: str,
    refund: Repayment,
    actor: Actor,
    catalogue: Catalogue,
) -> Loan:
    """Note that what was paid too much was given back."""
    today = await business_day.today(session, county_code)
    await require_our_book(session, county_code, actor, today)
    closed = await store.closed_through(session, county_code)
    loans = await store.lock_loans(session, county_code, {refund.loan_id})
    desk = Desk(
        county_code, loans, today, terms_by_ref(catalogue, county_code), person_id=actor.person_id
    )
    loan = found(loans, refund.loan_id)
    lending.require_lender(loan, actor)
    balance.check_money_in(loan, refund.value_date, today=today, closed_through=closed)
    balance.check_refund(loan, refund.amount_fen)
    assert loan.interest is not None
    # Suspense is no part of the debt: the book need not be replayed for it.
    on = max(refund.value_date, loan.interest.accrued_through)
    desk.post(loan.loan_id, Posting(0, PostingKind.REFUND, on, refund.amount_fen))
    await desk.write(session)
    return loans[refund.loan_id]


async def close_period(session: AsyncSession, county_code: str, through: date) -> None:
    """Close the books through a day before the business date."""
    today = await business_day.today(session, county_code)
    if through >= today:
        raise Refused(
            "PERIOD_NOT_OVER",
            f"{through} is not before the business date {today}",
            message_zh="该期间尚未结束",
        )
    if not await store.close_period(session, county_code, through):
        raise Refused(
            "PERIOD_CLOSED",
            f"the books are closed through {through} or later already",
            message_zh="会计期间已关闭",
        )


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
    desk = Desk(county_code, loans, today, terms_of)
    await desk.load_for(session, [(loan_id, date.max) for loan_id in wanted])
    allocations: list[Allocation] = []
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
                loan = balance.accrue(loan, payout.value_date, terms.loans.day_basis)
            own[loan_id] = loan
        # A later payout in this batch sees what this one took.
        allocation, _ = balance.allocate(payout, own, order)
        allocations.append(allocation)
        desk.events.append(events_out.payout_allocated(allocation, county_code, today))
        for part in allocation.parts:
            held = own[part.loan_id].interest
            assert held is not None
            desk.post(
                part.loan_id,
                # Of a loan that is accrued further it settles what is owed there.
                Posting(
                    0,
                    PostingKind.PAYOUT,
                    max(payout.value_date, held.accrued_through),
                    part.amount_fen,
                    reference=str(payout.payout_id),
                ),
            )
            desk.settle_up(part.loan_id, payout.value_date)
    await desk.write(session)
    await store.save_allocations(session, county_code, allocations)
    return allocations


async def post_compensations(
    session: AsyncSession,
    county_code: str,
    compensations: Sequence[Compensation],
    today: date,
    catalogue: Catalogue,
) -> None:
    """Note that lenders were compensated: what is owed belongs to those who paid."""
    loans = await store.lock_loans(session, county_code, {c.loan_id for c in compensations})
    off = await _recoverable(session, county_code, loans, today, catalogue)
    entries: list[Entry] = []
    rows: list[tuple[Compensation, int]] = []
    events: list[OutgoingEvent] = []
    changed: dict[UUID, Loan] = {}
    for compensation in compensations:
        loan = loans.get(compensation.loan_id)
        if loan is None:
            continue
        others = [part for part in compensation.parts if part[1] != loan.lender_id]
        rows.append((compensation, sum(amount for _, _, amount, _ in others)))
        entries.append(_compensated(loan, compensation, today))
        now, excess = balance.compensate(loan, compensation, off.get(loan.loan_id, Fen(0)))
        # The borrower had paid before, and the funds heard of it too late.
        if excess:
            now = said(now)
            events.append(events_out.compensation_exceeded(now, excess, today, today))
            entries.append(excess_entry(now, excess, today, today))
        loans[loan.loan_id] = changed[loan.loan_id] = now
    await store.save_loans(session, list(changed.values()))
    await store.save_compensations(session, county_code, rows)
    await journal.post(session, entries)
    await outbox.record(session, events)


async def _recoverable(
    session: AsyncSession,
    county_code: str,
    loans: dict[UUID, Loan],
    today: date,
    catalogue: Catalogue,
) -> dict[UUID, Fen]:
    """What of loans that were written off has not come back yet."""
    off = [key for key, loan in loans.items() if loan.state is LoanState.WRITTEN_OFF]
    if not off:
        return {}
    desk = Desk(county_code, loans, today, terms_by_ref(catalogue, county_code))
    await desk.load(session, off)
    return {key: collecting.not_recovered(desk.lines_of(key)).total_fen for key in off}


def _account(name: str, owner: object) -> Account:
    return Account(name, str(owner))


def accrued_entries(before: Loan, after: Loan, today: date) -> list[Entry]:
    """Interest charged between two states of a loan: the household's and the treasury's."""
    old, new = before.interest, after.interest
    assert old is not None
    assert new is not None
    income = ("interest_income", after.lender_id)
    loan_id, county_code, through = str(after.loan_id), after.county_code, new.accrued_through
    household = new.household_posted_fen - old.household_posted_fen
    treasury = new.treasury_posted_fen - old.treasury_posted_fen
    transfers = (
        *between(("loan_interest", loan_id), income, household),
        *between(("treasury_receivable", county_code), income, treasury),
    )
    if not transfers:
        return []
    return [Entry(county_code, "interest", f"{loan_id}:{through}", through, today, transfers)]


def _borne_by(loan: Loan, institution: str, *, paid: bool) -> Account:
    """The lender's own loss, money that it got, or its claim on whoever owes a share."""
    if institution == loan.lender_id:
        return _account("lender_own_loss", institution)
    return _account("lender_cash", loan.lender_id) if paid else _claim(institution)


def _claim(institution: str) -> Account:
    return _account("compensation_claim", institution)


async def post_share_payments(
    session: AsyncSession, county_code: str, payments: Sequence[SharePayment], today: date
) -> None:
    """Somebody paid the lender what it owed on a compensated loan, or it is owed again."""
    loans = await store.lock_loans(session, county_code, {each.loan_id for each in payments})
    entries = []
    for each in payments:
        loan = loans.get(each.loan_id)
        if loan is None:
            continue
        cash, claim = _account("lender_cash", loan.lender_id), _claim(each.institution_id)
        debit, credit = (cash, claim) if each.amount_fen > 0 else (claim, cash)
        moved = (Transfer(debit, credit, Fen(abs(each.amount_fen))),)
        entries.append(Entry(county_code, "share_paid", each.reference, today, today, moved))
    await journal.post(session, entries)


async def post_recoveries(
    session: AsyncSession,
    county_code: str,
    recovered: Sequence[Recovered],
    today: date,
    catalogue: Catalogue,
) -> None:
    """What was collected after a compensation lowers the loan; the funds have shared it already."""
    loans = await store.lock_loans(session, county_code, {each.loan_id for each in recovered})
    desk = Desk(county_code, loans, today, terms_by_ref(catalogue, county_code))
    for each in recovered:
        loan = loans.get(each.loan_id)
        if loan is None or loan.interest is None or not each.amount_fen:
            continue
        # In a period that is closed, or of a book that begins later, it counts from today.
        on = today if each.value_date < loan.interest.accrued_through else each.value_date
        await desk.load_for(session, [(each.loan_id, on)])
        repayment = Repayment(
            each.loan_id,
            each.amount_fen,
            on,
            reference=balance.collected_reference(each.recovery_id),
            recovery_id=str(each.recovery_id),
        )
        post_repayment(desk, repayment)
    await desk.write(session)


def _compensated(loan: Loan, compensation: Compensation, today: date) -> Entry:
    debt = _account("subrogated_debt", loan.loan_id)
    transfers = tuple(
        Transfer(_borne_by(loan, institution, paid=paid), debt, amount)
        for _, institution, amount, paid in compensation.parts
    )
    return Entry(
        loan.county_code, "compensation", str(compensation.case_id), today, today, transfers
    )
