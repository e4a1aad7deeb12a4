"""Documents: papers and tables say what the services answered, and how they came about."""

import csv
import hashlib
import io
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any

import grpc
import openpyxl
import pytest
import pytest_asyncio
from google.type.date_pb2 import Date
from liandong.claims.v1 import policies_pb2
from liandong.credit.v1 import limits_pb2, scores_pb2
from liandong.gateway.v1 import documents_pb2 as pb
from liandong.gateway.v1 import documents_pb2_grpc
from liandong.households.v1 import households_pb2
from liandong.loans.v1 import loans_pb2, reports_pb2

from deploy.local.ca import LocalCA
from gateway import tie_store
from gateway.documents import pdf, sheets
from gateway.documents.pdf import Paper, Provenance
from gateway.documents.rows import TABLES
from gateway.documents.servicer import PART_CHARACTERS_MAX
from gateway.documents.words import CODES, LABELS, Language, per_cent, yuan
from gateway.onward import BY_METHOD
from gateway.tie_store import HeldConsent, Tie
from services.kernel import ids, status
from services.kernel.errors import NotFound, Refused
from tests.gateway.answering import COUNTY, VILLAGE, Script, a_county, an_answering_house
from tests.gateway.conftest import House
from tests.servers import NatsServer, Schemas

HOUSEHOLD = str(uuid.uuid4())
LOAN = str(uuid.uuid4())
TODAY = Date(year=2026, month=1, day=10)
HOW = Provenance(
    "甲银行 (bank-1)", "", "", datetime(2026, 1, 10, tzinfo=UTC), COUNTY, "", "ab" * 32
)


def read(content: bytes) -> str:
    """The text of a paper."""
    tool = shutil.which("pdftotext")
    if tool is None:
        pytest.skip("pdftotext is missing")
    done = subprocess.run(
        [tool, "-layout", "-", "-"], input=content, capture_output=True, check=True
    )
    return done.stdout.decode()


# --- papers on their own --------------------------------------------------------------------------


def test_the_font_is_the_one_that_was_made_and_its_licence_is_with_it() -> None:
    digest = hashlib.sha256(pdf.FONT_PATH.read_bytes()).hexdigest()

    assert digest == "4074cd5fd3ca6112c6ada28785b50c366c04b8ecf4a1286bcec2a656841ef2ee"
    licence = (pdf.FONT_PATH.parent / "LICENSE.txt").read_text(encoding="utf-8")
    assert "Apache License" in licence
    assert "Font exception" in licence


def test_everything_that_a_paper_says_is_in_the_font() -> None:
    for zh, en in (*LABELS.values(), *CODES.values()):
        assert pdf.printable(zh) == zh
        assert pdf.printable(en) == en


def test_a_rare_character_stands_as_its_number_and_a_long_text_is_cut() -> None:
    assert pdf.printable("张𠮷\n") == "张[U+20BB7] "
    assert len(pdf.printable("长" * 2_000)) == pdf.TEXT_CHARACTERS_MAX


@pytest.mark.parametrize(
    ("language", "first", "page"),
    [(Language.CHINESE, "申请机构", "第 1 页"), (Language.ENGLISH, "Asked by", "Page 1 of")],
)
def test_a_paper_says_how_it_came_about_and_numbers_its_pages(
    language: Language, first: str, page: str
) -> None:
    paper = Paper("对账单 <b>&", language)
    paper.table(("number", "amount"), [(str(n), yuan(n)) for n in range(200)], numbers="amount")

    content, pages = paper.made(HOW)

    text = read(content)
    assert pages > 1
    assert first in text
    assert page in text
    assert f"{pages}" in text
    assert text.count("甲银行 (bank-1)") >= pages
    assert "<b>&" in text
    assert HOW.data_sha256 in text.replace("\n", "").replace(" ", "")


def test_the_same_answers_make_the_same_paper() -> None:
    def made() -> bytes:
        paper = Paper("同一份", Language.CHINESE)
        paper.pairs([("grade", "AA")])
        return paper.made(HOW)[0]

    assert made() == made()


