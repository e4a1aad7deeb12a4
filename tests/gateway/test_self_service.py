"""Self-service: a household reads its own and no other's, contests it, is told who read it."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
import yaml
from google.type.date_pb2 import Date
from joserfc.jwk import OKPKey
from liandong.claims.v1 import claims_pb2, policies_pb2
from liandong.common.v1 import common_pb2
from liandong.credit.v1 import limits_pb2, reviews_pb2, scores_pb2
from liandong.gateway.v1 import self_pb2 as pb
from liandong.gateway.v1 import self_pb2_grpc
from liandong.households.v1 import evidence_pb2, facts_pb2, households_pb2, people_pb2
from liandong.loans.v1 import (
    entitlements_pb2,
    loans_pb2,
    loans_pb2_grpc,
    reports_pb2,
)

from deploy.local.ca import LocalCA
from gateway import access
from gateway.person_signer import PersonSigner
from gateway.routes import ROUTES
from services.kernel import status
from services.kernel.caller import Caller
from services.kernel.errors import NotFound
from services.programmes.schema.deployment import InstitutionRole as Role
from tests.gateway.answering import (
    COUNTY,
    FAR_STATION,
    PORTAL,
    STATION,
    VILLAGE,
    Script,
    a_county,
    an_answering_house,
)
from tests.gateway.conftest import House
from tests.gateway.test_documents import read
from tests.servers import NatsServer, Schemas

pytestmark = [pytest.mark.postgres, pytest.mark.nats]

OFFERED = "zhejiang-tongxiang-sanzhi@1"
SILENT = "henan-lushi@2"
NUMBER = "11010519491231002X"
TODAY = Date(year=2026, month=1, day=10)
MINE, OTHERS = str(uuid.uuid4()), str(uuid.uuid4())
ME, SOMEBODY = str(uuid.uuid4()), str(uuid.uuid4())
LOAN, SILENT_LOAN = str(uuid.uuid4()), str(uuid.uuid4())
CLAIM, PAYOUT, RATING, FACT = (str(uuid.uuid4()) for _ in range(4))
PLACES = {ME: MINE, SOMEBODY: OTHERS}


def disclosed(request: people_pb2.DisclosePersonsRequest, _caller: Caller) -> Any:
    persons = [
        people_pb2.DisclosedPerson(
            verdict=common_pb2.Verdict(accepted=each in PLACES, reason="PERSON_NOT_FOUND"),
            household_id=PLACES.get(each, ""),
        )
        for each in request.person_ids
    ]
    return people_pb2.DisclosePersonsResponse(persons=persons)


def resolved(request: people_pb2.ResolvePersonsRequest, caller: Caller) -> Any:
    (query,) = request.queries
    known = query.identity_number == NUMBER and caller.may_act_in(VILLAGE)
    person = people_pb2.ResolvedPerson(
        verdict=common_pb2.Verdict(
            accepted=known, id=ME if known else "", reason="" if known else "PERSON_NOT_FOUND"
        ),
        household_id=MINE if known else "",
    )
    return people_pb2.ResolvePersonsResponse(persons=[person])


def a_household(request: households_pb2.GetHouseholdRequest, _caller: Caller) -> Any:
    found = households_pb2.Household(
        household_id=request.household_id,
        county_code=COUNTY,
        household_number="0042",
        area_code=VILLAGE,
        members=[households_pb2.Member(name="张三", relation="户主")],
    )
    return households_pb2.GetHouseholdResponse(household=found)


def only_mine(answer: Any) -> Any:
    """An answer about my household; of anybody else's the test must never ask."""

    def says(request: Any, _caller: Caller) -> Any:
        assert request.household_id == MINE
        return answer

    return says


