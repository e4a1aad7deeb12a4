"""Credit: why a rating came out as it did, and the smallest changes that reach the next grade."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from math import gcd

from services.credit.model import Observed, Rating
from services.credit.rules.rating import GATE, values_of
from services.credit.rules.scheme import FACTOR_MAX, MODEL, Scheme
from services.programmes.schema.scoring import Adjustment, BasePointsScoring, WeightedScoring
from services.programmes.schema.values import known
from services.programmes.scoring import applies, band_of, weights_of

GATE_WORDS: Mapping[str, tuple[str, str]] = {
    "missing": ("must hold, and nobody has observed it", "尚未采集"),
    "stale": ("must hold, and what was observed is out of date", "采集结果已过期"),
    "not_met": ("does not hold", "不符合"),
}
"""State of a gate's indicator → what is said of it, in English and Chinese."""
DEMOTION = "demotion"
STATES_MAX = 200_000
"""Sums looked at in search of the smallest changes; beyond, the largest gains are taken."""


@dataclass(frozen=True, slots=True)
class Line:
    """What one clause of the scheme made of one indicator."""

    code: str
    indicator: str
    state: str
    """`counted`, `not_met`, `missing`, `stale` or `waived`."""
    value: int | None
    observed_on: date | None
    entry: int
    points_centi: int
    expires_on: date | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """An indicator that would be another, and what that would gain."""

    indicator: str
    value_from: int | None
    value_to: int
    gain_centi: int


@dataclass(frozen=True, slots=True)
class NextGrade:
    """The grade above, what is missing to it, and the smallest changes that reach it."""

    grade: str
    min_score_centi: int
    missing_centi: int
    lift: tuple[str, ...]
    """Vetoes and holds that must go first."""
    changes: tuple[Change, ...]
    reachable: bool
    """Whether indicators alone can reach it."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A rating in words and numbers."""

    lines: tuple[Line, ...]
    next_grade: NextGrade | None
    """None with the highest grade."""
    words: tuple[str, ...]
    words_zh: tuple[str, ...]


def explain(rating: Rating, scheme: Scheme) -> Explanation:
    """Why this rating: every clause in turn, what held it back, what would lift it."""
    lines = lines_of(rating.inputs, scheme, rating.pins.waived)
    next_grade = _next(rating, scheme)
    return Explanation(
        lines=lines,
        next_grade=next_grade,
        words=_words(rating, lines, next_grade),
        words_zh=_words_zh(rating, lines, next_grade),
    )


def lines_of(
    inputs: Mapping[str, Observed], scheme: Scheme, waived: Sequence[str]
) -> tuple[Line, ...]:
    """What each adjustment or factor made of its indicator, in the pack's order."""
    scoring = scheme.scoring
    if isinstance(scoring, BasePointsScoring):
        return tuple(
            _line(each.id, each.reads, inputs, _points(each, inputs), each.id in waived)
            for each in known(scoring.adjustments)
        )
    if isinstance(scoring, WeightedScoring):
        return tuple(
            _line(code, code, inputs, _weighed(weight, inputs.get(code)), False)
            for code, weight in weights_of(scoring)
        )
    model = next((code for code in inputs if code.startswith(MODEL)), None)
    return () if model is None else (_line(model, model, inputs, inputs[model].value, False),)


def _points(adjustment: Adjustment, inputs: Mapping[str, Observed]) -> int:
    seen = inputs.get(adjustment.reads)
    return adjustment.points_centi if applies(adjustment, seen.value if seen else None) else 0


def _weighed(weight_pct: int, seen: Observed | None) -> int:
    return weight_pct * seen.value if seen else 0


def _line(code: str, reads: str, inputs: Mapping[str, Observed], points: int, waived: bool) -> Line:
    seen = inputs.get(reads)
    if seen is None:
        return Line(code, reads, "missing", None, None, 0, 0)
    state = "counted" if points else "not_met"
    if seen.stale:
        state, points = "stale", 0
    elif waived and points < 0:
        state, points = "waived", 0
    return Line(
        code, reads, state, seen.value, seen.observed_on, seen.entry, points, seen.expires_on
    )


def _next(rating: Rating, scheme: Scheme) -> NextGrade | None:
    bands = scheme.bands
    names = [band.grade for band in bands]
    demoted = (DEMOTION,) if rating.pins.demoted else ()
    lift = (*rating.vetoes, *(hold.code for hold in rating.pins.holds), *demoted)
    floor = names.index(scheme.scoring.min_grade) if scheme.scoring.min_grade else 0
    reached = band_of(rating.score_centi, bands)
    place = names.index(reached.grade) if reached else -1
    if lift and place >= floor and (demoted or not rating.grade):
        band = bands[place]  # the score is there already
    else:
        held = names.index(rating.grade) if rating.grade in names else -1
        above = max(place + 1, held + 1, floor)
        if above >= len(bands):
            return None
        band = bands[above]
    missing = max(0, band.min_score_centi - rating.score_centi)
    changes = smallest_changes(options_of(rating, scheme), missing)
    return NextGrade(
        grade=band.grade,
        min_score_centi=band.min_score_centi,
        missing_centi=missing,
        lift=lift,
        changes=changes or (),
        reachable=changes is not None,
    )


