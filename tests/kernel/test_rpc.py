"""The door of a service: only the gateway, only signed and well-formed calls, nothing leaks out."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
import structlog
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from liandong.common.v1.operator_pb2 import (
    DropParkedEventRequest,
    DropParkedEventResponse,
    RepublishEventsRequest,
    RepublishEventsResponse,
)
from liandong.households.v1 import households_pb2
from liandong.loans.v1.loans_pb2 import BatchRepayLoansRequest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from deploy.local.ca import LocalCA
from services.kernel import caller as callers
from services.kernel import errors, ids, rpc
from services.kernel.admission import PUSHBACK_KEY
from services.kernel.caller import METADATA_KEY, STREAM_HASH, Signer, body_hash
from services.kernel.errors import Invalid, LiandongError
from services.kernel.rpc import Context
from services.kernel.status import reason_of, retry_seconds_of
from tests.builders import a_caller
from tests.eventually import eventually
from tests.kernel.farm.door import ANSWER, COUNT, SERVICE, Door, Farm, channel_of, open_door

CODE = grpc.StatusCode


@pytest.fixture
def farm() -> Farm:
    return Farm()


@pytest_asyncio.fixture(loop_scope="session")
async def door(certificates: LocalCA, farm: Farm) -> AsyncIterator[Door]:
    async with open_door(certificates, farm.add_to_server) as opened:
        yield opened


def a_request(**changes: Any) -> DropParkedEventRequest:
    values = {
        "request_id": str(ids.new_id()),
        "event_id": str(ids.new_id()),
        "reason": "long enough",
    }
    return DropParkedEventRequest(**(values | changes))


async def ask(door: Door, request: Message | None = None, **how: Any) -> DropParkedEventResponse:
    answer = await door.call(ANSWER, request or a_request(), DropParkedEventResponse, **how)
    assert isinstance(answer, DropParkedEventResponse)
    return answer


async def refusal(door: Door, request: Message | None = None, **how: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await ask(door, request, **how)
    return raised.value


async def refused(
    door: Door, request: Message | None = None, **how: Any
) -> tuple[grpc.StatusCode, str]:
    error = await refusal(door, request, **how)
    return error.code(), reason_of(error)


# --- who may call -------------------------------------------------------------------------------


async def test_the_method_knows_who_asks(door: Door, farm: Farm) -> None:
    assert (await ask(door, areas=("411224100",), role="insurer")).dropped

    (who,) = farm.callers
    assert (who.institution_id, who.role, who.areas) == ("bank-1", "insurer", ("411224100",))


async def test_a_call_without_a_caller_is_refused(door: Door, farm: Farm) -> None:
    assert await refused(door, metadata=()) == (CODE.UNAUTHENTICATED, "CALLER_MISSING")
    assert farm.callers == []


async def test_a_forged_caller_is_refused(
    door: Door, farm: Farm, certificates: LocalCA, tmp_path: Path
) -> None:
    stranger = Signer(LocalCA(tmp_path / "other", "local").caller_keys().private)
    request = a_request()
    forged = stranger.sign(a_caller(ANSWER, request))

    found = await refused(door, request, metadata=((METADATA_KEY, forged),))

    assert found == (CODE.UNAUTHENTICATED, "CALLER_INVALID")
    assert farm.callers == []
    assert await ask(door, request, metadata=door.signed(a_caller(ANSWER, request)))


async def test_a_call_over_which_a_clock_jumped_may_be_asked_again(
    door: Door, farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(callers, "LIFETIME_SECONDS", -3_600)
        old = door.signed(a_caller(ANSWER, request := a_request()))

    assert await refused(door, request, metadata=old) == (
        CODE.UNAVAILABLE,
        "CALLER_OF_ANOTHER_TIME",
    )
    assert farm.callers == []
    assert await ask(door, request, metadata=door.signed(a_caller(ANSWER, request)))


async def test_a_signed_caller_serves_no_other_call(door: Door, farm: Farm) -> None:
    first, second = a_request(), a_request()

    for_another_body = door.signed(a_caller(ANSWER, first))
    assert await refused(door, second, metadata=for_another_body) == (
        CODE.UNAUTHENTICATED,
        "CALLER_OF_ANOTHER_CALL",
    )
    for_another_method = door.signed(a_caller(COUNT, first))
    assert await refused(door, first, metadata=for_another_method) == (
        CODE.UNAUTHENTICATED,
        "CALLER_OF_ANOTHER_CALL",
    )
    assert farm.callers == []


@pytest.mark.parametrize("noun", ["loans", "operator", "gateway2", "gateway/x"])
async def test_another_service_may_not_call_however_well_signed(
    door: Door, certificates: LocalCA, noun: str
) -> None:
    async with channel_of(door.server.port, certificates.service(noun)) as channel:
        found = await refused(replace(door, channel=channel))

    assert found == (CODE.UNAUTHENTICATED, "PEER_NOT_THE_GATEWAY")


async def test_an_institution_may_not_call_a_service_itself(
    door: Door, certificates: LocalCA
) -> None:
    async with channel_of(door.server.port, certificates.institution("gateway")) as channel:
        found = await refused(replace(door, channel=channel))

    assert found == (CODE.UNAUTHENTICATED, "PEER_NOT_THE_GATEWAY")


async def test_nobody_gets_in_without_a_certificate_of_ours(
    door: Door, certificates: LocalCA, tmp_path: Path
) -> None:
    ours = certificates.ca_path.read_bytes()
    stranger = LocalCA(tmp_path / "other", "local").service("gateway")
    for channel in (
        channel_of(door.server.port, None, ours),
        channel_of(door.server.port, stranger, ours),
    ):
        async with channel:
            found = await refusal(replace(door, channel=channel))
        assert found.code() is CODE.UNAVAILABLE


async def test_probes_and_reflection_need_no_caller(door: Door) -> None:
    probe: Any = health_pb2_grpc.HealthStub(door.channel)
    mirror: Any = reflection_pb2_grpc
    answer = await probe.Check(health_pb2.HealthCheckRequest(), timeout=5)
    asked = [reflection_pb2.ServerReflectionRequest(list_services="")]
    reflected = mirror.ServerReflectionStub(door.channel).ServerReflectionInfo(asked)
    names = {s.name async for r in reflected for s in r.list_services_response.service}

    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert SERVICE in names


# --- what may be asked --------------------------------------------------------------------------


async def test_the_library_waits_for_a_call_and_not_for_one_of_each_method(door: Door) -> None:
    waits = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]

    assert "AioServer._request_call" in waits
    assert "AioServer._request_registered_call" not in waits


async def test_what_is_no_message_is_refused(door: Door, farm: Farm) -> None:
    body = b"\xff\xff\xff"
    signed = door.signer.sign(a_caller(ANSWER, body_hash=body_hash(body)))
    call: Any = door.channel.unary_unary(ANSWER)

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call(body, metadata=((METADATA_KEY, signed),))

    assert raised.value.code() is CODE.INVALID_ARGUMENT
    assert reason_of(raised.value) == "MALFORMED_MESSAGE"
    assert farm.callers == []


async def test_every_broken_rule_is_named_by_its_field(door: Door, farm: Farm) -> None:
    error = await refusal(door, a_request(reason="no", event_id="x"))

    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None
    assert (error.code(), reason_of(error)) == (CODE.INVALID_ARGUMENT, "FIELD_RULE_BROKEN")
    bad = error_details_pb2.BadRequest()
    assert any(detail.Unpack(bad) for detail in status.details)
    assert [violation.field for violation in bad.field_violations] == ["event_id", "reason"]
    assert farm.callers == []


def test_a_broken_rule_within_a_list_is_named_by_its_place() -> None:
    lines = [households_pb2.Member(name="名" * n) for n in (1, 61, 60, 99)]

    with pytest.raises(Invalid) as raised:
        rpc.check(households_pb2.RegisterHouseholdRequest(members=lines))

    fields = {violation.field for violation in raised.value.violations}
    assert {field for field in fields if "members" in field} == {
        "members[1].name",
        "members[3].name",
    }
    assert "request_id" in fields


async def test_a_call_with_hundreds_of_broken_rules_still_gets_its_answer(
    door: Door, farm: Farm
) -> None:
    lines = [households_pb2.Member(name="名" * 200) for _ in range(500)]

    async def work(_: DropParkedEventRequest, __: Context) -> DropParkedEventResponse:
        rpc.check(households_pb2.RegisterHouseholdRequest(members=lines))
        return DropParkedEventResponse()

    farm.work = work

    assert await refused(door) == (CODE.INVALID_ARGUMENT, "FIELD_RULE_BROKEN")


async def test_a_message_that_is_too_large_is_refused(door: Door, farm: Farm) -> None:
    error = await refusal(door, a_request(reason="x" * (rpc.MESSAGE_BYTES_MAX + 1)))

    assert error.code() is CODE.RESOURCE_EXHAUSTED
    assert farm.callers == []
    assert await ask(door), "the connection lives on"


# --- what gets out ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.Invalid("SOME_REASON", "no"), CODE.INVALID_ARGUMENT),
        (errors.NotFound("SOME_REASON", "no"), CODE.NOT_FOUND),
        (errors.Refused("SOME_REASON", "no", message_zh="不可"), CODE.FAILED_PRECONDITION),
        (errors.Conflict("SOME_REASON", "no"), CODE.ALREADY_EXISTS),
        (errors.Denied("SOME_REASON", "no"), CODE.PERMISSION_DENIED),
        (errors.Exhausted("SOME_REASON", "no"), CODE.RESOURCE_EXHAUSTED),
        (errors.Unavailable("SOME_REASON", "no"), CODE.UNAVAILABLE),
        (errors.Refused("SOME_REASON", "大" * 100_000), CODE.FAILED_PRECONDITION),
    ],
)
async def test_an_expected_refusal_arrives_with_its_reason(
    door: Door, farm: Farm, error: LiandongError, code: grpc.StatusCode
) -> None:
    async def work(_: DropParkedEventRequest, __: Context) -> DropParkedEventResponse:
        raise error

    farm.work = work

    assert await refused(door) == (code, "SOME_REASON")


async def test_an_unexpected_fault_leaves_as_an_opaque_id_that_is_in_the_log(
    door: Door, farm: Farm
) -> None:
    async def work(_: DropParkedEventRequest, __: Context) -> DropParkedEventResponse:
        raise KeyError("the identity number 411224195709010022 of 王芳")

    farm.work = work
    with structlog.testing.capture_logs() as logged:
        error = await refusal(door)

    found = re.fullmatch(r"internal error ([0-9a-f]{32})", error.details() or "")
    assert error.code() is CODE.INTERNAL
    assert found is not None
    assert rpc_status.from_call(error) is None  # type: ignore[arg-type]
    assert "王芳" not in repr(error)
    assert [line["error_id"] for line in logged if line["event"] == "rpc_fails"] == [found[1]]


async def test_too_many_calls_at_a_time_are_refused_and_the_others_end(
    certificates: LocalCA, farm: Farm
) -> None:
    at_work, may_end = asyncio.Semaphore(0), asyncio.Event()

    async def work(_: DropParkedEventRequest, __: Context) -> DropParkedEventResponse:
        at_work.release()
        await may_end.wait()
        return DropParkedEventResponse(dropped=True)

    farm.work = work
    options = {"concurrent_rpcs_max": 2}
    async with open_door(certificates, farm.add_to_server, options=options) as door:
        first = [asyncio.create_task(ask(door)) for _ in range(2)]
        for _ in first:
            await asyncio.wait_for(at_work.acquire(), 10)
        waits = [await turned_away(door) for _ in range(3)]
        assert len(set(waits)) == 3, "they would all come back at once"
        probe: Any = health_pb2_grpc.HealthStub(door.channel)
        assert await probe.Check(health_pb2.HealthCheckRequest(), timeout=5), "probes come in"
        may_end.set()
        assert all(answer.dropped for answer in await asyncio.gather(*first))
        assert (await ask(door)).dropped, "there is room again"


async def turned_away(door: Door, **how: Any) -> float:
    """In how many seconds the door lets a call that is too much come back."""
    error = await refusal(door, **how)
    assert (error.code(), reason_of(error)) == (CODE.RESOURCE_EXHAUSTED, "DOOR_FULL")
    seconds = retry_seconds_of(error)
    assert seconds > 0
    pushback = dict(error.trailing_metadata() or ())[PUSHBACK_KEY]
    assert float(pushback) == 1_000 * seconds
    return seconds


async def test_a_call_whose_client_would_be_gone_is_turned_away_while_others_wait(
    certificates: LocalCA, farm: Farm
) -> None:
    slow = asyncio.Event()

    async def work(_: DropParkedEventRequest, __: Context) -> DropParkedEventResponse:
        await asyncio.wait_for(slow.wait(), 20)
        return DropParkedEventResponse(dropped=True)

    farm.work = work
    # One is few of sixteen: a call in a hurry is served too while there is no more.
    options = {"concurrent_rpcs_max": 16}
    async with open_door(certificates, farm.add_to_server, options=options) as door:
        began = time.monotonic()
        first = asyncio.create_task(ask(door))
        await eventually(lambda: of(door.server.admission.running == 1))
        # Such calls take so long: what is in more of a hurry than that has no use of an answer.
        await eventually(lambda: of(time.monotonic() - began > 1))
        slow.set()
        await first
        slow.clear()
        second = asyncio.create_task(ask(door))
        await eventually(lambda: of(door.server.admission.running == 1))
        assert await turned_away(door, timeout=0.9) > 0
        slow.set()
        assert (await second).dropped
        assert (await ask(door, timeout=0.9)).dropped, "nobody waits any more"


async def of(value: bool) -> bool:
    return value


async def test_a_server_that_stops_lets_running_calls_end(certificates: LocalCA) -> None:
    farm, at_work, may_end = Farm(), asyncio.Event(), asyncio.Event()

    async def work(_: DropParkedEventRequest, __: Context) -> DropParkedEventResponse:
        at_work.set()
        await may_end.wait()
        return DropParkedEventResponse(dropped=True)

    farm.work = work
    async with open_door(certificates, farm.add_to_server) as door:
        running = asyncio.create_task(ask(door))
        await asyncio.wait_for(at_work.wait(), 10)
        door.running.cancel()
        probe: Any = health_pb2_grpc.HealthStub(door.channel)

        async def refuses() -> bool:
            try:
                await probe.Check(health_pb2.HealthCheckRequest(), timeout=5)
            except grpc.aio.AioRpcError:
                return True
            return False

        await eventually(refuses)
        assert not running.done()
        may_end.set()
        assert (await asyncio.wait_for(running, 10)).dropped
        await asyncio.wait({door.running}, timeout=10)
        assert door.running.done()


# --- streams ------------------------------------------------------------------------------------


def lines(*numbers: int) -> list[RepublishEventsRequest]:
    return [
        RepublishEventsRequest(request_id=str(ids.new_id()), from_position=1, to_position=n)
        for n in numbers
    ]


async def stream(
    door: Door, requests: list[RepublishEventsRequest], *, signed_for: str = STREAM_HASH
) -> tuple[list[int], grpc.StatusCode, str, str]:
    """The answers until the stream ended, and how it ended."""
    call: Any = door.channel.stream_stream(
        COUNT,
        request_serializer=RepublishEventsRequest.SerializeToString,
        response_deserializer=RepublishEventsResponse.FromString,
    )
    metadata = door.signed(a_caller(COUNT, body_hash=signed_for)) if signed_for else ()
    running = call(iter(requests), metadata=metadata, timeout=20)
    answers: list[int] = []
    try:
        while (answer := await running.read()) is not grpc.aio.EOF:
            answers.append(answer.events)
    except grpc.aio.AioRpcError as error:
        return answers, error.code(), reason_of(error), error.details() or ""
    return answers, await running.code(), "", ""


async def test_a_second_server_on_an_address_is_refused(
    certificates: LocalCA, door: Door, farm: Farm
) -> None:
    """Sharing it, as the library does by itself, would send every other caller astray."""
    address = f"127.0.0.1:{door.server.port}"
    with pytest.raises(SystemExit, match=f"cannot listen on {address}"):
        async with open_door(certificates, farm.add_to_server, address=address):
            pass


async def test_a_stream_is_answered_message_by_message(door: Door, farm: Farm) -> None:
    assert await stream(door, lines(3, 1, 2)) == ([3, 1, 2], CODE.OK, "", "")
    assert await stream(door, []) == ([], CODE.OK, "", "")
    assert [who.institution_id for who in farm.callers] == ["bank-1", "bank-1"]


async def test_a_stream_needs_a_caller_signed_for_a_stream(door: Door, farm: Farm) -> None:
    none = await stream(door, lines(1), signed_for="")
    unary = await stream(door, lines(1), signed_for=body_hash(b""))

    assert none[:3] == ([], CODE.UNAUTHENTICATED, "CALLER_MISSING")
    assert unary[:3] == ([], CODE.UNAUTHENTICATED, "CALLER_OF_ANOTHER_CALL")
    assert farm.callers == []


async def test_a_stream_ends_at_the_first_message_that_is_wrong_or_refused(door: Door) -> None:
    wrong = [*lines(1), RepublishEventsRequest(), *lines(2)]

    assert (await stream(door, wrong))[:3] == ([1], CODE.INVALID_ARGUMENT, "FIELD_RULE_BROKEN")
    assert (await stream(door, lines(1, 13, 2)))[:3] == (
        [1],
        CODE.FAILED_PRECONDITION,
        "NO_THIRTEEN",
    )
    answers, code, _, details = await stream(door, lines(1, 99, 2))
    assert (answers, code) == ([1], CODE.INTERNAL)
    assert re.fullmatch(r"internal error [0-9a-f]{32}", details)


# --- traces -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "code", "fails"),
    [
        (None, 0, False),
        (errors.Refused("SOME_REASON", "no"), 9, False),
        (KeyError("王芳"), 13, True),
    ],
)
async def test_a_call_is_a_span_of_the_callers_trace_that_tells_how_it_ended(
    certificates: LocalCA,
    farm: Farm,
    spans: InMemorySpanExporter,
    *,
    fault: Exception | None,
    code: int,
    fails: bool,
) -> None:
    async def work(_: DropParkedEventRequest, __: Context) -> DropParkedEventResponse:
        if fault is not None:
            raise fault
        return DropParkedEventResponse(dropped=True)

    farm.work = work
    trace = "0af7651916cd43dd8448eb211c80319c"
    request = a_request()
    async with open_door(certificates, farm.add_to_server) as door:
        signed = door.signed(a_caller(ANSWER, request))
        parent: Any = (("traceparent", f"00-{trace}-b7ad6b7169203331-01"),)
        with suppress(grpc.aio.AioRpcError):
            await ask(door, request, metadata=(*signed, *parent))

    (span,) = [s for s in spans.get_finished_spans() if s.kind is SpanKind.SERVER]
    assert span.context is not None
    assert f"{span.context.trace_id:032x}" == trace
    attributes = dict(span.attributes or {})
    assert attributes["rpc.grpc.status_code"] == code
    # As the conventions have it: what was expected is no fault of the server.
    assert (span.status.status_code is StatusCode.ERROR) is fails
    assert "王芳" not in f"{attributes}{span.events}{span.status.description}"


def test_a_list_of_very_many_wrong_items_is_refused_by_its_beginning_and_at_once() -> None:
    many = BatchRepayLoansRequest.FromString(b"\x1a\x00" * 100_000)
    before = time.process_time()

    with pytest.raises(Invalid) as refusal:
        rpc.check(many)

    # One by one they took minutes.
    assert time.process_time() - before < 2
    assert len(refusal.value.violations) <= rpc.VIOLATIONS_MAX + 1
    assert refusal.value.violations[0].field == "items"
    assert {"request_id", "items[0].loan_id"} <= {v.field for v in refusal.value.violations}
    assert len(many.items) == 100_000


# --- connections --------------------------------------------------------------------------------


async def test_a_connection_gets_old_and_no_call_breaks_on_it(
    certificates: LocalCA, farm: Farm
) -> None:
    """So calls come to replicas that are new; what runs on the old one runs to its end."""
    peers: set[str] = set()
    began, may_end = asyncio.Event(), asyncio.Event()

    async def answering(_: Message, context: Context) -> DropParkedEventResponse:
        peers.add(context.peer())
        return DropParkedEventResponse(dropped=True)

    async def counting(
        requests: AsyncIterator[RepublishEventsRequest], context: Context
    ) -> AsyncIterator[RepublishEventsResponse]:
        async for request in requests:
            began.set()
            await may_end.wait()
            yield RepublishEventsResponse(events=request.to_position)

    farm.work, farm.counting = answering, counting
    young = {"grpc.max_connection_age_ms": 200}
    async with open_door(certificates, farm.add_to_server, options=young) as door:
        request = RepublishEventsRequest(
            request_id=str(ids.new_id()), from_position=1, to_position=7
        )
        long = asyncio.create_task(stream(door, [request]))
        await asyncio.wait_for(began.wait(), 20)

        async def asked() -> int:
            await ask(door)
            return len(peers)

        # Every call of this loop is answered, also those that meet the end of a connection.
        await eventually(asked, lambda count: count >= 4, seconds_max=30)
        may_end.set()
        answers, code, _, _ = await long
    assert (answers, code) == ([7], CODE.OK)
