"""Claims: documents, surveys, pauses, withdrawals, disputes; what the day close finds late."""

from collections.abc import Callable, Sequence
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims import events_out
from services.claims.model import Actor, Claim, ClaimLine, Dispute, Document, Step, StepKind
from services.claims.operations.shared import actor_of
from services.claims.rules import claims as rules
from services.claims.rules import claims_life as life
from services.claims.store import claims as store
from services.claims.store import claims_history
from services.kernel import business_day, ids, outbox
from services.kernel.caller import Caller
from services.kernel.errors import Refused
from services.kernel.outbox import OutgoingEvent
from services.programmes.loader import Catalogue
from services.programmes.schema.deployment import InstitutionRole
from services.programmes.terms import Terms

LATE_ROWS_MAX = 500
NOBODY = Actor("", "")


async def _held(session: AsyncSession, caller: Caller, county_code: str, claim_id: UUID) -> Claim:
    """A claim of the caller's, held; an insurer knows its own, others those of their areas."""
    held = await store.lock_claims(session, county_code, [claim_id])
    if claim_id not in held:
        raise rules.claim_not_found(claim_id)
    claim = held[claim_id][0]
    if caller.role == InstitutionRole.INSURER:
        if claim.insurer_id != caller.institution_id:
            raise rules.claim_not_found(claim_id)
    else:
        caller.require_sight(claim.area_code, rules.claim_not_found(claim_id))
    return claim


def _terms(catalogue: Catalogue, claim: Claim) -> Terms | None:
    return catalogue.terms(claim.county_code, claim.programme) if claim.taken_in else None


def _terms_of_open(catalogue: Catalogue, claim: Claim) -> Terms:
    life.check_open(claim)
    return catalogue.terms(claim.county_code, claim.programme)


async def _keep(
    session: AsyncSession, step: Step, say: Callable[[Claim, date], OutgoingEvent] | None = None
) -> Claim:
    await store.save_claims(session, [step.claim])
    await claims_history.add_steps(session, [step])
    if say is not None:
        await outbox.record(session, [say(step.claim, step.on)])
    return step.claim


async def add_documents(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    claim_id: UUID,
    documents: Sequence[Document],
) -> Claim:
    """Add documents to an open claim."""
    today = await business_day.today(session, county_code)
    claim = life.add_documents(await _held(session, caller, county_code, claim_id), documents)
    step = Step(
        claim, StepKind.DOCUMENTS_ADDED, actor_of(caller), today, documents=tuple(documents)
    )
    return await _keep(session, step)


async def survey(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    claim_id: UUID,
    *,
    surveyed_on: date,
    lines: Sequence[ClaimLine],
    documents: Sequence[Document],
    note: str,
) -> Claim:
    """Record what the insurer's surveyor or the village's assistant found."""
    today = await business_day.today(session, county_code)
    claim = await _held(session, caller, county_code, claim_id)
    terms = _terms_of_open(catalogue, claim)
    claim = life.survey(claim, lines, terms, surveyed_on=surveyed_on, on=today)
    if documents:
        claim = life.with_documents(claim, documents)
    summed = " + ".join(str(line.assessed_fen) for line in lines)
    step = Step(
        claim,
        StepKind.SURVEYED,
        actor_of(caller),
        today,
        note=note,
        working=f"{summed} = {claim.assessed_fen} fen",
        lines=tuple(lines),
        documents=tuple(documents),
    )
    return await _keep(session, step)


async def suspend(
    session: AsyncSession, caller: Caller, county_code: str, claim_id: UUID, missing: str
) -> Claim:
    """Stop a claim's clock while the household must supply something."""
    today = await business_day.today(session, county_code)
    claim = life.suspend(await _held(session, caller, county_code, claim_id), on=today)
    return await _keep(
        session, Step(claim, StepKind.SUSPENDED, actor_of(caller), today, note=missing)
    )


async def resume(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    claim_id: UUID,
    *,
    documents: Sequence[Document],
) -> Claim:
    """Let the clock go on."""
    today = await business_day.today(session, county_code)
    claim = await _held(session, caller, county_code, claim_id)
    terms = _terms_of_open(catalogue, claim)
    claim = life.resume(claim, documents, terms, on=today)
    step = Step(
        claim,
        StepKind.RESUMED,
        actor_of(caller),
        today,
        working=f"due on {claim.due_on}",
        documents=tuple(documents),
    )
    return await _keep(session, step)


