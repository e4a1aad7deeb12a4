"""Loans: collection cases, campaigns, the legal step, write-off and recovery."""

from collections.abc import Callable, Collection
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import business_day, ids, outbox
from services.kernel.errors import NotFound, Refused
from services.kernel.money import Fen
from services.kernel.outbox import OutgoingEvent
from services.kernel.values import replace
from services.loans import events_out, store
from services.loans.model import (
    CollectionCase,
    CollectionStep,
    Loan,
    LoanState,
    Repayment,
    WriteOff,
)
from services.loans.operations import money
from services.loans.operations.desk import Desk
from services.loans.operations.shared import found, require_our_book, said, terms_by_ref
from services.loans.rules import balance, lending
from services.loans.rules import collecting as rules
from services.loans.rules.book import Posting, PostingKind
from services.loans.rules.lending import Actor
from services.loans.store import agreements
from services.loans.store import collecting as collecting_store
from services.programmes.loader import Catalogue
from services.programmes.settlement import Amounts

MayActIn = Callable[[str], None]


async def open_on(
    session: AsyncSession,
    loans: dict[UUID, Loan],
    loan_ids: Collection[UUID],
    *,
    cause: str,
    day: date,
) -> list[OutgoingEvent]:
    """Open cases on held loans that have none open; the caller saves loans and events."""
    if not loan_ids:
        return []
    cases = [rules.new_case(loans[loan_id], ids.new_id(), cause, day) for loan_id in loan_ids]
    county_code = loans[cases[0].loan_id].county_code
    events: list[OutgoingEvent] = []
    for case in await collecting_store.open_cases(session, county_code, cases):
        loans[case.loan_id] = now = said(loans[case.loan_id])
        events.append(events_out.collection_case_opened(now, case, day))
    return events


async def open_case(
    session: AsyncSession,
    county_code: str,
    loan_id: UUID,
    *,
    cause: str,
    due_class: str,
    actor: Actor,
    may_act_in: MayActIn,
    catalogue: Catalogue,
) -> CollectionCase:
    """Open a case on a loan that is due; its class has the programme's disposition."""
    today = await business_day.today(session, county_code)
    loans = await store.lock_loans(session, county_code, [loan_id])
    loan = found(loans, loan_id)
    lending.require_party(loan, actor, may_act_in)
    terms = catalogue.terms(county_code, loan.programme)
    wanted = rules.open_case(
        loan, terms.loans, ids.new_id(), cause=cause, due_class=due_class, today=today
    )
    opened = await collecting_store.open_cases(session, county_code, [wanted])
    if not opened:
        raise Refused("CASE_OPEN", "a case is open on this loan", message_zh="已有在办清收案件")
    now = said(loan)
    await store.save_loans(session, [now])
    await outbox.record(session, [events_out.collection_case_opened(now, opened[0], today)])
    return opened[0]


def _case_not_found(case_id: UUID) -> NotFound:
    return NotFound("CASE_NOT_FOUND", f"no case {case_id}", message_zh="无此清收案件")


async def _held_case(
    session: AsyncSession,
    county_code: str,
    case_id: UUID,
    actor: Actor,
    may_act_in: MayActIn,
) -> tuple[CollectionCase, Loan]:
    """A case and its loan, held, the loan first as everywhere."""
    known = await collecting_store.find_case(session, county_code, case_id)
    if known is None:
        raise _case_not_found(case_id)
    loans = await store.lock_loans(session, county_code, [known.loan_id])
    try:
        lending.require_party(loans[known.loan_id], actor, may_act_in)
    except NotFound as error:
        raise _case_not_found(case_id) from error
    case = await collecting_store.lock_case(session, county_code, case_id)
    assert case is not None
    return case, loans[case.loan_id]


async def record_step(
    session: AsyncSession,
    county_code: str,
    case_id: UUID,
    *,
    kind: str,
    done_on: date,
    note: str,
    actor: Actor,
    may_act_in: MayActIn,
    catalogue: Catalogue,
) -> tuple[CollectionCase, list[CollectionStep]]:
    """Record a step, the legal ones in their order."""
    today = await business_day.today(session, county_code)
    case, loan = await _held_case(session, county_code, case_id, actor, may_act_in)
    chain = catalogue.terms(county_code, loan.programme).loans.escalation
    balance.check_value_date(case.opened_on, done_on, today=today, closed_through=None)
    before = await collecting_store.steps_of(session, county_code, case_id)
    case, step = rules.step(
        case, before, chain, kind=kind, done_on=done_on, note=note, person_id=actor.person_id
    )
    await collecting_store.add_step(session, county_code, case_id, step)
    await collecting_store.save_case(session, county_code, case)
    now = said(loan)
    await store.save_loans(session, [now])
    await outbox.record(session, [events_out.collection_step_taken(now, case, step, today)])
    return case, [*before, step]


async def close_case(
    session: AsyncSession,
    county_code: str,
    case_id: UUID,
    *,
    outcome: str,
    actor: Actor,
    may_act_in: MayActIn,
) -> CollectionCase:
    """End a case."""
    today = await business_day.today(session, county_code)
    case, loan = await _held_case(session, county_code, case_id, actor, may_act_in)
    rules.require_open(case)
    ended = replace(case, closed_on=today, outcome=outcome)
    await collecting_store.save_case(session, county_code, ended)
    now = said(loan)
    await store.save_loans(session, [now])
    await outbox.record(session, [events_out.collection_case_closed(now, ended, today)])
    return ended


