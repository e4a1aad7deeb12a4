"""Funds of every kind on a real PostgreSQL: sub-accounts, dues, orders, pools, fees, statements."""

import asyncio
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp
from liandong.funds.v1 import events_pb2

from services.funds.operations import accounts
from services.kernel import business_day
from services.kernel.database import fetch
from services.kernel.errors import Conflict, Denied, Invalid, LiandongError, NotFound, Refused
from services.kernel.walls import EVERY_COUNTY
from services.programmes.loader import Catalogue
from tests.conftest import MakeSchema
from tests.funds import steps
from tests.funds.accounts_county import (
    BANKS,
    FIRST_COUNTY,
    INSURER,
    OPENED,
    PROGRAMME,
    County,
    a_catalogue,
    next_day,
)
from tests.funds.county import a_caller

pytestmark = pytest.mark.postgres

PAST = OPENED - timedelta(days=30)


@pytest.fixture(scope="module")
def kinds() -> Catalogue:
    return a_catalogue()


@pytest_asyncio.fixture(loop_scope="session")
async def county(schema: MakeSchema, kinds: Catalogue) -> County:
    made = County((await schema("funds", pool_size=8)).db, kinds)
    await made.open()
    return made


async def in_order(county: County) -> dict[str, int]:
    """The totals; rows, history and journal agree."""
    totals = await county.totals()
    assert totals["funds.accounts_difference_fen"] == 0
    assert totals["funds.book_difference_fen"] == 0
    return totals


# --- kinds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "scope_id", "fund_class"),
    [
        ("county_fund", "", 1),
        ("village_mutual_fund", f"{FIRST_COUNTY}101201", 2),
        ("village_project_fund", f"{FIRST_COUNTY}101201", 3),
        ("defaulter_margin", "entity-1", 4),
        ("enterprise_mutual_fund", "", 5),
        ("insurer_pool", "", 6),
        ("insurer_stabilisation", INSURER, 7),
    ],
)
async def test_every_kind_is_opened_once_for_whom_it_is(
    county: County, kind: str, scope_id: str, fund_class: int
) -> None:
    fund_id = await county.fund(kind, scope_id=scope_id, fen=70)

    found = await county.registered(fund_id)
    assert (found.fund_class, found.scope_id, found.balance_fen) == (fund_class, scope_id, 70)
    with pytest.raises(Conflict, match="FUND_EXISTS"):
        await county.fund(kind, scope_id=scope_id)
    await in_order(county)


@pytest.mark.parametrize(
    ("kind", "scope_id", "error"),
    [
        ("bank", "", "KIND_NOT_IN_PROGRAMME"),
        ("village_mutual_fund", "", "SCOPE_NEEDED"),
        ("village_mutual_fund", "990102101201", "VILLAGE_UNKNOWN"),
        ("defaulter_margin", "", "SCOPE_NEEDED"),
        ("insurer_stabilisation", "", "SCOPE_NEEDED"),
    ],
)
async def test_a_fund_that_belongs_to_nobody_is_refused(
    county: County, kind: str, scope_id: str, error: str
) -> None:
    with pytest.raises(Invalid, match=error):
        await county.fund(kind, scope_id=scope_id)


async def test_only_its_own_village_and_its_own_margin_pay_for_a_loan(county: County) -> None:
    await county.fund(fen=100_000)
    mine = await county.fund("village_mutual_fund", scope_id=county.village, fen=300)
    other_village = f"{county.code}101202"
    other = await county.fund("village_mutual_fund", scope_id=other_village, fen=900)
    margin = await county.fund("defaulter_margin", scope_id="entity-1", fen=50)
    another = await county.fund("defaulter_margin", scope_id="entity-2", fen=60)

    village_loan = await county.lend(1_000)
    await county.lose(village_loan)
    entity_loan = await county.lend(1_000, borrower="entity", household="entity-1")
    await county.lose(entity_loan)

    held = {each: (await county.registered(each)).balance_fen for each in (mine, other, margin)}
    assert held == {mine: 0, other: 900, margin: 0}
    assert (await county.registered(another)).balance_fen == 60
    await in_order(county)


