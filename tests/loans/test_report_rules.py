"""Reports as pure figures: sums over loans, whatever the cut; what falls due and what is paid."""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.kernel.errors import Invalid
from services.kernel.money import Fen
from services.loans.model import LoanState
from services.loans.rules import assessing
from services.loans.rules import reports as rules
from services.loans.rules.assessing import Lender
from services.loans.rules.reports import Collections, Dimension, Figures, Held, Moved, Row, Span
from services.loans.rules.schedule import Method, Plan
from services.programmes.calendars import add_months
from services.programmes.schema.indicators import AreaGoal, Count, CountUnit, Indicator, Kpi
from services.programmes.schema.monitoring import FiveTier
from tests.loans.builders import a_loan

FIRST, LAST = date(2021, 4, 1), date(2021, 4, 30)
SPAN = Span(FIRST, LAST, LAST)
LENT = date(2021, 1, 10)
VILLAGES = ("990101001001", "990101001002", "990101002001", "990201001001")
few = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
"""Each example is a whole book of loans."""
HOUSEHOLDS = [UUID(int=number) for number in range(1, 7)]


def held(
    *,
    lent_fen: int = 1_000_00,
    collected_fen: int = 0,
    months: int = 3,
    method: Method = Method.BULLET,
    on: date = LENT,
    loan: dict[str, Any] | None = None,
    moved: dict[str, Any] | None = None,
    **changes: Any,
) -> Held:
    """A loan of which a part was paid before the span."""
    made = a_loan(
        state=LoanState.ACTIVE,
        principal_fen=Fen(lent_fen),
        term_months=months,
        method=str(method),
        disbursed_on=on,
        matures_on=add_months(on, months),
        rate_ppm=43_500,
        **(loan or {}),
    )
    balance = lent_fen - collected_fen
    sums = {
        "balance_fen": balance,
        "balance_before_fen": balance,
        "lent_fen": lent_fen,
        "collected_fen": collected_fen,
        **(moved or {}),
    }
    assert made.matures_on is not None
    return Held(made, Moved(**sums), changes.pop("matures_on", made.matures_on), **changes)


def loan_of(seed: int) -> Held:
    """Any loan that a journal could hold, its span's flows within what it came to, from a seed."""
    rng = random.Random(seed)
    lent = rng.randint(1, 10**10)
    on = date(2020, 1, 1) + timedelta(days=rng.randint(0, 456))
    out_of = rng.choice((0, lent, rng.randint(0, lent)))
    away = rng.choice((0, 0, rng.randint(0, lent - out_of)))
    off = rng.choice((0, 0, rng.randint(0, lent - out_of - away)))
    disbursed = rng.choice((0, lent))
    collected = rng.randint(0, out_of)
    balance = lent - out_of - away - off
    made = held(
        lent_fen=lent,
        collected_fen=out_of,
        months=rng.randint(1, 36),
        method=rng.choice(list(Method)),
        on=on,
        loan={
            "household_id": rng.choice(HOUSEHOLDS),
            "area_code": rng.choice(VILLAGES),
            "lender_id": rng.choice(("rcb-1", "psb-1")),
            "product_id": rng.choice(("covered", "ordinary")),
            "borrower_class": rng.choice(("poor_household", "entity")),
        },
        moved={
            "balance_fen": balance,
            "balance_before_fen": balance - disbursed + collected + away + off,
            "interest_owed_fen": rng.randint(0, 10**9),
            "carried_away_fen": away,
            "carried_out_fen": away,
            "disbursed_fen": disbursed,
            "collected_principal_fen": collected,
            "collected_interest_fen": rng.randint(0, 10**9),
            "written_off_fen": off,
            "subsidy_fen": rng.randint(0, 10**9),
            "interest_charged_fen": rng.randint(0, 10**9),
        },
        tier=rng.choice(list(FiveTier)).value,
        tier_before=rng.choice(list(FiveTier)).value,
        non_performing=rng.random() < 0.5,
        interest_late=rng.random() < 0.5,
        officer=rng.choice(("", "rcb-1-p1")),
        use_mode=rng.choice(("", "self_development")),
        batch=rng.choice(("", "1", "2")),
    )
    if rng.random() < 0.5 or not balance:
        return made
    plan = Plan("extension", FIRST, on, Fen(balance), 12, Method.BULLET, 43_500, add_months(on, 12))
    return replace(made, plan=plan, matures_on=plan.matures_on)


loans = st.integers(0, 2**32).map(loan_of)
books = st.lists(loans, max_size=12)


def total(rows: Sequence[Row]) -> Figures:
    made = Figures()
    for row in rows:
        made = made.plus(row.figures)
    return made


