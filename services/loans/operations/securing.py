"""Loans: collateral: registered, valued, released; what deposits bear and give back."""

from collections.abc import Collection
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import business_day, ids, journal, outbox
from services.kernel.errors import NotFound
from services.kernel.journal import Account, Entry, Transfer
from services.kernel.money import Fen
from services.kernel.outbox import OutgoingEvent
from services.kernel.values import replace
from services.loans import events_out, store
from services.loans.model import Collateral, Loan, LoanState, Warned
from services.loans.operations import standing
from services.loans.operations.shared import said
from services.loans.rules import balance, lending
from services.loans.rules import securing as rules
from services.loans.rules.lending import Actor
from services.loans.rules.securing import Offered
from services.loans.store import securing as securing_store
from services.programmes.loader import Catalogue
from services.programmes.schema.pledges import Security


def _security(loan: Loan, catalogue: Catalogue) -> Security:
    terms = catalogue.terms(loan.county_code, loan.programme)
    return terms.product(loan.product_id).security


async def _held(
    session: AsyncSession, county_code: str, collateral_id: UUID, actor: Actor
) -> tuple[Collateral, Loan]:
    """Collateral of the actor's loan; the loan is held, and with it all that secures it."""
    known = await securing_store.find(session, county_code, collateral_id)
    if known is None:
        raise NotFound(
            "COLLATERAL_NOT_FOUND", f"no collateral {collateral_id}", message_zh="无此抵押物"
        )
    loans = await store.lock_loans(session, county_code, [known.loan_id])
    loan = loans[known.loan_id]
    lending.require_lender(loan, actor)
    now = await securing_store.find(session, county_code, collateral_id)
    assert now is not None
    return now, loan


async def register(
    session: AsyncSession,
    county_code: str,
    loan_id: UUID,
    offered: Offered,
    *,
    actor: Actor,
    catalogue: Catalogue,
) -> Collateral:
    """Take collateral for a loan."""
    today = await business_day.today(session, county_code)
    loans = await standing.one_loan(session, county_code, loan_id)
    loan = loans[loan_id]
    lending.require_lender(loan, actor)
    security = _security(loan, catalogue)
    made = rules.register(
        loan,
        security,
        offered,
        parties=catalogue.parties(county_code, loan.programme),
        collateral_id=ids.new_id(),
        today=today,
    )
    await securing_store.insert(session, county_code, made)
    await securing_store.add_valuation(session, county_code, made, actor.person_id)
    now = said(loan)
    await store.save_loans(session, [now])
    await outbox.record(session, [events_out.collateral_registered(now, made, today)])
    return made


async def revalue(
    session: AsyncSession,
    county_code: str,
    collateral_id: UUID,
    *,
    units: int,
    unit_value_fen: Fen,
    source: str,
    actor: Actor,
    catalogue: Catalogue,
) -> tuple[Collateral, bool]:
    """Value collateral anew; too little for what is owed is warned of."""
    today = await business_day.today(session, county_code)
    held, loan = await _held(session, county_code, collateral_id, actor)
    rules.require_held(held)
    valued = rules.value(
        held,
        _security(loan, catalogue),
        units=units,
        unit_value_fen=unit_value_fen,
        source=source,
        today=today,
    )
    await securing_store.save(session, county_code, [valued])
    await securing_store.add_valuation(session, county_code, valued, actor.person_id)
    enough = rules.enough(loan, await securing_store.securing(session, county_code, [loan.loan_id]))
    now = said(loan)
    await store.save_loans(session, [now])
    await outbox.record(
        session, [events_out.collateral_revalued(now, valued, today, enough=enough)]
    )
    if not enough:
        cause = f"{collateral_id}:{today}"
        warned = Warned(loan.loan_id, "collateral_short", today, cause)
        await standing.warn(session, county_code, [warned])
    return valued, enough


async def release(
    session: AsyncSession, county_code: str, collateral_id: UUID, *, actor: Actor
) -> Collateral:
    """Release what secures a loan that is settled or was refused."""
    today = await business_day.today(session, county_code)
    held, loan = await _held(session, county_code, collateral_id, actor)
    rules.require_held(held)
    rules.require_closed(loan)
    freed = replace(held, released_on=today)
    await securing_store.save(session, county_code, [freed])
    now = said(loan)
    await store.save_loans(session, [now])
    await outbox.record(session, [events_out.collateral_released(now, freed, today)])
    return freed


