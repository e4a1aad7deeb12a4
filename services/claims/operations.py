"""Claims: the use cases. Each is load, decide, save, say, inside the caller's transaction."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims import events_out, store
from services.claims.model import (
    Actor,
    Allocation,
    ApprovedLoan,
    Assignment,
    Authorisation,
    Claim,
    ClosedLoan,
    Confirmation,
    Decision,
    Household,
    Instruction,
    InstructionState,
    InsuredEntry,
    MasterPolicy,
    Payout,
    PayoutState,
    Report,
    Standing,
)
from services.claims.rules import claims as claim_rules
from services.claims.rules import payouts as payout_rules
from services.claims.rules import policies as policy_rules
from services.kernel import business_day, ids, journal, outbox
from services.kernel.caller import Caller
from services.kernel.errors import Conflict, Denied, LiandongError, NotFound, Refused
from services.kernel.journal import Account, Entry, Transfer
from services.kernel.money import Fen
from services.programmes.loader import Catalogue
from services.programmes.schema.deployment import InstitutionRole
from services.programmes.terms import Terms

AWAITED_ROWS_MAX = 1_000
"""Waiting covers taken in one go when a policy begins."""


def _actor(caller: Caller) -> Actor:
    return Actor(caller.institution_id, caller.require_person())


async def _days(session: AsyncSession, said: Iterable[tuple[str, date]]) -> dict[str, date]:
    """Business date of each county; what another service said may come before our first day."""
    found: dict[str, date] = {}
    for county_code, day in said:
        if county_code not in found:
            try:
                found[county_code] = await business_day.today(session, county_code)
            except Refused:
                found[county_code] = day
    return found


# --- facts of others ------------------------------------------------------------------------------


async def keep_households(session: AsyncSession, households: Sequence[Household]) -> None:
    """Keep what households says."""
    await store.save_households(session, households)


async def delist_households(session: AsyncSession, households: Sequence[tuple[str, UUID]]) -> None:
    """Note which households are off the file."""
    await store.save_status(session, households, "delisted")


async def close_loans(session: AsyncSession, closed: Sequence[ClosedLoan]) -> None:
    """Note which loans are closed: a later payout still goes to loans, which gives it all on."""
    await store.close_loans(session, closed)


# --- master policies and insured lists ------------------------------------------------------------


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
    issuer = _actor(caller)
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
    policy_rules.check_policy(policy, catalogue.terms(county_code, ref))
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
    fresh = await store.add_loans(session, loans)
    wanted = [
        (loan, cover_id, (loan.county_code, loan.programme_id, cover_id, loan.approved_on))
        for loan in loans
        if loan.loan_id in fresh
        for cover_id in loan.required_covers
    ]
    policies = await store.policies_on(session, [key for _, _, key in wanted])
    joins = [(loan, policies[key], loan.approved_on) for loan, _, key in wanted if key in policies]
    days = await _days(session, [(loan.county_code, on) for loan, _, on in joins])
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
        cover = catalogue.terms(policy.county_code, policy.programme).cover(policy.cover_id)
        entry = policy_rules.join(loan, policy, cover, on=on, insured_id=ids.new_id())
        entries.append((entry, policy))
        if loan.assignment_evidence:
            assignments.append(_assignment(loan, entry, ids.new_id()))
    await store.add_insured(session, [entry for entry, _ in entries])
    await store.add_assignments(session, assignments)
    await journal.post(
        session,
        [_premium_due(entry, policy, days[entry.county_code]) for entry, policy in entries],
    )
    await outbox.record(
        session,
        [
            events_out.household_insured(
                entry, programme=policy.programme, on=days[entry.county_code]
            )
            for entry, policy in entries
        ],
    )


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


# --- claims ---------------------------------------------------------------------------------------


async def report_claims(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    reports: Sequence[Report],
) -> list[Claim | LiandongError]:
    """Take in claims; each is kept or refused on its own."""
    reporter = _actor(caller)
    today = await business_day.today(session, county_code)
    asked = [(report.household_id, report.cover_id) for report in reports]
    standings = await store.standings(session, county_code, asked)
    decided: list[Claim | LiandongError] = []
    for report, cover_of in zip(reports, asked, strict=True):
        try:
            standing = _entry_for(caller, standings.get(cover_of, []), report.loss_date)
            terms = catalogue.terms(county_code, standing.programme)
            decided.append(
                claim_rules.report(
                    report,
                    standing,
                    terms.cover(report.cover_id),
                    reporter=reporter,
                    on=today,
                    claim_id=ids.new_id(),
                )
            )
        except LiandongError as error:
            decided.append(error)
    return await _keep_claims(session, reports, decided)


def _entry_for(caller: Caller, standings: Sequence[Standing], loss_date: date) -> Standing:
    """The entry to claim under, in the caller's area; an insurer knows only its own policies."""
    seen = standings
    if caller.role == InstitutionRole.INSURER:
        seen = [s for s in standings if s.insurer_id == caller.institution_id]
    for standing in seen:
        caller.require_area(standing.area_code)
    return claim_rules.choose_entry(seen, loss_date)


