"""The demo's county: totals to the person, every kind of mess, and one village that trips."""

import csv
import io
import re
import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from stdnum.cn import ric

from deploy.demo import generator, indicators, year_plan
from deploy.demo.generator import COLUMNS, MESS, Row
from deploy.demo.indicators import Codes, Standing
from deploy.demo.people import HEAD
from deploy.demo.year_plan import Expect, YearPlan

SEED = 20180305
SMALL = 0.02
CODES = Codes.of_points(
    {"skills": 25, "idle": -15, "good_neighbour": 4, "minor_dispute": -3},
    vetoes=["arrears", "dishonesty"],
    honours=["honest", "civilised", "model"],
)


def is_identity_number(value: str) -> bool:
    if not re.fullmatch(r"[0-9]{17}[0-9X]", value, re.ASCII):
        return False
    if ric.calc_check_digit(value) != value[17]:
        return False
    try:
        born = date(int(value[6:10]), int(value[10:12]), int(value[12:14]))
    except ValueError:
        return False
    return date(1900, 1, 1) <= born <= date(2018, 1, 1)


def is_date(value: str) -> bool:
    try:
        return date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


class HonestImport:
    """The shortest import that reads line by line and lets the first of two claims stand."""

    def __init__(self, seed: int, scale: float) -> None:
        self.villages = {a.code for a in generator.areas(seed, scale) if a.level == "village"}
        self.people: set[str] = set()
        self.heads: set[str] = set()
        self.refused: list[tuple[int, str]] = []

    def read(self, rows: Iterable[tuple[int, Row]]) -> None:
        for line, row in rows:
            if column := self.wrong_column(row):
                self.refused.append((line, column))
                continue
            self.people.add(row["identity_number"])
            if row["relation"] == "户主":
                self.heads.add(row["household_number"])

    def wrong_column(self, row: Row) -> str | None:
        if row["village_code"] not in self.villages:
            return "village_code"
        if not row["name"].strip():
            return "name"
        identity = row.get("identity_number", "")
        if not is_identity_number(identity) or identity in self.people:
            return "identity_number"
        if row["relation"] == "户主" and row["household_number"] in self.heads:
            return "relation"
        if not is_date(row["registered_on"]):
            return "registered_on"
        if row["relation"] != "户主" and row["household_number"] not in self.heads:
            return "household_number"
        return None


def read_file(path: Path) -> Iterator[tuple[int, Row]]:
    keys = {header: key for key, header in COLUMNS.items()}
    reader = csv.reader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=""))
    header = [keys[name] for name in next(reader)]
    starts_at = reader.line_num + 1
    for values in reader:
        yield starts_at, dict(zip(header, values, strict=False))
        starts_at = reader.line_num + 1


def tripped_villages(plan: YearPlan) -> set[str]:
    """Over 5 % of the debt lost, once the dead, the hit and the repaying owe nothing."""
    gone = {each.household_number for each in plan.deaths}
    gone |= {each.household_number for each in plan.repayments}
    gone |= {loss.household_number for storm in plan.disasters for loss in storm.losses}
    bad = {each.household_number for each in plan.defaults}
    owed: defaultdict[str, int] = defaultdict(int)
    lost: defaultdict[str, int] = defaultdict(int)
    for each in plan.applications:
        if each.expect is Expect.APPROVED and each.household_number not in gone:
            owed[each.village_code] += each.amount_fen
            if each.household_number in bad:
                lost[each.village_code] += each.amount_fen
    return {code for code in owed if lost[code] * 100 > owed[code] * 5}


def test_the_county_has_its_published_size() -> None:
    areas = generator.areas(SEED)

    levels = Counter(area.level for area in areas)
    assert levels == {"county": 1, "township": 19, "village": 352}
    assert areas[0].code == "411224"
    assert len({area.code for area in areas}) == len(areas)
    assert all(area.code.startswith(area.parent) for area in areas if area.parent)


def test_the_whole_file_holds_the_published_totals(tmp_path: Path) -> None:
    path = tmp_path / "households.csv"
    rows = generator.write_households(path, SEED)

    honest = HonestImport(SEED, 1.0)
    honest.read(read_file(path))

    expected = generator.expected(SEED)
    assert (expected.households, expected.people) == (16_301, 50_628)
    assert (len(honest.heads), len(honest.people)) == (16_301, 50_628)
    assert len(honest.refused) == expected.refused_lines
    assert rows == expected.people + expected.refused_lines


@pytest.mark.parametrize("scale", [SMALL, 0.1])
def test_the_refusals_are_where_the_generator_says(tmp_path: Path, scale: float) -> None:
    path = tmp_path / "households.csv"
    generator.write_households(path, SEED, scale)

    honest = HonestImport(SEED, scale)
    honest.read(read_file(path))

    refusals = list(generator.refusals(SEED, scale))
    assert honest.refused == [(each.line, each.column) for each in refusals]
    assert Counter(each.kind for each in refusals) == generator.expected(SEED, scale).by_kind
    assert honest.heads == set(generator.household_numbers(SEED, scale))


def test_a_small_county_still_has_every_kind_of_mess() -> None:
    kinds = {each.kind for each in generator.refusals(SEED, SMALL)}

    assert kinds == set(MESS)


def test_good_numbers_are_the_county_s_and_used_once() -> None:
    rows = [
        row["identity_number"]
        for row in generator.generate_households(SEED, SMALL)
        if "identity_number" in row
    ]
    refused = Counter(
        each.row["identity_number"]
        for each in generator.refusals(SEED, SMALL)
        if "identity_number" in each.row
    )
    numbers = list((Counter(rows) - refused).elements())

    assert len(numbers) == generator.expected(SEED, SMALL).people
    assert all(is_identity_number(number) for number in numbers)
    assert all(number.startswith("411224") for number in numbers)
    assert len(set(numbers)) == len(numbers)


