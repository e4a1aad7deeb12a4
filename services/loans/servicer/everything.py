"""The gRPC services of loans together, as one server offers them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from liandong.loans.v1 import loans_pb2_grpc, tasks_pb2_grpc

from services.kernel.database import Database
from services.loans.servicer import LoansServicer
from services.loans.servicer.tasks import TasksServicer
from services.programmes.loader import Catalogue

_Servicer = Callable[[Database, Catalogue], Any]
_AddToServer = Callable[[Any, Any], None]

_OFFERED: Final[Mapping[str, tuple[_Servicer, _AddToServer]]] = {
    "Loans": (LoansServicer, loans_pb2_grpc.add_LoansServiceServicer_to_server),
    "Tasks": (TasksServicer, tasks_pb2_grpc.add_TasksServiceServicer_to_server),
}
"""Every service by its name in the protos, and how the generated code adds it."""

PROTO_SERVICES: Final = tuple(f"liandong.loans.v1.{name}Service" for name in _OFFERED)


@dataclass(frozen=True, slots=True)
class Doors:
    """What the doors need."""

    db: Database
    catalogue: Catalogue


def add_to_server(doors: Doors, server: Any) -> None:
    """Let a server answer for all of them."""
    for servicer, add in _OFFERED.values():
        add(servicer(doors.db, doors.catalogue), server)
