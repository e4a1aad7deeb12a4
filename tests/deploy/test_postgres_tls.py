"""PostgreSQL over TLS, as the compose override has it: verified, with a password, nothing else."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
import yaml

from deploy import containers
from deploy import postgres as files
from deploy.local.ca import LocalCA
from deploy.local.places import DataFolder, Places, write_file
from deploy.local.postgres import Postgres
from services.kernel import database
from services.kernel.database import Database

ROOT = Path(__file__).resolve().parents[2]
OVERRIDE = yaml.safe_load((ROOT / "docker-compose.tls.yml").read_text())
# The wheel's server knows no TLS; Debian's does.
DEBIAN = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


def test_the_override_verifies_everywhere_and_takes_nothing_else() -> None:
    for name in ("prepare", *containers.NOUNS):
        assert OVERRIDE["services"][name]["environment"] == {
            "PGSSLMODE": "verify-full",
            "PGSSLROOTCERT": str(containers.OWN / "ca.pem"),
        }
    said = OVERRIDE["services"]["postgres"]["command"][1::2]
    assert {"ssl=on", "ssl_min_protocol_version=TLSv1.3"} <= set(said)
    assert f"hba_file=/docker-entrypoint-initdb.d/{files.HBA_TLS_CONF.name}" in said
    rules = files.HBA_TLS_CONF.read_text().splitlines()
    kinds = {line.split()[0] for line in rules if line and not line.startswith("#")}
    assert kinds == {"local", "hostssl"}


def test_postgres_gets_a_certificate_only_where_it_is_asked_for(tmp_path: Path) -> None:
    for receiver in (*containers.NOUNS, "nats", "operator", "institutions", "postgres"):
        (tmp_path / receiver).mkdir()

    containers.certificates(tmp_path / "authority", tmp_path, env="local")
    assert list((tmp_path / "postgres").iterdir()) == []
    containers.certificates(tmp_path / "authority", tmp_path, env="local", postgres=True)

    names = {path.name for path in (tmp_path / "postgres").iterdir()}
    assert names == {"ca.pem", "cert.pem", "key.pem"}


@pytest_asyncio.fixture(loop_scope="session")
async def server(machine: Places, folder: DataFolder, tmp_path: Path) -> AsyncIterator[Postgres]:
    """Debian's PostgreSQL with the override's settings, and the authority's anchor beside."""
    if DEBIAN is None:
        pytest.skip("no PostgreSQL of Debian's (postgresql-15) on this machine")
    own = LocalCA(folder.private("ca"), "local").service("postgres")
    home = folder.served("postgres")
    told = dict(pair.split("=", 1) for pair in OVERRIDE["services"]["postgres"]["command"][1::2])
    settings = {name: told[name] for name in ("ssl", "ssl_min_protocol_version")}
    for name, source in (
        ("ssl_cert_file", own.cert),
        ("ssl_key_file", own.key),
        ("hba_file", files.HBA_TLS_CONF),
    ):
        settings[name] = str(home / source.name)
        write_file(home / source.name, source.read_text(), mode=0o600, owner=folder.user)
    shutil.copy(own.ca, tmp_path / "ca.pem")
    made = Postgres(machine, folder, settings=settings)
    made._bin = DEBIAN
    try:
        await made.start()
        await made.prepare(["loans"])
        yield made
    finally:
        await made.stop()


@pytest.mark.postgres
async def test_a_service_is_let_in_over_verified_tls_and_no_other_way(
    server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.dsn("loans", "app")
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await asyncpg.connect(url, ssl="disable")
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setenv("PGSSLROOTCERT", str(tmp_path / "ca.pem"))

    db = Database(url, "loans", pool_size=1)
    async with db.transaction() as session:
        asked = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        (found,) = await database.fetch(session, asked)
    await db.close()
    assert (found["ssl"], found["version"]) == (True, "TLSv1.3")

    stranger = LocalCA(tmp_path / "stranger", "local").ca_path
    monkeypatch.setenv("PGSSLROOTCERT", str(stranger))
    with pytest.raises(OSError, match="certificate verify failed"):
        await asyncio.wait_for(asyncpg.connect(url), 20)
