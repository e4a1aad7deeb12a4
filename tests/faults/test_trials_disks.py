"""Trials of disks: full ones, and ones whose power goes; what was acknowledged must be there."""

import asyncio
import os
import random
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from nats.errors import Error as NatsError

from deploy.local import places, processes
from deploy.local.ca import LocalCA
from deploy.local.nats import Nats, connect
from deploy.local.places import DataFolder
from deploy.local.stack import NOUNS
from services.kernel.outbox import STREAM
from tests.eventually import at_least, eventually
from tests.faults import harness
from tests.faults.county import (
    NATS_DISK_BYTES,
    County,
    Form,
    Original,
    PluggedNats,
    PluggedPostgres,
)
from tests.faults.disks import Disk
from tests.faults.harness import ask
from tests.faults.report import Report, Trial
from tests.faults.test_trials import fail, stand

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

FULL_SECONDS = 3.0
RECOVERS_SECONDS_MAX = 60.0
"""Of what takes 20 s: a stream that takes nothing in is tried twice before it is restarted."""
LOAD_SECONDS = 2.0
ANSWERS = 4
EVENTS = 300
SUBJECT = "liandong.loans.v1.loan_repaid.411224"


@pytest.fixture
def disks(no_disks: str) -> None:
    """Skip where no file system can be mounted, by name."""
    if no_disks:
        pytest.skip(no_disks)


async def unpublished(county: County) -> int:
    """Events that no stream has yet."""
    count = 0
    for noun in NOUNS:
        sql = f"SELECT count(*) FROM {noun}.outbox WHERE stream_sequence IS NULL"
        count += (await ask(county.stack, sql))[0][0]
    return count


# --- full -----------------------------------------------------------------------------------------


async def fill_nats(county: County, _: random.Random, one: Trial) -> None:
    """The stream's disk is full for a while; then there is room again."""
    disk = county.disks["nats"]
    one.figures["filled MiB"] = disk.fill() // 2**20
    try:
        await eventually(lambda: unpublished(county), at_least(1), seconds_max=60)
        await asyncio.sleep(FULL_SECONDS)
        assert await unpublished(county) > 0, "the disk was not full"
    finally:
        disk.free()
    began = asyncio.get_running_loop().time()
    await eventually(
        lambda: unpublished(county), lambda left: left == 0, seconds_max=RECOVERS_SECONDS_MAX
    )
    one.figures["publishes again s"] = round(asyncio.get_running_loop().time() - began, 1)
    one.faults += 1


@pytest.mark.usefixtures("disks")
async def test_the_streams_disk_is_full(*, trial_seed: int, county: County, report: Report) -> None:
    what = "the disk of NATS filled to the last block, then freed"
    telling = report.trial("full: NATS", what, seed=trial_seed)
    await stand(telling, county, fill_nats, seed=trial_seed)


@pytest.mark.usefixtures("disks")
async def test_a_stream_that_stays_stuck_is_found(*, original: Original, report: Report) -> None:
    telling = report.control("full: NATS", "nobody tries whether the stream takes anything in")
    await fail(telling, original, Form(disks=True, watches=False), fill_nats, seed=1)


async def fill_postgres(county: County, _: random.Random, one: Trial) -> None:
    """The database's disk is full, it is killed so, and then there is room again."""
    disk = county.disks["postgres"]
    before = county.load.year.retries
    one.figures["filled MiB"] = disk.fill() // 2**20
    freeing = asyncio.get_running_loop().call_later(FULL_SECONDS + 1, disk.free)
    try:

        async def refused() -> int:
            return county.load.year.retries - before

        await asyncio.sleep(FULL_SECONDS)
        one.figures["calls refused"] = await refused()
        await county.kill("postgres")
    finally:
        if freeing.when() > asyncio.get_running_loop().time():
            freeing.cancel()
            disk.free()
    one.faults += 1


@pytest.mark.usefixtures("disks")
async def test_the_databases_disk_is_full(
    *, trial_seed: int, county: County, report: Report
) -> None:
    what = "the disk of PostgreSQL filled to the last block, kill -9 while it is, then freed"
    telling = report.trial("full: PostgreSQL", what, seed=trial_seed)
    await stand(telling, county, fill_postgres, seed=trial_seed)


async def commit_late(county: County) -> None:
    """The planted wrong way: a commit is answered before it is on disk."""
    for setting in (
        "synchronous_commit = off",
        "wal_writer_delay = '10s'",
        "wal_writer_flush_after = 0",
        # It writes pages, and what is told of them with them.
        "bgwriter_lru_maxpages = 0",
    ):
        await ask(county.stack, f"ALTER SYSTEM SET {setting}")
    await ask(county.stack, "SELECT pg_reload_conf()")
    # What writes in the background does not, so that it is no matter of luck.
    (writer,) = await ask(
        county.stack, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'"
    )
    os.kill(writer[0], signal.SIGSTOP)
    assert await county.more_answered(ANSWERS, seconds_max=60) >= ANSWERS


@pytest.mark.usefixtures("disks")
async def test_answers_lost_on_a_full_disk_are_found(*, original: Original, report: Report) -> None:
    async def late(county: County, rng: random.Random, one: Trial) -> None:
        await commit_late(county)
        await fill_postgres(county, rng, one)

    telling = report.control("full: PostgreSQL", "commits are answered before they are written")
    await fail(telling, original, Form(disks=True), late, seed=1)


