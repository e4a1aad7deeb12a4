"""PostgreSQL of this machine: kept data, recovered folders, roles that see only their own."""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from deploy import postgres as files
from deploy.local import places
from deploy.local.places import DataFolder, FolderInUseError, Places
from deploy.local.postgres import Postgres
from deploy.local.processes import Backoff, Supervisor, launcher, remove_folder
from tests import platforms
from tests.deploy.hindered import (
    TakenAtOnce,
    as_program,
    free_again,
    given_up,
    listening,
    never_ready,
)
from tests.deploy.test_processes import eventually, is_alive

pytestmark = pytest.mark.postgres

NOUNS = ("households", "loans")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def made() -> AsyncIterator[DataFolder]:
    """A folder as a first start and a clean stop leave it."""
    machine = places.find()
    folder = machine.folder(f"test-{secrets.token_hex(6)}")
    server = Postgres(machine, folder)
    try:
        await server.start()
        await server.stop()
        yield folder
    finally:
        await server.stop()
        await remove_folder(folder)


@pytest_asyncio.fixture(loop_scope="session")
async def postgres(
    machine: Places, folder: DataFolder, made: DataFolder
) -> AsyncIterator[Postgres]:
    await asyncio.to_thread(platforms.copy, made.path, folder)
    server = Postgres(machine, folder)
    yield server
    await server.stop()


async def say(server: Postgres, *statements: str) -> None:
    connection = await asyncpg.connect(server.superuser_dsn("postgres"))
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def ask(server: Postgres, query: str, database: str = "postgres") -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(server.superuser_dsn(database))
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def write_row(server: Postgres) -> None:
    await say(server, "CREATE TABLE kept (fen bigint)", "INSERT INTO kept VALUES (700)")


async def assert_row_is_kept(server: Postgres) -> None:
    assert await ask(server, "SELECT fen FROM kept") == [(700,)]


class WithInstall(Places):
    """A machine whose PostgreSQL is what lies in its root."""

    def postgres_install(self) -> Path:
        return self.root


async def test_rows_and_port_are_kept_over_a_restart(postgres: Postgres) -> None:
    await postgres.start()
    await write_row(postgres)
    port = postgres.port

    await postgres.restart()

    assert postgres.port == port
    await assert_row_is_kept(postgres)


async def test_committed_rows_survive_kill_9(postgres: Postgres) -> None:
    await postgres.start()
    await write_row(postgres)

    await postgres.kill()
    assert postgres.pid is None
    await postgres.start()

    await assert_row_is_kept(postgres)


async def test_a_supervisor_brings_a_killed_server_back(
    machine: Places, folder: DataFolder
) -> None:
    postgres = Postgres(machine, folder)
    async with Supervisor(backoff=Backoff(delay_seconds_min=0.01)) as supervisor:
        await supervisor.start(postgres)
        await write_row(postgres)
        port = postgres.port
        pid = int((folder.path / "run" / "postgres.pid").read_text())

        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: supervisor.restarts("postgres") == 1)

        assert postgres.port == port
        await assert_row_is_kept(postgres)


