"""Claims over gRPC: the report of the county's insurance, by page and whole."""

from collections.abc import AsyncIterator
from dataclasses import fields

from liandong.claims.v1 import records_pb2, records_pb2_grpc

from services.claims.operations import insurance_report
from services.claims.rules.insurance_report import Dimension, Row, Sums, key_of
from services.claims.servicer.shared import admit
from services.claims.store.insurance_report import Question
from services.kernel import wire
from services.kernel.caller import Caller, require_role
from services.kernel.database import Database
from services.kernel.rpc import Context, caller_of
from services.programmes.loader import Catalogue

REPORT_READERS = (
    "insurer",
    "county_centre",
    "poverty_office",
    "township_station",
    "village_department",
    "finance_bureau",
    "auditor",
)
EXPORT_ROWS = 500
TOWNSHIP_DIGITS = 9

Request = records_pb2.GetInsuranceReportRequest | records_pb2.ExportInsuranceReportRequest


def _question(request: Request) -> Question:
    names = [records_pb2.ReportDimension.Name(each) for each in request.by]
    return Question(
        county_code=request.county_code,
        as_of=wire.date_from_proto("as_of", request.as_of),
        by=frozenset(Dimension[name.removeprefix("REPORT_DIMENSION_")] for name in names),
        area_digits=request.area_digits or TOWNSHIP_DIGITS,
        within=request.within,
        insurer_id=request.insurer_id,
        areas=(),
    )


def _row_to_proto(row: Row) -> records_pb2.InsuranceReportRow:
    return records_pb2.InsuranceReportRow(
        line=row.key.line,
        insurer_id=row.key.insurer_id,
        area_code=row.key.area_code,
        year=row.key.year,
        loss_ratio_ppm=row.loss_ratio_ppm,
        deficit_fen=row.deficit_fen,
        stabilisation_fen=row.stabilisation_fen,
        **{each.name: getattr(row.sums, each.name) for each in fields(Sums)},
    )


class InsuranceReportDoor(records_pb2_grpc.RecordsServiceServicer):
    """What the county's insurance comes to."""

    _database: Database
    _catalogue: Catalogue

    async def GetInsuranceReport(
        self, request: records_pb2.GetInsuranceReportRequest, context: Context
    ) -> records_pb2.GetInsuranceReportResponse:
        """A page of the report."""
        caller = admit(context, REPORT_READERS, request.county_code)
        rows, token = await self._page(caller, request, wire.page_size(request.page_size))
        return records_pb2.GetInsuranceReportResponse(rows=rows, next_page_token=token)

    async def ExportInsuranceReport(
        self,
        requests: AsyncIterator[records_pb2.ExportInsuranceReportRequest],
        context: Context,
    ) -> AsyncIterator[records_pb2.ExportInsuranceReportResponse]:
        """A page for each request."""
        require_role(caller_of(context), REPORT_READERS)
        async for request in requests:
            caller = admit(context, REPORT_READERS, request.county_code)
            size = wire.page_size(request.page_size, default=EXPORT_ROWS)
            rows, token = await self._page(caller, request, size)
            yield records_pb2.ExportInsuranceReportResponse(rows=rows, next_page_token=token)

    async def _page(
        self, caller: Caller, request: Request, size: int
    ) -> tuple[list[records_pb2.InsuranceReportRow], str]:
        asked = _question(request)
        after = key_of(wire.page_start(request.page_token))
        async with self._database.transaction(caller, snapshot=True) as session:
            found = await insurance_report.report(
                session, self._catalogue, caller, asked, after=after, limit=size + 1
            )
        page, token = wire.page_of(found, size, lambda row: row.key.token())
        return [_row_to_proto(row) for row in page], token
