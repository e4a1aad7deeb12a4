"""A national system's list of households over gRPC, and where it differs from the registry."""

from collections.abc import AsyncIterator

from liandong.households.v1 import records_pb2 as pb
from liandong.households.v1 import records_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.households.operations import records
from services.households.operations.shared import Keys, require_county
from services.households.rules.records import MEMBERS
from services.households.servicer import shared
from services.kernel import statement_wire, wire
from services.kernel.caller import Caller, require_role
from services.kernel.database import Database
from services.kernel.errors import LiandongError
from services.kernel.ids import parse_id
from services.kernel.rpc import Context, caller_of
from services.kernel.statements import Kind, Line

REGISTRARS = ("poverty_office", "county_centre")
READERS = (*REGISTRARS, "auditor")


class HouseholdRecordsServicer(records_pb2_grpc.HouseholdRecordsServiceServicer):
    """The methods of HouseholdRecordsService."""

    def __init__(self, db: Database, keys: Keys) -> None:
        self._database = db
        self._keys = keys
        self._desk = records.desk()

    async def StartHouseholdReconciliation(
        self, request: pb.StartHouseholdReconciliationRequest, context: Context
    ) -> pb.StartHouseholdReconciliationResponse:
        """Announce a list."""
        caller = shared.allowed(context, request.heading.county_code, REGISTRARS)
        asked = statement_wire.asked(request.heading, caller, Kind.NATIONAL)

        async def work(session: AsyncSession) -> pb.StartHouseholdReconciliationResponse:
            made = await self._desk.start(session, caller, asked)
            return pb.StartHouseholdReconciliationResponse(reconciliation_id=str(made))

        answer = pb.StartHouseholdReconciliationResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def PostHouseholdLines(
        self, request_iterator: AsyncIterator[pb.PostHouseholdLinesRequest], context: Context
    ) -> AsyncIterator[pb.PostHouseholdLinesResponse]:
        """Keep the lines of a list, a chunk at a time."""
        caller = caller_of(context)
        require_role(caller, REGISTRARS)
        async for request in request_iterator:
            require_county(caller, request.county_code)
            yield await self._post(caller, request)

    async def _post(
        self, caller: Caller, request: pb.PostHouseholdLinesRequest
    ) -> pb.PostHouseholdLinesResponse:
        of = parse_id("reconciliation_id", request.reconciliation_id)
        as_of = statement_wire.file_day(request.as_of)
        lines: list[Line | LiandongError] = []
        for place, item in enumerate(request.items):
            try:
                lines.append(self._line(item, f"items[{place}].", request.county_code))
            except LiandongError as error:
                lines.append(error)

        async def work(session: AsyncSession) -> pb.PostHouseholdLinesResponse:
            outcomes = await self._desk.post_lines(
                session,
                caller,
                request.county_code,
                of,
                institution_id=request.institution_id,
                as_of=as_of,
                lines=lines,
            )
            return pb.PostHouseholdLinesResponse(
                request_id=request.request_id,
                verdicts=wire.verdicts(outcomes, statement_wire.verdict_id),
            )

        answer = pb.PostHouseholdLinesResponse
        return await shared.command(self._database, caller, request, answer, work)

    def _line(self, item: pb.ListedHousehold, path: str, county_code: str) -> Line:
        """A line; identity numbers go no further than here."""

        def key(number: str) -> str:
            return self._keys.finder.find_key(county_code, number.strip().upper()).hex()

        number = item.household_number.strip()
        cells = {"number": number}
        cells |= {
            name: value
            for name in ("area_code", "status", "honour")
            if (value := getattr(item, name))
        }
        if item.head_identity_number:
            cells["head"] = key(item.head_identity_number)
        if item.member_identity_numbers:
            cells[MEMBERS] = ",".join(key(each) for each in item.member_identity_numbers)
        if item.people:
            cells["people"] = str(item.people)
        if item.HasField("registered_on"):
            cells["registered_on"] = statement_wire.day_cell(
                f"{path}registered_on", item.registered_on
            )
        return Line(item.line_number, number, item.people, cells)

    async def CompareHouseholdStatement(
        self, request: pb.CompareHouseholdStatementRequest, context: Context
    ) -> pb.CompareHouseholdStatementResponse:
        """Hold a list against the registry."""
        caller = shared.allowed(context, request.county_code, REGISTRARS)
        of = parse_id("reconciliation_id", request.reconciliation_id)

        async def work(session: AsyncSession) -> pb.CompareHouseholdStatementResponse:
            found = await self._desk.compare(
                session, caller, request.county_code, of, dry_run=request.dry_run
            )
            return pb.CompareHouseholdStatementResponse(
                comparison=statement_wire.comparison_to_proto(found)
            )

        answer = pb.CompareHouseholdStatementResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def ListHouseholdReconciliations(
        self, request: pb.ListHouseholdReconciliationsRequest, context: Context
    ) -> pb.ListHouseholdReconciliationsResponse:
        """A page of lists."""
        caller = shared.allowed(context, request.county_code, READERS)
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
        return pb.ListHouseholdReconciliationsResponse(statements=page, next_page_token=token)

    async def ListHouseholdDifferences(
        self, request: pb.ListHouseholdDifferencesRequest, context: Context
    ) -> pb.ListHouseholdDifferencesResponse:
        """A page of differences."""
        caller = shared.allowed(context, request.filter.county_code, READERS)
        async with self._database.transaction(caller) as session:
            page, token = await statement_wire.page_of_differences(
                session, self._desk, caller, request.filter
            )
        return pb.ListHouseholdDifferencesResponse(differences=page, next_page_token=token)

    async def ResolveHouseholdDifference(
        self, request: pb.ResolveHouseholdDifferenceRequest, context: Context
    ) -> pb.ResolveHouseholdDifferenceResponse:
        """Say what becomes of a difference."""
        caller = shared.allowed(context, request.word.county_code, REGISTRARS)

        async def work(session: AsyncSession) -> pb.ResolveHouseholdDifferenceResponse:
            said = await statement_wire.say_word(session, self._desk, caller, request.word)
            return pb.ResolveHouseholdDifferenceResponse(difference=said)

        answer = pb.ResolveHouseholdDifferenceResponse
        return await shared.command(self._database, caller, request, answer, work)
