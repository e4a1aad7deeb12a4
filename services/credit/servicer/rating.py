"""Credit over gRPC: ratings and credit files, explained and derived again."""

from liandong.credit.v1 import credit_pb2, limits_pb2, scores_pb2
from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit import reports
from services.credit.model import RATE_CHUNK, ExternalScore
from services.credit.operations import rating as operations
from services.credit.servicer.wire import (
    STATES,
    after,
    before,
    file_to_proto,
    limit_to_proto,
    measure_to_proto,
    next_to_proto,
    optional_id,
    rating_to_proto,
    standing_to_proto,
)
from services.kernel import wire
from services.kernel.database import Database
from services.kernel.errors import invalid_field
from services.kernel.idempotency import once
from services.kernel.ids import new_id, parse_id
from services.kernel.rpc import Context, caller_of
from services.programmes.loader import Catalogue

AFTER_ALL_CHANGES = 2**62


class RatingDoor:
    """Ratings, credit files, limits, reports."""

    _database: Database
    _catalogue: Catalogue

    async def RateHouseholds(
        self, request: credit_pb2.RateHouseholdsRequest, context: Context
    ) -> credit_pb2.RateHouseholdsResponse:
        """Rate the next chunk of households and set their limits."""
        caller = caller_of(context)

        async def work(session: AsyncSession) -> credit_pb2.RateHouseholdsResponse:
            chunk = await operations.rate_households(
                session,
                caller,
                self._catalogue,
                request.county_code,
                programme_id=request.programme_id,
                within=request.within,
                after=after("after_household_id", request.after_household_id),
                limit=request.chunk_size or RATE_CHUNK,
            )
            last = chunk.last_household_id
            return credit_pb2.RateHouseholdsResponse(
                rated=chunk.rated,
                granted=chunk.granted,
                vetoed=chunk.vetoed,
                last_household_id="" if last is None else str(last),
                incomplete_household_ids=[str(each) for each in chunk.incomplete],
            )

        answer = credit_pb2.RateHouseholdsResponse
        return await once(self._database, caller, request, answer, work, money=False)

    async def GetCreditFile(
        self, request: credit_pb2.GetCreditFileRequest, context: Context
    ) -> credit_pb2.GetCreditFileResponse:
        """One household's credit file."""
        caller = caller_of(context)
        household_id = parse_id("household_id", request.household_id)
        async with self._database.transaction(caller) as session:
            file, working = await reports.get_credit_file(
                session, caller, request.county_code, household_id
            )
            standings = await reports.indicators_of(session, self._catalogue, file)
        return credit_pb2.GetCreditFileResponse(
            file=file_to_proto(file, working=working),
            indicators=[standing_to_proto(each) for each in standings],
        )

    async def ListCreditFiles(
        self, request: credit_pb2.ListCreditFilesRequest, context: Context
    ) -> credit_pb2.ListCreditFilesResponse:
        """Credit files of an area, a page at a time."""
        caller = caller_of(context)
        size = wire.page_size(request.page_size)
        start = after("page_token", wire.page_start(request.page_token))
        async with self._database.transaction(caller) as session:
            files = await reports.list_credit_files(
                session,
                caller,
                request.county_code,
                request.within,
                after=start,
                limit=size + 1,
            )
        page, token = wire.page_of(files, size, lambda each: each.household_id)
        return credit_pb2.ListCreditFilesResponse(
            files=[file_to_proto(file) for file in page],
            next_page_token=token,
        )

    async def ExplainScore(
        self, request: scores_pb2.ExplainScoreRequest, context: Context
    ) -> scores_pb2.ExplainScoreResponse:
        """Why, in words and numbers, and the smallest changes to the next grade."""
        caller = caller_of(context)
        household_id = parse_id("household_id", request.household_id)
        rating_id = optional_id("rating_id", request.rating_id)
        async with self._database.transaction(caller) as session:
            found = await reports.explain_score(
                session,
                caller,
                self._catalogue,
                request.county_code,
                household_id,
                rating_id=rating_id,
            )
        return scores_pb2.ExplainScoreResponse(
            rating=rating_to_proto(found.rating, reads=found.reads),
            lines=[
                scores_pb2.ScoreLine(
                    code=line.code,
                    indicator=line.indicator,
                    state=STATES[line.state],
                    value=line.value,
                    observed_on=wire.date_to_proto(line.observed_on),
                    source_id=found.sources.get(line.entry, ""),
                    points_centi=line.points_centi,
                    expires_on=wire.date_to_proto(line.expires_on),
                )
                for line in found.explanation.lines
            ],
            next_grade=next_to_proto(found.explanation.next_grade),
            words=found.explanation.words,
            words_zh=found.explanation.words_zh,
        )

    async def RederiveRating(
        self, request: scores_pb2.RederiveRatingRequest, context: Context
    ) -> scores_pb2.RederiveRatingResponse:
        """The stored rating beside the one derived again."""
        caller = caller_of(context)
        rating_id = parse_id("rating_id", request.rating_id)
        async with self._database.transaction(caller) as session:
            found = await reports.rederive_rating(
                session, caller, self._catalogue, request.county_code, rating_id
            )
        derived = found.derivation
        return scores_pb2.RederiveRatingResponse(
            stored=rating_to_proto(found.stored, reads=found.reads),
            derived=rating_to_proto(derived.again, reads=found.reads),
            identical=derived.identical and not found.altered,
            differing=derived.differing,
            altered_inputs=found.altered,
            same_terms=derived.same_terms,
        )

    async def ListRatings(
        self, request: scores_pb2.ListRatingsRequest, context: Context
    ) -> scores_pb2.ListRatingsResponse:
        """A household's ratings, the newest first."""
        caller = caller_of(context)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            found = await reports.list_ratings(
                session,
                caller,
                request.county_code,
                parse_id("household_id", request.household_id),
                before=before("page_token", wire.page_start(request.page_token)),
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.rating_id)
        return scores_pb2.ListRatingsResponse(
            ratings=[rating_to_proto(each, inputs=False) for each in page],
            next_page_token=token,
        )

    async def RecordExternalScore(
        self, request: scores_pb2.RecordExternalScoreRequest, context: Context
    ) -> scores_pb2.RecordExternalScoreResponse:
        """Keep a model's score with the model's id."""
        caller = caller_of(context)

        async def work(session: AsyncSession) -> scores_pb2.RecordExternalScoreResponse:
            score = ExternalScore(
                county_code=request.county_code,
                score_id=new_id(),
                household_id=parse_id("household_id", request.household_id),
                model_id=request.model_id,
                score_centi=request.score_centi,
                min_score_centi=request.min_score_centi,
                max_score_centi=request.max_score_centi,
                scored_on=wire.date_from_proto("scored_on", request.scored_on),
                evidence_sha256=request.evidence_sha256,
                source_id=caller.institution_id,
                person_id=caller.person_id,
            )
            kept = await operations.record_external_score(session, caller, score)
            return scores_pb2.RecordExternalScoreResponse(score_id=str(kept.score_id))

        answer = scores_pb2.RecordExternalScoreResponse
        return await once(self._database, caller, request, answer, work, money=False)

    async def GetLimit(
        self, request: limits_pb2.GetLimitRequest, context: Context
    ) -> limits_pb2.GetLimitResponse:
        """A household's limit over all lenders."""
        caller = caller_of(context)
        household_id = parse_id("household_id", request.household_id)
        async with self._database.transaction(caller) as session:
            limit = await reports.get_limit(session, caller, request.county_code, household_id)
        return limits_pb2.GetLimitResponse(limit=limit_to_proto(household_id, limit))

    async def ListLimitChanges(
        self, request: limits_pb2.ListLimitChangesRequest, context: Context
    ) -> limits_pb2.ListLimitChangesResponse:
        """The changes of a limit, the newest first."""
        caller = caller_of(context)
        size = wire.page_size(request.page_size)
        token = wire.page_start(request.page_token) or str(AFTER_ALL_CHANGES)
        if not (token.isdecimal() and len(token) < 20):
            rule = "must come from the answer before"
            raise invalid_field("MALFORMED_PAGE_TOKEN", "page_token", token, rule)
        async with self._database.transaction(caller) as session:
            found = await reports.list_limit_changes(
                session,
                caller,
                request.county_code,
                parse_id("household_id", request.household_id),
                before=int(token),
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.sequence)
        return limits_pb2.ListLimitChangesResponse(
            changes=[
                limits_pb2.LimitChange(
                    sequence=each.sequence,
                    fact=each.fact,
                    changed_on=wire.date_to_proto(each.changed_on),
                    limit_fen=each.limit_fen,
                    grade=each.grade,
                    valid_until=wire.date_to_proto(each.valid_until),
                    rating_id=str(each.rating_id or ""),
                )
                for each in page
            ],
            next_page_token=token,
        )

    async def GetCreditReport(
        self, request: limits_pb2.GetCreditReportRequest, context: Context
    ) -> limits_pb2.GetCreditReportResponse:
        """A household's own report, as data."""
        caller = caller_of(context)
        household_id = parse_id("household_id", request.household_id)
        async with self._database.transaction(caller) as session:
            report = await reports.credit_report(
                session, caller, self._catalogue, request.county_code, household_id
            )
        why = report.explained.explanation if report.explained else None
        return limits_pb2.GetCreditReportResponse(
            household_id=str(household_id),
            as_of=wire.date_to_proto(report.as_of),
            index_centi=report.file.score_centi,
            rating=rating_to_proto(report.explained.rating, reads=report.explained.reads)
            if report.explained
            else None,
            words=why.words if why else (),
            words_zh=why.words_zh if why else (),
            next_grade=next_to_proto(why.next_grade) if why else None,
            limit=limit_to_proto(household_id, report.limit),
            measures=[measure_to_proto(each) for each in report.measures],
            history=[rating_to_proto(each, inputs=False) for each in report.history],
            open_loans=report.exposure.open_loans,
            overdue_loans=report.exposure.overdue_loans,
            external_scores=[
                scores_pb2.ExternalScore(
                    score_id=str(each.score_id),
                    model_id=each.model_id,
                    score_centi=each.score_centi,
                    min_score_centi=each.min_score_centi,
                    max_score_centi=each.max_score_centi,
                    scored_on=wire.date_to_proto(each.scored_on),
                    source_id=each.source_id,
                )
                for each in report.external_scores
            ],
        )
