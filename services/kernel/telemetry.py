"""Telemetry: traces over OTLP, metrics for Prometheus, structured logs with trace ids."""

import logging
import random
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

import structlog
from opentelemetry import context as contexts
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from services.kernel.settings import PlatformSettings

SPAN_QUEUE_MAX = 8_192
LINKS_MAX = 128

COUNTY, INSTITUTION, PROGRAMME = (
    "liandong.county_code",
    "liandong.institution_id",
    "liandong.programme",
)
LATE = "liandong.recorded_late"
"""A span of a trace that was not kept, recorded afterwards because it failed."""
ERROR_TYPE = "error.type"

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
_ratio_bounds: dict[str, int] = {}
"""Service to the share of new traces that it keeps, of 2^64."""

_TRACE_MASK = (1 << 64) - 1


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
    sampled = TraceIdRatioBased(platform.trace_ratio_ppm / 1_000_000)
    made = TracerProvider(resource=resource, sampler=ParentBased(sampled))
    _ratio_bounds[service] = sampled.bound
    if platform.otlp_endpoint:
        exporter = OTLPSpanExporter(
            endpoint=platform.otlp_endpoint,
            insecure=platform.otlp_endpoint.startswith("http://"),
        )
        made.add_span_processor(
            BatchSpanProcessor(exporter, max_queue_size=SPAN_QUEUE_MAX, schedule_delay_millis=500)
        )
    _providers[service] = made


def is_kept(trace_id: int) -> bool:
    """Whether a new trace is among those that are kept."""
    return (trace_id & _TRACE_MASK) < _ratio_bounds.get(_service.get(), 0)


def new_context(trace_id: int = 0, *, sampled: bool) -> SpanContext:
    """The ids of a span that is recorded when it has ended; of a new trace where none is given."""
    return SpanContext(
        trace_id or random.getrandbits(128) or 1,
        random.getrandbits(64) or 1,
        is_remote=False,
        trace_flags=TraceFlags(1 if sampled else 0),
    )


_TRACEPARENT = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


def read_traceparent(text: str) -> SpanContext | None:
    """The span that a W3C header names; None where none stands there."""
    found = _TRACEPARENT.fullmatch(text)
    if found is None:
        return None
    read = SpanContext(
        int(found[1], 16),
        int(found[2], 16),
        is_remote=True,
        trace_flags=TraceFlags(int(found[3], 16) & 1),
    )
    return read if read.is_valid else None


def traceparent(of: SpanContext) -> str:
    """A span as the W3C header of what it causes."""
    return f"00-{of.trace_id:032x}-{of.span_id:016x}-{of.trace_flags:02x}"


def record(
    name: str,
    own: SpanContext,
    parent: SpanContext | None,
    *,
    kind: SpanKind,
    start_ns: int,
    attributes: Mapping[str, Any],
    links: Sequence[Link] = (),
    error_type: str = "",
) -> None:
    """
    Record a span that has ended, at a tenth of what the library's own costs.

    One that failed is recorded also where its trace is not kept.
    """
    made = _providers.get(_service.get())
    if made is None or not (own.trace_flags.sampled or error_type):
        return
    found = dict(attributes)
    status = Status(StatusCode.UNSET)
    if error_type:
        found[ERROR_TYPE] = error_type
        status = Status(StatusCode.ERROR, error_type)
    if not own.trace_flags.sampled:
        found[LATE] = True
        own = SpanContext(own.trace_id, own.span_id, False, TraceFlags(1))
    made._active_span_processor.on_end(  # noqa: SLF001 - the library has no door for spans that ended
        ReadableSpan(
            name,
            context=own,
            parent=parent,
            resource=made.resource,
            attributes=found,
            links=links,
            kind=kind,
            status=status,
            start_time=start_ns,
            end_time=time.time_ns(),
        )
    )


class Span(trace.NonRecordingSpan):
    """
    A span that is written down when it has ended; made current, it is the span of what goes on.

    It has its ids from the beginning. One that failed is recorded whatever its trace, by its kind
    only: a failure's text may name somebody.
    """

    def __init__(
        self,
        name: str,
        *,
        kind: SpanKind,
        attributes: Mapping[str, Any],
        parent: SpanContext | None = None,
        links: Sequence[SpanContext] = (),
        keep: bool = False,
    ) -> None:
        trace_id = parent.trace_id if parent is not None else random.getrandbits(128) or 1
        sampled = keep or (parent.trace_flags.sampled if parent is not None else is_kept(trace_id))
        super().__init__(new_context(trace_id, sampled=sampled))
        self._name = name
        self._kind = kind
        self._attributes = dict(attributes)
        self._parent = parent
        self._links = links
        self._start_ns = time.time_ns()
        self._error_type = ""

    def is_recording(self) -> bool:
        """Whether its trace is kept."""
        return bool(self._context.trace_flags.sampled)

    def set_attribute(self, key: str, value: Any) -> None:
        """Tell more of it."""
        self._attributes[key] = value

    def failed(self, error_type: str) -> None:
        """Note that what it is of has failed; the first word counts."""
        self._error_type = self._error_type or error_type

    def end(self, end_time: int | None = None) -> None:
        """What it is of has ended, now."""
        record(
            self._name,
            self._context,
            self._parent,
            kind=self._kind,
            start_ns=self._start_ns,
            attributes=self._attributes,
            links=[Link(each) for each in self._links[:LINKS_MAX]],
            error_type=self._error_type,
        )


@contextmanager
def current(span: Span) -> Iterator[Span]:
    """Let a span be that of what goes on, and end with it."""
    token = contexts.attach(trace.set_span_in_context(span))
    try:
        yield span
    finally:
        contexts.detach(token)
        span.end()


@contextmanager
def working(span: Span) -> Iterator[Span]:
    """The same around some work; where that fails, so has the span."""
    with current(span):
        try:
            yield span
        except Exception as error:
            span.failed(type(error).__name__)
            raise


def job_span(name: str) -> AbstractContextManager[Span]:
    """The span of one round of a job that nobody called; `metrics.job` measures it as well."""
    made = Span(f"job {name}", kind=SpanKind.INTERNAL, attributes={"liandong.job": name})
    return working(made)


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
