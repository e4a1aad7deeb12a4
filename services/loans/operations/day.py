"""Loans: the day close: maturities told, loans aged, classed and followed, breakers tripped."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database, journal, outbox
from services.kernel.database import Database
from services.kernel.journal import Entry
from services.kernel.outbox import OutgoingEvent
from services.kernel.values import replace
from services.loans import events_out, store
from services.loans.model import Action, Breaker, BreakerRecord, ClassChange, Judgement, Loan
from services.loans.operations import collecting, drawing, notices, subsidy, suspending
from services.loans.operations.money import accrued_entries
from services.loans.operations.shared import said, terms_by_ref
from services.loans.rules import suspending as suspending_rules
from services.loans.rules import watch
from services.loans.rules.book import Posting, PostingKind
from services.loans.rules.notices import Notice
from services.loans.rules.scopes import AREAS, Scope
from services.loans.rules.standing import UNJUDGED, follow_ups
from services.loans.store import breakers as breaker_store
from services.loans.store import days
from services.loans.store import notices as notice_store
from services.loans.store import reports as report_store
from services.loans.store import standing as standing_store
from services.loans.store import suspending as suspending_store
from services.programmes import collection
from services.programmes.loader import Catalogue
from services.programmes.schema.collection import OverdueAction
from services.programmes.terms import Terms

CHUNK_LOANS_MAX = 2_000
PART_LOANS_MAX = 400
"""Of a chunk so many are worked out while the database writes those before them."""
TURN_LOANS = 25
"""After so many the loop has its turn, so that an answer of the database is taken soon."""


async def tell_coming_maturities(
    session: AsyncSession, county_code: str, day: date, catalogue: Catalogue
) -> None:
    """Say which loans fall due, on the programme's lead day and where it says so on the day."""
    terms_of = terms_by_ref(catalogue, county_code)
    changed: list[Loan] = []
    events: list[OutgoingEvent] = []
    told_of: list[Notice] = []
    for loan in await store.lock_noticed(session, county_code, day):
        clause = terms_of(loan.programme).loans.maturity_notice
        assert loan.matures_on is not None
        if clause is None:
            changed.append(replace(loan, notice_on=None))
            continue
        later = [
            each for each in collection.notice_plan(clause, loan.matures_on).days if each > day
        ]
        told = said(replace(loan, notice_on=later[0] if later else None))
        changed.append(told)
        told_of += notices.of_maturity(told, terms_of(loan.programme), day)
        events.append(
            events_out.loan_due_soon(
                told,
                day,
                to=[str(organ) for organ in clause.to],
                to_borrower=clause.to_borrower,
                channels=[str(channel) for channel in clause.channels],
                at_maturity=day >= loan.matures_on,
            )
        )
    await store.save_loans(session, changed)
    await notice_store.queue(session, county_code, told_of)
    await outbox.record(session, events)


