"""The one search: what an id is, and its story, told to each by the rules of the feeds."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest
import pytest_asyncio
import structlog
from liandong.claims.v1 import events_pb2 as claims
from liandong.claims.v1 import payouts_pb2, payouts_pb2_grpc
from liandong.gateway.v1 import find_pb2 as pb
from liandong.gateway.v1 import find_pb2_grpc, gateway_pb2, gateway_pb2_grpc
from liandong.loans.v1 import events_pb2 as loans

from deploy.local.ca import LocalCA
from gateway import find_servicer, find_store
from gateway.rules import EVENTS
from gateway.story_words import AMOUNTS
from gateway.story_words import EVENTS as WORDS
from services.kernel import ids
from services.kernel.database import Database
from services.kernel.rpc import Context
from services.kernel.status import reason_of
from tests.eventually import at_least, eventually
from tests.faults.links import Link
from tests.gateway.conftest import a_house
from tests.gateway.fakes import a_target
from tests.gateway.feeding import INSTITUTIONS, County, repaid
from tests.servers import Schemas, as_server, nats_from_wheel, small_topology

pytestmark = [pytest.mark.postgres, pytest.mark.nats]


class NoPayouts(payouts_pb2_grpc.PayoutsServiceServicer):
    """The claims service, asked of which payout an instruction is: of none."""

    async def ListPayouts(
        self, request: payouts_pb2.ListPayoutsRequest, context: Context
    ) -> payouts_pb2.ListPayoutsResponse:
        return payouts_pb2.ListPayoutsResponse()


def add_claims(server: Any) -> None:
    payouts = NoPayouts()  # type: ignore[abstract]
    payouts_pb2_grpc.add_PayoutsServiceServicer_to_server(payouts, server)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def county(schemas: Schemas, certificates: LocalCA) -> AsyncIterator[County]:
    streams = small_topology()
    async with nats_from_wheel(certificates, streams) as wheel:
        server = as_server(wheel, certificates, streams)
        asked = a_target(certificates, "claims", add_claims)
        async with a_house(
            *(schemas, server, certificates),
            institutions_path=INSTITUTIONS,
            claims_address=asked.address,
        ) as house:
            made = County(house, server, {})
            yield made
            await made.close()
        await asked.stop()


def finder(county: County, institution_id: str) -> Any:
    return find_pb2_grpc.FindServiceStub(county.house.as_institution(institution_id))


async def told(county: County, institution_id: str, one: str, **asked: Any) -> pb.TellStoryResponse:
    answer: pb.TellStoryResponse = await finder(county, institution_id).TellStory(
        pb.TellStoryRequest(id=one, **asked)
    )
    return answer


async def unknown(county: County, institution_id: str, one: str) -> tuple[Any, ...]:
    """How an id is answered that is none: all that a client sees of it."""
    answers = []
    for call, request in (
        (finder(county, institution_id).Find, pb.FindRequest(id=one)),
        (finder(county, institution_id).TellStory, pb.TellStoryRequest(id=one)),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await call(request)
        assert refusal.value.code() is grpc.StatusCode.NOT_FOUND
        assert reason_of(refusal.value) == "ID_NOT_FOUND"
        answers.append((refusal.value.details(), tuple(refusal.value.trailing_metadata() or ())))
    return tuple(answers)


def events_of(answer: pb.TellStoryResponse) -> list[str]:
    return [step.event_type.rpartition(".")[2] for step in answer.steps if step.event_type]


class Storm:
    """A household's loan, a claim after a storm, and the payout that settles the loan."""

    def __init__(self) -> None:
        self.household, self.loan, self.claim, self.payout = (str(ids.new_id()) for _ in range(4))
        self.trace = uuid.uuid4().hex

    async def happen(self, county: County) -> "Storm":
        sampled = f"00-{self.trace}-{'2' * 16}-01"
        self.household = await county.a_household()
        self.loan = await county.a_loan(household=self.household)
        await county.say("loans.loan", self.loan, *repaid(self.loan, 100_00))
        await county.say(
            "claims.claim",
            self.claim,
            claims.ClaimReported(
                claim_id=self.claim, household_id=self.household, insurer_id="insurer-1"
            ),
            claims.ClaimApproved(claim_id=self.claim, payout_id=self.payout, payable_fen=50_000_00),
            traceparent=sampled,
        )
        await county.say(
            "claims.payout",
            self.payout,
            claims.PayoutAuthorised(
                payout_id=self.payout,
                household_id=self.household,
                amount_fen=50_000_00,
                groups=[claims.PayeeGroup(loan_ids=[self.loan])],
                insurer_id="insurer-1",
            ),
            traceparent=sampled,
        )
        part = loans.LenderPart(loan_id=self.loan, lender_id="bank-1", amount_fen=49_900_00)
        await county.say(
            "loans.payout_allocation",
            self.payout,
            loans.PayoutAllocated(payout_id=self.payout, parts=[part], amount_fen=50_000_00),
            traceparent=sampled,
        )
        await county.say(
            "loans.loan",
            self.loan,
            *repaid(self.loan, 49_900_00),
            loans.LoanSettled(loan_id=self.loan),
            traceparent=sampled,
        )
        await county.say(
            "claims.payout", self.payout, claims.PayoutSettled(payout_id=self.payout),
            traceparent=sampled,
        )  # fmt: skip
        await county.kept()
        return self


