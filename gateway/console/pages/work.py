"""Work: tasks, issues, notices and claims that are open, by the day on which they are due."""

from typing import Any

from google.protobuf.message import Message
from google.type.date_pb2 import Date
from liandong.claims.v1 import claims_pb2
from liandong.loans.v1 import notices_pb2, tasks_pb2
from starlette.responses import RedirectResponse, Response

from gateway.console.desk import Desk, Hidden

TASKS = "liandong.loans.v1.TasksService/ListTasks"
ISSUES = "liandong.loans.v1.TasksService/ListIssues"
NOTICES = "liandong.loans.v1.NoticesService/ListNotices"
CLAIMS = "liandong.claims.v1.ClaimsService/ListClaims"
METHODS = {"tasks": TASKS, "issues": ISSUES, "notices": NOTICES, "claims": CLAIMS}
TITLES = {
    "tasks": ("任务", "Tasks"),
    "issues": ("问题", "Issues"),
    "notices": ("通知", "Notices"),
    "claims": ("理赔", "Claims"),
}
SHOWN = 100
UNDECIDED = (
    claims_pb2.CLAIM_STATE_REPORTED,
    claims_pb2.CLAIM_STATE_PROPOSED,
    claims_pb2.CLAIM_STATE_SUSPENDED,
)


async def work(desk: Desk) -> Response:
    """The first list that the person may read."""
    for name, method in METHODS.items():
        if desk.may(method):
            return RedirectResponse(f"/duties/{name}", status_code=303)
    raise Hidden("work")


async def listed(desk: Desk) -> Response:
    """One of the lists; what is due first stands first."""
    name = str(desk.request.path_params["list"])
    if name not in METHODS or not desk.may(METHODS[name]):
        raise Hidden(name)
    rows, cut = await _read(desk, name)
    rows.sort(key=lambda each: _due(each, name))
    page = desk.request.query_params.get("page", "0")
    start = int(page) * SHOWN if page.isdecimal() and len(page) < 5 else 0
    today = await desk.today()
    return await desk.page(
        f"work_{name}.html",
        tabs=[(each, desk.say(*TITLES[each])) for each in METHODS if desk.may(METHODS[each])],
        tab=name,
        rows=rows[start : start + SHOWN],
        in_all=len(rows),
        start=start,
        shown=SHOWN,
        cut=cut,
        today="" if today is None else today.isoformat(),
        late=sum(_late(each, name) for each in rows),
    )


async def _read(desk: Desk, name: str) -> tuple[list[Any], bool]:
    """Everything of a list that is still open, up to a bound."""
    county = desk.county
    requests: list[Message] = []
    if name == "tasks":
        requests = [tasks_pb2.ListTasksRequest(county_code=county, state=tasks_pb2.TASK_STATE_OPEN)]
    elif name == "issues":
        requests = [
            tasks_pb2.ListIssuesRequest(county_code=county, state=state)
            for state in (tasks_pb2.ISSUE_STATE_REGISTERED, tasks_pb2.ISSUE_STATE_RECTIFIED)
        ]
    elif name == "notices":
        requests = [
            notices_pb2.ListNoticesRequest(county_code=county, state=state)
            for state in (notices_pb2.NOTICE_STATE_QUEUED, notices_pb2.NOTICE_STATE_FAILED)
        ]
    else:
        requests = [
            claims_pb2.ListClaimsRequest(county_code=county, state=state) for state in UNDECIDED
        ]
    rows: list[Any] = []
    cut = False
    for request in requests:
        found, more = await desk.all_pages(METHODS[name], request, name)
        rows.extend(found)
        cut = cut or more
    return rows, cut


def _due(row: Any, name: str) -> tuple[bool, int, int, int]:
    """The order of a row: those without a day come last."""
    on: Date = row.queued_on if name == "notices" else row.due_on
    return (not on.year, on.year, on.month, on.day)


def _late(row: Any, name: str) -> bool:
    if name == "claims":
        return bool(row.overdue_since.year)
    return name != "notices" and bool(row.late)
