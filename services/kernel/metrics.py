"""
Metrics: an endpoint that Prometheus scrapes, and what is measured for it.

Durations are recorded on hot paths, so their label sets are bound once and kept. Readings of
tables are in `services/kernel/readings.py`. Names are those of the OpenTelemetry conventions where
they have one, as Prometheus spells them; labels name methods, states, counties and services, never
people.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from opentelemetry import metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import Histogram, disable_created_metrics, start_http_server

from services.kernel import telemetry

_serving: set[tuple[str, int]] = set()
# A third series for each that nobody reads.
disable_created_metrics()  # type: ignore[no-untyped-call]

CALLS: Final = Histogram(
    "rpc_server_call_duration_seconds",
    "Calls that ended, by how and after how long.",
    ("noun", "rpc_class", "rpc_method", "rpc_response_status_code"),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)
EVENTS: Final = Histogram(
    "messaging_process_duration_seconds",
    "Handlers that ended, each a run of events of one type.",
    ("noun", "event_type", "error_type"),
    buckets=(0.005, 0.025, 0.1, 0.5, 2.5, 10.0),
)
FRESHNESS: Final = Histogram(
    "liandong_event_age_seconds",
    "How long ago an event was said when it took effect here; the oldest of each run.",
    ("noun",),
    buckets=(0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 3_600.0),
)
JOBS: Final = Histogram(
    "liandong_job_duration_seconds",
    "Jobs that ended.",
    ("noun", "job", "error_type"),
    buckets=(0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 1_800.0),
)
SETTLEMENTS: Final = Histogram(
    "liandong_payout_settlement_seconds",
    "From a payout's authorisation until everybody had confirmed.",
    ("noun",),
    buckets=(60.0, 3_600.0, 86_400.0, 3 * 86_400.0, 5 * 86_400.0, 10 * 86_400.0, 30 * 86_400.0),
)


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


class Calls:
    """The calls of one door; a method's label sets are bound when it first ends so."""

    __slots__ = ("_bound", "_noun")

    def __init__(self, noun: str) -> None:
        self._noun = noun
        self._bound: dict[tuple[str, str], Histogram] = {}

    def ended(self, method: str, code: str, seconds: float, kind: str = "") -> None:
        """A call has ended with a status code."""
        bound = self._bound.get((method, code))
        if bound is None:
            bound = CALLS.labels(self._noun, kind, method, code)
            self._bound[method, code] = bound
        bound.observe(seconds)


@contextmanager
def handling(noun: str, event_type: str, age_seconds: float) -> Iterator[None]:
    """Around a handler and its run of events."""
    began, error_type = time.perf_counter(), ""
    try:
        yield
    except BaseException as error:
        error_type = type(error).__name__
        raise
    finally:
        EVENTS.labels(noun, event_type, error_type).observe(time.perf_counter() - began)
        if not error_type:
            FRESHNESS.labels(noun).observe(max(0.0, age_seconds))


def payout_settled(payout_id: UUID) -> None:
    """A payout is settled; its id (UUIDv7) tells since when it was on its way."""
    SETTLEMENTS.labels("claims").observe(max(0.0, time.time() - (payout_id.int >> 80) / 1_000))


@contextmanager
def job(noun: str, name: str) -> Iterator[None]:
    """Around one round of what a process does by itself: how long it took, and a span."""
    began, error_type = time.perf_counter(), ""
    try:
        with telemetry.job_span(name):
            yield
    except BaseException as error:
        error_type = type(error).__name__
        raise
    finally:
        JOBS.labels(noun, name, error_type).observe(time.perf_counter() - began)
