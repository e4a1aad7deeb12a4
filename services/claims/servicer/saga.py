"""PayoutsService over gRPC: the saga of a payout, and what is said about it."""

from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from google.protobuf.message import Message
from liandong.claims.v1 import payouts_pb2, payouts_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims import reports
from services.claims.model import (
    Complaint,
    Instruction,
    KeptWord,
    PayeeKind,
    PaymentMessage,
    Payout,
    Quote,
    Receivable,
    ReceivablePayment,
    ReversalState,
    Said,
    Word,
)
from services.claims.operations import payments, payouts, reversals
from services.claims.servicer.payouts import (
    PAYEE_KINDS,
    PAYOUT_STATES_ASKED,
    kept_if_refused,
    payout_to_proto,
)
from services.claims.servicer.shared import READERS, REPORTERS, admit, after_of, only
from services.claims.store import payments as payments_store
from services.claims.store import reversals as reversals_store
from services.kernel import business_day, wire
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.errors import LiandongError, invalid_field
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.money import Fen
from services.kernel.rpc import Context
from services.programmes.loader import Catalogue

A = TypeVar("A", bound=Message)

INSURERS = ("insurer",)
PAYEES_AND_PAYERS = ("bank", "mutual_aid_society", "insurer")

_ANSWERS = {
    payouts_pb2.PAYMENT_ANSWER_DONE: Said.DONE,
    payouts_pb2.PAYMENT_ANSWER_NOT_RECEIVED: Said.NOT_RECEIVED,
    payouts_pb2.PAYMENT_ANSWER_REFUSED: Said.REFUSED,
}
_REVERSAL_STATES = {
    state: payouts_pb2.ReversalState.Value(f"REVERSAL_STATE_{state.name}")
    for state in ReversalState
}


