"""Which faults mean that a server is away, and which that we are wrong."""

import asyncpg
import nats.errors
import pytest
from nats.js.errors import NoStreamResponseError, NotFoundError, ServiceUnavailableError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import InterfaceError as WrappedInterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from services.kernel.away import broken_unique, is_away, may_run_again
from services.kernel.errors import Refused, Unavailable

AWAY: list[BaseException] = [
    ConnectionRefusedError(),
    ConnectionResetError(),
    TimeoutError(),
    PoolTimeoutError(),
    Unavailable("DATABASE_UNAVAILABLE", "away"),
    asyncpg.ConnectionDoesNotExistError(),
    asyncpg.CannotConnectNowError(),
    asyncpg.AdminShutdownError(),
    asyncpg.CrashShutdownError(),
    asyncpg.TooManyConnectionsError(),
    asyncpg.DiskFullError(),
    asyncpg.InterfaceError("cannot perform operation: connection is closed"),
    DBAPIError("", None, Exception(), connection_invalidated=True),
    nats.errors.NoServersError(),
    nats.errors.TimeoutError(),
    nats.errors.ConnectionClosedError(),
    NoStreamResponseError(),
    ServiceUnavailableError(),
    NotFoundError(),
]
OURS: list[BaseException] = [
    ValueError(),
    AssertionError(),
    Refused("SOME_REASON", "no"),
    asyncpg.UniqueViolationError(),
    asyncpg.CheckViolationError(),
    asyncpg.UndefinedTableError(),
    asyncpg.SerializationError(),
    # What asyncpg raises for an argument that does not fit its column, and for one too few.
    asyncpg.DataError("invalid input for query argument $1: value out of int64 range"),
    asyncpg.InterfaceError("the server expects 2 arguments for this query, 1 was passed"),
    WrappedInterfaceError("", None, Exception()),
]


@pytest.mark.parametrize("error", AWAY, ids=lambda error: type(error).__name__)
def test_a_server_that_is_away_is_waited_for(error: BaseException) -> None:
    assert is_away(error)


@pytest.mark.parametrize("error", OURS, ids=lambda error: type(error).__name__)
def test_a_fault_of_ours_is_not_waited_for(error: BaseException) -> None:
    assert not is_away(error)


@pytest.mark.parametrize("error", [*AWAY, *OURS], ids=lambda error: type(error).__name__)
def test_a_wrapped_fault_is_seen(error: BaseException) -> None:
    wrapped = RuntimeError("wrapped")
    wrapped.__cause__ = error

    assert is_away(wrapped) is is_away(error)


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.SerializationError(),
        asyncpg.DeadlockDetectedError(),
        asyncpg.LockNotAvailableError(),
    ],
)
def test_a_lost_race_may_be_run_again(error: asyncpg.PostgresError) -> None:
    assert may_run_again(error)
    assert not may_run_again(asyncpg.UniqueViolationError())
    assert broken_unique(error) == ""
