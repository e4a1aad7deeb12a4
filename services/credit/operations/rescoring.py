"""Credit: rating a county or a province again, chunk by chunk, each in one transaction."""

import asyncio
import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
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
FOLDERS = ("credit", "programmes")
"""Where the code is that decides."""


def _code() -> str:
    """A digest of the code that decides: whom one program left alone another may not."""
    services = Path(__file__).parents[2]
    files = sorted(file for folder in FOLDERS for file in (services / folder).rglob("*.py"))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


CODE = _code()
"""Read as the process starts: later the disk may hold what another one will run."""


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


@dataclass(frozen=True, slots=True)
class Chunk:
    """Households of a re-score that were looked at, and what columns decided of them."""

    job: Rescore
    """As it stands before these."""
    today: date
    scheme: Scheme
    stops: tuple[str, ...]
    """Where breakers hold new limits back."""
    households: int
    last: UUID
    basis: str
    plan: rescoring.Plan
    sealed: pl.DataFrame
    """The ratings of the decided; none in a dry run."""
    said: Sequence[outbox.OutgoingEvent]
    """The events of the sealed."""

    @property
    def over(self) -> bool:
        """Whether nobody comes after these."""
        return self.households < CHUNK


async def look(session: AsyncSession, catalogue: Catalogue, job: Rescore, after: UUID) -> Chunk:
    """Read and decide the households after one; nothing is held and nothing written."""
    today = await business_day.today(session, job.county_code)
    scheme = scheme_of(catalogue.terms(job.county_code, job.programme))
    stops = await limit_store.find_stops(session, job.county_code, job.programme)
    months = await months_of(session, job.county_code, scheme.ref)
    cluster = await store.read_cluster(session)
    basis = rescoring.basis(scheme, months, code=CODE, cluster=cluster)
    heads = await store.read_heads(
        session,
        job.county_code,
        programme_id=job.programme_id,
        ref=job.programme,
        after=after,
        limit=CHUNK,
        earlier=await store.find_earlier(session, job, basis),
        months=months,
        on=today,
    )
    plan, sealed, said = await _planned(
        session, job, heads, scheme=scheme, months=months, today=today, stops=stops
    )
    return Chunk(
        job=replace(job, after_household_id=after),
        today=today,
        scheme=scheme,
        stops=tuple(stops),
        households=_size(heads),
        last=UUID(heads["household_id"][-1]) if len(heads) else after,
        basis=basis,
        plan=plan,
        sealed=sealed,
        said=said,
    )


def _size(heads: pl.DataFrame) -> int:
    """How many households a chunk has, with those who were not read."""
    return int(heads["households"][0]) if len(heads) else 0


async def take(
    session: AsyncSession,
    catalogue: Catalogue,
    county_code: str,
    rescore_id: UUID,
    ahead: Chunk | None,
) -> Chunk | None:
    """
    Hold a re-score and its next chunk: the one that was looked at ahead, where it still is that.

    None when another process has the re-score in hand.
    """
    job = await store.lock(session, county_code, rescore_id)
    if job is None:
        return None
    if ahead is not None and ahead.job.after_household_id == job.after_household_id:
        today = await business_day.today(session, county_code)
        stops = await limit_store.find_stops(session, county_code, job.programme)
        same = (ahead.job.county_code, ahead.job.rescore_id, ahead.today, ahead.stops)
        if same == (county_code, rescore_id, today, tuple(stops)):
            return replace(ahead, job=job)
    return await look(session, catalogue, job, job.after_household_id)


