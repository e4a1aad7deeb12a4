"""The registry through its door: areas, households, files, and who sees what."""

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from google.type.date_pb2 import Date
from liandong.common.v1 import operator_pb2, operator_pb2_grpc
from liandong.households.v1 import events_pb2
from liandong.households.v1 import households_pb2 as pb

from deploy.demo import generator
from services.kernel import caller, ids
from services.kernel.status import reason_of
from tests.households.builders import (
    COUNTY,
    SCALE,
    SEED,
    TODAY,
    VILLAGE,
    a_chunk,
    a_family,
    a_line,
    an_identity,
    chunks,
    demo_areas,
    file_lines,
    to_proto,
)
from tests.households.conftest import Door, Registry, institution

pytestmark = pytest.mark.postgres

POVERTY_OFFICE = institution("poverty_office")
BANK = institution("bank")
VILLAGE_AREAS = (
    pb.Area(area_code=COUNTY, name="某县", level=pb.AREA_LEVEL_COUNTY),
    pb.Area(area_code=COUNTY + "101", name="某镇", level=pb.AREA_LEVEL_TOWNSHIP),
    pb.Area(area_code=VILLAGE, name="某村", level=pb.AREA_LEVEL_VILLAGE),
)
LEVELS = {
    "county": pb.AREA_LEVEL_COUNTY,
    "township": pb.AREA_LEVEL_TOWNSHIP,
    "village": pb.AREA_LEVEL_VILLAGE,
}


def areas_request(areas: Sequence[pb.Area]) -> pb.RegisterAreasRequest:
    return pb.RegisterAreasRequest(request_id=str(ids.new_id()), county_code=COUNTY, areas=areas)


def household_request(**fields: Any) -> pb.RegisterHouseholdRequest:
    right: dict[str, Any] = {
        "request_id": str(ids.new_id()),
        "county_code": COUNTY,
        "household_number": "H-1",
        "area_code": VILLAGE,
        "status": pb.REGISTRATION_STATUS_REGISTERED_POOR,
        "honour": "honest",
        "members": [
            pb.Member(
                name="欧阳建国",
                identity_number=an_identity(901),
                relation="户主",
                phone="15412345678",
                labour="普通劳动力",
            ),
            pb.Member(name="王芳", identity_number=an_identity(902), relation="配偶"),
        ],
    }
    return pb.RegisterHouseholdRequest(**right | fields)


async def refusal(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def register_demo_areas(door: Door) -> None:
    areas = [
        pb.Area(area_code=a.area_code, name=a.name, level=LEVELS[a.level]) for a in demo_areas()
    ]
    answer = await door.call("RegisterAreas", areas_request(areas), who=POVERTY_OFFICE)
    assert answer.created == len(areas)


# --- areas --------------------------------------------------------------------------------------


async def test_areas_are_entered_renamed_and_listed(door: Door) -> None:
    first = await door.call("RegisterAreas", areas_request(VILLAGE_AREAS), who=POVERTY_OFFICE)
    renamed = pb.Area(area_code=VILLAGE, name="新村", level=pb.AREA_LEVEL_VILLAGE)
    second = await door.call("RegisterAreas", areas_request([renamed]), who=POVERTY_OFFICE)

    assert (first.created, first.known) == (3, 0)
    assert (second.created, second.known) == (0, 1)
    listed: list[str] = []
    token = ""
    while True:
        page = await door.call(
            "ListAreas",
            pb.ListAreasRequest(county_code=COUNTY, page_size=2, page_token=token),
            who=BANK,
        )
        listed += [area.name for area in page.areas]
        token = page.next_page_token
        if not token:
            break
    assert listed == ["某县", "某镇", "新村"]
    within = pb.ListAreasRequest(county_code=COUNTY, within=COUNTY + "101")
    assert len((await door.call("ListAreas", within, who=BANK)).areas) == 2


async def test_an_area_without_its_parent_is_refused(door: Door, registry: Registry) -> None:
    error = await refusal(
        door.call("RegisterAreas", areas_request(VILLAGE_AREAS[1:]), who=POVERTY_OFFICE)
    )

    assert (error.code(), reason_of(error)) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "AREA_PARENT_UNKNOWN",
    )
    assert COUNTY in (error.details() or "")
    assert await registry.count("area") == 0


