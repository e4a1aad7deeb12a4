"""Claims: what every change of an insured list does: entries, charges, journal and events."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims import events_out
from services.claims.model import (
    Actor,
    Charge,
    Endorsement,
    EntryState,
    InsuredEntry,
    MasterPolicy,
)
from services.claims.rules import insured as insured_rules
from services.claims.rules import policies as rules
from services.claims.store import insured as store
from services.claims.store import policies as policies_store
from services.claims.store import premium as premium_store
from services.kernel import ids, journal, outbox
from services.kernel.journal import Account, Entry, Transfer
from services.kernel.money import Fen
from services.kernel.outbox import OutgoingEvent
from services.kernel.values import replace
from services.programmes.loader import Catalogue
from services.programmes.terms import Terms

ROWS_MAX = 1_000
"""Entries that begin or end in one go."""

Parts = Mapping[str, Fen]
"""Premium by who owes it."""


@dataclass(frozen=True, slots=True)
class Join:
    """A new entry, its policy, and who owes its premium."""

    entry: InsuredEntry
    policy: MasterPolicy
    parts: Parts


@dataclass(frozen=True, slots=True)
class Changed:
    """An entry before and after an endorsement, and who owes more or gets back."""

    before: InsuredEntry
    after: InsuredEntry
    policy: MasterPolicy
    parts: Parts
    kind: str
    reason: str


def terms_of(catalogue: Catalogue, policy: MasterPolicy) -> Terms:
    """What a policy was issued under."""
    return catalogue.terms(policy.county_code, policy.programme)


async def join(
    session: AsyncSession, catalogue: Catalogue, joins: Sequence[Join], days: Mapping[str, date]
) -> set[UUID]:
    """
    Put entries on lists, charge their premium, and say which loans are insured from now on.

    What begins later, or must be paid first, waits. The answer has the ids of those that were not
    on a list already.
    """
    if not joins:
        return set()
    placed = [_placed(catalogue, each, days[each.policy.county_code]) for each in joins]
    added = await store.add_insured(session, [each.entry for each in placed])
    kept = [each for each in placed if each.entry.insured_id in added]
    charges = [
        charge
        for each in kept
        for charge in rules.charges(
            each.entry,
            each.policy,
            each.parts,
            kind="entry",
            value_date=each.entry.from_date,
            new_id=ids.new_id,
        )
    ]
    await post_charges(session, charges, days)
    begun = [each for each in kept if each.entry.state is EntryState.IN_FORCE]
    await outbox.record(
        session,
        [
            _insured(catalogue, each.policy, each.entry, each.entry.loan_id, on=days)
            for each in begun
            if each.entry.loan_id is not None
        ],
    )
    await _back_waiting(
        session,
        catalogue,
        [each.entry for each in begun if each.entry.loan_id is None],
        days,
    )
    return added


def _placed(catalogue: Catalogue, each: Join, today: date) -> Join:
    entry = each.entry
    terms = terms_of(catalogue, each.policy)
    if entry.from_date > today or insured_rules.needs_payment(terms, entry):
        return each
    version = 0 if entry.loan_id is None else 1
    return replace(each, entry=replace(entry, state=EntryState.IN_FORCE, version=version))


def _insured(
    catalogue: Catalogue,
    policy: MasterPolicy,
    entry: InsuredEntry,
    loan_id: UUID | None,
    *,
    on: Mapping[str, date],
) -> OutgoingEvent:
    return events_out.household_insured(
        entry,
        policy,
        loan_id=loan_id,
        cover_kind=terms_of(catalogue, policy).cover(entry.cover_id).kind,
        on=on[entry.county_code],
    )


async def _back_waiting(
    session: AsyncSession,
    catalogue: Catalogue,
    entries: Sequence[InsuredEntry],
    days: Mapping[str, date],
) -> None:
    """Households' entries came into force: loans that wait for their covers wait no more."""
    by_county: dict[str, dict[tuple[UUID, str], InsuredEntry]] = {}
    for entry in entries:
        own = by_county.setdefault(entry.county_code, {})
        own.setdefault((entry.household_id, entry.cover_id), entry)
    for county_code, own in by_county.items():
        taken = await policies_store.take_awaited_of(session, county_code, list(own))
        backed = [(own[(household, cover)], loan_id) for loan_id, household, cover in taken]
        await back(session, catalogue, backed, days)


