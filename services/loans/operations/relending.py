"""Loans: the relending ledger: lines opened, moved and closed, visits, what loans earn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import business_day, ids, journal, outbox
from services.kernel.errors import Conflict, Refused
from services.kernel.journal import Account, Entry, Transfer
from services.kernel.money import Fen
from services.loans import events_out, store
from services.loans.operations import standing
from services.loans.operations.shared import found, require_open_period
from services.loans.rules import relending as rules
from services.loans.rules.entitlements import require_not_ahead
from services.loans.rules.lending import Actor
from services.loans.rules.relending import Costs, Facility, FundedLoan, Lent, Moved, Visit, Wanted
from services.loans.store import relending as relending_store
from services.programmes.loader import Catalogue
from services.programmes.margins import Margin

NOTHING_LENT = Lent(Fen(0), 0, 0, 0)
MayActIn = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Stated:
    """A draw or repayment as the lender states it."""

    facility_id: UUID
    draw: bool
    amount_fen: Fen
    value_date: date
    reference: str


@dataclass(frozen=True, slots=True)
class Margins:
    """What a lender's loans earn: some one by one, all of them together."""

    costs: Costs
    loans: tuple[tuple[FundedLoan, Margin], ...]
    totals: tuple[tuple[str, int, Fen, int], ...]


async def open_facility(
    session: AsyncSession,
    county_code: str,
    wanted: Wanted,
    *,
    actor: Actor,
    catalogue: Catalogue,
) -> Facility:
    """Open a lender's line as the programme in force allows it."""
    today = await business_day.today(session, county_code)
    ref = catalogue.in_force(county_code, wanted.programme_id, today)
    granted = await relending_store.granted(session, county_code, wanted.programme_id)
    made = rules.open_facility(
        ids.new_id(),
        wanted,
        catalogue.terms(county_code, ref),
        granted_fen=granted,
        actor=actor,
        today=today,
    )
    if not await relending_store.add(session, county_code, made):
        raise Refused(
            "FACILITY_OPEN_ALREADY",
            f"{made.lender_id} has a line of {made.source} open",
            message_zh="该机构已有同类再贷款",
        )
    await outbox.record(session, [events_out.relending_facility_opened(made, county_code, today)])
    return made


async def move(
    session: AsyncSession, county_code: str, stated: Stated, *, actor: Actor
) -> tuple[Facility, Moved]:
    """Draw on a line or pay back; the journal has it on the lender's own money."""
    today = await business_day.today(session, county_code)
    held = await relending_store.lock(session, county_code, stated.facility_id)
    facility = rules.require_found(held, stated.facility_id)
    rules.require_lender_of(facility, actor)
    await require_open_period(session, county_code, stated.value_date)
    number, last_on = await relending_store.last_movement(
        session, county_code, facility.facility_id
    )
    now = rules.move(
        facility,
        draw=stated.draw,
        amount_fen=stated.amount_fen,
        value_date=stated.value_date,
        last_on=last_on,
        today=today,
    )
    moved = Moved(
        facility.facility_id,
        number + 1,
        stated.draw,
        stated.amount_fen,
        stated.value_date,
        today,
        stated.reference,
        now.owed_fen,
        now.free_fen,
        actor.person_id,
    )
    if not await relending_store.add_movement(session, county_code, moved):
        raise Conflict(
            "REFERENCE_USED", f"{stated.reference} is on this line", message_zh="业务参考号重复"
        )
    await relending_store.save(session, county_code, now)
    await journal.post(session, [_entry(now, moved, county_code)])
    await outbox.record(session, [events_out.relending_moved(now, moved, county_code)])
    return now, moved


def _entry(facility: Facility, moved: Moved, county_code: str) -> Entry:
    cash = Account("lender_cash", facility.lender_id)
    owed = Account("relending_owed", str(facility.facility_id))
    debit, credit = (cash, owed) if moved.draw else (owed, cash)
    return Entry(
        county_code,
        "relending_draw" if moved.draw else "relending_repayment",
        f"{facility.facility_id}:{moved.number}",
        moved.value_date,
        moved.booked_on,
        (Transfer(debit, credit, moved.amount_fen),),
    )


async def close(
    session: AsyncSession, county_code: str, facility_id: UUID, *, lender_id: str
) -> Facility:
    """Close a line; a lender only its own."""
    today = await business_day.today(session, county_code)
    held = await relending_store.lock(session, county_code, facility_id)
    if held is not None and lender_id and held.lender_id != lender_id:
        held = None
    now = rules.close(rules.require_found(held, facility_id), today)
    await relending_store.save(session, county_code, now)
    await outbox.record(session, [events_out.relending_facility_closed(now, county_code, today)])
    return now


async def visit(
    session: AsyncSession,
    county_code: str,
    loan_id: UUID,
    *,
    visited_on: date,
    finding: str,
    evidence: str,
    actor: Actor,
    may_act_in: MayActIn,
) -> Visit:
    """Record a visit to whoever has a loan out of relending."""
    today = await business_day.today(session, county_code)
    known = await store.find_loan(session, county_code, loan_id)
    loan = found({known.loan_id: known} if known is not None else {}, loan_id)
    standing.require_party(loan, actor, may_act_in)
    require_not_ahead("visited_on", visited_on, today)
    rules.require_funded(await relending_store.source_of(session, county_code, loan_id))
    made = Visit(
        ids.new_id(),
        loan_id,
        loan.lender_id,
        visited_on,
        finding,
        evidence,
        actor.institution_id,
        actor.person_id,
    )
    await relending_store.add_visit(session, county_code, made)
    return made


async def lent(
    session: AsyncSession, county_code: str, lines: Sequence[Facility]
) -> list[tuple[Facility, Lent]]:
    """Lines with what was lent out of them."""
    known = await relending_store.lent_of(session, county_code, lines)
    return [(line, known.get(line.facility_id, NOTHING_LENT)) for line in lines]


async def own_facility(
    session: AsyncSession, county_code: str, facility_id: UUID, lender_id: str
) -> Facility:
    """A line that the caller may see; another lender's is as good as none."""
    held = await relending_store.find(session, county_code, facility_id)
    if held is not None and lender_id and held.lender_id != lender_id:
        held = None
    return rules.require_found(held, facility_id)


async def set_costs(session: AsyncSession, county_code: str, said: Costs, *, actor: Actor) -> None:
    """Say what a lender's own money and its work cost from a day on."""
    last = await relending_store.costs(session, county_code, said.lender_id)
    rules.require_later(said.valid_from, last)
    if not await relending_store.add_costs(session, county_code, said, actor.person_id):
        # Somebody else said it meanwhile.
        rules.require_later(said.valid_from, said)


async def margins(
    session: AsyncSession,
    county_code: str,
    lender_id: str,
    *,
    after: UUID | None,
    limit: int,
) -> Margins:
    """What a lender's loans earn, out of own money and out of relending."""
    today = await business_day.today(session, county_code)
    costs = rules.require_costs(await relending_store.costs(session, county_code, lender_id, today))
    rates = await relending_store.line_rates(session, county_code, lender_id)
    loans = await relending_store.owed_loans(
        session, county_code, lender_id, after=after, limit=limit
    )
    groups = await relending_store.owed_groups(session, county_code, lender_id)
    return Margins(
        costs,
        tuple((loan, rules.margin(loan, costs, rates)) for loan in loans),
        tuple(rules.totals(groups, costs, rates)),
    )
