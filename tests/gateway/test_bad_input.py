"""What no honest client sends: documented codes, nothing written, nothing told of the inside."""

import asyncio
import random
import ssl
import uuid
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from buf.validate import validate_pb2
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from liandong.gateway.v1 import institutions_pb2 as pb

from gateway.routes import OWN, ROUTES, Route
from services.kernel import status
from services.kernel.rpc import MESSAGE_BYTES_MAX, METADATA_BYTES_MAX
from tests.gateway.conftest import House
from tests.gateway.test_door import a_question, loans, raw, refused

pytestmark = [pytest.mark.postgres, pytest.mark.nats]

DOCUMENTED = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNAVAILABLE,
}
INSIDE = ("Traceback", "Error:", "asyncpg", "sqlalchemy", "SELECT", "syntax", ".py", "internal")
"""Words of exceptions, of SQL and of our code: they stay inside."""
INJECTIONS = (
    "'; DROP TABLE institution; --",
    "1 OR 1=1",
    "${jndi:ldap://x}",
    "{{7*7}}",
    "../../etc/passwd",
    "%00%0a%s%n",
    "\u202e\u200b\ufeff",
    "１１０１０５１９４９１２３１００２Ｘ",
    "١٢٣٤٥٦",
    "11010519491231002Х",
    "\n\r\x1b[2J",
    "\x00",
    "𝟏" * 40,
)
OPERATOR = (("liandong-person", "operator-1-p1"),)
OWN_ROUTES = [route for route in ROUTES if route.noun == OWN]


def bomb(depth: int) -> bytes:
    """A message within a message, so many times: field 2 of everything."""
    heads: list[bytes] = []
    size = 0
    while len(heads) < depth and size < 60_000:
        heads.append(b"\x12" + _varint(size))
        size += len(heads[-1])
    return b"".join(reversed(heads))


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])


