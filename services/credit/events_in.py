"""Credit: what this service hears. The table at the end is the whole list."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from liandong.households.v1 import events_pb2
from liandong.loans.v1 import events_pb2 as loans
from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit.model import Household, LoanAction
from services.credit.operations import limits, problem_loans, registry
from services.credit.rules.problem_loans import HEARD
from services.kernel import wire
from services.kernel.inbox import Handler, Handlers, Incoming
from services.kernel.projections import Kept, Projection, chosen
from services.programmes.loader import Catalogue

Told = (
    Sequence[Incoming[events_pb2.HouseholdRegistered]]
    | Sequence[Incoming[events_pb2.HouseholdChanged]]
)


async def _take(session: AsyncSession, catalogue: Catalogue, events: Told, *, relist: bool) -> None:
    """Of one household the last word counts; the events come in its order."""
    counties: defaultdict[str, dict[UUID, Household]] = defaultdict(dict)
    for event in events:
        message = event.message
        household_id = UUID(message.household_id)
        counties[event.envelope.county_code][household_id] = Household(
            household_id, message.area_code, message.status, message.honour
        )
    for county_code, told in sorted(counties.items()):
        households = [told[household_id] for household_id in sorted(told)]
        await registry.take_households(session, catalogue, county_code, households, relist=relist)


async def household_registered(
    catalogue: Catalogue,
    session: AsyncSession,
    events: Sequence[Incoming[events_pb2.HouseholdRegistered]],
) -> None:
    """A household is new in the registry: it gets an empty credit file."""
    await _take(session, catalogue, events, relist=True)


async def household_changed(
    catalogue: Catalogue,
    session: AsyncSession,
    events: Sequence[Incoming[events_pb2.HouseholdChanged]],
) -> None:
    """A household moved, or has another status or honour."""
    await _take(session, catalogue, events, relist=False)


async def household_delisted(
    session: AsyncSession, events: Sequence[Incoming[events_pb2.HouseholdDelisted]]
) -> None:
    """A household is off the registry's file: its limit ends, its file stays."""
    counties: defaultdict[str, set[UUID]] = defaultdict(set)
    for event in events:
        counties[event.envelope.county_code].add(UUID(event.message.household_id))
    for county_code, household_ids in sorted(counties.items()):
        await registry.delist_households(session, county_code, sorted(household_ids))


Taking = Callable[[AsyncSession, str, list[Any]], Awaitable[None]]


async def _by_county(session: AsyncSession, rows: Iterable[tuple[str, Any]], take: Taking) -> None:
    """Hand rows on, county by county, in the order in which they came."""
    counties: defaultdict[str, list[Any]] = defaultdict(list)
    for county_code, row in rows:
        counties[county_code].append(row)
    for county_code, told in sorted(counties.items()):
        await take(session, county_code, told)


async def loan_approved(
    session: AsyncSession, events: Sequence[Incoming[loans.LoanApproved]]
) -> None:
    """A loan will be paid out: its principal counts against the limit."""
    await _by_county(session, map(_loan, events), limits.take_approved)


async def loan_disbursed(
    session: AsyncSession, events: Sequence[Incoming[loans.LoanDisbursed]]
) -> None:
    """A loan was paid out: its principal is used."""
    await _by_county(session, map(_loan, events), limits.take_disbursed)


async def loan_refused(
    session: AsyncSession, events: Sequence[Incoming[loans.LoanRefused]]
) -> None:
    """A loan came to nothing."""
    rows = ((e.envelope.county_code, UUID(e.message.loan_id)) for e in events)
    await _by_county(session, rows, limits.take_refused)


async def loan_repaid(session: AsyncSession, events: Sequence[Incoming[loans.LoanRepaid]]) -> None:
    """Principal came back: the limit is free again by so much."""
    rows = (
        (e.envelope.county_code, (UUID(e.message.loan_id), e.message.principal_fen)) for e in events
    )
    await _by_county(session, rows, limits.take_repaid)


async def loan_overdue(
    session: AsyncSession, events: Sequence[Incoming[loans.LoanOverdue]]
) -> None:
    """A loan was overdue at a day close."""
    rows = (
        (
            e.envelope.county_code,
            (UUID(e.message.loan_id), e.envelope.business_date, e.message.non_performing),
        )
        for e in events
    )
    await _by_county(session, rows, limits.take_overdue)


async def loan_settled(
    session: AsyncSession, events: Sequence[Incoming[loans.LoanSettled]]
) -> None:
    """A loan is owed nothing any more."""
    rows = (
        (
            e.envelope.county_code,
            (
                UUID(e.message.loan_id),
                wire.date_from_proto("settled_on", e.message.settled_on),
            ),
        )
        for e in events
    )
    await _by_county(session, rows, limits.take_settled)


async def breaker_tripped(
    session: AsyncSession, events: Sequence[Incoming[loans.BreakerTripped]]
) -> None:
    """Lending stopped in a scope: where its effects say so, nothing new is granted."""
    rows = (
        (
            e.envelope.county_code,
            (e.message.scope, e.message.scope_id, "stop_grant" in e.message.effects),
        )
        for e in events
    )
    await _by_county(session, rows, limits.take_breakers)


