"""Loans: what this service hears. The table at the end is the whole list."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from google.protobuf.message import Message
from liandong.claims.v1 import events_pb2 as claims
from liandong.credit.v1 import events_pb2 as credit
from liandong.funds.v1 import events_pb2 as funds
from liandong.households.v1 import events_pb2 as households
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import business_day, wire
from services.kernel.inbox import Handler, Handlers, Incoming
from services.kernel.money import Fen
from services.kernel.projections import Kept, Projection, chosen
from services.loans import store
from services.loans.model import (
    Compensation,
    Correction,
    Payout,
    PayoutReversal,
    Recovered,
    SharePayment,
)
from services.loans.operations import lending, money, payouts, standing, tasks
from services.loans.rules import lending as lending_rules
from services.loans.store import applications
from services.programmes.loader import Catalogue

M = TypeVar("M", bound=Message)
Row = TypeVar("Row", bound=tuple[Any, ...])


def by_county(events: Sequence[Incoming[M]]) -> Iterator[tuple[str, list[Incoming[M]]]]:
    """The events county by county, each county's in order."""
    for county in sorted({event.envelope.county_code for event in events}):
        yield county, [event for event in events if event.envelope.county_code == county]


def last_of_each(rows: Sequence[Row]) -> list[Row]:
    """The last row of each household, by county and id: one statement writes a row once only."""
    return list({row[:2]: row for row in rows}.values())


async def household_told(
    session: AsyncSession,
    events: Sequence[Incoming[households.HouseholdRegistered]]
    | Sequence[Incoming[households.HouseholdChanged]],
    *,
    catalogue: Catalogue,
) -> None:
    """Where a household is and how it stands decides what it may borrow."""
    rows = [
        (
            e.envelope.county_code,
            UUID(e.message.household_id),
            e.message.area_code,
            e.message.status,
            e.message.member_count,
        )
        for e in events
    ]
    last = last_of_each(rows)
    await store.save_households(session, [row[:4] for row in last], [row[4] for row in last])
    await _follow(session, events, {row[1]: row[3] for row in rows}, catalogue)


async def _follow(
    session: AsyncSession,
    events: Sequence[Incoming[Any]],
    status_of: dict[UUID, str],
    catalogue: Catalogue,
) -> None:
    """Loans of households that died, were flagged, delisted or left are frozen and recovered."""
    for county, own in by_county(events):
        today = await business_day.today_or(session, county, own[0].envelope.day)
        standings = {
            household: status_of[household]
            for household in (UUID(e.message.household_id) for e in own)
        }
        await standing.households_stand(session, county, standings, today)
        await tasks.households_stand(session, county, standings, today, catalogue)


async def household_delisted(
    session: AsyncSession,
    events: Sequence[Incoming[households.HouseholdDelisted]],
    *,
    catalogue: Catalogue,
) -> None:
    """A delisted household borrows no more; what it owes goes on, and its loans are reviewed."""
    rows = [(e.envelope.county_code, UUID(e.message.household_id), "", "delisted") for e in events]
    await store.save_households(session, last_of_each(rows))
    await _follow(session, events, {row[1]: row[3] for row in rows}, catalogue)


async def enterprise_registered(
    session: AsyncSession, events: Sequence[Incoming[households.EnterpriseRegistered]]
) -> None:
    """A co-operative, an enterprise or the village's own company may borrow too."""
    rows = [
        (
            e.envelope.county_code,
            UUID(e.message.enterprise_id),
            e.message.area_code,
            e.message.kind,
        )
        for e in events
    ]
    await store.save_entities(session, last_of_each(rows))


async def household_listed(
    session: AsyncSession, events: Sequence[Incoming[credit.HouseholdListed]]
) -> None:
    """Who is on the blacklist may be barred from credit, by the programme's sanctions."""
    rows = [
        (
            e.envelope.county_code,
            UUID(e.message.household_id),
            e.message.reason,
            e.envelope.day,
        )
        for e in events
    ]
    await applications.list_households(session, rows)


