"""The county's annual bulletin: its loans by lender, every figure held against the journal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from liandong.loans.v1 import reports_pb2, reports_pb2_grpc
from rich.console import Console
from rich.table import Table

from deploy.local.audit import Line
from deploy.local.client import Institution
from deploy.local.report_file import to_date
from services.kernel.money import half_up

SHOWN: Sequence[tuple[str, str]] = (
    ("loans", "loans"),
    ("lent", "lent_fen"),
    ("collected", "collected_principal_fen"),
    ("subsidy", "subsidy_fen"),
    ("balance", "balance_fen"),
    ("overdue", "overdue_principal_fen"),
    ("bad", "non_performing_fen"),
)
"""Title and figure of each column."""
THOUSAND_YUAN = 100_000
BY_LENDER = (reports_pb2.LOAN_REPORT_DIMENSION_LENDER,)


@dataclass(frozen=True, slots=True)
class AnnualBulletin:
    """A year of a county's loans as the reports say it."""

    year: int
    lenders: Sequence[reports_pb2.ReportRow]
    total: reports_pb2.ReportRow
    checks: Sequence[Line]

    @property
    def wrong(self) -> int:
        """By how much figures and journal differ in all."""
        return sum(line.difference for line in self.checks)


async def annual(
    client: Institution, county_code: str, day: date, totals: Mapping[str, int]
) -> AnnualBulletin:
    """Ask for the year that a day is in, by lender and whole, and hold it against the journal."""

    async def rows(*by: "reports_pb2.LoanReportDimension.ValueType") -> list[reports_pb2.ReportRow]:
        request = reports_pb2.GetReportRequest(
            county_code=county_code,
            by=by,
            period=reports_pb2.REPORT_PERIOD_YEAR,
            day=to_date(day),
            page_size=500,
        )
        answer = await client.call(reports_pb2_grpc.ReportsServiceStub, "GetReport", request)
        return list(answer.rows)

    lenders, (total,) = await rows(*BY_LENDER), await rows()
    return AnnualBulletin(day.year, lenders, total, checks(lenders, total.figures, totals))


def checks(
    lenders: Sequence[reports_pb2.ReportRow],
    own: reports_pb2.ReportFigures,
    totals: Mapping[str, int],
) -> list[Line]:
    """What the bulletin and the journal must agree on."""

    def journal(account: str) -> int:
        return totals.get(f"journal.loans.{account}_fen", 0)

    moved = own.disbursed_fen + own.taken_over_fen + own.carried_in_fen
    gone = own.collected_principal_fen + own.carried_out_fen + own.written_off_fen
    found = [
        Line("bulletin: balance = journal", own.balance_fen, journal("loan_principal")),
        Line("bulletin: interest owed = journal", own.interest_owed_fen, journal("loan_interest")),
        Line(
            "bulletin: balance = before + paid out − paid back",
            own.balance_fen,
            own.balance_before_fen + moved - gone,
        ),
        Line("bulletin: loans = loans paid out", own.loans, totals["loans.disbursed_count"]),
        Line("bulletin: lent = paid out", own.lent_fen, totals["loans.disbursed_fen"]),
    ]
    if not own.balance_before_fen:
        # All that was ever charged or paid is of this year.
        found += [
            Line(
                "bulletin: interest and subsidy charged = journal",
                own.interest_charged_fen + own.subsidy_fen,
                -journal("interest_income"),
            ),
            Line(
                "bulletin: subsidy not paid yet = journal",
                own.subsidy_fen - own.subsidy_paid_fen,
                journal("treasury_receivable"),
            ),
        ]
    for each in own.DESCRIPTOR.fields:
        parts = sum(getattr(row.figures, each.name) for row in lenders)
        line = Line(f"bulletin: {each.name} by lender", parts, getattr(own, each.name))
        if line.difference:
            found.append(line)
    return found


def print_bulletin(bulletin: AnnualBulletin, console: Console) -> None:
    """A line for each lender and one for the county; then what differs, if anything."""
    table = Table(
        title=f"The county's loans in {bulletin.year}, thousand yuan",
        title_justify="left",
        box=None,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("lender")
    for title, _ in SHOWN:
        table.add_column(title, justify="right")
    table.add_column("households", justify="right")
    for name, row in [*((row.keys[0], row) for row in bulletin.lenders), ("all", bulletin.total)]:
        table.add_row(name, *_cells(row), f"{row.households:,}")
    console.print(table)
    rates = ", ".join(f"{each.id} {each.pct or '-'} %" for each in bulletin.total.ratios)
    console.print(f"[dim]{rates}; {len(bulletin.checks)} checks against the journal[/dim]")
    for line in bulletin.checks:
        if line.difference:
            console.print(f"[bold red]{line.check}: {line.left:,} and {line.right:,}[/bold red]")


def _cells(row: reports_pb2.ReportRow) -> list[str]:
    found = []
    for _, name in SHOWN:
        value = getattr(row.figures, name)
        found.append(
            f"{half_up(value, THOUSAND_YUAN):,}" if name.endswith("_fen") else f"{value:,}"
        )
    return found
