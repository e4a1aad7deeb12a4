"""A process: its parts start together, stop in order, and none is left behind."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from liandong.common.v1 import operator_pb2 as pb

from deploy.local.ca import LocalCA
from deploy.local.places import free_port
from services.kernel import bus, chassis, operator, process
from services.kernel.caller import METADATA_KEY, Signer
from services.kernel.chassis import Service
from services.kernel.outbox import Relay
from services.kernel.settings import PlatformSettings, ServiceSettings
from tests.builders import COUNTY, a_caller
from tests.conftest import Connect
from tests.eventually import eventually
from tests.kernel.conftest import Mortal, Start
from tests.kernel.farm.door import SERVICE, Farm, channel_of
from tests.kernel.farm.handling import Barn, sown
from tests.kernel.farm.stream import eventually_published, say
from tests.servers import NatsServer, Schema


class Part:
    """A part that notes when it stops."""

    def __init__(self, name: str, stopped: list[str], fault: Exception | None = None) -> None:
        self.name, self.stopped, self.fault = name, stopped, fault
        self.began = asyncio.Event()

    async def run(self) -> None:
        self.began.set()
        try:
            if self.fault is not None:
                raise self.fault
            await asyncio.Event().wait()
        finally:
            self.stopped.append(self.name)


async def test_parts_stop_in_the_order_in_which_they_were_given() -> None:
    stopped: list[str] = []
    parts = [Part(name, stopped) for name in "abc"]
    running = asyncio.create_task(process.run(*(part.run() for part in parts)))
    for part in parts:
        await asyncio.wait_for(part.began.wait(), 5)

    running.cancel()
    await asyncio.wait({running}, timeout=5)

    assert running.cancelled()
    assert stopped == ["a", "b", "c"]


async def test_a_part_that_fails_ends_the_others_and_its_fault_is_told() -> None:
    stopped: list[str] = []
    parts = [Part("a", stopped), Part("b", stopped, ValueError("broken")), Part("c", stopped)]

    with pytest.raises(ValueError, match="broken"):
        await process.run(*(part.run() for part in parts))

    assert sorted(stopped) == ["a", "b", "c"]


async def test_a_part_that_ends_by_itself_is_a_fault() -> None:
    async def end() -> None:
        return

    with pytest.raises(RuntimeError, match="ended by itself"):
        await process.run(end(), Part("a", []).run())


PROGRAM = """
import asyncio, pathlib, sys
from services.kernel import process

async def work():
    pathlib.Path(sys.argv[1], "began").touch()
    try:
        await asyncio.Event().wait()
    finally:
        pathlib.Path(sys.argv[1], "ended").touch()

process.main(work())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_process_that_is_told_to_stop_ends_in_order(
    tmp_path: Path, number: signal.Signals
) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, str(tmp_path), env=dict(os.environ)
    )

    async def began() -> bool:
        return (tmp_path / "began").exists()

    await eventually(began, seconds_max=60)
    child.send_signal(number)

    assert await asyncio.wait_for(child.wait(), 20) == 0
    assert (tmp_path / "ended").exists()


def a_service(farm: Farm, barn: Barn) -> Service:
    async def totals(*_: object) -> dict[str, int]:
        return {"barns.sacks_count": 5}

    async def close_day(*_: object) -> None:
        """Nothing ends with a day."""

    return Service(
        noun="barns",
        proto_service=SERVICE,
        add_to_server=lambda added, server: added.add_to_server(server),
        servicer=lambda db: farm,
        handlers=barn.handlers,
        books=operator.Books(totals=totals, close_day=close_day),
    )


async def totals(channel: grpc.aio.Channel, signer: Signer) -> pb.GetTotalsResponse | None:
    method, request = "/liandong.common.v1.OperatorService/GetTotals", pb.GetTotalsRequest()
    request.county_code = COUNTY
    call: Any = channel.unary_unary(
        method,
        request_serializer=pb.GetTotalsRequest.SerializeToString,
        response_deserializer=pb.GetTotalsResponse.FromString,
    )
    signed = signer.sign(a_caller(method, request, role="operator"))
    try:
        found = await call(request, metadata=((METADATA_KEY, signed),), timeout=5)
    except grpc.aio.AioRpcError:
        return None
    assert isinstance(found, pb.GetTotalsResponse)
    return found


@pytest.mark.postgres
@pytest.mark.nats
async def test_a_service_on_the_chassis_serves_hears_says_and_stops(
    fields: Schema,
    barns: Schema,
    stream: NatsServer,
    connect: Connect,
    certificates: LocalCA,
    *,
    start: Start,
) -> None:
    own, port = certificates.service("barns"), free_port()
    settings = ServiceSettings(
        database_url=barns.app_dsn,
        grpc_address=f"127.0.0.1:{port}",
        cert_path=own.cert,
        key_path=own.key,
    )
    platform = PlatformSettings(
        nats_url=stream.url,
        nats_monitor_url=stream.monitor_url,
        ca_path=certificates.ca_path,
        caller_public_key_path=certificates.caller_keys().public,
    )
    service = a_service(Farm(), Barn(answers=True))
    running = asyncio.create_task(chassis.run(service, settings, platform))
    start(Relay(fields.db, "fields", batch_size_max=50).run(await connect("fields")))
    await say(fields, *(sown("a", n) for n in range(1, 6)))
    signer = Signer(certificates.caller_keys().private)

    async with channel_of(port, certificates.service("gateway")) as channel:
        await eventually(
            lambda: totals(channel, signer),
            lambda found: found is not None and sum(h.events for h in found.heard) == 5,
            seconds_max=30,
        )
        await eventually_published(barns)
        found = await totals(channel, signer)

    assert found is not None
    assert (found.events, found.unpublished_events, found.parked_events) == (5, 0, 0)
    running.cancel()
    await asyncio.wait({running}, timeout=20)
    assert running.cancelled()


@pytest.mark.nats
async def test_a_server_that_acknowledges_before_it_syncs_is_refused(
    mortal_nats: Mortal, tmp_path: Path
) -> None:
    """Nothing starts on it: a power cut would lose what it acknowledged."""
    await bus.require_synced_streams(mortal_nats.server.monitor_url)

    conf = tmp_path / "lax.conf"
    port = free_port()
    conf.write_text(
        f'http: "127.0.0.1:{port}"\nport: -1\njetstream {{ store_dir: "{tmp_path}" }}\n'
    )
    server = await asyncio.create_subprocess_exec(
        str(mortal_nats.wheel._program), "-c", str(conf), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        with pytest.raises(SystemExit, match="sync_interval"):
            await bus.require_synced_streams(f"http://127.0.0.1:{port}")
    finally:
        server.kill()
        await server.wait()
