"""Idempotency: the same request takes effect once, however often and whenever it comes."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from liandong.common.v1.operator_pb2 import RepublishEventsRequest, RepublishEventsResponse
from sqlmodel.ext.asyncio.session import AsyncSession

from deploy.local.postgres import Postgres
from services.kernel import database, idempotency, ids
from services.kernel.caller import Caller
from services.kernel.errors import Conflict, Invalid, Refused, Unavailable
from services.kernel.idempotency import once
from services.kernel.walls import EVERY_COUNTY
from tests.builders import a_caller
from tests.servers import Schema

pytestmark = pytest.mark.postgres

Work = Callable[[AsyncSession], Awaitable[RepublishEventsResponse]]


def a_request(request_id: str = "", *, bins: int = 1) -> RepublishEventsRequest:
    return RepublishEventsRequest(
        request_id=request_id or str(ids.new_id()), from_position=1, to_position=bins
    )


async def add_sack(session: AsyncSession) -> RepublishEventsResponse:
    """Answers how many sacks there are: another answer each time that it takes effect."""
    rows = await database.fetch(
        session,
        """INSERT INTO bin VALUES ('a', 1)
           ON CONFLICT (bin_id) DO UPDATE SET sacks = bin.sacks + 1 RETURNING sacks""",
    )
    return RepublishEventsResponse(events=rows[0]["sacks"])


async def fill_once(session: AsyncSession) -> RepublishEventsResponse:
    """Refuses a second filling, as a rule about a state does."""
    await database.fetch(session, "SELECT pg_advisory_xact_lock(1)")
    if await database.fetch(session, "SELECT sacks FROM bin WHERE bin_id = 'a'"):
        raise Refused("BIN_IS_FULL", "filled already")
    return await add_sack(session)


async def insert_bin(session: AsyncSession) -> RepublishEventsResponse:
    """Breaks a constraint at a second filling."""
    await database.execute(session, "INSERT INTO bin VALUES ('a', 1)")
    return RepublishEventsResponse(events=1)


async def ask(
    barns: Schema, request: RepublishEventsRequest, work: Work = add_sack, who: Caller | None = None
) -> int:
    answer = await once(
        barns.db, who or a_caller(), request, RepublishEventsResponse, work, money=False
    )
    return answer.events


async def sacks(barns: Schema) -> int:
    return int(await barns.one("SELECT coalesce(sum(sacks), 0) FROM bin"))


async def test_the_same_request_has_one_effect_and_one_answer(barns: Schema) -> None:
    request = a_request()

    assert await ask(barns, request) == 1
    assert await ask(barns, a_request()) == 2, "another request takes effect"
    assert await ask(barns, request) == 1
    assert await sacks(barns) == 2


async def test_a_request_id_serves_no_other_body(barns: Schema) -> None:
    request = a_request()
    await ask(barns, request)

    with pytest.raises(Conflict) as refusal:
        await ask(barns, a_request(request.request_id, bins=2))

    assert refusal.value.reason == "REQUEST_ID_REUSED"
    assert await sacks(barns) == 1


async def test_institutions_and_methods_have_request_ids_of_their_own(barns: Schema) -> None:
    request = a_request()

    assert await ask(barns, request) == 1
    assert await ask(barns, request, who=a_caller(institution_id="bank-2")) == 2
    assert await ask(barns, request, who=a_caller("/test/AnotherMethod")) == 3
    assert await ask(barns, request) == 1


async def test_what_was_refused_leaves_nothing_and_may_be_asked_again(barns: Schema) -> None:
    request = a_request()

    async def write_and_refuse(session: AsyncSession) -> RepublishEventsResponse:
        await add_sack(session)
        raise Refused("BARN_IS_CLOSED", "later")

    with pytest.raises(Refused, match="BARN_IS_CLOSED"):
        await ask(barns, request, write_and_refuse)
    assert await sacks(barns) == 0
    assert await barns.one("SELECT count(*) FROM idempotency") == 0

    assert await ask(barns, request) == 1


async def test_a_request_needs_an_id(barns: Schema) -> None:
    with pytest.raises(Invalid, match="MALFORMED_ID"):
        await ask(barns, RepublishEventsRequest(request_id="the same"))


@pytest.mark.parametrize("work", [add_sack, fill_once, insert_bin])
async def test_the_same_request_at_the_same_moment_has_one_effect_and_one_answer(
    barns: Schema, work: Work
) -> None:
    request = a_request()

    answers = await asyncio.gather(*(ask(barns, request, work) for _ in range(4)))

    assert answers == [1, 1, 1, 1]
    assert await sacks(barns) == 1
    assert await barns.one("SELECT count(*) FROM idempotency") == 1


async def test_other_requests_at_the_same_moment_are_decided_by_their_own_merit(
    barns: Schema,
) -> None:
    answers = await asyncio.gather(
        *(ask(barns, a_request(), fill_once) for _ in range(4)), return_exceptions=True
    )

    assert sorted(isinstance(answer, Refused) for answer in answers) == [False, True, True, True]
    assert await sacks(barns) == 1


async def test_a_lost_race_is_run_again(barns: Schema) -> None:
    await barns.ask("INSERT INTO bin VALUES ('a', 1), ('b', 1)")
    both_hold_one = asyncio.Barrier(2)

    def crosswise(first: str, second: str) -> Work:
        tries = 0

        async def work(session: AsyncSession) -> RepublishEventsResponse:
            nonlocal tries
            tries += 1
            add = "UPDATE bin SET sacks = sacks + 1 WHERE bin_id = $1"
            await database.execute(session, add, first)
            if tries == 1:
                await both_hold_one.wait()
            await database.execute(session, add, second)
            return RepublishEventsResponse(events=tries)

        return work

    tries = await asyncio.gather(
        ask(barns, a_request(), crosswise("a", "b")), ask(barns, a_request(), crosswise("b", "a"))
    )

    assert sorted(tries) == [1, 2], "there was a deadlock, and its victim ran again"
    assert await sacks(barns) == 6


async def test_a_race_that_is_lost_for_ever_ends_as_too_busy(barns: Schema) -> None:
    tries = 0

    async def lose(session: AsyncSession) -> RepublishEventsResponse:
        nonlocal tries
        tries += 1
        await database.execute(session, "DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")
        return RepublishEventsResponse()

    with pytest.raises(Unavailable, match="TOO_BUSY"):
        await ask(barns, a_request(), lose)
    assert tries == idempotency.ATTEMPTS_MAX


async def test_a_call_cut_at_any_moment_can_be_asked_again(barns: Schema) -> None:
    """F15: the deadline may pass before, in or after the commit; the answer is found."""
    instants = random.Random(2018)
    cut = 0
    requests = [a_request() for _ in range(60)]
    for request in requests:
        try:
            await asyncio.wait_for(ask(barns, request), instants.uniform(0.0005, 0.012))
        except TimeoutError:
            cut += 1

    answers = [await ask(barns, request) for request in requests]

    assert cut > 5, "some calls were cut"
    assert sorted(answers) == list(range(1, 61)), "each took effect once"
    assert await sacks(barns) == 60


async def test_an_outage_while_committing_is_unavailable_and_the_same_request_finds_out(
    mortal_postgres: Postgres, mortal_barns: Schema
) -> None:
    request = a_request()

    async def work_and_die(session: AsyncSession) -> RepublishEventsResponse:
        answer = await add_sack(session)
        await mortal_postgres.kill()
        return answer

    with pytest.raises(Unavailable):
        await ask(mortal_barns, request, work_and_die)
    await mortal_postgres.start()
    await mortal_barns.db.wait_until_ready()

    assert await ask(mortal_barns, request) == 1
    assert await ask(mortal_barns, request) == 1
    assert await sacks(mortal_barns) == 1


async def test_answers_about_money_are_kept_for_ever_and_others_400_days(barns: Schema) -> None:
    insert = """INSERT INTO idempotency SELECT 'bank-1', $1, gen_random_uuid(), '', '', $2,
                now() - make_interval(days => $3) FROM generate_series(1, 3)"""
    for method, money, days in (("old", False, 401), ("young", False, 399), ("money", True, 4000)):
        await barns.ask(insert, method, money, days)

    async def forget() -> int:
        async with barns.db.transaction(EVERY_COUNTY) as session:
            return await idempotency.forget_old(session, rows_max=2)

    assert [await forget(), await forget(), await forget()] == [2, 1, 0]
    left = await barns.ask("SELECT method, count(*) AS rows FROM idempotency GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in left] == [("money", 3), ("young", 3)]