# --- sub-accounts ---------------------------------------------------------------------------------


async def test_a_pool_is_divided_by_lending_and_rebalanced_as_it_moves(county: County) -> None:
    fund_id = await county.fund(fen=1_510_000)
    for bank, fen in zip(BANKS, (5_000, 3_000, 1_000), strict=True):
        await county.lend(fen, lender=bank, covered=False)

    await county.divide(fund_id)
    assert await county.accounts(fund_id) == {
        "bank-a": 838_889,
        "bank-b": 503_333,
        "bank-c": 167_778,
    }
    with pytest.raises(Refused, match="ALREADY_IN_PROPORTION"):
        await county.divide(fund_id)

    await county.lend(1_000, lender="bank-c", covered=False)
    await county.divide(fund_id)
    assert await county.accounts(fund_id) == {
        "bank-a": 755_000,
        "bank-b": 453_000,
        "bank-c": 302_000,
    }
    await in_order(county)


async def test_a_banks_losses_come_out_of_its_own_sub_account_only(county: County) -> None:
    fund_id = await county.fund(fen=2_000)
    loan = await county.lend(1_000, lender="bank-a")
    await county.lend(9_000, lender="bank-b")
    await county.divide(fund_id)
    assert await county.accounts(fund_id) == {"bank-a": 200, "bank-b": 1_800}

    case = await county.lose(loan)

    part = next(each for each in case.parts if each.party == "county_fund")
    assert (part.amount_fen, part.paid_fen) == (500, 200)
    assert await county.accounts(fund_id) == {"bank-a": 0, "bank-b": 1_800}
    # The bureau moves money over; what is owed on bank-a's case is paid at once.
    moved = await county.ask(
        "ProposeTransfer",
        fund_id=fund_id,
        lines=[{"from_custodian_id": "bank-b", "to_custodian_id": "bank-a", "amount_fen": 400}],
        value_date=county.today,
    )
    await county.decide(moved.order)
    assert await county.accounts(fund_id) == {"bank-a": 100, "bank-b": 1_400}
    assert (await county.registered(fund_id)).owed_fen == 0
    # What comes back for the fund lies at the lender of the case again.
    await county.recover(loan, 100)
    assert await county.accounts(fund_id) == {"bank-a": 150, "bank-b": 1_400}
    await in_order(county)


@pytest.mark.parametrize("role", ["bank", "county_centre", "insurer"])
async def test_a_transfer_by_anybody_but_the_finance_bureau_is_refused(
    county: County, role: str
) -> None:
    fund_id = await county.fund(fen=100)
    lines = [{"from_custodian_id": "", "to_custodian_id": "bank-a", "amount_fen": 40}]
    caller = county.caller(role, of="bank-a")

    with pytest.raises(Denied, match="FINANCE_BUREAU_ONLY"):
        await county.ask(
            "ProposeTransfer", caller, fund_id=fund_id, lines=lines, value_date=county.today
        )
    asked = await county.ask(
        "ProposeTransfer", fund_id=fund_id, lines=lines, value_date=county.today
    )
    with pytest.raises(Denied, match="FINANCE_BUREAU_ONLY"):
        await county.decide(asked.order, caller=caller)
    assert await county.accounts(fund_id) == {}


