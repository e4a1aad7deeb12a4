"""The wire: dates, pages and verdicts between protos and values."""

import base64
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import TypeVar

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date
from liandong.common.v1 import common_pb2

from services.kernel.errors import LiandongError, invalid_field

T = TypeVar("T")

PAGE_DIGITS_MAX = 9
POSITION_DIGITS_MAX = 18
"""Of a place in a log: every bigint of so many digits is one."""


def date_to_proto(day: date | None) -> Date | None:
    """A calendar day for the wire; None stays unset."""
    return None if day is None else Date(year=day.year, month=day.month, day=day.day)


def date_from_proto(field: str, day: Date) -> date:
    """A calendar day from the wire; refused by field when there is no such day."""
    try:
        return date(day.year, day.month, day.day)
    except ValueError:
        text = f"{day.year:04d}-{day.month:02d}-{day.day:02d}"
        raise invalid_field("MALFORMED_DATE", field, text, "must be a calendar day") from None


def time_from_proto(field: str, moment: Timestamp) -> datetime:
    """A moment from the wire, in UTC; refused by field when it is outside the years 1 to 9999."""
    try:
        return moment.ToDatetime(UTC)
    except ValueError:
        text = f"{moment.seconds} s, {moment.nanos} ns"
        rule = "must be a time of the years 1 to 9999"
        raise invalid_field("MALFORMED_TIME", field, text, rule) from None


def page_size(asked: int, *, default: int = 50) -> int:
    """How many items a page has when the caller left it open."""
    return asked or default


def page_token(last_key: str) -> str:
    """An opaque token that says after which key the next page begins."""
    return base64.urlsafe_b64encode(last_key.encode()).decode()


def page_of(found: Sequence[T], size: int, key: Callable[[T], object]) -> tuple[Sequence[T], str]:
    """The first `size` of what was found, asked for with one more, and the token of the rest."""
    page = found[:size]
    return page, page_token(str(key(page[-1]))) if len(found) > size else ""


def page_from(found: Sequence[T], start: int, size: int) -> tuple[Sequence[T], str]:
    """The same where a token counts the items before it: `page_offset` reads it back."""
    return found[:size], page_token(str(start + size)) if len(found) > size else ""


def page_start(token: str) -> str:
    """The key after which a page begins; empty for the first page."""
    try:
        return base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except ValueError:
        rule = "must come from the answer before"
        raise invalid_field("MALFORMED_PAGE_TOKEN", "page_token", token, rule) from None


def page_offset(token: str, *, digits_max: int = PAGE_DIGITS_MAX) -> int:
    """The number that a token holds: how many items the pages before had, or the last position."""
    text = page_start(token) or "0"
    if not (text.isascii() and text.isdecimal() and len(text) <= digits_max):
        rule = "must come from the answer before"
        raise invalid_field("MALFORMED_PAGE_TOKEN", "page_token", token, rule)
    return int(text)


def accepted(index: int, made_id: object) -> common_pb2.Verdict:
    """The verdict of an item that took effect."""
    return common_pb2.Verdict(index=index, accepted=True, id=str(made_id))


def refused(index: int, error: LiandongError) -> common_pb2.Verdict:
    """The verdict of an item that was refused, with what a single call would have raised."""
    return common_pb2.Verdict(
        index=index,
        accepted=False,
        reason=error.reason,
        message=error.message,
        message_zh=error.message_zh,
        violations=[
            common_pb2.FieldViolation(field=v.field, value=v.value, rule=v.rule)
            for v in error.violations
        ],
    )


def verdict_of(
    index: int, outcome: T | LiandongError, id_of: Callable[[T], object]
) -> common_pb2.Verdict:
    """What became of one of many."""
    if isinstance(outcome, LiandongError):
        return refused(index, outcome)
    return accepted(index, id_of(outcome))


def verdicts(
    outcomes: Sequence[T | LiandongError], id_of: Callable[[T], object]
) -> list[common_pb2.Verdict]:
    """What became of each, in the order asked."""
    return [verdict_of(index, outcome, id_of) for index, outcome in enumerate(outcomes)]
