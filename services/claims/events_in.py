"""Claims: what this service hears. The table at the end is the whole list."""

from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

from liandong.households.v1 import events_pb2 as households
from liandong.loans.v1 import events_pb2 as loans
from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import (
    Allocation,
    ApprovedLoan,
    ClosedLoan,
    Debt,
    Household,
    LoanState,
    Part,
)
from services.claims.operations import others, payments, payouts, policies
from services.kernel import wire
from services.kernel.inbox import Handler, Handlers, Incoming
from services.kernel.money import Fen
from services.kernel.projections import Kept, Projection
from services.programmes.loader import Catalogue


async def household_registered(
    session: AsyncSession, events: Sequence[Incoming[households.HouseholdRegistered]]
) -> None:
    """Keep where a new household is."""
    await others.keep_households(
        session,
        [
            Household(
                county_code=event.envelope.county_code,
                household_id=UUID(event.message.household_id),
                area_code=event.message.area_code,
                status=event.message.status,
            )
            for event in events
        ],
    )


async def household_changed(
    session: AsyncSession, events: Sequence[Incoming[households.HouseholdChanged]]
) -> None:
    """Keep where a household is now."""
    await others.keep_households(
        session,
        [
            Household(
                county_code=event.envelope.county_code,
                household_id=UUID(event.message.household_id),
                area_code=event.message.area_code,
                status=event.message.status,
            )
            for event in events
        ],
    )


async def household_delisted(
    session: AsyncSession, events: Sequence[Incoming[households.HouseholdDelisted]]
) -> None:
    """Note that a household is off the file; its covers go on with its loans."""
    await others.delist_households(
        session,
        [(event.envelope.county_code, UUID(event.message.household_id)) for event in events],
    )


async def loan_approved(
    catalogue: Catalogue, session: AsyncSession, events: Sequence[Incoming[loans.LoanApproved]]
) -> None:
    """The household joins the insured list of every cover that the loan requires."""
    await policies.enrol(session, catalogue, [_approved_loan(event) for event in events])


def _approved_loan(event: Incoming[loans.LoanApproved]) -> ApprovedLoan:
    message = event.message
    return ApprovedLoan(
        county_code=event.envelope.county_code,
        loan_id=UUID(message.loan_id),
        household_id=UUID(message.household_id),
        area_code=message.area_code,
        lender_id=message.lender_id,
        principal_fen=Fen(message.principal_fen),
        programme=event.envelope.programme,
        assignment_evidence=message.assignment_evidence,
        required_covers=tuple(dict.fromkeys(message.required_covers)),
        approved_on=event.envelope.day,
    )


async def loan_opened(session: AsyncSession, events: Sequence[Incoming[loans.LoanOpened]]) -> None:
    """Know a loan that was taken over; what insures it is taken over too, and waits for nothing."""
    await loan_owes(session, events)
    await others.open_loans(
        session,
        [
            ApprovedLoan(
                county_code=event.envelope.county_code,
                loan_id=UUID(event.message.loan_id),
                household_id=UUID(event.message.household_id),
                area_code=event.message.area_code,
                lender_id=event.message.lender_id,
                principal_fen=Fen(event.message.principal_fen),
                programme=event.envelope.programme,
                assignment_evidence="",
                required_covers=(),
                approved_on=wire.date_from_proto("opening_on", event.message.opening_on),
            )
            for event in events
        ],
    )
    await loan_owes(session, events)


async def loan_disbursed(
    session: AsyncSession, events: Sequence[Incoming[loans.LoanDisbursed]]
) -> None:
    """Keep what was really lent, and that it is owed."""
    await others.keep_debts(
        session,
        [_debt(e, e.message.loan_id, e.message.principal_fen, interest_fen=0) for e in events],
    )
    await policies.note_disbursed(
        session,
        [
            (
                event.envelope.county_code,
                UUID(event.message.loan_id),
                event.message.principal_fen,
                wire.date_from_proto("disbursed_on", event.message.disbursed_on),
            )
            for event in events
        ],
    )


