"""
The public read model: what the services publish of a county, asked once in a while and kept here.

Nobody is asked who he is, so that nothing of a question may reach the services: they are asked on
our own account, as `CALLER`, at most once in `FRESH_SECONDS` for each county that follows a
programme, however many people look. The events do not carry what is shown (the lines of a
publication, the parts of a case, how many ratings are on notice), so the services are asked. The
caller's role is the auditor's, who reads and never writes, and its county the one that is asked
about; what it gets is cut here to what names nobody. Each of its calls is in the access log.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import Message
from liandong.credit.v1 import areas_pb2, reviews_pb2
from liandong.funds.v1 import funds_pb2
from liandong.gateway.v1 import public_pb2 as pb
from liandong.loans.v1 import notices_pb2

from gateway.access_log import AccessLog, Entry
from gateway.forward import Backends, passed_on
from gateway.onward import BY_METHOD
from gateway.spans import Span
from services.kernel import ids, wire
from services.kernel.caller import Caller, Signer, body_hash
from services.kernel.clock import recorded_time
from services.kernel.errors import LiandongError, NotFound, Unavailable
from services.programmes.loader import Catalogue
from services.programmes.schema.deployment import InstitutionRole as Role
from services.programmes.schema.pack import Pack

R = TypeVar("R", bound=Message)

CALLER: Final = "public-read-model"
PURPOSE: Final = "statistics"
FRESH_SECONDS: Final = 60.0
STALE_SECONDS_MAX: Final = 24 * 3_600.0
"""How long what was read is shown while a service is away; every answer says when it was read."""
ASK_SECONDS_MAX: Final = 20.0
NOTICES_MAX: Final = 200
LINES_MAX: Final = 100
COMPENSATIONS_MAX: Final = 200
PAGES_MAX: Final = 10
"""Of a list of a service, 500 entries each; what is beyond is said to be cut."""
PAGE_SIZE: Final = 500

_KINDS: Final = {
    notices_pb2.PUBLICATION_KIND_LOANS: pb.NOTICE_KIND_LOANS,
    notices_pb2.PUBLICATION_KIND_SUBSIDY: pb.NOTICE_KIND_SUBSIDY,
    notices_pb2.PUBLICATION_KIND_COMPENSATIONS: pb.NOTICE_KIND_COMPENSATIONS,
    notices_pb2.PUBLICATION_KIND_TOTALS: pb.NOTICE_KIND_TOTALS,
}
_DONE: Final = (funds_pb2.CASE_STATE_PAID, funds_pb2.CASE_STATE_CLOSED)


@dataclass(frozen=True, slots=True)
class Published:
    """What is public in a county, as it was read."""

    today: date
    notices: tuple[pb.PublicNotice, ...]
    notices_cut: bool
    compensations: tuple[pb.PublishedCompensation, ...]
    compensations_cut: bool
    read_at: datetime


class PublicModel:
    """Holds what is public, county by county."""

    def __init__(
        self,
        read: Callable[[str], Awaitable[Published]],
        catalogue: Catalogue,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._catalogue = catalogue
        self._clock = clock
        self._held: dict[str, tuple[float, Published]] = {}
        self._turn = {county: asyncio.Lock() for county in catalogue.counties()}

    async def of(self, county_code: str) -> Published:
        """What is public in a county; read anew when it is old, by one caller for all."""
        turn = self._turn.get(county_code)
        if turn is None:
            raise NotFound(
                "COUNTY_UNKNOWN", f"no programme in {county_code}", message_zh="该县未采用任何方案"
            )
        async with turn:
            read_at, held = self._held.get(county_code, (float("-inf"), None))
            if held is not None and self._clock() - read_at < FRESH_SECONDS:
                return held
            try:
                found = await self._read(county_code)
            except (LiandongError, grpc.aio.AioRpcError) as error:
                if held is None or self._clock() - read_at > STALE_SECONDS_MAX:
                    raise _away() from error
                return held
            self._held[county_code] = (self._clock(), found)
            return found

    def packs(self, county_code: str, today: date) -> list[tuple[str, Pack]]:
        """The programmes that a county follows on a day, by their refs."""
        refs = [each.programme for each in self._catalogue.adoptions(county_code, today)]
        return [(ref, self._catalogue.terms(county_code, ref).pack) for ref in refs]


class Reader:
    """Asks the services on our own account."""

    def __init__(self, backends: Backends, signer: Signer, access_log: AccessLog) -> None:
        self._backends = backends
        self._signer = signer
        self._log = access_log

    async def read(self, county_code: str) -> Published:
        """What is public in a county now."""
        coverage = await self._ask(
            county_code,
            "liandong.credit.v1.CreditService/GetCoverage",
            areas_pb2.GetCoverageRequest(
                county_code=county_code, level=areas_pb2.COVERAGE_LEVEL_COUNTY, page_size=1
            ),
            areas_pb2.GetCoverageResponse,
        )
        today = wire.date_from_proto("as_of", coverage.as_of)
        published, cut = await self._publications(county_code)
        ratings, more_ratings = await self._ratings(county_code, today)
        cases, more_cases = await self._cases(county_code)
        running = [_case_notice(each) for each in cases if _runs(each, today)]
        done = [each for each in cases if each.state in _DONE and each.HasField("notice_until")]
        done.sort(key=lambda each: (_day(each, "filed_on"), each.case_id), reverse=True)
        notices = [*published, *running, *ratings]
        return Published(
            today=today,
            notices=tuple(notices[:NOTICES_MAX]),
            notices_cut=cut or more_ratings or more_cases or len(notices) > NOTICES_MAX,
            compensations=tuple(_compensation(each) for each in done[:COMPENSATIONS_MAX]),
            compensations_cut=more_cases or len(done) > COMPENSATIONS_MAX,
            read_at=recorded_time(),
        )

    async def _publications(self, county_code: str) -> tuple[list[pb.PublicNotice], bool]:
        found, cut = await self._all(
            county_code,
            "liandong.loans.v1.NoticesService/ListPublications",
            notices_pb2.ListPublicationsRequest(county_code=county_code, public_only=True),
            notices_pb2.ListPublicationsResponse,
            "publications",
        )
        newest = sorted(found, key=lambda each: each.publication_id, reverse=True)[:NOTICES_MAX]
        notices = []
        for one in newest:
            answer = await self._ask(
                county_code,
                "liandong.loans.v1.NoticesService/GetPublication",
                notices_pb2.GetPublicationRequest(
                    county_code=county_code,
                    publication_id=one.publication_id,
                    page_size=LINES_MAX,
                ),
                notices_pb2.GetPublicationResponse,
            )
            notices.append(_publication(answer))
        return notices, cut or len(found) > NOTICES_MAX

    async def _ratings(self, county_code: str, today: date) -> tuple[list[pb.PublicNotice], bool]:
        """How many ratings of a village hang out until when; never whose."""
        found, cut = await self._all(
            county_code,
            "liandong.credit.v1.CreditService/ListReviews",
            reviews_pb2.ListReviewsRequest(
                county_code=county_code, state=reviews_pb2.REVIEW_STATE_ON_NOTICE
            ),
            reviews_pb2.ListReviewsResponse,
            "reviews",
        )
        counted = Counter(
            (_day(each, "notice_to"), each.programme, each.area_code[:12])
            for each in found
            if _day(each, "notice_to") >= today.isoformat()
        )
        return [
            pb.PublicNotice(
                kind=pb.NOTICE_KIND_RATINGS,
                programme=programme,
                area_code=area_code,
                public_until=wire.date_to_proto(date.fromisoformat(until)),
                lines_in_all=1,
                lines=[pb.NoticeLine(area_code=area_code, count=count)],
            )
            for (until, programme, area_code), count in sorted(counted.items())
        ], cut

    async def _cases(self, county_code: str) -> tuple[list[funds_pb2.CompensationCase], bool]:
        cases: list[funds_pb2.CompensationCase] = []
        cut = False
        for state in (funds_pb2.CASE_STATE_PUBLISHED, *_DONE):
            found, more = await self._all(
                county_code,
                "liandong.funds.v1.FundsService/ListCompensationCases",
                funds_pb2.ListCompensationCasesRequest(county_code=county_code, state=state),
                funds_pb2.ListCompensationCasesResponse,
                "cases",
            )
            cases += found
            cut = cut or more
        return cases, cut

    async def _all(
        self, county_code: str, method: str, request: Any, answer: type[R], name: str
    ) -> tuple[list[Any], bool]:
        """The entries of a list, page by page within bounds, and whether there are more."""
        request.page_size = PAGE_SIZE
        found: list[Any] = []
        pages = 0
        async for page in self._pages(county_code, method, request, answer):
            found += getattr(page, name)
            pages += 1
            if pages == PAGES_MAX and page.next_page_token:
                return found, True
        return found, False

    async def _pages(
        self, county_code: str, method: str, request: Any, answer: type[R]
    ) -> AsyncIterator[Any]:
        while True:
            page: Any = await self._ask(county_code, method, request, answer)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def _ask(self, county_code: str, method: str, request: Message, answer: type[R]) -> R:
        """Ask a service on our own account; recorded like everybody's call."""
        route, body = BY_METHOD[method], request.SerializeToString()
        self._log.require_room()
        digest, span = body_hash(body), Span.of_client(route.path, "")
        caller = Caller(
            institution_id=CALLER,
            role=Role.AUDITOR,
            person_id="",
            county_code=county_code,
            areas=(),
            purpose=PURPOSE,
            method=route.path,
            body_hash=digest,
        )
        outcome, called_at = grpc.StatusCode.OK, recorded_time()
        try:
            found = await self._backends.unary(
                route,
                route.noun,
                body,
                token=self._signer.sign(caller),
                seconds=ASK_SECONDS_MAX,
                span=span,
            )
        except grpc.aio.AioRpcError as error:
            outcome = passed_on(error, route.noun).code
            raise
        finally:
            self._log.add(
                Entry(
                    call_id=ids.new_id(),
                    called_at=called_at,
                    peer="",
                    institution_id=CALLER,
                    person_id="",
                    method=method,
                    service=route.noun,
                    county_code=county_code,
                    purpose=PURPOSE,
                    decision="allowed",
                    reason="",
                    outcome=outcome.name,
                    body_hash=digest,
                    trace_id=span.trace_id(),
                )
            )
        return answer.FromString(found)


