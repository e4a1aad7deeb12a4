"""Metrics: what `telemetry.count` counts, at an endpoint that Prometheus scrapes."""

from opentelemetry import metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import start_http_server

_serving: set[tuple[str, int]] = set()


def start(port: int, *, host: str = "127.0.0.1") -> None:
    """
    Serve this process's metrics over HTTP; port 0 for not at all.

    Services that share a process share its endpoint: the first one opens it. The answers name
    methods and reasons, never people, but it asks nobody who they are: keep it off public networks.
    """
    if port == 0 or (host, port) in _serving:
        return
    if not _serving:
        metrics.set_meter_provider(
            MeterProvider([PrometheusMetricReader(scope_info_enabled=False)])
        )
    # A port that is taken ends the process here, where the reason is plain.
    start_http_server(port, addr=host)
    _serving.add((host, port))
