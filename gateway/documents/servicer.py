"""Documents over gRPC: ask the services as the caller, make a paper or a table of the answers."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date
from liandong.claims.v1 import policies_pb2
from liandong.credit.v1 import limits_pb2
from liandong.gateway.v1 import access_log_pb2, self_pb2
from liandong.gateway.v1 import documents_pb2 as pb
from liandong.households.v1 import households_pb2
from liandong.loans.v1 import loans_pb2, reports_pb2

from gateway import access
from gateway.documents import papers, sheets
from gateway.documents.pdf import ROWS_MAX, Paper, Provenance, too_long
from gateway.documents.rows import TABLES, Line, Table
from gateway.documents.words import Language, label, language_of, title_of, written
from gateway.identity import Claim, Directory, Institution
from gateway.log_servicer import AccessLogServicer
from gateway.onward import BY_METHOD, Onward, ask
from gateway.servicer import OwnMethod, going_on
from services.kernel.clock import recorded_time
from services.kernel.errors import Refused, invalid_field

R = TypeVar("R", bound=Message)

PDF: Final = "application/pdf"
CSV: Final = "text/csv; charset=utf-8"
XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PAGE_ROWS: Final = 200
PART_ROWS_MAX: Final = 20_000
PART_CHARACTERS_MAX: Final = 1_000_000
"""A part ends with the page that reaches it, well below the largest message."""
FILE_BYTES_MAX: Final = 1_800_000
LOG_PAGE_ROWS: Final = 500

_SERVICE: Final = "/liandong.gateway.v1.DocumentsService"
_GET_HOUSEHOLD: Final = "liandong.households.v1.HouseholdsService/GetHousehold"


class Asked:
    """What one document asks of the services, and the digest of all they answered."""

    def __init__(self, onward: Onward, role: str) -> None:
        self._onward = onward
        self._role = role
        self._digest = hashlib.sha256()

    async def ask(self, method: str, request: Message, answer: type[R]) -> R:
        """One answer, as the caller gets it."""
        found = await ask(self._onward, method, request, answer)
        self.note(method, found)
        return found

    def note(self, method: str, answer: Message) -> None:
        """Take an answer into the digest."""
        self._digest.update(method.encode())
        self._digest.update(answer.SerializeToString(deterministic=True))

    async def household(
        self, county_code: str, household_id: str
    ) -> households_pb2.Household | None:
        """A household as the caller may know it; None for a role that may not ask."""
        if not access.may_call(self._role, _GET_HOUSEHOLD):
            return None
        request = households_pb2.GetHouseholdRequest(
            county_code=county_code, household_id=household_id
        )
        answer = await self.ask(_GET_HOUSEHOLD, request, households_pb2.GetHouseholdResponse)
        return answer.household

    def digest(self) -> str:
        """SHA-256 over the answers so far."""
        return self._digest.hexdigest()


def names_of(directory: Directory, language: Language) -> Mapping[str, str]:
    """What institutions are called."""
    return {
        each.institution_id: each.name_zh if language is Language.CHINESE else each.name
        for each in directory.everyone().values()
    }


async def printed(
    paper: Paper,
    institution: Institution,
    claim: Claim,
    *,
    county_code: str,
    as_of: Date | None,
    data_sha256: str,
    name: str,
    on_behalf: str = "",
) -> pb.Document:
    """A paper as a file, with how it came about on top."""
    now = recorded_time()
    called = institution.name_zh if paper.language is Language.CHINESE else institution.name
    how = Provenance(
        institution=f"{called} ({institution.institution_id})",
        person=claim.person_id,
        purpose=claim.purpose,
        made_at=now,
        county_code=county_code,
        as_of=written(as_of) if as_of is not None else "",
        data_sha256=data_sha256,
        on_behalf=on_behalf,
    )
    # To lay out a page takes tens of milliseconds: no other call waits for it.
    content, pages = await asyncio.to_thread(paper.made, how)
    return _document(
        content, PDF, f"{name}.pdf", now, data_sha256=data_sha256, as_of=as_of, pages=pages
    )


def _document(
    content: bytes,
    media_type: str,
    file_name: str,
    made_at: datetime,
    *,
    data_sha256: str,
    as_of: Date | None = None,
    pages: int = 0,
) -> pb.Document:
    if len(content) > FILE_BYTES_MAX:
        raise Refused(
            "DOCUMENT_TOO_LARGE",
            f"the file has {len(content)} bytes, at most {FILE_BYTES_MAX}: ask for less at once",
            message_zh="文件过大，请缩小范围",
            facts={"bytes": str(len(content)), "most": str(FILE_BYTES_MAX)},
        )
    stamp = Timestamp()
    stamp.FromDatetime(made_at.astimezone(UTC))
    return pb.Document(
        file_name=file_name,
        media_type=media_type,
        content=content,
        sha256=hashlib.sha256(content).hexdigest(),
        pages=pages,
        as_of=as_of if as_of is not None and as_of.year else None,
        data_sha256=data_sha256,
        made_time=stamp,
    )


class DocumentsServicer:
    """Renders; decides nothing: the services answer what the caller may know."""

    def __init__(self, directory: Directory, log: AccessLogServicer) -> None:
        self._directory = directory
        self._log = log

    async def RenderCreditReport(
        self,
        institution: Institution,
        claim: Claim,
        request: pb.RenderCreditReportRequest,
        onward: Onward,
    ) -> pb.RenderCreditReportResponse:
        """Credit's report of a household, on paper."""
        asked, language = Asked(onward, institution.role), language_of(request.language)
        wanted = limits_pb2.GetCreditReportRequest(
            county_code=request.county_code, household_id=request.household_id
        )
        answer = await asked.ask(
            "liandong.credit.v1.CreditService/GetCreditReport",
            wanted,
            limits_pb2.GetCreditReportResponse,
        )
        whose = await asked.household(request.county_code, request.household_id)
        document = await printed(
            papers.credit_report(answer, whose, language),
            institution,
            claim,
            county_code=request.county_code,
            as_of=answer.as_of,
            data_sha256=asked.digest(),
            name=f"credit-report-{request.household_id}",
        )
        return pb.RenderCreditReportResponse(document=document)

    async def RenderCertificate(
        self,
        institution: Institution,
        claim: Claim,
        request: pb.RenderCertificateRequest,
        onward: Onward,
    ) -> pb.RenderCertificateResponse:
        """Claims' certificate of a household, on paper."""
        asked, language = Asked(onward, institution.role), language_of(request.language)
        answer = await asked.ask(
            "liandong.claims.v1.PoliciesService/GetCertificate",
            policies_pb2.GetCertificateRequest(
                county_code=request.county_code,
                household_id=request.household_id,
                on=request.on if request.HasField("on") else None,
            ),
            policies_pb2.GetCertificateResponse,
        )
        whose = await asked.household(request.county_code, request.household_id)
        document = await printed(
            papers.certificate(answer, whose, language, names_of(self._directory, language)),
            institution,
            claim,
            county_code=request.county_code,
            as_of=answer.as_of,
            data_sha256=asked.digest(),
            name=f"certificate-{request.household_id}",
        )
        return pb.RenderCertificateResponse(document=document)

    async def RenderHouseholdStatement(
        self,
        institution: Institution,
        claim: Claim,
        request: pb.RenderHouseholdStatementRequest,
        onward: Onward,
    ) -> pb.RenderHouseholdStatementResponse:
        """A household's loans and postings, on paper."""
        asked, language = Asked(onward, institution.role), language_of(request.language)
        answer = await asked.ask(
            "liandong.loans.v1.ReportsService/GetHouseholdStatement",
            reports_pb2.GetHouseholdStatementRequest(
                county_code=request.county_code,
                household_id=request.household_id,
                first=request.first if request.HasField("first") else None,
                as_of=request.as_of if request.HasField("as_of") else None,
            ),
            reports_pb2.GetHouseholdStatementResponse,
        )
        whose = await asked.household(request.county_code, request.household_id)
        document = await printed(
            papers.household_statement(
                answer,
                request.household_id,
                whose,
                language,
                names_of(self._directory, language),
            ),
            institution,
            claim,
            county_code=request.county_code,
            as_of=answer.as_of,
            data_sha256=asked.digest(),
            name=f"statement-{request.household_id}",
        )
        return pb.RenderHouseholdStatementResponse(document=document)

    async def RenderLoanStatement(
        self,
        institution: Institution,
        claim: Claim,
        request: pb.RenderLoanStatementRequest,
        onward: Onward,
    ) -> pb.RenderLoanStatementResponse:
        """One loan and its postings, on paper."""
        asked, language = Asked(onward, institution.role), language_of(request.language)
        named = {"county_code": request.county_code, "loan_id": request.loan_id}
        loan = await asked.ask(
            "liandong.loans.v1.LoansService/GetLoan",
            loans_pb2.GetLoanRequest(**named),
            loans_pb2.GetLoanResponse,
        )
        answer = await asked.ask(
            "liandong.loans.v1.LoansService/GetLoanStatement",
            loans_pb2.GetLoanStatementRequest(**named),
            loans_pb2.GetLoanStatementResponse,
        )
        whose = await asked.household(request.county_code, loan.loan.household_id)
        document = await printed(
            papers.loan_statement(
                loan.loan, answer, whose, language, names_of(self._directory, language)
            ),
            institution,
            claim,
            county_code=request.county_code,
            as_of=answer.as_of,
            data_sha256=asked.digest(),
            name=f"loan-{request.loan_id}",
        )
        return pb.RenderLoanStatementResponse(document=document)

    async def RenderAccessReport(
        self,
        institution: Institution,
        claim: Claim,
        request: pb.RenderAccessReportRequest,
        onward: Onward,
    ) -> pb.RenderAccessReportResponse:
        """Who read or did what about a household, on paper."""
        asked, language = Asked(onward, institution.role), language_of(request.language)
        whose = await asked.household(request.county_code, request.household_id)
        wanted = access_log_pb2.ListAccessesOfRequest(
            county_code=request.county_code,
            household_id=request.household_id,
            also=request.also,
            page_size=LOG_PAGE_ROWS,
        )
        found: list[self_pb2.MyAccess] = []
        while True:
            answer = await self._log.ListAccessesOf(institution, claim, wanted)
            asked.note("ListAccessesOf", answer)
            found += [told(each, self._directory) for each in answer.accesses]
            if len(found) > ROWS_MAX:
                raise too_long("rows", ROWS_MAX)
            if not answer.next_page_token:
                break
            wanted.page_token = answer.next_page_token
        document = await printed(
            papers.access_report(found, request.household_id, whose, language),
            institution,
            claim,
            county_code=request.county_code,
            as_of=None,
            data_sha256=asked.digest(),
            name=f"accesses-{request.household_id}",
        )
        return pb.RenderAccessReportResponse(document=document)

    async def ExportTable(
        self,
        institution: Institution,
        _claim: Claim,
        request: pb.ExportTableRequest,
        onward: Onward,
    ) -> pb.ExportTableResponse:
        """A list or a report as a file, or the part of it that one message holds."""
        name = request.WhichOneof("table")
        assert name is not None, "the proto's rule asks for one"
        table, wanted = TABLES[name], getattr(request, name)
        if wanted.county_code != request.county_code:
            raise invalid_field(
                "COUNTY_DIFFERS",
                f"{name}.county_code",
                wanted.county_code,
                f"must be {request.county_code} as county_code says",
                "县代码不一致",
            )
        asked = Asked(onward, institution.role)
        lines, next_part, as_of = await _lines_of(table, wanted, asked)
        workbook = request.format == pb.TABLE_FORMAT_XLSX
        content = await asyncio.to_thread(
            _file_of, lines, workbook=workbook, language=language_of(request.language)
        )
        document = _document(
            content,
            XLSX if workbook else CSV,
            f"{name}-{request.county_code}.{'xlsx' if workbook else 'csv'}",
            recorded_time(),
            data_sha256=asked.digest(),
            as_of=as_of,
        )
        return pb.ExportTableResponse(document=document, rows=len(lines), next_part=next_part)

    def methods(self) -> Mapping[str, OwnMethod]:
        """The methods by path, as functions of bytes."""
        of: tuple[tuple[type[Message], Callable[..., Awaitable[Message]]], ...] = (
            (pb.RenderCreditReportRequest, self.RenderCreditReport),
            (pb.RenderCertificateRequest, self.RenderCertificate),
            (pb.RenderHouseholdStatementRequest, self.RenderHouseholdStatement),
            (pb.RenderLoanStatementRequest, self.RenderLoanStatement),
            (pb.RenderAccessReportRequest, self.RenderAccessReport),
            (pb.ExportTableRequest, self.ExportTable),
        )
        return {f"{_SERVICE}/{method.__name__}": going_on(kind, method) for kind, method in of}


