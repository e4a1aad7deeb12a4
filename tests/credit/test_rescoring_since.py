"""A re-score leaves out whom the one before found right: with the same end as reading everybody."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import polars as pl
import pytest
import pytest_asyncio
from liandong.credit.v1 import rescores_pb2

from services.credit import jobs
from services.credit.model import Indicator, IndicatorRule, Refresh
from services.credit.operations import registry
from services.credit.operations import rescoring as operations
from services.credit.rules import rescoring
from services.credit.store import files as file_store
from services.credit.store import indicators as indicator_store
from services.credit.store import rescoring as store
from services.kernel import business_day
from services.kernel.walls import EVERY_COUNTY
from services.programmes.loader import Catalogue, load_texts
from tests.conftest import MakeSchema
from tests.credit import county, many
from tests.credit.bureau import Bureau
from tests.credit.chained import Desk
from tests.credit.county import COUNTY, OPENED, VILLAGE, a_household, a_scheme, household_id
from tests.servers import Schema

DONE = rescores_pb2.RESCORE_STATE_DONE
OVER = (DONE, rescores_pb2.RESCORE_STATE_FAILED)

# --- rules ----------------------------------------------------------------------------------------


def test_another_program_cluster_pack_or_period_is_another_basis() -> None:
    plain, told = a_scheme("plain@1"), {"code": "c", "cluster": "1"}
    first = rescoring.basis(plain, {}, **told)

    others = [
        rescoring.basis(a_scheme("plain@2"), {}, **told),
        rescoring.basis(replace(a_scheme("gated@1"), ref=plain.ref), {}, **told),
        rescoring.basis(replace(plain, digest="x"), {}, **told),
        rescoring.basis(plain, {"skills": 3}, **told),
        rescoring.basis(plain, {}, code="d", cluster="1"),
        rescoring.basis(plain, {}, code="c", cluster="2"),
    ]

    assert first == rescoring.basis(a_scheme("plain@1"), {}, **told)
    assert len({first, *others}) == 1 + len(others)


# --- over the service -----------------------------------------------------------------------------


@dataclass
class Reads:
    """Whose files re-scores read."""

    read: list[str] = field(default_factory=list)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    """What is read from now on."""
    noted = Reads()
    read_heads = store.read_heads

    async def noting(*args: Any, **named: Any) -> pl.DataFrame:
        heads = await read_heads(*args, **named)
        noted.read += heads["household_id"].to_list()
        return heads

    monkeypatch.setattr(store, "read_heads", noting)
    return noted


_OBSERVE = """
INSERT INTO indicator (county_code, household_id, code, value, observed_on, source_id, person_id)
VALUES ($1, $2, $3, $4, $5, 'court-1', 'p1')
"""
HOUSEHOLDS = 60
LAST = UUID(f"00000000-0000-7000-8000-{HOUSEHOLDS:012x}")
"""The last of a chunk is always read."""


@dataclass
class Few:
    """A few households of which a re-score has just found everything right."""

    made: Schema
    bureau: Bureau
    reads: Reads

    async def good(self) -> UUID:
        """One of them who has a limit, no veto and no item."""
        found: UUID = await self.made.one(
            """SELECT household_id FROM credit_file WHERE grade = 'AA' AND household_id <> $1
               ORDER BY household_id LIMIT 1""",
            LAST,
        )
        return found

    async def again(self, **more: Any) -> rescores_pb2.GetRescoreResponse:
        """Another re-score; what it read is noted anew."""
        self.reads.read.clear()
        answer = await self.bureau.run(**more)
        assert (answer.state, answer.done) == (DONE, HOUSEHOLDS)
        return answer


@pytest_asyncio.fixture(loop_scope="session")
async def few(schema: MakeSchema, reads: Reads) -> Few:
    made = await schema("credit")
    await many.seed(made, HOUSEHOLDS)
    bureau = Bureau(made.db, many.a_catalogue(changed=False))
    assert (await bureau.run()).changed == 0
    return Few(made, bureau, reads)


@asynccontextmanager
async def in_flight(made: Schema, *args: object) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """A transaction that has observed something, and has not come to its end."""
    connection = await asyncpg.connect(
        made.server.dsn_of(made.name), server_settings={"search_path": made.noun}
    )
    try:
        await connection.execute("BEGIN")
        await connection.execute(_OBSERVE, *args)
        yield connection
    finally:
        await connection.close()


async def barred(few: Few) -> set[str]:
    rows = await few.made.ask("SELECT household_id FROM credit_file WHERE barred <> '{}'")
    return {str(row["household_id"]) for row in rows}


@pytest.mark.postgres
async def test_only_those_are_read_of_whom_something_is_new(few: Few) -> None:
    household = await few.good()
    await few.again()
    assert set(few.reads.read) == {*await barred(few), str(LAST)}
    await few.made.ask(_OBSERVE, COUNTY, household, "arrears", 1, many.RESCORED_ON)

    done = await few.again()

    assert str(household) in few.reads.read
    assert set(few.reads.read) == {*await barred(few), str(LAST)}
    assert done.changed == 1
    assert await few.made.one("SELECT count(*) FROM rating WHERE cause = 'rescored'") == 1


@pytest.mark.postgres
async def test_what_a_transaction_in_flight_observed_is_not_missed(few: Few) -> None:
    household = await few.good()
    seen = (COUNTY, household, "arrears", 1, many.RESCORED_ON)

    async with in_flight(few.made, *seen) as late:
        other = (COUNTY, LAST, "elsewhere", 1, many.RESCORED_ON)
        await few.made.ask(_OBSERVE, *other)
        assert (await few.again()).changed == 0
        await late.execute("COMMIT")

    assert (await few.again()).changed == 1
    assert await few.made.one("SELECT vetoes FROM credit_file WHERE household_id = $1", household)


@pytest.mark.postgres
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE credit_file SET honour = 'honest'",
        "UPDATE credit_file SET limit_fen = 0, valid_until = NULL WHERE limit_fen > 0",
        "UPDATE credit_file SET holds = '{lapsed}'",
        "UPDATE credit_file SET rating_id = gen_random_uuid()",
        "UPDATE credit_file SET programme = 'many@0'",
    ],
)
async def test_a_file_that_is_not_as_it_was_found_is_read(few: Few, change: str) -> None:
    household = await few.good()
    await few.again()
    assert str(household) not in few.reads.read

    verb = "AND" if "WHERE" in change else "WHERE"
    await few.made.ask(f"{change} {verb} household_id = $1", household)
    await few.bureau.run(dry_run=True)

    assert str(household) in few.reads.read


@pytest.mark.postgres
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE rescore SET basis = 'another'",
        "UPDATE rescore SET state = 'failed'",
        "UPDATE credit_file SET settled_rating_id = NULL",
    ],
)
async def test_where_nothing_holds_any_more_everybody_is_read(few: Few, change: str) -> None:
    await few.made.ask(change)
    await few.again()
    assert len(few.reads.read) == HOUSEHOLDS

    await few.again()
    assert len(few.reads.read) < HOUSEHOLDS


@pytest.mark.postgres
async def test_a_dry_run_leaves_no_mark(few: Few) -> None:
    await few.made.ask("UPDATE credit_file SET settled_rating_id = NULL")

    for _ in range(2):
        await few.again(dry_run=True)
        assert len(few.reads.read) == HOUSEHOLDS


@pytest.mark.postgres
async def test_a_file_that_changed_since_it_was_read_is_not_settled(few: Few) -> None:
    household = await few.good()
    await few.made.ask("UPDATE credit_file SET settled_rating_id = NULL")
    async with few.made.db.transaction(EVERY_COUNTY) as session:
        heads = await store.read_heads(
            session,
            COUNTY,
            programme_id="many",
            ref="many@1",
            after=operations.BEFORE_ALL,
            limit=HOUSEHOLDS,
            earlier=None,
            months={},
            on=many.RESCORED_ON,
        )
        await few.made.ask(
            "UPDATE credit_file SET honour = 'honest' WHERE household_id = $1", household
        )
        await store.settle(session, COUNTY, heads, ())

    rows = await few.made.ask(
        "SELECT household_id FROM credit_file WHERE settled_rating_id IS NULL"
    )
    assert [row["household_id"] for row in rows] == [household]


@pytest.mark.postgres
async def test_who_was_away_is_read_on_return(few: Few) -> None:
    poor = replace(a_household(), household_id=await few.good())

    async def told(status: str, *, delisted: bool = False) -> bool:
        async with few.made.db.transaction(EVERY_COUNTY) as session:
            if delisted:
                await file_store.delist(session, COUNTY, [poor.household_id])
            word = replace(poor, status=status)
            await file_store.put_households(session, COUNTY, [word], relist=True)
        found: bool = await few.made.one(
            "SELECT settled_rating_id = rating_id IS TRUE FROM credit_file WHERE household_id = $1",
            poor.household_id,
        )
        return found

    assert await told("registered_poor")
    assert not await told("registered_poor", delisted=True)
    await few.made.ask("DELETE FROM rescore")
    await few.again()
    assert await told("registered_poor")
    assert not await told("deceased")
    assert not await told("registered_poor")


@pytest.mark.postgres
async def test_an_observation_of_which_the_day_comes_later_is_read_then(few: Few) -> None:
    household = await few.good()
    soon = many.RESCORED_ON + timedelta(days=2)
    await few.made.ask(_OBSERVE, COUNTY, household, "arrears", 1, soon)
    for expected in (0, 0, 1):
        assert (await few.again()).changed == expected
        await few.made.ask("UPDATE business_day SET business_date = business_date + 1")


# --- the same end, whatever happens ---------------------------------------------------------------

WATCHED = """
programme:
  id: watched
  version: "1"
  extends: plain@1
  effective_from: 2020-01-01
  title: {zh: 观察, en: Watched}