# --- power ----------------------------------------------------------------------------------------


async def cut_power(county: County, rng: random.Random, one: Trial) -> None:
    """Both servers lose their power and what they had not synced, and come back."""
    for disk in county.disks.values():
        # Their configuration is written like any other file, and is not what is tried here.
        await asyncio.to_thread(disk.sync)
    await asyncio.sleep(rng.uniform(0.2, LOAD_SECONDS))
    stack = county.stack
    plugs: dict[str, PluggedPostgres | PluggedNats] = {
        "postgres": stack.plug_postgres,
        "nats": stack.plug_nats,
    }
    for plug in plugs.values():
        plug.power.clear()
    for name, disk in county.disks.items():
        disk.cut_power()
        county.end(name)
        await plugs[name].wait()
    for name, disk in county.disks.items():
        await disk.unmount()
        await disk.mount()
        plugs[name].power.set()
        one.faults += 1

    async def both_run() -> bool:
        return all(stack.supervisor.pid(name) is not None for name in plugs)

    await eventually(both_run, seconds_max=60)


@pytest.mark.usefixtures("disks")
async def test_the_power_is_cut(*, trial_seed: int, county: County, report: Report) -> None:
    what = "ext4 of PostgreSQL and NATS shut down without a flush, servers killed, mounted again"
    telling = report.trial("power cut", what, seed=trial_seed)
    await stand(telling, county, cut_power, seed=trial_seed)


@pytest.mark.usefixtures("disks")
async def test_answers_lost_with_the_power_are_found(*, original: Original, report: Report) -> None:
    async def late(county: County, rng: random.Random, one: Trial) -> None:
        await commit_late(county)
        await cut_power(county, rng, one)

    telling = report.control("power cut", "commits are answered before they are on disk", seed=1)
    await fail(telling, original, Form(disks=True), late, seed=1)


# --- power, of NATS alone: what it has acknowledged -----------------------------------------------


class _Lazy(Nats):
    """A NATS as it comes: it syncs every two minutes."""

    def _write_files(self) -> None:
        super()._write_files()
        conf = self._home() / "nats-server.conf"
        text = conf.read_text()
        assert "sync_interval: always" in text
        conf.write_text(text.replace("sync_interval: always", 'sync_interval: "2m"'))


@asynccontextmanager
async def _alone(kind: type[Nats]) -> AsyncIterator[tuple[Nats, Disk, LocalCA, DataFolder]]:
    machine = places.find()
    folder = machine.folder(f"faults-{secrets.token_hex(6)}")
    async with AsyncExitStack() as ending:
        ending.push_async_callback(processes.remove_folder, folder)
        image = folder.private("disks") / "nats.img"
        disk = await Disk.make(image, folder.served("nats"), size_bytes=NATS_DISK_BYTES)
        ending.push_async_callback(disk.unmount)
        authority = LocalCA(folder.private("certs"), "local")
        server = kind(
            machine,
            folder,
            credentials=authority.service("nats"),
            env="local",
            streams=harness.streams(),
        )
        ending.push_async_callback(server.stop)
        await server.start()
        yield server, disk, authority, folder


async def publish_and_cut(kind: type[Nats], one: Trial) -> None:
    """Every event that the stream has acknowledged is in it after the power went."""
    async with _alone(kind) as (server, disk, authority, _):
        operator = authority.service("operator")
        client = await connect(server.url, operator, "operator", allow_reconnect=False)
        try:
            await client.jetstream().add_stream(harness.streams().stream.config())
        finally:
            await client.close()
        loans = authority.service("loans")
        client = await connect(server.url, loans, "loans", allow_reconnect=False)
        try:
            stream = client.jetstream()
            acks = [await stream.publish(SUBJECT, b"kept") for _ in range(EVENTS)]
            disk.cut_power()
            await server.kill()
        finally:
            await client.close()
        await disk.unmount()
        await disk.mount()
        await server.start()
        one.faults += 1
        client = await connect(server.url, operator, "operator", allow_reconnect=False)
        try:
            kept = await _kept(client.jetstream())
        finally:
            await client.close()
    one.figures |= {"acknowledged": len(acks), "kept": kept}
    assert kept >= acks[-1].seq, f"{len(acks)} events were acknowledged, {kept} are left"


async def _kept(stream: object) -> int:
    try:
        info = await stream.stream_info(STREAM)  # type: ignore[attr-defined]
    except NatsError:
        return 0
    last: int = info.state.messages
    return last


@pytest.mark.usefixtures("disks")
async def test_the_power_of_the_stream_is_cut(*, trial_seed: int, report: Report) -> None:
    what = f"{EVENTS} events acknowledged by NATS as we configure it, then the power goes"
    async with report.trial("power cut: NATS", what, seed=trial_seed) as one:
        await publish_and_cut(Nats, one)


@pytest.mark.usefixtures("disks")
async def test_a_stream_that_syncs_late_is_found(*, report: Report) -> None:
    async with report.control("power cut: NATS", "sync_interval as NATS comes, 2 min") as one:
        await publish_and_cut(_Lazy, one)
