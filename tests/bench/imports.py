"""An import's pace at the registry's own door, beside binary COPY of the same lines."""

import asyncio
import io
import sys
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date
from typing import Final

import asyncpg
import grpc
from liandong.households.v1 import households_pb2, households_pb2_grpc

from deploy.local.ca import LocalCA
from deploy.local.household_file import COLUMNS, EXPORT_TITLES, chunks
from services.households.model import Area, AreaLevel
from services.households.store import registration
from services.kernel import business_day, caller
from services.kernel.caller import Caller, Signer
from services.kernel.walls import EVERY_COUNTY
from tests import lines as files
from tests import servers
from tests.bench.figures import Figure
from tests.bench.rig import Rig
from tests.servers import PostgresServer, Schema, Schemas

CHUNK_LINES: Final = 1_500
PATH: Final = "/liandong.households.v1.HouseholdsService/ImportHouseholds"
PART_LINES: Final = 200_001
"""Of a round so many are imported, and then copied, at a time: they are held in memory, made."""
_FIELDS = tuple(name for title, name in COLUMNS.items() if title in EXPORT_TITLES)
_TABLES = f"""
CREATE TABLE plain (county_code text NOT NULL, line_id uuid NOT NULL,
                    {", ".join(f"{name} text" for name in _FIELDS)});
CREATE TABLE keyed (LIKE plain, PRIMARY KEY (county_code, line_id))
"""
_VILLAGES_A_TOWNSHIP: Final = 300
_LEVELS = {1: AreaLevel.COUNTY, 2: AreaLevel.TOWNSHIP, 3: AreaLevel.VILLAGE}


async def measure(rig: Rig, *, lines: int, villages: int, rounds: int) -> tuple[list[Figure], int]:
    """Lines a second, and how many were lost, doubled or left without a verdict."""
    codes = [
        f"{files.COUNTY}{101 + township}{201 + place}"
        for township, place in (divmod(n, _VILLAGES_A_TOWNSHIP) for n in range(villages))
    ]
    # A server of its own: roles belong to a server, and the platform's keep their passwords.
    async with servers.postgres_from_wheel() as own:
        schemas = Schemas(PostgresServer(own.superuser_dsn("postgres")))
        pairs = []
        wrong = 0
        try:
            registry = await schemas.fresh("households")
            for table in _TABLES.split(";"):
                await registry.ask(table)
            await _open(registry, codes)
            async with _door(rig, registry) as stub:
                for turn in range(rounds):
                    ours = limit = 0.0
                    # Other people each round: a later one meets a registry that is fuller.
                    for first in range(turn * lines, (turn + 1) * lines, PART_LINES):
                        count = min(PART_LINES, (turn + 1) * lines - first)
                        rows = list(files.people(count, first=first, villages=codes))
                        seconds, off = await _imported(stub, rig, rows)
                        ours += seconds
                        limit += await _copied(registry, rows)
                        wrong += off
                    pairs.append((lines / ours, lines / limit))
                    await registry.ask("TRUNCATE keyed")
            for table in ("member", "person"):
                landed: int = await registry.one(f"SELECT count(*) FROM {table}")
                wrong += abs(landed - rounds * lines)
        finally:
            await schemas.close()
    figure = Figure(
        name="import, lines",
        unit="/s",
        limit_name="binary COPY of the same lines, made ready before, into a table with its key",
        pairs=tuple(pairs),
        goal=0.15,
        stretch=0.3,
        note=f"{lines} lines a round in chunks of {CHUNK_LINES} over gRPC with mTLS: validated, "
        "hashed, sealed, duplicates looked for, an event for each household, every line answered",
    )
    return [figure], wrong


async def _open(registry: Schema, villages: Sequence[str]) -> None:
    areas = [Area(code, code, _LEVELS[level]) for code, level in files.areas(villages)]
    async with registry.db.transaction(EVERY_COUNTY) as session:
        await business_day.open_day(session, files.COUNTY, date(2018, 1, 1))
        await registration.save_areas(session, files.COUNTY, areas)


@asynccontextmanager
async def _door(
    rig: Rig, registry: Schema
) -> "AsyncIterator[households_pb2_grpc.HouseholdsServiceAsyncStub]":
    """The registry in a process of its own, as its gateway reaches it."""
    certificates: LocalCA = rig.stack.ca
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.registry"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    told = (registry.app_dsn, str(certificates.ca_path.parent), rig.stack.shape.env)
    server.stdin.write(("\t".join(told) + "\n").encode())
    try:
        port = int(await asyncio.wait_for(server.stdout.readline(), 60))
        own = certificates.service("gateway")
        credentials = grpc.ssl_channel_credentials(
            own.ca.read_bytes(), own.key.read_bytes(), own.cert.read_bytes()
        )
        async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
            yield households_pb2_grpc.HouseholdsServiceStub(channel)
    finally:
        server.terminate()
        await server.wait()


async def _imported(
    stub: "households_pb2_grpc.HouseholdsServiceAsyncStub", rig: Rig, rows: Sequence[Sequence[str]]
) -> tuple[float, int]:
    lines = (
        households_pb2.HouseholdLine(line_number=number, **dict(zip(_FIELDS, row, strict=True)))
        for number, row in enumerate(rows, 2)
    )
    requests = [
        households_pb2.ImportHouseholdsRequest(
            request_id=str(uuid.uuid4()), county_code=files.COUNTY, lines=chunk, update=True
        )
        for chunk in chunks(lines, CHUNK_LINES)
    ]
    signed = Signer(rig.stack.ca.caller_keys().private).sign(
        Caller(
            institution_id="cfc-0001",
            role="county_centre",
            person_id="cfc-0001-p1",
            county_code=files.COUNTY,
            areas=(),
            purpose="bench",
            method=PATH,
            body_hash=caller.STREAM_HASH,
        )
    )
    people = refused = 0
    began = time.perf_counter()
    metadata = ((caller.METADATA_KEY, signed),)
    async for answer in stub.ImportHouseholds(iter(requests), metadata=metadata):
        people += answer.people
        refused += len(answer.refused)
    return time.perf_counter() - began, abs(len(rows) - people) + refused


async def _copied(registry: Schema, rows: Sequence[Sequence[str]]) -> float:
    columns = ("county_code", "line_id", *_FIELDS)
    held = [(files.COUNTY, uuid.uuid4(), *row) for row in rows]
    connection = await asyncpg.connect(
        registry.server.dsn_of(registry.name), server_settings={"search_path": "households"}
    )
    try:
        await connection.copy_records_to_table("plain", records=held, columns=columns)
        ready = io.BytesIO()
        await connection.copy_from_table("plain", output=ready, format="binary")
        await connection.execute("TRUNCATE plain")
        ready.seek(0)
        began = time.perf_counter()
        await connection.copy_to_table("keyed", source=ready, format="binary")
        return time.perf_counter() - began
    finally:
        await connection.close()
