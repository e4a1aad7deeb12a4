"""Notices over gRPC: the queue, from those who fill it and to those who send."""

from collections.abc import Sequence
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from liandong.loans.v1 import notices_pb2, notices_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import wire
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.rpc import Context, caller_of
from services.loans.operations import notices
from services.loans.rules.notices import Attempt, Notice, Report, Wanted
from services.loans.servicer.lending import actor_of, require_county, scope_of
from services.loans.servicer.publications import PublicationsDoor
from services.loans.servicer.warnings import WarningsDoor
from services.loans.store import notices as notice_store
from services.loans.store.notices import Scope
from services.programmes.loader import Catalogue

_UNSENT = ("queued", "taken", "failed")


def channel_of(channel: "notices_pb2.NoticeChannel.ValueType") -> str:
    """A channel from the wire; empty for none."""
    name = notices_pb2.NoticeChannel.Name(channel).removeprefix("NOTICE_CHANNEL_").lower()
    return "" if name == "unspecified" else name


def _notice(notice: Notice) -> notices_pb2.Notice:
    leased_until = None
    if notice.leased_until is not None:
        leased_until = Timestamp()
        leased_until.FromDatetime(notice.leased_until)
    return notices_pb2.Notice(
        notice_id=str(notice.notice_id),
        kind=notice.kind,
        channel=notices_pb2.NoticeChannel.Value(f"NOTICE_CHANNEL_{notice.channel.upper()}"),
        state=notices_pb2.NoticeState.Value(f"NOTICE_STATE_{notice.state.upper()}"),
        loan_id=str(notice.loan_id or ""),
        household_id=str(notice.household_id or ""),
        sender_id=notice.sender_id,
        organ=notice.organ,
        area_code=notice.area_code,
        text=notice.text,
        queued_on=wire.date_to_proto(notice.queued_on),
        attempts=notice.attempts,
        attempts_max=notice.attempts_max,
        leased_until=leased_until,
        reason=notice.reason,
        sent_on=wire.date_to_proto(notice.sent_on),
        cause_id=notice.cause_id,
    )


def _attempt(attempt: Attempt) -> notices_pb2.NoticeAttempt:
    return notices_pb2.NoticeAttempt(
        attempt=attempt.attempt,
        institution_id=attempt.institution_id,
        result=notices_pb2.NoticeResult.Value(f"NOTICE_RESULT_{attempt.result.upper()}"),
        reason=attempt.reason,
        reference=attempt.reference,
    )


def _report(item: notices_pb2.NoticeReport) -> Report:
    result = notices_pb2.NoticeResult.Name(item.result).removeprefix("NOTICE_RESULT_").lower()
    notice_id = parse_id("notice_id", item.notice_id)
    return Report(notice_id, item.attempt, result, item.reason, item.reference)


def _states(request: notices_pb2.ListNoticesRequest) -> Sequence[str]:
    if request.state:
        return [notices_pb2.NoticeState.Name(request.state).removeprefix("NOTICE_STATE_").lower()]
    return _UNSENT if request.unsent_only else ()


def _scope(caller: Caller, county_code: str) -> Scope:
    areas, lender_id = scope_of(caller, county_code)
    return Scope(tuple(areas), lender_id)


def _id(outcome: UUID) -> UUID:
    return outcome


