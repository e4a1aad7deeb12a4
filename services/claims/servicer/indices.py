"""Indices over gRPC: insured quantities, prices, settlement periods, what lines came to."""

from datetime import date
from uuid import UUID

from liandong.claims.v1 import indices_pb2, indices_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims import reports
from services.claims.model import Actor, IndexPeriod, IndexValue, LineResult
from services.claims.operations import indices
from services.claims.servicer.shared import READERS, admit, after_of
from services.kernel import wire
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.money import Fen
from services.kernel.rpc import Context
from services.programmes.loader import Catalogue
from services.programmes.schema.deployment import InstitutionRole

KEEPERS = ("insurer", "county_centre")
LINE_READERS = ("insurer", "county_centre", "finance_bureau", "auditor")
SOURCES = tuple(role.value for role in InstitutionRole if role is not InstitutionRole.OPERATOR)
"""Which of them a programme names, the rule knows."""
NONE = UUID(int=0)


def value_to_proto(value: IndexValue) -> indices_pb2.IndexValue:
    """A price for the wire."""
    return indices_pb2.IndexValue(
        value_id=str(value.value_id),
        programme_id=value.programme_id,
        cover_id=value.cover_id,
        source_id=value.source.institution_id,
        priced_on=wire.date_to_proto(value.priced_on),
        price_fen_per_jin=value.price_fen_per_jin,
        evidence=value.evidence,
        state=(
            indices_pb2.INDEX_VALUE_STATE_REFUSED
            if value.reason_code
            else indices_pb2.INDEX_VALUE_STATE_ACCEPTED
        ),
        reason_code=value.reason_code,
    )


def period_to_proto(period: IndexPeriod) -> indices_pb2.IndexPeriod:
    """A settlement period for the wire."""
    return indices_pb2.IndexPeriod(
        policy_id=str(period.policy_id),
        cover_id=period.cover_id,
        from_date=wire.date_to_proto(period.from_date),
        until_date=wire.date_to_proto(period.until_date),
        prices_count=len(period.prices_fen),
        gap_fen_per_jin=period.gap_fen_per_jin,
        triggered=period.triggered,
        claims_count=period.claims_count,
        payable_fen=period.payable_fen,
        working=period.working,
        settled_on=wire.date_to_proto(period.settled_on),
    )


def result_to_proto(result: LineResult) -> indices_pb2.StatedLineResult:
    """A line's result for the wire."""
    return indices_pb2.StatedLineResult(
        line_id=str(result.line_id),
        number=result.number,
        insurer_id=result.insurer_id,
        programme_id=result.programme_id,
        cover_id=result.cover_id,
        area_code=result.area_code,
        from_date=wire.date_to_proto(result.from_date),
        until_date=wire.date_to_proto(result.until_date),
        premium_fen=result.premium_fen,
        payouts_fen=result.payouts_fen,
        payouts_count=result.payouts_count,
    )


def value_from_proto(request: indices_pb2.RecordIndexValueRequest, caller: Caller) -> IndexValue:
    """A price as its source says it; the id and the business date come with the transaction."""
    return IndexValue(
        county_code=request.county_code,
        value_id=NONE,
        programme_id=request.programme_id,
        cover_id=request.cover_id,
        source=Actor(caller.institution_id, caller.require_person()),
        priced_on=wire.date_from_proto("priced_on", request.priced_on),
        price_fen_per_jin=Fen(request.price_fen_per_jin),
        evidence=request.evidence,
        recorded_on=date.min,
    )


