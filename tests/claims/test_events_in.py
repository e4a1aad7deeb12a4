"""What claims hears: loans join lists once, payouts are instructed once, whatever is told twice."""

import asyncio
from datetime import date

import pytest
from liandong.claims.v1 import events_pb2

from services.claims.events_in import handlers
from services.claims.operations import policies
from services.claims.servicer import ClaimsServicer
from services.kernel.bus import Consumer
from services.kernel.database import Database
from services.kernel.errors import NotFound, Refused
from services.kernel.inbox import Delivery, Incoming
from services.kernel.walls import EVERY_COUNTY
from services.programmes.loader import Catalogue
from tests.claims.county import (
    BANK,
    COUNTY,
    OPENED,
    OTHER_BANK,
    OTHER_COUNTY,
    OTHER_VILLAGE,
    REF,
    VILLAGE,
    House,
    Loan,
    allocated,
)
from tests.claims.steps import (
    a_policy,
    approved_payout,
    books_are_whole,
    issue,
    payout,
    rows,
    said,
    take,
    totals,
)

pytestmark = pytest.mark.postgres


async def handle(db: Database, catalogue: Catalogue, *deliveries: Delivery) -> None:
    """Call a handler itself, as if the inbox had let a duplicate through."""
    handler = handlers(catalogue)[deliveries[0].envelope.event_type]
    events = [
        Incoming(each.envelope, handler.message_type.FromString(each.payload))
        for each in deliveries
    ]
    async with db.transaction(EVERY_COUNTY) as session:
        await handler.handle(session, events)


async def insured(db: Database) -> list[events_pb2.HouseholdInsured]:
    return await said(db, "household_insured", events_pb2.HouseholdInsured)


