"""Guard: the headers of every answer, and whether a form comes from our own pages."""

from collections.abc import MutableMapping
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""No script or style but our own files, nothing from elsewhere, in nobody's frame."""

HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
STATIC_PATH = "/static/"
FORM_BYTES_MAX = 65_536


class Guard:
    """Puts the security headers on every answer; no page of a person is kept by anybody."""

    def __init__(self, app: ASGIApp, *, secure: bool) -> None:
        self._app = app
        self._headers = dict(HEADERS)
        if secure:
            self._headers["strict-transport-security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add them as the answer begins."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        static = str(scope["path"]).startswith(STATIC_PATH)
        if scope["method"] == "POST" and not _is_short(scope):
            await PlainTextResponse("too long\n", status_code=413)(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
                if not static:
                    headers["cache-control"] = "no-store"
            await send(message)

        await self._app(scope, receive, guarded)


class Kept:
    """Static files carry their version in the address, so browsers may keep them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Say so where a file was asked for with its version."""
        kept = _is_versioned(scope)

        async def said(message: Message) -> None:
            if kept and message["type"] == "http.response.start" and message["status"] == 200:
                MutableHeaders(scope=message)["cache-control"] = "public, max-age=31536000"
            await send(message)

        await self._app(scope, receive, said)


def _is_short(scope: Scope) -> bool:
    """Whether a form says its length, and that it is none of a file."""
    said = Headers(scope=scope).get("content-length", "")
    return said.isdecimal() and len(said) < 12 and int(said) <= FORM_BYTES_MAX


def _is_versioned(scope: MutableMapping[str, Any]) -> bool:
    if scope["type"] != "http":
        return False
    path, query = str(scope["path"]), bytes(scope["query_string"])
    return path.startswith(STATIC_PATH) and query.startswith(b"v=")


def same_origin(request: Request) -> bool:
    """Whether a form was sent from one of our own pages."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    return origin is None or origin.split("://", 1)[-1] == request.headers.get("host", "")
