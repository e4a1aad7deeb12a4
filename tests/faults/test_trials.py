"""Trials: processes killed and paused, messages spoilt, connections cut; each with its control."""

import asyncio
import random
import shutil
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, replace

import pytest

from deploy.local.stack import NOUNS
from tests.eventually import at_least, eventually
from tests.faults import county as counties
from tests.faults import harness, poison
from tests.faults.county import County, Form, Measured, Original
from tests.faults.injector import Spoil
from tests.faults.report import Report, Trial

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

SPOILT_SECONDS = 5.0
SPOILT_MIN = 20
"""A trial of messages goes on until at least so many were spoilt."""
PAUSE_SECONDS = 4.0
"""Longer than the server waits for an acknowledgement (`harness.streams`)."""
CONTROL_SECONDS = 15.0
"""How long a control may take to settle: what is not there by then is lost."""
HELD_BACK = 20
CUTS = 6

Fault = Callable[[County, random.Random, Trial], Awaitable[None]]
Tell = AbstractAsyncContextManager[Trial]


async def stand(telling: Tell, county: County, fault: Fault, *, seed: int) -> None:
    """A trial: the fault under load, and everything in order afterwards."""
    async with telling as one:
        rng = random.Random(seed)
        before = county.commands
        try:
            measured = await county.under_load(lambda: fault(county, rng, one), seed=seed)
        finally:
            one.lost_fen, one.doubled = county.lost_fen, county.doubled
        one.commands = county.commands - before
        tell(one, measured)


def tell(one: Trial, measured: Measured) -> None:
    """How the platform came back."""
    one.figures["serves s"] = round(measured.serves_seconds, 2)
    one.figures["quiet s"] = round(measured.quiet_seconds, 2)


async def fail(telling: Tell, original: Original, form: Form, fault: Fault, *, seed: int) -> None:
    """A control: the same fault, and the same check, on a platform that is wrong."""
    async with original.copied(form) as county, telling as one:
        rng = random.Random(seed)
        await county.under_load(
            lambda: fault(county, rng, one), seed=seed, patience_seconds=CONTROL_SECONDS
        )


# --- messages -------------------------------------------------------------------------------------


def spoiling(spoil: Spoil, *counted: str) -> Fault:
    """Messages between the services and NATS are spoilt for some seconds."""

    async def fault(county: County, rng: random.Random, one: Trial) -> None:
        counts = county.stack.bus.start(spoil, seed=rng.randrange(2**32))

        async def least() -> int:
            return min(int(getattr(counts, name)) for name in counted)

        try:
            await asyncio.sleep(SPOILT_SECONDS)
            # A relay whose acknowledgement is lost waits ten seconds before it asks again.
            await eventually(least, at_least(SPOILT_MIN), seconds_max=180)
        finally:
            county.stack.bus.rest()
            one.faults = sum(getattr(counts, name) for name in counted)
            one.figures |= {name: hits for name, hits in asdict(counts).items() if hits}

    return fault


ONCE_DELIVERED = replace(harness.streams(), max_deliver=1)
MESSAGES = {
    "doubled": (
        "30 % of deliveries come twice",
        spoiling(Spoil(doubled_ppm=300_000), "doubled"),
        "no inbox: what is known is taken in again",
        Form(wrong="no_inbox"),
    ),
    "shuffled": (
        "deliveries in windows of up to 50, each in a random order",
        spoiling(Spoil(window=50), "shuffled"),
        "no order: what comes early is taken in early",
        Form(wrong="no_order"),
    ),
    "delayed": (
        "30 % of deliveries late, up to half as long again as the server waits",
        spoiling(Spoil(delayed_ppm=300_000, delay_seconds_max=4.5), "delayed"),
        "no inbox: what was given again in the meantime is taken in twice",
        Form(wrong="no_inbox"),
    ),
    "dropped": (
        "20 % of deliveries never arrive",
        spoiling(Spoil(dropped_ppm=200_000), "dropped"),
        "the server gives each event once",
        Form(streams=ONCE_DELIVERED),
    ),
    "unacknowledged": (
        "30 % of consumers' and of the stream's acknowledgements never arrive",
        spoiling(
            Spoil(acks_dropped_ppm=300_000, publish_acks_dropped_ppm=300_000),
            *("acks_dropped",),
        ),
        "no inbox: an effect whose acknowledgement was lost is had again",
        Form(wrong="no_inbox"),
    ),
}