async def breaker_reset(
    session: AsyncSession, events: Sequence[Incoming[loans.BreakerReset]]
) -> None:
    """Lending goes on in a scope."""
    rows = ((e.envelope.county_code, (e.message.scope, e.message.scope_id, False)) for e in events)
    await _by_county(session, rows, limits.take_breakers)


async def loan_action_taken(
    catalogue: Catalogue,
    session: AsyncSession,
    events: Sequence[Incoming[loans.LoanActionTaken]],
) -> None:
    """A programme's ordered step on a problem loan: some are credit's to do (LS18.loa.6)."""
    rows = (
        (event.envelope.county_code, _action(event))
        for event in events
        if event.message.action in HEARD
    )
    await _by_county(session, rows, partial(_take_actions, catalogue))


async def _take_actions(
    catalogue: Catalogue, session: AsyncSession, county_code: str, told: list[LoanAction]
) -> None:
    await problem_loans.take(session, catalogue, county_code, told)


def _action(event: Incoming[loans.LoanActionTaken]) -> LoanAction:
    message = event.message
    return LoanAction(
        loan_id=UUID(message.loan_id),
        household_id=UUID(message.household_id),
        action=message.action,
        place=message.place,
        since=wire.date_from_proto("since", message.since),
        taken_on=event.envelope.day,
        rule_version=message.rule_version,
    )


async def payout_allocated(
    session: AsyncSession, events: Sequence[Incoming[loans.PayoutAllocated]]
) -> None:
    """An insurance payout took principal off loans."""
    rows = (
        (
            e.envelope.county_code,
            (UUID(e.message.payout_id), UUID(part.loan_id), part.principal_fen),
        )
        for e in events
        for part in e.message.parts
    )
    await _by_county(session, rows, limits.take_payouts)


async def payout_allocation_reversed(
    session: AsyncSession, events: Sequence[Incoming[loans.PayoutAllocationReversed]]
) -> None:
    """A payout was undone."""
    rows = (
        (e.envelope.county_code, (UUID(e.message.payout_id), e.message.corrected)) for e in events
    )
    await _by_county(session, rows, limits.take_reversals)


def _loan(
    event: Incoming[loans.LoanApproved] | Incoming[loans.LoanDisbursed],
) -> tuple[str, limits.Loan]:
    message, envelope = event.message, event.envelope
    return envelope.county_code, (
        UUID(message.loan_id),
        UUID(message.household_id),
        message.lender_id,
        envelope.programme,
        message.principal_fen,
    )


def handlers(catalogue: Catalogue) -> Handlers:
    """Every event that is heard, and what takes it."""
    return {
        "liandong.households.v1.household_registered": Handler(
            events_pb2.HouseholdRegistered, partial(household_registered, catalogue)
        ),
        "liandong.households.v1.household_changed": Handler(
            events_pb2.HouseholdChanged, partial(household_changed, catalogue)
        ),
        "liandong.households.v1.household_delisted": Handler(
            events_pb2.HouseholdDelisted, household_delisted
        ),
        "liandong.loans.v1.loan_approved": Handler(loans.LoanApproved, loan_approved),
        "liandong.loans.v1.loan_refused": Handler(loans.LoanRefused, loan_refused),
        "liandong.loans.v1.loan_disbursed": Handler(loans.LoanDisbursed, loan_disbursed),
        "liandong.loans.v1.loan_repaid": Handler(loans.LoanRepaid, loan_repaid),
        "liandong.loans.v1.loan_overdue": Handler(loans.LoanOverdue, loan_overdue),
        "liandong.loans.v1.loan_settled": Handler(loans.LoanSettled, loan_settled),
        "liandong.loans.v1.breaker_tripped": Handler(loans.BreakerTripped, breaker_tripped),
        "liandong.loans.v1.breaker_reset": Handler(loans.BreakerReset, breaker_reset),
        "liandong.loans.v1.loan_action_taken": Handler(
            loans.LoanActionTaken, partial(loan_action_taken, catalogue)
        ),
        "liandong.loans.v1.payout_allocated": Handler(loans.PayoutAllocated, payout_allocated),
        "liandong.loans.v1.payout_allocation_reversed": Handler(
            loans.PayoutAllocationReversed, payout_allocation_reversed
        ),
    }


def projection(catalogue: Catalogue) -> Projection:
    """What was lent on limits, what payouts took off it, and where lending is stopped."""
    return Projection(
        noun="credit",
        kept=(Kept("exposure"), Kept("exposure_payout"), Kept("stop")),
        handlers=chosen(
            handlers(catalogue),
            "liandong.loans.v1.loan_approved",
            "liandong.loans.v1.loan_refused",
            "liandong.loans.v1.loan_disbursed",
            "liandong.loans.v1.loan_repaid",
            "liandong.loans.v1.loan_overdue",
            "liandong.loans.v1.loan_settled",
            "liandong.loans.v1.breaker_tripped",
            "liandong.loans.v1.breaker_reset",
            "liandong.loans.v1.payout_allocated",
            "liandong.loans.v1.payout_allocation_reversed",
        ),
    )
