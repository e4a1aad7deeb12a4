"""Collection: notices before maturity, what follows on overdue and bad, and by which class."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import cast

from services.kernel.errors import Refused
from services.programmes.calendars import notice_day
from services.programmes.delinquency import is_non_performing
from services.programmes.schema.collection import (
    Channel,
    CollectionDiscount,
    Disposition,
    DueClass,
    MaturityNotice,
)
from services.programmes.schema.loans import LoanRules, Npl
from services.programmes.schema.monitoring import FiveTier
from services.programmes.schema.values import Organ, known


class Standing(StrEnum):
    """How a loan stands on a day; overdue is not yet non-performing."""

    CURRENT = "current"
    OVERDUE = "overdue"
    NON_PERFORMING = "non_performing"


@dataclass(frozen=True, slots=True)
class Followed:
    """How a loan stands and what follows, in the pack's order."""

    standing: Standing
    actions: tuple[str, ...]
    working: str


@dataclass(frozen=True, slots=True)
class NoticePlan:
    """The days on which a maturity is told, to whom, and how the borrower hears of it."""

    days: tuple[date, ...]
    to: tuple[Organ, ...]
    channels: tuple[Channel, ...]
    working: str


@dataclass(frozen=True, slots=True)
class Stage:
    """The stage of a campaign on a day; none before, between and after its stages."""

    stage: str | None
    discount_pct: int
    working: str


def follow(rules: LoanRules, *, days: int, tier: FiveTier) -> Followed:
    """What follows on a loan's standing; on non-performing also what follows on overdue."""
    if is_non_performing(cast("Npl", known(rules.npl)), days=days, tier=tier):
        standing = Standing.NON_PERFORMING
    else:
        standing = Standing.OVERDUE if days > 0 else Standing.CURRENT
    actions: list[str] = []
    if standing is not Standing.CURRENT:
        actions += [action.value for action in rules.overdue_actions]
    if standing is Standing.NON_PERFORMING:
        actions += [action.value for action in rules.npl_actions]
    working = f"{days} days overdue, {tier.value}: {standing.value}; {', '.join(actions) or 'none'}"
    return Followed(standing, tuple(actions), working)


def notice_plan(clause: MaturityNotice, matures_on: date) -> NoticePlan:
    """The lead day, and the day of maturity where the pack asks for it (S36)."""
    first = notice_day(matures_on, known(clause.lead_months))
    days = (first, matures_on) if clause.at_maturity else (first,)
    working = f"{matures_on} − {clause.lead_months} months = {first}"
    return NoticePlan(days, clause.to, clause.channels, working)


def discount_stage(clause: CollectionDiscount, on: date, *, used: bool = False) -> Stage:
    """The stage whose days include this day, both ends included; once a debt (S35)."""
    if used:
        return Stage(None, 0, "this debt has had its discount")
    for stage in clause.stages:
        start, end = known(stage.valid_from), known(stage.valid_to)
        if start <= on <= end:
            working = f"{on} in {stage.id}, {start} to {end}: {stage.discount_pct} %"
            return Stage(stage.id, stage.discount_pct, working)
    return Stage(None, 0, f"no stage holds on {on}")


def disposition(dispositions: Sequence[Disposition], due_class: DueClass) -> Disposition:
    """The one disposition of a class, or a refusal where the pack has none."""
    for each in dispositions:
        if each.id is due_class:
            return each
    raise Refused(
        "PROGRAMME_CLAUSE_MISSING",
        f"no disposition for {due_class.value}",
        message_zh="方案未规定该类贷款的处置方式",
        facts={"key": "loans.dispositions"},
    )


def escalate(chain: Sequence[Organ], at: Organ | None) -> Organ | None:
    """Who hears next of an unsolved case; None after the last."""
    if at is None:
        return chain[0] if chain else None
    place = chain.index(at)
    return chain[place + 1] if place + 1 < len(chain) else None
