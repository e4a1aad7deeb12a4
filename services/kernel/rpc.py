"""RPC: a service's gRPC server: mTLS, signed callers, validation, rich errors, health."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import protovalidate
import structlog
from buf.validate import validate_pb2
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from opentelemetry import trace

from services.kernel import caller as callers
from services.kernel import metrics, status, telemetry
from services.kernel.admission import REFUSING_MAX, Admission, Entrance
from services.kernel.away import is_unstorable_text
from services.kernel.caller import Caller, Verifier
from services.kernel.errors import Denied, Invalid, LiandongError, Unauthenticated, Violation

MESSAGE_BYTES_MAX = 2 * 1024 * 1024
METADATA_BYTES_MAX = 16 * 1024
ABOVE_COUNTIES = "000000"
STOP_SECONDS = 15.0
CONNECTION_AGE_MS = 300_000
"""A caller connects anew so often (give or take a tenth), and so finds replicas that are new."""

Context = grpc.aio.ServicerContext[Any, Any]

log = structlog.get_logger(__name__)

OPTIONS: Sequence[tuple[str, int]] = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_metadata_size", METADATA_BYTES_MAX),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 20_000),
    # A second server on an address is refused: it would get every other caller unseen.
    ("grpc.so_reuseport", 0),
    # Without a grace, which would cut what still runs after it: an old connection takes no new call
    # and ends with its last one, and every call has a deadline.
    ("grpc.max_connection_age_ms", CONNECTION_AGE_MS),
)

VIOLATIONS_MAX = 100
ITEMS_SHOWN_MAX = 100

_CALLER = "liandong_caller"

UNGUARDED = ("/grpc.health.v1.Health/", "/grpc.reflection.")
"""Methods without a caller: probes and reflection."""


def caller_of(context: Context) -> Caller:
    """The verified caller of the call that is being served."""
    found: Caller = getattr(context, _CALLER)
    return found


class Guarded:
    """A servicer context that knows the verified caller; all else is the call's own."""

    def __init__(self, context: Context, caller: Caller) -> None:
        self._context = context
        setattr(self, _CALLER, caller)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


_validator = protovalidate.Validator()
_CODES = {code.value[0]: code.name for code in grpc.StatusCode}
_FAULTS = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
"""Codes that say, by the conventions of traces, that the server is at fault."""


def _path(violation: Any) -> str:
    """The path of the field that a violation is about, e.g. `items[3].loan_id`."""
    steps = []
    for element in violation.field.elements:
        place = "" if element.subscript is None else f"[{element.subscript.value}]"
        steps.append(f"{element.field_name}{place}")
    return ".".join(steps)


def _is_personal(descriptor: Any, violation: Any) -> bool:
    """Whether a violation is about a field whose value never leaves in an error."""
    for element in violation.field.elements:
        if descriptor is None or element.field_name not in descriptor.fields_by_name:
            return True
        field = descriptor.fields_by_name[element.field_name]
        if field.GetOptions().debug_redact:
            return True
        descriptor = field.message_type
    return False


def check(request: Message) -> None:
    """
    Hold a request against the rules in its proto; every violation is named at once.

    Of very many the first are named: an answer holds no more of them, and a message of two bytes an
    item would otherwise keep the process busy for a minute.
    """
    first = _validator.collect_violations(request, fail_fast=True)
    if not first:
        return
    found = _validator.collect_violations(_beginning(request)) or first
    violations = []
    for violation in found[:VIOLATIONS_MAX]:
        path = _path(violation.proto)
        value = "" if violation.field_value is None else str(violation.field_value)
        if _is_personal(request.DESCRIPTOR, violation.proto):
            value = "***"
        violations.append(Violation(path, value[:100], violation.proto.message))
    named = {violation.field for violation in violations}
    violations[:0] = [each for each in _overfull(request) if each.field not in named]
    text = "; ".join(f"{v.field}: {v.rule}" for v in violations[:10])
    raise Invalid("FIELD_RULE_BROKEN", text, message_zh="字段不符合要求", violations=violations)


def _beginning(request: Message) -> Message:
    """The request with the first items of long lists."""
    cut = type(request)()
    cut.CopyFrom(request)
    waiting = [cut]
    while waiting:
        message = waiting.pop()
        for field, value in message.ListFields():
            if field.message_type is None or field.message_type.GetOptions().map_entry:
                continue
            if field.is_repeated:
                # One more than may be, so that the rule about their number still speaks.
                del value[_items_max(field) :]
                waiting.extend(value)
            else:
                waiting.append(value)
    return cut


def _overfull(request: Message) -> Iterator[Violation]:
    """Lists that are too long, which their beginnings do not show."""
    for field, value in request.ListFields():
        rules = field.GetOptions().Extensions[validate_pb2.field].repeated
        if field.is_repeated and rules.HasField("max_items") and len(value) > rules.max_items:
            rule = f"must contain no more than {rules.max_items} item(s)"
            yield Violation(field.name, f"{len(value)} items", rule)


