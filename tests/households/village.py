"""A village with households, and the requests that its station makes."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from google.type.date_pb2 import Date
from liandong.households.v1 import evidence_pb2, facts_pb2
from liandong.households.v1 import households_pb2 as pb

from services.kernel import ids, wire
from tests.households.builders import COUNTY, TODAY, VILLAGE, an_identity
from tests.households.conftest import Door, institution

STATION = institution("village_department", VILLAGE)
SECOND = institution("village_department", VILLAGE, person="village-2")
OTHER_STATION = institution("village_department", "411224101202", name="village-other")
CENTRE = institution("county_centre")
OFFICE = institution("poverty_office")
BANK = institution("bank", name="rcb-0001", purpose="lending")
OTHER_BANK = institution("bank", name="rcb-0002", purpose="lending")
COURT = institution("court")
SCAN = b"\x01" * 32
HEAD, SPOUSE, SON, GRANDSON = (
    an_identity(901, "19700101"),
    an_identity(902, "19710101"),
    an_identity(903, "19950101"),
    an_identity(905, "20160101"),
)


def head(county_code: str = COUNTY) -> dict[str, Any]:
    """What every command begins with."""
    return {"request_id": str(ids.new_id()), "county_code": county_code}


def paper(kind: str = "DOCUMENT", sha256: bytes = b"") -> evidence_pb2.Evidence:
    number = evidence_pb2.EvidenceKind.Value(f"EVIDENCE_KIND_{kind}")
    return evidence_pb2.Evidence(kind=number, reference="archive/2018/1", sha256=sha256)


def day(value: date) -> Date:
    made = wire.date_to_proto(value)
    assert made is not None
    return made


def after(days: int) -> date:
    return TODAY + timedelta(days=days)


def a_member(number: str, relation: str, name: str = "王小明", **fields: Any) -> pb.Member:
    return pb.Member(name=name, identity_number=number, relation=relation, **fields)


def a_family() -> list[pb.Member]:
    return [
        a_member(HEAD, "户主", "王建国", phone="15412345678", labour="普通劳动力"),
        a_member(SPOUSE, "配偶", "李芳"),
        a_member(SON, "子", "王小明"),
    ]


async def settle(
    door: Door, number: str = "H-1", members: Sequence[pb.Member] = (), **fields: Any
) -> pb.Household:
    """A household of the village; the village too, if need be."""
    areas = [
        pb.Area(area_code=COUNTY, name="某县", level=pb.AREA_LEVEL_COUNTY),
        pb.Area(area_code=COUNTY + "101", name="某镇", level=pb.AREA_LEVEL_TOWNSHIP),
        pb.Area(area_code=VILLAGE, name="某村", level=pb.AREA_LEVEL_VILLAGE),
    ]
    await door.call("RegisterAreas", pb.RegisterAreasRequest(**head(), areas=areas), who=OFFICE)
    request: dict[str, Any] = {
        "household_number": number,
        "area_code": VILLAGE,
        "status": pb.REGISTRATION_STATUS_REGISTERED_POOR,
        "members": members or a_family(),
    }
    made = await door.call(
        "RegisterHousehold", pb.RegisterHouseholdRequest(**head(), **request | fields), who=OFFICE
    )
    return await seen(door, made.household_id)


async def seen(
    door: Door, household_id: str, *, as_of: date | None = None, who: Any = OFFICE
) -> pb.Household:
    request = pb.GetHouseholdRequest(
        county_code=COUNTY,
        household_id=household_id,
        as_of=wire.date_to_proto(as_of),
    )
    answer: pb.GetHouseholdResponse = await door.call("GetHousehold", request, who=who)
    return answer.household


def a_fact(household_id: str = "", **fields: Any) -> facts_pb2.NewFact:
    right: dict[str, Any] = {
        "household_id": household_id,
        "content": facts_pb2.FactContent(
            income=facts_pb2.IncomeFact(year=2017, source="farming", amount_fen=1_200_000)
        ),
        "valid_from": day(TODAY),
        "evidence": paper(),
    }
    return facts_pb2.NewFact(**right | fields)


async def record(door: Door, *facts: facts_pb2.NewFact, who: Any = STATION) -> list[Any]:
    request = facts_pb2.BatchRecordFactsRequest(**head(), facts=facts)
    answer = await door.call("BatchRecordFacts", request, who=who)
    return list(answer.verdicts)
