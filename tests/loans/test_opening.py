"""Cut-over: live loans of a running county come in whole, proven to the fen, or not at all."""

from datetime import date, timedelta
from typing import Any

import pytest
from liandong.loans.v1 import events_pb2, loans_pb2

from services.kernel.bus import Consumer
from services.kernel.database import Database
from services.kernel.errors import Invalid, Refused
from services.loans.servicer import LoansServicer
from services.programmes.loader import Catalogue
from tests.loans import steps
from tests.loans.builders import YUAN
from tests.loans.county import (
    BANK,
    CENTRE,
    COUNTY,
    OPENED,
    ORDINARY,
    OTHER_BANK,
    OTHER_LENDER,
    PACK,
    PROGRAMME,
    House,
    a_catalogue,
    calling,
    day,
)

pytestmark = pytest.mark.postgres

LENT = date(2020, 7, 4)
CUTOVER = OPENED
"""Half a year after the loans were paid out."""


def an_opening(house: House, **changes: Any) -> loans_pb2.OpeningLoan:
    """30,000 yuan lent for a year, of which 20,000 and 1,000 of interest are owed."""
    values: dict[str, Any] = {
        "reference": steps.an_id(),
        "household_id": str(house.household_id),
        "lender_id": BANK,
        "programme_id": PROGRAMME,
        "product_id": ORDINARY,
        "principal_fen": 30_000 * YUAN,
        "term_months": 12,
        "rate_ppm": 36_000,
        "disbursed_on": day(LENT),
        "outstanding_fen": 20_000 * YUAN,
        "interest_owed_fen": 1_000 * YUAN,
        "next_due_on": day(date(2021, 7, 4)),
        "five_tier_class": loans_pb2.FIVE_TIER_CLASS_NORMAL,
        **changes,
    }
    return loans_pb2.OpeningLoan(**values)


def a_total(lender_id: str, *items: loans_pb2.OpeningLoan, off: int = 0) -> loans_pb2.OpeningTotal:
    own = [item for item in items if item.lender_id == lender_id]
    return loans_pb2.OpeningTotal(
        lender_id=lender_id,
        loans=len(own),
        outstanding_fen=sum(item.outstanding_fen for item in own) + off,
        interest_owed_fen=sum(item.interest_owed_fen for item in own),
    )


async def bring(
    servicer: LoansServicer,
    *items: loans_pb2.OpeningLoan,
    totals: list[loans_pb2.OpeningTotal] | None = None,
    on: date = CUTOVER,
    dry_run: bool = False,
) -> loans_pb2.ImportOpeningLoansResponse:
    if totals is None:
        lenders = sorted({item.lender_id for item in items})
        totals = [a_total(lender, *items) for lender in lenders]
    request = loans_pb2.ImportOpeningLoansRequest(
        request_id=steps.an_id(),
        county_code=COUNTY,
        opening_on=day(on),
        items=items,
        control_totals=totals,
        dry_run=dry_run,
    )
    return await servicer.ImportOpeningLoans(request, calling(CENTRE, request))


async def known(consumer: Consumer, count: int = 1) -> list[House]:
    houses = [House(area_code=f"990101001{n + 1:03d}") for n in range(count)]
    await steps.know(consumer, *houses)
    return houses


async def nothing_came_in(db: Database) -> None:
    found = await steps.books_are_whole(db)
    assert found["loans.applications_count"] == 0
    assert await steps.rows(db, "SELECT FROM journal") == []
    assert await steps.rows(db, "SELECT FROM opening") == []
    assert await steps.said(db, "loan_opened", events_pb2.LoanOpened) == []


# --- whole ----------------------------------------------------------------------------------------