async def write(session: AsyncSession, chunk: Chunk) -> None:
    """Write and say what became of a chunk whose re-score is held, and how far it is."""
    job, plan, scheme, today = chunk.job, chunk.plan, chunk.scheme, chunk.today
    if len(chunk.sealed):
        await store.save_decided(
            session, job.county_code, chunk.sealed, scheme=scheme, on=today, rated_by=job.started_by
        )
        await outbox.record(session, chunk.said)
    if not job.dry_run:
        await store.settle(session, job.county_code, plan.settled, plan.unsettled)
    moves = [rescoring.moved(plan.decided)]
    lacking, changed = 0, len(plan.said)
    for at in range(0, len(plan.rate), ALONE):
        part = plan.rate[at : at + ALONE]
        pairs, missing = await _rated(session, chunk, part)
        if not job.dry_run:
            written = [decision for file, decision in pairs if rating.changes(file, decision)]
            await save(session, written, today, rated_by=job.started_by)
        lacking += missing
        changed += sum(bool(decision.facts) for _, decision in pairs)
        moves.append(rescoring.moves_of(pairs))
    await store.save(
        session,
        replace(
            job,
            state=RescoreState.DONE if chunk.over else RescoreState.RUNNING,
            after_household_id=chunk.last,
            done=job.done + chunk.households,
            changed=job.changed + changed,
            incomplete=job.incomplete + plan.incomplete + lacking,
            moves=functools.reduce(rescoring.added, moves, job.moves),
            basis=chunk.basis if job.basis == chunk.basis or not job.done else "",
        ),
    )


async def _planned(
    session: AsyncSession,
    job: Rescore,
    heads: pl.DataFrame,
    *,
    scheme: Scheme,
    months: Mapping[str, int],
    today: date,
    stops: Sequence[str],
) -> tuple[rescoring.Plan, pl.DataFrame, list[outbox.OutgoingEvent]]:
    """
    What columns say of a chunk; the ratings of whom they decided, and what there is to say.

    A dry run has none of these two.
    """
    ids = heads["household_id"].to_list()
    if not rescoring.can_decide(scheme):
        nobody = heads.clear()
        return rescoring.Plan(tuple(map(UUID, ids)), 0, nobody, nobody), nobody, []
    some = job.dry_run or heads["same_terms"].all()
    codes = reads_of(scheme) if some else None
    observed = await store.read_observed(
        session,
        job.county_code,
        ids,
        codes=codes,
        months=months,
        on=today,
        apart=len(heads) < _size(heads),
    )

    # Columns are worked on beside the loop: it goes on writing the chunk before and serving calls.
    def decide() -> tuple[rescoring.Plan, pl.DataFrame]:
        seen = rescoring.newest(observed, today)
        write_all, stopped = not job.dry_run, bool(stops)
        plan = rescoring.plan(
            heads, seen, scheme=scheme, on=today, write_all=write_all, stopped=stopped
        )
        return plan, seen

    plan, seen = await asyncio.to_thread(decide)
    if job.dry_run or not len(plan.decided):
        return plan, plan.decided.clear(), []
    rest = None
    if codes is not None:
        decided = plan.decided["household_id"].to_list()
        rest = await store.read_rest(
            session, job.county_code, decided, but=codes, months=months, on=today
        )

    def seal() -> tuple[pl.DataFrame, list[outbox.OutgoingEvent]]:
        whole = seen
        if rest is not None:
            # What was decided upon stays as it was seen, whatever was observed since.
            own = observed.join(plan.decided, "household_id", how="semi")
            whole = rescoring.newest(pl.concat([own, rest]), today)
        county_code, ids = job.county_code, new_ids(len(plan.decided))
        sealed = rescored.seal(
            plan.decided, whole, scheme=scheme, county_code=county_code, on=today, rating_ids=ids
        )
        said = sealed.filter(pl.col("said") > 0)
        return sealed, events_out.rescored(county_code, said, scheme.ref, today)

    return plan, *(await asyncio.to_thread(seal))


async def _rated(
    session: AsyncSession, chunk: Chunk, rate: Sequence[UUID]
) -> tuple[list[tuple[CreditFile, Decision]], int]:
    """Files that are rated one by one and what comes of them; how many cannot be rated."""
    job, scheme, today = chunk.job, chunk.scheme, chunk.today
    read = file_store.read_files if job.dry_run else file_store.lock_files
    found = await read(session, job.county_code, rate)
    files = [file for file in found if file.may_hold_limit]
    ids = [file.household_id for file in files]
    inputs = await inputs_of(session, job.county_code, ids, scheme=scheme, on=today)
    now = await standings(session, job.county_code, ids, today)
    last = await file_store.find_lasts(
        session, job.county_code, [file.rating_id for file in files if file.rating_id]
    )
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
            standing=rating.while_stopped(standing, file, chunk.stops),
            last=last[file.household_id],
        )
        pairs.append((file, decision))
    return pairs, len(files) - len(pairs)
