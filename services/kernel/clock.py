"""Recorded time: when this machine did something. No rule reads it; business dates are data."""

from datetime import UTC, datetime


def recorded_time() -> datetime:
    """The time to record where the database's `now()` is not at hand."""
    return datetime.now(UTC)