async def test_live_loans_come_in_with_journal_exposure_and_proof(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    one, two, three = await known(consumer, 3)
    items = [
        an_opening(one),
        an_opening(two, lender_id=OTHER_BANK, outstanding_fen=7, interest_owed_fen=0),
        an_opening(
            three,
            disbursed_on=day(date(2019, 7, 4)),
            next_due_on=day(date(2020, 7, 4)),
            five_tier_class=loans_pb2.FIVE_TIER_CLASS_DOUBTFUL,
            non_performing_on=day(date(2020, 9, 13)),
        ),
    ]

    tried = await bring(servicer, *items, dry_run=True)
    assert not tried.landed
    await nothing_came_in(db)
    answer = await bring(servicer, *items)

    assert answer.landed
    assert [(p.given.lender_id, p.agrees, p.so_far.outstanding_fen) for p in answer.proofs] == [
        (OTHER_BANK, True, 7),
        (BANK, True, 40_000 * YUAN),
    ]
    assert [each.found for each in tried.proofs] == [each.found for each in answer.proofs]
    found = await steps.books_are_whole(db)
    assert found["loans.outstanding_principal_fen"] == 40_000 * YUAN + 7
    assert found["loans.interest_owed_fen"] == 2_000 * YUAN
    assert await steps.exposure(db, one) == 20_000 * YUAN
    told = await steps.said(db, "loan_opened", events_pb2.LoanOpened)
    assert [each.outstanding_fen for each in told] == [2_000_000, 7, 2_000_000]
    bad = await steps.get(servicer, answer.verdicts[2].id)
    assert (bad.non_performing, bad.overdue_days) == (True, 184)

    # From here on they live as any other.
    today = await steps.advance(db, catalogue, 100)
    loan_id = answer.verdicts[0].id
    paid = await steps.repay(servicer, loan_id, 21_200 * YUAN, on=today)
    assert paid.state == loans_pb2.LOAN_STATE_SETTLED
    # 20,000 yuan at 2 yuan a day for 100 days, beside what was owed before.
    assert paid.suspense_fen == 0
    await steps.books_are_whole(db)


async def test_openings_come_in_by_batches_and_each_contract_once(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    houses = await known(consumer, 4)
    items = [an_opening(house) for house in houses]

    await bring(servicer, *items[:2])
    answer = await bring(servicer, *items[2:])
    again = await bring(servicer, items[3])

    assert answer.proofs[0].so_far.loans == 4
    assert (again.landed, again.verdicts[0].reason) == (False, "OPENED_ALREADY")
    twice = an_opening(houses[0])
    doubled = await bring(servicer, twice, twice)
    assert [each.reason for each in doubled.verdicts] == ["", "OPENED_ALREADY"]
    assert not doubled.landed
    assert (await steps.books_are_whole(db))["loans.disbursed_count"] == 4


# --- or not at all --------------------------------------------------------------------------------


async def test_a_fen_that_differs_from_the_control_total_and_nothing_lands(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    items = [an_opening(house) for house in await known(consumer, 3)]

    answer = await bring(servicer, *items, totals=[a_total(BANK, *items, off=1)])

    assert not answer.landed
    assert all(verdict.accepted and not verdict.id for verdict in answer.verdicts)
    (proof,) = answer.proofs
    assert not proof.agrees
    assert proof.given.outstanding_fen == proof.found.outstanding_fen + 1
    await nothing_came_in(db)


async def test_a_lender_without_a_control_total_and_nothing_lands(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    one, two = await known(consumer, 2)
    items = [an_opening(one), an_opening(two, lender_id=OTHER_BANK)]

    answer = await bring(servicer, *items, totals=[a_total(BANK, *items)])

    assert [(each.given.lender_id, each.agrees) for each in answer.proofs] == [
        (OTHER_BANK, False),
        (BANK, True),
    ]
    assert not answer.landed
    await nothing_came_in(db)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"household_id": steps.an_id()}, "HOUSEHOLD_UNKNOWN"),
        ({"programme_id": "nobody"}, "PROGRAMME_NOT_ADOPTED"),
        ({"product_id": "nothing"}, "PRODUCT_UNKNOWN"),
        ({"lender_id": "stranger"}, "LENDER_NOT_A_PARTY"),
        ({"outstanding_fen": 30_000 * YUAN + 1}, "ABOVE_PRINCIPAL"),
        ({"outstanding_fen": 0, "interest_owed_fen": 0}, "NOTHING_OWED"),
        ({"next_due_on": day(date(2021, 7, 5))}, "NOT_AN_AGREED_DAY"),
        ({"disbursed_on": day(date(2021, 1, 5))}, "VALUE_DATE_OUT_OF_RANGE"),
        ({"non_performing_on": day(date(2021, 1, 5))}, "VALUE_DATE_OUT_OF_RANGE"),
    ],
)
async def test_one_that_is_refused_and_nothing_lands(
    servicer: LoansServicer,
    consumer: Consumer,
    db: Database,
    changes: dict[str, Any],
    reason: str,
) -> None:
    one, two = await known(consumer, 2)
    items = [an_opening(one), an_opening(two, **changes)]

    answer = await bring(servicer, *items)

    assert [each.reason for each in answer.verdicts] == ["", reason]
    assert not answer.landed
    await nothing_came_in(db)


