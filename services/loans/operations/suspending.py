"""Loans: suspensions at day closes: what fell due and was collected, and which scopes stop."""

from collections.abc import Mapping
from datetime import date, timedelta
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.loans.model import Breaker
from services.loans.rules import suspending
from services.loans.rules.scopes import Scope
from services.loans.rules.suspending import Seen
from services.loans.store import agreements
from services.loans.store import suspending as store
from services.programmes.loader import Catalogue
from services.programmes.schema.pack import split_ref
from services.programmes.terms import Terms

LOANS_MAX = 2_000


def ends_month(day: date) -> bool:
    """Whether a day is the last of its month."""
    return (day + timedelta(days=1)).day == 1


async def record_due(
    session: AsyncSession, county_code: str, day: date, catalogue: Catalogue
) -> None:
    """At a month's end, keep what fell due in it where a programme watches collections (S19)."""
    if not ends_month(day):
        return
    for adoption in catalogue.adoptions(county_code, day):
        terms = catalogue.terms(county_code, adoption.programme)
        if suspending.collection_clauses(terms):
            await _record(session, county_code, day, split_ref(adoption.programme)[0])


async def _record(session: AsyncSession, county_code: str, day: date, programme_id: str) -> None:
    month = day.replace(day=1)
    whole = await store.due_whole(session, county_code, programme_id, month, day)
    await store.add_months(session, county_code, month, whole)
    after: UUID | None = None
    while True:
        loans = await store.in_parts(
            session, county_code, programme_id, month, day, after=after, limit=LOANS_MAX
        )
        if not loans:
            return
        ids = [loan.loan_id for loan in loans]
        plans = await agreements.plans_of(session, county_code, ids)
        written = await store.written_off(session, county_code, ids)
        found = [
            suspending.due_in_parts(
                loan,
                plans.get(loan.loan_id),
                written_off_fen=written.get(loan.loan_id, 0),
                programme_id=programme_id,
                month=month,
            )
            for loan in loans
        ]
        await store.add_months(session, county_code, month, [each for each in found if each])
        after = ids[-1]


async def seen(session: AsyncSession, county_code: str, day: date, terms: Terms) -> Seen:
    """What a programme's scopes beyond the village come to; nothing where it watches none."""
    programme_id = split_ref(terms.ref)[0]
    balances = {
        scope: await store.balances(session, county_code, programme_id, scope)
        for scope in suspending.ratio_scopes(terms)
    }
    months = {}
    if ends_month(day):
        for clause in suspending.collection_clauses(terms):
            last = max(
                each.consecutive_months
                for each in suspending.collection_clauses(terms)
                if each.scope == clause.scope
            )
            months[str(clause.scope)] = await store.months(
                session, county_code, programme_id, clause.scope, last=last
            )
    return Seen(balances, months)


async def trip(
    session: AsyncSession,
    county_code: str,
    day: date,
    closed: Mapping[Scope, Breaker],
    terms: Terms,
) -> list[Breaker]:
    """The breakers of a programme that trip now, beside its villages' and townships'."""
    now = await seen(session, county_code, day, terms)
    return suspending.trip(now, closed, terms=terms, county_code=county_code, day=day)
