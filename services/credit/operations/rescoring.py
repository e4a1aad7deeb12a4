"""Credit: rating a county or a province again, chunk by chunk, each in one transaction."""

import functools
from collections.abc import Sequence
from datetime import date
from uuid import UUID

import polars as pl
from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit import events_out
from services.credit.model import CreditFile, Decision, Rescore, RescoreState
from services.credit.operations.rating import RATERS
from services.credit.operations.shared import (
    inputs_of,
    months_of,
    require_county,
    save,
    standings,
)
from services.credit.rules import rating, rescored, rescoring
from services.credit.rules.scheme import Scheme, missing_factors, reads_of, scheme_of
from services.credit.store import files as file_store
from services.credit.store import limits as limit_store
from services.credit.store import rescoring as store
from services.kernel import business_day, outbox
from services.kernel.caller import Caller, require_role
from services.kernel.errors import NotFound, Refused, invalid_field
from services.kernel.ids import new_id, new_ids
from services.kernel.values import replace
from services.programmes.loader import Catalogue
from services.programmes.schema.pack import split_ref

CHUNK = 4_000
"""Households a transaction; in between the service does other things."""
ALONE = 1_000
"""Of these so many are rated one by one at a time."""
BEFORE_ALL = UUID(int=0)


def _programme_of(ref: str) -> str:
    """The programme that a ref names; none where it is no ref."""
    try:
        return split_ref(ref)[0]
    except ValueError:
        return ""


async def start(
    session: AsyncSession,
    caller: Caller,
    catalogue: Catalogue,
    area_code: str,
    *,
    programme_id: str,
    reason: str,
    dry_run: bool,
    programme: str,
) -> list[Rescore]:
    """Start rating again everybody who was rated under a programme, county by county."""
    require_role(caller, RATERS)
    require_county(caller, area_code)
    person_id = caller.require_person()
    if programme and not dry_run:
        rule = "names another version, which only a dry run may try"
        raise invalid_field("DRY_RUN_ONLY", "programme", programme, rule, "仅试算可指定方案版本")
    if programme and _programme_of(programme) != programme_id:
        rule = f"must be a version of {programme_id}"
        raise invalid_field("PROGRAMME_MISMATCH", "programme", programme, rule, "方案不一致")
    rescore_id = new_id()
    started: list[Rescore] = []
    for county_code in rescoring.counties_in(area_code, catalogue.counties()):
        caller.require_area(county_code)
        today = await business_day.today(session, county_code)
        followed = {split_ref(e.programme)[0] for e in catalogue.adoptions(county_code, today)}
        if county_code != area_code and programme_id not in followed:
            continue
        ref = programme or catalogue.in_force(county_code, programme_id, today)
        _require_automatic(scheme_of(catalogue.terms(county_code, ref)))
        started.append(
            Rescore(
                county_code=county_code,
                rescore_id=rescore_id,
                programme_id=programme_id,
                programme=ref,
                dry_run=dry_run,
                reason=reason,
                state=RescoreState.RUNNING,
                started_on=today,
                started_by=caller.institution_id,
                person_id=person_id,
                after_household_id=BEFORE_ALL,
                households=await store.count_rated(session, county_code, programme_id),
                done=0,
                changed=0,
                incomplete=0,
                moves={},
            )
        )
    if not started:
        raise NotFound(
            "PROGRAMME_NOT_ADOPTED",
            f"no county in {area_code} follows {programme_id}",
            message_zh=f"辖区内无县采用方案 {programme_id}",
        )
    if await store.add(session, started) < len(started):
        raise Refused(
            "RESCORE_RUNNING",
            f"another re-score of {programme_id} runs in {area_code}",
            message_zh="该方案正在重新评级",
        )
    return started


def _require_automatic(scheme: Scheme) -> None:
    if not scheme.automatic:
        raise Refused(
            "REVIEW_NEEDED",
            f"under {scheme.ref} people propose grades: open reviews",
            message_zh="该方案须经人工评议",
        )


async def find_running(session: AsyncSession) -> tuple[str, UUID] | None:
    """The re-score that goes on next."""
    return await store.find_running(session)


async def fail(session: AsyncSession, county_code: str, rescore_id: UUID, reason: str) -> None:
    """End a re-score that people must look after."""
    await store.fail(session, county_code, rescore_id, reason)


