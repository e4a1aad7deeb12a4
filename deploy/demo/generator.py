"""The household file of the example county: good lines to the published totals, mess on top."""

import csv
import uuid
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Final

from deploy.demo.names import COUNTY_CODE
from deploy.demo.people import (
    ABLE,
    HEAD,
    Area,
    County,
    Home,
    Person,
    county,
    dice,
    family,
    newcomer,
    scaled,
)

# English key → the column's header in the file.
COLUMNS: Final = {
    "household_number": "户编号",
    "village_code": "村代码",
    "relation": "与户主关系",
    "name": "姓名",
    "identity_number": "证件号码",
    "phone": "电话",
    "registration_status": "登记状态",
    "labour": "劳动能力",
    "registered_on": "登记日期",
}
REGISTERED_POOR: Final = "建档立卡贫困户"

# Kind of mess → how many lines of it a whole county has, and the column that is wrong.
MESS: Final = {
    "identity_checksum": (40, "identity_number"),
    "identity_17_digits": (25, "identity_number"),
    "identity_15_digits": (20, "identity_number"),
    "identity_letters": (15, "identity_number"),
    "identity_full_width": (20, "identity_number"),
    "identity_trailing_newline": (10, "identity_number"),
    "identity_future_birth": (8, "identity_number"),
    "identity_impossible_birth": (8, "identity_number"),
    "duplicate_line": (60, "identity_number"),
    "person_in_two_households": (30, "identity_number"),
    "unknown_village": (25, "village_code"),
    "empty_name": (15, "name"),
    "two_heads": (12, "relation"),
    "bad_date": (20, "registered_on"),
    "missing_columns": (10, "identity_number"),
}
# These need no family to be wrong in: each is a household of one line.
ALWAYS_ALONE: Final = {"unknown_village", "bad_date"}
NEVER_ALONE: Final = {"duplicate_line", "person_in_two_households", "two_heads"}
EARLIER_PEOPLE_MAX: Final = 2_000
# A registry hands sequences out from 001 upwards: 900 to 995 are hardly ever a living person's.
FIRST_SEQUENCE: Final = 900
SLOTS_A_DAY: Final = 48
FULL_WIDTH: Final = str.maketrans("0123456789X", "０１２３４５６７８９Ｘ")

Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Expected:
    """What an honest import of the file reports."""

    households: int
    people: int
    refused_lines: int
    by_kind: dict[str, int]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A line that must be refused; `line` is where it starts in the file, the header being 1."""

    line: int
    kind: str
    column: str
    row: Row


def areas(seed: int, scale: float = 1.0) -> list[Area]:
    """The county, its townships and its villages, every parent before its children."""
    return list(county(seed, scale).areas)


def household_numbers(seed: int, scale: float = 1.0) -> Iterator[str]:
    """The households that an honest import creates, in file order."""
    return (home.number for home in county(seed, scale).homes())


def head_names(seed: int, scale: float, numbers: Collection[str]) -> dict[str, str]:
    """The names of the heads of some households, as the file has them."""
    return {
        home.number: family(seed, home)[0].name
        for home in county(seed, scale).homes()
        if home.number in numbers
    }


def generate_households(seed: int, scale: float = 1.0) -> Iterator[Row]:
    """The file's rows by English key; a row cut short simply lacks its last keys."""
    return (row for _, row in _lines(seed, scale))


def write_households(
    path: Path, seed: int, scale: float = 1.0, *, byte_order_mark: bool = True
) -> int:
    """Write the file as an office program would, and return its number of rows."""
    rows = 0
    encoding = "utf-8-sig" if byte_order_mark else "utf-8"
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS.values())
        for row in generate_households(seed, scale):
            writer.writerow(row.values())
            rows += 1
    return rows


def expected(seed: int, scale: float = 1.0) -> Expected:
    """The totals that the file was made to, without reading it."""
    frame = county(seed, scale)
    by_kind = _mess_counts(scale)
    return Expected(
        households=len(frame.sizes),
        people=sum(frame.sizes),
        refused_lines=sum(by_kind.values()),
        by_kind=by_kind,
    )


def refusals(seed: int, scale: float = 1.0) -> Iterator[Refusal]:
    """Each line that must be refused, in file order."""
    line = 2
    for kind, row in _lines(seed, scale):
        if kind is not None:
            yield Refusal(line, kind, MESS[kind][1], row)
        line += 1 + sum(value.count("\n") for value in row.values())


def request_id(seed: int, *parts: object) -> uuid.UUID:
    """The same request in every run of the same seed, so that a resumed demo repeats itself."""
    return uuid.uuid5(uuid.NAMESPACE_URL, "liandong-demo:" + "/".join(map(str, (seed, *parts))))


def check_digit(first17: str) -> str:
    """ISO 7064 MOD 11-2."""
    total = sum(int(digit) << (17 - place) for place, digit in enumerate(first17))
    return "10X98765432"[total % 11]


def identity_number(born: str, sequence: int) -> str:
    first17 = f"{COUNTY_CODE}{born}{sequence:03d}"
    return first17 + check_digit(first17)