KILLED = """
import asyncio, sys
from deploy.local import places
from deploy.local.postgres import Postgres

async def main():
    machine = places.find()
    server = Postgres(machine, machine.folder(sys.argv[1]))
    await server.start()
    print(server.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_a_folder_is_usable_after_its_supervisor_was_killed(postgres: Postgres) -> None:
    await postgres.start()
    await write_row(postgres)
    await postgres.stop()
    supervisor = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", KILLED, postgres._folder.path.name),
        stdout=asyncio.subprocess.PIPE,
    )
    assert supervisor.stdout is not None
    pid = int(await asyncio.wait_for(supervisor.stdout.readline(), 60))
    with pytest.raises(FolderInUseError):
        await postgres.start()

    supervisor.kill()
    await supervisor.wait()
    await postgres.start()

    assert not is_alive(pid)
    await assert_row_is_kept(postgres)


async def test_a_live_orphan_is_stopped_before_the_start(postgres: Postgres) -> None:
    await postgres.start()
    await write_row(postgres)
    port = postgres.port
    await postgres.stop()
    cluster = postgres._cluster()
    orphan = await asyncio.create_subprocess_exec(
        *launcher(user=postgres._folder.user),
        *(str(postgres.bin / "postgres"), "-D", str(cluster), "-p", str(port)),
        *("-c", "unix_socket_directories="),
        cwd=cluster,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    pid_file = cluster / "postmaster.pid"
    await eventually(lambda: pid_file.exists() and "ready" in pid_file.read_text())

    await postgres.start()

    assert await asyncio.wait_for(orphan.wait(), 20) == 0
    assert postgres.port == port
    await assert_row_is_kept(postgres)


async def test_a_pid_file_that_now_names_a_stranger_is_forgotten(postgres: Postgres) -> None:
    await postgres.start()
    await postgres.kill()
    pid_file = postgres._cluster() / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    stranger = await asyncio.create_subprocess_exec(
        *launcher(user=postgres._folder.user), "/bin/sleep", "60"
    )
    try:
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")

        await postgres.start()

        assert stranger.returncode is None
    finally:
        stranger.kill()
        await stranger.wait()


async def test_a_port_taken_by_a_stranger_is_chosen_anew(postgres: Postgres) -> None:
    await postgres.start()
    await write_row(postgres)
    port = postgres.port
    await postgres.stop()

    with listening(port):
        await postgres.start()

    assert postgres.port != port
    await assert_row_is_kept(postgres)


async def test_a_port_taken_after_it_was_found_free_is_chosen_anew(
    machine: Places, folder: DataFolder
) -> None:
    with TakenAtOnce.of(folder, "postgres") as raced:
        server = Postgres(machine, raced)
        await server.start()
        try:
            assert server.port != raced.taken
            # The next start looks for it where it was found.
            assert folder.port("postgres") != raced.taken
            await write_row(server)
            await assert_row_is_kept(server)
        finally:
            await server.stop()


@pytest.mark.parametrize("program", ["initdb", "postgres"])
async def test_a_start_that_is_given_up_leaves_nobody_running(
    folder: DataFolder, program: str
) -> None:
    install = folder.path / "install"
    (install / "bin").mkdir(parents=True)
    running = folder.served("postgres") / "running"
    programs = {"initdb": 'mkdir "$2"\n', "postgres": ""} | {program: never_ready(running)}
    for name, lines in programs.items():
        as_program(install / "bin" / name, lines)
    server = Postgres(WithInstall(root=install, user=folder.user), folder)

    await given_up(server.start(), running)

    assert server.pid is None
    assert not (folder.path / "run" / "postgres.pid").exists()
    free_again(folder, "postgres")


async def test_two_folders_run_at_once_and_share_nothing(
    machine: Places, postgres: Postgres
) -> None:
    other_folder = machine.folder(f"{postgres._folder.path.name}-b")
    other = Postgres(machine, other_folder)
    try:
        await asyncio.gather(postgres.start(), other.start())
        await write_row(postgres)

        assert await ask(other, "SELECT 1 FROM pg_class WHERE relname = 'kept'") == []
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(
                postgres.superuser_dsn("postgres").replace(str(postgres.port), str(other.port))
            )
    finally:
        await other.stop()
        await remove_folder(other_folder)


async def test_what_is_committed_is_on_checked_pages_on_disk(postgres: Postgres) -> None:
    await postgres.start()

    found = await ask(postgres, "SELECT name, setting FROM pg_settings")
    settings = {str(name): setting for name, setting in found}

    wanted = {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "data_checksums": "on",
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "jit": "off",
        "autovacuum_naptime": "10",
        "statement_timeout": "0",
        "server_encoding": "UTF8",
        "TimeZone": "UTC",
    }
    assert {name: settings[name] for name in wanted} == wanted
    rules = "SELECT DISTINCT auth_method FROM pg_hba_file_rules"
    assert await ask(postgres, rules) == [("scram-sha-256",)]


async def test_an_app_sees_only_its_schema_and_makes_nothing(postgres: Postgres) -> None:
    await postgres.start()
    await postgres.prepare(NOUNS)
    owner = await asyncpg.connect(postgres.dsn("loans", "owner"))
    app = await asyncpg.connect(postgres.dsn("loans", "app"))
    other = await asyncpg.connect(postgres.dsn("households", "owner"))
    try:
        await owner.execute("CREATE TABLE loan (loan_id uuid); GRANT SELECT ON loan TO loans_app")
        await other.execute("CREATE TABLE household (name text)")

        assert await app.fetch("SELECT * FROM loan") == []
        await app.execute("CREATE TEMPORARY TABLE staging (loan_id uuid)")
        for statement in (
            "INSERT INTO loan VALUES (NULL)",
            "CREATE TABLE mine (x int)",
            "CREATE TABLE public.mine (x int)",
            "SELECT * FROM households.household",
            "SET ROLE loans_owner",
            "CREATE ROLE another",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await app.execute(statement)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await owner.execute("SELECT * FROM households.household")
    finally:
        for connection in (owner, app, other):
            await connection.close()
    powers = "bool_or(rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb)"
    ours = "WHERE rolname IN ('loans_app', 'loans_owner')"
    assert await ask(postgres, f"SELECT {powers}, count(*) FROM pg_roles {ours}") == [(False, 2)]


ROLES = """
    SELECT rolname::text, rolcanlogin, rolsuper, rolbypassrls, rolconnlimit, setconfig
    FROM pg_roles LEFT JOIN pg_db_role_setting ON setrole = pg_roles.oid
    WHERE rolname !~ '^pg_' ORDER BY 1
