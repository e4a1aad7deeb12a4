"""The journal: balanced by construction, posted once, never changed, sealed in commit order."""

import asyncio
from dataclasses import replace
from datetime import date

import asyncpg
import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database, ids, journal
from services.kernel.journal import Account, Entry, Transfer
from services.kernel.money import Fen
from services.kernel.walls import EVERY_COUNTY
from tests.builders import COUNTY
from tests.servers import Schema

pytestmark = pytest.mark.postgres

CASH = Account("lender_cash", "bank-1")
PRINCIPAL = Account("loan_principal", "loan-1")
INTEREST = Account("loan_interest", "loan-1")


def an_entry(cause_id: str, *transfers: Transfer, county_code: str = COUNTY) -> Entry:
    return Entry(
        county_code=county_code,
        kind="repayment",
        cause_id=cause_id,
        value_date=date(2018, 1, 2),
        business_date=date(2018, 1, 3),
        transfers=transfers or (Transfer(CASH, PRINCIPAL, Fen(100)),),
    )


async def post(barns: Schema, *entries: Entry) -> None:
    async with barns.db.transaction(EVERY_COUNTY) as session:
        await journal.post(session, entries)


async def seal(barns: Schema) -> int:
    async with barns.db.transaction(EVERY_COUNTY) as session:
        return await journal.seal(session)


async def test_every_row_debits_one_account_and_credits_another(barns: Schema) -> None:
    await post(
        barns,
        an_entry("r1", Transfer(CASH, PRINCIPAL, Fen(70)), Transfer(CASH, INTEREST, Fen(30))),
        an_entry("r2", county_code="411281"),
    )

    async with barns.db.transaction(EVERY_COUNTY) as session:
        found = await journal.balances(session, COUNTY)
        other = await journal.balances(session, "411281")
    assert found == {"lender_cash": 100, "loan_interest": -30, "loan_principal": -70}
    assert other == {"lender_cash": 100, "loan_principal": -100}
    assert sum(found.values()) == sum(other.values()) == 0


async def test_a_transfer_of_nothing_is_left_out_and_so_is_an_entry_of_none(
    barns: Schema,
) -> None:
    nothing = Transfer(CASH, INTEREST, Fen(0))

    await post(barns, an_entry("r1", Transfer(CASH, PRINCIPAL, Fen(70)), nothing))
    await post(barns, an_entry("r2", nothing))
    await post(barns)

    rows = await barns.ask("SELECT cause_id, line, amount_fen FROM journal")
    assert [tuple(row) for row in rows] == [("r1", 0, 70)]


@pytest.mark.parametrize(
    "wrong",
    [
        Transfer(CASH, PRINCIPAL, Fen(-1)),
        Transfer(CASH, CASH, Fen(1)),
        Transfer(CASH, PRINCIPAL, Fen(2**63)),
    ],
)
async def test_what_does_not_balance_cannot_be_posted(barns: Schema, wrong: Transfer) -> None:
    with pytest.raises((asyncpg.CheckViolationError, asyncpg.DataError)):
        await post(barns, an_entry("r1", Transfer(CASH, PRINCIPAL, Fen(5)), wrong))

    assert await barns.one("SELECT count(*) FROM journal") == 0


async def test_a_cause_is_posted_once_for_ever(barns: Schema) -> None:
    await post(barns, an_entry("r1"))

    with pytest.raises(asyncpg.UniqueViolationError):
        await post(barns, an_entry("r1"))
    with pytest.raises(asyncpg.UniqueViolationError):
        await post(barns, an_entry("r2"), an_entry("r2"))

    await post(barns, replace(an_entry("r1"), kind="disbursement"))
    assert await barns.one("SELECT count(*) FROM journal") == 2


async def test_of_two_posts_of_one_cause_at_the_same_moment_one_stands(barns: Schema) -> None:
    ends = await asyncio.gather(
        *(post(barns, an_entry("r1")) for _ in range(4)), return_exceptions=True
    )

    assert [type(end) for end in ends if end is not None] == [asyncpg.UniqueViolationError] * 3
    assert await barns.one("SELECT count(*) FROM journal") == 1


