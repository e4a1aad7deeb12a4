"""Loans: the desk where postings are made: books, journal, exposure and events in one go."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import journal, outbox
from services.kernel.errors import Refused
from services.kernel.journal import Account, Entry, Transfer
from services.kernel.money import Fen
from services.kernel.outbox import OutgoingEvent
from services.kernel.values import light, replace
from services.loans import events_out, store
from services.loans.model import Loan, LoanState
from services.loans.operations.shared import said
from services.loans.rules import balance, book, position
from services.loans.rules.book import Line, Position, Posting, PostingKind, Replayed
from services.loans.rules.schedule import Plan
from services.loans.store import agreements
from services.programmes.settlement import Amounts, AppropriationOrder
from services.programmes.terms import Terms

_COUNTER_ACCOUNTS = {
    PostingKind.DISCOUNT: "interest_forgiven",
    PostingKind.WRITE_OFF: "written_off",
    PostingKind.OPENING: "opening_balance",
    PostingKind.CARRIED_OUT: "carried_principal",
    PostingKind.CARRIED_IN: "carried_principal",
}
"""What stands against a loan's accounts; cash for all other kinds."""

Side = tuple[str, str]
"""An account's name and owner; most are never moved, and so never made."""


@light
@dataclass(frozen=True, slots=True)
class _Step:
    """One posting, worked: the book before and after, and what moved by kind of posting."""

    held: Position
    after: Position
    line: Line
    moved: Mapping[PostingKind, tuple[int, int, int]]


@light
@dataclass(frozen=True, slots=True)
class Posted:
    """What one posting did."""

    before: Loan
    loan: Loan
    line: Line
    subrogated_fen: Fen
    """Of what it took, the part that belongs to those who compensated the lender (S21)."""

    def moved(self) -> tuple[int, int, int]:
        """By how much principal and interest are owed more now, and what goes back of the last."""
        principal = self.loan.outstanding_fen - self.before.outstanding_fen
        total = self.loan.owed_fen - self.before.owed_fen
        return principal, total - principal, -self.subrogated_fen

    def lowered(self) -> Amounts:
        """By how much less is owed because of it; the days up to it are not its doing."""
        held = self.before.interest
        if held is None or self.line.posting.value_date >= held.accrued_through:
            return self.line.taken
        principal, interest, _ = self.moved()
        return Amounts(interest_fen=Fen(-interest), principal_fen=Fen(-principal))


