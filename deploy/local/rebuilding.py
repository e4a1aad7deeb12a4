"""Rebuilding: services' copies of others' facts, made again from the outboxes and compared."""

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from deploy.local.backup import dsn_of
from deploy.local.places import DataFolder
from deploy.local.postgres import Role
from deploy.nats import topology
from gateway import projections as of_gateway
from services.claims import events_in as of_claims
from services.credit import events_in as of_credit
from services.funds import events_in as of_funds
from services.kernel import walls
from services.kernel.away import may_run_again
from services.kernel.database import Database
from services.kernel.projections import Digest, Projection, Rebuilt, digest, rebuild
from services.loans import events_in as of_loans
from services.programmes.loader import Catalogue, load

ATTEMPTS_MAX = 3

Dsn = Callable[[str, Role], str]
"""A noun and a role of its to the address of its schema."""


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
    """
    Where the databases are: as the environment says, or in a data folder.

    `LOANS_DATABASE_URL` is what the service itself is given; putting rows right needs the owner's,
    `LOANS_OWNER_DATABASE_URL`.
    """

    def dsn(noun: str, role: Role) -> str:
        name = f"{noun.upper()}_{'OWNER_' if role == 'owner' else ''}DATABASE_URL"
        return os.environ.get(name) or dsn_of(folder, noun, role)

    return dsn


@asynccontextmanager
async def _opened(dsn: Dsn, noun: str, role: Role = "app") -> AsyncIterator[Database]:
    # No statement was prepared on it, so that it sees the copies that hide the tables.
    made = Database(dsn(noun, role), noun, pool_size=1)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(made.close)
        yield made


async def rebuild_one(dsn: Dsn, projection: Projection, *, write: bool = False) -> Rebuilt:
    """Make one noun's projections again; with `write` what differs is put right."""
    for attempt in range(1, ATTEMPTS_MAX + 1):
        async with AsyncExitStack() as stack:
            role: Role = "owner" if write else "app"
            target = await stack.enter_async_context(_opened(dsn, projection.noun, role))
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
