"""Backup: all services at one moment, and a folder that says what it is and that it is whole."""

import asyncio
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import asyncpg

from deploy.local.places import DataFolder, write_file
from deploy.local.postgres import DATABASE, SUPERUSER, Postgres, Role

FORMAT = 1
MANIFEST = "manifest.json"
BASE, WAL, ARCHIVE = "base", "wal", "archive"
KEY_FOLDERS = ("certs", "keys", "secrets")
"""Of a data folder what opens doors and personal data; never in one place with the rows."""

_LOCK_SECONDS = 30
_LOCK_TRIES = 5
_PROGRAM_SECONDS_MAX = 6 * 3_600.0


class BackupError(RuntimeError):
    """A backup cannot be taken, is not whole, or may not go where it is asked to."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment of all services: what each had said, and where it lies in the server's log."""

    point: str
    """Name of the restore point."""
    lsn: str
    taken_at: str
    positions: Mapping[str, int]
    """Of each noun the last event of its outbox; 0 for none."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup is."""

    format: int
    release: str
    postgres_major: int
    system_identifier: str
    moment: Moment
    migrations: Mapping[str, str]
    files: Mapping[str, str]
    """Path in the backup to SHA-256."""

    @classmethod
    def read(cls, backup: Path) -> "Manifest":
        """The manifest of a backup; BackupError for a folder that is none."""
        path = backup / MANIFEST
        if not path.is_file():
            raise BackupError(f"{backup} is no backup: it has no {MANIFEST}")
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if raw.get("format") != FORMAT:
            raise BackupError(f"{path}: format {raw.get('format')}, this release reads {FORMAT}")
        raw["moment"] = Moment(**raw["moment"])
        return cls(**raw)


def dsn_of(folder: DataFolder, noun: str, role: Role) -> str:
    """Where a noun of a data folder has its schema."""
    server = server_of(folder)
    user = f"{noun}_{role}"
    return f"postgresql://{user}:{folder.secret(user)}@{server['PGHOST']}:{server['PGPORT']}/{DATABASE}"


# --- one moment -----------------------------------------------------------------------------------


async def mark_moment(connection: "asyncpg.Connection[Any]", nouns: Sequence[str]) -> Moment:
    """
    Name a moment at which every service has said so much and no more.

    For a few milliseconds nobody writes an event: who had committed is before the point, who comes
    is behind it. What is in no event is in a transaction, and so on one side of it too.
    """
    point = f"liandong-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
    for tries_left in reversed(range(_LOCK_TRIES)):
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
                tables = ", ".join(f"{noun}.outbox" for noun in nouns)
                await connection.execute(f"LOCK TABLE {tables} IN SHARE MODE")
                positions = {noun: await last_position(connection, noun) for noun in nouns}
                (row,) = await connection.fetch(
                    "SELECT pg_create_restore_point($1)::text AS lsn, clock_timestamp() AS at",
                    point,
                )
                return Moment(point, row["lsn"], row["at"].isoformat(), positions)
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
            if tries_left == 0:
                raise BackupError(
                    f"somebody writes without a pause: no moment in {_LOCK_TRIES} tries"
                    f" of {_LOCK_SECONDS} s"
                ) from error
    raise AssertionError("the loop returns or raises")


async def last_position(connection: "asyncpg.Connection[Any]", noun: str) -> int:
    """The last event that a noun has said."""
    # By the month first: there is an index for both questions, and none for the whole.
    found = await connection.fetchval(
        f"""SELECT max(position) FROM {noun}.outbox
            WHERE recorded_month = (SELECT max(recorded_month) FROM {noun}.outbox)"""  # noqa: S608 - a noun
    )
    return int(found or 0)


# --- taking one -----------------------------------------------------------------------------------


async def take(
    server: Mapping[str, str],
    programs: Path,
    to: Path,
    nouns: Sequence[str],
    *,
    archive: Path | None = None,
) -> Manifest:
    """
    Back everything up while the platform runs; the folder has its name only when it is whole.

    `server` is what PostgreSQL's own programs need to reach it as a superuser. With the files comes
    the log up to one moment behind them, so that what is restored is that moment and no other.
    """
    building = await asyncio.to_thread(_begin, to)
    try:
        connection = await _connected(server)
        try:
            async with _slot(connection) as slot:
                await run_program(
                    programs / "pg_basebackup",
                    *("-D", str(building / BASE), "-Ft", "-z", "-X", "none", "-c", "fast"),
                    "--manifest-checksums=SHA256",
                    env=server,
                )
                moment = await mark_moment(connection, nouns)
                end = await _end_of_segment(connection)
                (building / WAL).mkdir(mode=0o700)
                await run_program(
                    programs / "pg_receivewal",
                    *("-D", str(building / WAL), "-S", slot, "--endpos", end, "-n", "-Z", "gzip:1"),
                    env=server,
                )
            if archive is not None:
                await asyncio.to_thread(_copy_if_there, archive, building / ARCHIVE)
            manifest = await _manifest(connection, moment, nouns, building)
        finally:
            await connection.close()
        write_file(building / MANIFEST, json.dumps(asdict(manifest), indent=1), mode=0o600)
        await asyncio.to_thread(_sync, building)
        building.rename(to)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return manifest


def _begin(to: Path) -> Path:
    """A folder that takes its name when it is whole."""
    if to.exists():
        raise BackupError(f"{to} is there already: a backup goes to a folder of its own")
    building = to.with_name(f".{to.name}.{secrets.token_hex(4)}")
    building.mkdir(mode=0o700, parents=True)
    return building


