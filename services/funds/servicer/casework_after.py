"""Funds over gRPC: after a compensation: shares, recoveries, write-off, positions."""

from datetime import date
from uuid import UUID

import asyncpg
from google.type.date_pb2 import Date
from liandong.funds.v1 import cases_pb2, cases_pb2_grpc, funds_pb2
from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds import reports
from services.funds.model import CaseFile, Collected, Recovery, Standing
from services.funds.operations import recoveries
from services.funds.servicer.cases import case_out
from services.funds.servicer.shared import start_id
from services.kernel import wire
from services.kernel.database import Database
from services.kernel.errors import invalid_field
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.money import Fen
from services.kernel.rpc import Context, caller_of
from services.programmes.loader import Catalogue


def _recovery(case_file: CaseFile, recovery: Recovery) -> cases_pb2.Recovery:
    by_position = {part.position: part for part in case_file.parts}
    return cases_pb2.Recovery(
        recovery_id=str(recovery.recovery_id),
        case_id=str(recovery.case_id),
        source=recovery.source.value,
        reference=recovery.reference,
        recovered_fen=recovery.amount_fen,
        costs_fen=recovery.costs_fen,
        shares=[
            funds_pb2.CasePart(
                layer=by_position[position].layer,
                party=by_position[position].party,
                institution_id=by_position[position].institution_id,
                paid_fen=amount,
                position=position,
                fund_id=str(by_position[position].fund_id or ""),
                own_loss=by_position[position].own_loss,
            )
            for position, amount in recovery.shares
        ],
        household_fen=recovery.household_fen,
        collected_by=recovery.collected_by,
        value_date=wire.date_to_proto(recovery.value_date),
        reversed=recovery.reversed,
    )


def _standing(standing: Standing) -> cases_pb2.CasePosition:
    return cases_pb2.CasePosition(
        case_id=str(standing.case_id),
        position=standing.position,
        party=standing.party,
        institution_id=standing.institution_id,
        borne_fen=standing.borne_fen,
        paid_fen=standing.paid_fen,
        owed_fen=standing.owed_fen,
        recovered_fen=standing.recovered_fen,
        written_off_fen=standing.written_off_fen,
        subrogated_fen=standing.subrogated_fen,
    )


def _owed(row: asyncpg.Record) -> cases_pb2.ShareInstruction:
    return cases_pb2.ShareInstruction(
        case_id=str(row["case_id"]),
        position=row["position"],
        party=row["party"],
        payer_id=row["institution_id"],
        payee_id=row["lender_id"],
        amount_fen=row["amount_fen"],
        paid_fen=row["paid_fen"],
        owed_since=wire.date_to_proto(row["decided_on"]),
    )


def _place(token: str) -> tuple[UUID, int]:
    """After which case and place a page begins."""
    last = wire.page_start(token)
    if not last:
        return reports.FIRST, -1
    case_id, _, position = last.partition(":")
    if not position.isdecimal():
        rule = "must come from the answer before"
        raise invalid_field("MALFORMED_PAGE_TOKEN", "page_token", token, rule)
    return parse_id("page_token", case_id), int(position)


def _day(field: str, said: Date, *, given: bool) -> date | None:
    return wire.date_from_proto(field, said) if given else None


