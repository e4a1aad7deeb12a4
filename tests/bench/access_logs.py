"""The access log checked from the database and from a file, beside sha256 alone over its texts."""

import hashlib
import resource
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg

from deploy.local.ca import LocalCA
from gateway import log_files, log_seals, log_store
from gateway.access_log import Entry
from gateway.log_chain import BEGINNING, VERSION, LogSigner, keys_of, link, row_text
from gateway.log_check import Proofs, Verification
from gateway.log_files import LogFile
from gateway.log_verify import verify, verify_file
from gateway.tables import AccessLogRow
from services.kernel import ids
from services.kernel.walls import EVERY_COUNTY
from tests import servers
from tests.bench.figures import Figure
from tests.gateway.logs import LONG_AGO, an_entry
from tests.servers import PostgresServer, Schema, Schemas

COPIED = 10_000
SEALED = 1_000
_COLUMNS = tuple(AccessLogRow.model_fields)
_LIMIT = "sha256 of each row's text after the digest before it, in one loop, texts at hand"


async def measure(*, rows: int, rounds: int) -> tuple[list[Figure], int]:
    """The figures, and how many rows of a log that nobody touched did not hold."""
    with TemporaryDirectory() as folder:
        async with servers.postgres_from_wheel() as own:
            schemas = Schemas(PostgresServer(own.superuser_dsn("postgres")))
            try:
                made = await schemas.fresh("gateway")
                signer = LogSigner(LocalCA(Path(folder) / "certs", "local").log_keys().private)
                texts = await _fill(made, signer, rows)
                return await _measure(made, signer, texts, Path(folder) / "log", rounds)
            finally:
                await schemas.close()


async def _measure(
    made: Schema, signer: LogSigner, texts: Sequence[bytes], path: Path, rounds: int
) -> tuple[list[Figure], int]:
    proofs = Proofs(keys=keys_of([signer.public_key]))
    async with made.db.transaction(EVERY_COUNTY, snapshot=True) as session:
        written = await log_files.write(session, path, after=BEGINNING)
    online, offline, wrong = [], [], 0
    before = _resident_mib()
    for _ in range(rounds):
        limit = _hashed_per_second(texts)
        began = time.perf_counter()
        async with made.db.transaction(EVERY_COUNTY, snapshot=True) as session:
            found = await verify(session, proofs)
        online.append((found.rows / (time.perf_counter() - began), limit))
        wrong += _wrong(found, written.rows)
        began = time.perf_counter()
        found = verify_file(LogFile(path), proofs)
        offline.append((found.rows / (time.perf_counter() - began), _hashed_per_second(texts)))
        wrong += _wrong(found, written.rows)
    slowest = 1_000_000 / min(ours for ours, _ in online)
    note = f"{written.rows} rows a round; 1,000,000 take {slowest:.0f} s in the slowest round"
    grown = _resident_mib() - before
    return [
        Figure(
            name="access log, verified in the database",
            unit="rows/s",
            limit_name=_LIMIT,
            pairs=tuple(online),
            goal=0.03,
            stretch=0.08,
            note=f"{note}; the process grew by {grown:.0f} MiB",
        ),
        Figure(
            name="access log, verified from a file",
            unit="rows/s",
            limit_name=_LIMIT,
            pairs=tuple(offline),
            goal=0.15,
            stretch=0.3,
        ),
    ], wrong


def _wrong(found: Verification, rows: int) -> int:
    return abs(rows - found.rows) + abs(rows - found.sealed.position) + (not found.intact)


def _resident_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _hashed_per_second(texts: Sequence[bytes]) -> float:
    digest, sha256 = bytes(32), hashlib.sha256
    began = time.perf_counter()
    for _ in range(10):
        for text in texts:
            digest = sha256(digest + text).digest()
    return 10 * len(texts) / (time.perf_counter() - began)


async def _fill(made: Schema, signer: LogSigner, rows: int) -> list[bytes]:
    """Rows by COPY, chained as the gateway does, with a checkpoint behind each thousand."""
    template, digest = an_entry(resources=[f"loan:{ids.new_id()}"]), bytes(32)
    texts: list[bytes] = []
    connection = await asyncpg.connect(
        made.app_dsn, server_settings={"search_path": "gateway"}, timeout=30
    )
    try:
        for first in range(1, rows + 1, SEALED):
            texts = texts if len(texts) < COPIED else []
            records = []
            for position in range(first, min(first + SEALED, rows + 1)):
                entry = replace(template, call_id=ids.new_id())
                values = [getattr(entry, name) for name in Entry.__slots__]
                texts.append(row_text(VERSION, position, values))
                digest = link(digest, texts[-1])
                records.append(_record(position, entry, digest))
            await connection.copy_records_to_table(
                "access_log", records=records, columns=_COLUMNS, timeout=60
            )
            async with made.db.transaction(EVERY_COUNTY) as session:
                at = LONG_AGO + timedelta(seconds=first)
                await log_seals.seal(session, signer, at)
        async with made.db.transaction(EVERY_COUNTY) as session:
            await log_store.enter_key(session, signer)
    finally:
        await connection.close()
    return texts


def _record(position: int, entry: Entry, digest: bytes) -> tuple[Any, ...]:
    own = {"position": position, "digest": digest, "chain_version": VERSION}
    return tuple(own[name] if name in own else getattr(entry, name) for name in _COLUMNS)
