"""Credit: measures beyond the score: proposed, decided by a second person, ended."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit.model import (
    Actor,
    Cause,
    CreditFile,
    Decision,
    Fact,
    Measure,
    MeasureKind,
    MeasureState,
)
from services.credit.operations.shared import (
    actor_of,
    exposure_of,
    file_missing,
    found,
    observed_of,
    require_county,
    restate,
    save_changes,
)
from services.credit.rules import standing
from services.credit.rules.rating import values_of
from services.credit.rules.standing import LENDERS, Proposal
from services.credit.store import files as file_store
from services.credit.store import standing as store
from services.kernel import business_day
from services.kernel.caller import Caller, require_role
from services.kernel.errors import NotFound
from services.kernel.ids import new_id
from services.kernel.values import replace
from services.programmes.loader import Catalogue

PROPOSERS = (
    "county_centre",
    "poverty_office",
    "township_station",
    "village_department",
    "bank",
    "mutual_aid_society",
)
DECIDERS = ("county_centre", "poverty_office")
SIDED = (MeasureKind.WAIVER, MeasureKind.SECOND_GRANT)
"""Rest on the evidence of several organs: any of them may be the second person."""
RUN_OUT_CHUNK = 500
SERVICE = Actor("", "", "")
"""What nobody does but the programme's own clauses."""

FACTS = {
    (MeasureKind.SANCTION, MeasureState.IN_FORCE): Fact.LISTED,
    (MeasureKind.SANCTION, MeasureState.ENDED): Fact.RELEASED,
    (MeasureKind.REWARD, MeasureState.IN_FORCE): Fact.REWARDED,
    (MeasureKind.REWARD, MeasureState.ENDED): Fact.REWARD_ENDED,
}


async def propose(
    session: AsyncSession,
    caller: Caller,
    catalogue: Catalogue,
    county_code: str,
    proposal: Proposal,
) -> Measure:
    """Propose a measure; it holds when a second person has decided it."""
    require_role(caller, PROPOSERS)
    require_county(caller, county_code)
    today = await business_day.today(session, county_code)
    household_id = proposal.household_id
    ids = sorted({household_id, *(relative for relative, _ in proposal.relatives)})
    files = await file_store.lock_files(session, county_code, ids)
    file = found(files, household_id)
    if caller.role not in LENDERS:
        caller.require_sight(file.household.area_code, file_missing(household_id))
    ref = catalogue.in_force(county_code, proposal.programme_id, today)
    terms = catalogue.terms(county_code, ref)
    by = actor_of(caller)
    live = (await store.find_measures(session, county_code, [household_id])).get(household_id, [])
    exposure = await exposure_of(
        session, county_code, household_id, lender_id=caller.institution_id, today=today
    )
    checked = standing.check_proposal(
        standing.drafted(proposal, file, ref=ref, measure_id=new_id(), by=by, on=today),
        terms=terms,
        live=live,
        exposure=exposure,
        barred=file.barred,
        fault=proposal.fault,
        met=standing.conditions_met(
            values_of(await observed_of(session, county_code, household_id, ref=ref, on=today)),
            exposure,
        ),
    )
    drafts = [
        (_of_relative(checked, found(files, relative)), relation)
        for relative, relation in proposal.relatives
    ]
    measures = [checked, *standing.relatives_of(checked, drafts, terms=terms)]
    await store.add_measures(session, measures)
    await _keep(
        session,
        measures,
        by=by,
        on=today,
        reason=proposal.reason,
        evidence_sha256=proposal.evidence_sha256,
    )
    return checked


async def decide(
    session: AsyncSession,
    caller: Caller,
    catalogue: Catalogue,
    county_code: str,
    *,
    measure_id: UUID,
    approve: bool,
    reason: str,
) -> list[Measure]:
    """A second person puts a measure in force or refuses it; relatives' go with it."""
    require_county(caller, county_code)
    measures = await _locked(session, caller, county_code, measure_id)
    require_role(caller, PROPOSERS if measures[0].kind in SIDED else DECIDERS)
    today = await business_day.today(session, county_code)
    by = actor_of(caller)
    terms = catalogue.terms(county_code, measures[0].programme)
    decided = [
        standing.decide(each, by=by, approve=approve, reason=reason, terms=terms, on=today)
        for each in measures
    ]
    await move(session, catalogue, county_code, decided, by=by, on=today, reason=reason)
    return decided


