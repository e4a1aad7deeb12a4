"""What funds hears, through the consumer's own path, on a real PostgreSQL."""

import asyncio
import random
from datetime import timedelta
from itertools import permutations

import pytest
from liandong.funds.v1 import events_pb2

from services.funds.events_in import handlers
from services.funds.servicer import FundsServicer
from services.kernel.bus import Consumer
from services.kernel.database import Database, fetch
from services.kernel.inbox import Incoming
from services.kernel.walls import EVERY_COUNTY
from services.programmes.loader import Catalogue
from tests.funds import steps
from tests.funds.county import (
    COUNTY,
    OPEN_REF,
    OPENED,
    OTHER_COUNTY,
    OTHER_VILLAGE,
    VILLAGE,
    Loan,
    breaker_tripped,
    payout_allocated,
    payout_undone,
)

pytestmark = pytest.mark.postgres

NEXT = OPENED + timedelta(days=1)
FUND_FEN = 5_000_000
"""Holds ten loans of the usual size at a multiple of ten."""


async def test_cover_is_reserved_at_the_fund_and_answered(
    db: Database, servicer: FundsServicer, consumer: Consumer
) -> None:
    fund = await steps.open_fund(servicer, balance_fen=FUND_FEN)
    loan = Loan(1)

    await steps.take(consumer, loan.asks())

    (event,) = await steps.said(db)
    assert events_pb2.CoverReserved.FromString(event["payload"]) == events_pb2.CoverReserved(
        loan_id=str(loan.loan_id), fund_id=fund.fund_id, covered_fen=loan.principal_fen
    )
    assert (event["aggregate_type"], event["aggregate_id"]) == ("funds.cover", str(loan.loan_id))
    assert (event["business_date"], event["programme"]) == (OPENED, "plain@1")
    now = await steps.get_fund(servicer, fund)
    assert (now.covered_fen, now.capacity_fen) == (loan.principal_fen, FUND_FEN * 10)


async def test_fifty_parallel_requests_against_a_fund_for_ten_give_ten(
    db: Database, servicer: FundsServicer, catalogue: Catalogue
) -> None:
    fund = await steps.open_fund(servicer, balance_fen=FUND_FEN)
    handler = handlers(catalogue)["liandong.loans.v1.cover_requested"]

    async def ask(number: int) -> None:
        delivery = Loan(number).asks()
        message = handler.message_type.FromString(delivery.payload)
        async with db.transaction(EVERY_COUNTY) as session:
            await handler.handle(session, [Incoming(delivery.envelope, message)])

    await asyncio.gather(*(ask(number) for number in range(50)))

    assert len(await steps.said(db, "cover_reserved")) == 10
    assert {(r.reason, r.headroom_fen) for r in await steps.refusals(db)} == {
        ("LEVERAGE_REACHED", 0)
    }
    assert len(await steps.said(db, "cover_refused")) == 40
    assert len(await steps.said(db, "leverage_reached")) == 1
    now = await steps.get_fund(servicer, fund)
    assert now.covered_fen == now.capacity_fen
    assert (await steps.totals(db))["funds.book_difference_fen"] == 0


async def test_cover_money_and_losses_at_once_keep_the_books_and_the_capacity(
    db: Database, servicer: FundsServicer, consumer: Consumer, catalogue: Catalogue
) -> None:
    fund = await steps.open_fund(servicer, balance_fen=FUND_FEN)
    lost = [Loan(number) for number in range(4)]
    for loan in lost:
        await steps.take(consumer, loan.asks(), loan.disbursed(), loan.overdue(71, on=OPENED))
    cases = [await steps.file(servicer, loan) for loan in lost]
    handler = handlers(catalogue)["liandong.loans.v1.cover_requested"]

    async def ask(number: int) -> None:
        delivery = Loan(number).asks()
        message = handler.message_type.FromString(delivery.payload)
        async with db.transaction(EVERY_COUNTY) as session:
            await handler.handle(session, [Incoming(delivery.envelope, message)])

    await asyncio.gather(
        *(ask(number) for number in range(100, 130)),
        *(steps.decide(servicer, case) for case in cases),
        *(steps.contribute(servicer, fund, 300_000) for _ in range(4)),
    )

    books = await steps.totals(db)
    assert books["funds.book_difference_fen"] == 0
    assert books["funds.balance_fen"] == FUND_FEN + 4 * 300_000 - 4 * 1_000_000
    reserved = len(await steps.said(db, "cover_reserved"))
    assert books["funds.covered_fen"] == (reserved - len(lost)) * 5_000_000
    # What was reserved before a loss lowered the balance stays; never more than the most it held.
    assert books["funds.covered_fen"] <= (FUND_FEN + 4 * 300_000) * 10


