"""The `liandong` commands for files: households in and out, facts in."""

import sys
import uuid
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from deploy.local import fact_file, indicator_file, places
from deploy.local.cli_run import County, Folder, run
from deploy.local.household_file import (
    CHUNK_LINES,
    Exported,
    Order,
    Report,
    VerdictFile,
    export_file,
    file_digest,
    import_to_file,
)
from deploy.local.line_files import read_mapping
from deploy.local.remote import Remote

console = Console()
errors = Console(stderr=True)

Institution = Annotated[str, typer.Option("--as", help="The institution that acts.")]
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV or XLSX.")]
Titles = Annotated[
    list[str] | None, typer.Option("--map", help="TITLE=FIELD of a column; TITLE= leaves it out.")
]
Mapping = Annotated[
    Path | None,
    typer.Option("--mapping", exists=True, dir_okay=False, help="YAML, `columns: {TITLE: FIELD}`."),
]
Encoding = Annotated[str, typer.Option(help="Of a CSV file, for example gb18030.")]
Verdicts = Annotated[
    Path | None, typer.Option(help="A verdict for every line; FILE.verdicts.csv if left out.")
]


def import_households(
    file: File,
    *,
    folder: Folder = "main",
    county: County = "",
    dry_run: Annotated[bool, typer.Option(help="Check everything, write nothing.")] = False,
    update: Annotated[
        bool, typer.Option(help="Change households that exist; else their lines are refused.")
    ] = True,
    titles: Titles = None,
    mapping: Mapping = None,
    encoding: Encoding = "utf-8-sig",
    verdicts: Verdicts = None,
    chunk_lines: Annotated[
        int, typer.Option("--chunk", min=1, max=1_500, help="Lines a transaction.")
    ] = CHUNK_LINES,
    restart: Annotated[bool, typer.Option(help="Do not go on with an import cut short.")] = False,
    institution: Institution = "",
) -> None:
    """Import a household file: good lines land, every line has its verdict. Cut short, go on."""
    order = Order(dry_run, update, read_mapping(mapping, titles or ()), encoding, chunk_lines)

    async def work() -> int:
        remote = Remote.read(places.find().folder(folder))
        code = remote.county(county)
        who = institution or remote.with_role("county_centre")
        what = {
            "file": file_digest(file).hex(),
            "county": code,
            "institution": who,
            "dry_run": dry_run,
            "update": update,
            "columns": dict(order.titles),
            "encoding": encoding,
            "chunk": chunk_lines,
        }
        path = verdicts or file.with_name(f"{file.name}.verdicts.csv")
        kept = VerdictFile(path, what=what, anew=restart or dry_run)
        if kept.resumed:
            console.print(f"going on after {kept.counts.get('lines', 0)} lines")
        async with remote.institution(who) as client:
            with kept:
                report = await import_to_file(
                    client, file, code, order=order, verdicts=kept, progress=_show
                )
        _tell(report, path, dry_run=dry_run)
        return 0

    raise typer.Exit(run(work()))


def _tell(report: Report, verdicts: Path, *, dry_run: bool) -> None:
    would = "would be " if dry_run else ""
    console.print(
        f"{report.lines} lines: {report.households} households with {report.people} people "
        f"{would}registered, {report.changed_households} households {would}changed by "
        f"{report.changed_lines} lines, {report.unchanged_lines} lines unchanged, "
        f"{report.refused_lines} lines refused",
        soft_wrap=True,
        highlight=False,
    )
    console.print(f"verdicts: {verdicts}", soft_wrap=True, highlight=False)


def _show(report: Report) -> None:
    if sys.stderr.isatty():
        errors.print(f"{report.lines} lines, {report.refused_lines} refused", end="\r")


def export_households(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="CSV or XLSX to be written.")],
    *,
    folder: Folder = "main",
    county: County = "",
    within: Annotated[str, typer.Option(help="Code of an area; all if left out.")] = "",
    institution: Institution = "",
) -> None:
    """Export the registry in the form of a household file; imported again it changes nothing."""

    async def work() -> int:
        remote = Remote.read(places.find().folder(folder))
        code = remote.county(county)
        who = institution or remote.with_role("county_centre")
        async with remote.institution(who) as client:
            done = await export_file(client, file, code, within=within, progress=_count)
        console.print(f"{done.households} households, {done.lines} lines in {file}", soft_wrap=True)
        return 0

    raise typer.Exit(run(work()))


def _count(done: Exported) -> None:
    if sys.stderr.isatty():
        errors.print(f"{done.lines} lines", end="\r")


def import_facts(
    file: File,
    *,
    folder: Folder = "main",
    county: County = "",
    kind: Annotated[str, typer.Option(help="Of the lines that name none, e.g. court.")] = "",
    titles: Titles = None,
    mapping: Mapping = None,
    encoding: Encoding = "utf-8-sig",
    verdicts: Verdicts = None,
    institution: Institution = "",
) -> None:
    """Record the facts of a file in an institution's own name; every line has its verdict."""
    own = read_mapping(mapping, titles or ())

    async def work() -> int:
        remote = Remote.read(places.find().folder(folder))
        code = remote.county(county)
        who = institution or remote.with_role("county_centre")
        path = verdicts or file.with_name(f"{file.name}.verdicts.csv")
        # The same file says the same facts, however often it is sent.
        name = f"{code}:{who}:{kind}:{file_digest(file).hex()}"
        async with remote.institution(who) as client:
            report = await fact_file.import_facts(
                client,
                file,
                code,
                file_id=uuid.uuid5(uuid.NAMESPACE_URL, name),
                rows=fact_file.fact_rows(file, own, encoding=encoding),
                kind=kind,
                verdicts=path,
            )
        console.print(f"{report.recorded} facts recorded, {report.refused} lines refused")
        console.print(f"verdicts: {path}", soft_wrap=True, highlight=False)
        return 0

    raise typer.Exit(run(work()))


def import_indicators(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV, UTF-8.")],
    *,
    institution: Annotated[str, typer.Option("--as", help="The institution that supplies.")],
    folder: Folder = "main",
    county: County = "",
) -> None:
    """Supply an indicator file in an institution's own name; each line is decided on its own."""

    async def work() -> int:
        remote = Remote.read(places.find().folder(folder))
        code = remote.county(county)
        # The same file is the same supply, however often it is sent.
        digest = file_digest(file).hex()
        file_id = uuid.uuid5(uuid.NAMESPACE_URL, f"{code}:{institution}:{digest}")
        async with remote.institution(institution) as client:
            report = await indicator_file.import_file(client, file, code, file_id=file_id)
        for line in report.refused:
            console.print(str(line), markup=False, highlight=False)
        console.print(f"{report.recorded} indicators recorded, {report.refused_lines} refused")
        return 0

    raise typer.Exit(run(work()))
