"""The second wall: rows of another county or institution are not there, whatever is asked."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from google.protobuf import descriptor_pool
from liandong.claims.v1 import policies_pb2
from liandong.credit.v1 import credit_pb2
from liandong.funds.v1 import accounts_pb2, watch_pb2
from liandong.loans.v1 import loans_pb2, notices_pb2, projects_pb2

from services.kernel import database, walls
from services.kernel.caller import Caller
from services.kernel.walls import EVERY_COUNTY, NOBODY, Scope
from tests.conftest import MakeSchema
from tests.servers import Schema, walls_switched

pytestmark = pytest.mark.postgres

NOUNS = ("households", "credit", "loans", "claims", "funds")
HERE, THERE = "520100", "430100"
STALLS = [
    (HERE, "a", "bank-1", "ins-1"),
    (HERE, "b", "bank-2", "ins-2"),
    (HERE, "c", "", ""),
    (THERE, "d", "bank-1", "ins-1"),
]
PROTOS = (accounts_pb2, credit_pb2, loans_pb2, notices_pb2, policies_pb2, projects_pb2, watch_pb2)
"""Loaded, their services are known by name."""
OURS = "SELECT stall_id FROM stall ORDER BY stall_id"


@pytest_asyncio.fixture(loop_scope="session")
async def market(barns: Schema) -> AsyncIterator[Schema]:
    """A table of two counties and four parties."""
    async with barns.db.transaction(EVERY_COUNTY) as session:
        put = (
            "INSERT INTO stall SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])"
        )
        await database.execute(session, put, *database.columns(STALLS, 4))
    yield barns


def caller(role: str, institution_id: str, county_code: str = HERE, method: str = "/x/y") -> Caller:
    return Caller(
        institution_id=institution_id,
        role=role,
        person_id="",
        county_code=county_code,
        areas=(),
        purpose="",
        method=method,
        body_hash="",
    )


async def seen(market: Schema, whom: Caller | Scope) -> str:
    async with market.db.transaction(whom) as session:
        return "".join(row["stall_id"] for row in await database.fetch(session, OURS))


# --- what is seen -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("whom", "wanted"),
    [
        (NOBODY, ""),
        (EVERY_COUNTY, "abcd"),
        (caller("county_centre", "centre-1"), "abc"),
        (caller("auditor", "aud-1", "000000"), "abcd"),
        (caller("county_centre", "centre-9", "999999"), ""),
        (caller("bank", "bank-1"), "ac"),
        (caller("mutual_aid_society", "bank-2"), "bc"),
        (caller("bank", "bank-1", "000000"), "acd"),
        (caller("insurer", "ins-2"), "bc"),
        (caller("insurer", "bank-1"), "c"),
        (walls.of_command(caller("bank", "bank-1")), "abc"),
        (walls.of_command(caller("insurer", "ins-1", "000000")), "abcd"),
    ],
)
async def test_a_caller_reads_its_county_and_there_its_own(
    market: Schema, whom: Caller | Scope, wanted: str
) -> None:
    assert await seen(market, whom) == wanted


async def test_a_read_that_sums_over_others_says_so_and_stays_in_its_county(
    market: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = caller("bank", "bank-1", method="/liandong/Sum")
    assert await seen(market, bank) == "ac"

    monkeypatch.setattr(walls, "ACROSS", {bank.method: "it sums"})

    assert await seen(market, bank) == "abc"
    assert await seen(market, replace(bank, county_code=THERE)) == "d"


def test_every_read_that_crosses_the_wall_is_a_method_and_says_why() -> None:
    assert all(PROTOS)
    for method, why in walls.ACROSS.items():
        service, _, name = method.removeprefix("/").partition("/")
        found = descriptor_pool.Default().FindServiceByName(service)
        assert name in found.methods_by_name, method
        assert "request_id" not in found.methods_by_name[name].input_type.fields_by_name
        assert why.strip(), method


async def test_the_walls_may_be_switched_off_by_a_test_and_by_nobody_else(market: Schema) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await market.ask_as_app(walls_switched(on=False))

    await market.ask(walls_switched(on=False))
    assert await seen(market, NOBODY) == "abcd"
    await market.ask(walls_switched(on=True))
    assert await seen(market, NOBODY) == ""


async def test_without_a_setting_nothing_is_there(market: Schema) -> None:
    assert [tuple(row) for row in await market.ask_as_app("SELECT count(*) FROM stall")] == [(0,)]
    # Nor for the owner: it makes tables, it does not read them.
    owner = await asyncpg.connect(market.owner_dsn)
    try:
        assert await owner.fetchval("SELECT count(*) FROM barns.stall") == 0
    finally:
        await owner.close()


# --- what is written ----------------------------------------------------------------------------


async def test_what_is_another_countys_is_neither_written_nor_changed(market: Schema) -> None:
    ours = walls.of_command(caller("bank", "bank-1"))
    async with market.db.transaction(ours) as session:
        assert await database.execute(session, "UPDATE stall SET insurer_id = 'x'") == 3
        assert await database.execute(session, "DELETE FROM stall WHERE stall_id = 'd'") == 0

    for put in (
        f"INSERT INTO stall VALUES ('{THERE}', 'e', '', '')",
        f"UPDATE stall SET county_code = '{THERE}' WHERE stall_id = 'a'",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            async with market.db.transaction(ours) as session:
                await database.execute(session, put)

    assert [row["insurer_id"] for row in await market.ask("SELECT * FROM stall ORDER BY 2")] == [
        *("x", "x", "x", "ins-1")
    ]


async def test_rows_are_moved_through_a_table_without_walls(market: Schema) -> None:
    names = ("county_code", "stall_id", "lender_id", "insurer_id")
    ours = walls.of_command(caller("bank", "bank-1"))
    with pytest.raises(asyncpg.FeatureNotSupportedError):
        async with market.db.transaction(ours) as session:
            await database.copy(session, "stall", names, [(HERE, "e", "", "")])

    async with market.db.transaction(ours) as session:
        await database.copy_staged(session, "stall", names, [(HERE, "e", "", "")], {})
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with market.db.transaction(ours) as session:
            await database.copy_staged(session, "stall", names, [(THERE, "f", "", "")], {})

    assert await seen(market, EVERY_COUNTY) == "abcde"


async def test_the_scope_costs_no_message_of_its_own(market: Schema) -> None:
    said: list[str] = []

    def hear(record: Any) -> None:
        said.append(record.query)

    async with market.db.transaction(caller("bank", "bank-1")) as session:
        driver = database._driver(session)
        driver.add_query_logger(hear)
        await database.fetch(session, OURS)
    async with market.db.transaction(caller("bank", "bank-2")) as session:
        assert database._driver(session) is driver
        driver.remove_query_logger(hear)

    begin = "BEGIN; SET LOCAL liandong.county = '520100'; SET LOCAL liandong.lender = 'bank-2'"
    assert said == [OURS, "COMMIT;", begin]


# --- every service ------------------------------------------------------------------------------

TABLES = """
    SELECT c.relname::text AS name, c.relrowsecurity AND c.relforcerowsecurity AS forced,
           array_agg(a.attname::text) AS columns,
           (SELECT coalesce(array_agg(p.policyname::text || ' ' || p.permissive || ' ' || p.cmd
                                      || ' ' || coalesce(p.qual, '')
                                      ORDER BY p.policyname), '{}')
            FROM pg_policies p WHERE p.schemaname = $1 AND p.tablename = c.relname) AS policies
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
    WHERE c.relnamespace = $1::regnamespace AND c.relkind IN ('r', 'p')
      AND NOT c.relispartition AND NOT a.attisdropped
    GROUP BY c.oid ORDER BY 1