class IndicesServicer(indices_pb2_grpc.IndicesServiceServicer):
    """The methods of IndicesService."""

    def __init__(self, db: Database, catalogue: Catalogue) -> None:
        self._database = db
        self._catalogue = catalogue

    async def SetInsuredQuantities(
        self, request: indices_pb2.SetInsuredQuantitiesRequest, context: Context
    ) -> indices_pb2.SetInsuredQuantitiesResponse:
        """Say what households insure."""
        caller = admit(context, KEEPERS, request.county_code)
        items = [
            (parse_id(f"items[{place}].household_id", item.household_id), item.quantity_centi_jin)
            for place, item in enumerate(request.items)
        ]

        async def work(session: AsyncSession) -> indices_pb2.SetInsuredQuantitiesResponse:
            outcomes = await indices.set_quantities(
                session,
                self._catalogue,
                caller,
                request.county_code,
                programme_id=request.programme_id,
                cover_id=request.cover_id,
                items=items,
            )
            return indices_pb2.SetInsuredQuantitiesResponse(
                verdicts=wire.verdicts(outcomes, lambda unit: unit.unit_id)
            )

        return await once(
            self._database, caller, request, indices_pb2.SetInsuredQuantitiesResponse, work
        )

    async def RecordIndexValue(
        self, request: indices_pb2.RecordIndexValueRequest, context: Context
    ) -> indices_pb2.RecordIndexValueResponse:
        """Keep a price."""
        caller = admit(context, SOURCES, request.county_code)
        asked = value_from_proto(request, caller)

        async def work(session: AsyncSession) -> indices_pb2.RecordIndexValueResponse:
            value = await indices.record_value(session, self._catalogue, caller, asked)
            return indices_pb2.RecordIndexValueResponse(value=value_to_proto(value))

        return await once(
            self._database, caller, request, indices_pb2.RecordIndexValueResponse, work
        )

    async def ListIndexValues(
        self, request: indices_pb2.ListIndexValuesRequest, context: Context
    ) -> indices_pb2.ListIndexValuesResponse:
        """A page of prices."""
        caller = admit(context, SOURCES, request.county_code)
        size = wire.page_size(request.page_size)
        after = after_of(request.page_token)
        async with self._database.transaction(caller) as session:
            found = await reports.list_index_values(
                session,
                request.county_code,
                programme_id=request.programme_id,
                cover_id=request.cover_id,
                after=after,
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.value_id)
        return indices_pb2.ListIndexValuesResponse(
            values=[value_to_proto(value) for value in page], next_page_token=token
        )

    async def ListIndexPeriods(
        self, request: indices_pb2.ListIndexPeriodsRequest, context: Context
    ) -> indices_pb2.ListIndexPeriodsResponse:
        """A page of settlement periods."""
        caller = admit(context, READERS, request.county_code)
        size = wire.page_size(request.page_size)
        offset = wire.page_offset(request.page_token)
        async with self._database.transaction(caller) as session:
            found = await reports.list_index_periods(
                session,
                caller,
                request.county_code,
                cover_id=request.cover_id,
                offset=offset,
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda _: offset + size)
        return indices_pb2.ListIndexPeriodsResponse(
            periods=[period_to_proto(period) for period in page], next_page_token=token
        )

    async def StateLineResult(
        self, request: indices_pb2.StateLineResultRequest, context: Context
    ) -> indices_pb2.StateLineResultResponse:
        """State what a line came to."""
        caller = admit(context, KEEPERS, request.county_code)
        until_date = wire.date_from_proto("until_date", request.until_date)

        async def work(session: AsyncSession) -> indices_pb2.StateLineResultResponse:
            result = await indices.state_result(
                session,
                caller,
                request.county_code,
                insurer_id=request.insurer_id,
                programme_id=request.programme_id,
                cover_id=request.cover_id,
                until_date=until_date,
            )
            return indices_pb2.StateLineResultResponse(result=result_to_proto(result))

        return await once(
            self._database, caller, request, indices_pb2.StateLineResultResponse, work
        )

    async def ListLineResults(
        self, request: indices_pb2.ListLineResultsRequest, context: Context
    ) -> indices_pb2.ListLineResultsResponse:
        """A page of lines' results."""
        caller = admit(context, LINE_READERS, request.county_code)
        size = wire.page_size(request.page_size)
        offset = wire.page_offset(request.page_token)
        async with self._database.transaction(caller) as session:
            found = await reports.list_line_results(
                session,
                caller,
                request.county_code,
                insurer_id=request.insurer_id,
                offset=offset,
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda _: offset + size)
        return indices_pb2.ListLineResultsResponse(
            results=[result_to_proto(result) for result in page], next_page_token=token
        )
