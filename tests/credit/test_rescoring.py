"""A county rated again: columns leave nobody out, a dry run writes nothing, changes are said."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from liandong.credit.v1 import rescores_pb2

from services.credit import events_out
from services.credit.model import Cause, CreditFile, Decision, Fact, Last, Observed, Override
from services.credit.operations.rescoring import CHUNK
from services.credit.rules import rating, rescored, rescoring
from services.credit.rules.rescoring import HEADS, OBSERVED, Plan
from services.credit.rules.scheme import Scheme
from services.credit.store import rescoring as store
from services.credit.store.files import _inputs_to_json
from services.kernel.database import execute
from services.kernel.errors import Denied, Invalid, LiandongError, NotFound, Refused
from services.kernel.money import Fen
from services.kernel.walls import EVERY_COUNTY
from services.programmes.loader import load_texts
from tests.conftest import MakeSchema
from tests.credit import many
from tests.credit.bureau import Bureau
from tests.credit.chained import Desk
from tests.credit.county import (
    COUNTY,
    OPENED,
    VILLAGE,
    a_caller,
    a_catalogue,
    a_file,
    a_household,
    a_scheme,
    household_id,
    observed,
)
from tests.servers import Schema

RUNNING = rescores_pb2.RESCORE_STATE_RUNNING
DONE = rescores_pb2.RESCORE_STATE_DONE
FAILED = rescores_pb2.RESCORE_STATE_FAILED
LATER = date(2021, 6, 1)
NEW = household_id(99)
ABOVE = a_caller(county_code="000000")

# --- rules ----------------------------------------------------------------------------------------

VALUES = st.dictionaries(
    st.sampled_from(["skills", "late", "arrears", "dishonesty", "able_to_work", "has_project"]),
    st.integers(0, 1),
)


def a_head(file: CreditFile, *, same_terms: bool) -> pl.DataFrame:
    """A credit file as a re-score reads it."""
    head = {
        "household_id": str(file.household_id),
        "honour": file.household.honour,
        "score_centi": file.score_centi,
        "grade": file.grade,
        "vetoes": ",".join(file.vetoes),
        "barred": ",".join(file.barred),
        "limit_fen": file.limit_fen,
        "valid_until": file.valid_until and file.valid_until.isoformat(),
        "version": file.version,
        "place": "(0,1)",
        "was": 1,
        "plain": not file.holds and (file.limit_fen > 0 or not file.grade),
        "granted": file.granted_on is not None,
        "same_terms": same_terms,
        "settled": False,
        "households": 1,
    }
    return pl.DataFrame([head], schema=HEADS)


def entries(file: CreditFile, seen: Mapping[str, Observed]) -> pl.DataFrame:
    """Observations as a re-score reads them, each with an older one that no longer counts."""
    rows = [
        (str(file.household_id), code, value, on, entry, each.expires_on and str(each.expires_on))
        for code, each in seen.items()
        for value, on, entry in (
            (each.value, str(each.observed_on), each.entry),
            (each.value + 1, str(each.observed_on - timedelta(days=1)), each.entry + 1_000),
            (each.value + 1, str(each.observed_on), each.entry - 1),
        )
    ]
    return pl.DataFrame(rows, schema=OBSERVED, orient="row")


def assert_same(plan: Plan, seen: pl.DataFrame, again: Decision, *, scheme: Scheme) -> None:
    """What columns decided of one household is what the rule says of it, to the last letter."""
    made = again.rating
    assert made is not None
    sealed = rescored.seal(
        plan.decided,
        seen,
        scheme=scheme,
        county_code=made.county_code,
        on=made.rated_on,
        rating_ids=[made.rating_id],
    )
    [row] = sealed.rows(named=True)
    assert row["digest"] == made.digest
    assert row["working"] == made.working
    assert json.loads(row["inputs"]) == json.loads(_inputs_to_json(made.inputs))
    assert row["version"] + row["said"] == again.file.version
    assert row["limit_said"] == (Fact.LIMIT_CHANGED in again.facts)
    assert len(plan.said) == bool(again.facts)
    assert row["vetoes"] == ",".join(made.vetoes) == ",".join(again.file.vetoes)
    assert row["barred"] == ",".join(again.file.barred)
    for name in ("score_centi", "grade", "base_limit_fen", "uplift_fen", "limit_fen", "honour"):
        assert row[name] == getattr(made, name), name
    assert row["valid_until"] == (made.valid_until and str(made.valid_until))
    assert made.pins.holds == ()
    said = [
        (each.event_type, each.sequence, each.message)
        for each in events_out.rescored(made.county_code, sealed, scheme.ref, made.rated_on)
    ]
    assert said == [
        (each.event_type, each.sequence, each.message)
        for each in events_out.decided([again], made.rated_on)
    ]


@settings(deadline=None)
@given(
    before=VALUES,
    after=VALUES,
    honour=st.sampled_from(["", "honest"]),
    refs=st.sampled_from(
        [
            ("plain@1", "plain@1"),
            ("plain@1", "plain@2"),
            ("gated@1", "gated@1"),
            ("plain@1", "gated@1"),
        ]
    ),
    write_all=st.booleans(),
)
def test_whoever_the_columns_leave_alone_would_come_out_the_same(
    before: dict[str, int],
    after: dict[str, int],
    honour: str,
    refs: tuple[str, str],
    write_all: bool,
) -> None:
    then, now = a_scheme(refs[0]), a_scheme(refs[1])
    first = rating.rate(
        a_file(a_household(honour=honour)),
        observed(**before),
        scheme=then,
        rating_id=NEW,
        on=OPENED,
    )
    file = first.file
    heads = a_head(file, same_terms=file.programme == now.ref)
    seen = rescoring.newest(entries(file, observed(**after)), LATER)

    plan = rescoring.plan(heads, seen, scheme=now, on=LATER, write_all=write_all)
    again = rating.rescore(
        file,
        observed(**after),
        scheme=now,
        rating_id=NEW,
        on=LATER,
        standing=rating.NOTHING,
        last=Last(file.limit_fen),
    )

    if len(plan.decided):
        assert_same(plan, seen, again, scheme=now)
    elif file.household_id not in plan.rate:
        assert again.facts == ()
        assert (again.file.grade, again.file.limit_fen) == (file.grade, file.limit_fen)
        assert not write_all or not rating.changes(file, again)
    if file.limit_fen and again.file.limit_fen:
        assert again.file.valid_until == file.valid_until
    assert again.rating is not None
    assert again.rating.cause is Cause.RESCORED
    assert rating.derive_again(again.rating, scheme=now).identical


def rated_again(file: Any, last: Last, **values: int) -> Any:
    return rating.rescore(
        file,
        observed(**values),
        scheme=a_scheme(),
        rating_id=NEW,
        on=LATER,
        standing=rating.NOTHING,
        last=last,
    )


def test_a_limit_that_ran_out_is_not_granted_again_by_a_machine() -> None:
    granted = rating.rate(a_file(), {}, scheme=a_scheme(), rating_id=NEW, on=OPENED).file
    over = replace(granted, limit_fen=Fen(0), valid_until=None)

    first = rated_again(over, Last(granted.limit_fen), skills=1)
    second = rated_again(first.file, Last(first.rating.limit_fen), skills=0)

    assert (first.file.grade, first.file.limit_fen, first.file.holds) == ("AA", 0, ("lapsed",))
    assert (second.file.grade, second.file.limit_fen, second.file.holds) == ("A", 0, ("lapsed",))


def test_what_people_decided_goes_on() -> None:
    override = Override(household_id(7), "AA", None)
    file = rating.rate(
        a_file(),
        {},
        scheme=a_scheme(),
        rating_id=NEW,
        on=OPENED,
        standing=replace(rating.NOTHING, override=override),
    ).file

    again = rated_again(file, Last(file.limit_fen, override), late=1)

    assert (again.file.grade, again.file.score_centi) == ("AA", 8_500)


def test_a_missing_factor_is_counted_not_taken_for_zero() -> None:
    file = a_file()
    seen = rescoring.newest(entries(file, observed(integrity=80)), LATER)

    plan = rescoring.plan(
        a_head(file, same_terms=True),
        seen,
        scheme=a_scheme("weighed@1"),
        on=LATER,
        write_all=True,
    )

    assert (plan.rate, plan.incomplete) == ((), 1)


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("990101", ["990101"]),
        ("990100", ["990101", "990102"]),
        ("990000", ["990101", "990102", "990201"]),
        ("000000", ["980101", "990101", "990102", "990201"]),
        ("970000", []),
    ],
)
def test_a_province_and_a_city_are_all_their_counties(code: str, found: list[str]) -> None:
    counties = ["990201", "990102", "980101", "990101"]

    assert rescoring.counties_in(code, counties) == found


# --- over the service -----------------------------------------------------------------------------


HOUSEHOLDS = 2_500


@pytest_asyncio.fixture(loop_scope="session")
async def county(schema: MakeSchema) -> AsyncIterator[Schema]:
    made = await schema("credit")
    await many.seed(made, HOUSEHOLDS)
    yield made


def moves(answer: rescores_pb2.GetRescoreResponse) -> dict[tuple[str, str], int]:
    return {(each.grade_from, each.grade_to): each.households for each in answer.moves}


GRADES = "SELECT grade, count(*) AS households FROM credit_file GROUP BY grade ORDER BY grade"


@pytest.mark.postgres
async def test_a_rule_change_rates_everybody_and_says_only_what_changed(county: Schema) -> None:
    bureau = Bureau(county.db, many.a_catalogue(changed=True))
    before = {r["household_id"]: r for r in await county.ask("SELECT * FROM credit_file")}

    tried = await bureau.run(dry_run=True)
    written = await county.one("SELECT count(*) FROM rating WHERE cause = 'rescored'")
    done = await bureau.run()

    after = {r["household_id"]: r for r in await county.ask("SELECT * FROM credit_file")}
    differ = {
        key
        for key, row in after.items()
        if any(row[name] != before[key][name] for name in ("score_centi", "grade", "limit_fen"))
    }
    told = await county.ask("SELECT DISTINCT aggregate_id FROM outbox")
    assert written == 0
    assert (tried.state, tried.done, tried.changed) == (DONE, HOUSEHOLDS, len(differ))
    assert moves(tried) == moves(done)
    assert 0 < sum(moves(done).values()) < len(differ) < HOUSEHOLDS
    assert {row["aggregate_id"] for row in told} == {str(key) for key in differ}
    assert {row["programme"] for row in after.values()} == {"many@2"}
    assert all(row["valid_until"] in (None, before[k]["valid_until"]) for k, row in after.items())
    gaps = await county.one(
        """SELECT count(*) FROM (SELECT count(*) AS said, max(sequence) - min(sequence) + 1 AS span
                                 FROM outbox GROUP BY aggregate_id) AS a WHERE said <> span"""
    )
    assert gaps == 0


@pytest.mark.postgres
async def test_without_a_change_nothing_is_written(county: Schema) -> None:
    bureau = Bureau(county.db, many.a_catalogue(changed=False))

    done = await bureau.run()

    assert (done.state, done.households, done.done, done.changed) == (DONE, 2_500, 2_500, 0)
    assert await county.one("SELECT count(*) FROM rating WHERE cause = 'rescored'") == 0
    assert await county.one("SELECT count(*) FROM outbox") == 0


@pytest.mark.postgres
async def test_new_data_change_whom_they_are_about(county: Schema) -> None:
    bureau = Bureau(county.db, many.a_catalogue(changed=False))
    await county.ask(
        """INSERT INTO indicator (county_code, household_id, code, value, observed_on, source_id,
                                  person_id)
           SELECT county_code, household_id, 'arrears', 1, $1, 'court-1', 'p1'
           FROM credit_file WHERE grade = 'AAA'""",
        many.RESCORED_ON,
    )
    (best,) = [r["households"] for r in await county.ask(GRADES) if r["grade"] == "AAA"]

    done = await bureau.run()

    assert (done.changed, moves(done)) == (best, {("AAA", ""): best})
    assert await county.one("SELECT count(*) FROM rating WHERE cause = 'rescored'") == best


@pytest.mark.postgres
async def test_what_is_observed_meanwhile_is_in_no_rating_that_did_not_see_it(
    county: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    bureau = Bureau(county.db, many.a_catalogue(changed=False))
    sql = """INSERT INTO indicator (county_code, household_id, code, value, observed_on, source_id,
                                    person_id)
             SELECT county_code, household_id, unnest($2::text[]), 1, $1, 'court-1', 'p1'
             FROM credit_file WHERE grade = 'AAA'"""
    await county.ask(sql, many.RESCORED_ON, ["arrears"])
    read = store.read_observed

    async def then_more_is_observed(*args: Any, **named: Any) -> pl.DataFrame:
        found = await read(*args, **named)
        await county.ask(sql, many.RESCORED_ON, ["dishonesty", "elsewhere"])
        return found

    monkeypatch.setattr(store, "read_observed", then_more_is_observed)
    await bureau.run()

    rows = await county.ask("SELECT inputs, vetoes FROM rating WHERE cause = 'rescored'")
    assert rows
    for row in rows:
        seen = json.loads(row["inputs"])
        assert seen["arrears"]["value"] == 1
        assert seen.get("dishonesty", {"value": 0})["value"] == 0, "it was not decided upon"
        assert seen["elsewhere"]["value"] == 1, "what no rule reads is kept as it is known"


@pytest.mark.postgres
async def test_a_dry_run_tries_a_version_that_is_not_in_force(county: Schema) -> None:
    texts = {**many.FILES_NEXT, "adoption.yaml": many.ADOPTION}
    bureau = Bureau(county.db, load_texts(texts))

    tried = await bureau.run(dry_run=True, programme="many@2")

    assert tried.counties[0].programme == "many@2"
    assert tried.changed > 0
    for wrong in ({"programme": "many@2"}, {"programme": "plain@1", "dry_run": True}):
        with pytest.raises(Invalid) as refusal:
            await bureau.start(**wrong)
        assert refusal.value.violations[0].field == "programme"


@pytest.mark.postgres
async def test_one_at_a_time_and_by_whom_it_may(county: Schema) -> None:
    bureau = Bureau(county.db, many.a_catalogue(changed=True))
    running = await bureau.start()

    assert (await bureau.get(running)).state == RUNNING
    with pytest.raises(Refused, match="RESCORE_RUNNING"):
        await bureau.start()
    await bureau.start(dry_run=True)
    with pytest.raises(Denied):
        await bureau.start(by=a_caller("bank"))
    with pytest.raises(Denied):
        await bureau.start(by=a_caller(county_code="990102"))
    with pytest.raises(Denied):
        await bureau.start(by=a_caller(areas=(VILLAGE,)))
    with pytest.raises(NotFound, match="RESCORE_NOT_FOUND"):
        await bureau.get(running, by=a_caller("auditor", county_code="990102"))
    with pytest.raises(LiandongError, match="PROGRAMME_NOT_ADOPTED"):
        await bureau.start(programme_id="elsewhere")


@pytest.mark.postgres
async def test_a_province_is_rated_county_by_county(county: Schema) -> None:
    bureau = Bureau(county.db, many.a_catalogue(changed=True))
    with pytest.raises(Denied):
        await bureau.start(county_code="990000")

    rescore_id = await bureau.start(county_code="990000", by=ABOVE)
    await bureau.finish()

    whole = await bureau.get(rescore_id, county_code="990000", by=ABOVE)
    assert (whole.state, [each.county_code for each in whole.counties]) == (DONE, [COUNTY])
    with pytest.raises(NotFound, match="PROGRAMME_NOT_ADOPTED"):
        await bureau.start(county_code="970000", by=ABOVE)


@pytest.mark.postgres
async def test_data_that_no_rule_bears_end_a_re_score_with_their_reason(desk: Desk) -> None:
    bureau = Bureau(desk.db, a_catalogue())
    await desk.put(1)
    weighed = Desk(desk.db, a_catalogue())
    for code in ("integrity", "labour"):
        await weighed.observe(1, **{code: 70})
    await weighed.ask("RateHouseholds", weighed.rate_request("weighed"))
    async with desk.db.transaction(EVERY_COUNTY) as session:
        await execute(
            session,
            """INSERT INTO indicator (county_code, household_id, code, value, observed_on,
                                      source_id, person_id)
               VALUES ($1, $2, 'labour', 700, $3, 'x', 'x')""",
            COUNTY,
            household_id(1),
            OPENED,
        )

    failed = await bureau.run(programme_id="weighed")

    assert failed.state == FAILED
    assert failed.counties[0].failure == "FACTOR_SCORE_OUT_OF_RANGE"
    assert not await bureau.advance()


@pytest.mark.postgres
async def test_what_was_looked_at_ahead_is_looked_at_again_where_it_changed(
    schema: MakeSchema,
) -> None:
    made = await schema("credit")
    await many.seed(made, CHUNK + 500)
    bureau = Bureau(made.db, many.a_catalogue(changed=True))
    await bureau.start()

    assert await bureau.advance()
    ahead = bureau.ahead.chunk
    assert ahead is not None
    assert (ahead.households, ahead.over) == (500, True)
    [moved] = await made.ask(
        """UPDATE credit_file SET honour = 'honest' WHERE household_id =
           (SELECT household_id FROM credit_file WHERE limit_fen > 0
            ORDER BY household_id DESC LIMIT 1) RETURNING household_id"""
    )
    assert not await bureau.advance(), "a file is not as it was read: nothing is written"
    assert await made.one("SELECT done FROM rescore") == CHUNK
    await bureau.finish()

    assert await made.one("SELECT count(*) FROM credit_file WHERE programme <> 'many@2'") == 0
    assert await made.one("SELECT count(*) FROM rating WHERE cause = 'rescored'") == CHUNK + 500
    last = "SELECT honour FROM rating WHERE cause = 'rescored' AND household_id = $1"
    assert await made.one(last, moved["household_id"]) == "honest"


@pytest.mark.postgres
async def test_a_new_day_makes_what_was_looked_at_ahead_stale(schema: MakeSchema) -> None:
    made = await schema("credit")
    await many.seed(made, CHUNK + 500)
    bureau = Bureau(made.db, many.a_catalogue(changed=True))
    await bureau.start()

    assert await bureau.advance()
    await made.ask("UPDATE business_day SET business_date = business_date + 1")
    await bureau.finish()

    days = await made.ask(
        """SELECT rated_on, count(*) AS households FROM rating WHERE cause = 'rescored'
           GROUP BY rated_on ORDER BY rated_on"""
    )
    next_day = many.RESCORED_ON + timedelta(days=1)
    assert [tuple(row) for row in days] == [(many.RESCORED_ON, CHUNK), (next_day, 500)]


@pytest.mark.postgres
async def test_a_chunk_in_another_process_is_left_to_it(county: Schema) -> None:
    bureau = Bureau(county.db, many.a_catalogue(changed=True))
    await bureau.start()
    other = await county.another_database()
    try:
        async with other.transaction(EVERY_COUNTY) as session:
            found = await store.find_running(session)
            assert found is not None
            assert await store.lock(session, *found) is not None
            assert not await bureau.advance()
        assert await bureau.advance()
    finally:
        await other.close()


def test_stale_columns_are_missing_columns() -> None:
    seen = Observed(1, OPENED, 1, expires_on=OPENED, stale=True)

    assert rating.values_of({"skills": seen}) == {}