@pytest.mark.parametrize("kind", MESSAGES)
async def test_messages_are_spoilt(
    *, kind: str, trial_seed: int, county: County, report: Report
) -> None:
    what, fault, _, _ = MESSAGES[kind]
    await stand(report.trial(kind, what, seed=trial_seed), county, fault, seed=trial_seed)


@pytest.mark.parametrize("kind", MESSAGES)
async def test_spoilt_messages_are_found(*, kind: str, original: Original, report: Report) -> None:
    _, fault, planted, form = MESSAGES[kind]
    await fail(report.control(kind, planted, seed=1), original, form, fault, seed=1)


# --- connections ----------------------------------------------------------------------------------


async def cut(county: County, rng: random.Random, one: Trial) -> None:
    """Connections to NATS, to PostgreSQL and to the gateway are reset at random moments."""
    links = (county.stack.bus, county.stack.base, county.stack.door)
    before = sum(link.cuts for link in links)
    await asyncio.gather(*(link.keep_cutting(rng, times=CUTS, seconds_max=1.5) for link in links))
    one.faults = sum(link.cuts for link in links) - before


async def test_connections_are_cut(*, trial_seed: int, county: County, report: Report) -> None:
    what = "connections to NATS, PostgreSQL and the gateway reset, six times each"
    await stand(report.trial("cut", what, seed=trial_seed), county, cut, seed=trial_seed)


async def test_a_command_done_twice_is_found(*, original: Original, report: Report) -> None:
    telling = report.control("cut", "no idempotency: a command asked again is done again", seed=1)
    await fail(telling, original, Form(wrong="forgetful"), cut, seed=1)


# --- processes ------------------------------------------------------------------------------------


def killing(*names: str) -> Fault:
    """Each of these is killed once, in a random order, and serves again before the next."""

    async def fault(county: County, rng: random.Random, one: Trial) -> None:
        for name in rng.sample(names, len(names)):
            await asyncio.sleep(rng.uniform(0.1, 1.0))
            began = asyncio.get_running_loop().time()
            await county.kill(name)
            await county.until_served()
            seconds = round(asyncio.get_running_loop().time() - began, 2)
            one.figures[f"{name} s"] = max(seconds, float(one.figures.get(f"{name} s", 0)))
            one.faults += 1

    return fault


async def test_each_process_is_killed(
    *, trial_seed: int, original: Original, report: Report
) -> None:
    what = "kill -9 of each of eight processes; figures from the kill until all five answer"
    async with original.copied(Form(one_process_each=True)) as county:
        fault = killing(*NOUNS, "postgres", "nats")
        telling = report.trial("killed", what, seed=trial_seed)
        await stand(telling, county, fault, seed=trial_seed)


async def test_an_event_lost_with_its_process_is_found(
    *, original: Original, report: Report
) -> None:
    telling = report.control("killed", "acknowledged first, taken in afterwards", seed=1)
    await fail(telling, original, Form(wrong="ack_first"), killing(*["platform"] * 2), seed=1)


def pausing(*names: str, killed: bool) -> Fault:
    """Each of these stops in its tracks for longer than an event waits; some never go on."""

    async def fault(county: County, rng: random.Random, one: Trial) -> None:
        for place, name in enumerate(rng.sample(names, len(names))):
            dies = killed or place % 2 == 1
            await county.pause(name, seconds=PAUSE_SECONDS, killed=dies)
            await county.until_served()
            one.faults += 1

    return fault


async def test_each_process_is_paused(
    *, trial_seed: int, original: Original, report: Report
) -> None:
    what = f"SIGSTOP of each of eight processes for {PAUSE_SECONDS:g} s; every second then dies"
    async with original.copied(Form(one_process_each=True)) as county:
        fault = pausing(*NOUNS, "postgres", "nats", killed=False)
        telling = report.trial("paused", what, seed=trial_seed)
        await stand(telling, county, fault, seed=trial_seed)


async def test_an_event_lost_in_a_paused_process_is_found(
    *, original: Original, report: Report
) -> None:
    telling = report.control("paused", "acknowledged first, and it never goes on", seed=1)
    fault = pausing(*["platform"] * 2, killed=True)
    await fail(telling, original, Form(wrong="ack_first"), fault, seed=1)