def _items_max(field: Any) -> int:
    rules = field.GetOptions().Extensions[validate_pb2.field].repeated
    most = rules.max_items if rules.HasField("max_items") else ITEMS_SHOWN_MAX
    return int(min(most, ITEMS_SHOWN_MAX)) + 1


class Guard(grpc.aio.ServerInterceptor):
    """
    Stands before every method: who calls, is the request well formed, and what may get out.

    Expected errors leave as rich status; everything else leaves as INTERNAL with an opaque id that
    is in the log beside the real error. It makes the call's span by hand, as the gateway's door
    does: the library's interceptor costs more than all else in a small call (decision 0014).
    """

    def __init__(self, verifier: Verifier, *, peer: str, noun: str) -> None:
        self._verifier = verifier
        self._peer = peer
        self._calls = metrics.Calls(noun)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the method's handler."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(UNGUARDED):
            return handler
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(
                self._stream(handler, method),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            self._unary(handler, method),
            request_deserializer=lambda body: body,
            response_serializer=handler.response_serializer,
        )

    def _unary(self, handler: Any, method: str) -> Callable[..., Awaitable[Any]]:
        async def serve(body: bytes, context: Context) -> Any:
            async def work() -> Any:
                caller = self._caller(context, method, body)
                _note(caller)
                request = _parse(handler.request_deserializer, body)
                check(request)
                _require_county(caller, request)
                try:
                    return await handler.unary_unary(request, Guarded(context, caller))
                except Exception as error:
                    if not is_unstorable_text(error):
                        raise
                    raise _unstorable(request) from error

            began, code = time.perf_counter(), "CANCELLED"
            with telemetry.current(_span(context, method)) as span:
                try:
                    answer = await _answer(work, context, method)
                    code = "OK"
                    return answer
                except grpc.aio.AbortError:
                    code = _name_of(context.code())
                    raise
                finally:
                    _tell_end(span, code)
                    self._calls.ended(method[1:], code, time.perf_counter() - began)

        return serve

    def _stream(self, handler: Any, method: str) -> Callable[..., AsyncIterator[Any]]:
        async def checked(
            caller: Caller, requests: AsyncIterator[Message]
        ) -> AsyncIterator[Message]:
            async for request in requests:
                check(request)
                _require_county(caller, request)
                yield request

        async def serve(requests: AsyncIterator[Message], context: Context) -> AsyncIterator[Any]:
            async def begin() -> AsyncIterator[Any]:
                caller = self._caller(context, method, None)
                _note(caller)
                answers: AsyncIterator[Any] = handler.stream_stream(
                    checked(caller, requests), Guarded(context, caller)
                )
                return answers

            code = "CANCELLED"
            with telemetry.current(_span(context, method)) as span:
                try:
                    answers = await _answer(begin, context, method)
                    while True:
                        try:
                            answer = await _answer(answers.__anext__, context, method)
                        except StopAsyncIteration:
                            code = "OK"
                            return
                        yield answer
                except grpc.aio.AbortError:
                    code = _name_of(context.code())
                    raise
                finally:
                    _tell_end(span, code)

        return serve

    def _caller(self, context: Context, method: str, body: bytes | None) -> Caller:
        peers = context.auth_context().get("peer_spiffe_id", [])
        if [peer.decode() for peer in peers] != [self._peer]:
            raise Unauthenticated("PEER_NOT_THE_GATEWAY", "only the gateway may call a service")
        for key, value in context.invocation_metadata() or ():
            if key == callers.METADATA_KEY:
                token = value if isinstance(value, bytes) else value.encode()
                return self._verifier.verify(token, method=method, body=body)
        raise Unauthenticated("CALLER_MISSING", "the call carries no signed caller")


def _name_of(code: object) -> str:
    """A status code's name: the library gives back its number."""
    return _CODES.get(code, "UNKNOWN") if isinstance(code, int) else getattr(code, "name", "OK")


def _require_county(caller: Caller, request: Message) -> None:
    """Refuse a request about another county, whatever its method makes of it."""
    county_code = getattr(request, "county_code", "")
    if caller.county_code not in (ABOVE_COUNTIES, county_code or caller.county_code):
        raise Denied(
            "AREA_NOT_YOURS",
            f"{caller.institution_id} may not act in {county_code}",
            message_zh="超出本机构辖区",
        )


