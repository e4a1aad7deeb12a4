"""Loans: what a day close sees: overdue loans, their class, breakers. Pure decisions."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date

from services.kernel.values import light, replace
from services.loans.model import AreaBalance, Breaker, BreakerScope, Judgement, Loan, LoanState
from services.loans.rules import balance, suspending
from services.loans.rules.lending import township_of
from services.loans.rules.standing import UNJUDGED, standing
from services.programmes import breakers, delinquency
from services.programmes.terms import Terms


@light
@dataclass(frozen=True, slots=True)
class Aged:
    """A loan after a day close, and what is new about it."""

    loan: Loan
    reclassified: bool
    newly_non_performing: bool
    performing_again: bool
    subsidy_stopped: bool


def wants_ageing(loan: Loan, day: date) -> bool:
    """Whether the day's end touches a loan: past its agreed day, or still marked as if it were."""
    if loan.state is not LoanState.ACTIVE or loan.next_due_on is None:
        return False
    marked = loan.five_tier_class != "normal" or loan.non_performing_on is not None
    return loan.next_due_on < day or marked


def age(loan: Loan, *, terms: Terms, day: date, judgement: Judgement = UNJUDGED) -> Aged:
    """
    Count overdue days, classify, and stop the subsidy on the day a loan becomes non-performing.

    The class follows the days and may be worse by judgement (S14); the non-performing trigger is
    the pack's own (LS18.fun.1).
    """
    assert loan.next_due_on is not None
    days = delinquency.overdue_days(loan.next_due_on, day)
    found = standing(terms, days=days, judgement=judgement)
    newly_bad = found.non_performing and loan.non_performing_on is None
    stops = newly_bad and loan.subsidised and loan.subsidy_ended_on is None
    accrued = balance.accrue(loan, day, terms.loans.day_basis) if days else loan
    if stops:
        accrued = balance.accrue(loan, day, terms.loans.day_basis)
    bad_since = (loan.non_performing_on or day) if found.non_performing else None
    aged = replace(
        accrued,
        overdue_days=days,
        five_tier_class=str(found.tier),
        non_performing_on=bad_since,
        subsidy_ended_on=day if stops else loan.subsidy_ended_on,
    )
    return Aged(
        aged,
        aged.five_tier_class != loan.five_tier_class,
        newly_bad,
        loan.non_performing_on is not None and bad_since is None,
        stops,
    )


def trip(
    balances: Sequence[AreaBalance],
    closed: Collection[str],
    villages: Sequence[str],
    *,
    terms: Terms,
    county_code: str,
) -> list[Breaker]:
    """
    The breakers that trip now: villages by their ratio, then townships by their villages.

    `closed` names the scopes that are tripped already, `villages` all villages of the county,
    those without loans included (S17).
    """
    tripped: list[Breaker] = []
    found = suspending.clauses_of(terms)
    ratio = breakers.ratio_breaker(found, "village")
    stopped = {scope_id for scope_id in closed if len(scope_id) == 12}
    if ratio is not None:
        for each in balances:
            if each.area_code in closed:
                continue
            judged = breakers.npl_ratio(
                each.non_performing_fen,
                each.outstanding_fen,
                more_than_ppm=ratio.more_than_ppm,
            )
            if judged.tripped:
                stopped.add(each.area_code)
                tripped.append(
                    Breaker(
                        county_code,
                        BreakerScope.VILLAGE,
                        each.area_code,
                        True,
                        0,
                        tuple(str(effect) for effect in ratio.effects),
                        each.non_performing_fen,
                        each.outstanding_fen,
                        0,
                    )
                )
    return [*tripped, *_townships(stopped, closed, villages, terms, county_code)]


def _townships(
    stopped: Collection[str],
    closed: Collection[str],
    villages: Sequence[str],
    terms: Terms,
    county_code: str,
) -> list[Breaker]:
    rule = breakers.villages_breaker(suspending.clauses_of(terms))
    if rule is None:
        return []
    tripped = []
    for township in sorted({township_of(village) for village in stopped} - set(closed)):
        bad = sum(township_of(village) == township for village in stopped)
        whole = sum(township_of(village) == township for village in villages)
        if breakers.township(bad, whole, at_least_pct=rule.at_least_pct).tripped:
            effects = tuple(str(effect) for effect in rule.effects)
            tripped.append(
                Breaker(
                    county_code, BreakerScope.TOWNSHIP, township, True, 0, effects, bad, whole, 0
                )
            )
    return tripped
