"""Relending over gRPC: lines, movements, visits, margins."""

from liandong.loans.v1 import relending_pb2, relending_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import wire
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.errors import invalid_field
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.money import Fen
from services.kernel.rpc import Context, caller_of
from services.loans.operations import relending
from services.loans.operations.relending import NOTHING_LENT, Stated
from services.loans.rules.lending import LENDER_ROLES
from services.loans.rules.relending import (
    Costs,
    Facility,
    FundedLoan,
    Lent,
    Moved,
    Visit,
    Wanted,
)
from services.loans.servicer.lending import actor_of, require_county, scope_of
from services.loans.store import relending as relending_store
from services.programmes.loader import Catalogue
from services.programmes.margins import Margin


def _facility(facility: Facility, lent: Lent = NOTHING_LENT) -> relending_pb2.RelendingFacility:
    return relending_pb2.RelendingFacility(
        facility_id=str(facility.facility_id),
        lender_id=facility.lender_id,
        programme_id=facility.programme_id,
        rule_version=facility.rule_version,
        source=facility.source,
        limit_fen=facility.limit_fen,
        rate_ppm=facility.rate_ppm,
        rate_cap_ppm=facility.rate_cap_ppm,
        revolving=facility.revolving,
        granted_on=wire.date_to_proto(facility.granted_on),
        valid_until=wire.date_to_proto(facility.valid_until),
        drawn_fen=facility.drawn_fen,
        repaid_fen=facility.repaid_fen,
        owed_fen=facility.owed_fen,
        free_fen=facility.free_fen,
        lent_fen=lent.lent_fen,
        loans=lent.loans,
        loans_above_cap=lent.above_cap,
        loans_visited=lent.visited,
        closed=facility.closed_on is not None,
    )


def _movement(moved: Moved) -> relending_pb2.RelendingMovement:
    return relending_pb2.RelendingMovement(
        number=moved.number,
        draw=moved.draw,
        amount_fen=moved.amount_fen,
        value_date=wire.date_to_proto(moved.value_date),
        reference=moved.reference,
        owed_fen=moved.owed_fen,
        free_fen=moved.free_fen,
    )


def _visit(visit: Visit) -> relending_pb2.RelendingVisit:
    return relending_pb2.RelendingVisit(
        visit_id=str(visit.visit_id),
        loan_id=str(visit.loan_id),
        lender_id=visit.lender_id,
        visited_on=wire.date_to_proto(visit.visited_on),
        finding=visit.finding,
        evidence=visit.evidence,
        institution_id=visit.institution_id,
    )


def _margin(loan: FundedLoan, margin: Margin, costs: Costs) -> relending_pb2.LoanMargin:
    return relending_pb2.LoanMargin(
        loan_id=str(loan.loan_id),
        source=loan.source,
        outstanding_fen=loan.outstanding_fen,
        rate_ppm=loan.rate_ppm,
        funding_ppm=margin.funding_ppm,
        operating_ppm=costs.operating_ppm,
        margin_ppm=margin.margin_ppm,
    )


def _lender(caller: Caller, asked: str) -> str:
    """Whose loans: a lender's own, or those that somebody else names."""
    if caller.role in LENDER_ROLES:
        return caller.institution_id
    if not asked:
        raise invalid_field("LENDER_MISSING", "lender_id", asked, "must name a lender")
    return asked


