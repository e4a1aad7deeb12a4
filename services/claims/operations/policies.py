"""Claims: master policies, and the households on their insured lists."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims import events_out
from services.claims.model import ApprovedLoan, Assignment, InsuredEntry, MasterPolicy
from services.claims.operations.shared import actor_of, days_of
from services.claims.rules import policies as rules
from services.claims.store import assignments as assigned
from services.claims.store import others
from services.claims.store import policies as store
from services.kernel import business_day, ids, journal, outbox
from services.kernel.caller import Caller
from services.kernel.errors import Conflict, Denied, NotFound
from services.kernel.journal import Account, Entry, Transfer
from services.programmes.loader import Catalogue
from services.programmes.schema.deployment import InstitutionRole
from services.programmes.schema.insurance import Cover

AWAITED_ROWS_MAX = 1_000
"""Waiting covers taken in one go when a policy begins."""


@dataclass(frozen=True, slots=True)
class PolicyApplication:
    """A policy that somebody wants to issue."""

    county_code: str
    insurer_id: str
    programme_id: str
    cover_id: str
    from_date: date
    until_date: date


async def issue_master_policy(
    session: AsyncSession, catalogue: Catalogue, caller: Caller, application: PolicyApplication
) -> MasterPolicy:
    """Issue a policy under the pack in force; loans that wait for its cover join at once."""
    issuer = actor_of(caller)
    _check_insurer(catalogue, caller, application.insurer_id)
    county_code = application.county_code
    await store.hold_policies_alone(session, county_code)
    today = await business_day.today(session, county_code)
    ref = catalogue.in_force(county_code, application.programme_id, today)
    policy = MasterPolicy(
        county_code=county_code,
        policy_id=ids.new_id(),
        insurer_id=application.insurer_id,
        programme_id=application.programme_id,
        programme=ref,
        cover_id=application.cover_id,
        from_date=application.from_date,
        until_date=application.until_date,
    )
    rules.check_policy(policy, catalogue.terms(county_code, ref))
    if others := await store.overlapping_policies(session, policy):
        raise Conflict(
            "POLICY_EXISTS",
            f"policy {others[0].policy_id} insures {policy.cover_id} from {others[0].from_date}"
            f" to {others[0].until_date}",
            message_zh="该险种在此期间已有保单",
        )
    await store.add_policy(session, policy, issuer=issuer, on=today)
    await join_awaiting(session, catalogue, county_code, today)
    return policy


def _check_insurer(catalogue: Catalogue, caller: Caller, insurer_id: str) -> None:
    if caller.role == InstitutionRole.INSURER and caller.institution_id != insurer_id:
        raise Denied(
            "INSURER_NOT_YOU",
            f"{caller.institution_id} cannot issue a policy of {insurer_id}",
            message_zh="不得代其他保险机构出单",
        )
    known = catalogue.institutions.get(insurer_id)
    if catalogue.institutions and (known is None or known.role is not InstitutionRole.INSURER):
        raise NotFound("INSURER_UNKNOWN", f"no insurer {insurer_id}", message_zh="无此保险机构")


async def join_awaiting(
    session: AsyncSession, catalogue: Catalogue, county_code: str, on: date
) -> None:
    """Let waiting loans join the policies that cover this day; the caller holds the policies."""
    while True:
        found = await store.take_awaited(session, county_code, on, rows_max=AWAITED_ROWS_MAX)
        days = {county_code: on}
        await _join(session, catalogue, [(loan, policy, on) for loan, policy in found], days)
        if len(found) < AWAITED_ROWS_MAX:
            return


async def close_day(
    session: AsyncSession, catalogue: Catalogue, county_code: str, day: date
) -> None:
    """Let waiting loans join the policies whose term begins on the day that follows."""
    await store.hold_policies_alone(session, county_code)
    await join_awaiting(session, catalogue, county_code, day + timedelta(days=1))


async def enrol(session: AsyncSession, catalogue: Catalogue, loans: Sequence[ApprovedLoan]) -> None:
    """Put approved loans' households on the lists of the covers they require, or let them wait."""
    # A policy that is issued meanwhile would miss the loans that find none here.
    await store.hold_policies(session, [loan.county_code for loan in loans])
    fresh = await others.add_loans(session, loans)
    wanted = [
        (loan, cover_id, (loan.county_code, loan.programme_id, cover_id, loan.approved_on))
        for loan in loans
        if loan.loan_id in fresh
        for cover_id in loan.required_covers
    ]
    policies = await store.policies_on(session, [key for _, _, key in wanted])
    joins = [(loan, policies[key], loan.approved_on) for loan, _, key in wanted if key in policies]
    days = await days_of(session, [(loan.county_code, on) for loan, _, on in joins])
    await _join(session, catalogue, joins, days)
    awaited = [(loan, cover_id) for loan, cover_id, key in wanted if key not in policies]
    await store.add_awaited(session, awaited)


async def _join(
    session: AsyncSession,
    catalogue: Catalogue,
    joins: Sequence[tuple[ApprovedLoan, MasterPolicy, date]],
    days: dict[str, date],
) -> None:
    if not joins:
        return
    entries: list[tuple[InsuredEntry, MasterPolicy]] = []
    assignments: list[Assignment] = []
    for loan, policy, on in joins:
        cover = _cover_of(catalogue, policy)
        entry = rules.join(loan, policy, cover, on=on, insured_id=ids.new_id())
        entries.append((entry, policy))
        if loan.assignment_evidence:
            assignments.append(_assignment(loan, entry, ids.new_id()))
    await store.add_insured(session, [entry for entry, _ in entries])
    await assigned.add_assignments(session, assignments)
    await journal.post(
        session,
        [_premium_due(entry, policy, days[entry.county_code]) for entry, policy in entries],
    )
    await outbox.record(
        session,
        [
            events_out.household_insured(
                entry,
                policy,
                cover_kind=_cover_of(catalogue, policy).kind,
                on=days[entry.county_code],
            )
            for entry, policy in entries
        ],
    )


def _cover_of(catalogue: Catalogue, policy: MasterPolicy) -> Cover:
    return catalogue.terms(policy.county_code, policy.programme).cover(policy.cover_id)


def _assignment(loan: ApprovedLoan, entry: InsuredEntry, assignment_id: UUID) -> Assignment:
    return Assignment(
        county_code=loan.county_code,
        assignment_id=assignment_id,
        household_id=loan.household_id,
        cover_id=entry.cover_id,
        loan_id=loan.loan_id,
        lender_id=loan.lender_id,
        evidence=loan.assignment_evidence,
        from_date=loan.approved_on,
    )


def _premium_due(entry: InsuredEntry, policy: MasterPolicy, on: date) -> Entry:
    receivable = Account("premium_receivable", entry.premium_payer_id)
    income = Account("premium_income", policy.insurer_id)
    return Entry(
        county_code=entry.county_code,
        kind="premium_due",
        cause_id=str(entry.insured_id),
        value_date=entry.from_date,
        business_date=on,
        transfers=(Transfer(debit=receivable, credit=income, amount_fen=entry.premium_fen),),
    )