def _texts(message: Message, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text of a message with the path of its field."""
    for field, value in message.ListFields():
        many = value if field.is_repeated else [value]
        for index, each in enumerate(many):
            place = f"{path}{field.name}" + (f"[{index}]" if field.is_repeated else "")
            if isinstance(each, str):
                yield place, each
            elif isinstance(each, Message):
                yield from _texts(each, f"{place}.")


def _unstorable(request: Message) -> Invalid:
    rule = "must not hold the character U+0000"
    found = [Violation(path, "***", rule) for path, text in _texts(request) if "\0" in text]
    names = ", ".join(violation.field for violation in found[:10])
    return Invalid("TEXT_NOT_STORABLE", f"{names}: {rule}", violations=found)


def _parse(deserialize: Callable[[bytes], Any], body: bytes) -> Message:
    try:
        request: Message = deserialize(body)
    except DecodeError as error:
        raise Invalid("MALFORMED_MESSAGE", "the request is not a valid message") from error
    return request


def _note(caller: Caller) -> None:
    """Tell whose call it is, where it is a span that is kept."""
    span = trace.get_current_span()
    if span.is_recording():
        span.set_attribute(telemetry.INSTITUTION, caller.institution_id)
        span.set_attribute(telemetry.COUNTY, caller.county_code)


def _span(context: Context, method: str) -> telemetry.Span:
    """The span of a call, in the caller's trace where it brought one."""
    brought = next(
        (each for key, each in context.invocation_metadata() or () if key == "traceparent"), ""
    )
    _, service, name = method.split("/", 2)
    return telemetry.Span(
        method,
        kind=trace.SpanKind.SERVER,
        attributes={"rpc.system": "grpc", "rpc.service": service, "rpc.method": name},
        parent=telemetry.read_traceparent(str(brought)),
    )


def _tell_end(span: telemetry.Span, code: str) -> None:
    """Tell how a call ended; what was expected is no fault of the server."""
    span.set_attribute("rpc.grpc.status_code", grpc.StatusCode[code].value[0])
    if code in _FAULTS and span.is_recording():
        span.failed(code)


async def _answer(work: Callable[[], Awaitable[Any]], context: Context, method: str) -> Any:
    try:
        answer = await work()
    except StopAsyncIteration:
        raise
    except LiandongError as error:
        telemetry.count("liandong.rpc.refused", method=method, reason=error.reason)
        await status.abort(context, error)
    except (asyncio.CancelledError, grpc.aio.AbortError):
        raise
    except Exception as error:
        span = trace.get_current_span()
        if isinstance(span, telemetry.Span):
            # Told also where its trace is not kept.
            span.failed(type(error).__name__)
        opaque = uuid.uuid4().hex
        log.exception("rpc_fails", method=method, error_id=opaque)
        telemetry.count("liandong.rpc.failed", method=method)
        await context.abort(grpc.StatusCode.INTERNAL, f"internal error {opaque}")
    else:
        return answer


def server_credentials(ca: Path, cert: Path, key: Path) -> grpc.ServerCredentials:
    """mTLS: the peer must hold a certificate of the same authority."""
    return grpc.ssl_server_credentials(
        [(key.read_bytes(), cert.read_bytes())],
        root_certificates=ca.read_bytes(),
        require_client_auth=True,
    )


def a_server(
    *,
    options: Sequence[tuple[str, int]],
    concurrent_rpcs_max: int,
    interceptors: Sequence[Any] = (),
) -> grpc.aio.Server:
    """A server of the library that finds every method by its name."""
    made = grpc.aio.server(
        interceptors=interceptors,
        # Of two options of one name the later counts.
        options=list(dict([*OPTIONS, *options]).items()),
        maximum_concurrent_rpcs=concurrent_rpcs_max + REFUSING_MAX,
    )
    # Generated code also registers each method, and the library then waits for the next call of
    # each apart: all these waits are made anew with every call, a tenth of a millisecond of them
    # where a service has a hundred and fifty methods.
    made.add_registered_method_handlers = _by_name_alone  # type: ignore[method-assign]
    return made


def listen(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials) -> int:
    """Take an address for a server and return its port; the process ends where it is taken."""
    try:
        return server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise SystemExit(f"cannot listen on {address}: {error}") from None


def _by_name_alone(service_name: str, method_handlers: object) -> None:
    """Register nothing: the same methods are also added by name."""


class Server:
    """A gRPC server with health and reflection, started and stopped in order."""

    def __init__(
        self,
        *,
        address: str,
        credentials: grpc.ServerCredentials,
        interceptors: Sequence[Any],
        concurrent_rpcs_max: int,
        noun: str = "",
        options: Sequence[tuple[str, int]] = (),
    ) -> None:
        self.admission = Admission(noun, concurrent_rpcs_max)
        entrance = Entrance(self.admission, unguarded=UNGUARDED)
        self.server = a_server(
            options=options,
            concurrent_rpcs_max=concurrent_rpcs_max,
            interceptors=[entrance, *interceptors],
        )
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.server)
        self.port = listen(self.server, address, credentials)

    def offer(self, *service_names: str) -> None:
        """Name the services for reflection."""
        names = (*service_names, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self.server)

    async def run(self) -> None:
        """Serve until cancelled, then let running calls end."""
        await self.server.start()
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)
        try:
            # Not `wait_for_termination`: cancelling it also cancels what `stop` then waits for,
            # and running calls would be cut instead of ending.
            await asyncio.Event().wait()
        finally:
            await self._health.enter_graceful_shutdown()
            await self.server.stop(STOP_SECONDS)


def guard(verifier: Verifier, *, env: str, noun: str = "") -> Guard:
    """The interceptor of a service that accepts only the gateway of its environment."""
    return Guard(verifier, peer=f"spiffe://liandong/{env}/svc/gateway", noun=noun)
