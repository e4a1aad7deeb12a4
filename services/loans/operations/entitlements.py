"""Loans: entitlements: recorded, approved by a second person, paid by the payer, withdrawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import business_day, ids, journal, outbox
from services.kernel.errors import Denied, LiandongError
from services.kernel.journal import Account, Entry, Transfer
from services.loans import events_out, store
from services.loans.model import Loan
from services.loans.rules import balance
from services.loans.rules import entitlements as rules
from services.loans.rules.entitlements import Entitlement, Step, Wanted
from services.loans.rules.lending import LENDER_ROLES, Actor, require_lender
from services.loans.store import entitlements as entitlement_store
from services.programmes.loader import Catalogue

MayActIn = Callable[[str], None]
Outcome = Entitlement | LiandongError


@dataclass(frozen=True, slots=True)
class Payment:
    """What the payer says it paid."""

    entitlement_id: UUID
    reference: str
    paid_on: date


def _step(found: Entitlement, what: str, note: str, actor: Actor, today: date) -> Step:
    return Step(
        found.entitlement_id,
        found.version,
        what,
        today,
        actor.institution_id,
        actor.person_id,
        note,
    )


async def record(
    session: AsyncSession,
    county_code: str,
    programme_id: str,
    items: Sequence[Wanted],
    *,
    actor: Actor,
    may_act_in: MayActIn,
    catalogue: Catalogue,
) -> list[Outcome]:
    """Write down what is due by the programme in force."""
    today = await business_day.today(session, county_code)
    terms = catalogue.terms(county_code, catalogue.in_force(county_code, programme_id, today))
    households = {item.household_id for item in items}
    # Held, so that nobody gets what is given once from two desks at the same moment.
    borrowers = await store.lock_borrowers(session, county_code, households)
    loans = await store.lock_loans(
        session, county_code, {item.loan_id for item in items if item.loan_id is not None}
    )
    had = await entitlement_store.had(session, county_code, programme_id, households)
    outcomes: list[Outcome] = []
    for item in items:
        borrower = borrowers.get(item.household_id)
        loan = loans.get(item.loan_id) if item.loan_id is not None else None
        own = had.setdefault(item.household_id, set())
        try:
            if borrower is not None:
                _require_party(loan, borrower.area_code, item.household_id, actor, may_act_in)
            made = rules.due(
                ids.new_id(),
                item,
                terms,
                borrower=borrower,
                loan=loan,
                had=own,
                actor=actor,
                today=today,
            )
        except LiandongError as error:
            outcomes.append(error)
        else:
            own.add(made.rule_id)
            outcomes.append(made)
    made_ = [each for each in outcomes if isinstance(each, Entitlement)]
    notes = [
        item.evidence
        for item, made in zip(items, outcomes, strict=True)
        if isinstance(made, Entitlement)
    ]
    await entitlement_store.add(session, county_code, made_)
    steps = [_step(e, "recorded", note, actor, today) for e, note in zip(made_, notes, strict=True)]
    await entitlement_store.add_steps(session, county_code, steps)
    said = [events_out.entitlement_due(each, county_code, today) for each in made_]
    await outbox.record(session, said)
    return outcomes


def _require_party(
    loan: Loan | None, area: str, household_id: UUID, actor: Actor, may_act_in: MayActIn
) -> None:
    """A lender records for its own loans, everybody else in the own areas."""
    if loan is not None and actor.role in LENDER_ROLES:
        require_lender(loan, actor)
        return
    try:
        may_act_in(area)
    except Denied as error:
        raise rules.household_not_found(household_id) from error


async def approve(
    session: AsyncSession,
    county_code: str,
    entitlement_ids: Sequence[UUID],
    *,
    actor: Actor,
    may_act_in: MayActIn,
) -> list[Outcome]:
    """A second person approves what is due."""
    today = await business_day.today(session, county_code)
    held = await entitlement_store.lock(session, county_code, entitlement_ids)
    outcomes: list[Outcome] = []
    for entitlement_id in entitlement_ids:
        try:
            now = rules.approve(held.get(entitlement_id), entitlement_id, actor=actor, today=today)
            may_act_in(now.area_code)
            held[entitlement_id] = now
            outcomes.append(now)
        except LiandongError as error:
            outcomes.append(error)
    done = [each for each in outcomes if isinstance(each, Entitlement)]
    await entitlement_store.save(session, county_code, done)
    steps = [_step(each, "approved", "", actor, today) for each in done]
    await entitlement_store.add_steps(session, county_code, steps)
    said = [events_out.entitlement_approved(each, county_code, today) for each in done]
    await outbox.record(session, said)
    return outcomes


async def pay(
    session: AsyncSession, county_code: str, payments: Sequence[Payment], *, actor: Actor
) -> list[Outcome]:
    """Note what the payer paid or gave."""
    today = await business_day.today(session, county_code)
    held = await entitlement_store.lock(
        session, county_code, {each.entitlement_id for each in payments}
    )
    closed = await store.closed_through(session, county_code)
    outcomes: list[Outcome] = []
    for payment in payments:
        on = payment.paid_on
        try:
            balance.check_value_date(on, on, today=max(on, today), closed_through=closed)
            now = rules.pay(
                held.get(payment.entitlement_id),
                payment.entitlement_id,
                reference=payment.reference,
                paid_on=on,
                actor=actor,
                today=today,
            )
        except LiandongError as error:
            outcomes.append(error)
        else:
            held[payment.entitlement_id] = now
            outcomes.append(now)
    done = [each for each in outcomes if isinstance(each, Entitlement)]
    await entitlement_store.save(session, county_code, done)
    steps = [_step(each, "paid", each.reference, actor, today) for each in done]
    await entitlement_store.add_steps(session, county_code, steps)
    await journal.post(
        session, [_entry(each, county_code, actor, today) for each in done if each.amount_fen]
    )
    said = [events_out.entitlement_paid(each, county_code, today) for each in done]
    await outbox.record(session, said)
    return outcomes


def _entry(paid: Entitlement, county_code: str, actor: Actor, today: date) -> Entry:
    assert paid.paid_on is not None
    transfer = Transfer(
        Account("entitlement_paid", str(paid.household_id)),
        Account("payer_cash", actor.institution_id),
        paid.amount_fen,
    )
    cause = str(paid.entitlement_id)
    return Entry(county_code, "entitlement_payment", cause, paid.paid_on, today, (transfer,))


async def withdraw(
    session: AsyncSession,
    county_code: str,
    entitlement_id: UUID,
    *,
    reason: str,
    actor: Actor,
    may_act_in: MayActIn,
) -> Entitlement:
    """Take back what was not paid."""
    today = await business_day.today(session, county_code)
    held = await entitlement_store.lock(session, county_code, [entitlement_id])
    now = rules.withdraw(held.get(entitlement_id), entitlement_id, reason=reason, actor=actor)
    may_act_in(now.area_code)
    await entitlement_store.save(session, county_code, [now])
    steps = [_step(now, "withdrawn", reason, actor, today)]
    await entitlement_store.add_steps(session, county_code, steps)
    await outbox.record(session, [events_out.entitlement_withdrawn(now, county_code, today)])
    return now
