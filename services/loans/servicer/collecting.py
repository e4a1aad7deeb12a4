"""Loans over gRPC: collection cases, campaigns, write-offs."""

from collections.abc import Sequence

from liandong.loans.v1 import loans_pb2, loans_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import wire
from services.kernel.database import Database
from services.kernel.errors import NotFound
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.money import Fen
from services.kernel.rpc import Context, caller_of
from services.loans.model import CollectionCase, CollectionStep, WriteOff
from services.loans.operations import collecting
from services.loans.servicer.lending import (
    actor_of,
    loan_to_proto,
    require_county,
    scope_of,
)
from services.loans.store import collecting as collecting_store
from services.programmes.loader import Catalogue


def case_to_proto(
    case: CollectionCase, steps: Sequence[CollectionStep] = ()
) -> loans_pb2.CollectionCase:
    """A case for the wire."""
    return loans_pb2.CollectionCase(
        case_id=str(case.case_id),
        loan_id=str(case.loan_id),
        household_id=str(case.household_id),
        lender_id=case.lender_id,
        cause=case.cause,
        due_class=case.due_class,
        actions=case.actions,
        organ=case.organ,
        at_court=case.at_court,
        opened_on=wire.date_to_proto(case.opened_on),
        closed_on=wire.date_to_proto(case.closed_on),
        outcome=case.outcome,
        steps=[
            loans_pb2.CollectionStep(
                number=step.number,
                kind=loans_pb2.CollectionStepKind.Value(
                    f"COLLECTION_STEP_KIND_{step.kind.upper()}"
                ),
                done_on=wire.date_to_proto(step.done_on),
                organ=step.organ,
                note=step.note,
                person_id=step.person_id,
            )
            for step in steps
        ],
    )


def _write_off(write_off: WriteOff) -> loans_pb2.WriteOff:
    return loans_pb2.WriteOff(
        write_off_id=str(write_off.write_off_id),
        loan_id=str(write_off.loan_id),
        reason=write_off.reason,
        proposed_by=write_off.proposed_by,
        decided_by=write_off.decided_by,
        approved=write_off.approved,
        principal_fen=write_off.principal_fen,
        interest_fen=write_off.interest_fen,
    )


