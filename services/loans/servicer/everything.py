"""The gRPC services of loans together, as one server offers them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from liandong.loans.v1 import (
    entitlements_pb2_grpc,
    loans_pb2_grpc,
    notices_pb2_grpc,
    projects_pb2_grpc,
    records_pb2_grpc,
    relending_pb2_grpc,
)

from services.kernel.database import Database
from services.loans.servicer import LoansServicer
from services.loans.servicer.entitlements import EntitlementsServicer
from services.loans.servicer.notices import NoticesServicer
from services.loans.servicer.projects import ProjectsServicer
from services.loans.servicer.records import LoanRecordsServicer
from services.loans.servicer.relending import RelendingServicer
from services.programmes.loader import Catalogue

Add = Callable[[Any, Any], None]
"""How a generated stub lets a server answer for a servicer."""

DOORS: Final[tuple[tuple[str, Add, Callable[[Database, Catalogue], Any]], ...]] = (
    (
        "EntitlementsService",
        entitlements_pb2_grpc.add_EntitlementsServiceServicer_to_server,
        EntitlementsServicer,
    ),
    (
        "LoanRecordsService",
        records_pb2_grpc.add_LoanRecordsServiceServicer_to_server,
        LoanRecordsServicer,
    ),
    ("LoansService", loans_pb2_grpc.add_LoansServiceServicer_to_server, LoansServicer),
    ("NoticesService", notices_pb2_grpc.add_NoticesServiceServicer_to_server, NoticesServicer),
    ("ProjectsService", projects_pb2_grpc.add_ProjectsServiceServicer_to_server, ProjectsServicer),
    (
        "RelendingService",
        relending_pb2_grpc.add_RelendingServiceServicer_to_server,
        RelendingServicer,
    ),
)
"""Every gRPC service of loans, a line each."""

PROTO_SERVICES: Final = tuple(f"liandong.loans.v1.{name}" for name, _, _ in DOORS)


@dataclass(frozen=True, slots=True)
class Doors:
    """What the doors need."""

    db: Database
    catalogue: Catalogue


def add_to_server(doors: Doors, server: Any) -> None:
    """Let a server answer for all of them."""
    for _, add, servicer in DOORS:
        add(servicer(doors.db, doors.catalogue), server)