async def _keep_claims(
    session: AsyncSession, reports: Sequence[Report], decided: Sequence[Claim | LiandongError]
) -> list[Claim | LiandongError]:
    """Keep what was accepted; the second claim of one loss, here or anywhere, is refused."""
    claims = [claim for claim in decided if isinstance(claim, Claim)]
    kept = await store.add_claims(session, claims) if claims else set()
    said = [events_out.claim_reported(claim) for claim in claims if claim.claim_id in kept]
    await outbox.record(session, said)
    return [
        claim_rules.claim_exists(report)
        if isinstance(claim, Claim) and claim.claim_id not in kept
        else claim
        for report, claim in zip(reports, decided, strict=True)
    ]


async def adjudicate_claims(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    decisions: Sequence[Decision],
) -> list[Claim | LiandongError]:
    """Approve or refuse claims, each on its own; an approval authorises the payout."""
    adjudicator = _actor(caller)
    today = await business_day.today(session, county_code)
    held = await store.lock_claims(session, county_code, [d.claim_id for d in decisions])
    claims = {claim_id: claim for claim_id, (claim, _) in held.items()}
    outcomes: list[Claim | LiandongError] = []
    for decision in decisions:
        try:
            claim = claims.get(decision.claim_id)
            if claim is None:
                raise claim_rules.claim_not_found(decision.claim_id)
            claim_rules.check_adjudicator(claim, decision, adjudicator)
            if decision.approve:
                after = claim_rules.approve(
                    claim,
                    decision,
                    catalogue.terms(county_code, claim.programme),
                    sum_insured_fen=held[decision.claim_id][1],
                    adjudicator=adjudicator,
                    on=today,
                    payout_id=ids.new_id(),
                )
            else:
                after = claim_rules.refuse(claim, decision, adjudicator=adjudicator, on=today)
            # A second decision about the same claim in this batch must see the first.
            claims[decision.claim_id] = after
            outcomes.append(after)
        except LiandongError as error:
            outcomes.append(error)
    decided = [claim for claim in outcomes if isinstance(claim, Claim)]
    await _save_decisions(session, catalogue, county_code, decided, today)
    return outcomes


async def _save_decisions(
    session: AsyncSession,
    catalogue: Catalogue,
    county_code: str,
    decided: Sequence[Claim],
    today: date,
) -> None:
    if not decided:
        return
    await store.save_decisions(session, decided)
    approved = [claim for claim in decided if claim.payout_id is not None]
    authorised = await _authorise(session, catalogue, county_code, approved, today)
    await journal.post(
        session, [_payout_authorised(each.payout, today) for each in authorised.values()]
    )
    said = []
    for claim in decided:
        if claim.payout_id is None:
            said.append(events_out.claim_refused(claim))
        else:
            said.append(events_out.claim_approved(claim))
            said.append(events_out.payout_authorised(authorised[claim.payout_id], on=today))
    await outbox.record(session, said)


async def _authorise(
    session: AsyncSession,
    catalogue: Catalogue,
    county_code: str,
    approved: Sequence[Claim],
    today: date,
) -> dict[UUID, Authorisation]:
    if not approved:
        return {}
    asked = [(claim.household_id, claim.cover_id) for claim in approved]
    assigned = await store.assigned_loans(session, county_code, asked, today)
    found: dict[UUID, Authorisation] = {}
    for claim in approved:
        authorisation = claim_rules.authorise(
            claim,
            _terms(catalogue, claim),
            assigned.get((claim.household_id, claim.cover_id), ()),
            catalogue.parties(county_code, claim.programme),
        )
        found[authorisation.payout.payout_id] = authorisation
    await store.add_payouts(session, [each.payout for each in found.values()])
    return found


def _terms(catalogue: Catalogue, claim: Claim) -> Terms:
    return catalogue.terms(claim.county_code, claim.programme)


def _payout_authorised(payout: Payout, on: date) -> Entry:
    expense = Account("claim_expense", payout.insurer_id)
    payable = Account("payout_payable", str(payout.payout_id))
    return Entry(
        county_code=payout.county_code,
        kind="payout_authorised",
        cause_id=str(payout.payout_id),
        value_date=payout.value_date,
        business_date=on,
        transfers=(Transfer(debit=expense, credit=payable, amount_fen=payout.amount_fen),),
    )


# --- payouts --------------------------------------------------------------------------------------


