"""Another tenant's id in every place of every request: as good as nobody's, behind either wall."""

import logging
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.attack import bola, gateways, ids
from tests.attack.bola import Attack, Findings
from tests.attack.world import World
from tests.lengths import LONG, WALLED_ONE_IN, drawn

log = logging.getLogger(__name__)
pytestmark = pytest.mark.stack
EACH = 2 if LONG else 1
"""Of another county so many roles attack each method."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(world: World) -> AsyncIterator[str]:
    """A gateway of this process."""
    async with gateways.a_gateway(world.stack) as address:
        yield address


async def attacked(
    world: World,
    address: str,
    *,
    each: int,
    permitted: bool = True,
    within: bool = False,
    one_in: int = 1,
) -> Findings:
    """All swaps across counties, or within one; nothing of the victims' may have changed."""
    before = await ids.rows(world.stack)
    attack = Attack(world, ids.registry(before), address)
    every = bola.attackers(world, each=each, permitted=permitted, across=not within, within=within)
    chosen = {route: many for route, many in every.items() if drawn(route.method, one_in)}
    victims = {
        found
        for many in chosen.values()
        for attacker in many
        for found in attack.foreign_ids(attacker)
    }
    try:
        findings = await attack.run(chosen)
    finally:
        await attack.close()
    after = ids.mentioning(await ids.rows(world.stack), frozenset(victims))
    for table, kept in ids.mentioning(before, frozenset(victims)).items():
        lost = kept - after.get(table, set())
        if lost:
            findings.told[f"{table} is written"] = f"{len(lost)} rows, one is {min(lost)[:600]}"
    return findings


def must_hold(findings: Findings) -> None:
    """Nothing is told."""
    log.info("%s %s", findings.line(), dict(findings.codes))
    told = sorted(findings.told.items())
    assert not told, "\n".join(f"{where}: {what}" for where, what in told)


async def test_another_tenants_id_is_as_good_as_nobodys(world: World, gateway: str) -> None:
    findings = await attacked(world, gateway, each=EACH)

    must_hold(findings)
    assert findings.swapped > 500 * EACH
    assert findings.reached > 100


async def test_a_neighbours_id_is_as_good_as_nobodys(world: World, gateway: str) -> None:
    findings = await attacked(world, gateway, each=1, within=True)

    must_hold(findings)
    assert findings.swapped > 300
    assert findings.reached > 100


async def test_the_services_hold_without_the_gateways_decision(
    world: World, gateway: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateways.let_everybody_in(monkeypatch)

    findings = await attacked(world, gateway, each=EACH, permitted=False, one_in=WALLED_ONE_IN)

    must_hold(findings)
    assert findings.swapped > 100


@pytest.mark.parametrize("within", [False, True], ids=["another_county", "a_neighbour"])
async def test_the_gateway_and_the_services_hold_without_the_row_walls(
    world: World, gateway: str, within: bool
) -> None:
    async with gateways.without_row_walls(world.stack) as tables:
        findings = await attacked(world, gateway, each=1, within=within, one_in=WALLED_ONE_IN)

    log.info("tables without their wall: %d", tables)
    must_hold(findings)
    assert findings.reached > 20


async def test_another_institutions_request_id_gives_nothing_of_its_answer(world: World) -> None:
    """What was answered to one institution is answered to nobody else who sends the same id."""
    held = await ids.rows(world.stack)
    attack = Attack(world, ids.registry(held), world.stack.gateway_address)
    by_method = {route.path: route for route in bola.routes() if route.command}
    kept = {
        str(row.values["method"]): row.values
        for row in held
        if row.table == "idempotency" and row.noun != "gateway"
    }
    told: list[str] = []
    try:
        for method, values in kept.items():
            route = by_method.get(method)
            short, _, county_code = str(values["institution_id"]).rpartition("-")
            if route is None or county_code not in (world.first.code, world.other.code):
                continue
            victim, thief = world.counties()
            if county_code == thief.code:
                victim, thief = thief, victim
            who = bola.Attacker(thief, short, "", victim)
            request = attack.writer(who).request(route.descriptor.input_type)
            answer = await attack.ask(
                route, who.institution_id, request, request_id=str(values["request_id"])
            )
            others = set(ids.UUID.findall(bytes(values["response"]).decode("latin-1")))
            own = set(ids.UUID.findall(str(request)))
            if (others - own) & set(ids.UUID.findall(answer.raw.decode("latin-1"))):
                told.append(f"{method} by {who.institution_id}: {answer.short()}")
    finally:
        await attack.close()

    assert len(kept) > 30
    assert told == []
