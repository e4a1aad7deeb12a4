"""The one transaction: it commits, rolls back, and says when the server is away."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import partial

import asyncpg
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, get_tracer
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from deploy.local.postgres import Postgres
from services.kernel import database, joining, outbox
from services.kernel.errors import Unavailable
from services.kernel.walls import EVERY_COUNTY, Scope
from tests.eventually import eventually
from tests.kernel.farm.handling import sown
from tests.servers import Schema

pytestmark = pytest.mark.postgres


CUTS = 60
"""Moments of a call at which it is cut off."""
POOL = 4
FILL = "INSERT INTO bin VALUES ($1, 1)"


async def sacks(barns: Schema) -> int:
    return int(await barns.one("SELECT coalesce(sum(sacks), 0) FROM bin"))


async def fill(barns: Schema, *bins: str, then: Callable[[], Awaitable[object]]) -> None:
    """Fill bins in one transaction, and do something before it ends."""
    async with barns.db.transaction() as session:
        for bin_id in bins:
            await database.execute(session, FILL, bin_id)
        await then()
        await database.execute(session, FILL, "the last")


async def fail() -> None:
    raise ValueError("no")


async def test_both_ways_of_asking_share_one_transaction(barns: Schema) -> None:
    async with barns.db.transaction() as session:
        await database.execute(session, "INSERT INTO bin VALUES ('a', 1)")
        await (await session.connection()).execute(text("UPDATE bin SET sacks = sacks + 1"))
        (row,) = await database.fetch(session, "SELECT sacks FROM bin")
        assert row["sacks"] == 2
        assert await sacks(barns) == 0, "nobody else sees it yet"

    assert await sacks(barns) == 2


async def test_a_block_that_raises_leaves_nothing_however_it_was_written(barns: Schema) -> None:
    async def write_and_fail() -> None:
        async with barns.db.transaction() as session:
            await (await session.connection()).execute(text("INSERT INTO bin VALUES ('a', 1)"))
            await database.execute(session, FILL, "b")
            await fail()

    with pytest.raises(ValueError, match="no"):
        await write_and_fail()

    assert await sacks(barns) == 0


async def test_a_statement_tells_how_many_rows_it_touched(barns: Schema) -> None:
    async with barns.db.transaction() as session:
        insert = "INSERT INTO bin SELECT * FROM unnest($1::text[], $2::bigint[])"
        rows = [("a", 1), ("b", 2)]
        assert await database.execute(session, insert, *database.columns(rows, 2)) == 2
        assert await database.execute(session, insert, *database.columns([], 2)) == 0
        assert await database.execute(session, "UPDATE bin SET sacks = 3 WHERE sacks = 2") == 1


ONE_BIN = "INSERT INTO bin SELECT $1::text, 1"
ONE_EFFECT = """INSERT INTO effect (event_id, aggregate_id, sequence, what)
                SELECT gen_random_uuid(), $1::text, $2::bigint, 'wheat'"""


def heard_by(session: AsyncSession) -> list[str]:
    """What goes over a session's connection from now on."""
    heard: list[str] = []
    database._driver(session).add_query_logger(lambda record: heard.append(record.query))
    return heard


async def test_writes_go_as_one_before_anything_is_asked(barns: Schema) -> None:
    count = "SELECT (SELECT count(*) FROM bin) + (SELECT count(*) FROM effect) AS rows"
    async with barns.db.transaction() as session:
        heard = heard_by(session)
        await database.write(session, ONE_BIN, "a")
        await database.write(session, ONE_EFFECT, "a", 1)
        (row,) = await database.fetch(session, count)
        assert row["rows"] == 2

    assert heard[:2] == [joining.joined((ONE_BIN, ONE_EFFECT)), count]


async def test_writes_of_one_table_keep_their_order(barns: Schema) -> None:
    async with barns.db.transaction() as session:
        heard = heard_by(session)
        await database.write(session, ONE_BIN, "a")
        await database.write(session, "UPDATE bin SET sacks = sacks + $1", 41)
        await database.write(session, ONE_EFFECT, "a", 1)
    assert await sacks(barns) == 42
    assert [words for words in heard if not words.startswith(("BEGIN", "COMMIT"))] == [
        ONE_BIN,
        joining.joined(("UPDATE bin SET sacks = sacks + $1", ONE_EFFECT)),
    ]


async def write_a_bin(barns: Schema, bin_id: str, then: Callable[[], Awaitable[object]]) -> None:
    async with barns.db.transaction() as session:
        await database.write(session, ONE_EFFECT, bin_id, 1)
        await database.write(session, ONE_BIN, bin_id)
        await then()


