"""People: families in time, duplicates and merges, look-ups and disclosures."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from liandong.households.v1 import consents_pb2, evidence_pb2, people_pb2
from liandong.households.v1 import households_pb2 as pb

from deploy.demo import generator
from services.households.model import Kin, Relation
from services.households.rules import people as rules
from services.kernel import ids
from services.kernel.status import reason_of
from tests.households.builders import COUNTY, TODAY, VILLAGE, an_identity
from tests.households.conftest import Door, Registry, institution
from tests.households.village import (
    BANK,
    CENTRE,
    GRANDSON,
    HEAD,
    OFFICE,
    OTHER_BANK,
    SCAN,
    SON,
    SPOUSE,
    STATION,
    a_member,
    after,
    day,
    head,
    paper,
    seen,
    settle,
)

needs_postgres = pytest.mark.postgres
births = st.dates(date(1920, 1, 1), TODAY)


# --- families -------------------------------------------------------------------------------------


@given(births, births, st.booleans())
def test_a_child_is_never_older_than_its_parent(first: date, second: date, male: bool) -> None:
    relation = Relation.SON if male else Relation.DAUGHTER
    parent, child = Kin(Relation.HEAD, first, male), Kin(relation, second, male)

    possible = rules.kin_fault(child, parent) == ""

    assert possible is (rules.years_between(first, second) >= rules.PARENT_YEARS_MIN)
    other = Relation.DAUGHTER if male else Relation.SON
    assert rules.kin_fault(Kin(other, second, male), parent) != ""


@given(st.lists(st.sampled_from(list(Relation)), max_size=8))
def test_a_family_of_any_relations_has_one_head_and_one_spouse(relations: list[Relation]) -> None:
    born = {
        Relation.HEAD: 1960,
        Relation.SPOUSE: 1960,
        Relation.FATHER: 1930,
        Relation.MOTHER: 1930,
    }
    male = {Relation.HEAD, Relation.FATHER, Relation.SON, Relation.GRANDSON}
    people = [Kin(r, date(born.get(r, 2000), 1, 1), r in male) for r in relations]

    possible = rules.family_fault(people) == ""

    heads, spouses = relations.count(Relation.HEAD), relations.count(Relation.SPOUSE)
    parents = [relations.count(Relation.FATHER), relations.count(Relation.MOTHER)]
    right = heads == 1 and spouses <= 1 and max(parents) <= rules.PARENTS_MAX
    assert possible is (right or not relations)


def test_a_name_is_compared_by_what_it_says() -> None:
    assert rules.plain_name("阿布都·热依木") == rules.plain_name("阿布都 热依木")
    assert rules.plain_name("Ａｌｉ") == rules.plain_name("ali")
    assert rules.plain_name("王芳") != rules.plain_name("王方")


@needs_postgres
async def test_the_service_itself_cannot_change_what_was_known(registry: Registry) -> None:
    past = (
        *("household_past", "member_past", "person_past", "status_change", "merge", "fact"),
        *("merge_undone", "reconciliation", "reconciliation_signature", "dispute"),
        *("dispute_answer", "consent", "consent_withdrawal", "payee_account", "payee_decision"),
        *("payee_in_force", "area_flag", "village_service", "enterprise", "linkage_contract"),
        *("linkage_household", "linkage_end", "society", "society_member", "society_leave"),
        "project",
    )

    rights = await registry.ask(
        """SELECT name, has_table_privilege('households_app', name, 'INSERT'),
                  has_table_privilege('households_app', name, 'UPDATE')
                  OR has_table_privilege('households_app', name, 'DELETE')
                  OR has_table_privilege('households_app', name, 'TRUNCATE')
           FROM unnest($1::text[]) AS t (name)""",
        list(past),
    )

    assert rights == [(name, True, False) for name in past]


def joining(household_id: str, member: pb.Member, **fields: Any) -> people_pb2.AddMemberRequest:
    right: dict[str, Any] = {
        "household_id": household_id,
        "member": member,
        "joined_on": day(TODAY),
        "evidence": paper(),
    }
    return people_pb2.AddMemberRequest(**head(), **right | fields)


def leaving(household_id: str, person_id: str, **fields: Any) -> people_pb2.RemoveMemberRequest:
    right: dict[str, Any] = {
        "household_id": household_id,
        "person_id": person_id,
        "reason": people_pb2.LEAVE_REASON_MOVED,
        "left_on": day(TODAY),
        "evidence": paper(),
    }
    return people_pb2.RemoveMemberRequest(**head(), **right | fields)


def relations(household: pb.Household) -> list[tuple[str, str]]:
    return [(member.name, member.relation) for member in household.members]


@needs_postgres
async def test_members_come_and_go_and_each_day_remembers_who_there_was(
    door: Door, registry: Registry
) -> None:
    home = await settle(door)
    await registry.on(after(1))
    child = a_member(GRANDSON, "孙子", "王冬")
    added = await door.call("AddMember", joining(home.household_id, child), who=STATION)
    await registry.on(after(2))
    son = home.members[2].person_id
    await door.call("RemoveMember", leaving(home.household_id, son), who=STATION)

    first, second, third = [
        [name for name, _ in relations(await seen(door, home.household_id, as_of=after(days)))]
        for days in (0, 1, 2)
    ]

    assert first == ["王建国", "李芳", "王小明"]
    assert second == ["王建国", "李芳", "王小明", "王冬"]
    assert third == ["王建国", "李芳", "王冬"]
    assert added.version == 2
    assert [sequence for _, sequence in await registry.said("household_changed")] == [2, 3]


@needs_postgres
async def test_an_impossible_family_is_refused_with_field_value_and_rule(door: Door) -> None:
    home = await settle(door)
    other = await settle(door, "H-2", [a_member(an_identity(911, "19600101"), "户主", "赵强")])
    old = joining(home.household_id, a_member(an_identity(907, "19650101"), "子"))
    wife = joining(home.household_id, a_member(an_identity(908, "19720101"), "配偶"))
    girl = joining(home.household_id, a_member(an_identity(908, "20000101"), "子"))
    twice = joining(other.household_id, a_member(SON, "子"))
    boss = joining(home.household_id, a_member(an_identity(907, "19900101"), "户主"))
    wrong = joining(home.household_id, a_member(SON[:17] + "?", "子"))
    cousin = joining(home.household_id, a_member(an_identity(907, "19900101"), "表弟"))

    for request, reason in (
        (old, "FAMILY_IMPOSSIBLE"),
        (wife, "FAMILY_IMPOSSIBLE"),
        (girl, "FAMILY_IMPOSSIBLE"),
        (twice, "MEMBER_ELSEWHERE"),
        (boss, "SECOND_HEAD"),
        (wrong, "IDENTITY_MALFORMED"),
        (cousin, "RELATION_UNKNOWN"),
    ):
        error = await door.refuses("AddMember", request, who=STATION)
        assert reason_of(error) == reason
        assert SON not in repr(error)
    registered = await door.refuses(
        "RegisterHousehold",
        pb.RegisterHouseholdRequest(
            **head(),
            household_number="H-3",
            area_code=VILLAGE,
            status=pb.REGISTRATION_STATUS_NON_POOR,
            members=[
                a_member(an_identity(921, "19900101"), "户主"),
                a_member(an_identity(923, "19800101"), "子"),
            ],
        ),
        who=OFFICE,
    )
    assert reason_of(registered) == "FAMILY_IMPOSSIBLE"


@needs_postgres
async def test_a_head_who_goes_leaves_a_head_behind(door: Door) -> None:
    home = await settle(door)
    dead, wife, son = (member.person_id for member in home.members)
    alone = leaving(home.household_id, dead, reason=people_pb2.LEAVE_REASON_DIED)
    right = leaving(
        home.household_id,
        dead,
        reason=people_pb2.LEAVE_REASON_DIED,
        successor_id=wife,
        seats=[people_pb2.Seat(person_id=son, relation="子")],
    )

    assert reason_of(await door.refuses("RemoveMember", alone, who=STATION)) == "HEAD_NEEDED"
    await door.call("RemoveMember", right, who=STATION)

    assert relations(await seen(door, home.household_id)) == [("李芳", "户主"), ("王小明", "子")]
    back = joining(home.household_id, a_member(HEAD, "配偶", "王建国"))
    assert reason_of(await door.refuses("AddMember", back, who=STATION)) == "PERSON_DIED"


@needs_postgres
async def test_only_a_death_empties_a_household(door: Door) -> None:
    home = await settle(door, members=[a_member(HEAD, "户主")])
    only = home.members[0].person_id

    moved = await door.refuses("RemoveMember", leaving(home.household_id, only), who=STATION)
    assert reason_of(moved) == "LAST_MEMBER"
    died = leaving(home.household_id, only, reason=people_pb2.LEAVE_REASON_DIED)
    await door.call("RemoveMember", died, who=STATION)

    empty = await seen(door, home.household_id)
    assert list(empty.members) == []
    stranger = leaving(home.household_id, only)
    assert reason_of(await door.refuses("RemoveMember", stranger, who=STATION)) == "NOT_A_MEMBER"


@needs_postgres
async def test_another_head_and_a_household_of_ones_own(door: Door, registry: Registry) -> None:
    home = await settle(door)
    man, wife, son = (member.person_id for member in home.members)
    await registry.on(after(1))
    seats = [people_pb2.Seat(person_id=man, relation="配偶")]
    change = people_pb2.ChangeHeadRequest(
        **head(), household_id=home.household_id, head_id=wife, seats=seats, evidence=paper()
    )
    await door.call("ChangeHead", change, who=STATION)
    await registry.on(after(2))
    split = people_pb2.SplitHouseholdRequest(
        **head(),
        household_id=home.household_id,
        household_number="H-9",
        area_code=VILLAGE,
        head_id=son,
        seats=[people_pb2.Seat(person_id=son)],
        split_on=day(after(2)),
        evidence=paper(),
    )
    made = await door.call("SplitHousehold", split, who=STATION)

    parents = await seen(door, home.household_id)
    own = await seen(door, made.household_id)
    assert relations(parents) == [("李芳", "户主"), ("王建国", "配偶")]
    assert relations(own) == [("王小明", "户主")]
    assert own.status == pb.REGISTRATION_STATUS_REGISTERED_POOR
    assert len((await seen(door, home.household_id, as_of=after(1))).members) == 3
    assert relations(await seen(door, home.household_id, as_of=after(0)))[0] == ("王建国", "户主")
    assert await registry.said("household_registered") == [
        (home.household_id, 1),
        (made.household_id, 1),
    ]
    totals = await registry.ask("SELECT sum(member_count) FROM household")
    assert totals == [(3,)]
    split.request_id = str(ids.new_id())
    assert reason_of(await door.refuses("SplitHousehold", split, who=STATION)) == (
        "HOUSEHOLD_EXISTS"
    )


# --- identities -----------------------------------------------------------------------------------


async def resolve(door: Door, *queries: people_pb2.PersonQuery, who: Any = CENTRE) -> list[Any]:
    request = people_pb2.ResolvePersonsRequest(county_code=COUNTY, queries=queries)
    return list((await door.call("ResolvePersons", request, who=who)).persons)


def by_number(number: str) -> people_pb2.PersonQuery:
    return people_pb2.PersonQuery(identity_number=number)


def by_name(name: str, born_on: date) -> people_pb2.PersonQuery:
    return people_pb2.PersonQuery(name=name, born_on=day(born_on))


@needs_postgres
async def test_a_person_is_found_by_number_or_by_name_and_birth_date(door: Door) -> None:
    home = await settle(door)
    answers = await resolve(
        door,
        by_number(SON),
        by_name("王 小明", date(1995, 1, 1)),
        by_number(an_identity(999)),
        by_number("1234"),
        people_pb2.PersonQuery(name="王小明"),
    )

    son = home.members[2].person_id
    assert [(a.verdict.id, a.household_id) for a in answers[:2]] == [(son, home.household_id)] * 2
    assert [a.verdict.reason for a in answers[2:]] == [
        "PERSON_NOT_FOUND",
        "IDENTITY_MALFORMED",
        "QUERY_EMPTY",
    ]
    elsewhere = institution("village_department", COUNTY + "102")
    (foreign,) = await resolve(door, by_number(SON), who=elsewhere)
    assert foreign.verdict == answers[2].verdict.__class__(
        index=0,
        reason="PERSON_NOT_FOUND",
        message=answers[2].verdict.message,
        message_zh=answers[2].verdict.message_zh,
    )


async def two_of_one(door: Door) -> tuple[pb.Household, pb.Household]:
    """One man registered twice, his number mistyped the second time."""
    first = await settle(door)
    mistyped = generator.identity_number("19950101", 913)
    second = await settle(
        door, "H-2", [a_member(mistyped, "户主", "王小明")], status=pb.REGISTRATION_STATUS_NON_POOR
    )
    return first, second


@needs_postgres
async def test_duplicates_are_found_and_merged_only_by_a_person_and_reversibly(
    door: Door, registry: Registry
) -> None:
    first, second = await two_of_one(door)
    listed = people_pb2.ListDuplicatesRequest(county_code=COUNTY)
    (pair,) = (await door.call("ListDuplicates", listed, who=CENTRE)).duplicates
    query = by_name("王小明", date(1995, 1, 1))
    (unsure,) = await resolve(door, query)

    # More than one fits: that is an error and not the first of them.
    assert unsure.verdict.reason == "PERSON_AMBIGUOUS"
    assert {pair.person_id, pair.other_id} == {
        second.members[0].person_id,
        first.members[2].person_id,
    }
    merge_households = people_pb2.MergeHouseholdsRequest(
        **head(),
        alias_id=second.household_id,
        survivor_id=first.household_id,
        reason="one family",
        evidence=paper(),
    )
    merge_people = people_pb2.MergePersonsRequest(
        **head(),
        alias_id=pair.person_id,
        survivor_id=pair.other_id,
        reason="one man",
        evidence=paper(),
    )
    assert reason_of(await door.refuses("MergePersons", merge_people, who=STATION)) == (
        "ROLE_NOT_ALLOWED"
    )
    await registry.on(after(1))
    houses = await door.call("MergeHouseholds", merge_households, who=CENTRE)
    people = await door.call("MergePersons", merge_people, who=CENTRE)

    (sure,) = await resolve(door, query)
    assert sure.verdict.id == pair.other_id
    (by_alias,) = await resolve(door, by_number(generator.identity_number("19950101", 913)))
    assert by_alias.verdict.id == pair.other_id
    assert (await seen(door, second.household_id)).survivor_id == first.household_id
    assert (await seen(door, second.household_id, as_of=TODAY)).survivor_id == ""
    assert len((await seen(door, first.household_id)).members) == 3
    assert (await door.call("ListDuplicates", listed, who=CENTRE)).duplicates == []

    for merge_id in (people.merge_id, houses.merge_id):
        undo = people_pb2.UndoMergeRequest(
            **head(), merge_id=merge_id, reason="two after all", evidence=paper()
        )
        await door.call("UndoMerge", undo, who=CENTRE)
        undo.request_id = str(ids.new_id())
        assert reason_of(await door.refuses("UndoMerge", undo, who=CENTRE)) == "MERGE_UNDONE"
    after_all = await seen(door, second.household_id)
    assert (after_all.survivor_id, len(after_all.members)) == ("", 1)
    assert (await resolve(door, query))[0].verdict.reason == "PERSON_AMBIGUOUS"
    merged, unmerged = (
        await registry.said("household_merged"),
        await registry.said("household_unmerged"),
    )
    sequences = [s for a, s in merged + unmerged if a == second.household_id]
    changed = [s for a, s in await registry.said("household_changed") if a == second.household_id]
    assert sorted([*sequences, *changed]) == [2, 3, 4, 5]


@needs_postgres
async def test_a_merge_that_would_lose_something_is_refused(door: Door) -> None:
    first, second = await two_of_one(door)
    third = await settle(door, "H-3", [a_member(an_identity(917, "19880101"), "户主", "赵强")])

    def merging(alias: str, survivor: str) -> people_pb2.MergeHouseholdsRequest:
        return people_pb2.MergeHouseholdsRequest(
            **head(), alias_id=alias, survivor_id=survivor, reason="one", evidence=paper()
        )

    one, two, three = (home.household_id for home in (first, second, third))
    await door.call("MergeHouseholds", merging(two, one), who=CENTRE)
    for request, reason in (
        (merging(two, three), "IS_ALIAS"),
        (merging(three, two), "IS_ALIAS"),
        (merging(one, three), "HAS_ALIASES"),
        (merging(three, three), "SAME_RECORD"),
    ):
        error = await door.refuses("MergeHouseholds", request, who=CENTRE)
        assert reason_of(error) == reason
    heads = people_pb2.MergePersonsRequest(
        **head(),
        alias_id=first.members[0].person_id,
        survivor_id=third.members[0].person_id,
        reason="one",
        evidence=paper(),
    )
    assert reason_of(await door.refuses("MergePersons", heads, who=CENTRE)) == "ALIAS_IS_HEAD"
    joins = joining(two, a_member(GRANDSON, "孙子"))
    assert reason_of(await door.refuses("AddMember", joins, who=STATION)) == "HOUSEHOLD_IS_ALIAS"
    listed = people_pb2.ListDuplicatesRequest(county_code=COUNTY)
    (pair,) = (await door.call("ListDuplicates", listed, who=CENTRE)).duplicates
    dismiss = people_pb2.DismissDuplicateRequest(
        **head(), duplicate_id=pair.duplicate_id, evidence=paper()
    )
    await door.call("DismissDuplicate", dismiss, who=CENTRE)
    dismiss.request_id = str(ids.new_id())
    assert reason_of(await door.refuses("DismissDuplicate", dismiss, who=CENTRE)) == (
        "DUPLICATE_DECIDED"
    )


@needs_postgres
async def test_a_corrected_number_still_finds_the_person_and_each_day_its_name(
    door: Door, registry: Registry
) -> None:
    home = await settle(door)
    right = an_identity(907, "19950102")
    await registry.on(after(1))
    request = people_pb2.CorrectIdentityRequest(
        **head(),
        person_id=home.members[2].person_id,
        name="王晓明",
        identity_number=right,
        evidence=paper(),
    )
    await door.call("CorrectIdentity", request, who=STATION)

    former, now = await resolve(door, by_number(SON), by_number(right))
    assert former.verdict.id == now.verdict.id == home.members[2].person_id
    assert (await seen(door, home.household_id)).members[2].name == "王晓明"
    assert (await seen(door, home.household_id, as_of=TODAY)).members[2].name == "王小明"
    taken = people_pb2.CorrectIdentityRequest(
        **head(),
        person_id=home.members[2].person_id,
        identity_number=SPOUSE,
        evidence=paper(),
    )
    assert reason_of(await door.refuses("CorrectIdentity", taken, who=STATION)) == "IDENTITY_TAKEN"
    # Somebody else is registered under the former number: now it fits two.
    await settle(door, "H-2", [a_member(SON, "户主", "赵强")])
    (unsure,) = await resolve(door, by_number(SON))
    assert unsure.verdict.reason == "PERSON_AMBIGUOUS"


# --- disclosures ----------------------------------------------------------------------------------

IDENTITY = evidence_pb2.DATA_CATEGORY_IDENTITY
CONTACT = evidence_pb2.DATA_CATEGORY_CONTACT
FAMILY = evidence_pb2.DATA_CATEGORY_FAMILY


async def disclose(door: Door, *person_ids: str, who: Any) -> list[people_pb2.DisclosedPerson]:
    request = people_pb2.DisclosePersonsRequest(
        county_code=COUNTY, person_ids=person_ids, categories=[IDENTITY, CONTACT, FAMILY]
    )
    return list((await door.call("DisclosePersons", request, who=who)).persons)


@needs_postgres
async def test_a_bank_knows_what_a_live_consent_lets_it_know(
    door: Door, registry: Registry
) -> None:
    home = await settle(door)
    man = home.members[0].person_id
    (before,) = await disclose(door, man, who=BANK)
    consent = consents_pb2.GiveConsentRequest(
        **head(),
        household_id=home.household_id,
        person_id=man,
        receiver_id="rcb-0001",
        purpose="lending",
        categories=[IDENTITY],
        valid_from=day(TODAY),
        valid_to=day(after(30)),
        wording_version="2018-1",
        medium=consents_pb2.CONSENT_MEDIUM_STATION_THUMB_PRINT,
        evidence=paper("THUMB_PRINT", SCAN),
    )
    given = await door.call("GiveConsent", consent, who=STATION)

    (known,) = await disclose(door, man, who=BANK)
    (other,) = await disclose(door, man, who=OTHER_BANK)
    (purpose,) = await disclose(
        door, man, who=institution("bank", name="rcb-0001", purpose="marketing")
    )
    (station, missing) = await disclose(door, man, str(ids.new_id()), who=STATION)

    assert (before.name, before.phone, before.relation) == ("王**", "154********", "")
    assert (known.name, known.identity_number, known.phone) == ("王建国", HEAD, "154********")
    assert list(known.withheld) == [CONTACT, FAMILY]
    assert other.name == purpose.name == "王**"
    assert (station.phone, station.relation, list(station.withheld)) == ("15412345678", "户主", [])
    assert missing.verdict.reason == "PERSON_NOT_FOUND"
    assert (await seen(door, home.household_id, who=BANK)).members[0].name == "王建国"
    await registry.on(after(31))
    (expired,) = await disclose(door, man, who=BANK)
    assert expired.name == "王**"
    await registry.on(after(1))
    withdraw = consents_pb2.WithdrawConsentRequest(
        **head(),
        consent_id=given.consent_id,
        medium=consents_pb2.CONSENT_MEDIUM_ONLINE,
        evidence=paper(),
    )
    await door.call("WithdrawConsent", withdraw, who=STATION)
    (withdrawn,) = await disclose(door, man, who=BANK)
    assert withdrawn.name == "王**"
