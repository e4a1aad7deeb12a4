"""The bare doors: a proxy that passes bytes on over mTLS, and a service that answers at once."""

import argparse
import asyncio
import signal
from pathlib import Path
from typing import Any

import grpc
import uvloop

ANSWER = bytes(range(200))
"""About as long as a loan."""


class Backend(grpc.GenericRpcHandler):
    """Answers every method at once."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The same handler whatever is called."""

        async def serve(_body: bytes, _context: Any) -> bytes:
            return ANSWER

        return grpc.unary_unary_rpc_method_handler(serve)


class Proxy(grpc.GenericRpcHandler):
    """Passes every method on, as bytes: no identity, no decision, no log."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._calls: dict[str, Any] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """One multicallable a method, made once."""
        method = handler_call_details.method
        if method not in self._calls:
            call: Any = self._channel.unary_unary(method)

            async def serve(body: bytes, _context: Any) -> bytes:
                answer: bytes = await call(body, timeout=30)
                return answer

            self._calls[method] = grpc.unary_unary_rpc_method_handler(serve)
        return self._calls[method]


async def run(options: argparse.Namespace) -> None:
    """Serve until SIGTERM."""
    key, cert, ca = (path.read_bytes() for path in (options.key, options.cert, options.ca))
    server = grpc.aio.server()
    if options.forward:
        own = grpc.ssl_channel_credentials(ca, key, cert)
        handler: grpc.GenericRpcHandler = Proxy(grpc.aio.secure_channel(options.forward, own))
    else:
        handler = Backend()
    server.add_generic_rpc_handlers((handler,))
    served = grpc.ssl_server_credentials([(key, cert)], ca, require_client_auth=True)
    server.add_secure_port(options.address, served)
    await server.start()
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
    await asked.wait()
    await server.stop(1)


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True)
    parser.add_argument("--forward", default="")
    for name in ("ca", "cert", "key"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
