"""Loans: suspensions beyond the village: by the bad ratio, by what was collected. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from services.kernel.money import Fen
from services.loans.model import (
    Breaker,
    BreakerScope,
    DueMonth,
    Loan,
    ScopeBalance,
    ScopeMonth,
)
from services.loans.rules import position, schedule
from services.loans.rules.schedule import Plan
from services.loans.rules.scopes import Scope
from services.programmes import breakers
from services.programmes.breakers import CollectionMonth
from services.programmes.schema.monitoring import (
    Breaker as Clause,
)
from services.programmes.schema.monitoring import (
    CollectionBreaker,
    RatioBreaker,
)
from services.programmes.terms import Terms

VILLAGE = "village"
ALWAYS_WATCHED = (BreakerScope.VILLAGE.value, BreakerScope.TOWNSHIP.value)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a day close sees of one programme's scopes, by kind of scope."""

    balances: Mapping[str, Sequence[ScopeBalance]] = field(default_factory=dict)
    months: Mapping[str, Mapping[str, Sequence[ScopeMonth]]] = field(default_factory=dict)


def clauses_of(terms: Terms) -> tuple[Clause, ...]:
    """A programme's breakers; none where it watches nothing."""
    return () if terms.pack.monitoring is None else terms.pack.monitoring.breakers


def ratio_scopes(terms: Terms) -> list[str]:
    """Kinds of scope beyond the village that a programme watches by their bad ratio."""
    found = [str(b.scope) for b in clauses_of(terms) if isinstance(b, RatioBreaker)]
    return [scope for scope in dict.fromkeys(found) if scope != VILLAGE]


def collection_clauses(terms: Terms) -> list[CollectionBreaker]:
    """A programme's breakers on what was collected."""
    return [each for each in clauses_of(terms) if isinstance(each, CollectionBreaker)]


def watched(programmes: Iterable[Terms]) -> frozenset[str]:
    """Kinds of scope in which programmes may stop lending."""
    return frozenset(ALWAYS_WATCHED).union(
        str(clause.scope) for terms in programmes for clause in clauses_of(terms)
    )


def trip(
    seen: Seen, closed: Collection[Scope], *, terms: Terms, county_code: str, day: date
) -> list[Breaker]:
    """The breakers of a programme that trip now, beside its villages' and townships'."""
    tripped: dict[Scope, Breaker] = {}
    for clause in clauses_of(terms):
        if isinstance(clause, RatioBreaker) and clause.scope != "village":
            found = _by_ratio(clause, seen.balances.get(clause.scope, ()))
        elif isinstance(clause, CollectionBreaker):
            found = _by_collection(clause, seen.months.get(clause.scope, {}), day)
        else:
            continue
        for scope_id, numerator, denominator in found:
            key = (str(clause.scope), scope_id)
            if key in closed or key in tripped:
                continue
            effects = tuple(str(effect) for effect in clause.effects)
            scope = BreakerScope(clause.scope)
            tripped[key] = Breaker(
                county_code, scope, scope_id, True, 0, effects, numerator, denominator, 0
            )
    return list(tripped.values())


def _by_ratio(
    clause: RatioBreaker, balances: Sequence[ScopeBalance]
) -> Iterable[tuple[str, int, int]]:
    for each in balances:
        bad, owed = each.non_performing_fen, each.outstanding_fen
        if breakers.npl_ratio(bad, owed, more_than_ppm=clause.more_than_ppm).tripped:
            yield each.scope_id, bad, owed


def _by_collection(
    clause: CollectionBreaker, months: Mapping[str, Sequence[ScopeMonth]], day: date
) -> Iterable[tuple[str, int, int]]:
    for scope_id, held in months.items():
        # Only a month that has just ended suspends; an older one did so at its own end.
        if not held or held[-1].month != day.replace(day=1):
            continue
        if _suspended(clause, held[-clause.consecutive_months :]):
            yield scope_id, held[-1].collected_fen, held[-1].due_fen


def _suspended(clause: CollectionBreaker, held: Sequence[ScopeMonth]) -> bool:
    rows = [CollectionMonth(f"{m.month:%Y-%m}", m.due_fen, m.collected_fen) for m in held]
    return breakers.recovery_rate(
        rows, less_than_ppm=clause.less_than_ppm, consecutive=clause.consecutive_months
    ).suspended


def month_end(
    breaker: Breaker, seen: Seen, *, terms: Terms, day: date
) -> tuple[bool, int, int] | None:
    """
    Whether a tripped scope is still beyond what a programme allows, with the numbers.

    None where no clause judges it, or in a month in which nothing fell due.
    """
    worst: tuple[bool, int, int] | None = None
    for clause in clauses_of(terms):
        if clause.scope != breaker.scope:
            continue
        found: tuple[bool, int, int] | None = None
        if isinstance(clause, RatioBreaker) and clause.scope != "village":
            found = _ratio_now(clause, breaker, seen)
        elif isinstance(clause, CollectionBreaker):
            found = _collected_now(clause, breaker, seen, day)
        if found is not None and (worst is None or found[0]):
            worst = found
    return worst


def _ratio_now(clause: RatioBreaker, breaker: Breaker, seen: Seen) -> tuple[bool, int, int]:
    at = [b for b in seen.balances.get(clause.scope, ()) if b.scope_id == breaker.scope_id]
    bad, owed = (at[0].non_performing_fen, at[0].outstanding_fen) if at else (Fen(0), Fen(0))
    above = not breakers.is_below(bad, owed, threshold_ppm=clause.more_than_ppm)
    return above, bad, owed


def _collected_now(
    clause: CollectionBreaker, breaker: Breaker, seen: Seen, day: date
) -> tuple[bool, int, int] | None:
    held = seen.months.get(clause.scope, {}).get(breaker.scope_id, ())
    if not held or held[-1].month != day.replace(day=1):
        return None
    last = held[-1]
    low = breakers.recovery_rate(
        [CollectionMonth(f"{last.month:%Y-%m}", last.due_fen, last.collected_fen)],
        less_than_ppm=clause.less_than_ppm,
        consecutive=1,
    )
    return low.suspended, last.collected_fen, last.due_fen


def due_in_parts(
    loan: Loan, agreed: Plan | None, *, written_off_fen: int, programme_id: str, month: date
) -> DueMonth | None:
    """What of a loan in equal parts fell due in a month and was collected; early money counts."""
    planned = position.instalments(loan, agreed)
    before = _principal(each for each in planned if each.due_on < month)
    due = _principal(each for each in planned if _in_month(each.due_on, month))
    if due == 0:
        return None
    whole = _principal(planned)
    paid = whole - loan.outstanding_fen - written_off_fen
    return DueMonth(loan.loan_id, programme_id, Fen(due), Fen(max(0, min(due, paid - before))))


def _principal(instalments: Iterable[schedule.Instalment]) -> int:
    return sum(each.principal_fen for each in instalments)


def _in_month(day: date, month: date) -> bool:
    return (day.year, day.month) == (month.year, month.month)
