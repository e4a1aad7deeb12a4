"""Indicators: counts that follow from counts, their ratios, and the marks a ratio earns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from services.kernel.errors import Refused
from services.kernel.money import PPM, half_up
from services.programmes.schema.indicators import AreaGoal, Count, Goal, Indicator, Kpi, in_order
from services.programmes.schema.values import known


@dataclass(frozen=True, slots=True)
class Percentage:
    """A ratio as people read it; none over nothing."""

    pct: str | None
    working: str


@dataclass(frozen=True, slots=True)
class Total:
    """Counts added and taken away."""

    result: int
    working: str


@dataclass(frozen=True, slots=True)
class Overdue:
    """What fell due and was not collected."""

    overdue_count: int
    overdue_fen: int
    overdue_ratio_pct: str | None
    working: str


@dataclass(frozen=True, slots=True)
class Quotient:
    """A ratio kept exact; over nothing it is 0."""

    numerator: int
    denominator: int

    @property
    def exact(self) -> tuple[int, int]:
        """Numerator and a denominator that is never 0."""
        return (self.numerator, self.denominator) if self.denominator else (0, 1)


@dataclass(frozen=True, slots=True)
class Marked:
    """Whether a goal is reached, and the marks for it where the pack gives any."""

    reached: bool
    marks_centi: int | None
    working: str


def ratio(numerator: int, denominator: int, *, decimals: int) -> Percentage:
    """A percentage with so many decimals, half up once (S02)."""
    if denominator == 0:
        return Percentage(None, f"{numerator} over nothing")
    scale: int = 10**decimals
    rounded = half_up(numerator * 100 * scale, denominator)
    whole, rest = divmod(rounded, scale)
    pct = f"{whole}.{rest:0{decimals}d}" if decimals else str(whole)
    return Percentage(pct, f"{numerator} / {denominator} = {pct} %")


def count_check(plus: Sequence[int], minus: Sequence[int]) -> Total:
    """Counts of one unit added up, others taken away."""
    result = sum(plus) - sum(minus)
    working = " + ".join(map(str, plus)) + "".join(f" − {each}" for each in minus)
    return Total(result, f"{working} = {result}")


def overdue_report(
    due_count: int, due_fen: int, collected_count: int, collected_fen: int, *, decimals: int = 1
) -> Overdue:
    """Due less collected, by number and by amount; the ratio is of amounts."""
    count, amount = due_count - collected_count, due_fen - collected_fen
    if count < 0 or amount < 0:
        raise Refused(
            "COLLECTED_ABOVE_DUE",
            f"{collected_count} loans, {collected_fen} fen collected of {due_count}, {due_fen} due",
            message_zh="收回数大于到期数",
        )
    share = ratio(amount, due_fen, decimals=decimals)
    working = f"{due_count} − {collected_count} = {count}; {share.working}"
    return Overdue(count, amount, share.pct, working)


def made(count: Count, values: Mapping[str, int]) -> Total:
    """A count that is made of others, from their values."""
    return count_check(
        [values[name] for name in count.plus], [values[name] for name in count.minus]
    )


def counted(counts: tuple[Count, ...], given: Mapping[str, int]) -> dict[str, int]:
    """Every count of a pack: those given, and those that follow from them (C08)."""
    values: dict[str, int] = {}
    for count in in_order(counts):
        if count.is_made:
            values[count.id] = made(count, values).result
        elif count.id in given:
            values[count.id] = given[count.id]
        else:
            raise Refused(
                "COUNT_MISSING",
                f"count {count.id} ({count.unit}) is not given",
                message_zh=f"缺少统计数 {count.id}",
                facts={"key": count.id},
            )
    return values


def indicator_of(indicator: Indicator, counts: Mapping[str, int]) -> Percentage:
    """An indicator from its two counts."""
    share = ratio(
        counts[indicator.numerator], counts[indicator.denominator], decimals=indicator.decimals
    )
    return Percentage(
        share.pct, f"{indicator.numerator} / {indicator.denominator}: {share.working}"
    )


def kpi_marks(kpi: Kpi, own: Quotient, area: Quotient | None = None) -> Marked:
    """
    Full marks once the goal is reached and linear before it; more than the goal earns nothing.

    The number of decimals plays no part: quotients are compared exactly.
    """
    goal = _goal(cast("Goal", known(kpi.full_at)), kpi.better, area)
    value = own.exact
    reached = _at_least(value, goal) if kpi.better == "higher" else _at_least(goal, value)
    working = f"{value[0]}/{value[1]} against {goal[0]}/{goal[1]}, {kpi.better} is better"
    if kpi.marks_centi is None:
        return Marked(reached, None, working)
    full = known(kpi.marks_centi)
    if reached:
        return Marked(True, full, f"{working}: full marks {full}")
    if kpi.better == "higher":
        marks = half_up(full * value[0] * goal[1], value[1] * goal[0])
    else:
        assert kpi.zero_at_ppm is not None
        marks = _falling(full, value, goal, (known(kpi.zero_at_ppm), PPM))
    return Marked(False, marks, f"{working}: {marks} of {full}")


def _falling(
    full: int, value: tuple[int, int], goal: tuple[int, int], zero: tuple[int, int]
) -> int:
    """Linear from the goal down to nothing at `zero`."""
    if _at_least(value, zero) or _at_least(goal, zero):
        return 0
    # (zero − value) / (zero − goal), over a common denominator.
    left = (zero[0] * value[1] - value[0] * zero[1]) * goal[1]
    whole = (zero[0] * goal[1] - goal[0] * zero[1]) * value[1]
    return half_up(full * left, whole)


def _goal(goal: Goal, better: str, area: Quotient | None) -> tuple[int, int]:
    if not isinstance(goal, AreaGoal):
        return (goal.rate_ppm, PPM)
    if area is None:
        raise Refused(
            "AREA_AVERAGE_MISSING",
            "this goal is the area's average, which is not given",
            message_zh="缺少片区平均水平",
        )
    average = area.exact
    if goal.or_ppm is None:
        return average
    # Reaching either is enough, so the easier one counts.
    stated = (known(goal.or_ppm), PPM)
    easier_is_stated = _at_least(average, stated) == (better == "higher")
    return stated if easier_is_stated else average


def _at_least(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] * other[1] >= other[0] * one[1]
