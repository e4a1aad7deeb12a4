"""Start the gateway: the only module that builds things."""

import asyncio
import time
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from gateway import (
    break_glass,
    event_handlers,
    find_servicer,
    operations,
    own_operator,
    public,
    retention,
    usage,
)
from gateway import readings as own_readings
from gateway.access_log import AccessLog
from gateway.break_glass import Glasses
from gateway.documents.servicer import DocumentsServicer
from gateway.door import Door
from gateway.feed_pages import Pages
from gateway.feed_publisher import Publisher, Way
from gateway.feed_servicer import FeedsServicer
from gateway.feed_stream import Tail
from gateway.find_servicer import FindServicer
from gateway.forward import Backends
from gateway.identity import Directory
from gateway.judge import Judge
from gateway.limits import Limiter
from gateway.log_chain import LogSigner
from gateway.log_seals import Seals
from gateway.log_servicer import AccessLogServicer
from gateway.own_status import OwnStatus
from gateway.pauses import Pauses
from gateway.person_tokens import PersonTokens
from gateway.public_model import PublicModel, Reader
from gateway.routes import SERVICE_NAMES
from gateway.self_service import SelfServicer
from gateway.server import Server
from gateway.servicer import GatewayServicer, OwnMethod
from gateway.settings import GatewaySettings
from gateway.telling import OwnTelling
from services.kernel import bus, metrics, outbox, process, readings, rpc, telemetry
from services.kernel.caller import Signer
from services.kernel.database import Database
from services.kernel.nats_client import LeanClient
from services.kernel.settings import PlatformSettings
from services.programmes import loader
from services.programmes.loader import Catalogue

NOUN = "gateway"

log = structlog.get_logger(__name__)


async def enter(db: Database, path: Path) -> None:
    """Enter the institutions of a file; a wrong file ends the process with the path of the key."""
    text = await asyncio.to_thread(path.read_text, encoding="utf-8")
    found = loader.load_texts({str(path): text}).institutions
    async with db.transaction() as session:
        changed = await operations.enter_institutions(session, found.values())
    log.info("institutions_entered", institutions=len(found), changed=len(changed))


@dataclass(frozen=True, slots=True)
class Feeds:
    """What tells institutions what happens."""

    tail: Tail
    pages: Pages
    servicer: FeedsServicer
    finding: FindServicer
    publisher: Publisher | None
    """None where the gateway is not in the feeds' account on NATS."""

    @classmethod
    def of(
        cls,
        db: Database,
        directory: Directory,
        judge: Judge,
        access_log: AccessLog,
        way: Way | None,
        *,
        streams_max: int,
        paused: Pauses,
    ) -> "Feeds":
        """Put them together."""
        tail, pages = Tail(db), Pages(db, judge)
        publisher = None
        if way is not None:
            publisher = Publisher(
                db,
                way,
                directory=directory,
                pages=pages,
                tail=tail,
                access_log=access_log,
                paused=paused,
            )
        servicer = FeedsServicer(db, directory, pages, tail, streams_max=streams_max, paused=paused)
        return cls(tail, pages, servicer, FindServicer(db, directory, pages), publisher)

    def publishing(self) -> Iterator[Coroutine[Any, Any, None]]:
        """What publishes, if anything does."""
        if self.publisher is not None:
            yield self.publisher.run()


async def opened(settings: GatewaySettings) -> Database:
    """The database, once it answers, with the institutions of the deployment in it."""
    db = Database(settings.database_url, NOUN, pool_size=settings.pool_size)
    await db.wait_until_ready()
    async with db.connection() as connection:
        await outbox.ensure_partitions(connection)
    if settings.institutions_path is not None:
        await enter(db, settings.institutions_path)
    return db


def backends_of(settings: GatewaySettings, platform: PlatformSettings) -> Backends:
    """The way to the services."""
    return Backends(
        settings.addresses(),
        ca_path=platform.ca_path,
        cert_path=settings.cert_path,
        key_path=settings.key_path,
    )


