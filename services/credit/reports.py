"""Credit: what is read. Nothing is decided here, nothing is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit.model import (
    Contest,
    Coverage,
    CreditArea,
    CreditFile,
    Entry,
    Exposure,
    ExternalScore,
    IndicatorRule,
    LimitChange,
    LimitState,
    Measure,
    Objection,
    Observed,
    Rating,
    Rescore,
    Review,
    ReviewEntry,
)
from services.credit.operations.areas import terms_of
from services.credit.operations.shared import (
    catalogues_of,
    exposure_of,
    file_missing,
    observed_of,
    require_county,
)
from services.credit.rules import areas as area_rules
from services.credit.rules import limits, problem_loans, rating, recording, rescoring
from services.credit.rules.explaining import Explanation, explain
from services.credit.rules.indicators import Catalogue as IndicatorCatalogue
from services.credit.rules.rating import Derivation
from services.credit.rules.reviewing import next_step
from services.credit.rules.scheme import MODEL, reads_of, scheme_of
from services.credit.store import areas as area_store
from services.credit.store import files as store
from services.credit.store import indicators as indicator_store
from services.credit.store import limits as limit_store
from services.credit.store import problem_loans as problem_loan_store
from services.credit.store import rescoring as rescore_store
from services.credit.store import reviews as review_store
from services.credit.store import standing as standing_store
from services.kernel import business_day
from services.kernel.caller import Caller, require_role
from services.kernel.errors import NotFound, Refused
from services.kernel.values import replace
from services.programmes.loader import Catalogue
from services.programmes.schema.pack import split_ref
from services.programmes.schema.scoring import ReviewStep

AFTER_ALL = UUID(int=2**128 - 1)
HISTORY = 12

LENDERS = ("bank", "mutual_aid_society")
OFFICES = (
    "county_centre",
    "township_station",
    "village_department",
    "poverty_office",
    "finance_bureau",
    "auditor",
)


def _require_reader(caller: Caller, county_code: str) -> None:
    # For a person the gateway asks only about the own household.
    require_role(caller, (*LENDERS, *OFFICES, "household"))
    require_county(caller, county_code)


async def get_credit_file(
    session: AsyncSession, caller: Caller, county_code: str, household_id: UUID
) -> tuple[CreditFile, str]:
    """One household's file and the working of its last rating."""
    _require_reader(caller, county_code)
    found = await store.find_file(session, county_code, household_id)
    if found is None:
        raise file_missing(household_id)
    # The limit stands over all lenders, so each of the county's may read it.
    if caller.role not in LENDERS:
        caller.require_sight(found[0].household.area_code, file_missing(household_id))
    return found


@dataclass(frozen=True, slots=True)
class Standing:
    """How one indicator of a household stands on a day, under which programme's rule."""

    rule: IndicatorRule
    programme: str
    seen: Observed | None
    """None while nobody has observed it."""
    entry: Entry | None


async def indicators_of(
    session: AsyncSession, catalogue: Catalogue, file: CreditFile
) -> list[Standing]:
    """Every indicator that the file's programme, or else each of the county's, asks for."""
    county_code = file.county_code
    today = await business_day.today(session, county_code)
    entries = catalogue.adoptions(county_code, today)
    refs = [entry.programme for entry in entries]
    if file.programme:
        programme_id = split_ref(file.programme)[0]
        refs = [ref for ref in refs if split_ref(ref)[0] == programme_id] or [file.programme]
    standings: list[Standing] = []
    known = await catalogues_of(session, catalogue, county_code, refs)
    for ref, each in zip(refs, known, strict=True):
        seen = await observed_of(session, county_code, file.household_id, ref=ref, on=today)
        recorded = await indicator_store.find_entries(
            session, county_code, file.household_id, [o.entry for o in seen.values()]
        )
        for code, rule in sorted(each.rules.items()):
            found = seen.get(code)
            entry = recorded.get(found.entry) if found else None
            standings.append(Standing(rule, ref, found, entry))
    return standings


