"""Credit: reviews by people, from the first appraisal to the grant, and contests."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit import events_out
from services.credit.model import (
    Cause,
    Contest,
    CreditFile,
    Decision,
    Objection,
    Review,
)
from services.credit.operations.shared import (
    actor_of,
    file_missing,
    inputs_of,
    require_county,
    save,
    standings,
)
from services.credit.rules import rating, reviewing
from services.credit.rules.reviewing import Moved, Step
from services.credit.rules.scheme import Scheme, scheme_of
from services.credit.store import files as file_store
from services.credit.store import reviews as store
from services.credit.store.limits import find_stops
from services.kernel import business_day, outbox
from services.kernel.caller import Caller, require_role
from services.kernel.errors import Conflict, LiandongError, NotFound
from services.kernel.ids import new_id
from services.kernel.values import replace
from services.programmes.loader import Catalogue
from services.programmes.schema.values import Open
from services.programmes.terms import Terms

OPENERS = ("county_centre", "township_station", "village_department")
ACTORS = (
    "village_department",
    "township_station",
    "county_centre",
    "poverty_office",
    "finance_bureau",
    "bank",
    "mutual_aid_society",
    "insurer",
    "guarantor",
)
STATIONS = ("village_department", "township_station", "county_centre", "poverty_office")
ANSWERERS = ("county_centre", "poverty_office")
BY_COUNTY = ("bank", "mutual_aid_society", "insurer", "guarantor")
"""Roles whose areas are not the county's divisions."""

Outcome = UUID | LiandongError
"""What became of one item: the id of what it made, or why it was refused."""


class Bench:
    """Schemes and calendars of the reviews of one call, each looked up once."""

    def __init__(self, catalogue: Catalogue, county_code: str) -> None:
        self._catalogue = catalogue
        self._county_code = county_code
        self._found: dict[str, tuple[Terms, Scheme]] = {}

    def of(self, ref: str) -> tuple[Terms, Scheme]:
        """The terms and the scheme under a ref."""
        if ref not in self._found:
            terms = self._catalogue.terms(self._county_code, ref)
            self._found[ref] = (terms, scheme_of(terms))
        return self._found[ref]


async def open_reviews(
    session: AsyncSession,
    caller: Caller,
    catalogue: Catalogue,
    county_code: str,
    *,
    programme_id: str,
    household_ids: Sequence[UUID],
    contest_id: UUID | None = None,
) -> list[Outcome]:
    """Begin the chain for households, each decided on its own."""
    require_role(caller, (*OPENERS, *ANSWERERS) if contest_id else OPENERS)
    require_county(caller, county_code)
    today = await business_day.today(session, county_code)
    bench = Bench(catalogue, county_code)
    ref = catalogue.in_force(county_code, programme_id, today)
    terms, scheme = bench.of(ref)
    files = {f.household_id: f for f in await _lock(session, county_code, household_ids)}
    busy = await store.find_open(session, county_code, household_ids)
    drafts = await _drafts(session, county_code, list(files.values()), scheme=scheme, today=today)
    by = actor_of(caller)
    outcomes: list[Outcome] = []
    moved: list[Moved] = []
    for household_id in household_ids:
        try:
            file = _openable(files, busy, household_id)
            caller.require_sight(file.household.area_code, file_missing(household_id))
            draft = drafts[household_id]
            if isinstance(draft, LiandongError):
                raise draft
            assert draft.rating is not None
            made = reviewing.open_review(
                file,
                draft.rating,
                scheme=scheme,
                calendar=terms.calendar,
                review_id=new_id(),
                contest_id=contest_id,
                by=by,
                on=today,
            )
            moved.append(made)
            outcomes.append(made[0].review_id)
        except LiandongError as error:
            outcomes.append(error)
    await _save(session, county_code, moved, bench, today)
    return outcomes


async def take_steps(
    session: AsyncSession,
    caller: Caller,
    catalogue: Catalogue,
    county_code: str,
    steps: Mapping[int, tuple[UUID, Step]],
) -> dict[int, Outcome]:
    """Take the next step of reviews, each decided on its own; a review twice is refused."""
    require_role(caller, ACTORS)
    by = actor_of(caller)
    today = await business_day.today(session, county_code)

    def decide(review: Review, objections: Sequence[Objection], bench: Bench, place: int) -> Moved:
        terms, scheme = bench.of(review.programme)
        return reviewing.take_step(
            review,
            steps[place][1],
            scheme=scheme,
            calendar=terms.calendar,
            objections=objections,
            by=by,
            on=today,
        )

    return await _each(
        session,
        caller,
        catalogue,
        county_code,
        review_ids={place: review_id for place, (review_id, _) in steps.items()},
        decide=decide,
        today=today,
    )


