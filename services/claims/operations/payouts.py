"""Claims: payouts authorised, divided as loans allocated them, instructed, confirmed, settled."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims import events_out
from services.claims.model import (
    Allocation,
    Authorisation,
    Claim,
    Confirmation,
    Instruction,
    InstructionState,
    Payout,
    PayoutState,
)
from services.claims.operations.shared import actor_of, days_of
from services.claims.rules import payouts as rules
from services.claims.store import assignments
from services.claims.store import payouts as store
from services.claims.store.payouts import PayoutKey
from services.kernel import business_day, ids, journal, outbox
from services.kernel.caller import Caller
from services.kernel.errors import LiandongError, NotFound
from services.kernel.journal import Account, Entry, Transfer
from services.kernel.money import Fen
from services.programmes.loader import Catalogue


async def authorise(
    session: AsyncSession,
    catalogue: Catalogue,
    county_code: str,
    approved: Sequence[Claim],
    today: date,
) -> dict[UUID, Authorisation]:
    """Open the payouts of approved claims, with the payees of each; the caller says them."""
    if not approved:
        return {}
    asked = [(claim.household_id, claim.cover_id, today) for claim in approved]
    assigned = await assignments.assignments_in_force(session, county_code, asked)
    found: dict[UUID, Authorisation] = {}
    for claim in approved:
        authorisation = rules.authorise(
            claim,
            catalogue.terms(county_code, claim.programme),
            assigned.get((claim.household_id, claim.cover_id, today), ()),
            catalogue.parties(county_code, claim.programme),
        )
        found[authorisation.payout.payout_id] = authorisation
    await store.add_payouts(session, [each.payout for each in found.values()])
    await journal.post(session, [_payout_authorised(each.payout, today) for each in found.values()])
    return found


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


async def instruct_payouts(session: AsyncSession, allocations: Sequence[Allocation]) -> None:
    """Store the parts that loans allocated; instruct the lenders, or the household if none is."""
    held = await store.lock_payouts(session, [(a.county_code, a.payout_id) for a in allocations])
    moved: dict[PayoutKey, Payout] = {}
    for allocation in allocations:
        key = (allocation.county_code, allocation.payout_id)
        before = moved.get(key) or held.get(key)
        if before is None:
            raise NotFound("PAYOUT_NOT_FOUND", f"no payout {allocation.payout_id} was authorised")
        if rules.is_same_allocation(before, allocation):
            continue
        instruction_ids = [ids.new_id() for _ in range(len(allocation.parts) + 1)]
        moved[key] = rules.instruct(before, allocation, instruction_ids)
    if not moved:
        return
    payouts = list(moved.values())
    days = await days_of(session, [(p.county_code, p.value_date) for p in payouts])
    await store.add_parts(session, payouts)
    await _save_steps(session, [(held[key], after) for key, after in moved.items()], days)


async def confirm_payments(
    session: AsyncSession, caller: Caller, county_code: str, confirmations: Sequence[Confirmation]
) -> list[Payout | LiandongError]:
    """Take confirmations, each on its own; the last lender's opens the household's instruction."""
    confirmer = actor_of(caller)
    today = await business_day.today(session, county_code)
    asked = [c.instruction_id for c in confirmations]
    payout_of = await store.payouts_of(session, county_code, asked)
    held = await store.lock_payouts(session, list(payout_of.values()))
    moved: dict[PayoutKey, Payout] = {}
    outcomes: list[Payout | LiandongError] = []
    for confirmation in confirmations:
        try:
            key = payout_of.get(confirmation.instruction_id)
            if key is None:
                raise rules.instruction_not_found(confirmation.instruction_id)
            moved[key] = rules.confirm(
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
