"""The `liandong access-log` and `liandong retention` commands: proof for whoever doubts the log."""

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from deploy.local import places
from deploy.local.cli_run import Folder, run
from deploy.local.places import DataFolder, PlaceError, write_file
from gateway import log_files, log_store, log_verify
from gateway import retention as retention_job
from gateway.log_chain import DAY_ZONE, DayRoot, Keys, LogSigner, keys_of, pem_of, read_public_keys
from gateway.log_check import Proofs, Verification
from gateway.log_files import LogFile
from gateway.retention import Rules
from gateway.settings import GatewaySettings
from services.kernel.database import Database
from services.kernel.errors import LiandongError

DATABASE_VARIABLE = "GATEWAY_DATABASE_URL"
BROKEN = 1
UNREADABLE = 2

access_log = typer.Typer(no_args_is_help=True, help="The access log: hold it against its proofs.")
retention = typer.Typer(no_args_is_help=True, help="What is kept how long.")
console = Console(highlight=False, markup=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

Address = Annotated[
    str,
    typer.Option(
        "--database-url",
        envvar=DATABASE_VARIABLE,
        help="The gateway's database; that of the folder when left out.",
    ),
]
KeysFile = Annotated[
    Path | None,
    typer.Option(
        "--keys", help="Public keys that were given to you, PEM; else those that the log names."
    ),
]
RootsFile = Annotated[Path | None, typer.Option("--roots", help="Day roots that you kept.")]


def _address(folder: DataFolder) -> str:
    """The gateway's own way into the database of a platform of this machine."""
    port = folder.path / "postgres.port"
    if not port.exists():
        raise PlaceError(f"no platform was started in {folder.path}; try `liandong up`")
    password = folder.secret("gateway_app")
    return f"postgresql://gateway_app:{password}@127.0.0.1:{int(port.read_text())}/liandong"


@asynccontextmanager
async def _database(folder: str, address: str) -> AsyncIterator[Database]:
    url = address or _address(places.find().folder(folder))
    db = Database(url, "gateway", pool_size=2)
    try:
        yield db
    finally:
        await db.close()


def _work(work: Awaitable[int]) -> int:
    """Run a command's work; a database that is away is no broken log."""

    async def told() -> int:
        try:
            return await work
        except LiandongError as error:
            errors.print(error.message)
            return UNREADABLE

    return run(told())


@dataclass(frozen=True, slots=True)
class _Kept:
    """What somebody keeps outside of the log."""

    keys: Keys | None
    roots: tuple[DayRoot, ...]

    @classmethod
    def read(cls, keys: Path | None, roots: Path | None) -> "_Kept":
        """From files; ValueError or OSError when they are none."""
        if keys is None:
            errors.print("the keys are those that the log itself names; give yours with --keys")
        return cls(
            read_public_keys(keys) if keys is not None else None,
            tuple(log_files.read_roots(roots)) if roots is not None else (),
        )

    def proofs(self, named: Keys) -> Proofs:
        """With the keys that the log names, where one has none of one's own."""
        return Proofs(keys=named if self.keys is None else self.keys, roots=self.roots)


def _say(found: Verification) -> int:
    told = f"rows={found.rows} checkpoints={found.checkpoints} last={found.head.position}"
    told += f" sealed={found.sealed.position}"
    if found.broken is None:
        console.print(f"intact: {told}")
        return 0
    console.print(f"BROKEN at position {found.broken.position}: {found.broken.kind} ({told})")
    return BROKEN


@access_log.command()
def verify(
    *,
    file: Annotated[
        Path | None, typer.Option("--file", help="An export or archive, without a database.")
    ] = None,
    part: Annotated[
        bool, typer.Option(help="The file ends before the log does: an archive, a day.")
    ] = False,
    keys: KeysFile = None,
    roots: RootsFile = None,
    folder: Folder = "main",
    address: Address = "",
) -> None:
    """Check every row; exit 0 when all hold, 1 with the first that does not, 2 if unreadable."""
    try:
        kept = _Kept.read(keys, roots)
        if file is not None:
            proofs = kept.proofs(keys_of(LogFile(file).read_start().keys))
            raise typer.Exit(_say(log_verify.verify_file(LogFile(file), proofs, whole=not part)))
    except (ValueError, KeyError, OSError) as error:
        errors.print(f"cannot be read: {error}")
        raise typer.Exit(UNREADABLE) from None
    raise typer.Exit(_work(_verify_online(folder, address, kept)))


async def _verify_online(folder: str, address: str, kept: _Kept) -> int:
    async with _database(folder, address) as db, db.transaction(snapshot=True) as session:
        named = keys_of(row["public_key"] for row in await log_store.read_keys(session))
        return _say(await log_verify.verify(session, kept.proofs(named)))


@access_log.command()
def export(
    path: Annotated[Path, typer.Argument(help="The file; compressed when it ends with .gz.")],
    *,
    since: Annotated[
        str, typer.Option(help="From this day on, YYYY-MM-DD; else from the first.")
    ] = "",
    until: Annotated[str, typer.Option(help="Up to this day's end; else to the last row.")] = "",
    folder: Folder = "main",
    address: Address = "",
) -> None:
    """Write rows, checkpoints, day roots and keys to a file that `verify --file` checks."""

    async def work() -> int:
        async with _database(folder, address) as db, db.transaction(snapshot=True) as session:
            after = await log_files.start_of(session, _midnight(since) if since else None)
            upto = log_store.POSITION_MAX
            if until:
                end = _midnight(until) + timedelta(days=1)
                last = await log_store.last_checkpoint(session, before=end)
                upto = last.position if last is not None else after.position
            written = await log_files.write(session, path, after=after, upto=upto)
        console.print(
            f"{written.rows} rows, {after.position + 1} to {written.head.position},"
            f" sha256 {written.sha256}"
        )
        return 0

    raise typer.Exit(_work(work()))


@access_log.command(name="keys")
def keys_command(
    path: Annotated[Path, typer.Argument(help="The PEM file to write.")],
    *,
    folder: Folder = "main",
    address: Address = "",
) -> None:
    """Write the public keys that sign, to be given to institutions."""

    async def work() -> int:
        async with _database(folder, address) as db, db.transaction() as session:
            found = keys_of(row["public_key"] for row in await log_store.read_keys(session))
        text = b"".join(map(pem_of, found.values())).decode()
        write_file(path, text, mode=0o644)
        for key_id in found:
            console.print(key_id)
        return 0

    raise typer.Exit(_work(work()))


@access_log.command()
def roots(
    path: Annotated[Path, typer.Argument(help="The file to write; keep it where we cannot reach.")],
    *,
    folder: Folder = "main",
    address: Address = "",
) -> None:
    """Write all day roots to a file that `verify --roots` takes."""

    async def work() -> int:
        async with _database(folder, address) as db, db.transaction() as session:
            found = await log_store.read_roots(session)
        log_files.write_roots(path, found)
        console.print(f"{len(found)} day roots" + (f" to {found[-1].day}" if found else ""))
        return 0

    raise typer.Exit(_work(work()))


@retention.command(name="run")
def run_command(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    folder: Folder = "main",
    address: Address = "",
) -> None:
    """Remove what is too old, as the gateway does by itself once a day."""

    async def work() -> int:
        own = places.find().folder(folder)
        settings = _settings(own, address)
        async with _database(folder, address) as db:
            rules = Rules(
                kept_days=settings.kept_days(),
                archives=retention_job.archives_in(settings.archive_path),
            )
            signer = LogSigner(settings.log_private_key_path)
            reports = await retention_job.run(db, signer, rules, dry_run=dry_run)
        _print_reports(reports, dry_run=dry_run)
        return BROKEN if any(report.failed for report in reports) else 0

    raise typer.Exit(_work(work()))


def _settings(folder: DataFolder, address: str) -> GatewaySettings:
    """The gateway's settings; where none are told, those of the folder's platform."""
    told = {"database_url": address or _address(folder)}
    if "GATEWAY_LOG_PRIVATE_KEY_PATH" not in os.environ:
        told["log_private_key_path"] = str(folder.private("certs") / "log-private.pem")
    if "GATEWAY_ARCHIVE_PATH" not in os.environ:
        told["archive_path"] = str(folder.private("archive"))
    return GatewaySettings.model_validate(told)


def _print_reports(reports: Sequence[retention_job.Report], *, dry_run: bool) -> None:
    would = "would go" if dry_run else "went"
    for report in reports:
        told = f"{report.category}: {report.removed_rows} rows {would}"
        told += f", {report.kept_days} days are kept"
        if report.archive:
            told += f"; archive {report.archive} sha256 {report.archive_sha256 or 'none'}"
        if report.note:
            told += f"; {report.note}"
        (errors if report.failed else console).print(told)
    sys.stdout.flush()


def _midnight(day: str) -> datetime:
    """When a day of the log begins."""
    return datetime.combine(date.fromisoformat(day), time(), DAY_ZONE)
