"""Files through the whole platform: in, tried, changed, out in both forms, and in again."""

import csv
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import grpc
import pytest
import pytest_asyncio
from liandong.claims.v1 import claims_pb2, claims_pb2_grpc, policies_pb2, policies_pb2_grpc
from liandong.common.v1 import operator_pb2, statements_pb2
from liandong.households.v1 import facts_pb2, facts_pb2_grpc, households_pb2, households_pb2_grpc
from liandong.loans.v1 import projects_pb2, projects_pb2_grpc
from liandong.loans.v1 import records_pb2 as loans_pb2
from liandong.loans.v1 import records_pb2_grpc as loans_grpc

from deploy.demo import generator
from deploy.local import (
    cli_reports,
    fact_file,
    insured_file,
    list_file,
    report_file,
)
from deploy.local.client import Institution
from deploy.local.household_file import (
    EXPORT_TITLES,
    Order,
    Report,
    VerdictFile,
    export_file,
    import_to_file,
)
from deploy.local.insurance_file import Reconciled
from deploy.local.line_files import Columns, read_rows
from deploy.local.list_file import KINDS, Heading
from deploy.local.remote import Operator
from deploy.local.stack import SERVICES, Stack
from services.kernel.status import reason_of
from services.loans.rules.reports import NAMES
from tests import lines as files
from tests.flows.county import OPENED, day
from tests.platforms import a_platform

pytestmark = pytest.mark.stack

LINES = 300
WRONG_EVERY = 100
CENTRE, OFFICE, OPERATOR, INSURER = "cfc-0001", "pov-0001", "opr-0001", "ins-0001"
COVER = "natural_disaster"
BANK, AUDITOR = "rcb-0001", "aud-0001"
MORE_TITLES = (
    *("households", "owing_households", "counted_households"),
    *("npl_ratio_pct", "recovery_rate_pct", "overdue_ratio_pct", "loan_coverage_ratio_pct"),
)
CENTRE, OFFICE, OPERATOR = "cfc-0001", "pov-0001", "opr-0001"


@dataclass
class Platform:
    """A platform with its areas, and its institutions as clients."""

    stack: Stack
    clients: dict[str, Institution] = field(default_factory=dict)

    def at(self, institution_id: str) -> Institution:
        if institution_id not in self.clients:
            own = self.stack.institution(institution_id)
            address = self.stack.gateway_address
            self.clients[institution_id] = Institution(address, own, institution_id)
        return self.clients[institution_id]

    async def begin(self) -> None:
        for noun in SERVICES:
            request = operator_pb2.AdvanceDayRequest(
                request_id=str(uuid4()), county_code=files.COUNTY, business_date=day(OPENED)
            )
            await Operator(self.at(OPERATOR)).ask(noun, "AdvanceDay", request)
        areas = households_pb2.RegisterAreasRequest(
            request_id=str(uuid4()),
            county_code=files.COUNTY,
            areas=[
                households_pb2.Area(
                    area_code=code, name=code, level=households_pb2.AreaLevel.ValueType(level)
                )
                for code, level in files.areas()
            ],
        )
        stub = households_pb2_grpc.HouseholdsServiceStub
        await self.at(CENTRE).call(stub, "RegisterAreas", areas)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform() -> AsyncIterator[Platform]:
    async with a_platform("files") as stack:
        made = Platform(stack)
        await made.begin()
        yield made
        for client in made.clients.values():
            await client.close()


async def take(
    platform: Platform, file: Path, *, who: str = CENTRE, dry_run: bool = False
) -> tuple[Report, list[dict[str, str]]]:
    """Import a file; the report and the verdicts."""
    order = Order(dry_run=dry_run, update=True, chunk_lines=50)
    verdicts = file.with_name(f"{file.name}.verdicts.csv")
    with VerdictFile(verdicts, what={"dry_run": dry_run}, anew=True) as kept:
        report = await import_to_file(
            platform.at(who), file, files.COUNTY, order=order, verdicts=kept
        )
    with verdicts.open(encoding="utf-8", newline="") as told:
        return report, list(csv.DictReader(told))


