"""The public door: what everybody may read, asked without any institution's certificate."""

from typing import Any

import grpc
from liandong.gateway.v1 import public_pb2, public_pb2_grpc

from gateway.console.settings import ConsoleSettings


class PublicDoor:
    """Asks the gateway's public address, if there is one."""

    def __init__(self, settings: ConsoleSettings) -> None:
        self._seconds = settings.call_seconds
        self._channel: grpc.aio.Channel | None = None
        if settings.public_gateway_address:
            ca = settings.public_ca_path or settings.credentials_path / "ca.pem"
            self._channel = grpc.aio.secure_channel(
                settings.public_gateway_address, grpc.ssl_channel_credentials(ca.read_bytes())
            )

    @property
    def open(self) -> bool:
        """Whether there is such a door."""
        return self._channel is not None

    async def close(self) -> None:
        """Close the connection."""
        if self._channel is not None:
            await self._channel.close()

    async def ask(self, method: str, county_code: str) -> Any:
        """One of its lists about a county."""
        assert self._channel is not None
        stub = public_pb2_grpc.PublicServiceStub(self._channel)
        request = getattr(public_pb2, f"{method}Request")(county_code=county_code)
        return await getattr(stub, method)(request, timeout=self._seconds)
