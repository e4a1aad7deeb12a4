"""Report files: what the loans' reports answer, written out as CSV or XLSX."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

from google.type.date_pb2 import Date
from liandong.loans.v1 import reports_pb2, reports_pb2_grpc

from deploy.local.client import Institution
from deploy.local.line_files import FileError, LineWriter
from gateway.documents import rows

REPORTS: Final = reports_pb2_grpc.ReportsServiceStub
PAGE_ROWS: Final = 500
TRIES_MAX: Final = 8

_DIMENSION = "LOAN_REPORT_DIMENSION_"
_PERIOD = "REPORT_PERIOD_"
Lines = AsyncIterator[Mapping[str, str]]


def to_date(day: date | None) -> Date | None:
    """A day for the wire; none stays unset."""
    return None if day is None else Date(year=day.year, month=day.month, day=day.day)


def dimensions(words: Iterable[str]) -> list["reports_pb2.LoanReportDimension.ValueType"]:
    """Dimensions by the words of the command line."""
    known = [name.removeprefix(_DIMENSION).lower() for name in _names()]
    found = []
    for word in words:
        if word not in known:
            raise FileError(f"{word}: no dimension of a report; there are {', '.join(known)}")
        found.append(reports_pb2.LoanReportDimension.Value(_DIMENSION + word.upper()))
    return found


def _names() -> list[str]:
    return list(reports_pb2.LoanReportDimension.keys())[1:]


def period(word: str) -> "reports_pb2.ReportPeriod.ValueType":
    """A period by its word."""
    if word not in {"day", "week", "month", "quarter", "year"}:
        raise FileError(f"{word}: a period is day, week, month, quarter or year")
    return reports_pb2.ReportPeriod.Value(_PERIOD + word.upper())


# --- answers as lines: the rows are the gateway's, the pages are fetched here ---------------------


async def figures(
    institution: Institution, request: reports_pb2.ExportReportRequest, by: Sequence[str]
) -> Lines:
    """Every row of a report, page by page over one stream; a stream that breaks is begun again."""
    pages = institution.pages(REPORTS, "ExportReport", request, tries_max=TRIES_MAX)
    async for page in pages:
        for line in rows.figures(page.rows, by):
            yield line


async def recovery(
    institution: Institution, request: reports_pb2.ListRecoveryRatesRequest, by: Sequence[str]
) -> Lines:
    """A line for each row and month."""
    async for row in _listed(institution, "ListRecoveryRates", request, "rows"):
        for line in rows.recovery([row], by):
            yield line


async def risk(institution: Institution, request: reports_pb2.ListRiskLoansRequest) -> Lines:
    """A line for each loan of the risk list."""
    async for loan in _listed(institution, "ListRiskLoans", request, "loans"):
        yield rows.cells(loan)


async def lenders(institution: Institution, request: reports_pb2.AssessLendersRequest) -> Lines:
    """A line for each lender and target."""
    for line in rows.lenders(await institution.call(REPORTS, "AssessLenders", request)):
        yield line


async def indicators(institution: Institution, request: reports_pb2.GetIndicatorsRequest) -> Lines:
    """A line for each indicator."""
    answer = await institution.call(REPORTS, "GetIndicators", request)
    for line in rows.plain(answer.indicators):
        yield line


async def counts(institution: Institution, request: reports_pb2.GetIndicatorsRequest) -> Lines:
    """A line for each count: its value, what was stated of it, and the difference."""
    answer = await institution.call(REPORTS, "GetIndicators", request)
    for each in answer.counts:
        yield rows.cells(each)


async def bulletin(institution: Institution, request: reports_pb2.GetBulletinRequest) -> Lines:
    """A line for each figure of a bulletin: those of its sections, its indicators, the whole."""
    for line in rows.bulletin(await institution.call(REPORTS, "GetBulletin", request)):
        yield line


async def statement(
    institution: Institution, request: reports_pb2.GetHouseholdStatementRequest
) -> Lines:
    """A line for each posting of a household's loans."""
    for line in rows.statement(await institution.call(REPORTS, "GetHouseholdStatement", request)):
        yield line


async def _listed(
    institution: Institution, method: str, request: Any, name: str
) -> AsyncIterator[Any]:
    """The items of every page of a list."""
    request.page_size = PAGE_ROWS
    while True:
        answer = await institution.call(REPORTS, method, request)
        for each in getattr(answer, name):
            yield each
        if not answer.next_page_token:
            return
        request.page_token = answer.next_page_token


async def write(path: Path, lines: Lines) -> int:
    """Write lines into a CSV or XLSX file, the first one's names its titles; how many there are."""
    first = await anext(aiter(lines), None)
    titles = list(first) if first is not None else ["empty"]
    count = 0
    with LineWriter(path, titles) as writer:
        if first is not None:
            writer.write(list(first.values()))
            count = 1
        async for line in lines:
            writer.write([line.get(title, "") for title in titles])
            count += 1
    return count
