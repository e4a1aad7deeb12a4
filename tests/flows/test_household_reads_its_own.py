"""A household on the real platform reads its own and contests it; everybody reads the rest."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.type.date_pb2 import Date
from liandong.common.v1 import operator_pb2, operator_pb2_grpc
from liandong.gateway.v1 import (
    documents_pb2,
    documents_pb2_grpc,
    public_pb2,
    public_pb2_grpc,
    self_pb2_grpc,
)
from liandong.gateway.v1 import self_pb2 as pb
from liandong.households.v1 import (
    evidence_pb2,
    facts_pb2,
    facts_pb2_grpc,
    households_pb2,
    households_pb2_grpc,
)
from liandong.loans.v1 import loans_pb2

from deploy.demo import generator
from deploy.local.stack import SERVICES, Stack
from services.kernel.status import reason_of
from tests import lines as files
from tests.eventually import eventually
from tests.flows.county import OPENED, day
from tests.gateway.conftest import channel
from tests.platforms import a_platform

pytestmark = pytest.mark.stack

CENTRE, OPERATOR, PORTAL = "cfc-0001", "opr-0001", "portal-0001"
EVIDENCE = evidence_pb2.Evidence(kind=evidence_pb2.EVIDENCE_KIND_DOCUMENT, reference="archive-1")
YEAR = Date(year=2017, month=1, day=1)


@dataclass
class World:
    """The platform, its institutions' connections, a household and its head."""

    stack: Stack
    channels: dict[str, grpc.aio.Channel] = field(default_factory=dict)
    household_id: str = ""
    number: str = ""
    person_id: str = ""

    def at(self, institution_id: str) -> grpc.aio.Channel:
        if institution_id not in self.channels:
            own = self.stack.institution(institution_id)
            self.channels[institution_id] = channel(self.stack.gateway_address, own)
        return self.channels[institution_id]

    @property
    def people(self) -> "self_pb2_grpc.HouseholdSelfServiceAsyncStub":
        return self_pb2_grpc.HouseholdSelfServiceStub(self.at(PORTAL))

    def as_me(self) -> list[tuple[str, str]]:
        return [("liandong-person", self.person_id), ("liandong-purpose", "household_request")]

    async def begin(self) -> None:
        """Open the books, register areas, a household and a fact about it."""
        operator = operator_pb2_grpc.OperatorServiceStub(self.at(OPERATOR))
        for noun in SERVICES:
            await operator.AdvanceDay(
                operator_pb2.AdvanceDayRequest(
                    request_id=str(uuid.uuid4()),
                    county_code=files.COUNTY,
                    business_date=day(OPENED),
                ),
                metadata=[("liandong-service", noun), ("liandong-person", f"{OPERATOR}-p1")],
            )
        registry = households_pb2_grpc.HouseholdsServiceStub(self.at(CENTRE))
        clerk = [("liandong-person", f"{CENTRE}-p1")]
        levels = households_pb2.AreaLevel.ValueType
        await registry.RegisterAreas(
            households_pb2.RegisterAreasRequest(
                request_id=str(uuid.uuid4()),
                county_code=files.COUNTY,
                areas=[
                    households_pb2.Area(area_code=code, name=code, level=levels(level))
                    for code, level in files.areas()
                ],
            ),
            metadata=clerk,
        )
        self.number = generator.identity_number("19800101", 321)
        made = await registry.RegisterHousehold(
            households_pb2.RegisterHouseholdRequest(
                request_id=str(uuid.uuid4()),
                county_code=files.COUNTY,
                household_number="H-321",
                area_code=files.VILLAGES[0],
                status=households_pb2.REGISTRATION_STATUS_REGISTERED_POOR,
                members=[
                    households_pb2.Member(name="王芳", identity_number=self.number, relation="户主")
                ],
            ),
            metadata=clerk,
        )
        self.household_id = made.household_id
        await self._record_income(clerk)

    async def _record_income(self, clerk: list[tuple[str, str]]) -> None:
        facts = facts_pb2_grpc.FactsServiceStub(self.at(CENTRE))
        income = facts_pb2.NewFact(
            household_id=self.household_id,
            content=facts_pb2.FactContent(
                income=facts_pb2.IncomeFact(year=2017, source="farming", amount_fen=800_000)
            ),
            valid_from=YEAR,
            evidence=EVIDENCE,
        )
        answer = await facts.BatchRecordFacts(
            facts_pb2.BatchRecordFactsRequest(
                request_id=str(uuid.uuid4()), county_code=files.COUNTY, facts=[income]
            ),
            metadata=clerk,
        )
        (verdict,) = answer.verdicts
        assert verdict.accepted, verdict


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world() -> AsyncIterator[World]:
    async with a_platform("self") as stack:
        made = World(stack)
        await made.begin()
        yield made
        for one in made.channels.values():
            await one.close()


