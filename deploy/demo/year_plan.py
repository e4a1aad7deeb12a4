"""The example county's year: who applies, what the storm takes, who dies, repays or defaults."""

from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import StrEnum
from functools import lru_cache
from itertools import groupby
from random import Random
from typing import Final

from deploy.demo.indicators import Standing, standing
from deploy.demo.people import ABLE, SKILLED, County, county, dice, family, scaled

STARTS_ON: Final = date(2018, 3, 5)
PURPOSES: Final = (
    "mushroom_growing",
    "walnut_growing",
    "herb_growing",
    "beekeeping",
    "cattle_raising",
    "chicken_raising",
    "farm_tourism",
)
PROHIBITED: Final = ("house_purchase", "car_purchase")

# What a whole county's year holds.
APPLICATIONS: Final = 3_000
# Below this no village owes enough for a lonely default to stay lonely.
APPLICATIONS_MIN: Final = 80
OVER_LIMIT: Final = 60
PROHIBITED_PURPOSE: Final = 40
BELOW_GRADE: Final = 20
VETOED: Final = 20
STORM_VILLAGES: Final = 6
STORM_BORROWERS: Final = 150
DEATHS: Final = 25
REPAYMENTS: Final = 120
CLUSTER_DEFAULTS: Final = 8
CLUSTER_GOOD_LOANS: Final = 3
SCATTERED_DEFAULTS: Final = 52

YUAN_FEN: Final = 100
STEP_FEN: Final = 1_000 * YUAN_FEN
AMOUNT_MIN_FEN: Final = 10_000 * YUAN_FEN
AMOUNT_MAX_FEN: Final = 50_000 * YUAN_FEN
# More than the highest grade and the highest honour together give.
OVER_LIMIT_MIN_FEN: Final = 350_000 * YUAN_FEN
OVER_LIMIT_MAX_FEN: Final = 480_000 * YUAN_FEN
LOSS_MIN_FEN: Final = 3_000 * YUAN_FEN
LOSS_MAX_FEN: Final = 60_000 * YUAN_FEN

# A village stops above 5 %; one lonely default stays at or below this, whatever else happens.
LONELY_SHARE_MAX_PCT: Final = 4
# Adults who are still below 60 when a loan of three years falls due.
FIRST_BORN: Final = date(1964, 1, 1)
LAST_BORN: Final = date(1995, 12, 31)

APPLICATION_DAYS: Final = 10
DUE_IN_YEAR_MONTHS: Final = 6
LONG_TERMS_MONTHS: Final = (12, 24, 36)
STORM_AFTER_DAYS: Final = 130
DEATHS_AFTER_DAYS: Final = (60, 90, 120, 150, 165)
REPAYMENTS_AFTER_DAYS: Final = (150, 160, 170)
# Six months to the due date, 70 days to non-performing, and three weeks to spare.
LATE_AFTER_DAYS: Final = 295


class Expect(StrEnum):
    """What the rules of the programme must make of an application."""

    APPROVED = "approved"
    OVER_LIMIT = "over_limit"
    PROHIBITED_PURPOSE = "prohibited_purpose"
    BELOW_GRADE = "below_grade"
    VETOED = "vetoed"
    VILLAGE_STOPPED = "village_stopped"


@dataclass(frozen=True, slots=True)
class Application:
    household_number: str
    village_code: str
    applied_on: date
    amount_fen: int
    purpose: str
    term_months: int
    expect: Expect


@dataclass(frozen=True, slots=True)
class Loss:
    household_number: str
    village_code: str
    loss_fen: int


@dataclass(frozen=True, slots=True)
class Disaster:
    kind: str
    occurred_on: date
    village_codes: tuple[str, ...]
    losses: tuple[Loss, ...]


@dataclass(frozen=True, slots=True)
class Death:
    """The head of the household, who is the borrower, dies."""

    household_number: str
    village_code: str
    died_on: date


