"""Things: the one search, and a loan, claim, case or household with its whole story."""

import asyncio
import re
from datetime import timedelta
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from liandong.claims.v1 import claims_pb2
from liandong.funds.v1 import funds_pb2
from liandong.gateway.v1 import access_log_pb2, find_pb2
from liandong.households.v1 import households_pb2
from liandong.loans.v1 import loans_pb2
from starlette.responses import RedirectResponse, Response

from gateway.console.desk import Desk, Hidden
from gateway.console.pages.traces import TRACE, shown_of
from services.kernel.clock import recorded_time

FIND = "liandong.gateway.v1.FindService/Find"
TELL = "liandong.gateway.v1.FindService/TellStory"
LOANS = "liandong.loans.v1.LoansService/ListLoans"
LOAN = "liandong.loans.v1.LoansService/GetLoan"
STATEMENT = "liandong.loans.v1.LoansService/GetLoanStatement"
CLAIM = "liandong.claims.v1.ClaimsService/GetClaim"
PAYOUT = "liandong.claims.v1.ClaimsService/GetPayout"
CASE = "liandong.funds.v1.FundsService/GetCompensationCase"
HOUSEHOLD = "liandong.households.v1.HouseholdsService/GetHousehold"
CLAIMS = "liandong.claims.v1.ClaimsService/ListClaims"
ACCESSES = "liandong.gateway.v1.AccessLogService/SearchAccesses"
LOG_DAYS = timedelta(days=92)
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
PLACES = {"loan": "loans", "claim": "claims", "case": "cases", "household": "households"}
AREA = re.compile(r"[0-9]{6}([0-9]{3}){0,2}([0-9]{2})?")
STORY_STEPS = 100
LIST = 50
LOG_LIST = 100


def address(kind: str, thing_id: str) -> str:
    """Where a thing is shown."""
    if kind == "trace":
        return f"/traces/{thing_id}"
    place = PLACES.get(kind)
    return f"/{place}/{thing_id}" if place else f"/stories/{kind}/{thing_id}"


async def find(desk: Desk) -> Response:
    """From an id to its page; a choice where it names several things."""
    asked = desk.request.query_params.get("q", "").strip().lower()
    if not asked:
        return await desk.page("find.html", asked="", findings=None, malformed=False)
    if not UUID.fullmatch(asked) and not TRACE.fullmatch(asked):
        return await desk.page("find.html", asked=asked, findings=None, malformed=True, status=400)
    try:
        answer = await desk.ask(FIND, find_pb2.FindRequest(id=asked))
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return await desk.page("find.html", asked=asked, findings=[], malformed=False, status=404)
    findings = list(answer.findings)
    if len(findings) == 1:
        only = findings[0]
        return RedirectResponse(address(only.kind, only.id), status_code=303)
    return await desk.page(
        "find.html", asked=asked, findings=findings, malformed=False, address=address
    )


async def _story(desk: Desk, kind: str, thing_id: str) -> Any:
    """A page of the story; every page is asked from the one before."""
    request = find_pb2.TellStoryRequest(
        kind=kind,
        id=thing_id,
        page_size=STORY_STEPS,
        page_token=desk.request.query_params.get("token", "")[:400],
    )
    story = await desk.ask(TELL, request)
    # A page may be empty and still not the last.
    for _ in range(desk.settings.pages_read_max):
        if story.steps or not story.next_page_token:
            break
        request.page_token = story.next_page_token
        story = await desk.ask(TELL, request)
    return story


async def story(desk: Desk) -> Response:
    """The story of anything that has no page of its own: a payout, an instruction, an event."""
    kind = desk.request.path_params["kind"]
    told = await _story(desk, kind if re.fullmatch(r"[a-z_]{1,40}", kind) else "", _id(desk))
    if told.about.kind in PLACES and "token" not in desk.request.query_params:
        return RedirectResponse(address(told.about.kind, told.about.id), status_code=303)
    return await _shown(desk, "story.html", told)


async def _shown(desk: Desk, template: str, told: Any, **values: Any) -> Response:
    traces = await shown_of(desk, {step.trace_id for step in told.steps if step.trace_id})
    return await desk.page(
        template, story=told, address=address, thing_id=_id(desk), traces=traces, **values
    )


def _id(desk: Desk) -> str:
    asked = str(desk.request.path_params["id"]).lower()
    if not UUID.fullmatch(asked) and not TRACE.fullmatch(asked):
        raise Hidden(asked)
    return asked