def garbage(seed: int) -> Iterator[bytes]:
    """Broken bodies of many kinds, the same for the same seed."""
    noise = random.Random(seed)
    right = pb.EnterInstitutionsRequest(
        request_id=str(uuid.UUID(int=seed)),
        institutions=[pb.InstitutionEntry(institution_id="bank-1", name="x", role="bank")],
    ).SerializeToString()
    yield from (b"\xff" * 3, b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x02\xc3\x28", bomb(10_000))
    yield b"\x12\x00" * 20_000
    for _ in range(12):
        yield right[: noise.randrange(1, len(right))]
        broken = bytearray(right)
        broken[noise.randrange(len(broken))] ^= 1 << noise.randrange(8)
        yield bytes(broken)
        yield noise.randbytes(noise.randrange(1, 400))


def must_be_documented(error: grpc.aio.AioRpcError, *, sent: str = "") -> None:
    """Hold a refusal against what a client was promised."""
    said = f"{error.details()} {error.trailing_metadata()}"
    assert error.code() in DOCUMENTED, said
    assert not [word for word in INSIDE if word in said], said
    assert not sent or sent not in (error.details() or ""), said


async def ask(house: House, route: Route, body: bytes) -> None:
    """One call, of a method that goes on telling its first answer."""
    if not route.tells:
        await raw(house, "operator-1", route.path)(body, metadata=OPERATOR)
        return
    method: Any = house.as_institution("operator-1").unary_stream(route.path)
    telling = method(body, metadata=OPERATOR)
    try:
        await telling.read()
    finally:
        telling.cancel()


async def count(house: House) -> list[tuple[int, ...]]:
    """How much the gateway's own tables hold; they change by command only."""
    tables = ("institution", "person", "contract", "certificate", "person_key", "own_limit")
    return [tuple((await house.schema.ask(f"SELECT count(*) FROM {table}"))[0]) for table in tables]


@pytest.mark.parametrize("route", OWN_ROUTES, ids=lambda route: route.method.rpartition("/")[2])
async def test_broken_bodies_are_refused_by_the_gateways_own_methods(
    house: House, route: Route
) -> None:
    before = await count(house)
    for body in garbage(len(route.method)):
        try:
            await ask(house, route, body)
        except grpc.aio.AioRpcError as error:
            must_be_documented(error)
        else:
            assert not route.command, f"{route.method} took {body[:40]!r}"
    assert await count(house) == before


def texts(descriptor: Descriptor) -> list[FieldDescriptor]:
    return [
        field
        for field in descriptor.fields
        if field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated
    ]


@pytest.mark.parametrize("route", OWN_ROUTES, ids=lambda route: route.method.rpartition("/")[2])
async def test_text_that_means_harm_is_text(house: House, route: Route) -> None:
    before = await count(house)
    request_type: Any = message_factory.GetMessageClass(route.descriptor.input_type)
    for field in texts(route.descriptor.input_type):
        for text in INJECTIONS:
            request = request_type(**{field.name: text})
            if field.name != "request_id" and route.command:
                request.request_id = str(uuid.uuid4())
            try:
                await ask(house, route, request.SerializeToString())
            except grpc.aio.AioRpcError as error:
                must_be_documented(error)
            else:
                assert not route.command, (field.name, text)
    assert await count(house) == before


async def test_metadata_that_means_harm_is_refused_by_name_and_logged_short(house: House) -> None:
    for key, reasons in (
        ("liandong-person", {"PERSON_NOT_YOURS"}),
        ("liandong-purpose", {"UNKNOWN_PURPOSE"}),
        ("authorization", {"PERSON_TOKEN_INVALID"}),
    ):
        for text in ("'; DROP TABLE person; --", "a" * 6_000, "Bearer ..", "{}"):
            error = await refused(loans(house).GetLoan(a_question(), metadata=((key, text),)))
            must_be_documented(error)
            assert status.reason_of(error) in reasons
    rows = await house.schema.ask(
        "SELECT max(length(person_id)), max(length(purpose)) FROM access_log"
    )
    assert max(rows[0]) <= 200
    operator = raw(house, "operator-1", "/liandong.common.v1.OperatorService/GetTotals")
    error = await refused(operator(b"", metadata=(("liandong-service", "../loans"),)))
    assert status.reason_of(error) == "SERVICE_NOT_NAMED"


async def test_what_is_too_large_is_refused_before_it_costs(house: House) -> None:
    call = raw(house, "bank-1", "/liandong.loans.v1.LoansService/GetLoan")
    large = await refused(call(bytes(MESSAGE_BYTES_MAX + 1)))
    assert large.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    wordy = (("liandong-purpose", "x" * (2 * METADATA_BYTES_MAX)),)
    error = await refused(call(a_question().SerializeToString(), metadata=wordy))
    assert error.code() in DOCUMENTED
    await call(a_question().SerializeToString())


async def test_half_open_connections_are_closed_and_harm_nobody(house: House) -> None:
    host, _, port = house.settings.grpc_address.partition(":")
    context = ssl.create_default_context(cafile=house.authority.ca_path)
    hello = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        begun = hello.read()
    opened = [await asyncio.open_connection(host, int(port)) for _ in range(60)]
    for number, (_, writer) in enumerate(opened):
        writer.write((b"", begun, begun[:20], b"GET / HTTP/1.1\r\n\r\n")[number % 4])

    await loans(house).GetLoan(a_question())

    async def closed(reader: asyncio.StreamReader) -> None:
        try:
            while await reader.read(4_096):
                pass
        except ConnectionError:
            pass

    async with asyncio.timeout(20):
        await asyncio.gather(*(closed(reader) for reader, _ in opened))
    for _, writer in opened:
        writer.close()
    await loans(house).GetLoan(a_question())


def pages() -> list[tuple[str, FieldDescriptor]]:
    return [
        (route.method, field)
        for route in ROUTES
        for field in route.descriptor.input_type.fields
        if field.name == "page_size"
    ]


def test_every_page_is_bounded() -> None:
    unbounded = []
    for method, field in pages():
        rules = field.GetOptions().Extensions[validate_pb2.field].int32
        if not (rules.HasField("lte") and 0 < rules.lte <= 1_000 and rules.gte == 0):
            unbounded.append(method)

    assert len(pages()) > 20
    assert unbounded == []
