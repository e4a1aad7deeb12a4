"""Rebuilding: every service's copies of others' facts, made again from the outboxes and compared."""

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from deploy.local.backup import app_dsn
from deploy.local.places import DataFolder
from deploy.nats import topology
from gateway import projections as of_gateway
from services.claims import projections as of_claims
from services.credit import projections as of_credit
from services.funds import projections as of_funds
from services.kernel import walls
from services.kernel.away import may_run_again
from services.kernel.database import Database
from services.kernel.projections import Digest, Projection, Rebuilt, digest, rebuild
from services.loans import projections as of_loans
from services.programmes.loader import Catalogue, load

ATTEMPTS_MAX = 3

Dsn = Callable[[str], str]
"""A noun to the address by which its service reaches its schema."""


def all_projections(catalogue: Catalogue) -> dict[str, Projection]:
    """Every noun that keeps copies; households hears nobody."""
    made = (
        of_credit.projection(catalogue),
        of_loans.projection(catalogue),
        of_claims.projection(catalogue),
        of_funds.projection(catalogue),
        of_gateway.projection(),
    )
    return {each.noun: each for each in made}


def projections_of(programme_folders: Sequence[Path]) -> dict[str, Projection]:
    """The same, with the counties' programmes of these folders."""
    return all_projections(load(programme_folders))


def dsn_in(folder: DataFolder) -> Dsn:
    """Where the databases are: as the environment says (`LOANS_DATABASE_URL` and so on), or in a folder."""

    def dsn(noun: str) -> str:
        return os.environ.get(f"{noun.upper()}_DATABASE_URL") or app_dsn(folder, noun)

    return dsn


@asynccontextmanager
async def _opened(dsn: Dsn, noun: str) -> AsyncIterator[Database]:
    # No statement was prepared on it, so that it sees the copies that hide the tables.
    made = Database(dsn(noun), noun, pool_size=1)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(made.close)
        yield made


async def rebuild_one(dsn: Dsn, projection: Projection, *, write: bool = False) -> Rebuilt:
    """Make one noun's projections again; with `write` what differs is put right."""
    for attempt in range(1, ATTEMPTS_MAX + 1):
        async with AsyncExitStack() as stack:
            target = await stack.enter_async_context(_opened(dsn, projection.noun))
            outboxes = {
                source: await stack.enter_async_context(_opened(dsn, source))
                for source in topology.load().hears[projection.noun]
            }
            try:
                return await rebuild(target, projection, outboxes, write=write)
            except Exception as error:
                # The service changed a row that was being put right.
                if not may_run_again(error) or attempt == ATTEMPTS_MAX:
                    raise
    raise AssertionError("the loop returns or raises")


async def digests(dsn: Dsn, projections: Mapping[str, Projection]) -> dict[str, Digest]:
    """The digest of every table of these projections, as it stands."""
    found: dict[str, Digest] = {}
    for noun, projection in projections.items():
        async with _opened(dsn, noun) as db, db.transaction(walls.EVERY_COUNTY, snapshot=True) as s:
            for kept in projection.kept:
                found[f"{noun}.{kept.table}"] = await digest(s, noun, kept)
    return found
