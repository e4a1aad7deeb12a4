"""SLA: the deadline of an application in minutes, days or working days, and whether it was kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from services.kernel.errors import Refused
from services.programmes.calendars import Calendar, is_working_day
from services.programmes.schema.loans import Sla

Pause = tuple[datetime, datetime]
"""While the household must supply something the clock stands still (S31)."""

DAYS_SOUGHT_MAX = 3_000


@dataclass(frozen=True, slots=True)
class SlaDeadline:
    """The last day, for minutes also the last moment; a broken promise has no consequence."""

    due_on: date
    due_at: datetime | None
    breached: bool
    binding: bool
    working: str


def sla_deadline(
    sla: Sla,
    calendar: Calendar,
    received_at: datetime,
    *,
    done_at: datetime | None = None,
    pauses: Sequence[Pause] = (),
) -> SlaDeadline:
    """The day of acceptance is not counted; 0 minutes is at once, 0 days the same day."""
    due_at: datetime | None = None
    if sla.unit == "minutes":
        due_at = _after_minutes(received_at, sla.value, pauses)
        due_on = due_at.date()
        breached = done_at is not None and done_at > due_at
    else:
        working_days = sla.unit == "working_days"
        due_on = _after_days(calendar, received_at.date(), sla.value, pauses, working=working_days)
        breached = done_at is not None and done_at.date() > due_on
    unit = sla.unit.replace("_", " ")
    said = f"{received_at} + {sla.value} {unit}, {len(pauses)} pauses = {due_at or due_on}"
    if done_at is not None:
        said += f"; done {done_at}: {'late' if breached else 'in time'}"
    return SlaDeadline(due_on, due_at, breached, not sla.promise, said)


def _after_minutes(start: datetime, minutes: int, pauses: Sequence[Pause]) -> datetime:
    due = start + timedelta(minutes=minutes)
    stopped_until = start
    for begin, end in sorted(pauses):
        # Two pauses at once stop the clock once.
        stops_at = max(begin, stopped_until)
        if stops_at >= due or end <= stops_at:
            continue
        due += end - stops_at
        stopped_until = end
    return due


def _after_days(
    calendar: Calendar, start: date, days: int, pauses: Sequence[Pause], *, working: bool
) -> date:
    day, left = start, days
    for _ in range(DAYS_SOUGHT_MAX):
        if left == 0:
            return day
        day += timedelta(days=1)
        stopped = any(begin.date() <= day <= end.date() for begin, end in pauses)
        left -= not stopped and (not working or is_working_day(calendar, day))
    raise Refused(
        "DEADLINE_TOO_FAR",
        f"{days} days after {start} lie more than {DAYS_SOUGHT_MAX} days away",
        message_zh="办理期限过长",
    )
