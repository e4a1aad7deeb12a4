"""The `liandong what-if` command: a county's history under another pack, as a table."""

import re
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from google.type.date_pb2 import Date
from liandong.funds.v1 import watch_pb2, watch_pb2_grpc
from rich.console import Console
from rich.table import Table

from deploy.local import places
from deploy.local.cli_run import County, Folder, run
from deploy.local.client import Institution
from deploy.local.remote import Remote

PAGE_ROWS = 500
PAGES_MAX = 100
PROGRAMME = re.compile(r"^\s+programme:\s*\"?([^\s@\"]+)@", re.MULTILINE)
"""In an overlay, the pack that it is for."""
console = Console()


def what_if(
    pack: Annotated[
        str,
        typer.Argument(help="A ref, id@version[:overlay], or the YAML of a pack or of an overlay."),
    ],
    *,
    since: Annotated[
        datetime | None,
        typer.Option("--since", formats=["%Y-%m-%d"], help="The pack holds from this day on."),
    ] = None,
    programme: Annotated[
        str, typer.Option(help="Whose history, without a version; that of the pack if left out.")
    ] = "",
    institution: Annotated[str, typer.Option("--as", help="The institution that asks.")] = "",
    folder: Folder = "main",
    county: County = "",
) -> None:
    """Say who would have paid what under another pack; the books stay as they are."""

    async def work() -> int:
        remote = Remote.read(places.find().folder(folder))
        request = question(pack, programme)
        request.county_code = remote.county(county)
        if since is not None:
            request.since.CopyFrom(Date(year=since.year, month=since.month, day=since.day))
        who = institution or remote.with_role("finance_bureau")
        async with remote.institution(who) as client:
            tell(await ask(client, request), console)
        return 0

    raise typer.Exit(run(work()))


def question(pack: str, programme: str) -> watch_pb2.RunWhatIfRequest:
    """What is asked about a ref, or about the pack in a file."""
    path = Path(pack)
    request = watch_pb2.RunWhatIfRequest(page_size=PAGE_ROWS)
    if path.is_file():
        request.pack_text.file = path.name
        request.pack_text.yaml = path.read_text(encoding="utf-8")
    elif path.suffix in (".yaml", ".yml"):
        raise LookupError(f"no file {path}")
    else:
        request.pack_ref = pack
    named = PROGRAMME.search(request.pack_text.yaml)
    request.programme_id = programme or (named[1] if named else path.name.split("@", maxsplit=1)[0])
    return request


async def ask(
    client: Institution, request: watch_pb2.RunWhatIfRequest
) -> watch_pb2.RunWhatIfResponse:
    """All pages as one answer."""
    whole = watch_pb2.RunWhatIfResponse()
    for _ in range(PAGES_MAX):
        answer = await client.call(watch_pb2_grpc.WatchServiceStub, "RunWhatIf", request)
        rows = [*whole.rows, *answer.rows]
        whole.CopyFrom(answer)
        del whole.rows[:]
        whole.rows.extend(rows)
        if not answer.next_page_token:
            return whole
        request.page_token = answer.next_page_token
    raise LookupError(f"more than {PAGES_MAX * PAGE_ROWS} rows")


def tell(answer: watch_pb2.RunWhatIfResponse, out: Console) -> None:
    """The table and what is to be known beside it."""
    table = Table("year", "institution", title=f"{answer.pack_ref}, fen")
    for side in ("books", "tried"):
        for name in ("bears", "paid", "owes", "got back"):
            table.add_column(f"{side}: {name}", justify="right")
    for row in answer.rows:
        figures = [
            f"{figure:,}"
            for side in (row.books, row.tried)
            for figure in (side.borne_fen, side.paid_fen, side.owed_fen, side.recovered_fen)
        ]
        table.add_row(str(row.year), row.institution_id, *figures)
    out.print(table)
    out.print(f"{answer.cases} cases were paid, {answer.cases_same} come out the same")
    for each in answer.cases_not_accepted:
        out.print(f"{each.count} cases would not have been accepted: {each.reason}")
    for each in answer.covers_refused:
        out.print(f"{each.count} covers would have been refused: {each.reason}")
    if answer.covers_granted:
        out.print(f"{answer.covers_granted} covers that were refused would have been given")
    if answer.losses_assumed:
        out.print(f"{answer.losses_assumed} losses are taken as they stand: no other base is known")
    if answer.withheld_fen:
        out.print(f"{answer.withheld_fen:,} fen that left a fund would not have been there")
