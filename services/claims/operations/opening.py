"""Claims: cut-over: what insurers have in force comes in, all or none, and proven."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TypeVar
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims import events_out
from services.claims.model import (
    UNTYPED,
    Actor,
    Agreement,
    Assignment,
    Claim,
    Document,
    Household,
    InsuredEntry,
    MasterPolicy,
    Payment,
    Report,
    Standing,
    Step,
    StepKind,
)
from services.claims.operations import lists
from services.claims.operations import policies as issuing
from services.claims.operations.shared import actor_of
from services.claims.rules import claims as claim_rules
from services.claims.rules import opening as rules
from services.claims.rules.agreements import require_agreement
from services.claims.rules.opening import (
    Behind,
    Opening,
    OpeningAssignment,
    OpeningClaim,
    OpeningInsured,
    OpeningPolicy,
    Proof,
    Total,
)
from services.claims.rules.policies import payer_id
from services.claims.store import claims as claims_store
from services.claims.store import claims_history
from services.claims.store import opening as store
from services.claims.store import policies as policies_store
from services.claims.store.agreements import agreements_of
from services.claims.store.assignments import add_assignments, add_changes
from services.claims.store.insured import find_households
from services.claims.store.opening import (
    ASSIGNMENT,
    CLAIM,
    INSURED,
    POLICY,
    KnownLoan,
    Loss,
    OpeningKey,
    OpeningRow,
    Seat,
)
from services.claims.store.premium import add_payments
from services.kernel import business_day, ids, journal, outbox
from services.kernel.caller import Caller
from services.kernel.errors import Conflict, LiandongError, NotFound
from services.kernel.journal import Account, Entry, Transfer
from services.kernel.money import Fen
from services.programmes.loader import Catalogue
from services.programmes.schema.deployment import InstitutionRole
from services.programmes.terms import Terms

Outcome = UUID | LiandongError
"""The id of what a line becomes, or why it does not."""

T = TypeVar("T")

_KINDS = (POLICY, INSURED, ASSIGNMENT, CLAIM)
_OF_ENTRY = (INSURED, ASSIGNMENT)
"""An assignment goes by the number of its entry."""


@dataclass(frozen=True, slots=True)
class Cutover:
    """What all lines of a call come in under."""

    county_code: str
    opening_on: date
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """The lines of a call."""

    policies: Sequence[OpeningPolicy]
    insured: Sequence[OpeningInsured]
    assignments: Sequence[OpeningAssignment]
    claims: Sequence[OpeningClaim]
    control: Mapping[str, Total]
    """What they must come to, by insurer."""

    def __len__(self) -> int:
        return sum(map(len, (self.policies, self.insured, self.assignments, self.claims)))


@dataclass(frozen=True, slots=True)
class Import:
    """What became of a call."""

    landed: bool
    policies: list[Outcome]
    insured: list[Outcome]
    assignments: list[Outcome]
    claims: list[Outcome]
    proofs: tuple[Proof, ...]


@dataclass(slots=True)
class _Desk:
    """What a call is worked with, and what it takes over."""

    cutover: Cutover
    catalogue: Catalogue
    actor: Actor
    known: dict[OpeningKey, UUID]
    policies: dict[UUID, MasterPolicy]
    entries: dict[UUID, InsuredEntry]
    loans: dict[UUID, KnownLoan]
    households: dict[UUID, Household]
    agreements: list[Agreement]
    seats: set[Seat]
    assigned: set[tuple[UUID, str]]
    claimed: set[Loss]
    accepted: list[Opening] = field(default_factory=list)
    rows: list[OpeningRow] = field(default_factory=list)
    new_policies: list[MasterPolicy] = field(default_factory=list)
    new_entries: list[tuple[lists.Join, OpeningInsured]] = field(default_factory=list)
    new_assignments: list[Assignment] = field(default_factory=list)
    new_claims: list[Claim] = field(default_factory=list)

    def terms_of(self, policy: MasterPolicy) -> Terms:
        return self.catalogue.terms(self.cutover.county_code, policy.programme)

    def require(self, insurer_id: str, kind: str, reference: str) -> UUID:
        """What the line rests on: taken over before, or accepted in this call."""
        found = self.known.get((insurer_id, kind, reference))
        if found is None:
            raise rules.opening_unknown(kind, reference)
        return found

    def behind(self, loan_id: UUID | None, household_id: UUID | None) -> Behind:
        """Whom an entry insures, by its loan or by itself."""
        if loan_id is not None:
            known = self.loans.get(loan_id)
            if known is None:
                raise NotFound("LOAN_UNKNOWN", f"no loan {loan_id}", message_zh="无此贷款")
            return Behind(known.loan.household_id, known.area_code, known.loan)
        household = self.households.get(household_id) if household_id else None
        if household is None:
            raise NotFound(
                "HOUSEHOLD_UNKNOWN", f"no household {household_id}", message_zh="无此农户"
            )
        return Behind(household.household_id, household.area_code, None)

    def accept(self, opening: Opening, row: OpeningRow) -> UUID:
        self.known[row.key] = row.record_id
        self.rows.append(row)
        self.accepted.append(opening)
        return row.record_id

    def key(self, opening: Opening, kind: str) -> OpeningKey:
        """The key of a line, which came in neither before nor in this call."""
        key = (opening.insurer_id, kind, opening.reference)
        if key in self.known:
            raise rules.opened_already(opening)
        return key

    def policy(self, opening: OpeningPolicy) -> UUID:
        key = self.key(opening, POLICY)
        insurer = self.catalogue.institutions.get(opening.insurer_id)
        if insurer is None or insurer.role is not InstitutionRole.INSURER:
            raise NotFound("INSURER_UNKNOWN", f"no insurer {opening.insurer_id}")
        county_code, day = self.cutover.county_code, self.cutover.opening_on
        ref = self.catalogue.in_force(county_code, opening.programme_id, day)
        terms = self.catalogue.terms(county_code, ref)
        policy = rules.take_over_policy(
            opening,
            county_code=county_code,
            policy_id=ids.new_id(),
            terms=terms,
            opening_on=day,
        )
        own = [each for each in self.agreements if each.programme_id == opening.programme_id]
        require_agreement(terms.insurance, own, opening.insurer_id, [day])
        if any(_overlap(policy, other) for other in self.policies.values()):
            raise Conflict(
                "POLICY_EXISTS",
                f"another policy insures {', '.join(policy.covers)} there in these days",
                message_zh="该险种在此期间已有保单",
            )
        self.policies[policy.policy_id] = policy
        self.new_policies.append(policy)
        return self.accept(opening, OpeningRow(key, policy.policy_id))

    def entry(self, opening: OpeningInsured) -> UUID:
        key = self.key(opening, INSURED)
        of = self.require(opening.insurer_id, POLICY, opening.policy_reference)
        policy = self.policies[of]
        entry, parts = rules.take_over_insured(
            opening,
            policy=policy,
            behind=self.behind(opening.loan_id, opening.household_id),
            insured_id=ids.new_id(),
            terms=self.terms_of(policy),
            opening_on=self.cutover.opening_on,
        )
        seat = (entry.household_id, entry.loan_id, entry.cover_id, policy.policy_id)
        if seat in self.seats:
            raise Conflict(
                "INSURED_ALREADY",
                f"{opening.reference}: the household or its loan is on this list",
                message_zh="已在承保清单",
            )
        self.seats.add(seat)
        self.entries[entry.insured_id] = entry
        self.new_entries.append((lists.Join(entry, policy, parts), opening))
        row = OpeningRow(
            key,
            entry.insured_id,
            sum_insured_fen=opening.sum_insured_fen,
            premium_fen=opening.premium_fen,
            premium_owed_fen=opening.premium_owed_fen,
        )
        return self.accept(opening, row)

    def assignment(self, opening: OpeningAssignment) -> UUID:
        key = self.key(opening, ASSIGNMENT)
        entry = self.entries[self.require(opening.insurer_id, INSURED, opening.reference)]
        assignment = rules.take_over_assignment(
            opening,
            entry=entry,
            loan=self.behind(entry.loan_id, entry.household_id).loan,
            assignment_id=ids.new_id(),
            opening_on=self.cutover.opening_on,
        )
        stands = (assignment.loan_id, assignment.cover_id)
        if stands in self.assigned:
            raise Conflict(
                "ASSIGNED_ALREADY",
                f"loan {assignment.loan_id} has an assignment of {assignment.cover_id}",
                message_zh="该险种已有权益转让",
            )
        self.assigned.add(stands)
        self.new_assignments.append(assignment)
        return self.accept(opening, OpeningRow(key, assignment.assignment_id))

    def claim(self, opening: OpeningClaim) -> UUID:
        key = self.key(opening, CLAIM)
        entry = self.entries[self.require(opening.insurer_id, INSURED, opening.insured_reference)]
        policy = self.policies[entry.policy_id]
        behind = self.behind(entry.loan_id, entry.household_id)
        known = self.loans[entry.loan_id] if entry.loan_id else None
        claim = rules.take_over_claim(
            opening,
            standing=Standing(
                entry=entry,
                insurer_id=policy.insurer_id,
                programme=policy.programme,
                lender_id=behind.loan.lender_id if behind.loan else "",
                area_code=behind.area_code,
                loan_open=known is not None and known.open,
                loan_approved_on=behind.loan.approved_on if behind.loan else None,
            ),
            terms=self.terms_of(policy),
            reporter=self.actor,
            claim_id=ids.new_id(),
            opening_on=self.cutover.opening_on,
        )
        loss = (claim.household_id, claim.cover_id, claim.loss_date)
        if loss in self.claimed:
            report = Report(
                household_id=claim.household_id,
                cover_id=claim.cover_id,
                loss_date=claim.loss_date,
                cause=claim.cause,
                assessed_fen=claim.assessed_fen,
                documents=claim.documents,
            )
            raise claim_rules.claim_duplicate(report)
        self.claimed.add(loss)
        self.new_claims.append(claim)
        return self.accept(
            opening, OpeningRow(key, claim.claim_id, claimed_fen=opening.assessed_fen)
        )


def _overlap(one: MasterPolicy, other: MasterPolicy) -> bool:
    there = one.area_code.startswith(other.area_code) or other.area_code.startswith(one.area_code)
    return (
        there
        and one.programme_id == other.programme_id
        and not set(one.covers).isdisjoint(other.covers)
        and one.from_date <= other.until_date
        and other.from_date <= one.until_date
    )


async def import_openings(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    cutover: Cutover,
    wanted: Wanted,
) -> Import:
    """Take over what is in force; any refusal or a total that differs, and none of it lands."""
    actor = actor_of(caller)
    today = await business_day.today(session, cutover.county_code)
    rules.check_day(cutover.opening_on, today=today)
    await policies_store.hold_policies_alone(session, cutover.county_code)
    desk = await _desk(session, catalogue, actor, cutover, wanted)
    policies = [_tried(desk.policy, each) for each in wanted.policies]
    insured = [_tried(desk.entry, each) for each in wanted.insured]
    assignments = [_tried(desk.assignment, each) for each in wanted.assignments]
    claims = [_tried(desk.claim, each) for each in wanted.claims]
    before = await store.totals_by_insurer(session, cutover.county_code)
    proofs = rules.prove(wanted.control, desk.accepted, before)
    whole = len(desk.accepted) == len(wanted) and all(proof.agrees for proof in proofs)
    landed = whole and not cutover.dry_run
    if landed:
        await _land(session, desk, today)
    return Import(landed, policies, insured, assignments, claims, proofs)


def _tried(take: Callable[[T], UUID], opening: T) -> Outcome:
    try:
        return take(opening)
    except LiandongError as error:
        return error


async def _desk(
    session: AsyncSession,
    catalogue: Catalogue,
    actor: Actor,
    cutover: Cutover,
    wanted: Wanted,
) -> _Desk:
    """Everything that the lines are held against, with one statement for each kind."""
    county_code = cutover.county_code
    keys: set[OpeningKey] = set()
    keys |= {(each.insurer_id, POLICY, each.reference) for each in wanted.policies}
    for insured in wanted.insured:
        keys.add((insured.insurer_id, INSURED, insured.reference))
        keys.add((insured.insurer_id, POLICY, insured.policy_reference))
    for assignment in wanted.assignments:
        keys |= {(assignment.insurer_id, kind, assignment.reference) for kind in _OF_ENTRY}
    for claim in wanted.claims:
        keys.add((claim.insurer_id, CLAIM, claim.reference))
        keys.add((claim.insurer_id, INSURED, claim.insured_reference))
    known = await store.taken_over(session, county_code, keys)
    of_kind = {kind: [id_ for key, id_ in known.items() if key[1] == kind] for kind in _KINDS}
    entries = await store.entries_of(session, county_code, of_kind[INSURED])
    loan_ids = {entry.loan_id for entry in entries.values() if entry.loan_id is not None}
    loan_ids |= {each.loan_id for each in wanted.insured if each.loan_id is not None}
    loans = await store.loans_of(session, county_code, loan_ids)
    household_ids = {known.loan.household_id for known in loans.values()}
    household_ids |= {entry.household_id for entry in entries.values()}
    household_ids |= {each.household_id for each in wanted.insured if each.household_id is not None}
    policy_ids = [*of_kind[POLICY], *(entry.policy_id for entry in entries.values())]
    agreements: list[Agreement] = []
    if wanted.policies:
        policy_ids += await store.policies_around(
            session,
            county_code,
            from_date=min(each.from_date for each in wanted.policies),
            until_date=max(each.until_date for each in wanted.policies),
        )
        for programme_id in sorted({each.programme_id for each in wanted.policies}):
            agreements += await agreements_of(session, county_code, programme_id)
    return _Desk(
        cutover=cutover,
        catalogue=catalogue,
        actor=actor,
        known=known,
        policies=await policies_store.find_policies(session, county_code, policy_ids),
        entries=entries,
        loans=loans,
        households=await find_households(session, county_code, list(household_ids)),
        agreements=agreements,
        seats=await store.on_lists(session, county_code, household_ids),
        assigned=await store.assigned_covers(session, county_code, loan_ids),
        claimed=await store.claimed_losses(session, county_code, household_ids),
    )


async def _land(session: AsyncSession, desk: _Desk, today: date) -> None:
    """Write what was taken over, its books and what the others must know of it."""
    county_code, day = desk.cutover.county_code, desk.cutover.opening_on
    for policy in desk.new_policies:
        await policies_store.add_policy(session, policy, issuer=desk.actor, on=today)
    covers = [
        (opening.loan_id, join.entry.cover_id)
        for join, opening in desk.new_entries
        if opening.loan_id is not None
    ]
    await store.await_no_more(session, county_code, covers)
    joins = [join for join, _ in desk.new_entries]
    joined = await lists.join(session, desk.catalogue, joins, {county_code: today})
    assert len(joined) == len(joins)
    await _paid_before(session, desk, today)
    await _assign(session, desk, today)
    if desk.new_claims:
        kept = await claims_store.add_claims(session, desk.new_claims)
        assert len(kept) == len(desk.new_claims)
        await claims_history.add_steps(session, [_reported(claim) for claim in desk.new_claims])
        await outbox.record(session, [events_out.claim_reported(each) for each in desk.new_claims])
    person_id = desk.actor.person_id
    await store.save(session, county_code, desk.rows, opening_on=day, person_id=person_id)
    # What was paid before comes into force, and loans that wait for a cover join the policies that
    # came in, as they join one that is issued.
    await lists.begin_entries(session, desk.catalogue, county_code, upto=today, on=today)
    await issuing.join_awaiting(session, desk.catalogue, county_code, today)


async def _assign(session: AsyncSession, desk: _Desk, today: date) -> None:
    kept = await add_assignments(session, desk.new_assignments)
    assert len(kept) == len(desk.new_assignments)
    changes = [
        (each.assignment_id, "recorded", each.from_date, each.evidence)
        for each in desk.new_assignments
    ]
    await add_changes(session, desk.cutover.county_code, changes, actor=desk.actor, on=today)


async def _paid_before(session: AsyncSession, desk: _Desk, today: date) -> None:
    """The part of each premium that the insurer had before our books began."""
    paid: dict[str, list[tuple[UUID, Payment]]] = {}
    entries: list[Entry] = []
    for join, opening in desk.new_entries:
        paid_fen = Fen(opening.premium_fen - opening.premium_owed_fen)
        for payer, amount_fen in rules.paid_parts(join.parts, paid_fen).items():
            if not amount_fen:
                continue
            payment = Payment(
                policy_id=join.policy.policy_id,
                payer_id=payer_id(payer, join.policy, join.entry.household_id),
                amount_fen=amount_fen,
                value_date=desk.cutover.opening_on,
                reference=f"opening:{opening.reference}:{payer}",
            )
            payment_id = ids.new_id()
            paid.setdefault(opening.insurer_id, []).append((payment_id, payment))
            entries.append(
                _premium_opened(payment_id, payment, desk.cutover, opening.insurer_id, today)
            )
    for insurer_id, own in paid.items():
        kept = await add_payments(
            session,
            desk.cutover.county_code,
            own,
            insurer_id=insurer_id,
            person_id=desk.actor.person_id,
            on=today,
        )
        assert len(kept) == len(own)
    await journal.post(session, entries)


def _reported(claim: Claim) -> Step:
    return Step(
        claim=claim,
        kind=StepKind.REPORTED,
        actor=claim.reported_by,
        on=claim.reported_on,
        note=claim.cause,
        documents=tuple(Document(UNTYPED, "", each) for each in claim.documents),
    )


def _premium_opened(
    payment_id: UUID, payment: Payment, cutover: Cutover, insurer_id: str, today: date
) -> Entry:
    return Entry(
        county_code=cutover.county_code,
        kind="premium_opened",
        cause_id=str(payment_id),
        value_date=payment.value_date,
        business_date=today,
        transfers=(
            Transfer(
                debit=Account("insurer_cash", insurer_id),
                credit=Account("premium_receivable", payment.payer_id),
                amount_fen=payment.amount_fen,
            ),
        ),
    )
