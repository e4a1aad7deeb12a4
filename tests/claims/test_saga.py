"""The saga through the service's own doors: silence, corrections, heirs, reversals, complaints."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from google.protobuf.message import Message
from liandong.claims.v1 import claims_pb2, events_pb2, payouts_pb2

from services.claims import reports
from services.claims.servicer import ClaimsServicer
from services.claims.servicer.saga import PayoutsServicer
from services.kernel import wire
from services.kernel.bus import Consumer
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.errors import Invalid, LiandongError, NotFound, Refused
from services.kernel.operator import OperatorServicer
from services.programmes.loader import Catalogue
from tests.claims.county import (
    ADJUSTER,
    CENTRE,
    COUNTY,
    INSURER,
    LENDER,
    OPENED,
    OTHER_ADJUSTER,
    OTHER_BANK,
    OTHER_LENDER,
    SURVEYOR,
    VILLAGE_DEPARTMENT,
    House,
    Loan,
    a_caller,
    allocated,
    calling,
)
from tests.claims.steps import (
    a_confirmation,
    a_decision,
    a_report,
    approved_payout,
    books_are_whole,
    confirm,
    decide,
    instructions,
    issue,
    payout,
    report,
    rows,
    said,
    settled_once,
    take,
    totals,
)

pytestmark = pytest.mark.postgres

SETTLED = claims_pb2.PAYOUT_STATE_SETTLED
UNKNOWN = claims_pb2.PAYOUT_STATE_UNKNOWN
OPERATOR = a_caller("operator", institution_id="opr-1")


@pytest.fixture
def saga(db: Database, catalogue: Catalogue) -> PayoutsServicer:
    return PayoutsServicer(db, catalogue)


async def ask(saga: PayoutsServicer, name: str, caller: Caller, **values: Any) -> Any:
    """One call, with a request id where the request has one."""
    request_type = getattr(payouts_pb2, f"{name}Request")
    if "request_id" in request_type.DESCRIPTOR.fields_by_name:
        values.setdefault("request_id", str(uuid4()))
    request: Message = request_type(county_code=COUNTY, **values)
    return await getattr(saga, name)(request, calling(caller, request))


async def refused(saga: PayoutsServicer, name: str, caller: Caller, **values: Any) -> str:
    with pytest.raises(LiandongError) as refusal:
        await ask(saga, name, caller, **values)
    return refusal.value.reason


async def close_days(db: Database, catalogue: Catalogue, days: int) -> date:
    """Days go by in claims."""
    from liandong.common.v1 import operator_pb2

    until = OPENED + timedelta(days=days)
    operator = OperatorServicer(db, reports.books(catalogue), {})
    request = operator_pb2.AdvanceDayRequest(
        request_id=str(uuid4()), county_code=COUNTY, business_date=wire.date_to_proto(until)
    )
    await operator.AdvanceDay(request, calling(OPERATOR, request))
    return until


async def instructed(
    servicer: ClaimsServicer,
    consumer: Consumer,
    parts: Sequence[int],
    household_fen: int,
) -> tuple[str, list[Loan]]:
    """A payout that loans divided: so much to each of as many lenders."""
    await issue(servicer)
    house = House()
    lenders = ["rcb-1", "psb-1"]
    loans = [Loan(house, lender_id=lenders[i]) for i in range(len(parts))]
    payout_id = await approved_payout(
        servicer, consumer, loans, assessed_fen=sum(parts) + household_fen
    )
    divided = allocated(payout_id, list(zip(loans, parts, strict=True)), household_fen)
    await take(consumer, divided)
    return payout_id, loans


async def settle(servicer: ClaimsServicer, on: date = OPENED) -> None:
    for caller in (LENDER, OTHER_LENDER, ADJUSTER):
        for each in await instructions(servicer, caller):
            own = (each.payee_kind == claims_pb2.PAYEE_KIND_HOUSEHOLD) == (caller is ADJUSTER)
            if own:
                await confirm(servicer, a_confirmation(each, on=on), caller=caller)


# --- silence --------------------------------------------------------------------------------------


async def test_silence_is_unknown_in_suspense_warned_of_and_never_paid_past(
    servicer: ClaimsServicer,
    saga: PayoutsServicer,
    consumer: Consumer,
    db: Database,
    catalogue: Catalogue,
) -> None:
    payout_id, _ = await instructed(servicer, consumer, [3_000_000], 1_500_000)
    (one,) = (await payout(servicer, payout_id)).instructions
    assert await refused(saga, "AskPayment", ADJUSTER, instruction_id=one.instruction_id) == (
        "INSTRUCTION_NOT_UNKNOWN"
    )

    await close_days(db, catalogue, 3)
    assert (await payout(servicer, payout_id)).state == claims_pb2.PAYOUT_STATE_INSTRUCTED
    today = await close_days(db, catalogue, 5)

    silent = await payout(servicer, payout_id)
    assert (silent.state, len(silent.instructions)) == (UNKNOWN, 1)
    (warned,) = await said(db, "payment_unanswered", events_pb2.PaymentUnanswered)
    assert (warned.instruction_id, warned.amount_fen) == (one.instruction_id, 3_000_000)
    assert (await totals(db))["claims.suspense_fen"] == 3_000_000
    await books_are_whole(db)
    listed = await ask(saga, "ListPayouts", ADJUSTER, state=UNKNOWN)
    assert [each.payout_id for each in listed.payouts] == [payout_id]

    # Never blind: first the same id is asked about.
    again = {"instruction_id": one.instruction_id}
    assert await refused(saga, "ResendPayment", ADJUSTER, **again) == "PAYMENT_NOT_ANSWERED"
    await ask(saga, "AskPayment", ADJUSTER, **again)
    await ask(saga, "AnswerPayment", LENDER, **again, answer=2)
    assert (await totals(db))["claims.suspense_fen"] == 0
    sent = (await ask(saga, "ResendPayment", ADJUSTER, **again)).payout.instructions[0]
    assert (sent.instruction_id, sent.attempt) == (one.instruction_id, 2)
    await books_are_whole(db)

    await close_days(db, catalogue, 12)
    done = await ask(
        saga,
        "AnswerPayment",
        LENDER,
        **again,
        answer=1,
        confirmed_fen=3_000_000,
        value_date=wire.date_to_proto(today),
    )
    assert done.payout.state == claims_pb2.PAYOUT_STATE_HOUSEHOLD_INSTRUCTED
    words = await ask(saga, "ListPaymentWords", LENDER, **again)
    assert [(each.word, each.refusal) for each in words.words] == [
        ("ask", "INSTRUCTION_NOT_UNKNOWN"),
        ("resend", "PAYMENT_NOT_ANSWERED"),
        ("ask", ""),
        ("not_received", ""),
        ("resend", ""),
        ("done", ""),
    ]
    await settle(servicer, on=OPENED)
    assert await settled_once(db) == [payout_id]
    await books_are_whole(db)


async def test_a_payee_that_refuses_is_not_paid_past_either(
    servicer: ClaimsServicer,
    saga: PayoutsServicer,
    consumer: Consumer,
    db: Database,
    catalogue: Catalogue,
) -> None:
    payout_id, _ = await instructed(servicer, consumer, [3_000_000], 1_500_000)
    (one,) = (await payout(servicer, payout_id)).instructions
    await close_days(db, catalogue, 5)
    of = {"instruction_id": one.instruction_id}

    assert await refused(saga, "AnswerPayment", LENDER, **of, answer=3) == "REASON_NEEDED"
    await ask(saga, "AnswerPayment", LENDER, **of, answer=3, reason="ACCOUNT_CLOSED")

    held = (await payout(servicer, payout_id)).instructions[0]
    assert (held.state, held.held_reason) == (
        claims_pb2.INSTRUCTION_STATE_HELD,
        "REFUSED_BY_PAYEE",
    )
    await ask(saga, "RecordLenderAccount", LENDER, account_ref="clearing:2")
    again = (await ask(saga, "ResendPayment", ADJUSTER, **of)).payout.instructions[0]
    assert (again.account_ref, again.attempt) == ("clearing:2", 2)
    await books_are_whole(db)


# --- corrections ----------------------------------------------------------------------------------


async def test_a_confirmation_above_is_refused_and_kept_and_one_below_stays_open(
    servicer: ClaimsServicer, saga: PayoutsServicer, consumer: Consumer, db: Database
) -> None:
    payout_id, _ = await instructed(servicer, consumer, [3_000_000], 1_500_000)
    (one,) = (await payout(servicer, payout_id)).instructions

    for off_fen in (1, -1):
        with pytest.raises(Refused):
            await confirm(servicer, a_confirmation(one, off_fen=off_fen), caller=LENDER)

    words = (await ask(saga, "ListPaymentWords", LENDER, instruction_id=one.instruction_id)).words
    assert [(each.amount_fen, each.refusal) for each in words] == [
        (3_000_001, "CONFIRMATION_ABOVE_INSTRUCTION"),
        (2_999_999, "CONFIRMATION_BELOW_INSTRUCTION"),
    ]
    assert (await payout(servicer, payout_id)).instructions[0].state == (
        claims_pb2.INSTRUCTION_STATE_OPEN
    )


async def test_what_a_lender_does_not_keep_is_divided_anew(
    servicer: ClaimsServicer, saga: PayoutsServicer, consumer: Consumer, db: Database
) -> None:
    payout_id, loans = await instructed(servicer, consumer, [2_000_000, 1_000_000], 500_000)
    first = (await instructions(servicer, LENDER))[0]

    request = a_confirmation(first, off_fen=-400_000)
    request.reason = "OVERPAID"
    after = await confirm(servicer, request, caller=LENDER)

    assert after.state == claims_pb2.PAYOUT_STATE_CORRECTING
    (said_so,) = await said(db, "payout_corrected", events_pb2.PayoutCorrected)
    assert (said_so.kept_fen, said_so.freed_fen) == (1_600_000, 400_000)
    assert [list(group.loan_ids) for group in said_so.groups] == [[str(loans[1].loan_id)]]
    await books_are_whole(db)
    # The other lender may answer meanwhile; the household waits for all of it.
    await confirm(
        servicer,
        a_confirmation((await instructions(servicer, OTHER_LENDER))[0]),
        caller=OTHER_LENDER,
    )
    assert (await payout(servicer, payout_id)).state == claims_pb2.PAYOUT_STATE_CORRECTING

    again = allocated(
        payout_id,
        [(loans[0], 1_600_000), (loans[1], 1_100_000)],
        800_000,
        sequence=2,
        corrections=1,
    )
    await take(consumer, again)
    assert await take(consumer, again) == 0
    (more,) = await instructions(servicer, OTHER_LENDER)
    assert (more.amount_fen, more.round) == (100_000, 1)
    await settle(servicer)

    now = await payout(servicer, payout_id)
    assert (now.state, now.lenders_fen, now.household_fen) == (SETTLED, 2_700_000, 800_000)
    assert sum(each.confirmed_fen for each in now.instructions) == 3_500_000
    await books_are_whole(db)
    notes = (await ask(saga, "GetPayoutNote", CENTRE, payout_id=payout_id)).notes
    assert [each.event for each in notes] == ["corrected", "paid"]
    assert "OVERPAID" in notes[0].reasons


async def test_a_loan_that_was_closed_meanwhile_keeps_nothing(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    payout_id, _ = await instructed(servicer, consumer, [2_000_000], 500_000)
    (one,) = await instructions(servicer, LENDER)
    request = a_confirmation(one, off_fen=-2_000_000)
    request.reason = "OVERPAID"

    await confirm(servicer, request, caller=LENDER)
    await take(consumer, allocated(payout_id, [], 2_500_000, sequence=2, corrections=1))
    await settle(servicer)

    now = await payout(servicer, payout_id)
    assert (now.state, now.lenders_fen, now.household_fen) == (SETTLED, 0, 2_500_000)
    await books_are_whole(db)


# --- payees ---------------------------------------------------------------------------------------


async def test_a_household_without_an_account_is_held_until_it_registers_one(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    await issue(servicer)
    house = House()
    loan = Loan(house)
    await take(consumer, house.registered(), loan.approved())
    payout_id = await _paid_out(servicer, house)

    await take(consumer, allocated(payout_id, [(loan, 3_000_000)], 1_500_000))
    await confirm(
        servicer, a_confirmation((await instructions(servicer, LENDER))[0]), caller=LENDER
    )

    held = await payout(servicer, payout_id)
    assert held.state == claims_pb2.PAYOUT_STATE_CONFIRMED
    assert held.instructions[1].held_reason == "NO_REGISTERED_ACCOUNT"
    account_id = uuid4()
    await take(consumer, house.payee(account_id))
    sent = (await payout(servicer, payout_id)).instructions[1]
    assert (sent.state, sent.account_ref) == (
        claims_pb2.INSTRUCTION_STATE_OPEN,
        f"account:{account_id}",
    )
    await settle(servicer)
    assert await settled_once(db) == [payout_id]


async def _paid_out(servicer: ClaimsServicer, house: House) -> str:
    from tests.claims.steps import a_decision, a_report, decide, report

    claim = await report(servicer, a_report(house), caller=CENTRE)
    return (await decide(servicer, a_decision(claim))).payout_id


async def test_after_a_death_the_households_part_goes_to_the_registered_heir(
    servicer: ClaimsServicer, saga: PayoutsServicer, consumer: Consumer
) -> None:
    await issue(servicer)
    house = House()
    loan = Loan(house)
    payout_id = await approved_payout(servicer, consumer, [loan])
    await take(consumer, house.died())
    await take(consumer, allocated(payout_id, [], 4_500_000))
    (held,) = (await payout(servicer, payout_id)).instructions
    assert held.held_reason == "HEIR_NEEDED"
    heirs = uuid4()
    of = {"household_id": str(house.household_id), "evidence": "sha256:ef"}

    early = await refused(
        saga, "RegisterHeirPayee", VILLAGE_DEPARTMENT, **of, account_id=str(heirs)
    )
    await take(consumer, house.payee(heirs))
    still = (await payout(servicer, payout_id)).instructions[0].held_reason
    answer = await ask(saga, "RegisterHeirPayee", CENTRE, **of, account_id=str(heirs))

    assert (early, still, answer.released) == ("ACCOUNT_NOT_IN_FORCE", "HEIR_NEEDED", 1)
    (sent,) = (await payout(servicer, payout_id)).instructions
    assert sent.account_ref == f"account:{heirs}"


async def test_a_quote_is_of_the_debt_that_loans_said_last(
    servicer: ClaimsServicer, saga: PayoutsServicer, consumer: Consumer
) -> None:
    await issue(servicer)
    house = House()
    loan = Loan(house)
    await take(consumer, house.registered(), loan.approved(), loan.disbursed(), loan.repaid(10))
    of = {
        "household_id": str(house.household_id),
        "cover_id": "accident",
        "amount_fen": 6_000_000,
    }

    await report(servicer, a_report(house))

    now = await ask(saga, "QuotePayout", ADJUSTER, **of, value_date=wire.date_to_proto(OPENED))
    later = wire.date_to_proto(OPENED + timedelta(days=9))
    stale = await ask(saga, "QuotePayout", ADJUSTER, **of, value_date=later)

    assert [part.amount_fen for part in now.parts] == [4_999_990]
    assert (now.household_fen, now.stale, stale.stale) == (1_000_010, False, True)


# S47: an insurer has to know what a household owes while it decides a claim of it.
async def test_an_insurer_reads_the_debt_only_while_its_claim_is_open(
    servicer: ClaimsServicer, saga: PayoutsServicer, consumer: Consumer
) -> None:
    await issue(servicer)
    house, neighbour = House(), House()
    for each in (house, neighbour):
        loan = Loan(each)
        await take(consumer, each.registered(), loan.approved(), loan.disbursed())
    asked = {
        "household_id": str(house.household_id),
        "cover_id": "accident",
        "amount_fen": 6_000_000,
        "value_date": wire.date_to_proto(OPENED),
    }

    async def why_not(caller: Caller = ADJUSTER, **values: Any) -> str:
        return await refused(saga, "QuotePayout", caller, **{**asked, **values})

    assert await why_not() == "NO_OPEN_CLAIM"
    claim = await report(servicer, a_report(house))
    assert (await ask(saga, "QuotePayout", ADJUSTER, **asked)).parts[0].owed_fen == 5_000_000
    assert await why_not(OTHER_ADJUSTER) == "NO_OPEN_CLAIM"
    assert await why_not(household_id=str(neighbour.household_id)) == "NO_OPEN_CLAIM"
    await decide(servicer, a_decision(claim, approve=False, reason="NOT_COVERED"))
    assert await why_not() == "NO_OPEN_CLAIM"
    # Who lent it, and the county, are no insurer.
    assert (await ask(saga, "QuotePayout", CENTRE, **asked)).parts[0].owed_fen == 5_000_000


# --- messages -------------------------------------------------------------------------------------


async def test_instructions_go_out_as_a_message_and_statements_come_back(
    servicer: ClaimsServicer, saga: PayoutsServicer, consumer: Consumer, db: Database
) -> None:
    payout_id, _ = await instructed(servicer, consumer, [3_000_000], 1_500_000)

    message = (await ask(saga, "SendPayments", SURVEYOR)).message
    empty = (await ask(saga, "SendPayments", SURVEYOR)).message
    kept = (await ask(saga, "GetPaymentMessage", ADJUSTER, message_id=message.message_id)).message

    (transfer,) = message.transfers
    assert (message.number_of_transactions, message.control_sum_fen) == (1, 3_000_000)
    assert (transfer.creditor, transfer.creditor_account) == ("rcb-1", "institution:rcb-1")
    assert UUID(transfer.payment_information_id) == UUID(payout_id)
    assert len(transfer.instruction_id) <= 35
    assert kept == message
    assert not empty.transfers
    line = {"original_instruction_id": transfer.instruction_id}
    verdicts = (
        await ask(
            saga,
            "TakePaymentStatuses",
            ADJUSTER,
            items=[
                {**line, "transaction_status": "ACSC"},
                {**line, "transaction_status": "RJCT"},
                {"original_instruction_id": uuid4().hex, "transaction_status": "ACCP"},
            ],
        )
    ).verdicts
    assert [each.reason for each in verdicts] == ["", "REASON_NEEDED", "INSTRUCTION_NOT_FOUND"]
    entry = {
        "instruction_id": transfer.instruction_id,
        "amount_fen": 3_000_000,
        "credit_debit": "CRDT",
        "status": "BOOK",
        "value_date": wire.date_to_proto(OPENED),
    }
    booked = (
        await ask(
            saga,
            "TakeBookedEntries",
            LENDER,
            items=[{**entry, "amount_fen": 3_000_001}, {**entry, "status": "PDNG"}, entry, entry],
        )
    ).verdicts
    assert [each.reason for each in booked] == [
        "CONFIRMATION_ABOVE_INSTRUCTION",
        "ENTRY_NOT_BOOKED",
        "",
        "INSTRUCTION_NOT_OPEN",
    ]
    household = (await ask(saga, "SendPayments", SURVEYOR)).message.transfers[0]
    paid = await ask(
        saga,
        "TakePaymentStatuses",
        ADJUSTER,
        items=[
            {
                "original_instruction_id": household.instruction_id,
                "transaction_status": "ACSC",
            }
        ],
    )
    assert paid.verdicts[0].accepted
    assert household.purpose == "INSU"
    assert await settled_once(db) == [payout_id]
    await books_are_whole(db)


@pytest.mark.parametrize(
    ("name", "caller", "items", "field"),
    [
        (
            "TakePaymentStatuses",
            ADJUSTER,
            [
                {"original_instruction_id": uuid4().hex, "transaction_status": "PDNG"},
                {"original_instruction_id": "-" * 35, "transaction_status": "ACSC"},
            ],
            "items[1].original_instruction_id",
        ),
        (
            "TakeBookedEntries",
            LENDER,
            [
                {
                    "instruction_id": "-" * 35,
                    "amount_fen": 1,
                    "credit_debit": "CRDT",
                    "status": "BOOK",
                    "value_date": wire.date_to_proto(OPENED),
                }
            ],
            "items[0].instruction_id",
        ),
    ],
)
async def test_a_number_of_dashes_alone_is_no_instruction_and_its_place_is_named(
    saga: PayoutsServicer, name: str, caller: Caller, items: list[dict[str, Any]], field: str
) -> None:
    with pytest.raises(Invalid, match="ID_MALFORMED") as malformed:
        await ask(saga, name, caller, items=items)

    assert [each.field for each in malformed.value.violations] == [field]


# --- reversals ------------------------------------------------------------------------------------


async def test_a_settled_payout_is_taken_back_by_two_persons_and_nobody_is_debited(
    servicer: ClaimsServicer, saga: PayoutsServicer, consumer: Consumer, db: Database
) -> None:
    payout_id, loans = await instructed(servicer, consumer, [3_000_000], 1_500_000)
    wish = {"payout_id": payout_id, "reason": "FRAUD", "evidence": "sha256:aa"}
    assert await refused(saga, "ReversePayout", SURVEYOR, **wish) == "PAYOUT_NOT_SETTLED"
    await settle(servicer)
    assert await refused(saga, "ReversePayout", OTHER_ADJUSTER, **wish) == "PAYOUT_NOT_FOUND"

    asked = (await ask(saga, "ReversePayout", SURVEYOR, **wish)).reversal_id
    assert await refused(saga, "ReversePayout", SURVEYOR, **wish) == "REVERSAL_EXISTS"
    of = {"reversal_id": asked, "approve": True}
    assert await refused(saga, "DecideReversal", SURVEYOR, **of) == "SECOND_PERSON_NEEDED"
    done = await ask(saga, "DecideReversal", ADJUSTER, **of)
    assert await refused(saga, "DecideReversal", ADJUSTER, **of) == "REVERSAL_DECIDED"

    assert done.payout.state == claims_pb2.PAYOUT_STATE_REVERSED
    assert [(r.debtor_id, r.amount_fen) for r in done.receivables] == [
        ("rcb-1", 3_000_000),
        (str(loans[0].house.household_id), 1_500_000),
    ]
    (event,) = await said(db, "payout_reversed", events_pb2.PayoutReversed)
    assert (event.household_fen, event.parts[0].amount_fen) == (1_500_000, 3_000_000)
    found = await totals(db)
    assert found["claims.receivable_fen"] == 4_500_000
    assert found["claims.payouts_unsettled_count"] == 0
    await books_are_whole(db)

    household = done.receivables[1].receivable_id
    money = {"receivable_id": household, "value_date": wire.date_to_proto(OPENED)}
    pay = "RecordReceivablePayment"
    assert await refused(saga, pay, ADJUSTER, **money, amount_fen=1_500_001) == "ABOVE_RECEIVABLE"
    await ask(saga, pay, ADJUSTER, **money, amount_fen=500_000)
    last = (await ask(saga, pay, ADJUSTER, **money, amount_fen=1_000_000)).receivable
    assert last.closed
    assert await refused(saga, pay, ADJUSTER, **money, amount_fen=1) == "RECEIVABLE_CLOSED"
    left = await ask(saga, "ListReceivables", LENDER, open_only=True)
    assert [each.debtor_id for each in left.receivables] == ["rcb-1"]
    await books_are_whole(db)
    notes = (await ask(saga, "GetPayoutNote", CENTRE, payout_id=payout_id)).notes
    assert [each.event for each in notes] == ["divided", "paid", "reversed", "repaid"]
    assert "不会自动扣款" in notes[2].text_zh


async def test_a_refused_reversal_changes_nothing_and_may_be_asked_for_again(
    servicer: ClaimsServicer, saga: PayoutsServicer, consumer: Consumer, db: Database
) -> None:
    payout_id, _ = await instructed(servicer, consumer, [3_000_000], 0)
    await settle(servicer)
    wish = {"payout_id": payout_id, "reason": "FRAUD", "evidence": "sha256:aa"}
    asked = (await ask(saga, "ReversePayout", SURVEYOR, **wish)).reversal_id

    await ask(saga, "DecideReversal", ADJUSTER, reversal_id=asked, approve=False)
    await ask(saga, "ReversePayout", SURVEYOR, **wish)

    assert (await payout(servicer, payout_id)).state == SETTLED
    assert await said(db, "payout_reversed", events_pb2.PayoutReversed) == []


async def test_a_reopened_loan_is_settled_first_by_the_next_payout(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    await issue(servicer)
    loan = Loan(House())
    await take(consumer, loan.house.registered(), loan.approved(), loan.settled())

    await take(consumer, loan.reopened(2_000_000))

    assert await rows(db, "SELECT state, closed_on FROM loan") == [("approved", None)]
    assert await rows(db, "SELECT outstanding_fen FROM loan_debt") == [(2_000_000,)]


# --- complaints -----------------------------------------------------------------------------------


async def test_a_complaint_has_a_deadline_and_one_answer(
    servicer: ClaimsServicer,
    saga: PayoutsServicer,
    consumer: Consumer,
    db: Database,
    catalogue: Catalogue,
) -> None:
    payout_id, _ = await instructed(servicer, consumer, [3_000_000], 0)
    of = {"subject_id": payout_id, "reason": "AMOUNT_WRONG", "evidence": "sha256:bb"}

    filed = (await ask(saga, "FileComplaint", VILLAGE_DEPARTMENT, **of)).complaint
    missing = await refused(
        saga, "FileComplaint", VILLAGE_DEPARTMENT, **of | {"subject_id": str(uuid4())}
    )
    await close_days(db, catalogue, 40)
    (late,) = (await ask(saga, "ListComplaints", ADJUSTER, open_only=True)).complaints
    answer = {"complaint_id": filed.complaint_id, "outcome": "REJECTED"}
    await ask(saga, "AnswerComplaint", ADJUSTER, **answer)

    assert wire.date_from_proto("due_on", filed.due_on) == date(2021, 1, 25)
    (opened,) = await said(db, "complaint_opened", events_pb2.ComplaintOpened)
    (told,) = await said(db, "complaint_answered", events_pb2.ComplaintAnswered)
    assert (opened.complaint_id, opened.due_on) == (filed.complaint_id, filed.due_on)
    assert (told.outcome, told.insurer_id, told.due_on) == ("REJECTED", INSURER, filed.due_on)
    late_by = wire.date_from_proto("answered_on", told.answered_on) - date(2021, 1, 25)
    assert late_by.days > 0
    assert (missing, late.overdue) == ("SUBJECT_NOT_FOUND", True)
    assert await refused(saga, "AnswerComplaint", ADJUSTER, **answer) == "COMPLAINT_ANSWERED"
    with pytest.raises(NotFound):
        await ask(saga, "AnswerComplaint", OTHER_ADJUSTER, **answer)
    assert (filed.insurer_id, OTHER_BANK) == (INSURER, "psb-1")
