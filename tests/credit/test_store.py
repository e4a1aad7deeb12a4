"""Credit's SQL, on a real PostgreSQL."""

from dataclasses import replace
from datetime import date
from uuid import UUID

import asyncpg
import pytest

from services.credit.model import Indicator
from services.credit.rules import rating as rules
from services.credit.store import files as store
from services.credit.store import indicators as indicator_store
from services.kernel.database import Database, execute, fetch
from services.kernel.ids import new_id
from services.kernel.money import Fen
from services.kernel.walls import EVERY_COUNTY
from tests.credit.county import (
    COUNTY,
    OPENED,
    OTHER_VILLAGE,
    TOWN,
    VILLAGE,
    a_file,
    a_household,
    a_scheme,
    household_id,
    observed,
)

pytestmark = pytest.mark.postgres

START = UUID(int=0)


async def put(db: Database, *numbers: int, area_code: str = VILLAGE) -> None:
    async with db.transaction(EVERY_COUNTY) as session:
        households = [a_household(number, area_code=area_code) for number in numbers]
        await store.put_households(session, COUNTY, households, relist=True)


async def test_a_file_is_read_as_it_was_saved(db: Database) -> None:
    await put(db, 1, 2)
    decisions = [
        rules.rate(
            a_file(a_household(number)), inputs, scheme=a_scheme(), rating_id=new_id(), on=OPENED
        )
        for number, inputs in ((1, observed(skills=1)), (2, observed(arrears=1, dishonesty=1)))
    ]

    async with db.transaction(EVERY_COUNTY) as session:
        await store.add_ratings(session, [d.rating for d in decisions if d.rating])
        await store.save_files(session, [d.file for d in decisions])

    async with db.transaction(EVERY_COUNTY) as session:
        ids = [household_id(2), household_id(1), household_id(3)]
        assert await store.lock_files(session, COUNTY, ids) == [d.file for d in decisions]
        rating = decisions[0].rating
        assert rating is not None
        stored = await store.find_ratings(session, COUNTY, [rating.rating_id])
        assert {key: each.inputs for key, each in stored.items()} == {
            rating.rating_id: observed(skills=1)
        }
        found = await store.find_file(session, COUNTY, household_id(1))
        assert found == (decisions[0].file, rating.working)
        assert await store.find_file(session, COUNTY, household_id(3)) is None


async def test_a_household_told_again_keeps_its_rating(db: Database) -> None:
    await put(db, 1)
    rated = rules.rate(a_file(), {}, scheme=a_scheme(), rating_id=new_id(), on=OPENED).file
    moved = a_household(1, area_code=OTHER_VILLAGE, honour="honest")

    async with db.transaction(EVERY_COUNTY) as session:
        await store.save_files(session, [rated])
        await store.put_households(session, COUNTY, [moved], relist=False)

    async with db.transaction(EVERY_COUNTY) as session:
        assert await store.lock_files(session, COUNTY, [household_id(1)]) == [
            replace(rated, household=moved)
        ]


async def test_a_chunk_goes_on_after_a_household_within_an_area(db: Database) -> None:
    await put(db, 1, 3, 5)
    await put(db, 2, 4, area_code=OTHER_VILLAGE)

    async with db.transaction(EVERY_COUNTY) as session:
        everywhere = await store.lock_chunk(session, COUNTY, COUNTY, after=START, limit=3)
        rest = await store.lock_chunk(session, COUNTY, COUNTY, after=household_id(3), limit=3)
        town = await store.lock_chunk(session, COUNTY, TOWN, after=household_id(1), limit=9)

    assert [f.household_id for f in everywhere] == [household_id(n) for n in (1, 2, 3)]
    assert [f.household_id for f in rest] == [household_id(n) for n in (4, 5)]
    assert [f.household_id for f in town] == [household_id(n) for n in (3, 5)]