async def test_two_persons_stand_behind_an_order_and_it_is_decided_once(county: County) -> None:
    fund_id = await county.fund(fen=100)
    lines = [{"from_custodian_id": "", "to_custodian_id": "bank-a", "amount_fen": 40}]
    ask: dict[str, Any] = {"fund_id": fund_id, "lines": lines, "value_date": county.today}
    order = (await county.ask("ProposeTransfer", **ask)).order

    with pytest.raises(Refused, match="SAME_PERSON"):
        await county.decide(order, caller=county.finance)
    done = await county.decide(order)
    assert (done.proposed_by, done.decided_by) == ("fin-1-p1", "fin-1-p2")
    with pytest.raises(Refused, match="ORDER_DECIDED"):
        await county.decide(order)

    again = (await county.ask("ProposeTransfer", **ask)).order
    with pytest.raises(Invalid, match="REASON_NEEDED"):
        await county.ask("DecideFundOrder", county.second, order_id=again.order_id)
    assert (await county.decide(again, approve=False)).reason == "wrong"
    assert await county.accounts(fund_id) == {"bank-a": 40}
    listed = await county.ask("ListFundOrders", page_size=10)
    assert [each.order_id for each in listed.orders] == [order.order_id, again.order_id]
    await in_order(county)


async def test_more_than_a_sub_account_holds_never_leaves_it(county: County) -> None:
    fund_id = await county.fund(fen=100)
    lines = [{"from_custodian_id": "", "to_custodian_id": "bank-a", "amount_fen": 60}]
    ask: dict[str, Any] = {"fund_id": fund_id, "lines": lines, "value_date": county.today}
    first, second = [(await county.ask("ProposeTransfer", **ask)).order for _ in range(2)]

    await county.decide(first)
    with pytest.raises(Refused, match="ACCOUNT_TOO_SMALL"):
        await county.decide(second)
    with pytest.raises(Invalid, match="CUSTODIAN_UNKNOWN"):
        await county.pay_in(fund_id, 1, custodian_id="somebody")
    assert await county.accounts(fund_id) == {"bank-a": 60}


async def test_without_lending_there_is_nothing_to_divide_by(county: County) -> None:
    fund_id = await county.fund(fen=100)

    with pytest.raises(Refused, match="NOTHING_LENT"):
        await county.divide(fund_id)


# --- contributions --------------------------------------------------------------------------------


async def test_what_is_due_is_held_against_what_arrived(county: County) -> None:
    fund_id = await county.fund()
    for fen, due_on in ((600, PAST), (400, county.today), (500, next_day(county))):
        await county.ask(
            "RecordContributionDue",
            fund_id=fund_id,
            source="county_poverty_fund",
            amount_fen=fen,
            due_on=due_on,
        )
    await county.pay_in(fund_id, 750, source="county_poverty_fund", on=PAST)
    await county.pay_in(fund_id, 99, source="shares_income")

    found = await county.ask("GetArrival", fund_id=fund_id)

    assert (found.due_fen, found.paid_in_fen, found.ratio_ppm) == (1_000, 750, 750_000)
    assert [due.arrived_fen for due in found.dues] == [600, 150, 0]
    by_source = {each.source: each.paid_in_fen for each in found.sources}
    assert by_source == {"county_poverty_fund": 750, "shares_income": 99}
    listed = await county.ask("ListContributions", fund_id=fund_id)
    assert [(each.amount_fen, each.source) for each in listed.contributions] == [
        (750, "county_poverty_fund"),
        (99, "shares_income"),
    ]
    assert listed.contributions[0].value_date.day == PAST.day


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"source": "nobody_knows"}, "SOURCE_UNKNOWN"),
        ({"on": OPENED + timedelta(days=1)}, "VALUE_DATE_AHEAD"),
        ({"on": PAST}, "PERIOD_CLOSED"),
        ({"fund_id": str(uuid4())}, "FUND_NOT_FOUND"),
    ],
)
async def test_a_wrong_contribution_is_refused(
    county: County, change: dict[str, Any], error: str
) -> None:
    fund_id = await county.fund()
    await county.ask("CloseFundPeriod", through=PAST)

    with pytest.raises(LiandongError, match=error):
        await county.pay_in(**{"fund_id": fund_id, "fen": 1, **change})
    assert (await county.registered(fund_id)).balance_fen == 0


