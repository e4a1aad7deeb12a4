"""Claims: insured lists by file, endorsements, and certificates."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import (
    NOTHING,
    Change,
    Endorsement,
    EntryState,
    InsuredEntry,
    Line,
    MasterPolicy,
)
from services.claims.operations import lists
from services.claims.operations.lists import Changed, Join, Parts, terms_of
from services.claims.operations.policies import own_policy
from services.claims.operations.shared import actor_of
from services.claims.rules import insured as rules
from services.claims.rules import policies as policy_rules
from services.claims.store import assignments as assignments_store
from services.claims.store import insured as store
from services.claims.store import policies as policies_store
from services.claims.store import premium as premium_store
from services.kernel import business_day, ids, pauses
from services.kernel.caller import Caller
from services.kernel.errors import LiandongError, Refused
from services.kernel.money import Fen
from services.programmes.loader import Catalogue
from services.programmes.schema.deployment import InstitutionRole
from services.programmes.schema.insurance import Cover

Outcome = InsuredEntry | LiandongError


async def enrol_insured(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    policy_id: UUID,
    *,
    lines: Sequence[Line],
    dry_run: bool,
) -> tuple[list[Outcome], Fen]:
    """Put lines on a list, each with its verdict; and the premium of those accepted."""
    actor = actor_of(caller)
    await policies_store.hold_policies_alone(session, county_code)
    policy = await own_policy(session, caller, county_code, policy_id)
    today = await business_day.today(session, county_code)
    outcomes, parts = await _decided(session, catalogue, policy, lines, today)
    joins = [
        Join(outcome, policy, parts[outcome.insured_id])
        for outcome in outcomes
        if isinstance(outcome, InsuredEntry)
    ]
    premium_fen = Fen(sum(policy_rules.total(each.parts) for each in joins))
    if not dry_run:
        await lists.join(session, catalogue, joins, {county_code: today})
        records = [
            lists.endorsement(each.entry, "joined", sum_before_fen=NOTHING) for each in joins
        ]
        await store.add_endorsements(session, records, actor=actor, on=today)
    return outcomes, premium_fen


async def _decided(
    session: AsyncSession,
    catalogue: Catalogue,
    policy: MasterPolicy,
    lines: Sequence[Line],
    today: date,
) -> tuple[list[Outcome], dict[UUID, Parts]]:
    county_code = policy.county_code
    if policy.end_reason:
        raise Refused("POLICY_ENDED", "the policy was ended", message_zh="该保单已提前终止")
    households = await store.find_households(
        session, county_code, [line.household_id for line in lines]
    )
    loans = await policies_store.find_loans(
        session, county_code, [line.loan_id for line in lines if line.loan_id]
    )
    listed = await store.on_list(
        session,
        county_code,
        policy.policy_id,
        [(line.household_id, line.cover_id) for line in lines],
    )
    terms = terms_of(catalogue, policy)
    offered = {cover_id: f"{policy.programme_id}/{cover_id}" for cover_id in policy.covers}
    stopped = await pauses.stopped_products(session, county_code, offered.values())
    outcomes: list[Outcome] = []
    parts: dict[UUID, Parts] = {}
    for line in lines:
        try:
            if (refusal := stopped.get(offered.get(line.cover_id, ""))) is not None:
                raise refusal
            loan, is_open = (
                loans.get(line.loan_id, (None, False)) if line.loan_id else (None, False)
            )
            entry, owed = rules.enrol(
                line,
                policy,
                terms,
                household=households.get(line.household_id),
                loan=loan if is_open else None,
                today=today,
                insured_id=ids.new_id(),
            )
            key = (line.household_id, line.member_id, line.loan_id, line.cover_id)
            if key in listed:
                raise rules.already_insured(line)
            listed.add(key)
            parts[entry.insured_id] = owed
            outcomes.append(entry)
        except LiandongError as error:
            outcomes.append(error)
    return outcomes, parts


async def endorse_insured(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    policy_id: UUID,
    *,
    changes: Sequence[Change],
    dry_run: bool,
) -> tuple[list[Outcome], Fen]:
    """Change entries, each with its verdict; and the premium charged (below 0: refunded)."""
    actor = actor_of(caller)
    await policies_store.hold_policies_alone(session, county_code)
    policy = await own_policy(session, caller, county_code, policy_id)
    today = await business_day.today(session, county_code)
    terms = terms_of(catalogue, policy)
    asked = [change.insured_id for change in changes]
    held = await store.lock_entries(session, county_code, policy_id, asked)
    outcomes: list[Outcome] = []
    # A second change of an entry in this batch sees the first.
    done: list[Changed] = []
    for wanted in changes:
        try:
            entry = held.get(wanted.insured_id)
            if entry is None:
                raise Refused(
                    "INSURED_UNKNOWN",
                    f"{wanted.insured_id} is not on the list",
                    message_zh="承保清单中无此记录",
                )
            after, parts = rules.change(entry, wanted, policy, terms, today)
            kind = "left" if wanted.leaves else "sum_changed"
            done.append(Changed(entry, after, policy, parts, kind, wanted.reason))
            held[wanted.insured_id] = after
            outcomes.append(after)
        except LiandongError as error:
            outcomes.append(error)
    if not dry_run:
        # The last word on an entry is written.
        await lists.change(session, done, actor=actor, on=today)
        await lists.say_changed(session, catalogue, policy, done, on=today)
    return outcomes, Fen(sum(policy_rules.total(each.parts) for each in done))


# --- reading --------------------------------------------------------------------------------------


def insurer_of(caller: Caller) -> str:
    """An insurer sees only its own policies."""
    return caller.institution_id if caller.role == InstitutionRole.INSURER else ""


@dataclass(frozen=True, slots=True)
class PolicyView:
    """A policy with its counts and its premium."""

    policy: MasterPolicy
    insured_count: int
    household_count: int
    charged_fen: Fen
    paid_fen: Fen


async def view_policies(
    session: AsyncSession, county_code: str, policies: Sequence[MasterPolicy]
) -> list[PolicyView]:
    """Policies with what stands around them."""
    wanted = [policy.policy_id for policy in policies]
    counts = await store.policy_counts(session, county_code, wanted)
    sums = await premium_store.policy_sums(session, county_code, wanted)
    return [
        PolicyView(policy, *counts.get(policy.policy_id, (0, 0)), *sums[policy.policy_id])
        for policy in policies
    ]


async def list_policies(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    *,
    programme_id: str,
    after: UUID,
    limit: int,
) -> list[PolicyView]:
    """A page of policies."""
    found = await policies_store.list_policies(
        session,
        county_code,
        programme_id=programme_id,
        insurer_id=insurer_of(caller),
        after=after,
        limit=limit,
    )
    return await view_policies(session, county_code, found)


async def list_insured(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    policy_id: UUID,
    *,
    household_id: UUID | None,
    after: UUID,
    limit: int,
) -> list[InsuredEntry]:
    """A page of a policy's list; a village or a town sees its own households on it."""
    await own_policy(session, caller, county_code, policy_id)
    areas = () if set(caller.areas) <= {county_code} else caller.areas
    return await store.list_insured(
        session,
        county_code,
        policy_id,
        household_id=household_id,
        areas=areas,
        after=after,
        limit=limit,
    )