async def loan(desk: Desk) -> Response:
    """A loan: how it stands, its book, its story."""
    asked = {"county_code": desk.county, "loan_id": _id(desk)}
    answer, book, told = await asyncio.gather(
        desk.ask(LOAN, loans_pb2.GetLoanRequest(**asked)),
        desk.ask_if_mine(STATEMENT, loans_pb2.GetLoanStatementRequest(**asked)),
        _story(desk, "loan", asked["loan_id"]),
    )
    return await _shown(desk, "loan.html", told, loan=answer.loan, book=book)


async def claim(desk: Desk) -> Response:
    """A claim: its decision, its payout with every instruction, its story."""
    claim_id = _id(desk)
    asked = claims_pb2.GetClaimRequest(county_code=desk.county, claim_id=claim_id)
    answer, told = await asyncio.gather(desk.ask(CLAIM, asked), _story(desk, "claim", claim_id))
    payout = None
    if answer.claim.payout_id:
        request = claims_pb2.GetPayoutRequest(
            county_code=desk.county, payout_id=answer.claim.payout_id
        )
        payout = await desk.ask_if_mine(PAYOUT, request)
    return await _shown(desk, "claim.html", told, claim=answer.claim, decided=answer, payout=payout)


async def case(desk: Desk) -> Response:
    """A compensation case: who bears what, its story."""
    asked = funds_pb2.GetCompensationCaseRequest(county_code=desk.county, case_id=_id(desk))
    answer, told = await asyncio.gather(desk.ask(CASE, asked), _story(desk, "case", asked.case_id))
    return await _shown(desk, "case.html", told, case=answer)


async def household(desk: Desk) -> Response:
    """A household: its people as far as this person may know them, loans, claims, story."""
    county, household_id = desk.county, _id(desk)
    registered, loans, claims, told = await asyncio.gather(
        desk.ask_if_mine(
            HOUSEHOLD,
            households_pb2.GetHouseholdRequest(county_code=county, household_id=household_id),
        ),
        desk.ask_if_mine(
            LOANS,
            loans_pb2.ListLoansRequest(
                county_code=county, household_id=household_id, page_size=LIST
            ),
        ),
        desk.ask_if_mine(
            CLAIMS,
            claims_pb2.ListClaimsRequest(
                county_code=county, household_id=household_id, page_size=LIST
            ),
        ),
        _story(desk, "household", household_id),
    )
    return await _shown(
        desk,
        "household.html",
        told,
        household=None if registered is None else registered.household,
        loans=[] if loans is None else loans.loans,
        claims=[] if claims is None else claims.claims,
    )


async def loans(desk: Desk) -> Response:
    """Loans a page at a time, of an area and in a state."""
    params = desk.request.query_params
    within = params.get("within", "")
    within = within if AREA.fullmatch(within) else ""
    state = params.get("state", "")
    states = {
        name.removeprefix("LOAN_STATE_").lower(): number
        for name, number in loans_pb2.LoanState.items()
        if number
    }
    request = loans_pb2.ListLoansRequest(
        county_code=desk.county,
        within=within,
        state=states.get(state, 0),  # type: ignore[arg-type]
        page_size=LIST,
        page_token=params.get("token", "")[:200],
    )
    answer = await desk.ask(LOANS, request)
    return await desk.page(
        "loans.html",
        loans=answer.loans,
        next_token=answer.next_page_token,
        within=within,
        state=state if state in states else "",
        states=list(states),
    )


async def log(desk: Desk) -> Response:
    """The access log around a moment, or its newest entries: for auditors."""
    params = desk.request.query_params
    request = access_log_pb2.SearchAccessesRequest(
        institution_id=params.get("institution", "")[:40],
        page_size=LOG_LIST,
        page_token=params.get("token", "")[:200],
    )
    at = params.get("at", "")
    if at.isdecimal() and len(at) <= 12:
        request.from_time.CopyFrom(Timestamp(seconds=int(at)))
        request.to_time.CopyFrom(Timestamp(seconds=int(at) + 1))
    else:
        # The newest come first; the log answers about so many days at most.
        until = recorded_time() + timedelta(minutes=1)
        request.from_time.FromDatetime(until - LOG_DAYS)
        request.to_time.FromDatetime(until)
    answer = await desk.ask(ACCESSES, request)
    return await desk.page(
        "log.html",
        accesses=answer.accesses,
        next_token=answer.next_page_token,
        at=at,
        marked=params.get("position", ""),
        institution=request.institution_id,
    )
