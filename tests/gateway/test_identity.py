"""Who may call a strict gateway: certificates, contracts, suspensions, persons, own limits."""

import uuid
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2
from google.type.date_pb2 import Date
from liandong.gateway.v1 import gateway_pb2, gateway_pb2_grpc, institutions_pb2_grpc
from liandong.gateway.v1 import institutions_pb2 as pb
from liandong.loans.v1 import loans_pb2, loans_pb2_grpc

from deploy.local.ca import Credentials, LocalCA
from deploy.local.client import Institution as Client
from services.kernel import status
from tests.eventually import eventually
from tests.gateway import strict
from tests.gateway.conftest import House, a_house
from tests.gateway.strict import Desk, fingerprint
from tests.gateway.test_door import a_question, a_repayment, details_of, loans, raw, refused
from tests.servers import NatsServer, Schemas

pytestmark = [pytest.mark.postgres, pytest.mark.nats]

WHY = "its officer lost a laptop"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def desk(
    schemas: Schemas,
    nats: NatsServer,
    certificates: LocalCA,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Desk]:
    """The operator of a gateway as production runs it."""
    folder = tmp_path_factory.mktemp("strict")
    path = strict.write_institutions(folder, certificates)
    given: dict[str, Any] = {**strict.STRICT, "institutions_path": path}
    async with a_house(schemas, nats, certificates, **given) as made:
        yield Desk(made, folder)


def of(house: House, credentials: Credentials) -> "loans_pb2_grpc.LoansServiceAsyncStub":
    return loans_pb2_grpc.LoansServiceStub(strict.connect(house, credentials))


async def reason(stub: "loans_pb2_grpc.LoansServiceAsyncStub", county_code: str = "123456") -> str:
    """Why a question is refused; empty when it is answered."""
    try:
        await stub.GetLoan(a_question(county_code))
    except grpc.aio.AioRpcError as error:
        return status.reason_of(error)
    return ""


async def becomes(
    stub: "loans_pb2_grpc.LoansServiceAsyncStub", wanted: str, county_code: str = "123456"
) -> None:
    await eventually(
        lambda: reason(stub, county_code), lambda found: found == wanted, seconds_max=20
    )


async def test_a_certificate_opens_the_door_once_it_is_registered_and_until_it_is_revoked(
    desk: Desk, tmp_path: Path
) -> None:
    own = strict.another(desk.house.authority, tmp_path, "insurer-1")
    stub = of(desk.house, own)
    assert await reason(stub) == "CERTIFICATE_NOT_REGISTERED"

    answer = await desk.register("insurer-1", own)
    assert answer.certificate.fingerprint == fingerprint(own)
    # An insurer may not read loans there: it got past the door.
    await becomes(stub, "")
    with pytest.raises(grpc.aio.AioRpcError) as known:
        await desk.register("bank-1", own)
    assert status.reason_of(known.value) == "CERTIFICATE_KNOWN"
    for text in (
        "no certificate",
        "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
    ):
        with pytest.raises(grpc.aio.AioRpcError) as malformed:
            await desk.ask("RegisterCertificate", institution_id="bank-1", certificate_pem=text)
        assert status.reason_of(malformed.value) == "MALFORMED_CERTIFICATE"
    await desk.ask(
        "RevokeCertificate",
        institution_id="insurer-1",
        fingerprint=fingerprint(own),
        reason=WHY,
    )

    # The connection is the one of before.
    await becomes(stub, "CERTIFICATE_REVOKED")


async def test_what_was_never_registered_can_be_revoked_and_stays_so(
    desk: Desk, tmp_path: Path
) -> None:
    own = strict.another(desk.house.authority, tmp_path, "insurer-1")
    await desk.ask(
        "RevokeCertificate", institution_id="insurer-1", fingerprint=fingerprint(own), reason=WHY
    )
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await desk.register("insurer-1", own)

    assert status.reason_of(refusal.value) == "CERTIFICATE_KNOWN"
    with pytest.raises(grpc.aio.AioRpcError) as another:
        await desk.ask(
            "RevokeCertificate", institution_id="bank-1", fingerprint=fingerprint(own), reason=WHY
        )
    assert status.reason_of(another.value) == "CERTIFICATE_OF_ANOTHER"
    await becomes(of(desk.house, own), "CERTIFICATE_REVOKED")


