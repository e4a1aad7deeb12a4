"""The day close: taken up where it was killed, done once, days in order, counties side by side."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from liandong.common.v1 import operator_pb2
from liandong.loans.v1 import events_pb2, loans_pb2
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import business_day
from services.kernel.bus import Consumer
from services.kernel.database import Database, execute, fetch
from services.kernel.errors import NotFound
from services.kernel.walls import EVERY_COUNTY
from services.loans import jobs, store
from services.loans.operations import day as day_close
from services.loans.servicer import LoansServicer
from services.programmes.loader import Catalogue
from tests.conftest import MakeSchema
from tests.loans import steps
from tests.loans.builders import YUAN, a_borrower, an_active_loan
from tests.loans.county import COUNTY, OPENED, OPERATOR, OTHER_COUNTY, REF, calling
from tests.servers import Schema

pytestmark = pytest.mark.postgres

LOANS = 12
DUE = OPENED + timedelta(days=1)
"""The first day at whose end the crowd is overdue is the day after."""


async def a_crowd(db: Database, count: int = LOANS, county_code: str = COUNTY) -> list[UUID]:
    """Loans of ordinary households that all fall due tomorrow; in id order."""
    async with db.transaction(EVERY_COUNTY) as session:
        loans = []
        for number in range(count):
            house = a_borrower(
                county_code=county_code, area_code=f"{county_code}001{number + 1:03d}"
            )
            rows = [(county_code, house.household_id, house.area_code, "non_poor")]
            await store.save_households(session, rows)
            loans.append(
                an_active_loan(
                    county_code=county_code,
                    area_code=house.area_code,
                    household_id=house.household_id,
                    matures_on=DUE,
                )
            )
        await store.insert_loans(session, loans)
        owed = [(loan.household_id, loan.outstanding_fen) for loan in loans]
        await store.add_exposure(session, county_code, owed)
    return sorted(loan.loan_id for loan in loans)


async def today(db: Database, county_code: str = COUNTY) -> date:
    async with db.transaction(EVERY_COUNTY) as session:
        return await business_day.today(session, county_code)


async def overdue(db: Database) -> list[tuple[str, int]]:
    """What was said of overdue loans: which, and for how long."""
    told = await steps.said(db, "loan_overdue", events_pb2.LoanOverdue)
    return [(each.loan_id, each.overdue_days) for each in told]


@asynccontextmanager
async def held_up(db: Database, loan_id: UUID) -> AsyncIterator[None]:
    """Somebody holds a loan: a close that comes to it stands in the middle of the day."""
    async with db.transaction(EVERY_COUNTY) as session:
        await fetch(session, "SELECT FROM loan WHERE loan_id = $1 FOR UPDATE", loan_id)
        yield


def ahead(days: int, county_code: str = COUNTY) -> operator_pb2.AdvanceDayRequest:
    request = steps.a_day_ahead(OPENED + timedelta(days=days))
    request.county_code = county_code
    return request


# --- killed ---------------------------------------------------------------------------------------


async def test_a_close_killed_in_the_middle_of_a_day_goes_on_where_it_stopped(
    schema: MakeSchema, catalogue: Catalogue
) -> None:
    made: Schema = await schema("loans", pool_size=6)
    db = made.db
    async with db.transaction(EVERY_COUNTY) as session:
        await business_day.open_day(session, COUNTY, OPENED)
    ids = await a_crowd(db)
    await steps.advance(db, catalogue, 2)
    before = await overdue(db)
    on = await today(db)

    async with held_up(db, ids[6]):
        closing = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.loans.closer", made.app_dsn, COUNTY, str(on), "3"),
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        # A process begins by reading all of the service's code.
        await steps.until_waiting(db, seconds_max=60)
        closing.kill()
        assert await closing.wait() == -9
    done = [loan_id for loan_id, _ in await overdue(db)]

    assert done == [str(loan_id) for loan_id in ids[:6]], "two chunks of three were committed"
    assert before == []
    assert await today(db) == on, "the day is not over"
    answer = await steps.advancing(db, catalogue).AdvanceDay(
        request := ahead(3), calling(OPERATOR, request)
    )

    assert answer.days_closed == 1
    assert await overdue(db) == [(str(loan_id), 1) for loan_id in ids]


async def test_a_close_that_breaks_keeps_the_days_before_and_does_the_rest_when_asked_again(
    db: Database, catalogue: Catalogue
) -> None:
    ids = await a_crowd(db, 2)
    fatal = OPENED + timedelta(days=5)
    close = jobs.close_day(catalogue)

    async def close_until_it_breaks(session: AsyncSession, county: str, day: date) -> None:
        await close(session, county, day)
        if day == fatal:
            raise RuntimeError("the power is gone")

    request = ahead(10)
    surface = steps.advancing(db, catalogue, close_until_it_breaks, chunk_loans=1)
    with pytest.raises(RuntimeError):
        await surface.AdvanceDay(request, calling(OPERATOR, request))
    assert await today(db) == fatal

    surface = steps.advancing(db, catalogue)
    answer = await surface.AdvanceDay(request, calling(OPERATOR, request))
    again = await surface.AdvanceDay(request, calling(OPERATOR, request))

    assert answer == again
    assert answer.days_closed == 5
    # Each day once, in order, whoever did it.
    wanted = [(str(loan_id), days) for days in range(1, 9) for loan_id in ids]
    assert await overdue(db) == wanted


# --- in parts -------------------------------------------------------------------------------------


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk of twelve is five parts, worked out with many turns between."""
    monkeypatch.setattr(day_close, "PART_LOANS_MAX", 3)
    monkeypatch.setattr(day_close, "TURN_LOANS", 1)