def _copy_if_there(source: Path, to: Path) -> None:
    if source.exists():
        shutil.copytree(source, to)


async def _connected(server: Mapping[str, str]) -> "asyncpg.Connection[Any]":
    return await asyncpg.connect(
        host=server["PGHOST"],
        port=int(server["PGPORT"]),
        user=server["PGUSER"],
        password=server["PGPASSWORD"],
        database=DATABASE,
        timeout=10,
    )


@asynccontextmanager
async def _slot(connection: "asyncpg.Connection[Any]") -> AsyncIterator[str]:
    """Hold back the server's log from here on, until we have it."""
    name = f"liandong_backup_{secrets.token_hex(4)}"
    await connection.execute("SELECT pg_create_physical_replication_slot($1, true)", name)
    try:
        yield name
    finally:
        await connection.execute("SELECT pg_drop_replication_slot($1)", name)


async def _end_of_segment(connection: "asyncpg.Connection[Any]") -> str:
    """Close the segment that holds the moment, so that it can be restored; where it ends."""
    (row,) = await connection.fetch(
        """SELECT pg_switch_wal() - '0/0'::pg_lsn AS at, setting::bigint AS size
           FROM pg_settings WHERE name = 'wal_segment_size'"""
    )
    end = -(-int(row["at"]) // row["size"]) * row["size"]
    return f"{end >> 32:X}/{end & 0xFFFFFFFF:X}"


async def _manifest(
    connection: "asyncpg.Connection[Any]", moment: Moment, nouns: Sequence[str], building: Path
) -> Manifest:
    (row,) = await connection.fetch(
        """SELECT system_identifier::text AS system,
                  current_setting('server_version_num')::int / 10000 AS major
           FROM pg_control_system()"""
    )
    migrations = {
        noun: await connection.fetchval(f"SELECT version_num FROM {noun}.alembic_version")  # noqa: S608 - a noun
        for noun in nouns
    }
    return Manifest(
        format=FORMAT,
        release=metadata.version("liandong"),
        postgres_major=row["major"],
        system_identifier=row["system"],
        moment=moment,
        migrations=migrations,
        files=await asyncio.to_thread(digests_in, building),
    )


async def run_program(program: Path, *arguments: str, env: Mapping[str, str]) -> str:
    """Run one of PostgreSQL's programs; what it said, or BackupError with it."""
    process = await asyncio.create_subprocess_exec(
        str(program),
        *arguments,
        env=dict(env),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), _PROGRAM_SECONDS_MAX)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        raise BackupError(f"{program.name}: {said.decode(errors='replace')}")
    return said.decode(errors="replace")


async def backup_folder(
    postgres: Postgres, folder: DataFolder, to: Path, nouns: Sequence[str]
) -> Manifest:
    """Back up a platform of this machine that runs."""
    return await take(
        postgres.client_environment(), postgres.bin, to, nouns, archive=folder.path / ARCHIVE
    )


def server_of(folder: DataFolder) -> dict[str, str]:
    """What PostgreSQL's programs need to reach the server of a data folder."""
    port = folder.path / "postgres.port"
    if not port.exists():
        raise LookupError(f"no platform was started in {folder.path}; try `liandong up`")
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "PGHOST": "127.0.0.1",
        "PGPORT": port.read_text().strip(),
        "PGUSER": SUPERUSER,
        "PGPASSWORD": folder.secret(SUPERUSER),
        "PGCONNECT_TIMEOUT": "10",
        "LC_ALL": "C.UTF-8",
    }


# --- keys -----------------------------------------------------------------------------------------


def keep_keys(folder: DataFolder, to: Path, *, backup: Path | None) -> int:
    """
    Copy what opens doors and personal data to a place of its own; how many files.

    Who has the rows and not the keys reads no name; who has the keys and not the rows has nothing.
    """
    if backup is not None:
        one, other = to.resolve(), backup.resolve()
        if one.is_relative_to(other) or other.is_relative_to(one):
            raise BackupError("the keys may not lie with the rows that they open")
    building = _begin(to)
    try:
        for name in KEY_FOLDERS:
            if (folder.path / name).exists():
                shutil.copytree(folder.path / name, building / name)
        files = digests_in(building)
        write_file(building / MANIFEST, json.dumps({"files": files}, indent=1), mode=0o600)
        _sync(building)
        building.rename(to)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return len(files)


# --- files ----------------------------------------------------------------------------------------


def digests_in(folder: Path) -> dict[str, str]:
    """Every file of a folder with its SHA-256; the manifest itself is not among them."""
    return {
        str(path.relative_to(folder)): digest_of(path)
        for path in _files(folder)
        if path != folder / MANIFEST
    }


def digest_of(path: Path) -> str:
    """SHA-256 of a file, whatever its size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_whole(folder: Path, files: Mapping[str, str]) -> None:
    """Every file is there and is what it was; BackupError names the first that is not."""
    there = {str(path.relative_to(folder)) for path in _files(folder)} - {MANIFEST}
    if missing := sorted(set(files) - there):
        raise BackupError(f"{folder} lacks {missing[0]}")
    if strange := sorted(there - set(files)):
        raise BackupError(f"{folder} holds {strange[0]}, of which its manifest knows nothing")
    for name, digest in sorted(files.items()):
        if digest_of(folder / name) != digest:
            raise BackupError(f"{folder / name} is not what was backed up")


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _sync(folder: Path) -> None:
    for path in (*folder.rglob("*"), folder, folder.parent):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
