"""Routes: which methods there are and whose they are, read from the protos."""

from dataclasses import dataclass

from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from liandong.claims.v1 import claims_pb2, indices_pb2, payouts_pb2, policies_pb2, records_pb2
from liandong.common.v1 import operator_pb2
from liandong.credit.v1 import credit_pb2
from liandong.funds.v1 import accounts_pb2 as fund_accounts_pb2
from liandong.funds.v1 import cases_pb2 as fund_cases_pb2
from liandong.funds.v1 import funds_pb2
from liandong.funds.v1 import watch_pb2 as fund_watch_pb2
from liandong.gateway.v1 import (
    access_log_pb2,
    documents_pb2,
    feeds_pb2,
    find_pb2,
    gateway_pb2,
    institutions_pb2,
    insured_pb2,
    self_pb2,
)
from liandong.households.v1 import (
    accounts_pb2,
    areas_pb2,
    consents_pb2,
    facts_pb2,
    households_pb2,
    linkage_pb2,
    moves_pb2,
    people_pb2,
    standing_pb2,
)
from liandong.households.v1 import records_pb2 as household_records_pb2
from liandong.loans.v1 import entitlements_pb2, loans_pb2, notices_pb2, relending_pb2
from liandong.loans.v1 import projects_pb2 as loan_projects_pb2
from liandong.loans.v1 import records_pb2 as loan_records_pb2
from liandong.loans.v1 import reports_pb2 as loan_reports_pb2
from liandong.loans.v1 import tasks_pb2 as loan_tasks_pb2

OWN = "gateway"
NAMED_BY_CALLER = ""
"""Stands for the noun of a method that every service serves; the call's metadata names it."""

FILES: dict[str, tuple[FileDescriptor, ...]] = {
    "households": (
        accounts_pb2.DESCRIPTOR,
        areas_pb2.DESCRIPTOR,
        consents_pb2.DESCRIPTOR,
        facts_pb2.DESCRIPTOR,
        households_pb2.DESCRIPTOR,
        linkage_pb2.DESCRIPTOR,
        moves_pb2.DESCRIPTOR,
        people_pb2.DESCRIPTOR,
        household_records_pb2.DESCRIPTOR,
        standing_pb2.DESCRIPTOR,
    ),
    "credit": (credit_pb2.DESCRIPTOR,),
    "loans": (
        loans_pb2.DESCRIPTOR,
        notices_pb2.DESCRIPTOR,
        entitlements_pb2.DESCRIPTOR,
        relending_pb2.DESCRIPTOR,
        loan_projects_pb2.DESCRIPTOR,
        loan_records_pb2.DESCRIPTOR,
        loan_reports_pb2.DESCRIPTOR,
        loan_tasks_pb2.DESCRIPTOR,
    ),
    "claims": (
        claims_pb2.DESCRIPTOR,
        indices_pb2.DESCRIPTOR,
        payouts_pb2.DESCRIPTOR,
        policies_pb2.DESCRIPTOR,
        records_pb2.DESCRIPTOR,
    ),
    "funds": (
        funds_pb2.DESCRIPTOR,
        fund_accounts_pb2.DESCRIPTOR,
        fund_cases_pb2.DESCRIPTOR,
        fund_watch_pb2.DESCRIPTOR,
    ),
    OWN: (
        access_log_pb2.DESCRIPTOR,
        documents_pb2.DESCRIPTOR,
        feeds_pb2.DESCRIPTOR,
        find_pb2.DESCRIPTOR,
        gateway_pb2.DESCRIPTOR,
        institutions_pb2.DESCRIPTOR,
        insured_pb2.DESCRIPTOR,
        self_pb2.DESCRIPTOR,
    ),
    NAMED_BY_CALLER: (operator_pb2.DESCRIPTOR,),
}
"""The protos of each noun that hold services."""


@dataclass(frozen=True, slots=True)
class Route:
    """One method at the gateway's address."""

    method: str
    """Full name, `liandong.loans.v1.LoansService/RepayLoan`."""
    noun: str
    streams: bool
    """Both ways."""
    tells: bool
    """One question, many answers."""
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
        tells=method.server_streaming and not method.client_streaming,
        command="request_id" in method.input_type.fields_by_name,
        descriptor=method,
    )


ROUTES: tuple[Route, ...] = tuple(
    _route(noun, service.full_name, method)
    for noun, files in FILES.items()
    for file in files
    for service in file.services_by_name.values()
    for method in service.methods
)

SERVICE_NAMES: tuple[str, ...] = tuple(
    service.full_name
    for files in FILES.values()
    for file in files
    for service in file.services_by_name.values()
)
"""What reflection names at the gateway's address."""
