"""What the funds schema itself forbids, on a real PostgreSQL."""

import asyncpg
import pytest

from services.funds.servicer import FundsServicer
from services.kernel.bus import Consumer
from services.kernel.database import Database, execute
from services.kernel.walls import EVERY_COUNTY
from tests.funds import steps
from tests.funds.county import OPENED, Loan

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize("column", ["balance_fen", "covered_fen", "owed_fen"])
async def test_no_figure_of_a_fund_goes_below_zero(
    db: Database, servicer: FundsServicer, column: str
) -> None:
    await steps.open_fund(servicer, balance_fen=10)

    with pytest.raises(asyncpg.CheckViolationError):
        async with db.transaction(EVERY_COUNTY) as session:
            await execute(session, f"UPDATE fund SET {column} = -1")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE contribution SET amount_fen = 1",
        "DELETE FROM contribution",
        "DELETE FROM fund",
        "UPDATE journal SET amount_fen = 1",
        "DELETE FROM recovery",
        "DELETE FROM loan_payment",
        "TRUNCATE compensation_case CASCADE",
    ],
)
async def test_what_was_posted_cannot_be_taken_back_by_the_service(
    db: Database, servicer: FundsServicer, statement: str
) -> None:
    await steps.open_fund(servicer, balance_fen=10)

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with db.transaction(EVERY_COUNTY) as session:
            await execute(session, statement)


@pytest.mark.parametrize(
    ("statement", "difference_fen"),
    [
        ("UPDATE fund SET balance_fen = balance_fen + 7", 7),
        ("UPDATE fund SET covered_fen = covered_fen - 7", 7),
        ("UPDATE fund SET owed_fen = owed_fen + 7", 7),
        ("UPDATE compensation_case SET loss_fen = loss_fen + 7", 14),
        ("UPDATE case_part SET paid_fen = 7 WHERE party = 'guarantee'", 14),
    ],
)
async def test_rows_that_leave_the_journal_are_found(
    db: Database,
    servicer: FundsServicer,
    consumer: Consumer,
    statement: str,
    difference_fen: int,
) -> None:
    await steps.open_fund(servicer, balance_fen=5_000_000)
    loan, lost = Loan(1), Loan(2)
    overdue = lost.asks(), lost.disbursed(), lost.overdue(71, on=OPENED)
    await steps.take(consumer, loan.asks(), *overdue)
    await steps.decide(servicer, await steps.file(servicer, lost))
    assert (await steps.totals(db))["funds.book_difference_fen"] == 0

    async with db.transaction(EVERY_COUNTY) as session:
        await execute(session, statement)

    assert (await steps.totals(db))["funds.book_difference_fen"] == difference_fen
