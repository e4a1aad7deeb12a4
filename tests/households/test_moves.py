"""Moves: a household lives elsewhere since a day; what was known before stays readable."""

from typing import Any

import grpc
import pytest
from liandong.households.v1 import households_pb2 as pb
from liandong.households.v1 import moves_pb2, standing_pb2

from services.kernel import ids
from services.kernel.status import reason_of
from tests.households.builders import COUNTY, TODAY, VILLAGE
from tests.households.conftest import Door, Registry
from tests.households.village import (
    BANK,
    CENTRE,
    OFFICE,
    STATION,
    after,
    day,
    head,
    paper,
    seen,
    settle,
)

pytestmark = pytest.mark.postgres
NEXT, THIRD = VILLAGE[:9] + "902", VILLAGE[:9] + "903"


def a_move(household_id: str, area_code: str = NEXT, **fields: Any) -> Any:
    right: dict[str, Any] = {
        "household_id": household_id,
        "area_code": area_code,
        "moved_on": day(TODAY),
        "reason": "relocation",
        "evidence": paper(),
    }
    return moves_pb2.MoveHouseholdRequest(**head(), **right | fields)


async def neighbours(door: Door) -> None:
    areas = [
        pb.Area(area_code=code, name="邻村", level=pb.AREA_LEVEL_VILLAGE) for code in (NEXT, THIRD)
    ]
    await door.call("RegisterAreas", pb.RegisterAreasRequest(**head(), areas=areas), who=OFFICE)


async def moves(door: Door, household_id: str, **fields: Any) -> list[moves_pb2.Move]:
    request = moves_pb2.ListMovesRequest(county_code=COUNTY, household_id=household_id, **fields)
    return list((await door.call("ListMoves", request, who=OFFICE)).moves)


async def test_a_household_moves_and_what_was_known_stays(door: Door, registry: Registry) -> None:
    household = await settle(door)
    await neighbours(door)
    await registry.on(after(10))
    request = a_move(household.household_id, moved_on=day(after(5)))

    for who in (STATION, CENTRE, BANK):
        error = await door.refuses("MoveHousehold", request, who=who)
        assert (error.code(), reason_of(error)) == (
            grpc.StatusCode.PERMISSION_DENIED,
            "ROLE_NOT_ALLOWED",
        )
    made = await door.call("MoveHousehold", request, who=OFFICE)
    again = await door.call("MoveHousehold", request, who=OFFICE)

    assert (made, made.version) == (again, 2)
    assert (await seen(door, household.household_id)).area_code == NEXT
    assert (await seen(door, household.household_id, as_of=after(9))).area_code == VILLAGE
    assert await registry.said("household_changed") == [(household.household_id, 2)]
    (told,) = await moves(door, household.household_id)
    assert (told.from_area_code, told.to_area_code) == (VILLAGE, NEXT)
    assert (told.moved_on, told.reason) == (day(after(5)), "relocation")
    assert (told.provenance.source_id, told.provenance.evidence) == ("poverty_office-1", paper())
    assert await moves(door, household.household_id, as_of=day(after(9))) == []


async def test_a_move_that_cannot_be_is_refused_with_its_field(
    door: Door, registry: Registry
) -> None:
    household = await settle(door)
    await neighbours(door)
    await registry.on(after(10))
    household_id = household.household_id
    await door.call("MoveHousehold", a_move(household_id, moved_on=day(after(5))), who=OFFICE)
    wrong = {
        "AREA_UNKNOWN": a_move(household_id, VILLAGE[:9] + "999", moved_on=day(after(6))),
        "AREA_OF_ANOTHER_COUNTY": a_move(household_id, "110101" + VILLAGE[6:]),
        "AREA_TOO_WIDE": a_move(household_id, VILLAGE[:9]),
        "DATE_IN_FUTURE": a_move(household_id, THIRD, moved_on=day(after(11))),
        "DATE_TOO_EARLY": a_move(household_id, THIRD, moved_on=day(after(4))),
        "AREA_UNCHANGED": a_move(household_id, moved_on=day(after(6))),
        "HOUSEHOLD_NOT_FOUND": a_move(str(ids.new_id())),
    }

    for reason, request in wrong.items():
        assert reason_of(await door.refuses("MoveHousehold", request, who=OFFICE)) == reason
    died = standing_pb2.ChangeStatusRequest(
        **head(),
        household_id=household_id,
        status=pb.REGISTRATION_STATUS_DECEASED,
        effective_on=day(after(10)),
        reason="died_out",
        evidence=paper(),
    )
    await door.call("ChangeStatus", died, who=OFFICE)
    gone = await door.refuses(
        "MoveHousehold", a_move(household_id, THIRD, moved_on=day(after(10))), who=OFFICE
    )

    assert reason_of(gone) == "HOUSEHOLD_DECEASED"
    assert (await seen(door, household_id)).area_code == NEXT
