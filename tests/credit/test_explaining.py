"""Why a score came out, the smallest changes to the next grade, and ratings derived again."""

from dataclasses import replace
from datetime import date
from itertools import product
from uuid import UUID

import pytest
from google.type.date_pb2 import Date
from hypothesis import given
from hypothesis import strategies as st
from liandong.credit.v1 import scores_pb2

from services.credit.model import Decision, Hold, Override, Pins, Rating
from services.credit.rules import rating
from services.credit.rules.explaining import Change, explain, points, smallest_changes, yuan
from services.credit.rules.scheme import scheme_of
from services.kernel.database import Database, execute
from services.kernel.errors import Refused
from services.kernel.money import Fen
from services.kernel.walls import EVERY_COUNTY
from services.programmes.loader import load_texts
from tests.credit.chained import ADOPTION, BANK, PACK, Desk
from tests.credit.county import (
    COUNTY,
    OPENED,
    a_catalogue,
    a_file,
    a_scheme,
    household_id,
    observed,
)

NEW = UUID(int=1)
CHAINED = scheme_of(
    load_texts({"chained@1.yaml": PACK, "adoption.yaml": ADOPTION}).terms(COUNTY, "chained@1")
)


def made(pins: Pins = Pins(), **values: int) -> Rating:  # noqa: B008 - a frozen value
    decision = rating.rate(
        a_file(), observed(**values), scheme=CHAINED, rating_id=NEW, on=OPENED, standing=pins
    )
    assert decision.rating is not None
    return decision.rating


def test_every_clause_is_explained_and_missing_is_not_zero() -> None:
    found = explain(made(skills=1, income_level=1), CHAINED)

    assert [(line.code, line.state, line.points_centi) for line in found.lines] == [
        ("skills", "counted", 500),
        ("income", "not_met", 0),
        ("income_high", "not_met", 0),
        ("late", "missing", 0),
    ]
    assert "skills: +5 points (skills = 1, seen on 2021-01-04)" in found.words
    assert "late: not known, counts for nothing" in found.words
    assert "late:尚未采集,不计分" in found.words_zh


def test_the_fewest_changes_with_the_least_gain_reach_the_next_grade() -> None:
    found = explain(made(), CHAINED).next_grade

    assert found is not None
    assert (found.grade, found.missing_centi, found.reachable) == ("AA", 500, True)
    assert found.changes == (Change("skills", None, 1, 500),)


def test_one_indicator_with_two_ranges_is_changed_once() -> None:
    found = explain(made(skills=1, income_level=2), CHAINED).next_grade

    assert found is not None
    assert (found.grade, found.missing_centi) == ("AAA", 1200)
    assert not found.reachable


def test_a_veto_must_be_lifted_first_and_the_points_may_be_there_already() -> None:
    found = explain(made(skills=1, arrears=1), CHAINED).next_grade

    assert found is not None
    assert (found.grade, found.missing_centi, found.lift) == ("AA", 0, ("arrears",))


def test_weights_are_raised_by_as_little_as_is_needed() -> None:
    scheme = a_scheme("weighed@1")
    decision = rating.rate(
        a_file(), observed(integrity=50, labour=60), scheme=scheme, rating_id=NEW, on=OPENED
    )
    assert decision.rating is not None

    found = explain(decision.rating, scheme)

    assert decision.rating.score_centi == 5_400
    assert found.next_grade is not None
    assert found.next_grade.changes == (Change("integrity", 50, 60, 600),)
    assert [line.points_centi for line in found.lines] == [3_000, 2_400]


def test_a_gate_that_does_not_hold_is_said_and_must_be_lifted_first() -> None:
    scheme = a_scheme("gated@1")
    inputs = observed(skills=1, able_to_work=0)
    decision = rating.rate(a_file(), inputs, scheme=scheme, rating_id=NEW, on=OPENED)
    assert decision.rating is not None

    found = explain(decision.rating, scheme)

    assert found.next_grade is not None
    assert found.next_grade.lift == ("gate:able_to_work", "gate:has_project")
    assert (found.next_grade.grade, found.next_grade.missing_centi) == ("AA", 0)
    assert "Gate able_to_work does not hold: no grade" in found.words
    assert "Gate has_project must hold, and nobody has observed it: no grade" in found.words
    assert "准入条件 has_project 尚未采集,不予评级" in found.words_zh


MOVES = st.lists(
    st.lists(st.integers(1, 12), min_size=1, max_size=3, unique=True).map(sorted), max_size=5
)


@given(MOVES, st.integers(1, 30))
def test_no_smaller_set_of_changes_suffices(gains: list[list[int]], missing: int) -> None:
    options = [[Change(str(n), 0, g, g) for g in each] for n, each in enumerate(gains)]

    found = smallest_changes(options, missing)

    ways = [
        (sum(g > 0 for g in way), sum(way))
        for way in product(*([0, *each] for each in gains))
        if sum(way) >= missing
    ]
    if not ways:
        assert found is None
    else:
        assert found is not None
        assert (len(found), sum(change.gain_centi for change in found)) == min(ways)


def test_points_and_yuan_are_written_for_people() -> None:
    assert [points(1050), points(-300, sign=True), points(500, sign=True)] == ["10.5", "-3", "+5"]
    assert [yuan(1_000_050), yuan(5_000_000)] == ["10,000.50", "50,000"]


