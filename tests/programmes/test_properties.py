"""Properties that hold for every input: money is conserved, better is never worse."""

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.errors import Refused
from services.kernel.money import Fen, split
from services.programmes import (
    breakers,
    calendars,
    drawdown,
    interest,
    leverage,
    limits,
    scoring,
    scoring_columns,
    settlement,
    waterfall,
)
from services.programmes.loader import load
from services.programmes.schema.scoring import BasePointsScoring
from services.programmes.schema.values import known

DEMO = Path(__file__).resolve().parents[2] / "deploy" / "demo" / "county"
CATALOGUE = load([DEMO])
COUNTY = CATALOGUE.counties()[0]

FEN = st.integers(0, 10**12).map(Fen)
SMALL_FEN = st.integers(0, 10_000).map(Fen)
RATE = st.integers(0, 300_000)
DAY = st.dates(date(2017, 1, 1), date(2026, 10, 1))
AMOUNTS = st.builds(settlement.Amounts, SMALL_FEN, SMALL_FEN, SMALL_FEN, SMALL_FEN)
SHARES = st.lists(st.integers(1, 99), min_size=1, max_size=6)
ORDERS = st.sampled_from([settlement.INTEREST_FIRST, settlement.PRINCIPAL_FIRST])
DEBT_IDS = ("a", "b", "c", "d")


def scheme() -> BasePointsScoring:
    (entry,) = CATALOGUE.adoptions(COUNTY, date(2018, 6, 1))
    found = CATALOGUE.terms(COUNTY, entry.programme).scoring
    assert isinstance(found, BasePointsScoring)
    return found


SCHEME = scheme()
ADJUSTMENTS = known(SCHEME.adjustments)
BARRED = {veto.reads for veto in SCHEME.vetoes}
INDICATORS = sorted(BARRED | {each.reads for each in ADJUSTMENTS})
LEVELS = SCHEME.honours.levels if SCHEME.honours else ()
HONOURS = [None, "unknown", *(level.id for level in LEVELS)]


@given(FEN, st.lists(st.integers(0, 10**9), min_size=1, max_size=9))
def test_a_split_conserves_and_stays_within_a_fen_of_the_exact_share(
    total: Fen, weights: list[int]
) -> None:
    weights[0] += 1

    parts = split(total, weights)

    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part * sum(weights) - total * weight) < sum(weights)


@st.composite
def layers(draw: st.DrawFn) -> tuple[list[waterfall.Layer], dict[str, Fen]]:
    pots = draw(st.lists(FEN, max_size=4))
    balances = {f"pot_{index}": balance for index, balance in enumerate(pots)}
    made: list[waterfall.Layer] = [waterfall.Pot(party, party) for party in balances]
    if draw(st.booleans()):
        shares = draw(SHARES)
        parties = tuple((f"party_{index}", share) for index, share in enumerate(shares))
        made.append(waterfall.Ratio("ratio", parties))
    return made, balances


@given(FEN, layers())
def test_a_waterfall_never_pays_more_than_the_loss_nor_more_than_a_pot_holds(
    loss: Fen, built: tuple[list[waterfall.Layer], dict[str, Fen]]
) -> None:
    made, balances = built

    shared = waterfall.share_loss(loss, made, balances)

    paid = sum(line.amount_fen for line in shared.allocations)
    assert paid + shared.uncovered_fen == loss
    assert all(line.amount_fen > 0 for line in shared.allocations)
    for party, before in balances.items():
        out = sum(line.amount_fen for line in shared.allocations if line.party == party)
        assert 0 <= out == before - shared.pots_after_fen[party]
    if made and isinstance(made[-1], waterfall.Ratio):
        assert shared.uncovered_fen == 0


@given(FEN, FEN, st.lists(FEN, min_size=1, max_size=6))
def test_a_recovery_is_given_out_whole_and_nobody_gets_more_than_was_paid(
    recovered: Fen, costs: Fen, paid: list[Fen]
) -> None:
    named = [(f"party_{index}", amount) for index, amount in enumerate(paid)]

    result = waterfall.share_recovery(recovered, costs_fen=costs, paid=named)

    given_out = sum(result.amounts_fen.values())
    assert result.costs_fen + given_out + result.to_household_fen == recovered
    assert all(0 <= result.amounts_fen[party] <= amount for party, amount in named)
    assert result.to_household_fen == 0 or given_out == sum(paid)


