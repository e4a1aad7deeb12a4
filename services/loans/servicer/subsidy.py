"""Loans over gRPC: subsidy budgets and claims, breakers reset."""

from liandong.loans.v1 import loans_pb2, loans_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import wire
from services.kernel.database import Database
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.money import Fen
from services.kernel.rpc import Context, caller_of
from services.loans.model import BreakerRecord, SubsidyBudget, SubsidyClaim, SubsidyClaimLine
from services.loans.operations import breakers, subsidy
from services.loans.rules.scopes import AREAS
from services.loans.servicer.lending import (
    actor_of,
    breaker_to_proto,
    require_county,
    scope_of,
)
from services.loans.store import breakers as breaker_store
from services.loans.store import subsidy as subsidy_store
from services.programmes.loader import Catalogue


def _budget(budget: SubsidyBudget) -> loans_pb2.SubsidyBudget:
    return loans_pb2.SubsidyBudget(
        programme_id=budget.programme_id,
        year=budget.year,
        budget_fen=budget.budget_fen,
        floor_fen=budget.floor_fen,
        claimed_fen=budget.claimed_fen,
        paid_fen=budget.paid_fen,
        balance_fen=budget.budget_fen - budget.claimed_fen,
    )


def _claim(claim: SubsidyClaim) -> loans_pb2.SubsidyClaim:
    return loans_pb2.SubsidyClaim(
        claim_id=str(claim.claim_id),
        lender_id=claim.lender_id,
        programme_id=claim.programme_id,
        year=claim.year,
        quarter=claim.quarter,
        amount_fen=claim.amount_fen,
        loans=claim.loans,
        claimed_on=wire.date_to_proto(claim.claimed_on),
        paid_on=wire.date_to_proto(claim.paid_on),
    )


def _line(line: SubsidyClaimLine) -> loans_pb2.SubsidyClaimLine:
    return loans_pb2.SubsidyClaimLine(
        loan_id=str(line.loan_id),
        household_id=str(line.household_id),
        amount_fen=line.amount_fen,
        borne_fen=line.borne_fen,
    )


def _record(record: BreakerRecord) -> loans_pb2.BreakerRecord:
    return loans_pb2.BreakerRecord(
        scope=record.scope,
        scope_id=record.scope_id,
        what=record.what,
        recorded_on=wire.date_to_proto(record.recorded_on),
        epoch=record.epoch,
        numerator=record.numerator,
        denominator=record.denominator,
        below=record.below,
        rule_version=record.rule_version,
        person_id=record.person_id,
        reason=record.reason,
    )


