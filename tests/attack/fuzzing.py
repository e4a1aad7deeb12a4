"""Fuzz: valid requests broken in every way, by callers of every kind; a seed is a whole run."""

import random
import struct
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from gateway.routes import Route
from tests.attack.requests import NUMBERS

DOCUMENTED = frozenset(
    {
        *(grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND),
        *(grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.ALREADY_EXISTS),
        *(grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED),
        *(grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE),
    }
)
INSIDE = (
    *("Traceback", "asyncpg", "sqlalchemy", "SELECT ", "INSERT ", "UPDATE ", "syntax error"),
    *('.py"', "internal error", "Error:", "duplicate key", "violates", "SQLSTATE"),
)
"""Words of exceptions, of SQL and of our code: they stay inside."""
LOOK_ALIKES = (
    "１１０１０１１９９００１０１１２３４",
    "١١٠١٠١١٩٩٠٠١٠١١٢٣٤",
    "11010119900101123\u0425",
    "110101\u200b199001011234",
    "1101011990\x0001011234",
    "\u202e432110100991101011",
    "110101199001011234\n",
    "110101 19900101 1234",
    "110101900101123",
    "11010119900101123x",
    "𝟏" * 18,
    "\ufeff110101199001011234",
)
HARM = (
    *("'; DROP TABLE loan; --", "${jndi:ldap://x}", "{{7*7}}", "../../etc/passwd", "%s%n%x"),
    *("\x00", "\r\n\x1b[2J", "\u202e\u200b", "a" * 10_000, "𐀀" * 300),
)
EDGES = (
    *(0, -1, 1, 2**31 - 1, 2**31, -(2**31), 2**53 + 1, 2**63 - 1, -(2**63)),
    *(10**15, 10**15 + 1, -(10**15)),
)
FLOATS = (float("nan"), -0.0, float("inf"), float("-inf"), 5e-324, 1.8e308)
MIB = 1024 * 1024

Change = Callable[["Case", random.Random], None]
Write = Callable[[Descriptor], Any]
"""A request of a type that its rules let pass."""


@dataclass
class Case:
    """One call: what is sent, and as whom."""

    route: Route
    body: bytes
    institution_id: str
    metadata: list[tuple[str, str]]
    how: str = ""


def varint(value: int) -> bytes:
    """A number as the wire has it."""
    value &= (1 << 64) - 1
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])


def bomb(field: int, depth: int) -> bytes:
    """A message within a message, so many times."""
    heads: list[bytes] = []
    size = 0
    tag = varint(field << 3 | 2)
    while len(heads) < depth and size < 200_000:
        heads.append(tag + varint(size))
        size += len(heads[-1])
    return b"".join(reversed(heads))


# --- breaking fields ------------------------------------------------------------------------------


def _fields(message: Message) -> Iterator[tuple[Any, FieldDescriptor]]:
    for each, value in message.ListFields():
        yield message, each
        many = value if each.is_repeated else [value]
        if each.message_type is not None and not each.message_type.GetOptions().map_entry:
            for one in many:
                yield from _fields(one)


def break_field(message: Message, noise: random.Random) -> str:
    """Put something in one field that its type can hold and its rules may not."""
    found = list(_fields(message))
    if not found:
        return "nothing to break"
    owner, each = noise.choice(found)
    value = _strange(each, noise)
    if value is None:
        owner.ClearField(each.name)
        return f"{each.name} is left out"
    if each.is_repeated:
        many = noise.choice((1, 2, 600))
        getattr(owner, each.name).extend([value] * many)
    else:
        setattr(owner, each.name, value)
    return f"{each.name} = {str(value)[:20]!a}"


def _strange(each: FieldDescriptor, noise: random.Random) -> Any:
    if each.message_type is not None:
        return None
    if each.enum_type is not None:
        return noise.choice((0, 99, -1, 2**31 - 1))
    if each.type == FieldDescriptor.TYPE_STRING:
        return noise.choice((*LOOK_ALIKES, *HARM, "", str(uuid.UUID(int=noise.getrandbits(128)))))
    if each.type == FieldDescriptor.TYPE_BYTES:
        return noise.randbytes(noise.choice((0, 1, 31, 33, 5_000)))
    if each.type == FieldDescriptor.TYPE_BOOL:
        return noise.choice((True, False))
    if each.type in NUMBERS:
        small = each.type in {FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_UINT32}
        signed = each.type not in {FieldDescriptor.TYPE_UINT32, FieldDescriptor.TYPE_UINT64}
        low = -(2**31) if small else -(2**63)
        high = 2**31 - 1 if small else 2**63 - 1
        fits = [edge for edge in EDGES if (low if signed else 0) <= edge <= high]
        return noise.choice(fits)
    return noise.choice(FLOATS)


