"""Loans over gRPC: lists of lenders and national systems, and where they differ from ours."""

from collections.abc import AsyncIterator
from typing import Any

from liandong.loans.v1 import records_pb2 as pb
from liandong.loans.v1 import records_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import business_day, statement_wire, wire
from services.kernel.caller import Caller, require_role
from services.kernel.database import Database
from services.kernel.errors import Denied, LiandongError
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.rpc import Context, caller_of
from services.kernel.statements import Kind, Line
from services.loans.operations import records
from services.loans.servicer.lending import require_county
from services.loans.store import records as shelves
from services.programmes.loader import Catalogue

BRINGERS = (*sorted(records.LENDER_ROLES), "poverty_office", "county_centre")
READERS = (*BRINGERS, "finance_bureau", "auditor")

_NUMBERS = ("principal_fen", "interest_fen", "rate_ppm", "term_months", "overdue_days")
_WORDS = ("area_code", "product_id", "purpose", "state", "five_tier_class")
_DAYS = ("disbursed_on", "matures_on")


def _admit(context: Context, roles: tuple[str, ...], county_code: str) -> Caller:
    caller = caller_of(context)
    require_role(caller, roles)
    require_county(caller, county_code)
    return caller


def _line(item: Any, path: str, institution_id: str, *, lender: bool) -> Line:
    """A line; in a lender's own list the lender needs not be said."""
    cells = {
        "lender_id": item.lender_id or (institution_id if lender else ""),
        "outstanding_fen": str(item.outstanding_fen),
    }
    if item.household_id:
        cells["household_id"] = str(parse_id(f"{path}household_id", item.household_id))
    cells |= {name: value for name in _WORDS if (value := getattr(item, name))}
    cells |= {name: str(getattr(item, name)) for name in _NUMBERS if item.HasField(name)}
    for name in _DAYS:
        if item.HasField(name):
            cells[name] = statement_wire.day_cell(f"{path}{name}", getattr(item, name))
    if item.HasField("subsidised"):
        cells["subsidised"] = "yes" if item.subsidised else "no"
    return Line(
        line_number=item.line_number,
        record_id=statement_wire.canonical(item.record_id),
        amount=item.outstanding_fen,
        cells=cells,
    )


def _lines(request: pb.PostLoanLinesRequest, *, lender: bool) -> list[Line | LiandongError]:
    found: list[Line | LiandongError] = []
    for place, item in enumerate(request.items):
        try:
            found.append(_line(item, f"items[{place}].", request.institution_id, lender=lender))
        except LiandongError as error:
            found.append(error)
    return found


