"""Cover reserved at one hot fund, beside a bare update of one row committed in the same form."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import uuid4

import asyncpg

from services.funds import reports
from services.funds.model import Cover, CoverState, Fund, FundState
from services.funds.operations import cover
from services.funds.store import funds as fund_store
from services.kernel import business_day, database
from services.kernel.database import Database
from services.kernel.money import Fen
from services.kernel.walls import EVERY_COUNTY
from services.programmes.loader import Catalogue
from tests import servers
from tests.bench.figures import Figure
from tests.funds.county import (
    BANK,
    COUNTY,
    OPENED,
    PROGRAMME,
    REF,
    VILLAGE,
    a_catalogue,
)
from tests.servers import PostgresServer, Schemas

ALONE = 400
"""Single requests a round."""
AT_ONCE = 8
BATCH = 100
BATCHES = 20
PRINCIPAL_FEN = Fen(5_000_000)

_BARE_TABLE = """
CREATE TABLE bench_fund (fund_id int PRIMARY KEY, covered_fen bigint NOT NULL)
    WITH (fillfactor = 50);
INSERT INTO bench_fund VALUES (1, 0);
GRANT ALL ON bench_fund TO funds_app;
"""
_BARE_UPDATE = "UPDATE bench_fund SET covered_fen = covered_fen + $1 WHERE fund_id = 1"


@dataclass(slots=True)
class _Hot:
    """One fund with room for everything that is asked of it."""

    db: Database
    catalogue: Catalogue

    async def reserve(self, count: int) -> None:
        """One transaction, as a batch of requests is heard."""
        wanted = [_asked() for _ in range(count)]
        on: dict[str, date] = {COUNTY: OPENED}
        async with self.db.transaction(EVERY_COUNTY) as session:
            await cover.reserve_covers(session, self.catalogue, wanted, on)

    async def bare(self, count: int) -> None:
        """One transaction of as many updates of one row."""
        async with self.db.transaction(EVERY_COUNTY) as session:
            for _ in range(count):
                await database.execute(session, _BARE_UPDATE, PRINCIPAL_FEN)


def _asked() -> Cover:
    return Cover(
        county_code=COUNTY,
        loan_id=uuid4(),
        lender_id=BANK,
        borrower_class="poor_household",
        area_code=VILLAGE,
        programme=REF,
        principal_fen=PRINCIPAL_FEN,
        model_id="",
        fund_id=None,
        state=CoverState.ASKED,
        disbursed=False,
        version=0,
    )


async def _rate(work: Callable[[int], Awaitable[None]], sizes: Sequence[int]) -> float:
    """Requests a second, so many transactions at once."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(size: int) -> None:
        async with gate:
            await work(size)

    began = time.perf_counter()
    await asyncio.gather(*(one(size) for size in sizes))
    return sum(sizes) / (time.perf_counter() - began)


async def measure(*, rounds: int) -> tuple[list[Figure], int]:
    """The figures, and how many fen of cover are above capacity or not in the books."""
    async with servers.postgres_from_wheel() as own:
        schemas = Schemas(PostgresServer(own.superuser_dsn("postgres")))
        try:
            made = await schemas.fresh("funds", pool_size=AT_ONCE)
            bare = await asyncpg.connect(
                schemas.server.dsn_of(made.name), server_settings={"search_path": "funds"}
            )
            await bare.execute(_BARE_TABLE)
            await bare.close()
            hot = _Hot(made.db, a_catalogue())
            await _begin(hot.db)
            figures = await _figures(hot, rounds)
            wrong = await _wrong(hot.db, rounds)
        finally:
            await schemas.close()
    return figures, wrong


async def _begin(db: Database) -> None:
    async with db.transaction(EVERY_COUNTY) as session:
        await business_day.open_day(session, COUNTY, OPENED)
        fund = Fund(
            county_code=COUNTY,
            fund_id=uuid4(),
            programme_id=PROGRAMME,
            kind="county_fund",
            institution_id="fin-1",
            state=FundState.OPEN,
            balance_fen=Fen(10**12),
            covered_fen=Fen(0),
            owed_fen=Fen(0),
            leverage_reached=False,
            version=0,
        )
        await fund_store.add_fund(session, fund)


async def _figures(hot: _Hot, rounds: int) -> list[Figure]:
    one, many = [1] * ALONE, [BATCH] * BATCHES
    alone = [(await _rate(hot.reserve, one), await _rate(hot.bare, one)) for _ in range(rounds)]
    batch = [(await _rate(hot.reserve, many), await _rate(hot.bare, many)) for _ in range(rounds)]
    return [
        Figure(
            name="reservations one by one",
            unit="/s",
            limit_name=f"an UPDATE of one row, committed alone, {AT_ONCE} at once",
            pairs=tuple(alone),
            goal=0.2,
            stretch=0.4,
            note="locked, decided, kept with its event, a transaction each, on one hot fund",
        ),
        Figure(
            name="reservations in batches",
            unit="/s",
            limit_name=f"{BATCH} UPDATEs of one row in one transaction, {AT_ONCE} at once",
            pairs=tuple(batch),
            goal=0.5,
            stretch=1.0,
            note=f"{BATCH} a transaction, as a stream's batch is heard",
        ),
    ]


async def _wrong(db: Database, rounds: int) -> int:
    async with db.transaction(EVERY_COUNTY) as session:
        totals = await reports.totals(session, COUNTY)
        (row,) = await database.fetch(
            session,
            """SELECT covered_fen,
                      (SELECT sum(principal_fen) FROM cover WHERE state = 'reserved') AS held_fen
               FROM fund""",
        )
    expected = rounds * (ALONE + BATCH * BATCHES) * PRINCIPAL_FEN
    above = max(0, totals["funds.covered_fen"] - totals["funds.balance_fen"] * 10)
    return int(above + abs(row["held_fen"] - expected) + abs(row["covered_fen"] - expected))
