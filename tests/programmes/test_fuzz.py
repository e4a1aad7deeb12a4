"""Checking a pack never crashes, and what it accepts can be evaluated."""

import copy
from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import access
from services.kernel.errors import Refused
from services.kernel.money import Fen
from services.programmes import covers, pricing, scoring, waterfall
from services.programmes.calendars import Calendar
from services.programmes.loader import PackErrors, load_texts
from services.programmes.review import review
from services.programmes.schema.insurance import Insurance
from services.programmes.schema.pack import Pack
from services.programmes.schema.scoring import BasePointsScoring, WeightedScoring
from services.programmes.schema.values import known
from services.programmes.yaml_text import Problem
from tests.programmes.county_texts import ADOPTION, INSTITUTIONS, OVERLAY, PACK, texts

ON = date(2020, 6, 1)
WHOLE: dict[str, Any] = yaml.safe_load(PACK)

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**19), 10**19),
    st.floats(allow_nan=False),
    st.text(max_size=12),
    st.sampled_from(["inherit", "open", "household", "A", "2020-02-30", "yes", "0123"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda below: st.one_of(
        st.lists(below, max_size=3),
        st.dictionaries(st.sampled_from(["id", "open", "source", "mode", "x"]), below, max_size=3),
    ),
    max_leaves=6,
)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every key and item of a parsed pack."""
    steps = node.items() if isinstance(node, dict) else enumerate(node)
    found = []
    for step, below in steps:
        found.append((*path, step))
        if isinstance(below, dict | list):
            found += places(below, (*path, step))
    return found


PLACES = places(WHOLE)


def with_change(path: tuple[Any, ...], value: Any, *, remove: bool) -> str:
    """The pack's text with one place replaced or left out."""
    # Typed again by YAML, as an officer's editor would leave it.
    whole = yaml.safe_load(PACK)
    here: Any = whole
    for step in path[:-1]:
        here = here[step]
    if remove:
        del here[path[-1]]
    else:
        here[path[-1]] = copy.deepcopy(value)
    return yaml.safe_dump(whole, allow_unicode=True, default_flow_style=False)


def evaluate(pack: Pack) -> None:
    """Run what the pack says; an open or missing value may refuse, nothing may crash."""
    if isinstance(pack.scoring, WeightedScoring):
        with suppress(Refused):
            scoring.score_by_weights(pack.scoring, {"integrity": 90}, "honest")
    if pack.scoring:
        with suppress(Refused):
            review(pack.scoring, [], on=ON)
    if pack.gateway:
        access.conditions_of(pack.gateway)
    if isinstance(pack.scoring, BasePointsScoring):
        with suppress(Refused):
            scoring.score_by_points(pack.scoring, {"tidy": 1}, "honest")
    for model in pack.fund.models if pack.fund else ():
        with suppress(Refused):
            shared = waterfall.share_loss_by(model, Fen(12_345))
            paid = sum(line.amount_fen for line in shared.allocations)
            assert paid + shared.uncovered_fen == 12_345
    if pack.loans:
        with suppress(Refused):
            table = known(pack.loans.benchmark)
            pricing.benchmark_rate_ppm(table, term_months=6, on=ON)
    if pack.insurance:
        evaluate_insurance(pack.insurance)


def evaluate_insurance(insurance: Insurance) -> None:
    for cover in insurance.covers:
        with suppress(Refused):
            groups = covers.payees_of(
                cover, consented=True, sweep_trigger="always", difficulty=False
            )
            assert groups[-1] == ("household",)
    with suppress(Refused):
        tiers = known(insurance.claim_tiers)
        covers.claim_deadline(Fen(10**12), tiers, accepted_on=ON, calendar=Calendar())


def loaded(files: Mapping[str, str]) -> tuple[Pack, ...] | tuple[Problem, ...]:
    """The packs, or all that is wrong; anything else that is raised is a crash."""
    try:
        return tuple(load_texts(files).packs.values())
    except PackErrors as refused:
        return refused.problems


def judge(files: Mapping[str, str]) -> None:
    """Refused with problems that say something, or accepted and evaluated."""
    results = loaded(files)
    assert results
    for result in results:
        if isinstance(result, Problem):
            assert result.rule
            assert result.line >= 1
        else:
            evaluate(result)


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(PLACES), VALUES, st.booleans())
def test_a_pack_changed_anywhere_is_refused_or_can_be_evaluated(
    path: tuple[Any, ...], value: Any, remove: bool
) -> None:
    text = with_change(path, value, remove=remove)

    judge(texts(pack=text, overlay="", adoption="", institutions=""))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_refused_and_never_crashes(text: str) -> None:
    results = loaded({"any@1.yaml": text})

    assert results
    assert all(isinstance(result, Problem) for result in results)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(PACK) - 1), st.text(max_size=3), st.integers(0, 6))
def test_a_slip_of_the_keyboard_is_refused_or_can_be_evaluated(
    at: int, typed: str, deleted: int
) -> None:
    slipped = PACK[:at] + typed + PACK[at + deleted :]

    judge(texts(pack=slipped, overlay="", adoption="", institutions=""))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["overlay", "adoption", "institutions"]),
    st.integers(0, 400),
    st.text(max_size=3),
    st.integers(0, 6),
)
def test_a_slip_in_a_countys_own_files_never_crashes(
    kind: str, at: int, typed: str, deleted: int
) -> None:
    whole = {"overlay": OVERLAY, "adoption": ADOPTION, "institutions": INSTITUTIONS}[kind]

    judge(texts(**{kind: whole[:at] + typed + whole[at + deleted :]}))
