"""The household file: read, sent in chunks, gone on with where it was cut; and written again."""

import asyncio
import csv
import hashlib
import io
import json
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import IO, Any, Final, Self

import grpc
from liandong.households.v1 import evidence_pb2, households_pb2, households_pb2_grpc

from deploy.local.client import Institution, may_ask_again
from deploy.local.line_files import Columns, LineWriter, read_rows

CHUNK_LINES: Final = 1_000
CHUNK_BYTES_MAX: Final = 1_000_000
HOUSEHOLD_LINES_MAX: Final = 500
TRIES_MAX: Final = 120
REFUSED_KEPT_MAX: Final = 10_000

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
    "离户日期": "left_on",
    "离户原因": "leave_reason",
}
"""Headers of the file and the fields they are; the English names are taken too."""

NEW_FILE = Columns(COLUMNS, ("household_number", "village_code", "relation", "identity_number"))
UPDATE_FILE = Columns(COLUMNS, ("household_number", "identity_number"))
VERDICT_TITLES: Final = (
    *("line_number", "verdict", "household_id", "column", "value", "reason", "message"),
    "message_zh",
)


@dataclass(slots=True)
class Report:
    """What became of a file."""

    lines: int = 0
    households: int = 0
    people: int = 0
    changed_households: int = 0
    changed_lines: int = 0
    registered_lines: int = 0
    unchanged_lines: int = 0
    refused_lines: int = 0
    refused: list[households_pb2.RefusedLine] = field(default_factory=list)
    """The first `REFUSED_KEPT_MAX` of them, or none where a file takes all."""
    household_ids: dict[str, str] = field(default_factory=dict)
    """Number in the registry to id, of the new households; none where a file takes all."""

    @classmethod
    def of_counts(cls, counts: Mapping[str, int]) -> Self:
        """The report that an import which goes on begins with."""
        made = cls()
        for name, value in counts.items():
            setattr(made, name, value)
        return made

    def counts(self) -> dict[str, int]:
        """The numbers alone."""
        return {
            name: value
            for name, value in ((each.name, getattr(self, each.name)) for each in fields(self))
            if isinstance(value, int)
        }


@dataclass(frozen=True, slots=True)
class Order:
    """How a file is to be read and taken."""

    dry_run: bool = False
    update: bool = False
    titles: Mapping[str, str] = field(default_factory=dict)
    """Titles of its own, to fields."""
    encoding: str = "utf-8-sig"
    chunk_lines: int = CHUNK_LINES
    """Lines a transaction."""

    @property
    def columns(self) -> Columns:
        """The columns that it may have and must have."""
        return (UPDATE_FILE if self.update else NEW_FILE).with_titles(self.titles)


def read_lines(path: Path, order: Order | None = None) -> Iterator[households_pb2.HouseholdLine]:
    """The lines of a file, each as it stands; one that cannot be read says why."""
    asked = order or Order()
    for row in read_rows(path, asked.columns, encoding=asked.encoding):
        yield households_pb2.HouseholdLine(
            line_number=row.number, unreadable=row.unreadable, **row.cells
        )


def chunks(
    lines: Iterator[households_pb2.HouseholdLine], size: int = CHUNK_LINES
) -> Iterator[list[households_pb2.HouseholdLine]]:
    """Lines in chunks that never part a household, whose lines stand together."""
    chunk: list[households_pb2.HouseholdLine] = []
    weight = 0
    for line in lines:
        own = line.ByteSize()
        full = len(chunk) >= size
        same = bool(chunk) and chunk[-1].household_number == line.household_number
        over = len(chunk) >= size + HOUSEHOLD_LINES_MAX or weight + own > CHUNK_BYTES_MAX
        if chunk and (over or (full and not same)):
            yield chunk
            chunk = []
            weight = 0
        chunk.append(line)
        weight += own
    if chunk:
        yield chunk


# --- what is kept of an import --------------------------------------------------------------------


