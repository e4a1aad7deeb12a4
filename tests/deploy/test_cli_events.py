"""Commands that call a platform, as processes: it refuses, breaks off or is away."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from grpc_status import rpc_status
from liandong.gateway.v1 import feeds_pb2 as pb

from deploy.local.ca import LocalCA
from deploy.local.nats import Nats, connect
from deploy.local.places import DataFolder, Places
from deploy.local.remote import Remote
from deploy.nats import topology
from services.kernel import errors
from services.kernel.status import to_status
from tests.eventually import eventually
from tests.programmes.county_texts import PACK, changed

COMMAND_SECONDS = 60
FEED = "/liandong.gateway.v1.FeedsService/Subscribe"
CURSORS = ("one", "two")


@dataclass
class Door(grpc.GenericRpcHandler):
    """What stands at the gateway's address: it tells an event a stream, and refuses all else."""

    asked: list[str] = field(default_factory=list)

    def service(self, call: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any]":
        """The feed, or a refusal."""
        if call.method == FEED:
            return grpc.unary_stream_rpc_method_handler(
                self._tell,
                request_deserializer=pb.SubscribeRequest.FromString,
                response_serializer=pb.SubscribeResponse.SerializeToString,
            )
        return grpc.unary_unary_rpc_method_handler(self._refuse)

    async def _tell(self, request: pb.SubscribeRequest, context: Any) -> AsyncIterator[Any]:
        self.asked.append(request.cursor)
        after = CURSORS.index(request.cursor) + 1 if request.cursor else 0
        if after == len(CURSORS):
            yield pb.SubscribeResponse(cursor=request.cursor, live=True)
            return
        yield pb.SubscribeResponse(
            cursor=CURSORS[after], event=pb.FeedEvent(id=CURSORS[after], data="{}")
        )
        await context.abort(grpc.StatusCode.UNAVAILABLE, "going away")

    async def _refuse(self, _: bytes, context: Any) -> None:
        denied = errors.Denied("ROLE_NOT_ALLOWED", "an operator may not do this")
        await context.abort_with_status(rpc_status.to_status(to_status(denied)))


@dataclass
class Called:
    """A folder in which a platform seems to run, and who answers there."""

    folder: DataFolder
    door: Door
    authority: LocalCA
    remote: Remote


@pytest_asyncio.fixture(loop_scope="session")
async def called(folder: DataFolder) -> AsyncIterator[Called]:
    authority, door = LocalCA(folder.private("certs"), "local"), Door()
    own = authority.service("gateway")
    server = grpc.aio.server(handlers=[door])
    credentials = grpc.ssl_server_credentials(
        [(own.key.read_bytes(), own.cert.read_bytes())], own.ca.read_bytes(), True
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    authority.institution("opr-0001")
    remote = Remote(
        gateway=f"127.0.0.1:{port}",
        nats_url="",
        certificates=str(authority.ca_path.parent),
        env="local",
        counties=("411224",),
        institutions={"opr-0001": "operator"},
    )
    remote.save(folder)
    yield Called(folder, door, authority, remote)
    await server.stop(None)


async def begun(
    folder: DataFolder, *words: str, env: Mapping[str, str] | None = None
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.local.cli", *words, "--folder", folder.path.name),
        env={**os.environ, "COLUMNS": "200", **(env or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str, str]:
    """How a command ended, what it printed and what it complained of."""
    try:
        out, err = await asyncio.wait_for(process.communicate(), COMMAND_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_a_refusal_is_one_line_with_its_reason(called: Called) -> None:
    process = await begun(called.folder, "events", "republish", "loans", "1", "2")

    assert await ended(process) == (1, "", "ROLE_NOT_ALLOWED: an operator may not do this\n")


async def test_a_feed_that_breaks_goes_on_after_its_last_event(called: Called) -> None:
    process = await begun(called.folder, "feeds", "follow", "opr-0001", "--once")

    code, out, err = await ended(process)

    assert (code, err) == (0, "")
    assert [json.loads(line)["cursor"] for line in out.splitlines()] == list(CURSORS)
    assert called.door.asked == ["", *CURSORS]


async def test_a_broken_pack_is_named_before_anything_is_rebuilt(
    folder: DataFolder, tmp_path: Path
) -> None:
    (tmp_path / "plain@1.yaml").write_text(changed(PACK, "bank: 30", "bank: 31"), encoding="utf-8")
    process = await begun(folder, "events", "rebuild", "loans", "--county-folder", str(tmp_path))

    code, out, err = await ended(process)

    assert (code, out) == (2, "")
    assert "the shares make" in err
    assert "Traceback" not in err


async def test_a_database_that_is_away_is_one_line(folder: DataFolder) -> None:
    away = "postgresql://nobody:none@127.0.0.1:1/liandong"
    env = {f"{noun.upper()}_DATABASE_URL": away for noun in topology.load().nouns}
    process = await begun(folder, "events", "rebuild", "credit", env=env)

    said = "DATABASE_UNAVAILABLE: the database of credit does not answer\n"
    assert await ended(process) == (1, "", said)


@pytest.mark.nats
async def test_who_watches_events_leaves_by_ctrl_c(machine: Places, called: Called) -> None:
    streams = topology.load(events_bytes_max=1024 * 1024)
    nats = Nats(
        machine,
        called.folder,
        credentials=called.authority.service("nats"),
        env="local",
        streams=streams,
    )
    operator = called.authority.service("operator")
    await nats.start()
    try:
        await nats.ensure_streams(operator)
        Remote(**{**asdict(called.remote), "nats_url": nats.url}).save(called.folder)
        process = await begun(called.folder, "events", "tail")
        client = await connect(nats.url, operator, "operator")

        async def watched() -> bool:
            durables = await client.jetstream().consumers_info("EVENTS")
            return len(durables) > len(streams.hears) or process.returncode is not None

        await eventually(watched)
        await client.close()
        assert process.returncode is None
        process.send_signal(signal.SIGINT)

        assert await ended(process) == (0, "", "")
    finally:
        await nats.stop()
