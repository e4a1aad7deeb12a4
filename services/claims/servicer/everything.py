"""The doors of claims together, as one server offers them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from liandong.claims.v1 import (
    claims_pb2_grpc,
    indices_pb2_grpc,
    payouts_pb2_grpc,
    policies_pb2_grpc,
    records_pb2_grpc,
)

from services.claims.servicer import ClaimsServicer
from services.claims.servicer.indices import IndicesServicer
from services.claims.servicer.policies_service import PoliciesServicer
from services.claims.servicer.records import RecordsServicer
from services.claims.servicer.saga import PayoutsServicer
from services.kernel.database import Database
from services.programmes.loader import Catalogue

Add = Callable[[Any, Any], None]
"""How a generated stub lets a server answer for a servicer."""

_DOORS: Final[tuple[tuple[str, Add, Callable[[Database, Catalogue], Any]], ...]] = (
    ("ClaimsService", claims_pb2_grpc.add_ClaimsServiceServicer_to_server, ClaimsServicer),
    ("RecordsService", records_pb2_grpc.add_RecordsServiceServicer_to_server, RecordsServicer),
    ("PayoutsService", payouts_pb2_grpc.add_PayoutsServiceServicer_to_server, PayoutsServicer),
    ("IndicesService", indices_pb2_grpc.add_IndicesServiceServicer_to_server, IndicesServicer),
    (
        "PoliciesService",
        policies_pb2_grpc.add_PoliciesServiceServicer_to_server,
        PoliciesServicer,
    ),
)
"""Every gRPC service of claims, a line each."""

PROTO_SERVICES: Final = tuple(f"liandong.claims.v1.{name}" for name, _, _ in _DOORS)


@dataclass(frozen=True, slots=True)
class Doors:
    """What the doors need."""

    db: Database
    catalogue: Catalogue


def add_to_server(doors: Doors, server: Any) -> None:
    """Let a server answer for all of them."""
    for _, add, servicer in _DOORS:
        add(servicer(doors.db, doors.catalogue), server)