@pytest.mark.parametrize("table", ["journal", "journal_checkpoint"])
@pytest.mark.parametrize(
    "verb", ["UPDATE {} SET recorded_at = now()", "DELETE FROM {}", "TRUNCATE {}"]
)
async def test_the_service_cannot_change_its_book(barns: Schema, table: str, verb: str) -> None:
    await post(barns, an_entry("r1"))
    await seal(barns)

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await barns.ask_as_app(verb.format(table))

    assert await barns.one(f"SELECT count(*) FROM {table}") == 1


async def sealed(barns: Schema) -> int:
    return int(await barns.one("SELECT coalesce(sum(rows_sealed), 0) FROM journal_checkpoint"))


async def test_a_seal_covers_each_row_once(barns: Schema) -> None:
    assert await seal(barns) == 0
    await post(barns, an_entry("r1"), an_entry("r2"))
    await post(barns, an_entry("r3"))

    assert [await seal(barns), await seal(barns)] == [3, 0]
    await post(barns, an_entry("r4"))
    assert [await seal(barns), await seal(barns)] == [1, 0]
    assert await barns.one("SELECT count(*) FROM journal_checkpoint") == 2


async def test_a_row_committed_late_is_sealed_after_those_that_waited_for_it(
    barns: Schema,
) -> None:
    """The transaction began first: sealing up to the newest row would pass it by."""
    async with barns.db.transaction(EVERY_COUNTY) as late:
        await journal.post(late, [an_entry("late")])
        # Until something is asked, what was written waits, and the transaction has no place yet.
        await database.fetch(late, "SELECT")
        await post(barns, an_entry("early"))
        assert await seal(barns) == 0, "a row that may be joined by an older one waits"

    assert await seal(barns) == 2
    assert await seal(barns) == 0


async def test_sealers_at_the_same_moment_cover_each_row_once(barns: Schema) -> None:
    for number in range(20):
        await post(barns, *(an_entry(f"r{number}-{line}") for line in range(3)))
        await asyncio.gather(*(seal(barns) for _ in range(4)))

    assert await seal(barns) == 0
    assert await sealed(barns) == 60


async def test_rows_posted_while_seals_are_made_are_each_sealed_once(barns: Schema) -> None:
    ended = asyncio.Event()

    async def post_many(name: str) -> None:
        for number in range(25):
            await post(barns, an_entry(f"{name}-{number}"))

    async def seal_all_the_time() -> None:
        while not ended.is_set():
            await seal(barns)

    sealing = asyncio.create_task(seal_all_the_time())
    await asyncio.gather(*(post_many(name) for name in "ab"))
    ended.set()
    await sealing
    await seal(barns)

    assert await sealed(barns) == 50


async def test_a_seal_shows_what_was_changed_behind_it(barns: Schema) -> None:
    """As a superuser could; the digest of the same rows is another one then."""
    await post(barns, an_entry("r1"), an_entry("r2"))
    await seal(barns)
    await barns.ask("UPDATE journal SET amount_fen = amount_fen + 1 WHERE cause_id = 'r1'")
    kept = await barns.one("SELECT digest FROM journal_checkpoint")

    await barns.ask("DELETE FROM journal_checkpoint")
    assert await seal(barns) == 2
    assert await barns.one("SELECT digest FROM journal_checkpoint") != kept

    await barns.ask("UPDATE journal SET amount_fen = amount_fen - 1 WHERE cause_id = 'r1'")
    await barns.ask("DELETE FROM journal_checkpoint")
    assert await seal(barns) == 2
    assert await barns.one("SELECT digest FROM journal_checkpoint") == kept


async def test_an_entry_is_written_with_the_change_that_it_books(barns: Schema) -> None:
    async def book_and_fail(session: AsyncSession) -> None:
        await journal.post(session, [an_entry(str(ids.new_id()))])
        raise ValueError("no")

    async def run() -> None:
        async with barns.db.transaction(EVERY_COUNTY) as session:
            await book_and_fail(session)

    with pytest.raises(ValueError, match="no"):
        await run()
    assert await barns.one("SELECT count(*) FROM journal") == 0
