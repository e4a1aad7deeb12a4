"""Claims: payouts authorised, divided as loans allocated them, instructed, answered, settled."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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
    KeptWord,
    Payee,
    Payout,
    PayoutState,
    Said,
    Word,
)
from services.claims.operations.shared import actor_of, days_of
from services.claims.rules import payments
from services.claims.rules import payouts as rules
from services.claims.store import assignments
from services.claims.store import payments as payments_store
from services.claims.store import payouts as store
from services.claims.store.payouts import PayoutKey
from services.kernel import business_day, ids, journal, metrics, outbox
from services.kernel.caller import Caller
from services.kernel.errors import LiandongError, NotFound
from services.kernel.journal import Account, Entry, Transfer
from services.kernel.money import Fen
from services.kernel.outbox import OutgoingEvent
from services.kernel.values import replace
from services.programmes.loader import Catalogue
from services.programmes.schema.deployment import InstitutionRole

SILENT_ROUNDS_MAX = 1_000
LENDERS = (InstitutionRole.BANK, InstitutionRole.MUTUAL_AID_SOCIETY, InstitutionRole.INSURER)


@dataclass(slots=True)
class Saga:
    """Payouts that are held in this transaction, where their payees are paid, and what is said."""

    held: dict[PayoutKey, Payout]
    households: Mapping[tuple[str, UUID], Payee]
    recorded: Mapping[tuple[str, str], str]
    catalogue: Catalogue
    days: Mapping[str, date]
    at_first: dict[PayoutKey, Payout] = field(init=False)
    events: list[OutgoingEvent] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.at_first = dict(self.held)

    def household(self, payout: Payout) -> Payee:
        """Where a payout's household is paid."""
        return self.households[payout.county_code, payout.household_id]

    def lender(self, county_code: str, lender_id: str) -> Payee:
        """Where a lender is paid."""
        known = self.catalogue.institutions.get(lender_id)
        return rules.lender_payee(
            lender_id,
            self.recorded.get((county_code, lender_id), ""),
            registered=known is not None and known.role in LENDERS,
        )

    def lenders(self, payout: Payout, more: Iterable[str] = ()) -> dict[str, Payee]:
        """Where the lenders of a payout are paid."""
        names = {i.payee_id for i in payout.instructions if i.loan_id is not None} | set(more)
        return {name: self.lender(payout.county_code, name) for name in names}

    def put(self, after: Payout) -> None:
        """Take a step of one payout: what it says follows from what changed."""
        key = (after.county_code, after.payout_id)
        before = self.held[key]
        on = self.days[after.county_code]
        for instruction in after.instructions:
            was = _by_id(before).get(instruction.instruction_id)
            silent = instruction.state is InstructionState.UNKNOWN
            if silent and was is not None and was.state is InstructionState.OPEN:
                self.events.append(events_out.payment_unanswered(after, instruction, on=on))
        if after.corrections > before.corrections:
            freed = payments.freed(after, after.corrections)
            groups = payments.groups_after(after)
            self.events.append(events_out.payout_corrected(after, freed, groups, on=on))
        if after.state is PayoutState.SETTLED and before.state is not PayoutState.SETTLED:
            self.events.append(events_out.payout_settled(after, on=on))
        self.held[key] = after


async def open_saga(
    session: AsyncSession,
    catalogue: Catalogue,
    keys: Sequence[PayoutKey],
    days: Mapping[str, date],
    *,
    lenders: Iterable[tuple[str, str]] = (),
) -> Saga:
    """Hold payouts in id order, and look up where their payees are paid."""
    held = await store.lock_payouts(session, keys)
    return await saga_of(session, catalogue, held, days, lenders=lenders)


async def saga_of(
    session: AsyncSession,
    catalogue: Catalogue,
    held: dict[PayoutKey, Payout],
    days: Mapping[str, date],
    *,
    lenders: Iterable[tuple[str, str]] = (),
) -> Saga:
    """The same of payouts that are held already."""
    homes = {(p.county_code, p.household_id) for p in held.values()}
    paid = {
        (p.county_code, i.payee_id)
        for p in held.values()
        for i in p.instructions
        if i.loan_id is not None
    }
    known = await payments_store.household_payees(session, homes)
    return Saga(
        held=held,
        households={
            key: rules.household_payee(each.status, each.account_id, each.heir_account_id)
            for key, each in known.items()
        },
        recorded=await payments_store.lender_accounts(session, paid | set(lenders)),
        catalogue=catalogue,
        days=days,
    )


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


