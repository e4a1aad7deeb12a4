"""Areas in time, enterprises and contracts, societies, the library of projects."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from liandong.households.v1 import areas_pb2, linkage_pb2
from stdnum.cn import uscc

from services.households.model import LinkageTerms
from services.households.rules import linkage as rules
from services.kernel import ids
from services.kernel.status import reason_of
from tests.households.builders import COUNTY, TODAY, VILLAGE, an_identity
from tests.households.conftest import Door, Registry
from tests.households.village import (
    BANK,
    CENTRE,
    STATION,
    a_member,
    after,
    day,
    head,
    paper,
    settle,
)

needs_postgres = pytest.mark.postgres
BODY = "93411224MA40000X1"
CODE = BODY + uscc.calc_check_digit(BODY)


# --- rules ----------------------------------------------------------------------------------------


@given(st.text("0123456789ABCDEFGHJKLMNPQRTUWXY", min_size=17, max_size=17), st.integers(0, 30))
def test_one_check_character_of_a_credit_code_is_right(body: str, at: int) -> None:
    right = uscc.calc_check_digit(body)
    given_character = "0123456789ABCDEFGHJKLMNPQRTUWXY"[at]

    fault = rules.credit_code_fault(body + given_character)

    assert (fault is None) is (given_character == right)


@given(st.lists(st.integers(0, 1_000_000), min_size=3, max_size=3), st.booleans())
def test_shares_are_parts_of_one_whole(shares: list[int], majority: bool) -> None:
    terms = LinkageTerms(
        modes=("direct_help",),
        household_share_ppm=shares[0],
        entity_share_ppm=shares[1],
        village_share_ppm=shares[2],
        household_majority=majority,
        entity_control=True,
        chair_share_max_ppm=0,
        guaranteed_minimum_fen=0,
        lead_radius_km=3,
        paired_unit_id="",
        no_dividend_years=0,
    )

    possible = rules.terms_fault(terms) is None

    whole = sum(shares) in {0, 1_000_000}
    assert possible is (whole and (not majority or shares[0] > 500_000))


# --- areas ----------------------------------------------------------------------------------------


def a_flag(area_code: str = COUNTY, **fields: Any) -> areas_pb2.SetAreaFlagRequest:
    right: dict[str, Any] = {
        "area_code": area_code,
        "flag": "deep_poverty",
        "set": True,
        "valid_from": day(TODAY),
        "evidence": paper(),
    }
    return areas_pb2.SetAreaFlagRequest(**head(), **right | fields)


def a_service(**fields: Any) -> areas_pb2.VillageService:
    right: dict[str, Any] = {
        "contracted_bank_id": "rcb-0001",
        "liaison_officers": [
            areas_pb2.LiaisonOfficer(
                side=areas_pb2.LIAISON_SIDE_VILLAGE, institution_id="vil-101", post_id="vil-101-p1"
            ),
            areas_pb2.LiaisonOfficer(
                side=areas_pb2.LIAISON_SIDE_BANK, institution_id="rcb-0001", post_id="rcb-0001-p1"
            ),
        ],
        "service_points": [
            areas_pb2.ServicePoint(
                service_point_id="sp-1",
                name="村金融服务部",
                institution_id="vil-101",
                post_ids=["vil-101-p1", "vil-101-p2"],
            )
        ],
        "valid_from": day(TODAY),
    }
    return areas_pb2.VillageService(**right | fields)


async def area(door: Door, area_code: str, **fields: Any) -> areas_pb2.GetAreaResponse:
    request = areas_pb2.GetAreaRequest(county_code=COUNTY, area_code=area_code, **fields)
    answer: areas_pb2.GetAreaResponse = await door.call("GetArea", request, who=BANK)
    return answer


@needs_postgres
async def test_a_flag_is_dated_set_and_lifted(door: Door, registry: Registry) -> None:
    await settle(door)
    await door.call("SetAreaFlag", a_flag(), who=CENTRE)
    twice = await door.refuses("SetAreaFlag", a_flag(), who=CENTRE)
    await registry.on(after(10))
    lifted = a_flag(set=False, valid_from=day(after(8)))
    assert (await door.call("SetAreaFlag", lifted, who=CENTRE)).version == 2

    now, then = await area(door, COUNTY), await area(door, COUNTY, as_of=day(after(9)))
    assert [(flag.set, flag.valid_from) for flag in now.flags] == [(False, day(after(8)))]
    assert [(flag.set, flag.valid_from) for flag in then.flags] == [(True, day(TODAY))]
    assert reason_of(twice) == "FLAG_UNCHANGED"
    assert await registry.said("area_flag_changed") == [
        (f"{COUNTY}:deep_poverty", 1),
        (f"{COUNTY}:deep_poverty", 2),
    ]
    for request, reason in (
        (a_flag(COUNTY + "999"), "AREA_UNKNOWN"),
        (a_flag(valid_from=day(after(11))), "DATE_IN_FUTURE"),
        (a_flag(set=False), "FLAG_UNCHANGED"),
        (a_flag(flag="Deep Poverty"), "FIELD_RULE_BROKEN"),
    ):
        assert reason_of(await door.refuses("SetAreaFlag", request, who=CENTRE)) == reason


@needs_postgres
async def test_a_village_says_who_serves_it(door: Door, registry: Registry) -> None:
    await settle(door)

    def saying(service: areas_pb2.VillageService, village: str = VILLAGE) -> Any:
        return areas_pb2.SetVillageServiceRequest(
            **head(), village_code=village, service=service, evidence=paper()
        )

    await door.call("SetVillageService", saying(a_service()), who=CENTRE)
    await registry.on(after(1))
    moved = a_service()
    moved.contracted_bank_id = "psb-0001"
    wrong_bank = await door.refuses("SetVillageService", saying(moved), who=CENTRE)
    moved.liaison_officers[1].institution_id = "psb-0001"
    await door.call("SetVillageService", saying(moved), who=CENTRE)

    now, then = await area(door, VILLAGE), await area(door, VILLAGE, as_of=day(TODAY))
    assert now.service.contracted_bank_id == "psb-0001"
    assert then.service.contracted_bank_id == "rcb-0001"
    assert list(then.service.service_points[0].post_ids) == ["vil-101-p1", "vil-101-p2"]
    assert then.service.provenance.source_id == "county_centre-1"
    assert not (await area(door, COUNTY)).HasField("service")
    assert reason_of(wrong_bank) == "LIAISON_BANK"
    one_side = a_service()
    one_side.liaison_officers[1].side = areas_pb2.LIAISON_SIDE_VILLAGE
    twice = a_service()
    twice.service_points.append(twice.service_points[0])
    for request, reason in (
        (saying(one_side), "LIAISON_NEEDS_BOTH_SIDES"),
        (saying(twice), "SERVICE_POINT_TWICE"),
        (saying(a_service(), COUNTY + "101999"), "AREA_UNKNOWN"),
    ):
        assert reason_of(await door.refuses("SetVillageService", request, who=CENTRE)) == reason


# --- enterprises and contracts --------------------------------------------------------------------


def an_enterprise(**fields: Any) -> linkage_pb2.RegisterEnterpriseRequest:
    right: dict[str, Any] = {
        "credit_code": CODE,
        "name": "某县食用菌专业合作社",
        "kind": linkage_pb2.ENTERPRISE_KIND_COOPERATIVE,
        "area_code": VILLAGE,
        "paired_unit_id": "fin-0001",
        "lead_radius_km": 3,
        "evidence": paper(),
    }
    return linkage_pb2.RegisterEnterpriseRequest(**head(), **right | fields)


def a_contract(enterprise_id: str, *household_ids: str, **terms: Any) -> Any:
    agreed: dict[str, Any] = {
        "modes": [linkage_pb2.LINKAGE_MODE_COOP_JOINT_VENTURE],
        "household_share_ppm": 600_000,
        "entity_share_ppm": 350_000,
        "village_share_ppm": 50_000,
        "household_majority": True,
        "entity_control": True,
        "chair_share_max_ppm": 100_000,
        "guaranteed_minimum_fen": 750_000,
        "lead_radius_km": 3,
        "paired_unit_id": "fin-0001",
        "no_dividend_years": 5,
    }
    return linkage_pb2.SignLinkageContractRequest(
        **head(),
        enterprise_id=enterprise_id,
        household_ids=household_ids,
        terms=linkage_pb2.LinkageTerms(**agreed | terms),
        valid_from=day(TODAY),
        valid_to=day(after(365)),
        evidence=paper(),
    )


async def contracts(door: Door, **fields: Any) -> list[linkage_pb2.LinkageContract]:
    request = linkage_pb2.ListLinkageContractsRequest(county_code=COUNTY, **fields)
    return list((await door.call("ListLinkageContracts", request, who=BANK)).contracts)


@needs_postgres
async def test_an_entity_is_registered_once_and_leads_households_by_contract(
    door: Door, registry: Registry
) -> None:
    home = await settle(door)
    made = await door.call("RegisterEnterprise", an_enterprise(), who=CENTRE)
    twice = await door.refuses("RegisterEnterprise", an_enterprise(), who=CENTRE)
    request = a_contract(made.enterprise_id, home.household_id)
    signed = await door.call("SignLinkageContract", request, who=STATION)
    await registry.on(after(5))
    end = linkage_pb2.EndLinkageContractRequest(
        **head(),
        contract_id=signed.contract_id,
        ended_on=day(after(4)),
        reason="closed",
        evidence=paper(),
    )
    await door.call("EndLinkageContract", end, who=STATION)
    end.request_id = str(ids.new_id())
    ended = await door.refuses("EndLinkageContract", end, who=STATION)

    (now,) = await contracts(door, household_id=home.household_id)
    (then,) = await contracts(door, enterprise_id=made.enterprise_id, as_of=day(TODAY))
    listed = linkage_pb2.ListEnterprisesRequest(county_code=COUNTY)
    (entity,) = (await door.call("ListEnterprises", listed, who=BANK)).enterprises
    assert (now.terms, list(now.household_ids)) == (request.terms, [home.household_id])
    assert (now.ended_on, now.end_reason) == (day(after(4)), "closed")
    assert not then.HasField("ended_on")
    assert (entity.credit_code, entity.paired_unit_id) == (CODE, "fin-0001")
    assert await contracts(door, household_id=str(ids.new_id())) == []
    assert (reason_of(twice), reason_of(ended)) == ("ENTERPRISE_EXISTS", "CONTRACT_ENDED")
    assert await registry.said("enterprise_registered") == [(made.enterprise_id, 1)]
    assert await registry.said("linkage_contract_signed") == [(signed.contract_id, 1)]
    assert await registry.said("linkage_contract_ended") == [(signed.contract_id, 2)]


@needs_postgres
async def test_a_wrong_entity_or_contract_is_refused(door: Door) -> None:
    home = await settle(door)
    made = await door.call("RegisterEnterprise", an_enterprise(), who=CENTRE)
    house = home.household_id
    wrong_digit = CODE[:-1] + ("0" if CODE[-1] != "0" else "1")

    for entity, reason in (
        (an_enterprise(credit_code=wrong_digit), "CREDIT_CODE_CHECKSUM"),
        (an_enterprise(area_code=COUNTY + "999"), "AREA_UNKNOWN"),
        (an_enterprise(credit_code="123"), "FIELD_RULE_BROKEN"),
    ):
        assert reason_of(await door.refuses("RegisterEnterprise", entity, who=CENTRE)) == reason
    backwards = a_contract(made.enterprise_id, house)
    backwards.valid_to.CopyFrom(day(after(-1)))
    for contract, reason in (
        (a_contract(made.enterprise_id, house, village_share_ppm=0), "SHARES"),
        (
            a_contract(
                made.enterprise_id, house, household_share_ppm=450_000, entity_share_ppm=500_000
            ),
            "HOUSEHOLD_MAJORITY",
        ),
        (a_contract(str(ids.new_id()), house), "ENTERPRISE_NOT_FOUND"),
        (a_contract(made.enterprise_id, str(ids.new_id())), "HOUSEHOLD_NOT_FOUND"),
        (backwards, "CONTRACT_PERIOD"),
    ):
        assert reason_of(await door.refuses("SignLinkageContract", contract, who=STATION)) == reason


# --- societies and projects -----------------------------------------------------------------------


def a_society(**fields: Any) -> linkage_pb2.RegisterSocietyRequest:
    right: dict[str, Any] = {
        "kind": linkage_pb2.SOCIETY_KIND_MUTUAL_AID_SOCIETY,
        "name": "某村互助社",
        "village_code": VILLAGE,
        "institution_id": "mas-0001",
        "evidence": paper(),
    }
    return linkage_pb2.RegisterSocietyRequest(**head(), **right | fields)


@needs_postgres
async def test_households_join_and_leave_a_society(door: Door, registry: Registry) -> None:
    home = await settle(door)
    other = await settle(door, "H-2", [a_member(an_identity(911, "19600101"), "户主", "赵强")])
    made = await door.call("RegisterSociety", a_society(), who=STATION)

    def changing(*, joining: Sequence[str] = (), leaving: Sequence[str] = ()) -> Any:
        return linkage_pb2.ChangeSocietyMembersRequest(
            **head(),
            society_id=made.society_id,
            joining=[
                linkage_pb2.SocietyJoiner(household_id=each, share_fen=50_000) for each in joining
            ],
            leaving=leaving,
            changed_on=day(TODAY),
            evidence=paper(),
        )

    one, two = home.household_id, other.household_id
    both = changing(joining=[one, two])
    assert (await door.call("ChangeSocietyMembers", both, who=STATION)).members == 2
    await registry.on(after(1))
    gone = changing(leaving=[two])
    assert (await door.call("ChangeSocietyMembers", gone, who=STATION)).members == 1

    asked = linkage_pb2.ListSocietyMembersRequest(county_code=COUNTY, society_id=made.society_id)
    now = (await door.call("ListSocietyMembers", asked, who=BANK)).members
    asked.as_of.CopyFrom(day(TODAY))
    then = (await door.call("ListSocietyMembers", asked, who=BANK)).members
    assert {m.household_id: m.HasField("left_on") for m in now} == {one: False, two: True}
    assert [m.HasField("left_on") for m in then] == [False, False]
    for request, reason in (
        (changing(joining=[one]), "SOCIETY_MEMBER_ALREADY"),
        (changing(leaving=[two]), "NOT_A_SOCIETY_MEMBER"),
        (changing(joining=[str(ids.new_id())]), "HOUSEHOLD_NOT_FOUND"),
    ):
        assert reason_of(await door.refuses("ChangeSocietyMembers", request, who=STATION)) == reason
    group = a_society(kind=linkage_pb2.SOCIETY_KIND_MUTUAL_HELP_GROUP)
    assert reason_of(await door.refuses("RegisterSociety", group, who=STATION)) == "LEAD_HOUSEHOLD"
    led = a_society(kind=linkage_pb2.SOCIETY_KIND_MUTUAL_HELP_GROUP, lead_household_id=one)
    await door.call("RegisterSociety", led, who=STATION)
    listed = linkage_pb2.ListSocietiesRequest(county_code=COUNTY, within=VILLAGE)
    found = (await door.call("ListSocieties", listed, who=BANK)).societies
    assert [society.lead_household_id for society in found] == ["", one]
    unknown = a_society(village_code=COUNTY + "101999")
    assert reason_of(await door.refuses("RegisterSociety", unknown, who=CENTRE)) == "AREA_UNKNOWN"


@needs_postgres
async def test_the_library_keeps_projects_in_versions(door: Door) -> None:
    await settle(door)

    def a_project(**fields: Any) -> linkage_pb2.RegisterProjectRequest:
        right: dict[str, Any] = {
            "name": "香菇大棚",
            "industry": "mushrooms",
            "area_code": VILLAGE,
            "amount_min_fen": 1_000_000,
            "amount_max_fen": 5_000_000,
            "term_months": 24,
            "open": True,
        }
        project = linkage_pb2.Project(**right | fields)
        return linkage_pb2.RegisterProjectRequest(**head(), project=project, evidence=paper())

    made = await door.call("RegisterProject", a_project(), who=CENTRE)
    closing = a_project(project_id=made.project_id, open=False)
    closed = await door.call("RegisterProject", closing, who=CENTRE)

    listed = linkage_pb2.ListProjectsRequest(county_code=COUNTY)
    still_open = (await door.call("ListProjects", listed, who=BANK)).projects
    listed.closed = True
    (kept,) = (await door.call("ListProjects", listed, who=BANK)).projects
    assert (made.version, closed.version, list(still_open)) == (1, 2, [])
    assert (kept.project_id, kept.open) == (made.project_id, False)
    for request, reason in (
        (a_project(project_id=str(ids.new_id())), "PROJECT_NOT_FOUND"),
        (a_project(amount_max_fen=1), "PROJECT_AMOUNTS"),
        (a_project(area_code=COUNTY + "999"), "AREA_UNKNOWN"),
        (a_project(enterprise_id=str(ids.new_id())), "ENTERPRISE_NOT_FOUND"),
    ):
        assert reason_of(await door.refuses("RegisterProject", request, who=CENTRE)) == reason
