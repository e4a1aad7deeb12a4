"""The door: every call is identified, allowed, passed on and recorded, or refused and recorded."""

import asyncio
import hashlib
import re
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NoReturn
from uuid import UUID

import grpc
import structlog
from google.protobuf import message_factory
from google.protobuf.message import DecodeError

from gateway import access, resources
from gateway.access_log import AccessLog, Entry, body_digest
from gateway.break_glass import Glasses
from gateway.forward import Backends, Failure, digested, passed_on, reason_in, refusal
from gateway.identity import (
    ABOVE_COUNTIES,
    SERVICE_KEY,
    Claim,
    Directory,
    Institution,
    caller_for,
    read_claim,
)
from gateway.judge import NO_GROUND, Judge, Sight
from gateway.limits import METHOD_CLASSES, Gate, Limiter, LimitReached
from gateway.onward import Onward
from gateway.pauses import Pauses
from gateway.person_tokens import PersonTokens
from gateway.routes import OWN, ROUTES, Route
from gateway.rules import MONEY
from gateway.servicer import OwnMethod
from gateway.settings import GatewaySettings
from gateway.spans import Span
from gateway.telling import OwnTelling, Watch
from services.kernel import ids, metrics, telemetry
from services.kernel.admission import Admission
from services.kernel.caller import STREAM_HASH, Signer, body_hash
from services.kernel.clock import recorded_time
from services.kernel.errors import Exhausted, LiandongError, invalid_field
from services.kernel.rpc import Context

_COUNTY = re.compile("[0-9]{6}")

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Visit:
    """One call on its way through the door, as the access log will tell it."""

    route: Route
    claim: Claim
    span: Span
    called_at: datetime = field(default_factory=recorded_time)
    began: float = field(default_factory=time.perf_counter)
    call_id: UUID = field(default_factory=ids.new_id)
    institution_id: str = ""
    county_code: str = ""
    service: str = ""
    body_hash: str = ""
    resources: tuple[str, ...] = ()
    allowed: bool = False
    recorded: bool = False
    gates: tuple[Gate, ...] = ()
    sight: Sight | None = None

    def entry(self, outcome: grpc.StatusCode, reason: str = "") -> Entry:
        """The row that tells how it ended."""
        hidden = self.sight is not None and bool(self.sight.hidden)
        return Entry(
            call_id=self.call_id,
            called_at=self.called_at,
            peer=self.claim.peer,
            institution_id=self.institution_id,
            person_id=self.claim.person_id,
            method=self.route.method,
            service=self.service or self.claim.service,
            county_code=self.county_code,
            purpose=self.claim.purpose,
            decision="allowed" if self.allowed and not hidden else "refused",
            reason=NO_GROUND if hidden else reason,
            outcome=outcome.name,
            body_hash=self.body_hash,
            trace_id=self.span.trace_id(),
            resources=self.resources,
            break_glass_id=self.claim.break_glass_id,
        )


