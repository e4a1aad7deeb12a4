"""The driver's arrays: lists and tuples as they are, sets and views through the statements."""

import pytest

from services.kernel import driver
from services.kernel.database import fetch
from services.kernel.walls import EVERY_COUNTY
from tests.conftest import MakeSchema


def test_sets_and_views_become_lists() -> None:
    held = {"a": 1}
    given = ({1}, frozenset({1}), held.keys(), held.values(), [1], (1,), "ab", 1, None)

    assert driver.arrays(given) == [[1], [1], ["a"], [1], [1], (1,), "ab", 1, None]


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
