"""The schema of claims: what it never lets happen, and how few statements a full batch takes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg
import pytest
from liandong.claims.v1 import claims_pb2

from services.claims.servicer import ClaimsServicer
from services.kernel import wire
from services.kernel.bus import Consumer
from services.kernel.database import Database
from services.kernel.walls import EVERY_COUNTY
from tests.claims.county import (
    ADJUSTER,
    CENTRE,
    COUNTY,
    LENDER,
    OPENED,
    House,
    Loan,
    allocated,
    calling,
)
from tests.claims.steps import (
    a_report,
    approved_payout,
    books_are_whole,
    instructions,
    issue,
    rows,
    take,
    totals,
)

pytestmark = pytest.mark.postgres

BATCH = 500


@asynccontextmanager
async def counting(db: Database) -> AsyncIterator[list[str]]:
    """The statements that every connection of the pool runs meanwhile."""
    ran: list[str] = []

    def note(record: asyncpg.connection.LoggedQuery) -> None:
        # A new connection also asks the server about types and its compiler, once.
        if "typeinfo_tree" not in record.query and "'jit'" not in record.query:
            ran.append(record.query)

    async with (
        db.transaction(EVERY_COUNTY) as one,
        db.transaction(EVERY_COUNTY) as two,
        db.transaction(EVERY_COUNTY) as three,
    ):
        held = [session.info["liandong.driver"] for session in (one, two, three)]
    for connection in held:
        connection.add_query_logger(note)
    yield ran
    for connection in held:
        connection.remove_query_logger(note)


async def test_the_database_itself_never_lets_one_payee_be_instructed_twice(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    await issue(servicer)
    loan = Loan(House())
    payout_id = await approved_payout(servicer, consumer, [loan])
    await take(consumer, allocated(payout_id, [], 4_500_000))
    copy = """INSERT INTO instruction (county_code, instruction_id, payout_id, payee_kind, payee_id,
                                       insurer_id, loan_id, amount_fen, state, confirmed_by,
                                       confirmed_person, sent_on)
              SELECT county_code, $1, payout_id, payee_kind, payee_id, insurer_id, loan_id,
                     amount_fen, state, confirmed_by, confirmed_person, sent_on
              FROM instruction RETURNING instruction_id"""

    with pytest.raises(asyncpg.UniqueViolationError, match="instruction_once"):
        await rows(db, copy, uuid4())


async def test_the_database_itself_never_lets_an_allocation_lose_a_fen(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    await issue(servicer)
    payout_id = await approved_payout(servicer, consumer, [Loan(House())])
    lossy = """UPDATE payout SET state = 'settled', lenders_fen = amount_fen - 1
               WHERE payout_id = $1 RETURNING payout_id"""

    with pytest.raises(asyncpg.CheckViolationError):
        await rows(db, lossy, UUID(payout_id))


async def test_the_journal_and_the_rows_are_compared_to_the_fen(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    await issue(servicer)
    loan = Loan(House())
    payout_id = await approved_payout(servicer, consumer, [loan])
    await take(consumer, allocated(payout_id, [(loan, 3_000_000)], 1_500_000))
    await books_are_whole(db)

    await rows(db, "UPDATE instruction SET amount_fen = amount_fen - 5 RETURNING amount_fen")

    # The instruction, what it leaves of the payout: both no longer agree with the journal.
    assert (await totals(db))["claims.book_difference_fen"] == 10


async def test_a_full_batch_goes_through_in_a_handful_of_statements(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    await issue(servicer)
    loans = [Loan(House()) for _ in range(BATCH)]
    await take(consumer, *[loan.house.registered() for loan in loans])
    async with counting(db) as joining:
        await take(consumer, *[loan.approved() for loan in loans])
    reports = [a_report(loan.house) for loan in loans]
    reporting = claims_pb2.BatchReportClaimsRequest(
        request_id=str(uuid4()),
        county_code=COUNTY,
        items=[
            claims_pb2.ClaimReport(
                household_id=item.household_id,
                cover_id=item.cover_id,
                loss_date=item.loss_date,
                cause=item.cause,
                assessed_fen=item.assessed_fen,
                documents=item.documents,
            )
            for item in reports
        ],
    )
    async with counting(db) as reported:
        answer = await servicer.BatchReportClaims(reporting, calling(CENTRE, reporting))
    deciding = claims_pb2.BatchAdjudicateClaimsRequest(
        request_id=str(uuid4()),
        county_code=COUNTY,
        items=[claims_pb2.ClaimDecision(claim_id=v.id, approve=True) for v in answer.verdicts],
    )
    async with counting(db) as decided:
        await servicer.BatchAdjudicateClaims(deciding, calling(ADJUSTER, deciding))
    payouts = {
        row[0]: row[1] for row in await rows(db, "SELECT household_id, payout_id FROM payout")
    }
    told = [
        allocated(str(payouts[loan.house.household_id]), [(loan, 4_000_000)], 500_000)
        for loan in loans
    ]
    async with counting(db) as instructed:
        await take(consumer, *told)
    await confirm_all(servicer, db)

    assert [len(ran) <= 20 for ran in (joining, reported, decided, instructed)] == [True] * 4
    assert all(ran for ran in (joining, reported, decided, instructed))
    found = await totals(db)
    assert found["claims.payouts_allocated_count"] == BATCH
    assert found["claims.confirmed_fen"] == BATCH * 4_000_000
    await books_are_whole(db)


async def confirm_all(servicer: ClaimsServicer, db: Database) -> None:
    """The bank confirms all that it finds, in batches, in few statements."""
    while found := await instructions(servicer, LENDER):
        request = claims_pb2.BatchConfirmPaymentsRequest(
            request_id=str(uuid4()),
            county_code=COUNTY,
            items=[
                claims_pb2.PaymentConfirmation(
                    instruction_id=i.instruction_id,
                    confirmed_fen=i.amount_fen,
                    value_date=wire.date_to_proto(OPENED),
                )
                for i in found
            ],
        )
        async with counting(db) as ran:
            answer = await servicer.BatchConfirmPayments(request, calling(LENDER, request))
        assert all(verdict.accepted for verdict in answer.verdicts)
        assert 0 < len(ran) <= 20
