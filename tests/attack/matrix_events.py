"""The access matrix of events: what every role's feed tells, held against what each event says."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping

import grpc
from liandong.gateway.v1 import feeds_pb2

from gateway.rules import TOLD
from services.programmes.schema.deployment import InstitutionRole as Role
from tests.attack.bola import Attack, Attacker
from tests.attack.ids import UUID
from tests.attack.matrix import NEIGHBOURS, Outcome, Whose
from tests.attack.world import short_of
from tests.live.folder import OPERATOR

SUBSCRIBE = "/liandong.gateway.v1.FeedsService/Subscribe"
SECONDS_MAX = 120
AT_ONCE = 6


async def run(attack: Attack, outcome: Outcome) -> None:
    """Read every role's feed from its beginning, in the first county and in the other."""
    first, other = attack.world.counties()
    gate = asyncio.Semaphore(AT_ONCE)
    readers = []
    for role in sorted(Role):
        short, neighbour = NEIGHBOURS.get(role) or (
            OPERATOR if role == Role.OPERATOR else short_of(role),
            "",
        )
        for county, victim in ((first, first), (other, first)):
            if role == Role.OPERATOR and county is other:
                continue
            readers.append(
                Attacker(county, short, role, victim, owner=neighbour, area=f"{first.code}102")
            )

    async def read(who: Attacker) -> None:
        async with gate:
            told = await feed(attack, who)
        judge(attack, who, told, outcome)

    await asyncio.gather(*(read(who) for who in readers))


async def feed(attack: Attack, who: Attacker) -> Mapping[str, list[feeds_pb2.FeedEvent]]:
    """All that an institution is told, by type; nothing where it may not ask at all."""
    institution_id = OPERATOR if who.role == Role.OPERATOR else who.institution_id
    client = attack.client(institution_id)
    request = feeds_pb2.SubscribeRequest(beginning=True, reader="matrix")
    told: dict[str, list[feeds_pb2.FeedEvent]] = defaultdict(list)
    call = client._channel.unary_stream(
        SUBSCRIBE,
        request_serializer=feeds_pb2.SubscribeRequest.SerializeToString,
        response_deserializer=feeds_pb2.SubscribeResponse.FromString,
    )(request, timeout=SECONDS_MAX, metadata=client.metadata(1, {}))
    try:
        async for answer in call:
            if answer.HasField("event"):
                told[answer.event.type].append(answer.event)
            if answer.live:
                break
    except grpc.aio.AioRpcError as error:
        attack.world.heard(error)
        if error.code() is not grpc.StatusCode.PERMISSION_DENIED:
            raise
    finally:
        call.cancel()
    return told


def judge(
    attack: Attack,
    who: Attacker,
    told: Mapping[str, list[feeds_pb2.FeedEvent]],
    outcome: Outcome,
) -> None:
    """A cell for each event: told to whom it is for, of its own county, of nothing foreign."""
    whose = Whose.OTHER_COUNTY if who.across else Whose.OWN
    foreign = attack.foreign_ids(who) if who.across or who.role in NEIGHBOURS else {}
    for event_type, rule in TOLD.items():
        events = told.get(event_type, [])
        outcome.cells += 1
        outcome.expected["event"] += 1
        where = f"{who.role} {event_type} {whose.value} event"
        if events and who.role not in rule.roles:
            outcome.wrong[where] = "its event names the role not, and yet it is told"
        for event in events:
            said = set(UUID.findall(f"{event.subject} {event.data}"))
            leaked = [each for each in said if each in foreign]
            near = event.county_code in (who.county.code, "000000", "")
            if not near and who.role != Role.OPERATOR:
                outcome.wrong[where] = f"an event of county {event.county_code} is told"
            if leaked:
                outcome.wrong[where] = f"{leaked[0]} of {foreign[leaked[0]].institutions} is told"