async def instruct_payouts(session: AsyncSession, allocations: Sequence[Allocation]) -> None:
    """Store the parts that loans allocated; instruct the lenders, or the household if none is."""
    held = await store.lock_payouts(session, [(a.county_code, a.payout_id) for a in allocations])
    moved: dict[store.PayoutKey, Payout] = {}
    for allocation in allocations:
        key = (allocation.county_code, allocation.payout_id)
        before = moved.get(key) or held.get(key)
        if before is None:
            raise NotFound("PAYOUT_NOT_FOUND", f"no payout {allocation.payout_id} was authorised")
        if payout_rules.is_same_allocation(before, allocation):
            continue
        instruction_ids = [ids.new_id() for _ in range(len(allocation.parts) + 1)]
        moved[key] = payout_rules.instruct(before, allocation, instruction_ids)
    if not moved:
        return
    payouts = list(moved.values())
    days = await _days(session, [(p.county_code, p.value_date) for p in payouts])
    await store.add_parts(session, payouts)
    await _save_steps(session, [(held[key], after) for key, after in moved.items()], days)


async def confirm_payments(
    session: AsyncSession, caller: Caller, county_code: str, confirmations: Sequence[Confirmation]
) -> list[Payout | LiandongError]:
    """Take confirmations, each on its own; the last lender's opens the household's instruction."""
    confirmer = _actor(caller)
    today = await business_day.today(session, county_code)
    asked = [c.instruction_id for c in confirmations]
    payout_of = await store.payouts_of(session, county_code, asked)
    held = await store.lock_payouts(session, list(payout_of.values()))
    moved: dict[store.PayoutKey, Payout] = {}
    outcomes: list[Payout | LiandongError] = []
    for confirmation in confirmations:
        try:
            key = payout_of.get(confirmation.instruction_id)
            if key is None:
                raise payout_rules.instruction_not_found(confirmation.instruction_id)
            moved[key] = payout_rules.confirm(
                moved.get(key) or held[key],
                confirmation,
                confirmer=confirmer,
                on=today,
                household_instruction_id=ids.new_id(),
            )
            outcomes.append(moved[key])
        except LiandongError as error:
            outcomes.append(error)
    if moved:
        steps = [(held[key], after) for key, after in moved.items()]
        await _save_steps(session, steps, {county_code: today})
    return outcomes


async def _save_steps(
    session: AsyncSession, steps: Sequence[tuple[Payout, Payout]], days: dict[str, date]
) -> None:
    """Write what changed between payouts before and after: instructions, journal, events."""
    opened: list[tuple[Payout, Instruction]] = []
    confirmed: list[tuple[Payout, Instruction]] = []
    for before, after in steps:
        states = {i.instruction_id: i.state for i in before.instructions}
        for instruction in after.instructions:
            was = states.get(instruction.instruction_id)
            if was is None:
                opened.append((after, instruction))
            elif was is not instruction.state:
                assert instruction.state is InstructionState.CONFIRMED
                confirmed.append((after, instruction))
    await store.save_payouts(session, [after for _, after in steps])
    await store.add_instructions(session, opened)
    await store.save_confirmations(session, confirmed)
    entries = [_instruction_opened(p, i, days[p.county_code]) for p, i in opened]
    entries += [_instruction_confirmed(p, i, days[p.county_code]) for p, i in confirmed]
    await journal.post(session, entries)
    await outbox.record(
        session,
        [
            events_out.payout_settled(after, on=days[after.county_code])
            for before, after in steps
            if after.state is PayoutState.SETTLED and before.state is not PayoutState.SETTLED
        ],
    )


def _instruction_opened(payout: Payout, instruction: Instruction, on: date) -> Entry:
    payable = Account("payout_payable", str(payout.payout_id))
    instructed = Account("instruction_payable", str(instruction.instruction_id))
    return Entry(
        county_code=payout.county_code,
        kind="instruction_opened",
        cause_id=str(instruction.instruction_id),
        value_date=payout.value_date,
        business_date=on,
        transfers=(
            Transfer(debit=payable, credit=instructed, amount_fen=Fen(instruction.amount_fen)),
        ),
    )


def _instruction_confirmed(payout: Payout, instruction: Instruction, on: date) -> Entry:
    assert instruction.confirmed_value_date is not None
    instructed = Account("instruction_payable", str(instruction.instruction_id))
    cash = Account("insurer_cash", payout.insurer_id)
    return Entry(
        county_code=payout.county_code,
        kind="instruction_confirmed",
        cause_id=str(instruction.instruction_id),
        value_date=instruction.confirmed_value_date,
        business_date=on,
        transfers=(
            Transfer(debit=instructed, credit=cash, amount_fen=Fen(instruction.amount_fen)),
        ),
    )
