"""Files through the whole platform: in, tried, changed, out in both forms, and in again."""

import csv
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

import grpc
import pytest
import pytest_asyncio
from liandong.common.v1 import operator_pb2
from liandong.households.v1 import facts_pb2, facts_pb2_grpc, households_pb2, households_pb2_grpc

from deploy.demo import run as demo
from deploy.local import cli_reports, fact_file, places, processes, report_file
from deploy.local.client import Institution
from deploy.local.household_file import (
    EXPORT_TITLES,
    Order,
    Report,
    VerdictFile,
    export_file,
    import_to_file,
)
from deploy.local.line_files import Columns, read_rows
from deploy.local.remote import Operator
from deploy.local.stack import SERVICES, Stack
from deploy.nats import topology
from services.kernel.status import reason_of
from services.loans.rules.reports import NAMES
from tests import lines as files
from tests.flows.county import OPENED, day

pytestmark = pytest.mark.stack

LINES = 300
WRONG_EVERY = 100
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
    machine = places.find()
    folder = machine.folder(f"files-{secrets.token_hex(6)}")
    streams = topology.load(events_bytes_max=64 * 1024 * 1024)
    stack = Stack(machine, folder, replace(demo.shape(processes=False), streams=streams))
    made = Platform(stack)
    try:
        async with stack:
            await made.begin()
            yield made
            for client in made.clients.values():
                await client.close()
    finally:
        await processes.remove_folder(folder)


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
    elsewhere = cli_reports.lines_of(platform.at(CENTRE), replace(wish, within="110101"))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await report_file.write(path, elsewhere)
    assert reason_of(refused.value) == "AREA_NOT_YOURS"
