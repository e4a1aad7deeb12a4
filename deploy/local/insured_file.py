"""The insured file: a list with identity numbers, sent in chunks, gone on with where it was cut."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from itertools import islice
from pathlib import Path
from typing import Any, Final

import grpc
from google.type.date_pb2 import Date
from liandong.common.v1 import common_pb2
from liandong.gateway.v1 import insured_pb2, insured_pb2_grpc

from deploy.local.client import Institution
from deploy.local.household_file import VerdictFile
from deploy.local.line_files import Columns, Row, read_rows
from services.kernel import rpc
from services.kernel.errors import Invalid
from services.kernel.status import reason_of

LINES_A_CALL: Final = 500

COLUMNS: Final = Columns(
    {
        "证件号码": "identity_number",
        "姓名": "name",
        "出生日期": "born_on",
        "仅本人": "person_only",
        "险种": "cover_id",
        "保额(元)": "sum_insured_yuan",
        "保额(分)": "sum_insured_fen",
        "贷款标识": "loan_id",
        "起保日期": "from_date",
    }
)
"""Headers of the file and the fields they are; the English names are taken too."""

VERDICT_TITLES: Final = (
    *("line_number", "verdict", "insured_id", "column", "value", "reason", "message"),
    "message_zh",
)
_YES: Final = {"": False, "true": True, "1": True, "是": True}
_NO: Final = {"false": False, "0": False, "否": False}
_AMOUNT_DIGITS_MAX: Final = 15


class LineWrong(ValueError):
    """A line that cannot be read: its column and what that must be."""

    def __init__(self, column: str, rule: str) -> None:
        super().__init__(f"{column}: {rule}")
        self.column = column
        self.rule = rule


@dataclass(slots=True)
class Report:
    """What became of a file."""

    lines: int = 0
    insured: int = 0
    refused: int = 0
    premium_fen: int = 0

    def counts(self) -> dict[str, int]:
        """The numbers by name."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Order:
    """How a file is to be read and taken."""

    policy_id: str
    cover_id: str = ""
    """Of the lines that name none."""
    dry_run: bool = False
    titles: Mapping[str, str] | None = None
    encoding: str = "utf-8-sig"


def read_line(row: Row, cover_id: str = "") -> insured_pb2.IdentifiedLine:
    """A line as the gateway takes it; LineWrong names the column."""
    if row.unreadable:
        raise LineWrong("", row.unreadable)
    cells = {name: cell.strip() for name, cell in row.cells.items()}
    line = insured_pb2.IdentifiedLine(
        identity_number=cells.get("identity_number", ""),
        name=cells.get("name", ""),
        born_on=_day("born_on", cells.get("born_on", "")),
        person_only=_flag("person_only", cells.get("person_only", "")),
        cover_id=cells.get("cover_id", "") or cover_id,
        sum_insured_fen=_sum_fen(cells),
        loan_id=cells.get("loan_id", ""),
        from_date=_day("from_date", cells.get("from_date", "")),
    )
    try:
        # What the wire would refuse must not take the other lines of a call with it.
        rpc.check(line)
    except Invalid as error:
        raise LineWrong(error.violations[0].field, error.violations[0].rule) from error
    return line


def _day(column: str, text: str) -> Date | None:
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise LineWrong(column, "must be a calendar day such as 2018-03-01") from None
    return Date(year=day.year, month=day.month, day=day.day)


def _flag(column: str, text: str) -> bool:
    found = {**_YES, **_NO}.get(text.lower())
    if found is None:
        raise LineWrong(column, "must be true or false, 是 or 否")
    return found


def _sum_fen(cells: Mapping[str, str]) -> int:
    yuan, fen = cells.get("sum_insured_yuan", ""), cells.get("sum_insured_fen", "")
    if yuan and fen:
        raise LineWrong("sum_insured_yuan", "a sum stands in yuan or in fen, not in both")
    column = "sum_insured_yuan" if yuan else "sum_insured_fen"
    try:
        amount = Decimal(yuan) * 100 if yuan else Decimal(fen or 0)
    except InvalidOperation:
        raise LineWrong(column, "must be an amount") from None
    whole = amount.is_finite() and amount == amount.to_integral_value()
    if not whole or amount < 0 or amount.adjusted() >= _AMOUNT_DIGITS_MAX:
        raise LineWrong(column, "must be an amount of whole fen, at most 15 digits")
    return int(amount)