async def _my_file(world: World) -> Any:
    """The file, once every service has heard of the household; None before."""
    try:
        return await world.people.GetMyFile(
            pb.GetMyFileRequest(county_code=files.COUNTY), metadata=world.as_me()
        )
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return None


async def test_a_household_reads_its_own_contests_it_and_is_told_who_read(world: World) -> None:
    known = await world.people.IdentifyMe(
        pb.IdentifyMeRequest(county_code=files.COUNTY, identity_number=world.number)
    )
    world.person_id = known.person_id

    file = await eventually(lambda: _my_file(world), lambda found: found is not None)

    assert (file.household_id, file.household_number) == (world.household_id, "H-321")
    assert file.as_of == day(OPENED)
    (fact,) = file.facts
    assert fact.content.income.amount_fen == 800_000
    assert list(file.withheld) == []

    made = await world.people.FileMyDispute(
        pb.FileMyDisputeRequest(
            request_id=str(uuid.uuid4()),
            county_code=files.COUNTY,
            subject=pb.MY_DISPUTE_SUBJECT_FACT,
            subject_id=fact.fact_id,
            statement="收入没有这么多",
        ),
        metadata=world.as_me(),
    )
    again = await _my_file(world)
    assert [each.dispute_id for each in again.disputes] == [made.dispute_id]
    assert again.disputes[0].statement == "收入没有这么多"

    accesses = await world.people.ListMyAccesses(
        pb.ListMyAccessesRequest(county_code=files.COUNTY), metadata=world.as_me()
    )
    assert {each.method.rpartition("/")[2] for each in accesses.accesses} >= {
        "GetMyFile",
        "FileMyDispute",
    }
    paper = await world.people.PrintMyPaper(
        pb.PrintMyPaperRequest(county_code=files.COUNTY, paper=pb.MY_PAPER_FILE),
        metadata=world.as_me(),
    )
    assert paper.document.content.startswith(b"%PDF")


async def test_a_persons_claims_are_asked_for_by_household_and_disputed_as_its_own(
    world: World,
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await world.people.FileMyDispute(
            pb.FileMyDisputeRequest(
                request_id=str(uuid.uuid4()),
                county_code=files.COUNTY,
                subject=pb.MY_DISPUTE_SUBJECT_CLAIM,
                subject_id=str(uuid.uuid4()),
                statement="赔少了",
            ),
            metadata=world.as_me(),
        )

    assert reason_of(refused.value) == "CLAIM_NOT_FOUND"


async def test_papers_and_tables_come_from_the_real_services(world: World) -> None:
    stub = documents_pb2_grpc.DocumentsServiceStub(world.at(CENTRE))
    own: Any = {"county_code": files.COUNTY, "household_id": world.household_id}

    report = await stub.RenderCreditReport(
        documents_pb2.RenderCreditReportRequest(**own),
        metadata=[("liandong-purpose", "supervision")],
    )
    certificate = await stub.RenderCertificate(documents_pb2.RenderCertificateRequest(**own))
    statement = await stub.RenderHouseholdStatement(
        documents_pb2.RenderHouseholdStatementRequest(**own)
    )
    table = await stub.ExportTable(
        documents_pb2.ExportTableRequest(
            county_code=files.COUNTY,
            format=documents_pb2.TABLE_FORMAT_CSV,
            households=households_pb2.ListHouseholdsRequest(county_code=files.COUNTY),
        )
    )
    empty = await stub.ExportTable(
        documents_pb2.ExportTableRequest(
            county_code=files.COUNTY,
            format=documents_pb2.TABLE_FORMAT_XLSX,
            loans=loans_pb2.ListLoansRequest(county_code=files.COUNTY),
        )
    )

    for answer in (report, certificate, statement):
        assert answer.document.content.startswith(b"%PDF")
        assert answer.document.pages == 1
    assert "H-321" in table.document.content.decode("utf-8-sig")
    assert (table.rows, empty.rows) == (1, 0)


async def test_everybody_reads_what_the_county_publishes(world: World) -> None:
    credentials = grpc.ssl_channel_credentials(world.stack.ca.ca_path.read_bytes())
    address = world.stack.public_address
    async with grpc.aio.secure_channel(address, credentials) as anybody:
        stub = public_pb2_grpc.PublicServiceStub(anybody)
        county: Any = {"county_code": files.COUNTY}
        disclosed = await stub.ListDisclosures(public_pb2.ListDisclosuresRequest(**county))
        notices = await stub.ListRunningNotices(public_pb2.ListRunningNoticesRequest(**county))
        paid = await stub.ListPublishedCompensations(
            public_pb2.ListPublishedCompensationsRequest(**county)
        )

    (programme,) = disclosed.programmes
    assert len(programme.sections) == 5
    assert (len(notices.notices), len(paid.compensations)) == (0, 0)
    assert notices.read_time == paid.read_time
