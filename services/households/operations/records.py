"""A national system's list of households held against the registry."""

from collections import ChainMap
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.households.rules import records as rules
from services.households.store import listed as store
from services.households.store.listed import Listed, Seat
from services.kernel.statement_desk import StatementDesk
from services.kernel.statements import Line, Record, Statement
from services.kernel.values import replace

SEES_ALL: Final = frozenset({"county_centre", "poverty_office", "auditor"})


def desk() -> StatementDesk:
    """Where lists of households are taken in; no money is in them."""
    return StatementDesk(_ours, rules.parts, sees_all=SEES_ALL)


def _people_of(lines: Sequence[Line]) -> set[str]:
    found = {line.cells["head"] for line in lines if "head" in line.cells}
    return found.union(
        *(line.cells[rules.MEMBERS].split(",") for line in lines if rules.MEMBERS in line.cells)
    )


async def _ours(
    session: AsyncSession, statement: Statement, lines: Sequence[Line]
) -> tuple[Sequence[Line], Mapping[str, Record]]:
    """The lines by our ids, and our households as known at the end of the list's day."""
    county_code, as_of = statement.county_code, statement.as_of
    households = {
        each.household_id: each for each in await store.households_on(session, county_code, as_of)
    }
    by_number = {each.household_number: each.household_id for each in households.values()}
    named = {by_number[line.record_id] for line in lines if line.record_id in by_number}
    seats = await store.seats_on(
        session, county_code, as_of, households=named, people=_people_of(lines)
    )
    by_head = {seat.identity_key: seat.household_id for seat in seats if seat.is_head}
    found = [_ours_of(line, by_number, by_head) for line in lines]
    late = {_id for line in found if (_id := _household(line)) is not None} - named
    if late:
        # Found by their heads: their other members were not read yet.
        seats = await store.seats_on(
            session, county_code, as_of, households=named | late, people=_people_of(lines)
        )
    records = _records(households, seats)
    return found, {record.record_id: record for record in records}


def _household(line: Line) -> UUID | None:
    try:
        return UUID(line.record_id)
    except ValueError:
        return None


def _ours_of(line: Line, by_number: Mapping[str, UUID], by_head: Mapping[str, UUID]) -> Line:
    """The line with our id: by the household's number, or else by its head."""
    ours = by_number.get(line.record_id) or by_head.get(line.cells.get("head", ""))
    return line if ours is None else replace(line, record_id=str(ours))


def _records(households: Mapping[UUID, Listed], seats: Sequence[Seat]) -> list[Record]:
    of_household: dict[UUID, list[Seat]] = {}
    elsewhere: dict[str, str] = {}
    for seat in seats:
        of_household.setdefault(seat.household_id, []).append(seat)
        if seat.household_id in households:
            number = households[seat.household_id].household_number
            elsewhere[rules.ELSEWHERE + seat.identity_key] = number
    return [
        _record(each, of_household.get(each.household_id, ()), elsewhere)
        for each in households.values()
    ]


def _record(each: Listed, seats: Sequence[Seat], elsewhere: dict[str, str]) -> Record:
    record_id = str(each.household_id)
    if each.survivor_id is not None:
        return Record(record_id, {rules.MERGED: str(each.survivor_id)}, expected=False)
    cells = {
        "number": each.household_number,
        "area_code": each.area_code,
        "status": each.status,
        "people": str(each.member_count),
        "registered_on": str(each.registered_on),
        "honour": each.honour or rules.NO_HONOUR,
    }
    if seats:
        cells[rules.MEMBERS] = ",".join(seat.identity_key for seat in seats)
        cells |= {rules.PERSON + seat.identity_key: str(seat.person_id) for seat in seats}
    for seat in seats:
        if seat.is_head:
            cells["head"] = seat.identity_key
    # Where everybody is, is one table for all records.
    known = ChainMap(cells, elsewhere)
    return Record(record_id, known, expected=each.status in rules.LISTED)