def without_ids(verdicts: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{**row, "household_id": ""} for row in verdicts]


async def test_a_file_is_tried_taken_changed_written_and_taken_again(
    platform: Platform, tmp_path: Path
) -> None:
    file = files.write(tmp_path / "county.csv", LINES, wrong_every=WRONG_EVERY)

    tried, would = await take(platform, file, dry_run=True)
    report, verdicts = await take(platform, file)

    wrong = report.refused_lines
    assert wrong == LINES // WRONG_EVERY
    assert tried.counts() == report.counts()
    assert without_ids(would) == without_ids(verdicts)
    assert Counter(row["verdict"] for row in verdicts) == {
        "registered": LINES - wrong,
        "refused": wrong,
    }
    refused = [row for row in verdicts if row["verdict"] == "refused"]
    assert {(row["column"], row["reason"]) for row in refused} == {
        ("identity_number", "IDENTITY_CHECKSUM")
    }
    assert all("*" in row["value"] for row in refused)

    for name in ("out.csv", "out.xlsx"):
        out = tmp_path / name
        done = await export_file(platform.at(CENTRE), out, files.COUNTY)
        again, verdicts = await take(platform, out)
        assert (done.households, done.lines) == (report.households, report.people)
        assert {row["verdict"] for row in verdicts} == {"unchanged"}
        assert again.unchanged_lines == report.people

    rows = [list(row) for row in csv.reader((tmp_path / "out.csv").open(encoding="utf-8-sig"))]
    phone, status = EXPORT_TITLES.index("电话"), EXPORT_TITLES.index("登记状态")
    rows[1][phone] = "15411112222"
    number = EXPORT_TITLES.index("户编号")
    # A household's status stands on the line of each of its people.
    own = [row for row in rows if row[number] == rows[1][number]]
    for row in own:
        row[status] = "脱贫户"
    with (tmp_path / "new.csv").open("w", encoding="utf-8", newline="") as new:
        csv.writer(new).writerows(rows)

    centre, _ = await take(platform, tmp_path / "new.csv")
    office, told = await take(platform, tmp_path / "new.csv", who=OFFICE)

    assert (centre.refused_lines, centre.changed_lines) == (len(own), 0)
    assert (office.refused_lines, office.changed_lines) == (0, len(own))
    assert office.changed_households == 1
    assert told[0]["household_id"]


async def test_facts_come_by_file_in_ones_own_name_and_once(
    platform: Platform, tmp_path: Path
) -> None:
    file = tmp_path / "facts.csv"
    person = next(files.people(1))[4]
    rows = [
        ["种类", "证件号码", "起始日期", "依据编号", "labour", "year", "source", "amount_fen"],
        ["labour", person, "2018-01-01", "a/1", "弱劳动力或半劳动力", "", "", ""],
        ["收入", person, "2018-01-01", "a/2", "", "2017", "farming", "1200000"],
        ["收入", person, "2018-01-01", "a/3", "", "2017", "farming", "-5"],
        ["收入", person, "2018-13-01", "a/4", "", "2017", "farming", "5"],
        ["法院", person, "2018-01-01", "a/5", "", "", "", ""],
        ["blood", person, "2018-01-01", "a/6", "", "", "", ""],
        ["收入", person[:17] + "?", "2018-01-01", "a/7", "", "2017", "farming", "5"],
        ["labour", person, "2018-01-01", "a/8", "普通劳动力", "2017", "", ""],
    ]
    with file.open("w", encoding="utf-8", newline="") as written:
        csv.writer(written).writerows(rows)
    file_id = uuid4()
    verdicts = tmp_path / "verdicts.csv"

    async def send() -> fact_file.Report:
        return await fact_file.import_facts(
            platform.at(CENTRE),
            file,
            files.COUNTY,
            file_id=file_id,
            rows=fact_file.fact_rows(file, {}, encoding="utf-8"),
            verdicts=verdicts,
        )

    first = await send()
    told = list(csv.DictReader(verdicts.open(encoding="utf-8", newline="")))
    second = await send()

    assert (first.recorded, first.refused) == (second.recorded, second.refused) == (2, 6)
    assert list(csv.DictReader(verdicts.open(encoding="utf-8", newline=""))) == told
    assert [row["reason"] for row in told] == [
        "",
        "",
        "FIELD_RULE_BROKEN",
        "LINE_WRONG",
        "FACT_SOURCE_NOT_ENTITLED",
        "LINE_WRONG",
        "IDENTITY_MALFORMED",
        "LINE_WRONG",
    ]
    households = await platform.at(CENTRE).call(
        households_pb2_grpc.HouseholdsServiceStub,
        "ListHouseholds",
        households_pb2.ListHouseholdsRequest(county_code=files.COUNTY, page_size=1),
    )
    listed = await platform.at(CENTRE).call(
        facts_pb2_grpc.FactsServiceStub,
        "ListFacts",
        facts_pb2.ListFactsRequest(
            county_code=files.COUNTY, household_id=households.households[0].household_id
        ),
    )
    assert sorted(fact.provenance.evidence.reference for fact in listed.facts) == ["a/1", "a/2"]