async def back(
    session: AsyncSession,
    catalogue: Catalogue,
    backed: Sequence[tuple[InsuredEntry, UUID]],
    days: Mapping[str, date],
) -> None:
    """Let households' entries stand behind loans, and say so."""
    for county_code in sorted({entry.county_code for entry, _ in backed}):
        own = [(entry, loan_id) for entry, loan_id in backed if entry.county_code == county_code]
        rows = [(loan_id, entry.cover_id, entry.insured_id) for entry, loan_id in own]
        fresh = await store.add_covered(session, county_code, rows)
        new = [(entry, loan_id) for entry, loan_id in own if (entry.insured_id, loan_id) in fresh]
        await _say_insured(session, catalogue, county_code, new, days)


async def _say_insured(
    session: AsyncSession,
    catalogue: Catalogue,
    county_code: str,
    said: Sequence[tuple[InsuredEntry, UUID]],
    days: Mapping[str, date],
) -> None:
    """Loans and the entries behind them, each event with the next number of its entry."""
    if not said:
        return
    policies = await policies_store.find_policies(
        session, county_code, [entry.policy_id for entry, _ in said]
    )
    numbers = await _numbers(session, county_code, [entry.insured_id for entry, _ in said])
    await outbox.record(
        session,
        [
            _insured(
                catalogue,
                policies[entry.policy_id],
                replace(entry, version=number),
                loan_id,
                on=days,
            )
            for (entry, loan_id), number in zip(said, numbers, strict=True)
        ],
    )


async def _numbers(
    session: AsyncSession, county_code: str, insured_ids: Sequence[UUID]
) -> list[int]:
    """The next number of an entry for each event, in the order asked."""
    counts = Counter(insured_ids)
    last = await store.raise_versions(session, county_code, counts)
    given: Counter[UUID] = Counter()
    numbers = []
    for insured_id in insured_ids:
        given[insured_id] += 1
        numbers.append(last[insured_id] - counts[insured_id] + given[insured_id])
    return numbers


async def begin_entries(
    session: AsyncSession, catalogue: Catalogue, county_code: str, *, upto: date, on: date
) -> None:
    """Waiting entries that begin by a day, and are paid where they must be, come into force."""
    waiting = await store.policies_waiting(session, county_code, upto)
    if not waiting:
        return
    policies = await policies_store.find_policies(session, county_code, waiting)
    unpaid_waits = [
        policy.policy_id
        for policy in policies.values()
        if terms_of(catalogue, policy).insurance.premium_due == "before_cover"
    ]
    days = {county_code: on}
    while True:
        begun = await store.begin(
            session, county_code, upto=upto, unpaid_waits=unpaid_waits, rows_max=ROWS_MAX
        )
        of_loans = [(entry, entry.loan_id) for entry in begun if entry.loan_id is not None]
        of_loans += await _behind(session, county_code, begun)
        await _say_insured(session, catalogue, county_code, of_loans, days)
        of_households = [entry for entry in begun if entry.loan_id is None]
        await _back_waiting(session, catalogue, of_households, days)
        if len(begun) < ROWS_MAX:
            return


async def _behind(
    session: AsyncSession, county_code: str, entries: Sequence[InsuredEntry]
) -> list[tuple[InsuredEntry, UUID]]:
    by_id = {entry.insured_id: entry for entry in entries if entry.loan_id is None}
    if not by_id:
        return []
    covered = await store.covered_loans(session, county_code, list(by_id))
    return [(by_id[insured_id], loan_id) for insured_id, loan_id in covered]


async def end_entries(
    session: AsyncSession, catalogue: Catalogue, county_code: str, day: date, *, on: date
) -> None:
    """Entries whose last day has come are over; loans without another cover hear of it."""
    while True:
        ended = await store.end_due(session, county_code, upto=day, rows_max=ROWS_MAX)
        in_force = {e.insured_id: e for e, was in ended if was is EntryState.IN_FORCE}
        if in_force:
            await _say_uninsured(session, catalogue, county_code, in_force, day, on=on)
        if len(ended) < ROWS_MAX:
            return


