"""What evaluators give to clauses, and what a clause that is open may do."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

from services.kernel.errors import Refused
from services.kernel.money import Fen
from services.programmes import calendars

ON = date(2020, 6, 1)
LATER = date(2021, 6, 1)
AMOUNT = Fen(12_345)
CALENDAR = calendars.Calendar(years=frozenset(range(2000, 2101)))
OPEN = "PROGRAMME_VALUE_OPEN"


@contextmanager
def or_open(*reasons: str) -> Iterator[None]:
    """
    An open value refuses and names its key; whatever else is refused should not have loaded.

    `reasons` are refusals of what was given, not of the pack: a day before every published rate.
    """
    try:
        yield
    except Refused as refused:
        is_open = refused.reason == OPEN and refused.facts["key"]
        if not is_open and refused.reason not in reasons:
            raise
