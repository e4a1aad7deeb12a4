"""What a national system's list of households is held against; pure."""

from collections.abc import Sequence
from typing import Final

from services.kernel.statements import Cause, Difference, Field, Line, Record, of_cells, within

LISTED: Final = frozenset({"registered_poor", "near_poor", "five_guarantee"})
"""Statuses of households that a national list should show."""

NO_HONOUR: Final = "none"

FIELDS: Final = (
    Field("number", Cause.NUMBER),
    Field("head", Cause.HEAD, hidden=True),
    Field("area_code", Cause.VILLAGE, same=within),
    Field("status", Cause.STATUS),
    Field("people", Cause.PEOPLE),
    Field("registered_on", Cause.REGISTERED_ON),
    Field("honour", Cause.HONOUR),
)

MEMBERS: Final = "members"
"""Of a line and of a record: keyed hashes of the members' identity numbers, in order."""
PERSON: Final = "person:"
"""Of a record, before a hash: the person's id here."""
ELSEWHERE: Final = "elsewhere:"
"""Of a record, before a hash: the number of the household in which the person is here."""
MERGED: Final = "merged"
"""Of a record that is an alias: the household that it was merged into."""


def parts(line: Line, record: Record) -> Sequence[Difference]:
    """Where a line and our household part, its members too; persons are never shown."""
    if MERGED in record.cells:
        merged = Cause.MERGED
        return [Difference(line.record_id, line.line_number, merged, ours=record.cells[MERGED])]
    return [*of_cells(line, record, FIELDS), *_of_members(line, record)]


def _of_members(line: Line, record: Record) -> list[Difference]:
    if MEMBERS not in line.cells or MEMBERS not in record.cells:
        return []
    theirs = line.cells[MEMBERS].split(",")
    ours = [key for key in record.cells[MEMBERS].split(",") if key]
    found: list[Difference] = []
    for place, key in enumerate(theirs, 1):
        if key in ours:
            continue
        elsewhere = record.cells.get(ELSEWHERE + key)
        cause = Cause.MEMBER_MISSING_HERE if elsewhere is None else Cause.MEMBER_ELSEWHERE
        found.append(
            Difference(
                line.record_id,
                line.line_number,
                cause,
                theirs=f"member {place}",
                ours=elsewhere or "",
            )
        )
    return found + [
        Difference(
            line.record_id,
            line.line_number,
            Cause.MEMBER_MISSING_THERE,
            ours=record.cells[PERSON + key],
        )
        for key in ours
        if key not in theirs
    ]