async def a_policy(platform: Platform) -> str:
    """A master policy of the insurer for the whole county."""
    until = OPENED + timedelta(days=364)
    agreement = policies_pb2.RecordAgreementRequest(
        request_id=str(uuid4()),
        county_code=files.COUNTY,
        insurer_id=INSURER,
        programme_id="henan-lushi",
        bank_ids=["rcb-0001"],
        signed_on=day(OPENED),
        from_date=day(OPENED),
        until_date=day(until),
        document="sha256:agreement",
    )
    await platform.at(CENTRE).call(
        policies_pb2_grpc.PoliciesServiceStub, "RecordAgreement", agreement
    )
    policy = claims_pb2.IssueMasterPolicyRequest(
        request_id=str(uuid4()),
        county_code=files.COUNTY,
        insurer_id=INSURER,
        programme_id="henan-lushi",
        cover_id=COVER,
        from_date=day(OPENED),
        until_date=day(until),
    )
    issued = await platform.at(INSURER).call(
        claims_pb2_grpc.ClaimsServiceStub, "IssueMasterPolicy", policy
    )
    return str(issued.policy_id)


async def test_an_insurer_brings_identity_numbers_and_claims_gets_ids(
    platform: Platform, tmp_path: Path
) -> None:
    households = files.write(tmp_path / "households.csv", 30, wrong_every=0)
    await take(platform, households)
    heads = [row for row in files.people(30) if row[2] == "户主"]
    policy_id = await a_policy(platform)
    unknown = "11010519491231002X"
    file = tmp_path / "list.csv"
    rows = [
        ["证件号码", "姓名", "出生日期", "险别", "保额(元)", "备注"],
        [heads[0][4], "", "", COVER, "", ""],
        [heads[1][4], "", "", "", "60000", "the rest of the line is the order's"],
        [unknown, "", "", COVER, "", ""],
        [heads[2][4][:17] + "?", "", "", COVER, "", ""],
        [heads[0][4], "", "", COVER, "", ""],
        ["", "", "", COVER, "", ""],
        [heads[3][4], "", "", COVER, "12.345", ""],
    ]
    with file.open("w", encoding="utf-8", newline="") as written:
        csv.writer(written).writerows(rows)
    told = tmp_path / "list.verdicts.csv"
    titles = {"险别": "cover_id", "备注": ""}
    order = insured_file.Order(policy_id, COVER, dry_run=False, titles=titles)

    tried, would = await enrol(platform, file, replace(order, dry_run=True), told, anew=True)
    done, verdicts = await enrol(platform, file, order, told)

    assert tried.counts() == done.counts()
    assert (done.lines, done.insured, done.refused) == (7, 2, 5)
    reasons = [row["reason"] for row in verdicts]
    assert reasons == [row["reason"] for row in would]
    assert " ".join(reasons[2:]) == (
        "PERSON_NOT_FOUND IDENTITY_MALFORMED ALREADY_INSURED QUERY_EMPTY LINE_WRONG"
    )
    assert heads[2][4][:17] not in told.read_text(encoding="utf-8")
    listed = await platform.at(INSURER).call(
        policies_pb2_grpc.PoliciesServiceStub,
        "ListInsured",
        policies_pb2.ListInsuredRequest(county_code=files.COUNTY, policy_id=policy_id),
    )
    assert {each.insured_id for each in listed.insured} == {
        row["insured_id"] for row in verdicts if row["verdict"] == "insured"
    }
    assert all(uuid.UUID(each.household_id) for each in listed.insured)

    # The client died before the answer: the chunk goes again and is answered as before.
    forget_answer(told)
    again, repeated = await enrol(platform, file, order, told)

    assert again.counts() == done.counts()
    assert repeated == verdicts

    # Who was unknown was registered meanwhile: the chunk is another one now, and taken as it is.
    (newcomer,) = (list(row) for row in files.people(1, first=4_002))
    newcomer[4] = unknown
    await take(platform, files.write_rows(tmp_path / "newcomer.csv", [newcomer]))
    forget_answer(told)
    later, verdicts = await enrol(platform, file, order, told)

    assert (later.lines, later.insured, later.refused) == (7, 1, 6)
    assert [row["reason"] for row in verdicts] == [
        *("ALREADY_INSURED", "ALREADY_INSURED", "", "IDENTITY_MALFORMED"),
        *("ALREADY_INSURED", "QUERY_EMPTY", "LINE_WRONG"),
    ]


