"""Whoever is killed, and whenever: the county's year ends balanced to the fen, and as it would."""

import os
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.faults import harness
from tests.faults.harness import Kill

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1_200)]

SEED = 20180301
SEEDS_VARIABLE = "LIANDONG_FAULTS_SEEDS"
"""How many years of random kills the long form lives, in each form of the platform."""
RANDOM_SEEDS = range(int(os.environ.get(SEEDS_VARIABLE, "0")))
RANDOM_KILLS = 12

FORMS = [pytest.param(False, id="all-in-one"), pytest.param(True, id="one-process-each")]
# Every day the payout load of test_controls kills the all-in-one form, and its stream with it.
FORMS_IN_TURN = FORMS if RANDOM_SEEDS else FORMS[1:]


@pytest.mark.parametrize("one_process_each", FORMS_IN_TURN)
async def test_every_process_dies_in_turn_and_the_year_comes_to_the_same(
    *, one_process_each: bool
) -> None:
    def plan(names: Sequence[str], commands: int) -> list[Kill]:
        kills = harness.in_turn(names, commands=commands, seed=SEED)
        # In the one form NATS comes back with its stream, in the other with nothing.
        wipe = not one_process_each
        return [replace(kill, wipe=wipe and kill.victim == "nats") for kill in kills]

    outcome = await harness.trial(seed=SEED, one_process_each=one_process_each, plan=plan)

    dead = {killed.kill.victim for killed in outcome.killed}
    assert dead == set(harness.victims(one_process_each=one_process_each))
    assert outcome.retries > 0, "nobody noticed"


@pytest.mark.parametrize("seed", RANDOM_SEEDS)
@pytest.mark.parametrize("one_process_each", FORMS)
async def test_anybody_dies_at_any_time(*, one_process_each: bool, seed: int) -> None:
    def plan(names: Sequence[str], commands: int) -> list[Kill]:
        return harness.at_random(names, commands=commands, seed=seed, kills=RANDOM_KILLS)

    await harness.trial(seed=SEED + seed, one_process_each=one_process_each, plan=plan)


@pytest.mark.parametrize("seed", RANDOM_SEEDS)
async def test_the_stream_is_lost_with_its_server(*, seed: int) -> None:
    def plan(names: Sequence[str], commands: int) -> list[Kill]:
        assert "nats" in names
        kills = harness.at_random(["nats"], commands=commands, seed=seed, kills=3)
        return [replace(kill, wipe=True) for kill in kills]

    await harness.trial(seed=SEED + seed, one_process_each=False, plan=plan)


@pytest.mark.parametrize("seed", RANDOM_SEEDS)
@pytest.mark.parametrize("one_process_each", FORMS)
async def test_everybody_dies_at_once(*, one_process_each: bool, seed: int) -> None:
    def plan(names: Sequence[str], commands: int) -> list[Kill]:
        moments = harness.at_random(["nats"], commands=commands, seed=seed, kills=2)
        return sorted(Kill(moment.at_command, name) for moment in moments for name in names)

    await harness.trial(seed=SEED + seed, one_process_each=one_process_each, plan=plan)
