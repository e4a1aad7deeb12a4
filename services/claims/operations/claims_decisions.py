"""Claims: losses adjudicated: one by one, by a second person, by one rule for a disaster."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims import events_out
from services.claims.model import (
    Actor,
    Check,
    Claim,
    ClaimLine,
    ClaimState,
    Decision,
    EventRule,
    Step,
    StepKind,
    Used,
)
from services.claims.operations import payouts
from services.claims.operations.shared import actor_of
from services.claims.rules import claims as rules
from services.claims.store import claims as store
from services.claims.store import claims_history
from services.kernel import business_day, ids, outbox
from services.kernel.caller import Caller
from services.kernel.errors import LiandongError, Refused
from services.kernel.money import Fen
from services.programmes import covers
from services.programmes.loader import Catalogue
from services.programmes.terms import Terms

Held = dict[UUID, tuple[Claim, Fen]]


async def adjudicate_claims(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    decisions: Sequence[Decision],
) -> list[Claim | LiandongError]:
    """Approve or refuse claims, each on its own; an approval authorises the payout."""
    return await adjudicate_as(session, catalogue, actor_of(caller), county_code, decisions)


async def adjudicate_as(
    session: AsyncSession,
    catalogue: Catalogue,
    adjudicator: Actor,
    county_code: str,
    decisions: Sequence[Decision],
) -> list[Claim | LiandongError]:
    """The same for whoever decides; a price decides through this too."""
    today = await business_day.today(session, county_code)
    held = await store.lock_claims(session, county_code, [d.claim_id for d in decisions])
    work = _Work(catalogue, county_code, adjudicator, today, held)
    work.used = await _used(session, catalogue, county_code, decisions, held)
    outcomes: list[Claim | LiandongError] = []
    for decision in decisions:
        try:
            outcomes.append(work.decide(decision))
        except LiandongError as error:
            outcomes.append(error)
    await _save(session, catalogue, county_code, work, today)
    return outcomes


async def _used(
    session: AsyncSession,
    catalogue: Catalogue,
    county_code: str,
    decisions: Sequence[Decision],
    held: Held,
) -> dict[UUID, Used]:
    """What other claims took of caps; asked only where a cap is shared by claims."""
    shared: list[Claim] = []
    for decision in decisions:
        claim = held[decision.claim_id][0] if decision.claim_id in held else None
        if claim is None or not decision.approve or not claim.taken_in:
            continue
        cover = catalogue.terms(county_code, claim.programme).cover(claim.cover_id)
        if claim.supplement or cover.person_cap_fen is not None or cover.period_cap_fen is not None:
            shared.append(claim)
    if not shared:
        return {}
    await store.hold_caps(session, county_code, [claim.household_id for claim in shared])
    return await store.used_by_others(session, county_code, [claim.claim_id for claim in shared])


class _Work:
    """Decisions of one batch: each sees those before it."""

    def __init__(
        self, catalogue: Catalogue, county_code: str, adjudicator: Actor, today: date, held: Held
    ) -> None:
        self.claims = {claim_id: claim for claim_id, (claim, _) in held.items()}
        self.used: dict[UUID, Used] = {}
        self.steps: list[Step] = []
        self._sums = {claim_id: fen for claim_id, (_, fen) in held.items()}
        self._catalogue = catalogue
        self._county_code = county_code
        self._adjudicator = adjudicator
        self._today = today
        self._paid: dict[UUID, list[Claim]] = {}

    def decide(self, decision: Decision) -> Claim:
        claim = self.claims.get(decision.claim_id)
        if claim is None:
            raise rules.claim_not_found(decision.claim_id)
        rules.check_adjudicator(claim, decision, self._adjudicator)
        if not decision.approve:
            return self._refuse(claim, decision)
        terms = self._catalogue.terms(self._county_code, claim.programme)
        try:
            return self._approve(claim, decision, terms)
        except Refused as refusal:
            if refusal.reason in rules.KEPT_REFUSALS:
                self._keep_refused(claim, decision, refusal)
            raise

    def _approve(self, claim: Claim, decision: Decision, terms: Terms) -> Claim:
        used = self._used_of(claim)
        sum_insured_fen = self._sums[claim.claim_id]
        payable = rules.payable_of(
            claim, decision, terms, sum_insured_fen=sum_insured_fen, used=used
        )
        if payable.payable_fen == 0:
            below = Decision(claim.claim_id, False, payable.working, "BELOW_EVENT_MINIMUM")
            return self._refuse(claim, below)
        after = rules.approve(
            claim,
            decision,
            terms,
            sum_insured_fen=sum_insured_fen,
            adjudicator=self._adjudicator,
            on=self._today,
            payout_id=ids.new_id(),
            used=used,
        )
        self._paid.setdefault(claim.household_id, []).append(after)
        lines = decision.lines or (_whole_line(claim, payable),)
        return self._keep(after, working=payable.working, lines=lines)

    def _refuse(self, claim: Claim, decision: Decision) -> Claim:
        after = rules.refuse(claim, decision, adjudicator=self._adjudicator, on=self._today)
        return self._keep(after)

    def _used_of(self, claim: Claim) -> Used:
        """What others took, and what this batch gave to the same insured before."""
        used = self.used.get(claim.claim_id, Used())
        same = [
            other
            for other in self._paid.get(claim.household_id, ())
            if (other.cover_id, other.policy_id) == (claim.cover_id, claim.policy_id)
        ]
        entry = [o for o in same if (o.insured_id, o.unit_id) == (claim.insured_id, claim.unit_id)]
        return Used(
            used.event_fen + sum(o.payable_fen for o in entry if o.loss == claim.loss),
            used.person_fen + sum(o.payable_fen for o in same if o.person_id == claim.person_id),
            used.period_fen + sum(o.payable_fen for o in entry),
        )

    def _keep(self, claim: Claim, *, working: str = "", lines: tuple[ClaimLine, ...] = ()) -> Claim:
        # A second decision about the same claim in this batch must see the first.
        self.claims[claim.claim_id] = claim
        self.steps.append(
            Step(
                claim=claim,
                kind=StepKind(claim.state.value),
                actor=self._adjudicator,
                on=self._today,
                reason_code=claim.reason_code,
                note=claim.reason,
                working=working,
                lines=lines,
            )
        )
        return claim

    def _keep_refused(self, claim: Claim, decision: Decision, refusal: Refused) -> None:
        after = rules.step_on(claim)
        self.claims[claim.claim_id] = after
        self.steps.append(
            Step(
                claim=after,
                kind=StepKind.DECISION_REFUSED,
                actor=self._adjudicator,
                on=self._today,
                reason_code=refusal.reason,
                note=decision.reason,
                working=refusal.message,
                lines=decision.lines,
            )
        )


def _whole_line(claim: Claim, payable: covers.Payable) -> ClaimLine:
    cut = payable.payable_fen < claim.assessed_fen
    return ClaimLine(
        item=claim.cause,
        claimed_fen=claim.claimed_fen,
        assessed_fen=claim.assessed_fen,
        payable_fen=payable.payable_fen,
        reason_code=f"CUT_TO_{payable.binding.upper()}" if cut else "",
    )


async def _save(
    session: AsyncSession, catalogue: Catalogue, county_code: str, work: _Work, today: date
) -> None:
    if not work.steps:
        return
    # A claim whose decision was refused only has a step more; both are written alike.
    last = {step.claim.claim_id: step.claim for step in work.steps}
    await store.save_claims(session, list(last.values()))
    await claims_history.add_steps(session, work.steps)
    decided = [step.claim for step in work.steps if step.kind is not StepKind.DECISION_REFUSED]
    await say_decisions(session, catalogue, county_code, decided, today)


async def say_decisions(
    session: AsyncSession,
    catalogue: Catalogue,
    county_code: str,
    decided: Sequence[Claim],
    today: date,
) -> None:
    """Authorise the payouts of what was approved, and say every decision."""
    approved = [claim for claim in decided if claim.payout_id is not None]
    authorised = await payouts.authorise(session, catalogue, county_code, approved, today)
    said = []
    for claim in decided:
        if claim.payout_id is not None:
            said.append(events_out.claim_approved(claim))
            said.append(events_out.payout_authorised(authorised[claim.payout_id], on=today))
        elif claim.state is ClaimState.REFUSED:
            said.append(events_out.claim_refused(claim))
    await outbox.record(session, said)


async def confirm_adjudications(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    checks: Sequence[Check],
) -> list[Claim | LiandongError]:
    """A second person confirms proposals or sends them back, each on its own."""
    checker = actor_of(caller)
    today = await business_day.today(session, county_code)
    held = await store.lock_claims(session, county_code, [check.claim_id for check in checks])
    claims = {claim_id: claim for claim_id, (claim, _) in held.items()}
    outcomes: list[Claim | LiandongError] = []
    steps: list[Step] = []
    for check in checks:
        try:
            if check.claim_id not in claims:
                raise rules.claim_not_found(check.claim_id)
            claim = rules.check_proposal(
                claims[check.claim_id], check, checker=checker, on=today, payout_id=ids.new_id()
            )
            claims[claim.claim_id] = claim
            kind = StepKind.APPROVED if check.confirm else StepKind.SENT_BACK
            steps.append(Step(claim, kind, checker, today, note=check.reason))
            outcomes.append(claim)
        except LiandongError as error:
            outcomes.append(error)
    if steps:
        await store.save_claims(session, [step.claim for step in steps])
        await claims_history.add_steps(session, steps)
        decided = [step.claim for step in steps]
        await say_decisions(session, catalogue, county_code, decided, today)
    return outcomes


async def decide_event(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    *,
    event_code: str,
    cover_id: str,
    rule: EventRule,
    after: UUID,
    limit: int,
) -> tuple[list[Claim], list[Claim | LiandongError], bool]:
    """
    Decide a page of an event's reported claims by one rule.

    The claims as they were, what became of each, and whether more wait after them.
    """
    found = await store.reported_of_event(
        session,
        county_code,
        insurer_id=caller.institution_id,
        event_code=event_code,
        cover_id=cover_id,
        after=after,
        limit=limit + 1,
    )
    page = found[:limit]
    note = f"one rule for {event_code}"
    decisions = [Decision(c.claim_id, True, note, rule=rule) for c in page]
    outcomes = await adjudicate_claims(session, catalogue, caller, county_code, decisions)
    return page, outcomes, len(found) > limit
