"""A fund under watch and its year, on a real PostgreSQL; adequacy as worked out by hand."""

from datetime import date
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from liandong.funds.v1 import watch_pb2

from services.funds.model import Fund, FundState
from services.funds.rules import watch as rules
from services.funds.rules.watch import Backed, YearLine
from services.funds.servicer import FundsServicer
from services.funds.servicer.watch import WatchServicer
from services.kernel import business_day
from services.kernel.bus import Consumer
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.errors import Denied, Invalid, NotFound
from services.kernel.money import Fen
from services.kernel.walls import EVERY_COUNTY
from services.programmes.loader import Catalogue
from services.programmes.schema.fund import SharingModel
from tests.funds import steps
from tests.funds.county import (
    AUDITOR,
    BANK,
    CAUSE,
    CENTRE,
    COUNTY,
    GUARANTOR,
    LENDER,
    OPEN_REF,
    OPENED,
    OTHER_BANK,
    OTHER_LENDER,
    OTHER_VILLAGE,
    REF,
    TREASURY,
    VILLAGE,
    Loan,
    a_catalogue,
    calling,
    payout_settled,
)

MODELS: dict[str, SharingModel | None] = {
    model.id: model for model in a_catalogue().terms(COUNTY, REF).fund.models
}


def a_fund(balance_fen: int, owed_fen: int = 0, kind: str = "county_fund") -> Fund:
    return Fund(
        county_code=COUNTY,
        fund_id=UUID(int=1),
        programme_id="plain",
        kind=kind,
        institution_id="fin-1",
        state=FundState.OPEN,
        balance_fen=Fen(balance_fen),
        covered_fen=Fen(0),
        owed_fen=Fen(owed_fen),
        leverage_reached=False,
        version=0,
    )


def backed(model_id: str, covered: int, outstanding: int, bad: int) -> Backed:
    return Backed(model_id, 1, Fen(covered), Fen(outstanding), Fen(bad))


def test_what_a_fund_needs_at_the_present_rate_by_hand() -> None:
    """10 % of 10,000 is bad: 20 % of 1,000 on 10,000 covered, 50 % of 200 on 2,000: 200 + 100."""
    books = [backed("four_party", 10_000, 8_000, 1_000), backed("pots_first", 2_000, 2_000, 0)]

    enough = rules.adequacy(a_fund(300), books, MODELS)
    short = rules.adequacy(a_fund(300, owed_fen=1), books, MODELS)

    assert (enough.non_performing_ppm, enough.needed_fen) == (100_000, 300)
    assert (enough.adequate, enough.missing_fen, enough.free_fen) == (True, 0, 300)
    assert (short.adequate, short.missing_fen, short.free_fen) == (False, 1, 299)
    # A pot may have to bear all of a loss.
    assert rules.adequacy(a_fund(0, kind="mutual_fund"), books[1:], MODELS).needed_fen == 0
    pot = [backed("pots_first", 2_000, 2_000, 200)]
    assert rules.adequacy(a_fund(0, kind="mutual_fund"), pot, MODELS).needed_fen == 200


@given(
    st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9))),
    st.integers(0, 10**9),
)
def test_more_money_never_makes_a_fund_less_adequate(
    loans: list[tuple[int, int, int]], balance: int
) -> None:
    books = [backed("four_party", cover, owed, min(bad, owed)) for cover, owed, bad in loans]
    found = rules.adequacy(a_fund(balance), books, MODELS)

    assert 0 <= found.needed_fen <= sum(each.covered_fen for each in books)
    assert found.adequate == (balance >= found.needed_fen)
    filled = rules.adequacy(a_fund(balance + found.missing_fen), books, MODELS)
    assert filled.adequate
    if not any(each.non_performing_fen for each in books):
        assert found.needed_fen == 0


@given(st.integers(0, 10**9), st.lists(st.integers(-(10**6), 10**6)))
def test_a_year_adds_up_or_says_by_how_much_not(opening: int, amounts: list[int]) -> None:
    lines = [YearLine("contribution", "", amount, 1) for amount in amounts]
    assert rules.year(opening, lines, opening + sum(amounts)).difference_fen == 0
    assert rules.year(opening, lines, opening + sum(amounts) + 7).difference_fen == -7


