"""Claims over gRPC: statements of institutions, and where they differ from ours."""

from uuid import UUID

from liandong.claims.v1 import records_pb2, records_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import Actor
from services.claims.operations import reconciliation
from services.claims.operations.reconciliation import Compared
from services.claims.rules.reconciliation import (
    Cause,
    Kind,
    Line,
    Resolution,
    Statement,
    canonical,
)
from services.claims.servicer.shared import admit
from services.claims.store import reconciliation as store
from services.claims.store.reconciliation import KeptDifference, Reconciliation
from services.kernel import wire
from services.kernel.database import Database
from services.kernel.errors import LiandongError
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.money import Fen
from services.kernel.rpc import Context
from services.programmes.loader import Catalogue

RECONCILERS = ("insurer", "bank", "mutual_aid_society", "county_centre")
RECONCILIATION_READERS = (*RECONCILERS, "finance_bureau", "auditor")

UNKNOWN = UUID(int=0)
"""Stands for an id that the operation gives."""


def _line(place: int, item: records_pb2.StatementLine) -> Line | LiandongError:
    try:
        return Line(
            line_number=item.line_number,
            record_id=canonical(item.record_id),
            amount_fen=Fen(item.amount_fen),
            value_date=wire.date_from_proto(f"items[{place}].value_date", item.value_date),
            state=item.state,
            payee_id=item.payee_id,
        )
    except LiandongError as error:
        return error


def _reconciliation_to_proto(found: Reconciliation) -> records_pb2.Reconciliation:
    statement = found.statement
    return records_pb2.Reconciliation(
        reconciliation_id=str(statement.reconciliation_id),
        county_code=statement.county_code,
        institution_id=statement.institution_id,
        kind=records_pb2.StatementKind.Value(f"STATEMENT_KIND_{statement.kind.name}"),
        reference=statement.reference,
        from_date=wire.date_to_proto(statement.from_date),
        until_date=wire.date_to_proto(statement.until_date),
        stated_lines=statement.stated_lines,
        stated_fen=statement.stated_fen,
        posted_lines=found.posted_lines,
        posted_fen=found.posted_fen,
        compared_on=wire.date_to_proto(found.compared_on),
        differences=found.differences,
        unresolved=found.unresolved,
    )


def _cause_to_proto(cause: Cause) -> "records_pb2.ReconciliationCause.ValueType":
    return records_pb2.ReconciliationCause.Value(f"RECONCILIATION_CAUSE_{cause.name}")


def _difference_to_proto(kept: KeptDifference) -> records_pb2.Difference:
    difference = kept.difference
    resolution = kept.resolution.name if kept.resolution else "UNSPECIFIED"
    return records_pb2.Difference(
        number=kept.number,
        reconciliation_id=str(kept.reconciliation_id),
        institution_id=kept.institution_id,
        record_id=difference.record_id,
        line_number=difference.line_number,
        cause=_cause_to_proto(difference.cause),
        theirs_fen=difference.theirs_fen,
        ours_fen=difference.ours_fen,
        theirs=difference.theirs,
        ours=difference.ours,
        found_on=wire.date_to_proto(kept.found_on),
        resolution=records_pb2.Resolution.Value(f"RESOLUTION_{resolution}"),
        reason=kept.reason,
        resolved_by=kept.resolved_by,
        resolved_on=wire.date_to_proto(kept.resolved_on),
    )


def _compared_to_proto(found: Compared) -> records_pb2.CompareStatementResponse:
    return records_pb2.CompareStatementResponse(
        reconciliation=_reconciliation_to_proto(found.reconciliation),
        agreeing=found.agreeing,
        causes=[
            records_pb2.CauseCount(cause=_cause_to_proto(cause), differences=found.causes[cause])
            for cause in Cause
            if cause in found.causes
        ],
        differences=[_difference_to_proto(each) for each in found.differences],
    )


