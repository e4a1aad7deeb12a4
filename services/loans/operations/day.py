"""Loans: the day close: maturities told, loans aged, breakers tripped."""

from dataclasses import replace
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import journal, outbox
from services.kernel.database import Database
from services.kernel.journal import Entry
from services.kernel.outbox import OutgoingEvent
from services.loans import events_out, store
from services.loans.model import Breaker, Loan
from services.loans.operations.money import accrued_entries
from services.loans.operations.shared import said, terms_by_ref
from services.loans.rules import watch
from services.loans.rules.book import Posting, PostingKind
from services.loans.store import days
from services.programmes.loader import Catalogue

CHUNK_LOANS_MAX = 2_000


async def tell_coming_maturities(session: AsyncSession, county_code: str, day: date) -> None:
    """Say which loans fall due within the programme's lead time (LS18.loa.4)."""
    loans = [said(loan) for loan in await store.lock_noticed(session, county_code, day)]
    await store.save_loans(session, loans)
    await outbox.record(session, [events_out.loan_due_soon(loan, day) for loan in loans])


async def work_day(
    db: Database,
    county_code: str,
    day: date,
    catalogue: Catalogue,
    *,
    chunk_loans: int = CHUNK_LOANS_MAX,
) -> None:
    """
    Age the county's loans at the end of a day, chunk by chunk, each in its own transaction.

    The place is written with the chunk: whoever comes after a kill goes on there, and between two
    chunks commands find their loans free.
    """

    async def some(session: AsyncSession) -> bool:
        place = await days.lock_place(session, county_code, day)
        if place.day != day or place.done:
            return False
        last = await age_loans(
            session, county_code, day, catalogue, after=place.after, limit=chunk_loans
        )
        await days.move_place(session, county_code, last)
        return last is not None

    while await db.work(some):
        pass


async def age_loans(
    session: AsyncSession,
    county_code: str,
    day: date,
    catalogue: Catalogue,
    *,
    after: UUID | None = None,
    limit: int = CHUNK_LOANS_MAX,
) -> UUID | None:
    """
    Count overdue days, classify and accrue the next loans that are past their day.

    The last one is returned; None when there was none.
    """
    terms_of = terms_by_ref(catalogue, county_code)
    wanted = await store.due_ids(session, county_code, day, limit, after)
    if not wanted:
        return None
    held = (await store.lock_loans(session, county_code, wanted)).values()
    # One that was paid while we waited for it is due no more; the others behind it still are.
    loans = [loan for loan in held if loan.next_due_on is not None and loan.next_due_on < day]
    entries: list[Entry] = []
    events: list[OutgoingEvent] = []
    changed: list[Loan] = []
    stops: list[tuple[UUID, Posting, str]] = []
    for loan in loans:
        aged = watch.age(loan, terms=terms_of(loan.programme), day=day)
        entries.extend(accrued_entries(loan, aged.loan, day))
        now = said(aged.loan)
        if aged.newly_non_performing and loan.subsidised:
            now = replace(now, postings=now.postings + 1)
            stop = Posting(now.postings, PostingKind.SUBSIDY_STOP, day)
            stops.append((now.loan_id, stop, ""))
        events.append(events_out.loan_overdue(now, day))
        if aged.reclassified:
            now = said(now)
            events.append(events_out.loan_reclassified(now, day))
        changed.append(now)
    await store.save_loans(session, changed)
    await store.add_postings(session, county_code, stops, day)
    await journal.post(session, entries)
    await outbox.record(session, events)
    return wanted[-1]


async def trip_breakers(
    session: AsyncSession, county_code: str, day: date, catalogue: Catalogue
) -> None:
    """Stop lending where a programme in force says so (LS17.mon.3, LS17.mon.4)."""
    closed = {b.scope_id for b in await store.tripped_breakers(session, county_code)}
    tripped: dict[str, Breaker] = {}
    villages: list[str] | None = None
    for adoption in catalogue.adoptions(county_code, day):
        programme_id = adoption.programme.split("@")[0]
        balances = await store.area_balances(session, county_code, programme_id)
        if not any(balance.non_performing_fen for balance in balances):
            continue
        if villages is None:
            villages = await store.villages(session, county_code)
        found = watch.trip(
            balances,
            closed | set(tripped),
            villages,
            terms=catalogue.terms(county_code, adoption.programme),
            county_code=county_code,
        )
        tripped.update({breaker.scope_id: breaker for breaker in found})
    if tripped:
        breakers = await store.trip_breakers(session, list(tripped.values()))
        await outbox.record(session, events_out.breakers_tripped(breakers, day))