async def _say_uninsured(
    session: AsyncSession,
    catalogue: Catalogue,
    county_code: str,
    ended: Mapping[UUID, InsuredEntry],
    day: date,
    *,
    on: date,
) -> None:
    bare = await store.uncovered_loans(session, county_code, list(ended), day + timedelta(days=1))
    if not bare:
        return
    policies = await policies_store.find_policies(
        session, county_code, [ended[insured_id].policy_id for insured_id, *_ in bare]
    )
    numbers = await _numbers(session, county_code, [insured_id for insured_id, *_ in bare])
    said, awaited = [], []
    for (insured_id, loan_id, programme_id, is_open), number in zip(bare, numbers, strict=True):
        entry = ended[insured_id]
        policy = policies[entry.policy_id]
        reason = _why(entry, policy)
        said.append(
            events_out.household_uninsured(
                replace(entry, version=number),
                policy,
                loan_id=loan_id,
                cover_kind=terms_of(catalogue, policy).cover(entry.cover_id).kind,
                reason=reason,
                on=on,
            )
        )
        # Who left does not come back by itself; who was left by a policy does.
        if is_open and reason != "left":
            awaited.append((loan_id, programme_id, entry.cover_id))
    await outbox.record(session, said)
    await store.await_again(session, county_code, awaited)


def _why(entry: InsuredEntry, policy: MasterPolicy) -> str:
    if policy.end_reason and entry.until_date == policy.until_date:
        return "policy_ended"
    return "left" if entry.left else "term_over"


async def change(
    session: AsyncSession, changes: Sequence[Changed], *, actor: Actor, on: date
) -> None:
    """Write endorsements: the entries, what is charged or goes back, and the record of each."""
    if not changes:
        return
    charges = [
        charge
        for each in changes
        for charge in rules.charges(
            each.after,
            each.policy,
            each.parts,
            kind="change" if rules.total(each.parts) > 0 else "refund",
            value_date=on,
            new_id=ids.new_id,
        )
    ]
    last = {each.after.insured_id: each.after for each in changes}
    await store.save_entries(session, list(last.values()))
    await post_charges(session, charges, {each.policy.county_code: on for each in changes})
    records = [
        endorsement(
            each.after,
            each.kind,
            sum_before_fen=each.before.sum_insured_fen,
            premium_fen=rules.total(each.parts),
            reason=each.reason,
        )
        for each in changes
    ]
    await store.add_endorsements(session, records, actor=actor, on=on)


async def say_changed(
    session: AsyncSession,
    catalogue: Catalogue,
    policy: MasterPolicy,
    changes: Sequence[Changed],
    *,
    on: date,
) -> None:
    """Loans hear of a new sum insured behind them."""
    changed = {
        each.after.insured_id: each.after
        for each in changes
        if each.kind == "sum_changed" and each.after.state is EntryState.IN_FORCE
    }
    said = [(entry, entry.loan_id) for entry in changed.values() if entry.loan_id is not None]
    said += await _behind(session, policy.county_code, list(changed.values()))
    await _say_insured(session, catalogue, policy.county_code, said, {policy.county_code: on})


def endorsement(
    entry: InsuredEntry,
    kind: str,
    *,
    sum_before_fen: Fen,
    premium_fen: Fen | None = None,
    reason: str = "",
) -> Endorsement:
    """The record of a change."""
    ends = kind in ("left", "policy_ended")
    return Endorsement(
        county_code=entry.county_code,
        endorsement_id=ids.new_id(),
        policy_id=entry.policy_id,
        insured_id=entry.insured_id,
        kind=kind,
        effective_on=entry.until_date if ends else entry.from_date,
        sum_before_fen=sum_before_fen,
        sum_after_fen=Fen(0) if ends else entry.sum_insured_fen,
        premium_fen=entry.premium_fen if premium_fen is None else premium_fen,
        reason=reason,
        institution_id="",
    )


async def post_charges(
    session: AsyncSession, charges: Sequence[Charge], days: Mapping[str, date]
) -> None:
    """Keep charges and book them: a receivable of the payer, income of the insurer."""
    for county_code in sorted({charge.county_code for charge in charges}):
        own = [charge for charge in charges if charge.county_code == county_code]
        await premium_store.add_charges(session, own, days[county_code])
    await journal.post(session, [_charged(charge, days[charge.county_code]) for charge in charges])


def _charged(charge: Charge, on: date) -> Entry:
    receivable = Account("premium_receivable", charge.payer_id)
    income = Account("premium_income", charge.insurer_id)
    more = charge.amount_fen > 0
    return Entry(
        county_code=charge.county_code,
        kind="premium_charged" if more else "premium_refunded",
        cause_id=str(charge.charge_id),
        value_date=charge.value_date,
        business_date=on,
        transfers=(
            Transfer(
                debit=receivable if more else income,
                credit=income if more else receivable,
                amount_fen=Fen(abs(charge.amount_fen)),
            ),
        ),
    )
