"""Status: an error as a rich gRPC status, and an interceptor that lets nothing else out."""

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from services.kernel import errors

DOMAIN = "liandong"

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


def to_status(error: errors.LiandongError) -> status_pb2.Status:
    """The error as `google.rpc.Status` with its details."""
    code = _CODES[type(error)]
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.facts)
    ]
    if error.violations:
        details.append(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(
                        field=v.field, description=f"{v.rule} (value: {v.value[:100]})"
                    )
                    for v in error.violations
                ]
            )
        )
    if code == code_pb2.FAILED_PRECONDITION:
        details.append(
            error_details_pb2.PreconditionFailure(
                violations=[
                    error_details_pb2.PreconditionFailure.Violation(
                        type=error.reason, description=error.message
                    )
                ]
            )
        )
    if error.message_zh:
        details.append(error_details_pb2.LocalizedMessage(locale="zh-CN", message=error.message_zh))
    return status_pb2.Status(
        code=code, message=error.message, details=[_packed(detail) for detail in details]
    )


async def abort(
    context: grpc.aio.ServicerContext[Message, Message], error: errors.LiandongError
) -> None:
    """End the call with the error; the span of the call sees the code (choices.md, 0.2)."""
    status = rpc_status.to_status(to_status(error))
    await context.abort(status.code, status.details, status.trailing_metadata)


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """The stable reason in a received error; the code's name when it has none."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    if status is not None:
        for detail in status.details:
            info = error_details_pb2.ErrorInfo()
            if detail.Is(info.DESCRIPTOR) and detail.Unpack(info):
                return info.reason
    return str(error.code().name)
