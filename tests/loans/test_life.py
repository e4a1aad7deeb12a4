"""
The whole life of a loan, at random, against a plain model: on the rules, and through the service.

The long form (`make loans-long`) does a hundred thousand steps on the rules and more through the
service; the short one is for every day.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from liandong.loans.v1 import loans_pb2

from services.kernel import business_day
from services.kernel.bus import Consumer
from services.kernel.database import Database
from services.kernel.errors import Refused
from services.kernel.ids import new_id
from services.kernel.money import Fen
from services.kernel.walls import EVERY_COUNTY
from services.loans import store
from services.loans.events_in import handlers
from services.loans.model import LoanState, Payout
from services.loans.operations.desk import Desk
from services.loans.operations.money import accrued_entries
from services.loans.rules import balance, book, position, schedule
from services.loans.rules.book import Posting, PostingKind
from services.loans.servicer import LoansServicer
from services.programmes import settlement
from services.programmes.loader import Catalogue
from services.programmes.settlement import Amounts
from services.programmes.terms import Terms
from tests.loans import steps
from tests.loans.builders import a_loan
from tests.loans.county import (
    COUNTY,
    LENDER,
    ORDINARY,
    PACK,
    REF,
    House,
    a_catalogue,
    authorised,
    calling,
    day,
)
from tests.loans.ledger import Ledger, Sums

T = TypeVar("T")

LONG_VARIABLE = "LIANDONG_LOANS_LONG"
LONG = bool(os.environ.get(LONG_VARIABLE))
LONG_STEPS = 100_000

OPENED = date(2020, 2, 29)
"""A leap day, from which months end where they must."""

amounts = st.one_of(st.integers(1, 5_000), st.integers(1, 1_200_000), st.just(10_000_000))
few_days = st.one_of(st.integers(1, 40), st.just(366))


@cache
def terms_of(day_basis: int, order: str) -> Terms:
    pack = PACK.replace("  day_basis: 360", f"  day_basis: {day_basis}").replace(
        "  area_of_use:", f"  appropriation_order: {order}\n  area_of_use:"
    )
    return a_catalogue(pack).terms(COUNTY, REF)


def settings_of(examples: int, steps_each: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps_each,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@dataclass(frozen=True)
class Contract:
    """What a loan of the machine was agreed under."""

    principal: int
    rate: int
    months: int
    method: schedule.Method
    day_basis: int
    order: str
    subsidised: bool


contracts = st.builds(
    Contract,
    principal=st.integers(1, 5_000_000),
    rate=st.integers(0, 240_000),
    months=st.integers(1, 24),
    method=st.sampled_from(list(schedule.Method)),
    day_basis=st.sampled_from([360, 365]),
    order=st.sampled_from(["interest_first", "principal_first"]),
    subsidised=st.booleans(),
)


# --- on the rules ---------------------------------------------------------------------------------


class Life(RuleBasedStateMachine):
    """One loan at the desk where all its money passes, with its journal, beside the model."""

    done: ClassVar[Counter[str]] = Counter()

    @initialize(agreed=contracts)
    def is_paid_out(self, agreed: Contract) -> None:
        order, method = agreed.order, agreed.method
        self.terms = terms_of(agreed.day_basis, order)
        self.today = OPENED
        self.postings: list[Posting] = []
        self.journal: Counter[str] = Counter()
        self.model = Ledger(agreed.day_basis, order == "principal_first", agreed.subsidised)
        self.loan = replace(
            a_loan(),
            state=LoanState.ACTIVE,
            principal_fen=Fen(agreed.principal),
            term_months=agreed.months,
            rate_ppm=agreed.rate,
            subsidised=agreed.subsidised,
            method=str(method),
            disbursed_on=OPENED,
            matures_on=schedule.due_days(OPENED, agreed.months, method)[-1],
            next_due_on=schedule.due_days(OPENED, agreed.months, method)[0],
        )
        paid = Amounts(principal_fen=Fen(agreed.principal))
        self.post(Posting(0, PostingKind.DISBURSEMENT, OPENED, fixed=paid, rate_ppm=agreed.rate))
        self.model.add("disbursement", OPENED, fen=agreed.principal, rate_ppm=agreed.rate)

    def post(self, posting: Posting) -> None:
        """As the operations do: one posting, what is due, and what the desk would have written."""
        loan_id = self.loan.loan_id
        desk = Desk(COUNTY, {loan_id: self.loan}, self.today, lambda _: self.terms)
        desk._books[loan_id] = list(self.postings)
        if posting.reverses:
            balance.check_undoing(desk.lines_of(loan_id), desk.lines_of(loan_id, posting))
        desk.post(loan_id, posting)
        desk.settle_up(loan_id, posting.value_date)
        self.loan, self.postings = desk.loans[loan_id], list(desk.book_of(loan_id))
        for entry in desk._entries:
            self.enter(entry.transfers)
        self.done[str(posting.kind)] += 1

    def enter(self, transfers: Any) -> None:
        for transfer in transfers:
            assert transfer.amount_fen >= 0
            self.journal[transfer.debit.name] += transfer.amount_fen
            self.journal[transfer.credit.name] -= transfer.amount_fen

    def back(self, days: int) -> date:
        return max(OPENED, self.today - timedelta(days=days))

    @rule(days=few_days)
    def days_pass(self, days: int) -> None:
        self.today += timedelta(days=days)

    @precondition(lambda self: self.loan.state is LoanState.ACTIVE)
    @rule()
    def is_accrued_at_a_day_close(self) -> None:
        before = self.loan
        self.loan = balance.accrue(before, self.today, self.terms.loans.day_basis)
        for entry in accrued_entries(before, self.loan, self.today):
            self.enter(entry.transfers)

    @rule(fen=amounts, days=st.one_of(st.just(0), st.integers(0, 500)))
    def repays(self, fen: int, days: int) -> None:
        on = self.back(days)
        self.post(Posting(0, PostingKind.REPAYMENT, on, Fen(fen)))
        self.model.add("repayment", on, fen=fen)

    @rule()
    def repays_all(self) -> None:
        owed = self.model.on(self.today)
        if fen := owed.outstanding + owed.owed:
            self.repays(fen, 0)
            assert self.loan.state is LoanState.SETTLED

    @precondition(lambda self: self.model.alive("repayment"))
    @rule(data=st.data())
    def repayment_is_undone(self, data: st.DataObject) -> None:
        fact = data.draw(st.sampled_from(self.model.alive("repayment")))
        wrong = balance.repayment_to_undo(self.postings, fact.number)
        undo = Posting(0, wrong.kind, wrong.value_date, wrong.amount_fen, reverses=wrong.number)
        given = self.model.on(self.today).given_of_debt
        self.model.undo(fact.number)
        try:
            self.post(undo)
        except Refused:
            # Given back already: to undo it would make a refund owed again.
            assert self.model.on(self.today).given_of_debt > given
            place = self.model.facts.index(replace(fact, undone=True))
            self.model.facts[place] = fact

    @precondition(lambda self: self.loan.suspense_fen > 0)
    @rule(data=st.data())
    def is_given_back(self, data: st.DataObject) -> None:
        fen = data.draw(st.integers(1, self.loan.suspense_fen))
        balance.check_refund(self.loan, Fen(fen))
        self.post(Posting(0, PostingKind.REFUND, self.today, Fen(fen)))
        self.model.add("refund", self.today, fen=fen)

    @rule(fen=amounts)
    def insurer_pays(self, fen: int) -> None:
        loan = self.loan
        if loan.state is LoanState.ACTIVE:
            loan = balance.accrue(loan, self.today, self.terms.loans.day_basis)
        payout = Payout(new_id(), loan.household_id, Fen(fen), self.today, ((loan.loan_id,),))
        order = settlement.appropriation(self.terms.loans.appropriation_order)
        allocation, _ = balance.allocate(payout, {loan.loan_id: loan}, order)
        for part in allocation.parts:
            self.post(Posting(0, PostingKind.PAYOUT, self.today, part.amount_fen))
            self.model.add("payout", self.today, fen=part.amount_fen)
        assert allocation.household_fen + sum(p.amount_fen for p in allocation.parts) == fen

    @precondition(lambda self: self.model.alive("payout"))
    @rule()
    def payout_is_undone(self) -> None:
        fact = self.model.alive("payout")[-1]
        interest, principal = self.model.on(self.today).paid[fact.number]
        fixed = Amounts(interest_fen=Fen(interest), principal_fen=Fen(principal))
        self.post(Posting(0, PostingKind.PAYOUT_UNDONE, self.today, fixed=fixed))
        self.model.add("payout_undone", self.today, fen=principal, interest=interest)

    @rule(interest=st.integers(0, 50_000))
    def interest_is_forgiven(self, interest: int) -> None:
        fixed = Amounts(interest_fen=Fen(interest))
        self.post(Posting(0, PostingKind.DISCOUNT, self.today, fixed=fixed))
        self.model.add("discount", self.today, interest=interest)

    @rule(rate=st.integers(1, 240_000))
    def rate_changes(self, rate: int) -> None:
        self.post(Posting(0, PostingKind.RATE, self.today, rate_ppm=rate))
        self.model.add("rate", self.today, rate_ppm=rate)

    @precondition(lambda self: self.loan.subsidised and self.loan.non_performing_on is None)
    @rule()
    def turns_bad(self) -> None:
        self.post(Posting(0, PostingKind.SUBSIDY_STOP, self.today))
        self.model.add("subsidy_stop", self.today)
        self.loan = replace(self.loan, non_performing_on=self.today)

    @precondition(lambda self: self.today - OPENED > timedelta(400))
    @rule()
    def is_written_off(self) -> None:
        owed = self.model.on(self.today)
        fixed = Amounts(interest_fen=Fen(owed.owed), principal_fen=Fen(owed.outstanding))
        self.post(Posting(0, PostingKind.WRITE_OFF, self.today, fixed=fixed))
        self.model.add("write_off", self.today, fen=owed.outstanding, interest=owed.owed)
        assert self.loan.owed_fen == 0

    def stored(self) -> book.Position:
        return position.position_of(self.loan)

    @invariant()
    def nothing_is_negative(self) -> None:
        self.done["steps"] += 1
        held = self.stored()
        assert min(held.outstanding_fen, held.owed_fen, held.suspense_fen) >= 0
        assert self.loan.subrogated_fen >= 0

    @invariant()
    def the_loan_is_its_book_replayed(self) -> None:
        terms = position.book_terms(self.loan, self.terms)
        through = self.stored().accrued_through
        assert book.replay(terms, self.postings, through).position == self.stored()

    @invariant()
    def the_loan_is_the_model(self) -> None:
        held = self.stored()
        sums = self.model.on(held.accrued_through)
        assert (held.outstanding_fen, held.owed_fen) == (sums.outstanding, sums.owed)
        assert held.suspense_fen == sums.suspense
        assert (held.household_posted_fen, held.treasury_posted_fen) == (
            sums.charged,
            sums.treasury,
        )

    @invariant()
    def money_is_conserved(self) -> None:
        sums = self.model.on(self.stored().accrued_through)
        assert sums.balanced
        assert sum(self.journal.values()) == 0
        assert self.journal["loan_principal"] == self.loan.outstanding_fen
        assert self.journal["loan_interest"] == self.stored().owed_fen
        assert self.journal["suspense"] == -self.loan.suspense_fen
        disbursed = sum(fact.fen for fact in self.model.alive("disbursement"))
        undone = self.model.alive("payout_undone")
        paid_back = sum(fact.fen + fact.interest for fact in undone) + sums.given_back
        assert self.journal["lender_cash"] == sums.came_in - disbursed - paid_back
        assert self.journal["interest_income"] == -(sums.charged + sums.treasury)

    @invariant()
    def what_is_due_is_agreed(self) -> None:
        if self.loan.state is LoanState.SETTLED:
            assert self.loan.owed_fen == 0
            assert self.loan.next_due_on is None
            return
        due = self.loan.next_due_on
        agreed = [each.due_on for each in position.instalments(self.loan)]
        assert due in agreed


def test_a_loan_lives_as_its_model_does() -> None:
    Life.done.clear()
    examples, each = (LONG_STEPS // 40, 50) if LONG else (40, 30)

    run_state_machine_as_test(Life, settings=settings_of(examples, each))

    assert Life.done["steps"] >= (LONG_STEPS if LONG else 100), Life.done
    kinds = {"disbursement", "repayment", "refund", "payout", "discount", "rate", "write_off"}
    assert kinds <= set(Life.done), "some kind of posting never happened"


# --- through the service --------------------------------------------------------------------------


class Served(RuleBasedStateMachine):
    """
    A loan of the running service on a real database, beside the model.

    The rules of a machine are not coroutines: it runs in a thread of its own, and hands each call
    to the loop of the test.
    """

    loop: ClassVar[asyncio.AbstractEventLoop]
    db: ClassVar[Database]
    catalogue: ClassVar[Catalogue]
    done: ClassVar[Counter[str]] = Counter()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        self.done["calls"] += 1
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    async def _paid_out(self, yuan: int, months: int) -> loans_pb2.Loan:
        async with self.db.transaction(EVERY_COUNTY) as session:
            self.today = await business_day.today(session, COUNTY)
        self.servicer = LoansServicer(self.db, self.catalogue)
        self.consumer = Consumer(self.db, "loans", handlers(self.catalogue), batch_size_max=500)
        # A township of its own: a loan of an earlier life may have stopped lending in another.
        self.done["lives"] += 1
        area = f"{COUNTY}{self.done['lives']:03d}001"
        self.house = House(limit_fen=yuan * 100, area_code=area)
        until = self.today + timedelta(days=366)
        told = [self.house.registered(), self.house.granted(until=until)]
        await steps.take(self.consumer, *told)
        wanted = {"principal_fen": yuan * 100, "term_months": months, "product_id": ORDINARY}
        approved = await steps.approved(self.servicer, self.house, **wanted)
        return await steps.disburse(self.servicer, approved.loan_id)

    @initialize(yuan=st.integers(1, 50_000), months=st.integers(1, 12))
    def is_paid_out(self, yuan: int, months: int) -> None:
        loan = self.run(self._paid_out(yuan, months))
        self.loan_id, self.opened = loan.loan_id, self.today
        self.model = Ledger(360, principal_first=False, subsidised=False)
        self.model.add("disbursement", self.today, fen=yuan * 100, rate_ppm=loan.rate_ppm)

    @rule(days=st.integers(1, 45))
    def days_pass(self, days: int) -> None:
        self.today = self.run(steps.advance(self.db, self.catalogue, days))

    @rule(fen=amounts, days=st.one_of(st.just(0), st.integers(0, 120)))
    def repays(self, fen: int, days: int) -> None:
        on = max(self.opened, self.today - timedelta(days=days))
        self.run(steps.repay(self.servicer, self.loan_id, fen, on=on))
        self.model.add("repayment", on, fen=fen)

    @precondition(lambda self: self.model.alive("repayment"))
    @rule(data=st.data())
    def repayment_is_undone(self, data: st.DataObject) -> None:
        fact = data.draw(st.sampled_from(self.model.alive("repayment")))
        request = loans_pb2.ReverseRepaymentRequest(
            request_id=steps.an_id(),
            county_code=COUNTY,
            loan_id=self.loan_id,
            number=fact.number,
            reason="错账",
        )
        given = self.model.on(self.today).given_of_debt
        self.model.undo(fact.number)
        if self.model.on(self.today).given_of_debt <= given:
            self.run(self.servicer.ReverseRepayment(request, calling(LENDER, request)))
            return
        place = self.model.facts.index(replace(fact, undone=True))
        self.model.facts[place] = fact
        with pytest.raises(Refused, match="REFUNDED_ALREADY"):
            self.run(self.servicer.ReverseRepayment(request, calling(LENDER, request)))

    @precondition(lambda self: self.model.on(self.today).suspense > 0)
    @rule()
    def is_given_back(self) -> None:
        fen = self.model.on(self.today).suspense
        request = loans_pb2.RefundOverpaymentRequest(
            request_id=steps.an_id(),
            county_code=COUNTY,
            loan_id=self.loan_id,
            amount_fen=fen,
            value_date=day(self.today),
        )
        self.run(self.servicer.RefundOverpayment(request, calling(LENDER, request)))
        self.model.add("refund", self.today, fen=fen)

    @rule(fen=amounts)
    def insurer_pays(self, fen: int) -> None:
        owed = self.model.on(self.today)
        payout = authorised(
            self.house.household_id, fen, [self.loan_id], value_date=self.today, on=self.today
        )
        self.run(steps.take(self.consumer, payout))
        if taken := min(fen, owed.outstanding + owed.owed):
            self.model.add("payout", self.today, fen=taken)

    @invariant()
    def the_loan_is_the_model_and_its_book(self) -> None:
        self.run(self._check())

    async def _check(self) -> None:
        request = loans_pb2.GetPayoffQuoteRequest(
            county_code=COUNTY, loan_id=self.loan_id, value_date=day(self.today)
        )
        quote = await self.servicer.GetPayoffQuote(request, calling(LENDER, request))
        sums: Sums = self.model.on(self.today)
        assert (quote.principal_fen, quote.interest_fen) == (sums.outstanding, sums.owed)
        assert sums.balanced
        async with self.db.transaction(EVERY_COUNTY) as session:
            loan = await store.find_loan(session, COUNTY, UUID(self.loan_id))
            books = await store.postings_of(session, COUNTY, [UUID(self.loan_id)])
        assert loan is not None
        assert loan.suspense_fen == sums.suspense
        stored = position.position_of(loan)
        terms = position.book_terms(loan, self.catalogue.terms(COUNTY, REF))
        replayed = book.replay(terms, books[loan.loan_id], stored.accrued_through)
        assert replayed.position == stored
        assert await steps.exposure(self.db, self.house) == loan.outstanding_fen
        await steps.books_are_whole(self.db)

    def teardown(self) -> None:
        # What is still owed would be aged with the lives after this one.
        sums = self.model.on(self.today) if hasattr(self, "model") else Sums()
        if fen := sums.outstanding + sums.owed:
            self.run(steps.repay(self.servicer, self.loan_id, fen, on=self.today))


@pytest.mark.postgres
async def test_a_served_loan_lives_as_its_model_does(db: Database, catalogue: Catalogue) -> None:
    Served.loop, Served.db, Served.catalogue = asyncio.get_running_loop(), db, catalogue
    Served.done.clear()
    examples, each = (150, 30) if LONG else (6, 12)

    await asyncio.to_thread(run_state_machine_as_test, Served, settings=settings_of(examples, each))

    assert Served.done["calls"] > 50
