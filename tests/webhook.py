"""The other end of a webhook, which keeps what it was told."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver(ThreadingHTTPServer):
    """What stands at the other end of a webhook."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Post)
        self.bodies: list[dict[str, Any]] = []
        self.refuse = 0

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}/alerts"

    @property
    def alerts(self) -> list[dict[str, Any]]:
        """Every alert that it was told, in order."""
        return [alert for body in self.bodies for alert in body["alerts"]]


class _Post(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        receiver = self.server
        assert isinstance(receiver, Receiver)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        receiver.bodies.append(body)
        refuses = receiver.refuse > 0
        receiver.refuse -= refuses
        self.send_response(503 if refuses else 200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of its base
        """Say nothing."""


@contextmanager
def listening() -> Iterator[Receiver]:
    """A receiver that answers from a thread of its own."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
