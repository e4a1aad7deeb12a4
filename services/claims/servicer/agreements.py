"""Claims over gRPC: agreements, and lines shared out."""

from liandong.claims.v1 import policies_pb2, policies_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import Agreement, LineDivision
from services.claims.operations import agreements
from services.claims.servicer.shared import FIRST, READERS, admit, after_of
from services.kernel import wire
from services.kernel.database import Database
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.money import Fen
from services.kernel.rpc import Context
from services.programmes.loader import Catalogue

GOVERNMENT = ("county_centre", "finance_bureau")


def agreement_to_proto(agreement: Agreement) -> policies_pb2.Agreement:
    """An agreement for the wire."""
    return policies_pb2.Agreement(
        agreement_id=str(agreement.agreement_id),
        insurer_id=agreement.insurer_id,
        programme_id=agreement.programme_id,
        government_id=agreement.government_id,
        bank_ids=agreement.bank_ids,
        signed_on=wire.date_to_proto(agreement.signed_on),
        from_date=wire.date_to_proto(agreement.from_date),
        until_date=wire.date_to_proto(agreement.until_date),
        document=agreement.document,
        ended_from=wire.date_to_proto(agreement.ended_from),
        end_reason=agreement.end_reason,
    )


def division_to_proto(division: LineDivision) -> policies_pb2.LineDivision:
    """A division for the wire."""
    return policies_pb2.LineDivision(
        division_id=str(division.division_id),
        programme_id=division.programme_id,
        cover_id=division.cover_id,
        premium_fen=division.premium_fen,
        from_date=wire.date_to_proto(division.from_date),
        until_date=wire.date_to_proto(division.until_date),
        shares=[
            policies_pb2.LineShare(insurer_id=insurer, volume_fen=volume, share_fen=share)
            for insurer, volume, share in division.shares
        ],
    )


class AgreementsDoor(policies_pb2_grpc.PoliciesServiceServicer):
    """Agreements of government, banks and insurers."""

    _database: Database
    _catalogue: Catalogue

    async def RecordAgreement(
        self, request: policies_pb2.RecordAgreementRequest, context: Context
    ) -> policies_pb2.RecordAgreementResponse:
        """Keep a signed agreement."""
        caller = admit(context, GOVERNMENT, request.county_code)
        signed = agreements.Signed(
            insurer_id=request.insurer_id,
            programme_id=request.programme_id,
            bank_ids=tuple(request.bank_ids),
            signed_on=wire.date_from_proto("signed_on", request.signed_on),
            from_date=wire.date_from_proto("from_date", request.from_date),
            until_date=wire.date_from_proto("until_date", request.until_date),
            document=request.document,
        )

        async def work(session: AsyncSession) -> policies_pb2.RecordAgreementResponse:
            made = await agreements.record_agreement(
                session, self._catalogue, caller, request.county_code, signed
            )
            return policies_pb2.RecordAgreementResponse(agreement=agreement_to_proto(made))

        return await once(
            self._database, caller, request, policies_pb2.RecordAgreementResponse, work
        )

    async def EndAgreement(
        self, request: policies_pb2.EndAgreementRequest, context: Context
    ) -> policies_pb2.EndAgreementResponse:
        """End an agreement."""
        caller = admit(context, GOVERNMENT, request.county_code)
        agreement_id = parse_id("agreement_id", request.agreement_id)
        ended_from = wire.date_from_proto("ended_from", request.ended_from)

        async def work(session: AsyncSession) -> policies_pb2.EndAgreementResponse:
            ended = await agreements.end_agreement(
                session,
                caller,
                request.county_code,
                agreement_id,
                ended_from=ended_from,
                reason=request.reason,
            )
            return policies_pb2.EndAgreementResponse(agreement=agreement_to_proto(ended))

        return await once(self._database, caller, request, policies_pb2.EndAgreementResponse, work)

    async def ListAgreements(
        self, request: policies_pb2.ListAgreementsRequest, context: Context
    ) -> policies_pb2.ListAgreementsResponse:
        """A page of agreements."""
        caller = admit(context, READERS, request.county_code)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            found = await agreements.list_agreements(
                session,
                caller,
                request.county_code,
                insurer_id=request.insurer_id,
                after=after_of(request.page_token) or FIRST,
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.agreement_id)
        return policies_pb2.ListAgreementsResponse(
            agreements=[agreement_to_proto(each) for each in page], next_page_token=token
        )

    async def ShareLines(
        self, request: policies_pb2.ShareLinesRequest, context: Context
    ) -> policies_pb2.ShareLinesResponse:
        """Share a line out."""
        caller = admit(context, GOVERNMENT, request.county_code)
        from_date = wire.date_from_proto("from_date", request.from_date)
        until_date = wire.date_from_proto("until_date", request.until_date)

        async def work(session: AsyncSession) -> policies_pb2.ShareLinesResponse:
            made = await agreements.share_line(
                session,
                self._catalogue,
                caller,
                request.county_code,
                request.programme_id,
                cover_id=request.cover_id,
                premium_fen=Fen(request.premium_fen),
                from_date=from_date,
                until_date=until_date,
            )
            return policies_pb2.ShareLinesResponse(division=division_to_proto(made))

        return await once(
            self._database, caller, request, policies_pb2.ShareLinesResponse, work, money=True
        )

    async def ListLineShares(
        self, request: policies_pb2.ListLineSharesRequest, context: Context
    ) -> policies_pb2.ListLineSharesResponse:
        """A page of divisions."""
        caller = admit(context, READERS, request.county_code)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            found = await agreements.list_divisions(
                session,
                request.county_code,
                after=after_of(request.page_token) or FIRST,
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.division_id)
        return policies_pb2.ListLineSharesResponse(
            divisions=[division_to_proto(each) for each in page], next_page_token=token
        )