async def test_the_delisted_and_the_dead_are_not_in_a_chunk(db: Database) -> None:
    await put(db, 1, 2, 3)
    async with db.transaction(EVERY_COUNTY) as session:
        await store.delist(session, COUNTY, [household_id(1)])
        dead = a_household(2, status="deceased")
        await store.put_households(session, COUNTY, [dead], relist=False)

        chunk = await store.lock_chunk(session, COUNTY, COUNTY, after=START, limit=9)
        listed = await store.list_files(session, COUNTY, COUNTY, after=START, limit=9)

    assert [f.household_id for f in chunk] == [household_id(3)]
    assert len(listed) == 3


async def test_the_last_observation_up_to_the_day_counts(db: Database) -> None:
    await put(db, 1)
    later = date(2021, 2, 1)
    seen = [
        Indicator(household_id(1), "skills", 1, OPENED),
        Indicator(household_id(1), "late", 1, OPENED),
        Indicator(household_id(1), "late", 0, OPENED),
        Indicator(household_id(1), "skills", 0, later),
    ]
    async with db.transaction(EVERY_COUNTY) as session:
        await indicator_store.add_indicators(
            session, COUNTY, seen, source_id="cfc-1", person_id="p1"
        )

        first = await indicator_store.find_inputs(
            session, COUNTY, [household_id(1)], on=OPENED, months={}
        )
        second = await indicator_store.find_inputs(
            session, COUNTY, [household_id(1)], on=later, months={}
        )

    values = [{code: o.value for code, o in f[household_id(1)].items()} for f in (first, second)]
    assert values == [{"skills": 1, "late": 0}, {"skills": 0, "late": 0}]


async def test_only_limits_whose_last_day_has_come_expire(db: Database) -> None:
    await put(db, 1, 2, 3)
    files = [
        rules.rate(a_file(a_household(n)), {}, scheme=a_scheme(), rating_id=new_id(), on=on).file
        for n, on in ((1, OPENED), (2, date(2021, 1, 5)), (3, OPENED))
    ]
    async with db.transaction(EVERY_COUNTY) as session:
        await store.save_files(session, files)

        first = await store.expire_limits(session, COUNTY, date(2022, 1, 4), limit=1)
        second = await store.expire_limits(session, COUNTY, date(2022, 1, 4), limit=2)
        left = await store.lock_files(session, COUNTY, [household_id(n) for n in (1, 2, 3)])

    assert {e.household_id for e in (*first, *second)} == {household_id(1), household_id(3)}
    assert [e.sequence for e in (*first, *second)] == [3, 3]
    assert [file.limit_fen for file in left] == [0, 5_000_000, 0]


async def test_the_totals_count_households_grades_and_limits(db: Database) -> None:
    await put(db, 1, 2)
    rated = rules.rate(a_file(), {}, scheme=a_scheme(), rating_id=new_id(), on=OPENED).file
    async with db.transaction(EVERY_COUNTY) as session:
        await store.save_files(session, [rated])

        assert await store.totals(session, COUNTY) == {
            "credit.households_count": 2,
            "credit.files_graded_count": 1,
            "credit.limit_fen": 5_000_000,
        }


@pytest.mark.parametrize("table", ["indicator", "rating"])
async def test_what_was_observed_and_rated_is_never_changed(db: Database, table: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with db.transaction(EVERY_COUNTY) as session:
            await execute(session, f"UPDATE {table} SET county_code = '990102'")


async def test_a_limit_without_a_grade_is_not_storable(db: Database) -> None:
    await put(db, 1)

    with pytest.raises(asyncpg.CheckViolationError):
        async with db.transaction(EVERY_COUNTY) as session:
            await store.save_files(session, [replace(a_file(), limit_fen=Fen(1))])


async def test_an_empty_list_is_no_work(db: Database) -> None:
    async with db.transaction(EVERY_COUNTY) as session:
        await store.add_ratings(session, [])
        await store.save_files(session, [])
        await indicator_store.add_indicators(session, COUNTY, [], source_id="", person_id="")

        assert await indicator_store.find_inputs(session, COUNTY, [], on=OPENED, months={}) == {}
        assert await fetch(session, "SELECT FROM rating") == []
