"""The fact file: what an institution says in its own name about many people and households."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf.descriptor import FieldDescriptor
from google.type.date_pb2 import Date
from liandong.common.v1 import common_pb2
from liandong.households.v1 import evidence_pb2, facts_pb2, facts_pb2_grpc

from deploy.local.client import Institution
from deploy.local.line_files import Columns, LineWriter, Row, read_rows
from services.kernel.status import reason_of

FACTS_A_CALL: Final = 500

KINDS: Final[Mapping[str, FieldDescriptor]] = facts_pb2.FactContent.DESCRIPTOR.fields_by_name
"""What a fact can be about, by the name that the wire has for it."""
KIND_WORDS: Final[Mapping[str, str]] = {
    "法院": "court",
    "公安": "police",
    "社保": "social_insurance",
    "市场监管": "market",
    "税务": "tax",
    "征信": "credit_bureau",
    "农业": "agriculture",
    "互助社": "society_record",
    "劳动能力": "labour",
    "技能": "skill",
    "收入": "income",
    "资产": "asset",
    "项目": "project",
    "帮扶计划": "plan",
    "荣誉": "honour",
}
_TITLES: Final = {
    "种类": "kind",
    "证件号码": "identity_number",
    "户标识": "household_id",
    "人员标识": "person_id",
    "起始日期": "valid_from",
    "截止日期": "valid_to",
    "依据种类": "evidence_kind",
    "依据编号": "evidence_reference",
    "依据哈希": "evidence_sha256",
}


def _fields(kind: str) -> Mapping[str, FieldDescriptor]:
    """What a fact of a kind says, field by field."""
    message = KINDS[kind].message_type
    assert message is not None, "every kind of fact is a message"
    return message.fields_by_name


_CONTENT: Final = sorted({name for kind in KINDS for name in _fields(kind)})
COLUMNS: Final = Columns(
    {**_TITLES, **{name: name for name in _CONTENT}}, ("valid_from", "evidence_reference")
)
"""The columns of every fact and, by their names on the wire, those of each kind."""
VERDICT_TITLES: Final = ("line_number", "verdict", "fact_id", "column", "reason", "message")
_YES: Final = {"true": True, "1": True, "是": True, "false": False, "0": False, "否": False}


class LineWrong(ValueError):
    """A line that is no fact: its column and what that must be."""

    def __init__(self, column: str, rule: str) -> None:
        super().__init__(f"{column}: {rule}")
        self.column = column
        self.rule = rule


@dataclass(slots=True)
class Report:
    """What became of a file of facts."""

    recorded: int = 0
    refused: int = 0


def read_fact(row: Row, kind: str = "") -> facts_pb2.NewFact:
    """A line as a fact; LineWrong names the column."""
    if row.unreadable:
        raise LineWrong("", row.unreadable)
    cells = {name: cell.strip() for name, cell in row.cells.items()}
    word = cells.pop("kind", "") or kind
    name = KIND_WORDS.get(word, word)
    if name not in KINDS:
        raise LineWrong("kind", f"must be one of {' '.join(KINDS)}")
    fact = facts_pb2.NewFact(
        household_id=cells.pop("household_id", ""),
        person_id=cells.pop("person_id", ""),
        identity_number=cells.pop("identity_number", ""),
        valid_from=_day("valid_from", cells.pop("valid_from", "")),
        valid_to=_day("valid_to", cells.pop("valid_to", "")),
        evidence=_evidence(cells),
    )
    content = getattr(fact.content, name)
    content.SetInParent()
    fields = _fields(name)
    for column, text in cells.items():
        if not text:
            continue
        if column not in fields:
            raise LineWrong(column, f"is no part of a fact of kind {name}")
        setattr(content, column, _value(fields[column], text))
    return fact


def _day(column: str, text: str) -> Date | None:
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise LineWrong(column, "must be a calendar day such as 2018-03-01") from None
    return Date(year=day.year, month=day.month, day=day.day)


def _evidence(cells: dict[str, str]) -> evidence_pb2.Evidence:
    kind = f"EVIDENCE_KIND_{(cells.pop('evidence_kind', '') or 'document').upper()}"
    if kind not in list(evidence_pb2.EvidenceKind.keys()):
        known = " ".join(
            each.removeprefix("EVIDENCE_KIND_").lower()
            for each in evidence_pb2.EvidenceKind.keys()[1:]
        )
        raise LineWrong("evidence_kind", f"must be one of {known}")
    try:
        sha256 = bytes.fromhex(cells.pop("evidence_sha256", ""))
    except ValueError:
        raise LineWrong("evidence_sha256", "must be hexadecimal digits") from None
    return evidence_pb2.Evidence(
        kind=evidence_pb2.EvidenceKind.Value(kind),
        reference=cells.pop("evidence_reference", ""),
        sha256=sha256,
    )


def _value(field: FieldDescriptor, text: str) -> Any:
    if field.type == FieldDescriptor.TYPE_STRING:
        return text
    if field.type == FieldDescriptor.TYPE_BOOL:
        if text.lower() not in _YES:
            raise LineWrong(field.name, "must be true or false, 是 or 否")
        return _YES[text.lower()]
    bits = 31 if field.type == FieldDescriptor.TYPE_INT32 else 63
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()) or int(digits) >= 2**bits:
        raise LineWrong(field.name, "must be a whole number")
    return int(text)


# --- sending --------------------------------------------------------------------------------------


async def import_facts(
    institution: Institution,
    path: Path,
    county_code: str,
    *,
    file_id: uuid.UUID,
    rows: Iterator[Row],
    kind: str = "",
    verdicts: Path,
) -> Report:
    """Send the lines of a file, at most 500 a call; the same file again records nothing twice."""
    report = Report()
    with LineWriter(verdicts, VERDICT_TITLES, encoding="utf-8") as writer:
        for place in range(2**31):
            part = list(islice(rows, FACTS_A_CALL))
            if not part:
                return report
            sender = _Sender(institution, county_code, file_id, str(place))
            for cells in await sender.send(part, kind):
                writer.write(cells)
                report.recorded += cells[1] == "recorded"
                report.refused += cells[1] == "refused"
    raise AssertionError(f"{path} has no end")


@dataclass(frozen=True, slots=True)
class _Sender:
    """One call's worth of lines."""

    institution: Institution
    county_code: str
    file_id: uuid.UUID
    place: str

    async def send(self, rows: list[Row], kind: str) -> list[list[str]]:
        """A verdict for each line."""
        said: dict[int, list[str]] = {}
        facts: list[tuple[int, facts_pb2.NewFact]] = []
        for row in rows:
            try:
                facts.append((row.number, read_fact(row, kind)))
            except LineWrong as error:
                cells = ["refused", "", error.column, "LINE_WRONG", error.rule]
                said[row.number] = [str(row.number), *cells]
        if facts:
            for (number, _), verdict in zip(facts, await self._record(facts), strict=True):
                said[number] = _cells(number, verdict)
        return [said[row.number] for row in rows]

    async def _record(self, facts: list[tuple[int, facts_pb2.NewFact]]) -> list[common_pb2.Verdict]:
        try:
            return await self._call([fact for _, fact in facts], self.place)
        except grpc.aio.AioRpcError as error:
            if reason_of(error) != "FIELD_RULE_BROKEN":
                raise
            if len(facts) == 1:
                reason, message = reason_of(error), error.details() or ""
                return [common_pb2.Verdict(reason=reason, message=message)]
        # One that the wire's own rules refuse must not take the others with it.
        alone = []
        for number, fact in facts:
            sender = _Sender(
                self.institution, self.county_code, self.file_id, f"{self.place}:{number}"
            )
            alone += await sender._record([(number, fact)])
        return alone

    async def _call(self, facts: list[facts_pb2.NewFact], name: str) -> list[common_pb2.Verdict]:
        request = facts_pb2.BatchRecordFactsRequest(
            request_id=str(uuid.uuid5(self.file_id, name)),
            county_code=self.county_code,
            facts=facts,
        )
        stub = facts_pb2_grpc.FactsServiceStub
        answer = await self.institution.call(stub, "BatchRecordFacts", request)
        return list(answer.verdicts)


def _cells(number: int, verdict: common_pb2.Verdict) -> list[str]:
    if verdict.accepted:
        return [str(number), "recorded", verdict.id, "", "", ""]
    column = verdict.violations[0].field if verdict.violations else ""
    return [str(number), "refused", "", column, verdict.reason, verdict.message]


def fact_rows(path: Path, titles: Mapping[str, str], *, encoding: str) -> Iterator[Row]:
    """The rows of a fact file."""
    return read_rows(path, COLUMNS.with_titles(titles), encoding=encoding)