async def publish(
    session: AsyncSession,
    caller: Caller,
    catalogue: Catalogue,
    county_code: str,
    review_ids: Sequence[UUID],
    *,
    evidence_sha256: str,
) -> dict[int, Outcome]:
    """Put reviews out for objections, each decided on its own."""
    require_role(caller, STATIONS)
    by = actor_of(caller)
    today = await business_day.today(session, county_code)

    def decide(review: Review, objections: Sequence[Objection], bench: Bench, place: int) -> Moved:
        _, scheme = bench.of(review.programme)
        return reviewing.publish(
            review, scheme=scheme, evidence_sha256=evidence_sha256, by=by, on=today
        )

    ids = dict(enumerate(review_ids))
    return await _each(
        session, caller, catalogue, county_code, review_ids=ids, decide=decide, today=today
    )


async def confirm_override(
    session: AsyncSession,
    caller: Caller,
    catalogue: Catalogue,
    county_code: str,
    *,
    review_id: UUID,
    confirm: bool,
    reason: str,
) -> Review:
    """A second person stands for a grade against the scheme, or it falls."""
    require_role(caller, ACTORS)
    review = await _one(session, caller, county_code, review_id)
    today = await business_day.today(session, county_code)
    bench = Bench(catalogue, county_code)
    moved = reviewing.confirm_override(
        review,
        confirm=confirm,
        reason=reason,
        scheme=bench.of(review.programme)[1],
        by=actor_of(caller),
        on=today,
    )
    await _save(session, county_code, [moved], bench, today)
    return moved[0]


async def object_to(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    *,
    review_id: UUID,
    grounds: str,
    evidence_sha256: str,
    raised_on: date,
) -> Objection:
    """Take an objection down while the notice runs."""
    require_role(caller, STATIONS)
    review = await _one(session, caller, county_code, review_id)
    today = await business_day.today(session, county_code)
    reviewing.hear_objection(review, raised_on=raised_on, today=today)
    objection = Objection(
        county_code=county_code,
        objection_id=new_id(),
        review_id=review_id,
        raised_on=raised_on,
        grounds=grounds,
        evidence_sha256=evidence_sha256,
        actor=actor_of(caller),
    )
    await store.save_objection(session, objection)
    return objection


async def answer_objection(
    session: AsyncSession,
    caller: Caller,
    catalogue: Catalogue,
    county_code: str,
    *,
    objection_id: UUID,
    uphold: bool,
    answer: str,
    evidence_sha256: str,
) -> Review:
    """Answer an objection; one that is right sends the review back to its first step."""
    require_role(caller, STATIONS)
    objection = await store.find_objection(session, county_code, objection_id)
    if objection is None:
        raise NotFound("OBJECTION_NOT_FOUND", f"no objection {objection_id}", message_zh="无此异议")
    review = await _one(session, caller, county_code, objection.review_id)
    today = await business_day.today(session, county_code)
    bench = Bench(catalogue, county_code)
    terms, scheme = bench.of(review.programme)
    answered, moved = reviewing.answer_objection(
        review,
        objection,
        uphold=uphold,
        answer=answer,
        evidence_sha256=evidence_sha256,
        scheme=scheme,
        calendar=terms.calendar,
        by=actor_of(caller),
        on=today,
    )
    await store.save_objection(session, answered)
    await _save(session, county_code, [moved], bench, today)
    return moved[0]