async def test_writes_that_wait_are_committed_or_gone_with_the_rest(barns: Schema) -> None:
    async def nothing() -> None:
        assert await sacks(barns) <= 1

    await write_a_bin(barns, "a", nothing)
    assert await sacks(barns) == 1
    with pytest.raises(asyncpg.UniqueViolationError):
        await write_a_bin(barns, "a", nothing)
    with pytest.raises(ValueError, match="no"):
        await write_a_bin(barns, "b", fail)

    assert await sacks(barns) == 1
    assert await barns.one("SELECT count(*) FROM effect") == 1


async def test_a_copy_comes_after_what_was_written_before_it(barns: Schema) -> None:
    async with barns.db.transaction() as session:
        await database.write(session, ONE_BIN, "a")
        await database.copy(session, "bin", ("bin_id", "sacks"), [("b", 2)])
        await database.write(session, "UPDATE bin SET sacks = 10 WHERE bin_id = $1", "b")
    assert await sacks(barns) == 11


async def test_the_scope_is_told_for_one_transaction_only(barns: Schema) -> None:
    told = """SELECT current_setting('liandong.county'), current_setting('liandong.lender'),
                     current_setting('liandong.insurer')"""

    for snapshot in (False, True):
        scope = Scope(county_code="520100", lender_id="bank-1")
        async with barns.db.transaction(scope, snapshot=snapshot) as session:
            assert tuple((await database.fetch(session, told))[0]) == ("520100", "bank-1", "")
    async with barns.db.transaction() as session:
        assert tuple((await database.fetch(session, told))[0]) == ("", "", "")


@pytest.mark.parametrize("letters", ["'", "a'; DROP TABLE bin; --", "村", "a b", "x" * 65, "a\n"])
def test_a_scope_is_told_in_plain_letters(letters: str) -> None:
    with pytest.raises(ValueError, match="plain letters"):
        Scope(county_code="520100", lender_id=letters)


async def test_a_snapshot_shows_one_moment_and_the_next_transaction_the_next(
    barns: Schema,
) -> None:
    count = "SELECT count(*) AS bins FROM bin"
    async with barns.db.transaction(snapshot=True) as session:
        assert (await database.fetch(session, count))[0]["bins"] == 0
        await barns.ask("INSERT INTO bin VALUES ('a', 1)")
        assert (await database.fetch(session, count))[0]["bins"] == 0

    async with barns.db.transaction() as session:
        assert (await database.fetch(session, count))[0]["bins"] == 1
        await barns.ask("INSERT INTO bin VALUES ('b', 1)")
        assert (await database.fetch(session, count))[0]["bins"] == 2, "read committed again"


async def test_the_relay_is_woken_by_a_commit_with_events_and_by_no_other(fields: Schema) -> None:
    async def say(then: Callable[[], Awaitable[object]]) -> None:
        async with fields.db.transaction(EVERY_COUNTY) as session:
            await outbox.record(session, [sown("a", 1)])
            await then()

    async def not_yet() -> None:
        assert not fields.db.said.is_set()

    await fill(fields, "a", then=not_yet)
    with pytest.raises(ValueError, match="no"):
        await say(fail)
    await not_yet()
    await say(not_yet)
    assert fields.db.said.is_set()


async def test_a_lock_on_a_connection_ends_with_it(barns: Schema) -> None:
    for _ in range(barns.db._engine.pool.size() + 1):  # type: ignore[attr-defined]
        async with barns.db.connection() as connection:
            assert await connection.fetchval("SELECT pg_try_advisory_lock(7)")

    other = await asyncpg.connect(barns.app_dsn)
    free = await eventually(lambda: other.fetchval("SELECT pg_try_advisory_lock(7)"))
    await other.close()
    assert free


async def test_slow_statements_are_spans_below_the_one_that_asks(
    barns: Schema, spans: InMemorySpanExporter
) -> None:
    with get_tracer("test").start_as_current_span("the call") as asking:
        async with barns.db.transaction() as session:
            await database.fetch(session, "SELECT $1::text, pg_sleep(0.02)", "王芳")
            await database.execute(session, "SELECT $1::text, pg_sleep(0.02)", "王芳")

    found = [span for span in spans.get_finished_spans() if span.kind is SpanKind.CLIENT]
    assert [span.name for span in found] == ["SELECT $1::text, pg_sleep(0.02)"] * 2
    for span in found:
        assert span.parent is not None
        assert span.parent.span_id == asking.get_span_context().span_id
        assert span.attributes is not None
        assert span.attributes["db.system.name"] == "postgresql"
        assert "王芳" not in f"{span.name}{dict(span.attributes)}", "no value gets into a trace"


