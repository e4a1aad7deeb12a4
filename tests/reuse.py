"""A database as it was when it was copied: emptying one takes a tenth of copying one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncpg

    # What a pool hands out does all that a connection does.
    Connection = asyncpg.Connection[Any]

GROWTH_BYTES_MAX = 4 * 1024 * 1024
"""Dead rows are not taken back, so what grew further is not used again."""

_TABLES = """
    SELECT format('%I.%I', n.nspname, c.relname) AS name, pg_relation_size(c.oid) AS bytes
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND c.relpersistence <> 't'
        AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    ORDER BY 1"""
_SEQUENCES = """
    SELECT format('%I.%I', schemaname, sequencename) AS name, last_value, start_value
    FROM pg_sequences ORDER BY 1"""
# A row of a catalogue that is changed is written anew by a later transaction; one that goes is
# missed. Statistics are written in place, and what is temporary ends with its session.
_STRUCTURE = """
    WITH lasting AS (
        SELECT c.oid, c.xmin FROM pg_class c WHERE relpersistence <> 't'
    ), spaces AS (
        SELECT n.oid, n.xmin FROM pg_namespace n WHERE nspname !~ '^pg_(toast_)?temp_'
    ), written (what, xmin) AS (
        SELECT 'class', xmin FROM lasting
        UNION ALL SELECT 'column', a.xmin FROM pg_attribute a JOIN lasting l ON l.oid = a.attrelid
        UNION ALL SELECT 'default', d.xmin FROM pg_attrdef d JOIN lasting l ON l.oid = d.adrelid
        UNION ALL SELECT 'index', i.xmin FROM pg_index i JOIN lasting l ON l.oid = i.indexrelid
        UNION ALL SELECT 'space', xmin FROM spaces
        UNION ALL SELECT 'constraint', c.xmin
            FROM pg_constraint c JOIN spaces s ON s.oid = c.connamespace
        UNION ALL SELECT 'function', xmin FROM pg_proc
        UNION ALL SELECT 'policy', xmin FROM pg_policy
        UNION ALL SELECT 'trigger', xmin FROM pg_trigger
        UNION ALL SELECT 'rule', xmin FROM pg_rewrite
        UNION ALL SELECT 'publication', xmin FROM pg_publication
        UNION ALL SELECT 'grant', xmin FROM pg_default_acl
        UNION ALL SELECT 'extension', xmin FROM pg_extension
    )
    SELECT string_agg(format('%s %s %s', what, many, newest), ', ' ORDER BY what) FROM (
        SELECT what, count(*) AS many, max(xmin::text::bigint) AS newest FROM written GROUP BY what
    ) AS counted"""
_OTHERS_GO = """
    SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()"""
_SETTINGS = """
    SELECT coalesce((SELECT string_agg(setrole || ' ' || setconfig::text, ', ' ORDER BY setrole)
                     FROM pg_db_role_setting WHERE setdatabase = d.oid), '')
        || coalesce(d.datacl::text, '') || d.datconnlimit || d.datallowconn
    FROM pg_database d WHERE d.datname = current_database()"""
_ROWS = "SELECT coalesce(jsonb_agg(to_jsonb(t)), '[]')::text FROM {name} AS t"


@dataclass(frozen=True, slots=True)
class Original:
    """What a migrated database is before anybody has used it."""

    structure: str
    """Of every catalogue how many rows it has and which transaction wrote the newest."""
    settings: str
    """What stands outside of it about it: settings of roles in it, and who may enter."""
    rows: Mapping[str, str]
    """By table, of the few in which the migrations put any."""
    places: Mapping[str, int | None]
    """How far each sequence is."""
    bytes: int


async def remember(connection: "Connection") -> Original:
    """Look at a fresh copy, on a superuser's connection into it."""
    tables = await connection.fetch(_TABLES)
    rows = {
        each["name"]: str(await connection.fetchval(_ROWS.format(name=each["name"])))
        for each in tables
        if each["bytes"]
    }
    sequences = await connection.fetch(_SEQUENCES)
    return Original(
        structure=str(await connection.fetchval(_STRUCTURE)),
        settings=str(await connection.fetchval(_SETTINGS)),
        rows=rows,
        places={each["name"]: each["last_value"] for each in sequences},
        bytes=sum(each["bytes"] for each in tables),
    )


async def put_back(connection: "Connection", original: Original) -> bool:
    """
    Make a used copy what it was; False says that it cannot be and has to be dropped.

    Whoever is connected to it still is sent away, as dropping it would.
    """
    await connection.execute(_OTHERS_GO)
    tables = await connection.fetch(_TABLES)
    grown = sum(each["bytes"] for each in tables) - original.bytes
    if grown > GROWTH_BYTES_MAX:
        return False
    if await connection.fetchval(_STRUCTURE) != original.structure:
        return False
    if await connection.fetchval(_SETTINGS) != original.settings:
        return False
    async with connection.transaction():
        # Neither the triggers that keep rows for ever nor the references between them.
        await connection.execute("SET LOCAL session_replication_role = replica")
        used = [
            each["name"] for each in tables if each["bytes"] and not original.rows.get(each["name"])
        ]
        if used:
            await connection.execute(";".join(f"DELETE FROM {name}" for name in used))
        for name, rows in original.rows.items():
            await _write_again(connection, name, rows)
        for each in await connection.fetch(_SEQUENCES):
            if each["last_value"] != original.places[each["name"]]:
                await _step_back(connection, each, original)
    return True


async def _write_again(connection: "Connection", name: str, rows: str) -> None:
    if await connection.fetchval(_ROWS.format(name=name)) == rows:
        return
    await connection.execute(f"DELETE FROM {name}")
    await connection.execute(
        f"INSERT INTO {name} OVERRIDING SYSTEM VALUE"
        f" SELECT * FROM jsonb_populate_recordset(NULL::{name}, $1::text::jsonb)",
        rows,
    )


async def _step_back(
    connection: "Connection", sequence: "asyncpg.Record", original: Original
) -> None:
    place = original.places[sequence["name"]]
    await connection.execute(
        "SELECT setval($1::text::regclass, $2, $3)",
        sequence["name"],
        sequence["start_value"] if place is None else place,
        place is not None,
    )
