"""A desk: one request of one signed-in person, with what it may ask and how it is shown."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import Message
from google.type.date_pb2 import Date
from liandong.common.v1 import operator_pb2
from liandong.credit.v1 import areas_pb2
from liandong.gateway.v1 import gateway_pb2
from liandong.households.v1 import households_pb2
from liandong.loans.v1 import reports_pb2
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from gateway.access import may_call
from gateway.console.callers import Caller
from gateway.console.looks import Looks
from gateway.console.sessions import Running, Session
from gateway.console.settings import ConsoleSettings
from gateway.console.wording import Language

PAGE = 500
WHO = "liandong.gateway.v1.GatewayService/WhoAmI"
INSTITUTIONS = "liandong.gateway.v1.GatewayService/ListInstitutions"
AREAS = "liandong.households.v1.HouseholdsService/ListAreas"
COVERAGE = "liandong.credit.v1.CreditService/GetCoverage"
REPORT = "liandong.loans.v1.ReportsService/GetReport"
TOTALS = "liandong.common.v1.OperatorService/GetTotals"
ABOVE_COUNTIES = "000000"
RUNNING_MAX = 8
"""Of one session, what is being worked out at once."""
TODAY_SECONDS = 60.0
T = TypeVar("T")
NOT_YOURS: Final = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.NOT_FOUND)


@dataclass(frozen=True, slots=True)
class Today:
    """A county's business date, as it was told at a moment."""

    on: date
    asked: float


class TooLong(RuntimeError):
    """What was being worked out was not ready by the bound of the call."""


class Hidden(LookupError):
    """There is nothing here for this person: whether it exists is not said."""


