"""Claims: master policies issued, renewed and ended, and the loans that join their lists."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import (
    NOTHING,
    ApprovedLoan,
    Assignment,
    Endorsement,
    InsuredEntry,
    MasterPolicy,
)
from services.claims.operations import lists
from services.claims.operations.lists import terms_of
from services.claims.operations.shared import actor_of, days_of
from services.claims.rules import agreements as agreement_rules
from services.claims.rules import insured as insured_rules
from services.claims.rules import policies as rules
from services.claims.store import agreements as agreements_store
from services.claims.store import assignments as assignments_store
from services.claims.store import insured as insured_store
from services.claims.store import others
from services.claims.store import policies as store
from services.kernel import business_day, ids, pauses
from services.kernel.caller import Caller
from services.kernel.errors import Conflict, Denied, NotFound, Refused
from services.kernel.money import Fen
from services.kernel.values import replace
from services.programmes import policies as clauses
from services.programmes.loader import Catalogue
from services.programmes.schema.deployment import InstitutionRole

AWAITED_ROWS_MAX = 1_000
"""Waiting covers taken in one go when a policy begins."""
ENDED_ROWS = 1_000
"""Entries that end with their policy, in one go."""


@dataclass(frozen=True, slots=True)
class PolicyApplication:
    """A policy that somebody wants to issue."""

    county_code: str
    insurer_id: str
    programme_id: str
    area_code: str
    covers: tuple[str, ...]
    from_date: date
    until_date: date
    rate_ppm: int | None = None
    enterprise_id: str = ""
    expected_lending_fen: Fen = NOTHING


async def issue_master_policy(
    session: AsyncSession, catalogue: Catalogue, caller: Caller, application: PolicyApplication
) -> MasterPolicy:
    """Issue a policy under the pack in force; loans that wait for its covers join at once."""
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
        area_code=application.area_code or county_code,
        covers=application.covers,
        from_date=application.from_date,
        until_date=application.until_date,
        rate_ppm=application.rate_ppm,
        enterprise_id=application.enterprise_id,
    )
    await _issue(session, catalogue, caller, policy, today)
    await _charge_expected(session, catalogue, policy, application.expected_lending_fen, today)
    await join_awaiting(session, catalogue, county_code, today)
    return policy


async def _issue(
    session: AsyncSession, catalogue: Catalogue, caller: Caller, policy: MasterPolicy, today: date
) -> None:
    issuer = actor_of(caller)
    terms = terms_of(catalogue, policy)
    rules.check_policy(policy, terms)
    offered = [f"{policy.programme_id}/{cover_id}" for cover_id in policy.covers]
    for refusal in (await pauses.stopped_products(session, policy.county_code, offered)).values():
        raise refusal
    agreements = await agreements_store.agreements_of(
        session, policy.county_code, policy.programme_id, policy.insurer_id
    )
    days = (today, policy.from_date)
    agreement_rules.require_agreement(terms.insurance, agreements, policy.insurer_id, days)
    if others_found := await store.overlapping_policies(session, policy):
        other = others_found[0]
        own = f"policy {other.policy_id}" if other.insurer_id == policy.insurer_id else "a policy"
        raise Conflict(
            "POLICY_EXISTS",
            # Another insurer's policy is nobody's to know by its id.
            f"{own} insures {', '.join(other.covers)} in {other.area_code}"
            f" from {other.from_date} to {other.until_date}",
            message_zh="该险种在此期间已有保单",
        )
    await store.add_policy(session, policy, issuer=issuer, on=today)


async def _charge_expected(
    session: AsyncSession,
    catalogue: Catalogue,
    policy: MasterPolicy,
    expected_fen: Fen,
    today: date,
) -> None:
    """A premium on lending begins as one on the lending that is expected."""
    if not expected_fen:
        return
    clause = rules.lending_premium(policy, terms_of(catalogue, policy).insurance)
    if clause is None:
        raise Refused(
            "PREMIUM_NOT_ON_LENDING",
            "the programme charges this policy entry by entry",
            message_zh="该保单保费不按贷款额计收",
        )
    premium = clauses.policy_premium(clause, lending_fen=expected_fen)
    charge = rules.lending_charge(
        policy,
        clause,
        premium.premium_fen,
        kind="provisional",
        value_date=policy.from_date,
        charge_id=ids.new_id(),
    )
    await lists.post_charges(session, [charge], {policy.county_code: today})


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


async def own_policy(
    session: AsyncSession, caller: Caller, county_code: str, policy_id: UUID
) -> MasterPolicy:
    """A policy, if the caller may act on it: an insurer only on its own."""
    policy = (await store.find_policies(session, county_code, [policy_id])).get(policy_id)
    foreign = caller.role == InstitutionRole.INSURER and (
        policy is None or policy.insurer_id != caller.institution_id
    )
    if policy is None or foreign:
        raise rules.policy_not_found(policy_id)
    return policy


# --- renewal and end ------------------------------------------------------------------------------


async def renew_master_policy(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    policy_id: UUID,
    *,
    until_date: date,
) -> MasterPolicy:
    """The policy that follows on the last day of another, under the pack in force."""
    await store.hold_policies_alone(session, county_code)
    old = await own_policy(session, caller, county_code, policy_id)
    if old.end_reason:
        raise _ended(old)
    today = await business_day.today(session, county_code)
    new = replace(
        old,
        policy_id=ids.new_id(),
        programme=catalogue.in_force(county_code, old.programme_id, today),
        from_date=old.until_date + timedelta(days=1),
        until_date=until_date,
        renews_policy_id=old.policy_id,
    )
    await _issue(session, catalogue, caller, new, today)
    return new


def _ended(policy: MasterPolicy) -> Refused:
    return Refused(
        "POLICY_ENDED",
        f"the policy was ended on {policy.until_date}: {policy.end_reason}",
        message_zh="该保单已提前终止",
    )


async def carry_insured_over(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    policy_id: UUID,
    *,
    limit: int,
) -> tuple[int, int]:
    """Take entries of the old list over to the renewed policy; how many, and whether some wait."""
    actor = actor_of(caller)
    await store.hold_policies_alone(session, county_code)
    new = await own_policy(session, caller, county_code, policy_id)
    if new.renews_policy_id is None:
        raise Refused(
            "POLICY_RENEWS_NONE", "the policy renews no other", message_zh="该保单非续保保单"
        )
    today = await business_day.today(session, county_code)
    found = await insured_store.successors(
        session, county_code, new.renews_policy_id, policy_id, limit=limit + 1
    )
    terms = terms_of(catalogue, new)
    joins: list[lists.Join] = []
    records: list[Endorsement] = []
    for old in found[:limit]:
        entry, parts = insured_rules.renew(old, new, terms, today=today, insured_id=ids.new_id())
        joins.append(lists.Join(entry, new, parts))
        records.append(lists.endorsement(entry, "carried_over", sum_before_fen=NOTHING))
    await lists.join(session, catalogue, joins, {county_code: today})
    await insured_store.add_endorsements(session, records, actor=actor, on=today)
    return len(joins), len(found) - len(joins)


async def end_master_policy(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    policy_id: UUID,
    *,
    last_day: date,
    reason: str,
) -> tuple[MasterPolicy, int, Fen]:
    """End a policy before its term: every entry ends with it, and what is unearned goes back."""
    actor = actor_of(caller)
    await store.hold_policies_alone(session, county_code)
    policy = await own_policy(session, caller, county_code, policy_id)
    today = await business_day.today(session, county_code)
    if policy.end_reason or policy.until_date < today:
        raise _ended(policy)
    if not max(today, policy.from_date) <= last_day < policy.until_date:
        raise Refused(
            "POLICY_END_OUT_OF_RANGE",
            f"{last_day} is not from {max(today, policy.from_date)} to before {policy.until_date}",
            message_zh="终止日不在保险期间内",
        )
    terms = terms_of(catalogue, policy)
    after, count, refund_fen = UUID(int=0), 0, 0
    while True:
        found = await insured_store.lock_open_entries(
            session, county_code, policy_id, last_day=last_day, after=after, limit=ENDED_ROWS
        )
        changes = []
        for entry in found:
            gone, parts = insured_rules.leave(entry, policy, terms, last_day=last_day)
            changes.append(lists.Changed(entry, gone, policy, parts, "policy_ended", reason))
        refund_fen -= sum(rules.total(change.parts) for change in changes)
        await lists.change(session, changes, actor=actor, on=today)
        count += len(found)
        if len(found) < ENDED_ROWS:
            break
        after = found[-1].insured_id
    await store.end_policy(session, policy, last_day=last_day, reason=reason)
    ended = replace(policy, until_date=last_day, end_reason=reason)
    return ended, count, Fen(refund_fen)


# --- loans join by event --------------------------------------------------------------------------


async def join_awaiting(
    session: AsyncSession, catalogue: Catalogue, county_code: str, on: date
) -> None:
    """Let waiting loans join the policies that cover this day; the caller holds the policies."""
    policies = await store.policies_awaited(session, county_code, on)
    by_id = {policy.policy_id: policy for policy in policies}
    joinable = [
        (policy.policy_id, cover_id)
        for policy in policies
        for cover_id in policy.covers
        if not rules.is_stated(terms_of(catalogue, policy).cover(cover_id))
    ]
    while joinable:
        found = await store.take_awaited(session, county_code, joinable, rows_max=AWAITED_ROWS_MAX)
        wanted = [(loan, by_id[policy_id], cover_id, on) for loan, policy_id, cover_id in found]
        await _join_loans(session, catalogue, wanted, {county_code: on})
        if len(found) < AWAITED_ROWS_MAX:
            return


async def close_day(
    session: AsyncSession, catalogue: Catalogue, county_code: str, day: date
) -> None:
    """Covers begin with the day that follows and end with this one; waiting loans join."""
    await store.hold_policies_alone(session, county_code)
    following = day + timedelta(days=1)
    await lists.begin_entries(session, catalogue, county_code, upto=following, on=day)
    await lists.end_entries(session, catalogue, county_code, day, on=day)
    await join_awaiting(session, catalogue, county_code, following)


Wanted = tuple[ApprovedLoan, MasterPolicy, str, date]
"""A loan, the policy of a cover that it needs, the cover, and the day."""


async def enrol(session: AsyncSession, catalogue: Catalogue, loans: Sequence[ApprovedLoan]) -> None:
    """Put approved loans' households on the lists of the covers they require, or let them wait."""
    # A policy that is issued meanwhile would miss the loans that find none here.
    await store.hold_policies(session, [loan.county_code for loan in loans])
    fresh = await others.add_loans(session, loans)
    asked = [
        (
            loan,
            cover_id,
            (loan.county_code, loan.programme_id, cover_id, loan.approved_on, loan.area_code),
        )
        for loan in loans
        if loan.loan_id in fresh
        for cover_id in loan.required_covers
    ]
    policies = await store.policies_on(session, [key for _, _, key in asked])
    found = [
        (loan, policies[key], cover_id, loan.approved_on)
        for loan, cover_id, key in asked
        if key in policies
    ]
    days = await days_of(session, [(loan.county_code, on) for loan, _, _, on in found])
    left = await _join_loans(session, catalogue, found, days)
    awaited = [(loan, cover_id) for loan, cover_id, key in asked if key not in policies]
    await store.add_awaited(session, awaited + left)


