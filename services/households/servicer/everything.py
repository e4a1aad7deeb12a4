"""The doors of the registry together, as one server offers them."""

from dataclasses import dataclass
from typing import Any, Final

from liandong.households.v1 import (
    accounts_pb2_grpc,
    areas_pb2_grpc,
    consents_pb2_grpc,
    facts_pb2_grpc,
    households_pb2_grpc,
    linkage_pb2_grpc,
    moves_pb2_grpc,
    people_pb2_grpc,
    records_pb2_grpc,
    standing_pb2_grpc,
)

from services.households.operations.shared import Keys
from services.households.servicer.accounts import AccountsServicer
from services.households.servicer.areas import AreasServicer
from services.households.servicer.consents import ConsentsServicer
from services.households.servicer.facts import FactsServicer
from services.households.servicer.linkage import LinkageServicer
from services.households.servicer.moves import MovesServicer
from services.households.servicer.people import PeopleServicer
from services.households.servicer.records import HouseholdRecordsServicer
from services.households.servicer.registration import HouseholdsServicer
from services.households.servicer.standing import StandingServicer
from services.kernel.database import Database

PROTO_SERVICES: Final = tuple(
    f"liandong.households.v1.{name}Service"
    for name in (
        "Accounts",
        "Areas",
        "Consents",
        "Facts",
        "Households",
        "Linkage",
        "Moves",
        "HouseholdRecords",
        "People",
        "Standing",
    )
)


@dataclass(frozen=True, slots=True)
class Doors:
    """What the doors need."""

    db: Database
    keys: Keys
    payee_waiting_days: int


def add_to_server(doors: Doors, server: Any) -> None:
    """Let a server answer for all of them."""
    db, keys = doors.db, doors.keys
    households_pb2_grpc.add_HouseholdsServiceServicer_to_server(
        HouseholdsServicer(db, keys), server
    )
    areas_pb2_grpc.add_AreasServiceServicer_to_server(AreasServicer(db), server)
    standing_pb2_grpc.add_StandingServiceServicer_to_server(StandingServicer(db), server)
    people_pb2_grpc.add_PeopleServiceServicer_to_server(PeopleServicer(db, keys), server)
    facts_pb2_grpc.add_FactsServiceServicer_to_server(FactsServicer(db, keys), server)
    consents_pb2_grpc.add_ConsentsServiceServicer_to_server(ConsentsServicer(db, keys), server)
    accounts_pb2_grpc.add_AccountsServiceServicer_to_server(
        AccountsServicer(db, keys, waiting_days=doors.payee_waiting_days), server
    )
    linkage_pb2_grpc.add_LinkageServiceServicer_to_server(LinkageServicer(db), server)
    moves_pb2_grpc.add_MovesServiceServicer_to_server(MovesServicer(db), server)
    records_pb2_grpc.add_HouseholdRecordsServiceServicer_to_server(
        HouseholdRecordsServicer(db, keys), server
    )
