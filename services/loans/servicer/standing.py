"""Loans over gRPC: classes, reviews, early warnings, new terms."""

from liandong.loans.v1 import loans_pb2, loans_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import wire
from services.kernel.database import Database
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.rpc import Context, caller_of
from services.loans.model import Action, ClassChange, Review, Warned
from services.loans.operations import changing, standing
from services.loans.rules.schedule import Plan
from services.loans.servicer.lending import (
    actor_of,
    loan_to_proto,
    own_loan,
    require_county,
    scope_of,
    tier_of,
    tier_to_proto,
)
from services.loans.store import agreements
from services.loans.store import standing as standing_store
from services.programmes.loader import Catalogue

REVIEWS_MAX = 500


def review_to_proto(review: Review) -> loans_pb2.LoanReview:
    """A review for the wire."""
    return loans_pb2.LoanReview(
        review_id=str(review.review_id),
        loan_id=str(review.loan_id),
        cause=review.cause,
        opened_on=wire.date_to_proto(review.opened_on),
        closed_on=wire.date_to_proto(review.closed_on),
        outcome=loans_pb2.ReviewOutcome.Value(
            f"REVIEW_OUTCOME_{review.outcome.upper() or 'UNSPECIFIED'}"
        ),
        reason=review.reason,
    )


def _warning(warned: Warned) -> loans_pb2.EarlyWarning:
    return loans_pb2.EarlyWarning(
        loan_id=str(warned.loan_id),
        kind=warned.kind,
        raised_on=wire.date_to_proto(warned.raised_on),
    )


def _class_change(change: ClassChange) -> loans_pb2.LoanClassChange:
    return loans_pb2.LoanClassChange(
        changed_on=wire.date_to_proto(change.changed_on),
        was=tier_to_proto(change.was),
        now=tier_to_proto(change.now),
        overdue_days=change.overdue_days,
        rule_version=change.rule_version,
        person_id=change.person_id,
        reason=change.reason,
    )


def _action(action: Action) -> loans_pb2.LoanAction:
    return loans_pb2.LoanAction(
        action=action.action,
        place=action.place,
        cause=action.cause,
        since=wire.date_to_proto(action.since),
        taken_on=wire.date_to_proto(action.taken_on),
    )


def _terms(plan: Plan) -> loans_pb2.TermsChange:
    return loans_pb2.TermsChange(
        kind=plan.kind,
        made_on=wire.date_to_proto(plan.made_on),
        starts_on=wire.date_to_proto(plan.starts_on),
        principal_fen=plan.principal_fen,
        term_months=plan.term_months,
        method=plan.method,
        rate_ppm=plan.rate_ppm,
        matures_on=wire.date_to_proto(plan.matures_on),
        reason=plan.reason,
    )


