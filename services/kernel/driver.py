"""Driver: what of asyncpg is ours, so that an array costs a third to send (decision 00NN)."""

from collections.abc import Sequence

from asyncpg.protocol import protocol

CONTAINERS = (list, tuple)
"""What an array may be given as."""
_OTHERS = frozenset({set, frozenset, type({}.keys()), type({}.values())})


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
    """Arguments with every set and view as a list."""
    return [list(each) if type(each) in _OTHERS else each for each in args]
