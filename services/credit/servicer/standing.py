"""Credit over gRPC: sanctions, rewards, second grants, waivers, rehabilitations."""

from liandong.credit.v1 import standing_pb2
from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit import reports
from services.credit.operations import standing as operations
from services.credit.rules.standing import Fault, Proposal
from services.credit.servicer.wire import KINDS, before, measure_to_proto, optional_id
from services.kernel import wire
from services.kernel.database import Database
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.money import Fen
from services.kernel.rpc import Context, caller_of
from services.programmes.loader import Catalogue

BY_NUMBER = {int(number): kind for kind, number in KINDS.items()}


class StandingDoor:
    """Measures beyond the score."""

    _database: Database
    _catalogue: Catalogue

    async def ProposeMeasure(
        self, request: standing_pb2.ProposeMeasureRequest, context: Context
    ) -> standing_pb2.ProposeMeasureResponse:
        """Propose a measure; a second person decides."""
        caller = caller_of(context)
        fault = None
        if request.HasField("fault"):
            fault = Fault(
                request.fault.cause, request.fault.subjective, request.fault.repaid_on_time_before
            )
        until_on = None
        if request.HasField("until_on"):
            until_on = wire.date_from_proto("until_on", request.until_on)

        proposal = Proposal(
            household_id=parse_id("household_id", request.household_id),
            programme_id=request.programme_id,
            kind=BY_NUMBER[request.kind],
            code=request.code,
            reason=request.reason,
            evidence_sha256=request.evidence_sha256,
            amount_fen=Fen(request.amount_fen),
            relatives=tuple(
                (parse_id("relatives.household_id", each.household_id), each.relation)
                for each in request.relatives
            ),
            fault=fault,
            until_on=until_on,
        )

        async def work(session: AsyncSession) -> standing_pb2.ProposeMeasureResponse:
            measure = await operations.propose(
                session, caller, self._catalogue, request.county_code, proposal
            )
            return standing_pb2.ProposeMeasureResponse(measure=measure_to_proto(measure))

        answer = standing_pb2.ProposeMeasureResponse
        return await once(self._database, caller, request, answer, work, money=False)

    async def DecideMeasure(
        self, request: standing_pb2.DecideMeasureRequest, context: Context
    ) -> standing_pb2.DecideMeasureResponse:
        """Put a measure in force, or refuse it."""
        caller = caller_of(context)

        async def work(session: AsyncSession) -> standing_pb2.DecideMeasureResponse:
            first, *rest = await operations.decide(
                session,
                caller,
                self._catalogue,
                request.county_code,
                measure_id=parse_id("measure_id", request.measure_id),
                approve=request.approve,
                reason=request.reason,
            )
            return standing_pb2.DecideMeasureResponse(
                measure=measure_to_proto(first),
                relatives=[measure_to_proto(each) for each in rest],
            )

        answer = standing_pb2.DecideMeasureResponse
        return await once(self._database, caller, request, answer, work, money=False)

    async def EndMeasure(
        self, request: standing_pb2.EndMeasureRequest, context: Context
    ) -> standing_pb2.EndMeasureResponse:
        """Release a sanction or withdraw another measure."""
        caller = caller_of(context)

        async def work(session: AsyncSession) -> standing_pb2.EndMeasureResponse:
            measure = await operations.end(
                session,
                caller,
                self._catalogue,
                request.county_code,
                measure_id=parse_id("measure_id", request.measure_id),
                reason=request.reason,
                evidence_sha256=request.evidence_sha256,
            )
            return standing_pb2.EndMeasureResponse(measure=measure_to_proto(measure))

        answer = standing_pb2.EndMeasureResponse
        return await once(self._database, caller, request, answer, work, money=False)

    async def ListMeasures(
        self, request: standing_pb2.ListMeasuresRequest, context: Context
    ) -> standing_pb2.ListMeasuresResponse:
        """Measures, the newest first."""
        caller = caller_of(context)
        size = wire.page_size(request.page_size)
        on = wire.date_from_proto("on", request.on) if request.HasField("on") else None
        async with self._database.transaction(caller) as session:
            found = await reports.list_measures(
                session,
                caller,
                request.county_code,
                household_id=optional_id("household_id", request.household_id),
                within=request.within,
                on=on,
                before=before("page_token", wire.page_start(request.page_token)),
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.measure_id)
        return standing_pb2.ListMeasuresResponse(
            measures=[measure_to_proto(each) for each in page],
            next_page_token=token,
        )