PINS = st.builds(
    Pins,
    waived=st.sampled_from([(), ("late",)]),
    holds=st.sampled_from(
        [(), (Hold("sanction:evader", True, None),), (Hold("review", False, None),)]
    ),
    reward_fen=st.sampled_from([Fen(0), Fen(100_000)]),
    cap_fen=st.sampled_from([None, Fen(3_000_000)]),
    override=st.sampled_from([None, Override(NEW, "AA", None), Override(NEW, "A", Fen(7))]),
)
VALUES = st.dictionaries(
    st.sampled_from(["skills", "late", "arrears", "income_level"]), st.integers(0, 5)
)


@given(VALUES, PINS)
def test_any_rating_is_derived_again_bit_for_bit(values: dict[str, int], pins: Pins) -> None:
    stored = made(pins, **values)

    again = rating.derive_again(stored, scheme=CHAINED)

    assert again.identical
    assert again.same_terms
    assert again.again == stored
    assert stored.limit_fen == stored.base_limit_fen + stored.uplift_fen
    assert not (stored.vetoes and stored.grade)
    assert pins.cap_fen is None or stored.limit_fen <= pins.cap_fen
    if pins.holds:
        assert stored.limit_fen == 0


def test_what_was_tampered_with_is_named() -> None:
    stored = made(skills=1)

    raised = rating.derive_again(replace(stored, limit_fen=Fen(1)), scheme=CHAINED)
    other = rating.derive_again(stored, scheme=a_scheme())

    assert raised.differing == ("limit_fen",)
    assert not raised.intact
    assert not other.same_terms
    assert not other.identical


def test_a_waived_deduction_counts_nothing_and_is_said() -> None:
    found = made(Pins(waived=("late",)), late=1)

    assert found.score_centi == 10_000
    assert "waived: late" in found.working
    assert [line.state for line in explain(found, CHAINED).lines][-1] == "waived"


def test_a_veto_is_watched_for_the_programmes_months_after_its_cause_ended() -> None:
    hit = rating.rate(a_file(), observed(arrears=1), scheme=CHAINED, rating_id=NEW, on=OPENED).file
    assert hit.barred == ("arrears",)

    def on(day: date, **values: int) -> Decision:
        return rating.rate(hit, observed(**values), scheme=CHAINED, rating_id=NEW, on=day)

    unknown = on(date(2025, 1, 1))
    last = on(date(2021, 7, 3), arrears=0)
    first = on(date(2021, 7, 4), arrears=0)

    assert unknown.file.holds == ("observation:arrears",)
    assert (last.file.grade, last.file.limit_fen, last.file.barred) == ("", 0, ("arrears",))
    assert "observation:arrears holds the grade back until 2021-07-03" in str(last.rating)
    assert (first.file.grade, first.file.barred, first.file.holds) == ("A", (), ())


@pytest.mark.postgres
async def test_a_score_is_explained_and_derived_again_over_grpc(desk: Desk) -> None:
    await desk.put(1)
    await desk.observe(1, skills=1, income_level=3)
    await desk.rate()
    file = await desk.file(1)

    request = scores_pb2.ExplainScoreRequest(household_id=file.household_id)
    why: scores_pb2.ExplainScoreResponse = await desk.ask("ExplainScore", request, by=BANK)
    derived = await desk.rederive(file.rating_id)

    assert why.rating.score_centi == 10_800
    assert [line.source_id for line in why.lines if line.points_centi] == ["cfc-1", "cfc-1"]
    assert why.next_grade.grade == "AAA"
    assert why.words
    assert why.words_zh
    assert derived.identical
    assert derived.same_terms
    assert derived.stored == derived.derived
    assert len(derived.stored.digest) == 64


@pytest.mark.postgres
async def test_a_rating_made_before_a_change_of_pack_is_derived_identically_after_it(
    db: Database,
) -> None:
    desk = Desk(db, a_catalogue())
    await desk.put(1)
    await desk.observe(1, skills=1)
    request = desk.rate_request("plain")
    await desk.ask("RateHouseholds", request)
    before = (await desk.file(1)).rating_id
    await desk.open_day(date(2022, 1, 4))
    await desk.ask("RateHouseholds", desk.rate_request("plain"))

    old, new = await desk.rederive(before), await desk.rederive((await desk.file(1)).rating_id)

    assert (old.identical, old.stored.programme, old.derived.grade) == (True, "plain@1", "AA")
    assert (new.identical, new.stored.programme, new.derived.grade) == (True, "plain@2", "A")
    assert old.stored.rated_on == Date(year=2021, month=1, day=4)


@pytest.mark.postgres
async def test_who_was_never_rated_has_nothing_to_explain(desk: Desk) -> None:
    await desk.put(1)
    request = scores_pb2.ExplainScoreRequest(household_id=str(household_id(1)))

    with pytest.raises(Refused, match="NEVER_RATED"):
        await desk.ask("ExplainScore", request)


@pytest.mark.postgres
async def test_an_old_rating_without_pins_is_derived_again_too(desk: Desk) -> None:
    await desk.put(1)
    await desk.rate()
    file = await desk.file(1)
    async with desk.db.transaction(EVERY_COUNTY) as session:
        await execute(
            session,
            """INSERT INTO rating (county_code, rating_id, household_id, cause, programme, rated_on,
                   inputs, honour, score_centi, grade, vetoes, base_limit_fen, uplift_fen,
                   limit_fen, valid_until, working)
               SELECT county_code, $1, household_id, cause, programme, rated_on, inputs, honour,
                   score_centi, 'A', vetoes, 5000000, 0, 5000000, '2024-01-04',
                   '10000 = 10000 → A, limit 5000000 fen, valid until 2024-01-04; '
                   || 'chained@1, 2021-01-04'
               FROM rating WHERE rating_id = $2""",
            NEW,
            UUID(file.rating_id),
        )

    assert (await desk.rederive(str(NEW))).identical