# --- a server that is away ----------------------------------------------------------------------


async def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def test_a_server_that_died_is_unavailable_and_nothing_was_written(
    mortal_postgres: Postgres, mortal_barns: Schema
) -> None:
    async with mortal_barns.db.transaction() as session:
        await database.execute(session, FILL, "before")

    async def dies() -> None:
        async with mortal_barns.db.transaction() as session:
            await database.execute(session, FILL, "lost")
            [own] = await database.fetch(session, "SELECT pg_backend_pid() AS pid")
            await mortal_postgres.kill()
            # A busy machine lets an orphaned backend answer, and even commit, once more.
            await eventually(partial(_is_gone, own["pid"]))
            await database.execute(session, FILL, "the last")

    with pytest.raises(Unavailable) as refusal:
        await dies()
    assert refusal.value.reason == "DATABASE_UNAVAILABLE"
    assert refusal.value.message_zh

    with pytest.raises(Unavailable):
        async with mortal_barns.db.transaction():
            pass

    await mortal_postgres.start()
    await mortal_barns.db.wait_until_ready()
    async with mortal_barns.db.transaction() as session:
        await database.execute(session, FILL, "after")
    found = await mortal_barns.ask("SELECT bin_id FROM bin ORDER BY bin_id")
    assert [row["bin_id"] for row in found] == ["after", "before"]


async def test_a_killed_server_costs_each_idle_connection_at_most_one_call(
    mortal_postgres: Postgres, mortal_barns: Schema
) -> None:
    async def ask() -> None:
        async with mortal_barns.db.transaction() as session:
            await database.fetch(session, "SELECT pg_sleep(0.05)")

    await asyncio.gather(*(ask() for _ in range(4)))
    await mortal_postgres.kill()
    await mortal_postgres.start()

    failed = 0
    for _ in range(8):
        try:
            await ask()
        except Unavailable:
            failed += 1
    assert failed <= 4
    await ask()


async def test_a_connection_that_was_ended_is_unavailable(barns: Schema) -> None:
    end = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()"""

    with pytest.raises(Unavailable):
        await fill(barns, "a", then=lambda: barns.ask(end))

    await barns.db.wait_until_ready()
    assert await sacks(barns) == 0


@pytest.mark.parametrize(
    ("sql", "argument"),
    [
        ("SELECT $1::bigint", 2**70),
        ("SELECT $1::bigint", "three"),
        ("SELECT $1::bigint, $2::bigint", 1),
        ("SELECT no_such_column FROM bin WHERE sacks = $1", 1),
    ],
)
async def test_a_wrong_statement_is_a_bug_and_no_outage(
    barns: Schema, sql: str, argument: object
) -> None:
    with pytest.raises(Exception, match=r"int64|str|arguments|no_such_column") as failure:
        async with barns.db.transaction() as session:
            await database.fetch(session, sql, argument)

    assert not isinstance(failure.value, Unavailable)
    await barns.db.wait_until_ready()


async def test_a_stream_gives_all_rows_some_at_a_time(barns: Schema) -> None:
    async with barns.db.transaction() as session:
        chunks = [
            [row["n"] for row in rows]
            async for rows in database.stream(
                session, "SELECT n FROM generate_series(1, $1::int) AS n", 5, chunk_rows=2
            )
        ]

    assert chunks == [[1, 2], [3, 4], [5]]


async def test_a_call_that_is_cut_off_anywhere_leaves_no_transaction_to_the_next(
    barns: Schema,
) -> None:
    async def nothing() -> None:
        return None

    cut = 0
    for turns in range(CUTS):
        task = asyncio.create_task(fill(barns, f"bin {turns}", then=nothing))
        await wait_turns(turns)
        task.cancel()
        (end,) = await asyncio.gather(task, return_exceptions=True)
        cut += isinstance(end, asyncio.CancelledError)
        # Each of the pool in turn: whichever was cut must not be inside what it began.
        assert await barns.one("SELECT 1") == 1
        async with asyncio.TaskGroup() as group:
            for _ in range(POOL):
                group.create_task(fill_and_empty(barns))
    assert cut > CUTS // 6, "hardly any was cut"


async def wait_turns(count: int) -> None:
    """Let the loop turn so many times: no time is meant, but a place in another task's work."""
    for _ in range(count):
        await asyncio.sleep(0)


async def fill_and_empty(barns: Schema) -> None:
    async with barns.db.transaction() as session:
        await database.execute(session, "DELETE FROM bin")
