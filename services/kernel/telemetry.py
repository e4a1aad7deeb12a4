"""Telemetry: traces over OTLP, metrics for Prometheus, structured logs with trace ids."""

import logging
import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any

import structlog
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from services.kernel.settings import PlatformSettings

SPAN_QUEUE_MAX = 8_192

_meter = metrics.get_meter("liandong")
_counters: dict[str, metrics.Counter] = {}
_bounds: dict[tuple[str, str], tuple[Callable[[], int], int]] = {}
"""Name of a bound and whose it is, to how much of it is used now, and the most there may be."""


def _trace_ids(_logger: object, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
        event["span_id"] = trace.format_span_id(context.span_id)
    return event


def start_logs(level: str) -> None:
    """Log lines as JSON on standard error, one a line, with the trace they belong to."""
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(stream=sys.stderr, level=max(number, logging.WARNING))
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _trace_ids,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


_service: ContextVar[str] = ContextVar("liandong.service", default="")
_providers: dict[str, TracerProvider] = {}


class _RoutedTracer(trace.Tracer):
    """Hands each span to the provider of the service whose task it is in."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._idle = trace.NoOpTracer()
        self._tracers: dict[str, trace.Tracer] = {}

    def _current(self) -> trace.Tracer:
        service = _service.get()
        if service not in self._tracers:
            found = _providers.get(service)
            if found is None:
                return self._idle
            self._tracers[service] = found.get_tracer(self._name)
        return self._tracers[service]

    def start_span(self, *args: Any, **kwargs: Any) -> trace.Span:
        return self._current().start_span(*args, **kwargs)

    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Any:
        return self._current().start_as_current_span(*args, **kwargs)


class _RoutedProvider(trace.TracerProvider):
    def get_tracer(self, instrumenting_module_name: str, *_: Any, **__: Any) -> trace.Tracer:
        return _RoutedTracer(instrumenting_module_name)


def start_traces(service: str, platform: PlatformSettings) -> None:
    """
    Send this service's spans to the platform's endpoint.

    Several services may share a process; the service is remembered in the running task's context,
    and every task that it starts inherits it.
    """
    _service.set(service)
    trace.set_tracer_provider(_routed)
    if service in _providers:
        return
    resource = Resource.create(
        {
            "service.name": service,
            "service.namespace": "liandong",
            "deployment.environment.name": platform.env,
        }
    )
    sampler = ParentBased(TraceIdRatioBased(platform.trace_ratio_ppm / 1_000_000))
    made = TracerProvider(resource=resource, sampler=sampler)
    if platform.otlp_endpoint:
        exporter = OTLPSpanExporter(
            endpoint=platform.otlp_endpoint,
            insecure=platform.otlp_endpoint.startswith("http://"),
        )
        made.add_span_processor(
            BatchSpanProcessor(exporter, max_queue_size=SPAN_QUEUE_MAX, schedule_delay_millis=500)
        )
    _providers[service] = made


def flush_traces() -> None:
    """Send what is queued; called once when a process stops."""
    for made in _providers.values():
        made.shutdown()


_routed = _RoutedProvider()


def count(name: str, amount: int = 1, **attributes: str) -> None:
    """Add to a counter."""
    if name not in _counters:
        _counters[name] = _meter.create_counter(name)
    _counters[name].add(amount, attributes)


def bound(name: str, used: Callable[[], int], most: int, *, noun: str) -> None:
    """
    Tell of a queue, pool or batch how full it is, whenever it is asked: `liandong.bound.used`.

    Beside it stands `liandong.bound.max`. Whoever names one again has taken its place.
    """
    _bounds[name, noun] = (used, most)


def _labels(key: tuple[str, str]) -> dict[str, str]:
    return {"bound": key[0], "noun": key[1]}


def _used(_: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
    return [metrics.Observation(used(), _labels(key)) for key, (used, _) in list(_bounds.items())]


def _most(_: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
    return [metrics.Observation(most, _labels(key)) for key, (_, most) in list(_bounds.items())]


_meter.create_observable_gauge("liandong.bound.used", callbacks=[_used])
_meter.create_observable_gauge("liandong.bound.max", callbacks=[_most])
