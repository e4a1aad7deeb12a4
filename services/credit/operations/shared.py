"""Credit: what the use cases share: who may act where, standing, and saving what was decided."""

from collections.abc import Iterable, Sequence
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit import events_out
from services.credit.model import (
    Actor,
    Cause,
    CreditFile,
    Decision,
    Exposure,
    Observed,
    Pins,
    Rating,
)
from services.credit.rules import indicators, rating, standing
from services.credit.rules.scheme import MODEL, Scheme, scheme_of
from services.credit.store import files as file_store
from services.credit.store import indicators as indicator_store
from services.credit.store import limits as limit_store
from services.credit.store import standing as standing_store
from services.kernel import business_day, outbox
from services.kernel.caller import Caller
from services.kernel.errors import Denied, NotFound
from services.kernel.ids import new_id
from services.kernel.values import replace
from services.programmes.loader import Catalogue
from services.programmes.schema.pack import split_ref
from services.programmes.schema.scoring import ExternalScoring


def require_county(caller: Caller, county_code: str) -> None:
    """Refuse a caller of another county."""
    if caller.county_code not in (county_code, "000000"):
        raise Denied(
            "AREA_NOT_YOURS",
            f"{caller.institution_id} may not act in {county_code}",
            message_zh="超出本机构辖区",
        )


async def catalogues_of(
    session: AsyncSession, catalogue: Catalogue, county_code: str, refs: Sequence[str]
) -> list[indicators.Catalogue]:
    """What each programme and the county know of indicators."""
    ids = {ref: split_ref(ref)[0] for ref in refs}
    declared = await indicator_store.find_rules(session, county_code, list(ids.values()))
    return [
        indicators.catalogue_of(catalogue.terms(county_code, ref), declared[programme_id])
        for ref, programme_id in ids.items()
    ]


def actor_of(caller: Caller) -> Actor:
    """Who acts; the person must be named."""
    return Actor(caller.institution_id, caller.role, caller.require_person())


def found(files: Sequence[CreditFile], household_id: UUID) -> CreditFile:
    """A file of those that were locked, or a refusal."""
    for file in files:
        if file.household_id == household_id:
            return file
    raise file_missing(household_id)


def file_missing(household_id: UUID) -> NotFound:
    """The same answer for a file that is not there and one of another's area."""
    return NotFound(
        "CREDIT_FILE_NOT_FOUND",
        f"no credit file of household {household_id} in this county",
        message_zh="本县无此农户信用档案",
    )


async def standings(
    session: AsyncSession, county_code: str, household_ids: Sequence[UUID], on: date
) -> dict[UUID, Pins]:
    """What counts beside indicators, by household; nothing for those that are not named."""
    measures = await standing_store.find_measures(session, county_code, household_ids)
    return {key: standing.standing_of(held, on) for key, held in measures.items()}


async def inputs_of(
    session: AsyncSession,
    county_code: str,
    household_ids: Sequence[UUID],
    *,
    scheme: Scheme,
    on: date,
) -> dict[UUID, dict[str, Observed]]:
    """What a scheme may read of households: observations, and a model's score where it asks."""
    months = await months_of(session, county_code, scheme.ref)
    inputs = await indicator_store.find_inputs(
        session, county_code, household_ids, on=on, months=months
    )
    if isinstance(scheme.scoring, ExternalScoring):
        scores = await standing_store.find_external_scores(
            session, county_code, household_ids, on=on
        )
        for household_id, each in scores.items():
            newest = each[0]
            read = Observed(newest.score_centi, newest.scored_on, 0)
            inputs.setdefault(household_id, {})[f"{MODEL}{newest.model_id}"] = read
    return inputs


async def months_of(session: AsyncSession, county_code: str, ref: str) -> dict[str, int]:
    """For how many months an observation counts under a programme, by code."""
    programme_id = split_ref(ref)[0]
    declared = await indicator_store.find_rules(session, county_code, [programme_id])
    return indicators.counts_months(declared[programme_id].values())


async def observed_of(
    session: AsyncSession, county_code: str, household_id: UUID, *, ref: str, on: date
) -> dict[str, Observed]:
    """What was observed of one household, as it counts under a programme."""
    months = await months_of(session, county_code, ref)
    found = await indicator_store.find_inputs(
        session, county_code, [household_id], on=on, months=months
    )
    return found.get(household_id, {})


async def exposure_of(
    session: AsyncSession, county_code: str, household_id: UUID, *, lender_id: str, today: date
) -> Exposure:
    """What all lenders have lent a household."""
    exposures = await limit_store.find_exposures(
        session, county_code, [household_id], lender_id=lender_id, today=today
    )
    return exposures.get(household_id, limit_store.NOTHING_LENT)


def schemes_of(catalogue: Catalogue, county_code: str, refs: Iterable[str]) -> dict[str, Scheme]:
    """Schemes by ref, each made once."""
    return {ref: scheme_of(catalogue.terms(county_code, ref)) for ref in set(refs)}


async def save(
    session: AsyncSession, decisions: Sequence[Decision], on: date, *, rated_by: str = ""
) -> None:
    """Write decisions down and say them, each once."""
    if not decisions:
        return
    ratings = [decision.rating for decision in decisions if decision.rating is not None]
    await file_store.add_ratings(session, ratings, rated_by=rated_by)
    await file_store.save_files(session, [decision.file for decision in decisions])
    await limit_store.add_limit_changes(session, decisions[0].file.county_code, decisions, on)
    await outbox.record(session, events_out.decided(decisions, on))


async def save_changes(
    session: AsyncSession, county_code: str, decisions: Sequence[Decision]
) -> None:
    """The same for those that changed anything."""
    changed = [decision for decision in decisions if decision.facts]
    if changed:
        await save(session, changed, await business_day.today(session, county_code))


async def restate(
    session: AsyncSession,
    catalogue: Catalogue,
    county_code: str,
    files: Sequence[CreditFile],
    *,
    cause: Cause,
    today: date,
) -> list[Decision]:
    """Rate again on the last ratings' inputs and terms; what was observed since waits."""
    if not files:
        return []
    last = await _last_ratings(session, county_code, files)
    now = await standings(session, county_code, [file.household_id for file in files], today)
    schemes = schemes_of(catalogue, county_code, (file.programme for file in files))
    return [
        rating.restate(
            file,
            last[file.household_id].inputs,
            scheme=schemes[file.programme],
            rating_id=new_id(),
            on=today,
            pins=replace(
                now.get(file.household_id, rating.NOTHING),
                override=last[file.household_id].pins.override,
            ),
            cause=cause,
        )
        for file in files
    ]


async def _last_ratings(
    session: AsyncSession, county_code: str, files: Sequence[CreditFile]
) -> dict[UUID, Rating]:
    ids = [file.rating_id for file in files if file.rating_id is not None]
    ratings = await file_store.find_ratings(session, county_code, ids)
    return {each.household_id: each for each in ratings.values()}