@pytest.mark.parametrize("of", ["rows", "pages"])
def test_a_paper_that_nobody_would_read_is_refused(of: str) -> None:
    paper = Paper("长", Language.CHINESE)
    with pytest.raises(Refused) as refused:  # noqa: PT012 - either may refuse
        if of == "rows":
            paper.table(("number",), [(str(n),) for n in range(pdf.ROWS_MAX + 1)])
        else:
            for _ in range(pdf.ROWS_MAX - 1):
                paper.text("长" * pdf.TEXT_CHARACTERS_MAX)
            paper.made(HOW)

    assert refused.value.reason == "DOCUMENT_TOO_LONG"
    assert refused.value.facts["of"] == of


@pytest.mark.parametrize(
    ("cell", "shown"),
    [("=1+1", "'=1+1"), ("@x", "'@x"), ("-5.20", "-5.20"), ("+8", "+8"), ("-a", "'-a"), ("", "")],
)
def test_no_cell_is_a_formula(cell: str, shown: str) -> None:
    assert sheets.harmless(cell) == shown
    content = sheets.file_of(["a"], [[cell or "x"]], workbook=True)
    (row,) = list(openpyxl.load_workbook(io.BytesIO(content)).active.iter_rows(min_row=2))  # type: ignore[union-attr]
    assert row[0].data_type == "s"


def test_a_character_that_no_workbook_takes_does_not_break_the_file() -> None:
    content = sheets.file_of(["a"], [["x\x01y"]], workbook=True)

    sheet: Any = openpyxl.load_workbook(io.BytesIO(content)).active
    assert sheet["A2"].value == "x�y"


def test_amounts_and_rates_are_written_out() -> None:
    assert [yuan(0), yuan(-5), yuan(123_456_789)] == ["0.00", "-0.05", "1,234,567.89"]
    assert [per_cent(43_500), per_cent(1_000_000), per_cent(100)] == ["4.35%", "100%", "0.01%"]


def test_every_table_is_a_field_of_the_request_and_asks_what_it_holds() -> None:
    fields = pb.ExportTableRequest.DESCRIPTOR.oneofs_by_name["table"].fields

    assert {field.name for field in fields} == set(TABLES)
    for field in fields:
        assert BY_METHOD[TABLES[field.name].method].descriptor.input_type is field.message_type


