"""Claims: index covers: what is insured, which prices count, what they claim; lines' results."""

from collections.abc import Sequence
from datetime import date, timedelta
from uuid import NAMESPACE_URL, UUID, uuid5

from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims import events_out
from services.claims.model import (
    Actor,
    Claim,
    Decision,
    IndexPeriod,
    IndexPolicy,
    IndexUnit,
    IndexValue,
    LineResult,
    Step,
    StepKind,
)
from services.claims.operations import claims_decisions
from services.claims.operations.shared import actor_of
from services.claims.rules import claims as claim_rules
from services.claims.rules import indices as rules
from services.claims.store import claims as claims_store
from services.claims.store import claims_history
from services.claims.store import indices as store
from services.claims.store.indices import LineKey
from services.kernel import business_day, ids, outbox
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.errors import Denied, LiandongError, NotFound, Refused
from services.kernel.values import replace
from services.programmes.loader import Catalogue
from services.programmes.schema.deployment import InstitutionRole

UNITS_MAX = 500
"""Claims that one transaction of a settlement makes."""
FIRST = UUID(int=0)
DAY_CLOSE = Actor("", "")


async def set_quantities(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    *,
    programme_id: str,
    cover_id: str,
    items: Sequence[tuple[UUID, int]],
) -> list[IndexUnit | LiandongError]:
    """Say what households insure under the index policy in force, each on its own."""
    actor = actor_of(caller)
    today = await business_day.today(session, county_code)
    policy = await _policy_in_force(
        session, caller, county_code, programme_id=programme_id, cover_id=cover_id, on=today
    )
    cover = catalogue.terms(county_code, policy.programme).cover(cover_id)
    clause = rules.clause_of(cover)
    places = await store.places_of(
        session, county_code, policy.policy_id, [household_id for household_id, _ in items]
    )
    outcomes: list[IndexUnit | LiandongError] = []
    for household_id, quantity in items:
        if household_id not in places:
            outcomes.append(NotFound("HOUSEHOLD_NOT_FOUND", f"no household {household_id}"))
            continue
        area_code, insured_id = places[household_id]
        outcomes.append(
            IndexUnit(
                county_code=county_code,
                unit_id=ids.new_id(),
                policy_id=policy.policy_id,
                household_id=household_id,
                area_code=area_code,
                insured_id=insured_id,
                loan_id=None,
                lender_id="",
                quantity_centi_jin=quantity,
                sum_insured_fen=rules.sum_insured_fen(clause, quantity),
            )
        )
    units = [unit for unit in outcomes if isinstance(unit, IndexUnit)]
    kept = await store.add_units(session, units, actor, today) if units else set()
    return [
        _unit_twice(o) if isinstance(o, IndexUnit) and o.unit_id not in kept else o
        for o in outcomes
    ]


def _unit_twice(unit: IndexUnit) -> Refused:
    return Refused(
        "INDEX_UNIT_EXISTS",
        f"household {unit.household_id} has a quantity under this policy",
        message_zh="该户已登记投保数量",
    )


async def _policy_in_force(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    *,
    programme_id: str,
    cover_id: str,
    on: date,
) -> IndexPolicy:
    found = await store.policies_of(
        session, county_code, programme_id=programme_id, cover_id=cover_id
    )
    for policy in found:
        own = caller.role != InstitutionRole.INSURER or policy.insurer_id == caller.institution_id
        if own and policy.until_date >= on:
            return policy
    raise Refused(
        "NO_INDEX_POLICY",
        f"no policy of {cover_id} is in force or to come",
        message_zh="该险种没有有效保单",
    )