class PayoutsServicer(payouts_pb2_grpc.PayoutsServiceServicer):
    """Payouts on their way, and those that come back."""

    def __init__(self, db: Database, catalogue: Catalogue) -> None:
        self._database = db
        self._catalogue = catalogue

    async def QuotePayout(
        self, request: payouts_pb2.QuotePayoutRequest, context: Context
    ) -> payouts_pb2.QuotePayoutResponse:
        """What each would get."""
        caller = admit(context, (*PAYEES_AND_PAYERS, "county_centre"), request.county_code)
        async with self._database.transaction(caller) as session:
            quoted = await payments.quote(
                session,
                self._catalogue,
                request.county_code,
                parse_id("household_id", request.household_id),
                cover_id=request.cover_id,
                amount_fen=Fen(request.amount_fen),
                on=wire.date_from_proto("value_date", request.value_date),
                insurer_id=reports.sight_of(caller).insurer_id,
            )
        return _quote_to_proto(quoted, caller)

    async def ListPayouts(
        self, request: payouts_pb2.ListPayoutsRequest, context: Context
    ) -> payouts_pb2.ListPayoutsResponse:
        """A page of payouts."""
        caller = admit(context, READERS, request.county_code)
        size = wire.page_size(request.page_size)
        named = request.instruction_id
        async with self._database.transaction(caller) as session:
            found = await reports.list_payouts(
                session,
                caller,
                request.county_code,
                state=PAYOUT_STATES_ASKED[request.state],
                instruction_id=parse_id("instruction_id", named) if named else None,
                after=after_of(request.page_token),
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.payout_id)
        return payouts_pb2.ListPayoutsResponse(
            payouts=[payout_to_proto(payout) for payout in page], next_page_token=token
        )

    async def AskPayment(
        self, request: payouts_pb2.AskPaymentRequest, context: Context
    ) -> payouts_pb2.AskPaymentResponse:
        """Ask with the same id."""
        caller = admit(context, INSURERS, request.county_code)
        word = Word(Said.ASK, parse_id("instruction_id", request.instruction_id))
        payout = payouts_pb2.AskPaymentResponse
        return await self._say(
            request, caller, word, payout, lambda it: payout(payout=payout_to_proto(it))
        )

    async def AnswerPayment(
        self, request: payouts_pb2.AnswerPaymentRequest, context: Context
    ) -> payouts_pb2.AnswerPaymentResponse:
        """Done, not received or refused."""
        caller = admit(context, PAYEES_AND_PAYERS, request.county_code)
        dated = request.HasField("value_date")
        word = Word(
            _ANSWERS[request.answer],
            parse_id("instruction_id", request.instruction_id),
            Fen(request.confirmed_fen),
            wire.date_from_proto("value_date", request.value_date) if dated else None,
            request.reason,
        )
        answer = payouts_pb2.AnswerPaymentResponse
        return await self._say(
            request, caller, word, answer, lambda it: answer(payout=payout_to_proto(it))
        )

    async def ResendPayment(
        self, request: payouts_pb2.ResendPaymentRequest, context: Context
    ) -> payouts_pb2.ResendPaymentResponse:
        """Send again with the same id, never blind."""
        caller = admit(context, INSURERS, request.county_code)
        word = Word(Said.RESEND, parse_id("instruction_id", request.instruction_id))
        answer = payouts_pb2.ResendPaymentResponse
        return await self._say(
            request, caller, word, answer, lambda it: answer(payout=payout_to_proto(it))
        )

    async def _say(
        self,
        request: Message,
        caller: Caller,
        word: Word,
        answer: type[A],
        to_answer: Callable[[Payout], A],
    ) -> A:
        """One word about an instruction; kept also when it is refused."""
        county_code: str = getattr(request, "county_code", "")

        async def work(session: AsyncSession) -> A:
            outcomes = await payouts.take_words(
                session, self._catalogue, caller, county_code, [word]
            )
            return to_answer(reports.seen_by(caller, only(outcomes)))

        async with kept_if_refused(self._database, caller, county_code, word):
            return await once(self._database, caller, request, answer, work)

    async def SendPayments(
        self, request: payouts_pb2.SendPaymentsRequest, context: Context
    ) -> payouts_pb2.SendPaymentsResponse:
        """Open instructions as a credit transfer initiation."""
        caller = admit(context, INSURERS, request.county_code)
        most = request.number_max or payments.MESSAGE_INSTRUCTIONS_MAX

        async def work(session: AsyncSession) -> payouts_pb2.SendPaymentsResponse:
            sent = await payments.send(session, caller, request.county_code, most)
            return payouts_pb2.SendPaymentsResponse(message=message_to_proto(sent))

        answer = payouts_pb2.SendPaymentsResponse
        return await once(self._database, caller, request, answer, work)

    async def GetPaymentMessage(
        self, request: payouts_pb2.GetPaymentMessageRequest, context: Context
    ) -> payouts_pb2.GetPaymentMessageResponse:
        """A message as it was sent."""
        caller = admit(context, INSURERS, request.county_code)
        message_id = parse_id("message_id", str(UUID(hex=request.message_id)))
        async with self._database.transaction(caller) as session:
            found = await payments.message(session, caller, request.county_code, message_id)
        return payouts_pb2.GetPaymentMessageResponse(message=message_to_proto(found))

    async def TakePaymentStatuses(
        self, request: payouts_pb2.TakePaymentStatusesRequest, context: Context
    ) -> payouts_pb2.TakePaymentStatusesResponse:
        """Lines of pain.002."""
        caller = admit(context, INSURERS, request.county_code)
        words = [
            Word(
                Said(item.transaction_status),
                _hex_id(f"items[{place}].original_instruction_id", item.original_instruction_id),
                value_date=wire.date_from_proto(f"items[{place}].accepted_on", item.accepted_on)
                if item.HasField("accepted_on")
                else None,
                reason=item.status_reason,
            )
            for place, item in enumerate(request.items)
        ]

        async def work(session: AsyncSession) -> payouts_pb2.TakePaymentStatusesResponse:
            outcomes = await payouts.take_words(
                session, self._catalogue, caller, request.county_code, words
            )
            return payouts_pb2.TakePaymentStatusesResponse(
                verdicts=wire.verdicts(outcomes, lambda payout: payout.payout_id)
            )

        answer = payouts_pb2.TakePaymentStatusesResponse
        return await once(self._database, caller, request, answer, work)

    async def TakeBookedEntries(
        self, request: payouts_pb2.TakeBookedEntriesRequest, context: Context
    ) -> payouts_pb2.TakeBookedEntriesResponse:
        """Entries of camt.054."""
        caller = admit(context, PAYEES_AND_PAYERS, request.county_code)
        side = "DBIT" if caller.role == "insurer" else "CRDT"
        wrong: dict[int, LiandongError] = {}
        words: list[tuple[int, Word]] = []
        for place, item in enumerate(request.items):
            path = f"items[{place}]."
            if item.status != "BOOK" or item.credit_debit != side:
                rule = f"must be booked (BOOK) and {side} in the book of {caller.role}"
                wrong[place] = invalid_field("ENTRY_NOT_BOOKED", f"{path}status", item.status, rule)
                continue
            words.append(
                (
                    place,
                    Word(
                        Said.CONFIRM,
                        _hex_id(f"{path}instruction_id", item.instruction_id),
                        Fen(item.amount_fen),
                        wire.date_from_proto(f"{path}value_date", item.value_date),
                        reference=item.entry_reference,
                    ),
                )
            )

        async def work(session: AsyncSession) -> payouts_pb2.TakeBookedEntriesResponse:
            taken = await payouts.take_words(
                session, self._catalogue, caller, request.county_code, [word for _, word in words]
            )
            by_place: dict[int, Payout | LiandongError] = {
                place: outcome for (place, _), outcome in zip(words, taken, strict=True)
            }
            outcomes = [
                wrong[place] if place in wrong else by_place[place]
                for place in range(len(request.items))
            ]
            return payouts_pb2.TakeBookedEntriesResponse(
                verdicts=wire.verdicts(outcomes, lambda payout: payout.payout_id)
            )

        answer = payouts_pb2.TakeBookedEntriesResponse
        return await once(self._database, caller, request, answer, work)

    async def ListPaymentWords(
        self, request: payouts_pb2.ListPaymentWordsRequest, context: Context
    ) -> payouts_pb2.ListPaymentWordsResponse:
        """What was said about an instruction."""
        caller = admit(context, PAYEES_AND_PAYERS, request.county_code)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            found = await payments_store.list_words(
                session,
                request.county_code,
                caller.institution_id,
                parse_id("instruction_id", request.instruction_id),
                after=after_of(request.page_token) or reports.FIRST,
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.word_id)
        return payouts_pb2.ListPaymentWordsResponse(
            words=[_word_to_proto(each) for each in page], next_page_token=token
        )

    async def RecordLenderAccount(
        self, request: payouts_pb2.RecordLenderAccountRequest, context: Context
    ) -> payouts_pb2.RecordLenderAccountResponse:
        """Where the calling lender is paid."""
        caller = admit(context, PAYEES_AND_PAYERS, request.county_code)

        async def work(session: AsyncSession) -> payouts_pb2.RecordLenderAccountResponse:
            sent = await payments.record_lender_account(
                session, self._catalogue, caller, request.county_code, request.account_ref
            )
            return payouts_pb2.RecordLenderAccountResponse(released=sent)

        answer = payouts_pb2.RecordLenderAccountResponse
        return await once(self._database, caller, request, answer, work)

    async def RegisterHeirPayee(
        self, request: payouts_pb2.RegisterHeirPayeeRequest, context: Context
    ) -> payouts_pb2.RegisterHeirPayeeResponse:
        """Whom a deceased household's part goes to."""
        caller = admit(context, (*REPORTERS, "poverty_office"), request.county_code)

        async def work(session: AsyncSession) -> payouts_pb2.RegisterHeirPayeeResponse:
            sent = await payments.register_heir(
                session,
                self._catalogue,
                caller,
                request.county_code,
                household_id=parse_id("household_id", request.household_id),
                account_id=parse_id("account_id", request.account_id),
                evidence=request.evidence,
            )
            return payouts_pb2.RegisterHeirPayeeResponse(released=sent)

        answer = payouts_pb2.RegisterHeirPayeeResponse
        return await once(self._database, caller, request, answer, work)

    async def ReversePayout(
        self, request: payouts_pb2.ReversePayoutRequest, context: Context
    ) -> payouts_pb2.ReversePayoutResponse:
        """Ask for a settled payout to be taken back."""
        caller = admit(context, INSURERS, request.county_code)

        async def work(session: AsyncSession) -> payouts_pb2.ReversePayoutResponse:
            asked = await reversals.ask(
                session,
                caller,
                request.county_code,
                parse_id("payout_id", request.payout_id),
                reason=request.reason,
                evidence=request.evidence,
            )
            return payouts_pb2.ReversePayoutResponse(reversal_id=str(asked.reversal_id))

        answer = payouts_pb2.ReversePayoutResponse
        return await once(self._database, caller, request, answer, work)

    async def DecideReversal(
        self, request: payouts_pb2.DecideReversalRequest, context: Context
    ) -> payouts_pb2.DecideReversalResponse:
        """A second person decides."""
        caller = admit(context, INSURERS, request.county_code)

        async def work(session: AsyncSession) -> payouts_pb2.DecideReversalResponse:
            decided, payout, owed = await reversals.decide(
                session,
                caller,
                request.county_code,
                parse_id("reversal_id", request.reversal_id),
                approve=request.approve,
            )
            return payouts_pb2.DecideReversalResponse(
                state=_REVERSAL_STATES[decided.state],
                payout=payout_to_proto(payout),
                receivables=[_receivable_to_proto(each) for each in owed],
            )

        answer = payouts_pb2.DecideReversalResponse
        return await once(self._database, caller, request, answer, work)

    async def ListReceivables(
        self, request: payouts_pb2.ListReceivablesRequest, context: Context
    ) -> payouts_pb2.ListReceivablesResponse:
        """What is owed back."""
        caller = admit(context, READERS, request.county_code)
        size = wire.page_size(request.page_size)
        of = parse_id("payout_id", request.payout_id) if request.payout_id else None
        async with self._database.transaction(caller) as session:
            found = await reversals_store.list_receivables(
                session,
                request.county_code,
                reports.sight_of(caller),
                payout_id=of,
                open_only=request.open_only,
                after=after_of(request.page_token) or reports.FIRST,
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.receivable_id)
        return payouts_pb2.ListReceivablesResponse(
            receivables=[_receivable_to_proto(each) for each in page], next_page_token=token
        )

    async def RecordReceivablePayment(
        self, request: payouts_pb2.RecordReceivablePaymentRequest, context: Context
    ) -> payouts_pb2.RecordReceivablePaymentResponse:
        """Money that came back."""
        caller = admit(context, INSURERS, request.county_code)
        payment = ReceivablePayment(
            parse_id("receivable_id", request.receivable_id),
            Fen(request.amount_fen),
            wire.date_from_proto("value_date", request.value_date),
            request.reference,
        )

        async def work(session: AsyncSession) -> payouts_pb2.RecordReceivablePaymentResponse:
            now = await reversals.take_payment(session, caller, request.county_code, payment)
            return payouts_pb2.RecordReceivablePaymentResponse(receivable=_receivable_to_proto(now))

        answer = payouts_pb2.RecordReceivablePaymentResponse
        return await once(self._database, caller, request, answer, work)

    async def GetPayoutNote(
        self, request: payouts_pb2.GetPayoutNoteRequest, context: Context
    ) -> payouts_pb2.GetPayoutNoteResponse:
        """What the household is told."""
        caller = admit(context, READERS, request.county_code)
        payout_id = parse_id("payout_id", request.payout_id)
        async with self._database.transaction(caller) as session:
            found = await reports.payout_notes(
                session, self._catalogue, caller, request.county_code, payout_id
            )
        return payouts_pb2.GetPayoutNoteResponse(
            notes=[
                payouts_pb2.PayoutNote(
                    event=event.name,
                    amount_fen=event.amount_fen,
                    lenders_fen=sum(amount for _, amount in event.parts),
                    household_fen=event.household_fen,
                    reasons=event.reasons,
                    text_zh=text,
                )
                for event, text in found
            ]
        )

    async def FileComplaint(
        self, request: payouts_pb2.FileComplaintRequest, context: Context
    ) -> payouts_pb2.FileComplaintResponse:
        """Take a complaint in."""
        roles = (*REPORTERS, "poverty_office", "bank", "mutual_aid_society")
        caller = admit(context, roles, request.county_code)

        async def work(session: AsyncSession) -> payouts_pb2.FileComplaintResponse:
            filed = await reversals.file_complaint(
                session,
                self._catalogue,
                caller,
                request.county_code,
                sight=reports.sight_of(caller),
                subject_id=parse_id("subject_id", request.subject_id),
                reason=request.reason,
                evidence=request.evidence,
            )
            return payouts_pb2.FileComplaintResponse(complaint=_complaint_to_proto(filed))

        answer = payouts_pb2.FileComplaintResponse
        return await once(self._database, caller, request, answer, work, money=False)

    async def AnswerComplaint(
        self, request: payouts_pb2.AnswerComplaintRequest, context: Context
    ) -> payouts_pb2.AnswerComplaintResponse:
        """Answer a complaint."""
        caller = admit(context, INSURERS, request.county_code)

        async def work(session: AsyncSession) -> payouts_pb2.AnswerComplaintResponse:
            answered = await reversals.answer_complaint(
                session,
                caller,
                request.county_code,
                parse_id("complaint_id", request.complaint_id),
                outcome=request.outcome,
                evidence=request.evidence,
            )
            return payouts_pb2.AnswerComplaintResponse(complaint=_complaint_to_proto(answered))

        answer = payouts_pb2.AnswerComplaintResponse
        return await once(self._database, caller, request, answer, work, money=False)

    async def ListComplaints(
        self, request: payouts_pb2.ListComplaintsRequest, context: Context
    ) -> payouts_pb2.ListComplaintsResponse:
        """Complaints."""
        caller = admit(context, (*REPORTERS, "poverty_office", "auditor"), request.county_code)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            today = await business_day.today(session, request.county_code)
            found = await reversals_store.list_complaints(
                session,
                request.county_code,
                reports.sight_of(caller),
                open_only=request.open_only,
                after=after_of(request.page_token) or reports.FIRST,
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.complaint_id)
        listed = [_complaint_to_proto(each) for each in page]
        for shown, each in zip(listed, page, strict=True):
            shown.overdue = each.due_on < (each.answered_on or today)
        return payouts_pb2.ListComplaintsResponse(complaints=listed, next_page_token=token)