async def loan_drawn(session: AsyncSession, events: Sequence[Incoming[loans.LoanDrawn]]) -> None:
    """Keep what more was really lent, and what is owed."""
    await others.keep_debts(
        session, [_debt(e, e.message.loan_id, e.message.outstanding_fen) for e in events]
    )
    await policies.note_disbursed(
        session,
        [
            (
                event.envelope.county_code,
                UUID(event.message.loan_id),
                event.message.amount_fen,
                wire.date_from_proto("drawn_on", event.message.drawn_on),
            )
            for event in events
        ],
    )


async def loan_refused(
    session: AsyncSession, events: Sequence[Incoming[loans.LoanRefused]]
) -> None:
    """Note that a loan is closed; one that was never approved is not known here."""
    await others.close_loans(
        session,
        [
            ClosedLoan(
                county_code=event.envelope.county_code,
                loan_id=UUID(event.message.loan_id),
                state=LoanState.REFUSED,
                closed_on=event.envelope.day,
            )
            for event in events
        ],
    )


async def loan_settled(
    session: AsyncSession, events: Sequence[Incoming[loans.LoanSettled]]
) -> None:
    """Note that a loan is owed nothing: it is no payee of later payouts."""
    await others.keep_debts(
        session, [_debt(e, e.message.loan_id, 0, interest_fen=0) for e in events]
    )
    await others.close_loans(
        session,
        [
            ClosedLoan(
                county_code=event.envelope.county_code,
                loan_id=UUID(event.message.loan_id),
                state=LoanState.SETTLED,
                closed_on=event.envelope.day,
            )
            for event in events
        ],
    )


async def payout_allocated(
    catalogue: Catalogue, session: AsyncSession, events: Sequence[Incoming[loans.PayoutAllocated]]
) -> None:
    """Loans divided a payout: the lenders are instructed, then the household."""
    await keep_parts_owed(session, events)
    await payouts.instruct_payouts(session, catalogue, [_allocation(event) for event in events])


async def keep_parts_owed(
    session: AsyncSession, events: Sequence[Incoming[loans.PayoutAllocated]]
) -> None:
    """Keep what is owed on the loans that payouts were divided among."""
    await others.keep_debts(
        session,
        [
            _debt(event, part.loan_id, part.outstanding_fen)
            for event in events
            for part in event.message.parts
        ],
    )


async def payout_allocation_reversed(
    session: AsyncSession, events: Sequence[Incoming[loans.PayoutAllocationReversed]]
) -> None:
    """Loans mirrored a payout that was taken back; one that is corrected is divided anew next."""
    await others.keep_debts(
        session,
        [
            _debt(event, part.loan_id, part.outstanding_fen, interest_fen=part.interest_fen)
            for event in events
            if not event.message.corrected
            for part in event.message.parts
        ],
    )


def _debt(
    event: Incoming[Any],
    loan_id: str,
    outstanding_fen: int | None,
    *,
    interest_fen: int | None = None,
) -> Debt:
    """What a household owes on a loan now; interest is paid first, so it is gone with principal."""
    return Debt(
        county_code=event.envelope.county_code,
        loan_id=UUID(loan_id),
        outstanding_fen=None if outstanding_fen is None else Fen(outstanding_fen),
        interest_fen=None if interest_fen is None else Fen(interest_fen),
        said_on=event.envelope.day,
    )


async def loan_repaid(session: AsyncSession, events: Sequence[Incoming[loans.LoanRepaid]]) -> None:
    """Less is owed."""
    await others.keep_debts(
        session,
        [
            _debt(
                e,
                e.message.loan_id,
                e.message.outstanding_fen,
                interest_fen=0 if e.message.principal_fen else None,
            )
            for e in events
        ],
    )


async def loan_owes(
    session: AsyncSession,
    events: Sequence[Incoming[loans.RepaymentReversed]]
    | Sequence[Incoming[loans.LoanReopened]]
    | Sequence[Incoming[loans.LoanOpened]],
) -> None:
    """What is owed is this now, interest too."""
    await others.keep_debts(
        session,
        [
            _debt(
                e,
                e.message.loan_id,
                e.message.outstanding_fen,
                interest_fen=e.message.interest_fen,
            )
            for e in events
        ],
    )