class Desk:
    """
    Posts to the books of locked loans, and writes all of it at the end.

    A posting that is not earlier than the book's last day is put on top; an earlier one replays
    the book, and the difference is journalled as a restatement. The loans are locked by the caller.
    """

    def __init__(
        self,
        county_code: str,
        loans: dict[UUID, Loan],
        today: date,
        terms_of: Callable[[str], Terms],
        *,
        person_id: str = "",
    ) -> None:
        self.loans = loans
        self.today = today
        self.events: list[OutgoingEvent] = []
        self._county_code = county_code
        self._terms_of = terms_of
        self._person_id = person_id
        self._at_first = dict(loans)
        self._told = {loan_id: loan.state for loan_id, loan in loans.items()}
        self._entries: list[Entry] = []
        self._rows: list[tuple[UUID, Posting, str]] = []
        self._books: dict[UUID, list[Posting]] = {}
        self._agreed: dict[UUID, Plan] = {}
        self._brought: dict[tuple[UUID, int], Fen] = {}

    async def load(self, session: AsyncSession, loan_ids: Collection[UUID]) -> None:
        """Read the books of loans that will be replayed or are paid back in instalments."""
        wanted = [each for each in loan_ids if each in self.loans and each not in self._books]
        if wanted:
            compensated = [each for each in wanted if self.loans[each].compensated]
            if compensated:
                self._brought.update(
                    await store.subrogated_by(session, self._county_code, compensated)
                )
            self._books.update(await store.postings_of(session, self._county_code, wanted))
            # What was put on top before the book was asked for is written at the end only.
            for loan_id, posting, _ in self._rows:
                if loan_id in wanted:
                    self._books[loan_id].append(posting)
            self._agreed.update(await agreements.plans_of(session, self._county_code, wanted))

    async def load_for(self, session: AsyncSession, postings: Sequence[tuple[UUID, date]]) -> None:
        """Read the books that postings of these value dates will need."""
        await self.load(
            session,
            {
                loan_id
                for loan_id, value_date in postings
                if loan_id in self.loans and self._needs_book(self.loans[loan_id], value_date)
            },
        )

    @staticmethod
    def _needs_book(loan: Loan, value_date: date) -> bool:
        if loan.interest is None:
            return False
        if loan.method != "bullet" or loan.state is LoanState.WRITTEN_OFF:
            return True
        return value_date < loan.interest.accrued_through

    def book_of(self, loan_id: UUID) -> Sequence[Posting]:
        """The postings of a loan whose book was loaded."""
        return self._books[loan_id]

    def lines_of(self, loan_id: UUID, *more: Posting) -> Sequence[Line]:
        """What became of each posting of a loan whose book was loaded, or would with more."""
        loan = self.loans[loan_id]
        assert loan.interest is not None
        terms = position.book_terms(loan, self._terms_of(loan.programme))
        postings = [*self._books[loan_id], *more]
        return book.replay(terms, postings, loan.interest.accrued_through).lines

    def order_of(self, loan_id: UUID) -> AppropriationOrder:
        """In which order money is put toward a loan."""
        loan = self.loans[loan_id]
        return position.book_terms(loan, self._terms_of(loan.programme)).order

    def not_before(self, loan_id: UUID, value_date: date) -> date:
        """A day, or that on which the loan's book begins where that is later."""
        return max([value_date, *(each.value_date for each in self._books.get(loan_id, [])[:1])])

    def check_begun(self, loan_id: UUID, value_date: date) -> None:
        """Refuse a day before the loan's book begins, as a loan that was taken over has one."""
        postings = self._books.get(loan_id)
        if postings and value_date < postings[0].value_date:
            raise Refused(
                "VALUE_DATE_OUT_OF_RANGE",
                f"{value_date} is before {postings[0].value_date}, when the loan was taken over",
                message_zh="起息日超出范围",
                facts={"earliest": str(postings[0].value_date)},
            )

    def post(
        self, loan_id: UUID, posting: Posting, *, subrogated_back_fen: Fen | None = None
    ) -> Posted:
        """
        Make one posting; its number is given here.

        `subrogated_back_fen` is what an undone payout had brought those who compensated the lender.
        """
        before = self.loans[loan_id]
        if posting.reverses is not None and subrogated_back_fen is None:
            subrogated_back_fen = self._brought.get((loan_id, posting.reverses))
        posting = replace(posting, number=before.postings + 1)
        if before.interest is not None and (
            posting.reverses is not None or posting.value_date < before.interest.accrued_through
        ):
            posted = self._restate(before, posting, subrogated_back_fen)
        else:
            posted = self._put_on_top(before, posting, subrogated_back_fen)
        self._rows.append((loan_id, posting, self._person_id))
        if loan_id in self._books:
            self._books[loan_id].append(posting)
        self.loans[loan_id] = posted.loan
        return posted

    def _put_on_top(self, before: Loan, posting: Posting, back: Fen | None) -> Posted:
        terms = position.book_terms(before, self._terms_of(before.programme))
        held = (
            position.position_of(before)
            if before.interest is not None
            else Position(
                posting.value_date,
                0,
                subsidised=before.subsidised,
                subsidy_rate_ppm=before.subsidy_rate_ppm,
            )
        )
        accrued = book.accrue(held, posting.value_date, terms.day_basis)
        after, line = book.apply(accrued, posting, terms.order)
        moved = position.cash_moved(Replayed(held, ()), Replayed(after, (line,)))
        return self._done(before, posting, _Step(held, after, line, moved), back)

    def _restate(self, before: Loan, posting: Posting, back: Fen | None) -> Posted:
        terms = position.book_terms(before, self._terms_of(before.programme))
        assert before.interest is not None
        through = max(before.interest.accrued_through, posting.value_date)
        old = self._books[before.loan_id]
        first = book.replay(terms, old, through)
        again = book.replay(terms, [*old, posting], through)
        number = posting.reverses or posting.number
        lines = first.lines if posting.reverses else again.lines
        line = next(each for each in lines if each.posting.number == number)
        moved = position.cash_moved(first, again)
        held = position.position_of(before)
        assert first.position == book.accrue(held, through, terms.day_basis), "a book is its loan"
        return self._done(before, posting, _Step(held, again.position, line, moved), back)

    def _done(self, before: Loan, posting: Posting, step: "_Step", back: Fen | None) -> Posted:
        loan = position.with_position(before, step.after)
        taken = sum(
            interest + principal
            for kind, (interest, principal, _) in step.moved.items()
            if kind in book.MONEY_IN or kind in (PostingKind.PAYOUT_UNDONE, PostingKind.RECOVERY)
        )
        subrogated = balance.subrogated_part(before, taken) if taken > 0 else Fen(0)
        if back is not None:
            subrogated = Fen(-back)
        loan = replace(
            loan,
            subrogated_fen=Fen(before.subrogated_fen - subrogated),
            postings=posting.number,
        )
        if posting.kind is PostingKind.SUBSIDY_STOP:
            loan = replace(loan, subsidy_ended_on=posting.value_date)
        self._journal(loan, posting, step, subrogated)
        return Posted(before, loan, step.line, subrogated)

    def _journal(self, loan: Loan, posting: Posting, step: "_Step", subrogated: Fen) -> None:
        held, after = step.held, step.after
        loan_id, lender_id = str(loan.loan_id), loan.lender_id
        own_interest, own_principal = ("loan_interest", loan_id), ("loan_principal", loan_id)
        income, treasury = ("interest_income", lender_id), ("treasury_receivable", loan.county_code)
        household_fen = after.household_posted_fen - held.household_posted_fen
        transfers = [
            *between(own_interest, income, household_fen),
            *between(treasury, income, after.treasury_posted_fen - held.treasury_posted_fen),
        ]
        for kind, (interest, principal, held_back) in step.moved.items():
            counter = (_COUNTER_ACCOUNTS.get(kind, "lender_cash"), lender_id)
            recovered = ("written_off", lender_id)
            back = kind is PostingKind.RECOVERY
            transfers += [
                *between(counter, recovered if back else own_interest, interest),
                *between(counter, recovered if back else own_principal, principal),
                *between(counter, ("suspense", loan_id), held_back),
            ]
        debt, payable = ("subrogated_debt", loan_id), ("recovery_payable", loan_id)
        transfers += between(debt, payable, subrogated)
        what = f"{posting.kind}_reversed" if posting.reverses else str(posting.kind)
        cause = f"{loan_id}:{posting.number}"
        self._entries.append(
            Entry(
                loan.county_code,
                what,
                cause,
                posting.value_date,
                self.today,
                tuple(transfers),
            )
        )

    def give_back(self, loan_id: UUID, held_fen: Fen, value_date: date) -> None:
        """What a posting made others have compensated too much is their lender's to give back."""
        loan = self.loans[loan_id]
        more = Fen(balance.excess_fen(loan) - held_fen)
        if more <= 0:
            return
        self.loans[loan_id] = balance.without_excess(loan, more)
        now = self.say(
            loan_id, lambda it: events_out.compensation_exceeded(it, more, value_date, self.today)
        )
        self._entries.append(excess_entry(now, more, value_date, self.today))

    def agree(self, loan_id: UUID, plan: Plan) -> Loan:
        """Let another agreement decide what falls due from now on; its book was loaded."""
        self._agreed[loan_id] = plan
        self.loans[loan_id] = replace(
            self.loans[loan_id],
            method=str(plan.method),
            matures_on=plan.matures_on,
            next_due_on=plan.matures_on,
        )
        return self.settle_up(loan_id, self.today)

    def agreed_of(self, loan_id: UUID) -> Plan | None:
        """The agreement in force of a loan whose book was loaded; None: as it was approved."""
        return self._agreed.get(loan_id)

    def say(self, loan_id: UUID, event: Callable[[Loan], OutgoingEvent]) -> Loan:
        """Record one event of a loan, in its sequence."""
        loan = self.loans[loan_id] = said(self.loans[loan_id])
        self.events.append(event(loan))
        return loan

    def settle_up(self, loan_id: UUID, value_date: date) -> Loan:
        """After the money: what is due next, and whether the loan is settled, cured or open."""
        loan = self.loans[loan_id]
        was = self._told[loan_id]
        self._told[loan_id] = loan.state
        if loan.state is LoanState.WRITTEN_OFF:
            return loan
        if loan.state is LoanState.SETTLED:
            loan = self.loans[loan_id] = replace(loan, next_due_on=None)
            if was is not LoanState.SETTLED:
                return self.say(
                    loan_id, lambda it: events_out.loan_settled(it, value_date, self.today)
                )
            return loan
        due = loan.matures_on
        if loan.owed_fen == 0:
            # A limit that nothing is drawn on, or batches that are still to come.
            due = None
        elif loan.method != "bullet":
            terms = position.book_terms(loan, self._terms_of(loan.programme))
            due = position.next_due(
                loan, terms, self._books[loan_id], self.today, self._agreed.get(loan_id)
            )
        cured = loan.overdue_days > 0 and (due is None or due >= self.today)
        if cured or due != loan.next_due_on:
            loan = self.loans[loan_id] = replace(
                loan, next_due_on=due, overdue_days=0 if cured else loan.overdue_days
            )
        if was is LoanState.SETTLED:
            return self._reopen(loan_id)
        if cured:
            return self.say(loan_id, lambda it: events_out.loan_cured(it, self.today))
        return loan

    def _reopen(self, loan_id: UUID) -> Loan:
        """Something is owed again; cover went back when the loan was settled: it is asked anew."""
        loan = self.say(loan_id, lambda it: events_out.loan_reopened(it, self.today))
        if not loan.covered or loan.compensated:
            return loan
        self.loans[loan_id] = replace(loan, covered=False)
        return self.say(loan_id, lambda it: events_out.cover_requested(it, self.today))

    async def write(self, session: AsyncSession) -> None:
        """Write all that changed: loans, books, exposure, journal, events."""
        changed = [loan for loan_id, loan in self.loans.items() if loan != self._at_first[loan_id]]
        await store.save_loans(session, changed, self._at_first)
        await store.add_postings(session, self._county_code, self._rows, self.today)
        await store.add_exposure(
            session,
            self._county_code,
            [
                (loan.household_id, _exposure(loan) - _exposure(self._at_first[loan.loan_id]))
                for loan in changed
            ],
        )
        await journal.post(session, self._entries)
        await outbox.record(session, self.events)


def _exposure(loan: Loan) -> int:
    """What a loan takes of its household's limit."""
    if loan.state in (LoanState.REFUSED, LoanState.SETTLED):
        return 0
    if loan.disbursed_on is None:
        return loan.principal_fen
    return loan.outstanding_fen + loan.undrawn_fen


def between(debit: Side, credit: Side, amount: int) -> Sequence[Transfer]:
    """A transfer between two accounts, the other way when it is negative; none of nothing."""
    if not amount:
        return ()
    if amount < 0:
        return (Transfer(Account(*credit), Account(*debit), Fen(-amount)),)
    return (Transfer(Account(*debit), Account(*credit), Fen(amount)),)


def excess_entry(loan: Loan, excess_fen: Fen, value_date: date, today: date) -> Entry:
    """What others compensated too much: of the loan no more, and payable to them."""
    loan_id = str(loan.loan_id)
    transfers = between(("subrogated_debt", loan_id), ("recovery_payable", loan_id), excess_fen)
    cause = f"{loan_id}:{loan.version}"
    return Entry(
        loan.county_code, "compensation_excess", cause, value_date, today, tuple(transfers)
    )