def told(
    access_: access_log_pb2.Access, directory: Directory, consent_reference: str = ""
) -> self_pb2.MyAccess:
    """A row of the access log for the household that it is about."""
    route = BY_METHOD.get(access_.method)
    known = directory.find(access_.institution_id)
    return self_pb2.MyAccess(
        called_time=access_.called_time,
        institution_id=access_.institution_id,
        institution_zh=known.name_zh if known else "",
        person_id=access_.person_id,
        method=access_.method,
        changed=route is not None and route.command,
        purpose=access_.purpose,
        allowed=access_.allowed,
        outcome=access_.outcome,
        consent_reference=consent_reference,
    )


async def _lines_of(table: Table, wanted: Any, asked: Asked) -> tuple[list[Line], str, Date | None]:
    """The lines of one part, where the next begins, and the day that the answer names."""
    if table.paged:
        wanted.page_size = PAGE_ROWS
    lines: list[Line] = []
    characters = 0
    while True:
        answer = await asked.ask(table.method, wanted, table.answer)
        as_of = answer.as_of if "as_of" in answer.DESCRIPTOR.fields_by_name else None
        for line in table.lines(wanted, answer):
            lines.append(line)
            characters += sum(map(len, line.values()))
        token = answer.next_page_token if table.paged else ""
        full = len(lines) >= PART_ROWS_MAX or characters >= PART_CHARACTERS_MAX
        if not token or full:
            return lines, token, as_of
        wanted.page_token = token


def _file_of(lines: list[Line], *, workbook: bool, language: Language) -> bytes:
    """A table with every title that a line has, in the order in which they come first."""
    titles = list(dict.fromkeys(title for line in lines for title in line))
    shown = [title_of(title, language) for title in titles] or [label("nothing", language)]
    rows = ([line.get(title, "") for title in titles] for line in lines)
    return sheets.file_of(shown, rows, workbook=workbook)