scoring: {observation_months: 6}
"""
ADOPTION = f"{county.ADOPTION}    - {{programme: watched@1, from: 2020-01-01, parties: {{}}}}\n"
PLAIN_IN_OTHER_WORDS = county.PACK.replace("points_centi: -1500", "points_centi: -200")
NUMBERS = range(1, 25)
CHUNK = 7
STEPS = 40
SEED = 0


def a_catalogue(plain: str = county.PACK) -> Catalogue:
    return load_texts(
        {
            "plain@1.yaml": plain,
            "plain@2.yaml": county.PACK_NEXT,
            "gated@1.yaml": county.PACK_GATED,
            "weighed@1.yaml": county.PACK_WEIGHED,
            "undecided@1.yaml": county.PACK_OPEN,
            "watched@1.yaml": WATCHED,
            "adoption.yaml": ADOPTION,
        }
    )


CATALOGUES = (a_catalogue(), a_catalogue(PLAIN_IN_OTHER_WORDS))
_FILES = """
SELECT household_id, household_status, honour, delisted, version, programme, score_centi, grade,
       vetoes, barred, holds, limit_fen, valid_until, granted_on
FROM credit_file ORDER BY household_id
"""
_RATINGS = """
SELECT household_id, cause, programme, rated_on, inputs, honour, score_centi, grade, vetoes,
       base_limit_fen, uplift_fen, limit_fen, valid_until, working, pins
