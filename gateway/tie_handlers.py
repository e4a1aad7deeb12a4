"""Ties: what the gateway learns of events about who has to do with which household."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

from liandong.claims.v1 import events_pb2 as claims
from liandong.households.v1 import events_pb2 as households
from liandong.loans.v1 import events_pb2 as loans
from sqlmodel.ext.asyncio.session import AsyncSession

from gateway import tie_store
from gateway.tie_store import HeldConsent, Tie
from services.kernel import wire
from services.kernel.inbox import Handler, Handlers, Incoming

Handle = Callable[[AsyncSession, Sequence[Incoming[Any]]], Awaitable[None]]


def _tied(kind: str, object_field: str, institution_field: str) -> Handle:
    async def handle(session: AsyncSession, events: Sequence[Incoming[Any]]) -> None:
        await tie_store.tie(
            session,
            [
                Tie(
                    kind=kind,
                    object_id=UUID(getattr(event.message, object_field)),
                    institution_id=getattr(event.message, institution_field),
                    county_code=event.envelope.county_code,
                    household_id=UUID(event.message.household_id),
                )
                for event in events
                if event.message.household_id and getattr(event.message, institution_field)
            ],
        )

    return handle


def _ended(object_field: str, *kinds: str) -> Handle:
    async def handle(session: AsyncSession, events: Sequence[Incoming[Any]]) -> None:
        ids = [UUID(getattr(event.message, object_field)) for event in events]
        await tie_store.end(session, kinds, ids)

    return handle


async def loan_disbursed(
    session: AsyncSession, events: Sequence[Incoming[loans.LoanDisbursed]]
) -> None:
    """Who applied, owes."""
    await _tied("debt", "loan_id", "lender_id")(session, events)
    await _ended("loan_id", "application")(session, events)


async def claim_approved(
    session: AsyncSession, events: Sequence[Incoming[claims.ClaimApproved]]
) -> None:
    """A claim stays open until its payout is settled."""
    pairs = [(UUID(e.message.claim_id), UUID(e.message.payout_id)) for e in events]
    await tie_store.paid_by(session, pairs)


async def payout_settled(
    session: AsyncSession, events: Sequence[Incoming[claims.PayoutSettled]]
) -> None:
    """The claim that it pays is over."""
    await tie_store.end_paid(session, [UUID(event.message.payout_id) for event in events])


async def claim_reopened(
    session: AsyncSession, events: Sequence[Incoming[claims.ClaimReopened]]
) -> None:
    """A claim is open again."""
    await tie_store.reopen(session, "claim", [UUID(event.message.claim_id) for event in events])


async def consent_given(
    session: AsyncSession, events: Sequence[Incoming[households.ConsentGiven]]
) -> None:
    """A household lets an institution know something."""
    await tie_store.hold(
        session,
        [
            HeldConsent(
                consent_id=UUID(event.message.consent_id),
                county_code=event.envelope.county_code,
                household_id=UUID(event.message.household_id),
                receiver_id=event.message.receiver_id,
                purpose=event.message.purpose,
                categories=tuple(event.message.categories),
                valid_from=wire.date_from_proto("valid_from", event.message.valid_from),
                valid_to=wire.date_from_proto("valid_to", event.message.valid_to),
            )
            for event in events
        ],
    )


async def consent_withdrawn(
    session: AsyncSession, events: Sequence[Incoming[households.ConsentWithdrawn]]
) -> None:
    """It may not any more."""
    await tie_store.withdraw(session, [UUID(event.message.consent_id) for event in events])


async def household_merged(
    session: AsyncSession, events: Sequence[Incoming[households.HouseholdMerged]]
) -> None:
    """A record of a household lives on in another."""
    pairs = [(UUID(e.message.household_id), UUID(e.message.survivor_id)) for e in events]
    await tie_store.merge(session, pairs)


async def household_unmerged(
    session: AsyncSession, events: Sequence[Incoming[households.HouseholdUnmerged]]
) -> None:
    """It stands for itself again."""
    await tie_store.unmerge(session, [UUID(event.message.household_id) for event in events])


HANDLERS: Handlers = {
    "liandong.households.v1.consent_given": Handler(households.ConsentGiven, consent_given),
    "liandong.households.v1.consent_withdrawn": Handler(
        households.ConsentWithdrawn, consent_withdrawn
    ),
    "liandong.households.v1.household_merged": Handler(
        households.HouseholdMerged, household_merged
    ),
    "liandong.households.v1.household_unmerged": Handler(
        households.HouseholdUnmerged, household_unmerged
    ),
    "liandong.loans.v1.loan_applied": Handler(
        loans.LoanApplied, _tied("application", "loan_id", "lender_id")
    ),
    "liandong.loans.v1.loan_refused": Handler(loans.LoanRefused, _ended("loan_id", "application")),
    "liandong.loans.v1.loan_disbursed": Handler(loans.LoanDisbursed, loan_disbursed),
    "liandong.loans.v1.loan_opened": Handler(
        loans.LoanOpened, _tied("debt", "loan_id", "lender_id")
    ),
    "liandong.loans.v1.loan_reopened": Handler(
        loans.LoanReopened, _tied("debt", "loan_id", "lender_id")
    ),
    "liandong.loans.v1.loan_settled": Handler(
        loans.LoanSettled, _ended("loan_id", "application", "debt")
    ),
    "liandong.claims.v1.household_insured": Handler(
        claims.HouseholdInsured, _tied("cover", "insured_id", "insurer_id")
    ),
    "liandong.claims.v1.household_uninsured": Handler(
        claims.HouseholdUninsured, _ended("insured_id", "cover")
    ),
    "liandong.claims.v1.claim_reported": Handler(
        claims.ClaimReported, _tied("claim", "claim_id", "insurer_id")
    ),
    "liandong.claims.v1.claim_refused": Handler(claims.ClaimRefused, _ended("claim_id", "claim")),
    "liandong.claims.v1.claim_withdrawn": Handler(
        claims.ClaimWithdrawn, _ended("claim_id", "claim")
    ),
    "liandong.claims.v1.claim_reopened": Handler(claims.ClaimReopened, claim_reopened),
    "liandong.claims.v1.claim_approved": Handler(claims.ClaimApproved, claim_approved),
    "liandong.claims.v1.payout_settled": Handler(claims.PayoutSettled, payout_settled),
}
"""Event type to what is learned of it."""
