"""Credit: what columns decided as ratings: the same text and the same digest as one by one."""

import hashlib
import json
from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

import polars as pl

from services.credit.model import Cause
from services.credit.rules import rating
from services.credit.rules.scheme import Scheme
from services.kernel.values import replace

STAGED: Sequence[str] = (
    *("household_id", "place", "was", "version", "said", "limit_said", "rating_id", "honour"),
    *("score_centi", "grade", "vetoes", "barred", "base_limit_fen", "uplift_fen", "limit_fen"),
    *("valid_until", "working", "inputs", "digest"),
)
"""The columns of what is sealed, as they are written."""
_SAID = ("graded", "vetoed", "limit_changed")
_NAMED = (
    *("score_centi", "grade", "vetoes", "barred", "base_limit_fen", "uplift_fen", "limit_fen"),
)
_MARKS = {"household_id": "\0who", "inputs": "\0in", "rating_id": "\0id", "valid_until": "\0end"}
_UNTIL = "\0until"
"""Where in the canonical text what differs from household to household stands."""


def seal(
    decided: pl.DataFrame,
    seen: pl.DataFrame,
    *,
    scheme: Scheme,
    county_code: str,
    on: date,
    rating_ids: Sequence[UUID],
) -> pl.DataFrame:
    """What columns decided as ratings with inputs, working and digest, and what there is to say."""
    whole = (
        decided.with_columns(
            pl.Series("rating_id", [str(each) for each in rating_ids], pl.String),
            said=pl.sum_horizontal(pl.col("graded", "vetoed", "limit_changed").cast(pl.Int64)),
            limit_said=pl.col("limit_changed").cast(pl.Int64),
        )
        .drop(*_NAMED, "valid_until", strict=False)
        .rename({f"new_{name}": name for name in (*_NAMED, "valid_until")})
        .join(_inputs(seen), "household_id", how="left", maintain_order="left")
        .with_columns(pl.col("inputs", "pinned").fill_null("{}"))
    )
    pattern = [*_NAMED, "honour", "working"]
    texts = whole.select(pattern).unique(maintain_order=True)
    parts = [
        _parts(row, scheme=scheme, county_code=county_code, on=on)
        for row in texts.iter_rows(named=True)
    ]
    names = [f"part_{place}" for place in range(6)]
    texts = pl.concat(
        [texts, pl.DataFrame(parts, schema=dict.fromkeys(names, pl.String), orient="row")],
        how="horizontal",
    )
    whole = whole.join(texts, pattern, how="left", maintain_order="left")
    end = pl.col("valid_until")
    until = pl.when(end.is_null()).then(pl.lit("")).otherwise(pl.lit(", valid until ") + end)
    quoted = pl.when(end.is_null()).then(pl.lit("null")).otherwise('"' + end + '"')
    whole = whole.with_columns(
        text=pl.concat_str(
            *("part_0", pl.lit('"') + pl.col("household_id") + '"', "part_1", "pinned", "part_2"),
            *(pl.lit('"') + pl.col("rating_id") + '"', "part_3", quoted, "part_4", until, "part_5"),
        ),
        working=pl.concat_str("working", until, pl.lit(f"; {scheme.ref}, {on}")),
    )
    digests = [hashlib.sha256(text.encode()).hexdigest() for text in whole["text"]]
    return whole.with_columns(pl.Series("digest", digests, pl.String)).select(*STAGED, *_SAID)


def _inputs(seen: pl.DataFrame) -> pl.DataFrame:
    """
    Of each household all that was observed last: to be kept, and as the digest reads it.

    What was seen is in order of households and codes, as `rescoring.newest` leaves it.
    """
    codes = {code: json.dumps(code) for code in seen["code"].unique()}
    stale = pl.when("stale").then(pl.lit("true")).otherwise(pl.lit("false"))
    last = pl.lit(',"expires_on":"') + pl.col("expires_on") + '","stale":' + stale
    pinned = pl.lit(',"') + pl.col("expires_on") + '",' + stale
    value, entry = pl.col("value").cast(pl.String), pl.col("entry").cast(pl.String)
    return (
        seen.with_columns(pl.col("code").replace_strict(codes, return_dtype=pl.String))
        .select(
            "household_id",
            inputs=pl.concat_str(
                *("code", pl.lit(':{"value":'), value, pl.lit(',"observed_on":"'), "observed_on"),
                *(pl.lit('","entry":'), entry, last.fill_null(""), pl.lit("}")),
            ),
            pinned=pl.concat_str(
                *("code", pl.lit(":["), value, pl.lit(',"'), "observed_on", pl.lit('",'), entry),
                *(pinned.fill_null(""), pl.lit("]")),
            ),
        )
        .group_by("household_id", maintain_order=True)
        .agg(("{" + pl.col(name).str.join(",") + "}").alias(name) for name in ("inputs", "pinned"))
    )


def _parts(row: dict[str, Any], *, scheme: Scheme, county_code: str, on: date) -> tuple[str, ...]:
    """The canonical text around what differs from household to household."""
    said = row | {
        "county_code": county_code,
        "cause": Cause.RESCORED,
        "programme": scheme.ref,
        "rated_on": on,
        "vetoes": tuple(filter(None, row["vetoes"].split(","))),
        "working": f"{row['working']}{_UNTIL}; {scheme.ref}, {on}",
        "pins": replace(rating.NOTHING, terms_digest=scheme.digest),
        **_MARKS,
    }
    rest = rating.canonical(said, _MARKS["inputs"])
    parts = []
    for mark in (*(json.dumps(each) for each in _MARKS.values()), json.dumps(_UNTIL)[1:-1]):
        before, _, rest = rest.partition(mark)
        parts.append(before)
    return (*parts, rest)
