"""Routes: which methods there are and whose they are, read from the protos."""

from dataclasses import dataclass

from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from liandong.claims.v1 import claims_pb2
from liandong.common.v1 import operator_pb2
from liandong.credit.v1 import credit_pb2
from liandong.funds.v1 import funds_pb2
from liandong.gateway.v1 import gateway_pb2
from liandong.households.v1 import households_pb2
from liandong.loans.v1 import loans_pb2

OWN = "gateway"
NAMED_BY_CALLER = ""
"""Stands for the noun of a method that every service serves; the call's metadata names it."""

FILES: dict[str, FileDescriptor] = {
    "households": households_pb2.DESCRIPTOR,
    "credit": credit_pb2.DESCRIPTOR,
    "loans": loans_pb2.DESCRIPTOR,
    "claims": claims_pb2.DESCRIPTOR,
    "funds": funds_pb2.DESCRIPTOR,
    OWN: gateway_pb2.DESCRIPTOR,
    NAMED_BY_CALLER: operator_pb2.DESCRIPTOR,
}


@dataclass(frozen=True, slots=True)
class Route:
    """One method at the gateway's address."""

    method: str
    """Full name, `liandong.loans.v1.LoansService/RepayLoan`."""
    noun: str
    streams: bool
    command: bool
    """It changes something and so carries a request id; otherwise it reads."""
    descriptor: MethodDescriptor

    @property
    def path(self) -> str:
        """The method as it stands on the wire."""
        return f"/{self.method}"


def _route(noun: str, service: str, method: MethodDescriptor) -> Route:
    return Route(
        method=f"{service}/{method.name}",
        noun=noun,
        streams=method.client_streaming and method.server_streaming,
        command="request_id" in method.input_type.fields_by_name,
        descriptor=method,
    )


ROUTES: tuple[Route, ...] = tuple(
    _route(noun, service.full_name, method)
    for noun, file in FILES.items()
    for service in file.services_by_name.values()
    for method in service.methods
)

SERVICE_NAMES: tuple[str, ...] = tuple(
    service.full_name for file in FILES.values() for service in file.services_by_name.values()
)
"""What reflection names at the gateway's address."""
