"""Notices over gRPC: warnings of departments."""

from liandong.loans.v1 import notices_pb2, notices_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import ids, wire
from services.kernel.database import Database
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.rpc import Context, caller_of
from services.loans.operations import warnings
from services.loans.rules.warnings import DepartmentWarning
from services.loans.servicer.lending import actor_of, require_county, scope_of
from services.loans.store import warnings as warning_store
from services.programmes.loader import Catalogue


def _warning(warning: DepartmentWarning) -> notices_pb2.DepartmentWarning:
    return notices_pb2.DepartmentWarning(
        warning_id=str(warning.warning_id),
        kind=notices_pb2.WarningKind.Value(f"WARNING_KIND_{warning.kind.upper()}"),
        risk=warning.risk,
        institution_id=warning.institution_id,
        department=warning.department,
        area_codes=warning.area_codes,
        industries=warning.industries,
        project_ids=warning.project_ids,
        advice=warning.advice,
        starts_on=wire.date_to_proto(warning.starts_on),
        ends_on=wire.date_to_proto(warning.ends_on),
        received_on=wire.date_to_proto(warning.received_on),
        loans=warning.loans,
        households=warning.households,
        spread=warning.spread,
        withdrawn_on=wire.date_to_proto(warning.withdrawn_on),
    )


def _channel(channel: "notices_pb2.NoticeChannel.ValueType") -> str:
    return notices_pb2.NoticeChannel.Name(channel).removeprefix("NOTICE_CHANNEL_").lower()


class WarningsDoor(notices_pb2_grpc.NoticesServiceServicer):
    """What departments see coming."""

    _database: Database
    _catalogue: Catalogue

    async def ReceiveWarning(
        self, request: notices_pb2.ReceiveWarningRequest, context: Context
    ) -> notices_pb2.ReceiveWarningResponse:
        """Take a warning down and let it reach its loans; asked again, it goes on with that."""
        caller = caller_of(context)
        actor = actor_of(caller)
        county = request.county_code
        require_county(caller, county)
        for area in request.area_codes:
            caller.require_area(area)
        starts_on = wire.date_from_proto("starts_on", request.starts_on)
        warning = DepartmentWarning(
            warning_id=ids.new_id(),
            kind=notices_pb2.WarningKind.Name(request.kind).removeprefix("WARNING_KIND_").lower(),
            risk=request.risk,
            institution_id=actor.institution_id,
            person_id=actor.person_id,
            department=request.department,
            area_codes=tuple(request.area_codes),
            industries=tuple(request.industries),
            project_ids=tuple(request.project_ids),
            advice=request.advice,
            channels=tuple(_channel(channel) for channel in request.channels),
            starts_on=starts_on,
            ends_on=wire.date_from_proto("ends_on", request.ends_on),
            received_on=starts_on,
            version=1,
        )

        async def work(session: AsyncSession) -> notices_pb2.ReceiveWarningResponse:
            received = await warnings.receive(
                session, county, warning, actor=actor, catalogue=self._catalogue
            )
            return notices_pb2.ReceiveWarningResponse(warning=_warning(received))

        answer = await once(
            self._database,
            caller,
            request,
            notices_pb2.ReceiveWarningResponse,
            work,
            money=False,
        )
        warning_id = parse_id("warning_id", answer.warning.warning_id)
        reached = await warnings.spread(self._database, county, warning_id, self._catalogue)
        return notices_pb2.ReceiveWarningResponse(warning=_warning(reached))

    async def WithdrawWarning(
        self, request: notices_pb2.WithdrawWarningRequest, context: Context
    ) -> notices_pb2.WithdrawWarningResponse:
        """Take a warning back."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        warning_id = parse_id("warning_id", request.warning_id)

        async def work(session: AsyncSession) -> notices_pb2.WithdrawWarningResponse:
            now = await warnings.withdraw(
                session, request.county_code, warning_id, reason=request.reason, actor=actor
            )
            return notices_pb2.WithdrawWarningResponse(warning=_warning(now))

        response = notices_pb2.WithdrawWarningResponse
        return await once(self._database, caller, request, response, work, money=False)

    async def ListWarnings(
        self, request: notices_pb2.ListWarningsRequest, context: Context
    ) -> notices_pb2.ListWarningsResponse:
        """Warnings that the caller may see."""
        caller = caller_of(context)
        require_county(caller, request.county_code)
        size, start = wire.page_size(request.page_size), wire.page_start(request.page_token)
        _, lender_id = scope_of(caller, request.county_code)
        async with self._database.transaction(caller) as session:
            rows = await warning_store.listed(
                session,
                request.county_code,
                lender_id=lender_id,
                after=parse_id("page_token", start) if start else None,
                limit=size + 1,
            )
        page, token = wire.page_of(rows, size, lambda row: row.warning_id)
        return notices_pb2.ListWarningsResponse(
            warnings=[_warning(row) for row in page], next_page_token=token
        )
