"""Credit's decisions, one file at a time."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.credit.model import Cause, CreditFile, Decision, Fact, Observed, Override
from services.credit.rules import rating as rules
from services.credit.rules import recording
from services.credit.rules.scheme import missing_factors, scheme_of
from services.kernel.errors import Invalid, Refused
from tests.credit.county import (
    COUNTY,
    OPENED,
    VILLAGE,
    a_catalogue,
    a_file,
    a_household,
    a_scheme,
    observed,
)

SCHEME = a_scheme()
A_YEAR_ON = date(2022, 1, 4)
NEW = UUID(int=1)


def rated(file: CreditFile, on: date = OPENED, **values: int) -> Decision:
    return rules.rate(file, observed(**values), scheme=SCHEME, rating_id=NEW, on=on)


def change_honour(file: CreditFile, inputs: Mapping[str, Observed], *, on: date) -> Decision:
    return rules.restate(
        file,
        inputs,
        scheme=SCHEME,
        rating_id=NEW,
        on=on,
        pins=rules.NOTHING,
        cause=Cause.HONOUR_CHANGED,
    )


def test_a_first_rating_grades_grants_and_pins_what_it_read() -> None:
    decision = rated(a_file(), skills=1)

    assert decision.facts == (Fact.GRADED, Fact.LIMIT_GRANTED)
    assert decision.file.version == 2
    assert decision.file.grade == "AA"
    assert decision.file.limit_fen == 10_000_000
    assert decision.file.valid_until == A_YEAR_ON
    assert decision.file.granted_on == OPENED
    assert decision.rating is not None
    assert decision.rating.inputs == observed(skills=1)
    assert decision.rating.programme == "plain@1"
    assert "10000 +500 skills = 10500 → AA" in decision.rating.working


def test_below_the_lowest_grade_there_is_a_score_and_no_limit() -> None:
    decision = rated(a_file(), late=1)

    assert decision.facts == (Fact.GRADED,)
    assert (decision.file.score_centi, decision.file.grade) == (8_500, "")
    assert (decision.file.limit_fen, decision.file.valid_until) == (0, None)


GATED = a_scheme("gated@1")


def gated(inputs: Mapping[str, Observed], file: CreditFile | None = None) -> Decision:
    return rules.rate(file or a_file(), inputs, scheme=GATED, rating_id=NEW, on=OPENED)


@pytest.mark.parametrize(
    ("values", "failed"),
    [
        ({"able_to_work": 1, "has_project": 1}, ()),
        ({"able_to_work": 1}, ("gate:has_project",)),
        ({"able_to_work": 0, "has_project": 1}, ("gate:able_to_work",)),
        ({}, ("gate:able_to_work", "gate:has_project")),
    ],
)
def test_a_grade_needs_every_gate_and_unknown_is_not_held(
    values: dict[str, int], failed: tuple[str, ...]
) -> None:
    decision = gated(observed(skills=1, **values))

    assert decision.file.score_centi == 10_500
    assert decision.file.holds == failed
    assert (decision.file.grade, decision.file.limit_fen) == (
        ("", 0) if failed else ("AA", 10_000_000)
    )
    assert decision.rating is not None
    assert all(f"{code} holds the grade back" in decision.rating.working for code in failed)
    assert decision.file.barred == ()
    assert rules.derive_again(decision.rating, scheme=GATED).identical


def test_a_gate_that_is_out_of_date_is_not_held_and_takes_a_grade_away() -> None:
    good = observed(able_to_work=1, has_project=1)
    granted = gated(good).file
    stale = {**good, "has_project": replace(good["has_project"], stale=True)}

    decision = gated(stale, granted)

    assert decision.file.holds == ("gate:has_project",)
    assert (decision.file.grade, decision.file.limit_fen) == ("", 0)
    assert Fact.LIMIT_CHANGED in decision.facts


def test_people_do_not_override_a_gate() -> None:
    override = Override(UUID(int=2), "AA", None)
    standing = replace(rules.NOTHING, override=override)

    decision = rules.rate(a_file(), {}, scheme=GATED, rating_id=NEW, on=OPENED, standing=standing)

    assert (decision.file.grade, decision.file.limit_fen) == ("", 0)


def test_an_indicator_taken_back_counts_for_nothing() -> None:
    assert rated(a_file(), skills=0).file.score_centi == 10_000


def test_a_veto_takes_the_grade_whatever_the_score() -> None:
    decision = rated(a_file(), skills=1, arrears=1)

    assert decision.facts == (Fact.GRADED, Fact.VETOED)
    assert decision.file.vetoes == ("arrears",)
    assert (decision.file.grade, decision.file.limit_fen) == ("", 0)


def test_a_veto_on_a_granted_limit_takes_it_away() -> None:
    granted = rated(a_file()).file

    decision = rated(granted, arrears=1)

    assert decision.facts == (Fact.GRADED, Fact.VETOED, Fact.LIMIT_CHANGED)
    assert decision.file.version == granted.version + 3
    assert decision.file.limit_fen == 0


def test_a_veto_is_said_when_it_hits_first_and_not_again() -> None:
    vetoed = rated(a_file(), arrears=1).file

    assert rated(vetoed, arrears=1).facts == ()
    assert rated(vetoed, arrears=1, dishonesty=1).facts == (Fact.GRADED, Fact.VETOED)


def test_the_same_rating_again_says_nothing_and_is_kept() -> None:
    file = rated(a_file(), skills=1).file

    decision = rated(file, skills=1)

    assert decision.facts == ()
    assert decision.rating is not None
    assert decision.file == file


def test_a_later_rating_prolongs_the_limit_and_says_so() -> None:
    file = rated(a_file()).file

    decision = rated(file, on=date(2021, 4, 1))

    assert decision.facts == (Fact.LIMIT_CHANGED,)
    assert decision.file.valid_until == date(2022, 4, 1)
    assert decision.file.granted_on == OPENED


def test_a_limit_that_comes_back_is_changed_and_not_granted_again() -> None:
    lost = rated(rated(a_file()).file, arrears=1).file

    decision = rated(lost)

    assert decision.facts == (Fact.GRADED, Fact.LIMIT_CHANGED)
    assert decision.file.limit_fen == 5_000_000


def test_an_honour_adds_to_the_limit_of_a_grade_only() -> None:
    honest = a_file(a_household(honour="honest"))

    assert rated(honest).file.limit_fen == 8_000_000
    assert rated(honest, late=1).file.limit_fen == 0


def test_validity_ends_on_the_last_day_of_a_shorter_month() -> None:
    assert rated(a_file(), on=date(2024, 2, 29)).file.valid_until == date(2025, 2, 28)


def test_a_new_honour_moves_the_limit_and_not_its_last_day() -> None:
    file = rated(a_file(), skills=1).file
    honest = replace(file, household=a_household(honour="honest"))

    decision = change_honour(honest, observed(skills=1), on=date(2021, 6, 1))

    assert decision.facts == (Fact.LIMIT_CHANGED,)
    assert decision.file.limit_fen == 13_000_000
    assert decision.file.valid_until == A_YEAR_ON
    assert decision.rating is not None
    assert decision.rating.cause is Cause.HONOUR_CHANGED


def test_a_new_honour_without_an_uplift_changes_nothing() -> None:
    file = rated(a_file()).file
    named = replace(file, household=a_household(honour="unheard_of"))

    decision = change_honour(named, {}, on=OPENED)

    assert decision == Decision(named, None, ())


@pytest.mark.parametrize(
    "gone", [a_file(delisted=True), a_file(a_household(status="deceased"))], ids=["off", "dead"]
)
def test_a_household_off_the_file_or_dead_loses_its_limit(gone: CreditFile) -> None:
    granted = rated(a_file()).file
    file = replace(granted, delisted=gone.delisted, household=gone.household)

    decision = rules.withdraw(file)

    assert decision.facts == (Fact.LIMIT_CHANGED,)
    assert (decision.file.limit_fen, decision.file.valid_until) == (0, None)
    assert rules.withdraw(decision.file).facts == ()
    assert rules.withdraw(granted).facts == ()


def test_an_open_value_is_refused_by_its_key() -> None:
    terms = a_catalogue().terms(COUNTY, "undecided@1")

    with pytest.raises(Refused) as refusal:
        scheme_of(terms)

    assert refusal.value.reason == "PROGRAMME_VALUE_OPEN"
    assert refusal.value.facts["key"] == "scoring.adjustments"


def test_a_weighted_scheme_needs_a_score_of_every_factor() -> None:
    scheme = scheme_of(a_catalogue().terms(COUNTY, "weighed@1"))

    assert missing_factors(scheme, {"integrity": 80}) == ("labour",)
    with pytest.raises(Refused) as refusal:
        rules.rate(a_file(), observed(integrity=80), scheme=scheme, rating_id=NEW, on=OPENED)

    assert refusal.value.reason == "FACTOR_SCORES_MISSING"
    assert refusal.value.facts == {"missing": "labour"}


def test_an_area_of_another_county_is_refused_by_field() -> None:
    recording.check_area("", COUNTY)
    recording.check_area(VILLAGE, COUNTY)
    with pytest.raises(Invalid) as refusal:
        recording.check_area("990102001", COUNTY)

    assert refusal.value.violations[0].field == "within"


STEPS = st.lists(
    st.tuples(
        st.dictionaries(
            st.sampled_from(["skills", "late", "arrears", "dishonesty"]), st.integers(0, 1)
        ),
        st.sampled_from(["", "honest"]),
        st.sampled_from(["rate", "honour", "withdraw"]),
    ),
    max_size=8,
)


@given(STEPS)
def test_others_know_the_limit_from_the_events_alone(
    steps: list[tuple[dict[str, int], str, str]],
) -> None:
    file, told_fen, told_until, inputs = a_file(), 0, None, dict[str, Observed]()
    granted = 0
    for place, (values, honour, step) in enumerate(steps):
        on = date(2021, 1, 4 + place)
        file = replace(file, household=a_household(honour=honour), delisted=step == "withdraw")
        if step == "rate":
            inputs = observed(**values)
            decision = rules.rate(file, inputs, scheme=SCHEME, rating_id=NEW, on=on)
        elif step == "honour":
            decision = change_honour(file, inputs, on=on)
        else:
            decision = rules.withdraw(file)
        assert decision.file.version == file.version + len(decision.facts)
        file = decision.file
        granted += Fact.LIMIT_GRANTED in decision.facts
        if {Fact.LIMIT_GRANTED, Fact.LIMIT_CHANGED} & set(decision.facts):
            told_fen, told_until = file.limit_fen, file.valid_until

        assert (told_fen, told_until) == (file.limit_fen, file.valid_until)
        assert not (file.vetoes and file.limit_fen)
    assert granted <= 1
