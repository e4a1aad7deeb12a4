"""Driver: what of asyncpg is ours, so that an array costs a third to send (decision 0016)."""

from collections.abc import Collection, Iterable, Mapping, Sequence, Sized
from datetime import date
from types import NoneType, SimpleNamespace
from typing import Any, Final
from uuid import UUID

import asyncpg
from asyncpg.pgproto import pgproto
from asyncpg.protocol import protocol

CONTAINERS = (list, tuple)
"""What an array may be given as."""
_USUAL = frozenset({*CONTAINERS, str, int, bool, bytes, date, UUID, pgproto.UUID, NoneType})
"""Types of nearly all arguments: none of them need be looked at."""
_PLAIN = (str, bytes, bytearray, memoryview, Mapping)

FIXED_BELOW: Final = 10_000
"""Types with lesser numbers are PostgreSQL's own, the same in every database and version."""
_told: dict[frozenset[int], Sequence[asyncpg.Record]] = {}
_NOT_ASKED = SimpleNamespace(name="not asked")


class LeanConnection(asyncpg.Connection):
    """
    Asks the server about a type of its own only where no connection of this process has yet.

    The library asks on every connection, for every new set of types in a statement: milliseconds
    each, in the midst of the first calls that a connection serves.
    """

    __slots__ = ()

    async def _introspect_types(self, typeoids: Collection[int], seconds: float | None) -> Any:
        asked = frozenset(typeoids)
        if asked in _told:
            # The statement's name tells that the one being prepared still stands.
            return _told[asked], _NOT_ASKED
        types, statement = await super()._introspect_types(typeoids, seconds)  # type: ignore[misc]
        if max(asked) < FIXED_BELOW:
            _told[asked] = types
        return types, statement


def lighten() -> None:
    """
    Let the driver know containers by their type.

    It asks of every element of every array whether it is a container itself, through the abstract
    classes of `collections.abc`: two thirds of what an array costs. Lists of lists go on working.
    """
    held = vars(protocol)
    assert "IterableABC" in held, "another driver: measure what an array costs, then mend or drop"
    held["IterableABC"] = CONTAINERS


def arrays(args: Sequence[object]) -> list[object]:
    """Arguments with every other container (a set, a view, a message's field) as a list."""
    return [each if type(each) in _USUAL or not _is_array(each) else _listed(each) for each in args]


def _is_array(value: object) -> bool:
    return (
        isinstance(value, Iterable) and isinstance(value, Sized) and not isinstance(value, _PLAIN)
    )


def _listed(value: object) -> list[object]:
    assert isinstance(value, Iterable)
    return list(value)
