"""Serving: the console's web server, until it is cancelled."""

import asyncio
from pathlib import Path

import structlog
import uvicorn

from gateway.console.app import Console, application
from gateway.console.pages import public
from gateway.console.places import PLACES
from gateway.console.settings import ConsoleSettings
from gateway.console.traces import Traces

STOP_SECONDS = 3
HEADER_BYTES_MAX = 32_768

log = structlog.get_logger(__name__)


async def serve(
    settings: ConsoleSettings, env: str, programme_folders: list[Path], traces: Traces | None = None
) -> None:
    """Serve until cancelled; open pages are told to come again."""
    console = Console(settings, env, programme_folders, PLACES, traces)
    host, _, port = settings.address.rpartition(":")
    server = uvicorn.Server(
        uvicorn.Config(
            application(console, public.routes(console)),
            host=host,
            port=int(port),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=STOP_SECONDS,
            h11_max_incomplete_event_size=HEADER_BYTES_MAX,
            limit_concurrency=settings.connections_max,
            ssl_certfile=settings.cert_path,
            ssl_keyfile=settings.key_path,
        )
    )
    # Signals are the process's own, as in every other of ours.
    work = asyncio.ensure_future(server._serve())  # noqa: SLF001
    log.info("console_serves", url=settings.base_url)
    try:
        await asyncio.shield(work)
    finally:
        server.should_exit = True
        await asyncio.wait([work])
        await console.close()
