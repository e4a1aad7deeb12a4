"""One trace through the door: a span for the client's call, one for the call to the service."""

import uuid

import pytest
from liandong.loans.v1 import loans_pb2, loans_pb2_grpc
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.kernel import telemetry
from tests.eventually import eventually
from tests.gateway.conftest import House

pytestmark = [pytest.mark.postgres, pytest.mark.nats]


async def test_the_clients_trace_goes_on_to_the_service(house: House) -> None:
    kept = InMemorySpanExporter()
    telemetry._providers["gateway"].add_span_processor(SimpleSpanProcessor(kept))
    trace_id = uuid.uuid4().hex
    stub = loans_pb2_grpc.LoansServiceStub(house.as_institution("bank-1"))

    await stub.GetLoan(
        loans_pb2.GetLoanRequest(county_code="123456", loan_id=str(uuid.uuid4())),
        metadata=(("traceparent", f"00-{trace_id}-{'1' * 16}-01"),),
    )

    async def of_the_call() -> dict[trace.SpanKind, ReadableSpan]:
        return {
            span.kind: span
            for span in kept.get_finished_spans()
            if format(span.context.trace_id, "032x") == trace_id
        }

    spans = await eventually(of_the_call, lambda found: len(found) == 2)
    server, client = spans[trace.SpanKind.SERVER], spans[trace.SpanKind.CLIENT]
    assert client.parent is not None
    assert client.parent.span_id == server.context.span_id
    assert dict(server.attributes or {})[telemetry.INSTITUTION] == "bank-1"
    handed_on = str(house.seen.metadata[-1]["traceparent"])
    assert handed_on.split("-")[1:3] == [trace_id, format(client.context.span_id, "016x")]
    assert (await house.logged("bank-1"))[-1]["trace_id"] == trace_id