def file_digest(path: Path) -> bytes:
    """What a file is known by."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


class VerdictFile:
    """
    A verdict for every line, and beside it how far the import has come.

    Both are on the disk before the next chunk counts, so that a client that dies goes on after the
    last answer that it had; what it wrote beyond that is cut off.
    """

    def __init__(
        self,
        path: Path,
        *,
        what: Mapping[str, object],
        anew: bool = False,
        titles: Sequence[str] = VERDICT_TITLES,
    ) -> None:
        self.path = path
        self._titles = titles
        self._state_path = path.with_name(f"{path.name}.progress.json")
        self._what = dict(what)
        found = None if anew else self._found()
        self.resumed = found is not None
        self.file_id = uuid.UUID(found["file_id"]) if found else uuid.uuid4()
        self.chunks: int = found["chunks"] if found else 0
        self.counts: dict[str, int] = found["counts"] if found else {}
        self._bytes: int = found["bytes"] if found else 0
        self._stack = ExitStack()
        self._file: IO[bytes] | None = None

    def _found(self) -> dict[str, Any] | None:
        """The import that was cut, if it was of the same file taken in the same way."""
        try:
            held = json.loads(self._state_path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        same = isinstance(held, dict) and held.get("what") == self._what
        whole = same and self.path.exists() and self.path.stat().st_size >= held["bytes"]
        return held if whole and not held["complete"] else None

    def __enter__(self) -> Self:
        mode = "r+b" if self.resumed else "wb"
        self._file = self._stack.enter_context(self.path.open(mode))
        self._file.truncate(self._bytes)
        self._file.seek(self._bytes)
        if not self.resumed:
            self._write([self._titles])
            self._keep(complete=False)
        return self

    def _write(self, rows: Iterable[Sequence[str]]) -> None:
        assert self._file is not None
        text = io.StringIO(newline="")
        csv.writer(text).writerows(rows)
        self._file.write(text.getvalue().encode())

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start_over(self) -> None:
        """Forget what was written: a dry run that was cut is another one."""
        assert self._file is not None
        self._file.seek(0)
        self._file.truncate()
        self._write([self._titles])
        self.chunks = 0

    def take(self, rows: list[tuple[str, ...]], counts: Mapping[str, int]) -> None:
        """Write the verdicts of one chunk and that it is done."""
        self._write(rows)
        self.chunks += 1
        self.counts = dict(counts)
        self._keep(complete=False)

    def complete(self) -> None:
        """Note that the file is through: the next import of it is a new one."""
        self._keep(complete=True)

    def _keep(self, *, complete: bool) -> None:
        assert self._file is not None
        self._file.flush()
        self._bytes = self._file.tell()
        state = {
            "what": self._what,
            "file_id": str(self.file_id),
            "chunks": self.chunks,
            "bytes": self._bytes,
            "counts": self.counts,
            "complete": complete,
        }
        half = self._state_path.with_name(f".{self._state_path.name}.half")
        half.write_text(json.dumps(state, ensure_ascii=False), encoding="utf-8")
        half.replace(self._state_path)


# --- importing ------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Sent:
    """A chunk on its way: what its answer will be held against."""

    request_id: str
    lines: list[tuple[int, str]]
    """Line number and household's number."""


class Import:
    """One file on its way into the registry."""

    def __init__(
        self,
        institution: Institution,
        path: Path,
        county_code: str,
        *,
        file_id: uuid.UUID,
        order: Order,
        verdicts: VerdictFile | None = None,
    ) -> None:
        self._institution = institution
        self._path = path
        self._county_code = county_code
        self._file_id = file_id
        self._order = order
        self._verdicts = verdicts
        digest = file_digest(path)
        self._evidence = evidence_pb2.Evidence(
            kind=evidence_pb2.EVIDENCE_KIND_DOCUMENT,
            reference=f"household-file:{digest.hex()[:16]}",
            sha256=digest,
        )
        self._sent: deque[_Sent] = deque()
        self._done = verdicts.chunks if verdicts else 0
        self.report = Report.of_counts(verdicts.counts if verdicts else {})

    async def run(self, progress: Callable[[Report], None]) -> Report:
        """Send the file; while the platform is away, wait and go on where it was cut."""
        tries = 0
        while tries < TRIES_MAX:
            done = self._done
            try:
                async for answer in self._exchange():
                    self._take(answer)
                    progress(self.report)
                if self._verdicts is not None:
                    self._verdicts.complete()
                return self.report
            except grpc.aio.AioRpcError as error:
                if not may_ask_again(error):
                    raise
                self._institution.retries += 1
            tries = 0 if self._done > done else tries + 1
            if self._order.dry_run:
                self._start_over()
            await asyncio.sleep(min(0.1 * 2**tries, 2.0))
        raise TimeoutError(
            f"{self._path}: the platform was away too often; {self._done} chunks were taken"
        )

    def _start_over(self) -> None:
        """A dry run lives in one stream: what it would have written died with that."""
        self._done = 0
        self.report = Report()
        if self._verdicts is not None:
            self._verdicts.start_over()

    async def _exchange(self) -> AsyncIterator[households_pb2.ImportHouseholdsResponse]:
        self._sent.clear()
        stub = households_pb2_grpc.HouseholdsServiceStub
        answers = self._institution.exchange(stub, "ImportHouseholds", self._requests)
        async for answer in answers:
            yield answer

    async def _requests(self) -> AsyncIterator[households_pb2.ImportHouseholdsRequest]:
        done = self._done
        lines = read_lines(self._path, self._order)
        for place, chunk in enumerate(chunks(lines, self._order.chunk_lines)):
            if place < done:
                continue
            # The id follows from the file and the chunk's place: one that was taken before a cut
            # answers again what it answered then.
            name = f"{place}:{self._order.dry_run}"
            request = households_pb2.ImportHouseholdsRequest(
                request_id=str(uuid.uuid5(self._file_id, name)),
                county_code=self._county_code,
                lines=chunk,
                dry_run=self._order.dry_run,
                update=self._order.update,
                evidence=self._evidence if self._order.update else None,
            )
            named = [(line.line_number, line.household_number.strip()) for line in chunk]
            self._sent.append(_Sent(request.request_id, named))
            yield request

    def _take(self, answer: households_pb2.ImportHouseholdsResponse) -> None:
        sent = self._sent.popleft()
        assert sent.request_id == answer.request_id, "an answer out of turn"
        verdicts = list(_verdicts(sent, answer))
        report = self.report
        words = [row[1] for row in verdicts]
        report.lines += len(verdicts)
        report.households += len(answer.households)
        report.people += answer.people
        report.changed_households += len(answer.changed)
        report.registered_lines += words.count("registered")
        report.changed_lines += words.count("changed")
        report.unchanged_lines += words.count("unchanged")
        report.refused_lines += len(answer.refused)
        self._done += 1
        if self._verdicts is not None:
            self._verdicts.take(verdicts, report.counts())
            return
        room = REFUSED_KEPT_MAX - len(report.refused)
        report.refused.extend(answer.refused[:room])
        report.household_ids.update(
            {each.household_number: each.household_id for each in answer.households}
        )


