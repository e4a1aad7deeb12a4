"""Loans: the server offers each gRPC service that the gateway forwards to it."""

from gateway.routes import FILES
from services.loans.servicer.everything import PROTO_SERVICES


def test_what_the_gateway_forwards_is_offered() -> None:
    forwarded = {
        service.full_name for file in FILES["loans"] for service in file.services_by_name.values()
    }

    assert set(PROTO_SERVICES) == forwarded
