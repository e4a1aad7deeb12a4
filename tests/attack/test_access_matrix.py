"""Every role at every method about everybody's things: as the rule of the method says."""

import logging
import os
import re
import zlib
from collections import Counter

import pytest

from tests.attack import ids, matrix, matrix_events
from tests.attack.bola import Attack
from tests.attack.matrix import Matrix
from tests.attack.world import World

pytestmark = [pytest.mark.stack, pytest.mark.timeout(3_600)]
log = logging.getLogger(__name__)

ONLY = os.environ.get("LIANDONG_MATRIX_ONLY", "")
"""An expression for the cells that shall be asked, `bank .*/GetLimit`; empty for all."""
WHOLE = os.environ.get("LIANDONG_MATRIX_WHOLE") == "1"
PART_REFUSED, PART = 12, 6
"""The short form asks one cell in so many: of those that a rule refuses, and of the others."""


async def test_every_cell_of_the_access_matrix_is_as_its_rule_says(world: World) -> None:
    households = await matrix.consents(world)
    attack = Attack(world, ids.registry(await ids.rows(world.stack)), world.stack.gateway_address)
    asked = [cell for cell in matrix.cells(whole=WHOLE) if re.search(ONLY, str(cell))]
    if not WHOLE and not ONLY:
        asked = [cell for cell in asked if drawn(cell)]
    try:
        outcome = await Matrix(attack, households).run(asked)
        if not ONLY:
            await matrix_events.run(attack, outcome)
    finally:
        await attack.close()

    wrong = sorted(outcome.wrong.items())
    log.info("cells=%d wrong=%d without_object=%d", outcome.cells, len(wrong), outcome.without)
    log.info("%s", dict(outcome.expected))
    by_method = Counter(cell.split()[1] for cell, _ in wrong)
    log.info("wrong by method: %s", dict(by_method.most_common(20)))
    assert ONLY or outcome.cells > (10_000 if WHOLE else 2_000)
    assert not wrong, "\n".join(f"{cell}: {why}" for cell, why in wrong[:60])


def drawn(cell: matrix.Cell) -> bool:
    """Whether the short form asks a cell: always the same ones, so that a failure comes again."""
    expected = matrix.expectation(cell)
    part = PART_REFUSED if expected is matrix.Expected.ROLE_DENIED else PART
    return expected is matrix.Expected.SEEN or zlib.crc32(str(cell).encode()) % part == 0