async def record_value(
    session: AsyncSession, catalogue: Catalogue, caller: Caller, asked: IndexValue
) -> IndexValue:
    """Keep a price; one that does not count is kept with its reason."""
    county_code = asked.county_code
    today = await business_day.today(session, county_code)
    await store.hold_prices(session, county_code)
    ref = catalogue.in_force(county_code, asked.programme_id, today)
    clause = rules.clause_of(catalogue.terms(county_code, ref).cover(asked.cover_id))
    policies = await store.policies_of(
        session, county_code, programme_id=asked.programme_id, cover_id=asked.cover_id
    )
    settled = await store.settled_periods(
        session, county_code, [policy.policy_id for policy in policies]
    )
    value = replace(asked, value_id=ids.new_id(), source=actor_of(caller), recorded_on=today)
    reason = rules.refusal_of(
        value,
        clause,
        catalogue.parties(county_code, ref),
        settled=rules.is_settled(policies, settled, value.priced_on),
        on=today,
    )
    value = replace(value, reason_code=reason)
    if not await store.add_value(session, value):
        value = replace(value, reason_code="PRICE_EXISTS")
        await store.add_value(session, value)
    return value


# --- settlement -----------------------------------------------------------------------------------


async def settle_periods(db: Database, catalogue: Catalogue, county_code: str, day: date) -> None:
    """
    Fix the periods that have ended and have prices, then make their claims, part by part.

    Each part commits by itself; a run that was cut off goes on where it stopped, and no unit has
    two claims of a period.
    """

    async def fix(session: AsyncSession) -> None:
        await _fix_periods(session, catalogue, county_code, day)

    await db.work(fix)
    after = FIRST
    while True:

        async def step(session: AsyncSession, after: UUID = after) -> UUID | None:
            return await _claim_part(session, catalogue, county_code, day, after)

        last = await db.work(step)
        if last is None:
            return
        after = last


async def _fix_periods(
    session: AsyncSession, catalogue: Catalogue, county_code: str, day: date
) -> None:
    policies = [
        policy
        for policy in await store.policies_of(session, county_code)
        if catalogue.terms(county_code, policy.programme).cover(policy.cover_id).price_index
    ]
    if not policies:
        return
    await store.hold_prices(session, county_code)
    settled = await store.settled_periods(session, county_code, [p.policy_id for p in policies])
    for policy in policies:
        cover = catalogue.terms(county_code, policy.programme).cover(policy.cover_id)
        clause = rules.clause_of(cover)
        for period in rules.periods_over(policy, clause, day):
            if period in settled.get(policy.policy_id, ()):
                continue
            values = await store.prices_within(session, policy, period)
            if values:
                await store.add_period(
                    session, rules.settle(policy, clause, period, values, on=day)
                )


async def _claim_part(
    session: AsyncSession,
    catalogue: Catalogue,
    county_code: str,
    day: date,
    after: UUID,
    *,
    units_max: int = UNITS_MAX,
) -> UUID | None:
    """Claims of the next units; the last of them, FIRST for the next period, None at the end."""
    period = await store.lock_open_period(session, county_code)
    if period is None:
        return None
    units = await store.units_without_claim(session, period, after, units_max)
    policy = next(
        policy
        for policy in await store.policies_of(session, county_code, cover_id=period.cover_id)
        if policy.policy_id == period.policy_id
    )
    claims, payable_fen = await _make_claims(session, catalogue, policy, period, units, day=day)
    done = len(units) < units_max
    await store.count_claims(session, period, claims, payable_fen, done=done)
    return FIRST if done else units[-1].unit_id


async def _make_claims(
    session: AsyncSession,
    catalogue: Catalogue,
    policy: IndexPolicy,
    period: IndexPeriod,
    units: Sequence[IndexUnit],
    *,
    day: date,
) -> tuple[int, int]:
    """Claims of units, reported by the price and decided by the rule; how many, and how much."""
    terms = catalogue.terms(policy.county_code, policy.programme)
    clause = rules.clause_of(terms.cover(policy.cover_id))
    made: list[tuple[Claim, str]] = []
    for unit in units:
        found = rules.claim_of(unit, policy, period, clause, claim_id=ids.new_id(), on=day)
        if found is not None:
            claim, working = found
            due_on = claim_rules.expected_due_on(claim, terms)
            made.append((replace(claim, due_on=due_on), working))
    if not made:
        return 0, 0
    kept = await claims_store.add_claims(session, [claim for claim, _ in made])
    first = [(claim, working) for claim, working in made if claim.claim_id in kept]
    await claims_history.add_steps(
        session,
        [
            Step(
                claim, StepKind.REPORTED, claim.reported_by, day, note=claim.cause, working=working
            )
            for claim, working in first
        ],
    )
    await outbox.record(session, [events_out.claim_reported(claim) for claim, _ in first])
    outcomes = await claims_decisions.adjudicate_as(
        session,
        catalogue,
        rules.decider(policy.insurer_id),
        policy.county_code,
        [Decision(claim.claim_id, True, "", "PRICE_BELOW_TRIGGER") for claim, _ in first],
    )
    decided = [claim for claim in outcomes if isinstance(claim, Claim)]
    return len(first), sum(claim.payable_fen for claim in decided)


