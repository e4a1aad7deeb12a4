"""Credit over gRPC: the rating chain and contests."""

from collections.abc import Mapping
from uuid import UUID

from liandong.common.v1 import common_pb2
from liandong.credit.v1 import reviews_pb2
from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit import reports
from services.credit.model import (
    Contest,
    Objection,
    Review,
    ReviewEntry,
    ReviewState,
    StepOutcome,
)
from services.credit.operations import reviewing as operations
from services.credit.operations.reviewing import Outcome
from services.credit.rules.reviewing import Step
from services.credit.servicer.wire import after
from services.kernel import wire
from services.kernel.database import Database
from services.kernel.errors import LiandongError
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.money import Fen
from services.kernel.rpc import Context, caller_of
from services.programmes.loader import Catalogue
from services.programmes.schema.scoring import ReviewStep
from services.programmes.schema.values import Open

STATES = {
    ReviewState.IN_REVIEW: reviews_pb2.REVIEW_STATE_IN_REVIEW,
    ReviewState.TO_PUBLISH: reviews_pb2.REVIEW_STATE_TO_PUBLISH,
    ReviewState.ON_NOTICE: reviews_pb2.REVIEW_STATE_ON_NOTICE,
    ReviewState.TO_GRANT: reviews_pb2.REVIEW_STATE_TO_GRANT,
    ReviewState.GRANTED: reviews_pb2.REVIEW_STATE_GRANTED,
    ReviewState.REFUSED: reviews_pb2.REVIEW_STATE_REFUSED,
}
STATE_OF = {int(number): str(state) for state, number in STATES.items()} | {0: ""}
OUTCOMES = {
    int(reviews_pb2.STEP_OUTCOME_AGREED): StepOutcome.AGREED,
    int(reviews_pb2.STEP_OUTCOME_OVERRIDDEN): StepOutcome.OVERRIDDEN,
    int(reviews_pb2.STEP_OUTCOME_RETURNED): StepOutcome.RETURNED,
    int(reviews_pb2.STEP_OUTCOME_REFUSED): StepOutcome.REFUSED,
}


