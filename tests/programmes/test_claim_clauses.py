"""Clauses that claims are decided by: deadlines with pauses, one rule for a disaster."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.money import Fen
from services.programmes import covers
from services.programmes.calendars import Calendar, is_working_day
from services.programmes.schema.insurance import ClaimTier

MONDAY = date(2021, 1, 4)
CALENDAR = Calendar()


def due(working_days: int, *pauses: tuple[date, date]) -> date:
    tiers = [ClaimTier(tier="any", max_fen=None, working_days=working_days)]
    return covers.claim_deadline(
        Fen(1), tiers, accepted_on=MONDAY, calendar=CALENDAR, pauses=pauses
    ).due_on


@pytest.mark.parametrize(
    ("working_days", "pause", "due_on"),
    [
        (3, None, date(2021, 1, 7)),
        (3, (date(2021, 1, 5), date(2021, 1, 12)), date(2021, 1, 15)),
        (3, (date(2021, 1, 8), date(2021, 1, 12)), date(2021, 1, 7)),
        (0, None, MONDAY),
        (0, (MONDAY, date(2021, 1, 6)), date(2021, 1, 6)),
    ],
)
def test_the_days_of_a_pause_do_not_count(
    working_days: int, pause: tuple[date, date] | None, due_on: date
) -> None:
    assert due(working_days, *([pause] if pause else [])) == due_on


@given(
    st.integers(0, 10),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 10)), max_size=4),
)
def test_so_many_days_of_work_outside_pauses_lie_before_the_deadline(
    working_days: int, drawn: list[tuple[int, int]]
) -> None:
    pauses = [
        (MONDAY + timedelta(days=begin), MONDAY + timedelta(days=begin + length))
        for begin, length in drawn
    ]

    due_on = due(working_days, *pauses)

    if working_days:
        days = [MONDAY + timedelta(days=n) for n in range(1, (due_on - MONDAY).days + 1)]
        counted = [
            day
            for day in days
            if is_working_day(CALENDAR, day)
            and not any(begin <= day <= end for begin, end in pauses)
        ]
        assert len(counted) == working_days
        assert counted[-1] == due_on
    assert due_on >= due(working_days)


@given(
    st.integers(0, 10**12),
    st.integers(1, 1_000_000),
    st.none() | st.integers(1, 10**12),
    st.integers(0, 10**12),
)
def test_a_disasters_rule_never_pays_more_than_the_loss_or_its_maximum(
    assessed: int, share_ppm: int, most: int | None, least: int
) -> None:
    paid = covers.payable_by_rule(
        Fen(assessed),
        share_ppm=share_ppm,
        max_fen=None if most is None else Fen(most),
        min_assessed_fen=Fen(least),
    )

    assert 0 <= paid.payable_fen <= assessed
    assert most is None or paid.payable_fen <= most
    assert assessed >= least or (paid.payable_fen, paid.binding) == (0, "event_minimum")