FROM rating ORDER BY household_id, rating_id
"""
_SAID = """
SELECT event_type, aggregate_id, sequence FROM outbox ORDER BY aggregate_id, sequence
"""
_MEASURE = """
INSERT INTO measure (county_code, measure_id, household_id, area_code, kind, code, programme, state,
                     reason, evidence_sha256, effects, amount_fen, proposed_on, from_on, relation,
                     proposed_by, proposed_role, proposed_person)
VALUES ($1, gen_random_uuid(), $2, $3, $4, 'late', $5, 'in_force', 'x', '', '{}', 0, $6, $6,
        'self', 'x', 'x', 'x')
"""


@dataclass
class World:
    """A county in which a history happens; in one of two every re-score reads everybody."""

    made: Schema
    programme_id: str
    reads_all: bool
    desk: Desk = field(init=False)
    bureau: Bureau = field(init=False)
    open: list["asyncpg.Connection[Any]"] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.desk = Desk(self.made.db, CATALOGUES[0])
        self.bureau = Bureau(self.made.db, CATALOGUES[0])

    async def happens(self, what: str, *args: Any) -> object:
        """One step of a history, and what there is to see after it."""
        step: Callable[..., Awaitable[object]] = getattr(self, what)
        return await step(*args)

    async def settles(self) -> None:
        async with self.made.db.transaction(EVERY_COUNTY) as session:
            await business_day.open_day(session, COUNTY, OPENED)
        await self.desk.put(*NUMBERS, status="registered_poor")

    async def observes(self, seen: Sequence[tuple[int, str, int]], lasts: int | None) -> None:
        async with self.made.db.transaction(EVERY_COUNTY) as session:
            today = await business_day.today(session, COUNTY)
            until = None if lasts is None else today + timedelta(days=lasts)
            found = [
                Indicator(household_id(number), code, value, today, until)
                for number, code, value in seen
            ]
            await indicator_store.add_indicators(
                session, COUNTY, found, source_id="cfc-1", person_id="p1"
            )

    async def begins_to_observe(self, number: int, code: str, value: int) -> None:
        today = await self.made.one("SELECT business_date FROM business_day")
        connection = await asyncpg.connect(
            self.made.server.dsn_of(self.made.name), server_settings={"search_path": "credit"}
        )
        self.open.append(connection)
        await connection.execute("BEGIN")
        await connection.execute(_OBSERVE, COUNTY, household_id(number), code, value, today)

    async def ends_an_observation(self) -> None:
        if self.open:
            connection = self.open.pop(0)
            await connection.execute("COMMIT")
            await connection.close()

    async def rates(self) -> object:
        request = self.desk.rate_request(self.programme_id)
        answer = await self.desk.ask("RateHouseholds", request)
        return answer.rated, answer.granted

    async def tells(self, number: int, status: str, honour: str) -> None:
        async with self.made.db.transaction(EVERY_COUNTY) as session:
            told = [a_household(number, status=status, honour=honour)]
            await registry.take_households(
                session, self.bureau.catalogue, COUNTY, told, relist=status == "registered_poor"
            )

    async def delists(self, number: int) -> None:
        async with self.made.db.transaction(EVERY_COUNTY) as session:
            await registry.delist_households(session, COUNTY, [household_id(number)])

    async def measures(self, number: int, kind: str) -> None:
        today = await self.made.one("SELECT business_date FROM business_day")
        who = (household_id(number), VILLAGE)
        await self.made.ask(_MEASURE, COUNTY, *who, kind, self.programme_id, today)

    async def ends_measures(self) -> None:
        await self.made.ask("UPDATE measure SET state = 'ended'")

    async def closes(self, days: int) -> None:
        async with self.made.db.transaction(EVERY_COUNTY) as session:
            today = await business_day.today(session, COUNTY)
            await jobs.close_day(self.bureau.catalogue)(session, COUNTY, today)
            await business_day.open_day(session, COUNTY, today + timedelta(days=days))

    async def declares(self, code: str, refresh: Refresh) -> None:
        rule = IndicatorRule(code, code, 0, 100, "", refresh, ("county_centre",))
        async with self.made.db.transaction(EVERY_COUNTY) as session:
            await indicator_store.add_rules(
                session, COUNTY, self.programme_id, [rule], by="x", person_id="x", on=OPENED
            )

    async def rewords(self, which: int) -> None:
        self.bureau.catalogue = CATALOGUES[which]

    async def rescores(self, meanwhile: Sequence[Any], dry_run: bool, cut: bool) -> object:
        if self.reads_all:
            await self.made.ask("UPDATE rescore SET basis = ''")
        rescore_id = await self.bureau.start(programme_id=self.programme_id, dry_run=dry_run)
        await self.bureau.advance()
        for what, *args in meanwhile:
            await self.happens(what, *args)
        if cut:
            async with self.made.db.transaction(EVERY_COUNTY) as session:
                await operations.fail(session, COUNTY, UUID(rescore_id), "CUT")
        while (await self.bureau.get(rescore_id)).state not in OVER:
            await self.bureau.advance()
        answer = await self.bureau.get(rescore_id)
        moves = sorted((m.grade_from, m.grade_to, m.households) for m in answer.moves)
        lacking = answer.counties[0].incomplete
        return answer.state, answer.done, answer.changed, lacking, moves, await self.state()

    async def state(self) -> object:
        return [
            [tuple(row) for row in await self.made.ask(sql)] for sql in (_FILES, _RATINGS, _SAID)
        ]


class Chance:
    """Makes a history up; of one programme the same one each time."""

    def __init__(self, programme_id: str) -> None:
        self.any = random.Random(f"{programme_id}/{SEED}")
        self.codes = ["skills", "late", "skills", "late", "arrears", "able_to_work"]
        self.values = [0, 1]
        if programme_id == "weighed":
            self.codes, self.values = ["integrity", "labour"], [30, 60, 70, 100]

    def history(self) -> list[Any]:
        begin = [(n, code, self.any.choice(self.values)) for n in NUMBERS for code in self.codes]
        begin += [(n, code, 1) for n in NUMBERS for code in ("able_to_work", "has_project")]
        told: list[Any] = [("settles",), ("observes", begin, None), ("rates",), self.rescore()]
        for _ in range(STEPS):
            told += [self.step(), self.rescore()] if self.any.random() < 0.5 else [self.step()]
        return [*told, self.rescore(sound=True), self.rescore(sound=True)]

    def rescore(self, *, sound: bool = False) -> Any:
        kind = 1 if sound else self.any.random()
        meanwhile = [self.step() for _ in range(self.any.choice([0, 0, 2]))]
        return "rescores", meanwhile, kind < 0.15, 0.15 <= kind < 0.25

    def number(self) -> int:
        return self.any.choice(NUMBERS)

    def seen(self) -> tuple[int, str, int]:
        return self.number(), self.any.choice(self.codes), self.any.choice(self.values)

    def step(self) -> Any:
        lasts = self.any.choice([None, None, 3, 60])
        poor = "registered_poor"
        choices: list[Any] = [
            ("observes", [self.seen()], lasts),
            ("observes", [self.seen(), self.seen(), self.seen()], lasts),
            ("begins_to_observe", *self.seen()),
            ("ends_an_observation",),
            ("ends_an_observation",),
            ("tells", self.number(), poor, self.any.choice(["", "honest"])),
            ("tells", self.number(), self.any.choice([poor, "deceased"]), ""),
            ("tells", self.any.choice(NUMBERS[:3]), self.any.choice([poor, "deceased"]), ""),
            ("delists", self.any.choice(NUMBERS[:3])),
            ("measures", self.number(), self.any.choice(["waiver", "demotion"])),
            ("ends_measures",),
            ("closes", self.any.choice([1, 1, 5, 70])),
            ("closes", 1),
            ("declares", self.any.choice(self.codes), self.any.choice(list(Refresh)))
            if self.any.random() < 0.3
            else ("closes", 1),
            ("rates",) if self.any.random() < 0.2 else ("ends_measures",),
            ("rewords", self.any.randrange(2)) if self.any.random() < 0.3 else ("closes", 1),
        ]
        return self.any.choice(choices)


@pytest.mark.postgres
@pytest.mark.parametrize("programme_id", ["plain", "gated", "weighed", "watched"])
async def test_who_is_left_out_would_have_stayed_as_he_was(
    schema: MakeSchema, reads: Reads, monkeypatch: pytest.MonkeyPatch, programme_id: str
) -> None:
    monkeypatch.setattr(operations, "CHUNK", CHUNK)
    worlds = [World(await schema("credit"), programme_id, all_) for all_ in (False, True)]
    counts = [0, 0]
    try:
        for at, (what, *args) in enumerate(Chance(programme_id).history()):
            seen = []
            for which, world in enumerate(worlds):
                reads.read.clear()
                seen.append(await world.happens(what, *args))
                counts[which] += len(reads.read)
            assert seen[0] == seen[1], (at, what, args)
    finally:
        for world in worlds:
            for connection in world.open:
                await connection.close()
    assert counts[0] < counts[1]
