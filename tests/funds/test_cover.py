"""Cover from its request to its end, on a real PostgreSQL: capacity, renewal, cut-over, expiry."""

import asyncio
import os
import random
from datetime import date, timedelta
from typing import Any

import pytest
from liandong.claims.v1 import events_pb2 as claims
from liandong.funds.v1 import events_pb2
from liandong.loans.v1 import events_pb2 as loans

from services.funds import jobs
from services.funds.events_in import handlers
from services.funds.servicer import FundsServicer
from services.kernel import business_day, wire
from services.kernel.bus import Consumer
from services.kernel.database import Database, fetch
from services.kernel.errors import Invalid
from services.kernel.ids import new_id
from services.kernel.inbox import Delivery, Incoming
from services.kernel.walls import EVERY_COUNTY
from services.programmes.loader import Catalogue, load_texts
from tests.funds import steps
from tests.funds.casework import TREASURER, Casework, a_strict_catalogue
from tests.funds.county import (
    _ADOPTION,
    _PACK,
    _UNDECIDED,
    BANK,
    CENTRE,
    COUNTY,
    LENDER,
    OPENED,
    OTHER_BANK,
    OTHER_COUNTY,
    REF,
    VILLAGE,
    Loan,
    breaker_tripped,
    loan_id,
    told,
)

pytestmark = pytest.mark.postgres

FUND_FEN = 5_000_000
LONG = os.environ.get("LIANDONG_RESERVATIONS_LONG") == "1"
ROUNDS = 1_000 if LONG else 20
FITS, ASKED = 10, 50


def opened(
    number: int,
    *,
    product_id: str = "farm_loan",
    principal_fen: int = 5_000_000,
    programme: str = REF,
) -> Delivery:
    message = loans.LoanOpened(
        loan_id=str(loan_id(number)),
        household_id=str(new_id()),
        lender_id=BANK,
        product_id=product_id,
        principal_fen=principal_fen,
        outstanding_fen=principal_fen,
        area_code=VILLAGE,
        borrower_class="poor_household",
        opening_on=wire.date_to_proto(OPENED),
        matures_on=wire.date_to_proto(OPENED + timedelta(days=30)),
        disbursed_on=wire.date_to_proto(OPENED),
    )
    aggregate = ("loans.loan", str(loan_id(number)))
    return told("liandong.loans.v1.loan_opened", aggregate, 1, message, programme=programme)


def renewed(new: Loan, old: Loan, until: date) -> Delivery:
    message = loans.LoanRenewed(
        loan_id=str(new.loan_id),
        renewed_loan_id=str(old.loan_id),
        principal_fen=new.principal_fen,
        matures_on=wire.date_to_proto(until),
    )
    return new._told("loan_renewed", message)


PRODUCTS = """
loans:
  benchmark: [{from: 2020-01-01, max_tenor_months: 12, rate_ppm: 43500}]
  day_basis: 360
  npl: {measure: overdue_days, more_than_days: 70}
loan_products:
  - id: farm_loan
    title: {zh: 农业贷款, en: Farm loan}
    borrower_classes: [poor_household]
    purpose: {prohibited: []}
    max_principal_fen: 100000000
    max_term_months: 36
    pricing: {mode: benchmark}
    subsidy: {mode: none}
    approval_chain:
      - {step: bank_approves, kind: approval, organ: lender}
    interest_settlement: bullet
    sharing_models: [four_party, insured_first]
  - id: plain_loan
    title: {zh: 普通贷款, en: Plain loan}
    borrower_classes: [poor_household]
    purpose: {prohibited: []}
    max_principal_fen: 100000000
    max_term_months: 36
    pricing: {mode: benchmark}
    subsidy: {mode: none}
    approval_chain:
      - {step: bank_approves, kind: approval, organ: lender}
    interest_settlement: bullet
"""
INSURED_FIRST = """
    - id: insured_first
      title: {zh: 保险先行, en: Insurance first}
      borrower_classes: [poor_household]
      layers:
        - {layer: insurance, pot: loan_guarantee}
        - {layer: ratio, ratio: {county_fund: 50, bank: 50}}
      trigger: {non_performing: true}
      base: principal_and_interest
"""


def a_catalogue_with_products() -> Catalogue:
    insurer = "mutual_fund: fin-1\n        loan_guarantee: ins-1"
    adoption = _ADOPTION.replace("&parties", "").replace("mutual_fund: fin-1", insurer)
    return load_texts(
        {
            "plain@1.yaml": _PACK + INSURED_FIRST + PRODUCTS,
            "undecided@1.yaml": _UNDECIDED,
            "adoption.yaml": adoption % COUNTY,
            "other.yaml": adoption % OTHER_COUNTY,
        }
    )