async def household_released(
    session: AsyncSession, events: Sequence[Incoming[credit.HouseholdReleased]]
) -> None:
    """Off the blacklist: the household may borrow again."""
    rows = [(e.envelope.county_code, UUID(e.message.household_id)) for e in events]
    await applications.release_households(session, rows)


async def limit_granted(
    session: AsyncSession,
    events: Sequence[Incoming[credit.LimitGranted]] | Sequence[Incoming[credit.LimitChanged]],
) -> None:
    """A household's limit over all lenders is this from now on."""
    rows = [
        (
            e.envelope.county_code,
            UUID(e.message.household_id),
            e.message.limit_fen,
            e.message.grade,
            wire.date_from_proto("valid_until", e.message.valid_until)
            if e.message.HasField("valid_until")
            else None,
            ",".join(getattr(e.message, "held_by", ())),
        )
        for e in events
    ]
    await store.save_limits(session, last_of_each(rows))


async def limit_expired(
    session: AsyncSession, events: Sequence[Incoming[credit.LimitExpired]]
) -> None:
    """A household has no limit until it is rated again."""
    rows = [(e.envelope.county_code, UUID(e.message.household_id), 0, "", None, "") for e in events]
    await store.save_limits(session, last_of_each(rows))


async def household_insured(
    session: AsyncSession, events: Sequence[Incoming[claims.HouseholdInsured]]
) -> None:
    """A cover that the loan waits for is in force."""
    for county, own in by_county(events):
        changes = [
            (
                UUID(e.message.loan_id),
                partial(lending_rules.insured, cover_id=e.message.cover_id),
            )
            for e in own
        ]
        await lending.note(session, county, changes)


async def household_uninsured(
    session: AsyncSession, events: Sequence[Incoming[claims.HouseholdUninsured]]
) -> None:
    """A cover of the loan is in force no more: nothing is paid out without it."""
    for county, own in by_county(events):
        changes = [
            (
                UUID(e.message.loan_id),
                partial(lending_rules.uninsured, cover_id=e.message.cover_id),
            )
            for e in own
        ]
        await lending.note(session, county, changes)


async def cover_reserved(
    session: AsyncSession,
    events: Sequence[Incoming[funds.CoverReserved]],
    *,
    catalogue: Catalogue,
) -> None:
    """The fund stands behind the loan: the last step may be decided."""
    for county, own in by_county(events):
        answers = [(UUID(e.message.loan_id), "") for e in own]
        today = await business_day.today_or(session, county, own[0].envelope.day)
        await lending.take_cover_answers(session, county, answers, today, catalogue)


async def cover_refused(
    session: AsyncSession,
    events: Sequence[Incoming[funds.CoverRefused]],
    *,
    catalogue: Catalogue,
) -> None:
    """The fund cannot stand behind the loan."""
    for county, own in by_county(events):
        answers = [(UUID(e.message.loan_id), e.message.reason) for e in own]
        today = await business_day.today_or(session, county, own[0].envelope.day)
        await lending.take_cover_answers(session, county, answers, today, catalogue)
        await standing.warn_uncovered(session, county, [loan_id for loan_id, _ in answers], today)


async def cover_released(
    session: AsyncSession, events: Sequence[Incoming[funds.CoverReleased]]
) -> None:
    """The fund gave cover back; a loan that is not paid out yet cannot be."""
    for county, own in by_county(events):
        changes = [
            (UUID(e.message.loan_id), partial(lending_rules.cover_released, why=e.message.reason))
            for e in own
        ]
        await lending.note(session, county, changes)


async def payout_authorised(
    session: AsyncSession,
    events: Sequence[Incoming[claims.PayoutAuthorised]],
    *,
    catalogue: Catalogue,
) -> None:
    """A claim will be paid: its payout goes toward the loans first."""
    for county, own in by_county(events):
        authorised = [
            Payout(
                payout_id=UUID(e.message.payout_id),
                household_id=UUID(e.message.household_id),
                amount_fen=Fen(e.message.amount_fen),
                value_date=wire.date_from_proto("value_date", e.message.value_date),
                groups=tuple(
                    tuple(UUID(loan_id) for loan_id in group.loan_ids) for group in e.message.groups
                ),
            )
            for e in own
        ]
        today = await business_day.today_or(session, county, own[0].envelope.day)
        await money.settle_payouts(session, county, authorised, catalogue, today)