@pytest.fixture
def watcher(db: Database, catalogue: Catalogue) -> WatchServicer:
    return WatchServicer(db, catalogue)


async def watch(
    watcher: WatchServicer, fund_id: str, *, caller: Caller = CENTRE, size: int = 0, token: str = ""
) -> watch_pb2.GetFundWatchResponse:
    request = watch_pb2.GetFundWatchRequest(
        county_code=COUNTY, fund_id=fund_id, page_size=size, page_token=token
    )
    return await watcher.GetFundWatch(request, calling(caller, request))


async def audit(
    watcher: WatchServicer,
    fund_id: str,
    year: int,
    *,
    caller: Caller = TREASURY,
    size: int = 0,
    token: str = "",
) -> watch_pb2.GetYearlyAuditResponse:
    request = watch_pb2.GetYearlyAuditRequest(
        county_code=COUNTY, fund_id=fund_id, year=year, page_size=size, page_token=token
    )
    return await watcher.GetYearlyAudit(request, calling(caller, request))


@pytest.mark.postgres
async def test_leverage_adequacy_and_concentration_by_hand(
    servicer: FundsServicer, consumer: Consumer, watcher: WatchServicer
) -> None:
    """
    1,000,000 × 10 holds 2,000,000 + 2,000,000 + 4,000,000; 2,000,000 of it is bad.

    A quarter of 8,000,000, of that 20 %: 400,000 are needed.
    """
    fund = await steps.open_fund(servicer, balance_fen=1_000_000)
    loans = [
        Loan(1, principal_fen=2_000_000),
        Loan(2, principal_fen=2_000_000, area_code=OTHER_VILLAGE),
        Loan(3, principal_fen=4_000_000, lender_id=OTHER_BANK),
    ]
    for loan in loans:
        await steps.take(consumer, loan.asks(), loan.disbursed())
    await steps.take(consumer, loans[0].overdue(71, on=OPENED))

    found = await watch(watcher, fund.fund_id)

    assert (found.capacity_fen, found.covered_fen, found.headroom_fen) == (
        10_000_000,
        8_000_000,
        2_000_000,
    )
    assert (found.non_performing_ppm, found.needed_fen, found.missing_fen) == (250_000, 400_000, 0)
    assert found.adequate
    assert found.takes_cover
    assert [(each.dimension, each.key, each.covered_fen) for each in found.concentration] == [
        ("lender", OTHER_BANK, 4_000_000),
        ("lender", BANK, 4_000_000),
        ("village", VILLAGE, 6_000_000),
        ("village", OTHER_VILLAGE, 2_000_000),
    ]
    assert [each.share_ppm for each in found.concentration] == [500_000, 500_000, 750_000, 250_000]
    assert found.concentration[1].non_performing_fen == 2_000_000
    first = await watch(watcher, fund.fund_id, size=3)
    rest = await watch(watcher, fund.fund_id, size=3, token=first.next_page_token)
    assert [*first.concentration, *rest.concentration] == list(found.concentration)
    mine = await watch(watcher, fund.fund_id, caller=LENDER)
    assert [(each.dimension, each.key) for each in mine.concentration] == [("lender", BANK)]
    with pytest.raises(Denied):
        await watch(watcher, fund.fund_id, caller=GUARANTOR)
    with pytest.raises(NotFound, match="FUND_NOT_FOUND"):
        await watch(watcher, str(uuid4()))


