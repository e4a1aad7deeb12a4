"""Faults of servers: is it away, may the transaction simply be done again?"""

from collections.abc import Iterator

import asyncpg
import nats.errors
from nats.js.errors import NoStreamResponseError, ServiceUnavailableError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from services.kernel.errors import Unavailable

_AWAY = (
    OSError,
    TimeoutError,
    PoolTimeoutError,
    Unavailable,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    # What the driver says when its connection was lost between two of its own states.
    asyncpg.InternalClientError,
    nats.errors.Error,
    NoStreamResponseError,
    ServiceUnavailableError,
)

AGAIN_SQLSTATES = frozenset({"40001", "40P01", "55P03"})
"""Serialisation failure, deadlock, lock timeout."""


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = getattr(seen, "orig", None) or seen.__cause__


def is_away(error: BaseException) -> bool:
    """Whether a database or the network is away, full or going down: nothing was written."""
    for link in _chain(error):
        if isinstance(link, _AWAY):
            return True
        if isinstance(link, DBAPIError) and link.connection_invalidated:
            return True
        # The driver raises the same type for a statement that is given too few arguments.
        if isinstance(link, asyncpg.InterfaceError) and "connection is closed" in str(link):
            return True
    return False


def may_run_again(error: BaseException) -> bool:
    """Whether the transaction lost a race and would do better the next time."""
    return any(getattr(link, "sqlstate", None) in AGAIN_SQLSTATES for link in _chain(error))


def broken_unique(error: BaseException) -> str:
    """The name of the unique constraint that an error broke; empty for another error."""
    for link in _chain(error):
        if isinstance(link, asyncpg.UniqueViolationError):
            return str(link.constraint_name)
    return ""


def is_unstorable_text(error: BaseException) -> bool:
    """Whether a text holds a character that the database cannot keep: U+0000."""
    return any(getattr(link, "sqlstate", None) in ("22021", "22P05") for link in _chain(error))
