"""A household file: read line by line, sent in chunks, answered with what was refused and why."""

import asyncio
import csv
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from liandong.households.v1 import households_pb2, households_pb2_grpc

from deploy.local.client import Institution, may_ask_again

CHUNK_LINES = 1_000
HOUSEHOLD_LINES_MAX = 500
TRIES_MAX = 120
REFUSED_KEPT_MAX = 10_000

COLUMNS: Mapping[str, str] = {
    "户编号": "household_number",
    "村代码": "village_code",
    "与户主关系": "relation",
    "姓名": "name",
    "证件号码": "identity_number",
    "电话": "phone",
    "登记状态": "registration_status",
    "荣誉": "honour",
    "劳动能力": "labour",
    "登记日期": "registered_on",
}
"""Headers of the file and the fields they are; the English names are taken too."""

FIELDS = frozenset(COLUMNS.values())


class FileError(ValueError):
    """The file as a whole cannot be read: no header, a column unknown or missing."""


@dataclass(slots=True)
class Report:
    """What became of a file."""

    households: int = 0
    people: int = 0
    refused_lines: int = 0
    refused: list[households_pb2.RefusedLine] = field(default_factory=list)
    """The first `REFUSED_KEPT_MAX` of them."""
    household_ids: dict[str, str] = field(default_factory=dict)
    """Number in the registry to id, of the households of this file."""


def read_lines(path: Path) -> Iterator[households_pb2.HouseholdLine]:
    """The lines of a file, each as it stands; one that cannot be read says why."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        header = next(reader, None)
        if not header:
            raise FileError(f"{path}: the file has no header line")
        names = [COLUMNS.get(title.strip(), title.strip()) for title in header]
        unknown = [title for title, name in zip(header, names, strict=True) if name not in FIELDS]
        if unknown:
            raise FileError(f"{path}: unknown columns {', '.join(unknown)}")
        for needed in ("household_number", "village_code", "relation", "identity_number"):
            if needed not in names:
                raise FileError(f"{path}: the column {needed} is missing")
        begins = reader.line_num + 1
        for cells in reader:
            yield _line(begins, names, cells)
            begins = reader.line_num + 1


def _line(number: int, names: list[str], cells: list[str]) -> households_pb2.HouseholdLine:
    given = dict(zip(names, cells, strict=False))
    line = households_pb2.HouseholdLine(line_number=number, **given)
    if len(cells) != len(names):
        line.unreadable = f"{len(cells)} columns where the header has {len(names)}"
    return line


def chunks(
    lines: Iterator[households_pb2.HouseholdLine], size: int = CHUNK_LINES
) -> Iterator[list[households_pb2.HouseholdLine]]:
    """Lines in chunks that never part a household, whose lines stand together."""
    chunk: list[households_pb2.HouseholdLine] = []
    for line in lines:
        full = len(chunk) >= size
        same = bool(chunk) and chunk[-1].household_number == line.household_number
        if full and (not same or len(chunk) >= size + HOUSEHOLD_LINES_MAX):
            yield chunk
            chunk = []
        chunk.append(line)
    if chunk:
        yield chunk


async def import_file(
    institution: Institution,
    path: Path,
    county_code: str,
    *,
    file_id: uuid.UUID,
    dry_run: bool = False,
    progress: Callable[[Report], None] = lambda _: None,
) -> Report:
    """
    Send a file; go on where it was cut.

    Every chunk's request id comes from the file's id and the chunk's place, so that a chunk that
    was taken before a cut answers again what it answered then.
    """
    report = Report()
    done = 0
    for attempt in range(TRIES_MAX):
        try:
            async for answer in _send(
                institution, path, county_code, file_id=file_id, dry_run=dry_run, skip=done
            ):
                done += 1
                _add(report, answer)
                progress(report)
            return report
        except grpc.aio.AioRpcError as error:
            if not may_ask_again(error):
                raise
            institution.retries += 1
            await asyncio.sleep(min(0.1 * 2**attempt, 2.0))
    raise TimeoutError(f"{path}: the platform was away too often; {done} chunks were taken")


async def _send(
    institution: Institution,
    path: Path,
    county_code: str,
    *,
    file_id: uuid.UUID,
    dry_run: bool,
    skip: int,
) -> AsyncIterator[households_pb2.ImportHouseholdsResponse]:
    async def requests() -> AsyncIterator[households_pb2.ImportHouseholdsRequest]:
        for place, chunk in enumerate(chunks(read_lines(path))):
            if place >= skip:
                yield households_pb2.ImportHouseholdsRequest(
                    request_id=str(uuid.uuid5(file_id, f"{place}:{dry_run}")),
                    county_code=county_code,
                    lines=chunk,
                    dry_run=dry_run,
                )

    stub = households_pb2_grpc.HouseholdsServiceStub
    async for answer in institution.exchange(stub, "ImportHouseholds", requests):
        yield answer


def _add(report: Report, answer: households_pb2.ImportHouseholdsResponse) -> None:
    report.households += len(answer.households)
    report.people += answer.people
    report.refused_lines += len(answer.refused)
    room = REFUSED_KEPT_MAX - len(report.refused)
    report.refused.extend(answer.refused[:room])
    report.household_ids.update(
        {each.household_number: each.household_id for each in answer.households}
    )