async def test_one_batch_is_decided_in_the_order_of_its_events(
    db: Database, servicer: FundsServicer, consumer: Consumer
) -> None:
    await steps.open_fund(servicer, balance_fen=FUND_FEN)
    sizes = [20_000_000, 25_000_000, 10_000_000, 5_000_000]
    asked = [Loan(number, principal_fen=size) for number, size in enumerate(sizes)]

    await steps.take(consumer, *(loan.asks() for loan in asked))

    found = await steps.said(db)
    assert steps.names(found) == [
        "cover_reserved",
        "cover_reserved",
        "cover_refused",
        "leverage_reached",
        "cover_reserved",
    ]
    (refused,) = await steps.refusals(db)
    assert (refused.loan_id, refused.headroom_fen) == (str(asked[2].loan_id), 5_000_000)


async def test_repeated_events_change_nothing(
    db: Database, servicer: FundsServicer, consumer: Consumer
) -> None:
    await steps.open_fund(servicer, balance_fen=FUND_FEN)
    loan, given_up = Loan(1), Loan(2)
    history = [loan.asks(), loan.disbursed(), given_up.asks(), given_up.refused()]
    await steps.take(consumer, *history)
    before = (await steps.totals(db), steps.names(await steps.said(db)))

    random.Random(7).shuffle(history)
    for delivery in history:
        assert await steps.take(consumer, delivery) == 0

    assert (await steps.totals(db), steps.names(await steps.said(db))) == before
    assert before[0]["funds.covered_fen"] == loan.principal_fen


async def test_a_loan_nobody_stands_behind_is_refused_with_the_reason(
    db: Database, servicer: FundsServicer, consumer: Consumer
) -> None:
    await steps.open_fund(servicer, balance_fen=FUND_FEN)
    await steps.open_fund(servicer, programme_id="undecided")

    await steps.take(
        consumer,
        Loan(1, borrower_class="village_collective").asks(),
        Loan(2, county_code=OTHER_COUNTY).asks(),
        Loan(3, programme=OPEN_REF).asks(),
        Loan(4, programme="nobody-knows@1").asks(),
        Loan(5, programme="").asks(),
    )

    assert [r.reason for r in await steps.refusals(db)] == [
        "NO_FUND",
        "NO_FUND",
        "PROGRAMME_VALUE_OPEN",
        "PROGRAMME_UNKNOWN",
        "PROGRAMME_UNKNOWN",
    ]
    assert (await steps.totals(db))["funds.covered_fen"] == 0


async def test_a_refused_or_settled_loan_gives_its_cover_back_once(
    db: Database, servicer: FundsServicer, consumer: Consumer
) -> None:
    await steps.open_fund(servicer, balance_fen=FUND_FEN)
    refused, settled, without = Loan(1), Loan(2), Loan(3, borrower_class="village_collective")
    await steps.take(consumer, refused.asks(), settled.asks(), settled.disbursed())
    await steps.take(consumer, without.asks(), without.refused())

    await steps.take(consumer, refused.refused(), settled.settled())

    assert (await steps.totals(db))["funds.covered_fen"] == 0
    assert len(await steps.said(db, "cover_released")) == 2
    assert await steps.cover_state(db, without.loan_id) == "refused"


async def test_a_refused_request_may_be_asked_again_when_there_is_room(
    db: Database, servicer: FundsServicer, consumer: Consumer
) -> None:
    fund = await steps.open_fund(servicer)
    loan = Loan(1)
    await steps.take(consumer, loan.asks())
    await steps.contribute(servicer, fund, FUND_FEN)

    await steps.take(consumer, loan.asks())
    await steps.take(consumer, loan.asks())

    said = [name for name in steps.names(await steps.said(db)) if name.startswith("cover")]
    assert said == ["cover_refused", "cover_reserved", "cover_reserved"]
    assert (await steps.totals(db))["funds.covered_fen"] == loan.principal_fen