# --- at the door ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def script() -> Script:
    """What the services answer in this file."""
    return Script()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(
    schemas: Schemas,
    nats: NatsServer,
    certificates: LocalCA,
    script: Script,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[House]:
    changes = a_county(tmp_path_factory.mktemp("papers"), programme="zhejiang-tongxiang-sanzhi@1")
    async with an_answering_house(schemas, nats, certificates, script, **changes) as made:
        yield made


@contextmanager
def saying(script: Script, **says: Any) -> Iterator[Script]:
    """The services answer so for a while, by the method's own name."""
    script.answer(**says)
    script.asked.clear()
    try:
        yield script
    finally:
        script.says = {}


def papers_of(house: House, who: str) -> "documents_pb2_grpc.DocumentsServiceAsyncStub":
    return documents_pb2_grpc.DocumentsServiceStub(house.as_institution(who))


def a_household() -> households_pb2.GetHouseholdResponse:
    return households_pb2.GetHouseholdResponse(
        household=households_pb2.Household(
            household_id=HOUSEHOLD,
            county_code=COUNTY,
            household_number="0042",
            area_code=VILLAGE,
            members=[households_pb2.Member(name="张*", relation="户主")],
        )
    )


async def consented(house: House, purpose: str) -> None:
    """The household lets bank-1 see its credit file."""
    day = date(2026, 1, 10)
    held = HeldConsent(
        *(ids.new_id(), COUNTY, uuid.UUID(HOUSEHOLD), "bank-1", purpose),
        *(("identity", "credit_records"), day, day),
    )
    async with house.db.transaction() as session:
        await tie_store.note_days(session, [(COUNTY, day)])
        await tie_store.hold(session, [held])


def a_credit_report() -> limits_pb2.GetCreditReportResponse:
    return limits_pb2.GetCreditReportResponse(
        household_id=HOUSEHOLD,
        as_of=TODAY,
        index_centi=9_850,
        rating=scores_pb2.Rating(grade="AA", programme="p@1", rated_on=TODAY, rating_id=LOAN),
        words=["a skill: +12"],
        words_zh=["有一技之长：加12分"],
        limit=limits_pb2.Limit(granted_fen=10_000_000, free_fen=6_000_000, used_fen=4_000_000),
    )


@pytest.mark.postgres
@pytest.mark.nats
async def test_a_credit_report_shows_what_the_caller_was_answered_and_nothing_else(
    house: House, script: Script
) -> None:
    await consented(house, "lending")
    with saying(script, GetCreditReport=a_credit_report(), GetHousehold=a_household()):
        answer = await papers_of(house, "bank-1").RenderCreditReport(
            pb.RenderCreditReportRequest(county_code=COUNTY, household_id=HOUSEHOLD),
            metadata=[("liandong-purpose", "lending"), ("liandong-person", "bank-1-p1")],
        )

    callers = [caller for _, _, caller in script.asked]
    assert {(each.institution_id, each.role) for each in callers} == {("bank-1", "bank")}
    document = answer.document
    assert (document.media_type, document.pages, document.as_of) == ("application/pdf", 1, TODAY)
    assert document.sha256 == hashlib.sha256(document.content).hexdigest()
    text = read(document.content)
    for shown in (
        *("农户信用报告", "甲银行 (bank-1)", "bank-1-p1", "lending", "2026-01-10"),
        *("张*", "0042", "AA", "98.50", "60,000.00", "有一技之长", "第 1 页，共 1 页"),
    ):
        assert shown in text
    assert document.data_sha256 in text.replace("\n", "").replace(" ", "")
    assert "a skill" not in text


@pytest.mark.postgres
@pytest.mark.nats
async def test_a_paper_speaks_english_when_asked_to(house: House, script: Script) -> None:
    with saying(script, GetCreditReport=a_credit_report(), GetHousehold=a_household()):
        answer = await papers_of(house, "centre-1").RenderCreditReport(
            pb.RenderCreditReportRequest(
                county_code=COUNTY,
                household_id=HOUSEHOLD,
                language=pb.DOCUMENT_LANGUAGE_ENGLISH,
            ),
            metadata=[("liandong-purpose", "supervision")],
        )

    text = read(answer.document.content)
    assert "Credit report" in text
    assert "County centre (centre-1)" in text
    assert "a skill: +12" in text
    assert "信用报告" not in text


@pytest.mark.postgres
@pytest.mark.nats
async def test_what_a_service_refuses_is_no_paper(house: House, script: Script) -> None:
    missing = NotFound("HOUSEHOLD_NOT_FOUND", "no such household")
    with saying(script, GetCreditReport=missing), pytest.raises(grpc.aio.AioRpcError) as refused:
        await papers_of(house, "bank-1").RenderCreditReport(
            pb.RenderCreditReportRequest(county_code=COUNTY, household_id=HOUSEHOLD),
            metadata=[("liandong-purpose", "lending")],
        )

    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert status.reason_of(refused.value) == "HOUSEHOLD_NOT_FOUND"


@pytest.mark.postgres
@pytest.mark.nats
async def test_a_bank_without_a_ground_gets_no_paper(house: House, script: Script) -> None:
    """What the judge hides from a call of its own, it hides from a paper too."""
    other = str(uuid.uuid4())

    def known(request: limits_pb2.GetCreditReportRequest, _caller: Any) -> Any:
        if request.household_id != other:
            return NotFound("HOUSEHOLD_NOT_FOUND", f"no household {request.household_id}")
        return a_credit_report()

    with saying(script, GetCreditReport=known), pytest.raises(grpc.aio.AioRpcError) as refused:
        await papers_of(house, "bank-1").RenderCreditReport(
            pb.RenderCreditReportRequest(county_code=COUNTY, household_id=other),
            metadata=[("liandong-purpose", "lending")],
        )

    assert status.reason_of(refused.value) == "HOUSEHOLD_NOT_FOUND"


@pytest.mark.postgres
@pytest.mark.nats
async def test_a_role_that_may_not_read_gets_no_paper(house: House, script: Script) -> None:
    with saying(script), pytest.raises(grpc.aio.AioRpcError) as refused:
        await papers_of(house, "insurer-1").RenderCreditReport(
            pb.RenderCreditReportRequest(county_code=COUNTY, household_id=HOUSEHOLD)
        )

    assert status.reason_of(refused.value) == "ROLE_NOT_ALLOWED"
    assert script.asked == []


@pytest.mark.postgres
@pytest.mark.nats
async def test_a_certificate_and_both_statements_are_rendered(house: House, script: Script) -> None:
    async with house.db.transaction() as session:
        owed = Tie("debt", ids.new_id(), "bank-1", COUNTY, uuid.UUID(HOUSEHOLD))
        await tie_store.tie(session, [owed])
    certificate = policies_pb2.GetCertificateResponse(
        household_id=HOUSEHOLD,
        as_of=TODAY,
        lines=[
            policies_pb2.CertificateLine(
                policy_id=LOAN,
                insurer_id="insurer-1",
                title_zh="自然灾害险",
                sum_insured_fen=6_000_000,
                from_date=TODAY,
                state="in_force",
                payees_first=["bank-1"],
            )
        ],
    )
    statement = reports_pb2.GetHouseholdStatementResponse(
        as_of=TODAY,
        loans=[
            reports_pb2.HouseholdLoan(
                loan_id=LOAN,
                lender_id="bank-1",
                lines=[reports_pb2.HouseholdLine(number=1, kind="repayment", amount_fen=12_345)],
            )
        ],
    )
    postings = loans_pb2.GetLoanStatementResponse(
        as_of=TODAY,
        postings=[loans_pb2.Posting(number=1, kind=loans_pb2.POSTING_KIND_DISBURSEMENT)],
    )
    loan = loans_pb2.GetLoanResponse(
        loan=loans_pb2.Loan(
            loan_id=LOAN, household_id=HOUSEHOLD, lender_id="bank-1", rate_ppm=43_500
        )
    )
    bank = papers_of(house, "bank-1")
    with saying(
        script,
        GetCertificate=certificate,
        GetHouseholdStatement=statement,
        GetLoanStatement=postings,
        GetLoan=loan,
        GetHousehold=a_household(),
    ):
        own: Any = {"county_code": COUNTY, "household_id": HOUSEHOLD}
        insured = await bank.RenderCertificate(pb.RenderCertificateRequest(**own))
        whole = await bank.RenderHouseholdStatement(pb.RenderHouseholdStatementRequest(**own))
        one = await bank.RenderLoanStatement(
            pb.RenderLoanStatementRequest(county_code=COUNTY, loan_id=LOAN)
        )

    for shown in (
        "保险凭证",
        "2026-01-10",
        "自然灾害险",
        "60,000.00",
        "保险公司 (insurer-1)",
        "甲银行 (bank-1)",
    ):
        assert shown in read(insured.document.content)
    for shown in ("农户贷款对账单", "还款", "123.45", "2026-01-10"):
        assert shown in read(whole.document.content)
    for shown in ("贷款对账单", "放款", "4.35%", "2026-01-10"):
        assert shown in read(one.document.content)


@pytest.mark.postgres
@pytest.mark.nats
async def test_an_access_report_tells_who_read(house: House, script: Script) -> None:
    await consented(house, "monitoring")
    with saying(script, GetHousehold=a_household(), GetCreditReport=a_credit_report()):
        await papers_of(house, "bank-1").RenderCreditReport(
            pb.RenderCreditReportRequest(county_code=COUNTY, household_id=HOUSEHOLD),
            metadata=[("liandong-purpose", "monitoring")],
        )
        answer = await papers_of(house, "centre-1").RenderAccessReport(
            pb.RenderAccessReportRequest(county_code=COUNTY, household_id=HOUSEHOLD)
        )

    text = read(answer.document.content)
    for shown in ("信息查询记录", "甲银行", "monitoring", "GetCreditReport", "允许"):
        assert shown in text


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))