async def instruct_payouts(
    session: AsyncSession, catalogue: Catalogue, allocations: Sequence[Allocation]
) -> None:
    """Store the parts that loans allocated; instruct the lenders, or the household if none is."""
    held = await store.lock_payouts(session, [(a.county_code, a.payout_id) for a in allocations])
    days = await days_of(session, [(p.county_code, p.value_date) for p in held.values()])
    lenders = {(a.county_code, part.lender_id) for a in allocations for part in a.parts}
    saga = await saga_of(session, catalogue, held, days, lenders=lenders)
    divided: dict[PayoutKey, Payout] = {}
    for allocation in allocations:
        key = (allocation.county_code, allocation.payout_id)
        before = saga.held.get(key)
        if before is None:
            raise NotFound("PAYOUT_NOT_FOUND", f"no payout {allocation.payout_id} was authorised")
        if rules.is_same_allocation(before, allocation):
            continue
        after = rules.instruct(
            before,
            allocation,
            [ids.new_id() for _ in range(len(allocation.parts) + 1)],
            lenders=saga.lenders(before, {part.lender_id for part in allocation.parts}),
            household=saga.household(before),
        )
        saga.put(after)
        divided[key] = after
    if divided:
        await store.put_parts(session, [saga.held[key] for key in divided])
    await save(session, saga)


async def confirm_payments(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    confirmations: Sequence[Confirmation],
) -> list[Payout | LiandongError]:
    """Take confirmations, each on its own; the last lender's opens the household's instruction."""
    words = [
        Word(Said.CONFIRM, c.instruction_id, c.confirmed_fen, c.value_date, c.reason)
        for c in confirmations
    ]
    return await take_words(session, catalogue, caller, county_code, words)


async def take_words(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    words: Sequence[Word],
) -> list[Payout | LiandongError]:
    """Take what is said about instructions, each on its own; all of it is kept."""
    actor = actor_of(caller)
    today = await business_day.today(session, county_code)
    payout_of = await store.payouts_of(session, county_code, [w.instruction_id for w in words])
    days = {county_code: today}
    saga = await open_saga(session, catalogue, list(payout_of.values()), days)
    outcomes: list[Payout | LiandongError] = []
    kept: list[KeptWord] = []
    for word in words:
        refusal = ""
        try:
            key = payout_of.get(word.instruction_id)
            if key is None:
                raise rules.instruction_not_found(word.instruction_id)
            before = saga.held[key]
            payee = _by_id(before)[word.instruction_id].payee_id
            saga.put(
                payments.hear(
                    before,
                    word,
                    actor=actor,
                    on=today,
                    new_id=ids.new_id(),
                    lender=saga.lender(county_code, payee),
                    household=saga.household(before),
                )
            )
            outcomes.append(saga.held[key])
        except LiandongError as error:
            refusal = error.reason
            outcomes.append(error)
        kept.append(KeptWord(county_code, ids.new_id(), word, refusal, actor, today))
    await save(session, saga)
    await payments_store.add_words(session, kept)
    return outcomes


async def keep_refused(
    session: AsyncSession, caller: Caller, county_code: str, word: Word, error: LiandongError
) -> None:
    """Keep a word that was refused, after its own transaction was undone."""
    today = await business_day.today(session, county_code)
    kept = KeptWord(county_code, ids.new_id(), word, error.reason, actor_of(caller), today)
    await payments_store.add_words(session, [kept])


async def release(
    session: AsyncSession,
    catalogue: Catalogue,
    payees: Mapping[str, Sequence[str]],
    days: Mapping[str, date],
) -> int:
    """Send what is held for payees of counties that have an account now; how many are sent."""
    keys: list[PayoutKey] = []
    for county_code, names in payees.items():
        keys += await payments_store.held_of(session, county_code, names)
    if not keys:
        return 0
    saga = await open_saga(session, catalogue, keys, days)
    for payout in list(saga.held.values()):
        after = payments.released(
            payout,
            lenders=saga.lenders(payout),
            household=saga.household(payout),
            on=days[payout.county_code],
            new_id=ids.new_id(),
        )
        if after != payout:
            saga.put(after)
    sent = sum(
        was.state is InstructionState.HELD and now.state is not InstructionState.HELD
        for key, before in saga.at_first.items()
        for was, now in zip(before.instructions, saga.held[key].instructions, strict=False)
    )
    await save(session, saga)
    return sent


