"""The `liandong report` command: reports on loans in a CSV or XLSX file."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer
from liandong.loans.v1 import reports_pb2
from rich.console import Console

from deploy.local import places, report_file
from deploy.local.cli_run import run
from deploy.local.client import Institution
from deploy.local.line_files import FileError
from deploy.local.remote import Remote
from deploy.local.report_file import Lines, to_date

console = Console()

KINDS = "figures, recovery, risk, lenders, indicators, counts, bulletin or statement"
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"])]


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for on the command line."""

    kind: str
    county_code: str
    by: Sequence[str]
    period: str
    day: date
    as_of: date | None
    since: date | None
    within: str
    lender: str
    programme: str
    product: str
    report: str
    household: str


def report(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="CSV or XLSX to be written.")],
    *,
    day: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="A day of the period.")],
    kind: Annotated[str, typer.Option(help=f"One of {KINDS}.")] = "figures",
    by: Annotated[str, typer.Option(help="Up to four, such as lender,village,household.")] = "",
    period: Annotated[str, typer.Option(help="day, week, month, quarter or year.")] = "year",
    as_of: Day = None,
    since: Day = None,
    within: Annotated[str, typer.Option(help="Code of an area; all if left out.")] = "",
    lender: Annotated[str, typer.Option(help="Only this lender.")] = "",
    programme: Annotated[str, typer.Option(help="The programme, without a version.")] = "",
    product: Annotated[str, typer.Option(help="Only this product.")] = "",
    bulletin: Annotated[str, typer.Option(help="The report's id in the programme.")] = "",
    household: Annotated[str, typer.Option(help="Whose statement.")] = "",
    folder: Annotated[str, typer.Option("--folder", help="Data folder of the platform.")] = "main",
    county: Annotated[str, typer.Option(help="Six digits; needed with several counties.")] = "",
    institution: Annotated[str, typer.Option("--as", help="The institution that asks.")] = "",
) -> None:
    """Write a report on loans into a file: through the gateway, as the institution that asks."""

    async def work() -> int:
        remote = Remote.read(places.find().folder(folder))
        wish = Wish(
            kind=kind,
            county_code=remote.county(county),
            by=[word for word in by.split(",") if word],
            period=period,
            day=day.date(),
            as_of=as_of.date() if as_of else None,
            since=since.date() if since else None,
            within=within,
            lender=lender,
            programme=programme,
            product=product,
            report=bulletin,
            household=household,
        )
        async with remote.institution(institution or remote.with_role("county_centre")) as client:
            lines = await report_file.write(file, lines_of(client, wish))
        console.print(f"{lines} lines in {file}", soft_wrap=True, highlight=False)
        return 0

    raise typer.Exit(run(work()))


def lines_of(client: Institution, wish: Wish) -> Lines:
    """The lines of the report that is wished for."""
    county_code, programme = wish.county_code, wish.programme
    by = report_file.dimensions(wish.by)
    first, as_of = to_date(wish.since), to_date(wish.as_of or wish.day)
    match wish.kind:
        case "figures":
            asked = reports_pb2.ExportReportRequest(
                county_code=county_code,
                by=by,
                period=report_file.period(wish.period),
                day=to_date(wish.day),
                as_of=to_date(wish.as_of),
                within=wish.within,
                lender_id=wish.lender,
                programme_id=programme,
                product_id=wish.product,
            )
            return report_file.figures(client, asked, wish.by)
        case "recovery":
            rates = reports_pb2.ListRecoveryRatesRequest(
                county_code=county_code,
                by=by,
                first=to_date(wish.since or wish.day.replace(month=1, day=1)),
                last=to_date(wish.day),
                as_of=to_date(wish.as_of),
                within=wish.within,
                lender_id=wish.lender,
                programme_id=programme,
            )
            return report_file.recovery(client, rates, wish.by)
        case "risk":
            listed = reports_pb2.ListRiskLoansRequest(
                county_code=county_code, programme_id=programme, as_of=as_of, within=wish.within
            )
            return report_file.risk(client, listed)
        case "lenders":
            assessed = reports_pb2.AssessLendersRequest(
                county_code=county_code, programme_id=programme, first=first, as_of=as_of
            )
            return report_file.lenders(client, assessed)
        case "indicators" | "counts":
            shown = reports_pb2.GetIndicatorsRequest(
                county_code=county_code, programme_id=programme, first=first, as_of=as_of
            )
            of_kind = report_file.counts if wish.kind == "counts" else report_file.indicators
            return of_kind(client, shown)
        case "bulletin":
            issue = reports_pb2.GetBulletinRequest(
                county_code=county_code,
                programme_id=programme,
                report_id=wish.report,
                day=to_date(wish.day),
                as_of=to_date(wish.as_of),
                within=wish.within,
                lender_id=wish.lender,
            )
            return report_file.bulletin(client, issue)
        case "statement":
            own = reports_pb2.GetHouseholdStatementRequest(
                county_code=county_code, household_id=wish.household, first=first, as_of=as_of
            )
            return report_file.statement(client, own)
    raise FileError(f"{wish.kind}: a report is {KINDS}")