async def indicator_catalogue(
    session: AsyncSession,
    caller: Caller,
    catalogue: Catalogue,
    county_code: str,
    *,
    programme_id: str,
) -> IndicatorCatalogue:
    """What a programme and the county know of indicators, for everybody who supplies any."""
    require_county(caller, county_code)
    today = await business_day.today(session, county_code)
    ref = catalogue.in_force(county_code, programme_id, today)
    [known] = await catalogues_of(session, catalogue, county_code, [ref])
    return known


async def list_credit_files(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    within: str,
    *,
    after: UUID,
    limit: int,
) -> Sequence[CreditFile]:
    """The next files of an area, in household order."""
    _require_reader(caller, county_code)
    recording.check_area(within, county_code)
    if caller.role not in LENDERS:
        caller.require_area(within or county_code)
    return await store.list_files(session, county_code, within, after=after, limit=limit)


@dataclass(frozen=True, slots=True)
class Explained:
    """A rating, why, and who observed what it read."""

    rating: Rating
    explanation: Explanation
    sources: Mapping[int, str]
    reads: tuple[str, ...]
    """Every indicator that the scheme reads."""


async def explain_score(
    session: AsyncSession,
    caller: Caller,
    catalogue: Catalogue,
    county_code: str,
    household_id: UUID,
    *,
    rating_id: UUID | None,
) -> Explained:
    """Why a rating of a household came out as it did: the given one, or the last."""
    file, _ = await get_credit_file(session, caller, county_code, household_id)
    asked = rating_id or file.rating_id
    if asked is None:
        raise Refused(
            "NEVER_RATED", f"household {household_id} was never rated", message_zh="该农户尚未评级"
        )
    stored = await _rating(session, county_code, asked, household_id)
    found = await _explained(session, catalogue, stored)
    if asked != file.rating_id:
        return found
    ordered = await problem_loan_store.of_household(session, county_code, household_id)
    said = found.explanation
    return replace(
        found,
        explanation=replace(
            said,
            words=(*said.words, *problem_loans.words(ordered)),
            words_zh=(*said.words_zh, *problem_loans.words_zh(ordered)),
        ),
    )


@dataclass(frozen=True, slots=True)
class Rederived:
    """A stored rating beside the one derived again."""

    stored: Rating
    derivation: Derivation
    altered: list[str]
    """Inputs that no longer equal the entry that they were read from."""
    reads: tuple[str, ...]
    """Every indicator that the scheme reads."""


async def rederive_rating(
    session: AsyncSession, caller: Caller, catalogue: Catalogue, county_code: str, rating_id: UUID
) -> Rederived:
    """A stored rating derived again, and the inputs that no longer equal their entries."""
    _require_reader(caller, county_code)
    stored = await _rating(session, county_code, rating_id, None)
    try:
        await get_credit_file(session, caller, county_code, stored.household_id)
    except NotFound as error:
        raise _rating_missing(rating_id) from error
    scheme = scheme_of(catalogue.terms(county_code, stored.programme))
    entries = await indicator_store.find_entries(
        session, county_code, stored.household_id, [o.entry for o in stored.inputs.values()]
    )
    altered = [
        code
        for code, seen in sorted(stored.inputs.items())
        if not code.startswith(MODEL) and not _as_recorded(code, seen, entries.get(seen.entry))
    ]
    return Rederived(stored, rating.derive_again(stored, scheme=scheme), altered, reads_of(scheme))


def _as_recorded(code: str, seen: Observed, entry: Entry | None) -> bool:
    return entry is not None and (entry.code, entry.value, entry.observed_on) == (
        code,
        seen.value,
        seen.observed_on,
    )


async def list_ratings(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    household_id: UUID,
    *,
    before: UUID,
    limit: int,
) -> list[Rating]:
    """A household's ratings, the newest first."""
    await get_credit_file(session, caller, county_code, household_id)
    return await store.list_ratings(session, county_code, household_id, before=before, limit=limit)


async def get_limit(
    session: AsyncSession, caller: Caller, county_code: str, household_id: UUID
) -> LimitState:
    """A household's limit and what is free of it, over all lenders."""
    file, _ = await get_credit_file(session, caller, county_code, household_id)
    exposure = await _exposure(session, caller, county_code, household_id)
    return limits.state_of(file, exposure)


