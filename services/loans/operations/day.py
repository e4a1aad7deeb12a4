"""Loans: the day close: maturities told, loans aged, breakers tripped."""

from dataclasses import replace
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import journal, outbox
from services.kernel.journal import Entry
from services.kernel.outbox import OutgoingEvent
from services.loans import events_out, store
from services.loans.model import Breaker, Loan
from services.loans.operations.money import accrued_entries
from services.loans.operations.shared import said, terms_by_ref
from services.loans.rules import watch
from services.loans.rules.book import Posting, PostingKind
from services.programmes.loader import Catalogue

CHUNK_LOANS_MAX = 5_000


async def tell_coming_maturities(session: AsyncSession, county_code: str, day: date) -> None:
    """Say which loans fall due within the programme's lead time (LS18.loa.4)."""
    loans = [said(loan) for loan in await store.lock_noticed(session, county_code, day)]
    await store.save_loans(session, loans)
    await outbox.record(session, [events_out.loan_due_soon(loan, day) for loan in loans])


async def age_loans(
    session: AsyncSession, county_code: str, day: date, catalogue: Catalogue
) -> None:
    """Count overdue days, classify and accrue every loan that is past its day."""
    terms_of = terms_by_ref(catalogue, county_code)
    after: UUID | None = None
    while True:
        loans = await store.lock_due(session, county_code, day, CHUNK_LOANS_MAX, after)
        if not loans:
            return
        after = loans[-1].loan_id
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