async def loan_reopened(
    session: AsyncSession, events: Sequence[Incoming[loans.LoanReopened]]
) -> None:
    """A settled loan is owed again."""
    await loan_owes(session, events)
    await others.reopen_loans(
        session, [(e.envelope.county_code, UUID(e.message.loan_id)) for e in events]
    )


async def payee_account_changed(
    catalogue: Catalogue,
    session: AsyncSession,
    events: Sequence[Incoming[households.PayeeAccountChanged]],
) -> None:
    """A household is paid to this account from now on; what was held for want of one is sent."""
    await payments.keep_accounts(
        session,
        catalogue,
        [
            (
                event.envelope.county_code,
                UUID(event.message.household_id),
                UUID(event.message.account_id),
                event.message.bank_id,
                event.envelope.day,
            )
            for event in events
        ],
    )


def _allocation(event: Incoming[loans.PayoutAllocated]) -> Allocation:
    message = event.message
    return Allocation(
        county_code=event.envelope.county_code,
        payout_id=UUID(message.payout_id),
        amount_fen=Fen(message.amount_fen),
        household_fen=Fen(message.household_fen),
        parts=tuple(
            Part(
                loan_id=UUID(part.loan_id),
                lender_id=part.lender_id,
                amount_fen=Fen(part.amount_fen),
                interest_fen=Fen(part.interest_fen),
                principal_fen=Fen(part.principal_fen),
                subrogated_fen=Fen(part.subrogated_fen),
                outstanding_fen=Fen(part.outstanding_fen),
            )
            for part in message.parts
        ),
        corrections=message.corrections,
    )


def handlers(catalogue: Catalogue) -> Handlers:
    """Event type to handler: all that this service hears."""
    return {
        "liandong.households.v1.household_registered": Handler(
            households.HouseholdRegistered, household_registered
        ),
        "liandong.households.v1.household_changed": Handler(
            households.HouseholdChanged, household_changed
        ),
        "liandong.households.v1.household_delisted": Handler(
            households.HouseholdDelisted, household_delisted
        ),
        "liandong.loans.v1.loan_approved": Handler(
            loans.LoanApproved, partial(loan_approved, catalogue)
        ),
        "liandong.loans.v1.loan_opened": Handler(loans.LoanOpened, loan_opened),
        "liandong.loans.v1.loan_disbursed": Handler(loans.LoanDisbursed, loan_disbursed),
        "liandong.loans.v1.loan_drawn": Handler(loans.LoanDrawn, loan_drawn),
        "liandong.loans.v1.loan_refused": Handler(loans.LoanRefused, loan_refused),
        "liandong.loans.v1.loan_settled": Handler(loans.LoanSettled, loan_settled),
        "liandong.households.v1.payee_account_changed": Handler(
            households.PayeeAccountChanged, partial(payee_account_changed, catalogue)
        ),
        "liandong.loans.v1.loan_repaid": Handler(loans.LoanRepaid, loan_repaid),
        "liandong.loans.v1.repayment_reversed": Handler(loans.RepaymentReversed, loan_owes),
        "liandong.loans.v1.loan_reopened": Handler(loans.LoanReopened, loan_reopened),
        "liandong.loans.v1.payout_allocated": Handler(
            loans.PayoutAllocated, partial(payout_allocated, catalogue)
        ),
        "liandong.loans.v1.payout_allocation_reversed": Handler(
            loans.PayoutAllocationReversed, payout_allocation_reversed
        ),
    }


def copying(catalogue: Catalogue) -> Handlers:
    """The same as far as they keep what others said; a payout that is divided is our own."""
    told = Handler(loans.PayoutAllocated, keep_parts_owed)
    return {**handlers(catalogue), "liandong.loans.v1.payout_allocated": told}


def projection(catalogue: Catalogue) -> Projection:
    """Where households are and are paid, which loans there are, and what is owed on them."""
    return Projection(
        noun="claims",
        kept=(Kept("household"), Kept("loan"), Kept("loan_debt"), Kept("payee_account")),
        handlers=copying(catalogue),
    )