@pytest.mark.usefixtures("in_parts")
async def test_a_chunk_in_parts_ages_every_loan_once_in_order(
    db: Database, catalogue: Catalogue
) -> None:
    ids = await a_crowd(db, 13)
    await steps.advance(db, catalogue, 4)

    assert await overdue(db) == [(str(each), days) for days in (1, 2) for each in ids]
    rows = await steps.rows(
        db, "SELECT overdue_days, version, household_posted_fen FROM loan ORDER BY loan_id"
    )
    # Overdue twice and once in another class; three days of 30,000 yuan at 3.6 %.
    assert {tuple(row) for row in rows} == {(2, 1 + 2 + 1, 3 * 300)}
    booked = await steps.rows(
        db, "SELECT amount_fen FROM journal WHERE kind = 'interest' ORDER BY cause_id"
    )
    assert [row["amount_fen"] for row in booked] == [600, 300] * 13


@pytest.mark.usefixtures("in_parts")
async def test_a_part_that_cannot_be_worked_out_leaves_nothing_of_its_chunk(
    db: Database, catalogue: Catalogue
) -> None:
    ids = await a_crowd(db)
    await steps.advance(db, catalogue, 2)
    programme = "UPDATE loan SET programme = $2 WHERE loan_id = $1"
    async with db.transaction(EVERY_COUNTY) as session:
        await execute(session, programme, ids[4], "gone@1")

    with pytest.raises(NotFound):
        await steps.advance(db, catalogue, 1)
    assert await overdue(db) == []

    async with db.transaction(EVERY_COUNTY) as session:
        await execute(session, programme, ids[4], REF)
    await steps.advance(db, catalogue, 1)
    assert await overdue(db) == [(str(each), 1) for each in ids]


@pytest.mark.usefixtures("in_parts")
async def test_a_part_that_cannot_be_written_leaves_nothing_of_its_chunk(
    schema: MakeSchema, catalogue: Catalogue
) -> None:
    made: Schema = await schema("loans", pool_size=2)
    db = made.db
    async with db.transaction(EVERY_COUNTY) as session:
        await business_day.open_day(session, COUNTY, OPENED)
    ids = await a_crowd(db)
    await steps.advance(db, catalogue, 2)
    owner = await asyncpg.connect(made.owner_dsn)
    await owner.execute(
        f"ALTER TABLE loan ADD CONSTRAINT refused CHECK (overdue_days = 0 OR loan_id <> '{ids[4]}')"
    )

    with pytest.raises(asyncpg.CheckViolationError):
        await steps.advance(db, catalogue, 1)
    assert await overdue(db) == []

    await owner.execute("ALTER TABLE loan DROP CONSTRAINT refused")
    await owner.close()
    await steps.advance(db, catalogue, 1)
    assert await overdue(db) == [(str(each), 1) for each in ids]


# --- once, in order -------------------------------------------------------------------------------


async def test_a_days_work_is_done_once_however_often_it_is_asked_for(
    db: Database, catalogue: Catalogue
) -> None:
    ids = await a_crowd(db)
    await steps.advance(db, catalogue, 2)
    work = jobs.work_day(catalogue, chunk_loans=2)

    on = await today(db)
    await asyncio.gather(*(work(db, COUNTY, on) for _ in range(3)))
    await work(db, COUNTY, on)
    # A day that is over stays as it was left.
    await work(db, COUNTY, OPENED)
    await steps.advance(db, catalogue, 1)

    assert await overdue(db) == [(str(loan_id), 1) for loan_id in ids]


async def test_two_who_close_the_same_days_at_once_close_each_once(
    db: Database, catalogue: Catalogue
) -> None:
    ids = await a_crowd(db, 3)
    # As two processes have them: neither knows of the other.
    surfaces = [steps.advancing(db, catalogue, chunk_loans=1) for _ in range(2)]

    asked = [(surface, ahead(6)) for surface in surfaces]
    await asyncio.gather(
        *(surface.AdvanceDay(request, calling(OPERATOR, request)) for surface, request in asked)
    )

    assert await today(db) == OPENED + timedelta(days=6)
    wanted = [(str(loan_id), days) for days in range(1, 5) for loan_id in ids]
    assert sorted(await overdue(db), key=lambda each: (each[1], each[0])) == wanted