class ReviewingDoor:
    """Reviews by people, from the first appraisal to the grant; contests."""

    _database: Database
    _catalogue: Catalogue

    async def OpenReviews(
        self, request: reviews_pb2.OpenReviewsRequest, context: Context
    ) -> reviews_pb2.OpenReviewsResponse:
        """Begin the chain for households."""
        caller = caller_of(context)

        async def work(session: AsyncSession) -> reviews_pb2.OpenReviewsResponse:
            outcomes = await operations.open_reviews(
                session,
                caller,
                self._catalogue,
                request.county_code,
                programme_id=request.programme_id,
                household_ids=[parse_id("household_ids", each) for each in request.household_ids],
            )
            return reviews_pb2.OpenReviewsResponse(verdicts=_verdicts(dict(enumerate(outcomes))))

        answer = reviews_pb2.OpenReviewsResponse
        return await once(self._database, caller, request, answer, work, money=False)

    async def BatchDecideReviewSteps(
        self, request: reviews_pb2.BatchDecideReviewStepsRequest, context: Context
    ) -> reviews_pb2.BatchDecideReviewStepsResponse:
        """Take the next step of reviews."""
        caller = caller_of(context)
        steps = {
            place: (parse_id("review_id", each.review_id), _step(each))
            for place, each in enumerate(request.steps)
        }

        async def work(session: AsyncSession) -> reviews_pb2.BatchDecideReviewStepsResponse:
            outcomes = await operations.take_steps(
                session, caller, self._catalogue, request.county_code, steps
            )
            return reviews_pb2.BatchDecideReviewStepsResponse(verdicts=_verdicts(outcomes))

        answer = reviews_pb2.BatchDecideReviewStepsResponse
        return await once(self._database, caller, request, answer, work, money=False)

    async def ConfirmOverride(
        self, request: reviews_pb2.ConfirmOverrideRequest, context: Context
    ) -> reviews_pb2.ConfirmOverrideResponse:
        """A second person stands for a grade against the scheme."""
        caller = caller_of(context)

        async def work(session: AsyncSession) -> reviews_pb2.ConfirmOverrideResponse:
            review = await operations.confirm_override(
                session,
                caller,
                self._catalogue,
                request.county_code,
                review_id=parse_id("review_id", request.review_id),
                confirm=request.confirm,
                reason=request.reason,
            )
            return reviews_pb2.ConfirmOverrideResponse(review=self._review(review))

        answer = reviews_pb2.ConfirmOverrideResponse
        return await once(self._database, caller, request, answer, work, money=False)

    async def PublishNotices(
        self, request: reviews_pb2.PublishNoticesRequest, context: Context
    ) -> reviews_pb2.PublishNoticesResponse:
        """Put reviews out for objections."""
        caller = caller_of(context)

        async def work(session: AsyncSession) -> reviews_pb2.PublishNoticesResponse:
            outcomes = await operations.publish(
                session,
                caller,
                self._catalogue,
                request.county_code,
                [parse_id("review_ids", each) for each in request.review_ids],
                evidence_sha256=request.evidence_sha256,
            )
            return reviews_pb2.PublishNoticesResponse(verdicts=_verdicts(outcomes))

        answer = reviews_pb2.PublishNoticesResponse
        return await once(self._database, caller, request, answer, work, money=False)

    async def ObjectToNotice(
        self, request: reviews_pb2.ObjectToNoticeRequest, context: Context
    ) -> reviews_pb2.ObjectToNoticeResponse:
        """Take an objection down while the notice runs."""
        caller = caller_of(context)
        raised_on = wire.date_from_proto("raised_on", request.raised_on)

        async def work(session: AsyncSession) -> reviews_pb2.ObjectToNoticeResponse:
            objection = await operations.object_to(
                session,
                caller,
                request.county_code,
                review_id=parse_id("review_id", request.review_id),
                grounds=request.grounds,
                evidence_sha256=request.evidence_sha256,
                raised_on=raised_on,
            )
            return reviews_pb2.ObjectToNoticeResponse(objection_id=str(objection.objection_id))

        answer = reviews_pb2.ObjectToNoticeResponse
        return await once(self._database, caller, request, answer, work, money=False)

    async def AnswerObjection(
        self, request: reviews_pb2.AnswerObjectionRequest, context: Context
    ) -> reviews_pb2.AnswerObjectionResponse:
        """Answer an objection."""
        caller = caller_of(context)

        async def work(session: AsyncSession) -> reviews_pb2.AnswerObjectionResponse:
            review = await operations.answer_objection(
                session,
                caller,
                self._catalogue,
                request.county_code,
                objection_id=parse_id("objection_id", request.objection_id),
                uphold=request.uphold,
                answer=request.answer,
                evidence_sha256=request.evidence_sha256,
            )
            return reviews_pb2.AnswerObjectionResponse(review=self._review(review))

        answer = reviews_pb2.AnswerObjectionResponse
        return await once(self._database, caller, request, answer, work, money=False)

    async def GrantReviews(
        self, request: reviews_pb2.GrantReviewsRequest, context: Context
    ) -> reviews_pb2.GrantReviewsResponse:
        """Grant what reviews found."""
        caller = caller_of(context)

        async def work(session: AsyncSession) -> reviews_pb2.GrantReviewsResponse:
            outcomes = await operations.grant(
                session,
                caller,
                self._catalogue,
                request.county_code,
                [parse_id("review_ids", each) for each in request.review_ids],
            )
            return reviews_pb2.GrantReviewsResponse(verdicts=_verdicts(outcomes))

        answer = reviews_pb2.GrantReviewsResponse
        return await once(self._database, caller, request, answer, work, money=False)

    async def GetReview(
        self, request: reviews_pb2.GetReviewRequest, context: Context
    ) -> reviews_pb2.GetReviewResponse:
        """One review with its whole record."""
        caller = caller_of(context)
        review_id = parse_id("review_id", request.review_id)
        async with self._database.transaction(caller) as session:
            review, _, entries, objections = await reports.get_review(
                session, caller, self._catalogue, request.county_code, review_id
            )
        return reviews_pb2.GetReviewResponse(
            review=self._review(review),
            entries=[_entry_to_proto(each) for each in entries],
            objections=[_objection_to_proto(each) for each in objections],
        )

    async def ListReviews(
        self, request: reviews_pb2.ListReviewsRequest, context: Context
    ) -> reviews_pb2.ListReviewsResponse:
        """Reviews of an area."""
        caller = caller_of(context)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            found = await reports.list_reviews(
                session,
                caller,
                request.county_code,
                within=request.within,
                state=STATE_OF[request.state],
                after=after("page_token", wire.page_start(request.page_token)),
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.review_id)
        return reviews_pb2.ListReviewsResponse(
            reviews=[self._review(each) for each in page],
            next_page_token=token,
        )

    async def ContestRefusal(
        self, request: reviews_pb2.ContestRefusalRequest, context: Context
    ) -> reviews_pb2.ContestRefusalResponse:
        """A household asks for a person."""
        caller = caller_of(context)

        async def work(session: AsyncSession) -> reviews_pb2.ContestRefusalResponse:
            made = await operations.contest(
                session,
                caller,
                request.county_code,
                rating_id=parse_id("rating_id", request.rating_id),
                grounds=request.grounds,
                evidence_sha256=request.evidence_sha256,
            )
            return reviews_pb2.ContestRefusalResponse(contest=_contest_to_proto(made))

        answer = reviews_pb2.ContestRefusalResponse
        return await once(self._database, caller, request, answer, work, money=False)

    async def AnswerContest(
        self, request: reviews_pb2.AnswerContestRequest, context: Context
    ) -> reviews_pb2.AnswerContestResponse:
        """A person answers."""
        caller = caller_of(context)

        async def work(session: AsyncSession) -> reviews_pb2.AnswerContestResponse:
            answered = await operations.answer_contest(
                session,
                caller,
                self._catalogue,
                request.county_code,
                contest_id=parse_id("contest_id", request.contest_id),
                uphold=request.uphold,
                answer=request.answer,
                evidence_sha256=request.evidence_sha256,
            )
            return reviews_pb2.AnswerContestResponse(contest=_contest_to_proto(answered))

        answer = reviews_pb2.AnswerContestResponse
        return await once(self._database, caller, request, answer, work, money=False)

    async def ListContests(
        self, request: reviews_pb2.ListContestsRequest, context: Context
    ) -> reviews_pb2.ListContestsResponse:
        """Contests of an area."""
        caller = caller_of(context)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            found = await reports.list_contests(
                session,
                caller,
                request.county_code,
                within=request.within,
                open_only=request.open_only,
                after=after("page_token", wire.page_start(request.page_token)),
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.contest_id)
        return reviews_pb2.ListContestsResponse(
            contests=[_contest_to_proto(each) for each in page],
            next_page_token=token,
        )

    def _review(self, review: Review) -> reviews_pb2.Review:
        return _review_to_proto(review, reports.step_of(self._catalogue, review))


