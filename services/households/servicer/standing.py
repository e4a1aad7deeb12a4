"""Registration status and reconciliations over gRPC."""

from liandong.households.v1 import households_pb2, standing_pb2, standing_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.households.model import (
    DelistedLoan,
    Reconciliation,
    RegistrationStatus,
    StatusChange,
)
from services.households.operations import standing as operations
from services.households.servicer import shared
from services.kernel import wire
from services.kernel.database import Database
from services.kernel.ids import parse_id
from services.kernel.rpc import Context

_OFFICE = ("poverty_office",)
_STATUS = "REGISTRATION_STATUS"


class StandingServicer(standing_pb2_grpc.StandingServiceServicer):
    """Only the poverty office changes a status."""

    def __init__(self, db: Database) -> None:
        self._database = db

    async def ChangeStatus(
        self, request: standing_pb2.ChangeStatusRequest, context: Context
    ) -> standing_pb2.ChangeStatusResponse:
        """Change a household's registration status."""
        caller = shared.allowed(context, request.county_code, _OFFICE)
        status = shared.enum_name(households_pb2.RegistrationStatus, _STATUS, request.status)

        async def work(session: AsyncSession) -> standing_pb2.ChangeStatusResponse:
            change_id, version = await operations.change_status(
                session,
                caller,
                request.county_code,
                parse_id("household_id", request.household_id),
                status=RegistrationStatus(status),
                effective_on=shared.day("effective_on", request.effective_on),
                reason=request.reason,
                evidence=shared.evidence_of(request.evidence),
            )
            return standing_pb2.ChangeStatusResponse(change_id=str(change_id), version=version)

        answer = standing_pb2.ChangeStatusResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def ListStatusHistory(
        self, request: standing_pb2.ListStatusHistoryRequest, context: Context
    ) -> standing_pb2.ListStatusHistoryResponse:
        """Every status that a household had."""
        caller = shared.allowed(context, request.county_code)
        async with self._database.transaction(caller) as session:
            found = await operations.list_history(
                session,
                caller,
                request.county_code,
                parse_id("household_id", request.household_id),
                shared.known_by(request.as_of, request.HasField("as_of")),
            )
        return standing_pb2.ListStatusHistoryResponse(
            changes=[_change_to_proto(change) for change in found]
        )

    async def StateDelistedLoans(
        self, request: standing_pb2.StateDelistedLoansRequest, context: Context
    ) -> standing_pb2.StateDelistedLoansResponse:
        """State and sign, as a lender, what a delisted household owes."""
        caller = shared.allowed(context, request.county_code, shared.LENDER_ROLES)

        async def work(session: AsyncSession) -> standing_pb2.StateDelistedLoansResponse:
            made = await operations.state_delisted_loans(
                session,
                caller,
                request.county_code,
                parse_id("household_id", request.household_id),
                loans=[
                    DelistedLoan(parse_id("loan_id", loan.loan_id), loan.outstanding_fen)
                    for loan in request.loans
                ],
                archive_holders=list(request.archive_holders),
                evidence=shared.evidence_of(request.evidence),
            )
            return standing_pb2.StateDelistedLoansResponse(
                reconciliation_id=str(made.reconciliation_id), statement_hash=made.statement_hash
            )

        answer = standing_pb2.StateDelistedLoansResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def SignReconciliation(
        self, request: standing_pb2.SignReconciliationRequest, context: Context
    ) -> standing_pb2.SignReconciliationResponse:
        """Sign a lender's statement as the poverty office."""
        caller = shared.allowed(context, request.county_code, _OFFICE)

        async def work(session: AsyncSession) -> standing_pb2.SignReconciliationResponse:
            await operations.sign_reconciliation(
                session,
                caller,
                request.county_code,
                parse_id("reconciliation_id", request.reconciliation_id),
                statement_hash=request.statement_hash,
                evidence=shared.evidence_of(request.evidence),
            )
            return standing_pb2.SignReconciliationResponse()

        answer = standing_pb2.SignReconciliationResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def ListReconciliations(
        self, request: standing_pb2.ListReconciliationsRequest, context: Context
    ) -> standing_pb2.ListReconciliationsResponse:
        """The statements about a household."""
        caller = shared.allowed(context, request.county_code)
        async with self._database.transaction(caller) as session:
            found = await operations.list_reconciliations(
                session,
                caller,
                request.county_code,
                parse_id("household_id", request.household_id),
            )
        return standing_pb2.ListReconciliationsResponse(
            reconciliations=[_reconciliation_to_proto(each) for each in found]
        )


def _change_to_proto(change: StatusChange) -> standing_pb2.StatusChange:
    return standing_pb2.StatusChange(
        change_id=str(change.change_id),
        status=shared.enum_to_proto(households_pb2.RegistrationStatus, _STATUS, change.status),
        effective_on=wire.date_to_proto(change.effective_on),
        reason=change.reason,
        provenance=shared.provenance_to_proto(change.provenance),
        disputed=change.disputed,
    )


def _reconciliation_to_proto(each: Reconciliation) -> standing_pb2.Reconciliation:
    return standing_pb2.Reconciliation(
        reconciliation_id=str(each.reconciliation_id),
        household_id=str(each.household_id),
        lender_id=each.lender_id,
        loans=[
            standing_pb2.DelistedLoan(
                loan_id=str(loan.loan_id), outstanding_fen=loan.outstanding_fen
            )
            for loan in each.loans
        ],
        statement_hash=each.statement_hash,
        archive_holders=each.archive_holders,
        signatures=[
            standing_pb2.ReconciliationSignature(
                side=side, provenance=shared.provenance_to_proto(provenance)
            )
            for side, provenance in each.signatures.items()
        ],
    )
