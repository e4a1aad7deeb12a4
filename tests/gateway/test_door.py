"""The door on real servers: who gets in, what is passed on unchanged, what is refused and how."""

import asyncio
import uuid
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from google.type.date_pb2 import Date
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from liandong.common.v1 import operator_pb2, operator_pb2_grpc
from liandong.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from liandong.households.v1 import households_pb2, households_pb2_grpc
from liandong.loans.v1 import loans_pb2, loans_pb2_grpc

from deploy.local.ca import Credentials, LocalCA
from gateway import access, operations
from gateway.forward import DETAILS_KEY
from gateway.routes import NAMED_BY_CALLER, OWN, ROUTES, SERVICE_NAMES, Route
from services.kernel import status
from services.kernel.caller import STREAM_HASH, body_hash
from tests.eventually import eventually
from tests.gateway.conftest import House, channel
from tests.gateway.fakes import an_operators_target

pytestmark = [pytest.mark.postgres, pytest.mark.nats]

LOAN_ID = str(uuid.uuid4())
ROLES = {"bank-1": "bank", "insurer-1": "insurer", "operator-1": "operator"}


def a_repayment(amount_fen: int = 100_00) -> loans_pb2.RepayLoanRequest:
    return loans_pb2.RepayLoanRequest(
        request_id=str(uuid.uuid4()),
        county_code="123456",
        loan_id=LOAN_ID,
        amount_fen=amount_fen,
        value_date=Date(year=2019, month=5, day=6),
    )


def a_question(county_code: str = "123456") -> loans_pb2.GetLoanRequest:
    return loans_pb2.GetLoanRequest(county_code=county_code, loan_id=LOAN_ID)


def loans(house: House, institution_id: str = "bank-1") -> "loans_pb2_grpc.LoansServiceAsyncStub":
    return loans_pb2_grpc.LoansServiceStub(house.as_institution(institution_id))


def details_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    raw = dict(error.trailing_metadata() or ())[DETAILS_KEY]
    assert isinstance(raw, bytes)
    return status_pb2.Status.FromString(raw)


def raw(house: House, institution_id: str, path: str) -> Any:
    """A method as bytes, as a client without our stubs would call it."""
    return house.as_institution(institution_id).unary_unary(path)


