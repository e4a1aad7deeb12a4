"""The public door: everybody may read it, it names nobody, and it bounds what a flood may cost."""

import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.descriptor import Descriptor
from google.protobuf.wrappers_pb2 import BytesValue
from google.type.date_pb2 import Date
from liandong.credit.v1 import areas_pb2, reviews_pb2
from liandong.funds.v1 import funds_pb2
from liandong.gateway.v1 import public_pb2 as pb
from liandong.gateway.v1 import public_pb2_grpc
from liandong.loans.v1 import notices_pb2

from deploy.local import places
from deploy.local.ca import LocalCA
from gateway import disclosures, public, public_model
from gateway.plain_words import both
from gateway.public import address_of
from gateway.routes import SERVICE_NAMES
from gateway.turnstile import KEPT_MAX, Turnstile, per_second
from services.kernel import status
from services.kernel.clock import recorded_time
from services.kernel.errors import Exhausted, Refused, Unavailable
from services.programmes import loader
from tests.eventually import eventually
from tests.gateway.answering import COUNTY, VILLAGE, Script, a_county, an_answering_house
from tests.gateway.conftest import House
from tests.servers import NatsServer, Schemas

FOLLOWED = "henan-lushi@2"
TODAY = Date(year=2026, month=1, day=10)
LATER, BEFORE = Date(year=2026, month=1, day=15), Date(year=2026, month=1, day=5)
SECRET = str(uuid.uuid4())
"""Stands for every household, loan and case: it must not come out."""


# --- the texts ------------------------------------------------------------------------------------


def test_every_pack_has_five_sections_and_a_sheet_for_each_product() -> None:
    catalogue = loader.load()
    for pack in (*catalogue.packs.values(), *catalogue.conditioned.values()):
        sections = disclosures.five(pack)
        assert [each.name for each in sections] == list(disclosures.TITLES)
        for section in sections:
            assert section.lines
            assert all(zh and en for zh, en in section.lines)
        for product in pack.loan_products:
            zh = [line for line, _ in disclosures.plain_sheet(product)]
            for begins in ("谁放贷", "贷给谁", "还款方式"):
                assert any(line.startswith(begins) for line in zh), (pack.programme.ref, begins)


def test_the_pack_that_demands_the_five_says_so() -> None:
    catalogue = loader.load()

    assert disclosures.demands(catalogue.programme("hunan-rcu-poverty-microcredit@1"))
    assert not disclosures.demands(catalogue.programme(FOLLOWED))


def test_a_code_without_words_stands_as_it_is() -> None:
    assert both("some_new_code") == ("some new code", "some new code")


def _fields(message: Descriptor) -> Iterator[str]:
    for field in message.fields:
        yield field.name
        if field.message_type is not None:
            yield from _fields(field.message_type)


def test_no_answer_has_room_for_a_name() -> None:
    personal = {
        *("household_id", "person_id", "loan_id", "case_id", "review_id", "claim_id", "name"),
        *("identity_number", "phone", "household_number", "member_id", "borrower_id"),
    }
    for method in pb.DESCRIPTOR.services_by_name["PublicService"].methods:
        assert not personal & set(_fields(method.output_type))


def test_it_is_not_at_the_institutions_address() -> None:
    assert public.SERVICE_NAME not in SERVICE_NAMES


# --- the turnstile --------------------------------------------------------------------------------


def a_turnstile(now: list[float], everybody: int = 100, one: int = 2) -> Turnstile:
    return Turnstile(per_second(everybody), per_second(one), of="address", clock=lambda: now[0])


def enter(turnstile: Turnstile, peer: str) -> None:
    turnstile.leave(turnstile.enter(address_of(peer)))


def test_one_address_that_asks_too_often_is_told_when_to_come_back() -> None:
    now = [0.0]
    turnstile = a_turnstile(now)
    for port in range(4):
        enter(turnstile, f"ipv4:192.0.2.1:{port}")

    with pytest.raises(Exhausted) as refused:
        turnstile.enter(address_of("ipv4:192.0.2.1:9"))

    assert refused.value.reason == "RATE_LIMIT_REACHED"
    assert refused.value.retry_seconds == pytest.approx(0.5)
    enter(turnstile, "ipv4:192.0.2.2:1")
    now[0] += 0.5
    enter(turnstile, "ipv4:192.0.2.1:9")


def test_addresses_of_one_network_count_as_one() -> None:
    turnstile = a_turnstile([0.0])
    for host in range(4):
        enter(turnstile, f"ipv6:%5B2001:db8:1:2::{host}%5D:4000")

    with pytest.raises(Exhausted):
        turnstile.enter(address_of("ipv6:%5B2001:db8:1:2::77%5D:4000"))
    enter(turnstile, "ipv6:%5B2001:db8:1:3::1%5D:4000")


