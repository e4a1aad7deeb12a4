"""The pauses' part of the operator's surface: asked by one person, decided by another."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

import structlog
from asyncpg import Record
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from liandong.common.v1 import operator_pb2 as pb
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database, ids, pauses, wire
from services.kernel.caller import Caller, require_role
from services.kernel.database import Database
from services.kernel.errors import Denied, invalid_field
from services.kernel.idempotency import once
from services.kernel.rpc import Context, caller_of
from services.kernel.walls import ABOVE_COUNTIES

KINDS: Mapping[int, str] = {
    pb.PAUSE_KIND_INSTITUTION: pauses.INSTITUTION,
    pb.PAUSE_KIND_FEED: pauses.FEED,
    pb.PAUSE_KIND_CONSUMER: pauses.CONSUMER,
    pb.PAUSE_KIND_PRODUCT: pauses.PRODUCT,
}
_KINDS_BACK = {name: number for number, name in KINDS.items()}
_STATES = {
    pauses.PROPOSED: pb.PAUSE_STATE_PROPOSED,
    pauses.PAUSED: pb.PAUSE_STATE_PAUSED,
    pauses.RESUME_PROPOSED: pb.PAUSE_STATE_RESUME_PROPOSED,
    pauses.RESUMED: pb.PAUSE_STATE_RESUMED,
    pauses.EXPIRED: pb.PAUSE_STATE_EXPIRED,
    pauses.DROPPED: pb.PAUSE_STATE_DROPPED,
}
DAYS_MAX = 3_660
R = TypeVar("R", bound=Message)

Known = Callable[[Caller, str], bool]
"""Whether there is a thing of that name here that this caller may pause; it may raise Refused."""
Pausable = Mapping[str, Known]
"""What a service can pause, by kind."""

log = structlog.get_logger(__name__)


def consumer_of(noun: str) -> Pausable:
    """A service's own consumer."""
    return {pauses.CONSUMER: lambda _caller, subject: subject == noun}


def products_of(known: Callable[[str, str], bool]) -> Pausable:
    """Products of programmes: told whether a programme has one of that name."""

    def is_one(_caller: Caller, subject: str) -> bool:
        programme_id, slash, product_id = subject.partition("/")
        return bool(slash) and known(programme_id, product_id)

    return {pauses.PRODUCT: is_one}


