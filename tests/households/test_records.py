"""A national system's list of households against the registry: each difference has its cause."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import grpc
import pytest
from google.type.date_pb2 import Date
from liandong.common.v1 import statements_pb2 as common
from liandong.households.v1 import households_pb2, people_pb2
from liandong.households.v1 import records_pb2 as pb

from services.kernel import ids
from services.kernel.status import reason_of
from tests.households.builders import COUNTY, TODAY, VILLAGE, an_identity
from tests.households.conftest import Door, Registry, Who, institution
from tests.households.village import CENTRE, HEAD, OFFICE, SON, SPOUSE, after, day, paper, settle
from tests.households.village import a_member as member

pytestmark = pytest.mark.postgres

NATIONAL = "pov-0001"
SECOND = institution("poverty_office", person="poverty_office-1-p2")


def a_household(number: int, household_number: str, **changes: Any) -> pb.ListedHousehold:
    """Right as `settle` registered it, but for what changes."""
    values: dict[str, Any] = {
        "line_number": number,
        "household_number": household_number,
        "area_code": VILLAGE,
        "status": "registered_poor",
        "people": 1,
        "registered_on": day(TODAY),
        "honour": "none",
        **changes,
    }
    return pb.ListedHousehold(**{key: value for key, value in values.items() if value is not None})


async def announce(
    door: Door, lines: Sequence[pb.ListedHousehold], *, as_of: date = TODAY, who: Who = OFFICE
) -> str:
    request = pb.StartHouseholdReconciliationRequest(
        request_id=str(ids.new_id()),
        heading=common.StatementHeading(
            county_code=COUNTY,
            institution_id=NATIONAL,
            reference=f"n-{as_of}",
            as_of=day(as_of),
            lines=len(lines),
            sum=sum(line.people for line in lines),
        ),
    )
    made = await door.call("StartHouseholdReconciliation", request, who=who)
    return str(made.reconciliation_id)


def posting(
    made: str, lines: Sequence[pb.ListedHousehold], *, as_of: date = TODAY, of: str = NATIONAL
) -> pb.PostHouseholdLinesRequest:
    return pb.PostHouseholdLinesRequest(
        request_id=str(ids.new_id()),
        county_code=COUNTY,
        reconciliation_id=made,
        institution_id=of,
        as_of=day(as_of),
        items=lines,
    )


async def compared(
    door: Door, lines: Sequence[pb.ListedHousehold], *, as_of: date = TODAY, dry_run: bool = False
) -> common.StatementComparison:
    made = await announce(door, lines, as_of=as_of)
    (answer,) = await door.stream(
        "PostHouseholdLines", [posting(made, lines, as_of=as_of)], who=OFFICE
    )
    assert all(verdict.accepted for verdict in answer.verdicts), answer
    request = pb.CompareHouseholdStatementRequest(
        request_id=str(ids.new_id()), county_code=COUNTY, reconciliation_id=made, dry_run=dry_run
    )
    found = await door.call("CompareHouseholdStatement", request, who=OFFICE)
    comparison: common.StatementComparison = found.comparison
    return comparison


def causes(found: common.StatementComparison) -> list[tuple[int, str]]:
    return [
        (
            each.line_number,
            common.StatementCause.Name(each.cause).removeprefix("STATEMENT_CAUSE_").lower(),
        )
        for each in found.differences
    ]


def alone(sequence: int) -> list[households_pb2.Member]:
    return [member(an_identity(sequence), "户主", "王芳")]


def planted(stranger: str) -> list[pb.ListedHousehold]:
    """A line for each kind of difference; `stranger` is nobody here."""
    return [
        a_household(1, "H-1", area_code="411224101202"),
        a_household(2, "H-2", status="near_poor"),
        a_household(3, "H-3", people=4),
        a_household(4, "H-4", registered_on=day(date(2014, 4, 1))),
        a_household(5, "H-5", honour="honest"),
        a_household(6, "H-6", head_identity_number=stranger),
        a_household(7, "N-7", head_identity_number=an_identity(920 + 2 * 7)),
        a_household(8, "N-8", head_identity_number=stranger),
        a_household(9, "H-8"),
        a_household(10, "H-8"),
        a_household(11, "H-10"),
        a_household(
            12,
            "H-family",
            people=3,
            member_identity_numbers=[HEAD, SPOUSE, stranger, an_identity(922)],
        ),
        a_household(13, "H-9", people=None),
    ]


# HN-PO.reg.4
async def test_each_planted_difference_is_named_and_the_registry_stays(
    door: Door, registry: Registry
) -> None:
    await settle(
        door, "H-family", [member(HEAD, "户主"), member(SPOUSE, "配偶"), member(SON, "子")]
    )
    made = {}
    for place in range(1, 12):
        made[place] = await settle(door, f"H-{place}", alone(920 + 2 * place))
    merge = people_pb2.MergeHouseholdsRequest(
        request_id=str(ids.new_id()),
        county_code=COUNTY,
        survivor_id=made[9].household_id,
        alias_id=made[10].household_id,
        reason="the same household",
        evidence=paper(),
    )
    await door.call("MergeHouseholds", merge, who=OFFICE)
    before = await registry.ask("SELECT * FROM household ORDER BY household_id")
    stranger = an_identity(991)
    lines = planted(stranger)

    tried = await compared(door, lines, dry_run=True)
    assert await registry.count("statement_difference") == 0
    found = await compared(door, lines)

    assert causes(found) == [
        (1, "village"),
        (2, "status"),
        (3, "people"),
        (4, "registered_on"),
        (5, "honour"),
        (6, "head"),
        (7, "number"),
        (8, "missing_here"),
        (10, "doubled"),
        (11, "merged"),
        (12, "member_missing_here"),
        (12, "member_elsewhere"),
        (12, "member_missing_there"),
        (0, "missing_there"),
    ]
    assert causes(tried) == causes(found)
    assert found.agreeing == 2
    shown = {name: each for (_, name), each in zip(causes(found), found.differences, strict=True)}
    assert (shown["number"].theirs, shown["number"].ours) == ("N-7", "H-7")
    assert (shown["head"].theirs, shown["head"].ours) == ("", "")
    assert (shown["member_elsewhere"].theirs, shown["member_elsewhere"].ours) == ("member 4", "H-1")
    assert shown["merged"].ours == made[9].household_id
    assert shown["missing_there"].record_id == made[11].household_id
    assert not any(each.touches_money for each in found.differences)
    assert before == await registry.ask("SELECT * FROM household ORDER BY household_id")
    # Nobody's identity number is kept, neither read nor guessed.
    (kept,) = await registry.ask("SELECT string_agg(cells::text, ' ') FROM statement_line")
    assert not any(number in kept[0] for number in (HEAD, SPOUSE, stranger))


async def test_a_list_is_held_against_what_was_known_on_its_day(
    door: Door, registry: Registry
) -> None:
    await settle(door, "H-1", alone(901))
    await registry.on(after(5))
    await settle(door, "H-2", alone(903))

    early = await compared(door, [a_household(1, "H-1")])
    late = await compared(door, [a_household(1, "H-1")], as_of=after(5))

    assert (early.agreeing, causes(early)) == (1, [])
    assert causes(late) == [(0, "missing_there")]


async def test_a_named_person_who_did_not_bring_the_list_resolves_with_a_reason(
    door: Door, registry: Registry
) -> None:
    await settle(door, "H-1", alone(901))
    (difference,) = (await compared(door, [a_household(1, "H-1", people=9)])).differences
    request = pb.ResolveHouseholdDifferenceRequest(
        request_id=str(ids.new_id()),
        word=common.DifferenceWord(
            county_code=COUNTY,
            number=difference.number,
            resolution=common.STATEMENT_RESOLUTION_THEIRS_STANDS,
            reason="a child was born; registered with AddMember",
        ),
    )

    same = await door.refuses("ResolveHouseholdDifference", request, who=OFFICE)
    assert reason_of(same) == "SAME_PERSON"
    done = (await door.call("ResolveHouseholdDifference", request, who=SECOND)).difference
    assert (done.state, done.resolved_by) == (
        common.DIFFERENCE_STATE_RESOLVED,
        "poverty_office-1-p2",
    )
    request.request_id = str(ids.new_id())
    twice = await door.refuses("ResolveHouseholdDifference", request, who=CENTRE)
    assert reason_of(twice) == "DIFFERENCE_RESOLVED"
    listing = pb.ListHouseholdDifferencesRequest(
        filter=common.DifferenceFilter(county_code=COUNTY, unresolved=True)
    )
    auditor = institution("auditor")
    assert not (await door.call("ListHouseholdDifferences", listing, who=auditor)).differences
    asked = pb.ListHouseholdReconciliationsRequest(county_code=COUNTY)
    (statement,) = (await door.call("ListHouseholdReconciliations", asked, who=auditor)).statements
    assert (statement.differences, statement.unresolved) == (1, 0)


async def test_a_line_with_a_day_that_no_calendar_has_is_refused_alone(
    door: Door, registry: Registry
) -> None:
    wrong = a_household(1, "H-1", registered_on=Date(year=2014, month=2, day=30))
    lines = [wrong, a_household(2, "H-2")]
    made = await announce(door, lines)

    (answer,) = await door.stream("PostHouseholdLines", [posting(made, lines)], who=OFFICE)

    assert [(each.accepted, each.reason) for each in answer.verdicts] == [
        (False, "MALFORMED_DATE"),
        (True, ""),
    ]
    (broken,) = answer.verdicts[0].violations
    assert (broken.field, broken.value) == ("items[0].registered_on", "2014-02-30")
    assert await registry.ask("SELECT line_number FROM statement_line") == [(2,)]


async def test_a_file_of_another_day_or_institution_or_role_is_refused(
    door: Door, registry: Registry
) -> None:
    lines = [a_household(1, "H-1")]
    made = await announce(door, lines)
    for wrong, reason in (
        (posting(made, lines, as_of=after(-1)), "FILE_OF_ANOTHER_DAY"),
        (posting(made, lines, of="pov-0002"), "FILE_OF_ANOTHER_INSTITUTION"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await door.stream("PostHouseholdLines", [wrong], who=OFFICE)
        assert reason_of(refused.value) == reason
    for who, reason in (
        (institution("bank"), "ROLE_NOT_ALLOWED"),
        (institution("poverty_office", county="411225"), "AREA_NOT_YOURS"),
    ):
        request = pb.CompareHouseholdStatementRequest(
            request_id=str(ids.new_id()), county_code=COUNTY, reconciliation_id=made
        )
        refusal = await door.refuses("CompareHouseholdStatement", request, who=who)
        assert reason_of(refusal) == reason
    ahead = common.StatementHeading(
        county_code=COUNTY, institution_id=NATIONAL, reference="n", as_of=day(after(1))
    )
    request_ahead = pb.StartHouseholdReconciliationRequest(
        request_id=str(ids.new_id()), heading=ahead
    )
    refusal = await door.refuses("StartHouseholdReconciliation", request_ahead, who=OFFICE)
    assert reason_of(refusal) == "STATEMENT_AHEAD"
