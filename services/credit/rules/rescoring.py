"""Credit: rating a whole county again, over columns: the rule is asked once for each pattern."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

import polars as pl

from services.credit.model import CreditFile, Decision, Moves
from services.credit.rules import rating
from services.credit.rules.scheme import Scheme, missing_factors, reads_of, score
from services.programmes.schema.scoring import BasePointsScoring, WeightedScoring

PROVINCE = "00"
HEADS: Mapping[str, type[pl.DataType]] = {
    "household_id": pl.String,
    "honour": pl.String,
    "score_centi": pl.Int64,
    "grade": pl.String,
    "vetoes": pl.String,
    "barred": pl.String,
    "limit_fen": pl.Int64,
    "valid_until": pl.String,
    "version": pl.Int64,
    "place": pl.String,
    "was": pl.Int64,
    "plain": pl.Boolean,
    "granted": pl.Boolean,
    "same_terms": pl.Boolean,
    "settled": pl.Boolean,
    "households": pl.Int64,
}
"""
Credit files as columns, in household order; of vetoes their ids with commas between.

`place` and `was` are the row as it was read. `plain`: only indicators and honour count (no hold,
measure or override), and the limit still runs. `granted`: people granted it a limit before.
`same_terms`: the last rating was made under the same pack version. `settled`: a re-score's columns
found the file right as it stands, rating and honour. `households`: how many a chunk has with those
who were not read.
"""
OBSERVED: Mapping[str, type[pl.DataType]] = {
    "household_id": pl.String,
    "code": pl.String,
    "value": pl.Int64,
    "observed_on": pl.String,
    "entry": pl.Int64,
    "expires_on": pl.String,
}
"""Observations, several of one indicator perhaps; `expires_on` is the last day it counts."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the columns say of a chunk."""

    rate: tuple[UUID, ...]
    """To be rated one by one: more counts of them than columns hold."""
    incomplete: int
    """Left alone: a factor is missing or stale, and missing is not zero."""
    decided: pl.DataFrame
    """Heads that the columns decide, with what comes out (`new_…`); everybody else stays."""
    settled: pl.DataFrame
    """Heads that the columns found right as they stand, of whom that was not known."""
    unsettled: tuple[UUID, ...] = ()
    """Of whom it was known, and who are not for columns to decide any more."""

    @property
    def said(self) -> pl.DataFrame:
        """Of the decided, those of whom there is something to say."""
        return self.decided.filter(pl.col("graded") | pl.col("limit_changed"))


def can_decide(scheme: Scheme) -> bool:
    """Whether a scheme's scores come of observations alone."""
    return isinstance(scheme.scoring, BasePointsScoring | WeightedScoring)


def basis(scheme: Scheme, months: Mapping[str, int], *, code: str, cluster: str) -> str:
    """
    What a re-score rests on beside the households' own data: where it differs, all are read again.

    `code` is a digest of the program; in another `cluster` transactions have other numbers. Empty
    where columns decide nobody.
    """
    if not can_decide(scheme):
        return ""
    gates = [gate.model_dump_json() for gate in scheme.gates]
    said = (code, cluster, scheme.ref, scheme.digest, gates, sorted(months.items()))
    return hashlib.sha256(repr(said).encode()).hexdigest()


def newest(observed: pl.DataFrame, on: date) -> pl.DataFrame:
    """The last observation of each indicator; of one day the later entry; and whether it counts."""
    household, code = pl.col("household_id"), pl.col("code")
    day, entry = pl.col("observed_on"), pl.col("entry")
    same = (household == household.shift(-1)) & (code == code.shift(-1))
    later = (day > day.shift(-1)) | ((day == day.shift(-1)) & (entry > entry.shift(-1)))
    after = (household > household.shift(-1)) | (
        (household == household.shift(-1)) & (code > code.shift(-1))
    )
    # They mostly come in order, and to see that costs a fifth of sorting them.
    if observed.select((after | (same & later)).any()).item():
        observed = observed.sort("household_id", "code", "observed_on", "entry")
    return observed.filter(~same.fill_null(value=False)).with_columns(
        stale=pl.col("expires_on").lt(on.isoformat()).fill_null(value=False)
    )


