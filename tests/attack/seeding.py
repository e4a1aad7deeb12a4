"""Seeding: every command once by everybody who may call it, so that of every kind there is one."""

import asyncio
from collections import Counter

import grpc

from tests.attack.bola import AT_ONCE, Attack, Attacker, allowed, routes
from tests.attack.ids import registry, rows
from tests.attack.world import World, short_of
from tests.live.county import County

NOT_SEEDED = (
    *("/MoveHousehold", "/MergePersons", "/MergeHouseholds", "/SplitHousehold", "/RemoveMember"),
    *("/CloseAccountingPeriod", "/CloseFundPeriod", "/EndMasterPolicy", "/EndAgreement"),
    *("/RevokeAssignments", "/WithdrawConsent", "/ProposeClosing", "/SetLenderBook"),
    *("/SetAreaFlag", "/FreezeLoan", "/DecideWriteOff", "/ReversePayout", "/WithdrawWarning"),
)
"""Commands that take away what later attacks want to find."""
ROLES = (
    *("bank", "insurer", "county_centre", "finance_bureau", "poverty_office", "agriculture_bureau"),
    *("village_department", "central_bank", "court", "credit_bureau"),
)


async def seed(world: World, *, rounds: int = 2) -> Counter[str]:
    """What succeeded by method; a second round finds what the first one made."""
    done: Counter[str] = Counter()
    for _ in range(rounds):
        known = registry(await rows(world.stack))
        attack = Attack(world, known, world.stack.gateway_address)
        gate = asyncio.Semaphore(AT_ONCE)
        try:
            for county in world.counties():
                await asyncio.gather(*(_seed(attack, county, role, done, gate) for role in ROLES))
        finally:
            await attack.close()
        await world.platform.settle()
    return done


async def _seed(
    attack: Attack, county: County, role: str, done: Counter[str], gate: asyncio.Semaphore
) -> None:
    who = Attacker(county, short_of(role), role, county)
    writers = [attack.writer(who), attack.writer(who)]
    writers[1].optional = False
    for route in routes():
        if not route.command or route.method.endswith(NOT_SEEDED) or not allowed(role, route):
            continue
        for writer in writers:
            request = writer.request(route.descriptor.input_type)
            async with gate:
                answer = await attack.ask(route, who.institution_id, request)
            if answer.code is grpc.StatusCode.OK:
                done[route.method.rpartition("/")[2]] += 1
                break
