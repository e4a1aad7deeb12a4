"""Status: an error as a rich gRPC status, and an interceptor that lets nothing else out."""

from collections.abc import Iterator, Sequence

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from services.kernel import errors

DOMAIN = "liandong"
TEXT_CHARACTERS_MAX = 200
VIOLATIONS_BYTES_MAX = 1_536
"""Bounds of what a refusal tells: a client drops a call whose trailing metadata is over 8 KiB."""

_CODES: dict[type[errors.LiandongError], int] = {
    errors.Invalid: code_pb2.INVALID_ARGUMENT,
    errors.NotFound: code_pb2.NOT_FOUND,
    errors.Refused: code_pb2.FAILED_PRECONDITION,
    errors.Conflict: code_pb2.ALREADY_EXISTS,
    errors.Denied: code_pb2.PERMISSION_DENIED,
    errors.Unauthenticated: code_pb2.UNAUTHENTICATED,
    errors.Exhausted: code_pb2.RESOURCE_EXHAUSTED,
    errors.Unavailable: code_pb2.UNAVAILABLE,
}


def _packed(message: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_CHARACTERS_MAX else f"{text[: TEXT_CHARACTERS_MAX - 1]}…"


def _bad_request(violations: Sequence[errors.Violation]) -> error_details_pb2.BadRequest:
    """The violations, the first of them in a long list."""
    bad = error_details_pb2.BadRequest()
    for v in violations:
        description = _cut(f"{_cut(v.rule)} (value: {v.value[:100]})")
        bad.field_violations.add(field=_cut(v.field), description=description)
        if bad.ByteSize() > VIOLATIONS_BYTES_MAX:
            del bad.field_violations[max(1, len(bad.field_violations) - 1) :]
            break
    return bad


def _when_and_what(error: errors.Exhausted) -> Iterator[Message]:
    """When to come back, and which limit was reached."""
    if error.retry_seconds is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(max(1, round(error.retry_seconds * 1_000)))
        yield retry
    if error.quota is not None:
        yield error_details_pb2.QuotaFailure(
            violations=[
                error_details_pb2.QuotaFailure.Violation(
                    subject=error.quota.subject,
                    description=_cut(error.message),
                    quota_metric=error.quota.metric,
                    quota_id=error.reason,
                    quota_value=error.quota.most,
                )
            ]
        )


def to_status(error: errors.LiandongError) -> status_pb2.Status:
    """The error as `google.rpc.Status` with its details, never too large to arrive."""
    code = next(_CODES[kind] for kind in type(error).__mro__ if kind in _CODES)
    facts = {name: _cut(value) for name, value in error.facts.items()}
    message = _cut(error.message)
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=facts)
    ]
    if error.violations:
        details.append(_bad_request(error.violations))
    if code == code_pb2.FAILED_PRECONDITION:
        details.append(
            error_details_pb2.PreconditionFailure(
                violations=[
                    error_details_pb2.PreconditionFailure.Violation(
                        type=error.reason, description=message
                    )
                ]
            )
        )
    if isinstance(error, errors.Exhausted):
        details.extend(_when_and_what(error))
    if error.message_zh:
        details.append(
            error_details_pb2.LocalizedMessage(locale="zh-CN", message=_cut(error.message_zh))
        )
    return status_pb2.Status(
        code=code, message=message, details=[_packed(detail) for detail in details]
    )


async def abort(
    context: grpc.aio.ServicerContext[Message, Message], error: errors.LiandongError
) -> None:
    """End the call with the error; the span of the call sees the code (choices.md, 0.2)."""
    status = rpc_status.to_status(to_status(error))
    await context.abort(status.code, status.details, status.trailing_metadata)


def link_broke(error: grpc.aio.AioRpcError) -> bool:
    """
    Whether a connection broke under a stream's write.

    grpcio then makes up a status on our side, with this text, in place of the one that the peer
    sent or could not send.
    """
    made_up = error.details() == "Internal error from Core"
    return made_up and error.code() is grpc.StatusCode.INTERNAL


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """The stable reason in a received error; the code's name when it has none."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    if status is not None:
        for detail in status.details:
            info = error_details_pb2.ErrorInfo()
            if detail.Is(info.DESCRIPTOR) and detail.Unpack(info):
                return info.reason
    return str(error.code().name)


def retry_seconds_of(error: grpc.aio.AioRpcError) -> float:
    """In how many seconds the refusing side asks to be called again; 0 where it says nothing."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    for detail in status.details if status is not None else ():
        retry = error_details_pb2.RetryInfo()
        if detail.Is(retry.DESCRIPTOR) and detail.Unpack(retry):
            return float(retry.retry_delay.ToMilliseconds()) / 1_000
    return 0.0


def explain(error: grpc.aio.AioRpcError) -> str:
    """A received error in a line a person: reason, message, and each field that was wrong."""
    lines = [f"{reason_of(error)}: {error.details()}"]
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    for detail in status.details if status is not None else ():
        request = error_details_pb2.BadRequest()
        if detail.Is(request.DESCRIPTOR) and detail.Unpack(request):
            lines.extend(f"  {v.field}: {v.description}" for v in request.field_violations)
    return "\n".join(lines)
