"""Claims over gRPC: assignments, and repayments in difficulty."""

from liandong.claims.v1 import policies_pb2, policies_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import Assignment, Difficulty
from services.claims.operations import assignments
from services.claims.servicer.shared import FIRST, READERS, admit, after_of, optional_id
from services.kernel import wire
from services.kernel.database import Database
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.rpc import Context
from services.programmes.loader import Catalogue

LENDERS = ("bank", "mutual_aid_society")
REVOKERS = (*LENDERS, "village_department", "township_station", "county_centre")
"""A lender releases; the others take a household's revocation in."""


def assignment_to_proto(assignment: Assignment) -> policies_pb2.Assignment:
    """An assignment for the wire."""
    return policies_pb2.Assignment(
        assignment_id=str(assignment.assignment_id),
        household_id=str(assignment.household_id),
        cover_id=assignment.cover_id,
        loan_id=str(assignment.loan_id),
        lender_id=assignment.lender_id,
        evidence=assignment.evidence,
        from_date=wire.date_to_proto(assignment.from_date),
        revoked_from=wire.date_to_proto(assignment.revoked_from),
    )


def difficulty_to_proto(difficulty: Difficulty) -> policies_pb2.Difficulty:
    """A difficulty for the wire."""
    return policies_pb2.Difficulty(
        difficulty_id=str(difficulty.difficulty_id),
        loan_id=str(difficulty.loan_id),
        household_id=str(difficulty.household_id),
        lender_id=difficulty.lender_id,
        cause=difficulty.cause,
        evidence=difficulty.evidence,
        from_date=wire.date_to_proto(difficulty.from_date),
        ended_from=wire.date_to_proto(difficulty.ended_from),
    )


class AssignmentsDoor(policies_pb2_grpc.PoliciesServiceServicer):
    """Whom payouts go to first."""

    _database: Database
    _catalogue: Catalogue

    async def RecordAssignments(
        self, request: policies_pb2.RecordAssignmentsRequest, context: Context
    ) -> policies_pb2.RecordAssignmentsResponse:
        """Keep what households authorised."""
        caller = admit(context, LENDERS, request.county_code)
        given = [
            assignments.Given(
                loan_id=parse_id(f"items[{place}].loan_id", item.loan_id),
                cover_id=item.cover_id,
                evidence=item.evidence,
                from_date=wire.date_from_proto(f"items[{place}].from_date", item.from_date),
            )
            for place, item in enumerate(request.items)
        ]

        async def work(session: AsyncSession) -> policies_pb2.RecordAssignmentsResponse:
            outcomes = await assignments.record_assignments(
                session, self._catalogue, caller, request.county_code, given
            )
            return policies_pb2.RecordAssignmentsResponse(
                verdicts=wire.verdicts(outcomes, lambda each: each.assignment_id)
            )

        return await once(
            self._database, caller, request, policies_pb2.RecordAssignmentsResponse, work
        )

    async def RevokeAssignments(
        self, request: policies_pb2.RevokeAssignmentsRequest, context: Context
    ) -> policies_pb2.RevokeAssignmentsResponse:
        """Let assignments stand no more."""
        caller = admit(context, REVOKERS, request.county_code)
        revoked = [
            assignments.Revoked(
                assignment_id=parse_id(f"items[{place}].assignment_id", item.assignment_id),
                revoked_from=wire.date_from_proto(
                    f"items[{place}].revoked_from", item.revoked_from
                ),
                evidence=item.evidence,
            )
            for place, item in enumerate(request.items)
        ]

        async def work(session: AsyncSession) -> policies_pb2.RevokeAssignmentsResponse:
            outcomes = await assignments.revoke_assignments(
                session, caller, request.county_code, revoked
            )
            return policies_pb2.RevokeAssignmentsResponse(
                verdicts=wire.verdicts(outcomes, lambda each: each.assignment_id)
            )

        return await once(
            self._database, caller, request, policies_pb2.RevokeAssignmentsResponse, work
        )

    async def ListAssignments(
        self, request: policies_pb2.ListAssignmentsRequest, context: Context
    ) -> policies_pb2.ListAssignmentsResponse:
        """A page of assignments."""
        caller = admit(context, READERS, request.county_code)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            found = await assignments.list_assignments(
                session,
                caller,
                request.county_code,
                household_id=optional_id("household_id", request.household_id),
                after=after_of(request.page_token) or FIRST,
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.assignment_id)
        return policies_pb2.ListAssignmentsResponse(
            assignments=[assignment_to_proto(each) for each in page], next_page_token=token
        )

    async def ConfirmDifficulty(
        self, request: policies_pb2.ConfirmDifficultyRequest, context: Context
    ) -> policies_pb2.ConfirmDifficultyResponse:
        """The lender's word that repayment is in difficulty."""
        caller = admit(context, LENDERS, request.county_code)
        loan_id = parse_id("loan_id", request.loan_id)
        from_date = wire.date_from_proto("from_date", request.from_date)

        async def work(session: AsyncSession) -> policies_pb2.ConfirmDifficultyResponse:
            made = await assignments.confirm_difficulty(
                session,
                caller,
                request.county_code,
                loan_id,
                cause=request.cause,
                evidence=request.evidence,
                from_date=from_date,
            )
            return policies_pb2.ConfirmDifficultyResponse(difficulty=difficulty_to_proto(made))

        return await once(
            self._database, caller, request, policies_pb2.ConfirmDifficultyResponse, work
        )

    async def EndDifficulty(
        self, request: policies_pb2.EndDifficultyRequest, context: Context
    ) -> policies_pb2.EndDifficultyResponse:
        """The lender says that it holds no more."""
        caller = admit(context, LENDERS, request.county_code)
        difficulty_id = parse_id("difficulty_id", request.difficulty_id)
        ended_from = wire.date_from_proto("ended_from", request.ended_from)

        async def work(session: AsyncSession) -> policies_pb2.EndDifficultyResponse:
            ended = await assignments.end_difficulty(
                session, caller, request.county_code, difficulty_id, ended_from=ended_from
            )
            return policies_pb2.EndDifficultyResponse(difficulty=difficulty_to_proto(ended))

        return await once(self._database, caller, request, policies_pb2.EndDifficultyResponse, work)

    async def ListDifficulties(
        self, request: policies_pb2.ListDifficultiesRequest, context: Context
    ) -> policies_pb2.ListDifficultiesResponse:
        """A page of difficulties."""
        caller = admit(context, READERS, request.county_code)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            found = await assignments.list_difficulties(
                session,
                caller,
                request.county_code,
                household_id=optional_id("household_id", request.household_id),
                after=after_of(request.page_token) or FIRST,
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.difficulty_id)
        return policies_pb2.ListDifficultiesResponse(
            difficulties=[difficulty_to_proto(each) for each in page], next_page_token=token
        )
