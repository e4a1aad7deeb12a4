"""Leftovers: everything that a platform of this machine writes down while it lives."""

import asyncio
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from deploy.local import spans
from deploy.local.stack import NOUNS, Stack

CHUNK = 1024 * 1024
ROWS_A_CHUNK = 2_000
Left = AsyncIterator[tuple[str, bytes]]


@contextmanager
def spans_whole(path: Path) -> Iterator[None]:
    """Keep every span as it came; the local store keeps a name and a duration of each only."""
    read = spans._read

    def keep(request: trace_service_pb2.ExportTraceServiceRequest) -> list[spans.StoredSpan]:
        with path.open("ab") as file:
            file.write(str(request).encode())
        return read(request)

    spans._read = keep
    try:
        yield
    finally:
        spans._read = read


async def of(stack: Stack, *, metrics: bool = False, more: tuple[Path, ...] = ()) -> Left:
    """Logs, spans, metrics, the stream's files and every row of every table, in pieces."""
    for path in (*_files(stack.folder.private("logs")), *_files(stack.folder.private("spans"))):
        for piece in _pieces(path):
            yield path.name, piece
    for path in more:
        for piece in _pieces(path):
            yield path.name, piece
    # What the server has stored is in these files: messages with their headers.
    for path in _files(stack.nats.store):
        for piece in _pieces(path):
            yield f"nats {path.name}", piece
    if metrics:
        for name, address in stack.metrics.items():
            yield f"metrics of {name}", await asyncio.to_thread(_metrics, address)
    connection = await asyncpg.connect(stack.postgres.superuser_dsn())
    try:
        for noun in NOUNS:
            async for place, piece in _tables(connection, noun):
                yield place, piece
    finally:
        await connection.close()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        end = b""
        while piece := file.read(CHUNK):
            yield end + piece
            end = piece[-512:]


def _metrics(address: str) -> bytes:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        found: bytes = answer.read()
    return found


async def _tables(connection: Any, noun: str) -> Left:
    tables = await connection.fetch(
        "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition",
        noun,
    )
    for (table,) in tables:
        rows = await connection.fetch(f'SELECT * FROM "{noun}"."{table}"')
        for start in range(0, len(rows), ROWS_A_CHUNK):
            part = rows[start : start + ROWS_A_CHUNK]
            yield f"{noun}.{table}", b"\n".join(_row(row) for row in part)


def _row(row: Any) -> bytes:
    return b" | ".join(
        value if isinstance(value, bytes) else str(value).encode() for value in row.values()
    )
