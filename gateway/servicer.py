"""The gateway's own methods: who the caller is, which institutions there are."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from google.protobuf.message import DecodeError, Message
from liandong.gateway.v1 import gateway_pb2

from gateway.identity import ABOVE_COUNTIES, Claim, Directory, Institution
from gateway.routes import OWN
from services.kernel import rpc, wire
from services.kernel.errors import Denied, Invalid

OwnMethod = Callable[[Institution, Claim, bytes], Awaitable[bytes]]
Q = TypeVar("Q", bound=Message)

_SERVICE = f"/liandong.{OWN}.v1.GatewayService"


class GatewayServicer:
    """Answers from the directory; decides nothing but whose county it is."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def WhoAmI(
        self, institution: Institution, claim: Claim, _request: gateway_pb2.WhoAmIRequest
    ) -> gateway_pb2.WhoAmIResponse:
        """Who the gateway takes the caller for."""
        return gateway_pb2.WhoAmIResponse(
            institution=_to_proto(institution), person_id=claim.person_id
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
            institutions=[_to_proto(one) for one in page],
            next_page_token=wire.page_token(last) if last else "",
        )

    def methods(self) -> Mapping[str, OwnMethod]:
        """The gateway's own methods by path, as functions of bytes."""
        return {
            f"{_SERVICE}/WhoAmI": of_bytes(gateway_pb2.WhoAmIRequest, self.WhoAmI),
            f"{_SERVICE}/ListInstitutions": of_bytes(
                gateway_pb2.ListInstitutionsRequest, self.ListInstitutions
            ),
        }


def of_bytes(
    request_type: type[Q], method: Callable[[Institution, Claim, Q], Awaitable[Message]]
) -> OwnMethod:
    """A method as the door calls it: bytes in, checked, bytes out."""

    async def serve(institution: Institution, claim: Claim, body: bytes) -> bytes:
        try:
            request = request_type.FromString(body)
        except DecodeError as error:
            raise Invalid("MALFORMED_MESSAGE", "the request is not a valid message") from error
        rpc.check(request)
        answer = await method(institution, claim, request)
        return answer.SerializeToString()

    return serve


def _to_proto(institution: Institution) -> gateway_pb2.Institution:
    return gateway_pb2.Institution(
        institution_id=institution.institution_id,
        name=institution.name,
        name_zh=institution.name_zh,
        role=institution.role,
        county_code=institution.county_code,
        areas=institution.areas,
    )
