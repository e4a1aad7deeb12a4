"""Joining: statements that write, which have nothing to do with one another, as one statement."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

REMEMBERED_MAX: Final = 1_000

_WRITES = re.compile(r"\s*(?:INSERT INTO|UPDATE|DELETE FROM) (\w+)\b")
_PARAMETER = re.compile(r"\$(\d+)")


def _written(sql: str) -> str:
    """The table that a statement writes."""
    found = _WRITES.match(sql)
    assert found is not None, f"not a plain statement that writes: {sql[:60]}"
    return found[1]


def _names(sql: str, table: str) -> bool:
    return re.search(rf"\b{table}\b", sql) is not None


@lru_cache(maxsize=REMEMBERED_MAX)
def are_apart(one: str, other: str) -> bool:
    """
    Whether neither statement names what the other writes.

    Statements that are joined all see the tables as they were before, so these may be joined.
    """
    ours, theirs = _written(one), _written(other)
    return not _names(one, theirs) and not _names(other, ours)


@lru_cache(maxsize=REMEMBERED_MAX)
def joined(statements: tuple[str, ...]) -> str:
    """Statements as one, their parameters one after the other's."""
    assert all(map(_written, statements))
    *before, last = _numbered(statements)
    if not before:
        return last
    parts = ", ".join(f"joined_{place} AS ({sql})" for place, sql in enumerate(before))
    return f"WITH {parts} {last}"


def _numbered(statements: Sequence[str]) -> list[str]:
    found: list[str] = []
    taken = 0
    for sql in statements:
        found.append(_shifted(sql, taken))
        taken += max((int(number) for number in _PARAMETER.findall(sql)), default=0)
    return found


def _shifted(sql: str, by: int) -> str:
    return _PARAMETER.sub(lambda found: f"${int(found[1]) + by}", sql)
