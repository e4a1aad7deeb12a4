"""Every queue, pool and batch has a bound, a metric and a row that says what happens then."""

import re

import pytest

from tests.contract import bounds

ROWS = bounds.in_page()


def test_what_keeps_things_is_in_the_page_and_the_page_names_nothing_else() -> None:
    code = bounds.in_code()

    assert len(code) > 15, "the search finds nothing"
    assert sorted(code - set(ROWS)) == [], "docs/reference/bounds.md lacks a row"
    assert sorted(set(ROWS) - code) == [], "docs/reference/bounds.md has a row too many"


@pytest.mark.parametrize("place", sorted(ROWS))
def test_a_row_says_what_how_much_by_which_metric_and_what_then(place: bounds.Place) -> None:
    what, most, metric, then = ROWS[place]

    assert what
    assert most
    assert then
    named = re.findall(r'bound="(\w+)"', metric)
    assert named or metric.startswith("none: ") or "`" in metric or "log" in metric
    assert set(named) <= bounds.told(), "no process tells of it"


def test_every_bound_that_is_told_is_in_the_page() -> None:
    text = bounds.PAGE.read_text(encoding="utf-8")

    for name in bounds.told():
        assert f'bound="{name}' in text, name


def test_a_queue_without_a_row_is_found() -> None:
    """The control: the search does find what nobody wrote down."""
    code = bounds.in_code()
    assert ("services/kernel/database.py", "create_async_engine") in code
    assert ("gateway/access_log.py", "deque") in code
    assert ("services/kernel/chassis.py", "Relay") in code