# --- the stream -----------------------------------------------------------------------------------


async def wipe(county: County, _: random.Random, one: Trial) -> None:
    """NATS dies with its data while events are in the stream that nobody has heard."""
    store = county.stack.nats.store
    counts = county.stack.bus.start(Spoil(dropped_ppm=1_000_000), seed=0)

    async def held_back() -> int:
        return counts.dropped

    try:
        await eventually(held_back, at_least(HELD_BACK), seconds_max=60)
        lost = store.with_name("lost")

        def lose() -> None:
            """At once: its successor is not to find a file of it."""
            store.rename(lost)

        await county.kill("nats", meanwhile=lose)
    finally:
        county.stack.bus.rest()
    one.faults += 1
    one.figures["unheard"] = counts.dropped
    await asyncio.to_thread(shutil.rmtree, lost)


async def test_the_stream_is_wiped(*, trial_seed: int, county: County, report: Report) -> None:
    what = "kill -9 of NATS, its store deleted; the relays fill the new one from the outboxes"
    await stand(report.trial("wiped", what, seed=trial_seed), county, wipe, seed=trial_seed)


async def test_a_stream_that_is_not_filled_again_is_found(
    *, original: Original, report: Report
) -> None:
    telling = report.control("wiped", "relays never look whether the stream still has it", seed=1)
    await fail(telling, original, Form(wrong="blind_relay"), wipe, seed=1)


# --- poison ---------------------------------------------------------------------------------------


def poisoning(*, seconds_max: float) -> Fault:
    """Events that nobody can read, one of each type that was ever said, and what is no event."""

    async def fault(county: County, _: random.Random, one: Trial) -> None:
        one.faults = await poison.spread(county.stack)
        parked = await poison.until_parked(county.stack, seconds_max=seconds_max)
        one.figures["parked"] = parked
        await poison.drop(county.stack, county.load)

    return fault


async def test_messages_are_poisonous(*, trial_seed: int, county: County, report: Report) -> None:
    what = "a malformed event of every type, an unknown type, a message that is no event"
    fault = poisoning(seconds_max=120)
    await stand(report.trial("poison", what, seed=trial_seed), county, fault, seed=trial_seed)


async def test_poison_that_is_tried_for_ever_is_found(
    *, original: Original, report: Report
) -> None:
    telling = report.control("poison", "no bound on attempts", seed=1)
    fault = poisoning(seconds_max=2 * CONTROL_SECONDS)
    await fail(telling, original, Form(wrong="never_parks"), fault, seed=1)


# --- clocks ---------------------------------------------------------------------------------------


async def jump(county: County, rng: random.Random, one: Trial) -> None:
    """Clocks jump by an hour and back, each process its own."""
    # A certificate that was made just now is good from five minutes ago.
    jumps = [("platform", 3_600), ("platform", -240), ("postgres", 3_600), ("postgres", -3_600)]
    for name, seconds in rng.sample(jumps, len(jumps)):
        county.stack.clocks[name].set(seconds)
        await asyncio.sleep(2)
        county.stack.clocks[name].set(0)
        await asyncio.sleep(1)
        one.faults += 2


def require_faketime() -> None:
    """Skip where no process can have a clock of its own."""
    if counties.faketime() is None:
        pytest.skip("no libfaketime here (Debian: libfaketime)")


async def test_clocks_jump(*, trial_seed: int, original: Original, report: Report) -> None:
    what = "libfaketime: PostgreSQL and the services jump an hour on and back under load"
    async with report.trial("clock", what, seed=trial_seed) as one:
        require_faketime()
        rng = random.Random(trial_seed)
        async with original.copied(Form(clocks=True)) as county:
            measured = await county.under_load(lambda: jump(county, rng, one), seed=trial_seed)
            one.commands = county.commands
            tell(one, measured)


async def test_events_ordered_by_the_clock_are_found(*, original: Original, report: Report) -> None:
    async with report.control("clock", "events are ordered by their time", seed=1) as one:
        require_faketime()
        async with original.copied(Form(clocks=True, wrong="by_the_clock")) as county:
            await county.under_load(
                lambda: jump(county, random.Random(1), one),
                seed=1,
                patience_seconds=CONTROL_SECONDS,
            )