def test_all_together_are_bounded_and_so_is_what_is_kept() -> None:
    turnstile = a_turnstile([0.0], everybody=10)
    for host in range(20):
        enter(turnstile, f"ipv4:10.0.0.{host}:1")
    with pytest.raises(Exhausted) as refused:
        turnstile.enter(address_of("ipv4:10.0.1.1:1"))
    assert refused.value.quota is not None
    assert refused.value.quota.subject == "everybody"

    many = a_turnstile([0.0], everybody=400_000)
    for host in range(KEPT_MAX + 50):
        enter(many, f"ipv4:10.{host // 65_536}.{host // 256 % 256}.{host % 256}:1")
    assert len(many) == KEPT_MAX


# --- at the door ----------------------------------------------------------------------------------


def the_county() -> dict[str, Any]:
    """What the services publish, with what they know beside it."""
    publications = [
        notices_pb2.Publication(
            publication_id=SECRET,
            kind=notices_pb2.PUBLICATION_KIND_LOANS,
            programme_id="henan-lushi",
            area_code=COUNTY,
            ends_on=LATER,
            lines=1,
        )
    ]
    line = notices_pb2.PublicationLine(area_code=VILLAGE, lender_id="bank-1", loans=1, amount_fen=5)
    reviews = [
        reviews_pb2.Review(
            review_id=SECRET,
            household_id=SECRET,
            area_code=f"{VILLAGE}01",
            programme=FOLLOWED,
            notice_to=until,
        )
        for until in (LATER, LATER, BEFORE)
    ]

    def cases(request: funds_pb2.ListCompensationCasesRequest, _caller: Any) -> Any:
        published = request.state == funds_pb2.CASE_STATE_PUBLISHED
        paid = request.state == funds_pb2.CASE_STATE_PAID
        days = [LATER, BEFORE] if published else [BEFORE, None] if paid else []
        return funds_pb2.ListCompensationCasesResponse(
            cases=[
                funds_pb2.CompensationCase(
                    case_id=SECRET,
                    county_code=COUNTY,
                    loan_id=SECRET,
                    lender_id="bank-1",
                    state=request.state,
                    loss_fen=7_000,
                    cause="disaster",
                    programme=FOLLOWED,
                    reason=SECRET,
                    parts=[
                        funds_pb2.CasePart(party="county_fund", amount_fen=7_000, fund_id=SECRET)
                    ],
                    notice_until=day,
                )
                for day in days
            ]
        )

    return {
        "GetCoverage": areas_pb2.GetCoverageResponse(as_of=TODAY),
        "ListPublications": notices_pb2.ListPublicationsResponse(publications=publications),
        "GetPublication": notices_pb2.GetPublicationResponse(
            publication=publications[0], lines=[line]
        ),
        "ListReviews": reviews_pb2.ListReviewsResponse(reviews=reviews),
        "ListCompensationCases": cases,
    }


