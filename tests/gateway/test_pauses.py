"""Pauses through a gateway: two persons, heeded within seconds, nothing lost, all recorded."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp
from liandong.common.v1 import operator_pb2 as pb
from liandong.common.v1 import operator_pb2_grpc
from liandong.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from deploy.local.ca import LocalCA
from services.kernel.status import reason_of
from tests.eventually import eventually
from tests.gateway.conftest import a_house
from tests.gateway.feeding import (
    COUNTY,
    INSTITUTIONS,
    County,
    following,
    next_event,
    repaid,
    request_id,
    subjects,
)
from tests.servers import Schemas, as_server, nats_from_wheel, small_topology

pytestmark = [pytest.mark.postgres, pytest.mark.nats]

CODE = grpc.StatusCode
FIRST, SECOND = "operator-1-p1", "operator-1-p2"
NO_INSTITUTIONS = gateway_pb2.ListInstitutionsRequest(county_code=COUNTY)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def county(schemas: Schemas, certificates: LocalCA) -> AsyncIterator[County]:
    streams = small_topology()
    async with nats_from_wheel(certificates, streams) as wheel:
        server = as_server(wheel, certificates, streams)
        async with a_house(schemas, server, certificates, institutions_path=INSTITUTIONS) as house:
            made = County(house, server, {})
            yield made
            await made.close()


async def ask(county: County, method: str, request: Any, person_id: str = FIRST) -> Any:
    stub = operator_pb2_grpc.OperatorServiceStub(county.house.as_institution("operator-1"))
    whose = (("liandong-service", "gateway"), ("liandong-person", person_id))
    return await getattr(stub, method)(request, metadata=whose, timeout=20)


async def proposed(county: County, kind: int, subject: str, **changes: Any) -> pb.Pause:
    values: dict[str, Any] = {"reason": "the disk of its server is full", **changes}
    request = pb.ProposePauseRequest(
        request_id=request_id(),
        kind=kind,  # type: ignore[arg-type]
        subject=subject,
        **values,
    )
    found: pb.Pause = (await ask(county, "ProposePause", request)).pause
    return found


async def decided(
    county: County, pause: pb.Pause, *, confirm: bool = True, person_id: str = SECOND
) -> pb.Pause:
    request = pb.DecidePauseRequest(
        request_id=request_id(), pause_id=pause.pause_id, confirm=confirm
    )
    found: pb.Pause = (await ask(county, "DecidePause", request, person_id)).pause
    return found


async def paused(county: County, kind: int, subject: str, **changes: Any) -> pb.Pause:
    return await decided(county, await proposed(county, kind, subject, **changes))


async def resumed(county: County, pause: pb.Pause) -> pb.Pause:
    request = pb.ProposeResumeRequest(
        request_id=request_id(), pause_id=pause.pause_id, reason="the disk is empty again"
    )
    await ask(county, "ProposeResume", request, SECOND)
    return await decided(county, pause, person_id=FIRST)


def gateway_of(county: County, institution_id: str) -> "gateway_pb2_grpc.GatewayServiceAsyncStub":
    return gateway_pb2_grpc.GatewayServiceStub(county.house.as_institution(institution_id))


async def outcome(county: County, institution_id: str) -> str:
    """With what a plain question of an institution ends."""
    try:
        await gateway_of(county, institution_id).ListInstitutions(NO_INSTITUTIONS)
    except grpc.aio.AioRpcError as error:
        return reason_of(error)
    return "OK"


async def refused(asking: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await asking
    return raised.value.code(), reason_of(raised.value)


async def test_an_institution_stands_still_by_two_persons_and_is_told_why(county: County) -> None:
    pause = await proposed(county, pb.PAUSE_KIND_INSTITUTION, "bank-2")
    assert pause.state == pb.PAUSE_STATE_PROPOSED
    assert await outcome(county, "bank-2") == "OK"
    same = decided(county, pause, person_id=FIRST)
    assert await refused(same) == (CODE.FAILED_PRECONDITION, "SECOND_PERSON_NEEDED")

    assert (await decided(county, pause)).state == pb.PAUSE_STATE_PAUSED

    said = await eventually(
        lambda: outcome(county, "bank-2"), lambda found: found != "OK", seconds_max=10
    )
    assert said == "INSTITUTION_PAUSED"
    assert await outcome(county, "bank-1") == "OK"
    status = await gateway_of(county, "bank-2").GetStatus(gateway_pb2.GetStatusRequest())
    assert [(p.kind, p.reason) for p in status.pauses] == [
        ("institution", "the disk of its server is full")
    ]
    assert status.refused_today >= 1
    assert "INSTITUTION_PAUSED" in {each.reason for each in status.refusals}
    assert status.calls_today >= 2
    assert await refused(proposed(county, pb.PAUSE_KIND_INSTITUTION, "bank-2")) == (
        CODE.FAILED_PRECONDITION,
        "PAUSE_STANDS",
    )

    assert (await resumed(county, pause)).state == pb.PAUSE_STATE_RESUMED
    assert await eventually(lambda: outcome(county, "bank-2"), lambda found: found == "OK") == "OK"
    logged = await county.house.logged("operator-1", at_least=5)
    acts = {(row["method"].rpartition("/")[2], row["person_id"]) for row in logged}
    assert {
        ("ProposePause", FIRST),
        ("DecidePause", SECOND),
        ("ProposeResume", SECOND),
        ("DecidePause", FIRST),
    } <= acts


async def test_a_pause_ends_by_itself_and_is_known_afterwards(county: County) -> None:
    soon = Timestamp()
    soon.FromDatetime(datetime.now(UTC) + timedelta(seconds=4))
    pause = await paused(county, pb.PAUSE_KIND_INSTITUTION, "insurer-1", expire_time=soon)
    await eventually(lambda: outcome(county, "insurer-1"), lambda said: said != "OK")

    await eventually(lambda: outcome(county, "insurer-1"), lambda said: said == "OK")

    every = (await ask(county, "ListPauses", pb.ListPausesRequest(over_too=True))).pauses
    assert [p.state for p in every if p.pause_id == pause.pause_id] == [pb.PAUSE_STATE_EXPIRED]
    over = refused(resumed(county, pause))
    assert await over == (CODE.FAILED_PRECONDITION, "PAUSE_OVER")
    # What is over may be asked for again, and taken back by whoever asked.
    again = await proposed(county, pb.PAUSE_KIND_INSTITUTION, "insurer-1")
    back = await decided(county, again, confirm=False, person_id=FIRST)
    assert back.state == pb.PAUSE_STATE_DROPPED


async def test_a_held_feed_loses_nothing(county: County) -> None:
    loan = await county.a_loan("bank-1")
    await county.kept()
    async with following(county, "bank-1", beginning=True) as told:
        while (await next_event(told)).event.subject != loan:
            pass
        pause = await paused(county, pb.PAUSE_KIND_FEED, "bank-1")
        held = await told.get()
        while not getattr(held, "held_because", ""):
            held = await told.get()
        await county.say("loans.loan", loan, *repaid(loan, 1, 2))
        await county.kept()
        status = await gateway_of(county, "bank-1").GetStatus(gateway_pb2.GetStatusRequest())
        assert [p.kind for p in status.pauses] == ["feed"]
        assert told.empty()
        await resumed(county, pause)

        after = [(await next_event(told)).event for _ in range(2)]

    assert [(e.subject, e.sequence) for e in after] == [(loan, 2), (loan, 3)]


async def test_a_paused_consumer_catches_up(county: County) -> None:
    pause = await paused(county, pb.PAUSE_KIND_CONSUMER, "gateway")
    # It looks once a second; what it takes before, it takes.
    loan = await county.a_loan("bank-1")
    kept = "SELECT count(*) FROM feed_event WHERE aggregate_id = $1"

    async def taken() -> bool:
        """Whether something that is said now is still taken."""
        before = await county.house.schema.one(kept, loan)
        await county.say("loans.loan", loan, *repaid(loan, 1))
        try:
            await eventually(
                lambda: county.house.schema.one(kept, loan),
                lambda rows: rows > before,
                seconds_max=2,
            )
        except AssertionError:
            return False
        return True

    await eventually(taken, lambda found: not found)
    await resumed(county, pause)

    await county.kept()
    assert loan in subjects(await county.told("bank-1"))


async def test_bad_orders_are_named(county: County) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"kind": pb.PAUSE_KIND_PRODUCT, "subject": "a/b"}, "PAUSE_NOT_HERE"),
        ({"kind": pb.PAUSE_KIND_CONSUMER, "subject": "loans"}, "UNKNOWN_SUBJECT"),
        ({"kind": pb.PAUSE_KIND_INSTITUTION, "subject": "nobody-1"}, "UNKNOWN_SUBJECT"),
        ({"kind": pb.PAUSE_KIND_INSTITUTION, "subject": "operator-1"}, "NOT_ONESELF"),
        (
            {"kind": pb.PAUSE_KIND_FEED, "subject": "bank-1", "county_code": COUNTY},
            "PAUSE_NOT_HERE",
        ),
        ({"kind": pb.PAUSE_KIND_FEED, "subject": "bank-1", "reason": "no"}, "FIELD_RULE_BROKEN"),
        (
            {
                "kind": pb.PAUSE_KIND_FEED,
                "subject": "bank-1",
                "expire_time": Timestamp(seconds=1),
            },
            "DATE_IN_PAST",
        ),
    ]
    for values, reason in cases:
        assert (await refused(proposed(county, **values)))[1] == reason, values
    unknown = pb.DecidePauseRequest(request_id=request_id(), pause_id=request_id(), confirm=True)
    assert await refused(ask(county, "DecidePause", unknown)) == (CODE.NOT_FOUND, "PAUSE_NOT_FOUND")
    nobody = pb.ProposePauseRequest(
        request_id=request_id(),
        kind=pb.PAUSE_KIND_FEED,
        subject="bank-1",
        reason="nobody in person says so",
    )
    assert (await refused(ask(county, "ProposePause", nobody, "")))[1] == "PERSON_NEEDED"
