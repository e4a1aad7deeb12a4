"""Suspensions beyond the village: of a programme, a lender, an outlet; limits taken away."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from liandong.loans.v1 import events_pb2, loans_pb2

from services.kernel.bus import Consumer
from services.kernel.database import Database
from services.kernel.errors import Denied, Refused
from services.kernel.money import Fen
from services.kernel.walls import EVERY_COUNTY
from services.loans import store
from services.loans.events_in import handlers
from services.loans.model import Breaker, BreakerScope, ScopeBalance, ScopeMonth
from services.loans.rules import suspending
from services.loans.rules.scopes import scopes_of_loan
from services.loans.rules.suspending import Seen
from services.loans.servicer import LoansServicer
from services.loans.store import suspending as suspending_store
from services.programmes.loader import Catalogue
from tests.loans import steps
from tests.loans.builders import YUAN, an_active_loan
from tests.loans.county import (
    BANK,
    CENTRE,
    COUNTY,
    LENDER,
    OTHER_LENDER,
    OTHER_VILLAGE,
    PACK,
    REF,
    VILLAGE,
    VILLAGE_DEPARTMENT,
    House,
    a_caller,
    a_catalogue,
    calling,
)
from tests.loans.steps import an_id

FINANCE = a_caller("finance_bureau", institution_id="fin-1")
STOPS = "effects: [stop_grant, stop_approve, stop_draw, stop_disburse"
OUTLET, NEXT_OUTLET = "0012", "0013"
COLLECTION = f"""  breakers:
    - id: outlet_collection
      measure: due_collection_rate
      scope: outlet
      less_than_ppm: 980000
      consecutive_months: 3
      {STOPS}]
      lenders: own
"""


def of_ratio(scope: str) -> str:
    return f"""  breakers:
    - id: wide_npl
      measure: npl_ratio
      scope: {scope}
      more_than_ppm: 30000
      {STOPS}, open_collection]
