"""Peers that are installed elsewhere: our figures of the same run beside theirs."""

import asyncio
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests import servers
from tests.bench import outside
from tests.bench.chain import SUBJECT
from tests.bench.figures import Figure, Results
from tests.bench.rig import Rig
from tests.servers import PostgresServer

INTERPRETER = "LIANDONG_PEERS"
"""Names the interpreter that has them; ours when nobody says."""
SECONDS_MAX = 120.0
_NOUN = "fields"
"""As whom a relay publishes."""
_PROGRAMS = Path(outside.__file__).parent


@dataclass(frozen=True, slots=True)
class Stranger:
    """A peer, what it needs, and which of our figures it stands beside."""

    name: str
    program: str
    needs: str
    """A module that its interpreter must find."""
    count: int
    ours: str
    does: str
    goal: float
    stretch: float
    relays: bool = False
    server: str = ""
    """A program on the path that it needs too."""


_SAGA = "a settlement in three steps: posted, marked, said; 16 at once"
STRANGERS = (
    Stranger(
        name="settlements beside Absurd",
        program="absurd_saga.py",
        needs="absurd_sdk",
        count=600,
        ours="settlements",
        does=_SAGA,
        goal=5,
        stretch=10,
    ),
    Stranger(
        name="settlements beside Restate",
        program="restate_saga.py",
        needs="restate",
        count=600,
        ours="settlements",
        does=_SAGA,
        goal=5,
        stretch=10,
        server="restate-server",
    ),
    Stranger(
        name="settlements beside DBOS",
        program="dbos_saga.py",
        needs="dbos",
        count=300,
        ours="settlements",
        does=_SAGA,
        goal=20,
        stretch=40,
    ),
    Stranger(
        name="postings beside django-hordak",
        program="hordak_postings.py",
        needs="hordak",
        count=1_000,
        ours="transactions beside pgbench",
        does="a balanced entry of three legs; ours: a repayment with its journal and event",
        goal=10,
        stretch=20,
    ),
    Stranger(
        name="relay beside nats-outbox",
        program="nats_outbox_relay.py",
        needs="nats_outbox",
        count=5_000,
        ours="relay, events",
        does="a backlog from its own outbox to the same stream, batches of 500",
        goal=6,
        stretch=12,
        relays=True,
    ),
)
NEVER = (
    "openIMIS (claims submitted and processed): its 40 modules and their database "
    "have no packages to install"
)


class BrokenError(Exception):
    """A peer did not do what it was asked for."""


async def measure(rig: Rig, results: Results, *, rounds: int) -> tuple[list[Figure], int]:
    """A figure for each peer that is here and whose counterpart this run measured."""
    results.skipped.append(NEVER)
    found = []
    broken = 0
    async with servers.postgres_from_wheel() as own:
        server = PostgresServer(own.superuser_dsn("postgres"))
        for stranger in STRANGERS:
            ours = next((each for each in results.figures if each.name == stranger.ours), None)
            lacks = await _lacks(stranger)
            if ours is None or lacks:
                why = lacks or f"{stranger.ours} is not measured in this run"
                results.skipped.append(f"{stranger.name}: {why}")
                continue
            try:
                paces = [await _paced(rig, server, stranger) for _ in range(rounds)]
            except BrokenError as error:
                broken += 1
                results.skipped.append(f"{stranger.name}: {error}")
                continue
            found.append(_figure(stranger, ours, paces))
    return found, broken


def _figure(stranger: Stranger, ours: Figure, paces: Sequence[float]) -> Figure:
    pairs = tuple(zip((own for own, _ in ours.pairs), paces, strict=True))
    return Figure(
        name=stranger.name,
        unit="/s",
        limit_name=stranger.does,
        pairs=pairs,
        goal=stranger.goal,
        stretch=stranger.stretch,
        note="ours from this same run, not in turns",
    )


def _interpreter() -> str:
    return os.environ.get(INTERPRETER) or sys.executable


async def _lacks(stranger: Stranger) -> str:
    """What is missing to run it; nothing when all is here."""
    asked = f"import importlib.util as u, shutil as s; print(bool(u.find_spec({stranger.needs!r}))"
    asked += f" and bool(s.which({stranger.server!r})))" if stranger.server else ")"
    if (await _ran("-c", asked)).strip() == "True":
        return ""
    also = f" or {stranger.server} is not on the path" if stranger.server else ""
    return f"{stranger.needs} is not installed for {INTERPRETER}{also}"


async def _paced(rig: Rig, server: PostgresServer, stranger: Stranger) -> float:
    """How many a second it does, on a database of its own."""
    database = f"peer_{secrets.token_hex(4)}"
    await server.run(f"CREATE DATABASE {database}")
    told: list[str] = []
    if stranger.relays:
        own = rig.stack.ca.service(_NOUN)
        told = [rig.stack.nats.url, SUBJECT, f"_INBOX_{_NOUN}", f"{own.ca},{own.cert},{own.key}"]
    path = str(_PROGRAMS / stranger.program)
    return float(await _ran(path, server.dsn_of(database), str(stranger.count), *told))


async def _ran(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(_interpreter(), *arguments),
        stdout=asyncio.subprocess.PIPE,
        env={name: text for name, text in os.environ.items() if name != "PYTHONPATH"},
    )
    try:
        async with asyncio.timeout(SECONDS_MAX):
            said, _ = await process.communicate()
    except TimeoutError:
        raise BrokenError(f"not done in {SECONDS_MAX:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode != 0:
        raise BrokenError(f"ended with {process.returncode}")
    return said.decode().strip().splitlines()[-1]
