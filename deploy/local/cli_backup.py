"""The `liandong backup` and `liandong restore` commands."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from deploy.local import backup as backups
from deploy.local import places
from deploy.local import restore as restoring
from deploy.local.cli_run import Folder, run
from deploy.local.stack import NOUNS


def backup(
    to: Annotated[Path, typer.Option("--to", help="A new folder for the rows.")],
    *,
    keys_to: Annotated[
        Path | None, typer.Option(help="A new folder for the keys, elsewhere; none to leave them.")
    ] = None,
    folder: Folder = "main",
) -> None:
    """Back up all services of a running platform at one moment."""

    async def work() -> None:
        found = places.find()
        own = found.folder(folder)
        kept = 0
        if keys_to is not None:
            kept = backups.keep_keys(own, keys_to, backup=to)
        made = await backups.take(
            backups.server_of(own),
            found.postgres_install() / "bin",
            to,
            NOUNS,
            archive=own.path / backups.ARCHIVE,
        )
        events = sum(made.moment.positions.values())
        print(
            f"backup: point={made.moment.point} files={len(made.files)} events={events}"
            f" keys={kept} manifest_sha256={backups.digest_of(to / backups.MANIFEST)}"
        )

    run(work())


def restore(
    source: Annotated[Path, typer.Option("--from", help="The backup of the rows.")],
    *,
    keys: Annotated[Path, typer.Option(help="The backup of the keys.")],
    archive: Annotated[
        Path | None, typer.Option(help="The archived log, for a time after the backup.")
    ] = None,
    to: Annotated[str, typer.Option(help="ISO time with its zone; the backup's own without.")] = "",
    folder: Annotated[str, typer.Option("--folder", help="A new data folder.")],
) -> None:
    """Restore all services into a new folder; then `liandong up --folder` and `liandong audit`."""

    async def work() -> None:
        wanted = datetime.fromisoformat(to) if to else None
        if wanted is not None and wanted.tzinfo is None:
            raise ValueError(f"--to {to} says no zone, e.g. {to}+08:00")
        found = places.find()
        done = await restoring.restore(
            found, found.folder(folder), source, keys, archive=archive, to=wanted
        )
        at = " ".join(f"{noun}={position}" for noun, position in done.positions.items())
        print(f"restore: point={to or done.manifest.moment.point} {at}")

    run(work())