@pytest.mark.postgres
@pytest.mark.nats
async def test_a_table_goes_out_in_both_forms(house: House, script: Script) -> None:
    loans = [loans_pb2.Loan(loan_id=str(uuid.uuid4()), lender_id="=cmd()") for _ in range(3)]
    bank = papers_of(house, "bank-1")
    asked = pb.ExportTableRequest(
        county_code=COUNTY,
        format=pb.TABLE_FORMAT_CSV,
        language=pb.DOCUMENT_LANGUAGE_ENGLISH,
        loans=loans_pb2.ListLoansRequest(county_code=COUNTY),
    )
    with saying(script, ListLoans=loans_pb2.ListLoansResponse(loans=loans)):
        plain = await bank.ExportTable(asked)
        asked.format = pb.TABLE_FORMAT_XLSX
        book = await bank.ExportTable(asked)

    rows = rows_of(plain.document.content)
    assert [row["loan_id"] for row in rows] == [loan.loan_id for loan in loans]
    assert rows[0]["lender_id"] == "'=cmd()"
    sheet: Any = openpyxl.load_workbook(io.BytesIO(book.document.content)).active
    titles = [cell.value for cell in sheet[1]]
    assert sheet.max_row == 4
    assert sheet.cell(2, titles.index("lender_id") + 1).value == "=cmd()"
    assert sheet.cell(2, titles.index("lender_id") + 1).data_type == "s"
    assert (plain.rows, book.rows, plain.next_part) == (3, 3, "")