def options_of(rating: Rating, scheme: Scheme) -> list[list[Change]]:
    """For each indicator, the other values that would gain something, nearest ones only."""
    values = values_of(rating.inputs)
    scoring = scheme.scoring
    if isinstance(scoring, WeightedScoring):
        return [
            [
                Change(code, values.get(code), to, weight * (to - now))
                for to in range(now + 1, FACTOR_MAX + 1)
            ]
            for code, weight in weights_of(scoring)
            for now in [values.get(code, 0)]
            if now < FACTOR_MAX
        ]
    if not isinstance(scoring, BasePointsScoring):
        return []
    readers: dict[str, list[Adjustment]] = {}
    for each in known(scoring.adjustments):
        points = 0 if each.id in rating.pins.waived else each.points_centi
        reader = each.model_copy(update={"points_centi": points})
        readers.setdefault(each.reads, []).append(reader)
    found = [_moves(code, values.get(code), each) for code, each in readers.items()]
    return [moves for moves in found if moves]


def _moves(code: str, now: int | None, readers: Sequence[Adjustment]) -> list[Change]:
    def points(value: int | None) -> int:
        return sum(each.points_centi for each in readers if applies(each, value))

    edges = {0}
    for each in readers:
        edges |= {each.min, each.min - 1}
        edges |= {each.max, each.max + 1} if each.max is not None else set()
    start = now or 0
    best: dict[int, int] = {}
    for value in sorted(edges, key=lambda edge: (abs(edge - start), edge)):
        gain = points(value) - points(now)
        if gain > 0 and value >= 0:
            best.setdefault(gain, value)
    return [Change(code, now, value, gain) for gain, value in sorted(best.items())]