async def enrol(
    platform: Platform, file: Path, order: insured_file.Order, told: Path, *, anew: bool = False
) -> tuple[insured_file.Report, list[dict[str, str]]]:
    """Send a list; the report and the verdicts."""
    titles = insured_file.VERDICT_TITLES
    with VerdictFile(told, what={"dry": order.dry_run}, anew=anew, titles=titles) as kept:
        report = await insured_file.import_insured(
            platform.at(INSURER), file, files.COUNTY, order=order, verdicts=kept
        )
    with told.open(encoding="utf-8", newline="") as written:
        return report, list(csv.DictReader(written))


def forget_answer(told: Path) -> None:
    """As if the client had died before the first answer."""
    kept = told.with_name(f"{told.name}.progress.json")
    state = json.loads(kept.read_text(encoding="utf-8"))
    header = len(",".join(insured_file.VERDICT_TITLES)) + len("\r\n")
    cut = {**state, "complete": False, "chunks": 0, "counts": {}, "bytes": header}
    kept.write_text(json.dumps(cut), encoding="utf-8")


async def test_two_people_of_one_name_and_birth_are_no_verdict_for_either(
    platform: Platform, tmp_path: Path
) -> None:
    twins = [list(row) for row in files.people(6, first=3_000)]
    for row in twins:
        row[3] = "王某"
    # Both heads were born on one day: their numbers differ in the sequence only.
    born = twins[0][4][6:14]
    twins[3][4] = generator.identity_number(born, 701)
    await take(platform, files.write_rows(tmp_path / "twins.csv", twins))
    policy_id = await a_policy_of(platform)
    file = tmp_path / "names.csv"
    with file.open("w", encoding="utf-8", newline="") as written:
        day_text = f"{born[:4]}-{born[4:6]}-{born[6:]}"
        csv.writer(written).writerows([["姓名", "出生日期"], ["王某", day_text]])
    told = tmp_path / "names.verdicts.csv"
    order = insured_file.Order(policy_id, COVER)
    with VerdictFile(told, what={}, anew=True, titles=insured_file.VERDICT_TITLES) as kept:
        report = await insured_file.import_insured(
            platform.at(INSURER), file, files.COUNTY, order=order, verdicts=kept
        )

    (verdict,) = csv.DictReader(told.open(encoding="utf-8", newline=""))
    assert (report.refused, verdict["reason"]) == (1, "PERSON_AMBIGUOUS")


