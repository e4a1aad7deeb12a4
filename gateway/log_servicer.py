"""The access log's own methods: keys, day roots, searches, break-glasses, reports of retention."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, TypeVar

from asyncpg import Record
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from liandong.gateway.v1 import access_log_pb2 as pb
from sqlmodel.ext.asyncio.session import AsyncSession

from gateway import break_glass, log_store
from gateway.break_glass import Glasses
from gateway.identity import ABOVE_COUNTIES, Claim, Institution, caller_for
from gateway.log_chain import DayRoot
from gateway.log_store import Search
from gateway.resources import HOUSEHOLD_KINDS
from gateway.servicer import OwnMethod, of_bytes
from services.kernel import idempotency, wire
from services.kernel.clock import recorded_time
from services.kernel.database import Database
from services.kernel.errors import Denied, NotFound, invalid_field
from services.kernel.ids import parse_id
from services.programmes.schema.deployment import InstitutionRole as Role

Q = TypeVar("Q", bound=Message)
R = TypeVar("R", bound=Message)

SEARCH_DAYS_MAX = 92
_SERVICE = "/liandong.gateway.v1.AccessLogService"


class AccessLogServicer:
    """Reads and writes the gateway's own database; the door has decided who may."""

    def __init__(self, db: Database, glasses: Glasses) -> None:
        self._db = db
        self._glasses = glasses

    async def ListLogKeys(
        self, _institution: Institution, _claim: Claim, _request: pb.ListLogKeysRequest
    ) -> pb.ListLogKeysResponse:
        """Every key that ever signed."""
        async with self._db.transaction() as session:
            found = await log_store.read_keys(session)
        return pb.ListLogKeysResponse(
            keys=[
                pb.LogKey(
                    key_id=row["key_id"],
                    public_key=row["public_key"],
                    recorded_time=_time(row["recorded_at"]),
                )
                for row in found
            ]
        )

    async def ListDayRoots(
        self, _institution: Institution, _claim: Claim, request: pb.ListDayRootsRequest
    ) -> pb.ListDayRootsResponse:
        """Day roots in order."""
        after = None
        if request.HasField("after_day"):
            after = wire.date_from_proto("after_day", request.after_day)
        size = wire.page_size(request.page_size)
        async with self._db.transaction() as session:
            found = await log_store.read_roots(session, after=after, roots_max=size)
        return pb.ListDayRootsResponse(roots=[_root(root) for root in found])

    async def TakeDayRoot(
        self, institution: Institution, claim: Claim, request: pb.TakeDayRootRequest
    ) -> pb.TakeDayRootResponse:
        """A day's root, and who took it is noted."""
        day = wire.date_from_proto("day", request.day)

        async def work(session: AsyncSession) -> pb.TakeDayRootResponse:
            root = await _required_root(session, day)
            await log_store.enter_taking(session, day, institution.institution_id, claim.person_id)
            return pb.TakeDayRootResponse(root=_root(root))

        return await self._once(institution, claim, request, pb.TakeDayRootResponse, work)

    async def ListDayRootTakings(
        self, _institution: Institution, _claim: Claim, request: pb.ListDayRootTakingsRequest
    ) -> pb.ListDayRootTakingsResponse:
        """Who took a day's root."""
        day = wire.date_from_proto("day", request.day)
        async with self._db.transaction() as session:
            await _required_root(session, day)
            found = await log_store.read_takings(session, day)
        return pb.ListDayRootTakingsResponse(
            takings=[
                pb.DayRootTaking(
                    institution_id=row["institution_id"],
                    person_id=row["person_id"],
                    taken_time=_time(row["taken_at"]),
                )
                for row in found
            ]
        )

    async def SearchAccesses(
        self, institution: Institution, _claim: Claim, request: pb.SearchAccessesRequest
    ) -> pb.SearchAccessesResponse:
        """Calls of a time; an auditor of one county sees that county's."""
        asked = Search(
            from_time=wire.time_from_proto("from_time", request.from_time),
            to_time=wire.time_from_proto("to_time", request.to_time),
            institution_id=request.institution_id,
            person_id=request.person_id,
            method=request.method,
            county_code=_county(institution, request.county_code),
            break_glass_id=request.break_glass_id,
        )
        if not timedelta() < asked.to_time - asked.from_time <= timedelta(days=SEARCH_DAYS_MAX):
            rule = f"must be after from_time, at most {SEARCH_DAYS_MAX} days"
            raise invalid_field("TIME_TOO_LONG", "to_time", asked.to_time.isoformat(), rule)
        size = wire.page_size(request.page_size)
        before = before_of(request.page_token)
        async with self._db.transaction() as session:
            found = await log_store.search(session, asked, before=before, rows_max=size + 1)
        page, token = wire.page_of(found, size, lambda row: row["position"])
        return pb.SearchAccessesResponse(
            accesses=[access_to_proto(row, row["resources"]) for row in page], next_page_token=token
        )

    async def ListAccessesOf(
        self, institution: Institution, _claim: Claim, request: pb.ListAccessesOfRequest
    ) -> pb.ListAccessesOfResponse:
        """Calls that named a household, or what belongs to it."""
        county_code = _county(institution, request.county_code)
        household_id = parse_id("household_id", request.household_id)
        asked = [*(f"{kind}:{household_id}" for kind in HOUSEHOLD_KINDS), *request.also]
        size = wire.page_size(request.page_size)
        before = before_of(request.page_token)
        async with self._db.transaction() as session:
            found = await log_store.accesses_of(
                session, asked, county_code, before=before, rows_max=size + 1
            )
        page, token = wire.page_of(found, size, lambda row: row["position"])
        wanted = frozenset(asked)
        return pb.ListAccessesOfResponse(
            accesses=[access_to_proto(row, wanted.intersection(row["resources"])) for row in page],
            next_page_token=token,
        )

    async def OpenBreakGlass(
        self, institution: Institution, claim: Claim, request: pb.OpenBreakGlassRequest
    ) -> pb.OpenBreakGlassResponse:
        """One that waits for its second person."""

        async def work(session: AsyncSession) -> pb.OpenBreakGlassResponse:
            made = await break_glass.open_glass(
                session,
                institution_id=institution.institution_id,
                person_id=_person(institution, claim),
                reason=request.reason,
                methods=request.methods,
                county_code=request.county_code,
                minutes=request.minutes,
            )
            return pb.OpenBreakGlassResponse(break_glass=_glass(made))

        return await self._once(institution, claim, request, pb.OpenBreakGlassResponse, work)

    async def ConfirmBreakGlass(
        self, institution: Institution, claim: Claim, request: pb.ConfirmBreakGlassRequest
    ) -> pb.ConfirmBreakGlassResponse:
        """It runs from now on."""

        async def work(session: AsyncSession) -> pb.ConfirmBreakGlassResponse:
            found = await break_glass.confirm(
                session,
                parse_id("break_glass_id", request.break_glass_id),
                institution_id=institution.institution_id,
                person_id=_person(institution, claim),
            )
            return pb.ConfirmBreakGlassResponse(break_glass=_glass(found))

        answer = await self._once(institution, claim, request, pb.ConfirmBreakGlassResponse, work)
        await break_glass.refresh(self._db, self._glasses)
        return answer

    async def CloseBreakGlass(
        self, institution: Institution, claim: Claim, request: pb.CloseBreakGlassRequest
    ) -> pb.CloseBreakGlassResponse:
        """It has ended."""

        async def work(session: AsyncSession) -> pb.CloseBreakGlassResponse:
            found = await break_glass.close(
                session,
                parse_id("break_glass_id", request.break_glass_id),
                institution_id=institution.institution_id,
                person_id=_person(institution, claim),
            )
            return pb.CloseBreakGlassResponse(break_glass=_glass(found))

        answer = await self._once(institution, claim, request, pb.CloseBreakGlassResponse, work)
        await break_glass.refresh(self._db, self._glasses)
        return answer

    async def ListBreakGlasses(
        self, institution: Institution, _claim: Claim, request: pb.ListBreakGlassesRequest
    ) -> pb.ListBreakGlassesResponse:
        """All for an auditor, an operator's own for an operator."""
        size = wire.page_size(request.page_size)
        start = wire.page_start(request.page_token)
        async with self._db.transaction() as session:
            found = await break_glass.read_all(
                session,
                institution_id=""
                if institution.role == Role.AUDITOR
                else institution.institution_id,
                before=parse_id("page_token", start) if start else None,
                rows_max=size + 1,
            )
        page, token = wire.page_of(found, size, lambda row: row["break_glass_id"])
        return pb.ListBreakGlassesResponse(
            break_glasses=[_glass(row) for row in page], next_page_token=token
        )

    async def ListRetentionReports(
        self, _institution: Institution, _claim: Claim, request: pb.ListRetentionReportsRequest
    ) -> pb.ListRetentionReportsResponse:
        """What was removed, the latest first."""
        before = recorded_time()
        if request.HasField("before_time"):
            before = wire.time_from_proto("before_time", request.before_time)
        size = wire.page_size(request.page_size)
        async with self._db.transaction() as session:
            found = await log_store.read_reports(session, before=before, rows_max=size)
        return pb.ListRetentionReportsResponse(reports=[_report(row) for row in found])

    async def _once(
        self,
        institution: Institution,
        claim: Claim,
        request: Any,
        response_type: type[R],
        work: Callable[[AsyncSession], Awaitable[R]],
    ) -> R:
        """A command, once per request id."""
        name = request.DESCRIPTOR.name.removesuffix("Request")
        caller = caller_for(institution, claim, method=f"{_SERVICE}/{name}", body_hash="")
        return await idempotency.once(self._db, caller, request, response_type, work, money=False)

    def methods(self) -> Mapping[str, OwnMethod]:
        """The methods by path, as functions of bytes."""
        of: tuple[tuple[type[Message], Callable[..., Awaitable[Message]]], ...] = (
            (pb.ListLogKeysRequest, self.ListLogKeys),
            (pb.ListDayRootsRequest, self.ListDayRoots),
            (pb.TakeDayRootRequest, self.TakeDayRoot),
            (pb.ListDayRootTakingsRequest, self.ListDayRootTakings),
            (pb.SearchAccessesRequest, self.SearchAccesses),
            (pb.ListAccessesOfRequest, self.ListAccessesOf),
            (pb.OpenBreakGlassRequest, self.OpenBreakGlass),
            (pb.ConfirmBreakGlassRequest, self.ConfirmBreakGlass),
            (pb.CloseBreakGlassRequest, self.CloseBreakGlass),
            (pb.ListBreakGlassesRequest, self.ListBreakGlasses),
            (pb.ListRetentionReportsRequest, self.ListRetentionReports),
        )
        return {f"{_SERVICE}/{method.__name__}": of_bytes(kind, method) for kind, method in of}