def test_the_file_starts_with_a_mark_only_when_asked(tmp_path: Path) -> None:
    marked, plain = tmp_path / "marked.csv", tmp_path / "plain.csv"
    generator.write_households(marked, SEED, SMALL)
    generator.write_households(plain, SEED, SMALL, byte_order_mark=False)

    assert marked.read_bytes() == b"\xef\xbb\xbf" + plain.read_bytes()


def test_the_same_seed_says_the_same_and_another_does_not() -> None:
    first = list(generator.generate_households(SEED, SMALL))

    assert list(generator.generate_households(SEED, SMALL)) == first
    assert list(generator.generate_households(SEED + 1, SMALL)) != first
    assert generator.request_id(SEED, "apply", 7) == generator.request_id(SEED, "apply", 7)
    assert generator.request_id(SEED, "apply", 7) != generator.request_id(SEED, "apply", 8)


def test_the_heads_of_some_households_are_named_as_in_the_file() -> None:
    named: dict[str, str] = {}
    for row in generator.generate_households(SEED, SMALL):
        # Of two heads in a household the first is right.
        if row.get("relation") == HEAD:
            named.setdefault(row["household_number"], row["name"])
    wanted = list(generator.household_numbers(SEED, SMALL))[::7]

    found = generator.head_names(SEED, SMALL, set(wanted))

    assert found == {number: named[number] for number in wanted}


def test_the_file_is_made_in_bounded_memory() -> None:
    tracemalloc.start()
    rows = sum(1 for _ in generator.generate_households(SEED, 0.2))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    # What grows is one small count for each birthday, and the calendar ends.
    assert rows > 10_000
    assert peak < 6_000_000


@pytest.mark.parametrize("scale", [0, 0.001, 9.0])
def test_a_scale_that_makes_no_county_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="outside"):
        generator.areas(SEED, scale)


def test_indicators_follow_the_household_s_standing() -> None:
    numbers = list(generator.household_numbers(SEED, 0.1))
    held = [indicators.indicators(SEED, 0.1, number, codes=CODES) for number in numbers]

    by_standing = {kind: [each for each in held if each.standing is kind] for kind in Standing}
    assert all(by_standing.values())
    assert {each.adjustments for each in by_standing[Standing.WEAK]} == {("minor_dispute", "idle")}
    assert all(len(each.vetoes) == 1 for each in by_standing[Standing.VETOED])
    for each in by_standing[Standing.SOUND]:
        assert "idle" not in each.adjustments
        assert not each.vetoes
    assert {each.honour for each in held} == {None, *CODES.honours}
    assert 0.78 < len(by_standing[Standing.SOUND]) / len(held) < 0.86


def test_indicators_of_a_stranger_are_refused() -> None:
    for number in ("", "411224101201", "4112241012019999", "9999999999990001"):
        with pytest.raises(ValueError, match="no household"):
            indicators.indicators(SEED, SMALL, number, codes=CODES)


def test_the_year_has_its_volumes() -> None:
    plan = year_plan.plan(SEED)

    verdicts = Counter(each.expect for each in plan.applications)
    assert sum(verdicts.values()) == 3_000
    assert verdicts[Expect.APPROVED] == 2_860
    assert len({each.household_number for each in plan.applications}) == 3_000
    assert len(plan.disasters[0].village_codes) == 6
    assert len(plan.disasters[0].losses) == 150
    assert len(plan.deaths) == 25
    assert len(plan.defaults) == 60
    assert plan.late_application.applied_on > plan.starts_on + timedelta(days=280)


@pytest.mark.parametrize(
    ("seed", "scale"), [*((seed, SMALL) for seed in range(20)), (1, 0.1), (2, 0.3), (SEED, 1.0)]
)
def test_exactly_one_village_trips(seed: int, scale: float) -> None:
    plan = year_plan.plan(seed, scale)

    assert tripped_villages(plan) == {plan.breaker_village}
    township = plan.breaker_village[:9]
    siblings = [a for a in generator.areas(seed, scale) if a.parent == township]
    assert 30 * len(siblings) > 100, "one village must not close its township"
    assert len(plan.defaults) > sum(each.in_breaker_village for each in plan.defaults)


@pytest.mark.parametrize("scale", [SMALL, 1.0])
def test_nobody_has_two_fates_and_all_borrow_soundly(scale: float) -> None:
    plan = year_plan.plan(SEED, scale)
    fates = [each.household_number for each in plan.deaths]
    fates += [each.household_number for each in plan.repayments]
    fates += [each.household_number for each in plan.defaults]
    fates += [loss.household_number for loss in plan.disasters[0].losses]
    approved = {
        each.household_number for each in plan.applications if each.expect is Expect.APPROVED
    }
    late = {plan.late_application.household_number, plan.control_application.household_number}

    assert len(set(fates)) == len(fates)
    assert set(fates) <= approved
    assert not late & {each.household_number for each in plan.applications}
    assert {indicators.standing(SEED, number) for number in approved | late} == {Standing.SOUND}
    assert plan.late_application.village_code == plan.breaker_village
    assert plan.control_application.village_code[:9] == plan.breaker_village[:9]


def test_an_application_asks_what_its_verdict_needs() -> None:
    for each in year_plan.plan(SEED, SMALL).applications:
        over = each.amount_fen > 300_000_00
        assert over == (each.expect is Expect.OVER_LIMIT)
        barred = each.purpose in year_plan.PROHIBITED
        assert barred == (each.expect is Expect.PROHIBITED_PURPOSE)
        if not over:
            assert 10_000_00 <= each.amount_fen <= 50_000_00