class StandingDoor(loans_pb2_grpc.LoansServiceServicer):
    """How a loan stands, and what is agreed anew."""

    _database: Database
    _catalogue: Catalogue

    async def ReclassifyLoan(
        self, request: loans_pb2.ReclassifyLoanRequest, context: Context
    ) -> loans_pb2.ReclassifyLoanResponse:
        """Set a class by judgement."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        loan_id = parse_id("loan_id", request.loan_id)

        async def work(session: AsyncSession) -> loans_pb2.ReclassifyLoanResponse:
            loan = await standing.reclassify(
                session,
                request.county_code,
                loan_id,
                to=tier_of(request.five_tier_class),
                reason=request.reason,
                actor=actor,
                catalogue=self._catalogue,
            )
            return loans_pb2.ReclassifyLoanResponse(loan=loan_to_proto(loan))

        return await once(self._database, caller, request, loans_pb2.ReclassifyLoanResponse, work)

    async def FreezeLoan(
        self, request: loans_pb2.FreezeLoanRequest, context: Context
    ) -> loans_pb2.FreezeLoanResponse:
        """Freeze a loan."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        loan_id = parse_id("loan_id", request.loan_id)

        async def work(session: AsyncSession) -> loans_pb2.FreezeLoanResponse:
            review = await standing.freeze(
                session,
                request.county_code,
                loan_id,
                cause=request.cause,
                actor=actor,
                may_act_in=caller.require_area,
            )
            return loans_pb2.FreezeLoanResponse(review=review_to_proto(review))

        return await once(self._database, caller, request, loans_pb2.FreezeLoanResponse, work)

    async def CloseLoanReview(
        self, request: loans_pb2.CloseLoanReviewRequest, context: Context
    ) -> loans_pb2.CloseLoanReviewResponse:
        """End a review."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        review_id = parse_id("review_id", request.review_id)
        outcome = loans_pb2.ReviewOutcome.Name(request.outcome).removeprefix("REVIEW_OUTCOME_")

        async def work(session: AsyncSession) -> loans_pb2.CloseLoanReviewResponse:
            review = await standing.close_review(
                session,
                request.county_code,
                review_id,
                outcome=outcome.lower(),
                reason=request.reason,
                actor=actor,
                may_act_in=caller.require_area,
            )
            return loans_pb2.CloseLoanReviewResponse(review=review_to_proto(review))

        return await once(self._database, caller, request, loans_pb2.CloseLoanReviewResponse, work)

    async def ListLoanReviews(
        self, request: loans_pb2.ListLoanReviewsRequest, context: Context
    ) -> loans_pb2.ListLoanReviewsResponse:
        """Reviews that the caller may see."""
        caller = caller_of(context)
        require_county(caller, request.county_code)
        size, start = wire.page_size(request.page_size), wire.page_offset(request.page_token)
        areas, lender_id = scope_of(caller, request.county_code)
        async with self._database.transaction(caller) as session:
            rows = await standing_store.list_reviews(
                session,
                request.county_code,
                areas=areas,
                lender_id=lender_id,
                loan_id=parse_id("loan_id", request.loan_id) if request.loan_id else None,
                open_only=request.open_only,
                start=start,
                limit=size + 1,
            )
        page, token = wire.page_from(rows, start, size)
        return loans_pb2.ListLoanReviewsResponse(
            reviews=[review_to_proto(row) for row in page],
            next_page_token=token,
        )

    async def ListEarlyWarnings(
        self, request: loans_pb2.ListEarlyWarningsRequest, context: Context
    ) -> loans_pb2.ListEarlyWarningsResponse:
        """Early warnings that the caller may see."""
        caller = caller_of(context)
        require_county(caller, request.county_code)
        size, start = wire.page_size(request.page_size), wire.page_offset(request.page_token)
        areas, lender_id = scope_of(caller, request.county_code)
        async with self._database.transaction(caller) as session:
            rows = await standing_store.list_warnings(
                session,
                request.county_code,
                areas=areas,
                lender_id=lender_id,
                loan_id=parse_id("loan_id", request.loan_id) if request.loan_id else None,
                start=start,
                limit=size + 1,
            )
        page, token = wire.page_from(rows, start, size)
        return loans_pb2.ListEarlyWarningsResponse(
            warnings=[_warning(row) for row in page],
            next_page_token=token,
        )

    async def GetLoanHistory(
        self, request: loans_pb2.GetLoanHistoryRequest, context: Context
    ) -> loans_pb2.GetLoanHistoryResponse:
        """What became of a loan after it was paid out."""
        county = request.county_code
        caller = caller_of(context)
        async with self._database.transaction(caller) as session:
            loan = await own_loan(session, county, request.loan_id, caller)
            classes = await standing_store.class_changes(session, county, loan.loan_id)
            actions = await standing_store.actions_of(session, county, loan.loan_id)
            terms = await agreements.history(session, county, loan.loan_id)
            before, after = await agreements.renewed_by(session, county, loan.loan_id)
            judged = await standing_store.judgements_of(session, county, [loan.loan_id])
            reviews = await standing_store.list_reviews(
                session,
                county,
                areas=[loan.area_code],
                lender_id="",
                loan_id=loan.loan_id,
                open_only=False,
                start=0,
                limit=REVIEWS_MAX,
            )
        judgement = judged.get(loan.loan_id)
        return loans_pb2.GetLoanHistoryResponse(
            classes=[_class_change(change) for change in classes],
            actions=[_action(action) for action in actions],
            terms=[_terms(plan) for plan in terms],
            reviews=[review_to_proto(review) for review in reviews],
            judged_class=tier_to_proto(judgement.judged_class if judgement else ""),
            renewed_from_loan_id=str(before or ""),
            renewed_by_loan_id=str(after or ""),
        )

    async def ExtendLoan(
        self, request: loans_pb2.ExtendLoanRequest, context: Context
    ) -> loans_pb2.ExtendLoanResponse:
        """Move a maturity."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        loan_id = parse_id("loan_id", request.loan_id)

        async def work(session: AsyncSession) -> loans_pb2.ExtendLoanResponse:
            loan = await changing.extend(
                session,
                request.county_code,
                loan_id,
                months=request.months,
                conditions=set(request.conditions),
                reason=request.reason,
                actor=actor,
                catalogue=self._catalogue,
            )
            return loans_pb2.ExtendLoanResponse(loan=loan_to_proto(loan))

        return await once(self._database, caller, request, loans_pb2.ExtendLoanResponse, work)

    async def RenewLoan(
        self, request: loans_pb2.RenewLoanRequest, context: Context
    ) -> loans_pb2.RenewLoanResponse:
        """Renew a loan without repaying its principal."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        loan_id = parse_id("loan_id", request.loan_id)

        async def work(session: AsyncSession) -> loans_pb2.RenewLoanResponse:
            loan, renewed, left = await changing.renew(
                session,
                request.county_code,
                loan_id,
                term_months=request.term_months,
                conditions=set(request.conditions),
                evidence=request.evidence,
                actor=actor,
                catalogue=self._catalogue,
            )
            return loans_pb2.RenewLoanResponse(
                loan=loan_to_proto(loan), renewed=loan_to_proto(renewed), subsidy_months_left=left
            )

        return await once(self._database, caller, request, loans_pb2.RenewLoanResponse, work)

    async def RestructureLoan(
        self, request: loans_pb2.RestructureLoanRequest, context: Context
    ) -> loans_pb2.RestructureLoanResponse:
        """Give a loan new terms."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        loan_id = parse_id("loan_id", request.loan_id)

        async def work(session: AsyncSession) -> loans_pb2.RestructureLoanResponse:
            loan = await changing.restructure(
                session,
                request.county_code,
                loan_id,
                term_months=request.term_months,
                method=request.method,
                rate_ppm=request.rate_ppm,
                reason=request.reason,
                actor=actor,
                catalogue=self._catalogue,
            )
            return loans_pb2.RestructureLoanResponse(loan=loan_to_proto(loan))

        return await once(self._database, caller, request, loans_pb2.RestructureLoanResponse, work)

    async def GrantHardshipRelief(
        self, request: loans_pb2.GrantHardshipReliefRequest, context: Context
    ) -> loans_pb2.GrantHardshipReliefResponse:
        """Forgive interest in hardship."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        loan_id = parse_id("loan_id", request.loan_id)

        async def work(session: AsyncSession) -> loans_pb2.GrantHardshipReliefResponse:
            loan, forgiven, flexible = await changing.relieve(
                session,
                request.county_code,
                loan_id,
                conditions=set(request.conditions),
                evidence=request.evidence,
                actor=actor,
                catalogue=self._catalogue,
            )
            return loans_pb2.GrantHardshipReliefResponse(
                loan=loan_to_proto(loan), forgiven_fen=forgiven, flexible_repayment=flexible
            )

        return await once(
            self._database, caller, request, loans_pb2.GrantHardshipReliefResponse, work
        )
