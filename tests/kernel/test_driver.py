"""The driver's arrays: lists and tuples as they are, sets and views through the statements."""

from typing import Any

import asyncpg
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


@pytest.mark.postgres
async def test_the_server_is_asked_about_a_type_of_its_own_once_for_all_connections(
    schema: MakeSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[frozenset[int]] = []
    ask = vars(asyncpg.Connection)["_introspect_types"]

    async def noting(self: Any, typeoids: Any, seconds: Any) -> Any:
        asked.append(frozenset(typeoids))
        return await ask(self, typeoids, seconds)

    monkeypatch.setattr(asyncpg.Connection, "_introspect_types", noting)
    monkeypatch.setattr(driver, "_told", {})
    made = await schema("loans")
    url = made.app_dsn
    server = {"search_path": "loans"}
    connections = [
        await asyncpg.connect(url, connection_class=driver.LeanConnection, server_settings=server)
        for _ in range(3)
    ]
    for connection in connections:
        found = await connection.fetchrow(
            "SELECT $1::uuid[] AS ids, $2::text[] AS names", [], ["a"]
        )
        assert found is not None
        assert (found["ids"], found["names"]) == ([], ["a"])
    fixed = list(asked)
    # A table's row is a type of this database alone.
    for connection in connections:
        await connection.fetch("SELECT l FROM loan AS l")
        await connection.close()

    assert len(fixed) == 1
    own = [each for each in asked[1:] if max(each) >= driver.FIXED_BELOW]
    assert len(own) == 3
