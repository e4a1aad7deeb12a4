"""The overview: the county at a glance, its villages, breakers, coverage, balances and funds."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from liandong.common.v1 import operator_pb2
from liandong.credit.v1 import areas_pb2
from liandong.funds.v1 import accounts_pb2, funds_pb2, watch_pb2
from liandong.loans.v1 import loans_pb2, reports_pb2
from starlette.responses import RedirectResponse, Response

from gateway.console.desk import REPORT, TOTALS, Desk, TooLong, proto_day

BREAKERS = "liandong.loans.v1.LoansService/ListBreakers"
COVERAGE = "liandong.credit.v1.CreditService/GetCoverage"
FUNDS = "liandong.funds.v1.FundsService/ListFunds"
WATCH = "liandong.funds.v1.WatchService/GetFundWatch"
FUND_BALANCE = "liandong.funds.v1.FundAccountsService/GetFundBalance"
IDENTIFY = "liandong.gateway.v1.HouseholdSelfService/IdentifyMe"
SERVICES = ("households", "credit", "loans", "claims", "funds")
VILLAGES_MAX = 2_000
FUNDS_MAX = 6
MONTHS = 13
AT_ONCE = 2
LOANS_AT_ONCE = 20_000
"""With more, what takes every loan one by one is worked out only when a person asks for it."""
BANDS_PPM = (0, 10_000, 30_000, 50_000)
"""Where a village's colour changes; a breaker of most programmes trips at 5 %."""


@dataclass(frozen=True, slots=True)
class Village:
    """One tile of the picture."""

    code: str
    name: str
    band: int
    """0 for none non-performing, rising; -1 for no loans."""
    non_performing_fen: int
    balance_fen: int
    loans: int
    stopped: bool


@dataclass(frozen=True, slots=True)
class Township:
    """A row of tiles."""

    code: str
    name: str
    villages: tuple[Village, ...]
    non_performing_fen: int
    balance_fen: int
    stopped: bool


async def first(desk: Desk) -> Response:
    """To the page that a role begins with."""
    if desk.may(REPORT, TOTALS):
        return RedirectResponse("/overview", status_code=303)
    return RedirectResponse("/me" if desk.may(IDENTIFY) else "/status", status_code=303)


async def overview(desk: Desk) -> Response:
    """The county at a glance; what the role may not know is not on it."""
    if not desk.may(REPORT):
        return await _for_operators(desk)
    figures, breakers, coverage, funds = await asyncio.gather(
        desk.when_ready(f"figures:{desk.county}", lambda: _figures(desk)),
        desk.all_pages(
            BREAKERS, loans_pb2.ListBreakersRequest(county_code=desk.county), "breakers"
        ),
        desk.ask_if_mine(COVERAGE, _coverage(desk)),
        _funds(desk),
    )
    if figures is None:
        return await desk.page("overview.html", begun=False, working=True)
    whole, rows = figures
    if whole is None:
        return await desk.page("overview.html", begun=False, working=False)
    return await desk.page(
        "overview.html",
        begun=True,
        working=False,
        as_of=whole.as_of,
        whole=whole.rows[0] if whole.rows else reports_pb2.ReportRow(),
        townships=_townships(rows, breakers[0], await desk.areas()),
        cut=len(rows) >= VILLAGES_MAX,
        at_once=whole.rows[0].figures.loans <= LOANS_AT_ONCE if whole.rows else True,
        breakers=breakers[0],
        coverage=[] if coverage is None else list(coverage.figures),
        funds=funds,
    )


def _report(desk: Desk, by: list[Any]) -> reports_pb2.GetReportRequest:
    return reports_pb2.GetReportRequest(
        county_code=desk.county,
        by=by,
        period=reports_pb2.REPORT_PERIOD_YEAR,
        page_size=500,
        brief=True,
    )