class _CutError(Exception):
    """The process ends before its transaction does."""


class Hearing:
    """A consumer's handlers, an event a transaction, as many at once as there are."""

    def __init__(self, db: Database, catalogue: Catalogue) -> None:
        self._db = db
        self._handlers = handlers(catalogue)

    async def hear(self, delivery: Delivery, *, cut: bool = False) -> None:
        """Take an event; `cut` is a crash before the commit."""
        handler = self._handlers[delivery.envelope.event_type]
        message = handler.message_type.FromString(delivery.payload)
        try:
            async with self._db.transaction(EVERY_COUNTY) as session:
                await handler.handle(session, [Incoming(delivery.envelope, message)])
                if cut:
                    raise _CutError
        except _CutError:
            return


async def test_fifty_at_once_for_ten_give_exactly_ten_round_after_round(
    db: Database, servicer: FundsServicer, catalogue: Catalogue
) -> None:
    """Some are asked twice, some are cut off before the commit and asked again."""
    fund = await steps.open_fund(servicer, balance_fen=FUND_FEN)
    hearing = Hearing(db, catalogue)
    picked = random.Random(50)
    for round_ in range(ROUNDS):
        asked = [Loan(round_ * ASKED + number) for number in range(ASKED)]
        calls = [loan.asks() for loan in asked]
        cut = picked.sample(calls, 5)
        await asyncio.gather(*(hearing.hear(call, cut=True) for call in cut))
        twice = picked.sample(calls, 5)
        todo = [*calls, *twice]
        picked.shuffle(todo)
        await asyncio.gather(*(hearing.hear(call) for call in todo))
        held = [loan for loan in asked if await steps.cover_state(db, loan.loan_id) == "reserved"]
        now = await steps.get_fund(servicer, fund)
        assert len(held) == FITS, f"round {round_}"
        assert now.covered_fen == now.capacity_fen == FITS * 5_000_000
        await asyncio.gather(*(hearing.hear(loan.refused()) for loan in held))
        assert (await steps.get_fund(servicer, fund)).covered_fen == 0
    assert (await steps.totals(db))["funds.book_difference_fen"] == 0


async def test_a_refusal_says_the_numbers(
    db: Database, servicer: FundsServicer, consumer: Consumer
) -> None:
    fund = await steps.open_fund(servicer, balance_fen=600_000)
    await steps.take(consumer, Loan(1).asks(), Loan(2).asks())

    (refused,) = await steps.refusals(db)

    assert refused == events_pb2.CoverRefused(
        loan_id=str(Loan(2).loan_id),
        reason="LEVERAGE_REACHED",
        headroom_fen=1_000_000,
        capacity_fen=6_000_000,
        covered_fen=5_000_000,
        asked_fen=5_000_000,
        fund_id=fund.fund_id,
    )


async def test_a_full_fund_carries_a_renewed_loan_on(
    db: Database, servicer: FundsServicer, consumer: Consumer
) -> None:
    fund = await steps.open_fund(servicer, balance_fen=500_000)
    old, new = Loan(1), Loan(2)
    until = OPENED + timedelta(days=365)
    await steps.take(consumer, old.asks(), old.disbursed())

    # The request for the new loan overtakes the news that the old one is settled.
    await steps.take(consumer, new.asks(), new.disbursed(), renewed(new, old, until))
    await steps.take(consumer, old.settled())

    assert await steps.cover_state(db, old.loan_id) == "released"
    assert await steps.cover_state(db, new.loan_id) == "reserved"
    assert (await steps.get_fund(servicer, fund)).covered_fen == 5_000_000
    (row,) = await steps.said(db, "cover_renewed")
    said = events_pb2.CoverRenewed.FromString(row["payload"])
    assert (said.renewed_loan_id, said.covered_fen) == (str(old.loan_id), 5_000_000)
    assert (await steps.totals(db))["funds.book_difference_fen"] == 0


async def test_an_extension_moves_the_day_until_which_cover_runs(
    db: Database, servicer: FundsServicer, consumer: Consumer, catalogue: Catalogue
) -> None:
    await steps.open_fund(servicer, balance_fen=FUND_FEN)
    loan, until = Loan(1), OPENED + timedelta(days=400)
    await steps.take(consumer, loan.asks(), loan.disbursed())
    message = loans.LoanExtended(loan_id=str(loan.loan_id), matures_on=wire.date_to_proto(until))

    await steps.take(consumer, loan._told("loan_extended", message))

    work = Casework(db, catalogue)
    seen = (await work.ask("GetCover", LENDER, loan_id=str(loan.loan_id))).cover
    assert wire.date_from_proto("until", seen.until) == until
    assert [c.loan_id for c in (await work.ask("ListCovers", CENTRE)).covers] == [seen.loan_id]


