"""The example county in valid form: its areas, households and families, from one seed."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from itertools import accumulate, pairwise
from random import Random
from typing import Final

from deploy.demo.names import (
    COUNTY_CODE,
    COUNTY_NAME,
    FEMALE_CHARACTERS,
    MALE_CHARACTERS,
    SURNAMES,
    TOWNS,
    TOWNSHIPS,
)

# The published totals of the county.
VILLAGES: Final = 352
HOUSEHOLDS: Final = 16_301
PEOPLE: Final = 50_628

SCALE_MIN: Final = 0.02
SCALE_MAX: Final = 8.0
HOUSEHOLD_SIZE_MAX: Final = 7
VILLAGE_HOUSEHOLDS_MIN: Final = 10
# One broken village in four is 25 %, below the 30 % that would close the whole township.
TOWNSHIP_VILLAGES_MIN: Final = 4

LAST_BIRTH: Final = date(2017, 12, 31)
FIRST_BIRTH: Final = date(1930, 1, 1)

HEAD, SPOUSE, SON, DAUGHTER, FATHER, MOTHER, GRANDSON, GRANDDAUGHTER = RELATIONS = (
    "户主",
    "配偶",
    "子",
    "女",
    "父",
    "母",
    "孙子",
    "孙女",
)
ABLE, SKILLED, WEAK, LOST, NONE = LABOUR = (
    "普通劳动力",
    "技能劳动力",
    "弱劳动力或半劳动力",
    "丧失劳动力",
    "无劳动力",
)


@dataclass(frozen=True, slots=True)
class Area:
    code: str
    name: str
    level: str
    parent: str | None


@dataclass(frozen=True, slots=True)
class Village:
    code: str
    households: int

    @property
    def township(self) -> str:
        return self.code[:9]


@dataclass(frozen=True, slots=True)
class Home:
    """Where one household lives and how many people it has."""

    number: str
    village: Village
    size: int


@dataclass(frozen=True, slots=True)
class Person:
    relation: str
    name: str
    male: bool
    born: date
    labour: str


@dataclass(frozen=True, slots=True)
class County:
    seed: int
    areas: tuple[Area, ...]
    villages: tuple[Village, ...]
    sizes: bytes

    def has(self, household_number: str) -> bool:
        code, ordinal = household_number[:12], household_number[12:]
        at = bisect_left(self.villages, code, key=lambda village: village.code)
        if at == len(self.villages) or self.villages[at].code != code:
            return False
        return ordinal.isdecimal() and 1 <= int(ordinal) <= self.villages[at].households

    def homes(self) -> Iterator[Home]:
        sizes = iter(self.sizes)
        for village in self.villages:
            for ordinal in range(1, village.households + 1):
                yield Home(f"{village.code}{ordinal:04d}", village, next(sizes))


def dice(seed: int, *parts: object) -> Random:
    """A generator of its own for each thing, so that no value depends on what was drawn before."""
    return Random("/".join(map(str, (seed, *parts))))


def scaled(count: int, scale: float, *, at_least: int) -> int:
    return max(at_least, round(count * scale))


@lru_cache(maxsize=4)
def county(seed: int, scale: float) -> County:
    """The county's frame; about one byte a household, whatever is drawn from it later."""
    if not SCALE_MIN <= scale <= SCALE_MAX:
        raise ValueError(f"scale {scale} is outside {SCALE_MIN} to {SCALE_MAX}")
    townships = _townships(scale)
    village_count = min(
        VILLAGES, scaled(VILLAGES, scale, at_least=TOWNSHIP_VILLAGES_MIN * len(townships))
    )
    village_areas = _villages(seed, townships, village_count)
    households = round(HOUSEHOLDS * scale)
    counts = _apportion(
        dice(seed, "village sizes"),
        households,
        parts=village_count,
        at_least=VILLAGE_HOUSEHOLDS_MIN,
        spread=5,
    )
    return County(
        seed=seed,
        areas=(Area(COUNTY_CODE, COUNTY_NAME, "county", None), *townships, *village_areas),
        villages=tuple(Village(a.code, n) for a, n in zip(village_areas, counts, strict=True)),
        sizes=_household_sizes(dice(seed, "sizes"), households, round(PEOPLE * scale)),
    )