async def list_endorsements(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    policy_id: UUID,
    *,
    after: UUID,
    limit: int,
) -> list[Endorsement]:
    """A page of what changed on a policy's list."""
    await own_policy(session, caller, county_code, policy_id)
    return await store.list_endorsements(session, county_code, policy_id, after=after, limit=limit)


@dataclass(frozen=True, slots=True)
class CertificateLine:
    """One cover of a household's certificate."""

    entry: InsuredEntry
    policy: MasterPolicy
    cover: Cover
    parts: Parts
    payees_first: tuple[str, ...]


async def certificate(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    household_id: UUID,
    *,
    on: date,
) -> list[CertificateLine]:
    """What a household is insured for on a day, and whom payouts go to first."""
    households = await store.find_households(session, county_code, [household_id])
    known = households.get(household_id)
    if known is not None and not caller.may_act_in(known.area_code):
        return []
    entries = await store.entries_of_household(session, county_code, household_id, on)
    policies = await policies_store.find_policies(
        session, county_code, [entry.policy_id for entry in entries]
    )
    asked = [(household_id, entry.cover_id, on) for entry in entries]
    assigned = await assignments_store.assignments_in_force(session, county_code, asked)
    lines = []
    for entry in entries:
        policy = policies[entry.policy_id]
        if insurer_of(caller) not in ("", policy.insurer_id) or entry.state is EntryState.CANCELLED:
            continue
        terms = terms_of(catalogue, policy)
        cover = terms.cover(entry.cover_id)
        parts = rules.premium_of_entry(entry, policy, cover, terms, entry.sum_insured_fen)
        lenders = assigned.get((household_id, entry.cover_id, on), ())
        first = tuple(dict.fromkeys(loan.lender_id for loan in lenders))
        lines.append(CertificateLine(entry, policy, cover, parts, first))
    return lines


async def count_certificates(
    session: AsyncSession, caller: Caller, county_code: str, programme_id: str, on: date | None
) -> tuple[int, int, int, Fen]:
    """Certificates, policies, households and sum insured of a day."""
    day = on or await business_day.today(session, county_code)
    return await store.counts(session, county_code, programme_id, insurer_of(caller), day)
