"""Claims: assignments recorded and revoked, and repayments that a lender says are in difficulty."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import Assignment, Difficulty
from services.claims.operations.shared import actor_of
from services.claims.rules import assignments as rules
from services.claims.store import assignments as store
from services.claims.store import insured as insured_store
from services.claims.store import policies as policies_store
from services.kernel import business_day, ids
from services.kernel.caller import Caller
from services.kernel.errors import LiandongError, NotFound, Refused
from services.kernel.values import replace
from services.programmes.loader import Catalogue
from services.programmes.schema.deployment import InstitutionRole

LENDERS = (InstitutionRole.BANK, InstitutionRole.MUTUAL_AID_SOCIETY)


@dataclass(frozen=True, slots=True)
class Given:
    """An authorisation that a household gave its lender."""

    loan_id: UUID
    cover_id: str
    evidence: str
    from_date: date


@dataclass(frozen=True, slots=True)
class Revoked:
    """An assignment that stands no more from a day on."""

    assignment_id: UUID
    revoked_from: date
    evidence: str


async def record_assignments(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    given: Sequence[Given],
) -> list[Assignment | LiandongError]:
    """Keep what households authorised, each with its verdict."""
    actor = actor_of(caller)
    today = await business_day.today(session, county_code)
    loans = await policies_store.find_loans(session, county_code, [each.loan_id for each in given])
    decided: list[Assignment | LiandongError] = []
    for each in given:
        try:
            found, is_open = loans.get(each.loan_id, (None, False))
            loan = rules.check_loan(found, is_open, caller.institution_id, each.loan_id)
            assignment = Assignment(
                county_code=county_code,
                assignment_id=ids.new_id(),
                household_id=loan.household_id,
                cover_id=each.cover_id,
                loan_id=each.loan_id,
                lender_id=loan.lender_id,
                evidence=each.evidence,
                from_date=each.from_date,
            )
            rules.check_assignment(assignment, loan, catalogue.terms(county_code, loan.programme))
            decided.append(assignment)
        except LiandongError as error:
            decided.append(error)
    wanted = [each for each in decided if isinstance(each, Assignment)]
    kept = await store.add_assignments(session, wanted)
    changes = [
        (each.assignment_id, "recorded", each.from_date, each.evidence)
        for each in wanted
        if each.assignment_id in kept
    ]
    await store.add_changes(session, county_code, changes, actor=actor, on=today)
    return [
        rules.assignment_exists(each)
        if isinstance(each, Assignment) and each.assignment_id not in kept
        else each
        for each in decided
    ]


async def revoke_assignments(
    session: AsyncSession, caller: Caller, county_code: str, revoked: Sequence[Revoked]
) -> list[Assignment | LiandongError]:
    """Let assignments stand no more from a day on, each with its verdict; a lender only its own."""
    actor = actor_of(caller)
    today = await business_day.today(session, county_code)
    held = await store.lock_assignments(
        session, county_code, [each.assignment_id for each in revoked]
    )
    outcomes: list[Assignment | LiandongError] = []
    done: list[Revoked] = []
    for each in revoked:
        try:
            assignment = held.get(each.assignment_id)
            foreign = caller.role in LENDERS and (
                assignment is not None and assignment.lender_id != caller.institution_id
            )
            if assignment is None or foreign:
                raise Refused(
                    "ASSIGNMENT_UNKNOWN",
                    f"no assignment {each.assignment_id}",
                    message_zh="无此权益转让",
                )
            rules.check_revocation(assignment, each.revoked_from, today)
            after = replace(assignment, revoked_from=each.revoked_from)
            held[each.assignment_id] = after
            done.append(each)
            outcomes.append(after)
        except LiandongError as error:
            outcomes.append(error)
    if done:
        rows = [(each.assignment_id, each.revoked_from) for each in done]
        await store.revoke(session, county_code, rows)
    changes = [(each.assignment_id, "revoked", each.revoked_from, each.evidence) for each in done]
    await store.add_changes(session, county_code, changes, actor=actor, on=today)
    return outcomes


def lender_of(caller: Caller) -> str:
    """A lender sees only what is assigned to it."""
    return caller.institution_id if caller.role in LENDERS else ""


async def list_assignments(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    *,
    household_id: UUID | None,
    after: UUID,
    limit: int,
) -> list[Assignment]:
    """A page of assignments; another area's household has none."""
    if household_id is not None:
        known = (await insured_store.find_households(session, county_code, [household_id])).get(
            household_id
        )
        if known is not None and not caller.may_act_in(known.area_code):
            return []
    return await store.list_assignments(
        session,
        county_code,
        household_id=household_id,
        lender_id=lender_of(caller),
        after=after,
        limit=limit,
    )


async def confirm_difficulty(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    loan_id: UUID,
    *,
    cause: str,
    evidence: str,
    from_date: date,
) -> Difficulty:
    """The lender's word that a loss made repayment of its loan difficult (S04)."""
    actor = actor_of(caller)
    today = await business_day.today(session, county_code)
    loans = await policies_store.find_loans(session, county_code, [loan_id])
    found, is_open = loans.get(loan_id, (None, False))
    loan = rules.check_loan(found, is_open, caller.institution_id, loan_id)
    difficulty = Difficulty(
        county_code=county_code,
        difficulty_id=ids.new_id(),
        loan_id=loan_id,
        household_id=loan.household_id,
        lender_id=loan.lender_id,
        cause=cause,
        evidence=evidence,
        from_date=from_date,
    )
    rules.check_difficulty(difficulty, today)
    if not await store.add_difficulty(session, difficulty, person_id=actor.person_id, on=today):
        raise Refused(
            "DIFFICULTY_EXISTS",
            f"loan {loan_id} is in difficulty already",
            message_zh="该贷款已确认还款困难",
        )
    return difficulty


async def end_difficulty(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    difficulty_id: UUID,
    *,
    ended_from: date,
) -> Difficulty:
    """The lender says that repayment is in difficulty no more."""
    actor = actor_of(caller)
    found = await store.lock_difficulty(session, county_code, difficulty_id)
    if found is None or found.lender_id != caller.institution_id:
        raise NotFound(
            "DIFFICULTY_NOT_FOUND", f"no difficulty {difficulty_id}", message_zh="无此困难确认"
        )
    today = await business_day.today(session, county_code)
    rules.check_end(found, ended_from, today)
    await store.end_difficulty(session, found, ended_from, person_id=actor.person_id)
    return replace(found, ended_from=ended_from)


async def list_difficulties(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    *,
    household_id: UUID | None,
    after: UUID,
    limit: int,
) -> list[Difficulty]:
    """A page of difficulties."""
    return await store.list_difficulties(
        session,
        county_code,
        household_id=household_id,
        lender_id=lender_of(caller),
        after=after,
        limit=limit,
    )
