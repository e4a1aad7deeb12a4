"""Another tenant's id in every place of every request: as good as nobody's, behind either wall."""

import logging
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.attack import bola, gateways, ids
from tests.attack.bola import Attack, Findings
from tests.attack.world import World

log = logging.getLogger(__name__)
pytestmark = pytest.mark.stack

KNOWN: dict[str, str] = {}
"""Method and field to why it is told all the same, until it is mended."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(world: World) -> AsyncIterator[str]:
    """A gateway of this process."""
    async with gateways.a_gateway(world.stack) as address:
        yield address


async def attacked(
    world: World, address: str, *, each: int, permitted: bool = True, within: bool = False
) -> Findings:
    """All swaps across counties, or within one; nothing of the victims' may have changed."""
    before = await ids.rows(world.stack)
    attack = Attack(world, ids.registry(before), address)
    chosen = bola.attackers(world, each=each, permitted=permitted, across=not within, within=within)
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
    """Nothing is told but what is known to be."""
    log.info("%s %s", findings.line(), dict(findings.codes))
    told = {where: what for where, what in findings.told.items() if where not in KNOWN}
    assert not told, "\n".join(f"{where}: {what}" for where, what in sorted(told.items()))


async def test_another_tenants_id_is_as_good_as_nobodys(world: World, gateway: str) -> None:
    findings = await attacked(world, gateway, each=2)

    must_hold(findings)
    assert findings.swapped > 1_000
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

    must_hold(await attacked(world, gateway, each=2, permitted=False))
