"""Loans: lenders whose core system is the book: its entries taken, checked, differences kept."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import business_day
from services.kernel.errors import Conflict, Denied, LiandongError, Refused
from services.loans import events_out, store
from services.loans.model import Breaker, File, Loan, Repayment
from services.loans.operations import standing
from services.loans.operations.desk import Desk
from services.loans.operations.money import post_repayment, undo_repayment
from services.loans.operations.shared import (
    Outcome,
    breakers_of,
    found,
    share_breakers_of,
    terms_by_ref,
)
from services.loans.rules import balance, clock, keeping, lending, position
from services.loans.rules.book import BookTerms, Posting, PostingKind
from services.loans.rules.keeping import CoreEntry, CoreKind, Difference, Keeper, LenderBook
from services.loans.rules.lending import Actor
from services.loans.rules.scopes import scopes_of_loan
from services.loans.store import applications as files_store
from services.loans.store import keeping as books
from services.programmes.loader import Catalogue
from services.programmes.settlement import Amounts


async def set_lender_book(
    session: AsyncSession,
    county_code: str,
    *,
    lender_id: str,
    keeper: Keeper,
    from_day: date,
    person_id: str,
) -> None:
    """Decide who keeps a lender's book from a day on."""
    today = await business_day.today(session, county_code)
    keeping.check_from(from_day, today)
    decided = LenderBook(lender_id, keeper, from_day, today, person_id)
    await books.decide_book(session, county_code, decided)


@dataclass(slots=True)
class _Bench:
    """What all entries of one call are worked with."""

    desk: Desk
    catalogue: Catalogue
    county_code: str
    actor: Actor
    closed: date | None
    breakers: dict[tuple[str, str], Breaker]
    charged: dict[UUID, list[tuple[date, int]]]
    known: dict[str, tuple[CoreEntry, int | None]]
    barred: dict[UUID, LiandongError]
    files: dict[UUID, File]
    now: datetime
    done: list[File] = field(default_factory=list)
    rows: list[tuple[CoreEntry, int | None]] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)

    def terms_of(self, loan: Loan) -> BookTerms:
        return position.book_terms(loan, self.catalogue.terms(self.county_code, loan.programme))

    def take(self, entry: CoreEntry) -> Loan:
        """Take one entry in: what it does to our book, and every difference it shows."""
        loan = found(self.desk.loans, entry.loan_id)
        lending.require_lender(loan, self.actor)
        before = self.known.get(entry.reference)
        if before is not None:
            if before[0] != entry:
                raise Conflict(
                    "REFERENCE_REUSED",
                    f"{entry.reference} came before with another content",
                    message_zh="该流水号已用于另一笔",
                )
            return loan
        try:
            posting, differences = _TAKE[entry.kind](self, entry, loan)
            differences += keeping.of_outstanding(entry, self.desk.loans[entry.loan_id])
        except (Refused, Denied) as error:
            posting = None
            differences = [keeping.not_allowed(entry, loan.lender_id, error.reason)]
        self.known[entry.reference] = (entry, posting)
        self.rows.append((entry, posting))
        self.differences += differences
        if differences:
            self.desk.say(
                entry.loan_id,
                lambda now: events_out.book_difference_found(
                    now, entry.reference, len(differences), self.desk.today
                ),
            )
        return self.desk.loans[entry.loan_id]

    def disbursement(self, entry: CoreEntry, loan: Loan) -> tuple[int | None, list[Difference]]:
        keeping.check_money(entry)
        if loan.loan_id in self.barred:
            raise self.barred[loan.loan_id]
        balance.check_value_date(
            loan.applied_on,
            entry.value_date,
            today=self.desk.today,
            closed_through=self.closed,
        )
        paid_out = lending.disburse(
            loan,
            actor=self.actor,
            terms=self.catalogue.terms(self.county_code, loan.programme),
            breakers=breakers_of(scopes_of_loan(loan), self.breakers),
            today=entry.value_date,
        )
        file = self.files.get(loan.loan_id)
        if file is not None:
            terms = self.catalogue.terms(self.county_code, loan.programme)
            self.done.append(
                clock.stop(paid_out, file, terms, today=entry.value_date, now=self.now)
            )
        self.desk.loans[loan.loan_id] = paid_out
        self.desk.post(
            loan.loan_id,
            Posting(
                0,
                PostingKind.DISBURSEMENT,
                entry.value_date,
                fixed=Amounts(principal_fen=loan.principal_fen),
                rate_ppm=loan.rate_ppm,
                reference=entry.reference,
            ),
        )
        now = self.desk.say(loan.loan_id, lambda it: events_out.loan_disbursed(it, self.desk.today))
        return now.postings, keeping.of_disbursement(entry, loan)

    def repayment(self, entry: CoreEntry, loan: Loan) -> tuple[int | None, list[Difference]]:
        keeping.check_money(entry)
        balance.check_money_in(
            loan, entry.value_date, today=self.desk.today, closed_through=self.closed
        )
        self.desk.check_begun(loan.loan_id, entry.value_date)
        received = Repayment(loan.loan_id, entry.amount_fen, entry.value_date, entry.reference)
        now, line = post_repayment(self.desk, received)
        return line.posting.number, keeping.of_repayment(entry, now, line)

    def reversal(self, entry: CoreEntry, loan: Loan) -> tuple[int | None, list[Difference]]:
        undone = self.known.get(entry.undoes)
        if undone is None or undone[1] is None or undone[0].loan_id != loan.loan_id:
            raise Refused(
                "ENTRY_UNKNOWN",
                f"no entry {entry.undoes} of this loan was posted here",
                message_zh="无此流水",
            )
        wrong = balance.repayment_to_undo(self.desk.book_of(loan.loan_id), undone[1])
        balance.check_money_in(
            loan, wrong.value_date, today=self.desk.today, closed_through=self.closed
        )
        return undo_repayment(self.desk, loan.loan_id, wrong, entry.reference), []

    def interest(self, entry: CoreEntry, loan: Loan) -> tuple[int | None, list[Difference]]:
        balance.check_money_in(loan, entry.value_date, today=self.desk.today, closed_through=None)
        earlier = self.charged[loan.loan_id]
        before = sum(fen for day, fen in earlier if day <= entry.value_date)
        ours = keeping.charged_fen(
            self.terms_of(loan), self.desk.book_of(loan.loan_id), entry.value_date
        )
        earlier.append((entry.value_date, entry.interest_fen))
        return None, keeping.of_interest(entry, loan, before, ours)

    def five_tier(self, entry: CoreEntry, loan: Loan) -> tuple[int | None, list[Difference]]:
        return None, keeping.of_class(entry, loan)