class SubsidyDoor(loans_pb2_grpc.LoansServiceServicer):
    """What the county pays and decides."""

    _database: Database
    _catalogue: Catalogue

    async def SetSubsidyBudget(
        self, request: loans_pb2.SetSubsidyBudgetRequest, context: Context
    ) -> loans_pb2.SetSubsidyBudgetResponse:
        """Set a year's budget."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)

        async def work(session: AsyncSession) -> loans_pb2.SetSubsidyBudgetResponse:
            budget = await subsidy.set_budget(
                session,
                request.county_code,
                request.programme_id,
                request.year,
                budget_fen=Fen(request.budget_fen),
                actor=actor,
                catalogue=self._catalogue,
            )
            return loans_pb2.SetSubsidyBudgetResponse(budget=_budget(budget))

        return await once(self._database, caller, request, loans_pb2.SetSubsidyBudgetResponse, work)

    async def ClaimSubsidy(
        self, request: loans_pb2.ClaimSubsidyRequest, context: Context
    ) -> loans_pb2.ClaimSubsidyResponse:
        """Claim a quarter's subsidy."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)

        async def work(session: AsyncSession) -> loans_pb2.ClaimSubsidyResponse:
            claim = await subsidy.claim(
                session,
                request.county_code,
                request.programme_id,
                request.year,
                request.quarter,
                actor=actor,
                catalogue=self._catalogue,
            )
            return loans_pb2.ClaimSubsidyResponse(claim=_claim(claim))

        return await once(self._database, caller, request, loans_pb2.ClaimSubsidyResponse, work)

    async def PaySubsidy(
        self, request: loans_pb2.PaySubsidyRequest, context: Context
    ) -> loans_pb2.PaySubsidyResponse:
        """Note that a claim was paid."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        claim_id = parse_id("claim_id", request.claim_id)

        async def work(session: AsyncSession) -> loans_pb2.PaySubsidyResponse:
            claim = await subsidy.pay(
                session, request.county_code, claim_id, reference=request.reference, actor=actor
            )
            return loans_pb2.PaySubsidyResponse(claim=_claim(claim))

        return await once(self._database, caller, request, loans_pb2.PaySubsidyResponse, work)

    async def ResetBreaker(
        self, request: loans_pb2.ResetBreakerRequest, context: Context
    ) -> loans_pb2.ResetBreakerResponse:
        """Let lending go on in a scope."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        caller.require_area(request.scope_id if request.scope in AREAS else request.county_code)

        async def work(session: AsyncSession) -> loans_pb2.ResetBreakerResponse:
            breaker = await breakers.reset(
                session,
                request.county_code,
                request.scope,
                request.scope_id,
                reason=request.reason,
                actor=actor,
                catalogue=self._catalogue,
            )
            return loans_pb2.ResetBreakerResponse(breaker=breaker_to_proto(breaker))

        return await once(self._database, caller, request, loans_pb2.ResetBreakerResponse, work)

    async def GetSubsidyBudget(
        self, request: loans_pb2.GetSubsidyBudgetRequest, context: Context
    ) -> loans_pb2.GetSubsidyBudgetResponse:
        """A year's budget and what is left of it."""
        caller = caller_of(context)
        require_county(caller, request.county_code)
        async with self._database.transaction(caller) as session:
            budget = await subsidy.get_budget(
                session, request.county_code, request.programme_id, request.year, self._catalogue
            )
        return loans_pb2.GetSubsidyBudgetResponse(budget=_budget(budget))

    async def ListSubsidyClaims(
        self, request: loans_pb2.ListSubsidyClaimsRequest, context: Context
    ) -> loans_pb2.ListSubsidyClaimsResponse:
        """Claims that the caller may see."""
        caller = caller_of(context)
        require_county(caller, request.county_code)
        size, start = wire.page_size(request.page_size), wire.page_start(request.page_token)
        _, lender_id = scope_of(caller, request.county_code)
        async with self._database.transaction(caller) as session:
            rows = await subsidy_store.list_claims(
                session,
                request.county_code,
                lender_id=lender_id,
                after=parse_id("page_token", start) if start else None,
                limit=size + 1,
            )
        page, token = wire.page_of(rows, size, lambda row: row.claim_id)
        return loans_pb2.ListSubsidyClaimsResponse(
            claims=[_claim(row) for row in page],
            next_page_token=token,
        )

    async def GetSubsidyClaim(
        self, request: loans_pb2.GetSubsidyClaimRequest, context: Context
    ) -> loans_pb2.GetSubsidyClaimResponse:
        """A claim and its lines."""
        caller = caller_of(context)
        require_county(caller, request.county_code)
        size, start = wire.page_size(request.page_size), wire.page_start(request.page_token)
        claim_id = parse_id("claim_id", request.claim_id)
        _, lender_id = scope_of(caller, request.county_code)
        async with self._database.transaction(caller) as session:
            found = await subsidy_store.find_claim(session, request.county_code, claim_id)
            claim = subsidy.require_own(found, request.claim_id, lender_id)
            rows = await subsidy_store.claim_lines(
                session,
                request.county_code,
                claim_id,
                after=parse_id("page_token", start) if start else None,
                limit=size + 1,
            )
        page, token = wire.page_of(rows, size, lambda row: row.loan_id)
        return loans_pb2.GetSubsidyClaimResponse(
            claim=_claim(claim),
            lines=[_line(row) for row in page],
            next_page_token=token,
        )

    async def ListBreakerRecords(
        self, request: loans_pb2.ListBreakerRecordsRequest, context: Context
    ) -> loans_pb2.ListBreakerRecordsResponse:
        """The history of breakers."""
        caller = caller_of(context)
        require_county(caller, request.county_code)
        size, start = wire.page_size(request.page_size), wire.page_offset(request.page_token)
        areas, lender_id = scope_of(caller, request.county_code)
        async with self._database.transaction(caller) as session:
            rows = await breaker_store.listed(
                session,
                request.county_code,
                scope_id=request.scope_id,
                areas=areas,
                lender_id=lender_id,
                start=start,
                limit=size + 1,
            )
        page, token = wire.page_from(rows, start, size)
        return loans_pb2.ListBreakerRecordsResponse(
            records=[_record(row) for row in page],
            next_page_token=token,
        )