class LoanRecordsServicer(records_pb2_grpc.LoanRecordsServiceServicer):
    """The methods of LoanRecordsService."""

    def __init__(self, database: Database, catalogue: Catalogue) -> None:
        self._database = database
        self._catalogue = catalogue
        self._desk = records.desk(catalogue)

    async def StartLoanReconciliation(
        self, request: pb.StartLoanReconciliationRequest, context: Context
    ) -> pb.StartLoanReconciliationResponse:
        """Announce a list."""
        heading = request.heading
        caller = _admit(context, BRINGERS, heading.county_code)
        kind = records.kind_of(self._catalogue, caller, heading.institution_id)
        asked = statement_wire.asked(heading, caller, kind)

        async def work(session: AsyncSession) -> pb.StartLoanReconciliationResponse:
            made = await self._desk.start(session, caller, asked)
            return pb.StartLoanReconciliationResponse(reconciliation_id=str(made))

        return await once(self._database, caller, request, pb.StartLoanReconciliationResponse, work)

    async def PostLoanLines(
        self, request_iterator: AsyncIterator[pb.PostLoanLinesRequest], context: Context
    ) -> AsyncIterator[pb.PostLoanLinesResponse]:
        """Keep the lines of a list, a chunk at a time."""
        caller = caller_of(context)
        require_role(caller, BRINGERS)
        async for request in request_iterator:
            require_county(caller, request.county_code)
            yield await self._post(caller, request)

    async def _post(
        self, caller: Caller, request: pb.PostLoanLinesRequest
    ) -> pb.PostLoanLinesResponse:
        of = parse_id("reconciliation_id", request.reconciliation_id)
        as_of = statement_wire.file_day(request.as_of)
        kind = records.kind_of(self._catalogue, caller, request.institution_id)
        lines = _lines(request, lender=kind is Kind.OWN)

        async def work(session: AsyncSession) -> pb.PostLoanLinesResponse:
            outcomes = await self._desk.post_lines(
                session,
                caller,
                request.county_code,
                of,
                institution_id=request.institution_id,
                as_of=as_of,
                lines=lines,
            )
            return pb.PostLoanLinesResponse(
                request_id=request.request_id,
                verdicts=wire.verdicts(outcomes, statement_wire.verdict_id),
            )

        return await once(self._database, caller, request, pb.PostLoanLinesResponse, work)

    async def CompareLoanStatement(
        self, request: pb.CompareLoanStatementRequest, context: Context
    ) -> pb.CompareLoanStatementResponse:
        """Hold a list against our loans."""
        caller = _admit(context, BRINGERS, request.county_code)
        of = parse_id("reconciliation_id", request.reconciliation_id)

        async def work(session: AsyncSession) -> pb.CompareLoanStatementResponse:
            found = await self._desk.compare(
                session, caller, request.county_code, of, dry_run=request.dry_run
            )
            return pb.CompareLoanStatementResponse(
                comparison=statement_wire.comparison_to_proto(found)
            )

        return await once(self._database, caller, request, pb.CompareLoanStatementResponse, work)

    async def ListLoanReconciliations(
        self, request: pb.ListLoanReconciliationsRequest, context: Context
    ) -> pb.ListLoanReconciliationsResponse:
        """A page of lists."""
        caller = _admit(context, READERS, request.county_code)
        async with self._database.transaction(caller) as session:
            page, token = await statement_wire.page_of_statements(
                session,
                self._desk,
                caller,
                request.county_code,
                request.institution_id,
                page_size=request.page_size,
                page_token=request.page_token,
            )
        return pb.ListLoanReconciliationsResponse(statements=page, next_page_token=token)

    async def ListLoanDifferences(
        self, request: pb.ListLoanDifferencesRequest, context: Context
    ) -> pb.ListLoanDifferencesResponse:
        """A page of differences."""
        caller = _admit(context, READERS, request.filter.county_code)
        async with self._database.transaction(caller) as session:
            page, token = await statement_wire.page_of_differences(
                session, self._desk, caller, request.filter
            )
        return pb.ListLoanDifferencesResponse(differences=page, next_page_token=token)

    async def ResolveLoanDifference(
        self, request: pb.ResolveLoanDifferenceRequest, context: Context
    ) -> pb.ResolveLoanDifferenceResponse:
        """Say what becomes of a difference."""
        caller = _admit(context, BRINGERS, request.word.county_code)

        async def work(session: AsyncSession) -> pb.ResolveLoanDifferenceResponse:
            said = await statement_wire.say_word(session, self._desk, caller, request.word)
            return pb.ResolveLoanDifferenceResponse(difference=said)

        return await once(self._database, caller, request, pb.ResolveLoanDifferenceResponse, work)

    async def ConfirmLoanResolution(
        self, request: pb.ConfirmLoanResolutionRequest, context: Context
    ) -> pb.ConfirmLoanResolutionResponse:
        """Agree to what a first person said, or not."""
        caller = _admit(context, BRINGERS, request.agreement.county_code)

        async def work(session: AsyncSession) -> pb.ConfirmLoanResolutionResponse:
            said = await statement_wire.say_agreement(
                session, self._desk, caller, request.agreement
            )
            return pb.ConfirmLoanResolutionResponse(difference=said)

        return await once(self._database, caller, request, pb.ConfirmLoanResolutionResponse, work)

    async def ListDueReconciliations(
        self, request: pb.ListDueReconciliationsRequest, context: Context
    ) -> pb.ListDueReconciliationsResponse:
        """Days of which lists are due."""
        caller = _admit(context, READERS, request.county_code)
        own = self._desk.own(caller)
        if own and request.lender_id not in ("", own):
            raise Denied("NOT_THE_LENDER", "a lender sees its own", message_zh="非承贷机构")
        size = wire.page_size(request.page_size)
        start = wire.page_offset(request.page_token)
        async with self._database.transaction(caller) as session:
            today = await business_day.today(session, request.county_code)
            found = await shelves.list_due(
                session,
                request.county_code,
                own or request.lender_id,
                today=today,
                overdue=request.overdue,
                start=start,
                limit=size + 1,
            )
        page, token = wire.page_from(found, start, size)
        return pb.ListDueReconciliationsResponse(
            due=[
                pb.DueReconciliation(
                    lender_id=each.lender_id,
                    as_of=wire.date_to_proto(each.as_of),
                    reconciliation_id=str(each.statement_id or ""),
                    overdue=each.statement_id is None and each.as_of < today,
                    days_overdue=0 if each.statement_id else (today - each.as_of).days,
                )
                for each in page
            ],
            next_page_token=token,
        )
