"""Moves of households over gRPC."""

from liandong.households.v1 import moves_pb2, moves_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.households.model import Move
from services.households.operations import moves as operations
from services.households.servicer import shared
from services.kernel import wire
from services.kernel.database import Database
from services.kernel.ids import parse_id
from services.kernel.rpc import Context

_OFFICE = ("poverty_office",)


class MovesServicer(moves_pb2_grpc.MovesServiceServicer):
    """Only the poverty office moves a household."""

    def __init__(self, db: Database) -> None:
        self._database = db

    async def MoveHousehold(
        self, request: moves_pb2.MoveHouseholdRequest, context: Context
    ) -> moves_pb2.MoveHouseholdResponse:
        """Move a household to another village."""
        caller = shared.allowed(context, request.county_code, _OFFICE)

        async def work(session: AsyncSession) -> moves_pb2.MoveHouseholdResponse:
            move_id, version = await operations.move_household(
                session,
                caller,
                request.county_code,
                parse_id("household_id", request.household_id),
                area_code=request.area_code,
                moved_on=shared.day("moved_on", request.moved_on),
                reason=request.reason,
                evidence=shared.evidence_of(request.evidence),
            )
            return moves_pb2.MoveHouseholdResponse(move_id=str(move_id), version=version)

        answer = moves_pb2.MoveHouseholdResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def ListMoves(
        self, request: moves_pb2.ListMovesRequest, context: Context
    ) -> moves_pb2.ListMovesResponse:
        """Every move of a household."""
        caller = shared.allowed(context, request.county_code)
        async with self._database.transaction(caller) as session:
            found = await operations.list_moves(
                session,
                caller,
                request.county_code,
                parse_id("household_id", request.household_id),
                shared.known_by(request.as_of, request.HasField("as_of")),
            )
        return moves_pb2.ListMovesResponse(moves=[_move_to_proto(each) for each in found])


def _move_to_proto(move: Move) -> moves_pb2.Move:
    return moves_pb2.Move(
        move_id=str(move.move_id),
        from_area_code=move.from_area_code,
        to_area_code=move.to_area_code,
        moved_on=wire.date_to_proto(move.moved_on),
        reason=move.reason,
        provenance=shared.provenance_to_proto(move.provenance),
    )