# --- sending --------------------------------------------------------------------------------------


async def import_insured(
    institution: Institution,
    path: Path,
    county_code: str,
    *,
    order: Order,
    verdicts: VerdictFile,
    progress: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Send the lines of a file, at most 500 a call; cut short, the next run goes on after them."""
    report = Report(**verdicts.counts)
    rows = read_rows(path, COLUMNS.with_titles(order.titles or {}), encoding=order.encoding)
    for place, part in enumerate(_parts(rows)):
        if place < verdicts.chunks:
            continue
        # The id follows from the file and the chunk's place: one that was taken before a cut
        # answers again what it answered then.
        request_id = uuid.uuid5(verdicts.file_id, f"{place}:{order.dry_run}")
        said, premium_fen = await _send(institution, county_code, order, part, request_id)
        report.lines += len(said)
        report.insured += sum(row[1] == "insured" for row in said)
        report.refused += sum(row[1] == "refused" for row in said)
        report.premium_fen += premium_fen
        verdicts.take(said, report.counts())
        progress(report)
    verdicts.complete()
    return report


def _parts(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while part := list(islice(rows, LINES_A_CALL)):
        yield part


async def _send(
    institution: Institution,
    county_code: str,
    order: Order,
    rows: list[Row],
    request_id: uuid.UUID,
) -> tuple[list[tuple[str, ...]], int]:
    """A verdict for each line, and the premium of those accepted."""
    said: dict[int, tuple[str, ...]] = {}
    lines: list[tuple[int, insured_pb2.IdentifiedLine]] = []
    for row in rows:
        try:
            lines.append((row.number, read_line(row, order.cover_id)))
        except LineWrong as error:
            said[row.number] = _refused(row.number, error.column, "LINE_WRONG", error.rule)
    premium_fen = 0
    if lines:
        request = insured_pb2.EnrolInsuredByIdentityRequest(
            request_id=str(request_id),
            county_code=county_code,
            policy_id=order.policy_id,
            items=[line for _, line in lines],
            dry_run=order.dry_run,
        )
        answer = await _enrol(institution, request)
        premium_fen = answer.premium_fen
        for (number, _), verdict in zip(lines, answer.verdicts, strict=True):
            said[number] = _cells(number, verdict)
    return [said[row.number] for row in rows], premium_fen


async def _enrol(
    institution: Institution, request: insured_pb2.EnrolInsuredByIdentityRequest
) -> insured_pb2.EnrolInsuredByIdentityResponse:
    stub: Any = insured_pb2_grpc.InsuredListServiceStub
    answer: insured_pb2.EnrolInsuredByIdentityResponse
    try:
        answer = await institution.call(stub, "EnrolInsuredByIdentity", request)
    except grpc.aio.AioRpcError as error:
        if reason_of(error) != "REQUEST_ID_REUSED":
            raise
        # Somebody was registered or merged since the cut: what is on the list says so itself.
        request.request_id = str(uuid.uuid4())
        answer = await institution.call(stub, "EnrolInsuredByIdentity", request)
    return answer


def _refused(number: int, column: str, reason: str, message: str) -> tuple[str, ...]:
    return str(number), "refused", "", column, "", reason, message, ""


def _cells(number: int, verdict: common_pb2.Verdict) -> tuple[str, ...]:
    if verdict.accepted:
        return str(number), "insured", verdict.id, "", "", "", "", ""
    wrong = verdict.violations[0] if verdict.violations else common_pb2.FieldViolation()
    said = (wrong.field, wrong.value, verdict.reason, verdict.message, verdict.message_zh)
    return str(number), "refused", "", *said