@few
@given(books, st.lists(st.sampled_from(Dimension), max_size=3, unique=True))
def test_every_figure_is_the_sum_over_its_loans_and_all_cuts_agree(
    book: list[Held], by: list[Dimension]
) -> None:
    (whole,) = rules.report(book, (), SPAN, {})
    rows = rules.report(book, by, SPAN, {})

    assert total(rows) == whole.figures
    for row in rows:
        own = [each for each in book if rules.key_of(each, by) == row.key]
        summed = Figures()
        for each in own:
            summed = summed.plus(rules.figures(each, SPAN))
        assert row.figures == summed
        assert row.households == len({each.loan.household_id for each in own})
        assert row.figures.loans == len(own)
    assert len({row.key for row in rows}) == len(rows)


@few
@given(books)
def test_an_area_is_its_parts(book: list[Held]) -> None:
    counted = {village: place + 5 for place, village in enumerate(VILLAGES)}
    villages = rules.report(book, (Dimension.VILLAGE,), SPAN, counted)
    for wider in (Dimension.TOWNSHIP, Dimension.COUNTY, Dimension.PROVINCE):
        for row in rules.report(book, (wider,), SPAN, counted):
            inside = [each for each in villages if each.key[0].startswith(row.key[0])]
            assert total(inside) == row.figures
            assert row.counted_households == sum(
                count for village, count in counted.items() if village.startswith(row.key[0])
            )


@given(loans)
def test_the_figures_of_a_loan_agree_with_one_another(each: Held) -> None:
    own = rules.figures(each, SPAN)
    parts = rules.parts(each)

    assert own.balance_fen == (
        own.balance_before_fen
        + own.disbursed_fen
        + own.taken_over_fen
        + own.carried_in_fen
        - own.collected_principal_fen
        - own.carried_out_fen
        - own.written_off_fen
    )
    classes = [getattr(own, f"{tier.value}_fen") for tier in FiveTier]
    assert sum(classes) == own.balance_fen
    assert own.due_collected_fen <= own.due_fen
    assert own.overdue_principal_fen <= own.balance_fen
    assert own.non_performing_fen in (0, own.balance_fen)
    assert sum(part.due_fen for part in parts) == own.lent_fen - each.moved.carried_away_fen
    assert all(0 <= part.collected_fen <= part.due_fen for part in parts)
    assert sum(part.collected_fen for part in parts) == each.moved.collected_fen
    assert [part.due_on for part in parts] == sorted(part.due_on for part in parts)


@few
@given(books)
def test_a_bulletin_sums_to_what_reports_say(book: list[Held]) -> None:
    (whole,) = rules.report(book, (), SPAN, {})
    made = assessing.bulletin_of(book, SPAN)

    assert made.due_this_month_fen == whole.figures.due_fen
    assert made.overdue_principal_fen == whole.figures.overdue_principal_fen
    assert made.overdue_interest_fen == whole.figures.overdue_interest_fen
    assert len(made.worse) + len(made.better) == sum(each.tier != each.tier_before for each in book)


@few
@given(books, st.sampled_from(Dimension))
def test_the_months_of_collection_agree_with_the_report_of_the_month(
    book: list[Held], by: Dimension
) -> None:
    found = Collections((by,), rules.months_between(FIRST, LAST))
    found.add(book)
    rows = {row.key: row.figures for row in rules.report(book, (by,), SPAN, {})}

    for key, (month,) in found.rows():
        assert month.month == "2021-04"
        assert (month.due_fen, month.collected_fen) == (
            rows[key].due_fen,
            rows[key].due_collected_fen,
        )


def test_early_money_counts_in_the_month_it_was_due() -> None:
    early = held(collected_fen=1_000_00, on=date(2021, 1, 15))

    own = rules.figures(early, SPAN)

    assert (own.due_fen, own.due_collected_fen, own.due_collected_loans) == (1_000_00, 1_000_00, 1)
    assert own.overdue_loans == 0


def test_equal_parts_fall_due_one_by_one_and_the_first_are_paid_first() -> None:
    loan = held(
        lent_fen=300,
        collected_fen=150,
        months=3,
        method=Method.EQUAL_PRINCIPAL,
        on=date(2021, 2, 5),
    )

    assert [(part.due_fen, part.collected_fen) for part in rules.parts(loan)] == [
        (100, 100),
        (100, 50),
        (100, 0),
    ]
    own = rules.figures(loan, SPAN)
    assert (own.due_fen, own.due_collected_fen, own.overdue_principal_fen) == (100, 50, 50)


def test_of_a_loan_that_was_taken_over_only_the_last_parts_fall_due_here() -> None:
    loan = held(
        lent_fen=300,
        months=3,
        method=Method.EQUAL_PRINCIPAL,
        on=date(2021, 2, 5),
        moved={"lent_fen": 200, "balance_fen": 200},
    )

    assert [part.due_on.month for part in rules.parts(loan)] == [4, 5]