@given(
    SMALL_FEN.map(lambda amount: Fen(amount * 5)),
    st.lists(AMOUNTS, min_size=4, max_size=4),
    st.integers(0, 4),
    ORDERS,
)
def test_a_payout_is_divided_whole_and_no_debt_takes_more_than_it_is(
    amount: Fen, owed: list[settlement.Amounts], cut: int, order: settlement.AppropriationOrder
) -> None:
    debts = dict(zip(DEBT_IDS, owed, strict=True))
    groups = [group for group in (DEBT_IDS[:cut], DEBT_IDS[cut:]) if group]

    settled = settlement.settle(amount, groups, debts, order)

    taken = sum(part.taken.total_fen for part in settled.parts)
    assert taken + settled.household_fen == amount
    for debt_id, before in debts.items():
        after = settled.debts_after[debt_id]
        own = [part.taken for part in settled.parts if part.debt_id == debt_id]
        assert after.plus(own[0] if own else settlement.Amounts()) == before
        assert min(after.costs_fen, after.interest_fen, after.penalty_fen, after.principal_fen) >= 0
    left = sum(debt.total_fen for debt in settled.debts_after.values())
    assert settled.household_fen == 0 or left == 0


@given(SMALL_FEN, st.lists(AMOUNTS, min_size=2, max_size=2))
def test_a_later_rank_gets_nothing_while_an_earlier_one_is_owed(
    amount: Fen, owed: list[settlement.Amounts]
) -> None:
    debts = {"first": owed[0], "second": owed[1]}

    settled = settlement.settle(amount, [["first"], ["second"]], debts)

    second = [part for part in settled.parts if part.debt_id == "second"]
    assert not second or settled.debts_after["first"].total_fen == 0


@given(SMALL_FEN, SMALL_FEN, st.lists(AMOUNTS, min_size=4, max_size=4), ORDERS)
def test_a_reversal_restores_the_books_to_the_fen(
    first: Fen,
    second: Fen,
    owed: list[settlement.Amounts],
    order: settlement.AppropriationOrder,
) -> None:
    debts = dict(zip(DEBT_IDS, owed, strict=True))
    one = settlement.settle(first, [DEBT_IDS[:2], DEBT_IDS[2:]], debts, order)
    two = settlement.settle(second, [DEBT_IDS], one.debts_after, order)

    back = settlement.reverse(two, two.debts_after)
    home = settlement.reverse(one, back.debts_after)

    assert back.debts_after == one.debts_after
    assert home.debts_after == debts
    assert sum(back.refunds.values()) + back.household_clawback_fen == second


@given(FEN, RATE, st.lists(st.integers(0, 400), min_size=1, max_size=8))
def test_interest_in_segments_is_interest_in_one_piece(
    principal: Fen, rate: int, segments: list[int]
) -> None:
    pieces = sum(interest.day_numerator(principal, rate, days) for days in segments)

    whole = interest.days_interest_fen(principal, rate, sum(segments), 360)

    assert interest.numerator_to_fen(pieces, 360) == whole


@given(FEN, st.tuples(RATE, RATE), st.integers(1, 120), st.integers(0, 60), st.integers(0, 60))
def test_a_subsidy_never_exceeds_the_interest_nor_its_months(
    principal: Fen, rates: tuple[int, int], months: int, most: int, prior: int
) -> None:
    result = interest.interest_subsidy(
        principal,
        loan_rate_ppm=rates[0],
        subsidised_rate_ppm=rates[1],
        months=months,
        max_months=most,
        prior_months=prior,
    )

    assert result.subsidy_fen + result.borrower_interest_fen == result.interest_fen
    assert min(result.subsidy_fen, result.borrower_interest_fen) >= 0
    assert result.subsidised_months <= max(0, most - prior)


@given(st.dictionaries(st.sampled_from(INDICATORS), st.integers(0, 1)), st.sampled_from(HONOURS))
def test_a_better_indicator_never_lowers_a_score_or_a_limit(
    held: dict[str, int], honour: str | None
) -> None:
    before = scoring.score_by_points(SCHEME, held, honour)
    bad = BARRED | {each.reads for each in ADJUSTMENTS if each.points_centi < 0}

    for indicator in INDICATORS:
        better = {**held, indicator: 0 if indicator in bad else 1}
        after = scoring.score_by_points(SCHEME, better, honour)
        assert after.score_centi >= before.score_centi
        assert after.limit_fen >= before.limit_fen


@given(st.integers(1, 99), st.integers(0, 100), st.integers(0, 100), st.integers(0, 100))
def test_a_better_factor_never_lowers_a_weighted_score(
    weight: int, low: int, high: int, other: int
) -> None:
    low, high = sorted((low, high))
    rest = scoring.Weighted("other", 100 - weight, other)

    worse = scoring.weighted([scoring.Weighted("own", weight, low), rest])
    better = scoring.weighted([scoring.Weighted("own", weight, high), rest])

    assert 0 <= worse.score_centi <= better.score_centi <= 10_000


