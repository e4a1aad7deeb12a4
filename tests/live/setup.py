"""What a case's county lives under: the case's own values, and what its pack leaves open."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from pydantic import BaseModel

from services.programmes.schema.pack import Pack
from services.programmes.schema.values import Open

Case = Mapping[str, Any]
Values = Mapping[str, Any]

YUAN = 100
PURPOSE = "beekeeping"
SUM_INSURED_FEN = 10_000_000_000
LIMIT_FEN = 1_000_000_000_000
RATE_PPM = 43_500


def benchmark(rate_ppm: int) -> list[dict[str, Any]]:
    """A table of benchmark rates with one rate for every term."""
    return [{"from": date(2010, 1, 1), "max_tenor_months": 600, "rate_ppm": rate_ppm}]


CHAIN: Sequence[Mapping[str, Any]] = (
    {
        "step": "village_reviews",
        "kind": "initial_review",
        "organ": "village_department",
        "starts_sla": True,
    },
    {"step": "bank_approves", "kind": "approval", "organ": "lender"},
)
FIVE_TIER: Sequence[Mapping[str, Any]] = (
    {"tier": "normal", "min_overdue_days": 0},
    {"tier": "special_mention", "min_overdue_days": 1},
    {"tier": "substandard", "min_overdue_days": 91},
    {"tier": "doubtful", "min_overdue_days": 181},
    {"tier": "loss", "min_overdue_days": 361},
)
CLAIM_TIERS: Sequence[Mapping[str, Any]] = ({"tier": "any", "max_fen": None, "working_days": 5},)

PAPERS = tuple(f"paper_{number}" for number in range(1, 14))
"""Thirteen, as the one programme counts that does not list them."""

BLANKS: Mapping[str, Any] = {
    r"registry\.documents\.required": list(PAPERS),
    r"loans\.benchmark": benchmark(RATE_PPM),
    r"loans\.npl": {"measure": "overdue_days", "more_than_days": 90},
    r"loans\.maturity_notice\.lead_months": 1,
    r"loan_products\[.+\]\.subsidy": {"mode": "none"},
    r"loan_products\[.+\]\.interest_settlement": "bullet",
    r"loan_products\[.+\]\.approval_chain": [dict(step) for step in CHAIN],
    r"loan_products\[.+\]\.pricing": {"mode": "benchmark"},
    r"loan_products\[.+\]\.max_principal_fen": LIMIT_FEN,
    r"loan_products\[.+\]\.max_term_months": 120,
    r"loan_products\[.+\]\.sla": {"unit": "days", "value": 30},
    r"loan_products\[.+\]\.purpose\.allowed": [PURPOSE],
    r"insurance\.required_covers": [],
    r"insurance\.sweep_trigger": "always",
    r"insurance\.claim_tiers": [dict(tier) for tier in CLAIM_TIERS],
    r"insurance\.covers\[.+\]\.assigned": True,
    r"insurance\.covers\[.+\]\.payees": ["bank", "household"],
    r"insurance\.covers\[.+\]\.sum_insured": {"of": "fixed", "amount_fen": SUM_INSURED_FEN},
    r"insurance\.covers\[.+\]\.premium": {"rate_ppm": 1_000, "payer": "county"},
    r"insurance\.covers\[.+\]\.premium\.rate_ppm": 1_000,
    r"fund\.multiple": 10,
    r"fund\.models\[.+\]\.trigger": {"overdue_more_than_days": 70},
    r"fund\.models\[.+\]\.base": "principal_and_interest",
    r"fund\.payment_control\.public_notice\.days": 3,
    r"monitoring\.five_tier": [dict(tier) for tier in FIVE_TIER],
}
"""Key path → what stands there where the pack leaves it open and the case says nothing of it."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a path wants of its county."""

    starts_on: date
    values: Values = field(default_factory=dict)
    """What the case says; where the pack is not open it must say the same."""
    own_credit: bool = False
    """Its households are rated by the case's programme, not by the rig's own."""
    limit_fen: int = LIMIT_FEN
    """What the rig's own rating grants."""
    lenders: tuple[str, ...] = ("bank",)
    """Who lends there."""
    then: str = ""
    """The version of its programme that follows when the case's own is over."""
    variant: Values = field(default_factory=dict)
    """What a pack says otherwise that extends the case's programme, where no county may say it."""
    programme: str = ""
    """What stands for the case's own where the case is about no programme; else the national."""
    others: tuple[str, ...] = ()
    """Institutions that the programme does not name and the path asks all the same."""


def overlay_values(pack: Pack, setup: Setup) -> dict[str, Any]:
    """The blanks of a pack filled in, and the case's values laid over them."""
    whole: dict[str, Any] = {}
    for path in _open_paths(pack, ""):
        for pattern, value in BLANKS.items():
            if re.fullmatch(pattern, path):
                whole = lay_over(whole, _nested(path, value))
    return dict(lay_over(whole, setup.values))


def lay_over(below: Any, above: Any) -> Any:
    """Mappings key by key, lists of things with an id by id, everything else replaced."""
    if isinstance(below, Mapping) and isinstance(above, Mapping):
        keys = [*below, *(key for key in above if key not in below)]
        return {
            key: lay_over(below[key], above[key])
            if key in below and key in above
            else (above if key in above else below)[key]
            for key in keys
        }
    if _has_ids(below) and _has_ids(above):
        items = {item["id"]: item for item in below}
        for item in above:
            items[item["id"]] = lay_over(items.get(item["id"], {}), item)
        return list(items.values())
    return above


def _has_ids(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, Mapping) and "id" in item for item in value)
    )


def _open_paths(value: object, path: str) -> Iterator[str]:
    """Key paths of what is open; items of a list without ids are left to the case."""
    if isinstance(value, Open):
        yield path
    elif isinstance(value, BaseModel):
        for name, about in type(value).model_fields.items():
            key = about.alias or name
            yield from _open_paths(getattr(value, name), f"{path}.{key}" if path else key)
    elif isinstance(value, tuple):
        for item in value:
            item_id = getattr(item, "id", None)
            if item_id is not None:
                yield from _open_paths(item, f"{path}[{item_id}]")


def _nested(path: str, value: Any) -> dict[str, Any]:
    """`a.b[c].d` as mappings and lists with ids around a value."""
    found = value
    for part in reversed(path.split(".")):
        key, bracket, name = part.partition("[")
        if bracket:
            found = [{"id": name.removesuffix("]"), **found}]
        found = {key: found}
    return dict(found)
