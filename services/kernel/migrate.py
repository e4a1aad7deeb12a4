"""Migrations: bring one service's schema to its newest version."""

import asyncio
from pathlib import Path

from alembic import command
from alembic.config import Config

ROOT = Path(__file__).resolve().parents[2]


def _upgrade(package: str, schema: str, owner_url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "services/kernel/migrations"))
    config.set_main_option("path_separator", "os")
    versions = ROOT / Path(*package.split(".")) / "migrations"
    config.set_main_option("version_locations", str(versions))
    config.attributes["url"] = owner_url
    config.attributes["schema"] = schema
    command.upgrade(config, "head")


async def upgrade(package: str, schema: str, owner_url: str) -> None:
    """
    Run the migrations in `<package>/migrations` as the schema's owner.

    Safe to call from several processes at once: an advisory lock lets them take turns.
    """
    await asyncio.to_thread(_upgrade, package, schema, owner_url)
