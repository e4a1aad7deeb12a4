"""Claims: which price counts, when a settlement period is over, what it makes every unit claim."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from uuid import UUID

from services.claims.model import (
    Actor,
    Claim,
    IndexPeriod,
    IndexPolicy,
    IndexUnit,
    IndexValue,
    ReporterKind,
)
from services.kernel.errors import Refused
from services.kernel.money import Fen
from services.programmes import indices
from services.programmes.calendars import add_months
from services.programmes.schema.index import PriceIndex
from services.programmes.schema.insurance import Cover
from services.programmes.schema.values import known

CENTI = 100
RULE_PERSON = "index-rule"
"""Who decides an index claim: the rule, in the name of the policy's insurer."""


def clause_of(cover: Cover) -> PriceIndex:
    """A cover's index clause, or a refusal."""
    if cover.price_index is None:
        raise Refused(
            "NOT_AN_INDEX_COVER", f"{cover.id} has no price index", message_zh="该险种不是指数保险"
        )
    return known(cover.price_index)


def sum_insured_fen(clause: PriceIndex, quantity_centi_jin: int) -> Fen:
    """What a unit would be paid at a price of nothing: no loss is larger."""
    return Fen(known(clause.trigger_fen_per_jin) * quantity_centi_jin // CENTI)


def refusal_of(
    value: IndexValue,
    clause: PriceIndex,
    parties: Mapping[str, Sequence[str]],
    *,
    settled: bool,
    on: date,
) -> str:
    """Why a price does not count; empty when it does."""
    source = known(clause.price_source)
    if value.source.institution_id not in (source, *parties.get(source, ())):
        return "PRICE_SOURCE_UNKNOWN"
    if value.priced_on > on:
        return "PRICE_DATE_AHEAD"
    if settled:
        return "PERIOD_SETTLED"
    return ""


def periods_over(policy: IndexPolicy, clause: PriceIndex, day: date) -> list[tuple[date, date]]:
    """The settlement periods of a policy that have ended by a day; the term cuts the last."""
    months = known(clause.period_months)
    found: list[tuple[date, date]] = []
    number = 0
    while True:
        begin = add_months(policy.from_date, number * months)
        end = min(
            add_months(policy.from_date, (number + 1) * months) - timedelta(days=1),
            policy.until_date,
        )
        if begin > policy.until_date or end > day:
            return found
        found.append((begin, end))
        number += 1


def is_settled(
    policies: Sequence[IndexPolicy],
    settled: Mapping[UUID, Sequence[tuple[date, date]]],
    day: date,
) -> bool:
    """Whether every policy in force on a day has a fixed period that holds it."""
    in_force = [policy for policy in policies if policy.from_date <= day <= policy.until_date]
    return bool(in_force) and all(
        any(begin <= day <= end for begin, end in settled.get(policy.policy_id, ()))
        for policy in in_force
    )


def settle(
    policy: IndexPolicy,
    clause: PriceIndex,
    period: tuple[date, date],
    values: Sequence[IndexValue],
    *,
    on: date,
) -> IndexPeriod:
    """Work a period's gap out; its prices are fixed from then on."""
    prices = tuple(value.price_fen_per_jin for value in values)
    worked = indices.index_payout_by(clause, prices_fen_per_jin=prices, quantity_centi_jin=CENTI)
    trigger = known(clause.trigger_fen_per_jin)
    triggered = sum(prices) < trigger * len(prices)
    return IndexPeriod(
        county_code=policy.county_code,
        policy_id=policy.policy_id,
        cover_id=policy.cover_id,
        from_date=period[0],
        until_date=period[1],
        prices_fen=prices,
        reporter=values[-1].source,
        gap_fen_per_jin=worked.gap_fen_per_jin,
        triggered=triggered,
        working=worked.working,
        settled_on=on,
        done=not triggered,
    )


def claim_of(
    unit: IndexUnit,
    policy: IndexPolicy,
    period: IndexPeriod,
    clause: PriceIndex,
    *,
    claim_id: UUID,
    on: date,
) -> tuple[Claim, str] | None:
    """The claim that a period makes for a unit, with its working; None when that is nothing."""
    worked = indices.index_payout_by(
        clause,
        prices_fen_per_jin=period.prices_fen,
        quantity_centi_jin=unit.quantity_centi_jin,
    )
    if worked.payout_fen == 0:
        return None
    claim = Claim(
        county_code=unit.county_code,
        claim_id=claim_id,
        version=1,
        household_id=unit.household_id,
        area_code=unit.area_code,
        cover_id=policy.cover_id,
        policy_id=policy.policy_id,
        insured_id=unit.insured_id,
        loan_id=unit.loan_id,
        insurer_id=policy.insurer_id,
        lender_id=unit.lender_id,
        programme=policy.programme,
        loss_date=period.until_date,
        cause="price_below_trigger",
        assessed_fen=worked.payout_fen,
        documents=(),
        reported_by=period.reporter,
        reported_on=on,
        claimed_fen=worked.payout_fen,
        reporter_kind=ReporterKind.INSURER,
        accepted_on=on,
        unit_id=unit.unit_id,
    )
    return claim, worked.working


def decider(insurer_id: str) -> Actor:
    """In whose name the rule decides."""
    return Actor(insurer_id, RULE_PERSON)
