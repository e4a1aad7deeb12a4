"""Loans: payouts that are corrected or taken back after they were put toward loans."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel.errors import Refused
from services.kernel.money import Fen
from services.kernel.values import replace
from services.loans import events_out, store
from services.loans.model import (
    AllocatedPart,
    Allocation,
    Correction,
    Loan,
    LoanState,
    Payout,
    PayoutReversal,
)
from services.loans.operations.desk import Desk
from services.loans.operations.shared import terms_by_ref
from services.loans.rules import balance
from services.loans.rules import payouts as rules
from services.loans.rules.book import Line, Posting, PostingKind
from services.loans.store import payouts as payouts_store
from services.programmes import settlement
from services.programmes.loader import Catalogue
from services.programmes.terms import Terms


async def correct_payouts(
    session: AsyncSession,
    county_code: str,
    corrections: Sequence[Correction],
    catalogue: Catalogue,
    today: date,
) -> None:
    """Take back what lenders did not keep, and put it toward the payees after them."""
    held = await payouts_store.lock_allocations(
        session, county_code, {each.payout_id for each in corrections}
    )
    fresh = [each for each in corrections if each.number > _found(held, each).corrections]
    wanted = _loans_of(held.values()) | {i for c in fresh for group in c.groups for i in group}
    desk = await _desk(session, county_code, wanted, catalogue, today)
    terms_of = terms_by_ref(catalogue, county_code)
    for correction in fresh:
        allocation = held[correction.payout_id]
        part = rules.require_next(allocation, correction)
        undone = replace(allocation, version=allocation.version + 1)
        desk.events.append(
            events_out.payout_allocation_reversed(undone, county_code, today, corrected=True)
        )
        theirs = balance.excess_fen(desk.loans[correction.loan_id])
        kept = _keep_less(desk, part, correction)
        rest = replace(allocation.payout, amount_fen=correction.freed_fen, groups=correction.groups)
        more, household_fen = _put_toward(desk, rest, terms_of)
        now = rules.with_more(undone, kept, more, household_fen)
        now = replace(now, version=undone.version + 1)
        desk.events.append(events_out.payout_allocated(now, county_code, today))
        # What was paid too much steps in: then those who compensated the lender get that.
        desk.give_back(correction.loan_id, theirs, allocation.payout.value_date)
        for loan_id in {correction.loan_id, *(each.loan_id for each in more)}:
            desk.settle_up(loan_id, allocation.payout.value_date)
        held[correction.payout_id] = now
    await payouts_store.save_allocations(
        session, county_code, [held[each] for each in {c.payout_id for c in fresh}]
    )
    await desk.write(session)


def _keep_less(desk: Desk, part: AllocatedPart, correction: Correction) -> AllocatedPart:
    """Undo a loan's part of a payout and post what its lender kept, on the payout's own day."""
    payout_id, loan_id = correction.payout_id, correction.loan_id
    kept_fen = Fen(part.amount_fen - correction.freed_fen)
    back: Fen | None = part.subrogated_fen
    first: Posting | None = None
    for posting in rules.payout_postings(desk.book_of(loan_id), payout_id):
        first = first or posting
        desk.post(
            loan_id,
            Posting(
                0,
                PostingKind.PAYOUT,
                posting.value_date,
                posting.amount_fen,
                reverses=posting.number,
                reference="OVERPAID",
            ),
            subrogated_back_fen=back,
        )
        back = Fen(0)
    line: Line | None = None
    if kept_fen:
        assert first is not None, "a part has a posting"
        again = Posting(
            0,
            PostingKind.PAYOUT,
            first.value_date,
            kept_fen,
            reference=str(payout_id),
        )
        # Those who compensated the lender get at most what they had got of it.
        line = desk.post(
            loan_id,
            again,
            subrogated_back_fen=Fen(-min(kept_fen, part.subrogated_fen)),
        ).line
    return rules.kept_part(part, kept_fen, line, desk.loans[loan_id])


def _put_toward(
    desk: Desk, rest: Payout, terms_of: Callable[[str], Terms]
) -> tuple[list[AllocatedPart], Fen]:
    """Put what was given back toward loans as they are owed now; what is left for the household."""
    own: dict[UUID, Loan] = {}
    order = settlement.INTEREST_FIRST
    for loan_id in (each for group in rest.groups for each in group):
        loan = desk.loans.get(loan_id)
        if loan is None:
            continue
        terms = terms_of(loan.programme)
        order = settlement.appropriation(terms.loans.appropriation_order)
        if loan.state is LoanState.ACTIVE:
            loan = balance.accrue(loan, rest.value_date, terms.loans.day_basis)
        own[loan_id] = loan
    divided, _ = balance.allocate(rest, own, order)
    for part in divided.parts:
        held = own[part.loan_id].interest
        assert held is not None
        on = max(rest.value_date, held.accrued_through)
        payout_id = str(rest.payout_id)
        desk.post(
            part.loan_id,
            Posting(0, PostingKind.PAYOUT, on, part.amount_fen, reference=payout_id),
        )
    return list(divided.parts), divided.household_fen


async def reverse_payouts(
    session: AsyncSession,
    county_code: str,
    reversals: Sequence[PayoutReversal],
    catalogue: Catalogue,
    today: date,
) -> None:
    """Mirror the stored parts of payouts: their loans are owed that again, and interest on it."""
    held = await payouts_store.lock_allocations(
        session, county_code, {each.payout_id for each in reversals}
    )
    fresh = [each for each in reversals if _found(held, each).reversed_on is None]
    desk = await _desk(session, county_code, _loans_of(held.values()), catalogue, today)
    undone: dict[UUID, Allocation] = {}
    for reversal in fresh:
        if reversal.payout_id in undone:
            continue
        before = held[reversal.payout_id]
        for part in before.parts:
            loan = desk.loans[part.loan_id]
            assert loan.interest is not None, "what a payout paid had been paid out"
            on = max(reversal.value_date, loan.interest.accrued_through)
            desk.post(
                part.loan_id,
                rules.mirror(part, reversal.payout_id, on),
                subrogated_back_fen=part.subrogated_fen,
            )
            desk.settle_up(part.loan_id, on)
        now = replace(before, version=before.version + 1, reversed_on=today)
        parts = tuple(
            replace(part, outstanding_fen=desk.loans[part.loan_id].outstanding_fen)
            for part in now.parts
        )
        undone[reversal.payout_id] = now
        desk.events.append(
            events_out.payout_allocation_reversed(
                replace(now, parts=parts), county_code, today, corrected=False
            )
        )
    await payouts_store.save_allocations(session, county_code, list(undone.values()))
    await desk.write(session)


def _found(held: Mapping[UUID, Allocation], asked: Correction | PayoutReversal) -> Allocation:
    allocation = held.get(asked.payout_id)
    if allocation is None:
        raise Refused("PAYOUT_NOT_ALLOCATED", f"payout {asked.payout_id} was never allocated")
    return allocation


def _loans_of(allocations: Iterable[Allocation]) -> set[UUID]:
    return {part.loan_id for each in allocations for part in each.parts}


async def _desk(
    session: AsyncSession,
    county_code: str,
    wanted: set[UUID],
    catalogue: Catalogue,
    today: date,
) -> Desk:
    loans = await store.lock_loans(session, county_code, wanted)
    desk = Desk(county_code, loans, today, terms_by_ref(catalogue, county_code))
    await desk.load(session, wanted)
    return desk
