"""Calendars: working days, deadlines and dates months away."""

from calendar import monthrange
from dataclasses import dataclass, field
from datetime import date, timedelta

from services.kernel.errors import Refused

WORKING_DAYS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Calendar:
    """The official calendar: days off, weekend days worked, and the years it knows."""

    holidays: frozenset[date] = field(default_factory=frozenset)
    extra_workdays: frozenset[date] = field(default_factory=frozenset)
    years: frozenset[int] | None = None
    """None: weekends alone decide where nothing is listed, whatever the year."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """When something is due, and whether it came too late."""

    due_on: date
    breached: bool
    working: str


def is_working_day(calendar: Calendar, day: date) -> bool:
    """Weekends are off unless worked, holidays are off; an unknown year is refused."""
    if calendar.years is not None and day.year not in calendar.years:
        raise Refused(
            "CALENDAR_YEAR_UNKNOWN",
            f"no official calendar for {day.year}",
            message_zh=f"缺少{day.year}年法定节假日安排",
        )
    if day in calendar.holidays:
        return False
    return day in calendar.extra_workdays or day.isoweekday() < 6


def working_days_after(calendar: Calendar, start: date, working_days: int) -> date:
    """The n-th working day after a day; the day itself is not counted, 0 is the day itself."""
    assert 0 <= working_days <= WORKING_DAYS_MAX
    day, left = start, working_days
    while left > 0:
        day += timedelta(days=1)
        left -= is_working_day(calendar, day)
    return day


def deadline(
    calendar: Calendar, start: date, working_days: int, *, done_on: date | None = None
) -> Deadline:
    """The last day to finish, and whether the work was done later than that."""
    due_on = working_days_after(calendar, start, working_days)
    breached = done_on is not None and done_on > due_on
    working = f"{start} + {working_days} working days = {due_on}"
    if done_on is not None:
        working += f"; done on {done_on}: {'late' if breached else 'in time'}"
    return Deadline(due_on, breached, working)


def add_months(day: date, months: int) -> date:
    """The same day some months away, clamped to the month's end."""
    month = day.year * 12 + day.month - 1 + months
    year, month = month // 12, month % 12 + 1
    return date(year, month, min(day.day, monthrange(year, month)[1]))


def notice_day(maturity_on: date, lead_months: int) -> date:
    """The day a coming maturity is told (S36)."""
    return add_months(maturity_on, -lead_months)


def last_valid_day(granted_on: date, months: int) -> date:
    """Validity runs to the corresponding day inclusive (S33)."""
    return add_months(granted_on, months)


def whole_months(start: date, end: date) -> int | None:
    """How many whole months lie between two days, None when it is not a whole number."""
    months = (end.year - start.year) * 12 + end.month - start.month
    if months >= 0 and add_months(start, months) == end:
        return months
    return None
