"""The gateway's own methods: who the caller is, which institutions there are, lists by identity."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from google.protobuf.message import DecodeError, Message
from liandong.gateway.v1 import gateway_pb2, insured_pb2

from gateway import insured
from gateway.identity import ABOVE_COUNTIES, Claim, Directory, Institution
from gateway.onward import Onward
from gateway.registry import METHODS, Registry
from gateway.routes import OWN
from services.kernel import rpc, wire
from services.kernel.database import Database
from services.kernel.errors import Denied, Invalid

OwnMethod = Callable[[Institution, Claim, bytes, Onward], Awaitable[bytes]]
"""Who calls, what the call says of itself, its body, and the way on to the services."""
Q = TypeVar("Q", bound=Message)

_SERVICE = f"/liandong.{OWN}.v1.GatewayService"
_INSURED = f"/liandong.{OWN}.v1.InsuredListService"


class GatewayServicer:
    """Answers from the directory; decides nothing but whose county it is."""

    def __init__(self, db: Database, directory: Directory) -> None:
        self._directory = directory
        self._registry = Registry(db, directory)

    async def WhoAmI(
        self, institution: Institution, claim: Claim, _request: gateway_pb2.WhoAmIRequest
    ) -> gateway_pb2.WhoAmIResponse:
        """Who the gateway takes the caller for."""
        return gateway_pb2.WhoAmIResponse(
            institution=institution_to_proto(institution), person_id=claim.person_id
        )

    async def ListInstitutions(
        self,
        institution: Institution,
        _claim: Claim,
        request: gateway_pb2.ListInstitutionsRequest,
    ) -> gateway_pb2.ListInstitutionsResponse:
        """Institutions of a county, in id order; only those above counties ask for another's."""
        if institution.county_code not in (ABOVE_COUNTIES, request.county_code):
            raise Denied(
                "AREA_NOT_YOURS",
                f"{institution.institution_id} may not ask about {request.county_code}",
                message_zh="超出本机构辖区",
            )
        size = wire.page_size(request.page_size)
        start = wire.page_start(request.page_token)
        everyone = self._directory.institutions(request.county_code)
        found = [one for one in everyone if one.institution_id > start]
        page = found[:size]
        last = page[-1].institution_id if len(found) > size else ""
        return gateway_pb2.ListInstitutionsResponse(
            institutions=[institution_to_proto(one) for one in page],
            next_page_token=wire.page_token(last) if last else "",
        )

    def methods(self) -> Mapping[str, OwnMethod]:
        """The gateway's own methods by path, as functions of bytes."""
        return {
            f"{_SERVICE}/WhoAmI": of_bytes(gateway_pb2.WhoAmIRequest, self.WhoAmI),
            f"{_SERVICE}/ListInstitutions": of_bytes(
                gateway_pb2.ListInstitutionsRequest, self.ListInstitutions
            ),
            f"{_INSURED}/EnrolInsuredByIdentity": going_on(
                insured_pb2.EnrolInsuredByIdentityRequest, insured.enrol_by_identity
            ),
            **{
                path: of_bytes(request_type, getattr(self._registry, name))
                for path, (request_type, name) in METHODS.items()
            },
        }


def of_bytes(
    request_type: type[Q], method: Callable[[Institution, Claim, Q], Awaitable[Message]]
) -> OwnMethod:
    """A method as the door calls it: bytes in, checked, bytes out."""

    async def serve(institution: Institution, claim: Claim, request: Q, _: Onward) -> Message:
        return await method(institution, claim, request)

    return going_on(request_type, serve)


def going_on(
    request_type: type[Q], method: Callable[[Institution, Claim, Q, Onward], Awaitable[Message]]
) -> OwnMethod:
    """The same of a method that asks services in its turn."""

    async def serve(institution: Institution, claim: Claim, body: bytes, onward: Onward) -> bytes:
        try:
            request = request_type.FromString(body)
        except DecodeError as error:
            raise Invalid("MALFORMED_MESSAGE", "the request is not a valid message") from error
        rpc.check(request)
        answer = await method(institution, claim, request, onward)
        return answer.SerializeToString()

    return serve


def institution_to_proto(institution: Institution) -> gateway_pb2.Institution:
    """An institution for the wire."""
    return gateway_pb2.Institution(
        institution_id=institution.institution_id,
        name=institution.name,
        name_zh=institution.name_zh,
        role=institution.role,
        county_code=institution.county_code,
        areas=institution.areas,
    )