async def test_a_closed_fund_takes_nothing_and_only_an_empty_one_is_closed(county: County) -> None:
    fund_id = await county.fund(fen=70)
    with pytest.raises(Refused, match="FUND_IN_USE"):
        await county.ask("ProposeClosing", fund_id=fund_id)
    margin = await county.fund("defaulter_margin", scope_id="entity-1")
    await county.decide((await county.ask("ProposeClosing", fund_id=margin)).order)

    with pytest.raises(Refused, match="FUND_CLOSED"):
        await county.pay_in(margin, 1)
    with pytest.raises(Refused, match="FUND_CLOSED"):
        await county.ask(
            "RecordContributionDue",
            fund_id=margin,
            source="enterprise",
            amount_fen=1,
            due_on=county.today,
        )
    assert (await county.registered(margin)).state == 3


async def test_a_period_is_closed_once_and_not_before_it_is_over(county: County) -> None:
    with pytest.raises(Refused, match="PERIOD_NOT_OVER"):
        await county.ask("CloseFundPeriod", through=county.today)
    await county.ask("CloseFundPeriod", through=PAST)
    with pytest.raises(Refused, match="PERIOD_CLOSED"):
        await county.ask("CloseFundPeriod", through=PAST)
    fund_id = await county.fund(fen=9)
    lines = [{"to_custodian_id": "bank-a", "amount_fen": 4}]
    with pytest.raises(Refused, match="PERIOD_CLOSED"):
        await county.ask("ProposeTransfer", fund_id=fund_id, lines=lines, value_date=PAST)


async def test_money_goes_back_but_never_what_the_fund_must_hold(county: County) -> None:
    fund_id = await county.fund(fen=3_000)
    await county.lend(15_000)

    async def back(fen: int, *, source: str = "county_budget", of: str = fund_id) -> Any:
        asked = await county.ask(
            "ProposeWithdrawal",
            fund_id=of,
            source=source,
            amount_fen=fen,
            value_date=county.today,
        )
        return await county.decide(asked.order)

    with pytest.raises(Refused, match="FUND_BELOW_MINIMUM"):
        await back(2_001)
    with pytest.raises(Refused, match="COVER_NEEDS_IT"):
        await back(1_501)
    with pytest.raises(Invalid, match="SOURCE_UNKNOWN"):
        await back(1, source="donation")
    await back(1_500)
    margin = await county.fund("defaulter_margin", scope_id="entity-1")
    await county.pay_in(margin, 80, source="enterprise")
    await back(80, source="enterprise", of=margin)

    totals = await in_order(county)
    assert (totals["funds.balance_fen"], totals["funds.withdrawn_fen"]) == (1_500, 1_580)


# --- what a fund must hold ------------------------------------------------------------------------


async def close_days(county: County, until: date) -> None:
    while county.today < until:
        async with county.db.transaction(EVERY_COUNTY) as session:
            await accounts.close_day(session, county.catalogue, county.code, county.today)
            county.today = next_day(county)
            await business_day.open_day(session, county.code, county.today)


async def test_what_ratio_and_year_ask_for_is_said_and_said_again_when_it_is_late(
    county: County,
) -> None:
    fund_id = await county.fund(fen=2_000)
    await county.lend(40_000, covered=False)
    found = await county.ask("GetTopUp", fund_id=fund_id)
    assert (found.required_fen, found.binding, found.top_up_fen) == (4_000, "ratio", 2_000)
    assert (found.meets_minimum, found.added_fen, found.balance_after_fen) == (True, 400, 2_400)

    await close_days(county, date(2022, 2, 1))

    # What the ratio wants is due the first day, a year's addition after the year's end.
    arrival = await county.ask("GetArrival", fund_id=fund_id)
    dues = [(each.source, each.amount_fen, each.year) for each in arrival.dues]
    assert dues == [("top_up", 2_000, 0), ("yearly_top_up", 400, 2021)]
    due_on = arrival.dues[1].due_on
    assert (due_on.year, due_on.month, due_on.day) == (2022, 1, 31)
    said = [
        (row["business_date"].month, events_pb2.TopUpDue.FromString(row["payload"]).amount_fen)
        for row in await steps.said(county.db, "top_up_due")
    ]
    assert said == [(3, 2_000), (12, 400), (1, 400)]
    await county.pay_in(fund_id, 400, source="yearly_top_up")
    await county.pay_in(fund_id, 2_000, source="top_up")
    assert (await county.ask("GetArrival", fund_id=fund_id)).ratio_ppm == 1_000_000