async def end(
    session: AsyncSession,
    caller: Caller,
    catalogue: Catalogue,
    county_code: str,
    *,
    measure_id: UUID,
    reason: str,
    evidence_sha256: str,
) -> Measure:
    """Release a sanction or withdraw another measure; relatives' go with it."""
    require_role(caller, DECIDERS)
    require_county(caller, county_code)
    measures = await _locked(session, caller, county_code, measure_id)
    today = await business_day.today(session, county_code)
    by = actor_of(caller)
    first = measures[0]
    exposure = await exposure_of(
        session, county_code, first.household_id, lender_id=caller.institution_id, today=today
    )
    ended = [
        standing.end(
            each,
            by=by,
            reason=reason,
            evidence_sha256=evidence_sha256,
            terms=catalogue.terms(county_code, each.programme),
            exposure=exposure,
            on=today,
        )
        for each in measures
        if each is first or each.state is MeasureState.IN_FORCE
    ]
    await move(
        session,
        catalogue,
        county_code,
        ended,
        by=by,
        on=today,
        reason=reason,
        evidence_sha256=evidence_sha256,
    )
    return ended[0]


async def run_out(session: AsyncSession, catalogue: Catalogue, county_code: str, day: date) -> None:
    """End the measures whose last day is the one that closes."""
    while True:
        due = await store.lock_run_out(session, county_code, day, limit=RUN_OUT_CHUNK)
        over = [standing.run_out(each, day) for each in due]
        if over:
            await move(
                session,
                catalogue,
                county_code,
                over,
                by=SERVICE,
                on=day,
                reason=standing.TERM_OVER,
            )
        if len(due) < RUN_OUT_CHUNK:
            return


async def _locked(
    session: AsyncSession, caller: Caller, county_code: str, measure_id: UUID
) -> list[Measure]:
    measures = await store.lock_measure(session, county_code, measure_id)
    missing = NotFound("MEASURE_NOT_FOUND", f"no measure {measure_id}", message_zh="无此措施")
    if not measures or measures[0].measure_id != measure_id:
        raise missing
    if caller.role not in LENDERS:
        caller.require_sight(measures[0].area_code, missing)
    return measures


def _of_relative(measure: Measure, file: CreditFile) -> Measure:
    return replace(
        measure,
        measure_id=new_id(),
        household_id=file.household_id,
        area_code=file.household.area_code,
    )


async def move(
    session: AsyncSession,
    catalogue: Catalogue,
    county_code: str,
    measures: Sequence[Measure],
    *,
    by: Actor,
    on: date,
    reason: str,
    evidence_sha256: str = "",
) -> None:
    """Save where measures stand now, say it, and do to the limits what follows."""
    await store.save_measures(session, measures)
    await _keep(session, measures, by=by, on=on, reason=reason, evidence_sha256=evidence_sha256)
    ids = sorted({each.household_id for each in measures})
    files = {f.household_id: f for f in await file_store.lock_files(session, county_code, ids)}
    for measure in measures:
        file = files[measure.household_id]
        facts = tuple(fact for key, fact in FACTS.items() if key == (measure.kind, measure.state))
        if measure.kind is MeasureKind.REHABILITATION and measure.end_reason:
            barred = tuple(code for code in file.barred if code != measure.code)
            file = replace(file, barred=barred)
            await file_store.save_files(session, [file])
        told = replace(file, version=file.version + len(facts))
        await save_changes(session, county_code, [Decision(told, None, facts, measure)])
        files[measure.household_id] = told
    changed = [file for _, file in sorted(files.items()) if file.limit_fen]
    decisions = await restate(
        session, catalogue, county_code, changed, cause=Cause.STANDING_CHANGED, today=on
    )
    await save_changes(session, county_code, decisions)


async def _keep(
    session: AsyncSession,
    measures: Sequence[Measure],
    *,
    by: Actor,
    on: date,
    reason: str,
    evidence_sha256: str,
) -> None:
    await store.add_measure_entries(
        session, measures, by=by, on=on, reason=reason, evidence_sha256=evidence_sha256
    )