class AfterDoor(cases_pb2_grpc.CasesServiceServicer):
    """What follows when a case is paid."""

    _database: Database
    _catalogue: Catalogue

    async def ListShareInstructions(
        self, request: cases_pb2.ListShareInstructionsRequest, context: Context
    ) -> cases_pb2.ListShareInstructionsResponse:
        """Shares that are owed."""
        caller = caller_of(context)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            rows = await reports.share_instructions(
                session,
                caller,
                request.county_code,
                after=_place(request.page_token),
                limit=size + 1,
            )
        page, token = wire.page_of(rows, size, lambda row: f"{row['case_id']}:{row['position']}")
        return cases_pb2.ListShareInstructionsResponse(
            instructions=[_owed(row) for row in page], next_page_token=token
        )

    async def ConfirmShare(
        self, request: cases_pb2.ConfirmShareRequest, context: Context
    ) -> cases_pb2.ConfirmShareResponse:
        """Confirm a share."""
        caller = caller_of(context)
        case_id = parse_id("case_id", request.case_id)
        value_date = wire.date_from_proto("value_date", request.value_date)

        async def work(session: AsyncSession) -> cases_pb2.ConfirmShareResponse:
            found = await recoveries.confirm_share(
                session,
                caller,
                request.county_code,
                case_id,
                position=request.position,
                amount_fen=Fen(request.amount_fen),
                value_date=value_date,
                reference=request.reference,
            )
            return cases_pb2.ConfirmShareResponse(compensation_case=case_out(found))

        return await once(self._database, caller, request, cases_pb2.ConfirmShareResponse, work)

    async def DecideCaseWriteOff(
        self, request: cases_pb2.DecideCaseWriteOffRequest, context: Context
    ) -> cases_pb2.DecideCaseWriteOffResponse:
        """Decide a write-off."""
        caller = caller_of(context)
        case_id = parse_id("case_id", request.case_id)

        async def work(session: AsyncSession) -> cases_pb2.DecideCaseWriteOffResponse:
            found = await recoveries.decide_write_off(
                session,
                caller,
                request.county_code,
                case_id,
                approve=request.approve,
            )
            return cases_pb2.DecideCaseWriteOffResponse(compensation_case=case_out(found))

        return await once(
            self._database, caller, request, cases_pb2.DecideCaseWriteOffResponse, work
        )

    async def RecordRecovery(
        self, request: cases_pb2.RecordRecoveryRequest, context: Context
    ) -> cases_pb2.RecordRecoveryResponse:
        """Record a recovery with its costs."""
        caller = caller_of(context)
        collected = Collected(
            case_id=parse_id("case_id", request.case_id),
            recovered_fen=Fen(request.recovered_fen),
            costs_fen=Fen(request.costs_fen),
            value_date=wire.date_from_proto("value_date", request.value_date),
            evidence=tuple(request.evidence),
            reference=request.reference,
        )

        async def work(session: AsyncSession) -> cases_pb2.RecordRecoveryResponse:
            case_file, made = await recoveries.record_recovery(
                session, caller, request.county_code, collected
            )
            return cases_pb2.RecordRecoveryResponse(recovery=_recovery(case_file, made))

        return await once(self._database, caller, request, cases_pb2.RecordRecoveryResponse, work)

    async def ListRecoveries(
        self, request: cases_pb2.ListRecoveriesRequest, context: Context
    ) -> cases_pb2.ListRecoveriesResponse:
        """Recoveries of a case."""
        caller = caller_of(context)
        case_id = parse_id("case_id", request.case_id)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            case_file, found = await reports.recoveries(
                session,
                caller,
                request.county_code,
                case_id,
                after=start_id(request.page_token),
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.recovery_id)
        return cases_pb2.ListRecoveriesResponse(
            recoveries=[_recovery(case_file, each) for each in page], next_page_token=token
        )

    async def ProposeCaseWriteOff(
        self, request: cases_pb2.ProposeCaseWriteOffRequest, context: Context
    ) -> cases_pb2.ProposeCaseWriteOffResponse:
        """Propose a write-off."""
        caller = caller_of(context)
        case_id = parse_id("case_id", request.case_id)

        async def work(session: AsyncSession) -> cases_pb2.ProposeCaseWriteOffResponse:
            amount = await recoveries.propose_write_off(
                session,
                caller,
                request.county_code,
                case_id,
                reason=request.reason,
                evidence=request.evidence,
            )
            return cases_pb2.ProposeCaseWriteOffResponse(amount_fen=amount)

        return await once(
            self._database, caller, request, cases_pb2.ProposeCaseWriteOffResponse, work
        )

    async def GetCasePositions(
        self, request: cases_pb2.GetCasePositionsRequest, context: Context
    ) -> cases_pb2.GetCasePositionsResponse:
        """How everybody stands in a case on a day."""
        caller = caller_of(context)
        case_id = parse_id("case_id", request.case_id)
        as_of = _day("as_of", request.as_of, given=request.HasField("as_of"))
        async with self._database.transaction(caller) as session:
            found = await reports.case_positions(
                session, caller, request.county_code, case_id, as_of=as_of
            )
        return cases_pb2.GetCasePositionsResponse(positions=[_standing(each) for each in found])

    async def ListPositions(
        self, request: cases_pb2.ListPositionsRequest, context: Context
    ) -> cases_pb2.ListPositionsResponse:
        """How an institution stands in its cases on a day."""
        caller = caller_of(context)
        size = wire.page_size(request.page_size)
        as_of = _day("as_of", request.as_of, given=request.HasField("as_of"))
        async with self._database.transaction(caller) as session:
            found = await reports.positions(
                session,
                caller,
                request.county_code,
                request.institution_id,
                as_of=as_of,
                after=_place(request.page_token),
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: f"{each.case_id}:{each.position}")
        return cases_pb2.ListPositionsResponse(
            positions=[_standing(each) for each in page], next_page_token=token
        )