@pytest.mark.postgres
async def test_a_short_fund_is_suspended_until_it_is_filled(
    db: Database, servicer: FundsServicer, consumer: Consumer, watcher: WatchServicer
) -> None:
    fund = await steps.open_fund(servicer, balance_fen=600_000)
    loan, small = Loan(1, principal_fen=5_000_000), Loan(2, principal_fen=1)
    await steps.take(consumer, loan.asks(), loan.disbursed(), loan.overdue(71, on=OPENED))
    await steps.decide(servicer, await steps.file(servicer, loan))

    short = await watch(watcher, fund.fund_id)
    assert (short.suspended, short.takes_cover, short.owed_fen) == (True, False, 400_000)
    assert (short.adequate, short.missing_fen) == (False, 400_000)
    assert [(e.dimension, e.key, e.cases, e.borne_fen) for e in short.concentration] == [
        ("cause", CAUSE, 1, 1_000_000)
    ]
    assert len(await steps.said(db, "fund_suspended")) == 1
    await steps.take(consumer, small.asks())
    assert (await steps.refusals(db))[-1].reason == "FUND_SUSPENDED"
    await steps.contribute(servicer, fund, 399_999)
    assert (await watch(watcher, fund.fund_id)).suspended
    await steps.contribute(servicer, fund, 2)
    filled = await watch(watcher, fund.fund_id)
    assert (filled.suspended, filled.takes_cover, filled.balance_fen) == (False, True, 1)
    again = Loan(3, principal_fen=11)
    await steps.take(consumer, again.asks())
    assert (await steps.refusals(db))[-1].reason == "LEVERAGE_REACHED"
    assert len(await steps.said(db, "leverage_reached")) == 1
    fits = Loan(4, principal_fen=10)
    await steps.take(consumer, fits.asks())
    assert await steps.cover_state(db, fits.loan_id) == "reserved"


@pytest.mark.postgres
async def test_a_fund_whose_multiple_is_left_open_is_watched_without_leverage(
    servicer: FundsServicer, watcher: WatchServicer
) -> None:
    fund = await steps.open_fund(servicer, programme_id="undecided", balance_fen=300_000)

    found = await watch(watcher, fund.fund_id)

    assert (found.programme, found.balance_fen, found.adequate) == (OPEN_REF, 300_000, True)
    assert (found.capacity_fen, found.headroom_fen, found.takes_cover) == (0, 0, False)


@pytest.mark.postgres
async def test_a_year_adds_up_to_the_journal(
    db: Database, servicer: FundsServicer, consumer: Consumer, watcher: WatchServicer
) -> None:
    fund = await steps.open_fund(servicer, balance_fen=600_000)
    loan = Loan(1, principal_fen=5_000_000)
    await steps.take(consumer, loan.asks(), loan.disbursed(), loan.overdue(71, on=OPENED))
    case = await steps.decide(servicer, await steps.file(servicer, loan))
    next_year = date(2022, 2, 1)
    async with db.transaction(EVERY_COUNTY) as session:
        await business_day.open_day(session, COUNTY, next_year)
    await steps.contribute(servicer, fund, 500_000, value_date=next_year)
    await steps.take(consumer, payout_settled("p-1", loan, subrogated_fen=1_000_000))

    first = await audit(watcher, fund.fund_id, 2021)
    second = await audit(watcher, fund.fund_id, 2022, caller=AUDITOR)

    assert (first.opening_fen, first.closing_fen, first.difference_fen) == (0, 0, 0)
    assert [(each.kind, each.source, each.amount_fen) for each in first.lines] == [
        ("compensation", "", -600_000),
        ("contribution", "county_budget", 600_000),
    ]
    assert [each.case_id for each in first.cases] == [case.case_id]
    assert sum(part.amount_fen for part in first.cases[0].parts) == 5_000_000
    assert (second.opening_fen, second.closing_fen, second.difference_fen) == (0, 300_000, 0)
    assert {each.kind: each.amount_fen for each in second.lines} == {
        "contribution": 500_000,
        "debt_payment": -400_000,
        "recovery": 200_000,
    }
    assert list(second.cases) == []
    assert (await audit(watcher, fund.fund_id, 2020)).closing_fen == 0
    with pytest.raises(Invalid, match="YEAR_NOT_BEGUN"):
        await audit(watcher, fund.fund_id, 2023)
    for caller in (LENDER, OTHER_LENDER):
        with pytest.raises(Denied):
            await audit(watcher, fund.fund_id, 2021, caller=caller)