async def list_limit_changes(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    household_id: UUID,
    *,
    before: int,
    limit: int,
) -> list[LimitChange]:
    """The changes of a household's limit, the newest first."""
    await get_credit_file(session, caller, county_code, household_id)
    return await limit_store.list_limit_changes(
        session, county_code, household_id, before=before, limit=limit
    )


@dataclass(frozen=True, slots=True)
class CreditReport:
    """A household's own report."""

    as_of: date
    file: CreditFile
    explained: Explained | None
    limit: LimitState
    exposure: Exposure
    measures: list[Measure]
    history: list[Rating]
    external_scores: list[ExternalScore]


async def credit_report(
    session: AsyncSession,
    caller: Caller,
    catalogue: Catalogue,
    county_code: str,
    household_id: UUID,
) -> CreditReport:
    """A household's own credit report: index, grade and why, free limit, standing."""
    file, _ = await get_credit_file(session, caller, county_code, household_id)
    today = await business_day.today(session, county_code)
    exposure = await _exposure(session, caller, county_code, household_id)
    history = await store.list_ratings(
        session, county_code, household_id, before=AFTER_ALL, limit=HISTORY
    )
    last = next((each for each in history if each.rating_id == file.rating_id), None)
    measures = await standing_store.find_measures(session, county_code, [household_id])
    scores = await standing_store.find_external_scores(
        session, county_code, [household_id], on=today
    )
    return CreditReport(
        as_of=today,
        file=file,
        explained=None if last is None else await _explained(session, catalogue, last),
        limit=limits.state_of(file, exposure),
        exposure=exposure,
        measures=[each for each in measures.get(household_id, []) if each.holds_on(today)],
        history=history,
        external_scores=scores.get(household_id, []),
    )


async def get_rescore(
    session: AsyncSession, caller: Caller, catalogue: Catalogue, area_code: str, rescore_id: UUID
) -> list[Rescore]:
    """A re-score in each of its counties."""
    require_role(caller, OFFICES)
    counties = rescoring.counties_in(area_code, catalogue.counties())
    found = await rescore_store.find(
        session, [code for code in counties if caller.may_act_in(code)], rescore_id
    )
    if not found:
        raise NotFound("RESCORE_NOT_FOUND", f"no re-score {rescore_id}", message_zh="无此重评任务")
    return found


async def list_measures(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    *,
    household_id: UUID | None,
    within: str,
    on: date | None,
    before: UUID,
    limit: int,
) -> list[Measure]:
    """Measures of a household or an area, the newest first."""
    _require_area(caller, county_code, within, household_id)
    if household_id is not None:
        await get_credit_file(session, caller, county_code, household_id)
    return await standing_store.list_measures(
        session,
        county_code,
        household_id=household_id,
        within=within,
        on=on,
        before=before,
        limit=limit,
    )


async def get_review(
    session: AsyncSession, caller: Caller, catalogue: Catalogue, county_code: str, review_id: UUID
) -> tuple[Review, ReviewStep | None, list[ReviewEntry], list[Objection]]:
    """One review with its whole record."""
    _require_reader(caller, county_code)
    found = await review_store.lock_reviews(session, county_code, [review_id])
    missing = NotFound("REVIEW_NOT_FOUND", f"no review {review_id}", message_zh="无此评议")
    if review_id not in found:
        raise missing
    review = found[review_id]
    if caller.role not in LENDERS:
        caller.require_sight(review.area_code, missing)
    entries = await review_store.list_entries(session, county_code, review_id)
    objections = await review_store.find_objections(session, county_code, [review_id])
    return review, step_of(catalogue, review), entries, objections.get(review_id, [])


def step_of(catalogue: Catalogue, review: Review) -> ReviewStep | None:
    """The step that is next for a review."""
    scheme = scheme_of(catalogue.terms(review.county_code, review.programme))
    return next_step(review, scheme)


async def list_reviews(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    *,
    within: str,
    state: str,
    after: UUID,
    limit: int,
) -> list[Review]:
    """Reviews of an area, in the order in which they were opened."""
    _require_area(caller, county_code, within, None)
    return await review_store.list_reviews(
        session, county_code, within=within, state=state, after=after, limit=limit
    )


