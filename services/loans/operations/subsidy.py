"""Loans: the interest subsidy: months, budgets, what lenders claim of the treasury."""

from collections.abc import Callable
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import business_day, ids, journal, outbox
from services.kernel.errors import NotFound
from services.kernel.journal import Account, Entry, Transfer
from services.kernel.money import Fen
from services.kernel.values import replace
from services.loans import events_out, store
from services.loans.model import Loan, SubsidyBudget, SubsidyClaim, SubsidyClaimLine
from services.loans.operations.desk import Desk
from services.loans.operations.money import accrued_entries
from services.loans.operations.shared import terms_by_ref
from services.loans.rules import balance
from services.loans.rules import claiming as claim_rules
from services.loans.rules import subsidy as rules
from services.loans.rules.changing import months_max
from services.loans.rules.lending import Actor
from services.loans.store import subsidy as subsidy_store
from services.programmes.loader import Catalogue
from services.programmes.terms import Terms

CHUNK_LOANS_MAX = 2_000


async def count_months(
    session: AsyncSession, county_code: str, day: date, catalogue: Catalogue
) -> None:
    """Set for new loans when their household's months of subsidy are used up (S29)."""
    terms_of = terms_by_ref(catalogue, county_code)
    while True:
        loans = await subsidy_store.lock_uncounted(session, county_code, CHUNK_LOANS_MAX)
        if not loans:
            return
        spells = await subsidy_store.subsidised_spells(
            session, county_code, {loan.household_id for loan in loans}
        )
        counted: list[Loan] = []
        for loan in loans:
            assert loan.disbursed_on is not None
            others = [
                (start, end)
                for loan_id, start, end in spells[loan.household_id]
                if loan_id != loan.loan_id
            ]
            most = months_max(terms_of(loan.programme).product(loan.product_id))
            counted.append(
                replace(loan, subsidy_ends_on=rules.ends_on(loan.disbursed_on, others, most))
            )
        await store.save_loans(session, counted)


async def stop_used_up(
    session: AsyncSession, county_code: str, day: date, catalogue: Catalogue
) -> None:
    """Stop the subsidy of loans whose household has used its months up."""
    terms_of = terms_by_ref(catalogue, county_code)
    while True:
        found = await subsidy_store.lock_ending(session, county_code, day, CHUNK_LOANS_MAX)
        if not found:
            return
        loans = {loan.loan_id: loan for loan in found}
        ends = {loan.loan_id: loan.subsidy_ends_on or day for loan in found}
        desk = Desk(county_code, loans, day, terms_of)
        await desk.load_for(session, list(ends.items()))
        for loan_id, on in ends.items():
            # The book of a loan that was taken over begins later than its first day.
            desk.post(loan_id, rules.stop(0, desk.not_before(loan_id, on)))
            desk.say(loan_id, lambda it: events_out.subsidy_stopped(it, "months_used", day))
        await desk.write(session)


async def set_budget(
    session: AsyncSession,
    county_code: str,
    programme_id: str,
    year: int,
    *,
    budget_fen: Fen,
    actor: Actor,
    catalogue: Catalogue,
) -> SubsidyBudget:
    """Set a year's budget, never below the programme's floor or what was claimed of it."""
    _, claimed, paid = await subsidy_store.budget(session, county_code, programme_id, year)
    today = await business_day.today(session, county_code)
    terms = catalogue.terms(county_code, catalogue.in_force(county_code, programme_id, today))
    floor = claim_rules.check_budget(terms.loans, budget_fen, paid_fen=Fen(paid))
    await subsidy_store.save_budget(
        session,
        county_code,
        programme_id,
        year,
        budget_fen=budget_fen,
        person_id=actor.person_id,
    )
    return SubsidyBudget(programme_id, year, budget_fen, floor, Fen(claimed), Fen(paid))


async def get_budget(
    session: AsyncSession, county_code: str, programme_id: str, year: int, catalogue: Catalogue
) -> SubsidyBudget:
    """A year's budget and what is left of it."""
    budget, claimed, paid = await subsidy_store.budget(session, county_code, programme_id, year)
    today = await business_day.today(session, county_code)
    terms = catalogue.terms(county_code, catalogue.in_force(county_code, programme_id, today))
    floor = claim_rules.floor_of(terms.loans)
    return SubsidyBudget(programme_id, year, Fen(budget), floor, Fen(claimed), Fen(paid))