async def close_day(
    session: AsyncSession, catalogue: Catalogue, county_code: str, day: date
) -> None:
    """What was sent and not answered in the programme's time is unknown from now on (S44)."""
    for _ in range(SILENT_ROUNDS_MAX):
        found = await payments_store.silent(session, county_code, day)
        if not found:
            return
        saga = await open_saga(session, catalogue, [key for key, _ in found], {county_code: day})
        for key, instruction_id in found:
            payout = saga.held[key]
            instruction = _by_id(payout)[instruction_id]
            if payments.is_silent(instruction, day, _answer_days(catalogue, payout)):
                saga.put(
                    payments.fall_silent(
                        payout, instruction_id, saga.household(payout), ids.new_id()
                    )
                )
        silenced = saga.held != saga.at_first
        await save(session, saga)
        if not silenced:
            return


def _answer_days(catalogue: Catalogue, payout: Payout) -> int:
    rules_of = catalogue.terms(payout.county_code, payout.programme).insurance.payouts
    return rules_of.answer_days


def _by_id(payout: Payout) -> dict[UUID, Instruction]:
    return {i.instruction_id: i for i in payout.instructions}


async def save(session: AsyncSession, saga: Saga) -> None:
    """Write what changed between payouts before and after: instructions, journal, events."""
    opened: list[tuple[Payout, Instruction]] = []
    changed: list[tuple[Payout, Instruction]] = []
    entries: list[Entry] = []
    steps = [
        (before, saga.held[key])
        for key, before in saga.at_first.items()
        if saga.held[key] != before
    ]
    if not steps:
        return
    for before, after in steps:
        on = saga.days[after.county_code]
        known = _by_id(before)
        for each in after.instructions:
            was = known.get(each.instruction_id)
            now = each
            if each.state is InstructionState.OPEN and each.sent_on is None:
                now = replace(each, sent_on=on)
            if was is None:
                opened.append((after, now))
            elif was != now:
                changed.append((after, now))
            entries += _moved(after, was, now, on)
    await store.save_payouts(session, [after for _, after in steps])
    await store.add_instructions(session, opened)
    await store.save_instructions(session, changed)
    await journal.post(session, entries)
    await outbox.record(session, saga.events)
    for before, after in steps:
        if after.state is PayoutState.SETTLED and before.state is not PayoutState.SETTLED:
            metrics.payout_settled(after.payout_id)


def _moved(payout: Payout, was: Instruction | None, now: Instruction, on: date) -> list[Entry]:
    """What a step of an instruction books: opened, in suspense, out of it, paid and given back."""
    payable = Account("payout_payable", str(payout.payout_id))
    if was is None:
        owed = _account_of(InstructionState.OPEN, now)
        moved = Transfer(debit=payable, credit=owed, amount_fen=now.amount_fen)
        return [_entry(payout, "instruction_opened", str(now.instruction_id), None, on, moved)]
    before = _account_of(was.state, now)
    if was.state is now.state:
        return []
    if now.state is InstructionState.CONFIRMED:
        cash = Account("insurer_cash", payout.insurer_id)
        back = Fen(now.amount_fen - now.confirmed_fen)
        return [
            _entry(
                payout,
                "instruction_confirmed",
                str(now.instruction_id),
                now.confirmed_value_date,
                on,
                Transfer(debit=before, credit=cash, amount_fen=now.confirmed_fen),
                Transfer(debit=before, credit=payable, amount_fen=back),
            )
        ]
    after = _account_of(now.state, now)
    if before == after:
        return []
    silent = now.state is InstructionState.UNKNOWN
    kind = "payment_unanswered" if silent else "payment_not_there"
    moved = Transfer(debit=before, credit=after, amount_fen=now.amount_fen)
    cause = f"{now.instruction_id}:{was.attempt}"
    return [_entry(payout, kind, cause, None, on, moved)]


def _account_of(state: InstructionState, instruction: Instruction) -> Account:
    """Where the money of an unconfirmed instruction stands; in suspense while nobody knows."""
    silent = state is InstructionState.UNKNOWN
    name = "payment_suspense" if silent else "instruction_payable"
    return Account(name, str(instruction.instruction_id))


def _entry(
    payout: Payout, kind: str, cause: str, value_date: date | None, on: date, *moved: Transfer
) -> Entry:
    return Entry(
        county_code=payout.county_code,
        kind=kind,
        cause_id=cause,
        value_date=value_date or payout.value_date,
        business_date=on,
        transfers=moved,
    )