@given(
    st.lists(
        st.tuples(
            st.fixed_dictionaries(
                {name: st.one_of(st.none(), st.integers(-1, 2)) for name in INDICATORS}
            ),
            st.sampled_from(HONOURS),
        ),
        max_size=30,
    )
)
def test_the_column_form_agrees_with_the_single_form(
    rows: list[tuple[Mapping[str, int | None], str | None]],
) -> None:
    columns = {name: [held[name] for held, _ in rows] for name in INDICATORS}
    honours = [honour for _, honour in rows]

    made = scoring_columns.score_by_points(SCHEME, columns, honours)

    for row, (held, honour) in enumerate(rows):
        given_values = {name: value for name, value in held.items() if value is not None}
        single = scoring.score_by_points(SCHEME, given_values, honour)
        assert made.score_centi[row] == single.score_centi
        assert made.vetoed[row] == single.vetoed
        assert made.grade[row] == single.grade
        assert made.base_limit_fen[row] == single.base_limit_fen
        assert made.uplift_fen[row] == single.uplift_fen
        assert made.limit_fen[row] == single.limit_fen


@given(FEN, FEN, st.one_of(st.none(), FEN), FEN)
def test_what_is_allowed_never_lifts_the_exposure_above_the_limit(
    asked: Fen, limit: Fen, cap: Fen | None, outstanding: Fen
) -> None:
    checked = limits.amount_check(
        asked, credit_limit_fen=limit, product_cap_fen=cap, outstanding_fen=outstanding
    )

    if checked.allowed:
        assert asked + outstanding <= limit
    assert checked.max_amount_fen >= 0


@given(FEN, st.integers(1, 100), FEN)
def test_a_fund_is_within_its_cap_exactly_when_it_needs_no_top_up(
    fund: Fen, multiple: int, outstanding: Fen
) -> None:
    result = leverage.leverage(fund, multiple=multiple, outstanding_fen=outstanding)

    assert result.within_cap == (result.top_up_fen == 0)
    topped = Fen(fund + result.top_up_fen)
    assert leverage.leverage(topped, multiple=multiple, outstanding_fen=outstanding).within_cap


@given(FEN, FEN, RATE)
def test_a_breaker_trips_by_the_exact_ratio_and_never_on_nothing(
    npl: Fen, outstanding: Fen, threshold: int
) -> None:
    tripped = breakers.npl_ratio(npl, outstanding, more_than_ppm=threshold).tripped

    assert not (tripped and outstanding == 0)
    worse = breakers.npl_ratio(Fen(npl + 1), outstanding, more_than_ppm=threshold).tripped
    assert worse or not tripped


@given(st.integers(0, 400), st.integers(1, 400), st.integers(1, 100))
def test_a_township_trips_exactly_from_the_villages_needed(
    tripped: int, villages: int, pct: int
) -> None:
    result = breakers.township(tripped, villages, at_least_pct=pct)

    assert result.tripped == (tripped >= result.villages_needed)


@given(DAY, st.integers(0, 40))
def test_a_deadline_is_a_working_day_with_that_many_working_days_before_it(
    start: date, count: int
) -> None:
    calendar = CATALOGUE.calendar

    due = calendars.working_days_after(calendar, start, count)

    between = (start + timedelta(days=n) for n in range(1, (due - start).days + 1))
    assert sum(calendars.is_working_day(calendar, day) for day in between) == count
    assert count == 0 or calendars.is_working_day(calendar, due)


@given(DAY, st.integers(0, 120))
def test_months_there_and_back_lose_at_most_the_clamped_days(day: date, months: int) -> None:
    there = calendars.add_months(day, months)

    assert calendars.whole_months(day, there) == months
    assert 0 <= (day - calendars.add_months(there, -months)).days <= 3


def test_a_year_without_an_official_calendar_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        calendars.working_days_after(CATALOGUE.calendar, date(2026, 12, 31), 2)

    assert refused.value.reason == "CALENDAR_YEAR_UNKNOWN"


@given(FEN, FEN, st.lists(st.tuples(FEN, st.booleans(), st.booleans(), st.booleans()), max_size=8))
def test_batches_never_release_more_than_was_approved(
    approved: Fen, threshold: Fen, asked: list[tuple[Fen, bool, bool, bool]]
) -> None:
    requests = [drawdown.DrawRequest(*each) for each in asked]

    result = drawdown.controlled_drawdown(approved, requests, threshold_fen=threshold)

    out = [r for r, released in zip(requests, result.released, strict=True) if released]
    assert result.released_total_fen == sum(request.amount_fen for request in out)
    assert result.released_total_fen <= approved
    if result.controlled:
        assert all(r.evidence_ok and r.county_approved and r.entrusted_payment for r in out)