def test_what_goes_over_to_a_renewal_no_longer_falls_due() -> None:
    renewed = held(moved={"carried_away_fen": 1_000_00, "balance_fen": 0}, on=date(2021, 1, 15))

    own = rules.figures(renewed, SPAN)

    assert (own.due_fen, own.overdue_principal_fen, own.due_loans) == (0, 0, 0)


def test_cohorts_are_cut_by_year_and_batch() -> None:
    assert rules.key_of(held(batch="spring"), [Dimension.VINTAGE]) == ("2021/spring",)


def test_a_period_that_is_turned_round_or_not_lived_yet_is_refused() -> None:
    with pytest.raises(Invalid, match="PERIOD_TURNED_ROUND"):
        rules.span_of(LAST, FIRST, as_of=None, today=LAST)
    with pytest.raises(Invalid, match="DAY_IN_FUTURE"):
        rules.span_of(FIRST, LAST, as_of=LAST, today=FIRST)
    with pytest.raises(Invalid, match="DAY_IN_FUTURE"):
        rules.span_of(LAST, LAST, as_of=None, today=FIRST)
    with pytest.raises(Invalid, match="TOO_MANY_MONTHS"):
        rules.months_between(date(2010, 1, 1), LAST)
    assert rules.span_of(FIRST, LAST, as_of=None, today=date(2021, 4, 9)).as_of.day == 9


# --- counts and targets ---------------------------------------------------------------------------

COUNTS = (
    Count(id="rated", unit=CountUnit.HOUSEHOLDS),
    Count(id="due", unit=CountUnit.FEN),
    Count(id="collected", unit=CountUnit.FEN),
    Count(id="overdue", unit=CountUnit.FEN, plus=("due",), minus=("collected",)),
    Count(id="non_performing", unit=CountUnit.FEN),
    Count(id="outstanding", unit=CountUnit.FEN),
)
NPL = Indicator(id="npl_ratio", numerator="non_performing", denominator="outstanding")


def test_a_stated_count_stands_before_ours_and_nothing_is_guessed() -> None:
    ours = {"due": 100, "collected": 40, "outstanding": 7}
    found = assessing.known_counts(COUNTS, ours, {"collected": (60, "cfc-1")})

    assert {name: each.value for name, each in found.items()} == {
        "due": 100,
        "collected": 60,
        "overdue": 40,
        "outstanding": 7,
    }
    assert (found["collected"].ours, found["collected"].stated_by) == (40, "cfc-1")
    assert assessing.indicator_values([NPL], found) == ([], ["non_performing"])


def test_what_is_stated_of_a_sum_is_held_against_its_parts_and_never_stands_for_it() -> None:
    ours = {"due": 100, "collected": 40, "outstanding": 7}
    stated = {"overdue": (55, "cfc-1"), "collected": (60, "cfc-1"), "rated": (3, "cfc-1")}
    found = assessing.known_counts(COUNTS, ours, stated)

    overdue = found["overdue"]
    assert (overdue.value, overdue.stated, overdue.difference) == (40, 55, 15)
    assert (overdue.ours, overdue.stated_by, overdue.working) == (None, "cfc-1", "100 − 60 = 40")
    # A stated count stands, and says what it differs by from ours; none where we have none.
    assert (found["collected"].value, found["collected"].difference) == (60, 20)
    assert (found["rated"].difference, found["due"].difference) == (None, None)
    agreed = assessing.known_counts(COUNTS, ours, {"overdue": (60, "cfc-1")})
    assert agreed["overdue"].difference == 0


def test_a_stated_sum_without_its_parts_is_left_out_and_its_parts_are_named() -> None:
    stated = {"overdue": (55, "cfc-1")}
    found = assessing.known_counts(COUNTS, {"due": 100}, stated)

    assert set(found) == {"due"}
    assert assessing.lacking(COUNTS, found, stated) == ["collected"]
    assert assessing.lacking(COUNTS, found, {}) == []


def test_marks_are_full_at_the_average_and_never_above_it() -> None:
    kpi = Kpi(
        id="npl",
        indicator="npl_ratio",
        better="lower",
        full_at=AreaGoal(of="area_average"),
        zero_at_ppm=200_000,
        marks_centi=1_000,
    )

    def lender(lender_id: str, bad: int, whole: int) -> Lender:
        counts = assessing.known_counts(COUNTS, {"non_performing": bad, "outstanding": whole}, {})
        own = Figures(balance_fen=whole, non_performing_fen=bad)
        return Lender(lender_id, own, 1, counts)

    found, missing = assessing.assess(
        [lender("good", 0, 1_000), lender("bad", 150, 1_000)],
        kpis=[kpi],
        wanted={"npl_ratio": NPL},
        tolerance_ppm=20_000,
        stated={"bad": (130, 1_000)},
    )

    good, bad = found
    assert missing == []
    assert good.targets[0].average.rate.numerator == 150
    assert (good.marks_centi, bad.marks_centi) == (1_000, 400)
    assert (good.tolerated, bad.tolerated) == (None, True)