async def test_a_village_is_asked_once_a_year_for_what_its_fund_lacks(county: County) -> None:
    fund_id = await county.fund("village_mutual_fund", scope_id=county.village, fen=2_500)
    await county.lend(86_000, covered=False)
    county.today = date(2021, 12, 30)

    await close_days(county, date(2022, 1, 2))

    [due] = (await county.ask("GetArrival", fund_id=fund_id)).dues
    assert (due.source, due.amount_fen, due.due_on.year) == ("helper", 80, 2022)


async def test_of_two_who_carry_an_order_out_at_once_one_does(county: County) -> None:
    fund_id = await county.fund(fen=100)
    lines = [{"to_custodian_id": "bank-a", "amount_fen": 30}]
    asked = await county.ask(
        "ProposeTransfer", fund_id=fund_id, lines=lines, value_date=county.today
    )

    outcomes = await asyncio.gather(
        *(county.decide(asked.order, caller=county.caller(post=post)) for post in (2, 3, 4, 5)),
        return_exceptions=True,
    )

    refused = [each for each in outcomes if isinstance(each, Refused)]
    assert [each.reason for each in refused] == ["ORDER_DECIDED"] * 3
    assert await county.accounts(fund_id) == {"bank-a": 30}
    await in_order(county)


async def test_a_villages_fund_is_held_against_its_loans(county: County) -> None:
    fund_id = await county.fund("village_mutual_fund", scope_id=county.village, fen=2_500)
    await county.lend(86_000, covered=False)
    await county.lend(50_000, covered=False, village=f"{county.code}101202")

    found = await county.ask("GetVillageFund", fund_id=fund_id)

    assert (found.village_loans_fen, found.min_fen, found.max_fen) == (86_000, 2_580, 4_300)
    assert not found.within
    due: dict[str, Any] = {"fund_id": fund_id, "source": "helper", "due_on": county.today}
    with pytest.raises(Refused, match="VILLAGE_FUND_OUT_OF_BOUNDS"):
        await county.ask("RecordContributionDue", amount_fen=1_801, **due)
    with pytest.raises(Refused, match="VILLAGE_FUND_OUT_OF_BOUNDS"):
        await county.ask("RecordContributionDue", amount_fen=79, **due)
    await county.ask("RecordContributionDue", amount_fen=80, **due)
    await county.pay_in(fund_id, 80, source="helper")
    assert (await county.ask("GetVillageFund", fund_id=fund_id)).within


async def test_a_mixed_pool_has_exactly_its_mix_and_a_cap(county: County) -> None:
    pool = await county.fund("enterprise_mutual_fund")
    await county.fund(fen=100_000)
    await county.pay_in(pool, 900)
    await county.pay_in(pool, 2_100, source="enterprise")
    await county.lend(21_000, borrower="entity", household="entity-1")
    await county.lend(5_000)

    found = await county.ask("GetMutualPool", fund_id=pool)

    assert (found.government_fen, found.enterprise_fen, found.mix_ok) == (900, 2_100, True)
    assert (found.loans_fen, found.capacity_fen, found.headroom_fen) == (21_000, 30_000, 9_000)
    assert (found.within_cap, found.multiple_centi) == (True, 700)
    await county.pay_in(pool, 1, source="enterprise")
    assert not (await county.ask("GetMutualPool", fund_id=pool)).mix_ok
    with pytest.raises(Refused, match="NOT_A_MUTUAL_POOL"):
        await county.ask("GetMutualPool", fund_id=await county.fund("insurer_pool"))