async def test_a_new_certificate_takes_over_while_the_old_one_serves_on(
    desk: Desk, tmp_path: Path
) -> None:
    old = strict.another(desk.house.authority, tmp_path, "centre-1")
    new = strict.another(desk.house.authority, tmp_path, "centre-1")
    last = strict.another(desk.house.authority, tmp_path, "centre-1")
    await desk.register("centre-1", old)
    await becomes(of(desk.house, old), "")

    await desk.register("centre-1", new, others_end_after_seconds=3_600)
    await becomes(of(desk.house, new), "")
    assert await reason(of(desk.house, old)) == ""
    await desk.register("centre-1", last, others_end_after_seconds=0)

    await becomes(of(desk.house, last), "")
    for gone in (old, new):
        assert await reason(of(desk.house, gone)) == "CERTIFICATE_EXPIRED"
    answer = await desk.ask("ListRegistrations", institution_id="centre-1")
    found = answer.registrations[0].certificates
    assert [each.fingerprint for each in found] == [fingerprint(x) for x in (old, new, last)]
    assert [each.HasField("valid_until") for each in found] == [True, True, False]


async def test_a_certificate_that_is_too_old_does_not_even_connect(
    desk: Desk, tmp_path: Path
) -> None:
    gone = strict.expired(desk.house.authority, tmp_path, "bank-1", ended=timedelta(minutes=1))

    error = await refused(of(desk.house, gone).GetLoan(a_question()))

    assert error.code() is grpc.StatusCode.UNAVAILABLE


def a_day(day: date) -> Date:
    return Date(year=day.year, month=day.month, day=day.day)


def entry(institution_id: str, **changes: Any) -> pb.InstitutionEntry:
    values: dict[str, Any] = {
        "institution_id": institution_id,
        "name": "A helper",
        "name_zh": "帮扶责任人",
        "role": "assigned_helper",
        "county_code": "123456",
        "areas": ["123456"],
        "persons": [
            pb.Person(
                person_id=f"{institution_id}-p1", title="Helper", title_zh="帮扶人", duty="maker"
            )
        ],
    }
    return pb.InstitutionEntry(**(values | changes))


async def test_outside_its_contract_an_institution_cannot_call(desk: Desk, tmp_path: Path) -> None:
    own = desk.house.authority.institution("helper-1")
    stub = gateway_pb2_grpc.GatewayServiceStub(strict.connect(desk.house, own))

    async def why() -> str:
        try:
            await stub.WhoAmI(gateway_pb2.WhoAmIRequest())
        except grpc.aio.AioRpcError as error:
            return status.reason_of(error)
        return ""

    today = date.today()  # noqa: DTZ011 - a few days off do no harm
    past = {"valid_from": a_day(today - timedelta(90)), "valid_to": a_day(today - timedelta(9))}
    now = {"valid_from": a_day(today - timedelta(9)), "valid_to": a_day(today + timedelta(9))}
    coming = {"valid_from": a_day(today + timedelta(9))}
    assert await why() == "INSTITUTION_UNKNOWN"
    await desk.ask("EnterInstitutions", institutions=[entry("helper-1")])

    async def known() -> bool:
        found = await desk.ask("ListRegistrations", institution_id="helper-1")
        return bool(found.registrations)

    await eventually(known)
    await desk.register("helper-1", own)
    for contract, wanted in (
        (None, "CONTRACT_NOT_IN_FORCE"),
        (past, "CONTRACT_NOT_IN_FORCE"),
        (now, ""),
        (coming, "CONTRACT_NOT_IN_FORCE"),
        (now, ""),
    ):
        if contract:
            contracts = [pb.Contract(contract_id="c-1", **contract)]
            await desk.ask(
                "EnterInstitutions", institutions=[entry("helper-1", contracts=contracts)]
            )
        await eventually(why, lambda found, wanted=wanted: found == wanted)  # type: ignore[misc]