def _hex_id(path: str, value: str) -> UUID:
    """An id with or without hyphens: ISO 20022 gives an id 35 characters at most."""
    try:
        return UUID(value)
    except ValueError as error:
        raise invalid_field(
            "ID_MALFORMED", path, value, "must be a UUID", "编号格式错误"
        ) from error


def message_to_proto(message: PaymentMessage) -> payouts_pb2.PaymentMessage:
    """A message with the fields of pain.001."""
    return payouts_pb2.PaymentMessage(
        message_id=message.message_id.hex,
        created_on=wire.date_to_proto(message.created_on),
        number_of_transactions=len(message.instructions),
        control_sum_fen=sum(each.amount_fen for each in message.instructions),
        initiating_party=message.insurer_id,
        payment_method="TRF",
        transfers=[_transfer_to_proto(each) for each in message.instructions],
    )


def _transfer_to_proto(instruction: Instruction) -> payouts_pb2.CreditTransfer:
    lender = instruction.payee_kind is PayeeKind.LENDER
    loan = instruction.loan_id.hex if instruction.loan_id else ""
    return payouts_pb2.CreditTransfer(
        payment_information_id=instruction.payout_id.hex,
        instruction_id=instruction.instruction_id.hex,
        end_to_end_id=instruction.instruction_id.hex,
        instructed_amount_fen=instruction.amount_fen,
        currency="CNY",
        creditor=instruction.payee_id,
        creditor_account=instruction.account_ref,
        purpose="LOAN" if lender else "INSU",
        remittance_information=f"/PAYOUT/{instruction.payout_id.hex}" + (f"/LOAN/{loan}" * lender),
    )