class _Part:
    """What some aged loans come to: rows, postings, entries and events, in order."""

    def __init__(self, day: date) -> None:
        self.day = day
        self.was: dict[UUID, Loan] = {}
        self.changed: list[Loan] = []
        self.entries: list[Entry] = []
        self.events: list[OutgoingEvent] = []
        self.stops: list[tuple[UUID, Posting, str]] = []
        self.changes: list[ClassChange] = []
        self.actions: list[Action] = []
        self.terms: dict[UUID, Terms] = {}
        self.performing: list[tuple[UUID, date, bool]] = []

    def take(self, loan: Loan, terms: Terms, judgement: Judgement) -> None:
        """Age one loan and note all that follows."""
        self.was[loan.loan_id] = loan
        aged = watch.age(loan, terms=terms, day=self.day, judgement=judgement)
        self.entries.extend(accrued_entries(loan, aged.loan, self.day))
        now = aged.loan
        if aged.subsidy_stopped:
            now = replace(now, postings=now.postings + 1)
            stop = Posting(now.postings, PostingKind.SUBSIDY_STOP, self.day)
            self.stops.append((now.loan_id, stop, ""))
        if now.overdue_days:
            now = said(now)
            self.events.append(events_out.loan_overdue(now, self.day))
        if aged.reclassified:
            change = ClassChange(
                now.loan_id,
                self.day,
                loan.five_tier_class,
                now.five_tier_class,
                now.overdue_days,
                now.programme,
            )
            self.changes.append(change)
            now = said(now)
            self.events.append(events_out.loan_reclassified(now, change))
        if aged.newly_non_performing:
            self.performing.append((now.loan_id, self.day, True))
            now = said(now)
            self.events.append(events_out.loan_non_performing(now, self.day))
        if aged.performing_again:
            self.performing.append((now.loan_id, self.day, False))
            now = said(now)
            self.events.append(events_out.loan_performing(now, self.day))
        if aged.subsidy_stopped:
            now = said(now)
            self.events.append(events_out.subsidy_stopped(now, "non_performing", self.day))
        if now.overdue_days and (loan.overdue_days == 0 or aged.newly_non_performing):
            self.actions += follow_ups(
                now,
                terms.loans,
                was_overdue=loan.overdue_days > 0,
                newly_bad=aged.newly_non_performing,
                day=self.day,
            )
            self.terms[now.loan_id] = terms
        self.changed.append(now)

    async def write(self, session: AsyncSession, county_code: str) -> None:
        """Write all of it, each kind with one statement."""
        new = await standing_store.add_actions(session, county_code, self.actions)
        loans = {loan.loan_id: loan for loan in self.changed}
        to_collect: list[UUID] = []
        reminders: list[Notice] = []
        for action in self.actions:
            if (action.loan_id, action.cause, action.since, action.place) not in new:
                continue
            loans[action.loan_id] = now = said(loans[action.loan_id])
            self.events.append(events_out.loan_action_taken(now, action))
            if action.action == "collect":
                to_collect.append(action.loan_id)
            if action.action == OverdueAction.REMIND:
                reminders += notices.of_reminder(now, self.terms[action.loan_id], self.day)
        opened = await collecting.open_on(
            session, loans, to_collect, cause="non_performing", day=self.day
        )
        self.events += opened
        await store.save_loans(session, list(loans.values()), self.was)
        await store.add_postings(session, county_code, self.stops, self.day)
        await standing_store.add_class_changes(session, county_code, self.changes)
        await report_store.add_performing_changes(session, county_code, self.performing)
        await journal.post(session, self.entries)
        await notice_store.queue(session, county_code, reminders)
        await outbox.record(session, self.events)


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

    Limits and subsidies that end with the day end first. The place is written with the chunk:
    whoever comes after a kill goes on there, and between two chunks commands find their loans free.
    """

    async def some(session: AsyncSession) -> bool:
        place = await days.lock_place(session, county_code, day)
        if place.day != day or place.done:
            return False
        if place.after is None:
            await drawing.end_limits(session, county_code, day, catalogue)
            await subsidy.count_months(session, county_code, day, catalogue)
            await subsidy.stop_used_up(session, county_code, day, catalogue)
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
    Count overdue days, classify and accrue the next loans past their day, or marked so still.

    The last one is returned; None when there are no more.
    """
    terms_of = terms_by_ref(catalogue, county_code)
    due = await store.due_ids(session, county_code, day, limit, after)
    # Behind the last due loan of a full chunk nobody looks: the next one begins there.
    until = due[-1] if len(due) >= limit else None
    cured = await standing_store.cured_ids(
        session, county_code, day, limit, after=after, until=until
    )
    wanted = sorted([*due, *cured])[:limit]
    if not wanted:
        return None
    parts = [wanted[at : at + PART_LOANS_MAX] for at in range(0, len(wanted), PART_LOANS_MAX)]
    held = await _held(session, county_code, day, parts[0])
    worked = await _worked_out(held, day, terms_of)
    for following in parts[1:]:
        held = await _held(session, county_code, day, following)
        worked = await _together(
            _sent(worked, session, county_code), _worked_out(held, day, terms_of)
        )
    await worked.write(session, county_code)
    return wanted[-1] if len(wanted) == limit else None


