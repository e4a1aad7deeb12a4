"""The doors of claims together, as one server offers them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from liandong.claims.v1 import claims_pb2_grpc, payouts_pb2_grpc

from services.claims.servicer import ClaimsServicer
from services.claims.servicer.saga import PayoutsServicer
from services.kernel.database import Database
from services.programmes.loader import Catalogue

Add = Callable[[Any, Any], None]
"""How a generated stub lets a server answer for a servicer."""

_DOORS: Final[tuple[tuple[str, Add, Callable[[Database, Catalogue], Any]], ...]] = (
    ("ClaimsService", claims_pb2_grpc.add_ClaimsServiceServicer_to_server, ClaimsServicer),
    ("PayoutsService", payouts_pb2_grpc.add_PayoutsServiceServicer_to_server, PayoutsServicer),
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