def _verdicts(outcomes: Mapping[int, Outcome]) -> list[common_pb2.Verdict]:
    return [
        wire.refused(place, outcome)
        if isinstance(outcome, LiandongError)
        else wire.accepted(place, outcome)
        for place, outcome in sorted(outcomes.items())
    ]


def _step(message: reviews_pb2.ReviewStep) -> Step:
    return Step(
        step=message.step,
        outcome=OUTCOMES[message.outcome],
        present=message.present,
        members=message.members,
        votes_for=message.votes_for,
        grade=message.grade,
        limit_fen=Fen(message.limit_fen) if message.limit_fen else None,
        reason=message.reason,
        evidence_sha256=message.evidence_sha256,
    )


def _text(any_id: UUID | None) -> str:
    return "" if any_id is None else str(any_id)


def _review_to_proto(review: Review, step: ReviewStep | None) -> reviews_pb2.Review:
    organ = "" if step is None or isinstance(step.organ, Open) else step.organ.value
    override = review.override
    return reviews_pb2.Review(
        review_id=str(review.review_id),
        household_id=str(review.household_id),
        area_code=review.area_code,
        programme=review.programme,
        state=STATES[review.state],
        step=step.step if step else "",
        organ=organ,
        due_on=wire.date_to_proto(review.due_on),
        score_centi=review.score_centi,
        grade=override.grade if override else review.scheme_grade,
        limit_fen=(override and override.limit_fen) or review.scheme_limit_fen,
        vetoes=review.vetoes,
        override_pending=review.override_state == "pending",
        notice_from=wire.date_to_proto(review.notice_from),
        notice_to=wire.date_to_proto(review.notice_to),
        notice_scope=review.notice_scope,
        contest_id=_text(review.contest_id),
        rating_id=_text(review.rating_id),
    )


def _entry_to_proto(entry: ReviewEntry) -> reviews_pb2.ReviewEntry:
    return reviews_pb2.ReviewEntry(
        place=entry.place,
        kind=entry.kind,
        step=entry.step,
        organ=entry.organ,
        institution_id=entry.actor.institution_id,
        person_id=entry.actor.person_id,
        acted_on=wire.date_to_proto(entry.acted_on),
        outcome=entry.outcome,
        present=entry.present,
        members=entry.members,
        votes_for=entry.votes_for,
        grade=entry.grade,
        limit_fen=entry.limit_fen,
        reason=entry.reason,
        evidence_sha256=entry.evidence_sha256,
        due_on=wire.date_to_proto(entry.due_on),
        late=entry.late,
    )


def _objection_to_proto(objection: Objection) -> reviews_pb2.Objection:
    return reviews_pb2.Objection(
        objection_id=str(objection.objection_id),
        raised_on=wire.date_to_proto(objection.raised_on),
        grounds=objection.grounds,
        answered=objection.answered_on is not None,
        upheld=objection.upheld,
        answer=objection.answer,
    )


def _contest_to_proto(contest: Contest) -> reviews_pb2.Contest:
    return reviews_pb2.Contest(
        contest_id=str(contest.contest_id),
        household_id=str(contest.household_id),
        rating_id=str(contest.rating_id),
        grounds=contest.grounds,
        raised_on=wire.date_to_proto(contest.raised_on),
        due_on=wire.date_to_proto(contest.due_on),
        answered=contest.answered_on is not None,
        upheld=contest.upheld,
        answer=contest.answer,
        answered_by=contest.answered_by,
        review_id=_text(contest.review_id),
    )