class RelendingServicer(relending_pb2_grpc.RelendingServiceServicer):
    """The central bank's lines and what lenders make of them."""

    def __init__(self, database: Database, catalogue: Catalogue) -> None:
        self._database = database
        self._catalogue = catalogue

    async def OpenRelendingFacility(
        self, request: relending_pb2.OpenRelendingFacilityRequest, context: Context
    ) -> relending_pb2.OpenRelendingFacilityResponse:
        """Open a lender's line."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        wanted = Wanted(
            lender_id=request.lender_id,
            programme_id=request.programme_id,
            source=request.source,
            limit_fen=Fen(request.limit_fen),
            rate_ppm=request.rate_ppm,
            granted_on=wire.date_from_proto("granted_on", request.granted_on),
            validity_months=request.validity_months,
            reference=request.reference,
        )

        async def work(session: AsyncSession) -> relending_pb2.OpenRelendingFacilityResponse:
            made = await relending.open_facility(
                session, request.county_code, wanted, actor=actor, catalogue=self._catalogue
            )
            return relending_pb2.OpenRelendingFacilityResponse(facility=_facility(made))

        response = relending_pb2.OpenRelendingFacilityResponse
        return await once(self._database, caller, request, response, work)

    async def MoveRelending(
        self, request: relending_pb2.MoveRelendingRequest, context: Context
    ) -> relending_pb2.MoveRelendingResponse:
        """Draw or pay back."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        stated = Stated(
            parse_id("facility_id", request.facility_id),
            request.draw,
            Fen(request.amount_fen),
            wire.date_from_proto("value_date", request.value_date),
            request.reference,
        )

        async def work(session: AsyncSession) -> relending_pb2.MoveRelendingResponse:
            facility, moved = await relending.move(
                session, request.county_code, stated, actor=actor
            )
            return relending_pb2.MoveRelendingResponse(
                facility=_facility(facility), movement=_movement(moved)
            )

        response = relending_pb2.MoveRelendingResponse
        return await once(self._database, caller, request, response, work)

    async def CloseRelendingFacility(
        self, request: relending_pb2.CloseRelendingFacilityRequest, context: Context
    ) -> relending_pb2.CloseRelendingFacilityResponse:
        """Close a line."""
        caller = caller_of(context)
        actor_of(caller)
        require_county(caller, request.county_code)
        facility_id = parse_id("facility_id", request.facility_id)
        _, lender_id = scope_of(caller, request.county_code)

        async def work(session: AsyncSession) -> relending_pb2.CloseRelendingFacilityResponse:
            now = await relending.close(
                session, request.county_code, facility_id, lender_id=lender_id
            )
            return relending_pb2.CloseRelendingFacilityResponse(facility=_facility(now))

        response = relending_pb2.CloseRelendingFacilityResponse
        return await once(self._database, caller, request, response, work)

    async def RecordRelendingVisit(
        self, request: relending_pb2.RecordRelendingVisitRequest, context: Context
    ) -> relending_pb2.RecordRelendingVisitResponse:
        """Record a visit."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        loan_id = parse_id("loan_id", request.loan_id)
        visited_on = wire.date_from_proto("visited_on", request.visited_on)

        async def work(session: AsyncSession) -> relending_pb2.RecordRelendingVisitResponse:
            made = await relending.visit(
                session,
                request.county_code,
                loan_id,
                visited_on=visited_on,
                finding=request.finding,
                evidence=request.evidence,
                actor=actor,
                may_act_in=caller.require_area,
            )
            return relending_pb2.RecordRelendingVisitResponse(visit=_visit(made))

        response = relending_pb2.RecordRelendingVisitResponse
        return await once(self._database, caller, request, response, work, money=False)

    async def ListRelendingVisits(
        self, request: relending_pb2.ListRelendingVisitsRequest, context: Context
    ) -> relending_pb2.ListRelendingVisitsResponse:
        """Visits that the caller may see."""
        caller = caller_of(context)
        require_county(caller, request.county_code)
        size, start = wire.page_size(request.page_size), wire.page_start(request.page_token)
        areas, lender_id = scope_of(caller, request.county_code)
        async with self._database.transaction(caller) as session:
            rows = await relending_store.visits(
                session,
                request.county_code,
                areas=areas,
                lender_id=lender_id,
                loan_id=parse_id("loan_id", request.loan_id) if request.loan_id else None,
                after=parse_id("page_token", start) if start else None,
                limit=size + 1,
            )
        page, token = wire.page_of(rows, size, lambda row: row.visit_id)
        return relending_pb2.ListRelendingVisitsResponse(
            visits=[_visit(row) for row in page], next_page_token=token
        )

    async def ListRelendingFacilities(
        self, request: relending_pb2.ListRelendingFacilitiesRequest, context: Context
    ) -> relending_pb2.ListRelendingFacilitiesResponse:
        """Lines that the caller may see."""
        caller = caller_of(context)
        county = request.county_code
        require_county(caller, county)
        size, start = wire.page_size(request.page_size), wire.page_start(request.page_token)
        _, lender_id = scope_of(caller, county)
        async with self._database.transaction(caller) as session:
            rows = await relending_store.listed(
                session,
                county,
                lender_id=lender_id or request.lender_id,
                after=parse_id("page_token", start) if start else None,
                limit=size + 1,
            )
            page, token = wire.page_of(rows, size, lambda row: row.facility_id)
            lines = await relending.lent(session, county, page)
        return relending_pb2.ListRelendingFacilitiesResponse(
            facilities=[_facility(facility, lent) for facility, lent in lines],
            next_page_token=token,
        )

    async def ListRelendingMovements(
        self, request: relending_pb2.ListRelendingMovementsRequest, context: Context
    ) -> relending_pb2.ListRelendingMovementsResponse:
        """The ledger of a line."""
        caller = caller_of(context)
        county = request.county_code
        require_county(caller, county)
        size, start = wire.page_size(request.page_size), wire.page_offset(request.page_token)
        facility_id = parse_id("facility_id", request.facility_id)
        _, lender_id = scope_of(caller, county)
        async with self._database.transaction(caller) as session:
            await relending.own_facility(session, county, facility_id, lender_id)
            rows = await relending_store.movements(
                session, county, facility_id, after=start, limit=size + 1
            )
        page, token = wire.page_from(rows, start, size)
        return relending_pb2.ListRelendingMovementsResponse(
            movements=[_movement(row) for row in page], next_page_token=token
        )

    async def SetFundingCosts(
        self, request: relending_pb2.SetFundingCostsRequest, context: Context
    ) -> relending_pb2.SetFundingCostsResponse:
        """Say what a lender's money costs."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        said = Costs(
            actor.institution_id,
            wire.date_from_proto("valid_from", request.valid_from),
            request.own_funds_ppm,
            request.operating_ppm,
        )

        async def work(session: AsyncSession) -> relending_pb2.SetFundingCostsResponse:
            await relending.set_costs(session, request.county_code, said, actor=actor)
            return relending_pb2.SetFundingCostsResponse()

        response = relending_pb2.SetFundingCostsResponse
        return await once(self._database, caller, request, response, work, money=False)

    async def ListLoanMargins(
        self, request: relending_pb2.ListLoanMarginsRequest, context: Context
    ) -> relending_pb2.ListLoanMarginsResponse:
        """What a lender's loans earn."""
        caller = caller_of(context)
        require_county(caller, request.county_code)
        size, start = wire.page_size(request.page_size), wire.page_start(request.page_token)
        async with self._database.transaction(caller) as session:
            found = await relending.margins(
                session,
                request.county_code,
                _lender(caller, request.lender_id),
                after=parse_id("page_token", start) if start else None,
                limit=size + 1,
            )
        page, token = wire.page_of(found.loans, size, lambda row: row[0].loan_id)
        return relending_pb2.ListLoanMarginsResponse(
            margins=[_margin(loan, margin, found.costs) for loan, margin in page],
            totals=[
                relending_pb2.MarginTotal(
                    source=source, loans=loans, outstanding_fen=owed, margin_ppm=margin_ppm
                )
                for source, loans, owed, margin_ppm in found.totals
            ],
            next_page_token=token,
        )