def smallest_changes(
    options: Sequence[Sequence[Change]], missing_centi: int
) -> tuple[Change, ...] | None:
    """The fewest indicators that make up what is missing, and of those the least gain; or None."""
    if missing_centi <= 0:
        return ()
    most = sorted((moves[-1] for moves in options), key=lambda m: -m.gain_centi)
    fewest, total = 0, 0
    while total < missing_centi:
        if fewest == len(most):
            return None
        total += most[fewest].gain_centi
        fewest += 1
    unit = gcd(missing_centi, *(move.gain_centi for moves in options for move in moves))
    if fewest * (missing_centi // unit) * sum(map(len, options)) > STATES_MAX * 10:
        return tuple(most[:fewest])
    return _cheapest(options, missing_centi, fewest)


def _cheapest(
    options: Sequence[Sequence[Change]], missing_centi: int, fewest: int
) -> tuple[Change, ...]:
    """By sums: for each number of changes and sum so far, the way that gains least beyond."""
    best: dict[tuple[int, int], tuple[int, tuple[Change, ...]]] = {(0, 0): (0, ())}
    for moves in options:
        for (count, total), (gained, way) in list(best.items()):
            if count == fewest or total >= missing_centi:
                continue
            for move in moves:
                key = (count + 1, min(missing_centi, total + move.gain_centi))
                gain = gained + move.gain_centi
                if key not in best or gain < best[key][0]:
                    best[key] = (gain, (*way, move))
    return best[(fewest, missing_centi)][1]


def _words(rating: Rating, lines: Sequence[Line], nxt: NextGrade | None) -> tuple[str, ...]:
    told = [
        (
            f"Rated on {rating.rated_on} under {rating.programme}:"
            f" {points(rating.score_centi)} points,"
            f" {'grade ' + rating.grade if rating.grade else 'no grade'},"
            f" limit {yuan(rating.limit_fen)} yuan."
        )
    ]
    told += [
        f"{line.code}: {points(line.points_centi, sign=True)} points"
        f" ({line.indicator} = {line.value}, seen on {line.observed_on})"
        for line in lines
        if line.state == "counted"
    ]
    told += [f"{line.code}: deduction waived" for line in lines if line.state == "waived"]
    told += [f"{line.code}: not known, counts for nothing" for line in _unknown(lines)]
    told += [
        f"{line.code}: out of date since {line.expires_on}, counts for nothing"
        f" ({line.indicator} was {line.value} on {line.observed_on})"
        for line in lines
        if line.state == "stale"
    ]
    told += [f"Veto {veto}: no grade whatever the score" for veto in rating.vetoes]
    told += [f"Gate {code} {GATE_WORDS[state][0]}: no grade" for code, state in _gates(rating)]
    told += [
        f"{hold.code} holds the {'grade' if hold.grade_too else 'limit'} back"
        + (f" until {hold.until}" if hold.until else "")
        for hold in rating.pins.holds
        if not hold.code.startswith(GATE)
    ]
    if rating.pins.demoted:
        told.append(f"Grade lowered by {rating.pins.demoted} for non-performing loans")
    if rating.pins.override is not None:
        told.append(f"Decided by people in review {rating.pins.override.review_id}")
    if nxt is None:
        return (*told, "This is the highest grade.")
    told += [f"To be lifted first: {code}" for code in nxt.lift]
    if nxt.missing_centi:
        told.append(f"{points(nxt.missing_centi)} points are missing to grade {nxt.grade}")
    told += [
        f"{change.indicator} from {'unknown' if change.value_from is None else change.value_from}"
        f" to {change.value_to} gains {points(change.gain_centi)} points"
        for change in nxt.changes
    ]
    if not nxt.reachable:
        told.append(f"Indicators alone cannot reach grade {nxt.grade}")
    return tuple(told)


def _words_zh(rating: Rating, lines: Sequence[Line], nxt: NextGrade | None) -> tuple[str, ...]:
    told = [
        (
            f"{rating.rated_on} 按方案 {rating.programme} 评级:{points(rating.score_centi)} 分,"
            f"{rating.grade + ' 级' if rating.grade else '未达到等级'},"
            f"授信额度 {yuan(rating.limit_fen)} 元。"
        )
    ]
    told += [
        f"{line.code}:{points(line.points_centi, sign=True)} 分"
        f"({line.indicator} 为 {line.value},采集于 {line.observed_on})"
        for line in lines
        if line.state == "counted"
    ]
    told += [f"{line.code}:免予扣分" for line in lines if line.state == "waived"]
    told += [f"{line.code}:尚未采集,不计分" for line in _unknown(lines)]
    told += [
        f"{line.code}:{line.expires_on} 后已过期,不计分"
        f"({line.indicator} 于 {line.observed_on} 为 {line.value})"
        for line in lines
        if line.state == "stale"
    ]
    told += [f"一票否决:{veto}" for veto in rating.vetoes]
    told += [f"准入条件 {code} {GATE_WORDS[state][1]},不予评级" for code, state in _gates(rating)]
    told += [
        f"{hold.code} 暂停{'评级' if hold.grade_too else '授信'}"
        + (f",至 {hold.until}" if hold.until else "")
        for hold in rating.pins.holds
        if not hold.code.startswith(GATE)
    ]
    if rating.pins.demoted:
        told.append(f"因不良贷款降低 {rating.pins.demoted} 级")
    if rating.pins.override is not None:
        told.append(f"由人工评议决定(评议 {rating.pins.override.review_id})")
    if nxt is None:
        return (*told, "已是最高等级。")
    told += [f"须先解除:{code}" for code in nxt.lift]
    if nxt.missing_centi:
        told.append(f"距 {nxt.grade} 级还差 {points(nxt.missing_centi)} 分")
    told += [
        f"{change.indicator} 由{'未采集' if change.value_from is None else change.value_from}"
        f"变为 {change.value_to},可加 {points(change.gain_centi)} 分"
        for change in nxt.changes
    ]
    if not nxt.reachable:
        told.append(f"仅凭指标变化无法达到 {nxt.grade} 级")
    return tuple(told)


def _gates(rating: Rating) -> list[tuple[str, str]]:
    """The gates that did not hold, each with the state of its indicator."""
    found = []
    for hold in rating.pins.holds:
        if hold.code.startswith(GATE):
            code = hold.code.removeprefix(GATE)
            seen = rating.inputs.get(code)
            state = "missing" if seen is None else "stale" if seen.stale else "not_met"
            found.append((code, state))
    return found


def _unknown(lines: Sequence[Line]) -> list[Line]:
    return [line for line in lines if line.state == "missing"]


def points(centi: int, *, sign: bool = False) -> str:
    """Centi-points for people: 1050 is 10.5."""
    whole, rest = divmod(abs(centi), 100)
    text = f"{whole}.{rest:02d}".rstrip("0").rstrip(".") if rest else str(whole)
    mark = "-" if centi < 0 else "+" if sign else ""
    return f"{mark}{text}"


def yuan(fen: int) -> str:
    """Fen for people: 1000050 is 10,000.50."""
    whole, rest = divmod(fen, 100)
    return f"{whole:,}.{rest:02d}" if rest else f"{whole:,}"
