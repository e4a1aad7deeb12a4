"""Status: every refusal has its code, its reason and its details; none is too large to arrive."""

import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

from services.kernel import errors
from services.kernel.errors import LiandongError, Violation
from services.kernel.status import to_status

CODES: list[tuple[type[LiandongError], int]] = [
    (errors.Invalid, code_pb2.INVALID_ARGUMENT),
    (errors.NotFound, code_pb2.NOT_FOUND),
    (errors.Refused, code_pb2.FAILED_PRECONDITION),
    (errors.Conflict, code_pb2.ALREADY_EXISTS),
    (errors.Denied, code_pb2.PERMISSION_DENIED),
    (errors.Unauthenticated, code_pb2.UNAUTHENTICATED),
    (errors.Exhausted, code_pb2.RESOURCE_EXHAUSTED),
    (errors.Unavailable, code_pb2.UNAVAILABLE),
]


def details(status: status_pb2.Status) -> dict[str, object]:
    found: dict[str, object] = {}
    for packed in status.details:
        for kind in (
            error_details_pb2.ErrorInfo,
            error_details_pb2.BadRequest,
            error_details_pb2.PreconditionFailure,
            error_details_pb2.LocalizedMessage,
        ):
            message = kind()
            if packed.Unpack(message):
                found[kind.DESCRIPTOR.name] = message
    return found


def test_every_refusal_has_a_code() -> None:
    assert {kind for kind, _ in CODES} == set(LiandongError.__subclasses__())


@pytest.mark.parametrize(("kind", "code"), CODES)
def test_a_refusal_says_its_code_reason_and_facts(kind: type[LiandongError], code: int) -> None:
    error = kind("SOME_REASON", "some text", message_zh="原因", facts={"owed_fen": "12"})

    status = to_status(error)

    info = details(status)["ErrorInfo"]
    assert isinstance(info, error_details_pb2.ErrorInfo)
    assert (status.code, status.message) == (code, "some text")
    assert (info.reason, info.domain, dict(info.metadata)) == (
        "SOME_REASON",
        "liandong",
        {"owed_fen": "12"},
    )
    localized = details(status)["LocalizedMessage"]
    assert isinstance(localized, error_details_pb2.LocalizedMessage)
    assert (localized.locale, localized.message) == ("zh-CN", "原因")
    assert ("PreconditionFailure" in details(status)) is (kind is errors.Refused)


def test_violations_name_their_fields() -> None:
    status = to_status(errors.invalid_field("MALFORMED_ID", "loan_id", "x", "must be a UUID"))

    bad = details(status)["BadRequest"]
    assert isinstance(bad, error_details_pb2.BadRequest)
    assert [(v.field, v.description) for v in bad.field_violations] == [
        ("loan_id", "must be a UUID (value: x)")
    ]


def test_a_status_is_never_larger_than_what_a_client_accepts() -> None:
    """gRPC clients drop a call whose trailing metadata is above 8 KiB."""
    many = [Violation(f"items[{at}].member.name", "值" * 100, "规则" * 50) for at in range(500)]
    huge = errors.Refused(
        "SOME_REASON",
        "字" * 100_000,
        message_zh="字" * 100_000,
        violations=many,
        facts={"value": "字" * 100_000},
    )

    status = to_status(huge)

    on_the_wire = 3 * len(status.message.encode()) + status.ByteSize() * 4 // 3
    assert on_the_wire < 8 * 1024
    bad = details(status)["BadRequest"]
    assert isinstance(bad, error_details_pb2.BadRequest)
    assert bad.field_violations[0].field == "items[0].member.name"
