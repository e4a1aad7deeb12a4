"""Spans of one machine: an OTLP endpoint over a bounded SQLite file, for those without Jaeger."""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

SPANS_MAX = 200_000
TRACE_SPANS_MAX = 2_000
"""Of one trace, as far as anybody looks at it."""
TRACES_MAX = 200
"""Of one answer."""
LOOKED_AT_MAX = 20_000
"""The newest spans of which the newest traces are looked for."""
ATTRIBUTES_MAX = 64
TEXT_MAX = 1_000
LINKS_MAX = 128

VERSION = 2
_SCHEMA = """
CREATE TABLE IF NOT EXISTS span (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    trace_id TEXT NOT NULL,
    span_id TEXT NOT NULL,
    parent_id TEXT NOT NULL,
    service TEXT NOT NULL,
    name TEXT NOT NULL,
    kind INTEGER NOT NULL,
    start_ns INTEGER NOT NULL,
    end_ns INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    attributes TEXT NOT NULL,
    links TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS span_trace ON span (trace_id);
CREATE INDEX IF NOT EXISTS span_failed ON span (row) WHERE failed;
"""
_COLUMNS = (
    "trace_id, span_id, parent_id, service, name, kind, start_ns, end_ns, failed, attributes, links"
)


@dataclass(frozen=True, slots=True)
class SpanLink:
    """Another span that one has to do with: an event of a batch."""

    trace_id: str
    span_id: str


@dataclass(frozen=True, slots=True)
class StoredSpan:
    """One span, as far as a view of its trace needs it."""

    trace_id: str
    span_id: str
    parent_id: str
    service: str
    name: str
    kind: int
    start_ns: int
    end_ns: int
    failed: bool
    attributes: Mapping[str, Any] = field(default_factory=dict)
    links: tuple[SpanLink, ...] = ()


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """A trace in one line."""

    trace_id: str
    service: str
    """Of the span that began it."""
    name: str
    start_ns: int
    end_ns: int
    spans: int
    services: tuple[str, ...]
    failed: bool
    institution_id: str
    county_code: str


class SpanStore:
    """The newest spans, at most `SPANS_MAX`; older ones are forgotten."""

    def __init__(self, path: Path, *, reading: bool = False) -> None:
        """Open the file; `reading` for another process that looks at a running platform's spans."""
        if reading:
            uri = f"{path.resolve().as_uri()}?mode=ro"
            self._database = sqlite3.connect(uri, uri=True, check_same_thread=False)
            return
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = OFF")
        if self._database.execute("PRAGMA user_version").fetchone() != (VERSION,):
            # What an older version kept is worth less than the code that would turn it over.
            self._database.execute("DROP TABLE IF EXISTS span")
            self._database.execute(f"PRAGMA user_version = {VERSION}")
        self._database.executescript(_SCHEMA)

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def add(self, spans: Sequence[StoredSpan]) -> None:
        """Keep spans; the oldest beyond the bound go."""
        self._database.execute("BEGIN")
        self._database.executemany(
            f"INSERT INTO span ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            [
                (s.trace_id, s.span_id, s.parent_id, s.service, s.name, s.kind, s.start_ns,
                 s.end_ns, s.failed, json.dumps(dict(s.attributes), ensure_ascii=False),
                 json.dumps([(link.trace_id, link.span_id) for link in s.links]))
                for s in spans
            ],
        )  # fmt: skip
        self._database.execute(
            "DELETE FROM span WHERE row <= (SELECT max(row) FROM span) - ?", (SPANS_MAX,)
        )
        self._database.execute("COMMIT")

    def trace(self, trace_id: str) -> list[StoredSpan]:
        """The spans of one trace by their start, at most `TRACE_SPANS_MAX`; none when unknown."""
        rows = self._database.execute(
            f"SELECT {_COLUMNS} FROM span WHERE trace_id = ? ORDER BY start_ns LIMIT ?",  # noqa: S608
            (trace_id, TRACE_SPANS_MAX),
        )
        return [_stored(row) for row in rows]

    def newest(self, traces_max: int = 50) -> list[TraceSummary]:
        """The traces that came last, the newest first."""
        rows = self._database.execute(
            """SELECT trace_id FROM (SELECT trace_id, row FROM span ORDER BY row DESC LIMIT ?)
               GROUP BY trace_id ORDER BY max(row) DESC LIMIT ?""",
            (LOOKED_AT_MAX, min(traces_max, TRACES_MAX)),
        )
        return self._summaries([trace_id for (trace_id,) in rows])

    def failed(self, traces_max: int = 50) -> list[TraceSummary]:
        """The traces with a span that failed, the newest first."""
        rows = self._database.execute(
            """SELECT trace_id FROM (SELECT trace_id, row FROM span WHERE failed
                                     ORDER BY row DESC LIMIT ?)
               GROUP BY trace_id ORDER BY max(row) DESC LIMIT ?""",
            (LOOKED_AT_MAX, min(traces_max, TRACES_MAX)),
        )
        return self._summaries([trace_id for (trace_id,) in rows])

    def _summaries(self, trace_ids: Sequence[str]) -> list[TraceSummary]:
        return [summary(spans) for trace_id in trace_ids if (spans := self.trace(trace_id))]


