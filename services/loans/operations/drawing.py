"""Loans: draws on limits, batches of controlled loans, and what an application goes through."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import business_day, outbox
from services.kernel.errors import NotFound, Refused
from services.kernel.money import Fen
from services.kernel.outbox import OutgoingEvent
from services.kernel.values import replace
from services.loans import events_out, store
from services.loans.model import Batch, BatchState, File, Loan, LoanState
from services.loans.operations import standing
from services.loans.operations.desk import Desk
from services.loans.operations.lending import give_back_exposure, pay_out, tell
from services.loans.operations.shared import (
    breakers_of,
    found,
    require_our_book,
    said,
    share_breakers_of,
    terms_by_ref,
)
from services.loans.rules import checks, clock, drawing, lending, position
from services.loans.rules.chain import LENDER_ROLES, Actor
from services.loans.rules.scopes import scopes_of_loan
from services.loans.store import applications as files_store
from services.programmes.loader import Catalogue
from services.programmes.schema.loans import DrawNeed
from services.programmes.schema.values import Organ
from services.programmes.terms import Terms

LIMITS_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Draw:
    """A draw on a limit."""

    loan_id: UUID
    amount_fen: Fen
    channel: str
    identity_proof: str


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature on a batch, and for whom."""

    loan_id: UUID
    number: int
    need: DrawNeed
    organ: Organ | None
    evidence: str


async def draw_on_limit(
    session: AsyncSession, county_code: str, draw: Draw, actor: Actor, catalogue: Catalogue
) -> Loan:
    """Pay out a draw on a revolving limit."""
    today = await business_day.today(session, county_code)
    loan, file, terms = await _held(session, county_code, draw.loan_id, catalogue)
    lending.require_lender(loan, actor)
    contract = file.contract if file else None
    if contract is None:
        raise Refused("LOAN_NOT_APPROVED", f"the loan is {loan.state}", message_zh="贷款未获批准")
    drawing.check_draw(loan, draw.amount_fen, contract=contract, terms=terms, today=today)
    drawing.check_identity(loan, draw.identity_proof, channel=draw.channel, terms=terms)
    await _require_unlisted(session, loan, terms, today)
    desk = await _ready_desk(
        session, loan, actor=actor, terms=terms, effect="stop_draw", catalogue=catalogue
    )
    return await _pay(
        session, desk, loan, file, draw.amount_fen, terms=terms, reference=draw.channel
    )


async def _held(
    session: AsyncSession, county_code: str, loan_id: UUID, catalogue: Catalogue
) -> tuple[Loan, File | None, Terms]:
    loans = await store.lock_loans(session, county_code, [loan_id])
    loan = found(loans, loan_id)
    files = await files_store.files_of(session, county_code, [loan_id])
    return loan, files.get(loan_id), catalogue.terms(county_code, loan.programme)


async def _require_unlisted(session: AsyncSession, loan: Loan, terms: Terms, today: date) -> None:
    listings = await files_store.listings_of(session, loan.county_code, [loan.household_id])
    if barred := checks.sanctioned(listings, terms, today):
        raise Refused(
            "SANCTIONED",
            barred[0].working,
            message_zh="借款人处于惩戒期",
            facts={"working": barred[0].working},
        )


async def _ready_desk(
    session: AsyncSession,
    loan: Loan,
    *,
    actor: Actor,
    terms: Terms,
    effect: str,
    catalogue: Catalogue,
) -> Desk:
    terms_of = terms_by_ref(catalogue, loan.county_code)
    barred = await standing.barred(session, loan.county_code, {loan.loan_id: loan}, terms_of)
    if loan.loan_id in barred:
        raise barred[loan.loan_id]
    today = await business_day.today(session, loan.county_code)
    breakers = await share_breakers_of(session, loan.county_code, [loan], catalogue, today)
    own = breakers_of(scopes_of_loan(loan), breakers)
    lending.require_ready(loan, actor=actor, terms=terms, breakers=own, effect=effect)
    await require_our_book(session, loan.county_code, actor, today)
    return Desk(loan.county_code, {loan.loan_id: loan}, today, terms_of, person_id=actor.person_id)


