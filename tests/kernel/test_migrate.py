"""Migrations: repeatable, one at a time, and they leave the service only what it needs."""

import asyncio
import sys

import asyncpg
import pytest
from sqlmodel import SQLModel

from deploy.local.places import project_folder
from services.kernel import migrate, tables
from tests.kernel.conftest import FARM
from tests.servers import Schema

pytestmark = pytest.mark.postgres

PROGRAM = """
import asyncio, sys
from services.kernel import migrate
asyncio.run(migrate.upgrade(*sys.argv[1:]))
"""
ROWS = [
    row
    for row in vars(tables).values()
    if isinstance(row, type) and issubclass(row, SQLModel) and row is not SQLModel
]


async def test_a_migration_that_is_done_is_not_done_again(barns: Schema) -> None:
    await barns.ask("INSERT INTO bin VALUES ('a', 1)")

    await migrate.upgrade(FARM, "barns", barns.owner_dsn)

    assert await barns.one("SELECT count(*) FROM bin") == 1
    assert await barns.one("SELECT version_num FROM alembic_version") == "farm_0001"


async def test_migrators_at_the_same_moment_take_turns(barns: Schema) -> None:
    await barns.ask("DROP SCHEMA barns CASCADE")
    await barns.ask("CREATE SCHEMA barns AUTHORIZATION barns_owner")

    children = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            *("-c", PROGRAM, FARM, "barns", barns.owner_dsn),
            cwd=project_folder(),
            stderr=asyncio.subprocess.PIPE,
        )
        for _ in range(2)
    ]
    ends = [await asyncio.wait_for(child.communicate(), 120) for child in children]

    assert [child.returncode for child in children] == [0, 0], ends
    assert await barns.one("SELECT version_num FROM alembic_version") == "farm_0001"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.__tablename__)
async def test_a_row_in_the_code_is_a_row_in_the_database(
    barns: Schema, row: type[SQLModel]
) -> None:
    table = SQLModel.metadata.tables[str(row.__tablename__)]
    found = await barns.ask(
        """SELECT column_name, is_nullable = 'YES' AS nullable FROM information_schema.columns
           WHERE table_schema = 'barns' AND table_name = $1""",
        table.name,
    )

    nullable = {column["column_name"]: column["nullable"] for column in found}
    for column in table.columns:
        assert column.name in nullable
        if column.name in {"business_date", "stream_sequence"} and table.name == "outbox":
            assert nullable[column.name]
        else:
            assert not nullable[column.name], column.name


@pytest.mark.parametrize(
    "verb",
    [
        "UPDATE journal SET amount_fen = 1",
        "UPDATE journal_checkpoint SET rows_sealed = 0",
        "UPDATE idempotency SET response = ''",
        "UPDATE inbox_event SET recorded_at = now()",
        "DELETE FROM inbox_event",
        "DELETE FROM outbox",
        "DELETE FROM parked_event",
        "TRUNCATE effect",
        "DROP TABLE effect",
        "ALTER TABLE effect ADD COLUMN more text",
        "CREATE TABLE mine (a text)",
        "CREATE TABLE public.mine (a text)",
        "ALTER SEQUENCE outbox_position RESTART",
        "CREATE SCHEMA mine",
    ],
)
async def test_the_service_may_not(barns: Schema, verb: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await barns.ask_as_app(verb)


async def test_the_service_may_make_partitions_of_its_log_ahead(barns: Schema) -> None:
    for _ in range(2):
        await barns.ask_as_app("SELECT ensure_outbox_partition('2031-07-01')")
    await barns.ask_as_app("SELECT ensure_outbox_partition('2031-08-17')")

    found = await barns.ask(
        """SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'
             AND relnamespace = 'barns'::regnamespace AND relname LIKE 'outbox_2031%' ORDER BY 1"""
    )
    assert [row["relname"] for row in found] == ["outbox_203107", "outbox_203108"]
    outcomes = await asyncio.gather(
        *(barns.ask_as_app("SELECT ensure_outbox_partition('2031-09-01')") for _ in range(4)),
        return_exceptions=True,
    )
    assert [outcome for outcome in outcomes if isinstance(outcome, BaseException)] == []