async def serve(settings: GatewaySettings, platform: PlatformSettings) -> None:
    """Start the door, its log, its directory and its relay; run until cancelled."""
    telemetry.start_traces(NOUN, platform)
    metrics.start(platform.metrics_port, host=platform.metrics_host)
    await bus.require_synced_streams(platform.nats_monitor_url)
    db = await opened(settings)
    directory = Directory(env=platform.env, clock=time.monotonic, admission=settings.admission())
    paused = Pauses()
    await operations.refresh(db, directory, paused)
    limiter = Limiter(settings.limits)
    await usage.save(db, limiter)
    glasses = Glasses()
    await break_glass.refresh(db, glasses)
    client = await connected(settings, platform)
    backends = backends_of(settings, platform)
    signer = LogSigner(settings.log_private_key_path)
    catalogue = loader.load(platform.programme_folders())
    judge = Judge(db, catalogue)
    access_log = AccessLog(db)
    way = way_of(settings, platform)
    most = settings.concurrent_rpcs_max // 2
    feeds = Feeds.of(db, directory, judge, access_log, way, streams_max=most, paused=paused)
    own = {
        **own_methods(db, directory, glasses, catalogue=catalogue, settings=settings),
        **OwnStatus(db, limiter, feeds.pages, paused).methods(),
        **feeds.servicer.methods(),
        **feeds.finding.methods(),
    }
    server = build_server(
        settings,
        platform,
        directory,
        backends,
        access_log=access_log,
        glasses=glasses,
        own=own,
        telling=feeds.servicer.telling(),
        limiter=limiter,
        judge=judge,
        paused=paused,
    )
    doors = [server, *public_doors(settings, backends, access_log, catalogue)]
    rules = retention.Rules(
        kept_days=settings.kept_days(), archives=retention.archives_in(settings.archive_path)
    )
    relay = outbox.Relay(db, NOUN, batch_size_max=settings.batch_size_max)
    log.info("gateway_runs", address=settings.grpc_address)
    try:
        # In the order in which they stop: the log is written out after the last call has ended.
        await process.run(
            # Whoever follows a feed is sent off before the server waits for its calls.
            feeds.tail.run(),
            *(one.run() for one in doors),
            *feeds.publishing(),
            access_log.run(),
            # The last rows are sealed too.
            Seals(db, signer, access_log).run(),
            break_glass.keep_fresh(db, glasses),
            retention.keep_running(db, signer, rules),
            operations.keep_fresh(db, directory, paused),
            usage.keep(db, limiter, directory),
            find_servicer.keep_filling(db),
            event_handlers.consumer(db, batch_size_max=settings.batch_size_max).run(client),
            relay.run(client),
            *read_for_metrics(db, client, platform),
        )
    finally:
        await backends.close()
        await client.close()
        await db.close()


async def connected(settings: GatewaySettings, platform: PlatformSettings) -> LeanClient:
    """The gateway's own connection to NATS."""
    return await bus.connect(
        platform.nats_url,
        name=NOUN,
        ca_path=platform.ca_path,
        cert_path=settings.cert_path,
        key_path=settings.key_path,
    )


def read_for_metrics(
    db: Database, client: LeanClient, platform: PlatformSettings
) -> Iterator[Coroutine[Any, Any, None]]:
    """What reads tables for the gauges, where metrics are served."""
    if platform.metrics_port:
        yield readings.keep(db, NOUN, reads=(own_readings.read,), client=client)


def way_of(settings: GatewaySettings, platform: PlatformSettings) -> Way | None:
    """How feeds come on NATS; None where the gateway has no certificate for their account."""
    if settings.feeds_cert_path is None or settings.feeds_key_path is None:
        return None
    return Way(
        env=platform.env,
        url=platform.nats_url,
        ca_path=platform.ca_path,
        cert_path=settings.feeds_cert_path,
        key_path=settings.feeds_key_path,
        users_path=settings.feeds_users_path,
    )


def own_methods(
    db: Database,
    directory: Directory,
    glasses: Glasses,
    *,
    catalogue: Catalogue,
    settings: GatewaySettings,
) -> dict[str, OwnMethod]:
    """What the gateway answers itself, by path."""
    log_servicer = AccessLogServicer(db, glasses)
    return {
        **GatewayServicer(db, directory).methods(),
        **log_servicer.methods(),
        **DocumentsServicer(directory, log_servicer).methods(),
        **SelfServicer(
            db, directory, catalogue, calls_per_second=settings.self_service_calls_per_second
        ).methods(),
        **own_operator.methods(db, directory),
    }


def public_doors(
    settings: GatewaySettings, backends: Backends, access_log: AccessLog, catalogue: Catalogue
) -> list[Server]:
    """The public door, where an address is set for one."""
    if not settings.public_address:
        return []
    signer = Signer(settings.caller_private_key_path)
    model = PublicModel(Reader(backends, signer, access_log).read, catalogue)
    return [
        public.server_of(
            model,
            address=settings.public_address,
            cert_path=settings.public_cert_path or settings.cert_path,
            key_path=settings.public_key_path or settings.key_path,
            calls_per_second=settings.public_calls_per_second,
            address_calls_per_second=settings.public_address_calls_per_second,
        )
    ]


def build_server(
    settings: GatewaySettings,
    platform: PlatformSettings,
    directory: Directory,
    backends: Backends,
    *,
    access_log: AccessLog,
    glasses: Glasses,
    own: Mapping[str, OwnMethod],
    telling: Mapping[str, OwnTelling],
    limiter: Limiter,
    judge: Judge,
    paused: Pauses,
) -> Server:
    """The gateway's gRPC server, with all services' descriptors for reflection."""
    server = Server(
        address=settings.grpc_address,
        credentials=rpc.server_credentials(platform.ca_path, settings.cert_path, settings.key_path),
        concurrent_rpcs_max=settings.concurrent_rpcs_max,
        options=settings.connection_options(),
    )
    door = Door(
        directory=directory,
        signer=Signer(settings.caller_private_key_path),
        backends=backends,
        access_log=access_log,
        glasses=glasses,
        own=own,
        telling=telling,
        settings=settings,
        limiter=limiter,
        tokens=PersonTokens(f"spiffe://liandong/{platform.env}/svc/gateway"),
        judge=judge,
        paused=paused,
    )
    server.server.add_generic_rpc_handlers((door,))
    server.offer(*SERVICE_NAMES)
    return server


if __name__ == "__main__":
    shared = PlatformSettings()
    telemetry.start_logs(shared.log_level)
    process.main(serve(GatewaySettings(), shared))