async def test_what_an_insurers_pool_lacks_becomes_due_once(county: County) -> None:
    pool = await county.fund("insurer_pool", fen=30)
    ask: dict[str, Any] = {"fund_id": pool, "expected_lending_fen": 10_000, "due_on": county.today}

    first = await county.ask("SizeInsurerPool", **ask)
    second = await county.ask("SizeInsurerPool", **ask)

    assert (first.pool_fen, first.missing_fen) == (100, 70)
    assert (second.pool_fen, second.missing_fen, second.due_id) == (100, 0, "")


async def test_a_deficit_is_paid_as_far_as_the_pool_goes(county: County) -> None:
    pool = await county.fund("insurer_stabilisation", scope_id=INSURER, fen=400)
    line_id = await county.line_result(700, 1_200)
    good = await county.line_result(700, 600)
    ask: dict[str, Any] = {"fund_id": pool, "value_date": county.today}

    with pytest.raises(Refused, match="NO_DEFICIT"):
        await county.ask("ProposeStabilisation", line_id=good, **ask)
    with pytest.raises(NotFound, match="LINE_UNKNOWN"):
        await county.ask("ProposeStabilisation", line_id="none", **ask)
    foreign = await county.line_result(1, 2, programme="other@1")
    with pytest.raises(Refused, match="ANOTHER_PROGRAMME"):
        await county.ask("ProposeStabilisation", line_id=foreign, **ask)
    order = (await county.ask("ProposeStabilisation", line_id=line_id, **ask)).order
    await county.decide(order)
    with pytest.raises(Refused, match="FUND_EMPTY"):
        await county.ask("ProposeStabilisation", line_id=line_id, **ask)
    await county.pay_in(pool, 300)
    await county.decide((await county.ask("ProposeStabilisation", line_id=line_id, **ask)).order)
    with pytest.raises(Refused, match="PAID_ALREADY"):
        await county.ask("ProposeStabilisation", line_id=line_id, **ask)

    results = (await county.ask("ListLineResults")).results
    assert {each.line_id: each.compensated_fen for each in results} == {
        line_id: 500,
        good: 0,
        foreign: 0,
    }
    totals = await in_order(county)
    assert (totals["funds.balance_fen"], totals["funds.stabilised_fen"]) == (200, 500)


# --- lines and fees -------------------------------------------------------------------------------


async def test_a_guarantors_line_is_used_by_its_part_of_the_cover(county: County) -> None:
    await county.fund(fen=100_000)
    ask: dict[str, Any] = {"programme_id": PROGRAMME, "line_fen": 1_000, "from_date": county.today}
    with pytest.raises(Invalid, match="PARTY_NOT_IN_PROGRAMME"):
        await county.ask("ProposeFacility", party="nobody", **ask)
    await county.decide((await county.ask("ProposeFacility", party="guarantee", **ask)).order)

    lost = await county.lend(1_000)
    await county.lend(2_000)
    [line] = (await county.ask("ListFacilities")).facilities
    assert (line.institution_id, line.used_fen, line.free_fen) == ("agr-1", 900, 100)

    await county.lose(lost)
    [line] = (await county.ask("ListFacilities")).facilities
    assert (line.used_fen, line.free_fen) == (900, 100)
    guarantor = county.caller("guarantor", of="agr-1")
    assert len((await county.ask("ListFacilities", guarantor)).facilities) == 1
    other = county.caller("guarantor", of="grp-1")
    assert len((await county.ask("ListFacilities", other)).facilities) == 0


