"""The operator's surface, written once and served by every service."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from liandong.common.v1 import operator_pb2, operator_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import (
    business_day,
    database,
    idempotency,
    inbox,
    journal,
    metrics,
    outbox,
    parked,
    walls,
    wire,
)
from services.kernel.away import is_away
from services.kernel.caller import require_role
from services.kernel.database import Database
from services.kernel.errors import LiandongError, Refused
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.inbox import Handlers
from services.kernel.parked import ParkedEvent
from services.kernel.pause_desk import Pausable, PauseDesk
from services.kernel.rpc import Context, caller_of

SEAL_SECONDS = 60.0
REPLAY_EVENTS_MAX = 500

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Books:
    """What a service hands to the operator's surface: its totals and what a day close does."""

    totals: Callable[[AsyncSession, str], Awaitable[Mapping[str, int]]]
    """County code to control totals by name."""
    close_day: Callable[[AsyncSession, str, date], Awaitable[None]]
    """Do what the end of the given day asks for; the day after it is the next one."""
    work_day: Callable[[Database, str, date], Awaitable[None]] | None = None
    """
    What the end of a day asks of very many rows, done before it is closed: in steps that commit one
    by one, so that commands go on. It takes up where it stopped, and does nothing twice.
    """


class OperatorServicer(PauseDesk, operator_pb2_grpc.OperatorServiceServicer):
    """Control totals, business days, parked events, publishing again, pauses."""

    def __init__(
        self, db: Database, books: Books, handlers: Handlers, pausable: Pausable | None = None
    ) -> None:
        self._database = db
        self._pausable = pausable or {}
        self._books = books
        self._handlers = handlers
        self._closing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def GetTotals(
        self, request: operator_pb2.GetTotalsRequest, context: Context
    ) -> operator_pb2.GetTotalsResponse:
        """The figures of one county, read at one moment."""
        require_role(caller_of(context), ("operator", "auditor"))
        # The log's positions and what was heard are the service's, not a county's.
        async with self._database.transaction(walls.EVERY_COUNTY, snapshot=True) as session:
            totals = {}
            if not request.positions_only:
                totals = dict(await self._books.totals(session, request.county_code))
                balances = await journal.balances(session, request.county_code)
                totals |= {f"journal.{name}_fen": value for name, value in balances.items()}
            position = await database.fetch(
                session,
                # The log has no index by position alone: it is read once for both.
                """SELECT coalesce(max(position), 0) AS last, count(*) AS events,
                          (SELECT count(*) FROM outbox WHERE stream_sequence IS NULL) AS waiting,
                          (SELECT count(*) FROM parked_event WHERE state = 'parked') AS parked
                   FROM outbox""",
            )
            heard = await database.fetch(
                session, "SELECT noun, events FROM inbox_count ORDER BY noun"
            )
            day = await database.fetch(
                session,
                "SELECT business_date FROM business_day WHERE county_code = $1",
                request.county_code,
            )
        return operator_pb2.GetTotalsResponse(
            totals=[operator_pb2.Total(name=n, value=v) for n, v in sorted(totals.items())],
            event_position=position[0]["last"],
            events=position[0]["events"],
            unpublished_events=position[0]["waiting"],
            parked_events=position[0]["parked"],
            business_date=wire.date_to_proto(day[0]["business_date"]) if day else None,
            heard=[operator_pb2.Heard(noun=r["noun"], events=r["events"]) for r in heard],
        )

    async def AdvanceDay(
        self, request: operator_pb2.AdvanceDayRequest, context: Context
    ) -> operator_pb2.AdvanceDayResponse:
        """
        Close days in order, each for itself; the first call opens a county.

        A call that was cut off leaves the days it closed closed; the next one goes on from there.
        """
        caller = caller_of(context)
        require_role(caller, ("operator",))
        target = wire.date_from_proto("business_date", request.business_date)
        answer_type = operator_pb2.AdvanceDayResponse
        # One at a time in a county; counties side by side. Other processes wait for rows.
        async with self._closing[request.county_code]:
            stored = await idempotency.answered(self._database, caller, request, answer_type)
            if stored is not None:
                return stored
            closed = await self._advance(request.county_code, target)

            async def work(_session: AsyncSession) -> operator_pb2.AdvanceDayResponse:
                return answer_type(business_date=wire.date_to_proto(target), days_closed=closed)

            return await once(self._database, caller, request, answer_type, work)

    async def _advance(self, county_code: str, target: date) -> int:
        async def begin(session: AsyncSession) -> date:
            found = await business_day.find(session, county_code)
            if found is None:
                await business_day.open_day(session, county_code, target)
            return found or target

        current = await self._database.work(begin)
        if target < current:
            raise Refused(
                "DAY_GOES_BACK",
                f"the business date is {current}, {target} is before it",
                message_zh="营业日不能倒退",
            )
        days = (target - current).days
        if days > business_day.DAYS_MAX:
            raise Refused("TOO_MANY_DAYS", f"{days} days, at most {business_day.DAYS_MAX} a call")
        for ahead in range(days):
            await self._close(county_code, current + timedelta(days=ahead))
        return days

    async def _close(self, county_code: str, day: date) -> None:
        if self._books.work_day is not None:
            with metrics.job(self._database.schema, "work_day"):
                await self._books.work_day(self._database, county_code, day)

        async def close(session: AsyncSession) -> None:
            # Another process may have closed it meanwhile.
            if await business_day.find(session, county_code) == day:
                await self._books.close_day(session, county_code, day)
                await business_day.open_day(session, county_code, day + timedelta(days=1))

        with metrics.job(self._database.schema, "close_day"):
            await self._database.work(close)

    async def ListParkedEvents(
        self, request: operator_pb2.ListParkedEventsRequest, context: Context
    ) -> operator_pb2.ListParkedEventsResponse:
        """What waits for a person."""
        caller = caller_of(context)
        require_role(caller, ("operator", "auditor"))
        size = wire.page_size(request.page_size)
        start = wire.page_offset(request.page_token)
        async with self._database.transaction(caller) as session:
            found = await parked.waiting(
                session, county_code=request.county_code, limit=start + size + 1
            )
        page = found[start : start + size]
        more = len(found) > start + size
        return operator_pb2.ListParkedEventsResponse(
            events=[_to_proto(event) for event in page],
            next_page_token=wire.page_token(str(start + size)) if more else "",
        )

    async def ReplayParkedEvents(
        self, request: operator_pb2.ReplayParkedEventsRequest, context: Context
    ) -> operator_pb2.ReplayParkedEventsResponse:
        """Run parked events again, aggregate by aggregate, each event in its own transaction."""
        caller = caller_of(context)
        require_role(caller, ("operator",))
        async with self._database.transaction(caller) as session:
            waiting = await parked.waiting(
                session, aggregate_id=request.aggregate_id, limit=REPLAY_EVENTS_MAX
            )
        stuck: set[tuple[str, str]] = set()
        applied = 0
        for event in waiting:
            if event.envelope.aggregate in stuck:
                continue
            if await self._replay(event):
                applied += 1
            else:
                stuck.add(event.envelope.aggregate)
        return operator_pb2.ReplayParkedEventsResponse(
            applied=applied, parked=len(waiting) - applied
        )

    async def _replay(self, event: ParkedEvent) -> bool:
        try:
            async with self._database.transaction(walls.EVERY_COUNTY) as session:
                await inbox.lock(session)
                await parked.run_again(session, event, self._handlers)
        except Exception as error:
            if is_away(error) or isinstance(error, asyncio.CancelledError):
                raise
            reason = error.reason if isinstance(error, LiandongError) else type(error).__name__
            log.warning("replay_fails", event_id=str(event.envelope.event_id), reason=reason)
            return False
        return True

    async def DropParkedEvent(
        self, request: operator_pb2.DropParkedEventRequest, context: Context
    ) -> operator_pb2.DropParkedEventResponse:
        """Give up one event, with two persons and a reason."""
        caller = caller_of(context)
        require_role(caller, ("operator",))
        person_id = caller.require_person()

        async def work(session: AsyncSession) -> operator_pb2.DropParkedEventResponse:
            event_id = parse_id("event_id", request.event_id)
            dropped = await parked.drop(session, event_id, person_id)
            log.warning(
                "parked_event_drop",
                event_id=request.event_id,
                person=person_id,
                reason=request.reason,
                dropped=dropped,
            )
            return operator_pb2.DropParkedEventResponse(dropped=dropped)

        return await once(
            self._database, caller, request, operator_pb2.DropParkedEventResponse, work
        )

    async def RepublishEvents(
        self, request: operator_pb2.RepublishEventsRequest, context: Context
    ) -> operator_pb2.RepublishEventsResponse:
        """Send a range of the event log out again."""
        caller = caller_of(context)
        require_role(caller, ("operator",))

        async def work(session: AsyncSession) -> operator_pb2.RepublishEventsResponse:
            events = await outbox.republish_range(
                session, request.from_position, request.to_position
            )
            return operator_pb2.RepublishEventsResponse(events=events)

        return await once(
            self._database, caller, request, operator_pb2.RepublishEventsResponse, work, money=False
        )


def _to_proto(event: ParkedEvent) -> operator_pb2.ParkedEvent:
    envelope = event.envelope
    when = Timestamp()
    when.FromDatetime(event.parked_at)
    return operator_pb2.ParkedEvent(
        event_id=str(envelope.event_id),
        event_type=envelope.event_type,
        aggregate_id=envelope.aggregate_id,
        aggregate_type=envelope.aggregate_type,
        sequence=envelope.sequence,
        county_code=envelope.county_code,
        reason=event.reason,
        attempts=event.attempts,
        parked_time=when,
        drop_proposed_by=event.drop_proposed_by,
    )


async def keep_house(db: Database) -> None:
    """Once a minute: seal the journal, forget answers past their retention."""
    while True:
        await asyncio.sleep(SEAL_SECONDS)
        try:
            with metrics.job(db.schema, "keep_house"):
                async with db.transaction(walls.EVERY_COUNTY) as session:
                    await journal.seal(session)
                    await idempotency.forget_old(session)
        except Exception as error:
            if not is_away(error):
                raise
            log.warning("housekeeping_waits", schema=db.schema)
