"""Callers: the connection of each institution that the console serves, and its persons' names."""

import asyncio
from collections.abc import AsyncIterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.message import Message

from gateway.console.links import INSTITUTION
from gateway.console.settings import ConsoleSettings
from gateway.identity import PERSON_KEY
from gateway.person_signer import REPLAYED, PersonSigner
from gateway.routes import ROUTES
from services.kernel import channels
from services.kernel.status import reason_of

MESSAGE_BYTES_MAX = 4 * 1024 * 1024
SERVICE_KEY = "liandong-service"
_ROUTES = {route.method: route for route in ROUTES}
_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    *channels.RECONNECT,
)


@lru_cache(maxsize=1_024)
def _answer_type(method: str) -> type[Message]:
    return message_factory.GetMessageClass(_ROUTES[method].descriptor.output_type)


class Caller:
    """Calls the gateway with one institution's certificate."""

    def __init__(self, institution_id: str, settings: ConsoleSettings, env: str) -> None:
        folder = settings.credentials_path
        own = folder / "inst" / institution_id
        self.institution_id = institution_id
        self._call_seconds = settings.call_seconds
        key = own / "person.pem"
        self._signer = (
            PersonSigner(institution_id, key=key, certificate=own / "cert.pem", env=env)
            if key.exists()
            else None
        )
        if self._signer is None and not settings.person_metadata:
            raise LookupError(f"{key}: needed to sign persons' tokens")
        self._channel = grpc.aio.secure_channel(
            settings.gateway_address,
            grpc.ssl_channel_credentials(
                (folder / "ca.pem").read_bytes(),
                (own / "key.pem").read_bytes(),
                (own / "cert.pem").read_bytes(),
            ),
            options=_OPTIONS,
        )

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    def _named(self, person_id: str, service: str) -> list[tuple[str, str]]:
        said = [(SERVICE_KEY, service)] if service else []
        if self._signer is None:
            return [(PERSON_KEY, person_id), *said]
        return [("authorization", f"Bearer {self._signer.token(person_id)}"), *said]

    async def ask(
        self,
        person_id: str,
        method: str,
        request: Message,
        service: str = "",
        *,
        seconds: float = 0,
    ) -> Any:
        """One method, by its full name; of several services that serve it, the one named."""
        bound = seconds or self._call_seconds
        call = self._channel.unary_unary(
            _ROUTES[method].path,
            request_serializer=type(request).SerializeToString,
            response_deserializer=_answer_type(method).FromString,
        )
        try:
            return await call(request, timeout=bound, metadata=self._named(person_id, service))
        except grpc.aio.AioRpcError as error:
            if self._signer is None or reason_of(error) != REPLAYED:
                raise
        # The connection is another one than the token's.
        self._signer.forget()
        return await call(request, timeout=bound, metadata=self._named(person_id, service))

    async def follow(self, person_id: str, method: str, request: Message) -> AsyncIterator[Any]:
        """A stream of answers until it ends or the reader goes."""
        call = self._channel.unary_stream(
            _ROUTES[method].path,
            request_serializer=type(request).SerializeToString,
            response_deserializer=_answer_type(method).FromString,
        )
        running = call(request, metadata=self._named(person_id, ""))
        try:
            async for answer in running:
                yield answer
        except grpc.aio.AioRpcError as error:
            if self._signer is not None and reason_of(error) == REPLAYED:
                self._signer.forget()
            raise
        finally:
            running.cancel()


class Callers:
    """The institutions of a folder; a connection is opened when one is first asked for."""

    def __init__(self, settings: ConsoleSettings, env: str) -> None:
        self._settings = settings
        self._env = env
        self._open: dict[str, Caller] = {}

    def of(self, institution_id: str) -> Caller:
        """The caller of an institution; LookupError for one that is not served."""
        if institution_id not in self._open:
            if institution_id not in self.served():
                raise LookupError(f"{institution_id} is not served here")
            self._open[institution_id] = Caller(institution_id, self._settings, self._env)
        return self._open[institution_id]

    def served(self) -> tuple[str, ...]:
        """Whose certificates lie in the folder."""
        return served_in(self._settings.credentials_path)

    async def close(self) -> None:
        """Close every connection."""
        await asyncio.gather(*(caller.close() for caller in self._open.values()))


def served_in(folder: Path) -> tuple[str, ...]:
    """The institutions whose certificates lie in a folder."""
    found = (folder / "inst").glob("*/cert.pem")
    return tuple(sorted(x.parent.name for x in found if INSTITUTION.fullmatch(x.parent.name)))
