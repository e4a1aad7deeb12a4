"""Rows: what services answer as lines of text, each field under its name. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.type.date_pb2 import Date
from liandong.claims.v1 import claims_pb2, policies_pb2
from liandong.funds.v1 import funds_pb2
from liandong.households.v1 import households_pb2
from liandong.loans.v1 import entitlements_pb2, loans_pb2, reports_pb2

from gateway.documents.words import enum_name, written

Line = Mapping[str, str]
DIMENSION: Final = "LOAN_REPORT_DIMENSION_"


def cells(message: Message, prefix: str = "") -> dict[str, str]:
    """The fields of an answer by name, those within others under both names; no lists."""
    found: dict[str, str] = {}
    for own in message.DESCRIPTOR.fields:
        if own.is_repeated:
            continue
        name, value = f"{prefix}{own.name}", getattr(message, own.name)
        given = not own.has_presence or message.HasField(own.name)
        if isinstance(value, Date):
            found[name] = written(value) if given else ""
        elif own.type == FieldDescriptor.TYPE_MESSAGE:
            found |= cells(value, f"{name}.")
        elif own.type == FieldDescriptor.TYPE_ENUM:
            assert own.enum_type is not None
            found[name] = own.enum_type.values_by_number[value].name.lower()
        elif own.type == FieldDescriptor.TYPE_BYTES:
            found[name] = value.hex() if given else ""
        else:
            found[name] = str(value) if given else ""
    return found


def words_of(by: Iterable[int]) -> list[str]:
    """Dimensions of a report by their words."""
    enum = reports_pb2.LoanReportDimension.DESCRIPTOR
    return [enum_name(enum, DIMENSION, number) for number in by]


def figures(rows: Iterable[reports_pb2.ReportRow], by: Sequence[str]) -> Iterator[Line]:
    """A line for each row of a report."""
    for row in rows:
        found = dict(zip(by, row.keys, strict=True)) | cells(row.figures)
        found["households"] = str(row.households)
        found["owing_households"] = str(row.owing_households)
        counted = row.HasField("counted_households")
        found["counted_households"] = str(row.counted_households) if counted else ""
        yield found | {f"{each.id}_pct": each.pct for each in row.ratios}


def recovery(rows: Iterable[Any], by: Sequence[str]) -> Iterator[Line]:
    """A line for each row and month."""
    for row in rows:
        for month in row.months:
            yield dict(zip(by, row.keys, strict=True)) | cells(month)


def lenders(answer: reports_pb2.AssessLendersResponse) -> Iterator[Line]:
    """A line for each lender and target."""
    for lender in answer.lenders:
        own = {"lender_id": lender.lender_id}
        tolerated = str(lender.tolerated) if lender.HasField("tolerated") else ""
        last = {"all_marks_centi": str(lender.marks_centi), "tolerated": tolerated}
        for target in lender.targets or [reports_pb2.TargetMet()]:
            yield own | cells(target) | last


def bulletin(answer: reports_pb2.GetBulletinResponse) -> Iterator[Line]:
    """A line for each figure of a bulletin: those of its sections, its indicators, the whole."""

    def line(section: str, name: str, value: object) -> Line:
        return {"section": section, "figure": name, "value": str(value)}

    for section in answer.sections:
        for name, value in sorted(section.figures.items()):
            yield line(section.section, name, value)
        for name in ("worse_loan_ids", "better_loan_ids"):
            for loan_id in getattr(section, name):
                yield line(section.section, name, loan_id)
    for each in answer.indicators:
        yield line("indicators", each.id, each.pct)
    for name, text in cells(answer.total.figures).items():
        yield line("total", name, text)


def statement(answer: reports_pb2.GetHouseholdStatementResponse) -> Iterator[Line]:
    """A line for each posting of a household's loans."""
    for loan in answer.loans:
        for each in loan.lines:
            yield {"loan_id": loan.loan_id, "lender_id": loan.lender_id} | cells(each)


def plain(items: Iterable[Message]) -> Iterator[Line]:
    """A line for each item."""
    for each in items:
        yield cells(each)


@dataclass(frozen=True, slots=True)
class Table:
    """One kind of table: who answers it, and how an answer becomes lines."""

    method: str
    answer: type[Any]
    lines: Callable[[Any, Any], Iterable[Line]]
    """Of a request and its answer."""
    paged: bool = True


_REPORTS: Final = "liandong.loans.v1.ReportsService"

TABLES: Final[Mapping[str, Table]] = {
    "figures": Table(
        f"{_REPORTS}/GetReport",
        reports_pb2.GetReportResponse,
        lambda asked, answer: figures(answer.rows, words_of(asked.by)),
    ),
    "recovery": Table(
        f"{_REPORTS}/ListRecoveryRates",
        reports_pb2.ListRecoveryRatesResponse,
        lambda asked, answer: recovery(answer.rows, words_of(asked.by)),
    ),
    "risk": Table(
        f"{_REPORTS}/ListRiskLoans",
        reports_pb2.ListRiskLoansResponse,
        lambda _, answer: plain(answer.loans),
    ),
    "lenders": Table(
        f"{_REPORTS}/AssessLenders",
        reports_pb2.AssessLendersResponse,
        lambda _, answer: lenders(answer),
        paged=False,
    ),
    "indicators": Table(
        f"{_REPORTS}/GetIndicators",
        reports_pb2.GetIndicatorsResponse,
        lambda _, answer: plain(answer.indicators),
        paged=False,
    ),
    "bulletin": Table(
        f"{_REPORTS}/GetBulletin",
        reports_pb2.GetBulletinResponse,
        lambda _, answer: bulletin(answer),
        paged=False,
    ),
    "statement": Table(
        f"{_REPORTS}/GetHouseholdStatement",
        reports_pb2.GetHouseholdStatementResponse,
        lambda _, answer: statement(answer),
        paged=False,
    ),
    "loans": Table(
        "liandong.loans.v1.LoansService/ListLoans",
        loans_pb2.ListLoansResponse,
        lambda _, answer: plain(answer.loans),
    ),
    "entitlements": Table(
        "liandong.loans.v1.EntitlementsService/ListEntitlements",
        entitlements_pb2.ListEntitlementsResponse,
        lambda _, answer: plain(answer.entitlements),
    ),
    "claims": Table(
        "liandong.claims.v1.ClaimsService/ListClaims",
        claims_pb2.ListClaimsResponse,
        lambda _, answer: plain(answer.claims),
    ),
    "insured": Table(
        "liandong.claims.v1.PoliciesService/ListInsured",
        policies_pb2.ListInsuredResponse,
        lambda _, answer: plain(answer.insured),
    ),
    "compensations": Table(
        "liandong.funds.v1.FundsService/ListCompensationCases",
        funds_pb2.ListCompensationCasesResponse,
        lambda _, answer: plain(answer.cases),
    ),
    "households": Table(
        "liandong.households.v1.HouseholdsService/ListHouseholds",
        households_pb2.ListHouseholdsResponse,
        lambda _, answer: plain(answer.households),
    ),
}
"""What ExportTable can write, by the name of its field."""
