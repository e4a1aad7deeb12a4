"""Entitlements over gRPC: recorded, approved, paid, withdrawn, read."""

from uuid import UUID

from liandong.loans.v1 import entitlements_pb2, entitlements_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import wire
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.money import Fen
from services.kernel.rpc import Context, caller_of
from services.loans.operations import entitlements
from services.loans.operations.entitlements import Payment
from services.loans.rules import entitlements as rules
from services.loans.rules.entitlements import Entitlement, Step, Wanted
from services.loans.servicer.lending import actor_of, require_county, scope_of
from services.loans.store import entitlements as entitlement_store
from services.programmes.loader import Catalogue

DEPARTMENTS = frozenset({"agriculture_bureau", "forestry_bureau"})


def _entitlement(found: Entitlement) -> entitlements_pb2.Entitlement:
    return entitlements_pb2.Entitlement(
        entitlement_id=str(found.entitlement_id),
        household_id=str(found.household_id),
        loan_id=str(found.loan_id or ""),
        rule_version=found.rule_version,
        rule_id=found.rule_id,
        kind=found.kind,
        payer=found.payer,
        amount_fen=found.amount_fen,
        effects=found.effects,
        working=found.working,
        state=entitlements_pb2.EntitlementState.Value(f"ENTITLEMENT_STATE_{found.state.upper()}"),
        due_on=wire.date_to_proto(found.due_on),
        approved_on=wire.date_to_proto(found.approved_on),
        paid_on=wire.date_to_proto(found.paid_on),
        reference=found.reference,
        area_code=found.area_code,
        reason=found.reason,
    )


def _step(step: Step) -> entitlements_pb2.EntitlementStep:
    return entitlements_pb2.EntitlementStep(
        what=step.what,
        on=wire.date_to_proto(step.on),
        institution_id=step.institution_id,
        person_id=step.person_id,
        note=step.note,
    )


def _wanted(item: entitlements_pb2.EntitlementWanted, path: str) -> Wanted:
    return Wanted(
        household_id=parse_id(f"{path}.household_id", item.household_id),
        loan_id=parse_id(f"{path}.loan_id", item.loan_id) if item.loan_id else None,
        rule_id=item.rule_id,
        met=tuple(item.met),
        evidence=item.evidence,
        cost_fen=Fen(item.cost_fen),
        due_on=wire.date_from_proto(f"{path}.due_on", item.due_on),
    )


def _payer(caller: Caller, asked: str) -> str:
    """A department sees what it pays itself, the county and lenders what lies in their scope."""
    return caller.role if caller.role in DEPARTMENTS else asked


def _id(found: Entitlement) -> UUID:
    return found.entitlement_id


