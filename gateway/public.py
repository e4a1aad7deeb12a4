"""
The public door: what everybody may read, at an address of its own, over TLS, without a certificate.

It is off unless an address is set. Calls are counted and not recorded one by one: nobody is known,
and a flood of strangers must not become one of the access log. What they cost is bounded for each
address and for all together. Behind a balancer its addresses are what is counted.
"""

import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar

import grpc
import structlog
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from liandong.gateway.v1 import public_pb2 as pb
from liandong.gateway.v1 import public_pb2_grpc

from gateway import disclosures
from gateway.public_model import PublicModel, Published
from gateway.server import Server
from gateway.turnstile import Turnstile, per_second
from services.kernel import rpc, status, telemetry
from services.kernel.errors import LiandongError
from services.kernel.rpc import Context

Q = TypeVar("Q", bound=Message)
R = TypeVar("R", bound=Message)

SERVICE_NAME: Final = "liandong.gateway.v1.PublicService"
QUESTION_BYTES_MAX: Final = 1_024
OPTIONS: Final = (
    ("grpc.max_receive_message_length", QUESTION_BYTES_MAX),
    ("grpc.max_concurrent_streams", 16),
    ("grpc.max_connection_idle_ms", 60_000),
    ("grpc.max_connection_age_ms", 600_000),
    ("grpc.max_connection_age_grace_ms", 30_000),
    ("grpc.http2.max_ping_strikes", 2),
)

log = structlog.get_logger(__name__)


def address_of(peer: str) -> str:
    """The address of `ipv4:192.0.2.1:5000` without its port, of IPv6 its network of 64 bits."""
    kind, _, rest = peer.partition(":")
    host = rest.rpartition(":")[0]
    if kind == "ipv6":
        host = ":".join(host.replace("%5B", "").strip("[]").split(":")[:4])
    return f"{kind}:{host}"


class PublicServicer(public_pb2_grpc.PublicServiceServicer):
    """Answers from the read model and the packs."""

    def __init__(self, model: PublicModel, turnstile: Turnstile) -> None:
        self._model = model
        self._turnstile = turnstile

    async def ListDisclosures(
        self, request: pb.ListDisclosuresRequest, context: Context
    ) -> pb.ListDisclosuresResponse:
        """The five sections of each programme."""

        async def work() -> pb.ListDisclosuresResponse:
            held = await self._model.of(request.county_code)
            return pb.ListDisclosuresResponse(
                programmes=[
                    pb.ProgrammeDisclosure(
                        programme=ref,
                        title_zh=pack.programme.title.zh,
                        title=pack.programme.title.en,
                        demanded=disclosures.demands(pack),
                        sections=[_section(each) for each in disclosures.five(pack)],
                    )
                    for ref, pack in self._model.packs(request.county_code, held.today)
                ]
            )

        return await self._served(request, context, work)

    async def ListPlainSheets(
        self, request: pb.ListPlainSheetsRequest, context: Context
    ) -> pb.ListPlainSheetsResponse:
        """A sheet for each product."""

        async def work() -> pb.ListPlainSheetsResponse:
            held = await self._model.of(request.county_code)
            answer = pb.ListPlainSheetsResponse()
            for ref, pack in self._model.packs(request.county_code, held.today):
                for product in pack.loan_products:
                    lines = disclosures.plain_sheet(product)
                    answer.sheets.add(
                        programme=ref,
                        product_id=product.id,
                        title_zh=product.title.zh,
                        title=product.title.en,
                        lines_zh=[zh for zh, _ in lines],
                        lines=[en for _, en in lines],
                    )
            return answer

        return await self._served(request, context, work)

    async def ListRunningNotices(
        self, request: pb.ListRunningNoticesRequest, context: Context
    ) -> pb.ListRunningNoticesResponse:
        """What hangs out now."""

        async def work() -> pb.ListRunningNoticesResponse:
            held = await self._model.of(request.county_code)
            return pb.ListRunningNoticesResponse(
                notices=held.notices, read_time=_read_time(held), cut=held.notices_cut
            )

        return await self._served(request, context, work)

    async def ListPublishedCompensations(
        self, request: pb.ListPublishedCompensationsRequest, context: Context
    ) -> pb.ListPublishedCompensationsResponse:
        """What was compensated after it had hung out."""

        async def work() -> pb.ListPublishedCompensationsResponse:
            held = await self._model.of(request.county_code)
            return pb.ListPublishedCompensationsResponse(
                compensations=held.compensations,
                read_time=_read_time(held),
                cut=held.compensations_cut,
            )

        return await self._served(request, context, work)

    async def _served(self, request: Q, context: Context, work: Callable[[], Awaitable[R]]) -> R:
        """Within the rates, checked; what goes wrong leaves as a documented code."""
        method = request.DESCRIPTOR.name.removesuffix("Request")
        try:
            gates = self._turnstile.enter(address_of(context.peer()))
            try:
                rpc.check(request)
                answer = await work()
            finally:
                self._turnstile.leave(gates)
        except LiandongError as error:
            telemetry.count("liandong.public.refused", method=method, reason=error.reason)
            await status.abort(context, error)
            raise AssertionError("abort raises") from error
        except Exception:
            opaque = uuid.uuid4().hex
            log.exception("public_call_fails", method=method, error_id=opaque)
            await context.abort(grpc.StatusCode.INTERNAL, f"internal error {opaque}")
        telemetry.count("liandong.public.served", method=method)
        return answer


def _section(section: disclosures.Section) -> pb.DisclosureSection:
    return pb.DisclosureSection(
        section=section.name,
        title_zh=section.title[0],
        title=section.title[1],
        lines_zh=[zh for zh, _ in section.lines],
        lines=[en for _, en in section.lines],
    )


def _read_time(held: Published) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(held.read_at)
    return stamp


def server_of(
    model: PublicModel,
    *,
    address: str,
    cert_path: Path,
    key_path: Path,
    calls_per_second: int,
    address_calls_per_second: int,
) -> Server:
    """The public door's server."""
    made = Server(
        address=address,
        # Whoever comes is nobody; we still show who we are.
        credentials=grpc.ssl_server_credentials([(key_path.read_bytes(), cert_path.read_bytes())]),
        concurrent_rpcs_max=4 * calls_per_second,
        options=OPTIONS,
    )
    turnstile = Turnstile(
        per_second(calls_per_second), per_second(address_calls_per_second), of="address"
    )
    servicer = PublicServicer(model, turnstile)
    public_pb2_grpc.add_PublicServiceServicer_to_server(servicer, made.server)
    made.offer(SERVICE_NAME)
    return made
