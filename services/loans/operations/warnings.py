"""Loans: warnings of departments: received, spread loan by loan in chunks, withdrawn."""

from collections.abc import Collection, Sequence
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import business_day, ids, outbox, walls
from services.kernel.database import Database
from services.kernel.values import replace
from services.loans import events_out
from services.loans.model import Loan, Warned
from services.loans.operations import standing
from services.loans.operations.shared import terms_by_ref
from services.loans.rules import warnings as rules
from services.loans.rules.lending import Actor
from services.loans.rules.notices import Notice
from services.loans.rules.warnings import DepartmentWarning
from services.loans.store import notices as notice_store
from services.loans.store import warnings as warning_store
from services.programmes.loader import Catalogue
from services.programmes.schema.deployment import InstitutionRole

CHUNK_MAX = 2_000
DEPARTMENTS = frozenset(role.value for role in InstitutionRole)


async def receive(
    session: AsyncSession,
    county_code: str,
    warning: DepartmentWarning,
    *,
    actor: Actor,
    catalogue: Catalogue,
) -> DepartmentWarning:
    """Take a warning down; it spreads in steps of their own."""
    today = await business_day.today(session, county_code)
    in_force = [
        catalogue.terms(county_code, entry.programme)
        for entry in catalogue.adoptions(county_code, today)
    ]
    checked = rules.receive(
        replace(warning, received_on=today),
        actor=actor,
        departments=DEPARTMENTS,
        in_force=in_force,
    )
    await warning_store.add(session, county_code, checked)
    await outbox.record(
        session, [events_out.department_warning_received(checked, county_code, today)]
    )
    return checked


async def spread(
    db: Database, county_code: str, warning_id: UUID, catalogue: Catalogue
) -> DepartmentWarning:
    """
    Reach all loans of a warning, chunk by chunk, each in its own transaction.

    The place is written with the chunk: whoever comes after a kill goes on there.
    """

    async def some(session: AsyncSession) -> DepartmentWarning:
        return await _spread_some(session, county_code, warning_id, catalogue)

    while not (warning := await db.work(some)).spread:
        pass
    return warning


async def spread_all(db: Database, county_code: str, catalogue: Catalogue) -> None:
    """Go on with warnings whose spreading was cut off."""
    async with db.transaction(walls.EVERY_COUNTY) as session:
        left = await warning_store.spreading(session, county_code)
    for warning_id in left:
        await spread(db, county_code, warning_id, catalogue)


async def _spread_some(
    session: AsyncSession, county_code: str, warning_id: UUID, catalogue: Catalogue
) -> DepartmentWarning:
    warning = await warning_store.lock(session, county_code, warning_id)
    assert warning is not None
    if warning.spread:
        return warning
    today = await business_day.today(session, county_code)
    loans = await warning_store.concerned(session, county_code, warning, CHUNK_MAX)
    households = await warning_store.add_loans(session, county_code, warning_id, loans)
    cause = str(warning_id)
    warned = [Warned(loan.loan_id, warning.kind, today, cause) for loan in loans]
    await standing.warn(session, county_code, warned)
    await notice_store.queue(
        session, county_code, _notices(warning, loans, households, catalogue, today)
    )
    done = len(loans) < CHUNK_MAX
    now = replace(
        warning,
        after_loan_id=loans[-1].loan_id if loans else warning.after_loan_id,
        loans=warning.loans + len(loans),
        households=warning.households + len(households),
        spread=done,
        version=warning.version + done,
    )
    await warning_store.save(session, county_code, now)
    if done:
        await outbox.record(
            session, [events_out.department_warning_spread(now, county_code, today)]
        )
    return now


def _notices(
    warning: DepartmentWarning,
    loans: Sequence[Loan],
    households: Collection[UUID],
    catalogue: Catalogue,
    today: date,
) -> list[Notice]:
    """New households once each by channel, lenders once, organs once a township."""
    terms_of = terms_by_ref(catalogue, loans[0].county_code) if loans else None
    made: dict[tuple[object, ...], Notice] = {}
    for loan in loans:
        assert terms_of is not None
        terms = terms_of(loan.programme)
        told = rules.channels_for(warning, terms) if loan.household_id in households else ()
        for channel in told:
            key: tuple[object, ...] = (loan.household_id, channel)
            if key not in made:
                made[key] = rules.to_household(
                    ids.new_id(), warning, loan, terms, channel=channel, day=today
                )
        for organ in ("", *rules.organs_for(warning, terms)):
            key = (organ, loan.area_code[:9]) if organ else (organ, loan.lender_id)
            if key not in made:
                made[key] = rules.on_platform(
                    ids.new_id(), warning, loan, terms, organ=organ, day=today
                )
    return list(made.values())


async def withdraw(
    session: AsyncSession, county_code: str, warning_id: UUID, *, reason: str, actor: Actor
) -> DepartmentWarning:
    """Take a warning back, and what was not sent of it."""
    today = await business_day.today(session, county_code)
    held = await warning_store.lock(session, county_code, warning_id)
    now = rules.withdraw(held, warning_id, reason=reason, today=today)
    rules.require_own(now, actor)
    await warning_store.save(session, county_code, now)
    await warning_store.withdraw_notices(session, county_code, now, "warning_withdrawn")
    await outbox.record(session, [events_out.department_warning_withdrawn(now, county_code, today)])
    return now