async def test_a_reopened_loan_is_covered_again_where_there_is_room(
    db: Database, servicer: FundsServicer, consumer: Consumer
) -> None:
    await steps.open_fund(servicer, balance_fen=500_000)
    first, second = Loan(1), Loan(2)
    await steps.take(consumer, first.asks(), first.disbursed(), first.settled())
    reopened = loans.LoanReopened(loan_id=str(first.loan_id), lender_id=BANK)

    await steps.take(consumer, first._told("loan_reopened", reopened))
    assert await steps.cover_state(db, first.loan_id) == "reserved"
    await steps.take(consumer, first.settled())
    await steps.take(consumer, second.asks())
    await steps.take(consumer, first._told("loan_reopened", reopened))

    assert await steps.cover_state(db, first.loan_id) == "refused"


async def test_loans_of_the_time_before_come_in_whatever_room_there_is(
    db: Database, servicer: FundsServicer
) -> None:
    catalogue = a_catalogue_with_products()
    hearing = Hearing(db, catalogue)
    await hearing.hear(opened(1))
    assert await steps.cover_state(db, loan_id(1)) == "refused"
    fund = await steps.open_fund(servicer, balance_fen=500_000)

    await hearing.hear(opened(2))
    await hearing.hear(opened(3, product_id="plain_loan"))
    async with db.transaction(EVERY_COUNTY) as session:
        await jobs.close_day(catalogue)(session, COUNTY, OPENED)

    assert await steps.cover_state(db, loan_id(1)) == "reserved"
    assert await steps.cover_state(db, loan_id(2)) == "reserved"
    now = await steps.get_fund(servicer, fund)
    assert (now.covered_fen, now.capacity_fen) == (10_000_000, 5_000_000)
    await hearing.hear(Loan(9).asks())
    assert await steps.cover_state(db, loan_id(9)) == "refused"
    assert (await steps.totals(db))["funds.book_difference_fen"] == 0


async def test_a_loan_whose_terms_nobody_has_any_more_comes_in_without_cover(
    db: Database, servicer: FundsServicer, catalogue: Catalogue
) -> None:
    await steps.open_fund(servicer, balance_fen=FUND_FEN)
    consumer = Consumer(db, "funds", handlers(a_catalogue_with_products()), batch_size_max=500)

    taken = await steps.take(
        consumer,
        opened(1, product_id="gone"),
        opened(2, programme="ended@1"),
        opened(3, programme="ended"),
        opened(4),
    )

    # None holds the others up: only the loan with a product of ours asked for cover.
    assert taken == 4
    async with db.transaction(EVERY_COUNTY) as session:
        rows = await fetch(session, "SELECT loan_id, state FROM cover")
    assert [tuple(row) for row in rows] == [(loan_id(4), "reserved")]


async def test_cover_expires_where_the_programme_says_so(
    db: Database, servicer: FundsServicer
) -> None:
    catalogue = a_strict_catalogue()
    consumer = Consumer(db, "funds", handlers(catalogue), batch_size_max=500)
    await steps.open_fund(servicer, balance_fen=FUND_FEN)
    unused, paid_out, new = Loan(1), Loan(2), Loan(3)
    await steps.take(consumer, unused.asks(), paid_out.asks(), paid_out.disbursed())
    later = OPENED + timedelta(days=21)
    async with db.transaction(EVERY_COUNTY) as session:
        await business_day.open_day(session, COUNTY, later)
    await steps.take(consumer, new.asks())

    async with db.transaction(EVERY_COUNTY) as session:
        await jobs.close_day(catalogue)(session, COUNTY, later)

    states = [await steps.cover_state(db, each.loan_id) for each in (unused, paid_out, new)]
    assert states == ["expired", "reserved", "reserved"]
    (row,) = await steps.said(db, "cover_released")
    assert events_pb2.CoverReleased.FromString(row["payload"]).reason == "expired"


