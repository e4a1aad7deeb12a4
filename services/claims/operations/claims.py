"""Claims: losses reported and adjudicated."""

from collections.abc import Sequence
from datetime import date

from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims import events_out
from services.claims.model import Claim, Decision, Report, Standing
from services.claims.operations import payouts
from services.claims.operations.shared import actor_of
from services.claims.rules import claims as rules
from services.claims.store import claims as store
from services.claims.store import insured
from services.kernel import business_day, ids, outbox
from services.kernel.caller import Caller
from services.kernel.errors import LiandongError
from services.programmes.loader import Catalogue
from services.programmes.schema.deployment import InstitutionRole


async def report_claims(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    reports: Sequence[Report],
) -> list[Claim | LiandongError]:
    """Take in claims; each is kept or refused on its own."""
    reporter = actor_of(caller)
    today = await business_day.today(session, county_code)
    asked = [(report.household_id, report.cover_id) for report in reports]
    standings = await insured.standings(session, county_code, asked)
    decided: list[Claim | LiandongError] = []
    for report, cover_of in zip(reports, asked, strict=True):
        try:
            standing = _entry_for(caller, standings.get(cover_of, []), report.loss_date)
            terms = catalogue.terms(county_code, standing.programme)
            decided.append(
                rules.report(
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
    return rules.choose_entry(seen, loss_date)


async def _keep_claims(
    session: AsyncSession, reports: Sequence[Report], decided: Sequence[Claim | LiandongError]
) -> list[Claim | LiandongError]:
    """Keep what was accepted; the second claim of one loss, here or anywhere, is refused."""
    claims = [claim for claim in decided if isinstance(claim, Claim)]
    kept = await store.add_claims(session, claims) if claims else set()
    said = [events_out.claim_reported(claim) for claim in claims if claim.claim_id in kept]
    await outbox.record(session, said)
    return [
        rules.claim_exists(report)
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
    adjudicator = actor_of(caller)
    today = await business_day.today(session, county_code)
    held = await store.lock_claims(session, county_code, [d.claim_id for d in decisions])
    claims = {claim_id: claim for claim_id, (claim, _) in held.items()}
    outcomes: list[Claim | LiandongError] = []
    for decision in decisions:
        try:
            claim = claims.get(decision.claim_id)
            if claim is None:
                raise rules.claim_not_found(decision.claim_id)
            rules.check_adjudicator(claim, decision, adjudicator)
            if decision.approve:
                after = rules.approve(
                    claim,
                    decision,
                    catalogue.terms(county_code, claim.programme),
                    sum_insured_fen=held[decision.claim_id][1],
                    adjudicator=adjudicator,
                    on=today,
                    payout_id=ids.new_id(),
                )
            else:
                after = rules.refuse(claim, decision, adjudicator=adjudicator, on=today)
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
    authorised = await payouts.authorise(session, catalogue, county_code, approved, today)
    said = []
    for claim in decided:
        if claim.payout_id is None:
            said.append(events_out.claim_refused(claim))
        else:
            said.append(events_out.claim_approved(claim))
            said.append(events_out.payout_authorised(authorised[claim.payout_id], on=today))
    await outbox.record(session, said)
