"""Feeds on real servers: everything that one may know, in order, and nothing else."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp
from liandong.claims.v1 import events_pb2 as claims
from liandong.common.v1 import operator_pb2, operator_pb2_grpc
from liandong.credit.v1 import events_pb2 as credit
from liandong.gateway.v1 import feeds_pb2 as pb
from liandong.loans.v1 import events_pb2 as loans

from deploy.local.ca import LocalCA
from gateway import feed_pages, operations, retention
from gateway.feed_pages import Pages
from gateway.feed_servicer import FeedsServicer
from gateway.feed_stream import Tail
from gateway.identity import Admission, Directory
from gateway.judge import Judge
from gateway.log_chain import LogSigner
from gateway.pauses import Pauses
from services.kernel import bus, ids, status
from services.kernel.errors import Exhausted
from services.programmes import loader
from tests.eventually import eventually
from tests.gateway.conftest import a_house
from tests.gateway.feeding import (
    COUNTY,
    ELSEWHERE,
    INSTITUTIONS,
    County,
    data_of,
    failure,
    following,
    next_event,
    repaid,
    request_id,
    subjects,
)
from tests.servers import Schemas, as_server, nats_from_wheel, small_topology

pytestmark = [pytest.mark.postgres, pytest.mark.nats]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def county(schemas: Schemas, certificates: LocalCA) -> AsyncIterator[County]:
    streams = small_topology()
    async with nats_from_wheel(certificates, streams) as wheel:
        server = as_server(wheel, certificates, streams)
        async with a_house(schemas, server, certificates, institutions_path=INSTITUTIONS) as house:
            made = County(house, server, {})
            yield made
            await made.close()


async def refused(county: County, institution_id: str, **asked: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await county.read(institution_id, **asked)
    return refusal.value


# --- what one is told ----------------------------------------------------------------------------


async def test_a_lender_is_told_of_its_own_loans_in_order_and_of_no_others(county: County) -> None:
    own, foreign = await county.a_loan("bank-1"), await county.a_loan("bank-2")
    await county.say("loans.loan", own, *repaid(own, 1, 2))
    await county.say("loans.loan", foreign, *repaid(foreign, 3))
    await county.kept()

    one, two = await county.told("bank-1"), await county.told("bank-2")

    assert [each for each in one if each[1] == own] == [
        ("loan_applied", own, 1),
        ("loan_repaid", own, 2),
        ("loan_repaid", own, 3),
    ]
    assert foreign not in subjects(one)
    assert [each for each in two if each[1] == foreign] == [
        ("loan_applied", foreign, 1),
        ("loan_repaid", foreign, 2),
    ]
    assert own not in subjects(two)


async def test_organs_are_told_what_lies_in_their_area(county: County) -> None:
    here, there = await county.a_loan(), await county.a_loan(area_code=ELSEWHERE)
    await county.say("loans.loan", there, *repaid(there, 1))
    household = await county.a_household(area_code="123457001001", county_code="123457")
    await county.kept()

    centre = subjects(await county.told("centre-1"))
    station = subjects(await county.told("station-1"))
    neighbour = subjects(await county.told("centre-2"))
    auditor = subjects(await county.told("auditor-1"))

    assert {here, there} <= set(centre)
    assert here in station
    assert there not in station
    assert set(neighbour) == {household}
    assert household not in centre
    assert {here, there, household} <= set(auditor)


async def test_what_is_known_of_a_household_is_told_while_it_owes_or_applies(
    county: County,
) -> None:
    household = await county.a_household()
    loan = await county.a_loan("bank-1", household=household)
    file = credit.LimitGranted(household_id=household, limit_fen=5, grade="AA")
    await county.say("credit.credit_file", household, file)
    await county.kept()

    assert ("limit_granted", household, 1) in await county.told("bank-1")
    assert ("limit_granted", household, 1) in await county.told("station-1")
    assert household not in subjects(await county.told("bank-2"))

    settled = loans.LoanSettled(loan_id=loan)
    await county.say("loans.loan", loan, settled)
    await county.kept()
    assert household not in subjects(await county.told("bank-1"))


async def test_an_insurer_is_told_of_its_claims_and_not_of_the_debt(county: County) -> None:
    household = await county.a_household()
    loan = await county.a_loan("bank-1", household=household)
    insured, claim = str(ids.new_id()), str(ids.new_id())
    await county.say(
        "claims.insured",
        insured,
        claims.HouseholdInsured(
            insured_id=insured,
            household_id=household,
            cover_id="crop",
            insurer_id="insurer-1",
            loan_id=loan,
        ),
    )
    await county.say(
        "claims.claim",
        claim,
        claims.ClaimReported(claim_id=claim, household_id=household, insurer_id="insurer-1"),
        claims.ClaimApproved(claim_id=claim, payout_id=str(ids.new_id()), payable_fen=7),
    )
    await county.say("loans.loan", loan, *repaid(loan, 1))
    await county.kept()

    insurer = await county.told("insurer-1")
    assert ("household_insured", insured, 1) in insurer
    assert ("claim_approved", claim, 2) in insurer
    assert loan not in subjects(insurer)
    assert not {insured, claim, loan} & set(subjects(await county.told("insurer-2")))
    # The lender knows that its loan is covered.
    assert ("household_insured", insured, 1) in await county.told("bank-1")
    assert insured not in subjects(await county.told("bank-2"))


async def test_of_a_shared_payout_everybody_is_told_the_own_part(county: County) -> None:
    payout = str(ids.new_id())
    parts = [
        loans.LenderPart(loan_id=str(ids.new_id()), lender_id=lender, amount_fen=amount)
        for lender, amount in (("bank-1", 10), ("bank-2", 20))
    ]
    allocated = loans.PayoutAllocated(payout_id=payout, amount_fen=35, parts=parts)
    await county.say("loans.payout_allocation", payout, allocated)
    await county.kept()

    async def told(who: str) -> pb.SubscribeResponse:
        found = await county.read(who, event_types=["liandong.loans.v1.payout_allocated"])
        return next(each for each in found if each.event.subject == payout)

    bank, centre = await told("bank-1"), await told("centre-1")

    assert [part["lenderId"] for part in data_of(bank)["parts"]] == ["bank-1"]
    # The sum would tell the other's part.
    assert "amountFen" not in data_of(bank)
    assert list(bank.event.masked) == ["parts", "amountFen"]
    assert len(data_of(centre)["parts"]) == 2
    assert data_of(centre)["amountFen"] == "35"
    assert not centre.event.masked


async def test_an_event_is_a_cloudevent_with_protojson(county: County) -> None:
    loan = await county.a_loan()
    await county.kept()

    found = await county.read("bank-1", nouns=["loans"])

    event = next(each.event for each in found if each.event.subject == loan)
    assert event.type == "liandong.loans.v1.loan_applied"
    assert event.source == "/liandong/loans"
    assert event.data_content_type == "application/json"
    assert (event.county_code, event.business_date.year) == (COUNTY, 2019)
    data = json.loads(event.data)
    assert data["loanId"] == loan
    assert data["principalFen"] == "5000000"


# --- where one goes on ----------------------------------------------------------------------------


async def test_a_reader_goes_on_from_a_cursor_a_moment_or_its_acknowledgement(
    county: County,
) -> None:
    first = await county.a_loan()
    await county.kept()
    read = await county.read("bank-1")
    began = Timestamp()
    began.FromDatetime(datetime.now(UTC))
    second = await county.a_loan()
    await eventually(
        lambda: county.house.schema.one(
            "SELECT count(*) FROM feed_event WHERE aggregate_id = $1", second
        )
    )

    assert subjects(await county.told("bank-1", cursor=read[-1].cursor)) == [second]
    assert subjects(await county.told("bank-1", since=began)) == [second]
    stub = county.feeds("bank-1")
    done = pb.AcknowledgeFeedRequest(request_id=request_id(), reader="core", cursor=read[-1].cursor)
    assert (await stub.AcknowledgeFeed(done)).cursor == read[-1].cursor
    async with following(county, "bank-1", reader="core") as told:
        assert (await next_event(told)).event.subject == second
    # Going back changes nothing; another reader stands where it stood.
    before = pb.AcknowledgeFeedRequest(
        request_id=request_id(), reader="core", cursor=read[0].cursor
    )
    assert (await stub.AcknowledgeFeed(before)).cursor == read[-1].cursor
    async with following(county, "bank-1", reader="other") as told:
        assert (await next_event(told)).cursor == read[0].cursor
    answer = await stub.GetFeedStatus(pb.GetFeedStatusRequest())
    reader = next(each for each in answer.readers if each.reader == "core")
    assert (reader.waiting_events, reader.more_waiting) == (1, False)
    assert reader.HasField("waiting_since")
    assert answer.HasField("last_event_time")
    assert first in subjects(await county.told("bank-1"))


async def test_what_happens_is_told_as_it_happens(county: County) -> None:
    async with following(county, "bank-1", beginning=True) as told:
        async with asyncio.timeout(20):
            while not (await told.get()).live:  # type: ignore[union-attr]
                pass
        loan = await county.a_loan()
        found = await next_event(told)

    assert found.event.subject == loan
    assert found.live


async def test_filters_choose_and_a_wrong_one_is_refused_by_name(county: County) -> None:
    loan, far = await county.a_loan(), await county.a_loan(area_code=ELSEWHERE)
    household = await county.a_household()
    await county.kept()

    chosen = subjects(await county.told("centre-1", area_codes=["123456002"]))
    assert far in chosen
    assert not {loan, household} & set(chosen)
    nouns = await county.read("centre-1", nouns=["households"])
    assert {each.event.source for each in nouns} == {"/liandong/households"}
    kinds = await county.told("centre-1", event_types=["liandong.loans.v1.loan_applied"])
    assert {kind for kind, _, _ in kinds} == {"loan_applied"}

    error = await refused(county, "bank-1", nouns=["loans", "lones"])
    assert status.reason_of(error) == "UNKNOWN_NOUN"
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    never = ["liandong.funds.v1.nothing"]
    assert status.reason_of(await refused(county, "bank-1", event_types=never)) == "UNKNOWN_EVENT"
    elsewhere = await refused(county, "station-1", area_codes=["123456002"])
    assert status.reason_of(elsewhere) == "AREA_NOT_YOURS"
    cursor = await refused(county, "bank-1", cursor="ZmVlZDo5OTk5OTk5OTk=")
    assert status.reason_of(cursor) == "MALFORMED_CURSOR"
    strange = pb.SubscribeRequest.FromString(b"\xf8\x07\x01")
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await county.feeds("bank-1").Subscribe(strange).read()
    assert status.reason_of(unknown.value) == "UNKNOWN_FIELD"


async def test_pages_join_without_a_gap(county: County, monkeypatch: pytest.MonkeyPatch) -> None:
    loan, foreign = await county.a_loan(), await county.a_loan("bank-2")
    await county.say("loans.loan", foreign, *repaid(foreign, *range(1, 31)))
    await county.say("loans.loan", loan, *repaid(loan, *range(1, 31)))
    await county.kept()
    monkeypatch.setattr(feed_pages, "ROWS_MAX", 7)
    monkeypatch.setattr(feed_pages, "POSITIONS_MAX", 11)

    found = await county.told("bank-1")

    assert [place for _, name, place in found if name == loan] == list(range(1, 32))


async def test_events_are_kept_as_long_as_a_contract_and_a_gap_is_not_skipped_in_silence(
    county: County,
) -> None:
    loan = await county.a_loan()
    await county.kept()
    cursor = (await county.read("bank-1"))[0].cursor
    schema = county.house.schema
    rules = retention.Rules(kept_days=county.house.settings.kept_days(), archives=None)
    signer = LogSigner(county.house.settings.log_private_key_path)
    later = datetime.now(UTC) + timedelta(days=4_000)

    async def removed() -> int:
        job = retention.Job(county.house.db, signer, rules, later, dry_run=False)
        return (await retention.of_table(job, "feeds")).removed_rows

    await schema.ask("INSERT INTO contract VALUES ('bank-1', 'c-1', '2019-01-01', NULL)")
    assert await removed() == 0
    await schema.ask("DELETE FROM contract")
    assert await removed() > 0

    error = await refused(county, "bank-1", cursor=cursor)
    assert status.reason_of(error) == "CURSOR_TOO_OLD"
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    await county.say("loans.loan", loan, *repaid(loan, 1))
    await county.kept()
    assert await county.told("bank-1") == [("loan_repaid", loan, 2)]


# --- who may go on --------------------------------------------------------------------------------


async def test_a_suspended_institutions_stream_ends_within_seconds(county: County) -> None:
    async with following(county, "bank-2", beginning=True) as told:
        async with county.house.db.transaction() as session:
            assert await operations.set_active(session, "bank-2", active=False)
        error = await failure(told)
        assert isinstance(error, grpc.aio.AioRpcError)
        assert status.reason_of(error) == "INSTITUTION_SUSPENDED"
    async with county.house.db.transaction() as session:
        assert await operations.set_active(session, "bank-2", active=True)


async def test_what_was_told_stands_in_the_access_log(county: County) -> None:
    household = await county.a_household()
    loan = await county.a_loan("bank-1", household=household)
    await county.kept()
    await county.read("bank-1", event_types=["liandong.loans.v1.loan_applied"])

    rows = await county.house.schema.ask(
        "SELECT resources FROM access_log WHERE method LIKE '%Subscribe' AND decision = 'allowed'"
    )
    named = {name for row in rows for name in row["resources"]}
    assert {f"loan:{loan}", f"household:{household}"} <= named


async def test_a_reader_that_does_not_read_holds_nobody_up(county: County) -> None:
    loan = await county.a_loan()
    slow = county.feeds("bank-1").Subscribe(pb.SubscribeRequest(beginning=True))
    await county.say("loans.loan", loan, *repaid(loan, *range(1, 201)))
    await county.kept()

    quick = await county.told("centre-1", event_types=["liandong.loans.v1.loan_repaid"])
    assert [place for _, name, place in quick if name == loan] == list(range(2, 202))

    # And nothing is lost to it.
    found = []
    async with asyncio.timeout(30):
        async for answer in slow:
            if answer.event.subject == loan:
                found.append(answer.event.sequence)
            if found[-1:] == [201]:
                break
    slow.cancel()
    assert found == list(range(1, 202))


async def test_what_cannot_be_read_waits_for_a_person_and_the_rest_is_told(
    county: County, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "RETRY_SECONDS", 0.02)
    loan = await county.a_loan()
    await county.say("loans.loan", loan, *repaid(loan, 1), payload=b"\x0a\xff")
    await county.say("loans.loan", loan, *repaid(loan, 2))
    other = await county.a_loan()
    operator = operator_pb2_grpc.OperatorServiceStub(county.house.as_institution("operator-1"))

    async def ask(method: str, request: Any, person: str = "p1") -> Any:
        named = (("liandong-service", "gateway"), ("liandong-person", f"operator-1-{person}"))
        return await getattr(operator, method)(request, metadata=named)

    async def waiting() -> list[Any]:
        return list((await ask("ListParkedEvents", operator_pb2.ListParkedEventsRequest())).events)

    first, second = await eventually(waiting, lambda found: len(found) == 2, seconds_max=20)
    assert (first.sequence, second.sequence) == (2, 3)
    assert second.reason == "BEHIND_A_PARKED_EVENT"
    assert {loan, other} <= set(subjects(await county.told("bank-1")))
    for person in ("p1", "p2"):
        drop = operator_pb2.DropParkedEventRequest(
            request_id=request_id(), event_id=first.event_id, reason="unreadable"
        )
        await ask("DropParkedEvent", drop, person)
    replay = operator_pb2.ReplayParkedEventsRequest(request_id=request_id())
    assert (await ask("ReplayParkedEvents", replay)).applied == 1
    told = await county.told("bank-1")
    assert [place for _, name, place in told if name == loan] == [1, 3]
    county.said.clear()


async def test_those_who_follow_leave_room_for_calls(county: County) -> None:
    directory = Directory(env="local", clock=time.monotonic, admission=Admission())
    db = county.house.db
    pages = Pages(db, Judge(db, loader.load([])))
    full = FeedsServicer(db, directory, pages, Tail(db), streams_max=0, paused=Pauses())
    watch: Any = None

    with pytest.raises(Exhausted, match="TOO_MANY_STREAMS"):
        await anext(full.subscribe(watch, b""))


async def test_a_gateway_that_is_away_loses_and_repeats_nothing(
    schemas: Schemas, certificates: LocalCA
) -> None:
    streams = small_topology()
    async with nats_from_wheel(certificates, streams) as wheel:
        server = as_server(wheel, certificates, streams)
        house = a_house(schemas, server, certificates, institutions_path=INSTITUTIONS)
        async with house as first:
            county = County(first, server, {})
            loan = await county.a_loan()
            await county.kept()
            async with following(county, "bank-1", beginning=True) as told:
                read = await next_event(told)
                await first.stop()
                # Whoever follows is told to come back, and the stop waits for nobody.
                error = await failure(told)
                assert isinstance(error, grpc.aio.AioRpcError)
                assert status.reason_of(error) == "GATEWAY_STOPS"
            await county.say("loans.loan", loan, *repaid(loan, 1, 2))
            await first.hang_up()
            await first.start()
            await county.kept()

            assert await county.told("bank-1", cursor=read.cursor) == [
                ("loan_repaid", loan, 2),
                ("loan_repaid", loan, 3),
            ]
            await county.close()


async def test_the_document_tells_every_event_of_a_role_with_its_schema(county: County) -> None:
    answer = await county.feeds("bank-1").GetFeedDocument(pb.GetFeedDocumentRequest())

    document = json.loads(answer.document)
    assert document["asyncapi"] == "3.0.0"
    applied = document["components"]["schemas"]["liandong.loans.v1.LoanApplied"]
    assert applied["properties"]["principalFen"]["pattern"] == "^-?[0-9]+$"
    assert "liandong.loans.v1.loan_applied" in document["channels"]
    assert "liandong.credit.v1.limit_granted" in document["channels"]
    assert "liandong.claims.v1.line_result" not in document["channels"]
    text = json.dumps(document)
    for found in _refs(document):
        place = document
        for step in found.removeprefix("#/").split("/"):
            place = place[step]
    assert "liandong.loans.v1.LenderPart" in text


def _refs(found: Any) -> list[str]:
    if isinstance(found, dict):
        own = [found["$ref"]] if "$ref" in found else []
        return own + [ref for each in found.values() for ref in _refs(each)]
    return []
