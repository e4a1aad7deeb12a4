"""Cases: a case's own words, and the small values all of them write alike."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from services.programmes import calendars

Case = Mapping[str, Any]
CENTI = 100
HOUSEHOLD = "household"


def day(text: str) -> date:
    return date.fromisoformat(text)


def calendar(given: Case) -> calendars.Calendar:
    return calendars.Calendar(
        frozenset(map(day, given["holidays"])), frozenset(map(day, given["extra_workdays"]))
    )
