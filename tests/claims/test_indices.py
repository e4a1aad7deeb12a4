"""Index covers: which prices count, the claims that a period makes, once; what lines came to."""

from datetime import date
from uuid import UUID, uuid4

import pytest
from liandong.claims.v1 import claims_pb2, events_pb2, indices_pb2

from services.claims import reports
from services.claims.model import IndexPolicy
from services.claims.operations import indices
from services.claims.rules import indices as rules
from services.claims.servicer import ClaimsServicer
from services.claims.servicer.indices import IndicesServicer
from services.kernel import business_day, wire
from services.kernel.bus import Consumer
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.errors import LiandongError
from services.kernel.walls import EVERY_COUNTY
from services.programmes.loader import Catalogue
from tests.claims.county import (
    ADJUSTER,
    AUDITOR,
    CENTRE,
    COUNTY,
    INSURER,
    OPENED,
    PACK,
    PROGRAMME,
    House,
    Loan,
    a_caller,
    a_catalogue,
    calling,
)
from tests.claims.steps import (
    a_decision,
    a_policy,
    a_report,
    books_are_whole,
    decide,
    issue,
    report,
    rows,
    said,
    take,
)

pytestmark = pytest.mark.postgres

STATES = indices_pb2.IndexValueState
MARKET = a_caller("agriculture_bureau", institution_id="agr-1")
PERIOD_END = date(2021, 2, 3)
SHEEP = """
    - id: sheep
      kind: price_index
      title: {zh: 羊价, en: Sheep price}
      assigned: false
      payees: [household]
      sum_insured: {of: policy}
      premium: {open: not stated}
      price_index:
        commodity: sheep
        trigger_fen_per_jin: 2000
        price_source: market_watch
        period_months: 1
"""
WITH_SHEEP = PACK.replace("  required_covers:", f"{SHEEP.lstrip(chr(10))}  required_covers:")


@pytest.fixture(scope="session")
def priced() -> Catalogue:
    return a_catalogue(WITH_SHEEP, parties={"market_watch": "agr-1"})


@pytest.fixture
def servicer(db: Database, priced: Catalogue) -> ClaimsServicer:
    return ClaimsServicer(db, priced)


@pytest.fixture
def doors(db: Database, priced: Catalogue) -> IndicesServicer:
    return IndicesServicer(db, priced)


async def close(db: Database, catalogue: Catalogue, until: date) -> None:
    """Close days as the operator's surface does."""
    books = reports.books(catalogue)
    assert books.work_day is not None
    async with db.transaction(EVERY_COUNTY) as session:
        day = await business_day.today(session, COUNTY)
    while day < until:
        await books.work_day(db, COUNTY, day)
        following = date.fromordinal(day.toordinal() + 1)
        async with db.transaction(EVERY_COUNTY) as session:
            await books.close_day(session, COUNTY, day)
            await business_day.open_day(session, COUNTY, following)
        day = following


async def insure(doors: IndicesServicer, *quantities: tuple[House, int]) -> list[str]:
    request = indices_pb2.SetInsuredQuantitiesRequest(
        request_id=str(uuid4()),
        county_code=COUNTY,
        programme_id=PROGRAMME,
        cover_id="sheep",
        items=[
            indices_pb2.InsuredQuantity(
                household_id=str(house.household_id), quantity_centi_jin=quantity
            )
            for house, quantity in quantities
        ],
    )
    answer = await doors.SetInsuredQuantities(request, calling(CENTRE, request))
    return [verdict.reason for verdict in answer.verdicts]


async def price(
    doors: IndicesServicer, fen: int, *, on: date = OPENED, caller: Caller = MARKET
) -> indices_pb2.IndexValue:
    request = indices_pb2.RecordIndexValueRequest(
        request_id=str(uuid4()),
        county_code=COUNTY,
        programme_id=PROGRAMME,
        cover_id="sheep",
        priced_on=wire.date_to_proto(on),
        price_fen_per_jin=fen,
        evidence="sha256:aa",
    )
    return (await doors.RecordIndexValue(request, calling(caller, request))).value


async def claims_of(servicer: ClaimsServicer) -> list[claims_pb2.Claim]:
    request = claims_pb2.ListClaimsRequest(county_code=COUNTY, page_size=500)
    return list((await servicer.ListClaims(request, calling(CENTRE, request))).claims)


async def periods(doors: IndicesServicer) -> list[indices_pb2.IndexPeriod]:
    request = indices_pb2.ListIndexPeriodsRequest(county_code=COUNTY, cover_id="sheep")
    return list((await doors.ListIndexPeriods(request, calling(CENTRE, request))).periods)


