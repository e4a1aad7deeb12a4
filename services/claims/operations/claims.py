"""Claims: losses reported."""

from collections.abc import Sequence
from datetime import date

from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims import events_out
from services.claims.model import (
    UNTYPED,
    Actor,
    Claim,
    Document,
    Report,
    ReporterKind,
    Standing,
    Step,
    StepKind,
)
from services.claims.operations.shared import actor_of
from services.claims.rules import claims as rules
from services.claims.store import claims as store
from services.claims.store import claims_history, insured
from services.kernel import business_day, ids, outbox
from services.kernel.caller import Caller
from services.kernel.errors import LiandongError, Refused
from services.kernel.values import replace
from services.programmes.loader import Catalogue
from services.programmes.schema.deployment import InstitutionRole


async def report_claims(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    reports: Sequence[Report],
) -> list[Claim | LiandongError]:
    """
    Take in claims, each on its own.

    A report that the rules refuse is a claim too, in state REFUSED with its reason; one that breaks
    the caller's rights or is no report at all is an error, and nothing of it is kept.
    """
    reporter = actor_of(caller)
    today = await business_day.today(session, county_code)
    asked = [(report.household_id, report.cover_id) for report in reports]
    standings = await insured.standings(session, county_code, asked)
    areas = await store.areas_of(session, county_code, [report.household_id for report in reports])
    decided: list[Claim | LiandongError] = []
    for report, cover_of in zip(reports, asked, strict=True):
        try:
            entries = standings.get(cover_of, [])
            places = [areas.get(report.household_id, ""), *(entry.area_code for entry in entries)]
            _require_known(caller, county_code, report, places)
            standing = _entry_for(caller, entries, report)
            terms = catalogue.terms(county_code, standing.programme)
            claim = rules.report(
                report,
                standing,
                terms.cover(report.cover_id),
                reporter=reporter,
                on=today,
                claim_id=ids.new_id(),
            )
            decided.append(replace(claim, due_on=rules.expected_due_on(claim, terms)))
        except LiandongError as error:
            decided.append(error)
    return await _keep_reports(session, caller, county_code, reports, decided=decided, today=today)


def kind_of(caller: Caller, said: ReporterKind | None) -> ReporterKind:
    """For whom a caller reports: as it says, otherwise as its role does."""
    if said is not None:
        return said
    insurer = caller.role == InstitutionRole.INSURER
    return ReporterKind.INSURER if insurer else ReporterKind.VILLAGE


def _require_known(caller: Caller, county_code: str, report: Report, places: Sequence[str]) -> None:
    """A village reports for its own households; of others it does not learn that they exist."""
    if caller.areas_in(county_code) and not any(map(caller.may_act_in, places)):
        raise rules.household_not_found(report.household_id)


def _entry_for(caller: Caller, standings: Sequence[Standing], report: Report) -> Standing:
    """The entry to claim under; an insurer knows only its own policies."""
    seen = standings
    if caller.role == InstitutionRole.INSURER:
        seen = [s for s in standings if s.insurer_id == caller.institution_id]
    return rules.choose_entry(seen, report.loss_date, report.person_id)


async def _keep_reports(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    reports: Sequence[Report],
    *,
    decided: Sequence[Claim | LiandongError],
    today: date,
) -> list[Claim | LiandongError]:
    """Keep what was accepted; the second claim of one loss, here or anywhere, is refused."""
    claims = [claim for claim in decided if isinstance(claim, Claim)]
    kept = await store.add_claims(session, claims) if claims else set()
    outcomes = [
        rules.claim_duplicate(report)
        if isinstance(claim, Claim) and claim.claim_id not in kept
        else claim
        for report, claim in zip(reports, decided, strict=True)
    ]
    outcomes = await _keep_refused(
        session, caller, county_code, reports, outcomes=outcomes, today=today
    )
    steps = [
        _step(report, claim, today)
        for report, claim in zip(reports, outcomes, strict=True)
        if isinstance(claim, Claim)
    ]
    if steps:
        await claims_history.add_steps(session, steps)
    said = [
        events_out.claim_reported(claim) if claim.taken_in else events_out.claim_refused(claim)
        for claim in outcomes
        if isinstance(claim, Claim)
    ]
    await outbox.record(session, said)
    return outcomes


async def _keep_refused(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    reports: Sequence[Report],
    *,
    outcomes: Sequence[Claim | LiandongError],
    today: date,
) -> list[Claim | LiandongError]:
    """Turn refusals by rule into claims that stand for no loss."""
    refused = [
        (place, report, outcome)
        for place, (report, outcome) in enumerate(zip(reports, outcomes, strict=True))
        if isinstance(outcome, Refused)
    ]
    if not refused:
        return list(outcomes)
    areas = await store.areas_of(session, county_code, [r.household_id for _, r, _ in refused])
    insurer_id = caller.institution_id if caller.role == InstitutionRole.INSURER else ""
    result = list(outcomes)
    kept: list[Claim] = []
    for place, report, refusal in refused:
        claim = rules.refused_report(
            report,
            refusal,
            county_code=county_code,
            area_code=areas.get(report.household_id, caller.areas[0] if caller.areas else ""),
            insurer_id=insurer_id,
            reporter=actor_of(caller),
            on=today,
            claim_id=ids.new_id(),
        )
        kept.append(claim)
        result[place] = claim
    await store.add_claims(session, kept)
    return result


def _step(report: Report, claim: Claim, today: date) -> Step:
    documents = [Document(UNTYPED, "", each) for each in report.documents]
    return Step(
        claim=claim,
        kind=StepKind.REPORTED if claim.taken_in else StepKind.REPORT_REFUSED,
        actor=Actor(claim.reported_by.institution_id, claim.reported_by.person_id),
        on=today,
        reason_code=claim.reason_code,
        note=claim.reason or report.cause,
        documents=(*documents, *report.typed_documents),
    )


def verdict_of(outcome: Claim | LiandongError) -> Claim | LiandongError:
    """A report as an item of a batch: one that was kept as refused is refused there."""
    if isinstance(outcome, Claim) and not outcome.taken_in:
        return Refused(outcome.reason_code, outcome.reason)
    return outcome