async def _held(
    session: AsyncSession, county_code: str, day: date, wanted: Sequence[UUID]
) -> list[tuple[Loan, Judgement]]:
    """Loans that the day's end touches, held, and what was judged of each."""
    held = await store.lock_loans(session, county_code, wanted)
    # One that was paid while we waited for it is due no more; the others behind it still are.
    loans = [loan for loan in held.values() if watch.wants_ageing(loan, day)]
    judged = await standing_store.judgements_of(
        session, county_code, [loan.loan_id for loan in loans]
    )
    return [(loan, judged.get(loan.loan_id, UNJUDGED)) for loan in loans]


async def _worked_out(
    held: Sequence[tuple[Loan, Judgement]], day: date, terms_of: Callable[[str], Terms]
) -> _Part:
    part = _Part(day)
    for place, (loan, judgement) in enumerate(held, 1):
        part.take(loan, terms_of(loan.programme), judgement)
        if place % TURN_LOANS == 0:
            await asyncio.sleep(0)
    return part


async def _sent(part: _Part, session: AsyncSession, county_code: str) -> None:
    await part.write(session, county_code)
    await database.send(session)


async def _together(writing: Awaitable[None], working: Awaitable[_Part]) -> _Part:
    """Both at once; when one of them breaks, the other is over too before that is told."""
    written, worked = await asyncio.gather(writing, working, return_exceptions=True)
    if isinstance(written, BaseException):
        raise written
    if isinstance(worked, BaseException):
        raise worked
    return worked


async def trip_breakers(
    session: AsyncSession, county_code: str, day: date, catalogue: Catalogue
) -> None:
    """Stop lending where a programme in force says so (LS17.mon.3, LS17.mon.4, AH.mon.1)."""
    held = await store.tripped_breakers(session, county_code)
    closed: dict[Scope, Breaker] = {(str(b.scope), b.scope_id): b for b in held}
    tripped: dict[Scope, Breaker] = {}
    decided_by: dict[Scope, str] = {}
    villages: list[str] | None = None
    any_bad = await store.any_non_performing(session, county_code)
    for adoption in catalogue.adoptions(county_code, day):
        terms = catalogue.terms(county_code, adoption.programme)
        if not suspending_rules.clauses_of(terms):
            continue
        found = await suspending.trip(session, county_code, day, closed | tripped, terms)
        programme_id = adoption.programme.split("@")[0]
        balances = await store.area_balances(session, county_code, programme_id) if any_bad else []
        if any(balance.non_performing_fen for balance in balances):
            if villages is None:
                villages = await store.villages(session, county_code)
            stopped = {*closed, *tripped, *((str(b.scope), b.scope_id) for b in found)}
            areas = {scope_id for scope, scope_id in stopped if scope in AREAS}
            found += watch.trip(balances, areas, villages, terms=terms, county_code=county_code)
        for breaker in found:
            key = (str(breaker.scope), breaker.scope_id)
            tripped[key], decided_by[key] = breaker, adoption.programme
    if tripped:
        breakers = await store.trip_breakers(session, list(tripped.values()))
        await outbox.record(session, events_out.breakers_tripped(breakers, day))
        await breaker_store.add(session, county_code, _trips(breakers, decided_by, day))
        await _collect_in(session, county_code, breakers, day)


def _trips(
    breakers: Sequence[Breaker], decided_by: Mapping[Scope, str], day: date
) -> list[BreakerRecord]:
    return [
        BreakerRecord(
            breaker.scope,
            breaker.scope_id,
            "tripped",
            day,
            breaker.epoch,
            breaker.numerator,
            breaker.denominator,
            False,
            decided_by[str(breaker.scope), breaker.scope_id],
        )
        for breaker in breakers
    ]


async def _collect_in(
    session: AsyncSession, county_code: str, breakers: Sequence[Breaker], day: date
) -> None:
    """Recovery starts where a breaker says so (LS18.mon.1)."""
    scopes = [(str(b.scope), b.scope_id) for b in breakers if "open_collection" in b.effects]
    if not scopes:
        return
    wanted = await suspending_store.without_case(session, county_code, scopes)
    loans = await store.lock_loans(session, county_code, wanted)
    events = await collecting.open_on(session, loans, list(loans), cause="breaker", day=day)
    await store.save_loans(session, list(loans.values()))
    await outbox.record(session, events)
