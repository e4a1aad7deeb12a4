"""The `liandong` commands that start, stop, fill and check a platform on one machine."""

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
from deploy.local import places
from deploy.local.cli_run import County, Folder, run
from deploy.local.processes import StartError, read_pid, ticks
from deploy.local.remote import Operator, Remote
from deploy.local.stack import Shape, Stack
from deploy.nats import topology
from services.kernel import wire

STOP_SECONDS_MAX = 60.0

console = Console()


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