class IdentityNumbers:
    """Numbers used once; it remembers a count for each day and sex, not the numbers."""

    def __init__(self) -> None:
        self._used: dict[tuple[date, bool], int] = {}

    def take(self, person: Person) -> str:
        born = person.born
        while (used := self._used.get((born, person.male), 0)) >= SLOTS_A_DAY:
            born -= timedelta(days=1)
        self._used[(born, person.male)] = used + 1
        slot = (7 * born.toordinal() + used) % SLOTS_A_DAY
        return identity_number(f"{born:%Y%m%d}", FIRST_SEQUENCE + 2 * slot + person.male)


def _mess_counts(scale: float) -> dict[str, int]:
    return {kind: scaled(count, scale, at_least=1) for kind, (count, _) in MESS.items()}


def _mess_by_home(frame: County, scale: float) -> dict[int, str]:
    """At most one wrong line after a household; never after the first, which has no past."""
    kinds = [kind for kind, count in _mess_counts(scale).items() for _ in range(count)]
    hosts = dice(frame.seed, "mess").sample(range(1, len(frame.sizes)), len(kinds))
    return dict(zip(hosts, kinds, strict=True))


def _lines(seed: int, scale: float) -> Iterator[tuple[str | None, Row]]:
    frame = county(seed, scale)
    mess = _mess_by_home(frame, scale)
    numbers = IdentityNumbers()
    earlier: deque[Row] = deque(maxlen=EARLIER_PEOPLE_MAX)
    for ordinal, home in enumerate(frame.homes()):
        rng = dice(seed, "rows", home.number)
        registered_on = f"{date(2014, 4, 1) + timedelta(days=rng.randrange(1_300))}"
        rows = [
            _row(rng, home, person, numbers.take(person), registered_on)
            for person in family(seed, home)
        ]
        for row in rows:
            yield None, row
        if kind := mess.get(ordinal):
            yield kind, _wrong_row(kind, rng, home, rows, earlier=earlier, numbers=numbers)
        earlier.extend(rows)


def _row(rng: Random, home: Home, person: Person, identity: str, registered_on: str) -> Row:
    reachable = person.relation == HEAD or (person.labour == ABLE and rng.random() < 0.4)
    return {
        "household_number": home.number,
        "village_code": home.village.code,
        "relation": person.relation,
        "name": person.name,
        "identity_number": identity,
        # No operator was ever given the prefix 154.
        "phone": f"154{rng.randrange(10**8):08d}" if reachable else "",
        "registration_status": REGISTERED_POOR,
        "labour": person.labour,
        "registered_on": registered_on,
    }


def _wrong_row(
    kind: str,
    rng: Random,
    home: Home,
    rows: list[Row],
    *,
    earlier: deque[Row],
    numbers: IdentityNumbers,
) -> Row:
    if kind == "duplicate_line":
        return dict(rng.choice(rows))
    alone = kind in ALWAYS_ALONE or (kind not in NEVER_ALONE and rng.random() < 0.5)
    person = newcomer(rng, HEAD if alone or kind == "two_heads" else None)
    row = _row(rng, home, person, numbers.take(person), rows[0]["registered_on"])
    if alone:
        row["household_number"] = f"{home.village.code}{9000 + int(home.number[12:])}"
    if kind.startswith("identity_"):
        row["identity_number"] = _wrong_identity(kind, rng, row["identity_number"])
    elif kind == "person_in_two_households":
        twin = rng.choice(earlier)
        row |= {"name": twin["name"], "identity_number": twin["identity_number"]}
    elif kind == "unknown_village":
        row["village_code"] = rng.choice(
            (home.village.township + "999", "411281100201", home.village.code[:-1])
        )
    elif kind == "empty_name":
        row["name"] = rng.choice(("", "  "))
    elif kind == "bad_date":
        row["registered_on"] = rng.choice(
            ("2015-02-30", "2016-13-01", "二〇一六年三月", "20160931")
        )
    elif kind == "missing_columns":
        row = {key: row[key] for key in list(COLUMNS)[:4]}
    return row


def _wrong_identity(kind: str, rng: Random, right: str) -> str:
    match kind:
        case "identity_checksum":
            return right[:17] + rng.choice([c for c in "0123456789X" if c != right[17]])
        case "identity_17_digits":
            return right[:17]
        case "identity_15_digits":
            return right[:6] + right[8:17]
        case "identity_letters":
            at = rng.randrange(6, 17)
            return right[:at] + rng.choice("OIlAB") + right[at + 1 :]
        case "identity_full_width":
            return right.translate(FULL_WIDTH)
        case "identity_trailing_newline":
            return right + "\n"
        case "identity_future_birth":
            return identity_number(f"20{rng.randint(60, 99)}0{rng.randint(1, 9)}15", 900)
        case "identity_impossible_birth":
            day = rng.choice(("19830230", "19711301", "19900431", "18880808"))
            return identity_number(day, rng.randrange(900, 996))
    raise AssertionError(f"no such mess: {kind}")
