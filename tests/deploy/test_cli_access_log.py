"""`liandong access-log` and `liandong retention`: what they print, and how they exit."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from deploy.local.ca import LocalCA
from deploy.local.cli import app
from deploy.local.places import free_port
from gateway.log_chain import LogSigner
from services.kernel.walls import EVERY_COUNTY
from tests.conftest import MakeSchema
from tests.gateway.logs import LONG_AGO, fill

pytestmark = [pytest.mark.postgres]


async def test_the_log_is_checked_in_the_database_and_in_a_file(
    schema: MakeSchema, certificates: LocalCA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await schema("gateway")
    keys = certificates.log_keys()
    async with made.db.transaction(EVERY_COUNTY) as session:
        await fill(session, LogSigner(keys.private), rows=60, each=10, days=3)
    monkeypatch.setenv("GATEWAY_DATABASE_URL", made.app_dsn)
    monkeypatch.setenv("GATEWAY_LOG_PRIVATE_KEY_PATH", str(keys.private))
    monkeypatch.setenv("GATEWAY_ARCHIVE_PATH", str(tmp_path / "archive"))
    own = ("--keys", str(keys.public), "--roots", str(tmp_path / "roots"))

    async def run(*arguments: str) -> Result:
        # A command makes a loop of its own.
        return await asyncio.to_thread(lambda: CliRunner().invoke(app, list(arguments)))

    await run("access-log", "roots", str(tmp_path / "roots"))
    published = await run("access-log", "keys", str(tmp_path / "keys.pem"))
    online = await run("access-log", "verify", *own)
    exported = await run("access-log", "export", str(tmp_path / "log.gz"))
    offline = await run("access-log", "verify", "--file", str(tmp_path / "log.gz"), *own)
    day = (LONG_AGO + timedelta(days=1)).date().isoformat()
    await run("access-log", "export", str(tmp_path / "day"), "--since", day, "--until", day)
    a_day = await run("access-log", "verify", "--file", str(tmp_path / "day"), "--part", *own)
    looked = await run("retention", "run", "--dry-run")
    await made.ask("UPDATE access_log SET purpose = 'other' WHERE position = 33")
    broken = await run("access-log", "verify", *own)
    retained = await run("retention", "run")
    unreadable = await run("access-log", "verify", "--file", str(keys.public))

    monkeypatch.setenv("GATEWAY_DATABASE_URL", f"postgresql://nobody@127.0.0.1:{free_port()}/none")
    away = await run("access-log", "verify", *own)

    assert published.exit_code == 0, published.output
    assert (tmp_path / "keys.pem").read_bytes() == keys.public.read_bytes()
    assert (online.exit_code, offline.exit_code) == (0, 0), online.output + offline.output
    assert "intact: rows=60 checkpoints=6 last=60 sealed=60" in online.output
    assert exported.output.startswith("60 rows, 1 to 60, sha256 ")
    assert (a_day.exit_code, "rows=20 " in a_day.output) == (0, True), a_day.output
    assert "access_log: 60 rows would go, 1095 days are kept" in looked.output
    assert broken.exit_code == 1
    assert "BROKEN at position 33: flip" in broken.output
    assert retained.exit_code == 1
    assert "flip at 33" in retained.output
    assert (unreadable.exit_code, away.exit_code) == (2, 2)
