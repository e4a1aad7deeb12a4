"""Loans: applications, their chain, cover, disbursement."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import business_day, ids, outbox
from services.kernel.errors import LiandongError, NotFound
from services.kernel.money import Fen
from services.kernel.outbox import OutgoingEvent
from services.loans import events_out, store
from services.loans.model import Application, Decision, Loan, LoanState
from services.loans.operations.desk import Desk
from services.loans.operations.shared import (
    Outcome,
    breakers_of,
    found,
    require_our_book,
    said,
    share_breakers,
    terms_by_ref,
)
from services.loans.rules import lending
from services.loans.rules.book import Posting, PostingKind
from services.loans.rules.lending import Actor
from services.programmes.loader import Catalogue
from services.programmes.settlement import Amounts


async def apply_for_loans(
    session: AsyncSession,
    county_code: str,
    applications: Sequence[Application],
    catalogue: Catalogue,
    may_act_in: Callable[[str], None],
) -> list[Outcome]:
    """Take applications in; those that a rule forbids are kept as refused."""
    today = await business_day.today(session, county_code)
    terms_of = terms_by_ref(catalogue, county_code)
    borrowers = await store.lock_borrowers(
        session, county_code, {application.household_id for application in applications}
    )
    breakers = await share_breakers(
        session, county_code, {b.area_code for b in borrowers.values() if b.area_code}
    )
    outcomes: list[Outcome] = []
    loans: list[Loan] = []
    events: list[OutgoingEvent] = []
    for application in applications:
        try:
            borrower = borrowers.get(application.household_id)
            if borrower is None or not borrower.area_code:
                raise NotFound(
                    "HOUSEHOLD_UNKNOWN",
                    f"no household {application.household_id}",
                    message_zh="无此农户",
                )
            may_act_in(borrower.area_code)
            ref = catalogue.in_force(county_code, application.programme_id, today)
            loan = lending.apply(
                application,
                loan_id=ids.new_id(),
                borrower=borrower,
                terms=terms_of(ref),
                parties=catalogue.parties(county_code, ref),
                breakers=breakers_of(borrower.area_code, breakers),
                today=today,
            )
        except LiandongError as error:
            outcomes.append(error)
            continue
        loan = said(loan)
        events.append(events_out.loan_applied(loan, today))
        if loan.state is LoanState.REFUSED:
            loan = said(loan)
            events.append(events_out.loan_refused(loan, today))
        else:
            # A second application in this batch sees what the first one asked for.
            borrowers[borrower.household_id] = replace(
                borrower, exposure_fen=Fen(borrower.exposure_fen + loan.principal_fen)
            )
        loans.append(loan)
        outcomes.append(loan)
    await store.insert_loans(session, loans)
    await store.add_exposure(
        session,
        county_code,
        [(ln.household_id, ln.principal_fen) for ln in loans if ln.state is not LoanState.REFUSED],
    )
    await outbox.record(session, events)
    return outcomes


async def decide_applications(
    session: AsyncSession,
    county_code: str,
    decisions: Sequence[Decision],
    actor: Actor,
    *,
    catalogue: Catalogue,
    may_act_in: Callable[[str], None],
) -> list[Outcome]:
    """Decide one step of each application."""
    today = await business_day.today(session, county_code)
    terms_of = terms_by_ref(catalogue, county_code)
    loans = await store.lock_loans(session, county_code, {d.loan_id for d in decisions})
    breakers = await share_breakers(session, county_code, {ln.area_code for ln in loans.values()})
    outcomes: list[Outcome] = []
    events: list[OutgoingEvent] = []
    changed: dict[UUID, Loan] = {}
    for decision in decisions:
        try:
            loan = found(loans, decision.loan_id)
            may_act_in(loan.area_code)
            loan = lending.decide(
                loan,
                decision,
                actor=actor,
                terms=terms_of(loan.programme),
                breakers=breakers_of(loan.area_code, breakers),
                today=today,
            )
        except LiandongError as error:
            outcomes.append(error)
            continue
        if loan.state in _SAID_BY_STATE:
            loan = said(loan)
            events.append(_SAID_BY_STATE[loan.state](loan, today))
        loans[loan.loan_id] = changed[loan.loan_id] = loan
        outcomes.append(loan)
    await store.save_loans(session, list(changed.values()))
    await _give_back_exposure(session, county_code, list(changed.values()))
    await outbox.record(session, events)
    return outcomes


_SAID_BY_STATE: Mapping[LoanState, Callable[[Loan, date], OutgoingEvent]] = {
    LoanState.AWAITING_COVER: events_out.cover_requested,
    LoanState.APPROVED: events_out.loan_approved,
    LoanState.REFUSED: events_out.loan_refused,
}


async def _give_back_exposure(
    session: AsyncSession, county_code: str, loans: Sequence[Loan]
) -> None:
    refused = [ln for ln in loans if ln.state is LoanState.REFUSED]
    await store.add_exposure(
        session, county_code, [(ln.household_id, -ln.principal_fen) for ln in refused]
    )


async def take_cover_answers(
    session: AsyncSession, county_code: str, answers: Sequence[tuple[UUID, str]], today: date
) -> None:
    """Take the fund's answers (loan, reason of a refusal or '')."""
    loans = await store.lock_loans(session, county_code, {loan_id for loan_id, _ in answers})
    changed: dict[UUID, Loan] = {}
    events = []
    for loan_id, refusal in answers:
        if loan_id not in loans:
            continue
        loan = lending.cover_answered(loans[loan_id], refusal)
        if loan is loans[loan_id]:
            continue
        if loan.state is LoanState.REFUSED:
            loan = said(loan)
            events.append(events_out.loan_refused(loan, today))
        loans[loan_id] = changed[loan_id] = loan
    await store.save_loans(session, list(changed.values()))
    await _give_back_exposure(session, county_code, list(changed.values()))
    await outbox.record(session, events)