class ReconciliationDoor(records_pb2_grpc.RecordsServiceServicer):
    """Statements and their differences."""

    _database: Database
    _catalogue: Catalogue

    async def StartReconciliation(
        self, request: records_pb2.StartReconciliationRequest, context: Context
    ) -> records_pb2.StartReconciliationResponse:
        """Announce a statement."""
        caller = admit(context, RECONCILERS, request.county_code)
        kind = records_pb2.StatementKind.Name(request.kind).removeprefix("STATEMENT_KIND_")
        asked = Statement(
            county_code=request.county_code,
            reconciliation_id=UNKNOWN,
            institution_id=request.institution_id,
            kind=Kind[kind],
            reference=request.reference,
            from_date=wire.date_from_proto("from_date", request.from_date),
            until_date=wire.date_from_proto("until_date", request.until_date),
            stated_lines=request.lines,
            stated_fen=request.amount_fen,
            started_by=Actor(caller.institution_id, caller.person_id),
            started_on=wire.date_from_proto("until_date", request.until_date),
        )

        async def work(session: AsyncSession) -> records_pb2.StartReconciliationResponse:
            made = await reconciliation.start(session, self._catalogue, caller, asked)
            return records_pb2.StartReconciliationResponse(reconciliation_id=str(made))

        return await once(
            self._database, caller, request, records_pb2.StartReconciliationResponse, work
        )

    async def PostStatementLines(
        self, request: records_pb2.PostStatementLinesRequest, context: Context
    ) -> records_pb2.PostStatementLinesResponse:
        """Keep lines of a statement."""
        caller = admit(context, RECONCILERS, request.county_code)
        reconciliation_id = parse_id("reconciliation_id", request.reconciliation_id)
        until_date = wire.date_from_proto("until_date", request.until_date)
        lines = [_line(place, item) for place, item in enumerate(request.items)]

        async def work(session: AsyncSession) -> records_pb2.PostStatementLinesResponse:
            outcomes = await reconciliation.post_lines(
                session,
                caller,
                request.county_code,
                reconciliation_id,
                institution_id=request.institution_id,
                until_date=until_date,
                lines=lines,
            )
            return records_pb2.PostStatementLinesResponse(
                verdicts=[
                    wire.verdict_of(place, outcome, lambda line: line.record_id)
                    for place, outcome in enumerate(outcomes)
                ]
            )

        return await once(
            self._database, caller, request, records_pb2.PostStatementLinesResponse, work
        )

    async def CompareStatement(
        self, request: records_pb2.CompareStatementRequest, context: Context
    ) -> records_pb2.CompareStatementResponse:
        """Hold a statement against ours."""
        caller = admit(context, RECONCILERS, request.county_code)
        reconciliation_id = parse_id("reconciliation_id", request.reconciliation_id)

        async def work(session: AsyncSession) -> records_pb2.CompareStatementResponse:
            found = await reconciliation.compare_statement(
                session, caller, request.county_code, reconciliation_id, dry_run=request.dry_run
            )
            return _compared_to_proto(found)

        return await once(
            self._database, caller, request, records_pb2.CompareStatementResponse, work
        )

    async def ListReconciliations(
        self, request: records_pb2.ListReconciliationsRequest, context: Context
    ) -> records_pb2.ListReconciliationsResponse:
        """A page of statements."""
        caller = admit(context, RECONCILIATION_READERS, request.county_code)
        size = wire.page_size(request.page_size)
        start = wire.page_start(request.page_token)
        async with self._database.transaction(caller) as session:
            found = await store.list_reconciliations(
                session,
                request.county_code,
                reconciliation.own(caller) or request.institution_id,
                before=parse_id("page_token", start) if start else None,
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.statement.reconciliation_id)
        return records_pb2.ListReconciliationsResponse(
            reconciliations=[_reconciliation_to_proto(each) for each in page],
            next_page_token=token,
        )

    async def ListDifferences(
        self, request: records_pb2.ListDifferencesRequest, context: Context
    ) -> records_pb2.ListDifferencesResponse:
        """A page of differences."""
        caller = admit(context, RECONCILIATION_READERS, request.county_code)
        size = wire.page_size(request.page_size)
        of = request.reconciliation_id
        cause = records_pb2.ReconciliationCause.Name(request.cause)
        async with self._database.transaction(caller) as session:
            found = await store.list_differences(
                session,
                request.county_code,
                reconciliation.own(caller),
                reconciliation_id=parse_id("reconciliation_id", of) if of else None,
                cause=Cause[cause.removeprefix("RECONCILIATION_CAUSE_")] if request.cause else None,
                unresolved=request.unresolved,
                after=wire.page_offset(request.page_token),
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.number)
        return records_pb2.ListDifferencesResponse(
            differences=[_difference_to_proto(each) for each in page],
            next_page_token=token,
        )

    async def ResolveDifference(
        self, request: records_pb2.ResolveDifferenceRequest, context: Context
    ) -> records_pb2.ResolveDifferenceResponse:
        """Say what becomes of a difference."""
        caller = admit(context, RECONCILERS, request.county_code)
        name = records_pb2.Resolution.Name(request.resolution).removeprefix("RESOLUTION_")

        async def work(session: AsyncSession) -> records_pb2.ResolveDifferenceResponse:
            kept = await reconciliation.resolve_difference(
                session,
                caller,
                request.county_code,
                request.number,
                resolution=Resolution[name],
                reason=request.reason,
            )
            return records_pb2.ResolveDifferenceResponse(difference=_difference_to_proto(kept))

        return await once(
            self._database, caller, request, records_pb2.ResolveDifferenceResponse, work
        )