@pytest.mark.postgres
@pytest.mark.nats
async def test_titles_are_chinese_unless_english_is_asked_for(house: House, script: Script) -> None:
    asked = pb.ExportTableRequest(
        county_code=COUNTY,
        format=pb.TABLE_FORMAT_CSV,
        loans=loans_pb2.ListLoansRequest(county_code=COUNTY),
    )
    with saying(script, ListLoans=loans_pb2.ListLoansResponse(loans=[loans_pb2.Loan()])):
        answer = await papers_of(house, "bank-1").ExportTable(asked)

    titles = answer.document.content.decode("utf-8-sig").splitlines()[0]
    assert "贷款编号" in titles
    assert "本金" in titles


@pytest.mark.postgres
@pytest.mark.nats
async def test_a_long_table_comes_in_parts_that_lose_no_row(house: House, script: Script) -> None:
    every = 2_300
    text = "x" * 1_000
    assert every * len(text) > 2 * PART_CHARACTERS_MAX

    def page(request: loans_pb2.ListLoansRequest, _caller: Any) -> loans_pb2.ListLoansResponse:
        first = int(request.page_token or 0)
        last = min(first + request.page_size, every)
        return loans_pb2.ListLoansResponse(
            loans=[loans_pb2.Loan(loan_id=str(n), next_step=text) for n in range(first, last)],
            next_page_token=str(last) if last < every else "",
        )

    asked = pb.ExportTableRequest(
        county_code=COUNTY,
        format=pb.TABLE_FORMAT_CSV,
        language=pb.DOCUMENT_LANGUAGE_ENGLISH,
        loans=loans_pb2.ListLoansRequest(county_code=COUNTY),
    )
    found: list[str] = []
    parts = 0
    with saying(script, ListLoans=page):
        while True:
            answer = await papers_of(house, "bank-1").ExportTable(asked)
            found += [row["loan_id"] for row in rows_of(answer.document.content)]
            parts += 1
            if not answer.next_part:
                break
            asked.loans.page_token = answer.next_part

    assert parts == 3
    assert found == [str(n) for n in range(every)]


@pytest.mark.postgres
@pytest.mark.nats
async def test_a_table_of_another_county_than_is_named_is_refused(
    house: House, script: Script
) -> None:
    asked = pb.ExportTableRequest(
        county_code=COUNTY,
        format=pb.TABLE_FORMAT_CSV,
        loans=loans_pb2.ListLoansRequest(county_code="123457"),
    )
    with saying(script), pytest.raises(grpc.aio.AioRpcError) as refused:
        await papers_of(house, "bank-1").ExportTable(asked)

    assert status.reason_of(refused.value) == "COUNTY_DIFFERS"
    assert script.asked == []
