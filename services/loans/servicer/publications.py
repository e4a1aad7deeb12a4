"""Notices over gRPC: publications."""

from liandong.loans.v1 import notices_pb2, notices_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import business_day, wire
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.rpc import Context, caller_of
from services.loans.operations import publications
from services.loans.rules.publications import Line, Publication, Subject
from services.loans.servicer.lending import actor_of, require_county
from services.loans.store import publications as publication_store
from services.programmes.loader import Catalogue

INSIDERS = frozenset({"county_centre", "poverty_office", "finance_bureau", "auditor"})
"""They see what is being made, and what was taken back."""


def _publication(found: Publication) -> notices_pb2.Publication:
    return notices_pb2.Publication(
        publication_id=str(found.publication_id),
        kind=notices_pb2.PublicationKind.Value(f"PUBLICATION_KIND_{found.kind.upper()}"),
        programme_id=found.programme_id,
        rule_version=found.rule_version,
        area_code=found.area_code,
        first=wire.date_to_proto(found.first),
        last=wire.date_to_proto(found.last),
        state=notices_pb2.PublicationState.Value(f"PUBLICATION_STATE_{found.state.upper()}"),
        days=found.days,
        published_on=wire.date_to_proto(found.published_on),
        ends_on=wire.date_to_proto(found.ends_on),
        places=found.places,
        lines=found.lines,
        amount_fen=found.amount_fen,
        reason=found.reason,
    )


def _line(line: Line) -> notices_pb2.PublicationLine:
    return notices_pb2.PublicationLine(
        area_code=line.area_code,
        lender_id=line.lender_id,
        product_id=line.product_id,
        purpose=line.purpose,
        on=wire.date_to_proto(line.on),
        loans=line.loans,
        amount_fen=line.amount_fen,
        other_fen=line.other_fen,
    )


def _kind(kind: "notices_pb2.PublicationKind.ValueType") -> str:
    name = notices_pb2.PublicationKind.Name(kind).removeprefix("PUBLICATION_KIND_").lower()
    return "" if name == "unspecified" else name


def _insider(caller: Caller) -> bool:
    return caller.role in INSIDERS


class PublicationsDoor(notices_pb2_grpc.NoticesServiceServicer):
    """What everybody may read."""

    _database: Database
    _catalogue: Catalogue

    async def MakePublication(
        self, request: notices_pb2.MakePublicationRequest, context: Context
    ) -> notices_pb2.MakePublicationResponse:
        """Make a publication as data."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        caller.require_area(request.area_code)
        subject = Subject(
            _kind(request.kind),
            request.programme_id,
            request.area_code,
            wire.date_from_proto("first", request.first),
            wire.date_from_proto("last", request.last),
        )

        async def work(session: AsyncSession) -> notices_pb2.MakePublicationResponse:
            made = await publications.make(
                session,
                request.county_code,
                subject,
                days=request.days,
                actor=actor,
                catalogue=self._catalogue,
            )
            return notices_pb2.MakePublicationResponse(publication=_publication(made))

        response = notices_pb2.MakePublicationResponse
        return await once(self._database, caller, request, response, work, money=False)

    async def PublishPublication(
        self, request: notices_pb2.PublishPublicationRequest, context: Context
    ) -> notices_pb2.PublishPublicationResponse:
        """Make it public."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        publication_id = parse_id("publication_id", request.publication_id)

        async def work(session: AsyncSession) -> notices_pb2.PublishPublicationResponse:
            now = await publications.publish(
                session, request.county_code, publication_id, actor=actor
            )
            return notices_pb2.PublishPublicationResponse(publication=_publication(now))

        response = notices_pb2.PublishPublicationResponse
        return await once(self._database, caller, request, response, work, money=False)

    async def WithdrawPublication(
        self, request: notices_pb2.WithdrawPublicationRequest, context: Context
    ) -> notices_pb2.WithdrawPublicationResponse:
        """Take it back."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        publication_id = parse_id("publication_id", request.publication_id)

        async def work(session: AsyncSession) -> notices_pb2.WithdrawPublicationResponse:
            now = await publications.withdraw(
                session, request.county_code, publication_id, reason=request.reason, actor=actor
            )
            return notices_pb2.WithdrawPublicationResponse(publication=_publication(now))

        response = notices_pb2.WithdrawPublicationResponse
        return await once(self._database, caller, request, response, work, money=False)

    async def ListPublications(
        self, request: notices_pb2.ListPublicationsRequest, context: Context
    ) -> notices_pb2.ListPublicationsResponse:
        """Publications that the caller may see."""
        caller = caller_of(context)
        county = request.county_code
        size, start = wire.page_size(request.page_size), wire.page_start(request.page_token)
        public_only = request.public_only or not _insider(caller)
        async with self._database.transaction(caller) as session:
            today = await business_day.today(session, county)
            rows = await publication_store.listed(
                session,
                county,
                kind=_kind(request.kind),
                public_on=today if public_only else None,
                after=parse_id("page_token", start) if start else None,
                limit=size + 1,
            )
        page, token = wire.page_of(rows, size, lambda row: row.publication_id)
        return notices_pb2.ListPublicationsResponse(
            publications=[_publication(row) for row in page], next_page_token=token
        )

    async def GetPublication(
        self, request: notices_pb2.GetPublicationRequest, context: Context
    ) -> notices_pb2.GetPublicationResponse:
        """One publication and its lines."""
        caller = caller_of(context)
        size, start = wire.page_size(request.page_size), wire.page_offset(request.page_token)
        publication_id = parse_id("publication_id", request.publication_id)
        async with self._database.transaction(caller) as session:
            found, lines = await publications.get(
                session,
                request.county_code,
                publication_id,
                insider=_insider(caller),
                start=start,
                limit=size + 1,
            )
        page, token = wire.page_from(lines, start, size)
        return notices_pb2.GetPublicationResponse(
            publication=_publication(found),
            lines=[_line(line) for line in page],
            next_page_token=token,
        )
