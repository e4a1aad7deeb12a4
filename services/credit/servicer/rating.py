"""Credit over gRPC: translate, call one operation, translate back. No decisions."""

from uuid import UUID

from liandong.credit.v1 import credit_pb2, credit_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit import operations, reports
from services.credit.model import RATE_CHUNK, CreditFile, Indicator
from services.kernel import wire
from services.kernel.database import Database
from services.kernel.errors import LiandongError
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.rpc import Context, caller_of
from services.programmes.loader import Catalogue

BEFORE_ALL = UUID(int=0)


class CreditServicer(credit_pb2_grpc.CreditServiceServicer):
    """Indicators, ratings, credit files."""

    def __init__(self, db: Database, catalogue: Catalogue) -> None:
        self._database = db
        self._catalogue = catalogue

    async def BatchRecordIndicators(
        self, request: credit_pb2.BatchRecordIndicatorsRequest, context: Context
    ) -> credit_pb2.BatchRecordIndicatorsResponse:
        """Record what was observed of households, each decided on its own."""
        caller = caller_of(context)
        indicators: dict[int, Indicator] = {}
        unread: dict[int, LiandongError] = {}
        for index, each in enumerate(request.indicators):
            try:
                indicators[index] = _indicator(each)
            except LiandongError as error:
                unread[index] = error

        async def work(session: AsyncSession) -> credit_pb2.BatchRecordIndicatorsResponse:
            refused = unread | await operations.record_indicators(
                session, caller, self._catalogue, request.county_code, indicators
            )
            return credit_pb2.BatchRecordIndicatorsResponse(
                recorded=len(request.indicators) - len(refused),
                refused=[wire.refused(index, refused[index]) for index in sorted(refused)],
            )

        answer = credit_pb2.BatchRecordIndicatorsResponse
        return await once(self._database, caller, request, answer, work, money=False)

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
                after=_after("after_household_id", request.after_household_id),
                limit=request.chunk_size or RATE_CHUNK,
            )
            last = chunk.last_household_id
            return credit_pb2.RateHouseholdsResponse(
                rated=chunk.rated,
                granted=chunk.granted,
                vetoed=chunk.vetoed,
                last_household_id="" if last is None else str(last),
            )

        answer = credit_pb2.RateHouseholdsResponse
        return await once(self._database, caller, request, answer, work, money=False)

    async def GetCreditFile(
        self, request: credit_pb2.GetCreditFileRequest, context: Context
    ) -> credit_pb2.GetCreditFileResponse:
        """One household's credit file."""
        caller = caller_of(context)
        household_id = parse_id("household_id", request.household_id)
        async with self._database.transaction(institution_id=caller.institution_id) as session:
            file, working = await reports.get_credit_file(
                session, caller, request.county_code, household_id
            )
        return credit_pb2.GetCreditFileResponse(file=_file_to_proto(file, working=working))

    async def ListCreditFiles(
        self, request: credit_pb2.ListCreditFilesRequest, context: Context
    ) -> credit_pb2.ListCreditFilesResponse:
        """Credit files of an area, a page at a time."""
        caller = caller_of(context)
        size = wire.page_size(request.page_size)
        after = _after("page_token", wire.page_start(request.page_token))
        async with self._database.transaction(institution_id=caller.institution_id) as session:
            files = await reports.list_credit_files(
                session,
                caller,
                request.county_code,
                request.within,
                after=after,
                limit=size + 1,
            )
        page = files[:size]
        more = len(files) > size
        return credit_pb2.ListCreditFilesResponse(
            files=[_file_to_proto(file) for file in page],
            next_page_token=wire.page_token(str(page[-1].household_id)) if more else "",
        )


def _after(field: str, text: str) -> UUID:
    return parse_id(field, text) if text else BEFORE_ALL


def _indicator(message: credit_pb2.Indicator) -> Indicator:
    return Indicator(
        household_id=parse_id("household_id", message.household_id),
        code=message.code,
        value=int(message.applies),
        observed_on=wire.date_from_proto("observed_on", message.observed_on),
    )


def _file_to_proto(file: CreditFile, *, working: str = "") -> credit_pb2.CreditFile:
    return credit_pb2.CreditFile(
        household_id=str(file.household_id),
        area_code=file.household.area_code,
        score_centi=file.score_centi,
        grade=file.grade,
        limit_fen=file.limit_fen,
        valid_until=wire.date_to_proto(file.valid_until),
        vetoes=file.vetoes,
        programme=file.programme,
        working=working,
    )