_TAKE = {
    CoreKind.DISBURSEMENT: _Bench.disbursement,
    CoreKind.REPAYMENT: _Bench.repayment,
    CoreKind.REVERSAL: _Bench.reversal,
    CoreKind.INTEREST: _Bench.interest,
    CoreKind.CLASS: _Bench.five_tier,
}


async def post_core_entries(
    session: AsyncSession,
    county_code: str,
    entries: Sequence[CoreEntry],
    actor: Actor,
    catalogue: Catalogue,
) -> tuple[list[Outcome], int]:
    """Take what a lender's core system booked, in its order; outcomes and how much differs."""
    today = await business_day.today(session, county_code)
    if await books.keeper(session, county_code, actor.institution_id, today) is Keeper.LIANDONG:
        raise Refused(
            "BOOK_KEPT_HERE",
            f"the book of {actor.institution_id} is kept by Liandong",
            message_zh="该机构账簿由联动平台记账",
        )
    await books.alone(session, county_code, actor.institution_id)
    wanted = {entry.loan_id for entry in entries}
    loans = await store.lock_loans(session, county_code, wanted)
    terms_of = terms_by_ref(catalogue, county_code)
    desk = Desk(county_code, loans, today, terms_of, person_id=actor.person_id)
    await desk.load(session, wanted)
    references = {each for entry in entries for each in (entry.reference, entry.undoes)}
    bench = _Bench(
        desk,
        catalogue,
        county_code,
        actor,
        await store.closed_through(session, county_code),
        await share_breakers_of(session, county_code, loans.values(), catalogue, today),
        await books.interest_entries(session, county_code, wanted),
        await books.core_entries(session, county_code, actor.institution_id, references),
        await standing.barred(session, county_code, loans, terms_of),
        await files_store.files_of(session, county_code, loans),
        await files_store.moment(session),
    )
    outcomes: list[Outcome] = []
    for entry in entries:
        try:
            outcomes.append(bench.take(entry))
        except LiandongError as error:
            outcomes.append(error)
    await desk.write(session)
    await files_store.save_files(session, county_code, bench.done)
    await books.save_core_entries(session, county_code, actor.institution_id, bench.rows, today)
    await books.save_differences(session, county_code, bench.differences, today)
    return outcomes, len(bench.differences)
