"""An indicator file: read line by line, sent in chunks, answered with a verdict for every line."""

import csv
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from pathlib import Path

from google.type.date_pb2 import Date
from liandong.common.v1 import common_pb2
from liandong.credit.v1 import credit_pb2, credit_pb2_grpc

from deploy.local.client import Institution
from deploy.local.line_files import FileError

CHUNK_LINES = 2_000
REFUSED_KEPT_MAX = 10_000
VALUE_MAX = 2**63

COLUMNS: Mapping[str, str] = {
    "农户标识": "household_id",
    "指标": "code",
    "数值": "value",
    "采集日期": "observed_on",
    "有效期至": "expires_on",
    "证据摘要": "evidence_sha256",
}
"""Headers of the file and the fields they are; the English names are taken too."""
NEEDED = ("household_id", "code", "value", "observed_on")


@dataclass(frozen=True, slots=True)
class Refused:
    """A line that was refused: where, what was given, which rule it breaks."""

    line_number: int
    field: str
    value: str
    rule: str
    reason: str
    message_zh: str = ""

    def __str__(self) -> str:
        said = f" ({self.message_zh})" if self.message_zh else ""
        given = f", {self.field} = {self.value}" if self.field else ""
        return f"line {self.line_number}{given}: {self.reason}, {self.rule}{said}"


@dataclass(slots=True)
class Report:
    """What became of a file."""

    recorded: int = 0
    refused_lines: int = 0
    refused: list[Refused] = field(default_factory=list)
    """The first `REFUSED_KEPT_MAX` of them."""

    def refuse(self, line: Refused) -> None:
        """Count a refused line, and keep it while there is room."""
        self.refused_lines += 1
        if len(self.refused) < REFUSED_KEPT_MAX:
            self.refused.append(line)


Line = tuple[int, credit_pb2.Indicator | Refused]


def read_lines(path: Path) -> Iterator[Line]:
    """The lines of a file with their numbers; one that cannot be read says why."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        header = next(reader, None)
        if not header:
            raise FileError(f"{path}: the file has no header line")
        names = [COLUMNS.get(title.strip(), title.strip()) for title in header]
        if unknown := [name for name in names if name not in COLUMNS.values()]:
            raise FileError(f"{path}: unknown columns {', '.join(unknown)}")
        if missing := [name for name in NEEDED if name not in names]:
            raise FileError(f"{path}: the columns {', '.join(missing)} are missing")
        for cells in reader:
            yield reader.line_num, _line(reader.line_num, names, cells)


def _line(number: int, names: list[str], cells: list[str]) -> credit_pb2.Indicator | Refused:
    if len(cells) != len(names):
        rule = f"must have {len(names)} columns as the header has"
        return Refused(number, "", str(len(cells)), rule, "UNREADABLE_LINE", "列数与表头不符")
    given = {name: cell.strip() for name, cell in zip(names, cells, strict=True)}
    if (found := _wrong(given)) is not None:
        name, rule = found
        return Refused(number, name, given[name], rule, "UNREADABLE_LINE", "无法读取")
    indicator = credit_pb2.Indicator(
        household_id=given["household_id"],
        code=given["code"],
        value=int(given["value"]),
        observed_on=_day(given["observed_on"]),
        evidence_sha256=given.get("evidence_sha256", ""),
    )
    if last := given.get("expires_on"):
        indicator.expires_on.CopyFrom(_day(last))
    return indicator


def _wrong(given: Mapping[str, str]) -> tuple[str, str] | None:
    """The first cell that no request could carry, and the rule that it breaks."""
    try:
        uuid.UUID(given["household_id"])
    except ValueError:
        return "household_id", "must be the household's id (UUID)"
    if not 1 <= len(given["code"]) <= 60:
        return "code", "must be a code of at most 60 characters"
    try:
        if not -VALUE_MAX <= int(given["value"]) < VALUE_MAX:
            return "value", "must fit into 64 bits"
    except ValueError:
        return "value", "must be a whole number; yes is 1 and no is 0"
    days = [name for name in ("observed_on", "expires_on") if name in NEEDED or given.get(name)]
    for name in days:
        try:
            date.fromisoformat(given[name])
        except ValueError:
            return name, "must be a calendar day, YYYY-MM-DD"
    evidence = given.get("evidence_sha256", "")
    if evidence and (len(evidence) != 64 or set(evidence) - set("0123456789abcdef")):
        return "evidence_sha256", "must be 64 hexadecimal digits"
    return None


def _day(text: str) -> Date:
    day = date.fromisoformat(text)
    return Date(year=day.year, month=day.month, day=day.day)


async def import_file(
    institution: Institution,
    path: Path,
    county_code: str,
    *,
    file_id: uuid.UUID,
    progress: Callable[[Report], None] = lambda _: None,
) -> Report:
    """
    Send a file in chunks, in bounded memory; a file that was cut is sent again whole.

    Every chunk's request id comes from the file's id and the chunk's place, so that a chunk that
    was taken before a cut answers again what it answered then.
    """
    report = Report()
    lines = read_lines(path)
    place = 0
    while chunk := list(islice(lines, CHUNK_LINES)):
        await _send(institution, chunk, county_code, uuid.uuid5(file_id, str(place)), report)
        progress(report)
        place += 1
    return report


async def _send(
    institution: Institution,
    chunk: list[Line],
    county_code: str,
    request_id: uuid.UUID,
    report: Report,
) -> None:
    numbers: list[int] = []
    indicators: list[credit_pb2.Indicator] = []
    refused: list[Refused] = []
    for number, line in chunk:
        if isinstance(line, Refused):
            refused.append(line)
        else:
            numbers.append(number)
            indicators.append(line)
    if indicators:
        request = credit_pb2.BatchRecordIndicatorsRequest(
            request_id=str(request_id), county_code=county_code, indicators=indicators
        )
        stub = credit_pb2_grpc.CreditServiceStub
        answer = await institution.call(stub, "BatchRecordIndicators", request)
        report.recorded += answer.recorded
        refused += [_refused(numbers[verdict.index], verdict) for verdict in answer.refused]
    for line in sorted(refused, key=lambda each: each.line_number):
        report.refuse(line)


def _refused(number: int, verdict: common_pb2.Verdict) -> Refused:
    if not verdict.violations:
        return Refused(number, "", "", verdict.message, verdict.reason, verdict.message_zh)
    first = verdict.violations[0]
    return Refused(number, first.field, first.value, first.rule, verdict.reason, verdict.message_zh)
