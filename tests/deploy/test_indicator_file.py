"""An indicator file: what is read, what is refused and why, and that a file sent twice is one."""

import uuid
from pathlib import Path
from typing import Any, cast

import pytest
from google.protobuf.message import Message
from google.type.date_pb2 import Date
from liandong.common.v1 import common_pb2
from liandong.credit.v1 import credit_pb2

from deploy.local import indicator_file
from deploy.local.client import Institution
from deploy.local.indicator_file import Refused, import_file, read_lines
from deploy.local.line_files import FileError
from services.credit.servicer import CreditServicer
from services.credit.store import files as store
from services.kernel import business_day
from services.kernel.database import Database, fetch
from services.kernel.walls import EVERY_COUNTY
from tests.conftest import MakeSchema
from tests.credit import county as credit_county
from tests.credit.county import COUNTY, OPENED, a_caller, a_catalogue, calling, household_id

HOUSEHOLD = str(household_id(1))
HEADER = "农户标识,指标,数值,采集日期,有效期至,证据摘要"
EVIDENCE = "ab" * 32


def a_file(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "indicators.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8-sig")
    return path


def test_a_line_is_an_indicator_with_its_evidence_and_last_day(tmp_path: Path) -> None:
    path = a_file(tmp_path, f"{HOUSEHOLD}, late ,1,2021-01-04,2021-06-30,{EVIDENCE}")

    [(number, line)] = read_lines(path)

    assert number == 2
    assert line == credit_pb2.Indicator(
        household_id=HOUSEHOLD,
        code="late",
        value=1,
        observed_on=Date(year=2021, month=1, day=4),
        expires_on=Date(year=2021, month=6, day=30),
        evidence_sha256=EVIDENCE,
    )


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        (f"{HOUSEHOLD},late,1", "", "3"),
        ("the wangs,late,1,2021-01-04,,", "household_id", "the wangs"),
        (f"{HOUSEHOLD},,1,2021-01-04,,", "code", ""),
        (f"{HOUSEHOLD},late,1.5,2021-01-04,,", "value", "1.5"),
        (f"{HOUSEHOLD},late,{2**63},2021-01-04,,", "value", str(2**63)),
        (f"{HOUSEHOLD},late,1,,,", "observed_on", ""),
        (f"{HOUSEHOLD},late,1,2021-02-30,,", "observed_on", "2021-02-30"),
        (f"{HOUSEHOLD},late,1,2021-01-04,soon,", "expires_on", "soon"),
        (f"{HOUSEHOLD},late,1,2021-01-04,,AB", "evidence_sha256", "AB"),
    ],
)
def test_a_line_that_cannot_be_read_says_where_and_why(
    tmp_path: Path, line: str, field: str, value: str
) -> None:
    [(_, refused)] = read_lines(a_file(tmp_path, line))

    assert isinstance(refused, Refused)
    assert (refused.line_number, refused.field, refused.value) == (2, field, value)
    assert str(refused).startswith("line 2")


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("农户标识,指标,数值", "observed_on are missing"),
        ("农户标识,指标,数值,采集日期,心情", "unknown columns 心情"),
    ],
)
def test_a_header_that_does_not_do_is_refused_as_a_whole(
    tmp_path: Path, header: str, said: str
) -> None:
    with pytest.raises(FileError, match=said):
        list(read_lines(a_file(tmp_path, header=header)))


class Desk:
    """Takes the calls of an institution's client to a servicer, as a given caller."""

    def __init__(self, servicer: CreditServicer, role: str, *, cut_at: int = 0) -> None:
        self._servicer = servicer
        self._caller = a_caller(role, institution_id=f"{role}-1")
        self._left = cut_at or 1_000

    async def call(self, _: Any, method: str, request: Message) -> Any:
        self._left -= 1
        if not self._left:
            raise ConnectionError("cut")
        return await getattr(self._servicer, method)(request, calling(self._caller, request))


@pytest.mark.postgres
async def test_every_line_gets_its_verdict_and_a_file_that_was_cut_is_taken_once(
    schema: MakeSchema, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indicator_file, "CHUNK_LINES", 2)
    db = await opened(schema)
    servicer = CreditServicer(db, a_catalogue())
    path = a_file(
        tmp_path,
        f"{HOUSEHOLD},late,1,2021-01-04,,{EVIDENCE}",
        f"{HOUSEHOLD},luck,1,2021-01-04,,",
        f"{HOUSEHOLD},skills,many,2021-01-04,,",
        f"{household_id(2)},skills,1,2021-01-04,,",
        f"{HOUSEHOLD},skills,1,2021-01-05,,",
        f"{HOUSEHOLD},arrears,2,2021-01-04,,",
        f"{HOUSEHOLD},skills,1,2021-01-04,,",
    )
    file_id = uuid.uuid4()
    with pytest.raises(ConnectionError):
        await send(Desk(servicer, "county_centre", cut_at=3), path, file_id)

    report = await send(Desk(servicer, "county_centre"), path, file_id)
    of_another = await send(Desk(servicer, "court"), path, uuid.uuid4())

    assert report.recorded == 2
    assert [(line.line_number, line.reason) for line in report.refused] == [
        (3, "UNKNOWN_INDICATOR"),
        (4, "UNREADABLE_LINE"),
        (5, "UNKNOWN_HOUSEHOLD"),
        (6, "OBSERVED_IN_FUTURE"),
        (7, "INDICATOR_OUT_OF_RANGE"),
    ]
    beyond = report.refused[-1]
    assert (beyond.field, beyond.value) == ("value", "2")
    assert beyond.rule == "arrears goes from 0 to 1 (yes_no)"
    assert of_another.recorded == 0
    assert "SUPPLIER_NOT_ENTITLED" in {line.reason for line in of_another.refused}
    async with db.transaction(EVERY_COUNTY) as session:
        rows = await fetch(session, "SELECT code, source_id, evidence_sha256 FROM indicator")
    assert sorted(tuple(row) for row in rows) == [
        ("late", "county_centre-1", EVIDENCE),
        ("skills", "county_centre-1", ""),
    ]


async def opened(schema: MakeSchema) -> Database:
    db = (await schema("credit")).db
    async with db.transaction(EVERY_COUNTY) as session:
        await business_day.open_day(session, COUNTY, OPENED)
        await store.put_households(session, COUNTY, [credit_county.a_household(1)], relist=True)
    return db


async def send(desk: Desk, path: Path, file_id: uuid.UUID) -> indicator_file.Report:
    return await import_file(cast(Institution, desk), path, COUNTY, file_id=file_id)


def test_a_verdict_without_a_field_is_told_by_its_message() -> None:
    verdict = common_pb2.Verdict(index=0, reason="UNKNOWN_HOUSEHOLD", message="no such household")

    assert str(indicator_file._refused(9, verdict)) == (
        "line 9: UNKNOWN_HOUSEHOLD, no such household"
    )
