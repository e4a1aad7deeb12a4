"""The packs say what the golden cases say."""

import itertools
import json
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from services.programmes.loader import load
from services.programmes.schema.pack import split_ref
from services.programmes.schema.values import Open
from services.programmes.terms import Terms
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

Case = Mapping[str, Any]
CASES: list[Case] = [
    case
    for case in json.loads(GOLDEN.read_text(encoding="utf-8"))["cases"]
    if case["programme"] != "platform"
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


def test_every_case_of_a_programme_is_held_against_its_pack() -> None:
    assert len(CASES) == 154
    assert {case["rule"] for case in CASES} == set(SAYS)
    assert any(split_ref(case["programme"])[2] for case in CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_the_pack_says_what_the_case_says(case: Case) -> None:
    SAYS[case["rule"]](terms_of(case), case["inputs"])


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


@pytest.mark.parametrize("ref", sorted(CATALOGUE.packs))
def test_whoever_a_product_is_for_may_take_part(ref: str) -> None:
    pack = CATALOGUE.packs[ref]
    if pack.eligibility is None:
        assert not pack.loan_products
        return
    eligible = set(pack.eligibility.borrower_classes)
    for product in pack.loan_products:
        outside = set(product.borrower_classes) - eligible
        assert not outside, f"{ref}: {product.id} lends to {outside}, who may not take part"