class PauseDesk:
    """Takes orders for pauses of what is its service's own."""

    _database: Database
    _pausable: Pausable

    async def ProposePause(  # noqa: N802 - the proto's name
        self, request: pb.ProposePauseRequest, context: Context
    ) -> pb.ProposePauseResponse:
        """One that waits for its second person."""
        caller = _operator(context)
        person_id = caller.require_person()
        kind = self._require_pausable(caller, request)

        async def work(session: AsyncSession) -> pb.ProposePauseResponse:
            expires_at = None
            if request.HasField("expire_time"):
                expires_at = await _end(session, request.expire_time)
            made = await pauses.propose(
                session,
                kind=kind,
                subject=request.subject,
                county_code=request.county_code,
                reason=request.reason,
                expires_at=expires_at,
                person_id=person_id,
            )
            return pb.ProposePauseResponse(pause=to_proto(made))

        return await self._once(caller, request, pb.ProposePauseResponse, work)

    async def ProposeResume(  # noqa: N802 - the proto's name
        self, request: pb.ProposeResumeRequest, context: Context
    ) -> pb.ProposeResumeResponse:
        """Ask to end one."""
        caller = _operator(context)
        person_id = caller.require_person()

        async def work(session: AsyncSession) -> pb.ProposeResumeResponse:
            pause_id = ids.parse_id("pause_id", request.pause_id)
            made = await pauses.propose_resume(
                session, pause_id, reason=request.reason, person_id=person_id
            )
            return pb.ProposeResumeResponse(pause=to_proto(made))

        return await self._once(caller, request, pb.ProposeResumeResponse, work)

    async def DecidePause(  # noqa: N802 - the proto's name
        self, request: pb.DecidePauseRequest, context: Context
    ) -> pb.DecidePauseResponse:
        """The second person's word."""
        caller = _operator(context)
        person_id = caller.require_person()

        async def work(session: AsyncSession) -> pb.DecidePauseResponse:
            pause_id = ids.parse_id("pause_id", request.pause_id)
            made = await pauses.decide(
                session, pause_id, confirm=request.confirm, person_id=person_id
            )
            log.warning(
                "pause_decided",
                pause_id=request.pause_id,
                kind=made["kind"],
                subject=made["subject"],
                state=made["state"],
                person=person_id,
            )
            return pb.DecidePauseResponse(pause=to_proto(made))

        return await self._once(caller, request, pb.DecidePauseResponse, work)

    async def ListPauses(  # noqa: N802 - the proto's name
        self, request: pb.ListPausesRequest, context: Context
    ) -> pb.ListPausesResponse:
        """The latest first."""
        require_role(caller_of(context), ("operator", "auditor"))
        size = wire.page_size(request.page_size)
        before = _before(request.page_token)
        async with self._database.transaction() as session:
            found = await pauses.read_all(
                session,
                kind=KINDS.get(request.kind, ""),
                over_too=request.over_too,
                before=before,
                rows_max=size + 1,
            )
        page, token = wire.page_of(found, size, lambda row: row["pause_id"])
        return pb.ListPausesResponse(pauses=[to_proto(row) for row in page], next_page_token=token)

    def _require_pausable(self, caller: Caller, request: pb.ProposePauseRequest) -> str:
        kind = KINDS[request.kind]
        known = self._pausable.get(kind)
        if known is None:
            rule = f"must be one of {', '.join(self._pausable) or 'none'}: others pause the rest"
            raise invalid_field("PAUSE_NOT_HERE", "kind", kind, rule, "本服务不能暂停此类对象")
        if request.county_code and kind != pauses.PRODUCT:
            rule = "must be empty but for a product"
            raise invalid_field("PAUSE_NOT_HERE", "county_code", request.county_code, rule)
        if not known(caller, request.subject):
            rule = f"must name a {kind} that is known here"
            raise invalid_field("UNKNOWN_SUBJECT", "subject", request.subject, rule, "对象不存在")
        return kind

    async def _once(
        self,
        caller: Caller,
        request: Message,
        response_type: type[R],
        work: Callable[[AsyncSession], Awaitable[R]],
    ) -> R:
        return await once(self._database, caller, request, response_type, work, money=False)


def _operator(context: Context) -> Caller:
    caller = caller_of(context)
    require_role(caller, ("operator",))
    # It stops what other counties' institutions do too.
    if caller.county_code != ABOVE_COUNTIES:
        raise Denied(
            "AREA_NOT_YOURS",
            f"{caller.institution_id} runs one county, and a pause may concern others",
            message_zh="超出本机构辖区",
        )
    return caller


async def _end(session: AsyncSession, asked: Timestamp) -> datetime:
    rows = await database.fetch(session, "SELECT now() AS now")
    now = rows[0]["now"]
    end = wire.time_from_proto("expire_time", asked)
    if not now < end <= now + timedelta(days=DAYS_MAX):
        rule = f"must be in the future, at most {DAYS_MAX} days away"
        raise invalid_field("DATE_IN_PAST", "expire_time", end.isoformat(), rule, "截止时间无效")
    return end


def _before(token: str) -> UUID | None:
    start = wire.page_start(token)
    return ids.parse_id("page_token", start) if start else None


def to_proto(row: Record) -> pb.Pause:
    """A pause for the wire."""
    return pb.Pause(
        pause_id=str(row["pause_id"]),
        kind=_KINDS_BACK[row["kind"]],  # type: ignore[arg-type]
        subject=row["subject"],
        county_code=row["only_county"],
        reason=row["reason"],
        state=_STATES[row["state"]],
        proposed_by=row["proposed_by"],
        proposed_time=_time(row["proposed_at"]),
        confirmed_by=row["confirmed_by"],
        paused_time=_time(row["paused_at"]),
        expire_time=_time(row["expires_at"]),
        resume_proposed_by=row["resume_proposed_by"],
        resume_reason=row["resume_reason"],
        ended_by=row["ended_by"],
        ended_time=_time(row["ended_at"]),
    )


def _time(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    made = Timestamp()
    made.FromDatetime(moment)
    return made