def _verdicts(
    sent: _Sent, answer: households_pb2.ImportHouseholdsResponse
) -> Iterator[tuple[str, ...]]:
    """A row for every line of a chunk."""
    refused = {line.line_number: line for line in answer.refused}
    changed = set(answer.changed_lines)
    new = {each.household_number: each.household_id for each in answer.households}
    known = {each.household_number: each.household_id for each in answer.changed}
    for number, household in sent.lines:
        line = refused.get(number)
        if line is not None:
            said = (line.column, line.value, line.reason, line.message, line.message_zh)
            yield str(number), "refused", "", *said
            continue
        word = "registered" if household in new else "unchanged"
        word = "changed" if number in changed else word
        household_id = new.get(household) or known.get(household, "")
        yield str(number), word, household_id, "", "", "", "", ""


async def import_file(
    institution: Institution,
    path: Path,
    county_code: str,
    *,
    file_id: uuid.UUID,
    order: Order | None = None,
    progress: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Send a file and keep the report in memory; go on where it was cut."""
    sending = Import(institution, path, county_code, file_id=file_id, order=order or Order())
    return await sending.run(progress)


async def import_to_file(
    institution: Institution,
    path: Path,
    county_code: str,
    *,
    order: Order,
    verdicts: VerdictFile,
    progress: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Send a file and write a verdict for every line; memory stays bounded whatever the file."""
    sending = Import(
        institution,
        path,
        county_code,
        file_id=verdicts.file_id,
        order=order,
        verdicts=verdicts,
    )
    return await sending.run(progress)


# --- exporting ------------------------------------------------------------------------------------

_FIELDS = tuple(name for name in COLUMNS.values() if name not in {"left_on", "leave_reason"})
EXPORT_TITLES: Final = tuple(title for title, name in COLUMNS.items() if name in _FIELDS)


@dataclass(slots=True)
class Exported:
    """What an export wrote."""

    households: int = 0
    lines: int = 0


async def export_file(
    institution: Institution,
    path: Path,
    county_code: str,
    *,
    within: str = "",
    progress: Callable[[Exported], None] = lambda _: None,
) -> Exported:
    """Write the registry as a household file; memory stays bounded whatever the registry."""
    done = Exported()
    stub = households_pb2_grpc.HouseholdsServiceStub
    request = households_pb2.ExportHouseholdsRequest(county_code=county_code, within=within)
    pages = institution.pages(stub, "ExportHouseholds", request, tries_max=TRIES_MAX)
    with LineWriter(path, EXPORT_TITLES) as writer:
        async for page in pages:
            for line in page.lines:
                writer.write([str(getattr(line, name)) for name in _FIELDS])
            done.households += page.households
            done.lines += len(page.lines)
            progress(done)
    return done
