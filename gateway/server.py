"""Server: the kernel's gRPC server without an interceptor before every call."""

from collections.abc import Callable, Sequence

import grpc
from grpc_health.v1 import health, health_pb2_grpc

from services.kernel import rpc


class Server(rpc.Server):
    """Started, probed, mirrored and stopped as a service's; the door makes its spans itself."""

    def __init__(
        self,
        *,
        address: str,
        credentials: grpc.ServerCredentials,
        concurrent_rpcs_max: int,
        options: Sequence[tuple[str, int]] = (),
    ) -> None:
        self.server = rpc.a_server(options=options, concurrent_rpcs_max=concurrent_rpcs_max)
        self._health = health.aio.HealthServicer()
        add: Callable[..., None] = health_pb2_grpc.add_HealthServicer_to_server
        add(self._health, self.server)
        self.port = rpc.listen(self.server, address, credentials)