@pytest.fixture(scope="module")
def script() -> Script:
    made = Script()
    made.answer(**the_county())
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(
    schemas: Schemas,
    nats: NatsServer,
    certificates: LocalCA,
    script: Script,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[House]:
    changes = a_county(tmp_path_factory.mktemp("public"), programme=FOLLOWED)
    address = f"127.0.0.1:{places.free_port()}"
    async with an_answering_house(
        *(schemas, nats, certificates, script), public_address=address, **changes
    ) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def anybody(house: House) -> AsyncIterator["public_pb2_grpc.PublicServiceAsyncStub"]:
    """A connection that trusts the authority and shows nothing."""
    credentials = grpc.ssl_channel_credentials(house.authority.ca_path.read_bytes())
    async with grpc.aio.secure_channel(house.settings.public_address, credentials) as channel:
        yield public_pb2_grpc.PublicServiceStub(channel)


@pytest.mark.postgres
@pytest.mark.nats
async def test_anybody_reads_what_the_county_publishes_and_no_name(
    house: House, script: Script, anybody: "public_pb2_grpc.PublicServiceAsyncStub"
) -> None:
    disclosed = await anybody.ListDisclosures(pb.ListDisclosuresRequest(county_code=COUNTY))
    sheets = await anybody.ListPlainSheets(pb.ListPlainSheetsRequest(county_code=COUNTY))
    running = await anybody.ListRunningNotices(pb.ListRunningNoticesRequest(county_code=COUNTY))
    paid = await anybody.ListPublishedCompensations(
        pb.ListPublishedCompensationsRequest(county_code=COUNTY)
    )

    (programme,) = disclosed.programmes
    assert (programme.programme, len(programme.sections)) == (FOLLOWED, 5)
    assert "建档立卡贫困户" in programme.sections[0].lines_zh[0]
    assert {each.product_id for each in sheets.sheets} >= {"microcredit"}
    found = [
        (each.kind, each.public_until, [line.count for line in each.lines])
        for each in running.notices
    ]
    assert found == [
        (pb.NOTICE_KIND_LOANS, LATER, [1]),
        (pb.NOTICE_KIND_COMPENSATION_CASE, LATER, [1]),
        (pb.NOTICE_KIND_RATINGS, LATER, [2]),
    ]
    (one,) = paid.compensations
    assert (one.loss_fen, one.shares[0].party, one.cause) == (7_000, "county_fund", "disaster")
    for answer in (disclosed, sheets, running, paid):
        assert SECRET not in str(answer)
    # Four questions, and the services were asked once; on our own account, and it is on record.
    assert script.methods().count("GetCoverage") == 1
    assert {(each.institution_id, each.role, each.county_code) for *_, each in script.asked} == {
        (public_model.CALLER, "auditor", COUNTY)
    }
    rows = await house.logged(public_model.CALLER, at_least=len(script.asked))
    assert {row["purpose"] for row in rows} == {public_model.PURPOSE}


@pytest.mark.postgres
@pytest.mark.nats
@pytest.mark.parametrize(
    ("county_code", "code", "reason"),
    [
        ("999999", grpc.StatusCode.NOT_FOUND, "COUNTY_UNKNOWN"),
        ("12", grpc.StatusCode.INVALID_ARGUMENT, "FIELD_RULE_BROKEN"),
    ],
)
async def test_another_county_is_not_there(
    anybody: "public_pb2_grpc.PublicServiceAsyncStub",
    county_code: str,
    code: grpc.StatusCode,
    reason: str,
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await anybody.ListRunningNotices(pb.ListRunningNoticesRequest(county_code=county_code))

    assert (refused.value.code(), status.reason_of(refused.value)) == (code, reason)


@pytest.mark.postgres
@pytest.mark.nats
async def test_institutions_methods_are_not_at_the_public_address(
    house: House, anybody: "public_pb2_grpc.PublicServiceAsyncStub"
) -> None:
    credentials = grpc.ssl_channel_credentials(house.authority.ca_path.read_bytes())
    address = house.settings.public_address
    async with grpc.aio.secure_channel(address, credentials) as channel:
        call: Any = channel.unary_unary("/liandong.gateway.v1.GatewayService/WhoAmI")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(b"")

    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.postgres
@pytest.mark.nats
async def test_where_a_service_refuses_or_answers_nonsense_nobody_learns_what_it_said(
    house: House,
    script: Script,
    anybody: "public_pb2_grpc.PublicServiceAsyncStub",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for bound in ("FRESH_SECONDS", "STALE_SECONDS_MAX"):
        monkeypatch.setattr(public_model, bound, -1.0)
    request = pb.ListRunningNoticesRequest(county_code=COUNTY)
    # The bytes are of no coverage: the service is of another release, or broken.
    said = (Refused("NO_DAY_YET", SECRET), BytesValue(value=b"\xff" * 9))
    reasons = []
    try:
        for each in said:
            script.answer(GetCoverage=each)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await anybody.ListRunningNotices(request)
            assert SECRET not in str(refused.value)
            reasons.append(status.reason_of(refused.value))
    finally:
        script.answer(**the_county())

    assert reasons == ["PUBLIC_MODEL_UNAVAILABLE", "INTERNAL"]
    # What the service said is on record, and when it answers again, so does the door.
    sql = "SELECT count(*) FROM access_log WHERE institution_id = $1 AND outcome = $2"
    kept = (sql, public_model.CALLER, "FAILED_PRECONDITION")
    await eventually(lambda: house.schema.one(*kept), lambda found: found == 1)
    assert (await anybody.ListRunningNotices(request)).notices


@pytest.mark.postgres
@pytest.mark.nats
async def test_a_question_that_is_too_large_is_refused(
    anybody: "public_pb2_grpc.PublicServiceAsyncStub",
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await anybody.ListDisclosures(pb.ListDisclosuresRequest(county_code="1" * 5_000))

    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.postgres
@pytest.mark.nats
async def test_a_flood_from_one_address_is_refused_with_when_to_come_back(
    anybody: "public_pb2_grpc.PublicServiceAsyncStub",
) -> None:
    reasons = set()
    for _ in range(60):
        try:
            await anybody.ListPlainSheets(pb.ListPlainSheetsRequest(county_code=COUNTY))
        except grpc.aio.AioRpcError as refused:
            reasons.add(status.reason_of(refused))

    assert reasons == {"RATE_LIMIT_REACHED"}


async def test_what_was_read_is_shown_for_a_day_while_a_service_is_away(tmp_path: Path) -> None:
    now, away = [0.0], [False]
    a_county(tmp_path, programme=FOLLOWED)
    held = public_model.Published(date(2026, 1, 10), (), False, (), False, recorded_time())

    async def read(_county_code: str) -> public_model.Published:
        if away[0]:
            raise Unavailable("SERVICE_UNAVAILABLE", "away")
        return held

    catalogue = loader.load([tmp_path / "packs"])
    model = public_model.PublicModel(read, catalogue, clock=lambda: now[0])

    assert await model.of(COUNTY) is held
    away[0] = True
    now[0] = public_model.STALE_SECONDS_MAX - 1
    assert await model.of(COUNTY) is held
    now[0] = public_model.STALE_SECONDS_MAX + 1
    with pytest.raises(Unavailable) as refused:
        await model.of(COUNTY)
    assert refused.value.reason == "PUBLIC_MODEL_UNAVAILABLE"