async def grant(
    session: AsyncSession,
    caller: Caller,
    catalogue: Catalogue,
    county_code: str,
    review_ids: Sequence[UUID],
) -> dict[int, Outcome]:
    """Grant what reviews found, on the data of today; data that moved send a review back."""
    require_role(caller, ACTORS)
    require_county(caller, county_code)
    by = actor_of(caller)
    today = await business_day.today(session, county_code)
    bench = Bench(catalogue, county_code)
    reviews = await store.lock_reviews(session, county_code, review_ids)
    objections = await store.find_objections(session, county_code, review_ids)
    outcomes: dict[int, Outcome] = {}
    moved: list[Moved] = []
    decisions: list[Decision] = []
    for place, review_id in enumerate(review_ids):
        try:
            review = _of(reviews, review_id)
            _require_area(caller, review)
            terms, scheme = bench.of(review.programme)
            ready = reviewing.check_grant(
                review,
                scheme=scheme,
                calendar=terms.calendar,
                objections=objections.get(review_id, []),
                by=by,
                on=today,
            )
            decision = await _rated(session, county_code, ready, scheme=scheme, today=today)
            made = decision.rating
            assert made is not None
            if reviewing.moved_since(ready, made):
                back = reviewing.back_to_start(
                    ready, made, scheme=scheme, calendar=terms.calendar, by=by, on=today
                )
                moved.append(back)
                raise Conflict(
                    "DATA_MOVED",
                    "the data have changed since the review: it begins anew",
                    message_zh="数据已变化,重新评议",
                )
            moved.append(reviewing.granted(ready, made, by=by, on=today))
            decisions.append(decision)
            outcomes[place] = made.rating_id
        except LiandongError as error:
            outcomes[place] = error
    await save(session, decisions, today, rated_by=caller.institution_id)
    await _save(session, county_code, moved, bench, today)
    return outcomes


async def contest(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    *,
    rating_id: UUID,
    grounds: str,
    evidence_sha256: str,
) -> Contest:
    """A household asks that a person looks at what no person decided."""
    require_role(caller, (*STATIONS, "household"))
    require_county(caller, county_code)
    stored = (await file_store.find_ratings(session, county_code, [rating_id])).get(rating_id)
    missing = NotFound("RATING_NOT_FOUND", f"no rating {rating_id}", message_zh="无此评级")
    if stored is None:
        raise missing
    [file] = await _lock(session, county_code, [stored.household_id])
    caller.require_sight(file.household.area_code, missing)
    reviewing.check_contest(stored, file)
    if await store.is_contested(session, county_code, rating_id):
        raise Conflict("CONTESTED_BEFORE", "it was contested before", message_zh="已申诉过")
    today = await business_day.today(session, county_code)
    made = Contest(
        county_code=county_code,
        contest_id=new_id(),
        household_id=stored.household_id,
        area_code=file.household.area_code,
        rating_id=rating_id,
        grounds=grounds,
        evidence_sha256=evidence_sha256,
        actor=actor_of(caller),
        raised_on=today,
        due_on=today + timedelta(days=reviewing.ANSWER_DAYS),
    )
    await store.save_contest(session, made)
    await outbox.record(session, [events_out.refusal_contested(made, today)])
    return made


async def answer_contest(
    session: AsyncSession,
    caller: Caller,
    catalogue: Catalogue,
    county_code: str,
    *,
    contest_id: UUID,
    uphold: bool,
    answer: str,
    evidence_sha256: str,
) -> Contest:
    """A person answers; upheld, people review the household."""
    require_role(caller, ANSWERERS)
    require_county(caller, county_code)
    held = await store.lock_contest(session, county_code, contest_id)
    missing = NotFound("CONTEST_NOT_FOUND", f"no contest {contest_id}", message_zh="无此申诉")
    if held is None:
        raise missing
    caller.require_sight(held.area_code, missing)
    today = await business_day.today(session, county_code)
    answered = reviewing.answer_contest(
        held,
        uphold=uphold,
        answer=answer,
        evidence_sha256=evidence_sha256,
        by=actor_of(caller),
        on=today,
    )
    if uphold:
        ratings = await file_store.find_ratings(session, county_code, [held.rating_id])
        [opened] = await open_reviews(
            session,
            caller,
            catalogue,
            county_code,
            programme_id=ratings[held.rating_id].programme.split("@")[0],
            household_ids=[held.household_id],
            contest_id=contest_id,
        )
        if isinstance(opened, LiandongError):
            raise opened
        answered = replace(answered, review_id=opened)
    await store.save_contest(session, answered)
    await outbox.record(session, [events_out.contest_answered(answered, today)])
    return answered


Decide = Callable[[Review, Sequence[Objection], Bench, int], Moved]


