"""Credit over gRPC: credit areas and coverage."""

from liandong.credit.v1 import areas_pb2
from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit import reports
from services.credit.operations import areas as operations
from services.credit.rules.areas import ratio_ppm
from services.kernel import wire
from services.kernel.database import Database
from services.kernel.idempotency import once
from services.kernel.rpc import Context, caller_of
from services.programmes.loader import Catalogue

LEVELS = {
    int(areas_pb2.COVERAGE_LEVEL_COUNTY): "county",
    int(areas_pb2.COVERAGE_LEVEL_TOWNSHIP): "township",
    int(areas_pb2.COVERAGE_LEVEL_VILLAGE): "village",
}


class AreasDoor:
    """Credit groups, villages and townships; rated, granted and lent."""

    _database: Database
    _catalogue: Catalogue

    async def AssessAreas(
        self, request: areas_pb2.AssessAreasRequest, context: Context
    ) -> areas_pb2.AssessAreasResponse:
        """Compute credit areas anew."""
        caller = caller_of(context)

        async def work(session: AsyncSession) -> areas_pb2.AssessAreasResponse:
            made = await operations.assess(
                session,
                caller,
                self._catalogue,
                request.county_code,
                programme_id=request.programme_id,
            )
            return areas_pb2.AssessAreasResponse(
                assessed=made.assessed, certified=made.certified, changed=made.changed
            )

        answer = areas_pb2.AssessAreasResponse
        return await once(self._database, caller, request, answer, work, money=False)

    async def ListCreditAreas(
        self, request: areas_pb2.ListCreditAreasRequest, context: Context
    ) -> areas_pb2.ListCreditAreasResponse:
        """Credit areas as they stand, or stood on a day."""
        caller = caller_of(context)
        size = wire.page_size(request.page_size)
        offset = wire.page_offset(request.page_token)
        on = wire.date_from_proto("on", request.on) if request.HasField("on") else None
        async with self._database.transaction(caller) as session:
            found = await reports.list_credit_areas(
                session,
                caller,
                request.county_code,
                within=request.within,
                on=on,
                certified_only=request.certified_only,
                offset=offset,
                limit=size + 1,
            )
        page, more = found[:size], len(found) > size
        return areas_pb2.ListCreditAreasResponse(
            areas=[
                areas_pb2.CreditArea(
                    area_code=each.area_code,
                    scope=each.scope,
                    certified=each.certified,
                    since=wire.date_to_proto(each.since),
                    numerator=each.numerator,
                    denominator=each.denominator,
                    min_units=each.min_units,
                    assessed_on=wire.date_to_proto(each.assessed_on),
                    programme=each.programme,
                )
                for each in page
            ],
            next_page_token=wire.page_token(str(offset + size)) if more else "",
        )

    async def GetCoverage(
        self, request: areas_pb2.GetCoverageRequest, context: Context
    ) -> areas_pb2.GetCoverageResponse:
        """Coverage per area and institution, with its targets."""
        caller = caller_of(context)
        size = wire.page_size(request.page_size)
        offset = wire.page_offset(request.page_token)
        on = wire.date_from_proto("on", request.on) if request.HasField("on") else None
        async with self._database.transaction(caller) as session:
            found, targets, as_of = await reports.get_coverage(
                session,
                caller,
                self._catalogue,
                request.county_code,
                within=request.within,
                level=LEVELS[request.level],
                by_institution=request.by_institution,
                on=on,
                offset=offset,
                limit=size + 1,
            )
        page, more = found[:size], len(found) > size
        return areas_pb2.GetCoverageResponse(
            figures=[
                areas_pb2.Coverage(
                    area_code=each.area_code,
                    institution_id=each.institution_id,
                    measure=each.measure,
                    numerator=each.numerator,
                    denominator=each.denominator,
                    ratio_ppm=ratio_ppm(each.numerator, each.denominator),
                    target_ppm=targets.get(each.measure, 0),
                )
                for each in page
            ],
            next_page_token=wire.page_token(str(offset + size)) if more else "",
            as_of=wire.date_to_proto(as_of),
        )
