"""The packs say what the golden cases say, and every row that must be computable has a clause."""

import itertools
import json
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from services.programmes.loader import PACKAGED, load
from services.programmes.schema.values import Open
from services.programmes.terms import Terms
from services.programmes.yaml_text import parse
from tests.programmes.not_built import NOT_BUILT
from tests.programmes.says import (
    funds,
    gateway,
    insurance,
    loans,
    monitoring,
    products,
    scoring,
    settlement,
)

GOLDEN = Path(__file__).parent / "cases" / "golden.json"
DEMO = Path(__file__).resolve().parents[2] / "deploy" / "demo" / "county"
CATALOGUE = load([DEMO])
COUNTY = CATALOGUE.counties()[0]
WRITTEN = {"henan-lushi@1", "henan-lushi@2", "henan-sanmenxia-211@1", "cn-national-2014@1"}
# Of these families every programme is written; a case of the platform has no pack.
WHOLE = {"chain", "funds", "gateway", "insurance", "scoring", "settlement"}

Case = Mapping[str, Any]
CASES: list[Case] = [
    case
    for case in json.loads(GOLDEN.read_text(encoding="utf-8"))["cases"]
    if case["programme"] != "platform"
    and (case["programme"] in WRITTEN or case["rule"].split(".")[0] in WHOLE)
    and case["rule"] not in NOT_BUILT
]


def terms_of(case: Case) -> Terms:
    """The case's programme; where the demo county follows it, with that county's values."""
    adopted = CATALOGUE.adoptions(COUNTY, date(2018, 6, 1))[0].programme
    own = adopted.startswith(f"{case['programme']}:")
    return CATALOGUE.terms(COUNTY, adopted if own else case["programme"])


SAYS: Mapping[str, Callable[[Terms, Case], None]] = {
    **funds.SAYS,
    **gateway.SAYS,
    **insurance.SAYS,
    **loans.SAYS,
    **monitoring.SAYS,
    **products.SAYS,
    **scoring.SAYS,
    **settlement.SAYS,
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_the_pack_says_what_the_case_says(case: Case) -> None:
    SAYS[case["rule"]](terms_of(case), case["inputs"])


# The rows of these four programmes that must be computable: section, kind, how many.
ROWS: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "NAT": {"reg": (1,), "loa": (1, 2, 3)},
    "SMX": {
        "loa": (1, 2, 3, 5),
        "ins": (1, 2, 3, 4, 5),
        "fun": (1, 3, 5, 6, 7, 8, 9),
        "mon": (1, 2),
    },
    "LS17": {
        "reg": (1, 2, 3, 4, 5, 6, 7),
        "sco": (1, 2, 3, 4, 5, 6, 7),
        "loa": (1, 2, 3, 4, 5, 6, 7, 8, 9),
        "fun": (1, 3),
        "gat": (1,),
        "mon": (1, 2, 3, 4),
    },
    "LS18": {
        "reg": (1,),
        "sco": (1, 2, 3),
        "loa": (1, 2, 3, 4, 5, 6, 7, 8),
        "fun": (1, 2, 3, 4, 5, 6, 7),
        "mon": (1, 2),
    },
}


def rows_named(node: object) -> set[str]:
    """Every row in every `source` of a parsed pack."""
    if isinstance(node, dict):
        own = node.get("source", [])
        below = (rows_named(value) for value in node.values())
        return set(own if isinstance(own, list) else []).union(*below)
    if isinstance(node, list):
        return set[str]().union(*(rows_named(item) for item in node))
    return set()


def test_every_row_that_must_be_computable_has_a_clause() -> None:
    files = sorted(PACKAGED[0].glob("*.yaml"))
    named = set[str]().union(
        *(rows_named(parse(file.name, file.read_text(encoding="utf-8")).value) for file in files)
    )
    wanted = {
        f"{section}.{kind}.{number}"
        for section, kinds in ROWS.items()
        for kind, numbers in kinds.items()
        for number in numbers
    }

    assert len(wanted) == 73
    assert wanted - named == set()


def test_versions_of_a_programme_follow_each_other() -> None:
    # Versions for other areas may stand beside each other.
    by_id: dict[tuple[str, str | None], list[tuple[date, date]]] = {}
    for pack in CATALOGUE.packs.values():
        header = pack.programme
        by_id.setdefault((header.id, header.area), []).append(
            (header.effective_from, header.effective_to or date.max)
        )

    for spans in by_id.values():
        spans.sort()
        assert all(end < start for (_, end), (start, _) in itertools.pairwise(spans))


# LS17.mon.3, LS17.mon.4, LS18.mon.1: the union of what both reports say stops.
def test_the_second_version_stops_granting_and_lending_and_opens_collection() -> None:
    first, second = (CATALOGUE.programme(f"henan-lushi@{version}") for version in "12")

    assert first.monitoring is not None
    assert second.monitoring is not None
    effects = [
        [{effect.value for effect in breaker.effects} for breaker in pack.breakers]
        for pack in (first.monitoring, second.monitoring)
    ]
    stops = {"stop_grant", "stop_approve", "stop_draw", "stop_disburse"}
    assert effects == [[stops, stops], [stops | {"open_collection"}] * 2]


# LS17.sco.6: a certain period, whose length the report does not give.
def test_what_the_sources_leave_open_stays_open_in_the_pack() -> None:
    pack = CATALOGUE.programme("henan-lushi@2")

    assert pack.scoring is not None
    assert isinstance(pack.scoring.observation_months, Open)
