"""Household files through the door: updates of what exists, dry runs of them, and the way out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import grpc
import pytest
from liandong.households.v1 import households_pb2 as pb
from liandong.households.v1 import standing_pb2

from services.kernel import ids
from services.kernel.status import reason_of
from tests.households.builders import (
    COUNTY,
    TODAY,
    a_line,
    an_identity,
    chunks,
    demo_areas,
    file_lines,
    to_proto,
)
from tests.households.conftest import Door, Registry, institution
from tests.households.test_servicer import register_demo_areas
from tests.households.village import (
    BANK,
    CENTRE,
    GRANDSON,
    HEAD,
    OFFICE,
    SON,
    SPOUSE,
    day,
    paper,
    seen,
    settle,
)

pytestmark = pytest.mark.postgres

NEWBORN = an_identity(907, "20170101")
STRANGER = an_identity(909, "19900101")


def a_wish(line: int, number: str, **columns: str) -> pb.HouseholdLine:
    """A line of an update: the household, the person, and what is stated."""
    return pb.HouseholdLine(
        line_number=line, household_number="H-1", identity_number=number, **columns
    )


async def update(
    door: Door, *lines: pb.HouseholdLine, who: Any = OFFICE, dry_run: bool = False
) -> pb.ImportHouseholdsResponse:
    request = pb.ImportHouseholdsRequest(
        request_id=str(ids.new_id()),
        county_code=COUNTY,
        lines=lines,
        update=True,
        dry_run=dry_run,
    )
    (answer,) = await door.send_file([request], who=who)
    return answer


def refused(answer: pb.ImportHouseholdsResponse) -> list[tuple[int, str, str]]:
    return [(line.line_number, line.column, line.reason) for line in answer.refused]


async def stored(registry: Registry) -> list[Any]:
    """Everything that the registry keeps of households and people."""
    tables = ("household", "household_past", "member", "member_past", "person", "person_past")
    return [
        await registry.ask(f"SELECT to_jsonb(t)::text FROM {table} AS t ORDER BY 1")
        for table in (*tables, "status_change", "duplicate", "outbox", "idempotency")
    ]


# --- what a file changes --------------------------------------------------------------------------


async def test_a_phone_a_name_and_labour_are_brought_up_to_date_and_the_rest_stays(
    door: Door, registry: Registry
) -> None:
    household = await settle(door)
    before = await registry.count("outbox")

    answer = await update(
        door,
        a_wish(2, HEAD, phone="15499999999"),
        a_wish(3, SPOUSE, name="李芬", labour="技能劳动力"),
        a_wish(4, SON, relation="子"),
    )

    assert (list(answer.changed_lines), refused(answer)) == ([2, 3], [])
    assert [each.household_id for each in answer.changed] == [household.household_id]
    now = await seen(door, household.household_id)
    assert [m.name for m in now.members] == ["王建国", "李芬", "王小明"]
    assert [m.phone for m in now.members] == ["15499999999", "", ""]
    assert [m.labour for m in now.members] == ["普通劳动力", "技能劳动力", ""]
    # Nothing that others hear of is different.
    assert (now.version, await registry.count("outbox")) == (1, before)
    assert await registry.count("person_past") == 2


async def test_of_two_claims_to_a_person_in_one_chunk_the_first_says_who_it_is(door: Door) -> None:
    await register_demo_areas(door)
    person = an_identity(901, "19800101")
    first = a_line(2, household_number="H-8", name="王芳", identity_number=person)
    second = a_line(3, household_number="H-9", name="李芬", identity_number=person, phone="")

    answer = await update(door, to_proto(first), to_proto(second))

    assert refused(answer) == [(3, "identity_number", "MEMBER_ELSEWHERE")]
    (founded,) = answer.households
    (member,) = (await seen(door, founded.household_id)).members
    assert (member.name, member.phone) == ("王芳", first.phone)


async def test_people_of_one_name_and_birth_date_are_paired_within_a_chunk_and_across(
    door: Door, registry: Registry
) -> None:
    await register_demo_areas(door)
    lines = [
        a_line(at, household_number=f"H-{at}", identity_number=an_identity(900 + at))
        for at in (2, 3, 4)
    ]
    lines.append(a_line(5, household_number="H-5", name="李四", identity_number=an_identity(905)))

    await update(door, *map(to_proto, lines[:2]))
    await update(door, *map(to_proto, lines[2:]))

    pairs = await registry.ask(
        """SELECT h.household_number AS one, o.household_number AS other
           FROM duplicate AS d
           JOIN member AS m USING (county_code, person_id)
           JOIN household AS h USING (county_code, household_id)
           JOIN member AS n ON n.county_code = d.county_code AND n.person_id = d.other_id
           JOIN household AS o ON o.county_code = d.county_code AND o.household_id = n.household_id
           ORDER BY 1, 2"""
    )
    assert [tuple(row) for row in pairs] == [("H-3", "H-2"), ("H-4", "H-2"), ("H-4", "H-3")]


async def test_the_same_file_again_under_another_id_changes_nothing(
    door: Door, registry: Registry
) -> None:
    await settle(door)
    lines = (
        a_wish(2, HEAD, phone="15499999999", honour="诚信户"),
        a_wish(3, SON, left_on="2018-01-01", leave_reason="婚出"),
        a_wish(4, NEWBORN, name="王小宝", relation="孙子"),
    )
    first = await update(door, *lines)
    kept = (await stored(registry))[:-1]

    again = await update(door, *lines)

    assert list(first.changed_lines) == [2, 3, 4]
    assert (list(again.changed), list(again.changed_lines), refused(again)) == ([], [], [])
    assert (await stored(registry))[:-1] == kept


async def test_members_join_leave_and_another_becomes_the_head(
    door: Door, registry: Registry
) -> None:
    household = await settle(door)

    answer = await update(
        door,
        a_wish(2, SPOUSE, relation="户主"),
        a_wish(3, HEAD, left_on="2018-01-01", leave_reason="死亡"),
        a_wish(4, NEWBORN, name="王小宝", relation="孙子", registered_on="2017-02-01"),
    )

    assert refused(answer) == []
    now = await seen(door, household.household_id)
    assert [(m.name, m.relation) for m in now.members] == [
        ("李芳", "户主"),
        ("王小明", "子"),
        ("王小宝", "孙子"),
    ]
    assert now.version == 2
    assert await registry.ask(
        "SELECT ended_on::text, end_reason, ended_evidence IS NOT NULL FROM member_past ORDER BY 2"
    ) == [("2018-01-01", "died", True), ("2018-01-01", "reseated", True)]
    assert await registry.ask("SELECT count(*) FROM person WHERE died_on = '2018-01-01'") == [(1,)]
    assert await registry.said("household_changed") == [(household.household_id, 2)]
    again = await update(door, a_wish(2, HEAD, name="王建国", relation="父"))
    assert refused(again) == [(2, "identity_number", "PERSON_DIED")]


async def test_who_leaves_one_household_may_found_or_join_another_in_the_same_file(
    door: Door, registry: Registry
) -> None:
    first = await settle(door)
    second = await settle(
        door, "H-2", [pb.Member(name="赵强", identity_number=STRANGER, relation="户主")]
    )
    spouse = a_line(
        9,
        household_number="H-3",
        relation="户主",
        identity_number=SPOUSE,
        name="李芳",
        phone="",
    )

    joining = pb.HouseholdLine(
        line_number=2,
        household_number="H-2",
        identity_number=SON,
        name="王小明",
        relation="父",
    )
    wrong = await update(door, joining)
    right = await update(
        door,
        a_wish(3, SON, left_on="2018-01-01", leave_reason="迁出"),
        a_wish(4, SPOUSE, left_on="2018-01-01", leave_reason="迁出"),
        to_proto(spouse),
    )

    assert refused(wrong) == [(2, "identity_number", "MEMBER_ELSEWHERE")]
    assert refused(right) == []
    assert len((await seen(door, first.household_id)).members) == 1
    (made,) = right.households
    assert [m.name for m in (await seen(door, made.household_id)).members] == ["李芳"]
    assert len((await seen(door, second.household_id)).members) == 1
    # Nobody is two people for it.
    assert await registry.count("person") == 4


# --- who may say what -----------------------------------------------------------------------------


async def test_only_the_poverty_office_changes_a_status_by_file(
    door: Door, registry: Registry
) -> None:
    household = await settle(door)
    line = a_wish(2, HEAD, registration_status="脱贫户")

    centre = await update(door, line, who=CENTRE)
    office = await update(door, line, who=OFFICE)

    assert refused(centre) == [(2, "registration_status", "STATUS_NOT_YOURS")]
    assert refused(office) == []
    history = await door.call(
        "ListStatusHistory",
        standing_pb2.ListStatusHistoryRequest(
            county_code=COUNTY, household_id=household.household_id
        ),
        who=OFFICE,
    )
    assert [change.reason for change in history.changes] == ["", "household_file"]
    assert history.changes[1].provenance.source_id == "poverty_office-1"
    assert history.changes[1].provenance.evidence.reference.startswith("import:")


async def test_a_household_delisted_by_file_says_so_after_what_else_changed(
    door: Door, registry: Registry
) -> None:
    household = await settle(door)

    await update(door, a_wish(2, HEAD, registration_status="清退户", honour="诚信户"))

    assert await registry.said("household_changed") == [(household.household_id, 2)]
    assert await registry.said("household_delisted") == [(household.household_id, 3)]
    assert (await seen(door, household.household_id)).version == 3
    back = await update(door, a_wish(2, HEAD, registration_status="脱贫户"))
    assert refused(back) == [(2, "registration_status", "STATUS_STEP_FORBIDDEN")]


async def test_a_station_changes_nothing_outside_its_area(door: Door) -> None:
    await settle(door)
    elsewhere = institution("township_station", COUNTY + "102")

    answer = await update(door, a_wish(2, HEAD, phone="15499999999"), who=elsewhere)

    assert refused(answer) == [(2, "village_code", "AREA_NOT_YOURS")]


async def test_an_update_names_the_person_who_makes_it(door: Door) -> None:
    await settle(door)

    def nobody(method: str, body_hash: str) -> Any:
        return replace(OFFICE(method, body_hash), person_id="")

    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await update(door, a_wish(2, HEAD, phone="15499999999"), who=nobody)

    assert reason_of(refusal.value) == "PERSON_NEEDED"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([(STRANGER, {"left_on": "2018-01-01", "leave_reason": "迁出"})], "NOT_A_MEMBER"),
        ([(SON, {"left_on": "2015-01-01", "leave_reason": "迁出"})], "DATE_TOO_EARLY"),
        ([(SON, {"left_on": "2018-01-02", "leave_reason": "迁出"})], "DATE_IN_FUTURE"),
        ([(SON, {"left_on": "2018-01-01"})], "LEAVE_REASON_UNKNOWN"),
        ([(SON, {"leave_reason": "迁出"})], "DATE_MALFORMED"),
        ([(SON, {"registered_on": "2017-05-05"})], "DATE_DIFFERS"),
        ([(HEAD, {"left_on": "2018-01-01", "leave_reason": "迁出"})], "HEAD_MISSING"),
        ([(SON, {"relation": "户主"})], "SECOND_HEAD"),
        ([(SON, {"relation": "父"})], "FAMILY_IMPOSSIBLE"),
        ([(STRANGER, {"relation": "女"})], "NAME_MISSING"),
        ([(STRANGER, {"name": "赵强"})], "RELATION_UNKNOWN"),
        ([(SON, {"village_code": COUNTY + "101999"})], "VILLAGE_UNKNOWN"),
        ([(SON, {"honour": "好户"})], "HONOUR_UNKNOWN"),
        ([(SON, {"phone": "x"})], "PHONE_MALFORMED"),
        ([("123", {})], "IDENTITY_MALFORMED"),
        (
            [
                (HEAD, {"left_on": "2018-01-01", "leave_reason": "死亡"}),
                (SPOUSE, {"left_on": "2018-01-01", "leave_reason": "迁出"}),
                (SON, {"left_on": "2018-01-01", "leave_reason": "死亡"}),
            ],
            "LAST_MEMBER",
        ),
    ],
)
async def test_a_line_that_cannot_be_is_refused_with_its_rule_and_changes_nothing(
    door: Door, registry: Registry, lines: list[tuple[str, dict[str, str]]], expected: str
) -> None:
    await settle(door)
    registered = await registry.ask("UPDATE member SET registered_on = '2016-01-01' RETURNING 1")
    assert registered
    before = (await stored(registry))[:-1]

    answer = await update(
        door, *(a_wish(2 + at, number, **said) for at, (number, said) in enumerate(lines))
    )

    assert expected in {line.reason for line in answer.refused}
    assert all(line.message and line.message_zh for line in answer.refused)
    if len(lines) == 1:
        assert (await stored(registry))[:-1] == before


async def test_a_wrong_line_does_not_sink_the_others(door: Door) -> None:
    household = await settle(door)

    answer = await update(
        door,
        a_wish(2, HEAD, phone="15499999999"),
        a_wish(3, SON, relation="父", phone="15488888888"),
        a_wish(4, HEAD, phone="15400000000"),
        a_wish(5, GRANDSON, name="王小虎", relation="孙子"),
    )

    assert refused(answer) == [
        (3, "relation", "FAMILY_IMPOSSIBLE"),
        (4, "identity_number", "DUPLICATE_LINE"),
    ]
    assert list(answer.changed_lines) == [2, 5]
    now = await seen(door, household.household_id)
    assert [m.phone for m in now.members] == ["15499999999", "", "", ""]


# --- dry runs, policies ---------------------------------------------------------------------------


def mixed(*, dry_run: bool) -> list[pb.ImportHouseholdsRequest]:
    """A file about old and new households, in two chunks that meet again."""
    new = to_proto(
        a_line(12, household_number="N-1", identity_number=STRANGER, name="赵强", phone="")
    )
    parts: Sequence[Sequence[pb.HouseholdLine]] = (
        (
            a_wish(2, HEAD, phone="15499999999"),
            a_wish(3, SON, left_on="2018-01-01", leave_reason="迁出"),
            a_wish(4, NEWBORN, name="王小宝", relation="孙子"),
            new,
        ),
        (
            a_wish(20, SON, name="王小明", relation="子"),
            a_wish(21, STRANGER, name="赵强", relation="女"),
            pb.HouseholdLine(
                line_number=22,
                household_number="N-1",
                identity_number=NEWBORN,
                name="王小宝",
                relation="子",
            ),
            a_wish(23, HEAD, registration_status="清退户"),
            pb.HouseholdLine(
                line_number=24,
                household_number="N-1",
                identity_number=STRANGER,
                phone="15477777777",
            ),
        ),
    )
    return [
        pb.ImportHouseholdsRequest(
            request_id=str(ids.new_id()),
            county_code=COUNTY,
            lines=lines,
            update=True,
            dry_run=dry_run,
        )
        for lines in parts
    ]


async def test_a_dry_run_of_an_update_gives_the_same_verdicts_and_writes_nothing(
    door: Door, registry: Registry
) -> None:
    await settle(door)
    before = await stored(registry)

    tried = await door.send_file(mixed(dry_run=True), who=CENTRE)

    assert await stored(registry) == before
    done = await door.send_file(mixed(dry_run=False), who=CENTRE)
    assert [refused(answer) for answer in tried] == [refused(answer) for answer in done]
    assert [list(answer.changed_lines) for answer in tried] == [
        list(answer.changed_lines) for answer in done
    ]
    assert [answer.people for answer in tried] == [answer.people for answer in done]
    assert refused(done[1]) == [
        (21, "identity_number", "MEMBER_ELSEWHERE"),
        (22, "identity_number", "MEMBER_ELSEWHERE"),
        (23, "registration_status", "STATUS_NOT_YOURS"),
    ]
    assert list(done[1].changed_lines) == [20, 24]


async def test_an_import_keeps_to_the_policies_of_the_rows(door: Door, registry: Registry) -> None:
    await register_demo_areas(door)
    closed = "CREATE POLICY closed ON member AS RESTRICTIVE FOR INSERT WITH CHECK (false)"
    requests = chunks(file_lines(), size=200)

    await registry.ask(closed)
    with pytest.raises(grpc.aio.AioRpcError):
        await door.send_file(requests[:1], who=OFFICE)
    assert await registry.count("household") == 0
    await registry.ask("DROP POLICY closed ON member")
    answers = await door.send_file(requests[:2], who=OFFICE)

    assert await registry.count("household") == sum(len(each.households) for each in answers)


# --- out ------------------------------------------------------------------------------------------


async def export(door: Door, *, who: Any = OFFICE, within: str = "") -> list[pb.HouseholdLine]:
    """The whole registry, a page at a time."""
    lines: list[pb.HouseholdLine] = []
    token = ""
    while True:
        request = pb.ExportHouseholdsRequest(
            county_code=COUNTY, within=within, page_size=37, page_token=token
        )
        (page,) = await door.stream("ExportHouseholds", [request], who=who)
        lines += page.lines
        token = page.next_page_token
        if not token:
            return lines


async def test_what_was_exported_changes_nothing_when_it_is_imported(
    door: Door, registry: Registry
) -> None:
    await register_demo_areas(door)
    await door.send_file(chunks(file_lines(), size=200), who=OFFICE)
    first = (
        await door.call(
            "ListHouseholds", pb.ListHouseholdsRequest(county_code=COUNTY, page_size=1), who=OFFICE
        )
    ).households[0]
    await door.call(
        "ChangeStatus",
        standing_pb2.ChangeStatusRequest(
            request_id=str(ids.new_id()),
            county_code=COUNTY,
            household_id=first.household_id,
            status=pb.REGISTRATION_STATUS_DELISTED,
            effective_on=day(TODAY),
            reason="removed",
            evidence=paper(),
        ),
        who=OFFICE,
    )
    before = (await stored(registry))[:-1]

    lines = await export(door)
    for at, line in enumerate(lines):
        line.line_number = 2 + at
    requests = chunks(lines, size=300)
    for request in requests:
        request.request_id = str(ids.new_id())
        request.update = True
    answers = await door.send_file(requests, who=CENTRE)

    assert len(lines) == await registry.count("person")
    assert [refused(answer) for answer in answers] == [[]] * len(answers)
    assert not any(answer.households or answer.changed for answer in answers)
    assert (await stored(registry))[:-1] == before


async def test_an_export_is_for_registrars_and_stays_within_their_area(door: Door) -> None:
    await register_demo_areas(door)
    await door.send_file(chunks(file_lines(), size=500), who=OFFICE)
    township = demo_areas()[1].area_code

    own = await export(door, who=institution("township_station", township))
    village = await export(door, within=own[0].village_code)

    assert own
    assert all(line.village_code.startswith(township) for line in own)
    assert {line.village_code for line in village} == {own[0].village_code}
    for who, reason in ((BANK, "ROLE_NOT_ALLOWED"), (institution("operator"), "ROLE_NOT_ALLOWED")):
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await export(door, who=who)
        assert reason_of(refusal.value) == reason
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await export(door, within=COUNTY + "999", who=institution("township_station", township))
    assert reason_of(refusal.value) == "AREA_NOT_YOURS"