def summary(spans: Sequence[StoredSpan]) -> TraceSummary:
    """A trace in one line; of one span at least."""
    known = {span.span_id for span in spans}
    root = next((span for span in spans if span.parent_id not in known), spans[0])

    def said(name: str) -> str:
        return next((str(s.attributes[name]) for s in spans if s.attributes.get(name)), "")

    return TraceSummary(
        trace_id=root.trace_id,
        service=root.service,
        name=root.name,
        start_ns=min(span.start_ns for span in spans),
        end_ns=max(span.end_ns for span in spans),
        spans=len(spans),
        services=tuple(dict.fromkeys(span.service for span in spans)),
        failed=any(span.failed for span in spans),
        institution_id=said("liandong.institution_id"),
        county_code=said("liandong.county_code"),
    )


def _stored(row: tuple[Any, ...]) -> StoredSpan:
    trace_id, span_id, parent_id, service, name, kind, start_ns, end_ns, failed, said, links = row
    return StoredSpan(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent_id,
        service=service,
        name=name,
        kind=kind,
        start_ns=start_ns,
        end_ns=end_ns,
        failed=bool(failed),
        attributes=json.loads(said),
        links=tuple(SpanLink(*each) for each in json.loads(links)),
    )


def _plain(value: AnyValue) -> Any:
    """An attribute's value as JSON has it."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(each) for each in value.array_value.values[:ATTRIBUTES_MAX]]
    if kind in ("bool_value", "int_value", "double_value"):
        return getattr(value, kind)
    return value.string_value[:TEXT_MAX]


def _attributes(found: Sequence[KeyValue]) -> dict[str, Any]:
    return {each.key[:TEXT_MAX]: _plain(each.value) for each in found[:ATTRIBUTES_MAX]}


def _read(request: trace_service_pb2.ExportTraceServiceRequest) -> list[StoredSpan]:
    return [
        StoredSpan(
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            service=str(_attributes(of_resource.resource.attributes).get("service.name", "")),
            name=span.name,
            kind=span.kind,
            start_ns=span.start_time_unix_nano,
            end_ns=span.end_time_unix_nano,
            failed=span.status.code == span.status.STATUS_CODE_ERROR,
            attributes=_attributes(span.attributes),
            links=tuple(
                SpanLink(link.trace_id.hex(), link.span_id.hex()) for link in span.links[:LINKS_MAX]
            ),
        )
        for of_resource in request.resource_spans
        for scope in of_resource.scope_spans
        for span in scope.spans
    ]


class SpanSink(trace_service_pb2_grpc.TraceServiceServicer):
    """The OTLP endpoint, on loopback only."""

    def __init__(self, store: SpanStore) -> None:
        self._store = store
        self._server: grpc.aio.Server | None = None
        self._port = 0

    @property
    def endpoint(self) -> str:
        """Where exporters send to."""
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = grpc.aio.server()
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(  # type: ignore[no-untyped-call]
            self, self._server
        )
        self._port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            await self._server.stop(1)
            self._server = None

    async def Export(  # noqa: N802 - the method's name in its proto
        self,
        request: trace_service_pb2.ExportTraceServiceRequest,
        context: "grpc.aio.ServicerContext[object, object]",
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        """Take a batch of spans in."""
        self._store.add(_read(request))
        return trace_service_pb2.ExportTraceServiceResponse()


NS_PER_MS = 1_000_000
SHOWN_MAX = 200


def walk(spans: Sequence[StoredSpan]) -> Iterator[tuple[int, StoredSpan]]:
    """A trace as a tree: each span with its depth, children under their parents by their start."""
    known = {span.span_id for span in spans}
    children: dict[str, list[StoredSpan]] = {}
    for span in spans:
        parent = span.parent_id if span.parent_id in known else ""
        children.setdefault(parent, []).append(span)
    waiting = [(span, 0) for span in reversed(children.pop("", []))]
    while waiting:
        span, depth = waiting.pop()
        yield depth, span
        waiting.extend((child, depth + 1) for child in reversed(children.pop(span.span_id, [])))


def tree(spans: Sequence[StoredSpan]) -> list[str]:
    """A trace as lines, children under their parents, each with its service and its time."""
    begin = min((span.start_ns for span in spans), default=0)
    lines: list[str] = []
    for depth, span in walk(spans):
        if len(lines) == SHOWN_MAX:
            break
        after = (span.start_ns - begin) // NS_PER_MS
        took = (span.end_ns - span.start_ns) // NS_PER_MS
        mark = "  !" if span.failed else ""
        lines.append(f"{'  ' * depth}{span.service}: {span.name}  +{after} ms, {took} ms{mark}")
    return lines
