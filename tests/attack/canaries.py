"""Canaries: people who do not exist, and a search for them in everything that a platform leaves."""

import base64
import csv
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from deploy.demo import generator
from tests.lengths import LONG

PEOPLE = 10_000 if LONG else 2_000
A_HOUSEHOLD = 4
COLUMNS = (
    *("household_number", "village_code", "relation", "name", "identity_number", "phone"),
    *("registered_on", "registration_status"),
)
RELATIONS = ("户主", "配偶", "子", "女")
_RARE = range(0x3400, 0x3400 + 200)
"""Signs that stand in no text of ours: three of them are a name that nobody else has."""
_BETWEEN = rb"[ \t\-_.,:/\xc2\xa0]{0,3}"
_NUMBER = re.compile(rb"[0-9]" + _BETWEEN + rb"(?:[0-9Xx]" + _BETWEEN + rb"){9,80}")
_HEX = re.compile(rb"[0-9a-fA-F]{22,}")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{14,}={0,2}")
_NAME = re.compile("[\u3400-\u4dbf]{3}")
_LONGEST = 64 * 1024
_DEPTH_MAX = 2
_BLANK_MAX = 1_000_000
"""Of pieces in which nothing was found so many are known again."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who does not exist."""

    name: str
    identity_number: str
    phone: str
    account_number: str
    household_number: str
    relation: str


def people(count: int = PEOPLE) -> Iterator[Person]:
    """The same people every time."""
    first = date(1950, 1, 1)
    for number in range(count):
        born = first + timedelta(days=number)
        place = number % A_HOUSEHOLD
        a, rest = divmod(number, 200 * 200)
        b, c = divmod(rest, 200)
        name = "".join(chr(_RARE[sign]) for sign in (a, b, c))
        yield Person(
            name=f"王{name}",
            # An even serial is a woman's, an odd one a man's, as relations want them.
            identity_number=generator.identity_number(f"{born:%Y%m%d}", 970 + (0, 1, 0, 1)[place]),
            phone=f"199{70_000_000 + number * 7:08d}",
            account_number=f"6228{9_700_000_000_000 + number * 13:015d}",
            household_number=f"C-{number // A_HOUSEHOLD}",
            relation=("户主", "配偶", "女", "子")[place] if place else "户主",
        )


def write(path: Path, everybody: Sequence[Person], village: str, on: date) -> None:
    """The people as a file that a county imports."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for each in everybody:
            writer.writerow(
                [
                    *(each.household_number, village, each.relation, each.name),
                    *(each.identity_number, each.phone, on, "建档立卡贫困户"),
                ]
            )


Decode = Callable[[str, bytes, str, int], None]


@dataclass(slots=True)
class Hit:
    """Where something personal was found, and how it stood there."""

    place: str
    form: str
    around: str

    def __str__(self) -> str:
        return f"{self.place}: {self.form}: …{self.around}…"


@dataclass
class Search:
    """Everything personal, in the forms in which it might be left."""

    numbers: frozenset[bytes]
    names: frozenset[str]
    digests: frozenset[bytes] = field(init=False)
    hits: list[Hit] = field(default_factory=list)
    bytes_searched: int = 0
    _blank: set[tuple[str, int, bytes]] = field(default_factory=set)

    def __post_init__(self) -> None:
        everything = [*self.numbers, *(name.encode() for name in self.names)]
        self.digests = frozenset(
            digest(each).digest() for each in everything for digest in (hashlib.sha256, hashlib.md5)
        )
        self._lengths = sorted({len(each) for each in self.numbers})

    @classmethod
    def of(cls, everybody: Iterable[Person]) -> "Search":
        """For some people."""
        all_of_them = list(everybody)
        return cls(
            frozenset(
                number.encode()
                for each in all_of_them
                for number in (each.identity_number, each.phone, each.account_number)
            ),
            frozenset(each.name[1:] for each in all_of_them),
        )

    def look(self, place: str, text: bytes, *, depth: int = 0, form: str = "") -> None:
        """Search a text: raw, spaced, base64, hexadecimal, SHA-256 and MD5."""
        if depth == 0:
            self.bytes_searched += len(text)
        self._raw(place, text, form or "raw")
        for found in _HEX.finditer(text):
            self._once(self._hex, place, found[0], form, depth)
        if depth >= _DEPTH_MAX:
            return
        for found in _BASE64.finditer(text):
            self._once(self._base64, place, found[0][:_LONGEST], form, depth)

    def _once(self, look: Decode, place: str, found: bytes, form: str, depth: int) -> None:
        """The same ids and words stand everywhere: what held nobody still does."""
        known = (look.__name__, depth, found)
        if known in self._blank:
            return
        hits = len(self.hits)
        look(place, found, form, depth)
        if len(self.hits) == hits:
            if len(self._blank) >= _BLANK_MAX:
                self._blank.clear()
            self._blank.add(known)

    def _raw(self, place: str, text: bytes, form: str) -> None:
        for found in _NUMBER.finditer(text):
            digits = re.sub(rb"[^0-9Xx]", b"", found[0]).upper()
            for length in self._lengths:
                for start in range(len(digits) - length + 1):
                    if digits[start : start + length] in self.numbers:
                        spaced = "" if digits in found[0] else "spaced "
                        self._hit(place, f"{spaced}{form}", text, found.start())
        for decoded in (text.decode("utf-8", "ignore"),):
            for name in _NAME.findall(decoded):
                if name in self.names:
                    self._hit(place, f"name {form}", text, text.find(name.encode()))
        if form != "raw":
            self._digest(place, text, form)

    def _hex(self, place: str, found: bytes, form: str, depth: int) -> None:
        even = found[: len(found) // 2 * 2]
        for start in (0, 1):
            part = even[start : start + len(even) - 2 * start]
            raw = bytes.fromhex(part.decode())
            self._digest(place, raw, f"{form} hex".strip())
            if depth < _DEPTH_MAX:
                self.look(place, raw, depth=depth + 1, form=f"{form} hex".strip())

    def _base64(self, place: str, found: bytes, form: str, depth: int) -> None:
        plain = found.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
        for start in range(4):
            part = plain[start:]
            part = part[:-1] if len(part) % 4 == 1 else part
            raw = base64.b64decode(part + b"=" * (-len(part) % 4))
            # Text that only looks like base64 decodes to noise, in which no number is found.
            self._raw(place, raw, f"{form} base64".strip())

    def _digest(self, place: str, raw: bytes, form: str) -> None:
        for length in (16, 32):
            for start in range(min(len(raw), 4_096) - length + 1):
                if raw[start : start + length] in self.digests:
                    self._hit(place, f"{form} digest", raw, start)

    def _hit(self, place: str, form: str, text: bytes, at: int) -> None:
        around = text[max(0, at - 60) : at + 90].decode("utf-8", "replace")
        self.hits.append(Hit(place, form, around))