"""
SCHEMAS = """
    SELECT nspname::text, nspowner::regrole::text, nspacl::text FROM pg_namespace
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY 1
"""


async def catalogue(server: Postgres) -> list[list[tuple[object, ...]]]:
    acl = "SELECT datacl::text FROM pg_database WHERE datname = 'liandong'"
    return [await ask(server, query, "liandong") for query in (ROLES, SCHEMAS, acl)]


async def test_preparing_again_changes_nothing(postgres: Postgres) -> None:
    await postgres.start()
    await postgres.prepare(NOUNS)
    first, dsn = await catalogue(postgres), postgres.dsn("loans", "app")

    await postgres.prepare(NOUNS)

    assert await catalogue(postgres) == first
    assert postgres.dsn("loans", "app") == dsn


async def test_the_containers_script_makes_the_same_roles_and_schemas(
    machine: Places, folder: DataFolder
) -> None:
    here = Postgres(machine, folder)
    await here.start()
    await here.prepare(NOUNS)
    wanted = await catalogue(here)
    clean = (
        "DROP DATABASE liandong; DROP ROLE loans_owner, loans_app, households_owner, households_app"
    )
    await say(here, *clean.split("; "))
    secret = folder.private("secrets") / "loans_app"
    passwords = {
        "LIANDONG_NOUNS": " ".join(NOUNS),
        "LIANDONG_LOANS_OWNER_PASSWORD": "one",
        "LIANDONG_LOANS_APP_PASSWORD_FILE": str(secret),
        "LIANDONG_HOUSEHOLDS_OWNER_PASSWORD": "it's three",
    }
    script = str(files.FOLDER / "10-nouns.sh")

    environment = {**here.client_environment(), **passwords}
    refused = await asyncio.to_thread(
        subprocess.run, ["sh", script], env=environment, capture_output=True, text=True
    )
    assert refused.returncode != 0
    assert "LIANDONG_HOUSEHOLDS_APP_PASSWORD" in refused.stderr
    environment["LIANDONG_HOUSEHOLDS_APP_PASSWORD"] = "four"
    done = await asyncio.to_thread(subprocess.run, ["sh", script], env=environment)

    assert done.returncode == 0
    assert await catalogue(here) == wanted
    app = await asyncpg.connect(here.dsn("loans", "app"))
    await app.close()
    await here.stop()
