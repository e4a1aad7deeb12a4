"""Sanctions: whom they reach, until when, what they take away, and what ends them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date

from services.kernel.money import Fen
from services.programmes.calendars import last_valid_day
from services.programmes.schema.sanctions import (
    Rehabilitation,
    Relation,
    Sanction,
    SanctionEffect,
    SanctionEnd,
)
from services.programmes.schema.values import known


@dataclass(frozen=True, slots=True)
class SanctionCheck:
    """Whether an applicant is barred, and through which day; None is without end."""

    blocked_until: date | None
    blocked: bool
    working: str


@dataclass(frozen=True, slots=True)
class Lost:
    """What an applicant may not have on a day, and the sanctions that take it."""

    effects: tuple[SanctionEffect, ...]
    by: tuple[str, ...]
    working: str


@dataclass(frozen=True, slots=True)
class SetOff:
    """What of a subsidy goes to the debt, and what stays with the household."""

    to_debt_fen: Fen
    to_household_fen: Fen
    working: str


def sanction_check(
    relations: Sequence[Relation],
    relation: Relation,
    *,
    sanctioned_on: date,
    ban_months: int | None,
    on: date,
) -> SanctionCheck:
    """Barred from the day of the sanction through the corresponding day, inclusive (S33)."""
    until = None if ban_months is None else last_valid_day(sanctioned_on, ban_months)
    reached = relation in relations
    running = sanctioned_on <= on and (until is None or on <= until)
    said = "without end" if until is None else f"to {until}"
    working = f"{relation.value} {'reached' if reached else 'not named'}; {said}, asked on {on}"
    return SanctionCheck(until, reached and running, working)


def check_of(
    sanction: Sanction,
    *,
    relation: Relation,
    sanctioned_on: date,
    on: date,
    ended_by: Collection[SanctionEnd] = (),
) -> SanctionCheck:
    """A pack's sanction against one applicant; what the pack says may end it before its time."""
    if ended := [end.value for end in sanction.lifted_by if end in ended_by]:
        return SanctionCheck(None, False, f"{sanction.id} ended by {ended[0]}")
    months = None if sanction.ban_months is None else known(sanction.ban_months)
    return sanction_check(
        sanction.relations, relation, sanctioned_on=sanctioned_on, ban_months=months, on=on
    )


def lost(
    sanctions: Sequence[Sanction],
    *,
    cause: str,
    relation: Relation,
    sanctioned_on: date,
    on: date,
    ended_by: Collection[SanctionEnd] = (),
) -> Lost:
    """All that a cause takes from an applicant on a day, in the pack's order."""
    effects: dict[SanctionEffect, None] = {}
    by: list[str] = []
    for sanction in sanctions:
        if (sanction.cause or sanction.id) != cause:
            continue
        check = check_of(
            sanction, relation=relation, sanctioned_on=sanctioned_on, on=on, ended_by=ended_by
        )
        if check.blocked:
            effects.update(dict.fromkeys(sanction.effects))
            by.append(sanction.id)
    names = ", ".join(effect.value for effect in effects) or "nothing"
    return Lost(tuple(effects), tuple(by), f"{cause}, {relation.value} on {on}: loses {names}")


def set_off(
    sanction: Sanction, *, subsidy: str, subsidy_fen: Fen, debt_fen: Fen, lawful: bool
) -> SetOff:
    """A named subsidy pays the debt first, where the law allows it."""
    applies = subsidy in sanction.set_off_from and (lawful or not sanction.only_where_law_allows)
    taken = Fen(min(subsidy_fen, debt_fen)) if applies else Fen(0)
    working = f"{taken} of {subsidy_fen} fen {subsidy} to a debt of {debt_fen}, lawful: {lawful}"
    return SetOff(taken, Fen(subsidy_fen - taken), working)


def steps_won_back(
    clause: Rehabilitation | None, *, ended_by: Collection[SanctionEnd], in_campaign: bool
) -> tuple[str, ...]:
    """What follows for a borrower who repaid, in order; nothing where the pack says nothing."""
    if clause is None or clause.after not in ended_by:
        return ()
    return () if clause.within_campaign and not in_campaign else clause.steps
