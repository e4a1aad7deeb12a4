"""Channels: how a client of a gRPC server finds it again."""

from collections.abc import Sequence

CONNECT_MS_MAX = 5_000
"""How long a connection may take to be made, its mutual TLS included."""

RECONNECT: Sequence[tuple[str, int]] = (
    # A server that comes back is found again within a second.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # The name says a pause between attempts, but gRPC gives up each attempt after as long: with a
    # tenth of a second a busy server is never reached, and each try costs it a handshake.
    ("grpc.min_reconnect_backoff_ms", CONNECT_MS_MAX),
)
"""Options of a channel."""
