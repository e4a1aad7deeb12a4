"""The driver's arrays: lists and tuples as they are, sets and views through the statements."""

import pytest
from liandong.credit.v1 import events_pb2

from services.kernel import driver
from services.kernel.database import fetch
from services.kernel.walls import EVERY_COUNTY
from tests.conftest import MakeSchema


def test_sets_and_views_become_lists() -> None:
    held = {"a": 1}
    found = events_pb2.HouseholdVetoed(vetoes=["late"]).vetoes
    given = ({1}, held.keys(), held.values(), range(2), found, [1], (1,), held, "ab", b"a", 1, None)

    made = [[1], ["a"], [1], [0, 1], ["late"], [1], (1,), held, "ab", b"a", 1, None]
    assert driver.arrays(given) == made


@pytest.mark.postgres
@pytest.mark.parametrize("given", [[1, 2], (1, 2), {1, 2}, {1: 0, 2: 0}.keys()])
async def test_every_container_is_an_array(schema: MakeSchema, given: object) -> None:
    made = await schema("loans")
    async with made.db.transaction(EVERY_COUNTY) as session:
        [row] = await fetch(session, "SELECT $1::bigint[] AS one, $2::text[] AS two", given, ["ab"])

    assert (sorted(row["one"]), row["two"]) == ([1, 2], ["ab"])


@pytest.mark.postgres
async def test_a_list_of_lists_is_an_array_of_two_dimensions(schema: MakeSchema) -> None:
    made = await schema("loans")
    async with made.db.transaction(EVERY_COUNTY) as session:
        [row] = await fetch(session, "SELECT $1::bigint[][] AS held", [[1, 2], [3, 4]])

    assert row["held"] == [[1, 2], [3, 4]]
