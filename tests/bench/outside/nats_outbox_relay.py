"""A backlog relayed by nats-outbox: its polling relay, from its own table to the stream."""

import asyncio
import logging
import ssl
import sys
import time
from pathlib import Path

import nats
from nats_outbox.core.models import Base
from nats_outbox.publishers.nats_publisher import NatsPublisher
from nats_outbox.relay.polling import PollingRelay
from nats_outbox.settings import OutboxSettings
from sqlalchemy import text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

BATCH = 500
_BACKLOG = """
INSERT INTO outbox_events (event_id, subject, headers, payload, status, retry_count)
SELECT gen_random_uuid(), :subject, '{}', jsonb_build_object('said', repeat('x', 185)),
       'pending', 0
FROM generate_series(1, :count)
"""
_LEFT = "SELECT count(*) FROM outbox_events WHERE status <> 'published'"
_REFUSED = "SELECT max(last_error) FROM outbox_events"


async def main(dsn: str, count: int, *told: str) -> None:
    """Fill the outbox, relay all of it."""
    url, subject, inbox, certificates = told
    database = dsn.replace("postgresql://", "postgresql+asyncpg://")
    engine = create_async_engine(database)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(text(_BACKLOG), {"subject": subject, "count": count})
    ca, cert, key = map(Path, certificates.split(","))
    tls = ssl.create_default_context(cafile=ca)
    tls.load_cert_chain(cert, key)
    client = await nats.connect(url, tls=tls, inbox_prefix=inbox)
    relay = PollingRelay(
        async_sessionmaker(engine, expire_on_commit=False),
        NatsPublisher(client.jetstream()),
        OutboxSettings(
            database_url=database, nats_url=url, batch_size=BATCH, polling_interval=0.05
        ),
    )
    began = time.perf_counter()
    task = asyncio.create_task(relay.start())
    while True:
        async with engine.connect() as connection:
            if error := await connection.scalar(text(_REFUSED)):
                sys.exit(error)
            if not await connection.scalar(text(_LEFT)):
                break
        await asyncio.sleep(0.05)
    seconds = time.perf_counter() - began
    await relay.stop()
    await task
    await client.close()
    await engine.dispose()
    print(count / seconds)  # noqa: T201 - what this program is asked for


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