async def test_a_trip_gives_back_only_the_unused_cover_of_its_scope(
    db: Database, servicer: FundsServicer, consumer: Consumer
) -> None:
    await steps.open_fund(servicer, balance_fen=FUND_FEN)
    unused, paid_out, elsewhere = Loan(1), Loan(2), Loan(3, area_code=OTHER_VILLAGE)
    asked = [loan.asks() for loan in (unused, paid_out, elsewhere)]
    await steps.take(consumer, *asked, paid_out.disbursed())

    await steps.take(consumer, breaker_tripped(VILLAGE))

    assert await steps.cover_state(db, unused.loan_id) == "voided"
    assert await steps.cover_state(db, paid_out.loan_id) == "reserved"
    assert await steps.cover_state(db, elsewhere.loan_id) == "reserved"
    assert (await steps.totals(db))["funds.book_difference_fen"] == 0


async def test_a_loan_paid_out_before_a_trip_that_was_heard_first_is_covered_again(
    db: Database, servicer: FundsServicer, consumer: Consumer
) -> None:
    await steps.open_fund(servicer, balance_fen=FUND_FEN)
    loan = Loan(1)
    await steps.take(consumer, loan.asks())

    await steps.take(consumer, breaker_tripped(VILLAGE))
    await steps.take(consumer, loan.disbursed())

    assert await steps.cover_state(db, loan.loan_id) == "reserved"
    assert steps.names(await steps.said(db)) == [
        "cover_reserved",
        "cover_released",
        "cover_reserved",
    ]


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_what_is_owed_does_not_depend_on_the_order_of_the_news(
    db: Database, servicer: FundsServicer, consumer: Consumer, order: tuple[int, ...]
) -> None:
    """A payout is another aggregate than the loan: their events may come in any order."""
    await steps.open_fund(servicer, balance_fen=FUND_FEN)
    loan = Loan(1)
    await steps.take(consumer, loan.asks(), loan.disbursed())
    news = [
        loan.overdue(71, on=OPENED, interest_fen=90_000),
        payout_allocated("p-0", loan, principal_fen=1, interest_fen=1, on=OPENED),
        payout_allocated("p-1", loan, principal_fen=400_000, interest_fen=90_000, on=NEXT),
    ]

    for place in order:
        await steps.take(consumer, news[place])

    assert (await steps.file(servicer, loan)).loss_fen == 4_600_000


async def test_a_repayment_lowers_a_loss_by_what_is_no_longer_owed(
    db: Database, servicer: FundsServicer, consumer: Consumer
) -> None:
    await steps.open_fund(servicer, balance_fen=FUND_FEN)
    loan = Loan(1)
    await steps.take(consumer, loan.asks(), loan.disbursed())
    await steps.take(
        consumer, loan.overdue(70, on=OPENED), loan.overdue(71, on=OPENED, interest_fen=5_000)
    )

    await steps.take(consumer, loan.repaid(400_000, 0, on=NEXT, less=(399_000, 1_200)))

    assert (await steps.file(servicer, loan)).loss_fen == loan.principal_fen + 5_000 - 400_200


async def test_an_undone_payout_is_owed_again(
    db: Database, servicer: FundsServicer, consumer: Consumer
) -> None:
    await steps.open_fund(servicer, balance_fen=FUND_FEN)
    loan = Loan(1)
    await steps.take(consumer, loan.asks(), loan.disbursed())
    await steps.take(consumer, loan.overdue(70, on=OPENED), loan.overdue(71, on=NEXT))
    later = NEXT + timedelta(days=1)

    await steps.take(
        consumer,
        payout_allocated("p-1", loan, principal_fen=400_000, interest_fen=0, on=later),
        payout_undone("p-1", on=later),
    )

    assert (await steps.file(servicer, loan)).loss_fen == loan.principal_fen


async def test_nothing_is_kept_of_loans_without_cover(db: Database, consumer: Consumer) -> None:
    loan = Loan(1)

    await steps.take(
        consumer,
        loan.disbursed(),
        loan.overdue(71, on=OPENED),
        loan.repaid(1, 1, on=NEXT),
        loan.settled(),
    )

    async with db.transaction(EVERY_COUNTY) as session:
        rows = await fetch(
            session,
            "SELECT (SELECT count(*) FROM cover) + (SELECT count(*) FROM loan_statement)"
            " + (SELECT count(*) FROM loan_payment) AS kept",
        )
    assert rows[0]["kept"] == 0
    assert await steps.said(db) == []
    assert (await steps.totals(db, COUNTY))["funds.book_difference_fen"] == 0