def _townships(scale: float) -> list[Area]:
    named = [(f"{COUNTY_CODE}{101 + i}", name) for i, name in enumerate(TOWNS)]
    named += [(f"{COUNTY_CODE}{201 + i}", name) for i, name in enumerate(TOWNSHIPS)]
    wanted = min(len(named), scaled(len(named), scale, at_least=2))
    chosen = [named[i * len(named) // wanted] for i in range(wanted)]
    return [Area(code, name, "township", COUNTY_CODE) for code, name in chosen]


def _villages(seed: int, townships: list[Area], count: int) -> list[Area]:
    counts = _apportion(
        dice(seed, "villages"),
        count,
        parts=len(townships),
        at_least=TOWNSHIP_VILLAGES_MIN,
        spread=2,
    )
    # Committees of villagers are numbered from 201; the names are invented and say so.
    return [
        Area(f"{township.code}{200 + i}", f"{township.name}示例{i:02d}村", "village", township.code)
        for township, n in zip(townships, counts, strict=True)
        for i in range(1, n + 1)
    ]


def _apportion(rng: Random, total: int, *, parts: int, at_least: int, spread: int) -> list[int]:
    """Uneven whole parts that sum to the total, weighted from 1 to `spread` + 1."""
    free = total - parts * at_least
    assert free >= 0, "too few for the smallest parts"
    weights = [rng.randint(100, 100 * (spread + 1)) for _ in range(parts)]
    bounds = [free * mark // sum(weights) for mark in accumulate(weights, initial=0)]
    return [at_least + after - before for before, after in pairwise(bounds)]


def _household_sizes(rng: Random, households: int, people: int) -> bytes:
    sizes = bytearray(
        rng.choices(
            range(1, HOUSEHOLD_SIZE_MAX + 1), weights=(14, 24, 25, 20, 11, 4, 2), k=households
        )
    )
    missing = people - sum(sizes)
    while missing:
        step = 1 if missing > 0 else -1
        at = rng.randrange(households)
        if 1 <= sizes[at] + step <= HOUSEHOLD_SIZE_MAX:
            sizes[at] += step
            missing -= step
    return bytes(sizes)


def family(seed: int, home: Home) -> list[Person]:
    """The people of one household, head first."""
    rng = dice(seed, "family", home.number)
    oldest = 1932 if home.size == 1 else 1946
    born = _between(rng, date(oldest, 1, 1), date(1992, 12, 31))
    male = rng.random() < 0.85
    surname = rng.choice(SURNAMES)
    people = [_person(rng, HEAD, surname, male, born)]
    if home.size > 1 and rng.random() < 0.88:
        spouse = _between(rng, _years(born, -5), _years(born, 5))
        people.append(_person(rng, SPOUSE, rng.choice(SURNAMES), not male, spouse))
    parents = [FATHER, MOTHER] if born.year >= 1953 else []
    while len(people) < home.size:
        draw = rng.random()
        if parents and draw < 0.3:
            people.append(_parent(rng, parents.pop(), surname, born))
        elif born.year <= 1970 and draw > 0.85:
            people.append(_descendant(rng, GRANDSON, GRANDDAUGHTER, surname, _years(born, 44)))
        else:
            people.append(_descendant(rng, SON, DAUGHTER, surname, _years(born, 20)))
    return people


def _parent(rng: Random, relation: str, surname: str, child_born: date) -> Person:
    born = _between(rng, max(FIRST_BIRTH, _years(child_born, -32)), _years(child_born, -20))
    male = relation == FATHER
    return _person(rng, relation, surname if male else rng.choice(SURNAMES), male, born)


def _descendant(rng: Random, man: str, woman: str, surname: str, earliest: date) -> Person:
    male = rng.random() < 0.52
    born = _between(rng, earliest, min(LAST_BIRTH, _years(earliest, 16)))
    return _person(rng, man if male else woman, surname, male, born)


def newcomer(rng: Random, relation: str | None = None) -> Person:
    """A grown person of no household, for the lines that will be refused."""
    male = rng.random() < 0.5
    born = _between(rng, date(1955, 1, 1), date(1998, 12, 31))
    kin = relation or (SON if male else DAUGHTER)
    return _person(rng, kin, rng.choice(SURNAMES), male, born)


def _person(rng: Random, relation: str, surname: str, male: bool, born: date) -> Person:
    characters = MALE_CHARACTERS if male else FEMALE_CHARACTERS
    given = "".join(rng.choices(characters, k=rng.choice((1, 2, 2, 2))))
    return Person(relation, surname + given, male, born, _labour(rng, born))


def _labour(rng: Random, born: date) -> str:
    if born.year >= 2003 or born.year < 1943:
        return NONE
    if born.year < 1957:
        return WEAK
    return rng.choices((ABLE, SKILLED, WEAK, LOST), weights=(82, 8, 6, 4))[0]


def _between(rng: Random, first: date, last: date) -> date:
    return date.fromordinal(rng.randint(first.toordinal(), last.toordinal()))


def _years(day: date, years: int) -> date:
    # 28 February serves 29 February in every year.
    return day.replace(year=day.year + years, day=min(day.day, 28))