def _word_to_proto(kept: KeptWord) -> payouts_pb2.PaymentWord:
    return payouts_pb2.PaymentWord(
        word_id=str(kept.word_id),
        word=kept.word.said.value,
        amount_fen=kept.word.amount_fen,
        value_date=wire.date_to_proto(kept.word.value_date),
        reason=kept.word.reason,
        refusal=kept.refusal,
        institution_id=kept.actor.institution_id,
        said_on=wire.date_to_proto(kept.said_on),
        reference=kept.word.reference,
    )


def _quote_to_proto(quoted: Quote, caller: Caller) -> payouts_pb2.QuotePayoutResponse:
    """A lender sees of the other lenders' debts nothing."""
    hidden = caller.role in reports.LENDERS
    return payouts_pb2.QuotePayoutResponse(
        parts=[
            payouts_pb2.QuotedPart(
                loan_id=str(part.loan.loan_id),
                lender_id=part.loan.lender_id,
                amount_fen=part.amount_fen,
                owed_fen=part.owed_fen,
                said_on=wire.date_to_proto(part.said_on),
                stale=part.stale,
            )
            for part in quoted.parts
            if not hidden or part.loan.lender_id == caller.institution_id
        ],
        household_fen=quoted.household_fen,
        stale=quoted.stale,
    )


def _receivable_to_proto(receivable: Receivable) -> payouts_pb2.Receivable:
    return payouts_pb2.Receivable(
        receivable_id=str(receivable.receivable_id),
        payout_id=str(receivable.payout_id),
        debtor_kind=PAYEE_KINDS[receivable.debtor_kind],
        debtor_id=receivable.debtor_id,
        loan_id=str(receivable.loan_id) if receivable.loan_id else "",
        amount_fen=receivable.amount_fen,
        paid_fen=receivable.paid_fen,
        closed=receivable.closed,
    )


def _complaint_to_proto(complaint: Complaint) -> payouts_pb2.Complaint:
    return payouts_pb2.Complaint(
        complaint_id=str(complaint.complaint_id),
        subject_id=str(complaint.subject_id),
        household_id=str(complaint.household_id),
        reason=complaint.reason,
        evidence=complaint.evidence,
        filed_on=wire.date_to_proto(complaint.filed_on),
        due_on=wire.date_to_proto(complaint.due_on),
        outcome=complaint.outcome,
        answered_on=wire.date_to_proto(complaint.answered_on),
        insurer_id=complaint.insurer_id,
    )