def _coverage(desk: Desk) -> areas_pb2.GetCoverageRequest:
    return areas_pb2.GetCoverageRequest(
        county_code=desk.county, level=areas_pb2.COVERAGE_LEVEL_COUNTY, page_size=50
    )


async def _figures(desk: Desk) -> tuple[Any, list[reports_pb2.ReportRow]]:
    """The county's row and its villages', as sets of loans tell them."""
    whole, villages = await asyncio.gather(
        desk.ask_if_mine(REPORT, _report(desk, [])),
        desk.ask_if_mine(REPORT, _report(desk, [reports_pb2.LOAN_REPORT_DIMENSION_VILLAGE])),
    )
    return whole, await _rest(desk, villages)


async def collected(desk: Desk) -> Response:
    """What of this year's due was collected: it takes every loan one by one, so it comes later."""
    request = _report(desk, [])
    request.brief = False
    answer, late = None, False
    try:
        answer = await desk.when_ready(
            f"collected:{desk.county}", lambda: desk.ask_if_mine(REPORT, request)
        )
    except TooLong:
        late = True
    figures = answer.rows[0].figures if answer is not None and answer.rows else None
    return await desk.page("overview_collected.html", figures=figures, late=late)


async def _rest(desk: Desk, first: Any) -> list[reports_pb2.ReportRow]:
    """All villages up to a bound; the service works the sums out, a page is 500 of them."""
    if first is None:
        return []
    rows = list(first.rows)
    token = first.next_page_token
    while token and len(rows) < VILLAGES_MAX:
        request = _report(desk, [reports_pb2.LOAN_REPORT_DIMENSION_VILLAGE])
        request.page_token = token
        answer = await desk.ask(REPORT, request)
        rows.extend(answer.rows)
        token = answer.next_page_token
    return rows


def band_of(non_performing_fen: int, balance_fen: int) -> int:
    """The colour of a ratio: how many of the bounds it is above."""
    if balance_fen == 0:
        return -1
    ppm = non_performing_fen * 1_000_000 // balance_fen
    return sum(ppm > bound for bound in BANDS_PPM)


def _townships(
    rows: Iterable[reports_pb2.ReportRow], breakers: Iterable[Any], areas: dict[str, str]
) -> list[Township]:
    """The tiles by township; villages without loans are there too, where their names are known."""
    stopped = {each.scope_id for each in breakers if each.effects}
    known = {row.keys[0]: row for row in rows if row.keys}
    codes = sorted({*known, *(code for code in areas if len(code) == 12)})[:VILLAGES_MAX]
    found: dict[str, list[Village]] = {}
    for code in codes:
        figures = known[code].figures if code in known else reports_pb2.ReportFigures()
        found.setdefault(code[:9], []).append(
            Village(
                code=code,
                name=areas.get(code, code),
                band=band_of(figures.non_performing_fen, figures.balance_fen),
                non_performing_fen=figures.non_performing_fen,
                balance_fen=figures.balance_fen,
                loans=figures.loans,
                stopped=code in stopped,
            )
        )
    return [
        Township(
            code=code,
            name=areas.get(code, code),
            villages=tuple(villages),
            non_performing_fen=sum(each.non_performing_fen for each in villages),
            balance_fen=sum(each.balance_fen for each in villages),
            stopped=code in stopped,
        )
        for code, villages in found.items()
    ]


async def _funds(desk: Desk) -> list[tuple[funds_pb2.Fund, Any]]:
    """The county's funds, each with how it stands where the role may watch it."""
    if not desk.may(FUNDS):
        return []
    request = funds_pb2.ListFundsRequest(county_code=desk.county, page_size=FUNDS_MAX)
    listed = await desk.ask_if_mine(FUNDS, request)
    if listed is None:
        return []
    watches = await asyncio.gather(
        *(
            desk.ask_if_mine(
                WATCH,
                watch_pb2.GetFundWatchRequest(
                    county_code=desk.county, fund_id=fund.fund_id, page_size=1
                ),
            )
            for fund in listed.funds
        )
    )
    return list(zip(listed.funds, watches, strict=True))


