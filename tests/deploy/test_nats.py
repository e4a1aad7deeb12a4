"""NATS of this machine: kept messages, certificates as users, subjects that are one's own."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import nats
import pytest
import pytest_asyncio
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from nats.js.errors import APIError

from deploy.local.ca import Credentials, LocalCA
from deploy.local.nats import Nats, connect
from deploy.local.places import DataFolder, Places
from deploy.local.processes import StartError
from deploy.nats import topology, users
from deploy.nats.topology import Topology, UnsafeServerError
from tests.deploy.hindered import TakenAtOnce, as_program, free_again, given_up, never_ready
from tests.deploy.test_processes import eventually

MIB = 1024 * 1024
LOAN_REPAID = "liandong.loans.v1.loan_repaid.123456"
# What was delivered when the server was killed comes again after the wait.
SMALL = replace(topology.load(events_bytes_max=16 * MIB), ack_wait_seconds=2)


@pytest.fixture
def authority(folder: DataFolder) -> LocalCA:
    return LocalCA(folder.private("ca"), "local")


def a_server(
    machine: Places, folder: DataFolder, authority: LocalCA, streams: Topology = SMALL
) -> Nats:
    return Nats(
        machine, folder, credentials=authority.service("nats"), env="local", streams=streams
    )


@pytest_asyncio.fixture(loop_scope="session")
async def server(machine: Places, folder: DataFolder, authority: LocalCA) -> AsyncIterator[Nats]:
    made = a_server(machine, folder, authority)
    await made.start()
    await made.ensure_streams(authority.service("operator"))
    yield made
    await made.stop()


class Peer:
    """A connected noun, and what the server told it was forbidden."""

    def __init__(self) -> None:
        self.client: Client
        self.denied: list[str] = []

    async def _error(self, error: Exception) -> None:
        self.denied.append(str(error))


@pytest_asyncio.fixture(loop_scope="session")
async def loans(server: Nats, authority: LocalCA) -> AsyncIterator[Peer]:
    peer = Peer()
    peer.client = await connect(
        server.url, authority.service("loans"), "loans", error_cb=peer._error
    )
    yield peer
    await peer.client.close()


async def refused(server: Nats, credentials: Credentials | None) -> None:
    context = (
        ssl.create_default_context(cafile=Path(server._home()) / "ca.pem")
        if credentials is None
        else credentials.client_context()
    )
    with pytest.raises((NatsError, OSError)):
        await nats.connect(
            server.url, tls=context, allow_reconnect=False, connect_timeout=5, error_cb=_silent
        )


async def _silent(_: Exception) -> None:
    return


@pytest.mark.nats
async def test_only_a_named_identity_of_our_ca_may_connect(
    server: Nats, authority: LocalCA, tmp_path: Path
) -> None:
    client = await connect(server.url, authority.service("loans"), "loans")
    assert client.is_connected
    await client.close()

    stranger = LocalCA(tmp_path, "local").service("loans")
    await refused(server, replace(stranger, ca=authority.ca_path))
    await refused(server, authority.institution("rcb-0001"))
    await refused(server, LocalCA(authority.ca_path.parent, "other").service("loans"))
    await refused(server, None)


@pytest.mark.nats
async def test_a_plain_connection_is_refused(server: Nats) -> None:
    with pytest.raises((NatsError, OSError)):
        await nats.connect(
            f"nats://127.0.0.1:{server.port}",
            allow_reconnect=False,
            connect_timeout=5,
            error_cb=_silent,
        )


@pytest.mark.nats
async def test_a_service_says_only_what_is_its_own(server: Nats, loans: Peer) -> None:
    stream = loans.client.jetstream(timeout=1)
    await stream.publish(LOAN_REPAID, b"fact")

    with pytest.raises(NatsTimeoutError):
        await stream.publish("liandong.claims.v1.payout_settled.123456", b"forged")

    assert any("liandong.claims.v1.payout_settled" in text for text in loans.denied)
    assert (await stream.stream_info("EVENTS")).state.messages == 1


@pytest.mark.nats
@pytest.mark.parametrize(
    "subject",
    [
        "$JS.API.STREAM.PURGE.EVENTS",
        "$JS.API.STREAM.DELETE.EVENTS",
        "$JS.API.STREAM.CREATE.MINE",
        "$JS.API.STREAM.MSG.GET.EVENTS",
        "$JS.API.DIRECT.GET.EVENTS.liandong.claims.v1.>",
        "$JS.API.CONSUMER.CREATE.EVENTS.spy",
        "$JS.API.CONSUMER.MSG.NEXT.EVENTS.funds",
        "$JS.ACK.EVENTS.funds.1.1.1.1.0",
        "_INBOX_claims.x",
    ],
)
async def test_a_service_has_no_power_over_the_stream(loans: Peer, subject: str) -> None:
    with pytest.raises(NatsTimeoutError):
        await loans.client.request(subject, b"{}", timeout=0.5)

    assert any("permissions violation" in text for text in loans.denied)


@pytest.mark.nats
@pytest.mark.parametrize(
    ("noun", "asked"), [("households", "loans"), ("funds", "credit"), ("loans", "gateway")]
)
async def test_a_service_asks_only_those_it_hears_to_say_something_again(
    server: Nats, authority: LocalCA, noun: str, asked: str
) -> None:
    peer = Peer()
    peer.client = await connect(server.url, authority.service(noun), noun, error_cb=peer._error)
    await peer.client.publish(f"liandong.control.{asked}.republish", b"{}")
    await peer.client.subscribe(f"liandong.control.{asked}.republish")
    await peer.client.flush()

    await eventually(lambda: len(peer.denied) == 2)
    await peer.client.close()


def a_feed(authority: LocalCA, institution_id: str) -> users.User:
    """An institution's user as a feed's is: its own subjects and its own inbox."""
    inbox = f"_INBOX_{institution_id}.>"
    return {
        "user": f"spiffe://liandong/local/inst/{institution_id}",
        "permissions": {
            "publish": {"allow": ["feed.>"]},
            "subscribe": {"allow": [inbox, "feed.>"]},
        },
    }


@pytest.mark.nats
async def test_the_feeds_account_is_another_and_its_users_come_and_go_without_the_rest(
    server: Nats, loans: Peer, authority: LocalCA
) -> None:
    await refused(server, authority.institution("rcb-0001"))
    server.reload([a_feed(authority, "rcb-0001")])
    bank = await eventually_connected(server, authority, "rcb-0001")
    heard: list[bytes] = []

    async def hear(message: Msg) -> None:
        heard.append(message.data)

    await bank.subscribe("feed.>", cb=hear)
    await bank.flush()
    server.reload([a_feed(authority, "rcb-0001"), a_feed(authority, "rcb-0002")])
    another = await eventually_connected(server, authority, "rcb-0002")

    await loans.client.publish("liandong.loans.v1.feed", b"internal")
    await another.publish("feed.one", b"fed")
    await another.flush()
    await eventually(lambda: heard == [b"fed"])
    assert bank.stats["reconnects"] == loans.client.stats["reconnects"] == 0
    with pytest.raises(NatsError):
        await another.jetstream(timeout=1).stream_info("EVENTS")

    server.reload([a_feed(authority, "rcb-0002")])
    await eventually(lambda: not bank.is_connected)
    assert another.stats["reconnects"] == loans.client.stats["reconnects"] == 0
    await bank.close()
    await another.close()


async def eventually_connected(server: Nats, authority: LocalCA, institution_id: str) -> Client:
    """A connection of an institution whose user the server is about to take up."""
    async with asyncio.timeout(20):
        while True:
            with suppress(NatsError, OSError):
                return await nats.connect(
                    server.url,
                    tls=authority.institution(institution_id).client_context(),
                    inbox_prefix=f"_INBOX_{institution_id}".encode(),
                    allow_reconnect=False,
                    connect_timeout=5,
                    error_cb=_silent,
                )


@pytest.mark.nats
async def test_a_service_hears_neither_events_nor_inboxes_directly(loans: Peer) -> None:
    for subject in ("liandong.>", "_INBOX.>", "_INBOX_claims.>", ">"):
        await loans.client.subscribe(subject)
    await loans.client.flush()

    await eventually(lambda: len(loans.denied) == 4)


@pytest_asyncio.fixture(loop_scope="session")
async def heard(
    server: Nats, loans: Peer, authority: LocalCA
) -> AsyncIterator[JetStreamContext.PullSubscription]:
    """The durable of funds, with three events of loans before it and one of credit."""
    for number in range(3):
        await loans.client.jetstream().publish(LOAN_REPAID, str(number).encode())
    credit = await connect(server.url, authority.service("credit"), "credit")
    await credit.jetstream().publish("liandong.credit.v1.limit_granted.123456", b"unheard")
    await credit.close()
    funds = await connect(server.url, authority.service("funds"), "funds")
    yield await funds.jetstream().pull_subscribe_bind(durable="funds", stream="EVENTS")
    await funds.close()


async def take(heard: JetStreamContext.PullSubscription, wanted: set[bytes]) -> list[bytes]:
    """Fetch and acknowledge until everything wanted has come."""
    found: list[bytes] = []
    async with asyncio.timeout(30):
        while not wanted <= set(found):
            with suppress(NatsError):
                for message in await heard.fetch(1, timeout=1):
                    await message.ack_sync()
                    found.append(message.data)
    return found


@pytest.mark.nats
async def test_a_durable_hears_its_nouns_and_keeps_its_place_over_a_restart(
    server: Nats, heard: JetStreamContext.PullSubscription
) -> None:
    first = await take(heard, {b"0"})

    await server.restart()
    rest = await take(heard, {b"1", b"2"})

    assert (first, rest) == ([b"0"], [b"1", b"2"])
    info = await heard.consumer_info()
    assert (info.num_pending, info.num_ack_pending) == (0, 0)


@pytest.mark.nats
async def test_after_kill_9_a_durable_misses_nothing(
    server: Nats, heard: JetStreamContext.PullSubscription
) -> None:
    await take(heard, {b"0"})

    await server.kill()
    await server.start()

    # What was acknowledged may come again: a consumer's place is not synced. Hence the inbox.
    assert set(await take(heard, {b"1", b"2"})) <= {b"0", b"1", b"2"}


@pytest.mark.nats
async def test_acknowledged_events_survive_kill_9(server: Nats, loans: Peer) -> None:
    stream = loans.client.jetstream()
    port = server.port
    for number in range(50):
        await stream.publish(LOAN_REPAID, b"fact", headers={"Nats-Msg-Id": str(number)})

    await server.kill()
    await server.start()

    assert server.port == port
    async with asyncio.timeout(30):
        while True:
            with suppress(NatsError):
                repeated = await stream.publish(LOAN_REPAID, b"fact", headers={"Nats-Msg-Id": "49"})
                break
    assert repeated.duplicate
    assert (await stream.stream_info("EVENTS")).state.messages == 50


@pytest.mark.nats
async def test_a_batch_is_stored_whole(server: Nats, loans: Peer) -> None:
    client = loans.client
    for number in (1, 2):
        headers = {"Nats-Batch-Id": "one", "Nats-Batch-Sequence": str(number)}
        await client.publish(LOAN_REPAID, b"fact", headers=headers)
    assert (await client.jetstream().stream_info("EVENTS")).state.messages == 0

    headers = {"Nats-Batch-Id": "one", "Nats-Batch-Sequence": "3", "Nats-Batch-Commit": "1"}
    await client.request(LOAN_REPAID, b"fact", headers=headers, timeout=5)

    assert (await client.jetstream().stream_info("EVENTS")).state.messages == 3


@pytest.mark.nats
async def test_a_full_stream_refuses_and_forgets_nothing(server: Nats, loans: Peer) -> None:
    stream = loans.client.jetstream()
    stored = 0

    async def fill() -> None:
        nonlocal stored
        for _ in range(40):
            await stream.publish(LOAN_REPAID, b"x" * (MIB // 2))
            stored += 1

    with pytest.raises(APIError, match="maximum bytes exceeded"):
        await fill()

    state = (await stream.stream_info("EVENTS")).state
    assert (state.messages, state.first_seq) == (stored, 1)


@pytest.mark.nats
async def test_ensuring_again_changes_nothing_and_new_data_updates(
    server: Nats, authority: LocalCA
) -> None:
    operator = await connect(server.url, authority.service("operator"), "operator")
    js = operator.jetstream()
    created = (await js.stream_info("EVENTS")).created
    more = topology.load(events_bytes_max=32 * MIB)
    more = replace(more, hears={**more.hears, "credit": ("loans",)}, ack_wait_seconds=45)

    for wanted in (SMALL, more, more):
        await topology.ensure_streams(js, monitor_url=server.monitor_url, topology=wanted)

    info = await js.stream_info("EVENTS")
    assert (info.created, info.config.max_bytes) == (created, 32 * MIB)
    credit = (await js.consumer_info("EVENTS", "credit")).config
    assert (credit.filter_subjects, credit.ack_wait) == (["liandong.loans.v1.>"], 45)
    await operator.close()


@pytest.mark.nats
async def test_a_server_that_syncs_later_is_refused(
    machine: Places,
    folder: DataFolder,
    authority: LocalCA,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lazy = tmp_path / "nats-server.conf"
    lazy.write_text(topology.SERVER_CONF.read_text().replace("sync_interval: always", ""))
    monkeypatch.setattr(users, "SERVER_CONF", lazy)
    server = a_server(machine, folder, authority)
    await server.start()
    try:
        with pytest.raises(UnsafeServerError, match="sync_interval: always"):
            await server.ensure_streams(authority.service("operator"))
    finally:
        await server.stop()


@pytest.mark.nats
async def test_a_stream_larger_than_the_disk_is_refused(
    machine: Places, folder: DataFolder, authority: LocalCA
) -> None:
    huge = topology.load(events_bytes_max=1 << 60)

    with pytest.raises(StartError, match="has room for"):
        await a_server(machine, folder, authority, huge).start()


@pytest.mark.nats
@pytest.mark.parametrize("name", ["nats", "nats-monitor"])
async def test_a_port_taken_after_it_was_found_free_is_chosen_anew(
    machine: Places, folder: DataFolder, authority: LocalCA, name: str
) -> None:
    with TakenAtOnce.of(folder, name) as raced:
        server = a_server(machine, raced, authority)
        await server.start()
        try:
            assert f":{raced.taken}" not in f"{server.url} {server.monitor_url}"
            assert folder.port(name) != raced.taken
            await server.ensure_streams(authority.service("operator"))
        finally:
            await server.stop()


class WithProgram(Places):
    """A machine whose nats-server is its root."""

    def nats_server(self) -> Path:
        return self.root


async def test_a_start_that_is_given_up_leaves_nobody_running(
    folder: DataFolder, authority: LocalCA
) -> None:
    program = folder.path / "nats-server"
    running = folder.served("nats") / "running"
    as_program(program, never_ready(running))
    server = a_server(WithProgram(root=program, user=folder.user), folder, authority)

    await given_up(server.start(), running)

    assert server.pid is None
    assert not (folder.path / "run" / "nats.pid").exists()
    free_again(folder, "nats")


def test_the_data_says_who_hears_whom() -> None:
    streams = topology.load()

    assert set(streams.hears) == {"credit", "loans", "claims", "funds", "gateway"}
    assert set(streams.hears["gateway"]) == set(streams.nouns)
    loans = streams.durable("loans")
    assert loans.durable_name == "loans"
    assert loans.filter_subjects == [
        "liandong.credit.v1.>",
        "liandong.households.v1.>",
        "liandong.claims.v1.>",
        "liandong.funds.v1.>",
    ]
    config = streams.stream.config()
    assert isinstance(config, StreamConfig)
    assert (config.max_age, config.max_bytes) == (30 * 24 * 3600, 2 * 1024 * MIB)


def test_a_noun_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "streams.yaml"
    wrong.write_text(topology.STREAMS_YAML.read_text().replace("[loans, claims]", "[loan]"))

    with pytest.raises(ValueError, match=r"\['loan'\]"):
        topology.load(wrong)
