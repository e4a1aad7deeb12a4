"""Loans: what lifts a breaker: month ends below its threshold, and a decision. Pure (S17)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from services.kernel.errors import Denied, Refused
from services.loans.model import AreaBalance, Breaker, BreakerRecord
from services.loans.rules import suspending
from services.loans.rules.lending import Actor, township_of
from services.loans.rules.suspending import Seen
from services.programmes import breakers
from services.programmes.schema.monitoring import Reopening
from services.programmes.schema.values import known
from services.programmes.terms import Terms


@dataclass(frozen=True, slots=True)
class Under:
    """A programme in force at a month's end, and what its villages and other scopes come to."""

    terms: Terms
    villages: Mapping[str, AreaBalance]
    seen: Seen


def month_end(
    breaker: Breaker,
    in_force: Mapping[str, Under],
    tripped: Sequence[Breaker],
    villages: Sequence[str],
    day: date,
) -> BreakerRecord | None:
    """How a tripped scope stands at a month's end; None where no programme in force judges it."""
    worst: BreakerRecord | None = None
    for ref, under in in_force.items():
        found = _worst(
            _of_area(breaker, under, tripped, villages),
            suspending.month_end(breaker, under.seen, terms=under.terms, day=day),
        )
        if found is None:
            continue
        above, numerator, denominator = found
        record = BreakerRecord(
            breaker.scope,
            breaker.scope_id,
            "month_end",
            day,
            breaker.epoch,
            numerator,
            denominator,
            not above,
            ref,
        )
        # It is below when it is below under every programme in force.
        if worst is None or not record.below:
            worst = record
    return worst


def _worst(*found: tuple[bool, int, int] | None) -> tuple[bool, int, int] | None:
    return max((each for each in found if each is not None), default=None)


def _of_area(
    breaker: Breaker, under: Under, tripped: Sequence[Breaker], villages: Sequence[str]
) -> tuple[bool, int, int] | None:
    clauses = suspending.clauses_of(under.terms)
    if breaker.scope == "village":
        ratio = breakers.ratio_breaker(clauses, "village")
        if ratio is None:
            return None
        at = under.villages.get(breaker.scope_id)
        bad, owed = (at.non_performing_fen, at.outstanding_fen) if at else (0, 0)
        return not breakers.is_below(bad, owed, threshold_ppm=ratio.more_than_ppm), bad, owed
    rule = breakers.villages_breaker(clauses)
    if rule is None or breaker.scope != "township":
        return None
    stopped = sum(
        each.scope == "village" and township_of(each.scope_id) == breaker.scope_id
        for each in tripped
    )
    whole = sum(township_of(village) == breaker.scope_id for village in villages)
    above = breakers.township(stopped, whole, at_least_pct=rule.at_least_pct).tripped
    return above, stopped, whole


def require_tripped(breaker: Breaker) -> None:
    """Refuse a scope in which lending goes on."""
    if not breaker.tripped:
        raise Refused(
            "BREAKER_NOT_TRIPPED",
            f"{breaker.scope} {breaker.scope_id} is not tripped",
            message_zh="该区域未熔断",
        )


def may_reset(
    breaker: Breaker,
    records: Sequence[BreakerRecord],
    in_force: Sequence[Terms],
    actor: Actor,
) -> tuple[str, int]:
    """The version that allows it and the month ends below in a row; refused while too few."""
    decided_by = {each.rule_version.split("@")[0] for each in records if each.rule_version}
    clauses: list[tuple[str, Reopening]] = [
        (terms.ref, known(terms.pack.monitoring.reopening))
        for terms in in_force
        if terms.pack.monitoring is not None
        and terms.pack.monitoring.reopening is not None
        and (not decided_by or terms.ref.split("@")[0] in decided_by)
    ]
    if not clauses:
        raise Refused(
            "RESET_NOT_PROVIDED",
            "no programme in force says how lending goes on",
            message_zh="方案未规定熔断恢复条件",
            facts={"key": "monitoring.reopening"},
        )
    ref, clause = max(clauses, key=lambda each: each[1].month_ends_below)
    if actor.role != clause.decided_by.value:
        raise Denied(
            "NOT_THE_DECIDING_ORGAN",
            f"{clause.decided_by.value} decides it",
            message_zh="本机构无权决定恢复",
        )
    in_a_row = 0
    for record in records:
        if record.what == "month_end":
            in_a_row = in_a_row + 1 if record.below else 0
    if in_a_row < clause.month_ends_below:
        raise Refused(
            "MONTH_ENDS_NOT_BELOW",
            f"{in_a_row} month ends below the threshold, {clause.month_ends_below} are needed",
            message_zh="月末不良率未连续低于熔断线",
            facts={"month_ends_below": str(in_a_row), "needed": str(clause.month_ends_below)},
        )
    return ref, in_a_row