async def test_only_a_trip_that_stops_lending_voids_cover(
    db: Database, servicer: FundsServicer, consumer: Consumer
) -> None:
    await steps.open_fund(servicer, balance_fen=FUND_FEN)
    loan, drawn = Loan(1), Loan(2)
    part = loans.LoanDrawn(
        loan_id=str(drawn.loan_id),
        lender_id=BANK,
        amount_fen=1,
        drawn_on=wire.date_to_proto(OPENED),
    )
    await steps.take(consumer, loan.asks(), drawn.asks(), drawn._told("loan_drawn", part))
    collecting = loans.BreakerTripped(
        scope="village", scope_id=VILLAGE, effects=["open_collection"]
    )
    aggregate = ("loans.breaker", f"village:{VILLAGE}")
    await steps.take(consumer, told("liandong.loans.v1.breaker_tripped", aggregate, 1, collecting))
    assert await steps.cover_state(db, loan.loan_id) == "reserved"

    await steps.take(consumer, breaker_tripped(VILLAGE, sequence=2))

    assert await steps.cover_state(db, loan.loan_id) == "voided"
    assert await steps.cover_state(db, drawn.loan_id) == "reserved"


# AH.mon.1, HN-RCU.mon.1
async def test_a_wide_scope_voids_what_is_in_it_and_nothing_else(
    db: Database, servicer: FundsServicer, consumer: Consumer
) -> None:
    await steps.open_fund(servicer, balance_fen=FUND_FEN)
    asked = {
        (BANK, "0012"): 1,
        (BANK, "0013"): 2,
        (BANK, ""): 3,
        (OTHER_BANK, "0012"): 4,
    }
    for (bank, outlet), number in asked.items():
        message = loans.CoverRequested(
            loan_id=str(loan_id(number)),
            household_id=str(new_id()),
            lender_id=bank,
            principal_fen=1_000,
            borrower_class="poor_household",
            area_code=VILLAGE,
            outlet_code=outlet,
        )
        aggregate = ("loans.loan", str(loan_id(number)))
        await steps.take(
            consumer,
            told("liandong.loans.v1.cover_requested", aggregate, 1, message),
        )

    async def trip(scope: str, scope_id: str) -> list[int]:
        message = loans.BreakerTripped(scope=scope, scope_id=scope_id, effects=["stop_disburse"])
        aggregate = ("loans.breaker", f"{scope}:{scope_id}")
        await steps.take(consumer, told("liandong.loans.v1.breaker_tripped", aggregate, 1, message))
        states = {n: await steps.cover_state(db, loan_id(n)) for n in asked.values()}
        return [number for number, state in states.items() if state == "voided"]

    assert await trip("outlet", f"{BANK}/0012") == [1]
    assert await trip("outlet", BANK) == [1, 3]
    assert await trip("product", "plain/another") == [1, 3]
    assert await trip("lender", BANK) == [1, 2, 3]
    assert await trip("programme", "plain") == [1, 2, 3, 4]


async def test_a_county_chooses_a_model_and_the_loan_s_insurer_pays_first(
    db: Database, servicer: FundsServicer
) -> None:
    catalogue = a_catalogue_with_products()
    work = Casework(db, catalogue)
    consumer = Consumer(db, "funds", handlers(catalogue), batch_size_max=500)
    await steps.open_fund(servicer, balance_fen=FUND_FEN)
    choice: dict[str, Any] = {
        "programme_id": "plain",
        "product_id": "farm_loan",
        "reason": "the county agreed with its insurer",
    }
    with pytest.raises(Invalid, match="MODEL_NOT_OF_PRODUCT"):
        await work.ask("ChooseSharingModel", TREASURER, sharing_model="pots_first", **choice)
    chosen = await work.ask(
        "ChooseSharingModel", TREASURER, sharing_model="insured_first", **choice
    )
    assert chosen.before == "four_party"
    await steps.take(consumer, opened(1))
    insured = claims.HouseholdInsured(
        insured_id=str(new_id()),
        loan_id=str(loan_id(1)),
        cover_id="loan_guarantee",
        cover_kind="loan_guarantee",
        insurer_id="ins-1",
        sum_insured_fen=2_000_000,
    )
    aggregate = ("claims.insured", str(new_id()))
    await steps.take(consumer, told("liandong.claims.v1.household_insured", aggregate, 1, insured))
    loan = Loan(1)
    loan._sequence = 2
    # Ninety-one days in the programme's words: non-performing, whatever the days say.
    await steps.take(consumer, loan.overdue(71, on=OPENED))

    done = await steps.decide(work.funds, await steps.file(work.funds, loan))

    assert [(part.party, part.institution_id, part.amount_fen) for part in done.parts] == [
        ("loan_guarantee", "ins-1", 2_000_000),
        ("county_fund", "fin-1", 1_500_000),
        ("bank", "rcb-1", 1_500_000),
    ]
    assert (await steps.totals(db))["funds.book_difference_fen"] == 0