async def _for_operators(desk: Desk) -> Response:
    """Who runs the platform sees that it runs: days and what waits, of each service."""
    answers = await desk.when_ready(f"totals:{desk.county}", lambda: _totals(desk))
    if answers is None:
        return await desk.page("overview.html", begun=False, working=True)
    return await desk.page("platform.html", services=list(zip(SERVICES, answers, strict=True)))


async def _totals(desk: Desk) -> list[operator_pb2.GetTotalsResponse]:
    """Of every service; its books are added up by the audit, not by a page."""
    request = operator_pb2.GetTotalsRequest(county_code=desk.county, positions_only=True)
    return list(await asyncio.gather(*(desk.ask(TOTALS, request, noun) for noun in SERVICES)))


# --- over time ----------------------------------------------------------------------------------


def month_ends(today: date, months: int) -> list[date]:
    """The ends of the months before today, and today."""
    found = [today]
    first = today.replace(day=1)
    while len(found) < months:
        last = first - timedelta(days=1)
        found.append(last)
        first = last.replace(day=1)
    return found[::-1]


@dataclass(frozen=True, slots=True)
class Month:
    """A point on the charts."""

    on: date
    figures: reports_pb2.ReportFigures
    fund_fen: int | None
    covered_fen: int | None = None
    """None for a month's end that nobody kept."""

    @property
    def leverage_centi(self) -> int | None:
        """Principal under cover per yuan of the funds, in hundredths; None where not known."""
        if self.covered_fen is None or not self.fund_fen:
            return None
        return self.covered_fen * 100 // self.fund_fen


async def history(desk: Desk) -> Response:
    """A year in months: balances, flows, bad loans, funds, leverage; loaded after the page."""
    today = await desk.today()
    if today is None:
        return await desk.page("overview_history.html", months=[], working=False)
    key = f"history:{desk.county}:{today}"
    if key not in desk.session.facts:
        try:
            found = await desk.when_ready(key, lambda: _months(desk, today))
        except TooLong:
            return await desk.page("overview_history.html", months=[], working=False, late=True)
        if found is None:
            return await desk.page("overview_history.html", months=[], working=True)
        desk.session.facts[key] = found
    return await desk.page("overview_history.html", months=desk.session.facts[key], working=False)


async def _months(desk: Desk, today: date) -> list[Month]:
    """Every month; a few reports at once, so that one page does not take the service for itself."""
    gate = asyncio.Semaphore(AT_ONCE)
    listed = await desk.ask_if_mine(
        FUNDS, funds_pb2.ListFundsRequest(county_code=desk.county, page_size=FUNDS_MAX)
    )
    funds = [] if listed is None else [fund.fund_id for fund in listed.funds]

    async def month(on: date) -> Month:
        async with gate:
            return await _month(desk, on, funds)

    return list(await asyncio.gather(*(month(on) for on in month_ends(today, MONTHS))))


async def _month(desk: Desk, on: date, funds: list[str]) -> Month:
    request = reports_pb2.GetReportRequest(
        county_code=desk.county,
        period=reports_pb2.REPORT_PERIOD_MONTH,
        day=proto_day(on),
        as_of=proto_day(on),
        page_size=1,
        brief=True,
    )
    answer = await desk.ask(REPORT, request)
    held: int | None = None
    for fund_id in funds:
        balance = await desk.ask_if_mine(
            FUND_BALANCE,
            accounts_pb2.GetFundBalanceRequest(
                county_code=desk.county, fund_id=fund_id, value_date=proto_day(on)
            ),
        )
        if balance is not None:
            held = (held or 0) + balance.balance_fen
    row = answer.rows[0] if answer.rows else reports_pb2.ReportRow()
    covered = row.covered_fen if row.HasField("covered_fen") else None
    return Month(on, row.figures, held, covered)