@dataclass(slots=True)
class Desk:
    """What a page is made with."""

    request: Request
    session: Session
    caller: Caller
    looks: Looks
    settings: ConsoleSettings
    language: Language
    institution: gateway_pb2.Institution
    county: str

    @property
    def role(self) -> str:
        """The institution's role."""
        return self.institution.role

    def say(self, zh: str, en: str) -> str:
        """The one of two texts that is in this person's language."""
        return zh if self.language == "zh" else en

    def may(self, *methods: str) -> bool:
        """Whether the role may call one of these at all; the gateway decides on each thing."""
        return any(may_call(self.role, method) for method in methods)

    async def ask(self, method: str, request: Message, service: str = "") -> Any:
        """Ask the gateway as this person."""
        if not self.may(method):
            raise Hidden(method)
        # These add up every loan of a county: they may take as long as the gateway lets them.
        seconds = self.settings.report_seconds if method in (REPORT, TOTALS) else 0
        return await self.caller.ask(
            self.session.person_id, method, request, service, seconds=seconds
        )

    async def when_ready(self, key: str, make: Callable[[], Awaitable[T]]) -> T | None:
        """
        What takes long, or None while it is being worked out: the page then asks again.

        However often a person asks meanwhile, it is worked out once, and given once.
        """
        running, now = self.session.running, time.monotonic()
        for name in [name for name, each in running.items() if each.is_stale(now)]:
            running.pop(name).task.cancel()
        if key not in running:
            if len(running) >= RUNNING_MAX:
                return None
            running[key] = Running(asyncio.ensure_future(make()), now)
        task = running[key].task
        await asyncio.wait({task}, timeout=self.settings.page_seconds)
        if not task.done():
            return None
        running.pop(key, None)
        try:
            found: T = task.result()
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise TooLong(key) from error
            raise
        return found

    async def ask_if_mine(self, method: str, request: Message, service: str = "") -> Any:
        """The answer, or None where it is not this person's to know or there is none yet."""
        if not self.may(method):
            return None
        try:
            return await self.ask(method, request, service)
        except grpc.aio.AioRpcError as error:
            if error.code() in (*NOT_YOURS, grpc.StatusCode.FAILED_PRECONDITION):
                return None
            raise

    async def all_pages(
        self, method: str, request: Any, field: str, service: str = ""
    ) -> tuple[list[Any], bool]:
        """Every page up to a bound, and whether something was left out; none if not one's own."""
        asked = type(request)()
        asked.CopyFrom(request)
        asked.page_size = PAGE
        found: list[Any] = []
        for _ in range(self.settings.pages_read_max):
            answer = await self.ask_if_mine(method, asked, service)
            if answer is None:
                return found, False
            found.extend(getattr(answer, field))
            asked.page_token = answer.next_page_token
            if not asked.page_token:
                return found, False
        return found, True

    # --- what every page needs, asked once a session ----------------------------------------------

    @property
    def counties(self) -> tuple[str, ...]:
        """The counties that the institution works in."""
        return counties_of(self.institution)

    async def names(self) -> dict[str, str]:
        """Institutions of the county, by id."""
        key = f"names:{self.county}:{self.language}"
        if key not in self.session.facts:
            request = gateway_pb2.ListInstitutionsRequest(county_code=self.county)
            listed, _ = await self.all_pages(INSTITUTIONS, request, "institutions")
            self.session.facts[key] = {
                each.institution_id: each.name_zh if self.language == "zh" else each.name
                for each in listed
            }
        found = self.session.facts[key]
        assert isinstance(found, dict)
        return found

    async def areas(self) -> dict[str, str]:
        """Areas of the county, by code; empty for who may not read the registry."""
        key = f"areas:{self.county}"
        if key not in self.session.facts:
            request = households_pb2.ListAreasRequest(county_code=self.county)
            listed, _ = await self.all_pages(AREAS, request, "areas")
            if not listed:
                return {}
            self.session.facts[key] = {each.area_code: each.name for each in listed}
        found = self.session.facts[key]
        assert isinstance(found, dict)
        return found

    async def today(self) -> date | None:
        """The county's business date; None before its first day."""
        key, now = f"today:{self.county}", time.monotonic()
        known = self.session.facts.get(key)
        if isinstance(known, Today) and now - known.asked < TODAY_SECONDS:
            return known.on
        on = await self._today()
        if on is not None:
            self.session.facts[key] = Today(on, now)
        return on

    async def _today(self) -> date | None:
        if self.may(COVERAGE):
            covered = await self.ask_if_mine(
                COVERAGE,
                areas_pb2.GetCoverageRequest(
                    county_code=self.county, level=areas_pb2.COVERAGE_LEVEL_COUNTY, page_size=1
                ),
            )
            return None if covered is None else _date(covered.as_of)
        if self.may(REPORT):
            request = reports_pb2.GetReportRequest(
                county_code=self.county,
                period=reports_pb2.REPORT_PERIOD_DAY,
                page_size=1,
                brief=True,
            )
            answer = await self.ask_if_mine(REPORT, request)
            return None if answer is None else _date(answer.as_of)
        if self.may(TOTALS):
            totals = operator_pb2.GetTotalsRequest(county_code=self.county, positions_only=True)
            answer = await self.ask_if_mine(TOTALS, totals, "loans")
            return None if answer is None else _date(answer.business_date)
        return None

    # --- showing ----------------------------------------------------------------------------------

    async def page(self, template: str, *, status: int = 200, **values: Any) -> Response:
        """A whole page, or only its part for a page that asked for a part."""
        names, areas = await asyncio.gather(self.names(), self.areas())
        html = self.looks.render(
            template,
            self.language,
            desk=self,
            names=names,
            areas=areas,
            path=self.request.url.path,
            csrf=self.session.csrf,
            **values,
        )
        return HTMLResponse(html, status_code=status)


def counties_of(institution: gateway_pb2.Institution) -> tuple[str, ...]:
    """The counties of an institution's areas, or its own."""
    found = {area[:6] for area in institution.areas if len(area) >= 6}
    if not found and institution.county_code != ABOVE_COUNTIES:
        found = {institution.county_code}
    return tuple(sorted(found))


def _date(value: Date) -> date | None:
    return date(value.year, value.month, value.day) if value.year else None


def proto_day(value: date) -> Date:
    """A day for the wire."""
    return Date(year=value.year, month=value.month, day=value.day)


def chosen(value: str, among: Sequence[str], default: str = "") -> str:
    """A value of a query string, if it is one of those there are."""
    return value if value in among else default
