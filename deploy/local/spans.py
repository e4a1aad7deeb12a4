"""Spans of one machine: an OTLP endpoint over a bounded SQLite file, for those without Jaeger."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

SPANS_MAX = 200_000

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
    failed INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS span_trace ON span (trace_id);
"""


@dataclass(frozen=True, slots=True)
class StoredSpan:
    """One span, as far as a tree of them needs it."""

    trace_id: str
    span_id: str
    parent_id: str
    service: str
    name: str
    kind: int
    start_ns: int
    end_ns: int
    failed: bool


class SpanStore:
    """The newest spans, at most `SPANS_MAX`; older ones are forgotten."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.executescript(_SCHEMA)

    def add(self, spans: Sequence[StoredSpan]) -> None:
        """Keep spans; the oldest beyond the bound go."""
        self._database.execute("BEGIN")
        self._database.executemany(
            """INSERT INTO span (trace_id, span_id, parent_id, service, name, kind, start_ns,
                                 end_ns, failed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)""",
            [
                (s.trace_id, s.span_id, s.parent_id, s.service, s.name, s.kind, s.start_ns,
                 s.end_ns, s.failed)
                for s in spans
            ],
        )  # fmt: skip
        self._database.execute(
            "DELETE FROM span WHERE row <= (SELECT max(row) FROM span) - ?", (SPANS_MAX,)
        )
        self._database.execute("COMMIT")

    def trace(self, trace_id: str) -> list[StoredSpan]:
        """The spans of one trace by their start."""
        rows = self._database.execute(
            """SELECT trace_id, span_id, parent_id, service, name, kind, start_ns, end_ns, failed
               FROM span WHERE trace_id = ? ORDER BY start_ns""",
            (trace_id,),
        )
        return [_stored(row) for row in rows]


def _stored(row: tuple[str, str, str, str, str, int, int, int, int]) -> StoredSpan:
    trace_id, span_id, parent_id, service, name, kind, start_ns, end_ns, failed = row
    return StoredSpan(
        trace_id, span_id, parent_id, service, name, kind, start_ns, end_ns, bool(failed)
    )


def _service(attributes: Sequence[KeyValue]) -> str:
    for attribute in attributes:
        if attribute.key == "service.name":
            return str(attribute.value.string_value)
    return ""


def _read(request: trace_service_pb2.ExportTraceServiceRequest) -> list[StoredSpan]:
    return [
        StoredSpan(
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            service=_service(of_resource.resource.attributes),
            name=span.name,
            kind=span.kind,
            start_ns=span.start_time_unix_nano,
            end_ns=span.end_time_unix_nano,
            failed=span.status.code == span.status.STATUS_CODE_ERROR,
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


def tree(spans: Sequence[StoredSpan]) -> list[str]:
    """A trace as lines, children under their parents, each with its service and its time."""
    known = {span.span_id for span in spans}
    children: dict[str, list[StoredSpan]] = {}
    for span in spans:
        parent = span.parent_id if span.parent_id in known else ""
        children.setdefault(parent, []).append(span)
    begin = min((span.start_ns for span in spans), default=0)
    lines: list[str] = []
    waiting = [(span, 0) for span in reversed(children.get("", []))]
    while waiting and len(lines) < SHOWN_MAX:
        span, depth = waiting.pop()
        after = (span.start_ns - begin) // NS_PER_MS
        took = (span.end_ns - span.start_ns) // NS_PER_MS
        mark = "  !" if span.failed else ""
        lines.append(f"{'  ' * depth}{span.service}: {span.name}  +{after} ms, {took} ms{mark}")
        waiting.extend((child, depth + 1) for child in reversed(children.get(span.span_id, [])))
    return lines
