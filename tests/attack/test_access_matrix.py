"""Every role at every method about everybody's things: as the rule of the method says."""

import logging
import os
from collections import Counter

import pytest

from tests.attack import ids, matrix
from tests.attack.bola import Attack
from tests.attack.matrix import Matrix
from tests.attack.world import World

pytestmark = [pytest.mark.stack, pytest.mark.timeout(3_600)]
log = logging.getLogger(__name__)

WHOLE = os.environ.get("LIANDONG_MATRIX_WHOLE") == "1"
KNOWN: dict[str, str] = {}
"""Cell (or method and what differs) to why it is wrong, until it is mended."""


async def test_every_cell_of_the_access_matrix_is_as_its_rule_says(world: World) -> None:
    households = await matrix.consents(world)
    attack = Attack(world, ids.registry(await ids.rows(world.stack)), world.stack.gateway_address)
    asked = list(matrix.cells(whole=WHOLE))
    try:
        outcome = await Matrix(attack, households).run(asked)
    finally:
        await attack.close()

    unknown = {cell: why for cell, why in outcome.wrong.items() if not known(cell)}
    log.info("%s %s", outcome.line(), dict(outcome.expected))
    by_method = Counter(cell.split()[1] for cell in unknown)
    log.info("wrong by method: %s", dict(by_method.most_common(20)))
    assert outcome.cells > 10_000
    assert not unknown, "\n".join(f"{cell}: {why}" for cell, why in sorted(unknown.items())[:60])


def known(cell: str) -> bool:
    """Whether a wrong cell is on the list."""
    return any(cell.startswith(each) or each in cell for each in KNOWN)