async def _join_loans(
    session: AsyncSession,
    catalogue: Catalogue,
    wanted: Sequence[Wanted],
    days: Mapping[str, date],
) -> list[tuple[ApprovedLoan, str]]:
    """
    Put loans on lists; the answer is what no event can put there.

    A household that is on the list already, for a sum that has nothing to do with a loan, is not
    insured twice: its entry stands behind the loan too.
    """
    if not wanted:
        return []
    of_household = [
        (loan.county_code, loan.household_id, cover_id, on)
        for loan, policy, cover_id, on in wanted
        if rules.is_of_household(terms_of(catalogue, policy).cover(cover_id))
    ]
    standing = await insured_store.household_entries(session, of_household) if of_household else {}
    joins: list[lists.Join] = []
    backed: list[tuple[InsuredEntry, UUID]] = []
    left: list[tuple[ApprovedLoan, str]] = []
    assignments: list[Assignment] = []
    for loan, policy, cover_id, on in wanted:
        terms = terms_of(catalogue, policy)
        cover = terms.cover(cover_id)
        entry = standing.get((loan.county_code, loan.household_id, cover_id, on))
        if entry is not None:
            backed.append((entry, loan.loan_id))
        elif rules.is_stated(cover):
            left.append((loan, cover_id))
        else:
            made, parts = insured_rules.join(
                loan, policy, cover, terms, on=on, insured_id=ids.new_id()
            )
            joins.append(lists.Join(made, policy, parts))
        if loan.assignment_evidence and cover.assigned is True:
            assignments.append(_assignment(loan, cover_id, ids.new_id()))
    await assignments_store.add_assignments(session, assignments, first_only=True)
    await lists.join(session, catalogue, joins, days)
    await lists.back(session, catalogue, backed, days)
    return left


def _assignment(loan: ApprovedLoan, cover_id: str, assignment_id: UUID) -> Assignment:
    return Assignment(
        county_code=loan.county_code,
        assignment_id=assignment_id,
        household_id=loan.household_id,
        cover_id=cover_id,
        loan_id=loan.loan_id,
        lender_id=loan.lender_id,
        evidence=loan.assignment_evidence,
        from_date=loan.approved_on,
    )


async def note_disbursed(
    session: AsyncSession, paid: Sequence[tuple[str, UUID, int, date]]
) -> None:
    """Keep what was really lent: premium on lending is trued up by it."""
    await store.add_disbursed(session, paid)