async def a_policy_of(platform: Platform) -> str:
    """The policy that the county has by now."""
    listed = await platform.at(INSURER).call(
        policies_pb2_grpc.PoliciesServiceStub,
        "ListMasterPolicies",
        policies_pb2.ListMasterPoliciesRequest(county_code=files.COUNTY),
    )
    return str(listed.policies[0].policy_id) if listed.policies else await a_policy(platform)


# --- lists held against ours ----------------------------------------------------------------------


async def brought(
    platform: Platform,
    file: Path,
    kind: str,
    *,
    who: str,
    rows: Sequence[Sequence[str]],
    dry_run: bool = False,
    reference: str = "",
) -> tuple[Reconciled, list[dict[str, str]]]:
    """A file written and held against ours; what was found."""
    with file.open("w", encoding="utf-8-sig", newline="") as made:
        csv.writer(made).writerows(rows)
    told = file.with_name("differences.csv")
    heading = Heading(files.COUNTY, who, reference or f"{kind}-1", OPENED)
    done = await list_file.reconcile(
        platform.at(who), file, KINDS[kind], heading, differences=told, dry_run=dry_run
    )
    with told.open(encoding="utf-8-sig", newline="") as found:
        return done, list(csv.DictReader(found))


async def test_a_banks_file_of_loans_is_tried_kept_and_a_wrong_day_refused(
    platform: Platform, tmp_path: Path
) -> None:
    # More than one chunk of a stream.
    lines = [[f"their-{number}", "7", "active", "是"] for number in range(1, 601)]
    rows = [["编号", "余额(分)", "状态", "贴息"], *lines]

    tried, _ = await brought(
        platform, tmp_path / "l.csv", "loans", who=BANK, rows=rows, dry_run=True
    )
    kept, told = await brought(platform, tmp_path / "l.csv", "loans", who=BANK, rows=rows)

    assert tried.causes == kept.causes == {"missing_here": 600}
    assert [row["line_number"] for row in told] == [str(number) for number in range(1, 601)]
    unresolved = statements_pb2.DifferenceFilter(county_code=files.COUNTY, unresolved=True)
    listing = loans_pb2.ListLoanDifferencesRequest(filter=unresolved)
    records = loans_grpc.LoanRecordsServiceStub
    (first, *_) = (
        await platform.at(AUDITOR).call(records, "ListLoanDifferences", listing)
    ).differences
    word = statements_pb2.DifferenceWord(
        county_code=files.COUNTY,
        number=first.number,
        resolution=statements_pb2.STATEMENT_RESOLUTION_OURS_STANDS,
        reason="a loan of another county",
    )
    say = loans_pb2.ResolveLoanDifferenceRequest(request_id=str(uuid4()), word=word)
    said = await platform.at(BANK).call(records, "ResolveLoanDifference", say, post=2)
    assert said.difference.state == statements_pb2.DIFFERENCE_STATE_PROPOSED
    agree = loans_pb2.ConfirmLoanResolutionRequest(
        request_id=str(uuid4()),
        agreement=statements_pb2.DifferenceAgreement(
            county_code=files.COUNTY, number=first.number, agrees=True
        ),
    )
    done = await platform.at(CENTRE).call(records, "ConfirmLoanResolution", agree)
    assert done.difference.confirmed_by == "cfc-0001-p1"
    due = loans_pb2.ListDueReconciliationsRequest(county_code=files.COUNTY)
    assert not (await platform.at(BANK).call(records, "ListDueReconciliations", due)).due
    mine = loans_pb2.ListLoanReconciliationsRequest(county_code=files.COUNTY)
    (own,) = (await platform.at(BANK).call(records, "ListLoanReconciliations", mine)).statements
    assert (own.differences, own.unresolved) == (600, 599)

    yesterday = str(OPENED - timedelta(days=1))
    old = [["编号", "余额(分)", "对账日期"], ["x", "1", yesterday]]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await brought(
            platform, tmp_path / "old.csv", "loans", who=BANK, rows=old, reference="loans-2"
        )
    assert reason_of(refused.value) == "FILE_OF_ANOTHER_DAY"


