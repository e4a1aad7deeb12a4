"""The gRPC services of loans together, as one server offers them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from liandong.loans.v1 import (
    entitlements_pb2_grpc,
    loans_pb2_grpc,
    notices_pb2_grpc,
    projects_pb2_grpc,
    records_pb2_grpc,
    relending_pb2_grpc,
    reports_pb2_grpc,
    tasks_pb2_grpc,
)

from services.kernel.database import Database
from services.loans.servicer import LoansServicer
from services.loans.servicer.entitlements import EntitlementsServicer
from services.loans.servicer.notices import NoticesServicer
from services.loans.servicer.projects import ProjectsServicer
from services.loans.servicer.records import LoanRecordsServicer
from services.loans.servicer.relending import RelendingServicer
from services.loans.servicer.reports import ReportsServicer
from services.loans.servicer.tasks import TasksServicer
from services.programmes.loader import Catalogue

_Servicer = Callable[[Database, Catalogue], Any]
_AddToServer = Callable[[Any, Any], None]

DOORS: Final[Mapping[str, tuple[_Servicer, _AddToServer]]] = {
    "Entitlements": (
        EntitlementsServicer,
        entitlements_pb2_grpc.add_EntitlementsServiceServicer_to_server,
    ),
    "LoanRecords": (LoanRecordsServicer, records_pb2_grpc.add_LoanRecordsServiceServicer_to_server),
    "Loans": (LoansServicer, loans_pb2_grpc.add_LoansServiceServicer_to_server),
    "Notices": (NoticesServicer, notices_pb2_grpc.add_NoticesServiceServicer_to_server),
    "Projects": (ProjectsServicer, projects_pb2_grpc.add_ProjectsServiceServicer_to_server),
    "Relending": (RelendingServicer, relending_pb2_grpc.add_RelendingServiceServicer_to_server),
    "Reports": (ReportsServicer, reports_pb2_grpc.add_ReportsServiceServicer_to_server),
    "Tasks": (TasksServicer, tasks_pb2_grpc.add_TasksServiceServicer_to_server),
}
"""Every service by its name in the protos, and how the generated code adds it."""

PROTO_SERVICES: Final = tuple(f"liandong.loans.v1.{name}Service" for name in DOORS)


@dataclass(frozen=True, slots=True)
class Doors:
    """What the doors need."""

    db: Database
    catalogue: Catalogue


def add_to_server(doors: Doors, server: Any) -> None:
    """Let a server answer for all of them."""
    for servicer, add in DOORS.values():
        add(servicer(doors.db, doors.catalogue), server)