async def flock(
    servicer: ClaimsServicer, doors: IndicesServicer, consumer: Consumer, count: int
) -> list[House]:
    """Households with 3,000 jin each under a policy of the year."""
    await issue(servicer, a_policy("sheep"))
    houses = [House() for _ in range(count)]
    await take(consumer, *[house.registered() for house in houses])
    assert set(await insure(doors, *[(house, 300_000) for house in houses])) == {""}
    return houses


async def test_a_price_below_the_trigger_makes_every_units_claim_once(
    servicer: ClaimsServicer,
    doors: IndicesServicer,
    consumer: Consumer,
    db: Database,
    priced: Catalogue,
) -> None:
    houses = await flock(servicer, doors, consumer, 3)
    await price(doors, 1_900)
    await close(db, priced, date(2021, 1, 20))
    await price(doors, 1_800, on=date(2021, 1, 20))
    await close(db, priced, PERIOD_END)
    assert await claims_of(servicer) == []

    await close(db, priced, date(2021, 2, 4))
    await indices.settle_periods(db, priced, COUNTY, PERIOD_END)
    await close(db, priced, date(2021, 3, 10))

    found = await claims_of(servicer)
    assert {claim.household_id for claim in found} == {str(h.household_id) for h in houses}
    # (20.00 − 18.50) × 3,000 jin.
    assert [claim.payable_fen for claim in found] == [450_000] * 3
    assert {claim.reason_code for claim in found} == {"PRICE_BELOW_TRIGGER"}
    (period,) = await periods(doors)
    assert (period.gap_fen_per_jin, period.prices_count, period.triggered) == (150, 2, True)
    assert (period.claims_count, period.payable_fen) == (3, 1_350_000)
    request = claims_pb2.GetClaimRequest(county_code=COUNTY, claim_id=found[0].claim_id)
    told = await servicer.GetClaim(request, calling(AUDITOR, request))
    assert "(2000 − 3700 / 2)" in told.steps[0].working
    assert len(await said(db, "payout_authorised", events_pb2.PayoutAuthorised)) == 3
    await books_are_whole(db)


async def test_a_settlement_that_was_cut_off_goes_on_without_a_second_claim(
    servicer: ClaimsServicer,
    doors: IndicesServicer,
    consumer: Consumer,
    db: Database,
    priced: Catalogue,
) -> None:
    await flock(servicer, doors, consumer, 5)
    await price(doors, 1_999)
    await close(db, priced, PERIOD_END)
    async with db.transaction(EVERY_COUNTY) as session:
        await indices._fix_periods(session, priced, COUNTY, PERIOD_END)
        await indices._claim_part(session, priced, COUNTY, PERIOD_END, indices.FIRST, units_max=2)
    assert len(await claims_of(servicer)) == 2

    await close(db, priced, date(2021, 2, 5))

    assert len(await claims_of(servicer)) == 5
    (period,) = await periods(doors)
    assert (period.claims_count, period.payable_fen) == (5, 5 * 3_000)
    await books_are_whole(db)


async def test_at_the_trigger_nothing_is_due(
    servicer: ClaimsServicer,
    doors: IndicesServicer,
    consumer: Consumer,
    db: Database,
    priced: Catalogue,
) -> None:
    await flock(servicer, doors, consumer, 1)
    await price(doors, 2_000)
    await close(db, priced, date(2021, 2, 5))

    (period,) = await periods(doors)
    assert (period.triggered, period.claims_count, period.gap_fen_per_jin) == (False, 0, 0)
    assert await claims_of(servicer) == []


async def test_a_price_that_does_not_count_is_kept_with_its_reason(
    servicer: ClaimsServicer,
    doors: IndicesServicer,
    consumer: Consumer,
    db: Database,
    priced: Catalogue,
) -> None:
    houses = await flock(servicer, doors, consumer, 1)
    assert await insure(doors, (houses[0], 1), (House(), 1)) == [
        "INDEX_UNIT_EXISTS",
        "HOUSEHOLD_NOT_FOUND",
    ]
    good = await price(doors, 1_900)
    unknown = await price(doors, 100, caller=ADJUSTER)
    twice = await price(doors, 1_800)
    ahead = await price(doors, 1_800, on=date(2021, 1, 5))
    await close(db, priced, date(2021, 2, 5))
    late = await price(doors, 100, on=date(2021, 1, 6))

    request = indices_pb2.ListIndexValuesRequest(county_code=COUNTY)
    listed = (await doors.ListIndexValues(request, calling(MARKET, request))).values
    assert [value.reason_code for value in listed] == [
        "",
        "PRICE_SOURCE_UNKNOWN",
        "PRICE_EXISTS",
        "PRICE_DATE_AHEAD",
        "PERIOD_SETTLED",
    ]
    assert list(listed) == [good, unknown, twice, ahead, late]
    assert good.state == STATES.INDEX_VALUE_STATE_ACCEPTED
    assert {value.state for value in listed[1:]} == {STATES.INDEX_VALUE_STATE_REFUSED}
    assert (await periods(doors))[0].gap_fen_per_jin == 100


