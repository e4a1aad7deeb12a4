"""Loans: when what falls due: repayment methods, unpaid instalments, overdue days. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from services.kernel.money import PPM, Fen, half_up
from services.kernel.values import replace
from services.programmes import calendars, interest


class Method(StrEnum):
    """How a loan is paid back; the pack's `interest_settlement`."""

    BULLET = "bullet"
    """Interest with the principal, at the end."""
    ANNUAL = "annual"
    QUARTERLY = "quarterly"
    MONTHLY = "monthly"
    """Interest each period, the principal at the end."""
    EQUAL_PRINCIPAL = "equal_principal"
    """Each month the same principal and the interest on what is left."""
    EQUAL_INSTALMENT = "equal_instalment"
    """Each month the same sum of both; the last one evens out."""


PERIOD_MONTHS = {
    Method.ANNUAL: 12,
    Method.QUARTERLY: 3,
    Method.MONTHLY: 1,
    Method.EQUAL_PRINCIPAL: 1,
    Method.EQUAL_INSTALMENT: 1,
}


@dataclass(frozen=True, slots=True)
class Instalment:
    """What falls due on a day."""

    number: int
    due_on: date
    principal_fen: Fen
    interest_fen: Fen
    """As planned: whole months are months/12 (S29), the book itself counts days."""

    @property
    def total_fen(self) -> Fen:
        """Both together."""
        return Fen(self.principal_fen + self.interest_fen)


@dataclass(frozen=True, slots=True)
class Plan:
    """How a loan is paid back since it was extended or given new terms."""

    kind: str
    """`extension` or `restructuring`."""
    made_on: date
    starts_on: date
    """The day from which its months count."""
    principal_fen: Fen
    """What it pays back."""
    term_months: int
    method: Method
    rate_ppm: int
    matures_on: date
    """The last day; it may lie off the months' own day at a month's end."""
    reason: str = ""

    def instalments(self) -> tuple["Instalment", ...]:
        """What falls due under it."""
        if self.principal_fen == 0:
            return ()
        planned = plan(
            self.principal_fen,
            rate_ppm=self.rate_ppm,
            start=self.starts_on,
            term_months=self.term_months,
            method=self.method,
        )
        return (*planned[:-1], replace(planned[-1], due_on=self.matures_on))


def due_days(start: date, term_months: int, method: Method) -> list[date]:
    """The days on which something falls due; the last one is the maturity."""
    assert term_months > 0
    step = PERIOD_MONTHS.get(method, term_months)
    months = [*range(step, term_months, step), term_months]
    return [calendars.add_months(start, month) for month in months]


def plan(
    principal_fen: Fen, *, rate_ppm: int, start: date, term_months: int, method: Method
) -> tuple[Instalment, ...]:
    """The planned instalments; their principal sums to the principal."""
    assert principal_fen > 0
    days = due_days(start, term_months, method)
    step = PERIOD_MONTHS.get(method, term_months)
    parts = _principal_parts(principal_fen, rate_ppm, len(days), method)
    left = principal_fen
    instalments: list[Instalment] = []
    for place, (due_on, part) in enumerate(zip(days, parts, strict=True)):
        months = min(step, term_months - place * step)
        charged = interest.months_interest_fen(left, rate_ppm, months)
        instalments.append(Instalment(place + 1, due_on, part, charged))
        left = Fen(left - part)
    assert left == 0
    return tuple(instalments)


def _principal_parts(principal_fen: Fen, rate_ppm: int, count: int, method: Method) -> list[Fen]:
    if method is Method.EQUAL_PRINCIPAL:
        each, over = divmod(principal_fen, count)
        # The odd fen fall due last.
        return [Fen(each)] * (count - 1) + [Fen(each + over)]
    if method is Method.EQUAL_INSTALMENT:
        level = level_instalment_fen(principal_fen, rate_ppm, count)
        parts: list[Fen] = []
        left = principal_fen
        for _ in range(count - 1):
            charged = interest.months_interest_fen(left, rate_ppm, 1)
            part = Fen(min(left, max(0, level - charged)))
            parts.append(part)
            left = Fen(left - part)
        return [*parts, left]
    return [Fen(0)] * (count - 1) + [principal_fen]


def level_instalment_fen(principal_fen: Fen, rate_ppm: int, count: int) -> Fen:
    """The equal monthly sum, half up once: P·r·(1+r)ⁿ / ((1+r)ⁿ − 1), all in whole numbers."""
    assert count > 0
    if rate_ppm == 0:
        return Fen(-(-principal_fen // count))
    whole = 12 * PPM
    grown = (whole + rate_ppm) ** count
    return Fen(half_up(principal_fen * rate_ppm * grown, whole * (grown - whole**count)))


def oldest_unpaid(
    instalments: Sequence[Instalment], *, principal_paid_fen: Fen, interest_paid_fen: Fen
) -> Instalment | None:
    """The first instalment that what was paid so far does not cover; early money counts ahead."""
    principal, charged = 0, 0
    for instalment in instalments:
        principal += instalment.principal_fen
        charged += instalment.interest_fen
        if principal_paid_fen < principal or interest_paid_fen < charged:
            return instalment
    return None


def due_by(instalments: Sequence[Instalment], day: date) -> tuple[Fen, Fen]:
    """Principal and interest that have fallen due by the end of a day."""
    past = [instalment for instalment in instalments if instalment.due_on <= day]
    return (
        Fen(sum(instalment.principal_fen for instalment in past)),
        Fen(sum(instalment.interest_fen for instalment in past)),
    )