async def test_a_payouts_story_is_complete_and_in_order(county: County) -> None:
    storm = await Storm().happen(county)

    found = await finder(county, "centre-1").Find(pb.FindRequest(id=storm.payout))
    answer = await told(county, "centre-1", storm.payout)

    assert [(each.kind, each.household_id) for each in found.findings] == [
        ("payout", storm.household)
    ]
    kinds = [(each.kind, each.id) for each in answer.linked]
    assert sorted(kinds) == sorted([("claim", storm.claim), ("loan", storm.loan)])
    assert sorted(events_of(answer)) == sorted(
        [
            *("claim_reported", "claim_approved", "payout_authorised", "payout_allocated"),
            *("loan_repaid", "loan_settled", "payout_settled"),
        ]
    )
    at = {name: place for place, name in enumerate(events_of(answer))}
    assert at["claim_reported"] < at["claim_approved"]
    assert at["loan_repaid"] < at["loan_settled"]
    said = answer.steps[at["payout_authorised"]]
    assert (said.words, said.words_zh) == ("payout authorised", "赔款核准")
    assert [(each.words_zh, each.amount_fen) for each in said.amounts] == [("金额", 50_000_00)]
    assert said.trace_id == storm.trace
    assert {step.trace_id for step in answer.steps} == {storm.trace}


async def test_each_knows_of_a_story_what_its_feed_tells(county: County) -> None:
    storm = await Storm().happen(county)

    bank = await told(county, "bank-1", storm.loan)
    by_claim = await told(county, "insurer-1", storm.claim)

    assert events_of(bank)[:2] == ["loan_applied", "loan_repaid"]
    assert {"payout_allocated", "loan_settled"} <= set(events_of(bank))
    assert "loan_settled" not in events_of(by_claim)
    assert "claim_approved" in events_of(by_claim)
    # A stranger's answer and that for an id which nobody ever had are the same.
    for stranger, one in (("bank-2", storm.payout), ("insurer-2", storm.claim),
                          ("centre-2", storm.household), ("bank-2", storm.trace)):  # fmt: skip
        nobodys = str(uuid.uuid4())
        assert await unknown(county, stranger, one) == await unknown(county, stranger, nobodys)


