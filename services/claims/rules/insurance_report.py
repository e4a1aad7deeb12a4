"""Claims: what the rows of a report say beyond their sums: loss ratio and stabilisation. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.kernel.errors import invalid_field
from services.kernel.money import Fen
from services.programmes import upkeep
from services.programmes.schema.pools import InsurerStabilisation

PPM: Final = 1_000_000
KEY_PARTS: Final = 4
BETWEEN: Final = "|"


class Dimension(StrEnum):
    """What a report is grouped by."""

    LINE = "line"
    INSURER = "insurer"
    AREA = "area"
    YEAR = "year"


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Which row it is; what the report is not grouped by is empty."""

    line: str = ""
    insurer_id: str = ""
    area_code: str = ""
    year: int = 0

    def token(self) -> str:
        """As a page token says it."""
        return BETWEEN.join((self.line, self.insurer_id, self.area_code, str(self.year)))


def key_of(token: str) -> Key | None:
    """The row after which a page begins; None for the first page."""
    if not token:
        return None
    parts = token.split(BETWEEN)
    if len(parts) != KEY_PARTS or not (parts[3].isdecimal() and len(parts[3]) <= KEY_PARTS):
        rule = "must come from the answer before"
        raise invalid_field("MALFORMED_PAGE_TOKEN", "page_token", token, rule)
    return Key(parts[0], parts[1], parts[2], int(parts[3]))


@dataclass(frozen=True, slots=True)
class Sums:
    """What the rows behind a row of the report come to."""

    policies: int = 0
    persons: int = 0
    insured: int = 0
    sum_insured_fen: int = 0
    premium_fen: int = 0
    claims: int = 0
    claimed_fen: int = 0
    approved: int = 0
    payable_fen: int = 0
    refused: int = 0
    pending: int = 0
    pending_fen: int = 0
    paid_fen: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """What one insurer took and owes under one programme in one year."""

    programme: str
    premium_fen: Fen
    payable_fen: Fen
    pool: InsurerStabilisation | None


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the report."""

    key: Key
    sums: Sums
    loss_ratio_ppm: int
    deficit_fen: int
    stabilisation_fen: int


def row_of(key: Key, sums: Sums, results: Sequence[Result]) -> Row:
    """A row with what its results need of the pools; one insurer's surplus helps no other."""
    deficit_fen = stabilisation_fen = 0
    for result in results:
        if result.pool is None:
            continue
        # What the pool still holds is known to `funds`, which pays; here nothing limits it.
        made_good = upkeep.stabilise(
            result.premium_fen,
            result.payable_fen,
            fund_fen=result.payable_fen,
            compensates_pct=result.pool.compensates_pct,
        )
        deficit_fen += made_good.deficit_fen
        stabilisation_fen += made_good.compensated_fen
    premium_fen = sums.premium_fen
    ratio_ppm = sums.payable_fen * PPM // premium_fen if premium_fen else 0
    return Row(key, sums, ratio_ppm, deficit_fen, stabilisation_fen)