async def test_an_approved_loan_joins_every_list_that_it_requires(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    await issue(servicer, a_policy("accident"))
    await issue(servicer, a_policy("disaster"))
    loan = Loan(House(), covers=("accident", "disaster"))

    await take(consumer, loan.house.registered(), loan.approved())

    found = await insured(db)
    assert {(e.cover_id, e.sum_insured_fen) for e in found} == {
        ("accident", 5_000_000),
        ("disaster", 6_000_000),
    }
    assert {e.loan_id for e in found} == {str(loan.loan_id)}
    assert (
        await rows(db, "SELECT debit_account, debit_id, credit_id, amount_fen FROM journal")
    ) == [("premium_receivable", COUNTY, "ins-1", 10_000)]
    assert await rows(db, "SELECT count(*) FROM assignment") == [(2,)]
    assert await rows(db, "SELECT DISTINCT programme FROM outbox") == [(REF,)]
    await books_are_whole(db)


async def test_a_loan_without_evidence_is_insured_and_not_assigned(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    await issue(servicer)

    await take(consumer, Loan(House(), evidence="").approved())

    assert len(await insured(db)) == 1
    assert await rows(db, "SELECT count(*) FROM assignment") == [(0,)]


async def test_the_same_approval_twice_is_one_entry(
    servicer: ClaimsServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    await issue(servicer)
    approval = Loan(House(), covers=("accident", "disaster")).approved()

    assert await take(consumer, approval) == 1
    assert await take(consumer, approval) == 0
    await handle(db, catalogue, approval)

    assert len(await insured(db)) == 1
    assert await rows(db, "SELECT cover_id FROM awaited_cover") == [("disaster",)]


async def test_loans_that_wait_join_when_the_policy_is_issued(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    waiting, refused = Loan(House()), Loan(House())
    await take(consumer, waiting.approved(), refused.approved())
    await take(consumer, refused.refused())
    assert await insured(db) == []

    await issue(servicer)

    (entry,) = await insured(db)
    assert entry.loan_id == str(waiting.loan_id)
    assert await rows(db, "SELECT count(*) FROM awaited_cover") == [(0,)]
    await books_are_whole(db)


async def test_more_loans_than_are_taken_in_one_go_all_join(
    servicer: ClaimsServicer, consumer: Consumer, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policies, "AWAITED_ROWS_MAX", 3)
    await take(consumer, *[Loan(House()).approved() for _ in range(10)])

    await issue(servicer)

    assert len(await insured(db)) == 10


async def test_a_policy_of_next_month_takes_the_waiting_loans_when_its_term_begins(
    servicer: ClaimsServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    await take(consumer, Loan(House()).approved())
    await issue(servicer, a_policy(from_date=date(2021, 2, 1)))
    assert await insured(db) == []

    for day in (date(2021, 1, 30), date(2021, 1, 31)):
        async with db.transaction(EVERY_COUNTY) as session:
            await policies.close_day(session, catalogue, COUNTY, day)

    (entry,) = await insured(db)
    assert (entry.from_date.month, entry.from_date.day) == (2, 1)


async def test_an_approval_and_the_issue_of_its_policy_never_miss_each_other(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    for cover in ("accident", "disaster", "medical"):
        approvals = [Loan(House(), covers=(cover,)).approved() for _ in range(20)]

        await asyncio.gather(
            issue(servicer, a_policy(cover)), *[take(consumer, each) for each in approvals]
        )

    assert len(await insured(db)) == 60
    assert await rows(db, "SELECT count(*) FROM awaited_cover") == [(0,)]


async def test_a_batch_may_hold_several_counties(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    await issue(servicer)
    here = Loan(House())
    there = Loan(House(county_code=OTHER_COUNTY), county_code=OTHER_COUNTY)

    await take(consumer, there.approved(), here.approved())

    (entry,) = await insured(db)
    assert entry.loan_id == str(here.loan_id)
    assert await rows(db, "SELECT county_code FROM awaited_cover") == [(OTHER_COUNTY,)]


async def test_an_approval_of_a_county_that_is_not_open_here_yet_is_taken(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    await issue(servicer)
    await rows(db, "DELETE FROM business_day RETURNING county_code")

    await take(consumer, Loan(House()).approved())

    assert await rows(db, "SELECT business_date FROM outbox") == [(OPENED,)]


async def test_the_last_word_on_a_household_counts_also_within_one_batch(
    consumer: Consumer, db: Database
) -> None:
    house = House()

    await take(
        consumer, house.registered(), house.moved(OTHER_VILLAGE), house.moved(VILLAGE + "01")
    )
    await take(consumer, house.delisted())

    assert await rows(db, "SELECT area_code, status FROM household") == [
        (VILLAGE + "01", "delisted")
    ]


async def test_a_refusal_of_a_loan_that_was_never_approved_is_nothing_to_claims(
    consumer: Consumer, db: Database
) -> None:
    assert await take(consumer, Loan(House()).refused()) == 1
    assert await rows(db, "SELECT count(*) FROM loan") == [(0,)]


async def test_the_same_allocation_twice_instructs_once(
    servicer: ClaimsServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    await issue(servicer)
    first = Loan(House(), principal_fen=2_000_000)
    second = Loan(first.house, lender_id=OTHER_BANK, principal_fen=5_000_000)
    payout_id = await approved_payout(servicer, consumer, [first, second], assessed_fen=1_500_000)
    told = allocated(payout_id, [(first, 900_000), (second, 500_000)], 100_000)

    assert await take(consumer, told) == 1
    assert await take(consumer, told) == 0
    await handle(db, catalogue, told)
    await handle(db, catalogue, told, told)

    found = await payout(servicer, payout_id)
    assert [(i.payee_id, i.amount_fen) for i in found.instructions] == [
        (BANK, 900_000),
        (OTHER_BANK, 500_000),
    ]
    assert (await totals(db))["claims.payouts_allocated_count"] == 1
    await books_are_whole(db)


async def test_a_second_allocation_that_differs_is_refused_and_changes_nothing(
    servicer: ClaimsServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    await issue(servicer)
    loan = Loan(House())
    payout_id = await approved_payout(servicer, consumer, [loan], assessed_fen=1_000_000)
    await take(consumer, allocated(payout_id, [(loan, 900_000)], 100_000))

    with pytest.raises(Refused) as refusal:
        await handle(db, catalogue, allocated(payout_id, [(loan, 800_000)], 200_000))

    assert refusal.value.reason == "PAYOUT_ALREADY_ALLOCATED"
    await books_are_whole(db)


async def test_an_allocation_that_cannot_be_true_is_left_to_a_person(
    servicer: ClaimsServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    await issue(servicer)
    loan = Loan(House())
    payout_id = await approved_payout(servicer, consumer, [loan], assessed_fen=1_000_000)

    with pytest.raises(Refused) as refusal:
        await handle(db, catalogue, allocated(payout_id, [(loan, 900_000)], 99_999))
    with pytest.raises(NotFound):
        await handle(db, catalogue, allocated(str(loan.loan_id), [(loan, 1)], 0))

    assert refusal.value.reason == "ALLOCATION_UNBALANCED"
    assert (await payout(servicer, payout_id)).instructions == []