async def _pay(
    session: AsyncSession,
    desk: Desk,
    loan: Loan,
    file: File | None,
    amount_fen: Fen,
    *,
    terms: Terms,
    reference: str,
) -> Loan:
    """Pay out the first or a further part of a loan; what falls due next is worked anew."""
    if loan.disbursed_on is None:
        begun = lending.begin(loan, amount_fen, terms, desk.today)
    else:
        left = Fen(loan.undrawn_fen - amount_fen)
        begun = replace(loan, undrawn_fen=left, state=LoanState.ACTIVE)
        if loan.next_due_on is None:
            coming = [day for day in position.due_days(begun) if day > desk.today]
            begun = replace(begun, next_due_on=coming[0] if coming else begun.matures_on)
    desk.loans[loan.loan_id] = begun
    paid = pay_out(desk, begun, amount_fen, desk.today, reference)
    await desk.write(session)
    if file is not None:
        now = await files_store.moment(session)
        stopped = clock.stop(paid, file, terms, today=desk.today, now=now)
        await files_store.save_files(session, loan.county_code, [stopped])
    return paid


def new_batch(
    loan_id: UUID, amount_fen: Fen, *, purpose: str, evidence: str, supplier: str
) -> Batch:
    """A batch as it is asked for; who asks, when and its number are not known yet."""
    return Batch(
        loan_id=loan_id,
        number=0,
        amount_fen=amount_fen,
        purpose=purpose,
        evidence=evidence,
        supplier=supplier,
        state=BatchState.REQUESTED,
        requested_by="",
        requested_on=date.min,
    )


async def request_batch(
    session: AsyncSession,
    county_code: str,
    batch: Batch,
    actor: Actor,
    *,
    catalogue: Catalogue,
    may_act_in: Callable[[str], None],
) -> Batch:
    """Ask for a batch of a controlled loan."""
    loan, _, terms = await _held(session, county_code, batch.loan_id, catalogue)
    lending.require_near(loan, may_act_in)
    if actor.role in LENDER_ROLES:
        lending.require_lender(loan, actor)
    today = await business_day.today(session, county_code)
    batches = await files_store.batches_of(session, county_code, loan.loan_id)
    asked = replace(batch, requested_by=actor.person_id, requested_on=today)
    asked = drawing.request(loan, asked, batches, terms)
    await files_store.save_batches(session, county_code, [asked])
    return asked


async def sign_batch(
    session: AsyncSession,
    county_code: str,
    signature: Signature,
    actor: Actor,
    *,
    catalogue: Catalogue,
    may_act_in: Callable[[str], None],
) -> Batch:
    """Note a signature on a batch."""
    loan, _, terms = await _held(session, county_code, signature.loan_id, catalogue)
    lending.require_near(loan, may_act_in)
    batch = await _batch(session, loan, signature.number)
    signed = drawing.sign(
        batch,
        loan,
        signature.need,
        signature.organ,
        actor=actor,
        terms=terms,
        parties=catalogue.parties(county_code, loan.programme),
        evidence=signature.evidence,
    )
    await files_store.save_batches(session, county_code, [signed])
    return signed


async def _batch(session: AsyncSession, loan: Loan, number: int) -> Batch:
    batches = await files_store.batches_of(session, loan.county_code, loan.loan_id)
    for batch in batches:
        if batch.number == number:
            return batch
    raise NotFound("BATCH_NOT_FOUND", f"no batch {number}", message_zh="无此支用批次")


async def pay_batch(
    session: AsyncSession,
    county_code: str,
    loan_id: UUID,
    number: int,
    *,
    payment_evidence: str,
    actor: Actor,
    catalogue: Catalogue,
) -> tuple[Loan, Batch]:
    """Release a batch: to the supplier where payment is entrusted."""
    loan, file, terms = await _held(session, county_code, loan_id, catalogue)
    lending.require_lender(loan, actor)
    if loan.state not in (LoanState.APPROVED, LoanState.ACTIVE):
        raise Refused("LOAN_NOT_APPROVED", f"the loan is {loan.state}", message_zh="贷款未获批准")
    today = await business_day.today(session, county_code)
    batch = await _batch(session, loan, number)
    released = drawing.release(
        batch, loan, terms=terms, payment_evidence=payment_evidence, today=today
    )
    desk = await _ready_desk(
        session, loan, actor=actor, terms=terms, effect="stop_disburse", catalogue=catalogue
    )
    reference = f"batch {number}"
    paid = await _pay(session, desk, loan, file, batch.amount_fen, terms=terms, reference=reference)
    await files_store.save_batches(session, county_code, [released])
    return paid, released


