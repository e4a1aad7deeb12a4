"""Alembic's environment for every service: the owner role, the service's own schema."""

import asyncio

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from services.kernel import walls


def _run(connection: Connection, schema: str) -> None:
    context.configure(connection=connection, version_table_schema=schema)
    with context.begin_transaction():
        connection.execute(text("SET LOCAL lock_timeout = '5s'"))
        # The owner too is held to row-level security, and a migration is for every county.
        for name, value in {**walls.SESSION, "liandong.county": "*"}.items():
            connection.execute(text(f"SET LOCAL {name} = '{value}'"))
        context.run_migrations()


async def _migrate() -> None:
    schema = context.config.attributes["schema"]
    url = make_url(context.config.attributes["url"]).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(
        url, poolclass=NullPool, connect_args={"server_settings": {"search_path": schema}}
    )
    async with engine.connect() as connection:
        # Two migrators of one schema take turns; the lock ends with the connection.
        await connection.execute(
            text("SELECT pg_advisory_lock(hashtext('liandong-migrate'), hashtext(:schema))"),
            {"schema": schema},
        )
        await connection.commit()
        await connection.run_sync(_run, schema)
        await connection.commit()
    await engine.dispose()


asyncio.run(_migrate())