async def note(
    session: AsyncSession,
    county_code: str,
    changes: Sequence[tuple[UUID, Callable[[Loan], Loan]]],
) -> None:
    """Write facts of other services on loans; nothing is said of it."""
    loans = await store.lock_loans(session, county_code, {loan_id for loan_id, _ in changes})
    changed: dict[UUID, Loan] = {}
    for loan_id, change in changes:
        if loan_id in loans:
            loans[loan_id] = changed[loan_id] = change(loans[loan_id])
    await store.save_loans(session, list(changed.values()))


async def disburse_loans(
    session: AsyncSession,
    county_code: str,
    loan_ids: Sequence[UUID],
    actor: Actor,
    catalogue: Catalogue,
) -> list[Outcome]:
    """Pay out approved loans."""
    today = await business_day.today(session, county_code)
    await require_our_book(session, county_code, actor, today)
    terms_of = terms_by_ref(catalogue, county_code)
    loans = await store.lock_loans(session, county_code, set(loan_ids))
    breakers = await share_breakers(session, county_code, {ln.area_code for ln in loans.values()})
    desk = Desk(county_code, loans, today, terms_of, person_id=actor.person_id)
    outcomes: list[Outcome] = []
    for loan_id in loan_ids:
        try:
            loan = found(loans, loan_id)
            loans[loan_id] = lending.disburse(
                loan,
                actor=actor,
                terms=terms_of(loan.programme),
                breakers=breakers_of(loan.area_code, breakers),
                today=today,
            )
        except LiandongError as error:
            outcomes.append(error)
            continue
        paid = Amounts(principal_fen=loan.principal_fen)
        desk.post(
            loan_id,
            Posting(0, PostingKind.DISBURSEMENT, today, fixed=paid, rate_ppm=loan.rate_ppm),
        )
        outcomes.append(
            desk.say(loan_id, lambda disbursed: events_out.loan_disbursed(disbursed, today))
        )
    await desk.write(session)
    return outcomes
