"""The gRPC services of funds together, as one server offers them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from liandong.funds.v1 import accounts_pb2_grpc, cases_pb2_grpc, funds_pb2_grpc, watch_pb2_grpc

from services.funds.servicer import FundsServicer
from services.funds.servicer.accounts import FundAccountsServicer
from services.funds.servicer.casework import CaseworkServicer
from services.funds.servicer.watch import WatchServicer
from services.kernel.database import Database
from services.programmes.loader import Catalogue

_Servicer = Callable[[Database, Catalogue], Any]
_AddToServer = Callable[[Any, Any], None]

_OFFERED: Final[Mapping[str, tuple[_Servicer, _AddToServer]]] = {
    "Funds": (FundsServicer, funds_pb2_grpc.add_FundsServiceServicer_to_server),
    "FundAccounts": (
        FundAccountsServicer,
        accounts_pb2_grpc.add_FundAccountsServiceServicer_to_server,
    ),
    "Cases": (CaseworkServicer, cases_pb2_grpc.add_CasesServiceServicer_to_server),
    "Watch": (WatchServicer, watch_pb2_grpc.add_WatchServiceServicer_to_server),
}
"""Every service by its name in the protos, and how the generated code adds it."""

PROTO_SERVICES: Final = tuple(f"liandong.funds.v1.{name}Service" for name in _OFFERED)


@dataclass(frozen=True, slots=True)
class Doors:
    """What the doors need."""

    db: Database
    catalogue: Catalogue


def add_to_server(doors: Doors, server: Any) -> None:
    """Let a server answer for all of them."""
    for servicer, add in _OFFERED.values():
        add(servicer(doors.db, doors.catalogue), server)
