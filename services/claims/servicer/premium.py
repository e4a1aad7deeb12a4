"""Claims over gRPC: premium that is owed, arrives, and is trued up."""

from uuid import UUID

from liandong.claims.v1 import policies_pb2, policies_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import Payment
from services.claims.operations import premium
from services.claims.servicer.shared import FIRST, admit, optional_id
from services.claims.store.premium import Balance
from services.kernel import wire
from services.kernel.database import Database
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.money import Fen
from services.kernel.rpc import Context
from services.programmes.loader import Catalogue

PREMIUM_READERS = ("insurer", "county_centre", "finance_bureau", "auditor", "regulator")


def balance_to_proto(balance: Balance) -> policies_pb2.PremiumBalance:
    """A balance for the wire."""
    return policies_pb2.PremiumBalance(
        policy_id=str(balance.policy_id),
        payer=balance.payer,
        payer_id=balance.payer_id,
        charged_fen=balance.charged_fen,
        paid_fen=balance.paid_fen,
        owed_fen=balance.owed_fen,
    )


def _after(token: str) -> tuple[UUID, str]:
    policy, _, payer_id = wire.page_start(token).partition(" ")
    return (parse_id("page_token", policy), payer_id) if policy else (FIRST, "")


class PremiumDoor(policies_pb2_grpc.PoliciesServiceServicer):
    """Receivables of premium and their payment."""

    _database: Database
    _catalogue: Catalogue

    async def RecordPremiumPayments(
        self, request: policies_pb2.RecordPremiumPaymentsRequest, context: Context
    ) -> policies_pb2.RecordPremiumPaymentsResponse:
        """Keep what arrived at the insurer."""
        caller = admit(context, ("insurer",), request.county_code)
        payments = [
            Payment(
                policy_id=parse_id(f"items[{place}].policy_id", item.policy_id),
                payer_id=item.payer_id,
                amount_fen=Fen(item.amount_fen),
                value_date=wire.date_from_proto(f"items[{place}].value_date", item.value_date),
                reference=item.reference,
            )
            for place, item in enumerate(request.items)
        ]

        async def work(session: AsyncSession) -> policies_pb2.RecordPremiumPaymentsResponse:
            outcomes = await premium.record_payments(
                session, self._catalogue, caller, request.county_code, payments
            )
            return policies_pb2.RecordPremiumPaymentsResponse(
                verdicts=wire.verdicts(outcomes, lambda payment_id: payment_id)
            )

        return await once(
            self._database,
            caller,
            request,
            policies_pb2.RecordPremiumPaymentsResponse,
            work,
            money=True,
        )

    async def ListPremiums(
        self, request: policies_pb2.ListPremiumsRequest, context: Context
    ) -> policies_pb2.ListPremiumsResponse:
        """A page of receivables."""
        caller = admit(context, PREMIUM_READERS, request.county_code)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            found = await premium.list_premiums(
                session,
                caller,
                request.county_code,
                policy_id=optional_id("policy_id", request.policy_id),
                open_only=request.open_only,
                after=_after(request.page_token),
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: f"{each.policy_id} {each.payer_id}")
        return policies_pb2.ListPremiumsResponse(
            balances=[balance_to_proto(each) for each in page], next_page_token=token
        )

    async def TrueUpPremium(
        self, request: policies_pb2.TrueUpPremiumRequest, context: Context
    ) -> policies_pb2.TrueUpPremiumResponse:
        """Bring a premium to the rate on actual lending."""
        caller = admit(context, ("insurer", "finance_bureau"), request.county_code)
        policy_id = parse_id("policy_id", request.policy_id)

        async def work(session: AsyncSession) -> policies_pb2.TrueUpPremiumResponse:
            done = await premium.true_up(
                session, self._catalogue, caller, request.county_code, policy_id
            )
            return policies_pb2.TrueUpPremiumResponse(
                lending_fen=done.lending_fen,
                premium_fen=done.premium_fen,
                charged_fen=done.charged_fen,
            )

        return await once(
            self._database, caller, request, policies_pb2.TrueUpPremiumResponse, work, money=True
        )
