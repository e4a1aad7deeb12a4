"""An institution's client: its certificate, its persons, patience while the platform restarts."""

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
from google.protobuf.message import Message

from deploy.local.ca import Credentials
from gateway.person_signer import REPLAYED, PersonSigner
from services.kernel import channels
from services.kernel.status import link_broke, reason_of, retry_seconds_of

R = TypeVar("R", bound=Message)

CALL_SECONDS = 60.0
PATIENCE_SECONDS = 180.0
PAUSE_SECONDS_MAX = 2.0
MESSAGE_BYTES_MAX = 2 * 1024 * 1024

_AWAY = (
    grpc.StatusCode.UNAVAILABLE,
    # A server that stops may cut a call; when it is we who cancel, no such error is raised.
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)

_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    *channels.RECONNECT,
)


def may_ask_again(error: grpc.aio.AioRpcError) -> bool:
    """
    Whether the platform was away, and not its answer no.

    With the same request id what took effect is answered, not done twice.
    """
    return error.code() in _AWAY or link_broke(error)


def credentials_in(folder: Path, institution_id: str, env: str) -> Credentials:
    """The certificate of an institution in a folder that the local CA laid out."""
    own = folder / "inst" / institution_id
    return Credentials(
        spiffe_id=f"spiffe://liandong/{env}/inst/{institution_id}",
        cert=own / "cert.pem",
        key=own / "key.pem",
        ca=folder / "ca.pem",
    )


def new_trace() -> tuple[str, str]:
    """A trace id, and the `traceparent` of a call whose trace is kept."""
    trace_id = secrets.token_hex(16)
    return trace_id, f"00-{trace_id}-{secrets.token_hex(8)}-01"


class Institution:
    """Calls the gateway as one institution, a person of it at a time."""

    def __init__(
        self,
        address: str,
        credentials: Credentials,
        institution_id: str,
        *,
        signer: PersonSigner | None = None,
    ) -> None:
        self.institution_id = institution_id
        self._signer = signer
        self.calls = 0
        self.retries = 0
        self._random = random.Random()
        self._channel = grpc.aio.secure_channel(
            address,
            grpc.ssl_channel_credentials(
                credentials.ca.read_bytes(),
                credentials.key.read_bytes(),
                credentials.cert.read_bytes(),
            ),
            options=_OPTIONS,
        )
        self._stubs: dict[type[Any], Any] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    def stub(self, stub_type: type[Any]) -> Any:
        """A service's stub over this institution's connection."""
        if stub_type not in self._stubs:
            self._stubs[stub_type] = stub_type(self._channel)
        return self._stubs[stub_type]

    def metadata(self, post: int, extra: Mapping[str, str]) -> list[tuple[str, str]]:
        """Who acts: the institution's first, second or third post."""
        person_id = f"{self.institution_id}-p{post}"
        if self._signer is not None:
            named = {"authorization": f"Bearer {self._signer.token(person_id)}"}
        else:
            named = {"liandong-person": person_id}
        return list({**named, **extra}.items())

    async def call(
        self,
        stub_type: type[Any],
        method: str,
        request: Message,
        *,
        post: int = 1,
        metadata: Mapping[str, str] | None = None,
    ) -> Any:
        """One call; asked again while the platform is away, for a bounded time."""
        call = getattr(self.stub(stub_type), method)

        async def once() -> Any:
            headers = self.metadata(post, metadata or {})
            return await call(request, timeout=CALL_SECONDS, metadata=headers)

        return await self.patiently(once)

    async def patiently(self, once: Callable[[], Awaitable[Any]]) -> Any:
        """
        Try again while the answer is that the platform is away, for a bounded time.

        Each pause is longer than the one before, never shorter than the platform asks for, and of a
        length of its own: many clients that were refused together must not come back together.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        pause = 0.05
        while True:
            self.calls += 1
            try:
                return await once()
            except grpc.aio.AioRpcError as error:
                asked = min(retry_seconds_of(error), PATIENCE_SECONDS)
                if not self._may_ask_again(error) or time.monotonic() + asked > deadline:
                    raise
            self.retries += 1
            await asyncio.sleep(max(pause, asked) * self._random.uniform(1.0, 1.2))
            pause = min(pause * 2, PAUSE_SECONDS_MAX)

    def _may_ask_again(self, error: grpc.aio.AioRpcError) -> bool:
        if self._signer is not None and reason_of(error) == REPLAYED:
            # The connection is another one than the token's.
            self._signer.forget()
            return True
        return may_ask_again(error)

    async def exchange(
        self,
        stub_type: type[Any],
        method: str,
        requests: Callable[[], AsyncIterator[Message]],
        *,
        post: int = 1,
    ) -> AsyncIterator[Any]:
        """A stream of requests and answers; the caller starts it over when it breaks."""
        call = getattr(self.stub(stub_type), method)
        self.calls += 1
        async for answer in call(requests(), metadata=self.metadata(post, {})):
            yield answer

    async def pages(
        self, stub_type: type[Any], method: str, first: Any, *, tries_max: int
    ) -> AsyncIterator[Any]:
        """
        All pages of an export over one stream, each asked for when the one before was taken.

        A stream that breaks is begun again behind the last page that was taken.
        """
        asked = type(first)()
        asked.CopyFrom(first)
        tries = 0
        while True:
            try:
                async for page in self._pages(stub_type, method, asked):
                    yield page
                    asked.page_token = page.next_page_token
                    tries = 0
                return
            except grpc.aio.AioRpcError as error:
                if not may_ask_again(error) or tries == tries_max:
                    raise
                self.retries += 1
                tries += 1
            await asyncio.sleep(min(0.1 * 2**tries, 2.0))

    async def _pages(self, stub_type: type[Any], method: str, first: Any) -> AsyncIterator[Any]:
        turn: asyncio.Queue[str | None] = asyncio.Queue()
        turn.put_nowait(first.page_token)

        async def requests() -> AsyncIterator[Any]:
            while (at := await turn.get()) is not None:
                asked = type(first)()
                asked.CopyFrom(first)
                asked.page_token = at
                yield asked

        async for page in self.exchange(stub_type, method, requests):
            yield page
            turn.put_nowait(page.next_page_token or None)
