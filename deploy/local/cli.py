"""The `liandong` command: the platform on one machine, and an operator's tools for any."""

import os
import signal
import uuid
from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from google.type.date_pb2 import Date
from liandong.common.v1 import operator_pb2
from rich.console import Console

from deploy.demo import run as demo
from deploy.local import audit as audits
from deploy.local import (
    cli_access_log,
    cli_alerts,
    cli_backup,
    cli_console,
    cli_events,
    cli_feeds,
    cli_files,
    cli_find,
    cli_institutions,
    cli_insurance,
    cli_pauses,
    cli_programmes,
    cli_reports,
    cli_what_if,
    places,
)
from deploy.local.cli_run import run
from deploy.local.processes import StartError, read_pid, ticks
from deploy.local.remote import Operator, Remote
from deploy.local.stack import Shape, Stack
from deploy.nats import topology
from services.kernel import wire

STOP_SECONDS_MAX = 60.0

app = typer.Typer(no_args_is_help=True, help="Liandong: registry, credit, loans, claims, funds.")
app.add_typer(cli_events.events, name="events")
app.add_typer(cli_events.parked, name="parked")
app.add_typer(cli_console.console, name="console")
app.add_typer(cli_feeds.feeds, name="feeds")
app.add_typer(cli_institutions.institutions, name="institutions")
app.add_typer(cli_access_log.access_log, name="access-log")
app.add_typer(cli_access_log.retention, name="retention")
app.add_typer(cli_programmes.programmes, name="programmes")
app.command(name="import-households")(cli_files.import_households)
app.command(name="export-households")(cli_files.export_households)
app.command(name="import-facts")(cli_files.import_facts)
app.command(name="import-indicators")(cli_files.import_indicators)
app.command(name="import-insured")(cli_insurance.import_insured)
app.command(name="reconcile")(cli_insurance.reconcile)
app.command(name="export-insurance")(cli_insurance.export_insurance)
app.command(name="report")(cli_reports.report)
app.command(name="what-if")(cli_what_if.what_if)
app.command(name="alerts")(cli_alerts.alerts)
app.command(name="pause")(cli_pauses.pause)
app.command(name="resume")(cli_pauses.resume)
app.command(name="paused")(cli_pauses.paused)
app.command(name="status")(cli_institutions.status)
app.command(name="find")(cli_find.find)
app.command(name="trace")(cli_find.trace)
app.command(name="backup")(cli_backup.backup)
app.command(name="restore")(cli_backup.restore)
console = Console()

Folder = Annotated[str, typer.Option("--folder", help="Data folder of the platform.")]
County = Annotated[str, typer.Option("--county", help="Six digits; needed with several counties.")]


@app.command()
def up(
    *,
    folder: Folder = "main",
    processes: Annotated[bool, typer.Option(help="One process per service.")] = False,
    county_folder: Annotated[
        Path, typer.Option(help="Overlays, adoptions and institutions.yaml of the counties.")
    ] = demo.COUNTY_FOLDER,
    wal_archive: Annotated[
        Path | None, typer.Option(help="Keep PostgreSQL's log here, to restore to any time.")
    ] = None,
) -> None:
    """Start the platform and stay until Ctrl-C or `liandong down`."""
    institutions = county_folder / "institutions.yaml"
    shape = Shape(
        programme_folders=(county_folder.resolve(),),
        institutions_path=institutions.resolve() if institutions.exists() else None,
        processes=processes,
        wal_archive=wal_archive.resolve() if wal_archive else None,
        console=True,
    )

    async def stay() -> None:
        found = places.find()
        own = found.folder(folder)
        async with Stack(found, own, shape) as stack:
            console.print(f"the platform serves at {stack.gateway_address} (mTLS)")
            console.print(f"certificates and data: {own.path}")
            demo.print_console(stack, console)
            await stack.until_asked_to_stop()
            console.print("stopping …")

    run(stay())


