"""Lists of loans and of households: posted as a stream and held against ours."""

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf.message import Message
from liandong.common.v1 import statements_pb2
from liandong.households.v1 import records_pb2 as households_pb2
from liandong.households.v1 import records_pb2_grpc as households_grpc
from liandong.loans.v1 import records_pb2 as loans_pb2
from liandong.loans.v1 import records_pb2_grpc as loans_grpc

from deploy.local.client import Institution, may_ask_again
from deploy.local.insurance_file import (
    CHUNK_LINES,
    DIFFERENCE_TITLES,
    TRIES_MAX,
    Reconciled,
    to_date,
)
from deploy.local.line_files import Columns, FileError, LineWriter, Row, read_rows

FILE_INSTITUTION: Final = "file_institution"
FILE_DAY: Final = "file_day"
"""What a file says of itself in every line, if it does: whose it is, of which day."""

OF_FILE: Final = {"对账机构": FILE_INSTITUTION, "对账日期": FILE_DAY}

LOAN_COLUMNS: Final = Columns(
    titles={
        **OF_FILE,
        "编号": "record_id",
        "承贷机构": "lender_id",
        "农户": "household_id",
        "地区": "area_code",
        "产品": "product_id",
        "用途": "purpose",
        "合同金额(分)": "principal_fen",
        "余额(分)": "outstanding_fen",
        "欠息(分)": "interest_fen",
        "年利率(百万分之)": "rate_ppm",
        "期限(月)": "term_months",
        "发放日": "disbursed_on",
        "到期日": "matures_on",
        "状态": "state",
        "五级分类": "five_tier_class",
        "逾期天数": "overdue_days",
        "贴息": "subsidised",
    },
    needed=("record_id", "outstanding_fen"),
)
HOUSEHOLD_COLUMNS: Final = Columns(
    titles={
        **OF_FILE,
        "户编号": "household_number",
        "户主身份证号": "head_identity_number",
        "成员身份证号": "member_identity_numbers",
        "地区": "area_code",
        "状态": "status",
        "人数": "people",
        "登记日": "registered_on",
        "荣誉": "honour",
    },
    needed=("household_number",),
)
"""Headers of a list and the fields they are; the English names are taken too."""

YES: Final = frozenset({"yes", "是", "1"})
NO: Final = frozenset({"no", "否", "0"})


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of list: its columns, its messages, and what its lines come to."""

    columns: Columns
    line: type[Message]
    sum_of: str
    stub: type[Any]
    messages: Any
    noun: str

    def request(self, form: str, **fields: Any) -> Any:
        """A request, by its name with the kind's noun in it."""
        return getattr(self.messages, form.format(self.noun) + "Request")(**fields)


KINDS: Final[Mapping[str, Kind]] = {
    "loans": Kind(
        LOAN_COLUMNS,
        loans_pb2.ListedLoan,
        "outstanding_fen",
        loans_grpc.LoanRecordsServiceStub,
        loans_pb2,
        "Loan",
    ),
    "households": Kind(
        HOUSEHOLD_COLUMNS,
        households_pb2.ListedHousehold,
        "people",
        households_grpc.HouseholdRecordsServiceStub,
        households_pb2,
        "Household",
    ),
}


@dataclass(frozen=True, slots=True)
class Heading:
    """What a list says of itself."""

    county_code: str
    institution_id: str
    reference: str
    as_of: date


def _cell(name: str, text: str) -> Any:
    """A cell as its field has it."""
    if name == "subsidised":
        if text.lower() not in YES | NO:
            raise ValueError(f"{name}: {text} is neither yes nor no")
        return text.lower() in YES
    if name in ("disbursed_on", "matures_on", "registered_on"):
        return to_date(date.fromisoformat(text))
    if name == "member_identity_numbers":
        return [each for each in text.replace(";", " ").replace("、", " ").split() if each]
    if name.endswith("_fen") or name in ("rate_ppm", "term_months", "overdue_days", "people"):
        return int(text)
    return text


def _line(kind: Kind, number: int, row: Row) -> Message:
    """A line of the file; one that cannot be read stops the file before anything was posted."""
    if row.unreadable:
        raise FileError(f"line {row.number}: {row.unreadable}")
    try:
        cells = {
            name: _cell(name, text.strip())
            for name, text in row.cells.items()
            if text.strip() and name not in (FILE_INSTITUTION, FILE_DAY)
        }
    except ValueError as error:
        raise FileError(f"line {row.number}: {error}") from error
    return kind.line(line_number=number, **cells)


def _said_by(row: Row, heading: Heading) -> tuple[str, date]:
    """Whose the file is and of which day, by its own word where it has one."""
    institution_id = row.cells.get(FILE_INSTITUTION, "").strip() or heading.institution_id
    day = row.cells.get(FILE_DAY, "").strip()
    try:
        return institution_id, date.fromisoformat(day) if day else heading.as_of
    except ValueError as error:
        raise FileError(f"line {row.number}: {error}") from error