async def give_up_undrawn(
    session: AsyncSession, county_code: str, loan_id: UUID, actor: Actor, catalogue: Catalogue
) -> Loan:
    """Nothing more is paid out of a loan: its rest is free, and it settles once nothing is owed."""
    loan, _, _ = await _held(session, county_code, loan_id, catalogue)
    lending.require_lender(loan, actor)
    if loan.state is not LoanState.ACTIVE or loan.undrawn_fen == 0:
        raise Refused(
            "NOTHING_UNDRAWN",
            f"the loan is {loan.state}, {loan.undrawn_fen} fen are undrawn",
            message_zh="无未支用额度",
        )
    today = await business_day.today(session, county_code)
    return (await _end(session, [loan], today, catalogue))[0]


async def end_limits(
    session: AsyncSession, county_code: str, day: date, catalogue: Catalogue
) -> None:
    """End limits after their last valid day; one on which nothing is owed settles."""
    while loans := await store.lock_ended_limits(session, county_code, day, LIMITS_CHUNK):
        await _end(session, loans, day, catalogue)


async def _end(
    session: AsyncSession, loans: list[Loan], today: date, catalogue: Catalogue
) -> list[Loan]:
    county = loans[0].county_code
    desk = Desk(
        county, {loan.loan_id: loan for loan in loans}, today, terms_by_ref(catalogue, county)
    )
    await desk.load(session, [loan.loan_id for loan in loans])
    ended = []
    for loan in loans:
        until = loan.revolving_until
        if until is not None and until >= today:
            # Given up before its time: what is paid back from now on is not drawn again.
            until = today - timedelta(days=1)
        desk.loans[loan.loan_id] = replace(
            loan,
            undrawn_fen=Fen(0),
            revolving_until=until,
            state=LoanState.ACTIVE if loan.owed_fen else LoanState.SETTLED,
        )
        ended.append(desk.settle_up(loan.loan_id, today))
    await desk.write(session)
    return ended


async def change_file(
    session: AsyncSession,
    county_code: str,
    loan_id: UUID,
    *,
    wanted: str,
    catalogue: Catalogue,
    may_act_in: Callable[[str], None],
    actor: Actor,
) -> Loan:
    """Stop an application's clock because the borrower must supply something, or start it again."""
    loan, file, terms = await _held(session, county_code, loan_id, catalogue)
    _require_party(loan, actor, may_act_in)
    if file is None:
        raise NotFound("LOAN_NOT_FOUND", f"no application {loan_id}", message_zh="无此申请")
    today = await business_day.today(session, county_code)
    now = await files_store.moment(session)
    if wanted:
        file = clock.suspend(loan, file, wanted, today=today, now=now)
        loan = said(loan)
        event = events_out.application_suspended(loan, wanted, today)
    else:
        loan, file = clock.resume(loan, file, terms, today=today, now=now)
        loan = said(loan)
        event = events_out.application_resumed(loan, today)
    await store.save_loans(session, [loan])
    await files_store.save_files(session, county_code, [file])
    await outbox.record(session, [event])
    return loan


def _require_party(loan: Loan, actor: Actor, may_act_in: Callable[[str], None]) -> None:
    lending.require_near(loan, may_act_in)
    if actor.role in LENDER_ROLES:
        lending.require_lender(loan, actor)


async def cancel(
    session: AsyncSession,
    county_code: str,
    loan_id: UUID,
    actor: Actor,
    *,
    catalogue: Catalogue,
    may_act_in: Callable[[str], None],
) -> Loan:
    """Withdraw an application, or a loan of which nothing was paid out."""
    loan, _, _ = await _held(session, county_code, loan_id, catalogue)
    _require_party(loan, actor, may_act_in)
    today = await business_day.today(session, county_code)
    return await _changed(session, lending.cancel(loan), today)


async def ask_cover_again(
    session: AsyncSession, county_code: str, loan_id: UUID, actor: Actor, catalogue: Catalogue
) -> Loan:
    """Ask the fund once more."""
    loan, _, terms = await _held(session, county_code, loan_id, catalogue)
    lending.require_lender(loan, actor)
    today = await business_day.today(session, county_code)
    breakers = await share_breakers_of(session, county_code, [loan], catalogue, today)
    own = breakers_of(scopes_of_loan(loan), breakers)
    return await _changed(session, lending.ask_cover_again(loan, terms, own), today)


async def _changed(session: AsyncSession, loan: Loan, today: date) -> Loan:
    events: list[OutgoingEvent]
    loan, events = tell(loan, today)
    await store.save_loans(session, [loan])
    await give_back_exposure(session, loan.county_code, [loan])
    await outbox.record(session, events)
    return loan