async def test_a_lender_enters_nothing_and_a_stranger_reads_nothing(door: Door) -> None:
    lender = await refusal(door.call("RegisterAreas", areas_request(VILLAGE_AREAS), who=BANK))
    stranger = await refusal(
        door.call(
            "RegisterAreas",
            areas_request(VILLAGE_AREAS),
            who=institution("poverty_office", county="411281"),
        )
    )

    assert reason_of(lender) == "ROLE_NOT_ALLOWED"
    assert reason_of(stranger) == "AREA_NOT_YOURS"


# --- one household --------------------------------------------------------------------------------


async def test_a_household_is_registered_once_with_its_event(
    door: Door, registry: Registry
) -> None:
    await door.call("RegisterAreas", areas_request(VILLAGE_AREAS), who=POVERTY_OFFICE)
    request = household_request()

    first = await door.call("RegisterHousehold", request, who=POVERTY_OFFICE)
    again = await door.call("RegisterHousehold", request, who=POVERTY_OFFICE)

    assert first.household_id == again.household_id
    ((kind, aggregate, aggregate_id, sequence, day, payload),) = await registry.ask(
        """SELECT event_type, aggregate_type, aggregate_id, sequence, business_date, payload
           FROM outbox"""
    )
    assert kind == "liandong.households.v1.household_registered"
    assert (aggregate, aggregate_id) == ("households.household", first.household_id)
    assert (sequence, day) == (1, TODAY)
    event = events_pb2.HouseholdRegistered.FromString(payload)
    assert event == events_pb2.HouseholdRegistered(
        household_id=first.household_id,
        household_number="H-1",
        area_code=VILLAGE,
        status="registered_poor",
        member_count=2,
        honour="honest",
    )


async def test_who_may_see_a_name_sees_it_and_a_lender_sees_a_mask(
    door: Door, registry: Registry
) -> None:
    await door.call("RegisterAreas", areas_request(VILLAGE_AREAS), who=POVERTY_OFFICE)
    made = await door.call("RegisterHousehold", household_request(), who=POVERTY_OFFICE)
    request = pb.GetHouseholdRequest(county_code=COUNTY, household_id=made.household_id)

    for role in ("poverty_office", "county_centre", "village_department", "township_station"):
        seen = (await door.call("GetHousehold", request, who=institution(role))).household
        assert [m.name for m in seen.members] == ["欧阳建国", "王芳"]
        assert seen.members[0].identity_number == an_identity(901)
        assert seen.members[0].phone == "15412345678"
    for role in ("bank", "insurer", "guarantor", "operator", "auditor", "finance_bureau"):
        seen = (await door.call("GetHousehold", request, who=institution(role))).household
        assert [m.name for m in seen.members] == ["欧***", "王*"]
        assert {m.identity_number for m in seen.members} == {"4112" + "*" * 14}
        assert seen.members[0].phone == "154********"
        assert [m.relation for m in seen.members] == ["户主", "配偶"]
        assert seen.members[0].labour == "普通劳动力"
    assert (seen.status, seen.honour) == (pb.REGISTRATION_STATUS_REGISTERED_POOR, "honest")


async def test_nothing_personal_can_be_read_in_the_database(door: Door, registry: Registry) -> None:
    await door.call("RegisterAreas", areas_request(VILLAGE_AREAS), who=POVERTY_OFFICE)
    await door.call("RegisterHousehold", household_request(), who=POVERTY_OFFICE)

    stored = ""
    for (table,) in await registry.ask(
        """SELECT quote_ident(relname) FROM pg_class WHERE relkind IN ('r', 'p')
           AND relnamespace = 'households'::regnamespace"""
    ):
        for row in await registry.ask(f"SELECT to_jsonb(t)::text FROM {table} AS t"):
            stored += row[0]

    assert "H-1" in stored
    for secret in ("欧阳建国", "王芳", an_identity(901), an_identity(902), "15412345678"):
        assert secret not in stored
        assert secret.encode().hex() not in stored


async def test_a_foreign_household_and_a_missing_one_look_alike(door: Door) -> None:
    await door.call("RegisterAreas", areas_request(VILLAGE_AREAS), who=POVERTY_OFFICE)
    made = await door.call("RegisterHousehold", household_request(), who=POVERTY_OFFICE)
    elsewhere = institution("village_department", COUNTY + "102")
    missing_id = str(ids.new_id())

    foreign = await refusal(
        door.call(
            "GetHousehold",
            pb.GetHouseholdRequest(county_code=COUNTY, household_id=made.household_id),
            who=elsewhere,
        )
    )
    missing = await refusal(
        door.call(
            "GetHousehold",
            pb.GetHouseholdRequest(county_code=COUNTY, household_id=missing_id),
            who=elsewhere,
        )
    )

    assert foreign.code() == missing.code() == grpc.StatusCode.NOT_FOUND
    assert (foreign.details() or "").replace(made.household_id, missing_id) == missing.details()