async def claim(
    session: AsyncSession,
    county_code: str,
    programme_id: str,
    year: int,
    quarter: int,
    *,
    actor: Actor,
    catalogue: Catalogue,
) -> SubsidyClaim:
    """
    Claim what the treasury bore through a quarter and was not claimed before, loan by loan.

    Interest is charged up to the quarter's last day first; a loan whose book went on is worked
    to that day again. Corrections of claimed quarters come with the next claim.
    """
    today = await business_day.today(session, county_code)
    through = rules.quarter_end(year, quarter)
    claim_rules.check_over(through, today)
    made = SubsidyClaim(
        ids.new_id(),
        actor.institution_id,
        programme_id,
        year,
        quarter,
        Fen(0),
        0,
        today,
        actor.person_id,
    )
    claim_rules.check_not_claimed(await subsidy_store.later_claim(session, county_code, made))
    lines: list[SubsidyClaimLine] = []
    after: UUID | None = None
    while True:
        loans = await subsidy_store.lock_subsidised(
            session,
            county_code,
            lender_id=actor.institution_id,
            programme_id=programme_id,
            limit=CHUNK_LOANS_MAX,
            after=after,
        )
        if not loans:
            break
        after = loans[-1].loan_id
        lines += await _lines(session, loans, through, today, terms_by_ref(catalogue, county_code))
    made = replace(made, amount_fen=Fen(sum(line.amount_fen for line in lines)), loans=len(lines))
    claim_rules.check_amount(made)
    await subsidy_store.insert_claim(session, county_code, made, lines)
    await outbox.record(session, [events_out.subsidy_claimed(made, county_code, today)])
    return made


async def _lines(
    session: AsyncSession,
    loans: list[Loan],
    through: date,
    today: date,
    terms_of: Callable[[str], Terms],
) -> list[SubsidyClaimLine]:
    county_code = loans[0].county_code
    claimed = await subsidy_store.claimed(session, county_code, [ln.loan_id for ln in loans])
    ahead = [ln.loan_id for ln in loans if ln.interest and ln.interest.accrued_through > through]
    books = await store.postings_of(session, county_code, ahead)
    changed: list[Loan] = []
    entries: list[Entry] = []
    lines: list[SubsidyClaimLine] = []
    for loan in loans:
        assert loan.interest is not None
        terms = terms_of(loan.programme)
        if loan.loan_id in books:
            borne = rules.borne_by(loan, books[loan.loan_id], terms, through)
        else:
            accrued = balance.accrue(loan, through, terms.loans.day_basis)
            if accrued != loan:
                entries += accrued_entries(loan, accrued, today)
                changed.append(accrued)
            assert accrued.interest is not None
            borne = accrued.interest.treasury_posted_fen
        amount = Fen(borne - claimed.get(loan.loan_id, 0))
        if amount:
            lines.append(SubsidyClaimLine(loan.loan_id, loan.household_id, amount, borne))
    await store.save_loans(session, changed)
    await journal.post(session, entries)
    return lines


async def pay(
    session: AsyncSession, county_code: str, claim_id: UUID, *, reference: str, actor: Actor
) -> SubsidyClaim:
    """Note that the finance bureau paid a claim, within the year's budget where one is set."""
    today = await business_day.today(session, county_code)
    held = await subsidy_store.find_claim(session, county_code, claim_id, hold=True)
    if held is None:
        raise NotFound("CLAIM_NOT_FOUND", f"no claim {claim_id}", message_zh="无此贴息申请")
    claim_rules.check_unpaid(held)
    budget, _, paid = await subsidy_store.budget(session, county_code, held.programme_id, held.year)
    claim_rules.check_within(held, budget_fen=Fen(budget), paid_fen=Fen(paid))
    await subsidy_store.pay_claim(
        session,
        county_code,
        claim_id,
        on=today,
        person_id=actor.person_id,
        reference=reference,
    )
    transfer = Transfer(
        Account("lender_cash", held.lender_id),
        Account("treasury_receivable", county_code),
        held.amount_fen,
    )
    entry = Entry(county_code, "subsidy_payment", str(claim_id), today, today, (transfer,))
    await journal.post(session, [entry])
    settled = replace(held, paid_on=today)
    await outbox.record(session, [events_out.subsidy_paid(settled, county_code, today)])
    return settled


def require_own(claim_: SubsidyClaim | None, claim_id: str, lender_id: str) -> SubsidyClaim:
    """A claim that the caller may see; another lender's is as good as none."""
    if claim_ is None or (lender_id and claim_.lender_id != lender_id):
        raise NotFound("CLAIM_NOT_FOUND", f"no claim {claim_id}", message_zh="无此贴息申请")
    return claim_
