"""Positive controls: what the harness asserts after a trial is false when something is wrong."""

import logging
import os
import random
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import pytest_asyncio

from deploy.local.nats import connect
from tests.eventually import eventually
from tests.faults import county as counties
from tests.faults import harness, payouts
from tests.faults.county import Form, platform
from tests.faults.harness import Kill, Killed, ask
from tests.faults.injector import Spoil
from tests.faults.test_kills import SEED

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1_200)]

log = logging.getLogger(__name__)

QUIET_SECONDS = 5.0
NEVER_SECONDS = 1.5
"""How long to wait for what can never be."""
SPOILT_MIN = 3
"""Of each way to spoil a letter."""
KILLS_VARIABLE = "LIANDONG_FAULTS_KILLS"
"""How many processes die under the payout load; the long form kills three hundred."""
KILLS = int(os.environ.get(KILLS_VARIABLE, "5"))
KILLS_EACH = min(20, KILLS)
PAYOUT_ROUNDS = -(-KILLS // KILLS_EACH)


class County:
    """A platform on which an undisturbed year has come to its end."""

    def __init__(self, tried: counties.County, outcome: harness.Outcome) -> None:
        self.tried = tried
        self.stack = tried.stack
        self.load = tried.load
        self.outcome = outcome

    @asynccontextmanager
    async def tampered(self, spoil: str, mend: str, *args: object) -> AsyncIterator[None]:
        """Change rows as no service may; the test leaves the books as it found them."""
        assert len(await ask(self.stack, f"{spoil} RETURNING 1", *args)) == 1, "nothing was spoilt"
        try:
            yield
        finally:
            await ask(self.stack, mend, *args)
        assert await self.load.is_quiet(seconds_max=QUIET_SECONDS)
        harness.require_balanced(await self.load.look())


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def county() -> AsyncIterator[County]:
    async with platform(Form(synced=False)) as tried:
        outcome = await tried.load.live()
        harness.remember(outcome, seed=SEED)
        yield County(tried, outcome)


async def test_a_fen_too_much_on_a_loan_is_found(county: County) -> None:
    rows = await ask(county.stack, "SELECT loan_id FROM loans.loan WHERE state = 'active' LIMIT 1")
    change = "UPDATE loans.loan SET outstanding_fen = outstanding_fen {} 1 WHERE loan_id = $1"

    async with county.tampered(change.format("+"), change.format("-"), rows[0][0]):
        outcome = await county.load.look()
        with pytest.raises(AssertionError, match=r"loans\.book_difference_fen: 1"):
            harness.require_balanced(outcome)


async def test_an_event_that_was_taken_in_without_its_effect_is_found(county: County) -> None:
    rows = await ask(
        county.stack,
        "SELECT household_id, limit_fen FROM loans.borrower WHERE limit_fen > 0 LIMIT 1",
    )
    household_id, limit_fen = rows[0]

    async with county.tampered(
        "UPDATE loans.borrower SET limit_fen = limit_fen - $2 WHERE household_id = $1",
        "UPDATE loans.borrower SET limit_fen = limit_fen + $2 WHERE household_id = $1",
        household_id,
        limit_fen,
    ):
        outcome = await county.load.look()
        with pytest.raises(AssertionError, match=f"loans.limit_fen: {limit_fen}"):
            harness.require_balanced(outcome)
        with pytest.raises(AssertionError):
            harness.require_same(outcome, county.outcome)


async def test_an_event_that_never_reached_the_stream_is_missed(county: County) -> None:
    # As a relay would leave it that notes an event as published before the stream has it.
    async with county.tampered(
        """INSERT INTO credit.outbox (event_id, event_type, aggregate_type, aggregate_id, sequence,
                                      county_code, payload, stream_sequence)
           SELECT $1, event_type, aggregate_type, aggregate_id, sequence + 1, county_code, payload,
                  1 FROM credit.outbox ORDER BY sequence DESC, position LIMIT 1""",
        "DELETE FROM credit.outbox WHERE event_id = $1",
        uuid.uuid4(),
    ):
        assert not await county.load.is_quiet(seconds_max=NEVER_SECONDS)


async def test_a_row_of_the_access_log_that_was_changed_is_found(county: County) -> None:
    change = "UPDATE gateway.access_log SET person_id = {} WHERE position = 7"

    async with county.tampered(
        change.format("person_id || 'x'"), change.format("left(person_id, -1)")
    ):
        outcome = await county.load.look()
        assert outcome.access_log_broken_at == 7
        with pytest.raises(AssertionError):
            harness.require_balanced(outcome)


async def test_a_stream_that_takes_nothing_in_is_noticed(
    county: County,
) -> None:
    stack = county.stack
    operator = stack.ca.service("operator")
    client = await connect(f"tls://127.0.0.1:{stack.bus.port}", operator, "operator")
    try:
        assert await stack._takes_in(client)
        stack.bus.start(Spoil(publish_acks_dropped_ppm=1_000_000), seed=0)
        assert not await stack._takes_in(client)
        assert stack.bus.counts.publish_acks_dropped > 0
    finally:
        stack.bus.rest()
        await client.close()
    assert stack.nats.has_room()


@pytest.mark.parametrize("seed", range(PAYOUT_ROUNDS))
async def test_payouts_are_allocated_once_whoever_dies(county: County, seed: int) -> None:
    """No control: it is here because this platform has a year behind it, with loans to pay off."""
    names = harness.victims(one_process_each=False)
    kills = payouts.often(names, seed=SEED + seed, kills=KILLS_EACH)
    if seed == 0:
        # The last time that NATS dies its data goes with it.
        last = max(kill for kill in kills if kill.victim == "nats")
        kills = sorted(replace(kill, wipe=True) if kill is last else kill for kill in kills)
    before = await payouts.require_once(county.stack)

    outcome = await payouts.pay(county.stack, county.load, kills, seed=seed)

    log.info("%s", outcome)
    harness.require_killed(outcome, kills)
    harness.require_balanced(outcome)
    assert await payouts.require_once(county.stack) > before
    county.outcome = replace(outcome, killed=())


async def test_payouts_go_on_though_connections_break_and_letters_are_lost(county: County) -> None:
    """The short form of `make faults`' kinds of messages and connections, all at once."""
    bus, rng = county.stack.bus, random.Random(SEED)
    spoil = Spoil(
        doubled_ppm=200_000,
        dropped_ppm=100_000,
        delayed_ppm=200_000,
        delay_seconds_max=1.0,
        acks_dropped_ppm=200_000,
    )

    async def fault() -> None:
        counts = bus.start(spoil, seed=SEED)

        async def least() -> int:
            return min(counts.doubled, counts.dropped, counts.delayed, counts.acks_dropped)

        try:
            for link in (bus, county.stack.base, county.stack.door):
                await link.keep_cutting(rng, times=1, seconds_max=0.5)
            await eventually(least, lambda hits: hits >= SPOILT_MIN, seconds_max=60)
        finally:
            bus.rest()

    await county.tried.under_load(fault, seed=SEED)

    assert min(link.cuts for link in (bus, county.stack.base, county.stack.door)) > 0
    county.outcome = replace(await county.load.look(), killed=())


async def test_without_its_inbox_a_service_would_take_an_event_twice_and_be_caught(
    county: County,
) -> None:
    """Last: what it does to the books of this platform is not undone."""
    rows = await ask(
        county.stack,
        """SELECT event_id, aggregate_id FROM claims.outbox
           WHERE event_type = 'liandong.claims.v1.payout_authorised' LIMIT 1""",
    )
    event_id, payout_id = rows[0]
    again = "UPDATE claims.outbox SET stream_sequence = NULL, publish_count = publish_count + 1"

    async def taken() -> int:
        heard = "SELECT events FROM loans.inbox_count WHERE noun = 'claims'"
        return int((await ask(county.stack, heard))[0][0])

    # Known to the inbox, it changes nothing.
    before = await taken()
    await ask(county.stack, f"{again} WHERE event_id = $1", event_id)
    assert await county.load.is_quiet(seconds_max=30)
    assert await taken() == before
    harness.require_same(await county.load.look(), county.outcome)

    await ask(county.stack, "DELETE FROM loans.inbox_event WHERE event_id = $1", event_id)
    await ask(
        county.stack,
        "UPDATE loans.inbox_position SET last_sequence = 0 WHERE aggregate_id = $1",
        payout_id,
    )
    await ask(county.stack, f"{again} WHERE event_id = $1", event_id)
    await eventually(taken, lambda events: events > before, seconds_max=60)

    with pytest.raises(AssertionError):
        harness.require_balanced(await county.load.look())
    assert not await county.load.is_quiet(seconds_max=NEVER_SECONDS)


async def test_a_kill_that_did_not_happen_is_not_counted(county: County) -> None:
    kill = Kill(1, "nats")
    killed = replace(county.outcome, killed=(Killed(kill, 4711, 4712),))
    survived = replace(county.outcome, killed=(Killed(kill, 4711, 4711),))

    harness.require_killed(killed, [kill])
    with pytest.raises(AssertionError):
        harness.require_killed(survived, [kill])
    with pytest.raises(AssertionError):
        harness.require_killed(killed, [kill, Kill(2, "postgres")])
    with pytest.raises(AssertionError):
        harness.require_killed(county.outcome, [])


async def test_a_load_that_ends_before_its_kills_is_no_trial(county: County) -> None:
    killer = harness.Killer(county.stack, [Kill(2, "nats")])

    killer.step()

    with pytest.raises(AssertionError, match="the load ended before"):
        await killer.finish()
