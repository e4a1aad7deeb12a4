"""Loans: what is done about problem loans: their dispositions, and the actions that follow."""

from collections.abc import Callable
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import business_day, outbox
from services.kernel.outbox import OutgoingEvent
from services.loans import events_out, store
from services.loans.operations import collecting, tasks
from services.loans.operations.shared import found, said
from services.loans.rules import issues as rules
from services.loans.rules.issues import Decided, Wanted
from services.loans.rules.lending import Actor, require_party
from services.loans.store import issues as issue_store
from services.loans.store import standing as standing_store
from services.programmes.loader import Catalogue

MayActIn = Callable[[str], None]


async def decide(
    session: AsyncSession,
    county_code: str,
    loan_id: UUID,
    wanted: Wanted,
    *,
    actor: Actor,
    may_act_in: MayActIn,
    catalogue: Catalogue,
) -> Decided:
    """Decide a problem loan; once all have who must, its actions follow in the pack's order."""
    today = await business_day.today(session, county_code)
    loans = await store.lock_loans(session, county_code, [loan_id])
    loan = found(loans, loan_id)
    require_party(loan, actor, may_act_in)
    before = await issue_store.dispositions_of(session, county_code, loan_id)
    decided = rules.dispose(
        loan,
        catalogue.terms(county_code, loan.programme).loans,
        wanted,
        before,
        actor=actor,
        parties=tasks.parties_of(catalogue, county_code, loan.programme).named,
        today=today,
    )
    await issue_store.add_disposition(session, county_code, decided)
    if not decided.in_effect:
        return decided
    loans[loan_id] = now = said(loan)
    events: list[OutgoingEvent] = [events_out.disposition_decided(now, decided)]
    actions = rules.actions(decided)
    await standing_store.add_actions(session, county_code, actions)
    for action in actions:
        loans[loan_id] = now = said(now)
        events.append(events_out.loan_action_taken(now, action))
    if rules.collects(decided):
        events += await collecting.open_on(
            session, loans, [loan_id], cause="disposition", day=today
        )
    await store.save_loans(session, list(loans.values()))
    await outbox.record(session, events)
    await tasks.disposed(
        session,
        county_code,
        loan_id,
        actor=actor,
        day=today,
        note=f"{decided.due_class}: {decided.reason}",
        evidence=decided.evidence,
    )
    return decided
