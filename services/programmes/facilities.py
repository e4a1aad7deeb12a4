"""Facilities: revolving limits event by event, renewals and extensions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from services.kernel.money import Fen
from services.programmes import calendars
from services.programmes.schema.product_terms import Extension, Renewal, Revolving
from services.programmes.schema.values import known


@dataclass(frozen=True, slots=True)
class Movement:
    """One draw or repayment asked for on a revolving limit."""

    type: Literal["draw", "repay"]
    on: date
    amount_fen: Fen


@dataclass(frozen=True, slots=True)
class Moved:
    """Whether a movement was taken, and how the limit stands after it."""

    accepted: bool
    reason: str | None
    outstanding_fen: Fen
    available_fen: Fen


@dataclass(frozen=True, slots=True)
class RevolvingLimit:
    """A limit's last valid day and its movements, in order."""

    last_valid_on: date
    results: tuple[Moved, ...]
    working: str


@dataclass(frozen=True, slots=True)
class RenewalDecision:
    """Whether a loan is renewed, what it starts with, what is due in cash."""

    allowed: bool
    failed: tuple[str, ...]
    new_principal_fen: Fen
    principal_cash_fen: Fen
    remaining_subsidy_months: int
    working: str


@dataclass(frozen=True, slots=True)
class ExtensionDecision:
    """Whether a maturity is moved, and to which day."""

    allowed: bool
    failed: tuple[str, ...]
    matures_on: date
    working: str


def revolving(
    limit_fen: Fen,
    *,
    granted_on: date,
    validity_months: int,
    movements: Sequence[Movement],
    reusable: bool = True,
) -> RevolvingLimit:
    """
    Draws within the limit until the last valid day inclusive; repaying makes room (S33).

    A line that is not reusable is used up by its draws, whatever is paid back.
    """
    last = calendars.last_valid_day(granted_on, validity_months)
    outstanding = used = Fen(0)
    results: list[Moved] = []
    for movement in movements:
        taken_of = outstanding if reusable else used
        reason = _reason_against(movement, (granted_on, last), outstanding, limit_fen - taken_of)
        if reason is None and movement.type == "draw":
            outstanding = Fen(outstanding + movement.amount_fen)
            used = Fen(used + movement.amount_fen)
        elif reason is None:
            outstanding = Fen(outstanding - movement.amount_fen)
        left = limit_fen - (outstanding if reusable else used)
        results.append(Moved(reason is None, reason, outstanding, Fen(left)))
    taken = sum(result.accepted for result in results)
    working = (
        f"{limit_fen} fen valid until {last}; {taken} of {len(results)} movements taken, "
        f"{outstanding} fen drawn"
    )
    return RevolvingLimit(last, tuple(results), working)


def revolving_of(
    clause: Revolving, limit_fen: Fen, *, granted_on: date, movements: Sequence[Movement]
) -> RevolvingLimit:
    """The same by a product's clause; refused while its validity is open."""
    months = known(clause.validity_months)
    return revolving(limit_fen, granted_on=granted_on, validity_months=months, movements=movements)


def _reason_against(
    movement: Movement, days: tuple[date, date], outstanding: Fen, available_fen: int
) -> str | None:
    granted_on, last = days
    if movement.amount_fen <= 0:
        return "no_amount"
    if movement.on < granted_on:
        return "not_yet_granted"
    if movement.type == "repay":
        # A debt may be repaid after the limit ended.
        return "over_outstanding" if movement.amount_fen > outstanding else None
    if movement.on > last:
        return "expired"
    return "over_limit" if movement.amount_fen > available_fen else None


def renewal(
    principal_fen: Fen,
    *,
    interest_unpaid_fen: Fen,
    conditions: Mapping[str, bool],
    max_subsidy_months: int | None = None,
    prior_subsidised_months: int = 0,
    carried: bool = True,
) -> RenewalDecision:
    """
    A new loan for the old one, when all conditions hold and no interest is unpaid (S34).

    Carried principal moves no cash. The months of subsidy go on counting (S29).
    """
    failed = tuple(code for code, held in conditions.items() if not held)
    if interest_unpaid_fen > 0:
        failed = (*failed, "interest_unpaid")
    if failed:
        working = f"refused: {', '.join(failed)}; {principal_fen} fen fall due in cash"
        return RenewalDecision(False, failed, Fen(0), principal_fen, 0, working)
    left = 0
    if max_subsidy_months is not None:
        left = max(0, max_subsidy_months - prior_subsidised_months)
    cash = Fen(0) if carried else principal_fen
    working = f"{principal_fen} fen renewed, {cash} in cash; {left} months of subsidy left"
    return RenewalDecision(True, (), principal_fen, cash, left, working)


def renewal_of(
    clause: Renewal,
    principal_fen: Fen,
    *,
    interest_unpaid_fen: Fen,
    facts: Mapping[str, bool],
    max_subsidy_months: int | None = None,
    prior_subsidised_months: int = 0,
) -> RenewalDecision:
    """The same by a product's clause: what is not known is not held."""
    needed = [*known(clause.conditions), *(f"{check}_ok" for check in clause.rechecks)]
    return renewal(
        principal_fen,
        interest_unpaid_fen=interest_unpaid_fen,
        conditions={code: facts.get(code, False) for code in needed},
        max_subsidy_months=max_subsidy_months,
        prior_subsidised_months=prior_subsidised_months,
        carried=known(clause.principal) == "carried",
    )


def extension_of(
    clause: Extension, matures_on: date, *, months: int, facts: Mapping[str, bool]
) -> ExtensionDecision:
    """A later maturity of the same loan, at most by the clause's months."""
    failed = tuple(code for code in known(clause.conditions) if not facts.get(code, False))
    most = known(clause.max_months)
    if not 0 < months <= most:
        failed = (*failed, "too_long")
    to = matures_on if failed else calendars.add_months(matures_on, months)
    working = f"{matures_on} + {months} months, at most {most}: {', '.join(failed) or to}"
    return ExtensionDecision(not failed, failed, to, working)