"""


def a_pack(breakers: str, *, reopening: bool = True) -> str:
    before, rest = PACK.split("  breakers:\n")
    tiers = rest[rest.index("  five_tier:") :]
    again = "  reopening: {month_ends_below: 1, decided_by: county_centre}\n" if reopening else ""
    # A week overdue is bad: few days to close.
    early = before.replace("more_than_days: 70}", "more_than_days: 5}", 1)
    return early + again + breakers + tiers


def watching(breakers: str) -> Catalogue:
    return a_catalogue(a_pack(breakers))


async def tripped(servicer: LoansServicer, caller: Any = CENTRE) -> list[tuple[str, str]]:
    request = loans_pb2.ListBreakersRequest(county_code=COUNTY)
    answer = await servicer.ListBreakers(request, calling(caller, request))
    return [(each.scope, each.scope_id) for each in answer.breakers]


async def records(servicer: LoansServicer, caller: Any = CENTRE) -> list[str]:
    request = loans_pb2.ListBreakerRecordsRequest(county_code=COUNTY)
    answer = await servicer.ListBreakerRecords(request, calling(caller, request))
    return [each.what for each in answer.records]


async def reset(servicer: LoansServicer, scope: str, scope_id: str, caller: Any = CENTRE) -> None:
    request = loans_pb2.ResetBreakerRequest(
        request_id=an_id(), county_code=COUNTY, scope=scope, scope_id=scope_id, reason="已清收"
    )
    await servicer.ResetBreaker(request, calling(caller, request))


# --- rules ----------------------------------------------------------------------------------------


def test_a_loan_is_in_every_scope_and_a_lender_without_outlets_is_one() -> None:
    loan = replace(an_active_loan(), outlet_code=OUTLET)

    assert scopes_of_loan(loan)[2:] == (
        ("county", COUNTY),
        ("programme", "plain"),
        ("product", "plain/ordinary"),
        ("lender", BANK),
        ("outlet", f"{BANK}/{OUTLET}"),
    )
    assert scopes_of_loan(replace(loan, outlet_code=""))[-1] == ("outlet", BANK)


# AH.mon.1, S01, S16
@pytest.mark.parametrize(("bad", "stops"), [(30_000, False), (30_001, True), (0, False)])
def test_three_in_a_hundred_is_still_allowed(bad: int, stops: bool) -> None:
    terms = watching(of_ratio("programme")).terms(COUNTY, REF)
    seen = Seen({"programme": [ScopeBalance("plain", Fen(1_000_000), Fen(bad))]})

    found = suspending.trip(seen, (), terms=terms, county_code=COUNTY, day=date(2021, 1, 5))
    again = suspending.trip(
        seen, {("programme", "plain")}, terms=terms, county_code=COUNTY, day=date(2021, 1, 5)
    )

    assert [(b.scope, b.scope_id) for b in found] == ([("programme", "plain")] if stops else [])
    assert again == []


# HN-RCU.mon.1, S19: months without anything due do not count, and only one that has just ended.
@pytest.mark.parametrize(
    ("months", "stops"),
    [
        ([(1, 979), (2, 979), (3, 979)], True),
        ([(1, 979), (2, 980), (3, 979)], False),
        ([(2, 979), (3, 979)], False),
        ([(12, 979), (2, 979), (3, 0)], True),
        ([(12, 979), (1, 979), (2, 979)], False),
    ],
)
def test_an_outlet_stops_after_three_low_months_on_end(
    months: Sequence[tuple[int, int]], stops: bool
) -> None:
    terms = watching(COLLECTION).terms(COUNTY, REF)
    held = [
        ScopeMonth("a/1", date(2020 + (month < 12), month, 1), Fen(1_000), Fen(collected))
        for month, collected in months
    ]
    seen = Seen({}, {"outlet": {"a/1": held}})
    on = date(2021, 3, 31)

    found = suspending.trip(seen, (), terms=terms, county_code=COUNTY, day=on)

    assert [b.scope_id for b in found] == (["a/1"] if stops else [])
    low = Breaker(COUNTY, BreakerScope.OUTLET, "a/1", True, 1, (), 0, 1, 1)
    judged = suspending.month_end(low, seen, terms=terms, day=on)
    last = held[-1]
    expected = (
        (last.collected_fen < 980, last.collected_fen, 1_000) if last.month.month == 3 else None
    )
    assert judged == expected


@given(st.integers(1, 10**9), st.integers(1, 60), st.integers(0, 10**9), st.integers(0, 10**9))
def test_the_parts_of_a_loan_fall_due_once_and_are_collected_once(
    principal: int, months: int, paid: int, written: int
) -> None:
    paid = min(paid, principal)
    written = min(written, principal - paid)
    loan = an_active_loan(
        principal,
        term_months=months,
        method="equal_principal",
        outstanding_fen=Fen(principal - paid - written),
    )
    found = [
        suspending.due_in_parts(
            loan,
            None,
            written_off_fen=written,
            programme_id="plain",
            month=date(2021 + place // 12, place % 12 + 1, 1),
        )
        for place in range(months + 2)
    ]

    due = [each for each in found if each]
    assert sum(each.due_fen for each in due) == principal
    assert sum(each.collected_fen for each in due) == paid
    assert all(0 <= each.collected_fen <= each.due_fen for each in due)


# --- day closes -----------------------------------------------------------------------------------


# AH.mon.1, S18, LS18.mon.1
@pytest.mark.postgres
@pytest.mark.parametrize(
    ("scope", "scope_id"),
    [
        ("programme", "plain"),
        ("outlet", f"{BANK}/{OUTLET}"),
    ],
)
async def test_a_scope_stops_waits_for_the_county_and_goes_on(
    db: Database, scope: str, scope_id: str
) -> None:
    catalogue = watching(of_ratio(scope))
    servicer = LoansServicer(db, catalogue)
    consumer = Consumer(db, "loans", handlers(catalogue), batch_size_max=500)
    waiting = House(area_code=OTHER_VILLAGE)
    await steps.know(consumer, waiting)
    ready = await steps.approved(servicer, waiting, outlet_code=OUTLET)
    bad = await steps.active(servicer, consumer, House(), term_months=1, outlet_code=OUTLET)

    today = await steps.advance(db, catalogue, 38)

    assert await tripped(servicer) == [(scope, scope_id)]
    (said,) = await steps.said(db, "breaker_tripped", events_pb2.BreakerTripped)
    assert (said.scope, said.scope_id, said.numerator) == (scope, scope_id, 3_000_000)
    cases = await steps.rows(db, "SELECT loan_id, cause FROM collection_case")
    assert [(str(case["loan_id"]), case["cause"]) for case in cases] == [(bad.loan_id, "breaker")]
    late = await steps.apply(servicer, waiting, principal_fen=YUAN, outlet_code=OUTLET)
    assert list(late.refusal_reasons) == ["BREAKER_TRIPPED"]
    with pytest.raises(Refused, match="BREAKER_TRIPPED"):
        await steps.disburse(servicer, ready.loan_id)
    other = await steps.apply(
        servicer, waiting, principal_fen=YUAN, lender_id="psb-1", outlet_code=OUTLET
    )
    assert bool(other.refusal_reasons) is (scope == "programme")
    with pytest.raises(Refused, match="MONTH_ENDS_NOT_BELOW"):
        await reset(servicer, scope, scope_id)
    await steps.repay(servicer, bad.loan_id, 40_000 * YUAN, on=today)
    await steps.advance(db, catalogue, 20)
    with pytest.raises(Denied):
        await reset(servicer, scope, scope_id, FINANCE)
    await reset(servicer, scope, scope_id)
    assert (await tripped(servicer), await records(servicer)) == (
        [],
        ["tripped", "month_end", "reset"],
    )
    await steps.disburse(servicer, ready.loan_id)
    await steps.books_are_whole(db)


@pytest.mark.postgres
@pytest.mark.parametrize("outlet", [OUTLET, ""])
async def test_the_database_and_the_rules_name_scopes_alike(
    db: Database, servicer: LoansServicer, consumer: Consumer, outlet: str
) -> None:
    active = await steps.active(servicer, consumer, House(), outlet_code=outlet)

    async with db.transaction(EVERY_COUNTY) as session:
        loan = await store.find_loan(session, COUNTY, UUID(active.loan_id))
        assert loan is not None
        for scope, scope_id in scopes_of_loan(loan):
            found = await suspending_store.balances(session, COUNTY, "plain", scope)
            assert [each.scope_id for each in found] == [scope_id]
            assert await suspending_store.without_case(session, COUNTY, [(scope, scope_id)]) == []


# HN-RCU.mon.1
@pytest.mark.postgres
async def test_an_outlet_that_collects_too_little_stops_and_the_next_one_lends(
    db: Database,
) -> None:
    catalogue = watching(COLLECTION)
    servicer = LoansServicer(db, catalogue)
    consumer = Consumer(db, "loans", handlers(catalogue), batch_size_max=500)
    loans = {}
    for outlet in (OUTLET, NEXT_OUTLET):
        for months in (1, 2, 3):
            house = House(area_code=f"9901010010{months:02d}")
            loan = await steps.active(
                servicer, consumer, house, term_months=months, outlet_code=outlet
            )
            loans[outlet, months] = loan.loan_id
    late = House()
    await steps.know(consumer, late)

    for months, days in ((1, 31), (2, 28), (3, 31)):
        today = await steps.advance(db, catalogue, days)
        await steps.repay(servicer, loans[OUTLET, months], 29_000 * YUAN, on=today)
        await steps.repay(servicer, loans[NEXT_OUTLET, months], 31_000 * YUAN, on=today)
    assert await tripped(servicer) == []
    await steps.advance(db, catalogue, 27)

    assert await tripped(servicer) == [("outlet", f"{BANK}/{OUTLET}")]
    stopped = await steps.apply(servicer, late, principal_fen=YUAN, outlet_code=OUTLET)
    assert list(stopped.refusal_reasons) == ["BREAKER_TRIPPED"]
    assert not (
        await steps.apply(servicer, late, principal_fen=YUAN, outlet_code=NEXT_OUTLET)
    ).refusal_reasons
    # The other lender does not see it, a village does: whom it may send there.
    assert await tripped(servicer, LENDER) == await tripped(servicer, VILLAGE_DEPARTMENT) != []
    assert (await tripped(servicer, OTHER_LENDER), await records(servicer, OTHER_LENDER)) == (
        [],
        [],
    )
    kept = await steps.rows(
        db,
        """SELECT month, sum(due_fen)::bigint AS due, count(*) AS loans FROM due_month
           GROUP BY month ORDER BY month""",
    )
    assert [(row["month"].month, row["due"], row["loans"]) for row in kept] == [
        (month, 60_000 * YUAN, 2) for month in (2, 3, 4)
    ]
    await steps.books_are_whole(db)


@pytest.mark.postgres
async def test_only_scopes_that_somebody_watches_are_waited_for(
    db: Database, servicer: LoansServicer, consumer: Consumer
) -> None:
    house = House()
    await steps.know(consumer, house)

    await steps.apply(servicer, house)
    few = await steps.rows(db, "SELECT scope FROM breaker ORDER BY scope")
    wide = LoansServicer(db, watching(COLLECTION))
    await steps.apply(wide, house, principal_fen=YUAN, outlet_code=OUTLET)

    assert [row["scope"] for row in few] == ["township", "village"]
    more = await steps.rows(db, "SELECT scope_id FROM breaker WHERE scope = 'outlet'")
    assert [row["scope_id"] for row in more] == [f"{BANK}/{OUTLET}"]


# --- what credit takes away -----------------------------------------------------------------------


@pytest.mark.postgres
async def test_a_gate_that_closed_after_the_grant_stops_new_money(
    db: Database, servicer: LoansServicer, consumer: Consumer
) -> None:
    house = House()
    await steps.know(consumer, house)
    ready = await steps.approved(servicer, house)
    waiting = await steps.apply(servicer, house, principal_fen=YUAN)

    await steps.take(consumer, house.regranted(0, held_by=["gate:not_idle"]))

    late = await steps.apply(servicer, house, principal_fen=YUAN)
    assert list(late.refusal_reasons) == ["NO_CREDIT_LIMIT", "GATE_NOT_IDLE"]
    with pytest.raises(Refused, match="LIMIT_TAKEN_AWAY") as refusal:
        await steps.disburse(servicer, ready.loan_id)
    assert refusal.value.facts == {"held_by": "gate:not_idle"}
    with pytest.raises(Refused, match="LIMIT_TAKEN_AWAY"):
        await steps.decide(servicer, waiting.loan_id, "county_checks", CENTRE)
    await steps.take(consumer, house.regranted(5_000_000))
    assert (await steps.disburse(servicer, ready.loan_id)).outstanding_fen == 30_000 * YUAN
    await steps.books_are_whole(db)


# --- who moved ------------------------------------------------------------------------------------


@pytest.mark.postgres
async def test_who_moved_owes_in_the_old_village_and_borrows_in_the_new(
    db: Database, servicer: LoansServicer, consumer: Consumer, catalogue: Catalogue
) -> None:
    house = House()
    old = await steps.active(servicer, consumer, house, term_months=1)

    await steps.take(consumer, house.changed(area_code=OTHER_VILLAGE, status="non_poor"))
    new = await steps.apply(servicer, house, principal_fen=YUAN)
    await steps.advance(db, catalogue, 103)

    assert (await steps.get(servicer, old.loan_id)).area_code == VILLAGE
    assert new.area_code == OTHER_VILLAGE
    stopped = [scope_id for scope, scope_id in await tripped(servicer) if scope == "village"]
    assert stopped == [VILLAGE]
    again = await steps.apply(servicer, house, principal_fen=YUAN)
    assert "BREAKER_TRIPPED" not in again.refusal_reasons