# --- lines ----------------------------------------------------------------------------------------


def line_id_of(county_code: str, line: LineKey, until_date: date) -> UUID:
    """A line over a period has the same id wherever it is worked out."""
    return uuid5(NAMESPACE_URL, f"liandong:{county_code}/{'/'.join(line)}/{until_date}")


async def state_result(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    *,
    insurer_id: str,
    programme_id: str,
    cover_id: str,
    until_date: date,
) -> LineResult:
    """State one line's result up to a day."""
    actor = actor_of(caller)
    if caller.role == InstitutionRole.INSURER and caller.institution_id != insurer_id:
        raise Denied("LINE_NOT_YOURS", f"{insurer_id} keeps its own lines")
    today = await business_day.today(session, county_code)
    if until_date >= today:
        raise Refused("PERIOD_NOT_OVER", f"{until_date} is not over on {today}")
    policies = [
        policy
        for policy in await store.policies_of(
            session, county_code, programme_id=programme_id, cover_id=cover_id
        )
        if policy.insurer_id == insurer_id
    ]
    if not policies:
        raise NotFound("LINE_UNKNOWN", f"{insurer_id} has no policy of {cover_id}")
    results = await _state(session, county_code, policies, until_date, actor=actor, on=today)
    if not results:
        raise Refused(
            "PERIOD_EMPTY", f"the line is stated up to {until_date} already", message_zh="该期已结"
        )
    return results[0]


async def close_day(
    session: AsyncSession, catalogue: Catalogue, county_code: str, day: date
) -> None:
    """The last day of a year states every line."""
    if (day.month, day.day) == (12, 31):
        policies = await store.policies_of(session, county_code)
        await _state(session, county_code, policies, day, actor=DAY_CLOSE, on=day)


async def _state(
    session: AsyncSession,
    county_code: str,
    policies: Sequence[IndexPolicy],
    until_date: date,
    *,
    actor: Actor,
    on: date,
) -> list[LineResult]:
    """Results of the lines of policies since each was last stated; those without a day left out."""
    await store.hold_lines(session, county_code)
    lines: dict[LineKey, IndexPolicy] = {}
    for policy in policies:
        lines.setdefault((policy.insurer_id, policy.programme_id, policy.cover_id), policy)
    last = await store.last_results(session, county_code)
    periods: list[tuple[LineKey, IndexPolicy, int, date]] = []
    for line, first in lines.items():
        before = last.get(line)
        begin = before.until_date + timedelta(days=1) if before else first.from_date
        if begin <= until_date:
            periods.append((line, first, before.number + 1 if before else 1, begin))
    amounts = await store.line_amounts(
        session, county_code, [(*line, begin, until_date) for line, _, _, begin in periods]
    )
    results = [
        LineResult(
            county_code=county_code,
            line_id=line_id_of(county_code, line, until_date),
            number=number,
            insurer_id=policy.insurer_id,
            programme_id=policy.programme_id,
            programme=policy.programme,
            cover_id=policy.cover_id,
            area_code=county_code,
            from_date=begin,
            until_date=until_date,
            premium_fen=premium_fen,
            payouts_fen=payouts_fen,
            payouts_count=count,
        )
        for (line, policy, number, begin), (premium_fen, payouts_fen, count) in zip(
            periods, amounts, strict=True
        )
    ]
    if results:
        await store.add_results(session, results, actor, on)
        await outbox.record(session, [events_out.line_result(r, on=on) for r in results])
    return results
