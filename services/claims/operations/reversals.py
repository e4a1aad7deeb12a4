"""Claims: payouts that are taken back, what comes back of them, and complaints."""

from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims import events_out
from services.claims.model import (
    Claim,
    Complaint,
    Payout,
    Receivable,
    ReceivablePayment,
    Reversal,
    ReversalState,
    Sight,
)
from services.claims.operations.shared import actor_of
from services.claims.rules import reversals as rules
from services.claims.store import claims as claims_store
from services.claims.store import payouts as payouts_store
from services.claims.store import reversals as store
from services.kernel import business_day, ids, journal, outbox
from services.kernel.caller import Caller
from services.kernel.errors import NotFound, Refused
from services.kernel.journal import Account, Entry, Transfer
from services.kernel.values import replace
from services.programmes.calendars import working_days_after
from services.programmes.loader import Catalogue


async def ask(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    payout_id: UUID,
    *,
    reason: str,
    evidence: str,
) -> Reversal:
    """Ask for a settled payout to be taken back; a second person decides."""
    held = await payouts_store.lock_payouts(session, [(county_code, payout_id)])
    payout = held.get((county_code, payout_id))
    if payout is None:
        raise rules.payout_not_found(payout_id)
    rules.require_settled(payout, caller.institution_id)
    reversal = Reversal(
        county_code=county_code,
        reversal_id=ids.new_id(),
        payout_id=payout_id,
        reason=reason,
        evidence=evidence,
        asked_by=actor_of(caller),
        asked_on=await business_day.today(session, county_code),
    )
    await store.add_reversal(session, reversal)
    return reversal


async def decide(
    session: AsyncSession, caller: Caller, county_code: str, reversal_id: UUID, *, approve: bool
) -> tuple[Reversal, Payout, list[Receivable]]:
    """A second person decides; what is approved is mirrored to the fen and said."""
    asked = await store.lock_reversal(session, county_code, reversal_id)
    missing = NotFound("REVERSAL_NOT_FOUND", f"no reversal {reversal_id}", message_zh="无此撤销")
    if asked is None or asked.asked_by.institution_id != caller.institution_id:
        raise missing
    today = await business_day.today(session, county_code)
    decided = rules.decide(asked, approve=approve, by=actor_of(caller), on=today)
    key = (county_code, asked.payout_id)
    payout = (await payouts_store.lock_payouts(session, [key]))[key]
    await store.save_reversal(session, decided)
    if decided.state is not ReversalState.APPROVED:
        return decided, payout, []
    rules.require_settled(payout, caller.institution_id)
    now, receivables = rules.take_back(payout, ids.new_id)
    await payouts_store.save_payouts(session, [now])
    await store.add_receivables(session, receivables, today)
    await journal.post(session, [_taken_back(now, receivables, today)])
    await outbox.record(session, [events_out.payout_reversed(now, decided, on=today)])
    return decided, now, receivables


def _taken_back(payout: Payout, receivables: list[Receivable], on: date) -> Entry:
    expense = Account("claim_expense", payout.insurer_id)
    return Entry(
        county_code=payout.county_code,
        kind="payout_reversed",
        cause_id=str(payout.payout_id),
        value_date=on,
        business_date=on,
        transfers=tuple(
            Transfer(debit=_owed(each), credit=expense, amount_fen=each.amount_fen)
            for each in receivables
        ),
    )


def _owed(receivable: Receivable) -> Account:
    return Account("payout_receivable", str(receivable.receivable_id))


async def take_payment(
    session: AsyncSession, caller: Caller, county_code: str, payment: ReceivablePayment
) -> Receivable:
    """Post money that came back for a payout that was taken back."""
    actor = actor_of(caller)
    held = await store.lock_receivable(
        session, county_code, actor.institution_id, payment.receivable_id
    )
    if held is None:
        raise NotFound(
            "RECEIVABLE_NOT_FOUND",
            f"no receivable {payment.receivable_id}",
            message_zh="无此应收款",
        )
    receivable, since = held
    today = await business_day.today(session, county_code)
    now = rules.pay(receivable, payment, since=since, on=today)
    payment_id = ids.new_id()
    await store.save_payment(
        session, now, payment, payment_id=payment_id, person_id=actor.person_id, on=today
    )
    cash = Account("insurer_cash", receivable.insurer_id)
    await journal.post(
        session,
        [
            Entry(
                county_code=county_code,
                kind="receivable_paid",
                cause_id=str(payment_id),
                value_date=payment.value_date,
                business_date=today,
                transfers=(
                    Transfer(debit=cash, credit=_owed(receivable), amount_fen=payment.amount_fen),
                ),
            )
        ],
    )
    return now


async def file_complaint(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    *,
    sight: Sight,
    subject_id: UUID,
    reason: str,
    evidence: str,
) -> Complaint:
    """Take in a complaint about a payout or a claim, to be answered within the programme's time."""
    subject = await _subject(session, county_code, sight, subject_id)
    today = await business_day.today(session, county_code)
    days = catalogue.terms(county_code, subject.programme).insurance.payouts.complaint_working_days
    complaint = Complaint(
        county_code=county_code,
        complaint_id=ids.new_id(),
        subject_id=subject_id,
        household_id=subject.household_id,
        area_code=subject.area_code,
        insurer_id=subject.insurer_id,
        reason=reason,
        evidence=evidence,
        filed_by=actor_of(caller),
        filed_on=today,
        due_on=working_days_after(catalogue.calendar, today, days),
    )
    await store.add_complaint(session, complaint)
    said = events_out.complaint_opened(complaint, programme=subject.programme)
    await outbox.record(session, [said])
    return complaint


async def _subject(
    session: AsyncSession, county_code: str, sight: Sight, subject_id: UUID
) -> Payout | Claim:
    """What a complaint is about."""
    payout = await payouts_store.find_payout(session, county_code, sight, subject_id)
    subject = payout or await claims_store.find_claim(session, county_code, sight, subject_id)
    if subject is None:
        raise NotFound(
            "SUBJECT_NOT_FOUND", f"no payout or claim {subject_id}", message_zh="无此赔案"
        )
    return subject


async def answer_complaint(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    complaint_id: UUID,
    *,
    outcome: str,
    evidence: str,
) -> Complaint:
    """Answer a complaint, once."""
    actor = actor_of(caller)
    held = await store.lock_complaint(session, county_code, actor.institution_id, complaint_id)
    if held is None:
        raise NotFound("COMPLAINT_NOT_FOUND", f"no complaint {complaint_id}", message_zh="无此投诉")
    if held.answered_on is not None:
        raise Refused(
            "COMPLAINT_ANSWERED", f"answered on {held.answered_on}", message_zh="该投诉已答复"
        )
    today = await business_day.today(session, county_code)
    answered = replace(held, outcome=outcome, answered_on=today)
    await store.save_answer(session, answered, evidence, actor.person_id)
    subject = await _subject(session, county_code, Sight(), held.subject_id)
    said = events_out.complaint_answered(answered, programme=subject.programme)
    await outbox.record(session, [said])
    return answered