async def state(
    doors: IndicesServicer, until: date, *, cover_id: str = "accident", caller: Caller = ADJUSTER
) -> indices_pb2.StatedLineResult:
    request = indices_pb2.StateLineResultRequest(
        request_id=str(uuid4()),
        county_code=COUNTY,
        insurer_id=INSURER,
        programme_id=PROGRAMME,
        cover_id=cover_id,
        until_date=wire.date_to_proto(until),
    )
    return (await doors.StateLineResult(request, calling(caller, request))).result


async def test_a_lines_result_is_said_once_a_period_for_the_stabilisation_pool(
    servicer: ClaimsServicer,
    doors: IndicesServicer,
    consumer: Consumer,
    db: Database,
    priced: Catalogue,
) -> None:
    await issue(servicer)
    loan = Loan(House())
    await take(consumer, loan.house.registered(), loan.approved())
    claim = await report(servicer, a_report(loan.house))
    await decide(servicer, a_decision(claim))

    with pytest.raises(LiandongError) as early:
        await state(doors, OPENED)
    await close(db, priced, date(2021, 1, 5))
    first = await state(doors, OPENED)
    with pytest.raises(LiandongError) as again:
        await state(doors, OPENED)
    with pytest.raises(LiandongError) as unknown:
        await state(doors, OPENED, cover_id="medical")
    await close(db, priced, date(2021, 1, 7))
    second = await state(doors, date(2021, 1, 6))

    assert (first.premium_fen, first.payouts_fen, first.number) == (10_000, 4_500_000, 1)
    assert (second.premium_fen, second.payouts_fen, second.number) == (0, 0, 2)
    assert early.value.reason == "PERIOD_NOT_OVER"
    assert (again.value.reason, unknown.value.reason) == ("PERIOD_EMPTY", "LINE_UNKNOWN")
    told = await said(db, "line_result", events_pb2.LineResult)
    assert [(e.premium_fen, e.payouts_fen, e.area_code) for e in told] == [
        (10_000, 4_500_000, COUNTY),
        (0, 0, COUNTY),
    ]
    assert wire.date_from_proto("from_date", told[1].from_date) == date(2021, 1, 5)
    listing = indices_pb2.ListLineResultsRequest(county_code=COUNTY)
    listed = (await doors.ListLineResults(listing, calling(CENTRE, listing))).results
    assert list(listed) == [first, second]
    assert await rows(db, "SELECT count(*) FROM line_result") == [(2,)]
    await books_are_whole(db)


async def test_the_last_day_of_a_year_states_every_line(
    servicer: ClaimsServicer, db: Database, priced: Catalogue
) -> None:
    await issue(servicer)
    await issue(servicer, a_policy("medical"))
    async with db.transaction(EVERY_COUNTY) as session:
        await business_day.open_day(session, COUNTY, date(2021, 12, 31))
    await close(db, priced, date(2022, 1, 1))

    told = await said(db, "line_result", events_pb2.LineResult)
    assert {event.cover_id for event in told} == {"accident", "medical"}
    assert {UUID(event.line_id).version for event in told} == {5}


def test_periods_follow_each_other_and_the_term_cuts_the_last(priced: Catalogue) -> None:
    policy = rules_policy()
    clause = rules.clause_of(priced.terms(COUNTY, "plain@1").cover("sheep"))

    found = rules.periods_over(policy, clause, date(2021, 12, 31))

    assert found[0] == (date(2021, 1, 31), date(2021, 2, 27))
    assert found[-1] == (date(2021, 3, 31), date(2021, 4, 10))
    assert rules.periods_over(policy, clause, date(2021, 2, 26)) == []


def rules_policy() -> IndexPolicy:
    return IndexPolicy(
        COUNTY,
        UUID(int=1),
        INSURER,
        PROGRAMME,
        "plain@1",
        "sheep",
        date(2021, 1, 31),
        date(2021, 4, 10),
    )