async def test_a_wrong_household_is_refused_as_a_whole(door: Door, registry: Registry) -> None:
    await door.call("RegisterAreas", areas_request(VILLAGE_AREAS), who=POVERTY_OFFICE)
    members = list(household_request().members)
    members[1].identity_number = an_identity(902)[:17] + "?"
    request = household_request(members=members, area_code=VILLAGE)

    error = await refusal(door.call("RegisterHousehold", request, who=POVERTY_OFFICE))

    assert (error.code(), reason_of(error)) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "IDENTITY_MALFORMED",
    )
    assert "members[1].identity_number" in (error.details() or "")
    assert an_identity(902)[:17] not in repr(error)
    assert await registry.count("household") == await registry.count("person") == 0


@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [
        ({}, grpc.StatusCode.ALREADY_EXISTS, "HOUSEHOLD_EXISTS"),
        ({"household_number": "H-2"}, grpc.StatusCode.FAILED_PRECONDITION, "MEMBER_ELSEWHERE"),
        (
            {"household_number": "H-2", "area_code": COUNTY + "101999"},
            grpc.StatusCode.INVALID_ARGUMENT,
            "VILLAGE_UNKNOWN",
        ),
        (
            {"household_number": "H-2", "status": pb.REGISTRATION_STATUS_DELISTED},
            grpc.StatusCode.INVALID_ARGUMENT,
            "STATUS_UNKNOWN",
        ),
        (
            {"household_number": "H-2", "county_code": "4112"},
            grpc.StatusCode.INVALID_ARGUMENT,
            "FIELD_RULE_BROKEN",
        ),
    ],
)
async def test_a_household_that_cannot_be_registered_says_why(
    door: Door, fields: dict[str, Any], code: grpc.StatusCode, reason: str
) -> None:
    await door.call("RegisterAreas", areas_request(VILLAGE_AREAS), who=POVERTY_OFFICE)
    await door.call("RegisterHousehold", household_request(), who=POVERTY_OFFICE)

    error = await refusal(
        door.call("RegisterHousehold", household_request(**fields), who=POVERTY_OFFICE)
    )

    assert (error.code(), reason_of(error)) == (code, reason)


async def test_one_person_claimed_twice_at_once_lands_once(door: Door, registry: Registry) -> None:
    await door.call("RegisterAreas", areas_request(VILLAGE_AREAS), who=POVERTY_OFFICE)
    requests = [household_request(household_number=f"H-{number}") for number in range(8)]

    answers = await asyncio.gather(
        *(door.call("RegisterHousehold", request, who=POVERTY_OFFICE) for request in requests),
        return_exceptions=True,
    )

    errors = [each for each in answers if isinstance(each, grpc.aio.AioRpcError)]
    assert len(errors) == 7
    assert {reason_of(error) for error in errors} == {"MEMBER_ELSEWHERE"}
    assert await registry.count("household") == await registry.count("outbox") == 1
    assert await registry.count("person") == await registry.count("member") == 2


async def test_nothing_is_registered_before_the_county_opens(
    door: Door, registry: Registry
) -> None:
    await registry.ask("DELETE FROM business_day")
    await door.call("RegisterAreas", areas_request(VILLAGE_AREAS), who=POVERTY_OFFICE)

    alone = await refusal(door.call("RegisterHousehold", household_request(), who=POVERTY_OFFICE))
    file = await refusal(door.send_file([a_chunk([to_proto(a_line())])], who=POVERTY_OFFICE))

    for error in (alone, file):
        assert (error.code(), reason_of(error)) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "COUNTY_NOT_OPEN",
        )


# --- files ----------------------------------------------------------------------------------------


def refused_lines(answers: Sequence[pb.ImportHouseholdsResponse]) -> list[tuple[int, str]]:
    return [(line.line_number, line.column) for answer in answers for line in answer.refused]


def expected_refusals() -> list[tuple[int, str]]:
    return [(each.line, each.column) for each in generator.refusals(SEED, SCALE)]


