"""Loans: breakers at month ends, and the county's decision to let lending go on."""

from collections.abc import Mapping
from datetime import date

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import business_day, outbox
from services.kernel.errors import NotFound
from services.kernel.values import replace
from services.loans import events_out, store
from services.loans.model import Breaker, BreakerRecord
from services.loans.operations import suspending
from services.loans.rules import reopening
from services.loans.rules.lending import Actor
from services.loans.rules.reopening import Under
from services.loans.store import breakers as breaker_store
from services.programmes.loader import Catalogue


async def record_month_ends(
    session: AsyncSession, county_code: str, day: date, catalogue: Catalogue
) -> None:
    """At the end of a month, note of every tripped scope whether it is below its threshold."""
    if not suspending.ends_month(day):
        return
    tripped = await store.tripped_breakers(session, county_code)
    if not tripped:
        return
    villages = await store.villages(session, county_code)
    in_force = await _programmes(session, county_code, day, catalogue)
    records = [
        reopening.month_end(breaker, in_force, tripped, villages, day) for breaker in tripped
    ]
    await breaker_store.add(session, county_code, [each for each in records if each])


async def _programmes(
    session: AsyncSession, county_code: str, day: date, catalogue: Catalogue
) -> Mapping[str, Under]:
    """By pack version in force: its terms, and what its scopes come to."""
    found: dict[str, Under] = {}
    for adoption in catalogue.adoptions(county_code, day):
        balances = await store.area_balances(session, county_code, adoption.programme.split("@")[0])
        terms = catalogue.terms(county_code, adoption.programme)
        seen = await suspending.seen(session, county_code, day, terms)
        villages = {each.area_code: each for each in balances}
        found[adoption.programme] = Under(terms, villages, seen)
    return found


async def reset(
    session: AsyncSession,
    county_code: str,
    scope: str,
    scope_id: str,
    *,
    reason: str,
    actor: Actor,
    catalogue: Catalogue,
) -> Breaker:
    """Let lending go on in a scope, when its month ends allow it and the county decides so."""
    today = await business_day.today(session, county_code)
    held = await breaker_store.lock(session, county_code, scope, scope_id)
    if held is None:
        raise NotFound("BREAKER_NOT_FOUND", f"no breaker {scope} {scope_id}", message_zh="无此熔断")
    reopening.require_tripped(held)
    records = await breaker_store.records_of(session, county_code, scope, scope_id, held.epoch)
    refs = [each.programme for each in catalogue.adoptions(county_code, today)]
    terms = [catalogue.terms(county_code, ref) for ref in refs]
    ref, month_ends = reopening.may_reset(held, records, terms, actor)
    freed = replace(held, tripped=False, effects=(), version=held.version + 1)
    record = BreakerRecord(
        held.scope,
        held.scope_id,
        "reset",
        today,
        held.epoch,
        held.numerator,
        held.denominator,
        True,
        ref,
        actor.person_id,
        reason,
    )
    await breaker_store.reset(session, county_code, freed)
    await breaker_store.add(session, county_code, [record])
    await outbox.record(session, [events_out.breaker_reset(freed, record, month_ends)])
    return freed