async def refund_interest(
    session: AsyncSession,
    county_code: str,
    collateral_id: UUID,
    *,
    sold_on: date,
    proofs: Collection[str],
    evidence: str,
    actor: Actor,
    catalogue: Catalogue,
) -> Collateral:
    """Note that the keeper bought the deposited assets and pays the loan's interest back."""
    today = await business_day.today(session, county_code)
    held, loan = await _held(session, county_code, collateral_id, actor)
    balance.check_money_in(loan, sold_on, today=today, closed_through=None)
    security = _security(loan, catalogue)
    refund = rules.refund(loan, security, held, sold_on=sold_on, proofs=proofs)
    paid = replace(held, refunded_fen=refund)
    await securing_store.save(session, county_code, [paid])
    # The keeper owes it to the household: no money of the lender's moves.
    await journal.post(
        session,
        [
            _owed_by_keeper(
                loan, paid, ("deposit_refund", f"{collateral_id}:{evidence}"), refund, today
            )
        ],
    )
    now = said(loan)
    await store.save_loans(session, [now])
    await outbox.record(session, [events_out.deposit_interest_refunded(now, paid, today)])
    return paid


def _owed_by_keeper(
    loan: Loan, collateral: Collateral, what: tuple[str, str], amount_fen: Fen, day: date
) -> Entry:
    transfer = Transfer(
        Account("keeper_owes", collateral.keeper_id),
        Account("household_is_owed", str(loan.household_id)),
        amount_fen,
    )
    kind, cause = what
    return Entry(loan.county_code, kind, cause, day, day, (transfer,))


# --- the day close --------------------------------------------------------------------------------


async def release_settled(session: AsyncSession, county_code: str, day: date) -> None:
    """Release what secures loans of which nothing is owed any more."""
    freed = [
        replace(each, released_on=day)
        for each in await securing_store.of_closed_loans(session, county_code)
    ]
    loans = await store.lock_loans(session, county_code, {each.loan_id for each in freed})
    closed = (LoanState.SETTLED, LoanState.REFUSED)
    freed = [each for each in freed if loans[each.loan_id].state in closed]
    events: list[OutgoingEvent] = []
    for each in freed:
        loans[each.loan_id] = now = said(loans[each.loan_id])
        events.append(events_out.collateral_released(now, each, day))
    await securing_store.save(session, county_code, freed)
    await store.save_loans(session, list(loans.values()))
    await outbox.record(session, events)


async def bear_yield(session: AsyncSession, county_code: str, day: date) -> None:
    """Note each month's interest of deposited assets, also of months that were missed."""
    while True:
        found = await securing_store.bearing(session, county_code, day)
        if not found:
            return
        loans = await store.lock_loans(session, county_code, {each.loan_id for each in found})
        events: list[OutgoingEvent] = []
        entries: list[Entry] = []
        borne: list[Collateral] = []
        for each in found:
            month = each.months_borne + 1
            amount = each.month_yield_fen
            now = replace(each, months_borne=month, yield_fen=Fen(each.yield_fen + amount))
            loan = loans[each.loan_id] = said(loans[each.loan_id])
            events.append(events_out.deposit_yield_due(loan, now, day))
            cause = f"{each.collateral_id}:{month}"
            entries.append(_owed_by_keeper(loan, now, ("deposit_yield", cause), amount, day))
            borne.append(now)
        await securing_store.save(session, county_code, borne)
        await store.save_loans(session, list(loans.values()))
        await journal.post(session, entries)
        await outbox.record(session, events)


async def warn_of_old_values(session: AsyncSession, county_code: str, day: date) -> None:
    """Warn of collateral that should have been valued anew (S49)."""
    found = await securing_store.to_revalue(session, county_code, day)
    await standing.warn(
        session,
        county_code,
        [
            Warned(e.loan_id, "revaluation_due", day, f"{e.collateral_id}:{e.revalue_by}")
            for e in found
        ],
    )
