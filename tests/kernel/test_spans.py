"""Spans: written down when they have ended, where their trace is kept or they failed."""

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from services.kernel import telemetry


def a_span(*, sampled: bool) -> telemetry.Span:
    parent = telemetry.new_context(7, sampled=sampled)
    return telemetry.Span("some work", kind=SpanKind.SERVER, attributes={"at": 1}, parent=parent)


def test_while_it_lasts_it_is_the_current_one_and_then_it_is_written(
    spans: InMemorySpanExporter,
) -> None:
    before = trace.get_current_span()
    with telemetry.current(a_span(sampled=True)) as span:
        assert trace.get_current_span() is span
        assert span.is_recording()
        span.set_attribute("more", "said")
        assert not spans.get_finished_spans()

    assert trace.get_current_span() is before
    (found,) = spans.get_finished_spans()
    assert found.context == span.get_span_context()
    assert (found.context.trace_id, found.name) == (7, "some work")
    assert dict(found.attributes or {}) == {"at": 1, "more": "said"}
    assert found.status.status_code is StatusCode.UNSET


def test_one_that_is_not_kept_is_written_only_where_it_failed(spans: InMemorySpanExporter) -> None:
    with telemetry.working(a_span(sampled=False)) as span:
        assert not span.is_recording()
    assert not spans.get_finished_spans()

    with pytest.raises(KeyError), telemetry.working(a_span(sampled=False)):
        raise KeyError("王芳")

    (found,) = spans.get_finished_spans()
    attributes = dict(found.attributes or {})
    assert attributes[telemetry.LATE] is True
    assert attributes[telemetry.ERROR_TYPE] == "KeyError"
    assert found.status.status_code is StatusCode.ERROR
    assert "王芳" not in f"{attributes}{found.status.description}{found.events}"


def test_one_without_a_parent_begins_a_trace_that_is_kept_by_chance_or_because_it_must(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = telemetry.Span("a job", kind=SpanKind.INTERNAL, attributes={})
    assert made.get_span_context().is_valid
    assert made.is_recording(), "of new traces this test keeps every one"

    monkeypatch.setattr(telemetry, "_ratio_bounds", {})
    assert not telemetry.Span("a job", kind=SpanKind.INTERNAL, attributes={}).is_recording()
    assert telemetry.Span("x", kind=SpanKind.INTERNAL, attributes={}, keep=True).is_recording()


def test_it_links_no_more_than_may_be(spans: InMemorySpanExporter) -> None:
    links = [telemetry.new_context(sampled=True) for _ in range(telemetry.LINKS_MAX + 1)]
    telemetry.Span("x", kind=SpanKind.CONSUMER, attributes={}, links=links, keep=True).end()

    (found,) = spans.get_finished_spans()
    assert [link.context for link in found.links] == links[:-1]