"""


@pytest.mark.parametrize("noun", NOUNS)
async def test_every_table_with_a_county_has_its_walls(schema: MakeSchema, noun: str) -> None:
    made = await schema(noun)
    walled = 0
    missing = []
    for table in await made.ask(TABLES, noun):
        has = {policy.split(" ", 3)[0]: policy for policy in table["policies"]}
        wanted = {
            "county": "county_code" in table["columns"],
            "lender": {"county_code", "lender_id"} <= set(table["columns"]),
            "insurer": {"county_code", "insurer_id"} <= set(table["columns"]),
        }
        if wanted["county"] and not table["forced"]:
            missing.append(f"{table['name']}: not forced")
        for name, needed in wanted.items():
            if needed is not (name in has):
                missing.append(f"{table['name']}: {name}")
            # Asked for once a statement, not once a row.
            if name in has and has[name].count("( SELECT current_setting(") < 2:
                missing.append(f"{table['name']}: {name} is not the kernel's")
        walled += wanted["county"]

    assert missing == [], "call kernel.migrations.row_walls.raise_walls() in the table's migration"
    assert walled > 5


@pytest.mark.parametrize("noun", NOUNS)
async def test_an_app_is_held_to_its_grants(schema: MakeSchema, noun: str) -> None:
    made = await schema(noun)
    powers = """SELECT rolsuper OR rolbypassrls OR rolcreaterole OR rolreplication AS powers,
                       (SELECT count(*) FROM pg_class WHERE relowner = r.oid) AS owns,
                       (SELECT count(*) FROM pg_auth_members WHERE member = r.oid) AS member_of
                FROM pg_roles r WHERE rolname = $1"""
    found = await made.ask(powers, f"{noun}_app")
    assert [tuple(row) for row in found] == [(False, 0, 0)]

    for statement in (
        "UPDATE journal SET amount_fen = 1",
        "DELETE FROM journal",
        "TRUNCATE journal",
        "UPDATE idempotency SET money = false",
        "DELETE FROM inbox_event",
        "DELETE FROM outbox",
        "ALTER TABLE journal DISABLE ROW LEVEL SECURITY",
        "DROP POLICY county ON journal",
        "ALTER TABLE journal DISABLE TRIGGER ALL",
        "CREATE TABLE mine (x int)",
        f"SET ROLE {noun}_owner",
        "SET session_replication_role = replica",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await made.ask_as_app(statement)
    # What a table is made of is nobody's to enter but through it.
    parts = """SELECT count(*), bool_or(has_table_privilege($1, c.oid, 'SELECT'))
               FROM pg_class c WHERE c.relispartition AND c.relkind = 'r'"""
    count, entered = (await made.ask(parts, f"{noun}_app"))[0]
    assert (count > 0, entered) == (True, False)
    # A session that turns row security off is refused its rows, not given all.
    app = await asyncpg.connect(made.app_dsn, server_settings={"search_path": noun})
    try:
        await app.execute("SET row_security = off")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.fetch("SELECT * FROM journal")
    finally:
        await app.close()


async def test_an_app_does_not_enter_another_nouns_schema(schema: MakeSchema) -> None:
    made = await schema("loans")
    await made.ask("CREATE SCHEMA neighbour")
    await made.ask("CREATE TABLE neighbour.claim (county_code text)")
    for statement in (
        "SELECT * FROM neighbour.claim",
        "INSERT INTO neighbour.claim VALUES ('520100')",
        "CREATE TABLE neighbour.mine (x int)",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="schema neighbour"):
            await made.ask_as_app(statement)