async def test_a_county_s_file_lands_and_exactly_its_mess_comes_back(
    door: Door, registry: Registry
) -> None:
    await register_demo_areas(door)
    requests = chunks(file_lines(), size=120)
    assert len(requests) > 5

    answers = await door.send_file(requests, who=POVERTY_OFFICE)

    expected = generator.expected(SEED, SCALE)
    assert sorted(refused_lines(answers)) == expected_refusals()
    numbers = [h.household_number for answer in answers for h in answer.households]
    assert numbers == list(generator.household_numbers(SEED, SCALE))
    assert sum(answer.people for answer in answers) == expected.people
    assert await registry.count("household") == await registry.count("outbox") == len(numbers)
    assert await registry.count("person") == await registry.count("member") == expected.people
    for line in (line for answer in answers for line in answer.refused):
        assert line.reason
        assert line.message
        assert line.message_zh
    personal = {
        row.get("identity_number", "") for row in generator.generate_households(SEED, SCALE)
    }
    assert not {line.value for answer in answers for line in answer.refused} & (personal - {""})


async def test_a_repeated_file_gives_the_same_answers_and_changes_nothing(
    door: Door, registry: Registry
) -> None:
    await register_demo_areas(door)
    requests = chunks(file_lines(), size=200)
    first = await door.send_file(requests, who=POVERTY_OFFICE)
    before = await registry.count("outbox")

    again = await door.send_file(requests, who=POVERTY_OFFICE)

    assert again == first
    assert await registry.count("outbox") == before


async def test_a_file_that_was_cut_goes_on_where_it_stopped(door: Door, registry: Registry) -> None:
    await register_demo_areas(door)
    requests = chunks(file_lines(), size=200)
    cut = await door.send_file(requests[:3], who=POVERTY_OFFICE)

    whole = await door.send_file(requests, who=POVERTY_OFFICE)

    assert whole[:3] == cut
    assert sorted(refused_lines(whole)) == expected_refusals()
    assert await registry.count("person") == generator.expected(SEED, SCALE).people


async def test_the_same_file_under_other_ids_registers_nobody_twice(
    door: Door, registry: Registry
) -> None:
    await register_demo_areas(door)
    requests = chunks(file_lines(), size=500)
    await door.send_file(requests, who=POVERTY_OFFICE)
    other = [
        pb.ImportHouseholdsRequest(
            request_id=str(ids.new_id()), county_code=COUNTY, lines=request.lines
        )
        for request in requests
    ]

    answers = await door.send_file(other, who=POVERTY_OFFICE)

    assert not any(answer.households for answer in answers)
    reasons = {line.reason for answer in answers for line in answer.refused}
    assert "HOUSEHOLD_EXISTS" in reasons
    assert await registry.count("person") == generator.expected(SEED, SCALE).people


async def test_a_chunk_with_the_id_of_another_is_refused(door: Door) -> None:
    await door.call("RegisterAreas", areas_request(VILLAGE_AREAS), who=POVERTY_OFFICE)
    await door.send_file([a_chunk([to_proto(a_line())])], who=POVERTY_OFFICE)

    error = await refusal(
        door.send_file([a_chunk([to_proto(a_line(name="王强"))])], who=POVERTY_OFFICE)
    )

    assert reason_of(error) == "REQUEST_ID_REUSED"


async def test_a_dry_run_says_the_same_and_writes_nothing(door: Door, registry: Registry) -> None:
    await register_demo_areas(door)

    tried = await door.send_file(chunks(file_lines(), size=120, dry_run=True), who=POVERTY_OFFICE)

    for table in ("household", "person", "member", "outbox"):
        assert await registry.count(table) == 0
    assert await registry.ask("SELECT method FROM idempotency WHERE method ~ 'Import'") == []
    assert sorted(refused_lines(tried)) == expected_refusals()
    done = await door.send_file(chunks(file_lines(), size=120), who=POVERTY_OFFICE)
    assert [answer.refused for answer in tried] == [answer.refused for answer in done]
    assert [answer.people for answer in tried] == [answer.people for answer in done]
    assert {h.household_id for answer in tried for h in answer.households} == {""}


async def test_a_township_imports_only_its_own_villages(door: Door) -> None:
    await register_demo_areas(door)
    township = demo_areas()[1].area_code

    answers = await door.send_file(
        chunks(file_lines(), size=500), who=institution("township_station", township)
    )

    landed = [h.household_number for answer in answers for h in answer.households]
    assert landed
    assert all(number.startswith(township) for number in landed)
    refused = [line for answer in answers for line in answer.refused]
    assert "AREA_NOT_YOURS" in {line.reason for line in refused}