async def test_a_national_list_of_households_comes_by_file(
    platform: Platform, tmp_path: Path
) -> None:
    family = list(files.people(3, first=90_000))
    stub = households_pb2_grpc.HouseholdsServiceStub
    house = households_pb2.RegisterHouseholdRequest(
        request_id=str(uuid4()),
        county_code=files.COUNTY,
        household_number=family[0][0],
        area_code=family[0][1],
        status=households_pb2.REGISTRATION_STATUS_REGISTERED_POOR,
        members=[
            households_pb2.Member(name=row[3], identity_number=row[4], relation=row[2])
            for row in family
        ],
    )
    await platform.at(CENTRE).call(stub, "RegisterHousehold", house)
    members = "、".join(row[4] for row in family)
    rows = [
        ["户编号", "户主身份证号", "成员身份证号", "状态", "人数"],
        [family[0][0], family[0][4], members, "near_poor", "3"],
        ["N-9", "", "", "", "1"],
    ]

    done, told = await brought(platform, tmp_path / "h.csv", "households", who=OFFICE, rows=rows)

    # What other tests registered is missing there.
    assert {**done.causes, "missing_there": 0} == {
        "status": 1,
        "missing_here": 1,
        "missing_there": 0,
    }
    assert [(row["cause"], row["theirs"], row["ours"]) for row in told[:2]] == [
        ("status", "near_poor", "registered_poor"),
        ("missing_here", "", ""),
    ]


async def test_a_project_of_a_product_that_is_not_pooled_is_refused_at_the_door(
    platform: Platform,
) -> None:
    request = projects_pb2.RegisterLoanProjectRequest(
        request_id=str(uuid4()),
        county_code=files.COUNTY,
        name="store",
        enterprise_id="e-1",
        enterprise_name="E",
        sector="beekeeping",
        area_code=files.COUNTY,
        programme_id="henan-lushi",
        product_id="microcredit",
    )
    stub = projects_pb2_grpc.ProjectsServiceStub

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await platform.at(CENTRE).call(stub, "RegisterLoanProject", request)

    assert reason_of(refused.value) == "NOT_POOLED"
    totals = projects_pb2.GetProjectTotalsRequest(county_code=files.COUNTY)
    found = await platform.at(AUDITOR).call(stub, "GetProjectTotals", totals)
    assert found.projects_begun == 0


@pytest.mark.parametrize("form", ["csv", "xlsx"])
async def test_reports_on_loans_go_out_in_both_forms(
    platform: Platform, tmp_path: Path, form: str
) -> None:
    path = tmp_path / f"report.{form}"
    wish = cli_reports.Wish(
        kind="figures",
        county_code=files.COUNTY,
        by=[],
        period="year",
        day=OPENED,
        as_of=None,
        since=None,
        within="",
        lender="",
        programme="",
        product="",
        report="",
        household="",
    )

    lines = await report_file.write(path, cli_reports.lines_of(platform.at(CENTRE), wish))

    titles = Columns({name: name for name in (*NAMES, *MORE_TITLES)})
    (row,) = read_rows(path, titles)
    assert lines == 1
    assert (row.cells["loans"], row.cells["balance_fen"]) == ("0", "0")
    assert int(row.cells["counted_households"]) >= 0
    counts = replace(wish, kind="counts", programme="henan-lushi")
    counted = [each async for each in cli_reports.lines_of(platform.at(CENTRE), counts)]
    (lent,) = (each for each in counted if each["id"] == "lent")
    assert (lent["value"], lent["stated_value"], lent["difference"]) == ("0", "", "")
    assert lent["working"] == "0 + 0 + 0 = 0"
    elsewhere = cli_reports.lines_of(platform.at(CENTRE), replace(wish, within="110101"))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await report_file.write(path, elsewhere)
    assert reason_of(refused.value) == "AREA_NOT_YOURS"