@dataclass(frozen=True, slots=True)
class Repayment:
    """The whole debt, paid by the household before it is due."""

    household_number: str
    village_code: str
    repaid_on: date


@dataclass(frozen=True, slots=True)
class Default:
    """Nothing is ever paid on this loan, which falls due within the year."""

    household_number: str
    village_code: str
    in_breaker_village: bool


@dataclass(frozen=True, slots=True)
class YearPlan:
    starts_on: date
    applications: tuple[Application, ...]
    disasters: tuple[Disaster, ...]
    deaths: tuple[Death, ...]
    repayments: tuple[Repayment, ...]
    defaults: tuple[Default, ...]
    breaker_village: str
    late_application: Application
    # The same day and amount in a village next to it: only the broken village is closed.
    control_application: Application


@dataclass(frozen=True, slots=True)
class _Pool:
    """Households whose head may borrow and that have no part in the year yet."""

    sound: dict[str, list[str]]
    weak: list[str]
    vetoed: list[str]

    def take(self, village: str, count: int) -> list[str]:
        """Sound households of the village, at most as many as there are."""
        taken, self.sound[village] = self.sound[village][:count], self.sound[village][count:]
        return taken


@dataclass(frozen=True, slots=True)
class _Places:
    storm: tuple[str, ...]
    breaker: str
    control: str
    cluster: int


@dataclass(frozen=True, slots=True)
class _Fates:
    dying: list[Application]
    repaying: list[Application]
    lonely: list[Application]
    broken: list[Application]


