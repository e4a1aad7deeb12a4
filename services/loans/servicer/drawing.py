"""Loans over gRPC: draws on limits and batches of controlled loans."""

from liandong.loans.v1 import loans_pb2, loans_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import wire
from services.kernel.database import Database
from services.kernel.errors import invalid_field
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.money import Fen
from services.kernel.rpc import Context, caller_of
from services.loans.model import Batch, BatchState
from services.loans.operations import drawing
from services.loans.operations.drawing import Draw, Signature
from services.loans.servicer.lending import actor_of, loan_to_proto, own_loan
from services.loans.store import applications as store
from services.programmes.loader import Catalogue
from services.programmes.schema.loans import DrawNeed
from services.programmes.schema.values import Organ


def _batch_to_proto(batch: Batch) -> loans_pb2.Batch:
    return loans_pb2.Batch(
        number=batch.number,
        amount_fen=batch.amount_fen,
        purpose=batch.purpose,
        evidence=batch.evidence,
        supplier=batch.supplier,
        paid=batch.state is BatchState.PAID,
        county_approved_by=batch.county_approved_by,
        progress_signed_by=batch.progress_signed_by,
        signed_for=[organ for organ, _ in batch.signed],
        paid_on=wire.date_to_proto(batch.paid_on),
    )


def _party(name: str) -> Organ | None:
    if not name:
        return None
    if name not in set(Organ):
        raise invalid_field("UNKNOWN_PARTY", "party", name, "must be an organ of the programmes")
    return Organ(name)


class DrawingDoor(loans_pb2_grpc.LoansServiceServicer):
    """Money that goes out in parts."""

    _database: Database
    _catalogue: Catalogue

    async def DrawOnLimit(
        self, request: loans_pb2.DrawOnLimitRequest, context: Context
    ) -> loans_pb2.DrawOnLimitResponse:
        """Draw on a limit."""
        caller = caller_of(context)
        actor = actor_of(caller)
        draw = Draw(
            parse_id("loan_id", request.loan_id),
            Fen(request.amount_fen),
            request.channel or "counter",
            request.identity_proof,
        )

        async def work(session: AsyncSession) -> loans_pb2.DrawOnLimitResponse:
            loan = await drawing.draw_on_limit(
                session, request.county_code, draw, actor, self._catalogue
            )
            return loans_pb2.DrawOnLimitResponse(loan=loan_to_proto(loan))

        return await once(self._database, caller, request, loans_pb2.DrawOnLimitResponse, work)

    async def RequestBatch(
        self, request: loans_pb2.RequestBatchRequest, context: Context
    ) -> loans_pb2.RequestBatchResponse:
        """Ask for a batch."""
        caller = caller_of(context)
        actor = actor_of(caller)

        async def work(session: AsyncSession) -> loans_pb2.RequestBatchResponse:
            batch = await drawing.request_batch(
                session,
                request.county_code,
                drawing.new_batch(
                    parse_id("loan_id", request.loan_id),
                    Fen(request.amount_fen),
                    purpose=request.purpose,
                    evidence=request.evidence,
                    supplier=request.supplier,
                ),
                actor,
                catalogue=self._catalogue,
                may_act_in=caller.require_area,
            )
            return loans_pb2.RequestBatchResponse(batch=_batch_to_proto(batch))

        return await once(self._database, caller, request, loans_pb2.RequestBatchResponse, work)

    async def SignBatch(
        self, request: loans_pb2.SignBatchRequest, context: Context
    ) -> loans_pb2.SignBatchResponse:
        """Sign a batch."""
        caller = caller_of(context)
        actor = actor_of(caller)
        kind = loans_pb2.SignatureKind.Name(request.kind).removeprefix("SIGNATURE_KIND_")
        signature = Signature(
            parse_id("loan_id", request.loan_id),
            request.number,
            DrawNeed(kind.lower()),
            _party(request.party),
            request.evidence,
        )

        async def work(session: AsyncSession) -> loans_pb2.SignBatchResponse:
            batch = await drawing.sign_batch(
                session,
                request.county_code,
                signature,
                actor,
                catalogue=self._catalogue,
                may_act_in=caller.require_area,
            )
            return loans_pb2.SignBatchResponse(batch=_batch_to_proto(batch))

        return await once(self._database, caller, request, loans_pb2.SignBatchResponse, work)

    async def PayBatch(
        self, request: loans_pb2.PayBatchRequest, context: Context
    ) -> loans_pb2.PayBatchResponse:
        """Pay a batch."""
        caller = caller_of(context)
        actor = actor_of(caller)

        async def work(session: AsyncSession) -> loans_pb2.PayBatchResponse:
            loan, batch = await drawing.pay_batch(
                session,
                request.county_code,
                parse_id("loan_id", request.loan_id),
                request.number,
                payment_evidence=request.payment_evidence,
                actor=actor,
                catalogue=self._catalogue,
            )
            return loans_pb2.PayBatchResponse(
                loan=loan_to_proto(loan), batch=_batch_to_proto(batch)
            )

        return await once(self._database, caller, request, loans_pb2.PayBatchResponse, work)

    async def ListBatches(
        self, request: loans_pb2.ListBatchesRequest, context: Context
    ) -> loans_pb2.ListBatchesResponse:
        """The batches of a loan."""
        caller = caller_of(context)
        async with self._database.transaction(caller) as session:
            loan = await own_loan(session, request.county_code, request.loan_id, caller)
            batches = await store.batches_of(session, loan.county_code, loan.loan_id)
        return loans_pb2.ListBatchesResponse(batches=[_batch_to_proto(each) for each in batches])

    async def GiveUpUndrawn(
        self, request: loans_pb2.GiveUpUndrawnRequest, context: Context
    ) -> loans_pb2.GiveUpUndrawnResponse:
        """Pay out no more."""
        caller = caller_of(context)
        actor = actor_of(caller)

        async def work(session: AsyncSession) -> loans_pb2.GiveUpUndrawnResponse:
            loan = await drawing.give_up_undrawn(
                session,
                request.county_code,
                parse_id("loan_id", request.loan_id),
                actor,
                self._catalogue,
            )
            return loans_pb2.GiveUpUndrawnResponse(loan=loan_to_proto(loan))

        return await once(self._database, caller, request, loans_pb2.GiveUpUndrawnResponse, work)