async def _required_root(session: AsyncSession, day: date) -> DayRoot:
    root = await log_store.read_root(session, day)
    if root is None:
        raise NotFound(
            "DAY_ROOT_UNKNOWN",
            f"{day} has no root: it is not over, or nothing was logged",
            message_zh="该日尚无日根",
        )
    return root


def _county(institution: Institution, asked: str) -> str:
    """The county that is asked about; only those above counties ask about another's, or all."""
    if institution.county_code == ABOVE_COUNTIES:
        return asked
    if asked not in ("", institution.county_code):
        raise Denied(
            "AREA_NOT_YOURS",
            f"{institution.institution_id} may not ask about {asked}",
            message_zh="超出本机构辖区",
        )
    return institution.county_code


def _person(institution: Institution, claim: Claim) -> str:
    if not claim.person_id:
        raise Denied(
            "PERSON_NEEDED",
            f"{institution.institution_id} must name the person",
            message_zh="须指明经办人",
        )
    return claim.person_id


def before_of(page_token: str) -> int:
    """Before which position a page begins."""
    if not page_token:
        return log_store.POSITION_MAX
    return wire.page_offset(page_token, digits_max=wire.POSITION_DIGITS_MAX)


def _time(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def _root(root: DayRoot) -> pb.DayRoot:
    return pb.DayRoot(
        day=wire.date_to_proto(root.day),
        checkpoint_number=root.checkpoint_number,
        position=root.position,
        digest=root.digest,
        previous=root.previous,
        key_id=root.key_id,
        signature=root.signature,
    )


def access_to_proto(row: Record, resources: Sequence[str] | frozenset[str]) -> pb.Access:
    return pb.Access(
        position=row["position"],
        called_time=_time(row["called_at"]),
        institution_id=row["institution_id"],
        person_id=row["person_id"],
        method=row["method"],
        county_code=row["county_code"],
        purpose=row["purpose"],
        allowed=row["decision"] == "allowed",
        reason=row["reason"],
        outcome=row["outcome"],
        resources=sorted(resources),
        break_glass_id=row["break_glass_id"],
    )


def _glass(row: Record) -> pb.BreakGlass:
    return pb.BreakGlass(
        break_glass_id=str(row["break_glass_id"]),
        institution_id=row["institution_id"],
        reason=row["reason"],
        methods=row["methods"],
        county_code=row["county_code"],
        minutes=row["minutes"],
        opened_by=row["opened_by"],
        opened_time=_time(row["opened_at"]),
        confirmed_by=row["confirmed_by"],
        confirmed_time=_time(row["confirmed_at"]),
        expire_time=_time(row["expires_at"]),
        closed_by=row["closed_by"],
        closed_time=_time(row["closed_at"]),
    )


def _report(row: Record) -> pb.RetentionReport:
    return pb.RetentionReport(
        report_id=str(row["report_id"]),
        run_time=_time(row["ran_at"]),
        category=row["category"],
        kept_days=row["kept_days"],
        removed_rows=row["removed_rows"],
        archive=row["archive"],
        archive_sha256=row["archive_sha256"],
        note=row["note"],
    )
