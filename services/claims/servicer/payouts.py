"""Claims over gRPC: payouts, and the instructions that pay them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from liandong.claims.v1 import claims_pb2, claims_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims import reports
from services.claims.model import (
    Confirmation,
    Instruction,
    InstructionState,
    PayeeKind,
    Payout,
    PayoutState,
    Said,
    Word,
)
from services.claims.operations import payouts
from services.claims.servicer.shared import READERS, admit, after_of, only
from services.kernel import walls, wire
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.errors import LiandongError
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.money import Fen
from services.kernel.rpc import Context
from services.programmes.loader import Catalogue

PAYEES_AND_PAYERS = ("bank", "mutual_aid_society", "insurer")

_PAYOUT_STATES = {
    state: claims_pb2.PayoutState.Value(f"PAYOUT_STATE_{state.name}") for state in PayoutState
}
_INSTRUCTION_STATES = {
    state: claims_pb2.InstructionState.Value(f"INSTRUCTION_STATE_{state.name}")
    for state in InstructionState
}
PAYOUT_STATES_ASKED = {
    claims_pb2.PAYOUT_STATE_UNSPECIFIED: "",
    **{there: here.value for here, there in _PAYOUT_STATES.items()},
}
PAYEE_KINDS = {
    PayeeKind.LENDER: claims_pb2.PAYEE_KIND_LENDER,
    PayeeKind.HOUSEHOLD: claims_pb2.PAYEE_KIND_HOUSEHOLD,
}
_INSTRUCTION_STATES_ASKED = {
    claims_pb2.INSTRUCTION_STATE_UNSPECIFIED: "",
    **{there: here.value for here, there in _INSTRUCTION_STATES.items()},
}


def confirmation_from_proto(
    item: claims_pb2.ConfirmPaymentRequest | claims_pb2.PaymentConfirmation, path: str = ""
) -> Confirmation:
    """A confirmation of a payment."""
    return Confirmation(
        instruction_id=parse_id(f"{path}instruction_id", item.instruction_id),
        confirmed_fen=Fen(item.confirmed_fen),
        value_date=wire.date_from_proto(f"{path}value_date", item.value_date),
        reason=item.reason,
    )


def instruction_to_proto(instruction: Instruction) -> claims_pb2.PaymentInstruction:
    """An instruction for the wire."""
    return claims_pb2.PaymentInstruction(
        instruction_id=str(instruction.instruction_id),
        payout_id=str(instruction.payout_id),
        payee_kind=PAYEE_KINDS[instruction.payee_kind],
        payee_id=instruction.payee_id,
        insurer_id=instruction.insurer_id,
        loan_id=str(instruction.loan_id) if instruction.loan_id else "",
        amount_fen=instruction.amount_fen,
        state=_INSTRUCTION_STATES[instruction.state],
        confirmed_fen=instruction.confirmed_fen,
        held_reason=instruction.held_reason,
        account_ref=instruction.account_ref,
        sent_on=wire.date_to_proto(instruction.sent_on),
        attempt=instruction.attempt,
        asked_on=wire.date_to_proto(instruction.asked_on),
        round=instruction.round,
    )


def payout_to_proto(payout: Payout) -> claims_pb2.Payout:
    """A payout for the wire."""
    return claims_pb2.Payout(
        payout_id=str(payout.payout_id),
        claim_id=str(payout.claim_id),
        household_id=str(payout.household_id),
        amount_fen=payout.amount_fen,
        lenders_fen=payout.lenders_fen,
        household_fen=payout.household_fen,
        state=_PAYOUT_STATES[payout.state],
        value_date=wire.date_to_proto(payout.value_date),
        instructions=[instruction_to_proto(each) for each in payout.instructions],
        corrections=payout.corrections,
    )


@asynccontextmanager
async def kept_if_refused(
    db: Database, caller: Caller, county_code: str, word: Word
) -> AsyncIterator[None]:
    """Keep a word that is refused: its own transaction is undone with the refusal."""
    try:
        yield
    except LiandongError as error:
        async with db.transaction(walls.of_command(caller)) as session:
            await payouts.keep_refused(session, caller, county_code, word, error)
        raise


class PayoutsDoor(claims_pb2_grpc.ClaimsServiceServicer):
    """Payouts, and who confirms that they were paid."""

    _database: Database
    _catalogue: Catalogue

    async def GetPayout(
        self, request: claims_pb2.GetPayoutRequest, context: Context
    ) -> claims_pb2.GetPayoutResponse:
        """One payout."""
        caller = admit(context, READERS, request.county_code)
        payout_id = parse_id("payout_id", request.payout_id)
        async with self._database.transaction(caller) as session:
            payout = await reports.get_payout(session, caller, request.county_code, payout_id)
        return claims_pb2.GetPayoutResponse(payout=payout_to_proto(payout))

    async def ListPaymentInstructions(
        self, request: claims_pb2.ListPaymentInstructionsRequest, context: Context
    ) -> claims_pb2.ListPaymentInstructionsResponse:
        """A page of the calling institution's instructions."""
        caller = admit(context, PAYEES_AND_PAYERS, request.county_code)
        size = wire.page_size(request.page_size)
        after = after_of(request.page_token)
        async with self._database.transaction(caller) as session:
            found = await reports.list_instructions(
                session,
                caller,
                request.county_code,
                state=_INSTRUCTION_STATES_ASKED[request.state],
                after=after,
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.instruction_id)
        return claims_pb2.ListPaymentInstructionsResponse(
            instructions=[instruction_to_proto(instruction) for instruction in page],
            next_page_token=token,
        )

    async def ConfirmPayment(
        self, request: claims_pb2.ConfirmPaymentRequest, context: Context
    ) -> claims_pb2.ConfirmPaymentResponse:
        """Take one confirmation."""
        caller = admit(context, PAYEES_AND_PAYERS, request.county_code)
        confirmation = confirmation_from_proto(request)

        async def work(session: AsyncSession) -> claims_pb2.ConfirmPaymentResponse:
            outcomes = await payouts.confirm_payments(
                session, self._catalogue, caller, request.county_code, [confirmation]
            )
            payout = reports.seen_by(caller, only(outcomes))
            return claims_pb2.ConfirmPaymentResponse(payout=payout_to_proto(payout))

        word = Word(
            Said.CONFIRM,
            confirmation.instruction_id,
            confirmation.confirmed_fen,
            confirmation.value_date,
            confirmation.reason,
        )
        async with kept_if_refused(self._database, caller, request.county_code, word):
            answer = claims_pb2.ConfirmPaymentResponse
            return await once(self._database, caller, request, answer, work)

    async def BatchConfirmPayments(
        self, request: claims_pb2.BatchConfirmPaymentsRequest, context: Context
    ) -> claims_pb2.BatchConfirmPaymentsResponse:
        """Take many confirmations."""
        caller = admit(context, PAYEES_AND_PAYERS, request.county_code)
        confirmations = [
            confirmation_from_proto(item, f"items[{place}].")
            for place, item in enumerate(request.items)
        ]

        async def work(session: AsyncSession) -> claims_pb2.BatchConfirmPaymentsResponse:
            outcomes = await payouts.confirm_payments(
                session, self._catalogue, caller, request.county_code, confirmations
            )
            return claims_pb2.BatchConfirmPaymentsResponse(
                verdicts=wire.verdicts(outcomes, lambda payout: payout.payout_id)
            )

        return await once(
            self._database, caller, request, claims_pb2.BatchConfirmPaymentsResponse, work
        )
