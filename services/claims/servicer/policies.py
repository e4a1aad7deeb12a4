"""Claims over gRPC: master policies issued."""

from liandong.claims.v1 import claims_pb2, claims_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.operations import policies
from services.claims.operations.policies import PolicyApplication
from services.claims.servicer.shared import admit
from services.kernel import wire
from services.kernel.database import Database
from services.kernel.idempotency import once
from services.kernel.money import Fen
from services.kernel.rpc import Context
from services.programmes.loader import Catalogue

ISSUERS = ("insurer", "county_centre")


class PoliciesDoor(claims_pb2_grpc.ClaimsServiceServicer):
    """Policies of the county."""

    _database: Database
    _catalogue: Catalogue

    async def IssueMasterPolicy(
        self, request: claims_pb2.IssueMasterPolicyRequest, context: Context
    ) -> claims_pb2.IssueMasterPolicyResponse:
        """Issue a policy of the county or a town."""
        caller = admit(context, ISSUERS, request.county_code)
        application = PolicyApplication(
            county_code=request.county_code,
            insurer_id=request.insurer_id,
            programme_id=request.programme_id,
            area_code=request.area_code,
            covers=(request.cover_id, *request.more_cover_ids),
            from_date=wire.date_from_proto("from_date", request.from_date),
            until_date=wire.date_from_proto("until_date", request.until_date),
            rate_ppm=request.rate_ppm if request.HasField("rate_ppm") else None,
            enterprise_id=request.enterprise_id,
            expected_lending_fen=Fen(request.expected_lending_fen),
        )

        async def work(session: AsyncSession) -> claims_pb2.IssueMasterPolicyResponse:
            policy = await policies.issue_master_policy(
                session, self._catalogue, caller, application
            )
            return claims_pb2.IssueMasterPolicyResponse(policy_id=str(policy.policy_id))

        # Whoever waits for a cover joins at once, and owes its premium.
        return await once(
            self._database, caller, request, claims_pb2.IssueMasterPolicyResponse, work, money=True
        )
