"""Insured lists by identity at the door: every step asked as the caller, and recorded as such."""

import uuid

import grpc
import pytest
from liandong.gateway.v1 import insured_pb2, insured_pb2_grpc

from services.kernel import status
from tests.eventually import eventually
from tests.gateway.conftest import House

pytestmark = [pytest.mark.postgres, pytest.mark.nats]

ENROL = "liandong.gateway.v1.InsuredListService/EnrolInsuredByIdentity"
RESOLVE = "liandong.households.v1.PeopleService/ResolvePersons"
NUMBER = "11010519491231002X"


def a_list(*items: insured_pb2.IdentifiedLine) -> insured_pb2.EnrolInsuredByIdentityRequest:
    return insured_pb2.EnrolInsuredByIdentityRequest(
        request_id=str(uuid.uuid4()),
        county_code="123456",
        policy_id=str(uuid.uuid4()),
        items=items,
    )


def a_stub(house: House, who: str) -> "insured_pb2_grpc.InsuredListServiceAsyncStub":
    return insured_pb2_grpc.InsuredListServiceStub(house.as_institution(who))


async def test_nobody_found_is_a_verdict_and_the_question_is_on_record(house: House) -> None:
    before = len(await house.logged("insurer-1", at_least=0))
    line = insured_pb2.IdentifiedLine(identity_number=NUMBER, cover_id="storm")

    answer = await a_stub(house, "insurer-1").EnrolInsuredByIdentity(a_list(line))

    (verdict,) = answer.verdicts
    assert (verdict.accepted, verdict.reason) == (False, "PERSON_NOT_FOUND")
    caller = house.seen.callers[-1]
    assert (caller.institution_id, caller.method) == ("insurer-1", f"/{RESOLVE}")
    rows = (await house.logged("insurer-1", at_least=before + 2))[before:]
    assert [(row["method"], row["service"], row["outcome"]) for row in rows] == [
        (RESOLVE, "households", "OK"),
        (ENROL, "households", "OK"),
    ]
    assert not any(NUMBER in str(value) for row in rows for value in row.values())


async def test_a_service_that_is_away_is_named_and_no_line_is_lost(house: House) -> None:
    known = insured_pb2.IdentifiedLine(name=str(uuid.uuid4()), cover_id="storm")

    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await a_stub(house, "insurer-1").EnrolInsuredByIdentity(a_list(known))

    assert status.reason_of(refusal.value) == "SERVICE_UNAVAILABLE"
    assert "claims" in str(refusal.value.details())
    rows = await eventually(
        lambda: house.logged("insurer-1"), lambda rows: rows[-1]["method"] == ENROL
    )
    assert (rows[-1]["reason"], rows[-1]["outcome"]) == ("SERVICE_UNAVAILABLE", "UNAVAILABLE")


async def test_a_list_is_the_insurers_and_its_rules_show_no_number(house: House) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as denied:
        await a_stub(house, "bank-1").EnrolInsuredByIdentity(a_list())
    assert status.reason_of(denied.value) == "ROLE_NOT_ALLOWED"

    wrong = insured_pb2.IdentifiedLine(identity_number=NUMBER * 4, cover_id="")
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await a_stub(house, "insurer-1").EnrolInsuredByIdentity(a_list(wrong))

    assert status.reason_of(refusal.value) == "FIELD_RULE_BROKEN"
    said = str(refusal.value.trailing_metadata()) + str(refusal.value.details())
    assert "items[0].cover_id" in said
    assert NUMBER not in said