def _day(message: Any, name: str) -> str:
    value = getattr(message, name)
    return f"{value.year:04d}-{value.month:02d}-{value.day:02d}" if message.HasField(name) else ""


def _runs(case: funds_pb2.CompensationCase, today: date) -> bool:
    published = case.state == funds_pb2.CASE_STATE_PUBLISHED
    return published and _day(case, "notice_until") >= today.isoformat()


def _publication(answer: notices_pb2.GetPublicationResponse) -> pb.PublicNotice:
    one = answer.publication
    return pb.PublicNotice(
        kind=_KINDS[one.kind],
        programme=one.programme_id,
        area_code=one.area_code,
        first=one.first,
        last=one.last,
        public_until=one.ends_on,
        lines_in_all=one.lines,
        lines=[
            pb.NoticeLine(
                area_code=line.area_code,
                lender_id=line.lender_id,
                count=line.loans,
                amount_fen=line.amount_fen,
                on=line.on if line.HasField("on") else None,
            )
            for line in answer.lines
        ],
    )


def _case_notice(case: funds_pb2.CompensationCase) -> pb.PublicNotice:
    return pb.PublicNotice(
        kind=pb.NOTICE_KIND_COMPENSATION_CASE,
        programme=case.programme,
        area_code=case.county_code,
        public_until=case.notice_until,
        lines_in_all=1,
        lines=[
            pb.NoticeLine(
                area_code=case.county_code,
                lender_id=case.lender_id,
                count=1,
                amount_fen=case.loss_fen,
                on=case.filed_on if case.HasField("filed_on") else None,
            )
        ],
    )


def _compensation(case: funds_pb2.CompensationCase) -> pb.PublishedCompensation:
    return pb.PublishedCompensation(
        lender_id=case.lender_id,
        programme=case.programme,
        cause=case.cause,
        loss_fen=case.loss_fen,
        shares=[
            pb.PublishedShare(party=part.party, amount_fen=part.amount_fen, paid_fen=part.paid_fen)
            for part in case.parts
        ],
        filed_on=case.filed_on if case.HasField("filed_on") else None,
    )


def _away() -> Unavailable:
    return Unavailable(
        "PUBLIC_MODEL_UNAVAILABLE",
        "the services do not answer, and nothing was read lately",
        message_zh="公开信息暂时不可用,请稍后重试",
    )