class EntitlementsServicer(entitlements_pb2_grpc.EntitlementsServiceServicer):
    """What borrowers get beside their loans."""

    def __init__(self, database: Database, catalogue: Catalogue) -> None:
        self._database = database
        self._catalogue = catalogue

    async def RecordEntitlements(
        self, request: entitlements_pb2.RecordEntitlementsRequest, context: Context
    ) -> entitlements_pb2.RecordEntitlementsResponse:
        """Write down what is due."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        items = [_wanted(item, f"items[{index}]") for index, item in enumerate(request.items)]

        async def work(session: AsyncSession) -> entitlements_pb2.RecordEntitlementsResponse:
            outcomes = await entitlements.record(
                session,
                request.county_code,
                request.programme_id,
                items,
                actor=actor,
                may_act_in=caller.require_area,
                catalogue=self._catalogue,
            )
            verdicts = wire.verdicts(outcomes, _id)
            return entitlements_pb2.RecordEntitlementsResponse(verdicts=verdicts)

        response = entitlements_pb2.RecordEntitlementsResponse
        return await once(self._database, caller, request, response, work)

    async def ApproveEntitlements(
        self, request: entitlements_pb2.ApproveEntitlementsRequest, context: Context
    ) -> entitlements_pb2.ApproveEntitlementsResponse:
        """A second person approves."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        wanted = [parse_id("entitlement_ids", each) for each in request.entitlement_ids]

        async def work(session: AsyncSession) -> entitlements_pb2.ApproveEntitlementsResponse:
            outcomes = await entitlements.approve(
                session, request.county_code, wanted, actor=actor, may_act_in=caller.require_area
            )
            verdicts = wire.verdicts(outcomes, _id)
            return entitlements_pb2.ApproveEntitlementsResponse(verdicts=verdicts)

        response = entitlements_pb2.ApproveEntitlementsResponse
        return await once(self._database, caller, request, response, work)

    async def PayEntitlements(
        self, request: entitlements_pb2.PayEntitlementsRequest, context: Context
    ) -> entitlements_pb2.PayEntitlementsResponse:
        """Note what was paid or given."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        payments = [
            Payment(
                parse_id(f"items[{index}].entitlement_id", item.entitlement_id),
                item.reference,
                wire.date_from_proto(f"items[{index}].paid_on", item.paid_on),
            )
            for index, item in enumerate(request.items)
        ]

        async def work(session: AsyncSession) -> entitlements_pb2.PayEntitlementsResponse:
            outcomes = await entitlements.pay(session, request.county_code, payments, actor=actor)
            verdicts = wire.verdicts(outcomes, _id)
            return entitlements_pb2.PayEntitlementsResponse(verdicts=verdicts)

        response = entitlements_pb2.PayEntitlementsResponse
        return await once(self._database, caller, request, response, work)

    async def WithdrawEntitlement(
        self, request: entitlements_pb2.WithdrawEntitlementRequest, context: Context
    ) -> entitlements_pb2.WithdrawEntitlementResponse:
        """Take one back."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        entitlement_id = parse_id("entitlement_id", request.entitlement_id)

        async def work(session: AsyncSession) -> entitlements_pb2.WithdrawEntitlementResponse:
            now = await entitlements.withdraw(
                session,
                request.county_code,
                entitlement_id,
                reason=request.reason,
                actor=actor,
                may_act_in=caller.require_area,
            )
            return entitlements_pb2.WithdrawEntitlementResponse(entitlement=_entitlement(now))

        response = entitlements_pb2.WithdrawEntitlementResponse
        return await once(self._database, caller, request, response, work)

    async def ListEntitlements(
        self, request: entitlements_pb2.ListEntitlementsRequest, context: Context
    ) -> entitlements_pb2.ListEntitlementsResponse:
        """Entitlements that the caller may see."""
        caller = caller_of(context)
        require_county(caller, request.county_code)
        size, start = wire.page_size(request.page_size), wire.page_start(request.page_token)
        areas, lender_id = scope_of(caller, request.county_code)
        household = request.household_id
        state = entitlements_pb2.EntitlementState.Name(request.state)
        async with self._database.transaction(caller) as session:
            rows = await entitlement_store.listed(
                session,
                request.county_code,
                areas=areas,
                lender_id=lender_id,
                household_id=parse_id("household_id", household) if household else None,
                state=state.removeprefix("ENTITLEMENT_STATE_").lower() if request.state else "",
                payer=_payer(caller, request.payer),
                after=parse_id("page_token", start) if start else None,
                limit=size + 1,
            )
        page, token = wire.page_of(rows, size, lambda row: row.entitlement_id)
        return entitlements_pb2.ListEntitlementsResponse(
            entitlements=[_entitlement(row) for row in page], next_page_token=token
        )

    async def GetEntitlement(
        self, request: entitlements_pb2.GetEntitlementRequest, context: Context
    ) -> entitlements_pb2.GetEntitlementResponse:
        """One entitlement and its steps."""
        caller = caller_of(context)
        require_county(caller, request.county_code)
        wanted = parse_id("entitlement_id", request.entitlement_id)
        areas, lender_id = scope_of(caller, request.county_code)
        async with self._database.transaction(caller) as session:
            rows = await entitlement_store.listed(
                session,
                request.county_code,
                areas=areas,
                lender_id=lender_id,
                entitlement_id=wanted,
                payer=_payer(caller, ""),
            )
            held = rows[0] if rows else None
            found = rules.require(held, wanted, *rules.STATES)
            steps = await entitlement_store.steps_of(session, request.county_code, wanted)
        return entitlements_pb2.GetEntitlementResponse(
            entitlement=_entitlement(found), steps=[_step(step) for step in steps]
        )