async def payout_corrected(
    session: AsyncSession,
    events: Sequence[Incoming[claims.PayoutCorrected]],
    *,
    catalogue: Catalogue,
) -> None:
    """A lender keeps less than it was sent: what it gives back goes to those after it."""
    for county, own in by_county(events):
        corrections = [
            Correction(
                payout_id=UUID(e.message.payout_id),
                number=e.message.correction,
                loan_id=UUID(e.message.loan_id),
                freed_fen=Fen(e.message.freed_fen),
                groups=tuple(
                    tuple(UUID(loan_id) for loan_id in group.loan_ids) for group in e.message.groups
                ),
            )
            for e in own
        ]
        today = await business_day.today_or(session, county, own[0].envelope.day)
        await payouts.correct_payouts(session, county, corrections, catalogue, today)


async def payout_reversed(
    session: AsyncSession,
    events: Sequence[Incoming[claims.PayoutReversed]],
    *,
    catalogue: Catalogue,
) -> None:
    """The insurer takes a payout back: its loans are owed again what it had paid."""
    for county, own in by_county(events):
        today = await business_day.today_or(session, county, own[0].envelope.day)
        reversals = [
            PayoutReversal(
                payout_id=UUID(e.message.payout_id),
                value_date=wire.date_from_proto("value_date", e.message.value_date)
                if e.message.HasField("value_date")
                else today,
            )
            for e in own
        ]
        await payouts.reverse_payouts(session, county, reversals, catalogue, today)


async def payout_settled(
    session: AsyncSession, events: Sequence[Incoming[claims.PayoutSettled]]
) -> None:
    """Everybody has confirmed what a payout gave: nothing needs to be warned of."""
    await standing.payouts_confirmed(
        session, [(e.envelope.county_code, UUID(e.message.payout_id)) for e in events]
    )


async def compensation_paid(
    session: AsyncSession,
    events: Sequence[Incoming[funds.CompensationPaid]],
    *,
    catalogue: Catalogue,
) -> None:
    """A lender was compensated: what is owed belongs to those who paid."""
    for county, own in by_county(events):
        compensations = [
            Compensation(
                case_id=UUID(e.message.case_id),
                loan_id=UUID(e.message.loan_id),
                loss_fen=Fen(e.message.loss_fen),
                parts=tuple(
                    (part.party, part.institution_id, Fen(part.amount_fen), part.paid)
                    for part in e.message.parts
                ),
            )
            for e in own
        ]
        today = await business_day.today_or(session, county, own[0].envelope.day)
        await money.post_compensations(session, county, compensations, today, catalogue)


async def share_paid(session: AsyncSession, events: Sequence[Incoming[funds.SharePaid]]) -> None:
    """What somebody owed on a compensated loan was paid."""
    for county, own in by_county(events):
        payments = [
            SharePayment(
                loan_id=UUID(e.message.loan_id),
                reference=f"{e.envelope.aggregate_id}:{e.envelope.sequence}",
                institution_id=e.message.institution_id,
                amount_fen=e.message.amount_fen,
            )
            for e in own
        ]
        today = await business_day.today_or(session, county, own[0].envelope.day)
        await money.post_share_payments(session, county, payments, today)


async def recovery_shared(
    session: AsyncSession,
    events: Sequence[Incoming[funds.RecoveryShared]],
    *,
    catalogue: Catalogue,
) -> None:
    """What was collected and recorded at the funds lowers the loan; our own money did already."""
    for county, own in by_county(events):
        recovered = [
            Recovered(
                loan_id=UUID(e.message.loan_id),
                recovery_id=UUID(e.message.recovery_id),
                amount_fen=Fen(e.message.amount_fen),
                value_date=wire.date_from_proto("value_date", e.message.value_date),
            )
            for e in own
            if e.message.source == COLLECTED
        ]
        if recovered:
            today = await business_day.today_or(session, county, own[0].envelope.day)
            await money.post_recoveries(session, county, recovered, today, catalogue)