def everything() -> dict[str, Any]:
    """What the services say of my household."""
    statement = reports_pb2.GetHouseholdStatementResponse(
        as_of=TODAY,
        loans=[
            reports_pb2.HouseholdLoan(
                loan_id=LOAN,
                figures=reports_pb2.ReportFigures(subsidy_fen=1_500, subsidy_paid_fen=500),
            )
        ],
    )
    loans = [
        loans_pb2.Loan(
            loan_id=LOAN,
            lender_id="bank-1",
            programme=OFFERED,
            principal_fen=3_000_000,
            outstanding_fen=2_000_000,
            state=loans_pb2.LOAN_STATE_ACTIVE,
        ),
        loans_pb2.Loan(loan_id=SILENT_LOAN, programme=SILENT, principal_fen=777_00),
    ]
    claim = claims_pb2.Claim(
        claim_id=CLAIM,
        programme=OFFERED,
        payout_id=PAYOUT,
        cause="hail",
        payable_fen=90_000,
        state=claims_pb2.CLAIM_STATE_APPROVED,
    )
    grant = entitlements_pb2.Entitlement(
        entitlement_id=str(uuid.uuid4()),
        rule_version=OFFERED,
        kind="cash",
        payer="poverty_office",
        amount_fen=60_000,
        state=entitlements_pb2.ENTITLEMENT_STATE_PAID,
        paid_on=TODAY,
    )
    cover = policies_pb2.CertificateLine(title_zh="自然灾害险", programme=OFFERED, policy_id=LOAN)
    payout = claims_pb2.Payout(
        payout_id=PAYOUT,
        claim_id=CLAIM,
        amount_fen=90_000,
        lenders_fen=70_000,
        household_fen=20_000,
        state=claims_pb2.PAYOUT_STATE_SETTLED,
    )
    report = limits_pb2.GetCreditReportResponse(
        as_of=TODAY,
        index_centi=9_850,
        rating=scores_pb2.Rating(rating_id=RATING, grade="AA", programme=OFFERED),
        limit=limits_pb2.Limit(granted_fen=10_000_000, free_fen=6_000_000),
    )
    return {
        "DisclosePersons": disclosed,
        "ResolvePersons": resolved,
        "GetHousehold": a_household,
        "GetHouseholdStatement": only_mine(statement),
        "GetCreditReport": only_mine(report),
        "ListLoans": only_mine(loans_pb2.ListLoansResponse(loans=loans)),
        "ListEntitlements": only_mine(
            entitlements_pb2.ListEntitlementsResponse(entitlements=[grant])
        ),
        "GetCertificate": only_mine(policies_pb2.GetCertificateResponse(lines=[cover])),
        "ListClaims": only_mine(claims_pb2.ListClaimsResponse(claims=[claim])),
        "GetPayout": claims_pb2.GetPayoutResponse(payout=payout),
        "ListFacts": only_mine(facts_pb2.ListFactsResponse(facts=[facts_pb2.Fact(fact_id=FACT)])),
        "ListDisputes": only_mine(facts_pb2.ListDisputesResponse()),
    }