async def _each(
    session: AsyncSession,
    caller: Caller,
    catalogue: Catalogue,
    county_code: str,
    *,
    review_ids: Mapping[int, UUID],
    decide: Decide,
    today: date,
) -> dict[int, Outcome]:
    """Lock reviews, decide each on its own, save those that moved."""
    require_county(caller, county_code)
    bench = Bench(catalogue, county_code)
    ids = list(review_ids.values())
    reviews = await store.lock_reviews(session, county_code, ids)
    objections = await store.find_objections(session, county_code, ids)
    outcomes: dict[int, Outcome] = {}
    moved: list[Moved] = []
    for place, review_id in review_ids.items():
        try:
            review = _of(reviews, review_id)
            _require_area(caller, review)
            made = decide(review, objections.get(review_id, []), bench, place)
            # A second step of the same review would write its entry over the first one's.
            del reviews[review_id]
            moved.append(made)
            outcomes[place] = review_id
        except LiandongError as error:
            outcomes[place] = error
    await _save(session, county_code, moved, bench, today)
    return outcomes


async def _save(
    session: AsyncSession, county_code: str, moved: Sequence[Moved], bench: Bench, on: date
) -> None:
    if not moved:
        return
    await store.save_reviews(session, [review for review, _ in moved])
    await store.add_entries(session, county_code, [entry for _, entry in moved])
    told = []
    for review, _ in moved:
        clause = reviewing.next_step(review, bench.of(review.programme)[1])
        organ = "" if clause is None or isinstance(clause.organ, Open) else clause.organ.value
        told.append((review, clause.step if clause else "", organ))
    await outbox.record(session, events_out.reviews_moved(told, on))


async def _lock(
    session: AsyncSession, county_code: str, household_ids: Sequence[UUID]
) -> list[CreditFile]:
    return await file_store.lock_files(session, county_code, household_ids)


async def _one(session: AsyncSession, caller: Caller, county_code: str, review_id: UUID) -> Review:
    require_county(caller, county_code)
    review = _of(await store.lock_reviews(session, county_code, [review_id]), review_id)
    _require_area(caller, review)
    return review


def _of(reviews: Mapping[UUID, Review], review_id: UUID) -> Review:
    review = reviews.get(review_id)
    if review is None:
        raise _review_missing(review_id)
    return review


def _review_missing(review_id: UUID) -> NotFound:
    return NotFound("REVIEW_NOT_FOUND", f"no review {review_id}", message_zh="无此评议")


def _require_area(caller: Caller, review: Review) -> None:
    if caller.role not in BY_COUNTY:
        caller.require_sight(review.area_code, _review_missing(review.review_id))


def _openable(files: Mapping[UUID, CreditFile], busy: set[UUID], household_id: UUID) -> CreditFile:
    if household_id not in files:
        raise file_missing(household_id)
    if household_id in busy:
        raise Conflict("REVIEW_OPEN", "it is under review already", message_zh="该农户正在评议")
    return files[household_id]


async def _drafts(
    session: AsyncSession,
    county_code: str,
    files: Sequence[CreditFile],
    *,
    scheme: Scheme,
    today: date,
) -> dict[UUID, Decision | LiandongError]:
    """What the scheme says of households today; nothing is written."""
    ids = [file.household_id for file in files]
    inputs = await inputs_of(session, county_code, ids, scheme=scheme, on=today)
    standing = await standings(session, county_code, ids, today)
    drafts: dict[UUID, Decision | LiandongError] = {}
    for file in files:
        try:
            drafts[file.household_id] = rating.rate(
                file,
                inputs.get(file.household_id, {}),
                scheme=scheme,
                rating_id=new_id(),
                on=today,
                standing=standing.get(file.household_id, rating.NOTHING),
                cause=Cause.REVIEWED,
            )
        except LiandongError as error:
            drafts[file.household_id] = error
    return drafts


async def _rated(
    session: AsyncSession, county_code: str, review: Review, *, scheme: Scheme, today: date
) -> Decision:
    """The rating that a grant makes: today's data, and what people decided."""
    [file] = await _lock(session, county_code, [review.household_id])
    ids = [file.household_id]
    inputs = await inputs_of(session, county_code, ids, scheme=scheme, on=today)
    standing = (await standings(session, county_code, ids, today)).get(
        file.household_id, rating.NOTHING
    )
    stops = await find_stops(session, county_code, scheme.ref)
    return rating.rate(
        file,
        inputs.get(file.household_id, {}),
        scheme=scheme,
        rating_id=new_id(),
        on=today,
        standing=replace(
            rating.while_stopped(standing, file, stops),
            override=review.override,
        ),
        cause=Cause.REVIEWED,
    )