def plan(
    heads: pl.DataFrame,
    seen: pl.DataFrame,
    *,
    scheme: Scheme,
    on: date,
    write_all: bool,
    stopped: bool = False,
) -> Plan:
    """
    Decide what columns can, and name the others.

    Written is everybody whose last rating was made under other terms, where all results are
    written; otherwise those alone of whom something comes out otherwise. Where new limits are
    `stopped` by breakers or wait for a review, who has none is rated one by one.
    """
    reads = reads_of(scheme)
    found = _patterns(_valued(heads, seen, reads), scheme, reads)
    vetoes = [veto.reads for veto in scheme.scoring.vetoes]
    watched = seen.filter(pl.col("stale") & (pl.col("value") >= 1) & pl.col("code").is_in(vetoes))
    simple = (
        found["plain"]
        & ~found["special"]
        & ~found["household_id"].is_in(watched["household_id"].implode())
    )
    if scheme.observation_months is not None:
        simple &= found["barred"] == ""
    same = (
        (found["new_score_centi"] == found["score_centi"])
        & (found["new_grade"] == found["grade"])
        & (found["new_limit_fen"] == found["limit_fen"])
        & (found["new_vetoes"] == found["vetoes"])
        & (found["new_barred"] == found["barred"])
    )
    if write_all:
        same &= found["same_terms"]
    right = ~found["lacking"] & simple & same
    alone = found["lacking"] | right
    columns = ~alone & simple & (found["granted"] | (found["new_limit_fen"] == 0))
    if stopped or scheme.scoring.public_notice is not None:
        columns &= found["limit_fen"] > 0
    rate = found.filter(~alone & ~columns)["household_id"]
    # What a veto leaves to be watched may be lifted by people, and no rating tells of it.
    right &= found["barred"] == ""
    wrong = found.filter(~right & ~columns & found["settled"])["household_id"]
    return Plan(
        rate=tuple(map(UUID, rate)),
        incomplete=int(found["lacking"].sum()),
        decided=_told(found.filter(columns), rating.validity(scheme, on)),
        settled=found.filter(right & ~found["settled"]),
        unsettled=tuple(map(UUID, wrong)),
    )


def _valued(heads: pl.DataFrame, seen: pl.DataFrame, reads: Sequence[str]) -> pl.DataFrame:
    """Heads with a column for each indicator that is read; missing and stale are null."""
    values = seen.filter(~pl.col("stale") & pl.col("code").is_in(list(reads)))
    wide = values.pivot("code", index="household_id", values="value")
    found = heads.join(wide, "household_id", how="left", maintain_order="left")
    nobody = [pl.lit(None, pl.Int64).alias(code) for code in reads if code not in wide.columns]
    return found.with_columns(nobody).rename({code: f"={code}" for code in reads})


def _patterns(found: pl.DataFrame, scheme: Scheme, reads: Sequence[str]) -> pl.DataFrame:
    """Ask the row rule once for each combination of all that it tells apart."""
    named = {f"={code}": code for code in reads}
    keys = {f"~{place}": key for place, key in enumerate(_told_apart(scheme))}
    found = found.with_columns(pl.col("honour").alias("~honour"), **keys)
    on = [name for name in found.columns if name.startswith("~")]
    rows = found.group_by(on, maintain_order=True).agg(pl.col(list(named)).first())
    made = []
    for row in rows.select([*named, "~honour"]).iter_rows(named=True):
        values = {code: row[name] for name, code in named.items() if row[name] is not None}
        made.append(_made(scheme, values, row["~honour"]))
    outcomes = pl.DataFrame(made, schema=_OUTCOME, orient="row")
    whole = pl.concat([rows.select(on), outcomes], how="horizontal")
    return found.join(whole, on, how="left", nulls_equal=True, maintain_order="left").drop(
        [*on, *named]
    )


