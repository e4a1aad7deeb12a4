"""Credit: rating a whole county again, over columns: whom the columns leave as they are."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from services.credit.model import CreditFile, Decision, Moves
from services.credit.rules.scheme import Scheme
from services.programmes.schema.scoring import BasePointsScoring, WeightedScoring
from services.programmes.scoring import weights_of
from services.programmes.scoring_columns import (
    Column,
    ScoreColumns,
    score_by_points,
    score_by_weights,
)

PROVINCE = "00"


@dataclass(frozen=True, slots=True)
class Heads:
    """Credit files as columns, in household order."""

    household_ids: Sequence[UUID]
    honours: Sequence[str | None]
    scores_centi: Sequence[int]
    grades: Sequence[str]
    limits_fen: Sequence[int]
    plain: Sequence[bool]
    """Only indicators and honour count: no veto, hold or measure, and the limit still runs."""
    same_terms: Sequence[bool]
    """The last rating was made under the same pack version."""

    def __len__(self) -> int:
        return len(self.household_ids)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What was observed, a column an indicator; stale and missing are None."""

    columns: Mapping[str, Column]
    watched: frozenset[int]
    """Rows with a veto that hit and is out of date."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the columns say of a chunk."""

    rate: tuple[UUID, ...]
    """To be rated one by one: something changes, or more counts than columns hold."""
    incomplete: int
    """Left alone: a factor is missing or stale, and missing is not zero."""


def plan(heads: Heads, inputs: Inputs, *, scheme: Scheme, write_all: bool) -> Plan:
    """
    Whom to rate one by one.

    Everybody whose last rating was made under other terms, where all results are written;
    otherwise those alone whose score, grade or limit comes out otherwise.
    """
    made = _scored(scheme, heads, inputs.columns)
    lacking = _lacking(scheme, len(heads), inputs.columns)
    gated = _gated(scheme, len(heads), inputs.columns)
    rate = [
        household_id
        for row, household_id in enumerate(heads.household_ids)
        if row not in lacking
        and (
            made is None
            or not heads.plain[row]
            or row in inputs.watched
            or row in gated
            or (write_all and not heads.same_terms[row])
            or made.vetoed[row]
            or made.score_centi[row] != heads.scores_centi[row]
            or (made.grade[row] or "") != heads.grades[row]
            or made.limit_fen[row] != heads.limits_fen[row]
        )
    ]
    return Plan(tuple(rate), len(lacking))


def _scored(scheme: Scheme, heads: Heads, columns: Mapping[str, Column]) -> ScoreColumns | None:
    if isinstance(scheme.scoring, BasePointsScoring):
        return score_by_points(scheme.scoring, columns, heads.honours)
    if isinstance(scheme.scoring, WeightedScoring):
        return score_by_weights(scheme.scoring, columns, heads.honours)
    return None


def _lacking(scheme: Scheme, rows: int, columns: Mapping[str, Column]) -> frozenset[int]:
    if not isinstance(scheme.scoring, WeightedScoring):
        return frozenset()
    nobody: Column = [None] * rows
    return frozenset(
        row
        for code, _ in weights_of(scheme.scoring)
        for row, value in enumerate(columns.get(code, nobody))
        if value is None
    )


def _gated(scheme: Scheme, rows: int, columns: Mapping[str, Column]) -> frozenset[int]:
    nobody: Column = [None] * rows
    return frozenset(
        row
        for gate in scheme.gates
        for row, value in enumerate(columns.get(gate.code, nobody))
        if value is None or value < 1
    )


def moves_of(pairs: Iterable[tuple[CreditFile, Decision]]) -> Moves:
    """Households whose grade changes, by grade before and after."""
    return Counter(
        (before.grade, decision.file.grade)
        for before, decision in pairs
        if before.grade != decision.file.grade
    )


def added(one: Moves, other: Moves) -> Moves:
    """Two counts of the same moves together."""
    return {move: one.get(move, 0) + other.get(move, 0) for move in sorted({*one, *other})}


def counties_in(area_code: str, counties: Iterable[str]) -> list[str]:
    """A county, or all counties of a province or a city (a code that ends in 00)."""
    prefix = area_code
    while prefix.endswith(PROVINCE) and len(prefix) % 2 == 0:
        prefix = prefix[:-2]
    if prefix == area_code:
        return [area_code]
    return sorted(county for county in counties if county.startswith(prefix))
