"""Credit over gRPC: rating a county or a province again."""

from liandong.credit.v1 import rescores_pb2
from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit import reports
from services.credit.model import Moves, Rescore, RescoreState
from services.credit.operations import rescoring as operations
from services.credit.rules.rescoring import added
from services.kernel import wire
from services.kernel.database import Database
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.rpc import Context, caller_of
from services.programmes.loader import Catalogue

STATES = {
    RescoreState.RUNNING: rescores_pb2.RESCORE_STATE_RUNNING,
    RescoreState.DONE: rescores_pb2.RESCORE_STATE_DONE,
    RescoreState.FAILED: rescores_pb2.RESCORE_STATE_FAILED,
}
WORST_LAST = (RescoreState.DONE, RescoreState.FAILED, RescoreState.RUNNING)


class RescoringDoor:
    """Start, and see how it goes."""

    _database: Database
    _catalogue: Catalogue

    async def StartRescore(
        self, request: rescores_pb2.StartRescoreRequest, context: Context
    ) -> rescores_pb2.StartRescoreResponse:
        """Start a re-score, which the service's own job does."""
        caller = caller_of(context)

        async def work(session: AsyncSession) -> rescores_pb2.StartRescoreResponse:
            started = await operations.start(
                session,
                caller,
                self._catalogue,
                request.county_code,
                programme_id=request.programme_id,
                reason=request.reason,
                dry_run=request.dry_run,
                programme=request.programme,
            )
            return rescores_pb2.StartRescoreResponse(
                rescore_id=str(started[0].rescore_id), counties=len(started)
            )

        answer = rescores_pb2.StartRescoreResponse
        return await once(self._database, caller, request, answer, work, money=False)

    async def GetRescore(
        self, request: rescores_pb2.GetRescoreRequest, context: Context
    ) -> rescores_pb2.GetRescoreResponse:
        """How a re-score goes, county by county and in all."""
        caller = caller_of(context)
        async with self._database.transaction(caller) as session:
            found = await reports.get_rescore(
                session,
                caller,
                self._catalogue,
                request.county_code,
                parse_id("rescore_id", request.rescore_id),
            )
        moves: Moves = {}
        for each in found:
            moves = added(moves, each.moves)
        return rescores_pb2.GetRescoreResponse(
            counties=[_rescore_to_proto(each) for each in found],
            state=STATES[max((each.state for each in found), key=WORST_LAST.index)],
            households=sum(each.households for each in found),
            done=sum(each.done for each in found),
            changed=sum(each.changed for each in found),
            moves=_moves_to_proto(moves),
        )


def _rescore_to_proto(rescore: Rescore) -> rescores_pb2.Rescore:
    return rescores_pb2.Rescore(
        county_code=rescore.county_code,
        programme=rescore.programme,
        state=STATES[rescore.state],
        dry_run=rescore.dry_run,
        reason=rescore.reason,
        started_on=wire.date_to_proto(rescore.started_on),
        households=rescore.households,
        done=rescore.done,
        changed=rescore.changed,
        incomplete=rescore.incomplete,
        moves=_moves_to_proto(rescore.moves),
        failure=rescore.failure,
    )


def _moves_to_proto(moves: Moves) -> list[rescores_pb2.GradeMove]:
    return [
        rescores_pb2.GradeMove(grade_from=before, grade_to=after, households=households)
        for (before, after), households in sorted(moves.items())
    ]