class NoticesServicer(WarningsDoor, PublicationsDoor, notices_pb2_grpc.NoticesServiceServicer):
    """Notices, and with them departments' warnings and publications."""

    def __init__(self, database: Database, catalogue: Catalogue) -> None:
        self._database = database
        self._catalogue = catalogue

    async def QueueNotices(
        self, request: notices_pb2.QueueNoticesRequest, context: Context
    ) -> notices_pb2.QueueNoticesResponse:
        """Put notices into the queue by hand."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        items = [
            Wanted(
                parse_id(f"items[{index}].loan_id", item.loan_id),
                item.kind,
                channel_of(item.channel),
                item.cause_id,
            )
            for index, item in enumerate(request.items)
        ]

        async def work(session: AsyncSession) -> notices_pb2.QueueNoticesResponse:
            outcomes = await notices.queue(
                session,
                request.county_code,
                items,
                actor=actor,
                may_act_in=caller.require_area,
                catalogue=self._catalogue,
            )
            return notices_pb2.QueueNoticesResponse(verdicts=wire.verdicts(outcomes, _id))

        response = notices_pb2.QueueNoticesResponse
        return await once(self._database, caller, request, response, work, money=False)

    async def TakeNotices(
        self, request: notices_pb2.TakeNoticesRequest, context: Context
    ) -> notices_pb2.TakeNoticesResponse:
        """Give a sender its next batch."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)

        async def work(session: AsyncSession) -> notices_pb2.TakeNoticesResponse:
            taken = await notices.take(
                session,
                request.county_code,
                actor=actor,
                areas=list(caller.areas) or [request.county_code],
                channels=[channel_of(channel) for channel in request.channels],
                count_max=request.count_max,
                lease_seconds=request.lease_seconds,
            )
            return notices_pb2.TakeNoticesResponse(notices=[_notice(each) for each in taken])

        response = notices_pb2.TakeNoticesResponse
        return await once(self._database, caller, request, response, work, money=False)

    async def ReportNotices(
        self, request: notices_pb2.ReportNoticesRequest, context: Context
    ) -> notices_pb2.ReportNoticesResponse:
        """Note what became of notices."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        reports = [_report(item) for item in request.items]

        async def work(session: AsyncSession) -> notices_pb2.ReportNoticesResponse:
            outcomes = await notices.report(session, request.county_code, reports, actor=actor)
            return notices_pb2.ReportNoticesResponse(verdicts=wire.verdicts(outcomes, _id))

        response = notices_pb2.ReportNoticesResponse
        return await once(self._database, caller, request, response, work, money=False)

    async def WithdrawNotices(
        self, request: notices_pb2.WithdrawNoticesRequest, context: Context
    ) -> notices_pb2.WithdrawNoticesResponse:
        """Take back notices that were not sent."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        notice_ids = [parse_id("notice_ids", each) for each in request.notice_ids]

        async def work(session: AsyncSession) -> notices_pb2.WithdrawNoticesResponse:
            outcomes = await notices.withdraw(
                session,
                request.county_code,
                notice_ids,
                reason=request.reason,
                actor=actor,
                may_act_in=caller.require_area,
            )
            return notices_pb2.WithdrawNoticesResponse(verdicts=wire.verdicts(outcomes, _id))

        response = notices_pb2.WithdrawNoticesResponse
        return await once(self._database, caller, request, response, work, money=False)

    async def ListNotices(
        self, request: notices_pb2.ListNoticesRequest, context: Context
    ) -> notices_pb2.ListNoticesResponse:
        """Notices that the caller may see."""
        caller = caller_of(context)
        require_county(caller, request.county_code)
        size, start = wire.page_size(request.page_size), wire.page_start(request.page_token)
        async with self._database.transaction(caller) as session:
            rows = await notice_store.listed(
                session,
                request.county_code,
                _scope(caller, request.county_code),
                states=_states(request),
                channel=channel_of(request.channel),
                loan_id=parse_id("loan_id", request.loan_id) if request.loan_id else None,
                after=parse_id("page_token", start) if start else None,
                limit=size + 1,
            )
        page, token = wire.page_of(rows, size, lambda row: row.notice_id)
        return notices_pb2.ListNoticesResponse(
            notices=[_notice(row) for row in page], next_page_token=token
        )

    async def GetNotice(
        self, request: notices_pb2.GetNoticeRequest, context: Context
    ) -> notices_pb2.GetNoticeResponse:
        """One notice and its attempts."""
        caller = caller_of(context)
        require_county(caller, request.county_code)
        notice_id = parse_id("notice_id", request.notice_id)
        async with self._database.transaction(caller) as session:
            notice, attempts = await notices.get(
                session, request.county_code, notice_id, _scope(caller, request.county_code)
            )
        return notices_pb2.GetNoticeResponse(
            notice=_notice(notice), attempts=[_attempt(each) for each in attempts]
        )