async def refused(call: Awaitable[object]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call
    return refusal.value


async def refused_or_cancelled(call: Awaitable[object]) -> None:
    with suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
        await call


async def of(value: bool) -> bool:
    return value


async def test_a_call_goes_through_with_a_caller_signed_for_it(house: House) -> None:
    request = a_repayment()
    answer = await loans(house).RepayLoan(
        request,
        metadata=(
            ("liandong-person", "bank-1-p1"),
            ("liandong-purpose", "repayment"),
            ("liandong-caller-bin", b"forged"),
            ("x-other", "stays outside"),
        ),
    )

    assert answer.loan.loan_id == LOAN_ID
    caller = house.seen.callers[-1]
    assert (caller.institution_id, caller.role, caller.person_id) == ("bank-1", "bank", "bank-1-p1")
    assert (caller.county_code, caller.areas) == ("123456", ("123456",))
    assert caller.purpose == "repayment"
    assert caller.method == "/liandong.loans.v1.LoansService/RepayLoan"
    assert caller.body_hash == body_hash(request.SerializeToString())
    assert not {"x-other", "liandong-person"} & set(house.seen.metadata[-1])


async def test_every_cell_of_the_table_that_says_no_is_refused(house: House) -> None:
    wrong = []
    for institution_id, role in ROLES.items():
        for route in ROUTES:
            if access.may_call(role, route.method) or route.streams:
                continue
            error = await refused(raw(house, institution_id, route.path)(b""))
            if status.reason_of(error) != "ROLE_NOT_ALLOWED":
                wrong.append((role, route.method, error.code()))

    assert wrong == []


@pytest.mark.parametrize("who", ["stranger-1", "bank-9"])
async def test_a_certificate_of_nobody_known_is_refused(house: House, who: str) -> None:
    error = await refused(loans(house, who).GetLoan(a_question()))

    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert status.reason_of(error) == "INSTITUTION_UNKNOWN"


async def test_a_services_certificate_is_no_institutions(house: House) -> None:
    stub = loans_pb2_grpc.LoansServiceStub(house.as_peer(house.authority.service("loans")))

    error = await refused(stub.GetLoan(a_question()))

    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert status.reason_of(error) == "CERTIFICATE_UNKNOWN"


async def test_another_authoritys_certificate_and_none_do_not_even_connect(
    house: House, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = LocalCA(tmp_path_factory.mktemp("ca"), "local").institution("bank-1")
    mixed = Credentials(
        spiffe_id="", cert=stranger.cert, key=stranger.key, ca=house.authority.ca_path
    )
    bare = grpc.aio.secure_channel(
        house.settings.grpc_address,
        grpc.ssl_channel_credentials(house.authority.ca_path.read_bytes()),
    )
    for made in (channel(house.settings.grpc_address, mixed), bare):
        error = await refused(loans_pb2_grpc.LoansServiceStub(made).GetLoan(a_question()))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        await made.close()


async def test_a_person_of_another_institution_is_refused(house: House) -> None:
    error = await refused(
        loans(house).RepayLoan(a_repayment(), metadata=(("liandong-person", "bank-2-p1"),))
    )

    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert status.reason_of(error) == "PERSON_NOT_YOURS"


async def test_a_malformed_purpose_is_named(house: House) -> None:
    error = await refused(
        loans(house).GetLoan(a_question(), metadata=(("liandong-purpose", "'; DROP TABLE"),))
    )

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert status.reason_of(error) == "UNKNOWN_PURPOSE"


async def test_rich_details_pass_unchanged(house: House) -> None:
    error = await refused(loans(house).RepayLoan(a_repayment(500_01)))

    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    rich = details_of(error)
    info = error_details_pb2.ErrorInfo()
    kinds = [detail.TypeName().rsplit(".", 1)[-1] for detail in rich.details]
    assert kinds == ["ErrorInfo", "PreconditionFailure", "LocalizedMessage"]
    assert rich.details[0].Unpack(info)
    assert (info.reason, info.metadata["owed_fen"]) == ("REPAYMENT_ABOVE_BALANCE", "50000")


async def test_field_violations_of_a_service_pass(house: House) -> None:
    error = await refused(loans(house).GetLoan(loans_pb2.GetLoanRequest(county_code="x")))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    broken = error_details_pb2.BadRequest()
    assert any(detail.Unpack(broken) for detail in details_of(error).details)
    assert {v.field for v in broken.field_violations} == {"county_code", "loan_id"}


async def test_a_bug_in_a_service_says_nothing_but_an_opaque_id(house: House) -> None:
    error = await refused(loans(house).RepayLoan(a_repayment(666)))

    assert error.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in (error.details() or "")
    assert (error.details() or "").startswith("internal error ")


async def test_a_body_that_is_no_message_is_refused_by_the_service_by_its_reason(
    house: House,
) -> None:
    call = raw(house, "bank-1", "/liandong.loans.v1.LoansService/GetLoan")

    error = await refused(call(b"\xff\xff\xff"))

    assert status.reason_of(error) == "MALFORMED_MESSAGE"


async def test_a_body_above_the_bound_is_refused(house: House) -> None:
    call = raw(house, "bank-1", "/liandong.loans.v1.LoansService/GetLoan")

    error = await refused(call(bytes(house.settings.body_bytes_max + 1)))

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert status.reason_of(error) == "BODY_TOO_LARGE"


async def test_a_method_that_is_not_there_is_unimplemented(house: House) -> None:
    call = raw(house, "bank-1", "/liandong.loans.v1.LoansService/Forgive")

    assert (await refused(call(b""))).code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_service_that_is_away_is_named_and_nothing_hangs(house: House) -> None:
    call = raw(house, "bank-1", "/liandong.funds.v1.FundsService/FileCompensationCase")

    error = await refused(call(b"", timeout=20))

    assert error.code() is grpc.StatusCode.UNAVAILABLE
    info = error_details_pb2.ErrorInfo()
    assert details_of(error).details[0].Unpack(info)
    assert (info.reason, info.metadata["service"]) == ("SERVICE_UNAVAILABLE", "funds")


async def test_a_service_that_comes_back_is_found_again(house: House) -> None:
    stub = operator_pb2_grpc.OperatorServiceStub(house.as_institution("operator-1"))

    async def answered() -> str:
        try:
            answer = await stub.GetTotals(
                operator_pb2.GetTotalsRequest(county_code="123456"),
                metadata=(("liandong-service", "credit"),),
            )
        except grpc.aio.AioRpcError as error:
            return status.reason_of(error)
        return answer.totals[0].name

    assert await answered() == "SERVICE_UNAVAILABLE"
    address = house.settings.credit_address
    async with an_operators_target(house.authority, house.seen, "credit", address=address):
        assert await eventually(answered, lambda name: name == "credit")
    assert await eventually(answered, lambda name: name != "credit") == "SERVICE_UNAVAILABLE"


async def test_a_client_that_gives_up_is_recorded_and_the_service_is_told(house: House) -> None:
    house.seen.cancelled.clear()
    asked = len(house.seen.callers)
    call = loans(house).GetPayoffQuote(
        loans_pb2.GetPayoffQuoteRequest(
            county_code="123456", loan_id=LOAN_ID, value_date=Date(year=2019, month=5, day=6)
        )
    )
    waiting = asyncio.ensure_future(refused_or_cancelled(call))
    await eventually(lambda: of(len(house.seen.callers) > asked))

    call.cancel()

    await asyncio.wait_for(house.seen.cancelled.wait(), 10)
    await waiting
    await eventually(
        lambda: house.logged("bank-1"), lambda rows: rows[-1]["outcome"] == "CANCELLED"
    )


async def test_the_clients_deadline_goes_on_capped_and_one_is_given_where_there_is_none(
    house: House,
) -> None:
    await loans(house).GetLoan(a_question(), timeout=7)
    await loans(house).GetLoan(a_question(), timeout=1_000)
    await loans(house).GetLoan(a_question())

    short, capped, given = house.seen.seconds_left[-3:]
    assert 5 < short < 8
    assert 30 < capped < 41
    assert 15 < given < 21


async def test_when_the_deadline_passes_the_service_is_told_to_stop(house: House) -> None:
    house.seen.cancelled.clear()
    stub = loans(house)

    error = await refused(
        stub.GetPayoffQuote(
            loans_pb2.GetPayoffQuoteRequest(
                county_code="123456", loan_id=LOAN_ID, value_date=Date(year=2019, month=5, day=6)
            ),
            timeout=0.5,
        )
    )

    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(house.seen.cancelled.wait(), 10)


def a_chunk(lines: int, *, stop: bool = False) -> households_pb2.ImportHouseholdsRequest:
    return households_pb2.ImportHouseholdsRequest(
        request_id=str(uuid.uuid4()),
        county_code="123456",
        lines=[households_pb2.HouseholdLine(line_number=n + 1) for n in range(lines)],
        dry_run=stop,
    )


async def test_a_stream_goes_both_ways_message_by_message(house: House) -> None:
    stub = households_pb2_grpc.HouseholdsServiceStub(house.as_institution("centre-1"))
    call = stub.ImportHouseholds()

    people = []
    for lines in (3, 1, 2):
        await call.write(a_chunk(lines))
        answer = await call.read()
        assert isinstance(answer, households_pb2.ImportHouseholdsResponse)
        people.append(answer.people)
    await call.done_writing()

    assert people == [3, 1, 2]
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK
    assert house.seen.callers[-1].body_hash == STREAM_HASH


async def test_a_stream_that_the_service_ends_ends_with_its_reason(house: House) -> None:
    stub = households_pb2_grpc.HouseholdsServiceStub(house.as_institution("centre-1"))
    call = stub.ImportHouseholds(iter([a_chunk(2), a_chunk(1, stop=True)]))

    first = await call.read()
    assert isinstance(first, households_pb2.ImportHouseholdsResponse)
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call.read()

    assert first.people == 2
    assert status.reason_of(refusal.value) == "STOPPED"


async def test_a_stream_is_refused_like_any_call(house: House) -> None:
    stub = households_pb2_grpc.HouseholdsServiceStub(house.as_institution("bank-1"))

    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await stub.ImportHouseholds(iter([a_chunk(1)])).read()

    assert status.reason_of(refusal.value) == "ROLE_NOT_ALLOWED"


async def test_the_operator_names_the_service_that_is_meant(house: House) -> None:
    stub = operator_pb2_grpc.OperatorServiceStub(house.as_institution("operator-1"))
    request = operator_pb2.GetTotalsRequest(county_code="123456")

    for noun in ("loans", "households"):
        answer = await stub.GetTotals(request, metadata=(("liandong-service", noun),))
        assert [total.name for total in answer.totals] == [noun]
    gateways = (("liandong-service", "gateway"),)
    answer = await stub.GetTotals(request, metadata=gateways)
    assert [total.name for total in answer.totals][:1] == ["feed_events_count"]
    for metadata in ((), (("liandong-service", "treasure"),)):
        error = await refused(stub.GetTotals(request, metadata=metadata))
        assert status.reason_of(error) == "SERVICE_NOT_NAMED"
    no_days = operator_pb2.AdvanceDayRequest(
        request_id=str(uuid.uuid4()),
        county_code="123456",
        business_date=Date(year=2019, month=1, day=1),
    )
    error = await refused(stub.AdvanceDay(no_days, metadata=gateways))
    assert status.reason_of(error) == "SERVICE_NOT_NAMED"


async def test_the_gateway_says_who_one_is_and_who_else_there_is(house: House) -> None:
    stub = gateway_pb2_grpc.GatewayServiceStub(house.as_institution("bank-1"))

    me = await stub.WhoAmI(
        gateway_pb2.WhoAmIRequest(), metadata=(("liandong-person", "bank-1-p2"),)
    )
    first = await stub.ListInstitutions(
        gateway_pb2.ListInstitutionsRequest(county_code="123456", page_size=2)
    )
    second = await stub.ListInstitutions(
        gateway_pb2.ListInstitutionsRequest(
            county_code="123456", page_size=2, page_token=first.next_page_token
        )
    )

    assert (me.institution.institution_id, me.person_id) == ("bank-1", "bank-1-p2")
    ids = [i.institution_id for i in (*first.institutions, *second.institutions)]
    assert ids == ["bank-1", "centre-1", "insurer-1"]
    assert second.next_page_token == ""
    error = await refused(
        stub.ListInstitutions(gateway_pb2.ListInstitutionsRequest(county_code="123457"))
    )
    assert status.reason_of(error) == "AREA_NOT_YOURS"
    error = await refused(stub.ListInstitutions(gateway_pb2.ListInstitutionsRequest()))
    assert status.reason_of(error) == "FIELD_RULE_BROKEN"


async def test_a_suspended_institution_is_out_within_seconds_and_its_change_is_said(
    house: House,
) -> None:
    await loans(house, "bank-2").GetLoan(a_question("123457"))
    async with house.db.transaction() as session:
        assert await operations.set_active(session, "bank-2", active=False)

    async def reason() -> str:
        try:
            await loans(house, "bank-2").GetLoan(a_question("123457"))
        except grpc.aio.AioRpcError as error:
            return status.reason_of(error)
        return ""

    assert await eventually(reason) == "INSTITUTION_SUSPENDED"
    said = "SELECT * FROM outbox WHERE aggregate_id = 'bank-2' AND stream_sequence IS NOT NULL"
    rows = await eventually(lambda: house.schema.ask(said), lambda rows: len(rows) >= 2)
    assert [row["sequence"] for row in rows][:2] == [1, 2]
    assert {row["event_type"] for row in rows} == {"liandong.gateway.v1.institution_changed"}
    async with house.db.transaction() as session:
        assert await operations.set_active(session, "bank-2", active=True)


async def test_health_and_all_descriptors_are_at_the_gateways_address(house: House) -> None:
    connection = house.as_institution("bank-1")
    # The stubs of these two carry no types.
    probe: Any = health_pb2_grpc.HealthStub
    mirror: Any = reflection_pb2_grpc.ServerReflectionStub
    health = await probe(connection).Check(health_pb2.HealthCheckRequest())
    asked = [reflection_pb2.ServerReflectionRequest(list_services="")]
    named = set()
    async for answer in mirror(connection).ServerReflectionInfo(iter(asked)):
        named |= {service.name for service in answer.list_services_response.service}

    assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert named >= set(SERVICE_NAMES)


def test_routes_cover_all_services_and_know_reads_from_commands() -> None:
    def route(name: str) -> Route:
        return next(found for found in ROUTES if found.method.endswith(name))

    assert {found.noun for found in ROUTES} == {
        NAMED_BY_CALLER,
        OWN,
        "households",
        "credit",
        "loans",
        "claims",
        "funds",
    }
    assert route("/RepayLoan").command
    assert not route("/GetLoan").command
    assert route("/ImportHouseholds").streams
