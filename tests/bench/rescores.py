"""Re-scores: a county rated again in the service, beside plain COPY of the same columns."""

import io
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg
from liandong.credit.v1 import rescores_pb2

from services.credit import jobs
from services.credit.servicer import CreditServicer
from services.kernel.ids import new_id
from services.programmes.loader import Catalogue
from tests import servers
from tests.bench.figures import Figure
from tests.bench.rig import Rig
from tests.credit import many
from tests.credit.county import a_caller, calling
from tests.servers import PostgresServer, Schema, Schemas

ONE_IN = 20
"""Of how many households one gets new data."""

_OUT = """
SELECT household_id, honour, code, value FROM credit_file
JOIN indicator USING (county_code, household_id) WHERE county_code = $1
"""
_FILES = "SELECT household_id, score_centi, grade, limit_fen FROM credit_file"
_RATINGS = "SELECT * FROM rating WHERE cause = 'rescored'"
_INTO = """
DROP TABLE IF EXISTS bare;
CREATE TABLE bare AS {results} LIMIT 0
"""
_NEW_DATA = """
INSERT INTO indicator (county_code, household_id, code, value, observed_on, source_id, person_id)
SELECT county_code, household_id, 'item_2', 1 - value, $2, 'cfc-1', 'p1' FROM indicator
WHERE county_code = $1 AND code = 'item_2' AND hashint8(entry) % $3 = 0
"""
# Everybody rated once under the new rules, and every change of grade said once.
_WRONG = """
SELECT (SELECT count(*) FROM credit_file WHERE programme <> 'many@2')
     + (SELECT count(*) FROM (SELECT FROM rating WHERE cause = 'rescored'
                              GROUP BY household_id HAVING count(*) > 1) AS again)
     + abs((SELECT count(*) FROM outbox WHERE event_type LIKE '%household_graded')
         - (SELECT count(*) FROM credit_file AS f JOIN rating AS b
                ON b.household_id = f.household_id AND b.cause = 'rated'
            WHERE (f.score_centi, f.grade) <> (b.score_centi, b.grade)))
"""
# Whose score is not what was observed last of him says: nobody may be left out.
_OFF = """
SELECT count(*) FROM credit_file AS f
JOIN (SELECT household_id, 10000 + sum(points * value) AS score
      FROM (SELECT DISTINCT ON (household_id, code) household_id, code, value FROM indicator
            ORDER BY household_id, code, observed_on DESC, entry DESC) AS i
      JOIN unnest($1::bigint[]) WITH ORDINALITY AS p (points, place) ON i.code = 'item_' || p.place
      GROUP BY household_id) AS due USING (household_id)
WHERE f.score_centi <> due.score
"""


async def measure(
    rig: Rig, *, households: int, villages: int, rounds: int
) -> tuple[list[Figure], int]:
    """Households a second under new rules and with new data, and how many came out wrong."""
    # A server of its own: roles belong to a server, and the platform's keep their passwords.
    async with servers.postgres_from_wheel() as own:
        schemas = Schemas(PostgresServer(own.superuser_dsn("postgres")))
        rules: list[tuple[float, float]] = []
        data: list[tuple[float, float]] = []
        wrong = 0
        try:
            for _ in range(rounds):
                credit = await schemas.fresh("credit")
                await many.seed(credit, households, villages=villages)
                catalogue = many.a_catalogue(changed=True)
                seconds, changed = await _rescore(credit, catalogue)
                wrong += await credit.one(_WRONG)
                bare = await _bare(credit, _RATINGS)
                rules.append((households / seconds, households / bare))
                await credit.ask(_NEW_DATA, many.COUNTY, many.RESCORED_ON, ONE_IN)
                await credit.ask("VACUUM ANALYZE indicator")
                seconds, renewed = await _rescore(credit, catalogue)
                wrong += await credit.one(_OFF, list(many.POINTS_NEXT))
                bare = await _bare(credit, _FILES)
                data.append((households / seconds, households / bare))
                await schemas.empty()
        finally:
            await schemas.close()
    return _figures(households, rules, data, changed=changed, renewed=renewed), wrong


def _figures(
    households: int,
    rules: Sequence[tuple[float, float]],
    data: Sequence[tuple[float, float]],
    *,
    changed: int,
    renewed: int,
) -> list[Figure]:
    limit = (
        f"binary COPY of {households} households' columns out ({len(many.CODES)} indicators each)"
        " and in of"
    )
    return [
        Figure(
            name="re-score, new rules",
            unit="/s",
            limit_name=f"{limit} all ratings",
            pairs=tuple(rules),
            goal=0.5,
            stretch=0.65,
            note=f"every rating written with its inputs and working, {changed} changes said",
        ),
        Figure(
            name="re-score, new data",
            unit="/s",
            limit_name=f"{limit} score, grade and limit",
            pairs=tuple(data),
            goal=0.5,
            stretch=0.65,
            note=f"one household in {ONE_IN} observed anew, {renewed} changes written and said",
        ),
    ]


async def _rescore(credit: Schema, catalogue: Catalogue) -> tuple[float, int]:
    """Seconds of a re-score, as the service's own job does it, and how many it changed."""
    servicer: Any = CreditServicer(credit.db, catalogue)
    starting = rescores_pb2.StartRescoreRequest(
        request_id=str(new_id()), county_code=many.COUNTY, programme_id="many", reason="bench"
    )
    began = time.perf_counter()
    started = await servicer.StartRescore(starting, calling(a_caller(), starting))
    ahead = jobs.Ahead()
    while await jobs.advance_rescore(credit.db, catalogue, ahead):
        pass
    seconds = time.perf_counter() - began
    asking = rescores_pb2.GetRescoreRequest(
        county_code=many.COUNTY, rescore_id=str(UUID(started.rescore_id))
    )
    done = await servicer.GetRescore(asking, calling(a_caller(), asking))
    assert done.state == rescores_pb2.RESCORE_STATE_DONE, done
    return seconds, done.changed


async def _bare(credit: Schema, results: str) -> float:
    """Seconds to bring the columns out and the results of a query in, and nothing else."""
    connection = await asyncpg.connect(
        credit.server.dsn_of(credit.name), server_settings={"search_path": credit.noun}
    )
    try:
        await connection.execute(_INTO.format(results=results))
        held = io.BytesIO()
        await connection.copy_from_query(results, output=held, format="binary")
        held.seek(0)
        began = time.perf_counter()
        await connection.copy_from_query(_OUT, many.COUNTY, output=io.BytesIO(), format="binary")
        await connection.copy_to_table("bare", source=held, format="binary")
        return time.perf_counter() - began
    finally:
        await connection.close()