# --- breaking bytes -------------------------------------------------------------------------------


def _truncated(case: Case, noise: random.Random) -> None:
    case.body = case.body[: noise.randrange(len(case.body) + 1)]


def _flipped(case: Case, noise: random.Random) -> None:
    broken = bytearray(case.body or b"\0")
    for _ in range(noise.choice((1, 1, 2, 8))):
        broken[noise.randrange(len(broken))] ^= 1 << noise.randrange(8)
    case.body = bytes(broken)


def _unknown(case: Case, noise: random.Random) -> None:
    number = noise.choice((18_999, 20_000, 536_870_911))
    case.body += varint(number << 3) + varint(noise.getrandbits(64))


def _bad_text(case: Case, noise: random.Random) -> None:
    field = noise.randrange(1, 16)
    case.body += varint(field << 3 | 2) + b"\x04\xff\xfe\xc3\x28"


def _bombed(case: Case, noise: random.Random) -> None:
    case.body += bomb(noise.randrange(1, 12), noise.choice((101, 1_000, 10_000)))


def _many(case: Case, noise: random.Random) -> None:
    field = noise.randrange(1, 12)
    case.body += varint(field << 3 | 2) + b"\x00"
    case.body += (varint(field << 3 | 2) + b"\x00") * 100_000


def _large(case: Case, noise: random.Random) -> None:
    size = noise.choice((256 * 1024, 3 * MIB, 5 * MIB))
    case.body += varint(noise.randrange(1, 12) << 3 | 2) + varint(size) + bytes(size)


def _floats(case: Case, noise: random.Random) -> None:
    field = noise.randrange(1, 16)
    case.body += varint(field << 3 | 1) + struct.pack("<d", noise.choice(FLOATS))


def _noise(case: Case, noise: random.Random) -> None:
    case.body = noise.randbytes(noise.randrange(0, 400))


BYTES: Sequence[tuple[Change, int]] = (
    (_truncated, 6),
    (_flipped, 8),
    (_unknown, 3),
    (_bad_text, 3),
    (_bombed, 2),
    (_floats, 2),
    (_noise, 3),
    (_many, 1),
    (_large, 1),
)
"""How a body is broken, and how often beside the others: the last ones cost most."""


# --- callers --------------------------------------------------------------------------------------

STRANGE_METADATA: Sequence[tuple[str, str]] = (
    ("authorization", "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."),
    ("authorization", "Bearer " + "a" * 3_000),
    ("authorization", "Bearer ..."),
    ("liandong-person", "operator-live-p1"),
    ("liandong-person", "'; DROP TABLE person; --"),
    ("liandong-purpose", "Loan Review!"),
    ("liandong-purpose", "x" * 400),
    ("liandong-service", "../loans"),
    ("liandong-break-glass", str(uuid.UUID(int=1))),
    ("traceparent", "00-" + "f" * 32 + "-" + "0" * 16 + "-zz"),
)


def a_case(
    seed: int,
    number: int,
    routes: Sequence[Route],
    callers: Sequence[tuple[str, Write]],
) -> Case:
    """The case of a number under a seed; the same whatever was run before it."""
    noise = random.Random(f"{seed}/{number}")
    route = noise.choice(routes)
    institution_id, write = noise.choice(callers)
    message = write(route.descriptor.input_type)
    if route.command:
        message.request_id = str(uuid.UUID(int=noise.getrandbits(128), version=4))
    how = [break_field(message, noise) for _ in range(noise.choice((0, 1, 1, 2, 4)))]
    case = Case(route, message.SerializeToString(), institution_id, [])
    if noise.random() < 0.45:
        changes, weights = zip(*BYTES, strict=True)
        change = noise.choices(changes, weights)[0]
        change(case, noise)
        how.append(change.__name__.strip("_"))
    if noise.random() < 0.15:
        case.metadata.append(noise.choice(STRANGE_METADATA))
        how.append(case.metadata[-1][0])
    case.how = ", ".join(how)
    return case
