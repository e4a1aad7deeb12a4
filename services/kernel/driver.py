"""Driver: what of asyncpg is ours, so that an array costs a third to send (decision 0016)."""

from collections.abc import Iterable, Mapping, Sequence, Sized
from datetime import date
from types import NoneType
from uuid import UUID

from asyncpg.pgproto import pgproto
from asyncpg.protocol import protocol

CONTAINERS = (list, tuple)
"""What an array may be given as."""
_USUAL = frozenset({*CONTAINERS, str, int, bool, bytes, date, UUID, pgproto.UUID, NoneType})
"""Types of nearly all arguments: none of them need be looked at."""
_PLAIN = (str, bytes, bytearray, memoryview, Mapping)


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