async def test_an_institution_that_no_file_could_hold_is_refused_by_field(desk: Desk) -> None:
    for changes, said in (
        ({"role": "emperor"}, "role"),
        ({"role": "bank"}, "checker"),
        (
            {
                "persons": [
                    pb.Person(
                        person_id="helper-2-p1",
                        title="Officer",
                        title_zh="监测员",
                        duty="maker",
                        post="monitoring_officer",
                    )
                ]
            },
            "needs a deputy",
        ),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await desk.ask("EnterInstitutions", institutions=[entry("helper-2", **changes)])
        assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert status.reason_of(refusal.value) == "INSTITUTION_RULE_BROKEN"
        assert said in (refusal.value.details() or "")


async def test_two_persons_suspend_an_institution_and_let_it_call_again(desk: Desk) -> None:
    own = desk.house.authority.institution("bank-2")
    await desk.register("bank-2", own)
    stub = of(desk.house, own)
    await becomes(stub, "", "123457")

    for active, wanted in ((False, "INSTITUTION_SUSPENDED"), (True, "")):
        order = await desk.ask(
            "ProposeStanding", institution_id="bank-2", active=active, reason=WHY
        )
        with pytest.raises(grpc.aio.AioRpcError) as alone:
            await desk.ask("DecideStanding", order_id=order.order_id, confirm=True)
        assert status.reason_of(alone.value) == "SAME_PERSON"
        answer = await desk.ask("DecideStanding", post=2, order_id=order.order_id, confirm=True)
        assert answer.active is active
        await becomes(stub, wanted, "123457")
        with pytest.raises(grpc.aio.AioRpcError) as twice:
            await desk.ask("DecideStanding", post=2, order_id=order.order_id, confirm=True)
        assert status.reason_of(twice.value) == "ORDER_NOT_FOUND"
    found = await desk.ask("ListRegistrations", institution_id="bank-2")
    assert found.registrations[0].standing_reason == WHY


async def test_a_person_is_named_by_a_signed_token_and_by_nothing_else(desk: Desk) -> None:
    house = desk.house
    named = await refused(
        loans(house).RepayLoan(a_repayment(), metadata=(("liandong-person", "bank-1-p1"),))
    )
    assert named.code() is grpc.StatusCode.UNAUTHENTICATED
    assert status.reason_of(named) == "PERSON_TOKEN_NEEDED"

    token = desk.as_person("bank-1", 2)
    for _ in range(2):
        await loans(house).RepayLoan(a_repayment(), metadata=token)
    assert house.seen.callers[-1].person_id == "bank-1-p2"
    # On another connection, with the same certificate, it is a replay.
    other = of(house, house.authority.institution("bank-1"))
    assert status.reason_of(await refused(other.RepayLoan(a_repayment(), metadata=token))) == (
        "PERSON_TOKEN_REPLAYED"
    )
    # Another institution's certificate with it.
    stranger = loans(house, "operator-1").RepayLoan(a_repayment(), metadata=token)
    assert status.reason_of(await refused(stranger)) == "PERSON_TOKEN_OF_ANOTHER_CERTIFICATE"
    # Another person beside it.
    both = (*token, ("liandong-person", "bank-1-p1"))
    assert status.reason_of(
        await refused(loans(house).RepayLoan(a_repayment(), metadata=both))
    ) == ("PERSON_TOKEN_INVALID")
    foreign = desk.signer("bank-1").token("bank-2-p1")
    error = await refused(
        loans(house).RepayLoan(a_repayment(), metadata=(("authorization", f"Bearer {foreign}"),))
    )
    assert status.reason_of(error) == "PERSON_NOT_YOURS"
    rows = await house.logged("bank-1", at_least=6)
    assert [row["person_id"] for row in rows if row["outcome"] == "OK"][-1] == "bank-1-p2"


async def test_a_client_signs_anew_when_its_connection_was_another(desk: Desk) -> None:
    own = desk.house.authority.institution("bank-1")
    signer = desk.signer("bank-1")
    for _ in range(2):
        client = Client(desk.house.settings.grpc_address, own, "bank-1", signer=signer)
        async with client:
            stub = loans_pb2_grpc.LoansServiceStub
            answer = await client.call(stub, "RepayLoan", a_repayment(), post=1)
            assert isinstance(answer, loans_pb2.RepayLoanResponse)
    assert client.retries == 1


async def test_a_checker_rotates_the_institutions_key_and_a_revoked_key_is_out_within_seconds(
    desk: Desk, tmp_path: Path
) -> None:
    house = desk.house
    fresh = strict.raw_key(strict.a_person_key(tmp_path / "key.pem"))
    stub: Any = pb_stub(house, "bank-1")

    def request() -> pb.RegisterPersonKeyRequest:
        return pb.RegisterPersonKeyRequest(
            request_id=str(uuid.uuid4()), institution_id="bank-1", public_key=fresh
        )

    maker = await refused(stub.RegisterPersonKey(request(), metadata=desk.as_person("bank-1", 1)))
    assert status.reason_of(maker) == "PERSON_TOKEN_NEEDED"
    checker = desk.as_person("bank-1", 2)
    made = await stub.RegisterPersonKey(request(), metadata=checker)
    theirs = pb.RegisterPersonKeyRequest(
        request_id=str(uuid.uuid4()), institution_id="bank-2", public_key=fresh
    )
    other = await refused(stub.RegisterPersonKey(theirs, metadata=checker))
    assert status.reason_of(other) == "INSTITUTION_NOT_FOUND"

    folder = Desk(house, tmp_path)
    (tmp_path / "key.pem").rename(tmp_path / "bank-1.pem")

    async def why() -> str:
        token = folder.as_person("bank-1")
        try:
            await loans(house).RepayLoan(a_repayment(), metadata=token)
        except grpc.aio.AioRpcError as error:
            return status.reason_of(error)
        return ""

    await eventually(why, lambda found: found == "")
    await stub.RevokePersonKey(
        pb.RevokePersonKeyRequest(
            request_id=str(uuid.uuid4()), institution_id="bank-1", key_id=made.key_id, reason=WHY
        )
    )
    await eventually(why, lambda found: found == "PERSON_TOKEN_INVALID")


def pb_stub(house: House, institution_id: str) -> Any:
    return institutions_pb2_grpc.InstitutionsServiceStub(house.as_institution(institution_id))


async def test_an_institution_sees_how_it_stands_and_why_it_was_refused(desk: Desk) -> None:
    house = desk.house
    stub = gateway_pb2_grpc.GatewayServiceStub(house.as_institution("bank-1"))
    await refused(raw(house, "bank-1", "/liandong.claims.v1.ClaimsService/AdjudicateClaim")(b""))

    answer = await stub.GetStatus(gateway_pb2.GetStatusRequest())

    assert answer.institution.institution_id == "bank-1"
    read = next(one for one in answer.limits if one.scope == "read")
    assert read.calls_today >= 1
    assert read.calls_today + read.calls_left == read.limit.calls_per_day
    assert "ROLE_NOT_ALLOWED" in {one.reason for one in answer.refusals}
    assert answer.certificate_fingerprint == fingerprint(house.authority.institution("bank-1"))
    assert answer.certificate_ends_at.ToDatetime() > answer.next_day_at.ToDatetime()
    assert answer.person_keys


async def test_a_limit_of_ones_own_bites_says_when_to_come_back_and_is_no_flood_of_the_log(
    desk: Desk,
) -> None:
    house = desk.house
    few = pb.Limit(calls_per_second=1, burst=1, calls_per_day=1_000, running_max=5)
    scope = "liandong.loans.v1.LoansService/GetLoan"
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await desk.ask("SetLimit", institution_id="bank-1", scope="sometimes", limit=few)
    assert status.reason_of(unknown.value) == "UNKNOWN_SCOPE"
    await desk.ask("SetLimit", institution_id="bank-1", scope=scope, limit=few)

    await eventually(lambda: reason(loans(house)), lambda found: found == "RATE_REACHED")
    before = await house.schema.ask("SELECT reason FROM access_log WHERE reason = 'RATE_REACHED'")
    errors = [await refused_or_none(loans(house)) for _ in range(40)]

    limited = [error for error in errors if error is not None]
    assert len(limited) >= 20
    assert {error.code() for error in limited} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    retry = error_details_pb2.RetryInfo()
    assert any(each.Unpack(retry) for each in details_of(limited[0]).details)
    assert 0 < retry.retry_delay.ToMilliseconds() <= 1_000
    await desk.ask("SetLimit", institution_id="bank-1", scope=scope)
    await becomes(loans(house), "")
    after = await house.schema.ask("SELECT reason FROM access_log WHERE reason = 'RATE_REACHED'")
    assert len(after) - len(before) < len(limited) / 2
    told = await gateway_pb2_grpc.GatewayServiceStub(house.as_institution("bank-1")).GetStatus(
        gateway_pb2.GetStatusRequest()
    )
    counted = {one.reason: one.calls for one in told.refusals}
    assert counted["RATE_REACHED"] >= len(limited)


async def refused_or_none(
    stub: "loans_pb2_grpc.LoansServiceAsyncStub",
) -> grpc.aio.AioRpcError | None:
    try:
        await stub.GetLoan(a_question())
    except grpc.aio.AioRpcError as error:
        return error
    return None


async def test_only_the_operator_keeps_the_registry(desk: Desk) -> None:
    stub = pb_stub(desk.house, "bank-1")
    error = await refused(stub.ListRegistrations(pb.ListRegistrationsRequest()))
    assert status.reason_of(error) == "ROLE_NOT_ALLOWED"
    operator = pb_stub(desk.house, "operator-1")
    nobody = pb.RevokeCertificateRequest(
        request_id=str(uuid.uuid4()),
        institution_id="bank-1",
        fingerprint="0" * 64,
        reason=WHY,
    )
    assert status.reason_of(await refused(operator.RevokeCertificate(nobody))) == "PERSON_NEEDED"