_OUTCOME: Mapping[str, type[pl.DataType]] = {
    "new_score_centi": pl.Int64,
    "new_grade": pl.String,
    "new_vetoes": pl.String,
    "new_barred": pl.String,
    "new_base_limit_fen": pl.Int64,
    "new_uplift_fen": pl.Int64,
    "new_limit_fen": pl.Int64,
    "working": pl.String,
    "special": pl.Boolean,
    "lacking": pl.Boolean,
}


def _made(scheme: Scheme, values: Mapping[str, int], honour: str) -> tuple[object, ...]:
    if missing_factors(scheme, values):
        return (0, "", "", "", 0, 0, 0, "", True, True)
    made = score(scheme, values, honour, rating.NOTHING)
    closed = any(values.get(gate.code, 0) < 1 for gate in scheme.gates)
    return (
        made.score_centi,
        made.grade or "",
        ",".join(made.vetoes),
        ",".join(sorted({*made.vetoes})),
        made.base_limit_fen,
        made.uplift_fen,
        made.limit_fen,
        made.working,
        closed,
        False,
    )


def _told_apart(scheme: Scheme) -> list[pl.Expr]:
    """What alone makes a difference: the points earned, or the scores of factors."""
    flags = [pl.col(f"={veto.reads}") >= 1 for veto in scheme.scoring.vetoes]
    flags += [pl.col(f"={gate.code}") >= 1 for gate in scheme.gates]
    if scheme.points is not None:
        for _, reads, least, most, _ in scheme.points.adjustments:
            value = pl.col(f"={reads}")
            flags.append(value >= least if most is None else value.is_between(least, most))
        return [flag.fill_null(value=False) for flag in flags]
    scored = [] if scheme.points is not None else [pl.col(f"={code}") for code in reads_of(scheme)]
    return [*(flag.fill_null(value=False) for flag in flags), *scored]


def _told(decided: pl.DataFrame, fresh: date | None) -> pl.DataFrame:
    """With the last day of the limit and what there is to say, as `rating` says it."""
    limited = pl.col("new_limit_fen") > 0
    had = pl.col("limit_fen") > 0
    end = pl.when(had).then(pl.col("valid_until")).otherwise(pl.lit(fresh and fresh.isoformat()))
    until = pl.when(limited).then(end)
    moved = pl.col("new_grade") != pl.col("grade")
    vetoed = pl.col("new_vetoes").ne("") & (
        pl.col("new_vetoes").str.split(",").list.set_difference(pl.col("vetoes").str.split(","))
    ).list.len().gt(0)
    graded = (
        (pl.col("new_score_centi") != pl.col("score_centi"))
        | moved
        | (pl.col("new_vetoes") != pl.col("vetoes"))
    )
    limit_changed = (limited | had) & (
        (pl.col("new_limit_fen") != pl.col("limit_fen"))
        | moved
        | until.ne_missing(pl.col("valid_until"))
    )
    return decided.with_columns(
        new_valid_until=until, graded=graded, vetoed=vetoed, limit_changed=limit_changed
    )


def moves_of(pairs: Iterable[tuple[CreditFile, Decision]]) -> Moves:
    """Households whose grade changes, by grade before and after."""
    return Counter(
        (before.grade, decision.file.grade)
        for before, decision in pairs
        if before.grade != decision.file.grade
    )


def moved(decided: pl.DataFrame) -> Moves:
    """The same of what the columns decided."""
    changed = decided.filter(pl.col("grade") != pl.col("new_grade"))
    counted = changed.group_by("grade", "new_grade").len()
    return {(before, after): count for before, after, count in counted.iter_rows()}


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
