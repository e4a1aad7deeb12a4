"""The judge: a household that is not one's own is as good as none, in every answer."""

import uuid
from collections.abc import Awaitable
from datetime import date
from uuid import UUID

import asyncpg
import grpc
import pytest
from liandong.credit.v1 import credit_pb2, indicators_pb2, scores_pb2
from liandong.households.v1 import households_pb2, households_pb2_grpc

from gateway import judge, tie_store
from gateway.tie_store import HeldConsent, Tie
from services.kernel import ids, status
from tests.eventually import eventually
from tests.gateway.conftest import House

COUNTY = "123456"
TODAY = date(2018, 3, 5)


def a_stub(house: House, who: str) -> "households_pb2_grpc.HouseholdsServiceAsyncStub":
    return households_pb2_grpc.HouseholdsServiceStub(house.as_institution(who))


async def tied(house: House, kind: str, household_id: UUID, who: str = "bank-1") -> UUID:
    made = ids.new_id()
    async with house.db.transaction() as session:
        await tie_store.tie(session, [Tie(kind, made, who, COUNTY, household_id)])
    return made


async def seen(house: House, household_id: UUID, who: str = "bank-1", *, purpose: str = "") -> str:
    """Empty where the household was shown, else the reason why not."""
    request = households_pb2.GetHouseholdRequest(county_code=COUNTY, household_id=str(household_id))
    metadata = (("liandong-purpose", purpose),) if purpose else ()
    return await reason_of(a_stub(house, who).GetHousehold(request, metadata=metadata))


async def logged(house: House, *household_ids: UUID) -> list[asyncpg.Record]:
    named = {f"household:{each}" for each in household_ids}
    return [row for row in await house.logged("bank-1") if named & set(row["resources"])]


async def reason_of(call: Awaitable[object]) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return status.reason_of(error)
    return ""


@pytest.mark.postgres
@pytest.mark.nats
async def test_a_strangers_household_is_answered_as_one_that_is_missing(house: House) -> None:
    strange, missing = ids.new_id(), uuid.uuid4()
    await tied(house, "debt", missing)

    told = []
    for household_id in (strange, missing):
        request = households_pb2.GetHouseholdRequest(
            county_code=COUNTY, household_id=str(household_id)
        )
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await a_stub(house, "bank-1").GetHousehold(request)
        trailers = dict(refusal.value.trailing_metadata() or ())
        raw = trailers["grpc-status-details-bin"]
        assert isinstance(raw, bytes)
        own = str(household_id).encode()
        told.append((refusal.value.code(), raw.replace(own, b"")))
        assert own in raw
    assert told[0] == told[1]
    assert str(strange) not in house.seen.asked
    assert str(missing) in house.seen.asked
    rows = await eventually(lambda: logged(house, strange, missing), lambda rows: len(rows) == 2)
    assert [(row["decision"], row["reason"]) for row in rows] == [
        ("refused", judge.NO_GROUND),
        ("allowed", ""),
    ]


@pytest.mark.postgres
@pytest.mark.nats
@pytest.mark.parametrize(
    ("who", "kind"), [("bank-1", "application"), ("bank-1", "debt"), ("insurer-1", "cover")]
)
async def test_whoever_has_to_do_with_a_household_sees_it(
    house: House, who: str, kind: str
) -> None:
    household_id = ids.new_id()
    assert await seen(house, household_id, who) == "HOUSEHOLD_NOT_FOUND"

    made = await tied(house, kind, household_id, who)
    assert await seen(house, household_id, who) == ""

    async with house.db.transaction() as session:
        await tie_store.end(session, [kind], [made])
    assert await seen(house, household_id, who) == "HOUSEHOLD_NOT_FOUND"


@pytest.mark.postgres
@pytest.mark.nats
async def test_a_consent_opens_for_its_purpose_and_days_until_it_is_withdrawn(house: House) -> None:
    household_id, consent_id = ids.new_id(), ids.new_id()
    held = HeldConsent(
        consent_id, COUNTY, household_id, "bank-1", "lending", ("identity",), TODAY, TODAY
    )
    async with house.db.transaction() as session:
        await tie_store.note_days(session, [(COUNTY, TODAY)])
        await tie_store.hold(session, [held])

    assert await seen(house, household_id, purpose="lending") == ""
    assert await seen(house, household_id, purpose="collection") == "HOUSEHOLD_NOT_FOUND"
    assert await seen(house, household_id) == "HOUSEHOLD_NOT_FOUND"
    assert await seen(house, household_id, "insurer-1", purpose="lending") == "HOUSEHOLD_NOT_FOUND"

    async with house.db.transaction() as session:
        await tie_store.withdraw(session, [consent_id])
    assert await seen(house, household_id, purpose="lending") == "HOUSEHOLD_NOT_FOUND"


@pytest.mark.postgres
@pytest.mark.nats
async def test_what_was_known_of_a_merged_record_is_known_of_its_survivor(house: House) -> None:
    alias, survivor = ids.new_id(), ids.new_id()
    await tied(house, "debt", alias)
    assert await seen(house, survivor) == "HOUSEHOLD_NOT_FOUND"

    async with house.db.transaction() as session:
        await tie_store.merge(session, [(alias, survivor)])
    assert await seen(house, survivor) == ""

    async with house.db.transaction() as session:
        await tie_store.unmerge(session, [alias])
    assert await seen(house, survivor) == "HOUSEHOLD_NOT_FOUND"


@pytest.mark.postgres
@pytest.mark.nats
async def test_a_list_lacks_what_is_not_the_callers_and_an_organs_does_not(house: House) -> None:
    own, strange = ids.new_id(), ids.new_id()
    await tied(house, "debt", own)
    request = households_pb2.ListHouseholdsRequest(
        county_code=COUNTY, page_token=f"{strange} {own}"
    )

    bank = await a_stub(house, "bank-1").ListHouseholds(request)
    centre = await a_stub(house, "centre-1").ListHouseholds(request)

    assert [each.household_id for each in bank.households] == [str(own)]
    assert [each.household_id for each in centre.households] == [str(strange), str(own)]


@pytest.mark.postgres
@pytest.mark.nats
async def test_a_purpose_that_is_none_is_refused(house: House) -> None:
    assert await seen(house, ids.new_id(), purpose="curiosity") == "UNKNOWN_PURPOSE"


def test_guarded_fields_go_where_nothing_opens_their_category() -> None:
    def a_file() -> credit_pb2.GetCreditFileResponse:
        return credit_pb2.GetCreditFileResponse(
            file=credit_pb2.CreditFile(household_id="h", grade="A", working="because"),
            indicators=[indicators_pb2.IndicatorState()],
        )

    shape = judge.shape_of(credit_pb2.GetCreditFileResponse.DESCRIPTOR)
    shut, opened = a_file(), a_file()

    assert judge.mask(shut, shape, lambda _: True, lambda _, __: False, "h")
    assert judge.mask(opened, shape, lambda _: True, lambda _, __: True, "h")

    assert (shut.file.grade, shut.file.working, len(shut.indicators)) == ("A", "", 0)
    assert opened == a_file()


def test_what_is_of_other_households_goes_at_every_depth() -> None:
    shape = judge.shape_of(scores_pb2.ListRatingsResponse.DESCRIPTOR)
    ratings = scores_pb2.ListRatingsResponse(
        ratings=[scores_pb2.Rating(household_id=each) for each in ("a", "b", "a")]
    )

    assert judge.mask(ratings, shape, lambda own: own == "b", lambda _, __: True, "")

    assert [each.household_id for each in ratings.ratings] == ["b"]
