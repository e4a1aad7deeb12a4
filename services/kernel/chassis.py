"""The chassis: how every service is put together from its own parts and the kernel's."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from liandong.common.v1 import operator_pb2, operator_pb2_grpc

from services.kernel import (
    bus,
    metrics,
    operator,
    outbox,
    pause_desk,
    process,
    readings,
    rpc,
    telemetry,
)
from services.kernel.caller import Verifier
from services.kernel.database import Database
from services.kernel.inbox import Handlers
from services.kernel.operator import Books, OperatorServicer
from services.kernel.pause_desk import Pausable
from services.kernel.readings import Read
from services.kernel.settings import PlatformSettings, ServiceSettings

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Service:
    """What is a service's own: its servicer, its handlers, its books."""

    noun: str
    proto_service: str | tuple[str, ...]
    """Full name in its proto, e.g. `liandong.loans.v1.LoansService`; or the names of several."""
    add_to_server: Callable[[Any, Any], None]
    """The generated `add_…Servicer_to_server`."""
    servicer: Callable[[Database], Any]
    handlers: Handlers
    """Empty for a service that hears nobody."""
    books: Books
    work: Callable[[Database], Coroutine[Any, Any, None]] | None = None
    """What goes on by itself in this service, for ever; nothing for most."""
    pausable: Pausable = field(default_factory=dict)
    """What operators may pause here beside the consumer."""
    reads: Sequence[Read] = ()
    """What is told of this service's tables as gauges."""
    gather_seconds: float = bus.GATHER_SECONDS
    """Nothing for a service that somebody waits for at every event."""


def _pausable(service: Service) -> Pausable:
    own = pause_desk.consumer_of(service.noun) if service.handlers else {}
    return {**own, **service.pausable}


async def run(service: Service, settings: ServiceSettings, platform: PlatformSettings) -> None:
    """Start a service's doors, consumer, relay and housekeeping; run until cancelled."""
    telemetry.start_traces(service.noun, platform)
    metrics.start(platform.metrics_port, host=platform.metrics_host)
    await bus.require_synced_streams(platform.nats_monitor_url)
    db = Database(settings.database_url, service.noun, pool_size=settings.pool_size)
    await db.wait_until_ready()
    async with db.connection() as connection:
        await outbox.ensure_partitions(connection)
    client = await bus.connect(
        platform.nats_url,
        name=service.noun,
        ca_path=platform.ca_path,
        cert_path=settings.cert_path,
        key_path=settings.key_path,
    )
    verifier = Verifier(platform.caller_public_key_path)
    guard = rpc.guard(verifier, env=platform.env, noun=service.noun)
    server = rpc.Server(
        address=settings.grpc_address,
        credentials=rpc.server_credentials(platform.ca_path, settings.cert_path, settings.key_path),
        interceptors=[guard],
        concurrent_rpcs_max=settings.concurrent_rpcs_max,
        noun=service.noun,
    )
    service.add_to_server(service.servicer(db), server.server)
    operator_pb2_grpc.add_OperatorServiceServicer_to_server(
        OperatorServicer(db, service.books, service.handlers, _pausable(service)), server.server
    )
    operator_name = operator_pb2.DESCRIPTOR.services_by_name["OperatorService"].full_name
    named = service.proto_service
    offered = (named,) if isinstance(named, str) else named
    server.offer(*offered, operator_name)
    size = settings.batch_size_max
    parts = [server.run(), operator.keep_house(db)]
    if service.handlers:
        consumer = bus.Consumer(
            db,
            service.noun,
            service.handlers,
            batch_size_max=size,
            gather_seconds=service.gather_seconds,
        )
        parts.append(consumer.run(client))
    if service.work is not None:
        parts.append(service.work(db))
    if platform.metrics_port:
        parts.append(
            readings.keep(
                db, service.noun, reads=service.reads, client=client if service.handlers else None
            )
        )
    parts.append(outbox.Relay(db, service.noun, batch_size_max=size).run(client))
    log.info("service_runs", noun=service.noun, address=settings.grpc_address)
    try:
        await process.run(*parts)
    finally:
        await client.close()
        await db.close()