def _chunks(
    kind: Kind, path: Path, heading: Heading, reconciliation_id: str, encoding: str
) -> Iterator[Any]:
    """The file as requests, at most so many lines in each."""
    rows = enumerate(read_rows(path, kind.columns, encoding=encoding), 1)
    while chunk := list(islice(rows, CHUNK_LINES)):
        of = {_said_by(row, heading) for _, row in chunk}
        if len(of) > 1:
            raise FileError(f"line {chunk[0][1].number}: the file names several days or owners")
        ((institution_id, as_of),) = of
        yield kind.request(
            "Post{}Lines",
            request_id=str(uuid.uuid4()),
            county_code=heading.county_code,
            reconciliation_id=reconciliation_id,
            institution_id=institution_id,
            as_of=to_date(as_of),
            items=[_line(kind, number, row) for number, row in chunk],
        )


async def reconcile(
    institution: Institution,
    path: Path,
    kind: Kind,
    heading: Heading,
    *,
    differences: Path,
    dry_run: bool,
    encoding: str = "utf-8-sig",
) -> Reconciled:
    """Post a list and hold it against ours; the same file again changes nothing."""
    amounts = []
    for number, row in enumerate(read_rows(path, kind.columns, encoding=encoding), 1):
        _said_by(row, heading)
        amounts.append(getattr(_line(kind, number, row), kind.sum_of))
    start = kind.request(
        "Start{}Reconciliation",
        request_id=str(uuid.uuid4()),
        heading=statements_pb2.StatementHeading(
            county_code=heading.county_code,
            institution_id=heading.institution_id,
            reference=heading.reference,
            as_of=to_date(heading.as_of),
            lines=len(amounts),
            sum=sum(amounts),
        ),
    )
    done = Reconciled(lines=len(amounts))
    started = await institution.call(kind.stub, f"Start{kind.noun}Reconciliation", start)
    done.reconciliation_id = started.reconciliation_id
    await _post(
        institution, kind, _chunks(kind, path, heading, done.reconciliation_id, encoding), done
    )
    if not done.refused:
        await _compare(institution, kind, heading, done, differences=differences, dry_run=dry_run)
    return done


async def _post(
    institution: Institution, kind: Kind, chunks: Iterator[Any], done: Reconciled
) -> None:
    """Stream the chunks; where the stream breaks it goes on with what had no answer."""
    left = deque(chunks)
    tries = 0
    while left:
        try:
            async for answer in institution.exchange(
                kind.stub, f"Post{kind.noun}Lines", _stream_of(list(left))
            ):
                chunk = left.popleft()
                tries = 0
                done.refused += [
                    f"line {chunk.items[each.index].line_number}: {each.reason}, {each.message}"
                    for each in answer.verdicts
                    if not each.accepted
                ]
        except grpc.aio.AioRpcError as error:
            if not may_ask_again(error) or tries == TRIES_MAX:
                raise
            tries += 1
            await asyncio.sleep(min(0.1 * 2**tries, 2.0))


def _stream_of(chunks: list[Any]) -> Callable[[], AsyncIterator[Any]]:
    async def requests() -> AsyncIterator[Any]:
        for chunk in chunks:
            yield chunk

    return requests


async def _compare(
    institution: Institution,
    kind: Kind,
    heading: Heading,
    done: Reconciled,
    *,
    differences: Path,
    dry_run: bool,
) -> None:
    request = kind.request(
        "Compare{}Statement",
        request_id=str(uuid.uuid4()),
        county_code=heading.county_code,
        reconciliation_id=done.reconciliation_id,
        dry_run=dry_run,
    )
    answer = await institution.call(kind.stub, f"Compare{kind.noun}Statement", request)
    found = answer.comparison
    done.agreeing = found.agreeing
    done.causes = {_word(each.cause): each.differences for each in found.causes}
    with LineWriter(differences, DIFFERENCE_TITLES) as writer:
        if found.statement.compared_on.year == 0:
            # Nothing is kept in a dry run: the answer's own first differences are all there are.
            for each in found.differences:
                writer.write(_cells(each))
            return
        wanted = statements_pb2.DifferenceFilter(
            county_code=heading.county_code,
            reconciliation_id=done.reconciliation_id,
            page_size=CHUNK_LINES,
        )
        while True:
            listing = kind.request("List{}Differences", filter=wanted)
            page = await institution.call(kind.stub, f"List{kind.noun}Differences", listing)
            for each in page.differences:
                writer.write(_cells(each))
            if not page.next_page_token:
                return
            wanted.page_token = page.next_page_token


def _word(cause: "statements_pb2.StatementCause.ValueType") -> str:
    return statements_pb2.StatementCause.Name(cause).removeprefix("STATEMENT_CAUSE_").lower()


def _cells(found: statements_pb2.StatementDifference) -> list[str]:
    return [
        _word(found.cause) if name == "cause" else str(getattr(found, name))
        for name in DIFFERENCE_TITLES
    ]