@pytest.fixture(scope="module")
def script() -> Script:
    return Script()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(
    schemas: Schemas,
    nats: NatsServer,
    certificates: LocalCA,
    script: Script,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[House]:
    changes = a_county(tmp_path_factory.mktemp("self"), programme=OFFERED)
    async with an_answering_house(
        *(schemas, nats, certificates, script), self_service_calls_per_second=1_000, **changes
    ) as made:
        yield made


@pytest.fixture(autouse=True)
def everything_is_said(script: Script) -> None:
    script.answer(**everything())
    script.asked.clear()


def people(house: House, who: str) -> "self_pb2_grpc.HouseholdSelfServiceAsyncStub":
    return self_pb2_grpc.HouseholdSelfServiceStub(house.as_institution(who))


def as_person(person_id: str, purpose: str = "") -> list[tuple[str, str]]:
    return [("liandong-person", person_id), ("liandong-purpose", purpose or "household_request")]


def a_card(reference: str = "consent-2026-17", number: str = NUMBER) -> pb.AtStation:
    return pb.AtStation(
        identity_number=number,
        consent=evidence_pb2.Evidence(
            kind=evidence_pb2.EVIDENCE_KIND_SIGNATURE, reference=reference, sha256=b"s" * 32
        ),
    )


def mine(**more: Any) -> pb.GetMyFileRequest:
    return pb.GetMyFileRequest(county_code=COUNTY, **more)


async def test_a_portal_reads_the_persons_own_file_and_asks_of_no_other(
    house: House, script: Script
) -> None:
    file = await people(house, PORTAL).GetMyFile(mine(), metadata=as_person(ME))

    assert (file.household_id, file.household_number, file.as_of) == (MINE, "0042", TODAY)
    assert (file.credit.grade, file.credit.free_fen, file.credit.rating_id) == (
        *("AA", 6_000_000),
        RATING,
    )
    assert [(each.loan_id, each.lender_zh, each.state) for each in file.loans] == [
        (LOAN, "甲银行", "active")
    ]
    assert [(each.kind, each.amount_fen, each.paid_fen) for each in file.subsidies] == [
        ("interest", 1_500, 500),
        ("cash", 60_000, 60_000),
    ]
    assert [each.title_zh for each in file.policies] == ["自然灾害险"]
    assert [(each.claim_id, each.state) for each in file.claims] == [(CLAIM, "approved")]
    assert [(each.kind, each.household_fen) for each in file.payments] == [
        ("cash", 60_000),
        ("payout", 20_000),
    ]
    assert [each.fact_id for each in file.facts] == [FACT]
    callers = {(each.institution_id, each.role, each.person_id) for *_, each in script.asked}
    assert callers == {(PORTAL, "household", ME)}


async def test_what_a_programme_does_not_offer_is_withheld_with_its_reason(house: House) -> None:
    file = await people(house, PORTAL).GetMyFile(mine(), metadata=as_person(ME))

    assert SILENT_LOAN not in {each.loan_id for each in file.loans}
    (withheld,) = file.withheld
    assert (withheld.what, withheld.programme, withheld.count, withheld.reason) == (
        *("loan", SILENT, 1),
        "SELF_SERVICE_NOT_OFFERED",
    )
    assert withheld.reason_zh


async def test_where_no_programme_offers_it_nothing_is_told(
    schemas: Schemas,
    nats: NatsServer,
    certificates: LocalCA,
    script: Script,
    tmp_path: Any,
) -> None:
    changes = a_county(tmp_path, programme=SILENT, since="2019-01-01")
    async with an_answering_house(schemas, nats, certificates, script, **changes) as silent:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await people(silent, PORTAL).GetMyFile(mine(), metadata=as_person(ME))

    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert status.reason_of(refused.value) == "SELF_SERVICE_NOT_OFFERED"
    assert "GetCreditReport" not in script.methods()


async def test_nobodys_household_is_not_found(house: House) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await people(house, PORTAL).GetMyFile(mine(), metadata=as_person(str(uuid.uuid4())))

    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert status.reason_of(refused.value) == "HOUSEHOLD_NOT_FOUND"


@pytest.mark.parametrize(
    ("metadata", "request_", "reason"),
    [
        ([], mine(), "PERSON_NEEDED"),
        (as_person("zhang-san"), mine(), "PERSON_NOT_A_CITIZEN"),
        (as_person("portal-1-p1"), mine(), "PERSON_NOT_A_CITIZEN"),
        (as_person(ME), mine(at_station=a_card()), "NOT_A_STATION"),
    ],
)
async def test_a_portal_names_the_person_and_nothing_else(
    house: House, metadata: Any, request_: pb.GetMyFileRequest, reason: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await people(house, PORTAL).GetMyFile(request_, metadata=metadata)

    assert status.reason_of(refused.value) == reason


async def test_a_portal_may_not_ask_a_service_itself(house: House) -> None:
    for route in ROUTES:
        if access.may_call(Role.HOUSEHOLD, route.method):
            assert (
                route.method
                not in access.WITHIN["liandong.gateway.v1.HouseholdSelfService/GetMyFile"]
            )
    stub = loans_pb2_grpc.LoansServiceStub(house.as_institution(PORTAL))

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.ListLoans(
            loans_pb2.ListLoansRequest(county_code=COUNTY, household_id=OTHERS),
            metadata=as_person(ME),
        )

    assert status.reason_of(refused.value) == "ROLE_NOT_ALLOWED"


async def test_the_portal_learns_the_id_that_its_tokens_name(house: House) -> None:
    ask = pb.IdentifyMeRequest(county_code=COUNTY, identity_number=NUMBER)

    assert (await people(house, PORTAL).IdentifyMe(ask)).person_id == ME

    ask.identity_number = "110105194912310038"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await people(house, PORTAL).IdentifyMe(ask)
    assert status.reason_of(refused.value) == "PERSON_NOT_FOUND"
    assert ask.identity_number not in str(refused.value.details())
    with pytest.raises(grpc.aio.AioRpcError) as denied:
        await people(house, STATION).IdentifyMe(ask)
    assert status.reason_of(denied.value) == "ROLE_NOT_ALLOWED"


async def test_a_station_looks_with_the_card_and_the_consent(house: House, script: Script) -> None:
    clerk = as_person(f"{STATION}-p1")

    file = await people(house, STATION).GetMyFile(mine(at_station=a_card()), metadata=clerk)

    assert file.household_id == MINE
    assert {each.role for *_, each in script.asked} == {"village_department"}
    (visit,) = await house.schema.ask("SELECT * FROM station_visit WHERE method = 'GetMyFile'")
    assert (visit["institution_id"], visit["person_id"]) == (STATION, f"{STATION}-p1")
    assert (str(visit["household_id"]), visit["evidence_reference"]) == (MINE, "consent-2026-17")
    assert visit["evidence_kind"] == "signature"


@pytest.mark.parametrize(
    ("who", "person", "card", "reason"),
    [
        (STATION, f"{STATION}-p1", None, "CONSENT_NEEDED"),
        (STATION, "", a_card(), "PERSON_NEEDED"),
        (STATION, f"{STATION}-p1", a_card(number="110105194912310038"), "PERSON_NOT_FOUND"),
        (FAR_STATION, f"{FAR_STATION}-p1", a_card(), "PERSON_NOT_FOUND"),
        (STATION, f"{STATION}-p1", pb.AtStation(identity_number=NUMBER), "FIELD_RULE_BROKEN"),
        (STATION, f"{STATION}-p1", a_card(reference=""), "FIELD_RULE_BROKEN"),
    ],
)
async def test_without_card_consent_and_clerk_nobody_looks(
    house: House, who: str, person: str, card: pb.AtStation | None, reason: str
) -> None:
    metadata = as_person(person) if person else []

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await people(house, who).GetMyFile(mine(at_station=card), metadata=metadata)

    assert status.reason_of(refused.value) == reason
    assert NUMBER not in str(refused.value.details())


async def test_the_identity_number_stands_in_no_row_of_the_log(house: House) -> None:
    clerk = as_person(f"{STATION}-p2")
    await people(house, STATION).GetMyFile(mine(at_station=a_card()), metadata=clerk)

    rows = await house.schema.ask("SELECT * FROM access_log")

    assert not any(NUMBER in str(value) for row in rows for value in row.values())


async def test_it_is_told_who_read_it_when_and_why(house: House) -> None:
    loans = loans_pb2_grpc.LoansServiceStub(house.as_institution("bank-1"))
    with pytest.raises(grpc.aio.AioRpcError):
        # Nothing is said of GetLoan here; that somebody asked is told all the same.
        await loans.GetLoan(
            loans_pb2.GetLoanRequest(county_code=COUNTY, loan_id=LOAN),
            metadata=[("liandong-purpose", "review")],
        )
    clerk = as_person(f"{STATION}-p1")
    card = a_card(reference="consent-2026-18")
    await people(house, STATION).GetMyFile(mine(at_station=card), metadata=clerk)

    ask = pb.ListMyAccessesRequest(county_code=COUNTY, page_size=2)
    answer = await people(house, PORTAL).ListMyAccesses(ask, metadata=as_person(ME))

    station, bank = answer.accesses
    assert (station.institution_id, station.method.rpartition("/")[2]) == (STATION, "GetMyFile")
    assert (station.consent_reference, station.allowed) == ("consent-2026-18", True)
    assert (bank.institution_zh, bank.purpose, bank.outcome) == (
        *("甲银行", "review"),
        "NOT_FOUND",
    )
    assert answer.next_page_token
    ask.page_token = answer.next_page_token
    more = await people(house, PORTAL).ListMyAccesses(ask, metadata=as_person(ME))
    assert not {each.called_time.seconds for each in more.accesses if each == station}


async def test_steps_of_its_own_looks_are_no_accesses_of_others(house: House) -> None:
    for _ in range(2):
        await people(house, PORTAL).GetMyFile(mine(), metadata=as_person(ME))

    answer = await people(house, PORTAL).ListMyAccesses(
        pb.ListMyAccessesRequest(county_code=COUNTY, page_size=500), metadata=as_person(ME)
    )

    own = [each for each in answer.accesses if each.institution_id == PORTAL]
    assert {each.method.split("/")[0] for each in own} == {
        "liandong.gateway.v1.HouseholdSelfService"
    }


@pytest.mark.parametrize(
    ("paper", "shown"),
    [
        (
            pb.MY_PAPER_FILE,
            ("我的档案", "张三", "AA", "60,000.00", "甲银行", "自然灾害险", "200.00"),
        ),
        (pb.MY_PAPER_ACCESSES, ("信息查询记录", "农户本人")),
    ],
)
async def test_its_file_and_its_readers_are_printed(
    house: House, paper: "pb.MyPaper.ValueType", shown: tuple[str, ...]
) -> None:
    answer = await people(house, PORTAL).PrintMyPaper(
        pb.PrintMyPaperRequest(county_code=COUNTY, paper=paper), metadata=as_person(ME)
    )

    text = read(answer.document.content)
    for each in shown:
        assert each in text
    assert "777.00" not in text


def a_dispute(subject: "pb.MyDisputeSubject.ValueType", subject_id: str) -> pb.FileMyDisputeRequest:
    return pb.FileMyDisputeRequest(
        request_id=str(uuid.uuid4()),
        county_code=COUNTY,
        subject=subject,
        subject_id=subject_id,
        statement="这不是我家的",
    )


async def test_a_dispute_goes_to_the_service_that_keeps_the_thing(
    house: House, script: Script
) -> None:
    made = {
        "OpenDispute": facts_pb2.OpenDisputeResponse(dispute_id="d-1", due_on=TODAY),
        "ContestRefusal": reviews_pb2.ContestRefusalResponse(
            contest=reviews_pb2.Contest(contest_id="d-2")
        ),
        "DisputeClaim": claims_pb2.DisputeClaimResponse(
            dispute=claims_pb2.ClaimDispute(dispute_id="d-3")
        ),
    }
    script.answer(**everything(), **made)
    found = []
    for subject, subject_id in (
        (pb.MY_DISPUTE_SUBJECT_FACT, FACT),
        (pb.MY_DISPUTE_SUBJECT_RATING, RATING),
        (pb.MY_DISPUTE_SUBJECT_CLAIM, CLAIM),
    ):
        answer = await people(house, PORTAL).FileMyDispute(
            a_dispute(subject, subject_id), metadata=as_person(ME)
        )
        found.append(answer.dispute_id)

    assert found == ["d-1", "d-2", "d-3"]
    (opened,) = [request for method, request, _ in script.asked if method.endswith("OpenDispute")]
    assert (opened.household_id, opened.side) == (MINE, facts_pb2.DISPUTE_SIDE_HOUSEHOLD)
    assert opened.evidence.reference == f"person-token {ME}"


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        (pb.MY_DISPUTE_SUBJECT_RATING, "RATING_NOT_FOUND"),
        (pb.MY_DISPUTE_SUBJECT_CLAIM, "CLAIM_NOT_FOUND"),
    ],
)
async def test_what_is_anothers_is_not_found(
    house: House, script: Script, subject: "pb.MyDisputeSubject.ValueType", reason: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await people(house, PORTAL).FileMyDispute(
            a_dispute(subject, str(uuid.uuid4())), metadata=as_person(ME)
        )

    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert status.reason_of(refused.value) == reason
    assert not {"ContestRefusal", "DisputeClaim"} & set(script.methods())


async def test_a_household_outside_the_stations_area_is_not_there(
    house: House, script: Script
) -> None:
    missing = NotFound("HOUSEHOLD_NOT_FOUND", "no household")
    script.answer(**(everything() | {"GetHousehold": missing}))

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await people(house, STATION).GetMyFile(
            mine(at_station=a_card()), metadata=as_person(f"{STATION}-p1")
        )

    assert status.reason_of(refused.value) == "HOUSEHOLD_NOT_FOUND"


async def test_a_token_of_the_portals_own_key_names_the_person(
    schemas: Schemas,
    nats: NatsServer,
    certificates: LocalCA,
    script: Script,
    tmp_path: Path,
) -> None:
    key = OKPKey.generate_key("Ed25519")
    pem = tmp_path / "key.pem"
    pem.write_bytes(key.as_pem(private=True))
    changes = a_county(tmp_path, programme=OFFERED)
    listed = yaml.safe_load(changes["institutions_path"].read_text(encoding="utf-8"))
    (portal,) = [each for each in listed["institutions"] if each["institution_id"] == PORTAL]
    portal["person_keys"] = [str(key.as_dict(private=False)["x"])]
    changes["institutions_path"].write_text(yaml.safe_dump(listed), encoding="utf-8")
    own = certificates.institution(PORTAL)
    signer = PersonSigner(PORTAL, key=pem, certificate=own.cert, env="local")
    async with an_answering_house(
        *(schemas, nats, certificates, script),
        person_metadata=False,
        self_service_calls_per_second=1,
        **changes,
    ) as strict:
        token = [("authorization", f"Bearer {signer.token(ME)}")]
        file = await people(strict, PORTAL).GetMyFile(mine(), metadata=token)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await people(strict, PORTAL).GetMyFile(mine(), metadata=as_person(ME))
        with pytest.raises(grpc.aio.AioRpcError) as stolen:
            await people(strict, STATION).GetMyFile(mine(at_station=a_card()), metadata=token)
        # One person asks too often; the portal's others do not wait for that.
        hasty = await asyncio.gather(
            *(people(strict, PORTAL).GetMyFile(mine(), metadata=token) for _ in range(12)),
            return_exceptions=True,
        )
        other = [("authorization", f"Bearer {signer.token(SOMEBODY)}")]
        with pytest.raises(grpc.aio.AioRpcError) as calm:
            await people(strict, PORTAL).GetMyFile(mine(at_station=a_card()), metadata=other)

    reasons = {status.reason_of(each) for each in hasty if isinstance(each, grpc.aio.AioRpcError)}
    assert reasons == {"RATE_LIMIT_REACHED"}
    assert status.reason_of(calm.value) == "NOT_A_STATION"
    assert file.household_id == MINE
    assert status.reason_of(refused.value) == "PERSON_TOKEN_NEEDED"
    assert status.reason_of(stolen.value) == "PERSON_TOKEN_OF_ANOTHER_CERTIFICATE"