class CollectingDoor(loans_pb2_grpc.LoansServiceServicer):
    """How what is owed comes in."""

    _database: Database
    _catalogue: Catalogue

    async def OpenCollectionCase(
        self, request: loans_pb2.OpenCollectionCaseRequest, context: Context
    ) -> loans_pb2.OpenCollectionCaseResponse:
        """Open a case."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        loan_id = parse_id("loan_id", request.loan_id)

        async def work(session: AsyncSession) -> loans_pb2.OpenCollectionCaseResponse:
            case = await collecting.open_case(
                session,
                request.county_code,
                loan_id,
                cause=request.cause,
                due_class=request.due_class,
                actor=actor,
                may_act_in=caller.require_area,
                catalogue=self._catalogue,
            )
            return loans_pb2.OpenCollectionCaseResponse(case=case_to_proto(case))

        return await once(
            self._database, caller, request, loans_pb2.OpenCollectionCaseResponse, work
        )

    async def RecordCollectionStep(
        self, request: loans_pb2.RecordCollectionStepRequest, context: Context
    ) -> loans_pb2.RecordCollectionStepResponse:
        """Record a step of a case."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        case_id = parse_id("case_id", request.case_id)
        kind = loans_pb2.CollectionStepKind.Name(request.kind)
        done_on = wire.date_from_proto("done_on", request.done_on)

        async def work(session: AsyncSession) -> loans_pb2.RecordCollectionStepResponse:
            case, steps = await collecting.record_step(
                session,
                request.county_code,
                case_id,
                kind=kind.removeprefix("COLLECTION_STEP_KIND_").lower(),
                done_on=done_on,
                note=request.note,
                actor=actor,
                may_act_in=caller.require_area,
                catalogue=self._catalogue,
            )
            return loans_pb2.RecordCollectionStepResponse(case=case_to_proto(case, steps))

        return await once(
            self._database, caller, request, loans_pb2.RecordCollectionStepResponse, work
        )

    async def CloseCollectionCase(
        self, request: loans_pb2.CloseCollectionCaseRequest, context: Context
    ) -> loans_pb2.CloseCollectionCaseResponse:
        """End a case."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        case_id = parse_id("case_id", request.case_id)

        async def work(session: AsyncSession) -> loans_pb2.CloseCollectionCaseResponse:
            case = await collecting.close_case(
                session,
                request.county_code,
                case_id,
                outcome=request.outcome,
                actor=actor,
                may_act_in=caller.require_area,
            )
            return loans_pb2.CloseCollectionCaseResponse(case=case_to_proto(case))

        return await once(
            self._database, caller, request, loans_pb2.CloseCollectionCaseResponse, work
        )

    async def GetCollectionCase(
        self, request: loans_pb2.GetCollectionCaseRequest, context: Context
    ) -> loans_pb2.GetCollectionCaseResponse:
        """One case with its steps; another lender's is as good as none."""
        caller = caller_of(context)
        case_id = parse_id("case_id", request.case_id)
        _, lender_id = scope_of(caller, request.county_code)
        async with self._database.transaction(caller) as session:
            case = await collecting_store.find_case(session, request.county_code, case_id)
            if (
                case is None
                or not caller.may_act_in(case.area_code)
                or (lender_id and case.lender_id != lender_id)
            ):
                raise NotFound("CASE_NOT_FOUND", f"no case {case_id}", message_zh="无此清收案件")
            steps = await collecting_store.steps_of(session, request.county_code, case_id)
        return loans_pb2.GetCollectionCaseResponse(case=case_to_proto(case, steps))

    async def ListCollectionCases(
        self, request: loans_pb2.ListCollectionCasesRequest, context: Context
    ) -> loans_pb2.ListCollectionCasesResponse:
        """Cases that the caller may see."""
        caller = caller_of(context)
        require_county(caller, request.county_code)
        size, start = wire.page_size(request.page_size), wire.page_offset(request.page_token)
        areas, lender_id = scope_of(caller, request.county_code)
        async with self._database.transaction(caller) as session:
            rows = await collecting_store.list_cases(
                session,
                request.county_code,
                areas=areas,
                lender_id=lender_id,
                loan_id=parse_id("loan_id", request.loan_id) if request.loan_id else None,
                open_only=request.open_only,
                start=start,
                limit=size + 1,
            )
        page, token = wire.page_from(rows, start, size)
        return loans_pb2.ListCollectionCasesResponse(
            cases=[case_to_proto(row) for row in page],
            next_page_token=token,
        )

    async def SettleWithDiscount(
        self, request: loans_pb2.SettleWithDiscountRequest, context: Context
    ) -> loans_pb2.SettleWithDiscountResponse:
        """Take money in a campaign."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        loan_id = parse_id("loan_id", request.loan_id)

        async def work(session: AsyncSession) -> loans_pb2.SettleWithDiscountResponse:
            loan, stage, forgiven = await collecting.settle_with_discount(
                session,
                request.county_code,
                loan_id,
                amount_fen=Fen(request.amount_fen),
                actor=actor,
                catalogue=self._catalogue,
            )
            return loans_pb2.SettleWithDiscountResponse(
                loan=loan_to_proto(loan), stage=stage, forgiven_fen=forgiven
            )

        return await once(
            self._database, caller, request, loans_pb2.SettleWithDiscountResponse, work
        )

    async def ProposeWriteOff(
        self, request: loans_pb2.ProposeWriteOffRequest, context: Context
    ) -> loans_pb2.ProposeWriteOffResponse:
        """Propose a write-off."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        loan_id = parse_id("loan_id", request.loan_id)

        async def work(session: AsyncSession) -> loans_pb2.ProposeWriteOffResponse:
            proposed = await collecting.propose_write_off(
                session, request.county_code, loan_id, reason=request.reason, actor=actor
            )
            return loans_pb2.ProposeWriteOffResponse(write_off=_write_off(proposed))

        return await once(self._database, caller, request, loans_pb2.ProposeWriteOffResponse, work)

    async def DecideWriteOff(
        self, request: loans_pb2.DecideWriteOffRequest, context: Context
    ) -> loans_pb2.DecideWriteOffResponse:
        """Decide a write-off."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        write_off_id = parse_id("write_off_id", request.write_off_id)

        async def work(session: AsyncSession) -> loans_pb2.DecideWriteOffResponse:
            decided, loan = await collecting.decide_write_off(
                session,
                request.county_code,
                write_off_id,
                approve=request.approve,
                actor=actor,
                catalogue=self._catalogue,
            )
            return loans_pb2.DecideWriteOffResponse(
                write_off=_write_off(decided), loan=loan_to_proto(loan)
            )

        return await once(self._database, caller, request, loans_pb2.DecideWriteOffResponse, work)