async def test_a_fee_is_worked_out_approved_and_paid_by_three_persons(county: County) -> None:
    await county.lend(123_456, lender="bank-a", covered=False)
    await county.lend(500, lender="bank-b", covered=False)
    bank = county.caller("bank", of="bank-a")
    ask: dict[str, Any] = {
        "programme_id": PROGRAMME,
        "kind": 1,
        "from_date": PAST,
        "until_date": county.today,
    }

    claim = (await county.ask("FileFeeClaim", bank, **ask)).claim
    assert (claim.disbursed_fen, claim.amount_fen) == (123_456, 1_235)
    with pytest.raises(Refused, match="PERIOD_CLAIMED_ALREADY"):
        await county.ask("FileFeeClaim", bank, **ask)
    pay = {"claim_id": claim.claim_id, "value_date": county.today}
    with pytest.raises(Refused, match="CLAIM_NOT_APPROVED"):
        await county.ask("PayFeeClaim", **pay)
    with pytest.raises(Denied, match="FINANCE_BUREAU_ONLY"):
        await county.ask("DecideFeeClaim", bank, claim_id=claim.claim_id, approve=True)
    await county.ask("DecideFeeClaim", claim_id=claim.claim_id, approve=True)
    assert (await in_order(county))["funds.fees_owed_fen"] == 1_235
    with pytest.raises(Refused, match="SAME_PERSON"):
        await county.ask("PayFeeClaim", **pay)
    paid = (await county.ask("PayFeeClaim", county.second, **pay)).claim
    assert (paid.state, paid.paid_by) == (3, "fin-1-p2")

    centre = county.caller("county_centre")
    data: dict[str, Any] = {**ask, "kind": 2, "households": 1_250}
    with pytest.raises(Invalid, match="EVIDENCE_NEEDED"):
        await county.ask("FileFeeClaim", centre, **data)
    collected = (await county.ask("FileFeeClaim", centre, evidence=["sha256:ab"], **data)).claim
    assert collected.amount_fen == 250_000
    with pytest.raises(Refused, match="NOTHING_TO_PAY"):
        await county.ask("FileFeeClaim", county.caller("bank", of="bank-c"), **ask)
    totals = await in_order(county)
    assert (totals["funds.fees_paid_fen"], totals["funds.fees_owed_fen"]) == (1_235, 0)
    assert len((await county.ask("ListFeeClaims", bank)).claims) == 1


# --- books ----------------------------------------------------------------------------------------


async def test_a_statement_and_any_past_balance_come_from_the_journal(county: County) -> None:
    fund_id = await county.fund()
    await county.pay_in(fund_id, 700, on=PAST)
    async with county.db.transaction(EVERY_COUNTY) as session:
        rows = await fetch(session, "SELECT clock_timestamp() AS now")
    instant = Timestamp()
    instant.FromDatetime(rows[0]["now"])
    await county.pay_in(fund_id, 300)
    await county.pay_in(fund_id, 50, on=PAST, custodian_id="bank-a")

    whole = await county.ask(
        "ListFundEntries",
        fund_id=fund_id,
        from_date=PAST + timedelta(days=1),
        until_date=county.today,
    )
    assert (whole.opening_balance_fen, whole.closing_balance_fen) == (750, 1_050)
    [entry] = whole.entries
    assert (entry.kind, entry.amount_fen, entry.against) == (
        "contribution",
        300,
        "contributions:county_budget",
    )
    pages, token = [], ""
    while True:
        page = await county.ask(
            "ListFundEntries",
            fund_id=fund_id,
            from_date=PAST,
            until_date=county.today,
            page_size=1,
            page_token=token,
        )
        pages += [each.amount_fen for each in page.entries]
        token = page.next_page_token
        if not token:
            break
    assert pages == [700, 300, 50]

    async def balance(**at: Any) -> int:
        return int((await county.ask("GetFundBalance", fund_id=fund_id, **at)).balance_fen)

    assert await balance() == 1_050
    assert await balance(value_date=PAST) == 750
    assert await balance(recorded_time=instant) == 700
    assert await balance(custodian_id="bank-a") == 50
    assert await balance(value_date=PAST - timedelta(days=1)) == 0
    bank = county.caller("bank", of="bank-a")
    days = {"from_date": PAST, "until_date": county.today}
    own = await county.ask("ListFundEntries", bank, fund_id=fund_id, custodian_id="bank-a", **days)
    assert [each.amount_fen for each in own.entries] == [50]
    for other in ("", "bank-b"):
        with pytest.raises(Denied, match="ACCOUNT_NOT_YOURS"):
            await county.ask("ListFundEntries", bank, fund_id=fund_id, custodian_id=other, **days)
        with pytest.raises(Denied, match="ACCOUNT_NOT_YOURS"):
            await county.ask("GetFundBalance", bank, fund_id=fund_id, custodian_id=other)