class Door(grpc.GenericRpcHandler):
    """All methods of all services at one address, as bytes; a method it does not know is none."""

    def __init__(
        self,
        *,
        directory: Directory,
        signer: Signer,
        backends: Backends,
        access_log: AccessLog,
        glasses: Glasses,
        own: Mapping[str, OwnMethod],
        telling: Mapping[str, OwnTelling],
        settings: GatewaySettings,
        limiter: Limiter,
        tokens: PersonTokens,
        judge: Judge,
        paused: Pauses,
    ) -> None:
        self._judge = judge
        self._paused = paused
        self._calls = metrics.Calls(OWN)
        self._limiter = limiter
        self._tokens = tokens
        self._directory = directory
        self._signer = signer
        self._backends = backends
        self._log = access_log
        self._glasses = glasses
        self._own = own
        self._telling = telling
        self._settings = settings
        self._readers: dict[str, resources.Read | None] = {}
        self._admission = Admission(OWN, settings.concurrent_rpcs_max)
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            route.path: self._handler(route) for route in ROUTES
        }

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """The handler of a method, made once at the start; one too many is not even read."""
        found = self._handlers.get(handler_call_details.method)
        return self._admission.refusing if found and self._admission.is_full else found

    def _handler(self, route: Route) -> "grpc.RpcMethodHandler[Any, Any]":
        counted = self._admission
        # Without serializers the bodies stay the bytes they came as.
        if route.streams:
            return grpc.stream_stream_rpc_method_handler(counted.stream(self._stream(route)))
        if route.tells:
            return grpc.unary_stream_rpc_method_handler(counted.stream(self._tell(route)))
        return grpc.unary_unary_rpc_method_handler(counted.unary(route.path, self._unary(route)))

    def _unary(self, route: Route) -> Any:
        county_of = _county_reader(route)
        named_in = resources.reader(route.descriptor.input_type)
        # Also of what every service has, where a call names the gateway.
        own = self._own.get(route.path)

        async def serve(body: bytes, context: Context) -> bytes:
            visit = _visit(route, context)
            try:
                visit.body_hash = body_hash(body)
                if named_in is not None and len(body) <= self._settings.body_bytes_max:
                    visit.resources = named_in(body)
                institution = self._admit(visit, county_of, body)
                if visit.service == OWN:
                    if own is None:
                        rule = f"must be another's: the gateway has no {route.method}"
                        raise invalid_field("SERVICE_NOT_NAMED", SERVICE_KEY, OWN, rule)
                    onward = self._onward(institution, visit, context)
                    answer = await own(institution, visit.claim, body, onward)
                else:
                    answer = await self._pass_on(institution, visit, context, body)
                await self._record(visit)
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - told and recorded
                await self._end(visit, context, error)
            finally:
                self._limiter.leave(visit.gates)
            return answer

        return serve

    def _stream(self, route: Route) -> Any:
        async def serve(bodies: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
            visit = _visit(route, context)
            digest = hashlib.sha256()
            try:
                visit.body_hash = STREAM_HASH
                institution = self._admit(visit, None, b"")
                answers = self._backends.stream(
                    route,
                    visit.service,
                    digested(bodies, digest),
                    token=self._token(institution, visit, STREAM_HASH),
                    seconds=self._seconds(context, route),
                    span=visit.span.to_service(route.path),
                )
                async with aclosing(answers):
                    async for answer in answers:
                        yield answer
                visit.body_hash = body_digest(digest.digest())
                await self._record(visit)
            except (Exception, asyncio.CancelledError, GeneratorExit) as error:  # noqa: BLE001 - as above
                visit.body_hash = body_digest(digest.digest())
                await self._end(visit, context, error)
            finally:
                self._limiter.leave(visit.gates)

        return serve

    def _tell(self, route: Route) -> Any:
        """One question of our own with many answers, each allowed anew and recorded."""
        telling = self._telling[route.path]

        async def serve(body: bytes, context: Context) -> AsyncIterator[bytes]:
            visit = _visit(route, context)
            try:
                visit.body_hash = body_hash(body)
                self._admit(visit, None, body)
                watch = Watch(
                    allowed=lambda: self._allowed_still(visit),
                    record=lambda resources: self._record_told(visit, resources),
                    purpose=visit.claim.purpose,
                    seconds=self._seconds(context, route),
                )
                async with aclosing(telling(watch, body)) as answers:
                    async for answer in answers:
                        yield answer
                await self._record(visit)
            except (Exception, asyncio.CancelledError, GeneratorExit) as error:  # noqa: BLE001 - as above
                await self._end(visit, context, error)
            finally:
                self._limiter.leave(visit.gates)

        return serve

    def _allowed_still(self, visit: Visit) -> Institution:
        """Whose call it is, as it is now; refused as a new call would be."""
        institution = self._directory.identify(visit.claim)
        self._paused.require_running(institution.institution_id, visit.route.method)
        access.require(institution.role, visit.route.method)
        if visit.claim.person_id:
            self._directory.require_office(institution, visit.claim.person_id)
        self._log.require_room()
        return institution

    async def _record_told(self, visit: Visit, resources: tuple[str, ...]) -> None:
        """Record what a call is about to tell; once that is on disk it may."""
        entry = replace(visit.entry(grpc.StatusCode.OK), call_id=ids.new_id(), resources=resources)
        await self._log.add_and_wait(entry)

    async def _pass_on(
        self, institution: Institution, visit: Visit, context: Context, body: bytes
    ) -> bytes:
        """The service's answer, as far as it is the caller's to know."""
        hashed = visit.body_hash
        if not visit.claim.break_glass_id and self._judge.concerns(institution, visit.route.method):
            purpose = visit.claim.purpose
            visit.sight = await self._judge.ask(visit.route, institution, purpose, body)
            body, hashed = visit.sight.body, body_hash(visit.sight.body)
        answer = await self._backends.unary(
            visit.route,
            visit.service,
            body,
            token=self._token(institution, visit, hashed),
            seconds=self._seconds(context, visit.route),
            span=visit.span.to_service(visit.route.path),
        )
        return answer if visit.sight is None else await self._judge.show(visit.sight, answer)

    def _admit(
        self, visit: Visit, county_of: Callable[[bytes], str] | None, body: bytes
    ) -> Institution:
        """Who it is, whether the table allows it and whether it can be recorded."""
        institution = self._identify(visit)
        if len(body) > self._settings.body_bytes_max:
            raise Exhausted(
                "BODY_TOO_LARGE",
                f"{len(body)} bytes, at most {self._settings.body_bytes_max}",
                message_zh="请求过大",
            )
        visit.county_code = institution.county_code
        if institution.county_code == ABOVE_COUNTIES and county_of is not None:
            visit.county_code = county_of(body) or ABOVE_COUNTIES
        visit.span.note(telemetry.COUNTY, visit.county_code)
        if visit.claim.break_glass_id:
            self._glasses.require(visit.claim, institution, visit.route.method, visit.county_code)
        else:
            access.require(institution.role, visit.route.method)
        access.require_purpose(visit.route.method, visit.claim.purpose)
        visit.service = self._backends.noun(visit.route, visit.claim.service)
        self._log.require_room()
        visit.allowed = True
        return institution

    def _named(self, route: Route) -> resources.Read | None:
        """How to read what a request that we make names; made once."""
        if route.path not in self._readers:
            self._readers[route.path] = resources.reader(route.descriptor.input_type)
        return self._readers[route.path]

    def _onward(self, institution: Institution, visit: Visit, context: Context) -> Onward:
        """Calls of a method of our own to the services, each allowed, signed and recorded."""
        touched: list[str] = []

        async def ask(route: Route, body: bytes) -> bytes:
            claim = visit.claim
            if visit.route.method in access.WITHIN and not claim.purpose:
                claim = replace(claim, purpose=access.HOUSEHOLD_REQUEST)
            inner = Visit(route, claim, visit.span, institution_id=visit.institution_id)
            inner.county_code, inner.service = visit.county_code, route.noun
            inner.body_hash = body_hash(body)
            named_in = self._named(route)
            inner.resources = resources.bounded((*(named_in(body) if named_in else ()), *touched))
            # A failure is told with the service's name, not with ours.
            visit.service = route.noun
            try:
                access.require_within(institution.role, visit.route.method, route.method)
                access.require_purpose(route.method, inner.claim.purpose)
                inner.allowed = True
                answer = await self._pass_on(institution, inner, context, body)
            except BaseException as error:
                failure = _failure(inner, error)
                visit.sight = visit.sight or inner.sight
                self._log.add(inner.entry(failure.code, failure.reason))
                raise
            if route.command:
                self._log.add(inner.entry(grpc.StatusCode.OK))
            else:
                await self._log.add_and_wait(inner.entry(grpc.StatusCode.OK))
            return answer

        def touch(resource: str) -> None:
            touched.append(resource)
            visit.resources = resources.bounded((*visit.resources, resource))

        return Onward(ask, touch)

    def _identify(self, visit: Visit) -> Institution:
        """Whose call it is and who acts; one too many is refused before anything costs."""
        try:
            institution = self._directory.identify(visit.claim)
        except LiandongError:
            self._limiter.stranger()
            raise
        visit.institution_id = institution.institution_id
        visit.span.note(telemetry.INSTITUTION, institution.institution_id)
        visit.gates = self._limiter.enter(institution, visit.route.method)
        self._paused.require_running(institution.institution_id, visit.route.method)
        claim = visit.claim
        if claim.token or claim.person_id:
            person_id = self._directory.require_person(institution, claim, self._tokens.person_of)
            if person_id != claim.person_id:
                visit.claim = replace(claim, person_id=person_id)
        return institution

    def _token(self, institution: Institution, visit: Visit, hashed: str) -> bytes:
        return self._signer.sign(
            caller_for(institution, visit.claim, method=visit.route.path, body_hash=hashed)
        )

    def _seconds(self, context: Context, route: Route) -> float:
        """How long the service may take: what the client left, within bounds."""
        bound = (
            self._settings.stream_seconds_max
            if route.streams or route.tells
            else self._settings.deadline_seconds_max
        )
        left = context.time_remaining()
        if left is None:
            return float(
                bound
                if route.streams or route.tells
                else min(self._settings.deadline_seconds, bound)
            )
        return min(left, bound)

    async def _record(self, visit: Visit) -> None:
        """Record a call that ended well; what was read is handed out once that is on disk."""
        self._calls.ended(
            visit.route.method,
            "OK",
            time.perf_counter() - visit.began,
            METHOD_CLASSES[visit.route.method],
        )
        entry = visit.entry(grpc.StatusCode.OK)
        visit.recorded = True
        if visit.route.command:
            self._log.add(entry)
        else:
            await self._log.add_and_wait(entry)
        visit.span.end()

    async def _end(self, visit: Visit, context: Context, error: BaseException) -> NoReturn:
        """Record a call that did not end well, and tell the client."""
        failure = _failure(visit, error)
        if visit.sight is not None:
            failure = visit.sight.worded(failure)
        self._calls.ended(
            visit.route.method,
            failure.code.name,
            time.perf_counter() - visit.began,
            METHOD_CLASSES[visit.route.method],
        )
        if visit.institution_id:
            self._limiter.note(visit.institution_id, reason_in(failure) or failure.code.name)
        flood = isinstance(error, LimitReached) and error.told
        if flood:
            # A flood that is refused must not become one of the access log.
            visit.recorded = True
        if not visit.recorded:
            self._log.add(visit.entry(failure.code, failure.reason))
        # Nor one of spans; and who follows a feed ends it by going.
        gone = visit.route.tells and isinstance(error, asyncio.CancelledError | GeneratorExit)
        if not flood and not gone:
            visit.span.failed(failure.code)
        visit.span.end()
        if not isinstance(error, Exception):
            raise error
        await context.abort(failure.code, failure.details, failure.trailers)


def _county_reader(route: Route) -> Callable[[bytes], str]:
    """How the county stands in a request; only callers above counties may name any."""
    if "county_code" not in route.descriptor.input_type.fields_by_name:
        return lambda _body: ""
    request_type: Any = message_factory.GetMessageClass(route.descriptor.input_type)

    def read(body: bytes) -> str:
        try:
            county_code: str = request_type.FromString(body).county_code
        except DecodeError:
            return ""
        return county_code if _COUNTY.fullmatch(county_code) else ""

    return read


def _visit(route: Route, context: Context) -> Visit:
    claim = read_claim(context)
    kept = route.method in MONEY
    return Visit(route, claim, Span.of_client(route.path, claim.traceparent, keep=kept))


def _failure(visit: Visit, error: BaseException) -> Failure:
    match error:
        case grpc.aio.AioRpcError():
            return passed_on(error, visit.service)
        case LiandongError():
            return refusal(error)
        case asyncio.CancelledError() | GeneratorExit():
            return Failure(grpc.StatusCode.CANCELLED, "", ())
    opaque = uuid.uuid4().hex
    log.error(
        "call_fails",
        method=visit.route.method,
        error_id=opaque,
        trace_id=visit.span.trace_id(),
        exc_info=error,
    )
    return Failure(grpc.StatusCode.INTERNAL, f"internal error {opaque}", (), "INTERNAL")
