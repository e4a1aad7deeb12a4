"""Insurance files: a statement posted and held against ours, the county's report written out."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Final

from google.type.date_pb2 import Date
from liandong.claims.v1 import records_pb2, records_pb2_grpc

from deploy.local.client import Institution
from deploy.local.line_files import Columns, FileError, LineWriter, Row, read_rows

CHUNK_LINES: Final = 500
TRIES_MAX: Final = 8
RECORDS: Final = records_pb2_grpc.RecordsServiceStub

COLUMNS: Final = Columns(
    titles={
        "编号": "record_id",
        "金额(分)": "amount_fen",
        "日期": "value_date",
        "状态": "state",
        "收款方": "payee_id",
    },
    needed=("record_id", "amount_fen", "value_date"),
)
"""Headers of a statement and the fields they are; the English names are taken too."""

DIFFERENCE_TITLES: Final = (
    "number",
    "line_number",
    "record_id",
    "cause",
    "theirs_fen",
    "ours_fen",
    "theirs",
    "ours",
)

DIMENSIONS: Final[Mapping[str, "records_pb2.ReportDimension.ValueType"]] = {
    "line": records_pb2.REPORT_DIMENSION_LINE,
    "insurer": records_pb2.REPORT_DIMENSION_INSURER,
    "area": records_pb2.REPORT_DIMENSION_AREA,
    "year": records_pb2.REPORT_DIMENSION_YEAR,
}


def to_date(day: date) -> Date:
    """A day for the wire."""
    return Date(year=day.year, month=day.month, day=day.day)


# --- a statement ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Heading:
    """What a statement says of itself."""

    county_code: str
    institution_id: str
    kind: str
    reference: str
    from_date: date
    until_date: date

    @property
    def kind_on_the_wire(self) -> "records_pb2.StatementKind.ValueType":
        """The kind as the contract names it."""
        name = f"STATEMENT_KIND_{self.kind.upper()}"
        if name not in records_pb2.StatementKind.keys():  # noqa: SIM118 - no mapping
            raise FileError(f"{self.kind}: no kind of statement")
        return records_pb2.StatementKind.Value(name)


@dataclass(slots=True)
class Reconciled:
    """What became of a statement."""

    reconciliation_id: str = ""
    lines: int = 0
    agreeing: int = 0
    refused: list[str] = field(default_factory=list)
    causes: dict[str, int] = field(default_factory=dict)


def _line(number: int, row: Row) -> records_pb2.StatementLine:
    """A line of the file; one that cannot be read stops the file before anything was posted."""
    if row.unreadable:
        raise FileError(f"line {row.number}: {row.unreadable}")
    try:
        return records_pb2.StatementLine(
            line_number=number,
            record_id=row.cells["record_id"],
            amount_fen=int(row.cells["amount_fen"]),
            value_date=to_date(date.fromisoformat(row.cells["value_date"])),
            state=row.cells.get("state", ""),
            payee_id=row.cells.get("payee_id", ""),
        )
    except ValueError as error:
        raise FileError(f"line {row.number}: {error}") from error


def _lines(path: Path, encoding: str) -> Iterator[records_pb2.StatementLine]:
    rows = read_rows(path, COLUMNS, encoding=encoding)
    return (_line(number, row) for number, row in enumerate(rows, 1))


async def reconcile(
    institution: Institution,
    path: Path,
    heading: Heading,
    *,
    differences: Path,
    dry_run: bool,
    encoding: str = "utf-8-sig",
) -> Reconciled:
    """Post a statement and hold it against ours; the same file again changes nothing."""
    amounts = [line.amount_fen for line in _lines(path, encoding)]
    start = records_pb2.StartReconciliationRequest(
        request_id=str(uuid.uuid4()),
        county_code=heading.county_code,
        institution_id=heading.institution_id,
        kind=heading.kind_on_the_wire,
        reference=heading.reference,
        from_date=to_date(heading.from_date),
        until_date=to_date(heading.until_date),
        lines=len(amounts),
        amount_fen=sum(amounts),
    )
    done = Reconciled(lines=len(amounts))
    started = await institution.call(RECORDS, "StartReconciliation", start)
    done.reconciliation_id = started.reconciliation_id
    lines = _lines(path, encoding)
    while chunk := list(islice(lines, CHUNK_LINES)):
        await _post(institution, heading, chunk, done)
    if not done.refused:
        await _compare(institution, heading, done, differences=differences, dry_run=dry_run)
    return done


async def _post(
    institution: Institution,
    heading: Heading,
    chunk: list[records_pb2.StatementLine],
    done: Reconciled,
) -> None:
    request = records_pb2.PostStatementLinesRequest(
        request_id=str(uuid.uuid4()),
        county_code=heading.county_code,
        reconciliation_id=done.reconciliation_id,
        institution_id=heading.institution_id,
        until_date=to_date(heading.until_date),
        items=chunk,
    )
    answer = await institution.call(RECORDS, "PostStatementLines", request)
    done.refused += [
        f"line {chunk[each.index].line_number}: {each.reason}, {each.message}"
        for each in answer.verdicts
        if not each.accepted
    ]


async def _compare(
    institution: Institution,
    heading: Heading,
    done: Reconciled,
    *,
    differences: Path,
    dry_run: bool,
) -> None:
    request = records_pb2.CompareStatementRequest(
        request_id=str(uuid.uuid4()),
        county_code=heading.county_code,
        reconciliation_id=done.reconciliation_id,
        dry_run=dry_run,
    )
    answer = await institution.call(RECORDS, "CompareStatement", request)
    done.agreeing = answer.agreeing
    done.causes = {_word(each.cause): each.differences for each in answer.causes}
    with LineWriter(differences, DIFFERENCE_TITLES) as writer:
        if answer.reconciliation.compared_on.year == 0:
            # Nothing is kept in a dry run: the answer's own first differences are all there are.
            for each in answer.differences:
                writer.write(_cells(each))
            return
        listing = records_pb2.ListDifferencesRequest(
            county_code=heading.county_code,
            reconciliation_id=done.reconciliation_id,
            page_size=CHUNK_LINES,
        )
        while True:
            page = await institution.call(RECORDS, "ListDifferences", listing)
            for each in page.differences:
                writer.write(_cells(each))
            if not page.next_page_token:
                return
            listing.page_token = page.next_page_token


def _word(cause: "records_pb2.ReconciliationCause.ValueType") -> str:
    name = records_pb2.ReconciliationCause.Name(cause)
    return name.removeprefix("RECONCILIATION_CAUSE_").lower()


def _cells(found: records_pb2.Difference) -> list[str]:
    return [
        _word(found.cause) if name == "cause" else str(getattr(found, name))
        for name in DIFFERENCE_TITLES
    ]


# --- the report -----------------------------------------------------------------------------------

REPORT_TITLES: Final = tuple(each.name for each in records_pb2.InsuranceReportRow.DESCRIPTOR.fields)


async def export_report(
    institution: Institution, path: Path, request: records_pb2.ExportInsuranceReportRequest
) -> int:
    """Write the whole report; how many rows it has."""
    rows = 0
    pages = institution.pages(RECORDS, "ExportInsuranceReport", request, tries_max=TRIES_MAX)
    with LineWriter(path, REPORT_TITLES) as writer:
        async for page in pages:
            for row in page.rows:
                writer.write([str(getattr(row, name)) for name in REPORT_TITLES])
            rows += len(page.rows)
    return rows
