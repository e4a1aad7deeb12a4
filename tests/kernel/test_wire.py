"""The wire: days, pages and verdicts come back as they went."""

from contextlib import suppress
from datetime import UTC, date, datetime

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date
from hypothesis import example, given
from hypothesis import strategies as st

from services.kernel import wire
from services.kernel.errors import Invalid, invalid_field


@given(st.dates())
def test_a_day_comes_back(day: date) -> None:
    there = wire.date_to_proto(day)

    assert there is not None
    assert wire.date_from_proto("day", there) == day


def test_no_day_stays_no_day() -> None:
    assert wire.date_to_proto(None) is None


@given(st.integers(-(2**31), 2**31 - 1), st.integers(-9, 99), st.integers(-9, 99))
def test_a_day_that_is_none_is_refused_by_its_field(year: int, month: int, day: int) -> None:
    try:
        date(year, month, day)
    except ValueError:
        with pytest.raises(Invalid) as refusal:
            wire.date_from_proto("value_date", Date(year=year, month=month, day=day))
        assert refusal.value.reason == "MALFORMED_DATE"
        assert refusal.value.violations[0].field == "value_date"


@given(st.integers(253_402_300_800, 2**63 - 1) | st.integers(-(2**63), -62_135_596_801), st.just(0))
@example(0, -1)
@example(0, 1_000_000_000)
def test_a_moment_of_no_year_is_refused_by_its_field(seconds: int, nanos: int) -> None:
    said = Timestamp(seconds=seconds, nanos=nanos)
    with pytest.raises(Invalid) as refusal:
        wire.time_from_proto("since", said)
    assert refusal.value.reason == "MALFORMED_TIME"
    assert refusal.value.violations[0].field == "since"


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_moment_of_the_calendar_comes_back(moment: datetime) -> None:
    said = Timestamp()
    said.FromDatetime(moment)

    assert wire.time_from_proto("since", said) == moment


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
def test_a_page_token_says_where_the_next_page_begins(key: str) -> None:
    assert wire.page_start(wire.page_token(key)) == key


@given(st.text(max_size=20))
def test_any_other_token_is_refused_or_harmless(token: str) -> None:
    with suppress(Invalid):
        assert isinstance(wire.page_start(token), str)


def test_the_first_page_needs_no_token_and_a_size_has_a_default() -> None:
    assert wire.page_start("") == ""
    assert wire.page_size(0) == 50
    assert wire.page_size(7) == 7


def test_a_verdict_says_what_a_single_call_would_have_raised() -> None:
    error = invalid_field(
        "AMOUNT_NOT_POSITIVE", "amount_fen", -5, "must be above 0", "金额须大于零"
    )

    verdict = wire.refused(3, error)

    assert (verdict.index, verdict.accepted, verdict.reason) == (3, False, "AMOUNT_NOT_POSITIVE")
    assert verdict.message_zh == "金额须大于零"
    assert [(v.field, v.value, v.rule) for v in verdict.violations] == [
        ("amount_fen", "-5", "must be above 0")
    ]
    assert wire.accepted(4, "id").accepted