async def test_a_household_a_trace_and_an_event_lead_to_their_story(county: County) -> None:
    storm = await Storm().happen(county)

    household = await told(county, "centre-1", storm.household)
    trace = await told(county, "centre-1", storm.trace)
    event = await told(county, "centre-1", household.steps[0].event_id)

    assert household.about.kind == "household"
    assert events_of(household)[:3] == ["household_registered", "loan_applied", "loan_repaid"]
    assert "payout_settled" in events_of(household)
    assert (trace.about.kind, trace.about.id) == ("trace", storm.trace)
    assert len(events_of(trace)) == 7
    assert event.about.kind == "event"
    assert events_of(event)[0] == "household_registered"


async def test_a_story_comes_page_by_page(county: County) -> None:
    loan = await county.a_loan()
    await county.say("loans.loan", loan, *repaid(loan, *range(1, 8)))
    await county.kept()

    token, seen = "", []
    while True:
        page = await told(county, "bank-1", loan, page_size=3, page_token=token)
        assert len(page.steps) <= 3
        seen += [step.event_id for step in page.steps]
        token = page.next_page_token
        if not token:
            break

    assert len(seen) == len(set(seen)) == 8
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await told(county, "bank-1", loan, page_token="bm9uZQ==")
    assert reason_of(refusal.value) == "MALFORMED_PAGE_TOKEN"


async def test_a_call_is_found_by_its_request_and_its_trace(county: County) -> None:
    request_id, trace = str(uuid.uuid4()), uuid.uuid4().hex
    stub = gateway_pb2_grpc.GatewayServiceStub(county.house.as_institution("bank-1"))
    await stub.WhoAmI(
        gateway_pb2.WhoAmIRequest(), metadata=(("traceparent", f"00-{trace}-{'3' * 16}-01"),)
    )

    for who in ("bank-1", "auditor-1", "operator-1"):
        answer = await told(county, who, trace)
        assert [step.call.method.rpartition("/")[2] for step in answer.steps] == ["WhoAmI"]
        assert answer.steps[0].institution_id == "bank-1"
    assert await unknown(county, "bank-2", trace) == await unknown(county, "bank-2", request_id)


async def test_events_of_before_are_named_afterwards(county: County) -> None:
    loan = await county.a_loan()
    await county.kept()
    await county.house.schema.ask("DELETE FROM feed_named")
    await county.house.schema.ask(
        """UPDATE feed_named_state SET done_position = 0,
           upto_position = (SELECT last_position FROM feed_state)"""
    )
    await unknown(county, "bank-1", loan)

    while await county.house.db.work(find_store.fill):
        pass

    assert events_of(await told(county, "bank-1", loan)) == ["loan_applied"]


def test_every_event_and_amount_has_words() -> None:
    names = {event_type.rpartition(".")[2] for event_type in EVENTS}
    amounts = {
        field.name
        for message in EVENTS.values()
        for field in message.fields
        if field.name.endswith("_fen") and not field.is_repeated
    }
    assert names == WORDS.keys()
    assert amounts <= AMOUNTS.keys()


async def test_naming_goes_on_after_the_database_was_away(
    county: County, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find_servicer, "FILLED_SECONDS", 0.01)
    await county.house.schema.ask("UPDATE feed_named_state SET done_position = 0")
    dsn = urlsplit(county.house.schema.app_dsn)
    async with Link(lambda: dsn.port or 5432) as wire:
        wire.is_down = True
        address = f"{dsn.username}:{dsn.password}@127.0.0.1:{wire.port}"
        db = Database(dsn._replace(netloc=address).geturl(), "gateway", pool_size=1)
        with structlog.testing.capture_logs() as said:
            naming = asyncio.create_task(find_servicer.keep_filling(db))
            try:
                await eventually(lambda: _times_away(said), at_least(2))
                wire.is_down = False
                left = "SELECT count(*) FROM feed_named_state WHERE done_position < upto_position"
                await eventually(lambda: county.house.schema.one(left), lambda found: found == 0)
            finally:
                naming.cancel()
                await asyncio.gather(naming, return_exceptions=True)
                await db.close()


async def _times_away(said: Sequence[Mapping[str, Any]]) -> int:
    return sum(each["event"] == "names_wait" for each in said)