async def list_contests(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    *,
    within: str,
    open_only: bool,
    after: UUID,
    limit: int,
) -> list[Contest]:
    """Contests of an area, in the order in which they were raised."""
    _require_area(caller, county_code, within, None)
    return await review_store.list_contests(
        session, county_code, within=within, open_only=open_only, after=after, limit=limit
    )


async def list_credit_areas(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    *,
    within: str,
    on: date | None,
    certified_only: bool,
    offset: int,
    limit: int,
) -> list[CreditArea]:
    """Credit areas, as they stand or as they stood on a day."""
    _require_area(caller, county_code, within, None)
    if on is None:
        return await area_store.list_areas(
            session,
            county_code,
            within=within,
            certified_only=certified_only,
            offset=offset,
            limit=limit,
        )
    return await area_store.list_areas_on(
        session,
        county_code,
        on,
        within=within,
        certified_only=certified_only,
        offset=offset,
        limit=limit,
    )


async def get_coverage(
    session: AsyncSession,
    caller: Caller,
    catalogue: Catalogue,
    county_code: str,
    *,
    within: str,
    level: str,
    by_institution: bool,
    on: date | None,
    offset: int,
    limit: int,
) -> tuple[list[Coverage], Mapping[str, int], date]:
    """Coverage, its targets and the day for which it holds."""
    _require_area(caller, county_code, within, None)
    today = await business_day.today(session, county_code)
    programmes = terms_of(catalogue, county_code, on or today)
    digits = area_rules.DIGITS[level]
    if on is None:
        figures = await area_store.count_coverage(
            session,
            county_code,
            within=within,
            digits=digits,
            left_out=area_rules.left_out(programmes),
            by_institution=by_institution,
            offset=offset,
            limit=limit,
        )
        return figures, area_rules.targets_of(programmes), today
    kept_on = await area_store.last_kept(session, county_code, on)
    if kept_on is None:
        raise NotFound(
            "COVERAGE_NOT_KEPT", f"no coverage was kept up to {on}", message_zh="该日期前无留存数据"
        )
    figures = await area_store.list_coverage(
        session,
        county_code,
        kept_on,
        within=within,
        digits=digits,
        by_institution=by_institution,
        offset=offset,
        limit=limit,
    )
    return figures, area_rules.targets_of(programmes), kept_on


def _require_area(caller: Caller, county_code: str, within: str, household_id: UUID | None) -> None:
    _require_reader(caller, county_code)
    recording.check_area(within, county_code)
    if caller.role not in LENDERS and household_id is None:
        caller.require_area(within or county_code)


async def _rating(
    session: AsyncSession, county_code: str, rating_id: UUID, household_id: UUID | None
) -> Rating:
    stored = (await store.find_ratings(session, county_code, [rating_id])).get(rating_id)
    if stored is None or household_id not in (None, stored.household_id):
        raise _rating_missing(rating_id)
    return stored


def _rating_missing(rating_id: UUID) -> NotFound:
    return NotFound("RATING_NOT_FOUND", f"no rating {rating_id}", message_zh="无此评级")


async def _explained(session: AsyncSession, catalogue: Catalogue, stored: Rating) -> Explained:
    scheme = scheme_of(catalogue.terms(stored.county_code, stored.programme))
    entries = await indicator_store.find_entries(
        session,
        stored.county_code,
        stored.household_id,
        [seen.entry for seen in stored.inputs.values()],
    )
    sources = {entry: each.source_id for entry, each in entries.items()}
    return Explained(stored, explain(stored, scheme), sources, reads_of(scheme))


async def _exposure(
    session: AsyncSession, caller: Caller, county_code: str, household_id: UUID
) -> Exposure:
    today = await business_day.today(session, county_code)
    return await exposure_of(
        session, county_code, household_id, lender_id=caller.institution_id, today=today
    )


async def totals(session: AsyncSession, county_code: str) -> dict[str, int]:
    """The control totals of a county."""
    return await store.totals(session, county_code)