@dataclass(frozen=True, slots=True)
class _Writer:
    """Fills in application forms."""

    rng: Random
    days: tuple[date, ...]
    purposes: tuple[str, ...]
    prohibited: tuple[str, ...]

    def write(self, household_number: str, expect: Expect) -> Application:
        over = expect is Expect.OVER_LIMIT
        least, most = (
            (OVER_LIMIT_MIN_FEN, OVER_LIMIT_MAX_FEN) if over else (AMOUNT_MIN_FEN, AMOUNT_MAX_FEN)
        )
        barred = expect is Expect.PROHIBITED_PURPOSE
        return Application(
            household_number=household_number,
            village_code=household_number[:12],
            applied_on=self.rng.choice(self.days),
            amount_fen=STEP_FEN * self.rng.randint(least // STEP_FEN, most // STEP_FEN),
            purpose=self.rng.choice(self.prohibited if barred else self.purposes),
            term_months=self.rng.choice(LONG_TERMS_MONTHS),
            expect=expect,
        )


@lru_cache(maxsize=4)
def plan(
    seed: int,
    scale: float = 1.0,
    *,
    starts_on: date = STARTS_ON,
    purposes: tuple[str, ...] = PURPOSES,
    prohibited: tuple[str, ...] = PROHIBITED,
) -> YearPlan:
    """Everything that happens to the county in a year; purposes are the programme's codes."""
    pool = _pool(county(seed, scale))
    places = _places(pool, scale)
    late_household, control_household = (
        pool.take(village, 1)[0] for village in (places.breaker, places.control)
    )
    rng = dice(seed, "applications")
    writer = _Writer(rng, _weekdays(starts_on, APPLICATION_DAYS), purposes, prohibited)
    applied = _applications(writer, pool, places, scale)
    fates = _fates(dice(seed, "fates"), applied, places, scale)
    applied = _dated_by_fate(applied, fates)
    late = Application(
        household_number=late_household,
        village_code=places.breaker,
        applied_on=_weekdays(starts_on + timedelta(days=LATE_AFTER_DAYS), 1)[0],
        amount_fen=2 * AMOUNT_MIN_FEN,
        purpose=purposes[0],
        term_months=LONG_TERMS_MONTHS[0],
        expect=Expect.VILLAGE_STOPPED,
    )
    control = replace(
        late,
        household_number=control_household,
        village_code=places.control,
        expect=Expect.APPROVED,
    )
    return YearPlan(
        starts_on=starts_on,
        applications=tuple(sorted(applied, key=lambda a: (a.applied_on, a.household_number))),
        disasters=(_storm(dice(seed, "storm"), starts_on, places, applied, scale),),
        deaths=_deaths(starts_on, fates.dying),
        repayments=_repayments(starts_on, fates.repaying),
        defaults=tuple(
            Default(each.household_number, each.village_code, each.village_code == places.breaker)
            for each in (*fates.lonely, *fates.broken)
        ),
        breaker_village=places.breaker,
        late_application=late,
        control_application=control,
    )


def _pool(frame: County) -> _Pool:
    pool = _Pool({village.code: [] for village in frame.villages}, [], [])
    for home in frame.homes():
        head = family(frame.seed, home)[0]
        if head.labour not in (ABLE, SKILLED) or not FIRST_BORN <= head.born <= LAST_BORN:
            continue
        match standing(frame.seed, home.number):
            case Standing.SOUND:
                pool.sound[home.village.code].append(home.number)
            case Standing.WEAK:
                pool.weak.append(home.number)
            case Standing.VETOED:
                pool.vetoed.append(home.number)
    rng = dice(frame.seed, "pool")
    for numbers in (*pool.sound.values(), pool.weak, pool.vetoed):
        rng.shuffle(numbers)
    return pool


def _places(pool: _Pool, scale: float) -> _Places:
    """The storm goes where most may borrow; the breaker trips in the least village that can."""
    by_township = {
        township: sorted(codes, key=lambda code: (-len(pool.sound[code]), code))
        for township, codes in groupby(pool.sound, key=lambda code: code[:9])
    }
    width = scaled(STORM_VILLAGES, scale, at_least=1)
    stormy = max(
        by_township,
        key=lambda township: sum(len(pool.sound[code]) for code in by_township[township][:width]),
    )
    cluster = scaled(CLUSTER_DEFAULTS, scale, at_least=3)
    wanted = cluster + CLUSTER_GOOD_LOANS + 1
    breaker = min(
        (
            code
            for code, numbers in pool.sound.items()
            if code[:9] != stormy and len(numbers) >= wanted
        ),
        key=lambda code: (len(pool.sound[code]), code),
    )
    # The township's largest, unless that is the broken one itself.
    control = next(code for code in by_township[breaker[:9]] if code != breaker)
    return _Places(tuple(sorted(by_township[stormy][:width])), breaker, control, cluster)


def _applications(writer: _Writer, pool: _Pool, places: _Places, scale: float) -> list[Application]:
    broken = pool.take(places.breaker, places.cluster + CLUSTER_GOOD_LOANS)
    # Nobody else there applies before the late one: the village's ratio is the cluster's.
    pool.sound[places.breaker] = []
    stormy_each = -(-scaled(STORM_BORROWERS, scale, at_least=3) // len(places.storm)) + 1
    stormy = [number for code in places.storm for number in pool.take(code, stormy_each)]
    for code in places.storm:
        pool.sound[code] = []

    rest = [number for numbers in pool.sound.values() for number in numbers]
    writer.rng.shuffle(rest)
    refused: list[Application] = []
    for count, source, expect in (
        (OVER_LIMIT, rest, Expect.OVER_LIMIT),
        (PROHIBITED_PURPOSE, rest, Expect.PROHIBITED_PURPOSE),
        (BELOW_GRADE, pool.weak, Expect.BELOW_GRADE),
        (VETOED, pool.vetoed, Expect.VETOED),
    ):
        wanted = scaled(count, scale, at_least=1)
        refused += [writer.write(source.pop(), expect) for _ in range(wanted)]

    total = scaled(APPLICATIONS, scale, at_least=APPLICATIONS_MIN)
    ordinary = rest[: total - len(broken) - len(stormy) - len(refused)]
    return refused + [
        writer.write(number, Expect.APPROVED) for number in (*broken, *stormy, *ordinary)
    ]


def _fates(rng: Random, applied: list[Application], places: _Places, scale: float) -> _Fates:
    approved = [each for each in applied if each.expect is Expect.APPROVED]
    calm = [each for each in approved if each.village_code not in {places.breaker, *places.storm}]
    rng.shuffle(calm)
    deaths = scaled(DEATHS, scale, at_least=2)
    leaving = deaths + scaled(REPAYMENTS, scale, at_least=2)
    return _Fates(
        dying=calm[:deaths],
        repaying=calm[deaths:leaving],
        lonely=_lonely(calm[leaving:], scaled(SCATTERED_DEFAULTS, scale, at_least=1)),
        broken=[each for each in approved if each.village_code == places.breaker][: places.cluster],
    )


def _lonely(staying: list[Application], wanted: int) -> list[Application]:
    """One small defaulter each in the villages that owe most, so that none of them trips."""
    by_village: dict[str, list[Application]] = {}
    for each in staying:
        by_village.setdefault(each.village_code, []).append(each)
    ranked = sorted(
        (AMOUNT_MIN_FEN + sum(each.amount_fen for each in loans[1:]), code, loans[0])
        for code, loans in by_village.items()
    )
    return [
        first
        for owed_fen, _, first in reversed(ranked[-wanted:])
        if owed_fen * LONELY_SHARE_MAX_PCT >= AMOUNT_MIN_FEN * 100
    ]


def _dated_by_fate(applied: list[Application], fates: _Fates) -> list[Application]:
    due_in_year = {
        each.household_number for each in (*fates.repaying, *fates.lonely, *fates.broken)
    }
    lonely = {each.household_number for each in fates.lonely}
    return [
        replace(
            each,
            term_months=DUE_IN_YEAR_MONTHS
            if each.household_number in due_in_year
            else each.term_months,
            amount_fen=AMOUNT_MIN_FEN if each.household_number in lonely else each.amount_fen,
        )
        for each in applied
    ]


def _storm(
    rng: Random, starts_on: date, places: _Places, applied: list[Application], scale: float
) -> Disaster:
    borrowers = [
        each
        for each in applied
        if each.expect is Expect.APPROVED and each.village_code in places.storm
    ]
    hit = rng.sample(borrowers, min(len(borrowers), scaled(STORM_BORROWERS, scale, at_least=3)))
    losses = [
        Loss(
            each.household_number,
            each.village_code,
            YUAN_FEN * rng.randint(LOSS_MIN_FEN // YUAN_FEN, LOSS_MAX_FEN // YUAN_FEN),
        )
        for each in hit
    ]
    return Disaster(
        kind="storm",
        occurred_on=starts_on + timedelta(days=STORM_AFTER_DAYS),
        village_codes=places.storm,
        losses=tuple(sorted(losses, key=lambda loss: loss.household_number)),
    )


def _deaths(starts_on: date, dying: list[Application]) -> tuple[Death, ...]:
    deaths = [
        Death(
            each.household_number,
            each.village_code,
            starts_on + timedelta(days=DEATHS_AFTER_DAYS[at % len(DEATHS_AFTER_DAYS)]),
        )
        for at, each in enumerate(dying)
    ]
    return tuple(sorted(deaths, key=lambda death: (death.died_on, death.household_number)))


def _repayments(starts_on: date, repaying: list[Application]) -> tuple[Repayment, ...]:
    repayments = [
        Repayment(
            each.household_number,
            each.village_code,
            starts_on + timedelta(days=REPAYMENTS_AFTER_DAYS[at % len(REPAYMENTS_AFTER_DAYS)]),
        )
        for at, each in enumerate(repaying)
    ]
    return tuple(sorted(repayments, key=lambda each: (each.repaid_on, each.household_number)))


def _weekdays(first: date, count: int) -> tuple[date, ...]:
    week = (first + timedelta(days=offset) for offset in range(7 * count))
    return tuple(day for day in week if day.weekday() < 5)[:count]
