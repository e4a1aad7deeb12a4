"""A household file as long as asked: families of three, each person once, and a wrong line here."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from deploy.demo import generator
from deploy.local.household_file import EXPORT_TITLES

COUNTY: Final = "411224"
VILLAGES: Final = tuple(f"{COUNTY}101{number}" for number in range(201, 221))
FAMILY: Final = ("户主", "配偶", "子")
_DAYS: Final = 20_000
_FIRST_HEAD, _FIRST_SON = date(1925, 1, 1), date(1955, 1, 1)


def people(
    lines: int, *, first: int = 0, wrong_every: int = 0, villages: Sequence[str] = VILLAGES
) -> Iterator[Sequence[str]]:
    """Rows under `EXPORT_TITLES`; of every so many lines one has a number that cannot be."""
    for line in range(first, first + lines):
        family, place = divmod(line, len(FAMILY))
        turn, day = divmod(family, _DAYS)
        since = _FIRST_SON if place == 2 else _FIRST_HEAD
        born = (since + timedelta(days=day)).strftime("%Y%m%d")
        sequence = (501 if place == 2 else 1 + place) + 2 * turn
        number = generator.identity_number(born, sequence)
        # Never a head: its family would go with it.
        if place == 1 and wrong_every and line % wrong_every < len(FAMILY):
            number = number[:17] + ("1" if number[17] == "X" else "X")
        given = chr(0x4E00 + family % 4_999) + chr(0x4E00 + family // 4_999)
        yield (
            f"{COUNTY}{family:010d}",
            villages[family % len(villages)],
            FAMILY[place],
            "王李赵"[place] + given,
            number,
            f"15{family:09d}" if place == 0 else "",
            "建档立卡贫困户",
            "",
            "普通劳动力",
            "2016-03-01",
        )


def write(path: Path, lines: int, *, wrong_every: int = 0) -> Path:
    """The file, as CSV."""
    return write_rows(path, people(lines, wrong_every=wrong_every))


def write_rows(path: Path, rows: Iterable[Sequence[str]]) -> Path:
    """Rows as such a file."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(EXPORT_TITLES)
        writer.writerows(rows)
    return path


def areas(villages: Sequence[str] = VILLAGES) -> list[tuple[str, int]]:
    """The county, its townships and their villages: code and level, parents first."""
    townships = dict.fromkeys(code[:9] for code in villages)
    return [(COUNTY, 1), *((code, 2) for code in townships), *((code, 3) for code in villages)]
