"""Loans: publications: made as data, published by a second person, withdrawn, read."""

from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import business_day, ids, outbox
from services.kernel.errors import NotFound
from services.kernel.money import Fen
from services.loans import events_out
from services.loans.rules import publications as rules
from services.loans.rules.lending import Actor
from services.loans.rules.publications import Line, Publication, Subject
from services.loans.store import publications as publication_store
from services.programmes.loader import Catalogue


async def make(
    session: AsyncSession,
    county_code: str,
    subject: Subject,
    *,
    days: int,
    actor: Actor,
    catalogue: Catalogue,
) -> Publication:
    """Make a publication as the programme in force asks for it."""
    today = await business_day.today(session, county_code)
    rules.require_period(subject, today)
    ref = catalogue.in_force(county_code, subject.programme_id, today)
    found = rules.asked(catalogue.terms(county_code, ref), subject.kind)
    lines = await publication_store.lines_for(session, county_code, subject, rules.LINES_MAX + 1)
    rules.require_few(len(lines))
    made = Publication(
        publication_id=ids.new_id(),
        kind=subject.kind,
        programme_id=subject.programme_id,
        rule_version=ref,
        area_code=subject.area_code,
        first=subject.first,
        last=subject.last,
        days=rules.days_of(found, days),
        places=found.places,
        made_on=today,
        made_by=actor.person_id,
        lines=len(lines),
        amount_fen=Fen(sum(line.amount_fen for line in lines)),
    )
    await publication_store.add(session, county_code, made, lines)
    return made


async def publish(
    session: AsyncSession, county_code: str, publication_id: UUID, *, actor: Actor
) -> Publication:
    """Make it public from today on."""
    today = await business_day.today(session, county_code)
    held = await publication_store.find(session, county_code, publication_id, hold=True)
    now = rules.publish(held, publication_id, person=actor.person_id, on=today)
    await publication_store.save(session, county_code, now)
    await outbox.record(session, [events_out.publication_published(now, county_code, today)])
    return now


async def withdraw(
    session: AsyncSession, county_code: str, publication_id: UUID, *, reason: str, actor: Actor
) -> Publication:
    """Take it back."""
    today = await business_day.today(session, county_code)
    held = await publication_store.find(session, county_code, publication_id, hold=True)
    now = rules.withdraw(held, publication_id, person=actor.person_id, reason=reason, on=today)
    await publication_store.save(session, county_code, now)
    await outbox.record(session, [events_out.publication_withdrawn(now, county_code, today)])
    return now


async def get(
    session: AsyncSession,
    county_code: str,
    publication_id: UUID,
    *,
    insider: bool,
    start: int,
    limit: int,
) -> tuple[Publication, list[Line]]:
    """One publication and its lines; what is not public is there for the county only."""
    today = await business_day.today(session, county_code)
    found = await publication_store.find(session, county_code, publication_id)
    if found is None or not (insider or rules.is_public(found, today)):
        raise NotFound(
            "PUBLICATION_NOT_FOUND", f"no publication {publication_id}", message_zh="无此公示"
        )
    lines = await publication_store.lines_of(
        session, county_code, publication_id, start=start, limit=limit
    )
    return found, lines