async def test_a_cut_over_has_a_day_that_is_open(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    (house,) = await known(consumer)
    with pytest.raises(Refused, match="VALUE_DATE_OUT_OF_RANGE"):
        await bring(servicer, an_opening(house), on=OPENED + timedelta(days=1))
    await steps.advance(db, catalogue, 1)
    request = loans_pb2.CloseAccountingPeriodRequest(
        request_id=steps.an_id(), county_code=COUNTY, through=day(OPENED)
    )
    await servicer.CloseAccountingPeriod(request, calling(CENTRE, request))
    with pytest.raises(Refused, match="PERIOD_CLOSED"):
        await bring(servicer, an_opening(house))
    item = an_opening(house)
    total = a_total(BANK, item)
    with pytest.raises(Invalid, match="LENDER_TWICE"):
        await bring(servicer, item, totals=[total, total])


# --- afterwards -----------------------------------------------------------------------------------


async def test_nothing_is_dated_before_a_book_that_was_taken_over(
    servicer: LoansServicer, consumer: Consumer
) -> None:
    (house,) = await known(consumer)
    loan_id = (await bring(servicer, an_opening(house))).verdicts[0].id
    before = OPENED - timedelta(days=1)

    with pytest.raises(Refused, match="VALUE_DATE_OUT_OF_RANGE"):
        await steps.repay(servicer, loan_id, 100, on=before)
    request = loans_pb2.GetPayoffQuoteRequest(
        county_code=COUNTY, loan_id=loan_id, value_date=day(before)
    )
    with pytest.raises(Refused, match="VALUE_DATE_OUT_OF_RANGE"):
        await servicer.GetPayoffQuote(request, calling(CENTRE, request))
    request.value_date.CopyFrom(day(OPENED))
    quote = await servicer.GetPayoffQuote(request, calling(CENTRE, request))
    assert (quote.principal_fen, quote.interest_fen) == (2_000_000, 100_000)


async def test_an_instalment_loan_goes_on_from_the_day_that_was_not_paid(
    db: Database, consumer: Consumer
) -> None:
    pack = PACK.replace("interest_settlement: bullet", "interest_settlement: equal_principal")
    servicer = LoansServicer(db, a_catalogue(pack))
    (house,) = await known(consumer)
    # 2,500 a month; November's and December's were not paid: 22,500 are owed.
    item = an_opening(
        house,
        outstanding_fen=2_250_000,
        interest_owed_fen=5_000,
        next_due_on=day(date(2020, 11, 4)),
    )
    loan_id = (await bring(servicer, item)).verdicts[0].id
    assert (await steps.get(servicer, loan_id)).overdue_days == 61

    async def due(fen: int) -> date:
        loan = await steps.repay(servicer, loan_id, fen)
        found = loan.next_due_on
        return date(found.year, found.month, found.day)

    assert await due(5_000) == date(2020, 11, 4), "the interest, but no principal"
    assert await due(250_000) == date(2020, 12, 4)
    assert await due(250_000) == date(2021, 1, 4), "which is today"
    assert await due(250_000) == date(2021, 2, 4)
    behind = an_opening(house, outstanding_fen=2_250_001, next_due_on=day(date(2020, 11, 4)))
    assert (await bring(servicer, behind)).verdicts[0].reason == "ABOVE_PLAN"


async def test_only_the_lender_is_paid(servicer: LoansServicer, consumer: Consumer) -> None:
    (house,) = await known(consumer)
    loan_id = (await bring(servicer, an_opening(house))).verdicts[0].id

    with pytest.raises(Exception, match="LOAN_NOT_FOUND"):
        await steps.repay(servicer, loan_id, 100, caller=OTHER_LENDER)