async def withdraw(
    session: AsyncSession, caller: Caller, county_code: str, claim_id: UUID, reason: str
) -> Claim:
    """Take a claim back."""
    today = await business_day.today(session, county_code)
    claim = life.withdraw(await _held(session, caller, county_code, claim_id))
    step = Step(claim, StepKind.WITHDRAWN, actor_of(caller), today, note=reason)
    return await _keep(session, step, events_out.claim_withdrawn)


async def reopen(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    claim_id: UUID,
    *,
    reason: str,
) -> Claim:
    """Open a claim again that ended without money."""
    today = await business_day.today(session, county_code)
    claim = await _held(session, caller, county_code, claim_id)
    claim = life.reopen(claim, _terms(catalogue, claim), on=today)
    step = Step(claim, StepKind.REOPENED, actor_of(caller), today, note=reason)
    return await _keep(session, step, events_out.claim_reopened)


async def dispute(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    claim_id: UUID,
    *,
    said: str,
) -> Dispute:
    """Keep what a household says against a decision."""
    today = await business_day.today(session, county_code)
    claim = await _held(session, caller, county_code, claim_id)
    opened = life.dispute(
        claim,
        said,
        _terms(catalogue, claim),
        by=actor_of(caller),
        on=today,
        dispute_id=ids.new_id(),
    )
    if not await claims_history.add_dispute(session, opened):
        raise Refused("DISPUTE_OPEN", "a dispute is open already", message_zh="已有待答复的争议")
    claim = rules.step_on(claim)
    await _keep(session, Step(claim, StepKind.DISPUTED, actor_of(caller), today, note=said))
    return opened


async def answer_dispute(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    claim_id: UUID,
    *,
    upheld: bool,
    answer: str,
) -> tuple[Dispute, Claim]:
    """Answer a claim's dispute; upheld, the claim is open again or gets a supplement."""
    actor = actor_of(caller)
    today = await business_day.today(session, county_code)
    claim = await _held(session, caller, county_code, claim_id)
    disputes = await claims_history.disputes_of(session, county_code, claim_id)
    waiting = next((each for each in disputes if each.answered_on is None), None)
    answered = life.answer(claim, waiting, answer, upheld=upheld, by=actor, on=today)
    claim = rules.step_on(claim)
    await _keep(session, Step(claim, StepKind.DISPUTE_ANSWERED, actor, today, note=answer))
    if upheld and claim.payout_id is None:
        reason = "the dispute was upheld"
        claim = life.reopen(claim, _terms(catalogue, claim), on=today)
        step = Step(claim, StepKind.REOPENED, actor, today, note=reason)
        await _keep(session, step, events_out.claim_reopened)
    elif upheld:
        extra = await _supplement(session, catalogue, claim, actor, today)
        answered = life.with_supplement(answered, extra.claim_id)
    await claims_history.save_answer(session, answered)
    return answered, claim


async def _supplement(
    session: AsyncSession, catalogue: Catalogue, claim: Claim, actor: Actor, today: date
) -> Claim:
    used = await store.used_by_others(session, claim.county_code, [claim.claim_id])
    number = await store.last_supplement(session, claim) + 1
    extra = life.supplement(
        claim,
        catalogue.terms(claim.county_code, claim.programme),
        by=actor,
        on=today,
        claim_id=ids.new_id(),
        number=number,
        used=used.get(claim.claim_id, rules.NO_USE),
    )
    await store.add_claims(session, [extra])
    note = f"supplement of {claim.claim_id}"
    await claims_history.add_steps(
        session, [Step(extra, StepKind.REPORTED, actor, today, note=note)]
    )
    await outbox.record(session, [events_out.claim_reported(extra)])
    return extra


async def close_day(session: AsyncSession, county_code: str, day: date) -> None:
    """Note which claims a day ends on unpaid though due, in bounded parts."""
    while found := await store.lock_late_claims(session, county_code, day, LATE_ROWS_MAX):
        late = [life.late(claim, on=day) for claim in found]
        await store.save_claims(session, late)
        await claims_history.add_steps(
            session,
            [
                Step(claim, StepKind.OVERDUE, NOBODY, day, working=f"due on {claim.due_on}")
                for claim in late
            ],
        )
        await outbox.record(session, [events_out.claim_overdue(claim, day) for claim in late])