async def close_settled_cases(session: AsyncSession, county_code: str, day: date) -> None:
    """End the cases of loans of which nothing is owed any more."""
    closed = await collecting_store.close_settled_cases(session, county_code, day)
    loans = await store.lock_loans(session, county_code, {case.loan_id for case in closed})
    events: list[OutgoingEvent] = []
    for case in closed:
        loans[case.loan_id] = now = said(loans[case.loan_id])
        events.append(events_out.collection_case_closed(now, case, day))
    await store.save_loans(session, list(loans.values()))
    await outbox.record(session, events)


async def settle_with_discount(
    session: AsyncSession,
    county_code: str,
    loan_id: UUID,
    *,
    amount_fen: Fen,
    actor: Actor,
    catalogue: Catalogue,
) -> tuple[Loan, str, Fen]:
    """Take money in a campaign: the day's stage forgives a part of the interest, once (S35)."""
    today = await business_day.today(session, county_code)
    await require_our_book(session, county_code, actor, today)
    closed = await store.closed_through(session, county_code)
    loans = await store.lock_loans(session, county_code, [loan_id])
    loan = found(loans, loan_id)
    lending.require_lender(loan, actor)
    balance.check_money_in(loan, today, today=today, closed_through=closed)
    terms_of = terms_by_ref(catalogue, county_code)
    terms = terms_of(loan.programme)
    used = "campaign" in await agreements.forgiven(session, county_code, loan_id)
    accrued = balance.accrue(loan, today, terms.loans.day_basis)
    stage, forgiven = rules.discount(accrued, terms.loans, today, amount_fen, used=used)
    desk = Desk(county_code, loans, today, terms_of, person_id=actor.person_id)
    await desk.load_for(session, [(loan_id, today)])
    off = Amounts(interest_fen=forgiven)
    desk.post(loan_id, Posting(0, PostingKind.DISCOUNT, today, fixed=off, reference=stage))
    desk.say(loan_id, lambda now: events_out.interest_forgiven(now, forgiven, stage, today))
    money.repay(desk, Repayment(loan_id, amount_fen, today))
    await agreements.add_forgiven(
        session,
        county_code,
        loan_id,
        cause="campaign",
        stage=stage,
        on=today,
        amount_fen=forgiven,
        flexible=False,
        evidence="",
        person_id=actor.person_id,
    )
    await desk.write(session)
    return loans[loan_id], stage, forgiven


# --- write-off ------------------------------------------------------------------------------------


async def propose_write_off(
    session: AsyncSession, county_code: str, loan_id: UUID, *, reason: str, actor: Actor
) -> WriteOff:
    """One person proposes to write a bad loan off."""
    today = await business_day.today(session, county_code)
    loans = await store.lock_loans(session, county_code, [loan_id])
    loan = found(loans, loan_id)
    lending.require_lender(loan, actor)
    rules.require_bad(loan)
    proposed = await collecting_store.propose_write_off(
        session, county_code, loan_id, reason=reason, person_id=actor.person_id, on=today
    )
    if proposed is None:
        raise Refused("WRITE_OFF_PROPOSED", "one waits for its decision", message_zh="已有待决核销")
    return proposed


async def decide_write_off(
    session: AsyncSession,
    county_code: str,
    write_off_id: UUID,
    *,
    approve: bool,
    actor: Actor,
    catalogue: Catalogue,
) -> tuple[WriteOff, Loan]:
    """Another person decides; what is owed is no longer carried as an asset."""
    today = await business_day.today(session, county_code)
    proposed = await collecting_store.lock_write_off(session, county_code, write_off_id)
    if proposed is None:
        raise NotFound("WRITE_OFF_NOT_FOUND", f"no write-off {write_off_id}", message_zh="无此核销")
    loans = await store.lock_loans(session, county_code, [proposed.loan_id])
    loan = loans[proposed.loan_id]
    lending.require_lender(loan, actor)
    rules.require_second(proposed, actor.person_id)
    decided = replace(proposed, decided_by=actor.person_id, decided_on=today, approved=approve)
    if approve:
        rules.require_bad(loan)
        terms_of = terms_by_ref(catalogue, county_code)
        desk = Desk(county_code, loans, today, terms_of, person_id=actor.person_id)
        await desk.load_for(session, [(loan.loan_id, today)])
        accrued = balance.accrue(loan, today, terms_of(loan.programme).loans.day_basis)
        debt = balance.debt(accrued)
        reference = str(write_off_id)
        desk.post(
            loan.loan_id,
            Posting(0, PostingKind.WRITE_OFF, today, fixed=debt, reference=reference),
        )
        desk.loans[loan.loan_id] = replace(
            desk.loans[loan.loan_id],
            state=LoanState.WRITTEN_OFF,
            next_due_on=None,
            notice_on=None,
        )
        desk.say(
            loan.loan_id,
            lambda now: events_out.loan_written_off(
                now, debt.principal_fen, debt.interest_fen, today
            ),
        )
        await desk.write(session)
        decided = replace(decided, principal_fen=debt.principal_fen, interest_fen=debt.interest_fen)
    await collecting_store.decide_write_off(session, county_code, decided)
    return decided, loans[loan.loan_id]