async def test_a_lender_imports_nothing(door: Door, registry: Registry) -> None:
    error = await refusal(door.send_file([a_chunk([to_proto(a_line())])], who=BANK))

    assert reason_of(error) == "ROLE_NOT_ALLOWED"
    assert await registry.count("idempotency") == 0


async def test_two_chunks_that_claim_the_same_people_at_once_agree(
    door: Door, registry: Registry
) -> None:
    await door.call("RegisterAreas", areas_request(VILLAGE_AREAS), who=POVERTY_OFFICE)
    one = a_chunk([to_proto(line) for line in a_family(20, number="A")], 1)
    two = a_chunk([to_proto(line) for line in a_family(20, number="B")], 2)

    answers = await asyncio.gather(
        *(door.send_file([request], who=POVERTY_OFFICE) for request in (one, two, one))
    )

    assert answers[0] == answers[2]
    landed = {h.household_number for answer in answers for h in answer[0].households}
    assert len(landed) == 1
    assert await registry.count("person") == 20


# --- lists and totals -----------------------------------------------------------------------------


async def test_households_are_listed_in_pages_as_far_as_the_caller_sees(door: Door) -> None:
    await register_demo_areas(door)
    await door.send_file(chunks(file_lines(), size=500), who=POVERTY_OFFICE)
    township = demo_areas()[1].area_code

    async def walk(who: Any, within: str = "") -> list[pb.Household]:
        found: list[pb.Household] = []
        token = ""
        while True:
            request = pb.ListHouseholdsRequest(
                county_code=COUNTY, within=within, page_size=37, page_token=token
            )
            page = await door.call("ListHouseholds", request, who=who)
            found += page.households
            token = page.next_page_token
            if not token:
                return found

    everyone = await walk(BANK)
    part = await walk(institution("township_station", township))
    village = await walk(POVERTY_OFFICE, part[0].area_code)

    numbers = list(generator.household_numbers(SEED, SCALE))
    assert sorted(h.household_number for h in everyone) == sorted(numbers)
    assert [h.household_id for h in everyone] == sorted(h.household_id for h in everyone)
    own = [number for number in numbers if number.startswith(township)]
    assert sorted(h.household_number for h in part) == sorted(own)
    assert {h.area_code for h in village} == {part[0].area_code}
    assert not any(h.members for h in everyone)
    outside = pb.ListHouseholdsRequest(county_code=COUNTY, within=COUNTY + "999")
    error = await refusal(
        door.call("ListHouseholds", outside, who=institution("township_station", township))
    )
    assert reason_of(error) == "AREA_NOT_YOURS"


async def test_the_operator_sees_the_totals_and_advances_the_day(
    door: Door, registry: Registry
) -> None:
    await register_demo_areas(door)
    await door.send_file(chunks(file_lines(), size=500), who=POVERTY_OFFICE)
    operator = institution("operator", county="000000")
    stub = operator_pb2_grpc.OperatorServiceStub(door.channel)

    async def call(method: str, request: Any) -> Any:
        path = f"/liandong.common.v1.OperatorService/{method}"
        signed = door.signer.sign(operator(path, caller.body_hash(request.SerializeToString())))
        return await getattr(stub, method)(request, metadata=((caller.METADATA_KEY, signed),))

    closed = await call(
        "AdvanceDay",
        operator_pb2.AdvanceDayRequest(
            request_id=str(ids.new_id()),
            county_code=COUNTY,
            business_date=Date(year=2018, month=1, day=4),
        ),
    )
    answer = await call("GetTotals", operator_pb2.GetTotalsRequest(county_code=COUNTY))

    expected = generator.expected(SEED, SCALE)
    totals = {total.name: total.value for total in answer.totals}
    assert totals["households.households_count"] == expected.households
    assert totals["households.people_count"] == expected.people
    assert answer.unpublished_events == expected.households
    assert closed.days_closed == 3


async def test_a_full_chunk_lands_in_one_transaction(door: Door, registry: Registry) -> None:
    await door.call("RegisterAreas", areas_request(VILLAGE_AREAS), who=POVERTY_OFFICE)
    lines = [
        to_proto(
            a_line(2 + i, household_number=f"H{i}", identity_number=an_identity(i % 1000, born))
        )
        for i, born in ((i, f"19{70 + i // 1000}0101") for i in range(2_000))
    ]

    (answer,) = await door.send_file([a_chunk(lines)], who=POVERTY_OFFICE)

    assert (len(answer.households), list(answer.refused)) == (2_000, [])
    assert await registry.count("person") == 2_000