COLLECTED = "collected"
"""Source of a recovery that nobody has posted to a loan yet."""


def handlers(catalogue: Catalogue) -> Handlers:
    """Event type to handler."""
    allocate = partial(payout_authorised, catalogue=catalogue)
    reserved = partial(cover_reserved, catalogue=catalogue)
    refused = partial(cover_refused, catalogue=catalogue)
    told = partial(household_told, catalogue=catalogue)
    return {
        "liandong.households.v1.household_registered": Handler(
            households.HouseholdRegistered, told
        ),
        "liandong.households.v1.household_changed": Handler(households.HouseholdChanged, told),
        "liandong.households.v1.household_delisted": Handler(
            households.HouseholdDelisted, partial(household_delisted, catalogue=catalogue)
        ),
        "liandong.households.v1.enterprise_registered": Handler(
            households.EnterpriseRegistered, enterprise_registered
        ),
        "liandong.credit.v1.household_listed": Handler(credit.HouseholdListed, household_listed),
        "liandong.credit.v1.household_released": Handler(
            credit.HouseholdReleased, household_released
        ),
        "liandong.credit.v1.limit_granted": Handler(credit.LimitGranted, limit_granted),
        "liandong.credit.v1.limit_changed": Handler(credit.LimitChanged, limit_granted),
        "liandong.credit.v1.limit_expired": Handler(credit.LimitExpired, limit_expired),
        "liandong.claims.v1.household_insured": Handler(claims.HouseholdInsured, household_insured),
        "liandong.claims.v1.household_uninsured": Handler(
            claims.HouseholdUninsured, household_uninsured
        ),
        "liandong.claims.v1.payout_authorised": Handler(claims.PayoutAuthorised, allocate),
        "liandong.claims.v1.payout_settled": Handler(claims.PayoutSettled, payout_settled),
        "liandong.claims.v1.payout_corrected": Handler(
            claims.PayoutCorrected, partial(payout_corrected, catalogue=catalogue)
        ),
        "liandong.claims.v1.payout_reversed": Handler(
            claims.PayoutReversed, partial(payout_reversed, catalogue=catalogue)
        ),
        "liandong.funds.v1.cover_reserved": Handler(funds.CoverReserved, reserved),
        "liandong.funds.v1.cover_refused": Handler(funds.CoverRefused, refused),
        "liandong.funds.v1.cover_released": Handler(funds.CoverReleased, cover_released),
        "liandong.funds.v1.compensation_paid": Handler(
            funds.CompensationPaid, partial(compensation_paid, catalogue=catalogue)
        ),
        "liandong.funds.v1.share_paid": Handler(funds.SharePaid, share_paid),
        "liandong.funds.v1.recovery_shared": Handler(
            funds.RecoveryShared, partial(recovery_shared, catalogue=catalogue)
        ),
    }


def projection(catalogue: Catalogue) -> Projection:
    """Who may borrow and how much, who is listed, which payouts everybody has confirmed."""
    return Projection(
        noun="loans",
        kept=(
            # What a household is exposed to is the sum of our own loans.
            Kept("borrower", not_events=("exposure_fen",)),
            Kept("listing"),
            Kept("payout_confirmed"),
        ),
        handlers=chosen(
            handlers(catalogue),
            "liandong.households.v1.household_registered",
            "liandong.households.v1.household_changed",
            "liandong.households.v1.household_delisted",
            "liandong.households.v1.enterprise_registered",
            "liandong.credit.v1.household_listed",
            "liandong.credit.v1.household_released",
            "liandong.credit.v1.limit_granted",
            "liandong.credit.v1.limit_changed",
            "liandong.credit.v1.limit_expired",
            "liandong.claims.v1.payout_settled",
        ),
    )