@app.command()
def down(*, folder: Folder = "main") -> None:
    """Stop the platform of a folder; its data stays."""

    async def stop() -> None:
        own = places.find().folder(folder)
        pid = read_pid(own.path / "run" / "stack.pid")
        if pid is None:
            console.print(f"nothing runs in {own.path}")
            return
        os.kill(pid, signal.SIGTERM)
        async for _ in ticks(STOP_SECONDS_MAX, pause=0.1):
            if read_pid(own.path / "run" / "stack.pid") is None:
                console.print("stopped")
                return
        raise StartError(f"process {pid} does not stop")

    run(stop())


@app.command(name="demo")
def demo_command(
    *,
    resume: Annotated[bool, typer.Option(help="Go on with the data that is there.")] = False,
    processes: Annotated[bool, typer.Option(help="One process per service.")] = False,
    keep: Annotated[bool, typer.Option(help="Stay up when the year is over.")] = False,
    scale: Annotated[float, typer.Option(help="Size of the county, 1 as published.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of everything that is invented.")] = demo.SEED,
    gateway: Annotated[str, typer.Option(help="Use a platform that runs, HOST:PORT.")] = "",
    certs: Annotated[Path | None, typer.Option(help="Its institutions' certificates.")] = None,
    env: Annotated[str, typer.Option(help="Its environment's name.")] = "local",
) -> None:
    """Run an example county's year through the gateway, then hold its books to the fen."""
    if bool(gateway) != (certs is not None):
        raise typer.BadParameter("--gateway and --certs go together")
    options = demo.Options(
        seed=seed,
        scale=scale,
        resume=resume,
        processes=processes,
        keep=keep,
        gateway=gateway,
        certificates=certs,
        env=env,
    )
    raise typer.Exit(run(demo.run(options, console)))


@app.command(name="advance-day")
def advance_day(
    day: Annotated[str, typer.Argument(help="The business date to come, YYYY-MM-DD.")],
    *,
    folder: Folder = "main",
    county: County = "",
) -> None:
    """Close business days in every service, in order."""

    async def work() -> int:
        target = date.fromisoformat(day)
        remote = Remote.read(places.find().folder(folder))
        code = remote.county(county)
        async with remote.institution(remote.with_role("operator")) as client:
            for noun in audits.SERVICES:
                request = operator_pb2.AdvanceDayRequest(
                    request_id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{code}:{noun}:{day}")),
                    county_code=code,
                    business_date=Date(year=target.year, month=target.month, day=target.day),
                )
                answer = await Operator(client).ask(noun, "AdvanceDay", request)
                now = wire.date_from_proto("business_date", answer.business_date)
                console.print(f"{noun}: {now}, {answer.days_closed} days closed")
        return 0

    raise typer.Exit(run(work()))


@app.command()
def audit(*, folder: Folder = "main", county: County = "") -> None:
    """Hold every ledger, hold and payout of the services against one another."""

    async def work() -> int:
        remote = Remote.read(places.find().folder(folder))
        code = remote.county(county)
        async with remote.institution(remote.with_role("operator")) as client:
            operator = Operator(client)

            async def totals(
                noun: str,
                positions_only: bool,
            ) -> operator_pb2.GetTotalsResponse:
                return await operator.totals(noun, code, positions_only=positions_only)

            rested = await audits.quiet(totals, topology.load(), seconds_max=30)
            books = await audits.audit(totals)
        demo.print_books(books, console)
        if not rested:
            console.print("events are still on their way; the figures may differ for that reason")
        print(f"audit: unbalanced_fen={books.unbalanced_fen} parked_events={books.parked_events}")
        return 0 if books.unbalanced_fen == 0 and books.parked_events == 0 else 1

    raise typer.Exit(run(work()))


def main() -> None:
    """The entry point of the installed command."""
    app()


if __name__ == "__main__":
    main()
