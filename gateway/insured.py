"""Insured lists by identity: people become ids here, and nothing but ids goes on to claims."""

from collections.abc import Sequence

from liandong.claims.v1 import policies_pb2
from liandong.common.v1 import common_pb2
from liandong.gateway.v1 import insured_pb2
from liandong.households.v1 import people_pb2

from gateway.identity import Claim, Institution
from gateway.onward import Onward, ask
from services.kernel import wire
from services.kernel.errors import Refused

_RESOLVE = "liandong.households.v1.PeopleService/ResolvePersons"
_ENROL = "liandong.claims.v1.PoliciesService/EnrolInsured"


async def enrol_by_identity(
    _institution: Institution,
    _claim: Claim,
    request: insured_pb2.EnrolInsuredByIdentityRequest,
    onward: Onward,
) -> insured_pb2.EnrolInsuredByIdentityResponse:
    """Ask who the people are, then put those who are known on the list."""
    found = await _resolved(request, onward)
    verdicts = [each.verdict for each in found]
    lines: list[policies_pb2.InsuredLine] = []
    places: list[int] = []
    for place, (item, person) in enumerate(zip(request.items, found, strict=True)):
        if not person.verdict.accepted:
            continue
        if not person.household_id:
            verdicts[place] = _without_household(place)
            continue
        places.append(place)
        lines.append(_line(item, person))
    premium_fen = 0
    if lines:
        enrolled = await _enrol(request, lines, onward)
        premium_fen = enrolled.premium_fen
        for place, verdict in zip(places, enrolled.verdicts, strict=True):
            verdict.index = place
            verdicts[place] = verdict
    return insured_pb2.EnrolInsuredByIdentityResponse(verdicts=verdicts, premium_fen=premium_fen)


async def _resolved(
    request: insured_pb2.EnrolInsuredByIdentityRequest, onward: Onward
) -> Sequence[people_pb2.ResolvedPerson]:
    queries = [
        people_pb2.PersonQuery(
            identity_number=item.identity_number,
            name=item.name,
            born_on=item.born_on if item.HasField("born_on") else None,
        )
        for item in request.items
    ]
    asked = people_pb2.ResolvePersonsRequest(county_code=request.county_code, queries=queries)
    answer = await ask(onward, _RESOLVE, asked, people_pb2.ResolvePersonsResponse)
    return answer.persons


async def _enrol(
    request: insured_pb2.EnrolInsuredByIdentityRequest,
    lines: Sequence[policies_pb2.InsuredLine],
    onward: Onward,
) -> policies_pb2.EnrolInsuredResponse:
    asked = policies_pb2.EnrolInsuredRequest(
        request_id=request.request_id,
        county_code=request.county_code,
        policy_id=request.policy_id,
        items=lines,
        dry_run=request.dry_run,
    )
    return await ask(onward, _ENROL, asked, policies_pb2.EnrolInsuredResponse)


def _line(
    item: insured_pb2.IdentifiedLine, person: people_pb2.ResolvedPerson
) -> policies_pb2.InsuredLine:
    return policies_pb2.InsuredLine(
        household_id=person.household_id,
        member_id=person.verdict.id if item.person_only else "",
        cover_id=item.cover_id,
        sum_insured_fen=item.sum_insured_fen,
        loan_id=item.loan_id,
        from_date=item.from_date if item.HasField("from_date") else None,
    )


def _without_household(place: int) -> common_pb2.Verdict:
    return wire.refused(
        place,
        Refused(
            "HOUSEHOLD_NONE",
            "the person belongs to no household",
            message_zh="该人员不属于任何农户",
        ),
    )
