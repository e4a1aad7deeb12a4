"""Errors: every expected "no", each with a stable reason; a bug is an assert."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong with a request: where, what was given, which rule it breaks."""

    field: str
    value: str
    rule: str


class LiandongError(Exception):
    """An expected refusal: `reason` is part of the contract, the texts are not."""

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        message_zh: str = "",
        violations: Sequence[Violation] = (),
        facts: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.message_zh = message_zh
        self.violations = tuple(violations)
        self.facts = dict(facts or {})


class Invalid(LiandongError):
    """The request itself is wrong, whatever the state: INVALID_ARGUMENT."""


class NotFound(LiandongError):
    """No such thing, or not yours to know of: NOT_FOUND."""


class Refused(LiandongError):
    """The state or a programme's rule forbids it: FAILED_PRECONDITION."""


class Conflict(LiandongError):
    """It exists already, or the same request id came with another body: ALREADY_EXISTS."""


class Denied(LiandongError):
    """This institution may not do that: PERMISSION_DENIED."""


class Unauthenticated(LiandongError):
    """Nobody known is asking: UNAUTHENTICATED."""


@dataclass(frozen=True, slots=True)
class Quota:
    """A limit that was reached: whose it is, what it counts and how many there may be."""

    subject: str
    metric: str
    most: int


class Exhausted(LiandongError):
    """A bound is reached; come back later: RESOURCE_EXHAUSTED."""

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        message_zh: str = "",
        facts: Mapping[str, str] | None = None,
        retry_seconds: float | None = None,
        quota: Quota | None = None,
    ) -> None:
        super().__init__(reason, message, message_zh=message_zh, facts=facts)
        self.retry_seconds = retry_seconds
        self.quota = quota


class Unavailable(LiandongError):
    """A server that is needed does not answer; nothing was written: UNAVAILABLE."""


def invalid_field(reason: str, field: str, value: object, rule: str, zh: str = "") -> Invalid:
    """One field is wrong: the common case of `Invalid`."""
    violation = Violation(field=field, value=str(value), rule=rule)
    message = f"{field} = {value!s}: {rule}"
    return Invalid(reason, message, message_zh=zh, violations=[violation])