async def test_the_register_adds_up_over_all_counties_for_those_above_them(
    county: County,
) -> None:
    await county.fund(fen=100)
    other = County(county.db, county.catalogue, code=str(FIRST_COUNTY + 1))
    await other.open()
    await other.fund(fen=20)
    await other.fund("insurer_pool", fen=3)
    province = a_caller("auditor", institution_id="aud-0", county_code="000000")

    found = await county.ask("ListFundRegister", province, county_code="000000", page_size=2)

    assert [each.balance_fen for each in found.funds] == [100, 20]
    assert found.next_page_token
    totals = {
        each.fund_class: (each.counties, each.funds, each.balance_fen) for each in found.totals
    }
    assert totals == {0: (2, 3, 123), 1: (2, 2, 120), 6: (1, 1, 3)}
    with pytest.raises(Denied, match="AREA_NOT_YOURS"):
        await county.ask("ListFundRegister", county.caller("auditor"), county_code="000000")
    own = await county.ask("ListFundRegister", county.caller("bank", of="bank-a"))
    assert [each.balance_fen for each in own.funds] == [100]


async def test_opening_balances_are_proven_and_wait_for_a_second_person(county: County) -> None:
    items = [
        {
            "programme_id": PROGRAMME,
            "kind": "county_fund",
            "sources": [
                {"source": "county_budget", "custodian_id": "bank-a", "amount_fen": 600},
                {"source": "county_poverty_fund", "custodian_id": "bank-b", "amount_fen": 400},
            ],
        },
        {
            "programme_id": PROGRAMME,
            "kind": "village_mutual_fund",
            "scope_id": county.village,
            "sources": [{"source": "helper", "amount_fen": 30}],
        },
    ]
    ask: dict[str, Any] = {"opening_on": PAST, "items": items, "control_count": 2}

    dry = await county.ask("ProposeOpening", control_fen=1_030, dry_run=True, **ask)
    assert (dry.proof.agrees, dry.proposed) == (True, False)
    off = await county.ask("ProposeOpening", control_fen=1_031, **ask)
    assert (off.proof.agrees, off.proposed, off.proof.found_fen) == (False, False, 1_030)
    twice = {**ask, "items": [*items, items[0]], "control_count": 3}
    wrong = await county.ask("ProposeOpening", control_fen=2_030, **twice)
    assert [each.reason for each in wrong.verdicts] == ["", "", "FUND_EXISTS"]
    assert not wrong.proposed
    assert not (await county.ask("ListFundOrders")).orders

    right = await county.ask("ProposeOpening", control_fen=1_030, **ask)
    with pytest.raises(Refused, match="SAME_PERSON"):
        await county.decide(right.order, caller=county.finance)
    await county.decide(right.order)

    register = (await county.ask("ListFundRegister")).funds
    assert sorted(each.balance_fen for each in register) == [30, 1_000]
    divided = next(each for each in register if each.kind == "county_fund")
    assert await county.accounts(divided.fund_id) == {"bank-a": 600, "bank-b": 400}
    listed = await county.ask("ListContributions", fund_id=divided.fund_id)
    assert all(each.opening for each in listed.contributions)
    again = await county.ask("ProposeOpening", control_fen=1_030, **ask)
    assert [each.reason for each in again.verdicts] == ["FUND_EXISTS", "FUND_EXISTS"]
    assert (await in_order(county))["funds.contributed_fen"] == 1_030
