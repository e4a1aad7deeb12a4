"""The `liandong` commands for insurance: insured lists in, a statement against ours, the report."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from liandong.claims.v1 import records_pb2
from rich.console import Console

from deploy.local import insurance_file, insured_file, list_file, places
from deploy.local.cli_files import Encoding, Mapping, Titles, Verdicts
from deploy.local.cli_run import County, Folder, run
from deploy.local.household_file import VerdictFile, file_digest
from deploy.local.insurance_file import DIMENSIONS, Heading, Reconciled
from deploy.local.line_files import read_mapping
from deploy.local.remote import Remote

console = Console()
errors = Console(stderr=True)


def reconcile(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV or XLSX.")],
    *,
    institution: Annotated[str, typer.Option("--as", help="The institution that brings it.")],
    kind: Annotated[
        str,
        typer.Option(help="loans or households; policies, insured, claims, payouts or payments."),
    ],
    until_day: Annotated[
        datetime,
        typer.Option(
            "--until",
            formats=["%Y-%m-%d"],
            help="Last day; of a list of loans or households the day that it shows.",
        ),
    ],
    reference: Annotated[str, typer.Option(help="Its own name of the statement.")],
    from_day: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="First day of a statement."),
    ] = None,
    of: Annotated[str, typer.Option(help="Whose it is, if another brings it.")] = "",
    dry_run: Annotated[bool, typer.Option(help="Say what would be found, keep nothing.")] = False,
    differences: Annotated[
        Path | None, typer.Option(help="Where to write them; FILE.differences.csv if left out.")
    ] = None,
    encoding: Annotated[str, typer.Option(help="Of a CSV file.")] = "utf-8-sig",
    folder: Folder = "main",
    county: County = "",
) -> None:
    """Hold an institution's statement against ours; exit code 1 when a line was refused."""
    listed = list_file.KINDS.get(kind)
    if listed is None and from_day is None:
        raise typer.BadParameter(f"a statement of {kind} has a first day: --from")

    async def work() -> int:
        remote = Remote.read(places.find().folder(folder))
        county_code, whose, until = remote.county(county), of or institution, until_day.date()
        path = differences or file.with_name(f"{file.name}.differences.csv")
        how: dict[str, Any] = {"differences": path, "dry_run": dry_run, "encoding": encoding}
        async with remote.institution(institution) as client:
            if listed is not None:
                about = list_file.Heading(county_code, whose, reference, until)
                done = await list_file.reconcile(client, file, listed, about, **how)
            else:
                assert from_day is not None
                first = from_day.date()
                heading = Heading(county_code, whose, kind, reference, first, until)
                done = await insurance_file.reconcile(client, file, heading, **how)
        _tell(done, path)
        return 1 if done.refused else 0

    raise typer.Exit(run(work()))


def _tell(done: Reconciled, path: Path) -> None:
    for line in done.refused:
        console.print(line, markup=False, highlight=False)
    if done.refused:
        return
    causes = ", ".join(f"{count} {cause}" for cause, count in done.causes.items()) or "none differ"
    console.print(f"{done.lines} lines: {done.agreeing} agree; {causes}", highlight=False)
    console.print(f"differences: {path}", soft_wrap=True, highlight=False)


def export_insurance(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="CSV or XLSX to be written.")],
    *,
    as_of: Annotated[datetime, typer.Option("--as-of", formats=["%Y-%m-%d"])],
    by: Annotated[str, typer.Option(help="Of line,insurer,area,year.")] = "line,insurer,area,year",
    area_digits: Annotated[int, typer.Option(help="9 for townships, 12 for villages.")] = 9,
    within: Annotated[str, typer.Option(help="Code of an area; all if left out.")] = "",
    folder: Folder = "main",
    county: County = "",
    institution: Annotated[str, typer.Option("--as", help="The institution that asks.")] = "",
) -> None:
    """Write policies, persons, premium, claims, loss ratio and stabilisation into a file."""
    words = [word for word in by.split(",") if word]
    if unknown := [word for word in words if word not in DIMENSIONS]:
        raise typer.BadParameter(f"unknown: {', '.join(unknown)}")

    async def work() -> int:
        remote = Remote.read(places.find().folder(folder))
        who = institution or remote.with_role("county_centre")
        request = records_pb2.ExportInsuranceReportRequest(
            county_code=remote.county(county),
            as_of=insurance_file.to_date(as_of.date()),
            by=[DIMENSIONS[word] for word in words],
            area_digits=area_digits,
            within=within,
        )
        async with remote.institution(who) as client:
            rows = await insurance_file.export_report(client, file, request)
        console.print(f"{rows} rows in {file}", soft_wrap=True)
        return 0

    raise typer.Exit(run(work()))


def import_insured(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV or XLSX.")],
    *,
    institution: Annotated[str, typer.Option("--as", help="The insurer, or the county centre.")],
    policy: Annotated[str, typer.Option(help="The master policy (UUID).")],
    cover: Annotated[str, typer.Option(help="Of the lines that name none.")] = "",
    dry_run: Annotated[bool, typer.Option(help="Check everything, write nothing.")] = False,
    titles: Titles = None,
    mapping: Mapping = None,
    encoding: Encoding = "utf-8-sig",
    verdicts: Verdicts = None,
    restart: Annotated[bool, typer.Option(help="Do not go on with one cut short.")] = False,
    folder: Folder = "main",
    county: County = "",
) -> None:
    """Put people on a policy's list by their identity numbers. Cut short, go on."""
    order = insured_file.Order(
        policy, cover, dry_run, read_mapping(mapping, titles or ()), encoding
    )

    async def work() -> int:
        remote = Remote.read(places.find().folder(folder))
        code = remote.county(county)
        what = {
            "file": file_digest(file).hex(),
            "county": code,
            "institution": institution,
            "policy": policy,
            "cover": cover,
            "dry_run": dry_run,
            "columns": dict(order.titles or {}),
            "encoding": encoding,
        }
        path = verdicts or file.with_name(f"{file.name}.verdicts.csv")
        kept = VerdictFile(
            path, what=what, anew=restart or dry_run, titles=insured_file.VERDICT_TITLES
        )
        if kept.resumed:
            console.print(f"going on after {kept.counts.get('lines', 0)} lines")
        async with remote.institution(institution) as client:
            with kept:
                report = await insured_file.import_insured(
                    client, file, code, order=order, verdicts=kept, progress=_show
                )
        would = "would be " if dry_run else ""
        console.print(
            f"{report.lines} lines: {report.insured} {would}insured for {report.premium_fen} fen "
            f"premium, {report.refused} refused",
            soft_wrap=True,
            highlight=False,
        )
        console.print(f"verdicts: {path}", soft_wrap=True, highlight=False)
        return 0

    raise typer.Exit(run(work()))


def _show(report: insured_file.Report) -> None:
    if sys.stderr.isatty():
        errors.print(f"{report.lines} lines, {report.refused} refused", end="\r")