async def step(
    session: AsyncSession, catalogue: Catalogue, county_code: str, rescore_id: UUID
) -> bool:
    """Do the next chunk of a re-score; False when another process has it in hand."""
    job = await store.lock(session, county_code, rescore_id)
    if job is None:
        return False
    today = await business_day.today(session, county_code)
    scheme = scheme_of(catalogue.terms(county_code, job.programme))
    heads = await store.read_heads(
        session,
        county_code,
        programme_id=job.programme_id,
        ref=job.programme,
        after=job.after_household_id,
        limit=CHUNK,
    )
    ids = heads["household_id"].to_list()
    plan, seen = await _planned(session, job, heads, scheme=scheme, today=today)
    if not job.dry_run:
        await _save_decided(session, job, plan, seen, scheme=scheme, today=today)
    moves = [rescoring.moved(plan.decided)]
    lacking, changed = 0, len(plan.said)
    for at in range(0, len(plan.rate), ALONE):
        part = plan.rate[at : at + ALONE]
        pairs, missing = await _rated(session, job, part, scheme=scheme, today=today)
        if not job.dry_run:
            written = [decision for file, decision in pairs if rating.changes(file, decision)]
            await save(session, written, today, rated_by=job.started_by)
        lacking += missing
        changed += sum(bool(decision.facts) for _, decision in pairs)
        moves.append(rescoring.moves_of(pairs))
    over = len(ids) < CHUNK
    await store.save(
        session,
        replace(
            job,
            state=RescoreState.DONE if over else RescoreState.RUNNING,
            after_household_id=UUID(ids[-1]) if ids else job.after_household_id,
            done=job.done + len(ids),
            changed=job.changed + changed,
            incomplete=job.incomplete + plan.incomplete + lacking,
            moves=functools.reduce(rescoring.added, moves, job.moves),
        ),
    )
    return True


async def _planned(
    session: AsyncSession, job: Rescore, heads: pl.DataFrame, *, scheme: Scheme, today: date
) -> tuple[rescoring.Plan, pl.DataFrame]:
    """What columns say of a chunk, and what was observed: all of it where all is written."""
    ids = heads["household_id"].to_list()
    if not rescoring.can_decide(scheme):
        nobody = heads.clear()
        everybody = rescoring.Plan(tuple(map(UUID, ids)), 0, nobody)
        return everybody, nobody
    some = job.dry_run or heads["same_terms"].all()
    months = await months_of(session, job.county_code, scheme.ref)
    codes = reads_of(scheme) if some else None
    seen = rescoring.newest(
        await store.read_observed(
            session, job.county_code, ids, codes=codes, months=months, on=today
        ),
        today,
    )
    plan = rescoring.plan(heads, seen, scheme=scheme, write_all=not job.dry_run)
    if some and not job.dry_run and len(plan.decided):
        decided = plan.decided["household_id"].to_list()
        again = await store.read_observed(
            session,
            job.county_code,
            decided,
            codes=None,
            months=months,
            on=today,
            scattered=True,
        )
        seen = rescoring.newest(again, today)
    return plan, seen


async def _save_decided(
    session: AsyncSession,
    job: Rescore,
    plan: rescoring.Plan,
    seen: pl.DataFrame,
    *,
    scheme: Scheme,
    today: date,
) -> None:
    if not len(plan.decided):
        return
    ratings = new_ids(len(plan.decided))
    sealed = rescored.seal(
        plan.decided,
        seen,
        scheme=scheme,
        county_code=job.county_code,
        on=today,
        rating_ids=ratings,
    )
    await store.save_decided(
        session, job.county_code, sealed, scheme=scheme, on=today, rated_by=job.started_by
    )
    said = sealed.filter(pl.col("said") > 0)
    await outbox.record(session, events_out.rescored(job.county_code, said, scheme.ref, today))


async def _rated(
    session: AsyncSession, job: Rescore, rate: Sequence[UUID], *, scheme: Scheme, today: date
) -> tuple[list[tuple[CreditFile, Decision]], int]:
    """Files that are rated one by one and what comes of them; how many cannot be rated."""
    read = file_store.read_files if job.dry_run else file_store.lock_files
    found = await read(session, job.county_code, rate)
    files = [file for file in found if file.may_hold_limit]
    ids = [file.household_id for file in files]
    inputs = await inputs_of(session, job.county_code, ids, scheme=scheme, on=today)
    now = await standings(session, job.county_code, ids, today)
    last = await file_store.find_lasts(
        session, job.county_code, [file.rating_id for file in files if file.rating_id]
    )
    stops = await limit_store.find_stops(session, job.county_code, job.programme)
    pairs = []
    for file in files:
        seen = inputs.get(file.household_id, {})
        if missing_factors(scheme, rating.values_of(seen)):
            continue
        standing = rating.awaiting_review(
            now.get(file.household_id, rating.NOTHING), file, scheme=scheme
        )
        decision = rating.rescore(
            file,
            seen,
            scheme=scheme,
            rating_id=new_id(),
            on=today,
            standing=rating.while_stopped(standing, file, stops),
            last=last[file.household_id],
        )
        pairs.append((file, decision))
    return pairs, len(files) - len(pairs)