async def test_missed_days_are_caught_up_in_order(db: Database, catalogue: Catalogue) -> None:
    ids = await a_crowd(db, 2)

    answer = await steps.advancing(db, catalogue, chunk_loans=1).AdvanceDay(
        request := ahead(40), calling(OPERATOR, request)
    )

    assert answer.days_closed == 40
    told = await overdue(db)
    assert told == [(str(loan_id), days) for days in range(1, 39) for loan_id in ids]
    rows = await steps.rows(
        db, "SELECT DISTINCT ON (business_date) business_date FROM outbox ORDER BY business_date"
    )
    assert [row[0] for row in rows] == [OPENED + timedelta(days=n) for n in range(2, 40)]


async def test_who_paid_and_is_still_marked_is_found_between_those_that_are_due(
    db: Database, catalogue: Catalogue
) -> None:
    ids = await a_crowd(db, 9)
    await steps.advance(db, catalogue, 100)
    paid = [ids[0], ids[3], ids[4], ids[5], ids[8]]
    async with db.transaction(EVERY_COUNTY) as session:
        await execute(
            session,
            "UPDATE loan SET next_due_on = $2, overdue_days = 0 WHERE loan_id = ANY ($1::uuid[])",
            paid,
            OPENED + timedelta(days=300),
        )
    told = len(await overdue(db))

    request = ahead(101)
    await steps.advancing(db, catalogue, chunk_loans=3).AdvanceDay(
        request, calling(OPERATOR, request)
    )

    rows = await steps.rows(db, "SELECT loan_id, five_tier_class FROM loan ORDER BY loan_id")
    normal = [row["loan_id"] for row in rows if row["five_tier_class"] == "normal"]
    assert normal == paid
    due = [loan_id for loan_id in ids if loan_id not in paid]
    assert [loan_id for loan_id, _ in (await overdue(db))[told:]] == [str(each) for each in due]


# --- while the rest goes on -----------------------------------------------------------------------


async def test_commands_go_on_while_a_day_closes(
    servicer: LoansServicer, db: Database, catalogue: Catalogue
) -> None:
    ids = await a_crowd(db)
    await steps.advance(db, catalogue, 2)
    on = await today(db)
    surface = steps.advancing(db, catalogue, chunk_loans=3)

    async with held_up(db, ids[6]):
        request = ahead(3)
        closing = asyncio.create_task(surface.AdvanceDay(request, calling(OPERATOR, request)))
        await steps.until_waiting(db)
        # One that is aged already, and one whose turn has not come.
        for place in (0, 11):
            paid = await steps.repay(servicer, str(ids[place]), 40_000 * YUAN, on=on)
            assert paid.state == loans_pb2.LOAN_STATE_SETTLED
        assert not closing.done()
    await closing

    told = dict(await overdue(db))
    assert set(told) == {str(loan_id) for loan_id in ids[:11]}, "the last one was paid in time"
    assert await today(db) == on + timedelta(days=1)


async def test_a_loan_paid_while_the_close_waits_for_it_holds_nobody_up(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    ids = await a_crowd(db, 4)
    await steps.advance(db, catalogue, 2)
    surface = steps.advancing(db, catalogue, chunk_loans=1)

    async with db.transaction(EVERY_COUNTY) as session:
        loans = await store.lock_loans(session, COUNTY, [ids[1]])
        request = ahead(3)
        closing = asyncio.create_task(surface.AdvanceDay(request, calling(OPERATOR, request)))
        await steps.until_waiting(db)
        await fetch(
            session,
            "UPDATE loan SET state = 'settled', outstanding_fen = 0, next_due_on = NULL"
            " WHERE loan_id = $1",
            loans[ids[1]].loan_id,
        )
    await closing

    assert await overdue(db) == [(str(loan_id), 1) for loan_id in (ids[0], *ids[2:])]


async def test_counties_close_side_by_side(db: Database, catalogue: Catalogue) -> None:
    ours = await a_crowd(db, 3)
    theirs = await a_crowd(db, 3, OTHER_COUNTY)
    surface = steps.advancing(db, catalogue, chunk_loans=1)

    async with held_up(db, ours[1]):
        request = ahead(3)
        closing = asyncio.create_task(surface.AdvanceDay(request, calling(OPERATOR, request)))
        await steps.until_waiting(db)
        other = ahead(3, OTHER_COUNTY)
        answer = await surface.AdvanceDay(other, calling(OPERATOR, other))
        assert answer.days_closed == 3
        assert not closing.done()
    await closing

    told = [loan_id for loan_id, _ in await overdue(db)]
    assert told == [str(loan_id) for loan_id in (ours[0], *theirs, *ours[1:])]
    assert await today(db) == await today(db, OTHER_COUNTY) == OPENED + timedelta(days=3)
