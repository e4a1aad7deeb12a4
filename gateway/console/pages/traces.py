"""Traces: the waterfall of one, from the store of spans on this machine, or where Jaeger has it."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from starlette.responses import RedirectResponse, Response

from gateway.console.desk import TOTALS, Desk, Hidden
from gateway.console.traces import Span

TRACE = re.compile(r"[0-9a-f]{32}")
ROWS_MAX = 500
WIDTH = 1_000
NS_PER_MS = 1_000_000
NEWEST = 100
INSTITUTION = "liandong.institution_id"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the waterfall."""

    depth: int
    span: Span
    left: int
    width: int
    after_ms: float
    took_ms: float


def sees_all(desk: Desk) -> bool:
    """Operators and auditors see every trace; others those that their own calls began."""
    return desk.may(TOTALS)


async def traces(desk: Desk) -> Response:
    """The newest traces, or those with an error: for operators and auditors."""
    store = desk.request.state.console.traces
    if not sees_all(desk) or store is None:
        raise Hidden("traces")
    failed = desk.request.query_params.get("failed") == "1"
    read = store.failed if failed else store.newest
    return await desk.page(
        "traces.html", traces=await asyncio.to_thread(read, NEWEST), failed=failed
    )


async def trace(desk: Desk) -> Response:
    """One trace."""
    trace_id = str(desk.request.path_params["id"]).lower()
    if not TRACE.fullmatch(trace_id):
        raise Hidden(trace_id)
    store = desk.request.state.console.traces
    spans = [] if store is None else list(await asyncio.to_thread(store.trace, trace_id))
    if not spans and desk.settings.jaeger_url and sees_all(desk):
        return RedirectResponse(f"{desk.settings.jaeger_url}/trace/{trace_id}", status_code=303)
    if not spans or not (sees_all(desk) or _began(desk, spans)):
        raise Hidden(trace_id)
    rows = list(_rows(spans))
    return await desk.page(
        "trace.html",
        trace_id=trace_id,
        rows=rows[:ROWS_MAX],
        left_out=max(0, len(rows) - ROWS_MAX),
        total_ms=(max(s.end_ns for s in spans) - spans[0].start_ns) / NS_PER_MS,
        services=tuple(dict.fromkeys(row.span.service for row in rows)),
        links=sorted({link.trace_id for span in spans for link in span.links} - {trace_id})[:20],
    )


async def shown_of(desk: Desk, trace_ids: set[str]) -> set[str]:
    """Of some traces, those that a link may lead this person to."""
    store = desk.request.state.console.traces
    if desk.settings.jaeger_url and sees_all(desk):
        return trace_ids
    if store is None:
        return set()

    def look() -> set[str]:
        found = ((trace_id, list(store.trace(trace_id))) for trace_id in trace_ids)
        return {key for key, spans in found if spans and (sees_all(desk) or _began(desk, spans))}

    return await asyncio.to_thread(look)


def _began(desk: Desk, spans: Sequence[Span]) -> bool:
    """Whether the institution's own call is what the trace began with."""
    known = {span.span_id for span in spans}
    roots = [span for span in spans if span.parent_id not in known]
    own = desk.institution.institution_id
    named = [span.attributes.get(INSTITUTION) for span in roots] + [
        span.attributes.get(INSTITUTION) for span in spans if span.service == "gateway"
    ]
    said = [each for each in named if each]
    return bool(said) and all(each == own for each in said)


def _rows(spans: Sequence[Span]) -> Iterator[Row]:
    """Children under their parents, each where it lies in the whole time."""
    known = {span.span_id for span in spans}
    children: dict[str, list[Span]] = {}
    for span in sorted(spans, key=lambda each: each.start_ns):
        children.setdefault(span.parent_id if span.parent_id in known else "", []).append(span)
    begin = min(span.start_ns for span in spans)
    whole = max(1, max(span.end_ns for span in spans) - begin)
    waiting = [(span, 0) for span in reversed(children.get("", []))]
    while waiting:
        span, depth = waiting.pop()
        took = span.end_ns - span.start_ns
        yield Row(
            depth=depth,
            span=span,
            left=(span.start_ns - begin) * WIDTH // whole,
            width=max(2, took * WIDTH // whole),
            after_ms=(span.start_ns - begin) / NS_PER_MS,
            took_ms=took / NS_PER_MS,
        )
        waiting.extend((child, depth + 1) for child in reversed(children.get(span.span_id, [])))
