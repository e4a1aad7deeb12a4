"""Report files: what the loans' reports answer, written out as CSV or XLSX."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.type.date_pb2 import Date
from liandong.loans.v1 import reports_pb2, reports_pb2_grpc

from deploy.local.client import Institution
from deploy.local.line_files import FileError, LineWriter

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


# --- answers as lines -----------------------------------------------------------------------------


def cells(message: Message, prefix: str = "") -> dict[str, str]:
    """The fields of an answer by name, those within others under both names; no lists."""
    found: dict[str, str] = {}
    for own in message.DESCRIPTOR.fields:
        if own.is_repeated:
            continue
        name, value = f"{prefix}{own.name}", getattr(message, own.name)
        given = not own.has_presence or message.HasField(own.name)
        if isinstance(value, Date):
            found[name] = f"{value.year:04d}-{value.month:02d}-{value.day:02d}" if given else ""
        elif own.type == FieldDescriptor.TYPE_MESSAGE:
            found |= cells(value, f"{name}.")
        elif own.type == FieldDescriptor.TYPE_ENUM:
            assert own.enum_type is not None
            found[name] = own.enum_type.values_by_number[value].name.lower()
        else:
            found[name] = str(value) if given else ""
    return found


def _of_row(row: reports_pb2.ReportRow, by: Sequence[str]) -> dict[str, str]:
    found = dict(zip(by, row.keys, strict=True)) | cells(row.figures)
    found["households"] = str(row.households)
    found["owing_households"] = str(row.owing_households)
    counted = row.HasField("counted_households")
    found["counted_households"] = str(row.counted_households) if counted else ""
    return found | {f"{each.id}_pct": each.pct for each in row.ratios}


async def figures(
    institution: Institution, request: reports_pb2.ExportReportRequest, by: Sequence[str]
) -> Lines:
    """Every row of a report, page by page over one stream; a stream that breaks is begun again."""
    pages = institution.pages(REPORTS, "ExportReport", request, tries_max=TRIES_MAX)
    async for page in pages:
        for row in page.rows:
            yield _of_row(row, by)


async def recovery(
    institution: Institution, request: reports_pb2.ListRecoveryRatesRequest, by: Sequence[str]
) -> Lines:
    """A line for each row and month."""
    async for row in _listed(institution, "ListRecoveryRates", request, "rows"):
        for month in row.months:
            yield dict(zip(by, row.keys, strict=True)) | cells(month)


async def risk(institution: Institution, request: reports_pb2.ListRiskLoansRequest) -> Lines:
    """A line for each loan of the risk list."""
    async for loan in _listed(institution, "ListRiskLoans", request, "loans"):
        yield cells(loan)


async def lenders(institution: Institution, request: reports_pb2.AssessLendersRequest) -> Lines:
    """A line for each lender and target."""
    answer = await institution.call(REPORTS, "AssessLenders", request)
    for lender in answer.lenders:
        own = {"lender_id": lender.lender_id}
        tolerated = str(lender.tolerated) if lender.HasField("tolerated") else ""
        last = {"all_marks_centi": str(lender.marks_centi), "tolerated": tolerated}
        for target in lender.targets or [reports_pb2.TargetMet()]:
            yield own | cells(target) | last


async def indicators(institution: Institution, request: reports_pb2.GetIndicatorsRequest) -> Lines:
    """A line for each indicator."""
    answer = await institution.call(REPORTS, "GetIndicators", request)
    for each in answer.indicators:
        yield cells(each)


async def counts(institution: Institution, request: reports_pb2.GetIndicatorsRequest) -> Lines:
    """A line for each count: its value, what was stated of it, and the difference."""
    answer = await institution.call(REPORTS, "GetIndicators", request)
    for each in answer.counts:
        yield cells(each)


async def bulletin(institution: Institution, request: reports_pb2.GetBulletinRequest) -> Lines:
    """A line for each figure of a bulletin: those of its sections, its indicators, the whole."""
    answer = await institution.call(REPORTS, "GetBulletin", request)

    def line(section: str, name: str, value: object) -> dict[str, str]:
        return {"section": section, "figure": name, "value": str(value)}

    for section in answer.sections:
        for name, value in sorted(section.figures.items()):
            yield line(section.section, name, value)
        for name in ("worse_loan_ids", "better_loan_ids"):
            for loan_id in getattr(section, name):
                yield line(section.section, name, loan_id)
    for each in answer.indicators:
        yield line("indicators", each.id, each.pct)
    for name, value in cells(answer.total.figures).items():
        yield line("total", name, value)


async def statement(
    institution: Institution, request: reports_pb2.GetHouseholdStatementRequest
) -> Lines:
    """A line for each posting of a household's loans."""
    answer = await institution.call(REPORTS, "GetHouseholdStatement", request)
    for loan in answer.loans:
        for each in loan.lines:
            yield {"loan_id": loan.loan_id, "lender_id": loan.lender_id} | cells(each)


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
